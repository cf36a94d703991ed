"""Gateway and stand-ins in the test's own process, over real sockets and a real file, on one clock that can be moved.

Waiting for something is polling with a generous bound. Where a test is about hours, the clock is moved instead.
"""

import asyncio
import io
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec
import structlog

from gateway import app, telemetry
from gateway.clock import SystemClock
from gateway.destinations.registry import DESTINATIONS
from gateway.flows import keys
from gateway.flows.explain import explain
from gateway.outbound import Network
from gateway.sandbox.authority import client_context
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST, demo_destinations, prepare
from gateway.sandbox.resolver import SandboxResolver
from gateway.sandbox.stand_ins import ConnectInfo, StandIns
from gateway.settings import Settings, parse
from tests.faults.load import Answered, Client, conversion_body

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from gateway.destinations.definition import Destination
    from gateway.sandbox.ledger import Ledger
    from gateway.sandbox.stand_in import StandIn
    from gateway.stores.sqlite import SqliteStore

__all__ = ["STAND_INS", "Inside", "MovableClock", "impatient", "inside", "serving", "settings_of", "until"]

STAND_INS: Final = {"meta": "meta", "ga4": "ga4", "google_ads": "google_ads", "crm": "webhook"}
"""Destination of the demo to the stand-in behind it."""
DELIVERY: Final = {"retry_base_s": 0.05, "retry_cap_s": 0.3, "pause_s": 0.8}


class MovableClock(SystemClock):
    """The machine's clocks, and a step ahead of them that a test may lengthen."""

    __slots__ = ("_ahead_ms",)

    def __init__(self) -> None:
        self._ahead_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC, as far as gateway and vendors know."""
        return super().now_ms() + self._ahead_ms

    def monotonic_s(self) -> float:
        """Seconds that only go forward."""
        return super().monotonic_s() + self._ahead_ms / 1000

    def move(self, *, s: float) -> None:
        """Let time pass."""
        self._ahead_ms += int(s * 1000)


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0, what: object = "") -> None:
    """Wait until something holds. Raises AssertionError when it does not, in a time that is generous on any machine."""
    clock = SystemClock()
    end_s = clock.monotonic_s() + seconds
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert clock.monotonic_s() < end_s, f"it did not happen in {seconds} seconds: {what}"
        await asyncio.sleep(0.01)


@contextmanager
def impatient(timeout_s: float) -> Iterator[None]:
    """Give vendors less time to answer than their definitions do: no test can wait out a minute."""
    table = cast("dict[str, Destination]", DESTINATIONS)
    before = dict(table)
    table.update({slug: msgspec.structs.replace(known, timeout_s=timeout_s) for slug, known in before.items()})
    try:
        yield
    finally:
        table.update(before)


def settings_of(
    directory: Path,
    config: SandboxConfig,
    *,
    only: tuple[str, ...] = tuple(STAND_INS),
    contact: str = "sha256",
    **changes: object,
) -> Settings:
    """Settings with the demo's destinations, or some of them. `changes` replace whole sections, or rows of the site.

    `contact` is how the webhook gets contact data.
    """
    named = [row for row in demo_destinations(config.gateway) if str(row.get("name", row["platform"])) in only]
    named = [{**row, "contact": contact} if "contact" in row else row for row in named]
    site: dict[str, object] = {
        "id": "shop",
        "hosts": [GATEWAY_HOST],
        "domains": [SHOP_HOST],
        "currency": "EUR",
        "calling_code": "49",
        "destination": named,
    }
    sections = {key: value for key, value in changes.items() if key in Settings.__struct_fields__}
    rows = {key: value for key, value in changes.items() if key not in sections}
    raw: dict[str, object] = {
        "listen": {"port": 0, "admin_port": 0},
        "data": {"dir": str(directory), "reserve_bytes": 65_536},
        "limits": {"browser_per_minute": 10_000_000, "api_per_minute": 10_000_000},
        "delivery": DELIVERY,
        "site": [{**site, **rows}],
        **sections,
    }
    return parse(raw, {}, directory)


class Inside:
    """A gateway with its stand-ins, and what a test does with them."""

    def __init__(
        self, gateway: app.Gateway, stand_ins: StandIns, clock: MovableClock, directory: Path, log: io.StringIO
    ) -> None:
        self.gateway = gateway
        self.house = gateway.house
        self.stand_ins = stand_ins
        self.clock = clock
        self.directory = directory
        self.log = log
        self._api_key = ""
        self._made = 0

    @property
    def database(self) -> Path:
        """The database file."""
        return self.directory / app.DATABASE

    def vendor(self, destination: str) -> "StandIn":
        """The stand-in behind a destination."""
        return self.stand_ins.by_name()[STAND_INS[destination]]

    def ledger(self, destination: str) -> "Ledger":
        """What the vendor behind a destination saw."""
        return self.vendor(destination).ledger

    async def call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answered:
        """One request on a connection of its own."""
        client = Client(self.gateway.port, GATEWAY_HOST)
        try:
            return await client.send(method, path, body, headers or {})
        finally:
            client.close()

    async def key(self) -> str:
        """An API key with all rights, made once."""
        if not self._api_key:
            made = await keys.create(self.house, title="", sites=(), rights=(), must_sign=False)
            self._api_key = str(made["key"])
        return self._api_key

    async def api(self, path: str, body: object, **headers: str) -> Answered:
        """One server call."""
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        bearer = {"Authorization": f"Bearer {await self.key()}"}
        return await self.call("POST", path, encoded, {**bearer, **headers})

    async def buy(self, count: int = 1, **changes: object) -> list[str]:
        """Send orders of `count` people, at most 100, as one request. Answers the event ids."""
        made = []
        for _ in range(count):
            self._made += 1
            made.append(msgspec.Raw(conversion_body(f"event-{self._made:05}", f"A{self._made:05}", **changes)))
        answered = await self.api("/api/v1/conversions/batch", {"conversions": made})
        assert answered.status == 200, answered
        results = msgspec.json.decode(answered.body)["results"]
        assert [one["fate"] for one in results] == ["counted"] * count
        return [str(one["id"]) for one in results]

    async def fates(self, destination: str) -> Counter[str]:
        """How many deliveries of a destination have each fate."""
        tally = await self.house.store.tally()
        return Counter({fate: n for (_, named, fate), n in tally.deliveries.items() if named == destination})

    async def settled(self, seconds: float = 20.0, **fates: int) -> None:
        """Wait until the only destination there is has exactly these fates."""
        [destination] = [placed.name for placed in self.house.by_id["shop"].destinations]
        await self.settled_at(destination, seconds, **fates)

    async def settled_at(self, destination: str, seconds: float = 20.0, **fates: int) -> None:
        """Wait until a destination has exactly these fates."""
        last: Counter[str] = Counter()

        async def same() -> bool:
            nonlocal last
            last = await self.fates(destination)
            return last == Counter(fates)

        try:
            await until(same, seconds)
        except AssertionError:
            raise AssertionError(
                f"{destination}: {dict(last)}, not {fates}; log: {self.log.getvalue()[-1500:]}"
            ) from None

    async def told(self, event_id: str, destination: str) -> dict[str, object]:
        """What `gateway explain` says about one delivery."""
        found = await explain(self.house, event_id, None)
        deliveries = cast("list[dict[str, object]]", found["deliveries"])
        return next(one for one in deliveries if one["destination"] == destination)

    async def is_accepted(self, event_id: str, destination: str) -> bool:
        """Whether a vendor took an event."""
        return (await self.told(event_id, destination))["fate"] == "accepted"

    async def spoil(self, event_id: str, damage: Callable[[bytes], bytes]) -> None:
        """Damage the sealed payloads of an event, through the one writer there may be."""

        def write(db: sqlite3.Connection) -> None:
            where = "event_seq = (select seq from event where event_id = ?)"
            for row, sealed in db.execute(
                f"select delivery_id, payload from delivery where {where}", (event_id,)
            ).fetchall():
                db.execute("update delivery set payload = ? where delivery_id = ?", (damage(sealed), row))

        await cast("SqliteStore", self.house.store)._writer.add_work(write, 100)

    async def write(self, statement: str, *values: object) -> None:
        """Change the database behind the gateway's back, through the one writer there may be."""
        store = cast("SqliteStore", self.house.store)
        await store._writer.add_work(lambda db: db.execute(statement, values).rowcount, 100)

    def pass_time(self, *, s: float) -> None:
        """Let time pass for gateway and vendors, and have every lane look at the clock."""
        self.clock.move(s=s)
        for site, destination in self.house.lanes:
            self.house.nudge(site, destination)


