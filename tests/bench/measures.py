"""The benches. Each answers rows of a table: what, figures, the bar it is held against.

Figures of different servers are compared only inside one bench, where their runs take turns.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.client import Job
from tests.bench.harness import (
    Measured,
    Server,
    batch_job,
    measure,
    middle,
    page_view_job,
    purchase_job,
    scratch,
    stored,
)

__all__ = ["BARE", "BENCHES", "COLUMNS", "OURS", "Options", "Table", "compared", "take_turns"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. `say` is told what is going on."""

    rounds: int
    seconds: float
    big: int
    say: Callable[[str], None]
    clicks: int = 1_000_000
    conversions: int = 100_000


class Table(msgspec.Struct, kw_only=True):
    """One bench's outcome. `notes` are sentences below the table."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = []


def _span(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return "-"
    return f"{middle(values):,.{digits}f} ({min(values):,.{digits}f}..{max(values):,.{digits}f})"


def _against(values: Sequence[float], reference: Sequence[float]) -> str:
    """Median ratio of the rounds, each within itself."""
    return f"{middle([mine / theirs for mine, theirs in zip(values, reference, strict=True)]):.2f}"


def take_turns(
    options: Options, servers: dict[str, Server], make: Callable[[float], Job], **changes: object
) -> dict[str, list[Measured]]:
    """Let the servers take turns, one warm-up and then the rounds."""
    for server in servers.values():
        measure(server, make(min(1.0, options.seconds)))
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for number in range(options.rounds):
        for name, server in servers.items():
            job = msgspec.structs.replace(make(options.seconds), **changes)
            one = measure(server, job)
            found[name].append(one)
            options.say(f"round {number + 1}: {name}: {one.outcome.rate:,.0f}/s, p99 {one.outcome.p99:.1f} ms")
    return found


def compared(found: dict[str, list[Measured]], reference: str) -> list[list[str]]:
    """Rows of COLUMNS, a server each, with ratios to one of them."""
    rows = []
    for name, runs in found.items():
        rates = [run.outcome.rate for run in runs]
        cpu = [run.cpu_us for run in runs]
        rows.append(
            [
                name,
                _span(rates),
                _against(rates, [run.outcome.rate for run in found[reference]]),
                _span([run.outcome.p50 for run in runs], 1),
                _span([run.outcome.p99 for run in runs], 1),
                _span(cpu, 0),
                _against(cpu, [run.cpu_us for run in found[reference]]),
            ]
        )
    return rows


COLUMNS: Final = ["server", "requests/s", "ratio", "p50 ms", "p99 ms", "CPU µs/request", "CPU ratio"]
BARE: Final = "bare handler"
ONE: Final = "one commit a request"
OURS: Final = "gateway"


def _count(directory: Path, server: Server, acknowledged: int) -> str:
    """Compare what was acknowledged with what is stored; the server is stopped first."""
    server.__exit__(None, None, None)
    held = stored(directory)
    return f"Acknowledged events: {acknowledged:,}; stored: {held:,}; lost: {max(0, acknowledged - held)}."


def page_view(options: Options) -> Table:
    """A page view, durable, beside the yardstick and beside one commit a request."""
    with scratch() as place, Server("bare") as bare, Server("one-commit", place / "one") as one:
        ours = Server("gateway", place / "gateway")
        with ours:
            found = take_turns(options, {BARE: bare, ONE: one, OURS: ours}, page_view_job)
            warm = measure(ours, page_view_job(0.5)).outcome.acknowledged
            idle, peak = ours.memory_mb(), ours.memory_mb("VmHWM")
            total = warm + sum(run.outcome.acknowledged for run in found[OURS])
        held = stored(place / "gateway")
    return Table(
        title="Page view, 64 connections",
        columns=COLUMNS,
        rows=compared(found, BARE),
        notes=[
            f"Acknowledged after the warm-up: {total:,} events; stored, warm-up included: {held:,}; lost: {max(0, total - held)}.",
            f"Memory of the gateway after the run: {idle:.0f} MB, at its highest {peak:.0f} MB (the bench's own parts included).",
        ],
    )


def slow_disk(options: Options) -> Table:
    """The same on a disk that takes 2 ms, and 10 ms, to make a commit durable."""
    rows = []
    for delay_ms, connections in ((2, 64), (2, 512), (10, 64), (10, 512)):
        delay = ("--delay-ms", str(delay_ms))
        with (
            scratch() as place,
            Server("bare") as bare,
            Server("one-commit", place / "one", *delay) as one,
            Server("gateway", place / "gateway", *delay) as ours,
        ):
            servers = {BARE: bare, ONE: one, OURS: ours}
            found = take_turns(options, servers, page_view_job, connections=connections)
        rows += [[f"+{delay_ms} ms, {connections} connections", *row] for row in compared(found, BARE)]
    return Table(title="Page view on a slow disk", columns=["disk", *COLUMNS], rows=rows)


def open_loop(options: Options) -> Table:
    """Latency at a fixed rate, counted from the planned moment."""
    rows = []
    for delay_ms, rates in ((0, (500, 2_000, 4_000, 8_000)), (2, (2_000, 4_000)), (10, (1_000,))):
        with (
            scratch() as place,
            Server("bare") as bare,
            Server("gateway", place / "gateway", "--delay-ms", str(delay_ms)) as ours,
        ):
            for rate in rates:
                found = take_turns(options, {BARE: bare, OURS: ours}, page_view_job, rate=float(rate))
                for name, runs in found.items():
                    outcomes = [run.outcome for run in runs]
                    if name == BARE and delay_ms:
                        continue
                    rows.append(
                        [
                            f"{rate:,}/s" + (f", commit +{delay_ms} ms" if delay_ms else ""),
                            name,
                            _span([o.p50 for o in outcomes], 2),
                            _span([o.p99 for o in outcomes], 2),
                            _span([o.p999 for o in outcomes], 2),
                            _span([run.cpu_us for run in runs], 0),
                            str(sum(o.lost + o.unsent for o in outcomes)),
                        ]
                    )
    return Table(
        title="Page view at a fixed rate, 64 connections",
        columns=["rate", "server", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/request", "unanswered"],
        rows=rows,
    )


def overload(options: Options) -> Table:
    """Three times what a slow disk can take: nothing acknowledged is lost, memory stays bounded, normal again at once."""
    with scratch() as place, Server("gateway", place / "gateway", "--delay-ms", "10") as ours:
        most = measure(ours, page_view_job(options.seconds, connections=512)).outcome
        before_mb = ours.memory_mb()
        seconds = max(5.0, options.seconds)
        flood = measure(ours, page_view_job(seconds, connections=1_000, rate=most.rate * 3, planned_max=20_000)).outcome
        peak_mb = ours.memory_mb("VmHWM")
        time.sleep(2)
        calm = measure(ours, page_view_job(options.seconds, rate=1_000.0)).outcome
        acknowledged = most.acknowledged + flood.acknowledged + calm.acknowledged
        note = _count(place / "gateway", ours, acknowledged)
    statuses = ", ".join(f"{status}: {count:,}" for status, count in flood.statuses.items())
    return Table(
        title="Three times too much, on a disk of 10 ms",
        columns=["what", "figure"],
        rows=[
            ["highest rate before", f"{most.rate:,.0f}/s"],
            ["planned during the flood", f"{most.rate * 3:,.0f}/s for {seconds:.0f} s over 1,000 connections"],
            ["answers by status", statuses],
            ["503 and 507 with Retry-After", f"{flood.told_when:,}"],
            ["acknowledged during the flood", f"{flood.rate:,.0f}/s"],
            ["memory before, at its highest", f"{before_mb:.0f} MB, {peak_mb:.0f} MB"],
            ["p99 at 1,000/s two seconds later", f"{calm.p99:.1f} ms"],
        ],
        notes=[note],
    )


def purchase(options: Options) -> Table:
    """A purchase with contact data, for four destinations, through the API."""
    with scratch() as place, Server("bare") as bare:
        with Server("gateway", place / "gateway", "--four") as ours:
            rounds: dict[str, list[Measured]] = {BARE: [], OURS: []}
            for number in range(options.rounds):
                rounds[BARE].append(measure(bare, page_view_job(options.seconds)))
                rounds[OURS].append(measure(ours, purchase_job(options.seconds)))
                options.say(f"round {number + 1}: {rounds[OURS][-1].outcome.rate:,.0f} purchases/s")
            total = sum(run.outcome.acknowledged for run in rounds[OURS])
        db = sqlite3.connect(f"file:{place / 'gateway' / 'gateway.db'}?mode=ro", uri=True)
        held = db.execute("select count(*) from conversion where fate = 'counted'").fetchone()[0]
        owed = db.execute("select count(*) from delivery").fetchone()[0]
        db.close()
    return Table(
        title="Purchase for four destinations, 64 connections",
        columns=COLUMNS,
        rows=compared(rounds, BARE),
        notes=[
            f"Acknowledged purchases: {total:,}; counted conversions stored: {held:,}; deliveries owed: {owed:,}.",
            "The yardstick is sent page views. Each purchase is rendered, hashed and sealed four times before it is answered.",
        ],
    )


def batch(options: Options) -> Table:
    """Fifty page views in one request."""
    with scratch() as place, Server("bare") as bare, Server("gateway", place / "gateway") as ours:
        found = take_turns(options, {BARE: bare, OURS: ours}, lambda seconds: batch_job(seconds, 50), connections=16)
    rows = compared(found, BARE)
    events = [run.outcome.rate * 50 for run in found[OURS]]
    return Table(
        title="Batches of 50 page views, 16 connections",
        columns=COLUMNS,
        rows=rows,
        notes=[f"Events a second: {_span(events)}."],
    )


def start_and_growth(options: Options) -> Table:
    """Time to ready and cost of an event, with an empty file and with a big one."""
    rows = []
    with scratch() as place, Server("bare") as bare:
        small, big = place / "small", place / "big"
        for directory in (small, big):
            with Server("gateway", directory) as server:
                measure(server, page_view_job(0.5))
        _fill(small, 10_000)
        options.say(f"writing {options.big:,} events")
        _fill(big, options.big)
        starts: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for name, directory in (("small", small), ("big", big)):
                with Server("gateway", directory) as server:
                    starts.setdefault(name, []).append(server.started_in_s)
        with Server("gateway", small) as first, Server("gateway", big) as second:
            found = take_turns(options, {BARE: bare, "small": first, "big": second}, page_view_job)
    for name, runs in found.items():
        if name == BARE:
            continue
        rates = [run.outcome.rate for run in runs]
        rows.append(
            [
                "10,000" if name == "small" else f"{options.big:,}",
                _span(rates),
                _against(rates, [run.outcome.rate for run in found[BARE]]),
                _span([run.cpu_us for run in runs]),
                _span([run.outcome.p99 for run in runs], 1),
                _span(starts[name], 2),
            ]
        )
    return Table(
        title="Growth of the file",
        columns=["events stored", "requests/s", "ratio", "CPU µs/request", "p99 ms", "start to ready s"],
        rows=rows,
        notes=["Start to ready counts from the start of the process; the imports of the bench itself are in it."],
    )


def _fill(directory: Path, events: int) -> None:
    """Write events into a stopped gateway's file, as they would be after months."""
    db = sqlite3.connect(directory / "gateway.db", isolation_level=None)
    db.execute("pragma synchronous=off")
    db.execute("begin")
    db.execute(
        "insert into event (site_no, event_id, name, trust, occurred_at_ms, received_at_ms, visitor_kind, visitor_key, facts)"
        " with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)"
        " select 1, printf('01KZZ%021d', i), 'page_view', 'browser', 1790000000000 + i, 1790000000000 + i, 'signed',"
        " randomblob(16), zeroblob(700) from n",
        (events,),
    )
    db.execute("commit")
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


BENCHES: Final[dict[str, Callable[[Options], Table]]] = {
    "page_view": page_view,
    "slow_disk": slow_disk,
    "open_loop": open_loop,
    "overload": overload,
    "purchase": purchase,
    "batch": batch,
    "growth": start_and_growth,
}
