"""What an edge tells a flow about one HTTP request, and what a flow tells back: plain values, no framework."""

from collections.abc import Mapping

import msgspec

__all__ = ["Collected", "Request"]


class Request(msgspec.Struct, kw_only=True):
    """One request. Header texts are clean Unicode; `address` is the client's, found behind trusted proxies.

    `purposes` are the values of Sec-Purpose, Purpose and X-Moz.
    """

    method: str
    path: str
    host: str
    address: str
    cookie: str = ""
    origin: str | None = None
    referer: str | None = None
    user_agent: str | None = None
    language: str | None = None
    sec_gpc: tuple[str, ...] = ()
    purposes: tuple[str | None, ...] = ()
    authorization: str | None = None
    signature: str | None = None
    idempotency_key: str | None = None
    query: Mapping[str, str] = {}
    body: bytes = b""


class Collected(msgspec.Struct, kw_only=True):
    """What became of a browser's request: cookies to set, and why something was not kept, if so."""

    cookies: tuple[str, ...] = ()
    dropped: str | None = None
    marks: tuple[str, ...] = ()
