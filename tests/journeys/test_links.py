"""Links in a real browser: from the click to the order that is credited with it.

The link host and the shop's pages belong to one registrable domain, as in service: cookies set on the redirect are
first-party ones. The credit worker runs beside, as in service.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, async_playwright

from gateway.flows import cataloguing, click_keeping
from gateway.sandbox.demo import SHOP_HOST, Demo
from gateway.stores.contract_credit import AttributionRow, Contact
from tests.journeys.conftest import AGENT, FLAGS, OpenContext, buy, chromium, decide
from tests.journeys.staging import demo_of, settled, until
from tests.rooms.test_link_qr import png_picture, read

pytestmark = pytest.mark.slow  # a browser for every one of them

LINK_HOST: Final = "go.shop.localhost"
SITE: Final[dict[str, Any]] = {"cookie_domain": SHOP_HOST, "links": {"hosts": [LINK_HOST]}}
CLICK_COOKIE: Final = "__Secure-gwclick"
PHONE: Final = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not send a click to the spool where a test looks for it in the store."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)


class Shop:
    """The demo with links, and what its store knows afterwards."""

    def __init__(self, demo: Demo) -> None:
        assert demo.gateway is not None
        self.demo = demo
        self.house = demo.gateway.house
        self.port = demo.gateway.port

    @property
    def site(self) -> str:
        return self.demo.urls["shop"]

    async def make(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Make an entry of the catalogue, as its owner does."""
        made = await cataloguing.create(self.house, self.house.by_id["shop"], kind, json.dumps(fields).encode())
        entry: dict[str, Any] = msgspec.to_builtins(made)[kind]
        return entry

    async def link(self, code: str, **fields: Any) -> dict[str, Any]:
        return await self.make("link", **{"code": code, "target": self.site, **fields})

    def address(self, code: str) -> str:
        return f"http://{LINK_HOST}:{self.port}/{code}"

    async def clicks(self) -> list[Contact]:
        """Contacts without a visitor, and with one, oldest first: the clicks and the landings."""
        keys = {
            key for (key,) in await self._rows("select distinct visitor_key from touch where visitor_key is not null")
        }
        ids = [one for (one,) in await self._rows("select click_id from touch where click_id is not null")]
        found = await self.house.store.contacts(
            "shop", visitor_keys=list(keys), click_ids=ids, after_ms=0, upto_ms=1 << 53, limit=1_000
        )
        return sorted(found, key=lambda contact: contact.touch_no)

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = await self.house.store._rows(sql)  # type: ignore[attr-defined] # what SQLite has
        return rows

    async def order(self, order_id: str) -> tuple[Any, AttributionRow]:
        """The conversion of an order and the decision about it, once there is one."""
        for _ in range(500):
            for conversion in await self.house.store.conversions_of_order("shop", order_id):
                decided = await self.house.store.attribution(conversion.conversion_id)
                if decided is not None:
                    return conversion, decided
            await asyncio.sleep(0.02)
        raise AssertionError(f"{order_id} was not credited")


@asynccontextmanager
async def selling(directory: Path, **site: Any) -> AsyncIterator[Shop]:
    async with demo_of(directory / "data", **{**SITE, **site}) as demo:
        yield Shop(demo)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with selling(tmp_path) as running:
        yield running


async def open_link(page: Page, address: str, shop: Shop) -> None:
    """Open a link, and wait until its landing page has told of itself."""
    await page.goto(address)
    assert page.url.startswith(shop.site), page.url


async def agree(context: BrowserContext, shop: Shop) -> None:
    """Consent was given on an earlier visit."""
    page = await context.new_page()
    await page.goto(shop.site)
    await decide(page, "all")
    await page.close()


# ------------------------------------------------------------------ from click to order


