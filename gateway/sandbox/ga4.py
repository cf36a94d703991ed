"""Google Analytics 4, Measurement Protocol, played strictly: `/mp/collect` and `/debug/mp/collect`.

The collect address answers 204 whatever it is sent: broken JSON, a wrong secret, an event of last month. The stand-in
does so too, and writes what is lost into `ledger.invalid()` with the validation messages. A fault of the request (wrong
stream, bad client id, body too large) spoils all its events; a fault of one event spoils that event.

The validation server answers 200 with the list of messages, does not look at `api_secret` and `measurement_id`, and
records nothing as accepted.

Repeats: an event that carries a `transaction_id` is recognised by name, client and transaction id, for ever; any other
event counts each time it arrives. The documentation does not confirm the rule; this is what secondary sources say.
Not known, so not checked: request rates, precedence between location and IP. Of "< 130 kB" the stricter reading is
taken, 130,000 bytes. A path that does not exist answers 404.

Source: developers.google.com/analytics/devguides/collection/protocol/ga4: reference, sending-events, validating-events
(changelog up to 2026-02-17).
"""

from typing import Final

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call, json_answer
from gateway.sandbox.checks import Problem, parse_json
from gateway.sandbox.config import Ga4Config
from gateway.sandbox.ga4_event import (
    MAX_BODY_BYTES,
    check_event,
    check_request,
    recommendations,
    validation_messages,
)
from gateway.sandbox.ledger import content_key
from gateway.sandbox.stand_in import StandIn

__all__ = ["Ga4"]

_COLLECT: Final = "/mp/collect"
_DEBUG: Final = "/debug/mp/collect"
_QUERY: Final = frozenset({"api_secret", "measurement_id", "firebase_app_id"})


class Ga4(StandIn):
    """The stand-in for www.google-analytics.com and its European twin."""

    def __init__(self, config: Ga4Config, clock: Clock, entropy: Entropy) -> None:
        super().__init__(clock, entropy)
        self._config = config

    def hosts(self) -> tuple[str, ...]:
        """The global host and the one that processes in the EU."""
        return ("www.google-analytics.com", "region1.google-analytics.com")

    def answer(self, call: Call) -> Answer:
        """Collect or validate one request."""
        if call.path == _COLLECT:
            self._collect(call)
            return Answer(204)
        if call.path == _DEBUG:
            return self._validate(call)
        self.ledger.refuse(call, 404, [Problem("", "path", "no such path")])
        return Answer(404)

    def _collect(self, call: Call) -> None:
        stream, problems = self._stream(call)
        body = _read_body(call, problems)
        if body is None:
            self.ledger.spoil(call.at_ms, stream, None, problems)
            return
        app = bool(call.values("firebase_app_id"))
        problems += check_request(body, app=app, debug=False, now_ms=call.at_ms)
        events = body.get("events")
        if problems or not isinstance(events, list):
            self.ledger.spoil(call.at_ms, stream, body, problems)
            return
        client = str(body["app_instance_id" if app else "client_id"])
        shared = {name: value for name, value in body.items() if name != "events"}
        for index, event in enumerate(events):
            found = check_event(event, f"events[{index}]", app=app, now_ms=call.at_ms)
            if found:
                self.ledger.spoil(call.at_ms, stream, event, found)
            else:
                self.ledger.warn(recommendations(event, f"events[{index}]"))
                self._take(call.at_ms, stream, client, shared | event)

    def _take(self, at_ms: int, stream: str, client: str, event: dict[str, object]) -> None:
        params = event.get("params")
        transaction = params.get("transaction_id") if isinstance(params, dict) else None
        key = f"{event['name']}|{client}|{transaction}" if transaction else content_key(stream, event)
        new = self.ledger.count(key, at_ms, dedup=bool(transaction))
        self.ledger.accept(at_ms, stream, key, "counted" if new else "discarded", event)

    def _validate(self, call: Call) -> Answer:
        problems: list[Problem] = []
        body = _read_body(call, problems)
        if body is not None:
            app = bool(call.values("firebase_app_id"))
            problems += check_request(body, app=app, debug=True, now_ms=call.at_ms)
            events = body.get("events")
            enforced = body.get("validation_behavior") == "ENFORCE_RECOMMENDATIONS"
            for index, event in enumerate(events if isinstance(events, list) else ()):
                problems += check_event(event, f"events[{index}]", app=app, now_ms=call.at_ms)
                problems += recommendations(event, f"events[{index}]") if enforced else []
        return json_answer(200, {"validationMessages": validation_messages(problems)})

    def _stream(self, call: Call) -> tuple[str, list[Problem]]:
        """Find the data stream of the query, and what is wrong with the way it is named."""
        problems = [
            Problem(name, "unknown", "is not a query parameter") for name, _ in call.query if name not in _QUERY
        ]
        secrets, web, app = (call.values(name) for name in ("api_secret", "measurement_id", "firebase_app_id"))
        if len(web) + len(app) != 1 or len(secrets) != 1:
            problems.append(Problem("", "missing", "needs api_secret and one of measurement_id and firebase_app_id"))
            return "", problems
        for stream in self._config.streams:
            if (web and stream.measurement_id == web[0]) or (app and stream.firebase_app_id == app[0]):
                if secrets[0] not in stream.api_secrets:
                    problems.append(Problem("api_secret", "secret", "is not a secret of this stream"))
                return (web or app)[0], problems
        problems.append(Problem("measurement_id", "stream", "there is no such stream"))
        return "", problems


def _read_body(call: Call, problems: list[Problem]) -> dict[str, object] | None:
    """Read the body; what is wrong is added to `problems`, and None means that nothing could be read."""
    if call.method != "POST":
        problems.append(Problem("", "method", "must be POST"))
    if call.content_type() != "application/json":
        problems.append(Problem("", "content_type", "must be application/json"))
    if len(call.body) >= MAX_BODY_BYTES:
        problems.append(Problem("", "too_long", "the body must be smaller than 130 kB"))
    try:
        body = parse_json(call.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        problems.append(Problem("", "json", "must be a JSON object"))
        return None
    return body
