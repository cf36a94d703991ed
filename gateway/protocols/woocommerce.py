"""WooCommerce webhooks: orders that are paid or in work, what they are worth after refunds, and the ping (pure).

The signature is base64(HMAC-SHA256(raw body, secret)). WordPress decodes five HTML entities in the secret before it signs,
so the same is done here: the secret can be copied as the shop shows it. Saving a webhook sends an unsigned form
`webhook_id=N`, which is answered 200 and leaves nothing.

`order.updated` comes many times for one order. A purchase is an order in state `processing` or `completed`, under one
event id. Refunds stand in the order without their times and can be deleted again, so they are no refunds of their own:
every update restates the total less what went back. The shop's own order attribution is read as campaign, to fall back on
where neither an address nor a click id tells more.

Source: WooCommerce 11 class-wc-webhook.php, OrderAttributionMeta.php, REST v3 order; WordPress formatting.php; read 2026-11.
"""

import re
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

__all__ = ["WOOCOMMERCE", "decode_secret", "read", "verify"]

COUNTED: Final = frozenset({"processing", "completed"})
TOPICS: Final = frozenset({"order.created", "order.updated"})

_PING: Final = re.compile(rb"webhook_id=[0-9]{1,20}\Z")
_ENTITY: Final = re.compile(r"&(?:quot|lt|gt|amp|#0*(?:34|38|39|60|62)|#[xX]0*(?:22|26|27));")
_SIGNS: Final = {
    "quot": '"', "34": '"', "x22": '"', "39": "'", "x27": "'", "lt": "<", "60": "<", "gt": ">", "62": ">",
    "amp": "&", "38": "&", "x26": "&",
}  # fmt: skip

_ATTRIBUTION: Final = "_wc_order_attribution_"
_NOTHING: Final = msgspec.Raw(b"")


class _Meta(msgspec.Struct):
    key: object = None
    value: object = None


class _Line(msgspec.Struct):
    name: object = None
    product_id: object = None
    sku: object = None
    quantity: object = None
    price: msgspec.Raw = _NOTHING
    total: msgspec.Raw = _NOTHING


class _Billing(msgspec.Struct):
    first_name: object = None
    last_name: object = None
    email: object = None
    phone: object = None
    address_1: object = None
    city: object = None
    state: object = None
    postcode: object = None
    country: object = None


class _Back(msgspec.Struct):
    total: Decimal


class _Code(msgspec.Struct):
    code: object = None


class _Order(msgspec.Struct, kw_only=True):
    id: ShopId
    status: str
    currency: str | None = None
    total: Decimal | None = None
    number: object = None
    date_created_gmt: str | None = None
    date_modified_gmt: str | None = None
    date_paid_gmt: str | None = None
    payment_method: object = None
    customer_id: object = None
    billing: _Billing | None = None
    customer_ip_address: object = None
    customer_user_agent: object = None
    meta_data: list[_Meta] | None = None
    line_items: list[_Line] | None = None
    coupon_lines: list[_Code] | None = None
    refunds: list[_Back] | None = None


_read_order: Final = reading.decoder(_Order)


def decode_secret(secret: str) -> str:
    """Decode the entities of `& < > " '` as wp_specialchars_decode(ENT_QUOTES) does: once, zeros in front allowed."""
    return _ENTITY.sub(lambda found: _SIGNS[_plain(found.group()[1:-1])], secret)


def _plain(entity: str) -> str:
    number = entity.removeprefix("#").lower()
    return "x" + number[1:].lstrip("0") if number[:1] == "x" else number.lstrip("0")


def verify(hook: Hook) -> Verified:
    """Check a delivery's signature, or recognise the ping. Raises Refusal `signature_invalid`."""
    signature = hook.header("X-WC-Webhook-Signature")
    if signature is None and _PING.match(hook.body) is not None:
        return Verified(body=b"", topic="ping")  # nobody signed it: nothing of it can be read later
    secrets = tuple(decode_secret(secret) for secret in hook.secrets)
    if not is_signed(msgspec.structs.replace(hook, secrets=secrets), signature, "sha256"):
        raise Refusal("signature_invalid")
    return Verified(
        body=hook.body,
        topic=hook.header("X-WC-Webhook-Topic"),
        delivery_id=delivery_of(hook.header("X-WC-Webhook-Delivery-ID")),
        source=hook.header("X-WC-Webhook-Source"),
    )


def read(verified: Verified, endpoint: Endpoint) -> Orders:
    """Read one delivery. Raises Refusal with the path of the first field that is wrong."""
    if verified.topic == "ping" and not verified.body:
        return Orders(note="ping")
    if verified.topic not in TOPICS:
        return Orders(delivery_id=verified.delivery_id, note="topic_ignored")
    order = decode(_read_order, verified.body)
    if order.status == "cancelled" and _did_count(order):
        return Orders(adjustments=(_retraction(order, endpoint),), delivery_id=verified.delivery_id)
    if order.status not in COUNTED and order.status != "refunded":
        return Orders(delivery_id=verified.delivery_id, note="not_paid")
    amount_minor = sum_minor(order.total, order.currency, "total")
    adjustments: tuple[OrderAdjustment, ...] = ()
    if verified.topic == "order.updated" or order.refunds:
        adjustments = (_restatement(order, amount_minor, endpoint),)
    if order.status == "refunded":
        return Orders(adjustments=adjustments, delivery_id=verified.delivery_id)
    orders = _event(order, amount_minor, endpoint)
    return msgspec.structs.replace(orders, adjustments=adjustments, delivery_id=verified.delivery_id)


