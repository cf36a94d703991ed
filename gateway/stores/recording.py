"""The transaction body: what one submission, one choice or one clean-up does to the tables.

Runs in the writer's thread, inside its transaction. Uniqueness is the database's: the first event with an id and the
first conversion with a key win by unique index, never by having looked first.
"""

import sqlite3
from typing import Final

import msgspec

from gateway.event import ConsentChange, ConversionClaim, Recordable, Recorded, Submission, Submitted
from gateway.stores import crediting
from gateway.stores.contract import Passing, PassOn
from gateway.stores.named_sql import statements

__all__ = [
    "append", "choose", "event_row", "expire", "named", "record", "repeat_reason", "sent_of", "size_of", "tell",
]  # fmt: skip

_SQL: Final = statements("record.sql")
_CONSENT: Final = statements("consent.sql")
_READ: Final = statements("read.sql")
_SUBJECT: Final = statements("subject.sql")

_encode_recorded: Final = msgspec.msgpack.Encoder().encode
_decode_recorded: Final = msgspec.msgpack.Decoder(tuple[Recorded, ...]).decode

PORTION: Final = 500
"""Rows one clean-up transaction deletes at most, so that it never holds up requests."""


def size_of(item: Recordable) -> int:
    """Roughly how many bytes a record holds in the queue."""
    held = len(item.event.facts) + 400 + sum([len(timer.payload) + 100 for timer in item.timers])
    if item.touch is not None:
        held += 400 + len(item.touch.click_ids or b"")
    return held + sum([len(owed.payload or b"") + 200 for owed in item.owed])


def event_row(site_no: int, item: Recordable) -> tuple[object, ...]:
    """Columns of `event_insert`."""
    event = item.event
    return (
        site_no, event.event_id, event.name, event.trust, event.occurred_at_ms, event.received_at_ms,
        event.visitor_kind, event.visitor_key, item.person_key, event.facts,
    )  # fmt: skip


def record(
    db: sqlite3.Connection, submission: Submission, numbers: dict[str, int], pass_on: PassOn | None
) -> Submitted:
    """Store one submission. The caller has opened a savepoint."""
    repeat = submission.idempotency
    if repeat is not None:
        found = db.execute(_SQL["idempotency_get"], (repeat.api_key_id, repeat.key)).fetchone()
        if found is not None:
            if found[0] != repeat.body_sha256:
                return Submitted(refused="reused")
            return Submitted(_decode_recorded(found[1]), repeated=True)
    for token in submission.once:
        if db.execute(_SQL["once_insert"], (token.use, token.digest, token.expires_at_ms)).rowcount != 1:
            return Submitted(refused="replayed")
    recorded = tuple([_record_one(db, item, numbers[item.event.site], pass_on) for item in submission.items])
    if repeat is not None:
        recorded = named(recorded, submission)
        at_ms = submission.items[0].event.received_at_ms
        db.execute(
            _SQL["idempotency_insert"],
            (repeat.api_key_id, repeat.key, repeat.body_sha256, _encode_recorded(recorded), at_ms),
        )
    return Submitted(recorded)


def named(recorded: tuple[Recorded, ...], submission: Submission) -> tuple[Recorded, ...]:
    """Return the answers with each event's own id, for a submission that may be asked about again."""
    pairs = zip(recorded, submission.items, strict=True)
    return tuple([msgspec.structs.replace(answer, own_id=item.event.event_id) for answer, item in pairs])


def _record_one(db: sqlite3.Connection, item: Recordable, site_no: int, pass_on: PassOn | None) -> Recorded:
    inserted = db.execute(_SQL["event_insert"], event_row(site_no, item))
    if inserted.rowcount != 1:
        return _seen_before(db, item, site_no)
    seq = inserted.lastrowid
    counted = True
    recorded = Recorded("recorded")
    if item.conversion is not None:
        recorded = _count(db, item, site_no, seq)
        counted = recorded.fate == "counted"
        if recorded.fate == "conflict":
            db.execute(_SQL["event_delete"], (seq,))
            return recorded
    if item.consent is not None:
        choose(db, item.consent, site_no, pass_on)
    if item.touch is not None:
        crediting.put_touch(db, site_no, seq, item.touch)
    crediting.see_device(db, site_no, item)
    crediting.change_timers(db, site_no, item.timers)
    if counted:
        at_ms = item.event.received_at_ms
        for owed in item.owed:
            settled_at_ms = None if owed.fate == "waiting" else at_ms
            db.execute(
                _SQL["delivery_insert"],
                (
                    site_no, seq, owed.destination, owed.fate, owed.reason, owed.detail, owed.purposes,
                    item.event.visitor_key, item.person_key, at_ms, at_ms, owed.expires_at_ms, owed.dedup_key,
                    owed.payload, settled_at_ms,
                ),
            )  # fmt: skip
    return recorded


