"""The shape checks that the vendors' contract tables are written with.

A check looks at one JSON value and adds a `Problem` for everything that is wrong with it. Contracts are tables of
checks, one line per documented field, so that a table can be laid beside the vendor's page. A `Problem` names the place
and the rule; it never repeats the value, which may be somebody's address.

JSON is read strictly: a number is not a string, `true` is not 1, `1.0` is not an integer, null is not "left out".
"""

import ipaddress
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from gateway.money import EXPONENTS

__all__ = [
    "EMPTY_DIGESTS",
    "Check",
    "Problem",
    "address",
    "amount",
    "anything",
    "array",
    "as_list",
    "clear_value",
    "currency",
    "digest",
    "flag",
    "join",
    "no_clear_values",
    "number",
    "one_of",
    "parse_json",
    "record",
    "rfc3339_ms",
    "text",
    "web_address",
    "whole",
]

EMPTY_DIGESTS: Final = frozenset(
    {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "d41d8cd98f00b204e9800998ecf8427e",
    }
)
"""SHA-256 and MD5 of the empty string: a person who is nobody."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9._%+-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,}"
)
_PHONE: Final = re.compile(r"(?<![\w+.-])\+[1-9][0-9]{7,14}(?![\w-])")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PRIVATE: Final = tuple(
    ipaddress.ip_network(name)
    for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


class Problem(msgspec.Struct, frozen=True):
    """One fault found in a request. `path` is such as `data[3].user_data.em`; `rule` is a stable word or a code."""

    path: str
    rule: str
    message: str


Check = Callable[[object, str, list[Problem]], None]


def join(path: str, name: str) -> str:
    """Path of the member `name` of the object at `path`."""
    return f"{path}.{name}" if path else name


def parse_json(body: bytes) -> object:
    """Read a JSON text. Raises ValueError when it is not JSON in UTF-8 (NaN and Infinity are not JSON)."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("not JSON") from error


def anything(_value: object, _path: str, _out: list[Problem]) -> None:
    """Take every value: for fields whose contract we do not have."""


def record(fields: Mapping[str, Check], *, required: Collection[str] = (), free: Check | None = None) -> Check:
    """An object with the `fields`; every other key is a problem, or goes to `free` where the contract is open."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, dict):
            out.append(Problem(path, "type", "must be an object"))
            return
        out.extend(Problem(join(path, name), "missing", "is required") for name in required if name not in value)
        for name, member in value.items():
            one = fields.get(name, free)
            if one is None:
                out.append(Problem(join(path, name), "unknown", "is not a field of this object"))
            else:
                one(member, join(path, name), out)

    return check


def array(of: Check, *, least: int = 0, most: int | None = None, too_many: str = "too_many") -> Check:
    """A list whose elements all pass `of`."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, list):
            out.append(Problem(path, "type", "must be a list"))
            return
        if len(value) < least:
            out.append(Problem(path, "too_few", f"needs at least {least}"))
        if most is not None and len(value) > most:
            out.append(Problem(path, too_many, f"takes at most {most}"))
            return
        for index, member in enumerate(value):
            of(member, f"{path}[{index}]", out)

    return check


def as_list(of: Check, *, most: int | None = None) -> Check:
    """One value, or a list of at least one."""
    many = array(of, least=1, most=most)

    def check(value: object, path: str, out: list[Problem]) -> None:
        (many if isinstance(value, list) else of)(value, path, out)

    return check


def text(
    *, least: int = 1, most: int | None = None, form: str | None = None, plain: bool = False, rule: str = "format"
) -> Check:
    """A string, by default not empty. `form` is a pattern for all of it; `plain` means it must not be a digest."""
    pattern = None if form is None else re.compile(form, re.ASCII)

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, str):
            out.append(Problem(path, "type", "must be a string"))
        elif len(value) < least:
            out.append(Problem(path, "too_short", "must not be empty"))
        elif most is not None and len(value) > most:
            out.append(Problem(path, "too_long", f"takes at most {most} characters"))
        elif plain and _SHA256.fullmatch(value.lower()):
            out.append(Problem(path, "hashed", "must be sent as it is, not hashed"))
        elif pattern is not None and not pattern.fullmatch(value):
            out.append(Problem(path, rule, "does not have the documented form"))

    return check


