"""Choose: a visitor's choice about consent becomes a log entry, a signed receipt, and the end of what it forbids.

A choice that changes nothing writes nothing. A refusal by somebody without an id leaves an entry without a subject: that
it happened can be shown, by whom cannot. Own cookies of a purpose that is not granted any more are deleted, and what was
taken back is passed on to the destinations that may hold something of it (`flows.pass_on`).
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, identity, links
from gateway.audit.entry import commitment, consent_entry, leaf_hash
from gateway.errors import Refusal
from gateway.event import ConsentChange, Person, Submission
from gateway.flows import pass_on
from gateway.flows.convert import authenticate, person_key
from gateway.flows.judging import Said
from gateway.flows.receive import check_origin, follow_link
from gateway.ids import RANDOM_ID_BYTES, random_id
from gateway.protocols import native
from gateway.purposes import ADVERTISING, ALL_PURPOSES, NECESSARY, PURPOSES, names
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract import ConsentState

__all__ = [
    "Chosen",
    "Wish",
    "choose_as_visitor",
    "choose_in_browser",
    "choose_on_server",
    "deleted_cookies",
    "read_in_browser",
    "words_of",
]

_TRIES: Final = 3


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor wants, however it was said. Sets as in `purposes`; what is in none of them stays as it was.

    `cleared` are purposes that were spoken about without one answer for everybody: what was recorded is void.
    """

    granted: int
    denied: int
    cleared: int = 0
    method: str
    notice: str | None = None
    language: str | None = None
    link_token: str | None = None


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A recorded choice as it is answered. `recorded` False: the same choice was known already."""

    choice: dict[str, str]
    decided_at_ms: int | None = None
    notice: str = ""
    kind: str | None = None
    record_id: str | None = None
    recorded: bool = False
    cookies: tuple[str, ...] = ()


def words_of(granted: int, denied: int) -> dict[str, str]:
    """A choice in words, purpose by purpose."""
    return {
        name: "granted" if granted & bit else ("denied" if denied & bit else "unset")
        for name, bit in PURPOSES.items()
        if bit != NECESSARY
    }


def read_in_browser(house: "House", rooms: "SiteRooms", request: "Request") -> Chosen:
    """Read the choice this browser carries. Raises Refusal for pages of other domains."""
    check_origin(rooms, request)
    now_ms = house.clock.now_ms()
    values = identity.cookie_values(request.cookie, rooms.consent_cookie)
    receipt = identity.read_receipt(rooms.keys, values, now_ms)
    if receipt is None:
        return Chosen(choice=words_of(0, 0), notice=rooms.site.notice_version)
    return Chosen(
        choice=words_of(receipt.granted, receipt.denied),
        decided_at_ms=receipt.decided_at_ms,
        notice=receipt.notice,
        record_id=receipt.position or None,
    )


async def choose_in_browser(house: "House", rooms: "SiteRooms", request: "Request") -> Chosen:
    """Take a `POST /consent` of a page."""
    check_origin(rooms, request)
    choice = native.read_choice(request.body, server=False)
    granted, denied, cleared = _with_signals(
        rooms,
        choice,
        Said(
            cookie=request.cookie_octets,
            place=house.place_of(request.place, request.address),
            now_ms=house.clock.now_ms(),
        ),
    )
    wish = Wish(
        granted=granted,
        denied=denied,
        cleared=cleared,
        method=choice.method,
        notice=choice.notice,
        language=choice.language,
        link_token=choice.link_token,
    )
    return await choose_as_visitor(house, rooms, request, wish)


async def choose_as_visitor(house: "House", rooms: "SiteRooms", request: "Request", wish: Wish) -> Chosen:
    """Record what the visitor of this browser wants, and answer the cookies that go with it."""
    now_ms = house.clock.now_ms()
    site = rooms.site
    notice = wish.notice or site.notice_version
    values = identity.cookie_values(request.cookie, rooms.consent_cookie)
    before = identity.read_receipt(rooms.keys, values, now_ms)
    was_granted, was_denied = (before.granted & ~NECESSARY, before.denied) if before is not None else (0, 0)
    granted, denied = _merged(was_granted, was_denied, wish.granted, wish.denied, wish.cleared)
    token, cookies = _identity(house, rooms, request, granted, wish.link_token, now_ms)
    cookies |= deleted_cookies(rooms, request, granted)

    if before is None and not granted and not denied:
        return Chosen(choice=words_of(0, 0), notice=notice, cookies=tuple(cookies.values()))
    if before is not None and (granted, denied, notice) == (was_granted, was_denied, before.notice):
        return Chosen(
            choice=words_of(granted, denied),
            decided_at_ms=before.decided_at_ms,
            notice=notice,
            record_id=before.position or None,
            cookies=tuple(cookies.values()),
        )
    kind, record_id = await _record(
        house,
        rooms,
        subject_key=rooms.visitor_key(token.visitor_id) if token is not None else None,
        before=(was_granted, was_denied) if before is not None else None,
        granted=granted,
        denied=denied,
        decided_at_ms=now_ms,
        now_ms=now_ms,
        method=wish.method,
        notice=notice,
        language=wish.language,
    )
    receipt = identity.Receipt(granted | NECESSARY, denied, now_ms, notice, record_id)
    cookies["consent"] = identity.set_cookie(
        rooms.shape, identity.CONSENT_COOKIE, identity.sign_receipt(rooms.keys, receipt), site.choice_days * 86_400
    )
    return Chosen(
        choice=words_of(granted, denied),
        decided_at_ms=now_ms,
        notice=notice,
        kind=kind,
        record_id=record_id,
        recorded=True,
        cookies=tuple(cookies.values()),
    )


def _identity(
    house: "House", rooms: "SiteRooms", request: "Request", granted: int, link_token: str | None, now_ms: int
) -> tuple[identity.Token | None, dict[str, str]]:
    """Who chooses. With a purpose that allows an id, one is issued or renewed; the cookie for it is answered too."""
    today = now_ms // DAY_MS
    values = identity.cookie_values(request.cookie, rooms.id_cookie)
    token, _ = identity.recognise(rooms.keys, values, today, rooms.site.id_days)
    if not granted & rooms.id_needs:
        return token, {}
    if link_token is not None:
        page = links.host_of(request.origin or request.referer)
        token, _ = follow_link(house, rooms, link_token, page, token, now_ms)
    if token is None:
        token = identity.Token(house.new_visitor_id(), today, 0, True)
    if not identity.renewal_due(token, today):
        return token, {}
    value = identity.sign_token(rooms.keys, token.visitor_id, token.issued_day, today)
    return token, {"id": identity.set_cookie(rooms.shape, identity.ID_COOKIE, value, rooms.site.id_days * 86_400)}


def deleted_cookies(rooms: "SiteRooms", request: "Request", granted: int) -> dict[str, str]:
    """Set-Cookie values that delete what is left in the browser of purposes that are not granted."""
    cookies: dict[str, str] = {}
    if not granted & rooms.id_needs and rooms.id_cookie in request.cookie:
        cookies["id"] = identity.expired_cookie(rooms.shape, identity.ID_COOKIE)
    if not granted & ADVERTISING and rooms.click_cookie in request.cookie:
        cookies["click"] = identity.expired_cookie(rooms.shape, identity.CLICK_COOKIE)
    return cookies


async def choose_on_server(house: "House", rooms: "SiteRooms", request: "Request") -> Chosen:
    """Take a `POST /consent` of a backend, for a visitor token or a person. Raises Refusal.

    The nonce of a signed call is used up before anything else: an old grant must not be said again after a withdrawal.
    """
    now_ms = house.clock.now_ms()
    _, _, once = authenticate(house, rooms, request, "consent", now_ms)
    choice = native.read_choice(request.body, server=True)
    subject = _subject(house, rooms, choice.visitor_token, choice.person, now_ms)
    decided_at_ms = choice.decided_at_ms if choice.decided_at_ms is not None else now_ms
    if not now_ms - 400 * DAY_MS <= decided_at_ms <= now_ms + 600_000:
        raise Refusal("time_out_of_range", "decided_at_ms")
    if once and (await house.store.submit(Submission((), once))).refused is not None:
        raise Refusal("key_invalid")
    state = await house.store.consent_state(rooms.id, subject)
    was = (state.granted, state.denied) if state is not None else (0, 0)
    said = Said(trusted=True, now_ms=now_ms)
    granted, denied = _merged(*was, *_with_signals(rooms, choice, said))
    notice = choice.notice or rooms.site.notice_version
    if state is None and not granted and not denied:
        return Chosen(choice=words_of(0, 0), notice=notice)
    if state is not None and (granted, denied, notice) == (*was, state.notice):
        return Chosen(
            choice=words_of(granted, denied),
            decided_at_ms=state.decided_at_ms,
            notice=notice,
            record_id=state.record_id,
        )
    kind, record_id = await _record(
        house,
        rooms,
        subject_key=subject,
        before=was if state is not None else None,
        granted=granted,
        denied=denied,
        decided_at_ms=decided_at_ms,
        now_ms=now_ms,
        method="api",
        notice=notice,
        language=choice.language,
    )
    return Chosen(
        choice=words_of(granted, denied),
        decided_at_ms=decided_at_ms,
        notice=notice,
        kind=kind,
        record_id=record_id,
        recorded=True,
    )


def _subject(
    house: "House", rooms: "SiteRooms", visitor_token: str | None, person: Person | None, now_ms: int
) -> bytes:
    if visitor_token is not None:
        token = identity.read_token(rooms.keys, visitor_token, now_ms // DAY_MS, rooms.site.id_days)
        if token is None:
            raise Refusal("visitor_token_invalid", "visitor")
        return rooms.visitor_key(token.visitor_id)
    subject = person_key(house, rooms, person)
    if subject is None:
        raise Refusal("field_missing", "person")
    return subject


def _with_signals(rooms: "SiteRooms", choice: native.Choice, said: Said) -> tuple[int, int, int]:
    """What a choice grants, denies and clears, its consent signals included. Where words and signals differ: denied."""
    if choice.signals is None:
        return choice.granted, choice.denied, 0
    heard_granted, heard_denied, spoken = rooms.judge.neutral(said, choice.signals)
    denied = choice.denied | heard_denied
    granted = (choice.granted | heard_granted) & ~denied
    return granted, denied, spoken & ~granted & ~denied


def _merged(was_granted: int, was_denied: int, granted: int, denied: int, cleared: int = 0) -> tuple[int, int]:
    """What is granted and denied after a choice: it replaces what it names and leaves the rest as it was."""
    named = granted | denied | cleared
    return (
        (was_granted & ~named | granted) & ~NECESSARY & ALL_PURPOSES,
        (was_denied & ~named | denied) & ~NECESSARY & ALL_PURPOSES,
    )


async def _record(
    house: "House",
    rooms: "SiteRooms",
    *,
    subject_key: bytes | None,
    before: tuple[int, int] | None,
    granted: int,
    denied: int,
    decided_at_ms: int,
    now_ms: int,
    method: str,
    notice: str,
    language: str | None,
) -> tuple[str, str]:
    """Write the entry. The subject's tag is read first; if somebody else wrote meanwhile, it is read again."""
    for _ in range(_TRIES):
        state: ConsentState | None = None
        if subject_key is not None:
            state = await house.store.consent_state(rooms.id, subject_key)
        known = (state.granted, state.denied) if state is not None else before
        kind = consent.change_kind(known, granted, denied)
        lost = (denied | (known[0] & ~granted if known is not None else 0)) & ALL_PURPOSES
        tag = state.subject_tag if state is not None else house.entropy.token_bytes(16)
        record_id = random_id(house.entropy.token_bytes(RANDOM_ID_BYTES))
        salt = house.entropy.token_bytes(32)
        payload = msgspec.json.encode(
            {
                "record_id": record_id,
                "site": rooms.id,
                "event_type": kind,
                "granted": names(granted),
                "denied": names(denied),
                "decided_at_ms": decided_at_ms,
                "received_at_ms": now_ms,
                "method": method,
                "notice": notice,
                "language": language,
            }
        )
        entry = consent_entry(
            record_id=record_id,
            kind=kind,
            site=rooms.id,
            subject_tag=tag if subject_key is not None else None,
            occurred_at_ms=decided_at_ms,
            received_at_ms=now_ms,
            granted=names(granted),
            denied=names(denied),
            method=method,
            notice=notice,
            regime=rooms.site.regime,
            rules=consent.RULES_VERSION,
            payload_commitment=commitment(salt, payload),
            previous_record_id=state.record_id if state is not None else None,
        )
        if subject_key is not None and denied:
            # Before it is durable already: hits that are judged meanwhile must meet the refusal.
            house.remember_refusals(subject_key, denied | house.recent_refusals.get(subject_key, 0))
        outcome = await house.store.choose(
            ConsentChange(
                record_id=record_id,
                site=rooms.id,
                subject_key=subject_key,
                subject_tag=tag if subject_key is not None else None,
                decided_at_ms=decided_at_ms,
                received_at_ms=now_ms,
                granted=granted,
                denied=denied,
                lost=lost,
                notice=notice,
                entry=entry,
                leaf_hash=leaf_hash(entry),
                salt=salt,
                payload=payload,
                previous_record_id=state.record_id if state is not None else None,
            )
        )
        if outcome == "recorded":
            if subject_key is not None:
                house.remember_refusals(subject_key, denied)
            house.telemetry.choice_recorded(rooms.id, kind, record_id)
            if lost:
                pass_on.wake(house, rooms)
            return kind, record_id
    raise Refusal("choice_stale")
