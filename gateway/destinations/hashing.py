"""Digests as ad platforms take them: SHA-256 over UTF-8, written as 64 lower-case hex characters.

The digest of the empty text is the one that must never leave. It is the same for everybody who left a field empty, so a
platform that receives it joins strangers into one person. `sha256_hex` refuses to make it, and `EMPTY_DIGESTS` lets
callers recognise it when somebody else made it.

Source: Meta, Conversions API, customer information parameters (pages of 2026-09); Google, Data Manager API, formatting
(2026-09-24); FIPS 180-4 for the digest of the empty message.
"""

import hashlib
import re
from typing import Final

__all__ = ["EMPTY_DIGESTS", "EMPTY_MD5", "EMPTY_SHA256", "is_hex", "is_sha256_hex", "sha256_hex"]

EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing."""

EMPTY_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
"""MD5 of nothing. MD5 is never made here, but some platforms still take it from callers who hash themselves."""

EMPTY_DIGESTS: Final = frozenset({EMPTY_SHA256, EMPTY_MD5})

_HEX: Final = re.compile(r"[0-9A-Fa-f]+\Z")
_SHA256_CHARACTERS: Final = 64


def sha256_hex(text: str) -> str:
    """SHA-256 of the UTF-8 bytes of `text` as 64 lower-case hex characters.

    Raises ValueError for the empty text, and UnicodeEncodeError (a ValueError too) for a lone surrogate, which has no
    UTF-8 bytes.
    """
    if not text:
        raise ValueError("an empty text is never hashed")
    return hashlib.sha256(text.encode()).hexdigest()


def is_hex(text: str) -> bool:
    """Whether `text` is one or more ASCII hex characters of either case."""
    return _HEX.match(text) is not None


def is_sha256_hex(text: str) -> bool:
    """Whether `text` looks like a SHA-256 in hex, in either case. Platforms want the lower-case spelling."""
    return len(text) == _SHA256_CHARACTERS and is_hex(text)
