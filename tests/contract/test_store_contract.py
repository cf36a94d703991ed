"""The contract of every store, run against each of them. What is asserted here is what flows rely on."""

import asyncio
from itertools import count

import msgspec
import pytest

from gateway.caller import ApiKey
from gateway.event import (
    ConsentChange,
    ConversionClaim,
    EventRow,
    Idempotency,
    OnceToken,
    Owed,
    Recordable,
    Recorded,
    Submission,
    Touch,
)
from gateway.stores.contract import Settlement, Store
from gateway.stores.memory import MemoryStore

NOW = 1_795_000_000_000
DAY = 86_400_000
numbers = count()


def event(
    event_id: str | None = None, *, site: str = "shop", name: str = "page_view", key: bytes | None = b"v" * 16
) -> EventRow:
    return EventRow(
        site,
        event_id or f"event-{next(numbers):08}",
        name,
        "server",
        NOW,
        NOW,
        "signed" if key else "none",
        key,
        b'{"a":1}',
    )


def owed(destination: str = "meta", **changes: object) -> Owed:
    made = Owed(
        destination=destination,
        fate="waiting",
        reason="fresh",
        purposes=8 | 16,
        payload=b"sealed",
        dedup_key="k",
        expires_at_ms=NOW + 7 * DAY,
    )
    return msgspec.structs.replace(made, **changes)


def order(
    order_id: str | None = "A1",
    *,
    amount: int | None = 4990,
    currency: str | None = "EUR",
    strict: bool = True,
    event_id: str | None = None,
    deliveries: tuple[Owed, ...] = (),
    goal: str = "purchase",
    site: str = "shop",
    person: bytes | None = None,
) -> Submission:
    row = event(event_id, site=site, name="purchase")
    claim = ConversionClaim(goal, f"o:{order_id}" if order_id else f"e:{row.event_id}", order_id, amount, currency)
    item = Recordable(event=row, conversion=claim, owed=deliveries, strict=strict, person_key=person)
    return Submission((item,))


def plain(row: EventRow) -> Submission:
    return Submission((Recordable(event=row),))


async def one(store: Store, submission: Submission) -> Recorded:
    return (await store.submit(submission)).recorded[0]


# ------------------------------------------------------------------ events and conversions


async def test_an_event_is_stored_once_however_often_it_comes(store: Store) -> None:
    row = event("same-event-1")
    fates = [
        recorded.recorded[0].fate for recorded in await asyncio.gather(*(store.submit(plain(row)) for _ in range(50)))
    ]
    assert sorted(fates) == ["duplicate"] * 49 + ["recorded"]
    assert (await store.tally()).events == 1


async def test_the_same_event_id_on_two_sites_is_two_events(store: Store) -> None:
    assert (await one(store, plain(event("same-event-1")))).fate == "recorded"
    assert (await one(store, plain(event("same-event-1", site="blog")))).fate == "recorded"
    found = await store.event("same-event-1", "blog")
    assert found is not None
    assert found.site == "blog"


async def test_an_order_counts_once_and_owes_once(store: Store) -> None:
    first = await one(store, order(deliveries=(owed("meta"), owed("ga4"))))
    again = await one(store, order(deliveries=(owed("meta"), owed("ga4"))))
    assert first.fate == "counted"
    assert again == Recorded("duplicate", first.conversion_id, first.event_id)
    tally = await store.tally()
    assert tally.conversions == {("shop", "counted"): 1, ("shop", "duplicate"): 1}
    assert tally.deliveries == {("shop", "meta", "waiting"): 1, ("shop", "ga4", "waiting"): 1}


async def test_an_order_in_parallel_counts_once(store: Store) -> None:
    found = await asyncio.gather(*(store.submit(order(deliveries=(owed(),))) for _ in range(40)))
    assert sorted(one.recorded[0].fate for one in found) == ["counted"] + ["duplicate"] * 39
    assert (await store.tally()).deliveries == {("shop", "meta", "waiting"): 1}


