"""Buy something in the running demo with a headless browser, and read on its status page that all four platforms took it.

usage: python scripts/buy.py PORT      the first port of the demo
"""

import asyncio
import sys
import urllib.request

from playwright.async_api import async_playwright

from tests.journeys.conftest import AGENT, FLAGS, chromium


async def buy(port: int) -> str:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = await (await browser.new_context(user_agent=AGENT)).new_page()
        await page.goto(f"http://shop.localhost:{port + 2}/?gclid=Cj0demo-click")
        await page.click("[data-choice=all]")
        await page.click("text=Blue travel bag")
        await page.click("#buy")
        await page.click("#pay")
        await page.wait_for_url("**/thanks/*")
        order = await page.inner_text("#order-id")
        await page.wait_for_timeout(1_000)
        await browser.close()
        return order


def arrived(port: int, order: str) -> list[str]:
    """Platforms on whose part of the status page the order stands."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port + 3}/", timeout=10) as answer:
        parts = answer.read().decode().split("<h2>")
    return [part.partition("</h2>")[0] for part in parts if order in part]


async def main() -> int:
    port = int(sys.argv[1])
    order = await buy(port)
    found: list[str] = []
    for _ in range(60):
        found = await asyncio.to_thread(arrived, port, order)
        if len(found) == 4:
            break
        await asyncio.sleep(0.5)
    print(f"order {order} arrived at: {', '.join(found) or 'nobody'}")
    return 0 if len(found) == 4 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
