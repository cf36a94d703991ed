"""Credit in a real browser, from the click to what the journey API says about the order, on a clock that is moved.

The shop, the gateway and its credit worker run as in service. The browser's pages are told the moved time too; its cookies
are kept by the machine's own clock, so they are always there and only the gateway judges how old they are.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page

from gateway.caller import RIGHTS
from gateway.entropy import SystemEntropy
from gateway.flows import click_keeping, keys
from gateway.sandbox.config import default_config
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST
from gateway.sandbox.shop import shop_app
from gateway.times import DAY_MS
from tests.faults.inside import Inside, inside, until
from tests.journeys.conftest import OpenContext, decide
from tests.journeys.staging import Stage, settled, true_on

pytestmark = pytest.mark.slow  # a browser for every one of them

LINK_HOST: Final = "go.shop.localhost"
OTHER_HOST: Final = "kiosk.localhost"
SITE: Final[dict[str, Any]] = {
    "cookie_domain": SHOP_HOST,
    "domains": [SHOP_HOST, OTHER_HOST],
    "links": {"hosts": [LINK_HOST]},
}
DAY_S: Final = DAY_MS // 1000
GRANT: Final = "window.gateway = [['consent', {analytics: 'granted', advertising: 'granted'}]];"


class Shop:
    """A shop with links, pages a test writes itself, and the owner who asks the journey API."""

    def __init__(self, running: Inside, stage: Stage, url: str) -> None:
        self.running = running
        self.stage = stage
        self.url = url
        self._key = ""

    async def owner(self) -> dict[str, str]:
        """The owner's key, as headers."""
        if not self._key:
            made = await keys.create(self.running.house, title="", sites=(), rights=tuple(RIGHTS), must_sign=False)
            self._key = str(made["key"])
        return {"Authorization": f"Bearer {self._key}"}

    async def make(self, plural: str, **fields: Any) -> dict[str, Any]:
        """Make an entry of the catalogue. Answers everything that was told about it."""
        said = await self.running.call("POST", f"/api/v1/{plural}", json.dumps(fields).encode(), await self.owner())
        assert said.status == 201, said
        found: dict[str, Any] = json.loads(said.body)
        return found

    async def link(self, code: str, **fields: Any) -> dict[str, Any]:
        made = await self.make("links", **{"code": code, "target": self.url, **fields})
        found: dict[str, Any] = made["link"]
        return found

    def address(self, code: str) -> str:
        return f"http://{LINK_HOST}:{self.running.gateway.port}/{code}"

    async def asked(self, path: str) -> dict[str, Any]:
        """Ask the public API as the owner."""
        said = await self.running.call("GET", path, b"", await self.owner())
        assert said.status == 200, said
        found: dict[str, Any] = json.loads(said.body)
        return found

    async def conversions(self) -> list[dict[str, Any]]:
        """Every conversion that counts, oldest first, as the journey API lists them."""
        begun = datetime.fromtimestamp(self.running.clock.now_ms() // 1000 - 100 * DAY_S, UTC).date()
        found: list[dict[str, Any]] = (await self.asked(f"/api/v1/conversions?from={begun}"))["conversions"]
        return found

    async def journey(self, order_id: str, query: str = "") -> dict[str, Any]:
        """The journey of an order, once it was decided."""
        found: dict[str, Any] = {}

        async def decided() -> bool:
            for one in await self.conversions():
                if one["order_id"] == order_id and one["credit"]["state"] != "waiting":
                    found["id"] = one["conversion_id"]
            return "id" in found

        await until(decided, what=order_id)
        return await self.asked(f"/api/v1/conversions/{found['id']}{query}")

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        found: list[tuple[Any, ...]] = await self.running.house.store._rows(sql)  # type: ignore[attr-defined] # SQLite's
        return found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not send a click to the spool where a test looks for it in the store."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with inside(tmp_path / "data", default_config(), only=(), **SITE) as running:
        gateway = f"http://{GATEWAY_HOST}:{running.gateway.port}"
        async with (
            served(shop_app(gateway=gateway, entropy=SystemEntropy())) as port,
            Stage(gateway).served() as stage,
        ):
            yield Shop(running, stage, f"http://{SHOP_HOST}:{port}/")


# ------------------------------------------------------------------ what a visitor does


async def visit(context: BrowserContext, shop: Shop, address: str) -> Page:
    """Open an address in a new tab, at the time it is for everybody."""
    page = await context.new_page()
    now = datetime.fromtimestamp(shop.running.clock.now_ms() / 1000, UTC)
    await page.clock.set_system_time(now)
    await page.goto(address)
    return page


async def order(page: Page, shop: Shop) -> str:
    """Buy a pair of shoes for 89.90 euros. Answers the order number."""
    await page.goto(f"{shop.url}products/shoe-red")
    await page.click("#buy")
    await page.wait_for_url("**/checkout*")
    await page.click("#pay")
    await page.wait_for_url("**/thanks/*")
    return await page.inner_text("#order-id")


async def track(page: Page, name: str, **data: Any) -> None:
    """Call the tag as a shop's own script does, and wait until the gateway has it."""
    async with page.expect_response(lambda response: response.url.endswith("/collect")) as answered:
        await page.evaluate("([name, data]) => gateway.track(name, data)", [name, data])
    assert (await answered.value).status == 204


def by_link(found: dict[str, Any], code: str) -> list[dict[str, Any]]:
    """Touches of a journey that came by a link."""
    return [touch for touch in found["touches"] if (touch["link"] or {}).get("code") == code]


def earned(found: dict[str, Any]) -> list[str | None]:
    """By which links what a conversion earned was earned."""
    return [(touch["link"] or {}).get("code") for touch in found["touches"] if touch.get("share")]


class Console:
    """What stood in the console of a page as a warning or an error."""

    def __init__(self, page: Page) -> None:
        self.lines: list[str] = []
        page.on("console", lambda line: self.lines.append(line.text) if line.type in {"error", "warning"} else None)

    async def says(self, text: str) -> str:
        """Wait for a line with a text in it."""
        await until(lambda: any(text in line for line in self.lines), 10, self.lines)
        return next(line for line in self.lines if text in line)


# ------------------------------------------------------------------ days


async def test_p44_p45_p46_a_click_is_credited_on_days_1_and_5_and_not_on_day_35(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring")
    async with open_context() as context:
        page = await visit(context, shop, shop.address("spring"))
        await decide(page, "all")
        orders = [await order(page, shop)]
        await page.close()
        for days in (4, 30):
            shop.running.pass_time(s=days * DAY_S)
            page = await visit(context, shop, f"{shop.url}plain")
            orders.append(await order(page, shop))
            await page.close()
    first, fifth, late = [await shop.journey(one) for one in orders]
    for found in (first, fifth):
        assert (found["credit"]["state"], found["rules"]["click_window_days"]) == ("credited", 30)
        assert found["credit"]["winner"]["link"]["code"] == "spring"
        assert earned(found) == ["spring"]
        assert found["credit"]["winner"]["value"] == "89.90"
    assert first["credit"]["seconds_to_convert"] < 3_600
    assert 4 * DAY_S <= fifth["credit"]["seconds_to_convert"] < 4 * DAY_S + 3_600
    assert "spring" not in earned(late)
    assert {touch["excluded"] for touch in by_link(late, "spring")} == {"outside_window"}
    assert all(touch["because"].startswith("The touch is older") for touch in by_link(late, "spring"))
    assert [one["fate"] for one in (first, fifth, late)] == ["counted"] * 3, "all three are sales all the same"


# ------------------------------------------------------------------ ambassadors


async def test_e04_e12_an_ambassadors_link_is_credited_and_anothers_coupon_wins_over_it(
    shop: Shop, open_context: OpenContext
) -> None:
    campaign = (await shop.make("campaigns", name="Friends"))["campaign"]
    for name in ("anna", "ben"):
        made = await shop.make("ambassadors", name=name.title(), code=name, campaign_id=campaign["id"], target=shop.url)
        assert made["link"]["code"] == name
        coupon = {"code": f"{name.upper()}10", "campaign_id": campaign["id"]}
        await shop.make("coupons", **coupon, ambassador_id=made["ambassador"]["id"])
    async with open_context() as context:
        page = await visit(context, shop, shop.address("anna"))
        assert "via=anna" in page.url
        await decide(page, "all")
        plain = await shop.journey(await order(page, shop))
        await page.goto(f"{shop.url}plain")
        await track(page, "purchase", order_id="WITH-COUPON", value="50.00", currency="EUR", coupons=[" ben10 "])
        used = await shop.journey("WITH-COUPON")
    winner = plain["credit"]["winner"]
    assert (winner["ambassador"]["name"], winner["campaign"]["name"], winner["value"]) == ("Anna", "Friends", "89.90")
    steps = [(step["what"], step["name"]) for step in plain["timeline"]]
    assert steps[0] == ("touch", "click")
    assert ("event", "page_view") in steps
    assert steps[-1] == ("conversion", "purchase")
    credit = used["credit"]
    assert (credit["matched_by"], credit["matched_because"]) == ("coupon", "by the coupon on the order")
    assert (credit["winner"]["kind"], credit["winner"]["ambassador"]["name"]) == ("coupon", "Ben")
    assert credit["winner"]["value"] == "50.00"
    assert {touch["excluded"] for touch in by_link(used, "anna")} == {"coupon_override"}
    assert by_link(used, "anna")[0]["because"] == "The order carries a coupon, and this goal gives it all credit."


# ------------------------------------------------------------------ refunds


async def test_a_refund_changes_what_the_order_is_worth_and_what_its_link_earned(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring")
    async with open_context() as context:
        page = await visit(context, shop, shop.address("spring"))
        await decide(page, "all")
        number = await order(page, shop)
    before = await shop.journey(number)
    refund = {"kind": "refund", "value": "30.00", "reason": "returned", "adjustment_id": "refund-0001"}
    for status in ("recorded", "repeated"):
        said = await shop.running.api(f"/api/v1/conversions/order:{number}/adjustments", refund)
        assert (said.status, json.loads(said.body)["status"]) == (200, status)
    after = await shop.journey(number)
    worth = [(one["value"], one["net_value"], one["fate"]) for one in (before, after)]
    assert worth == [("89.90", "89.90", "counted"), ("89.90", "59.90", "counted")]
    (touch,) = [touch for touch in after["touches"] if touch.get("winner")]
    assert (touch["link"]["code"], touch["value"], touch["net_value"]) == ("spring", "89.90", "59.90")
    assert [(step["what"], step["net_value"]) for step in after["value_history"]] == [
        ("counted", "89.90"),
        ("refund", "59.90"),
    ]
    earned_by_day = "select sum(amount_minor), sum(net_minor) from credit_day"
    assert await shop.rows(earned_by_day) == [(8_990, 5_990)]


# ------------------------------------------------------------------ two campaigns


@pytest.mark.parametrize(
    ("model", "winner", "shares"),
    [
        ("first_click", "letter", [1, 0]),
        ("position_40_20_40", "message", [0.5, 0.5]),
        ("last_click", "message", [0, 1]),
    ],
)
async def test_e04_of_two_campaigns_the_goals_model_chooses_and_the_other_is_shown_in_its_place(
    shop: Shop, open_context: OpenContext, model: str, winner: str, shares: list[float]
) -> None:
    await shop.make("goals", name="Order", code="purchase", type="purchase", model=model)
    for name, channel in (("letter", "email"), ("message", "sms")):
        campaign = (await shop.make("campaigns", name=name.title(), channel=channel))["campaign"]
        await shop.link(name, campaign_id=campaign["id"])
    async with open_context() as context:
        page = await visit(context, shop, shop.url)
        await decide(page, "all")
        await page.close()
        for name in ("letter", "message"):
            shop.running.pass_time(s=DAY_S)
            page = await visit(context, shop, shop.address(name))
            await page.wait_for_url(f"{shop.url}*lid={name}*")
            await settled()
        found = await shop.journey(await order(page, shop))
    assert (found["rules"]["model"], found["credit"]["model"]) == (model, model)
    assert found["credit"]["path"] == "email > sms"
    assert found["credit"]["winner"]["link"]["code"] == winner
    path = [touch for touch in found["touches"] if "share" in touch]
    assert [(touch["position"], touch["link"]["code"], touch["share"]) for touch in path] == [
        (place, name, share)
        for place, (name, share) in enumerate(zip(("letter", "message"), shares, strict=True), path[0]["position"])
    ]
    assert [touch["campaign"]["name"] for touch in path] == ["Letter", "Message"]
    assert [touch["winner"] for touch in path] == [name == winner for name in ("letter", "message")]


# ------------------------------------------------------------------ consent


async def test_e05_e25_refused_the_click_counts_nobody_is_credited_and_nothing_is_kept_on_the_device(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring")
    async with open_context() as context:
        page = await visit(context, shop, shop.address("spring"))
        assert "cid=" not in page.url
        assert await context.cookies() == []
        await decide(page, "none")
        number = await order(page, shop)
        cookies = {cookie["name"] for cookie in await context.cookies() if "name" in cookie}
        kept = await page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
    found = await shop.journey(number)
    assert cookies == {"__Secure-gwconsent"}, "the choice alone is remembered"
    assert set(kept[0]) <= {"gwc", "shop-consent"}, kept
    assert kept[1] == []
    assert await shop.rows("select kind, human, consent, visitor_key from touch") == [("click", "yes", 0, None)]
    assert await shop.rows("select sum(touches) from touch_day where kind = 'click' and human = 'yes'") == [(1,)]
    assert (found["fate"], found["value"]) == ("counted", "89.90")
    assert (found["credit"]["state"], found["credit"]["winner"], found["credit"]["why"]) == (
        "unattributed",
        None,
        "no_touch",
    )
    assert found["touches"] == []


async def test_consent_on_the_landing_page_is_enough_because_the_address_names_the_link(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring")
    async with open_context() as context:
        page = await visit(context, shop, shop.address("spring"))
        assert ("lid=spring" in page.url, "cid=" in page.url) == (True, False)
        await decide(page, "all")
        found = await shop.journey(await order(page, shop))
    assert found["click_id"] is None
    assert (found["credit"]["matched_by"], found["credit"]["winner"]["link"]["code"]) == ("device", "spring")
    clicks = "select kind, consent, click_id is not null, landed_click_id from touch order by touch_no"
    assert await shop.rows(clicks) == [("click", 0, 1, None), ("click", 1, 0, None)]


# ------------------------------------------------------------------ what the console says


async def test_e26_a_page_of_a_domain_the_campaign_does_not_list_is_told_so_in_the_console(
    shop: Shop, open_context: OpenContext
) -> None:
    """The site takes events of that domain; this campaign takes conversions of its own domain only."""
    await shop.make("campaigns", name="Spring", code="SPRING", tracking=True, domains=[SHOP_HOST])
    attributes = "data-campaign='SPRING' data-event='purchase' data-value='10.00' data-currency='EUR'"
    async with open_context() as context:
        address = shop.stage.write("/thanks", script=GRANT, attributes=attributes)
        for host in (OTHER_HOST, "stranger.localhost"):
            page = await context.new_page()
            console = Console(page)
            await page.goto(address.replace(SHOP_HOST, host))
            assert host in await console.says("Tracking blocked for this domain")
            await page.close()
        assert await shop.rows("select count(*) from conversion") == [(0,)]
        assert [one for one in await context.cookies() if one.get("domain") == OTHER_HOST] == []
        page = await context.new_page()
        console = Console(page)
        await page.goto(address)
        await until(lambda: _counted(shop, 1))
        assert [line for line in console.lines if "Tracking" in line] == []


async def _counted(shop: Shop, number: int) -> bool:
    return await shop.rows("select count(*) from conversion") == [(number,)]


async def test_e27_a_wrong_campaign_code_is_a_warning_in_the_console_and_the_page_view_counts(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.make("campaigns", name="Spring", code="SPRING", tracking=True)
    await shop.make("campaigns", name="Autumn", code="AUTUMN", tracking=False)
    async with open_context() as context:
        for code, said in (("SPRNG", "campaign_unknown"), ("AUTUMN", "campaign_tracking_off")):
            attributes = f"data-campaign='{code}' data-event='purchase' data-value='10.00' data-currency='EUR'"
            page = await context.new_page()
            console = Console(page)
            await page.goto(shop.stage.write(f"/{code}", script=GRANT, attributes=attributes))
            assert await console.says("Tracking dropped") == f"Tracking dropped {said}"
            await page.close()
        assert await shop.rows("select name, count(*) from event group by name") == [("page_view", 2)]
        attributes = "data-campaign='spring' data-event='purchase' data-value='10.00' data-currency='EUR'"
        page = await context.new_page()
        console = Console(page)
        await page.goto(shop.stage.write("/right", script=GRANT, attributes=attributes))
        await until(lambda: _counted(shop, 1))
        assert [line for line in console.lines if "Tracking" in line] == []
    (one,) = await shop.conversions()
    assert one["campaign"]["name"] == "Spring"


# ------------------------------------------------------------------ a page that is seen again


@pytest.mark.parametrize("numbered", [True, False], ids=["with an order number", "without one"])
async def test_e16_e17_a_thank_you_page_seen_again_is_one_conversion(
    shop: Shop, open_context: OpenContext, *, numbered: bool
) -> None:
    await shop.make("campaigns", name="Spring", code="SPRING", tracking=True)
    attributes = "data-campaign='SPRING' data-event='purchase' data-value='10.00' data-currency='EUR'"
    attributes += " data-order-id='A-1'" if numbered else ""
    address = shop.stage.write("/thanks", script=GRANT, attributes=attributes)
    elsewhere = shop.stage.write("/elsewhere", script=GRANT)
    views = 2
    async with open_context() as context:
        page = await context.new_page()  # on the machine's own clock: a page's false one hides how it was opened
        await page.goto(address)
        await until(lambda: _counted(shop, 1))
        await page.reload()
        await true_on(page, "!!gateway.version")
        await page.goto(elsewhere)
        await page.go_back()
        await settled()
        if numbered:
            await page.close()
            page = await context.new_page()
            await page.goto(address)
            views += 1
            await until(lambda: _duplicates(shop, 1))
        await settled()
    (one,) = await shop.conversions()
    assert (one["fate"], one["value"], one["campaign"]["name"]) == ("counted", "10.00", "Spring")
    seen = await shop.rows("select count(*) from event where name = 'page_view'")
    assert seen[0][0] >= views
    assert await shop.rows("select fate, count(*) from conversion group by 1 order by 1") == [
        ("counted", 1),
        *([("duplicate", 1)] if numbered else []),
    ]


async def _duplicates(shop: Shop, number: int) -> bool:
    found = await shop.rows("select count(*) from conversion where fate = 'duplicate'")
    return found == [(number,)]
