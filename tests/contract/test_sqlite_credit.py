"""Credit in SQLite: the same as in memory, whole or not at all, by indexes, and damage is found."""

import asyncio
import random  # noqa: TID251 - lives with a seed, the same in every run
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import StoreError
from gateway.event import Submission
from gateway.stores.contract import Store
from gateway.stores.contract_credit import (
    Credit,
    CreditDay,
    GoalDay,
    SpendRow,
    TouchDay,
)
from gateway.stores.memory import MemoryStore
from gateway.stores.migrate import migrate
from gateway.stores.named_sql import statements
from gateway.stores.sqlite import SqliteStore, open_sqlite
from gateway.stores.summing import summed
from gateway.stores.sums import CREDIT_COLUMNS, MONTH_DAYS, TOUCH_COLUMNS, months_of
from tests.contract.crediting import (
    EVER,
    TODAY,
    WHOLE,
    adjustment,
    applied,
    click,
    counted,
    decision,
    goal_sum,
    sale,
    share,
)
from tests.contract.test_store_contract import DAY, NOW, one


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = await open_sqlite(tmp_path / "gateway.db", sites=("shop",), now_ms=NOW)
    yield made
    await made.close()


# ------------------------------------------------------------------ all together


async def test_two_stores_that_are_told_the_same_know_the_same(sqlite: SqliteStore) -> None:
    memory = MemoryStore(("shop",))
    for seed in range(6):
        await _random_life(sqlite, seed)
        await _random_life(memory, seed)
    for row in _random_spend(random.Random(5)):
        assert await sqlite.put_spend("shop", (row,), NOW) == await memory.put_spend("shop", (row,), NOW)
    columns: dict[str, tuple[str, ...]] = {
        "touch_days": TouchDay.__struct_fields__[:12], "credit_days": CreditDay.__struct_fields__[:13],
        "goal_days": GoalDay.__struct_fields__[:3], "spend_days": SpendRow.__struct_fields__[:5],
    }  # fmt: skip
    rnd = random.Random(7)
    spans = [
        (TODAY + MONTH + first, TODAY + MONTH + last)
        for first in (-3, -1, 0, 1, MONTH_DAYS)
        for last in (0, MONTH_DAYS - 2, MONTH_DAYS - 1, MONTH_DAYS, 2 * MONTH_DAYS)
        if first <= last
    ]
    for name, by in columns.items():
        some = [tuple(rnd.sample(by, rnd.randrange(1, len(by)))) for _ in range(40)]
        for part in (by, *((column,) for column in by), (), *some):
            for span in ((0, TODAY + 99), (TODAY, TODAY + 1), *spans):
                found = [list(await getattr(store, name)("shop", *span, part)) for store in (sqlite, memory)]
                assert found[0] == found[1], (name, part, span)
                assert found[0] or span in spans, "something was summed"
    for name in ("touch_days", "credit_days", "spend_days"):
        for column in columns[name][1:]:
            for value in {
                getattr(row, column) for row in await getattr(memory, name)("shop", 0, TODAY + 99, (column,))
            }:
                for part in ((), (column,), ("day", columns[name][-1])):
                    asked = ("shop", 0, TODAY + 99, part, {column: value})
                    found = [list(await getattr(store, name)(*asked)) for store in (sqlite, memory)]
                    assert found[0] == found[1], (name, part, column, value)
                    assert found[0], "what has the value was summed"
    ids = [row.conversion_id for row in await memory.conversions_page("shop", after_ms=0, upto_ms=1 << 53)]
    assert await sqlite.attributions([*ids, "unknown"]) == await memory.attributions([*ids, "unknown"])
    assert list(await sqlite.check()) == []
    total = (await sqlite.goal_days("shop", 0, TODAY + 99, ()))[0]
    assert min(total.retracted, total.duplicates, total.first_of_person, total.unattributed) > 0, "all of it happened"


MONTH = -TODAY % MONTH_DAYS
DAYS_AHEAD = (0, 1, MONTH, MONTH + MONTH_DAYS - 1, MONTH + MONTH_DAYS, MONTH + 2 * MONTH_DAYS)
"""Days on which something happens, from today on: in months that a span has whole, at their edges, and behind them."""


