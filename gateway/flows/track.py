"""Track: conversions that come with a goal's postback token, from trackers, networks and images on thank-you pages.

The token finds the goal; it stands in page sources and in the settings of others, so it proves little. What a stranger
could do with it is bounded: so many calls a minute, one conversion for each order, pages of the goal's or the site's
domains only, and no click of another campaign than the one the goal is for.

A call is answered 200 once it is durable, also when it repeats one and when its click is not known: then the answer says
why nobody will be credited. A tracker's later status of the same order becomes an adjustment: what was announced (`lead`)
is confirmed (`sale`) or rejected. That holds for what a tracker's server announced, and only when a server says so: a
token that stands in a page must not take back the orders of a shop.

Whose conversion it is: the browser's, when its id cookie came along; else that of the visitor whose click it names. Then
that visitor's recorded choice is asked. Who cannot be known has chosen nothing.
"""

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, devices
from gateway.conversions.adjustments import Adjustment, status_move
from gateway.errors import Busy, Refusal
from gateway.event import NO_DEVICE, NOBODY, Device, Judged, Personal, Received, Submission, Visitor
from gateway.flows.adjust import Source, adjust_conversion, adjustment_of
from gateway.flows.assemble import assemble, clean_page, clean_props
from gateway.flows.claiming import check_page
from gateway.flows.convert import named_click, stored_of, why_not
from gateway.flows.inferring import MARK, infer_click
from gateway.flows.receive import hear
from gateway.flows.shelves import token_digest
from gateway.protocols.goals_compat import Postback, priced, read_query, read_track, read_track_with_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.catalogue import Goal
    from gateway.event import Recordable, Recorded
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.purposes import Judgement
    from gateway.stores.contract_credit import Contact, CountedConversion

__all__ = [
    "Postback",
    "Tracked",
    "allows",
    "goal_of",
    "may_report",
    "read_json",
    "read_query",
    "reader_with_token",
    "take",
]

FROM_PAGE: Final = "from_page"
"""Mark of conversions that a browser reported: what stands in a page anybody can send."""
TOKEN_MAX: Final = 128
MINUTE_S: Final = 60.0
_COUNTED_PER_TOKEN_KEPT: Final = 10_000


