"""A newcomer buys something in the demo shop, and every platform gets what consent allows, and nothing else."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.flows.explain import explain, text_of
from gateway.sandbox.demo import Demo
from gateway.sandbox.faults import Fault
from tests.journeys.conftest import OpenContext, buy, decide

PLATFORMS = ("meta", "ga4", "google_ads", "webhook")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds; generous, because the machine may be busy."""
    for _ in range(int(seconds / 0.05)):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def taken(demo: Demo, platform: str) -> list[dict[str, Any]]:
    return [one.event for one in demo.stand_ins.by_name()[platform].ledger.accepted_events()]


def ga4_bodies(demo: Demo) -> list[dict[str, Any]]:
    """Whole requests: Google Analytics takes consent and user data beside the event."""
    return [json.loads(request.body) for request in demo.stand_ins.ga4.ledger.requests()]


def purchases(demo: Demo) -> dict[str, list[dict[str, Any]]]:
    """Purchases by platform, each in that platform's own words."""
    return {
        "meta": [event for event in taken(demo, "meta") if event["event_name"] == "Purchase"],
        "ga4": [body for body in ga4_bodies(demo) if body["events"][0]["name"] == "purchase"],
        "google_ads": taken(demo, "google_ads"),
        "webhook": [event for event in taken(demo, "webhook") if event["type"] == "conversion.purchase"],
    }


