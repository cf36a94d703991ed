"""Receivers of signed webhooks (Standard Webhooks 1.0.0), played strictly under whatever host names are configured.

A message is taken when one `v1` (HMAC-SHA256) or `v1a` (Ed25519) signature matches one secret of the endpoint, its
timestamp is within 5 minutes, and its body has the recommended form: `type`, `timestamp`, `data` and no other key; or,
where an endpoint is one for conversions, the seven fields of a link tracker's notification.
`webhook-id` is the dedup key (with several endpoints, the address before it). A retry must be the same message: the
same id with another body is refused, and the same body under another id counts as a double effect of the first id.
Larger than 20 KB, or without `data.consent`: a warning.

A status for each fault is the stand-in's own choice (the specification asks only for "not 2xx"): 400 malformed, 401
signature or time, 404 path, 405 method, 409 changed message, 410 gone, 415 content type.

Source: standard-webhooks/standard-webhooks b2fa7b8 (2026-08-17), spec/standard-webhooks.md, version 1.0.0.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call, json_answer
from gateway.sandbox.checks import (
    Check,
    Problem,
    anything,
    currency,
    number,
    one_of,
    parse_json,
    record,
    rfc3339_ms,
    text,
)
from gateway.sandbox.config import WebhookConfig, WebhookEndpoint
from gateway.sandbox.stand_in import StandIn
from gateway.times import MINUTE_MS

__all__ = ["TOLERANCE_MS", "Webhook"]

TOLERANCE_MS: Final = 5 * MINUTE_MS
_ADVISED_BYTES: Final = 20_000
_ID: Final = re.compile(r"[!-\-/-~]+")
_ENTRY: Final = re.compile(r"(v[0-9]+[a-z]*),([A-Za-z0-9+/]+={0,2})")


def _iso_time(value: object, path: str, out: list[Problem]) -> None:
    """ISO 8601 with a zone."""
    if not isinstance(value, str) or rfc3339_ms(value) is None:
        out.append(Problem(path, "time", "must be an ISO 8601 time with its zone"))


_BODY_FIELDS: Final[dict[str, Check]] = {
    "type": text(form=r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*"),
    "timestamp": _iso_time,
    "data": record({}, free=anything),
}
_BODY: Final = record(_BODY_FIELDS, required=tuple(_BODY_FIELDS))


def _or_null(of: Check) -> Check:
    """What a link tracker may leave open."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if value is not None:
            of(value, path, out)

    return check


_CONVERSION_FIELDS: Final[dict[str, Check]] = {
    "event": one_of("conversion.tracked"),
    "conversion_id": text(),
    "link_id": _or_null(text()),
    "click_id": _or_null(text()),
    "value": _or_null(number),
    "currency": _or_null(currency()),
    "timestamp": _iso_time,
}
"""The seven fields of a link tracker's notification. There may be more, never fewer; ids are texts, not integers."""
_CONVERSION: Final = record(_CONVERSION_FIELDS, required=tuple(_CONVERSION_FIELDS), free=anything)


