"""SIGKILL under a load of clicks, postbacks and uploads: what was answered is there, once, and every sum holds afterwards.

A click is answered with its redirect, a postback with 200, a row of a file with its own line: each is a promise. Credit is
given later, by a worker that is killed as well, so after the last start every conversion that counts must have its credit,
and the sums by day must be those of the rows.
"""

import asyncio
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import pytest

from gateway.caller import RIGHTS
from gateway.clock import SystemClock
from gateway.entropy import SystemEntropy
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST
from tests.faults.load import AGAIN_S, AGENT, ANSWER_S, Client
from tests.faults.processes import Service, apart, percentile, report
from tests.faults.test_kill import EARLY_SHARE

LINK: Final = "spring"
SITE: Final[dict[str, object]] = {
    "id": "shop",
    "hosts": [GATEWAY_HOST],
    "domains": [SHOP_HOST],
    "currency": "EUR",
    "regime": "none",
    "granted_by_default": ["analytics", "advertising"],
}
"""A site where clicks may be credited without a choice, so that every redirect names its click."""
CENTS: Final = 1_250
ROWS: Final = 25
CREDITED_S: Final = 60.0

clock, entropy = SystemClock(), SystemEntropy()


class Promised(msgspec.Struct):
    """What was answered: ids of clicks, order numbers of postbacks and of rows. `named` is the click an order names."""

    clicks: set[str] = msgspec.field(default_factory=set)
    tracked: set[str] = msgspec.field(default_factory=set)
    uploaded: set[str] = msgspec.field(default_factory=set)
    named: dict[str, str] = msgspec.field(default_factory=dict)
    tries: int = 0

    @property
    def orders(self) -> set[str]:
        """All order numbers."""
        return self.tracked | self.uploaded


class Owner(msgspec.Struct, frozen=True):
    """What the load needs to know: the path of postbacks, and a key for uploads."""

    track: str
    key: str


async def owner_of(service: Service) -> Owner:
    """Make a link, the goals, and a key."""
    made = await service.admin("POST", "catalogue/shop/campaigns", {"name": "Spring"})
    campaign: Any = made["campaign"]
    link = {"code": LINK, "target": f"https://{SHOP_HOST}/", "campaign_id": campaign["id"]}
    await service.admin("POST", "catalogue/shop/links", link)
    await service.admin("POST", "catalogue/shop/goals", {"name": "Till", "code": "till_sale"})
    goal = {"name": "Order", "code": "order", "pin": "click_id", "per_minute": 1_000_000}
    told = await service.admin("POST", "catalogue/shop/goals", goal)
    key = await service.admin("POST", "keys", {"title": "load", "rights": list(RIGHTS)})
    return Owner(f"/api/conversions/track/{told['postback_token']}", str(key["key"]))