def one_of(*words: str, rule: str = "enum") -> Check:
    """One word of a closed list, in exactly this spelling."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, str):
            out.append(Problem(path, "type", "must be a string"))
        elif value not in words:
            out.append(Problem(path, rule, f"must be one of {', '.join(words)}"))

    return check


def flag(value: object, path: str, out: list[Problem]) -> None:
    """`true` or `false`."""
    if not isinstance(value, bool):
        out.append(Problem(path, "type", "must be true or false"))


def whole(*, least: int | None = None, most: int | None = None) -> Check:
    """A JSON integer: no string, no fraction."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            out.append(Problem(path, "type", "must be an integer"))
        elif (least is not None and value < least) or (most is not None and value > most):
            out.append(Problem(path, "range", "is out of range"))

    return check


def number(value: object, path: str, out: list[Problem]) -> None:
    """A JSON number, of either sign."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        out.append(Problem(path, "type", "must be a number, not a string"))
    elif not math.isfinite(value):
        out.append(Problem(path, "range", "is too large"))


def amount(value: object, path: str, out: list[Problem]) -> None:
    """A JSON number that is not negative: money in major units, or a count."""
    before = len(out)
    number(value, path, out)
    if len(out) == before and isinstance(value, int | float) and value < 0:
        out.append(Problem(path, "negative", "must not be negative"))


def currency(*, lower: bool = False) -> Check:
    """An ISO 4217 code, in upper case or, where the contract wants it so, in lower case."""
    case = "lower" if lower else "upper"

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, str):
            out.append(Problem(path, "type", "must be a string"))
        elif value.upper() not in EXPONENTS:
            out.append(Problem(path, "currency", "must be an ISO 4217 code"))
        elif value != (value.lower() if lower else value.upper()):
            out.append(Problem(path, "currency", f"must be in {case} case"))

    return check


def digest(*, md5: bool = False) -> Check:
    """A SHA-256 digest as 64 lower-case hexadecimal digits (`md5`: or 32), and never that of the empty string."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, str):
            out.append(Problem(path, "type", "must be a string"))
        elif value.lower() in EMPTY_DIGESTS:
            out.append(Problem(path, "digest_empty", "is the digest of the empty string"))
        elif _SHA256.fullmatch(value) or (md5 and _MD5.fullmatch(value)):
            return
        elif _SHA256.fullmatch(value.lower()):
            out.append(Problem(path, "digest_case", "must be lower-case hexadecimal"))
        elif clear_value(value):
            out.append(Problem(path, "clear_value", "holds a clear value where only a digest may stand"))
        else:
            out.append(Problem(path, "digest_format", "must be a SHA-256 digest in hexadecimal"))

    return check


def address(*, public: bool = False) -> Check:
    """An IPv4 or IPv6 address as text, without port and spaces; `public` refuses those that lead nowhere outside."""

    def check(value: object, path: str, out: list[Problem]) -> None:
        if not isinstance(value, str):
            out.append(Problem(path, "type", "must be a string"))
            return
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            out.append(Problem(path, "format", "must be an IPv4 or IPv6 address"))
            return
        inner = getattr(found, "ipv4_mapped", None) or found
        special = inner.is_loopback or inner.is_link_local or inner.is_multicast or inner.is_unspecified
        if public and (special or any(inner in network for network in _PRIVATE)):
            out.append(Problem(path, "private", "must be a public address"))

    return check


def web_address(value: object, path: str, out: list[Problem]) -> None:
    """An absolute http or https URL."""
    text(form=r"https?://[^\s/?#]+\S*")(value, path, out)


def rfc3339_ms(value: str) -> int | None:
    """Milliseconds of an RFC 3339 text with an offset, or None when it is not one."""
    if not _RFC3339.fullmatch(value):
        return None
    try:
        return (datetime.fromisoformat(value) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def clear_value(value: str) -> bool:
    """Whether a text holds something that looks like an e-mail address or an international telephone number."""
    mail = ("@" in value or "%40" in value) and _EMAIL.search(value) is not None
    return mail or ("+" in value and _PHONE.search(value) is not None)


def no_clear_values(value: object, path: str, out: list[Problem]) -> None:
    """No string anywhere inside `value`, keys included, may hold an e-mail address or telephone number."""
    if isinstance(value, str):
        if clear_value(value):
            out.append(Problem(path, "clear_value", "holds an e-mail address or telephone number"))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            no_clear_values(member, f"{path}[{index}]", out)
    elif isinstance(value, dict):
        for name, member in value.items():
            if clear_value(name):
                out.append(Problem(path, "clear_value", "has a key that holds an e-mail address or telephone number"))
            no_clear_values(member, join(path, name), out)
