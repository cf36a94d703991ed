"""Calls: which number a visitor is shown, and which campaign and visit a call belongs to.

A page asks for its number once its first hit was answered, with what it knows of its own address:

    fetch("https://t.shop.example/numbers.json?campaign=spring&source=google", {credentials: "include"})
      .then((answer) => answer.json())
      .then(({number}) => {
        if (number) for (const link of document.querySelectorAll("a[data-number]")) {
          link.href = "tel:" + number
          link.textContent = number
        }
      })

Each campaign or source may have numbers of its own. A number of the pool is lent to one visit for 30 minutes after its last
page, so that a call is joined to the visit; that needs consent to analytics or advertising. Everybody else is shown the
number of the campaign that all its visitors share, which tells the campaign and nothing about anybody.

A call is told by the call tracker after it ended. It is joined by the number and the time it began. It leaves an event, one
touch of kind `call`, and counts for goals of type call when it was answered and lasted long enough.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, devices, identity
from gateway.errors import StoreError
from gateway.event import Claim, Touch
from gateway.flows.lines import KEPT_MS, LEASE_MS, Lease, Lines
from gateway.flows.receive import check_origin, hear
from gateway.links.arrival import clean_text
from gateway.links.codes import click_id
from gateway.protocols.order_reading import stable_id
from gateway.purposes import ADVERTISING, ALL_PURPOSES, ANALYTICS, NECESSARY
from gateway.times import DAY_MS, MINUTE_MS
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from gateway.catalogue import Campaign
    from gateway.event import Received, Recordable
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.settings import NumberSettings, WebhookSettings

__all__ = ["KIND", "Call", "Shown", "joined", "load", "number_for", "seal_place", "touched"]

KIND: Final = "number_lease"
"""Kind of the timer that keeps a lease over a restart."""
EXTEND_MS: Final = MINUTE_MS
"""A lease is made longer when that adds at least so much."""
TEXT_MAX: Final = 120

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Lease).decode
_DIGITS: Final = re.compile(r"[0-9]{7,15}\Z")


class Shown(msgspec.Struct, frozen=True):
    """The number a page shows, E.164, None when none is set up for it. `lent_s`: how long it is this visit's alone."""

    number: str | None
    lent_s: int | None = None


class Call(msgspec.Struct, frozen=True):
    """One call with what it was joined to. `line` is the number it came to, `lease` the visit it was lent to then."""

    received: "Received"
    answered: bool
    line: "NumberSettings | None" = None
    lease: Lease | None = None


# ------------------------------------------------------------------ showing a number


