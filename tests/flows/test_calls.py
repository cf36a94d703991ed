"""Calls: which number a page shows, to whom a number is lent, and what a call is joined to and counts for."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.clock import ManualClock
from gateway.flows.credit import credit_due
from gateway.flows.forget import forget
from gateway.flows.lines import KEPT_MS, LEASE_MS, Lease, Lines
from gateway.purposes import ADVERTISING, ANALYTICS
from gateway.times import MINUTE_MS
from tests.support.goals import Owner
from tests.support.running import AGENT, NOW_MS, PAGE, Running, Said, refused_with, running

SECRET: Final = "callrail-signing-key-0123456789"
DEFAULT: Final = "+4930100000"
SPRING: Final = "+4930100001"
GOOGLE: Final = "+4930100002"
ADS: Final = "+4930100003"
POOL: Final = ("+4930200001", "+4930200002")
CALLER: Final = "+14045551234"
ALL: Final = dict.fromkeys(("analytics", "advertising"), "granted")
NONE: Final = dict.fromkeys(ALL, "denied")

SITE: Final[dict[str, Any]] = {
    "webhook": [{"name": "calls", "adapter": "callrail", "secrets": [SECRET], "minimum_call_s": 45}],
    "number": [
        {"number": DEFAULT},
        {"number": SPRING, "campaign": "spring"},
        {"number": GOOGLE, "source": "google"},
        {"number": ADS, "campaign": "ads"},
        {"number": POOL[0], "campaign": "ads", "pool": True},
        {"number": POOL[1], "campaign": "ads", "pool": True},
    ],
}


class Browser:
    """A visitor's browser on pages of the shop."""

    def __init__(self, shop: Running, **headers: str) -> None:
        self.shop = shop
        self.headers = {"Origin": PAGE, "User-Agent": AGENT, **headers}
        self.cookies: dict[str, str] = {}

    @property
    def named(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**self.headers, **({"Cookie": cookie} if cookie else {})}

    def keep(self, said: Said) -> None:
        self.cookies |= said.cookies()
        self.cookies = {name: value for name, value in self.cookies.items() if value}

    async def choose(self, choice: dict[str, str]) -> "Browser":
        """Choose in the site's dialog, and look at a page."""
        said = await self.shop.send("POST", "/consent", headers=self.named, body={"choice": choice})
        assert said.status == 200, said
        self.keep(said)
        return await self.look()

    async def look(self, url: str = f"{PAGE}/") -> "Browser":
        """Look at a page."""
        said = await self.shop.send("POST", "/collect", headers=self.named, body={"name": "page_view", "url": url})
        assert said.status == 204, said
        self.keep(said)
        return self

    async def ask(self, query: str = "", method: str = "GET", **headers: str) -> Said:
        return await self.shop.send(method, f"/numbers.json{query}", headers={**self.named, **headers})

    async def number(self, query: str = "", **headers: str) -> str | None:
        """The number a page shows."""
        said = await self.ask(query, **headers)
        assert said.status == 200, said
        found: str | None = said.json()["number"]
        return found


async def ring(
    shop: Running, number: str, *, call: str = "CAL0001", at: str = "2026-11-20T12:05:00Z", **fields: Any
) -> Said:
    """What CallRail tells of a call after it ended."""
    body = json.dumps(
        {
            "resource_id": call,
            "answered": True,
            "duration": "95",
            "direction": "inbound",
            "start_time": at,
            "customer_phone_number": CALLER,
            "tracking_phone_number": number,
            "timestamp": shop.clock.now_ms() // 1000,
            **fields,
        }
    ).encode()
    mac = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha1")).decode()
    return await shop.send("POST", "/webhooks/calls", headers={"Signature": mac}, body=body)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, shop=SITE) as started:
        yield started


@pytest.fixture
async def owner(shop: Running) -> Owner:
    return await Owner.of(shop)


# ------------------------------------------------------------------ numbers on pages


