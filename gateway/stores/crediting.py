"""Transaction bodies of the contract's second half: touches, credit, adjustments, the catalogue, timers.

Each runs in the writer's thread inside a savepoint, so it is done whole or not at all. Sums are changed in the transaction
that changes what they sum.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.catalogue import Entry
from gateway.event import ConversionClaim, Recordable, TimerChange, Touch
from gateway.stores.contract_credit import (
    AdjustmentApplied,
    AdjustmentRow,
    AttributionRow,
    Credit,
    DueTimer,
    SpendRow,
)
from gateway.stores.named_sql import statements
from gateway.stores.sums import Standing, changed_credit, changed_goal, fault_of, in_order, with_net
from gateway.stores.touches import DaySums, touch_row
from gateway.times import day_of

__all__ = [
    "attribution_of",
    "change_timers",
    "claim_timers",
    "conversion_columns",
    "erase",
    "expire",
    "expire_event",
    "finish_timers",
    "give_adjustments",
    "is_landing_of_a_link",
    "put_adjustment",
    "put_credit",
    "put_entry",
    "put_spend",
    "put_touch",
    "see_device",
    "stop_timers",
    "sum_conversion",
    "sums_outlive",
]

_SQL: Final = statements("credit.sql")
_CATALOGUE: Final = statements("catalogue.sql")
_REPORT: Final = statements("report.sql")

Db = sqlite3.Connection

LATE_DAYS: Final = 2
"""A conversion may lie ten minutes after its arrival, so the day after the one expired to may hold deleted ones too."""


# ------------------------------------------------------------------ touches


def put_touch(db: Db, site_no: int, seq: int | None, t: Touch) -> int | None:
    """Store a touch and sum it. Answers its number, None when there is one with its click id.

    A landing that a link led to is not summed: its click was.
    """
    row = touch_row(site_no, seq, t)
    inserted = db.execute(_SQL["touch_insert"], row)
    if inserted.rowcount != 1:
        return None
    if not is_landing_of_a_link(seq is not None, t):
        sums = DaySums()
        sums.add_touch(row)
        sums.write(db)
    return inserted.lastrowid


def is_landing_of_a_link(of_an_event: bool, touch: Touch) -> bool:
    """Whether a touch is the arrival of a click that is a touch itself."""
    return of_an_event and bool(touch.landed_click_id or touch.link_id)


def see_device(db: Db, site_no: int, item: Recordable) -> None:
    """Remember that a device was seen to be of a person. Ids of one day are nobody's device."""
    event = item.event
    if item.person_key is not None and event.visitor_key is not None and event.visitor_kind == "signed":
        db.execute(_SQL["identity_insert"], (site_no, item.person_key, event.visitor_key, event.occurred_at_ms))


# ------------------------------------------------------------------ conversions and their credit


def conversion_columns(item: Recordable, claim: ConversionClaim, *, counts: bool) -> tuple[object, ...]:
    """Columns of `conversion_insert` that depend on whether it counts."""
    event = item.event
    return (
        claim.goal_version, claim.value_source, claim.amount_minor if counts else None, claim.click_id,
        "\n".join(claim.coupons), claim.campaign_id, event.occurred_at_ms, event.visitor_key if counts else None,
        item.person_key if counts else None, event.received_at_ms if counts else None,
    )  # fmt: skip


def sum_conversion(db: Db, site_no: int, item: Recordable, claim: ConversionClaim, fate: str) -> None:
    """Add a new conversion to the sums."""
    new = Standing(
        goal=claim.goal,
        currency=claim.currency,
        fate=fate,
        value_source=claim.value_source,
        order_id=claim.order_id,
        amount_minor=claim.amount_minor,
        net_minor=claim.amount_minor,
        test=claim.test,
        occurred_at_ms=item.event.occurred_at_ms,
    )
    _sum(db, site_no, None, new)


def _sum(db: Db, site_no: int, before: Standing | None, after: Standing) -> None:
    for goal_key, values in changed_goal(before, after).items():
        db.execute(_SQL["goal_day_add"], (site_no, *goal_key, *values))
    for credit_key, values in changed_credit(before, after).items():
        db.execute(_SQL["credit_day_add"], (site_no, *credit_key, *values))


def attribution_of(row: Sequence[Any], credits: Sequence[Sequence[Any]]) -> AttributionRow:
    """A decision from its row and the rows of its credit."""
    return AttributionRow(
        conversion_id=row[0],
        version=row[1],
        model=row[2],
        model_version=row[3],
        goal_version=row[4],
        matched_by=row[5],
        why=row[6],
        path=row[7],
        seconds=row[8],
        first_of_person=bool(row[9]),
        computed_at_ms=row[10],
        excluded=row[11],
        credits=tuple([Credit(**dict(zip(Credit.__struct_fields__, one, strict=True))) for one in credits]),
    )


