"""Adjustments as a backend sends them: `POST /api/v1/conversions/{id}/adjustments` (pure).

The address names the conversion, by our own id or as `order:` and the order number. The body says what happened; money is
a decimal number of major units, read only once the currency is known, which is the conversion's own unless it is said.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.errors import Refusal
from gateway.ids import is_caller_id
from gateway.money import EXPONENTS, AmountError, minor_from_major
from gateway.protocols import reading
from gateway.protocols.catalogue_fields import looks_like_contact
from gateway.protocols.native import AHEAD_MS, SERVER_BACK_MS, rfc3339_ms
from gateway.protocols.wire import Id, Milliseconds, Name

__all__ = ["Asked", "Named", "WireAdjustment", "minor_of", "read_adjustment", "read_named"]

ORDER: Final = "order:"
ORDER_MAX: Final = 64
CONVERSION_MAX: Final = 100


class WireAdjustment(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One change of a conversion that was counted, or will be."""

    kind: Annotated[
        Literal["restate", "retract", "refund"],
        Meta(description="restate: it is worth this now; refund: this went back; retract: it does not count."),
    ]
    value: Annotated[Decimal | None, Meta(description="Amount in major units; none with retract.")] = None
    currency: Annotated[
        Annotated[str, Meta(max_length=8)] | None, Meta(description="ISO 4217 code. Default: the conversion's.")
    ] = None
    reason: Annotated[
        Literal[
            "returned", "cancelled", "chargeback", "fraud", "not_paid", "rejected", "approved", "price_changed",
            "mistake", "test", "other",
        ],
        Meta(description="Why it is made."),
    ] = "other"  # fmt: skip
    adjustment_id: Annotated[
        Id | None, Meta(description="Id of this adjustment; the same id is taken once. Or send an Idempotency-Key.")
    ] = None
    occurred_at: Annotated[
        Annotated[str, Meta(max_length=40)] | UnsetType,
        Meta(description="When the change was made, RFC 3339 with an offset. Default: now."),
    ] = UNSET
    occurred_at_ms: Annotated[
        Milliseconds | UnsetType, Meta(description="The same in milliseconds since 1970 UTC; instead of occurred_at.")
    ] = UNSET
    goal: Annotated[
        Name | None, Meta(description="Goal, where an order counts for several. Default: all goals of the order.")
    ] = None
    visitor: Annotated[
        Annotated[str, Meta(max_length=512)] | None,
        Meta(description="Value of the visitor's id cookie, for destinations that ask whose refund it is."),
    ] = None
    ga: Annotated[
        Annotated[str, Meta(max_length=256)] | None,
        Meta(description="Value of the visitor's _ga cookie, for the same."),
    ] = None


class Named(msgspec.Struct, frozen=True):
    """The conversion an address names: one of both."""

    conversion_id: str | None = None
    order_id: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment as it was sent. `amount` is in major units. `goal` is empty when all goals of the order are meant."""

    id: str
    kind: str
    amount: Decimal | None
    currency: str | None
    reason: str
    at_ms: int
    goal: str
    visitor_token: str | None
    ga: str | None


_read: Final = reading.decoder(WireAdjustment)


def read_adjustment(body: bytes, *, idempotency_key: str | None, now_ms: int) -> Asked:
    """Read the body. Its id may come as the Idempotency-Key; without one a repeat could not be told. Raises Refusal."""
    wire = reading.decode(_read, body)
    if idempotency_key is not None and not is_caller_id(idempotency_key):
        raise Refusal("idempotency_key_invalid", "Idempotency-Key")
    adjustment_id = wire.adjustment_id or idempotency_key
    if adjustment_id is None:
        raise Refusal("field_missing", "adjustment_id")
    if wire.currency is not None and wire.currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")
    return Asked(
        id=adjustment_id,
        kind=wire.kind,
        amount=wire.value,
        currency=wire.currency,
        reason=wire.reason,
        at_ms=_moment(wire, now_ms),
        goal=wire.goal or "",
        visitor_token=wire.visitor,
        ga=wire.ga,
    )


def _moment(wire: WireAdjustment, now_ms: int) -> int:
    if wire.occurred_at_ms is not UNSET:
        if wire.occurred_at is not UNSET:
            raise Refusal("field_unknown", "occurred_at_ms")
        at_ms, field = wire.occurred_at_ms, "occurred_at_ms"
    elif wire.occurred_at is not UNSET:
        at_ms, field = rfc3339_ms(wire.occurred_at), "occurred_at"
    else:
        return now_ms
    if not now_ms - SERVER_BACK_MS <= at_ms <= now_ms + AHEAD_MS:
        raise Refusal("time_out_of_range", field)
    return at_ms


def read_named(name: str) -> Named:
    """Read the conversion out of the address, percent-decoded. Raises Refusal `conversion_unknown` for what is no id,
    `field_personal` for an e-mail address."""
    if name.startswith(ORDER):
        order_id = name.removeprefix(ORDER)
        if not 0 < len(order_id) <= ORDER_MAX or not order_id.isprintable():
            raise Refusal("conversion_unknown")
        if "@" in order_id and looks_like_contact(order_id):
            raise Refusal("field_personal")  # no order has such a number, and one that waits is kept as it is
        return Named(order_id=order_id)
    if not 0 < len(name) <= CONVERSION_MAX or not name.isprintable():
        raise Refusal("conversion_unknown")
    return Named(conversion_id=name)


def minor_of(asked: Asked, *currencies: str | None) -> tuple[int | None, str | None]:
    """Minor units and currency of an adjustment, both None when it says no amount.

    `currencies` are those to fall back on, in order of preference. Raises Refusal.
    """
    if asked.amount is None:
        return None, None
    currency = asked.currency or next((code for code in currencies if code), None)
    if currency is None:
        raise Refusal("currency_missing", "currency")
    try:
        return minor_from_major(asked.amount, currency), currency
    except AmountError as error:
        raise Refusal(error.code, "currency" if error.code.startswith("currency") else "value") from None
