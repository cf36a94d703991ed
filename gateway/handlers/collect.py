"""For browsers: `/collect`, `/p.gif` and `/link`.

These answer a page that is not waiting for anything: 204, or the image, with a header that says why something was not
kept. Only what a developer must fix is refused.
"""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import link as link_flow
from gateway.flows import receive
from gateway.handlers.edge import clean_text, json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Collected
    from gateway.handlers.door import Door

__all__ = ["collect", "cors", "link", "pixel", "preflight"]

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""The smallest transparent image: 42 bytes."""

_EXPOSED: Final = "X-Gateway-Dropped, Retry-After"


@lru_cache(maxsize=1024)
def _cors(origin: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("Vary", "Origin"),
    )


def cors(rooms: "SiteRooms | None", origin: str | None) -> "CIMultiDict[str]":
    """CORS headers for a page of the site; without an allowed origin only `Vary`."""
    if origin is not None and rooms is not None and rooms.allows(origin):
        return CIMultiDict(_cors(origin))
    return CIMultiDict((("Vary", "Origin"),))


def readable_refusal(origin: str | None) -> "CIMultiDict[str]":
    """CORS headers for the fixed answer to a page of another domain: it may read that it is blocked, and nothing is set."""
    if origin is None or not origin.isascii() or not origin.isprintable() or len(origin) > 300:
        return CIMultiDict((("Vary", "Origin"),))
    return CIMultiDict(_cors(origin))


async def collect(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /collect`."""
    rooms = None
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(door.house, request)
        limits = door.house.settings.limits
        body = await read_body(request, limits.body_max_bytes, limits.body_timeout_s)
        read = read_request(request, door.trust, body)
        door.house.limit_browser(rooms.id, read.address)
        collected = await receive.collect(door.house, rooms, read)
    except Exception as error:  # noqa: BLE001 - answered with CORS headers, so that the page's console can show it
        return _refused(door, "/collect", rooms, origin, error)
    headers = cors(rooms, origin)
    headers["Server"] = "gateway"
    _note(headers, collected)
    return web.Response(status=204, headers=headers)


def _refused(door: "Door", route: str, rooms: "SiteRooms | None", origin: str | None, error: Exception) -> web.Response:
    blocked = isinstance(error, Refusal) and error.code == "domain_not_allowed"
    headers = readable_refusal(origin) if blocked else cors(rooms, origin)
    return door.refuse(route, rooms.id if rooms is not None else None, error, headers)


def _note(headers: "CIMultiDict[str]", collected: "Collected") -> None:
    for cookie in collected.cookies:
        headers.add("Set-Cookie", cookie)
    if collected.dropped is not None:
        headers["X-Gateway-Dropped"] = collected.dropped


async def preflight(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`OPTIONS`: which headers a page of the site may send. The tag itself never causes one."""
    rooms = site_of(door.house, request)
    headers = cors(rooms, request.headers.get("Origin"))
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = "GET, POST"
        headers["Access-Control-Allow-Headers"] = "content-type"
        headers["Access-Control-Max-Age"] = "7200"
    headers["Server"] = "gateway"
    return web.Response(status=204, headers=headers)


async def pixel(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /p.gif`: an image whatever happens, so that no page shows a broken one; the header says what was wrong."""
    headers = CIMultiDict[str](
        (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Server", "gateway"))
    )
    rooms = None
    try:
        rooms = site_of(door.house, request)
        read = read_request(request, door.trust, b"")
        door.house.limit_browser(rooms.id, read.address)
        read.query = query_of(request)
        collected = await receive.collect_pixel(door.house, rooms, read)
        _note(headers, collected)
    except Refusal as refusal:
        door.refuse("/p.gif", rooms.id if rooms is not None else None, refusal)
        if refusal.code in {"host_unknown", "busy", "rate_limited"}:
            raise
        headers["X-Gateway-Dropped"] = refusal.code
    return web.Response(body=GIF, content_type="image/gif", headers=headers)


def query_of(request: web.BaseRequest) -> dict[str, str]:
    """The query as texts, first occurrence of each name; at most 50 parameters."""
    raw = request.raw_path.partition("?")[2]
    found: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, max_num_fields=50, errors="replace"):
        found.setdefault(clean_text(name) or "", value)
    return found


async def link(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /link?to=HOST`: a token that carries this browser's id to another domain of the owner."""
    rooms = None
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(door.house, request)
        read = read_request(request, door.trust, b"")
        door.house.limit_browser(rooms.id, read.address)
        token = link_flow.link(door.house, rooms, read, query_of(request).get("to", ""))
    except Exception as error:  # noqa: BLE001 - answered with CORS headers
        return _refused(door, "/link", rooms, origin, error)
    return json_answer({"parameter": link_flow.PARAMETER, "token": token}, headers=cors(rooms, origin))
