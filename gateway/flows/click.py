"""Click: a request on a link is judged, recorded, and answered with the address it leads to.

The click is durable before the answer. A store that is down, full or slow never holds a visitor up: then the redirect is
answered all the same, and the click goes to the spool. A robot's click is recorded as such; what is no click at all (HEAD,
a prefetch, a preview) gets the redirect and leaves nothing.

The slug goes into the address of the landing page always, because it names the link and nobody who opens it; the slug of a
link made for one person goes there like the id of the click: where consent for advertising covers it, or the operator has
another ground. Only under consent is there a cookie, and only for people.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, devices, identity, links
from gateway.catalogue import Utm, Variant
from gateway.errors import Refusal
from gateway.event import Touch
from gateway.flows.addresses import Signed, checked
from gateway.flows.click_keeping import count_repeat, keep_click
from gateway.flows.click_memory import Earlier
from gateway.flows.inferring import note_click
from gateway.flows.receive import click_cookie, hear
from gateway.flows.touching import called, click_life_ms, landing_of
from gateway.links import clicks, codes, targets
from gateway.links.arrival import read_arrival
from gateway.purposes import ADVERTISING, ANALYTICS, Judgement
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.catalogue import Link
    from gateway.event import Agent
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.identity import OwnClick, Token
    from gateway.settings import Links as LinkSettings

__all__ = ["Opened", "open_link"]

_FRACTION: Final = 1 << 48


class Opened(msgspec.Struct, frozen=True):
    """What a request on a link is answered with. `human` is None when it was no click."""

    location: str
    cookies: tuple[str, ...] = ()
    no_referrer: bool = False
    human: str | None = None


class _Visit(msgspec.Struct):
    """What one click is recorded and answered with, as far as it is known."""

    now_ms: int
    verdict: clicks.Click
    agent: "Agent"
    judgement: Judgement | None = None
    token: "Token | None" = None
    own: "OwnClick" = identity.NO_CLICK
    kept: tuple[dict[str, str], int] | None = None

    @property
    def consent(self) -> bool:
        """Whether the click may be used for attribution."""
        return self.judgement is not None and bool(self.judgement.granted & (ANALYTICS | ADVERTISING))

    @property
    def advertising(self) -> bool:
        """Whether the click may be named to the page it leads to, and kept in a cookie."""
        return self.judgement is not None and bool(self.judgement.granted & ADVERTISING)


async def open_link(
    house: "House", rooms: "SiteRooms", request: "Request", link: "Link", query: str, signed: Signed | None = None
) -> Opened:
    """Answer a request on a link. `query` is raw; `signed` replaces the link's targets.

    Raises Refusal `link_expired`, or `target_invalid` when the settings do not allow the target any more.
    """
    now_ms = house.clock.now_ms()
    if link.expires_at_ms and now_ms >= link.expires_at_ms:
        if not link.expired_target:
            raise Refusal("link_expired")
        return Opened(checked(rooms, link.expired_target), no_referrer=link.no_referrer)
    if signed is not None:
        query = signed.query
    visit = _judged(house, rooms, request, link, query, now_ms)
    variant = _variant(house, rooms, request, link, visit) if link.variants and signed is None else None
    target = signed.target if signed is not None else checked(rooms, _target(link, visit.agent, variant))
    click_id = ""
    if visit.verdict.recorded:
        click_id = await _recorded(house, rooms, request, link, query, target, variant, visit)
    counts = visit.verdict.counts
    cookies = _cookies(house, rooms, request, link, variant, click_id, visit) if counts and visit.advertising else ()
    named = counts and (visit.advertising or rooms.site.links.click_id == "always")
    location = _location(house, rooms, link, query, target, click_id if named else "", named=named)
    return Opened(location, cookies, link.no_referrer, visit.verdict.human if visit.verdict.recorded else None)


def _judged(house: "House", rooms: "SiteRooms", request: "Request", link: "Link", query: str, now_ms: int) -> _Visit:
    """Judge whether a person clicks, and what they consented to. Nobody is recognised for a request that is no click."""
    agent = devices.read_agent(request.user_agent)
    opened = 1
    if link.campaign_id and agent.bot is None and request.method == "GET":
        key = clicks.burst_key(
            house.vault.daily_key(now_ms // DAY_MS),
            rooms.id,
            link.campaign_id,
            request.address,
            request.user_agent or "",
        )
        opened = house.clicks.links_opened(key, link.id, now_ms)
    verdict = clicks.judge_click(
        request.method,
        query,
        agent_bot=agent.bot,
        headless="headless" in (request.user_agent or "").lower(),
        purposes=request.purposes,
        referrer_host=links.host_of(request.referer),
        links_of_visitor_in_10s=opened,
    )
    if verdict.human == "no":
        return _Visit(now_ms, verdict, agent)
    token, _, said = hear(house, rooms, request, now_ms)
    visit = _Visit(now_ms, verdict, agent, rooms.judge(said, None).own, token)
    if visit.advertising and rooms.click_cookie in request.cookie:
        values = identity.cookie_values(request.cookie, rooms.click_cookie)
        visit.kept = identity.read_clicks(rooms.keys, values, now_ms, rooms.site.click_days)
        visit.own = identity.read_own_click(rooms.keys, values, now_ms)
    return visit


# ------------------------------------------------------------------ where it leads


def _variant(house: "House", rooms: "SiteRooms", request: "Request", link: "Link", visit: _Visit) -> Variant | None:
    """The variant this browser gets: the one its cookie names, else one that stays the same for it until the day ends."""
    key = clicks.repeat_key(
        house.vault.daily_key(visit.now_ms // DAY_MS),
        rooms.id,
        f"variant of {link.id}",
        request.address,
        request.user_agent or "",
    )
    fraction = int.from_bytes(key[:6]) / _FRACTION
    return clicks.choose_variant(link, visit.own.variants.get(link.id), fraction)


def _target(link: "Link", agent: "Agent", variant: Variant | None) -> str:
    if link.ios_target and agent.os == "ios":
        return link.ios_target
    if link.android_target and agent.os == "android":
        return link.android_target
    return variant.target if variant is not None else link.target


def _location(
    house: "House", rooms: "SiteRooms", link: "Link", query: str, target: str, click_id: str, *, named: bool
) -> str:
    """The address of the landing page. What links add without a query is the same for all clicks but for the click id."""
    shelf = house.shelves[rooms.id]
    above = shelf.campaigns.get(link.campaign_id)
    ambassador = shelf.ambassadors.get(link.ambassador_id)
    utm = above.utm if above is not None else _NO_UTM
    via = ambassador.code if ambassador is not None else ""
    code = link.code if named or not link.recipient else ""
    if query or _PLACEHOLDER in target:
        return _built(rooms.site.links, link, utm, via, code, target, click_id, query)
    if not click_id:
        return _kept(rooms.site.links, link, utm, via, code, target, "")
    before, _, after = _kept(rooms.site.links, link, utm, via, code, target, _PLACEHOLDER).rpartition(_PLACEHOLDER)
    return before + click_id + after


def _built(
    names: "LinkSettings", link: "Link", utm: Utm, via: str, code: str, target: str, click_id: str, query: str = ""
) -> str:
    return targets.build_target(
        link,
        utm=utm,
        incoming_query=query,
        ambassador_code=via,
        click_id=click_id,
        click_parameter=names.click_parameter,
        link_code=code,
        via_parameter=names.via_parameter,
        code_parameter=names.code_parameter,
        target=target,
    )


_kept: Final = lru_cache(maxsize=4096)(_built)


_NO_UTM: Final = Utm()
_PLACEHOLDER: Final = "0" * 22
"""Stands for a click id in an address that is kept. Where it stands last, the click id belongs: see `build_target`."""


@lru_cache(maxsize=4096)
def _landing(target: str) -> str:
    return landing_of(links.clean_url(target))


def _cookies(
    house: "House",
    rooms: "SiteRooms",
    request: "Request",
    link: "Link",
    variant: Variant | None,
    click_id: str,
    visit: _Visit,
) -> tuple[str, ...]:
    """The click cookie, where the host that is asked may set one that the site's own host is sent."""
    domain = rooms.site.cookie_domain
    host = request.host.lower().rpartition(":")[0] or request.host.lower()
    if house.by_host.get(host) is not rooms and (domain is None or not (host == domain or host.endswith(f".{domain}"))):
        return ()
    until_s = (visit.now_ms + click_life_ms(house, rooms)) // 1000
    own = identity.OwnClick(click_id, until_s, visit.own.variants)
    if variant is not None:
        own = own.given(link.id, variant.id)
    ids, seen_at_ms = visit.kept if visit.kept is not None else ({}, visit.now_ms)
    cookie = click_cookie(rooms, ids, seen_at_ms, own, visit.now_ms)
    return (cookie,) if cookie is not None else ()


