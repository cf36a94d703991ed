"""The servers that are compared, each in a process of its own.

    python -m tests.bench.servers bare
    python -m tests.bench.servers one-commit DIRECTORY [--delay-ms 2]
    python -m tests.bench.servers gateway DIRECTORY [--delay-ms 2] [--four] [--info FILE] [--unpaced] [--plain-lane]
                                                  [--behind-proxy]
    python -m tests.bench.servers sink

* `bare`: an aiohttp handler on uvloop that reads the body and a cookie and answers 204, or, asked for a link, 302. The
  yardstick of every ratio.
* `one-commit`: the same handler, which also stores the body with one insert and one commit a request through aiosqlite.
* `gateway`: the product as it is served. `--four` gives its site four destinations, `--info` says where they are played;
  `--behind-proxy` has it believe what this machine says of the visitor's address.
* `sink`: takes webhook posts under TLS, answers 200 and counts them: what a delivery costs when the vendor costs nothing.

Each writes one line of JSON with its port when it is ready, and ends on SIGTERM.
"""

import argparse
import asyncio
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiosqlite
import msgspec
import uvloop
from aiohttp import web

from gateway import app, identity
from gateway.caller import RIGHTS
from gateway.clock import SystemClock
from gateway.destinations import registry
from gateway.destinations.definition import Pace
from gateway.entropy import SystemEntropy
from gateway.errors import GatewayError
from gateway.flows import keys
from gateway.outbound import Network
from gateway.purposes import ALL_PURPOSES
from gateway.sandbox.authority import Authority
from gateway.sandbox.config import default_config
from gateway.sandbox.demo import demo_destinations, prepare
from gateway.sandbox.resolver import SandboxResolver
from gateway.sandbox.stand_ins import network_from
from gateway.settings import Settings, parse
from gateway.times import DAY_MS

__all__ = ["HOST", "PAGE_HOST", "TARGET", "Ready", "main", "settings_of"]

HOST: Final = "t.shop.example"
PAGE_HOST: Final = "www.shop.example"
TARGET: Final = f"https://{PAGE_HOST}/products/red-shoes"
VISITORS: Final = 1_000


class Ready(msgspec.Struct, kw_only=True):
    """What a server says when it takes requests. `api_key`: a key with all rights.

    `visitors`: signed id cookies; `consenting`: the same with the choice of somebody who granted every purpose.
    """

    port: int
    visitors: list[str] = []
    consenting: list[str] = []
    api_key: str = ""
    info: dict[str, Any] = {}


async def _serve_until_stopped(ready: Ready) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(msgspec.json.encode(ready).decode(), flush=True)
    await stopped.wait()


async def _listen(handler: Any, redirect: Any = None) -> tuple[web.AppRunner, int]:
    application = web.Application()
    application.router.add_post("/collect", handler)
    if redirect is not None:
        application.router.add_get("/l/{slug}", redirect)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    return runner, int(runner.addresses[0][1])


async def bare(_: argparse.Namespace) -> None:
    """Read body and cookie, answer 204; or read slug and cookie, answer 302."""

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        request.cookies.get("sid")
        return web.Response(status=204)

    async def redirect(request: web.Request) -> web.Response:
        request.cookies.get("sid")
        return web.Response(status=302, headers={"Location": f"{TARGET}?lid={request.match_info['slug']}"})

    runner, port = await _listen(handler, redirect)
    await _serve_until_stopped(Ready(port=port))
    await runner.cleanup()


async def one_commit(given: argparse.Namespace) -> None:
    """One insert and one durable commit a request, on one connection: what most services of this size do."""
    given.directory.mkdir(parents=True, exist_ok=True)
    db = await aiosqlite.connect(given.directory / "one.db", isolation_level=None)
    await db.execute("pragma journal_mode=wal")
    await db.execute("pragma synchronous=full")
    await db.execute("create table if not exists event (id text primary key, body blob) without rowid")
    await db.create_function("pause", 1, lambda ms: time.sleep(ms / 1000))

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        request.cookies.get("sid")
        event = msgspec.json.decode(body)["events"][0]
        await db.execute("insert into event values (?, ?) on conflict do nothing", (event["id"], body))
        if given.delay_ms:
            await db.execute("select pause(?)", (given.delay_ms,))
        return web.Response(status=204)

    runner, port = await _listen(handler)
    await _serve_until_stopped(Ready(port=port))
    await runner.cleanup()
    await db.close()


