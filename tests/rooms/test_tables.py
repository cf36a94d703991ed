"""Tables taken away: no cell is run by a spreadsheet, numbers stay numbers, and readers of CSV get back what was written."""

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CODES
from gateway.pages.tables import Cell, ErrorFile, csv_line, csv_lines, json_lines, safe_cell
from tests.support.properties import tried

quick = tried(300)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def read_back(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(\"http://evil.example\",\"click\")", "=1+1", "+1", "-1", "-2+3", "@SUM(A1:A9)", "\t=1", "\r=1", "\n=1",
        "\0=1", "\tharmless", "  =1", "\u00a0=1", "＝1", "－1", "＋1", "＠x", "=", "-", "+49 30 5550100", "-foo",
        "=cmd|' /C calc'!A0",
    ],
)  # fmt: skip
def test_a_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert read_back(csv_line(["a", text]))[0][1] == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "a", "a=1", "1-1", "'=1", '"=1', "a@example.com", "1", "2026-01-14", " ", "a\n=1"]
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert safe_cell(text) == text
    assert read_back(csv_line(["a", text])) == [["a", text]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (-1, "-1"),
        (-1.5, "-1.5"),
        (Decimal("-12.30"), "-12.30"),
        (Decimal("1E+3"), "1000"),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        (float("-inf"), ""),
        (float("nan"), ""),
        (Decimal("-Infinity"), ""),
    ],
)
def test_numbers_stay_numbers_and_what_is_no_number_is_empty(cell: Cell, expected: str) -> None:
    assert csv_line(["a", cell]) == f"a,{expected}\r\n".encode()


def test_a_column_of_numbers_keeps_plain_numbers_and_guards_all_else() -> None:
    rows = [("-12.30", "-12.30"), ("-1+1", "x"), ("-", "y"), ("-1 ", "z"), ("", "=1"), ("-１", "full width")]
    written = b"".join(csv_lines(["amount", "note"], rows, numbers={"amount"}))
    assert read_back(written) == [
        ["amount", "note"], ["-12.30", "'-12.30"], ["'-1+1", "x"], ["'-", "y"], ["'-1 ", "z"], ["", "'=1"],
        ["'-１", "full width"],
    ]  # fmt: skip


def test_a_header_is_guarded_like_any_text() -> None:
    assert next(csv_lines(["=1", "b"], [])) == b"'=1,b\r\n"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a,b", 'say "x"', "two\nlines", "semi;colon", "tab\tin it", " edge", "plain"],
         b'"a,b","say ""x""","two\nlines","semi;colon","tab\tin it"," edge",plain\r\n'),
        (['","=1+1'], b'""",""=1+1"\r\n'),
        ([""], b'""\r\n'),
        (["Süd €"], "Süd €\r\n".encode()),
        (["\ud800"], b"?\r\n"),
    ],
)  # fmt: skip
def test_cells_are_quoted_as_rfc_4180_says(cells: list[str], expected: bytes) -> None:
    assert csv_line(cells) == expected


@quick
@given(rows=st.lists(st.lists(texts, min_size=1, max_size=5), max_size=6))
def test_readers_get_back_what_was_written_and_no_cell_begins_a_formula(rows: list[list[str]]) -> None:
    back = read_back(b"".join(csv_lines(["h"], rows)))[1:]
    assert back == [[safe_cell(text) for text in row] for row in rows]
    for row in back:
        assert not any(cell.lstrip()[:1] in set("=+-@＝＋－＠") or cell[:1] in set("\t\r\n\0") for cell in row)


def test_tables_are_written_row_by_row() -> None:
    drawn: list[int] = []

    def rows() -> Iterator[tuple[int]]:
        for number in range(1_000_000):
            drawn.append(number)
            yield (number,)

    written = csv_lines(["n"], rows())
    assert [next(written) for _ in range(3)] == [b"n\r\n", b"0\r\n", b"1\r\n"]
    assert len(drawn) == 2


def test_json_lines_are_one_value_per_line() -> None:
    rows = [{"a": "=1\nb"}, {"a": 1}, ["ü"]]
    written = list(json_lines(rows))
    assert [json.loads(line) for line in written] == rows
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)


# ------------------------------------------------------------------ the file of refused rows

HEADER: Final = ["line", "column", "code", "message"]


def test_the_error_file_holds_line_column_code_and_message_and_its_header_comes_once() -> None:
    file = ErrorFile()
    written = (
        file.add(3, "value", "amount_negative")
        + file.add(7, None, "quotes_invalid", 9)
        + file.add(8, "#4", "row_length", 8)
    )
    assert read_back(written) == [
        HEADER,
        ["3", "value", "amount_negative", CODES["amount_negative"].message],
        ["7..9", "", "quotes_invalid", CODES["quotes_invalid"].message],
        ["8", "#4", "row_length", CODES["row_length"].message],
    ]
    assert file.count == 3


def test_a_column_that_is_named_like_a_formula_is_guarded_in_the_error_file() -> None:
    assert read_back(ErrorFile().add(2, "=1", "field_unknown"))[1][1] == "'=1"


def test_a_code_outside_the_list_is_no_row() -> None:
    file = ErrorFile()
    with pytest.raises(KeyError):
        file.add(1, None, "nonsense")
    assert file.count == 0
