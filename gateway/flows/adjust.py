"""Adjust: what a conversion is worth after a refund, a restatement or a retraction, and who is told.

A conversion is never rewritten: its state is worked out anew from all its adjustments, and stored only if nobody else's
came between, else once more. An adjustment of an order that is not known yet waits for it. One that names an order and no
goal is for every conversion of that order: the first keeps its id, others get a copy with their goal behind it.

Destinations that take it are sent an event of its own, `refund` or `conversion_adjusted`, judged by the choice that is
recorded now. It is never a conversion. Its id is made of the adjustment's, so that a repeat sends nothing twice.
"""

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, identity
from gateway.conversions import Counted
from gateway.conversions.adjustments import Adjustment, State, apply, check_adjustment
from gateway.errors import Busy, Refusal
from gateway.event import NOBODY, Judged, Page, Received, Submission, Visitor
from gateway.flows.assemble import assemble
from gateway.flows.convert import authenticate, stored_of
from gateway.flows.judging import Said
from gateway.money import major_text
from gateway.protocols import adjusting
from gateway.stores.contract_credit import AdjustmentApplied, AdjustmentRow
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract_credit import CountedConversion

__all__ = ["EVENTS", "Adjusted", "Source", "adjust_conversion", "adjust_order", "settle_waiting", "take", "told"]

EVENTS: Final = {"refund": "refund", "retract": "refund", "restate": "conversion_adjusted"}
"""Kind of adjustment to the event by which destinations are told. Taken back is, for whoever counts money, given back."""

_TRIES: Final = 20
_TOLD: Final = frozenset({"applied", "applied_in_part"})


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent an adjustment, and when. `visitor_token` and `ga` are the visitor's cookies, if the sender has them."""

    trust: str
    received_at_ms: int
    visitor_token: str | None = None
    ga: str | None = None


