"""The catalogue as it stands on the wire: campaigns, links, ambassadors, coupons and goals, made, changed and shown (pure).

Making and changing read the same shape. A field that is not there keeps its value, or takes its default when the entry is
new; `null` puts the default back (RFC 7396). Unknown fields are refused by name. Money is decimal text of major units,
windows are whole days, moments are RFC 3339 with an offset or integer milliseconds.

What belongs to a room is checked there, by whoever stores the entry: slugs, targets and variants by `links`, the rules of
goals by `conversions.goals`.
"""

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gateway.catalogue import Ambassador, Campaign, Coupon, Entry, Goal, Link
from gateway.errors import Refusal
from gateway.money import EXPONENTS, AmountError, major_text, minor_from_major
from gateway.protocols import reading
from gateway.protocols.catalogue_fields import COLUMNS, Making, as_it_is
from gateway.protocols.catalogue_shapes import SHAPES, Wire, WireGoal
from gateway.purposes import names
from gateway.times import DAY_MS, utc_text

__all__ = ["READ_ONLY", "Making", "Record", "change", "code_from_name", "create", "record_of", "told"]

Record = Campaign | Link | Ambassador | Coupon | Goal

READ_ONLY: Final = ("kind", "id", "version", "changed_at", "token_set", "email_set")
"""What is told of an entry and cannot be sent: `told` less these can be sent back as a change."""

_RECORDS: Final[dict[str, type[Record]]] = {
    "campaign": Campaign,
    "link": Link,
    "ambassador": Ambassador,
    "coupon": Coupon,
    "goal": Goal,
}
_KINDS: Final = {record: kind for kind, record in _RECORDS.items()}
_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "campaign": ("name",),
    "link": ("target",),
    "ambassador": ("name", "campaign_id"),
    "coupon": ("code", "campaign_id"),
    "goal": (),
}
_LASTING: Final = frozenset({"campaign", "goal"})
"""Kinds whose code is written into pages and conversions, so that it stays what it is."""
_readers: Final = {kind: reading.decoder(shape) for kind, shape in SHAPES.items()}

_TOGETHER: Final = frozenset({"preset", "value", "currency"})
"""Fields that are not read one by one."""

# ------------------------------------------------------------------ making and changing


def create(kind: str, body: bytes, making: Making) -> Record:
    """Read a new entry of a kind of `catalogue.KINDS`. Raises Refusal with the path of the first field that is wrong."""
    wire = _decode(kind, body)
    for field in _REQUIRED[kind]:
        if getattr(wire, field) in (UNSET, None):
            raise Refusal("field_missing", field)
    made: Record = _merged(_blank(kind, wire, making), wire, making)
    return made


def change(kind: str, body: bytes, record: Record, making: Making) -> Record:
    """Read a change of an entry and merge it. An empty change answers an equal entry. Raises Refusal."""
    wire = _decode(kind, body)
    if type(record) is not _RECORDS[kind]:
        raise TypeError("the entry is of another kind")
    if isinstance(wire, WireGoal) and wire.preset is not UNSET:
        raise Refusal("field_unknown", "preset")
    changed: Record = _merged(record, wire, making)
    if kind in _LASTING and changed.code != record.code:
        raise Refusal("field_invalid", "code")
    return changed


def _decode(kind: str, body: bytes) -> Wire:
    try:
        return reading.decode(_readers[kind], body)
    except Refusal as refusal:
        # The reader's words for events: here a name is free text, and the only other decimal is a rate.
        if refusal.code == "event_name_invalid":
            raise Refusal("field_type", refusal.field) from None
        if refusal.code == "amount_invalid" and refusal.field != "value":
            raise Refusal("field_invalid", refusal.field) from None
        raise


def _blank(kind: str, wire: Wire, making: Making) -> Record:
    """A new entry before anything that was said is put into it."""
    if isinstance(wire, WireGoal):
        if isinstance(wire.preset, str):
            return making.preset(wire.preset)
        if not isinstance(wire.name, str):
            raise Refusal("field_missing", "name")
        return Goal(id=making.new_id(), code=code_from_name(wire.name, making.new_code), name="")
    record = _RECORDS[kind]
    made = {field.name: "" for field in msgspec.structs.fields(record) if field.required}
    made["id"] = making.new_id()
    if wire.code is UNSET or wire.code is None:
        made["code"] = making.new_code()
    return msgspec.convert(made, record)


