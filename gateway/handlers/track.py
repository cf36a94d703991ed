"""Conversions by a goal's token, for trackers and images; adjustments, for backends; the secret of notifications.

A token is part of an address, so no log line holds an address here: routes are told by their pattern.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import adjust as adjust_flow
from gateway.flows import notify
from gateway.flows import track as track_flow
from gateway.handlers.admin import demand_admin
from gateway.handlers.collect import GIF, allowed_origin, cors_lines, query_of, readable_refusal
from gateway.handlers.edge import json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.flows.house import House, SiteRooms
    from gateway.handlers.door import Door

__all__ = ["adjust", "image", "posted", "posted_with_token", "preflight", "secret"]

TRACK: Final = "/api/conversions/track/*"
TRACK_BY_BODY: Final = "/api/v1/conversions/track"
ADJUST: Final = "/api/v1/conversions/*"
_FORM: Final = "application/x-www-form-urlencoded"
_ORIGIN_MAX: Final = 300
_FIELDS_MAX: Final = 100
_ADJUSTMENTS: Final = "/adjustments"


async def posted(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/conversions/track/{token}`: JSON, a form, or nothing but a query."""
    return await _answer(door, request, TRACK, rest, image=False)


async def image(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/conversions/track/{token}`: an image for pages, or the text a tracker asks for."""
    return await _answer(door, request, TRACK, rest, image=True)


async def posted_with_token(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/conversions/track`: JSON that carries the token itself."""
    return await _answer(door, request, TRACK_BY_BODY, None, image=False)


async def _answer(
    door: "Door", request: web.BaseRequest, route: str, token: str | None, *, image: bool
) -> web.StreamResponse:
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms: SiteRooms | None = None
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(house, request)
        if request.method == "HEAD":
            return _image(_headers(house, rooms, origin, token), None)  # asked what it is like: nothing happened
        limits = house.settings.limits
        body = b"" if image else await read_body(request, limits.body_max_bytes, limits.body_timeout_s)
        read = read_request(request, door.trust, body)
        query = query_of(request)
        if token is None:
            token, reader = track_flow.reader_with_token(body)
        else:
            reader = _reader(body, request.content_type, query)
        tracked = await track_flow.take(house, rooms, read, token, reader)
    except Exception as error:  # noqa: BLE001 - answered with CORS headers, so that the page's console can show it
        blocked = isinstance(error, Refusal) and error.code == "domain_not_allowed"
        headers = readable_refusal(origin) if blocked else _headers(house, rooms, origin, token)
        return door.refuse(route, rooms.id if rooms is not None else None, error, headers)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(
        route, rooms.id, HTTPStatus.OK, took_ms, result=tracked.status, reason=tracked.reason, marks=list(tracked.marks)
    )
    headers = _headers(house, rooms, origin, token)
    if tracked.answer is not None:
        headers["Cache-Control"] = "no-store"
        return web.Response(text=tracked.answer, content_type="text/plain", headers=_plain(headers))
    if image:
        return _image(headers, tracked)
    shown = msgspec.to_builtins(msgspec.structs.replace(tracked, answer=None))
    return json_answer(shown, headers=headers)


def _reader(body: bytes, content_type: str, query: "Mapping[str, str]") -> "Callable[[], track_flow.Postback]":
    """How a call is read: as JSON when its body is JSON or not said to be a form, else as names and values."""
    if not body:
        return lambda: track_flow.read_query(query)
    if content_type == _FORM and body.lstrip()[:1] != b"{":
        return lambda: track_flow.read_query({**query, **_form(body)})
    return lambda: track_flow.read_json(body, query)


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise Refusal("fields_too_many") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _headers(house: "House", rooms: "SiteRooms | None", origin: str | None, token: str | None) -> "CIMultiDict[str]":
    """CORS headers for pages that may report conversions of the token's goal; without a token, for the site's."""
    if token is None or rooms is None or origin is None or len(origin) > _ORIGIN_MAX:
        return CIMultiDict(cors_lines(allowed_origin(rooms, origin)))
    return CIMultiDict(cors_lines(origin if track_flow.may_report(house, rooms, token, origin) else None))


def _plain(headers: "CIMultiDict[str]") -> "CIMultiDict[str]":
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Server"] = "gateway"
    return headers


def _image(headers: "CIMultiDict[str]", tracked: "track_flow.Tracked | None") -> web.Response:
    """The smallest image, which nobody keeps; its header says what became of the call."""
    headers["Cache-Control"] = "no-store"
    if tracked is None:
        headers["X-Gateway-Dropped"] = "head"
    elif tracked.status == "ignored":
        headers["X-Gateway-Dropped"] = tracked.reason or "ignored"
    return web.Response(body=GIF, content_type="image/gif", headers=_plain(headers))


async def preflight(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`OPTIONS` of both routes: which headers a page may send."""
    rooms = site_of(door.house, request)
    headers = _headers(door.house, rooms, request.headers.get("Origin"), rest or None)
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = "GET, POST"
        headers["Access-Control-Allow-Headers"] = "content-type"
        headers["Access-Control-Max-Age"] = "7200"
    return web.Response(status=204, headers=_plain(headers))


# ------------------------------------------------------------------ adjustments


async def adjust(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/conversions/{id}/adjustments`; the id is ours, or `order:` and the order number."""
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms: SiteRooms | None = None
    try:
        rooms = site_of(house, request)
        if not rest.endswith(_ADJUSTMENTS):
            raise Refusal("route_unknown")
        limits = house.settings.limits
        body = await read_body(request, limits.body_max_bytes, limits.body_timeout_s)
        name = unquote(rest.removesuffix(_ADJUSTMENTS), errors="replace")
        adjusted = await adjust_flow.take(house, rooms, read_request(request, door.trust, body), name)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(ADJUST, rooms.id if rooms is not None else None, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(ADJUST, rooms.id, HTTPStatus.OK, took_ms, conversions=len(adjusted))
    return json_answer(adjust_flow.told(adjusted))


# ------------------------------------------------------------------ notifications


async def secret(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/notifications/{site}`: the secret with which receivers check notifications of a site."""
    demand_admin(door, request, cookie_will_do=False)  # a page that was signed in to must not show a secret
    if rest not in door.house.by_id:
        raise Refusal("site_unknown")
    return json_answer({"site": rest, "signing_secret": notify.signing_secrets(door.house, rest)})
