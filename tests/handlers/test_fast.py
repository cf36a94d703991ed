"""The fast lane and aiohttp's own way give the same answers and leave the same rows.

Two gateways with the same keys, the same clock and the same random bytes: whatever one of them answers, sets or stores,
the other does too, to the last byte. Only the Date header may differ.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio

from gateway import identity
from gateway.entropy import SeededEntropy
from gateway.handlers import fast_views
from gateway.handlers.fast import usable
from tests.handlers.conftest import UNLIMITED
from tests.support.nowhere import NOWHERE
from tests.support.running import (
    AGENT,
    HOST,
    NOW_MS,
    OTHER_HOST,
    PAGE,
    Pairs,
    Running,
    Talk,
    hear,
    opened,
    request_bytes,
    running,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT: Final = b'{"name":"page_view"}'
TODAY: Final = NOW_MS // 86_400_000
VISITOR: Final = "AAAAAAAAAAAAAAAAAAAAAA"
CONSENT: Final = {"analytics": "granted", "advertising": "granted", "ad_user_data": "granted"}


class _Even(SeededEntropy):
    """Random bytes in the same order for both, however often a delivery is put off."""

    __slots__ = ()

    def fraction(self) -> float:
        return 0.5


class Ways(NamedTuple):
    quick: Running
    own: Running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
    webhook = {
        "platform": "webhook", "name": "crm", "url": "https://crm.example/in", "purposes": ["analytics"],
        "signing_secret": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY", "events": ["page_view", "purchase"],
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(
                running(
                    tmp_path_factory.mktemp(name),
                    fast=name == "quick",
                    entropy=_Even(b"the same"),
                    network=NOWHERE,
                    limits=UNLIMITED,
                    proxy={"trusted": ["127.0.0.1"]},
                    shop={"destination": [webhook], "linked_domains": ["partner.example"]},
                )
            )
            for name in ("quick", "own")
        ]
        yield Ways(*both)


@pytest.fixture
def taken_quickly(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bodies that went through the fast lane."""
    seen: list[bytes] = []
    take = fast_views.Hit.take

    def counted(hit: fast_views.Hit, body: bytes) -> None:
        seen.append(body)
        take(hit, body)

    monkeypatch.setattr(fast_views.Hit, "take", counted)
    return seen


TABLES: Final = {
    "event": "site_no, event_id, name, trust, occurred_at_ms, received_at_ms, visitor_kind, visitor_key, person_key, facts",
    "conversion": "conversion_id, goal, claim_key, order_id, amount_minor, currency, test, fate, reason, counted_id",
    "touch": "kind, visitor_key, occurred_at_ms, referrer, campaign, click_ids",
    "delivery": "destination, fate, iif(fate = 'waiting', null, reason || ifnull(detail, '')), purposes, visitor_key, "
    "dedup_key, expires_at_ms, payload",
    "consent_entry": "entry_no, record_id, entry, leaf_hash",
    "once_token": "use, digest, expires_at_ms",
}
"""Everything stored, without what a failed attempt at delivery changes."""


def stored(shop: Running) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(shop.rows(f"select {columns} from {table}"), key=repr) for table, columns in TABLES.items()}


def shown(talk: Talk) -> list[tuple[Any, ...]]:
    """Answers without their date, headers sorted."""
    return [
        (said.version, said.status, sorted(h for h in said.headers if h[0] != "date"), said.body)
        for said in talk.answers
    ]


