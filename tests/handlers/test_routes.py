"""Every route of the collection listener: what it answers, what it refuses, and what is not there."""

import gzip
from typing import Final

import pytest

from gateway.handlers.routes import COLLECTION
from gateway.pages import tag
from tests.support.running import AGENT, PAGE, Running, refused_with, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS: Final[dict[str, str]] = {
    "/collect": "OPTIONS, POST",
    "/p.gif": "GET, HEAD",
    "/gw.js": "GET, HEAD",
    "/gw.1.0.0.js": "GET, HEAD",
    "/gw-bridge.1.0.0.js": "GET, HEAD",
    "/link": "GET, HEAD",
    "/consent": "GET, HEAD, OPTIONS, POST",
    "/privacy": "GET, HEAD, POST",
    "/privacy.css": "GET, HEAD",
    "/.well-known/gpc.json": "GET, HEAD",
    "/api/v1/events": "POST",
    "/api/v1/conversions": "GET, HEAD, POST",
    "/api/v1/conversions/*": "GET, HEAD, POST",
    "/api/v1/conversions/batch": "POST",
    "/api/v1/conversions/goals": "GET, HEAD, POST",
    "/api/v1/conversions/track": "OPTIONS, POST",
    "/api/conversions/track/*": "GET, HEAD, OPTIONS, POST",
    "/api/v1/uploads": "POST",
    "/api/v1/spend": "GET, HEAD, POST",
    "/api/v1/reports/*": "GET, HEAD",
    "/api/v1/exports/*": "GET, HEAD",
    "/api/v1/analytics/conversions": "GET, HEAD",
    "/api/v1/abandoned": "GET, HEAD",
    "/webhooks/*": "POST",
    "/numbers.json": "GET, HEAD",
    "/l/*": "GET, HEAD",
    "/L/*": "GET, HEAD",
    **{f"/api/v1/{kind}": "GET, HEAD, POST" for kind in ("campaigns", "links", "ambassadors", "coupons", "goals")},
    **{
        f"/api/v1/{kind}/*": "DELETE, GET, HEAD, PATCH, POST"
        for kind in ("campaigns", "links", "ambassadors", "coupons", "goals")
    },
}
"""Path to its Allow header, written down from the public contract."""


async def test_the_list_of_methods_covers_every_route() -> None:
    assert {route.path for route in COLLECTION} == {path.replace("1.0.0.js", "*") for path in METHODS}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", METHODS)
async def test_row_04_a_route_takes_its_methods_and_names_them_for_others(
    shared: Running, path: str, method: str
) -> None:
    allowed = METHODS[path].split(", ")
    said = (await shared.talk(request_bytes(method, path), headless=method == "HEAD")).only
    if method in allowed:
        assert said.status != 405
        assert said.status < 500
    else:
        assert said.status == 405
        assert said.header("allow") == METHODS[path]


