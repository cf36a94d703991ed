"""Adjustments over HTTP: refunds, restatements and retractions, in any order and at the same moment, and who is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.flows.adjust import settle_waiting
from gateway.flows.assemble import place_of
from tests.support.goals import Owner
from tests.support.nowhere import NOWHERE
from tests.support.running import NOW_MS, Running, Said, refused_with, running

CONVERSIONS: Final = "/api/v1/conversions"
ROUTE: Final = "/api/v1/conversions/*"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def owner(shop: Running) -> Owner:
    return await Owner.of(shop)


async def buy(owner: Owner, order_id: str | None = "1001", **fields: Any) -> str:
    """Report a purchase of 100 euros. Answers the conversion's id."""
    body = {"name": "purchase", "value": "100.00", **fields}
    if order_id is not None:
        body["order_id"] = order_id
    said = await owner.shop.api(CONVERSIONS, body, owner.key)
    assert (said.status, said.json()["fate"]) == (200, "counted"), said
    return str(said.json()["conversion_id"])


async def adjust(owner: Owner, name: str, adjustment_id: str | None = "refund-01", **fields: Any) -> Said:
    body = {"kind": "refund", **fields}
    if adjustment_id is not None:
        body["adjustment_id"] = adjustment_id
    return await owner.shop.api(f"{CONVERSIONS}/{name}/adjustments", body, owner.key)


def state(said: Said) -> dict[str, Any]:
    """What the answer says of its one conversion."""
    assert said.status == 200, said
    (one,) = said.json()["conversions"]
    found: dict[str, Any] = one
    return found


# ------------------------------------------------------------------ what it is worth


async def test_a_refund_lowers_what_a_conversion_is_worth(owner: Owner) -> None:
    conversion_id = await buy(owner)
    said = await adjust(owner, conversion_id, value="30.00", reason="returned")
    assert said.json() == {
        "adjustment_id": "refund-01",
        "status": "recorded",
        "conversions": [
            {
                "conversion_id": conversion_id, "goal": "purchase", "status": "recorded", "fate": "counted",
                "currency": "EUR", "value": "100.00", "refunded": "30.00", "excess": "0.00", "net": "70.00",
                "effect": "applied", "effects": {"refund-01": "applied"},
            }
        ],
    }  # fmt: skip
    (one,) = owner.conversions()
    assert (one["amount_minor"], one["net_minor"], one["fate"], one["reason"]) == (10_000, 7_000, "counted", "adjusted")


async def test_refunds_add_up_and_never_go_below_nothing(owner: Owner) -> None:
    await buy(owner)
    seen = []
    for number, value in enumerate(("60", "60", "5")):
        one = state(await adjust(owner, "order:1001", f"refund-0{number}", value=value))
        seen.append((one["refunded"], one["excess"], one["net"], one["effect"]))
    assert seen == [
        ("60.00", "0.00", "40.00", "applied"),
        ("100.00", "20.00", "0.00", "applied_in_part"),
        ("100.00", "25.00", "0.00", "nothing_left"),
    ]
    assert owner.conversions()[0]["net_minor"] == 0


async def test_a_retraction_takes_it_out_and_a_newer_restatement_brings_it_back(owner: Owner) -> None:
    await buy(owner)
    one = state(await adjust(owner, "order:1001", "retract-1", kind="retract", reason="fraud"))
    assert (one["fate"], one["net"]) == ("retracted", "0.00")
    assert [(row["fate"], row["reason"], row["net_minor"]) for row in owner.conversions()] == [
        ("retracted", "taken_back", 0)
    ]
    owner.shop.move(seconds=60)
    one = state(await adjust(owner, "order:1001", "restate-1", kind="restate", value="80", reason="mistake"))
    assert (one["fate"], one["net"], one["effects"]) == (
        "counted", "80.00", {"retract-1": "superseded", "restate-1": "applied"},
    )  # fmt: skip
    assert [(row["fate"], row["net_minor"]) for row in owner.conversions()] == [("counted", 8_000)]


