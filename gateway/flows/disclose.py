"""Disclose: what this site holds about the browser that asks, in counts for its page and in full for its download.

A browser is shown what belongs to the signed id in its own cookie, and only if that cookie is host-only: one that several
hosts share could have been planted by any of them, and whoever planted it would read along. Contact data is never shown;
it is not stored.
"""

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway import identity
from gateway.flows.assemble import Facts
from gateway.flows.choose import words_of
from gateway.flows.explain import judgement_lines
from gateway.flows.forms import visitor_of
from gateway.flows.judging import Said, Verdicts
from gateway.flows.receive import stored_choice
from gateway.money import major_text
from gateway.outcome import REASONS
from gateway.purposes import NECESSARY, PURPOSES, Judgement, Step, names
from gateway.signals import gpc
from gateway.times import utc_text
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract import EventRecord, HeldTouch, RecordRow

__all__ = ["Choice", "Count", "Record", "Seen", "Standing", "export", "see"]

EVENTS_MAX: Final = 10_000
PAGE: Final = 500
RECORDS_SHOWN: Final = 50
_NOT_BY_CHOICE: Final = frozenset({"bot", "test_event"})
"""Reasons for which an event is withheld whatever its visitor chose."""


class Standing(msgspec.Struct, frozen=True):
    """One purpose: what the visitor `said` (`granted`, `denied`, `unset`), whether it is `allowed` now, and which step of
    the rules decided (`exempt`, `stored_refusal`, `opt_out_signal`, ..., see `purposes.Step`). `allowed_to` and
    `not_allowed_to` are recipients for whom it is otherwise, because a signal of the visitor names them."""

    purpose: str
    said: str
    allowed: bool
    because: str
    allowed_to: tuple[str, ...] = ()
    not_allowed_to: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """The choice that is known. `day_only`: of a refusal only its day is kept. `current`: its grants still count."""

    at_ms: int
    day_only: bool
    notice: str
    current: bool


class Count(msgspec.Struct, frozen=True):
    """So many deliveries to one destination ended so. `title` is what its platform calls itself. `reason` is `bot` or
    `test_event` where that kept an event back, else empty: the other reasons are the visitor's own answer."""

    destination: str
    title: str
    fate: str
    reason: str
    count: int


