"""Reports and exports: for programs with an API key that may read them, and for the operator.

    GET /api/v1/reports/{name}                  GET /api/admin/v1/reports/{site}/{name}
    GET /api/v1/exports/{name}                  GET /api/admin/v1/exports/{site}/{name}
    GET /api/v1/analytics/conversions

Parameters are read strictly: an unknown or repeated one is refused. `format` is `json`, `csv` or `jsonl` for reports and
`csv` or `jsonl` for exports, which are streamed: nothing says how long they are, and one that is cut off ends without its
last chunk.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.errors import GatewayError, Refusal
from gateway.flows import reports
from gateway.flows.report_texts import csv_of, jsonl_of
from gateway.handlers.admin import demand_admin
from gateway.handlers.edge import clean_text, json_answer, read_request, site_of

if TYPE_CHECKING:
    from gateway.flows.house import SiteRooms
    from gateway.handlers.door import Door

__all__ = ["admin_export", "admin_report", "export", "metrics", "report"]

Answer = Callable[["Door", web.BaseRequest, "SiteRooms", str], Awaitable[web.StreamResponse]]
"""Answers one request of a site for a report or export of a name."""

_TYPES: Final = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_PARAMETERS_MAX: Final = 30
_PIECE: Final = 65_536
"""Bytes of rows that are sent together."""


async def report(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/reports/{name}`."""
    return await _keyed(door, request, "/api/v1/reports/*", rest, _report)


async def export(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/exports/{name}`."""
    return await _keyed(door, request, "/api/v1/exports/*", rest, _export)


async def metrics(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/analytics/conversions?link_id=&days=`: in the shape of a link tracker's guide."""
    return await _keyed(door, request, "/api/v1/analytics/conversions", rest, _metrics)


async def admin_report(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/reports/{site}/{name}`."""
    demand_admin(door, request)
    rooms, name = _site(door, rest)
    return await _report(door, request, rooms, name)


async def admin_export(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/exports/{site}/{name}`."""
    demand_admin(door, request)
    rooms, name = _site(door, rest)
    return await _export(door, request, rooms, name)


# ------------------------------------------------------------------ who asks, and for what


async def _keyed(door: "Door", request: web.BaseRequest, route: str, name: str, answer: "Answer") -> web.StreamResponse:
    """Let the key in, answer, and write the request's line."""
    house = door.house
    begun_s = house.clock.monotonic_s()
    rooms = site_of(house, request)
    try:
        reports.allow(house, rooms, read_request(request, door.trust, b""))
        response = await answer(door, request, rooms, name)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(route, rooms.id, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(route, rooms.id, response.status, took_ms)
    return response


def _site(door: "Door", rest: str) -> "tuple[SiteRooms, str]":
    site, _, name = rest.partition("/")
    rooms = door.house.by_id.get(site)
    if rooms is None:
        raise Refusal("site_unknown")
    return rooms, name


def _query(request: web.BaseRequest) -> dict[str, str]:
    """The query as clean texts. Raises Refusal: a parameter that is said twice could mean either."""
    raw = clean_text(request.raw_path.partition("?")[2]) or ""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX, errors="replace")
    except ValueError:
        raise Refusal("fields_too_many") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Refusal("field_invalid", name if name.isidentifier() and name.isascii() and len(name) <= 40 else None)
        found[name] = value
    return found


def _format(query: dict[str, str], formats: tuple[str, ...]) -> str:
    chosen = query.pop("format", formats[0])
    if chosen not in formats:
        raise Refusal("field_invalid", "format", formats)
    return chosen


# ------------------------------------------------------------------ answers


async def _report(door: "Door", request: web.BaseRequest, rooms: "SiteRooms", name: str) -> web.StreamResponse:
    query = _query(request)
    chosen = _format(query, ("json", "csv", "jsonl"))
    found = await reports.report(door.house, rooms, name, query)
    if chosen == "json":
        return json_answer(found)
    body = b"".join(csv_of(found) if chosen == "csv" else jsonl_of(found))
    return web.Response(body=body, headers=_headers(f"{name}.{chosen}", chosen))


async def _export(door: "Door", request: web.BaseRequest, rooms: "SiteRooms", name: str) -> web.StreamResponse:
    query = _query(request)
    chosen = _format(query, ("csv", "jsonl"))
    lines = await reports.export(door.house, rooms, name, query, csv=chosen == "csv")
    response = web.StreamResponse(headers=_headers(f"{name}.{chosen}", chosen))
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await _stream(response, lines)
    except (GatewayError, ConnectionError) as error:
        # The head is out: only an answer that ends in the middle can say that rows are missing.
        door.house.telemetry.warned("export_cut_off", site=rooms.id, export=name, kind=type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _stream(response: web.StreamResponse, lines: AsyncIterator[bytes]) -> None:
    held: list[bytes] = []
    size = 0
    async for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            await response.write(b"".join(held))
            held, size = [], 0
    if held:
        await response.write(b"".join(held))


async def _metrics(door: "Door", request: web.BaseRequest, rooms: "SiteRooms", name: str) -> web.StreamResponse:
    body = await reports.link_metrics(door.house, rooms, _query(request))
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "gateway"}
    return web.Response(body=body, content_type="application/json", headers=headers)


def _headers(file_name: str, chosen: str) -> dict[str, str]:
    """A file to keep: its name is one of ours, and no browser may take it for a page."""
    return {
        "Content-Type": f"{_TYPES[chosen]}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Server": "gateway",
    }
