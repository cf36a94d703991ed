"""Click: a request on a link is judged, recorded, and answered with the address it leads to.

The click is durable before the answer. A store that is down, full or slow never holds a visitor up: then the redirect is
answered all the same, and the click goes to the spool. A robot's click is recorded as such; what is no click at all (HEAD,
a prefetch, a preview) gets the redirect and leaves nothing.

The slug goes into the address of the landing page always, because it names the link and nobody who opens it; the slug of a
link made for one person goes there like the id of the click: where consent for advertising covers it, or the operator has
another ground. Only under consent is there a cookie, and only for people.
"""

import asyncio
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
    """One request on a link, and what its click is recorded and answered with, as far as that is known.

    `browser` is the digest that tells browsers apart, empty where nothing is remembered of them. `target` is where the link
    leads this time; `variant` is set when it is one of several. `opened` is what the request is answered with.
    """

    request: "Request"
    link: "Link"
    query: str
    now_ms: int
    verdict: clicks.Click
    agent: "Agent"
    opened: "asyncio.Future[Opened]"
    browser: bytes = b""
    target: str = ""
    variant: Variant | None = None
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


def open_link(
    house: "House", rooms: "SiteRooms", request: "Request", link: "Link", query: str, signed: Signed | None = None
) -> "asyncio.Future[Opened]":
    """Answer a request on a link. `query` is raw; `signed` replaces the link's targets. Done when the click is durable.

    Raises Refusal `link_expired`, or `target_invalid` when the settings do not allow the target any more.
    """
    now_ms = house.clock.now_ms()
    opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    if link.expires_at_ms and now_ms >= link.expires_at_ms:
        if not link.expired_target:
            raise Refusal("link_expired")
        opened.set_result(Opened(checked(rooms, link.expired_target), no_referrer=link.no_referrer))
        return opened
    if signed is not None:
        query = signed.query
    visit = _judged(house, rooms, request, link, query, now_ms, opened)
    if link.variants and signed is None:
        visit.variant = _variant(rooms, visit)
    visit.target = signed.target if signed is not None else checked(rooms, _target(visit))
    if visit.verdict.recorded:
        _record(house, rooms, visit)
    else:
        _answer(house, rooms, visit, "")
    return opened


def _answer(house: "House", rooms: "SiteRooms", visit: _Visit, click_id: str, error: Exception | None = None) -> None:
    """Say where the link leads, unless whoever asked is gone."""
    if visit.opened.done():
        return
    if error is not None:
        visit.opened.set_exception(error)
        return
    counts = visit.verdict.counts
    try:
        cookies = _cookies(house, rooms, visit, click_id) if counts and visit.advertising else ()
        named = counts and (visit.advertising or rooms.site.links.click_id == "always")
        location = _location(house, rooms, visit, click_id if named else "", named=named)
    except Exception as fault:  # noqa: BLE001 - whoever waits for the answer has to hear of it
        visit.opened.set_exception(fault)
        return
    human = visit.verdict.human if visit.verdict.recorded else None
    visit.opened.set_result(Opened(location, cookies, visit.link.no_referrer, human))


