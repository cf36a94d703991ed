"""Touching: what an event or a click leaves behind for attribution, and what reports call it.

A contact is worth remembering when a page was reached by a link of ours, a campaign, an advertisement or another site, or
when a visit began without any of these. It needs consent: analytics for campaigns and referrers, advertising for click ids
of platforms, one of both for links of our own. Nothing here reads the store: a landing whose link is not in memory keeps its slug as
`link_id`, and whoever credits looks it up.

The source of a visit by a link is what the page address says, and what that leaves open is what the link says: campaign
parameters that were lost on the way are known from the slug.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.attribution.channel_sources import host_is_under
from gateway.attribution.channels import Source, channel_of, source_of
from gateway.event import Touch
from gateway.purposes import ADVERTISING, ANALYTICS
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.catalogue import Campaign, Link
    from gateway.event import Judged, Received
    from gateway.flows.house import House, SiteRooms

__all__ = ["Called", "called", "click_life_ms", "landing_of", "touch_of"]

LANDING_MAX: Final = 120
_DAYS_WITHOUT_GOALS: Final = 30
DIRECT_SOURCE: Final = "(direct)"
_BY_LINK: Final = Source("(not set)", "link")

_NOTHING: Final[Mapping[str, str]] = {}

_encode: Final = msgspec.json.Encoder().encode


class Called(NamedTuple):
    """What reports call a contact. `campaign` is JSON: its parameters with those of its link filled in; None for none."""

    channel: str
    source: Source
    campaign: bytes | None


def called(link: "Link", above: "Campaign | None", said: Mapping[str, str]) -> Called:
    """Name a contact by a link of ours. `above` is the link's campaign, `said` the parameters of the address, which win.

    Where neither says a medium, it is the channel the owner gave to the link or its campaign, `affiliate` for an
    ambassador's link, else `link`. The owner's channel is also what a contact is called that GA4's rules do not know.
    """
    return _called(link, above, said) if said else _called_alone(link, above)


def _called(link: "Link", above: "Campaign | None", said: Mapping[str, str]) -> Called:
    filled = {
        name: value
        for name in link.utm.__struct_fields__
        if (value := getattr(link.utm, name) or (getattr(above.utm, name) if above is not None else ""))
    }
    campaign = {**filled, **said}
    owners = (link.channel or (above.channel if above is not None else "")).strip().lower()
    medium = campaign.get("medium") or owners or ("affiliate" if link.ambassador_id else "link")
    name = campaign.get("campaign") or (above.name if above is not None else "")
    source = Source(campaign.get("source") or "(not set)", medium, name)
    channel = channel_of(source)
    named = owners if channel == "unassigned" and owners else channel
    return Called(named, source, _encode(campaign) if campaign else None)


@lru_cache(maxsize=4096)
def _called_alone(link: "Link", above: "Campaign | None") -> Called:
    """What a link says by itself: the same for nearly all its clicks."""
    return _called(link, above, _NOTHING)


def landing_of(url: str | None) -> str:
    """The path of a clean address as reports show it: without query, at most 120 characters."""
    if not url:
        return ""
    _, _, rest = url.partition("://")
    _, slash, path = rest.partition("/")
    return (slash + path).partition("?")[0][:LANDING_MAX]


def click_life_ms(house: "House", rooms: "SiteRooms") -> int:
    """How long the click cookie carries a click of ours: the longest click window of the site's goals, `click_days` at most."""
    shelf = house.shelves[rooms.id]
    windows = [goal.click_window_ms for goal in shelf.goals.values()]
    windows.append(90 * DAY_MS if shelf.has_ambassadors else _DAYS_WITHOUT_GOALS * DAY_MS)
    return min(max(windows), rooms.site.click_days * DAY_MS)


