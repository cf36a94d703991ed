"""What every store promises about touches: clicks, landings, whose device it was, and how they go."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.event import Recordable, Submission
from gateway.stores.contract import Store
from gateway.stores.contract_credit import (
    TouchDay,
)
from tests.contract.crediting import (
    ME,
    OTHER,
    PERSON,
    TODAY,
    WHOLE,
    adjustment,
    applied,
    click,
    counted,
    decision,
    goal_sum,
    landing,
    sale,
    share,
)
from tests.contract.test_store_contract import DAY, NOW, event, one
from tests.contract.test_store_subjects import bare, erasure

# ------------------------------------------------------------------ touches


async def test_a_click_is_stored_without_an_event_and_read_back(store: Store) -> None:
    made = click(click_id="c1", variant="b", human="suspect", human_reason="data_centre", consent=False, landing="/x")
    number = await store.record_click("shop", made)
    (found,) = await store.contacts("shop", visitor_keys=(ME,), click_ids=(), after_ms=NOW, upto_ms=NOW, limit=9)
    assert (found.touch_no, found.event_id, found.repeats) == (number, None, 0)
    for name in set(found.__struct_fields__) & set(made.__struct_fields__):
        assert getattr(found, name) == getattr(made, name), name


async def test_a_click_id_that_comes_twice_is_one_touch(store: Store) -> None:
    first = await store.record_click("shop", click(click_id="c1"))
    assert await store.record_click("shop", click(OTHER, click_id="c1")) == first
    other_site = await store.record_click("blog", click(click_id="c1"))
    assert other_site != first
    assert await store.record_click("shop", click(click_id=None)) not in (first, other_site)
    assert [row.touches for row in await store.touch_days("shop", TODAY, TODAY, ())] == [2]


async def test_many_clicks_and_repeats_at_once_are_what_they_are_one_by_one(store: Store) -> None:
    """A commit writes them together: numbers, repeated ids, and sums are those of each."""
    await store.record_click("shop", click(click_id="before", link_id="l0"))
    made = [
        click(click_id=f"c{number % 150}" if number % 10 else None, link_id=f"l{number % 3}", test=number % 7 == 0)
        for number in range(200)
    ]
    stored = [store.record_click("shop", touch) for touch in (*made, click(click_id="before", link_id="l0"))]
    repeats = [store.record_repeat("shop", name) for name in ("c1", "before", "c1", "none", "c7")]
    numbers = await asyncio.gather(*stored)
    assert list(await asyncio.gather(*repeats)) == [True, True, True, False, True]
    first: dict[str | None, int] = {}
    new = []
    for touch, number in zip(made, numbers[:-1], strict=True):
        if touch.click_id is None or touch.click_id not in first:
            new.append(touch)
            first[touch.click_id] = number
        else:
            assert number == first[touch.click_id]
    assert len(set(numbers[:-1])) == len(new)
    names = [name for name in first if name is not None]
    found = await store.contacts("shop", visitor_keys=(), click_ids=names, after_ms=0, upto_ms=NOW, limit=500)
    assert {one.click_id: one.touch_no for one in found} == {name: first[name] for name in names}
    assert {one.click_id: one.repeats for one in found if one.repeats} == {"c1": 2, "c7": 1}
    rows = await store.touch_days("shop", 0, TODAY, ("link_id",))
    real = [touch.link_id for touch in new if not touch.test]
    assert {row.link_id: row.touches for row in rows} == {
        "l0": real.count("l0") + 1, "l1": real.count("l1"), "l2": real.count("l2"),
    }  # fmt: skip
    assert {row.link_id: row.repeats for row in rows} == {"l0": 1, "l1": 2, "l2": 0}


async def test_contacts_are_those_of_visitors_and_those_of_clicks_newest_first(store: Store) -> None:
    for at in (3, 1, 2):
        await store.record_click("shop", click(at=NOW + at, click_id=f"mine-{at}"))
    await store.record_click("shop", click(OTHER, at=NOW + 2, click_id="named"))
    await store.record_click("shop", click(OTHER, at=NOW + 2, click_id="unnamed"))
    await store.record_click("blog", click(at=NOW + 2, click_id="mine-2"))
    await store.submit(landing(click(at=NOW + 4, kind="referral", click_id=None), visitor=ME))

    async def ids(**asked: Any) -> list[str | None]:
        usual: dict[str, Any] = {
            "visitor_keys": (ME, ME), "click_ids": ("named", "mine-1", "none"), "after_ms": NOW, "upto_ms": NOW + 9,
            "limit": 9,
        }  # fmt: skip
        found = await store.contacts("shop", **{**usual, **asked})
        assert all((one.event_id is not None) == (one.kind == "referral") for one in found)
        return [one.click_id for one in found if one.click_id or one.kind == "referral"]

    everything = await ids()
    assert everything[1:] == ["mine-3", "named", "mine-2", "mine-1"]
    assert (await ids(upto_ms=NOW + 2, after_ms=NOW + 2)) == ["named", "mine-2"], "both times are included"
    assert await ids(limit=2) == everything[:2]
    assert await ids(visitor_keys=()) == ["named", "mine-1"]
    assert await ids(click_ids=(), upto_ms=NOW + 3) == ["mine-3", "mine-2", "mine-1"]
    assert await ids(visitor_keys=(), click_ids=()) == []


async def test_a_repeat_is_counted_on_its_click_and_on_the_day_of_it(store: Store) -> None:
    await store.record_click("shop", click(click_id="c1", at=NOW - DAY))
    await store.record_click("shop", click(click_id="test", test=True))
    assert await store.record_repeat("shop", "c1")
    assert await store.record_repeat("shop", "c1")
    assert await store.record_repeat("shop", "test")
    assert not await store.record_repeat("shop", "unknown")
    assert not await store.record_repeat("blog", "c1")
    (found,) = await store.contacts("shop", visitor_keys=(), click_ids=("c1",), after_ms=0, upto_ms=NOW, limit=1)
    assert found.repeats == 2
    rows = await store.touch_days("shop", 0, TODAY, ("day", "link_id"))
    assert [(row.day, row.link_id, row.touches, row.repeats) for row in rows] == [(TODAY - 1, "link1", 1, 2)]


async def test_touches_are_summed_by_what_is_asked_for(store: Store) -> None:
    for touch in (
        click(link_id="l1", device="mobile"),
        click(link_id="l1", device="desktop", at=NOW + DAY),
        click(link_id="l2", device="mobile", human="no"),
        click(link_id="l2", test=True),
    ):
        await store.record_click("shop", touch)
    await store.submit(landing(click(link_id="", source="l2", click_id=None)))

    async def by(*names: str) -> list[tuple[TouchDay, int]]:
        return [(row, row.touches) for row in await store.touch_days("shop", TODAY, TODAY + 1, names)]

    assert [count for _, count in await by()] == [4]
    assert [(row.link_id, count) for row, count in await by("link_id")] == [("", 1), ("l1", 2), ("l2", 1)]
    assert [(row.human, row.device, count) for row, count in await by("human", "device")] == [
        ("no", "mobile", 1), ("yes", "desktop", 1), ("yes", "mobile", 2),
    ] or [(row.device, row.human, count) for row, count in await by("human", "device")] == [
        ("desktop", "yes", 1), ("mobile", "no", 1), ("mobile", "yes", 2),
    ]  # fmt: skip
    assert [(row.day, count) for row, count in await by("day")] == [(TODAY, 3), (TODAY + 1, 1)]
    assert await store.touch_days("blog", 0, TODAY + 9, ()) == []
    with pytest.raises(ValueError, match="no column"):
        await store.touch_days("shop", 0, TODAY, ("touches",))


async def test_a_click_and_its_landing_are_one_click(store: Store) -> None:
    """The landing is kept, because it says whose click it was; sums count what was clicked."""
    await store.record_click("shop", click(visitor=None, click_id="c1", link_id="l1"))
    await store.submit(landing(click(click_id=None, landed_click_id="c1", link_id="l1")))
    await store.submit(landing(click(click_id=None, link_id="l1")))
    assert [row.touches for row in await store.touch_days("shop", TODAY, TODAY, ())] == [1]
    found = await store.contacts("shop", visitor_keys=(ME,), click_ids=("c1",), after_ms=0, upto_ms=NOW, limit=9)
    assert len(found) == 3


async def test_a_device_is_of_a_person_once_an_event_named_both(store: Store) -> None:
    for visitor, person, at in (
        (ME, PERSON, 5),
        (ME, PERSON, 3),
        (ME, PERSON, 7),
        (OTHER, PERSON, 9),
        (OTHER, b"q" * 16, 1),
    ):
        row = msgspec.structs.replace(event(key=visitor), occurred_at_ms=NOW + at)
        await store.submit(Submission((Recordable(event=row, person_key=person),)))
    daily = msgspec.structs.replace(event(key=b"d" * 16), visitor_kind="daily")
    await store.submit(Submission((Recordable(event=daily, person_key=PERSON, touch=click(b"d" * 16)),)))
    await store.submit(Submission((Recordable(event=event(site="blog"), person_key=PERSON),)))
    assert list(await store.devices_of("shop", PERSON)) == [(ME, NOW + 3), (OTHER, NOW + 9)]
    assert list(await store.devices_of("shop", PERSON, 1)) == [(ME, NOW + 3)]
    found = await store.persons_of("shop", (ME, OTHER, b"d" * 16, OTHER))
    assert sorted(found) == [(OTHER, PERSON, NOW + 9), (OTHER, b"q" * 16, NOW + 1), (ME, PERSON, NOW + 3)]
    assert await store.persons_of("shop", ()) == []


# ------------------------------------------------------------------ erasing and expiring


async def test_an_erased_visitor_is_in_no_touch_no_link_and_no_timer(store: Store) -> None:
    await store.record_click("shop", click(click_id="mine", at=NOW - 1))
    await store.record_click("shop", click(OTHER, click_id="other", at=NOW - 1))
    await store.submit(landing(click(click_id=None, kind="referral"), person=PERSON))
    sold = await counted(store, "A1", key=f"p:{ME.hex()}", click_id="mine", person=PERSON)
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000)))
    await store.set_timer("shop", "cart", ME, NOW, b"x")
    await store.set_timer("shop", "cart", OTHER, NOW, b"x")
    held = await store.held("shop", ME)
    assert (held.touches, held.conversions) == (2, 1)
    listed = await store.touches_of("shop", ME, 9)
    assert [(touch.kind, touch.event_id is None, touch.link_id) for touch in listed] == [
        ("click", True, "link1"), ("referral", False, "link1"),
    ]  # fmt: skip
    erased = await store.erase(erasure("r0"), bare)
    assert erased is not None
    assert (erased.touches, erased.conversions) == (2, 1)
    clicks = await store.contacts(
        "shop", visitor_keys=(ME,), click_ids=("mine", "other"), after_ms=0, upto_ms=NOW, limit=9
    )
    assert [one.click_id for one in clicks] == ["other"]
    assert await store.devices_of("shop", PERSON) == []
    assert await store.persons_of("shop", (ME,)) == []
    assert [timer.subject_key for timer in await store.timers("shop", "cart")] == [OTHER]
    found = await store.conversion("shop", sold)
    assert found is not None
    assert (found.visitor_key, found.person_key, found.click_id, found.net_minor) == (None, None, None, 1000)
    made = await store.attribution(sold)
    assert made is not None
    assert len(made.credits) == 1, "credit names nobody, and stays"
    assert (await store.previous_conversion_at(
        "shop", "purchase", visitor_key=ME, person_key=PERSON, before_ms=NOW + 9, not_id=""
    )) is None  # fmt: skip
    assert (await one(store, sale("A2", key=f"p:{ME.hex()}"))).fate == "counted", "who comes again is somebody new"


async def test_an_erased_person_loses_devices_and_conversions(store: Store) -> None:
    sold = await counted(store, "A1", person=PERSON)
    await store.erase(erasure("r0", subject=PERSON), bare)
    assert await store.persons_of("shop", (ME,)) == []
    found = await store.conversion("shop", sold)
    assert found is not None
    assert (found.visitor_key, found.person_key) == (None, None)


async def expire_all(store: Store, before: int) -> int:
    gone = 0
    for _ in range(50):
        portion = await store.expire(
            now_ms=before, events_before_ms=before, attempts_before_ms=before, dead_before_ms=before
        )
        gone += portion
        if not portion:
            return gone
    raise AssertionError("expiry comes to no end")


async def test_what_is_past_its_time_goes_and_the_sums_stay(store: Store) -> None:
    await store.record_click("shop", click(click_id="old", at=NOW - DAY))
    await store.record_click("shop", click(click_id="new"))
    old = await counted(store, "A1", at=NOW - DAY, person=PERSON)
    young = await counted(store, "A2", person=b"q" * 16)
    for conversion_id in (old, young):
        await store.put_credit("shop", decision(conversion_id, share(WHOLE, 1000)))
        await store.put_adjustment("shop", adjustment(f"a-{conversion_id}", conversion_id), applied(700))
    await store.put_adjustment("shop", adjustment("w1", order_id="Z1", received_at_ms=NOW - DAY), None)
    await store.put_adjustment("shop", adjustment("w2", order_id="Z2"), None)
    await store.set_timer("shop", "cart", ME, NOW - DAY, b"x")
    before = (
        await goal_sum(store),
        await store.credit_days("shop", 0, TODAY, ("day",)),
        await store.touch_days("shop", 0, TODAY, ()),
    )
    assert await expire_all(store, NOW - DAY) == 0
    assert await expire_all(store, NOW) >= 3
    assert await store.conversion("shop", old) is None
    assert await store.attribution(old) is None
    assert await store.adjustment("shop", f"a-{old}") is None
    assert await store.adjustment("shop", "w1") is None
    assert await store.adjustment("shop", "w2") is not None
    assert await store.devices_of("shop", PERSON) == []
    assert len(await store.devices_of("shop", b"q" * 16)) == 1
    clicks = await store.contacts("shop", visitor_keys=(ME,), click_ids=(), after_ms=0, upto_ms=NOW, limit=9)
    assert [one.click_id for one in clicks] == ["new"]
    assert await store.conversion("shop", young) is not None
    assert await store.attribution(young) is not None
    assert len(await store.timers("shop", "cart")) == 1
    after = (
        await goal_sum(store),
        await store.credit_days("shop", 0, TODAY, ("day",)),
        await store.touch_days("shop", 0, TODAY, ()),
    )
    assert after == before


async def test_clicks_go_in_portions(store: Store) -> None:
    for number in range(3):
        await store.record_click("shop", click(at=NOW - DAY, click_id=f"c{number}"))
    assert await expire_all(store, NOW) == 3
