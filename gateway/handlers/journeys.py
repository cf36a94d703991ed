"""For those who ask why: conversions page by page, the journey of one, and conversions that are decided anew."""

from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from gateway.errors import Refusal
from gateway.flows import cataloguing, journey, journey_list
from gateway.handlers.admin import demand_admin
from gateway.handlers.collect import query_of
from gateway.handlers.edge import json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flows.house import House, SiteRooms
    from gateway.handlers.door import Door

__all__ = ["admin_listed", "admin_show", "listed", "recompute", "show"]

BODY_MAX: Final = 4_096
SHOW_ASKED: Final = frozenset({"version", "model"})
AGAIN_ASKED: Final = frozenset({"site", "goal", "from", "to", "conversion", "after"})


async def listed(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/conversions`: conversions of a time with the touch that won; the key needs the right `reports`."""
    return await _answer(door, request, "/api/v1/conversions", None)


async def show(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/conversions/{id}`: one conversion with everything that led to it; the right `reports`."""
    return await _answer(door, request, "/api/v1/conversions/*", rest)


async def _answer(door: "Door", request: web.BaseRequest, route: str, conversion_id: str | None) -> web.StreamResponse:
    """Let the caller in, then answer a list, or one conversion."""
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms = site_of(house, request)
    try:
        await cataloguing.admit(house, rooms, read_request(request, door.trust, b""), "reports")
        query = query_of(request)
        if conversion_id is None:
            found = await journey_list.listed(house, rooms, query)
        else:
            found = await _shown(house, conversion_id, rooms.id, query)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(route, rooms.id, error)
    answer = json_answer(found)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(route, rooms.id, answer.status, took_ms)
    return answer


async def admin_listed(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/conversions?site=`."""
    demand_admin(door, request)
    query = query_of(request)
    rooms = _site(door.house, query.pop("site", None))
    return json_answer(await journey_list.listed(door.house, rooms, query))


async def admin_show(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/conversions/{id}`."""
    demand_admin(door, request)
    query = query_of(request)
    return json_answer(await _shown(door.house, rest, query.pop("site", None), query))


async def _shown(house: "House", conversion_id: str, site: str | None, query: "Mapping[str, str]") -> dict[str, object]:
    for name in query:
        if name not in SHOW_ASKED:
            raise Refusal("field_unknown")
    version = query.get("version")
    if version is not None and not (version.isascii() and version.isdigit() and 0 < int(version[:9]) < 10**8):
        raise Refusal("field_invalid", "version")
    counted = await journey.find(house, conversion_id, site)
    return await journey.journey(
        house, counted, version=int(version) if version is not None else None, model=query.get("model")
    )


async def recompute(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/attribution/recompute`: one conversion, or one portion of those of a goal and time, anew."""
    demand_admin(door, request, cookie_will_do=False)
    body = await read_body(request, BODY_MAX, door.house.settings.limits.body_timeout_s)
    try:
        found = msgspec.json.decode(body or b"{}", type=dict[str, str])
    except msgspec.ValidationError:
        raise Refusal("field_type") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("json_invalid") from None
    if not found.keys() <= AGAIN_ASKED:
        raise Refusal("field_unknown")
    rooms = _site(door.house, found.pop("site", None))
    conversion_id, after = found.pop("conversion", None), found.pop("after", None)
    return json_answer(await journey_list.recompute(door.house, rooms, found, conversion_id=conversion_id, after=after))


def _site(house: "House", site: str | None) -> "SiteRooms":
    """The site that is named; where there is only one, none need be. Raises Refusal `site_unknown`, `field_missing`."""
    if site is None:
        if len(house.by_id) > 1:
            raise Refusal("field_missing", "site")
        site = next(iter(house.by_id))
    rooms = house.by_id.get(site)
    if rooms is None:
        raise Refusal("site_unknown", "site")
    return rooms