def _seen_before(db: sqlite3.Connection, item: Recordable, site_no: int) -> Recorded:
    """The event id was stored before: say so, and name the conversion that counts, if it was one."""
    found = db.execute(_SQL["event_conversion"], (site_no, item.event.event_id)).fetchone()
    if found is None:
        return Recorded("duplicate", None, item.event.event_id)
    return Recorded("duplicate", found[1] or found[0], item.event.event_id)


def _count(db: sqlite3.Connection, item: Recordable, site_no: int, seq: int | None) -> Recorded:
    """Count a conversion, or find that its key was counted before."""
    claim, event = item.conversion, item.event
    assert claim is not None  # noqa: S101 - the caller looked
    conversion_id = f"c{site_no}_{event.event_id}"
    head = (
        conversion_id, site_no, seq, claim.goal, claim.key, claim.order_id, claim.amount_minor, claim.currency,
        int(claim.test),
    )  # fmt: skip
    tail = crediting.conversion_columns(item, claim, counts=True)
    if db.execute(_SQL["conversion_insert"], (*head, "counted", "first_with_key", None, *tail)).rowcount == 1:
        crediting.sum_conversion(db, site_no, item, claim, "counted")
        return Recorded("counted", conversion_id, event.event_id)
    counted_id, amount_minor, currency, fate, event_id = db.execute(
        _SQL["conversion_first"], (site_no, claim.goal, claim.key)
    ).fetchone()
    reason = repeat_reason(claim, amount_minor, currency, fate)
    if reason == "value_differs" and item.strict:
        return Recorded("conflict", counted_id, event_id)
    tail = crediting.conversion_columns(item, claim, counts=False)
    db.execute(_SQL["conversion_insert"], (*head, "duplicate", reason, counted_id, *tail))
    crediting.sum_conversion(db, site_no, item, claim, "duplicate")
    return Recorded("duplicate", counted_id, event_id)


_SAME: Final = {"o": "same_order", "e": "same_event", "p": "same_person", "k": "same_click"}


def repeat_reason(claim: ConversionClaim, amount_minor: int | None, currency: str | None, fate: str) -> str:
    """Why a conversion repeats an earlier one with this amount, currency and fate. A code of outcome.REASONS.

    A second order of the same person, or after the same click, may well be of another amount.
    """
    if fate == "retracted":
        return "retracted_before"
    kind = claim.key[:1]
    said = kind in {"o", "e"} and claim.value_source == "event" and claim.amount_minor is not None
    if said and (claim.amount_minor, claim.currency) != (amount_minor, currency):
        return "value_differs"
    return _SAME[kind]


def choose(db: sqlite3.Connection, change: ConsentChange, site_no: int, pass_on: PassOn | None) -> str:
    """Append one choice to the log, keep it as the subject's state, cancel what rested on lost purposes, pass it on.

    Passed on is what was not refused before: repeating a refusal tells nobody anything new.
    """
    refused_before = 0
    if change.subject_key is not None and change.subject_tag is not None:
        known = db.execute(_CONSENT["state_get"], (site_no, change.subject_key)).fetchone()
        if (known[5] if known else None) != change.previous_record_id or (known and known[0] != change.subject_tag):
            return "stale"
        refused_before = known[2] if known else 0
        state = (
            site_no, change.subject_key, change.subject_tag, change.granted, change.denied, change.decided_at_ms,
            change.notice, change.record_id,
        )  # fmt: skip
        db.execute(_CONSENT["state_put"], state)
    append(db, change, site_no, change.subject_key)
    if change.lost and change.subject_key is not None:
        names = {"now_ms": change.received_at_ms, "lost": change.lost, "subject_key": change.subject_key}
        db.execute(_CONSENT["cancel_waiting"], names).fetchall()
        lost = change.lost & ~refused_before
        if pass_on is not None and lost:
            tell(db, change, site_no, pass_on, sent_of(db, change, site_no, lost), lost=lost, erased=False)
    return "recorded"


