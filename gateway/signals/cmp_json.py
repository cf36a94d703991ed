"""Consent platforms whose cookies are JSON: percent-encoded, raw, or in base64.

Each function reads one platform and knows its own marks of a choice. A record of another shape is unreadable as a whole:
half a record is never used.

Sources: pages run with the real packages (vanilla-cookieconsent 3.1.0, Klaro 0.7.22), vendor documentation and source
code (iubenda, Axeptio, Didomi, Shopify).
"""

from typing import TYPE_CHECKING, Final

from gateway.purposes import SALE_OR_SHARING, TARGETED_ADVERTISING
from gateway.signals.bits import Broken
from gateway.signals.cmp_reader import (
    Choice,
    Found,
    either,
    flags_in,
    from_base64,
    iso_ms,
    json_object,
    object_in,
    record_of,
    texts_in,
    unescaped,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.signals.cmp_reader import Jar

__all__ = [
    "read_axeptio",
    "read_didomi",
    "read_iubenda",
    "read_klaro",
    "read_shopify",
    "read_vanilla",
]

_NOTHING: Final = Found(choice=Choice.NONE)
_REVISION_MAX: Final = 2**53


def read_vanilla(jar: "Jar") -> Found:
    """`categories` and `services` list what was accepted. Nothing is written before a choice, in opt-out mode neither."""
    record = record_of(jar, "cc_cookie")
    if record is None:
        return _NOTHING
    accepted = texts_in(record.get("categories"))
    services = {category: texts_in(names) for category, names in object_in(record.get("services", {})).items()}
    raw: dict[str, object] = {"categories": accepted, "services": services}
    revision = record.get("revision")
    if revision is not None:
        if type(revision) is not int or not 0 <= revision < _REVISION_MAX:
            raise Broken("shape")
        raw["revision"] = revision
    if isinstance(record.get("consentId"), str):
        raw["consentId"] = record["consentId"]
    return Found(
        choice=Choice.EXPLICIT,
        raw=raw,
        values={**dict.fromkeys(services, False), **dict.fromkeys(accepted, True)},
        only_granted=True,
        services={name: True for names in services.values() for name in names},
        time_ms=iso_ms(record.get("lastConsentTimestamp")) or iso_ms(record.get("consentTimestamp")),
        notice=None if revision is None else str(revision),
    )


def read_klaro(jar: "Jar") -> Found:
    """`{service: bool}`. Nothing is written before a choice. No categories inside: services are mapped one by one.

    Without its setting `acceptAll` the green button stores the defaults, all false: a grant that never comes.
    """
    record = record_of(jar, "klaro")
    if record is None:
        return _NOTHING
    values = flags_in(record)
    return Found(choice=Choice.EXPLICIT, raw=values, values=values, services=values)


def read_iubenda(jar: "Jar") -> Found:
    """`purposes` by number, or one `consent` for all of them. The record `-uspr` holds opt-outs of US states.

    The site id is part of the name: `_iub_cs-12345678`. Records of several sites and no configured name: no choice.
    """
    cookies = jar.starting("_iub_cs-")
    sites = [rest for rest in cookies if rest.isascii() and rest.isdigit()]
    site = "" if "" in cookies else sites[0] if len(sites) == 1 else None
    opted_out = 0
    for rest, value in cookies.items():
        if rest.endswith("-uspr"):
            opted_out |= _us_opt_outs(json_object(unescaped(value)))
    if site is None:
        return Found(choice=Choice.EXPLICIT if opted_out else Choice.NONE, opted_out=opted_out)
    record = json_object(unescaped(cookies[site]))
    consent = record.get("consent")
    purposes = record.get("purposes")
    if consent is not None and not isinstance(consent, bool):
        raise Broken("shape")
    raw: dict[str, object]
    if purposes is not None:
        values = flags_in(object_in(purposes))
        raw = {"purposes": values}
        whole = False if consent is False else None
    elif consent is not None:
        values, raw, whole = {}, {"consent": consent}, consent
    else:
        raise Broken("shape")
    return Found(
        choice=Choice.EXPLICIT,
        raw=raw,
        values=values,
        whole=whole,
        time_ms=iso_ms(record.get("timestamp")),
        opted_out=opted_out,
    )


def _us_opt_outs(record: "Mapping[str, object]") -> int:
    """`s` sale, `sh` sharing, `adv` targeted advertising: false is an opt-out."""
    sold = SALE_OR_SHARING if record.get("s") is False or record.get("sh") is False else 0
    return sold | (TARGETED_ADVERTISING if record.get("adv") is False else 0)


def read_axeptio(jar: "Jar") -> Found:
    """`{vendor: bool}`; keys that begin with `$$` are facts about the record, `$$completed` marks an answered form."""
    record = record_of(jar, "axeptio_cookies")
    if record is None:
        return _NOTHING
    values: dict[str, bool | None] = {}
    for key, value in record.items():
        if not key.startswith("$$"):
            values[key] = value if isinstance(value, bool) else None
    vendors = {key: value for key, value in values.items() if value is not None}
    completed = record.get("$$completed") is True
    version = record.get("$$cookiesVersion")
    notice = version.get("identifier") if isinstance(version, dict) else None
    return Found(
        choice=Choice.EXPLICIT if completed else Choice.NONE,
        raw={"vendors": vendors},
        values=values,
        services=values if completed else None,
        invalid=tuple(key for key in values if key not in vendors),
        time_ms=iso_ms(record.get("$$date")),
        notice=notice if isinstance(notice, str) else None,
    )


def read_didomi(jar: "Jar") -> Found:
    """Base64 of JSON with lists of purposes, enabled and disabled.

    `cookies` is the purpose that allows storing at all: unless it is enabled, nothing that stores is allowed. The newer
    binary cookie `didomi_dcs` is not described anywhere; alone it is unreadable.
    """
    text = jar.text("didomi_token")
    if text is None:
        if jar.raw("didomi_dcs") is not None:
            raise Broken("unknown_format")
        return _NOTHING
    record = json_object(from_base64(text))
    purposes = object_in(record.get("purposes"))
    enabled, disabled = texts_in(purposes.get("enabled")), texts_in(purposes.get("disabled"))
    values = {"cookies": False, **dict.fromkeys(enabled, True), **dict.fromkeys(disabled, False)}
    return Found(
        choice=Choice.EXPLICIT,
        raw={"enabled": enabled, "disabled": disabled},
        values=values,
        time_ms=iso_ms(record.get("updated")) or iso_ms(record.get("created")),
    )


def read_shopify(jar: "Jar") -> Found:
    """`con.CMP` with a letter per category, `1`, `0` or empty for not chosen; `s` is the sale of data.

    Shopify stopped writing this cookie on 2025-09-15. Its `purposes` object and the cookie `_cmp_a` hold the effective
    default, which is no choice.
    """
    record = record_of(jar, "_tracking_consent")
    if record is None:
        return _NOTHING
    letters = object_in(object_in(record.get("con")).get("CMP"))
    raw: dict[str, object] = {key: letters[key] for key in ("a", "m", "p", "s") if key in letters}
    if any(letter not in ("1", "0", "") for letter in raw.values()):
        raise Broken("shape")
    return Found(
        choice=Choice.EXPLICIT if any(raw.values()) else Choice.NONE,
        raw=raw,
        values={key: either(letter, "1", "0") for key, letter in raw.items() if key != "s"},
        opted_out=SALE_OR_SHARING if raw.get("s") == "0" else 0,
    )
