"""For backends: events and conversions with an API key, answered one by one."""

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gateway.errors import Refusal
from gateway.flows import convert
from gateway.handlers.edge import json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from gateway.handlers.door import Door

__all__ = ["conversions", "events"]


async def events(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/events`."""
    return await _take(door, request, conversions=False)


async def conversions(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/conversions` and `/api/v1/conversions/batch`."""
    return await _take(door, request, conversions=True)


async def _take(door: "Door", request: web.BaseRequest, *, conversions: bool) -> web.StreamResponse:
    house = door.house
    begun_s = house.clock.monotonic_s()
    path, _, _ = request.raw_path.partition("?")
    rooms = site_of(house, request)
    try:
        limits = house.settings.limits
        body = await read_body(request, limits.batch_body_max_bytes, limits.body_timeout_s)
        found = await convert.take(house, rooms, read_request(request, door.trust, body), conversions=conversions)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(path, rooms.id, error)
    status, shown = _shown(found)
    house.telemetry.request_answered(
        path,
        rooms.id,
        status,
        int((house.clock.monotonic_s() - begun_s) * 1000),
        events=len(found.results),
        repeated=found.repeated,
    )
    return json_answer(shown, status=status)


def _shown(found: convert.Results) -> tuple[int, object]:
    """A single event gets its own status; a list gets 200, with what became of each."""
    shown = [_one(result) for result in found.results]
    if not found.single:
        return HTTPStatus.OK, {"results": shown, "repeated": found.repeated}
    if found.results[0].fate == "conflict":
        return HTTPStatus.CONFLICT, {**shown[0], **Refusal("conversion_conflict").body()}
    return HTTPStatus.OK, {**shown[0], "repeated": found.repeated}


def _one(result: convert.Result) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(result)
    if result.fate == "conflict":
        shown |= Refusal("conversion_conflict").body()
    return shown