@pytest.mark.parametrize(("amount", "currency"), [(5000, "EUR"), (4990, "USD")])
async def test_the_same_order_with_another_value_is_a_conflict_for_a_backend(
    store: Store, amount: int, currency: str
) -> None:
    first = await one(store, order())
    again = await one(store, order(amount=amount, currency=currency, event_id="conflicting-1"))
    assert again == Recorded("conflict", first.conversion_id, first.event_id)
    assert await store.event("conflicting-1", None) is None, "nothing of a conflict is stored"


async def test_the_same_order_with_another_value_is_a_marked_duplicate_for_a_browser(store: Store) -> None:
    first = await one(store, order())
    again = await one(store, order(amount=1, strict=False, event_id="browser-again-1"))
    assert again.fate == "duplicate"
    found = await store.event("browser-again-1", None)
    assert found is not None
    assert [(row.fate, row.reason, row.counted_id) for row in found.conversions] == [
        ("duplicate", "value_differs", first.conversion_id)
    ]


async def test_a_repeat_without_an_amount_is_a_plain_duplicate(store: Store) -> None:
    await one(store, order())
    assert (await one(store, order(amount=None, currency=None))).fate == "duplicate"


async def test_order_ids_are_case_sensitive_and_belong_to_site_and_goal(store: Store) -> None:
    for submission in (order("A1"), order("a1"), order("A1", goal="subscribe"), order("A1", site="blog")):
        assert (await one(store, submission)).fate == "counted"


async def test_without_an_order_the_event_is_the_key(store: Store) -> None:
    first = await one(store, order(None, event_id="no-order-1", deliveries=(owed(),)))
    again = await one(store, order(None, event_id="no-order-1", deliveries=(owed(),)))
    other = await one(store, order(None, event_id="no-order-2"))
    assert (first.fate, again.fate, other.fate) == ("counted", "duplicate", "counted")
    assert again.conversion_id == first.conversion_id


async def test_a_request_is_stored_whole_or_not_at_all(store: Store) -> None:
    items = (*order("B1").items, *order("B2").items)
    once = (OnceToken("signature", b"n" * 16, NOW + 1),)
    assert (await store.submit(Submission(items, once))).refused is None
    replay = (*order("B3").items,)
    assert (await store.submit(Submission(replay, once))).refused == "replayed"
    assert (await store.tally()).conversions == {("shop", "counted"): 2}


async def test_an_idempotency_key_answers_the_same_again(store: Store) -> None:
    key = Idempotency("key1", "idem-0001", b"a" * 32)
    submission = order("C1")
    first = await store.submit(Submission(submission.items, (), key))
    again = await store.submit(Submission(order("C1").items, (), key))
    other_body = await store.submit(Submission(order("C2").items, (), Idempotency("key1", "idem-0001", b"b" * 32)))
    other_caller = await store.submit(Submission(order("C2").items, (), Idempotency("key2", "idem-0001", b"b" * 32)))
    assert (first.repeated, again.repeated) == (False, True)
    assert again.recorded == first.recorded
    assert other_body.refused == "reused"
    assert other_caller.recorded[0].fate == "counted"
    assert (await store.tally()).conversions == {("shop", "counted"): 2}


async def test_everything_about_an_event_comes_back(store: Store) -> None:
    touch = Touch("click", NOW, b"v" * 16, "google.com", b'{"source":"x"}', b"sealed")
    base = order(
        "D1",
        event_id="whole-event-1",
        deliveries=(owed("meta"), owed("ga4", fate="withheld", reason="consent_missing", payload=None)),
    )
    await store.submit(Submission((msgspec.structs.replace(base.items[0], touch=touch),)))
    found = await store.event("whole-event-1", None)
    assert found is not None
    assert (found.name, found.trust, found.facts, found.visitor_kind) == ("purchase", "server", b'{"a":1}', "signed")
    assert [(row.goal, row.amount_minor, row.fate) for row in found.conversions] == [("purchase", 4990, "counted")]
    assert [(row.kind, row.referrer, row.has_click_ids) for row in found.touches] == [("click", "google.com", True)]
    assert [(row.destination, row.fate) for row in found.deliveries] == [("ga4", "withheld"), ("meta", "waiting")]
    assert await store.event("unknown-event", None) is None


