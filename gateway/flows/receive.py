"""Receive: a browser's hit is read, recognised, judged, recorded; only then is it answered.

No store is read on this way: identity, last choice and click ids travel in signed first-party cookies.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, devices, identity, links
from gateway.errors import Refusal
from gateway.event import NOBODY, Device, Judged, Personal, Received, Submission, Visitor
from gateway.flows.assemble import assemble, clean_page, clean_props, clean_rest
from gateway.flows.claiming import DROPPED, GOAL_UNKNOWN, names_unknown_goal
from gateway.flows.judging import Said, Verdicts
from gateway.flows.request import Collected, Request
from gateway.flows.touching import click_life_ms
from gateway.protocols import native
from gateway.purposes import ADVERTISING, ANALYTICS, Judgement
from gateway.signals.carried import StoredChoice
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.event import Submitted
    from gateway.flows.house import House, SiteRooms
    from gateway.identity import Receipt

__all__ = [
    "PLATFORM_COOKIES",
    "Prepared",
    "check_origin",
    "click_cookie",
    "collect",
    "collect_pixel",
    "follow_link",
    "hear",
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
        tell(house, rooms, prepared, await house.store.submit(prepared.submission))
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
        tell(house, rooms, prepared, await house.store.submit(prepared.submission))
    return prepared.collected


def tell(house: "House", rooms: "SiteRooms", prepared: Prepared, submitted: "Submitted") -> None:
    """Count what became durable, and wake whoever has something to do."""
    items = prepared.submission.items if prepared.submission is not None else ()
    house.telemetry.events_received(rooms.id, "browser", len(items), prepared.collected.marks)
    for item, recorded in zip(items, submitted.recorded, strict=True):
        if not item.plain:
            house.stored(rooms.id, item, recorded.fate)


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
    token, mark, said = hear(house, rooms, request, now_ms, gpc=parsed.gpc)
    if mark is not None:
        marks = (*marks, mark)
    cookies: dict[str, str] = {}
    visitor: Visitor | None = None
    items = []
    dropped = None
    alike: Received | None = None
    judgement: Judgement | None = None
    verdicts: Verdicts | None = None
    noted: tuple[str, ...] = ()
    named = rooms.site.links
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
        arrival = links.read_arrival(received.url, named.click_parameter, named.code_parameter)
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
            clicks = links.read_click_ids(received.click_ids)
            received = msgspec.structs.replace(received, click_ids=clicks.click_ids)
            if clicks.unknown or clicks.malformed:
                own += ("click_id_malformed",)
        if (
            cookie or arrival.campaign or arrival.click_ids or arrival.click_id or arrival.link_code
            or received.click_ids or received.click_id is not None
        ):  # fmt: skip
            received = _with_arrival(house, rooms, request, received, arrival, verdicts, now_ms, cookies)
        received = clean_rest(received)
        if received.goal is not None and names_unknown_goal(house, rooms, received):
            own += (GOAL_UNKNOWN,)
        counted += own
        judged = Judged(
            received,
            visitor,
            judgement,
            clean_page(received, named),
            clean_props(received),
            marks + noted + own + received.marks,
            verdicts.others,
        )
        try:
            items.append(assemble(house, rooms, judged, sender=request.origin or request.referer))
        except Refusal as refusal:
            if refusal.code not in DROPPED:
                raise
            dropped = refusal.code
    collected = Collected(cookies=tuple(cookies.values()), dropped=dropped, marks=tuple(counted))
    return Prepared(collected, Submission(tuple(items)) if items else None)


def hear(
    house: "House", rooms: "SiteRooms", request: Request, now_ms: int, *, gpc: bool = False
) -> tuple[identity.Token | None, str | None, Said]:
    """Whom the id cookies of a browser's request point at, with a mark, and what it says about consent.

    `gpc`: the page said that the browser sends Global Privacy Control.
    """
    cookie = request.cookie
    token: identity.Token | None = None
    mark: str | None = None
    if rooms.id_cookie in cookie:
        values = identity.cookie_values(cookie, rooms.id_cookie)
        token, mark = identity.recognise(rooms.keys, values, now_ms // DAY_MS, rooms.site.id_days)
    stored = None
    if rooms.consent_cookie in cookie:
        values = identity.cookie_values(cookie, rooms.consent_cookie)
        stored = stored_choice(rooms, identity.read_receipt(rooms.keys, values, now_ms), now_ms)
    if token is not None and house.recent_refusals:
        stored = _refused_lately(house, rooms, token, stored, now_ms)
    said = Said(
        stored=stored,
        sec_gpc=(*request.sec_gpc, "1") if gpc else request.sec_gpc,
        dnt=request.dnt,
        cookie=request.cookie_octets,
        place=house.place_of(request.place, request.address),
        now_ms=now_ms,
    )
    return token, mark, said


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
    house: "House",
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
    changes: dict[str, object] = {}
    if arrival.campaign:
        changes["campaign"] = arrival.campaign
    platform_ids = {
        name: values[0]
        for name, purpose in PLATFORM_COOKIES.items()
        if name in cookie and usable & purpose and len(values := identity.cookie_values(cookie, name)) == 1
    }
    if platform_ids:
        changes["platform_ids"] = platform_ids
    own = identity.NO_CLICK
    if verdicts.own.granted & ADVERTISING:
        own = _with_clicks(house, rooms, request, received, arrival, now_ms, cookies, changes)
    else:
        if rooms.click_cookie in cookie:
            cookies["click"] = identity.expired_cookie(rooms.shape, identity.CLICK_COOKIE)
        clicks = {**received.click_ids, **arrival.click_ids} if usable & ADVERTISING else {}
        if clicks or received.click_ids:
            changes["click_ids"] = clicks
    _name_click(rooms, received, arrival, verdicts.own, own, changes)
    return msgspec.structs.replace(received, **changes) if changes else received


def _with_clicks(
    house: "House",
    rooms: "SiteRooms",
    request: Request,
    received: Received,
    arrival: links.Arrival,
    now_ms: int,
    cookies: dict[str, str],
    changes: dict[str, object],
) -> identity.OwnClick:
    """Under consent for advertising: join click ids of the address with those of the click cookie, and keep what is new.

    Answers the click on a link of ours that this browser came by, as far as it is known.
    """
    kept, own = None, identity.NO_CLICK
    if rooms.click_cookie in request.cookie:
        values = identity.cookie_values(request.cookie, rooms.click_cookie)
        kept = identity.read_clicks(rooms.keys, values, now_ms, rooms.site.click_days)
        own = identity.read_own_click(rooms.keys, values, now_ms)
    clicks = {**received.click_ids, **arrival.click_ids}
    new = bool(clicks) and (kept is None or any(kept[0].get(name) != value for name, value in clicks.items()))
    newly_landed = arrival.click_id is not None and arrival.click_id != own.click_id
    if newly_landed and arrival.click_id is not None:
        until_s = (now_ms + click_life_ms(house, rooms)) // 1000
        own = identity.OwnClick(arrival.click_id, until_s, own.variants)
    if new or newly_landed:
        ids = {**(kept[0] if kept else {}), **clicks}
        cookie = click_cookie(rooms, ids, now_ms if new or kept is None else kept[1], own, now_ms)
        if cookie is not None:
            cookies["click"] = cookie
    if kept is not None:
        changes["click_seen_at_ms"] = kept[1] if not clicks else None
        clicks = {**kept[0], **clicks}
    if clicks:
        changes["click_ids"] = clicks
    return own


def click_cookie(
    rooms: "SiteRooms", click_ids: dict[str, str], seen_at_ms: int, own: identity.OwnClick, now_ms: int
) -> str | None:
    """Make the Set-Cookie value of the click cookie; None when what it should hold is too long.

    With ids of platforms it lives as long as the site says, else as long as our own click is believed.
    """
    value = identity.sign_clicks(rooms.keys, click_ids, seen_at_ms, own)
    if value is None:
        return None
    life_s = rooms.site.click_days * 86_400
    if not click_ids and own.click_id:
        life_s = min(life_s, max(0, own.until_s - now_ms // 1000))
    return identity.set_cookie(rooms.shape, identity.CLICK_COOKIE, value, life_s)


def _name_click(
    rooms: "SiteRooms",
    received: Received,
    arrival: links.Arrival,
    judgement: Judgement,
    own: identity.OwnClick,
    changes: dict[str, object],
) -> None:
    """Say by which click on a link of ours the visitor came: the event itself, the address of the page, the cookie.

    Without consent nothing is said, unless the operator has another ground for naming clicks.
    """
    if not judgement.granted & (ANALYTICS | ADVERTISING) and rooms.site.links.click_id != "always":
        if received.click_id is not None:
            changes["click_id"] = None
        return
    click_id = received.click_id or arrival.click_id or own.click_id or None
    if click_id != received.click_id:
        changes["click_id"] = click_id
    if arrival.click_id is not None:
        changes["landed_click_id"] = arrival.click_id
    if arrival.link_code is not None:
        changes["link_code"] = arrival.link_code
