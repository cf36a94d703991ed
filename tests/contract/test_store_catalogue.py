"""What every store promises about the catalogue and timers."""

from typing import Any

import msgspec
import pytest

from gateway.catalogue import Entry
from gateway.event import Recordable, Submission, TimerChange
from gateway.stores.contract import Store
from tests.contract.crediting import ME, OTHER, PERSON
from tests.contract.test_store_contract import DAY, NOW, event

# ------------------------------------------------------------------ the catalogue


def link(version: int = 1, *, entry_id: str = "l1", folded: str = "spring", **changes: Any) -> Entry:
    made = Entry(
        site="shop", kind="link", id=entry_id, folded=folded, parent="camp1", version=version, changed_at_ms=NOW,
        archived=False, body=b'{"version":%d}' % version,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


async def test_every_version_of_an_entry_is_kept(store: Store) -> None:
    assert await store.put_entry(link()) == "stored"
    newer = link(2, folded="summer", parent="camp2", archived=True, changed_at_ms=NOW + 5)
    assert await store.put_entry(newer) == "stored"
    assert await store.entry("shop", "link", "l1") == newer
    assert await store.entry("shop", "link", "l1", 1) == link()
    assert await store.entry("shop", "link", "l1", 2) == newer
    assert await store.entry("shop", "link", "l1", 3) is None
    assert await store.entry_by_code("shop", "link", "summer") == newer
    assert await store.entry_by_code("shop", "link", "spring") is None, "a code that was given up is free"


@pytest.mark.parametrize("wrong", [link(1), link(3), link(2, entry_id="new")])
async def test_a_version_that_is_not_the_next_is_stale(store: Store, wrong: Entry) -> None:
    await store.put_entry(link())
    assert await store.put_entry(wrong) == "stale"
    assert await store.entry("shop", "link", "l1") == link()
    assert await store.entry("shop", "link", "l1", 2) is None


async def test_a_code_belongs_to_one_entry_of_its_kind_and_site(store: Store) -> None:
    await store.put_entry(link())
    assert await store.put_entry(link(entry_id="l2")) == "taken"
    assert await store.entry("shop", "link", "l2") is None
    for other in (link(entry_id="l2", folded="two"), link(kind="goal"), link(site="blog")):
        assert await store.put_entry(other) == "stored"
    assert await store.put_entry(link(2, entry_id="l2")) == "taken"
    assert await store.entry("shop", "link", "l2", 2) is None, "what was not stored has no old version either"


async def test_entries_come_by_id_in_pages_and_by_their_campaign(store: Store) -> None:
    for number in range(5):
        parent = "camp1" if number % 2 else "camp2"
        await store.put_entry(link(entry_id=f"l{number}", folded=f"f{number}", parent=parent, archived=number == 4))
    await store.put_entry(link(entry_id="g1", kind="goal", parent=""))
    ids = [entry.id for entry in await store.entries("shop", "link", limit=3)]
    more = [entry.id for entry in await store.entries("shop", "link", after_id=ids[-1])]
    assert (ids, more) == (["l0", "l1", "l2"], ["l3", "l4"])
    assert [entry.id for entry in await store.entries("shop", "link", parent="camp1")] == ["l1", "l3"]
    assert [entry.id for entry in await store.entries("shop", "link", parent="camp2", after_id="l0")] == ["l2", "l4"]
    assert await store.entries("blog", "link") == []


# ------------------------------------------------------------------ timers


async def test_a_timer_is_taken_when_due_by_one_worker_at_a_time(store: Store) -> None:
    await store.set_timer("shop", "cart", ME, NOW + 5, b"one")
    await store.set_timer("blog", "cart", ME, NOW + 4, b"two")
    assert await store.claim_timers(NOW + 3, 1_000, 9) == []
    (first,) = await store.claim_timers(NOW + 5, 1_000, 1)
    assert (first.site, first.kind, first.subject_key, first.due_at_ms, first.payload) == (
        "blog", "cart", ME, NOW + 4, b"two",
    )  # fmt: skip
    (second,) = await store.claim_timers(NOW + 5, 1_000, 9)
    assert second.payload == b"one"
    assert await store.claim_timers(NOW + 1_004, 1_000, 9) == []
    assert [timer.payload for timer in await store.claim_timers(NOW + 1_005, 1_000, 9)] == [b"two", b"one"]
    await store.finish_timers((first, second))
    assert await store.claim_timers(NOW + DAY, 1_000, 9) == []


async def test_a_timer_set_anew_takes_the_place_of_the_old_and_survives_its_end(store: Store) -> None:
    await store.set_timer("shop", "cart", ME, NOW, b"old")
    (taken,) = await store.claim_timers(NOW, 1_000, 9)
    await store.set_timer("shop", "cart", ME, NOW + 1, b"new")
    await store.finish_timers((taken,))
    assert [timer.payload for timer in await store.timers("shop", "cart")] == [b"new"]
    (again,) = await store.claim_timers(NOW + 1, 1_000, 9)
    assert again.payload == b"new"


async def test_timers_are_stopped_and_listed_by_kind(store: Store) -> None:
    for number, key in enumerate((ME, OTHER, PERSON)):
        await store.set_timer("shop", "cart", key, NOW + 9 - number, b"x")
    await store.set_timer("shop", "trial", ME, NOW, b"x")
    assert await store.stop_timer("shop", "cart", (ME, b"unknown", OTHER)) == 2
    assert await store.stop_timer("blog", "cart", (PERSON,)) == 0
    assert [timer.subject_key for timer in await store.timers("shop", "cart")] == [PERSON]
    assert await store.timers("blog", "cart") == []


async def test_timers_come_with_the_record_that_sets_and_stops_them(store: Store) -> None:
    first = Recordable(event=event("timed-001"), timers=(TimerChange("cart", ME, NOW, b"a"),))
    await store.submit(Submission((first,)))
    assert [timer.payload for timer in await store.timers("shop", "cart")] == [b"a"]
    stop = Recordable(event=event("timed-002"), timers=(TimerChange("cart", ME, None),))
    await store.submit(Submission((stop,)))
    assert await store.timers("shop", "cart") == []
    await store.submit(Submission((first,)))
    assert await store.timers("shop", "cart") == [], "an event that was stored before does nothing"
