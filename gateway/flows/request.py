"""What an edge tells a flow about one HTTP request, and what a flow tells back: plain values, no framework."""

from collections.abc import Mapping

import msgspec

from gateway.places import place_from

__all__ = ["Collected", "Request", "place_said"]


def place_said(country: str, region: str | None) -> str:
    """The place two headers of a trusted proxy name; empty when they name none."""
    return place_from(country, region)


class Request(msgspec.Struct, kw_only=True):
    """One request. Header texts are clean Unicode; `address` is the client's, found behind trusted proxies.
    `cookie_octets` is the Cookie header with bytes that are no UTF-8 as surrogates, for readers that need every octet.
    `place` is what a trusted proxy said of the visitor's place, empty when none did.

    `purposes` are the values of Sec-Purpose, Purpose and X-Moz.
    """

    method: str
    path: str
    host: str
    address: str
    cookie: str = ""
    cookie_octets: str = ""
    origin: str | None = None
    referer: str | None = None
    user_agent: str | None = None
    language: str | None = None
    sec_gpc: tuple[str, ...] = ()
    dnt: tuple[str, ...] = ()
    place: str = ""
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
