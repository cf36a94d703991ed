"""Reading what shops send: sums, times, ids and the many optional values of an order (pure).

What an order cannot do without (its number, sum, currency, time) is refused with the path of the field when it is wrong.
Everything else is optional: shops and their plugins fill it freely, and no sale is lost because a street is too long.
Such a value is left out, and the event carries the mark `value_left_out`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from gateway.errors import Refusal
from gateway.event import Item, Person, Personal
from gateway.ids import is_caller_id
from gateway.money import AmountError, minor_from_major
from gateway.protocols import reading
from gateway.protocols.order_webhook import Endpoint
from gateway.times import DAY_MS

__all__ = [
    "Line",
    "Reader",
    "ShopId",
    "decode",
    "moment_ms",
    "placed_ms",
    "stable_id",
    "sum_minor",
]

T = TypeVar("T")

ShopId = Annotated[int, Meta(ge=1, le=9_223_372_036_854_775_807)]
"""Number of an order or a refund in a shop."""

AHEAD_MS: Final = 600_000
BACK_MS: Final = 400 * DAY_MS
ITEMS_MAX: Final = 200
QUANTITY_MAX: Final = 1_000_000
CONTACT_MAX: Final = 320

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EMAIL: Final = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")
_decimal: Final = msgspec.json.Decoder(Decimal | None).decode


def decode(read: Callable[[bytes], T], body: bytes, prefix: str = "") -> T:
    """Decode JSON whose unknown fields are passed over. Raises Refusal with the path, behind `prefix`."""
    try:
        return reading.decode(read, body)
    except Refusal as refusal:
        # Those two codes speak of our own events' names and ids, not of a shop's.
        code = "field_invalid" if refusal.code in {"event_name_invalid", "event_id_invalid"} else refusal.code
        path = f"{prefix}.{refusal.field}" if prefix and refusal.field else refusal.field
        raise Refusal(code, path or prefix or None) from None


def stable_id(*parts: str) -> str:
    """Make an event id from parts that are the same whenever the same thing is told again.

    The parts joined by colons where that is an id, else the first part and a digest of all.
    """
    text = ":".join(parts)
    if is_caller_id(text):
        return text
    return f"{parts[0]}:{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def sum_minor(amount: Decimal | None, currency: str | None, field: str, currency_field: str = "currency") -> int:
    """Minor units of a sum an order cannot do without. Raises Refusal with the field's path."""
    if amount is None:
        raise Refusal("field_missing", field)
    if not currency:
        raise Refusal("currency_missing", currency_field)
    try:
        return minor_from_major(amount, currency)
    except AmountError as error:
        raise Refusal(error.code, currency_field if error.code.startswith("currency") else field) from None


