"""Reading answers: what all vendors share, so that a destination's file states only what is its own (pure).

The question is always who must act: time (retry), the operator (credentials, configuration), or nobody (rejected).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.exchange import Answer, Reading, Verdict, retry_after_ms
from gateway.outcome import VerdictKind

__all__ = ["accepted", "by_status", "json_object", "nothing_came", "text_of", "throttled", "verdict"]

_DETAIL_MAX: Final = 200


def verdict(kind: VerdictKind, reason: str, code: str | None = None, detail: str | None = None) -> Verdict:
    """Make a verdict. The detail is cut; it must be a vendor's own words, never a part of what was sent."""
    return Verdict(kind=kind, reason=reason, code=code, detail=detail[:_DETAIL_MAX] if detail else None)


def accepted(reason: str = "vendor_accepted") -> Reading:
    """The vendor took everything."""
    return Reading(whole=Verdict(kind=VerdictKind.ACCEPTED, reason=reason))


def throttled(answer: Answer, now_ms: int, code: str | None = None, wait_ms: int | None = None) -> Reading:
    """The vendor asked to slow down. Its Retry-After wins over `wait_ms`."""
    asked = retry_after_ms(answer.headers.get("Retry-After"), now_ms)
    return Reading(
        whole=Verdict(
            kind=VerdictKind.THROTTLED,
            reason="vendor_throttled",
            code=code,
            wait_ms=asked if asked is not None else wait_ms,
        )
    )


def nothing_came(answer: Answer) -> Reading | None:
    """Read an answer that never came: before sending it is a plain retry, after sending nobody knows what happened."""
    if answer.status is not None:
        return None
    kind = VerdictKind.AMBIGUOUS if answer.sent else VerdictKind.RETRY
    return Reading(whole=verdict(kind, "vendor_unavailable", answer.failure))


def by_status(answer: Answer, now_ms: int, *, code: str | None = None, detail: str | None = None) -> Reading:
    """Classify by HTTP status alone, for vendors and cases without a more exact word.

    2xx accepted; 401 and 403 credentials; 404 configuration; 408, 425, 5xx retry; 429 throttled; 3xx configuration, because
    redirects are not followed; other 4xx the payload's fault.
    """
    status = answer.status or 0
    named = code or str(status)
    if 200 <= status < 300:
        return accepted()
    if status == 429:
        return throttled(answer, now_ms, named)
    if status in (408, 425) or status >= 500:
        asked = retry_after_ms(answer.headers.get("Retry-After"), now_ms)
        whole = Verdict(kind=VerdictKind.RETRY, reason="vendor_unavailable", code=named, wait_ms=asked)
        return Reading(whole=whole)
    if status in (401, 403):
        return Reading(whole=verdict(VerdictKind.CREDENTIALS, "credentials_refused", named, detail))
    if status == 404 or status < 400:
        return Reading(whole=verdict(VerdictKind.CONFIGURATION, "configuration_refused", named, detail))
    return Reading(whole=verdict(VerdictKind.PAYLOAD, "vendor_rejected", named, detail), split=True)


def json_object(body: bytes) -> Mapping[str, object]:
    """The JSON object of an answer; empty when it is none."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def text_of(found: object) -> str | None:
    """A short text or number as text; None for anything else."""
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        return None
    return str(found)[:_DETAIL_MAX]
