"""Convert: a backend's events and conversions are checked against its key, judged, recorded and answered one by one.

Server calls may read the store: the last choice of the visitor or person a call names is one of the signals.
"""

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import access, consent, devices, identity, links
from gateway.destinations.normalize import Context as CleanContext
from gateway.destinations.normalize import normalize
from gateway.errors import Busy, Refusal
from gateway.event import (
    NOBODY,
    Device,
    Idempotency,
    Judged,
    OnceToken,
    Person,
    Received,
    Recordable,
    Submission,
    Visitor,
)
from gateway.flows.assemble import assemble, clean_page, clean_props, clean_rest
from gateway.flows.claiming import GOAL_UNKNOWN, names_unknown_goal
from gateway.flows.judging import Said
from gateway.ids import is_caller_id
from gateway.places import place_from
from gateway.protocols import native
from gateway.purposes import ADVERTISING
from gateway.schedule import Bucket
from gateway.signals.carried import StoredChoice
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.caller import ApiKey
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract import ConsentState
    from gateway.stores.contract_credit import Contact

__all__ = [
    "Result",
    "Results",
    "authenticate",
    "named_click",
    "person_key",
    "prepare",
    "stored_of",
    "take",
    "why_not",
]

_EVER_MS: Final = 1 << 53
_NONCE_KEPT_MS: Final = (2 * access.SIGNATURE_WINDOW_S + 1) * 1000
"""A signature may be dated a window ahead, and is good for a window after that and for the rest of its last second."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one event: `recorded`, `counted`, `duplicate`, or `conflict` with the code of a refusal."""

    id: str
    fate: str
    conversion_id: str | None = None
    counted_event_id: str | None = None
    marks: tuple[str, ...] = ()


class Results(msgspec.Struct, frozen=True):
    """The answers of one request, in order. `single`: the request held one event, not a list of one."""

    results: tuple[Result, ...]
    single: bool
    repeated: bool


def authenticate(
    house: "House", rooms: "SiteRooms", request: "Request", right: str, now_ms: int
) -> tuple["ApiKey", str, tuple[OnceToken, ...]]:
    """Find the caller's key and check its signature, if it sent or owes one.

    Answers the key, how far the caller is believed (`server` or `signed`), and the nonce to be used up with the record.
    Raises Refusal: `key_missing`, `key_invalid` (whatever was wrong, with one text), `key_forbidden`, or Busy.
    """
    token = access.read_bearer(request.authorization)
    if token is None:
        raise Refusal("key_missing")
    key = access.find_key(token, house.api_keys)
    trust: str = "server"
    once: tuple[OnceToken, ...] = ()
    valid = key is not None
    if request.signature is not None or (key is not None and key.must_sign):
        signature = access.read_signature(request.signature)
        roots = house.vault.api_secrets(key.id if key is not None else "")
        if signature is None or not access.verify_signature(
            signature, roots, method=request.method, path=request.path, body=request.body, now_ms=now_ms
        ):
            valid = False
        elif key is not None:
            trust = "signed"
            digest = hashlib.sha256(f"{key.id}\x1f{signature.nonce}".encode()).digest()[:16]
            once = (OnceToken("signature", digest, now_ms + _NONCE_KEPT_MS),)
    if key is None or not valid or rooms.id not in key.sites:
        raise Refusal("key_invalid")  # a key of another site is as unknown here as one that was never made
    if right not in key.rights:
        raise Refusal("key_forbidden")
    bucket = house.buckets.get(key.id)
    if bucket is None:
        bucket = house.buckets[key.id] = Bucket(house.settings.limits.api_per_minute, house.clock.monotonic_s())
    wait_s = bucket.take(house.clock.monotonic_s())
    if wait_s:
        raise Busy("rate_limited", retry_after_s=int(wait_s) + 1)
    return key, trust, once


