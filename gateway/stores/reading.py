"""Reading: values that are put together from several tables, for people: explanations, disclosure, what is held.

Each function takes `rows`, which runs one statement on a reader and returns its rows.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from gateway.stores.contract import (
    AttemptRow,
    ConversionRow,
    DeliveryRow,
    EventRecord,
    Held,
    HeldTouch,
    PassedOn,
    RecordRow,
    TouchRow,
)
from gateway.stores.named_sql import statements

__all__ = ["Rows", "event", "events_of", "held", "passed_on", "touches_of"]

Rows = Callable[[str, Sequence[object] | dict[str, object]], Awaitable[list[tuple[Any, ...]]]]

_READ: Final = statements("read.sql")
_SUBJECT: Final = statements("subject.sql")


async def event(rows: Rows, event_id: str, site: str | None) -> EventRecord | None:
    """Everything stored about one event."""
    found = await rows(_READ["event_get"], {"event_id": event_id, "site": site})
    if not found:
        return None
    seq, found_site, own_id, name, trust, occurred_at_ms, received_at_ms, visitor_kind, facts = found[0]
    conversions = await rows(_READ["event_conversions"], (seq,))
    touches = await rows(_READ["event_touches"], (seq,))
    return EventRecord(
        site=found_site,
        event_id=own_id,
        name=name,
        trust=trust,
        occurred_at_ms=occurred_at_ms,
        received_at_ms=received_at_ms,
        visitor_kind=visitor_kind,
        facts=facts,
        conversions=tuple(_conversion(row) for row in conversions),
        touches=tuple(TouchRow(*(*row[:4], bool(row[4]))) for row in touches),
        deliveries=await _with_evidence(rows, await rows(_READ["event_deliveries"], (seq,))),
        told=await _with_evidence(rows, await rows(_SUBJECT["event_told"], (seq,))),
    )


def _conversion(row: tuple[Any, ...]) -> ConversionRow:
    return ConversionRow(*(*row[:5], bool(row[5]), *row[6:]))


async def _with_evidence(rows: Rows, found: list[tuple[Any, ...]]) -> tuple[DeliveryRow, ...]:
    made = []
    for row in found:
        evidence = await rows(_READ["delivery_attempts"], (row[0],))
        made.append(DeliveryRow(*(*row, tuple(AttemptRow(*attempt) for attempt in evidence))))
    return tuple(made)


async def held(rows: Rows, site_no: int, subject_key: bytes) -> Held:
    """How much is stored of one subject."""
    names: dict[str, object] = {"site_no": site_no, "subject_key": subject_key}
    ((events, first_at_ms, last_at_ms),) = await rows(_SUBJECT["held_events"], names)
    ((conversions,),) = await rows(_SUBJECT["held_conversions"], names)
    ((touches,),) = await rows(_SUBJECT["held_touches"], names)
    return Held(
        events=events,
        first_at_ms=first_at_ms,
        last_at_ms=last_at_ms,
        conversions=conversions,
        touches=touches,
        deliveries={
            (name, fate, reason): count for name, fate, reason, count in await rows(_SUBJECT["held_deliveries"], names)
        },
        told={(name, fate, reason): count for name, fate, reason, count in await rows(_SUBJECT["held_told"], names)},
        records=tuple(RecordRow(*row) for row in await rows(_SUBJECT["held_records"], names)),
    )


async def events_of(
    rows: Rows, site: str, site_no: int, subject_key: bytes, start: int, limit: int
) -> list[EventRecord]:
    """One page of a subject's events, oldest first: three statements, however many events."""
    names: dict[str, object] = {"site_no": site_no, "subject_key": subject_key, "start": start, "limit": limit}
    conversions: dict[int, list[ConversionRow]] = {}
    for seq, *row in await rows(_SUBJECT["conversions_page"], names):
        conversions.setdefault(seq, []).append(_conversion(tuple(row)))
    deliveries: dict[int, list[DeliveryRow]] = {}
    for seq, *row in await rows(_SUBJECT["deliveries_page"], names):
        deliveries.setdefault(seq, []).append(DeliveryRow(*row))
    return [
        EventRecord(
            site=site,
            event_id=event_id,
            name=name,
            trust=trust,
            occurred_at_ms=occurred_at_ms,
            received_at_ms=received_at_ms,
            visitor_kind=visitor_kind,
            facts=facts,
            conversions=tuple(conversions.get(seq, ())),
            deliveries=tuple(deliveries.get(seq, ())),
        )
        for seq, event_id, name, trust, occurred_at_ms, received_at_ms, visitor_kind, facts in await rows(
            _SUBJECT["events_page"], names
        )
    ]


async def touches_of(rows: Rows, site_no: int, subject_key: bytes, limit: int) -> list[HeldTouch]:
    """The touches of a subject."""
    names: dict[str, object] = {"site_no": site_no, "subject_key": subject_key, "limit": limit}
    return [HeldTouch(*row) for row in await rows(_SUBJECT["touches_page"], names)]


async def passed_on(rows: Rows, record_id: str, site: str | None) -> PassedOn | None:
    """An entry of the log, and what destinations were told because of it."""
    found = await rows(_SUBJECT["record_entry"], {"record_id": record_id, "site": site})
    if not found:
        return None
    deliveries = await _with_evidence(rows, await rows(_SUBJECT["record_deliveries"], (record_id,)))
    return PassedOn(*(*found[0], deliveries))
