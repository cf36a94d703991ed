"""Notices: what the owner's own systems are to be told of a conversion that counts, made with its record.

A notice rests on no consent, because it holds nothing of a person: no contact data, no visitor, only what was counted,
with the order number, the campaign and the click it names. The site's own record of a sale goes to the site's own system.

Source: reference guide of link conversion tracking (outgoing notification).
"""

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.event import Payload
from gateway.protocols.notification import Notice
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.catalogue import Goal
    from gateway.event import ConversionClaim, Received
    from gateway.flows.house import House, SiteRooms
    from gateway.stores.contract_credit import Contact

__all__ = ["PREFIX", "notice_of"]

PREFIX: Final = "notification:"
"""Name of a goal's notifications among destinations: this and the goal's id."""
KEPT_MS: Final = 30 * DAY_MS
"""How long a notification that could not be sent is kept for a replay, if the retention of dead payloads allows it."""

_encode: Final = msgspec.json.Encoder().encode


def notice_of(
    house: "House",
    rooms: "SiteRooms",
    received: "Received",
    claim: "ConversionClaim",
    goal: "Goal",
    click: "Contact | None",
) -> Payload:
    """Make the notification of a conversion. `click` is what the store knows of the click it names, if anything."""
    conversion_id = house.store.conversion_id(rooms.id, received.event_id)
    notice = Notice(
        conversion_id=conversion_id,
        occurred_at_ms=received.occurred_at_ms,
        goal=goal.code,
        link_id=(click.link_id or None) if click is not None else None,
        click_id=claim.click_id,
        amount_minor=claim.amount_minor,
        currency=claim.currency,
        value_source=claim.value_source,
        order_id=claim.order_id,
        event_id=received.event_id,
        campaign_id=claim.campaign_id or (click.campaign_id if click is not None else "") or None,
        ambassador_id=(click.ambassador_id or None) if click is not None else None,
        status=received.status or "sale",
        test=received.test,
    )
    return Payload(
        destination=PREFIX + goal.id,
        body=b"\n" + _encode(notice),
        purposes=0,
        dedup_key=_message_id(rooms.id, goal.id, conversion_id),
        expires_at_ms=received.received_at_ms + KEPT_MS,
    )


def _message_id(site: str, goal_id: str, conversion_id: str) -> str:
    """Same on every attempt. A digest, because an event's id may hold the dot that parts what is signed."""
    return "msg_" + hashlib.sha256(f"{site}\x1f{goal_id}\x1f{conversion_id}".encode()).hexdigest()[:32]