async def take(house: "House", rooms: "SiteRooms", request: "Request", *, conversions: bool) -> Results:
    """Take server events or conversions. Raises Refusal or StoreError; then nothing of the request was stored."""
    now_ms = house.clock.now_ms()
    key, trust, once = authenticate(house, rooms, request, "conversions" if conversions else "events", now_ms)
    repeat = _idempotency(house, key, rooms, request)
    parsed = native.read(
        request.body,
        native.Arrived(
            site=rooms.id,
            trust=trust,
            received_at_ms=now_ms,
            currency=rooms.site.currency,
            batch_max=house.settings.limits.batch_events_max,
            new_id=house.new_event_id,
            conversion=conversions,
        ),
    )
    items, marks = await _prepared(house, rooms, parsed)
    submitted = await house.store.submit(Submission(tuple(items), once, repeat))
    if submitted.refused == "replayed":
        raise Refusal("key_invalid")
    if submitted.refused == "reused":
        raise Refusal("idempotency_key_reused")
    if not submitted.repeated:
        house.telemetry.events_received(rooms.id, trust, len(items), tuple(mark for noted in marks for mark in noted))
        for item, recorded in zip(items, submitted.recorded, strict=True):
            house.stored(rooms.id, item, recorded.fate)
    results = tuple(
        Result(recorded.own_id or item.event.event_id, recorded.fate, recorded.conversion_id, recorded.event_id, noted)
        for item, recorded, noted in zip(items, submitted.recorded, marks, strict=False)
    )
    return Results(results, not parsed.listed, submitted.repeated)


async def _prepared(
    house: "House", rooms: "SiteRooms", parsed: native.Parsed
) -> tuple[list[Recordable], list[tuple[str, ...]]]:
    """Prepare all events; anew when somebody they concern was erased meanwhile, for then what was read is void.

    Nothing may be waited for between this and handing the result to the store.
    """
    while True:
        mark = house.erasures
        items: list[Recordable] = []
        marks: list[tuple[str, ...]] = []
        for index, received in enumerate(parsed.events):
            try:
                item, noted = await prepare(house, rooms, received)
            except Refusal as refusal:
                if not parsed.prefix or refusal.field is None:
                    raise
                raise Refusal(refusal.code, f"{parsed.prefix}[{index}].{refusal.field}") from None
            items.append(item)
            marks.append(noted)
        if not any(house.erased_since(mark, item.event.visitor_key, item.person_key) for item in items):
            return items, marks


def _idempotency(house: "House", key: "ApiKey", rooms: "SiteRooms", request: "Request") -> Idempotency | None:
    """The caller's Idempotency-Key with a digest of all it stands for: the same body to another site is another call.

    Both as keyed digests: a caller may make its key from a phone number, and a plain digest of a body could be guessed.
    """
    given = request.idempotency_key
    if given is None:
        return None
    if not is_caller_id(given):
        raise Refusal("idempotency_key_invalid", "Idempotency-Key")
    body = f"{rooms.id} {request.method} {request.path}\n".encode("utf-8", "replace") + request.body
    content = hashlib.sha256(body).hexdigest()
    return Idempotency(
        key.id,
        house.vault.digest("idempotency", key.id, given).hex(),
        house.vault.digest("idempotent_body", key.id, content),
    )


