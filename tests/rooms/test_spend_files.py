"""Files of what was spent, read row by row: what is taken, what is told, and that nothing is rounded or guessed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CODES, Refusal
from gateway.money import MAX_MINOR
from gateway.protocols.spend import SpendLine, SpendProblem, SpendTerms, read_day, read_spend

DAY = 20_777  # 2026-11-20
TERMS = SpendTerms(last_day=DAY, currency="EUR")
HEADER = "date,campaign,channel,source,currency,amount,clicks,impressions\n"


def read(text: str | bytes, terms: SpendTerms = TERMS) -> list[SpendLine | SpendProblem]:
    return list(read_spend(text.encode() if isinstance(text, str) else text, terms))


def only(text: str | bytes) -> SpendLine | SpendProblem:
    (found,) = read(text)
    return found


def test_a_row_is_read_exactly() -> None:
    assert only(HEADER + "2026-11-20,autumn,Paid Search,google,USD,1234.50,321,45678\n") == SpendLine(
        line=2, day=DAY, campaign="autumn", channel="Paid Search", source="google", currency="USD",
        amount_minor=123_450, clicks=321, impressions=45_678,
    )  # fmt: skip


def test_columns_stand_in_any_order_under_any_of_their_names_and_most_may_be_missing() -> None:
    found = only("\ufeffCost;Day\r\n1,5;2026-11-19\r\n")
    assert isinstance(found, SpendLine)
    assert (found.day, found.amount_minor, found.currency, found.campaign) == (DAY - 1, 150, "EUR", "")
    assert (found.clicks, found.impressions) == (None, None), "nothing said is not zero"


def test_r32_impressions_may_come_alone() -> None:
    found = only("date,campaign,impressions\n2026-11-20,autumn,1000\n")
    assert isinstance(found, SpendLine)
    assert (found.amount_minor, found.clicks, found.impressions) == (0, None, 1_000)


def test_json_says_the_same_as_csv_and_its_numbers_are_exact() -> None:
    row = '{"date":"2026-11-20","campaign":"autumn","amount":0.07,"clicks":3,"channel":null}'
    for text in (f"[{row}]", row, f" \n[{row}]\n"):
        found = only(text)
        assert isinstance(found, SpendLine)
        assert (found.line, found.amount_minor, found.clicks, found.channel) == (1, 7, 3, "")
    assert only('[{"date":"2026-11-20","amount":0.070000000000000001}]') == SpendProblem(
        1, "amount", "amount_invalid", 1
    )


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        ("20.11.2026,,,,,1,,", "date", "date_invalid"),
        ("2026-02-30,,,,,1,,", "date", "date_invalid"),
        ("2026-11-21,,,,,1,,", "date", "date_invalid"),
        ("1999-12-31,,,,,1,,", "date", "date_invalid"),
        (",,,,,1,,", "date", "field_missing"),
        ("2026-11-20,,,,,,,", "amount", "field_missing"),
        ("2026-11-20,,,,,-1,,", "amount", "amount_negative"),
        ("2026-11-20,,,,,1.001,,", "amount", "amount_too_fine"),
        ("2026-11-20,,,,JPY,1.5,,", "amount", "amount_too_fine"),
        ("2026-11-20,,,,,1e3,,", "amount", "amount_invalid"),
        ("2026-11-20,,,,,=1+1,,", "amount", "amount_invalid"),
        ("2026-11-20,,,,,99999999999999999,,", "amount", "amount_too_large"),
        ("2026-11-20,,,,eur,1,,", "currency", "currency_unknown"),
        ("2026-11-20,,,,,1,-1,", "clicks", "field_invalid"),
        ("2026-11-20,,,,,1,,1.5", "impressions", "field_invalid"),
        ("2026-11-20,,,jane@doe.example,,1,,", "source", "field_personal"),
        (f"2026-11-20,,{'x' * 41},,,1,,", "channel", "field_too_long"),
        (f"2026-11-20,{'x' * 65},,,,1,,", "campaign", "field_too_long"),
        ("2026-11-20,a\x1bb,,,,1,,", "campaign", "field_invalid"),
        ("2026-11-20,,,,,1", None, "row_length"),
        ('2026-11-20,"a"b,,,,1,,', None, "quotes_invalid"),
    ],
)
def test_a_wrong_row_is_told_by_column_and_the_next_one_is_read(row: str, column: str | None, code: str) -> None:
    first, second = read(f"{HEADER}{row}\n2026-11-20,,,,,5,,\n")
    assert first == SpendProblem(2, column, code, 2)
    assert isinstance(second, SpendLine)
    assert second.amount_minor == 500


def test_without_a_currency_of_its_own_or_of_the_site_a_row_is_wrong() -> None:
    (found,) = read("date,amount\n2026-11-20,1\n", SpendTerms(last_day=DAY))
    assert found == SpendProblem(2, "currency", "currency_missing", 2)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "header_unknown", "line 1"),
        (b"amount\n1\n", "field_missing", "date"),
        (b"2026-11-20,5\n", "field_unknown", "#1"),
        (b"date,amount,Cost\n", "column_repeated", "amount"),
        (b"PK\x03\x04" + b"x" * 50, "text_not_utf8", "line 1"),
        (b"date,amount\n\xff\n", "text_not_utf8", "line 2"),
        (b'"date\n', "header_unknown", "line 1"),
        (b"[", "json_invalid", None),
        (b"[1e999999999999]x", "json_invalid", None),
        (b"[NaN]", "json_invalid", None),
        (b'["\\ud800"]', "json_invalid", None),
        (b"[" * 200_000, "json_too_deep", None),
    ],
)
def test_what_cannot_be_read_at_all_is_refused_whole(body: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read(body)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        ("1", None, "field_type"),
        ('{"date":"2026-11-20","amount":true}', "amount", "field_type"),
        ('{"date":"2026-11-20","amount":[1]}', "amount", "field_type"),
        ('{"secret name":1}', "#1", "field_unknown"),
        ('{"date":"2026-11-20","cost":1,"amount":2}', "amount", "column_repeated"),
    ],
)
def test_a_wrong_member_is_told_by_its_place(row: str, column: str | None, code: str) -> None:
    assert only(f"[{row}]") == SpendProblem(1, column, code, 1)


def test_more_rows_than_allowed_are_refused_where_they_begin() -> None:
    rows = read_spend(b"date,amount\n" + b"2026-11-20,1\n" * 3, SpendTerms(last_day=DAY, currency="EUR", rows_max=2))
    assert isinstance(next(rows), SpendLine)
    assert isinstance(next(rows), SpendLine)
    with pytest.raises(Refusal, match="rows_too_many at line 4"):
        next(rows)


@given(st.integers(0, MAX_MINOR))
def test_every_amount_survives_as_text_and_as_a_number(minor: int) -> None:
    text = f"{minor // 100}.{minor % 100:02}"
    for body in (f"date,amount\n2026-11-20,{text}\n", f'[{{"date":"2026-11-20","amount":{text}}}]'):
        found = only(body)
        assert isinstance(found, SpendLine)
        assert found.amount_minor == minor


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: (HEADER + text).encode("utf-8", "replace")))
def test_nothing_makes_it_fail_in_another_way(body: bytes) -> None:
    try:
        found = read(body)
    except Refusal:
        return
    assert all(isinstance(each, SpendLine) or each.code in CODES for each in found)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["date", "amount", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=4))
def test_no_json_makes_it_fail_in_another_way(value: list[Any]) -> None:
    assert len(read(json.dumps(value))) == len(value)


def test_days_are_counted_from_1970() -> None:
    assert read_day("2026-11-20", "from") == DAY
    for text in ("", "2026-13-01", "2026-1-1", "1999-12-31", "20261120", "2026-11-20T00:00"):
        with pytest.raises(Refusal, match="date_invalid at from"):
            read_day(text, "from")
