"""Tables to take away: CSV that no spreadsheet runs, JSON lines, and the file of what an upload's rows were refused for.

A text that a spreadsheet would take for a formula gets an apostrophe in front, which it shows as text. Numbers stay
numbers, negative ones too: a column of numbers is named as such, and only what is a plain number passes there unguarded.

Source: RFC 4180 (quotes); OWASP ASVS 5.0 1.2.10 and OWASP, CSV Injection (first characters), read 2026-11.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from gateway.errors import CODES

__all__ = ["Cell", "ErrorFile", "csv_line", "csv_lines", "json_lines", "safe_cell"]

Cell = str | int | float | Decimal | bool | None

_FORMULA_STARTS: Final = tuple("=+-@＝＋－＠")
_CONTROL_STARTS: Final = tuple("\t\r\n\0")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?\Z", re.ASCII)
_NEEDS_QUOTES: Final = re.compile(r'[",;\t\r\n]|^\s|\s\Z')


def safe_cell(text: str) -> str:
    """Guard a text against being run: `'` in front where it begins, outer spaces aside, like a formula."""
    return f"'{text}" if text.startswith(_CONTROL_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text


def _shown(cell: Cell, number: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str):
        return cell if number and _NUMBER.match(cell) is not None else safe_cell(cell)
    if not math.isfinite(cell):
        return ""
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def csv_line(cells: Iterable[Cell], numbers: Collection[int] = ()) -> bytes:
    """Write one record as RFC 4180 says, in UTF-8. `numbers` are the places of cells whose text is a number."""
    shown = []
    for place, cell in enumerate(cells):
        text = _shown(cell, place in numbers)
        shown.append('"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) is not None else text)
    # A record of one empty cell would be an empty line, which readers skip.
    return (",".join(shown) if shown != [""] else '""').encode("utf-8", "replace") + b"\r\n"


def csv_lines(header: Iterable[str], rows: Iterable[Iterable[Cell]], numbers: Collection[str] = ()) -> Iterator[bytes]:
    """Write a table record by record, the header first. `numbers` names columns whose texts are numbers, such as amounts."""
    names = tuple(header)
    places = frozenset(place for place, name in enumerate(names) if name in numbers)
    yield csv_line(names)
    for row in rows:
        yield csv_line(row, places)


def json_lines(rows: Iterable[object]) -> Iterator[bytes]:
    """Write one JSON value per line. Nothing is guarded here: JSON is read by programs."""
    encode = msgspec.json.Encoder().encode
    for row in rows:
        yield encode(row) + b"\n"


class ErrorFile:
    """The file of refused rows: line, column, code and message of each, and nothing of what was sent.

    It is written piece by piece; the header comes with the first row. `count` is how many rows it holds.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, line: int, column: str | None, code: str, last_line: int = 0) -> bytes:
        """Write one row. A row of the upload that goes over several lines is told as `3..7`. `code` is a key of CODES."""
        where: Cell = line if last_line <= line else f"{line}..{last_line}"
        written = csv_line((where, column, code, CODES[code].message))
        self.count += 1
        return csv_line(("line", "column", "code", "message")) + written if self.count == 1 else written
