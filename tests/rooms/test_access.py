"""Access: keys, signatures and origins. What does not fit exactly is refused, and odd texts never raise."""

import hashlib
import hmac
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import (
    SIGNATURE_WINDOW_S,
    NewKey,
    Signature,
    allowed_domain,
    find_key,
    make_key,
    origin_host,
    read_bearer,
    read_signature,
    signing_secret,
    verify_signature,
)
from gateway.entropy import SeededEntropy
from gateway.ids import is_caller_id
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
NOW_S: Final = NOW // 1_000
quick = tried(150)
ANYTHING = st.text(st.characters(exclude_categories=()))


def made(seed: bytes) -> NewKey:
    return make_key(
        SeededEntropy(seed).token_bytes(40), title="t", sites=("shop",), rights=("events",), must_sign=False, now_ms=NOW
    )


KEY: Final = made(b"one")
OTHER: Final = made(b"two")
KEYS: Final = {KEY.row.id: KEY.row, OTHER.row.id: OTHER.row}

# ------------------------------------------------------------------ API keys


def test_a_key_is_found_by_its_text() -> None:
    assert find_key(KEY.text, KEYS) == KEY.row
    assert find_key(OTHER.text, KEYS) == OTHER.row


def test_the_store_keeps_nothing_a_key_could_be_made_from() -> None:
    prefix, key_id, secret = KEY.text.split("_", 2)
    assert (prefix, len(key_id), len(secret)) == ("gwk", 8, 43)
    assert KEY.row.secret_sha256 == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(KEY.row)


