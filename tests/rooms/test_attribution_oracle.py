"""Attribution against ChannelAttribution, the package most people know these models from: compiled, and simulated.

The package exists as source only. It is built once, in an environment of its own outside of the project, from files that
are checked against their hashes; that needs a C++ compiler and Python's headers. It is under the GPL and stays out of the
gateway: another process runs it, and only numbers come back.
"""

import hashlib
import json
import os
import random  # noqa: TID251 - sets with a seed, the same in every run
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.attribution.journeys import Journey, TouchPath, Work
from gateway.attribution.registry import MODELS

TESTS: Final = Path(__file__).parents[1]
ORACLE: Final = TESTS / "oracles" / "channel_attribution.py"
NEEDS: Final = ORACLE.with_name("channel_attribution_needs.txt")
PACKAGE: Final = ORACLE.with_suffix(".txt")
SETS: Final[list[dict[str, Any]]] = json.loads((TESTS / "vectors" / "attribution.json").read_bytes())["journey_sets"]
TOLERANCE: Final = 0.006
"""Of the total: what a million walks leave to chance in the credit of a channel."""
EFFECT_TOLERANCE: Final = 0.015
"""Removal effects lean on one count of all conversions, whose error they share. Credit, their proportion, is free of it."""


@pytest.fixture(scope="module")
def oracle() -> Path:
    """The interpreter that has the package."""
    wanted = hashlib.sha256(NEEDS.read_bytes() + PACKAGE.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagging-gateway" / f"oracle-{wanted}"
    python, built = cache / "bin" / "python", cache / ".built"
    if not built.exists():
        if shutil.which("g++") is None:
            pytest.fail("building ChannelAttribution needs a C++ compiler: apt-get install g++ python3-dev")
        shutil.rmtree(cache, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        for extra in (["-r", str(NEEDS)], ["--no-build-isolation", "--no-deps", "-r", str(PACKAGE)]):
            done = subprocess.run([*install, *extra], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2_000:]
        built.touch()
    return python


def random_set(seed: int) -> list[Journey]:
    """Journeys that prefer some channels at the beginning and others at the end, a few hundred rows."""
    chance = random.Random(seed)
    names = [f"c{number}" for number in range(chance.randint(3, 9))]
    journeys = []
    for _ in range(chance.randint(20, 300)):
        length = min(1 + int(chance.expovariate(0.4)), 15)
        channels = [names[min(int(chance.betavariate(1 + at, 3) * len(names)), len(names) - 1)] for at in range(length)]
        conversions = chance.choice([0, 0, 1, 1, 3])
        value = conversions * chance.randint(0, 20_000)
        journeys.append(Journey(TouchPath(tuple(channels), (0,) * length), conversions, chance.randint(0, 6), value))
    return journeys


def set_of(case: dict[str, Any]) -> list[Journey]:
    """A set of the vectors with channels that hold no separator, rows that nobody walked left out."""
    numbers: dict[str, str] = {}
    return [
        Journey(
            TouchPath(
                tuple(numbers.setdefault(touch["ch"], f"c{len(numbers)}") for touch in row["touches"]),
                tuple(touch["age_s"] for touch in row["touches"]),
            ),
            row["conversions"],
            row["nulls"],
            row["value_minor"],
        )
        for row in case["journeys"]
        if row["conversions"] + row["nulls"]
    ]


@pytest.mark.nightly
def test_credits_are_those_of_the_package_but_for_what_its_walks_leave_to_chance(oracle: Path) -> None:
    # The package refuses sets without any conversion.
    sets = {str(case["id"]): set_of(case) for case in SETS if case["totals"]["conversions"]}
    sets |= {f"random {seed}": random_set(seed) for seed in range(40)}
    questions = [
        {
            "rows": [
                {
                    "path": one.path.channels,
                    "conversions": one.conversions,
                    "nulls": one.nulls,
                    "value": one.value_minor,
                }
                for one in journeys
            ],
            "orders": [1, 2, 3],
        }
        for journeys in sets.values()
    ]
    done = subprocess.run(
        [str(oracle), str(ORACLE)], input=json.dumps(questions), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    answers: list[dict[str, dict[str, float]]] = json.loads(done.stdout)
    worst: dict[str, float] = {}
    compared = 0
    for journeys, answer in zip(sets.values(), answers, strict=True):
        conversions = sum(one.conversions for one in journeys)
        value = sum(one.value_minor for one in journeys)
        for asked, credits in answer.items():
            model, what = asked.split()
            whole = {"conversions": conversions, "value": value, "removal_effect": 1}[what]
            ours = getattr(MODELS[model].credit(journeys, Work()), what)
            assert whole == 0 or set(credits) <= set(ours)
            for channel, credit in ours.items():
                gap = abs(credit - credits.get(channel, 0.0)) / whole if whole else 0.0
                worst[asked] = max(worst.get(asked, 0.0), gap)
                compared += 1
    assert compared > 5_000
    exact = {asked: gap for asked, gap in worst.items() if not asked.startswith("markov")}
    assert max(exact.values()) < 1e-9, exact
    for asked, gap in worst.items():
        assert gap < (EFFECT_TOLERANCE if asked.endswith("removal_effect") else TOLERANCE), asked
