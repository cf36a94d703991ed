"""Touching: which events leave a contact behind, what it is called, and how a conversion comes to name its click."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio

from gateway import identity
from gateway.flows import click_keeping
from gateway.purposes import ADVERTISING, ALL_PURPOSES, ANALYTICS, NECESSARY
from gateway.times import DAY_MS
from tests.handlers.test_redirect import SITE, Links, links_of
from tests.support.running import NOW_MS, PAGE, Running, Said, running

VISITOR: Final = "v" * 22
BOTH: Final = ANALYTICS | ADVERTISING
COLUMNS: Final = (
    "kind", "channel", "source", "medium", "campaign_name", "referrer", "link_id", "campaign_id", "ambassador_id",
    "landed_click_id", "click_id", "device", "os", "browser", "landing", "human", "consent", "test",
)  # fmt: skip


class Visitor:
    """A browser that keeps its cookies, whatever the site sets and deletes."""

    def __init__(self, shop: Running, granted: int) -> None:
        rooms = shop.gateway.house.by_id["shop"]
        denied = ALL_PURPOSES & ~granted & ~NECESSARY
        receipt = identity.sign_receipt(rooms.keys, identity.Receipt(granted | NECESSARY, denied, NOW_MS - 1, "1", "x"))
        day = NOW_MS // DAY_MS
        self.jar = {
            rooms.consent_cookie: receipt,
            rooms.id_cookie: identity.sign_token(rooms.keys, VISITOR, day, day),
        }
        self._shop = shop
        self._count = 0

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    def keep(self, said: Said) -> Said:
        for name, value in said.cookies().items():
            if value:
                self.jar[name] = value
            else:
                self.jar.pop(name, None)
        return said

    async def view(self, path: str, name: str = "page_view", **fields: Any) -> str:
        """A page, or something on it. Answers the event's id."""
        self._count += 1
        event = {"id": f"event-{self._count:04}", "name": name, "url": f"{PAGE}{path}", **fields}
        said = self.keep(await self._shop.collect({"events": [event]}, cookie=self.cookie))
        assert said.status == 204, said
        return str(event["id"])

    async def click(self, links: Links, path: str) -> str:
        """Open a link. Answers path and query of the page it leads to."""
        said = self.keep(await links.open(path, Cookie=self.cookie))
        assert said.status == 302, said
        location = urlsplit(said.header("location") or "")
        return f"{location.path}?{location.query}"


def touches(shop: Running) -> list[dict[str, Any]]:
    """Contacts that came with events, in order."""
    rows = shop.rows(f"select {', '.join(COLUMNS)} from touch where event_seq is not null order by touch_no")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def conversions(shop: Running) -> list[tuple[Any, ...]]:
    return shop.rows("select goal, click_id from conversion order by conversion_id")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not send a click to the spool where a test looks for it in the store."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)


@pytest_asyncio.fixture
async def links(tmp_path: Path) -> AsyncIterator[Links]:
    async with running(tmp_path, shop=SITE) as shop:
        yield await links_of(shop)


# ------------------------------------------------------------------ arrivals


async def test_p01_k11_c12_a_purchase_three_pages_after_the_click_names_it(links: Links) -> None:
    shop, visitor = links.shop, Visitor(links.shop, BOTH)
    campaign = await links.make("campaigns", name="Spring sale", channel="email")
    link = await links.link("spring", campaign_id=campaign["id"])
    landing = await visitor.click(links, "spring")
    click_id = dict(parse_qsl(landing.partition("?")[2]))["cid"]
    await visitor.view(landing)
    for page in ("/shoes", "/shoes/red", "/basket"):
        await visitor.view(page, referrer=f"{PAGE}/sale")
    await visitor.view("/thanks", "purchase", value="10.00", order_id="A1")
    (touch,) = touches(shop)
    assert (touch["kind"], touch["landed_click_id"], touch["link_id"]) == ("click", click_id, link["id"])
    assert (touch["channel"], touch["campaign_id"], touch["campaign_name"]) == ("email", campaign["id"], "Spring sale")
    assert (touch["device"], touch["landing"], touch["consent"], touch["human"]) == ("desktop", "/sale", 1, "yes")
    assert conversions(shop) == [("purchase", click_id)]
    keys = {key for (key,) in shop.rows("select visitor_key from event")}
    assert len(keys) == 1  # page 1 and page 5 share the id
    assert keys == {key for (key,) in shop.rows("select visitor_key from touch where event_seq is not null")}


