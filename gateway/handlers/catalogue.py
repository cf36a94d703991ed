"""The catalogue over HTTP: campaigns, links, ambassadors, coupons and goals, listed, made, changed and put out of use.

    GET, POST            /api/v1/{kind}                    a page of them; a new one
    GET, PATCH, DELETE   /api/v1/{kind}/{id}               one; its change; out of use (nothing is deleted)
    GET                  /api/v1/{kind}/{id}/versions      how it was before
    POST                 /api/v1/links/batch               up to 1,000 links
    POST                 /api/v1/links/{id}/signed         its address with another target, signed, until a moment
    POST                 /api/v1/goals/{id}/token          a new postback token, answered once
    GET                  /api/v1/goals/presets             what goals may start from
    GET                  /api/v1/campaigns/{id}/snippet    code for the campaign's pages

On the collection listener the site is the host's and the API key needs the right `manage`. The admin listener has the same
below /api/admin/v1/catalogue/{site}/. A POST with an `Idempotency-Key` makes one thing however often it is sent. A change
that must not undo another's names the version it starts from, as `If-Match: "3"` or `?version=3`.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from gateway.errors import Refusal
from gateway.flows import bulk_links, campaign_snippet, cataloguing, goal_dialect, repeating, signing
from gateway.flows import catalogue_reading as reading
from gateway.handlers.admin import demand_admin
from gateway.handlers.collect import query_of
from gateway.handlers.edge import clean_text, json_answer, read_body, read_request, site_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.handlers.door import Door

__all__ = ["admin", "collection", "entry", "goals_dialect"]

PREFIX: Final = "/api/v1/"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}\Z")
_FLAGS: Final = {"true": True, "false": False}


async def collection(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET` and `POST` of `/api/v1/{kind}`."""
    return await _serve(door, request, "")


