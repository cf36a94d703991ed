"""Misbehaviour on demand: what a vendor, or the network before it, does on a bad day.

    meta.faults.next(Fault.status(503), times=3)       the next three requests
    meta.faults.next(Fault.accept_then_drop())         stored, then the connection breaks: nobody knows
    meta.faults.always(Fault.status(500), share=0.2)   one request in five, until cleared
    meta.faults.when(lambda call: ...)                 whatever a function decides

Queued faults come first, then the function, then the standing one. A fault with `store` lets the request have its
normal effect before the misbehaviour shows; without it the stand-in forgets that the request ever came.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from gateway.entropy import Entropy
from gateway.sandbox.call import Call

__all__ = ["Fault", "FaultRule", "Faults", "Kind", "http_date"]

Kind = Literal[
    "answer",
    "headers",
    "delay",
    "drop",
    "black_hole",
    "slow_body",
    "cut_body",
    "endless_body",
    "huge_body",
    "tls_close",
]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One misbehaviour. Make it with the class methods below; all of it can be written as JSON."""

    kind: Kind
    http_status: int = 200
    body: str = ""
    headers: dict[str, str] = {}
    seconds: float = 0.0
    size: int = 0
    store: bool = False

    @classmethod
    def answer(
        cls, status: int, body: str = "", headers: dict[str, str] | None = None, *, store: bool = False
    ) -> "Fault":
        """A fixed answer. With `store` the vendor keeps the events and says this all the same."""
        return cls(kind="answer", http_status=status, body=body, headers=headers or {}, store=store)

    @classmethod
    def status(cls, status: int, *, store: bool = False) -> "Fault":
        """A bare status without a body, such as a proxy in front of the vendor gives."""
        return cls.answer(status, store=store)

    @classmethod
    def throttled(cls, retry_after: str | int | None = None, *, status: int = 429) -> "Fault":
        """429 (or another status) with Retry-After: seconds, an HTTP date (see `http_date`), junk, or none at all."""
        return cls.answer(status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})

    @classmethod
    def redirect(cls, to: str = "http://169.254.169.254/", *, status: int = 302) -> "Fault":
        """A redirect, by default to the address where clouds keep their credentials."""
        return cls.answer(status, headers={"Location": to})

    @classmethod
    def invalid_json(cls, *, status: int = 200, store: bool = True) -> "Fault":
        """A success whose body breaks off in the middle of its JSON."""
        return cls.answer(status, '{"events_received": 1, "mess', {"Content-Type": "application/json"}, store=store)

    @classmethod
    def add_headers(cls, headers: dict[str, str]) -> "Fault":
        """The normal answer with more headers, such as `X-App-Usage`."""
        return cls(kind="headers", headers=headers, store=True)

    @classmethod
    def delay(cls, seconds: float, *, store_first: bool = True) -> "Fault":
        """The normal answer, late. With `store_first` a caller that gives up has had its effect all the same."""
        return cls(kind="delay", seconds=seconds, store=store_first)

    @classmethod
    def accept_then_drop(cls) -> "Fault":
        """Store, then break the connection without an answer."""
        return cls(kind="drop", store=True)

    @classmethod
    def drop(cls) -> "Fault":
        """Break the connection and store nothing."""
        return cls(kind="drop")

    @classmethod
    def black_hole(cls, *, store: bool = False) -> "Fault":
        """Take the request and never answer."""
        return cls(kind="black_hole", store=store)

    @classmethod
    def slow_body(cls, *, seconds_per_byte: float = 1.0, store: bool = True) -> "Fault":
        """The normal answer at one byte per `seconds_per_byte`."""
        return cls(kind="slow_body", seconds=seconds_per_byte, store=store)

    @classmethod
    def cut_body(cls, *, store: bool = True) -> "Fault":
        """The status, the headers and half of the body; then the connection breaks."""
        return cls(kind="cut_body", store=store)

    @classmethod
    def endless_body(cls, *, store: bool = False) -> "Fault":
        """A body that never ends."""
        return cls(kind="endless_body", store=store)

    @classmethod
    def huge_body(cls, size: int = 100_000_000, *, store: bool = False) -> "Fault":
        """A body of `size` bytes."""
        return cls(kind="huge_body", size=size, store=store)

    @classmethod
    def tls_close(cls) -> "Fault":
        """Refuse the TLS handshake; on a connection that is already open, break it."""
        return cls(kind="tls_close")


FaultRule = Callable[[Call], Fault | None]


class Faults:
    """The faults one stand-in is going to show."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._queue: deque[Fault] = deque()
        self._rule: FaultRule | None = None
        self._standing: tuple[Fault, float] | None = None

    def next(self, fault: Fault, times: int = 1) -> None:
        """Put a fault at the end of the queue, for `times` requests."""
        self._queue.extend([fault] * times)

    def when(self, rule: FaultRule | None) -> None:
        """Ask `rule` about every request that finds the queue empty; None takes the rule away."""
        self._rule = rule

    def always(self, fault: Fault, *, share: float = 1.0) -> None:
        """Show a fault to a `share` (0..1) of all other requests, until `clear`."""
        self._standing = (fault, share)

    def waiting(self) -> int:
        """How many queued faults have not been met yet."""
        return len(self._queue)

    def clear(self) -> None:
        """Behave again."""
        self._queue.clear()
        self._rule = None
        self._standing = None

    def take(self, call: Call) -> Fault | None:
        """The fault this request meets, if any; a queued one is used up."""
        if self._queue:
            return self._queue.popleft()
        found = self._rule(call) if self._rule else None
        return found or self._stand()

    def handshake_refused(self) -> bool:
        """Whether a TLS handshake that begins now is to be refused; a queued refusal is used up."""
        if self._queue:
            if self._queue[0].kind == "tls_close":
                self._queue.popleft()
                return True
            return False
        return self._standing is not None and self._standing[0].kind == "tls_close" and self._stand() is not None

    def _stand(self) -> Fault | None:
        if self._standing is None:
            return None
        fault, share = self._standing
        return fault if share >= 1 or self._entropy.fraction() < share else None


def http_date(at_ms: int) -> str:
    """The HTTP date (RFC 9110, 5.6.7) of a time, in whole seconds, for a Retry-After header."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
