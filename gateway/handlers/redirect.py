"""Links over HTTP: `/l/SLUG` on the hosts of a site, `/SLUG` on its link hosts.

    SLUG                    the redirect
    SLUG+                   where the link leads
    SLUG/qr.svg, qr.png     its address as a QR code
    -/SLUG?to=&exp=&sig=    the redirect to a signed target

People read what is answered, so refusals are pages too. All answers keep out of search engines, and all but the QR code out
of caches. A path is compared as written; nothing of it is decoded but the slug.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import Refusal
from gateway.flows import click, opening
from gateway.flows.addresses import SIGNED_PATH, read_signed
from gateway.handlers.collect import query_of
from gateway.handlers.edge import link_rooms, read_request, refusal_of, site_of
from gateway.pages import links as view
from gateway.pages.privacy import language_for

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from gateway.catalogue import Link
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Request
    from gateway.handlers.door import Door

__all__ = ["HEADERS", "on_link_host", "on_site", "open_or_show", "own_lines", "refused_page", "shown_page"]

ROUTE: Final = "/l/*"
_QR: Final = frozenset(opening.QR_KINDS)
HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Robots-Tag", "noindex"),
    ("X-Content-Type-Options", "nosniff"),
    ("Server", "gateway"),
)
_PAGE_HEADERS: Final = (
    *HEADERS,
    ("Content-Security-Policy", view.POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)
_QR_CACHE: Final = "public, max-age=3600"


async def on_site(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /l/...`."""
    try:
        rooms = site_of(door.house, request)
    except Refusal as error:
        return door.refuse(ROUTE, None, error)
    return await _answer(door, rooms, request, rest)


async def on_link_host(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`GET /...` on a link host."""
    rooms = link_rooms(door.house, request.headers.get("Host", ""))
    if rooms is None:
        raise Refusal("host_unknown")
    return await _answer(door, rooms, request, rest)


async def _answer(door: "Door", rooms: "SiteRooms", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    try:
        received = read_request(request, door.trust, b"")
        query = request.raw_path.partition("?")[2]
        if rest.startswith(SIGNED_PATH):
            return await _signed(door, rooms, received, rest.removeprefix(SIGNED_PATH), query)
        slug, _, leaf = rest.partition("/")
        if leaf in _QR:
            return await _picture(door, rooms, request, received, slug, leaf)
        if leaf:
            raise Refusal("link_unknown")
        if slug.endswith(("+", "%2B", "%2b")):
            return await _lead(door, rooms, request, received, slug[: -1 if slug.endswith("+") else -3])
        return await _redirect(door, rooms, request, received, slug, query)
    except Exception as error:  # noqa: BLE001 - a person reads the answer, so it is a page too
        return refused_page(door, rooms, request.headers, error)


async def _redirect(
    door: "Door", rooms: "SiteRooms", request: web.BaseRequest, received: "Request", slug: str, query: str
) -> web.Response:
    link = await opening.find(door.house, rooms, received, slug)
    shown, opened = open_or_show(door, rooms, received, link, query)
    found = await opened
    return shown_page(rooms, request.headers, shown) if shown is not None else _found(found)


def open_or_show(
    door: "Door", rooms: "SiteRooms", received: "Request", link: "Link", query: str
) -> "tuple[opening.Shown | None, asyncio.Future[click.Opened]]":
    """Open a link for a request; the first is set where the request is shown words of the link instead of the redirect."""
    shown = None
    if link.preview is not None:
        shown = opening.preview(rooms, received, link, query, door.house.clock.now_ms())
    return shown, click.open_link(door.house, rooms, received, link, query)


async def _signed(door: "Door", rooms: "SiteRooms", received: "Request", slug: str, query: str) -> web.Response:
    signed = read_signed(door.house, rooms, slug.lower(), query, door.house.clock.now_ms())
    link = await opening.find(door.house, rooms, received, slug)
    return _found(await click.open_link(door.house, rooms, received, link, query, signed))


async def _lead(
    door: "Door", rooms: "SiteRooms", request: web.BaseRequest, received: "Request", slug: str
) -> web.Response:
    door.house.limit_browser(rooms.id, received.address)
    link = await opening.find(door.house, rooms, received, slug)
    opening.demand_unexpired(link, door.house.clock.now_ms())
    shown = opening.shown(rooms, received, link)
    privacy = f"https://{rooms.site.hosts[0]}/privacy"
    return _page(view.lead_page(shown, language=_language(rooms, request.headers), privacy=privacy))


async def _picture(
    door: "Door", rooms: "SiteRooms", request: web.BaseRequest, received: "Request", slug: str, kind: str
) -> web.Response:
    door.house.limit_browser(rooms.id, received.address)
    link = await opening.find(door.house, rooms, received, slug)
    opening.demand_unexpired(link, door.house.clock.now_ms())
    asked = query_of(request)
    picture = await asyncio.to_thread(
        opening.picture, rooms, received, link, kind, asked.get("level", ""), asked.get("scale", "")
    )
    headers = CIMultiDict(HEADERS)
    headers["Cache-Control"] = _QR_CACHE
    headers["ETag"] = picture.tag
    headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    if picture.tag in [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=picture.body, content_type=picture.content_type, headers=headers)


# ------------------------------------------------------------------ answers


def _found(opened: click.Opened) -> web.Response:
    return web.Response(status=302, headers=CIMultiDict((*HEADERS, *own_lines(opened))))


def own_lines(opened: click.Opened) -> list[tuple[str, str]]:
    """Headers of one redirect, without those that all have."""
    lines = [("Location", opened.location)]
    if opened.no_referrer:
        lines.append(("Referrer-Policy", "no-referrer"))
    if opened.cookies:
        lines += [("Set-Cookie", cookie) for cookie in opened.cookies]
    return lines


def _page(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)


def shown_page(rooms: "SiteRooms", headers: "CIMultiDictProxy[str]", shown: opening.Shown) -> web.Response:
    """What an unfurler is shown, in the language of the request's headers."""
    return _page(view.preview_page(shown, language=_language(rooms, headers)))


def refused_page(door: "Door", rooms: "SiteRooms", headers: "CIMultiDictProxy[str]", error: Exception) -> web.Response:
    """The page that says why a link does not open, in the language of the request's headers. Writes the refusal's line."""
    refused = door.refuse(ROUTE, rooms.id, error)
    response = _page(view.problem_page(refusal_of(error).code, language=_language(rooms, headers)), refused.status)
    if "Retry-After" in refused.headers:
        response.headers["Retry-After"] = refused.headers["Retry-After"]
    return response


def _language(rooms: "SiteRooms", headers: "CIMultiDictProxy[str]") -> str:
    return language_for(headers.get("Accept-Language"), rooms.site.language)
