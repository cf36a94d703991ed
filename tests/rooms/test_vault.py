"""The vault: what is sealed opens only where it belongs, keys rotate, and weak or readable key files stop the start."""

import base64
import hashlib
import stat
from pathlib import Path
from typing import Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.entropy import SeededEntropy, SystemEntropy
from gateway.errors import SettingsError
from gateway.vault import (
    GOOGLE_SCOPE,
    GOOGLE_TOKEN_URL,
    USES,
    KeyFile,
    RootKey,
    SealedUnreadable,
    ServiceAccount,
    Vault,
    drop,
    google_assertion,
    new_key_file,
    read_key_file,
    rotate,
    write_key_file,
)
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
KEYS: Final = new_key_file(NOW, SeededEntropy(b"keys"))
PLACE: Final = b"shop\x1fevent-0001\x1fmeta"
quick = tried(100)


def vault(keys: KeyFile = KEYS, seed: bytes = b"vault") -> Vault:
    return Vault(keys, SeededEntropy(seed))


# ------------------------------------------------------------------ sealing


@quick
@given(plain=st.binary(max_size=200), place=st.binary(max_size=40))
def test_what_is_sealed_opens_at_its_place(plain: bytes, place: bytes) -> None:
    assert vault().open(vault().seal(plain, place), place) == plain


@quick
@given(place=st.binary(max_size=40).filter(lambda place: place != PLACE))
def test_what_is_moved_to_another_place_does_not_open(place: bytes) -> None:
    with pytest.raises(SealedUnreadable, match="damaged"):
        vault().open(vault().seal(b"plain", PLACE), place)


def test_no_flipped_bit_opens() -> None:
    sealed = vault().seal(b"plain", PLACE)
    for at in range(len(sealed)):
        for bit in range(8):
            damaged = sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :]
            with pytest.raises(SealedUnreadable):
                vault().open(damaged, PLACE)


def test_nothing_cut_or_added_opens() -> None:
    sealed = vault().seal(b"plain", PLACE)
    for at in range(len(sealed)):
        for damaged in (sealed[:at], sealed[at + 1 :]):
            with pytest.raises(SealedUnreadable):
                vault().open(damaged, PLACE)
    with pytest.raises(SealedUnreadable):
        vault().open(sealed + b"\x00", PLACE)


