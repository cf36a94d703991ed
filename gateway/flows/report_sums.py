"""Sums of a report: clicks, credit and spend of one range, added up by the columns the report has rows for.

Where rows narrow visitors down in two or more ways, days with too few persons are left out before anything is added up,
see `attribution.suppression`; such a report reads whole windows of days, so that the days it leaves out do not depend on
the range that is asked for.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.attribution.suppression import left_out_too, shown_days, window_of
from gateway.attribution.touches import CLICKS
from gateway.flows.report_asking import is_macro

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.flows.report_asking import Ask
    from gateway.stores.contract_credit import SpendRow, TouchDay

__all__ = [
    "ONE", "Earned", "Figures", "Key", "Money", "Seen", "Table", "earned_of", "is_fine", "seen_of", "spend_of", "table",
    "wanted",
]  # fmt: skip

ONE: Final = 1_000_000_000
"""One conversion in billionths."""

Key = tuple[str, ...]
"""What a row is about: one text for each of the report's columns."""

_SPEND_COLUMNS: Final = frozenset({"campaign_id", "channel", "source"})
_VISIT: Final = frozenset({"device", "landing"})
_NARROW: Final = _VISIT | {
    "channel", "source", "medium", "variant", "campaign_id", "campaign_name", "link_id", "ambassador_id",
}  # fmt: skip


class Seen(NamedTuple):
    """Touches of one day that belong to one row."""

    key: Key
    day: int
    kind: str
    human: str
    touches: int
    repeats: int


class Earned(NamedTuple):
    """Credit of one day that belongs to one row. Shares in billionths, amounts in minor units, as in `CreditDay`."""

    key: Key
    day: int
    goal: str
    currency: str
    share_e9: int
    first_e9: int
    amount_minor: int
    net_minor: int
    seconds_e9: int
    timed_e9: int


class Money(msgspec.Struct):
    """Money of one currency, in minor units. `share_e9`: conversions with an amount in it."""

    share_e9: int = 0
    amount_minor: int = 0
    net_minor: int = 0
    spend_minor: int = 0


class Figures(msgspec.Struct):
    """Everything that was added up for one row. `clicks` are those of people; `money` is by currency.

    `suppressed`: `no`, `part` (what is shown is too low, because some days are left out) or `whole` (nothing is shown).
    """

    clicks: int = 0
    scans: int = 0
    suspect: int = 0
    bots: int = 0
    repeats: int = 0
    views: int = 0
    direct: int = 0
    share_e9: int = 0
    first_e9: int = 0
    seconds_e9: int = 0
    timed_e9: int = 0
    paid_clicks: int = 0
    impressions: int = 0
    money: dict[str, Money] = {}
    suppressed: str = "no"

    def see(self, seen: Seen) -> None:
        """Add touches."""
        if seen.human == "no":
            self.bots += seen.touches
        elif seen.human == "suspect":
            self.suspect += seen.touches
        elif seen.kind in CLICKS:
            self.clicks += seen.touches
            self.scans += seen.touches if seen.kind == "qr" else 0
            self.repeats += seen.repeats
        elif seen.kind == "view":
            self.views += seen.touches
        else:
            self.direct += seen.touches

    def earn(self, earned: Earned) -> None:
        """Add credit."""
        self.share_e9 += earned.share_e9
        self.first_e9 += earned.first_e9
        self.seconds_e9 += earned.seconds_e9
        self.timed_e9 += earned.timed_e9
        if earned.currency:
            money = self.money.setdefault(earned.currency, Money())
            money.share_e9 += earned.share_e9
            money.amount_minor += earned.amount_minor
            money.net_minor += earned.net_minor

    def pay(self, row: "SpendRow") -> None:
        """Add what was spent."""
        self.money.setdefault(row.currency, Money()).spend_minor += row.amount_minor
        self.paid_clicks += row.clicks or 0
        self.impressions += row.impressions or 0

    def add(self, other: "Figures") -> None:
        """Add the figures of another row."""
        for name in self.__struct_fields__:
            mine = getattr(self, name)
            if isinstance(mine, int):
                setattr(self, name, mine + getattr(other, name))
        for currency, money in other.money.items():
            own = self.money.setdefault(currency, Money())
            for name in own.__struct_fields__:
                setattr(own, name, getattr(own, name) + getattr(money, name))


class Table(NamedTuple):
    """The rows of a report. `spend`: whether spend can be told apart by these rows."""

    rows: dict[Key, Figures]
    spend: bool


def is_fine(columns: Iterable[str]) -> bool:
    """Whether rows with these columns, and those they are narrowed down by, say so much that they could mean one person."""
    named = set(columns) & _NARROW
    return (bool(named & _VISIT) and len(named) > 1) or len(named) > 2


# ------------------------------------------------------------------ reading


async def seen_of(house: "House", site: str, ask: "Ask", columns: Sequence[str], *, fine: bool) -> list[Seen]:
    """Read touches by columns of `TouchDay`."""
    by = dict.fromkeys([*(("day",) if fine else ()), "kind", "human", *columns])
    first, last = window_of(ask.from_day, ask.upto_day) if fine else (ask.from_day, ask.upto_day)
    return [
        Seen(_key(row, columns), row.day, row.kind, row.human, row.touches, row.repeats)
        for row in await house.store.touch_days(site, first, last, tuple(by), ask.filters)
    ]


