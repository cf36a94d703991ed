"""Row 26: which pages may send, and what a page of somebody else's may read: that it is blocked, and nothing else."""

from typing import Final

import pytest

from tests.support.running import AGENT, HOST, OTHER_HOST, PAGE, Running, refused_with, request_bytes, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT: Final = b'{"name":"page_view"}'
CHOICE: Final = b'{"choice":{"analytics":"granted"}}'

ALLOWED: Final = (
    "https://shop.example", "http://shop.example", "https://www.shop.example", "https://a.b.c.shop.example",
    "https://www.shop.example:8443", "https://WWW.SHOP.EXAMPLE", f"https://{HOST}",
)  # fmt: skip

LOOK_ALIKES: Final = (
    "https://evil.example", "https://shop.example.evil.example", "https://evilshop.example", "https://shopexample",
    "https://example", "https://shop.example.", "https://shop.example..", "https://.shop.example.evil.example",
    "https://shop.example@evil.example", "https://evil.example/shop.example", "https://evil.example#shop.example",
    "https://evil.example?shop.example", "https://evil.example\\.shop.example", "https://shop.example%2eevil.example",
    "https://shop.examp1e", "https://xn--shop-.example", "https://shop\u3002example", "https://sh\u043ep.example",
    "https://\u017fhop.example", "https://[::1]", "https://127.0.0.1", "https://kiosk.example", "null", "NULL", "",
    "*", "file://", "ftp://shop.example", "chrome-extension://abcdef", "javascript://shop.example", "//shop.example",
    "shop.example", "https:shop.example", "https:/shop.example", " https://shop.example, https://evil.example",
    "https://shop.example https://evil.example", "https://shop.example:443:443", "https://shop.example:x",
    "https://shop.example:999999",
)  # fmt: skip

BLOCKED: Final = b"Tracking blocked for this domain"


@pytest.mark.parametrize("origin", ALLOWED)
async def test_row_26_a_page_of_the_site_may_send_and_read_the_answer(both: Running, origin: str) -> None:
    said = (await both.talk(request_bytes(headers={"Origin": origin, "User-Agent": AGENT}, body=EVENT))).only
    assert said.status == 204
    assert said.header("access-control-allow-origin") == origin
    assert said.header("access-control-allow-credentials") == "true"
    assert said.header("access-control-expose-headers") == "X-Gateway-Dropped, Retry-After"
    assert said.header("vary") == "Origin"


@pytest.mark.parametrize("origin", LOOK_ALIKES)
@pytest.mark.parametrize(("path", "body"), [("/collect", EVENT), ("/consent", CHOICE)])
async def test_row_26_a_look_alike_is_told_that_it_is_blocked_and_nothing_is_set(
    both: Running, path: str, body: bytes, origin: str
) -> None:
    """The final dot is the one spelling of ours in the list: a name with it is the same name."""
    stored = both.everything_stored()
    headers = {"Origin": origin, "User-Agent": AGENT, "Cookie": "__Host-gwid=x; __Host-gwconsent=x; __Host-gwclick=x"}
    said = (await both.talk(request_bytes("POST", path, headers=headers, body=body))).only
    if origin == "https://shop.example.":
        assert said.status in {200, 204}
        return
    refused_with(said, 403, "domain_not_allowed")
    assert BLOCKED in said.body
    assert both.everything_stored() == stored
    readable = said.header("access-control-allow-origin")
    assert readable in {None, origin}, "an origin is repeated as it is or not at all"
    if readable is not None:
        assert readable == "null" or readable.startswith(("http://", "https://"))
        assert set(readable) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:[]-/")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example"])
async def test_row_26_the_tag_on_a_blocked_page_can_read_why(both: Running, origin: str) -> None:
    with both.refusing("/collect", "domain_not_allowed"):
        said = (await both.talk(request_bytes(headers={"Origin": origin}, body=EVENT))).only
    assert said.header("access-control-allow-origin") == origin
    assert said.header("access-control-allow-credentials") == "true"
    assert said.header("set-cookie") is None


async def test_row_26_a_page_of_one_site_may_not_send_to_another(both: Running) -> None:
    """Both sites are of the same owner; each takes its own domains."""
    data = request_bytes(host=OTHER_HOST, headers={"Origin": PAGE}, body=EVENT)
    with both.refusing("/collect", "domain_not_allowed", site="kiosk"):
        refused_with((await both.talk(data)).only, 403, "domain_not_allowed")
    said = (
        await both.talk(request_bytes(host=OTHER_HOST, headers={"Origin": "https://kiosk.example"}, body=EVENT))
    ).only
    assert said.status == 204


