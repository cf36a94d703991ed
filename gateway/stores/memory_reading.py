"""The in-memory store's tables, and what is read from them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.caller import ApiKey
from gateway.event import Recordable
from gateway.stores.contract import (
    ConsentState,
    DeadRow,
    DeliveryRow,
    EventRecord,
    Held,
    HeldTouch,
    LogEntry,
    PassedOn,
    RecentRow,
    RecordRow,
    Tally,
    TouchRow,
    WaitingRow,
)
from gateway.stores.memory_credit import MemoryCredit

if TYPE_CHECKING:
    from gateway.event import ConsentChange, Recorded
    from gateway.stores.contract import PassOn

__all__ = ["WITHDRAWAL", "DeliveryCell", "MemoryReading"]

WITHDRAWAL: Final = "withdrawal"
"""Name of a delivery that is no event's."""


_HELD: Final = tuple(name for name in HeldTouch.__struct_fields__ if name not in {"event_id", "visitor_key"})


class DeliveryCell(msgspec.Struct, kw_only=True):
    """One delivery. `event_id` is the consent record's for a message about a withdrawal, and `event_name` says so."""

    row: DeliveryRow
    site: str
    event_id: str
    event_name: str
    visitor_key: bytes | None
    person_key: bytes | None
    payload: bytes | None
    withdrawal: bool = False
    leased_until_ms: int | None = None
    unsure_since_ms: int | None = None


