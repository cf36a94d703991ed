"""Every signal the gateway reads, and to whom each of them speaks. A new one is a module and a few lines here.

`hear_cookie()` decodes the Cookie header once for all events of a request, `hear()` what one event carries. `read()` then
answers the statements that speak to one audience: the site itself and most destinations hear the same; a destination in
the IAB vendor list hears the TC string, a Google destination hears Google's consent mode. Input that cannot be read is
absent and noted, never an error and never a yes.
"""

from functools import lru_cache
from typing import Final

import msgspec

from gateway.event import Signals
from gateway.purposes import (
    ADVERTISING_PURPOSES,
    ALIASES,
    ALL_PURPOSES,
    EVERYBODY,
    NECESSARY,
    SALE_OR_SHARING,
    SENSITIVE_DATA,
    TARGETED_ADVERTISING,
    Audience,
    Regime,
    Statement,
    Step,
)
from gateway.signals import ac, cmp, consent_mode, dnt, gpc, gpp, gvl, own, tcf, us_choices, usp, vendors
from gateway.signals.bits import Unreadable
from gateway.signals.carried import NOTHING_SPECIAL, Carried, Known
from gateway.signals.cmp_platforms import platform as platform_named

__all__ = ["NOTHING", "CookieHeard", "Heard", "hear", "hear_cookie", "is_simple", "read"]

_KEPT_MAX: Final = 2_048
"""Characters of a string whose decoding is kept for the next request. Longer ones are rare, and read anew each time."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What was decoded from one request.

    `strings` are the TC strings that count: the newest, several when they are of the same day; none where the TCF does
    not apply. `us` is what the GPP string and the US Privacy string say, each with its name. `platform` is what the site's
    consent platform reports, by cookie and by its interface: name of the signal, set granted, set denied, time.
    `mode_granted` and `mode_denied` come from Google's consent mode. `noted` are codes of what could not be read.
    """

    strings: tuple[tcf.TcString, ...] = ()
    ac: "ac.AdditionalConsent | Unreadable | None" = None
    us: tuple[tuple[str, us_choices.UsChoices], ...] = ()
    platform: tuple[tuple[str, int, int, int | None], ...] = ()
    platform_opted_out: int = 0
    mode_granted: int = 0
    mode_denied: int = 0
    noted: tuple[str, ...] = ()

    @property
    def speaks_to_some(self) -> bool:
        """Whether anything heard speaks to some destinations only."""
        return bool(self.strings or self.mode_granted or self.mode_denied)


class CookieHeard(msgspec.Struct, frozen=True):
    """What the Cookie header of one request says: TC strings, the platform's reading, codes of what could not be read."""

    strings: tuple[tcf.TcString, ...] = ()
    platform: "cmp.CmpReading | Unreadable | None" = None
    noted: tuple[str, ...] = ()


NOTHING: Final = Heard()
"""What was heard when nothing had to be decoded."""


def is_simple(carried: Carried, known: Known) -> bool:
    """Whether nothing has to be decoded: the common case, which costs nothing."""
    return carried.signals is None and (
        not carried.cookie
        or (known.platform is None and (known.tcf_cookie is None or known.tcf_cookie not in carried.cookie))
    )


# ------------------------------------------------------------------ hearing


@lru_cache(maxsize=256)
def _kept_tcf(text: str) -> tcf.TcString | Unreadable:
    return tcf.decode(text)


@lru_cache(maxsize=256)
def _kept_gpp(text: str) -> gpp.Gpp | Unreadable:
    return gpp.decode(text)


def _tcf(text: str) -> tcf.TcString | Unreadable:
    return _kept_tcf(text) if len(text) <= _KEPT_MAX else tcf.decode(text)


def _gpp(text: str) -> gpp.Gpp | Unreadable:
    return _kept_gpp(text) if len(text) <= _KEPT_MAX else gpp.decode(text)


def hear_cookie(cookie: str, known: Known) -> CookieHeard:
    """Decode what the Cookie header says, one character an octet. It says the same for every event of a request."""
    noted: list[str] = []
    strings: list[tcf.TcString] = []
    if known.tcf_cookie is not None and known.tcf_cookie in cookie:
        if len(cookie) > cmp.HEADER_MAX:
            noted.append("tcf_header_too_long")
        else:
            strings = _decoded(cmp.cookie_texts(cookie, known.tcf_cookie), noted)
    platform = None
    if known.platform is not None and cookie:
        platform = cmp.read(cookie, known.platform, known.mapping, names=known.names, notice=known.notice)
    return CookieHeard(tuple(strings), platform, tuple(noted))