async def test_c12_c13_click_land_and_buy_three_pages_later(shop: Shop, open_context: OpenContext) -> None:
    campaign = await shop.make("campaign", name="Spring", channel="email")
    link = await shop.link("spring", campaign_id=campaign["id"])
    async with open_context() as context:
        page = await context.new_page()
        await open_link(page, shop.address("spring"), shop)
        assert "lid=spring" in page.url
        assert "cid=" not in page.url  # nobody was asked yet
        assert [cookie["name"] for cookie in await context.cookies()] == []
        await decide(page, "all")
        await page.goto(f"{shop.site}plain")
        await page.goto(f"{shop.site}products/bag-blue")
        conversion, decided = await shop.order(await buy(page, shop.demo))
    assert (decided.why, decided.path) == (None, "email")
    (credit,) = decided.credits
    assert (credit.link_id, credit.campaign_id, credit.amount_minor) == (
        link["id"],
        campaign["id"],
        conversion.amount_minor,
    )
    click, landing = await shop.clicks()
    assert (click.kind, click.consent, click.human) == ("click", False, "yes")
    assert (landing.link_id, landing.consent) == (link["id"], True)


async def test_e07_r22_under_consent_the_redirect_names_the_click_and_the_order_does_too(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring")
    async with open_context() as context:
        await agree(context, shop)
        page = await context.new_page()
        await open_link(page, shop.address("spring"), shop)
        assert "cid=" in page.url
        kept = [cookie for cookie in await context.cookies() if cookie["name"] == CLICK_COOKIE]
        assert [(cookie["domain"], cookie["httpOnly"], cookie["sameSite"]) for cookie in kept] == [
            (f".{SHOP_HOST}", True, "Lax")
        ]
        conversion, decided = await shop.order(await buy(page, shop.demo))
    (click,) = [contact for contact in await shop.clicks() if contact.click_id is not None]
    assert conversion.click_id == click.click_id
    assert decided.why is None


@asynccontextmanager
async def stripping(to: str) -> AsyncIterator[str]:
    """An address of the shop that leads on without parameters, as old redirects and some mail programs do."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert "lid=" in request.query_string
        raise web.HTTPFound(to)

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://{SHOP_HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_r18_r25_a_landing_whose_parameters_were_stripped_is_still_credited(
    shop: Shop, open_context: OpenContext
) -> None:
    campaign = await shop.make("campaign", name="Spring", utm={"source": "letter", "medium": "email"})
    async with stripping(shop.site) as target, open_context() as context:
        link = await shop.link("spring", campaign_id=campaign["id"], target=target)
        await agree(context, shop)
        page = await context.new_page()
        await page.goto(shop.address("spring"))
        await page.wait_for_url(shop.site)
        conversion, decided = await shop.order(await buy(page, shop.demo))
    (click,) = [contact for contact in await shop.clicks() if contact.click_id is not None]
    assert conversion.click_id == click.click_id  # the cookie of the redirect
    assert [credit.link_id for credit in decided.credits] == [link["id"]]


async def test_r50_a_scanned_code_counts_as_a_scan(shop: Shop, open_context: OpenContext) -> None:
    link = await shop.link("poster")
    async with open_context(user_agent=PHONE) as context:
        page = await context.new_page()
        drawn = await page.goto(f"{shop.address('poster')}/qr.png")
        assert drawn is not None
        ((address, _),) = read(png_picture(await drawn.body()))
        await open_link(page, address, shop)
        assert "qr=1" not in page.url
        await decide(page, "all")
        _, decided = await shop.order(await buy(page, shop.demo))
    scan = (await shop.clicks())[0]
    assert (scan.kind, scan.device, scan.link_id) == ("qr", "mobile", link["id"])
    assert [credit.link_id for credit in decided.credits] == [link["id"]]


async def test_two_campaigns_are_both_remembered_and_the_later_one_is_credited(
    shop: Shop, open_context: OpenContext
) -> None:
    made = {}
    for name, channel in (("letter", "email"), ("message", "sms")):
        campaign = await shop.make("campaign", name=name, channel=channel)
        made[name] = await shop.link(name, campaign_id=campaign["id"])
    async with open_context() as context:
        page = await context.new_page()
        await open_link(page, shop.address("letter"), shop)
        await decide(page, "all")
        await open_link(page, shop.address("message"), shop)
        await page.goto(f"{shop.site}plain")
        _, decided = await shop.order(await buy(page, shop.demo))
    assert decided.path == "email > sms"
    earned = {credit.link_id: credit.share_e9 for credit in decided.credits if credit.share_e9}
    assert earned == {made["message"]["id"]: 1_000_000_000}


# ------------------------------------------------------------------ what browsers do


@asynccontextmanager
async def third_party() -> AsyncIterator[str]:
    """A host of somebody else that sets a cookie and tells which one it is sent, and a page of the shop that frames it.

    Answers the page's address.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.host.startswith(SHOP_HOST):
            frame = f"<iframe src='http://third.localhost:{port}/{request.query_string}'></iframe>"
            return web.Response(text=frame, content_type="text/html")
        response = web.Response(text=request.headers.get("Cookie", ""))
        response.headers["Set-Cookie"] = "third=1; Path=/; Secure; SameSite=None"
        return response

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        yield f"http://{SHOP_HOST}:{port}/"
    finally:
        await runner.cleanup()


async def third_party_cookies(context: BrowserContext, framing: str) -> tuple[str, str]:
    """What the stranger is sent the second time: when it is opened itself, and when a page of the shop frames it."""
    page = await context.new_page()
    opened = framed = "not asked"
    for visit in ("first", "second"):
        await page.goto(framing.replace(SHOP_HOST, "third.localhost"))
        opened = await page.inner_text("body")
        await page.goto(f"{framing}?{visit}")
        (frame,) = [frame for frame in page.frames if "third.localhost" in frame.url]
        framed = await frame.inner_text("body")
    await page.close()
    return opened.strip(), framed.strip()


async def test_r19_k11_r35_it_works_where_third_party_cookies_are_blocked(tmp_path: Path) -> None:
    async with third_party() as framing, selling(tmp_path) as shop, async_playwright() as playwright:
        link = await shop.link("spring")
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=[*FLAGS, "--test-third-party-cookie-phaseout"]
        )
        context = await browser.new_context(user_agent=AGENT)
        page = await context.new_page()
        await open_link(page, shop.address("spring"), shop)
        await decide(page, "all")
        seen = await third_party_cookies(context, framing)
        _, decided = await shop.order(await buy(page, shop.demo))
        await context.close()
        await browser.close()
    assert seen == ("third=1", "")  # the browser keeps cookies, and blocks those of third parties
    assert [credit.link_id for credit in decided.credits] == [link["id"]]


