"""Run the benches and write docs/reference/performance.md.

python -m tests.bench                      all of them, five rounds each: about half an hour
python -m tests.bench --only page_view     one of them; nothing is written
python -m tests.bench --json               figures as JSON on standard output; nothing is written
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from tests.bench.attribution import attribution
from tests.bench.consent import judging
from tests.bench.deliveries import backlog, deliveries
from tests.bench.harness import ROOT, machine
from tests.bench.links import redirect
from tests.bench.marketing import marketing
from tests.bench.measures import BENCHES, Options, Table
from tests.bench.page import page
from tests.bench.store import store
from tests.bench.tcf import consent_strings

ALL: Final[dict[str, Callable[[Options], Table]]] = {
    **BENCHES,
    "deliveries": deliveries,
    "backlog": backlog,
    "redirect": redirect,
    "marketing": marketing,
    "store": store,
    "consent_strings": consent_strings,
    "judging": judging,
    "attribution": attribution,
}
PAGE: Final = ROOT / "docs" / "reference" / "performance.md"


def _say(text: str) -> None:
    print(f"  {text}  (load {os.getloadavg()[0]:.2f})", file=sys.stderr, flush=True)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure speed as ratios within one run."
    )
    parser.add_argument("--only", choices=sorted(ALL), action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    parser.add_argument("--big", type=int, default=1_000_000, help="events in the big file")
    parser.add_argument("--clicks", type=int, default=1_000_000, help="clicks in the file that reports are read from")
    parser.add_argument("--conversions", type=int, help="conversions in it; one to ten clicks when it is not said")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    options = Options(
        rounds=given.rounds,
        seconds=given.seconds,
        big=given.big,
        say=_say,
        clicks=given.clicks,
        conversions=given.clicks // 10 if given.conversions is None else given.conversions,
    )
    found: dict[str, Table] = {}
    about = machine()
    begun_s = time.perf_counter()
    for name, bench in ALL.items():
        if given.only is not None and name not in given.only:
            continue
        print(f"{name} (load {os.getloadavg()[0]:.2f})", file=sys.stderr, flush=True)
        found[name] = bench(options)
    about["took"] = f"{(time.perf_counter() - begun_s) / 60:.0f} minutes"
    about["load_average_after"] = f"{os.getloadavg()[0]:.2f}"
    if given.json:
        sys.stdout.write(msgspec.json.encode({"machine": about, "benches": found}).decode() + "\n")
        return 0
    text = page(about, list(found.values()), options)
    if given.only is None:
        PAGE.write_text(text, encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}", file=sys.stderr)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
