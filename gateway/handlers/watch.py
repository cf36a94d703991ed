"""A connection with a watch: who sends nothing, drips headers or does not take answers is cut off; errors are answered plainly.

Source: aiohttp 3.14.5, `web_protocol.py`, read 2026-11-20.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.errors import Refusal

if TYPE_CHECKING:
    from gateway.handlers.door import Listener

__all__ = ["WatchedConnection"]


class WatchedConnection(web.RequestHandler):
    """One connection, with a watch on how long it takes to say what it wants, and to hear the answer."""

    __slots__ = ("bytes_seen", "deaf_since_s", "quiet_since_s", "requests_seen")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.bytes_seen = 0
        self.requests_seen = -1
        self.quiet_since_s = 0.0
        self.deaf_since_s = 0.0

    async def start(self) -> None:
        """Serve the connection. One that is lost before its first turn comes has nothing left to serve."""
        if self._manager is not None:
            await super().start()

    def data_received(self, data: bytes) -> None:
        """Count what arrives between requests."""
        self.bytes_seen += len(data)
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed. Nothing of it is repeated, in the answer or in the log."""
        manager = cast("Listener", self._manager)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            error = exc if isinstance(exc, Exception) else Refusal("internal")
        else:
            error = Refusal("headers_too_large" if isinstance(exc, LineTooLong) else "request_malformed")
        response = manager.door.refuse("unparsed", None, error)
        response.force_close()
        return response

    def cut_if_slow(self, now_s: float, limit_s: float) -> None:
        """Close when no whole request came within `limit_s` of its begin, or no answer was taken for as long."""
        if self.writing_paused:
            self.deaf_since_s = self.deaf_since_s or now_s
            if now_s - self.deaf_since_s >= limit_s and self.transport is not None:
                self.transport.abort()  # closing would wait for the client to take what is left
            return
        self.deaf_since_s = 0.0
        if self._request_in_progress or self._messages:
            self.requests_seen = self._request_count
            self.bytes_seen = 0
            self.quiet_since_s = 0.0
            return
        if self._request_count != self.requests_seen:
            # A request was finished since the last look: from now on count what arrives for the next one.
            self.requests_seen = self._request_count
            self.bytes_seen = 0
            self.quiet_since_s = now_s if self._request_count == 0 else 0.0
            return
        if self._request_count and not self.bytes_seen:
            return  # idle between two requests: the keep-alive timeout looks after it
        if not self.quiet_since_s:
            self.quiet_since_s = now_s
        elif now_s - self.quiet_since_s >= limit_s:
            self.force_close()