async def test_a_poisoned_record_takes_only_itself_out(store: Store) -> None:
    good = [event() for _ in range(5)]
    poisoned = msgspec.structs.replace(event(), name="\ud800")
    results = await asyncio.gather(
        *(asyncio.ensure_future(_submit(store, row)) for row in (*good[:3], poisoned, *good[3:])),
        return_exceptions=True,
    )
    if isinstance(store, MemoryStore):
        return  # memory has no encoding that could fail
    assert [isinstance(result, BaseException) for result in results] == [False, False, False, True, False, False]
    assert (await store.tally()).events == 5


async def _submit(store: Store, row: EventRow) -> object:
    return await store.submit(plain(row))


# ------------------------------------------------------------------ deliveries


async def test_a_delivery_is_claimed_by_one_worker_at_a_time(store: Store) -> None:
    for number in range(10):
        await store.submit(order(f"E{number}", deliveries=(owed(),)))
    taken = await asyncio.gather(*(store.claim("shop", "meta", now_ms=NOW, lease_ms=60_000, limit=4) for _ in range(4)))
    ids = [due.delivery_id for due in (due for part in taken for due in part)]
    assert len(ids) == len(set(ids)) == 10
    assert await store.claim("shop", "meta", now_ms=NOW, lease_ms=60_000, limit=4) == []
    late = await store.claim("shop", "meta", now_ms=NOW + 60_001, lease_ms=60_000, limit=20)
    assert len(late) == 10, "a lease that ran out is free again"
    assert {due.attempts for due in late} == {2}


async def test_a_delivery_belongs_to_its_site_and_destination(store: Store) -> None:
    await store.submit(order("F1", deliveries=(owed("meta"),)))
    assert await store.claim("blog", "meta", now_ms=NOW, lease_ms=1, limit=9) == []
    assert await store.claim("shop", "ga4", now_ms=NOW, lease_ms=1, limit=9) == []


async def test_settled_deliveries_lose_their_payload_and_keep_their_evidence(store: Store) -> None:
    await store.submit(order("G1", event_id="settled-event-1", deliveries=(owed(),)))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1000, limit=1)
    assert due.payload == b"sealed"
    await store.settle(
        [
            Settlement(
                delivery_id=due.delivery_id, fate="waiting", reason="vendor_unavailable", at_ms=NOW, due_at_ms=NOW + 5000,
                latency_ms=12, verdict="retry", status=503, answer="busy",
            )
        ]
    )  # fmt: skip
    assert await store.claim("shop", "meta", now_ms=NOW + 4999, lease_ms=1000, limit=1) == []
    assert await store.next_due_at_ms("shop", "meta") == NOW + 5000
    (due,) = await store.claim("shop", "meta", now_ms=NOW + 5000, lease_ms=1000, limit=1)
    await store.settle(
        [
            Settlement(
                delivery_id=due.delivery_id,
                fate="accepted",
                reason="vendor_accepted",
                at_ms=NOW + 5001,
                verdict="accepted",
                status=200,
            )
        ]
    )
    found = await store.event("settled-event-1", None)
    assert found is not None
    (row,) = found.deliveries
    assert (row.fate, row.attempts, row.settled_at_ms) == ("accepted", 2, NOW + 5001)
    assert [(attempt.verdict, attempt.status) for attempt in row.evidence] == [("retry", 503), ("accepted", 200)]
    await store.settle([Settlement(delivery_id=due.delivery_id, fate="dead", reason="attempts_exhausted", at_ms=NOW)])
    assert (await store.tally()).deliveries == {("shop", "meta", "accepted"): 1}, "a fate does not change any more"


async def test_an_unattempted_settlement_counts_no_attempt(store: Store) -> None:
    await store.submit(order("H1", event_id="released-1", deliveries=(owed(),)))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1000, limit=1)
    await store.settle(
        [
            Settlement(
                delivery_id=due.delivery_id, fate="waiting", reason="fresh", at_ms=NOW, due_at_ms=NOW, attempted=False
            )
        ]
    )
    found = await store.event("released-1", None)
    assert found is not None
    assert (found.deliveries[0].attempts, found.deliveries[0].evidence) == (0, ())