async def test_a_purchase_with_full_consent_reaches_all_four_with_right_hashes_and_consent(
    demo: Demo, open_context: OpenContext
) -> None:
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(
            f"{demo.urls['shop']}?gclid=Cj0KCQtest_123-x&utm_source=google&utm_medium=cpc&utm_campaign=winter"
        )
        await decide(page, "all")
        order = await buy(page, demo)
        await until(lambda: all(purchases(demo).values()))
    found = purchases(demo)

    meta = found["meta"][0]
    assert meta["custom_data"]["order_id"] == order
    assert meta["custom_data"]["value"] == 89.9
    assert meta["custom_data"]["currency"] == "eur"
    assert meta["user_data"]["em"] == [sha("jane.doe@example.com")]
    assert meta["user_data"]["ph"] == [sha("4915112345678")]
    assert meta["user_data"]["fn"] == sha("jane")
    assert meta["user_data"]["ct"] == sha("berlin")
    assert meta["user_data"]["country"] == sha("de")
    assert "opt_out" not in meta

    ga4 = found["ga4"][0]
    assert ga4["consent"] == {"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}
    assert ga4["user_data"]["sha256_email_address"] == [sha("jane.doe@example.com")]
    assert ga4["events"][0]["params"]["transaction_id"] == order
    assert ga4["events"][0]["params"]["value"] == 89.9

    google = found["google_ads"][0]
    assert google["transactionId"] == order
    assert google["adIdentifiers"] == {"gclid": "Cj0KCQtest_123-x"}, "kept from the landing page to the purchase"
    assert google["consent"] == {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
    assert {"emailAddress": sha("jane.doe@example.com")} in google["userData"]["userIdentifiers"]

    webhook = found["webhook"][0]["data"]
    assert (webhook["order_id"], webhook["value"], webhook["currency"]) == (order, "89.90", "EUR")
    assert webhook["consent"]["advertising"] == "granted"

    for platform in PLATFORMS:
        ledger = demo.stand_ins.by_name()[platform].ledger
        assert ledger.complaints() == [], platform
        assert ledger.double_effects() == {}, platform


@pytest.mark.thorough
async def test_with_everything_refused_nothing_leaves(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "none")
        await buy(page, demo)
        await page.wait_for_timeout(500)
        names = {cookie["name"] for cookie in await context.cookies() if "name" in cookie}
    assert demo.gateway is not None
    tally = await demo.gateway.house.store.tally()
    assert tally.conversions == {("shop", "counted"): 1}
    assert {fate for (_, _, fate) in tally.deliveries} == {"withheld"}
    assert sum(tally.deliveries.values()) >= 4
    for platform in PLATFORMS:
        assert demo.stand_ins.by_name()[platform].ledger.requests() == [], platform
    assert names == {"__Host-gwconsent"}, "no id, no click ids: the choice alone is remembered"


@pytest.mark.thorough
async def test_before_any_choice_nothing_leaves(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        page = await context.new_page()
        await buy(page, demo)
        await page.wait_for_timeout(2_500)
        assert await context.cookies() == []
    assert demo.gateway is not None
    tally = await demo.gateway.house.store.tally()
    assert tally.conversions == {("shop", "counted"): 1}
    assert {fate for (_, _, fate) in tally.deliveries} == {"withheld"}
    for platform in PLATFORMS:
        assert demo.stand_ins.by_name()[platform].ledger.requests() == [], platform


@pytest.mark.thorough
async def test_analytics_only_reaches_analytics_without_contact_data(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(f"{demo.urls['shop']}?gclid=Cj0KCQtest_123-x&fbclid=IwAR0abc")
        await decide(page, "analytics")
        await buy(page, demo)
        await until(lambda: bool(purchases(demo)["ga4"] and purchases(demo)["webhook"]))
        cookies = {cookie["name"] for cookie in await context.cookies() if "name" in cookie}
    found = purchases(demo)
    assert found["meta"] == []
    assert found["google_ads"] == []
    assert found["ga4"][0]["consent"] == {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}
    assert "user_data" not in found["ga4"][0]
    assert "contact" not in found["webhook"][0]["data"]
    assert "click_ids" not in found["webhook"][0]["data"]
    assert "__Host-gwid" in cookies
    assert "__Host-gwclick" not in cookies, "click ids need advertising"


@pytest.mark.thorough
async def test_consent_withdrawn_while_a_delivery_waits_cancels_it_and_says_so(
    demo: Demo, open_context: OpenContext
) -> None:
    demo.stand_ins.meta.faults.always(Fault.status(503))
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await buy(page, demo)
        await until(lambda: bool(purchases(demo)["ga4"]) and len(demo.stand_ins.meta.ledger.requests()) >= 1)
        await page.click("#privacy")
        await decide(page, "none")
        names = {cookie["name"] for cookie in await context.cookies() if "name" in cookie}
    assert names == {"__Host-gwconsent"}, "withdrawal deletes the id and the click ids"
    demo.stand_ins.meta.faults.clear()
    assert demo.gateway is not None
    house = demo.gateway.house
    before = len(demo.stand_ins.meta.ledger.requests())

    async def cancelled() -> bool:
        return (await house.store.tally()).deliveries.get(("shop", "meta", "waiting"), 0) == 0

    for _ in range(100):
        if await cancelled():
            break
        await asyncio.sleep(0.1)
    tally = await house.store.tally()
    assert tally.deliveries.get(("shop", "meta", "cancelled"), 0) >= 1
    assert ("shop", "meta", "accepted") not in tally.deliveries
    assert len(demo.stand_ins.meta.ledger.requests()) == before, "nothing was sent after the withdrawal"
    cancelled_event = next(
        row.event_id for row in await house.store.recent(50) if row.fate == "cancelled" and row.event_name == "purchase"
    )
    told = text_of(await explain(house, cancelled_event, None))
    assert "Consent was withdrawn while the delivery waited." in told
    assert "withdrawn: advertising, ad_user_data" in told


@pytest.mark.thorough
async def test_global_privacy_control_stops_advertising_whatever_the_banner_says(
    demo: Demo, open_context: OpenContext
) -> None:
    async with open_context(extra_http_headers={"Sec-GPC": "1"}) as context:
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await buy(page, demo)
        await until(lambda: bool(purchases(demo)["ga4"]))
        await page.wait_for_timeout(300)
    found = purchases(demo)
    assert found["meta"] == []
    assert found["google_ads"] == []
    assert found["ga4"][0]["consent"] == {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}


@pytest.mark.thorough
async def test_reloading_the_thank_you_page_counts_no_second_purchase(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await buy(page, demo)
        await until(lambda: bool(purchases(demo)["meta"]))
        for _ in range(3):
            await page.reload()
            await page.wait_for_timeout(200)
    assert demo.gateway is not None
    tally = await demo.gateway.house.store.tally()
    assert tally.conversions[("shop", "counted")] == 1
    assert tally.conversions[("shop", "duplicate")] >= 1
    for platform, events in purchases(demo).items():
        assert len(events) == 1, platform