@pytest.mark.parametrize(
    "path",
    ["/", "/x", "/collect/", "/collect/x", "/gw", "/gw.", "/gw.js/", "/gw.map", "/gw.1.0.0", "/gw.0.0.0.js", "/gw.1.0.0.js.map",
     "/gw.../../../etc/passwd.js", "/gw.%2e%2e/x.js", "/gw.1.0.0.js%00.js", "/p.gif/x", "/consent/x", "/api", "/api/v1",
     "/api/v1/events/", "/api/v2/events", "/.env", "/.git/config", "/wp-login.php", "/favicon.ico",
     "/index.html", "/robots.txt", "/../../etc/passwd", "/" + "a" * 4_000,
     "/healthz", "/readyz", "/metrics", "/login", "/status.css", "/api/admin/v1/status", "/api/admin/v1/keys",
     "/api/admin/v1/check", "/api/admin/v1/replay", "/api/admin/v1/events/x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "TRACE"])
async def test_nothing_else_is_there_and_nothing_of_the_admin_listener(shared: Running, path: str, method: str) -> None:
    said = (await shared.talk(request_bytes(method, path, headers={"Authorization": f"Bearer {shared.token}"}))).only
    if path.startswith("/gw.") and len(path) > 4 and method != "GET":
        assert said.status == 405
    else:
        refused_with(said, 404, "route_unknown")


async def test_every_answer_says_little_about_the_server(shared: Running) -> None:
    for path in ("/gw.js", "/p.gif", "/consent", "/x", "/collect"):
        said = await shared.send("GET", path, headers={"Origin": PAGE})
        assert said.header("server") == "gateway"
        assert said.header("x-powered-by") is None
        assert b"aiohttp" not in said.head + said.body
        assert b"Python" not in said.head + said.body


# ------------------------------------------------------------------ the tag


async def test_the_tag_is_served_whole_compressed_or_not_at_all_if_known(shared: Running) -> None:
    newest = tag.VERSIONS[tag.LATEST]
    plain = await shared.send("GET", "/gw.js")
    assert (plain.status, plain.body) == (200, newest.source)
    assert plain.header("content-type") == "text/javascript; charset=utf-8"
    assert plain.header("cache-control") == "public, max-age=300"
    assert plain.header("access-control-allow-origin") == "*"
    assert plain.header("cross-origin-resource-policy") == "cross-origin"
    assert plain.header("x-content-type-options") == "nosniff"
    assert plain.header("set-cookie") is None
    packed = await shared.send("GET", "/gw.js", headers={"Accept-Encoding": "gzip, br"})
    assert packed.header("content-encoding") == "gzip"
    assert packed.header("vary") == "Accept-Encoding"
    assert gzip.decompress(packed.body) == newest.source
    known = await shared.send("GET", "/gw.js", headers={"If-None-Match": plain.header("etag") or ""})
    assert (known.status, known.body) == (304, b"")
    forever = await shared.send("GET", f"/gw.{tag.LATEST}.js")
    assert forever.body == newest.source
    assert forever.header("cache-control") == "public, max-age=31536000, immutable"


async def test_head_answers_the_same_headers_without_the_body(shared: Running) -> None:
    whole = await shared.send("GET", "/gw.js")
    head = await shared.send("HEAD", "/gw.js")
    assert [h for h in head.headers if h[0] != "date"] == [h for h in whole.headers if h[0] != "date"]
    assert head.body == b""


# ------------------------------------------------------------------ the image


async def image(shop: Running, query: str, **headers: str | bytes) -> dict[str, str | None]:
    """Ask for the image and check that it is one. Answers what the headers say."""
    sent: dict[str, str | bytes] = {"User-Agent": AGENT}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    said = await shop.send("GET", f"/p.gif{query}", headers=sent)
    assert said.status == 200
    assert said.body.startswith(b"GIF89a")
    assert said.body.endswith(b";")
    assert len(said.body) == 42
    assert said.header("content-type") == "image/gif"
    assert said.header("cache-control") == "no-store"
    assert said.header("x-content-type-options") == "nosniff"
    return {"dropped": said.header("x-gateway-dropped"), "cookies": said.header("set-cookie")}


async def test_the_image_records_what_its_address_says(shared: Running) -> None:
    query = "?name=purchase&id=image-0001&value=12.50&currency=EUR&order_id=77&title=caf%C3%A9&name=second"
    assert await image(shared, query, Referer="https://www.shop.example/thanks?x=1") == {
        "dropped": None,
        "cookies": None,
    }
    assert shared.rows("select name from event where event_id = 'image-0001'") == [("purchase",)]
    assert shared.rows("select amount_minor, order_id from conversion where order_id = '77'") == [(1_250, "77")]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?nonsense=1", "field_unknown"),
        ("?%3Cscript%3E=1", "field_unknown"),
        ("?visitor=x", "field_unknown"),
        ("?consent=granted", "field_unknown"),
        ("?name=Page", "event_name_invalid"),
        ("?name=%00", "event_name_invalid"),
        ("?id=short", "event_id_invalid"),
        ("?value=abc&currency=EUR", "amount_invalid"),
        ("?value=-1&currency=EUR", "amount_negative"),
        ("?value=NaN&currency=EUR", "amount_not_finite"),
        ("?value=1&currency=XXQ", "currency_unknown"),
        ("?order_id=%1b%5b31m", "field_invalid"),
        ("?title=" + "a" * 1_025, "field_too_long"),
        ("?" + "&".join(f"a{n}=1" for n in range(51)), "fields_too_many"),
        ("?" + "&" * 8_000, "fields_too_many"),
    ],
)
async def test_row_12_a_wrong_parameter_is_named_in_a_header_and_the_image_comes_all_the_same(
    shared: Running, query: str, code: str
) -> None:
    with shared.refusing("/p.gif", code):
        assert await image(shared, query, Referer=PAGE + "/") == {"dropped": code, "cookies": None}