# ------------------------------------------------------------------ recording


async def _recorded(
    house: "House",
    rooms: "SiteRooms",
    request: "Request",
    link: "Link",
    query: str,
    target: str,
    variant: Variant | None,
    visit: _Visit,
) -> str:
    """Record a click, or count it as a repeat of an earlier one. Answers its id.

    Robots' clicks have an id too, by which their repeats are counted; nobody is ever told it.
    """
    key = clicks.repeat_key(
        house.vault.daily_key(visit.now_ms // DAY_MS), rooms.id, link.id, request.address, request.user_agent or ""
    )
    visitor_key = rooms.visitor_key(visit.token.visitor_id) if visit.token is not None and visit.consent else None
    earlier = house.clicks.earlier(key)
    if (
        earlier is not None
        and earlier.verdict == visit.verdict.human
        and earlier.consent == visit.consent
        and earlier.visitor_key in (None, visitor_key)
        and clicks.is_repeat(earlier.at_ms, visit.now_ms, link.repeat_window_s)
    ):
        if await count_repeat(house, rooms, earlier.click_id):
            return earlier.click_id
        house.clicks.forget(key)
    click_id = codes.click_id(house.entropy.token_bytes(codes.CLICK_ID_BYTES))
    house.clicks.remember(key, Earlier(visit.now_ms, click_id, visit.verdict.human, visit.consent, visitor_key))
    touch = _touch(house, rooms, request, link, query, target, variant, visit, click_id)
    await keep_click(house, rooms, touch)
    if visit.verdict.human == "yes":
        note_click(house, rooms, request, click_id, consent=visit.consent, now_ms=visit.now_ms)
    return click_id


def _touch(
    house: "House",
    rooms: "SiteRooms",
    request: "Request",
    link: "Link",
    query: str,
    target: str,
    variant: Variant | None,
    visit: _Visit,
    click_id: str,
) -> Touch:
    """The click as it is kept: no address, no agent text; a visitor and a referrer only under consent."""
    said = read_arrival(f"?{query}").campaign if query else {}
    named = called(link, house.shelves[rooms.id].campaigns.get(link.campaign_id), said)
    visitor_key = referrer = None
    if visit.judgement is not None:
        if visit.token is not None and consent.keeps_visitor(visit.judgement, rooms.id_needs):
            visitor_key = rooms.visitor_key(visit.token.visitor_id)
        if visit.judgement.granted & ANALYTICS:
            referrer = links.host_of(request.referer)
    return Touch(
        kind="qr" if query and "qr" in targets.read_reserved(query) else "click",
        occurred_at_ms=visit.now_ms,
        visitor_key=visitor_key,
        referrer=referrer,
        campaign=named.campaign,
        click_ids=None,
        channel=named.channel,
        source=named.source.source,
        medium=named.source.medium,
        campaign_name=named.source.campaign,
        link_id=link.id,
        campaign_id=link.campaign_id,
        ambassador_id=link.ambassador_id,
        variant=variant.id if variant is not None else "",
        click_id=click_id,
        device=visit.agent.device,
        os=visit.agent.os,
        browser=visit.agent.browser,
        landing=_landing(target),
        human=visit.verdict.human,
        human_reason=visit.verdict.reason,
        consent=visit.consent,
    )
