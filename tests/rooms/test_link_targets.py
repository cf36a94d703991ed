"""Targets: a link leads where its owner said and nowhere else, whatever the request holds."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from yarl import URL

from gateway.catalogue import Link, Utm
from gateway.errors import Refusal
from gateway.links import clean_url, read_arrival
from gateway.links.codes import click_id, is_click_id
from gateway.links.targets import (
    INCOMING_MAX_BYTES,
    RESERVED_PARAMETERS,
    TARGET_MAX_BYTES,
    build_target,
    check_target,
    read_reserved,
    sign_target,
    verify_target,
)
from tests.support.properties import tried

quick = tried(300)
HOSTS: Final = ("shop.example", "Other.Example", "203.0.113.7", "[2001:db8::1]", "xn--mller-kva.example", "0.0.1")
APPS: Final = ("shopapp", "javascript", "data", "intent", "https", "http")

# ------------------------------------------------------------------ which addresses

TAKEN: Final = {
    "a page": "https://shop.example/p",
    "a host alone": "https://shop.example",
    "plain http": "http://shop.example/",
    "capitals": "HTTPS://Shop.EXAMPLE/P",
    "a host listed in capitals": "https://other.example/",
    "a subdomain": "https://www.de.shop.example/p",
    "a port": "https://shop.example:8443/p",
    "a query right behind the host": "https://shop.example?a=1",
    "a fragment right behind the host": "https://shop.example#/route?x=1",
    "an at sign in the path": "https://shop.example/@jane",
    "an address in the query": "https://shop.example/p?next=https://other.example//x",
    "square and curly brackets": "https://shop.example/p?filter[color]=red|blue&x={y}",
    "escapes": "https://shop.example/sch%C3%B6n?q=%FC+%20",
    "a listed IPv4 address": "http://203.0.113.7/p",
    "a listed IPv6 address": "http://[2001:DB8::1]:8080/p",
    "a listed punycode host": "https://xn--mller-kva.example/",
    "an app of the owner's": "shopapp://product/12?x=1",
    "an app without a host": "ShopApp:///product",
    "as many bytes as may be": "https://shop.example/" + "x" * (TARGET_MAX_BYTES - 21),
}


@pytest.mark.parametrize("target", TAKEN.values(), ids=TAKEN.keys())
def test_a_target_is_taken_as_it_is_written(target: str) -> None:
    assert check_target(target, HOSTS, schemes=("shopapp",)) == target


REFUSED: Final = {
    # the attack list, row 27
    "//evil": "//evil.example/",
    "/\\evil": "/\\evil.example/",
    "https:evil": "https:evil.example/",
    "javascript:": "javascript:alert(1)",
    "javascript: as an address": "javascript://shop.example/%0aalert(1)",
    "data:": "data:text/html,x",
    "https://ok@evil": "https://shop.example@evil.example/",
    "CR and LF": "https://shop.example/\r\nSet-Cookie: x",
    "%0d%0a": "https://shop.example/%0d%0aSet-Cookie:x",
    "a look-alike of another script": "https://\u0455hop.example/",
    "a look-alike in punycode": "https://xn--hop-qbd.example/",
    "10 KB": "https://shop.example/" + "x" * 10_240,
    # what browsers repair
    "three slashes": "https:///shop.example/",
    "four slashes": "https:////evil.example/",
    "one slash": "https:/shop.example/",
    "backslashes": "https:\\\\evil.example/",
    "a backslash behind the host": "https://shop.example\\@evil.example/",
    "a backslash in the path": "https://shop.example/a\\b",
    "a tab in the scheme": "ht\ttps://shop.example/",
    "a space before": " https://shop.example/",
    "a space inside": "https://shop.example/a b",
    "a null byte": "https://shop.example/\x00",
    "a line end at the end": "https://shop.example/\n",
    "an encoded null byte": "https://shop.example/%00",
    "an encoded delete": "https://shop.example/%7F",
    "an encoded tab in the query": "https://shop.example/?a=%09",
    "quotation marks": 'https://shop.example/"x',
    "angle brackets": "https://shop.example/<x>",
    # percent-encoding
    "half an escape": "https://shop.example/%4",
    "an escape of letters that are no digits": "https://shop.example/%zz",
    "a percent sign alone": "https://shop.example/100%",
    "letters beyond ASCII": "https://shop.example/sch\u00f6n",
    "a broken byte": "https://shop.example/\udcff",
    # who is the host
    "a user": "https://jane@shop.example/",
    "a user and a password": "https://jane:pw@shop.example/",
    "an empty user": "https://@shop.example/",
    "an encoded host": "https://shop%2Eexample/",
    "an encoded slash in the host": "https://shop.example%2f.evil.example/",
    "a semicolon behind the host": "https://shop.example;evil.example/",
    "a host that begins alike": "https://shop.example.evil.example/",
    "a host that ends alike": "https://evilshop.example/",
    "the parent of a listed host": "https://example/",
    "a final dot": "https://shop.example./",
    "an empty label": "https://www..shop.example/",
    "a label that begins with a dash": "https://-.shop.example/",
    "a label of 64 characters": f"https://{'a' * 64}.shop.example/",
    "a dot before": "https://.shop.example/",
    "full-width letters": "https://\uff53hop.example/",
    "a Kelvin sign": "https://shop.example\u212a/",
    "an ideographic dot": "https://shop\u3002example/",
    "another address of the listed network": "http://203.0.113.8/",
    "a name that ends in a listed number": "http://evil.0.0.1/",
    "an address that ends in a listed number": "http://127.0.0.1/",
    "an address as one number": "http://3405803783/",
    "another IPv6 address": "http://[::1]/",
    "a zone in an IPv6 address": "http://[2001:db8::1%25eth0]/",
    # ports
    "an empty port": "https://shop.example:/",
    "port 0": "https://shop.example:0/",
    "port 65536": "https://shop.example:65536/",
    "a port with a zero before": "https://shop.example:0443/",
    "a port of letters": "https://shop.example:x/",
    "a port and a host behind": "https://shop.example:80.evil.example/",
    "two ports": "https://shop.example:80:81/",
    # schemes
    "nothing": "",
    "a relative address": "/p",
    "a host without a scheme": "shop.example/p",
    "an app that is not listed": "otherapp://open",
    "an app that is not listed and begins alike": "shopapps://open",
    "an app without slashes": "shopapp:open",
    "an app with a user": "shopapp://a@b/",
    "a fallback to another address": "intent://x#Intent;scheme=https;S.browser_fallback_url=https%3A%2F%2Fevil.example;end",
    "a scheme in capitals that no list can allow": "JavaScript://x",
    "files": "file:///etc/passwd",
    "a view of a source": "view-source:https://shop.example/",
}  # fmt: skip


@pytest.mark.parametrize("target", REFUSED.values(), ids=REFUSED.keys())
def test_a_target_is_refused(target: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_target(target, HOSTS, schemes=(*APPS, "view-source", "file"))
    assert (refused.value.code, refused.value.field) == ("target_invalid", "target")
    assert target not in str(refused.value) or not target


def test_an_empty_list_allows_no_host_and_the_refusal_names_the_field() -> None:
    with pytest.raises(Refusal) as refused:
        check_target("https://shop.example/", (), field="variants[1].target")
    assert refused.value.field == "variants[1].target"
    with pytest.raises(Refusal):
        check_target("https://shop.example/", ("",))


def test_a_listed_name_with_a_kelvin_sign_is_not_the_one_with_a_k() -> None:
    assert check_target("https://kiosk.example/", ("kiosk.example",))
    with pytest.raises(Refusal):
        check_target("https://kiosk.example/", ("\u212aiosk.example",))


def host_in_a_browser(target: str) -> str:
    """The host as the WHATWG URL parser reads it: forgiving about slashes, backslashes, tabs, line ends and user parts."""
    text = re.sub("[\t\r\n]", "", target.strip("".join(map(chr, range(33)))))
    text = text.partition(":")[2].replace("\\", "/").lstrip("/")
    authority = re.split("[/?#]", text, maxsplit=1)[0].rpartition("@")[2]
    return re.sub(r":\d*\Z", "", authority).lower()


NASTY_PIECES: Final = (
    *"/\\@:.?#%;&=[] \t\r\n\x00", "shop.example", "evil.example", "https:", "http:", "//", "%2f", "%40", "%0a", ":80",
    "\uff0f", "\u3002", "www.", "Kelvin\u212a", "203.0.113.7",
)  # fmt: skip
NASTY: Final = st.lists(st.sampled_from(NASTY_PIECES), max_size=12).map("".join)


@quick
@given(target=NASTY | NASTY.map("https://shop.example".__add__) | NASTY.map("https://".__add__) | st.text(max_size=60))
@example(target="https://www.shop.example:80?x=//evil.example")
@example(target="https://shop.example#@evil.example/")
def test_what_is_taken_has_one_host_in_every_parser_and_it_is_listed(target: str) -> None:
    try:
        check_target(target, ("shop.example",))
    except Refusal:
        return
    browser = host_in_a_browser(target)
    assert browser == "shop.example" or browser.endswith(".shop.example")
    assert (urlsplit(target).hostname or "").lower() == browser
    assert URL(target).raw_host == browser
    assert target.isascii()
    assert target.isprintable()
    assert "@" not in target.split("/")[2].partition("?")[0].partition("#")[0]


# ------------------------------------------------------------------ the landing address

CID: Final = click_id(bytes(range(16)))
STALE: Final = click_id(bytes(range(16, 32)))


def built(stored: str, incoming: str = "", **said: Any) -> str:
    link = Link(id="1", code="summer", target=stored, utm=said.pop("own_utm", Utm()))
    facts: dict[str, Any] = {
        "utm": Utm(),
        "incoming_query": incoming,
        "ambassador_code": "",
        "click_id": "",
        "click_parameter": "cid",
        "link_code": "",
    }
    return build_target(link, **{**facts, **said})


BUILT: Final[dict[str, tuple[tuple[Any, ...], dict[str, Any], str]]] = {
    "the stored one when there is nothing to add": (("https://a.example/p?b=+%20c&&d=#f?x",), {}, "https://a.example/p?b=+%20c&&d=#f?x"),
    "the stored one with an empty query": (("https://a.example/p?",), {}, "https://a.example/p?"),
    "the cart token unchanged": (
        ("https://a.example/cart?t=a%2Bb/c==&x=1", "n=1"), {"click_id": CID},
        f"https://a.example/cart?t=a%2Bb/c==&x=1&n=1&cid={CID}",
    ),
    "the click id last": (
        ("https://a.example/p#f", "a=1"), {"click_id": CID, "ambassador_code": "ann", "link_code": "summer"},
        f"https://a.example/p?a=1&via=ann&lid=summer&cid={CID}#f",
    ),
    "the click id right behind a host": (("https://a.example",), {"click_id": CID}, f"https://a.example?cid={CID}"),
    "a route behind the fragment sign": (("https://a.example/#/r?x=1",), {"click_id": CID}, f"https://a.example/?cid={CID}#/r?x=1"),
    "an app": (("shopapp://product/12?x=1",), {"click_id": CID}, f"shopapp://product/12?x=1&cid={CID}"),
    "the target that was chosen": (
        ("https://a.example/p",), {"target": "https://b.example/q?v=2", "click_id": CID}, f"https://b.example/q?v=2&cid={CID}",
    ),
    "the click id under another name": (("https://a.example/p",), {"click_id": CID, "click_parameter": "ref"}, f"https://a.example/p?ref={CID}"),
    "the ambassador under another name": (
        ("https://a.example/p", "via=x"), {"ambassador_code": "ann", "via_parameter": "by"}, "https://a.example/p?via=x&by=ann",
    ),
    "campaign parameters of the link": (
        ("https://a.example/p?x=1",), {"own_utm": Utm("news", "e mail", "Spring & co", "t", "c", "9")},
        "https://a.example/p?x=1&utm_source=news&utm_medium=e%20mail&utm_campaign=Spring%20%26%20co&utm_term=t&utm_content=c&utm_id=9",
    ),
    "those of the campaign where the link has none": (
        ("https://a.example/p",), {"own_utm": Utm(source="own"), "utm": Utm(source="theirs", medium="mail")},
        "https://a.example/p?utm_source=own&utm_medium=mail",
    ),
    "what the owner wrote, in any case and even empty": (
        ("https://a.example/p?UTM_Source=x&utm%5Fmedium=",), {"own_utm": Utm(source="own", medium="own", term="t")},
        "https://a.example/p?UTM_Source=x&utm%5Fmedium=&utm_term=t",
    ),
    "incoming campaign parameters before the link's": (
        ("https://a.example/p", "utm_source=in"), {"own_utm": Utm(source="own", medium="m")},
        "https://a.example/p?utm_medium=m&utm_source=in",
    ),
    "campaign texts of one line and 255 characters": (
        ("https://a.example/p",), {"own_utm": Utm(source="a\r\nb" + "x" * 300)}, "https://a.example/p?utm_source=ab" + "x" * 253,
    ),
    "incoming parameters": (("https://a.example/p", "b=2&c"), {}, "https://a.example/p?b=2&c"),
    "incoming ones as written": (("https://a.example/p", "gclid=a%2Bb+~%C3%BC"), {}, "https://a.example/p?gclid=a%2Bb+~%C3%BC"),
    "an incoming one in the place of a stored one": (("https://a.example/p?a=1&b=2&a=3", "a=9"), {}, "https://a.example/p?a=9&b=2"),
    "every incoming one of a name": (("https://a.example/p?a=1&b=2", "a=8&c=1&a=9"), {}, "https://a.example/p?a=8&a=9&b=2&c=1"),
    "an incoming one whose name is written in escapes": (("https://a.example/p?a=1", "%61=9"), {}, "https://a.example/p?%61=9"),
    "names in two cases as two names": (("https://a.example/p?a=1", "A=9"), {}, "https://a.example/p?a=1&A=9"),
    "nothing that speaks to the link itself": (("https://a.example/p", "qr=1&no-track&BOT=1&preview=x&a=1"), {}, "https://a.example/p?a=1"),
    "a stored parameter of such a name": (("https://a.example/p?preview=1", "preview=2"), {}, "https://a.example/p?preview=1"),
    "no click id of somebody else": (
        ("https://a.example/p", f"cid={STALE}&CID={STALE}&%63id={STALE}&%20cid={STALE}&+cid={STALE}"), {"click_id": CID},
        f"https://a.example/p?cid={CID}",
    ),
    "no click id when there is none": (("https://a.example/p", f"cid={STALE}&a=1"), {}, "https://a.example/p?a=1"),
    "no ambassador of somebody else": (("https://a.example/p", "via=mallory&VIA=mallory&lid=other"), {}, "https://a.example/p"),
    "no stored click id": ((f"https://a.example/p?cid={STALE}&a=1",), {}, "https://a.example/p?a=1"),
    "no stored click id, were it the only one": ((f"https://a.example/p?cid={STALE}#f",), {}, "https://a.example/p#f"),
    "the shop's own value under that name": (("https://a.example/p?cid=12",), {}, "https://a.example/p?cid=12"),
    "our own in the place of a stored one": (
        ("https://a.example/p?via=old&a=1&cid=12",), {"ambassador_code": "ann", "click_id": CID}, f"https://a.example/p?a=1&via=ann&cid={CID}",
    ),
    "no fragment of the request": (("https://a.example/p", "a=1#evil"), {}, "https://a.example/p?a=1%23evil"),
    "no line ends": (("https://a.example/p", "a=1\r\nSet-Cookie: x&b=2"), {}, "https://a.example/p?b=2"),
    "no line ends in escapes": (("https://a.example/p", "a=%0d%0aSet-Cookie:x&b=2"), {}, "https://a.example/p?b=2"),
    "what may not stand in an address in escapes": (
        ("https://a.example/p", "q=a b\"<>\\\u00fc`&p=100%&z=%zz"), {}, "https://a.example/p?q=a%20b%22%3C%3E%5C%C3%BC%60&p=100%25&z=%25zz",
    ),
    "a broken byte as a question mark": (("https://a.example/p", "q=\udcff"), {}, "https://a.example/p?q=%3F"),
    "no parameter without a name": (("https://a.example/p", "=1&&a=1"), {}, "https://a.example/p?a=1"),
}  # fmt: skip


@pytest.mark.parametrize(("stored", "said", "landing"), BUILT.values(), ids=BUILT.keys())
def test_the_landing_address_holds(stored: tuple[Any, ...], said: dict[str, Any], landing: str) -> None:
    assert built(*stored, **said) == landing


def test_no_more_than_200_parameters_and_2048_bytes_come_in() -> None:
    many = built("https://a.example/p", "&".join(f"p{number}=1" for number in range(300)))
    assert many.endswith("&p199=1")
    long = built("https://a.example/p", "&".join(["a=" + "x" * 1_000] * 3), click_id=CID)
    assert len(long) == len("https://a.example/p?") + 2 * 1_003 + len(f"cid={CID}")
    assert built("https://a.example/p", "a=" + "x" * 3_000 + "&b=1") == "https://a.example/p?b=1"
    assert built("https://a.example/p", "a=" + "\u00fc" * 400 + "&b=1") == "https://a.example/p?b=1"
    assert len(built("https://a.example/p", "a=" + "\u00fc" * 1_000)) < INCOMING_MAX_BYTES


QUERYISH: Final = st.lists(
    st.sampled_from([*"&=#?/\\@%+ \r\n:;\x00\u00fc", "a", "utm_source", "cid", "CID", "via", "lid", "%63id", "bot", "%0d%0a", CID, STALE])
    | st.characters(),
    max_size=30,
).map("".join)  # fmt: skip


@quick
@given(
    incoming=QUERYISH,
    ambassador=st.sampled_from(["", "ann"]),
    chosen=st.sampled_from(["", CID]),
    utm=st.text(max_size=20),
)
@example(incoming=f"a=1&cid={STALE}", ambassador="ann", chosen=CID, utm="")
def test_no_request_leads_elsewhere_or_brings_an_id_of_its_own(
    incoming: str, ambassador: str, chosen: str, utm: str
) -> None:
    stored = "https://shop.example/p?x=%20+y&z"
    landing = built(
        stored + "#f",
        incoming,
        ambassador_code=ambassador,
        click_id=chosen,
        link_code="summer",
        own_utm=Utm(source=utm),
    )
    assert landing.startswith("https://shop.example/p?")
    assert landing.endswith("#f")
    if len(landing) <= TARGET_MAX_BYTES:
        assert check_target(landing, ("shop.example",)) == landing
    query = urlsplit(landing).query
    names = [name.strip().lower() for name, _ in parse_qsl(query, keep_blank_values=True)]
    assert [name for name in names if name in {"cid", "via", "lid"}] == names[-(1 + bool(ambassador) + bool(chosen)) :]
    assert not RESERVED_PARAMETERS & set(names)
    arrival = read_arrival(landing)
    assert arrival.click_id == (chosen or None)
    assert arrival.link_code == "summer"
    kept = clean_url(landing)
    assert kept is not None
    assert not {"cid", "lid"} & {name.lower() for name, _ in parse_qsl(urlsplit(kept).query, keep_blank_values=True)}


@quick
@given(parts=st.lists(st.from_regex(r"[A-Za-z0-9._~%2+-]{0,8}(=[A-Za-z0-9._~+/=-]{0,8})?", fullmatch=True), max_size=6))
def test_the_stored_part_is_kept_byte_for_byte(parts: list[str]) -> None:
    assume(not any("cid" in part.lower() for part in parts))
    stored = f"https://shop.example/a?{'&'.join(parts)}"
    landing = built(stored + "#f", click_id=CID)
    assert landing == (f"{stored}&cid={CID}#f" if "".join(parts) or len(parts) > 1 else f"{stored}cid={CID}#f")


RESERVED: Final = {
    "none": ("", frozenset[str]()),
    "others": ("a=1&qrx=1&xbot", frozenset[str]()),
    "a scan": ("qr=1", frozenset({"qr"})),
    "several, in any case and order": ("a=1&No-Track&preview=0", frozenset({"no-track", "preview"})),
    "one in escapes": ("%71r", frozenset({"qr"})),
}


@pytest.mark.parametrize(("query", "found"), RESERVED.values(), ids=RESERVED.keys())
def test_a_request_says_to_the_link_itself(query: str, found: frozenset[str]) -> None:
    assert read_reserved(query) == found


# ------------------------------------------------------------------ signed targets

OLD, NEW, FOREIGN = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
NOW_S: Final = 1_800_000_000
TARGET: Final = "https://partner.example/landing?a=1#x"


def verified(*, slug: str = "summer", target: str = TARGET, expires: str = str(NOW_S + 60), **said: Any) -> str:
    signature = said.pop("signature", None) or sign_target(NEW, "summer", TARGET, NOW_S + 60)
    return verify_target(said.pop("keys", (OLD, NEW)), slug, target, expires, signature, said.pop("now_s", NOW_S))


def refused(**said: Any) -> str:
    with pytest.raises(Refusal) as found:
        verified(**said)
    return found.value.code


def test_a_signed_target_may_lead_to_any_host_until_its_last_second() -> None:
    assert verified() == TARGET
    assert verified(now_s=NOW_S + 60) == TARGET
    assert refused(now_s=NOW_S + 61) == "target_signature_invalid"


def test_a_signature_is_what_it_always_was() -> None:
    """Signed addresses stand in mails and on paper: their form never changes."""
    assert sign_target(OLD, "summer", TARGET, NOW_S) == "3aa4588a.eRj0Hx73h5fHoZkSu-SkGSPRm4wtTn1QXvtKCkuZuLI"


def test_an_older_key_still_verifies_and_a_foreign_one_never() -> None:
    assert verified(signature=sign_target(OLD, "summer", TARGET, NOW_S + 60)) == TARGET
    assert refused(signature=sign_target(FOREIGN, "summer", TARGET, NOW_S + 60)) == "target_signature_invalid"
    assert refused(keys=(OLD,)) == "target_signature_invalid"
    assert refused(keys=()) == "target_signature_invalid"


def test_one_byte_changed_anywhere_refuses() -> None:
    """The attack list, row 28."""
    expires, signature = str(NOW_S + 60), sign_target(NEW, "summer", TARGET, NOW_S + 60)
    parts = {"slug": "summer", "target": TARGET, "expires": expires, "signature": signature}
    tried = 0
    for name, text in parts.items():
        for place in range(len(text)):
            for letter in "0aZ./":
                for changed in (text[:place] + letter + text[place + 1 :], text[:place] + letter + text[place:]):
                    if changed != text:
                        assert refused(**{**parts, name: changed}) == "target_signature_invalid"
                        tried += 1
            assert refused(**{**parts, name: text[:place] + text[place + 1 :]}) == "target_signature_invalid"
    assert tried > 1_000


def test_a_part_cannot_be_shifted_into_its_neighbour() -> None:
    signature = sign_target(NEW, "summer", TARGET, NOW_S + 60)
    assert refused(signature=signature, slug="summerh", target=TARGET[1:]) == "target_signature_invalid"
    assert refused(signature=signature, target=TARGET + "1", expires=str(NOW_S + 60)[1:]) == "target_signature_invalid"


SPELLINGS: Final = {
    "a zero before": f"0{NOW_S + 60}",
    "a plus": f"+{NOW_S + 60}",
    "a space": f" {NOW_S + 60}",
    "a line end": f"{NOW_S + 60}\n",
    "digits of another script": "".join(chr(0x660 + int(digit)) for digit in str(NOW_S + 60)),
    "an underscore": f"1_{str(NOW_S + 60)[1:]}",
    "nothing": "",
    "a negative one": "-1",
    "one of 12 digits": "9" * 12,
    "no number": "never",
}


@pytest.mark.parametrize("expires", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_an_expiry_has_one_spelling(expires: str) -> None:
    assert refused(expires=expires) == "target_signature_invalid"


@pytest.mark.parametrize(
    "signature", ["", ".", "x", "\u00fc" * 52, "0" * 8 + "." + "A" * 43, "0" * 8 + "." + "A" * 43 + "="]
)
def test_what_is_no_signature_refuses(signature: str) -> None:
    with pytest.raises(Refusal) as found:
        verify_target((NEW,), "summer", TARGET, str(NOW_S + 60), signature, NOW_S)
    assert found.value.code == "target_signature_invalid"


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "//evil.example", "https://a@b.example/", "shopapp://x", "https://a.example/\r\n"]
)
def test_a_target_of_another_shape_is_never_signed(target: str) -> None:
    with pytest.raises(Refusal) as found:
        sign_target(NEW, "summer", target, NOW_S)
    assert found.value.code == "target_invalid"


@quick
@given(
    slug=st.text(max_size=20), target=st.text(max_size=40), expires=st.text(max_size=12), signature=st.text(max_size=60)
)
def test_no_text_is_verified_by_chance_or_raises_anything_else(
    slug: str, target: str, expires: str, signature: str
) -> None:
    with pytest.raises(Refusal):
        verify_target((OLD, NEW), slug, target, expires, signature, NOW_S)


def test_a_stale_click_id_is_one() -> None:
    assert is_click_id(STALE)
    assert is_click_id(CID)
