"""The fast lane: a request is answered inside its connection, without a request object, a task and a response object.

aiohttp makes those for every request, and for a page view or a click they cost as much as everything the gateway does with
it. This connection looks at each message first: one that is whole, already here and known to a lane is read, judged, stored
and answered on the spot; with the first message that is anything else, the connection goes over to aiohttp's own loop for
good. Here are the frames: which messages may be answered so, in which order, and how answers are written. What is answered
is in `fast_views` (page views) and `fast_links` (links). Both ways call the same flows and give the same answers:
`tests/handlers/test_fast.py` and `test_fast_links.py` send everything through both.

It leans on the inside of aiohttp's `RequestHandler`, so it is used with the releases it was read against and no other:
with any other release every request takes aiohttp's own way.

Source: aiohttp 3.14.5, `web_protocol.py`, read 2026-11-20.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import aiohttp
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11, RawRequestMessage

from gateway.handlers.watch import WatchedConnection

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    from gateway.handlers.door import Door

__all__ = ["KNOWN_RELEASES", "Exchange", "FastConnection", "usable", "written"]

KNOWN_RELEASES: Final = ("3.14.",)


def usable() -> bool:
    """Whether this aiohttp is one whose inside is known."""
    return aiohttp.__version__.startswith(KNOWN_RELEASES)


class Exchange(Protocol):
    """One request in hand, and its answer: what a lane does with a message."""

    @classmethod
    def of(cls, door: "Door", connection: "FastConnection", message: Any) -> Self | None:
        """Take a message in hand; None when it is not for this lane. Nothing has been done for it by then."""
        ...

    def take(self, body: bytes) -> None:
        """Do what is asked, and give `FastConnection.answer` the answer, now or later. Raises nothing."""
        ...


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

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the lane: whatever is in hand goes on, and its answer finds nobody."""
        super().connection_lost(exc)
        if self._lane is not None and not self._lane.done():
            self._lane.set_result(None)

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
        exchange = None if self._force_close or not self._messages else self._exchange(*self._messages[0])
        if exchange is None:
            self._lane.set_result(None)
            return
        _, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        manager: Any = self._manager
        manager.requests_count += 1
        self._request_in_progress = True
        exchange.take(payload.read_nowait(-1) if payload.total_bytes else b"")

    def _exchange(self, message: Any, payload: Any) -> "Exchange | None":
        """What answers a message, if it is whole, without anything that needs aiohttp's care, and one for this lane."""
        if (
            type(message) is not RawRequestMessage
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or message.compression
            or not payload.is_eof()
            or payload.exception() is not None
            or "Expect" in message.headers
        ):
            return None
        listener: Any = self._manager
        kind = listener.lanes.get(message.method)
        return kind.of(listener.door, self, message) if kind is not None else None

    @property
    def peer(self) -> str:
        """The address of the other end, empty for a socket without addresses."""
        peer = self.peername
        return str(peer[0]) if isinstance(peer, tuple) else ""

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


def written(response: "web.Response", connection: WatchedConnection) -> bytes:
    """A response of aiohttp as bytes; the connection is closed after those that ask for it."""
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() != "content-length"]
    lines += [f"Content-Length: {len(body)}", f"Date: {rfc822_formatted_time()}"]
    if not response.keep_alive and response.keep_alive is not None:
        lines.append("Connection: close")
        connection.close()
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