def _did_count(order: _Order) -> bool:
    """Whether a cancelled order was in work before. An unpaid one that timed out was not.

    An order is marked as paid when work on it begins, but for payment on delivery, which is marked when it is completed.
    """
    return bool(order.date_paid_gmt) or order.payment_method == "cod"


def _changed_ms(order: _Order, endpoint: Endpoint) -> int:
    if not order.date_modified_gmt:
        return endpoint.received_at_ms
    return moment_ms(order.date_modified_gmt, "date_modified_gmt", utc=True)


def _retraction(order: _Order, endpoint: Endpoint) -> OrderAdjustment:
    at_ms = _changed_ms(order, endpoint)
    return OrderAdjustment(
        order_id=str(order.id),
        kind="retract",
        reason="cancelled",
        adjustment_id=stable_id("woocommerce", str(order.id), "cancelled", str(at_ms)),
        at_ms=at_ms,
    )


def _restatement(order: _Order, amount_minor: int, endpoint: Endpoint) -> OrderAdjustment:
    """What the order is worth now. Refunds stand in the order with a minus; the rest is never less than nothing."""
    left = amount_minor
    for index, back in enumerate(order.refunds or ()):
        left -= sum_minor(back.total.copy_abs(), order.currency, f"refunds[{index}].total")
    left = max(left, 0)
    at_ms = _changed_ms(order, endpoint)
    return OrderAdjustment(
        order_id=str(order.id),
        kind="restate",
        reason="returned" if order.refunds else "price_changed",
        adjustment_id=stable_id("woocommerce", str(order.id), "total", str(at_ms), str(left)),
        at_ms=at_ms,
        amount_minor=left,
        currency=order.currency,
    )


def _event(order: _Order, amount_minor: int, endpoint: Endpoint) -> Orders:
    reader = Reader()
    created = order.date_created_gmt
    at_ms = placed_ms(moment_ms(created, "date_created_gmt", utc=True) if created else None, endpoint, reader)
    if at_ms is None:
        return Orders(note="too_old")
    meta = [(entry.key, entry.value) for entry in order.meta_data or ()]
    told = {
        key[len(_ATTRIBUTION) :]: value for key, value in meta if isinstance(key, str) and key.startswith(_ATTRIBUTION)
    }
    ours = reader.named(
        [(key.removeprefix("_") if isinstance(key, str) else None, value) for key, value in meta],
        frozenset({OUR_VISITOR, OUR_CLICK}),
    )
    clicks = reader.named(meta, endpoint.click_names)
    campaign = reader.campaign(
        {field: told.get(f"utm_{field}") for field in ("source", "medium", "campaign", "id", "term", "content")}
    )
    named = (("order_name", reader.word(order.number, 64)), ("source_type", reader.word(told.get("source_type"), 32)))
    coupons = reader.codes(line.code for line in order.coupon_lines or ())
    received = Received(
        site=endpoint.site,
        event_id=stable_id("woocommerce", str(order.id), "paid"),
        name="purchase",
        trust="signed",
        occurred_at_ms=at_ms,
        received_at_ms=endpoint.received_at_ms,
        conversion=True,
        url=_landing(reader.text(told.get("session_entry"), 8_192), endpoint),
        referrer=reader.text(told.get("referrer"), 8_192),
        amount_minor=amount_minor,
        currency=order.currency,
        order_id=str(order.id),
        items=reader.items([_line(line) for line in order.line_items or ()], order.currency or ""),
        props={name: text for name, text in named if text is not None},
        person=_person(order, reader),
        device=Device(
            ip=reader.personal(order.customer_ip_address), user_agent=reader.personal(order.customer_user_agent)
        ),
        click_ids=clicks,
        campaign=campaign,
        visitor_token=ours.get(OUR_VISITOR),
        marks=reader.marks,
        test=not endpoint.live,
    )
    return Orders(events=(received,), click_id=ours.get(OUR_CLICK), coupons=coupons)


def _landing(written: str | None, endpoint: Endpoint) -> str | None:
    if written is None or not written.startswith("/") or endpoint.origin is None:
        return written
    return f"{endpoint.origin.rstrip('/')}{written}"


def _line(line: _Line) -> Line:
    return Line(
        id=line.product_id or line.sku, name=line.name, quantity=line.quantity, price=line.price, total=line.total
    )


def _person(order: _Order, reader: Reader) -> Person | None:
    billing = order.billing or _Billing()
    return reader.person(
        email=(billing.email,),
        phone=(billing.phone,),
        external_id=order.customer_id or None,  # 0 is a guest
        first_name=billing.first_name,
        last_name=billing.last_name,
        street=billing.address_1,
        city=billing.city,
        region=billing.state,
        postal_code=billing.postcode,
        country=billing.country,
    )


WOOCOMMERCE: Final = Adapter(verify, read)
