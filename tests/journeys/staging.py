"""Pages a test writes itself, what they send to the gateway, and the consent platforms that stand on them."""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from gateway.sandbox.config import default_config
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST, Demo, demo_destinations
from tests.journeys.conftest import AGENT, FLAGS, chromium

if TYPE_CHECKING:
    from playwright.async_api import Request

ROOT: Final = Path(__file__).parents[2]
LONG: Final = "data-wait='30000'"
SHORT: Final = "data-wait='150'"
PAUSE_S: Final = 0.4
"""Long enough for the bridge to say what it would say: it waits 50 ms for the rest of an answer."""


def packages() -> Path:
    """Folder of the packages of locks/npm.txt. The test command installs them; their absence is a failure, not a skip."""
    digest = hashlib.sha256((ROOT / "locks" / "npm.txt").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "tagging-gateway" / f"npm-{digest}"
    if not (folder / ".installed").exists():
        raise RuntimeError("The packages of locks/npm.txt are not installed; run: make setup")
    return folder


GUIDE = (ROOT / "docs" / "how-to" / "consent-platforms.md").read_text()


def from_guide(section: str) -> str:
    """The script of one section of the guide."""
    text = re.split(rf"^##+ {section}$", GUIDE, flags=re.MULTILINE)[1]
    found = re.search(r"^ *```js\n(.*?)^ *```", re.split(r"^##", text, flags=re.MULTILINE)[0], re.MULTILINE | re.DOTALL)
    assert found is not None, section
    return found[1]


@asynccontextmanager
async def demo_of(
    directory: Path, *, platforms: Mapping[str, Mapping[str, object]] | None = None, **site: object
) -> AsyncIterator[Demo]:
    """The demo with further settings of its site, such as its consent platform, and of destinations by their platform."""
    config = default_config()
    destinations = demo_destinations(config.gateway)
    for destination in destinations:
        destination.update((platforms or {}).get(str(destination["platform"]), {}))
    settings = {
        "id": "shop",
        "hosts": [GATEWAY_HOST],
        "domains": [SHOP_HOST],
        "currency": "EUR",
        "calling_code": "49",
        "destination": destinations,
        **site,
    }
    async with Demo(directory, config=config, site=[settings]) as running:
        yield running


class Stage:
    """Pages that a test writes itself, on the shop's host under a strict policy.

    The packages of locks/npm.txt stand below /npm/, the vectors below /vectors/.
    """

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.policy = (
            f"default-src 'none'; script-src 'self' {gateway}; connect-src {gateway}; style-src 'self'; base-uri 'none'"
        )
        self._texts: dict[str, tuple[str, str]] = {}
        self._port = 0

    def write(
        self, path: str, *, head: str = "", script: str = "", module: str = "", attributes: str = "", body: str = ""
    ) -> str:
        """Write a page with the tag. A script of its own runs before the tag, a module right before it. Answers the address."""
        own = "".join(
            f"<script src='{path}{end}' {kind}></script>"
            for text, end, kind in ((script, ".js", "defer"), (module, ".mjs", "type='module'"))
            if text
        )
        tag = f"<script defer src='{self.gateway}/gw.js' {attributes}></script>"
        self._texts[path] = ("text/html", f"<!doctype html><title>Test</title>{head}{own}{tag}<body>{body}")
        self._texts[f"{path}.js"] = ("text/javascript", script)
        self._texts[f"{path}.mjs"] = ("text/javascript", module)
        return f"http://{SHOP_HOST}:{self._port}{path}"

    async def _page(self, request: web.Request) -> web.StreamResponse:
        found = self._texts.get(request.path)
        if found is None:
            raise web.HTTPNotFound
        kind, text = found
        return web.Response(text=text, content_type=kind, headers={"Content-Security-Policy": self.policy})

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Stage"]:
        """Serve the pages."""
        application = web.Application()
        application.router.add_static("/npm/", packages())
        application.router.add_static("/vectors/", ROOT / "tests" / "vectors")
        application.router.add_get("/{path:.*}", self._page)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


class Sent:
    """What the pages of a context sent to the gateway, in order, and what stood in their console."""

    def __init__(self, context: BrowserContext, gateway: str) -> None:
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        context.on(
            "request", lambda request: self.requests.append(request) if request.url.startswith(gateway) else None
        )
        context.on(
            "console", lambda line: self.complaints.append(line.text) if line.type in {"error", "warning"} else None
        )
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def posts(self) -> list[tuple[str, dict[str, Any]]]:
        """Path and body of every POST, in order."""
        return [
            ("/" + request.url.split("/", 3)[3], json.loads(request.post_data or "{}"))
            for request in self.requests
            if request.method == "POST"
        ]

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """Bodies posted to a path."""
        return [body for where, body in self.posts() if where == path]

    def said(self) -> list[dict[str, Any]]:
        """Signals posted to /consent, one by one."""
        return [body["signals"] for body in self.bodies("/consent")]

    def events(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Events in order: name, and the signals they came with."""
        return [(event["name"], body.get("signals")) for body in self.bodies("/collect") for event in body["events"]]

    async def until_events(self, count: int) -> None:
        """Wait until so many events were sent."""
        await until(lambda: len(self.events()) >= count)
        assert len(self.events()) == count, self.events()

    async def until_said(self, count: int) -> None:
        """Wait until /consent was told so many times."""
        await until(lambda: len(self.said()) >= count)
        assert len(self.said()) == count, self.said()

    def paths(self) -> list[str]:
        """What was fetched with GET."""
        return ["/" + request.url.split("/", 3)[3] for request in self.requests if request.method == "GET"]


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds; generous, because the machine may be busy."""
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")


async def settled() -> None:
    """Let everything be said that would be said."""
    await asyncio.sleep(PAUSE_S)


class Theatre(NamedTuple):
    """What all tests of this file share: a browser, a gateway, pages."""

    browser: Browser
    demo: Demo
    stage: Stage


class Visit(NamedTuple):
    """One visitor of one test."""

    stage: Stage
    context: BrowserContext
    page: Page
    sent: Sent


@asynccontextmanager
async def playing(directory: Path) -> AsyncIterator[Theatre]:
    """One browser, one gateway and one stage for a whole module."""
    async with async_playwright() as playwright, demo_of(directory / "data") as demo:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        async with Stage(demo.urls["gateway"]).served() as stage:
            yield Theatre(browser, demo, stage)
        await browser.close()


@asynccontextmanager
async def visiting(theatre: Theatre) -> AsyncIterator[Visit]:
    """A visitor nobody has seen before."""
    context = await theatre.browser.new_context(user_agent=AGENT)
    sent = Sent(context, theatre.demo.urls["gateway"])
    yield Visit(theatre.stage, context, await context.new_page(), sent)
    await context.close()


# ------------------------------------------------------------------ the IAB's interfaces

TCF: Final = """
// The part of a CMP that a page sees: CMP API v2. `put` is what the CMP's own interface does.
window.cmp = { data: null, listeners: [] };
window.__tcfapi = function (command, version, callback) {
  if (command !== "addEventListener" || version !== 2) return callback(null, false);
  cmp.listeners.push(callback);
  if (cmp.data) callback(cmp.data, true);
};
cmp.put = function (eventStatus, tcString, more) {
  cmp.data = Object.assign({ tcString, eventStatus, gdprApplies: true, cmpStatus: "loaded", listenerId: 1 }, more);
  cmp.listeners.forEach(function (callback) { callback(cmp.data, true); });
};
"""

TCF_CORE: Final = """
import { GVL, TCModel, TCString } from "/npm/@iabtechlabtcf/core/lib/mjs/index.js";
const lists = await (await fetch("/vectors/gvl-fixture.json")).json();
window.encode = function (purposes, vendors) {
  const model = new TCModel(new GVL(lists));
  model.cmpId = 31; model.cmpVersion = 2; model.consentScreen = 1; model.isServiceSpecific = true;
  model.publisherCountryCode = "DE";
  model.purposeConsents.set(purposes);
  model.publisherConsents.set(purposes);
  model.vendorConsents.set(vendors);
  // Vendors who claim a legitimate interest for a purpose, and nobody objected to it there.
  model.purposeLegitimateInterests.set(purposes.filter(function (id) { return id > 1 && id !== 3 && id !== 4; }));
  model.vendorLegitimateInterests.set(vendors);
  model.vendorsDisclosed.set(Object.keys(lists.vendors).map(Number));
  return TCString.encode(model);
};
"""


async def tc_string(page: Page, stage: Stage, *, purposes: list[int], vendors: list[int]) -> str:
    """A TC string made now by the official library: these purposes for these vendors of the fixture's vendor list."""
    kept, stage.policy = stage.policy, stage.policy.replace("connect-src", "connect-src 'self'")
    try:
        await page.goto(stage.write("/encode", module=TCF_CORE, attributes="data-mode='manual'"))
    finally:
        stage.policy = kept
    await true_on(page, "!!window.encode")
    made: str = await page.evaluate("([purposes, vendors]) => encode(purposes, vendors)", [purposes, vendors])
    return made


GPP: Final = """
import { CmpApi } from "/npm/@iabgpp/cmpapi/lib/mjs/index.js";
const cmp = new CmpApi(31, 2);
cmp.setApplicableSections([-1]);
cmp.setFieldValue("usnat", "SaleOptOutNotice", 1);
cmp.setFieldValue("usnat", "SaleOptOut", 2);
window.cmp = cmp;
"""
"""A real `__gpp`: of its constructor's own making, signal status `not ready`."""


GTAG: Final = """
window.dataLayer = window.dataLayer || [];
window.gtag = function () { dataLayer.push(arguments); };
"""


async def true_on(page: Page, expression: str) -> None:
    """Wait until something holds on the page. Playwright's own waiting uses eval, which the policy forbids."""
    for _ in range(500):
        if await page.evaluate(expression):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(expression)
