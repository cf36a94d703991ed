"""The fast lane: a page view is answered inside its connection, without a request object, a task and a response object.

aiohttp makes those for every request, and for a page view they cost as much as everything the gateway does with it. This
connection looks at each message first: a whole `POST /collect` that is already here is read, judged, stored and answered
on the spot; with the first message that is anything else, the connection goes over to aiohttp's own loop for good. Both
ways call the same flow and give the same answers: `tests/handlers/test_fast.py` sends everything through both.

It leans on the inside of aiohttp's `RequestHandler`, so it is used with the releases it was read against and no other:
with any other release every request takes aiohttp's own way.

Source: aiohttp 3.14.5, `web_protocol.py`, read 2026-11-20.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11, RawRequestMessage

from gateway.errors import Refusal
from gateway.flows import receive
from gateway.flows.request import Request
from gateway.handlers.collect import allowed_origin, cors, cors_lines, readable_refusal
from gateway.handlers.edge import clean_text, language_of, site_named
from gateway.handlers.watch import WatchedConnection

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    from gateway.event import Submitted
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Collected
    from gateway.handlers.door import Door

__all__ = ["KNOWN_RELEASES", "FastConnection", "Hit", "usable"]

KNOWN_RELEASES: Final = ("3.14.",)
_PATH: Final = "/collect"


def usable() -> bool:
    """Whether this aiohttp is one whose inside is known."""
    return aiohttp.__version__.startswith(KNOWN_RELEASES)


class FastConnection(WatchedConnection):
    """One connection of the collection listener.

    While it is in the fast lane, `start` waits on `_lane`, and messages are taken in turn where they arrive. `_waiter` is
    `_lane` while the connection is idle, so that closing and the keep-alive timeout find it as they would aiohttp's own,
    and None while a message is in hand.
    """

    __slots__ = ("_lane",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lane: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Stay in the fast lane as long as messages allow it, then let aiohttp take over."""
        if self._manager is None:
            return  # lost before its first turn came
        self._lane = self._loop.create_future()
        if self._messages:
            self._turn()
        else:
            self._waiter = self._lane
        try:
            await self._lane
        finally:
            self._lane = self._waiter = None
        if self.writing_paused and not await self._heard():
            return
        if not self._close and not self._force_close:
            await super().start()

    def data_received(self, data: bytes) -> None:
        """Take what came; when nothing is in hand, answer it at once."""
        lane = self._lane
        if lane is None or self._waiter is None:
            super().data_received(data)
            return
        self._waiter = None
        super().data_received(data)
        if self._messages:
            self._turn()
        else:
            self._waiter = lane

    def _turn(self) -> None:
        """Take the next message, if it is one for this lane."""
        if self._lane is None or self._lane.done():
            return
        if self._force_close or not self._messages or not _is_plain_hit(*self._messages[0]):
            self._lane.set_result(None)
            return
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        manager: Any = self._manager
        manager.requests_count += 1
        self._request_in_progress = True
        Hit(manager.door, self, message).take(payload.read_nowait(-1) if payload.total_bytes else b"")

    def answer(self, answer: bytes) -> None:
        """Write the answer to the message in hand, and go on to the next."""
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        lane, transport = self._lane, self.transport
        if lane is None or lane.done():
            return
        if transport is None:
            lane.set_result(None)
            return
        transport.write(answer)
        if self._close or self._force_close:
            transport.close()
            lane.set_result(None)
            return
        loop = self._loop
        self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self.writing_paused:
            lane.set_result(None)  # a client that reads slowly: what it asks meanwhile is not read
        elif self._messages:
            loop.call_soon(self._turn)  # many requests in one piece must not hold up other connections
        else:
            self._waiter = lane

    async def _heard(self) -> bool:
        """Wait until a client that reads slowly has taken its answers."""
        try:
            await self._drain_helper()
        except ConnectionError:
            return False
        return self.transport is not None


def _is_plain_hit(message: Any, payload: Any) -> bool:
    """Whether a message is a whole `POST /collect` without anything that needs aiohttp's care."""
    return (
        type(message) is RawRequestMessage
        and message.path == _PATH
        and message.method == "POST"
        and message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
        and not message.compression
        and payload.is_eof()
        and payload.exception() is None
        and "Expect" not in message.headers
        and "Content-Encoding" not in message.headers
    )


