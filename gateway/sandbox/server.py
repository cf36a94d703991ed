"""The HTTP side of the stand-ins: from a request to a `Call`, and from an `Answer`, or a fault, to bytes on the wire.

A request is judged in one go after its body has arrived. Where a fault is to show, this module plays it: it breaks
connections, never answers, drips, floods or stops in the middle.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.clock import Clock
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.faults import Fault
from gateway.sandbox.stand_in import StandIn

__all__ = ["vendor_app"]

_BODY_MAX_BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = b"0" * 65_536


def vendor_app(by_host: Mapping[str, StandIn], clock: Clock) -> web.Application:
    """The application behind the TLS listener: every path of every host. An unknown host is answered 421."""

    async def serve(request: web.Request) -> web.StreamResponse:
        host = request.headers.get("Host", "").partition(":")[0].lower()
        stand_in = by_host.get(host)
        if stand_in is None:
            return web.Response(status=421)
        body = await request.read()
        call = Call(
            method=request.method,
            host=host,
            path=request.path,
            at_ms=clock.now_ms(),
            query=tuple(request.rel_url.query.items()),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        fault = stand_in.meet(call)
        if fault is None:
            return _response(stand_in.answer(call))
        return await _misbehave(request, stand_in, call, fault)

    app = web.Application(client_max_size=_BODY_MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", serve)
    return app


async def _misbehave(request: web.Request, stand_in: StandIn, call: Call, fault: Fault) -> web.StreamResponse:
    answer = stand_in.answer(call) if fault.store else None
    match fault.kind:
        case "answer":
            return _response(Answer(fault.http_status, fault.body.encode(), fault.headers))
        case "headers":
            normal = answer or stand_in.answer(call)
            return _response(Answer(normal.status, normal.body, normal.headers | fault.headers))
        case "delay":
            await asyncio.sleep(fault.seconds)
            return _response(answer or stand_in.answer(call))
        case "black_hole":
            await asyncio.Event().wait()
        case "slow_body":
            return await _drip(request, answer or Answer(200, b" " * 1000), fault.seconds)
        case "cut_body":
            return await _cut(request, answer or Answer(200, b" " * 1000))
        case "endless_body" | "huge_body":
            return await _flood(request, fault.size if fault.kind == "huge_body" else None)
        case "drop" | "tls_close":
            pass
    return _break(request)


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body or None, headers=answer.headers)


def _break(request: web.Request) -> web.Response:
    """Break the connection: no answer, no closing words. What is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _drip(request: web.Request, answer: Answer, seconds: float) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    body = answer.body or b" "
    response.content_length = len(body)
    await response.prepare(request)
    for index in range(len(body)):
        await asyncio.sleep(seconds)
        await response.write(body[index : index + 1])
    return response


async def _cut(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    body = answer.body or b"    "
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.05)  # let the half leave before the connection breaks
    _break(request)
    return response


async def _flood(request: web.Request, size: int | None) -> web.StreamResponse:
    """A body of `size` bytes, or one that ends only when the caller does."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if size is not None:
        response.content_length = size
    await response.prepare(request)
    sent = 0
    while size is None or sent < size:
        chunk = _CHUNK if size is None else _CHUNK[: size - sent]
        await response.write(chunk)
        sent += len(chunk)
        # Writing to a connection that has just broken neither fails nor waits, and without this pause the loop would
        # never learn of the break: it filled 24 GB of memory in a minute.
        await asyncio.sleep(0)
    return response
