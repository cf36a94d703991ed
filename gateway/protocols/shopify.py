"""Shopify webhooks: orders, refunds, checkouts and the three privacy topics (pure).

The signature is base64(HMAC-SHA256(raw body, secret)). Header names come in two families, with and without `X-`. A paid
order is a purchase, told by `orders/paid` and, when it was paid at once, by `orders/create` too, under the same event id.
`orders/updated` restates what the order is worth now, after edits, returns and refunds. A cart's note attributes may carry
our visitor token and click id. Whether the buyer accepts marketing mail is no consent to anything here.

Source: shopify.dev webhooks and REST order resource, API 2026-07; @shopify/shopify-api 13.1.0; read 2026-11.
"""

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from gateway.errors import Refusal
from gateway.event import Device, Person, Received
from gateway.protocols import reading
from gateway.protocols.order_reading import (
    Line,
    Reader,
    ShopId,
    decode,
    moment_ms,
    placed_ms,
    stable_id,
    sum_minor,
)
from gateway.protocols.order_webhook import (
    OUR_CLICK,
    OUR_VISITOR,
    Adapter,
    Endpoint,
    Hook,
    OrderAdjustment,
    Orders,
    Verified,
    delivery_of,
    is_signed,
)

__all__ = ["SHOPIFY", "read", "verify"]

PAID: Final = frozenset({"paid", "partially_refunded", "refunded"})
"""Financial states of an order whose money came in, whatever went back later."""

_NOTHING: Final = msgspec.Raw(b"")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}\Z")


class _Named(msgspec.Struct):
    name: object = None
    value: object = None


class _Line(msgspec.Struct):
    id: object = None
    product_id: object = None
    variant_id: object = None
    sku: object = None
    title: object = None
    variant_title: object = None
    vendor: object = None
    quantity: object = None
    price: msgspec.Raw = _NOTHING


class _Address(msgspec.Struct):
    first_name: object = None
    last_name: object = None
    address1: object = None
    city: object = None
    province: object = None
    province_code: object = None
    zip: object = None
    country: object = None
    country_code: object = None
    phone: object = None


class _Customer(msgspec.Struct):
    id: object = None
    email: object = None
    phone: object = None
    first_name: object = None
    last_name: object = None
    default_address: _Address | None = None


class _Client(msgspec.Struct):
    browser_ip: object = None
    user_agent: object = None
    accept_language: object = None


class _Code(msgspec.Struct):
    code: object = None


class _Basket(msgspec.Struct, kw_only=True):
    """What orders and checkouts share."""

    currency: str | None = None
    total_price: Decimal | None = None
    created_at: str | None = None
    email: object = None
    phone: object = None
    landing_site: object = None
    referring_site: object = None
    browser_ip: object = None
    source_name: object = None
    client_details: _Client | None = None
    customer: _Customer | None = None
    billing_address: _Address | None = None
    shipping_address: _Address | None = None
    note_attributes: list[_Named] | None = None
    line_items: list[_Line] | None = None
    discount_codes: list[_Code] | None = None


class _Order(_Basket, kw_only=True):
    id: ShopId
    name: object = None
    current_total_price: Decimal | None = None
    processed_at: str | None = None
    updated_at: str | None = None
    cancelled_at: str | None = None
    financial_status: str | None = None
    checkout_token: object = None
    test: bool | None = None
    refunds: "list[_Refund] | None" = None


class _Checkout(_Basket, kw_only=True):
    token: str


class _Transaction(msgspec.Struct):
    kind: str | None = None
    status: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    test: bool | None = None


class _Refund(msgspec.Struct):
    id: ShopId
    order_id: ShopId | None = None
    created_at: str | None = None
    processed_at: str | None = None
    transactions: list[_Transaction] | None = None


class _Privacy(msgspec.Struct):
    customer: _Customer | None = None


