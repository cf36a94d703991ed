"""Limits: how often, how slowly, how many, how much. Row 19, and the common part of every row: the server lives on.

Times are real here; settings make them short. Both ways through the collection listener are held to the same.
"""

import asyncio
import gc
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.clock import SystemClock
from tests.handlers.conftest import UNLIMITED
from tests.support.memory import grows_at_most
from tests.support.running import AGENT, PAGE, Running, hear, opened, refused_with, request_bytes, running

pytestmark = pytest.mark.slow  # limits of time have to pass

EVENT: Final = b'{"name":"page_view"}'
HIT: Final = request_bytes(headers={"Origin": PAGE, "User-Agent": AGENT}, body=EVENT)
REFUSED: Final = request_bytes(headers={"Origin": PAGE}, body=b"{}")
SHORT: Final = {"header_timeout_s": 0.3, "body_timeout_s": 0.3, "keepalive_s": 30}

both_ways: Final = pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])


def connections(shop: Running) -> int:
    """Open connections of the collection listener."""
    server: Any = shop.gateway._runners[0].server
    return len(server.connections)


async def until_none_is_open(shop: Running, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while connections(shop):
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------ how often


@both_ways
@pytest.mark.parametrize(
    ("route", "data"),
    [
        ("/collect", HIT),
        ("/p.gif", request_bytes("GET", "/p.gif", headers={"Origin": PAGE})),
        ("/consent", request_bytes("GET", "/consent", headers={"Origin": PAGE})),
        ("/consent", request_bytes("POST", "/consent", headers={"Origin": PAGE}, body=b'{"choice":{"analytics":"denied"}}')),
        ("/link", request_bytes("GET", "/link?to=shop.example", headers={"Origin": PAGE})),
    ],
    ids=["collect", "image", "reading a choice", "making a choice", "link"],
)  # fmt: skip
async def test_each_network_has_a_limit_and_is_told_when_to_come_back(
    tmp_path: Path, fast: bool, route: str, data: bytes
) -> None:
    """Six a minute: ten at once, then one every ten seconds. Other sites have limits of their own."""
    async with running(tmp_path, fast=fast, limits={"browser_per_minute": 6}) as shop:
        assert {(await shop.talk(data)).only.status for _ in range(10)} <= {200, 204}
        with shop.refusing(route, "rate_limited", times=2):
            for _ in range(2):
                said = (await shop.talk(data)).only
                refused_with(said, 429, "rate_limited")
                assert said.header("retry-after") == "11"
        kiosk = data.replace(b"shop.example", b"kiosk.example")
        assert (await shop.talk(kiosk)).only.status in {200, 204}
        shop.move(seconds=10)
        assert (await shop.talk(data)).only.status in {200, 204}
        assert (await shop.talk(data)).only.status == 429


@both_ways
async def test_a_limited_page_can_read_when_to_come_back(tmp_path: Path, fast: bool) -> None:
    async with running(tmp_path, fast=fast, limits={"browser_per_minute": 1}) as shop:
        said = [(await shop.talk(HIT)).only for _ in range(11)][-1]
        assert said.status == 429
        assert said.header("access-control-allow-origin") == PAGE
        assert "Retry-After" in (said.header("access-control-expose-headers") or "")


# ------------------------------------------------------------------ how slowly


@both_ways
async def test_who_is_slow_is_cut_off_and_others_are_not_held_up(tmp_path: Path, fast: bool) -> None:
    """The watch looks once a second, so a cut comes within two seconds of the limit. Generous: five in all."""
    begun = {
        "nothing at all": (b"", None),
        "half a request line": (b"POST /col", None),
        "headers, a byte now and then": (b"POST /collect HTTP/1.1\r\nHost: t.shop.example\r\nX-A: ", b"a"),
        "half a second request": (HIT + b"POST /col", b"l"),
    }

    async def drip(first: bytes, more: bytes | None) -> bytes:
        async with opened(shop.port) as (reader, writer):
            writer.write(first)
            heard = bytearray()
            while True:
                try:
                    async with asyncio.timeout(0.2):
                        part = await reader.read(1_000)
                except TimeoutError:
                    if more is not None:
                        writer.write(more)
                    continue
                except ConnectionError:
                    return bytes(heard)
                if not part:
                    return bytes(heard)
                heard += part

    async with running(tmp_path, fast=fast, limits=SHORT) as shop:
        jobs = [asyncio.create_task(drip(*how)) for how in begun.values()]
        await asyncio.sleep(0.1)
        await shop.still_answers()
        async with asyncio.timeout(5):
            heard = dict(zip(begun, await asyncio.gather(*jobs), strict=True))
        assert heard["nothing at all"] == heard["half a request line"] == heard["headers, a byte now and then"] == b""
        assert heard["half a second request"].startswith(b"HTTP/1.1 204 ")
        await until_none_is_open(shop)
        await shop.still_answers()


@both_ways
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_slow_body_is_answered_and_cut_off(tmp_path: Path, fast: bool, framing: str) -> None:
    header = ("Content-Length", "1000") if framing == "length" else ("Transfer-Encoding", "chunked")
    async with running(tmp_path, fast=fast, limits=SHORT) as shop:
        for path in ("/collect", "/consent"):
            with shop.refusing(path, "body_timeout"):
                async with opened(shop.port) as (reader, writer):
                    writer.write(request_bytes("POST", path, headers=[("Origin", PAGE), header]))
                    answer = asyncio.create_task(hear(reader))
                    while not answer.done():
                        writer.write(b"1" if framing == "length" else b"1\r\n1\r\n")
                        await asyncio.sleep(0.02)
                    heard = await answer
            refused_with(heard.only, 408, "body_timeout")
            assert heard.closed
        await shop.still_answers()


async def test_a_slow_body_of_a_backend_is_answered_and_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, limits=SHORT) as shop:
        key = (await shop.new_key())["key"]
        headers = {"Authorization": f"Bearer {key}", "Content-Length": "1000"}
        with shop.refusing("/api/v1/events", "body_timeout"):
            heard = await shop.talk(request_bytes("POST", "/api/v1/events", headers=headers) + b"{")
        refused_with(heard.only, 408, "body_timeout")
        assert heard.closed


