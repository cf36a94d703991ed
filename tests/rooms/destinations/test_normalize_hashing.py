"""Digests: the published examples, and the one digest that is never made."""

import hashlib

import pytest

from gateway.destinations.hashing import EMPTY_DIGESTS, EMPTY_MD5, EMPTY_SHA256, is_hex, is_sha256_hex, sha256_hex


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
        ("16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
        ("mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
        ("us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ],
)
def test_examples_of_metas_documentation(text: str, digest: str) -> None:
    assert sha256_hex(text) == digest


def test_text_beyond_ascii_is_hashed_as_utf8() -> None:
    assert sha256_hex("müller") == hashlib.sha256(b"m\xc3\xbcller").hexdigest()


def test_the_empty_text_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        sha256_hex("")


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        sha256_hex("\ud800")


def test_the_empty_digests_are_those_of_nothing() -> None:
    assert hashlib.sha256(b"").hexdigest() == EMPTY_SHA256
    assert hashlib.md5(b"", usedforsecurity=False).hexdigest() == EMPTY_MD5
    assert {EMPTY_SHA256, EMPTY_MD5} == EMPTY_DIGESTS


@pytest.mark.parametrize(
    ("text", "hexadecimal", "sha256"),
    [
        (EMPTY_SHA256, True, True),
        (EMPTY_SHA256.upper(), True, True),
        (EMPTY_MD5, True, False),
        (EMPTY_SHA256[:-1] + "g", False, False),
        (EMPTY_SHA256 + "\n", False, False),
        ("\uff10" * 64, False, False),
        ("", False, False),
    ],
)
def test_what_looks_like_a_digest(text: str, hexadecimal: bool, sha256: bool) -> None:
    assert is_hex(text) is hexadecimal
    assert is_sha256_hex(text) is sha256