class Webhook(StandIn):
    """All configured receivers."""

    def __init__(self, config: WebhookConfig, clock: Clock, entropy: Entropy) -> None:
        super().__init__(clock, entropy)
        self._endpoints: dict[tuple[str, str], WebhookEndpoint] = {}
        self._bodies: dict[str, bytes] = {}
        self._first_keys: dict[bytes, str] = {}
        for endpoint in config.endpoints:
            url = urlsplit(endpoint.url)
            if url.scheme != "https" or url.hostname is None or url.query:
                raise ValueError("a webhook endpoint is an https address without a query")
            for secret in endpoint.secrets:
                _key_of(secret)
            self._endpoints[url.hostname, url.path or "/"] = endpoint

    def hosts(self) -> tuple[str, ...]:
        """The hosts of the configured addresses."""
        return tuple(dict.fromkeys(host for host, _ in self._endpoints))

    def answer(self, call: Call) -> Answer:
        """Take or refuse one message."""
        endpoint = self._endpoints.get((call.host, call.path))
        if endpoint is None or call.query:
            return self._refuse(call, 404, [Problem("", "path", "no such address")])
        if endpoint.gone:
            return self._refuse(call, 410, [Problem("", "gone", "this endpoint is disabled")])
        if call.method != "POST":
            return self._refuse(call, 405, [Problem("", "method", "must be POST")])
        if call.content_type() != "application/json":
            return self._refuse(call, 415, [Problem("", "content_type", "must be application/json")])
        problems = _check_headers(call)
        if problems:
            return self._refuse(call, 400, problems)
        message_id = call.headers["webhook-id"]
        problems = _check_time(call) or _check_signature(call, endpoint)
        if problems:
            return self._refuse(call, 401, problems)
        try:
            body = parse_json(call.body)
        except ValueError:
            return self._refuse(call, 400, [Problem("", "json", "is not valid JSON")])
        (_CONVERSION if endpoint.conversions else _BODY)(body, "", problems)
        if problems or not isinstance(body, dict):
            return self._refuse(call, 400, problems)
        return self._take(call, endpoint, message_id, body)

    def clear(self) -> None:
        """Forget all messages too."""
        super().clear()
        self._bodies.clear()
        self._first_keys.clear()

    def _take(self, call: Call, endpoint: WebhookEndpoint, message_id: str, body: dict[str, object]) -> Answer:
        scoped = f"{endpoint.url} {message_id}"
        content = hashlib.sha256(endpoint.url.encode() + b" " + call.body).digest()
        if self._bodies.setdefault(scoped, content) != content:
            return self._refuse(call, 409, [Problem("webhook-id", "reused", "was used for another body")])
        key = message_id if len(self._endpoints) == 1 else scoped
        first_key = self._first_keys.setdefault(content, key)
        new = self.ledger.count(first_key, call.at_ms, dedup=first_key == key)
        self.ledger.accept(call.at_ms, endpoint.url, key, "counted" if new else "discarded", body)
        if len(call.body) > _ADVISED_BYTES:
            self.ledger.warn([Problem("", "too_long", "should be smaller than 20 KB")])
        data = body.get("data")
        if isinstance(data, dict) and "consent" not in data:
            self.ledger.warn([Problem("data.consent", "missing", "should say what the person agreed to")])
        return json_answer(200, {"received": True})

    def _refuse(self, call: Call, status: int, problems: list[Problem]) -> Answer:
        self.ledger.refuse(call, status, problems)
        return json_answer(status, {"error": problems[0].message})


def _check_headers(call: Call) -> list[Problem]:
    problems = [
        Problem(name, "missing", "is required")
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        if not call.headers.get(name)
    ]
    if problems:
        return problems
    if not _ID.fullmatch(call.headers["webhook-id"]):
        problems.append(Problem("webhook-id", "format", "must hold no dot and no space"))
    if not re.fullmatch(r"[0-9]+", call.headers["webhook-timestamp"], re.ASCII):
        problems.append(Problem("webhook-timestamp", "format", "must be integer seconds"))
    if not all(_ENTRY.fullmatch(entry) for entry in call.headers["webhook-signature"].split(" ")):
        problems.append(Problem("webhook-signature", "format", "must be a list of version,base64 parted by spaces"))
    return problems


def _check_time(call: Call) -> list[Problem]:
    off_ms = call.at_ms - int(call.headers["webhook-timestamp"]) * 1000
    if off_ms > TOLERANCE_MS:
        return [Problem("webhook-timestamp", "too_old", "is more than 5 minutes old")]
    if off_ms < -TOLERANCE_MS:
        return [Problem("webhook-timestamp", "future", "is more than 5 minutes ahead (the unit is seconds)")]
    return []


def _check_signature(call: Call, endpoint: WebhookEndpoint) -> list[Problem]:
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    for entry in call.headers["webhook-signature"].split(" "):
        version, _, encoded = entry.partition(",")
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
        for secret in endpoint.secrets:
            if _matches(version, given, signed, _key_of(secret)):
                return []
    return [Problem("webhook-signature", "signature", "matches no secret of this endpoint")]


def _matches(version: str, given: bytes, signed: bytes, key: bytes | Ed25519PublicKey) -> bool:
    if version == "v1" and isinstance(key, bytes):
        return hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).digest(), given)
    if version == "v1a" and isinstance(key, Ed25519PublicKey):
        try:
            key.verify(given, signed)
        except InvalidSignature:
            return False
        return True
    return False


def _key_of(secret: str) -> bytes | Ed25519PublicKey:
    """Key of a configured secret. Raises ValueError when it is not base64 or shorter than 24 bytes."""
    if secret.startswith("whpk_"):
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(secret[5:], validate=True))
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret has 24 to 64 bytes")
    return key
