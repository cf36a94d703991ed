"""Rows 1 to 6: what is no HTTP, or not HTTP for us, is refused before anything looks at it.

Raw bytes over a socket, through the fast lane and through aiohttp's own way. Every answer is the fixed refusal to the
last byte, so nothing that was sent can be in it.
"""

import asyncio
from typing import Final

import pytest

from gateway.entropy import SeededEntropy
from tests.support.cases import named
from tests.support.running import AGENT, HOST, OTHER_HOST, PAGE, Running, hear, opened, refused_with, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT: Final = b'{"name":"page_view"}'
LENGTH: Final = b"Content-Length: %d\r\n" % len(EVENT)
HEAD: Final = b"POST /collect HTTP/1.1\r\nHost: t.shop.example\r\nOrigin: https://www.shop.example\r\n"

BROKEN: Final[dict[str, bytes]] = {
    "length and chunks": HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "two different lengths": HEAD + LENGTH + b"Content-Length: 5\r\n\r\n" + EVENT,
    "the same length twice": HEAD + LENGTH + LENGTH + b"\r\n" + EVENT,
    "a list of lengths": HEAD + b"Content-Length: 20, 20\r\n\r\n" + EVENT,
    "a length with a plus": HEAD + b"Content-Length: +20\r\n\r\n" + EVENT,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length with an underscore": HEAD + b"Content-Length: 2_0\r\n\r\n" + EVENT,
    "a hexadecimal length": HEAD + b"Content-Length: 0x14\r\n\r\n" + EVENT,
    "a length in full-width digits": HEAD + "Content-Length: ２０\r\n\r\n".encode() + EVENT,
    "a length of 30 digits": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "an empty length": HEAD + b"Content-Length:\r\n\r\n" + EVENT,
    "an unknown transfer coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not the last coding": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": HEAD + b"X-A: 1\r\n 2\r\n" + LENGTH + b"\r\n" + EVENT,
    "bare line feeds": (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + EVENT,
    "a bare line feed after one header": HEAD + b"X-A: 1\n" + LENGTH + b"\r\n" + EVENT,
    "a bare carriage return in a value": HEAD + b"X-A: 1\r2\r\n" + LENGTH + b"\r\n" + EVENT,
    "a space before the colon": HEAD + b"Content-Length : 20\r\n\r\n" + EVENT,
    "a tab before the colon": HEAD + b"X-A\t: 1\r\n" + LENGTH + b"\r\n" + EVENT,
    "a space before the first header": b"POST /collect HTTP/1.1\r\n Host: t.shop.example\r\n"
    + LENGTH
    + b"\r\n"
    + EVENT,
    "a header without a colon": HEAD + b"X-A\r\n" + LENGTH + b"\r\n" + EVENT,
    "a header without a name": HEAD + b": 1\r\n" + LENGTH + b"\r\n" + EVENT,
    "NUL in a value": HEAD + b"X-A: a\x00b\r\n" + LENGTH + b"\r\n" + EVENT,
    "NUL in a name": HEAD + b"X-\x00A: 1\r\n" + LENGTH + b"\r\n" + EVENT,
    "a byte above ASCII in a name": HEAD + b"X-\xe4: 1\r\n" + LENGTH + b"\r\n" + EVENT,
    "two Host headers": HEAD + b"Host: t.kiosk.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "no Host header": b"POST /collect HTTP/1.1\r\n" + LENGTH + b"\r\n" + EVENT,
    "NUL in the path": b"POST /collect\x00 HTTP/1.1\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "bytes above ASCII in the path": b"GET /p.gif?title=\xff\xfe HTTP/1.1\r\nHost: t.shop.example\r\n\r\n",
}

NOT_OURS: Final[dict[str, bytes]] = {
    "HTTP/2.0 in the request line": b"POST /collect HTTP/2.0\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "HTTP/3.0 in the request line": b"POST /collect HTTP/3.0\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "HTTP/0.9 in the request line": b"POST /collect HTTP/0.9\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "HTTP/9.9 in the request line": b"POST /collect HTTP/9.9\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "a request without a version": b"GET /collect\r\n\r\n",
    "a method in lower case": b"post /collect HTTP/1.1\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "an unknown method": b"FETCH /collect HTTP/1.1\r\nHost: t.shop.example\r\n" + LENGTH + b"\r\n" + EVENT,
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(range(150)),
    "random bytes": SeededEntropy(b"noise").token_bytes(200) + b"\r\n\r\n",
    "a redis command": b"*1\r\n$4\r\nPING\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_row_01_a_broken_frame_is_refused_and_the_connection_closed(both: Running, case: str) -> None:
    with both.refusing("unparsed", "request_malformed", site=None):
        heard = await both.talk(BROKEN[case])
    refused_with(heard.only, 400, "request_malformed")
    assert heard.closed
    await both.still_answers()


@pytest.mark.parametrize(
    "body",
    named(
        {
            "an underscore in a chunk size": b"1_0\r\n" + b"1" * 16 + b"\r\n0\r\n\r\n",
            "a chunk size of 17 digits": b"ffffffffffffffff0\r\nx",
            "a negative chunk size": b"-1\r\nx\r\n0\r\n\r\n",
            "a chunk size that is none": b"zz\r\n",
            "a chunk that is longer than it says": b"1\r\n{}\r\n0\r\n\r\n",
            "a bare line feed after a chunk size": b"2\n{}\r\n0\r\n\r\n",
            "a line feed hidden in a chunk extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
            "a bad chunk after a good one": b"2\r\n{}\r\nzz\r\n",
        }.items()
    ),
)
async def test_row_01_a_broken_chunk_is_refused_and_the_connection_closed(both: Running, body: bytes) -> None:
    stored = both.count()
    heard = await both.talk(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    refused_with(heard.only, 400, "request_malformed")
    assert heard.closed
    assert both.count() == stored
    await both.still_answers()


async def test_row_01_nothing_behind_a_broken_frame_is_taken(both: Running) -> None:
    """A smuggled second request would be taken if the connection lived on."""
    hidden = request_bytes(headers={"Origin": PAGE}, body=EVENT)
    stored = both.count()
    for case in ("length and chunks", "two different lengths", "a length with a plus"):
        heard = await both.talk(BROKEN[case] + hidden, want=2)
        assert [said.status for said in heard.answers] == [400]
        assert heard.closed
    assert both.count() == stored


@pytest.mark.parametrize("host", [
    "", "evil.example", "shop.example", "www.shop.example", "t.shop.example.evil.example", "evilt.shop.example",
    "t.shop.example@evil.example", "t.shop.example:80:80", "t.shop.example:", "t.shop.example:x", "127.0.0.1", "[::1]",
    "localhost", "t.shop.example..", "t.shop.example,evil.example", "t.shop.example/x", "T.\u212aiosk.example", "*",
])  # fmt: skip
async def test_row_02_a_host_that_is_not_configured_is_misdirected(both: Running, host: str) -> None:
    with both.refusing("/collect", "host_unknown", site=None):
        heard = await both.talk(request_bytes(host=host, headers={"Origin": PAGE}, body=EVENT))
    refused_with(heard.only, 421, "host_unknown")
    assert heard.only.header("access-control-allow-origin") is None
    await both.still_answers()


@pytest.mark.parametrize("target", [
    "http://evil.example/collect", "http://t.shop.example/collect", "https://t.kiosk.example/collect",
    "http://t.shop.example@evil.example/collect",
])  # fmt: skip
async def test_row_02_an_absolute_target_is_misdirected_whatever_it_names(both: Running, target: str) -> None:
    with both.refusing("unknown", "host_unknown", site=None):
        heard = await both.talk(request_bytes("POST", target, headers={"Origin": PAGE}, body=EVENT))
    refused_with(heard.only, 421, "host_unknown")
    await both.still_answers()


@pytest.mark.parametrize(
    "host", [HOST, "T.SHOP.EXAMPLE", "t.shop.example.", "t.shop.example:443", "t.shop.example.:8080"]
)
async def test_row_02_the_site_is_found_by_its_host_without_case_port_and_final_dot(both: Running, host: str) -> None:
    said = (await both.talk(request_bytes(host=host, headers={"Origin": PAGE}, body=EVENT))).only
    assert said.status == 204


async def test_row_02_forwarded_hosts_choose_nothing(both: Running) -> None:
    """The site is that of the Host header, for a peer nobody trusts and for any header."""
    headers = {"Origin": "https://www.shop.example", "X-Forwarded-Host": OTHER_HOST, "Forwarded": f"host={OTHER_HOST}"}
    said = (await both.talk(request_bytes(headers=headers, body=b'{"name":"page_view","id":"row02-host"}'))).only
    assert said.status == 204
    found = both.rows("select site from site natural join event where event_id = 'row02-host'")
    assert found == [("shop",)]


@pytest.mark.parametrize("case", NOT_OURS)
async def test_row_03_what_is_not_our_protocol_is_refused_and_the_connection_closed(both: Running, case: str) -> None:
    stored = both.everything_stored()
    heard = await both.talk(NOT_OURS[case])
    refused_with(heard.only, 400, "request_malformed")
    assert heard.closed
    assert both.everything_stored() == stored
    await both.still_answers()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE", "PATCH", "GET", "HEAD", "PROPFIND", "QUERY"])
async def test_row_04_another_method_is_answered_with_the_methods_there_are(both: Running, method: str) -> None:
    with both.refusing("/collect", "method_not_allowed", site=None):
        heard = await both.talk(request_bytes(method, "/collect"), headless=method == "HEAD")
    assert heard.only.status == 405
    assert heard.only.header("allow") == "OPTIONS, POST"
    if method != "HEAD":
        refused_with(heard.only, 405, "method_not_allowed")
    await both.still_answers()


async def test_row_04_a_tunnel_to_somewhere_else_is_no_request_for_us(both: Running) -> None:
    heard = await both.talk(request_bytes("CONNECT", "evil.example:443") + b"\x16\x03\x01", want=2)
    assert [said.status for said in heard.answers] == [400]
    assert heard.closed


@pytest.mark.parametrize(
    "headers",
    [
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "x" * 22 + "==",
            "Sec-WebSocket-Version": "13",
        },
        {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"},
        {"Connection": "Upgrade", "Upgrade": "TLS/1.0"},
    ],
    ids=["websocket", "h2c", "tls"],
)
async def test_row_05_an_upgrade_is_not_made_and_the_event_is_taken(both: Running, headers: dict[str, str]) -> None:
    """The second request on the connection proves that it still speaks HTTP."""
    stored = both.count()
    async with opened(both.port) as (reader, writer):
        for more in (headers, {}):
            writer.write(request_bytes(headers={"Origin": PAGE, "User-Agent": AGENT, **more}, body=EVENT))
            heard = await hear(reader)
            assert heard.only.status == 204
            assert heard.only.header("upgrade") is None
            assert heard.interim == []
    assert both.count() == stored + 2


async def test_row_05_bytes_after_a_refused_upgrade_are_no_tunnel(both: Running) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "=="}
    heard = await both.talk(request_bytes("GET", "/gw.js", headers=headers) + b"\x81\x85\x00\x00\r\n\r\n", want=2)
    assert [said.status for said in heard.answers] == [200, 400]
    assert heard.closed
    await both.still_answers()


@pytest.mark.parametrize(
    ("data", "code"),
    named([
        ("a header of 17 KB", request_bytes(headers={"X-A": "a" * 17_000}, body=EVENT), "headers_too_large"),
        ("a cookie of 17 KB", request_bytes(headers={"Cookie": "a=" + "b" * 17_000}, body=EVENT), "headers_too_large"),
        ("a header name of 17 KB", request_bytes(headers={"a" * 17_000: "1"}, body=EVENT), "headers_too_large"),
        ("a request line of 9 KB", request_bytes("GET", "/p.gif?title=" + "a" * 9_000), "headers_too_large"),
        ("a path of 9 KB", request_bytes("POST", "/" + "a" * 9_000, body=EVENT), "headers_too_large"),
        ("1,000 headers", request_bytes(headers={f"X-{n}": "1" for n in range(1_000)}, body=EVENT), "request_malformed"),
        ("101 headers", request_bytes(headers={f"X-{n}": "1" for n in range(99)}, body=EVENT), "request_malformed"),
    ]),
)  # fmt: skip
async def test_row_06_headers_over_a_limit_are_refused(both: Running, data: bytes, code: str) -> None:
    with both.refusing("unparsed", code, site=None):
        heard = await both.talk(data)
    refused_with(heard.only, 400, code)
    assert heard.closed
    await both.still_answers()


@pytest.mark.parametrize(
    "data",
    named([
        ("a header of 16,000 bytes", request_bytes(headers={"Origin": PAGE, "X-A": "a" * 16_000}, body=EVENT)),
        ("97 more headers", request_bytes(headers={"Origin": PAGE} | {f"X-{n}": "1" for n in range(96)}, body=EVENT)),
        ("a request line of 8,100 bytes", request_bytes("POST", "/collect?" + "a" * 8_050, headers={"Origin": PAGE}, body=EVENT)),
    ]),
)  # fmt: skip
async def test_row_06_headers_just_under_a_limit_are_taken(both: Running, data: bytes) -> None:
    assert (await both.talk(data)).only.status == 204


@pytest.mark.parametrize(
    "path", ["//collect", "/./collect", "/%63ollect", "/collect/", "/collect%00", "/Collect", "/x/../collect", "*"]
)
async def test_a_path_is_compared_as_it_was_written(both: Running, path: str) -> None:
    """Nothing is decoded before it is known to be ours, so a proxy's rules for paths cannot be walked around."""
    stored = both.count()
    said = (await both.talk(request_bytes("POST", path, headers={"Origin": PAGE}, body=EVENT))).only
    if path == "*":
        refused_with(said, 400, "request_malformed")
    else:
        refused_with(said, 404, "route_unknown")
    assert both.count() == stored


async def test_expecting_to_continue_is_answered_before_the_body(both: Running) -> None:
    at_once = await both.talk(request_bytes(headers={"Origin": PAGE, "Expect": "100-continue"}, body=EVENT))
    assert at_once.only.status == 204
    async with opened(both.port) as (reader, writer):
        headers = {"Origin": PAGE, "Expect": "100-continue", "Content-Length": str(len(EVENT))}
        writer.write(request_bytes(headers=headers))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(EVENT)
        assert (await hear(reader)).only.status == 204


async def test_a_body_that_is_refused_by_its_length_is_never_asked_for(both: Running) -> None:
    headers = {"Origin": PAGE, "Expect": "100-continue", "Content-Length": "65537"}
    heard = await both.talk(request_bytes(headers=headers))
    refused_with(heard.only, 413, "body_too_large")
    assert heard.interim == []
    assert heard.closed


async def test_expecting_anything_else_is_refused(both: Running) -> None:
    with both.refusing("/collect", "request_malformed", site=None):
        heard = await both.talk(request_bytes(headers={"Origin": PAGE, "Expect": "x"}, body=EVENT))
    refused_with(heard.only, 400, "request_malformed")
    assert heard.closed


async def test_requests_in_one_piece_are_answered_in_order(both: Running) -> None:
    stored = both.count()
    good = request_bytes(headers={"Origin": PAGE}, body=EVENT)
    bad = request_bytes(headers={"Origin": PAGE}, body=b"{}")
    script = request_bytes("GET", "/gw.js")
    heard = await both.talk(good + bad + good + script + bad + good, want=6)
    assert [said.status for said in heard.answers] == [204, 400, 204, 200, 400, 204]
    assert both.count() == stored + 3


async def test_a_request_in_single_bytes_is_taken(both: Running) -> None:
    async with opened(both.port) as (reader, writer):
        for byte in request_bytes(headers={"Origin": PAGE}, body=EVENT):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await hear(reader)).only.status == 204


async def test_http_1_0_is_answered_and_the_connection_closed(both: Running) -> None:
    data = b"POST /collect HTTP/1.0\r\nHost: t.shop.example\r\nOrigin: https://www.shop.example\r\n" + LENGTH + b"\r\n"
    heard = await both.talk(data + EVENT)
    assert heard.only.status == 204
    assert heard.closed