class Tracked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a call.

    `status`: `accepted` (a conversion counts), `duplicate` (it was counted before), `adjusted` (a conversion that was
    counted changed), `ignored` (nothing was to be done). `reason` is why a conversion is credited to nobody, to what it
    changed, or why nothing was done. `marks`: what was noticed. `answer` is the text the tracker asked to be answered.
    """

    status: str
    conversion_id: str | None = None
    reason: str | None = None
    marks: tuple[str, ...] = ()
    answer: str | None = None


# ------------------------------------------------------------------ the token


def goal_of(house: "House", rooms: "SiteRooms", token: str, address: str) -> "Goal":
    """Find the goal of a token. Raises Refusal `token_unknown`, the same for whatever is wrong with it, and Busy for an
    address that asks for too many."""
    shelf = house.shelves.get(rooms.id)
    found = None
    if shelf is not None and 0 < len(token) <= TOKEN_MAX:
        found = shelf.goals_by_token.get(token_digest(house, rooms.id, token))
    if found is None:
        house.limit_browser(rooms.id, address)
        raise Refusal("token_unknown")
    return found


def may_report(house: "House", rooms: "SiteRooms", token: str, page: str) -> bool:
    """Whether a page may report conversions of the goal a token belongs to; with an unknown token, whether it is of the site."""
    shelf = house.shelves.get(rooms.id)
    goal = shelf.goals_by_token.get(token_digest(house, rooms.id, token[:TOKEN_MAX])) if shelf is not None else None
    return allows(rooms, goal, page) if goal is not None else rooms.allows(page)


def allows(rooms: "SiteRooms", goal: "Goal", page: str) -> bool:
    """Whether a page, or an origin, may report conversions of a goal: one of the goal's domains, else of the site's."""
    if not goal.domains:
        return rooms.allows(page)
    try:
        check_page(goal.domains, page)
    except Refusal:
        return False
    return True


def _limit(house: "House", rooms: "SiteRooms", goal: "Goal") -> None:
    """Take one of the calls a goal gets in a minute. Raises Busy `rate_limited`."""
    now_s, key = house.clock.monotonic_s(), (rooms.id, goal.id)
    begun_s, calls = house.postbacks.get(key, (now_s, 0))
    if now_s - begun_s >= MINUTE_S:
        begun_s, calls = now_s, 0
    if calls >= goal.per_minute:
        raise Busy("rate_limited", retry_after_s=int(begun_s + MINUTE_S - now_s) + 1)
    house.postbacks[key] = (begun_s, calls + 1)
    while len(house.postbacks) > _COUNTED_PER_TOKEN_KEPT:
        del house.postbacks[next(iter(house.postbacks))]


# ------------------------------------------------------------------ what a call says


def read_json(body: bytes, query: "Mapping[str, str]") -> Postback:
    """Read a JSON body. What stands in the query beside it is not read, and the answer says so. Raises Refusal."""
    posted = read_track(body)
    return msgspec.structs.replace(posted, unread=tuple(query)) if query else posted


def reader_with_token(body: bytes) -> "tuple[str, Callable[[], Postback]]":
    """Read a JSON body that carries the token itself. Raises Refusal."""
    token, posted = read_track_with_token(body)
    return token, lambda: posted


# ------------------------------------------------------------------ one call


async def take(
    house: "House", rooms: "SiteRooms", request: "Request", token: str, read: "Callable[[], Postback]"
) -> Tracked:
    """Take one call; `read` reads what it says, once its token is known.

    Raises Refusal (`token_unknown`, `domain_not_allowed`, `click_foreign`, field codes), Busy or StoreError.
    """
    goal = goal_of(house, rooms, token, request.address)
    _limit(house, rooms, goal)
    page = request.origin if request.origin is not None else request.referer
    if page is not None and not allows(rooms, goal, page):
        raise Refusal("domain_not_allowed")
    posted = read()
    if devices.is_prefetch(request.purposes):
        return Tracked(status="ignored", reason="prefetch")
    if posted.ignored:
        tracked = Tracked(status="ignored", reason="status_ignored")
    elif posted.status == "rejected":
        tracked = await _reject(house, rooms, goal, request, posted)
    else:
        tracked = await _count(house, rooms, goal, request, posted)
    return msgspec.structs.replace(tracked, answer=posted.answer)


async def _count(house: "House", rooms: "SiteRooms", goal: "Goal", request: "Request", posted: Postback) -> Tracked:
    """Record a conversion, or what a repeat of one changes."""
    amount_minor, currency = priced(posted, goal.currency or rooms.site.currency)
    marks = _marks(request, posted)
    now_ms = house.clock.now_ms()
    click = await named_click(house, rooms, posted.click_id)
    if click is not None and await _is_foreign(house, rooms, goal, click):
        raise Refusal("click_foreign", "click_id")
    reason = why_not(posted.click_id, click, now_ms, goal.click_window_ms)
    if reason is not None:
        marks += (reason,)
    received = Received(
        site=rooms.id,
        event_id=house.new_event_id(),
        name=goal.code,
        trust="token",
        occurred_at_ms=now_ms,
        received_at_ms=now_ms,
        conversion=True,
        url=request.referer,
        amount_minor=amount_minor,
        currency=currency,
        order_id=posted.order_id,
        goal=goal.code,
        props={"event": posted.event} if posted.event is not None else {},
        device=_device(request) if _is_browser(request) else NO_DEVICE,
        click_id=posted.click_id,
        coupons=posted.coupons,
        status=posted.status if posted.status != "sale" else None,
        marks=marks,
    )
    key = f"e:{posted.event_id}" if posted.event_id and not posted.order_id and goal.count == "every" else None
    item, marks = await _assembled(house, rooms, goal, request, received, click, key)
    submitted = await house.store.submit(Submission((item,)))
    recorded = submitted.recorded[0]
    _tell(house, rooms, item, recorded, marks)
    if recorded.fate == "duplicate":
        return await _repeated(house, rooms, goal, received, recorded.conversion_id)
    return Tracked(status="accepted", conversion_id=recorded.conversion_id, reason=reason, marks=marks)


def _marks(request: "Request", posted: Postback) -> tuple[str, ...]:
    """What should be known about a call: a page made it, a repeat of it cannot be told, something of it was not read."""
    marks: tuple[str, ...] = (FROM_PAGE,) if _is_browser(request) else ()
    if posted.order_id is None and posted.event_id is None:
        marks = (*marks, "order_id_missing")
    return (*marks, "parameters_unread") if posted.unread else marks


def _is_browser(request: "Request") -> bool:
    """Whether a visitor's browser makes the call: trackers' servers bring neither a page nor cookies of ours."""
    return request.origin is not None or request.referer is not None or bool(request.cookie)


def _device(request: "Request") -> Device:
    agent = request.user_agent
    return Device(
        ip=Personal(request.address),
        user_agent=Personal(agent[: devices.USER_AGENT_MAX_CHARACTERS]) if agent else None,
        language=request.language,
        agent=devices.read_agent(agent),
    )


async def _assembled(
    house: "House",
    rooms: "SiteRooms",
    goal: "Goal",
    request: "Request",
    received: Received,
    click: "Contact | None",
    key: str | None,
) -> "tuple[Recordable, tuple[str, ...]]":
    """Recognise, judge and assemble; anew when the visitor was erased meanwhile. Answers the event's own marks too."""
    now_ms = received.received_at_ms
    token, mark, said = hear(house, rooms, request, now_ms)
    if not _is_browser(request):
        said = msgspec.structs.replace(said, place="")  # a tracker's server is not where the visitor is
    marks = (mark,) if mark is not None else ()
    own = rooms.visitor_key(token.visitor_id) if token is not None else None
    visitor_key = own if own is not None or click is None else click.visitor_key
    carried = said.stored
    while True:
        before = house.erasures
        stored = await stored_of(house, rooms, visitor_key, None, now_ms)
        said = msgspec.structs.replace(said, stored=stored if stored is not None else carried)
        verdicts = rooms.judge(said, received)
        if received.click_id is None and token is None:
            received, click = await _guessed(house, rooms, goal, request, received, verdicts.own)
        visitor = NOBODY
        if visitor_key is not None and consent.keeps_visitor(verdicts.own, rooms.id_needs):
            visitor = Visitor("signed", token.visitor_id if token is not None else None, visitor_key)
        judged = Judged(
            received,
            visitor,
            verdicts.own,
            clean_page(received, rooms.site.links),
            clean_props(received),
            received.marks + marks + verdicts.noted,
            verdicts.others,
        )
        item = assemble(house, rooms, judged, click=click, claim_key=key)
        if not house.erased_since(before, visitor_key):
            return item, received.marks