async def prepare(
    house: "House", rooms: "SiteRooms", received: Received, *, strict: bool = True
) -> tuple[Recordable, tuple[str, ...]]:
    """Recognise, judge and assemble one event that an authenticated caller sent. Answers its marks too.

    `strict`: a repeat with another amount is a conflict, and not a duplicate. Raises Refusal or StoreError.
    """
    now_ms = received.received_at_ms
    click = await named_click(house, rooms, received.click_id)
    missed = why_not(received.click_id, click, received.occurred_at_ms, _window_ms(house, rooms, received))
    marks = received.marks if missed is None else (*received.marks, missed)
    if names_unknown_goal(house, rooms, received):
        marks = (*marks, GOAL_UNKNOWN)
    token = None
    if received.visitor_token is not None:
        token = identity.read_token(rooms.keys, received.visitor_token, now_ms // DAY_MS, rooms.site.id_days)
        if token is None:
            marks = (*marks, "visitor_token_invalid")
    own_key = rooms.visitor_key(token.visitor_id) if token is not None else None
    person = person_key(house, rooms, received.person)
    stored = await stored_of(house, rooms, own_key, person, now_ms)
    said = Said(stored=stored, place=_place(house, received), trusted=True, now_ms=now_ms)
    verdicts = rooms.judge(said, received)
    judgement = verdicts.own
    marks += verdicts.noted
    visitor = NOBODY
    if token is not None and consent.keeps_visitor(judgement, rooms.id_needs):
        visitor = Visitor("signed", token.visitor_id, own_key, token.issued_day)
    arrival = links.read_arrival(received.url)
    agent = received.device.user_agent
    device = received.device
    if agent is not None:
        device = Device(
            ip=device.ip,
            user_agent=device.user_agent,
            language=device.language,
            agent=devices.read_agent(agent.reveal()),
        )
    allowed = bool(verdicts.granted_to_some & ADVERTISING)
    named = _known_clicks(received)
    received = msgspec.structs.replace(
        received,
        device=device,
        campaign=arrival.campaign or received.campaign,
        click_ids={**arrival.click_ids, **named} if allowed else {},
        platform_ids=received.platform_ids if allowed else _without_ads(received.platform_ids),
    )
    received = clean_rest(received)
    page = clean_page(received, rooms.site.links)
    judged = Judged(received, visitor, judgement, page, clean_props(received), marks, verdicts.others)
    return assemble(house, rooms, judged, person_key=person, strict=strict, click=click), marks


async def named_click(house: "House", rooms: "SiteRooms", click_id: str | None) -> "Contact | None":
    """Return the click of ours with an id, whenever it was. Raises StoreError."""
    if click_id is None:
        return None
    found = await house.store.contacts(
        rooms.id, visitor_keys=(), click_ids=(click_id,), after_ms=0, upto_ms=_EVER_MS, limit=10
    )
    return next((one for one in found if one.click_id == click_id), None)


def why_not(click_id: str | None, click: "Contact | None", at_ms: int, window_ms: int) -> str | None:
    """Why a named click cannot earn a conversion: `click_unknown`, `click_after_conversion`, `click_expired`, or None."""
    if click_id is None:
        return None
    if click is None:
        return "click_unknown"
    if click.occurred_at_ms > at_ms:
        return "click_after_conversion"
    return "click_expired" if at_ms - click.occurred_at_ms > window_ms else None


def _window_ms(house: "House", rooms: "SiteRooms", received: Received) -> int:
    """How old a click may be for the goal of an event."""
    shelf = house.shelves[rooms.id]
    code = received.goal if received.goal is not None else received.name
    return (shelf.goals.get(code) or shelf.implied_goal(code)).click_window_ms


def _place(house: "House", received: Received) -> str:
    """Where the person of a server's event is: as the event says it, else where the address it names is."""
    person, ip = received.person, received.device.ip
    if house.settings.places.source == "off":
        return ""
    if person is not None and person.country is not None:
        region = person.region.reveal() if person.region is not None else None
        found = place_from(person.country.reveal(), region)
        if found:
            return found
    return house.place_of("", ip.reveal() if ip is not None else None)


def _known_clicks(received: Received) -> dict[str, str]:
    """Click ids the caller named itself. What cannot be one is refused, not dropped."""
    named = links.read_click_ids(received.click_ids)
    if named.unknown or named.malformed:
        raise Refusal("field_unknown" if named.unknown else "field_invalid", "click_ids")
    return named.click_ids


def _without_ads(platform_ids: "Mapping[str, str]") -> dict[str, str]:
    return {name: value for name, value in platform_ids.items() if name == "_ga"}


def person_key(house: "House", rooms: "SiteRooms", person: Person | None) -> bytes | None:
    """The keyed digest under which the store knows a person: of the external id, else of the e-mail address."""
    if person is None:
        return None
    if person.external_id is not None:
        return house.vault.digest("external_id", rooms.id, person.external_id.reveal().strip())
    for email in person.email:
        cleaned = normalize("google", "email_address", email.reveal(), CleanContext(year=2000)).send
        if cleaned is not None:
            return house.vault.digest("email", rooms.id, cleaned)
    return None


async def stored_of(
    house: "House", rooms: "SiteRooms", visitor: bytes | None, person: bytes | None, now_ms: int
) -> StoredChoice | None:
    """The recorded choices of a visitor and a person together: a refusal of either counts, a grant needs no refusal."""
    found: StoredChoice | None = None
    for subject in (visitor, person):
        state = await house.store.consent_state(rooms.id, subject) if subject is not None else None
        if state is None:
            continue
        choice = _as_choice(rooms, state, now_ms)
        if found is None:
            found = choice
            continue
        denied = found.denied | choice.denied
        found = StoredChoice(
            (found.granted | choice.granted) & ~denied,
            denied,
            max(found.at_ms, choice.at_ms),
            found.current and choice.current,
        )
    return found


def _as_choice(rooms: "SiteRooms", state: "ConsentState", now_ms: int) -> StoredChoice:
    young = now_ms - state.decided_at_ms <= rooms.site.choice_days * DAY_MS
    return StoredChoice(
        state.granted, state.denied, state.decided_at_ms, young and state.notice == rooms.site.notice_version
    )
