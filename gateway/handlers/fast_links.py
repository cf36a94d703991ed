"""Links in the fast lane: what `handlers.redirect` does for a slug by itself, with the redirect as bytes.

Everything else that can be asked of a link (where it leads, its QR code, a signed target, a slug with escapes) goes aiohttp's
own way, and so does every other method.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp.helpers import rfc822_formatted_time

from gateway.errors import Refusal
from gateway.flows import opening
from gateway.handlers import redirect
from gateway.handlers.edge import link_rooms, request_of, site_named
from gateway.handlers.fast import written
from gateway.handlers.routes import COLLECTION

if TYPE_CHECKING:
    from typing import Self

    from gateway.catalogue import Link
    from gateway.flows.click import Opened
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Request
    from gateway.handlers.door import Door
    from gateway.handlers.fast import FastConnection

__all__ = ["LinkRequest"]

_PREFIXES: Final = tuple(route.path[:-1] for route in COLLECTION if route.handler is redirect.on_site)
_SLUG: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class LinkRequest:
    """One `GET` of a link in hand."""

    __slots__ = ("_connection", "_door", "_finding", "_message", "_received", "_rooms", "_shown", "_slug")

    def __init__(self, door: "Door", connection: "FastConnection", message: Any, rooms: "SiteRooms", slug: str) -> None:
        self._door = door
        self._connection = connection
        self._message = message
        self._rooms = rooms
        self._slug = slug
        self._received: Request | None = None
        self._shown: opening.Shown | None = None
        self._finding: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, door: "Door", connection: "FastConnection", message: Any) -> "Self | None":
        """Take the request of a slug in hand, on a host of a site or on a link host."""
        path = message.path.partition("?")[0]
        host = message.headers.get("Host", "")
        rooms = link_rooms(door.house, host) if door.links is not None else None
        if rooms is not None:
            slug = path[1:]
        else:
            for prefix in _PREFIXES:
                if path.startswith(prefix):
                    break
            else:
                return None
            slug = path[len(prefix) :]
            try:
                rooms = site_named(door.house, host)
            except Refusal:
                return None
        return cls(door, connection, message, rooms, slug) if _SLUG.match(slug) is not None else None

    def take(self, body: bytes) -> None:
        """Find the link and open it; the answer is written once the click is durable."""
        try:
            house, rooms, message = self._door.house, self._rooms, self._message
            self._received = received = request_of(
                "GET", message.path, message.headers, self._connection.peer, self._door.trust, b""
            )
            folded = opening.looked_up(house, rooms, received, self._slug)
            link = house.shelves[rooms.id].held_link(folded)
            if link is None:
                self._finding = asyncio.get_running_loop().create_task(self._find(received, folded))
            else:
                self._open(received, opening.in_use(house, rooms, received, folded, link))
        except Exception as error:  # noqa: BLE001 - the same last resort as in Door.answer
            self._refuse(error)

    async def _find(self, received: "Request", folded: str) -> None:
        house, rooms = self._door.house, self._rooms
        try:
            link = await house.shelves[rooms.id].link(folded)
            self._open(received, opening.in_use(house, rooms, received, folded, link))
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._refuse(error)

    def _open(self, received: "Request", link: "Link") -> None:
        query = self._message.path.partition("?")[2]
        self._shown, opened = redirect.open_or_show(self._door, self._rooms, received, link, query)
        opened.add_done_callback(self._opened)

    def _opened(self, opened: "asyncio.Future[Opened]") -> None:
        try:
            found = opened.result()
            if self._shown is not None:
                page = redirect.shown_page(self._rooms, self._message.headers, self._shown)
                self._connection.answer(written(page, self._connection))
            else:
                self._connection.answer(_redirection(found))
        except Exception as error:  # noqa: BLE001 - the click is stored, but a connection must not wait for ever
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        try:
            page = redirect.refused_page(self._door, self._rooms, self._message.headers, error)
            answer = written(page, self._connection)
        except Exception:  # noqa: BLE001 - a connection must not wait for ever, whatever else is broken
            self._connection.force_close()
        else:
            self._connection.answer(answer)


def _redirection(opened: "Opened") -> bytes:
    text = "".join([f"{name}: {value}\r\n" for name, value in redirect.own_lines(opened)])
    lines = len(opened.cookies) + (2 if opened.no_referrer else 1)
    if text.count("\r") != lines or text.count("\n") != lines:
        raise ValueError("a line end inside a header")
    return f"{_HEAD}{text}Content-Length: 0\r\nDate: {rfc822_formatted_time()}\r\n\r\n".encode()


_HEAD: Final = "HTTP/1.1 302 Found\r\n" + "".join([f"{name}: {value}\r\n" for name, value in redirect.HEADERS])