def append(db: sqlite3.Connection, change: ConsentChange, site_no: int, subject_key: bytes | None) -> None:
    """Append an entry to the site's log, and keep what it commits to under `subject_key`."""
    (entry_no,) = db.execute(_CONSENT["entry_next"], (site_no,)).fetchone()
    db.execute(_CONSENT["entry_insert"], (site_no, entry_no, change.record_id, change.entry, change.leaf_hash))
    db.execute(
        _CONSENT["record_insert"],
        (change.record_id, site_no, subject_key, change.salt, change.payload, change.received_at_ms),
    )


def sent_of(db: sqlite3.Connection, change: ConsentChange, site_no: int, lost: int) -> dict[str, list[str]]:
    """Events each destination may hold of the subject that rest on what was lost."""
    names = {"site_no": site_no, "subject_key": change.subject_key, "lost": lost}
    sent: dict[str, list[str]] = {}
    for destination, event_id in db.execute(_CONSENT["sent_of"], names):
        sent.setdefault(destination, []).append(event_id)
    return sent


def tell(
    db: sqlite3.Connection,
    change: ConsentChange,
    site_no: int,
    pass_on: PassOn,
    sent: dict[str, list[str]],
    *,
    lost: int,
    erased: bool,
) -> None:
    """Owe every destination that may hold something what it is to be told. Such rows name nobody."""
    if not sent:
        return
    at_ms = change.received_at_ms
    passing = Passing(
        site=change.site,
        record_id=change.record_id,
        at_ms=at_ms,
        granted=change.granted,
        lost=lost,
        erased=erased,
        sent={destination: tuple(event_ids) for destination, event_ids in sent.items()},
    )
    for owed in pass_on(passing):
        settled_at_ms = None if owed.fate == "waiting" else at_ms
        db.execute(
            _CONSENT["tell_insert"],
            (
                site_no, change.record_id, owed.destination, owed.fate, owed.reason, owed.detail, owed.purposes, at_ms,
                at_ms, owed.expires_at_ms, owed.dedup_key, owed.payload, settled_at_ms,
            ),
        )  # fmt: skip


def expire(
    db: sqlite3.Connection, *, now_ms: int, events_before_ms: int, attempts_before_ms: int, dead_before_ms: int
) -> int:
    """Delete one portion of what is past its time. Events with waiting deliveries stay until those are settled."""
    gone = db.execute(_READ["expire_once"], {"now_ms": now_ms, "limit": PORTION}).rowcount
    gone += db.execute(_READ["expire_idempotency"], {"before_ms": attempts_before_ms, "limit": PORTION}).rowcount
    gone += db.execute(_READ["expire_attempts"], {"before_ms": attempts_before_ms, "limit": PORTION}).rowcount
    names = {"now_ms": now_ms, "before_ms": dead_before_ms, "limit": PORTION}
    gone += db.execute(_READ["expire_dead_payloads"], names).rowcount
    told = {"before_ms": events_before_ms, "limit": PORTION}
    db.execute(_READ["expire_told_attempts"], told)
    gone += db.execute(_READ["expire_told"], told).rowcount
    gone += crediting.expire(db, events_before_ms, PORTION)
    went = False
    for seq, received_at_ms, waits in db.execute(_READ["oldest_events"], {"limit": PORTION}).fetchall():
        if received_at_ms >= events_before_ms:
            break
        if waits:
            continue
        crediting.expire_event(db, seq)
        for name in ("attempts", "deliveries", "touches", "conversions"):
            db.execute(_READ[f"expire_event_{name}"], (seq,))
        db.execute(_SUBJECT["unlist_event"], (seq,))
        db.execute(_READ["expire_event"], (seq,))
        gone += 1
        went = True
    if went:
        crediting.sums_outlive(db, events_before_ms)
    db.execute(_SUBJECT["list_again"])
    return gone