@quick
@given(sealed=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(sealed: bytes) -> None:
    with pytest.raises(SealedUnreadable):
        vault().open(sealed, PLACE)


def test_the_clear_value_is_not_in_what_is_sealed_and_no_two_seals_are_alike() -> None:
    kept = vault()
    first, second = kept.seal(b"jane@mail.example", PLACE), kept.seal(b"jane@mail.example", PLACE)
    assert b"jane" not in first
    assert first != second
    assert len(first) == 1 + 4 + 12 + len(b"jane@mail.example") + 16


# ------------------------------------------------------------------ rotation


def test_after_a_rotation_the_newest_key_seals_and_all_open() -> None:
    rotated = rotate(KEYS, "sealing", NOW + 1, SeededEntropy(b"new"))
    old, new = vault(), vault(rotated)
    assert new.open(old.seal(b"plain", PLACE), PLACE) == b"plain"
    sealed = new.seal(b"plain", PLACE)
    assert sealed[1:5].hex() == rotated.sealing[-1].id != KEYS.sealing[-1].id
    with pytest.raises(SealedUnreadable, match="key"):
        old.open(sealed, PLACE)


def test_after_a_key_was_dropped_what_it_sealed_stays_shut() -> None:
    rotated = rotate(KEYS, "sealing", NOW + 1, SeededEntropy(b"new"))
    dropped = drop(rotated, "sealing", KEYS.sealing[0].id)
    with pytest.raises(SealedUnreadable, match="key"):
        vault(dropped).open(vault().seal(b"plain", PLACE), PLACE)


def test_signing_keys_come_oldest_to_newest_and_api_secrets_newest_first() -> None:
    rotated = rotate(rotate(KEYS, "signing", NOW, SeededEntropy(b"s")), "api", NOW, SeededEntropy(b"a"))
    old, new = vault(), vault(rotated)
    assert new.signing_keys("identity", "shop")[:1] == old.signing_keys("identity", "shop")
    assert len(new.signing_keys("identity", "shop")) == 2
    assert new.api_secrets("key-1")[1:] == old.api_secrets("key-1")


@pytest.mark.parametrize("use", ["digest", "nonsense"])
def test_what_must_not_change_is_not_rotated(use: str) -> None:
    with pytest.raises(ValueError, match=use):
        rotate(KEYS, use, NOW, SeededEntropy())


def test_neither_the_newest_nor_an_unknown_key_is_dropped() -> None:
    for use, key_id in (("sealing", KEYS.sealing[0].id), ("sealing", "00000000"), ("nonsense", KEYS.sealing[0].id)):
        with pytest.raises(ValueError, match=key_id):
            drop(KEYS, use, key_id)


# ------------------------------------------------------------------ derived keys and digests


def test_every_use_and_every_site_has_its_own_keys() -> None:
    kept = vault()
    keys = [
        *kept.signing_keys("identity", "shop"),
        *kept.signing_keys("identity", "blog"),
        *kept.signing_keys("link", "shop"),
        *kept.signing_keys("link", ""),
        *kept.api_secrets("shop"),
        *kept.api_secrets("blog"),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}
    roots = {base64.b64decode(key.secret) for use in USES for key in getattr(KEYS, use)}
    assert not roots & set(keys), "no root key leaves the vault"


def test_digests_of_different_things_differ_and_stay_the_same_for_ever() -> None:
    kept = vault()
    made = {
        kept.digest(kind, site, text)
        for kind in ("visitor", "email")
        for site in ("shop", "blog")
        for text in ("a", "b", "", "é")
    }
    assert len(made) == 16
    assert {len(digest) for digest in made} == {16}
    assert kept.digest("visitor", "shop", "a") == vault(seed=b"other").digest("visitor", "shop", "a")
    unlike = vault(new_key_file(NOW, SeededEntropy(b"other keys")))
    assert kept.digest("visitor", "shop", "a") != unlike.digest("visitor", "shop", "a")
    assert hashlib.blake2b(b"visitor\x1fshop\x1fa", digest_size=16).digest() not in made


@quick
@given(text=st.text(st.characters(exclude_categories=())))
def test_every_text_has_a_digest(text: str) -> None:
    assert len(vault().digest("external_id", "shop", text)) == 16


def test_a_daily_key_lives_as_long_as_nobody_asks_for_another_day() -> None:
    kept = vault()
    monday = kept.daily_key(20_000)
    assert kept.daily_key(20_000) == monday
    tuesday = kept.daily_key(20_001)
    assert tuesday != monday
    assert kept.daily_key(20_000) not in {monday, tuesday}, "the key of monday was destroyed"
    assert vault(seed=b"after a restart").daily_key(20_000) != monday


def test_nothing_prints_a_key() -> None:
    secrets = [getattr(KEYS, use)[0].secret for use in USES]
    shown = f"{KEYS!r} {vault()!r} {KEYS.signing[0]} {ServiceAccount('a@b', 'PRIVATE', 'id')!r}"
    assert not any(secret in shown for secret in (*secrets, "PRIVATE"))


# ------------------------------------------------------------------ the key file


def test_a_key_file_reads_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, KEYS)
    assert read_key_file(path) == KEYS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


def test_a_file_left_behind_by_a_crash_does_not_lend_its_mode(tmp_path: Path) -> None:
    left = tmp_path / "keys.new"
    left.write_text("half a ke" * 1_000, "utf-8")
    left.chmod(0o644)
    path = tmp_path / "keys.json"
    write_key_file(path, KEYS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == KEYS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o610, 0o644, 0o777], ids=oct)
def test_a_key_file_that_others_could_read_or_write_refuses_to_start(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    write_key_file(path, KEYS)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="read by others"):
        read_key_file(path)


