"""Stand-ins and gateway as processes of their own, so that a gateway can be killed while its vendors live on.

Nothing here outlives the test: every process is killed at the end of its block, and by the kernel should the test itself
be killed. All ports are on loopback, and outside the range from which clients' ports are taken.
"""

import asyncio
import fcntl
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from gateway import app
from gateway.clock import SystemClock
from gateway.entropy import SystemEntropy
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.control import Control
from gateway.sandbox.demo import GATEWAY_HOST, SHOP_HOST, demo_destinations, prepare
from gateway.stores.appending import lock_path
from tests.faults import checks

__all__ = [
    "ROOT",
    "Apart",
    "Service",
    "apart",
    "await_appender",
    "drained",
    "free_port",
    "locked",
    "percentile",
    "report",
    "toml_of",
]

ROOT: Final = Path(__file__).parents[2]
OUT: Final = Path(__file__).parent / "out"
PORTS: Final = (20_000, 12_000)
DRAIN_S: Final = 90.0
HOLD: Final = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("begin exclusive")
print("held", flush=True)
sys.stdin.read(1)
"""
START_S: Final = 30.0
"""Longest time anything may take to start; ten times what it takes on a busy machine."""


def free_port() -> int:
    """A port nobody listens on, below the ephemeral range: no client of the test can take it while it is free."""
    entropy = SystemEntropy()
    for _ in range(100):
        port = PORTS[0] + int(entropy.fraction() * PORTS[1])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port was found")


def await_appender(database: Path) -> None:
    """Wait until nobody writes a database any more whose gateway is gone."""
    lock = lock_path(database)
    if lock.exists():
        with lock.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)


def toml_of(value: object) -> str:
    """A settings document, or a value inside one, as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_of(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return json.dumps(value)


def report(name: str, **figures: object) -> None:
    """Print a test's figures, and keep them in `out/` for whoever compares runs."""
    line = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())
    print(f"\n{name}: {line}")
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


def _dying_with_us(command: list[str]) -> list[str]:
    """Have the kernel kill a process when this one ends, however it ends. Without util-linux, `finally` has to do."""
    tool = shutil.which("setpriv")
    return [tool, "--pdeathsig", "KILL", *command] if tool is not None else command


