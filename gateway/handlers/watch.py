"""A connection with a watch: a client that sends nothing, or drips its headers, is cut off; errors are answered plainly.

Source: aiohttp 3.14.5, `web_protocol.py`, read 2026-11-20.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from gateway.errors import Refusal

if TYPE_CHECKING:
    from gateway.handlers.door import Listener

__all__ = ["WatchedConnection"]


class WatchedConnection(web.RequestHandler):
    """One connection, with a watch on how long it takes to say what it wants."""

    __slots__ = ("bytes_seen", "quiet_since_s", "requests_seen")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.bytes_seen = 0
        self.requests_seen = -1
        self.quiet_since_s = 0.0

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
        ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
        error = exc if ours and isinstance(exc, Exception) else Refusal("internal" if ours else "request_malformed")
        response = manager.door.refuse("unparsed", None, error)
        response.force_close()
        return response

    def cut_if_slow(self, now_s: float, limit_s: float) -> None:
        """Close when a request was begun, or a connection opened, and no whole request came within `limit_s`."""
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
