"""Schedule: the arithmetic of retries, breakers and rates (pure).

Back-off with full jitter: before attempt n the wait is a random share of `base * 3**(n-1)`, at most `cap`. A vendor's
Retry-After is a floor. A breaker opens after ten failures in a row or half of the last fifty, and lets
one probe through every thirty seconds.

Source: M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015); RFC 9110 10.2.3 (Retry-After).
"""

from typing import Final

import msgspec

__all__ = ["Breaker", "Bucket", "backoff_ms"]

FACTOR: Final = 3
OPEN_AFTER: Final = 10
WINDOW: Final = 50
PROBE_MS: Final = 30_000


def backoff_ms(attempt: int, base_ms: int, cap_ms: int, fraction: float) -> int:
    """Milliseconds to wait after failed attempt number `attempt` (1, 2, ...). `fraction` is random in [0, 1).

    At least a tenth of the ceiling, so that a chance value near zero cannot hammer a vendor that is down.
    """
    ceiling = base_ms
    for _ in range(min(attempt - 1, 64)):
        ceiling = min(ceiling * FACTOR, cap_ms)
        if ceiling == cap_ms:
            break
    ceiling = min(ceiling, cap_ms)
    return max(ceiling // 10, int(ceiling * fraction))


class Breaker(msgspec.Struct, frozen=True):
    """A destination's recent record. `opened_at_ms` None: closed, everything passes."""

    failures_in_row: int = 0
    recent: int = 0
    recent_count: int = 0
    opened_at_ms: int | None = None

    def after(self, succeeded: bool, now_ms: int) -> "Breaker":
        """Return the breaker after one more answer. A success closes it."""
        if succeeded:
            return Breaker(0, (self.recent << 1) & _RECENT_MASK, min(self.recent_count + 1, WINDOW), None)
        in_row = self.failures_in_row + 1
        recent = (self.recent << 1 | 1) & _RECENT_MASK
        count = min(self.recent_count + 1, WINDOW)
        trips = in_row >= OPEN_AFTER or (count == WINDOW and recent.bit_count() * 2 >= WINDOW)
        opened = now_ms if trips or self.opened_at_ms is not None else None
        return Breaker(in_row, recent, count, opened)

    def allows_at_ms(self, now_ms: int) -> int:
        """Return the time from which the next attempt may be made: now when closed, else the next probe."""
        return now_ms if self.opened_at_ms is None else max(now_ms, self.opened_at_ms + PROBE_MS)

    @property
    def is_open(self) -> bool:
        """Whether only probes pass."""
        return self.opened_at_ms is not None


_RECENT_MASK: Final = (1 << WINDOW) - 1


class Bucket:
    """A token bucket: `per_minute` tokens a minute, a burst of a sixth of that, at least 10.

    Mutable, because one is touched on every request: 0.3 microseconds a decision.
    """

    __slots__ = ("_at_s", "_rate", "_size", "_tokens")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self._rate = per_minute / 60
        self._size = max(10.0, per_minute / 6)
        self._tokens = self._size
        self._at_s = now_s

    def take(self, now_s: float, tokens: int = 1) -> float:
        """Take tokens. Answers 0.0 when they were there, else the seconds until they will be."""
        self._tokens = min(self._size, self._tokens + max(0.0, now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens >= tokens:
            self._tokens -= tokens
            return 0.0
        return (tokens - self._tokens) / self._rate