TOKENS: Final = {
    "the id of one key with the secret of another": f"gwk_{KEY.row.id}_{OTHER.text[13:]}",
    "an unknown id": f"gwk_aaaaaaaa_{KEY.text[13:]}",
    "no secret": f"gwk_{KEY.row.id}_",
    "another prefix": "gws" + KEY.text[3:],
    "capitals": KEY.text.upper(),
    "a space behind": KEY.text + " ",
    "a line end behind": KEY.text + "\n",
    "one letter less": KEY.text[:-1],
    "one letter more": KEY.text + "A",
    "nothing": "",
    "letters beyond ASCII": KEY.text[:-1] + "é",
    "a broken byte": KEY.text[:-1] + "\udcff",
    "eight kilobytes": "gwk_" + "a" * 8_192,
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_what_is_not_exactly_the_key_finds_none(token: str) -> None:
    assert find_key(token, KEYS) is None


def test_no_changed_letter_finds_a_key() -> None:
    for at, letter in enumerate(KEY.text):
        assert find_key(KEY.text[:at] + ("A" if letter != "A" else "B") + KEY.text[at + 1 :], KEYS) is None


@quick
@given(token=ANYTHING)
def test_no_token_raises(token: str) -> None:
    assert find_key(token, KEYS) is None
    read_bearer(token)
    assert read_signature(token) is None


def test_a_revoked_key_is_none() -> None:
    revoked = msgspec.structs.replace(KEY.row, revoked_at_ms=NOW)
    assert find_key(KEY.text, {revoked.id: revoked}) is None


def test_a_key_takes_exactly_its_random_bytes() -> None:
    for count in (39, 41):
        with pytest.raises(ValueError, match="40 random bytes"):
            make_key(bytes(count), title="", sites=(), rights=(), must_sign=False, now_ms=NOW)


BEARERS: Final[dict[str, tuple[str | None, str | None]]] = {
    "a token": ("Bearer abc", "abc"),
    "in small letters": ("bearer abc", "abc"),
    "with more spaces": ("Bearer   abc ", "abc"),
    "without a token": ("Bearer ", None),
    "without anything": ("Bearer", None),
    "of another scheme": ("Basic abc", None),
    "with nothing before": ("abc", None),
    "empty": ("", None),
    "absent": (None, None),
}


@pytest.mark.parametrize(("header", "token"), BEARERS.values(), ids=BEARERS.keys())
def test_a_bearer_header(header: str | None, token: str | None) -> None:
    assert read_bearer(header) == token


# ------------------------------------------------------------------ signatures (row 23 of the attack list)

ROOT: Final = hashlib.sha256(b"root").digest()
OLD_ROOT: Final = hashlib.sha256(b"old root").digest()
BODY: Final = b'{"name":"purchase"}'
PATH: Final = "/api/v1/conversions"
NONCE: Final = "nonce-0001"


def signed(
    root: bytes = ROOT,
    at_s: int = NOW_S,
    nonce: str = NONCE,
    method: str = "POST",
    path: str = PATH,
    body: bytes = BODY,
) -> str:
    """A header as a caller would make it, from the words of the documentation and nothing of ours."""
    message = f"{at_s}.{nonce}.{method}.{path}.".encode() + body
    digest = hmac.new(signing_secret(root).encode(), message, hashlib.sha256).hexdigest()
    return f"t={at_s},n={nonce},v1={digest}"


def holds(header: str, now_ms: int = NOW, roots: tuple[bytes, ...] = (ROOT,)) -> bool:
    signature = read_signature(header)
    return signature is not None and verify_signature(
        signature, roots, method="POST", path=PATH, body=BODY, now_ms=now_ms
    )


def test_a_right_and_fresh_signature_holds() -> None:
    assert holds(signed())


def test_a_signature_of_an_older_secret_holds_until_it_is_dropped() -> None:
    assert holds(signed(OLD_ROOT), roots=(ROOT, OLD_ROOT))
    assert holds(signed(ROOT), roots=(ROOT, OLD_ROOT))
    assert not holds(signed(OLD_ROOT), roots=(ROOT,))
    assert not holds(signed(), roots=())


@pytest.mark.parametrize(
    ("off_s", "fresh"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (-86_400, False)]
)
def test_a_signature_is_good_for_300_seconds_either_way(off_s: int, fresh: bool) -> None:
    assert SIGNATURE_WINDOW_S == 300
    assert holds(signed(at_s=NOW_S + off_s)) is fresh
    assert holds(signed(at_s=NOW_S + off_s), NOW + 999) is fresh


WRONG: Final = {
    "over another body": signed(body=BODY + b" "),
    "over an empty body": signed(body=b""),
    "over another path": signed(path=PATH + "/"),
    "over another method": signed(method="PUT"),
    "over another nonce": signed(nonce="nonce-0002").replace("nonce-0002", NONCE),
    "over another time": signed(at_s=NOW_S - 1).replace(f"t={NOW_S - 1}", f"t={NOW_S}"),
    "of another secret": signed(OLD_ROOT),
    "with the dot moved": signed(nonce=NONCE + ".POST", method="x").replace(".POST", ""),
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG.keys())
def test_a_signature_does_not_hold(header: str) -> None:
    assert read_signature(header) is not None
    assert not holds(header)


DIGEST: Final = signed().partition("v1=")[2]
UNREADABLE: Final = {
    "in capitals": f"t={NOW_S},n={NONCE},v1={DIGEST.upper()}",
    "empty": f"t={NOW_S},n={NONCE},v1=",
    "cut": f"t={NOW_S},n={NONCE},v1={DIGEST[:-1]}",
    "with spaces": f"t={NOW_S}, n={NONCE}, v1={DIGEST}",
    "with a line end": f"t={NOW_S},n={NONCE},v1={DIGEST}\n",
    "in another order": f"n={NONCE},t={NOW_S},v1={DIGEST}",
    "with two digests": f"t={NOW_S},n={NONCE},v1={DIGEST},v1={DIGEST}",
    "with a time below zero": f"t=-1,n={NONCE},v1={DIGEST}",
    "with a time of other digits": f"t=\u0661{NOW_S},n={NONCE},v1={DIGEST}",
    "with an enormous time": f"t={'9' * 13},n={NONCE},v1={DIGEST}",
    "with a short nonce": f"t={NOW_S},n=short,v1={DIGEST}",
    "with a long nonce": f"t={NOW_S},n={'x' * 65},v1={DIGEST}",
    "with a comma in the nonce": f"t={NOW_S},n=non,ce-0001,v1={DIGEST}",
    "of nothing": "",
}


@pytest.mark.parametrize("header", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_header_is_no_signature(header: str) -> None:
    assert read_signature(header) is None


def test_no_header_is_no_signature() -> None:
    assert read_signature(None) is None
    assert read_signature(signed()) == Signature(NOW_S, NONCE, DIGEST)
    assert is_caller_id(NONCE)


@quick
@given(method=ANYTHING, path=ANYTHING, body=st.binary(max_size=50))
def test_no_request_raises_while_its_signature_is_checked(method: str, path: str, body: bytes) -> None:
    signature = Signature(NOW_S, NONCE, DIGEST)
    right = verify_signature(signature, (ROOT,), method=method, path=path, body=body, now_ms=NOW)
    assert right is ((method, path, body) == ("POST", PATH, BODY))


# ------------------------------------------------------------------ origins (row 26 of the attack list)

ORIGINS: Final = {
    "a plain one": ("https://shop.example", "shop.example"),
    "without TLS": ("http://shop.example", "shop.example"),
    "with a port": ("https://shop.example:8443", "shop.example"),
    "in capitals": ("HTTPS://Shop.EXAMPLE", "shop.example"),
    "with a final dot": ("https://shop.example.", "shop.example"),
    "a page address": ("https://shop.example/p?q#f", "shop.example"),
    "an IPv6 address": ("https://[2001:db8::1]:443", "[2001:db8::1]"),
    "null": ("null", None),
    "nothing": ("", None),
    "a bare host": ("shop.example", None),
    "another scheme": ("ftp://shop.example", None),
    "an extension": ("chrome-extension://abc", None),
    "a file": ("file://", None),
    "a user part": ("https://shop.example@evil.example", None),
    "a user part before ours": ("https://evil.example@shop.example", None),
    "a backslash": ("https://evil.example\\.shop.example", None),
    "a space": ("https://shop.example evil", None),
    "a line end": ("https://shop.example\n", None),
    "a NUL": ("https://shop.example\x00", None),
    "an escape": ("https://shop%2eexample", None),
    "a letter beyond ASCII": ("https://shöp.example", None),
    "a letter that becomes ASCII in lower case": ("https://boo\u212a.example", None),
    "a broken byte": ("https://shop.example\udcff", None),
    "two origins": ("https://shop.example, https://evil.example", None),
    "too large a port": ("https://shop.example:123456", None),
}


@pytest.mark.parametrize(("origin", "host"), ORIGINS.values(), ids=ORIGINS.keys())
def test_the_host_of_an_origin(origin: str, host: str | None) -> None:
    assert origin_host(origin) == host


@quick
@given(origin=ANYTHING | ANYTHING.map("https://".__add__))
def test_no_origin_raises_and_every_host_is_plain(origin: str) -> None:
    host = origin_host(origin)
    assert host is None or (host.isascii() and host == host.lower() and not set(host) & set("/@\\ ?#%"))


DOMAINS: Final = ("shop.example", "outlet.example")
ALLOWED: Final[dict[str, tuple[str | None, bool]]] = {
    "the domain": ("shop.example", True),
    "another of the list": ("outlet.example", True),
    "a subdomain": ("www.shop.example", True),
    "a subdomain of a subdomain": ("a.b.shop.example", True),
    "in capitals": ("WWW.Shop.Example", True),
    "a look-alike in front": ("evilshop.example", False),
    "a look-alike behind": ("shop.example.evil.test", False),
    "with a dash": ("evil-shop.example", False),
    "a parent": ("example", False),
    "the empty host": ("", False),
    "no host": (None, False),
}


@pytest.mark.parametrize(("host", "allowed"), ALLOWED.values(), ids=ALLOWED.keys())
def test_a_host_of_the_domains(host: str | None, allowed: bool) -> None:
    assert allowed_domain(host, DOMAINS) is allowed
    assert not allowed_domain(host, ())