class Service:
    """One gateway that can be started, killed and started again. `changes` replace or add whole settings sections."""

    def __init__(
        self,
        directory: Path,
        info: Path,
        config: SandboxConfig,
        *,
        data: Path | None = None,
        reserve_bytes: int = 65_536,
        appender: str = "always",
        **changes: object,
    ) -> None:
        self.directory = directory
        self.data = data or directory / "data"
        self.port, self.admin_port = free_port(), free_port()
        self.host = GATEWAY_HOST
        self.settings = directory / "gateway.toml"
        self.log = directory / "log.jsonl"
        self._info = info
        self._process: subprocess.Popen[bytes] | None = None
        self.clock = SystemClock()
        self._begun_s = 0.0
        directory.mkdir(parents=True, exist_ok=True)
        prepare(self.data)
        raw: dict[str, object] = {
            "listen": {"port": self.port, "admin_port": self.admin_port},
            "data": {"dir": str(self.data), "reserve_bytes": reserve_bytes, "appender": appender},
            "limits": {"browser_per_minute": 100_000_000, "api_per_minute": 100_000_000},
            "delivery": {"retry_base_s": 0.2, "retry_cap_s": 2.0, "pause_s": 1.0},
            "site": [
                {
                    "id": "shop",
                    "hosts": [GATEWAY_HOST],
                    "domains": [SHOP_HOST],
                    "currency": "EUR",
                    "destination": demo_destinations(config.gateway),
                }
            ],
            **changes,
        }
        self.settings.write_text("".join(f"{key} = {toml_of(value)}\n" for key, value in raw.items()))
        self.settings.chmod(0o600)

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data / app.DATABASE

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the gateway itself."""
        assert self._process is not None
        return self._process.pid

    def start(self, flaw: str | None = None, *, wrapper: tuple[str, ...] = ()) -> None:
        """Start the process; it is not ready yet. `wrapper` is a command that runs another, such as a fault injector."""
        assert not self.running, "the gateway runs already"
        command = [*wrapper, sys.executable, "-m", "tests.faults.service"]
        command += ["--settings", str(self.settings), "--info", str(self._info)]
        if flaw is not None:
            command += ["--flaw", flaw]
        self._begun_s = self.clock.monotonic_s()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(_dying_with_us(command), stdin=subprocess.DEVNULL, stderr=log, cwd=ROOT)

    async def ready(self) -> float:
        """Wait until a request is answered. Answers the seconds since the start. Raises AssertionError when it ended."""
        while self.clock.monotonic_s() - self._begun_s < START_S:
            assert self.running, f"the gateway ended by itself: {self.log_text()[-2_000:]}"
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            try:
                writer.write(f"GET /gw.js HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
                if (await reader.readline()).startswith(b"HTTP/1.1 200"):
                    return self.clock.monotonic_s() - self._begun_s
            except OSError:
                await asyncio.sleep(0.005)
            finally:
                writer.close()
        raise AssertionError("the gateway did not become ready")

    async def ended(self, within_s: float = START_S) -> int:
        """Wait for the process to end by itself. Answers its exit code, 128 + n for signal n."""
        assert self._process is not None
        until_s = self.clock.monotonic_s() + within_s
        while self._process.poll() is None:
            assert self.clock.monotonic_s() < until_s, f"still running: {self.log_text()[-2_000:]}"
            await asyncio.sleep(0.01)
        code = int(self._process.returncode)
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """SIGKILL, at once; returns when the process is gone, and with it the one that writes for it.

        That one is not killed: it ends by itself after the commit it is at, as it would on any machine.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            await_appender(self.database)

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def log_text(self) -> str:
        """Everything the process has written, over all its lives."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    async def admin(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """One call of the admin API."""
        headers = {"Authorization": f"Bearer {(self.data / app.TOKEN_FILE).read_text().strip()}"}
        data = None if body is None else msgspec.json.encode(body)
        url = f"http://127.0.0.1:{self.admin_port}/api/admin/v1/{path}"
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, url, data=data, headers=headers) as response,
        ):
            return msgspec.json.decode(await response.read(), type=dict[str, object])

    async def new_key(self) -> str:
        """Make an API key with all rights."""
        return str((await self.admin("POST", "keys", {"title": "load"}))["key"])

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the command line on this gateway's settings. Answers what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--settings", str(self.settings)],
            capture_output=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return (done.stdout + done.stderr).decode()


class Apart:
    """Stand-ins in another process."""

    def __init__(self, info: Path, config: SandboxConfig) -> None:
        self.info = info
        self.config = config
        self.control = Control(str(msgspec.json.decode(info.read_bytes())["control"]))


def _start_stand_ins(directory: Path, info: Path, config: SandboxConfig) -> subprocess.Popen[bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    given = directory / "stand-ins.json"
    given.write_bytes(msgspec.json.encode(config))
    command = [sys.executable, "-m", "gateway.sandbox.stand_ins", "--config", str(given), "--info", str(info)]
    return subprocess.Popen(_dying_with_us(command), stdin=subprocess.DEVNULL, cwd=ROOT)


@asynccontextmanager
async def apart(directory: Path, config: SandboxConfig) -> AsyncIterator[Apart]:
    """Run the stand-ins in another process for the length of a block."""
    info = directory / "info.json"
    process = _start_stand_ins(directory, info, config)
    try:
        until_s = time.perf_counter() + START_S
        while not info.exists():
            assert process.poll() is None, "the stand-ins ended"
            assert time.perf_counter() < until_s, "the stand-ins did not start"
            await asyncio.sleep(0.01)
        yield Apart(info, config)
    finally:
        process.kill()
        process.wait()


async def drained(service: Service) -> checks.Stored:
    """Wait until no delivery is due any more."""
    until_s = service.clock.monotonic_s() + DRAIN_S
    while (stored := checks.read(service.database)).waiting():
        assert service.clock.monotonic_s() < until_s, f"not drained: {stored.deliveries}"
        await asyncio.sleep(0.5)
    return stored


def percentile(values: list[float], share: float) -> int:
    """Milliseconds."""
    return int(sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000)


@asynccontextmanager
async def locked(database: Path) -> AsyncIterator[None]:
    """Hold an exclusive lock in another process, for the length of a block."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await asyncio.wait_for(holder.stdout.readline(), 20) == b"held\n"
        yield
    finally:
        holder.kill()
        await holder.wait()
