"""What judging one request costs: decoding, statements and judgements together, at the worst that the caps allow.

The strings are within every cap and ask for as much work as the caps allow, all of them at once; then each of them one
character or one entry over its cap, which must cost next to nothing.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway import consent
from gateway.event import Signals
from gateway.purposes import EVERYBODY, Audience, Judgement, Regime
from gateway.signals import cmp, gvl, registry
from gateway.signals.bits import TEXT_MAX
from gateway.signals.carried import Carried, Known
from gateway.signals.cmp_platforms import PLATFORMS
from tests.bench.harness import middle
from tests.bench.measures import Options, Table
from tests.support.running import NOW_MS
from tests.support.signals import ALL, entries, gpp_string, ranges, tc_string

__all__ = ["AUDIENCES", "KNOWN", "OVER", "TYPICAL", "WITHIN", "judged", "judging"]

_FIXTURE: Final = gvl.decode((Path(__file__).parents[1] / "vectors" / "gvl-fixture.json").read_bytes())
assert isinstance(_FIXTURE, gvl.VendorList)

KNOWN: Final = Known(
    platform=PLATFORMS["vanilla-cookieconsent"],
    mapping=cmp.mapping_of({"analytics": "analytics", "ads": "marketing"}),
    tcf_cookie="euconsent-v2",
    lists={_FIXTURE.version: _FIXTURE},
    consent_mode="source",
    dnt=True,
)
"""A site that reads everything there is to read."""
AUDIENCES: Final = (EVERYBODY, Audience(tcf_vendor=755, google=True), Audience(google=True), Audience(ac_provider=9))


def judged(carried: Carried) -> tuple[Judgement, ...]:
    """Everything from the request to one judgement for each audience."""
    policy = consent.Policy(regime=Regime.OPT_IN)
    heard = registry.hear(carried, KNOWN)
    return tuple([consent.judge(registry.read(carried, heard, KNOWN, one), policy, "") for one in AUDIENCES])


def _carried(signals: Signals | None = None, cookie: str = "") -> Carried:
    return Carried(signals=signals, cookie=cookie, now_ms=NOW_MS, claim=True, claim_granted=63, sec_gpc=("1",))


# ------------------------------------------------------------------ strings


def _apart(count: int) -> list[tuple[int, int]]:
    pairs = [(1 + 60 * n, 21 + 60 * n) for n in range(count)]
    random.Random(1).shuffle(pairs)
    return pairs


def _ranges(count: int) -> str:
    return tc_string(vendor_section=ranges(_apart(count)), disclosed=(755,), publisher=ALL)


def _restrictions() -> str:
    pairs = _apart(756)
    limits = [f"{1 + n % 63:06b}{n // 63:02b}" + entries(pairs[3 * n : 3 * n + 3]) for n in range(252)]
    return tc_string(purposes=ALL, vendors=(755,), disclosed=(755,), restrictions=f"{252:012b}" + "".join(limits))


def _bitfield() -> str:
    highest = 65_535
    return tc_string(vendor_section=f"{highest:016b}0" + ("10" * highest)[:highest], disclosed=(755,))


def _providers(length: int) -> str:
    text, number = "2~", 1
    while len(text) + len(str(number)) + 5 <= length:
        text, number = f"{text}{number}.", number + 1
    return text[:-1] + "~dv.9"


def _gpp() -> str:
    every = {
        name: {"SaleOptOut": 2, "Gpc": 0} for name in "usnat usca usco usct usmt usor ustx usde usia usne usnh".split()
    }
    return gpp_string(every, tcf=_ranges(900), usp="1YNN")


def _record(names: int) -> str:
    """A cookie of the platform with as many categories and services as fit."""
    listed = [f"c{number:x}" for number in range(names)]
    return json.dumps(
        {"categories": listed, "services": {name: [name] for name in listed[: names // 3]}, "revision": 1}
    )


def _cookies(length: int) -> str:
    """Thousands of small cookies whose names nearly fit."""
    part = "xeuconsent-v2=1; cc_cookiex=1; "
    return (part * (length // len(part)))[:length]


_TCF: Final = {
    "1,000 ranges": _ranges(1_000),
    "252 restrictions, 756 ranges": _restrictions(),
    "65,535 vendors as bits": _bitfield(),
}
_RECORD: Final = f"cc_cookie={_record(560)}"
_HEADER: Final = f"{_RECORD}; euconsent-v2={_TCF['1,000 ranges']}; {_cookies(3_000)}"

WITHIN: Final[dict[str, Carried]] = {
    **{f"TC string, {what}": _carried(Signals(tcf=text, gdpr=True)) for what, text in _TCF.items()},
    "GPP string, 13 sections, 900 ranges": _carried(Signals(gpp=_gpp(), gpp_sid=tuple(range(2, 28)))),
    "additional consent string, 16,384 characters": _carried(
        Signals(tcf=tc_string(purposes=ALL, disclosed=()), ac=_providers(TEXT_MAX))
    ),
    "platform cookie, 8,192 characters": _carried(cookie=_RECORD),
    "header of small cookies, 16,384 characters": _carried(cookie=_cookies(cmp.HEADER_MAX)),
    "all of it at once": _carried(
        Signals(
            tcf=_TCF["252 restrictions, 756 ranges"], gdpr=True, ac=_providers(TEXT_MAX), gpp=_gpp(), us_privacy="1YNN",
            gcs="G111", gcd="13r3r3r3r5l1",
        ),
        cookie=_HEADER,
    ),
}  # fmt: skip
"""Within every cap, and as much work as the caps allow."""

TYPICAL: Final = _carried(
    Signals(tcf=tc_string(purposes=ALL, vendors=(755,), disclosed=(755,), publisher=(1, 8)), gdpr=True, gcs="G111"),
    cookie='cc_cookie={"categories":["analytics"],"services":{},"revision":1}; other=1',
)
"""What a page with a consent platform sends."""

OVER: Final[dict[str, Carried]] = {
    "TC string, 1,001 ranges": _carried(Signals(tcf=_ranges(1_001))),
    "TC string, 1 MB": _carried(Signals(tcf="C" * 1_000_000)),
    "TC string, 4,095 ranges announced": _carried(Signals(tcf=_ranges(400)[:-4] + "____")),
    "GPP string, 1 MB": _carried(Signals(gpp="DBABLA~" + "B" * 1_000_000)),
    "GPP string, 10,000 sections": _carried(Signals(gpp="DBABLA" + "~B" * 8_000)),
    "additional consent string, 1 MB": _carried(Signals(tcf=tc_string(), ac="2~" + "1." * 500_000)),
    "header of cookies, 1 MB": _carried(cookie=_cookies(1_000_000)),
    "platform cookie, 8,193 characters": _carried(cookie="cc_cookie=" + "[" * 8_193),
}
"""Over one cap."""


# ------------------------------------------------------------------ the bench


def _times_ms(work: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each run. Strings as long as these are decoded each time anew."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append((time.perf_counter() - begun) * 1000)
    return found


def _row(what: str, times: Sequence[float]) -> list[str]:
    return [what, f"{middle(times):.3f}", f"{min(times):.3f}..{max(times):.3f}"]


def judging(options: Options) -> Table:
    """Milliseconds from a request's signals to the judgements of four audiences."""
    rows = []
    for what, carried in {"typical": TYPICAL, **WITHIN, **{f"over: {what}": one for what, one in OVER.items()}}.items():
        times = _times_ms(lambda carried=carried: judged(carried), 20 * options.rounds)  # type: ignore[misc] # bound now
        rows.append(_row(what, times))
        options.say(f"{what}: {rows[-1][1]} ms")
    return Table(
        title="Judging one request, decoding included",
        columns=["what came", "ms, median", "ms, fastest..slowest"],
        rows=rows,
        notes=[
            "Four audiences are judged: the site, an IAB vendor, a Google destination, a provider outside the IAB list."
        ],
    )
