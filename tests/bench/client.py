"""A load generator in a process of its own: closed loop (as fast as answers come) or open loop (at a fixed rate).

    python -m tests.bench.client < job.json > outcome.json

It speaks HTTP/1.1 over bare sockets, so that one core of it keeps up with any server here. In the open loop the latency
of a request counts from the moment it was planned, not from when a connection was free: a server that stalls cannot hide
the requests that would have come meanwhile. Load is bounded in connections, requests and time, and stops by itself.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, cast

import msgspec
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Job", "Outcome", "main"]

DRAIN_S: Final = 10.0
"""How long answers are waited for after the last request was sent."""
CONNECTIONS_MAX: Final = 1_024


class Job(msgspec.Struct, kw_only=True):
    """What to send. `head` and `body` are templates: `{id}` in the body is replaced by a fresh id, `{address}` in the head by
    an address nobody used before, `{visitor}` and each name of `fills` in the head by one of its texts after the other.

    `rate` None: closed loop. `count` ends the run early, `seconds` ends it in any case. `number` tells runs apart: each
    has a million addresses of its own. Without a body no length is said, as of a GET.
    """

    port: int
    head: str
    body: str
    seconds: float
    connections: int = 64
    rate: float | None = None
    count: int | None = None
    visitors: list[str] = []
    fills: dict[str, list[str]] = {}
    seed: str = "0"
    number: int = 0
    planned_max: int = 100_000


class Outcome(msgspec.Struct, kw_only=True):
    """What came of it. Latencies in milliseconds. `unsent`: planned requests that never found a connection."""

    seconds: float
    statuses: dict[str, int]
    told_when: int = 0
    lost: int = 0
    unsent: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    worst: float = 0.0
    last_seconds_p99: float = 0.0

    @property
    def acknowledged(self) -> int:
        """Requests answered 2xx, or with a redirect."""
        return sum(count for status, count in self.statuses.items() if status.startswith(("2", "3")))

    @property
    def rate(self) -> float:
        """Acknowledged requests a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


FIRST_ADDRESS: Final = 11 << 24
ADDRESSES_A_RUN: Final = 1 << 20


class Maker:
    """Makes the bytes of one request after the other, each with an id nobody used before."""

    def __init__(self, job: Job) -> None:
        self._seed = job.seed
        self._count = 0
        self._first_address = FIRST_ADDRESS + job.number * ADDRESSES_A_RUN
        self._body = job.body.encode().split(b"{id}")
        length = len(job.body) + (26 - len("{id}")) * (len(self._body) - 1)
        head = f"{job.head}Content-Length: {length}\r\n\r\n" if job.body else f"{job.head}\r\n"
        fills = {"{visitor}": job.visitors or [""], **{f"{{{name}}}": texts for name, texts in job.fills.items()}}
        self._heads = [
            _filled(head, {name: texts[place % len(texts)] for name, texts in fills.items()})
            for place in range(max(map(len, fills.values())))
        ]

    def __call__(self) -> bytes:
        """The next request."""
        self._count += 1
        parts = self._body
        before, after = self._heads[self._count % len(self._heads)]
        head = before + self._address() + after if after else before
        if len(parts) == 2:
            return head + parts[0] + b"%10s%016d" % (self._seed.encode(), self._count) + parts[1]
        made = [head, parts[0]]
        for number, part in enumerate(parts[1:]):
            made += (b"%10s%012d%04d" % (self._seed.encode(), self._count, number), part)
        return b"".join(made)

    def _address(self) -> bytes:
        number = self._first_address + self._count % ADDRESSES_A_RUN
        return b"%d.%d.%d.%d" % (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)