async def test_after_a_crash_known_keys_wait_again_and_others_are_unconfirmed(store: Store) -> None:
    await store.submit(order("I1", deliveries=(owed("meta"), owed("ga4", dedup_key=None))))
    await store.claim("shop", "meta", now_ms=NOW, lease_ms=60_000, limit=1)
    await store.claim("shop", "ga4", now_ms=NOW, lease_ms=60_000, limit=1)
    assert await store.recover(NOW + 10) == (1, 1)
    (again,) = await store.claim("shop", "meta", now_ms=NOW + 10, lease_ms=60_000, limit=1)
    assert again.unsure_since_ms == NOW + 10, "whether it was sent is not known"
    assert (await store.tally()).deliveries == {("shop", "meta", "waiting"): 1, ("shop", "ga4", "unconfirmed"): 1}


async def test_dead_deliveries_are_listed_and_replayed_while_young(store: Store) -> None:
    await store.submit(order("J1", deliveries=(owed(),)))
    await store.submit(order("J2", deliveries=(owed(expires_at_ms=NOW + 5),)))
    for due in await store.claim("shop", "meta", now_ms=NOW, lease_ms=1000, limit=5):
        await store.settle(
            [Settlement(delivery_id=due.delivery_id, fate="dead", reason="attempts_exhausted", at_ms=NOW)]
        )
    assert [row.replayable for row in await store.dead(None, None, 10)] == [True, True]
    assert await store.dead("blog", None, 10) == []
    assert await store.replay(now_ms=NOW + 10, site=None, destination="meta", delivery_id=None, limit=10) == 1
    assert await store.replay(now_ms=NOW + 10, site=None, destination="meta", delivery_id=None, limit=10) == 0
    (due,) = await store.claim("shop", "meta", now_ms=NOW + 10, lease_ms=1000, limit=5)
    assert (due.attempts, due.payload) == (1, b"sealed")


# ------------------------------------------------------------------ consent


def change(
    record_id: str,
    *,
    previous: str | None = None,
    granted: int = 0,
    denied: int = 0,
    subject: bytes | None = b"v" * 16,
    at: int = NOW,
) -> ConsentChange:
    return ConsentChange(
        record_id=record_id, site="shop", subject_key=subject, subject_tag=b"t" * 16 if subject else None, decided_at_ms=at,
        received_at_ms=at, granted=granted, denied=denied, lost=denied, notice="1", entry=record_id.encode(),
        leaf_hash=b"h" * 32, salt=b"s" * 32, payload=b"{}", previous_record_id=previous,
    )  # fmt: skip


async def test_choices_are_numbered_from_zero_without_gaps(store: Store) -> None:
    assert await store.choose(change("r0", granted=4)) == "recorded"
    assert await store.choose(change("r1", previous="r0", denied=4, at=NOW + 1)) == "recorded"
    assert await store.choose(change("r2", subject=None, denied=63)) == "recorded"
    entries = await store.log_entries("shop", 0, 10)
    assert [(entry.entry_no, entry.record_id, entry.entry) for entry in entries] == [
        (0, "r0", b"r0"), (1, "r1", b"r1"), (2, "r2", b"r2"),
    ]  # fmt: skip
    assert await store.log_entries("blog", 0, 10) == []
    state = await store.consent_state("shop", b"v" * 16)
    assert state is not None
    assert (state.granted, state.denied, state.record_id) == (0, 4, "r1")


async def test_a_choice_on_an_old_state_is_stale_and_writes_nothing(store: Store) -> None:
    await store.choose(change("r0", granted=4))
    assert await store.choose(change("rx", previous=None, denied=4)) == "stale"
    assert await store.choose(change("ry", previous="unknown", denied=4)) == "stale"
    assert len(await store.log_entries("shop", 0, 10)) == 1


