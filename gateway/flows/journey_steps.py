"""Steps of a journey: the events of the visit, what the conversion was worth from the start to now, and all in one line."""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.conversions import Counted
from gateway.conversions.adjustments import EFFECTS, apply
from gateway.conversions.adjustments import REASONS as WHY_ADJUSTED
from gateway.conversions.claims import VALUE_SOURCES
from gateway.flows.adjust import adjustment_of
from gateway.flows.assemble import Facts
from gateway.money import major_text
from gateway.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House
    from gateway.stores.contract_credit import AdjustmentRow, CountedConversion

__all__ = ["money_text", "timeline", "value_history", "visit_events"]

EVENTS_MAX: Final = 200
"""Events of the visit that are shown, the newest before the conversion."""
EVENTS_LOOKED: Final = 1_000
VISITORS_LOOKED: Final = 5
PORTION: Final = 200

_read_facts: Final = msgspec.json.Decoder(Facts).decode


def money_text(amount_minor: int | None, currency: str | None) -> str | None:
    """An amount as decimal text of major units, None where none was said."""
    return major_text(amount_minor, currency) if amount_minor is not None and currency else None


async def visit_events(
    house: "House", counted: "CountedConversion", visitors: "Sequence[bytes]", begun_ms: int
) -> list[dict[str, object]]:
    """Events of the visitors between the first touch and the conversion, oldest first."""
    found: dict[str, tuple[int, dict[str, object]]] = {}
    for visitor in visitors[:VISITORS_LOOKED]:
        left = (await house.store.held(counted.site, visitor)).events
        lowest = max(0, left - EVENTS_LOOKED)
        while left > lowest:
            start = max(lowest, left - PORTION)
            page = await house.store.events_of(counted.site, visitor, start, left - start)
            for record in page:
                if not begun_ms <= record.occurred_at_ms <= counted.occurred_at_ms:
                    continue
                at_page = _read_facts(record.facts).page
                shown: dict[str, object] = {
                    "event_id": record.event_id,
                    "at": utc_text(record.occurred_at_ms),
                    "name": record.name,
                    "url": at_page.url if at_page is not None else None,
                    "title": at_page.title if at_page is not None else None,
                    "conversion": record.event_id == counted.event_id,
                }
                found[record.event_id] = (record.occurred_at_ms, shown)
            left = start
            if page and page[0].received_at_ms < begun_ms:
                break
    ordered = sorted(found.values(), key=lambda pair: pair[0])
    return [shown for _, shown in ordered[-EVENTS_MAX:]]


def value_history(counted: "CountedConversion", rows: "Sequence[AdjustmentRow]") -> list[dict[str, object]]:
    """What the conversion was worth from the start to now, a step for each adjustment in the order they were made."""
    first = Counted(counted.amount_minor, counted.currency, counted.value_source)
    steps: list[dict[str, object]] = [
        {
            "at": utc_text(counted.occurred_at_ms),
            "what": "counted",
            "net_value": money_text(counted.amount_minor, counted.currency),
            "because": VALUE_SOURCES[counted.value_source],
        }
    ]
    ordered = sorted(rows, key=lambda row: row.at_ms)
    effects = apply(first, [adjustment_of(row) for row in ordered]).effects
    for number, row in enumerate(ordered, 1):
        state = apply(first, [adjustment_of(one) for one in ordered[:number]])
        effect = effects.get(row.adjustment_id, "applied")
        steps.append(
            {
                "at": utc_text(row.at_ms),
                "what": row.kind,
                "adjustment_id": row.adjustment_id,
                "received_at": utc_text(row.received_at_ms),
                "source_trust": row.trust,
                "reason": row.reason,
                "reason_because": WHY_ADJUSTED.get(row.reason, row.reason),
                "value": money_text(row.amount_minor, row.currency),
                "net_value": money_text(state.net_minor, state.currency),
                "effect": effect,
                "because": EFFECTS[effect],
            }
        )
    return steps


def timeline(
    counted: "CountedConversion",
    touches: "Sequence[dict[str, object]]",
    visit: "Sequence[dict[str, object]]",
    adjustments: "Sequence[AdjustmentRow]",
) -> list[dict[str, object]]:
    """Touches, events, the conversion and its adjustments in the order of time. RFC 3339 in UTC sorts as the times do."""
    steps: list[dict[str, object]] = []
    for touch in touches:
        if touch["at"] is not None:
            steps.append({"at": touch["at"], "what": "touch", "touch": touch["touch"], "name": touch["kind"]})
    for event in visit:
        if not event["conversion"]:
            steps.append({"at": event["at"], "what": "event", "event_id": event["event_id"], "name": event["name"]})
    steps.append(
        {
            "at": utc_text(counted.occurred_at_ms),
            "what": "conversion",
            "event_id": counted.event_id,
            "name": counted.goal,
        }
    )
    for row in adjustments:
        steps.append({"at": utc_text(row.at_ms), "what": "adjustment", "name": row.kind})
    return sorted(steps, key=lambda step: str(step["at"]))
