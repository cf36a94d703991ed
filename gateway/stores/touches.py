"""Touches as rows: many clicks to a statement, repeats counted once for each click, sums once for each of their rows.

A campaign that was just sent brings hundreds of clicks a second on a few links. One statement for each click and one for its
sum would cost more than everything else that is done with it. So the clicks of a commit are written together, and what they
add to `touch_day` is added up first. Used by the writer's thread and by the appender's process.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec

from gateway.event import Touch
from gateway.stores.named_sql import statements
from gateway.stores.plain import ROWS_PER_STATEMENT, Inserted, Row, plain_rows
from gateway.times import day_of

__all__ = ["CLICKS", "REPEATS", "TOUCHES", "Clicks", "DaySums", "Repeats", "touch_row"]

_SQL: Final = statements("credit.sql")
_SITE_NO: Final = 0
_COLUMNS: Final = ("site_no", "event_seq", *Touch.__struct_fields__)
_CLICK_ID: Final = _COLUMNS.index("click_id")
_AT_MS: Final = _COLUMNS.index("occurred_at_ms")
_TEST: Final = _COLUMNS.index("test")
_SUMMED_BY: Final = tuple(
    _COLUMNS.index(name)
    for name in (
        "kind", "channel", "source", "medium", "campaign_name", "campaign_id", "link_id", "ambassador_id", "variant",
        "device", "human",
    )
)  # fmt: skip

TOUCHES: Final = plain_rows(
    _SQL["touch_insert"], _SQL["touch_clicks_newest"], named_by=(_SITE_NO, _CLICK_ID), numbered=True
)
"""How touches are written."""

_DAYS: Final = plain_rows(_SQL["touch_day_add"])


def touch_row(site_no: int, seq: int | None, touch: Touch) -> tuple[object, ...]:
    """Columns of `touch_insert`."""
    return (site_no, seq, *msgspec.structs.astuple(touch))


class DaySums:
    """What touches and repeats add to `touch_day`."""

    def __init__(self) -> None:
        self._sums: dict[tuple[object, ...], tuple[int, int]] = {}

    def add_touch(self, row: Row) -> None:
        """Add a new touch. Rehearsals count for nothing."""
        if not row[_TEST]:
            self._add((row[_SITE_NO], day_of(row[_AT_MS]), *[row[place] for place in _SUMMED_BY]), 1, 0)  # type: ignore[arg-type] # a time

    def add_repeats(self, site_no: int, at_ms: int, by: Sequence[object], repeats: int) -> None:
        """Add repeats of a touch. `by` are the columns from its kind on."""
        self._add((site_no, day_of(at_ms), *by), 0, repeats)

    def _add(self, key: tuple[object, ...], touches: int, repeats: int) -> None:
        before = self._sums.get(key, (0, 0))
        self._sums[key] = (before[0] + touches, before[1] + repeats)

    def write(self, db: sqlite3.Connection) -> None:
        """Add them to the rows of the days, inside a transaction."""
        rows = [(*key, *values) for key, values in self._sums.items()]
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            db.execute(_DAYS.statement(len(part)), list(chain.from_iterable(part)))


class Clicks:
    """Touches without an event. Each is answered by its number; one whose click id is there stays as it is, and so its number."""

    def insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Write clicks and what they add to the sums."""
        inserted = TOUCHES.insert(db, rows)
        for number in inserted.repeated:
            known = (rows[number][_SITE_NO], rows[number][_CLICK_ID])
            (inserted.answers[number],) = db.execute(_SQL["touch_of_click"], known).fetchone()  # type: ignore[index] # numbered
        old = {*inserted.repeated, *inserted.failed}
        sums = DaySums()
        for number, row in enumerate(rows):
            if number not in old:
                sums.add_touch(row)
        sums.write(db)
        return inserted


class Repeats:
    """Rows of a site's number and a click id: one more click each, on the day of the first. The answer: whether it is known."""

    def insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Count repeats."""
        counts: dict[Row, int] = {}
        for row in rows:
            counts[row] = counts.get(row, 0) + 1
        sums = DaySums()
        known: set[Row] = set()
        for row, count in counts.items():
            for test, at_ms, *by in db.execute(_SQL["touch_repeat"], (count, *row)).fetchall():
                known.add(row)
                if not test:
                    sums.add_repeats(row[0], at_ms, by, count)  # type: ignore[arg-type] # a site's number
        sums.write(db)
        return Inserted([], [], [row in known for row in rows])


CLICKS: Final = Clicks()
REPEATS: Final = Repeats()
