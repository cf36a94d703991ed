"""Page addresses: click ids and campaigns are read exactly as written; what is kept names nobody."""

import time
from typing import Final
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.links import (
    CLICK_IDS,
    REMOVED,
    URL_MAX_CHARACTERS,
    clean_text,
    clean_url,
    host_of,
    looks_personal,
    read_arrival,
    read_click_ids,
)
from tests.support.properties import tried

quick = tried(150)
SHOP: Final = "https://www.shop.example/p"

# ------------------------------------------------------------------ what is kept of an address

KEPT: Final[dict[str, tuple[str | None, str | None]]] = {
    "a plain address": (SHOP, SHOP),
    "an address without a path": ("https://www.shop.example", "https://www.shop.example"),
    "harmless parameters, as written and in order": (f"{SHOP}?b=2&a=%C3%BC&c", f"{SHOP}?b=2&a=%C3%BC&c"),
    "no fragment": (f"{SHOP}?a=1#section", f"{SHOP}?a=1"),
    "no user part": ("https://jane:pw@www.shop.example/p", SHOP),
    "no user part with an at sign in it": ("https://jane:p@w@www.shop.example/p", SHOP),
    "a port": ("https://www.shop.example:8443/p", "https://www.shop.example:8443/p"),
    "no click ids": (f"{SHOP}?gclid=Abc&a=1&FBCLID=x", f"{SHOP}?a=1"),
    "no click id with a name written in escapes": (f"{SHOP}?%67clid=Abc&a=1", f"{SHOP}?a=1"),
    "no campaign parameters, which are kept on their own": (f"{SHOP}?utm_source=x&UTM_Medium=y", SHOP),
    "no secrets by name": (f"{SHOP}?token=a&key=b&session=c&password=d&a=1", f"{SHOP}?a=1"),
    "no contact data by name": (f"{SHOP}?email=a&phone=b&first_name=c&a=1", f"{SHOP}?a=1"),
    "no click id of ours": (f"{SHOP}?cid=0000000000000000000000&a=1&CID=x", f"{SHOP}?a=1"),
    "no slug of a link of ours": (f"{SHOP}?lid=summer&a=1&%6Cid=x", f"{SHOP}?a=1"),
    "no link token": (f"{SHOP}?_gwl=1.2.3&_gl=x&a=1", f"{SHOP}?a=1"),
    "no parameter without a name": (f"{SHOP}?=1&&a=1", f"{SHOP}?a=1"),
    "no question mark when nothing is left": (f"{SHOP}?gclid=x", SHOP),
    "an order number, which is digits only": (f"{SHOP}?order=123456789012", f"{SHOP}?order=123456789012"),
    "a date in the path": ("https://a.example/2026/11/20/x", "https://a.example/2026/11/20/x"),
    "a handle": ("https://a.example/@jane/post", "https://a.example/@jane/post"),
    "nothing that is no web address": ("javascript:alert(1)", None),
    "nothing of a data address": ("data:text/html,x", None),
    "nothing of a file": ("file:///etc/passwd", None),
    "nothing of a relative address": ("/p?a=1", None),
    "nothing of an address with a control character": (f"{SHOP}\r\nSet-Cookie: x", None),
    "nothing of an address with a broken byte": (f"{SHOP}\udcff", None),
    "nothing of an address with a line separator": (f"{SHOP}\u2028", None),
    "nothing of nothing": (None, None),
    "nothing of an empty text": ("", None),
}


@pytest.mark.parametrize(("url", "kept"), KEPT.values(), ids=KEPT.keys())
def test_an_address_is_kept_with(url: str | None, kept: str | None) -> None:
    assert clean_url(url) == kept


EMAIL: Final = "jane.doe+x@mail.example"
PLACES: Final = {
    "as a value": "https://a.example/p?q={}&a=1",
    "as a value after others": "https://a.example/p?a=1&q=x{}",
    "as a parameter without a value": "https://a.example/p?{}&a=1",
    "as the name of a parameter": "https://a.example/p?{}=1&a=1",
    "inside a longer value": "https://a.example/p?q=write%20to%20{}%20now",
    "as a path segment": "https://a.example/u/{}/x",
    "inside a path segment": "https://a.example/u/to-{}",
    "as the last thing": "https://a.example/{}",
    "as the user part": "https://{}@a.example/p",
    "in the fragment": "https://a.example/p#{}",
    "in the query of a route behind the fragment sign": "https://a.example/p#/r?q={}",
    "in a nested address": "https://a.example/p?next=https%3A%2F%2Fb.example%2F%3Fx%3D{}",
}
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())


