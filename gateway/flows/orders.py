"""Orders: what a shop, a payment service or a call tracker tells by webhook is verified, read, recorded, and then answered.

The sender's signature over the raw bytes is checked before anything of the body is read. Senders try again when they are not
answered 200, and some switch a webhook off after a few refusals, so only what somebody must repair is refused: a wrong
signature, a body that is no order. Every id is made from the thing that is told, so hearing it twice changes nothing:

* nobody who signed is refused for being busy: some senders try once and never again;
* a delivery that was heard before is answered as a duplicate, and its adjustments are put down if they are missing,
  because the process may have ended between the two;
* an order that counted already with another amount is a duplicate that is marked as such; amounts change by adjustments.

Consent is what is known of the visitor or person the order names. Where nothing is known the site's regime decides.
"""

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import links
from gateway.conversions.adjustments import Adjustment
from gateway.errors import Busy, Refusal
from gateway.event import OnceToken, Submission
from gateway.flows import calls
from gateway.flows.adjust import Source, adjust_order, settle_waiting
from gateway.flows.convert import prepare
from gateway.flows.forget import forget
from gateway.flows.persons import keys_of
from gateway.protocols.order_webhook import Endpoint, Hook, OrderAdjustment, Orders
from gateway.protocols.order_webhooks import ADAPTERS
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.event import Received, Recordable
    from gateway.flows.house import House, SiteRooms
    from gateway.settings import WebhookSettings

__all__ = ["BODY_MAX_BYTES", "REMEMBERED_MS", "Heard", "hear", "webhook_named"]

BODY_MAX_BYTES: Final = 1_048_576
"""Largest body: an order with hundreds of lines stays below it."""
REMEMBERED_MS: Final = 30 * DAY_MS
"""How long a delivery id is remembered. The ids of what it tells keep later repeats from counting."""
_CLICK_NAMES: Final = frozenset(links.CLICK_IDS)


