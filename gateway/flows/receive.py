"""Receive: a browser's hit is read, recognised, judged, recorded; only then is it answered.

No store is read on this way: identity, last choice and click ids travel in signed first-party cookies.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, devices, identity, links
from gateway.errors import Refusal
from gateway.event import NOBODY, Device, Judged, Personal, Received, Submission, Visitor
from gateway.flows.assemble import assemble, clean_page, clean_props, clean_rest
from gateway.flows.judging import Said, Verdicts
from gateway.flows.request import Collected, Request
from gateway.protocols import native
from gateway.purposes import ADVERTISING, ANALYTICS, Judgement
from gateway.signals.carried import StoredChoice
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.identity import Receipt

__all__ = [
    "PLATFORM_COOKIES",
    "Prepared",
    "check_origin",
    "collect",
    "collect_pixel",
    "follow_link",
    "prepare",
    "stored_choice",
    "tell",
]

PLATFORM_COOKIES: Final = {"_fbp": ADVERTISING, "_fbc": ADVERTISING, "_ga": ANALYTICS}
"""Cookies of vendors' own tags that may be read, each under the purpose that covers it."""


class Prepared(msgspec.Struct):
    """A browser's request, read, judged and ready to be stored. `submission` None: nothing of it is kept."""

    collected: Collected
    submission: Submission | None


async def collect(house: "House", rooms: "SiteRooms", request: Request) -> Collected:
    """Take a `POST /collect`. Raises Refusal, or a StoreError when nothing could be made durable."""
    prepared = prepare(house, rooms, request)
    if prepared.submission is not None:
        await house.store.submit(prepared.submission)
        tell(house, rooms, prepared)
    return prepared.collected


def prepare(house: "House", rooms: "SiteRooms", request: Request) -> Prepared:
    """Do everything for a `POST /collect` but the storing. Raises Refusal."""
    marks = check_origin(rooms, request)
    now_ms = house.clock.now_ms()
    parsed = native.read(request.body, _arrived(house, rooms, request, now_ms))
    return _prepared(house, rooms, request, now_ms, parsed, marks)


async def collect_pixel(house: "House", rooms: "SiteRooms", request: Request) -> Collected:
    """Take a `GET /p.gif`. Prefetched images are answered and not counted."""
    if devices.is_prefetch(request.purposes):
        return Collected(dropped="prefetch")
    marks = check_origin(rooms, request)
    now_ms = house.clock.now_ms()
    parsed = native.read_pixel(request.query, request.referer, _arrived(house, rooms, request, now_ms))
    prepared = _prepared(house, rooms, request, now_ms, parsed, marks)
    if prepared.submission is not None:
        await house.store.submit(prepared.submission)
        tell(house, rooms, prepared)
    return prepared.collected


def tell(house: "House", rooms: "SiteRooms", prepared: Prepared) -> None:
    """Count what became durable, and wake the destinations that are owed something."""
    items = prepared.submission.items if prepared.submission is not None else ()
    house.telemetry.events_received(rooms.id, "browser", len(items), prepared.collected.marks)
    for item in items:
        for owed in item.owed:
            house.telemetry.delivery_owed(rooms.id, owed.destination, owed.fate)
            if owed.fate == "waiting":
                house.nudge(rooms.id, owed.destination)


def check_origin(rooms: "SiteRooms", request: Request) -> tuple[str, ...]:
    """Whether a page of this domain may send here. This keeps other sites' pages out; it authenticates nobody.

    Origin decides, else Referer; with neither the site's `missing_origin` setting. Raises Refusal `domain_not_allowed`.
    """
    said = request.origin if request.origin is not None else request.referer
    if said is None:
        if rooms.site.missing_origin == "refuse":
            raise Refusal("domain_not_allowed")
        return ("origin_missing",)
    if not rooms.allows(said):
        raise Refusal("domain_not_allowed")
    return ()


def _arrived(house: "House", rooms: "SiteRooms", request: Request, now_ms: int) -> native.Arrived:
    agent = request.user_agent
    return native.Arrived(
        site=rooms.id,
        trust="browser",
        received_at_ms=now_ms,
        currency=rooms.site.currency,
        batch_max=house.settings.limits.batch_events_max,
        new_id=house.new_event_id,
        device=Device(
            ip=Personal(request.address),
            user_agent=Personal(agent[: devices.USER_AGENT_MAX_CHARACTERS]) if agent else None,
            language=request.language,
            agent=devices.read_agent(agent),
        ),
    )


