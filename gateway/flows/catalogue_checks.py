"""Catalogue checks: what an entry must keep besides its own shape, asked whenever one is saved.

Each rule is a room's; here they meet: slugs and targets (links), goals (conversions), models (attribution), addresses that
are told of conversions (outbound), and what the rest of the catalogue holds.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from gateway.attribution.registry import MODELS
from gateway.catalogue import Ambassador, Campaign, Coupon, Goal, Link, Utm
from gateway.conversions import goals
from gateway.errors import OutboundRefused, Refusal
from gateway.links import clicks, codes, targets
from gateway.outbound import Network, Outbound

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.shelves import Shelf
    from gateway.protocols.catalogue_wire import Record

__all__ = ["CHANNEL_UTM", "check_notify_url", "check_record", "preset_utm", "preset_window"]

R = TypeVar("R", bound="Record")

CHANNEL_UTM: Final[dict[str, Utm]] = {
    "email": Utm(source="email", medium="email"),
    "social": Utm(medium="social"),
    "sms": Utm(source="sms", medium="sms"),
    "qr": Utm(source="qr", medium="qr"),
    "ad": Utm(medium="cpc"),
}
"""Channel to the campaign parameters its links start with. Which network or which advertiser it is, only the owner knows."""

_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""A last label that makes a host an IPv4 address to many resolvers, however it is written."""


def check_record(house: "House", rooms: "SiteRooms", record: "Record", old: "Record | None") -> "Record":
    """Return a record as it may be stored. `old` is the version before, None for a new one. Raises Refusal.

    What an entry belongs to must exist; what it is newly given to must also be in use.
    """
    shelf = house.shelves[rooms.id]
    if isinstance(record, Goal):
        goals.check_goal(record, MODELS)
        if record.campaign_id:
            _campaign(shelf, record.campaign_id, old)
        if record.notify_url:
            check_notify_url(record.notify_url, frozenset({443, *house.settings.delivery.webhook_ports}))
        return record
    if isinstance(record, Campaign):
        return record
    if isinstance(record, Ambassador):
        if isinstance(old, Ambassador) and old.campaign_id != record.campaign_id:
            raise Refusal("field_invalid", "campaign_id")  # their links and coupons are of the campaign they joined
        _campaign(shelf, record.campaign_id, old)
        return msgspec.structs.replace(record, code=codes.check_slug(record.code, "code"))
    if isinstance(record, Link):
        record = msgspec.structs.replace(record, code=codes.check_slug(record.code, "code"))
        _check_targets(rooms, record)
        clicks.check_variants(record.variants)
    return _belonging(shelf, record, old)


def _check_targets(rooms: "SiteRooms", link: Link) -> None:
    """Every address of a link leads to the site itself, or where its settings allow links to lead."""
    allowed = (*rooms.domains, *rooms.site.links.targets)
    named = {name: getattr(link, name) for name in ("target", "expired_target", "ios_target", "android_target")}
    named |= {f"variants[{index}].target": variant.target for index, variant in enumerate(link.variants)}
    for field, target in named.items():
        if target or field == "target":
            targets.check_target(target, allowed, schemes=rooms.site.links.schemes, field=field)


def _belonging(shelf: "Shelf", record: Link | Coupon, old: "Record | None") -> Link | Coupon:
    """The record with its campaign: an ambassador's link or coupon belongs to the ambassador's."""
    if record.ambassador_id:
        ambassador = shelf.ambassadors.get(record.ambassador_id)
        given = getattr(old, "ambassador_id", "") != record.ambassador_id
        if ambassador is None or (ambassador.archived and given):
            raise Refusal("field_invalid", "ambassador_id")
        if not record.campaign_id:
            record = msgspec.structs.replace(record, campaign_id=ambassador.campaign_id)
        if ambassador.campaign_id != record.campaign_id:
            raise Refusal("field_invalid", "ambassador_id")
    if record.campaign_id:
        _campaign(shelf, record.campaign_id, old)
    return record


def _campaign(shelf: "Shelf", campaign_id: str, old: "Record | None") -> Campaign:
    found = shelf.campaigns.get(campaign_id)
    given = getattr(old, "campaign_id", "") != campaign_id
    if found is None or (found.archived and given):
        raise Refusal("field_invalid", "campaign_id")
    return found


def check_notify_url(url: str, ports: frozenset[int], field: str = "notify_url") -> None:
    """Refuse an address that notifications may not go to: everything `outbound` refuses without looking names up.

    Numbers for addresses in any spelling, names of this machine, ports that are not listed, a user part, other schemes.
    Where a name leads is looked up, and checked again, whenever something is sent.
    """
    try:
        host = urlsplit(url).hostname or ""
        Outbound(Network(), frozenset({host}), ports).check(url)
    except (OutboundRefused, ValueError):
        raise Refusal("field_invalid", field) from None
    last = host.rpartition(".")[2]
    if "." not in host or last == "localhost" or _NUMBER.match(last) is not None:
        raise Refusal("field_invalid", field)


def preset_utm(record: R, said: Mapping[str, object], shelf: "Shelf", old: "Record | None" = None) -> R:
    """Fill in campaign parameters of a link or campaign by its channel, where nobody says any.

    `said` is the body of the request: a parameter named there, even as empty, stays as it was named. `old` is the version
    before: what its channel gave follows the channel, what somebody wrote stays.
    """
    utm = said.get("utm", {})
    if not isinstance(record, Link | Campaign) or not isinstance(utm, dict):
        return record
    before = _channel_utm(old, shelf) if isinstance(old, Link | Campaign) else Utm()
    now = _channel_utm(record, shelf)
    if old is not None and now == before:
        return record
    filled = {
        name: getattr(now, name)
        for name in ("source", "medium")
        if name not in utm and getattr(record.utm, name) == getattr(before, name)
    }
    return msgspec.structs.replace(record, utm=msgspec.structs.replace(record.utm, **filled))


def _channel_utm(record: "Link | Campaign", shelf: "Shelf") -> Utm:
    """The source and medium that the channel of an entry gives it.

    Of a link, its own channel wins over its campaign's medium, and over a source that the campaign has by its channel
    alone; a source that somebody wrote stays. A link without a channel of its own says only what its campaign does not.
    """
    above = shelf.campaigns.get(record.campaign_id) if isinstance(record, Link) else None
    own = record.channel.strip().lower()
    if above is None:
        return CHANNEL_UTM.get(own, _NOTHING)
    inherited, theirs = above.channel.strip().lower(), above.utm
    start = CHANNEL_UTM.get(own or inherited, _NOTHING)
    if own in ("", inherited):
        return Utm(source="" if theirs.source else start.source, medium="" if theirs.medium else start.medium)
    written = theirs.source not in ("", CHANNEL_UTM.get(inherited, _NOTHING).source)
    return Utm(
        source="" if written else start.source or (own if theirs.source else ""),
        medium=start.medium or (own if theirs.medium else ""),
    )


_NOTHING: Final = Utm()


def preset_window(record: R, said: Mapping[str, object], shelf: "Shelf") -> R:
    """Give a new goal that names no click window the window of ambassadors, where the site has some."""
    if isinstance(record, Goal) and said.get("click_window_days") is None and shelf.has_ambassadors:
        return msgspec.structs.replace(record, click_window_ms=goals.AMBASSADOR_WINDOW_MS)
    return record
