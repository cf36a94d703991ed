"""The house stays clean: contracts hold, and each of them can fail. Every planted violation must be caught by its own contract."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")
MYPY = Path(sys.executable).with_name("mypy")
RUFF = Path(sys.executable).with_name("ruff")

PLANTS = {
    "a flow imports aiohttp": ("floors/flows/deliver.py", "import aiohttp\n", "aiohttp"),
    "a pure room reads the clock": ("floors/consent.py", "from gateway import clock\n", "pure"),
    "a pure room reads the environment": ("floors/identity.py", "import os\n", "pure"),
    "a pure room logs": ("floors/signals/gpc.py", "import structlog\n", "pure"),
    "a pure room opens a socket": ("floors/destinations/meta.py", "import socket\n", "pure"),
    "a room imports another room": ("floors/conversions.py", "from gateway import links\n", "floors"),
    "a word imports a room": ("floors/event.py", "from gateway import consent\n", "floors"),
    "a room imports a flow": ("floors/vault.py", "from gateway.flows import receive\n", "floors"),
    "a handler imports consent": ("floors/handlers/collect.py", "from gateway import consent\n", "edges"),
    "a handler imports a store": ("floors/handlers/api.py", "from gateway.stores import contract\n", "edges"),
    "a flow speaks SQL": ("floors/flows/receive.py", "import sqlite3\n", "database"),
    "a flow takes the permitted type": ("floors/flows/assemble.py", "from gateway.permit import Permitted\n", "lock"),
    "rendering takes the permitted type at run time": (
        "floors/destinations/render.py",
        "from gateway.permit import Permitted\n",
        "lock",
    ),
    "a new module stands on no floor": ("floors/helpers.py", '"""Lost."""\n', "floors"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "gateway", place / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache"],
        cwd=place,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin"},
        check=False,
    )


def test_the_house_as_it_is_keeps_every_contract(copy: Path) -> None:
    found = lint(copy)
    assert found.returncode == 0, found.stdout
    assert "7 kept, 0 broken" in found.stdout


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_violation_is_caught(copy: Path, name: str) -> None:
    path, line, contract = PLANTS[name]
    file = copy / path.replace("floors/", "gateway/", 1)
    before = file.read_text() if file.exists() else None
    try:
        # After the docstring and any future import, where an import would really stand.
        file.write_text(line if before is None else before.rstrip() + "\n\n" + line)
        found = lint(copy)
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
    assert found.returncode != 0, f"not caught: {name}"
    titles = {
        "floors": "Floors:",
        "edges": "Edges know",
        "pure": "Pure rooms",
        "aiohttp": "aiohttp stays",
        "database": "Only stores",
        "lock": "The permitted event",
    }
    broken = [line for line in found.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(titles[contract]) for line in broken), found.stdout


SKIPPING_CONSENT = """
from gateway.destinations.definition import Context
from gateway.destinations.registry import DESTINATIONS
from gateway.destinations.render import render
from gateway.event import Judged, Received, Recognised


def leak(received: Received, judged: Judged, context: Context) -> None:
    render(DESTINATIONS["meta"], received, context)
    render(DESTINATIONS["meta"], judged, context)


def recognise(received: Received) -> Judged:
    return received
"""

FORGING = """
from gateway.consent import Permitted

print(Permitted)
"""


def test_skipping_consent_does_not_type_check(tmp_path: Path) -> None:
    file = tmp_path / "leak.py"
    file.write_text(SKIPPING_CONSENT)
    found = subprocess.run(
        [MYPY, "--config-file", ROOT / "pyproject.toml", "--no-incremental", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in found.stdout.splitlines() if "error:" in line and "leak.py" in line]
    assert len(errors) == 3, found.stdout
    assert "Received" in errors[0]
    assert "Permitted" in errors[0]


def test_the_permitted_type_cannot_be_taken_through_consent(tmp_path: Path) -> None:
    file = tmp_path / "forge.py"
    file.write_text(FORGING)
    found = subprocess.run(
        [MYPY, "--config-file", ROOT / "pyproject.toml", "--no-incremental", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "does not explicitly export attribute" in found.stdout, found.stdout


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import time\n\nx = time.time()\n", "TID251"),
        ("from time import time as t\n\nx = t()\n", "TID251"),
        ("from datetime import datetime\n\nx = datetime.now()\n", "TID251"),
        ("import uuid\n\nx = uuid.uuid4()\n", "TID251"),
        ("import random\n\nx = random.random()\n", "TID251"),
        ("import secrets\n", "TID251"),
    ],
)
def test_shortcuts_to_time_and_randomness_are_banned(line: str, code: str) -> None:
    found = subprocess.run(
        [RUFF, "check", "--stdin-filename", "gateway/flows/planted.py", "--output-format", "concise", "-"],
        cwd=ROOT,
        input=f'"""Planted."""\n\n{line}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert code in found.stdout, found.stdout


@pytest.mark.slow
def test_every_module_imports_alone_with_warnings_as_errors() -> None:
    names = sorted(
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in (ROOT / "gateway").rglob("*.py")
        if path.name != "__main__.py"
    )
    script = (
        "import subprocess, sys\n"
        "bad = []\n"
        "for name in sys.argv[1:]:\n"
        "    done = subprocess.run([sys.executable, '-W', 'error', '-c', f'import {name}'], capture_output=True, text=True)\n"
        "    if done.returncode: bad.append(name + ': ' + done.stderr.strip().splitlines()[-1])\n"
        "print('\\n'.join(bad)); sys.exit(bool(bad))\n"
    )
    # A sample of one module for each folder and every top-level module: importing all one by one takes a minute.
    sample = [
        name for name in names if name.count(".") <= 1 or name.endswith((".registry", ".sqlite", ".door", ".receive"))
    ]
    found = subprocess.run(
        [sys.executable, "-c", script, *sample], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_public_names_are_sorted_and_exist() -> None:
    script = (
        "import importlib, pkgutil, gateway, sys\n"
        "bad = []\n"
        "for module in pkgutil.walk_packages(gateway.__path__, 'gateway.'):\n"
        "    if module.name.endswith('__main__'): continue\n"
        "    loaded = importlib.import_module(module.name)\n"
        "    for name in getattr(loaded, '__all__', []):\n"
        "        if not hasattr(loaded, name): bad.append(f'{module.name}.{name}')\n"
        "print('\\n'.join(bad)); sys.exit(bool(bad))\n"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_modules_stay_small() -> None:
    """At 500 lines there is a second idea in a module."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "gateway").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }
    assert not long
