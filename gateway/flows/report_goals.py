"""Goals: what each brought, how it stands against its target, and what about its conversions wants looking after."""

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gateway.attribution.metrics import rounded
from gateway.flows.credit import headline_model
from gateway.flows.report_asking import is_macro
from gateway.flows.report_notes import BENCHMARK_HELP, BENCHMARKS, notes
from gateway.flows.report_rows import drill, row_of, sorted_keys, totals_of
from gateway.flows.report_sums import ONE, Figures, Money, seen_of, wanted
from gateway.flows.report_tables import answer
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.flows.report_sums import Key
    from gateway.stores.contract_credit import GoalDay

__all__ = ["WARNINGS", "goals", "rate_of", "with_clicks"]

WARNINGS: Final[dict[str, str]] = {
    "no_order_ids": "This goal receives no order ids: the same purchase reported twice counts twice. Send order_id.",
    "some_without_order_ids": "Some conversions came without an order id: those cannot be told from repeats.",
    "below_target": "The conversion rate is below the goal's target.",
    "default_values": "Most conversions said no amount and were counted with the goal's default value.",
    "many_duplicates": "More than a tenth of what arrived were repeats: the page or the server reports too often.",
}
"""What about a goal wants looking after."""

_WITH_ORDERS: Final = frozenset({"purchase", "subscribe", "custom"})


async def goals(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """A row for each goal that is set up or had conversions. Clicks are all clicks of the site."""
    clicks = Figures()
    for seen in await seen_of(house, rooms.id, ask, (), fine=False):
        clicks.see(seen)
    return await with_clicks(house, rooms, ask, clicks)


async def with_clicks(house: "House", rooms: "SiteRooms", ask: "Ask", clicks: Figures) -> dict[str, object]:
    """The report of goals, for clicks that were counted already."""
    shelf = house.shelves[rooms.id]
    days = await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("goal", "currency"))
    by_goal: dict[str, list[GoalDay]] = {
        code: [] for code, goal in shelf.goals.items() if not goal.archived and wanted(house, rooms.id, ask, code)
    }
    for row in days:
        if wanted(house, rooms.id, ask, row.goal):
            by_goal.setdefault(row.goal, []).append(row)
    figures: dict[Key, Figures] = {(code,): _figures(rows, clicks) for code, rows in by_goal.items()}
    totals = totals_of(figures.values())
    totals.clicks = clicks.clicks
    names: dict[Key, str] = {
        (code,): (shelf.goals.get(code) or shelf.implied_goal(code)).name.casefold() for code in by_goal
    }
    currency = ask.currency or rooms.site.currency or next(iter(sorted(totals.money)), "")
    rows_shown = [
        _row(house, rooms, key[0], by_goal[key[0]], figures[key], totals, ask)
        for key in sorted_keys(figures, ask, names, currency)[: ask.limit]
    ]
    return {
        **answer(rooms, "goals", "Goals", ask),
        "rows": rows_shown,
        "rows_total": len(figures),
        "clicks": clicks.clicks,
        "benchmarks": list(BENCHMARKS),
        "benchmark_help": BENCHMARK_HELP,
        "notes": notes("clicks", "persons", "retracted", *(["rows_left_out"] if len(figures) > ask.limit else [])),
    }


def rate_of(figures: Figures) -> Fraction | None:
    """Conversions per click, None without clicks."""
    return Fraction(figures.share_e9, ONE * figures.clicks) if figures.clicks else None


def _figures(rows: "Sequence[GoalDay]", clicks: Figures) -> Figures:
    made = Figures(clicks=clicks.clicks)
    for row in rows:
        made.share_e9 += row.conversions * ONE
        made.first_e9 += row.first_of_person * ONE
        made.seconds_e9 += row.seconds * ONE
        made.timed_e9 += row.timed * ONE
        if row.currency:
            made.money[row.currency] = Money(row.conversions * ONE, row.amount_minor, row.net_minor)
    return made


def _row(
    house: "House",
    rooms: "SiteRooms",
    code: str,
    rows: "Sequence[GoalDay]",
    figures: Figures,
    totals: Figures,
    ask: "Ask",
) -> dict[str, object]:
    shelf = house.shelves[rooms.id]
    goal = shelf.goals.get(code) or shelf.implied_goal(code)
    made = row_of(
        {
            "goal": code,
            "name": goal.name,
            "type": goal.type,
            "kind": "macro" if is_macro(shelf, code) else "micro",
            "description": goal.description,
        },
        figures,
        totals,
        ask,
        spend=False,
    )
    for name in ("suspect_clicks", "bot_clicks", "repeats", "scans", "views", "direct_visits", "share_of_clicks_pct"):
        del made[name]  # they are of the site, not of a goal
    counted = {
        name: sum([getattr(row, name) for row in rows])
        for name in ("conversions", "unattributed", "duplicates", "retracted", "defaulted", "without_order")
    }
    del counted["conversions"]
    rate = rate_of(figures)
    target = Fraction(goal.target_rate_ppm, 10_000) if goal.target_rate_ppm is not None else None
    actual = rate * 100 if rate is not None else None
    return {
        **made,
        **counted,
        "model": headline_model(goal).id,
        "window_days": goal.click_window_ms // DAY_MS,
        "target": {
            "rate_pct": rounded(target, 2) if target is not None else None,
            "actual_pct": rounded(actual, 2) if actual is not None else None,
            "reached": actual >= target if actual is not None and target is not None else None,
        },
        "warnings": [
            {"code": code, "message": WARNINGS[code]}
            for code in _warnings(goal.type, goal.count, figures, counted, actual, target)
        ],
        "conversions_query": drill(ask, goal=code),
    }


def _warnings(
    type_: str,
    count: str,
    figures: Figures,
    counted: "dict[str, int]",
    actual: Fraction | None,
    target: Fraction | None,
) -> list[str]:
    conversions = figures.share_e9 // ONE
    found = []
    if conversions and type_ in _WITH_ORDERS and count == "every":
        if counted["without_order"] == conversions:
            found.append("no_order_ids")
        elif counted["without_order"]:
            found.append("some_without_order_ids")
    if actual is not None and target is not None and actual < target:
        found.append("below_target")
    if 2 * counted["defaulted"] > conversions:
        found.append("default_values")
    if 10 * counted["duplicates"] > conversions + counted["duplicates"]:
        found.append("many_duplicates")
    return found