async def sink(given: argparse.Namespace) -> None:
    """Take posts under TLS for the host the demo's webhook has, and answer 200."""
    posts = 0
    marks: list[tuple[float, int]] = []

    async def handler(request: web.Request) -> web.Response:
        nonlocal posts
        await request.read()
        posts += 1
        marks.append((time.monotonic(), posts))
        return web.Response(text="ok")

    async def count(_: web.Request) -> web.Response:
        return web.json_response({"posts": posts, "marks": marks[:: max(1, len(marks) // 200)]})

    authority = Authority(now_ms=SystemClock().now_ms(), entropy=SystemEntropy())
    host = default_config().gateway.webhook_url.split("/")[2]
    application = web.Application()
    application.router.add_get("/count", count)
    application.router.add_post("/{rest:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    tls = authority.server_context([host], now_ms=SystemClock().now_ms())
    secured = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await secured.start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port, plain = (int(address[1]) for address in runner.addresses)
    info = {"ca_pem": authority.ca_pem(), "hosts": {host: port}, "control": f"http://127.0.0.1:{plain}"}
    if given.info is not None:
        given.info.write_bytes(msgspec.json.encode(info))
    await _serve_until_stopped(Ready(port=plain, info=info))
    await runner.cleanup()


def _unpaced() -> None:
    """Lift the pace at which platforms are asked: a bench measures this program, not their limits."""
    for slug, definition in registry.DESTINATIONS.items():
        pace = Pace(concurrency=64, per_minute=10_000_000)
        registry.DESTINATIONS[slug] = msgspec.structs.replace(definition, pace=pace)  # type: ignore[index] # a dict inside


def settings_of(directory: Path, destinations: list[dict[str, Any]], *, behind_proxy: bool = False) -> Settings:
    """What the gateway of a bench is told: one site, no limits on how often it may be asked."""
    return parse(
        {
            "listen": {"port": 0, "admin_port": 0},
            "data": {"dir": str(directory)},
            "proxy": {"trusted": ["127.0.0.1/32"] if behind_proxy else []},
            "retention": {"events_days": 500},
            "log": {"level": "error", "browser_sample": 0},
            "limits": {"browser_per_minute": 1_000_000_000, "api_per_minute": 1_000_000_000},
            "delivery": {"retry_base_s": 1.0, "retry_cap_s": 2.0, "pause_s": 1.0},
            "site": [
                {
                    "id": "shop",
                    "hosts": [HOST],
                    "domains": ["shop.example"],
                    "currency": "EUR",
                    "calling_code": "49",
                    "destination": destinations,
                }
            ],
        },
        {},
        directory,
    )


async def gateway(given: argparse.Namespace) -> None:
    """The product, with its own settings, vault, store and workers."""
    prepare(given.directory)
    values = default_config().gateway
    destinations = demo_destinations(values) if given.four else []
    if given.webhook_only:
        destinations = [one for one in demo_destinations(values) if one["platform"] == "webhook"]
    if given.unpaced:
        _unpaced()
    settings = settings_of(given.directory, destinations, behind_proxy=given.behind_proxy)
    app.prepare_process(settings, sys.stderr)
    if given.info is not None:
        resolver, tls = network_from(msgspec.json.decode(given.info.read_bytes()))
        network = Network(resolver, tls)
    else:
        network = Network(SandboxResolver({}))  # no name is known: nothing leaves this machine
    delay_s = given.delay_ms / 1000
    async with app.running(settings, network=network, sync_pause_s=delay_s, fast=not given.plain_lane) as running:
        rooms = running.house.by_id["shop"]
        today = running.house.clock.now_ms() // DAY_MS
        cookies = [
            f"{rooms.id_cookie}={identity.sign_token(rooms.keys, running.house.new_visitor_id(), today, today)}"
            for _ in range(VISITORS)
        ]
        choice = identity.Receipt(
            ALL_PURPOSES, 0, running.house.clock.now_ms() - 1, rooms.site.notice_version, "0" * 26
        )
        receipt = f"{rooms.consent_cookie}={identity.sign_receipt(rooms.keys, choice)}"
        made = await keys.create(running.house, title="bench", sites=(), rights=RIGHTS, must_sign=False)
        app.settle_process()
        await _serve_until_stopped(
            Ready(
                port=running.port,
                visitors=cookies,
                consenting=[f"{cookie}; {receipt}" for cookie in cookies],
                api_key=str(made["key"]),
            )
        )


def main() -> int:
    """Run one server until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["bare", "one-commit", "gateway", "sink"])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--four", action="store_true")
    parser.add_argument("--webhook-only", action="store_true")
    parser.add_argument("--unpaced", action="store_true")
    parser.add_argument("--plain-lane", action="store_true")
    parser.add_argument("--behind-proxy", action="store_true")
    parser.add_argument("--info", type=Path)
    given = parser.parse_args()
    serve = {"bare": bare, "one-commit": one_commit, "gateway": gateway, "sink": sink}[given.kind]
    try:
        uvloop.run(serve(given))
    except (GatewayError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
