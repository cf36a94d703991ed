"""Whether two variants convert differently: known values, few conversions, and what no test can say."""

from fractions import Fraction
from math import erfc, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.significance import Arm, compare


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        pytest.param((1000, 99), (1000, 300), "too_few", id="99 conversions are too few"),
        pytest.param((1000, 300), (1000, 99), "too_few", id="on either side"),
        pytest.param((1000, 100), (1000, 100), "not_different", id="equal rates"),
        pytest.param((1000, 100), (1000, 150), "different", id="10 % against 15 %"),
        pytest.param((1000, 100), (1000, 120), "not_different", id="10 % against 12 % of a thousand"),
        pytest.param((100, 150), (1000, 150), "not_comparable", id="more conversions than clicks"),
        pytest.param((200, 200), (200, 200), "not_different", id="everybody converts"),
    ],
)
def test_k21_a_verdict_on_two_variants(first: tuple[int, int], second: tuple[int, int], verdict: str) -> None:
    arms = [Arm(clicks, Fraction(conversions)) for clicks, conversions in (first, second)]
    assert compare(*arms).verdict == verdict


def test_the_statistic_is_that_of_the_textbook() -> None:
    """NIST 7.3.3: pooled rate 0.125, standard error sqrt(0.125 x 0.875 x 2/1000) = 0.01479; z = 0.05 / 0.01479 = 3.3806."""
    found = compare(Arm(1000, Fraction(100)), Arm(1000, Fraction(150)))
    assert found.z == pytest.approx(3.3806, abs=1e-4)
    assert found.p_value == pytest.approx(0.000723, abs=1e-6)


@given(st.integers(100, 500), st.integers(100, 500))
def test_turning_the_two_round_turns_the_sign_only(one: int, other: int) -> None:
    there = compare(Arm(1_000, Fraction(one)), Arm(900, Fraction(other)))
    back = compare(Arm(900, Fraction(other)), Arm(1_000, Fraction(one)))
    assert there.verdict == back.verdict
    assert there.z is not None
    assert back.z is not None
    assert there.z == pytest.approx(-back.z)
    assert there.p_value == pytest.approx(erfc(abs(there.z) / sqrt(2)))