class Record(msgspec.Struct, frozen=True):
    """One recorded choice, for people. Sets as names."""

    record_id: str
    kind: str
    at_ms: int
    method: str
    notice: str
    granted: tuple[str, ...]
    denied: tuple[str, ...]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows.

    `who`: `signed` (this browser has an id of ours), `nobody` (it has none), `conflict` (it has two), `shared` (its id
    cookie belongs to several hosts, so what is held is not shown). `gpc`: None when the signal did not come, else whether
    it is honoured; an operator may let an explicit choice on this site override it. Counts are None unless `who` is
    `signed`.
    """

    site: str
    notice_now: str
    who: str
    choice: Choice | None
    purposes: tuple[Standing, ...]
    gpc: bool | None
    cookieless: bool
    events: int | None = None
    first_at_ms: int | None = None
    last_at_ms: int | None = None
    conversions: int | None = None
    touches: int | None = None
    deliveries: tuple[Count, ...] = ()
    told: tuple[Count, ...] = ()
    records: tuple[Record, ...] = ()
    records_left_out: int = 0


class _Known(NamedTuple):
    """Who asks, and the choice that is known of them."""

    who: str
    visitor_key: bytes | None
    receipt: identity.Receipt | None


async def _known(house: "House", rooms: "SiteRooms", request: "Request") -> _Known:
    """Whom the request's cookies show, and their last choice: the receipt's, or a newer one that a backend recorded."""
    values = identity.cookie_values(request.cookie, rooms.consent_cookie)
    receipt = identity.read_receipt(rooms.keys, values, house.clock.now_ms())
    token, mark = visitor_of(house, rooms, request)
    if token is None:
        return _Known("conflict" if mark == "id_conflict" else "nobody", None, receipt)
    if rooms.shape.domain is not None:
        return _Known("shared", None, receipt)
    key = rooms.visitor_key(token.visitor_id)
    state = await house.store.consent_state(rooms.id, key)
    if state is not None and (receipt is None or state.decided_at_ms > receipt.decided_at_ms):
        receipt = identity.Receipt(
            state.granted | NECESSARY, state.denied, state.decided_at_ms, state.notice, state.record_id
        )
    return _Known("signed", key, receipt)


async def see(house: "House", rooms: "SiteRooms", request: "Request") -> Seen:
    """What the page shows to this browser."""
    known = await _known(house, rooms, request)
    seen = _choice_seen(house, rooms, request, known)
    if known.visitor_key is None:
        return seen
    held = await house.store.held(rooms.id, known.visitor_key)
    return msgspec.structs.replace(
        seen,
        events=held.events,
        first_at_ms=held.first_at_ms,
        last_at_ms=held.last_at_ms,
        conversions=held.conversions,
        touches=held.touches,
        deliveries=_counts(rooms, held.deliveries),
        told=_counts(rooms, held.told),
        records=tuple(_record(row) for row in held.records[-RECORDS_SHOWN:]),
        records_left_out=max(0, len(held.records) - RECORDS_SHOWN),
    )


def _choice_seen(house: "House", rooms: "SiteRooms", request: "Request", known: _Known) -> Seen:
    receipt = known.receipt
    verdicts = _judged(house, rooms, request, receipt)
    judgement = verdicts.own
    said = words_of(receipt.granted, receipt.denied) if receipt is not None else words_of(0, 0)
    stored = stored_choice(rooms, receipt, house.clock.now_ms())
    choice = None
    if receipt is not None and stored is not None:
        day_only = not receipt.granted & ~NECESSARY and not receipt.position
        choice = Choice(receipt.decided_at_ms, day_only, receipt.notice, stored.current)
    return Seen(
        site=rooms.id,
        notice_now=rooms.site.notice_version,
        who=known.who,
        choice=choice,
        purposes=tuple(
            _standing(rooms, verdicts, name, bit, said.get(name, "unset")) for name, bit in PURPOSES.items()
        ),
        gpc=_gpc_honoured(judgement) if gpc.meaning(request.sec_gpc) else None,
        cookieless=rooms.site.cookieless == "daily",
    )


def _judged(house: "House", rooms: "SiteRooms", request: "Request", receipt: identity.Receipt | None) -> Verdicts:
    now_ms = house.clock.now_ms()
    said = Said(
        stored=stored_choice(rooms, receipt, now_ms),
        sec_gpc=request.sec_gpc,
        dnt=request.dnt,
        cookie=request.cookie_octets,
        place=house.place_of(request.place, request.address),
        now_ms=now_ms,
    )
    return rooms.judge(said, None)


def _standing(rooms: "SiteRooms", verdicts: Verdicts, name: str, bit: int, said: str) -> Standing:
    allowed = bool(verdicts.own.granted & bit)
    titles = {placed.name: placed.definition.title for placed in rooms.destinations}
    others = tuple(
        titles.get(destination, destination)
        for destination, judgement in verdicts.others.items()
        if bool(judgement.granted & bit) is not allowed
    )
    because = "regime_default"
    for ruling in verdicts.own.rulings:
        if ruling.purposes & bit:
            because = Step(ruling.step).name.lower() if ruling.step else "exempt"
    return Standing(name, said, allowed, because, () if allowed else others, others if allowed else ())


def _gpc_honoured(judgement: Judgement) -> bool:
    """Whether the signal left no advertising purpose allowed."""
    return not judgement.granted & (PURPOSES["advertising"] | PURPOSES["ad_user_data"] | PURPOSES["ad_personalization"])


def _counts(rooms: "SiteRooms", found: "Mapping[tuple[str, str, str], int]") -> tuple[Count, ...]:
    titles = {placed.name: placed.definition.title for placed in rooms.destinations}
    counts: Counter[tuple[str, str, str]] = Counter()
    for (name, fate, reason), count in found.items():
        counts[name, fate, reason if reason in _NOT_BY_CHOICE else ""] += count
    return tuple(
        Count(name, titles.get(name, ""), fate, reason, count) for (name, fate, reason), count in counts.items()
    )


def _record(row: "RecordRow") -> Record:
    payload = msgspec.json.decode(row.payload, type=_Payload)
    return Record(
        row.record_id,
        payload.event_type,
        row.received_at_ms,
        payload.method,
        payload.notice,
        tuple(payload.granted),
        tuple(payload.denied),
    )


class _Payload(msgspec.Struct):
    event_type: str = ""
    method: str = ""
    notice: str = ""
    granted: list[str] = []
    denied: list[str] = []


# ------------------------------------------------------------------ the download


async def export(house: "House", rooms: "SiteRooms", request: "Request") -> dict[str, object]:
    """Everything that is stored under this browser's id, with what the page shows. `complete` False: there is so much
    that the newest part was left out; ask the site's owner for the rest."""
    known = await _known(house, rooms, request)
    seen = _choice_seen(house, rooms, request, known)
    made: dict[str, object] = {
        "site": rooms.id,
        "made_at": utc_text(house.clock.now_ms()),
        "known_as": known.who,
        "choice": {
            "purposes": {
                one.purpose: {
                    "said": one.said,
                    "allowed": one.allowed,
                    "because": one.because,
                    "allowed_to": one.allowed_to,
                    "not_allowed_to": one.not_allowed_to,
                }
                for one in seen.purposes
            },
            "decided_at": utc_text(seen.choice.at_ms) if seen.choice is not None else None,
            "notice": seen.choice.notice if seen.choice is not None else None,
        },
        "global_privacy_control": {"seen": seen.gpc is not None, "honoured": seen.gpc},
    }
    if known.visitor_key is None:
        return {**made, "complete": True, "consent_records": [], "events": [], "touches": []}
    held = await house.store.held(rooms.id, known.visitor_key)
    events: list[EventRecord] = []
    while len(events) < EVENTS_MAX:
        page = await house.store.events_of(rooms.id, known.visitor_key, len(events), PAGE)
        events += page
        if len(page) < PAGE:
            break
    touches = await house.store.touches_of(rooms.id, known.visitor_key, EVENTS_MAX)
    return {
        **made,
        "complete": held.events <= len(events) and held.touches <= len(touches),
        "consent_records": [{"record_id": row.record_id, **_object(row.payload)} for row in held.records],
        "events": [_event(rooms, record) for record in events],
        "touches": [_touch(house, touch) for touch in touches],
    }


