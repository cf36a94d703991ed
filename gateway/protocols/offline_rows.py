"""Rows of offline files read one by one: cells -> a conversion, an adjustment, or what is wrong with them (pure).

A row is first put into `Cells`, the same for every kind of file, and then read into `event.Received`. Contact data is
wrapped as soon as it has a name. Where a value that names a person stands in a column that is kept as it is, the row is
refused. The first thing wrong is told, with the column's name and never with the value.

A row's claim of consent is complete: what it does not grant is denied, so that no rule of a place can add to it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Final

from gateway.errors import Refusal
from gateway.event import Claim, Item, Person, Personal, Received, Scalar
from gateway.money import EXPONENTS, AmountError, minor_from_major
from gateway.protocols.native import AHEAD_MS, SERVER_BACK_MS
from gateway.protocols.offline_columns import EVENT_NAMES
from gateway.protocols.offline_items import read_items
from gateway.protocols.offline_shapes import (
    KINDS,
    STATUSES,
    Cells,
    OfflineAdjustment,
    OfflineRow,
    Outcome,
    RowProblem,
    Terms,
)
from gateway.protocols.offline_times import birth_date, read_time, years_between
from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ALIASES, ALL_PURPOSES, NECESSARY
from gateway.times import year_of

__all__ = ["read_row"]

ADULT_YEARS: Final = 18

_AGES: Final = frozenset({"date_of_birth", "birth_year", "age"})
_LENGTHS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("click_id", "gclid", "consent"), 512),
    "name": 256,
    "items": 65_536,
}
_LENGTH: Final = 64
"""Most characters of a field that `_LENGTHS` does not name; order numbers as in `wire.OrderId`."""
_PERSONAL_LENGTH: Final = 320
_FREE_LENGTH: Final = 8_192

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_GAPS: Final = re.compile(r"[ -]+")
_AMOUNT: Final = re.compile(r"-?\d{1,18}(?:\.\d{1,9})?\Z", re.ASCII)
_AMOUNT_COMMA: Final = re.compile(r"-?\d{1,18}(?:[.,]\d{1,9})?\Z", re.ASCII)
_CLICK: Final = re.compile(r"[A-Za-z0-9._~%=+:-]+\Z")
_EMAIL: Final = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")
_PHONE: Final = re.compile(r"\+[1-9][0-9 ()/.-]{6,20}[0-9]\Z")
"""A number with a country's code behind a plus. Digits alone are left: most order numbers are that."""
_LISTED: Final = re.compile(r"[\s,|]+")
_YEAR: Final = re.compile(r"(?:19|20)\d\d\Z", re.ASCII)
_AGE: Final = re.compile(r"\d{1,3}\Z", re.ASCII)

_NOT_DIGESTED: Final = frozenset(
    {"name", "time", "value", "currency", "status", "consent", "ad_user_data", "ad_personalization"}
)
_WORDS: Final = {"granted": True, "denied": False}


def read_row(line: int, cells: Cells, terms: Terms, last_line: int = 0) -> Outcome:
    """Read one row. It is refused as a whole or taken as a whole."""
    try:
        return _read(line, cells, terms)
    except Refusal as refusal:
        return RowProblem(line, refusal.field, refusal.code, last_line or line)


def _read(line: int, cells: Cells, terms: Terms) -> OfflineRow | OfflineAdjustment:
    texts, upload = cells.texts, terms.upload
    for field in terms.set.row:
        if not cells.has(field):
            raise Refusal("field_missing", terms.labels[field])
    _check(cells, terms)
    goal = _goal(texts["name"], terms)
    at_ms, marks = _time("time", terms, texts)
    adjustment = _adjustment(texts, terms)
    currency, amount_minor = _amount(texts, terms, signed=bool(adjustment))
    digest = _digest(cells, goal, at_ms, amount_minor, currency, adjustment)
    order_id = texts.get("order_id")
    if adjustment:
        if order_id is None:
            raise Refusal("field_missing", terms.labels["order_id"])
        given = amount_minor if adjustment == "refund" else None
        told = currency if given is not None else None
        return OfflineAdjustment(line, goal, order_id, adjustment, given, told, at_ms, marks, digest)
    if terms.set.match.isdisjoint(texts) and terms.set.match.isdisjoint(cells.person):
        raise Refusal("match_missing")
    person, minor = _person(cells, terms, at_ms)
    received = Received(
        site=upload.site,
        event_id=upload.row_id(digest),
        name=goal,
        trust=upload.trust,
        occurred_at_ms=at_ms,
        received_at_ms=upload.received_at_ms,
        conversion=True,
        amount_minor=amount_minor,
        currency=currency,
        order_id=order_id,
        goal=goal,
        items=_items(texts, terms, currency),
        props=_props(cells, terms, at_ms),
        person=person,
        click_ids={"gclid": texts["gclid"]} if "gclid" in texts else {},
        claim=_claim(texts, goal, terms),
        minor=minor,
        marks=marks,
    )
    return OfflineRow(line, received, texts.get("click_id"), tuple(cells.coupons), digest)


