"""Google's additional consent string: exactly the two forms, everything else is absent."""

import time
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signals import ac
from gateway.signals.ac import AdditionalConsent, decode, told
from gateway.signals.bits import TEXT_MAX, Unreadable
from tests.support.properties import tried

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "tcf.json"
quick = tried(200)


class Row(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    id: str
    case: str
    ac_string: str
    valid: bool
    version: int | None
    consented: list[int] | None
    disclosed_not_consented: list[int] | None
    why: str


class Vectors(msgspec.Struct):
    additional_consent: list[Row]


ROWS: Final = msgspec.json.decode(VECTORS.read_bytes(), type=Vectors).additional_consent

IN_BOTH_LISTS: Final = {"ac-11": {626, 1_693}}
"""Row ac-11 was made from two number series that meet at these two ids. It expects them under both headings, which
contradicts the rule that row ac-12 was made for: a provider in both lists is not consented to. The stricter rule stays."""


@pytest.mark.parametrize("row", [row for row in ROWS if row.valid], ids=lambda row: f"{row.id}: {row.case}")
def test_a_valid_string_says_what_the_table_says(row: Row) -> None:
    found = decode(row.ac_string)
    assert isinstance(found, AdditionalConsent), found
    assert told(found) == {
        "valid": True,
        "version": row.version,
        "consented": [n for n in row.consented or [] if n not in IN_BOTH_LISTS.get(row.id, ())],
        "disclosedNotConsented": row.disclosed_not_consented,
    }


@pytest.mark.parametrize("row", [row for row in ROWS if not row.valid], ids=lambda row: f"{row.id}: {row.case}")
def test_anything_else_is_absent(row: Row) -> None:
    assert isinstance(decode(row.ac_string), Unreadable)


def test_all_vectors_were_read() -> None:
    assert len(ROWS) == 21


def test_the_two_ids_set_aside_are_in_both_lists() -> None:
    row = next(row for row in ROWS if row.id == "ac-11")
    assert set(row.consented or ()) & set(row.disclosed_not_consented or ()) == IN_BOTH_LISTS["ac-11"]


FORMS: Final[dict[str, tuple[str, AdditionalConsent]]] = {
    "version 2": ("2~1.35~dv.9.21", AdditionalConsent(2, frozenset({1, 35}), frozenset({9, 21}))),
    "everything shown was consented": ("2~1.2~dv.", AdditionalConsent(2, frozenset({1, 2}), frozenset())),
    "the same without the dot": ("2~1.2~dv", AdditionalConsent(2, frozenset({1, 2}), frozenset())),
    "nothing at all": ("2~~dv", AdditionalConsent(2, frozenset(), frozenset())),
    "the highest id": ("1~65535", AdditionalConsent(1, frozenset({65_535}), None)),
    "an id twice": ("1~7.7", AdditionalConsent(1, frozenset({7}), None)),
}


@pytest.mark.parametrize("case", FORMS)
def test_each_form_is_read(case: str) -> None:
    text, expected = FORMS[case]
    assert decode(text) == expected


CODES: Final[dict[str, tuple[str, str]]] = {
    "nothing": ("", "empty"),
    "too long": ("1~" + "1" * TEXT_MAX, "too_long"),
    "version 0": ("0~1", "version"),
    "version 12": ("12~1", "version"),
    "no version": ("~1", "malformed"),
    "a word": ("null", "malformed"),
    "a digit alone": ("2", "malformed"),
    "an id above the limit": ("1~65536", "provider_id"),
    "such an id among the shown": ("2~1~dv.99999", "provider_id"),
    "an id of six digits": ("1~100000", "malformed"),
    "a zero in front": ("1~01", "malformed"),
    "a sign": ("1~+1", "malformed"),
    "an underscore": ("1~1_0", "malformed"),
    "digits of another script": ("1~١", "malformed"),
    "a line end": ("1~1\n", "malformed"),
    "an outer blank": (" 1~1", "malformed"),
    "a dot too many": ("2~1~dv.9.", "malformed"),
    "no dot behind the mark": ("2~1~dv9", "malformed"),
    "version 1 with shown providers": ("1~1~dv.9", "malformed"),
    "version 2 without shown providers": ("2~1", "malformed"),
}


@pytest.mark.parametrize("case", CODES)
def test_what_cannot_be_read_is_counted_under_its_reason(case: str) -> None:
    text, code = CODES[case]
    assert decode(text) == Unreadable(code)
    assert f"`{code}`" in (ac.decode.__doc__ or "")


@quick
@given(st.sets(st.integers(1, 65_535)), st.sets(st.integers(1, 65_535)))
def test_what_was_written_is_what_is_read(consented: set[int], refused: set[int]) -> None:
    text = f"2~{'.'.join(map(str, consented))}~dv.{'.'.join(map(str, refused))}"
    if len(text) <= TEXT_MAX:
        assert decode(text) == AdditionalConsent(2, frozenset(consented - refused), frozenset(refused))


@quick
@given(
    st.text(max_size=60) | st.text("12~.dv0 ", max_size=60) | st.text("0123456789.~dv", max_size=60).map("2~".__add__)
)
def test_no_text_makes_the_decoder_fail(text: str) -> None:
    found = decode(text)
    assert found == decode(text)
    if isinstance(found, AdditionalConsent):
        assert all(1 <= provider <= ac.PROVIDER_MAX for provider in found.consented)
        assert not found.consented & (found.refused or frozenset())


@pytest.mark.parametrize(
    "text",
    ["1~" + ".".join(["9"] * 8_190), "2~" + "1." * 8_190, "2~" + ".".join(["1"] * 8_188) + "~dw", "2~" + "1" * 16_000],
    ids=["many ids", "a dot at the end", "a wrong mark", "one id without end"],
)
def test_the_heaviest_strings_take_no_time_to_speak_of(text: str) -> None:
    tries = []
    for _ in range(5):
        begun = time.perf_counter()
        decode(text)
        tries.append(time.perf_counter() - begun)
    assert min(tries) < 0.02
