"""Overview: conversions first, what they brought and cost, how the site is doing, and what wants looking after."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flows.pulse import beat
from gateway.flows.report_asking import date_text
from gateway.flows.report_goals import with_clicks
from gateway.flows.report_notes import BENCHMARK_HELP, BENCHMARKS, notes
from gateway.flows.report_rows import drill, row_of
from gateway.flows.report_scan import sample
from gateway.flows.report_sums import ONE, Figures, Money, Seen, spend_of, wanted
from gateway.flows.report_tables import answer
from gateway.flows.report_tables import build as table_of
from gateway.times import MINUTE_MS, utc_text

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.stores.contract_credit import GoalDay

__all__ = ["health", "overview"]

_WORST: Final = 3
_CLICKS_TO_JUDGE: Final = 100
"""Clicks a campaign needs before its rate is called poor."""
_TESTS_SAMPLE: Final = 1_000
_RECENT: Final = 100


async def overview(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """The range in one row, day by day, with the poorest campaigns and everything that is warned about."""
    store, site = house.store, rooms.id
    found, touches, campaigns, spend, (stored, all_read), alive = await asyncio.gather(
        store.goal_days(site, ask.from_day, ask.upto_day, ("day", "goal", "currency")),
        store.touch_days(site, ask.from_day, ask.upto_day, ("day", "kind", "human")),
        table_of(house, rooms, "campaigns", msgspec.structs.replace(ask, sort="worst", limit=1_000)),
        spend_of(house, site, ask, ()),
        sample(house, site, ask, _TESTS_SAMPLE),
        health(house, rooms),
    )
    days = [row for row in found if wanted(house, site, ask, row.goal)]
    seen = [Seen((), row.day, row.kind, row.human, row.touches, row.repeats) for row in touches]
    whole = _figures(seen, days)
    for row in spend or ():
        whole.pay(row)
    of_goals = await with_clicks(house, rooms, ask, whole)
    return {
        **answer(rooms, "overview", "Overview", ask),
        "rows": [{**row_of({}, whole, whole, ask, spend=True), "conversions_query": drill(ask)}],
        "rows_total": 1,
        "days": _by_day(ask, seen, days),
        "unattributed": campaigns["unattributed"],
        "duplicates": sum([row.duplicates for row in days]),
        "retracted": sum([row.retracted for row in days]),
        "tests": {"conversions": len([row for row in stored if row.test]), "whole": all_read},
        "health": alive,
        "worst_campaigns": _worst(campaigns),
        "warnings": [*_warned(alive), *_of_goals(of_goals)],
        "benchmarks": list(BENCHMARKS),
        "benchmark_help": BENCHMARK_HELP,
        "notes": notes("clicks", "persons", "retracted"),
    }


def _figures(seen: Iterable[Seen], days: "Iterable[GoalDay]") -> Figures:
    made = Figures()
    for one in seen:
        made.see(one)
    for row in days:
        made.share_e9 += row.conversions * ONE
        made.first_e9 += row.first_of_person * ONE
        made.seconds_e9 += row.seconds * ONE
        made.timed_e9 += row.timed * ONE
        if row.currency:
            money = made.money.setdefault(row.currency, Money())
            money.share_e9 += row.conversions * ONE
            money.amount_minor += row.amount_minor
            money.net_minor += row.net_minor
    return made


def _by_day(ask: "Ask", seen: Iterable[Seen], days: "Iterable[GoalDay]") -> list[dict[str, object]]:
    """Conversions and clicks of every day, also of those without any."""
    found = {day: Figures() for day in range(ask.from_day, ask.upto_day + 1)}
    for one in seen:
        found[one.day].see(one)
    for row in days:
        found[row.day].share_e9 += row.conversions * ONE
    return [
        {"day": date_text(day), "conversions": figures.share_e9 // ONE, "clicks": figures.clicks}
        for day, figures in found.items()
    ]


def _worst(campaigns: dict[str, object]) -> list[dict[str, object]]:
    """Campaigns with the lowest conversion rates, of those with enough clicks to judge."""
    rows = campaigns["rows"]
    found = []
    for row in rows if isinstance(rows, list) else ():
        clicks = row.get("clicks", 0)
        if clicks >= _CLICKS_TO_JUDGE and (row["key"]["campaign_id"] or row["key"]["campaign_name"]):
            found.append({"key": row["key"], "conversion_rate": row["conversion_rate"]})
    return found[:_WORST]


# ------------------------------------------------------------------ health


async def health(house: "House", rooms: "SiteRooms") -> dict[str, object]:
    """When the last event came, and what became stuck; at most 100 dead deliveries are counted.

    `known_by`: `events` (counted since the start), `deliveries` (the newest of the last ones), or None.
    """
    beat(house)
    now_ms = house.clock.now_ms()
    pulse = house.pulses[rooms.id]
    at_ms, known_by = pulse.at_ms, "events"
    if at_ms is None:
        at_ms = max(
            [row.judged_at_ms for row in await house.store.recent(_RECENT) if row.site == rooms.id], default=None
        )
        known_by = "deliveries"
    minutes = (now_ms - at_ms) // MINUTE_MS if at_ms is not None else None
    limit = rooms.site.reports.silence_warn_minutes
    return {
        "last_event_at": utc_text(at_ms) if at_ms is not None else None,
        "minutes_ago": minutes,
        "known_by": known_by if at_ms is not None else None,
        "events_since_start": pulse.events,
        "started_at": utc_text(house.started_at_s * 1000),
        "silent": minutes >= limit if minutes is not None else None,
        "silence_warn_minutes": limit,
        "deliveries_waiting": sum([row.count for row in await house.store.waiting() if row.site == rooms.id]),
        "deliveries_dead": len(await house.store.dead(rooms.id, None, _RECENT)),
    }


def _warned(alive: dict[str, object]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    if alive["silent"]:
        message = f"No event for {alive['minutes_ago']} minutes: look whether the tag is still on the pages and is not blocked."
        found.append({"code": "silent", "message": message})
    if alive["deliveries_dead"]:
        found.append({"code": "dead_deliveries", "message": "Deliveries failed for good; see: gateway replay --list"})
    return found


def _of_goals(of_goals: dict[str, object]) -> Sequence[dict[str, object]]:
    rows = of_goals["rows"]
    return [
        {**warning, "goal": row["key"]["goal"]}
        for row in (rows if isinstance(rows, list) else ())
        for warning in row["warnings"]
    ]
