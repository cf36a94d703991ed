"""The official in-memory fake: the contract without a file, for rehearsals and fast tests of flows.

Never for service: nothing here is durable. It passes the same contract suite as every other store, so a flow that works
with it works with them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.caller import ApiKey
from gateway.event import ConsentChange, Owed, Recordable, Recorded, Submission, Submitted
from gateway.stores.contract import (
    AttemptRow,
    ConsentState,
    ConversionRow,
    DeliveryRow,
    DueDelivery,
    Erased,
    LogEntry,
    Passing,
    PassOn,
    Settlement,
)
from gateway.stores.memory_credit import ConversionCell
from gateway.stores.memory_reading import WITHDRAWAL, DeliveryCell, MemoryReading
from gateway.stores.recording import named, repeat_reason

__all__ = ["MemoryStore"]


class MemoryStore(MemoryReading):
    """See `contract.Store` for what each method promises."""

    # -------------------------------------------------------------- writing

    def submit(self, submission: Submission) -> "asyncio.Future[Submitted]":
        """Store one request's records."""
        done: asyncio.Future[Submitted] = asyncio.get_running_loop().create_future()
        done.set_result(self._submit(submission))
        return done

    def conversion_id(self, site: str, event_id: str) -> str:
        """Return the id that the conversion of an event gets."""
        return f"c{self._sites[site]}_{event_id}"

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
        if item.touch is not None:
            self._put_touch(event.site, event.event_id, item.touch)
        self._see_device(item)
        self._change_timers(event.site, item.timers)
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
                if (c.site, c.row.goal, c.claim.key) == (event.site, claim.goal, claim.key)
                and c.row.fate != "duplicate"
            ),
            None,
        )
        fate, reason, counted_id = "counted", "first_with_key", None
        if first is not None:
            counted_id = first.row.conversion_id
            reason = repeat_reason(claim, first.row.amount_minor, first.row.currency, first.row.fate)
            if reason == "value_differs" and item.strict:
                return Recorded("conflict", counted_id, first.event_id)
            fate = "duplicate"
        row = ConversionRow(
            conversion_id, claim.goal, claim.order_id, claim.amount_minor, claim.currency, claim.test, fate, reason, counted_id
        )  # fmt: skip
        counts = first is None
        cell = ConversionCell(
            row=row,
            site=event.site,
            event_id=event.event_id,
            claim=claim,
            occurred_at_ms=event.occurred_at_ms,
            net_minor=claim.amount_minor if counts else None,
            credit_due_ms=event.received_at_ms if counts else None,
        )
        self._conversions.append(cell)
        self._sum(event.site, None, self._standing(cell))
        if first is not None:
            return Recorded("duplicate", counted_id, first.event_id)
        return Recorded("counted", conversion_id, event.event_id)

    def _owe(self, item: Recordable) -> None:
        event = item.event
        for owed in item.owed:
            cell = self._new_cell(owed, event.site, event.received_at_ms, event.event_id, event.name)
            cell.visitor_key, cell.person_key = event.visitor_key, item.person_key

    def _new_cell(self, owed: Owed, site: str, at_ms: int, event_id: str, event_name: str) -> DeliveryCell:
        row = DeliveryRow(
            next(self._delivery_ids), owed.destination, owed.fate, owed.reason, owed.detail, owed.purposes, at_ms,
            at_ms, 0, owed.expires_at_ms, owed.dedup_key, None if owed.fate == "waiting" else at_ms,
        )  # fmt: skip
        cell = self._deliveries[row.delivery_id] = DeliveryCell(
            row=row,
            site=site,
            event_id=event_id,
            event_name=event_name,
            visitor_key=None,
            person_key=None,
            payload=owed.payload,
        )
        return cell

    async def choose(self, change: ConsentChange) -> str:
        """Append one choice."""
        return self._choose(change)

    def _choose(self, change: ConsentChange) -> str:
        refused_before = 0
        if change.subject_key is not None and change.subject_tag is not None:
            key = (change.site, change.subject_key)
            known = self._states.get(key)
            if (known.record_id if known else None) != change.previous_record_id:
                return "stale"
            if known is not None and known.subject_tag != change.subject_tag:
                return "stale"
            refused_before = known.denied if known is not None else 0
            self._states[key] = ConsentState(
                change.subject_tag, change.granted, change.denied, change.decided_at_ms, change.notice, change.record_id
            )
        self._append(change)
        if change.lost and change.subject_key is not None:
            for delivery in self._waiting():
                rests = delivery.row.purposes & change.lost and delivery.leased_until_ms is None
                if rests and change.subject_key in (delivery.visitor_key, delivery.person_key):
                    lost = str(delivery.row.purposes & change.lost)
                    self._put(delivery, change.received_at_ms, "cancelled", "consent_withdrawn", detail=lost)
            newly = change.lost & ~refused_before
            if newly:
                self._tell(change, self._sent_of(change, newly), lost=newly, erased=False)
        return "recorded"

    def _append(self, change: ConsentChange) -> None:
        log = self._log[change.site]
        log.append(LogEntry(len(log), change.record_id, change.entry, change.leaf_hash))
        self._records[change.record_id] = change

    def pass_on_with(self, pass_on: PassOn) -> None:
        """Say how withdrawals are passed on."""
        self._pass_on = pass_on

    def _sent_of(self, change: ConsentChange, lost: int) -> dict[str, tuple[str, ...]]:
        if change.subject_key is None:
            return {}
        event_ids = {item.event.event_id for item in self._own_items(change.site, change.subject_key)}
        sent: dict[str, tuple[str, ...]] = {}
        for one in self._of_events(change.site, event_ids):
            held = one.row.fate in {"accepted", "unconfirmed"}
            if one.row.purposes & lost and (held or one.unsure_since_ms or one.leased_until_ms):
                sent[one.row.destination] = (*sent.get(one.row.destination, ()), one.event_id)
        return sent

    def _tell(self, change: ConsentChange, sent: Mapping[str, tuple[str, ...]], *, lost: int, erased: bool) -> None:
        if self._pass_on is None or not sent:
            return
        at_ms = change.received_at_ms
        passing = Passing(
            site=change.site, record_id=change.record_id, at_ms=at_ms, granted=change.granted, lost=lost,
            erased=erased, sent=sent,
        )  # fmt: skip
        for owed in self._pass_on(passing):
            self._new_cell(owed, change.site, at_ms, change.record_id, WITHDRAWAL).withdrawal = True

    async def erase(self, change: ConsentChange, reduce: Callable[[bytes], bytes]) -> Erased | None:
        """Take a subject out of everything stored."""
        subject = change.subject_key
        if subject is None:
            raise TypeError("an erasure needs a subject")
        known = self._states.pop((change.site, subject), None)
        if (known.record_id if known else None) != change.previous_record_id:
            if known is not None:
                self._states[change.site, subject] = known
            return None
        items = self._own_items(change.site, subject)
        event_ids = {item.event.event_id for item in items}
        sent = self._sent_of(change, change.lost)
        cancelled = 0
        for one in self._of_events(change.site, event_ids):
            if one.row.fate == "waiting" and one.leased_until_ms is None:
                self._put(one, change.received_at_ms, "cancelled", "subject_erased", detail=None)
                cancelled += 1
            one.payload = one.visitor_key = one.person_key = None
        for item in items:
            bare = msgspec.structs.replace(
                item.event, visitor_kind="none", visitor_key=None, facts=reduce(item.event.facts)
            )
            left = msgspec.structs.replace(item, event=bare, person_key=None, touch=None)
            self._events[change.site, item.event.event_id] = left
        touches = self._forget(change.site, subject, event_ids)
        own = [r for r, known in self._records.items() if (known.site, known.subject_key) == (change.site, subject)]
        for record_id in own:
            del self._records[record_id]
        self._append(msgspec.structs.replace(change, subject_key=None))
        self._tell(change, sent, lost=change.lost, erased=True)
        return Erased(
            events=len(items),
            conversions=sum(1 for c in self._conversions if c.site == change.site and c.event_id in event_ids),
            touches=touches,
            records=len(own),
            cancelled=cancelled,
        )

    @staticmethod
    def _put(delivery: DeliveryCell, at_ms: int, fate: str, reason: str, **changes: object) -> None:
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
            item = self._events.get((site, delivery.event_id))
            by_receipt = item is not None and item.event.trust == "browser"
            for key in (delivery.visitor_key, delivery.person_key):
                state = self._states.get((site, key)) if key is not None else None
                change = self._records.get(state.record_id) if state is not None else None
                known_at_ms = change.received_at_ms if change is not None else 0
                if state is not None and (by_receipt or max(state.decided_at_ms, known_at_ms) >= row.judged_at_ms):
                    denied |= state.denied
            taken.append(
                DueDelivery(
                    row.delivery_id, delivery.event_id, delivery.event_name, row.purposes, denied, row.judged_at_ms,
                    row.attempts, row.expires_at_ms, row.dedup_key, delivery.unsure_since_ms, delivery.payload,
                    delivery.withdrawal,
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
        gone = len(once) + len(repeats) + self._expire_credit(events_before_ms)
        for delivery in self._deliveries.values():
            kept = tuple(row for row in delivery.row.evidence if row.at_ms >= attempts_before_ms)
            gone += len(delivery.row.evidence) - len(kept)
            delivery.row = msgspec.structs.replace(delivery.row, evidence=kept)
            old = delivery.row.expires_at_ms < now_ms or (delivery.row.settled_at_ms or 0) < dead_before_ms
            if delivery.row.fate == "dead" and delivery.payload is not None and old:
                delivery.payload = None
                gone += 1
        held = {(delivery.site, delivery.event_id) for delivery in self._waiting() if not delivery.withdrawal}
        for key in [
            k for k, item in self._events.items() if item.event.received_at_ms < events_before_ms and k not in held
        ]:
            del self._events[key]
            self._expire_event(key)
            gone_ids = {d.row.delivery_id for d in self._of_events(key[0], {key[1]})}
            self._deliveries = {n: d for n, d in self._deliveries.items() if n not in gone_ids}
            gone += 1
        told = [
            number
            for number, d in self._deliveries.items()
            if d.withdrawal and d.row.fate != "waiting" and d.row.judged_at_ms < events_before_ms
        ]
        for number in told:
            del self._deliveries[number]
        return gone + len(told)
