"""Spend: what campaigns cost, as a file of an ad platform or a JSON list tells it (pure).

    bytes -> rows of cells by column -> SpendLine | SpendProblem

A row says what was spent on one day of one campaign, channel and source in one currency. CSV has a header line and comma,
semicolon or tab between its cells; JSON is a list of objects whose members are named like the columns. Every row is read,
so that all that is wrong with a file is told at once, by line and column and never with a value.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec

from gateway.errors import Refusal
from gateway.money import EXPONENTS, AmountError, minor_from_major
from gateway.protocols.offline_csv import CsvRecords, TextLines, sniff_delimiter

__all__ = ["COLUMNS", "SpendLine", "SpendProblem", "SpendTerms", "read_day", "read_spend"]

COLUMNS: Final = ("date", "campaign", "channel", "source", "currency", "amount", "clicks", "impressions")
_ALSO: Final[Mapping[str, str]] = {"day": "date", "cost": "amount", "spend": "amount"}
_PLACES: Final = {**{name: name for name in COLUMNS}, **_ALSO}

TEXT_MAX: Final = 120
_CHANNEL_MAX: Final = 40
_FIRST: Final = date(2000, 1, 1)
_EPOCH: Final = date(1970, 1, 1)

_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z", re.ASCII)
_AMOUNT: Final = re.compile(r"-?\d{1,18}(?:\.\d{1,9})?\Z", re.ASCII)
_AMOUNT_COMMA: Final = re.compile(r"-?\d{1,18}(?:[.,]\d{1,9})?\Z", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,12}\Z", re.ASCII)
_EMAIL: Final = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")


class SpendTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every row. `currency` is that of rows without one, empty for none. `last_day`: no row may be later."""

    last_day: int
    currency: str = ""
    rows_max: int = 100_000


class SpendLine(msgspec.Struct, frozen=True, kw_only=True):
    """One row read. `campaign` is a code or an id, as written. `day` counts days since 1970. No clicks said is None."""

    line: int
    day: int
    campaign: str
    channel: str
    source: str
    currency: str
    amount_minor: int
    clicks: int | None
    impressions: int | None


class SpendProblem(msgspec.Struct, frozen=True):
    """A row that cannot be taken. `line` is that of the file, or the place in the list counted from 1."""

    line: int
    column: str | None
    code: str
    last_line: int = 0


Cells = Mapping[str, str]


def read_spend(body: bytes, terms: SpendTerms) -> Iterator[SpendLine | SpendProblem]:
    """Read a file or a list, row by row. Raises Refusal where it is unreadable as a whole, with `line N` or a column."""
    rows = _listed(body) if body.lstrip(b" \t\r\n")[:1] in {b"[", b"{"} else _filed(body)
    for count, (line, last_line, cells, comma) in enumerate(rows, 1):
        if count > terms.rows_max:
            raise Refusal("rows_too_many", f"line {line}")
        if isinstance(cells, Refusal):
            yield SpendProblem(line, cells.field, cells.code, last_line)
            continue
        try:
            yield _read(line, cells, terms, comma=comma)
        except Refusal as refusal:
            yield SpendProblem(line, refusal.field, refusal.code, last_line)


_Row = tuple[int, int, Cells | Refusal, bool]
"""Line, last line, the cells by column or why there are none, whether amounts may have a decimal comma."""


# ------------------------------------------------------------------ where rows come from


def _filed(body: bytes) -> Iterator[_Row]:
    lines = TextLines()
    lines.feed(body)
    numbered = lines.finish()
    header: list[str] | None = None
    records: CsvRecords | None = None
    comma = False
    for number, line in numbered:
        if records is None:
            if not line.strip(' \t\r,;"'):
                continue
            delimiter = sniff_delimiter(line)
            records, comma = CsvRecords(delimiter), delimiter == ";"
        record = records.take(number, line)
        if record is None:
            continue
        if header is None:
            if record.cells is None:
                raise Refusal("quotes_invalid", f"line {record.line}")
            header = _header(record.cells)
        elif record.cells is None:
            yield record.line, record.last_line, Refusal("quotes_invalid"), comma
        elif "".join(record.cells).strip():
            yield record.line, record.last_line, _named(header, record.cells), comma
    if header is None or records is None:
        raise Refusal("header_unknown", "line 1")
    left = records.finish()
    if left is not None:
        yield left.line, left.last_line, Refusal("quotes_invalid"), comma