_read_order: Final = reading.decoder(_Order)
_read_checkout: Final = reading.decoder(_Checkout)
_read_refund: Final = reading.decoder(_Refund)
_read_privacy: Final = reading.decoder(_Privacy)


def verify(hook: Hook) -> Verified:
    """Check a delivery's signature. Raises Refusal `signature_invalid`."""
    if not is_signed(hook, _header(hook, "hmac-sha256"), "sha256"):
        raise Refusal("signature_invalid")
    return Verified(
        body=hook.body,
        topic=_header(hook, "topic"),
        delivery_id=delivery_of(_header(hook, "webhook-id")),
        source=_header(hook, "shop-domain"),
    )


def _header(hook: Hook, name: str) -> str | None:
    return hook.header(f"X-Shopify-{name}", f"shopify-{name}")


def read(verified: Verified, endpoint: Endpoint) -> Orders:
    """Read one delivery. Raises Refusal with the path of the first field that is wrong."""
    reader = _TOPICS.get(verified.topic or "")
    if reader is None:
        return Orders(delivery_id=verified.delivery_id, note="topic_ignored")
    return reader(verified, endpoint)


# ------------------------------------------------------------------ orders


def _paid(verified: Verified, endpoint: Endpoint) -> Orders:
    order = decode(_read_order, verified.body)
    return _placed(verified, endpoint, order, "purchase", "paid")


def _created(verified: Verified, endpoint: Endpoint) -> Orders:
    """A new order: a purchase when it is paid already, else `order_created`, which counts where a site lists it."""
    order = decode(_read_order, verified.body)
    if order.financial_status in PAID:
        return _placed(verified, endpoint, order, "purchase", "paid")
    return _placed(verified, endpoint, order, "order_created", "created")


def _updated(verified: Verified, endpoint: Endpoint) -> Orders:
    order = decode(_read_order, verified.body)
    if order.cancelled_at is not None:
        return Orders(adjustments=_retraction(order), delivery_id=verified.delivery_id)
    if order.financial_status not in PAID:
        return Orders(delivery_id=verified.delivery_id, note="not_paid")
    updated_ms = _moment(order.updated_at, "updated_at")
    worth_minor = _worth(order)
    restated = OrderAdjustment(
        order_id=str(order.id),
        kind="restate",
        reason="price_changed",
        adjustment_id=stable_id("shopify", str(order.id), "total", str(updated_ms), str(worth_minor)),
        at_ms=updated_ms,
        amount_minor=worth_minor,
        currency=order.currency,
    )
    return Orders(adjustments=(restated,), delivery_id=verified.delivery_id)


def _worth(order: _Order) -> int:
    """The order's current total; where that is not told, its total less the refunds that stand in it."""
    if order.current_total_price is not None:
        return sum_minor(order.current_total_price, order.currency, "current_total_price")
    left = sum_minor(order.total_price, order.currency, "total_price")
    for index, refund in enumerate(order.refunds or ()):
        refunded = _refund(refund, order.id, f"refunds[{index}].")
        if refunded is not None and refunded.currency == order.currency:
            left -= refunded.amount_minor or 0
    return max(left, 0)


def _cancelled(verified: Verified, endpoint: Endpoint) -> Orders:
    order = decode(_read_order, verified.body)
    if order.cancelled_at is None:
        raise Refusal("field_missing", "cancelled_at")
    return Orders(adjustments=_retraction(order), delivery_id=verified.delivery_id)


def _retraction(order: _Order) -> tuple[OrderAdjustment, ...]:
    if order.cancelled_at is None:
        return ()
    cancelled = OrderAdjustment(
        order_id=str(order.id),
        kind="retract",
        reason="cancelled",
        adjustment_id=stable_id("shopify", str(order.id), "cancelled"),
        at_ms=moment_ms(order.cancelled_at, "cancelled_at"),
    )
    return (cancelled,)


