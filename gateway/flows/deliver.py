"""Deliver: claim what is due, ask consent again, send, and write down what became of it.

One lane for each destination of each site: lanes share nothing, so a vendor that hangs holds up nobody else. What is
claimed is durable before it is sent, and what was answered is durable before the next claim: a crash in between repeats a
request with the same dedup key, or, where the vendor knows none, leaves it unconfirmed. A store that cannot take an
answer is asked until it can: forgetting an answer would mean to send again.

Messages about withdrawals and erasures go the same way. They rest on no consent: they are sent because it was lost.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent
from gateway.destinations.definition import Ready
from gateway.destinations.render import open_payload
from gateway.errors import OutboundRefused, StoreDamaged, StoreError
from gateway.exchange import Answer, Call, Reading, Verdict
from gateway.flows.assemble import place_of
from gateway.flows.evidence import Evidence
from gateway.flows.tokens import TokenRefused, access_token
from gateway.outcome import VerdictKind
from gateway.schedule import Breaker, Bucket, backoff_ms
from gateway.stores.contract import DueDelivery, Settlement
from gateway.times import HOUR_MS
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.destinations.definition import Destination, Withdrawal
    from gateway.flows.house import House, Placed, SiteRooms

__all__ = ["Lane", "deliver_due", "new_lane", "next_wait_ms"]

CLAIM_MAX: Final = 200
IDLE_MS: Final = 5_000
DEDUP_MARGIN_MS: Final = HOUR_MS
JUDGED_FOR_MS: Final = 5_000
"""How long a claim's second judgement may be leaned on; what could not be sent by then is given back and judged anew."""
SETTLE_AGAIN_S: Final = 0.5


class Lane(msgspec.Struct, kw_only=True):
    """The state of one destination's worker: how it has been answered lately, until when it rests, its access token."""

    breaker: Breaker = Breaker()
    rest_until_ms: int = 0
    resting: bool = False
    pace: Bucket | None = None
    token: str | None = None
    token_until_ms: int = 0
    stopping: bool = False


class _Opened(msgspec.Struct, frozen=True):
    due: DueDelivery
    ready: Ready

    @property
    def group(self) -> tuple[str, ...]:
        """Events of one group may share a request; a message about a withdrawal goes alone."""
        return ("withdrawal", str(self.due.delivery_id)) if self.due.withdrawal else (self.ready.group,)


async def next_wait_ms(house: "House", rooms: "SiteRooms", placed: "Placed", lane: Lane) -> int:
    """How long a lane may sleep: until something is due, it may speak again, or a few seconds have passed."""
    now_ms = house.clock.now_ms()
    due = await house.store.next_due_at_ms(rooms.id, placed.name)
    if due is None:
        return IDLE_MS
    free_at_ms = max(due, lane.rest_until_ms, lane.breaker.allows_at_ms(now_ms))
    return min(max(free_at_ms - now_ms, 0), IDLE_MS)


async def deliver_due(house: "House", rooms: "SiteRooms", placed: "Placed", lane: Lane) -> int:
    """Send what is due to one destination. Answers how many deliveries were handled."""
    now_ms = house.clock.now_ms()
    if now_ms < lane.rest_until_ms or now_ms < lane.breaker.allows_at_ms(now_ms) or lane.stopping:
        return 0
    definition = placed.definition
    limit = 1 if lane.breaker.is_open else max(CLAIM_MAX, definition.batch.max_events)
    lease_ms = int(max(house.settings.delivery.lease_s, 2 * definition.timeout_s + 10) * 1000)
    due = await house.store.claim(rooms.id, placed.name, now_ms=now_ms, lease_ms=lease_ms, limit=limit)
    if not due:
        return 0
    settled, opened = _sort_out(house, rooms, placed, due, now_ms)
    if settled:
        await _settle(house, rooms, placed, settled, {one.delivery_id: one for one in due})
    gate = asyncio.Semaphore(definition.pace.concurrency)
    await asyncio.gather(
        *(_send(house, rooms, placed, lane, batch, gate, now_ms) for batch in _batches(placed, opened))
    )
    return len(due)