async def number_for(house: "House", rooms: "SiteRooms", request: "Request") -> Shown:
    """Choose the number for a page. Raises Refusal `domain_not_allowed`."""
    check_origin(rooms, request)
    if not rooms.site.number:
        return Shown(None)
    now_ms = house.clock.now_ms()
    campaign = _folded(request.query.get("campaign", ""))
    source = _folded(request.query.get("source", ""))
    pool, fixed = _fitting(house, rooms, campaign, source)
    looks_only = request.method != "GET" or devices.is_prefetch(request.purposes)
    if looks_only or devices.read_agent(request.user_agent).bot is not None:
        return Shown(fixed)
    lease = _wanted(house, rooms, request, campaign, source, now_ms)
    if lease is None:
        return Shown(fixed)
    lines = house.lines[rooms.id]
    held = lines.held(lease.subject_key, now_ms)
    named = bool(campaign or source)
    if held is not None and (held.number in pool or not named):
        return Shown(held.number, await _extended(house, rooms, lines, held, now_ms))
    if not named:
        kept = lines.fixed(lease.subject_key, now_ms)
        if kept is not None:
            lines.fix(lease.subject_key, kept, now_ms)
            return Shown(kept)
    number = lines.free(pool, lease.subject_key, now_ms)
    if number is not None:
        lease = msgspec.structs.replace(lease, number=number)
        lines.put(lease)  # before anything is waited for, or another visit could be lent it meanwhile
        try:
            await _keep(house, rooms, lease)
        except StoreError:
            lines.take_back(lease)
        else:
            return Shown(number, (lease.until_ms - now_ms) // 1000)
    elif pool and now_ms - lines.exhausted_told_ms > LEASE_MS:
        lines.exhausted_told_ms = now_ms
        house.telemetry.warned("numbers_exhausted", site=rooms.id, numbers=len(pool))
    if fixed is not None and named:
        lines.fix(lease.subject_key, fixed, now_ms)
    return Shown(fixed)


def _folded(text: str) -> str:
    return clean_text(text[:TEXT_MAX]).lower()


def _fitting(house: "House", rooms: "SiteRooms", campaign: str, source: str) -> tuple[list[str], str | None]:
    """The pool numbers that fit a visit best, and the number it is shown without a lease.

    What names a campaign fits better than what names a source only, and that better than what names neither.
    """
    scored: list[tuple[int, NumberSettings]] = []
    for line in rooms.site.number:
        if line.source and line.source.lower() != source:
            continue
        if line.campaign and not _is_campaign(house, rooms, line.campaign, campaign):
            continue
        scored.append((2 * bool(line.campaign) + bool(line.source), line))
    best = max((score for score, _ in scored), default=0)
    pool = [line.number for score, line in scored if line.pool and score == best]
    fixed = max(((score, line) for score, line in scored if not line.pool), key=lambda pair: pair[0], default=None)
    if fixed is not None and fixed[0] == best and not pool:
        return [], fixed[1].number
    return pool, fixed[1].number if fixed is not None else None


def _is_campaign(house: "House", rooms: "SiteRooms", written: str, asked: str) -> bool:
    """Whether a page's campaign is the one a number is for: by its code, or by its utm_campaign."""
    if not asked:
        return False
    if written.lower() == asked:
        return True
    found = _campaign(house, rooms, written)
    return found is not None and found.utm.campaign.lower() == asked


def _campaign(house: "House", rooms: "SiteRooms", written: str) -> "Campaign | None":
    """The campaign of the catalogue that a text names by code, or as utm_campaign."""
    shelf = house.shelves.get(rooms.id)
    if shelf is None or not written:
        return None
    folded = written.lower()
    found = shelf.campaigns_by_code.get(folded)
    if found is not None:
        return found
    return next((one for one in shelf.campaigns_by_code.values() if one.utm.campaign.lower() == folded), None)


def _wanted(
    house: "House", rooms: "SiteRooms", request: "Request", campaign: str, source: str, now_ms: int
) -> Lease | None:
    """The lease this browser may have, without a number yet; None without consent or without an id to know it by."""
    token, _, said = hear(house, rooms, request, now_ms)
    judgement = rooms.judge(said, None).own
    granted = judgement.granted
    visitor_id: str | None = None
    issued_day: int | None = None
    if token is not None and consent.keeps_visitor(judgement, rooms.id_needs):
        visitor_id, issued_day = token.visitor_id, token.issued_day
        key = rooms.visitor_key(token.visitor_id)
    elif rooms.site.cookieless == "daily":
        found = identity.daily_id(
            house.vault.daily_key(now_ms // DAY_MS), rooms.id, request.address, request.user_agent or ""
        )
        key = house.vault.digest("daily", rooms.id, found)
    else:
        return None
    if not granted & (ANALYTICS | ADVERTISING):
        return None
    return Lease(
        number="",
        subject_key=key,
        visitor_id=visitor_id,
        issued_day=issued_day,
        from_ms=now_ms,
        until_ms=now_ms + LEASE_MS,
        campaign=campaign,
        source=source,
        granted=granted,
    )


async def _extended(house: "House", rooms: "SiteRooms", lines: Lines, held: Lease, now_ms: int) -> int:
    """Make a lease last from now on again. Answers how many seconds it lasts."""
    longer = msgspec.structs.replace(held, until_ms=now_ms + LEASE_MS)
    if longer.until_ms - held.until_ms >= EXTEND_MS:
        lines.put(longer)
        try:
            await _keep(house, rooms, longer)
            held = longer
        except StoreError:
            lines.put(held)
    return (held.until_ms - now_ms) // 1000


async def _keep(house: "House", rooms: "SiteRooms", lease: Lease) -> None:
    sealed = house.vault.seal(_encode(lease), seal_place(rooms.id, KIND, lease.subject_key))
    await house.store.set_timer(rooms.id, KIND, lease.subject_key, lease.until_ms + KEPT_MS, sealed)


def seal_place(site: str, kind: str, subject_key: bytes) -> bytes:
    """What the payload of a timer is bound to: moved to another row, it does not open."""
    return f"{site}\x1f{kind}\x1f".encode() + subject_key


async def load(house: "House") -> None:
    """Read the leases of before the start, so that calls which are told after it are joined. Raises StoreError."""
    for rooms in house.by_id.values():
        lines = house.lines[rooms.id] = Lines()
        if not any(line.pool for line in rooms.site.number):
            continue
        for timer in await house.store.timers(rooms.id, KIND):
            try:
                sealed = house.vault.open(timer.payload, seal_place(rooms.id, KIND, timer.subject_key))
            except SealedUnreadable:
                continue
            lines.fill([_decode(sealed)])


# ------------------------------------------------------------------ a call


def joined(house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", told: "Received") -> list[Call]:
    """Join what a call tracker tells of one call to campaign, visit and goals. One for each goal that calls count for.

    An outbound call is nobody's contact with the business: it is left as it was told.
    """
    if told.name != "call":
        return [Call(told, answered=False)]
    line = _line(rooms, told.props.get("tracking_number"))
    lease = house.lines[rooms.id].at(line.number, told.occurred_at_ms) if line is not None and line.pool else None
    if lease is not None and lease.subject_key in house.erased:
        lease = None
    answered = told.props.get("answered") is True and told.props.get("voicemail") is not True
    received = _of_visit(house, rooms, told, line, lease)
    if told.props.get("voicemail") is True:
        received = msgspec.structs.replace(received, props={**received.props, "answered": False})
    return [Call(one, answered, line, lease) for one in _for_goals(house, rooms, webhook, received, answered)]


def _line(rooms: "SiteRooms", tracking: object) -> "NumberSettings | None":
    """The number a call came to. Trackers write it with and without the plus."""
    if not isinstance(tracking, str) or _DIGITS.match(tracking) is None:
        return None
    return next((line for line in rooms.site.number if line.number == f"+{tracking}"), None)


def _of_visit(
    house: "House", rooms: "SiteRooms", told: "Received", line: "NumberSettings | None", lease: Lease | None
) -> "Received":
    """The call with the campaign of its number or visit, and with the visit's id and consent where it has one."""
    found = _campaign(house, rooms, line.campaign or (lease.campaign if lease else "")) if line is not None else None
    campaign = dict(told.campaign)
    if line is not None:
        source = line.source or (lease.source if lease is not None else "")
        name = line.campaign or (lease.campaign if lease is not None else "")
        if source:
            campaign["source"] = source
        if found is not None or name:
            campaign["campaign"] = (found.utm.campaign or found.name) if found is not None else name
    changed = msgspec.structs.replace(told, campaign=campaign)
    if found is not None and found.tracking:
        changed = msgspec.structs.replace(changed, campaign_code=found.code)
    if lease is None or lease.visitor_id is None or lease.issued_day is None:
        return changed
    today = told.received_at_ms // DAY_MS
    # What was granted then is said again; what was refused since is known from the stored choice, and wins.
    claim = Claim(
        granted=lease.granted & ~NECESSARY, denied=ALL_PURPOSES & ~lease.granted & ~NECESSARY, at_ms=lease.from_ms
    )
    return msgspec.structs.replace(
        changed,
        visitor_token=identity.sign_token(rooms.keys, lease.visitor_id, lease.issued_day, today),
        claim=claim,
    )


def _click_of(house: "House", rooms: "SiteRooms", order_id: str) -> str:
    """The click id of a call's touch: always the same for one call, whatever else is told of it."""
    return click_id(house.vault.digest("call", rooms.id, order_id))


def _for_goals(
    house: "House", rooms: "SiteRooms", webhook: "WebhookSettings", received: "Received", answered: bool
) -> "list[Received]":
    """The event once for each goal that counts calls. Whether it lasted long enough is asked where goals are claimed.

    Without such a goal the webhook's own minimum decides; a call that falls short is then called by another name, because
    the site may list `call` among its conversions.
    """
    shelf = house.shelves.get(rooms.id)
    goals = (
        sorted((goal.code for goal in shelf.goals.values() if goal.type == "call"), key=_own_name_first)
        if shelf
        else []
    )
    if goals:
        made = [msgspec.structs.replace(received, goal=goals[0])]
        for code in goals[1:]:
            event_id = stable_id(received.event_id, code)
            made.append(msgspec.structs.replace(received, goal=code, event_id=event_id))
        return made
    duration_s = received.props.get("duration_s")
    if answered and isinstance(duration_s, int) and duration_s >= webhook.minimum_call_s:
        return [msgspec.structs.replace(received, conversion=True)]
    return [msgspec.structs.replace(received, name="call_short" if answered else "call_missed")]


def _own_name_first(code: str) -> tuple[bool, str]:
    return code != "call", code


def touched(
    house: "House", rooms: "SiteRooms", calls: Sequence[Call], items: "Sequence[Recordable]"
) -> "list[Recordable]":
    """Put the touch of an answered call on the first of its records, and name it in its conversions.

    The touch's id is made from the call's, so the store keeps one of each call. What the page address of a call says is the
    visit's own, and was told by the visit.
    """
    call = calls[0]
    if not call.answered or call.received.order_id is None:
        return [msgspec.structs.replace(item, touch=None) for item in items]
    touch = _touch(house, rooms, call, items[0], _click_of(house, rooms, call.received.order_id))
    made = []
    for index, item in enumerate(items):
        claim = item.conversion
        if claim is not None:
            claim = msgspec.structs.replace(claim, click_id=touch.click_id)
        made.append(msgspec.structs.replace(item, touch=touch if index == 0 else None, conversion=claim))
    return made


def _touch(house: "House", rooms: "SiteRooms", call: Call, item: "Recordable", click: str) -> Touch:
    """The touch of a call. It is the visit's where it was joined to one; else it names the campaign and nobody."""
    campaign = call.received.campaign
    line = call.line
    found = _campaign(house, rooms, line.campaign or (call.lease.campaign if call.lease else "")) if line else None
    base = item.touch
    return Touch(
        kind="call",
        occurred_at_ms=call.received.occurred_at_ms,
        visitor_key=item.event.visitor_key,
        referrer=None,
        campaign=_encode(campaign) if campaign else None,
        click_ids=base.click_ids if base is not None else None,
        channel=(found.channel if found is not None else "") or "call",
        source=campaign.get("source", ""),
        medium=campaign.get("medium", "") or "call",
        campaign_name=campaign.get("campaign", ""),
        campaign_id=found.id if found is not None else "",
        click_id=click,
        test=call.received.test,
    )
