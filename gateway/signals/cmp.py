"""Cookies of consent platforms: the rules all of them share. What is special about each is in `cmp_platforms`.

1. Only the one platform the site configuration names is read. Cookies another platform left behind mean nothing, and
   two platforms are never merged.
2. The `Cookie` header is split at `;` and at the first `=`, nothing else: values hold commas, quotes, braces and blanks
   that ready-made cookie jars cut at.
3. A name that appears twice with different values is no choice. A value is percent-decoded once, as strict UTF-8.
4. A choice is explicit only where the platform marks an action of the visitor. Before that, its values are the defaults
   of a region, and they are kept apart from what was granted and denied.
5. Categories become purposes only through a mapping. Several categories for one purpose: all must be granted. A category
   without a mapping is ignored and reported, never guessed.
6. What cannot be read is absent, with a stable code. Length, depth and work are bounded, nothing is ever evaluated.

A script wrote these cookies and the visitor can edit them: they are evidence of a choice, not proof of it.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.purposes import (
    ADVERTISING,
    ALIASES,
    ALL_PURPOSES,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
    SALE_OR_SHARING,
    TARGETED_ADVERTISING,
)
from gateway.signals.bits import Broken, Unreadable
from gateway.signals.cmp_reader import DUPLICATE, Choice, Found, Jar, Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "HEADER_MAX",
    "STORAGE_GATE",
    "CmpReading",
    "choices",
    "cookie_texts",
    "from_interface",
    "mapping_of",
    "read",
    "read_pasted",
    "told",
]

HEADER_MAX: Final = 16_384
"""Characters of the whole `Cookie` header. In a longer one no platform is read."""
STORAGE_GATE: Final = ALL_PURPOSES + 1
"""In a mapping: the category without which nothing may be stored. Unless it is granted, every purpose is denied."""

_CHOOSABLE: Final = ALL_PURPOSES & ~NECESSARY


class CmpReading(msgspec.Struct, frozen=True, kw_only=True):
    """What the cookies of a platform say.

    `granted` and `denied` are sets of purposes; a purpose in neither is unset. `choices()` says what of them may be used.
    `defaults` are the two sets that would hold without a choice: region defaults, not consent. `unmapped`: categories
    and services without a mapping. `time_ms` is when the visitor chose, by the browser's clock. `outdated`: the choice
    was made under an older notice, so its grants are void and its refusals stand. `conflict`: a cookie was there twice
    with different values. `tc_string`: the cookie `euconsent-v2` is there too; destinations in the IAB vendor list
    follow that. `raw` holds the platform's own words, ids of the visitor included: it is for people and never stored.
    """

    platform: str
    choice: Choice
    raw: "Mapping[str, object] | None" = None
    granted: int = 0
    denied: int = 0
    defaults: tuple[int, int] = (0, 0)
    services: "Mapping[str, bool | None] | None" = msgspec.field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    time_ms: int | None = None
    outdated: bool = False
    conflict: bool = False
    opted_out: int = 0
    gpc: bool = False
    anonymous_statistics: bool | None = None
    tc_string: bool = False


# ------------------------------------------------------------------ reading


def read(
    cookie_header: str,
    platform: Platform,
    mapping: "Mapping[str, int] | None" = None,
    *,
    names: "Mapping[str, str] | None" = None,
    notice: str | None = None,
    services: "Iterable[str]" = (),
) -> CmpReading | Unreadable:
    """Read the platform the site configuration names, and no other.

    `cookie_header`: the raw header, its octets decoded as Latin-1, one character each (aiohttp: `raw_headers`, not
    `headers` and not `cookies`, which decode and cut); several headers joined with `; `; empty when there is none.
    Characters above U+00FF make a value unreadable. `mapping`: category to set of purposes, see `mapping_of()`; None
    uses the platform's own. `names`: default cookie name to the name this site uses. `notice`: revision or notice now in
    force; a choice made under an older number, or under another name, is outdated. Only platforms that write one down
    know it; under any other a required notice makes every choice outdated. `services`: services the site knows of, for
    platforms that list only what was granted.

    Codes of Unreadable: `header_too_long`, `cookie_too_long`, `percent`, `encoding`, `not_json`, `too_deep`, `shape`,
    `duplicate_key`, `encrypted`, `unknown_format`.
    """
    if len(cookie_header) > HEADER_MAX:
        return Unreadable("header_too_long")
    jar = Jar(cookie_header, names or {})
    try:
        found = platform.reader(jar)
    except Broken as broken:
        if broken.code != DUPLICATE:
            return Unreadable(broken.code)
        return CmpReading(platform=platform.slug, choice=Choice.NONE, conflict=True)
    meaning = platform.mapping if mapping is None else _with_gate(mapping, platform.mapping)
    granted, denied = _sums(found, meaning)
    older = notice is not None and _older(found.notice, notice)
    outdated = found.choice is not Choice.NONE and (older or found.superseded)
    chosen = found.choice is not Choice.NONE and not outdated
    known = found.services
    if platform.lists_services and found.choice is not Choice.NONE:
        known = {**dict.fromkeys(services, False), **(known or {})}
    return CmpReading(
        platform=platform.slug,
        choice=Choice.NONE if outdated else found.choice,
        raw=found.raw,
        granted=granted if chosen else 0,
        denied=denied if chosen or outdated else 0,
        defaults=(0, 0) if chosen or outdated else (granted, denied),
        services=known,
        unmapped=tuple(key for key in found.values if key not in meaning),
        invalid=found.invalid,
        time_ms=found.time_ms,
        outdated=outdated,
        opted_out=found.opted_out,
        gpc=found.gpc,
        anonymous_statistics=found.anonymous_statistics,
        tc_string="euconsent-v2" in cookie_header and bool(_tc_string(jar)),
    )


def from_interface(
    platform: Platform,
    choice: str | None,
    categories: "Iterable[tuple[str, bool]]",
    mapping: "Mapping[str, int] | None" = None,
    *,
    time_ms: int | None = None,
) -> CmpReading:
    """Read what the platform's own interface told a script of the page: pairs of category or service and on or off.

    `choice` as in Choice; None and what nobody knows count as no choice. A page can say what it wants here, so its word
    stands beside the platform's cookie and never above it: what either of them refuses is refused.
    """
    made = _CHOICES.get(choice or "", Choice.NONE)
    meaning = platform.mapping if mapping is None else _with_gate(mapping, platform.mapping)
    told = dict(categories)
    used = [key for key, value in platform.opt_outs.items() if told.pop(key, None) is value]
    found = Found(
        choice=made, values={key: v for key, v in told.items() if key not in platform.opt_outs}, time_ms=time_ms
    )
    granted, denied = _sums(found, meaning)
    chosen = made is not Choice.NONE
    return CmpReading(
        platform=platform.slug,
        choice=made,
        granted=granted if chosen else 0,
        denied=denied if chosen else 0,
        defaults=(0, 0) if chosen else (granted, denied),
        unmapped=tuple(key for key in found.values if key not in meaning),
        time_ms=time_ms,
        opted_out=SALE_OR_SHARING if used else 0,
    )


_CHOICES: Final = {choice.value: choice for choice in Choice}


def cookie_texts(cookie_header: str, name: str) -> list[str]:
    """Every value a cookie of exactly this name has in the header, as it was sent. At most four; more is hostile."""
    found: list[str] = []
    at = cookie_header.find(name)
    while at >= 0 and len(found) < _SAME_NAME_MAX:
        begin = cookie_header.rfind(";", 0, at) + 1
        end = cookie_header.find(";", at)
        end = len(cookie_header) if end < 0 else end
        said, equals, value = cookie_header[begin:end].partition("=")
        if equals and said.strip(" \t") == name:
            found.append(value.strip(" \t"))
        at = cookie_header.find(name, end)
    return found


_SAME_NAME_MAX: Final = 4


def read_pasted(
    cookie_header: str,
    platform: Platform,
    mapping: "Mapping[str, int] | None" = None,
    *,
    services: "Iterable[str]" = (),
) -> CmpReading | Unreadable:
    """Read what a person pasted, for the command line only: a lone cookie counts under any name sites may give it.

    `cookie_header` is text as people have it, not octets. The cookies of real visitors are read by `read()`, under the
    configured name and no other.
    """
    cookie_header = cookie_header.encode("utf-8", "replace").decode("latin-1")
    reading = read(cookie_header, platform, mapping, services=services)
    lone = cookie_header.partition("=")[0].strip(" \t")
    if platform.may_rename and lone and ";" not in cookie_header and isinstance(reading, CmpReading):
        renamed = read(cookie_header, platform, mapping, names={platform.names[0]: lone}, services=services)
        if reading.raw is None and isinstance(renamed, CmpReading):
            return renamed
    return reading


def mapping_of(words: "Mapping[str, str | Iterable[str] | None]") -> dict[str, int]:
    """Turn the words of a site owner into a mapping: category or service to purpose, to several, or to none (null).

    Words are those of `purposes.ALIASES`: `marketing` stands for `advertising`, `ad_user_data` and `ad_personalization`;
    `advertising` alone only for storage and measurement on ad platforms. `storage gate`, also in brackets, marks the
    category without which nothing may be stored. Raises ValueError for any other word.
    """
    mapping: dict[str, int] = {}
    for key, value in words.items():
        bits = 0
        for word in [value] if isinstance(value, str) else value or ():
            if word in _GATE_WORDS:
                bits |= STORAGE_GATE
            elif word in ALIASES:
                bits |= ALIASES[word]
            else:
                raise ValueError(f"category {key!r} is mapped to {word!r}, which is no purpose")
        mapping[key] = bits
    return mapping


_GATE_WORDS: Final = frozenset({"storage gate", "(storage gate)"})


def _sums(found: Found, mapping: "Mapping[str, int]") -> tuple[int, int]:
    """Purposes granted and denied: one refused category denies, one that says neither leaves a purpose unset."""
    yes = no = neither = 0
    for key, value in found.values.items():
        bits = mapping.get(key, 0)
        if value:
            yes |= bits
        elif value is None:
            neither |= bits
        else:
            no |= bits
    if found.only_granted:
        for key, bits in mapping.items():
            if key not in found.values:
                no |= bits
    if found.whole is not None:
        for bits in mapping.values():
            yes, no = (yes | bits, no) if found.whole else (yes, no | bits)
    if (no | neither) & STORAGE_GATE:
        no |= _CHOOSABLE
    return yes & ~no & ~neither & _CHOOSABLE, no & _CHOOSABLE


def _with_gate(mapping: "Mapping[str, int]", own: "Mapping[str, int]") -> "Mapping[str, int]":
    """Keep the platform's storage gate where the site's mapping does not speak about that category."""
    gates = {key: bits for key, bits in own.items() if bits & STORAGE_GATE and key not in mapping}
    return {**gates, **mapping} if gates else mapping


def _older(found: str | None, required: str) -> bool:
    """Whether a choice was made under another notice than the required one; of numbers, under a lower one."""
    if found is not None and len(found) <= 18 and len(required) <= 18 and _number(found) and _number(required):
        return int(found) < int(required)
    return found != required


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _tc_string(jar: Jar) -> str | None:
    try:
        return jar.raw("euconsent-v2")
    except Broken:
        return None


# ------------------------------------------------------------------ meaning and telling


def choices(reading: CmpReading) -> tuple[int, int]:
    """Purposes that may be used as the visitor's word: granted and denied, as sets of `gateway.purposes`.

    Only an explicit choice grants; an implied one, or a region that the platform says needs none, does not. Of an
    outdated choice the refusals stand: they must not turn into silence where silence permits.
    """
    return (reading.granted if reading.choice is Choice.EXPLICIT else 0), reading.denied


def told(reading: CmpReading | Unreadable) -> dict[str, object]:
    """What was read, for people, with three neutral purposes. `defaults` only where they would grant something."""
    if isinstance(reading, Unreadable):
        return {"choice": "unreadable", "raw": None, "neutral": _neutral(0, 0), "error": reading.code}
    out: dict[str, object] = {
        "choice": reading.choice.value,
        "raw": reading.raw,
        "neutral": _neutral(reading.granted, reading.denied),
    }
    services = reading.services
    if services is None:
        out["services"] = None
    elif services:
        silent = reading.choice is Choice.NONE
        out["services"] = {key: "unset" if silent else _WORDS[value] for key, value in services.items()}
    if reading.time_ms is not None:
        out["time_ms"] = reading.time_ms
    # A service without a mapping is already told with its own answer.
    unmapped = [key for key in reading.unmapped if key not in (services or ())]
    if unmapped:
        out["unmapped"] = unmapped
    if reading.invalid:
        out["invalid"] = list(reading.invalid)
    if reading.defaults[0]:
        out["defaults"] = _neutral(*reading.defaults)
    for key, said in (("gpc", reading.gpc), ("outdated", reading.outdated), ("conflict", reading.conflict)):
        if said:
            out[key] = True
    for key, bit in _OPT_OUTS.items():
        if reading.opted_out & bit:
            out[key] = "opted_out"
    if reading.anonymous_statistics is not None:
        out["anonymousStatistics"] = _WORDS[reading.anonymous_statistics]
    if reading.tc_string:
        out["tcStringPresent"] = True
    return out


_WORDS: Final[dict[bool | None, str]] = {True: "granted", False: "denied", None: "unset"}
_OPT_OUTS: Final = {"saleOrSharing": SALE_OR_SHARING, "targetedAdvertising": TARGETED_ADVERTISING}


def _neutral(granted: int, denied: int) -> dict[str, str]:
    return {
        name: "granted" if granted & bit else "denied" if denied & bit else "unset"
        for name, bit in (("functional", FUNCTIONAL), ("analytics", ANALYTICS), ("advertising", ADVERTISING))
    }
