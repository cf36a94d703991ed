"""The composition root: settings in, a running gateway out.

Everything that can refuse to start refuses here, with all problems at once: settings, keys, unsafe parsers and flags, a
second process on the same data.
"""

import asyncio
import fcntl
import gc
import os
import sqlite3
import stat
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import aiohttp
from aiohttp import http_parser, web

from gateway import VERSION, devices, telemetry
from gateway.clock import Clock, SystemClock
from gateway.entropy import Entropy, SystemEntropy
from gateway.errors import SettingsError
from gateway.flows import calls, pass_on, shelves
from gateway.flows import house as houses
from gateway.flows import keys as keys_flow
from gateway.flows.supplies import Supplies, refresh
from gateway.handlers.door import Door, Listener
from gateway.handlers.routes import ADMIN, COLLECTION, CONTROL, LINK_HOST, Table
from gateway.outbound import Network, Outbound
from gateway.stores.sqlite import SAFE_SQLITE, open_sqlite
from gateway.vault import Vault, read_key_file
from gateway.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gateway.settings import Settings

__all__ = ["CONTROL_SOCKET", "Gateway", "Lock", "open_house", "refuse_unsafe", "run", "socket_name", "start"]

AIOHTTP_FLOOR: Final = (3, 14, 3)
"""Oldest aiohttp without a known fault that reaches a server like this one."""
GC_OBJECTS: Final = 20_000
SWITCH_INTERVAL_S: Final = 0.0002
"""How long a thread may keep the interpreter: a fifth of a millisecond halves the tail of group commit."""
DATABASE: Final = "gateway.db"
KEY_FILE: Final = "keys.json"
TOKEN_FILE: Final = "admin-token"  # noqa: S105 - the name of a file
CONTROL_SOCKET: Final = "control.sock"
SOCKET_NAME_MAX: Final = 107
"""Bytes the kernel takes as the name of a socket."""
LOCK_FILE: Final = "gateway.lock"
SHUTDOWN_S: Final = 4.0
"""Time for requests under way when the gateway is stopped; aiohttp may take it twice. All of a stop stays below ten seconds."""


# ------------------------------------------------------------------ refusing to start


def refuse_unsafe() -> None:
    """Raise SettingsError when this interpreter or its libraries would weaken the gateway silently."""
    problems = []
    parser = http_parser.HttpRequestParser.__module__
    if parser != "aiohttp._http_parser":
        problems.append(
            "aiohttp runs on its pure Python parser, which has let smuggled requests through; install its wheel"
        )
    found = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if found < AIOHTTP_FLOOR:
        problems.append(
            f"aiohttp {'.'.join(map(str, found))} is older than {'.'.join(map(str, AIOHTTP_FLOOR))}; update it"
        )
    if sys.flags.optimize:
        problems.append("Python runs with -O, which removes checks that libraries rely on")
    if sys.flags.dev_mode or os.environ.get("PYTHONASYNCIODEBUG"):
        problems.append("debugging is on (-X dev or PYTHONASYNCIODEBUG)")
    if problems:
        raise SettingsError(problems)