async def test_r18_a_landing_without_its_campaign_parameters_is_named_by_its_link(links: Links) -> None:
    campaign = await links.make("campaigns", name="Spring sale", utm={"source": "letter", "medium": "email"})
    link = await links.link("spring", campaign_id=campaign["id"], utm={"campaign": "march"})
    visitor = Visitor(links.shop, BOTH)
    landing = await visitor.click(links, "spring")
    assert "utm_source=letter" in landing
    await visitor.view("/sale?lid=spring")  # a mail program took the rest away
    (touch,) = touches(links.shop)
    assert (touch["link_id"], touch["campaign_id"]) == (link["id"], campaign["id"])
    assert (touch["channel"], touch["source"], touch["medium"], touch["campaign_name"]) == (
        "email", "letter", "email", "march",
    )  # fmt: skip


async def test_r24_a_click_id_in_the_address_is_enough_where_no_cookie_is_kept(links: Links) -> None:
    await links.link("spring")
    visitor = Visitor(links.shop, BOTH)
    landing = await visitor.click(links, "spring")
    forgetful = Visitor(links.shop, BOTH)  # kept nothing of the redirect
    await forgetful.view(landing.replace("/sale", "/thanks"), "purchase", value="1.00")
    assert conversions(links.shop) == [("purchase", links.last()["landed_click_id"])]


async def test_r25_the_identifier_is_picked_up_at_the_first_page_and_kept(links: Links) -> None:
    await links.link("spring")
    landing = await Visitor(links.shop, BOTH).click(links, "spring")
    visitor = Visitor(links.shop, BOTH)
    await visitor.view(landing)
    assert "__Secure-gwclick" in visitor.jar
    await visitor.view("/thanks", "purchase", value="1.00")
    assert conversions(links.shop) == [("purchase", dict(parse_qsl(landing.partition("?")[2]))["cid"])]


async def test_the_event_itself_names_its_click_before_address_and_cookie(links: Links) -> None:
    await links.link("one")
    await links.link("two")
    visitor = Visitor(links.shop, BOTH)
    await visitor.click(links, "one")  # in the cookie
    landing = await Visitor(links.shop, BOTH).click(links, "two")
    own = "0" * 22
    await visitor.view(landing, "purchase", value="1.00", order_id="A1", click_id=own)
    await visitor.view(landing, "purchase", value="1.00", order_id="A2")
    assert [click_id for _, click_id in conversions(links.shop)] == [
        own,
        dict(parse_qsl(landing.partition("?")[2]))["cid"],
    ]


async def test_x5_after_a_refusal_nothing_names_the_click(links: Links) -> None:
    await links.link("spring")
    landing = await Visitor(links.shop, BOTH).click(links, "spring")
    visitor = Visitor(links.shop, 0)
    await visitor.view(landing, "purchase", value="1.00", click_id="0" * 22)
    assert conversions(links.shop) == [("purchase", None)]
    assert touches(links.shop) == []


async def test_a_refusal_later_takes_the_click_cookie_away(links: Links) -> None:
    await links.link("spring")
    visitor = Visitor(links.shop, BOTH)
    await visitor.click(links, "spring")
    visitor.jar |= {name: value for name, value in Visitor(links.shop, 0).jar.items() if "consent" in name}
    await visitor.view("/thanks", "purchase", value="1.00")
    assert conversions(links.shop) == [("purchase", None)]
    assert "__Secure-gwclick" not in visitor.jar


@pytest.mark.parametrize(("days", "named"), [(89, True), (91, False)])
async def test_e08_a_click_is_named_until_its_cookie_is_over(links: Links, days: int, named: bool) -> None:
    await links.make("campaigns", name="Friends", ambassadors=True)
    await links.link("spring")
    visitor = Visitor(links.shop, BOTH)
    await visitor.click(links, "spring")
    links.shop.move(seconds=days * 86_400)
    await visitor.view("/thanks", "purchase", value="1.00")  # a browser that keeps cookies past their time
    assert [click_id is not None for _, click_id in conversions(links.shop)] == [named]


# ------------------------------------------------------------------ which events