async def test_c48_a_visitor_of_a_campaign_sees_the_number_of_that_campaign(shop: Running) -> None:
    browser = Browser(shop)
    assert await browser.number("?campaign=spring&source=google") == SPRING
    assert await browser.number("?campaign=SPRING") == SPRING
    assert await browser.number("?source=Google") == GOOGLE
    assert await browser.number("?campaign=unknown") == DEFAULT
    assert await browser.number() == DEFAULT


async def test_c48_the_utm_name_of_a_campaign_leads_to_its_number(shop: Running, owner: Owner) -> None:
    await owner.campaign(name="Spring", code="spring", utm={"campaign": "spring-sale-26"})
    assert await Browser(shop).number("?campaign=Spring-Sale-26") == SPRING


async def test_the_number_of_a_visitor_stays_on_pages_that_do_not_name_the_campaign(shop: Running) -> None:
    browser = await Browser(shop).choose(ALL)
    assert await browser.number("?campaign=spring") == SPRING
    shop.move(seconds=LEASE_MS / 1000 - 1)
    assert await browser.number() == SPRING
    shop.move(seconds=LEASE_MS / 1000)
    assert await browser.number() == DEFAULT


async def test_a_pool_number_is_lent_to_one_visit_and_to_no_other_for_thirty_minutes(shop: Running) -> None:
    one, two, three = [await Browser(shop).choose(ALL) for _ in range(3)]
    lent = [await one.number("?campaign=ads"), await two.number("?campaign=ads")]
    assert sorted(number or "" for number in lent) == sorted(POOL)
    assert await three.number("?campaign=ads") == ADS, "none is left: the campaign's own number"
    assert await one.number() == lent[0], "the same visit keeps its number"
    shop.move(seconds=LEASE_MS / 1000 - 1)
    assert await one.number("?campaign=ads") == lent[0]
    assert await three.number("?campaign=ads") == ADS
    shop.move(seconds=1)
    assert await three.number("?campaign=ads") == lent[1], "one looked again and keeps its number, two did not"
    assert len(shop.log("numbers_exhausted")) == 1


async def test_the_answer_says_how_long_a_number_is_lent(shop: Running) -> None:
    browser = await Browser(shop).choose(ALL)
    assert (await browser.ask("?campaign=ads")).json()["lent_s"] == 1_800
    assert (await browser.ask("?campaign=spring")).json() == {"number": SPRING, "lent_s": None}


@pytest.mark.parametrize("choice", [None, NONE], ids=["nothing chosen", "refused"])
async def test_without_consent_the_campaigns_own_number_is_shown_and_nothing_is_kept(
    shop: Running, choice: dict[str, str] | None
) -> None:
    browser = Browser(shop)
    if choice is not None:
        await browser.choose(choice)
    before = shop.everything_stored()
    said = await browser.ask("?campaign=ads")
    assert (said.json()["number"], said.header("set-cookie")) == (ADS, None)
    assert shop.everything_stored() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-GPC": "1"},
        {"Sec-Purpose": "prefetch"},
        {"User-Agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"},
    ],
    ids=["opted out", "prefetched", "a robot"],
)
async def test_a_number_is_lent_to_people_who_look(shop: Running, headers: dict[str, str]) -> None:
    browser = await Browser(shop).choose({**ALL, "analytics": "denied"} if "Sec-GPC" in headers else ALL)
    assert await browser.number("?campaign=ads", **headers) == ADS
    assert shop.count("timer") == 0


async def test_a_daily_id_may_be_lent_a_number_too(tmp_path: Path) -> None:
    settings = {**SITE, "cookieless": "daily", "id_needs": "advertising"}
    async with running(tmp_path, shop=settings) as shop:
        browser = await Browser(shop).choose({"analytics": "granted", "advertising": "denied"})
        assert await browser.number("?campaign=ads") in POOL
        refusing = await Browser(shop, **{"User-Agent": f"{AGENT} Other/1"}).choose(NONE)
        assert await refusing.number("?campaign=ads") == ADS


