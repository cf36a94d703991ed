"""The tag in a real browser: what it sends, when, under which policy, and what it never does."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page

from gateway.event import Visitor
from gateway.pages import tag
from gateway.sandbox.demo import Demo
from tests.journeys.conftest import OpenContext, decide

if TYPE_CHECKING:
    from playwright.async_api import Request

pytestmark = pytest.mark.thorough  # a browser for every one of them

ROOT = Path(__file__).parents[2]


STRICT_ERRORS = (
    "window.errors=[];window.onerror=function(e){errors.push(e)};"
    "window.onunhandledrejection=function(e){errors.push(String(e.reason))};"
)


class Watched:
    """Everything a context sends to the gateway."""

    def __init__(self, context: BrowserContext, demo: Demo) -> None:
        self.requests: list[Request] = []
        self.errors: list[str] = []
        origin = demo.urls["gateway"]
        context.on("request", lambda request: self.requests.append(request) if request.url.startswith(origin) else None)
        context.on("console", lambda line: self.errors.append(line.text) if line.type in {"error", "warning"} else None)

    def bodies(self, path: str = "/collect") -> list[dict[str, Any]]:
        posted = [one for one in self.requests if one.url.endswith(path) and one.method == "POST"]
        return [json.loads(request.post_data or "{}") for request in posted]

    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies() for event in body["events"]]

    def names(self) -> list[str]:
        return [event["name"] for event in self.events()]


async def until_sent(watched: Watched, name: str, page: Page) -> dict[str, Any]:
    for _ in range(100):
        for event in watched.events():
            if event["name"] == name:
                return event
        await page.wait_for_timeout(50)
    raise AssertionError(f"{name} was not sent; sent: {watched.names()}")


@pytest.fixture
async def pages(demo: Demo) -> AsyncIterator[Any]:
    """A second web server whose pages a test writes itself, under the shop's host name and a strict policy."""
    texts: dict[str, str] = {}
    origin = demo.urls["gateway"]
    policy = f"default-src 'none'; script-src 'self' {origin}; connect-src {origin}; base-uri 'none'"

    async def page(request: web.Request) -> web.StreamResponse:
        text = texts.get(request.path)
        if text is None:
            raise web.HTTPNotFound
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        return web.Response(text=text, content_type=kind, headers={"Content-Security-Policy": policy})

    application = web.Application()
    application.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    def write(path: str, head: str, body: str = "", *, script: str = "", host: str = "shop.localhost") -> str:
        texts[f"{path}.js"] = script
        texts[path] = f"<!doctype html><title>Test</title>{head}<script src='{path}.js'></script>{body}"
        return f"http://{host}:{port}{path}"

    write.origin = origin  # type: ignore[attr-defined] # the gateway's address travels with the function
    yield write
    await runner.cleanup()


def element(demo: Demo, attributes: str = "") -> str:
    return f"<script defer src='{demo.urls['gateway']}/gw.js' {attributes}></script>"


GRANT = 'window.gateway=window.gateway||[];gateway.push(["consent",{analytics:"granted",marketing:"granted"}]);'


# ------------------------------------------------------------------ size and shape


def test_the_tag_is_at_most_3000_bytes_compressed() -> None:
    for version, made in tag.VERSIONS.items():
        assert len(gzip.compress(made.source, 9, mtime=0)) <= 3_000, version


def test_a_published_version_has_the_bytes_it_was_published_with() -> None:
    published = json.loads((ROOT / "gateway/browser/integrity.json").read_text())
    assert {version: f"sha384-{made.sha384}" for version, made in tag.VERSIONS.items()} == published


def test_the_tag_uses_nothing_a_strict_policy_forbids() -> None:
    source = (ROOT / "gateway/browser/gw.js").read_text()
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)
    for forbidden in (
        "eval(",
        "new Function",
        "innerHTML",
        "document.write",
        ".style",
        "document.cookie",
        "javascript:",
    ):
        assert forbidden not in code, forbidden


