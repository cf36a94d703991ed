"""The fields of catalogue entries, one at a time: from what stands on the wire to what the record holds (pure).

Names, titles and codes are what reports and links show to others, so what looks like an e-mail address or a phone number
is refused. A row of COLUMNS says which field of the record a field of the wire becomes, and how it is read.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gateway.catalogue import Coupon, Goal, Link, Preview, Utm, Variant
from gateway.errors import Refusal
from gateway.event import Personal
from gateway.protocols.catalogue_shapes import WirePreview, WireUtm, WireVariant
from gateway.purposes import ALIASES
from gateway.times import DAY_MS

__all__ = ["COLUMNS", "Making", "Read", "address_text", "as_it_is", "looks_like_contact", "moment_ms"]


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """What reading an entry takes from outside.

    `new_id` makes an id, `new_code` a random code. `person_key` is the keyed digest of an e-mail address, None for what is
    none. `preset` makes the goal of a preset by its name, with a new id, and refuses unknown ones. `currency` is the
    site's, empty when it has none.
    """

    new_id: Callable[[], str]
    new_code: Callable[[], str]
    person_key: Callable[[Personal], bytes | None]
    preset: Callable[[str], Goal]
    currency: str = ""


Read = Callable[[Any, str, Any, Making], object]
"""How one field is read: what was said (never None), the field's path, the record as it is, and what comes from outside."""

NAME_MAX: Final = 120
TEXT_MAX: Final = 1_000
UTM_MAX: Final = 255
URL_MAX: Final = 2_048
LAST_MS: Final = 253_402_300_799_999

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_GOAL_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)


# ------------------------------------------------------------------ contact data

_ADDRESS: Final = re.compile(r"[^\s@/?&=#,;:<>()\"']@[^\s@]+\.[^\s@.]{2,}|[^\s@]%40[^\s@]+\.[^\s@.]{2,}", re.IGNORECASE)
_DATE: Final = re.compile(
    r"(?<![\d.])(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|1[0-2])\.(?:\d{4})?(?![\d.])|(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)"
    r"|(?<!\d)\d{1,2}/\d{1,2}/(?:\d{4}|\d{2})(?!\d)",
    re.ASCII,
)
"""Dates of campaigns are written like phone numbers; they are taken out before one is looked for."""
_PHONE: Final = re.compile(
    r"(?<![\w.-])(?:(?:\+|00?)[\d(][\d ()/.-]{6,20}\d|\(\d{2,5}\)[\d ()/.-]{4,15}\d|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-])",
    re.ASCII,
)


def looks_like_contact(text: str) -> bool:
    """Whether a name holds what looks like an e-mail address or a phone number.

    A phone number begins with `+`, `0`, or a code in brackets, or is grouped 3-3-4; it has 8 to 15 digits. Plain numbers
    (ids, years) and dates are none.
    """
    if ("@" in text or "%40" in text) and _ADDRESS.search(text) is not None:
        return True
    found = _PHONE.findall(_DATE.sub(" ", text))
    return any(8 <= sum(character.isdigit() for character in number) <= 15 for number in found)


# ------------------------------------------------------------------ one field


def as_it_is(said: Any, field: str, record: Any, making: Making) -> object:
    """What the shape has read completely: true and false, whole numbers, words of a closed list."""
    return said


def _texts(limit: int, *, empty: bool = True, lines: bool = False) -> Callable[[Any, str, Any, Making], str]:
    def read(said: Any, field: str, record: Any, making: Making) -> str:
        return _text(said, field, limit, empty=empty, lines=lines)

    return read


def _text(said: str, field: str, limit: int, *, empty: bool = True, lines: bool = False) -> str:
    """Text that others will read: trimmed, printable, and no contact data."""
    text = said.strip()
    if len(text) > limit:
        raise Refusal("field_too_long", field)
    if (not text and not empty) or not (text.replace("\n", " ") if lines else text).isprintable():
        raise Refusal("field_invalid", field)
    if looks_like_contact(text):
        raise Refusal("field_personal", field)
    return text