async def earned_of(house: "House", site: str, ask: "Ask", columns: Sequence[str], *, fine: bool) -> list[Earned]:
    """Read credit by columns of `CreditDay`."""
    by = dict.fromkeys([*(("day",) if fine else ()), "goal", "currency", *columns])
    first, last = window_of(ask.from_day, ask.upto_day) if fine else (ask.from_day, ask.upto_day)
    return [
        Earned(
            _key(row, columns),
            row.day,
            row.goal,
            row.currency,
            row.share_e9,
            row.first_e9,
            row.amount_minor,
            row.net_minor,
            row.seconds_e9,
            row.timed_e9,
        )
        for row in await house.store.credit_days(site, first, last, tuple(by), ask.filters)
        if wanted(house, site, ask, row.goal)
    ]


async def spend_of(house: "House", site: str, ask: "Ask", columns: Sequence[str]) -> "list[SpendRow] | None":
    """Read what was spent, None when spend is not known by these columns."""
    if not {*columns, *ask.filters} - {"campaign_name"} <= _SPEND_COLUMNS or "campaign_name" in ask.filters:
        return None
    by = ("currency", *(column for column in columns if column in _SPEND_COLUMNS))
    return list(await house.store.spend_days(site, ask.from_day, ask.upto_day, by, ask.filters))


def wanted(house: "House", site: str, ask: "Ask", goal: str) -> bool:
    """Whether a goal is one of those that are asked for."""
    if ask.goal and goal != ask.goal:
        return False
    return ask.goals == "all" or is_macro(house.shelves[site], goal) == (ask.goals == "macro")


def _key(row: "TouchDay | object", columns: Sequence[str]) -> Key:
    return tuple([str(getattr(row, column)) for column in columns])


# ------------------------------------------------------------------ adding up


def table(
    ask: "Ask",
    columns: Sequence[str],
    seen: Iterable[Seen],
    earned: Iterable[Earned],
    spend: "Iterable[SpendRow] | None",
    *,
    under: int,
) -> Table:
    """Add up. `under`: fewer persons than this are not shown; 0 shows everything, and then days may be unknown (0)."""
    rows: dict[Key, Figures] = {}
    if under:
        _add_blocks(ask, rows, list(seen), list(earned), under)
    else:
        for one in seen:
            rows.setdefault(one.key, Figures()).see(one)
        for part in earned:
            rows.setdefault(part.key, Figures()).earn(part)
    for row in spend or ():
        key = tuple(["" if column == "campaign_name" else str(getattr(row, column)) for column in columns])
        rows.setdefault(key, Figures()).pay(row)
    return Table(rows, spend is not None)


def _add_blocks(
    ask: "Ask", rows: dict[Key, Figures], seen: Sequence[Seen], earned: Sequence[Earned], under: int
) -> None:
    """Add up the days that may be shown, row by row, and mark the rows that lack some."""
    clicks: dict[Key, dict[int, dict[str, int]]] = {}
    persons: dict[Key, dict[int, dict[str, int]]] = {}
    for one in seen:
        if one.human == "yes":
            _count(clicks, one.key, one.day, "", one.touches)
    for part in earned:
        _count(persons, part.key, part.day, part.goal, part.first_e9)
    asked = range(ask.from_day, ask.upto_day + 1)
    visible = _Visible(rows, clicks, asked, under)
    for one in seen:
        if one.day in asked and (one.human != "yes" or visible.weigh(one.key, one.day, one.touches)):
            rows.setdefault(one.key, Figures()).see(one)  # robots are nobody
    visible.hide_smallest()
    visible = _Visible(rows, persons, asked, under * ONE)
    for part in earned:
        if part.day in asked and visible.weigh(part.key, part.day, part.share_e9):
            rows.setdefault(part.key, Figures()).earn(part)
    visible.hide_smallest()
    for row in rows.values():
        if row.suppressed == "part" and not row.share_e9 and not row.clicks:
            row.suppressed = "whole"


class _Visible:
    """Which days of which rows may be shown; marks the rows that lack some."""

    def __init__(
        self, rows: dict[Key, Figures], counts: dict[Key, dict[int, dict[str, int]]], asked: range, under: int
    ) -> None:
        self._rows = rows
        self._under = under
        self._days = {key: shown_days(found, under, asked[0], asked[-1]) for key, found in counts.items()}
        self._shown: dict[Key, int] = {}
        self._left_out = 0

    def weigh(self, key: Key, day: int, weight: int) -> bool:
        """Whether a day of a row may be shown."""
        if day in self._days.get(key, ()):
            self._shown[key] = self._shown.get(key, 0) + weight
            return True
        if weight:
            self._left_out += weight
            self._rows.setdefault(key, Figures()).suppressed = "part"
        return False

    def hide_smallest(self) -> None:
        """Leave out one more row where those left out could be found by subtraction."""
        names = {"\x1f".join(key): key for key in self._shown}
        hidden = left_out_too({name: self._shown[key] for name, key in names.items()}, self._left_out, self._under)
        if hidden is not None:
            self._rows.setdefault(names[hidden], Figures()).suppressed = "whole"


def _count(counts: dict[Key, dict[int, dict[str, int]]], key: Key, day: int, label: str, count: int) -> None:
    labels = counts.setdefault(key, {}).setdefault(day, {})
    labels[label] = labels.get(label, 0) + count