async def _random_life(store: Store, seed: int) -> None:
    """Conversions, decisions, adjustments and clicks in a random order, the same for every store."""
    rnd = random.Random(seed)
    known: dict[str, list[int]] = {}
    for step in range(60):
        act, at = rnd.random(), NOW + rnd.choice(DAYS_AHEAD) * DAY
        if act < 0.4:
            amount = rnd.choice([None, 0, 999, 1000])
            recorded = await one(
                store,
                sale(f"A{seed}-{rnd.randrange(20)}", amount=amount, at=at, received=NOW, event_id=f"life-{seed}-{step:04}",
                     test=rnd.random() < 0.1, goal=rnd.choice(["purchase", "lead"]),
                     value_source="none" if amount is None else rnd.choice(["event", "default"])),
            )  # fmt: skip
            if recorded.fate == "counted" and recorded.conversion_id is not None:
                known[recorded.conversion_id] = [0, 0]
        elif act < 0.5:
            touch = click(
                at=at, click_id=f"k-{seed}-{rnd.randrange(9)}", kind=rnd.choice(["click", "qr"]),
                human=rnd.choice(["yes", "no", "suspect"]), campaign_name=rnd.choice(["", "spring"]),
                link_id=rnd.choice(["link1", "link2"]), device=rnd.choice(["mobile", "desktop"]),
            )  # fmt: skip
            await store.record_click("shop", touch)
        elif act < 0.55:
            await store.record_repeat("shop", f"k-{seed}-{rnd.randrange(9)}")
        elif known:
            conversion_id = rnd.choice(sorted(known))
            found = await store.conversion("shop", conversion_id)
            assert found is not None
            if act < 0.8:
                known[conversion_id][0] += 1
                credits = _random_credits(rnd, found.amount_minor)
                first = rnd.random() < 0.5
                row = decision(
                    conversion_id, *credits, version=known[conversion_id][0], first_of_person=first, seconds=step
                )
                assert await store.put_credit("shop", row)
            else:
                known[conversion_id][1] += 1
                changed = adjustment(
                    f"adj-{seed}-{step}", conversion_id, kind=rnd.choice(["restate", "retract"]), at_ms=NOW + step
                )
                after = applied(0, fate="retracted") if changed.kind == "retract" else applied(rnd.randrange(1000))
                after = msgspec.structs.replace(after, known=known[conversion_id][1])
                assert await store.put_adjustment("shop", changed, after) == "recorded"


def _random_spend(rnd: random.Random) -> list[SpendRow]:
    return [
        SpendRow(
            day=TODAY + rnd.choice(DAYS_AHEAD), campaign_id=rnd.choice(["", "camp1"]), channel=rnd.choice(["", "ads"]),
            source=rnd.choice(["", "g"]), currency=rnd.choice(["EUR", "USD"]), amount_minor=rnd.randrange(10**15),
            clicks=rnd.choice([None, 0, 7]), impressions=rnd.choice([None, 9]),
        )
        for _ in range(40)
    ]  # fmt: skip