def fully_decoded(url: str) -> str:
    for _ in range(4):
        url = unquote(url)
    return url.lower()


@every_place
@pytest.mark.parametrize("encodings", [0, 1, 2], ids=["as it is", "encoded once", "encoded twice"])
def test_no_email_address_survives(place: str, encodings: int) -> None:
    written = EMAIL
    for _ in range(encodings):
        written = quote(written, safe="")
    kept = clean_url(place.format(written))
    assert kept is not None
    assert "mail.example" not in fully_decoded(kept)
    assert "jane" not in fully_decoded(kept)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-+", min_size=1, max_size=20)


HOSTS_OF_MAIL = st.from_regex(r"[a-z][a-z0-9-]{0,10}\.(com|example)", fullmatch=True)


@quick
@given(local=WORDS, host=HOSTS_OF_MAIL, place=st.sampled_from(list(PLACES.values())), encode=st.booleans())
def test_no_email_address_of_whatever_shape_survives(local: str, host: str, place: str, encode: bool) -> None:
    email = f"{local}@{host}"
    kept = clean_url(place.format(quote(email, safe="") if encode else email))
    assert kept is not None
    assert email not in fully_decoded(kept)


PHONES: Final = {
    "with spaces": "+49 151 2345 6789",
    "with dashes": "030-1234-5678",
    "with brackets": "(030) 12345678",
    "with dots": "0151.234.56789",
    "with a slash": "0151/23456789",
    "international": "+4915123456789",
    "of the United States": "+1 (415) 555-0132",
}


@pytest.mark.parametrize("phone", PHONES.values(), ids=PHONES.keys())
@pytest.mark.parametrize("place", ["?q={}", "?x=1&q=call%20{}", "?{}", "?{}=1", "#{}"])
def test_no_phone_number_survives_in_an_address(phone: str, place: str) -> None:
    for written in (quote(phone, safe=""), phone.replace(" ", "+"), phone.replace(" ", "%20")):
        kept = clean_url("https://a.example/p" + place.format(written))
        assert kept is not None
        assert not any(character.isdigit() and character != "1" for character in kept.partition("?")[2])


@pytest.mark.parametrize(
    "phone", [text for text in PHONES.values() if "/" not in text], ids=[name for name, text in PHONES.items() if "/" not in text]
)  # fmt: skip
def test_no_phone_number_survives_in_a_path(phone: str) -> None:
    for written in (quote(phone, safe=""), phone.replace(" ", "%20"), phone):
        assert clean_url(f"https://a.example/call/{written}/x") == f"https://a.example/call/{REMOVED}/x"


@pytest.mark.parametrize("name", CLICK_IDS)
def test_no_click_id_survives(name: str) -> None:
    escaped = f"%{ord(name[0]):02X}{name[1:]}"
    for written in (name, name.upper(), name.title(), escaped):
        assert clean_url(f"{SHOP}?{written}=Zz9&a=1&{written}=Zz9#{written}=Zz9") == f"{SHOP}?a=1"


