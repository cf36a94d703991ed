"""Splitting, counting and metrics: sums that always come out, each conversion one verdict, exact figures."""

from fractions import Fraction
from math import floor
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.counting import VERDICTS, Countable, CountMode, count
from gateway.attribution.metrics import Figures, measure, rounded
from gateway.attribution.splitting import round_parts, split_minor
from tests.support.properties import tried

quick = tried(200)
WEIGHTS: Final = st.lists(st.fractions(0, 10, max_denominator=1_000), min_size=1, max_size=20).filter(any)

# ------------------------------------------------------------------ splitting


@quick
@given(st.integers(-(10**14), 10**14), WEIGHTS)
def test_the_parts_of_an_amount_sum_to_it_and_none_is_a_unit_off(amount: int, weights: list[Fraction]) -> None:
    parts = split_minor(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - amount * weight / sum(weights)) < 1


@quick
@given(st.integers(0, 10**6), WEIGHTS)
def test_a_refund_takes_back_what_the_sale_gave(amount: int, weights: list[Fraction]) -> None:
    assert split_minor(-amount, weights) == [-part for part in split_minor(amount, weights)]


def test_the_earlier_touch_gets_the_odd_unit() -> None:
    assert split_minor(2, [Fraction(1)] * 3) == [1, 1, 0]


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_weights_that_share_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split_minor(100, [Fraction(weight) for weight in weights])


@quick
@given(st.lists(st.floats(-1e9, 1e9), max_size=12))
def test_parts_are_rounded_to_their_sum_also_when_some_are_negative(numbers: list[float]) -> None:
    parts = [Fraction(number) for number in numbers]
    total = floor(sum(parts, Fraction(1, 2)))
    whole = round_parts(parts, total)
    assert sum(whole) == total
    assert all(abs(one - part) <= 1 for one, part in zip(whole, parts, strict=True))


@pytest.mark.parametrize("total", [1, 7])
def test_parts_that_are_not_of_the_total_are_refused(total: int) -> None:
    with pytest.raises(ValueError, match="do not sum"):
        round_parts([Fraction(3, 2), Fraction(3, 2)], total)


# ------------------------------------------------------------------ counting

some = st.sampled_from
any_conversions = st.lists(
    st.tuples(
        st.integers(0, 5), some(["purchase", "signup"]), some(["A1", "a1", "", None]), some(["e1", "e2", "", None]),
        some(["k1", "k2", None]), some(["p1", "p2", None]),
    ),
    max_size=12,
).map(
    lambda rows: [
        Countable(
            id=f"c{number}", sequence=number, at_ms=at, goal=goal, order_id=order, event_id=event, click_id=click, person=who
        )
        for number, (at, goal, order, event, click, who) in enumerate(rows)
    ]
)  # fmt: skip


@quick
@given(any_conversions, some(["every", "one_per_click", "one_per_person"]), st.randoms(use_true_random=False))
def test_every_conversion_has_one_verdict_whatever_order_they_come_in(
    conversions: list[Countable], mode: CountMode, chance: object
) -> None:
    verdicts = count(conversions, mode)
    assert set(verdicts) == {one.id for one in conversions}
    assert set(verdicts.values()) <= set(VERDICTS)
    assert count(conversions[::-1], mode) == verdicts
    counted = [one for one in conversions if verdicts[one.id] == "counted"]
    orders = [(one.goal, one.order_id) for one in counted if one.order_id]
    assert len(orders) == len(set(orders))


@quick
@given(any_conversions)
def test_a_stricter_mode_never_counts_more(conversions: list[Countable]) -> None:
    every = count(conversions, "every")
    for mode in ("one_per_click", "one_per_person"):
        verdicts = count(conversions, mode)
        assert all(every[id] == "counted" for id, verdict in verdicts.items() if verdict == "counted")


def test_order_ids_are_case_sensitive_and_an_empty_one_is_none() -> None:
    def two(order: str, other: str) -> dict[str, str]:
        conversions = [
            Countable(id=id, sequence=number, at_ms=0, goal="g", order_id=text)
            for number, (id, text) in enumerate([("c1", order), ("c2", other)])
        ]
        return count(conversions, "every")

    assert two("A1", "a1") == {"c1": "counted", "c2": "counted"}
    assert two("A1", "A1") == {"c1": "counted", "c2": "duplicate_order"}
    assert two("", "") == {"c1": "counted", "c2": "counted"}


# ------------------------------------------------------------------ metrics

ROUNDED: Final = {
    "half up": (Fraction(5, 1_000), 2, "0.01"),
    "half away from zero": (Fraction(-5, 1_000), 2, "-0.01"),
    "no minus zero": (Fraction(-4, 1_000), 2, "0.00"),
    "whole": (Fraction(7, 2), 0, "4"),
    "thirds": (Fraction(2, 3), 4, "0.6667"),
    "large": (Fraction(10**20 + 1, 10), 1, "10000000000000000000.1"),
}


@pytest.mark.parametrize(("value", "places", "text"), ROUNDED.values(), ids=ROUNDED.keys())
def test_figures_are_rounded_half_away_from_zero(value: Fraction, places: int, text: str) -> None:
    assert rounded(value, places) == text


def test_a_currency_without_minor_units_has_whole_amounts() -> None:
    found = measure(Figures(clicks=3, conversions=2, orders=2, value_minor=1_001, spend_minor=100), digits=0)
    assert (found.total_value, found.average_value, found.cpa, found.cpc) == ("1001", "501", "50", "33.33")


def test_the_mean_lag_is_not_the_median() -> None:
    found = measure(Figures(clicks=1, conversions=4, orders=4, value_minor=0, lags_s=[0, 3_600, 10_800, 36_000]))
    assert (found.avg_time_to_convert_s, found.median_time_to_convert_s) == ("12600.0", "7200.0")


def test_the_guides_example_of_clicks_at_once_and_conversions_after_one_and_three_hours() -> None:
    found = measure(Figures(clicks=2, conversions=2, orders=2, value_minor=0, lags_s=[3_600, 10_800]))
    assert found.avg_time_to_convert_s == "7200.0"
