"""Codes of links and clicks: how they look, how they are made from random bytes, and how they are looked up (pure).

* A **slug** names a link in its address: 1 to 64 of `a-z 0-9 - _`. It is looked up folded to lower case, so that a slug
  read aloud, typed on a phone or printed in capitals leads to the same place.
* A **random slug** is 8 characters of 32: digits and lower-case letters without 0, 1, l and o. Each carries 5 bits, 40
  together, and none is lost by folding. Mixed case would look like more and be less: once folded, letters come twice as
  often as digits, which leaves 38.5 bits against guessing. With 10,000 links, 10,000 guesses a minute find one in 7.6
  days on average, so a limit on guesses has to stand in front. Twice the bytes make 16 characters and 80 bits, for
  links whose target is nobody else's business.
* A **click id** is 128 random bits in 22 characters of base62. It is issued for clicks of people only.

Source: OWASP ASVS 5.0 11.5.1 (128 bits where guessing matters).
"""

import re
from typing import Final

from gateway.errors import Refusal

__all__ = [
    "CLICK_ID_BYTES",
    "CLICK_PARAMETER",
    "CODE_PARAMETER",
    "RESERVED_SLUGS",
    "SLUG_BYTES",
    "check_slug",
    "click_id",
    "fold_slug",
    "is_click_id",
    "random_slug",
]

SLUG_BYTES: Final = 5
"""Random bytes of the usual slug: 40 bits."""
CLICK_ID_BYTES: Final = 16

CLICK_PARAMETER: Final = "cid"
"""Query parameter that carries our click id to the landing page, unless the site names another."""
CODE_PARAMETER: Final = "lid"
"""Query parameter that carries the slug of the link to the landing page."""

RESERVED_SLUGS: Final = frozenset(
    "api audit collect consent gw gw-bridge l link p privacy "
    "admin healthz login logout metrics openapi readyz "
    "array batch capture count e flags g i matomo mp piwik r s t tr v1".split()
)
"""First words of the gateway's own paths and of the dialects it speaks: a link of that name could never be opened.

Names with a dot (`gw.js`, `anything.php`) are no slugs at all, because a dot is none of their characters.
"""

_SLUG_LETTERS: Final = "23456789abcdefghijkmnpqrstuvwxyz"
_SLUG: Final = re.compile(r"[a-z0-9_-]{1,64}\Z")

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""In the order of ASCII, so that ids of one length compare as the numbers they write."""
_PAIRS: Final = tuple([one + other for one in _BASE62 for other in _BASE62])
"""Two digits at a time: every click has an id, and dividing a number of 128 bits is what writing it costs."""
_CLICK_ID: Final = re.compile(r"[0-9A-Za-z]{22}\Z")


def random_slug(random_bytes: bytes) -> str:
    """Write random bytes as a slug: 8 characters for each 5 bytes, 5 bits each. Raises ValueError for other lengths."""
    count = len(random_bytes)
    if count == 0 or count % SLUG_BYTES or count > 8 * SLUG_BYTES:
        raise ValueError("a random slug takes 5, 10 .. 40 random bytes")
    number = int.from_bytes(random_bytes)
    return "".join([_SLUG_LETTERS[number >> shift & 31] for shift in range(8 * count - 5, -1, -5)])


def fold_slug(text: str) -> str | None:
    """Return a slug as it is looked up, in lower case, or None for what cannot be one.

    It must be ASCII before it is lowered: the Kelvin sign becomes a k, and one link would answer for another.
    """
    if not text.isascii():
        return None
    folded = text.lower()
    return folded if _SLUG.match(folded) is not None else None


def check_slug(text: str, field: str = "slug") -> str:
    """Return a chosen slug folded to lower case. Refuses `field_invalid`: no slug, or a reserved word."""
    folded = fold_slug(text)
    if folded is None or folded in RESERVED_SLUGS:
        raise Refusal("field_invalid", field)
    return folded


def click_id(random_bytes: bytes) -> str:
    """Write exactly 16 random bytes as 22 characters of base62. Raises ValueError for other lengths."""
    if len(random_bytes) != CLICK_ID_BYTES:
        raise ValueError("a click id takes exactly 16 random bytes")
    number = int.from_bytes(random_bytes)
    pairs = []
    for _ in range(11):
        number, pair = divmod(number, 3_844)
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs)


_LARGEST: Final = click_id(b"\xff" * CLICK_ID_BYTES)


def is_click_id(text: str) -> bool:
    """Whether a text can be a click id of ours: 22 characters of base62 that write at most 128 bits."""
    return _CLICK_ID.match(text) is not None and text <= _LARGEST
