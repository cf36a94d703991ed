"""Telemetry: each thing worth telling is one method that writes its log line and moves its metric together.

Log lines are JSON on standard error: a static event name, facts as keywords, texts capped at 256 characters and escaped.
Browser hits have no line each: they are counted, sampled and summed once a minute. Refused requests have a line each, up
to a number a minute; what is beyond is in the sum, so that no stranger decides how fast a disk fills. No line and no
metric ever holds an address, a visitor id, a query, a cookie or a contact value.

Source: structlog documentation (canonical log lines); Prometheus naming practices; OWASP ASVS 5.0 16.2, 16.4.1.
"""

import json
import logging
import sys
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from structlog.typing import EventDict, WrappedLogger

__all__ = ["METRICS_TYPE", "Telemetry", "configure"]

TEXT_MAX: Final = 256
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _capped(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > TEXT_MAX:
            event[key] = value[:TEXT_MAX] + "..."
    return event


def _json(event: EventDict, **_: Any) -> str:
    return json.dumps(event, ensure_ascii=True, default=repr, separators=(",", ":"))


class _Lines(structlog.WriteLogger):
    """Writes lines. A log that cannot be written (its disk is full, its pipe has no reader) stops nothing: lines are counted."""

    lost = 0

    def msg(self, message: str) -> None:
        """Write one line."""
        try:
            super().msg(message)
        except OSError:
            _Lines.lost += 1

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure(level: str, stream: TextIO | None = None) -> None:
    """Set up structlog for this process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _capped,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


class Telemetry:
    """One per running gateway. Metric objects are named after what they count."""

    def __init__(self, browser_sample: int = 1_000, refusals_per_minute: int = 600) -> None:
        self._log = structlog.get_logger()
        self._sample = browser_sample
        self._hits = 0
        self._hits_summed = 0
        self._refusals_max = refusals_per_minute
        self._refusals_told = 0
        self._refusals_untold: dict[str, int] = {}
        # Counted in a plain table and moved to the metric when it is read: a labelled counter costs two microseconds.
        self._received_since: dict[tuple[str, str], int] = {}
        self._clicks_since: dict[tuple[str, str], int] = {}
        self.registry = registry = CollectorRegistry()
        self._received = Counter("gateway_events_received", "Events taken in.", ["site", "trust"], registry=registry)
        self._refused = Counter(
            "gateway_requests_refused", "Requests refused, by code.", ["route", "code"], registry=registry
        )
        self._marked = Counter("gateway_marks", "Things noticed about taken events.", ["mark"], registry=registry)
        self._owed = Counter(
            "gateway_deliveries_owed", "Deliveries stored.", ["site", "destination", "fate"], registry=registry
        )
        self._settled = Counter(
            "gateway_deliveries_settled",
            "Deliveries that reached a fate.",
            ["site", "destination", "fate"],
            registry=registry,
        )
        self._attempts = Counter(
            "gateway_attempts", "Requests to vendors.", ["destination", "verdict"], registry=registry
        )
        self._attempt_s = Histogram(
            "gateway_attempt_seconds", "Time a vendor took.", ["destination"], registry=registry, buckets=_BUCKETS_S
        )
        self._choices = Counter("gateway_choices", "Consent choices recorded.", ["site", "kind"], registry=registry)
        self._clicks = Counter("gateway_clicks", "Clicks recorded.", ["site", "human"], registry=registry)
        self._clicks_waiting = Counter(
            "gateway_clicks_not_stored_in_time",
            "Clicks and repeats that were answered before the store had them.",
            ["site", "what", "reason"],
            registry=registry,
        )
        self._clicks_lost = Counter(
            "gateway_clicks_lost", "Clicks that neither store nor spool took.", ["site"], registry=registry
        )
        self._clicks_restored = Counter(
            "gateway_clicks_restored", "Spooled clicks, by what became of them.", ["outcome"], registry=registry
        )
        lost = Gauge("gateway_log_lines_lost", "Lines of the log that could not be written.", registry=registry)
        lost.set_function(lambda: _Lines.lost)
        self._commits = Counter("gateway_commits", "Transactions made durable.", registry=registry)
        self._commit_records = Counter("gateway_commit_records", "Records made durable.", registry=registry)
        self._commit_s = Histogram(
            "gateway_commit_seconds", "Time of one commit.", registry=registry, buckets=_BUCKETS_S
        )
        self._waiting = Gauge(
            "gateway_deliveries_waiting", "Deliveries that wait.", ["site", "destination"], registry=registry
        )
        self._breaker = Gauge(
            "gateway_breaker_open", "1 while a destination rests.", ["site", "destination"], registry=registry
        )

    # -------------------------------------------------------------- requests

    def events_received(self, site: str, trust: str, count: int, marks: tuple[str, ...]) -> None:
        """Events of one request are durable."""
        key = (site, trust)
        self._received_since[key] = self._received_since.get(key, 0) + count
        for mark in marks:
            self._marked.labels(mark).inc()
        if trust == "browser":
            self._hits += 1
            if self._sample and self._hits % self._sample == 0:
                self._log.info("browser_hits_sampled", site=site, hits=self._hits, events=count, marks=list(marks))

    def request_answered(self, route: str, site: str | None, status: int, took_ms: int, **facts: object) -> None:
        """An API or admin request was answered: its one line."""
        self._log.info("request_answered", route=route, site=site, status=status, took_ms=took_ms, **facts)

    def request_refused(self, route: str, site: str | None, code: str, field: str | None, status: int) -> None:
        """A request was refused: its one line, unless there were too many this minute."""
        self._refused.labels(route, code).inc()
        if self._refusals_max and self._refusals_told >= self._refusals_max:
            self._refusals_untold[code] = self._refusals_untold.get(code, 0) + 1
            return
        self._refusals_told += 1
        self._log.warning("request_refused", route=route, site=site, code=code, field=field, status=status)

    def minute_over(self) -> None:
        """Sum up the last minute, and let refusals have lines again."""
        hits, self._hits_summed = self._hits - self._hits_summed, self._hits
        untold, self._refusals_untold = self._refusals_untold, {}
        self._refusals_told = 0
        if hits:
            self._log.info("browser_hits_summed", hits=hits, total=self._hits)
        if untold:
            self._log.warning("refusals_summed", without_line=untold)

    def request_failed(self, route: str, kind: str) -> None:
        """The gateway itself failed. `kind` is the class of the error, never its text."""
        self._refused.labels(route, "internal").inc()
        self._log.error("request_failed", route=route, kind=kind)

    # -------------------------------------------------------------- clicks

    def click_recorded(self, site: str, human: str) -> None:
        """A click on a link is durable."""
        key = (site, human)
        self._clicks_since[key] = self._clicks_since.get(key, 0) + 1

    def click_waits(self, site: str, what: str, reason: str) -> None:
        """A `click` or `repeat` was answered although the store was slow, busy, full or broken. A click is in the spool."""
        self._clicks_waiting.labels(site, what, reason).inc()

    def clicks_lost(self, site: str, count: int) -> None:
        """Clicks that nothing could take: the spool is full, or its disk is."""
        self._clicks_lost.labels(site).inc(count)
        self._log.error("clicks_lost", site=site, count=count, note="neither the store nor the spool took them")

    def clicks_restored(self, recorded: int, known: int, unreadable: int) -> None:
        """Spooled clicks reached the store, were there already, or could not be read."""
        for outcome, count in (("recorded", recorded), ("known", known), ("unreadable", unreadable)):
            if count:
                self._clicks_restored.labels(outcome).inc(count)
        tell = self._log.warning if unreadable else self._log.info
        tell("clicks_restored", recorded=recorded, known=known, unreadable=unreadable)

    def events_by_site(self) -> dict[str, int]:
        """How many events each site has sent since the start."""
        found: dict[str, int] = {}
        for metric in self._received.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    site = sample.labels["site"]
                    found[site] = found.get(site, 0) + int(sample.value)
        for (site, _), count in self._received_since.items():
            found[site] = found.get(site, 0) + count
        return found

    # -------------------------------------------------------------- store and consent

    def batch_committed(self, records: int, took_s: float) -> None:
        """One transaction is durable."""
        self._commits.inc()
        self._commit_records.inc(records)
        self._commit_s.observe(took_s)

    def appender_changed(self, started: bool) -> None:
        """The process that writes plain rows has started, or has ended by itself or could not start."""
        if started:
            self._log.debug("appender_started")
        else:
            self._log.warning("appender_ended", note="the gateway writes alone; it is started again")

    def choice_recorded(self, site: str, kind: str, record_id: str) -> None:
        """A consent choice is in the log."""
        self._choices.labels(site, kind).inc()
        self._log.info("choice_recorded", site=site, kind=kind, record_id=record_id)

    # -------------------------------------------------------------- delivery

    def delivery_owed(self, site: str, destination: str, fate: str) -> None:
        """A delivery was stored with its first fate."""
        self._owed.labels(site, destination, fate).inc()

    def attempt_made(self, destination: str, verdict: str, latency_ms: int) -> None:
        """A vendor was asked."""
        self._attempts.labels(destination, verdict).inc()
        self._attempt_s.labels(destination).observe(latency_ms / 1000)

    def delivery_settled(
        self, site: str, destination: str, fate: str, reason: str, event_id: str, attempts: int
    ) -> None:
        """A delivery reached a fate."""
        self._settled.labels(site, destination, fate).inc()
        lost = fate in {"dead", "rejected", "unconfirmed"}
        tell = self._log.warning if lost else self._log.info
        tell(
            "delivery_settled",
            site=site,
            destination=destination,
            fate=fate,
            reason=reason,
            event_id=event_id,
            attempts=attempts,
        )

    def destination_rests(self, site: str, destination: str, reason: str, code: str | None, rest_ms: int) -> None:
        """A destination is paused: an operator may have to act."""
        self._breaker.labels(site, destination).set(1)
        self._log.error(
            "destination_rests", site=site, destination=destination, reason=reason, code=code, rest_ms=rest_ms
        )

    def destination_works(self, site: str, destination: str) -> None:
        """A destination answers again."""
        self._breaker.labels(site, destination).set(0)

    def waiting_counted(self, site: str, destination: str, count: int) -> None:
        """How much waits for a destination."""
        self._waiting.labels(site, destination).set(count)

    # -------------------------------------------------------------- the process

    def started(self, **facts: object) -> None:
        """The gateway is ready."""
        self._log.info("gateway_started", **facts)

    def stopped(self, **facts: object) -> None:
        """The gateway has stopped."""
        self._log.info("gateway_stopped", **facts)

    def warned(self, event: str, **facts: object) -> None:
        """Something an operator should know; nothing is lost."""
        self._log.warning(event, **facts)

    def failed(self, event: str, **facts: object) -> None:
        """Something is lost or an operator is needed."""
        self._log.error(event, **facts)

    def metrics(self) -> bytes:
        """All metrics in Prometheus text format."""
        since, self._received_since = self._received_since, {}
        for key, count in since.items():
            self._received.labels(*key).inc(count)
        clicks, self._clicks_since = self._clicks_since, {}
        for key, count in clicks.items():
            self._clicks.labels(*key).inc(count)
        return generate_latest(self.registry)