def hear(carried: Carried, known: Known, cookie: CookieHeard | None = None) -> Heard:
    """Decode everything one event says about consent. `cookie` is what `hear_cookie()` answered; None decodes it here."""
    if is_simple(carried, known):
        return NOTHING
    if cookie is None:
        cookie = hear_cookie(carried.cookie, known)
    noted: list[str] = []
    signals = carried.signals if carried.signals is not None else _NO_SIGNALS
    found = _heard_gpp(signals, noted)
    strings = _heard_tcf(carried, signals, found, cookie, known, noted)
    more = None
    if strings and signals.ac is not None:
        more = ac.decode(signals.ac)
        if isinstance(more, Unreadable):
            noted.append(f"ac_{more.code}")
    us = _heard_us(carried, signals, found, noted)
    platform, opted_out = _heard_platform(carried, signals, cookie.platform, known, noted)
    granted, denied = _heard_mode(signals, known, noted)
    return Heard(
        strings=strings,
        ac=more,
        us=us,
        platform=platform,
        platform_opted_out=opted_out,
        mode_granted=granted,
        mode_denied=denied,
        noted=tuple(dict.fromkeys(noted)),
    )


_NO_SIGNALS: Final = Signals()


def _heard_gpp(signals: Signals, noted: list[str]) -> gpp.Gpp | None:
    if signals.gpp is None:
        return None
    found = _gpp(signals.gpp)
    if isinstance(found, Unreadable):
        noted.append(f"gpp_{found.code}")
        return None
    noted += [f"gpp_section_{code}" for _, code in found.rejected]
    return found


def _heard_tcf(
    carried: Carried, signals: Signals, found: gpp.Gpp | None, cookie: CookieHeard, known: Known, noted: list[str]
) -> tuple[tcf.TcString, ...]:
    """TC strings of the event, of a GPP string and of the cookie: the newest of them.

    A void string is there and speaks to IAB vendors, to whom it permits nothing; it takes no word away from one that is
    older and not void.
    """
    if signals.gdpr is not True and not carried.opt_in:
        return ()
    decoded = [] if signals.tcf is None else _decoded([signals.tcf], noted)
    decoded += cookie.strings
    noted += cookie.noted
    if found is not None and found.tcf is not None:
        decoded.append(found.tcf)
    valid, void = [], []
    for made in decoded:
        fine, why = tcf.usable(made, carried.now_ms, known.tc_days)
        if fine:
            valid.append(made)
            continue
        noted.append(f"tcf_{why}")
        if why not in _ABSENT:
            void.append(made)
    valid = tcf.newest(valid)
    if void:
        since_ms = valid[0].created_ms if valid else 0
        valid += tcf.newest([made for made in void if made.created_ms >= since_ms])
    return tuple(dict.fromkeys(valid))


_ABSENT: Final = frozenset({"created_in_future", "expired"})
"""A string that is too old or from the future is absent."""


def _decoded(texts: list[str], noted: list[str]) -> list[tcf.TcString]:
    found = []
    for text in dict.fromkeys(texts):
        made = _tcf(text)
        if isinstance(made, Unreadable):
            noted.append(f"tcf_{made.code}")
        else:
            found.append(made)
    return found


def _heard_us(
    carried: Carried, signals: Signals, found: gpp.Gpp | None, noted: list[str]
) -> tuple[tuple[str, us_choices.UsChoices], ...]:
    said: tuple[tuple[str, us_choices.UsChoices], ...] = ()
    if found is not None:
        said = (("gpp", us_choices.read(found, signals.gpp_sid, carried.state)),)
    if signals.us_privacy is not None:
        made = usp.decode(signals.us_privacy)
        if isinstance(made, Unreadable):
            noted.append(f"us_privacy_{made.code}")
        else:
            said += (("us_privacy", us_choices.read(None, None, carried.state, made)),)
    return said


def _heard_platform(
    carried: Carried, signals: Signals, cookie: "cmp.CmpReading | Unreadable | None", known: Known, noted: list[str]
) -> tuple[tuple[tuple[str, int, int, int | None], ...], int]:
    """What the one platform the site names says: by its cookie, and by its interface if the page asked that."""
    if known.platform is None:
        if signals.categories or signals.choice is not None:
            noted.append("platform_not_configured")
        return (), 0
    said: list[tuple[str, int, int, int | None]] = []
    opted_out = 0
    readings: list[tuple[str, cmp.CmpReading | Unreadable]] = []
    if cookie is not None:
        readings.append(("platform", cookie))
    if signals.categories or signals.choice is not None:
        if signals.platform is not None and platform_named(signals.platform) is not known.platform:
            noted.append("platform_not_configured")
        else:
            told = cmp.from_interface(
                known.platform, signals.choice, signals.categories, known.mapping, time_ms=signals.at_ms
            )
            readings.append(("bridge", told))
    for source, reading in readings:
        if isinstance(reading, Unreadable):
            noted.append(f"platform_{reading.code}")
            continue
        if reading.conflict:
            noted.append("platform_conflict")
            if not carried.opt_in:
                # No choice, but not silence either: one of the two may be a refusal, and silence permits here.
                said.append((source, 0, ALL_PURPOSES & ~NECESSARY, None))
        if reading.unmapped:
            noted.append("platform_unmapped")
        opted_out |= reading.opted_out | (SALE_OR_SHARING | TARGETED_ADVERTISING if reading.gpc else 0)
        granted, denied = cmp.choices(reading)
        if granted or denied:
            said.append((source, granted, denied, reading.time_ms))
    return tuple(said), opted_out


