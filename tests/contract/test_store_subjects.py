"""What every store promises about one visitor or person: withdrawals are passed on, what is held is found, erasure is whole."""

from typing import Any

import msgspec
import pytest

from gateway.event import ConsentChange, Owed, Recordable, Submission, Touch
from gateway.stores.contract import Passing, Settlement, Store
from tests.contract.test_store_contract import DAY, NOW, change, event, order, owed, plain

ME = b"v" * 16
OTHER = b"o" * 16
PERSON = b"p" * 16
EVERYTHING = 63


@pytest.fixture
def heard(store: Store) -> list[Passing]:
    """Everything the store asks to be passed on. Each destination is owed one message."""
    asked: list[Passing] = []

    def pass_on(passing: Passing) -> list[Owed]:
        asked.append(passing)
        return [message(name) for name in passing.sent]

    store.pass_on_with(pass_on)
    return asked


def message(destination: str, **changes: Any) -> Owed:
    made = Owed(
        destination=destination, fate="waiting", reason="fresh", purposes=8, payload=b"told", dedup_key="m", expires_at_ms=NOW + DAY
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def of(key: bytes | None, submission: Submission, *, touch: Touch | None = None) -> Submission:
    """The same submission of another visitor."""
    (item,) = submission.items
    row = msgspec.structs.replace(item.event, visitor_key=key)
    return Submission((msgspec.structs.replace(item, event=row, touch=touch),))


def erasure(record_id: str, *, previous: str | None = None, subject: bytes = ME, at: int = NOW) -> ConsentChange:
    made = change(record_id, previous=previous, denied=EVERYTHING & ~1, subject=subject, at=at)
    return msgspec.structs.replace(made, lost=EVERYTHING)


def bare(facts: bytes) -> bytes:
    return b'{"left":%d}' % len(facts)


async def deliver(store: Store, destination: str, fate: str, **how: Any) -> None:
    """Claim and settle everything that is due to a destination."""
    due = await store.claim("shop", destination, now_ms=NOW, lease_ms=1_000, limit=50)
    reason = {"accepted": "vendor_accepted", "rejected": "vendor_rejected", "dead": "attempts_exhausted"}
    reasons = {**reason, "unconfirmed": "answer_lost", "waiting": "vendor_unavailable"}
    await store.settle(
        [
            Settlement(delivery_id=one.delivery_id, fate=fate, reason=reasons[fate], at_ms=NOW, **how)
            for one in due
            if not one.withdrawal
        ]
    )


# ------------------------------------------------------------------ withdrawals are passed on


async def test_a_withdrawal_is_passed_on_to_those_who_may_hold_something_that_rests_on_it(
    store: Store, heard: list[Passing]
) -> None:
    names = {"taken": 8, "lost": 8, "refused": 8, "analytics": 4, "unsure": 8, "flying": 8, "idle": 8}
    await store.submit(
        order("A1", event_id="event-0001", deliveries=tuple(owed(n, purposes=p) for n, p in names.items()))
    )
    await deliver(store, "taken", "accepted")
    await deliver(store, "lost", "unconfirmed")
    await deliver(store, "refused", "rejected")
    await deliver(store, "analytics", "accepted")
    await deliver(store, "unsure", "waiting", unsure=True, due_at_ms=NOW + 5_000)
    await store.claim("shop", "flying", now_ms=NOW, lease_ms=60_000, limit=1)
    assert await store.choose(change("r0", granted=4, denied=8, at=NOW + 9)) == "recorded"
    (passing,) = heard
    assert (passing.site, passing.record_id, passing.at_ms) == ("shop", "r0", NOW + 9)
    assert (passing.granted, passing.lost, passing.erased) == (4, 8, False)
    assert passing.sent == dict.fromkeys(("taken", "lost", "unsure", "flying"), ("event-0001",))


async def test_events_are_named_oldest_first_and_those_of_others_are_not(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(),)))
    await store.submit(of(OTHER, order("A2", event_id="event-0002", deliveries=(owed(),))))
    await store.submit(order("A3", event_id="event-0003", deliveries=(owed(),)))
    await store.submit(order("A4", event_id="event-0004", site="blog", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    for due in await store.claim("blog", "meta", now_ms=NOW, lease_ms=1, limit=9):
        await store.settle(
            [Settlement(delivery_id=due.delivery_id, fate="accepted", reason="vendor_accepted", at_ms=NOW)]
        )
    await store.choose(change("r0", denied=8))
    assert [passing.sent for passing in heard] == [{"meta": ("event-0001", "event-0003")}]


async def test_a_person_who_withdraws_is_found_by_the_persons_key(store: Store, heard: list[Passing]) -> None:
    await store.submit(of(None, order("A1", event_id="event-0001", deliveries=(owed(),), person=PERSON)))
    await deliver(store, "meta", "accepted")
    await store.choose(change("r0", denied=8, subject=PERSON))
    assert [passing.sent for passing in heard] == [{"meta": ("event-0001",)}]


async def test_only_what_was_not_refused_before_is_passed_on(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(purposes=8), owed("ga4", purposes=4))))
    await deliver(store, "meta", "accepted")
    await deliver(store, "ga4", "accepted")
    await store.choose(change("r0", granted=4, denied=8))
    await store.choose(change("r1", previous="r0", denied=8 | 4))
    await store.choose(change("r2", previous="r1", denied=8 | 4 | 2))
    assert [(passing.lost, dict(passing.sent)) for passing in heard] == [
        (8, {"meta": ("event-0001",)}),
        (4, {"ga4": ("event-0001",)}),
    ]


