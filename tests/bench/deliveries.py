"""How fast owed deliveries are settled, and what a destination that hangs does to the people who are waiting."""

import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

from tests.bench.harness import ROOT, Server, measure, middle, purchase_job, scratch
from tests.bench.measures import Options, Table

__all__ = ["backlog", "deliveries"]

CONNECTIONS: Final = 64


def _settled(directory: Path) -> int:
    db = sqlite3.connect(f"file:{directory / 'gateway.db'}?mode=ro", uri=True)
    try:
        return int(db.execute("select count(*) from delivery where fate = 'accepted'").fetchone()[0])
    finally:
        db.close()


def _posts(control: str) -> tuple[int, list[tuple[float, int]]]:
    with urllib.request.urlopen(f"{control}/count", timeout=10) as answer:
        said = json.loads(answer.read())
    return said["posts"], [(at, count) for at, count in said["marks"]]


def deliveries(options: Options) -> Table:
    """Purchases wait; then the vendor answers. Signed webhooks, one event a request, claimed and settled durably."""
    ours, alone = [], []
    total = 0
    for number in range(options.rounds):
        with scratch() as place:
            info = place / "info.json"
            with Server("gateway", place / "gateway", "--webhook-only", "--unpaced") as server:
                run = measure(server, purchase_job(options.seconds, count=4_000))
                waiting = run.outcome.acknowledged
            with Server("sink", None, "--info", str(info)) as sink:
                control = sink.ready.info["control"]
                with Server("gateway", place / "gateway", "--webhook-only", "--unpaced", "--info", str(info)):
                    ended_s = time.perf_counter() + 60
                    while _posts(control)[0] < waiting and time.perf_counter() < ended_s:
                        time.sleep(0.1)
                    posts, marks = _posts(control)
                settled = _settled(place / "gateway")
                inner = [mark for mark in marks if 0.05 * posts <= mark[1] <= 0.95 * posts]
                (first_s, first), (last_s, last) = inner[0], inner[-1]
                ours.append((last - first) / (last_s - first_s))
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.poster", str(info), "4000", str(CONNECTIONS)],
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    check=True,
                    timeout=120,
                )
                alone.append(float(done.stdout))
                total += waiting
                options.say(
                    f"round {number + 1}: {ours[-1]:,.0f} of {alone[-1]:,.0f} a second; {settled} settled, {posts} posts"
                )
    ratio = middle([mine / theirs for mine, theirs in zip(ours, alone, strict=True)])
    return Table(
        title="Deliveries: one signed post an event, under TLS",
        columns=["what", "a second", "ratio"],
        rows=[
            ["aiohttp's client alone, 64 connections", f"{middle(alone):,.0f}", "1.00"],
            ["gateway: claim, open, judge again, sign, post, settle", f"{middle(ours):,.0f}", f"{ratio:.2f}"],
        ],
        notes=[
            f"Deliveries in all rounds: {total:,}. The pace at which a platform may be asked is lifted for this bench."
        ],
    )


def backlog(options: Options) -> Table:
    """Memory while many deliveries wait for destinations that cannot be reached."""
    with scratch() as place, Server("gateway", place / "gateway", "--four") as server:
        measure(server, purchase_job(1.0))
        before_mb = server.memory_mb()
        calm = measure(server, purchase_job(options.seconds, rate=300.0)).outcome
        measure(server, purchase_job(120.0, count=25_000))
        after_mb = server.memory_mb()
        late = measure(server, purchase_job(options.seconds, rate=300.0)).outcome
    return Table(
        title="100,000 deliveries that cannot be sent",
        columns=["what", "figure"],
        rows=[
            [
                "memory before, with the backlog",
                f"{before_mb:.0f} MB, {after_mb:.0f} MB (grown by {after_mb - before_mb:.0f} MB)",
            ],
            ["p99 of purchases at 300/s before, with the backlog", f"{calm.p99:.1f} ms, {late.p99:.1f} ms"],
        ],
    )
