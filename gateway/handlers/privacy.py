"""For visitors: their own page, and the public statement about Global Privacy Control.

The page works without script and carries none. It is read with GET and changed with POST only: each form has a token that
is bound to the browser, and what the browser says of the form's origin is checked too. After a change it is read again.
"""

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import choose, disclose, forget, forms
from gateway.handlers.collect import query_of
from gateway.handlers.edge import json_answer, read_body, read_request, refusal_of, site_of
from gateway.pages import privacy as view
from gateway.purposes import ALL_PURPOSES, NECESSARY, PURPOSES

if TYPE_CHECKING:
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Request
    from gateway.handlers.door import Door

__all__ = ["change", "gpc_statement", "page", "style"]

FORM_MAX: Final = 4_096
FIELDS_MAX: Final = 20
METHOD: Final = "privacy_page"
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # With no-referrer browsers would send `Origin: null` with our own forms.
    ("Referrer-Policy", "same-origin"),
    ("Vary", "Accept-Language, Cookie"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Server", "gateway"),
)


async def page(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /privacy`."""
    rooms = None
    try:
        rooms = site_of(door.house, request)
        received = read_request(request, door.trust, b"")
        door.house.limit_browser(rooms.id, received.address)
        note = forms.read_note(door.house, rooms, received, query_of(request).get("note", ""))
        return await _shown(door, rooms, request, received, note)
    except Exception as error:  # noqa: BLE001 - a person reads the answer, so it is a page too
        return _refused(door, rooms, request, error)


async def change(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /privacy`: withdraw, choose, download, erase."""
    rooms = None
    try:
        rooms = site_of(door.house, request)
        body = await read_body(request, FORM_MAX, door.house.settings.limits.body_timeout_s)
        received = read_request(request, door.trust, body)
        door.house.limit_browser(rooms.id, received.address)
        forms.demand_own_page(received, request.headers.get("Sec-Fetch-Site"))
        fields = _fields(body)
        try:
            forms.demand(door.house, rooms, received, fields.get("token", ""))
        except Refusal as refusal:
            refused = door.refuse("/privacy", rooms.id, refusal)
            return await _shown(door, rooms, request, received, refusal.code, status=refused.status)
        return await _done(door, rooms, request, received, fields)
    except Exception as error:  # noqa: BLE001 - as above
        return _refused(door, rooms, request, error)


async def style(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /privacy.css`."""
    site_of(door.house, request)
    headers = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff", "Server": "gateway"}
    return web.Response(body=view.STYLE, content_type="text/css", charset="utf-8", headers=headers)


async def gpc_statement(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /.well-known/gpc.json`: that the site honours Global Privacy Control, if its owner says so."""
    rooms = site_of(door.house, request)
    if not rooms.site.gpc_statement:
        raise Refusal("route_unknown")
    headers = CIMultiDict({"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"})
    return json_answer({"gpc": True, "lastUpdate": rooms.site.gpc_statement}, headers=headers)


# ------------------------------------------------------------------ forms


def _fields(body: bytes) -> dict[str, str]:
    """The fields of a form. A field that is sent twice has no meaning: two readers could take two. Raises Refusal."""
    try:
        pairs = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise Refusal("fields_too_many") from None
    if any(len(values) != 1 for values in pairs.values()):
        raise Refusal("field_invalid")
    return {name: values[0] for name, values in pairs.items()}


async def _done(
    door: "Door", rooms: "SiteRooms", request: web.BaseRequest, received: "Request", fields: dict[str, str]
) -> web.Response:
    """Do what a form asks, and send the browser back to the page with a word about it. Raises Refusal."""
    action = fields.get("action", "")
    language = _language(rooms, request)
    if action == "download":
        return _downloaded(await disclose.export(door.house, rooms, received))
    if action in {"withdraw", "choose"}:
        granted, denied = _wanted(action, fields)
        if not granted | denied:
            return _back(door, rooms, received, "nothing_chosen", ())
        wish = choose.Wish(granted=granted, denied=denied, method=METHOD, language=language)
        chosen = await choose.choose_as_visitor(door.house, rooms, received, wish)
        note = "same" if not chosen.recorded else ("withdrawn" if action == "withdraw" else "chosen")
        return _back(door, rooms, received, note, chosen.cookies)
    if action == "erase":
        if fields.get("sure") != "yes":
            return _back(door, rooms, received, "not_sure", ())
        forgotten = await forget.forget_in_browser(door.house, rooms, received, method=METHOD, language=language)
        note = "erased" if forgotten.erased is not None else "nothing_held"
        return _back(door, rooms, received, note, forgotten.cookies)
    raise Refusal("field_invalid", "action")


def _wanted(action: str, fields: dict[str, str]) -> tuple[int, int]:
    """What is granted and denied. Raises Refusal `consent_value_invalid`."""
    if action == "withdraw":
        return 0, ALL_PURPOSES & ~NECESSARY
    granted = denied = 0
    for name, bit in PURPOSES.items():
        value = fields.get(name)
        if bit == NECESSARY or value is None:
            continue
        if value == "granted":
            granted |= bit
        elif value == "denied":
            denied |= bit
        else:
            raise Refusal("consent_value_invalid", name)
    return granted, denied


# ------------------------------------------------------------------ answers


async def _shown(
    door: "Door",
    rooms: "SiteRooms",
    request: web.BaseRequest,
    received: "Request",
    note: str | None,
    *,
    status: int = 200,
) -> web.Response:
    seen = await disclose.see(door.house, rooms, received)
    form = forms.issue(door.house, rooms, received)
    body = view.privacy_page(seen, name=_name(rooms), language=_language(rooms, request), token=form.token, note=note)
    return _html(body, status, (form.cookie,) if form.cookie is not None else ())


def _html(body: bytes, status: int, cookies: tuple[str, ...] = ()) -> web.Response:
    response = web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


def _back(door: "Door", rooms: "SiteRooms", received: "Request", note: str, cookies: tuple[str, ...]) -> web.Response:
    signed = forms.note(door.house, rooms, received, note)
    response = web.Response(status=303, headers=_HEADERS)
    response.headers["Location"] = f"/privacy?note={quote(signed, safe='')}"
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


def _downloaded(made: dict[str, object]) -> web.Response:
    headers = CIMultiDict(_HEADERS)
    headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return json_answer(made, headers=headers)


def _refused(door: "Door", rooms: "SiteRooms | None", request: web.BaseRequest, error: Exception) -> web.Response:
    """The refusal, counted and told as every other, in words for a person. A request for no site of ours stays JSON."""
    refused = door.refuse("/privacy", rooms.id if rooms is not None else None, error)
    if rooms is None:
        return refused
    response = _html(view.problem_page(refusal_of(error).code, language=_language(rooms, request)), refused.status)
    if "Retry-After" in refused.headers:
        response.headers["Retry-After"] = refused.headers["Retry-After"]
    if refused.keep_alive is False:
        response.force_close()
    return response


def _language(rooms: "SiteRooms", request: web.BaseRequest) -> str:
    return view.language_for(request.headers.get("Accept-Language"), rooms.site.language)


def _name(rooms: "SiteRooms") -> str:
    return rooms.domains[0] if rooms.domains else rooms.site.hosts[0]
