"""Suppression: which figures of a finely divided report may be shown, so that no two questions isolate one visitor.

Days are joined into blocks, each the first days in a row that hold enough persons together. Blocks depend on what was
counted and never on what is asked: windows of 91 days have fixed edges, and each begins anew. A range shows the blocks that
lie in it whole. Two ranges therefore differ by whole blocks, and never by fewer persons than a block has.

What a report leaves out can also be found by subtracting what it shows from a total that is known: where the persons left
out of all rows together are fewer than the bound, the smallest row that is shown is left out too.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["WINDOW_DAYS", "left_out_too", "shown_days", "window_of"]

WINDOW_DAYS: Final = 91
"""Days of a window. What is left over at its end, fewer persons than the bound, is never shown."""


def window_of(from_day: int, upto_day: int) -> tuple[int, int]:
    """First and last day of the windows that a range touches."""
    return from_day // WINDOW_DAYS * WINDOW_DAYS, (upto_day // WINDOW_DAYS + 1) * WINDOW_DAYS - 1


def shown_days(counts: Mapping[int, Mapping[str, int]], under: int, from_day: int, upto_day: int) -> frozenset[int]:
    """Days of a range whose figures may be shown.

    `counts` holds, for each day of the windows the range touches, counts of persons by a label: a person stands once
    under each label, so labels are not added up. A block is full when one label reaches `under`.
    """
    shown: set[int] = set()
    block: list[int] = []
    held: dict[str, int] = {}
    window = None
    for day in sorted(counts):
        if day // WINDOW_DAYS != window:
            window, block, held = day // WINDOW_DAYS, [], {}
        block.append(day)
        for label, count in counts[day].items():
            held[label] = held.get(label, 0) + count
        if held and max(held.values()) >= under:
            if block[0] >= from_day and block[-1] <= upto_day:
                shown.update(block)
            block, held = [], {}
    return frozenset(shown)


def left_out_too(shown: Mapping[str, int], left_out: int, under: int) -> str | None:
    """Name the row that has to be left out besides, None when there is none.

    `shown` are the persons shown by row, `left_out` those that all rows together leave out.
    """
    if not 0 < left_out < under:
        return None
    rows = {name: count for name, count in shown.items() if count}
    return min(rows, key=lambda name: (rows[name], name)) if rows else None