def _sort_out(
    house: "House", rooms: "SiteRooms", placed: "Placed", due: "Sequence[DueDelivery]", now_ms: int
) -> tuple[list[Settlement], list[_Opened]]:
    """Second judgement, age, and opening: what must not be sent is settled here."""
    settled: list[Settlement] = []
    opened: list[_Opened] = []
    for one in due:
        fate = reason = detail = None
        window_ms = None if one.withdrawal else placed.definition.dedup_window_ms
        lost = consent.judge_again(one.purposes, one.denied_since)
        if one.payload is None:
            fate, reason = "cancelled", "subject_erased"
        elif lost:
            fate, reason, detail = "cancelled", "consent_withdrawn", str(lost)
        elif one.withdrawal and placed.definition.withdrawal is None:
            fate, reason = "unfit", "no_call"
        elif placed.needs.base & ~one.purposes and not one.withdrawal:
            fate, reason = "cancelled", "needs_changed"
        elif one.unsure_since_ms is not None and (
            one.dedup_key is None
            or (window_ms is not None and now_ms - one.unsure_since_ms > window_ms - DEDUP_MARGIN_MS)
        ):
            fate, reason = "unconfirmed", "answer_lost"
        elif now_ms > one.expires_at_ms:
            fate, reason = "dead", "event_too_old"
        else:
            try:
                body = house.vault.open(one.payload, place_of(rooms.id, one.event_id, placed.name))
                opened.append(_Opened(one, open_payload(body, one.dedup_key)))
            except SealedUnreadable:
                fate, reason = "dead", "payload_unreadable"
        if fate is not None and reason is not None:
            settled.append(
                Settlement(
                    delivery_id=one.delivery_id, fate=fate, reason=reason, detail=detail, at_ms=now_ms, attempted=False
                )
            )
    return settled, opened


def _batches(placed: "Placed", opened: list[_Opened]) -> list[list[_Opened]]:
    """Put events into requests: same group, at most so many, at most so large."""
    batch, batches = placed.definition.batch, []
    groups: dict[tuple[str, ...], list[_Opened]] = {}
    for one in opened:
        groups.setdefault(one.group, []).append(one)
    for members in groups.values():
        part: list[_Opened] = []
        size = 0
        for one in members:
            length = len(one.ready.body) + 1
            if part and (len(part) >= batch.max_events or size + length > batch.max_bytes - 1_000):
                batches.append(part)
                part, size = [], 0
            part.append(one)
            size += length
        batches.append(part)
    return batches


async def _send(
    house: "House",
    rooms: "SiteRooms",
    placed: "Placed",
    lane: Lane,
    batch: list[_Opened],
    gate: asyncio.Semaphore,
    judged_at_ms: int,
) -> None:
    """Send one request and settle its events; halve it when the vendor refuses it whole for one it does not name."""
    async with gate:
        # Several requests may have waited for the same token: whoever finds it gone waits again.
        while lane.pace is not None and not lane.stopping and (wait_s := lane.pace.take(house.clock.monotonic_s())):
            await asyncio.sleep(wait_s)
        now_ms = house.clock.now_ms()
        if lane.stopping or now_ms < lane.rest_until_ms or now_ms - judged_at_ms > JUDGED_FOR_MS:
            await _release(house, batch, max(now_ms, lane.rest_until_ms))
            return
        try:
            means = _means(placed, batch[0])
            answer, reading = await _exchange(house, placed, lane, means, [one.ready for one in batch])
        except Exception as error:  # noqa: BLE001 - an answer nobody foresaw must not stop the lane; it may have counted
            house.telemetry.failed("exchange_failed", destination=placed.name, kind=type(error).__name__)
            answer, reading = Answer(status=None, failure="unforeseen"), _UNFORESEEN
    verdict = reading.whole
    house.telemetry.attempt_made(placed.name, verdict.kind.value, answer.latency_ms)
    now_ms = house.clock.now_ms()
    _learn(house, rooms, placed, lane, reading, now_ms)
    if reading.split and len(batch) > 1:
        # The vendor has seen these events already, so the halves count as judged now: else slow answers would never
        # let the halving come to its end.
        middle = len(batch) // 2
        await asyncio.gather(
            _send(house, rooms, placed, lane, batch[:middle], gate, now_ms),
            _send(house, rooms, placed, lane, batch[middle:], gate, now_ms),
        )
        return
    evidence = Evidence(one.ready.body for one in batch)
    extract = evidence.extract(answer)
    settlements = [
        _settlement(house, placed, one.due, _told(reading.each.get(index, verdict), evidence), answer, extract, now_ms)
        for index, one in enumerate(batch)
    ]
    await _settle(house, rooms, placed, settlements, {one.due.delivery_id: one.due for one in batch})


