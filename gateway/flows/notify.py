"""Notify: the owner's own systems are told of each counted conversion of a goal that names an address for it.

A notification is a delivery like every other: owed in the transaction that counts the conversion, sealed while it waits,
retried with back-off, replayable when it died. It goes to the address the goal has when it is sent, so that a wrong one
can be put right and what died can be sent again; without one it is cancelled. A plain address gets a signed JSON body, an
address with macros is called with GET.

It rests on no consent: see `notices`.

Source: Standard Webhooks 1.0.0 (signature, ids); reference guide of link conversion tracking (body).
"""

import base64
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from gateway.destinations.webhook import WEBHOOK
from gateway.exchange import Call, Credential
from gateway.flows.house import Placed
from gateway.flows.notices import PREFIX
from gateway.protocols.notification import Notice, body_of, fill, is_template, macros_of
from gateway.purposes import Needs
from gateway.schedule import Bucket
from gateway.stores.contract import Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.catalogue import Goal
    from gateway.destinations.definition import Options, Ready
    from gateway.flows.house import House, SiteRooms

__all__ = ["give_up", "is_notification", "names", "pace", "placed", "signing_secrets", "waiting_names"]

CANCELLED_AT_ONCE: Final = 200

_read_notice: Final = msgspec.json.Decoder(Notice).decode


# ------------------------------------------------------------------ sending


def _request(events: "list[Ready]", options: "Options", now_ms: int) -> Call:
    notice = _read_notice(events[0].body)
    url, message_id = str(options["url"]), events[0].dedup_key or ""
    if is_template(url):
        # Nothing is signed: a signature covers the body, and there is none.
        return Call(
            method="GET",
            url=fill(url, macros_of(notice)),
            headers={"webhook-id": message_id},
            body=b"",
            timeout_s=WEBHOOK.timeout_s,
        )
    return Call(
        method="POST",
        url=url,
        headers={"Content-Type": "application/json", "webhook-id": message_id},
        body=body_of(notice),
        timeout_s=WEBHOOK.timeout_s,
        credentials=(Credential("webhook", "webhook-signature", "signing_secret"),),
    )


NOTIFICATION: Final = msgspec.structs.replace(
    WEBHOOK,
    slug="notification",
    title="Notification of a goal",
    contract="docs/how-to/notifications.md; Standard Webhooks 1.0.0 (2026-08-17)",
    options=(),
    needs=Needs(base=0, groups={}),
    default_events=(),
    fields=(),
    request=_request,
    problems=None,
    withdrawal=None,
)
"""How notifications are sent: paced, answered and repeated like the operator's own webhooks."""


def placed(house: "House", rooms: "SiteRooms", name: str) -> Placed | None:
    """A goal's notifications as a destination that `deliver` serves. None when the goal names no address any more."""
    shelf = house.shelves.get(rooms.id)
    goal = shelf.goals_by_id.get(name.removeprefix(PREFIX)) if shelf is not None else None
    url = goal.notify_url if goal is not None else ""
    host = urlsplit(url).hostname if url else None
    # Only hosts that are named by somebody may be spoken to; where they lead is looked at when they are.
    house.outbound.admit(f"{rooms.id} {name}", frozenset({host} if host else ()))
    if host is None:
        return None
    return Placed(
        name=name,
        definition=NOTIFICATION,
        needs=NOTIFICATION.needs,
        options={"url": url},
        secrets={"signing_secret": signing_secrets(house, rooms.id)},
        events=frozenset(),
        enabled=True,
        send_bots=True,
        send_tests=True,
    )


def pace(house: "House") -> Bucket:
    """How fast one goal's receiver is spoken to."""
    return Bucket(NOTIFICATION.pace.per_minute, house.clock.monotonic_s())


def signing_secrets(house: "House", site: str) -> str:
    """The secrets notifications of a site are signed with, newest first, as receivers take them: several while rotating."""
    keys = reversed(house.vault.signing_keys("notification", site))
    return " ".join(f"whsec_{base64.b64encode(key).decode('ascii')}" for key in keys)


def is_notification(destination: str) -> bool:
    """Whether deliveries of this name are a goal's notifications: they need no line in the settings."""
    return destination.startswith(PREFIX)


def names(house: "House", rooms: "SiteRooms") -> list[str]:
    """Names of the notifications of all goals that name an address now."""
    shelf = house.shelves.get(rooms.id)
    goals: Sequence[Goal] = tuple(shelf.goals_by_id.values()) if shelf is not None else ()
    return [PREFIX + goal.id for goal in goals if goal.notify_url]


async def waiting_names(house: "House", rooms: "SiteRooms") -> list[str]:
    """Names of notifications that wait, whatever their goals say now. Raises StoreError."""
    waiting = await house.store.waiting()
    return [row.destination for row in waiting if row.site == rooms.id and is_notification(row.destination)]


async def give_up(house: "House", rooms: "SiteRooms", name: str) -> int:
    """Cancel what is due for an address that was taken away. Answers how many there were. Raises StoreError."""
    now_ms = house.clock.now_ms()
    lease_ms = int(house.settings.delivery.lease_s * 1000)
    due = await house.store.claim(rooms.id, name, now_ms=now_ms, lease_ms=lease_ms, limit=CANCELLED_AT_ONCE)
    if due:
        await house.store.settle(
            [
                Settlement(
                    delivery_id=one.delivery_id,
                    fate="cancelled",
                    reason="destination_removed",
                    at_ms=now_ms,
                    attempted=False,
                )
                for one in due
            ]
        )
    for one in due:
        house.telemetry.delivery_settled(rooms.id, name, "cancelled", "destination_removed", one.event_id, one.attempts)
    return len(due)