async def test_a_prefetched_link_is_no_click_until_it_is_opened(shop: Shop, open_context: OpenContext) -> None:
    await shop.link("spring")
    address = shop.address("spring")
    asked: list[dict[str, str]] = []
    async with open_context() as context:
        page = await context.new_page()
        body = f"<title>Letter</title><link rel=prefetch href='{address}'><a id=go href='{address}'>go</a>"
        await page.route(f"{shop.site}letter", lambda route: route.fulfill(content_type="text/html", body=body))
        context.on("request", lambda request: asked.append(request.headers) if request.url == address else None)
        await page.goto(f"{shop.site}letter")
        await until(lambda: any(headers.get("sec-purpose", "").startswith("prefetch") for headers in asked))
        await settled()
        assert await shop.clicks() == []
        await page.click("#go")
        await page.wait_for_url(f"{shop.site}*lid=spring*")
    (click,) = await shop.clicks()
    assert click.human == "yes"


async def test_the_page_behind_slug_plus_needs_nothing_its_policy_forbids(
    shop: Shop, open_context: OpenContext
) -> None:
    await shop.link("spring", title="Spring sale")
    complaints: list[str] = []
    async with open_context() as context:
        page = await context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
        await page.goto(f"{shop.address('spring')}+")
        assert await page.inner_text("h1") == "Spring sale"
        assert await page.evaluate("getComputedStyle(document.querySelector('main')).paddingTop") != "0px"  # styled
        assert shop.site in await page.inner_text("ul")
    assert [line for line in complaints if "favicon" not in line and "404" not in line] == []
    assert await shop.clicks() == []