@both_ways
async def test_an_idle_connection_is_closed(tmp_path: Path, fast: bool) -> None:
    async with running(tmp_path, fast=fast, limits={"keepalive_s": 0.2}) as shop:
        async with opened(shop.port) as (reader, writer):
            writer.write(HIT)
            await hear(reader)
            async with asyncio.timeout(3):
                assert await reader.read() == b""
        await until_none_is_open(shop)


@both_ways
async def test_who_does_not_listen_is_not_answered_without_end_and_is_cut_off(tmp_path: Path, fast: bool) -> None:
    """Requests in one stream, and no answer is ever read: neither memory nor the connection is held."""
    async with running(tmp_path, fast=fast, limits={**SHORT, **UNLIMITED}) as shop:
        with grows_at_most(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # the transport of a socket can
            sent = 0
            try:
                async with asyncio.timeout(10):
                    while not writer.transport.is_closing():
                        writer.write(REFUSED * 500)
                        await writer.drain()
                        sent += 500
            except ConnectionError:
                pass
        assert sent < 1_000_000
        writer.transport.abort()
        del reader
        await until_none_is_open(shop)
        await shop.still_answers()


# ------------------------------------------------------------------ how many


@both_ways
async def test_connections_over_the_limit_are_closed_and_room_is_made_again(tmp_path: Path, fast: bool) -> None:
    async with running(tmp_path, fast=fast, limits={"connections_max": 5}) as shop:
        held = [await asyncio.open_connection("127.0.0.1", shop.port) for _ in range(5)]
        for _ in range(20):
            async with opened(shop.port) as (reader, writer):
                writer.write(HIT)
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        reader, writer = held[0]
        writer.write(HIT)
        assert (await hear(reader)).only.status == 204
        for _, writer in held:
            writer.transport.abort()
        await until_none_is_open(shop)
        await shop.still_answers()


@both_ways
async def test_a_connection_that_ends_with_an_answer_is_forgotten(tmp_path: Path, fast: bool) -> None:
    """Whatever ended it: a body too large, a broken frame, the client's own wish, the keep-alive time."""
    async with running(tmp_path, fast=fast, limits={"keepalive_s": 0.2}) as shop:
        for data in (
            request_bytes(headers={"Origin": PAGE}, body=b" " * 65_537),
            HIT + request_bytes(headers={"Origin": PAGE}, body=b" " * 65_537),
            HIT + b"GARBAGE\r\n\r\n",
            request_bytes(headers={"Origin": PAGE, "Connection": "close"}, body=EVENT),
            HIT.replace(b"HTTP/1.1", b"HTTP/1.0"),
            HIT,
        ):
            async with opened(shop.port) as (reader, writer):
                writer.write(data)
                async with asyncio.timeout(3):
                    assert (await reader.read()).startswith(b"HTTP/1."), data[:40]
                await until_none_is_open(shop)


@both_ways
async def test_clients_that_vanish_at_once_leave_nothing_behind(tmp_path: Path, fast: bool) -> None:
    """A port scan, a browser that is closed: the connection is reset before, while and after its request is read.

    No library complains (see the watch over all tests here), and no connection stays.
    """
    said = (b"", b"GARBAGE\r\n\r\n", HIT, REFUSED, HIT + b"\x00\r\n\r\n", request_bytes("GET", "/gw.js"), HIT[:-5])
    async with running(tmp_path, fast=fast, limits=UNLIMITED) as shop:
        for number in range(210):
            vanishing = socket.create_connection(("127.0.0.1", shop.port))
            vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            vanishing.sendall(said[number % len(said)])
            vanishing.close()
            if number % 3 == 0:
                await asyncio.sleep(0)
        await until_none_is_open(shop)
        await shop.still_answers()
        assert not shop.log("request_failed")


@both_ways
async def test_row_45_many_requests_in_one_piece_do_not_hold_up_others(tmp_path: Path, fast: bool) -> None:
    """Ten thousand refused requests on one connection; the loop goes round all the while."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            begun_s = asyncio.get_running_loop().time()
            await asyncio.sleep(0)
            longest = max(longest, asyncio.get_running_loop().time() - begun_s)

    async with running(tmp_path, fast=fast, limits=UNLIMITED) as shop, opened(shop.port) as (reader, writer):
        gc.disable()  # a pause for the collector of a large test process is not what is looked for
        try:
            begun_s = asyncio.get_running_loop().time()
            watching = asyncio.create_task(watch())
            writer.write(REFUSED * 10_000)
            heard = await hear(reader, 10_000, seconds=30)
            took_s = asyncio.get_running_loop().time() - begun_s
            watching.cancel()
        finally:
            gc.enable()
        assert {said.status for said in heard.answers} == {400}
        assert longest < took_s / 3, "one turn of the loop took most of the time"
        await shop.still_answers()


# ------------------------------------------------------------------ how much


@both_ways
async def test_what_strangers_write_into_headers_is_not_kept(tmp_path: Path, fast: bool) -> None:
    """Answers that are remembered are remembered by what they rest on, not by 16 KiB that came with it."""
    async with running(tmp_path, fast=fast, limits=UNLIMITED) as shop, opened(shop.port) as (reader, writer):
        for _ in range(20):  # buffers and caches of the ordinary kind
            writer.write(HIT)
            await hear(reader)
        with grows_at_most(10):
            for number in range(1_000):
                strange = f"{number}".ljust(14_000, "x")
                headers: list[tuple[str, str | bytes]] = [
                    ("Origin" if number % 2 else "Referer", f"https://www.shop.example/{strange}"),
                    ("User-Agent", f"{number} {AGENT}".ljust(14_000, ";")),
                    ("Accept-Language", strange),
                    ("Cookie", f"__Host-gwid={strange}"),
                    ("Sec-GPC", strange),
                ]
                writer.write(request_bytes(headers=headers, body=EVENT))
                assert (await hear(reader)).only.status == 204
        await shop.still_answers()


@both_ways
async def test_row_19_crafted_agents_cost_little_more_than_ordinary_ones(tmp_path: Path, fast: bool) -> None:
    """The crafted text made an older parser work for 62 ms; 200 a second would freeze the process. Generous: ten times."""

    async def took_s(agents: list[str]) -> float:
        begun_s = time.perf_counter()
        for agent in agents:
            writer.write(request_bytes(headers={"Origin": PAGE, "User-Agent": agent}, body=EVENT))
            assert (await hear(reader)).only.status == 204
        return time.perf_counter() - begun_s

    async with running(tmp_path, fast=fast, limits=UNLIMITED) as shop, opened(shop.port) as (reader, writer):
        await took_s([AGENT] * 20)
        ordinary_s = await took_s([AGENT.replace("156", str(number)) for number in range(200)])
        crafted_s = await took_s([f"Mozilla/5.0 ({number}" + "; " * 4_000 for number in range(200)])
        assert crafted_s < 10 * ordinary_s
        assert crafted_s < 2.0
        await shop.still_answers()


# ------------------------------------------------------------------ when we cannot


class SlowDisk:
    """Commits that take as long as they are told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self) -> None:
        self.go_on.wait(10)