async def entry(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """What stands below `/api/v1/{kind}/`."""
    return await _serve(door, request, rest)


async def admin(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """The same below `/api/admin/v1/catalogue/{site}/{kind}`, for operators."""
    demand_admin(door, request, cookie_will_do=request.method in {"GET", "HEAD"})
    site, _, below = rest.partition("/")
    rooms = door.house.by_id.get(site)
    if rooms is None:
        raise Refusal("site_unknown")
    plural, _, below = below.partition("/")
    body = await _body(door, request)
    call = _call(door.house, rooms, request, "", body)
    return await _operate(door.house, rooms, request, plural, below, body, call)


async def goals_dialect(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET` and `POST /api/v1/conversions/goals`, in the shapes of a link tracker's guide."""
    return await _serve(door, request, "", dialect=True)


async def _serve(door: "Door", request: web.BaseRequest, rest: str, *, dialect: bool = False) -> web.StreamResponse:
    house = door.house
    begun_s = house.clock.monotonic_s()
    path, _, _ = request.raw_path.partition("?")
    plural = path.removeprefix(PREFIX).partition("/")[0]
    route = path if not rest else f"{PREFIX}{plural}/*"
    rooms = site_of(house, request)
    try:
        body = await _body(door, request)
        caller = await cataloguing.admit(house, rooms, read_request(request, door.trust, body), "manage")
        call = _call(house, rooms, request, caller, body)
        if dialect:
            answer = await _dialect(house, rooms, request, body, call)
        else:
            answer = await _operate(house, rooms, request, plural, rest, body, call)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(route, rooms.id, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(route, rooms.id, answer.status, took_ms)
    return answer


async def _body(door: "Door", request: web.BaseRequest) -> bytes:
    limits = door.house.settings.limits
    return await read_body(request, limits.batch_body_max_bytes, limits.body_timeout_s)


def _call(
    house: "House", rooms: "SiteRooms", request: web.BaseRequest, caller: str, body: bytes
) -> "repeating.Call | None":
    """What a `POST` with an Idempotency-Key is known by. Other methods may be sent again as they are."""
    given = clean_text(request.headers.get("Idempotency-Key")) if request.method == "POST" else None
    path = request.raw_path.partition("?")[0]
    return repeating.call_of(house, rooms, caller, given, path, body)


async def _dialect(
    house: "House", rooms: "SiteRooms", request: web.BaseRequest, body: bytes, call: "repeating.Call | None"
) -> web.Response:
    _only(query_of(request))
    if request.method == "POST":
        made = await goal_dialect.create_goal(house, rooms, body, call)
        return json_answer(msgspec.Raw(made), status=HTTPStatus.CREATED)
    return json_answer(msgspec.Raw(goal_dialect.list_goals(house, rooms)))


# ------------------------------------------------------------------ operations


async def _operate(
    house: "House",
    rooms: "SiteRooms",
    request: web.BaseRequest,
    plural: str,
    below: str,
    body: bytes,
    call: "repeating.Call | None",
) -> web.Response:
    """Do one operation on the catalogue of a site. Raises Refusal, StoreError."""
    kind = reading.KIND_OF.get(plural)
    if kind is None:
        raise Refusal("route_unknown")
    query = query_of(request)
    entry_id, _, word = (clean_text(below) or "").partition("/")
    match "GET" if request.method == "HEAD" else request.method, kind, entry_id, word:
        case "GET", _, "", "":
            return json_answer(await _list(house, rooms, kind, query))
        case "POST", _, "", "":
            _only(query)
            return _entry_answer(kind, await cataloguing.create(house, rooms, kind, body, call), HTTPStatus.CREATED)
        case "POST", "link", "batch", "":
            _only(query)
            return json_answer(await bulk_links.create_links(house, rooms, body, call), status=HTTPStatus.CREATED)
        case "GET", "goal", "presets", "":
            _only(query, "business")
            return json_answer(reading.presets(query.get("business")))
        case "GET", _, _, "":
            _only(query, "version")
            return _entry_answer(kind, await reading.read(house, rooms, kind, entry_id, _version(query.get("version"))))
        case "PATCH", _, _, "":
            expected = _expected(request, query)
            return _entry_answer(kind, await cataloguing.change(house, rooms, kind, entry_id, body, expected))
        case "DELETE", _, _, "":
            expected = _expected(request, query)
            return _entry_answer(kind, await cataloguing.archive(house, rooms, kind, entry_id, expected))
        case "GET", _, _, "versions":
            _only(query)
            return json_answer(await reading.history(house, rooms, kind, entry_id))
        case "POST", "link", _, "signed":
            _only(query)
            return json_answer(await signing.sign(house, rooms, entry_id, body), status=HTTPStatus.CREATED)
        case "POST", "goal", _, "token":
            _only(query)
            return _entry_answer(kind, await cataloguing.new_token(house, rooms, entry_id, call))
        case "GET", "campaign", _, "snippet":
            _only(query, "goal")
            return json_answer(await campaign_snippet.snippet(house, rooms, entry_id, query.get("goal")))
        case _:
            raise Refusal("route_unknown")


async def _list(house: "House", rooms: "SiteRooms", kind: str, query: Mapping[str, str]) -> dict[str, object]:
    _only(query, "code", "campaign_id", "ambassador_id", "archived", "after", "limit")
    limit = query.get("limit", "100")
    if _VERSION.match(limit) is None or int(limit) > reading.LIST_MAX:
        raise Refusal("field_invalid", "limit")
    archived = _FLAGS.get(query.get("archived", "false"))
    if archived is None:
        raise Refusal("field_invalid", "archived", _FLAGS)
    return await reading.listed(
        house,
        rooms,
        kind,
        code=query.get("code"),
        campaign_id=query.get("campaign_id"),
        ambassador_id=query.get("ambassador_id"),
        archived=archived,
        after_id=query.get("after", ""),
        limit=int(limit),
    )


def _entry_answer(kind: str, shown: dict[str, object], status: int = HTTPStatus.OK) -> web.Response:
    """An entry, with its version as an entity tag: what `If-Match` takes."""
    answer = json_answer(shown, status=status)
    told = shown[kind]
    if isinstance(told, dict):
        answer.headers["ETag"] = f'"{told["version"]}"'
    return answer


def _only(query: Mapping[str, str], *names: str) -> None:
    """Refuse a query that says more than is read here: a misspelt filter would show everything."""
    for name in query:
        if name not in names:
            raise Refusal("field_unknown", name if _NAME.match(name) is not None else None)


def _expected(request: web.BaseRequest, query: Mapping[str, str]) -> int | None:
    """The version a change starts from, None when it does not say. Raises Refusal `field_invalid`."""
    _only(query, "version")
    said = request.headers.get("If-Match")
    if said is None or said.strip() == "*":
        return _version(query.get("version"))
    return _version(said.strip().removeprefix('"').removesuffix('"'), "If-Match")


def _version(text: str | None, field: str = "version") -> int | None:
    if text is None:
        return None
    if _VERSION.match(text) is None:
        raise Refusal("field_invalid", field)
    return int(text)
