"""Exchange: one request to a vendor and its answer, as values that rooms pass on without knowing each other.

A `Call` never holds a credential: it names where one belongs, and `outbound` puts it there at the last moment. An
`Answer` is what came back, cut to a bounded length, or the reason why nothing came back.
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from gateway.outcome import VerdictKind
from gateway.times import DAY_MS

__all__ = ["Answer", "Call", "Credential", "Reading", "Verdict", "retry_after_ms"]


class Credential(msgspec.Struct, frozen=True):
    """Where a secret goes. `place`: `query`, `header`, `form` (a field of the body), `bearer`, `webhook` (signs the
    body), `google` (an access token).

    `name` is the query parameter or header; `secret` the name of the option that holds the secret.
    """

    place: str
    name: str
    secret: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request without its credentials. `headers` are complete but for those."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float
    credentials: tuple[Credential, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `status` None: nothing did, and `failure` says why.

    `failure`: `unreachable` (no connection was made), `refused` (we do not connect there), `timeout`, `reset` (lost
    after sending began), `too_large`. `sent`: whether any byte of the request may have reached the vendor.
    """

    status: int | None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    failure: str | None = None
    sent: bool = True
    latency_ms: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer means for one event. `reason` is a code of outcome.REASONS, `code` the vendor's own."""

    kind: VerdictKind
    reason: str
    code: str | None = None
    detail: str | None = None
    wait_ms: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer means for a request: one verdict for all, and others for single events by their index.

    `split`: the vendor refused the whole request for some of its events without saying which; send halves.
    """

    whole: Verdict
    each: Mapping[int, Verdict] = {}
    split: bool = False


def retry_after_ms(text: str | None, now_ms: int) -> int | None:
    """Read a Retry-After header, seconds or an HTTP date, as milliseconds from now. None when absent or unreadable.

    Negative values and past dates are 0; nothing is longer than a day. A date without a zone is UTC (RFC 9110 5.6.7).
    """
    if text is None:
        return None
    text = text.strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return min(int(digits[:12]) * 1000, DAY_MS) if digits == text else 0
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        at_ms = int(moment.timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(at_ms - now_ms, 0), DAY_MS)