def _matching(pattern: re.Pattern[str], code: str = "field_invalid") -> Callable[[Any, str, Any, Making], str]:
    def read(said: Any, field: str, record: Any, making: Making) -> str:
        if pattern.match(said) is None:
            raise Refusal("field_personal" if looks_like_contact(said[:NAME_MAX]) else code, field)
        return str(said)

    return read


def _code(said: Any, field: str, record: Any, making: Making) -> str:
    if isinstance(record, Coupon):
        return _text(said, field, 64, empty=False)
    if isinstance(record, Goal):
        return _matching(_GOAL_CODE, "event_name_invalid")(said, field, record, making)
    return _matching(_CODE)(said, field, record, making)


def _id(said: Any, field: str, record: Any, making: Making) -> str:
    """The id of another entry. Empty where there need be none: a link and a goal can do without a campaign."""
    if not said and (field == "ambassador_id" or isinstance(record, Goal | Link)):
        return ""
    return _matching(_ID)(said, field, record, making)


def _channel(said: Any, field: str, record: Any, making: Making) -> str:
    """A channel's name. `direct` is the name of visits without a source: credited otherwise, so no link may have it."""
    text = _text(said, field, 40)
    if text.lower() == "direct":
        raise Refusal("field_invalid", field)
    return text


def _address(said: Any, field: str, record: Any, making: Making) -> str:
    return address_text(str(said), field)


def address_text(text: str, field: str) -> str:
    """An address as written; whether it may be one is for the room of links, or of goals, to say.

    Raises Refusal `field_too_long`, `field_invalid`, and `field_personal` where its query holds an e-mail address.
    """
    if len(text) > URL_MAX:
        raise Refusal("field_too_long", field)
    if not text.isprintable() or " " in text or (not text and field == "target"):
        raise Refusal("field_invalid", field)
    if _ADDRESS.search(text.partition("?")[2]) is not None:
        raise Refusal("field_personal", field)  # kept as it is, and shown in lists and in the QR code
    return text


def _moment(said: Any, field: str, record: Any, making: Making) -> int:
    return moment_ms(said, field)


