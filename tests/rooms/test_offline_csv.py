"""Lines and records of text files: RFC 4180 as written, limits kept, and the same answer however the bytes are cut."""

import csv
import io
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.protocols.offline_csv import (
    COLUMNS_MAX,
    LINE_MAX_BYTES,
    CsvRecords,
    Record,
    TextLines,
    sniff_delimiter,
)
from tests.support.properties import tried

quick = tried(200)


def lines_of(*chunks: bytes) -> list[tuple[int, str]]:
    lines = TextLines()
    found: list[tuple[int, str]] = []
    for chunk in chunks:
        lines.feed(chunk)
        found += lines.ready()
    found += lines.finish()
    return found


def records_of(text: str, delimiter: str = ",") -> Iterator[Record]:
    records = CsvRecords(delimiter)
    for number, line in lines_of(text.encode()):
        record = records.take(number, line)
        if record is not None:
            yield record
    last = records.finish()
    if last is not None:
        yield last


# ------------------------------------------------------------------ lines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\r\n", ["a\r", "b\r"]),
        (b"\n\na", ["", "", "a"]),
        ("\ufeffa\nb".encode(), ["a", "b"]),
        ("a\u2028b\x0bc\x85\n".encode(), ["a\u2028b\x0bc\x85"]),
        ("ä\n\ufeffb".encode(), ["ä", "\ufeffb"]),
    ],
)
def test_lines_end_at_line_feeds_only_and_a_mark_counts_at_the_very_start_only(
    data: bytes, expected: list[str]
) -> None:
    assert [line for _, line in lines_of(data)] == expected


@quick
@given(
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), cuts=st.lists(st.integers(0, 60))
)
def test_the_lines_are_the_same_however_the_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    ends = sorted({min(cut, len(data)) for cut in cuts})
    chunks = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    assert lines_of(*chunks) == lines_of(data)


def test_lines_are_numbered_from_one_over_every_block() -> None:
    data = b"".join(b"%d\n" % number for number in range(1, 50_001))
    assert all(line == str(number) for number, line in lines_of(data))
    assert lines_of(data)[-1] == (50_000, "50000")


@pytest.mark.parametrize("length", [65_534, 65_535, 65_536, 65_537, 131_072])
@pytest.mark.parametrize("piece", [65_535, 65_536, 65_537, 10_000, 1_000_000])
def test_lines_as_long_as_a_block_end_where_they_end(length: int, piece: int) -> None:
    data = b"x" * length + b"\ny\n"
    chunks = [data[at : at + piece] for at in range(0, len(data), piece)]
    assert lines_of(*chunks) == [(1, "x" * length), (2, "y")]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("ä\nö\n".encode("latin-1"), 1),
        (b"good\ngood\n\xff\n", 3),
        (b"good\n\xc3", 2),
        ("goal\nSüd\n".encode("utf-16"), 1),
        ("goal;time\n".encode("utf-16-le"), 1),
        (b"a\nb\0c\n", 2),
        (b"a\n\xff\nb\0c\n", 2),
        (b"PK\x03\x04 a zip\n", 1),
        (b"\x1f\x8b\x08 a gzip", 1),
        (b"a\n" * 60_000 + b"\xff\n", 60_001),
    ],
)
def test_what_is_not_utf8_is_refused_with_its_line_behind_the_lines_before_it(data: bytes, line: int) -> None:
    lines = TextLines()
    lines.feed(data)
    found: list[tuple[int, str]] = []
    with pytest.raises(Refusal) as refused:
        found.extend(lines.finish())
    assert (refused.value.code, refused.value.field) == ("text_not_utf8", f"line {line}")
    assert len(found) == line - 1


def test_a_line_of_one_mebibyte_is_taken_and_one_more_byte_is_refused() -> None:
    assert len(lines_of(b"x" * LINE_MAX_BYTES + b"\n")[0][1]) == LINE_MAX_BYTES
    for end in (b"", b"\n", b"\nmore\n"):
        with pytest.raises(Refusal) as refused:
            lines_of(b"first\n" + b"x" * (LINE_MAX_BYTES + 1) + end)
        assert (refused.value.code, refused.value.field) == ("line_too_long", "line 2")