class Heard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one delivery.

    `received`: `counted` (a conversion), `recorded` (an event or a change of an order), `duplicate` (heard before, or the
    order counted before) or `noted` (nothing is made of it; `note` says why). `adjustments` is how many new changes of
    orders it told, `refused` how many that cannot apply to their order. `erased` is how many subjects were erased because
    it asked for it.
    """

    received: str
    note: str | None = None
    adjustments: int = 0
    refused: int = 0
    erased: int = 0


def webhook_named(rooms: "SiteRooms", name: str) -> "WebhookSettings":
    """Find the webhook of a name. Raises Refusal `webhook_unknown`."""
    for webhook in rooms.site.webhook:
        if webhook.name == name:
            return webhook
    raise Refusal("webhook_unknown")


async def hear(
    house: "House",
    rooms: "SiteRooms",
    webhook: "WebhookSettings",
    body: bytes,
    headers: "Mapping[str, tuple[str, ...]]",
) -> Heard:
    """Take one delivery: the raw body, and headers by name in lower case. Raises Refusal or StoreError.

    Everything it tells is durable when this returns.
    """
    now_ms = house.clock.now_ms()
    adapter = ADAPTERS[webhook.adapter]
    secrets = tuple(secret.reveal() for secret in webhook.secrets)
    verified = adapter.verify(Hook(body=body, headers=headers, secrets=secrets, now_s=now_ms // 1000))
    orders = adapter.read(
        verified,
        Endpoint(
            site=rooms.id,
            received_at_ms=now_ms,
            live=webhook.live,
            origin=webhook.origin or None,
            currency=webhook.currency or rooms.site.currency or None,
            click_names=_CLICK_NAMES,
        ),
    )
    if orders.note is not None:
        house.telemetry.events_received(rooms.id, "signed", 0, (f"webhook_{orders.note}",))
        if orders.note.startswith("privacy_"):
            return await _privacy(house, rooms, webhook, orders)
    fate = await _record(house, rooms, webhook, orders, now_ms)
    if webhook.adapter == "stripe":
        await _settle_payment(house, rooms, orders)
    changed, refused = await _adjust(house, rooms, webhook, orders.adjustments, now_ms)
    if fate is None:
        fate = "recorded" if changed else "duplicate" if orders.adjustments else "noted"
    return Heard(received=fate, note=orders.note, adjustments=changed, refused=refused)


# ------------------------------------------------------------------ events


async def _record(
    house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", orders: Orders, now_ms: int
) -> str | None:
    """Record the events of a delivery. Answers what became of the first, None when it told of none."""
    if not orders.events:
        return None
    told = [_cleaned(received, orders) for received in orders.events]
    joined = [call for received in told for call in calls.joined(house, rooms, webhook, received)]
    while True:
        mark = house.erasures
        items: list[Recordable] = []
        marks: list[str] = []
        for call in joined:
            item, noted = await prepare(house, rooms, call.received, strict=False)
            items.append(item)
            marks += noted
        if told[0].name == "call":
            items = calls.touched(house, rooms, joined, items)
        # Nothing is waited for between the last look and handing over: who is erased now is erased after it.
        if not any(house.erased_since(mark, item.event.visitor_key, item.person_key) for item in items):
            break
    submitted = await house.store.submit(Submission(tuple(items), _once(house, rooms, webhook, orders, now_ms)))
    if submitted.refused is not None:
        house.telemetry.events_received(rooms.id, "signed", 0, ("webhook_repeated",))
        return "duplicate"
    house.telemetry.events_received(rooms.id, "signed", len(items), tuple(marks))
    for item, recorded in zip(items, submitted.recorded, strict=True):
        house.stored(rooms.id, item, recorded.fate)
    fates = {recorded.fate for recorded in submitted.recorded}
    return next(fate for fate in ("counted", "recorded", "duplicate") if fate in fates)


def _cleaned(received: "Received", orders: Orders) -> "Received":
    """The event with its click and coupons, without click ids that can be none, with campaign texts that may be kept."""
    named = links.read_click_ids(received.click_ids)
    marks = received.marks
    if named.unknown or named.malformed:
        marks = (*marks, "click_id_malformed")
    campaign = {name: text for name, value in received.campaign.items() if (text := links.clean_text(value))}
    return msgspec.structs.replace(
        received,
        click_ids=named.click_ids,
        campaign=campaign,
        click_id=orders.click_id,
        coupons=orders.coupons,
        marks=marks,
    )


def _once(
    house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", orders: Orders, now_ms: int
) -> tuple[OnceToken, ...]:
    if orders.delivery_id is None:
        return ()
    text = f"{rooms.id}\x1f{webhook.name}\x1f{orders.delivery_id}"
    return (OnceToken("webhook", hashlib.sha256(text.encode()).digest()[:16], now_ms + REMEMBERED_MS),)


# ------------------------------------------------------------------ changes of orders


async def _adjust(
    house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", told: tuple[OrderAdjustment, ...], now_ms: int
) -> tuple[int, int]:
    """Put down changes of orders. Answers how many were new, and how many cannot apply.

    What cannot apply, because it is in another currency than its order, is counted and told to the operator. It would
    not apply the next time either, so the sender is not made to try again.
    """
    source = Source(trust="signed", received_at_ms=now_ms)
    new = refused = 0
    for one in told:
        adjustment = Adjustment(
            id=one.adjustment_id,
            kind=one.kind,
            at_ms=one.at_ms,
            amount_minor=one.amount_minor,
            currency=one.currency,
            reason=one.reason,
        )
        order_id = await _order_of(house, rooms, one)
        try:
            if await _says_nothing_new(house, rooms, order_id, adjustment):
                continue
            found = await adjust_order(house, rooms, order_id, adjustment, source=source)
        except Busy:
            raise
        except Refusal as refusal:
            refused += 1
            house.telemetry.events_received(rooms.id, "signed", 0, ("adjustment_refused",))
            house.telemetry.warned("adjustment_refused", site=rooms.id, webhook=webhook.name, code=refusal.code)
        else:
            new += any(adjusted.status == "recorded" for adjusted in found)
    return new, refused


async def _settle_payment(house: "House", rooms: "SiteRooms", orders: Orders) -> None:
    """Give a payment's conversions the changes that came before it and knew the payment's own number only."""
    for received in orders.events:
        payment = received.event_id.removeprefix("stripe:").removesuffix(":paid")
        if payment == received.order_id or not await house.store.waiting_adjustments(rooms.id, payment):
            continue
        record = await house.store.event(received.event_id, rooms.id)
        for row in record.conversions if record is not None else ():
            counted = await house.store.conversion(rooms.id, row.counted_id or row.conversion_id)
            if counted is not None:
                await settle_waiting(house, rooms, msgspec.structs.replace(counted, order_id=payment))


async def _order_of(house: "House", rooms: "SiteRooms", one: OrderAdjustment) -> str:
    """The order a change is of: that of the first event it may have come with that is stored, else the one it names."""
    for event_id in one.event_ids:
        record = await house.store.event(event_id, rooms.id)
        for row in record.conversions if record is not None else ():
            if row.order_id is not None:
                return row.order_id
    return one.order_id


async def _says_nothing_new(house: "House", rooms: "SiteRooms", order_id: str, adjustment: Adjustment) -> bool:
    """Whether a restatement says what the order was counted with, and nothing changed that yet.

    Shops restate an order at every step of it. Once something changed it every restatement counts, because an older
    change may still be on its way, and must lose to a newer one.
    """
    if adjustment.kind != "restate":
        return False
    found = await house.store.conversions_of_order(rooms.id, order_id)
    for one in found:
        if (one.amount_minor, one.currency) != (adjustment.amount_minor, adjustment.currency):
            return False
        if await house.store.adjustments_of(rooms.id, one.conversion_id):
            return False
    return bool(found)


# ------------------------------------------------------------------ privacy


async def _privacy(house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", orders: Orders) -> Heard:
    """Erase a customer where the shop says so; tell the operator of everything that is theirs to do.

    The customer is found by the shop's number for them and by their e-mail address, and with them the browsers that were
    seen to be theirs and nobody else's.
    """
    keys = keys_of(house, rooms, orders.subject)
    events = sum([(await house.store.held(rooms.id, key)).events for key in keys])
    erased = 0
    if orders.note == "privacy_customer_redact":
        subjects: dict[bytes, None] = {}
        for key in keys:
            for visitor_key, _ in await house.store.devices_of(rooms.id, key):
                persons = {person for _, person, _ in await house.store.persons_of(rooms.id, [visitor_key])}
                if persons <= set(keys):
                    subjects[visitor_key] = None
        # Persons last: by them a repeat of this call finds the browsers that are still to be erased.
        subjects |= dict.fromkeys(keys)
        for subject in subjects:
            await forget(house, rooms, subject, method="webhook")
            erased += 1
    house.telemetry.warned(
        "privacy_requested",
        site=rooms.id,
        webhook=webhook.name,
        note=orders.note,
        delivery_id=orders.delivery_id,
        events=events,
        erased=erased,
    )
    return Heard(received="noted", note=orders.note, erased=erased)
