"""Timers: what is due by now is done once: a cart that was left becomes an event, and is owed to whoever asked to be told.

The event's id is made from the last event of the cart, so a timer that is taken twice, because the process ended between
recording and finishing, makes one event. Before it is recorded everything is asked again: whether something was bought
meanwhile by the same visitor or person, whether they refused since, whether they were erased. Before it is sent, delivery
asks once more, as for every event.

The event is dated at the last step of the cart, so that its age is the time since then.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import identity
from gateway.errors import Refusal
from gateway.event import Claim, Received, Submission
from gateway.flows import calls, carts
from gateway.flows.assemble import Facts
from gateway.flows.convert import prepare, stored_of
from gateway.flows.persons import keys_of
from gateway.money import major_text
from gateway.protocols.order_reading import AHEAD_MS, stable_id
from gateway.purposes import ALL_PURPOSES, ANALYTICS, NECESSARY
from gateway.times import DAY_MS, MINUTE_MS, utc_text
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.stores.contract_credit import CountedConversion, DueTimer

__all__ = ["Left", "Page", "left_carts", "run_due"]

LEASE_MS: Final = 60_000
CLAIM_MAX: Final = 100
PAGE: Final = 200
DAYS: Final = range(1, 91)

_read_facts: Final = msgspec.json.Decoder(Facts).decode


class Left(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One cart that was left, as it is listed. `value` is decimal text. `bought`: something was bought since."""

    event_id: str
    left_at: str
    age_minutes: int
    bought: bool
    step: str | None = None
    value: str | None = None
    currency: str | None = None
    items: tuple[dict[str, object], ...] = ()
    checkout: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Carts that were left, oldest first. `next` is what to ask with as `after` for those behind them; None at the end."""

    carts: tuple[Left, ...]
    next: str | None


# ------------------------------------------------------------------ what is due


async def run_due(house: "House") -> int:
    """Do what is due, one portion. Answers how many timers were taken. Raises StoreError; then the rest is taken again."""
    now_ms = house.clock.now_ms()
    due = await house.store.claim_timers(now_ms, LEASE_MS, CLAIM_MAX)
    if not due:
        return 0
    await asyncio.gather(*(_do(house, timer, now_ms) for timer in due))
    await house.store.finish_timers(due)
    return len(due)


async def _do(house: "House", timer: "DueTimer", now_ms: int) -> None:
    rooms = house.by_id.get(timer.site)
    if timer.kind == calls.KIND or rooms is None:
        return  # a lease that is over, or a site that is gone
    if timer.kind != carts.KIND:
        house.telemetry.failed("timer_unknown", site=timer.site)
        return
    outcome = await _left(house, rooms, timer, now_ms)
    house.telemetry.events_received(rooms.id, "server", 0, (outcome,))


async def _left(house: "House", rooms: "SiteRooms", timer: "DueTimer", now_ms: int) -> str:
    """Record the event of one cart, or say why not, as the name of a mark that is counted."""
    mark = house.erasures
    try:
        cart = carts.read_cart(house, rooms.id, timer.subject_key, timer.payload)
    except SealedUnreadable:
        house.telemetry.failed("timer_unreadable", site=rooms.id)
        return "cart_unreadable"
    if not rooms.site.abandoned.minutes:
        return "cart_not_watched"
    visitor_key = timer.subject_key if cart.visitor_id is not None else None
    persons = {cart.person_key, *keys_of(house, rooms, carts.person_of(cart))}
    if await _bought(house, rooms, visitor_key, persons, cart.at_ms, now_ms):
        return "cart_bought"
    granted = await _still_granted(house, rooms, cart, visitor_key, now_ms)
    if not granted:
        return "cart_consent_lost"
    item, marks = await prepare(house, rooms, _event(rooms, cart, granted, now_ms), strict=False)
    if visitor_key is not None and item.event.visitor_key is None:
        return "cart_consent_lost"
    if item.person_key is None:
        item = msgspec.structs.replace(item, person_key=cart.person_key)
    if house.erased_since(mark, timer.subject_key, item.event.visitor_key, item.person_key):
        return "cart_erased"
    submitted = await house.store.submit(Submission((item,)))
    recorded = submitted.recorded[0]
    if recorded.fate == "duplicate":
        return "cart_told_before"
    house.telemetry.events_received(rooms.id, "server", 1, marks)
    house.stored(rooms.id, item, recorded.fate)
    return "cart_left"


async def _bought(
    house: "House",
    rooms: "SiteRooms",
    visitor_key: bytes | None,
    persons: "set[bytes | None]",
    since_ms: int,
    now_ms: int,
) -> bool:
    """Whether the visitor, or one of the persons they are or were seen to be, bought something since.

    A purchase stops the timer when both are known by the same key; a shop's server may know the person only.
    """
    if visitor_key is not None:
        persons = persons | {person for _, person, _ in await house.store.persons_of(rooms.id, [visitor_key])}
    for person in persons:
        for goal in rooms.site.abandoned.ends:
            at_ms = await house.store.previous_conversion_at(
                rooms.id,
                goal,
                visitor_key=visitor_key,
                person_key=person,
                before_ms=now_ms + AHEAD_MS + 1,
                not_id="",
            )
            if at_ms is not None and at_ms >= since_ms:
                return True
    return False


async def _still_granted(
    house: "House", rooms: "SiteRooms", cart: carts.Cart, visitor_key: bytes | None, now_ms: int
) -> int:
    """What was granted then and was not refused since; 0 when the cart may not be told of any more."""
    stored = await stored_of(house, rooms, visitor_key, cart.person_key, now_ms)
    granted = cart.granted & ~(stored.denied if stored is not None else 0)
    if stored is not None and stored.at_ms >= cart.at_ms:
        granted &= stored.granted | NECESSARY  # what was taken back without a refusal is lost as well
    for key in (visitor_key, cart.person_key):
        if key is not None:
            granted &= ~house.recent_refusals.get(key, 0)
    told = rooms.site.abandoned.destination
    placed = next((placed for placed in rooms.destinations if placed.name == told), None) if told else None
    needs = placed.needs.base if placed is not None else ANALYTICS
    return 0 if needs & ~granted else granted


def _event(rooms: "SiteRooms", cart: carts.Cart, granted: int, now_ms: int) -> Received:
    """The event of a cart that was left. What was granted is said again; whatever is known to be refused since wins."""
    props: dict[str, str | int] = {"step": cart.step, "delay_minutes": rooms.site.abandoned.minutes}
    if cart.checkout is not None:
        props["checkout"] = cart.checkout
    token = None
    if cart.visitor_id is not None and cart.issued_day is not None:
        token = identity.sign_token(rooms.keys, cart.visitor_id, cart.issued_day, now_ms // DAY_MS)
    return Received(
        site=rooms.id,
        event_id=stable_id(carts.ABANDONED, cart.event_id),
        name=carts.ABANDONED,
        trust="server",
        occurred_at_ms=cart.at_ms,
        received_at_ms=now_ms,
        conversion=True,
        url=cart.url,
        amount_minor=cart.amount_minor,
        currency=cart.currency,
        items=cart.items,
        props=props,
        person=carts.person_of(cart),
        claim=Claim(granted=granted & ~NECESSARY, denied=ALL_PURPOSES & ~granted & ~NECESSARY, at_ms=cart.at_ms),
        visitor_token=token,
        test=cart.test,
    )


# ------------------------------------------------------------------ the list


async def left_carts(
    house: "House", rooms: "SiteRooms", *, older_than_minutes: int, days: int, after: str | None
) -> Page:
    """List carts that were left at least so long ago, and at most `days`, oldest first. Raises Refusal."""
    if days not in DAYS:
        raise Refusal("field_invalid", "days")
    if not 0 <= older_than_minutes <= days * 1_440:
        raise Refusal("field_invalid", "older_than_minutes")
    now_ms = house.clock.now_ms()
    after_ms, after_id = now_ms - days * DAY_MS, ""
    if after is not None:
        stamp, _, after_id = after.partition(".")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15 and 0 < len(after_id) <= 80):
            raise Refusal("field_invalid", "after")
        after_ms = max(after_ms, int(stamp))
    found = await house.store.conversions_page(
        rooms.id,
        after_ms=after_ms,
        upto_ms=now_ms - older_than_minutes * MINUTE_MS,
        goal=carts.ABANDONED,
        after_id=after_id,
        limit=PAGE,
    )
    shown = await asyncio.gather(*(_shown(house, rooms, one, now_ms) for one in found if not one.test))
    last = found[-1] if len(found) == PAGE else None
    return Page(tuple(shown), f"{last.occurred_at_ms}.{last.conversion_id}" if last is not None else None)


async def _shown(house: "House", rooms: "SiteRooms", one: "CountedConversion", now_ms: int) -> Left:
    facts = _read_facts(one.facts)
    bought = await _bought(house, rooms, one.visitor_key, {one.person_key}, one.occurred_at_ms, now_ms)
    step, checkout = facts.props.get("step"), facts.props.get("checkout")
    return Left(
        event_id=one.event_id,
        left_at=utc_text(one.occurred_at_ms),
        age_minutes=(now_ms - one.occurred_at_ms) // MINUTE_MS,
        bought=bought,
        step=step if isinstance(step, str) else None,
        value=_major(one.amount_minor, one.currency),
        currency=one.currency,
        items=tuple(
            [_line(item.id, item.name, item.quantity, item.price_minor, facts.currency) for item in facts.items]
        ),
        checkout=checkout if isinstance(checkout, str) else None,
    )


def _major(amount_minor: int | None, currency: str | None) -> str | None:
    return major_text(amount_minor, currency) if amount_minor is not None and currency is not None else None


def _line(
    item_id: str | None, name: str | None, quantity: int, price_minor: int | None, currency: str | None
) -> dict[str, object]:
    named = (("id", item_id), ("name", name), ("quantity", quantity), ("price", _major(price_minor, currency)))
    return {key: value for key, value in named if value is not None}
