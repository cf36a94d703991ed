"""For files of conversions: read piece by piece, answered row by row while they arrive.

    POST /api/v1/uploads?dry_run&columns=&zone=&goal=&resume_from=&errors=all|only&answers=during|after

The answer is JSON lines, one for each row, and a summary in the last line; with `Accept: text/csv` it is the file of the
rows that were refused. The status goes out with the first row, so it says that the reading began: **each row's own line is
its acknowledgement**, and an answer without its last line is not whole. What cannot be read on ends with a line that holds
`error`. Some proxies take no answer before the request has ended: `answers=after` holds all lines back until then.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from gateway.errors import CODES, Refusal
from gateway.flows import upload, upload_asking
from gateway.handlers.admin import demand_admin
from gateway.handlers.backlog import Backlog
from gateway.handlers.collect import query_of
from gateway.handlers.edge import read_request, refusal_of, site_of
from gateway.pages.tables import ErrorFile, csv_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flows.house import House, SiteRooms
    from gateway.handlers.door import Door

__all__ = ["operator_uploads", "site_chosen", "uploads"]

TYPES: Final = frozenset({"text/csv", "text/tab-separated-values", "application/jsonl", "application/x-ndjson"})
CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 16_777_216
_encode: Final = msgspec.json.Encoder().encode


async def uploads(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/v1/uploads`, with an API key."""
    path, site = "/api/v1/uploads", None
    try:
        rooms = site_of(door.house, request)
        site = rooms.id
        upload_asking.allow(door.house, rooms, read_request(request, door.trust, b""))
        found = _Conversation(door, request, rooms, path, query_of(request))
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return await _refused(door, request, path, site, error)
    return await found.hold()


async def operator_uploads(door: "Door", request: web.BaseRequest, rest: str) -> web.StreamResponse:
    """`POST /api/admin/v1/uploads?site=`: the same for operators."""
    path, site = "/api/admin/v1/uploads", None
    try:
        demand_admin(door, request, cookie_will_do=False)
        query = query_of(request)
        rooms = site_chosen(door.house, query.pop("site", None))
        site = rooms.id
        found = _Conversation(door, request, rooms, path, query)
    except Exception as error:  # noqa: BLE001 - one way for every refusal
        return await _refused(door, request, path, site, error)
    return await found.hold()


def site_chosen(house: "House", name: str | None) -> "SiteRooms":
    """The site an operator names; the only one where there is one. Raises Refusal `site_unknown`, `field_missing`."""
    if name is None:
        if len(house.by_id) != 1:
            raise Refusal("field_missing", "site")
        return next(iter(house.by_id.values()))
    rooms = house.by_id.get(name)
    if rooms is None:
        raise Refusal("site_unknown", "site")
    return rooms


class _Conversation:
    """One upload as it is heard and answered. Raises Refusal when it is made, before anything was read."""

    def __init__(
        self, door: "Door", request: web.BaseRequest, rooms: "SiteRooms", path: str, query: "Mapping[str, str]"
    ) -> None:
        self._door = door
        self._request = request
        self._rooms = rooms
        self._path = path
        self._begun_s = door.house.clock.monotonic_s()
        asked = dict(query)
        when = asked.pop("answers", "during")
        if when not in {"during", "after"}:
            raise Refusal("field_invalid", "answers")
        self._as_csv = "text/csv" in request.headers.get("Accept", "").lower()
        wanted = upload_asking.read_asked(asked)
        self._upload = upload.Upload(
            door.house, rooms, msgspec.structs.replace(wanted, errors_only=True) if self._as_csv else wanted
        )
        self._pieces = pieces_of(request, door.house)
        self._errors = ErrorFile()
        self._response: web.StreamResponse | None = None
        self._settled = False
        self._told: web.Response | None = None
        self._at_once = when == "during"
        self._backlog = Backlog(Path(door.house.settings.data.dir))

    async def hold(self) -> web.StreamResponse:
        """Hear the file out and answer it. A connection that is lost ends it: what was stored stays."""
        try:
            error = await self._heard()
            if error is not None and not self._settled:
                return await _refused(self._door, self._request, self._path, self._rooms.id, error)
            if error is not None:
                self._told = self._door.refuse(self._path, self._rooms.id, error, status=HTTPStatus.OK)
            response = await self._begin()
            self._backlog.put(self._last(refusal_of(error) if error is not None else None))
            await self._backlog.drain(response)
            await response.write_eof()
            if error is None:
                self._tell()
            else:
                response.force_close()
                await _linger(self._request)
            return response
        except OSError as error:  # the connection is gone, or there is no space for answers that nobody takes
            refusal = Refusal("body_incomplete" if isinstance(error, ConnectionError) else "store_full")
            answer = self._told or self._door.refuse(self._path, self._rooms.id, refusal, status=HTTPStatus.OK)
            if self._request.transport is not None:
                self._request.transport.abort()
            return self._response or answer
        finally:
            self._backlog.close()

    async def _heard(self) -> Exception | None:
        """Hear the file to its end, or to what went wrong. Raises OSError when answers cannot be written."""
        async with aclosing(self._upload.answers(self._pieces)) as portions:
            while True:
                try:
                    answers = await anext(portions, None)
                except Exception as error:  # noqa: BLE001 - told in the last line, or as a refusal before the first
                    return error
                if answers is None:
                    return None
                self._settled = True
                self._backlog.put(b"".join([self._line(one) for one in answers]))
                if self._at_once:
                    await self._backlog.push(await self._begin(), self._request)

    async def _begin(self) -> web.StreamResponse:
        """Send the status and headers, once."""
        if self._response is None:
            headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "gateway"}
            if self._as_csv:
                headers["Content-Type"] = "text/csv; charset=utf-8"
                headers["Content-Disposition"] = 'attachment; filename="upload-errors.csv"'
            else:
                headers["Content-Type"] = "application/jsonl"
            self._response = web.StreamResponse(headers=headers)
            await self._response.prepare(self._request)
        return self._response

    def _line(self, answer: upload.RowAnswer) -> bytes:
        if not self._as_csv:
            return _encode(answer) + b"\n"
        return self._errors.add(answer.line, answer.column, answer.code or "internal", answer.last_line or 0)

    def _last(self, refusal: Refusal | None) -> bytes:
        """The last line: the summary; before it what went wrong, if reading could not go on."""
        if self._as_csv:
            if refusal is None:
                return b"" if self._errors.count else csv_line(("line", "column", "code", "message"))
            cells = (None, refusal.field, refusal.code, CODES[refusal.code].message)
            head = b"" if self._errors.count else csv_line(("line", "column", "code", "message"))
            return head + csv_line(cells)
        found: dict[str, object] = refusal.body() if refusal is not None else {}
        return _encode({**found, "summary": self._upload.summary}) + b"\n"

    def _tell(self) -> None:
        """Write the request's one line; the listener for operators writes its own."""
        if self._path.startswith("/api/v1/"):
            house, summary = self._door.house, self._upload.summary
            took_ms = int((house.clock.monotonic_s() - self._begun_s) * 1000)
            fates = {name: getattr(summary, name) for name in ("rows", "accepted", "duplicate", "update", "error")}
            house.telemetry.request_answered(
                self._path, self._rooms.id, HTTPStatus.OK, took_ms, dry_run=summary.dry_run, **fates
            )