def _random_credits(rnd: random.Random, amount: int | None) -> list[Credit]:
    parts = rnd.randrange(4)
    if not parts:
        return []
    shares = [rnd.randrange(WHOLE // parts) for _ in range(parts - 1)]
    shares.append(WHOLE - sum(shares))
    amounts: list[int | None] = [None] * parts
    if amount is not None:
        amounts = [*([0] * (parts - 1)), amount]
    return [
        share(
            e9,
            amounts[place],
            position=place,
            channel=rnd.choice(["social", "email", "ads"]),
            campaign_id=rnd.choice(["", "camp1"]),
            campaign_name=rnd.choice(["", "spring"]),
            link_id=rnd.choice(["", "link1"]),
            device=rnd.choice(["mobile", "desktop"]),
            landing=rnd.choice(["", "/a", "/b"]),
        )
        for place, e9 in enumerate(shares)
    ]


async def test_damage_is_found_in_sums_and_credit(sqlite: SqliteStore) -> None:
    sold = await counted(sqlite, "A1")
    await sqlite.put_credit("shop", decision(sold, share(WHOLE, 1000)))
    await sqlite.record_click("shop", click())
    assert list(await sqlite.check()) == []
    for harm, repair, word in (
        ("update goal_day set duplicates = 1", "update goal_day set duplicates = 0", "goal_day of shop"),
        ("update goal_day set seconds = 61", "update goal_day set seconds = 60", "goal_day of shop"),
        ("update credit_day set share_e9 = 1", "update credit_day set share_e9 = 1000000000", "credit_day of shop"),
        (
            "update credit_month set net_rest = net_rest + 1",
            "update credit_month set net_rest = net_rest - 1",
            "credit_month of shop",
        ),
        ("update touch_month set repeats = 1", "update touch_month set repeats = 0", "touch_month of shop"),
        ("update conversion set credit_version = 2", "update conversion set credit_version = 1", "is missing"),
        ("update credit set amount_minor = 1", "update credit set amount_minor = 1000", "the amounts credited"),
        ("update credit set share_e9 = 1", "update credit set share_e9 = 1000000000", "the shares credited"),
        ("update credit set net_minor = null", "update credit set net_minor = 1000", "the net amounts credited"),
    ):
        await _write(sqlite, harm)
        faults = list(await sqlite.check())
        assert any(word in fault for fault in faults), (harm, faults)
        await _write(sqlite, repair)
        assert list(await sqlite.check()) == []


async def _write(store: SqliteStore, sql: str) -> None:
    await store._writer.add_work(lambda db: db.execute(sql).rowcount, 1)


async def test_what_fails_in_the_middle_leaves_nothing(sqlite: SqliteStore) -> None:
    sold = await counted(sqlite, "A1")
    good, bad = share(500_000_000, 500), share(500_000_000, 500, position=1, channel="\ud800")
    with pytest.raises(StoreError):
        await sqlite.put_credit("shop", decision(sold, good, bad))
    assert await sqlite.attribution(sold) is None
    with pytest.raises(StoreError):
        await sqlite.record_click("shop", click(click_id="c1", human="maybe"))
    with pytest.raises(StoreError):
        await sqlite.put_spend("shop", (_spent("ads"), _spent("\ud800")), NOW)
    assert await sqlite.spend("shop", 0, TODAY) == []
    poisoned = sale("A2").items[0]
    touch = click(click_id=None, campaign_name="\ud800")
    with pytest.raises(StoreError):
        await sqlite.submit(Submission((msgspec.structs.replace(poisoned, touch=touch),)))
    assert (await goal_sum(sqlite)).conversions == 1
    assert list(await sqlite.check()) == []


def _spent(channel: str) -> SpendRow:
    return SpendRow(day=TODAY, campaign_id="c", channel=channel, source="g", currency="EUR", amount_minor=100)


MONTHS = [
    ((0, 29), (0, 0)),
    ((0, 59), (0, 30)),
    ((1, 59), (30, 30)),
    ((1, 58), (30, 0)),
    ((29, 61), (30, 30)),
    ((30, 30), (30, 0)),
    ((31, 31), (60, 0)),
    ((20_001, 20_400), (20_010, 20_370)),
]


@pytest.mark.parametrize(("span", "months"), MONTHS)
def test_months_that_lie_whole_in_a_range_are_found(span: tuple[int, int], months: tuple[int, int]) -> None:
    assert months_of(*span) == months


# ------------------------------------------------------------------ indexes

BY_INDEX = {
    "catalogue.sql": {
        "entry_version": "PRIMARY KEY (site_no=? AND kind=? AND id=?)",
        "entry_update": "PRIMARY KEY (site_no=? AND kind=? AND id=?)",
        "entry_get": "PRIMARY KEY (site_no=? AND kind=? AND id=?)",
        "entry_get_version": "PRIMARY KEY (site_no=? AND kind=? AND id=? AND version=?)",
        "entry_by_code": "catalogue_code (site_no=? AND kind=? AND folded=?)",
        "entries": "PRIMARY KEY (site_no=? AND kind=? AND id>?)",
        "entries_of": "catalogue_parent (site_no=? AND kind=? AND parent=? AND id>?)",
        "timer_stop": "timer_once (site_no=? AND subject_key=? AND kind=?)",
        "timer_claim": "timer_due (due_at_ms<?)",
        "timer_erase": "timer_once (site_no=? AND subject_key=?)",
    },
    "credit.sql": {
        "touch_of_click": "touch_click (site_no=? AND click_id=?)",
        "touch_repeat": "touch_click (site_no=? AND click_id=?)",
        "contacts_of_visitor": "touch_visitor (site_no=? AND visitor_key=? AND occurred_at_ms>? AND occurred_at_ms<?)",
        "contacts_by_click": "touch_click (site_no=? AND click_id=?)",
        "devices_of": "PRIMARY KEY (site_no=? AND person_key=?)",
        "persons_of": "identity_link_visitor (site_no=? AND visitor_key=?)",
        "uncredited": "conversion_credit_due (credit_due_ms<?)",
        "conversion_get": "PRIMARY KEY (conversion_id=?)",
        "conversions_of_order": "conversion_order (site_no=? AND order_id=?)",
        "order_known": "conversion_order (site_no=? AND order_id=?)",
        "previous_of_visitor": "conversion_visitor (site_no=? AND visitor_key=? AND goal=?",
        "previous_of_person": "conversion_person (site_no=? AND person_key=? AND goal=?",
        "standing_get": "PRIMARY KEY (conversion_id=?)",
        "credits_of": "PRIMARY KEY (conversion_id=? AND version=?)",
        "attributions": "PRIMARY KEY (conversion_id=? AND version=?)",
        "credits_of_many": "PRIMARY KEY (conversion_id=? AND version=?)",
        "attribution_newest": "PRIMARY KEY (conversion_id=?)",
        "adjustment_known": "adjustment_once (site_no=? AND adjustment_id=?)",
        "adjustment_count": "adjustment_conversion (conversion_id=?)",
        "adjustments_waiting": "adjustment_waiting (site_no=? AND order_id=?)",
        "adjustment_waits": "adjustment_once (site_no=? AND adjustment_id=?)",
        "expire_clicks": "touch_at (occurred_at_ms<?)",
        "old_identities": "identity_link_at (at_ms<?)",
        "own_identities": "identity_link_visitor (site_no=? AND visitor_key=?)",
        "erase_conversion": "conversion_event (event_seq=?)",
    },
    "record.sql": {
        "conversion_first": "conversion_once (site_no=? AND goal=? AND claim_key=?)",
        "event_conversion": "event_once (site_no=? AND event_id=?)",
    },
    "report.sql": {
        "touch_days": "PRIMARY KEY (site_no=? AND day>? AND day<?)",
        "credit_days": "PRIMARY KEY (site_no=? AND day>? AND day<?)",
        "goal_days": "PRIMARY KEY (site_no=? AND day>? AND day<?)",
        "spend": "PRIMARY KEY (site_no=? AND day>? AND day<?)",
        "spend_days": "PRIMARY KEY (site_no=? AND day>? AND day<?)",
        "delivery_fates": "delivery_once (event_seq=?)",
        "paths": "conversion_at (site_no=? AND occurred_at_ms>? AND occurred_at_ms<?)",
        "funnel": "conversion_at (site_no=? AND occurred_at_ms>? AND occurred_at_ms<?)",
        "conversions_page": "conversion_at (site_no=? AND occurred_at_ms>? AND occurred_at_ms<?)",
    },
}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in BY_INDEX.items() for name in names])
def test_what_requests_and_workers_ask_is_found_by_an_index(file: str, name: str) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, NOW)
    sql = statements(file)[name]
    named = set(re.findall(r":(\w+)", sql.partition("*/")[2]))
    values: Any = dict.fromkeys(named) if named else [None] * sql.count("?")
    plan = [row[3] for row in db.execute(f"explain query plan {sql}", values)]
    assert any(BY_INDEX[file][name] in step for step in plan), plan
    # A list that came with the question, and what was found by an index, are read whole; a table never is.
    scans = [step for step in plan if step.startswith("SCAN")]
    assert not [step for step in scans if "VIRTUAL TABLE" not in step and "(subquery" not in step], plan
    db.close()