async def test_pages_of_strangers_get_no_number(shop: Running) -> None:
    browser = Browser(shop)
    browser.headers["Origin"] = "https://evil.example"
    with shop.refusing("/numbers.json", "domain_not_allowed"):
        refused_with(await browser.ask(), 403, "domain_not_allowed")
    said = await Browser(shop).ask()
    assert said.header("access-control-allow-origin") == PAGE
    assert said.header("access-control-allow-credentials") == "true"


async def test_a_site_without_numbers_shows_none(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        assert await Browser(shop).number("?campaign=ads") is None


async def test_asking_only_for_the_head_lends_nothing(shop: Running) -> None:
    browser = await Browser(shop).choose(ALL)
    assert (await browser.ask("?campaign=ads", "HEAD")).status == 200
    assert shop.count("timer") == 0


# ------------------------------------------------------------------ calls


async def test_c47_a_call_to_a_campaigns_number_is_a_conversion_of_that_campaign(shop: Running, owner: Owner) -> None:
    campaign = await owner.campaign(name="Spring", code="spring", channel="ad", tracking=True)
    await owner.goal(name="Phone call", code="call", type="call", call_min_s=60)
    said = await ring(shop, SPRING)
    assert (said.status, said.json()) == (200, {"received": "counted"})
    assert shop.rows("select goal, order_id, fate, campaign_id from conversion") == [
        ("call", "CAL0001", "counted", campaign["id"])
    ]
    assert shop.rows("select kind, channel, campaign_name, campaign_id, visitor_key from touch") == [
        ("call", "ad", "Spring", campaign["id"], None)
    ]
    await credit_due(shop.gateway.house)
    assert shop.rows("select kind, campaign_id, share_e9 from credit") == [("call", campaign["id"], 1_000_000_000)]


async def test_k18_a_call_is_joined_to_the_click_that_led_to_it(shop: Running, owner: Owner) -> None:
    """Online click, offline effect: the visit that was shown the number is the one that called."""
    await owner.goal(name="Phone call", code="call", type="call", call_min_s=60, model="first_click")
    browser = await Browser(shop).choose(ALL)
    await browser.look(f"{PAGE}/?utm_source=google&utm_medium=cpc&utm_campaign=ads&gclid=Cj0abc123")
    number = await browser.number("?campaign=ads&source=google")
    assert number in POOL
    shop.move(seconds=300)
    assert (await ring(shop, number or "")).json() == {"received": "counted"}
    ((visitor,),) = shop.rows("select distinct visitor_key from event where name = 'page_view'")
    assert visitor is not None
    assert shop.rows("select visitor_key from event where name = 'call'") == [(visitor,)]
    await credit_due(shop.gateway.house)
    assert shop.rows("select channel, source from credit where share_e9 > 0") == [("paid_search", "google")]


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"duration": "60"}, "counted"),
        ({"duration": "59"}, "recorded"),
        ({"duration": None}, "recorded"),
        ({"answered": False, "duration": "90"}, "recorded"),
        ({"voicemail": True, "duration": "90"}, "recorded"),
    ],
    ids=["long enough", "a second short", "not over yet", "missed", "only the voicemail"],
)
async def test_c47_a_call_counts_when_it_was_answered_and_lasted_long_enough(
    shop: Running, owner: Owner, fields: dict[str, Any], fate: str
) -> None:
    await owner.goal(name="Phone call", code="call", type="call", call_min_s=60)
    assert (await ring(shop, SPRING, **fields)).json()["received"] == fate
    assert shop.count("conversion") == (fate == "counted")
    assert shop.count("touch") == (fields.get("answered", True) and not fields.get("voicemail"))


