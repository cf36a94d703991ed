"""A visitor looks at what a shop knows, takes it back, takes it home and has it erased, in a browser without JavaScript.

`PRIVACY_SHOTS=DIR` keeps pictures of the page as the visitor sees it.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from gateway.sandbox.demo import Demo
from tests.journeys.conftest import OpenContext, buy, decide

pytestmark = pytest.mark.slow  # a browser for every one of them


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


async def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("PRIVACY_SHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def delivered(demo: Demo, destination: str, count: int) -> None:
    """Wait until a destination has taken so many messages."""
    assert demo.gateway is not None
    store = demo.gateway.house.store

    async def taken() -> bool:
        return (await store.tally()).deliveries.get(("shop", destination, "accepted"), 0) == count

    await until(taken)


async def customer(demo: Demo, open_context: OpenContext) -> Any:
    """Somebody who accepted the banner and bought something: the cookies of that browser."""
    async with open_context() as context:
        page = await context.new_page()
        await page.goto(f"{demo.urls['shop']}?gclid=Cj0KCQtest_123-x&utm_source=google")
        await decide(page, "all")
        await buy(page, demo)
        await delivered(demo, "crm", 1)
        await delivered(demo, "meta", 1)
        return await context.storage_state()


def messages(demo: Demo) -> list[dict[str, Any]]:
    taken = [one.event for one in demo.stand_ins.webhook.ledger.accepted_events()]
    return [message for message in taken if message["type"] in {"consent.withdrawn", "person.erased"}]


async def cookies(context: BrowserContext) -> set[str]:
    return {cookie["name"] for cookie in await context.cookies() if "name" in cookie}


def watched(page: Page) -> list[str]:
    """Everything the browser complains about: a broken policy, a missing file."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    return heard


async def test_see_download_and_erase_without_script(demo: Demo, open_context: OpenContext) -> None:
    state = await customer(demo, open_context)
    async with open_context(java_script_enabled=False, storage_state=state, locale="en-GB") as context:
        page = await context.new_page()
        complaints = watched(page)
        await page.goto(f"{demo.urls['gateway']}/privacy")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your privacy on shop.localhost")
        await expect(page.get_by_role("row", name="Events, such as pages you viewed")).to_be_visible()
        await expect(page.get_by_role("row", name="Meta Conversions API meta sent, and taken 1")).to_be_visible()
        await expect(page.get_by_text("jane.doe@example.com")).to_have_count(0)
        await shot(page, "see")

        async with page.expect_download() as started:
            await page.get_by_role("button", name="Download my data").click()
        download = await started.value
        assert download.suggested_filename == "my-data.json"
        found = json.loads(await asyncio.to_thread(Path(await download.path()).read_text))
        assert found["known_as"] == "signed"
        assert "purchase" in {event["name"] for event in found["events"]}
        assert "jane.doe" not in json.dumps(found)

        erase = page.get_by_role("button", name="Erase", exact=True)
        await erase.click()
        assert page.url.endswith("/privacy"), "the browser itself asks for the tick"
        await page.get_by_label("Yes, erase what is stored about this browser").check()
        await erase.click()
        await expect(page.get_by_role("status")).to_have_text(
            "What was stored under the number of this browser is erased."
        )
        await shot(page, "erased")
        assert await cookies(context) == {"__Host-gwconsent", "__Host-gwform"}
        await delivered(demo, "crm", 2)
        assert [message["type"] for message in messages(demo)] == ["person.erased"]

        await page.reload()
        await expect(page.get_by_text("Nothing can be found under this browser")).to_be_visible()
        assert complaints == []
    assert demo.gateway is not None
    tally = await demo.gateway.house.store.tally()
    assert tally.conversions == {("shop", "counted"): 1}, "the order still counts"


async def test_choose_and_withdraw_with_the_keyboard_alone_without_script(
    demo: Demo, open_context: OpenContext
) -> None:
    state = await customer(demo, open_context)
    async with open_context(java_script_enabled=False, storage_state=state, locale="de-DE") as context:
        page = await context.new_page()
        complaints = watched(page)
        await page.goto(f"{demo.urls['gateway']}/privacy")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Ihre Privatsphäre auf shop.localhost")

        # Withdraw is the first thing the keyboard reaches; then each purpose, its answer moved with the arrow keys.
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Alles widerrufen")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("group", name="Komfort").get_by_label("ja")).to_be_focused()
        for _ in range(2):
            await page.keyboard.press("Tab")
        advertising = page.get_by_role("group", name="Werbung", exact=True)
        await expect(advertising.get_by_label("ja")).to_be_focused()
        await page.keyboard.press("ArrowDown")
        await expect(advertising.get_by_label("nein")).to_be_checked()
        await page.get_by_role("button", name="Diese Wahl speichern").press("Enter")
        await expect(page.get_by_role("status")).to_have_text("Ihre Wahl ist festgehalten.")
        assert "__Host-gwid" in await cookies(context), "statistics are still allowed"
        assert "__Host-gwclick" not in await cookies(context), "click ids need advertising"

        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_have_text("Alles ist widerrufen.")
        await shot(page, "withdrawn")
        assert await cookies(context) == {"__Host-gwconsent", "__Host-gwform"}
        await delivered(demo, "crm", 2)
        (message,) = messages(demo)
        assert message["type"] == "consent.withdrawn"
        assert "analytics" in message["data"]["withdrawn"]
        assert demo.stand_ins.webhook.ledger.complaints() == []
        assert complaints == []


