"""Erasing: how one visitor or person is taken out of everything a site stores, inside one transaction.

What is counted stays counted: events, conversions and settled deliveries keep their rows and lose the person. What only
served to know the person goes: touches, whose device it was, timers, recorded choices with their salts, the subject's
state. Without salt and payload the entries of the log say nothing about anybody, and stay.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from gateway.event import ConsentChange
from gateway.stores import crediting
from gateway.stores.contract import Erased, PassOn
from gateway.stores.named_sql import statements
from gateway.stores.recording import append, sent_of, tell

__all__ = ["LISTED_AT_ONCE", "erase", "list_visitors"]

_SUBJECT: Final = statements("subject.sql")
_CONSENT: Final = statements("consent.sql")

LISTED_AT_ONCE: Final = 500
"""Events whose visitors are listed in one transaction, so that it never holds up requests."""


def list_visitors(db: sqlite3.Connection) -> int:
    """List the visitors of one portion of new events, in the order of their keys. Answers how many events are left."""
    after, newest = db.execute(_SUBJECT["list_upto"]).fetchone()
    if newest is None or newest <= after:
        return 0
    upto = min(after + LISTED_AT_ONCE, newest)
    db.execute(_SUBJECT["list_visitors"], {"after": after, "upto": upto})
    db.execute(_SUBJECT["list_done"], {"upto": upto})
    return int(newest - upto)


def erase(
    db: sqlite3.Connection,
    change: ConsentChange,
    site_no: int,
    pass_on: PassOn | None,
    reduce: Callable[[bytes], bytes],
) -> Erased | None:
    """Do what `contract.Store.erase` promises. The caller has opened a savepoint."""
    names = {"site_no": site_no, "subject_key": change.subject_key, "now_ms": change.received_at_ms}
    known = db.execute(_CONSENT["state_get"], (site_no, change.subject_key)).fetchone()
    if (known[5] if known else None) != change.previous_record_id:
        return None
    # What has to be told is found by the subject, so before the subject is gone.
    sent = sent_of(db, change, site_no, change.lost)
    (conversions,) = db.execute(_SUBJECT["held_conversions"], names).fetchone()
    cancelled = db.execute(_SUBJECT["erase_cancel"], names).rowcount
    db.execute(_SUBJECT["erase_deliveries"], names)
    touches = db.execute(_SUBJECT["erase_touches"], names).rowcount
    events = db.execute(_SUBJECT["erase_list"], names).fetchall()
    # A person's events are listed under the visitor's key, which is about to go.
    db.executemany(_SUBJECT["unlist_event"], [(seq,) for seq, _ in events])
    db.executemany(_SUBJECT["erase_event"], [(reduce(facts), seq) for seq, facts in events])
    db.execute(_SUBJECT["erase_listed"], names)
    crediting.erase(db, site_no, change.subject_key, [seq for seq, _ in events])
    records = db.execute(_SUBJECT["erase_records"], names).rowcount
    db.execute(_SUBJECT["erase_state"], names)
    append(db, change, site_no, None)
    if pass_on is not None:
        tell(db, change, site_no, pass_on, sent, lost=change.lost, erased=True)
    return Erased(events=len(events), conversions=conversions, touches=touches, records=records, cancelled=cancelled)