@pytest.mark.parametrize("made", [change("r0", granted=8), change("r0", denied=8, subject=None)])
async def test_a_grant_and_a_refusal_of_nobody_are_passed_on_to_nobody(
    store: Store, heard: list[Passing], made: ConsentChange
) -> None:
    await store.submit(order("A1", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    await store.choose(made)
    assert heard == []


async def test_a_withdrawal_that_comes_with_an_event_is_passed_on_as_well(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    await store.submit(Submission((Recordable(event=event(), consent=change("r0", denied=8)),)))
    assert [passing.record_id for passing in heard] == ["r0"]


async def test_a_stale_withdrawal_is_not_passed_on(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    assert await store.choose(change("r0", previous="unknown", denied=8)) == "stale"
    assert heard == []


async def test_a_message_is_claimed_and_settled_like_every_delivery(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    await store.choose(change("r0", denied=8))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1_000, limit=9)
    assert (due.withdrawal, due.event_id, due.event_name) == (True, "r0", "withdrawal")
    assert (due.payload, due.dedup_key, due.denied_since, due.purposes) == (b"told", "m", 0, 8)
    await store.choose(change("r1", previous="r0", denied=8 | 4, at=NOW + 1))
    await store.settle(
        [
            Settlement(
                delivery_id=due.delivery_id, fate="waiting", reason="vendor_unavailable", at_ms=NOW, verdict="retry"
            )
        ]
    )
    (again,) = await store.claim("shop", "meta", now_ms=NOW + 2_000, lease_ms=1_000, limit=9)
    assert (again.delivery_id, again.denied_since) == (due.delivery_id, 0), (
        "a refusal never stops the word of a refusal"
    )
    await store.settle(
        [Settlement(delivery_id=due.delivery_id, fate="accepted", reason="vendor_accepted", at_ms=NOW, status=200)]
    )
    found = await store.passed_on("r0", None)
    assert found is not None
    assert (found.site, found.record_id, found.entry) == ("shop", "r0", b"r0")
    assert [(row.destination, row.fate, len(row.evidence)) for row in found.deliveries] == [("meta", "accepted", 2)]
    assert await store.passed_on("r0", "blog") is None
    assert await store.passed_on("unknown", None) is None


async def test_a_refusal_does_not_cancel_a_message_that_waits(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    await store.choose(change("r0", denied=8))
    await store.choose(change("r1", previous="r0", denied=8 | 16))
    assert (await store.tally()).deliveries == {("shop", "meta", "accepted"): 1, ("shop", "meta", "waiting"): 2}


async def test_a_dead_message_is_listed_and_can_be_replayed(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", deliveries=(owed(),)))
    await deliver(store, "meta", "accepted")
    await store.choose(change("r0", denied=8))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1_000, limit=9)
    await store.settle([Settlement(delivery_id=due.delivery_id, fate="dead", reason="attempts_exhausted", at_ms=NOW)])
    assert [(row.event_id, row.event_name, row.replayable) for row in await store.dead(None, None, 9)] == [
        ("r0", "withdrawal", True)
    ]
    assert {(row.event_id, row.event_name) for row in await store.recent(9)} >= {("r0", "withdrawal")}
    assert await store.replay(now_ms=NOW + 1, site=None, destination=None, delivery_id=None, limit=9) == 1
    (again,) = await store.claim("shop", "meta", now_ms=NOW + 1, lease_ms=1_000, limit=9)
    assert (again.withdrawal, again.payload) == (True, b"told")


async def test_an_event_knows_who_was_told_that_what_it_rested_on_was_taken_back(
    store: Store, heard: list[Passing]
) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(purposes=8), owed("ga4", purposes=4))))
    await store.submit(order("A2", event_id="event-0002", deliveries=(owed(fate="withheld", payload=None),)))
    await deliver(store, "meta", "accepted")
    await deliver(store, "ga4", "accepted")
    await store.choose(change("r0", denied=8, at=NOW + 1))
    told = await store.event("event-0001", None)
    untold = await store.event("event-0002", None)
    assert told is not None
    assert untold is not None
    assert [(row.destination, row.fate) for row in told.told] == [("meta", "waiting")]
    assert [(row.destination, row.fate) for row in told.deliveries] == [("ga4", "accepted"), ("meta", "accepted")]
    assert untold.told == ()


async def test_messages_go_with_their_time_and_not_while_they_wait(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", deliveries=(owed(), owed("ga4"))))
    await deliver(store, "meta", "accepted")
    await deliver(store, "ga4", "accepted")
    await store.choose(change("r0", denied=8))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=1_000, limit=9)
    await store.settle([Settlement(delivery_id=due.delivery_id, fate="accepted", reason="vendor_accepted", at_ms=NOW)])
    later = {"now_ms": NOW + 2 * DAY, "attempts_before_ms": NOW + 1, "dead_before_ms": NOW + 1}
    assert await store.expire(events_before_ms=NOW, **{**later, "attempts_before_ms": NOW - 1}) == 0
    for _ in range(9):
        if not await store.expire(events_before_ms=NOW + 1, **later):
            break
    found = await store.passed_on("r0", None)
    assert found is not None, "the entry of the log stays"
    assert [(row.destination, row.fate) for row in found.deliveries] == [("ga4", "waiting")]
    assert list(await store.check()) == []


# ------------------------------------------------------------------ what is held


async def test_what_is_held_is_counted_for_one_subject_of_one_site(store: Store, heard: list[Passing]) -> None:
    touch = Touch("click", NOW, ME, "google.com", b'{"source":"x"}', b"sealed")
    await store.submit(
        of(
            ME,
            order("A1", deliveries=(owed(), owed("ga4", fate="withheld", reason="consent_missing", payload=None))),
            touch=touch,
        )
    )
    await store.submit(of(ME, order("A1", amount=4990)))  # a repeat of the order: an event, and a duplicate
    await store.submit(plain(event(key=ME)))
    await store.submit(
        of(OTHER, order("A2", deliveries=(owed(),)), touch=msgspec.structs.replace(touch, visitor_key=OTHER))
    )
    await store.submit(plain(event(site="blog", key=ME)))
    await deliver(store, "meta", "accepted")
    await store.choose(change("r0", granted=8))
    await store.choose(change("r1", previous="r0", denied=8, at=NOW + 5))
    await store.choose(change("s0", granted=8, subject=OTHER))
    held = await store.held("shop", ME)
    assert (held.events, held.conversions, held.touches) == (3, 2, 1)
    assert (held.first_at_ms, held.last_at_ms) == (NOW, NOW)
    assert held.deliveries == {("ga4", "withheld", "consent_missing"): 1, ("meta", "accepted", ""): 1}
    assert held.told == {("meta", "waiting", ""): 1}
    assert [(row.record_id, row.payload, row.received_at_ms) for row in held.records] == [
        ("r0", b"{}", NOW),
        ("r1", b"{}", NOW + 5),
    ]


async def test_what_was_withheld_is_counted_by_its_reason(store: Store) -> None:
    for number, reason in enumerate(("bot", "test_event", "bot", "opted_out")):
        kept = owed(fate="withheld", reason=reason, payload=None)
        await store.submit(of(ME, order(f"A{number}", event_id=f"event-{number:04}", deliveries=(kept,))))
    held = await store.held("shop", ME)
    assert list(held.deliveries.items()) == [
        (("meta", "withheld", "bot"), 2),
        (("meta", "withheld", "opted_out"), 1),
        (("meta", "withheld", "test_event"), 1),
    ]


async def test_nothing_is_held_of_somebody_who_never_came(store: Store) -> None:
    held = await store.held("shop", ME)
    assert (held.events, held.first_at_ms, held.conversions, held.touches, held.records) == (0, None, 0, 0, ())
    assert (held.deliveries, held.told) == ({}, {})
    assert list(await store.events_of("shop", ME, 0, 9)) == []
    assert list(await store.touches_of("shop", ME, 9)) == []


async def test_events_of_a_subject_come_in_pages_oldest_first(store: Store) -> None:
    for number in range(5):
        await store.submit(order(f"A{number}", event_id=f"event-{number:04}", deliveries=(owed(), owed("ga4"))))
    await store.submit(of(OTHER, order("B1", event_id="event-9999")))
    await store.submit(of(None, order("C1", event_id="event-5555", person=ME)))
    pages = [await store.events_of("shop", ME, start, 4) for start in (0, 4, 8)]
    assert [[record.event_id for record in page] for page in pages] == [
        ["event-0000", "event-0001", "event-0002", "event-0003"],
        ["event-0004", "event-5555"],
        [],
    ]
    first = pages[0][0]
    assert (first.site, first.name, first.facts) == ("shop", "purchase", b'{"a":1}')
    assert [(row.order_id, row.amount_minor) for row in first.conversions] == [("A0", 4990)]
    assert [row.destination for row in first.deliveries] == ["ga4", "meta"]


async def test_touches_of_a_subject_come_with_their_seals(store: Store) -> None:
    mine = Touch("click", NOW, ME, "google.com", b'{"source":"x"}', b"sealed")
    await store.submit(of(ME, order("A1", event_id="event-0001"), touch=mine))
    await store.submit(of(OTHER, order("A2"), touch=msgspec.structs.replace(mine, visitor_key=OTHER)))
    (found,) = await store.touches_of("shop", ME, 9)
    assert found == type(found)("event-0001", "click", NOW, ME, "google.com", b'{"source":"x"}', b"sealed")


# ------------------------------------------------------------------ erasure


async def test_an_erasure_leaves_what_counts_and_takes_the_person_out(store: Store, heard: list[Passing]) -> None:
    touch = Touch("click", NOW, ME, "google.com", b'{"source":"x"}', b"sealed")
    deliveries = (owed("taken"), owed("idle"), owed("dead"))
    await store.submit(of(ME, order("A1", event_id="event-0001", deliveries=deliveries, person=PERSON), touch=touch))
    await deliver(store, "taken", "accepted")
    await deliver(store, "dead", "dead")
    await store.choose(change("r0", granted=8))
    erased = await store.erase(erasure("x0", previous="r0", at=NOW + 7), bare)
    assert erased is not None
    assert (erased.events, erased.conversions, erased.touches, erased.records, erased.cancelled) == (1, 1, 1, 1, 1)

    held = await store.held("shop", ME)
    assert (held.events, held.touches, held.records, held.deliveries) == (0, 0, (), {})
    assert (await store.held("shop", PERSON)).events == 0, "the person a backend named is taken out too"
    assert await store.consent_state("shop", ME) is None
    left = await store.event("event-0001", None)
    assert left is not None
    assert (left.visitor_kind, left.facts, left.touches) == ("none", b'{"left":7}', ())
    assert [(row.order_id, row.amount_minor, row.fate) for row in left.conversions] == [("A1", 4990, "counted")]
    assert [(row.destination, row.fate, row.reason) for row in left.deliveries] == [
        ("dead", "dead", "attempts_exhausted"),
        ("idle", "cancelled", "subject_erased"),
        ("taken", "accepted", "vendor_accepted"),
    ]
    assert [row.replayable for row in await store.dead(None, None, 9)] == [False], "what was dead cannot come back"
    assert await store.replay(now_ms=NOW, site=None, destination=None, delivery_id=None, limit=9) == 0
    assert list(await store.check()) == []
    assert [entry.record_id for entry in await store.log_entries("shop", 0, 9)] == ["r0", "x0"]


async def test_an_erasure_is_passed_on_with_everything_that_was_sent(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed("taken"), owed("idle"))))
    await store.submit(of(OTHER, order("A2", event_id="event-0002", deliveries=(owed("taken"),))))
    await deliver(store, "taken", "accepted")
    assert await store.erase(erasure("x0", at=NOW + 7), bare) is not None
    (passing,) = heard
    assert (passing.record_id, passing.erased, passing.lost, passing.granted) == ("x0", True, EVERYTHING, 0)
    assert passing.sent == {"taken": ("event-0001",)}
    found = await store.passed_on("x0", None)
    assert found is not None
    assert [(row.destination, row.fate) for row in found.deliveries] == [("taken", "waiting")]


