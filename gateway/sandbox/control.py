"""Reading the ledgers and injecting faults from another process: a small JSON interface on loopback.

    GET  /ledger?stand_in=meta      one ledger (`Report`), or all of them by name
    GET  /text                      everything received, as one text, secrets apart
    POST /faults                    {"stand_in", "fault": {...}, "times": 3} or {..., "always": true, "share": 0.2}
    POST /clear                     {} or {"stand_in": "meta"}; with "what": "faults" only the faults

The stand-ins keep their memory here while the gateway under test is killed and started again.
"""

from collections.abc import Mapping
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp import web

from gateway.sandbox.faults import Fault
from gateway.sandbox.ledger import Report
from gateway.sandbox.stand_in import StandIn

__all__ = ["ClearOrder", "Control", "FaultOrder", "control_app"]

_Order = TypeVar("_Order")


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One fault to inject: into the queue `times` times or, with `always`, into a `share` of all requests."""

    stand_in: str
    fault: Fault
    times: int = 1
    always: bool = False
    share: float = 1.0


class ClearOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to forget: one stand-in or all; everything or only the faults."""

    stand_in: str | None = None
    what: str = "everything"


def control_app(stand_ins: Mapping[str, StandIn]) -> web.Application:
    """The application behind the control port."""

    async def ledger(request: web.Request) -> web.Response:
        name = request.query.get("stand_in")
        if name is None:
            return _json({key: one.ledger.report() for key, one in stand_ins.items()})
        return _json(_find(stand_ins, name).ledger.report())

    async def text(_request: web.Request) -> web.Response:
        return web.Response(text="\n\n".join(one.ledger.everything_text() for one in stand_ins.values()))

    async def faults(request: web.Request) -> web.Response:
        order = await _read(request, FaultOrder)
        target = _find(stand_ins, order.stand_in).faults
        if order.always:
            target.always(order.fault, share=order.share)
        else:
            target.next(order.fault, order.times)
        return _json({"ok": True})

    async def clear(request: web.Request) -> web.Response:
        order = await _read(request, ClearOrder)
        for one in [_find(stand_ins, order.stand_in)] if order.stand_in else stand_ins.values():
            if order.what == "faults":
                one.faults.clear()
            else:
                one.clear()
        return _json({"ok": True})

    app = web.Application()
    app.router.add_get("/ledger", ledger)
    app.router.add_get("/text", text)
    app.router.add_post("/faults", faults)
    app.router.add_post("/clear", clear)
    return app


class Control:
    """The client's side, for tests whose stand-ins live in another process. Raises aiohttp.ClientError when refused."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def ledger(self, stand_in: str) -> Report:
        """The ledger of one stand-in."""
        return msgspec.json.decode(await self._call("GET", f"/ledger?stand_in={stand_in}"), type=Report)

    async def ledgers(self) -> dict[str, Report]:
        """All ledgers by name."""
        return msgspec.json.decode(await self._call("GET", "/ledger"), type=dict[str, Report])

    async def everything_text(self) -> str:
        """Everything any stand-in received."""
        return (await self._call("GET", "/text")).decode("utf-8")

    async def next_fault(self, stand_in: str, fault: Fault, times: int = 1) -> None:
        """Queue a fault."""
        await self._call("POST", "/faults", FaultOrder(stand_in=stand_in, fault=fault, times=times))

    async def always_fault(self, stand_in: str, fault: Fault, *, share: float = 1.0) -> None:
        """Show a fault to a share of all requests."""
        await self._call("POST", "/faults", FaultOrder(stand_in=stand_in, fault=fault, always=True, share=share))

    async def clear_faults(self, stand_in: str | None = None) -> None:
        """Behave again."""
        await self._call("POST", "/clear", ClearOrder(stand_in=stand_in, what="faults"))

    async def clear(self, stand_in: str | None = None) -> None:
        """Forget everything."""
        await self._call("POST", "/clear", ClearOrder(stand_in=stand_in))

    async def _call(self, method: str, path: str, body: msgspec.Struct | None = None) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.request(method, self._url + path, data=data) as response,
        ):
            return await response.read()


def _find(stand_ins: Mapping[str, StandIn], name: str) -> StandIn:
    found = stand_ins.get(name)
    if found is None:
        raise web.HTTPNotFound(text=f"no stand-in is called {name}")
    return found


async def _read(request: web.Request, shape: type[_Order]) -> _Order:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=shape)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