async def test_a_landing_is_one_contact_however_many_events_its_page_sends(links: Links) -> None:
    visitor = Visitor(links.shop, BOTH)
    page = "/sale?utm_source=letter&utm_medium=email"
    for name in ("page_view", "scroll", "add_to_cart", "page_view"):
        await visitor.view(page, name)
    assert len(touches(links.shop)) == 1
    await visitor.view(page.replace("letter", "other"))
    assert len(touches(links.shop)) == 2
    links.shop.move(seconds=1_801)
    await visitor.view(page)
    assert len(touches(links.shop)) == 3


async def test_an_event_that_is_sent_again_still_tells_of_its_landing(links: Links) -> None:
    visitor = Visitor(links.shop, BOTH)
    await visitor.view("/sale?utm_source=letter", id="again-0001")
    with_touch = links.shop.rows("select event_id from touch join event on seq = event_seq")
    await visitor.view("/sale?utm_source=letter", id="again-0001")
    assert (
        with_touch == [("again-0001",)] == links.shop.rows("select event_id from touch join event on seq = event_seq")
    )


async def test_a_page_typed_right_after_a_landing_begins_no_visit(links: Links) -> None:
    visitor = Visitor(links.shop, BOTH)
    await visitor.view("/sale?utm_source=letter", session=NOW_MS // 1000)
    await visitor.view("/plain", session=NOW_MS // 1000)  # within the second in which the visit began
    assert [touch["kind"] for touch in touches(links.shop)] == ["click"]
    links.shop.move(seconds=1_801)
    await visitor.view("/plain", session=NOW_MS // 1000 + 1_801)
    assert [touch["kind"] for touch in touches(links.shop)] == ["click", "direct"]


ARRIVALS: Final[dict[str, tuple[dict[str, Any], str, tuple[str, str, str, str] | None]]] = {
    "a search": (
        {"referrer": "https://www.google.de/search?q=x"},
        "/",
        ("referral", "organic_search", "google", "organic"),
    ),
    "another site": (
        {"referrer": "https://blog.example/post"},
        "/",
        ("referral", "referral", "blog.example", "referral"),
    ),
    "a campaign": ({}, "/?utm_source=news&utm_medium=email", ("click", "email", "news", "email")),
    "an advertisement": ({}, "/?gclid=Cj0KCQtest_123-x", ("click", "paid_search", "google", "cpc")),
    "an unknown link": ({}, "/?lid=gone", ("click", "referral", "(not set)", "link")),
    "the first page of a visit": ({"session": NOW_MS // 1000}, "/", ("direct", "direct", "(direct)", "(none)")),
    "a visit by name": ({"name": "session_start"}, "/", ("direct", "direct", "(direct)", "(none)")),
    "a later page": ({"session": NOW_MS // 1000 - 60}, "/", None),
    "no session": ({}, "/", None),
    "an own page": ({"referrer": f"{PAGE}/a", "session": NOW_MS // 1000}, "/", None),
    "an own subdomain": ({"referrer": "https://help.shop.example/"}, "/", None),
    "a payment page": ({"referrer": "https://www.paypal.com/checkout", "session": NOW_MS // 1000}, "/thanks", None),
}


@pytest.mark.parametrize("case", ARRIVALS)
async def test_an_arrival_is_named_by_where_it_came_from(links: Links, case: str) -> None:
    fields, path, expected = ARRIVALS[case]
    await Visitor(links.shop, BOTH).view(path, **fields)
    found = [(touch["kind"], touch["channel"], touch["source"], touch["medium"]) for touch in touches(links.shop)]
    assert found == ([expected] if expected is not None else [])


GRANTS: Final = {
    "analytics covers campaigns and referrers": (ANALYTICS, "/?utm_source=a&gclid=Cj0KCQtest_123-x", "a", False),
    "advertising covers click ids of platforms": (ADVERTISING, "/?utm_source=a&gclid=Cj0KCQtest_123-x", "google", True),
    "either covers links of our own": (ANALYTICS, "/?lid=spring", "(not set)", False),
    "nothing covers nothing": (0, "/?utm_source=a&gclid=Cj0KCQtest_123-x&lid=spring", None, False),
}


@pytest.mark.parametrize("case", GRANTS)
async def test_a_contact_holds_what_consent_covers(tmp_path: Path, case: str) -> None:
    granted, path, source, has_clicks = GRANTS[case]
    site = {**SITE, "id_needs": "advertising" if granted == ADVERTISING else "analytics", "cookieless": "daily"}
    async with running(tmp_path, shop=site) as shop:
        links = await links_of(shop)
        await links.link("spring")
        await Visitor(shop, granted).view(path, referrer="https://blog.example/")
        rows = shop.rows("select source, click_ids is not null, referrer from touch")
        assert [(row[0], bool(row[1])) for row in rows] == ([(source, has_clicks)] if source is not None else [])
        assert all((row[2] is not None) == (granted == ANALYTICS) for row in rows)


async def test_a_visitor_of_one_day_who_consented_to_nothing_leaves_no_contact(tmp_path: Path) -> None:
    async with running(tmp_path, shop={**SITE, "cookieless": "daily"}) as shop:
        await Visitor(shop, 0).view("/", session=NOW_MS // 1000)
        assert shop.rows("select visitor_kind from event") == [("daily",)]
        assert touches(shop) == []


async def test_robots_and_visitors_nobody_knows_leave_no_contact(links: Links) -> None:
    await links.shop.collect({"name": "page_view", "url": f"{PAGE}/?utm_source=a"})
    visitor = Visitor(links.shop, BOTH)
    await links.shop.collect(
        {"name": "page_view", "url": f"{PAGE}/?utm_source=a"}, cookie=visitor.cookie, User_Agent="Googlebot/2.1"
    )
    assert touches(links.shop) == []


async def test_the_path_of_the_landing_page_is_kept_and_nothing_else_of_its_address(links: Links) -> None:
    await Visitor(links.shop, BOTH).view(f"/jane@example.com/{'long/' * 50}?utm_source=a&token=secret")
    (touch,) = touches(links.shop)
    assert touch["landing"] == f"/[removed]/{'long/' * 50}"[:120]
    assert len(touch["landing"]) == 120


async def test_a_test_event_leaves_a_contact_marked_as_one(links: Links) -> None:
    await Visitor(links.shop, BOTH).view("/?utm_source=a", test=True)
    assert [touch["test"] for touch in touches(links.shop)] == [1]


async def test_parameters_under_names_of_the_owners_choice_are_read_and_never_kept(tmp_path: Path) -> None:
    named = {**SITE["links"], "click_parameter": "ref_click", "code_parameter": "ref_link"}
    async with running(tmp_path, shop={**SITE, "links": named}) as shop:
        links = await links_of(shop)
        link = await links.link("spring")
        visitor = Visitor(shop, BOTH)
        landing = await visitor.click(links, "spring")
        event_id = await visitor.view(f"{landing}&colour=red")
        (touch,) = touches(shop)
        assert touch["link_id"] == link["id"]
        assert touch["landed_click_id"] is not None
        (facts,) = [json.loads(row[0]) for row in shop.rows("select facts from event where event_id = ?", event_id)]
        assert facts["page"]["url"] == f"{PAGE}/sale?colour=red"


async def test_a_link_that_is_not_in_memory_is_named_by_its_slug(tmp_path: Path) -> None:
    async with running(tmp_path, shop=SITE) as shop:
        await (await links_of(shop)).link("spring")
    async with running(tmp_path, shop=SITE) as shop:
        await Visitor(shop, BOTH).view("/sale?lid=Spring")
        assert [touch["link_id"] for touch in touches(shop)] == ["spring"]


async def test_ambassador_credit_begins_with_consent_on_the_landing_page(links: Links) -> None:
    campaign = await links.make("campaigns", name="Friends", ambassadors=True)
    ambassador = await links.make("ambassadors", name="Ann", campaign_id=campaign["id"], code="ann")
    await links.link("ann-spring", ambassador_id=ambassador["id"])
    new = Visitor(links.shop, 0)
    landing = await new.click(links, "ann-spring")
    assert "cid" not in landing
    await new.view(landing)
    assert touches(links.shop) == []
    agreed = Visitor(links.shop, BOTH)
    await agreed.view(landing, "scroll", id="scroll-0001")  # the same page, after the banner
    (touch,) = touches(links.shop)
    assert (touch["ambassador_id"], touch["campaign_id"]) == (ambassador["id"], campaign["id"])