async def test_every_goal_that_counts_calls_counts_this_one_by_its_own_rule(shop: Running, owner: Owner) -> None:
    await owner.goal(name="Phone call", code="call", type="call", call_min_s=30)
    await owner.goal(name="Long call", code="long_call", type="call", call_min_s=90)
    await owner.goal(name="Very long call", code="very_long_call", type="call", call_min_s=600)
    await ring(shop, SPRING)
    assert shop.rows("select goal from conversion order by goal") == [("call",), ("long_call",)]
    assert shop.count("touch") == 1


async def test_without_a_goal_for_calls_the_webhooks_minimum_decides(shop: Running) -> None:
    assert (await ring(shop, SPRING, duration="45")).json()["received"] == "counted"
    assert (await ring(shop, SPRING, call="CAL0002", duration="44")).json()["received"] == "recorded"
    assert (await ring(shop, SPRING, call="CAL0003", answered=False, duration="0")).json()["received"] == "recorded"
    assert shop.rows("select name from event order by seq") == [("call",), ("call_short",), ("call_missed",)]
    assert shop.count("conversion") == 1


async def test_a_call_counts_once_whatever_is_told_of_it(shop: Running, owner: Owner) -> None:
    await owner.goal(name="Phone call", code="call", type="call", call_min_s=60)
    assert (await ring(shop, SPRING, answered=False, duration=None)).json()["received"] == "recorded"
    assert (await ring(shop, SPRING, duration="95")).json()["received"] == "counted"
    assert (await ring(shop, SPRING, duration="95")).json()["received"] == "duplicate"
    assert (await ring(shop, SPRING, duration="97")).json()["received"] == "duplicate"
    assert shop.rows("select count(*) from conversion where fate = 'counted'") == [(1,)]
    assert shop.rows("select kind, count(*) from touch group by kind") == [("call", 1)]


async def test_a_call_to_a_pool_number_belongs_to_the_visit_of_that_time(shop: Running) -> None:
    one = await Browser(shop).choose(ALL)
    number = await one.number("?campaign=ads")
    await (await Browser(shop).choose(ALL)).number("?campaign=ads")
    shop.move(seconds=LEASE_MS / 1000)
    two = await Browser(shop).choose(ALL)
    assert await two.number("?campaign=ads") == number
    await ring(shop, number or "", at="2026-11-20T12:29:59Z")
    await ring(shop, number or "", at="2026-11-20T12:30:00Z", call="CAL0002")
    keys = [row[0] for row in shop.rows("select visitor_key from event where name = 'call' order by seq")]
    assert None not in keys
    assert keys[0] != keys[1]


async def test_who_refused_before_the_call_is_told_is_not_joined(shop: Running) -> None:
    browser = await Browser(shop).choose(ALL)
    number = await browser.number("?campaign=ads")
    await browser.choose(NONE)
    await ring(shop, number or "")
    assert shop.rows("select visitor_key from event where name = 'call'") == [(None,)]
    assert shop.rows("select campaign_name from touch where kind = 'call'") == [("ads",)]


async def test_a_call_is_allowed_no_more_than_the_visit_was(tmp_path: Path) -> None:
    """Where silence grants, an opt-out signal came with the visit and with nothing else: the call remembers it."""
    async with running(tmp_path, shop={**SITE, "regime": "opt_out"}) as shop:
        browser = await Browser(shop, **{"Sec-GPC": "1"}).look()
        number = await browser.number("?campaign=ads")
        assert number in POOL
        await ring(shop, number or "")
        ((event_id, visitor),) = shop.rows("select event_id, visitor_key from event where name = 'call'")
        assert visitor is not None
        granted = shop.facts(event_id)["judgement"]["granted"]
        assert (bool(granted & ANALYTICS), bool(granted & ADVERTISING)) == (True, False)


async def test_an_erasure_ends_the_lease(shop: Running) -> None:
    browser = await Browser(shop).choose(ALL)
    number = await browser.number("?campaign=ads")
    ((key,),) = shop.rows("select subject_key from timer")
    house = shop.gateway.house
    await forget(house, house.by_id["shop"], key, method="test")
    assert shop.count("timer") == 0
    await ring(shop, number or "")
    assert shop.rows("select visitor_key from event where name = 'call'") == [(None,)]