TOKENS: Final = {
    "32 hex digits": "0123456789abcdef0123456789ABCDEF",
    "40 letters of base64url": "AbCdEfGh-_" * 4,
    "padded base64": "QWxhZGRpbjpvcGVuIHNlc2FtZUFsYWRkaW46b3Blbg==",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_no_token_survives(token: str) -> None:
    assert looks_personal(token)
    assert clean_url(f"{SHOP}?x={token}&a=1") == f"{SHOP}?a=1"
    assert clean_url(f"{SHOP}?{token.rstrip('=')}&a=1") == f"{SHOP}?a=1"
    assert clean_url(f"{SHOP}?x={quote(token, safe='')}&a=1") == f"{SHOP}?a=1"
    assert clean_url(f"{SHOP}/{quote(token, safe='')}/edit") == f"{SHOP}/{REMOVED}/edit"


URLISH = st.text(st.sampled_from("abcgmz019@%40&=?/#+.:-_ ;'\"é[](){}"), max_size=120).map("https://a.example/".__add__)
ANYTHING = st.text(st.characters(exclude_categories=()))


@quick
@given(url=URLISH)
@example(url="https://a.example/a@b@c?x@y@z=1")
@example(url="https://a.example/?" + "%25" * 40 + "40")
def test_cleaning_an_address_twice_is_cleaning_it_once(url: str) -> None:
    once = clean_url(url)
    assert clean_url(once) == once


@quick
@given(url=ANYTHING | URLISH | ANYTHING.map("https://".__add__))
def test_no_text_raises(url: str) -> None:
    clean_url(url)
    read_arrival(url)
    host_of(url)
    clean_text(url)
    looks_personal(url)


def test_no_more_than_200_parameters_and_4096_characters_are_kept() -> None:
    many = "https://a.example/?" + "&".join(f"p{number}=1" for number in range(300))
    kept = clean_url(many)
    assert kept is not None
    assert kept.endswith("&p199=1")
    long = clean_url("https://a.example/" + "ab/" * 5_000)
    assert long is not None
    assert len(long) == URL_MAX_CHARACTERS


# ------------------------------------------------------------------ free texts

TEXTS: Final = {
    "a title": ("Blue shirt - Shop", "Blue shirt - Shop"),
    "an e-mail address": ("Hello jane@mail.example!", f"Hello {REMOVED}"),
    "an e-mail address in brackets": ("Jane <jane@mail.example> wrote", f"Jane <{REMOVED}> wrote"),
    "an e-mail address in escapes": ("q=jane%40mail.example", f"q={REMOVED}"),
    "two at signs": ("a@b@c d", f"{REMOVED} d"),
    "an address with a very long name": ("x" * 100 + "@mail.example", REMOVED),
    "letters beyond ASCII": ("jörg@müller.example ruft an", f"{REMOVED} ruft an"),
    "a phone number": ("Call 0151 2345 6789 now", f"Call {REMOVED} now"),
    "an international phone number": ("Call +4915123456789 now", f"Call {REMOVED} now"),
    "a bare order number": ("Order 123456789012", "Order 123456789012"),
    "a price": ("Only 1,299.00 EUR", "Only 1,299.00 EUR"),
    "a date": ("News of 2026-11-20", "News of 2026-11-20"),
    "control characters": ("a\x00b\x1b[31mc\r\nd\u2028e\u0085f", "a b [31mc  d e f"),
    "a broken byte": ("a\udcffb", "a b"),
    "spaces around": ("  a  ", "a"),
    "nothing": ("", ""),
    "an at sign alone": ("tea @ five", "tea @ five"),
}


@pytest.mark.parametrize(("text", "kept"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_is_kept_without_what_names_a_person(text: str, kept: str) -> None:
    assert clean_text(text) == kept


MAILISH = st.lists(st.sampled_from([*"ab @.-+()/\t'\"<>é", "%40", "%4", REMOVED]), max_size=40).map("".join)


@quick
@given(text=MAILISH)
@example(text="a@b@c")
@example(text="x%40y%40z")
def test_what_is_left_of_a_text_holds_no_email_address_and_cleaning_again_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert not any("@" in word and looks_personal(word) for word in once.split())


HOSTILE: Final = {
    "one long word before an at sign": "a" * 8_191 + "@",
    "nothing but at signs": "@" * 8_192,
    "encoded at signs": "%40" * 2_730,
    "almost encoded at signs": "a%4" * 2_730 + "@",
    "digits and spaces": "1 " * 4_096,
    "digits and brackets": "1(1-" * 2_048,
    "plus signs": "+1" * 4_096,
    "parameters": "a=b&" * 2_048,
    "slashes": "/" * 8_192,
    "question marks": "?" * 8_192,
    "spaces": " " * 8_192,
    "control characters": "\x00" * 8_192,
    "letters beyond ASCII": "é" * 8_191 + "@",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_of_eight_kilobytes_cost_little(text: str) -> None:
    """Most take a tenth of a millisecond; a text is one of many in a body, so no shape may take much longer."""
    took = []
    for _ in range(10):
        started = time.perf_counter()
        clean_text(text)
        clean_url(SHOP + "?q=" + text)
        clean_url(SHOP + text)
        read_arrival(SHOP + "?utm_source=" + text + "&gclid=" + text)
        host_of("https://" + text)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.005


# ------------------------------------------------------------------ how the visitor came


def test_click_ids_are_read_as_written() -> None:
    arrival = read_arrival(f"{SHOP}?gclid=EAIa.IQ~ob_Ch%2BMI=&FBCLID=IwAR2-X&ScCid=a:b&srsltid=no")
    assert arrival.click_ids == {"gclid": "EAIa.IQ~ob_Ch%2BMI=", "fbclid": "IwAR2-X", "sccid": "a:b"}
    assert arrival.malformed == 0


ARRIVALS: Final = {
    "the first of two counts": ("?gclid=one&gclid=two", {"gclid": "one"}, 0),
    "behind a route of the page": ("#/shop?gclid=one", {"gclid": "one"}, 0),
    "in the query before a route": ("?gclid=one#/shop?gclid=two", {"gclid": "one"}, 0),
    "not from a plain fragment": ("#gclid=one", {}, 0),
    "not with a space": ("?gclid=a%20b+c&fbclid=a b", {"gclid": "a%20b+c"}, 1),
    "not with markup": ("?gclid=<script>", {}, 1),
    "not with markup in escapes": ("?gclid=%3Cscript%3E", {}, 1),
    "not a macro nobody filled in": ("?gclid={gclid}&fbclid=%7Bfbclid%7D&msclkid=[x]", {}, 3),
    "not a test value": ("?gclid=TEST_GCLID&fbclid=test", {}, 2),
    "not an empty one": ("?gclid=", {}, 1),
    "of 512 characters": ("?gclid=" + "x" * 512, {"gclid": "x" * 512}, 0),
    "not of 513 characters": ("?gclid=" + "x" * 513, {}, 1),
    "not with letters beyond ASCII": ("?gclid=é", {}, 1),
    "not with a line end": ("?gclid=a\n", {}, 1),
    "not from another name": ("?xgclid=1&gclidx=1", {}, 0),
}


@pytest.mark.parametrize(("query", "click_ids", "malformed"), ARRIVALS.values(), ids=ARRIVALS.keys())
def test_a_click_id_is_taken(query: str, click_ids: dict[str, str], malformed: int) -> None:
    arrival = read_arrival(SHOP + query)
    assert arrival.click_ids == click_ids
    assert arrival.malformed == malformed


def test_campaign_parameters_are_decoded_once_cut_and_cleaned() -> None:
    query = (
        "?utm_source=News+Letter&UTM_MEDIUM=e%2Dmail&utm_campaign=a%252Bb&utm_content=jane%40mail.example"
        f"&utm_term={'x' * 300}&utm_source=second&utm_unknown=1"
    )
    assert read_arrival(SHOP + query).campaign == {
        "source": "News Letter",
        "medium": "e-mail",
        "campaign": "a%2Bb",
        "term": "x" * 256,
        "content": REMOVED,
    }


def test_a_link_token_is_the_first_one() -> None:
    assert read_arrival(f"{SHOP}?_gwl=first&_gwl=second").link_token == "first"
    assert read_arrival(f"{SHOP}?_GWL=other").link_token is None


OURS: Final = "01234567890abcdefABCDE"
OTHER: Final = "11234567890abcdefABCDE"
ARRIVED_BY: Final = {
    "a click id and a slug": (f"?a=1&lid=summer26&cid={OURS}", OURS, "summer26"),
    "names in capitals": (f"?LID=summer26&CID={OURS}", OURS, "summer26"),
    "a slug in capitals, which is looked up folded": ("?lid=Summer-26", None, "summer-26"),
    "the first of two": (f"?cid={OURS}&cid={OTHER}&lid=one&lid=two", OURS, "one"),
    "the first that can be one": (f"?cid=12&cid={OURS}&lid=a%20b&lid=two", OURS, "two"),
    "behind a route of the page": (f"#/shop?cid={OURS}", OURS, None),
    "a category of the shop": ("?cid=12&lid=list%201", None, None),
    "a click id of 21 characters": (f"?cid={OURS[1:]}", None, None),
    "a click id of more than 128 bits": ("?cid=zzzzzzzzzzzzzzzzzzzzzz", None, None),
    "other names": (f"?xcid={OURS}&cidx={OURS}&lidx=a", None, None),
}


@pytest.mark.parametrize(("query", "click_id", "link_code"), ARRIVED_BY.values(), ids=ARRIVED_BY.keys())
def test_a_visitor_who_came_by_a_link_of_ours_brings(query: str, click_id: str | None, link_code: str | None) -> None:
    arrival = read_arrival(SHOP + query)
    assert (arrival.click_id, arrival.link_code) == (click_id, link_code)
    assert arrival.malformed == 0
    assert arrival.click_ids == {}


def test_our_own_parameters_may_have_other_names() -> None:
    arrival = read_arrival(f"{SHOP}?ref={OURS}&from=summer&cid={OTHER}&lid=other", "ref", "from")
    assert (arrival.click_id, arrival.link_code) == (OURS, "summer")
    assert clean_url(f"{SHOP}?ref={OURS}&from=summer&a=1&cid=12", "ref", "from") == f"{SHOP}?a=1&cid=12"


def test_a_platforms_click_id_is_still_read_under_a_name_that_our_own_has_too() -> None:
    arrival = read_arrival(f"{SHOP}?clickid=abc", "clickid")
    assert (arrival.click_id, arrival.click_ids) == (None, {"clickid": "abc"})


NAMED: Final = {
    "a known one": ({"gclid": "Abc"}, {"gclid": "Abc"}, 0, 0),
    "in capitals": ({"GCLID": "Abc"}, {"gclid": "Abc"}, 0, 0),
    "the first of two spellings": ({"gclid": "one", "GCLID": "two"}, {"gclid": "one"}, 0, 0),
    "of no platform": ({"nonsense": "x"}, {}, 1, 0),
    "with markup": ({"gclid": "<b>"}, {}, 0, 1),
    "a macro nobody filled in": ({"gclid": "{gclid}"}, {}, 0, 1),
    "an address of a person": ({"gclid": "jane@mail.example"}, {}, 0, 1),
    "too long": ({"gclid": "x" * 513}, {}, 0, 1),
    "one of each": ({"gclid": "a", "nonsense": "b", "fbclid": ""}, {"gclid": "a"}, 1, 1),
    "none": ({}, {}, 0, 0),
}


@pytest.mark.parametrize(("named", "click_ids", "unknown", "malformed"), NAMED.values(), ids=NAMED.keys())
def test_a_click_id_that_a_sender_names_itself(
    named: dict[str, str], click_ids: dict[str, str], unknown: int, malformed: int
) -> None:
    assert read_click_ids(named) == (click_ids, unknown, malformed)


@pytest.mark.parametrize("url", [None, "", SHOP, f"{SHOP}?a", "no address at all"])
def test_an_address_without_parameters_says_nothing(url: str | None) -> None:
    assert read_arrival(url) == ({}, {}, None, 0, None, None)


@quick
@given(
    value=st.text("ABCxyz019._~%=+:-", min_size=1, max_size=80).filter(lambda text: not text.lower().startswith("test"))
)
def test_a_click_id_is_never_changed(value: str) -> None:
    click_ids = read_arrival(f"{SHOP}?a=1&gclid={value}&b=2").click_ids
    if click_ids:
        assert click_ids == {"gclid": value}
    else:
        assert set(unquote(value)) & set("{}[]<>")


# ------------------------------------------------------------------ hosts

HOSTS: Final = {
    "a web address": ("https://www.Shop.example:443/p?q#f", "shop.example"),
    "capitals in the scheme": ("HTTPS://Shop.Example", "shop.example"),
    "a final dot": ("https://shop.example./", "shop.example"),
    "a user part": ("https://jane:pw@shop.example/", "shop.example"),
    "a user part with an at sign": ("https://jane:p@w@shop.example/", "shop.example"),
    "an at sign in the path": ("https://shop.example/@jane", "shop.example"),
    "an at sign in the query": ("https://shop.example?u=@jane", "shop.example"),
    "an IPv6 address": ("https://[2001:DB8::1]:8080/", "[2001:db8::1]"),
    "a query behind the host": ("https://shop.example?x", "shop.example"),
    "a fragment behind the host": ("https://shop.example#x", "shop.example"),
    "an app": ("android-app://com.example", None),
    "no scheme": ("shop.example", None),
    "no host": ("https:///p", None),
    "nothing": ("", None),
    "None": (None, None),
}


@pytest.mark.parametrize(("url", "host"), HOSTS.values(), ids=HOSTS.keys())
def test_the_host_of(url: str | None, host: str | None) -> None:
    assert host_of(url) == host