def _check(cells: Cells, terms: Terms) -> None:
    """Lengths, control characters, and values that name a person where they would be kept in clear."""
    for field, text in cells.texts.items():
        if len(text) > _LENGTHS.get(field, _LENGTH):
            raise Refusal("field_too_long", terms.labels[field])
        if field in {"click_id", "gclid", "order_id"}:
            _refuse_personal(text, terms.labels[field])
            if not text.isprintable() or (field != "order_id" and _CLICK.match(text) is None):
                raise Refusal("field_invalid", terms.labels[field])
        elif field == "items":
            _refuse_personal(text, terms.labels[field])
    for field, several in cells.person.items():
        if any(len(value.reveal()) > _PERSONAL_LENGTH for value in several):
            raise Refusal("field_too_long", terms.labels[field])
    for text in cells.coupons:
        if len(text) > _LENGTH:
            raise Refusal("field_too_long", terms.labels["coupon"])
        _refuse_personal(text, terms.labels["coupon"])
        if not text.isprintable():
            raise Refusal("field_invalid", terms.labels["coupon"])
    for label, value in cells.free:
        if isinstance(value, str):
            if len(value) > _FREE_LENGTH:
                raise Refusal("field_too_long", label)
            _refuse_personal(value, label)


def _refuse_personal(text: str, label: str) -> None:
    if ("@" in text and _EMAIL.search(text) is not None) or (text.startswith("+") and _PHONE.match(text) is not None):
        raise Refusal("field_personal", label)


def _goal(text: str, terms: Terms) -> str:
    """Name of the goal: as the upload maps it, else Meta's standard name, else as it is, in lower case."""
    mapped = terms.upload.goals.get(text)
    if mapped is None and terms.set.name == "meta":
        mapped = EVENT_NAMES.get(text)
    if mapped is None:
        mapped = text if terms.set.name == "gateway" else _GAPS.sub("_", text.lower())
    if _NAME.match(mapped) is None:
        raise Refusal("event_name_invalid", terms.labels["name"])
    return mapped