def code_from_name(name: str, new_code: Callable[[], str]) -> str:
    """Make the code of a goal from its name, such as `q1_sale` from `Q1 Sale`; a random one where no letters are left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not words:
        words = re.sub(r"[^a-z0-9]+", "", new_code().lower())[:12]
    if not words[:1].isalpha():
        words = f"goal_{words}"
    return words[:40].rstrip("_")


def _merged(record: Any, wire: Wire, making: Making) -> Any:
    """The record with everything put in that was said, and the rules kept that need more than one field."""
    changes: dict[str, object] = {}
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(record))}
    for field in wire.__struct_fields__:
        said = getattr(wire, field)
        if said is UNSET or field in _TOGETHER or (said is None and field == "code"):
            continue  # a code has no default to go back to
        name, read = COLUMNS.get(field, (field, as_it_is))
        if said is not None:
            changes[name] = read(said, field, record, making)
        elif defaults[name] is msgspec.NODEFAULT:
            raise Refusal("field_missing", field)
        else:
            changes[name] = defaults[name]
    if isinstance(wire, WireGoal):
        changes |= _money(record, wire, making)
    merged = msgspec.structs.replace(record, **changes)
    if isinstance(merged, Link | Coupon) and 0 < merged.expires_at_ms <= merged.starts_at_ms:
        raise Refusal("field_invalid", "expires_at")
    return merged


def _money(goal: Goal, wire: WireGoal, making: Making) -> dict[str, object]:
    """Value and currency of a goal: minor units mean nothing without their currency, so they are read together."""
    currency = goal.currency
    if wire.currency is not UNSET:
        currency = wire.currency or ""
        if currency and currency not in EXPONENTS:
            raise Refusal("currency_unknown", "currency")
    if wire.value is None:
        return {"value_minor": None, "currency": currency}
    if not isinstance(wire.value, Decimal):
        if goal.value_minor is not None and currency != goal.currency:
            raise Refusal("field_missing", "value")  # the same number of another currency is another value
        return {"currency": currency}
    currency = currency or making.currency
    if not currency:
        raise Refusal("currency_missing", "currency")
    try:
        return {"value_minor": minor_from_major(wire.value, currency), "currency": currency}
    except AmountError as error:
        raise Refusal(error.code, "value") from None


# ------------------------------------------------------------------ showing


def record_of(entry: Entry) -> Record:
    """Read the record that a stored entry holds."""
    return msgspec.json.decode(entry.body, type=_RECORDS[entry.kind])


def told(entry: Entry) -> dict[str, object]:
    """Build the JSON people are shown of an entry: every field under its name on the wire, with its version.

    It never holds the token of a goal or the key of a person, only whether there is one.
    """
    head: dict[str, object] = {"kind": entry.kind, "id": entry.id, "version": entry.version}
    head["changed_at"] = utc_text(entry.changed_at_ms)
    return head | _fields(record_of(entry))


def _fields(record: Record) -> dict[str, object]:
    shown: dict[str, object] = {}
    for field in SHAPES[_KINDS[type(record)]].__struct_fields__:
        if field == "preset":
            continue
        if field == "email":
            shown["email_set"] = bool(getattr(record, "person_key", b""))
            continue
        name, show = _SHOWN.get(field, (field, _plain))
        shown[field] = show(getattr(record, name), record)
    if isinstance(record, Goal):
        shown["token_set"] = bool(record.token_digest)
    return shown


def _plain(value: Any, record: Any) -> object:
    return value


def _when(value: int, record: Any) -> str | None:
    return utc_text(value) if value else None


def _group(value: Any, record: Any) -> object:
    return msgspec.structs.asdict(value) if value is not None else None


def _list(value: tuple[Any, ...], record: Any) -> list[object]:
    return [msgspec.structs.asdict(one) if isinstance(one, msgspec.Struct) else one for one in value]


def _value(value: int | None, record: Any) -> str | None:
    return major_text(value, record.currency) if value is not None else None


def _percent(value: int | None, record: Any) -> str | None:
    return None if value is None else format((Decimal(value) / 10_000).normalize(), "f")


_SHOWN: Final[dict[str, tuple[str, Callable[[Any, Any], object]]]] = {
    "utm": ("utm", _group),
    "preview": ("preview", _group),
    "variants": ("variants", _list),
    "domains": ("domains", _list),
    "starts_at": ("starts_at_ms", _when),
    "expires_at": ("expires_at_ms", _when),
    "value": ("value_minor", _value),
    "click_window_days": ("click_window_ms", lambda value, record: value // DAY_MS),
    "view_window_days": ("view_window_ms", lambda value, record: value // DAY_MS),
    "target_rate_pct": ("target_rate_ppm", _percent),
    "offline_purposes": ("offline_purposes", lambda value, record: list(names(value))),
}
