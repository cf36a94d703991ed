"""Withdrawals and erasures from end to end: what is deleted, what stays, who is told, and that each outcome is recorded.

Real vendors' stand-ins take the deliveries, so "told" means that a signed message really arrived.
"""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreFull
from gateway.flows import forget
from gateway.flows.explain import explain, text_of
from gateway.sandbox.config import SandboxConfig, default_config
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST
from gateway.sandbox.faults import Fault
from tests.faults.inside import Inside, impatient, inside, until
from tests.support.visitor import Visitor

ORIGIN = f"http://{SHOP_HOST}"
ALL = dict.fromkeys(("functional", "analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")
NONE = dict.fromkeys(ALL, "denied")
PERSON = {"email": "jane.doe@example.com", "first_name": "Jane"}


@pytest.fixture(scope="module")
def config() -> SandboxConfig:
    return default_config()


@pytest.fixture
async def shop(tmp_path: Path, config: SandboxConfig) -> AsyncIterator[Inside]:
    async with inside(tmp_path / "data", config) as running:
        yield running


def visitor_of(shop: Inside, **headers: str) -> Visitor:
    return Visitor(shop.gateway.port, GATEWAY_HOST, **headers)


async def buy(visitor: Visitor, number: int = 1, **fields: Any) -> str:
    """Come by an advertisement and buy something. Answers the event's id."""
    event_id = f"purchase-{number:04}"
    await visitor.hit(
        ORIGIN,
        "purchase",
        id=event_id,
        order_id=f"ORD-{number}",
        value="89.90",
        currency="EUR",
        url=f"{ORIGIN}/thanks?gclid=Cj0KCQtest_123-x&utm_source=google",
        title="Thank you",
        person=PERSON,
        props={"note": "gift"},
        **fields,
    )
    return event_id


async def fates(shop: Inside) -> dict[tuple[str, str], int]:
    tally = await shop.house.store.tally()
    return {(name, fate): count for (_, name, fate), count in tally.deliveries.items()}


async def settled(shop: Inside, **wanted: dict[str, int]) -> None:
    """Wait until every destination has exactly these fates."""
    for destination, counts in wanted.items():
        await shop.settled_at(destination, **counts)


def told(shop: Inside) -> list[dict[str, Any]]:
    """Messages about withdrawals that the webhook's receiver took."""
    taken = [one.event for one in shop.ledger("crm").accepted_events()]
    return [message for message in taken if message["type"] in {"consent.withdrawn", "person.erased"}]


async def record_of(shop: Inside, record_id: str) -> dict[str, Any]:
    """What `gateway explain` says of a consent record."""
    found: dict[str, Any] = await explain(shop.house, record_id, None)
    return found


async def erase(visitor: Visitor) -> str | None:
    page = await visitor.open()
    return (await visitor.submit(page.form("erase"), action="erase", sure="yes")).message


def columns(shop: Inside, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{shop.database}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


# ------------------------------------------------------------------ withdrawal


async def test_a_withdrawal_is_told_to_who_can_be_told_and_recorded_for_who_cannot(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    event_id = await buy(visitor)
    await settled(shop, meta={"accepted": 1}, ga4={"accepted": 1}, google_ads={"accepted": 1}, crm={"accepted": 1})
    page = await visitor.open()
    await visitor.submit(page.form("withdraw"), action="withdraw")
    await settled(
        shop,
        crm={"accepted": 2},
        **{name: {"accepted": 1, "unfit": 1} for name in ("meta", "ga4", "google_ads")},
    )
    (message,) = told(shop)
    assert message["type"] == "consent.withdrawn"
    assert message["data"]["event_ids"] == [event_id]
    assert message["data"]["withdrawn"] == list(ALL)
    assert set(message["data"]["consent"].values()) == {"granted", "denied"}
    assert message["data"]["consent"]["advertising"] == "denied"
    assert "example.com" not in json.dumps(message)
    assert shop.ledger("crm").complaints() == []

    record = await record_of(shop, message["data"]["record_id"])
    outcomes = {row["destination"]: (row["fate"], row["reason"]) for row in record["told"]}
    assert outcomes == {
        "crm": ("accepted", "vendor_accepted"),
        "meta": ("unfit", "no_call"),
        "ga4": ("unfit", "no_call"),
        "google_ads": ("unfit", "no_call"),
    }
    text = text_of(record)
    assert "withdrawn  on site shop" in text
    assert "The vendor documents no call by which it could be told" in text
    event = text_of(await explain(shop.house, event_id, None))
    assert "of what this event rested on, something was taken back later" in event
    assert set(visitor.cookies) == {"__Host-gwconsent", "__Host-gwform"}, "its own cookies are gone"


async def test_a_withdrawal_by_a_backend_goes_the_same_way(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await buy(visitor)
    await settled(shop, crm={"accepted": 1})
    body = {"choice": {"analytics": "denied"}, "visitor": visitor.cookies["__Host-gwid"]}
    assert (await shop.api("/consent", body)).status == 200
    await settled(shop, crm={"accepted": 2}, ga4={"accepted": 1, "unfit": 1}, meta={"accepted": 1})
    assert [message["data"]["withdrawn"] for message in told(shop)] == [["analytics"]]


async def test_a_receiver_is_told_of_a_purpose_that_only_a_part_of_what_it_got_rests_on(shop: Inside) -> None:
    """The webhook needs analytics, and got the hashed address under ad_user_data."""
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await buy(visitor)
    await settled(shop, crm={"accepted": 1}, ga4={"accepted": 1}, meta={"accepted": 1})
    await visitor.choose(ORIGIN, ad_user_data="denied")
    await settled(shop, crm={"accepted": 2})
    assert [message["data"]["withdrawn"] for message in told(shop)] == [["ad_user_data"]]


async def test_a_withdrawal_of_something_else_tells_nobody(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await buy(visitor)
    await settled(shop, crm={"accepted": 1}, meta={"accepted": 1})
    await visitor.choose(ORIGIN, functional="denied")
    assert told(shop) == []
    assert not [key for key in await fates(shop) if key[1] == "unfit"]


async def test_the_message_of_a_receiver_that_is_down_is_tried_again_with_the_same_id(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path / "data", config, only=("crm",)) as shop:
        visitor = visitor_of(shop)
        await visitor.choose(ORIGIN, **ALL)
        await buy(visitor)
        await shop.settled(accepted=1)
        shop.vendor("crm").faults.always(Fault.status(503))
        await visitor.choose(ORIGIN, **NONE)
        await until(lambda: len(shop.ledger("crm").requests()) >= 3)
        shop.vendor("crm").faults.clear()
        shop.pass_time(s=60)
        await shop.settled(accepted=2)
        ids = {request.headers["webhook-id"] for request in shop.ledger("crm").requests()[1:]}
        assert len(ids) == 1
        assert shop.ledger("crm").double_effects() == {}
        record = await record_of(shop, told(shop)[0]["data"]["record_id"])
        (row,) = record["told"]
        assert [attempt["verdict"] for attempt in row["attempts"]][:1] == ["retry"], "evidence of every attempt"


async def test_a_destination_that_is_gone_from_the_settings_is_named_as_such(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path / "data", config, only=("crm", "ga4")) as shop:
        visitor = visitor_of(shop)
        await visitor.choose(ORIGIN, **ALL)
        await buy(visitor)
        await settled(shop, crm={"accepted": 1}, ga4={"accepted": 1})
    async with inside(tmp_path / "data", config, only=("ga4",)) as shop:
        visitor.port = shop.gateway.port
        await visitor.choose(ORIGIN, **NONE)
        found = columns(shop, "select destination, fate, reason from delivery where record_id is not null order by 1")
        assert found == [("crm", "unfit", "destination_removed"), ("ga4", "unfit", "no_call")]


async def test_a_fault_in_making_the_message_never_loses_the_withdrawal(
    shop: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await buy(visitor)
    await settled(shop, crm={"accepted": 1})

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.flows.pass_on.render_withdrawal", broken)
    await visitor.choose(ORIGIN, **NONE)
    assert columns(shop, "select count(*) from consent_entry") == [(2,)]
    found = columns(shop, "select distinct fate, reason from delivery where record_id is not null")
    assert found == [("unfit", "render_failed")]
    assert '"render_failed"' in shop.log.getvalue()


async def test_a_refusal_reaches_hits_that_are_judged_while_it_is_made_durable(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    key = shop.house.by_id["shop"].visitor_key(visitor.cookies["__Host-gwid"].split(".")[1])
    store = shop.house.store
    seen: list[int] = []
    choose = store.choose

    async def watched(change: Any) -> str:
        seen.append(shop.house.recent_refusals.get(key, 0))
        return await choose(change)

    store.choose = watched  # type: ignore[method-assign] # looked at from outside, for this one test
    await visitor.choose(ORIGIN, advertising="denied")
    assert set(seen) == {8}, "however often a choice that was overtaken is tried again"


# ------------------------------------------------------------------ erasure


async def test_an_erasure_takes_the_person_out_of_every_table(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    event_id = await buy(visitor)
    await visitor.hit(ORIGIN, id="view-0001", url=f"{ORIGIN}/shoes", title="Shoes")
    other = visitor_of(shop)
    await other.choose(ORIGIN, **ALL)
    await buy(other, 2)
    await settled(shop, crm={"accepted": 2}, meta={"accepted": 2}, ga4={"accepted": 2}, google_ads={"accepted": 2})
    key = shop.house.by_id["shop"].visitor_key(visitor.cookies["__Host-gwid"].split(".")[1])

    assert await erase(visitor) == "What was stored under the number of this browser is erased."

    everything = [
        value
        for (table,) in columns(shop, "select name from sqlite_schema where type = 'table'")
        for row in columns(shop, f"select * from {table}")
        for value in row
    ]
    assert key not in everything, "the visitor's key stands in no column of no table"
    facts = dict(columns(shop, "select event_id, facts from event"))
    for mine in (event_id, "view-0001"):
        assert set(json.loads(facts[mine])) <= {"amount_minor", "currency", "goal", "marks", "judgement"}
        assert json.loads(facts[mine])["marks"] == ["erased"]
        assert b"thanks" not in facts[mine]
    assert b"thanks" in facts["purchase-0002"], "somebody else's event stays whole"
    assert columns(shop, "select order_id, amount_minor, currency, fate from conversion order by 1") == [
        ("ORD-1", 8990, "EUR", "counted"),
        ("ORD-2", 8990, "EUR", "counted"),
    ]
    assert len(columns(shop, "select * from touch")) == 1
    assert len(columns(shop, "select * from consent_state")) == 1
    assert list(await shop.house.store.check()) == []
    text = text_of(await explain(shop.house, event_id, None))
    assert "nobody any more: the person was erased" in text


async def test_the_log_keeps_its_entries_says_erased_and_opens_nothing_of_the_person(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await visitor.choose(ORIGIN, advertising="denied")
    await erase(visitor)
    entries = [json.loads(entry) for (entry,) in columns(shop, "select entry from consent_entry order by entry_no")]
    assert [entry["event_type"] for entry in entries] == ["given", "withdrawn", "erased"]
    assert len({entry["subject_tag"] for entry in entries}) == 1, "the log shows where this history ends"
    assert entries[2]["previous_record_id"] == entries[1]["record_id"]
    assert (entries[2]["method"], entries[2]["granted"], entries[2]["denied"]) == ("privacy_page", [], list(ALL))
    records = columns(shop, "select record_id, subject_key from consent_record")
    assert records == [(entries[2]["record_id"], None)], "only that there was an erasure, and when"
    await visitor.choose(ORIGIN, **ALL)
    (last,) = columns(shop, "select entry from consent_entry order by entry_no desc limit 1")[0]
    assert json.loads(last)["subject_tag"] != entries[0]["subject_tag"], "who comes back is somebody new"


async def test_an_erasure_is_told_and_each_outcome_recorded(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    event_id = await buy(visitor)
    await settled(shop, crm={"accepted": 1}, meta={"accepted": 1}, ga4={"accepted": 1}, google_ads={"accepted": 1})
    await erase(visitor)
    await settled(shop, crm={"accepted": 2}, meta={"accepted": 1, "unfit": 1})
    (message,) = told(shop)
    assert (message["type"], message["data"]["event_ids"]) == ("person.erased", [event_id])
    record = await record_of(shop, message["data"]["record_id"])
    assert record["kind"] == "erased"
    assert {row["destination"]: row["reason"] for row in record["told"]} == {
        "crm": "vendor_accepted", "meta": "no_call", "ga4": "no_call", "google_ads": "no_call",
    }  # fmt: skip
    assert columns(shop, "select count(*) from delivery where payload is not null") == [(0,)]


async def test_what_waits_is_cancelled_and_what_was_dead_cannot_come_back(shop: Inside) -> None:
    for name in ("meta", "ga4"):
        shop.vendor(name).faults.always(Fault.status(503))
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    await buy(visitor)
    await until(lambda: bool(shop.ledger("meta").requests()) and bool(shop.ledger("ga4").requests()))
    await shop.write("update delivery set fate = 'dead', settled_at_ms = 1 where destination = 'ga4'")
    await erase(visitor)
    for name in ("meta", "ga4"):
        shop.vendor(name).faults.clear()
    shop.pass_time(s=3_600)
    fate = "select fate, reason from delivery where event_seq is not null and destination = "
    await until(lambda: columns(shop, f"{fate} 'meta'") == [("cancelled", "subject_erased")])
    assert columns(shop, f"{fate} 'ga4'")[0][0] == "dead"
    assert await shop.house.store.replay(now_ms=0, site=None, destination=None, delivery_id=None, limit=9) == 0
    assert shop.ledger("meta").accepted_events() == []


async def test_what_is_being_sent_at_that_moment_is_not_sent_again(tmp_path: Path, config: SandboxConfig) -> None:
    with impatient(1.0):
        async with inside(tmp_path / "data", config, only=("crm",)) as shop:
            shop.vendor("crm").faults.next(Fault.black_hole())
            visitor = visitor_of(shop)
            await visitor.choose(ORIGIN, **ALL)
            await buy(visitor)
            await until(lambda: bool(shop.ledger("crm").requests()))
            assert columns(shop, "select count(*) from delivery where leased_until_ms is not null") == [(1,)]
            await erase(visitor)
            await shop.settled(accepted=1, cancelled=1)
            found = columns(shop, "select fate, reason from delivery where event_seq is not null")
            assert found == [("cancelled", "subject_erased")]
            sent = [one.event["type"] for one in shop.ledger("crm").accepted_events()]
            assert sent == ["person.erased"], "the purchase may have arrived, so its receiver is told"


async def test_hits_of_other_tabs_find_a_refusal_and_leave_no_new_trace(shop: Inside) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    tab = visitor_of(shop)
    tab.cookies = dict(visitor.cookies)
    await erase(visitor)
    await tab.hit(ORIGIN, id="late-0001", consent=ALL)
    assert columns(shop, "select visitor_key from event where event_id = 'late-0001'") == [(None,)]


async def test_a_full_disk_gives_up_its_reserve_for_an_erasure(shop: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visitor_of(shop)
    await visitor.choose(ORIGIN, **ALL)
    store: Any = shop.house.store
    add_work = store._writer.add_work
    asked: list[Any] = []

    def full(work: Any, size: int, **how: Any) -> Any:
        if not asked and how.get("patient"):
            asked.append(work)
            raise StoreFull("SQLITE_FULL")
        return add_work(work, size, **how)

    monkeypatch.setattr(store._writer, "add_work", full)
    assert (shop.directory / "reserve").exists()
    key = shop.house.by_id["shop"].visitor_key(visitor.cookies["__Host-gwid"].split(".")[1])
    _, erased = await forget.forget(shop.house, shop.house.by_id["shop"], key, method="privacy_page")
    assert erased.records == 1
    assert not (shop.directory / "reserve").exists()


def test_what_facts_may_gain_one_day_is_not_kept_of_an_erased_person() -> None:
    judgement = {"regime": "opt_in", "granted": 1, "rulings": [], "rules": "2026-11"}
    facts = {"order_id": "ORD-1", "amount_minor": 5, "currency": "EUR", "added_later": "Jane", "judgement": judgement}
    left = json.loads(forget.reduced(json.dumps(facts).encode()))
    assert left == {"amount_minor": 5, "currency": "EUR", "marks": ["erased"], "judgement": judgement}


def test_what_was_judged_for_one_destination_is_kept_of_an_erased_person() -> None:
    """Else the explanation would take what that destination was permitted for a restricted mode."""
    own = {"regime": "opt_in", "granted": 1, "rulings": [], "rules": "2026-11"}
    facts = {"judgement": own, "judgements": {"iab": {**own, "granted": 9}}}
    assert json.loads(forget.reduced(json.dumps(facts).encode())) == {**facts, "marks": ["erased"]}
