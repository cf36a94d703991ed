"""The edge: where bytes of strangers become a `flows.request.Request`, and refusals become status codes.

One place decides status codes, reads bodies under a limit and a deadline, finds the client's address behind proxies,
and writes the headers every answer carries.
"""

import asyncio
import ipaddress
import socket
import zlib
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import CODES, Busy, Kind, Refusal, StoreBusy, StoreDamaged, StoreError, StoreFull
from gateway.flows.request import Request, place_said

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from aiohttp import StreamReader
    from multidict import CIMultiDictProxy

    from gateway.flows.house import House, SiteRooms
    from gateway.settings import Places, Proxy

__all__ = [
    "STATUS",
    "ProxyTrust",
    "clean_text",
    "json_answer",
    "language_of",
    "link_rooms",
    "problem_answer",
    "read_body",
    "read_request",
    "refusal_of",
    "request_of",
    "site_named",
    "site_of",
]

STATUS: Final[dict[Kind, int]] = {
    Kind.MALFORMED: 400,
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD: 405,
    Kind.SLOW: 408,
    Kind.CONFLICT: 409,
    Kind.GONE: 410,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 415,
    Kind.MISDIRECTED: 421,
    Kind.TOO_MANY: 429,
    Kind.BROKEN: 500,
    Kind.BUSY: 503,
    Kind.FULL: 507,
}
"""Kind of refusal to HTTP status. Nothing else in the gateway chooses a status for a refusal."""

_CLOSING: Final = frozenset({"body_too_large", "body_timeout", "body_incomplete", "request_malformed"})
_encode: Final = msgspec.json.Encoder().encode


# ------------------------------------------------------------------ answers


def json_answer(value: object, *, status: int = 200, headers: "CIMultiDict[str] | None" = None) -> web.Response:
    """An answer with a JSON body that nobody may keep."""
    made = headers if headers is not None else CIMultiDict[str]()
    made.setdefault("Cache-Control", "no-store")
    return _plain(web.Response(body=_encode(value), status=status, headers=made, content_type="application/json"))


def _plain(response: web.Response) -> web.Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "gateway"
    return response


def refusal_of(error: Exception) -> Refusal:
    """The refusal that an error of a flow is answered with."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, StoreFull):
        return Refusal("store_full")
    if isinstance(error, (StoreBusy, StoreDamaged, StoreError)):
        return Busy()
    return Refusal("internal")


def problem_answer(refusal: Refusal, *, headers: "CIMultiDict[str] | None" = None) -> web.Response:
    """The answer to a refused request: a stable code, a sentence, a field path, and nothing of what was sent."""
    status = STATUS[CODES[refusal.code].kind]
    response = json_answer(refusal.body(), status=status, headers=headers)
    if isinstance(refusal, Busy):
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    elif status == HTTPStatus.INSUFFICIENT_STORAGE:
        response.headers["Retry-After"] = "30"
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if refusal.code in _CLOSING:
        response.force_close()
    return response


# ------------------------------------------------------------------ requests


def clean_text(text: str | None) -> str | None:
    """A header as clean Unicode: bytes that are no UTF-8 become replacement characters instead of lone surrogates."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def site_of(house: "House", request: web.BaseRequest) -> "SiteRooms":
    """The site a request belongs to, by its Host header and nothing else. Raises Refusal `host_unknown`."""
    return site_named(house, request.headers.get("Host", ""))


def site_named(house: "House", host: str) -> "SiteRooms":
    """The site of a Host header: exact, else without case, port and final dot.

    Raises Refusal `host_unknown`; `route_unknown` for a link host, where there is nothing but links.
    """
    rooms = house.by_host.get(host)
    if rooms is None:
        rooms = house.by_host.get(_host_name(host))
        if rooms is None:
            raise Refusal("host_unknown" if link_rooms(house, host) is None else "route_unknown")
    return rooms


def link_rooms(house: "House", host: str) -> "SiteRooms | None":
    """The site whose links a host serves and nothing else; None when it is no link host."""
    if not house.by_link_host:
        return None
    return house.by_link_host.get(host) or house.by_link_host.get(_host_name(host))


def _host_name(host: str) -> str:
    """A Host header without case, port and final dot. What is not ASCII names nobody."""
    if not host.isascii():
        return ""  # some other letters become ASCII in lower case
    name, _, port = host.lower().rpartition(":")
    return (name if port.isdigit() else host.lower()).removesuffix(".")


