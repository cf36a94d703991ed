"""Choose: a visitor's choice about consent becomes a log entry, a signed receipt, and the end of what it forbids.

A choice that changes nothing writes nothing. A refusal by somebody without an id leaves an entry without a subject: that
it happened can be shown, by whom cannot.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, identity, links
from gateway.audit.entry import commitment, consent_entry, leaf_hash
from gateway.errors import Refusal
from gateway.event import ConsentChange, Person, Submission
from gateway.flows.convert import authenticate, person_key
from gateway.flows.receive import check_origin, follow_link
from gateway.ids import RANDOM_ID_BYTES, random_id
from gateway.protocols import native
from gateway.purposes import ADVERTISING, ALL_PURPOSES, NECESSARY, PURPOSES, names
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract import ConsentState

__all__ = ["Chosen", "choose_in_browser", "choose_on_server", "read_in_browser"]

_TRIES: Final = 3


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A recorded choice as it is answered. `recorded` False: the same choice was known already."""

    choice: dict[str, str]
    decided_at_ms: int | None = None
    notice: str = ""
    kind: str | None = None
    record_id: str | None = None
    recorded: bool = False
    cookies: tuple[str, ...] = ()


def _words(granted: int, denied: int) -> dict[str, str]:
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
        return Chosen(choice=_words(0, 0), notice=rooms.site.notice_version)
    return Chosen(
        choice=_words(receipt.granted, receipt.denied),
        decided_at_ms=receipt.decided_at_ms,
        notice=receipt.notice,
        record_id=receipt.position or None,
    )


async def choose_in_browser(house: "House", rooms: "SiteRooms", request: "Request") -> Chosen:
    """Take a `POST /consent` of a page."""
    check_origin(rooms, request)
    choice = native.read_choice(request.body, server=False)
    now_ms = house.clock.now_ms()
    site, today = rooms.site, now_ms // DAY_MS
    notice = choice.notice or site.notice_version
    values = identity.cookie_values(request.cookie, rooms.consent_cookie)
    before = identity.read_receipt(rooms.keys, values, now_ms)
    was_granted, was_denied = (before.granted & ~NECESSARY, before.denied) if before is not None else (0, 0)
    granted, denied = _merged(was_granted, was_denied, choice.granted, choice.denied)
    token, _ = identity.recognise(
        rooms.keys, identity.cookie_values(request.cookie, rooms.id_cookie), today, site.id_days
    )

    cookies: dict[str, str] = {}
    if granted & rooms.id_needs:
        if choice.link_token is not None:
            page = links.host_of(request.origin or request.referer)
            token, _ = follow_link(house, rooms, choice.link_token, page, token, now_ms)
        if token is None:
            token = identity.Token(house.new_visitor_id(), today, 0, True)
        if identity.renewal_due(token, today):
            value = identity.sign_token(rooms.keys, token.visitor_id, token.issued_day, today)
            cookies["id"] = identity.set_cookie(rooms.shape, identity.ID_COOKIE, value, site.id_days * 86_400)
    elif rooms.id_cookie in request.cookie:
        cookies["id"] = identity.expired_cookie(rooms.shape, identity.ID_COOKIE)
    if not granted & ADVERTISING and rooms.click_cookie in request.cookie:
        cookies["click"] = identity.expired_cookie(rooms.shape, identity.CLICK_COOKIE)

    same = before is not None and (granted, denied, notice) == (was_granted, was_denied, before.notice)
    if same and before is not None:
        return Chosen(
            choice=_words(granted, denied),
            decided_at_ms=before.decided_at_ms,
            notice=notice,
            record_id=before.position or None,
            cookies=tuple(cookies.values()),
        )
    subject = rooms.visitor_key(token.visitor_id) if token is not None else None
    kind, record_id = await _record(
        house,
        rooms,
        subject_key=subject,
        before=(was_granted, was_denied) if before is not None else None,
        granted=granted,
        denied=denied,
        decided_at_ms=now_ms,
        now_ms=now_ms,
        method=choice.method,
        notice=notice,
        language=choice.language,
    )
    receipt = identity.Receipt(granted | NECESSARY, denied, now_ms, notice, record_id)
    cookies["consent"] = identity.set_cookie(
        rooms.shape, identity.CONSENT_COOKIE, identity.sign_receipt(rooms.keys, receipt), site.choice_days * 86_400
    )
    return Chosen(
        choice=_words(granted, denied),
        decided_at_ms=now_ms,
        notice=notice,
        kind=kind,
        record_id=record_id,
        recorded=True,
        cookies=tuple(cookies.values()),
    )


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
    granted, denied = _merged(*was, choice.granted, choice.denied)
    notice = choice.notice or rooms.site.notice_version
    if state is not None and (granted, denied, notice) == (*was, state.notice):
        return Chosen(
            choice=_words(granted, denied), decided_at_ms=state.decided_at_ms, notice=notice, record_id=state.record_id
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
        choice=_words(granted, denied),
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


def _merged(was_granted: int, was_denied: int, granted: int, denied: int) -> tuple[int, int]:
    """What is granted and denied after a choice: it replaces what it names and leaves the rest as it was."""
    named = granted | denied
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
        lost = denied & ALL_PURPOSES
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
            return kind, record_id
    raise Refusal("choice_stale")