def _object(encoded: bytes) -> dict[str, object]:
    return msgspec.json.decode(encoded, type=dict[str, object])


def _event(rooms: "SiteRooms", record: "EventRecord") -> dict[str, object]:
    facts = msgspec.json.decode(record.facts, type=Facts)
    kept = {name: value for name, value in _object(record.facts).items() if name not in {"judgement", "judgements"}}
    titles = {placed.name: placed.definition.title for placed in rooms.destinations}
    return {
        "event_id": record.event_id,
        "name": record.name,
        "occurred_at": utc_text(record.occurred_at_ms),
        "received_at": utc_text(record.received_at_ms),
        "sent_by": record.trust,
        "facts": kept,
        "consent": {"granted": list(names(facts.judgement.granted)), "reasons": judgement_lines(facts.judgement)},
        "conversions": [
            {
                "goal": row.goal,
                "order_id": row.order_id,
                "value": major_text(row.amount_minor, row.currency)
                if row.amount_minor is not None and row.currency
                else None,
                "currency": row.currency,
                "fate": row.fate,
            }
            for row in record.conversions
        ],
        "deliveries": [
            {
                "destination": row.destination,
                "platform": titles.get(row.destination),
                "fate": row.fate,
                "because": REASONS[row.reason].sentence,
                "judged_at": utc_text(row.judged_at_ms),
                "settled_at": utc_text(row.settled_at_ms) if row.settled_at_ms is not None else None,
            }
            for row in record.deliveries
        ],
    }


def _touch(house: "House", touch: "HeldTouch") -> dict[str, object]:
    return {
        "event_id": touch.event_id,
        "kind": touch.kind,
        "occurred_at": utc_text(touch.occurred_at_ms),
        "referrer": touch.referrer,
        "campaign": _object(touch.campaign) if touch.campaign is not None else {},
        "click_ids": _click_ids(house, touch),
    }


def _click_ids(house: "House", touch: "HeldTouch") -> dict[str, object]:
    """Click ids out of their seal. What cannot be opened any more cannot be shown to anybody."""
    if touch.click_ids is None:
        return {}
    try:
        return _object(house.vault.open(touch.click_ids, touch.visitor_key))
    except SealedUnreadable:
        return {}