class Lock:
    """One process on one data directory, by a lock the kernel lets go of when the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        self._descriptor = -1

    def take(self) -> bool:
        """Take the lock. Answers whether nobody else holds it. Raises SettingsError when there is no such directory."""
        directory = self._path.parent
        if not directory.is_dir():
            raise SettingsError([f"The data directory {directory} does not exist. Make it with: gateway init"])
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError([f"The data directory {directory} cannot be written: {type(error).__name__}"]) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            self._descriptor = -1
            return False
        return True

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def socket_name(path: Path) -> "Iterator[str]":
    """A name by which the socket at `path` can be bound or reached, also where its path is longer than the kernel takes."""
    if len(os.fsencode(path)) <= SOCKET_NAME_MAX:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def admin_token(directory: Path, entropy: Entropy) -> str:
    """Read the admin token, making the file (mode 0600) when there is none. Raises SettingsError when others can read it."""
    path = directory / TOKEN_FILE
    if not path.exists():
        # Under another name first: a kill in between must not leave an empty file that refuses every later start.
        new = directory / f"{TOKEN_FILE}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, entropy.token_bytes(24).hex().encode("ascii") + b"\n")
        finally:
            os.close(descriptor)
        os.replace(new, path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError([f"{path} can be read by others; set its mode to 0600"])
    token = path.read_text("utf-8", "replace").strip()
    if len(token) < 32 or not token.isascii():
        raise SettingsError([f"{path} holds no token of 32 characters or more; delete the file and start again"])
    return token


# ------------------------------------------------------------------ the house


async def open_house(
    settings: "Settings",
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    network: Network | None = None,
    after_commit: "Callable[[], None] | None" = None,
    sync_pause_s: float = 0.0,
) -> houses.House:
    """Open store and vault and bind the rooms, without listening. Raises SettingsError and StoreError."""
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    directory = Path(settings.data.dir)
    if not directory.is_dir():
        raise SettingsError([f"The data directory {directory} does not exist. Make it with: gateway init"])
    vault = Vault(read_key_file(directory / KEY_FILE), entropy)
    tell = telemetry.Telemetry(settings.log.browser_sample, settings.log.refusals_per_minute)
    ports = frozenset({443, *settings.delivery.webhook_ports})
    out = Outbound(network or Network(), houses.allowed_hosts(settings), ports)
    problems = houses.problems_of(settings)
    if problems:
        raise SettingsError(problems)
    store = await open_sqlite(
        directory / DATABASE,
        sites=tuple(site.id for site in settings.site),
        now_ms=clock.now_ms(),
        reserve_bytes=settings.data.reserve_bytes,
        waiting_max=settings.limits.waiting_max,
        timeout_s=settings.limits.store_timeout_s,
        appender=settings.data.appender,
        after_commit=after_commit,
        sync_pause_s=sync_pause_s,
        on_batch=tell.batch_committed,
        on_appender=tell.appender_changed,
    )
    try:
        supplies = Supplies(
            Path(settings.consent.gvl_dir or directory / "gvl"),
            houses.vendors_of(settings),
            Path(settings.places.database) if settings.places.source == "database" else None,
        )
        house = houses.build(
            settings,
            store=store,
            vault=vault,
            out=out,
            telemetry=tell,
            clock=clock,
            entropy=entropy,
            supplies=supplies,
        )
        await refresh(house)
        pass_on.install(house)
        await keys_flow.load(house)
        await shelves.load(house)
        await calls.load(house)
    except BaseException:
        await store.close()  # its threads would keep the process from ending
        raise
    return house


class Gateway:
    """A running gateway. `port` and `admin_port` are those really taken."""

    def __init__(self, house: houses.House, workers: Workers, runners: list[web.BaseRunner]) -> None:
        self.house = house
        self.port = 0
        self.admin_port = 0
        self._workers = workers
        self._runners = runners

    async def stop(self) -> None:
        """Stop accepting, finish what is under way, give back what waits, close the store."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners), self._workers.stop())
        await self.house.outbound.close()
        await self.house.store.close()
        self.house.telemetry.stopped()


async def start(
    settings: "Settings",
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    network: Network | None = None,
    after_commit: "Callable[[], None] | None" = None,
    sync_pause_s: float = 0.0,
    fast: bool = True,
) -> Gateway:
    """Start a gateway: house, workers, listeners. The caller holds the Lock. Raises SettingsError and StoreError."""
    house = await open_house(
        settings,
        clock=clock,
        entropy=entropy,
        network=network,
        after_commit=after_commit,
        sync_pause_s=sync_pause_s,
    )
    directory = Path(settings.data.dir)
    try:
        again, lost = await house.store.recover(house.clock.now_ms())
        token = admin_token(directory, house.entropy)
    except OSError as error:
        await house.store.close()
        raise SettingsError([f"The data directory {directory} cannot be used: {error.strerror}"]) from None
    except BaseException:
        await house.store.close()
        raise
    workers = Workers(house)
    runners: list[web.BaseRunner] = []
    gateway = Gateway(house, workers, runners)
    try:
        devices.read_agent("warm up")
        workers.start()
        try:
            listen = settings.listen
            gateway.port = await _listen(
                Door(house, Table(COLLECTION), links=Table(LINK_HOST)), listen.host, listen.port, runners, fast=fast
            )
            admin = Door(house, Table(ADMIN), admin_token=token)
            gateway.admin_port = await _listen(admin, listen.admin_host, listen.admin_port, runners)
            await _listen_control(Door(house, Table(CONTROL), control=True), directory / CONTROL_SOCKET, runners)
        except OSError as error:
            raise SettingsError([f"listen: cannot listen ({error.strerror or type(error).__name__})"]) from None
        _tell_started(gateway, again, lost)
    except BaseException:
        await gateway.stop()  # an open store's threads would keep the process from ending, whatever went wrong
        raise
    return gateway


