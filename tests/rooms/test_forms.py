"""Tokens of forms: good in one browser, for one visitor, on one site, for two hours; anything else is no token."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from gateway import access

KEYS = (b"o" * 32, b"n" * 32)
NOW_MS = 1_795_176_000_000
BROWSER = "AAAAAAAAAAAAAAAAAAAAAA"
VISITOR = "BBBBBBBBBBBBBBBBBBBBBB"
LIFE_MS = access.FORM_LIFE_S * 1000


def made(**changes: object) -> str:
    given = {"browser": BROWSER, "visitor": VISITOR, "now_ms": NOW_MS, **changes}
    return access.sign_form(KEYS, "shop", "change", **given)  # type: ignore[arg-type] # names with their types above


def read(token: str, keys: tuple[bytes, ...] = KEYS, site: str = "shop", **changes: object) -> str | None:
    given = {"browser": BROWSER, "visitor": VISITOR, "now_ms": NOW_MS, **changes}
    return access.read_form(keys, site, token, **given)  # type: ignore[arg-type] # as above


def test_a_token_says_what_it_was_made_for() -> None:
    assert read(made()) == "change"
    assert read(made(visitor=""), visitor="") == "change"


@pytest.mark.parametrize("age_ms", [0, 1_000, LIFE_MS])
def test_a_token_is_good_for_two_hours(age_ms: int) -> None:
    assert read(made(), now_ms=NOW_MS + age_ms) == "change"


@pytest.mark.parametrize("age_ms", [LIFE_MS + 1_000, 10 * LIFE_MS, -2_000, -LIFE_MS])
def test_a_token_that_is_too_old_or_from_the_future_is_none(age_ms: int) -> None:
    assert read(made(), now_ms=NOW_MS + age_ms) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"browser": "C" * 22},
        {"browser": ""},
        {"visitor": "C" * 22},
        {"visitor": ""},
        {"site": "kiosk"},
        {"keys": (b"x" * 32,)},
    ],
    ids=repr,
)
def test_a_token_is_worthless_elsewhere(changes: dict[str, object]) -> None:
    assert read(made(), **changes) is None  # type: ignore[arg-type] # each is one argument of read


def test_no_token_is_good_in_a_browser_without_the_cookie() -> None:
    assert read(made(browser=""), browser="") is None


def test_the_ids_it_is_bound_to_do_not_stand_in_a_token() -> None:
    token = made()
    assert BROWSER not in token
    assert VISITOR not in token


def test_ids_that_are_split_elsewhere_are_other_ids() -> None:
    assert read(made(browser="ab", visitor="c"), browser="a", visitor="bc") is None


def test_an_older_key_still_reads_and_a_dropped_one_does_not() -> None:
    old = access.sign_form(KEYS[:1], "shop", "change", browser=BROWSER, visitor=VISITOR, now_ms=NOW_MS)
    assert read(old) == "change"
    assert read(old, KEYS[1:]) is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "\ud800", "é" * 20, "1.change." + "0" * 32, "x" * 100_000])
def test_what_is_no_token_is_none(token: str) -> None:
    assert read(token) is None


def test_a_signature_for_another_use_is_none() -> None:
    for salt in (b"gateway/link", b"gateway/form/", b"gateway/form/shopx", b"itsdangerous.Signer"):
        signer = TimestampSigner(list(KEYS), salt=salt, key_derivation="hmac")
        assert read(signer.sign(made().rsplit(".", 2)[0]).decode()) is None


@given(st.integers(0, 200), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, flip: int) -> None:
    token = bytearray(made().encode())
    place %= len(token)
    token[place] ^= flip
    changed = token.decode("latin-1")
    if place == len(token) - 1 and _same_signature(changed, made()):
        return  # the last character of base64 has spare bits: another spelling of the same signature
    assert read(changed) is None


def _same_signature(one: str, other: str) -> bool:
    try:
        first, second = (base64.urlsafe_b64decode(text.rpartition(".")[2] + "=") for text in (one, other))
    except ValueError:
        return False
    return first == second


@given(st.text())
def test_reading_never_raises(token: str) -> None:
    assert read(token) is None
