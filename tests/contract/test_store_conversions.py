"""What every store promises about conversions and their repeats."""

from typing import Any

import msgspec
import pytest

from gateway.event import Recorded
from gateway.stores.contract import Store
from tests.contract.crediting import (
    ME,
    OTHER,
    PERSON,
    TODAY,
    WHOLE,
    adjustment,
    applied,
    counted,
    decision,
    goal_row,
    goal_sum,
    sale,
    share,
)
from tests.contract.test_store_contract import DAY, NOW, one

# ------------------------------------------------------------------ conversions


async def test_a_conversion_comes_back_with_everything_attribution_needs(store: Store) -> None:
    made = sale(
        "A1", amount=1000, person=PERSON, event_id="conv-0001", at=NOW - 5, received=NOW, value_source="default",
        click_id="c1", coupons=("SPRING", " ten off"), campaign_id="camp1", goal_version=3,
    )  # fmt: skip
    recorded = await one(store, made)
    assert recorded.conversion_id == store.conversion_id("shop", "conv-0001")
    found = await store.conversion("shop", recorded.conversion_id)
    assert found is not None
    assert msgspec.structs.asdict(found) == {
        "site": "shop", "conversion_id": recorded.conversion_id, "event_id": "conv-0001", "goal": "purchase",
        "goal_version": 3, "order_id": "A1", "amount_minor": 1000, "currency": "EUR", "value_source": "default",
        "net_minor": 1000, "click_id": "c1", "coupons": ("SPRING", " ten off"), "campaign_id": "camp1", "test": False,
        "fate": "counted", "reason": "first_with_key", "occurred_at_ms": NOW - 5, "received_at_ms": NOW,
        "trust": "server", "visitor_key": ME, "person_key": PERSON, "credit_version": 0, "facts": b'{"a":1}',
    }  # fmt: skip
    assert await store.conversion("blog", recorded.conversion_id) is None
    assert await store.conversion("shop", "unknown") is None
    assert list(await store.conversions_of_order("shop", "A1")) == [found]


async def test_an_order_has_one_conversion_a_goal(store: Store) -> None:
    first = await counted(store, "A1")
    second = await counted(store, "A1", goal="subscribe")
    await one(store, sale("A1"))
    await counted(store, "A1", site="blog")
    await counted(store, "A2")
    assert {row.conversion_id for row in await store.conversions_of_order("shop", "A1")} == {first, second}
    assert await store.conversions_of_order("shop", "A9") == []


REPEATS = {
    "the same order": ({"order_id": "A1"}, {"order_id": "A1"}, "same_order"),
    "the same order with another value": ({"order_id": "A1"}, {"order_id": "A1", "amount": 1}, "value_differs"),
    "a value the goal gave": (
        {"order_id": "A1"},
        {"order_id": "A1", "amount": 1, "value_source": "default"},
        "same_order",
    ),
    "no value": ({"order_id": "A1"}, {"order_id": "A1", "amount": None, "value_source": "none"}, "same_order"),
    "the same person": (
        {"key": "p:ab", "order_id": "A1"},
        {"key": "p:ab", "order_id": "A2", "amount": 1},
        "same_person",
    ),
    "the same click": ({"key": "k:c1", "order_id": None}, {"key": "k:c1", "order_id": None, "amount": 1}, "same_click"),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("first", "again", "reason"), REPEATS.values(), ids=REPEATS.keys())
async def test_a_repeat_says_what_it_repeats(
    store: Store, first: dict[str, Any], again: dict[str, Any], reason: str, strict: bool
) -> None:
    counts = await one(store, sale(**first))
    repeat = await one(store, sale(**again, event_id="again-0001", strict=strict))
    if reason == "value_differs" and strict:
        assert repeat == Recorded("conflict", counts.conversion_id, counts.event_id)
        assert (await goal_sum(store)).duplicates == 0
        return
    assert repeat == Recorded("duplicate", counts.conversion_id, counts.event_id)
    found = await store.event("again-0001", "shop")
    assert found is not None
    assert [(row.fate, row.reason, row.counted_id) for row in found.conversions] == [
        ("duplicate", reason, counts.conversion_id)
    ]


async def test_an_event_without_an_order_repeats_itself_only(store: Store) -> None:
    await counted(store, None, key="e:one")
    recorded = await one(store, sale(None, key="e:one", event_id="again-0001"))
    assert recorded.fate == "duplicate"
    found = await store.event("again-0001", "shop")
    assert found is not None
    assert found.conversions[0].reason == "same_event"


@pytest.mark.parametrize("strict", [False, True])
async def test_the_repeat_of_what_was_retracted_counts_nothing(store: Store, strict: bool) -> None:
    first = await counted(store, "A1")
    await store.put_adjustment("shop", adjustment("a1", first, kind="retract"), applied(0, fate="retracted"))
    again = await one(store, sale("A1", amount=7, event_id="again-0001", strict=strict))
    assert (again.fate, again.conversion_id) == ("duplicate", first)
    found = await store.event("again-0001", "shop")
    assert found is not None
    assert found.conversions[0].reason == "retracted_before"
    assert await goal_sum(store) == goal_row(
        conversions=1, unattributed=1, retracted=1, duplicates=1, amount_minor=1000
    )