async def test_withdrawal_cancels_what_waits_and_rests_on_it(store: Store) -> None:
    await store.submit(order("K1", deliveries=(owed("meta", purposes=8 | 16), owed("ga4", purposes=4))))
    await store.submit(
        Submission(
            (
                msgspec.structs.replace(
                    order("K2", deliveries=(owed("meta"),)).items[0], event=event(key=b"o" * 16, name="purchase")
                ),
            )
        )
    )
    await store.choose(change("r0", denied=8 | 16 | 32))
    tally = await store.tally()
    assert tally.deliveries == {
        ("shop", "meta", "cancelled"): 1,
        ("shop", "ga4", "waiting"): 1,
        ("shop", "meta", "waiting"): 1,
    }


async def test_withdrawal_by_a_person_cancels_as_well(store: Store) -> None:
    await store.submit(order("L1", deliveries=(owed("meta"),), person=b"p" * 16))
    await store.choose(change("r0", subject=b"p" * 16, denied=8))
    assert (await store.tally()).deliveries == {("shop", "meta", "cancelled"): 1}


async def test_a_refusal_after_the_judgement_reaches_the_second_judgement(store: Store) -> None:
    await store.submit(order("M1", deliveries=(owed("meta", purposes=8), owed("ga4", purposes=4))))
    claimed = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1000, limit=1)
    assert claimed[0].denied_since == 0
    await store.choose(change("r0", denied=8, at=NOW + 1))
    (again,) = await store.claim("shop", "meta", now_ms=NOW + 1001, lease_ms=1000, limit=1)
    assert again.denied_since == 8, "in flight it could not be cancelled; before the next attempt it can"
    (other,) = await store.claim("shop", "ga4", now_ms=NOW + 1001, lease_ms=1000, limit=1)
    assert other.denied_since == 8


# ------------------------------------------------------------------ keys and upkeep


async def test_api_keys_come_back_and_are_revoked_once(store: Store) -> None:
    key = ApiKey(
        id="abcdefgh",
        secret_sha256=b"x" * 32,
        title="t",
        sites=("shop", "blog"),
        rights=("events",),
        must_sign=True,
        created_at_ms=NOW,
    )
    await store.put_api_key(key)
    assert list(await store.api_keys()) == [key]
    assert await store.revoke_api_key("abcdefgh", NOW + 1)
    assert not await store.revoke_api_key("abcdefgh", NOW + 2)
    assert not await store.revoke_api_key("unknownx", NOW + 2)
    assert (await store.api_keys())[0].revoked_at_ms == NOW + 1


async def test_what_is_past_its_time_goes_and_what_waits_stays(store: Store) -> None:
    await store.submit(plain(event("old-event-1")))
    await store.submit(order("N1", event_id="old-order-1", deliveries=(owed(),)))
    await store.submit(order("N2", event_id="dead-order-1", deliveries=(owed("ga4"),)))
    (due,) = await store.claim("shop", "ga4", now_ms=NOW, lease_ms=1, limit=1)
    await store.settle(
        [Settlement(delivery_id=due.delivery_id, fate="dead", reason="attempts_exhausted", at_ms=NOW, verdict="retry")]
    )
    later = NOW + 1000 * DAY
    first = await store.expire(now_ms=NOW, events_before_ms=NOW - 1, attempts_before_ms=NOW - 1, dead_before_ms=NOW - 1)
    assert first == 0
    gone = 0
    for _ in range(20):
        portion = await store.expire(
            now_ms=later, events_before_ms=NOW + 1, attempts_before_ms=NOW + 1, dead_before_ms=NOW + 1
        )
        gone += portion
        if not portion:
            break
    assert gone >= 3
    assert await store.event("old-event-1", None) is None
    assert await store.event("dead-order-1", None) is None
    assert await store.event("old-order-1", None) is not None, "a waiting delivery holds its event"


async def test_a_healthy_store_has_nothing_to_report(store: Store) -> None:
    await store.submit(order("O1", deliveries=(owed(),)))
    assert list(await store.check()) == []
    assert [(row.site, row.destination, row.count) for row in await store.waiting()] == [("shop", "meta", 1)]
    assert [row.event_name for row in await store.recent(5)] == ["purchase"]
