"""From an event to a claim: which goal, which campaign, from which page, worth what, and counted how often."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.flows.explain import explain, text_of
from tests.support.goals import CLICK, OTHER_CLICK, Owner
from tests.support.running import OTHER_HOST, PAGE, Said, refused_with, running

CONVERSIONS: Final = "/api/v1/conversions"
EVENTS: Final = "/api/v1/events"
ALL: Final = {"analytics": "granted", "advertising": "granted"}


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
async def owner(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Owner]:
    async with running(tmp_path, fast=request.param) as shop:
        yield await Owner.of(shop)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Owner]:
    """For what only concerns servers, or both lanes alike."""
    async with running(tmp_path) as shop:
        yield await Owner.of(shop)


async def convert(owner: Owner, path: str = CONVERSIONS, **body: Any) -> Said:
    return await owner.shop.api(path, {"name": "purchase", **body}, owner.key)


async def collect(owner: Owner, *, origin: str | None = PAGE, **body: Any) -> Said:
    return await owner.shop.collect({"name": "purchase", **body}, origin=origin)


# ------------------------------------------------------------------ which goal


async def test_e09_actions_of_different_names_appear_separately(owner: Owner) -> None:
    await owner.goal(code="sign_up", name="Sign-up")
    await owner.goal(code="ticket_purchase", name="Ticket")
    for name in ("sign_up", "ticket_purchase", "page_view"):
        assert (await collect(owner, name=name)).status == 204
    assert [one["goal"] for one in owner.conversions()] == ["sign_up", "ticket_purchase"]


async def test_p08_an_event_counts_for_the_goal_it_names(server: Owner) -> None:
    await server.goal(code="first_order", name="First order")
    await convert(server, EVENTS, name="order_paid", goal="first_order")
    await convert(server, EVENTS, name="order_paid")
    assert [(one["goal"], one["name"], one["goal_version"]) for one in server.conversions()] == [
        ("first_order", "order_paid", 1)
    ]


async def test_goals_nobody_set_up_count_as_before(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"conversion_events": ["lead"]}) as shop:
        owner = await Owner.of(shop)
        await convert(owner, name="anything")
        await convert(owner, EVENTS, name="lead")
        await convert(owner, EVENTS, name="hello", goal="free_name")
        await convert(owner, EVENTS, name="hello")
        assert [(one["goal"], one["goal_version"]) for one in owner.conversions()] == [
            ("anything", 0), ("lead", 0), ("free_name", 0),
        ]  # fmt: skip


async def test_a_page_names_only_goals_that_somebody_set_up(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"conversion_events": ["purchase", "lead"]}) as shop:
        owner = await Owner.of(shop)
        await owner.goal(code="first_order", name="First order")
        old = await owner.goal(code="contact", name="Contact")
        await owner.change("goal", old["id"], archived=True)
        known = ("first_order", "lead", "newsletter_signup")
        for goal in (*known, "frist_order", "a_goal_of_a_stranger", "contact"):
            said = await collect(owner, goal=goal, id=f"event-{goal}", consent=ALL)
            assert (said.status, said.header("x-gateway-dropped")) == (204, None)
        assert [one["goal"] for one in owner.conversions()] == list(known)
        assert len(shop.rows("select 1 from event")) == 6, "what the page said is kept"
        for goal in known:
            assert "marks" not in shop.facts(f"event-{goal}")
        for goal in ("frist_order", "a_goal_of_a_stranger", "contact"):
            facts = shop.facts(f"event-{goal}")
            assert (facts["goal"], facts["marks"]) == (goal, ["goal_unknown"])
        registry = shop.gateway.house.telemetry.registry
        assert registry.get_sample_value("gateway_marks_total", {"mark": "goal_unknown"}) == 3
        found = await explain(shop.gateway.house, "event-frist_order", "shop")
        assert found["conversions"] == []
        assert "noticed      goal_unknown: nobody set up the goal it names" in text_of(found)


@pytest.mark.parametrize("path", ["/p.gif?name=purchase&goal=frist_order", "/p.gif?name=frist_order"])
async def test_an_image_names_no_goal_of_its_own_either(server: Owner, path: str) -> None:
    said = await server.shop.send("GET", path, headers={"Referer": f"{PAGE}/thanks"})
    assert said.status == 200
    assert server.conversions() == []
    assert server.shop.count() == 1


async def test_a_caller_with_a_key_is_told_of_a_goal_that_nobody_set_up(server: Owner) -> None:
    """Nothing is lost: it counts, and the answer says what looks wrong."""
    await server.goal(code="first_order", name="First order")
    for body, marks in (
        ({"goal": "first_order"}, None),
        ({"goal": "purchase"}, None),
        ({"goal": "frist_order"}, ["goal_unknown"]),
        ({"name": "frist_order"}, ["goal_unknown"]),
        ({"name": "frist_order", "goal": "first_order"}, None),
    ):
        said = (await convert(server, **body)).json()
        assert (said["fate"], said.get("marks")) == ("counted", marks), body
    said = (await convert(server, EVENTS, name="hello", goal="frist_order")).json()
    assert (said["fate"], said["marks"]) == ("counted", ["goal_unknown"])
    assert "marks" not in (await convert(server, EVENTS, name="hello")).json()
    assert [one["goal"] for one in server.conversions()].count("frist_order") == 3


async def test_a_goal_that_is_put_away_counts_no_more(server: Owner) -> None:
    goal = await server.goal(code="watched", name="Watched")
    await server.change("goal", goal["id"], archived=True)
    await convert(server, EVENTS, name="watched")
    assert server.conversions() == []


async def test_a_conversion_says_under_which_version_of_its_goal_it_counts(server: Owner) -> None:
    goal = await server.goal(code="sign_up", name="Sign-up")
    await convert(server, EVENTS, name="sign_up")
    await server.change("goal", goal["id"], value="5.00")
    await convert(server, EVENTS, name="sign_up")
    assert [(one["goal_version"], one["amount_minor"]) for one in server.conversions()] == [(1, None), (2, 500)]


# ------------------------------------------------------------------ what it is worth


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, (2500, "USD", "default")),
        ({"value": 0}, (0, "EUR", "event")),
        ({"value": "0.00", "currency": "USD"}, (0, "USD", "event")),
        ({"value": None}, (2500, "USD", "default")),
        ({"value": "9.99"}, (999, "EUR", "event")),
    ],
)
async def test_p17_x09_the_default_stands_in_for_what_is_not_said_and_zero_is_said(
    owner: Owner, said: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    await owner.goal(code="generate_lead", name="Lead", value="25.00", currency="USD")
    assert (await collect(owner, name="generate_lead", **said)).status == 204
    (one,) = owner.conversions()
    assert (one["amount_minor"], one["currency"], one["value_source"]) == expected


async def test_destinations_are_told_the_default_and_the_event_keeps_what_it_said(tmp_path: Path) -> None:
    hook = {
        "name": "crm", "platform": "webhook", "url": "https://hooks.crm.example/gateway",
        "signing_secret": "whsec_" + "A" * 32, "purposes": ["analytics"], "events": ["generate_lead"],
    }  # fmt: skip
    async with running(tmp_path, shop={"destination": [hook]}) as shop:
        owner = await Owner.of(shop)
        await owner.goal(code="generate_lead", name="Lead", value="25.00", currency="USD")
        await convert(owner, name="generate_lead", consent=ALL)
        ((event_id, payload),) = shop.rows(
            "select e.event_id, d.payload from delivery d join event e on e.seq = d.event_seq"
        )
        plain = shop.gateway.house.vault.open(payload, f"shop\x1f{event_id}\x1fcrm".encode())
        assert b'"value":"25.00","currency":"USD"' in plain
        assert "amount_minor" not in shop.facts(event_id)


# ------------------------------------------------------------------ campaigns


async def test_e11_a_conversion_names_the_campaign_it_is_reported_for(owner: Owner) -> None:
    campaign = await owner.campaign(code="Spring-26")
    assert (await collect(owner, goal="contact", campaign="spring-26")).status == 204
    assert [one["campaign_id"] for one in owner.conversions()] == [campaign["id"]]


async def test_e12_the_ambassador_whose_link_was_used_is_credited_and_nobody_by_a_plain_click(server: Owner) -> None:
    campaign = await server.campaign(ambassadors=True)
    made = await server.shop.api("/api/v1/ambassadors", {"name": "Anna", "campaign_id": campaign["id"]}, server.key)
    ambassador = made.json()["ambassador"]["id"]
    await server.click(campaign_id=campaign["id"], ambassador_id=ambassador)
    await server.click(OTHER_CLICK, campaign_id=campaign["id"])
    await convert(server, click_id=CLICK, order_id="1", consent=ALL)
    await convert(server, click_id=OTHER_CLICK, order_id="2", consent=ALL)
    rows: list[tuple[Any, ...]] = []
    async with asyncio.timeout(5):
        while len(rows) < 2:
            await asyncio.sleep(0.02)
            rows = server.shop.rows(
                "select c.order_id, k.campaign_id, k.ambassador_id from credit k join conversion c using (conversion_id)"
                " order by c.order_id"
            )
    assert rows == [("1", campaign["id"], ambassador), ("2", campaign["id"], "")]


async def test_e14_a_campaign_that_is_switched_off_takes_nothing(owner: Owner) -> None:
    campaign = await owner.campaign(code="spring", tracking=False)
    before = owner.shop.everything_stored()
    said = await collect(owner, goal="contact", campaign="spring")
    assert (said.status, said.header("x-gateway-dropped")) == (204, "campaign_tracking_off")
    assert "X-Gateway-Dropped" in str(said.header("access-control-expose-headers"))
    assert owner.shop.everything_stored() == before
    refused_with(await convert(owner, campaign="spring"), 403, "campaign_tracking_off", "campaign")
    assert owner.shop.everything_stored() == before
    await owner.change("campaign", campaign["id"], tracking=True)
    assert (await collect(owner, goal="contact", campaign="spring")).header("x-gateway-dropped") is None
    assert (await convert(owner, campaign="spring")).status == 200
    assert len(owner.conversions()) == 2


async def test_e27_a_wrong_campaign_code_is_said_readably(owner: Owner) -> None:
    await owner.campaign(code="spring")
    before = owner.shop.everything_stored()
    said = await collect(owner, goal="contact", campaign="sprnig")
    assert (said.status, said.header("x-gateway-dropped")) == (204, "campaign_unknown")
    assert said.header("access-control-allow-origin") == PAGE
    with owner.shop.refusing(CONVERSIONS, "campaign_unknown"):
        refused_with(await convert(owner, campaign="sprnig"), 400, "campaign_unknown", "campaign")
    assert owner.shop.everything_stored() == before


async def test_a_wrong_campaign_in_a_batch_leaves_the_others(owner: Owner) -> None:
    await owner.campaign(code="spring")
    events = [
        {"name": "page_view"},
        {"name": "a", "goal": "contact", "campaign": "x"},
        {"name": "b", "goal": "contact"},
    ]
    said = await owner.shop.collect({"events": events})
    assert (said.status, said.header("x-gateway-dropped")) == (204, "campaign_unknown")
    assert owner.shop.rows("select name from event order by seq") == [("page_view",), ("b",)]
    batch = [{"name": "a"}, {"name": "b", "campaign": "x"}]
    said = await owner.shop.api(f"{CONVERSIONS}/batch", {"conversions": batch}, owner.key)
    refused_with(said, 400, "campaign_unknown", "conversions[1].campaign")


async def test_an_archived_campaign_is_unknown(server: Owner) -> None:
    campaign = await server.campaign(code="spring")
    await server.change("campaign", campaign["id"], archived=True)
    refused_with(await convert(server, campaign="spring"), 400, "campaign_unknown", "campaign")


async def test_other_events_of_a_campaign_that_is_off_are_taken(owner: Owner) -> None:
    await owner.campaign(code="spring", tracking=False)
    assert (await collect(owner, name="page_view", campaign="spring")).header("x-gateway-dropped") is None
    assert owner.shop.count() == 1


# ------------------------------------------------------------------ pages


PAGES: Final = [
    ("e21", ["shop.example"], "https://www.shop.example", True),
    ("e21", ["shop.example"], "https://a.b.shop.example", True),
    ("e22", ["pay.shop.example"], "https://pay.shop.example", True),
    ("e22", ["pay.shop.example"], "https://eu.pay.shop.example", True),
    ("e22", ["pay.shop.example"], "https://shop.example", False),
    ("e22", ["pay.shop.example"], PAGE, False),
    ("e23", ["PAY.shop.EXAMPLE"], "https://pay.SHOP.example", True),
    ("e21", ["pay.shop.example"], "https://notpay.shop.example", False),
    ("e20", "pay.shop.example\n\n  www.shop.example  \n", PAGE, True),
    ("e20", "pay.shop.example\n\n  www.shop.example  \n", "https://blog.shop.example", False),
    ("e24", [], "https://blog.shop.example", True),
]


@pytest.mark.parametrize(("row", "domains", "origin", "taken"), PAGES)
@pytest.mark.parametrize("what", ["goal", "campaign"])
async def test_e19_e20_e21_e22_e23_e24_row_26_conversions_come_from_listed_pages(
    owner: Owner, what: str, row: str, domains: object, origin: str, taken: bool
) -> None:
    if what == "goal":
        await owner.goal(code="contact", name="Sale", domains=domains)
    else:
        await owner.campaign(code="spring", domains=domains)
    before = owner.shop.everything_stored()
    said = await collect(owner, origin=origin, goal="contact", campaign="spring" if what == "campaign" else None)
    if taken:
        assert (said.status, said.header("x-gateway-dropped")) == (204, None), row
        assert [one["goal"] for one in owner.conversions()] == ["contact"]
        return
    assert said.header("access-control-allow-origin") == origin, "the page can read that it is blocked"
    refused_with(said, 403, "domain_not_allowed")
    assert owner.shop.everything_stored() == before


@pytest.mark.parametrize("origin", ["https://evil.test", "https://pay.shop.example.evil.test", "null"])
async def test_e21_row_26_strangers_pages_are_refused_by_the_site_already(owner: Owner, origin: str) -> None:
    await owner.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    refused_with(await collect(owner, origin=origin, goal="sale"), 403, "domain_not_allowed")


async def test_e19_what_the_event_says_of_its_page_does_not_help(owner: Owner) -> None:
    await owner.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    said = await collect(owner, goal="sale", url="https://pay.shop.example/thanks")
    refused_with(said, 403, "domain_not_allowed")


async def test_row_26_without_origin_the_page_in_the_event_is_asked(owner: Owner) -> None:
    await owner.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    said = await collect(owner, origin=None, goal="sale", url="https://pay.shop.example/thanks")
    assert said.status == 204
    refused_with(await collect(owner, origin=None, goal="sale", url=f"{PAGE}/x"), 403, "domain_not_allowed")


async def test_e19_an_image_is_asked_for_its_page_too(owner: Owner) -> None:
    await owner.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    said = await owner.shop.send("GET", "/p.gif?name=sale", headers={"Referer": f"{PAGE}/thanks"})
    assert said.header("x-gateway-dropped") == "domain_not_allowed"
    said = await owner.shop.send("GET", "/p.gif?name=sale", headers={"Referer": "https://pay.shop.example/thanks"})
    assert said.header("x-gateway-dropped") is None
    assert len(owner.conversions()) == 1


async def test_x08_server_calls_have_no_page(server: Owner) -> None:
    await server.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    assert (await convert(server, goal="sale", url=f"{PAGE}/thanks")).status == 200


async def test_events_that_are_no_conversions_come_from_every_page_of_the_site(owner: Owner) -> None:
    await owner.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    assert (await collect(owner, name="page_view")).status == 204


# ------------------------------------------------------------------ once


async def test_e17_the_confirmation_page_seen_again_counts_once(owner: Owner) -> None:
    await owner.goal(code="purchase", name="Purchase")
    for _ in range(3):
        assert (await collect(owner, order_id="1001", value="10")).status == 204
    assert [one["fate"] for one in owner.conversions()] == ["counted", "duplicate", "duplicate"]


def cookies(said: Said) -> str:
    return "; ".join(f"{name}={value}" for name, value in said.cookies().items())


async def test_e17_a_goal_that_counts_once_for_each_person(owner: Owner) -> None:
    await owner.goal(code="sign_up", name="Sign-up", count="one_per_person")
    first = await owner.shop.collect({"name": "sign_up", "consent": ALL})
    await owner.shop.collect({"name": "sign_up", "consent": ALL}, cookie=cookies(first))
    await owner.shop.collect({"name": "sign_up", "consent": ALL})
    rows = owner.conversions()
    assert [(one["fate"], one["reason"]) for one in rows] == [
        ("counted", "first_with_key"), ("duplicate", "same_person"), ("counted", "first_with_key"),
    ]  # fmt: skip
    assert {one["claim_key"][:2] for one in rows} == {"p:"}


async def test_a_person_a_server_names_counts_once_whatever_the_amount(server: Owner) -> None:
    await server.goal(code="sign_up", name="Sign-up", count="one_per_person")
    fates = []
    for value, who in ((1, "customer-7"), (2, "customer-7"), (3, "customer-8")):
        said = await convert(server, name="sign_up", value=value, person={"external_id": who})
        fates.append(said.json()["fate"])
    assert fates == ["counted", "duplicate", "counted"]


async def test_nobody_in_particular_counts_every_time(server: Owner) -> None:
    await server.goal(code="sign_up", name="Sign-up", count="one_per_person")
    await server.goal(code="lead", name="Lead", count="one_per_click")
    for name in ("sign_up", "sign_up", "lead", "lead"):
        assert (await convert(server, name=name)).json()["fate"] == "counted"


async def test_a_goal_that_counts_once_for_each_click(server: Owner) -> None:
    await server.goal(code="lead", name="Lead", count="one_per_click")
    await server.click()
    await server.click(OTHER_CLICK)
    person = {"external_id": "customer-7"}
    said = [
        (await convert(server, name="lead", click_id=click, person=person, order_id=str(number))).json()["fate"]
        for number, click in enumerate((CLICK, CLICK, OTHER_CLICK, None, None))
    ]
    assert said == ["counted", "duplicate", "counted", "counted", "duplicate"]
    assert [one["claim_key"][:2] for one in server.conversions()] == ["k:", "k:", "k:", "p:", "p:"]
    assert [one["reason"] for one in server.conversions()][1] == "same_click"


# ------------------------------------------------------------------ calls


@pytest.mark.parametrize(
    ("props", "counts"),
    [
        ({"duration_s": 59}, False),
        ({"duration_s": 60}, True),
        ({"duration_s": 600, "answered": True}, True),
        ({"duration_s": 600, "answered": False}, False),
        ({}, True),
        ({"duration_s": True}, True),
    ],
)
async def test_r14_c47_a_call_counts_when_it_lasts_long_enough(
    server: Owner, props: dict[str, Any], counts: bool
) -> None:
    await server.goal(code="call", name="Call", type="call", call_min_s=60)
    said = await convert(server, name="call", props=props)
    assert said.json()["fate"] == ("counted" if counts else "recorded")
    assert server.shop.count("event") == 1
    assert len(server.conversions()) == int(counts)
    if not counts:
        assert "call_too_short" in server.shop.facts(said.json()["id"])["marks"]


# ------------------------------------------------------------------ clicks


async def test_e25_c13_a_conversion_nobody_clicked_for_is_kept(owner: Owner) -> None:
    await owner.goal(code="purchase", name="Purchase")
    assert (await collect(owner, order_id="1")).status == 204
    assert [(one["fate"], one["click_id"]) for one in owner.conversions()] == [("counted", None)]


@pytest.mark.parametrize(
    ("consent", "kept"),
    [
        (ALL, True),
        ({"analytics": "granted", "advertising": "denied"}, True),
        (None, True),
        ({"analytics": "denied", "advertising": "denied"}, False),
    ],
)
async def test_who_refuses_everything_is_not_followed_by_a_click(
    server: Owner, consent: dict[str, str] | None, kept: bool
) -> None:
    """A click's id was issued under consent; only a refusal since takes it away, not the silence of a backend."""
    await server.click()
    await convert(server, click_id=CLICK, order_id="1", consent=consent)
    assert [one["click_id"] for one in server.conversions()] == [CLICK if kept else None]