@pytest.mark.parametrize(
    "origin", ["https://\u212aiosk.example", "https://KIOSK.EXAMPLE\u212a", "https://\u212aiosk.example/x"]
)
async def test_row_26_a_letter_that_only_becomes_ours_in_lower_case_is_not_ours(both: Running, origin: str) -> None:
    """The Kelvin sign is no k."""
    with both.refusing("/collect", "domain_not_allowed", site="kiosk"):
        said = (await both.talk(request_bytes(host=OTHER_HOST, headers={"Origin": origin}, body=EVENT))).only
    refused_with(said, 403, "domain_not_allowed")
    assert said.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    "origin", [b"https://shop.example/\xff", b"https://shop.example/<script>", b"https://shop.example/" + b"a" * 15_000]
)
async def test_row_26_what_no_browser_sends_as_an_origin_is_not_written_back(both: Running, origin: bytes) -> None:
    """The page is ours, so the event is taken; the header would carry what somebody chose."""
    stored = both.count()
    said = (await both.talk(request_bytes(headers={"Origin": origin}, body=EVENT))).only
    assert said.status == 204
    assert said.header("access-control-allow-origin") is None
    assert both.count() == stored + 1
    refused = (await both.talk(request_bytes(headers={"Origin": origin}, body=b"{}"))).only
    refused_with(refused, 400, "field_missing", "name")
    assert refused.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        ("https://www.shop.example/products/1?x=https://evil.example", 204),
        ("https://evil.example/www.shop.example/", 403),
        ("https://evil.example/?x=https://www.shop.example/", 403),
        ("https://shop.example.evil.example/", 403),
        ("about:blank", 403),
        ("", 403),
        ("https://" + "a" * 280 + ".shop.example.evil.example/", 403),
        ("https://" + "a" * 279 + ".shop.example" + "." * 20 + "evil.example/", 403),
        ("https://shop.example/" + "a" * 15_000, 204),
    ],
)
async def test_row_26_without_an_origin_the_referrer_decides(both: Running, referer: str, status: int) -> None:
    said = (await both.talk(request_bytes(headers={"Referer": referer}, body=EVENT))).only
    assert said.status == status
    assert said.header("access-control-allow-origin") is None


async def test_row_26_an_origin_that_is_not_allowed_is_not_saved_by_a_referrer(both: Running) -> None:
    headers = {"Origin": "null", "Referer": "https://www.shop.example/"}
    with both.refusing("/collect", "domain_not_allowed"):
        refused_with((await both.talk(request_bytes(headers=headers, body=EVENT))).only, 403, "domain_not_allowed")


async def test_row_26_an_event_without_any_origin_is_taken_and_marked(both: Running) -> None:
    said = (await both.talk(request_bytes(body=b'{"name":"a","id":"row26-missing"}'))).only
    assert said.status == 204
    assert said.header("access-control-allow-origin") is None
    assert both.facts("row26-missing")["marks"] == ["origin_missing"]


async def test_row_26_a_site_can_refuse_what_comes_without_origin(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running(tmp_path_factory.mktemp("strict"), shop={"missing_origin": "refuse"}) as shop:
        for path in ("/p.gif", "/consent", "/link?to=shop.example"):
            said = await shop.send("GET", path)
            assert said.status == (200 if path == "/p.gif" else 403)
            assert said.header("set-cookie") is None
        with shop.refusing("/collect", "domain_not_allowed"):
            refused_with((await shop.talk(request_bytes(body=EVENT))).only, 403, "domain_not_allowed")
        assert shop.count() == 0


# ------------------------------------------------------------------ asking first


@pytest.mark.parametrize("path", ["/collect", "/consent"])
async def test_a_page_of_the_site_may_send_with_a_content_type(both: Running, path: str) -> None:
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    said = await both.send("OPTIONS", path, headers=headers)
    assert said.status == 204
    assert said.header("access-control-allow-origin") == PAGE
    assert said.header("access-control-allow-credentials") == "true"
    assert said.header("access-control-allow-methods") == "GET, POST"
    assert said.header("access-control-allow-headers") == "content-type"
    assert said.header("access-control-max-age") == "7200"
    assert said.header("vary") == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", None])
@pytest.mark.parametrize("path", ["/collect", "/consent"])
async def test_a_page_of_another_domain_is_allowed_nothing_when_it_asks_first(
    both: Running, path: str, origin: str | None
) -> None:
    said = await both.send("OPTIONS", path, headers={"Origin": origin} if origin is not None else {})
    assert said.status == 204
    assert [name for name, _ in said.headers if name.startswith("access-control")] == []
    assert said.header("vary") == "Origin"


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/conversions", "/api/v1/conversions/batch"])
async def test_the_api_is_not_for_pages(both: Running, path: str) -> None:
    """No preflight and no CORS header: a page can neither send a key nor read an answer."""
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    asked = await both.send("OPTIONS", path, headers=headers)
    assert asked.status == 405
    assert "OPTIONS" not in (asked.header("allow") or "")
    made = await both.new_key()
    said = await both.api(path, {"name": "a"}, made["key"], headers={"Origin": PAGE})
    assert said.status == 200
    assert [name for name, _ in [*asked.headers, *said.headers] if name.startswith("access-control")] == []


async def test_a_preflight_to_a_host_that_is_not_configured_is_misdirected(both: Running) -> None:
    refused_with(
        await both.send("OPTIONS", "/collect", headers={"Origin": PAGE}, host="evil.example"), 421, "host_unknown"
    )
