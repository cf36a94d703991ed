"""Three ways to make rows durable in SQLite, without HTTP: why the writer has a thread of its own.

* `thread`: `gateway.stores.writer.GroupWriter`, as the product uses it.
* `aiosqlite`: the same grouping written with aiosqlite, one hand-over to its thread for each statement.
* `one commit`: aiosqlite, one insert and one commit a row.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiosqlite
import uvloop

from gateway.stores.plain import ROWS_PER_STATEMENT, PlainRows
from gateway.stores.writer import GroupWriter
from tests.bench.harness import middle, scratch
from tests.bench.measures import Options, Table

__all__ = ["store"]

_MAKE: Final = "create table event (seq integer primary key, id text not null unique, body blob not null)"
_BODY: Final = b"p" * 1_000
CLIENTS: Final = 64
Add = Callable[[tuple[object, ...]], Awaitable[object]]


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute(_MAKE)
    return db


async def _drive(add: Add, seconds: float) -> tuple[float, float]:
    """Rows a second and p99 in milliseconds of 64 clients that each wait for their row."""
    latencies_s: list[float] = []
    ends_s = time.perf_counter() + seconds
    number = iter(range(10**9))

    async def client() -> None:
        while (begun_s := time.perf_counter()) < ends_s:
            await add((f"01M7W{next(number):021d}", _BODY))
            latencies_s.append(time.perf_counter() - begun_s)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(latencies_s) / seconds, sorted(latencies_s)[int(len(latencies_s) * 0.99)] * 1_000


async def _thread(path: Path, seconds: float) -> tuple[float, float]:
    writer = GroupWriter(
        lambda: _connect(path),
        database=path,
        plain=(PlainRows("insert into event (id, body) values ", "(?, ?)", " on conflict do nothing"),),
        waiting_max=10_000,
        waiting_max_bytes=1 << 26,
        timeout_s=5.0,
    )
    await writer.start()
    try:
        return await _drive(lambda row: writer.add_row(row, 1_000, None), seconds)
    finally:
        await writer.close()


async def _grouped(path: Path, seconds: float) -> tuple[float, float]:
    _connect(path).close()
    db = await aiosqlite.connect(path, isolation_level=None, cached_statements=512)
    await db.execute("pragma synchronous=full")
    waiting: list[tuple[tuple[object, ...], asyncio.Future[None]]] = []
    woken = asyncio.Event()

    def add(row: tuple[object, ...]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((row, future))
        woken.set()
        return future

    async def commit() -> None:
        while True:
            await woken.wait()
            woken.clear()
            group, waiting[:] = waiting[:], []
            await db.execute("begin immediate")
            for start in range(0, len(group), ROWS_PER_STATEMENT):
                part = group[start : start + ROWS_PER_STATEMENT]
                values = [value for row, _ in part for value in row]
                places = ",".join(["(?, ?)"] * len(part))
                await db.execute(f"insert into event (id, body) values {places} on conflict do nothing", values)
            await db.execute("commit")
            for _, future in group:
                future.set_result(None)

    task = asyncio.create_task(commit())
    try:
        return await _drive(add, seconds)
    finally:
        task.cancel()
        await db.close()


async def _each(path: Path, seconds: float) -> tuple[float, float]:
    _connect(path).close()
    db = await aiosqlite.connect(path, isolation_level=None)
    await db.execute("pragma synchronous=full")
    try:
        return await _drive(lambda row: db.execute("insert into event (id, body) values (?, ?)", row), seconds)
    finally:
        await db.close()


def store(options: Options) -> Table:
    """Rows of 1 KB a second, 64 clients."""
    ways = {"thread": _thread, "aiosqlite, grouped": _grouped, "aiosqlite, one commit a row": _each}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            with scratch() as place:
                found[name].append(uvloop.run(way(place / "bench.db", options.seconds)))
            options.say(f"round {number + 1}: {name}: {found[name][-1][0]:,.0f}/s")
    reference = [rate for rate, _ in found["aiosqlite, grouped"]]
    rows = []
    for name, runs in found.items():
        rates = [rate for rate, _ in runs]
        ratio = middle([mine / theirs for mine, theirs in zip(rates, reference, strict=True)])
        rows.append([name, f"{middle(rates):,.0f}", f"{ratio:.2f}", f"{middle([p99 for _, p99 in runs]):.1f}"])
    return Table(
        title="The writer alone: rows of 1 KB, 64 clients, no HTTP",
        columns=["way", "rows/s", "ratio", "p99 ms"],
        rows=rows,
    )