class Load:
    """People who click, a tracker that reports orders, a till that uploads; each goes on whatever happens to the gateway."""

    def __init__(self, service: Service, owner: Owner) -> None:
        self.promised = Promised()
        self._service = service
        self._owner = owner
        self._stopped = asyncio.Event()
        self._recent: deque[str] = deque(maxlen=200)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, clicking: int = 10, tracking: int = 5, uploading: int = 2) -> None:
        """Start the clients."""
        for kind, many in ((self._click, clicking), (self._track, tracking), (self._upload, uploading)):
            for number in range(many):
                self._tasks.append(asyncio.create_task(self._client(kind, f"{kind.__name__[1:]}-{number}")))

    async def stop(self, *, within_s: float = 30.0) -> None:
        """Let every client finish what it is at. Raises AssertionError when one cannot."""
        self._stopped.set()
        _, left = await asyncio.wait(self._tasks, timeout=within_s)
        await self.abort()
        assert not left, f"{len(left)} clients were not answered in {within_s} seconds"
        for task in self._tasks:
            task.result()

    async def abort(self) -> None:
        """Stop at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, send: Callable[[Client, str], Awaitable[None]], name: str) -> None:
        client = Client(self._service.port, self._service.host)
        try:
            for index in range(1_000_000):
                if self._stopped.is_set():
                    return
                self.promised.tries += 1
                try:
                    await send(client, f"{name}-{index}")
                except (OSError, EOFError, TimeoutError):
                    await asyncio.sleep(AGAIN_S)
        finally:
            client.close()

    async def _click(self, client: Client, name: str) -> None:
        """Somebody new opens the link. Who is not answered is gone: another try would be another click."""
        answered = await client.send("GET", f"/l/{LINK}?utm_term={name}", b"", {"User-Agent": f"{AGENT} {name}"})
        assert answered.status == 302, answered
        (click_id,) = parse_qs(urlsplit(answered.headers["location"]).query)["cid"]
        self.promised.clicks.add(click_id)
        self._recent.append(click_id)
        await asyncio.sleep(0.01)

    async def _track(self, client: Client, name: str) -> None:
        """A tracker reports an order of a click, and reports it again until it is answered; every fourth once more."""
        order_id = f"O-{name}"
        click_id = self._recent[int(entropy.fraction() * len(self._recent))] if self._recent else None
        body = msgspec.json.encode({"order_id": order_id, "value": "12.50", "currency": "EUR", "click_id": click_id})
        for _ in range(2 if len(self.promised.tracked) % 4 == 0 else 1):
            status = await self._told(client, body)
            assert status in {"accepted", "duplicate"}, status
            self.promised.tracked.add(order_id)
        if click_id is not None:
            self.promised.named[order_id] = click_id
        await asyncio.sleep(0.02)

    async def _told(self, client: Client, body: bytes) -> str:
        while True:
            try:
                answered = await client.send("POST", self._owner.track, body, {})
            except (OSError, EOFError, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                continue
            if answered.status == 200:
                return str(json.loads(answered.body)["status"])
            assert answered.status in {503, 507}, answered
            await asyncio.sleep(AGAIN_S)

    async def _upload(self, client: Client, name: str) -> None:
        """A till sends a file, and the same file until all of it is answered. Every answered row is a promise."""
        at = "2026-11-20 10:00:00"
        orders = [f"U-{name}-{row}" for row in range(ROWS)]
        lines = [f"till_sale,{order},{at},12.50,EUR,buyer-{order.lower()}@example.com" for order in orders]
        body = "\n".join(["goal,order_id,time,value,currency,email", *lines]).encode()
        headers = {"Host": self._service.host, "Authorization": f"Bearer {self._owner.key}", "Content-Type": "text/csv"}
        whole = False
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S), headers=headers) as session:
            while not whole:
                whole = await self._heard(session, body, orders)
        await asyncio.sleep(0.02)

    async def _heard(self, session: aiohttp.ClientSession, body: bytes, orders: list[str]) -> bool:
        """Send the file once. Answers whether its answer came to the end."""
        address = f"http://127.0.0.1:{self._service.port}/api/v1/uploads"
        try:
            async with session.post(address, data=body) as response:
                assert response.status in {200, 503, 507}, await response.read()
                async for line in response.content:
                    found = json.loads(line) if line.endswith(b"\n") else {}
                    if "summary" in found:
                        return response.status == 200 and found["summary"]["rows"] == ROWS
                    if found.get("fate") in {"accepted", "duplicate"}:
                        self.promised.uploaded.add(orders[found["line"] - 2])
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        await asyncio.sleep(AGAIN_S)
        return False


# ------------------------------------------------------------------ what is there afterwards


class Kept(msgspec.Struct):
    """What a database holds: ids of clicks, orders that count, and every sum that does not hold, as a sentence."""

    clicks: Counter[str]
    orders: Counter[str]
    uncredited: list[str]
    wrong_sums: list[str]
    credited: int
    waiting: int


_CREDIT_NOW: Final = "credit t join conversion c on c.conversion_id = t.conversion_id and c.credit_version = t.version"
_SUMS: Final = {
    "conversions of a day": (
        "select sum(conversions), sum(retracted), sum(duplicates) from goal_day",
        "select sum(fate <> 'duplicate'), sum(fate = 'retracted'), sum(fate = 'duplicate') from conversion",
    ),
    "amounts of each goal": (
        "select goal, sum(conversions), sum(amount_minor), sum(net_minor) from goal_day group by 1 order by 1",
        "select goal, count(*), sum(amount_minor), sum(net_minor) from conversion where fate <> 'duplicate' group by 1 order by 1",
    ),
    "conversions nobody earned": (
        "select sum(conversions) - sum(unattributed) from goal_day",
        f"select count(distinct c.conversion_id) from {_CREDIT_NOW} where fate <> 'duplicate'",
    ),
    "credit of a day": (
        "select sum(share_e9), sum(amount_minor), sum(net_minor) from credit_day",
        f"select sum(share_e9), sum(t.amount_minor), sum(t.net_minor) from {_CREDIT_NOW}",
    ),
    "touches of a day": (
        "select kind, human, sum(touches), sum(repeats) from touch_day group by 1, 2 order by 1, 2",
        "select kind, human, count(*), sum(repeats) from touch group by 1, 2 order by 1, 2",
    ),
}
"""What is summed, by the sums that reports read and by the rows."""


def read(path: Path) -> Kept:
    """Read a database file, without the gateway."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        counted = "select order_id from conversion where fate <> 'duplicate'"
        uncredited = (
            "select conversion_id from conversion where fate <> 'duplicate'"
            " and conversion_id not in (select conversion_id from attribution)"
        )
        wrong = [
            f"{what}: {sums} by the sums, {rows} by the rows"
            for what, (by_sums, by_rows) in _SUMS.items()
            if (sums := db.execute(by_sums).fetchall()) != (rows := db.execute(by_rows).fetchall())
        ]
        return Kept(
            Counter(row[0] for row in db.execute("select click_id from touch where click_id is not null")),
            Counter(row[0] for row in db.execute(counted)),
            [row[0] for row in db.execute(uncredited)],
            wrong,
            db.execute("select count(distinct conversion_id) from credit").fetchone()[0],
            db.execute("select count(*) from conversion where credit_due_ms is not null").fetchone()[0],
        )