async def _guessed(
    house: "House",
    rooms: "SiteRooms",
    goal: "Goal",
    request: "Request",
    received: Received,
    judgement: "Judgement",
) -> "tuple[Received, Contact | None]":
    """The conversion with the click it may have come by, where the site wants guesses and the goal may have the click."""
    click = await named_click(house, rooms, infer_click(house, rooms, request, judgement, received.received_at_ms))
    if click is None or await _is_foreign(house, rooms, goal, click):
        return received, None
    return msgspec.structs.replace(received, click_id=click.click_id, marks=(*received.marks, MARK)), click


def _tell(house: "House", rooms: "SiteRooms", item: "Recordable", recorded: "Recorded", marks: tuple[str, ...]) -> None:
    """Count what became durable, and wake whoever has something to do."""
    house.telemetry.events_received(rooms.id, "token", 1, marks)
    house.stored(rooms.id, item, recorded.fate)


# ------------------------------------------------------------------ the click


async def _is_foreign(house: "House", rooms: "SiteRooms", goal: "Goal", click: "Contact") -> bool:
    """Whether a click is of another campaign than the goal's: somebody else's ambassador earned it, or nobody."""
    if not goal.campaign_id:
        return False
    campaign_id = click.campaign_id
    if not campaign_id and click.link_id:
        link = await house.shelves[rooms.id].link_by_id(click.link_id)
        campaign_id = link.campaign_id if link is not None else ""
    return campaign_id != goal.campaign_id


# ------------------------------------------------------------------ repeats and later statuses