def _standing(db: Db, site_no: int, conversion_id: str | None) -> tuple[Standing, int] | None:
    """A conversion as the sums see it, with the version of the newest decision. None when it is gone or does not count."""
    row = db.execute(_SQL["standing_get"], (conversion_id, site_no)).fetchone()
    if row is None:
        return None
    *columns, test, at_ms, version = row
    made = None
    if version:
        found = db.execute(_SQL["attribution_get"], (conversion_id, version)).fetchone()
        made = attribution_of(found, db.execute(_SQL["credits_of"], (conversion_id, version)).fetchall())
    names = ("goal", "currency", "fate", "value_source", "order_id", "amount_minor", "net_minor")
    known = dict(zip(names, columns, strict=True))
    return Standing(**known, test=bool(test), occurred_at_ms=at_ms, decision=made), version


def put_credit(db: Db, site_no: int, row: AttributionRow) -> bool:
    """Do what `CreditStore.put_credit` promises."""
    found = _standing(db, site_no, row.conversion_id)
    if found is None or found[1] + 1 != row.version:
        return False
    before, _ = found
    fault = fault_of(row, before.amount_minor)
    if fault is not None:
        raise ValueError(fault)
    row = with_net(in_order(row), before.net_minor)
    db.execute(
        _SQL["attribution_insert"],
        (
            row.conversion_id, row.version, row.model, row.model_version, row.goal_version, row.matched_by, row.why,
            row.path, row.seconds, int(row.first_of_person), row.computed_at_ms, row.excluded,
        ),
    )  # fmt: skip
    db.executemany(
        _SQL["credit_insert"],
        [(row.conversion_id, row.version, *msgspec.structs.astuple(credit)) for credit in row.credits],
    )
    names = {"version": row.version, "computed_at_ms": row.computed_at_ms, "conversion_id": row.conversion_id}
    db.execute(_SQL["conversion_decided"], names)
    _sum(db, site_no, before, msgspec.structs.replace(before, decision=row))
    return True


# ------------------------------------------------------------------ adjustments


def put_adjustment(db: Db, site_no: int, row: AdjustmentRow, applied: AdjustmentApplied | None) -> str:
    """Do what `CreditStore.put_adjustment` promises."""
    if db.execute(_SQL["adjustment_known"], (site_no, row.adjustment_id)).fetchone() is not None:
        return "repeated"
    found = _standing(db, site_no, row.conversion_id) if applied is not None else None
    if applied is None:
        names = {"site_no": site_no, "order_id": row.order_id, "goal": row.goal}
        # Its conversion may have come since it was looked for. Then it would wait for ever.
        if row.conversion_id is not None or db.execute(_SQL["order_known"], names).fetchone() is not None:
            return "stale"
    elif found is None or _adjustments(db, row.conversion_id) + 1 != applied.known:
        return "stale"
    db.execute(
        _SQL["adjustment_insert"],
        (
            site_no, row.adjustment_id, row.conversion_id, row.goal, row.order_id, row.kind, row.amount_minor,
            row.currency, row.reason, row.at_ms, row.received_at_ms, row.trust,
        ),
    )  # fmt: skip
    if applied is not None and found is not None and row.conversion_id is not None:
        _apply(db, site_no, row.conversion_id, found[0], applied)
    return "recorded"


def give_adjustments(
    db: Db, site_no: int, adjustment_ids: Sequence[str], conversion_id: str, applied: AdjustmentApplied
) -> bool:
    """Do what `CreditStore.give_adjustments` promises."""
    found = _standing(db, site_no, conversion_id)
    ids = list(dict.fromkeys(adjustment_ids))
    names = {"ids": json.dumps(ids), "site_no": site_no}
    (waiting,) = db.execute(_SQL["adjustment_waits"], names).fetchone()
    if found is None or waiting != len(ids) or _adjustments(db, conversion_id) + waiting != applied.known:
        return False
    for adjustment_id in ids:
        db.execute(_SQL["adjustment_give"], (conversion_id, site_no, adjustment_id))
    _apply(db, site_no, conversion_id, found[0], applied)
    return True


def _adjustments(db: Db, conversion_id: str | None) -> int:
    (known,) = db.execute(_SQL["adjustment_count"], (conversion_id,)).fetchone()
    return int(known)


def _apply(db: Db, site_no: int, conversion_id: str, before: Standing, applied: AdjustmentApplied) -> None:
    """Change a conversion, its newest credit and the sums."""
    currency = before.currency
    if before.amount_minor is None and applied.net_minor is not None:
        restated = db.execute(_SQL["restated_currency"], (conversion_id,)).fetchone()
        currency = restated[0] if restated is not None else currency
    made = with_net(before.decision, applied.net_minor) if before.decision is not None else None
    names = {
        "fate": applied.fate,
        "reason": applied.reason,
        "net_minor": applied.net_minor,
        "currency": currency,
        "conversion_id": conversion_id,
    }
    db.execute(_SQL["conversion_adjusted"], names)
    if made is not None:
        db.executemany(
            _SQL["credit_net"],
            [(credit.net_minor, conversion_id, made.version, credit.position) for credit in made.credits],
        )
    after = msgspec.structs.replace(
        before, fate=applied.fate, net_minor=applied.net_minor, currency=currency, decision=made
    )
    _sum(db, site_no, before, after)