def _time(field: str, terms: Terms, texts: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    try:
        instant = read_time(texts[field], terms.zone, terms.set.dialect)
    except Refusal as refusal:
        raise Refusal(refusal.code, terms.labels[field]) from None
    now_ms = terms.upload.received_at_ms
    if not now_ms - SERVER_BACK_MS <= instant.at_ms <= now_ms + AHEAD_MS:
        raise Refusal("time_out_of_range", terms.labels[field])
    return instant.at_ms, ("time_ambiguous",) if instant.ambiguous else ()


def _adjustment(texts: Mapping[str, str], terms: Terms) -> str:
    word = texts.get("status")
    if word is None:
        return ""
    kind = STATUSES.get(word.lower())
    if kind is None:
        raise Refusal("field_invalid", terms.labels["status"])
    return kind


def _amount(texts: Mapping[str, str], terms: Terms, *, signed: bool) -> tuple[str | None, int | None]:
    """Currency and minor units. `signed`: the row takes a sale back, so a minus before the amount says nothing new."""
    code = texts.get("currency")
    if code is not None and code not in EXPONENTS:
        raise Refusal("currency_unknown", terms.labels["currency"])
    currency = code or terms.upload.currency or None
    text = texts.get("value")
    if text is None:
        return currency, None
    if (_AMOUNT_COMMA if terms.comma else _AMOUNT).match(text) is None:
        raise Refusal("amount_invalid", terms.labels["value"])
    if currency is None:
        raise Refusal("currency_missing", terms.labels["currency"])
    amount = Decimal(text.replace(",", "."))
    try:
        return currency, minor_from_major(abs(amount) if signed else amount, currency)
    except AmountError as error:
        field = "currency" if error.code.startswith("currency") else "value"
        raise Refusal(error.code, terms.labels[field]) from None


def _items(texts: Mapping[str, str], terms: Terms, currency: str | None) -> tuple[Item, ...]:
    return read_items(texts["items"], currency, terms.labels["items"]) if "items" in texts else ()


def _props(cells: Cells, terms: Terms, at_ms: int) -> dict[str, Scalar]:
    props: dict[str, Scalar] = {"source": "offline"}
    kind = cells.texts.get("kind")
    if kind is None:
        kind = terms.set.kind
    elif kind.lower() not in KINDS:
        raise Refusal("field_invalid", terms.labels["kind"])
    if kind is not None:
        props["kind"] = kind.lower()
    if "call_time" in cells.texts:
        started_at_ms, _ = _time("call_time", terms, cells.texts)
        if started_at_ms > at_ms:
            raise Refusal("field_invalid", terms.labels["time"])
        props["call_started_at_ms"] = started_at_ms
    props.update(cells.free)
    return props


def _person(cells: Cells, terms: Terms, at_ms: int) -> tuple[Person | None, bool]:
    """The person, every value wrapped, and whether the row says that they are under age."""
    values: dict[str, Personal | tuple[Personal, ...]] = {}
    for field, several in cells.person.items():
        if field in {"email", "phone"}:
            values[field] = tuple(several)
        elif field not in _AGES:
            values[field] = several[0]
    minor = False
    if not _AGES.isdisjoint(cells.person):
        birth, minor = _birth(cells, terms, at_ms)
        if birth is not None:
            values["date_of_birth"] = birth
    return (Person(**values) if values else None), minor  # type: ignore[arg-type] # keyed by the struct's field names


def _birth(cells: Cells, terms: Terms, at_ms: int) -> tuple[Personal | None, bool]:
    """Date of birth and whether any of date, year and age says that the person was under age."""
    texts = {field: cells.person[field][0].reveal() for field in _AGES if field in cells.person}
    for field, shape in (("birth_year", _YEAR), ("age", _AGE)):
        if field in texts and shape.match(texts[field]) is None:
            raise Refusal("field_invalid", terms.labels[field])
    this_year = year_of(at_ms)
    ages = [int(texts["age"])] if "age" in texts else []
    year = int(texts["birth_year"]) if "birth_year" in texts else None
    if year is not None:
        ages.append(this_year - year)
    birth = None
    if "date_of_birth" in texts:
        try:
            text = birth_date(texts["date_of_birth"], this_year, year)
        except Refusal as refusal:
            raise Refusal(refusal.code, terms.labels["date_of_birth"]) from None
        birth = Personal(text)
        if len(text) == _DATE_LENGTH:
            ages.append(years_between(text, at_ms))
    return birth, any(age < ADULT_YEARS for age in ages)


_DATE_LENGTH: Final = 10


def _claim(texts: Mapping[str, str], goal: str, terms: Terms) -> Claim:
    """What the row grants; the upload's default where it says nothing. All else is denied."""
    granted = terms.upload.granted_by_goal.get(goal, terms.upload.granted)
    listed = texts.get("consent")
    if listed is not None:
        granted = 0
        names = _LISTED.split(listed.lower().strip(" ,|"))
        for name in names:
            purposes = ALIASES.get(name)
            if purposes is None and name != "none":
                raise Refusal("purpose_unknown", terms.labels["consent"])
            granted |= purposes or 0
        if "none" in names:
            granted = 0
    for field, purpose in (("ad_user_data", AD_USER_DATA), ("ad_personalization", AD_PERSONALIZATION)):
        word = texts.get(field)
        if word is None:
            continue
        said = _WORDS.get(word.lower())
        if said is None:
            raise Refusal("consent_value_invalid", terms.labels[field])
        granted = granted | purpose if said else granted & ~purpose
    return Claim(granted, ALL_PURPOSES & ~granted & ~NECESSARY)


def _digest(
    cells: Cells, goal: str, at_ms: int, amount_minor: int | None, currency: str | None, adjustment: str
) -> bytes:
    """SHA-256 of the row's meaning: its cells by field, in the order of fields, the time and the amount as numbers.

    The order of columns, quotes, outer spaces and how a time is written make no difference. Neither does consent: a sale
    told again with another consent is the same sale. No text holds a zero character, so the parts cannot run together.
    """
    parts = ["offline row 1", goal, str(at_ms), adjustment]
    if amount_minor is not None:
        parts.append(f"value={amount_minor} {currency}")
    parts += sorted(f"{field}={text}" for field, text in cells.texts.items() if field not in _NOT_DIGESTED)
    for field in sorted(cells.person):
        parts += [f"{field}={value.reveal()}" for value in cells.person[field]]
    parts += [f"coupon={code}" for code in cells.coupons]
    parts += sorted(f"free.{label}={value}" for label, value in cells.free)
    return sha256("\0".join(parts).encode()).digest()
