"""For operators: status, explanations, dead letters, keys. Every route wants the admin token, or comes by the control socket.

The token is a text in a file only the operator can read. It is sent as a bearer, or once through the login form, which
sets a cookie that reads only: whatever changes something wants the bearer.
"""

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from gateway.errors import Refusal
from gateway.flows import explain as explain_flow
from gateway.flows import keys as keys_flow
from gateway.flows import replay as replay_flow
from gateway.flows import report
from gateway.handlers.collect import query_of
from gateway.handlers.edge import json_answer, read_body
from gateway.pages import status as status_view

if TYPE_CHECKING:
    from gateway.handlers.door import Door

__all__ = [
    "change_key",
    "check",
    "create_key",
    "dead",
    "demand_admin",
    "explain",
    "keys",
    "login",
    "replay",
    "status",
    "status_page",
    "style",
]

BODY_MAX: Final = 16_384
SESSION_COOKIE: Final = "gwadmin"
_KEY_FIELDS: Final = frozenset({"title", "sites", "rights", "must_sign"})
_REPLAY_FIELDS: Final = frozenset({"site", "destination", "delivery_id", "limit"})
_HTML_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "gateway",
}


def _proof(door: "Door") -> str:
    """What the session cookie holds: it proves that the token was known, and says nothing about it."""
    key = door.house.vault.signing_keys("admin", "")[-1]
    return hmac.digest(key, (door.admin_token or "").encode(), "sha256").hex()


def demand_admin(door: "Door", request: web.BaseRequest, *, cookie_will_do: bool = True) -> None:
    """Raise Refusal unless the caller is an operator. Names other than loopback's are refused: pages of strangers that
    make a name point at this machine must not reach it."""
    if door.control:
        return
    _demand_own_name(door, request)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = (door.admin_token or "").encode()
    if known and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("utf-8", "replace"), known):
        return
    if cookie_will_do and known:
        for value in _cookies(request):
            if hmac.compare_digest(value.encode("utf-8", "replace"), _proof(door).encode()):
                return
    raise Refusal("admin_token_invalid")


def _cookies(request: web.BaseRequest) -> list[str]:
    header = request.headers.get("Cookie", "")
    parts = (part.strip().partition("=") for part in header.split(";"))
    return [value for name, _, value in parts if name == SESSION_COOKIE]


def _demand_own_name(door: "Door", request: web.BaseRequest) -> None:
    host = request.headers.get("Host", "").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name in door.house.settings.listen.admin_names or name == "localhost" or name.endswith(".localhost"):
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Refusal("host_unknown") from None


async def _json_body(door: "Door", request: web.BaseRequest, fields: frozenset[str]) -> dict[str, object]:
    """Read a JSON object. Unknown fields are refused: a misspelt `must_sign` must not make a weaker key."""
    body = await read_body(request, BODY_MAX, door.house.settings.limits.body_timeout_s)
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("json_invalid") from None
    if not isinstance(found, dict):
        raise Refusal("field_type")
    for name in found:
        if name not in fields:
            raise Refusal("field_unknown", name if name.isidentifier() and name.isascii() and len(name) <= 40 else None)
    return found


def _flag(found: dict[str, object], name: str) -> bool:
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise Refusal("field_type", name)
    return value


def _text(found: dict[str, object], name: str) -> str | None:
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 200:
        raise Refusal("field_type", name)
    return value


def _texts(found: dict[str, object], name: str) -> tuple[str, ...]:
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(part, str) and len(part) <= 200 for part in value):
        raise Refusal("field_type", name)
    return tuple(value)


def _whole(text: str | None, default: int, at_most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= at_most:
        raise Refusal("field_invalid", "limit")
    return int(text)


# ------------------------------------------------------------------ pages


async def status_page(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /`: how things stand; asks for the token first."""
    try:
        demand_admin(door, request)
    except Refusal as refusal:
        if refusal.code != "admin_token_invalid":
            raise
        return web.Response(
            body=status_view.login_page(), content_type="text/html", charset="utf-8", headers=_HTML_HEADERS
        )
    body = status_view.status_page(await report.status(door.house))
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=_HTML_HEADERS)


async def style(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /status.css`."""
    return web.Response(body=status_view.STYLE, content_type="text/css", charset="utf-8", headers=_HTML_HEADERS)


async def login(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /login`: the token in a form, once; then a cookie that reads."""
    _demand_own_name(door, request)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Refusal("request_foreign")
    body = await read_body(request, BODY_MAX, door.house.settings.limits.body_timeout_s)
    try:
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=5).get("token", [""])[0]
    except ValueError:
        raise Refusal("fields_too_many") from None
    known = door.admin_token or ""
    if not known or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), known.encode()):
        raise Refusal("admin_token_invalid")
    cookie = f"{SESSION_COOKIE}={_proof(door)}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
    return web.Response(status=303, headers={**_HTML_HEADERS, "Location": "/", "Set-Cookie": cookie})


# ------------------------------------------------------------------ operations


async def status(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/status`."""
    demand_admin(door, request)
    return json_answer(await report.status(door.house))


async def check(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/check`: reads everything; for commands, not for dashboards."""
    demand_admin(door, request)
    return json_answer(await report.check(door.house))


async def explain(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/events/{id}`."""
    demand_admin(door, request)
    return json_answer(await explain_flow.explain(door.house, rest[:64], query_of(request).get("site")))


async def dead(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/dead`."""
    demand_admin(door, request)
    query = query_of(request)
    limit = _whole(query.get("limit"), 100, 1_000)
    return json_answer({"dead": await replay_flow.dead(door.house, query.get("site"), query.get("destination"), limit)})


async def replay(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/replay`."""
    demand_admin(door, request, cookie_will_do=False)
    found = await _json_body(door, request, _REPLAY_FIELDS)
    delivery_id = found.get("delivery_id")
    if delivery_id is not None and (not isinstance(delivery_id, int) or isinstance(delivery_id, bool)):
        raise Refusal("field_type", "delivery_id")
    if delivery_id is not None and not 0 < delivery_id < 1 << 63:
        raise Refusal("field_invalid", "delivery_id")
    limit = found.get("limit", 10_000)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 < limit <= 1_000_000:
        raise Refusal("field_invalid", "limit")
    return json_answer(
        await replay_flow.replay(
            door.house,
            site=_text(found, "site"),
            destination=_text(found, "destination"),
            delivery_id=delivery_id,
            limit=limit,
        )
    )


async def keys(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/keys`."""
    demand_admin(door, request)
    return json_answer({"keys": await keys_flow.listed(door.house)})


async def create_key(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/keys`."""
    demand_admin(door, request, cookie_will_do=False)
    found = await _json_body(door, request, _KEY_FIELDS)
    made = await keys_flow.create(
        door.house,
        title=_text(found, "title") or "",
        sites=_texts(found, "sites"),
        rights=_texts(found, "rights"),
        must_sign=_flag(found, "must_sign"),
    )
    return json_answer(made)


async def change_key(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/keys/{id}/revoke` and `/rotate`."""
    demand_admin(door, request, cookie_will_do=False)
    key_id, _, action = rest.partition("/")
    if action == "revoke":
        return json_answer(await keys_flow.revoke(door.house, key_id))
    if action == "rotate":
        return json_answer(await keys_flow.rotate(door.house, key_id))
    raise Refusal("route_unknown")
