"""Paths: the channels people came by before they converted, which channels assist, and how long it took."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gateway.attribution.channels import CHANNELS
from gateway.attribution.metrics import rounded
from gateway.flows.report_notes import notes
from gateway.flows.report_rows import drill, pct
from gateway.flows.report_scan import PAGE, counts, sample
from gateway.flows.report_sums import wanted
from gateway.flows.report_tables import answer
from gateway.times import DAY_MS, HOUR_MS, SECOND_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask

__all__ = ["PATHS_MAX", "SAMPLE", "paths", "time_to_convert"]

PATHS_MAX: Final = 5_000
"""Different paths that assists are counted over."""

SAMPLE: Final = 1_000
"""Conversions of which medians are taken."""

_SPREAD: Final = (
    ("under_1_hour", HOUR_MS // SECOND_MS),
    ("under_1_day", DAY_MS // SECOND_MS),
    ("under_7_days", 7 * DAY_MS // SECOND_MS),
    ("under_30_days", 30 * DAY_MS // SECOND_MS),
    ("30_days_and_more", None),
)


async def paths(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """The most frequent paths, and for each channel on how many it stood, first, last or in between."""
    found = await house.store.paths(rooms.id, ask.goal or None, ask.after_ms, ask.upto_ms, PATHS_MAX + 1)
    left_out, kept = len(found) > PATHS_MAX, found[:PATHS_MAX]
    whole = sum([conversions for _, conversions, _ in kept])
    said = ["paths_left_out"] if left_out else []
    said += ["rows_left_out"] if len(kept) > ask.limit else []
    return {
        **answer(rooms, "paths", "Paths", ask),
        "rows": [
            {
                "key": {"path": text, "touches": text.count(" > ") + 1},
                "conversions": conversions,
                "with_amount": valued,
                "share_of_conversions_pct": pct(conversions, whole),
            }
            for text, conversions, valued in kept[: ask.limit]
        ],
        "rows_total": len(kept),
        "conversions": whole,
        "channels": _assists((tuple(text.split(" > ")), conversions) for text, conversions, _ in kept),
        "conversions_query": drill(ask),
        "notes": notes(*said),
    }


def _assists(found: Iterable[tuple[Sequence[str], int]]) -> list[dict[str, object]]:
    """Per channel: conversions whose path it stands on, begins, ends; and those it assisted without being the last."""
    tallies: dict[str, list[int]] = {}
    for channels, conversions in found:
        for channel in dict.fromkeys(channels):
            tally = tallies.setdefault(channel, [0, 0, 0, 0])
            tally[0] += conversions
            tally[1] += conversions if channels[0] == channel else 0
            tally[2] += conversions if channels[-1] == channel else 0
            tally[3] += conversions if channel in channels[:-1] and channels[-1] != channel else 0
    return [
        {
            "channel": channel,
            "name": CHANNELS[channel].title if channel in CHANNELS else channel,
            "on_path": on_path,
            "first": first,
            "last": last,
            "assisted": assisted,
        }
        for channel, (on_path, first, last, assisted) in sorted(tallies.items(), key=lambda one: (-one[1][0], one[0]))
    ]


async def time_to_convert(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """Time from the last click to the conversion, of attributed conversions: averages of all, medians of a sample."""
    rows = await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("goal",))
    asked = [row for row in rows if wanted(house, rooms.id, ask, row.goal)]
    found, whole = await sample(house, rooms.id, ask, SAMPLE)
    seconds: dict[str, list[int]] = {row.goal: [] for row in asked}
    tests = len([row for row in found if row.test])
    for start in range(0, len(found), PAGE):
        timed = [row for row in found[start : start + PAGE] if counts(row) and row.credit_version]
        decided = await house.store.attributions([row.conversion_id for row in timed])
        for row in timed:
            known = decided.get(row.conversion_id)
            if known is not None and known.seconds is not None:
                seconds.setdefault(row.goal, []).append(known.seconds)
    return {
        **answer(rooms, "time_to_convert", "Time to convert", ask),
        "rows": [
            {
                "key": {"goal": row.goal},
                "conversions": row.conversions,
                "timed": row.timed,
                "average_s": rounded(Fraction(row.seconds, row.timed), 1) if row.timed else None,
                "sampled": len(seconds[row.goal]),
                "median_s": _median(seconds[row.goal]),
                "spread": _spread(seconds[row.goal]),
                "conversions_query": drill(ask, goal=row.goal),
            }
            for row in sorted(asked, key=lambda one: (-one.conversions, one.goal))
        ],
        "rows_total": len(asked),
        "sample": {"conversions": len(found), "tests": tests, "whole": whole},
        "notes": notes(*([] if whole else ["sample"])),
    }


def _median(seconds: Sequence[int]) -> str | None:
    ordered = sorted(seconds)
    if not ordered:
        return None
    return rounded(Fraction(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2], 2), 1)


def _spread(seconds: Sequence[int]) -> dict[str, int]:
    """How many conversions took how long."""
    edges = [0, *(edge for _, edge in _SPREAD if edge is not None), None]
    return {
        name: len([one for one in seconds if one >= (low or 0) and (high is None or one < high)])
        for (name, _), (low, high) in zip(_SPREAD, pairwise(edges), strict=True)
    }
