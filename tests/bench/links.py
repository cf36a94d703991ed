"""What a click costs: the redirect of a link, recorded before it is answered, beside a handler that only redirects."""

import sqlite3
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.client import Job
from tests.bench.harness import Server, scratch
from tests.bench.measures import BARE, COLUMNS, OURS, Options, Table, compared, take_turns
from tests.bench.servers import HOST, TARGET

__all__ = ["agents", "redirect", "redirect_job"]

LINKS: Final = 200
RATE: Final = 1_000.0
SETTLE_S: Final = 15.0
"""How long clicks that went to the spool are waited for: it is emptied every two seconds."""
_CAMPAIGN: Final = {"name": "Spring", "utm": {"source": "newsletter", "medium": "email", "campaign": "spring"}}

_SYSTEMS: Final = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 15; Pixel 9",
)


def agents() -> list[str]:
    """User-agent texts of people, as many as a site sees in some minutes."""
    return [
        f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 "
        f"{'Mobile ' if 'Android' in system else ''}Safari/537.36"
        for version in range(131, 156)
        for system in _SYSTEMS
    ]


def redirect_job(
    seconds: float, slugs: list[str], cookies: list[str] | None = None, *, address: str = "{address}"
) -> Job:
    """One click a request, each by another browser: another address behind the proxy. `cookies` are sent in turn."""
    head = (
        f"GET /l/{{slug}} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {address}\r\nUser-Agent: {{agent}}\r\n"
        "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.9\r\nReferer: https://mail.example/\r\n"
    )
    fills = {"slug": slugs, "agent": agents()}
    if cookies is not None:
        head += "Cookie: {cookie}; theme=dark\r\n"
        fills["cookie"] = cookies
    return Job(port=0, head=head, body="", seconds=seconds, fills=fills)


def _repeating_job(seconds: float, slugs: list[str]) -> Job:
    """A thousand browsers that click on the same link again and again: each has one click, the rest are repeats."""
    job = redirect_job(seconds, slugs, address="{fixed}")
    fixed = [f"198.51.{number // 250}.{number % 250}" for number in range(1_000)]
    return msgspec.structs.replace(job, fills={**job.fills, "fixed": fixed})


def _asked(server: Server, path: str, body: Mapping[str, object]) -> dict[str, object]:
    """Make an entry of the catalogue as a program does. Answers the entry."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.ready.port}{path}",
        data=msgspec.json.encode(body),
        headers={
            "Host": HOST,
            "Authorization": f"Bearer {server.ready.api_key}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, dict[str, object]] = msgspec.json.decode(answer.read())
    return next(iter(found.values()))


def _links(server: Server) -> list[str]:
    """Make one campaign with its links. Answers their slugs."""
    campaign = _asked(server, "/api/v1/campaigns", _CAMPAIGN)["id"]
    slugs = [f"go{number:04d}" for number in range(LINKS)]
    for slug in slugs:
        _asked(server, "/api/v1/links", {"target": TARGET, "code": slug, "campaign_id": campaign})
    return slugs


def recorded(directory: Path) -> tuple[int, int]:
    """How many clicks of links, and how many repeats of them, a gateway's file holds."""
    db = sqlite3.connect(f"file:{directory / 'gateway.db'}?mode=ro", uri=True)
    try:
        clicks, repeats = db.execute(
            "select count(*), coalesce(sum(repeats), 0) from touch where click_id is not null"
        ).fetchone()
    finally:
        db.close()
    return int(clicks), int(repeats)


def _settled(server: Server, directory: Path) -> str:
    """Compare what was answered with what is stored, once all of it is there or the spool had time to be emptied."""
    answered = server.acknowledged
    ended_s = time.perf_counter() + SETTLE_S
    while sum(recorded(directory)) < answered and time.perf_counter() < ended_s:
        time.sleep(0.2)
    clicks, repeats = recorded(directory)
    lost, more = max(0, answered - clicks - repeats), max(0, clicks + repeats - answered)
    told = f"answered: {answered:,}; stored: {clicks:,} clicks and {repeats:,} repeats of them; lost: {lost}"
    return told + (f"; stored without having been answered: {more}" if more else "")


_JOBS: Final[dict[str, Callable[[Server, list[str], float], Job]]] = {
    "new": lambda _, slugs, seconds: redirect_job(seconds, slugs),
    "new, with consent": lambda ours, slugs, seconds: redirect_job(seconds, slugs, ours.ready.consenting),
    "the same again": lambda _, slugs, seconds: _repeating_job(seconds, slugs),
}
"""Who clicks: browsers nobody saw before, ones that bring a choice and an id, and a thousand that click all the time."""


def redirect(options: Options) -> Table:
    """Clicks as fast as they are answered, and at a fixed rate."""
    rows, notes = [], []
    for name, make in _JOBS.items():
        with scratch() as place, Server("bare") as bare, Server("gateway", place / "gateway", "--behind-proxy") as ours:
            job = partial(make, ours, _links(ours))
            for rate in (None, RATE):
                found = take_turns(options, {BARE: bare, OURS: ours}, job, rate=rate)
                load = "as fast as answered" if rate is None else f"{rate:,.0f}/s"
                rows += [[name, load, *row] for row in compared(found, BARE)]
                outcomes = [run.outcome for runs in found.values() for run in runs]
                unanswered = sum(one.lost + one.unsent for one in outcomes)
                others = {status for one in outcomes for status in one.statuses} - {"302"}
                if unanswered or others:
                    notes.append(
                        f"Visitors {name}, {load}: {unanswered} not answered; other answers: {sorted(others)}."
                    )
            notes.append(
                f"Visitors {name}: {_settled(ours, place / 'gateway')}. Memory of the gateway at its highest: "
                f"{ours.memory_mb('VmHWM'):.0f} MB."
            )
    return Table(
        title="Redirect of a link, its click durable before the answer, 64 connections",
        columns=["visitors", "load", *COLUMNS],
        rows=rows,
        notes=notes,
    )
