"""Signed first-party ids: what is believed, what is not, and that nothing a browser can send raises.

Anything in a Cookie header or a page address is a stranger's text. The tables below put every kind of token through the
same ordeal: damaged in every bit, cut anywhere, made for another site, another use, another key, another day.
"""

import hashlib
import ipaddress
from collections.abc import Callable
from itertools import permutations
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadSignature, Signer
from itsdangerous.encoding import base64_decode

from gateway.entropy import SeededEntropy
from gateway.identity import (
    CLICK_COOKIE,
    CONSENT_COOKIE,
    ID_COOKIE,
    CookieShape,
    Keys,
    Receipt,
    Token,
    cookie_name,
    cookie_values,
    daily_id,
    expired_cookie,
    read_clicks,
    read_link,
    read_receipt,
    read_token,
    recognise,
    renewal_due,
    set_cookie,
    sign_clicks,
    sign_link,
    sign_receipt,
    sign_token,
    truncated_address,
)
from gateway.ids import random_id
from gateway.purposes import ADVERTISING, ALL_PURPOSES, ANALYTICS, FUNCTIONAL, NECESSARY
from gateway.times import DAY_MS, HOUR_MS
from tests.support.properties import tried

TODAY: Final = 20_777
NOW: Final = TODAY * DAY_MS + 15 * HOUR_MS
LIFE_DAYS: Final = 390
CLICK_DAYS: Final = 90

quick = tried(150)


def secret(name: str) -> bytes:
    return hashlib.sha256(name.encode("ascii")).digest()


def site_keys(*names: str, site: str = "shop", links: tuple[str, ...] = ("link",)) -> Keys:
    return Keys(site, tuple(map(secret, names)), tuple(map(secret, links)))


entropy = SeededEntropy(b"identity")
KEYS: Final = site_keys("second", "third")
ANNA: Final = random_id(entropy.token_bytes(16))
BERTA: Final = random_id(entropy.token_bytes(16))
NONCE: Final = random_id(entropy.token_bytes(16))
POSITION: Final = random_id(entropy.token_bytes(16))
GRANT: Final = Receipt(NECESSARY | ANALYTICS, ADVERTISING, NOW, "2026-11", POSITION)
HOST: Final = "blog.example"
CLICKS: Final = {"gclid": "EAIaIQobChMI-_Case", "fbclid": "IwAR2~x.Y"}


class Kind(NamedTuple):
    make: Callable[[Keys], str]
    read: Callable[[Keys, str], object]


def clicks_of(keys: Keys) -> str:
    made = sign_clicks(keys, CLICKS, NOW)
    assert made is not None
    return made


KINDS: Final = {
    "an id": Kind(
        lambda keys: sign_token(keys, ANNA, TODAY - 30, TODAY),
        lambda keys, text: read_token(keys, text, TODAY, LIFE_DAYS),
    ),
    "a receipt": Kind(
        lambda keys: sign_receipt(keys, GRANT),
        lambda keys, text: read_receipt(keys, [text], NOW),
    ),
    "a click cookie": Kind(clicks_of, lambda keys, text: read_clicks(keys, [text], NOW, CLICK_DAYS)),
    "a link token": Kind(
        lambda keys: sign_link(keys, Token(ANNA, TODAY - 30, TODAY, True), HOST, NOW, NONCE),
        lambda keys, text: read_link(keys, text, HOST, NOW),
    ),
}

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_cookie = pytest.mark.parametrize(
    "kind", [KINDS[name] for name in ("an id", "a receipt", "a click cookie")], ids=["id", "receipt", "click cookie"]
)

ODD: Final = {
    "nothing": "",
    "one dot": ".",
    "dots only": "....",
    "a separator and no signature": "1.abc.",
    "a signature and no text": "." + "A" * 43,
    "letters beyond ASCII": "é" * 40,
    "a lone surrogate, as a broken header byte decodes": "1.\udcff.3",
    "a NUL": "1.\x00.3",
    "line ends": "1.2\r\n.3",
    "eight kilobytes": "A" * 8_192,
    "eight kilobytes of dots": "." * 8_192,
    "numbers where nothing is signed": "1.2.3.4.5.6",
}
odd_texts = pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())


# ------------------------------------------------------------------ what every token has in common


@every_kind
def test_a_token_is_read_as_it_was_made(kind: Kind) -> None:
    assert kind.read(KEYS, kind.make(KEYS)) is not None


@every_kind
def test_a_token_fits_into_a_cookie(kind: Kind) -> None:
    token = kind.make(KEYS)
    assert token.isascii()
    assert not set(token) & set(' ;,"\\\t\r\n')
    assert len(token) < 1_000


@every_kind
def test_no_flipped_bit_is_believed(kind: Kind) -> None:
    token = kind.make(KEYS)
    for at, character in enumerate(token):
        for bit in range(8):
            damaged = token[:at] + chr(ord(character) ^ 1 << bit) + token[at + 1 :]
            assert kind.read(KEYS, damaged) is None, f"bit {bit} of character {at}"


