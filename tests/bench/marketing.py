"""What reports cost on a file with four hundred days of marketing in it, and what they cost those who click meanwhile."""

import http.client
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import uvloop

from gateway.flows.credit import PORTION
from gateway.flows.reports import EXPORTS, REPORTS
from gateway.workers import CREDIT_PAUSE_S
from tests.bench.client import Outcome
from tests.bench.filling import Filled, fill
from tests.bench.harness import Server, measure, middle, scratch
from tests.bench.links import RATE, redirect_job
from tests.bench.measures import Options, Table
from tests.bench.past import DAYS
from tests.bench.servers import HOST

__all__ = ["marketing"]

GOAL_MS: Final = 300.0
"""What a report may take."""
CALLS: Final = 5
FEW_CALLS_FROM_S: Final = 5.0
"""A first call that takes this long is repeated once only."""


class _Answer(msgspec.Struct):
    """One answer: times from the request to the body's first byte and to its end."""

    status: int
    first_ms: float
    whole_ms: float
    body: bytes


class _Asker:
    """A program that reads reports, on one connection."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.ready.port, timeout=120)
        self._headers = {"Host": HOST, "Authorization": f"Bearer {server.ready.api_key}"}

    def __call__(self, path: str, *, whole: bool = True) -> _Answer:
        """Ask. Without `whole` it hangs up after the first byte."""
        begun_s = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        first = answer.read(1)
        first_s = time.perf_counter()
        if not whole:
            self._connection.close()
        body = first + (answer.read() if whole else b"")
        return _Answer(answer.status, (first_s - begun_s) * 1_000, (time.perf_counter() - begun_s) * 1_000, body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")


def _questions(filled: Filled) -> dict[tuple[str, str], str]:
    """What is asked and over which time, and the path that asks it."""
    whole = f"from={_date(filled.first_day)}"
    found: dict[tuple[str, str], str] = {}
    for name in REPORTS:
        steps = "&steps=sign_up,purchase" if name == "funnel" else ""
        found[f"report {name}", "30 days"] = f"/api/v1/reports/{name}?{steps}"
        found[f"report {name}", f"{DAYS} days"] = f"/api/v1/reports/{name}?{whole}{steps}"
    for name, more in {
        "campaigns, of one": f"campaign={filled.campaign_code}",
        "channels, of one link": f"link={filled.link_id}",
        "channels, model linear": "model=linear",
        "channels, model linear, of one link": f"model=linear&link={filled.link_id}",
        "channels, model markov_k1": "model=markov_k1",
        "channels, model shapley_sum": "model=shapley_sum",
        "landing, of one link": f"link={filled.link_id}",
    }.items():
        report = name.partition(",")[0]
        found[f"report {name}", "30 days"] = f"/api/v1/reports/{report}?{more}"
        found[f"report {name}", f"{DAYS} days"] = f"/api/v1/reports/{report}?{whole}&{more}"
    for days in (30, DAYS):
        found["metrics of one link", f"{days} days"] = (
            f"/api/v1/analytics/conversions?days={days}&link_id={filled.link_id}"
        )
        found["metrics of all links", f"{days} days"] = f"/api/v1/analytics/conversions?days={days}"
    found["journey of one conversion", "-"] = f"/api/v1/conversions/{filled.conversion_id}"
    for name, more in {
        "100": "limit=100",
        "500": "limit=500",
        "100 of one link": f"limit=100&link={filled.link_id}",
    }.items():
        found[f"list of conversions, {name}", f"{DAYS} days"] = f"/api/v1/conversions?{whole}&{more}"
    return found


def _times(ask: _Asker, path: str) -> tuple[list[_Answer], list[float]]:
    answers = [ask(path)]
    calls = 2 if answers[0].whole_ms > FEW_CALLS_FROM_S * 1_000 else CALLS
    answers += [ask(path) for _ in range(calls - 1)]
    return answers, [answer.whole_ms for answer in answers]


def _told(answer: _Answer) -> str:
    if answer.status != 200:
        code = msgspec.json.decode(answer.body)["error"]["code"]
        return f"{answer.status} {code}"
    return f"{len(answer.body) / 1_024:,.0f} KB"


def _reports(options: Options, ask: _Asker, filled: Filled) -> list[list[str]]:
    rows = []
    for (name, range_), path in _questions(filled).items():
        answers, times = _times(ask, path)
        over = "yes" if middle(times) > GOAL_MS else ""
        options.say(f"{name}, {range_}: {middle(times):,.0f} ms")
        rows.append([name, range_, f"{middle(times):,.1f}", f"{max(times):,.1f}", over, _told(answers[-1])])
    return rows


def _exports(options: Options, ask: _Asker, filled: Filled) -> list[list[str]]:
    """The time to the first byte counts; how long the rest takes depends on who reads."""
    rows = []
    for name in EXPORTS:
        for range_, query in (("30 days", ""), (f"{DAYS} days", f"from={_date(filled.first_day)}")):
            path = f"/api/v1/exports/{name}?{query}"
            whole = ask(path)
            first = [whole.first_ms, *(ask(path, whole=False).first_ms for _ in range(CALLS - 1))]
            count = whole.body.count(b"\n") - 1
            rate = 1_000 * count / whole.whole_ms
            over = "yes" if middle(first) > GOAL_MS else ""
            options.say(f"export {name}, {range_}: {middle(first):,.0f} ms, {rate:,.0f} rows a second")
            told = f"{count:,} rows, {rate:,.0f} a second, {len(whole.body) / 1_048_576:,.1f} MB"
            rows.append(
                [f"export {name}, first byte", range_, f"{middle(first):,.1f}", f"{max(first):,.1f}", over, told]
            )
    return rows


def _clicked(options: Options, server: Server, filled: Filled) -> Outcome:
    return measure(server, msgspec.structs.replace(redirect_job(options.seconds, filled.slugs), rate=RATE)).outcome


def _clicked_meanwhile(options: Options, server: Server, filled: Filled) -> Outcome:
    """The same while somebody reads one report after the other."""
    stopped = threading.Event()
    paths = [path for (name, _), path in _questions(filled).items() if name.startswith("report")]

    def read() -> None:
        ask = _Asker(server)
        while not stopped.is_set():
            for path in paths:
                if not stopped.is_set():
                    ask(path)
        ask.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        return _clicked(options, server, filled)
    finally:
        stopped.set()
        reader.join()


def _redirects(options: Options, server: Server, filled: Filled) -> list[list[str]]:
    rows = []
    for name, clicked in (("nobody reads reports", _clicked), ("reports are read", _clicked_meanwhile)):
        outcome = clicked(options, server, filled)
        told = f"{outcome.acknowledged:,} answered, {outcome.lost + outcome.unsent} not; worst {outcome.worst:,.1f} ms"
        rows.append(
            [
                f"redirect at {RATE:,.0f}/s while {name}: p50, p99",
                "-",
                f"{outcome.p50:,.1f}",
                f"{outcome.p99:,.1f}",
                "",
                told,
            ]
        )
        options.say(f"redirect while {name}: p99 {outcome.p99:,.1f} ms")
    return rows


def marketing(options: Options) -> Table:
    """A file of a year is filled, credited, and asked everything that can be asked."""
    with scratch() as place:
        directory = place / "gateway"
        filled = uvloop.run(fill(directory, options.clicks, options.conversions, options.say))
        file_mb = sum(path.stat().st_size for path in directory.glob("gateway.db*")) / 1_048_576
        with Server("gateway", directory, "--behind-proxy") as server:
            before_mb = server.memory_mb()
            ask = _Asker(server)
            counted = _counted(ask, filled)
            rows = [*_reports(options, ask, filled), *_exports(options, ask, filled)]
            ask.close()
            peak_mb = server.memory_mb("VmHWM")
            rows += _redirects(options, server, filled)
    size = f"The file has {file_mb:,.0f} MB. Memory of the gateway after its start: {before_mb:.0f} MB, at its highest while "
    size += (
        f"reports and exports were read: {peak_mb:.0f} MB. The overview of {DAYS} days tells {counted:,} conversions."
    )
    return Table(
        title=f"Reports on {options.clicks:,} clicks and {options.conversions:,} conversions of {DAYS} days",
        columns=["what", "range", "median ms", "worst ms", f"over {GOAL_MS:.0f} ms", "answer"],
        rows=rows,
        notes=[_stored(filled), _credited(filled), size],
    )


def _stored(filled: Filled) -> str:
    clicks, conversions = filled.clicks / filled.clicks_s, filled.conversions / filled.conversions_s
    return (
        f"Stored through the store's contract, thousands at once: {filled.clicks:,} clicks in {filled.clicks_s:.1f} s "
        f"({clicks:,.0f} a second), {filled.conversions:,} conversions, each with the landing before it, in "
        f"{filled.conversions_s:.1f} s ({conversions:,.0f} a second)."
    )


def _credited(filled: Filled) -> str:
    each_ms = 1_000 * filled.credit_s / max(1, filled.credited)
    return (
        f"Credited: {filled.credited:,} conversions in {filled.credit_s:.1f} s, {1_000 / each_ms:,.0f} a second, "
        f"{each_ms:.2f} ms each, {filled.slowest_ms:.2f} ms each in the slowest portion of {PORTION}. The worker pauses "
        f"{1_000 * CREDIT_PAUSE_S:.0f} ms between portions; that is not in it."
    )


def _counted(ask: _Asker, filled: Filled) -> int:
    found = msgspec.json.decode(ask(f"/api/v1/reports/overview?from={_date(filled.first_day)}").body)
    return int(found["rows"][0]["conversions"])
