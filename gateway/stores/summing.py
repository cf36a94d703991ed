"""Statements that sum by some columns, made of those in `report.sql` (pure).

A file holds a statement with every column a sum can be made by. What is asked for is cut out of it, for three reasons:

* Sorting by twelve columns takes three times as long as sorting by two.
* Rows of a day that are alike in the first columns of the table's key follow each other. They are summed as they are read,
  and only their sums are sorted: half the time. Behind the campaign hardly two rows are alike, so there it would be in vain.
* Whole months of a range are read from the tables that hold sums by month: a sixth of the rows of a year.

Names come from our own lists, never from a caller.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from gateway.stores.named_sql import statements
from gateway.stores.sums import MONTH_DAYS, months_of

__all__ = ["summed"]

_REPORT: Final = statements("report.sql")

_BY_MONTH: Final = frozenset({"touch_days", "credit_days"})
"""Sums that are kept by months too."""

_SUMMED_IN_PLACE: Final = "campaign_id"
"""Last column of a key by which rows are summed as they are read."""

_COLUMN: Final = re.compile(r"case when :(\w+) then \w+ else (0|'') end")
_POSITIONS: Final = re.compile(r"\b(group|order) by 1[\d, ]*")
_KEY: Final = re.compile(r"\bsite_no, day, [\w, ]+[a-z]")
_SUM: Final = re.compile(r"\bsum\((.+?)\) as ")
_ROWS: Final = re.compile(r"(?<=from \()(.*?)(?=\n\))", re.DOTALL)
_PART: Final = re.compile(r"\b(amount|net)_minor ([/%]) 1000000000")
_WHOLE: Final = re.compile(r"\b(amount|net)_minor <> 0")
"""Months hold amounts in two parts."""
_RANGE: Final = "day between :from_day and :upto_day"


def summed(
    statement: str, columns: Sequence[str], days: tuple[int, int], by: Sequence[str], only: Mapping[str, str]
) -> tuple[str, dict[str, object]]:
    """The statement that sums `by` some of the `columns` what has the values of `only`, with what it asks for but `site_no`.

    `days` are the first and the last day. Raises ValueError for a name that is no column.
    """
    if unknown := {*by, *only} - set(columns):
        raise ValueError(f"there is no column {min(unknown)}")
    sql = _cut(statement, tuple(columns), frozenset(by), tuple(sorted(only)))
    names: dict[str, object] = {"from_day": days[0], "upto_day": days[1]}
    names |= {f"only_{column}": value for column, value in only.items()}
    from_month, upto_month = months_of(*days)
    if statement in _BY_MONTH and "day" not in by and from_month <= upto_month:
        return _with_months(sql), {**names, "from_month": from_month, "upto_month": upto_month}
    return sql, names


@lru_cache(maxsize=256)
def _cut(statement: str, columns: tuple[str, ...], by: frozenset[str], only: tuple[str, ...]) -> str:
    """The statement of the file with only the columns that are asked for."""
    asked = ", ".join(str(number) for number, name in enumerate(columns, 1) if name in by) or "site_no"
    text = _COLUMN.sub(lambda found: found[1] if found[1] in by else found[2], _REPORT[statement])
    text = _POSITIONS.sub(lambda found: f"{found[1]} by {asked}", text)
    text = text.replace(_RANGE, " and ".join([_RANGE, *(f"{name} = :only_{name}" for name in only)]))
    key = _KEY.search(text)
    if key is None:
        return text
    parts = key[0].split(", ")
    last = max([parts.index(name) for name in by], default=0)
    if last > parts.index(_SUMMED_IN_PLACE):
        return _SUM.sub(r"\1 as ", text.replace(f"group by\n        {key[0]}", ""))
    return text.replace(key[0], ", ".join(parts[: last + 1]))


@lru_cache(maxsize=256)
def _with_months(sql: str) -> str:
    """The statement with its rows from three places: days, months, days."""

    def three(found: re.Match[str]) -> str:
        days = found[1]
        months = days.replace("_day\n", "_month\n").replace(_RANGE, "day between :from_month and :upto_month")
        months = _PART.sub(lambda part: f"{part[1]}_{'e9' if part[2] == '/' else 'rest'}", months)
        months = _WHOLE.sub(r"\1_e9 * 1000000000 + \1_rest <> 0", months)
        first = days.replace(_RANGE, "day between :from_day and :from_month - 1")
        last = days.replace(_RANGE, f"day between :upto_month + {MONTH_DAYS} and :upto_day")
        return f"{first}\n    union all{months}\n    union all{last}"

    return _ROWS.sub(three, sql)