@every_kind
def test_the_last_character_has_one_spelling(kind: Kind) -> None:
    """43 characters of base64 hold 258 bits for the 256 of a signature: four endings decode to the same bytes."""
    token = kind.make(KEYS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [end for end in alphabet if kind.read(KEYS, token[:-1] + end) is not None] == [token[-1]]


@every_kind
@pytest.mark.parametrize("extra", ["=", "==", "!", "\n", " ", "A", ".", "é"])
def test_nothing_may_be_added_to_a_token(kind: Kind, extra: str) -> None:
    token = kind.make(KEYS)
    for at in (0, len(token) - 5, len(token)):
        assert kind.read(KEYS, token[:at] + extra + token[at:]) is None, at


@every_kind
def test_no_cut_token_is_believed(kind: Kind) -> None:
    token = kind.make(KEYS)
    for at in range(len(token)):
        assert kind.read(KEYS, token[:at]) is None
        assert kind.read(KEYS, token[at + 1 :]) is None


@every_kind
def test_a_token_of_another_key_is_not_believed(kind: Kind) -> None:
    stranger = site_keys("stranger", links=("stranger",))
    assert kind.read(KEYS, kind.make(stranger)) is None


@every_cookie
def test_a_token_of_another_site_with_the_same_root_key_is_not_believed(kind: Kind) -> None:
    assert kind.read(KEYS, kind.make(site_keys("second", "third", site="blog"))) is None


@pytest.mark.parametrize("made_as", KINDS.keys())
@pytest.mark.parametrize("read_as", KINDS.keys())
def test_a_token_is_worthless_for_any_other_use(made_as: str, read_as: str) -> None:
    shared = Keys("shop", (secret("one"),), (secret("one"),))
    read = KINDS[read_as].read(shared, KINDS[made_as].make(shared))
    assert (read is not None) is (made_as == read_as)


@pytest.mark.parametrize("made_by", ["id", "receipt", "click"])
@pytest.mark.parametrize("read_by", ["id", "receipt", "click"])
def test_no_signer_opens_what_another_signed(made_by: str, read_by: str) -> None:
    """Whatever the text says: tokens of one form would not be told apart by their form."""
    token = getattr(KEYS, made_by).sign("1.same.text").decode("ascii")
    assert (getattr(KEYS, read_by).opened(token, 256) is not None) is (made_by == read_by)


@every_kind
@odd_texts
def test_odd_texts_are_no_token(kind: Kind, text: str) -> None:
    assert kind.read(KEYS, text) is None


@quick
@given(text=st.text(st.characters(exclude_categories=())))
def test_no_text_at_all_raises(text: str) -> None:
    for kind in KINDS.values():
        assert kind.read(KEYS, text) is None
    assert recognise(KEYS, [text], TODAY, LIFE_DAYS) == (None, "id_invalid")


@quick
@given(data=st.binary(max_size=200))
def test_no_bytes_raise_when_they_arrive_as_a_header(data: bytes) -> None:
    header = data.decode("utf-8", "surrogateescape")
    for name in ("__Host-gwid", "__Host-gwconsent"):
        cookie_values(f"{name}={header}; a=b", name)
    for kind in KINDS.values():
        assert kind.read(KEYS, header) is None


# ------------------------------------------------------------------ the quick verification says what itsdangerous says


def unsigned_by_itsdangerous(signer: Signer, token: str) -> str | None:
    try:
        return signer.unsign(token).decode("ascii")
    except (BadSignature, UnicodeDecodeError):
        return None


def spelled_otherwise(token: str) -> bool:
    """Whether the signature of a token is not in its one canonical spelling, which only itsdangerous takes."""
    signature = token.rpartition(".")[2]
    return len(signature) != 43 or signature[-1] not in "AEIMQUYcgkosw048" or not signature.isascii()


@pytest.mark.parametrize("kind", ["an id", "a receipt", "a click cookie"])
def test_own_foreign_and_damaged_tokens_are_judged_as_by_itsdangerous(kind: str) -> None:
    signer = {"an id": KEYS.id, "a receipt": KEYS.receipt, "a click cookie": KEYS.click}[kind]
    own = KINDS[kind].make(KEYS)
    tokens = [own, KINDS[kind].make(site_keys("third")), KINDS[kind].make(site_keys("second"))]
    tokens += [
        KINDS[kind].make(site_keys("stranger")),
        KINDS[kind].make(site_keys("third", site="blog")),
        "",
        ".",
        own[:-1],
    ]
    tokens += [
        own[:at] + other + own[at + 1 :] for at in range(len(own)) for other in ("A", "-", ".") if own[at] != other
    ]
    agreed = 0
    for token in tokens:
        opened = signer.opened(token, 4_096)
        theirs = unsigned_by_itsdangerous(signer, token)
        if theirs is not None and opened is None:
            assert spelled_otherwise(token)
        else:
            assert (opened[0] if opened else None) == theirs, token
            agreed += opened is not None
    assert agreed == 3


@quick
@given(at=st.integers(0, 120), letter=st.characters(min_codepoint=0, max_codepoint=127), cut=st.integers(0, 3))
def test_every_damage_is_judged_as_by_itsdangerous_or_more_strictly(at: int, letter: str, cut: int) -> None:
    token = KINDS["an id"].make(KEYS)
    damaged = token[:at] + letter + token[at + cut :]
    opened = KEYS.id.opened(damaged, 256)
    theirs = unsigned_by_itsdangerous(KEYS.id, damaged)
    if opened is not None:
        assert opened == (theirs, True)
        assert damaged == token
    elif theirs is not None:
        assert base64_decode(damaged.rpartition(".")[2]) == base64_decode(token.rpartition(".")[2])


@quick
@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=100))
def test_whatever_itsdangerous_signs_is_opened(text: str) -> None:
    assert KEYS.id.opened(KEYS.id.sign(text).decode("ascii"), 256) == (text, True)