async def test_a_late_restatement_that_is_older_loses(owner: Owner) -> None:
    await buy(owner, occurred_at_ms=NOW_MS - 10_000_000)
    state(await adjust(owner, "order:1001", "newer-001", kind="restate", value="80", occurred_at_ms=NOW_MS - 1_000))
    late = state(
        await adjust(owner, "order:1001", "older-001", kind="restate", value="50", occurred_at_ms=NOW_MS - 9_000)
    )
    assert (late["net"], late["effect"]) == ("80.00", "superseded")
    assert owner.conversions()[0]["net_minor"] == 8_000


async def test_x09_a_restatement_to_zero_is_zero(owner: Owner) -> None:
    await buy(owner)
    one = state(await adjust(owner, "order:1001", kind="restate", value=0))
    assert (one["fate"], one["net"]) == ("counted", "0.00")


# ------------------------------------------------------------------ repeats and conflicts


async def test_an_adjustment_is_taken_once(owner: Owner) -> None:
    await buy(owner)
    first = await adjust(owner, "order:1001", value="30")
    again = await adjust(owner, "order:1001", value="30")
    assert (first.json()["status"], again.json()["status"]) == ("recorded", "repeated")
    assert state(again)["net"] == "70.00"
    assert owner.shop.count("adjustment") == 1
    with owner.shop.refusing(ROUTE, "adjustment_conflict"):
        refused_with(await adjust(owner, "order:1001", value="31"), 409, "adjustment_conflict", "adjustment_id")


async def test_an_id_is_of_one_order(owner: Owner) -> None:
    await buy(owner)
    second = await buy(owner, "1002")
    await adjust(owner, "order:1001", value="30")
    for name in ("order:1002", second, "order:1003"):
        with owner.shop.refusing(ROUTE, "adjustment_conflict"):
            refused_with(await adjust(owner, name, value="30"), 409, "adjustment_conflict", "adjustment_id")


async def test_the_id_may_come_as_idempotency_key(owner: Owner) -> None:
    await buy(owner)
    path, body = f"{CONVERSIONS}/order:1001/adjustments", {"kind": "refund", "value": "1"}
    for status in ("recorded", "repeated"):
        said = await owner.shop.api(path, body, owner.key, headers={"Idempotency-Key": "refund-99"})
        assert (said.json()["adjustment_id"], said.json()["status"]) == ("refund-99", status)
    with owner.shop.refusing(ROUTE, "field_missing"):
        refused_with(await owner.shop.api(path, body, owner.key), 400, "field_missing", "adjustment_id")


async def test_adjustments_at_the_same_moment_all_count(owner: Owner) -> None:
    await buy(owner)
    said = await asyncio.gather(*(adjust(owner, "order:1001", f"refund-{n:02}", value="7") for n in range(10)))
    assert {one.json()["status"] for one in said} == {"recorded"}
    assert owner.conversions()[0]["net_minor"] == 3_000
    said = await asyncio.gather(*(adjust(owner, "order:1001", "refund-xx", value="1") for _ in range(6)))
    assert sorted(one.json()["status"] for one in said) == ["recorded"] + ["repeated"] * 5
    assert owner.conversions()[0]["net_minor"] == 2_900


# ------------------------------------------------------------------ before the conversion


async def test_an_adjustment_waits_for_its_order(owner: Owner) -> None:
    early = await adjust(owner, "order:1001", value="30")
    assert early.json()["status"] == "recorded"
    one = state(early)
    assert (one["conversion_id"], one["fate"], one["effect"], one["net"]) == (None, "orphan", "waiting", None)
    assert (await adjust(owner, "order:1001", value="30")).json()["status"] == "repeated"
    conversion_id = await buy(owner)
    house = owner.shop.gateway.house
    counted = await house.store.conversion("shop", conversion_id)
    assert counted is not None
    await settle_waiting(house, house.by_id["shop"], counted)  # a worker may have been faster
    assert owner.conversions()[0]["net_minor"] == 7_000
    assert owner.shop.rows("select conversion_id from adjustment") == [(conversion_id,)]
    again = await adjust(owner, "order:1001", value="30")
    assert (again.json()["status"], state(again)["net"]) == ("repeated", "70.00")