async def _refused(
    door: "Door", request: web.BaseRequest, path: str, site: str | None, error: Exception
) -> web.StreamResponse:
    """Answer a refusal before anything of the file was answered."""
    response = door.refuse(path, site, error)
    if request.content.is_eof():
        return response
    response.force_close()
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write_eof()
        await _linger(request)
    return response


async def _linger(request: web.BaseRequest) -> None:
    """Hear on for a moment, so that a client that is still sending gets to the answer before the connection ends."""
    heard = 0
    try:
        async with asyncio.timeout(_LINGER_S):
            while heard < _LINGER_BYTES and (part := await request.content.readany()):
                heard += len(part)
    except (TimeoutError, web.RequestPayloadError, ConnectionError):
        pass


# ------------------------------------------------------------------ the body


def pieces_of(request: web.BaseRequest, house: "House") -> AsyncIterator[bytes]:
    """The body of an upload, piece by piece, unpacked. Raises Refusal at once where its headers say that it is none.

    Each next piece has to come in time; the sum of all is limited. Raises Refusal on the way: `body_too_large`,
    `body_timeout`, `body_incomplete`, `encoding_broken`.
    """
    limits = house.settings.uploads
    kind, charset = _type_of(request)
    if kind not in TYPES or charset not in CHARSETS:
        raise Refusal("content_type_unsupported", "Content-Type")
    if request.content_length is not None and request.content_length > limits.max_bytes:
        raise Refusal("body_too_large")
    encoding = ",".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise Refusal("encoding_unsupported", "Content-Encoding")
    raw = _raw(request, limits.chunk_timeout_s)
    return _limited(_unpacked(raw) if "gzip" in encoding else raw, limits.max_bytes)


def _type_of(request: web.BaseRequest) -> tuple[str, str]:
    header = request.headers.get("Content-Type", "")
    kind, _, parameters = header.partition(";")
    charset = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return kind.strip().lower(), charset


async def _raw(request: web.BaseRequest, timeout_s: float) -> AsyncIterator[bytes]:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                piece = await request.content.readany()
        except TimeoutError:
            raise Refusal("body_timeout") from None
        except (web.RequestPayloadError, ConnectionError):
            raise Refusal("body_incomplete") from None
        if not piece:
            return
        yield piece


async def _limited(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise Refusal("body_too_large")
        yield piece


_UNPACKED_BYTES: Final = 65_536


async def _unpacked(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Undo gzip, never making more than 64 KiB at a time, however much a few bytes stand for."""
    inflater = zlib.decompressobj(31)
    async for piece in pieces:
        left = piece
        while left:
            if inflater.eof:
                raise Refusal("encoding_broken")
            try:
                made = inflater.decompress(left, _UNPACKED_BYTES)
            except zlib.error:
                raise Refusal("encoding_broken") from None
            left = inflater.unconsumed_tail or inflater.unused_data
            if made:
                yield made
    while not inflater.eof:
        made = inflater.decompress(b"", _UNPACKED_BYTES)
        if not made:
            raise Refusal("encoding_broken")
        yield made
