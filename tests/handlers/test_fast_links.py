"""Links in the fast lane and on aiohttp's own way give the same answers and leave the same rows.

Two gateways as in `test_fast`, with the same links. Only the Date header may differ.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway import identity
from gateway.errors import StoreBusy
from gateway.flows import click_keeping
from gateway.flows.click import Opened
from gateway.handlers import fast_links, redirect
from gateway.purposes import ALL_PURPOSES
from tests.handlers.conftest import UNLIMITED
from tests.handlers.test_fast import Ways, _Even, receipt, shown, token
from tests.support.nowhere import NOWHERE
from tests.support.running import AGENT, HOST, NOW_MS, OTHER_HOST, PAGE, Pairs, Running, request_bytes, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINK_HOST: Final = "go.shop.example"
SHORT_HOST: Final = "shp.example"
TARGET: Final = "https://www.shop.example/sale"
IPHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)
UNFURLER: Final = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
ROBOT: Final = "Googlebot/2.1 (+http://www.google.com/bot.html)"

LINKS: Final[dict[str, dict[str, Any]]] = {
    "spring": {"utm": {"source": "mail", "medium": "email"}},
    "quiet": {"no_referrer": True},
    "parted": {
        "variants": [
            {"id": "a", "target": f"{TARGET}/a", "percent": 30},
            {"id": "b", "target": f"{TARGET}/b", "percent": 70},
        ]
    },
    "phones": {"ios_target": "shopapp://sale", "android_target": f"{TARGET}/android"},
    "for-jane": {"recipient": "customer 4711"},
    "shown": {"preview": {"title": "Sale", "description": "All shoes", "image": "https://www.shop.example/i.png"}},
    "over": {"expires_at": NOW_MS + 1},
    "over-to": {"expires_at": NOW_MS + 1, "expired_target": f"{TARGET}/over"},
    "later": {"starts_at": NOW_MS + 10_000_000},
    **{f"mail{number}": {"campaign": True} for number in range(6)},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ways]:
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
                    shop={
                        "cookie_domain": "shop.example",
                        "links": {
                            "hosts": [LINK_HOST, SHORT_HOST],
                            "schemes": ["shopapp"],
                            "unknown_per_minute": 1_000_000,
                        },
                    },
                )
            )
            for name in ("quick", "own")
        ]
        for shop in both:
            await made(shop)
            shop.move(seconds=1)
        yield Ways(*both)


async def made(shop: Running) -> None:
    key = str((await shop.new_key(sites=("shop",), rights=("manage",)))["key"])
    said = await shop.api("/api/v1/campaigns", {"name": "Spring", "channel": "email"}, key)
    campaign = said.json()["campaign"]["id"]
    for code, fields in LINKS.items():
        more = {name: value for name, value in fields.items() if name != "campaign"}
        if "campaign" in fields:
            more["campaign_id"] = campaign
        said = await shop.api("/api/v1/links", {"code": code, "target": TARGET, **more}, key)
        assert said.status == 201, (code, said.body)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not send a click to the spool where a test looks for it in the store."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)


@pytest.fixture
def taken_quickly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Slugs that went through the fast lane."""
    seen: list[str] = []
    take = fast_links.LinkRequest.take

    def counted(asked: fast_links.LinkRequest, body: bytes) -> None:
        seen.append(asked._slug)
        take(asked, body)

    monkeypatch.setattr(fast_links.LinkRequest, "take", counted)
    return seen


TOUCHES: Final = (
    "select site_no, kind, visitor_key, occurred_at_ms, referrer, campaign, click_ids, channel, source, medium, "
    "campaign_name, link_id, campaign_id, ambassador_id, variant, click_id, landed_click_id, device, os, browser, "
    "landing, human, human_reason, consent, test, repeats from touch order by click_id"
)


def stored(shop: Running) -> list[list[tuple[Any, ...]]]:
    return [shop.rows(TOUCHES), sorted(shop.rows("select * from touch_day"), key=repr)]


