"""The door: one listener with its routes, its limits and its connections.

`Door.answer` is the handler of aiohttp's low-level server. It finds the route, calls the handler, and turns whatever goes
wrong into the one kind of answer a caller gets. `Listener` makes the connections and watches their clocks.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11

from gateway.errors import Refusal
from gateway.handlers.edge import ProxyTrust, link_rooms, problem_answer, refusal_of
from gateway.handlers.fast import FastConnection
from gateway.handlers.fast import usable as fast_lane_usable
from gateway.handlers.fast_links import LinkRequest
from gateway.handlers.fast_views import Hit
from gateway.handlers.watch import WatchedConnection

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.handlers.fast import Exchange
    from gateway.handlers.routes import Table

__all__ = ["Door", "Listener"]

LINE_MAX: Final = 8_192
FIELD_MAX: Final = 16_384
HEADERS_MAX: Final = 100
SWEEP_S: Final = 1.0
_PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: they have no line in the log."""
_LANES: Final[dict[str, "type[Exchange]"]] = {"POST": Hit, "GET": LinkRequest}
"""What the fast lane answers, by method."""


class Door:
    """One listener: `table` has its routes, `admin` and `control` say who may come in.

    `links` are the routes of hosts that serve links and nothing else.
    """

    def __init__(
        self,
        house: "House",
        table: "Table",
        *,
        links: "Table | None" = None,
        admin_token: str | None = None,
        control: bool = False,
    ) -> None:
        self.house = house
        self.table = table
        self.links = links if house.by_link_host else None
        self.trust = ProxyTrust(house.settings.proxy, house.settings.places)
        self.admin_token = admin_token
        self.control = control
        self._tells = control or admin_token is not None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens."""
        begun_s = self.house.clock.monotonic_s()
        path, _, _ = request.raw_path.partition("?")
        route = "unknown"
        try:
            if request.version not in (HttpVersion11, HttpVersion10) or not path.startswith("/"):
                raise Refusal("host_unknown" if "://" in path else "request_malformed")
            only_links = self.links is not None and link_rooms(self.house, request.headers.get("Host", "")) is not None
            methods, rest = (self.links if self.links is not None and only_links else self.table).find(path)
            if methods is None:
                raise Refusal("route_unknown")
            found = methods.get(request.method) or (methods.get("GET") if request.method == "HEAD" else None)
            if found is None:
                if only_links:
                    raise Refusal("route_unknown")
                return self._not_allowed(methods)
            route = found.path
            expect = request.headers.get("Expect")
            if expect is not None and expect.lower() != "100-continue":
                raise Refusal("request_malformed")
            response = await found.handler(self, request, rest)
            if self._tells and route not in _PROBES:
                took_ms = int((self.house.clock.monotonic_s() - begun_s) * 1000)
                self.house.telemetry.request_answered(route, None, response.status, took_ms)
            return response
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: no caller ever sees a traceback
            return self.refuse(route, None, error)

    def refuse(
        self, route: str, site: "str | None", error: Exception, headers: Any = None, status: int | None = None
    ) -> web.Response:
        """Answer a refusal, and write its line. `status` is what is really answered, where that is something else."""
        refusal = refusal_of(error)
        if refusal.code == "internal":
            self.house.telemetry.request_failed(route, type(error).__name__)
        response = problem_answer(refusal, headers=headers)
        if refusal.code != "internal":
            self.house.telemetry.request_refused(route, site, refusal.code, refusal.field, status or response.status)
        return response

    def _not_allowed(self, methods: "dict[str, Any]") -> web.Response:
        response = self.refuse(next(iter(methods.values())).path, None, Refusal("method_not_allowed"))
        response.headers["Allow"] = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
        return response


class Listener(web.Server):
    """aiohttp's low-level server with limits on sizes, times and the number of connections."""

    def __init__(self, door: Door, *, fast: bool = False) -> None:
        limits = door.house.settings.limits
        super().__init__(
            door.answer,
            keepalive_timeout=limits.keepalive_s,
            max_line_size=LINE_MAX,
            max_field_size=FIELD_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            lingering_time=0,
            access_log=None,
        )
        self.door = door
        self.lanes = _LANES
        self._limits = limits
        self._fast = fast and fast_lane_usable()
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        if self._sweeper is None:
            self._sweep()
        kind = FastConnection if self._fast else WatchedConnection
        return kind(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, or close it when there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._limits.connections_max:
            handler.force_close()

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for connection in self.connections:
            if isinstance(connection, WatchedConnection):
                connection.cut_if_slow(now_s, self._limits.header_timeout_s)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the name is aiohttp's
        """Let running requests finish, then close."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await super().shutdown(timeout)