async def test_what_is_under_way_while_its_person_is_erased_is_never_sent_again(
    store: Store, heard: list[Passing]
) -> None:
    await store.submit(order("A1", event_id="event-0001", deliveries=(owed(),)))
    (due,) = await store.claim("shop", "meta", now_ms=NOW, lease_ms=60_000, limit=1)
    assert due.payload == b"sealed"
    assert await store.erase(erasure("x0"), bare) is not None
    await store.settle(
        [Settlement(delivery_id=due.delivery_id, fate="waiting", reason="vendor_unavailable", at_ms=NOW, due_at_ms=NOW)]
    )
    claimed = await store.claim("shop", "meta", now_ms=NOW, lease_ms=60_000, limit=9)
    assert [(one.event_id, one.payload) for one in claimed if not one.withdrawal] == [("event-0001", None)]
    assert [one.payload for one in claimed if one.withdrawal] == [b"told"], "it may have arrived, so it is told"


async def test_an_erasure_keeps_no_record_that_names_the_subject(store: Store) -> None:
    await store.choose(change("r0", granted=8))
    await store.choose(change("s0", granted=8, subject=OTHER))
    await store.erase(erasure("x0", previous="r0"), bare)
    assert (await store.held("shop", ME)).records == ()
    assert [row.record_id for row in (await store.held("shop", OTHER)).records] == ["s0"]
    assert (await store.consent_state("shop", OTHER)) is not None


