"""Callers: who sends something to the gateway, and how far it is believed."""

from typing import Final

import msgspec

__all__ = ["RIGHTS", "TRUSTS", "ApiKey"]

TRUSTS: Final = ("browser", "token", "server", "signed")
"""How far a sender is believed, least first: anybody, the holder of a postback token, an API key, a signed call."""

RIGHTS: Final = ("events", "conversions", "consent")
"""What an API key may be allowed to do."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One API key as it is stored. `sites` and `rights` are what it may be used for; `must_sign` demands signatures."""

    id: str
    secret_sha256: bytes
    title: str
    sites: tuple[str, ...]
    rights: tuple[str, ...]
    must_sign: bool
    created_at_ms: int
    revoked_at_ms: int | None = None
