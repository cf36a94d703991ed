"""Forms: a page's forms are good in the browser that got them, for this site, for two hours, and nowhere else.

A page of another site can make a browser send a form, with the site's cookies. It cannot read our page, so it has no
token; it cannot set a `__Host-` cookie, so it cannot bring a pair of its own; and the browser says in Origin and
Sec-Fetch-Site where the form came from. Each of these alone would do.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import access, identity
from gateway.errors import Refusal
from gateway.ids import RANDOM_ID_BYTES, is_random_id, random_id
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = ["FORM_COOKIE", "Form", "demand", "demand_own_page", "issue", "note", "read_note", "visitor_of"]

FORM_COOKIE: Final = "__Host-gwform"
_CHANGE: Final = "change"


class Form(msgspec.Struct, frozen=True):
    """A token for the forms of one page, and the cookie it is bound to, if the browser has none yet.

    The cookie lasts as long as the browser is open and says nothing: 128 random bits that are stored nowhere.
    """

    token: str
    cookie: str | None = None


def visitor_of(house: "House", rooms: "SiteRooms", request: "Request") -> tuple[identity.Token | None, str | None]:
    """Whom the id cookies of a request point at, and `id_conflict` or `id_invalid` if they point at nobody."""
    today = house.clock.now_ms() // DAY_MS
    values = identity.cookie_values(request.cookie, rooms.id_cookie)
    return identity.recognise(rooms.keys, values, today, rooms.site.id_days)


def issue(house: "House", rooms: "SiteRooms", request: "Request") -> Form:
    """Make the token for the forms of a page."""
    browser = _browser(request)
    cookie = None
    if browser is None:
        browser = random_id(house.entropy.token_bytes(RANDOM_ID_BYTES))
        cookie = f"{FORM_COOKIE}={browser}; Path=/; Secure; HttpOnly; SameSite=Strict"
    return Form(_signed(house, rooms, request, browser, _CHANGE), cookie)


def demand(house: "House", rooms: "SiteRooms", request: "Request", token: str) -> None:
    """Raise Refusal `form_expired` unless the token was given to this browser for a form of this site."""
    if _read(house, rooms, request, token) != _CHANGE:
        raise Refusal("form_expired")


def demand_own_page(request: "Request", fetch_site: str | None) -> None:
    """Raise Refusal `request_foreign` when the browser says that the form is of another page than ours.

    `fetch_site` is Sec-Fetch-Site. Browsers too old for both headers are let pass: the token stands on its own.
    """
    if fetch_site is not None and fetch_site != "same-origin":
        raise Refusal("request_foreign")
    if request.origin is None:
        return
    host = access.origin_host(request.origin)
    if host is None or host != access.origin_host(f"http://{request.host}"):
        raise Refusal("request_foreign")


def note(house: "House", rooms: "SiteRooms", request: "Request", says: str) -> str:
    """Sign a word that the page is to show this browser next. Links of strangers cannot make it say something."""
    return _signed(house, rooms, request, _browser(request) or "", says, visitor="")


def read_note(house: "House", rooms: "SiteRooms", request: "Request", token: str) -> str | None:
    """Return a word that was signed for this browser; None for anything else. Which words are notes the page knows."""
    return _read(house, rooms, request, token, visitor="") if token else None


def _browser(request: "Request") -> str | None:
    values = {value for value in identity.cookie_values(request.cookie, FORM_COOKIE)[:8] if is_random_id(value)}
    return values.pop() if len(values) == 1 else None


def _visitor(house: "House", rooms: "SiteRooms", request: "Request") -> str:
    token, _ = visitor_of(house, rooms, request)
    return token.visitor_id if token is not None else ""


def _signed(
    house: "House", rooms: "SiteRooms", request: "Request", browser: str, says: str, *, visitor: str | None = None
) -> str:
    return access.sign_form(
        house.vault.signing_keys("form", rooms.id),
        rooms.id,
        says,
        browser=browser,
        visitor=_visitor(house, rooms, request) if visitor is None else visitor,
        now_ms=house.clock.now_ms(),
    )


def _read(
    house: "House", rooms: "SiteRooms", request: "Request", token: str, *, visitor: str | None = None
) -> str | None:
    return access.read_form(
        house.vault.signing_keys("form", rooms.id),
        rooms.id,
        token,
        browser=_browser(request) or "",
        visitor=_visitor(house, rooms, request) if visitor is None else visitor,
        now_ms=house.clock.now_ms(),
    )