def _heard_mode(signals: Signals, known: Known, noted: list[str]) -> tuple[int, int]:
    if known.consent_mode == "off":
        return 0, 0
    granted = denied = 0
    parameters = {name: text for name, text in (("gcs", signals.gcs), ("gcd", signals.gcd)) if text is not None}
    if parameters:
        mode = consent_mode.decode(parameters)
        noted += [f"consent_mode_{name}_{code}" for name, code in mode.problems]
        granted, denied = consent_mode.choices(mode)
        denied |= consent_mode.further_denied(mode)
    for name, word in signals.google:
        purposes = ALIASES.get(name)
        if purposes is None or name == "marketing":
            noted.append("consent_mode_type")
        elif word == "granted":
            granted |= purposes
        else:
            denied |= purposes
    return granted & ~denied, denied


# ------------------------------------------------------------------ reading


def read(
    carried: Carried,
    heard: Heard | None = None,
    known: Known = NOTHING_SPECIAL,
    audience: Audience = EVERYBODY,
) -> list[Statement]:
    """Answer what was said to one audience, a statement for each signal that said something.

    `heard` is what `hear()` answered; None decodes here, for whoever asks once.
    """
    if heard is None:
        heard = hear(carried, known)
    statements: list[Statement] = [*own.from_person(carried), *own.from_receipt(carried), *gpc.from_header(carried)]
    for source, us in heard.us:
        statements += _us(carried, us, source)
    if heard.platform_opted_out:
        statements.append(Statement(Step.OPT_OUT_SIGNAL, "platform", opted_out=heard.platform_opted_out))
    for made in heard.strings:
        statements += _iab(made, heard, known, audience)
    statements += own.from_claim(carried)
    statements += [
        Statement(Step.OWN_CHOICE, source, granted=granted & ~denied, denied=denied, at_ms=at_ms)
        for source, granted, denied, at_ms in heard.platform
    ]
    if audience.google and (heard.mode_granted or heard.mode_denied):
        granted = heard.mode_granted if known.consent_mode == "source" else 0
        if granted or heard.mode_denied:
            statements.append(Statement(Step.CONSENT_MODE, "consent_mode", granted=granted, denied=heard.mode_denied))
    if known.dnt and carried.dnt and carried.opt_in:
        agreed = 0
        for statement in statements:
            agreed |= statement.granted
        refused = dnt.refused(carried.dnt, Regime.OPT_IN, agreed)
        if refused:
            statements.append(Statement(Step.OPT_OUT_SIGNAL, "dnt", denied=refused))
    return statements


def _us(carried: Carried, us: us_choices.UsChoices, source: str) -> list[Statement]:
    statements = []
    if us.minor:
        statements.append(Statement(Step.BLOCKED, "gpp_minor", denied=ADVERTISING_PURPOSES))
    if carried.sensitive and not us.sensitive_allowed.issuperset(carried.sensitive):
        refused = us.opted_out & SENSITIVE_DATA or not us.sensitive_denied.isdisjoint(carried.sensitive)
        if refused:
            statements.append(Statement(Step.BLOCKED, "gpp_sensitive", denied=ADVERTISING_PURPOSES))
    # Whoever acts as a service provider only may neither sell nor share: for that the vendor's restricted mode is made.
    opted_out = us.opted_out | (SALE_OR_SHARING if us.service_provider_only else 0)
    if opted_out:
        statements.append(Statement(Step.OPT_OUT_SIGNAL, source, opted_out=opted_out))
    return statements


def _iab(made: tcf.TcString, heard: Heard, known: Known, audience: Audience) -> list[Statement]:
    """What a TC string says to a vendor of the list, to a provider outside of it, or to the site itself."""
    source = "tcf"
    if audience.tcf_vendor is not None:
        row = gvl.row_for(known.lists, made.vendor_list_version, audience.tcf_vendor)
        if isinstance(row, Unreadable):
            source = "tcf_no_list"
        granted, denied = vendors.purposes_for_vendor(made, row, known.purpose_one_countries)
    elif audience.ac_provider is not None:
        source = "ac"
        granted, denied = vendors.purposes_for_provider(
            made, heard.ac, audience.ac_provider, known.purpose_one_countries
        )
    else:
        granted, denied = vendors.purposes_for_publisher(made, known.functional_custom)
    if not granted and not denied:
        return []
    return [Statement(Step.IAB_STRING, source, granted=granted, denied=denied, at_ms=made.created_ms)]
