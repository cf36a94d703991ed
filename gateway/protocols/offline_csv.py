"""Text files read as they arrive: bytes -> lines -> records of cells, never more than one line of them held (pure).

A reader is fed pieces of the file of any size and asked for what is complete; what is not stays inside. The text is
UTF-8 with or without a byte order mark. CSV follows RFC 4180: a cell in quotes may hold the delimiter, doubled quotes and
line breaks; a cell without quotes holds no quote. A record that breaks these rules is answered as broken with the lines
it took, and reading goes on behind it: nothing that stood inside a broken record is taken for a row.

Source: RFC 4180 (October 2005), sections 2.1 to 2.7.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.errors import Refusal

__all__ = ["COLUMNS_MAX", "DELIMITERS", "LINE_MAX_BYTES", "CsvRecords", "Record", "TextLines", "sniff_delimiter"]

LINE_MAX_BYTES: Final = 1_048_576
"""Longest line, and longest record of several lines."""
COLUMNS_MAX: Final = 200
DELIMITERS: Final = ",;\t"

_BLOCK_BYTES: Final = 65_536
"""How much is decoded at a time: enough that the work is done by C, little enough to be nothing."""
_NOT_TEXT: Final = (b"PK\x03\x04", b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff", b"\xd0\xcf\x11\xe0")
"""First bytes of zip (and xlsx), gzip, UTF-16 in both orders, and the older spreadsheet format."""
_QUOTED: Final = re.compile(r'"[^"]*"?')


class TextLines:
    """Splits bytes into numbered lines of text without their line feed. Raises Refusal `text_not_utf8`, `line_too_long`.

    Lines before the first bad one are given out before the refusal is raised; its field is `line N`, counted from 1.
    """

    def __init__(self) -> None:
        self.number = 0
        self._input = bytearray()
        self._searched = 0
        self._lines: list[str] = []
        self._given = 0
        self._broken: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        self._input += chunk

    def ready(self) -> Iterator[tuple[int, str]]:
        """Give the lines that are complete, each with its number."""
        while True:
            while self._given < len(self._lines):
                line = self._lines[self._given]
                self._given += 1
                self.number += 1
                yield self.number, line
            if self._broken is not None:
                raise self._refusal(self._broken)
            cut = self._cut()
            if cut < 0:
                return
            self._decode(cut)

    def finish(self) -> Iterator[tuple[int, str]]:
        """Give what is left after the last bytes: the last line may lack its line feed."""
        yield from self.ready()
        if self._input:
            self.feed(b"\n")
            yield from self.ready()

    def _cut(self) -> int:
        """Where the next block ends: behind its last line feed. Below 0: no line is complete."""
        if self.number == 0 and not self._lines and self._input.startswith(_NOT_TEXT):
            raise self._refusal("text_not_utf8")
        end = self._input.rfind(b"\n", self._searched, _BLOCK_BYTES)
        if end < 0:
            end = self._input.find(b"\n", max(self._searched, _BLOCK_BYTES))
        self._searched = len(self._input) if end < 0 else 0
        if (len(self._input) if end < 0 else end) > LINE_MAX_BYTES:
            raise self._refusal("line_too_long")
        return end + 1 if end >= 0 else -1

    def _decode(self, cut: int) -> None:
        block = bytes(self._input[:cut])
        del self._input[:cut]
        # Text of two bytes a character without a mark is valid UTF-8 full of zeros.
        zero = block.find(b"\0")
        if zero >= 0:
            self._broken = "text_not_utf8"
            block = block[: block.rfind(b"\n", 0, zero) + 1]
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            self._broken = "text_not_utf8"
            text = block[: block.rfind(b"\n", 0, error.start) + 1].decode("utf-8")
        if self.number == 0:
            text = text.removeprefix("\ufeff")
        self._lines = text.split("\n")
        self._lines.pop()
        self._given = 0

    def _refusal(self, code: str) -> Refusal:
        return Refusal(code, f"line {self.number + 1}")


class Record(NamedTuple):
    """One record: its first and last line and its cells, None when its quotes do not follow the rules."""

    line: int
    last_line: int
    cells: list[str] | None


class CsvRecords:
    """Puts lines together to records. A record has at most COLUMNS_MAX + 1 cells: what is beyond them is not kept."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._cells: list[str] = []
        self._quoted: list[str] | None = None
        self._first = 0
        self._last = 0
        self._size = 0

    def take(self, number: int, line: str) -> Record | None:
        """Take the next line; answer the record it completes. Raises Refusal `line_too_long` on a record without end."""
        line = line.removesuffix("\r")
        if self._quoted is None:
            if '"' not in line:
                return Record(number, number, line.split(self._delimiter, COLUMNS_MAX))
            self._first, self._size, self._cells = number, 0, []
        self._last = number
        self._size += len(line) + 1
        if self._size > LINE_MAX_BYTES:
            raise Refusal("line_too_long", f"line {self._first}")
        whole = self._scan(line)
        if whole is None:
            return None
        self._quoted = None
        return Record(self._first, number, self._cells if whole else None)

    def finish(self) -> Record | None:
        """Answer the record that the end of the file left open: a quote that was never closed."""
        return None if self._quoted is None else Record(self._first, self._last, None)

    def _scan(self, line: str) -> bool | None:
        """Read the cells of a line. True: the record is complete; False: it is broken; None: it goes on."""
        at = 0
        while True:
            if self._quoted is not None:
                end = self._close(self._quoted, line, at)
                if end < 0:
                    return None
                if end == len(line):
                    return True
                if line[end] != self._delimiter:
                    return False
                at = end + 1
            if line.startswith('"', at):
                self._quoted = []
                at += 1
                continue
            end = line.find(self._delimiter, at)
            cell = line[at:] if end < 0 else line[at:end]
            if '"' in cell:
                return False
            self._keep(cell)
            if end < 0:
                return True
            at = end + 1

    def _close(self, parts: list[str], line: str, at: int) -> int:
        """Read on inside a quoted cell. Answer where it ended, below 0 when it goes on in the next line."""
        while True:
            quote = line.find('"', at)
            if quote < 0:
                parts.append(line[at:])
                parts.append("\n")
                return -1
            if not line.startswith('""', quote):
                parts.append(line[at:quote])
                self._keep("".join(parts))
                self._quoted = None
                return quote + 1
            parts.append(line[at : quote + 1])
            at = quote + 2

    def _keep(self, cell: str) -> None:
        if len(self._cells) <= COLUMNS_MAX:
            self._cells.append(cell)


def sniff_delimiter(header: str) -> str:
    """Which of DELIMITERS separates the names of a header line: the one most used outside quotes, a comma when none is."""
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)
