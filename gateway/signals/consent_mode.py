"""Google Consent Mode: what the consent parameters of a Google hit say, and which of it is a choice.

A hit reports four consent types. For each of them the letters tell apart what the *page or the visitor* set (`default`,
`update`) from what Google assumes about silence (`implicit`). Only the first is a choice; an assumption is never read
as consent, and `choices()` is the only way from letters to purposes.

Each parameter stands alone: one that cannot be read is absent and named in `problems`, the others still count. The
letters themselves are read in `consent_mode_letters`, where their source is named.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ADVERTISING, ANALYTICS
from gateway.signals.bits import Unreadable
from gateway.signals.consent_mode_letters import (
    TYPES,
    Gcd,
    Gcs,
    Tcfd,
    decode_gcd,
    decode_gcs,
    decode_tcfd,
    told_gcd,
    told_gcs,
    told_tcfd,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PARAMETERS", "ConsentMode", "choices", "decode", "further_denied", "told"]

PARAMETERS: Final = ("gcs", "gcd", "npa", "dma", "dma_cps", "tcfd", "gcu", "gcut")
"""Query parameters `decode()` reads."""


class ConsentMode(msgspec.Struct, frozen=True, kw_only=True):
    """All consent parameters of one hit. None: the parameter was absent, or could not be read and is in `problems`.

    `npa`: True asks for ads without personalisation. `dma`: the hit falls under the Digital Markets Act. `dma_cps`: True
    when `ad_user_data` may go to Google's core services, assumed or chosen. `changed` (`gcu`): this later hit reports a
    change; `newly_granted` (`gcut`) names the types. `problems` are pairs of parameter and stable code.
    """

    gcs: Gcs | None = None
    gcd: Gcd | None = None
    npa: bool | None = None
    dma: bool | None = None
    dma_cps: bool | None = None
    tcfd: Tcfd | None = None
    changed: bool | None = None
    newly_granted: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


# ------------------------------------------------------------------ reading


def decode(parameters: "Mapping[str, str]") -> ConsentMode:
    """Read the parameters of PARAMETERS from one hit, already percent-decoded; others are ignored.

    Answers a value for every input: a parameter that cannot be read is left out and named in `problems`.
    """
    read: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name in PARAMETERS:
        text = parameters.get(name)
        if text is None:
            continue
        field, reader = _READERS[name]
        value = reader(text)
        if isinstance(value, Unreadable):
            problems.append((name, value.code))
        else:
            read[field] = value
    if not read and not problems:
        return _SILENCE
    return ConsentMode(**read, problems=tuple(problems))


_SILENCE: Final = ConsentMode()


_VALUE: Final = Unreadable("value")


def _flag(text: str) -> bool | Unreadable:
    return text == "1" if text in ("0", "1") else _VALUE


def _core_services(text: str) -> bool | Unreadable:
    """`-` is denied; anything else lists core services by letter, and that is a yes whichever they are."""
    if text == "-":
        return False
    if not 1 <= len(text) <= 16 or not text.isascii() or not text.isalpha() or not text.islower():
        return _VALUE
    return True


def _newly_granted(text: str) -> tuple[str, ...] | Unreadable:
    """Types by number, joined by dots: `3`, `1.2.3.4`."""
    numbers = text.split(".") if len(text) <= 7 else [text]
    if any(number not in ("1", "2", "3", "4") for number in numbers):
        return _VALUE
    return tuple(tuple(TYPES)[int(number) - 1] for number in numbers)


_READERS: Final[dict[str, "tuple[str, Callable[[str], object]]"]] = {
    "gcs": ("gcs", decode_gcs),
    "gcd": ("gcd", decode_gcd),
    "npa": ("npa", _flag),
    "dma": ("dma", _flag),
    "dma_cps": ("dma_cps", _core_services),
    "tcfd": ("tcfd", decode_tcfd),
    "gcu": ("changed", _flag),
    "gcut": ("newly_granted", _newly_granted),
}


# ------------------------------------------------------------------ meaning


def choices(mode: ConsentMode) -> tuple[int, int]:
    """Purposes the page or the visitor granted and denied, as sets of `gateway.purposes`.

    A grant needs a letter that sets `default` or `update` (m n p q r t u v and the same with a declaration), a state in
    force that agrees, and no `gcs` that says otherwise. A denial needs one of the three. What is assumed for the region
    is in neither set. A hit that left before the TCF consent platform answered grants nothing. Without a readable `gcd`,
    `gcs` speaks for its two types.
    """
    short = (mode.gcs.ad_storage, mode.gcs.analytics_storage) if mode.gcs is not None else (None, None)
    granted = denied = 0
    if mode.gcd is None:
        for purpose, said in zip((ADVERTISING, ANALYTICS), short, strict=True):
            if said is not None:
                granted, denied = (granted | purpose, denied) if said else (granted, denied | purpose)
    else:
        for purpose, signal, state, said in zip(
            TYPES.values(), mode.gcd.signals, mode.gcd.state, (*short, None, None), strict=True
        ):
            # gcs writes 0 for a denial that is only assumed as well; that one is no contradiction and no choice.
            contradicted = said is False and state != "denied-implicit"
            if state == "denied" or signal.set_by_page is False or contradicted:
                denied |= purpose
            elif state == "granted" and signal.set_by_page:
                granted |= purpose
    if mode.tcfd is not None and mode.tcfd.before_answer:
        granted = 0
    return granted, denied


def further_denied(mode: ConsentMode) -> int:
    """Purposes that the parameters beside the letters deny, as a set. Nothing here ever grants.

    Personalisation: the page set `allow_ad_personalization_signals` to false, Google saw Global Privacy Control, or
    `npa=1` has no other explanation than these. User data: `dma_cps=-`. A denial that `gcd` shows to be only assumed
    for the region is left to the rules of the place.
    """
    denied = 0
    gcd = mode.gcd
    assumed = dict(zip(TYPES.values(), gcd.state, strict=True)) if gcd is not None else {}
    if gcd is not None and gcd.personalization == "false":
        denied |= AD_PERSONALIZATION
    if gcd is not None and gcd.gpc:
        denied |= AD_USER_DATA | AD_PERSONALIZATION
    if mode.npa and assumed.get(AD_PERSONALIZATION) != "denied-implicit":
        denied |= AD_PERSONALIZATION
    if mode.dma_cps is False and assumed.get(AD_USER_DATA) != "denied-implicit":
        denied |= AD_USER_DATA
    return denied


# ------------------------------------------------------------------ telling


def told(mode: ConsentMode | Unreadable) -> dict[str, object]:
    """What was read, for people. `{"error": code}` when parameters were there and none of them could be read."""
    if isinstance(mode, Unreadable):
        return {"error": mode.code}
    out: dict[str, object] = {}
    if mode.gcd is not None:
        out |= told_gcd(mode.gcd)
    if mode.gcs is not None:
        # Beside gcd, which has its own say about the same two types, it stands apart: they may differ.
        out |= told_gcs(mode.gcs) if mode.gcd is None else {"gcs": told_gcs(mode.gcs)}
    if mode.tcfd is not None:
        out["tcfd"] = told_tcfd(mode.tcfd)
    for name, value in (("npa", mode.npa), ("dma", mode.dma), ("dma_cps", mode.dma_cps), ("gcu", mode.changed)):
        if value is not None:
            out[name] = value
    if mode.newly_granted:
        out["gcut"] = list(mode.newly_granted)
    if mode.problems and not out:
        return {"error": mode.problems[0][1]}
    if mode.problems:
        out["problems"] = dict(mode.problems)
    return out
