"""What crediting costs: one conversion from its touches to money, and whole models over fifty thousand journeys."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.attribution.eligibility import eligible
from gateway.attribution.journeys import PATH_MAX, Journey, TouchPath, Work
from gateway.attribution.registry import MODELS, Model
from gateway.attribution.splitting import split_minor
from gateway.attribution.touches import Conversion, IdentityLink, Rules, Touch
from gateway.times import DAY_MS
from tests.bench.harness import middle
from tests.bench.measures import Options, Table
from tests.support.running import NOW_MS

__all__ = ["attribution"]

JOURNEYS: Final = 50_000
CHANNELS: Final = 15
_KINDS: Final = ("click", "click", "click", "referral", "view", "direct")


def _touches(number: int) -> list[Touch]:
    """A person's touches of thirty days, one in eight of them not eligible."""
    chance = random.Random(number)
    return [
        Touch(
            id=f"t{place}",
            sequence=place,
            at_ms=NOW_MS - chance.randrange(30 * DAY_MS),
            kind=chance.choice(_KINDS),
            channel=f"channel {chance.randrange(CHANNELS)}",
            device=f"d{place % 2}",
            consent=place % 8 != 0,
        )
        for place in range(number)
    ]


def _journeys() -> list[Journey]:
    """Rows of one to eight touches; one in five converted."""
    chance = random.Random(1)
    rows = []
    for _ in range(JOURNEYS):
        length = chance.randint(1, 8)
        ages = tuple(sorted((chance.randrange(30 * DAY_MS) for _ in range(length)), reverse=True))
        path = TouchPath(tuple(f"channel {chance.randrange(CHANNELS)}" for _ in range(length)), ages)
        converted = int(chance.random() < 0.2)
        rows.append(Journey(path, converted, 1 - converted, 4_999 * converted))
    return rows


def _credit_one(model: Model, touches: list[Touch]) -> Callable[[], object]:
    """Everything between the stored touches of one person and the cents of one conversion."""
    conversion = Conversion(at_ms=NOW_MS, device="d0", user="u")
    links = [IdentityLink("d1", "u", NOW_MS - DAY_MS)]
    rules = Rules()
    shares_of = model.shares
    assert shares_of is not None

    def credit() -> list[int]:
        found = eligible(conversion, touches, rules, links)
        return split_minor(4_999, shares_of(found.touch_path(conversion)))

    return credit


def _microseconds(work: Callable[[], object], seconds: float) -> float:
    """Mean time of one call, calls repeated for some seconds."""
    calls, begun = 0, time.perf_counter()
    while True:
        for _ in range(20):
            work()
        calls += 20
        took = time.perf_counter() - begun
        if took >= seconds:
            return 1e6 * took / calls


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _span(values: list[float], digits: int) -> str:
    return f"{middle(values):,.{digits}f} ({min(values):,.{digits}f}..{max(values):,.{digits}f})"


def attribution(options: Options) -> Table:
    """Credit of one conversion with a short, a long and the longest path; then every model over all journeys."""
    rows = []
    for number in (4, 40, PATH_MAX):
        touches = _touches(number)
        for name in ("last_click", "linear", "time_decay", "position_40_20_40", "w_shaped"):
            credit = _credit_one(MODELS[name], touches)
            found = [_microseconds(credit, options.seconds / 10) for _ in range(options.rounds)]
            options.say(f"{name}, {number} touches: {middle(found):,.1f} µs")
            rows.append([f"one conversion, {number} touches", name, f"{_span(found, 1)} µs", "-"])
    journeys = _journeys()
    for name, model in MODELS.items():
        work = Work()
        model.credit(journeys, work)
        took = [_seconds(partial(model.credit, journeys, Work())) for _ in range(options.rounds)]
        options.say(f"{name}, {JOURNEYS:,} journeys: {middle(took):.2f} s")
        rows.append(
            [f"{JOURNEYS:,} journeys, {CHANNELS} channels", name, f"{_span(took, 2)} s", f"{Work().left - work.left:,}"]
        )
    return Table(
        title="Attribution, one core",
        columns=["what", "model", "time", "steps counted"],
        rows=rows,
        notes=[
            "One conversion: which touches are eligible, the share of each, and the amount split into whole cents.",
            f"A Markov or Shapley computation is refused over {Work().left:,} steps.",
        ],
    )
