"""What a platform's reader is given and what it answers: the cookies of one header, and what stands in them.

Every reader takes a Jar and answers a Found, or raises Broken with a stable code. Nothing here evaluates a value, and
the work is bounded by the length of one cookie: 8,192 characters, JSON no deeper than eight containers.
"""

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.signals.bits import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "COOKIE_MAX",
    "DEPTH_MAX",
    "DUPLICATE",
    "Choice",
    "Found",
    "Jar",
    "Platform",
    "either",
    "epoch_ms",
    "flags_in",
    "from_base64",
    "iso_ms",
    "json_object",
    "object_in",
    "put",
    "record_of",
    "texts_in",
    "undecided",
    "unescaped",
]

COOKIE_MAX: Final = 8_192
"""Characters of one cookie's value, as it stands in the header."""
DEPTH_MAX: Final = 8
"""Objects and lists inside each other in a cookie's JSON."""
DUPLICATE: Final = "duplicate_cookie"
"""Code of Broken for a cookie that is there twice with different values."""

_Value = TypeVar("_Value")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BASE64: Final = re.compile("[A-Za-z0-9+/_-]+={0,2}")
_TO_STANDARD: Final = str.maketrans("-_", "+/")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_YEAR_10000_MS: Final = 253_402_300_800_000


class Choice(Enum):
    """Whether the visitor chose, as the platform marks it."""

    EXPLICIT = "explicit"
    """The visitor acted."""
    IMPLIED = "implied"
    """The platform counts silence as consent, or does not say that anyone acted."""
    NOT_REQUIRED = "not_required"
    """The platform says that this region needs no consent. The gateway keeps to its own rule of the place."""
    NONE = "none"
    """No choice is recorded."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform's own reader found, in the platform's own words.

    `values`: category or service to True (yes), False (no) or None (neither). `whole` is one answer for every category of
    the mapping. `only_granted`: the cookie lists what was granted, so a mapped category that is missing was refused.
    `services` are those of one vendor each, None while the platform does not vouch for any. `invalid` are categories
    with a value nobody knows. `notice` is the notice or revision the choice was made under; `superseded`: the platform
    itself asks again. `opted_out` holds bits of `purposes.RIGHTS`; `gpc` is True when the platform itself saw Global
    Privacy Control.
    """

    choice: Choice
    raw: "Mapping[str, object] | None" = None
    values: "Mapping[str, bool | None]" = msgspec.field(default_factory=dict)
    whole: bool | None = None
    only_granted: bool = False
    services: "Mapping[str, bool | None] | None" = msgspec.field(default_factory=dict)
    invalid: tuple[str, ...] = ()
    time_ms: int | None = None
    notice: str | None = None
    superseded: bool = False
    opted_out: int = 0
    gpc: bool = False
    anonymous_statistics: bool | None = None


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """One consent platform.

    `names`: default names of its cookies, or their beginnings; the first is the main one. `mapping`: category to a set
    of purposes. Its marketing-like categories stand for all three advertising purposes, because the platform asks one
    question for them; it is empty where sites name categories or services themselves, and such a site must map them.
    `may_rename`: sites can give the main cookie another name in the platform's own configuration. `lists_services`: the
    cookie lists the services that were accepted, so one that the site knows of and that is missing was refused.
    `opt_outs`: keys its interface uses for a right to opt out of sale or sharing, with the value that means opted out.
    """

    slug: str
    title: str
    names: tuple[str, ...]
    reader: "Callable[[Jar], Found]"
    mapping: "Mapping[str, int]" = msgspec.field(default_factory=dict)
    opt_outs: "Mapping[str, bool]" = msgspec.field(default_factory=dict)
    may_rename: bool = False
    lists_services: bool = False


# ------------------------------------------------------------------ cookies