async def compare(ways: Ways, data: bytes, *, want: int = 1, headless: bool = False) -> list[tuple[Any, ...]]:
    """Say the same to both, and find the same afterwards. Answers what was heard."""
    written = len(ways.own.log_text)
    heard = [await shop.talk(data, want=want, headless=headless) for shop in ways]
    assert shown(heard[0]) == shown(heard[1])
    assert heard[0].closed == heard[1].closed
    assert heard[0].interim == heard[1].interim
    assert stored(ways.quick) == stored(ways.own)
    assert all("date" in dict(said.headers) for talk in heard for said in talk.answers)
    lines = [line for line in ways.own.log(since=written) if line["event"] == "request_refused"]
    told = [(line["code"], line["route"], line["site"], line["field"], line["status"]) for line in lines]
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    return shown(heard[0])


addresses = iter(range(1, 65_536))


def asked(path: str, *more: tuple[str, str | bytes], agent: str | None = AGENT, **how: Any) -> bytes:
    """A request by a browser nobody saw before, unless `more` says whose it is."""
    first: list[tuple[str, str | bytes]] = [("User-Agent", agent)] if agent is not None else []
    if not any(name == "X-Forwarded-For" for name, _ in more):
        number = next(addresses)
        first.append(("X-Forwarded-For", f"198.51.{number >> 8}.{number & 255}"))
    method = how.pop("method", "GET")
    return request_bytes(method, path, headers=[*first, *more], **how)


PATHS: Final = (
    "/l/spring", "/l/SPRING", "/L/SPRING", "/l/quiet", "/l/parted", "/l/phones", "/l/for-jane", "/l/shown", "/l/over",
    "/l/over-to", "/l/later", "/l/unknown", "/l/-", "/l/" + "a" * 64, "/l/" + "a" * 65, "/l/", "/l", "/l//", "/l/spring/",
    "/l/spring/x", "/l/spring+", "/l/spring%2B", "/l/spring%2b", "/l/%73pring", "/l/spr%00ing", "/l/spring/qr.svg",
    "/l/spring/qr.png", "/l/-/spring?to=x&exp=1&sig=2", "/l/caf\u00e9", "/l/spring?", "/l/spring?qr", "/l/spring?qr=1",
    "/l/spring?bot", "/l/spring?no-track", "/l/spring?preview", "/l/shown?preview=1", "/l/spring?utm_source=friend&coupon=A%20B",
    "/l/spring?cid=AAAAAAAAAAAAAAAAAAAAAA&lid=other", "/l/spring?a=%0d%0aSet-Cookie:%20x=y", "/l/spring?a=b#c", "/l/spring#x",
    "/l/spring?" + "a=b&" * 1_000, "/l/spring?\u00e9=\u00fc", "/l/spring?a='<script>\"", "/l/spring?to=https://evil.example/",
    "/spring", "/",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_both_ways_answer_and_store_the_same_for_any_path(ways: Ways, path: str) -> None:
    await compare(ways, asked(path))


HOSTS: Final = (
    LINK_HOST, LINK_HOST.upper(), f"{LINK_HOST}:443", f"{LINK_HOST}.", SHORT_HOST, HOST.upper(), f"{HOST}:8443", OTHER_HOST,
    "unknown.example", "", f"{HOST}:x", "t.shop.ex\u00e4mple",
)  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/spring", "/l/spring", "/unknown", "/healthz", "/spring?utm_source=x", "/", "/collect"]
)
@pytest.mark.parametrize("host", HOSTS)
async def test_both_ways_know_the_same_hosts(ways: Ways, host: str, path: str) -> None:
    await compare(ways, asked(path, host=host))


async def test_without_a_host_nothing_is_found(ways: Ways) -> None:
    await compare(ways, asked("/l/spring", host=None))
    await compare(ways, asked("/l/spring", ("Host", LINK_HOST)))