class Adjusted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an adjustment for one conversion; `conversion_id` None while the order is not known.

    `status`: `recorded`, or `repeated` when it was known.
    """

    adjustment_id: str
    status: str
    goal: str
    conversion_id: str | None
    state: State


async def take(house: "House", rooms: "SiteRooms", request: "Request", name: str) -> tuple[Adjusted, ...]:
    """Take an adjustment of the conversion that `name` names, one answer for each conversion it changes.

    A signed call's nonce is not used up: the id of an adjustment is taken once by itself. Raises Refusal or StoreError.
    """
    now_ms = house.clock.now_ms()
    _, trust, _ = authenticate(house, rooms, request, "conversions", now_ms)
    asked = adjusting.read_adjustment(request.body, idempotency_key=request.idempotency_key, now_ms=now_ms)
    named = adjusting.read_named(name)
    source = Source(trust=trust, received_at_ms=now_ms, visitor_token=asked.visitor_token, ga=asked.ga)
    if named.order_id is not None:
        found = await _of_order(house, rooms, named.order_id, asked.goal)
        currencies = {one.currency for one in found}
        own = currencies.pop() if len(currencies) == 1 else None
        adjustment = _priced(asked, own, rooms.site.currency)
        return await adjust_order(house, rooms, named.order_id, adjustment, goal=asked.goal, source=source)
    counted = await house.store.conversion(rooms.id, named.conversion_id or "")
    if counted is None or counted.fate == "duplicate":
        raise Refusal("conversion_unknown")
    if asked.goal not in ("", counted.goal):
        raise Refusal("field_invalid", "goal")
    adjustment = _priced(asked, counted.currency, rooms.site.currency)
    return (await adjust_conversion(house, rooms, counted, adjustment, goal=counted.goal, source=source),)


def _priced(asked: adjusting.Asked, own: str | None, default: str) -> Adjustment:
    amount_minor, currency = adjusting.minor_of(asked, own, default)
    return Adjustment(
        id=asked.id,
        kind=asked.kind,
        at_ms=asked.at_ms,
        amount_minor=amount_minor,
        currency=currency,
        reason=asked.reason,
    )


def told(adjusted: tuple[Adjusted, ...]) -> dict[str, object]:
    """Build the JSON that answers an adjustment: what each conversion is worth now, in decimal major units."""
    return {
        "adjustment_id": adjusted[0].adjustment_id,
        "status": adjusted[0].status,
        "conversions": [
            {
                "conversion_id": one.conversion_id,
                "goal": one.goal or None,
                "status": one.status,
                "fate": one.state.fate,
                "currency": one.state.currency,
                "value": _major(one.state.amount_minor, one.state.currency),
                "refunded": _major(one.state.refunded_minor, one.state.currency),
                "excess": _major(one.state.excess_minor, one.state.currency),
                "net": _major(one.state.net_minor, one.state.currency),
                "effect": one.state.effects.get(one.adjustment_id),
                "effects": one.state.effects,
            }
            for one in adjusted
        ],
    }


def _major(minor: int | None, currency: str | None) -> str | None:
    return major_text(minor, currency) if minor is not None and currency is not None else None


# ------------------------------------------------------------------ one order


async def adjust_order(
    house: "House", rooms: "SiteRooms", order_id: str, adjustment: Adjustment, *, goal: str = "", source: Source
) -> tuple[Adjusted, ...]:
    """Adjust every conversion of an order, or those of one goal; while there is none, let the adjustment wait.

    Raises Refusal: what `check_adjustment` says, `adjustment_conflict` for an id that was used for something else.
    """
    for _ in range(_TRIES):
        found = await _of_order(house, rooms, order_id, goal)
        known = await house.store.adjustment(rooms.id, adjustment.id)
        if known is not None:
            _refuse_other_order(known, order_id)
        if not found:
            waited = await _wait(house, rooms, order_id, adjustment, goal, source)
            if waited is not None:
                return (waited,)
            continue  # its conversion came meanwhile
        if known is not None and known.conversion_id is None:
            for one in found:
                await settle_waiting(house, rooms, one)
            known = await house.store.adjustment(rooms.id, adjustment.id)
        first = known.conversion_id if known is not None else found[0].conversion_id
        for one in found:
            check_adjustment(_own(adjustment, one, first), _counted(one), ())  # all or none
        return tuple(
            [
                await adjust_conversion(house, rooms, one, _own(adjustment, one, first), goal=goal, source=source)
                for one in found
            ]
        )
    raise Busy


async def _of_order(house: "House", rooms: "SiteRooms", order_id: str, goal: str) -> "list[CountedConversion]":
    found = [one for one in await house.store.conversions_of_order(rooms.id, order_id) if goal in ("", one.goal)]
    # What was only rehearsed is not taken back with the real order.
    real = [one for one in found if not one.test]
    return sorted(real or found, key=lambda one: one.goal)


def _own(adjustment: Adjustment, counted: "CountedConversion", first: str | None) -> Adjustment:
    """The adjustment as one conversion of the order has it: only one can have the id as it was given."""
    if counted.conversion_id == first:
        return adjustment
    return msgspec.structs.replace(adjustment, id=f"{adjustment.id}@{counted.goal}")


def _refuse_other_order(known: AdjustmentRow, order_id: str) -> None:
    if known.order_id != order_id:
        raise Refusal("adjustment_conflict", "adjustment_id")


async def _wait(
    house: "House", rooms: "SiteRooms", order_id: str, adjustment: Adjustment, goal: str, source: Source
) -> Adjusted | None:
    """Store an adjustment that waits for its order. None when the order came in the meantime."""
    known = await house.store.adjustment(rooms.id, adjustment.id)
    new = _is_new(adjustment, None, [known] if known is not None else [])
    if new:
        row = _row(adjustment, None, order_id, goal, source)
        if await house.store.put_adjustment(rooms.id, row, None) != "recorded":
            return None
    if await _of_order(house, rooms, order_id, goal):
        return None
    return Adjusted(
        adjustment_id=adjustment.id,
        status="recorded" if new else "repeated",
        goal=goal,
        conversion_id=None,
        state=apply(None, [adjustment]),
    )


# ------------------------------------------------------------------ one conversion


async def adjust_conversion(
    house: "House",
    rooms: "SiteRooms",
    counted: "CountedConversion",
    adjustment: Adjustment,
    *,
    goal: str,
    source: Source,
) -> Adjusted:
    """Adjust one conversion. `goal` is empty when the adjustment is for its whole order. Raises Refusal or StoreError."""
    for _ in range(_TRIES):
        rows = await house.store.adjustments_of(rooms.id, counted.conversion_id)
        history = [adjustment_of(row) for row in rows]
        if not _is_new(adjustment, counted, rows):
            state = apply(_counted(counted), history)
            await _tell(house, rooms, counted, adjustment, history, state, source)
            return _adjusted(counted, adjustment, "repeated", state)
        state = apply(_counted(counted), [*history, adjustment])
        row = _row(adjustment, counted.conversion_id, counted.order_id, goal, source)
        answer = await house.store.put_adjustment(rooms.id, row, _applied(state, len(rows) + 1))
        if answer == "recorded":
            await _tell(house, rooms, counted, adjustment, [*history, adjustment], state, source)
            return _adjusted(counted, adjustment, "recorded", state)
        if answer == "repeated":
            known = await house.store.adjustment(rooms.id, adjustment.id)
            if known is not None and known.conversion_id != counted.conversion_id:
                raise Refusal("adjustment_conflict", "adjustment_id")
    raise Busy


def _is_new(adjustment: Adjustment, counted: "CountedConversion | None", rows: "Sequence[AdjustmentRow]") -> bool:
    try:
        known = [adjustment_of(row) for row in rows]
        return check_adjustment(adjustment, _counted(counted) if counted is not None else None, known)
    except Refusal as refusal:
        raise Refusal(refusal.code, "adjustment_id" if refusal.field == "id" else refusal.field) from None


def _counted(counted: "CountedConversion") -> Counted:
    return Counted(counted.amount_minor, counted.currency, counted.value_source)


def adjustment_of(row: AdjustmentRow) -> Adjustment:
    """The adjustment that a stored row holds."""
    return Adjustment(
        id=row.adjustment_id,
        kind=row.kind,
        at_ms=row.at_ms,
        amount_minor=row.amount_minor,
        currency=row.currency,
        reason=row.reason,
    )


def _row(
    adjustment: Adjustment, conversion_id: str | None, order_id: str | None, goal: str, source: Source
) -> AdjustmentRow:
    return AdjustmentRow(
        adjustment_id=adjustment.id,
        conversion_id=conversion_id,
        goal=goal,
        order_id=order_id,
        kind=adjustment.kind,
        amount_minor=adjustment.amount_minor,
        currency=adjustment.currency,
        reason=adjustment.reason,
        at_ms=adjustment.at_ms,
        received_at_ms=source.received_at_ms,
        trust=source.trust,
    )


def _applied(state: State, known: int) -> AdjustmentApplied:
    """What the conversion's row says afterwards."""
    fate, reason = "counted", "adjusted" if _TOLD & set(state.effects.values()) else "first_with_key"
    if state.fate == "retracted":
        fate, reason = "retracted", "taken_back"
    return AdjustmentApplied(fate=fate, reason=reason, net_minor=state.net_minor, known=known)