async def test_every_page_of_the_demo_shop_leads_to_the_visitors_own_page(
    demo: Demo, open_context: OpenContext
) -> None:
    async with open_context(locale="en-GB") as context:
        page = await context.new_page()
        for path in ("", "products/shoe-red", "checkout?product=shoe-red", "plain", "products/none"):
            await page.goto(f"{demo.urls['shop']}{path}")
            link = page.get_by_role("link", name="What this shop knows about you")
            await expect(link).to_have_attribute("href", demo.urls["privacy"])
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await page.get_by_role("link", name="What this shop knows about you").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your privacy on shop.localhost")


async def test_the_demo_says_what_arrived_and_who_could_not_be_told(demo: Demo, open_context: OpenContext) -> None:
    state = await customer(demo, open_context)
    async with open_context(storage_state=state, locale="en-GB") as context:
        page = await context.new_page()
        await page.goto(demo.urls["privacy"])
        await page.get_by_role("button", name="Withdraw everything").click()
        await delivered(demo, "crm", 2)
        await page.goto(demo.urls["arrived"])
        meta = page.locator("section").filter(has=page.get_by_role("heading", name="Meta"))
        await expect(meta.get_by_text("1 event arrived. 0 requests refused.")).to_be_visible()
        row = page.get_by_role("row").filter(has_text="documents no call").filter(has_text="meta")
        await expect(row.get_by_role("cell").nth(3)).to_have_text("not told")
        red, green, blue = re.findall(r"\d+", await row.evaluate("row => getComputedStyle(row.cells[3]).color"))
        assert red == green == blue != "0", "grey: it is no fault"


BROKEN_WORDS = """(() => {
  document.body.style.hyphens = "manual";
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const broken = [];
  while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest("thead")) continue; // for screen readers only
    for (const word of texts.currentNode.data.matchAll(/[\\p{L}\\p{N}.]+/gu)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) broken.push(word[0]);
    }
  }
  return broken;
})()"""


async def test_german_words_are_not_broken_anywhere_on_a_narrow_screen(demo: Demo, open_context: OpenContext) -> None:
    state = await customer(demo, open_context)
    viewport = {"width": 360, "height": 800}
    async with open_context(
        java_script_enabled=False, storage_state=state, locale="de-DE", viewport=viewport
    ) as context:
        page = await context.new_page()
        await page.goto(demo.urls["privacy"])
        await shot(page, "narrow-german")
        widths = "[document.documentElement, ...document.querySelectorAll('.scroll')].map(e => e.scrollWidth)"
        assert max(await page.evaluate(widths)) <= 360
        assert await page.evaluate("getComputedStyle(document.querySelector('td')).hyphens") == "auto"
        assert await page.evaluate(BROKEN_WORDS) == [], "there is room for every word, hyphens or not"
        label = "getComputedStyle(document.querySelector('tbody td'), '::before').content"
        assert await page.evaluate(label) == '"Sie sagten: "', "a cell by itself says which column it is"


async def test_a_signal_of_the_browser_is_shown_as_processed(demo: Demo, open_context: OpenContext) -> None:
    headers = {"Sec-GPC": "1"}
    async with open_context(java_script_enabled=False, extra_http_headers=headers, locale="en-US") as context:
        page = await context.new_page()
        await page.goto(f"{demo.urls['gateway']}/privacy")
        await expect(page.get_by_text("Opt-out request honoured.")).to_be_visible()
        await page.set_viewport_size({"width": 320, "height": 800})
        widths = "[document.documentElement, ...document.querySelectorAll('.scroll')].map(e => e.scrollWidth)"
        assert max(await page.evaluate(widths)) <= 320, "nothing is cut off on the narrowest screen"
        await page.emulate_media(color_scheme="dark")
        await shot(page, "signal-narrow-dark")
