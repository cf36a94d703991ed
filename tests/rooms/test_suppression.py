"""Small counts: no range and no two ranges tell of fewer persons than the bound."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.suppression import WINDOW_DAYS, left_out_too, shown_days, window_of

DAYS = st.dictionaries(
    st.integers(0, 2 * WINDOW_DAYS - 1),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 4), min_size=1),
    max_size=60,
)
RANGES = st.tuples(st.integers(0, 2 * WINDOW_DAYS - 1), st.integers(0, 2 * WINDOW_DAYS - 1)).map(
    lambda pair: tuple(sorted(pair))
)


def persons(counts: dict[int, dict[str, int]], days: frozenset[int]) -> int:
    """The most persons of one label on some days."""
    return max([sum([counts[day].get(label, 0) for day in days]) for label in "ab"], default=0)


@given(DAYS, RANGES, RANGES, st.integers(1, 12))
def test_row_46_two_ranges_differ_by_as_many_persons_as_the_bound_or_by_nobody(
    counts: dict[int, dict[str, int]], one: tuple[int, int], other: tuple[int, int], under: int
) -> None:
    mine, theirs = shown_days(counts, under, *one), shown_days(counts, under, *other)
    for difference in (mine - theirs, theirs - mine, mine & theirs):
        assert not difference or persons(counts, difference) >= under


@given(DAYS, RANGES, st.integers(1, 12))
def test_only_days_that_are_asked_for_are_shown(
    counts: dict[int, dict[str, int]], asked: tuple[int, int], under: int
) -> None:
    assert all(asked[0] <= day <= asked[1] for day in shown_days(counts, under, *asked))


def test_enough_persons_are_shown() -> None:
    counts = {3: {"a": 2}, 4: {"a": 3}, 9: {"a": 5}, 20: {"a": 4}}
    assert shown_days(counts, 5, 0, 90) == {3, 4, 9}
    assert shown_days(counts, 5, 4, 90) == {9}, (
        "the first five persons came on two days, one of which was not asked for"
    )


def test_persons_of_different_goals_are_not_added_up() -> None:
    """One person who reaches five goals is one person."""
    assert shown_days({3: {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}}, 5, 0, 90) == frozenset()


def test_windows_have_fixed_edges() -> None:
    assert window_of(0, 0) == (0, WINDOW_DAYS - 1)
    assert window_of(WINDOW_DAYS - 1, WINDOW_DAYS) == (0, 2 * WINDOW_DAYS - 1)


def test_what_is_left_out_cannot_be_found_by_subtraction() -> None:
    assert left_out_too({"desktop": 9, "mobile": 6}, 2, 5) == "mobile"
    assert left_out_too({"desktop": 9, "mobile": 6}, 0, 5) is None, "nothing is left out"
    assert left_out_too({"desktop": 9, "mobile": 6}, 5, 5) is None, "enough persons are"
    assert left_out_too({}, 2, 5) is None, "nothing is shown"