def changed(**uses: object) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(KEYS), **uses})


def with_secret(secret: bytes | str, key_id: str = "0123abcd") -> bytes:
    text = secret if isinstance(secret, str) else base64.b64encode(secret).decode()
    return changed(api=[{"id": key_id, "created_at_ms": 0, "secret": text}])


GOOD: Final = SeededEntropy(b"good").token_bytes(32)
BAD_FILES: Final = {
    "empty": (b"", "damaged"),
    "no JSON": (b"keys", "damaged"),
    "no UTF-8": (b'{"signing":"\xff"}', "damaged"),
    "a list": (b"[]", "damaged"),
    "without a use": (msgspec.json.encode({use: [] for use in USES[1:]}), "damaged"),
    "with an unknown use": (changed(other=[]), "damaged"),
    "without a key of a use": (changed(digest=[]), "holds no digest key"),
    "with a key of 31 bytes": (with_secret(GOOD[:31]), "too weak"),
    "with a key of 16 bytes": (with_secret(GOOD[:16]), "too weak"),
    "with a key of one byte repeated": (with_secret(b"A" * 32), "too weak"),
    "with a key of zeros": (with_secret(bytes(32)), "too weak"),
    "with a key of seven different bytes": (with_secret(b"ABCDEFG" * 5), "too weak"),
    "with a key that is not base64": (with_secret("not base64!"), "not base64"),
    "with a key in letters beyond ASCII": (with_secret("é" * 44), "not base64"),
    "with an id that is not hexadecimal": (with_secret(GOOD, "notahexa"), "not 8 hex digits"),
    "with an id that is too long": (with_secret(GOOD, "0123abcdef"), "not 8 hex digits"),
    "with an empty id": (with_secret(GOOD, ""), "not 8 hex digits"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_key_file_refuses_to_start_and_says_why_without_the_key(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=problem) as caught:
        read_key_file(path)
    assert base64.b64encode(GOOD).decode()[:16] not in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_good_key_of_the_same_form_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(with_secret(GOOD))
    path.chmod(0o600)
    assert read_key_file(path).api == (RootKey("0123abcd", 0, base64.b64encode(GOOD).decode()),)


def test_no_key_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gateway init"):
        read_key_file(tmp_path / "keys.json")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key_file(tmp_path)


def test_new_keys_are_all_different() -> None:
    made = [getattr(new_key_file(NOW, SystemEntropy()), use)[0] for use in USES for _ in range(3)]
    assert len({key.id for key in made}) == len({key.secret for key in made}) == 12


# ------------------------------------------------------------------ Google's assertion


def key_file(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return msgspec.json.encode(
        {"type": "service_account", "client_email": "a@b.example", "private_key": pem, "private_key_id": "k1"}
    ).decode()


def unpadded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_an_assertion_is_signed_by_the_service_account_for_one_hour() -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    header, claims, signature = google_assertion(key_file(key), NOW // 1_000).split(".")
    key.public_key().verify(unpadded(signature), f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    assert msgspec.json.decode(unpadded(header)) == {"typ": "JWT", "alg": "RS256", "kid": "k1"}
    assert msgspec.json.decode(unpadded(claims)) == {
        "iss": "a@b.example",
        "scope": GOOGLE_SCOPE,
        "aud": GOOGLE_TOKEN_URL,
        "iat": NOW // 1_000,
        "exp": NOW // 1_000 + 3_600,
    }


BAD_ACCOUNTS: Final = {
    "nothing": "",
    "no JSON": "key",
    "no fields": "{}",
    "no key": '{"client_email":"a","private_key":"x","private_key_id":"k"}',
    "letters beyond ASCII": '{"client_email":"a","private_key":"é","private_key_id":"k"}',
    "a key of another kind": key_file(ec.generate_private_key(ec.SECP256R1())),
}


@pytest.mark.parametrize("text", BAD_ACCOUNTS.values(), ids=BAD_ACCOUNTS.keys())
def test_what_is_no_service_account_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a service account key file$"):
        google_assertion(text, 0)