HEADERS: Final[dict[str, Pairs]] = {
    "a referrer": [("Referer", "https://mail.example/inbox?user=jane")],
    "a mail gateway": [("Referer", "https://eu.safelinks.protection.outlook.com/?url=x")],
    "a strange referrer": [("Referer", b"https://\xff\xfe/")],
    "a language": [("Accept-Language", "de-DE,de;q=0.9")],
    "Sec-GPC": [("Sec-GPC", "1")],
    "DNT": [("DNT", "1")],
    "prefetch": [("Sec-Purpose", "prefetch;prerender")],
    "an older prefetch": [("Purpose", " Prefetch")],
    "the oldest prefetch": [("X-Moz", "prefetch")],
    "an origin": [("Origin", PAGE)],
    "forwarded twice": [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "2001:db8::1")],
    "a forwarded address that is none": [("X-Forwarded-For", "unknown")],
    "a forwarded address with a port": [("X-Forwarded-For", "203.0.113.9:1234")],
    "a forwarded trusted one": [("X-Forwarded-For", "203.0.113.9, 127.0.0.1")],
    "a forwarded address of strange digits": [("X-Forwarded-For", "203.0.113.09")],
    "close": [("Connection", "close")],
    "keep alive": [("Connection", "keep-alive")],
    "upgrade to a websocket": [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")],
    "continue": [("Expect", "100-continue")],
    "another expectation": [("Expect", "x")],
    "an encoding": [("Content-Encoding", "gzip")],
    "cookies of others": [("Cookie", "_ga=GA1.1.1.1; session=secret")],
    "strange cookies": [("Cookie", b"\xff=\xfe; __Secure-gwid=\xff; __Secure-gwconsent=\xff; __Secure-gwclick=\xff")],
    "90 more headers": [(f"X-{number}", "1") for number in range(90)],
    "a header of 17 KB": [("X-A", "a" * 17_000)],
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("path", ["/l/spring", "/l/unknown", "/l/over"])
async def test_both_ways_answer_and_store_the_same_for_any_header(ways: Ways, case: str, path: str) -> None:
    await compare(ways, asked(path, *HEADERS[case]))


AGENTS: Final[dict[str, str | None]] = {
    "a phone": IPHONE,
    "a robot": ROBOT,
    "none": None,
    "an empty one": "",
    "an unfurler": UNFURLER,
    "without a head": "Mozilla/5.0 HeadlessChrome/131.0",
    "one of 8 KB": "Mozilla/5.0 (" + "; " * 4_000,
    "strange letters": "Mozilla/5.0 \u00e9\u0161",
}


@pytest.mark.parametrize("path", ["/l/spring", "/l/phones", "/l/shown", "/l/parted"])
@pytest.mark.parametrize("case", AGENTS)
async def test_both_ways_know_the_same_agents(ways: Ways, case: str, path: str) -> None:
    await compare(ways, asked(path, agent=AGENTS[case]))


def consented(shop: Running, granted: int = 63, denied: int = 0) -> str:
    rooms = shop.gateway.house.by_id["shop"]
    return f"{rooms.id_cookie}={token(shop)}; {rooms.consent_cookie}={receipt(shop, granted, denied)}"


@pytest.mark.parametrize("path", ["/l/spring", "/l/parted", "/l/for-jane", "/l/quiet", "/l/unknown", "/l/over-to"])
@pytest.mark.parametrize("host", [HOST, LINK_HOST, SHORT_HOST])
async def test_both_ways_set_the_same_cookies(ways: Ways, host: str, path: str) -> None:
    rooms = ways.quick.gateway.house.by_id["shop"]
    kept = identity.sign_clicks(
        rooms.keys,
        {"gclid": "from-an-ad"},
        NOW_MS - 5_000,
        identity.OwnClick("A" * 22, NOW_MS // 1000 + 60, {}),
    )
    path = path if host == HOST else path.removeprefix("/l")
    for cookie in (
        consented(ways.quick),
        consented(ways.quick, 1, ALL_PURPOSES & ~1),
        f"{consented(ways.quick)}; {rooms.click_cookie}={kept}",
        f"{rooms.consent_cookie}=forged",
    ):
        await compare(ways, asked(path, ("Cookie", cookie), host=host))
    found = await compare(ways, asked(path, ("Cookie", consented(ways.quick)), ("Cookie", "a=b"), host=host))
    sets = [value for name, value in found[0][2] if name == "set-cookie"]
    assert bool(sets) == (host != SHORT_HOST and path.removeprefix("/l") not in ("/unknown", "/over-to"))


async def test_both_ways_count_repeats_and_bursts_alike(ways: Ways) -> None:
    same = ("X-Forwarded-For", "203.0.113.77")
    for path in ("/l/spring", "/l/spring", "/l/SPRING?utm_source=x", "/l/parted", "/l/parted"):
        await compare(ways, asked(path, same))
    await compare(ways, asked("/l/spring", same, agent=ROBOT))
    await compare(ways, asked("/l/spring", same, agent=ROBOT))
    for number in range(6):
        await compare(ways, asked(f"/l/mail{number}", same))
    await compare(ways, asked("/l/mail0", same) * 3, want=3)
    assert ways.quick.rows("select count(*) from touch where repeats > 0")[0][0] >= 2
    assert ways.quick.rows("select count(*) from touch where human_reason = 'many_links'")[0][0] >= 2


SHAPES: Final[dict[str, bytes]] = {
    "HTTP/1.0": asked("/l/spring").replace(b" HTTP/1.1", b" HTTP/1.0"),
    "HTTP/2.0": asked("/l/spring").replace(b" HTTP/1.1", b" HTTP/2.0"),
    "with a body": asked("/l/spring", body=b"x=y"),
    "with an empty body": asked("/l/spring", body=b""),
    "in chunks": asked("/l/spring", ("Transfer-Encoding", "chunked"), body=b"1\r\nx\r\n0\r\n\r\n", length=False),
    "in broken chunks": asked("/l/spring", ("Transfer-Encoding", "chunked"), body=b"zz\r\n", length=False),
    "an absolute target": asked(f"http://{HOST}/l/spring"),
    "by POST": asked("/l/spring", method="POST", body=b""),
    "by OPTIONS": asked("/l/spring", method="OPTIONS"),
    "two lengths": asked("/l/spring", ("Content-Length", "5"), ("Content-Length", "6")),
    "a space in the path": asked("/l/spr ing"),
    "a line that breaks": asked("/l/spring\r\n X: y"),
}


@pytest.mark.parametrize("case", SHAPES)
async def test_both_ways_read_the_same_frames(ways: Ways, case: str) -> None:
    await compare(ways, SHAPES[case])


async def test_both_ways_answer_head_without_a_click(ways: Ways) -> None:
    before = stored(ways.quick)
    await compare(ways, asked("/l/spring", method="HEAD"), headless=True)
    assert stored(ways.quick) == before


async def test_both_ways_answer_many_requests_in_one_piece_in_order(ways: Ways) -> None:
    view = request_bytes(headers=[("User-Agent", AGENT), ("Origin", PAGE)], body=b'{"name":"page_view"}')
    script = request_bytes("GET", "/gw.js")
    clicked = [asked(f"/l/{code}") for code in ("spring", "unknown", "over", "over-to", "parted", "shown")]
    await compare(ways, b"".join(clicked) * 10, want=60)
    await compare(ways, clicked[0] + view + clicked[1] + view + clicked[2], want=5)
    await compare(ways, clicked[0] + script + clicked[3], want=3)
    await compare(ways, clicked[0] + asked("/l/spring", ("Connection", "close")) + clicked[0], want=3)
    await compare(ways, clicked[0] + b"GARBAGE\r\n\r\n" + clicked[0], want=3)


@pytest.mark.parametrize("code", ["spring", "later", "over", "shown"])
async def test_both_ways_find_a_link_that_is_not_in_memory(ways: Ways, taken_quickly: list[str], code: str) -> None:
    for shop in ways:
        shelf = shop.gateway.house.shelves["shop"]
        link = await shelf.link(code)
        assert link is not None
        shelf._drop(link.id)
        assert shelf.held_link(code) is None
    await compare(ways, asked(f"/l/{code}"))
    assert taken_quickly == [code]


@pytest.mark.parametrize("failing", ["link", "click"])
async def test_both_ways_answer_alike_when_the_store_is_busy(
    ways: Ways, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    async def busy(*_: object) -> None:
        raise StoreBusy("test")

    for shop in ways:
        house = shop.gateway.house
        shelf = house.shelves["shop"]
        if failing == "link":
            link = await shelf.link("quiet")
            assert link is not None
            shelf._drop(link.id)
            monkeypatch.setattr(shelf, "link", busy)
        else:
            monkeypatch.setattr(house.store, "record_click", lambda *_: asyncio.ensure_future(busy()))
    (found,) = await compare(ways, asked("/l/quiet"))
    assert found[1] == (503 if failing == "link" else 302)
    assert ways.quick.gateway.house.spool.waiting == ways.own.gateway.house.spool.waiting == (failing == "click")


async def test_a_click_that_fails_in_an_unknown_way_is_answered_alike(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("test")

    for shop in ways:
        monkeypatch.setattr(shop.gateway.house.store, "record_click", lambda *_: asyncio.ensure_future(broken()))
    (found,) = await compare(ways, asked("/l/spring"))
    assert found[1] == 500


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("of", ["location", "cookies"])
async def test_no_line_of_a_redirect_holds_another(of: str, end: str) -> None:
    text = f"x{end}Set-Cookie: a=b"
    opened = Opened(text) if of == "location" else Opened("https://www.shop.example/", (text,))
    with pytest.raises(ValueError, match="line end"):
        fast_links._redirection(opened)


# ------------------------------------------------------------------ the comparison compares two ways


async def test_one_gateway_takes_the_fast_lane_and_the_other_does_not(ways: Ways, taken_quickly: list[str]) -> None:
    for shop in ways:
        await shop.talk(asked("/l/spring"))
    assert taken_quickly == ["spring"]


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/l/SPRING?utm_source=x", HOST), ("/L/spring", HOST), ("/l/unknown", HOST), ("/l/over", HOST), ("/l/shown", HOST),
        ("/spring", LINK_HOST), ("/spring", SHORT_HOST),
    ],
)  # fmt: skip
async def test_slugs_go_through_the_fast_lane(ways: Ways, taken_quickly: list[str], path: str, host: str) -> None:
    await ways.quick.talk(asked(path, host=host) * 2, want=2)
    assert len(taken_quickly) == 2


@pytest.mark.parametrize(
    "path",
    ["/l/spring+", "/l/spring/qr.svg", "/l/-/spring?to=x&exp=1&sig=2", "/l/%73pring", "/l/", "/spring", "/gw.js"],
)
async def test_whatever_needs_care_leaves_the_fast_lane(ways: Ways, taken_quickly: list[str], path: str) -> None:
    await ways.quick.talk(asked(path))
    assert taken_quickly == []


async def test_a_refusal_that_fails_itself_ends_the_connection(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("test")

    monkeypatch.setattr(redirect, "refused_page", failing)
    reader, writer = await asyncio.open_connection("127.0.0.1", ways.quick.port)
    writer.write(asked("/l/nobody-knows"))
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "FastConnection.start()" in repr(task)]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_repeats_at_once_of_a_click_that_is_gone_are_one_click(tmp_path: Path, fast: bool) -> None:
    async with running(tmp_path, fast=fast, limits=UNLIMITED) as shop:
        key = str((await shop.new_key(sites=("shop",), rights=("manage",)))["key"])
        assert (await shop.api("/api/v1/links", {"code": "spring", "target": TARGET}, key)).status == 201
        shop.move(seconds=1)
        assert (await shop.talk(asked("/l/spring"))).only.status == 302
        deleted = await shop.gateway.house.store._writer.add_work(  # type: ignore[attr-defined]
            lambda db: db.execute("delete from touch").rowcount, 1
        )
        assert deleted == 1
        talks = await asyncio.gather(*[shop.talk(asked("/l/spring")) for _ in range(5)])
        assert [one.only.status for one in talks] == [302] * 5
        assert shop.rows("select count(*), total(repeats) from touch") == [(1, 4.0)]


async def test_a_client_that_is_gone_before_the_answer_leaves_its_click(ways: Ways) -> None:
    (before,) = ways.quick.rows("select count(*) from touch")[0]
    for path in ("/l/spring", "/l/quiet"):
        _, writer = await asyncio.open_connection("127.0.0.1", ways.quick.port)
        writer.write(asked(path))
        await writer.drain()
        await asyncio.sleep(0)
        writer.transport.abort()
    await ways.quick.talk(asked("/l/spring"))
    (after,) = ways.quick.rows("select count(*) from touch")[0]
    assert before + 1 <= after <= before + 3