async def compare(ways: Ways, data: bytes, *, want: int = 1) -> Talk:
    """Say the same to both, and find the same afterwards."""
    written = [len(shop.log_text) for shop in ways]
    heard = [await shop.talk(data, want=want) for shop in ways]
    assert shown(heard[0]) == shown(heard[1])
    assert heard[0].closed == heard[1].closed
    assert heard[0].interim == heard[1].interim
    assert stored(ways.quick) == stored(ways.own)
    assert all("date" in dict(said.headers) for talk in heard for said in talk.answers)
    # Both write to the log that was set up last: what it got since holds the lines of both, one after the other.
    lines = [(line["event"], line.get("code"), line.get("route")) for line in ways.own.log(since=written[1])]
    refusals = [line for line in lines if line[0] == "request_refused"]
    assert refusals[: len(refusals) // 2] == refusals[len(refusals) // 2 :]
    return heard[0]


def event(**fields: Any) -> bytes:
    return json.dumps({"name": "page_view", **fields}).encode()


def headers(*more: tuple[str, str | bytes], origin: str | bytes | None = PAGE) -> Pairs:
    first: list[tuple[str, str | bytes]] = [("User-Agent", AGENT)]
    return [*first, *([("Origin", origin)] if origin is not None else []), *more]


def token(shop: Running, visitor: str = VISITOR, renewed: int = TODAY) -> str:
    return identity.sign_token(shop.gateway.house.by_id["shop"].keys, visitor, TODAY - 9, renewed)


def receipt(shop: Running, granted: int, denied: int = 0) -> str:
    made = identity.Receipt(granted, denied, NOW_MS, "1", "x" * 22)
    return identity.sign_receipt(shop.gateway.house.by_id["shop"].keys, made)


def clicks(shop: Running) -> str:
    return str(identity.sign_clicks(shop.gateway.house.by_id["shop"].keys, {"gclid": "kept-click"}, NOW_MS - 5_000))


BODIES: Final[dict[str, bytes]] = {
    "a page view": EVENT,
    "with everything about a page": event(url="https://www.shop.example/a?x=1", title="Café", referrer="https://google.com/"),
    "with consent": event(consent=CONSENT),
    "with consent refused": event(consent=dict.fromkeys(CONSENT, "denied")),
    "with a click and a campaign": event(
        consent=CONSENT, url="https://www.shop.example/?gclid=Abc-1&utm_source=x&utm_campaign=y", referrer="https://google.com/"
    ),
    "with named clicks": event(consent=CONSENT, click_ids={"gclid": "Abc-2", "nonsense": "x"}),
    "with a broken click": event(consent=CONSENT, url="https://www.shop.example/?gclid={gclid}"),
    "with a link token that is none": event(consent=CONSENT, url="https://www.shop.example/?_gwl=x.y.z"),
    "a purchase": event(name="purchase", order_id="1", value="1.50", items=[{"id": "a", "price": 1.5}], consent=CONSENT),
    "the same purchase again": event(name="purchase", order_id="1", value="1.50", consent=CONSENT),
    "the same purchase of another value": event(name="purchase", order_id="1", value="2.50", consent=CONSENT),
    "with a person": event(name="purchase", order_id="2", person={"email": "jane@example.com"}, consent=CONSENT),
    "with properties": event(props={"a": 1, "b": [1, "x", None], "c": "jane@example.com"}, consent=CONSENT),
    "three events": json.dumps({"events": [{"name": "a"}, {"name": "page_view"}, {"name": "purchase"}], "consent": CONSENT}).encode(),
    "three events that differ in consent": json.dumps(
        {"events": [{"name": "a", "consent": CONSENT}, {"name": "b"}, {"name": "c", "consent": CONSENT}]}
    ).encode(),
    "the same event twice": json.dumps({"events": [{"name": "a", "id": "twice-0001"}, {"name": "a", "id": "twice-0001"}]}).encode(),
    "an event that was there before": event(id="twice-0001"),
    "a time long ago": event(occurred_at_ms=0),
    "a wrong clock": event(occurred_at_ms=NOW_MS - 3_600_000, sent_at_ms=NOW_MS - 3_600_000),
    "a rehearsal": event(test=True, consent=CONSENT),
    "a script that saw GPC": event(gpc=True, consent=CONSENT),
    "spaces around it": b" \n\t" + EVENT + b"\n ",
    "60 KB": EVENT[:-1] + b" " * 60_000 + b"}",
    "nothing": b"",
    "no JSON": b"{",
    "invalid UTF-8": b'{"name":"\xff"}',
    "deep JSON": b"[" * 30_000,
    "no name": b"{}",
    "a wrong field": event(value=-1),
    "a wrong field in a list": json.dumps({"events": [{"name": "a"}, {"name": "b", "items": [{"sku": 1}]}]}).encode(),
    "an unknown field": event(extra=1),
    "consent twice": b'{"name":"a","consent":{"analytics":"denied"},"consent":{"analytics":"granted"}}',
    "a byte too much": EVENT[:-1] + b" " * (65_537 - len(EVENT)) + b"}",
    "100 KB": EVENT[:-1] + b" " * 100_000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
async def test_both_ways_answer_and_store_the_same_for_any_body(ways: Ways, case: str) -> None:
    await compare(ways, request_bytes(headers=headers(), body=BODIES[case]))


HEADERS: Final[dict[str, Pairs]] = {
    "no origin": headers(origin=None),
    "no origin but a referrer": headers(("Referer", "https://www.shop.example/a?b=c"), origin=None),
    "a foreign referrer": headers(("Referer", "https://evil.example/"), origin=None),
    "a foreign origin": headers(origin="https://evil.example"),
    "a look-alike": headers(origin="https://shop.example.evil.example"),
    "a null origin": headers(origin="null"),
    "an empty origin": headers(origin=""),
    "an origin with a path": headers(origin="https://www.shop.example/x"),
    "an origin of strange bytes": headers(origin=b"https://www.shop.example/\xff"),
    "an origin of 300 letters": headers(origin="https://" + "a" * 300),
    "two origins": headers(("Origin", "https://evil.example")),
    "two origins, the foreign one first": headers(("Origin", PAGE), origin="https://evil.example"),
    "no agent": [("Origin", PAGE)],
    "an empty agent": [("Origin", PAGE), ("User-Agent", "")],
    "a robot": [("Origin", PAGE), ("User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)")],
    "an agent of 8 KB": [("Origin", PAGE), ("User-Agent", "Mozilla/5.0 (" + "; " * 4_000)],
    "an agent of strange bytes": [("Origin", PAGE), ("User-Agent", b"\xff\xfe\x80caf\xe9")],
    "a language": headers(("Accept-Language", "de-DE,de;q=0.9")),
    "a language that is none": headers(("Accept-Language", "*,\u00ff")),
    "Sec-GPC": headers(("Sec-GPC", "1")),
    "Sec-GPC twice": headers(("Sec-GPC", "0"), ("Sec-GPC", "1")),
    "Sec-GPC of another value": headers(("Sec-GPC", "true")),
    "prefetch": headers(("Sec-Purpose", "prefetch")),
    "a forwarded address": headers(("X-Forwarded-For", "198.51.100.1, 203.0.113.9")),
    "a forwarded address that is none": headers(("X-Forwarded-For", "unknown")),
    "two forwarding headers": headers(("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "2001:db8::1")),
    "a content type": headers(("Content-Type", "application/json")),
    "a beacon's content type": headers(("Content-Type", "text/plain;charset=UTF-8")),
    "an authorization": headers(("Authorization", "Bearer gwk_aaaaaaaa_x")),
    "an idempotency key": headers(("Idempotency-Key", "x")),
    "a signature": headers(("X-Gateway-Signature", "x")),
    "cookies of others": headers(("Cookie", "_ga=GA1.1.1.1; _fbp=fb.1.1.1; session=secret")),
    "strange cookies": headers(("Cookie", b"\xff=\xfe; __Host-gwid=\xff; __Host-gwconsent=\xff; __Host-gwclick=\xff")),
    "cookies of 15 KB": headers(("Cookie", "__Host-gwid=x; " * 1_000)),
    "a forged id": headers(("Cookie", "__Host-gwid=1.x.1.1.y")),
    "upgrade to a websocket": headers(("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")),
    "upgrade to HTTP/2": headers(("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")),
    "continue": headers(("Expect", "100-continue")),
    "another expectation": headers(("Expect", "x")),
    "close": headers(("Connection", "close")),
    "keep alive": headers(("Connection", "keep-alive")),
    "a connection header of strange words": headers(("Connection", "close, x, Upgrade")),
    "gzip that is none": headers(("Content-Encoding", "gzip")),
    "identity": headers(("Content-Encoding", "identity")),
    "an unknown encoding": headers(("Content-Encoding", "br")),
    "an empty encoding": headers(("Content-Encoding", "")),
    "two encodings": headers(("Content-Encoding", "identity"), ("Content-Encoding", "gzip")),
    "a method override": headers(("X-HTTP-Method-Override", "DELETE")),
    "90 more headers": headers(*((f"X-{n}", "1") for n in range(90))),
    "a header of 16 KB": headers(("X-A", "a" * 16_000)),
    "a header of 17 KB": headers(("X-A", "a" * 17_000)),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("body", [event(consent=CONSENT), b"{}"], ids=["good", "bad"])
async def test_both_ways_answer_and_store_the_same_for_any_header(ways: Ways, case: str, body: bytes) -> None:
    await compare(ways, request_bytes(headers=HEADERS[case], body=body))


COOKIES: Final = (
    "id", "id renewed long ago", "id and all consent", "id and refused consent", "two ids", "the same id twice",
    "consent alone", "refused consent alone", "clicks", "clicks and consent", "two cookie headers",
)  # fmt: skip


@pytest.mark.parametrize("case", COOKIES)
@pytest.mark.parametrize("said", [CONSENT, None], ids=["with a claim", "without"])
async def test_both_ways_know_the_same_visitors(ways: Ways, case: str, said: dict[str, str] | None) -> None:
    shop = ways.quick
    sets: dict[str, tuple[str, ...]] = {
        "id": (f"__Host-gwid={token(shop)}",),
        "id renewed long ago": (f"__Host-gwid={token(shop, renewed=TODAY - 8)}",),
        "id and all consent": (f"__Host-gwid={token(shop)}; __Host-gwconsent={receipt(shop, 63)}",),
        "id and refused consent": (f"__Host-gwid={token(shop)}; __Host-gwconsent={receipt(shop, 1, 62)}",),
        "two ids": (f"__Host-gwid={token(shop)}; __Host-gwid={token(shop, 'BBBBBBBBBBBBBBBBBBBBBA')}",),
        "the same id twice": (f"__Host-gwid={token(shop)}; __Host-gwid={token(shop)}",),
        "consent alone": (f"__Host-gwconsent={receipt(shop, 63)}",),
        "refused consent alone": (f"__Host-gwconsent={receipt(shop, 1, 62)}",),
        "clicks": (f"__Host-gwclick={clicks(shop)}",),
        "clicks and consent": (f"__Host-gwclick={clicks(shop)}; __Host-gwconsent={receipt(shop, 63)}; _fbp=fb.1.2.3",),
        "two cookie headers": (f"__Host-gwid={token(shop)}", f"__Host-gwconsent={receipt(shop, 63)}; a=b"),
    }
    assert set(sets) == set(COOKIES)
    body = event(consent=said, url="https://www.shop.example/?gclid=new-click")
    await compare(ways, request_bytes(headers=headers(*(("Cookie", cookie) for cookie in sets[case])), body=body))


@pytest.mark.parametrize(
    "host", [HOST, HOST.upper(), f"{HOST}:8080", f"{HOST}.", OTHER_HOST, "evil.example", "", "t.shop.example:x", None]
)
async def test_both_ways_find_the_same_site(ways: Ways, host: str | None) -> None:
    await compare(ways, request_bytes(host=host, headers=headers(), body=EVENT))


SHAPES: Final[dict[str, bytes]] = {
    "HTTP/1.0": request_bytes(headers=headers(), body=EVENT).replace(b" HTTP/1.1", b" HTTP/1.0"),
    "HTTP/1.0 kept alive": request_bytes(headers=headers(("Connection", "keep-alive")), body=EVENT).replace(b" HTTP/1.1", b" HTTP/1.0"),
    "HTTP/2.0": request_bytes(headers=headers(), body=EVENT).replace(b" HTTP/1.1", b" HTTP/2.0"),
    "in chunks": request_bytes(headers=headers(("Transfer-Encoding", "chunked")), body=b"14\r\n" + EVENT + b"\r\n0\r\n\r\n", length=False),
    "in chunks with a trailer": request_bytes(
        headers=headers(("Transfer-Encoding", "chunked")),
        body=b"14\r\n" + EVENT + b"\r\n0\r\nOrigin: https://evil.example\r\n\r\n",
        length=False,
    ),
    "in broken chunks": request_bytes(headers=headers(("Transfer-Encoding", "chunked")), body=b"zz\r\n", length=False),
    "compressed": request_bytes(headers=headers(("Content-Encoding", "gzip")), body=gzip.compress(EVENT, mtime=0)),
    "compressed and cut": request_bytes(headers=headers(("Content-Encoding", "gzip")), body=gzip.compress(EVENT, mtime=0)[:-9]),
    "with a query": request_bytes("POST", "/collect?x=1", headers=headers(), body=EVENT),
    "with a fragment": request_bytes("POST", "/collect#x", headers=headers(), body=EVENT),
    "without a body": request_bytes(headers=headers()),
    "with a length of zero": request_bytes(headers=headers(), body=b""),
    "by GET": request_bytes("GET", "/collect", headers=headers()),
    "by PUT": request_bytes("PUT", "/collect", headers=headers(), body=EVENT),
    "by OPTIONS": request_bytes("OPTIONS", "/collect", headers=headers()),
    "an absolute target": request_bytes("POST", f"http://{HOST}/collect", headers=headers(), body=EVENT),
    "another path": request_bytes("POST", "/collect/", headers=headers(), body=EVENT),
    "no HTTP": b"\x16\x03\x01\x00\x00",
    "two lengths": request_bytes(headers=headers(("Content-Length", "5")), body=EVENT),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
async def test_both_ways_read_the_same_frames(ways: Ways, case: str) -> None:
    await compare(ways, SHAPES[case])


async def test_both_ways_answer_many_requests_in_one_piece_in_order(ways: Ways) -> None:
    good, bad = request_bytes(headers=headers(), body=EVENT), request_bytes(headers=headers(), body=b"{}")
    refused = request_bytes(headers=headers(origin="https://evil.example"), body=EVENT)
    script = request_bytes("GET", "/gw.js")
    await compare(ways, (good + bad + refused) * 20, want=60)
    await compare(ways, good + bad + script + good + refused, want=5)
    await compare(ways, good + request_bytes(headers=headers(("Connection", "close")), body=EVENT) + good, want=3)
    await compare(ways, good + b"GARBAGE\r\n\r\n" + good, want=3)
    await compare(ways, bad + request_bytes(headers=headers(), body=b" " * 65_537) + good, want=3)


async def test_both_ways_wait_for_a_body_that_comes_in_pieces(ways: Ways) -> None:
    data = request_bytes(headers=headers(), body=event(consent=CONSENT, id="pieces-0001"))
    heard = []
    for shop in ways:
        async with opened(shop.port) as (reader, writer):
            for start in range(0, len(data), 50):
                writer.write(data[start : start + 50])
                await writer.drain()
                await asyncio.sleep(0.002)
            heard.append(await hear(reader))
            writer.write(request_bytes(headers=headers(), body=b"{}"))
            heard.append(await hear(reader))
    assert shown(heard[0]) == shown(heard[2])
    assert shown(heard[1]) == shown(heard[3])
    assert stored(ways.quick) == stored(ways.own)


# ------------------------------------------------------------------ the comparison compares two ways


async def test_this_release_of_aiohttp_is_one_the_fast_lane_was_read_against() -> None:
    assert usable(), "read aiohttp's web_protocol.py again, then add the release to KNOWN_RELEASES"


async def test_one_gateway_takes_the_fast_lane_and_the_other_does_not(ways: Ways, taken_quickly: list[bytes]) -> None:
    for shop in ways:
        await shop.collect({"name": "page_view"})
    assert len(taken_quickly) == 1


@pytest.mark.parametrize("case", ["a page view", "a purchase", "no name", "no JSON", "nothing", "a byte too much"])
async def test_good_and_bad_bodies_go_through_the_fast_lane(ways: Ways, taken_quickly: list[bytes], case: str) -> None:
    await ways.quick.talk(request_bytes(headers=headers(), body=BODIES[case]))
    assert taken_quickly == [BODIES[case]]


@pytest.mark.parametrize(
    "case", ["HTTP/1.0", "compressed", "with a query", "by OPTIONS", "an absolute target", "no HTTP"]
)
async def test_whatever_needs_care_leaves_the_fast_lane(ways: Ways, taken_quickly: list[bytes], case: str) -> None:
    await ways.quick.talk(SHAPES[case])
    assert taken_quickly == []


async def test_a_connection_that_left_the_fast_lane_does_not_come_back(ways: Ways, taken_quickly: list[bytes]) -> None:
    good = request_bytes(headers=headers(), body=EVENT)
    await ways.quick.talk(good + request_bytes("GET", "/gw.js") + good, want=3)
    assert len(taken_quickly) == 1
