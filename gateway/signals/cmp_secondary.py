"""Consent platforms whose cookies are known from secondary sources only: readers and captures in public code.

No vendor document describes these formats, so a mark of the visitor's action must be plain; where it is not, the choice
counts as implied, which can deny and never grants.

Sources: readers of these cookies in public repositories (ryanbr/consent-rr, README and scripts, 2026) and captured values.
"""

import re
from typing import TYPE_CHECKING, Final

from gateway.purposes import SALE_OR_SHARING
from gateway.signals.bits import Broken
from gateway.signals.cmp_reader import (
    Choice,
    Found,
    either,
    epoch_ms,
    from_base64,
    iso_ms,
    json_object,
    object_in,
    record_of,
    texts_in,
    undecided,
)

if TYPE_CHECKING:
    from gateway.signals.cmp_reader import Jar

__all__ = ["read_civic", "read_cookiescript", "read_osano", "read_securiti", "read_transcend", "read_trustarc"]

_NOTHING: Final = Found(choice=Choice.NONE)


def read_trustarc(jar: "Jar") -> Found:
    """Levels that are permitted; a level that is not listed is refused.

    `cmapi_cookie_privacy` counts from 1, `notice_gdpr_prefs` from 0, `notice_preferences` names the highest from 0. Where
    several are there, only what all of them permit is. No vendor document was found: only `notice_behavior=expressed`
    makes it explicit, under any other behaviour the same cookies may be defaults.
    """
    lists: list[list[int]] = []
    for name, pattern, first in _TRUSTARC:
        text = jar.text(name)
        if text is None:
            continue
        match = pattern.fullmatch(text)
        if match is None:
            raise Broken("shape")
        levels = {int(number) - first for number in match[1] if number.isdigit()}
        lists.append(sorted(levels) if name != "notice_preferences" else list(range(max(levels) + 1)))
    if not lists:
        return _NOTHING
    permitted = [str(level + 1) for level in lists[0] if all(level in other for other in lists[1:])]
    behaviour = jar.text("notice_behavior") or ""
    return Found(
        choice=Choice.EXPLICIT if behaviour.partition(",")[0] == "expressed" else Choice.IMPLIED,
        raw={"permitted": permitted},
        values=dict.fromkeys(permitted, True),
        only_granted=True,
    )


_TRUSTARC: Final = (
    ("cmapi_cookie_privacy", re.compile(r"permit[ _]([1-9](?:[,|][1-9])*)(?: required)?"), 1),
    ("notice_gdpr_prefs", re.compile(r"([0-9](?:,[0-9])*):?"), 0),
    ("notice_preferences", re.compile(r"([0-9]):?"), 0),
)
"""Cookie, its form, and the number its first level has."""


def read_osano(jar: "Jar") -> Found:
    """The page script encrypts this cookie; plain JSON is accepted as the vendor's own reader accepts it.

    `{"consent": {category: ACCEPT|DENY}, "consentTimestamp": ms}`. The time of saving is its only mark of an action.
    `OPT_OUT: ACCEPT` is an opt-out from sale.
    """
    text = jar.text("osano_consentmanager")
    if text is None:
        return _NOTHING
    if not text.startswith("{"):
        raise Broken("encrypted")
    record = json_object(text)
    raw = {key: value for key, value in object_in(record.get("consent", record)).items() if key in _OSANO}
    if not raw:
        raise Broken("shape")
    saved_ms = epoch_ms(record.get("consentTimestamp"))
    values = {key: either(value, "ACCEPT", "DENY") for key, value in raw.items() if key != "OPT_OUT"}
    return Found(
        choice=Choice.IMPLIED if saved_ms is None else Choice.EXPLICIT,
        raw=raw,
        values=values,
        invalid=undecided(values),
        time_ms=saved_ms,
        opted_out=SALE_OR_SHARING if raw.get("OPT_OUT") == "ACCEPT" else 0,
    )


_OSANO: Final = frozenset({"ESSENTIAL", "STORAGE", "MARKETING", "PERSONALIZATION", "ANALYTICS", "OPT_OUT"})


def read_civic(jar: "Jar") -> Found:
    """`optionalCookies` with `accepted` or `revoked` per category of the site; `interactedWith` marks an action."""
    record = record_of(jar, "CookieControl")
    if record is None:
        return _NOTHING
    optional = object_in(record.get("optionalCookies"))
    values = {key: either(value, "accepted", "revoked") for key, value in optional.items()}
    return Found(
        choice=Choice.EXPLICIT if record.get("interactedWith") is True else Choice.NONE,
        raw={"optionalCookies": optional},
        values=values,
        invalid=undecided(values),
        time_ms=epoch_ms(record.get("consentDate")),
    )


def read_transcend(jar: "Jar") -> Found:
    """`purposes` with true or false, or a word for "as the rules of the place say"; `confirmed` marks an action."""
    record = record_of(jar, "tcm")
    if record is None:
        return _NOTHING
    purposes = object_in(record.get("purposes"))
    confirmed = record.get("confirmed") is True
    return Found(
        choice=Choice.EXPLICIT if confirmed else Choice.NONE,
        raw={"purposes": purposes},
        values={key: value if isinstance(value, bool) else None for key, value in purposes.items()},
        time_ms=iso_ms(record.get("timestamp")),
        opted_out=SALE_OR_SHARING if confirmed and purposes.get("SaleOfInfo") is False else 0,
    )


def read_securiti(jar: "Jar") -> Found:
    """`consents` with 1 or 0 per category number of the site, in some installations as base64.

    A second cookie says that nobody acted, and `implicit_consent` that silence was counted as consent.
    """
    text = jar.text("__privaci_cookie_consents")
    if text is None:
        return _NOTHING
    record = json_object(text if text.startswith("{") else from_base64(text))
    consents = object_in(record.get("consents"))
    values = {key: bool(value) if value in (0, 1) else None for key, value in consents.items()}
    choice = Choice.IMPLIED if record.get("implicit_consent") is True else Choice.EXPLICIT
    return Found(
        choice=Choice.NONE if jar.raw("__privaci_cookie_no_action") is not None else choice,
        raw={"consents": consents},
        values=values,
        invalid=undecided(values),
        time_ms=epoch_ms(record.get("ts"), unit_ms=1000),
        gpc=record.get("gpcInBrowserOnConsent") is True,
    )


def read_cookiescript(jar: "Jar") -> Found:
    """`action` and the `categories` that were accepted, a list or a text that holds one. Closing the notice is no choice."""
    record = record_of(jar, "CookieScriptConsent")
    if record is None:
        return _NOTHING
    action, listed = record.get("action"), record.get("categories", [])
    if isinstance(listed, str):
        listed = json_object('{"categories":' + listed + "}").get("categories")
    categories = texts_in(listed)
    if action not in ("accept", "reject"):
        return Found(choice=Choice.NONE, raw={"action": action, "categories": categories})
    return Found(
        choice=Choice.EXPLICIT,
        raw={"action": action, "categories": categories},
        values=dict.fromkeys(categories, True) if action == "accept" else {},
        only_granted=True,
        time_ms=epoch_ms(record.get("consenttime"), unit_ms=1000),
    )