def test_what_is_longer_than_its_limit_is_not_even_looked_at() -> None:
    long = KEYS.id.sign("x" * 300).decode("ascii")
    assert KEYS.id.opened(long, len(long)) is not None
    assert KEYS.id.opened(long, len(long) - 1) is None


# ------------------------------------------------------------------ key rotation


def test_an_old_key_still_verifies_and_asks_for_renewal() -> None:
    old = sign_token(site_keys("second"), ANNA, TODAY - 5, TODAY)
    read = read_token(KEYS, old, TODAY, LIFE_DAYS)
    assert read == Token(ANNA, TODAY - 5, TODAY, newest_key=False)
    assert renewal_due(read, TODAY)


def test_a_renewed_id_is_signed_by_the_newest_key_and_keeps_its_first_day() -> None:
    renewed = sign_token(KEYS, ANNA, TODAY - 5, TODAY)
    read = read_token(site_keys("third"), renewed, TODAY, LIFE_DAYS)
    assert read == Token(ANNA, TODAY - 5, TODAY, newest_key=True)
    assert not renewal_due(read, TODAY)


@every_kind
def test_a_dropped_key_is_refused(kind: Kind) -> None:
    made = kind.make(site_keys("first", links=("old link",)))
    assert kind.read(site_keys("first", "second", links=("old link", "link")), made) is not None
    assert kind.read(site_keys("second", "third", links=("link",)), made) is None


def test_an_id_is_renewed_once_a_day() -> None:
    assert renewal_due(Token(ANNA, TODAY - 9, TODAY - 1, True), TODAY)
    assert not renewal_due(Token(ANNA, TODAY - 9, TODAY, True), TODAY)