async def test_an_erasure_on_an_old_state_is_stale_and_does_nothing(store: Store, heard: list[Passing]) -> None:
    await store.submit(order("A1", deliveries=(owed(),)))
    await store.choose(change("r0", granted=8))
    assert await store.erase(erasure("x0"), bare) is None
    assert await store.erase(erasure("x0", previous="unknown"), bare) is None
    held = await store.held("shop", ME)
    assert (held.events, held.deliveries, len(held.records)) == (1, {("meta", "waiting", ""): 1}, 1)
    assert len(await store.log_entries("shop", 0, 9)) == 1
    assert heard == []


async def test_an_erasure_stays_on_its_site_and_with_its_subject(store: Store) -> None:
    await store.submit(plain(event("event-0001", key=OTHER)))
    await store.submit(plain(event("event-0002", site="blog")))
    await store.submit(plain(event("event-0003")))
    erased = await store.erase(erasure("x0"), bare)
    assert erased is not None
    assert erased.events == 1
    assert (await store.held("shop", OTHER)).events == 1
    assert (await store.held("blog", ME)).events == 1
    for event_id in ("event-0001", "event-0002"):
        found = await store.event(event_id, None)
        assert found is not None
        assert found.facts == b'{"a":1}'


async def test_after_an_erasure_the_same_subject_starts_anew(store: Store) -> None:
    await store.choose(change("r0", granted=8))
    await store.erase(erasure("x0", previous="r0"), bare)
    again = msgspec.structs.replace(change("r1", granted=4, at=NOW + 9), subject_tag=b"n" * 16)
    assert await store.choose(again) == "recorded"
    state = await store.consent_state("shop", ME)
    assert state is not None
    assert (state.subject_tag, state.granted) == (b"n" * 16, 4), "under a new tag: the log does not join the two"


