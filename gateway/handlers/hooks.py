"""For senders of webhooks: `/webhooks/NAME`; for pages: `/numbers.json`; for whoever writes to shoppers: `/api/v1/abandoned`."""

from typing import TYPE_CHECKING

from aiohttp import web

from gateway.errors import Refusal
from gateway.flows import calls, orders, timers
from gateway.flows.convert import authenticate
from gateway.handlers.collect import cors, query_of
from gateway.handlers.edge import clean_text, json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from gateway.handlers.door import Door

__all__ = ["abandoned", "numbers", "webhook"]

_ROUTE = "/webhooks/*"
_DAYS = 7


async def webhook(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /webhooks/NAME`: one delivery of a shop, a payment service or a call tracker."""
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms = site_of(house, request)
    try:
        found = orders.webhook_named(rooms, rest)
        body = await read_body(request, orders.BODY_MAX_BYTES, house.settings.limits.body_timeout_s)
        headers = {
            name.lower(): tuple(clean_text(value) or "" for value in request.headers.getall(name))
            for name in dict.fromkeys(request.headers)
        }
        heard = await orders.hear(house, rooms, found, body, headers)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(_ROUTE, rooms.id, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(
        _ROUTE, rooms.id, 200, took_ms, webhook=found.name, received=heard.received, note=heard.note
    )
    return json_answer(heard)


async def numbers(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /numbers.json?campaign=&source=`: the telephone number that a page shows."""
    rooms = None
    origin = request.headers.get("Origin")
    try:
        rooms = site_of(door.house, request)
        read = read_request(request, door.trust, b"")
        door.house.limit_browser(rooms.id, read.address)
        read.query = query_of(request)
        shown = await calls.number_for(door.house, rooms, read)
    except Exception as error:  # noqa: BLE001 - answered with CORS headers, so that the page's console can show it
        return door.refuse("/numbers.json", rooms.id if rooms is not None else None, error, cors(rooms, origin))
    return json_answer(shown, headers=cors(rooms, origin))


async def abandoned(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/abandoned?older_than_minutes=&days=&after=`: carts that were left, with their age."""
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms = site_of(house, request)
    try:
        read = read_request(request, door.trust, b"")
        authenticate(house, rooms, read, "reports", house.clock.now_ms())
        query = query_of(request)
        unknown = next((name for name in query if name not in {"older_than_minutes", "days", "after"}), None)
        if unknown is not None:
            raise Refusal("field_unknown", "query")
        found = await timers.left_carts(
            house,
            rooms,
            older_than_minutes=_whole(query.get("older_than_minutes"), "older_than_minutes", 0),
            days=_whole(query.get("days"), "days", _DAYS),
            after=query.get("after"),
        )
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse("/api/v1/abandoned", rooms.id, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered("/api/v1/abandoned", rooms.id, 200, took_ms, carts=len(found.carts))
    return json_answer(found)


def _whole(text: str | None, field: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refusal("field_invalid", field)
    return int(text)