_UNFORESEEN: Final = Reading(whole=Verdict(kind=VerdictKind.AMBIGUOUS, reason="vendor_unavailable", code="unforeseen"))


def _means(placed: "Placed", one: _Opened) -> "Destination | Withdrawal":
    """What knows the vendor's request and answer: the destination, or its call for withdrawals."""
    withdrawal = placed.definition.withdrawal
    return withdrawal if one.due.withdrawal and withdrawal is not None else placed.definition


async def _exchange(
    house: "House", placed: "Placed", lane: Lane, means: "Destination | Withdrawal", events: list[Ready]
) -> tuple[Answer, Reading]:
    """One request and the reading of its answer. A refused access token is replaced once."""
    call = means.request(events, placed.options, house.clock.now_ms())
    call = msgspec.structs.replace(call, timeout_s=placed.definition.timeout_s)
    wants_token = any(credential.place == "google" for credential in call.credentials)
    answer, reading = await _ask(house, placed, lane, means, call, len(events), fresh=False, wants_token=wants_token)
    if wants_token and answer.status == 401:
        return await _ask(house, placed, lane, means, call, len(events), fresh=True, wants_token=True)
    return answer, reading


async def _ask(
    house: "House",
    placed: "Placed",
    lane: Lane,
    means: "Destination | Withdrawal",
    call: Call,
    count: int,
    *,
    fresh: bool,
    wants_token: bool,
) -> tuple[Answer, Reading]:
    secrets = dict(placed.secrets)
    if wants_token:
        try:
            secrets["google"] = await access_token(house, placed, lane, fresh=fresh)
        except TokenRefused as refused:
            return Answer(status=None, failure="token", sent=False), Reading(whole=refused.verdict)
    try:
        answer = await house.outbound.send(call, secrets, now_s=house.clock.now_ms() // 1000)
    except OutboundRefused as refused:
        verdict = Verdict(kind=VerdictKind.CONFIGURATION, reason="configuration_refused", code=refused.reason)
        return Answer(status=None, failure="refused", sent=False), Reading(whole=verdict)
    return answer, means.read_answer(answer, count, house.clock.now_ms())


def _learn(house: "House", rooms: "SiteRooms", placed: "Placed", lane: Lane, reading: Reading, now_ms: int) -> None:
    """Move the breaker, and let the whole lane rest when the vendor or the operator must act first."""
    kind = reading.whole.kind
    alive = kind in (VerdictKind.ACCEPTED, VerdictKind.PAYLOAD) or bool(reading.each)
    if kind is not VerdictKind.THROTTLED:
        lane.breaker = lane.breaker.after(alive, now_ms)
    if alive:
        if lane.resting:
            lane.resting = False
            house.telemetry.destination_works(rooms.id, placed.name)
        return
    rest_ms = 0
    if kind is VerdictKind.THROTTLED:
        rest_ms = reading.whole.wait_ms if reading.whole.wait_ms is not None else 5_000
    elif kind in (VerdictKind.CREDENTIALS, VerdictKind.CONFIGURATION):
        rest_ms = int(house.settings.delivery.pause_s * 1000)
    elif lane.breaker.is_open and not lane.resting:
        rest_ms = lane.breaker.allows_at_ms(now_ms) - now_ms
    if rest_ms:
        lane.rest_until_ms = max(lane.rest_until_ms, now_ms + rest_ms)
        if kind is not VerdictKind.THROTTLED and not lane.resting:
            lane.resting = True
            house.telemetry.destination_rests(rooms.id, placed.name, reading.whole.reason, reading.whole.code, rest_ms)


def _told(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict without anything of the event in the vendor's words."""
    if verdict.code is None and verdict.detail is None:
        return verdict
    return msgspec.structs.replace(verdict, code=evidence.clean(verdict.code), detail=evidence.clean(verdict.detail))


def _settlement(
    house: "House",
    placed: "Placed",
    due: DueDelivery,
    verdict: Verdict,
    answer: Answer,
    extract: str | None,
    now_ms: int,
) -> Settlement:
    """Turn a verdict into a fate."""
    delivery = house.settings.delivery
    fate, reason, due_at_ms, unsure = "waiting", verdict.reason, 0, False
    kind = verdict.kind
    if kind is VerdictKind.ACCEPTED:
        fate = "accepted"
    elif kind is VerdictKind.PAYLOAD:
        fate = "rejected"
    elif kind is VerdictKind.AMBIGUOUS and due.dedup_key is None:
        fate, reason = "unconfirmed", "answer_lost"
    else:
        unsure = kind is VerdictKind.AMBIGUOUS
        wait_ms = backoff_ms(
            due.attempts, int(delivery.retry_base_s * 1000), int(delivery.retry_cap_s * 1000), house.entropy.fraction()
        )
        if kind in (VerdictKind.CREDENTIALS, VerdictKind.CONFIGURATION):
            wait_ms = int(delivery.pause_s * 1000)
        if verdict.reason == "batch_failed":
            wait_ms = 0  # refused only for its company: nobody has to recover first
        elif verdict.wait_ms is not None:
            wait_ms = max(wait_ms, verdict.wait_ms)
        due_at_ms = now_ms + wait_ms
        gives_up_at_ms = due.expires_at_ms
        if kind in (VerdictKind.RETRY, VerdictKind.AMBIGUOUS, VerdictKind.THROTTLED):
            gives_up_at_ms = min(gives_up_at_ms, due.judged_at_ms + int(delivery.retry_for_h * HOUR_MS))
        if due_at_ms > gives_up_at_ms:
            fate, reason = "dead", "attempts_exhausted"
    return Settlement(
        delivery_id=due.delivery_id,
        fate=fate,
        reason=reason,
        at_ms=now_ms,
        detail=verdict.detail or (verdict.code if fate != "accepted" else None),
        due_at_ms=due_at_ms,
        unsure=unsure,
        latency_ms=answer.latency_ms,
        verdict=kind.value,
        status=answer.status,
        code=verdict.code,
        answer=extract,
    )


async def _release(house: "House", batch: list[_Opened], due_at_ms: int) -> None:
    """Give back what was claimed and not sent."""
    now_ms = house.clock.now_ms()
    await _write_down(
        house,
        [
            Settlement(
                delivery_id=one.due.delivery_id,
                fate="waiting",
                reason="fresh" if one.due.attempts == 1 else "vendor_unavailable",
                at_ms=now_ms,
                due_at_ms=due_at_ms,
                attempted=False,
            )
            for one in batch
        ],
    )


async def _settle(
    house: "House",
    rooms: "SiteRooms",
    placed: "Placed",
    settlements: list[Settlement],
    due: dict[int, DueDelivery],
) -> None:
    await _write_down(house, settlements)
    for settlement in settlements:
        if settlement.fate != "waiting":
            one = due[settlement.delivery_id]
            house.telemetry.delivery_settled(
                rooms.id, placed.name, settlement.fate, settlement.reason, one.event_id, one.attempts
            )


async def _write_down(house: "House", settlements: list[Settlement]) -> None:
    """Settle, again and again until the store takes it. Raises StoreDamaged."""
    while True:
        try:
            await house.store.settle(settlements)
        except StoreDamaged:
            raise
        except StoreError as error:
            house.telemetry.warned("settling_waits", kind=type(error).__name__, deliveries=len(settlements))
            await asyncio.sleep(SETTLE_AGAIN_S)
        else:
            return


def new_lane(house: "House", placed: "Placed") -> Lane:
    """Make the state of a destination's worker, with the vendor's own pace."""
    return Lane(pace=Bucket(placed.definition.pace.per_minute, house.clock.monotonic_s()))