# ------------------------------------------------------------------ catalogue, spend, timers


def put_entry(db: Db, site_no: int, entry: Entry) -> str:
    """Do what `CreditStore.put_entry` promises."""
    known = db.execute(_CATALOGUE["entry_version"], (site_no, entry.kind, entry.id)).fetchone()
    if entry.version != (known[0] + 1 if known is not None else 1):
        return "stale"
    columns = {name: getattr(entry, name) for name in entry.__struct_fields__ if name != "site"}
    columns |= {"site_no": site_no, "archived": int(entry.archived)}
    statement = "entry_insert" if known is None else "entry_update"
    if db.execute(_CATALOGUE[statement], columns).rowcount != 1:
        return "taken"
    db.execute(_CATALOGUE["entry_keep"], columns)
    return "stored"


def put_spend(db: Db, site_no: int, rows: Sequence[SpendRow], now_ms: int) -> int:
    """Do what `CreditStore.put_spend` promises."""
    changed = 0
    for row in rows:
        changed += db.execute(_REPORT["spend_put"], (site_no, *msgspec.structs.astuple(row), now_ms)).rowcount
    return changed


def change_timers(db: Db, site_no: int, timers: Sequence[TimerChange]) -> None:
    """Set and stop timers, in their order."""
    for timer in timers:
        if timer.due_at_ms is None:
            db.execute(_CATALOGUE["timer_stop"], (site_no, timer.kind, timer.subject_key))
        else:
            row = (site_no, timer.kind, timer.subject_key, timer.due_at_ms, timer.payload)
            db.execute(_CATALOGUE["timer_set"], row)


def stop_timers(db: Db, site_no: int, kind: str, subject_keys: Sequence[bytes]) -> int:
    """Stop timers of subjects."""
    return sum([db.execute(_CATALOGUE["timer_stop"], (site_no, kind, key)).rowcount for key in subject_keys])


def claim_timers(db: Db, names: dict[int, str], now_ms: int, lease_ms: int, limit: int) -> list[DueTimer]:
    """Take due timers, the longest due first."""
    asked = {"now_ms": now_ms, "leased_until_ms": now_ms + lease_ms, "limit": limit}
    rows = db.execute(_CATALOGUE["timer_claim"], asked).fetchall()
    taken = [DueTimer(row[0], names[row[1]], *row[2:]) for row in rows]
    return sorted(taken, key=lambda timer: (timer.due_at_ms, timer.timer_no))


def finish_timers(db: Db, timers: Sequence[DueTimer]) -> None:
    """Delete timers that are done."""
    db.executemany(_CATALOGUE["timer_finish"], [(one.timer_no, one.due_at_ms, one.payload) for one in timers])


# ------------------------------------------------------------------ going


def expire_event(db: Db, seq: int) -> None:
    """Delete what hangs on an event's conversion. What was summed stays summed."""
    for name in ("adjustments", "credit", "attribution"):
        db.execute(_SQL[f"expire_event_{name}"], (seq,))


def expire(db: Db, before_ms: int, limit: int) -> int:
    """Delete one portion of clicks, of who was seen to be whom, and of adjustments that nothing came for."""
    names = {"before_ms": before_ms, "limit": limit}
    parts = ("expire_clicks", "expire_waiting_adjustments")
    gone = sum([db.execute(_SQL[name], names).rowcount for name in parts])
    return gone + _delete_identities(db, db.execute(_SQL["old_identities"], names).fetchall())


def _delete_identities(db: Db, rows: Sequence[Sequence[object]]) -> int:
    db.executemany(_SQL["identity_delete"], rows)
    return len(rows)


def sums_outlive(db: Db, before_ms: int) -> None:
    """Note that conversions received before a time are deleted: sums of their days cannot be compared with them any more."""
    db.execute(_SQL["expire_sums"], (day_of(before_ms) + LATE_DAYS,))


def erase(db: Db, site_no: int, subject_key: bytes | None, seqs: Sequence[int]) -> None:
    """Take a subject out of conversions, and delete who was seen to be whom and what is timed for it."""
    db.executemany(_SQL["erase_conversion"], [(seq,) for seq in seqs])
    names = {"site_no": site_no, "subject_key": subject_key}
    _delete_identities(db, db.execute(_SQL["own_identities"], names).fetchall())
    db.execute(_CATALOGUE["timer_erase"], (site_no, subject_key))
