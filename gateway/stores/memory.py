"""The official in-memory fake: the contract without a file, for rehearsals and fast tests of flows.

Never for service: nothing here is durable. It passes the same contract suite as every other store, so a flow that works
with it works with them.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import msgspec

from gateway.caller import ApiKey
from gateway.event import ConsentChange, Recordable, Recorded, Submission, Submitted
from gateway.stores.contract import (
    AttemptRow,
    ConsentState,
    ConversionRow,
    DeadRow,
    DeliveryRow,
    DueDelivery,
    EventRecord,
    LogEntry,
    RecentRow,
    Settlement,
    Tally,
    TouchRow,
    WaitingRow,
)
from gateway.stores.recording import named

__all__ = ["MemoryStore"]


class _Delivery(msgspec.Struct, kw_only=True):
    row: DeliveryRow
    site: str
    event_id: str
    event_name: str
    visitor_key: bytes | None
    person_key: bytes | None
    payload: bytes | None
    leased_until_ms: int | None = None
    unsure_since_ms: int | None = None


class _Conversion(msgspec.Struct, kw_only=True):
    row: ConversionRow
    site: str
    event_id: str
    key: str


class MemoryStore:
    """See `contract.Store` for what each method promises."""

    damaged = False
    waiting_jobs = 0

    def __init__(self, sites: tuple[str, ...]) -> None:
        self._sites = {site: number for number, site in enumerate(sites, 1)}
        self._events: dict[tuple[str, str], Recordable] = {}
        self._conversions: list[_Conversion] = []
        self._deliveries: dict[int, _Delivery] = {}
        self._states: dict[tuple[str, bytes], ConsentState] = {}
        self._log: dict[str, list[LogEntry]] = {site: [] for site in sites}
        self._records: dict[str, ConsentChange] = {}
        self._once: dict[tuple[str, bytes], int] = {}
        self._idempotent: dict[tuple[str, str], tuple[bytes, tuple[Recorded, ...], int]] = {}
        self._keys: dict[str, ApiKey] = {}
        self._delivery_ids = itertools.count(1)

    # -------------------------------------------------------------- writing

    def submit(self, submission: Submission) -> "asyncio.Future[Submitted]":
        """Store one request's records."""
        done: asyncio.Future[Submitted] = asyncio.get_running_loop().create_future()
        done.set_result(self._submit(submission))
        return done

    def _submit(self, submission: Submission) -> Submitted:
        repeat = submission.idempotency
        if repeat is not None and (found := self._idempotent.get((repeat.api_key_id, repeat.key))) is not None:
            if found[0] != repeat.body_sha256:
                return Submitted(refused="reused")
            return Submitted(found[1], repeated=True)
        if any((token.use, token.digest) in self._once for token in submission.once):
            return Submitted(refused="replayed")
        self._once.update({(token.use, token.digest): token.expires_at_ms for token in submission.once})
        recorded = tuple([self._record(item) for item in submission.items])
        if repeat is not None:
            recorded = named(recorded, submission)
            at_ms = submission.items[0].event.received_at_ms
            self._idempotent[repeat.api_key_id, repeat.key] = (repeat.body_sha256, recorded, at_ms)
        return Submitted(recorded)

    def _record(self, item: Recordable) -> Recorded:
        event = item.event
        key = (event.site, event.event_id)
        if key in self._events:
            mine = next((c for c in self._conversions if (c.site, c.event_id) == key), None)
            found = (mine.row.counted_id or mine.row.conversion_id) if mine else None
            return Recorded("duplicate", found, None if item.plain else event.event_id)
        recorded = Recorded("recorded")
        if item.conversion is not None:
            recorded = self._count(item)
            if recorded.fate == "conflict":
                return recorded
        self._events[key] = item
        if item.consent is not None:
            self._choose(item.consent)
        if recorded.fate != "duplicate":
            self._owe(item)
        return recorded

    def _count(self, item: Recordable) -> Recorded:
        claim, event = item.conversion, item.event
        if claim is None:
            raise TypeError("not a conversion")
        conversion_id = f"c{self._sites[event.site]}_{event.event_id}"
        first = next(
            (
                c
                for c in self._conversions
                if (c.site, c.row.goal, c.key, c.row.fate) == (event.site, claim.goal, claim.key, "counted")
            ),
            None,
        )
        fate, reason, counted_id = "counted", "first_with_key", None
        if first is not None:
            counted_id = first.row.conversion_id
            content = (claim.amount_minor, claim.currency)
            differs = claim.amount_minor is not None and content != (first.row.amount_minor, first.row.currency)
            if differs and item.strict:
                return Recorded("conflict", counted_id, first.event_id)
            fate = "duplicate"
            reason = "value_differs" if differs else ("same_order" if claim.order_id else "same_event")
        row = ConversionRow(
            conversion_id, claim.goal, claim.order_id, claim.amount_minor, claim.currency, claim.test, fate, reason, counted_id
        )  # fmt: skip
        self._conversions.append(_Conversion(row=row, site=event.site, event_id=event.event_id, key=claim.key))
        if first is not None:
            return Recorded("duplicate", counted_id, first.event_id)
        return Recorded("counted", conversion_id, event.event_id)

    def _owe(self, item: Recordable) -> None:
        event = item.event
        for owed in item.owed:
            at_ms = event.received_at_ms
            row = DeliveryRow(
                next(self._delivery_ids), owed.destination, owed.fate, owed.reason, owed.detail, owed.purposes, at_ms,
                at_ms, 0, owed.expires_at_ms, owed.dedup_key, None if owed.fate == "waiting" else at_ms,
            )  # fmt: skip
            self._deliveries[row.delivery_id] = _Delivery(
                row=row,
                site=event.site,
                event_id=event.event_id,
                event_name=event.name,
                visitor_key=event.visitor_key,
                person_key=item.person_key,
                payload=owed.payload,
            )

    async def choose(self, change: ConsentChange) -> str:
        """Append one choice."""
        return self._choose(change)

    def _choose(self, change: ConsentChange) -> str:
        if change.subject_key is not None and change.subject_tag is not None:
            key = (change.site, change.subject_key)
            known = self._states.get(key)
            if (known.record_id if known else None) != change.previous_record_id:
                return "stale"
            if known is not None and known.subject_tag != change.subject_tag:
                return "stale"
            self._states[key] = ConsentState(
                change.subject_tag, change.granted, change.denied, change.decided_at_ms, change.notice, change.record_id
            )
        log = self._log[change.site]
        log.append(LogEntry(len(log), change.record_id, change.entry, change.leaf_hash))
        self._records[change.record_id] = change
        if change.lost and change.subject_key is not None:
            for delivery in self._waiting():
                rests = delivery.row.purposes & change.lost and delivery.leased_until_ms is None
                if rests and change.subject_key in (delivery.visitor_key, delivery.person_key):
                    lost = str(delivery.row.purposes & change.lost)
                    self._put(delivery, change.received_at_ms, "cancelled", "consent_withdrawn", detail=lost)
        return "recorded"

    def _waiting(self) -> Iterator[_Delivery]:
        return (delivery for delivery in list(self._deliveries.values()) if delivery.row.fate == "waiting")

    @staticmethod
    def _put(delivery: _Delivery, at_ms: int, fate: str, reason: str, **changes: object) -> None:
        settled = None if fate == "waiting" else at_ms
        delivery.row = msgspec.structs.replace(delivery.row, fate=fate, reason=reason, settled_at_ms=settled, **changes)
        delivery.leased_until_ms = None
        if fate not in {"waiting", "dead"}:
            delivery.payload = None

    async def claim(
        self, site: str, destination: str, *, now_ms: int, lease_ms: int, limit: int
    ) -> Sequence[DueDelivery]:
        """Take due deliveries."""
        due = [
            delivery
            for delivery in self._waiting()
            if (delivery.site, delivery.row.destination) == (site, destination)
            and delivery.row.due_at_ms <= now_ms
            and (delivery.leased_until_ms is None or delivery.leased_until_ms <= now_ms)
        ]
        taken = []
        for delivery in sorted(due, key=lambda one: one.row.due_at_ms)[:limit]:
            if delivery.leased_until_ms is not None and delivery.unsure_since_ms is None:
                delivery.unsure_since_ms = now_ms
            delivery.leased_until_ms = now_ms + lease_ms
            row = delivery.row = msgspec.structs.replace(delivery.row, attempts=delivery.row.attempts + 1)
            denied = 0
            for key in (delivery.visitor_key, delivery.person_key):
                state = self._states.get((site, key)) if key is not None else None
                change = self._records.get(state.record_id) if state is not None else None
                known_at_ms = change.received_at_ms if change is not None else 0
                if state is not None and max(state.decided_at_ms, known_at_ms) >= row.judged_at_ms:
                    denied |= state.denied
            taken.append(
                DueDelivery(
                    row.delivery_id, delivery.event_id, delivery.event_name, row.purposes, denied, row.judged_at_ms,
                    row.attempts, row.expires_at_ms, row.dedup_key, delivery.unsure_since_ms, delivery.payload or b"",
                )
            )  # fmt: skip
        return taken

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down what became of claimed deliveries."""
        for s in settlements:
            delivery = self._deliveries[s.delivery_id]
            if delivery.row.fate != "waiting":
                continue
            evidence = delivery.row.evidence
            if s.unsure and delivery.unsure_since_ms is None:
                delivery.unsure_since_ms = s.at_ms
            attempts = delivery.row.attempts - (0 if s.attempted else 1)
            if s.attempted:
                evidence += (AttemptRow(s.at_ms, s.latency_ms, s.verdict, s.status, s.code, s.answer),)
            self._put(
                delivery,
                s.at_ms,
                s.fate,
                s.reason,
                detail=s.detail,
                due_at_ms=s.due_at_ms,
                evidence=evidence,
                attempts=attempts,
            )

    async def recover(self, now_ms: int) -> tuple[int, int]:
        """Free the leases of a process that died."""
        again = lost = 0
        for delivery in self._waiting():
            if delivery.leased_until_ms is None:
                continue
            if delivery.row.dedup_key is not None:
                delivery.leased_until_ms = None
                delivery.unsure_since_ms = delivery.unsure_since_ms or now_ms
                again += 1
            else:
                self._put(delivery, now_ms, "unconfirmed", "answer_lost")
                lost += 1
        return again, lost

    async def replay(
        self, *, now_ms: int, site: str | None, destination: str | None, delivery_id: int | None, limit: int
    ) -> int:
        """Make dead deliveries wait again."""
        count = 0
        for delivery in self._deliveries.values():
            row = delivery.row
            if (
                count < limit
                and row.fate == "dead"
                and delivery.payload is not None
                and row.expires_at_ms > now_ms
                and site in (None, delivery.site)
                and destination in (None, row.destination)
                and delivery_id in (None, row.delivery_id)
            ):
                self._put(delivery, now_ms, "waiting", "fresh", detail=None, due_at_ms=now_ms, attempts=0)
                count += 1
        return count

    async def put_api_key(self, key: ApiKey) -> None:
        """Store a new API key."""
        self._keys[key.id] = key

    async def revoke_api_key(self, key_id: str, now_ms: int) -> bool:
        """Revoke an API key."""
        key = self._keys.get(key_id)
        if key is None or key.revoked_at_ms is not None:
            return False
        self._keys[key_id] = msgspec.structs.replace(key, revoked_at_ms=now_ms)
        return True

    async def expire(self, *, now_ms: int, events_before_ms: int, attempts_before_ms: int, dead_before_ms: int) -> int:
        """Delete what is past its time."""
        once = [token for token, expires_at_ms in self._once.items() if expires_at_ms < now_ms]
        repeats = [key for key, value in self._idempotent.items() if value[2] < attempts_before_ms]
        for token in once:
            del self._once[token]
        for repeat in repeats:
            del self._idempotent[repeat]
        gone = len(once) + len(repeats)
        for delivery in self._deliveries.values():
            kept = tuple(row for row in delivery.row.evidence if row.at_ms >= attempts_before_ms)
            gone += len(delivery.row.evidence) - len(kept)
            delivery.row = msgspec.structs.replace(delivery.row, evidence=kept)
            old = delivery.row.expires_at_ms < now_ms or (delivery.row.settled_at_ms or 0) < dead_before_ms
            if delivery.row.fate == "dead" and delivery.payload is not None and old:
                delivery.payload = None
                gone += 1
        held = {(delivery.site, delivery.event_id) for delivery in self._waiting()}
        for key in [
            k for k, item in self._events.items() if item.event.received_at_ms < events_before_ms and k not in held
        ]:
            del self._events[key]
            self._conversions = [c for c in self._conversions if (c.site, c.event_id) != key]
            self._deliveries = {n: d for n, d in self._deliveries.items() if (d.site, d.event_id) != key}
            gone += 1
        return gone

    # -------------------------------------------------------------- reading

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

    async def event(self, event_id: str, site: str | None) -> EventRecord | None:
        """Return everything stored about one event."""
        for (own_site, own_id), item in self._events.items():
            if own_id != event_id or site not in (None, own_site):
                continue
            event = item.event
            key = (own_site, own_id)
            deliveries = [d.row for d in self._deliveries.values() if (d.site, d.event_id) == key]
            t = item.touch
            touches = (
                (TouchRow(t.kind, t.occurred_at_ms, t.referrer, t.campaign, t.click_ids is not None),) if t else ()
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
            )
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

    async def check(self) -> Sequence[str]:
        """Look for damage: memory has none."""
        return []

    async def close(self) -> None:
        """Nothing to close."""