async def test_one_that_waits_is_found_by_the_next_that_comes(owner: Owner) -> None:
    await adjust(owner, "order:1001", value="30")
    await buy(owner)
    one = state(await adjust(owner, "order:1001", "refund-02", value="5"))
    house = owner.shop.gateway.house
    counted = (await house.store.conversions_of_order("shop", "1001"))[0]
    await settle_waiting(house, house.by_id["shop"], counted)
    assert one["effect"] == "applied"
    assert owner.conversions()[0]["net_minor"] == 6_500


async def test_a_waiting_one_of_a_goal_is_left_to_that_goal(owner: Owner) -> None:
    await adjust(owner, "order:1001", value="30", goal="other_goal")
    conversion_id = await buy(owner)
    house = owner.shop.gateway.house
    counted = await house.store.conversion("shop", conversion_id)
    assert counted is not None
    assert await settle_waiting(house, house.by_id["shop"], counted) == 0
    assert owner.conversions()[0]["net_minor"] == 10_000


# ------------------------------------------------------------------ orders and goals


async def test_an_order_is_named_as_it_is_written(owner: Owner) -> None:
    conversion_id = await buy(owner, "A/7 b?#%")
    one = state(await adjust(owner, "order:A%2F7%20b%3F%23%25", value="1"))
    assert one["conversion_id"] == conversion_id


async def test_x12_a_refund_of_an_order_reaches_every_goal_of_it(owner: Owner) -> None:
    await buy(owner)
    await buy(owner, goal="first_purchase", id="another-1")
    said = await adjust(owner, "order:1001", value="30")
    assert [(one["goal"], one["net"]) for one in said.json()["conversions"]] == [
        ("first_purchase", "70.00"),
        ("purchase", "70.00"),
    ]
    assert (await adjust(owner, "order:1001", value="30")).json()["status"] == "repeated"
    assert owner.shop.count("adjustment") == 2
    only = state(await adjust(owner, "order:1001", "refund-02", value="5", goal="purchase"))
    assert (only["goal"], only["net"]) == ("purchase", "65.00")


async def test_a_goal_that_comes_later_gets_what_its_order_got(owner: Owner) -> None:
    await adjust(owner, "order:1001", value="30")
    await buy(owner)
    house = owner.shop.gateway.house
    rooms = house.by_id["shop"]
    (first,) = await house.store.conversions_of_order("shop", "1001")
    await settle_waiting(house, rooms, first)
    later = await buy(owner, goal="first_purchase", id="another-1")
    counted = await house.store.conversion("shop", later)
    assert counted is not None
    await settle_waiting(house, rooms, counted)
    await settle_waiting(house, rooms, counted)
    await settle_waiting(house, rooms, first)
    assert [one["net_minor"] for one in owner.conversions()] == [7_000, 7_000]
    assert owner.shop.count("adjustment") == 2


# ------------------------------------------------------------------ refusals


BAD: Final[list[tuple[dict[str, Any], str, str | None]]] = [
    ({"kind": "cancel"}, "field_invalid", "kind"),
    ({"kind": "refund"}, "field_missing", "value"),
    ({"kind": "refund", "value": 0}, "field_invalid", "value"),
    ({"kind": "refund", "value": -1}, "amount_negative", "value"),
    ({"kind": "refund", "value": "1.001"}, "amount_too_fine", "value"),
    ({"kind": "refund", "value": "x"}, "amount_invalid", "value"),
    ({"kind": "refund", "value": 1, "currency": "USD"}, "currency_differs", "currency"),
    ({"kind": "refund", "value": 1, "currency": "XXQ"}, "currency_unknown", "currency"),
    ({"kind": "retract", "value": 1}, "field_unknown", "value"),
    ({"kind": "refund", "value": 1, "reason": "because"}, "field_invalid", "reason"),
    ({"kind": "refund", "value": 1, "occurred_at": "yesterday"}, "time_invalid", "occurred_at"),
    ({"kind": "refund", "value": 1, "occurred_at_ms": 0}, "time_out_of_range", "occurred_at_ms"),
    ({"kind": "refund", "value": 1, "occurred_at_ms": NOW_MS, "occurred_at": "2026-11-20T12:00:00Z"}, "field_unknown", "occurred_at_ms"),
    ({"kind": "refund", "value": 1, "email": "a@b.example"}, "field_unknown", "email"),
    ({"kind": "refund", "value": 1, "adjustment_id": "short"}, "field_invalid", "adjustment_id"),
    ({"value": 1}, "field_missing", "kind"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "field"), BAD)