def _adjusted(counted: "CountedConversion", adjustment: Adjustment, status: str, state: State) -> Adjusted:
    return Adjusted(
        adjustment_id=adjustment.id,
        status=status,
        goal=counted.goal,
        conversion_id=counted.conversion_id,
        state=state,
    )


# ------------------------------------------------------------------ what waited


async def settle_waiting(
    house: "House", rooms: "SiteRooms", counted: "CountedConversion", *, order_id: str | None = None
) -> int:
    """Give a conversion the adjustments of its order that were there before it. Answers how many. Raises StoreError.

    `order_id` is another number by which the order is also known. What is meant for the whole order and already stands
    with another goal's conversion is copied.
    """
    settled = 0
    for known in dict.fromkeys((order_id, counted.order_id)):
        if known is not None:
            settled += await _give(house, rooms, counted, known)
    # Also what an earlier try gave and could not tell any more: telling twice changes nothing.
    rows = await house.store.adjustments_of(rooms.id, counted.conversion_id)
    history = [adjustment_of(row) for row in rows]
    state = apply(_counted(counted), history)
    for row, adjustment in zip(rows, history, strict=True):
        source = Source(trust=row.trust, received_at_ms=house.clock.now_ms())
        await _tell(house, rooms, counted, adjustment, history, state, source)
    if counted.order_id is None:
        return settled
    own = {row.adjustment_id for row in await house.store.adjustments_of(rooms.id, counted.conversion_id)}
    for other in await house.store.conversions_of_order(rooms.id, counted.order_id):
        if other.conversion_id == counted.conversion_id:
            continue
        for row in await house.store.adjustments_of(rooms.id, other.conversion_id):
            copy = f"{row.adjustment_id.partition('@')[0]}@{counted.goal}"
            if row.goal or own & {copy, row.adjustment_id.partition("@")[0]}:
                continue
            adjustment = msgspec.structs.replace(adjustment_of(row), id=copy)
            source = Source(trust=row.trust, received_at_ms=house.clock.now_ms())
            try:
                await adjust_conversion(house, rooms, counted, adjustment, goal="", source=source)
            except Refusal:
                continue  # of another currency: it stands where it can apply
            own.add(copy)
            settled += 1
    return settled