def _filled(head: str, texts: "dict[str, str]") -> tuple[bytes, bytes]:
    """A head with its texts, cut where the address belongs; whole when it has none."""
    for name, text in texts.items():
        head = head.replace(name, text)
    before, _, after = head.partition("{address}")
    return before.encode(), after.encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self._planned_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for work."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit from it
        self._run.free(self)

    def send(self, planned_s: float, request: bytes) -> None:
        """Send one request."""
        assert self._transport is not None
        self._planned_s = planned_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, whole or in pieces."""
        heard = self._heard + data if self._heard else data
        end = heard.find(b"\r\n\r\n")
        if end < 0:
            self._heard = heard
            return
        status = heard[9:12]
        if status != b"204":
            head = heard[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(heard) < end + 4 + length:
                self._heard = heard
                return
            if status in {b"503", b"507"} and b"retry-after:" in head:
                self._run.told_when += 1
        self._heard = b""
        planned_s, self._planned_s = self._planned_s, None
        if planned_s is not None:
            self._run.answered(status, planned_s)
        self._run.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        """A request that was under way has no answer."""
        if self._planned_s is not None:
            self._run.lost += 1
            self._planned_s = None
        self._run.gone(self)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Run:
    """One run of a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.lost = 0
        self.told_when = 0
        self.unsent = 0
        self._make: Callable[[], bytes] = Maker(job)
        self._statuses: Counter[bytes] = Counter()
        self._latencies_s: list[float] = []
        self._answered_at_s: list[float] = []
        self._idle: deque[Connection] = deque()
        self._planned: deque[float] = deque()
        self._all: set[Connection] = set()
        self._under_way = 0
        self._sent = 0
        self._begun_s = 0.0
        self._open = False

    def free(self, connection: Connection) -> None:
        """A connection can send."""
        self._all.add(connection)
        if not self._open:
            self._idle.append(connection)
        elif self.job.rate is None:
            now_s = time.perf_counter()
            if self._more(now_s):
                self._send(connection, now_s)
            else:
                self._idle.append(connection)
        elif self._planned:
            self._send(connection, self._planned.popleft())
        else:
            self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """A connection ended."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _more(self, now_s: float) -> bool:
        enough = self.job.count is not None and self._sent >= self.job.count
        return not enough and now_s - self._begun_s < self.job.seconds

    def _send(self, connection: Connection, planned_s: float) -> None:
        self._sent += 1
        self._under_way += 1
        connection.send(planned_s, self._make())

    def answered(self, status: bytes, planned_s: float) -> None:
        """Note an answer."""
        now_s = time.perf_counter()
        self._under_way -= 1
        self._statuses[status] += 1
        self._latencies_s.append(now_s - planned_s)
        self._answered_at_s.append(now_s)

    async def __call__(self) -> Outcome:
        """Connect, send, wait for the answers, hang up."""
        loop = asyncio.get_running_loop()
        for _ in range(min(self.job.connections, CONNECTIONS_MAX)):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
        self._open = True
        self._begun_s = time.perf_counter()
        if self.job.rate is None:
            for connection in list(self._idle):
                self._idle.remove(connection)
                self.free(connection)
            while self._more(time.perf_counter()) and self._all:
                await asyncio.sleep(0.01)
        else:
            await self._at_rate(self.job.rate)
        ended_s = time.perf_counter()
        while (self._under_way - self.lost > 0 or self._planned) and time.perf_counter() - ended_s < DRAIN_S:
            await asyncio.sleep(0.005)
        self.unsent += len(self._planned)
        self._planned.clear()
        self.lost += max(0, self._under_way - self.lost)
        self._open = False
        for connection in list(self._all):
            connection.close()
        last_s = max(self._answered_at_s, default=ended_s)
        return self._outcome((last_s if self.job.rate is None else ended_s) - self._begun_s)

    async def _at_rate(self, rate: float) -> None:
        planned = 0
        while self._more(time.perf_counter()):
            await asyncio.sleep(0)  # a timer has a grain of a millisecond, which would be most of what is measured
            due = int((time.perf_counter() - self._begun_s) * rate)
            while planned < due:
                at_s = self._begun_s + planned / rate
                planned += 1
                if self._idle:
                    self._send(self._idle.popleft(), at_s)
                elif len(self._planned) < self.job.planned_max:
                    self._planned.append(at_s)
                else:
                    self.unsent += 1

    def _outcome(self, seconds: float) -> Outcome:
        ordered = sorted(self._latencies_s)
        late = self._begun_s + seconds - 2.0
        pairs = zip(self._latencies_s, self._answered_at_s, strict=True)
        last = sorted(latency for latency, at_s in pairs if at_s >= late)
        return Outcome(
            seconds=seconds,
            statuses={status.decode("ascii", "replace"): count for status, count in sorted(self._statuses.items())},
            told_when=self.told_when,
            lost=self.lost,
            unsent=self.unsent,
            p50=_at(ordered, 0.5),
            p95=_at(ordered, 0.95),
            p99=_at(ordered, 0.99),
            p999=_at(ordered, 0.999),
            worst=_at(ordered, 1.0),
            last_seconds_p99=_at(last, 0.99),
        )


def _at(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1_000 if ordered else 0.0


def main() -> None:
    """Read a job from standard input, write its outcome to standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    outcome = uvloop.run(Run(job)())
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