def _judged(
    house: "House",
    rooms: "SiteRooms",
    request: "Request",
    link: "Link",
    query: str,
    now_ms: int,
    opened: "asyncio.Future[Opened]",
) -> _Visit:
    """Judge whether a person clicks, and what they consented to. Nobody is recognised for a request that is no click."""
    agent = devices.read_agent(request.user_agent)
    browser = b""
    links_opened = 1
    if request.method == "GET" or link.variants:
        day_key = house.vault.daily_key(now_ms // DAY_MS)
        browser = clicks.browser_key(day_key, rooms.id, request.address, request.user_agent or "")
    if link.campaign_id and agent.bot is None and request.method == "GET":
        links_opened = house.clicks.links_opened(clicks.burst_key(browser, link.campaign_id), link.id, now_ms)
    verdict = clicks.judge_click(
        request.method,
        query,
        agent_bot=agent.bot,
        headless="headless" in (request.user_agent or "").lower(),
        purposes=request.purposes,
        referrer_host=links.host_of(request.referer),
        links_of_visitor_in_10s=links_opened,
    )
    visit = _Visit(request, link, query, now_ms, verdict, agent, opened, browser)
    if verdict.human == "no":
        return visit
    visit.token, _, said = hear(house, rooms, request, now_ms)
    visit.judgement = rooms.judge(said, None).own
    if visit.advertising and rooms.click_cookie in request.cookie:
        values = identity.cookie_values(request.cookie, rooms.click_cookie)
        visit.kept = identity.read_clicks(rooms.keys, values, now_ms, rooms.site.click_days)
        visit.own = identity.read_own_click(rooms.keys, values, now_ms)
    return visit


# ------------------------------------------------------------------ where it leads


def _variant(rooms: "SiteRooms", visit: _Visit) -> Variant | None:
    """The variant this browser gets: the one its cookie names, else one that stays the same for it until the day ends."""
    link = visit.link
    key = clicks.repeat_key(visit.browser, f"variant of {link.id}")
    fraction = int.from_bytes(key[:6]) / _FRACTION
    return clicks.choose_variant(link, visit.own.variants.get(link.id), fraction)


def _target(visit: _Visit) -> str:
    link, system = visit.link, visit.agent.os
    if link.ios_target and system == "ios":
        return link.ios_target
    if link.android_target and system == "android":
        return link.android_target
    return visit.variant.target if visit.variant is not None else link.target


def _location(house: "House", rooms: "SiteRooms", visit: _Visit, click_id: str, *, named: bool) -> str:
    """The address of the landing page. What links add without a query is the same for all clicks but for the click id."""
    link, query, target = visit.link, visit.query, visit.target
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


def _cookies(house: "House", rooms: "SiteRooms", visit: _Visit, click_id: str) -> tuple[str, ...]:
    """The click cookie, where the host that is asked may set one that the site's own host is sent."""
    domain = rooms.site.cookie_domain
    host = visit.request.host.lower().rpartition(":")[0] or visit.request.host.lower()
    if house.by_host.get(host) is not rooms and (domain is None or not (host == domain or host.endswith(f".{domain}"))):
        return ()
    until_s = (visit.now_ms + click_life_ms(house, rooms)) // 1000
    own = identity.OwnClick(click_id, until_s, visit.own.variants)
    if visit.variant is not None:
        own = own.given(visit.link.id, visit.variant.id)
    ids, seen_at_ms = visit.kept if visit.kept is not None else ({}, visit.now_ms)
    cookie = click_cookie(rooms, ids, seen_at_ms, own, visit.now_ms)
    return (cookie,) if cookie is not None else ()


# ------------------------------------------------------------------ recording


def _record(house: "House", rooms: "SiteRooms", visit: _Visit) -> None:
    """Record a click, or count it as a repeat of an earlier one, and answer.

    Robots' clicks have an id too, by which their repeats are counted; nobody is ever told it.
    """
    key = clicks.repeat_key(visit.browser, visit.link.id)
    visitor_key = rooms.visitor_key(visit.token.visitor_id) if visit.token is not None and visit.consent else None
    earlier = house.clicks.earlier(key)
    if (
        earlier is None
        or earlier.verdict != visit.verdict.human
        or earlier.consent != visit.consent
        or earlier.visitor_key not in (None, visitor_key)
        or not clicks.is_repeat(earlier.at_ms, visit.now_ms, visit.link.repeat_window_s)
    ):
        _record_new(house, rooms, visit, key, visitor_key)
        return
    click_id = earlier.click_id

    def counted(known: bool, error: Exception | None) -> None:
        if known or error is not None:
            _answer(house, rooms, visit, click_id, error)
            return
        try:
            if house.clicks.earlier(key) is earlier:
                house.clicks.forget(key)
                _record_new(house, rooms, visit, key, visitor_key)
            else:
                _record(
                    house, rooms, visit
                )  # another repeat heard the same before, and is recorded: this one repeats it
        except Exception as fault:  # noqa: BLE001 - whoever waits for the answer has to hear of it
            _answer(house, rooms, visit, "", fault)

    count_repeat(house, rooms, click_id, counted)


def _record_new(house: "House", rooms: "SiteRooms", visit: _Visit, key: bytes, visitor_key: bytes | None) -> None:
    click_id = codes.click_id(house.clicks.id_bytes(house.entropy.token_bytes))
    house.clicks.remember(key, Earlier(visit.now_ms, click_id, visit.verdict.human, visit.consent, visitor_key))

    def kept(error: Exception | None) -> None:
        _answer(house, rooms, visit, click_id, error)
        if error is None and visit.verdict.human == "yes":
            note_click(house, rooms, visit.request, click_id, consent=visit.consent, now_ms=visit.now_ms)

    keep_click(house, rooms, _touch(house, rooms, visit, click_id), kept)


def _touch(house: "House", rooms: "SiteRooms", visit: _Visit, click_id: str) -> Touch:
    """The click as it is kept: no address, no agent text; a visitor and a referrer only under consent."""
    link, query = visit.link, visit.query
    said = read_arrival(f"?{query}").campaign if query else {}
    named = called(link, house.shelves[rooms.id].campaigns.get(link.campaign_id), said)
    visitor_key = referrer = None
    if visit.judgement is not None:
        if visit.token is not None and consent.keeps_visitor(visit.judgement, rooms.id_needs):
            visitor_key = rooms.visitor_key(visit.token.visitor_id)
        if visit.judgement.granted & ANALYTICS:
            referrer = links.host_of(visit.request.referer)
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
        variant=visit.variant.id if visit.variant is not None else "",
        click_id=click_id,
        device=visit.agent.device,
        os=visit.agent.os,
        browser=visit.agent.browser,
        landing=_landing(visit.target),
        human=visit.verdict.human,
        human_reason=visit.verdict.reason,
        consent=visit.consent,
    )
