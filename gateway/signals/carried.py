"""What a request carries about consent, before any of it is decoded."""

import msgspec

__all__ = ["Carried", "StoredChoice"]


class StoredChoice(msgspec.Struct, frozen=True):
    """A choice this gateway recorded earlier, read from a verified receipt cookie or, for server calls, from the store.

    Sets as in `purposes`. `current` is False when a grant no longer counts: too old, or given under another notice.
    """

    granted: int
    denied: int
    at_ms: int
    current: bool


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about consent on one request.

    `sec_gpc` holds the values of all Sec-GPC headers and what the page's script reported. `claim_granted`,
    `claim_denied` and `claim_at_ms` are what the sender of the event says; `claim_trusted` is True when the sender is an
    authenticated backend, whose times can be believed.
    """

    stored: StoredChoice | None = None
    sec_gpc: tuple[str, ...] = ()
    claim: bool = False
    claim_granted: int = 0
    claim_denied: int = 0
    claim_at_ms: int | None = None
    claim_trusted: bool = False
