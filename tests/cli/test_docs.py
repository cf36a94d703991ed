"""Pages tell the truth: links lead somewhere, samples parse, commands exist, the unit is as tight as it says."""

import fnmatch
import hashlib
import hmac
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from gateway import access
from gateway.cli import main
from gateway.protocols.wire import WireBatch, WireChoice
from gateway.settings import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield str(page.relative_to(ROOT)), found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("https://", "http://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [
            (page.parent / target).resolve()
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
            if not target.startswith("http")
        ]
    assert not {str(page) for page in PAGES} - {str(page) for page in seen}


def test_settings_in_pages_are_settings(tmp_path: Path) -> None:
    count = 0
    for page, text in blocks("toml"):
        raw = tomllib.loads(text if "[[site]]" in text or "destination" not in text else f"[[site]]\n{text}")
        raw.setdefault("site", [{}])
        raw["site"][0].setdefault("id", "main")
        raw["site"][0].setdefault("hosts", ["t.shop.example"])
        for destination in raw["site"][0].get("destination", []):
            for key in [key for key in destination if key.endswith("_file")]:
                (tmp_path / destination[key]).write_text("whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=")
                (tmp_path / destination[key]).chmod(0o600)
        assert parse(raw, {}, tmp_path).site, page
        count += 1
    assert count >= 2


def test_bodies_in_pages_are_taken() -> None:
    count = 0
    for _, text in blocks("sh"):
        for body in re.findall(r"-d '(\{.*?\})'", text, re.DOTALL):
            if '"choice"' in body:
                assert msgspec.json.decode(body, type=WireChoice).choice
            else:
                assert msgspec.json.decode(body, type=WireBatch).name
            count += 1
    assert count >= 3


def test_commands_in_pages_exist() -> None:
    count = 0
    for page, text in blocks("sh"):
        for line in re.findall(r"(?:^|bin/|sudo -u gateway )gateway ((?:[a-z]+ ?)+)", text, re.MULTILINE):
            command: click.Command = main
            for word in line.split():
                if not isinstance(command, click.Group):
                    break
                found = command.commands.get(word)
                assert found is not None, f"{page}: gateway {line}"
                command = found
            count += 1
    assert count >= 8


def test_the_signature_of_the_backend_page_is_accepted() -> None:
    (sample,) = [text for page, text in blocks("python") if "def signature" in text]
    space: dict[str, object] = {}
    exec(sample, space)
    root, body = b"r" * 32, b'{"name":"purchase"}'
    make = space["signature"]
    assert callable(make)
    header = make(access.signing_secret(root), "POST", "/api/v1/conversions", body)
    read = access.read_signature(header)
    assert read is not None
    assert access.verify_signature(
        read, (root,), method="POST", path="/api/v1/conversions", body=body, now_ms=read.at_s * 1000
    )
    assert not access.verify_signature(
        read, (root,), method="POST", path="/api/v1/events", body=body, now_ms=read.at_s * 1000
    )
    assert hmac.new(b"k", b"m", hashlib.sha256).hexdigest()


def test_the_systemd_unit_is_tight() -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=15",
            str(ROOT / "deploy/systemd/gateway.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_deploy_page_and_the_unit_name_the_same_user_and_places() -> None:
    unit = (ROOT / "deploy/systemd/gateway.service").read_text()
    page = (ROOT / "docs/how-to/deploy.md").read_text()
    assert re.findall(r"^(?:User|Group)=(.*)$", unit, re.MULTILINE) == ["gateway", "gateway"]
    assert "install -d -o gateway -g gateway -m 700 /etc/gateway /var/lib/gateway" in page
    assert "init --directory /etc/gateway --data /var/lib/gateway" in page
    assert "--settings /etc/gateway/gateway.toml" in unit
    assert "StateDirectory=gateway\n" in unit


def test_what_init_makes_in_a_checkout_is_never_committed() -> None:
    rules = (ROOT / ".gitignore").read_text().split()
    for made in ("/data/", "/gateway.toml", "/meta-token", "/crm-secret"):
        assert any(fnmatch.fnmatchcase(made, rule) for rule in rules), made


def test_no_page_and_no_lock_names_a_package_index() -> None:
    for path in [*(ROOT / "locks").iterdir(), ROOT / "pyproject.toml", *PAGES]:
        text = path.read_text()
        assert not re.search(r"pypi\.org|registry\.npmjs|--index|files\.pythonhosted|extra-index", text), path


def test_the_published_tag_versions_stand_in_the_reference() -> None:
    published = json.loads((ROOT / "gateway/browser/integrity.json").read_text())
    page = (ROOT / "docs/reference/tag.md").read_text()
    assert all(f"`{digest}`" in page for digest in published.values())