async def test_a_wrong_adjustment_is_refused(owner: Owner, body: dict[str, Any], code: str, field: str | None) -> None:
    await buy(owner)
    body = {"adjustment_id": "refund-01", **body}
    with owner.shop.refusing(ROUTE, code):
        said = await owner.shop.api(f"{CONVERSIONS}/order:1001/adjustments", body, owner.key)
    refused_with(said, 400, code, field)


@pytest.mark.parametrize("name", ["c1_unknown", "order:", f"order:{'9' * 65}", "c9", "%00", "order:%0a"])
async def test_an_unknown_conversion_is_unknown(owner: Owner, name: str) -> None:
    with owner.shop.refusing(ROUTE, "conversion_unknown"):
        refused_with(await adjust(owner, name, value=1), 404, "conversion_unknown")


async def test_a_duplicate_is_no_conversion_to_adjust(owner: Owner) -> None:
    await buy(owner)
    body = {"name": "purchase", "value": "100.00", "order_id": "1001", "id": "again-0001"}
    assert (await owner.shop.api(CONVERSIONS, body, owner.key)).json()["fate"] == "duplicate"
    duplicate = next(one["conversion_id"] for one in owner.conversions() if one["fate"] == "duplicate")
    refused_with(await adjust(owner, duplicate, value=1), 404, "conversion_unknown")


async def test_a_caller_needs_the_right_for_conversions(owner: Owner) -> None:
    conversion_id = await buy(owner)
    path, body = (
        f"{CONVERSIONS}/{conversion_id}/adjustments",
        {"kind": "refund", "value": 1, "adjustment_id": "refund-01"},
    )
    events = (await owner.shop.new_key(rights=("events",)))["key"]
    for key, status, code in (
        (None, 401, "key_missing"),
        ("gwk_x", 401, "key_invalid"),
        (events, 403, "key_forbidden"),
    ):
        with owner.shop.refusing(ROUTE, code):
            refused_with(await owner.shop.api(path, body, key), status, code)


async def test_other_posts_below_conversions_are_unknown(owner: Owner) -> None:
    with owner.shop.refusing(ROUTE, "route_unknown"):
        refused_with(await owner.shop.api(f"{CONVERSIONS}/c1_x/refunds", {}, owner.key), 404, "route_unknown")


# ------------------------------------------------------------------ who is told


HOOK: Final = {
    "name": "crm", "platform": "webhook", "url": "https://hooks.crm.example/gateway",
    "signing_secret": "whsec_" + "A" * 32, "purposes": ["analytics"],
    "events": ["purchase", "refund", "conversion_adjusted"],
}  # fmt: skip
GA4: Final = {
    "name": "ga4", "platform": "ga4", "measurement_id": "G-SANDBOX001", "api_secret": "Zk3-secret-of-a-stream",
    "events": ["purchase", "refund", "conversion_adjusted"],
}  # fmt: skip
META: Final = {
    "name": "meta", "platform": "meta", "dataset_id": "1234567890123456", "access_token": "EAAG" + "x" * 40,
    "events": ["purchase", "refund", "conversion_adjusted"],
}  # fmt: skip
GRANTED: Final = {"analytics": "granted", "advertising": "granted", "ad_user_data": "granted"}


def owed(shop: Running) -> list[tuple[Any, ...]]:
    return shop.rows(
        "select e.name, d.destination, d.fate, iif(d.fate = 'waiting', null, d.reason) from delivery d join event e on e.seq = d.event_seq"
        " where e.name <> 'purchase' order by e.seq, d.destination"
    )


def rendered(shop: Running, destination: str) -> list[dict[str, Any]]:
    """What waits for a destination, opened."""
    rows = shop.rows(
        "select e.event_id, d.payload from delivery d join event e on e.seq = d.event_seq"
        " where d.destination = ? and e.name <> 'purchase' order by e.seq",
        destination,
    )
    vault = shop.gateway.house.vault
    return [
        json.loads(vault.open(payload, place_of("shop", event_id, destination)).partition(b"\n")[2])
        for event_id, payload in rows
        if payload is not None
    ]


