"""Stripe webhooks: paid checkouts, subscription invoices, named payments, and money that went back (pure).

`Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>...]`; `v1` is the HMAC-SHA256 of "t." and the raw body under the whole
endpoint secret. There are several while a secret is replaced. It is good for 300 seconds either way, the vendor's own
library checks one way only.

One payment is told by several events, so ids are those of the payment: a checkout and its payment share the payment
intent, a subscription's checkout and its first invoice share the invoice. Refunds and disputes name the payment, not the
shop's order; they carry the event ids the order may have come with. A payment without a checkout counts when its metadata
names an `order_id`; else it is a part of something that is told elsewhere.

A refund is told twice: `refund.created` holds its amount, `charge.refunded` the sum of the charge's refunds, and only in
API versions before 2022-11-15 the refunds themselves. Listed refunds are taken by their own ids. Where they are not
listed, the charge restates what is left of it at the time of the event, which no refund it counts is younger than.

Amounts come in Stripe's own smallest units, which are not those of ISO 4217 for a few currencies.

Source: docs.stripe.com webhooks, currencies, API 2026-01-28; stripe 16.1.0 (Python); read 2026-11.
"""

import hmac
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from gateway.errors import Refusal
from gateway.event import Person, Received
from gateway.money import EXPONENTS
from gateway.protocols import reading
from gateway.protocols.order_reading import Reader, decode, placed_ms, stable_id, sum_minor
from gateway.protocols.order_webhook import (
    OUR_CLICK,
    OUR_VISITOR,
    Adapter,
    AdjustmentReason,
    Endpoint,
    Hook,
    OrderAdjustment,
    Orders,
    Verified,
    delivery_of,
)

__all__ = ["STRIPE", "WINDOW_S", "exponent_of", "read", "verify"]

T = TypeVar("T")

