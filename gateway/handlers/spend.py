"""For what was spent: taken as CSV or JSON, listed as either.

    POST /api/v1/spend            a JSON list, or CSV with the same columns; a wrong row refuses all of it
    GET  /api/v1/spend?from=&to=  days as YYYY-MM-DD, both included; `Accept: text/csv` for a table

A refusal for wrong rows is the usual one, of the first of them, with `rows` beside it: every wrong one by line, column and
code. With `Accept: text/csv` it is the file of errors.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import spending
from gateway.handlers.admin import demand_admin
from gateway.handlers.collect import query_of
from gateway.handlers.edge import json_answer, read_body, read_request, site_of
from gateway.handlers.upload import site_chosen
from gateway.pages.tables import ErrorFile, csv_lines

if TYPE_CHECKING:
    from gateway.flows.house import SiteRooms
    from gateway.handlers.door import Door

__all__ = ["operator_put", "operator_spend", "put", "spend"]

_PATH: Final = "/api/v1/spend"
_KINDS: Final = frozenset({"text/csv", "text/tab-separated-values", "application/json"})


async def put(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/spend`."""
    house, site = door.house, None
    begun_s = house.clock.monotonic_s()
    try:
        rooms = site_of(house, request)
        site = rooms.id
        body = await _body(door, request)
        spending.allow(house, rooms, read_request(request, door.trust, body))
        spent, answer = await _taken(door, request, rooms, body)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(_PATH, site, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    if spent.problems:
        problem = spent.problems[0]
        door.refuse(_PATH, site, Refusal(problem.code, _field(problem)), status=answer.status)
    else:
        house.telemetry.request_answered(_PATH, site, answer.status, took_ms, rows=spent.rows, changed=spent.changed)
    return answer


async def operator_put(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/spend?site=`: the same for operators."""
    demand_admin(door, request, cookie_will_do=False)
    rooms = site_chosen(door.house, query_of(request).get("site"))
    _, answer = await _taken(door, request, rooms, await _body(door, request))
    return answer


async def spend(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/v1/spend`."""
    house, site = door.house, None
    begun_s = house.clock.monotonic_s()
    try:
        rooms = site_of(house, request)
        site = rooms.id
        spending.allow(house, rooms, read_request(request, door.trust, b""))
        answer = await _listed(door, request, rooms)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return door.refuse(_PATH, site, error)
    took_ms = int((house.clock.monotonic_s() - begun_s) * 1000)
    house.telemetry.request_answered(_PATH, site, answer.status, took_ms)
    return answer


async def operator_spend(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /api/admin/v1/spend?site=`: the same for operators."""
    demand_admin(door, request)
    return await _listed(door, request, site_chosen(door.house, query_of(request).get("site")))


async def _body(door: "Door", request: web.BaseRequest) -> bytes:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise Refusal("content_type_unsupported", "Content-Type")
    settings = door.house.settings
    return await read_body(request, settings.uploads.spend_max_bytes, settings.limits.body_timeout_s)


async def _taken(
    door: "Door", request: web.BaseRequest, rooms: "SiteRooms", body: bytes
) -> tuple[spending.Spent, web.Response]:
    spent = await spending.take(door.house, rooms, body)
    if not spent.problems:
        return spent, json_answer({"rows": spent.rows, "changed": spent.changed})
    if _wants_csv(request):
        file = ErrorFile()
        lines = [file.add(each.line, each.column, each.code, each.last_line) for each in spent.problems]
        return spent, _csv(b"".join(lines), "spend-errors.csv", HTTPStatus.BAD_REQUEST)
    first = spent.problems[0]
    rows = [{"line": each.line, "column": each.column, "code": each.code} for each in spent.problems]
    return spent, json_answer(
        {**Refusal(first.code, _field(first)).body(), "rows": rows}, status=HTTPStatus.BAD_REQUEST
    )


def _field(problem: spending.SpendProblem) -> str:
    return f"line {problem.line}" if problem.column is None else f"line {problem.line}: {problem.column}"


async def _listed(door: "Door", request: web.BaseRequest, rooms: "SiteRooms") -> web.Response:
    query = query_of(request)
    begin, upto = spending.read_days(door.house, query.get("from"), query.get("to"))
    rows = await spending.listed(door.house, rooms, begin, upto)
    if _wants_csv(request):
        return _csv(b"".join(csv_lines(spending.COLUMNS, rows, ("amount",))), "spend.csv", HTTPStatus.OK)
    return json_answer({"spend": [dict(zip(spending.COLUMNS, row, strict=True)) for row in rows]})


def _wants_csv(request: web.BaseRequest) -> bool:
    return "text/csv" in request.headers.get("Accept", "").lower()


def _csv(body: bytes, name: str, status: int) -> web.Response:
    headers = CIMultiDict[str](
        (
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Server", "gateway"),
            ("Content-Disposition", f'attachment; filename="{name}"'),
        )
    )
    return web.Response(body=body, status=status, headers=headers, content_type="text/csv", charset="utf-8")
