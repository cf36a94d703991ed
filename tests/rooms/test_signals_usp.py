"""The US Privacy string: one spelling, and nothing near it is guessed."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signals.bits import TEXT_MAX, Unreadable
from gateway.signals.usp import UsPrivacy, decode, told
from tests.support.properties import tried

quick = tried(300)

READ: Final = {
    "opted out": ("1YYN", True, True),
    "told and did not opt out": ("1YNN", False, True),
    "not told": ("1NNN", False, True),
    "the law does not apply": ("1---", False, False),
    "only the agreement is said": ("1--Y", False, True),
    "an opt-out without a notice": ("1-Y-", True, True),
}


@pytest.mark.parametrize(("text", "opted_out", "applies"), READ.values(), ids=READ.keys())
def test_the_third_character_is_the_opt_out(text: str, opted_out: bool, applies: bool) -> None:
    usp = decode(text)
    assert isinstance(usp, UsPrivacy)
    assert (usp.opted_out, usp.applies) == (opted_out, applies)


UNREAD: Final = {
    "nothing": ("", "empty"),
    "too short": ("1YN", "length"),
    "too long": ("1YNNN", "length"),
    "a blank in front": (" 1YNN", "length"),
    "a line end behind": ("1YNN\n", "length"),
    "an unexpanded macro": ("${US_PRIVACY}", "length"),
    "very long": ("1" * (TEXT_MAX + 1), "length"),
    "version 2": ("2YNN", "version"),
    "version 0": ("0YNN", "version"),
    "a one of another script": ("\u0661YNN", "version"),
    "four blanks": ("    ", "version"),
    "small letters": ("1ynn", "letter"),
    "one small letter": ("1YyN", "letter"),
    "other letters": ("1XXX", "letter"),
    "digits": ("1111", "letter"),
    "a dash of another kind": ("1Y\u2013N", "letter"),
    "a line end inside": ("1YN\n", "letter"),
    "a broken byte": ("1Y\udcffN", "letter"),
    "a TC string": ("CPXx", "version"),
}


@pytest.mark.parametrize(("text", "code"), UNREAD.values(), ids=UNREAD.keys())
def test_any_other_spelling_is_absent(text: str, code: str) -> None:
    assert decode(text) == Unreadable(code)


def test_people_see_the_names_of_the_specification() -> None:
    usp = decode("1YNY")
    assert isinstance(usp, UsPrivacy)
    assert told(usp) == {"Version": 1, "Notice": "Y", "OptOutSale": "N", "LspaCovered": "Y"}


@quick
@given(st.text(max_size=6) | st.text("12YNyn-X ", min_size=3, max_size=5))
def test_exactly_27_texts_are_read(text: str) -> None:
    valid = {f"1{a}{b}{c}" for a in "YN-" for b in "YN-" for c in "YN-"}
    assert isinstance(decode(text), UsPrivacy) is (text in valid)


@quick
@given(st.text("YN-", min_size=3, max_size=3))
def test_what_was_read_is_what_was_written(letters: str) -> None:
    assert decode(f"1{letters}") == UsPrivacy(*letters)
