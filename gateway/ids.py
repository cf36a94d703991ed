"""Identifiers: how they look and how they are made from time and random bytes.

* An **event id** made here sorts by time (48 bits of milliseconds, then 80 random bits, 26 characters of Crockford's
  base 32, the ULID layout), so that a growing index is written at its end. Ids made by callers may look different:
  any 8 to 64 characters of `[A-Za-z0-9._:-]`.
* A **random id** is 128 random bits as 22 characters of base64url: first-party visitor ids, receipt numbers, nonces.

Source: ULID specification (github ulid/spec, read 2026-11); OWASP ASVS 5.0 11.5.1 asks for 128 bits where guessing matters.
"""

import base64
import re
from typing import Final

__all__ = [
    "EVENT_ID_BYTES",
    "RANDOM_ID_BYTES",
    "event_id",
    "event_id_time_ms",
    "is_caller_id",
    "is_random_id",
    "random_id",
]

EVENT_ID_BYTES: Final = 10
RANDOM_ID_BYTES: Final = 16

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_CALLER_ID: Final = re.compile(r"[A-Za-z0-9._:-]{8,64}\Z")
_RANDOM_ID: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]\Z")
_EVENT_ID: Final = re.compile(rf"[0-7][{_ALPHABET}]{{25}}\Z")


def event_id(now_ms: int, random_bytes: bytes) -> str:
    """Make a 26-character event id that sorts by `now_ms` (0 .. 2**48-1). `random_bytes` holds exactly 10 bytes."""
    if len(random_bytes) != EVENT_ID_BYTES:
        raise ValueError("an event id takes exactly 10 random bytes")
    number = (now_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(random_bytes)
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def event_id_time_ms(text: str) -> int | None:
    """Milliseconds written into an id of our own making, or None when `text` is not one."""
    if _EVENT_ID.match(text) is None:
        return None
    number = 0
    for character in text[:10]:
        number = number << 5 | _ALPHABET.index(character)
    return number


def is_caller_id(text: str) -> bool:
    """Whether a caller may use `text` as an event id or key: 8 to 64 characters of `[A-Za-z0-9._:-]`."""
    return _CALLER_ID.match(text) is not None


def random_id(random_bytes: bytes) -> str:
    """Write 16 random bytes as 22 characters of base64url without padding."""
    if len(random_bytes) != RANDOM_ID_BYTES:
        raise ValueError("a random id takes exactly 16 random bytes")
    return base64.urlsafe_b64encode(random_bytes)[:22].decode("ascii")


def is_random_id(text: str) -> bool:
    """Whether `text` is 16 bytes of base64url in its one canonical spelling."""
    return _RANDOM_ID.match(text) is not None
