"""Words of the order webhooks: what a shop, a payment service or a call tracker sends, and what is made of it (pure).

Every adapter has two functions. `verify(Hook) -> Verified` checks the signature over the raw bytes; only what it returns
can be given to `read(Verified, Endpoint) -> Orders`, so nothing is read from a body that nobody signed. A topic that means
nothing here is no error: the answer is 200 and a note, or the sender would switch the webhook off.

Senders promise no order and tell the same thing more than once. So every id is made from the thing itself, and whatever
comes again under the same id has the same content.

Source: Shopify, WooCommerce, Stripe and CallRail webhook documentation, read 2026-11; WooCommerce 11 source code.
"""

import base64
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.event import Person, Received

__all__ = [
    "NOTES",
    "OUR_CLICK",
    "OUR_VISITOR",
    "Adapter",
    "AdjustmentKind",
    "AdjustmentReason",
    "Endpoint",
    "Hook",
    "OrderAdjustment",
    "Orders",
    "Verified",
    "delivery_of",
    "headers_of",
    "is_signed",
]

OUR_VISITOR: Final = "gw_vid"
"""Name under which a shop hands on our visitor token: a cart attribute, order meta data, payment metadata."""

OUR_CLICK: Final = "gw_cid"
"""Name under which a shop hands on the click id of one of our links."""

NOTES: Final[dict[str, str]] = {
    "ping": "The sender tried whether this address answers.",
    "topic_ignored": "Nothing is made of messages of this kind.",
    "not_paid": "The order is not paid, so it does not count yet.",
    "not_an_order": "The payment is not an order of its own: it names none, or belongs to a subscription's invoice.",
    "nothing_to_adjust": "No money went back.",
    "too_old": "The order is older than 400 days.",
    "privacy_data_request": "A customer asked the shop for their data.",
    "privacy_customer_redact": "A customer's data must be erased.",
    "privacy_shop_redact": "The shop uninstalled the app; its data must be erased.",
}
"""Why a message left no event, or what else has to be done about it. Every one is answered 200 and counted."""

AdjustmentKind = Literal["restate", "retract", "refund"]
AdjustmentReason = Literal["cancelled", "returned", "chargeback", "price_changed"]


class Hook(msgspec.Struct, frozen=True):
    """One webhook request as it came.

    `body`: the raw bytes. `headers`: every value by name in lower case, as `headers_of` makes them. `secrets`: all that may
    have signed it, the old one and the new one while they change. `now_s`: seconds since 1970 UTC.
    """

    body: bytes
    headers: Mapping[str, tuple[str, ...]]
    secrets: tuple[str, ...]
    now_s: int

    def header(self, *names: str) -> str | None:
        """Return the value of the first of these headers that is there. One that came twice says nothing."""
        for name in names:
            values = self.headers.get(name.lower(), ())
            if values:
                return values[0].strip() if len(values) == 1 else None
        return None

    def __repr__(self) -> str:
        return f"Hook({len(self.body)} bytes)"  # neither secrets nor customers belong in a log


class Verified(msgspec.Struct, frozen=True):
    """A body whose signature is right, with what its headers say. Made by the `verify` of an adapter alone.

    `delivery_id` is the same when the sender tries again. `source` is the shop's own address or domain.
    """

    body: bytes
    topic: str | None = None
    delivery_id: str | None = None
    source: str | None = None

    def __repr__(self) -> str:
        return f"Verified({len(self.body)} bytes)"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The configured endpoint a message came to, and when.

    `live`: whether it is for real payments; the other mode is refused, and what comes to a test endpoint is marked as test.
    `origin`: front of the shop's addresses, such as `https://www.shop.example`, where a message holds a path only.
    `currency`: of sums that come without one. `click_names`: names of click ids, in lower case, to look for among
    attributes that shops fill freely.
    """

    site: str
    received_at_ms: int
    live: bool = True
    origin: str | None = None
    currency: str | None = None
    click_names: frozenset[str] = frozenset()


class OrderAdjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an order that may have counted. `at_ms` is when it was made.

    `restate`: the order is worth `amount_minor` now, with every refund until then taken in; one that says what already
    counts changes nothing. `refund`: `amount_minor` went back. `retract`: the order does not count any more; no amount.
    The newest restatement or retraction decides, less the refunds after it, in whatever order they come.

    `adjustment_id`: 8 to 64 characters. `event_ids`: events the order may have come with, for senders that know their own
    payment but not the shop's order number; the first that is stored is it.
    """

    order_id: str
    kind: AdjustmentKind
    reason: AdjustmentReason
    adjustment_id: str
    at_ms: int
    amount_minor: int | None = None
    currency: str | None = None
    event_ids: tuple[str, ...] = ()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What one message says: at most one event, then adjustments. `note`: a key of NOTES.

    `click_id`: the click of one of our own links that the event names, `coupons`: the codes on its order, both as written.
    `subject`: whom a privacy request is about; it lives as long as the request.
    """

    events: tuple[Received, ...] = ()
    adjustments: tuple[OrderAdjustment, ...] = ()
    delivery_id: str | None = None
    note: str | None = None
    click_id: str | None = None
    coupons: tuple[str, ...] = ()
    subject: Person | None = None


class Adapter(NamedTuple):
    """One sender's two functions. Both raise Refusal and nothing else."""

    verify: Callable[[Hook], Verified]
    read: Callable[[Verified, Endpoint], Orders]


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Gather header lines by name in lower case; repeated ones keep their order."""
    gathered: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        lowered = name.lower()
        gathered[lowered] = (*gathered.get(lowered, ()), value)
    return gathered


def delivery_of(text: str | None) -> str | None:
    """Return a delivery id that can be kept: at most 128 printable ASCII characters. Another one is no id."""
    return text if text and len(text) <= 128 and text.isascii() and text.isprintable() else None


def is_signed(hook: Hook, signature: str | None, digest: Literal["sha256", "sha1"]) -> bool:
    """Whether `signature` is base64 of the HMAC of the raw body under one of the secrets.

    Every secret is tried and every comparison takes the same time, right or wrong. An empty secret signs nothing.
    """
    if not signature:
        return False
    given = signature.encode("utf-8", "replace")
    right = False
    for secret in hook.secrets:
        made = base64.b64encode(hmac.digest(secret.encode("utf-8", "replace"), hook.body, digest))
        right |= hmac.compare_digest(made, given) and bool(secret)
    return right