def _placed(verified: Verified, endpoint: Endpoint, order: _Order, name: str, what: str) -> Orders:
    reader = Reader()
    placed = order.processed_at or order.created_at
    field = "processed_at" if order.processed_at else "created_at"
    at_ms = placed_ms(moment_ms(placed, field) if placed else None, endpoint, reader)
    if at_ms is None:
        return Orders(delivery_id=verified.delivery_id, note="too_old")
    told = (("order_name", reader.word(order.name, 64)), ("checkout", _checkout_tag(order.checkout_token)))
    orders = _event(
        verified,
        endpoint,
        order,
        reader,
        name=name,
        event_id=stable_id("shopify", str(order.id), what),
        at_ms=at_ms,
        order_id=str(order.id),
        props={key: value for key, value in told if value is not None},
        test=order.test is True,
    )
    return msgspec.structs.replace(orders, adjustments=_retraction(order))


def _begun(verified: Verified, endpoint: Endpoint) -> Orders:
    """A checkout with what is in the cart. Its token opens the buyer's checkout page, so only a digest of it is kept."""
    checkout = decode(_read_checkout, verified.body)
    reader = Reader()
    at_ms = placed_ms(moment_ms(checkout.created_at, "created_at") if checkout.created_at else None, endpoint, reader)
    if at_ms is None:
        return Orders(delivery_id=verified.delivery_id, note="too_old")
    tag = _checkout_tag(checkout.token)
    if tag is None:
        raise Refusal("field_invalid", "token")
    return _event(
        verified,
        endpoint,
        checkout,
        reader,
        name="begin_checkout",
        event_id=stable_id("shopify", tag, "checkout"),
        at_ms=at_ms,
        order_id=None,
        props={"checkout": tag},
        test=False,
    )


def _checkout_tag(token: object) -> str | None:
    """The same short digest for a checkout and the order made of it."""
    return hashlib.sha256(token.encode()).hexdigest()[:32] if isinstance(token, str) and token else None


def _event(
    verified: Verified,
    endpoint: Endpoint,
    basket: _Basket,
    reader: Reader,
    *,
    name: str,
    event_id: str,
    at_ms: int,
    order_id: str | None,
    props: dict[str, str],
    test: bool,
) -> Orders:
    amount_minor = sum_minor(basket.total_price, basket.currency, "total_price")
    notes = [(note.name, note.value) for note in basket.note_attributes or ()]
    ours = reader.named(notes, frozenset({OUR_VISITOR, OUR_CLICK}))
    clicks = reader.named(notes, endpoint.click_names)
    source = reader.word(basket.source_name, 64)
    if source is not None:
        props["source_name"] = source
        if source != "web":
            reader.mark("not_web")
    coupons = reader.codes(code.code for code in basket.discount_codes or ())
    client = basket.client_details or _Client()
    received = Received(
        site=endpoint.site,
        event_id=event_id,
        name=name,
        trust="signed",
        occurred_at_ms=at_ms,
        received_at_ms=endpoint.received_at_ms,
        conversion=name == "purchase",
        url=_landing(reader.text(basket.landing_site, 8_192), verified, endpoint),
        referrer=reader.text(basket.referring_site, 8_192),
        amount_minor=amount_minor,
        currency=basket.currency,
        order_id=order_id,
        items=reader.items([_line(line) for line in basket.line_items or ()], basket.currency or ""),
        props=props,
        person=_person(basket, reader),
        device=Device(
            ip=reader.personal(client.browser_ip or basket.browser_ip),
            user_agent=reader.personal(client.user_agent),
            language=reader.language(client.accept_language),
        ),
        click_ids=clicks,
        visitor_token=ours.get(OUR_VISITOR),
        marks=reader.marks,
        test=test or not endpoint.live,
    )
    return Orders(events=(received,), delivery_id=verified.delivery_id, click_id=ours.get(OUR_CLICK), coupons=coupons)