async def test_a_visitors_events_are_found_before_and_after_they_are_listed(store: Store) -> None:
    """The list by visitor is kept up later, in portions: what is held, shown and erased must not depend on it."""
    await store.submit(Submission((Recordable(event=event("listed-0001", key=b"v" * 16)),)))
    assert await store.list_visitors() == 0
    await store.submit(Submission((Recordable(event=event("listed-0002", key=b"v" * 16)),)))
    held = await store.held("shop", b"v" * 16)
    assert held.events == 2
    page = await store.events_of("shop", b"v" * 16, 0, 10)
    assert [one.event_id for one in page] == ["listed-0001", "listed-0002"]
    assert await store.list_visitors() == 0
    assert (await store.held("shop", b"v" * 16)).events == 2


def told_by(event_id: str, key: bytes, *, person: bytes | None = None, at: int = NOW) -> Submission:
    row = msgspec.structs.replace(event(event_id, key=key), received_at_ms=at)
    return Submission((Recordable(event=row, person_key=person),))


async def expired(store: Store) -> None:
    """Delete every event that came until NOW."""
    times = {"events_before_ms": NOW + 1, "attempts_before_ms": 0, "dead_before_ms": 0}
    while await store.expire(now_ms=NOW + DAY, **times):
        pass


async def test_a_visitors_events_are_found_when_all_older_ones_have_expired(store: Store) -> None:
    """A quiet site: the numbers of events begin anew, and nothing that was listed before may hide what comes next."""
    for number in range(3):
        await store.submit(told_by(f"expired-{number:04}", ME))
    await store.list_visitors()
    await expired(store)
    await store.submit(told_by("later-0001", ME, at=NOW + DAY))
    assert (await store.held("shop", ME)).events == 1
    assert await store.list_visitors() == 0
    assert (await store.held("shop", ME)).events == 1
    erased = await store.erase(erasure("x0", at=NOW + DAY), bare)
    assert erased is not None
    assert erased.events == 1


async def test_the_events_of_an_erased_person_are_listed_under_no_visitor(store: Store) -> None:
    await store.submit(told_by("person-0001", ME, person=PERSON))
    await store.list_visitors()
    await store.erase(erasure("x0", subject=PERSON), bare)
    assert (await store.held("shop", ME)).events == 0
    await expired(store)
    await store.submit(told_by("later-0001", OTHER, at=NOW + DAY))
    assert list(await store.events_of("shop", ME, 0, 10)) == [], "it is somebody else's"
    assert (await store.held("shop", OTHER)).events == 1