class Jar:
    """The cookies of one header. `names` gives a default name, or a beginning of names, the name this site uses."""

    __slots__ = ("_header", "_names")

    def __init__(self, header: str, names: "Mapping[str, str]") -> None:
        self._header = header
        self._names = names

    def raw(self, name: str) -> str | None:
        """Value as it stands in the header. Raises Broken when it is too long, or there twice with different values."""
        return self.starting(name, whole=True).get("")

    def text(self, name: str) -> str | None:
        """Value, percent-decoded once. Raises Broken as `raw()` and `unescaped()` do."""
        value = self.raw(name)
        return None if value is None else unescaped(value)

    def starting(self, prefix: str, *, whole: bool = False) -> dict[str, str]:
        """Values of all cookies whose names begin with `prefix`, by the rest of the name."""
        prefix = self._names.get(prefix, prefix)
        header = self._header
        found: dict[str, str] = {}
        # A header can hold thousands of cookies: jump from one that holds the prefix to the next, each looked at once.
        last, at = 0, header.find(prefix)
        while at >= 0:
            begin = header.rfind(";", last, at) + 1
            last = header.find(";", at)
            if last < 0:
                last = len(header)
            name, equals, value = header[begin:last].partition("=")
            name = name.strip(" \t")
            if equals and name.startswith(prefix) and not (whole and name != prefix):
                value = value.strip(" \t")
                if len(value) > COOKIE_MAX:
                    raise Broken("cookie_too_long")
                if found.setdefault(name[len(prefix) :], value) != value:
                    raise Broken(DUPLICATE)
            at = header.find(prefix, last)
        return found


def unescaped(value: str) -> str:
    """Percent-decode once. Raises Broken `percent` for a broken escape, `encoding` for what is not UTF-8."""
    try:
        octets = value.encode("latin-1")
        if b"%" in octets:
            if _BAD_ESCAPE.search(octets) is not None:
                raise Broken("percent")
            octets = unquote_to_bytes(octets)
        return octets.decode("utf-8")
    except UnicodeError:
        raise Broken("encoding") from None


# ------------------------------------------------------------------ values


def json_object(text: str) -> dict[str, object]:
    """Read a JSON object. Raises Broken `not_json`, `too_deep`, or `shape` when it is something else than an object."""
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise Broken("too_deep") from None
    except (msgspec.MsgspecError, ValueError):
        raise Broken("not_json") from None
    if not isinstance(value, dict):
        raise Broken("shape")
    level: list[object] = [value]
    for _ in range(DEPTH_MAX):
        inside: list[object] = []
        for container in level:
            if isinstance(container, dict):
                inside += container.values()
            elif isinstance(container, list):
                inside += container
        level = [item for item in inside if isinstance(item, dict | list)]
    if level:
        raise Broken("too_deep")
    return value


def record_of(jar: Jar, name: str) -> dict[str, object] | None:
    """The JSON object in a cookie, None without that cookie."""
    text = jar.text(name)
    return None if text is None else json_object(text)


def object_in(value: object) -> dict[str, object]:
    """Raises Broken `shape` for anything but an object."""
    if not isinstance(value, dict):
        raise Broken("shape")
    return value


def texts_in(value: object) -> list[str]:
    """Raises Broken `shape` for anything but a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Broken("shape")
    return value


def flags_in(record: "Mapping[str, object]") -> dict[str, bool]:
    """Raises Broken `shape` unless every value is true or false."""
    flags = {key: value for key, value in record.items() if isinstance(value, bool)}
    if len(flags) != len(record):
        raise Broken("shape")
    return flags


def either(value: object, yes: str, no: str) -> bool | None:
    """True for the word `yes`, False for the word `no`, None for anything else."""
    return True if value == yes else False if value == no else None


def undecided(values: "Mapping[str, bool | None]") -> tuple[str, ...]:
    """Keys that say neither yes nor no."""
    return tuple(key for key, value in values.items() if value is None)


def from_base64(text: str) -> str:
    """Text in base64 in either alphabet, padded or not. Raises Broken `encoding`."""
    if _BASE64.fullmatch(text) is None:
        raise Broken("encoding")
    body = text.rstrip("=").translate(_TO_STANDARD)
    try:
        return b64decode(body + "=" * (-len(body) % 4), validate=True).decode("utf-8")
    except ValueError:
        raise Broken("encoding") from None


def put(into: dict[str, _Value], key: str, value: _Value) -> None:
    """Add an entry. Raises Broken `duplicate_key` when the key is there with another value."""
    if into.setdefault(key, value) != value:
        raise Broken("duplicate_key")


def epoch_ms(value: object, unit_ms: int = 1) -> int | None:
    """A time as a whole number of `unit_ms` since 1970, in milliseconds; None for anything else or after the year 9999."""
    if type(value) is not int or not 0 < value < _YEAR_10000_MS // unit_ms:
        return None
    return value * unit_ms


def iso_ms(value: object) -> int | None:
    """An ISO 8601 time with its offset, such as `2026-03-10T08:15:30.114Z`, in milliseconds; None for anything else."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
        return epoch_ms((at - _EPOCH) // _MS) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
