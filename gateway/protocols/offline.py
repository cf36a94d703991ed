"""Offline conversions: files of a till, a call centre or a sales system, read row by row as they arrive (pure).

    bytes -> lines -> records -> cells -> OfflineRow | OfflineAdjustment | RowProblem

A file is CSV (comma, semicolon or tab) or JSON lines; which of them, its delimiter and its set of columns are told by its
first lines, the set may also be named. Rows are answered while the file is read, and no more of it is held than one line.
A row that is wrong costs that row; what makes the rest unreadable (not text, a line without end, an unknown header)
raises Refusal behind the rows that came before it.

Before the header of CSV there may be what Google's templates put there: `Parameters:TimeZone=...`, which is the zone of
times without one, and lines beginning with `#`; and the spreadsheets' `sep=;`.
"""

import re
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import Refusal
from gateway.protocols.offline_columns import OURS, SETS, Layout, lay_out
from gateway.protocols.offline_csv import DELIMITERS, CsvRecords, Record, TextLines, sniff_delimiter
from gateway.protocols.offline_json import json_cells
from gateway.protocols.offline_rows import read_row
from gateway.protocols.offline_shapes import (
    KINDS,
    STATUSES,
    Cells,
    OfflineAdjustment,
    OfflineRow,
    Outcome,
    RowProblem,
    Terms,
    Upload,
)
from gateway.protocols.offline_times import read_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

__all__ = [
    "KINDS",
    "SETS",
    "STATUSES",
    "Head",
    "OfflineAdjustment",
    "OfflineReader",
    "OfflineRow",
    "Outcome",
    "RowProblem",
    "Upload",
    "read",
]

_PREAMBLE_LINES: Final = 50
_SEPARATOR: Final = re.compile(rf'"?sep=([{DELIMITERS}])"?\Z', re.IGNORECASE)
_PARAMETERS: Final = re.compile(r'"?Parameters:', re.IGNORECASE)
_PARAMETER_ENDS: Final = re.compile(rf"[{DELIMITERS}]")


class Head(msgspec.Struct, frozen=True):
    """What the first lines of a file told: its set of columns, its delimiter (empty: JSON lines), columns not used."""

    columns: str
    delimiter: str
    unused: tuple[str, ...] = ()


class OfflineReader:
    """Reads one file. Feed it the bytes in pieces; each answers the rows they completed.

    `head` is known once the header was read, `rows` counts what was answered. Iterating may be broken off: rows that were
    not taken come with the next answer. Raises Refusal, whose field is `line N`, a column's name or its place such as `#3`.
    """

    def __init__(self, upload: Upload) -> None:
        if upload.columns and upload.columns not in SETS:
            raise Refusal("header_unknown", "columns")
        self.head: Head | None = None
        self.rows = 0
        self._upload = upload
        self._lines = TextLines()
        self._zone = _zone(upload.zone, "zone")
        self._delimiter = ""
        self._header: CsvRecords | None = None
        self._body: _CsvRows | _JsonRows | None = None

    def feed(self, chunk: bytes) -> "Iterator[Outcome]":
        """Take the next bytes and answer the rows that are complete."""
        self._lines.feed(chunk)
        return self._outcomes(self._lines.ready())

    def finish(self) -> "Iterator[Outcome]":
        """Answer the last rows: there are no more bytes."""
        yield from self._outcomes(self._lines.finish())
        if self._body is None:
            raise Refusal("header_unknown", "line 1")
        last = self._body.finish()
        if last is not None:
            yield self._counted(last)

    def _outcomes(self, lines: "Iterator[tuple[int, str]]") -> "Iterator[Outcome]":
        for number, line in lines:
            if self._body is None:
                self._begin(number, line)
                if not isinstance(self._body, _JsonRows):
                    continue
            outcome = self._body.take(number, line)
            if outcome is not None:
                yield self._counted(outcome)

    def _counted(self, outcome: Outcome) -> Outcome:
        self.rows += 1
        if self.rows > self._upload.rows_max:
            raise Refusal("rows_too_many", f"line {outcome.line}")
        return outcome

    def _begin(self, number: int, line: str) -> None:
        """Read a line before or of the header. JSON lines have none: their first line is a row."""
        if self._header is None:
            bare = line.strip(' \t\r,;"')
            if not bare or (number <= _PREAMBLE_LINES and self._preamble(line.strip(" \r"), bare)):
                return
            if bare.startswith("{"):
                self._body = _JsonRows(self._upload, self._zone)
                self.head = Head(OURS.name, "")
                return
            self._delimiter = self._delimiter or sniff_delimiter(line)
            self._header = CsvRecords(self._delimiter)
        record = self._header.take(number, line)
        if record is None:
            return
        if record.cells is None:
            raise Refusal("quotes_invalid", f"line {record.line}")
        layout = lay_out(record.cells, self._upload.columns)
        terms = Terms(self._upload, layout.set, layout.labels, self._zone, self._delimiter == ";")
        self._body = _CsvRows(self._header, layout, terms)
        self.head = Head(layout.set.name, self._delimiter, layout.unused)

    def _preamble(self, line: str, bare: str) -> bool:
        """Whether a line stands before the header; what it tells is kept."""
        separator = _SEPARATOR.match(line)
        if separator is not None:
            self._delimiter = separator.group(1)
            return True
        if _PARAMETERS.match(line) is None:
            return bare.startswith("#")
        for part in _PARAMETER_ENDS.split(line.replace('"', "")[len("Parameters:") :]):
            name, equals, value = (word.strip() for word in part.partition("="))
            if name.lower() == "timezone" and value:
                self._zone = _zone(value, "TimeZone")
            elif equals and name.lower() != "entitytype" and not name.startswith("#"):
                raise Refusal("field_unknown", "Parameters")
        return True