async def test_a_lease_outlives_the_process(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    async with running(tmp_path, clock=clock, shop=SITE) as shop:
        number = await (await Browser(shop).choose(ALL)).number("?campaign=ads")
        ((sealed,),) = shop.rows("select payload from timer")
        assert (number or "").encode() not in sealed
    clock.move(ms=10 * MINUTE_MS)
    async with running(tmp_path, clock=clock, shop=SITE) as shop:
        await ring(shop, number or "")
        assert shop.rows("select visitor_key is not null from event where name = 'call'") == [(1,)]
        other = await (await Browser(shop).choose(ALL)).number("?campaign=ads")
        assert other in POOL
        assert other != number, "what was lent before the start is still lent"


async def test_a_number_nobody_set_up_leaves_the_trackers_own_words(shop: Running) -> None:
    await ring(shop, "+14047773734", utm_source="bing", utm_campaign="winter jane.doe@example.com")
    assert shop.rows("select source, campaign_name from touch") == [("bing", "winter [removed]")]


async def test_the_callers_number_is_stored_nowhere(shop: Running) -> None:
    await ring(shop, SPRING)
    whole = b"".join(path.read_bytes() for path in (shop.directory / "data").glob("gateway.db*"))
    assert CALLER[1:].encode() not in whole
    assert CALLER[1:] not in shop.log_text


async def test_an_outgoing_call_is_nobodys_contact(shop: Running) -> None:
    assert (await ring(shop, SPRING, direction="outbound")).json()["received"] == "recorded"
    assert (shop.count("touch"), shop.count("conversion")) == (0, 0)


# ------------------------------------------------------------------ leases


def lease(number: str, subject: bytes, from_ms: int, until_ms: int) -> Lease:
    return Lease(
        number=number, subject_key=subject, visitor_id=None, issued_day=None, from_ms=from_ms, until_ms=until_ms,
        campaign="", source="", granted=0,
    )  # fmt: skip


def test_the_number_that_rested_longest_is_lent_next() -> None:
    lines = Lines()
    lines.put(lease("a", b"1", 0, 100))
    lines.put(lease("b", b"2", 0, 50))
    assert lines.free(["a", "b"], b"3", 100) == "b"
    assert lines.free(["a", "b"], b"1", 100) == "a", "who had a number gets it again"
    assert lines.free(["a", "b"], b"3", 40) is None
    assert lines.free(["a", "b", "c"], b"3", 40) == "c"


def test_a_number_is_a_visits_from_the_first_to_before_the_last_millisecond() -> None:
    lines = Lines()
    lines.put(lease("a", b"1", 10, 100))
    lines.put(lease("a", b"2", 100, 200))
    found = [lines.at("a", at_ms) for at_ms in (9, 10, 99, 100, 199, 200)]
    assert [one.subject_key if one is not None else None for one in found] == [None, b"1", b"1", b"2", b"2", None]


def test_a_longer_lease_replaces_the_shorter_one_of_the_same_visit() -> None:
    lines = Lines()
    lines.put(lease("a", b"1", 10, 100))
    lines.put(lease("a", b"1", 10, 150))
    assert lines.held(b"1", 120) is not None
    lines.take_back(lease("a", b"1", 10, 150))
    assert lines.held(b"1", 20) is None


def test_what_is_long_over_is_forgotten() -> None:
    lines = Lines()
    lines.put(lease("a", b"1", 0, 100))
    lines.put(lease("a", b"2", 100 + KEPT_MS - 1, 200 + KEPT_MS))
    assert lines.at("a", 50) is not None
    lines.put(lease("a", b"3", 200 + KEPT_MS + 1, 300 + KEPT_MS))
    assert lines.at("a", 50) is None