@pytest.fixture
async def disk() -> AsyncIterator[SlowDisk]:
    slow = SlowDisk()
    yield slow
    slow.go_on.set()


@both_ways
async def test_a_disk_that_hangs_is_answered_busy_and_never_with_success(
    tmp_path: Path, disk: SlowDisk, fast: bool
) -> None:
    async with running(
        tmp_path, fast=fast, clock=SystemClock(), after_commit=disk, limits={"store_timeout_s": 0.2}
    ) as shop:
        key = (await shop.new_key())["key"]
        disk.go_on.clear()
        said = [await shop.collect({"name": "page_view"})]
        said.append(await shop.send("GET", "/p.gif", headers={"Origin": PAGE}))
        said.append(await shop.api("/api/v1/events", {"name": "a"}, key))
        choice = {"choice": {"analytics": "granted"}}
        said.append(await shop.send("POST", "/consent", headers={"Origin": PAGE}, body=choice))
        disk.go_on.set()
        for answer in said:
            refused_with(answer, 503, "busy")
            assert answer.header("retry-after") == "1"
            assert answer.header("set-cookie") is None
        # What was answered busy may be stored all the same, a moment later: an event id makes sending it again harmless.
        await shop.collect({"name": "page_view"})
        await shop.still_answers()


@both_ways
async def test_more_than_may_wait_is_answered_busy_at_once(tmp_path: Path, disk: SlowDisk, fast: bool) -> None:
    async with running(tmp_path, fast=fast, after_commit=disk, limits={"waiting_max": 3, **UNLIMITED}) as shop:
        disk.go_on.clear()
        asked = [asyncio.create_task(shop.collect({"name": "page_view"})) for _ in range(20)]
        answered, waiting = await asyncio.wait(asked, timeout=0.5)
        for one in answered:
            refused_with(one.result(), 503, "busy")
        assert len(answered) >= 10
        assert len(waiting) >= 3
        disk.go_on.set()
        assert {said.status for said in await asyncio.gather(*waiting)} == {204}
        assert shop.count() == len(waiting)
        await shop.still_answers()


