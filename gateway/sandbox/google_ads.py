"""Google Ads behind the Data Manager API, played strictly: `v1/events:ingest` and `v1/requestStatus:retrieve`.

* Any invalid event refuses the whole request, with google.rpc details that name each field, `events[3].currency`.
* 200 means "taken for processing". What fails then is counted by reason in the request's status and written, event by
  event, into `ledger.invalid()`: missing or denied consent, unknown click, too old, one-per-click with a braid.
* The same transaction id on the same conversion action is an adjustment: value and currency are replaced, the count
  stays. An event without a transaction id is a new conversion each time. `conversions()` tells the result.

Not documented, so the stand-in's own choice: the order of the checks, the texts, the answer to a read of an unknown
request (400 INVALID_REQUEST_ID, also for validate-only ones). The quota is enforced only where configured.

Source: github googleapis/googleapis `google/ads/datamanager/v1/*.proto`, commit f8291d2 (2026-08-22);
developers.google.com/data-manager/api/devguides: limits, understand-errors, diagnostics,
conversion-adjustments (2026-09).
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call, json_answer
from gateway.sandbox.checks import Problem, parse_json, rfc3339_ms
from gateway.sandbox.config import DATAMANAGER_SCOPE, GoogleConfig
from gateway.sandbox.google_destination import Target, check_event_for, check_limits, find_targets, targets_of
from gateway.sandbox.google_error import JSON_RULES, error_body
from gateway.sandbox.google_event import REQUEST, check_event_meaning, consent_of
from gateway.sandbox.google_token import GoogleToken
from gateway.sandbox.ledger import content_key
from gateway.sandbox.stand_in import StandIn
from gateway.times import DAY_MS, MINUTE_MS

__all__ = ["Conversion", "GoogleAds"]

_INGEST: Final = "/v1/events:ingest"
_STATUS: Final = "/v1/requestStatus:retrieve"
_KEPT_MS: Final = 50 * DAY_MS
_TOO_OLD_MS: Final = 90 * DAY_MS
_CONSENT_REASONS: Final = {
    None: "NO_CONSENT",
    "CONSENT_DENIED": "DENIED_CONSENT",
    "CONSENT_STATUS_UNSPECIFIED": "UNKNOWN_CONSENT",
}
_PREFIX: Final = "PROCESSING_ERROR_REASON_"


class Conversion(msgspec.Struct, frozen=True):
    """A conversion as the account sees it now. `value` is in currency units; `adjustments` counts restatements."""

    action: str
    transaction_id: str | None
    value: float | None
    currency: str | None
    adjustments: int = 0


class _Result(msgspec.Struct):
    """What became of one request at one destination."""

    destination: dict[str, Any]
    taken: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)


class GoogleAds(StandIn):
    """The stand-in for datamanager.googleapis.com."""

    def __init__(self, config: GoogleConfig, tokens: GoogleToken, clock: Clock, entropy: Entropy) -> None:
        super().__init__(clock, entropy)
        self._config = config
        self._tokens = tokens
        self._results: dict[str, tuple[int, list[_Result]]] = {}
        self._conversions: dict[str, Conversion] = {}
        self._writes_at_ms: deque[int] = deque()

    def hosts(self) -> tuple[str, ...]:
        """The Data Manager API's host."""
        return ("datamanager.googleapis.com",)

    def conversions(self) -> dict[str, Conversion]:
        """Dedup key (`action|transactionId`) to the conversion as it stands after all adjustments."""
        return dict(self._conversions)

    def clear(self) -> None:
        """Forget all conversions too."""
        super().clear()
        self._results.clear()
        self._conversions.clear()
        self._writes_at_ms.clear()

    def answer(self, call: Call) -> Answer:
        """Answer one call."""
        wanted = {_INGEST: "POST", _STATUS: "GET"}.get(call.path)
        if wanted != call.method:
            return self._refuse(call, 404, "NOT_FOUND", [Problem("", "path", "Method not found.")])
        principal, refusal = self._principal(call)
        if refusal is not None:
            return refusal
        return self._ingest(call, principal) if call.path == _INGEST else self._status(call)

    # who is calling

    def _principal(self, call: Call) -> tuple[str, Answer | None]:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return "", self._deny(call, 401, "UNAUTHENTICATED", "CREDENTIALS_MISSING")
        grant = self._tokens.look_up(token)
        if grant is None:
            return "", self._deny(call, 401, "UNAUTHENTICATED", None)
        if call.at_ms >= grant.expires_at_ms:
            return "", self._deny(call, 401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED")
        if DATAMANAGER_SCOPE not in grant.scopes:
            return "", self._deny(call, 403, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        if not self._config.api_enabled:
            return "", self._deny(call, 403, "PERMISSION_DENIED", "SERVICE_DISABLED")
        return grant.principal, None

    def _deny(self, call: Call, status: int, name: str, reason: str | None) -> Answer:
        self.ledger.refuse(call, status, [Problem("", reason or name, "the caller is not let in")])
        message = "Request had invalid authentication credentials." if status == 401 else "Permission denied."
        return json_answer(status, error_body(status, name, message, reason=reason))

    def _refuse(self, call: Call, status: int, name: str, problems: list[Problem], message: str = "") -> Answer:
        self.ledger.refuse(call, status, problems)
        structural = any(problem.rule in JSON_RULES for problem in problems)
        reason = None if structural or status == 404 else problems[0].rule
        fields = problems if status == 400 else ()
        text = message or ("Invalid JSON payload received." if structural else "There was a problem with the request.")
        return json_answer(
            status,
            error_body(status, name, text, reason=reason, problems=fields, request_id=self._request_id()),
        )

    def _invalid(self, call: Call, problems: list[Problem]) -> Answer:
        return self._refuse(call, 400, "INVALID_ARGUMENT", problems)

    # ingest

    def _ingest(self, call: Call, principal: str) -> Answer:
        if not self._within_quota(call.at_ms):
            limit = {"quota_limit": "IngestionMutateRequestsPerMinutePerProject"}
            name = "RESOURCE_EXHAUSTED"
            self.ledger.refuse(call, 429, [Problem("", name, "too many requests in a minute")])
            return json_answer(429, error_body(429, name, "Quota exceeded.", reason=name, metadata=limit))
        problems = [Problem(f".{name}", "unknown", "is not a parameter") for name, _ in call.query]
        body: Any = None
        if call.content_type() != "application/json":
            problems.append(Problem("", "type", "the content type must be application/json"))
        try:
            body = parse_json(call.body)
        except ValueError:
            problems.append(Problem("", "type", "is not valid JSON"))
        else:
            REQUEST(body, "", problems)
        if problems:
            return self._invalid(call, problems)
        check_limits(body, problems)
        if problems:
            return self._invalid(call, problems)
        targets, allowed = find_targets(body, self._config, principal, problems)
        if not allowed:
            return self._deny(call, 403, "PERMISSION_DENIED", "PERMISSION_DENIED")
        for index, event in enumerate(body["events"] if not problems else ()):
            check_event_meaning(event, f"events[{index}]", body.get("encoding"), call.at_ms, problems)
            check_event_for(event, f"events[{index}]", targets, problems)
        if problems:
            return self._invalid(call, problems)
        return self._take(call.at_ms, body, targets)

    def _take(self, at_ms: int, body: Mapping[str, Any], targets: list[Target]) -> Answer:
        request_id = self._request_id()
        warnings = [one for index, event in enumerate(body["events"]) for one in _warnings(event, f"events[{index}]")]
        self.ledger.warn(warnings)
        if not body.get("validateOnly"):
            results = [_Result(destination) for destination in body["destinations"]]
            for event in body["events"]:
                for target in targets_of(event, targets):
                    result = results[targets.index(target)]
                    reason = self._process(at_ms, event, body, target)
                    if reason is None:
                        result.taken += 1
                    else:
                        result.reasons[reason] += 1
            self._results[request_id] = (at_ms, results)
        answer: dict[str, object] = {"requestId": request_id}
        if warnings:
            answer["fieldWarnings"] = [
                {"field": one.path, "description": one.message, "reason": "WARNING_REASON_" + one.rule}
                for one in warnings
            ]
        return json_answer(200, answer)

    def _process(self, at_ms: int, event: dict[str, Any], body: Mapping[str, Any], target: Target) -> str | None:
        """Do what happens after the answer; return the reason why the event is lost, None when it counts."""
        reason = self._loss(at_ms, event, body, target)
        if reason is not None:
            self.ledger.spoil(at_ms, target.action.id, event, [Problem("", reason, "lost in processing")])
            return _PREFIX + reason
        transaction = event.get("transactionId")
        key = f"{target.action.id}|{transaction}" if transaction else content_key(target.action.id, event)
        new = self.ledger.count(key, at_ms, dedup=bool(transaction))
        known = self._conversions.get(key)
        value, currency = event.get("conversionValue"), event.get("currency")
        adjustments = 0
        if known is not None and not new:
            value = known.value if value is None else value
            currency = known.currency if currency is None else currency
            adjustments = known.adjustments + 1
        self._conversions[key] = Conversion(target.action.id, transaction, value, currency, adjustments)
        self.ledger.accept(at_ms, target.action.id, key, "counted" if new else "adjusted", event)
        return None

    def _loss(self, at_ms: int, event: Mapping[str, Any], body: Mapping[str, Any], target: Target) -> str | None:
        consent = consent_of(event, body)
        if consent in _CONSENT_REASONS:
            return _CONSENT_REASONS[consent]
        happened = rfc3339_ms(event["eventTimestamp"])
        if happened is not None and happened < at_ms - _TOO_OLD_MS:
            return "EVENT_TOO_OLD"
        identifiers = event.get("adIdentifiers", {})
        braid = "gbraid" in identifiers or "wbraid" in identifiers
        if braid and target.action.one_per_click:
            return "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID"
        clicks = {identifiers.get(name) for name in ("gclid", "gbraid", "wbraid")}
        return "CLICK_NOT_FOUND" if clicks & set(self._config.clicks_not_found) else None

    # status

    def _status(self, call: Call) -> Answer:
        ids = call.values("requestId")
        if len(ids) != 1 or len(call.query) != 1 or ids[0] not in self._results:
            return self._invalid(call, [Problem("requestId", "INVALID_REQUEST_ID", "is not a known request")])
        at_ms, results = self._results[ids[0]]
        if call.at_ms - at_ms > _KEPT_MS:
            return self._invalid(call, [Problem("requestId", "REQUEST_TOO_OLD", "is not kept any more")])
        done = call.at_ms - at_ms >= self._config.processing_ms
        return json_answer(200, {"requestStatusPerDestination": [_status_of(one, done=done) for one in results]})

    def _within_quota(self, at_ms: int) -> bool:
        if self._config.writes_per_minute is None:
            return True
        while self._writes_at_ms and self._writes_at_ms[0] <= at_ms - MINUTE_MS:
            self._writes_at_ms.popleft()
        if len(self._writes_at_ms) >= self._config.writes_per_minute:
            return False
        self._writes_at_ms.append(at_ms)
        return True

    def _request_id(self) -> str:
        return self.entropy.token_bytes(16).hex()


def _status_of(result: _Result, *, done: bool) -> dict[str, object]:
    if not done:
        return {"destination": result.destination, "requestStatus": "PROCESSING"}
    status = "SUCCESS" if not result.reasons else ("PARTIAL_SUCCESS" if result.taken else "FAILED")
    total = result.taken + result.reasons.total()
    answer: dict[str, object] = {
        "destination": result.destination,
        "requestStatus": status,
        "eventsIngestionStatus": {"recordCount": str(total)},
    }
    if result.reasons:
        counts = [{"recordCount": str(count), "reason": reason} for reason, count in sorted(result.reasons.items())]
        answer["errorInfo"] = {"errorCounts": counts}
    return answer


def _warnings(event: Mapping[str, Any], path: str) -> list[Problem]:
    """What Google takes with a warning."""
    found = []
    cart = event.get("cartData")
    identifiers = event.get("adIdentifiers", {})
    if cart and ("gbraid" in identifiers or "wbraid" in identifiers):
        reason = "CART_DATA_NOT_SUPPORTED_WITH_GBRAID_OR_WBRAID"
        found.append(Problem(f"{path}.cart_data", reason, "cart data is ignored"))
    for index, item in enumerate(cart.get("items", ()) if cart else ()):
        for name, field, reason in (
            ("merchantProductId", "merchant_product_id", "CART_DATA_ITEM_MERCHANT_PRODUCT_ID_MISSING"),
            ("unitPrice", "unit_price", "CART_DATA_ITEM_UNIT_PRICE_MISSING"),
        ):
            if name not in item:
                found.append(Problem(f"{path}.cart_data.items[{index}].{field}", reason, "is missing"))
    return found
