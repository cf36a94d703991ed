"""Deliver: claim what is due, ask consent again, send, and write down what became of it.

One lane for each destination of each site: lanes share nothing, so a vendor that hangs holds up nobody else. What is
claimed is durable before it is sent, and what was answered is durable before the next claim: a crash in between repeats a
request with the same dedup key, or, where the vendor knows none, leaves it unconfirmed.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent
from gateway.destinations.definition import Ready
from gateway.destinations.render import open_payload
from gateway.errors import OutboundRefused
from gateway.exchange import Answer, Call, Reading, Verdict
from gateway.flows.assemble import place_of
from gateway.flows.tokens import TokenRefused, access_token
from gateway.outcome import VerdictKind
from gateway.schedule import Breaker, Bucket, backoff_ms
from gateway.stores.contract import DueDelivery, Settlement
from gateway.times import HOUR_MS
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House, Placed, SiteRooms

__all__ = ["Lane", "deliver_due", "new_lane", "next_wait_ms"]

CLAIM_MAX: Final = 200
ANSWER_KEPT: Final = 500
IDLE_MS: Final = 5_000
DEDUP_MARGIN_MS: Final = HOUR_MS


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
    await asyncio.gather(*(_send(house, rooms, placed, lane, batch, gate) for batch in _batches(placed, opened)))
    return len(due)


def _sort_out(
    house: "House", rooms: "SiteRooms", placed: "Placed", due: "Sequence[DueDelivery]", now_ms: int
) -> tuple[list[Settlement], list[_Opened]]:
    """Second judgement, age, and opening: what must not be sent is settled here."""
    settled: list[Settlement] = []
    opened: list[_Opened] = []
    window_ms = placed.definition.dedup_window_ms
    for one in due:
        fate = reason = detail = None
        lost = consent.judge_again(one.purposes, one.denied_since)
        if lost:
            fate, reason, detail = "cancelled", "consent_withdrawn", str(lost)
        elif placed.needs.base & ~one.purposes:
            fate, reason = "cancelled", "needs_changed"
        elif (
            window_ms is not None
            and one.unsure_since_ms is not None
            and now_ms - one.unsure_since_ms > window_ms - DEDUP_MARGIN_MS
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
    groups: dict[str, list[_Opened]] = {}
    for one in opened:
        groups.setdefault(one.ready.group, []).append(one)
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
) -> None:
    """Send one request and settle its events; halve it when the vendor refuses it whole for one it does not name."""
    async with gate:
        now_ms = house.clock.now_ms()
        if lane.stopping or now_ms < lane.rest_until_ms:
            await _release(house, rooms, placed, batch, max(now_ms, lane.rest_until_ms))
            return
        if lane.pace is not None:
            wait_s = lane.pace.take(house.clock.monotonic_s())
            if wait_s:
                await asyncio.sleep(wait_s)
        answer, reading = await _exchange(house, placed, lane, [one.ready for one in batch])
    verdict = reading.whole
    house.telemetry.attempt_made(placed.name, verdict.kind.value, answer.latency_ms)
    now_ms = house.clock.now_ms()
    _learn(house, rooms, placed, lane, reading, now_ms)
    if reading.split and len(batch) > 1:
        middle = len(batch) // 2
        await asyncio.gather(
            _send(house, rooms, placed, lane, batch[:middle], gate),
            _send(house, rooms, placed, lane, batch[middle:], gate),
        )
        return
    settlements = [
        _settlement(house, placed, one.due, reading.each.get(index, verdict), answer, now_ms)
        for index, one in enumerate(batch)
    ]
    await _settle(house, rooms, placed, settlements, {one.due.delivery_id: one.due for one in batch})


async def _exchange(house: "House", placed: "Placed", lane: Lane, events: list[Ready]) -> tuple[Answer, Reading]:
    """One request and the reading of its answer. A refused access token is replaced once."""
    call = placed.definition.request(events, placed.options, house.clock.now_ms())
    wants_token = any(credential.place == "google" for credential in call.credentials)
    answer, reading = await _ask(house, placed, lane, call, len(events), fresh=False, wants_token=wants_token)
    if wants_token and answer.status == 401:
        return await _ask(house, placed, lane, call, len(events), fresh=True, wants_token=True)
    return answer, reading


async def _ask(
    house: "House", placed: "Placed", lane: Lane, call: Call, count: int, *, fresh: bool, wants_token: bool
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
    return answer, placed.definition.read_answer(answer, count, house.clock.now_ms())


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
        rest_ms = 1
    if rest_ms:
        lane.rest_until_ms = max(lane.rest_until_ms, now_ms + rest_ms)
        if kind is not VerdictKind.THROTTLED and not lane.resting:
            lane.resting = True
            house.telemetry.destination_rests(rooms.id, placed.name, reading.whole.reason, reading.whole.code, rest_ms)


def _settlement(
    house: "House", placed: "Placed", due: DueDelivery, verdict: Verdict, answer: Answer, now_ms: int
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
        if verdict.wait_ms is not None:
            wait_ms = (
                max(verdict.wait_ms, 0)
                if kind is VerdictKind.RETRY and verdict.wait_ms == 0
                else max(wait_ms, verdict.wait_ms)
            )
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
        answer=answer.failure or answer.body[:ANSWER_KEPT].decode("utf-8", "replace") or None,
    )


async def _release(house: "House", rooms: "SiteRooms", placed: "Placed", batch: list[_Opened], due_at_ms: int) -> None:
    """Give back what was claimed and not sent."""
    now_ms = house.clock.now_ms()
    await house.store.settle(
        [
            Settlement(
                delivery_id=one.due.delivery_id,
                fate="waiting",
                reason="fresh",
                at_ms=now_ms,
                due_at_ms=due_at_ms,
                attempted=False,
            )
            for one in batch
        ]
    )


async def _settle(
    house: "House",
    rooms: "SiteRooms",
    placed: "Placed",
    settlements: list[Settlement],
    due: dict[int, DueDelivery],
) -> None:
    await house.store.settle(settlements)
    for settlement in settlements:
        if settlement.fate != "waiting":
            one = due[settlement.delivery_id]
            house.telemetry.delivery_settled(
                rooms.id, placed.name, settlement.fate, settlement.reason, one.event_id, one.attempts
            )


def new_lane(house: "House", placed: "Placed") -> Lane:
    """Make the state of a destination's worker, with the vendor's own pace."""
    return Lane(pace=Bucket(placed.definition.pace.per_minute, house.clock.monotonic_s()))