def _tell_started(gateway: Gateway, again: int, lost: int) -> None:
    """Log the start. `again` deliveries were taken up, `lost` ones may have arrived or not."""
    house = gateway.house
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        house.telemetry.warned(
            "sqlite_old",
            found=sqlite3.sqlite_version,
            safe=".".join(map(str, SAFE_SQLITE)),
            note="safe with one writer",
        )
    house.telemetry.started(
        version=VERSION,
        sqlite=sqlite3.sqlite_version,
        aiohttp=aiohttp.__version__,
        port=gateway.port,
        admin_port=gateway.admin_port,
        sites=list(house.by_id),
        deliveries_taken_up=again,
        deliveries_unconfirmed=lost,
    )


async def _listen(door: Door, host: str, port: int, runners: list[web.BaseRunner], *, fast: bool = False) -> int:
    runner = web.ServerRunner(Listener(door, fast=fast), handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    runners.append(runner)
    await web.TCPSite(runner, host, port, backlog=1024).start()
    return int(runner.addresses[0][1])


async def _listen_control(door: Door, path: Path, runners: list[web.BaseRunner]) -> None:
    """Listen on the control socket: only the user the gateway runs as may speak to it."""
    path.unlink(missing_ok=True)
    runner = web.ServerRunner(Listener(door), handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    runners.append(runner)
    before = os.umask(0o177)
    try:
        with socket_name(path) as name:
            await web.UnixSite(runner, name).start()
    finally:
        os.umask(before)


@asynccontextmanager
async def running(
    settings: "Settings",
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    network: Network | None = None,
    after_commit: "Callable[[], None] | None" = None,
    sync_pause_s: float = 0.0,
    fast: bool = True,
) -> "AsyncIterator[Gateway]":
    """A gateway for the length of a block. Takes the lock. Raises SettingsError when another process has it."""
    lock = Lock(Path(settings.data.dir))
    if not lock.take():
        raise SettingsError([f"Another gateway is running on {settings.data.dir}"])
    try:
        gateway = await start(
            settings,
            clock=clock,
            entropy=entropy,
            network=network,
            after_commit=after_commit,
            sync_pause_s=sync_pause_s,
            fast=fast,
        )
        try:
            yield gateway
        finally:
            await gateway.stop()
    finally:
        lock.release()


async def run(settings: "Settings", stop: asyncio.Event, *, network: Network | None = None) -> None:
    """Serve until `stop` is set or the store is found damaged. Raises SettingsError and StoreError."""
    async with running(settings, network=network) as gateway:
        settle_process()
        while not stop.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await stop.wait()
            except TimeoutError:
                if getattr(gateway.house.store, "damaged", False):
                    gateway.house.telemetry.failed(
                        "store_damaged", note="stopping; run gateway check and restore a backup"
                    )
                    raise SettingsError(["The database is damaged; nothing is taken in any more"]) from None


def prepare_process(settings: "Settings", stream: TextIO | None = None) -> None:
    """Set up logging and the interpreter for service."""
    telemetry.configure(settings.log.level, stream)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def settle_process() -> None:
    """Tell the garbage collector that what lives now stays, and to look at the rest less often.

    An event makes some fifty objects that live until their commit and die by themselves; looking through them for
    circles after every 700 cost a tenth of a page view.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 50)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop: uvloop where it is installed, which serves a sixth more, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