def test_a_line_without_end_is_refused_while_it_is_fed_and_not_at_the_end() -> None:
    lines = TextLines()
    for _ in range(LINE_MAX_BYTES // 65_536):
        lines.feed(b"x" * 65_536)
        assert list(lines.ready()) == []
    lines.feed(b"x")
    with pytest.raises(Refusal, match="line_too_long"):
        list(lines.ready())


def test_lines_not_taken_come_with_the_next_answer() -> None:
    lines = TextLines()
    lines.feed(b"a\nb\nc\n")
    assert next(iter(lines.ready())) == (1, "a")
    lines.feed(b"d\n")
    assert list(lines.ready()) == [(2, "b"), (3, "c"), (4, "d")]


# ------------------------------------------------------------------ records

RECORDS: Final = {
    "plain": ("a,b,c\n", [["a", "b", "c"]]),
    "empty cells": (",,\n", [["", "", ""]]),
    "no line feed at the end": ("a,b", [["a", "b"]]),
    "carriage returns": ("a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]),
    "quoted delimiter": ('"a,b",c\n', [["a,b", "c"]]),
    "doubled quotes": ('"a ""b"" c",""""\n', [['a "b" c', '"']]),
    "empty quoted": ('"",""\n', [["", ""]]),
    "two lines in a cell": ('"a\nb",c\nd,e\n', [["a\nb", "c"], ["d", "e"]]),
    "line break of windows in a cell": ('"a\r\n\r\nb",c\r\n', [["a\n\nb", "c"]]),
    "quoted last cell": ('a,"b"\r\n', [["a", "b"]]),
    "delimiter at the end": ('"a",\n', [["a", ""]]),
    "many lines": ('"' + "x\n" * 500 + '"\n', [["x\n" * 500]]),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records_are_read_as_rfc_4180_says(case: str) -> None:
    text, expected = RECORDS[case]
    assert [record.cells for record in records_of(text)] == expected


BROKEN: Final = {
    "a quote inside a bare cell": ('a"b,c\n', 1, 1),
    "text behind a closing quote": ('"a" b,c\n', 1, 1),
    "space before an opening quote": ('a, "b"\n', 1, 1),
    "closed with text behind it two lines on": ('"a\nb\nc"d,e\n', 1, 3),
    "never closed": ('"a\nb\nc\n', 1, 3),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_record_is_told_with_its_lines_and_nothing_inside_it_is_a_row(case: str) -> None:
    text, first, last = BROKEN[case]
    assert list(records_of(text)) == [Record(first, last, None)]
    if case != "never closed":
        assert list(records_of(text + "next,row\n"))[1:] == [Record(last + 1, last + 1, ["next", "row"])]


@quick
@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), min_size=2, max_size=5),
        max_size=8,
    ),
    delimiter=st.sampled_from(",;\t"),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_library_writes_is_read_back(rows: list[list[str]], delimiter: str, ending: str) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator=ending).writerows(rows)
    # A mark in front of the first cell is one: this is what a byte order mark looks like.
    expected = [list(row) for row in rows]
    if expected and expected[0][0].startswith("\ufeff") and not written.getvalue().startswith('"'):
        expected[0][0] = expected[0][0][1:]
    assert [record.cells for record in records_of(written.getvalue(), delimiter)] == expected


def test_cells_beyond_the_limit_are_not_kept() -> None:
    for row in ("," * 100_000, '"",' * 100_000):
        (record,) = records_of(row + "\n")
        assert record.cells is not None
        assert len(record.cells) == COLUMNS_MAX + 1


def test_a_record_over_several_lines_has_the_limit_of_one() -> None:
    with pytest.raises(Refusal) as refused:
        list(records_of('a,b\n"' + "x\n" * LINE_MAX_BYTES + '"\n'))
    assert (refused.value.code, refused.value.field) == ("line_too_long", "line 2")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("goal,time,value", ","),
        ("goal;time;value", ";"),
        ("goal\ttime\tvalue", "\t"),
        ("goal", ","),
        ('"a,b,c,d";time', ";"),
        ("a;b;c,d", ";"),
        ("", ","),
    ],
)
def test_the_delimiter_is_told_by_the_header_outside_its_quotes(header: str, expected: str) -> None:
    assert sniff_delimiter(header) == expected