def lost(kept: Kept, promised: Promised) -> list[str]:
    """What was answered and is not there."""
    gone = [f"click {name}" for name in promised.clicks if not kept.clicks[name]]
    return gone + [f"order {name}" for name in promised.orders if not kept.orders[name]]


def twice(kept: Kept) -> list[str]:
    """What is there more than once."""
    return [name for names in (kept.clicks, kept.orders) for name, count in names.items() if count > 1]


async def settled(service: Service) -> Kept:
    """Wait until no click waits in the spool, and no conversion for its credit."""
    until_s = clock.monotonic_s() + CREDITED_S
    spools = [service.data / name for name in ("clicks.spool", "clicks.spool.draining")]
    while (kept := read(service.database)).waiting or any(one.exists() and one.stat().st_size for one in spools):
        assert clock.monotonic_s() < until_s, f"{kept.waiting} conversions wait for their credit"
        await asyncio.sleep(0.3)
    return kept


async def killed_often(service: Service, kills: int, flaw: str | None = None) -> list[float]:
    """Kill and start again. Answers the seconds each start took."""
    ready = []
    for _ in range(kills):
        if entropy.fraction() < EARLY_SHARE:
            await asyncio.sleep(0.9 * entropy.fraction())
        else:
            ready.append(await service.ready())
            await asyncio.sleep(0.05 + 0.45 * entropy.fraction())
        service.kill()
        service.start(flaw)
    ready.append(await service.ready())
    return ready


async def survives(tmp_path: Path, config: SandboxConfig, kills: int, name: str) -> None:
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config, site=[SITE])
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            load = Load(service, await owner_of(service))
            load.start()
            ready = await killed_often(service, kills)
            await load.stop()
            kept = await settled(service)
            sums = await service.admin("GET", "check")
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    promised = load.promised
    missing, double = lost(kept, promised), twice(kept)
    report(
        name,
        kills=kills,
        tries=promised.tries,
        clicks=len(promised.clicks),
        postbacks=len(promised.tracked),
        rows=len(promised.uploaded),
        lost=len(missing),
        twice=len(double),
        credited=kept.credited,
        uncredited=len(kept.uncredited),
        ready_ms_median=percentile(ready, 0.5),
        ready_ms_p95=percentile(ready, 0.95),
    )
    assert missing == []
    assert double == []
    assert sums["problems"] == []
    assert kept.uncredited == []
    assert kept.wrong_sums == []
    named = {click for order, click in promised.named.items() if order in promised.tracked}
    assert kept.credited >= len(promised.named) > kills, "an order that names a stored click is credited"
    assert named <= set(kept.clicks)
    assert "clicks_lost" not in service.log_text()
    assert len(promised.clicks) > 20 * kills, "too little load to mean anything"
    assert len(promised.uploaded) > 5 * kills


@pytest.mark.slow
async def test_answering_before_the_commit_would_be_seen(tmp_path: Path, config: SandboxConfig) -> None:
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config, site=[SITE])
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            load = Load(service, await owner_of(service))
            service.kill()
            service.start("hasty")
            load.start(uploading=0)
            await killed_often(service, 8, "hasty")
            await load.stop()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    missing = lost(read(service.database), load.promised)
    report("kills-clicks-control-hasty", lost=len(missing))
    assert any(one.startswith("order") for one in missing)


@pytest.mark.slow
async def test_sums_that_do_not_hold_would_be_seen(tmp_path: Path, config: SandboxConfig) -> None:
    """The check itself: a row that is taken away from under the sums, and credit that was never given."""
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config, site=[SITE])
        try:
            service.start()
            await service.ready()
            load = Load(service, await owner_of(service))
            load.start()
            await asyncio.sleep(1.0)
            await load.stop()
            assert (await settled(service)).wrong_sums == []
        finally:
            service.kill()
    with closing(sqlite3.connect(service.database)) as db, db:
        for statement in (
            "delete from conversion where conversion_id = (select max(conversion_id) from conversion)",
            "delete from touch where touch_no = (select max(touch_no) from touch where click_id is not null)",
            "update conversion set amount_minor = 1 where conversion_id = (select min(conversion_id) from conversion)",
            "delete from attribution where conversion_id = (select min(conversion_id) from conversion)",
            "delete from credit where conversion_id = (select min(conversion_id) from credit)",
        ):
            db.execute(statement)
    kept = read(service.database)
    assert {one.partition(":")[0] for one in kept.wrong_sums} == set(_SUMS)
    assert len(kept.uncredited) == 1
    assert sorted(one.partition(" ")[0] for one in lost(kept, load.promised)) == ["click", "order"]


@pytest.mark.slow
async def test_e05_fifteen_kills_lose_no_click_no_postback_and_no_row(tmp_path: Path, config: SandboxConfig) -> None:
    await survives(tmp_path, config, 15, "kills-clicks-15")


@pytest.mark.nightly
async def test_e05_sixty_kills_lose_no_click_no_postback_and_no_row(tmp_path: Path, config: SandboxConfig) -> None:
    await survives(tmp_path, config, 60, "kills-clicks-60")