def moment_ms(said: str | int, field: str) -> int:
    """Milliseconds of RFC 3339 with an offset, or of an integer. Raises Refusal `time_invalid`.

    A time without offset could mean two instants.
    """
    if isinstance(said, str):
        try:
            moment = datetime.fromisoformat(said)
            if moment.tzinfo is None or len(said) < 16:
                raise Refusal("time_invalid", field)
            at_ms = (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            raise Refusal("time_invalid", field) from None
    else:
        at_ms = said
    if not 0 < at_ms <= LAST_MS:
        raise Refusal("time_invalid", field)
    return at_ms


def _domains(said: Any, field: str, record: Any, making: Making) -> tuple[str, ...]:
    """Domains, each once, in lower case. A text holds one per line; empty lines count for nothing."""
    found: dict[str, None] = {}
    for index, line in enumerate(said.splitlines() if isinstance(said, str) else said):
        domain = line.strip().removesuffix(".")
        if not domain:
            continue
        # ASCII before it is lowered: the Kelvin sign becomes a k, and another domain would be allowed.
        if not domain.isascii() or _DOMAIN.match(domain.lower()) is None:
            raise Refusal("field_invalid", f"{field}[{index}]")
        found[domain.lower()] = None
    if len(found) > 100:
        raise Refusal("field_too_long", field)
    return tuple(found)


def _days(said: Any, field: str, record: Any, making: Making) -> int:
    return int(said) * DAY_MS


def _rate(said: Any, field: str, record: Any, making: Making) -> int:
    """Parts per million of a percentage."""
    if not said.is_finite() or not 0 <= said <= 100 or said != round(said, 4):
        raise Refusal("field_invalid", field)
    return int(said * 10_000)


def _purposes(said: Any, field: str, record: Any, making: Making) -> int:
    purposes = 0
    for index, name in enumerate(said):
        if name not in ALIASES:
            raise Refusal("purpose_unknown", f"{field}[{index}]", ALIASES)
        purposes |= ALIASES[name]
    return purposes


def _email(said: Any, field: str, record: Any, making: Making) -> bytes:
    """The keyed digest; the address goes no further. Empty forgets it."""
    if not said.strip():
        return b""
    if len(said) > 320:
        raise Refusal("field_too_long", field)
    key = making.person_key(Personal(said))
    if not key:
        raise Refusal("field_invalid", field)
    return key


def _utm(said: WireUtm, field: str, record: Any, making: Making) -> Utm:
    merged: Utm = _group(record.utm, said, field, making, {})
    return merged


def _preview(said: WirePreview, field: str, record: Any, making: Making) -> Preview:
    reads: dict[str, Read] = {"description": _texts(TEXT_MAX, lines=True), "image": _image}
    merged: Preview = _group(record.preview or Preview(), said, field, making, reads)
    return merged


def _group(record: Any, wire: Any, field: str, making: Making, reads: Mapping[str, Read]) -> Any:
    """A group of texts, changed only where something was said; `null` empties one."""
    changes = {}
    for name in wire.__struct_fields__:
        said = getattr(wire, name)
        if said is not UNSET:
            read = reads.get(name, _texts(UTM_MAX))
            changes[name] = read(said or "", f"{field}.{name}", record, making)
    return msgspec.structs.replace(record, **changes)


def _image(said: Any, field: str, record: Any, making: Making) -> str:
    text = _address(said, field, record, making)
    if text and not text.lower().startswith(("https://", "http://")):
        raise Refusal("field_invalid", field)
    return text


def _variants(said: list[WireVariant], field: str, record: Any, making: Making) -> tuple[Variant, ...]:
    """The whole list anew. Without ids of their own they are called a, b, c in their order."""
    read = []
    for index, variant in enumerate(said):
        where = f"{field}[{index}]"
        name = variant.id if isinstance(variant.id, str) else chr(ord("a") + index)
        if _CODE.match(name) is None:
            raise Refusal("field_invalid", f"{where}.id")
        target = _address(variant.target, f"{where}.target", record, making)
        if not target:
            raise Refusal("field_invalid", f"{where}.target")
        read.append(Variant(name, target, variant.percent))
    return tuple(read)


COLUMNS: Final[dict[str, tuple[str, Read]]] = {
    "name": ("name", _texts(NAME_MAX, empty=False)),
    "title": ("title", _texts(NAME_MAX)),
    "description": ("description", _texts(TEXT_MAX, lines=True)),
    "channel": ("channel", _channel),
    "recipient": ("recipient", _texts(64)),
    "model": ("model", _texts(64)),
    "code": ("code", _code),
    "campaign_id": ("campaign_id", _id),
    "ambassador_id": ("ambassador_id", _id),
    "email": ("person_key", _email),
    "utm": ("utm", _utm),
    "preview": ("preview", _preview),
    "variants": ("variants", _variants),
    "target": ("target", _address),
    "expired_target": ("expired_target", _address),
    "ios_target": ("ios_target", _address),
    "android_target": ("android_target", _address),
    "notify_url": ("notify_url", _address),
    "starts_at": ("starts_at_ms", _moment),
    "expires_at": ("expires_at_ms", _moment),
    "domains": ("domains", _domains),
    "click_window_days": ("click_window_ms", _days),
    "view_window_days": ("view_window_ms", _days),
    "target_rate_pct": ("target_rate_ppm", _rate),
    "offline_purposes": ("offline_purposes", _purposes),
}
"""Field on the wire to field of the record, and how it is read; other fields are called alike and need no reading."""
