"""For browsers: `/collect`, `/p.gif` and `/link`.

These answer a page that is not waiting for anything: 204, or the image, with a header that says why something was not
kept. Only what a developer must fix is refused.
"""

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import link as link_flow
from gateway.flows import receive
from gateway.handlers.edge import clean_text, json_answer, read_body, read_request, refusal_of, site_of

if TYPE_CHECKING:
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Collected
    from gateway.handlers.door import Door

__all__ = ["allowed_origin", "collect", "cors", "cors_lines", "link", "pixel", "preflight"]

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""The smallest transparent image: 42 bytes."""

_EXPOSED: Final = "X-Gateway-Dropped, Retry-After"
_ORIGIN: Final = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]{1,270}|null)\Z")
"""An origin as browsers write it. Nothing else a caller says is written back into an answer."""
_ORIGIN_MAX: Final = 300
_NO_IMAGE: Final = frozenset({"host_unknown", "rate_limited", "busy", "store_full", "internal"})
"""What even the image route answers with its status: nothing of the request was looked at, or nothing could be stored."""


@lru_cache(maxsize=1024)
def cors_lines(allowed: str | None) -> tuple[tuple[str, str], ...]:
    """CORS headers for an origin that is allowed; for None only `Vary`."""
    if allowed is None or _ORIGIN.match(allowed) is None:
        return (("Vary", "Origin"),)
    return (
        ("Access-Control-Allow-Origin", allowed),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("Vary", "Origin"),
    )


def allowed_origin(rooms: "SiteRooms | None", origin: str | None) -> str | None:
    """The origin when a page of it may read answers of the site, else None."""
    if origin is not None and len(origin) <= _ORIGIN_MAX and rooms is not None and rooms.allows(origin):
        return origin
    return None


def cors(rooms: "SiteRooms | None", origin: str | None) -> "CIMultiDict[str]":
    """CORS headers for a page of the site; without an allowed origin only `Vary`."""
    return CIMultiDict(cors_lines(allowed_origin(rooms, origin)))


def readable_refusal(origin: str | None) -> "CIMultiDict[str]":
    """CORS headers for the fixed answer to a page of another domain: it may read that it is blocked, and nothing is set."""
    if origin is None or len(origin) > _ORIGIN_MAX:
        return CIMultiDict(cors_lines(None))
    return CIMultiDict(cors_lines(origin))


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
        if request.method == "HEAD":
            headers["X-Gateway-Dropped"] = "head"  # asked what the image is like: nobody has seen it
        else:
            _note(headers, await receive.collect_pixel(door.house, rooms, read))
    except Exception as error:  # noqa: BLE001 - an image whatever happens, unless nobody looked at the request at all
        code = refusal_of(error).code
        site = rooms.id if rooms is not None else None
        if code in _NO_IMAGE:
            return door.refuse("/p.gif", site, error)
        door.refuse("/p.gif", site, error, status=200)
        headers["X-Gateway-Dropped"] = code
    return web.Response(body=GIF, content_type="image/gif", headers=headers)


def query_of(request: web.BaseRequest) -> dict[str, str]:
    """The query as clean texts, first occurrence of each name. Raises Refusal `fields_too_many` over 50 parameters."""
    raw = clean_text(request.raw_path.partition("?")[2]) or ""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=50, errors="replace")
    except ValueError:
        raise Refusal("fields_too_many") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
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
