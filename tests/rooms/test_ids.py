"""Identifiers: they sort by time, they have one spelling, and what is none is not taken for one."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import (
    EVENT_ID_BYTES,
    RANDOM_ID_BYTES,
    event_id,
    event_id_time_ms,
    is_caller_id,
    is_random_id,
    random_id,
)
from tests.support.properties import tried

quick = tried(200)
TIMES = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=EVENT_ID_BYTES, max_size=EVENT_ID_BYTES)


def test_an_event_id_is_a_ulid() -> None:
    """Examples of the specification and of its JavaScript library."""
    assert event_id_time_ms("01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1_469_922_850_259
    assert event_id(1_469_918_176_385, bytes(10)) == "01ARYZ6S41" + "0" * 16
    assert event_id(2**48 - 1, b"\xff" * 10) == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    assert event_id(0, bytes(10)) == "0" * 26


@quick
@given(first=TIMES, second=TIMES, random_bytes=st.tuples(RANDOM, RANDOM))
def test_event_ids_sort_by_time_and_tell_it(first: int, second: int, random_bytes: tuple[bytes, bytes]) -> None:
    ids = event_id(first, random_bytes[0]), event_id(second, random_bytes[1])
    assert [event_id_time_ms(text) for text in ids] == [first, second]
    assert all(is_caller_id(text) and len(text) == 26 for text in ids)
    if first != second:
        assert (ids[0] < ids[1]) is (first < second)


@quick
@given(at_ms=TIMES, random_bytes=st.tuples(RANDOM, RANDOM))
def test_event_ids_of_one_moment_differ_exactly_when_their_random_bytes_do(
    at_ms: int, random_bytes: tuple[bytes, bytes]
) -> None:
    first, second = (event_id(at_ms, part) for part in random_bytes)
    assert (first == second) is (random_bytes[0] == random_bytes[1])


NOT_OURS: Final = {
    "nothing": "",
    "25 characters": "0" * 25,
    "27 characters": "0" * 27,
    "small letters": "01aryz6s41" + "0" * 16,
    "a letter that is not in the alphabet": "01ARYZ6S4I" + "0" * 16,
    "an odd character behind the time": "01ARYZ6S41" + "0" * 15 + "-",
    "letters that are not in the alphabet behind the time": "01ARYZ6S41" + "U" * 16,
    "a line end": "01ARYZ6S41" + "0" * 15 + "\n",
    "more than 128 bits": "8" + "0" * 25,
    "digits of another script": "\u0661" * 26,
}


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS.keys())
def test_an_id_of_somebody_else_tells_no_time(text: str) -> None:
    assert event_id_time_ms(text) is None


@quick
@given(random_bytes=st.binary(min_size=RANDOM_ID_BYTES, max_size=RANDOM_ID_BYTES))
def test_a_random_id_has_22_characters_in_one_spelling(random_bytes: bytes) -> None:
    text = random_id(random_bytes)
    assert len(text) == 22
    assert is_random_id(text)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [end for end in alphabet if is_random_id(text[:-1] + end)] == ["A", "Q", "g", "w"]


@pytest.mark.parametrize("text", ["", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 20 + "=A", "A" * 21 + "\n", "é" * 22])
def test_what_is_not_16_bytes_is_no_random_id(text: str) -> None:
    assert not is_random_id(text)


def test_ids_are_made_of_exactly_their_bytes() -> None:
    for count in (0, 9, 11):
        with pytest.raises(ValueError, match="10 random bytes"):
            event_id(0, bytes(count))
    for count in (0, 15, 17):
        with pytest.raises(ValueError, match="16 random bytes"):
            random_id(bytes(count))


CALLERS: Final = {
    "eight characters": ("abcDEF12", True),
    "every character there is": ("aZ09._:-x", True),
    "sixty-four characters": ("x" * 64, True),
    "seven characters": ("abcdefg", False),
    "sixty-five characters": ("x" * 65, False),
    "a space": ("abc def-1", False),
    "a slash": ("abc/def-1", False),
    "a line end behind": ("abcdefgh\n", False),
    "a letter beyond ASCII": ("abcdéfgh", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("text", "taken"), CALLERS.values(), ids=CALLERS.keys())
def test_a_callers_id_of(text: str, taken: bool) -> None:
    assert is_caller_id(text) is taken