async def test_what_is_counted_is_summed_and_tests_are_not(store: Store) -> None:
    await counted(store, "A1", amount=1000)
    await counted(store, None, amount=50, value_source="default")
    await counted(store, "A2", amount=None, value_source="none")
    await counted(store, "A3", amount=7, test=True)
    await one(store, sale("A3", amount=7, test=True))
    await one(store, sale("A1", amount=1000))
    await counted(store, "A4", at=NOW - DAY, amount=3, currency="USD")
    total = await goal_sum(store)
    assert total == goal_row(
        conversions=4, unattributed=4, duplicates=1, defaulted=1, without_order=1, amount_minor=1053, net_minor=1053
    )
    rows = await store.goal_days("shop", TODAY - 1, TODAY, ("day", "currency"))
    assert [(row.day, row.currency, row.conversions, row.amount_minor) for row in rows] == [
        (TODAY - 1, "USD", 1, 3), (TODAY, "", 1, 0), (TODAY, "EUR", 2, 1050),
    ]  # fmt: skip
    assert [row.conversions for row in await store.goal_days("shop", TODAY, TODAY, ("goal",))] == [3]
    assert await store.goal_days("blog", 0, TODAY, ()) == []


async def test_the_largest_amounts_are_summed_exactly(store: Store) -> None:
    for number in range(3):
        await counted(store, f"A{number}", amount=10**14 - 1)
    assert (await goal_sum(store)).amount_minor == 3 * (10**14 - 1)


async def test_conversions_come_by_time_and_id_in_pages(store: Store) -> None:
    ids = sorted([await counted(store, f"A{number}", at=NOW + number // 2) for number in range(5)][:4])
    await one(store, sale("A0"))
    await counted(store, "A9", site="blog")
    page = await store.conversions_page("shop", after_ms=NOW, upto_ms=NOW + 1, limit=3)
    assert len(page) == 3
    last = page[-1]
    more = await store.conversions_page(
        "shop", after_ms=last.occurred_at_ms, upto_ms=NOW + 1, after_id=last.conversion_id
    )
    assert sorted(row.conversion_id for row in (*page, *more)) == ids
    places = [(row.occurred_at_ms, row.conversion_id) for row in (*page, *more)]
    assert places == sorted(places)


async def test_conversions_are_found_by_goal_campaign_link_and_ambassador(store: Store) -> None:
    first = await counted(store, "A1", campaign_id="camp9")
    second = await counted(store, "A2", goal="subscribe")
    await store.put_credit("shop", decision(second, share(WHOLE, 1000)))
    await store.put_credit("shop", decision(second, share(WHOLE, 1000, link_id="link2"), version=2))

    async def ids(**asked: Any) -> list[str]:
        found = await store.conversions_page("shop", after_ms=0, upto_ms=NOW, **asked)
        return [row.conversion_id for row in found]

    assert await ids(goal="purchase") == [first]
    assert await ids(campaign_id="camp9") == [first]
    assert await ids(campaign_id="camp1") == [second]
    assert await ids(link_id="link2") == [second]
    assert await ids(link_id="link1") == [], "an older decision does not count"
    assert await ids(ambassador_id="amb1") == [second]
    assert await ids(ambassador_id="amb1", link_id="link1") == []
    assert await ids(ambassador_id="amb2") == []


async def test_the_previous_conversion_of_a_person_is_found(store: Store) -> None:
    first = await counted(store, "A1", at=NOW - 9)
    await counted(store, "A2", at=NOW - 5, visitor=OTHER, person=PERSON)
    await counted(store, "A3", at=NOW - 4, goal="subscribe")
    await counted(store, "A4", at=NOW - 3, test=True)
    await one(store, sale("A1", at=NOW - 2))
    retracted = await counted(store, "A5", at=NOW - 1)
    await store.put_adjustment("shop", adjustment("a1", retracted, kind="retract"), applied(0, fate="retracted"))
    last = await counted(store, "A6", at=NOW)

    async def before(
        conversion_id: str, at: int, visitor: bytes | None = ME, person: bytes | None = None
    ) -> int | None:
        return await store.previous_conversion_at(
            "shop", "purchase", visitor_key=visitor, person_key=person, before_ms=at, not_id=conversion_id
        )

    assert await before(last, NOW) == NOW - 9, "tests, duplicates, other goals and what was retracted are none"
    assert await before(last, NOW, person=PERSON) == NOW - 5
    assert await before(last, NOW, None, PERSON) == NOW - 5
    assert await before(last, NOW, None, None) is None
    assert await before(first, NOW - 9) is None


async def test_of_two_conversions_at_one_time_one_is_the_first(store: Store) -> None:
    ids = [await counted(store, f"A{number}") for number in range(2)]
    found = [
        await store.previous_conversion_at(
            "shop", "purchase", visitor_key=ME, person_key=None, before_ms=NOW, not_id=conversion_id
        )
        for conversion_id in sorted(ids)
    ]
    assert found == [None, NOW]