async def test_destinations_that_list_it_are_told_and_others_say_why_not(tmp_path: Path) -> None:
    async with running(
        tmp_path,
        network=NOWHERE,
        shop={"destination": [HOOK, GA4, META], "regime": "none", "granted_by_default": list(GRANTED)},
    ) as shop:
        owner = await Owner.of(shop)
        conversion_id = await buy(owner, consent=GRANTED)
        await adjust(owner, "order:1001", value="30", ga="GA1.1.1234567890.1700000000")
        await adjust(owner, "order:1001", value="30", ga="GA1.1.1234567890.1700000000")
        await adjust(owner, "order:1001", "restate-1", kind="restate", value="90")
        await adjust(owner, "order:1001", "retract-1", kind="retract", reason="cancelled")
        assert owed(shop) == [
            ("refund", "crm", "waiting", None),
            ("refund", "ga4", "waiting", None),
            ("refund", "meta", "unfit", "refund_not_taken"),
            ("conversion_adjusted", "crm", "waiting", None),
            ("conversion_adjusted", "ga4", "unfit", "adjustment_not_taken"),
            ("conversion_adjusted", "meta", "unfit", "adjustment_not_taken"),
            ("refund", "crm", "waiting", None),
            ("refund", "ga4", "unfit", "client_id_missing"),
            ("refund", "meta", "unfit", "refund_not_taken"),
        ]
        first, second, third = (one["data"] for one in rendered(shop, "crm"))
        assert (first["value"], first["order_id"], first["props"]["net"]) == ("30.00", "1001", "70.00")
        assert first["props"]["conversion_id"] == conversion_id
        assert (second["value"], second["props"]["adjustment"]) == ("90.00", "restate")
        assert (third["value"], third["props"]["adjustment"], third["props"]["net"]) == ("90.00", "retract", "0.00")
        (event,) = rendered(shop, "ga4")
        assert event["events"][0]["params"]["transaction_id"] == "1001"
        assert event["events"][0]["params"]["value"] == 30.0
        assert [one["goal"] for one in owner.conversions()] == ["purchase"], "never a conversion of its own"


async def test_an_adjustment_never_counts_even_where_its_name_does(tmp_path: Path) -> None:
    async with running(
        tmp_path, network=NOWHERE, shop={"destination": [HOOK], "conversion_events": ["refund", "purchase"]}
    ) as shop:
        owner = await Owner.of(shop)
        await owner.goal(code="refund", name="Refund")
        await buy(owner)
        await adjust(owner, "order:1001", value="30")
        assert shop.count("event") == 2
        assert [one["goal"] for one in owner.conversions()] == ["purchase"]


async def test_it_is_judged_by_the_choice_that_is_recorded_now(tmp_path: Path) -> None:
    """Without a recorded choice there is none; what was granted with the order is not kept for a later event."""
    async with running(tmp_path, network=NOWHERE, shop={"destination": [HOOK]}) as shop:
        owner = await Owner.of(shop)
        person = {"external_id": "customer-7"}
        await buy(owner, person=person, consent=GRANTED)
        await adjust(owner, "order:1001", value="10")
        body = {"choice": GRANTED, "person": person}
        key = (await shop.new_key())["key"]
        said = await shop.api("/consent", body, key)
        assert said.status == 200, said
        await adjust(owner, "order:1001", "refund-02", value="10")
        assert owed(shop) == [
            ("refund", "crm", "withheld", "consent_missing"),
            ("refund", "crm", "waiting", None),
        ]


async def test_what_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async with running(tmp_path, network=NOWHERE, shop={"destination": [HOOK]}) as shop:
        owner = await Owner.of(shop)
        await buy(owner, value="10")
        await adjust(owner, "order:1001", "refund-01", value="10")
        await adjust(owner, "order:1001", "refund-02", value="10")
        await adjust(owner, "order:9", "refund-03", value="10")
        assert [name for (name, *_) in owed(shop)] == ["refund"]