@pytest.mark.parametrize(
    ("days_ago", "click_id", "mark"),
    [
        (0, CLICK, None), (30, CLICK, None), (30.001, CLICK, "click_expired"), (-1, CLICK, "click_after_conversion"),
        (0, OTHER_CLICK, "click_unknown"),
    ],
)  # fmt: skip
async def test_row_25_a_backend_is_told_what_is_wrong_with_a_click(
    server: Owner, days_ago: float, click_id: str, mark: str | None
) -> None:
    await server.goal(code="purchase", name="Purchase")
    await server.click(days_ago=days_ago)
    said = await convert(server, click_id=click_id, order_id="1")
    assert said.json()["fate"] == "counted"
    assert said.json().get("marks", []) == ([mark] if mark else [])


async def test_coupons_are_kept_as_they_were_written(owner: Owner) -> None:
    await owner.goal(code="purchase", name="Purchase")
    await collect(owner, coupons=["Anna10", "SAVE"])
    assert [one["coupons"] for one in owner.conversions()] == ["Anna10\nSAVE"]


async def test_another_site_has_goals_and_campaigns_of_its_own(server: Owner) -> None:
    await server.goal(code="sale", name="Sale", domains=["pay.shop.example"])
    await server.campaign(code="spring", tracking=False)
    body = {"name": "x", "goal": "sale"}
    said = await server.shop.api(CONVERSIONS, body, server.key, host=OTHER_HOST)
    assert said.json()["fate"] == "counted"
    said = await server.shop.api(CONVERSIONS, {**body, "campaign": "spring"}, server.key, host=OTHER_HOST)
    refused_with(said, 400, "campaign_unknown", "campaign")