async def _give(house: "House", rooms: "SiteRooms", counted: "CountedConversion", order_id: str) -> int:
    for _ in range(_TRIES):
        waiting = [
            row for row in await house.store.waiting_adjustments(rooms.id, order_id) if row.goal in ("", counted.goal)
        ]
        if not waiting:
            return 0
        rows = await house.store.adjustments_of(rooms.id, counted.conversion_id)
        history = [adjustment_of(row) for row in (*rows, *waiting)]
        state = apply(_counted(counted), history)
        ids = [row.adjustment_id for row in waiting]
        applied = _applied(state, len(history))
        if await house.store.give_adjustments(rooms.id, ids, counted.conversion_id, applied):
            return len(waiting)
    raise Busy


# ------------------------------------------------------------------ telling destinations


async def _tell(
    house: "House",
    rooms: "SiteRooms",
    counted: "CountedConversion",
    adjustment: Adjustment,
    history: "Sequence[Adjustment]",
    state: State,
    source: Source,
) -> None:
    """Owe the event of an adjustment that changed something to the destinations that list it."""
    name = EVENTS[adjustment.kind]
    if name not in rooms.wanted or state.effects.get(adjustment.id) not in _TOLD:
        return
    before = apply(_counted(counted), [one for one in history if one.id != adjustment.id])
    received = _event(rooms, counted, adjustment, before, state, source)
    while True:
        mark = house.erasures
        token = None
        if source.visitor_token is not None:
            day, days = source.received_at_ms // DAY_MS, rooms.site.id_days
            token = identity.read_token(rooms.keys, source.visitor_token, day, days)
        key = rooms.visitor_key(token.visitor_id) if token is not None else counted.visitor_key
        stored = await stored_of(house, rooms, key, counted.person_key, source.received_at_ms)
        verdicts = rooms.judge(Said(stored=stored, trusted=True, now_ms=source.received_at_ms), received)
        visitor = NOBODY
        if key is not None and consent.keeps_visitor(verdicts.own, rooms.id_needs):
            visitor = Visitor("signed", token.visitor_id if token is not None else None, key)
        marks = verdicts.noted
        if source.visitor_token is not None and token is None:
            marks += ("visitor_token_invalid",)
        judged = Judged(received, visitor, verdicts.own, Page(), received.props, marks, verdicts.others)
        item = assemble(house, rooms, judged, person_key=counted.person_key, claims=False)
        if not house.erased_since(mark, key, counted.person_key):
            break
    submitted = await house.store.submit(Submission((item,)))
    house.stored(rooms.id, item, submitted.recorded[0].fate)


def _event(
    rooms: "SiteRooms",
    counted: "CountedConversion",
    adjustment: Adjustment,
    before: State,
    after: State,
    source: Source,
) -> Received:
    """The event of an adjustment: what went back by it, or what the conversion is worth now."""
    amount, currency = after.net_minor, after.currency
    if EVENTS[adjustment.kind] == "refund" and amount is not None and before.net_minor is not None:
        amount = max(0, before.net_minor - amount)
    net = _major(after.net_minor, currency)
    return Received(
        site=rooms.id,
        event_id="adj_" + hashlib.sha256(f"{rooms.id}\x1f{adjustment.id}".encode()).hexdigest()[:32],
        name=EVENTS[adjustment.kind],
        trust=source.trust,
        occurred_at_ms=adjustment.at_ms,
        received_at_ms=source.received_at_ms,
        amount_minor=amount,
        currency=currency if amount is not None else None,
        order_id=counted.order_id,
        goal=counted.goal,
        props={
            "adjustment": adjustment.kind,
            "adjustment_id": adjustment.id,
            "conversion_id": counted.conversion_id,
            "goal": counted.goal,
            "reason": adjustment.reason,
            **({"net": net} if net is not None else {}),
        },
        platform_ids={"_ga": source.ga} if source.ga else {},
        test=counted.test,
    )
