"""Carts: an event that shows a cart sets a timer, a purchase stops it, in the transaction that records the event.

What the timer will need is sealed into it and gone when it ends: what is in the cart, whose it is, and what was granted at
the time. A cart is watched only of somebody who is known, by a signed id or by what a server call names, and only where
they granted what the receiver of the message needs; contact data is kept only where it may be told to that receiver.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent
from gateway.event import Item, Person, Personal, TimerChange, Withheld
from gateway.purposes import Group
from gateway.times import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from gateway.event import Judged
    from gateway.flows.house import House, Placed, SiteRooms
    from gateway.purposes import Judgement

__all__ = ["ABANDONED", "KIND", "Cart", "changes", "person_of", "read_cart", "timer_place"]

ABANDONED: Final = "abandoned_checkout"
"""Name of the event that tells of a cart that was left."""
KIND: Final = "cart"
LATE_MS: Final = DAY_MS
"""A cart that was told so long after it was due is no occasion to write to somebody any more."""


class Cart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a timer holds of a cart, sealed. `event_id`, `step` and `at_ms` are those of the last event that showed it.

    `visitor_id` and `issued_day` are those of a signed id. `person_key` is the person a server call named, `person` their
    contact data as far as the receiver may be told. `granted` are purposes granted then, a set as in `purposes`.
    """

    event_id: str
    step: str
    at_ms: int
    granted: int
    visitor_id: str | None = None
    issued_day: int | None = None
    person_key: bytes | None = None
    person: Mapping[str, list[str]] = {}
    amount_minor: int | None = None
    currency: str | None = None
    items: tuple[Item, ...] = ()
    checkout: str | None = None
    url: str | None = None
    place: str = ""
    test: bool = False


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Cart).decode
_SEVERAL: Final = ("email", "phone")


def changes(house: "House", rooms: "SiteRooms", judged: "Judged", person_key: bytes | None) -> tuple[TimerChange, ...]:
    """What an event does to the timer of its cart; nothing for most events."""
    abandoned = rooms.site.abandoned
    name = judged.received.name
    if not abandoned.minutes:
        return ()
    visitor_key = judged.visitor.key if judged.visitor.kind == "signed" else None
    keys = tuple(dict.fromkeys(key for key in (visitor_key, person_key) if key is not None))
    if name in abandoned.ends:
        return tuple([TimerChange(KIND, key, None) for key in keys])
    if name not in abandoned.starts or not keys or judged.received.device.agent.bot is not None:
        return ()
    received = judged.received
    due_at_ms = received.occurred_at_ms + abandoned.minutes * MINUTE_MS
    if due_at_ms < received.received_at_ms - LATE_MS:
        return ()
    granted = _granted(rooms, judged)
    if granted is None:
        return ()
    cart = _encode(_cart(judged, person_key, granted, with_person=_tells_person(rooms, judged)))
    return (TimerChange(KIND, keys[0], due_at_ms, house.vault.seal(cart, timer_place(rooms.id, keys[0]))),)


def _told(rooms: "SiteRooms") -> "Placed | None":
    name = rooms.site.abandoned.destination
    return next((placed for placed in rooms.destinations if placed.name == name), None) if name else None


def _judgement_for(placed: "Placed | None", judged: "Judged") -> "Judgement":
    return judged.judgements.get(placed.name, judged.judgement) if placed is not None else judged.judgement


def _granted(rooms: "SiteRooms", judged: "Judged") -> int | None:
    """What the site and the receiver were both granted; None where that does not let the cart be watched."""
    placed = _told(rooms)
    judgement = _judgement_for(placed, judged)
    if placed is None and not consent.keeps_details(judged.judgement):
        return None
    if placed is not None and isinstance(consent.groups_shown(judgement, placed.needs), Withheld):
        return None
    return judged.judgement.granted & judgement.granted


def _tells_person(rooms: "SiteRooms", judged: "Judged") -> bool:
    """Whether the receiver may be told contact data, and is set to be."""
    placed = _told(rooms)
    if placed is None or placed.options.get("contact", "none") == "none":
        return False
    shown = consent.groups_shown(_judgement_for(placed, judged), placed.needs)
    return not isinstance(shown, Withheld) and Group.CONTACT in shown.groups


def _cart(judged: "Judged", person_key: bytes | None, granted: int, *, with_person: bool) -> Cart:
    received, visitor = judged.received, judged.visitor
    checkout = received.props.get("checkout")
    signed = visitor.kind == "signed"
    return Cart(
        event_id=received.event_id,
        step=received.name,
        at_ms=received.occurred_at_ms,
        granted=granted,
        visitor_id=visitor.id if signed else None,
        issued_day=visitor.issued_day if signed else None,
        person_key=person_key,
        person=_revealed(received.person) if with_person and received.person is not None else {},
        amount_minor=received.amount_minor,
        currency=received.currency,
        items=received.items,
        checkout=checkout if isinstance(checkout, str) else None,
        url=judged.page.url,
        place=judged.judgement.place,
        test=received.test,
    )


def _revealed(person: Person) -> dict[str, list[str]]:
    """Contact data as plain texts, to be sealed at once."""
    shown: dict[str, list[str]] = {}
    for field in Person.__struct_fields__:
        value = getattr(person, field)
        values = value if isinstance(value, tuple) else (value,) if value is not None else ()
        if values:
            shown[field] = [one.reveal() for one in values]
    return shown


def person_of(cart: Cart) -> Person | None:
    """The contact data of a cart, wrapped again."""
    if not cart.person:
        return None
    fields: dict[str, object] = {}
    for field, values in cart.person.items():
        wrapped = tuple([Personal(text) for text in values])
        fields[field] = wrapped if field in _SEVERAL else wrapped[0]
    return Person(**fields)  # type: ignore[arg-type]  # fields are those `_revealed` took apart


def timer_place(site: str, subject_key: bytes) -> bytes:
    """What a sealed cart is bound to: moved to another row, it does not open."""
    return f"{site}\x1f{KIND}\x1f".encode() + subject_key


def read_cart(house: "House", site: str, subject_key: bytes, payload: bytes) -> Cart:
    """Open the cart of a timer. Raises SealedUnreadable."""
    return _decode(house.vault.open(payload, timer_place(site, subject_key)))
