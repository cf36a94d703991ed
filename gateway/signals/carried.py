"""What a request carries about consent, before any of it is decoded, and what the operator decided about reading it."""

from collections.abc import Mapping

import msgspec

from gateway.event import Signals
from gateway.signals.cmp_reader import Platform
from gateway.signals.gvl import VendorList

__all__ = ["NOTHING_SPECIAL", "Carried", "Known", "StoredChoice"]


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

    `sec_gpc` holds the values of all Sec-GPC headers and what the page's script reported, `dnt` those of all DNT headers.
    `claim_granted`, `claim_denied` and `claim_at_ms` are what the sender of the event says; `claim_trusted` is True when
    the sender is an authenticated backend, whose times can be believed. `signals` came with the event. `cookie` is the
    whole Cookie header as it was sent, one character an octet. `minor` and `sensitive` are what the event says of the
    person; `sensitive_agreed` that the person agreed to that. `opt_in`, `state` (US) and `now_ms` are the visitor's
    regime, place and time, for signals whose meaning depends on them.
    """

    stored: StoredChoice | None = None
    sec_gpc: tuple[str, ...] = ()
    dnt: tuple[str, ...] = ()
    claim: bool = False
    claim_granted: int = 0
    claim_denied: int = 0
    claim_at_ms: int | None = None
    claim_trusted: bool = False
    signals: Signals | None = None
    cookie: str = ""
    minor: bool = False
    sensitive: tuple[str, ...] = ()
    sensitive_agreed: bool = False
    opt_in: bool = True
    state: str | None = None
    now_ms: int = 0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decided about reading signals on one site.

    `platform` is the one consent platform whose cookie and interface are read, with the site's `mapping` of its
    categories, other cookie `names`, and the `notice` a choice must have been made under. `tcf_cookie`: the cookie that
    holds a TC string, None to read none. `lists` are vendor lists by version. `tc_days`: how old a TC string may be.
    `purpose_one_countries`: publisher countries where storage rests on national law. `functional_custom`: the custom
    purpose that means functional. `consent_mode`: `deny` (Google's consent mode may only deny), `source` (it is the
    site's way to tell the choice, and grants too) or `off`. `dnt`: Do Not Track is read where consent comes first.
    """

    platform: Platform | None = None
    mapping: Mapping[str, int] | None = None
    names: Mapping[str, str] = {}
    notice: str | None = None
    tcf_cookie: str | None = None
    lists: Mapping[int, VendorList] = {}
    tc_days: int | None = None
    purpose_one_countries: frozenset[str] = frozenset()
    functional_custom: int | None = None
    consent_mode: str = "deny"
    dnt: bool = False


NOTHING_SPECIAL = Known()
