"""Shelves: what is found by what, that links come and go within bounds, and that no old link stands after a change."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from gateway.catalogue import Ambassador, Campaign, Coupon, Entry, Goal, Link
from gateway.errors import StoreError
from gateway.flows.shelves import Shelf, folded_code
from gateway.protocols.catalogue_wire import Record
from gateway.stores.memory import MemoryStore
from gateway.times import DAY_MS

SITE: Final = "shop"


def entry_of(record: Record, version: int = 1) -> Entry:
    return Entry(
        site=SITE,
        kind=type(record).__name__.lower(),
        id=record.id,
        folded=folded_code(record),
        parent=getattr(record, "campaign_id", ""),
        version=version,
        changed_at_ms=version,
        archived=record.archived,
        body=msgspec.json.encode(record),
    )


class Counting(MemoryStore):
    """A store that counts how often links are read, and can be made to answer late or not at all."""

    def __init__(self) -> None:
        super().__init__((SITE,))
        self.reads = 0
        self.gate: asyncio.Event | None = None
        self.broken = False
        self._writing = False

    async def put_entry(self, entry: Entry) -> str:
        self._writing = True
        try:
            return await super().put_entry(entry)
        finally:
            self._writing = False

    async def entry_by_code(self, site: str, kind: str, folded: str) -> Entry | None:
        if self._writing:  # this store looks its own codes up by the same way
            return await super().entry_by_code(site, kind, folded)
        self.reads += 1
        if self.broken:
            raise StoreError
        found = await super().entry_by_code(site, kind, folded)
        if self.gate is not None:
            await self.gate.wait()
        return found


async def kept(store: MemoryStore, shelf: Shelf | None, record: Record, version: int = 1) -> Entry:
    """Store an entry; with a shelf put it there, as whoever writes does."""
    entry = entry_of(record, version)
    assert await store.put_entry(entry) == "stored"
    if shelf is not None:
        shelf.put(entry)
    return entry


def link(number: int, **fields: Any) -> Link:
    return Link(id=f"lnk_{number}", **{"code": f"code-{number}", "target": f"https://shop.example/{number}", **fields})


GOAL: Final = Goal(id="goal_1", code="purchase", name="Purchase", token_digest=b"digest-1")
CAMPAIGN: Final = Campaign(id="cmp_1", code="Summer", name="Summer")
AMBASSADOR: Final = Ambassador(id="amb_1", code="Anna", name="Anna", campaign_id="cmp_1")
COUPON: Final = Coupon(id="cpn_1", code=" Straße 10 ", campaign_id="cmp_1")


def found_by_code(shelf: Shelf) -> dict[str, Callable[[], object]]:
    return {
        "goal": lambda: shelf.goals.get("purchase"),
        "token": lambda: shelf.goals_by_token.get(b"digest-1"),
        "campaign": lambda: shelf.campaigns_by_code.get("summer"),
        "ambassador": lambda: shelf.ambassadors_by_code.get("anna"),
        "coupon": lambda: shelf.coupons.get("strasse 10"),
    }


def found_by_id(shelf: Shelf) -> dict[str, Callable[[], object]]:
    return {
        "goal": lambda: shelf.goals_by_id.get("goal_1"),
        "campaign": lambda: shelf.campaigns.get("cmp_1"),
        "ambassador": lambda: shelf.ambassadors.get("amb_1"),
        "coupon": lambda: shelf.coupons_by_id.get("cpn_1"),
    }


ALL: Final = (GOAL, CAMPAIGN, AMBASSADOR, COUPON)


async def test_what_is_in_use_is_found_by_code_and_by_id() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    for record in ALL:
        shelf.put(entry_of(record))
    assert {name: find() for name, find in found_by_code(shelf).items()} == {
        "goal": GOAL, "token": GOAL, "campaign": CAMPAIGN, "ambassador": AMBASSADOR, "coupon": COUPON,
    }  # fmt: skip
    assert [find() for find in found_by_id(shelf).values()] == list(ALL)
    assert [shelf.version(*pair) for pair in (("goal", "goal_1"), ("goal", "goal_2"))] == [1, 0]


async def test_what_is_archived_is_found_by_its_id_alone() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    for record in ALL:
        shelf.put(entry_of(record))
        shelf.put(entry_of(msgspec.structs.replace(record, archived=True), 2))
    assert [find() for find in found_by_code(shelf).values()] == [None] * 5
    assert all(getattr(find(), "archived", False) for find in found_by_id(shelf).values())
    for record in ALL:
        shelf.put(entry_of(record, 3))
    assert None not in [find() for find in found_by_code(shelf).values()]


async def test_what_was_archived_before_the_start_is_found_by_its_id_alone() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    for record in ALL:
        shelf.put(entry_of(msgspec.structs.replace(record, archived=True), 4))
    assert [find() for find in found_by_code(shelf).values()] == [None] * 5
    assert None not in [find() for find in found_by_id(shelf).values()]


async def test_an_older_version_that_comes_late_changes_nothing() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    shelf.put(entry_of(msgspec.structs.replace(GOAL, name="New"), 3))
    shelf.put(entry_of(GOAL, 2))
    assert (shelf.goals["purchase"].name, shelf.version("goal", "goal_1")) == ("New", 3)


async def test_a_changed_code_or_token_leaves_nothing_of_the_old_one() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    for record in (AMBASSADOR, COUPON, GOAL):
        shelf.put(entry_of(record))
    shelf.put(entry_of(msgspec.structs.replace(AMBASSADOR, code="Bea"), 2))
    shelf.put(entry_of(msgspec.structs.replace(COUPON, code="BEA10"), 2))
    shelf.put(entry_of(msgspec.structs.replace(GOAL, token_digest=b"digest-2"), 2))
    assert (list(shelf.ambassadors_by_code), list(shelf.coupons)) == (["bea"], ["bea10"])
    assert list(shelf.goals_by_token) == [b"digest-2"]


async def test_goals_without_a_token_are_found_by_none() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    shelf.put(entry_of(msgspec.structs.replace(GOAL, token_digest=b"")))
    assert shelf.goals_by_token == {}


async def test_windows_that_nobody_chose_are_90_days_where_a_campaign_in_use_has_ambassadors() -> None:
    shelf = Shelf(SITE, MemoryStore((SITE,)))
    assert shelf.implied_goal("purchase").click_window_ms == 30 * DAY_MS
    friends = msgspec.structs.replace(CAMPAIGN, ambassadors=True)
    shelf.put(entry_of(friends))
    assert {shelf.implied_goal(code).click_window_ms for code in ("purchase", "of_our_own")} == {90 * DAY_MS}
    shelf.put(entry_of(msgspec.structs.replace(friends, archived=True), 2))
    assert shelf.implied_goal("purchase").click_window_ms == 30 * DAY_MS


async def test_an_implied_goal_is_that_of_its_preset() -> None:
    goal = Shelf(SITE, MemoryStore((SITE,))).implied_goal("newsletter_signup")
    assert (goal.id, goal.code, goal.type, goal.macro) == ("", "newsletter_signup", "signup", False)


# ------------------------------------------------------------------ links


async def test_a_link_is_read_once_and_then_held() -> None:
    store = Counting()
    shelf = Shelf(SITE, store)
    await kept(store, None, link(1))
    for _ in range(3):
        assert await shelf.link("code-1") == link(1)
    assert store.reads == 1
    assert await shelf.link_by_id("lnk_1") == link(1)
    assert shelf.version("link", "lnk_1") == 1


async def test_an_archived_link_is_found_by_its_id_alone() -> None:
    store = Counting()
    shelf = Shelf(SITE, store)
    await kept(store, shelf, link(1))
    gone = link(1, archived=True)
    await kept(store, shelf, gone, 2)
    assert await shelf.link("code-1") is None
    assert await shelf.link_by_id("lnk_1") == gone
    fresh = Shelf(SITE, store)
    assert await fresh.link_by_id("lnk_1") == gone
    assert await fresh.link("code-1") is None


async def test_what_is_not_there_is_none() -> None:
    shelf = Shelf(SITE, Counting())
    assert await shelf.link("nothing") is None
    assert await shelf.link_by_id("lnk_9") is None


async def test_links_asked_for_last_are_held_and_others_read_again() -> None:
    store = Counting()
    shelf = Shelf(SITE, store, links_kept=3)
    for number in range(1, 6):
        await kept(store, None, link(number))
        await shelf.link(f"code-{number}")
    assert [shelf.version("link", f"lnk_{number}") for number in range(1, 6)] == [0, 0, 1, 1, 1]
    await shelf.link("code-3")
    await shelf.link("code-1")
    assert [shelf.version("link", f"lnk_{number}") for number in range(1, 6)] == [1, 0, 1, 0, 1]
    assert store.reads == 6


async def test_a_link_that_was_forgotten_leaves_no_code_behind() -> None:
    store = Counting()
    shelf = Shelf(SITE, store, links_kept=1)
    await kept(store, shelf, link(1))
    await kept(store, shelf, link(2))
    assert await shelf.link("code-1") == link(1)
    assert store.reads == 1


async def test_a_changed_link_holds_at_once() -> None:
    store = Counting()
    shelf = Shelf(SITE, store)
    await kept(store, shelf, link(1))
    await kept(store, shelf, link(1, code="other", target="https://shop.example/new"), 2)
    assert await shelf.link("code-1") is None
    found = await shelf.link("other")
    assert found is not None
    assert found.target == "https://shop.example/new"


@pytest.mark.parametrize("code", ["code-1", "other"])
async def test_a_reading_that_a_change_overtook_is_not_held(code: str) -> None:
    store = Counting()
    shelf = Shelf(SITE, store)
    await kept(store, None, link(1))
    store.gate = asyncio.Event()
    reading = asyncio.create_task(shelf.link("code-1"))
    await asyncio.sleep(0)
    changed = link(1, code=code, target="https://shop.example/new")
    entry = entry_of(changed, 2)
    assert await store.put_entry(entry) == "stored"
    shelf.put(entry)
    for number in range(2, 4):  # and it may have been forgotten again meanwhile
        await kept(store, shelf, link(number))
    store.gate.set()
    await reading
    assert await shelf.link(code) == changed
    assert shelf.version("link", "lnk_1") == 2


async def test_a_reading_that_a_change_overtook_is_not_held_after_the_change_was_forgotten() -> None:
    store = Counting()
    shelf = Shelf(SITE, store, links_kept=1)
    await kept(store, None, link(1))
    store.gate = asyncio.Event()
    reading = asyncio.create_task(shelf.link("code-1"))
    await asyncio.sleep(0)
    await kept(store, shelf, link(1, target="https://shop.example/new"), 2)
    await kept(store, shelf, link(2))
    store.gate.set()
    await reading
    found = await shelf.link("code-1")
    assert found is not None
    assert found.target == "https://shop.example/new"


async def test_a_held_link_is_found_while_the_store_is_broken() -> None:
    store = Counting()
    shelf = Shelf(SITE, store)
    await kept(store, shelf, link(1))
    store.broken = True
    assert await shelf.link("code-1") == link(1)
    with pytest.raises(StoreError):
        await shelf.link("code-2")