class Hit:
    """One hit in hand. Does what `handlers.collect.collect` does, and writes the answer as bytes."""

    __slots__ = ("_connection", "_door", "_message", "_origin", "_prepared", "_rooms")

    def __init__(self, door: "Door", connection: FastConnection, message: Any) -> None:
        self._door = door
        self._connection = connection
        self._message = message
        self._origin: str | None = None
        self._rooms: SiteRooms | None = None
        self._prepared: receive.Prepared | None = None

    def take(self, body: bytes) -> None:
        """Read, judge and submit; the answer is written once that is durable, or at once when nothing is kept."""
        try:
            self._prepared = self._prepare(body)
            if self._prepared.submission is None:
                self._answer(None)
            else:
                self._door.house.store.submit(self._prepared.submission).add_done_callback(self._committed)
        except Exception as error:  # noqa: BLE001 - the same last resort as in Door.answer
            self._refuse(error)

    def _prepare(self, body: bytes) -> receive.Prepared:
        house, headers = self._door.house, self._message.headers
        self._origin = origin = headers.get("Origin")
        self._rooms = rooms = site_named(house, headers.get("Host", ""))
        if len(body) > house.settings.limits.body_max_bytes:
            raise Refusal("body_too_large")
        peer = self._connection.peername
        peer_address = str(peer[0]) if isinstance(peer, tuple) else ""
        address = self._door.trust.client_of(peer_address, headers)
        house.limit_browser(rooms.id, address)
        cookies = headers.getall("Cookie", None)
        sent = "" if cookies is None else "; ".join(cookies)
        request = Request(
            method="POST",
            path=_PATH,
            host="",
            address=address,
            cookie=clean_text(sent) or "",
            cookie_octets=sent,
            origin=clean_text(origin),
            referer=clean_text(headers.get("Referer")),
            user_agent=clean_text(headers.get("User-Agent")),
            language=language_of(headers.get("Accept-Language")),
            sec_gpc=tuple(headers.getall("Sec-GPC", ())),
            dnt=tuple(headers.getall("DNT", ())),
            place=self._door.trust.place_of(peer_address, headers),
            body=body,
        )
        return receive.prepare(house, rooms, request)

    def _committed(self, submitted: "asyncio.Future[Submitted]") -> None:
        error = submitted.exception()
        if isinstance(error, Exception):
            self._refuse(error)
            return
        try:
            self._answer(submitted.result())
        except Exception as fault:  # noqa: BLE001 - it is stored, but a connection must not wait for ever
            self._refuse(fault)

    def _answer(self, submitted: "Submitted | None") -> None:
        rooms, prepared = self._rooms, self._prepared
        assert rooms is not None and prepared is not None  # noqa: S101, PT018 - `take` made both
        if submitted is not None:
            receive.tell(self._door.house, rooms, prepared, submitted)
        self._connection.answer(_taken(rooms, self._origin, prepared.collected))

    def _refuse(self, error: Exception) -> None:
        rooms, origin = self._rooms, self._origin
        blocked = isinstance(error, Refusal) and error.code == "domain_not_allowed"
        known = readable_refusal(origin) if blocked else cors(rooms, origin)
        response = self._door.refuse(_PATH, rooms.id if rooms is not None else None, error, known)
        self._connection.answer(_written(response, self._connection))


def _taken(rooms: "SiteRooms", origin: str | None, collected: "Collected") -> bytes:
    head = _head_of(allowed_origin(rooms, origin))
    extra = "".join([f"Set-Cookie: {cookie}\r\n" for cookie in collected.cookies]) if collected.cookies else ""
    if collected.dropped is not None:
        extra += f"X-Gateway-Dropped: {collected.dropped}\r\n"
    return f"{head}{extra}Date: {rfc822_formatted_time()}\r\n\r\n".encode("latin-1")


@lru_cache(maxsize=1024)
def _head_of(allowed: str | None) -> str:
    shown = "".join([f"{name}: {value}\r\n" for name, value in cors_lines(allowed)])
    return f"HTTP/1.1 204 No Content\r\n{shown}Server: gateway\r\n"


def _written(response: "web.Response", connection: WatchedConnection) -> bytes:
    """A refusal as bytes; the connection is closed after those that ask for it."""
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() != "content-length"]
    lines += [f"Content-Length: {len(body)}", f"Date: {rfc822_formatted_time()}"]
    if not response.keep_alive and response.keep_alive is not None:
        lines.append("Connection: close")
        connection.close()
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
