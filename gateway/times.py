"""Times as values: units, days, texts. Nothing here knows what time it is."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["DAY_MS", "HOUR_MS", "MINUTE_MS", "SECOND_MS", "day_of", "utc_text", "year_of"]

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


def day_of(at_ms: int) -> int:
    """Number of whole UTC days since 1970-01-01 at the time `at_ms`."""
    return at_ms // DAY_MS


def utc_text(at_ms: int) -> str:
    """RFC 3339 text in UTC with milliseconds, such as `2026-01-01T00:00:00.123Z`.

    Years outside 1..9999 cannot be written in this form and raise OverflowError or ValueError.
    """
    seconds, ms = divmod(at_ms, 1000)
    # isoformat() writes every year with four digits; strftime("%Y") does not on Linux.
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:19] + f".{ms:03d}Z"


def year_of(at_ms: int) -> int:
    """Calendar year in UTC at the time `at_ms`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).year