async def test_the_numbered_copy_loads_with_its_integrity_hash(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    attributes = f"crossorigin='anonymous' integrity='sha384-{tag.VERSIONS[tag.LATEST].sha384}'"
    head = f"<script defer src='{demo.urls['gateway']}/gw.{tag.LATEST}.js' {attributes}></script>"
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/pinned", head, script=GRANT))
        await until_sent(watched, "page_view", page)
        assert watched.errors == []
        head = head.replace(tag.VERSIONS[tag.LATEST].sha384[:8], "AAAAAAAA")
        await page.goto(pages("/wrong", head, script=GRANT))
        await page.wait_for_timeout(300)
        assert any("integrity" in error for error in watched.errors)


# ------------------------------------------------------------------ transport


async def test_hits_cause_no_preflight_and_carry_cookies(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await until_sent(watched, "page_view", page)
        await page.goto(f"{demo.urls['shop']}plain")
        await page.click("#trial")
        await until_sent(watched, "start_trial", page)
        assert {request.method for request in watched.requests} == {"GET", "POST"}, "no OPTIONS was needed"
        cookies = [await request.header_value("cookie") for request in watched.requests if request.method == "POST"]
        assert "__Host-gwid" in (cookies[-1] or "")
        kinds = [await request.header_value("content-type") for request in watched.requests if request.method == "POST"]
        assert all((kind or "").startswith("text/plain") for kind in kinds)


async def test_events_wait_for_consent_and_go_out_under_it(demo: Demo, open_context: OpenContext, pages: Any) -> None:
    script = "setTimeout(function(){" + GRANT + "},700);"
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/late", element(demo, "data-wait='30000'"), script=script))
        await page.wait_for_timeout(400)
        assert watched.bodies() == []
        await until_sent(watched, "page_view", page)
        assert watched.bodies()[0]["consent"] == {"analytics": "granted", "marketing": "granted"}


async def test_without_an_answer_events_go_out_with_consent_unset(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/silent", element(demo, "data-wait='200'")))
        await until_sent(watched, "page_view", page)
        assert "consent" not in watched.bodies()[0]
        assert await context.cookies() == []
        assert await page.evaluate("sessionStorage.length + localStorage.length") == 0, (
            "nothing is kept without consent"
        )


async def test_who_leaves_before_consent_is_known_loses_no_event(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    assert demo.gateway is not None
    store = demo.gateway.house.store
    before = (await store.tally()).events
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/left", element(demo, "data-wait='60000'")))
        await page.wait_for_timeout(200)
        assert watched.names() == []
        await page.goto("about:blank")
        for _ in range(100):  # the browser finishes such a request behind the page's back, and shows it to nobody
            if (await store.tally()).events == before + 1:
                break
            await page.wait_for_timeout(50)
    assert (await store.tally()).events == before + 1


async def test_a_choice_is_recorded_once_and_again_when_it_changes(demo: Demo, open_context: OpenContext) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        for _ in range(3):
            await page.reload()
            await page.wait_for_timeout(200)
        await page.click("#privacy")
        await decide(page, "none")
    assert [body["choice"]["analytics"] for body in watched.bodies("/consent")] == ["granted", "denied"]
    assert demo.gateway is not None
    entries = await demo.gateway.house.store.log_entries("shop", 0, 10)
    assert [json.loads(entry.entry)["event_type"] for entry in entries] == ["given", "withdrawn"]
    assert json.loads(entries[0].entry)["subject_tag"] == json.loads(entries[1].entry)["subject_tag"] is not None


async def test_accepting_again_after_a_withdrawal_on_the_visitors_own_page_is_recorded(
    demo: Demo, open_context: OpenContext
) -> None:
    async with open_context(locale="en-GB") as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await page.goto(f"{demo.urls['gateway']}/privacy")
        await page.get_by_role("button", name="Withdraw everything").click()
        await page.get_by_role("status").wait_for()
        await page.goto(demo.urls["shop"])
        await page.wait_for_timeout(300)
        assert len(watched.bodies("/consent")) == 1, "a page that was only opened takes no withdrawal back"
        await page.click("#privacy")
        await decide(page, "all")
    assert [body["choice"]["analytics"] for body in watched.bodies("/consent")] == ["granted", "granted"]
    assert demo.gateway is not None
    entries = [json.loads(entry.entry) for entry in await demo.gateway.house.store.log_entries("shop", 0, 10)]
    assert [entry["event_type"] for entry in entries][:2] == ["given", "withdrawn"]
    assert len(entries) == 3
    assert "analytics" in entries[2]["granted"]


async def test_global_privacy_control_of_the_page_is_passed_on(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    async with open_context() as context:
        await context.add_init_script("Object.defineProperty(navigator,'globalPrivacyControl',{value:true})")
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/gpc", element(demo), script=GRANT))
        await until_sent(watched, "page_view", page)
    assert watched.bodies()[0]["gpc"] is True


# ------------------------------------------------------------------ calls and attributes


async def test_calls_before_the_script_has_loaded_are_kept(demo: Demo, open_context: OpenContext, pages: Any) -> None:
    script = GRANT + 'gateway.push(["track","sign_up",{plan:"basic",value:"5.00",currency:"EUR"}]);'
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/early", element(demo), script=script))
        event = await until_sent(watched, "sign_up", page)
    assert (event["value"], event["props"]) == ("5.00", {"plan": "basic"})


async def test_e10_the_global_object_can_have_another_name(demo: Demo, open_context: OpenContext, pages: Any) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/echo", element(demo, "data-global='Echo'"), script=GRANT.replace("gateway", "Echo")))
        await page.evaluate("Echo.track('ticket_purchase', {value: '10.00', currency: 'EUR'})")
        await until_sent(watched, "ticket_purchase", page)
        assert await page.evaluate("typeof gateway") == "undefined"


async def test_manual_mode_sends_nothing_until_it_is_called(demo: Demo, open_context: OpenContext, pages: Any) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/manual", element(demo, "data-mode='manual' data-event='purchase'"), script=GRANT))
        await page.wait_for_timeout(500)
        assert watched.events() == []
        await page.evaluate("gateway.track('purchase', {value: '1.00', currency: 'EUR', order_id: 'M-1'})")
        await until_sent(watched, "purchase", page)


async def test_automatic_mode_sends_the_conversion_once_and_not_on_reload(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    attributes = "data-event='purchase' data-value='49.90' data-currency='EUR' data-order-id='AUTO-1'"
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/auto", element(demo, attributes), script=GRANT))
        event = await until_sent(watched, "purchase", page)
        assert (event["value"], event["currency"], event["order_id"]) == ("49.90", "EUR", "AUTO-1")
        await page.reload()
        await page.wait_for_timeout(400)
        assert watched.names().count("purchase") == 1
        assert watched.names().count("page_view") == 2


async def test_clicks_forms_and_downloads_are_events_without_a_line_of_script(
    demo: Demo, open_context: OpenContext
) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await page.goto(f"{demo.urls['shop']}plain")
        await page.click("#trial")
        trial = await until_sent(watched, "start_trial", page)
        assert trial["props"] == {"plan": "basic"}
        async with page.expect_download():
            await page.click("#guide")
        download = await until_sent(watched, "download", page)
        assert download["props"] == {"file": "size-guide.pdf"}
        await page.click("#join")
        await page.wait_for_url("**/plain?nick=*")
        assert demo.gateway is not None
        store = demo.gateway.house.store
        signed_up: list[str] = []
        for _ in range(100):
            signed_up = [row.event_id for row in await store.recent(100) if row.event_name == "sign_up"]
            if signed_up:
                break
            await page.wait_for_timeout(50)
    record = await store.event(signed_up[0], "shop")
    assert record is not None
    assert json.loads(record.facts)["props"] == {"list": "news"}, "the form's values are not taken"


async def test_further_page_views_of_a_single_page_application(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/spa", element(demo), script=GRANT))
        await until_sent(watched, "page_view", page)
        await page.evaluate("history.pushState({}, '', '/spa/two'); gateway.page()")
        for _ in range(60):
            if len(watched.names()) == 2:
                break
            await page.wait_for_timeout(50)
        assert watched.events()[1]["url"].endswith("/spa/two")


# ------------------------------------------------------------------ domains


async def test_a_page_of_an_unlisted_domain_is_told_in_the_console(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/stranger", element(demo), script=GRANT, host="evil.localhost"))
        for _ in range(60):
            if any("Tracking blocked for this domain" in error for error in watched.errors):
                break
            await page.wait_for_timeout(50)
        assert any("Tracking blocked for this domain" in error for error in watched.errors), watched.errors
        assert await context.cookies() == []
    assert demo.gateway is not None
    assert (await demo.gateway.house.store.tally()).events == 0


async def test_a_malformed_call_is_told_in_the_console_with_its_code_and_field(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/malformed", element(demo, "data-mode='manual'")))
        for _ in range(200):  # not a function to wait for: the policy of pages allows no eval
            if await page.evaluate("Boolean(window.gateway && gateway.version)"):
                break
            await asyncio.sleep(0.05)
        await page.evaluate("gateway.consent({analytics: 'perhaps'}, {method: 'banner'})")
        for _ in range(60):
            if any(error.startswith("Tracking refused") for error in watched.errors):
                break
            await page.wait_for_timeout(50)
        told = [error for error in watched.errors if error.startswith("Tracking refused")]
        assert told == ["Tracking refused consent_value_invalid choice[...]"], watched.errors


@pytest.mark.parametrize("body", ["", "<html>", "null", "{}", "[]"])
async def test_an_answer_of_something_else_in_between_breaks_nothing(
    body: str, demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    url = pages("/between", element(demo, "crossorigin='anonymous'"), script=GRANT + STRICT_ERRORS)
    headers = {
        "Access-Control-Allow-Origin": url.removesuffix("/between"),
        "Access-Control-Allow-Credentials": "true",
    }
    async with open_context() as context:
        await context.route("**/consent", lambda route: route.fulfill(status=400, body=body, headers=headers))
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(url)
        await until_sent(watched, "page_view", page)
        await page.wait_for_timeout(100)
        assert await page.evaluate("errors") == []
        assert not any("Tracking refused" in error for error in watched.errors)


async def test_subdomains_of_a_listed_domain_may_send(demo: Demo, open_context: OpenContext, pages: Any) -> None:
    async with open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(pages("/sub", element(demo), script=GRANT, host="www.shop.localhost"))
        await until_sent(watched, "page_view", page)
        await page.wait_for_timeout(200)
    assert demo.gateway is not None
    assert (await demo.gateway.house.store.tally()).events == 1


async def test_a_link_to_another_domain_of_the_owner_carries_the_id_once(
    tmp_path: Path, open_context: OpenContext
) -> None:
    """Two sites of one owner on one gateway: a click takes the visitor's id along, and the token leaves the address bar."""
    async with Demo(tmp_path / "two", second_site=True) as demo, open_context() as context:
        watched = Watched(context, demo)
        page = await context.new_page()
        await page.goto(demo.urls["shop"])
        await decide(page, "all")
        await until_sent(watched, "page_view", page)
        href = await page.evaluate("gateway.link(arguments)".replace("arguments", json.dumps(demo.urls["second"])))
        assert "_gwl=" in href
        await page.goto(href)
        await decide(page, "all")
        await page.wait_for_timeout(500)
        assert "_gwl" not in page.url
        first, second = await _ids(context)
        assert first.id == second.id, "the same visitor on both domains"
        stranger = await context.browser.new_context() if context.browser else None
        assert stranger is not None
        other = await stranger.new_page()
        await other.goto(href)
        await other.click("[data-choice=all]")
        await other.wait_for_timeout(700)
        ids = await _ids(stranger)
        assert [visitor.id for visitor in ids] != [first.id], "a token is taken once"
        await stranger.close()


async def _ids(context: BrowserContext) -> list[Visitor]:
    values = [cookie.get("value", "") for cookie in await context.cookies() if cookie.get("name") == "__Host-gwid"]
    return [Visitor("signed", value.split(".")[1]) for value in values]


async def test_nothing_breaks_a_page_when_the_gateway_is_away(
    demo: Demo, open_context: OpenContext, pages: Any
) -> None:
    url = pages("/away", element(demo), script=GRANT + STRICT_ERRORS)
    async with open_context() as context:
        await context.route("**/collect", lambda route: route.abort())
        await context.route("**/consent", lambda route: route.abort())
        page = await context.new_page()
        await page.goto(url)
        await page.evaluate("gateway.track('sign_up', {})")
        await asyncio.sleep(0.4)
        assert await page.evaluate("errors") == []