def _line(line: _Line) -> Line:
    return Line(
        id=line.product_id or line.sku,
        name=line.title,
        quantity=line.quantity,
        price=line.price,
        variant=line.variant_title,
        brand=line.vendor,
    )


def _landing(written: str | None, verified: Verified, endpoint: Endpoint) -> str | None:
    """The first page of the visit. Shopify names its path; the front is the endpoint's, else the shop's own domain."""
    if written is None or not written.startswith("/"):
        return written
    shop = verified.source or ""
    front = endpoint.origin or (f"https://{shop}" if _DOMAIN.match(shop) else "")
    return f"{front.rstrip('/')}{written}"


def _person(basket: _Basket, reader: Reader) -> Person | None:
    customer = basket.customer or _Customer()
    address = basket.billing_address or basket.shipping_address or customer.default_address or _Address()
    return reader.person(
        email=(basket.email, customer.email),
        phone=(basket.phone, customer.phone, address.phone),
        external_id=customer.id,
        first_name=customer.first_name or address.first_name,
        last_name=customer.last_name or address.last_name,
        street=address.address1,
        city=address.city,
        region=address.province_code or address.province,
        postal_code=address.zip,
        country=address.country_code or address.country,
    )


# ------------------------------------------------------------------ refunds and privacy


def _refunded(verified: Verified, endpoint: Endpoint) -> Orders:
    refund = decode(_read_refund, verified.body)
    if refund.order_id is None:
        raise Refusal("field_missing", "order_id")
    adjustment = _refund(refund, refund.order_id, "")
    if adjustment is None:
        return Orders(delivery_id=verified.delivery_id, note="nothing_to_adjust")
    return Orders(adjustments=(adjustment,), delivery_id=verified.delivery_id)


def _refund(refund: _Refund, order_id: int, prefix: str) -> OrderAdjustment | None:
    """Money given back: the refund's transactions that went through or are on their way. Restocking alone is none."""
    total = 0
    currency: str | None = None
    for index, paid in enumerate(refund.transactions or ()):
        if paid.kind != "refund" or paid.status not in {"success", "pending"}:
            continue
        path = f"{prefix}transactions[{index}]"
        total += sum_minor(paid.amount, paid.currency, f"{path}.amount", f"{path}.currency")
        if currency not in {None, paid.currency}:
            raise Refusal("field_invalid", f"{path}.currency")
        currency = paid.currency
    if not total:
        return None
    at, field = (refund.processed_at, "processed_at") if refund.processed_at else (refund.created_at, "created_at")
    return OrderAdjustment(
        order_id=str(order_id),
        kind="refund",
        reason="returned",
        adjustment_id=stable_id("shopify", "refund", str(refund.id)),
        at_ms=_moment(at, f"{prefix}{field}"),
        amount_minor=total,
        currency=currency,
    )


def _moment(text: str | None, field: str) -> int:
    if not text:
        raise Refusal("field_missing", field)
    return moment_ms(text, field)


def _privacy(note: str) -> Callable[[Verified, Endpoint], Orders]:
    def told(verified: Verified, endpoint: Endpoint) -> Orders:
        customer = decode(_read_privacy, verified.body).customer
        subject = None
        if customer is not None:
            subject = Reader().person(email=(customer.email,), phone=(customer.phone,), external_id=customer.id)
        return Orders(delivery_id=verified.delivery_id, note=note, subject=subject)

    return told


_TOPICS: Final[dict[str, Callable[[Verified, Endpoint], Orders]]] = {
    "orders/paid": _paid,
    "orders/create": _created,
    "orders/updated": _updated,
    "orders/cancelled": _cancelled,
    "refunds/create": _refunded,
    "checkouts/create": _begun,
    "customers/data_request": _privacy("privacy_data_request"),
    "customers/redact": _privacy("privacy_customer_redact"),
    "shop/redact": _privacy("privacy_shop_redact"),
}

SHOPIFY: Final = Adapter(verify, read)