def _prepared(
    house: "House",
    rooms: "SiteRooms",
    request: Request,
    now_ms: int,
    parsed: native.Parsed,
    marks: tuple[str, ...],
) -> Prepared:
    cookie = request.cookie
    token: identity.Token | None = None
    if rooms.id_cookie in cookie:
        values = identity.cookie_values(cookie, rooms.id_cookie)
        token, mark = identity.recognise(rooms.keys, values, now_ms // DAY_MS, rooms.site.id_days)
        if mark is not None:
            marks = (*marks, mark)
    stored = None
    if rooms.consent_cookie in cookie:
        values = identity.cookie_values(cookie, rooms.consent_cookie)
        stored = stored_choice(rooms, identity.read_receipt(rooms.keys, values, now_ms), now_ms)
    if token is not None and house.recent_refusals:
        stored = _refused_lately(house, rooms, token, stored, now_ms)
    said = Said(
        stored=stored,
        sec_gpc=(*request.sec_gpc, "1") if parsed.gpc else request.sec_gpc,
        dnt=request.dnt,
        cookie=request.cookie_octets,
        place=house.place_of(request.place, request.address),
        now_ms=now_ms,
    )
    cookies: dict[str, str] = {}
    visitor: Visitor | None = None
    items = []
    dropped = None
    alike: Received | None = None
    judgement: Judgement | None = None
    verdicts: Verdicts | None = None
    noted: tuple[str, ...] = ()
    counted = list(marks)  # of all events; an event itself carries its own marks and those of the request
    for received in parsed.events:
        if alike is None or verdicts is None or judgement is None or not _says_the_same(received, alike):
            alike = received
            verdicts = rooms.judge(said, received)
            judgement = verdicts.own
            noted = verdicts.noted
            counted += noted
            visitor = None
        own: tuple[str, ...] = ()
        if rooms.site.without_analytics == "nothing" and not consent.keeps_details(judgement):
            dropped = "consent"
            continue
        arrival = links.read_arrival(received.url)
        if arrival.malformed:
            own = ("click_id_malformed",)
        if visitor is None:
            if arrival.link_token is not None:
                token, linked = follow_link(
                    house, rooms, arrival.link_token, links.host_of(received.url), token, now_ms
                )
                own += linked
            token, visitor = _visitor(house, rooms, request, judgement, token, now_ms, cookies)
        if received.click_ids:
            named = links.read_click_ids(received.click_ids)
            received = msgspec.structs.replace(received, click_ids=named.click_ids)
            if named.unknown or named.malformed:
                own += ("click_id_malformed",)
        if arrival.campaign or arrival.click_ids or received.click_ids or cookie:
            received = _with_arrival(rooms, request, received, arrival, verdicts, now_ms, cookies)
        received = clean_rest(received)
        counted += own
        judged = Judged(
            received,
            visitor,
            judgement,
            clean_page(received),
            clean_props(received),
            marks + noted + own + received.marks,
            verdicts.others,
        )
        items.append(assemble(house, rooms, judged))
    collected = Collected(cookies=tuple(cookies.values()), dropped=dropped, marks=tuple(counted))
    return Prepared(collected, Submission(tuple(items)) if items else None)


def _says_the_same(one: Received, other: Received) -> bool:
    """Whether two events of a request say the same about consent, so that one judgement serves both."""
    return (
        one.claim == other.claim
        and one.signals == other.signals
        and one.minor == other.minor
        and one.sensitive == other.sensitive
    )


def stored_choice(rooms: "SiteRooms", receipt: "Receipt | None", now_ms: int) -> StoredChoice | None:
    """A recorded choice as a signal. Its grants count while they are young enough and the notice is the same."""
    if receipt is None:
        return None
    young = now_ms - receipt.decided_at_ms <= rooms.site.choice_days * DAY_MS
    return StoredChoice(
        receipt.granted, receipt.denied, receipt.decided_at_ms, young and receipt.notice == rooms.site.notice_version
    )


def _refused_lately(
    house: "House", rooms: "SiteRooms", token: identity.Token, stored: StoredChoice | None, now_ms: int
) -> StoredChoice | None:
    """Add what this visitor refused since the start: a hit that left the page before its new receipt arrived."""
    denied = house.recent_refusals.get(rooms.visitor_key(token.visitor_id), 0)
    if not denied:
        return stored
    if stored is None:
        return StoredChoice(0, denied, now_ms, True)
    return StoredChoice(stored.granted & ~denied, stored.denied | denied, stored.at_ms, stored.current)


def follow_link(
    house: "House",
    rooms: "SiteRooms",
    link_token: str | None,
    page_host: str | None,
    token: identity.Token | None,
    now_ms: int,
) -> tuple[identity.Token | None, tuple[str, ...]]:
    """Take over the id of a link token from another domain of the owner, unless this browser has an id already.

    A token is taken once. Tokens from before this process started are not taken: whether they were used is not known.
    Answers the id token to go on with and marks.
    """
    if link_token is None:
        return token, ()
    claim = identity.read_link(rooms.keys, link_token, page_host or "", now_ms)
    if claim is not None and token is not None and claim.visitor_id == token.visitor_id:
        return token, ()
    if claim is None or claim.issued_at_s < house.started_at_s or claim.digest in house.used_links:
        return token, ("link_invalid",)
    if token is not None:
        return token, ("link_not_needed",)
    house.used_links[claim.digest] = claim.issued_at_s
    for digest in [d for d, at_s in house.used_links.items() if now_ms // 1000 - at_s > identity.LINK_LIFE_S]:
        del house.used_links[digest]
    return identity.Token(claim.visitor_id, claim.issued_day, 0, True), ("linked",)


def _visitor(
    house: "House",
    rooms: "SiteRooms",
    request: Request,
    judgement: Judgement,
    token: identity.Token | None,
    now_ms: int,
    cookies: dict[str, str],
) -> tuple[identity.Token | None, Visitor]:
    """Keep, renew, issue or delete the id, as the judgement allows. Answers the token too, should it be new."""
    site, today = rooms.site, now_ms // DAY_MS
    if consent.keeps_visitor(judgement, rooms.id_needs):
        if token is None:
            token = identity.Token(house.new_visitor_id(), today, 0, True)
        if identity.renewal_due(token, today):
            value = identity.sign_token(rooms.keys, token.visitor_id, token.issued_day, today)
            cookies["id"] = identity.set_cookie(rooms.shape, identity.ID_COOKIE, value, site.id_days * 86_400)
        return token, Visitor("signed", token.visitor_id, rooms.visitor_key(token.visitor_id), token.issued_day)
    if rooms.id_cookie in request.cookie:
        cookies["id"] = identity.expired_cookie(rooms.shape, identity.ID_COOKIE)
    if site.cookieless == "daily":
        day_key = house.vault.daily_key(today)
        found = identity.daily_id(day_key, rooms.id, request.address, request.user_agent or "")
        return token, Visitor("daily", None, house.vault.digest("daily", rooms.id, found))
    return token, NOBODY


def _with_arrival(
    rooms: "SiteRooms",
    request: Request,
    received: Received,
    arrival: links.Arrival,
    verdicts: Verdicts,
    now_ms: int,
    cookies: dict[str, str],
) -> Received:
    """Add what the page address and the cookies say about campaigns and clicks, as far as consent allows to use it.

    What the site itself may not keep, a destination that was permitted by name may still be told of: then it is carried
    on for the length of this request, and no cookie is set.
    """
    cookie = request.cookie
    usable = verdicts.granted_to_some if verdicts.others else verdicts.own.granted
    platform_ids = {
        name: values[0]
        for name, purpose in PLATFORM_COOKIES.items()
        if name in cookie and usable & purpose and len(values := identity.cookie_values(cookie, name)) == 1
    }
    if not verdicts.own.granted & ADVERTISING:
        if rooms.click_cookie in cookie:
            cookies["click"] = identity.expired_cookie(rooms.shape, identity.CLICK_COOKIE)
        clicks = {**received.click_ids, **arrival.click_ids} if usable & ADVERTISING else {}
        if not arrival.campaign and not platform_ids and not clicks and not received.click_ids:
            return received
        return msgspec.structs.replace(received, campaign=arrival.campaign, click_ids=clicks, platform_ids=platform_ids)
    kept = None
    if rooms.click_cookie in cookie:
        values = identity.cookie_values(cookie, rooms.click_cookie)
        kept = identity.read_clicks(rooms.keys, values, now_ms, rooms.site.click_days)
    clicks = {**received.click_ids, **arrival.click_ids}
    if not clicks and kept is None and not platform_ids and not arrival.campaign:
        return received
    if clicks and (kept is None or any(kept[0].get(name) != value for name, value in clicks.items())):
        value = identity.sign_clicks(rooms.keys, {**(kept[0] if kept else {}), **clicks}, now_ms)
        if value is not None:
            cookies["click"] = identity.set_cookie(
                rooms.shape, identity.CLICK_COOKIE, value, rooms.site.click_days * 86_400
            )
    seen_at_ms: int | None = None
    if kept is not None:
        seen_at_ms = kept[1] if not clicks else None
        clicks = {**kept[0], **clicks}
    return msgspec.structs.replace(
        received,
        campaign=arrival.campaign,
        click_ids=clicks,
        click_seen_at_ms=seen_at_ms,
        platform_ids=platform_ids,
    )
