"""Do Not Track: a refusal where the law asks for consent first, silence anywhere else."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.purposes import ADVERTISING_PURPOSES, ANALYTICS, FUNCTIONAL, NECESSARY, Regime
from gateway.signals.dnt import TRACKING, meaning, refused

HEADERS: Final = {
    "a single 1": (("1",), True),
    "a 1 among other values": (("0", "1"), True),
    "no header": ((), False),
    "an empty header": (("",), False),
    "a 0": (("0",), False),
    "a word": (("null",), False),
    "a 1 with an extension": (("1!",), False),
    "a one of another script": (("\u0661",), False),
    "a broken byte": (("\udcff",), False),
}


@pytest.mark.parametrize(("values", "heard"), HEADERS.values(), ids=HEADERS.keys())
def test_only_exactly_1_asks_not_to_be_tracked(values: tuple[str, ...], heard: bool) -> None:
    assert refused(values, Regime.OPT_IN, 0) == (TRACKING if heard else 0)
    assert meaning(values) == (("1",) if heard else ())


def test_tracking_is_analytics_and_advertising() -> None:
    assert TRACKING == ANALYTICS | ADVERTISING_PURPOSES
    assert not TRACKING & (NECESSARY | FUNCTIONAL)


@pytest.mark.parametrize("regime", [Regime.OPT_OUT_SIGNAL, Regime.OPT_OUT, Regime.NONE])
def test_it_means_nothing_outside_opt_in_places(regime: Regime) -> None:
    assert refused(("1",), regime, 0) == 0


def test_what_the_visitor_agreed_to_here_stays() -> None:
    assert refused(("1",), Regime.OPT_IN, ANALYTICS) == ADVERTISING_PURPOSES
    assert refused(("1",), Regime.OPT_IN, TRACKING) == 0


def test_the_operator_can_turn_it_off() -> None:
    assert refused(("1",), Regime.OPT_IN, 0, honoured=False) == 0


@given(values=st.lists(st.text(max_size=4), max_size=5).map(tuple), granted=st.integers(0, 63))
def test_what_is_left_of_the_values_means_the_same(values: tuple[str, ...], granted: int) -> None:
    left = refused(meaning(values), Regime.OPT_IN, granted)
    assert left == refused(values, Regime.OPT_IN, granted)
    assert not left & granted
