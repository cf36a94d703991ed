"""Reports: every report by its name, with the parameters it takes; exports, and the metrics of one link.

Reports read maintained sums wherever there are any, so their time does not grow with the number of events. What is read one
by one has a bound, and every report has a time limit: beyond either it is refused, and says so.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.attribution.metrics import rounded
from gateway.errors import Refusal
from gateway.flows import report_exports
from gateway.flows.convert import authenticate
from gateway.flows.report_asking import COLUMNS, Ask, read_ask
from gateway.flows.report_funnel import funnel
from gateway.flows.report_goals import goals
from gateway.flows.report_overview import overview
from gateway.flows.report_paths import paths, time_to_convert
from gateway.flows.report_reconciliation import reconciliation
from gateway.flows.report_rows import amount_text, pct
from gateway.flows.report_sums import ONE, Figures, Money, earned_of, seen_of
from gateway.flows.report_tables import TABLES
from gateway.flows.report_tables import build as table_of
from gateway.protocols.goals_compat import Figures as Told
from gateway.protocols.goals_compat import answer_metrics, read_period

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = ["EXPORTS", "REPORTS", "allow", "export", "link_metrics", "report"]

REPORT_S: Final = 20.0
"""Longest time one report may take."""

STEPS_TOO: Final = frozenset({"goals", "funnel", "paths", "time_to_convert"})
"""Reports about every goal. The others show money, and of that the steps on the way to a sale are no part: without `goal` or
`goals` they sum macro goals alone, and say so among their filters."""

_RANGE: Final = frozenset({"from", "to"})
_GOALS: Final = frozenset({"goal", "goals"})
_TABLE: Final = frozenset({*_RANGE, *_GOALS, *COLUMNS, "currency", "model", "sort", "limit"})
_CREDITED: Final = _TABLE - {"medium", "landing"}

Build = Callable[["House", "SiteRooms", Ask], Awaitable[dict[str, object]]]


class _Report(msgspec.Struct, frozen=True):
    """One report: what makes it, and the parameters it takes."""

    build: Build
    takes: frozenset[str]


def _table(name: str) -> Build:
    def build(house: "House", rooms: "SiteRooms", ask: Ask) -> Awaitable[dict[str, object]]:
        return table_of(house, rooms, name, ask)

    return build


REPORTS: Final[dict[str, _Report]] = {
    "overview": _Report(overview, frozenset({*_RANGE, *_GOALS, "currency"})),
    **{name: _Report(_table(name), _TABLE) for name in TABLES},
    "goals": _Report(goals, frozenset({*_RANGE, *_GOALS, "currency", "sort", "limit"})),
    "paths": _Report(paths, frozenset({*_RANGE, "goal", "limit"})),
    "funnel": _Report(funnel, frozenset({*_RANGE, "steps", "sort"})),
    "time_to_convert": _Report(time_to_convert, frozenset({*_RANGE, *_GOALS})),
    "reconciliation": _Report(reconciliation, frozenset({*_RANGE, *_GOALS})),
}
"""Name to report, in the order in which they are shown."""

EXPORTS: Final[dict[str, frozenset[str]]] = {
    "conversions": frozenset({*_RANGE, *_GOALS, *COLUMNS, "landing"}),
    "credits": frozenset({*_RANGE, *_GOALS, *COLUMNS, "landing"}),
    "touches": frozenset({*_RANGE, *COLUMNS}),
}
"""Name of an export to the parameters it takes."""


def allow(house: "House", rooms: "SiteRooms", request: "Request") -> None:
    """Let a caller in whose key may read reports. Raises Refusal as `convert.authenticate` does.

    A signature is checked where one is owed; that it was used before does no harm to a reader.
    """
    authenticate(house, rooms, request, "reports", house.clock.now_ms())


async def report(house: "House", rooms: "SiteRooms", name: str, query: Mapping[str, str]) -> dict[str, object]:
    """Make one report. Raises Refusal: `report_unknown`, `report_too_large`, `report_personal`, or what is wrong with a parameter."""
    found = REPORTS.get(name)
    if found is None:
        raise Refusal("report_unknown")
    try:
        async with asyncio.timeout(REPORT_S):
            goals = "all" if name in STEPS_TOO else "macro"
            ask = await read_ask(house, rooms, query, found.takes, goals=goals)
            await _allow_link(house, rooms, ask)
            return await found.build(house, rooms, ask)
    except TimeoutError:
        raise Refusal("report_too_large") from None


async def export(
    house: "House", rooms: "SiteRooms", name: str, query: Mapping[str, str], *, csv: bool
) -> AsyncIterator[bytes]:
    """Begin one export; its lines come while they are read. Raises Refusal before the first line."""
    takes = EXPORTS.get(name)
    if takes is None:
        raise Refusal("report_unknown")
    ask = await read_ask(house, rooms, query, takes)
    return report_exports.lines(house, rooms, name, ask, csv=csv)


async def link_metrics(house: "House", rooms: "SiteRooms", query: Mapping[str, str]) -> bytes:
    """Answer the metrics of one link, or of all, over the last days. Raises Refusal.

    Of a link they are its share of the credit; of all, every conversion. With one currency the average is over all
    conversions, as the guide has it; with several it is over those of each.
    """
    period = read_period(query)
    narrowed = {"link": period.link_id} if period.link_id is not None else {}
    try:
        ask = await read_ask(house, rooms, narrowed, frozenset({"link"}), days=period.days)
        await _allow_link(house, rooms, ask)
    except Refusal as refusal:
        raise Refusal(refusal.code, "link_id") from None
    figures = Figures()
    touches, credit = await asyncio.gather(
        seen_of(house, rooms.id, ask, (), fine=False), earned_of(house, rooms.id, ask, (), fine=False)
    )
    for seen in touches:
        figures.see(seen)
    for earned in credit:
        figures.earn(earned)
    timed = Fraction(figures.seconds_e9, figures.timed_e9) if figures.timed_e9 else None
    if period.link_id is None:
        figures = await _everything(house, rooms, ask, figures.clicks)
    return answer_metrics(
        Told(
            conversions=int(rounded(Fraction(figures.share_e9, ONE), 0)),
            clicks=figures.clicks,
            rate_pct=pct(Fraction(figures.share_e9, ONE), figures.clicks),
            money={
                currency: (amount_text(money.amount_minor, currency), _average(figures, money, currency))
                for currency, money in figures.money.items()
            },
            time_to_convert_s=rounded(timed, 1) if timed is not None else None,
        ),
        period,
    )


async def _allow_link(house: "House", rooms: "SiteRooms", ask: Ask) -> None:
    """Refuse `report_personal`: a question narrowed down to the link of one recipient, where single visitors are not shown."""
    link_id = ask.filters.get("link_id")
    if link_id and rooms.site.reports.suppress_under:
        link = await house.shelves[rooms.id].link_by_id(link_id)
        if link is not None and link.recipient:
            raise Refusal("report_personal", "link")


async def _everything(house: "House", rooms: "SiteRooms", ask: Ask, clicks: int) -> Figures:
    """Every conversion of the range, whoever it is credited to."""
    figures = Figures(clicks=clicks)
    for row in await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("currency",)):
        figures.share_e9 += row.conversions * ONE
        if row.currency:
            figures.money[row.currency] = Money(row.conversions * ONE, row.amount_minor, row.net_minor)
    return figures


def _average(figures: Figures, money: Money, currency: str) -> str | None:
    share_e9 = figures.share_e9 if len(figures.money) == 1 else money.share_e9
    return amount_text(Fraction(money.amount_minor * ONE, share_e9), currency) if share_e9 else None
