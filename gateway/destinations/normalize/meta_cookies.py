"""Meta's browser ids: `fbc` (which ad was clicked) and `fbp` (which browser it is), read from cookies or made anew.

    fbc   fb.<subdomain index>.<time in ms>.<fbclid>              the click, in cookie _fbc
    fbp   fb.<subdomain index>.<time in ms>.<random number>       the browser, in cookie _fbp

The subdomain index counts the labels of the cookie's domain, minus one: 1 for `example.com`, 0 for an IP address or
`localhost`. The time is when the value was made. An fbclid is case-sensitive and never changed or hashed.

A valid cookie is kept to the byte, also with the fifth part that Meta's own libraries append to name themselves. This
gateway is not one of them and never appends one. Only a click with another fbclid replaces `_fbc`.

Reading these cookies and making them are both access to the visitor's device: do either only where advertising was agreed
to.

Source: Meta, Conversions API, fbp and fbc parameters (pages of 2026-09); capi-param-builder-nodejs 1.3.2 and
capi_param_builder_python 1.3.2, both run on 2026-11-20; RFC 6265 section 4.1.1 for what a cookie's value may hold.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote_plus

import msgspec

__all__ = [
    "COOKIE_MAX_AGE_S",
    "FBC_COOKIE",
    "FBP_COOKIE",
    "RANDOM_MAX",
    "BrowserIds",
    "cookie_domain",
    "is_browser_id",
    "is_fbclid",
    "meta_browser_ids",
]

FBC_COOKIE: Final = "_fbc"
FBP_COOKIE: Final = "_fbp"
COOKIE_MAX_AGE_S: Final = 7_776_000
"""90 days in seconds, for both cookies. Path `/`, domain as `cookie_domain` says, SameSite=Lax, Secure, not HttpOnly."""
RANDOM_MAX: Final = 2_147_483_647
"""Largest random number in an fbp."""

_COOKIE_MAX_CHARACTERS: Final = 1024
_REFERRER_MAX_CHARACTERS: Final = 8192

# A dot would make the cookie unreadable, other characters could add attributes to it.
_FBCLID: Final = re.compile(r"[A-Za-z0-9_-]{1,500}\Z")
_ADDRESS: Final = re.compile(r"[0-9.]+\Z|.*:")
_COOKIE: Final = re.compile(
    r"fb\.[0-9]+\.[0-9]+\."
    r"([!#-+\-/-:<-\[\]-~]+)"
    r"(?:\.(?:AQ|Ag|Aw|BA|BQ|Bg|[A-Za-z0-9_-]{8}))?\Z"
)
"""`fb`, two numbers, what a cookie may hold except a dot, and perhaps the mark of the library that wrote it."""


class BrowserIds(msgspec.Struct, frozen=True):
    """What to send as `fbc` and `fbp`, and which of the two cookies to write because its value is new.

    `fbc` is None when no click is known. `subdomain_index` is the one a value made for this host carries.
    """

    subdomain_index: int
    fbc: str | None
    set_fbc_cookie: bool
    fbp: str
    set_fbp_cookie: bool


def is_fbclid(text: str) -> bool:
    """Whether `text` can be used as an fbclid: 1 to 500 characters of `[A-Za-z0-9_-]`."""
    return _FBCLID.match(text) is not None


def is_browser_id(cookie: str) -> bool:
    """Whether a cookie's value is an fbc or fbp that can be sent as it is, with or without its appendix."""
    return len(cookie) <= _COOKIE_MAX_CHARACTERS and _COOKIE.match(cookie) is not None


def _kept(cookie: str | None) -> str | None:
    """The value of one of the two cookies, None when it is missing or cannot be one."""
    return cookie if cookie is not None and is_browser_id(cookie) else None


def _host_name(text: str) -> str:
    """Host name in lower case from a Host header or an address: without scheme, path, port, brackets and outer dots."""
    text = text.rpartition("://")[2].partition("/")[0].strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    if text.count(":") > 1:
        return text
    return text.partition(":")[0].strip(".")


def cookie_domain(host: str, site_domains: Sequence[str] = ()) -> str | None:
    """Domain for the two cookies, None for a host that can only keep a cookie for itself (an address, one label).

    The first of `site_domains` that is the host or above it wins. Without one the first label goes when there are more
    than two, as Meta's libraries do: wrong under `co.uk`, so configure the registrable domain.
    """
    name = _host_name(host)
    if _ADDRESS.match(name):
        return None
    for entry in site_domains:
        domain = _host_name(entry)
        if domain and (name == domain or name.endswith("." + domain)):
            return domain
    labels = name.split(".")
    if len(labels) == 1:
        return None
    return ".".join(labels[1:]) if len(labels) > 2 else name


def _subdomain_index(host: str, site_domains: Sequence[str]) -> int:
    """Labels of the cookie's domain minus one; 1 when there is no host, which is what a server without cookies writes."""
    if not host:
        return 1
    domain = cookie_domain(host, site_domains)
    return domain.count(".") if domain else 0


def _fbclid_of(referrer: str) -> str:
    """The fbclid in the query of an address, empty when there is none. A fragment is not a query."""
    query = referrer[:_REFERRER_MAX_CHARACTERS].partition("#")[0].partition("?")[2]
    for pair in query.split("&"):
        if pair.startswith("fbclid="):
            return unquote_plus(pair[7:])
    return ""


def meta_browser_ids(
    *,
    host: str,
    fbclid: str | None,
    referrer: str | None,
    cookies: Mapping[str, str],
    now_ms: int,
    random_number: int,
    site_domains: Sequence[str] = (),
) -> BrowserIds:
    """Find or make the two ids for one request.

    `host` is the Host header, empty when no browser is there. `fbclid` comes from the query of the current page under
    exactly this name; what is not an fbclid counts as missing, and then that of `referrer` is taken. `now_ms` is the time
    in milliseconds since 1970, `random_number` lies between 0 and RANDOM_MAX. No text raises; a random number outside its
    range raises ValueError.
    """
    if not 0 <= random_number <= RANDOM_MAX:
        raise ValueError("the random number of an fbp lies between 0 and 2147483647")
    index = _subdomain_index(host, site_domains)
    made_now = f"fb.{index}.{now_ms}."
    fbc = _kept(cookies.get(FBC_COOKIE))
    fbp = _kept(cookies.get(FBP_COOKIE))

    click = fbclid if fbclid and is_fbclid(fbclid) else _fbclid_of(referrer or "")
    new_click = is_fbclid(click) and (fbc is None or fbc.split(".")[3] != click)
    return BrowserIds(
        subdomain_index=index,
        fbc=made_now + click if new_click else fbc,
        set_fbc_cookie=new_click,
        fbp=f"{made_now}{random_number}" if fbp is None else fbp,
        set_fbp_cookie=fbp is None,
    )
