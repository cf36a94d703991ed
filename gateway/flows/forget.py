"""Forget: a visitor is taken out of everything this site stores, in one transaction, and destinations are told.

What is counted stays counted. A conversion keeps its order number and amount, because books must add up, and loses whom
it belongs to; an event keeps its name and time; of its facts nothing is kept that tells of a person. Touches, recorded
choices and what waits to be sent are gone. The log keeps its entries, which say nothing without the deleted records, and
gets one more: that somebody was erased, and when.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, identity
from gateway.audit.entry import commitment, consent_entry, leaf_hash
from gateway.errors import Refusal
from gateway.event import ConsentChange
from gateway.flows import carts, pass_on
from gateway.flows.assemble import Facts
from gateway.flows.choose import Wish, choose_as_visitor, deleted_cookies
from gateway.flows.explain import ERASED
from gateway.flows.forms import visitor_of
from gateway.flows.persons import keys_of
from gateway.ids import RANDOM_ID_BYTES, random_id
from gateway.purposes import ALL_PURPOSES, NECESSARY, names
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.stores.contract import Erased

__all__ = ["Forgotten", "forget", "forget_in_browser", "reduced"]

_TRIES: Final = 3
_REFUSED: Final = ALL_PURPOSES & ~NECESSARY
_read_facts: Final = msgspec.json.Decoder(Facts).decode
_encode: Final = msgspec.json.Encoder().encode


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure asked for in a browser did. `erased` None: nothing was stored under an id of this browser."""

    cookies: tuple[str, ...]
    erased: "Erased | None" = None
    record_id: str | None = None


async def forget_in_browser(
    house: "House", rooms: "SiteRooms", request: "Request", *, method: str, language: str | None
) -> Forgotten:
    """Erase the visitor of this browser. The browser keeps a refusal of everything, and no id.

    Without an id there is nobody to erase: then everything is refused, which is the part that can be done.
    """
    token, _ = visitor_of(house, rooms, request)
    if token is None:
        wish = Wish(granted=0, denied=_REFUSED, method=method, language=language)
        chosen = await choose_as_visitor(house, rooms, request, wish)
        return Forgotten(cookies=chosen.cookies)
    record_id, erased = await forget(house, rooms, rooms.visitor_key(token.visitor_id), method=method)
    now_ms = house.clock.now_ms()
    refusal = identity.Receipt(NECESSARY, _REFUSED, now_ms, rooms.site.notice_version)
    cookies = deleted_cookies(rooms, request, 0)
    cookies["consent"] = identity.set_cookie(
        rooms.shape,
        identity.CONSENT_COOKIE,
        identity.sign_receipt(rooms.keys, refusal),
        rooms.site.choice_days * 86_400,
    )
    return Forgotten(cookies=tuple(cookies.values()), erased=erased, record_id=record_id)


async def forget(house: "House", rooms: "SiteRooms", subject_key: bytes, *, method: str) -> tuple[str, "Erased"]:
    """Erase one visitor or person of a site. Answers the id of the log's entry. Raises Refusal `choice_stale`."""
    # Before it is durable already: hits that are judged meanwhile must find a refusal, not leave new traces.
    house.remember_refusals(subject_key, _REFUSED)
    house.remember_erasure(subject_key)
    await _stop_carts(house, rooms, subject_key)
    for _ in range(_TRIES):
        change = await _erasure(house, rooms, subject_key, method)
        erased = await house.store.erase(change, reduced)
        if erased is not None:
            house.telemetry.choice_recorded(rooms.id, ERASED, change.record_id)
            pass_on.wake(house, rooms)
            return change.record_id, erased
    raise Refusal("choice_stale")


async def _stop_carts(house: "House", rooms: "SiteRooms", subject_key: bytes) -> None:
    """A cart is timed under one key, and may hold the contact data of a person with another."""
    for timer in await house.store.timers(rooms.id, carts.KIND):
        try:
            cart = carts.read_cart(house, rooms.id, timer.subject_key, timer.payload)
        except SealedUnreadable:
            continue
        if subject_key in (cart.person_key, *keys_of(house, rooms, carts.person_of(cart))):
            await house.store.stop_timer(rooms.id, carts.KIND, (timer.subject_key,))


async def _erasure(house: "House", rooms: "SiteRooms", subject_key: bytes, method: str) -> ConsentChange:
    """The log's entry of an erasure. Its tag is the subject's, so that the log shows where a history ends; what it commits
    to says when and how, and not who."""
    now_ms = house.clock.now_ms()
    notice = rooms.site.notice_version
    state = await house.store.consent_state(rooms.id, subject_key)
    record_id = random_id(house.entropy.token_bytes(RANDOM_ID_BYTES))
    salt = house.entropy.token_bytes(32)
    tag = state.subject_tag if state is not None else None
    previous = state.record_id if state is not None else None
    payload = _encode(
        {
            "record_id": record_id,
            "site": rooms.id,
            "event_type": ERASED,
            "granted": [],
            "denied": names(_REFUSED),
            "decided_at_ms": now_ms,
            "received_at_ms": now_ms,
            "method": method,
            "notice": notice,
            "language": None,
        }
    )
    entry = consent_entry(
        record_id=record_id,
        kind=ERASED,
        site=rooms.id,
        subject_tag=tag,
        occurred_at_ms=now_ms,
        received_at_ms=now_ms,
        granted=(),
        denied=names(_REFUSED),
        method=method,
        notice=notice,
        regime=rooms.site.regime,
        rules=consent.RULES_VERSION,
        payload_commitment=commitment(salt, payload),
        previous_record_id=previous,
    )
    return ConsentChange(
        record_id=record_id,
        site=rooms.id,
        subject_key=subject_key,
        subject_tag=tag,
        decided_at_ms=now_ms,
        received_at_ms=now_ms,
        granted=0,
        denied=_REFUSED,
        lost=ALL_PURPOSES,
        notice=notice,
        entry=entry,
        leaf_hash=leaf_hash(entry),
        salt=salt,
        payload=payload,
        previous_record_id=previous,
    )


def reduced(facts: bytes) -> bytes:
    """What is left of an event's facts: amount, goal, and how it was judged. Everything else goes, whatever will be added
    to facts one day. The order number stays with the conversion, and nowhere else."""
    known = _read_facts(facts)
    return _encode(
        Facts(
            amount_minor=known.amount_minor,
            currency=known.currency,
            goal=known.goal,
            marks=(ERASED,),
            test=known.test,
            status=known.status,
            judgement=known.judgement,
            judgements=known.judgements,
        )
    )