@both_ways
async def test_a_gateway_that_is_told_to_stop_answers_what_it_took(tmp_path: Path, disk: SlowDisk, fast: bool) -> None:
    """What was stored is acknowledged, although the connection ends with it."""
    async with running(tmp_path, fast=fast, after_commit=disk) as shop:
        async with opened(shop.port) as (reader, writer), opened(shop.port) as (idle, _):
            disk.go_on.clear()
            writer.write(HIT)
            await asyncio.sleep(0.1)
            stopping = asyncio.create_task(shop.gateway.stop())
            await asyncio.sleep(0.1)
            disk.go_on.set()
            heard = await hear(reader)
            assert await idle.read() == b""
            await stopping
            assert heard.only.status == 204
            assert await reader.read() == b""
        assert shop.count() == 1


async def test_a_flood_of_refusals_is_summed_once_a_minute_and_none_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, log={"refusals_per_minute": 3}) as shop:
        for _ in range(10):
            assert (await shop.collect(b"{")).status == 400
        assert len(shop.log("request_refused")) == 3
        assert shop.refusals("/collect", "json_invalid") == 10
        shop.gateway.house.telemetry.minute_over()
        assert [line["without_line"] for line in shop.log("refusals_summed")] == [{"json_invalid": 7}]
        await shop.collect(b"{")
        assert len(shop.log("request_refused")) == 4
        shop.gateway.house.telemetry.minute_over()
        assert len(shop.log("refusals_summed")) == 1, "a minute in which every refusal had its line needs no sum"


async def test_an_image_that_is_only_asked_about_is_not_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        said = await shop.send("HEAD", "/p.gif?name=page_view", headers={"Origin": PAGE})
        assert (said.status, said.header("x-gateway-dropped"), shop.count()) == (200, "head", 0)
        await shop.send("GET", "/p.gif?name=page_view", headers={"Origin": PAGE})
        assert shop.count() == 1
