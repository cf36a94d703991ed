"""Callers: who sends something to the gateway, and how far it is believed."""

from typing import Final

import msgspec

__all__ = ["RIGHTS", "SENDING_RIGHTS", "TRUSTS", "ApiKey"]

TRUSTS: Final = ("browser", "token", "server", "signed")
"""How far a sender is believed, least first: anybody, the holder of a postback token, an API key, a signed call."""

RIGHTS: Final = ("events", "conversions", "consent", "manage", "reports")
"""What an API key may be allowed to do: send events, conversions and choices, change the catalogue and spend, read reports."""

SENDING_RIGHTS: Final = ("events", "conversions", "consent")
"""What a key may do that nobody said anything of: send. Changing the catalogue and reading reports are asked for by name."""


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