Whole = Annotated[int, Meta(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]

WINDOW_S: Final = 300
SIGNATURES_MAX: Final = 20

_STAMP: Final = re.compile(r"[0-9]{1,12}\Z")
_OTHERWISE: Final = {"MGA": 0, "ISK": 2, "UGX": 2}
"""Currencies that Stripe counts otherwise than ISO 4217: ariary whole, Icelandic króna and Uganda shilling in hundredths."""

_REFERENCE_CLICK: Final = OUR_CLICK + "_"
"""How a payment link carries our click id: its `client_reference_id` takes letters, digits, `-` and `_` only."""


class _Head(msgspec.Struct, kw_only=True):
    id: str
    type: str
    livemode: bool


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Event(_Head, kw_only=True):
    created: Whole
    data: _Data


class _Address(msgspec.Struct):
    line1: object = None
    city: object = None
    state: object = None
    postal_code: object = None
    country: object = None


class _Customer(msgspec.Struct):
    email: object = None
    phone: object = None
    address: _Address | None = None


class _Session(msgspec.Struct, kw_only=True):
    id: str
    payment_status: str
    mode: str | None = None
    amount_total: Whole | None = None
    currency: str | None = None
    payment_intent: str | None = None
    invoice: str | None = None
    client_reference_id: object = None
    metadata: dict[str, object] | None = None
    customer_details: _Customer | None = None


class _Subscription(msgspec.Struct):
    metadata: dict[str, object] | None = None


class _Parent(msgspec.Struct):
    subscription_details: _Subscription | None = None


class _Invoice(msgspec.Struct, kw_only=True):
    id: str
    amount_paid: Whole | None = None
    currency: str | None = None
    billing_reason: str | None = None
    metadata: dict[str, object] | None = None
    subscription_details: _Subscription | None = None
    parent: _Parent | None = None
    customer_email: object = None
    customer_phone: object = None
    customer_address: _Address | None = None


class _Intent(msgspec.Struct, kw_only=True):
    id: str
    amount_received: Whole | None = None
    currency: str | None = None
    receipt_email: object = None
    metadata: dict[str, object] | None = None


class _Money(msgspec.Struct, kw_only=True):
    """What charges, refunds and disputes share."""

    id: str
    currency: str | None = None
    amount: Whole | None = None
    charge: str | None = None
    payment_intent: str | None = None
    invoice: str | None = None
    status: str | None = None
    created: Whole | None = None


class _Refunds(msgspec.Struct):
    data: list[_Money] = []


class _Charge(_Money, kw_only=True):
    amount_captured: Whole | None = None
    amount_refunded: Whole | None = None
    refunded: bool = False
    refunds: _Refunds | None = None


_read_head: Final = reading.decoder(_Head)
_read_event: Final = reading.decoder(_Event)
_read_session: Final = reading.decoder(_Session)
_read_invoice: Final = reading.decoder(_Invoice)
_read_intent: Final = reading.decoder(_Intent)
_read_money: Final = reading.decoder(_Money)
_read_charge: Final = reading.decoder(_Charge)


# ------------------------------------------------------------------ signature


def verify(hook: Hook) -> Verified:
    """Check a delivery's signature and time. Raises Refusal `signature_invalid`, or `signature_stale` when only time is wrong."""
    stamp, signatures = _split(hook.header("Stripe-Signature") or "")
    right = False
    for secret in hook.secrets:
        made = (
            hmac.digest(secret.encode("utf-8", "replace"), stamp.encode() + b"." + hook.body, "sha256").hex().encode()
        )
        for signature in signatures:
            right |= hmac.compare_digest(made, signature) and bool(secret)
    if not stamp or not right:
        raise Refusal("signature_invalid")
    if abs(hook.now_s - int(stamp)) > WINDOW_S:
        raise Refusal("signature_stale")
    return Verified(body=hook.body)


def _split(header: str) -> tuple[str, list[bytes]]:
    """Time and `v1` values of a signature header; an empty time when there is not exactly one. Other schemes are ignored."""
    stamps: list[str] = []
    signatures: list[bytes] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamps.append(value)
        elif name == "v1":
            signatures.append(value.encode("utf-8", "replace"))
    if len(stamps) != 1 or _STAMP.match(stamps[0]) is None or len(signatures) > SIGNATURES_MAX:
        return "", []
    return stamps[0], signatures


# ------------------------------------------------------------------ reading


def read(verified: Verified, endpoint: Endpoint) -> Orders:
    """Read one event. Raises Refusal with the path of the first field that is wrong, `mode_mismatch` for the other mode."""
    head = decode(_read_head, verified.body)
    if head.livemode is not endpoint.live:
        raise Refusal("mode_mismatch", "livemode")
    reader = _TYPES.get(head.type)
    if reader is None:
        return Orders(delivery_id=delivery_of(head.id), note="topic_ignored")
    event = decode(_read_event, verified.body)
    return msgspec.structs.replace(reader(event, endpoint), delivery_id=delivery_of(head.id))


def _object(read_object: Callable[[bytes], T], event: _Event) -> T:
    return decode(read_object, bytes(event.data.object), "data.object")


def exponent_of(currency: str) -> int | None:
    """Decimal digits of Stripe's smallest unit of an upper-case currency; None for one we do not know."""
    return _OTHERWISE.get(currency, EXPONENTS.get(currency))


def _minor(amount: int | None, currency: str | None, path: str, field: str) -> tuple[int, str]:
    """Our minor units and the currency in upper case, from Stripe's amount and its currency in lower case."""
    where = f"{path}.currency"
    if not currency:
        raise Refusal("currency_missing", where)
    code = currency.upper() if currency.isascii() else ""
    digits = exponent_of(code)
    if digits is None:
        raise Refusal("currency_unknown", where)
    major = Decimal(amount).scaleb(-digits) if amount is not None else None
    return sum_minor(major, code, f"{path}.{field}", where), code


class _Sale(NamedTuple):
    """A payment as an order: `key` is the payment's own id."""

    key: str
    amount: int | None
    field: str
    currency: str | None
    metadata: dict[str, object]
    reference: object = None
    kept: dict[str, object] | None = None
    person: Callable[[Reader], Person | None] = lambda _: None
    reason: str | None = None


def _sold(event: _Event, endpoint: Endpoint, sale: _Sale) -> Orders:
    reader = Reader()
    at_ms = placed_ms(event.created * 1000, endpoint, reader)
    if at_ms is None:
        return Orders(note="too_old")
    amount_minor, currency = _minor(sale.amount, sale.currency, "data.object", sale.field)
    pairs = [*sale.metadata.items(), *(sale.kept or {}).items()]
    ours = reader.named(pairs, frozenset({OUR_VISITOR, OUR_CLICK}))
    clicks = reader.named(pairs, endpoint.click_names)
    visitor = ours.get(OUR_VISITOR)
    reference = reader.word(sale.reference, 512)
    click = ours.get(OUR_CLICK)
    if reference is not None and reference.startswith(_REFERENCE_CLICK):
        click = click or reference.removeprefix(_REFERENCE_CLICK)
    elif visitor is None:
        visitor = reference
    received = Received(
        site=endpoint.site,
        event_id=_event_id(sale.key),
        name="purchase",
        trust="signed",
        occurred_at_ms=at_ms,
        received_at_ms=endpoint.received_at_ms,
        conversion=True,
        amount_minor=amount_minor,
        currency=currency,
        order_id=reader.order_id(sale.metadata.get("order_id")) or _key(sale.key),
        props={"billing_reason": sale.reason} if sale.reason is not None and len(sale.reason) <= 64 else {},
        person=sale.person(reader),
        click_ids=clicks,
        visitor_token=visitor,
        marks=reader.marks,
        test=not endpoint.live,
    )
    return Orders(events=(received,), click_id=click)


def _key(payment: str) -> str:
    """A payment's id as an order number, for orders that name none."""
    return payment if Reader().order_id(payment) == payment else stable_id("stripe", payment, "order")


def _event_id(payment: str) -> str:
    return stable_id("stripe", payment, "paid")


def _checkout(event: _Event, endpoint: Endpoint) -> Orders:
    session = _object(_read_session, event)
    if session.mode == "setup":
        return Orders(note="not_an_order")
    if session.payment_status not in {"paid", "no_payment_required"}:
        return Orders(note="not_paid")
    customer = session.customer_details or _Customer()
    sale = _Sale(
        key=session.payment_intent or session.invoice or session.id,
        amount=session.amount_total,
        field="amount_total",
        currency=session.currency,
        metadata=session.metadata or {},
        reference=session.client_reference_id,
        person=lambda reader: _person(reader, customer.email, customer.phone, customer.address),
    )
    return _sold(event, endpoint, sale)


def _unpaid(event: _Event, endpoint: Endpoint) -> Orders:
    return Orders(note="not_paid")


def _invoice(event: _Event, endpoint: Endpoint) -> Orders:
    """A paid invoice: of a subscription, or one whose metadata names an order. Others belong to a checkout.

    A subscription's metadata is the same at every renewal, so no order number is taken from it.
    """
    invoice = _object(_read_invoice, event)
    metadata = invoice.metadata or {}
    renewing = (invoice.billing_reason or "").startswith("subscription")
    if not renewing and not metadata.get("order_id"):
        return Orders(note="not_an_order")
    details = invoice.subscription_details or (invoice.parent.subscription_details if invoice.parent else None)
    sale = _Sale(
        key=invoice.id,
        amount=invoice.amount_paid,
        field="amount_paid",
        currency=invoice.currency,
        metadata=metadata,
        kept=details.metadata if details is not None else None,
        person=lambda reader: _person(reader, invoice.customer_email, invoice.customer_phone, invoice.customer_address),
        reason=invoice.billing_reason,
    )
    return _sold(event, endpoint, sale)


def _intent(event: _Event, endpoint: Endpoint) -> Orders:
    intent = _object(_read_intent, event)
    metadata = intent.metadata or {}
    if not metadata.get("order_id"):
        return Orders(note="not_an_order")
    sale = _Sale(
        key=intent.id,
        amount=intent.amount_received,
        field="amount_received",
        currency=intent.currency,
        metadata=metadata,
        person=lambda reader: _person(reader, intent.receipt_email, None, None),
    )
    return _sold(event, endpoint, sale)


def _person(reader: Reader, email: object, phone: object, address: _Address | None) -> Person | None:
    """Contact data. The full name is not split: which part is the family name differs from country to country."""
    place = address or _Address()
    return reader.person(
        email=(email,),
        phone=(phone,),
        street=place.line1,
        city=place.city,
        region=place.state,
        postal_code=place.postal_code,
        country=place.country,
    )


# ------------------------------------------------------------------ money that went back


def _charge_refunded(event: _Event, endpoint: Endpoint) -> Orders:
    charge = _object(_read_charge, event)
    listed = charge.refunds.data if charge.refunds is not None else []
    if listed:
        return _given_back(
            [
                _went_back(refund, charge, "returned", f"data.object.refunds.data[{index}]")
                for index, refund in enumerate(listed)
                if refund.status in _GOING
            ]
        )
    field = "amount" if charge.amount_captured is None else "amount_captured"
    took, currency = _minor(getattr(charge, field), charge.currency, "data.object", field)
    back, _ = _minor(charge.amount_refunded, charge.currency, "data.object", "amount_refunded")
    if not back:
        return Orders(note="nothing_to_adjust")
    order_id, event_ids = _payment(charge)
    whole = charge.refunded or back >= took
    adjustment = OrderAdjustment(
        order_id=order_id,
        kind="retract" if whole else "restate",
        reason="returned",
        adjustment_id=stable_id("stripe", charge.id, "refunded", str(event.created), str(back)),
        at_ms=event.created * 1000,
        amount_minor=None if whole else took - back,
        currency=None if whole else currency,
        event_ids=event_ids,
    )
    return Orders(adjustments=(adjustment,))


def _refund_created(event: _Event, endpoint: Endpoint) -> Orders:
    refund = _object(_read_money, event)
    if refund.status not in _GOING:
        return Orders(note="nothing_to_adjust")
    return _given_back([_went_back(refund, refund, "returned", "data.object")])


def _dispute_created(event: _Event, endpoint: Endpoint) -> Orders:
    """A dispute takes its amount back at once; an inquiry (`warning_...`) takes nothing yet."""
    dispute = _object(_read_money, event)
    if (dispute.status or "").startswith("warning"):
        return Orders(note="nothing_to_adjust")
    return _given_back([_went_back(dispute, dispute, "chargeback", "data.object")])


_GOING: Final = frozenset({None, "succeeded", "pending"})
"""States of a refund that went through or is on its way."""


def _given_back(found: list[OrderAdjustment]) -> Orders:
    told = tuple(adjustment for adjustment in found if adjustment.amount_minor)
    return Orders(adjustments=told, note=None if told else "nothing_to_adjust")


def _went_back(money: _Money, payment: _Money, reason: AdjustmentReason, path: str) -> OrderAdjustment:
    amount_minor, currency = _minor(money.amount, money.currency, path, "amount")
    if money.created is None:
        raise Refusal("field_missing", f"{path}.created")
    order_id, event_ids = _payment(payment)
    return OrderAdjustment(
        order_id=order_id,
        kind="refund",
        reason=reason,
        adjustment_id=stable_id("stripe", money.id),
        at_ms=money.created * 1000,
        amount_minor=amount_minor,
        currency=currency,
        event_ids=event_ids,
    )


def _payment(money: _Money) -> tuple[str, tuple[str, ...]]:
    """The order number a payment is known by, and the events it may have come with.

    The number is the payment's own, also where its metadata names an order: refunds carry metadata of their own, and the
    same refund has to look the same wherever it stands.
    """
    payments = [payment for payment in (money.payment_intent, money.invoice, money.charge) if payment] or [money.id]
    return _key(payments[0]), tuple(_event_id(payment) for payment in payments)


_TYPES: Final[dict[str, Callable[[_Event, Endpoint], Orders]]] = {
    "checkout.session.completed": _checkout,
    "checkout.session.async_payment_succeeded": _checkout,
    "checkout.session.async_payment_failed": _unpaid,
    "invoice.paid": _invoice,
    "payment_intent.succeeded": _intent,
    "charge.refunded": _charge_refunded,
    "refund.created": _refund_created,
    "charge.dispute.created": _dispute_created,
}

STRIPE: Final = Adapter(verify, read)