class MemoryReading(MemoryCredit):
    """See `contract.Store` for what each method promises."""

    damaged = False
    waiting_jobs = 0

    def __init__(self, sites: tuple[str, ...]) -> None:
        super().__init__(sites)
        self._deliveries: dict[int, DeliveryCell] = {}
        self._states: dict[tuple[str, bytes], ConsentState] = {}
        self._log: dict[str, list[LogEntry]] = {site: [] for site in sites}
        self._records: dict[str, ConsentChange] = {}
        self._once: dict[tuple[str, bytes], int] = {}
        self._idempotent: dict[tuple[str, str], tuple[bytes, tuple[Recorded, ...], int]] = {}
        self._keys: dict[str, ApiKey] = {}
        self._delivery_ids = itertools.count(1)
        self._pass_on: PassOn | None = None

    def _waiting(self) -> Iterator[DeliveryCell]:
        return (delivery for delivery in list(self._deliveries.values()) if delivery.row.fate == "waiting")

    def _own_items(self, site: str, subject_key: bytes) -> list[Recordable]:
        return [
            item
            for (own_site, _), item in self._events.items()
            if own_site == site and subject_key in (item.event.visitor_key, item.person_key)
        ]

    def _of_events(self, site: str, event_ids: set[str]) -> list[DeliveryCell]:
        return [d for d in self._deliveries.values() if d.site == site and not d.withdrawal and d.event_id in event_ids]

    async def consent_state(self, site: str, subject_key: bytes) -> ConsentState | None:
        """Return the last choice of a subject."""
        return self._states.get((site, subject_key))

    async def next_due_at_ms(self, site: str, destination: str) -> int | None:
        """Return when the next delivery is due."""
        return min(
            (
                max(delivery.row.due_at_ms, delivery.leased_until_ms or 0)
                for delivery in self._waiting()
                if (delivery.site, delivery.row.destination) == (site, destination)
            ),
            default=None,
        )

    async def delivery_fates(self, site: str, event_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Count the deliveries of many events."""
        found: dict[str, dict[str, int]] = {}
        for event_id in event_ids:
            for delivery in self._of_events(site, {event_id}):
                held = found.setdefault(delivery.row.destination, {})
                held[delivery.row.fate] = held.get(delivery.row.fate, 0) + 1
        return found

    async def event(self, event_id: str, site: str | None) -> EventRecord | None:
        """Return everything stored about one event."""
        for (own_site, own_id), item in self._events.items():
            if own_id != event_id or site not in (None, own_site):
                continue
            event = item.event
            key = (own_site, own_id)
            deliveries = [d.row for d in self._of_events(own_site, {own_id})]
            found = [cell.touch for cell in self._touches.values() if (cell.site, cell.event_id) == key]
            touches = tuple(
                [TouchRow(t.kind, t.occurred_at_ms, t.referrer, t.campaign, t.click_ids is not None) for t in found]
            )
            return EventRecord(
                site=own_site,
                event_id=own_id,
                name=event.name,
                trust=event.trust,
                occurred_at_ms=event.occurred_at_ms,
                received_at_ms=event.received_at_ms,
                visitor_kind=event.visitor_kind,
                facts=event.facts,
                conversions=tuple(c.row for c in self._conversions if (c.site, c.event_id) == key),
                touches=touches,
                deliveries=tuple(sorted(deliveries, key=lambda row: row.destination)),
                told=self._told_of(item),
            )
        return None

    def _told_of(self, item: Recordable) -> tuple[DeliveryRow, ...]:
        event = item.event
        subjects = {event.visitor_key, item.person_key} - {None}
        records = {
            change.record_id
            for change in self._records.values()
            if change.site == event.site
            and change.subject_key in subjects
            and change.received_at_ms >= event.received_at_ms
        }
        own = [d.row for d in self._of_events(event.site, {event.event_id})]
        return tuple(
            told.row
            for told in self._deliveries.values()
            if told.withdrawal
            and told.event_id in records
            and any(
                row.destination == told.row.destination and row.attempts and row.purposes & told.row.purposes
                for row in own
            )
        )

    async def held(self, site: str, subject_key: bytes) -> Held:
        """Count what is stored of a subject."""
        items = self._own_items(site, subject_key)
        event_ids = {item.event.event_id for item in items}
        times = [item.event.received_at_ms for item in items]
        records = sorted(
            (
                RecordRow(change.record_id, change.payload, change.received_at_ms)
                for change in self._records.values()
                if change.site == site and change.subject_key == subject_key
            ),
            key=lambda row: (row.received_at_ms, row.record_id),
        )
        named = {row.record_id for row in records}
        return Held(
            events=len(items),
            first_at_ms=min(times, default=None),
            last_at_ms=max(times, default=None),
            conversions=sum(1 for c in self._conversions if c.site == site and c.event_id in event_ids),
            touches=sum(self._is_own(cell, site, subject_key, event_ids) for cell in self._touches.values()),
            deliveries=_fates(self._of_events(site, event_ids)),
            told=_fates([d for d in self._deliveries.values() if d.withdrawal and d.event_id in named]),
            records=tuple(records),
        )

    async def events_of(self, site: str, subject_key: bytes, start: int, limit: int) -> Sequence[EventRecord]:
        """Return events of a subject."""
        found = []
        for item in self._own_items(site, subject_key)[start : start + limit]:
            record = await self.event(item.event.event_id, site)
            if record is not None:
                deliveries = tuple(msgspec.structs.replace(row, evidence=()) for row in record.deliveries)
                found.append(msgspec.structs.replace(record, touches=(), deliveries=deliveries, told=()))
        return found

    async def touches_of(self, site: str, subject_key: bytes, limit: int) -> Sequence[HeldTouch]:
        """Return the touches of a subject."""
        event_ids = {item.event.event_id for item in self._own_items(site, subject_key)}
        found = []
        for cell in self._touches.values():
            if self._is_own(cell, site, subject_key, event_ids):
                named = {name: getattr(cell.touch, name) for name in _HELD}
                key = cell.touch.visitor_key or b""
                found.append(HeldTouch(event_id=cell.event_id, visitor_key=key, **named))
        return found[:limit]

    async def passed_on(self, record_id: str, site: str | None) -> PassedOn | None:
        """Return an entry of the consent log with what was told because of it."""
        for own_site, log in self._log.items():
            for entry in log:
                if entry.record_id == record_id and site in (None, own_site):
                    told = [d.row for d in self._deliveries.values() if d.withdrawal and d.event_id == record_id]
                    rows = tuple(sorted(told, key=lambda row: (row.destination, row.delivery_id)))
                    return PassedOn(own_site, record_id, entry.entry, rows)
        return None

    async def tally(self) -> Tally:
        """Count all stored fates."""
        deliveries: dict[tuple[str, str, str], int] = {}
        for delivery in self._deliveries.values():
            name = (delivery.site, delivery.row.destination, delivery.row.fate)
            deliveries[name] = deliveries.get(name, 0) + 1
        conversions: dict[tuple[str, str], int] = {}
        for conversion in self._conversions:
            fate = (conversion.site, conversion.row.fate)
            conversions[fate] = conversions.get(fate, 0) + 1
        return Tally(deliveries, conversions, len(self._events))

    async def waiting(self) -> Sequence[WaitingRow]:
        """Return what waits."""
        found: dict[tuple[str, str], list[int]] = {}
        for delivery in self._waiting():
            found.setdefault((delivery.site, delivery.row.destination), []).append(delivery.row.due_at_ms)
        return [WaitingRow(site, name, len(due), min(due)) for (site, name), due in sorted(found.items())]

    async def dead(self, site: str | None, destination: str | None, limit: int) -> Sequence[DeadRow]:
        """Return the latest dead deliveries."""
        rows = [
            DeadRow(
                d.row.delivery_id, d.site, d.row.destination, d.event_id, d.event_name, d.row.reason, d.row.detail,
                d.row.attempts, d.row.settled_at_ms or 0, d.payload is not None,
            )
            for d in self._deliveries.values()
            if d.row.fate == "dead" and site in (None, d.site) and destination in (None, d.row.destination)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: -row.settled_at_ms)[:limit]

    async def recent(self, limit: int) -> Sequence[RecentRow]:
        """Return the latest deliveries."""
        rows = [
            RecentRow(
                d.row.delivery_id, d.site, d.row.destination, d.event_id, d.event_name, d.row.fate, d.row.reason,
                d.row.detail, d.row.attempts, d.row.judged_at_ms, d.row.settled_at_ms,
            )
            for d in self._deliveries.values()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: -row.delivery_id)[:limit]

    async def log_entries(self, site: str, start: int, limit: int) -> Sequence[LogEntry]:
        """Return entries of the consent log."""
        return self._log[site][start : start + limit]

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return all API keys."""
        return sorted(self._keys.values(), key=lambda key: key.created_at_ms)

    async def list_visitors(self) -> int:
        """Nothing to keep up: everything is looked through."""
        return 0

    async def check(self) -> Sequence[str]:
        """Look for damage: memory has none."""
        return []

    async def close(self) -> None:
        """Nothing to close."""


def _fates(deliveries: Sequence[DeliveryCell]) -> dict[tuple[str, str, str], int]:
    counts: dict[tuple[str, str, str], int] = {}
    rows = [one.row for one in deliveries]
    for key in sorted((row.destination, row.fate, row.reason if row.fate == "withheld" else "") for row in rows):
        counts[key] = counts.get(key, 0) + 1
    return counts
