"""Signing: the address of a link that leads to another target until a moment.

Whoever may manage the catalogue may have one made: the link stays what it is, its clicks are counted for it, and the target
stands in the address, so that one link serves a thousand of them and nothing is stored. A signed target may lead to any
host. It cannot be taken back alone: it ends with its time, with its link, or with the key of the site that signed it.
"""

from typing import TYPE_CHECKING, Final

from gateway.catalogue import Link
from gateway.errors import Refusal
from gateway.flows.addresses import signed_path
from gateway.flows.catalogue_reading import entry_of, link_base
from gateway.protocols import reading
from gateway.protocols.catalogue_fields import address_text, moment_ms
from gateway.protocols.catalogue_shapes import SIGNED_DAYS_MAX, WireSigned
from gateway.protocols.catalogue_wire import record_of
from gateway.times import DAY_MS, utc_text

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["DAYS", "sign"]

DAYS: Final = 30
"""How long a signed target is good where nobody says."""


_read: Final = reading.decoder(WireSigned)


async def sign(house: "House", rooms: "SiteRooms", link_id: str, body: bytes) -> dict[str, object]:
    """Sign a target for a link: `{"target", "expires_at"}`, or `days` from now instead, 30 where neither is said.

    Answers `url`, `target`, `link_id` and `expires_at`, the last second in which it is good. Raises Refusal: `entry_unknown`,
    `link_expired` for an archived link, `target_invalid`, field codes; and StoreError.
    """
    asked = reading.decode(_read, body)
    link = record_of(await entry_of(house, rooms, "link", link_id))
    if not isinstance(link, Link):
        raise Refusal("entry_unknown")
    now_ms = house.clock.now_ms()
    until_s = _until_ms(asked, now_ms) // 1000
    if link.archived or 0 < link.expires_at_ms <= now_ms:
        raise Refusal("link_expired")
    target = address_text(asked.target, "target")
    return {
        "url": link_base(rooms) + signed_path(house, rooms, link.code, target, until_s),
        "target": target,
        "link_id": link.id,
        "expires_at": utc_text(until_s * 1000),
    }


def _until_ms(asked: WireSigned, now_ms: int) -> int:
    if asked.expires_at is None:
        return now_ms + (asked.days or DAYS) * DAY_MS
    if asked.days is not None:
        raise Refusal("field_unknown", "days")
    at_ms = moment_ms(asked.expires_at, "expires_at")
    if not now_ms < at_ms <= now_ms + SIGNED_DAYS_MAX * DAY_MS:
        raise Refusal("field_invalid", "expires_at")
    return at_ms
