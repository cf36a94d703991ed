"""Money: exact both ways, refused when it cannot be exact."""

from decimal import Decimal, localcontext
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import CODES
from gateway.money import EXPONENTS, MAX_MINOR, AmountError, exponent, major_text, minor_from_major
from tests.support.properties import tried

quick = tried(200)
CURRENCIES = st.sampled_from(sorted(EXPONENTS))

TAKEN: Final = {
    "two digits": ("12.34", "EUR", 1_234),
    "whole units": ("12", "EUR", 1_200),
    "one digit": ("12.3", "EUR", 1_230),
    "more zeros than digits": ("12.340000", "EUR", 1_234),
    "a thousand zeros": ("12.34" + "0" * 1_000, "EUR", 1_234),
    "an exponent": ("1.234E+1", "EUR", 1_234),
    "a large exponent": ("1E+12", "EUR", 100_000_000_000_000),
    "zero": ("0", "EUR", 0),
    "minus zero": ("-0.00", "EUR", 0),
    "no digits": ("12", "JPY", 12),
    "no digits, written with some": ("12.00", "JPY", 12),
    "three digits": ("12.345", "KWD", 12_345),
    "four digits": ("1.2345", "CLF", 12_345),
    "the largest": ("1000000000000", "EUR", MAX_MINOR),
    "the largest without digits": ("100000000000000", "JPY", MAX_MINOR),
}


@pytest.mark.parametrize(("text", "currency", "minor"), TAKEN.values(), ids=TAKEN.keys())
def test_an_amount_is_taken_exactly(text: str, currency: str, minor: int) -> None:
    assert minor_from_major(Decimal(text), currency) == minor


NOT_TAKEN: Final = {
    "not a number": ("NaN", "EUR", "amount_not_finite"),
    "a signalling one": ("sNaN", "EUR", "amount_not_finite"),
    "infinity": ("Infinity", "EUR", "amount_not_finite"),
    "minus infinity": ("-Infinity", "EUR", "amount_not_finite"),
    "a negative cent": ("-0.01", "EUR", "amount_negative"),
    "less than nothing, hardly": ("-1E-300", "EUR", "amount_negative"),
    "a tenth of a cent": ("0.001", "EUR", "amount_too_fine"),
    "a cent of a yen": ("0.01", "JPY", "amount_too_fine"),
    "a tenth of a fils": ("0.0001", "KWD", "amount_too_fine"),
    "one digit beyond what decimal arithmetic keeps": ("12.34" + "0" * 30 + "1", "EUR", "amount_too_fine"),
    "nearly a cent more": ("12.34" + "9" * 40, "EUR", "amount_too_fine"),
    "a cent too much": ("1000000000000.01", "EUR", "amount_too_large"),
    "a hair too much": ("1000000000000." + "0" * 40 + "1", "EUR", "amount_too_fine"),
    "a thousand digits": ("9" * 1_000, "EUR", "amount_too_large"),
    "an enormous exponent": ("1E+999999", "EUR", "amount_too_large"),
    "a tiny exponent": ("1E-999999", "EUR", "amount_too_fine"),
    "small letters": ("1", "eur", "currency_unknown"),
    "no currency": ("1", "", "currency_unknown"),
    "a currency that is gone": ("1", "DEM", "currency_unknown"),
    "a currency with a space": ("1", "EUR ", "currency_unknown"),
}


@pytest.mark.parametrize(("text", "currency", "code"), NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_an_amount_is_refused(text: str, currency: str, code: str) -> None:
    with pytest.raises(AmountError) as caught:
        minor_from_major(Decimal(text), currency)
    assert caught.value.code == code
    assert code in CODES
    assert str(caught.value) == code, "the text never repeats the amount"


@quick
@given(minor=st.integers(0, MAX_MINOR), currency=CURRENCIES)
def test_what_is_written_is_read_back(minor: int, currency: str) -> None:
    text = major_text(minor, currency)
    assert minor_from_major(Decimal(text), currency) == minor
    assert Decimal(text) * 10 ** exponent(currency) == minor
    assert len(text.partition(".")[2]) == exponent(currency)


@quick
@given(amount=st.decimals() | st.decimals(0, 1_000, places=4), currency=CURRENCIES)
@example(amount=Decimal("12.3400000000000000000000000000000001"), currency="EUR")
def test_every_amount_is_taken_exactly_or_refused(amount: Decimal, currency: str) -> None:
    try:
        minor = minor_from_major(amount, currency)
    except AmountError:
        return
    assert 0 <= minor <= MAX_MINOR
    assert Decimal(minor).scaleb(-exponent(currency)) == amount


def test_an_amount_with_more_digits_than_the_callers_arithmetic_is_still_not_rounded() -> None:
    with localcontext(prec=5), pytest.raises(AmountError, match="amount_too_fine"):
        minor_from_major(Decimal("1.230001"), "EUR")


NEGATIVE: Final = {(-1_230, "EUR"): "-12.30", (-5, "EUR"): "-0.05", (-12, "JPY"): "-12", (-1, "CLF"): "-0.0001"}


@pytest.mark.parametrize(("amount", "text"), NEGATIVE.items(), ids=NEGATIVE.values())
def test_a_difference_may_be_written_below_zero(amount: tuple[int, str], text: str) -> None:
    assert major_text(*amount) == text


def test_the_table_of_currencies_is_one_of_codes_and_digits() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in EXPONENTS)
    assert {EXPONENTS[code] for code in EXPONENTS} == {0, 2, 3, 4}
    known = {"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "TND": 3, "CLF": 4, "UYW": 4, "HUF": 2}
    assert {code: exponent(code) for code in known} == known
