"""For machines: is the process alive, should it get requests, what do its metrics say."""

from typing import TYPE_CHECKING

from aiohttp import web

from gateway.flows import report
from gateway.handlers.admin import demand_admin
from gateway.handlers.edge import json_answer
from gateway.telemetry import METRICS_TYPE

if TYPE_CHECKING:
    from gateway.handlers.door import Door

__all__ = ["alive", "metrics", "ready"]


async def alive(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /healthz`: the process runs and its loop turns."""
    return json_answer({"alive": True})


async def ready(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /readyz`: 200 when requests are welcome, else 503 with the reasons."""
    reasons = report.ready(door.house)
    return json_answer({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


async def metrics(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /metrics`: Prometheus text, with the admin token as bearer."""
    demand_admin(door, request)
    await report.status(door.house, limit=1)
    body = door.house.telemetry.metrics()
    return web.Response(
        body=body, headers={"Content-Type": METRICS_TYPE, "Cache-Control": "no-store", "Server": "gateway"}
    )