@pytest.mark.parametrize(
    "query", ["?title=%ff%fe", "?title=%ed%a0%80", "?title=%", "?title=%zz", "?title=%00", "?&&=&=x&title"]
)
async def test_row_14_strange_bytes_in_the_query_are_cleaned(shared: Running, query: str) -> None:
    stored = shared.count()
    answered = await image(shared, query, Referer=PAGE + "/")
    assert answered["dropped"] in {None, "field_unknown"}
    assert shared.count() == stored + (1 if answered["dropped"] is None else 0)


async def test_an_image_of_a_page_of_another_domain_sets_and_stores_nothing(shared: Running) -> None:
    for headers in ({"Referer": "https://evil.example/"}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
        with shared.refusing("/p.gif", "domain_not_allowed"):
            assert await image(shared, "", **headers) == {"dropped": "domain_not_allowed", "cookies": None}


@pytest.mark.parametrize(
    "header",
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Moz", "Prefetch"),
    ],
)
async def test_a_prefetched_image_is_answered_and_not_counted(shared: Running, header: tuple[str, str]) -> None:
    stored = shared.everything_stored()
    name, value = header
    assert (await image(shared, "", **{"Referer": PAGE + "/", name: value}))["dropped"] == "prefetch"
    assert shared.everything_stored() == stored


async def test_an_image_on_a_host_that_is_not_configured_is_misdirected(shared: Running) -> None:
    refused_with(await shared.send("GET", "/p.gif", host="evil.example"), 421, "host_unknown")


@pytest.mark.parametrize("path", ["/p.gif", "/link", "/consent", "/gw.js"])
async def test_a_body_where_none_is_read_ends_the_connection_and_nothing_else(shared: Running, path: str) -> None:
    """What follows such a request must not be taken for the next one."""
    hidden = request_bytes(headers={"Origin": PAGE}, body=b'{"name":"page_view","id":"hidden-1"}')
    stored = shared.rows("select count(*) from event where event_id = 'hidden-1'")
    data = request_bytes("GET", path, headers={"Origin": PAGE, "Content-Length": str(len(hidden) + 100)}) + hidden
    heard = await shared.talk(data, want=2)
    assert len(heard.answers) == 1
    assert shared.rows("select count(*) from event where event_id = 'hidden-1'") == stored
    await shared.still_answers()


# ------------------------------------------------------------------ the token for another domain


@pytest.mark.parametrize("query", ["", "?to=", "?to=evil.example", "?To=shop.example", "?x=shop.example"])
async def test_row_12_a_link_needs_a_listed_host(shared: Running, query: str) -> None:
    with shared.refusing("/link", "field_invalid"):
        refused_with(await shared.send("GET", f"/link{query}", headers={"Origin": PAGE}), 400, "field_invalid", "to")


async def test_row_12_a_link_with_too_many_parameters_is_refused(shared: Running) -> None:
    query = "&".join(f"a{n}=1" for n in range(60))
    with shared.refusing("/link", "fields_too_many"):
        refused_with(await shared.send("GET", f"/link?{query}", headers={"Origin": PAGE}), 400, "fields_too_many")


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip", True), ("gzip;q=0.5", True), ("deflate, gzip;q=1.0, *;q=0.5", True), ("*", True),
        ("gzip;q=0", False), ("gzip;q=0.000", False), ("gzip ; q=0.0", False), ("br", False), ("identity", False), ("", False),
        ("xgzip", False),
    ],
)  # fmt: skip
async def test_the_tag_is_packed_only_for_who_can_unpack_it(shared: Running, accepts: str, packed: bool) -> None:
    said = await shared.send("GET", "/gw.js", headers={"Accept-Encoding": accepts})
    assert (said.header("content-encoding") == "gzip") is packed
    assert (said.body[:2] == b"\x1f\x8b") is packed
