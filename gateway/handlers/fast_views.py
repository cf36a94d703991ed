"""Page views in the fast lane: what `handlers.collect.collect` does for `POST /collect`, with the answer as bytes."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp.helpers import rfc822_formatted_time

from gateway.errors import Refusal
from gateway.flows import receive
from gateway.flows.request import Request
from gateway.handlers.collect import allowed_origin, cors, cors_lines, readable_refusal
from gateway.handlers.edge import clean_text, language_of, site_named
from gateway.handlers.fast import written

if TYPE_CHECKING:
    import asyncio
    from typing import Self

    from gateway.event import Submitted
    from gateway.flows.house import SiteRooms
    from gateway.flows.request import Collected
    from gateway.handlers.door import Door
    from gateway.handlers.fast import FastConnection

__all__ = ["Hit"]

_PATH: Final = "/collect"


class Hit:
    """One hit in hand. Does what `handlers.collect.collect` does, and writes the answer as bytes."""

    __slots__ = ("_connection", "_door", "_message", "_origin", "_prepared", "_rooms")

    def __init__(self, door: "Door", connection: "FastConnection", message: Any) -> None:
        self._door = door
        self._connection = connection
        self._message = message
        self._origin: str | None = None
        self._rooms: SiteRooms | None = None
        self._prepared: receive.Prepared | None = None

    @classmethod
    def of(cls, door: "Door", connection: "FastConnection", message: Any) -> "Self | None":
        """Take a `POST /collect` in hand whose body is as it was sent."""
        if message.path != _PATH or "Content-Encoding" in message.headers:
            return None
        return cls(door, connection, message)

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
        peer_address = self._connection.peer
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
        try:
            answer = written(
                self._door.refuse(_PATH, rooms.id if rooms is not None else None, error, known), self._connection
            )
        except Exception:  # noqa: BLE001 - a connection must not wait for ever, whatever else is broken
            self._connection.force_close()
        else:
            self._connection.answer(answer)


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
