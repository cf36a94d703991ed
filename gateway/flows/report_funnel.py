"""Funnel: how many are left at each step, from the first impression to the last goal, and where most drop off."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from gateway.attribution.touches import CLICKS
from gateway.errors import Refusal
from gateway.flows.report_notes import notes
from gateway.flows.report_rows import drill, pct
from gateway.flows.report_tables import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask

__all__ = ["funnel"]


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `of` says what is counted: impressions, clicks or persons."""

    code: str
    name: str
    of: str
    count: int
    conversions: int | None = None


async def funnel(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """How many persons reached each goal by way of those before, behind impressions and clicks.

    Raises Refusal `field_missing` at `steps`.
    """
    if not ask.steps:
        raise Refusal("field_missing", "steps")
    shelf = house.shelves[rooms.id]
    touches, spend, reached = await asyncio.gather(
        house.store.touch_days(rooms.id, ask.from_day, ask.upto_day, ("kind", "human")),
        house.store.spend_days(rooms.id, ask.from_day, ask.upto_day, ("currency",)),
        house.store.funnel(rooms.id, ask.steps, ask.after_ms, ask.upto_ms),
    )
    people = [row for row in touches if row.human == "yes"]
    views = sum([row.touches for row in people if row.kind == "view"]) + sum([row.impressions or 0 for row in spend])
    steps = [_Step(code="impressions", name="Impressions", of="impressions", count=views)] if views else []
    clicks = sum([row.touches for row in people if row.kind in CLICKS])
    steps.append(_Step(code="clicks", name="Clicks", of="clicks", count=clicks))
    for goal, (conversions, persons) in zip(ask.steps, reached, strict=True):
        name = (shelf.goals.get(goal) or shelf.implied_goal(goal)).name
        steps.append(_Step(code=goal, name=name, of="persons", count=persons, conversions=conversions))
    rows = [_row(steps[number - 1] if number else None, step, ask) for number, step in enumerate(steps)]
    if ask.sort == "worst":
        rows.sort(key=lambda row: -float(str(row["dropped_pct"] or -1)))
    return {
        **answer(rooms, "funnel", "Funnel", ask),
        "rows": rows,
        "rows_total": len(rows),
        "worst_step": _worst(steps),
        "imported_clicks": sum([row.clicks or 0 for row in spend]),
        "notes": notes("persons_in_order", "clicks", *(["imported"] if spend else [])),
    }


def _row(before: _Step | None, step: _Step, ask: "Ask") -> dict[str, object]:
    """One step with what of the one before is left. More may come than went before: then nothing dropped off."""
    row: dict[str, object] = {"key": {"step": step.code, "name": step.name, "of": step.of}, "count": step.count}
    dropped = max(0, before.count - step.count) if before is not None else None
    return {
        **row,
        "conversions": step.conversions,
        "dropped": dropped,
        "dropped_pct": pct(dropped, before.count) if before is not None and dropped is not None else None,
        "kept_pct": pct(step.count, before.count) if before is not None else None,
        "conversions_query": drill(ask, goal=step.code) if step.conversions is not None else None,
    }


def _worst(steps: "Sequence[_Step]") -> str | None:
    """The step before which the largest part of those who came so far dropped off; the first of equals."""
    worst, most = None, 0.0
    for before, step in pairwise(steps):
        part = 1 - step.count / before.count if before.count else 0.0
        if part > most:
            worst, most = step.code, part
    return worst
