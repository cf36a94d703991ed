"""For visitors' choices: `POST /consent` records one, `GET /consent` reads it back."""

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gateway.flows import choose
from gateway.handlers.collect import cors, readable_refusal
from gateway.handlers.edge import json_answer, read_body, read_request, refusal_of, site_of

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from gateway.flows.house import SiteRooms
    from gateway.handlers.door import Door

__all__ = ["read", "record"]


async def record(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /consent`: from a page, or with an API key from a backend."""
    rooms = None
    begun_s = door.house.clock.monotonic_s()
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(door.house, request)
        limits = door.house.settings.limits
        body = await read_body(request, limits.body_max_bytes, limits.body_timeout_s)
        received = read_request(request, door.trust, body)
        if received.authorization is not None:
            chosen = await choose.choose_on_server(door.house, rooms, received)
            took_ms = int((door.house.clock.monotonic_s() - begun_s) * 1000)
            door.house.telemetry.request_answered("/consent", rooms.id, 200, took_ms, recorded=chosen.recorded)
        else:
            door.house.limit_browser(rooms.id, received.address)
            chosen = await choose.choose_in_browser(door.house, rooms, received)
    except Exception as error:  # noqa: BLE001 - answered with CORS headers, so that the page can read it
        return _refused(door, rooms, origin, error)
    return _answered(chosen, cors(rooms, origin))


async def read(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /consent`."""
    rooms = None
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(door.house, request)
        received = read_request(request, door.trust, b"")
        door.house.limit_browser(rooms.id, received.address)
        chosen = choose.read_in_browser(door.house, rooms, received)
    except Exception as error:  # noqa: BLE001 - as above
        return _refused(door, rooms, origin, error)
    return _answered(chosen, cors(rooms, origin))


def _answered(chosen: choose.Chosen, headers: "CIMultiDict[str]") -> web.Response:
    for cookie in chosen.cookies:
        headers.add("Set-Cookie", cookie)
    shown = msgspec.to_builtins(chosen)
    shown.pop("cookies", None)
    return json_answer(shown, headers=headers)


def _refused(door: "Door", rooms: "SiteRooms | None", origin: str | None, error: Exception) -> web.Response:
    blocked = refusal_of(error).code == "domain_not_allowed"
    headers = readable_refusal(origin) if blocked else cors(rooms, origin)
    return door.refuse("/consent", rooms.id if rooms is not None else None, error, headers)
