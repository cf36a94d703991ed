"""For pages: the tag and its bridge. The latest tag under a short life, each version under its own name for good."""

import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.errors import Refusal
from gateway.handlers.edge import site_of
from gateway.pages import tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.handlers.door import Door

__all__ = ["bridge", "latest", "versioned"]

_GZIP: Final = re.compile(r"(?:^|[,\s])(?:gzip|\*)\s*(?:$|,|;\s*q=(?:1|0?\.0*[1-9]))", re.IGNORECASE)
"""An Accept-Encoding that takes gzip: `gzip;q=0` does not."""


async def latest(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /gw.js`: the newest version, asked for again after five minutes."""
    site_of(door.house, request)
    return _script(request, tag.VERSIONS[tag.LATEST], "public, max-age=300")


async def versioned(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /gw.<version>.js`: never changes, so that its integrity hash can stand in the page."""
    return _numbered(door, request, rest, tag.VERSIONS)


async def bridge(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /gw-bridge.<version>.js`: asks consent platforms. The tag of the same version loads it where it is needed."""
    return _numbered(door, request, rest, tag.BRIDGES)


def _numbered(
    door: "Door", request: web.BaseRequest, rest: str, versions: "Mapping[str, tag.Script]"
) -> web.StreamResponse:
    site_of(door.house, request)
    version = rest.removesuffix(".js")
    if not rest.endswith(".js") or version not in versions:
        raise Refusal("route_unknown")
    return _script(request, versions[version], "public, max-age=31536000, immutable")


def _script(request: web.BaseRequest, made: tag.Script, cache: str) -> web.Response:
    headers = {
        "Cache-Control": cache,
        "ETag": f'"{made.sha384[:24]}"',
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
        "Server": "gateway",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    body = made.source
    if _GZIP.search(request.headers.get("Accept-Encoding", "")) is not None:
        body = made.gzipped
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers={**headers, "Content-Type": "text/javascript; charset=utf-8"})
