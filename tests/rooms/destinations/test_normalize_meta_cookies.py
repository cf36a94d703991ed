"""Meta's browser ids beyond the vectors: hosts, referrers, cookies nobody should have."""

import pytest

from gateway.destinations.normalize.meta_cookies import (
    RANDOM_MAX,
    BrowserIds,
    cookie_domain,
    is_browser_id,
    is_fbclid,
    meta_browser_ids,
)

NOW_MS = 1_767_225_600_123


def ids(
    *,
    host: str = "www.example.com",
    fbclid: str | None = None,
    referrer: str | None = None,
    cookies: dict[str, str] | None = None,
    random_number: int = 7,
) -> BrowserIds:
    return meta_browser_ids(
        host=host,
        fbclid=fbclid,
        referrer=referrer,
        cookies=cookies or {},
        now_ms=NOW_MS,
        random_number=random_number,
        site_domains=["example.com"],
    )


@pytest.mark.parametrize(
    ("host", "site_domains", "expected"),
    [
        ("example.com", [], "example.com"),
        ("WWW.Example.com.:8443", [], "example.com"),
        ("shop.example.co.uk", ["example.co.uk"], "example.co.uk"),
        ("shop.example.co.uk", [".Example.co.uk"], "example.co.uk"),
        ("shop.example.co.uk", ["https://example.co.uk:443/start"], "example.co.uk"),
        ("notexample.com", ["example.com"], "notexample.com"),
        ("localhost", [], None),
        ("localhost:3000", [], None),
        ("192.0.2.7:8080", [], None),
        ("[2001:db8::1]:8080", [], None),
        ("2001:db8::1", [], None),
        ("", [], None),
        ("www.example.com", [""], "example.com"),
    ],
)
def test_cookie_domain(host: str, site_domains: list[str], expected: str | None) -> None:
    assert cookie_domain(host, site_domains) == expected


def test_a_server_without_a_browser_writes_index_one() -> None:
    assert ids(host="").fbp == f"fb.1.{NOW_MS}.7"
    assert ids(host="localhost").fbp == f"fb.0.{NOW_MS}.7"


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://example.com/?a=1&fbclid=IwAR2-x_y", "IwAR2-x_y"),
        ("https://example.com/?fbclid=IwAR2%2Dx%5Fy", "IwAR2-x_y"),
        ("https://example.com/?fbclid=", None),
        ("https://example.com/?xfbclid=IwAR2", None),
        ("https://example.com/fbclid=IwAR2", None),
        ("https://example.com/?fbclid=a%3Bb", None),
        ("https://example.com/#/start?fbclid=IwAR2", None),
        ("https://[broken/?fbclid=IwAR2", "IwAR2"),
    ],
)
def test_a_click_is_taken_from_the_query_of_the_referrer(referrer: str, expected: str | None) -> None:
    assert ids(referrer=referrer).fbc == (f"fb.1.{NOW_MS}.{expected}" if expected else None)


def test_a_click_id_that_is_none_counts_as_missing() -> None:
    assert ids(fbclid="abc.def", referrer="https://example.com/?fbclid=IwAR2").fbc == f"fb.1.{NOW_MS}.IwAR2"
    kept = ids(fbclid="abc;Secure", cookies={"_fbc": "fb.1.5.IwAR2"})
    assert (kept.fbc, kept.set_fbc_cookie) == ("fb.1.5.IwAR2", False)


@pytest.mark.parametrize(
    "value",
    [
        "fb.1.5.a b",
        "fb.1.5.a;b",
        'fb.1.5."a"',
        "fb.1.5.a\n",
        "fb.1.5.\u00e4",
        "fb.1.\u0665.a",
        "fb.1.5.a.b.c",
        "FB.1.5.a",
        "fb.1.5." + "a" * 1100,
    ],
)
def test_a_cookie_that_no_browser_could_hold_is_absent(value: str) -> None:
    assert not is_browser_id(value)
    got = ids(cookies={"_fbc": value, "_fbp": value})
    assert (got.fbc, got.set_fbc_cookie) == (None, False)
    assert (got.fbp, got.set_fbp_cookie) == (f"fb.1.{NOW_MS}.7", True)


@pytest.mark.parametrize("value", ["fb.1.5.a", "fb.0.1.0", "fb.1.5.a.Bg", "fb.1.5.IwAR2-_.AQQBAQMC"])
def test_a_cookie_is_kept_to_the_byte(value: str) -> None:
    assert is_browser_id(value)
    got = ids(cookies={"_fbc": value, "_fbp": value})
    assert (got.fbc, got.set_fbc_cookie, got.fbp, got.set_fbp_cookie) == (value, False, value, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("IwAR2F4-_", True), ("a" * 500, True), ("a" * 501, False), ("", False), ("a.b", False), ("a\n", False)],
)
def test_is_fbclid(text: str, expected: bool) -> None:
    assert is_fbclid(text) is expected


@pytest.mark.parametrize("random_number", [-1, RANDOM_MAX + 1])
def test_a_random_number_outside_its_range_is_a_mistake_of_the_caller(random_number: int) -> None:
    with pytest.raises(ValueError, match="2147483647"):
        ids(random_number=random_number)


def test_the_largest_random_number_is_written_in_full() -> None:
    assert ids(random_number=RANDOM_MAX).fbp == f"fb.1.{NOW_MS}.2147483647"
