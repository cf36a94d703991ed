"""Time: the only module that reads a clock.

Everything else receives the time as an argument, so that every decision can be repeated later with the same result.
Stored times are integer milliseconds since 1970-01-01 UTC; waiting is measured on the monotonic clock, which never jumps.
"""

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What a room or flow may ask about time."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970 UTC. May jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that only goes forward. For intervals, never stored."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved: for tests and rehearsals."""

    __slots__ = ("_monotonic_s", "_now_ms")

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0

    def now_ms(self) -> int:
        """Return the set time."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Seconds moved forward so far."""
        return self._monotonic_s

    def move(self, *, ms: int) -> None:
        """Move both clocks forward by `ms` milliseconds."""
        self._now_ms += ms
        self._monotonic_s += ms / 1000