def _header(names: list[str]) -> list[str]:
    """Columns of a header. An unknown name is told by its place: without a header it is data."""
    found: list[str] = []
    for place, name in enumerate(names, 1):
        column = _PLACES.get(name.strip().lower())
        if column is None:
            raise Refusal("field_unknown", f"#{place}")
        if column in found:
            raise Refusal("column_repeated", column)
        found.append(column)
    if "date" not in found:
        raise Refusal("field_missing", "date")
    return found


def _named(header: list[str], cells: list[str]) -> Cells | Refusal:
    if len(cells) != len(header):
        return Refusal("row_length")
    return {column: text for column, cell in zip(header, cells, strict=True) if (text := cell.strip())}


def _listed(body: bytes) -> Iterator[_Row]:
    try:
        text = body.decode("utf-8")
        made = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_refuse, object_pairs_hook=tuple)
        if "\\u" in text:  # a lone surrogate is text to JSON and to nobody else
            json.dumps(made, ensure_ascii=False).encode()
    except RecursionError:
        raise Refusal("json_too_deep") from None
    except ValueError:
        raise Refusal("json_invalid") from None
    for place, each in enumerate(made if isinstance(made, list) else [made], 1):
        yield place, place, _members(each), False


class _Number(str):
    """A number as JSON wrote it: its text is exact, a float would not be."""

    __slots__ = ()


def _refuse(word: str) -> object:
    raise ValueError(word)  # NaN and Infinity are no JSON


def _members(pairs: object) -> Cells | Refusal:
    if not isinstance(pairs, tuple):
        return Refusal("field_type")
    found: dict[str, str] = {}
    for place, (name, value) in enumerate(pairs, 1):
        column = _PLACES.get(name)
        if column is None:
            return Refusal("field_unknown", f"#{place}")
        if column in found:
            return Refusal("column_repeated", column)
        if value is None:
            continue
        if not isinstance(value, str) or "\0" in value:
            return Refusal("field_type", column)
        text = str.strip(value)
        if text:
            found[column] = text
    return found


# ------------------------------------------------------------------ one row


def _read(line: int, cells: Cells, terms: SpendTerms, *, comma: bool) -> SpendLine:
    currency, amount_minor = _amount(cells, terms, comma=comma)
    return SpendLine(
        line=line,
        day=_day(cells, terms),
        campaign=_text(cells, "campaign", 64),
        channel=_text(cells, "channel", _CHANNEL_MAX),
        source=_text(cells, "source", TEXT_MAX),
        currency=currency,
        amount_minor=amount_minor,
        clicks=_count(cells, "clicks"),
        impressions=_count(cells, "impressions"),
    )


def _day(cells: Cells, terms: SpendTerms) -> int:
    text = cells.get("date")
    if text is None:
        raise Refusal("field_missing", "date")
    day = read_day(text, "date")
    if day > terms.last_day:
        raise Refusal("date_invalid", "date")
    return day


def read_day(text: str, field: str) -> int:
    """Read `YYYY-MM-DD`, from 2000 on, as days since 1970. Raises Refusal `date_invalid` at `field`."""
    found = _DATE.match(text)
    try:
        day = date(*(int(part) for part in found.groups())) if found is not None else _EPOCH
    except ValueError:
        day = _EPOCH
    if day < _FIRST:
        raise Refusal("date_invalid", field)
    return (day - _EPOCH).days


def _text(cells: Cells, column: str, limit: int) -> str:
    text = cells.get(column, "")
    if len(text) > limit:
        raise Refusal("field_too_long", column)
    if not text.isprintable():
        raise Refusal("field_invalid", column)
    if "@" in text and _EMAIL.search(text) is not None:
        raise Refusal("field_personal", column)
    return text


def _amount(cells: Cells, terms: SpendTerms, *, comma: bool) -> tuple[str, int]:
    """Currency and minor units. A row with clicks or impressions alone costs nothing; one that says nothing is refused."""
    currency = cells.get("currency", terms.currency)
    text = cells.get("amount")
    if currency and currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")
    if text is None:
        if "clicks" not in cells and "impressions" not in cells:
            raise Refusal("field_missing", "amount")
        text = "0"
    if not currency:
        raise Refusal("currency_missing", "currency")
    if (_AMOUNT_COMMA if comma else _AMOUNT).match(text) is None:
        raise Refusal("amount_invalid", "amount")
    try:
        return currency, minor_from_major(Decimal(text.replace(",", ".")), currency)
    except AmountError as error:
        raise Refusal(error.code, "amount") from None


def _count(cells: Cells, column: str) -> int | None:
    text = cells.get(column)
    if text is None:
        return None
    if _COUNT.match(text) is None:
        raise Refusal("field_invalid", column)
    return int(text)