@pytest.mark.parametrize(("days", "parts"), [((100, 130), 1), ((100, 199), 3)])
@pytest.mark.parametrize(
    ("statement", "by"),
    [
        ("touch_days", ()),
        ("touch_days", ("kind", "human", "campaign_id")),
        ("touch_days", ("kind", "human", "device")),
        ("credit_days", ("goal", "currency", "channel")),
        ("credit_days", ("landing",)),
    ],
)
def test_sums_read_the_days_of_a_range_and_its_months_and_sort_once(
    statement: str, by: tuple[str, ...], days: tuple[int, int], parts: int
) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, NOW)
    columns = TOUCH_COLUMNS if statement == "touch_days" else CREDIT_COLUMNS
    sql, names = summed(statement, columns, days, by, {"link_id": "l1"})
    plan = [row[3] for row in db.execute(f"explain query plan {sql}", {"site_no": 1, **names})]
    found = [step for step in plan if "PRIMARY KEY (site_no=? AND day>? AND day<?)" in step]
    assert len(found) == parts, plan
    assert len([step for step in found if "_month" in step]) == parts // 3
    assert not [step for step in plan if step.startswith("SCAN") and "(subquery" not in step], plan
    assert len([step for step in plan if "TEMP B-TREE" in step]) <= 1, plan
    db.close()


@pytest.mark.slow
async def test_a_funnel_of_many_conversions_is_answered_at_once(sqlite: SqliteStore) -> None:
    await counted(sqlite, "A1")
    await _write(sqlite, MANY)
    begun_s = asyncio.get_running_loop().time()
    found = await sqlite.funnel("shop", ("view", "cart", "buy"), *EVER)
    took_s = asyncio.get_running_loop().time() - begun_s
    assert [count for count, _ in found] == [33_334, 33_333, 33_333]
    assert found[0][1] == 25_000
    assert took_s < 3.0, "ten times of what it takes"


MANY = """
with recursive number (n) as (select 0 union all select n + 1 from number where n < 99999)
insert into conversion (conversion_id, site_no, event_seq, goal, claim_key, test, fate, reason, occurred_at_ms, visitor_key)
select 'c' || n, 1, 1, case n % 3 when 0 then 'view' when 1 then 'cart' else 'buy' end, 'e:' || n, 0, 'counted', '', n,
    cast(n % 25000 as blob)
from number
"""
