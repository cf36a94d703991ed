"""Telephone numbers on pages in a real browser, by the script that the module shows; and a call to the number it showed."""

import asyncio
import base64
import hmac
import json
import re
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from gateway.flows import calls
from gateway.sandbox.demo import GATEWAY_HOST, Demo
from tests.journeys.conftest import AGENT, FLAGS, chromium
from tests.journeys.staging import Stage, demo_of

pytestmark = pytest.mark.thorough  # a browser for every one of them

SECRET: Final = "callrail-signing-key-0123456789"
STATIC: Final = "+4930100000"
OWN: Final = "+4930100001"
POOL: Final = ("+4930200001", "+4930200002")
NUMBERS: Final = [
    {"number": STATIC},
    {"number": OWN, "campaign": "spring"},
    *({"number": number, "campaign": "ads", "pool": True} for number in POOL),
]
BODY: Final = "<a data-number href='tel:+4930999999'>+4930999999</a>"
CONSENT: Final = """
addEventListener("load", () => gateway.consent({analytics: "granted", advertising: "granted"}, {method: "banner"}))
"""


def snippet(gateway: str, query: str) -> str:
    """The script of the module's own text, for one page."""
    found = re.search(r"^    fetch\(.*?^      }\)$", calls.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert found is not None
    script = found[0].replace("https://t.shop.example", gateway).replace("campaign=spring&source=google", query)
    return f'addEventListener("load", () => {{ {script} }})'


async def shown(page: Page) -> tuple[str, str]:
    """The text and address of the page's telephone link, once the script has changed it."""
    link = page.locator("a[data-number]")
    await expect(link).not_to_have_text("+4930999999")  # not a function to wait for: the policy of pages allows no eval
    return await link.inner_text(), str(await link.get_attribute("href"))


async def until_known(context: BrowserContext, gateway: str) -> None:
    """Wait until the gateway has set its id cookie."""
    async with asyncio.timeout(10):
        while not any(str(cookie.get("name")).endswith("gwid") for cookie in await context.cookies(gateway)):
            await asyncio.sleep(0.02)


async def ring(demo: Demo, number: str) -> dict[str, object]:
    """What the call tracker tells of a call that was answered."""
    assert demo.gateway is not None
    now_s = demo.gateway.house.clock.now_ms() // 1000
    body = json.dumps(
        {
            "resource_id": "CAL0001",
            "answered": True,
            "duration": 95,
            "tracking_phone_number": number,
            "timestamp": now_s,
        }
    ).encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha1")).decode()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{demo.gateway.port}/webhooks/calls"
        headers = {"Host": GATEWAY_HOST, "Signature": signature}
        async with session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, object] = await answer.json()
            return found


async def test_c48_pages_show_the_number_of_the_visitors_campaign_and_the_call_is_that_visits(tmp_path: Path) -> None:
    webhook = [{"name": "calls", "adapter": "callrail", "secrets": [SECRET]}]
    async with (
        async_playwright() as playwright,
        demo_of(tmp_path / "data", number=NUMBERS, webhook=webhook) as demo,
        Stage(demo.urls["gateway"]).served() as stage,
    ):
        assert demo.gateway is not None
        gateway, store = demo.urls["gateway"], demo.gateway.house.store
        plain = stage.write("/plain", script=snippet(gateway, ""), body=BODY)
        spring = stage.write("/spring", script=snippet(gateway, "campaign=spring"), body=BODY)
        ads = stage.write("/ads", script=snippet(gateway, "campaign=ads&source=google"), body=BODY)
        asking = stage.write("/asking", script=CONSENT)
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        context = await browser.new_context(user_agent=AGENT)
        page = await context.new_page()
        await page.goto(plain)
        assert await shown(page) == (STATIC, f"tel:{STATIC}")
        await page.goto(spring)
        assert await shown(page) == (OWN, f"tel:{OWN}")
        await page.goto(asking)
        await until_known(context, gateway)
        await page.goto(ads)
        number, address = await shown(page)
        assert (number in POOL, address) == (True, f"tel:{number}")
        await page.goto(plain)
        assert (await shown(page))[0] == number, "the visit keeps its number on other pages"
        assert (await ring(demo, number))["received"] == "counted"
        call = await store.event("callrail:CAL0001:answered-95", "shop")
        assert call is not None
        assert call.visitor_kind == "signed"
        await browser.close()