def touch_of(house: "House", rooms: "SiteRooms", judged: "Judged") -> Touch | None:
    """The contact an event tells of, None when it tells of none or another event of the same landing told it before."""
    received, visitor = judged.received, judged.visitor
    if visitor.key is None or not _arrives(received, judged.page.referrer, rooms):
        return None
    granted = judged.judgement.granted
    if not granted & (ANALYTICS | ADVERTISING) or received.device.agent.bot is not None:
        return None
    campaign = received.campaign if granted & ANALYTICS else _NOTHING
    clicks = received.click_ids if granted & ADVERTISING and received.click_seen_at_ms is None else _NOTHING
    referrer = judged.page.referrer if granted & ANALYTICS else None
    if referrer is not None and host_is_under(referrer, rooms.own_domains):
        referrer = None
    landed, code = received.landed_click_id, received.link_code
    shelf = house.shelves[rooms.id]
    link = shelf.held_link(code) if code is not None else None
    kind = "click"
    if link is not None:
        named = called(link, shelf.campaigns.get(link.campaign_id), campaign)
    else:
        source = source_of(campaign, clicks, referrer, rooms.own_domains)
        if source is None:
            return None  # a payment page: the visit goes on
        if landed is not None or code is not None:
            source = _BY_LINK if source.source == DIRECT_SOURCE else source
        elif not campaign and not clicks:
            kind = "direct" if source.source == DIRECT_SOURCE else "referral"
            if kind == "direct" and judged.page.referrer is not None:
                return None  # there was a referrer that may not be looked at
        named = Called(channel_of(source), source, _encode(campaign) if campaign else None)
    if not _first_to_tell(house, received, visitor.key, kind, (landed, code, referrer), campaign, clicks):
        return None
    agent = received.device.agent
    return Touch(
        kind=kind,
        occurred_at_ms=received.occurred_at_ms,
        visitor_key=visitor.key,
        referrer=referrer,
        campaign=named.campaign,
        click_ids=house.vault.seal(_encode(clicks), visitor.key) if clicks else None,
        channel=named.channel,
        source=named.source.source,
        medium=named.source.medium,
        campaign_name=named.source.campaign,
        link_id=link.id if link is not None else code or "",
        campaign_id=link.campaign_id if link is not None else "",
        ambassador_id=link.ambassador_id if link is not None else "",
        landed_click_id=landed,
        device=agent.device,
        os=agent.os,
        browser=agent.browser,
        landing=landing_of(judged.page.url),
        consent=True,
        test=received.test,
    )


def _arrives(received: "Received", referrer: str | None, rooms: "SiteRooms") -> bool:
    """Whether an event may tell of a contact at all. Nearly all events do not, so this is asked first."""
    if (
        received.landed_click_id is not None
        or received.link_code is not None
        or received.campaign
        or (received.click_ids and received.click_seen_at_ms is None)
    ):
        return True
    if referrer is not None:
        return not host_is_under(referrer, rooms.own_domains)
    return _begins_visit(received)


def _first_to_tell(
    house: "House",
    received: "Received",
    visitor_key: bytes,
    kind: str,
    named: tuple[str | None, ...],
    campaign: Mapping[str, str],
    clicks: Mapping[str, str],
) -> bool:
    """Whether no other event told of this arrival lately. A visit without a source begins only where nothing was told."""
    visit = hash((visitor_key, "visit"))
    if kind == "direct":
        return house.clicks.first_to_tell(visit, received.event_id, received.received_at_ms)
    arrival = hash((visitor_key, named, tuple(campaign.items()), tuple(clicks.items())))
    if not house.clicks.first_to_tell(arrival, received.event_id, received.received_at_ms):
        return False
    house.clicks.tell(visit, received.event_id, received.received_at_ms)
    return True


def _begins_visit(received: "Received") -> bool:
    """Whether an event says that a visit begins with it: by its name, or by a session that started no earlier than it."""
    if received.name == "session_start":
        return True
    return received.session is not None and received.session * 1000 + 999 >= received.occurred_at_ms
