"""Slugs and click ids: what they look like, that random ones cannot be told in advance, and that folding never merges two."""

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.links.codes import RESERVED_SLUGS, check_slug, click_id, fold_slug, is_click_id, random_slug
from tests.support.properties import tried

quick = tried(200)

# ------------------------------------------------------------------ random slugs


def test_a_random_slug_is_eight_characters_that_nobody_mistakes() -> None:
    assert random_slug(bytes(5)) == "22222222"
    assert random_slug(b"\xff" * 5) == "zzzzzzzz"
    assert random_slug(bytes.fromhex("0123456789")) == "26jnctwb"
    seen = {character for value in range(32) for character in random_slug((value << 35).to_bytes(5))}
    assert len(seen) == 32
    assert not seen & set("01lo")
    assert all(character.isdigit() or character.islower() for character in seen)


@quick
@given(one=st.binary(min_size=5, max_size=5), other=st.binary(min_size=5, max_size=5))
@example(one=b"\x00\x00\x00\x00\x01", other=bytes(5))
@example(one=b"\x80\x00\x00\x00\x00", other=bytes(5))
def test_every_one_of_the_40_bits_makes_another_slug_even_when_folded(one: bytes, other: bytes) -> None:
    assert (random_slug(one).lower() == random_slug(other).lower()) is (one == other)


@quick
@given(chunks=st.integers(1, 8), data=st.data())
def test_a_random_slug_is_a_slug_that_may_be_taken(chunks: int, data: st.DataObject) -> None:
    slug = random_slug(data.draw(st.binary(min_size=5 * chunks, max_size=5 * chunks)))
    assert len(slug) == 8 * chunks
    assert check_slug(slug) == slug


def test_no_reserved_word_could_be_made_by_chance() -> None:
    assert not [
        word for word in RESERVED_SLUGS if len(word) == 8 and set(word) <= set("23456789abcdefghijkmnpqrstuvwxyz")
    ]


@pytest.mark.parametrize("count", [0, 4, 6, 16, 45])
def test_a_random_slug_takes_no_other_number_of_bytes(count: int) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        random_slug(bytes(count))


# ------------------------------------------------------------------ chosen slugs

TAKEN: Final = {
    "a word": ("summer", "summer"),
    "capitals, which are folded": ("Summer-SALE_26", "summer-sale_26"),
    "one character": ("x", "x"),
    "64 characters": ("a" * 64, "a" * 64),
    "digits": ("2026", "2026"),
    "a dash alone": ("-", "-"),
    "a word that begins like a reserved one": ("apis", "apis"),
}
REFUSED: Final = {
    "nothing": "",
    "65 characters": "a" * 65,
    "a space": "a b",
    "a slash": "a/b",
    "a dot": "a.b",
    "the plus that shows a target": "summer+",
    "a percent sign": "a%20b",
    "an umlaut": "sömmer",
    "a Kelvin sign, which becomes a k": "\u212aauf",
    "a dotless i": "t\u0131p",
    "full-width letters": "\uff41\uff42",
    "a line end": "summer\n",
    "a null byte": "summer\x00",
    "a broken byte": "a\udcff",
    "the path of the interface": "api",
    "a reserved word in capitals": "CONSENT",
    "collect": "collect",
    "privacy": "privacy",
    "audit": "audit",
    "l": "l",
    "the script": "gw.js",
    "a script of another sort": "index.php",
    "a script of another sort in capitals": "LOGIN.PHP",
}


@pytest.mark.parametrize(("text", "slug"), TAKEN.values(), ids=TAKEN.keys())
def test_a_slug_may_be(text: str, slug: str) -> None:
    assert check_slug(text) == slug
    assert fold_slug(text) == slug


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_slug_is_not(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_slug(text)
    assert (refused.value.code, refused.value.field) == ("field_invalid", "slug")


def test_the_refusal_names_the_field_of_the_form() -> None:
    with pytest.raises(Refusal) as refused:
        check_slug("", "code")
    assert refused.value.field == "code"


def test_a_reserved_word_can_be_looked_up_because_it_is_never_found() -> None:
    assert fold_slug("API") == "api"


@quick
@given(text=st.text(max_size=80) | st.text("abcABC019-_.K\u212a", max_size=70))
def test_looking_up_never_raises_and_folds_once(text: str) -> None:
    folded = fold_slug(text)
    if folded is not None:
        assert fold_slug(folded) == folded == text.lower()
        assert text.isascii()


# ------------------------------------------------------------------ click ids


def test_a_click_id_writes_128_bits_in_22_characters() -> None:
    assert click_id(bytes(16)) == "0" * 22
    assert click_id(bytes(15) + b"\x3d") == "0" * 21 + "z"
    assert click_id(bytes(15) + b"\x3e") == "0" * 20 + "10"
    assert click_id(b"\xff" * 16) == "7n42DGM5Tflk9n8mt7Fhc7"


@quick
@given(random_bytes=st.binary(min_size=16, max_size=16))
@example(random_bytes=b"\xff" * 16)
def test_a_click_id_is_one_and_can_be_read_back(random_bytes: bytes) -> None:
    written = click_id(random_bytes)
    assert is_click_id(written)
    number = 0
    for character in written:
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(character)
    assert number.to_bytes(16) == random_bytes


@pytest.mark.parametrize("count", [0, 15, 17])
def test_a_click_id_takes_16_bytes(count: int) -> None:
    with pytest.raises(ValueError, match="16 random bytes"):
        click_id(bytes(count))


NO_CLICK_IDS: Final = {
    "nothing": "",
    "21 characters": "0" * 21,
    "23 characters": "0" * 23,
    "one more than 128 bits": "7n42DGM5Tflk9n8mt7Fhc8",
    "22 times the last letter": "z" * 22,
    "a dash": "0" * 21 + "-",
    "an underscore": "0" * 21 + "_",
    "a line end": "0" * 22 + "\n",
    "digits of another script": "\u0660" * 22,
}


@pytest.mark.parametrize("text", NO_CLICK_IDS.values(), ids=NO_CLICK_IDS.keys())
def test_no_click_id_is(text: str) -> None:
    assert not is_click_id(text)
