"""Models: what holds for every path, and Markov and Shapley against slow, exact, independent ones."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution import walks
from gateway.attribution.journeys import (
    FAULTS,
    NOTES,
    PATH_MAX,
    Journey,
    TooMuch,
    TouchPath,
    Work,
    channels_of,
    unattributed,
)
from gateway.attribution.markov import chain_of, path_weights, removal_effects
from gateway.attribution.registry import MODELS, cautions, model_of
from gateway.attribution.rule_models import linear, position, time_decay
from gateway.attribution.shapley import PLAYERS_MAX, shapley_rate, shapley_sum
from gateway.times import DAY_MS
from tests.support.properties import tried

quick = tried(100)
RULE_MODELS: Final = [model for model in MODELS.values() if model.shares is not None]
CHANNELS: Final = st.sampled_from(["a", "b", "c", "d", "direct"])


def path(channels: str | Sequence[str], ages_ms: Sequence[int] | None = None, **milestones: int) -> TouchPath:
    return TouchPath(tuple(channels), tuple(ages_ms if ages_ms is not None else [0] * len(channels)), **milestones)


def journey(channels: str, conversions: int = 1, nulls: int = 0, value_minor: int = 0) -> Journey:
    return Journey(path(channels), conversions, nulls, value_minor)


@st.composite
def paths(draw: st.DrawFn, longest: int = 8) -> TouchPath:
    channels = draw(st.lists(CHANNELS, max_size=longest))
    ages = sorted(draw(st.lists(st.integers(0, 400 * DAY_MS), min_size=len(channels), max_size=len(channels))))
    milestones = st.none() | st.integers(0, 400 * DAY_MS)
    return TouchPath(tuple(channels), tuple(reversed(ages)), draw(milestones), draw(milestones))


@st.composite
def rows(draw: st.DrawFn) -> Journey:
    conversions = draw(st.integers(0, 5))
    value = draw(st.integers(0, 100_000)) if conversions else 0
    return Journey(draw(paths(5)), conversions, draw(st.integers(0, 5)), value)


many_rows = st.lists(rows(), max_size=6)


# ------------------------------------------------------------------ one path


@quick
@given(paths(PATH_MAX // 10))
def test_shares_of_a_path_sum_to_exactly_one_and_none_is_negative(one: TouchPath) -> None:
    for model in RULE_MODELS:
        assert model.shares is not None
        shares = model.shares(one)
        assert sum(shares) == (1 if len(one) else 0), model.id
        assert all(share >= 0 for share in shares), model.id


def test_a_single_touch_earns_everything() -> None:
    for model in RULE_MODELS:
        assert model.shares is not None
        assert model.shares(path("a")) == (Fraction(1),), model.id


def test_a_touch_a_half_life_older_earns_half() -> None:
    week = 7 * DAY_MS
    ladder = [22 * DAY_MS, 15 * DAY_MS, 8 * DAY_MS, DAY_MS]
    assert time_decay()(path("abcd", ladder)) == tuple(Fraction(weight, 15) for weight in (1, 2, 4, 8))
    assert time_decay(DAY_MS)(path("ab", [DAY_MS, 0])) == (Fraction(1, 3), Fraction(2, 3))
    assert time_decay()(path("ab", [week, week])) == (Fraction(1, 2), Fraction(1, 2))


def test_time_decay_looks_at_differences_of_age_so_old_paths_do_not_vanish() -> None:
    century = 100 * 365 * DAY_MS
    assert time_decay()(path("ab", [century + 7 * DAY_MS, century])) == (Fraction(1, 3), Fraction(2, 3))
    assert time_decay(1)(path("ab", [century, 0])) == (Fraction(0), Fraction(1))


@pytest.mark.parametrize("half_life_ms", [0, -1])
def test_a_half_life_lasts(half_life_ms: int) -> None:
    with pytest.raises(ValueError, match="half-life"):
        time_decay(half_life_ms)


@pytest.mark.parametrize("shares", [(1, 1, 1), (2, -2, 1), (0, 0, 0)])
def test_the_shares_of_a_position_model_sum_to_one(shares: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        position(*map(Fraction, shares))


def test_a_path_has_an_age_for_every_channel() -> None:
    with pytest.raises(ValueError, match="one age"):
        TouchPath(("a",), ())


def test_position_models_of_other_percentages_are_made_on_demand() -> None:
    model = model_of("position_30_50_20")
    assert model is not None
    assert model.shares is not None
    assert model.shares(path("abcd")) == (Fraction(3, 10), Fraction(1, 4), Fraction(1, 4), Fraction(1, 5))


@pytest.mark.parametrize("id", ["", "linea", "position_40_20_30", "position_1_2", "position_٤0_20_40", "markov_k4"])
def test_there_is_no_model_of_another_id(id: str) -> None:
    assert model_of(id) is None


def test_every_model_of_the_registry_stands_under_its_own_id() -> None:
    assert all(model_of(id) is model and model.id == id and model.version >= 1 for id, model in MODELS.items())


# ------------------------------------------------------------------ many journeys


@quick
@given(many_rows)
def test_credit_sums_to_the_attributed_conversions_and_their_value(journeys: list[Journey]) -> None:
    nobody, nobodys_value = unattributed(journeys)
    conversions = sum(one.conversions for one in journeys) - nobody
    value = sum(one.value_minor for one in journeys) - nobodys_value
    for model in MODELS.values():
        totals = model.credit(journeys, Work())
        assert sum(totals.conversions.values()) == pytest.approx(conversions, abs=1e-8), model.id
        assert sum(totals.value.values()) == pytest.approx(value, rel=1e-9, abs=1e-6), model.id
        assert list(totals.conversions) == list(totals.value) == list(channels_of(journeys))


@quick
@given(many_rows)
def test_equal_paths_may_come_in_one_row_or_in_several(journeys: list[Journey]) -> None:
    apart = []
    for one in journeys:
        apart.append(Journey(one.path, one.conversions, 0, one.value_minor))
        apart.append(Journey(one.path, 0, one.nulls))
    for model in MODELS.values():
        whole, parts = model.credit(journeys, Work()), model.credit(apart, Work())
        assert parts.conversions == pytest.approx(whole.conversions, abs=1e-8), model.id


@quick
@given(many_rows)
def test_the_same_journeys_get_the_same_answer(journeys: list[Journey]) -> None:
    for model in MODELS.values():
        assert model.credit(journeys, Work()) == model.credit(list(journeys), Work())


def test_conversions_without_a_touch_are_nobodys() -> None:
    journeys = [journey("", 3, 1, 300), journey("a", 1, 0, 100)]
    assert unattributed(journeys) == (3, 300)
    for model in MODELS.values():
        totals = model.credit(journeys, Work())
        assert (totals.conversions, totals.value) == ({"a": 1.0}, {"a": 100.0}), model.id


def test_refunds_that_outweigh_sales_give_negative_value() -> None:
    totals = MODELS["markov_k1"].credit([journey("ab", 2, 1, -500), journey("b", 1, 1, 100)], Work())
    assert sum(totals.value.values()) == pytest.approx(-400)


# ------------------------------------------------------------------ Markov, exactly


def exact_effects(journeys: Sequence[Journey], order: int) -> dict[str, Fraction]:
    """Removal effects by linear equations in rationals, written from the definition."""
    State = tuple[str, ...]
    start, won, lost = ("",), ("", "won"), ("", "lost")
    walks_of: dict[tuple[State, State], int] = {}
    for one in journeys:
        channels, count = one.path.channels, one.conversions + one.nulls
        if not channels or not count:
            continue
        windows = [channels[at : at + order] for at in range(max(1, len(channels) - order + 1))]
        states = [window for at, window in enumerate(windows) if at == 0 or window != windows[at - 1]]
        for pair in zip([start, *states], states, strict=False):
            walks_of[pair] = walks_of.get(pair, 0) + count
        for end, number in ((won, one.conversions), (lost, one.nulls)):
            walks_of[states[-1], end] = walks_of.get((states[-1], end), 0) + number
    names = list(dict.fromkeys(before for before, _ in walks_of))

    def chance(removed: str | None) -> Fraction:
        # x[s] = sum of chance(s, t) x[t], solved by elimination; removed states and `lost` are 0, `won` is 1.
        matrix = []
        for state in names:
            line = [Fraction(int(state == other)) for other in names] + [Fraction(0)]
            leaving = sum(number for (before, _), number in walks_of.items() if before == state)
            if removed is None or removed not in state:
                for (before, after), number in walks_of.items():
                    if before == state and after == won:
                        line[-1] += Fraction(number, leaving)
                    elif before == state and after != lost:
                        line[names.index(after)] -= Fraction(number, leaving)
            matrix.append(line)
        for at in range(len(names)):
            pivot = next(row for row in range(at, len(names)) if matrix[row][at])
            matrix[at], matrix[pivot] = matrix[pivot], matrix[at]
            matrix[at] = [cell / matrix[at][at] for cell in matrix[at]]
            for row in range(len(names)):
                if row != at and matrix[row][at]:
                    matrix[row] = [x - matrix[row][at] * y for x, y in zip(matrix[row], matrix[at], strict=True)]
        return matrix[names.index(start)][-1]

    whole = chance(None) if names else Fraction(0)
    return {channel: 1 - chance(channel) / whole if whole else Fraction(0) for channel in channels_of(journeys)}


@tried(60)
@given(many_rows, st.integers(1, 3), st.booleans())
def test_removal_effects_are_those_of_exact_equations(journeys: list[Journey], order: int, small: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not small:
            patch.setattr(walks, "_FEW_STATES", 0)
            patch.setattr(walks, "_FEW_PARTS", 0)
        found, _ = removal_effects(journeys, order, Work())
    assert found == pytest.approx({name: float(effect) for name, effect in exact_effects(journeys, order).items()})


STUBBORN: Final = {
    "one conversion in a million walks": [journey("ab" * 250, 1, 10**6), journey("c", 1, 0)],
    "walks that come back hundreds of times": [journey("abc" * 160, 3, 10**6, 30), journey("ab" * 250, 1, 10**6, 7)],
    "a side path of a few": [journey("ab" * 200, 0, 10**9), journey("abc", 1, 1, 10)],
}


@pytest.mark.parametrize("journeys", STUBBORN.values(), ids=STUBBORN.keys())
@pytest.mark.parametrize("small", [True, False], ids=["eliminated", "in rounds"])
def test_walks_that_hardly_ever_end_are_solved_all_the_same(
    journeys: list[Journey], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(walks, "_FEW_STATES", 0)
        monkeypatch.setattr(walks, "_FEW_PARTS", 0)
    found, _ = removal_effects(journeys, 1, Work())
    expected = {name: float(effect) for name, effect in exact_effects(journeys, 1).items()}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_state_is_a_window_and_equal_neighbours_are_one() -> None:
    _, states = chain_of([journey("aab"), journey("a"), journey("bbbb")], 2)
    assert list(states) == [("a", "a"), ("a", "b"), ("a",), ("b", "b")]
    chain, _ = chain_of([journey("bbbb")], 2)
    assert (chain.starts, chain.edges, chain.passing) == ([1], [{}], [1])


def test_inside_a_path_touches_weigh_as_their_channels_and_alike_where_none_weighs_anything() -> None:
    assert path_weights(("a", "b", "a"), {"a": 0.2, "b": 0.6}) == pytest.approx([0.2, 0.6, 0.2])
    assert path_weights(("x", "y"), {"a": 0.2}) == [0.5, 0.5]


def test_an_order_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        chain_of([], 0)


def test_nobody_is_credited_where_nothing_converted() -> None:
    totals = MODELS["markov_k1"].credit([journey("ab", 0, 5)], Work())
    assert (totals.conversions, totals.removal_effect) == ({"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0})


# ------------------------------------------------------------------ Shapley, exactly


def average_over_orders(journeys: Sequence[Journey]) -> dict[str, float]:
    """The rate game by its definition: what a channel adds, over every order of joining."""
    credit = dict.fromkeys(channels_of(journeys), Fraction(0))
    seen: dict[frozenset[str], tuple[int, int]] = {}
    for one in journeys:
        won, walked = seen.get(frozenset(one.path.channels), (0, 0))
        seen[frozenset(one.path.channels)] = (won + one.conversions, walked + one.conversions + one.nulls)

    def worth(these: frozenset[str]) -> Fraction:
        won, walked = seen.get(these, (0, 0))
        return Fraction(won, walked) if won and these else Fraction(0)

    for these, (won, _) in seen.items():
        if not won or not these:
            continue
        orders = list(permutations(sorted(these)))
        for order in orders:
            for at, channel in enumerate(order):
                added = worth(frozenset(order[: at + 1])) - worth(frozenset(order[:at]))
                credit[channel] += added / len(orders) / worth(these) * won
    return {channel: float(amount) for channel, amount in credit.items()}


@quick
@given(many_rows)
def test_the_rate_game_is_the_average_over_every_order_of_joining(journeys: list[Journey]) -> None:
    found = shapley_rate(journeys, Work()).conversions
    assert found == pytest.approx(average_over_orders(journeys), abs=1e-9)


@quick
@given(many_rows)
def test_the_sum_game_shares_evenly_among_different_channels(journeys: list[Journey]) -> None:
    evenly = MODELS["linear_unique"].credit(journeys, Work())
    found = shapley_sum(journeys, Work())
    assert found.conversions == pytest.approx(evenly.conversions, abs=1e-9)
    assert found.value == pytest.approx(evenly.value, abs=1e-6)


def test_a_game_is_the_same_however_its_subsets_are_found() -> None:
    # Alone, the few sets that converted are looked through; among many others, the subsets of the game are looked up.
    game = [journey("pq", 3, 1), journey("p", 1, 5)]
    others = [Journey(path([*three, "x"]), 1, 1) for three in combinations("abcdefgh", 3)]
    alone, among = shapley_rate(game, Work()).conversions, shapley_rate([*others, *game], Work()).conversions
    assert {name: among[name] for name in "pq"} == pytest.approx(alone)


def test_a_path_with_too_many_channels_falls_to_the_sum_game_and_the_answer_says_so() -> None:
    fits = [f"c{number}" for number in range(PLAYERS_MAX)]
    assert shapley_rate([Journey(path(fits), 1, 1)], Work()).notes == ()
    totals = shapley_rate([Journey(path([*fits, "one more"]), 13, 1, 1_300), Journey(path("x"), 1)], Work())
    assert totals.notes == ("shapley_set_too_large",)
    assert totals.conversions == pytest.approx(dict.fromkeys([*fits, "one more", "x"], 1.0))
    assert totals.value["one more"] == pytest.approx(100)


# ------------------------------------------------------------------ bounds and cautions


def many_channels(number: int, length: int) -> list[Journey]:
    names = [f"c{index}" for index in range(number)]
    return [
        Journey(path([names[(start * 7 + step * (start % 5 + 1)) % number] for step in range(length)]), 1, 1)
        for start in range(number * 5)
    ]


@pytest.mark.parametrize("model", ["markov_k1", "markov_k2", "markov_k3", "markov_k1_per_journey", "shapley_rate"])
def test_work_over_the_bound_is_refused_by_its_code(model: str) -> None:
    with pytest.raises(TooMuch) as caught:
        MODELS[model].credit(many_channels(60, 8), Work(2_000))
    assert caught.value.code == "too_much_work"
    assert caught.value.code in FAULTS


def test_work_is_counted_so_that_its_bound_does_not_depend_on_the_machine() -> None:
    spent = []
    for _ in range(2):
        work = Work()
        MODELS["markov_k2"].credit(many_channels(20, 6), work)
        spent.append(work.left)
    assert spent[0] == spent[1] < Work().left


def test_a_game_of_more_channels_is_counted_as_more_work() -> None:
    def steps(channels: str) -> int:
        work = Work()
        shapley_rate([journey(channels)], work)
        return Work().left - work.left

    assert 0 < steps("a") < steps("ab") < steps("abcdefgh")


def test_cautions_say_what_a_reader_must_know() -> None:
    def said(id: str, journeys: list[Journey]) -> set[str]:
        found = set(cautions(MODELS[id], journeys, MODELS[id].credit(journeys, Work())))
        assert found <= set(NOTES)
        return found

    assert said("linear", [journey("a")]) == set()
    assert said("shapley_sum", [journey("a")]) == set()
    assert said("markov_k1", [journey("a")]) == {"no_nulls", "few_conversions"}
    assert said("markov_k1", [journey("a", 300, 1)]) == set()
    lowers = [journey("a", 800, 200), journey("ab", 100, 900)]
    assert said("shapley_rate", lowers) == {"negative_credit"}


def test_linear_gives_a_channel_a_share_for_each_of_its_touches() -> None:
    assert linear(path("aab")) == (Fraction(1, 3),) * 3
    assert MODELS["linear"].credit([journey("aab", 3)], Work()).conversions == {"a": 2.0, "b": 1.0}