@asynccontextmanager
async def serving(
    settings: Settings,
    stand_ins: StandIns,
    clock: MovableClock,
    *,
    resolver: "AbstractResolver | None" = None,
    after_commit: Callable[[], None] | None = None,
) -> AsyncIterator[Inside]:
    """Run a gateway against stand-ins that run already, reached under their real names or as `resolver` says.

    `after_commit` runs in the store's thread after every commit, before anybody is told.
    """
    directory = Path(settings.data.dir)
    prepare(directory)
    log = io.StringIO()
    telemetry.configure("info", log)
    known = msgspec.convert(stand_ins.connect_info(), ConnectInfo)
    network = Network(resolver or SandboxResolver(known.hosts), client_context(known.ca_pem))
    try:
        async with app.running(settings, clock=clock, network=network, after_commit=after_commit) as gateway:
            yield Inside(gateway, stand_ins, clock, directory, log)
    finally:
        structlog.reset_defaults()


@asynccontextmanager
async def inside(
    directory: Path,
    config: SandboxConfig,
    *,
    only: tuple[str, ...] = tuple(STAND_INS),
    contact: str = "sha256",
    **changes: object,
) -> AsyncIterator[Inside]:
    """Run stand-ins and a gateway. Arguments as for `settings_of`."""
    clock = MovableClock()
    async with StandIns(config, clock=clock) as stand_ins:
        settings = settings_of(directory, config, only=only, contact=contact, **changes)
        async with serving(settings, stand_ins, clock) as running:
            yield running