def read(chunks: "Iterable[bytes]", upload: Upload) -> "Iterator[Outcome]":
    """Read a whole file that comes in pieces. Raises Refusal behind the rows before the place that is unreadable."""
    reader = OfflineReader(upload)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()


def _zone(text: str, field: str) -> "tzinfo":
    try:
        return read_zone(text)
    except Refusal as refusal:
        raise Refusal(refusal.code, field) from None


class _CsvRows:
    """The rows below a header."""

    def __init__(self, records: CsvRecords, layout: Layout, terms: Terms) -> None:
        self._records = records
        self._layout = layout
        self._terms = terms

    def take(self, number: int, line: str) -> Outcome | None:
        """Take the next line; answer the row it completes. A row without any cell filled is no row."""
        record = self._records.take(number, line)
        return self._read(record) if record is not None else None

    def finish(self) -> RowProblem | None:
        """Answer the row that the end of the file left open."""
        record = self._records.finish()
        return _broken(record) if record is not None else None

    def _read(self, record: Record) -> Outcome | None:
        if record.cells is None:
            return _broken(record)
        if not "".join(record.cells).strip():
            return None
        try:
            cells = _cells(record.cells, self._layout)
        except Refusal as refusal:
            return RowProblem(record.line, refusal.field, refusal.code, record.last_line)
        return read_row(record.line, cells, self._terms, record.last_line)


class _JsonRows:
    """The lines of a file of objects."""

    def __init__(self, upload: Upload, zone: "tzinfo") -> None:
        if upload.columns not in ("", OURS.name):
            raise Refusal("header_unknown", "columns")
        labels = {column.field: column.name for column in OURS.columns}
        self._terms = Terms(upload, OURS, labels, zone, comma=False)

    def take(self, number: int, line: str) -> Outcome | None:
        """Read one line; an empty one is no row."""
        if not line.strip():
            return None
        try:
            cells = json_cells(line)
        except Refusal as refusal:
            return RowProblem(number, refusal.field, refusal.code, number)
        return read_row(number, cells, self._terms)

    def finish(self) -> None:
        """Leave nothing open: every line is a row."""


def _broken(record: Record) -> RowProblem:
    return RowProblem(record.line, None, "quotes_invalid", record.last_line)


def _cells(values: list[str], layout: Layout) -> Cells:
    """Put the cells of a record under their fields. Raises Refusal `row_length`, `field_unknown`.

    Spreadsheets leave out the delimiters behind the last cell that is not empty, so a shorter row is taken; not where a
    cell about consent is among the missing. More cells than the header has names are taken while they are empty.
    """
    count = len(values)
    if count < layout.cells_min or (count > layout.width and "".join(values[layout.width :]).strip()):
        raise Refusal("row_length")
    cells = Cells()
    for index, field in layout.places:
        text = values[index].strip() if index < count else ""
        if text:
            cells.put(field, text)
    for index, prop in layout.free:
        text = values[index].strip() if index < count else ""
        if text:
            cells.free.append((prop, text))
    for index in layout.blank:
        if index < count and values[index].strip():
            raise Refusal("field_unknown", f"#{index + 1}")
    return cells
