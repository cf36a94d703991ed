"""A real Chromium against the whole demo: shop, gateway, stand-ins."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from gateway.sandbox.demo import Demo

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenContext = Callable[..., AbstractAsyncContextManager[BrowserContext]]


def chromium() -> str:
    """Path of the browser. The test command installs it; its absence is a failure, not a skip."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found is not None and "snap" not in found:
            return found
    installed = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
    if installed:
        return str(installed[-1])
    raise RuntimeError("Chromium is not installed; run: make setup")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        await started.close()


@pytest.fixture
def open_context(browser: Browser) -> OpenContext:
    @asynccontextmanager
    async def opened(**options: object) -> AsyncIterator[BrowserContext]:
        context = await browser.new_context(**{"user_agent": AGENT, **options})  # type: ignore[arg-type] # options by name
        yield context
        await context.close()

    return opened


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    async with Demo(tmp_path / "data") as running:
        yield running


async def decide(page: Page, choice: str) -> None:
    """Click a button of the shop's banner, and wait until the gateway has recorded it."""
    async with page.expect_response(lambda response: response.url.endswith("/consent")):
        await page.click(f"[data-choice={choice}]")


async def buy(page: Page, demo: Demo, product: str = "shoe-red", query: str = "") -> str:
    """Buy one piece from the product page on; answers the order number."""
    await page.goto(f"{demo.urls['shop']}products/{product}{query}")
    await page.click("#buy")
    await page.wait_for_url("**/checkout*")
    await page.click("#pay")
    await page.wait_for_url("**/thanks/*")
    return await page.inner_text("#order-id")