class ProxyTrust:
    """Finds the client's address: the peer, or, behind trusted proxies, the last address they did not add themselves."""

    def __init__(self, proxy: "Proxy", places: "Places") -> None:
        self._place_header = places.header if places.source == "header" else ""
        self._region_header = places.region_header
        self._networks = [ipaddress.ip_network(text, strict=False) for text in proxy.trusted]
        # Nearly all addresses are such, and `ipaddress` takes five times as long to read one as to look it up here.
        self._ipv4 = [
            (int(network.netmask), int(network.network_address)) for network in self._networks if network.version == 4
        ]
        self._header = proxy.header
        self._trusts = lru_cache(maxsize=4096)(self._looks_trusted)

    def _looks_trusted(self, address: str) -> bool:
        try:
            return self._is_trusted(ipaddress.ip_address(address))
        except ValueError:
            return False

    def _is_trusted(self, address: "IPv4Address | IPv6Address") -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _is_trusted_ipv4(self, packed: bytes) -> bool:
        number = int.from_bytes(packed)
        for mask, network in self._ipv4:  # noqa: SIM110 - a generator costs more than the loop
            if number & mask == network:
                return True
        return False

    def place_of(self, peer: str, headers: "CIMultiDictProxy[str]") -> str:
        """The place a trusted proxy names, empty when none does or it is said twice."""
        if not self._place_header or not self._trusts(peer):
            return ""
        countries = headers.getall(self._place_header, ())
        regions = headers.getall(self._region_header, ()) if self._region_header else ()
        if len(countries) != 1 or len(regions) > 1:
            return ""
        return place_said(countries[0], regions[0] if regions else None)

    def client_of(self, peer: str, headers: "CIMultiDictProxy[str]") -> str:
        """Address of the client of a connection from `peer`."""
        if not self._networks or not self._trusts(peer):
            return peer
        values = headers.getall(self._header, ())
        chain = [part.strip() for value in values for part in value.split(",")]
        found = peer
        for element in reversed(chain[-32:]):
            text = _forwarded_for(element) if self._header == "forwarded" else element
            packed = _packed_ipv4(text)
            if packed is not None:
                found, trusted = text, self._is_trusted_ipv4(packed)
            else:
                address = _address(text)
                if address is None:
                    break
                found, trusted = str(address), self._is_trusted(address)
            if not trusted:
                break
        return found


def _packed_ipv4(text: str) -> bytes | None:
    """Four bytes of an address written as `ipaddress` writes it; None for anything else."""
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def _address(text: str) -> "IPv4Address | IPv6Address | None":
    """One address, perhaps with a port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _forwarded_for(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


async def read_body(request: web.BaseRequest, limit: int, timeout_s: float) -> bytes:
    """Read a whole body of at most `limit` bytes, decompressed, within `timeout_s`. Raises Refusal."""
    length = request.content_length
    if length is not None and length > limit:
        raise Refusal("body_too_large")
    content = request.content
    if content.is_eof():
        body = content.read_nowait(-1) if content.total_bytes else b""
    else:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read_slowly(content, limit, timeout_s)
    if len(body) > limit:
        raise Refusal("body_too_large")
    encodings = request.headers.getall("Content-Encoding", None)
    return body if encodings is None else _decompressed(body, ",".join(encodings).strip().lower(), limit)


async def _read_slowly(content: "StreamReader", limit: int, timeout_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                part = await content.readany()
                if not part:
                    return b"".join(parts)
                size += len(part)
                if size > limit:
                    raise Refusal("body_too_large")
                parts.append(part)
    except TimeoutError:
        raise Refusal("body_timeout") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refusal("body_incomplete") from None


def _decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo one content encoding, never making more than `limit` bytes."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise Refusal("encoding_unsupported")
    for window in (31,) if encoding != "deflate" else (15, -15):
        inflater = zlib.decompressobj(window)
        try:
            made = inflater.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(made) > limit:
            raise Refusal("body_too_large")
        if not inflater.eof or inflater.unused_data:
            raise Refusal("encoding_broken")
        return made
    raise Refusal("encoding_broken")


def read_request(request: web.BaseRequest, trust: ProxyTrust, body: bytes) -> Request:
    """Make the value a flow gets."""
    return request_of(request.method, request.raw_path, request.headers, request.remote or "", trust, body)


def request_of(
    method: str, target: str, headers: "CIMultiDictProxy[str]", peer: str, trust: ProxyTrust, body: bytes
) -> Request:
    """Make the value a flow gets of the parts of a request. Headers that are not looked at by any flow are not copied.

    `target` is path and query as they came, `peer` the address of the connection's other end.
    """
    cookies = headers.getall("Cookie", None)
    sent = "" if cookies is None else (cookies[0] if len(cookies) == 1 else "; ".join(cookies))
    return Request(
        method=method,
        path=target.partition("?")[0],
        host=headers.get("Host", ""),
        address=trust.client_of(peer, headers),
        cookie=clean_text(sent) or "",
        cookie_octets=sent,
        origin=clean_text(headers.get("Origin")),
        referer=clean_text(headers.get("Referer")),
        user_agent=clean_text(headers.get("User-Agent")),
        language=language_of(headers.get("Accept-Language")),
        sec_gpc=tuple(headers.getall("Sec-GPC", ())),
        dnt=tuple(headers.getall("DNT", ())),
        place=trust.place_of(peer, headers),
        purposes=(headers.get("Sec-Purpose"), headers.get("Purpose"), headers.get("X-Moz")),
        authorization=clean_text(headers.get("Authorization")),
        signature=clean_text(headers.get("X-Gateway-Signature")),
        idempotency_key=clean_text(headers.get("Idempotency-Key")),
        body=body,
    )


def language_of(header: str | None) -> str | None:
    """The first language of Accept-Language, such as `de-de`."""
    return None if header is None else _language(header[:_LANGUAGE_MAX])


_LANGUAGE_MAX: Final = 64
"""Characters that are looked at: answers are kept by them, and a header may hold 16 KiB."""


@lru_cache(maxsize=1024)
def _language(header: str) -> str | None:
    first = header.partition(",")[0].partition(";")[0].strip().lower()
    return first if first.isascii() and first.replace("-", "").isalnum() and len(first) <= 35 else None