async def _repeated(
    house: "House", rooms: "SiteRooms", goal: "Goal", received: Received, conversion_id: str | None
) -> Tracked:
    """A call about something that was counted before: a new status of it, or a repeat; the first one's content stays."""
    marks = received.marks
    counted = await house.store.conversion(rooms.id, conversion_id) if conversion_id is not None else None
    if counted is None:
        return Tracked(status="duplicate", conversion_id=conversion_id, marks=marks)
    if FROM_PAGE not in marks:
        said = (received.amount_minor, received.currency)
        moved = await _move(house, rooms, goal, counted, received.status or "sale", said)
        if moved is not None:
            return Tracked(status="adjusted", conversion_id=conversion_id, reason=moved, marks=marks)
    if received.amount_minor is not None and (received.amount_minor, received.currency) != (
        counted.amount_minor,
        counted.currency,
    ):
        marks += ("value_differs",)
    if received.click_id is not None and counted.click_id not in (None, received.click_id):
        marks += ("click_differs",)
    return Tracked(status="duplicate", conversion_id=conversion_id, marks=marks)


async def _reject(house: "House", rooms: "SiteRooms", goal: "Goal", request: "Request", posted: Postback) -> Tracked:
    """Take back the conversion of an order that the tracker announced. Nothing is counted for a rejection."""
    marks = _marks(request, posted)
    if posted.order_id is None:
        return Tracked(status="ignored", reason="order_id_missing", marks=marks)
    found = await house.store.conversions_of_order(rooms.id, posted.order_id)
    counted = next((one for one in found if one.goal == goal.code), None)
    if counted is None:
        return Tracked(status="ignored", reason="conversion_unknown", marks=marks)
    moved = await _move(house, rooms, goal, counted, "rejected", (None, None)) if FROM_PAGE not in marks else None
    if moved is None:
        return Tracked(status="ignored", conversion_id=counted.conversion_id, reason="status_refused", marks=marks)
    return Tracked(status="adjusted", conversion_id=counted.conversion_id, reason=moved, marks=marks)


def _move_id(goal: "Goal", order_id: str, status: str) -> str:
    """The id of the adjustment that a status of an order makes: the same status changes it once."""
    digest = hashlib.sha256(f"{goal.id}\x1f{order_id}".encode()).hexdigest()[:24]
    return f"status:{digest}:{status}"


async def _move(
    house: "House",
    rooms: "SiteRooms",
    goal: "Goal",
    counted: "CountedConversion",
    status: str,
    said: tuple[int | None, str | None],
) -> str | None:
    """Adjust a conversion to the tracker's new status and amount. Answers that status, None when it changes nothing."""
    facts = _read_announced(counted.facts)
    order_id = counted.order_id
    if order_id is None or counted.trust != "token" or FROM_PAGE in facts.marks:
        return None
    known = {row.adjustment_id: row for row in await house.store.adjustments_of(rooms.id, counted.conversion_id)}
    again = known.get(_move_id(goal, order_id, status))
    if again is not None:  # destinations may not have been told yet, if the first call ended in between
        source = Source(trust="token", received_at_ms=house.clock.now_ms())
        await adjust_conversion(house, rooms, counted, adjustment_of(again), goal=goal.code, source=source)
    before = facts.status or "sale"
    for later in ("sale", "rejected"):
        if _move_id(goal, order_id, later) in known:
            before = later
    move = status_move(before, status)
    amount_minor, currency = said if said[0] is not None else (counted.amount_minor, counted.currency)
    if move not in ("restate", "retract") or (move == "restate" and amount_minor is None):
        return None
    now_ms = house.clock.now_ms()
    adjustment = Adjustment(
        id=_move_id(goal, order_id, status),
        kind=move,
        at_ms=now_ms,
        amount_minor=amount_minor if move == "restate" else None,
        currency=currency if move == "restate" else None,
        reason="approved" if move == "restate" else "rejected",
    )
    source = Source(trust="token", received_at_ms=now_ms)
    await adjust_conversion(house, rooms, counted, adjustment, goal=goal.code, source=source)
    return status


class _Announced(msgspec.Struct):
    """The facts of a conversion's event that say how a tracker announced it."""

    status: str | None = None
    marks: tuple[str, ...] = ()


_read_announced: Final = msgspec.json.Decoder(_Announced).decode
