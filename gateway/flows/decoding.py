"""Decoding for people: what a consent string, a hit's parameters or a cookie header says, in plain JSON.

Asked with any of `tcf`, `gpp`, `gcs`, `gcd` and the other parameters of Google's consent mode, `ac`, `us_privacy`,
`cookie_header` with `cmp`, `mapping` and `services` (those the site knows of), and for one vendor `tcf` with `vendor` (a
row of the vendor list) and `query`. Answers one key a signal; what cannot be decoded is `{"error": code}`. Decoded is not
usable: `usable` and `why` say so.

`cmp` names the consent platform, as a site's settings do. Without it, or with `several`, the names of the cookies tell
which platform they are of, for the person who asks; a running gateway never guesses. Of one platform the cookies are read;
of several none is, because two platforms are never merged: no purpose is granted or denied then, and `platforms` beside
`cmp` names them.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.errors import Refusal
from gateway.signals import ac, cmp, consent_mode, gpp, gvl, tcf, usp, vendors
from gateway.signals.bits import Unreadable
from gateway.signals.cmp_platforms import PLATFORMS, platform

__all__ = ["FIELDS", "SEVERAL", "decode_line", "decode_signals"]

FIELDS: Final = (
    "tcf", "gpp", "us_privacy", "ac", *consent_mode.PARAMETERS, "cookie_header", "cmp", "mapping", "services", "vendor",
    "query",
)  # fmt: skip
"""What may be asked; anything else is refused by name."""


def decode_signals(asked: Mapping[str, object], now_ms: int) -> dict[str, object]:
    """Decode everything that is asked. Raises Refusal `field_unknown`, `field_type`, `field_missing`, `field_invalid`."""
    for name in asked:
        if name not in FIELDS:
            raise Refusal("field_unknown", str(name)[:40])
    told: dict[str, object] = {}
    tc = _text(asked, "tcf")
    made = tcf.decode(tc) if tc is not None else None
    if made is not None:
        told["tcf"] = _error(made) if isinstance(made, Unreadable) else {**tcf.told(made), **_usable(made, now_ms)}
    text = _text(asked, "gpp")
    if text is not None:
        found = gpp.decode(text)
        told["gpp"] = _error(found) if isinstance(found, Unreadable) else gpp.told(found)
    text = _text(asked, "us_privacy")
    if text is not None:
        privacy = usp.decode(text)
        told["us_privacy"] = _error(privacy) if isinstance(privacy, Unreadable) else usp.told(privacy)
    text = _text(asked, "ac")
    if text is not None:
        more = ac.decode(text)
        told["ac"] = _error(more) if isinstance(more, Unreadable) else ac.told(more)
    parameters = {name: said for name in consent_mode.PARAMETERS if (said := _text(asked, name)) is not None}
    if parameters:
        told["consent_mode"] = consent_mode.told(consent_mode.decode(parameters))
    if "cookie_header" in asked or "cmp" in asked:
        told |= _platform(asked)
    if "vendor" in asked or "query" in asked:
        told["vendor"] = _vendor(asked, made)
    if not told:
        raise Refusal("field_missing", "tcf")
    return told


def _text(asked: Mapping[str, object], name: str) -> str | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal("field_type", name)
    return value


def _error(unreadable: Unreadable) -> dict[str, object]:
    return {"error": unreadable.code}


def _usable(made: tcf.TcString, now_ms: int) -> dict[str, object]:
    fine, why = tcf.usable(made, now_ms)
    return {"usable": fine, "why": why}


def _platform(asked: Mapping[str, object]) -> dict[str, object]:
    name, header = _text(asked, "cmp"), _text(asked, "cookie_header") or ""
    mapping = asked.get("mapping")
    if mapping is not None and not isinstance(mapping, dict):
        raise Refusal("field_type", "mapping")
    try:
        meaning = cmp.mapping_of(mapping) if mapping is not None else None
    except (ValueError, TypeError):
        raise Refusal("field_invalid", "mapping") from None
    if name is None or name == SEVERAL:
        found = [slug for slug in PLATFORMS if _left_cookies(header, slug)]
        if name is None and not found:
            raise Refusal("field_missing", "cmp")
        if len(found) != 1:
            return {"cmp": _not_merged(header, found), "platforms": found}
        name = found[0]
    known = platform(name)
    if known is None:
        raise Refusal("field_invalid", "cmp")
    return {"cmp": cmp.told(cmp.read_pasted(header, known, meaning, services=_names(asked, "services")))}


SEVERAL: Final = "several"
RULE: Final = "only the CMP named in the site configuration is read; others are ignored"


def _names(asked: Mapping[str, object], field: str) -> tuple[str, ...]:
    value = asked.get(field)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Refusal("field_type", field)
    return tuple(value)


def _left_cookies(header: str, slug: str) -> bool:
    """Whether a cookie of the platform is in the header, under the name it has where nobody changed it."""
    names = PLATFORMS[slug].names
    for part in header.split(";"):
        cookie = part.partition("=")[0].strip(" \t")
        # A name that ends in a hyphen is the beginning of one.
        if cookie in names or any(name.endswith("-") and cookie.startswith(name) for name in names):
            return True
    return False


def _not_merged(header: str, found: list[str]) -> dict[str, object]:
    """What can be said of the cookies of several platforms: that there are some, and whether somebody chose."""
    choices = {cmp.told(cmp.read(header, PLATFORMS[slug]))["choice"] for slug in found}
    return {
        "choice": choices.pop() if len(choices) == 1 else "none",
        "raw": None,
        "neutral": {"functional": "unset", "analytics": "unset", "advertising": "unset"},
        "rule": RULE,
    }


def _vendor(asked: Mapping[str, object], made: tcf.TcString | Unreadable | None) -> dict[str, object]:
    if made is None:
        raise Refusal("field_missing", "tcf")
    if isinstance(made, Unreadable):
        return _error(made)
    row = gvl.read_vendor(asked.get("vendor"))
    if not isinstance(row, gvl.Vendor):
        return {"error": row.code}
    query = vendors.read_query(asked.get("query"))
    if isinstance(query, Unreadable):
        return _error(query)
    return vendors.told(vendors.permission(made, row, query))


_read_line: Final = msgspec.json.Decoder(dict[str, object]).decode


def decode_line(line: bytes, now_ms: int) -> dict[str, object]:
    """Read one JSON object and answer for it; whatever is wrong becomes `{"error": ...}`."""
    try:
        return decode_signals(_read_line(line), now_ms)
    except Refusal as refusal:
        return refusal.body()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal("json_invalid").body()