@pytest.mark.parametrize(("site", "link"), [((), (b"k",)), ((b"k",), ())], ids=["no site key", "no link key"])
def test_an_empty_key_list_is_refused_at_the_start(site: tuple[bytes, ...], link: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Keys("shop", site, link)


# ------------------------------------------------------------------ days

DAYS: Final = {
    "renewed today": (TODAY, True),
    "renewed tomorrow, by a machine on the other side of midnight": (TODAY + 1, True),
    "renewed the day after tomorrow": (TODAY + 2, False),
    "renewed in a thousand years": (TODAY + 365_000, False),
    "renewed on the last day of its life": (TODAY - LIFE_DAYS, True),
    "renewed a day before that": (TODAY - LIFE_DAYS - 1, False),
}


@pytest.mark.parametrize(("renewed", "believed"), DAYS.values(), ids=DAYS.keys())
def test_an_id_is_believed_for_its_life(renewed: int, believed: bool) -> None:
    token = sign_token(KEYS, ANNA, renewed - 3, renewed)
    assert (read_token(KEYS, token, TODAY, LIFE_DAYS) is not None) is believed


# ------------------------------------------------------------------ whom the cookies point at

VALID: Final = sign_token(KEYS, ANNA, TODAY - 3, TODAY - 1)
RENEWED: Final = sign_token(KEYS, ANNA, TODAY - 3, TODAY)
OTHER: Final = sign_token(KEYS, BERTA, TODAY, TODAY)
EXPIRED: Final = sign_token(KEYS, BERTA, TODAY - 500, TODAY - 400)
FORGED: Final = sign_token(site_keys("stranger"), BERTA, TODAY, TODAY)

RECOGNISED: Final[dict[str, tuple[list[str], str | None, str | None]]] = {
    "no cookie is nobody, and nothing to note": ([], None, None),
    "one valid id is believed": ([VALID], ANNA, None),
    "the same id twice is one id": ([VALID, VALID], ANNA, None),
    "an id and its renewed copy are one id": ([VALID, RENEWED], ANNA, None),
    "an invalid value beside a valid one does not matter": ([FORGED, VALID], ANNA, None),
    "an expired id of somebody else does not matter": ([EXPIRED, VALID], ANNA, None),
    "an empty value beside a valid one does not matter": (["", VALID], ANNA, None),
    "two different valid ids are a conflict": ([VALID, OTHER], None, "id_conflict"),
    "two different valid ids are a conflict among junk": (["", VALID, FORGED, OTHER], None, "id_conflict"),
    "a forged id alone is nobody, and noted": ([FORGED], None, "id_invalid"),
    "an expired id alone is nobody, and noted": ([EXPIRED], None, "id_invalid"),
    "an empty value alone is nobody, and noted": ([""], None, "id_invalid"),
}


@pytest.mark.parametrize(("values", "visitor", "mark"), RECOGNISED.values(), ids=RECOGNISED.keys())
def test_whom_the_cookies_point_at_in_whatever_order_they_come(
    values: list[str], visitor: str | None, mark: str | None
) -> None:
    for order in permutations(values):
        token, noted = recognise(KEYS, list(order), TODAY, LIFE_DAYS)
        assert (token.visitor_id if token else None, noted) == (visitor, mark)


def test_of_an_id_and_its_renewed_copy_the_renewed_one_counts() -> None:
    for order in ([VALID, RENEWED], [RENEWED, VALID]):
        token, _ = recognise(KEYS, order, TODAY, LIFE_DAYS)
        assert token is not None
        assert token.renewed_day == TODAY


@quick
@given(values=st.lists(st.sampled_from([VALID, RENEWED, OTHER, EXPIRED, FORGED, "", "x"]), max_size=8), data=st.data())
def test_the_order_of_cookies_never_decides(values: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    assert recognise(KEYS, values, TODAY, LIFE_DAYS) == recognise(KEYS, shuffled, TODAY, LIFE_DAYS)


def test_no_more_than_eight_values_are_looked_at() -> None:
    assert recognise(KEYS, [""] * 7 + [VALID], TODAY, LIFE_DAYS)[0] is not None
    assert recognise(KEYS, [""] * 8 + [VALID], TODAY, LIFE_DAYS) == (None, "id_invalid")


@pytest.mark.parametrize("headers", [1, 2], ids=["in one Cookie header", "in two Cookie headers"])
@pytest.mark.parametrize("swapped", [False, True], ids=["in this order", "in the other order"])
def test_a_tossed_cookie_makes_a_conflict(headers: int, swapped: bool) -> None:
    """Two headers reach the rooms joined by `; `, as RFC 9113 8.2.3 joins them."""
    pair = [f"__Host-gwid={OTHER}", f"__Host-gwid={VALID}"]
    if swapped:
        pair.reverse()
    parts = ["a=1", pair[0], "b=2"], [pair[1], "c=3"]
    header = "; ".join(("; ".join(parts[0]), "; ".join(parts[1]))) if headers == 2 else "; ".join((*pair, "a=1"))
    assert recognise(KEYS, cookie_values(header, "__Host-gwid"), TODAY, LIFE_DAYS) == (None, "id_conflict")


# ------------------------------------------------------------------ cookies by name

NAMED: Final = {
    "the only cookie": ("__Host-gwid=v", ["v"]),
    "among others": ("a=1; __Host-gwid=v; b=2", ["v"]),
    "without a space between": ("a=1;__Host-gwid=v;b=2", ["v"]),
    "twice, both in order": ("__Host-gwid=v; __Host-gwid=w", ["v", "w"]),
    "with an equals sign inside": ("__Host-gwid=v=w=", ["v=w="]),
    "with spaces and tabs around": ("a=1; \t__Host-gwid\t = v \t; b=2", ["v"]),
    "empty": ("__Host-gwid=", [""]),
    "without an equals sign": ("__Host-gwid; a=1", []),
    "in quotes, which are part of the value": ('__Host-gwid="v"', ['"v"']),
    "after a part no parser likes": ('a="; b; =; \x00=\x01; __Host-gwid=v', ["v"]),
    "in another case": ("__host-gwid=v; __HOST-GWID=v; __Host-GWID=v", []),
    "in another case beside the right one": ("__host-gwid=a; __HOST-GWID=b; __Host-gwid=v", ["v"]),
    "with more behind the name": ("__Host-gwid2=v; __Host-gwid.x=v", []),
    "with something before the name": ("x__Host-gwid=v; ___Host-gwid=v", []),
    "with another prefix": ("__Secure-gwid=v; gwid=v", []),
    "behind a no-break space, which browsers keep": ("\xa0__Host-gwid=v", []),
    "behind a vertical tab": ("\x0b__Host-gwid=v; \x0c__Host-gwid=v", []),
    "behind a zero-width space": ("\u200b__Host-gwid=v", []),
    "with a look-alike letter": ("__H\u043est-gwid=v", []),
    "as the value of another": ("a=__Host-gwid=v", []),
    "inside the value of another, behind a space": ("a=x __Host-gwid=v; b=y\t__Host-gwid=w", []),
    "once inside the value of another, behind a space": ("a=x __Host-gwid=v", []),
    "first of all, behind spaces": (" \t __Host-gwid=v", ["v"]),
    "in no header at all": ("", []),
    "beside broken bytes": ("a=\udcff; __Host-gwid=v", ["v"]),
}


@pytest.mark.parametrize(("header", "values"), NAMED.values(), ids=NAMED.keys())
def test_a_cookie_is_found_by_its_exact_name(header: str, values: list[str]) -> None:
    assert cookie_values(header, "__Host-gwid") == values


@quick
@given(
    pieces=st.lists(
        st.sampled_from(["__Host-gwid", "=", ";", "; ", " ", "\t", "v", "a=", "\xa0", "__Host-"]), max_size=14
    )
)
def test_a_cookie_is_found_exactly_where_a_plain_reading_finds_it(pieces: list[str]) -> None:
    header = "".join(pieces)
    pairs = [part.partition("=") for part in header.split(";")]
    plain = [value.strip(" \t") for name, sign, value in pairs if sign and name.strip(" \t") == "__Host-gwid"]
    assert cookie_values(header, "__Host-gwid") == plain


@quick
@given(first=st.text(max_size=60), second=st.text(max_size=60))
def test_two_headers_hold_what_both_hold(first: str, second: str) -> None:
    header, other = f"__Host-gwid={first}", f"__Host-gwid={second}"
    joined = cookie_values(f"{header}; {other}", "__Host-gwid")
    assert joined == cookie_values(header, "__Host-gwid") + cookie_values(other, "__Host-gwid")


def test_a_host_only_cookie_has_the_host_prefix_and_no_domain() -> None:
    shape = CookieShape()
    assert cookie_name(shape, ID_COOKIE) == "__Host-gwid"
    assert set_cookie(shape, ID_COOKIE, "v", 86_400) == (
        "__Host-gwid=v; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"
    )


def test_a_cookie_for_several_hosts_has_the_secure_prefix_and_a_domain() -> None:
    shape = CookieShape("shop.example")
    assert cookie_name(shape, CONSENT_COOKIE) == "__Secure-gwconsent"
    assert set_cookie(shape, CONSENT_COOKIE, "v", 60) == (
        "__Secure-gwconsent=v; Path=/; Domain=shop.example; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
    )


def test_a_cookie_is_deleted_with_the_attributes_it_was_set_with() -> None:
    for shape in (CookieShape(), CookieShape("shop.example")):
        deleted = expired_cookie(shape, CLICK_COOKIE)
        assert deleted == set_cookie(shape, CLICK_COOKIE, "v", 60).replace("=v;", "=;").replace(
            "Max-Age=60", "Max-Age=0"
        )


# ------------------------------------------------------------------ the consent receipt


def receipts(*made: Receipt) -> list[str]:
    return [sign_receipt(KEYS, receipt) for receipt in made]


def test_a_grant_keeps_its_time_and_its_place_in_the_log() -> None:
    assert read_receipt(KEYS, receipts(GRANT), NOW) == GRANT


@quick
@given(
    denied=st.integers(0, ALL_PURPOSES),
    granted=st.sampled_from([0, NECESSARY]),
    moments=st.tuples(*[st.integers(TODAY * DAY_MS, TODAY * DAY_MS + DAY_MS - 1)] * 2),
)
def test_two_browsers_that_refuse_on_one_day_carry_the_same_cookie(
    denied: int, granted: int, moments: tuple[int, int]
) -> None:
    first = Receipt(granted, denied, moments[0], "1", random_id(entropy.token_bytes(16)))
    second = Receipt(granted, denied, moments[1], "1", random_id(entropy.token_bytes(16)))
    assert sign_receipt(KEYS, first) == sign_receipt(KEYS, second)
    read = read_receipt(KEYS, receipts(first), NOW)
    assert read == Receipt(granted, denied, TODAY * DAY_MS, "1", "")


NOTICES: Final = {
    "none": "",
    "a number": "1",
    "dots": "2026-11.b",
    "words": "Hinweis 3 (März)",
    "the longest that a site may have": "😀" * 40,
    "what a cookie cannot hold": "a;b,c d\\",
}


@pytest.mark.parametrize("notice", NOTICES.values(), ids=NOTICES.keys())
def test_any_notice_version_comes_back(notice: str) -> None:
    assert read_receipt(KEYS, receipts(GRANT._replace(notice=notice)), NOW) == GRANT._replace(notice=notice)


YES: Final = Receipt(NECESSARY | ANALYTICS | FUNCTIONAL, 0, NOW - HOUR_MS, "1", POSITION)
NO: Final = Receipt(NECESSARY, ANALYTICS | ADVERTISING, NOW, "1")
LATER: Final = NOW + 2 * DAY_MS

SEVERAL: Final[dict[str, tuple[list[Receipt], tuple[int, int] | None]]] = {
    "of two grants the newer counts": (
        [YES, YES._replace(granted=NECESSARY | ANALYTICS, decided_at_ms=NOW)],
        (NECESSARY | ANALYTICS, 0),
    ),
    "a newer grant replaces an older refusal": (
        [NO, YES._replace(decided_at_ms=NOW + DAY_MS)],
        (YES.granted, 0),
    ),
    "a newer refusal replaces an older grant": (
        [YES, NO._replace(decided_at_ms=NOW + DAY_MS)],
        (NECESSARY, NO.denied),
    ),
    "a refusal is stronger than a grant of the same day that was made before it": ([YES, NO], (NECESSARY, NO.denied)),
    "a refusal is stronger than a grant of the same day, because its own hour is not known": (
        [NO, YES._replace(decided_at_ms=NOW + HOUR_MS)],
        (NECESSARY, NO.denied),
    ),
    "two refusals of one day add up": (
        [NO, NO._replace(denied=FUNCTIONAL)],
        (NECESSARY, ANALYTICS | ADVERTISING | FUNCTIONAL),
    ),
    "what one of two receipts of the same moment refuses is refused": (
        [YES, YES._replace(denied=FUNCTIONAL)],
        (NECESSARY | ANALYTICS, FUNCTIONAL),
    ),
    "two grants of the same moment keep what both grant and what either refuses": (
        [YES, YES._replace(granted=NECESSARY | ANALYTICS | ADVERTISING, denied=FUNCTIONAL)],
        (NECESSARY | ANALYTICS, FUNCTIONAL),
    ),
    "a grant from the future beside an honest refusal is none": (
        [NO, YES._replace(decided_at_ms=LATER + DAY_MS + 1)],
        (NECESSARY, NO.denied),
    ),
    "only grants from the future are none": ([YES._replace(decided_at_ms=LATER + DAY_MS + 1)], None),
}


@pytest.mark.parametrize(("made", "expected"), SEVERAL.values(), ids=SEVERAL.keys())
def test_of_several_receipts(made: list[Receipt], expected: tuple[int, int] | None) -> None:
    for order in permutations(made):
        read = read_receipt(KEYS, receipts(*order), LATER)
        assert (read[:2] if read else None) == expected


PURPOSE_SETS = st.integers(0, ALL_PURPOSES)
A_RECEIPT = st.builds(
    lambda granted, denied, at: Receipt(
        granted & ~denied | NECESSARY, denied & ~NECESSARY, NOW - at * HOUR_MS, "1", ""
    ),
    PURPOSE_SETS,
    PURPOSE_SETS,
    st.integers(0, 72),
)


@quick
@given(made=st.lists(A_RECEIPT, min_size=1, max_size=5), data=st.data())
def test_the_order_of_receipts_never_decides(made: list[Receipt], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(made))
    first, again = read_receipt(KEYS, receipts(*made), NOW), read_receipt(KEYS, receipts(*shuffled), NOW)
    assert first is not None
    assert again is not None
    assert first[:3] == again[:3]


@quick
@given(made=A_RECEIPT, denied=PURPOSE_SETS, hours=st.integers(0, 24))
def test_a_refusal_from_the_same_day_or_later_is_never_outvoted(made: Receipt, denied: int, hours: int) -> None:
    at_ms = max(made.decided_at_ms - made.decided_at_ms % DAY_MS, made.decided_at_ms - hours * HOUR_MS)
    refusal = Receipt(NECESSARY, denied & ~NECESSARY, at_ms, "1")
    read = read_receipt(KEYS, receipts(made, refusal), NOW)
    assert read is not None
    assert read.granted & ~NECESSARY == 0


@pytest.mark.parametrize(("ahead_ms", "believed"), [(DAY_MS, True), (DAY_MS + 1, False)], ids=["a day", "more"])
def test_a_choice_may_be_dated_one_day_ahead(ahead_ms: int, believed: bool) -> None:
    values = receipts(GRANT._replace(decided_at_ms=NOW + ahead_ms))
    assert (read_receipt(KEYS, values, NOW) is not None) is believed


def test_no_receipt_is_no_choice() -> None:
    assert read_receipt(KEYS, [], NOW) is None


# ------------------------------------------------------------------ click ids


def test_click_ids_keep_every_letter_and_the_second_they_were_seen() -> None:
    assert read_clicks(KEYS, [clicks_of(KEYS)], NOW + 5, CLICK_DAYS) == (CLICKS, NOW)
    value = sign_clicks(KEYS, CLICKS, NOW + 999)
    assert value is not None
    assert read_clicks(KEYS, [value], NOW + 999, CLICK_DAYS) == (CLICKS, NOW)


def test_too_many_click_ids_make_no_cookie() -> None:
    assert sign_clicks(KEYS, {"gclid": "x" * 512}, NOW) is not None
    assert sign_clicks(KEYS, {"gclid": "x" * 512, "fbclid": "y" * 512, "msclkid": "z" * 512}, NOW) is None


AGES: Final = {
    "seen now": (0, True),
    "seen on the last day of their life": (CLICK_DAYS * DAY_MS, True),
    "seen before that": (CLICK_DAYS * DAY_MS + 1_000, False),
    "seen a day ahead": (-DAY_MS, True),
    "seen further ahead": (-DAY_MS - 1_000, False),
}


@pytest.mark.parametrize(("age_ms", "believed"), AGES.values(), ids=AGES.keys())
def test_click_ids_are_believed_for_their_life(age_ms: int, believed: bool) -> None:
    value = sign_clicks(KEYS, CLICKS, NOW - age_ms)
    assert value is not None
    assert (read_clicks(KEYS, [value], NOW, CLICK_DAYS) is not None) is believed


def test_two_different_click_cookies_are_none_in_either_order() -> None:
    other = sign_clicks(KEYS, {"gclid": "of-somebody-else"}, NOW)
    assert other is not None
    for values in ([clicks_of(KEYS), other], [other, clicks_of(KEYS)]):
        assert read_clicks(KEYS, values, NOW, CLICK_DAYS) is None
    assert read_clicks(KEYS, [clicks_of(KEYS), "junk", clicks_of(KEYS)], NOW, CLICK_DAYS) == (CLICKS, NOW)


# ------------------------------------------------------------------ links to another domain

LINK: Final = KINDS["a link token"].make(KEYS)

LINK_AGES: Final = {
    "at once": (0, True),
    "after 120 seconds": (120, True),
    "after 121 seconds": (121, False),
    "after a day": (86_400, False),
    "a second before it was made": (-1, False),
    "a day before it was made": (-86_400, False),
}


@pytest.mark.parametrize(("after_s", "believed"), LINK_AGES.values(), ids=LINK_AGES.keys())
def test_a_link_token_is_taken(after_s: int, believed: bool) -> None:
    assert (read_link(KEYS, LINK, HOST, NOW + after_s * 1_000) is not None) is believed


def test_a_link_token_says_who_and_when() -> None:
    claim = read_link(KEYS, LINK, HOST, NOW + 60_000)
    assert claim is not None
    assert (claim.visitor_id, claim.issued_day, claim.issued_at_s) == (ANNA, TODAY - 30, NOW // 1_000)


ARRIVED: Final = {
    "the host itself": ("blog.example", True),
    "in capitals": ("BLOG.Example", True),
    "with www": ("www.blog.example", True),
    "with a final dot": ("blog.example.", True),
    "another host": ("evil.example", False),
    "a subdomain": ("a.blog.example", False),
    "a parent": ("example", False),
    "a look-alike": ("blog.example.evil.example", False),
    "no host": ("", False),
    "letters beyond ASCII": ("bl\u00f6g.example", False),
    "a broken byte": ("blog.example\udcff", False),
}


@pytest.mark.parametrize(("host", "believed"), ARRIVED.values(), ids=ARRIVED.keys())
def test_a_link_token_is_bound_to_its_target_host(host: str, believed: bool) -> None:
    assert (read_link(KEYS, LINK, host, NOW) is not None) is believed


def test_a_link_token_is_read_by_another_site_of_the_installation() -> None:
    blog = site_keys("of the blog", site="blog")
    assert read_link(blog, LINK, HOST, NOW) == read_link(KEYS, LINK, HOST, NOW)


def test_one_token_has_one_digest_and_two_tokens_have_two() -> None:
    """The digest is what "used once" is remembered by: a second digest for one token would be a second use."""
    token = Token(ANNA, TODAY - 30, TODAY, True)
    digests = set()
    for nonce in (NONCE, POSITION):
        claim = read_link(KEYS, sign_link(KEYS, token, HOST, NOW, nonce), HOST, NOW)
        assert claim is not None
        assert len(claim.digest) == 16
        digests.add(claim.digest)
    assert len(digests) == 2
    again = read_link(KEYS, LINK, HOST, NOW + 1_000)
    assert again is not None
    assert again.digest in digests


def test_an_overlong_link_token_is_not_looked_at() -> None:
    long = sign_link(KEYS, Token(ANNA, TODAY, TODAY, True), "a" * 400 + ".example", NOW, NONCE)
    assert len(long) > 900
    assert read_link(KEYS, long, "a" * 400 + ".example", NOW) is None


# ------------------------------------------------------------------ without a cookie

ADDRESSES: Final = {
    "an IPv4 address keeps its /24": ("203.0.113.77", "203.0.113"),
    "the lowest IPv4 address": ("0.0.0.0", "0.0.0"),
    "the highest IPv4 address": ("255.255.255.255", "255.255.255"),
    "an IPv6 address keeps its /56": ("2001:db8:1:ff42:1:2:3:4", "2001:db8:1:ff00"),
    "a short IPv6 address": ("2001:db8::1", "2001:db8:0:0"),
    "capitals": ("2001:DB8:0:AbCd::1", "2001:db8:0:ab00"),
    "loopback": ("::1", "0:0:0:0"),
    "everything open": ("::", "0:0:0:0"),
    "with a zone": ("fe80::1%eth0", "fe80:0:0:0"),
    "with a zone of odd text": ("fe80::1%../../é", "fe80:0:0:0"),
    "IPv4 inside IPv6 is what it holds": ("::ffff:203.0.113.77", "203.0.113"),
    "IPv4 inside IPv6 in hexadecimal is the same": ("::ffff:cb00:714d", "203.0.113"),
    "IPv4 written at the end of a full IPv6 address": ("2001:db8:0:12ff:0:0:203.0.113.77", "2001:db8:0:1200"),
    "nothing": ("", ""),
    "a word": ("unknown", ""),
    "three parts": ("203.0.113", ""),
    "five parts": ("203.0.113.7.7", ""),
    "a part too large": ("203.0.113.256", ""),
    "parts far too large": ("999.999.999.999", ""),
    "a part with a leading zero, which means two things": ("203.0.113.077", ""),
    "an empty part": ("203..113.7", ""),
    "with spaces": (" 203.0.113.7", ""),
    "with a port": ("203.0.113.7:80", ""),
    "with brackets": ("[2001:db8::1]", ""),
    "digits of another script": ("\u0662\u0660\u0663.0.113.7", ""),
    "a sign": ("+1::", ""),
    "a minus": ("-1::", ""),
    "a base prefix": ("0x1::", ""),
    "an underscore": ("1_0::", ""),
    "two gaps": ("1::2::3", ""),
    "three colons": (":::", ""),
    "nine groups": ("1:2:3:4:5:6:7:8:9", ""),
    "a group too large": ("12345::", ""),
    "a broken byte": ("203.0.113.\udcff", ""),
    "a unix socket": ("/run/gateway.sock", ""),
}  # fmt: skip


@pytest.mark.parametrize(("address", "network"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_address_is_cut_to_its_network(address: str, network: str) -> None:
    assert truncated_address(address) == network


@quick
@given(address=st.ip_addresses(v=4))
def test_every_ipv4_address_keeps_its_first_three_numbers(address: ipaddress.IPv4Address) -> None:
    network = ipaddress.IPv4Network((address, 24), strict=False)
    assert f"{truncated_address(str(address))}.0" == str(network.network_address)


@quick
@given(address=st.ip_addresses(v=6))
def test_every_spelling_of_an_ipv6_address_has_the_same_network(address: ipaddress.IPv6Address) -> None:
    spellings = (str(address), address.exploded, address.compressed.upper(), f"{address}%eth0")
    networks = {truncated_address(spelling) for spelling in spellings}
    assert len(networks) == 1
    if address.ipv4_mapped is None:
        network = ipaddress.IPv6Network((address, 56), strict=False)
        assert ipaddress.IPv6Address(networks.pop() + "::") == network.network_address


@quick
@given(text=st.text(st.characters(exclude_categories=())))
def test_no_address_raises(text: str) -> None:
    truncated_address(text)
    truncated_address(text + ":")


def test_a_daily_id_depends_on_day_site_network_and_agent_and_on_nothing_else() -> None:
    made = daily_id(secret("monday"), "shop", "203.0.113.7", "Agent/1")
    assert len(made) == 16
    assert int(made, 16) >= 0
    assert daily_id(secret("monday"), "shop", "203.0.113.200", "Agent/1") == made
    others = {
        daily_id(secret("tuesday"), "shop", "203.0.113.7", "Agent/1"),
        daily_id(secret("monday"), "blog", "203.0.113.7", "Agent/1"),
        daily_id(secret("monday"), "shop", "203.0.114.7", "Agent/1"),
        daily_id(secret("monday"), "shop", "203.0.113.7", "Agent/2"),
    }
    assert len(others | {made}) == 5


@pytest.mark.parametrize("agent", ["", "\udcff", "é" * 9_000, "\x1f"])
def test_any_agent_text_makes_a_daily_id(agent: str) -> None:
    assert len(daily_id(secret("monday"), "shop", "not an address", agent)) == 16


def test_only_the_first_512_characters_of_an_agent_count() -> None:
    made = {daily_id(secret("monday"), "shop", "203.0.113.7", "x" * 512 + tail) for tail in ("", "y", "z" * 9_000)}
    assert len(made) == 1