def moment_ms(text: str, field: str, *, utc: bool = False) -> int:
    """Read RFC 3339 as milliseconds. `utc`: a time without offset is UTC; else it is refused, it could be two instants."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and utc:
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is None or len(text) < 16:
            raise Refusal("time_invalid", field)
        return (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        raise Refusal("time_invalid", field) from None


def placed_ms(at_ms: int | None, endpoint: Endpoint, reader: "Reader") -> int | None:
    """When an order was placed: now when it does not say, None when it is too old to be taken.

    Shops switch a webhook off after a few refusals, so a fast clock costs the time, not the order: it is marked.
    """
    if at_ms is None:
        return endpoint.received_at_ms
    if at_ms < endpoint.received_at_ms - BACK_MS:
        return None
    if at_ms > endpoint.received_at_ms + AHEAD_MS:
        reader.mark("time_clamped")
        return endpoint.received_at_ms
    return at_ms


class Line(NamedTuple):
    """One line of an order as a shop writes it. `price` of one piece; `total` of all, to fall back on."""

    id: object
    name: object
    quantity: object
    price: msgspec.Raw
    total: msgspec.Raw | None = None
    variant: object = None
    brand: object = None


class Reader:
    """Takes optional values of one message, and remembers in `marks` what had to be left out."""

    def __init__(self) -> None:
        self._marks: dict[str, None] = {}

    @property
    def marks(self) -> tuple[str, ...]:
        """What was noted, each once, in the order of its first time."""
        return tuple(self._marks)

    def mark(self, name: str) -> None:
        """Note something about the message."""
        self._marks[name] = None

    def text(self, value: object, longest: int) -> str | None:
        """Return a text, or a whole number as text. Nothing for null and empty; left out when it is none or too long."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > longest:
            self.mark("value_left_out")
            return None
        return value.strip() or None

    def word(self, value: object, longest: int) -> str | None:
        """Return a text others print: no control characters."""
        text = self.text(value, longest)
        if text is not None and not text.isprintable():
            self.mark("value_left_out")
            return None
        return text

    def order_id(self, value: object) -> str | None:
        """Return an order number: at most 64 printable characters, no e-mail address: it is kept and sent on as it is."""
        text = self.word(value, 64)
        if text is not None and _EMAIL.search(text) is not None:
            self.mark("value_left_out")
            return None
        return text

    def personal(self, value: object) -> Personal | None:
        """Return a value of a person, wrapped."""
        text = self.text(value, CONTACT_MAX)
        return Personal(text) if text is not None else None

    def contacts(self, *values: object) -> tuple[Personal, ...]:
        """Return up to three different values, in order."""
        found = [wrapped for value in values if (wrapped := self.personal(value)) is not None]
        return tuple(dict.fromkeys(found))[:3]

    def person(
        self,
        *,
        email: tuple[object, ...] = (),
        phone: tuple[object, ...] = (),
        external_id: object = None,
        first_name: object = None,
        last_name: object = None,
        street: object = None,
        city: object = None,
        region: object = None,
        postal_code: object = None,
        country: object = None,
    ) -> Person | None:
        """Gather contact data; None when there is none."""
        person = Person(
            email=self.contacts(*email),
            phone=self.contacts(*phone),
            first_name=self.personal(first_name),
            last_name=self.personal(last_name),
            street=self.personal(street),
            city=self.personal(city),
            region=self.personal(region),
            postal_code=self.personal(postal_code),
            country=self.personal(country),
            external_id=self.personal(external_id),
        )
        return person if person.values() else None

    def language(self, value: object) -> str | None:
        """Return the first language of an Accept-Language header."""
        text = self.word(value, 1_024)
        return (text.partition(",")[0].partition(";")[0].strip()[:35] or None) if text is not None else None

    def named(self, pairs: Iterable[tuple[object, object]], names: frozenset[str]) -> dict[str, str]:
        """Return those of freely filled pairs that carry one of `names`, by name in lower case; the first one wins."""
        found: dict[str, str] = {}
        for name, value in pairs:
            lowered = name.lower() if isinstance(name, str) else ""
            if lowered in names:
                text = self.word(value, 512)
                if text is not None:
                    found.setdefault(lowered, text)
        return found

    def campaign(self, fields: Mapping[str, object]) -> dict[str, str]:
        """Return campaign fields. What trackers write for none, such as `(none)` and `(direct)`, is none."""
        found = {name: self.word(value, 256) for name, value in fields.items()}
        return {name: text for name, text in found.items() if text and not (text[0] == "(" and text[-1] == ")")}

    def codes(self, values: Iterable[object]) -> tuple[str, ...]:
        """Return coupon codes, at most 20, in order; like order numbers they are kept as they are."""
        found = [text for value in values if (text := self.order_id(value)) is not None]
        if len(found) > 20:
            self.mark("value_left_out")
        return tuple(found[:20])

    def optional_minor(self, raw: msgspec.Raw | None, currency: str) -> int | None:
        """Minor units of an optional sum, exactly; left out when it is none or finer than the currency."""
        if raw is None or not bytes(raw):
            return None
        try:
            amount = _decimal(raw)
            return minor_from_major(amount, currency) if amount is not None else None
        except (msgspec.MsgspecError, AmountError):
            self.mark("value_left_out")
            return None

    def items(self, lines: Iterable[Line], currency: str) -> tuple[Item, ...]:
        """Return the lines of an order. Lines that were taken out of it (quantity 0) are none."""
        items: list[Item] = []
        for line in lines:
            quantity = line.quantity
            if isinstance(quantity, float) and quantity.is_integer():
                quantity = int(quantity)
            if quantity == 0 and not isinstance(quantity, bool):
                continue
            if not isinstance(quantity, int) or isinstance(quantity, bool) or len(items) >= ITEMS_MAX:
                self.mark("item_left_out")
                continue
            if not 1 <= quantity <= QUANTITY_MAX:
                self.mark("item_left_out")
                continue
            items.append(
                Item(
                    id=self.word(line.id, 256),
                    name=self.text(line.name, 256),
                    price_minor=self._price(line, quantity, currency),
                    quantity=quantity,
                    brand=self.text(line.brand, 256),
                    variant=self.text(line.variant, 256),
                )
            )
        return tuple(items)

    def _price(self, line: Line, quantity: int, currency: str) -> int | None:
        """The price of one piece; from the line's total where shops write a rounded quotient and the total divides."""
        if line.total is None:
            return self.optional_minor(line.price, currency)
        quiet = Reader()
        price = quiet.optional_minor(line.price, currency)
        if not quiet.marks:
            return price
        total = self.optional_minor(line.total, currency)
        if total is None or total % quantity:
            self.mark("value_left_out")
            return None
        return total // quantity
