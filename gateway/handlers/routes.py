"""Every route, a line each; and the small router that finds them.

The low-level server of aiohttp is used instead of its Application: paths are few, most are exact, and a page view costs a
fifth less. A path is compared as it was written on the wire: nothing is decoded before it is known to be ours.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from gateway.handlers import (
    admin,
    api,
    catalogue,
    choice,
    collect,
    health,
    hooks,
    journeys,
    privacy,
    redirect,
    reports,
    snippet,
    spend,
    track,
    upload,
)

if TYPE_CHECKING:
    from gateway.handlers.door import Door

__all__ = ["ADMIN", "COLLECTION", "CONTROL", "LINK_HOST", "Handler", "Route", "Table"]

Handler = Callable[["Door", web.BaseRequest, str], Awaitable[web.StreamResponse]]
"""Takes the door, the request and what stands behind the route's prefix."""


class Route(msgspec.Struct, frozen=True):
    """One route. A path ending in `*` is a prefix; what stands in place of the star goes to the handler."""

    method: str
    path: str
    handler: Handler


class Table:
    """Routes by path. Answers a handler, or the methods that would be allowed."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._prefixes: list[tuple[str, dict[str, Route]]] = []
        for route in routes:
            if route.path.endswith("*"):
                prefix = route.path[:-1]
                methods = next((found for known, found in self._prefixes if known == prefix), None)
                if methods is None:
                    methods = {}
                    self._prefixes.append((prefix, methods))
                methods[route.method] = route
            else:
                self._exact.setdefault(route.path, {})[route.method] = route
        self._prefixes.sort(key=lambda pair: -len(pair[0]))

    def find(self, path: str) -> tuple[dict[str, Route] | None, str]:
        """Return the routes at a path by method, and what stands behind the prefix."""
        found = self._exact.get(path)
        if found is not None:
            return found, ""
        for prefix, methods in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods, path[len(prefix) :]
        return None, ""


_KINDS: Final = ("campaigns", "links", "ambassadors", "coupons", "goals")
_CATALOGUE: Final = (
    *(Route(method, f"/api/v1/{kind}", catalogue.collection) for kind in _KINDS for method in ("GET", "POST")),
    *(
        Route(method, f"/api/v1/{kind}/*", catalogue.entry)
        for kind in _KINDS
        for method in ("GET", "POST", "PATCH", "DELETE")
    ),
    Route("GET", "/api/v1/conversions/goals", catalogue.goals_dialect),
    Route("POST", "/api/v1/conversions/goals", catalogue.goals_dialect),
)
"""What operators set up, for callers with the right `manage`."""

COLLECTION: Final = (
    Route("POST", "/collect", collect.collect),
    Route("OPTIONS", "/collect", collect.preflight),
    Route("GET", "/p.gif", collect.pixel),
    Route("GET", "/gw.js", snippet.latest),
    Route("GET", "/gw.*", snippet.versioned),
    Route("GET", "/gw-bridge.*", snippet.bridge),
    Route("GET", "/link", collect.link),
    Route("GET", "/l/*", redirect.on_site),
    Route("GET", "/L/*", redirect.on_site),  # QR codes take capitals in fewer modules
    Route("GET", "/consent", choice.read),
    Route("POST", "/consent", choice.record),
    Route("OPTIONS", "/consent", collect.preflight),
    Route("GET", "/privacy", privacy.page),
    Route("POST", "/privacy", privacy.change),
    Route("GET", "/privacy.css", privacy.style),
    Route("GET", "/.well-known/gpc.json", privacy.gpc_statement),
    Route("POST", "/api/v1/events", api.events),
    Route("POST", "/api/v1/conversions", api.conversions),
    Route("POST", "/api/v1/conversions/batch", api.conversions),
    Route("POST", "/api/v1/conversions/*", track.adjust),
    Route("POST", "/api/v1/conversions/track", track.posted_with_token),
    Route("OPTIONS", "/api/v1/conversions/track", track.preflight),
    Route("POST", "/api/conversions/track/*", track.posted),
    Route("GET", "/api/conversions/track/*", track.image),
    Route("OPTIONS", "/api/conversions/track/*", track.preflight),
    Route("POST", "/api/v1/uploads", upload.uploads),
    Route("POST", "/api/v1/spend", spend.put),
    Route("GET", "/api/v1/spend", spend.spend),
    Route("GET", "/api/v1/conversions", journeys.listed),
    Route("GET", "/api/v1/conversions/*", journeys.show),
    Route("GET", "/api/v1/reports/*", reports.report),
    Route("GET", "/api/v1/exports/*", reports.export),
    Route("GET", "/api/v1/analytics/conversions", reports.metrics),
    *_CATALOGUE,
    Route("POST", "/webhooks/*", hooks.webhook),
    Route("GET", "/numbers.json", hooks.numbers),
    Route("GET", "/api/v1/abandoned", hooks.abandoned),
)
"""The public listener."""

LINK_HOST: Final = (Route("GET", "/*", redirect.on_link_host),)
"""The public listener where the Host is a link host of a site."""

ADMIN: Final = (
    Route("GET", "/", admin.status_page),
    Route("GET", "/status.css", admin.style),
    Route("POST", "/login", admin.login),
    Route("GET", "/healthz", health.alive),
    Route("GET", "/readyz", health.ready),
    Route("GET", "/metrics", health.metrics),
    Route("GET", "/api/admin/v1/status", admin.status),
    Route("GET", "/api/admin/v1/check", admin.check),
    Route("GET", "/api/admin/v1/events/*", admin.explain),
    Route("GET", "/api/admin/v1/dead", admin.dead),
    Route("POST", "/api/admin/v1/replay", admin.replay),
    Route("GET", "/api/admin/v1/keys", admin.keys),
    Route("POST", "/api/admin/v1/keys", admin.create_key),
    Route("POST", "/api/admin/v1/keys/*", admin.change_key),
    Route("POST", "/api/admin/v1/uploads", upload.operator_uploads),
    Route("POST", "/api/admin/v1/spend", spend.operator_put),
    Route("GET", "/api/admin/v1/spend", spend.operator_spend),
    Route("GET", "/api/admin/v1/notifications/*", track.secret),
    Route("GET", "/api/admin/v1/conversions", journeys.admin_listed),
    Route("GET", "/api/admin/v1/conversions/*", journeys.admin_show),
    Route("POST", "/api/admin/v1/attribution/recompute", journeys.recompute),
    Route("GET", "/api/admin/v1/reports/*", reports.admin_report),
    Route("GET", "/api/admin/v1/exports/*", reports.admin_export),
    Route("GET", "/api/admin/v1/catalogue/*", catalogue.admin),
    Route("POST", "/api/admin/v1/catalogue/*", catalogue.admin),
    Route("PATCH", "/api/admin/v1/catalogue/*", catalogue.admin),
    Route("DELETE", "/api/admin/v1/catalogue/*", catalogue.admin),
)
"""The admin listener: loopback by default, everything but health needs the admin token."""

CONTROL: Final = ADMIN
"""The control socket: the same operations for commands on this machine, guarded by the file's mode."""
