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
from gateway.handlers.collect import cors, readable_refusal
from gateway.handlers.edge import clean_text, language_of, site_named
from gateway.handlers.watch import WatchedConnection

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.flows.house import SiteRooms
    from gateway.handlers.door import Door

__all__ = ["KNOWN_RELEASES", "FastConnection", "usable"]

KNOWN_RELEASES: Final = ("3.14.",)
_PATH: Final = "/collect"


def usable() -> bool:
    """Whether this aiohttp is one whose inside is known."""
    return aiohttp.__version__.startswith(KNOWN_RELEASES)


class FastConnection(WatchedConnection):
    """One connection of the collection listener."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer messages on the spot as long as they allow it, then let aiohttp take over."""
        loop = self._loop
        manager: Any = self._manager
        door: Door = manager.door
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages[0]
            if not _is_plain_hit(message, payload):
                break
            self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            manager.requests_count += 1
            body = payload.read_nowait(-1) if payload.total_bytes else b""
            self._request_in_progress = True
            try:
                answer = await _answer(door, self, message, body)
            finally:
                self._request_in_progress = False
                if self._handler_waiter is not None:
                    self._handler_waiter.set_result(None)
            if self.transport is None or self._force_close:
                return
            self.transport.write(answer)
            if self._close:
                self.transport.close()
                return
            self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        await super().start()


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


async def _answer(door: "Door", connection: WatchedConnection, message: Any, body: bytes) -> bytes:
    """Do what `handlers.collect.collect` does, and write the answer as bytes."""
    house = door.house
    headers = message.headers
    origin = headers.get("Origin")
    rooms: SiteRooms | None = None
    try:
        rooms = site_named(house, headers.get("Host", ""))
        if len(body) > house.settings.limits.body_max_bytes:
            raise Refusal("body_too_large")
        peer = connection.peername
        address = door.trust.client_of(str(peer[0]) if isinstance(peer, tuple) else "", headers)
        house.limit_browser(rooms.id, address)
        cookies = headers.getall("Cookie", None)
        request = Request(
            method="POST",
            path=_PATH,
            host="",
            address=address,
            cookie="" if cookies is None else (clean_text("; ".join(cookies)) or ""),
            origin=clean_text(origin),
            referer=clean_text(headers.get("Referer")),
            user_agent=clean_text(headers.get("User-Agent")),
            language=language_of(headers.get("Accept-Language")),
            sec_gpc=tuple(headers.getall("Sec-GPC", ())),
            body=body,
        )
        prepared = receive.prepare(house, rooms, request)
        if prepared.submission is not None:
            await house.store.submit(prepared.submission)
            receive.tell(house, rooms, prepared)
    except Exception as error:  # noqa: BLE001 - the same last resort as in Door.answer
        blocked = isinstance(error, Refusal) and error.code == "domain_not_allowed"
        known = readable_refusal(origin) if blocked else cors(rooms, origin)
        return _written(door.refuse(_PATH, rooms.id if rooms is not None else None, error, known), connection)
    collected = prepared.collected
    head = _head(rooms, origin)
    extra = "".join([f"Set-Cookie: {cookie}\r\n" for cookie in collected.cookies]) if collected.cookies else ""
    if collected.dropped is not None:
        extra += f"X-Gateway-Dropped: {collected.dropped}\r\n"
    return f"{head}{extra}Date: {rfc822_formatted_time()}\r\n\r\n".encode("latin-1")


@lru_cache(maxsize=1024)
def _head_of(lines: tuple[tuple[str, str], ...]) -> str:
    shown = "".join([f"{name}: {value}\r\n" for name, value in lines])
    return f"HTTP/1.1 204 No Content\r\n{shown}Server: gateway\r\n"


def _head(rooms: "SiteRooms", origin: str | None) -> str:
    return _head_of(tuple(cors(rooms, origin).items()))


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
