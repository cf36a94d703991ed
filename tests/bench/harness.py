"""Starting servers, sending load, reading what the kernel says about a process."""

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.bench.client import Job, Outcome
from tests.bench.servers import HOST, PAGE_HOST, Ready

__all__ = [
    "Measured",
    "Server",
    "batch_job",
    "machine",
    "measure",
    "page_view_job",
    "purchase_job",
    "scratch",
    "stored",
]

_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_runs: Final = count(1)
ROOT: Final = Path(__file__).resolve().parents[2]


class Server:
    """One server in its own process. `acknowledged` is how many requests of all measured runs it acknowledged."""

    def __init__(self, kind: str, directory: Path | None = None, *options: str) -> None:
        self._arguments = [kind, *([str(directory)] if directory is not None else []), *options]
        self.directory = directory
        self.started_in_s = 0.0
        self.acknowledged = 0

    def __enter__(self) -> Self:
        begun_s = time.perf_counter()
        command = [sys.executable, "-m", "tests.bench.servers", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._arguments)} did not start")
        self.started_in_s = time.perf_counter() - begun_s
        self.ready = msgspec.json.decode(line, type=Ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_s(self) -> float:
        """Processor time of all its threads, and of the process it writes with, so far."""
        ticks = 0
        for pid in self._processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_S

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            found += [int(pid) for pid in (task / "children").read_text().split()]
        return found

    def memory_mb(self, row: str = "VmRSS") -> float:
        """Resident memory: now (`VmRSS`) or at its highest (`VmHWM`), of the process it writes with too."""
        kib = 0
        for pid in self._processes():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(row + ":"):
                    kib += int(line.split()[1])
        return kib / 1024


class Measured(msgspec.Struct, kw_only=True):
    """One run: the client's outcome, and the server's processor time for each acknowledged request."""

    outcome: Outcome
    cpu_us: float


def measure(server: Server, job: Job) -> Measured:
    """Send a job at a server."""
    job.port = server.ready.port
    if server.ready.visitors and "{visitor}" in job.head:
        job.visitors = server.ready.visitors
    job.head = job.head.replace("{key}", server.ready.api_key)
    job.number = next(_runs)
    job.seed = f"01M7W{job.number:05d}"
    before_s = server.cpu_s()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.client"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
        timeout=job.seconds + 60,
    )
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    spent_s = server.cpu_s() - before_s
    server.acknowledged += outcome.acknowledged
    return Measured(outcome=outcome, cpu_us=spent_s / max(1, outcome.acknowledged) * 1e6)


# ------------------------------------------------------------------ what is sent

_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"


def _browser_head() -> str:
    return (
        f"POST /collect HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://{PAGE_HOST}\r\nUser-Agent: {_AGENT}\r\n"
        "Accept: */*\r\nAccept-Language: en-US,en;q=0.9\r\nContent-Type: text/plain;charset=UTF-8\r\n"
        "Cookie: {visitor}; sid=abc; theme=dark\r\n"
    )


def _hit(now_ms: int, padding: int) -> str:
    return (
        '{"id":"{id}","name":"page_view","occurred_at_ms":%d,"url":"https://%s/products/red-shoes","title":"Red shoes",'
        '"referrer":"https://%s/","props":{"pad":"%s"}}' % (now_ms, PAGE_HOST, PAGE_HOST, "p" * padding)
    )


def _batch(hits: str, now_ms: int) -> str:
    return (
        f'{{"events":[{hits}],"sent_at_ms":{now_ms},'
        '"consent":{"analytics":"granted","marketing":"denied"},"tag":"1.0.0"}'
    )


def page_view_job(seconds: float, **changes: object) -> Job:
    """One page view a request: about 1 KB of JSON, an id cookie of one of a thousand visitors, a consent claim."""
    now_ms = int(time.time() * 1000)
    job = Job(port=0, head=_browser_head(), body=_batch(_hit(now_ms, 600), now_ms), seconds=seconds)
    return msgspec.structs.replace(job, **changes)


def batch_job(seconds: float, events: int, **changes: object) -> Job:
    """Many page views a request, as a tag sends what it held back."""
    now_ms = int(time.time() * 1000)
    hits = ",".join([_hit(now_ms, 100)] * events)
    job = Job(port=0, head=_browser_head(), body=_batch(hits, now_ms), seconds=seconds)
    return msgspec.structs.replace(job, **changes)


def purchase_job(seconds: float, **changes: object) -> Job:
    """One purchase a request, with contact data, through the API, as a shop's backend sends it."""
    head = (
        f"POST /api/v1/conversions HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {{key}}\r\n"
        "Content-Type: application/json\r\n"
    )
    body = (
        '{"id":"{id}","name":"purchase","value":"49.90","currency":"EUR","order_id":"{id}",'
        '"url":"https://www.shop.example/thank-you",'
        '"items":[{"id":"sku-1","name":"Red shoes","price":"49.90","quantity":1}],'
        '"person":{"email":"{id}@example.com","phone":"+4915112345678","first_name":"Ada","last_name":"Lovelace",'
        '"city":"Berlin","postal_code":"10115","country":"DE"},'
        '"client":{"ip":"203.0.113.9","user_agent":"%s","fbp":"fb.1.1795176000000.1234567890"},'
        '"consent":{"analytics":"granted","advertising":"granted","ad_user_data":"granted",'
        '"ad_personalization":"granted"}}' % _AGENT
    )
    job = Job(port=0, head=head, body=body, seconds=seconds)
    return msgspec.structs.replace(job, **changes)


# ------------------------------------------------------------------ what became of it


def stored(directory: Path) -> int:
    """How many events a stopped gateway's file holds."""
    db = sqlite3.connect(f"file:{directory / 'gateway.db'}?mode=ro", uri=True)
    try:
        return int(db.execute("select count(*) from event").fetchone()[0])
    finally:
        db.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk that is measured, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        yield Path(name)


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values) if values else 0.0


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "memory": f"{memory_kb / 1024 / 1024:.0f} GB",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_average": f"{os.getloadavg()[0]:.2f}",
    }
