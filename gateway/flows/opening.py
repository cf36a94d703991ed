"""Opening: the link a request asks for is found, or refused so that slugs cannot be guessed; and what is shown of links.

An unknown, archived or not yet started link is refused with one answer. A network that asked for many unknown links is
refused whatever it asks, until some time has passed: else a guess that is right would show.
"""

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from gateway import identity
from gateway.errors import Busy, Refusal
from gateway.flows.addresses import address_of, checked
from gateway.links import clicks, codes, qr, targets

if TYPE_CHECKING:
    from gateway.catalogue import Link
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = [
    "Picture", "Shown", "demand_unexpired", "find", "in_use", "looked_up", "picture", "preview", "shown",
]  # fmt: skip

QR_KINDS: Final = {"qr.svg": "image/svg+xml", "qr.png": "image/png"}
QR_DEFAULT_SCALE: Final = {"qr.svg": 4, "qr.png": 8}


class Shown(msgspec.Struct, frozen=True):
    """What people, or programs that unfurl links, are shown of a link: its address, where it leads, its words."""

    address: str
    targets: tuple[str, ...]
    title: str = ""
    description: str = ""
    image: str = ""


class Picture(msgspec.Struct, frozen=True):
    """A QR code: bytes, their type, and a tag that changes when they do."""

    body: bytes
    content_type: str
    tag: str


async def find(house: "House", rooms: "SiteRooms", request: "Request", slug: str) -> "Link":
    """Return the link in use with a slug as it stands in a path.

    Raises Refusal `link_unknown`, Busy `rate_limited` when the caller's network guesses, and StoreError.
    """
    folded = looked_up(house, rooms, request, slug)
    return in_use(house, rooms, request, folded, await house.shelves[rooms.id].link(folded))


def looked_up(house: "House", rooms: "SiteRooms", request: "Request", slug: str) -> str:
    """Return a slug as links are found by it. Raises Refusal `link_unknown`, and Busy when the caller's network guesses."""
    if not house.clicks.nobody_guesses:
        guesses = house.clicks.guesses(_network(rooms, request))
        if guesses is not None and (wait_s := guesses.wait_s(house.clock.monotonic_s())):
            raise Busy("rate_limited", retry_after_s=int(wait_s) + 1)
    folded = codes.fold_slug(unquote(slug) if "%" in slug else slug)
    if folded is None:
        raise Refusal("link_unknown")
    return folded


def in_use(house: "House", rooms: "SiteRooms", request: "Request", folded: str, link: "Link | None") -> "Link":
    """Return a link that was found, or count a guess and raise Refusal `link_unknown`."""
    if link is None or (link.starts_at_ms and house.clock.now_ms() < link.starts_at_ms):
        per_minute = rooms.site.links.unknown_per_minute
        house.clicks.count_guess(_network(rooms, request), folded, per_minute, house.clock.monotonic_s())
        raise Refusal("link_unknown")
    return link


def _network(rooms: "SiteRooms", request: "Request") -> str:
    return f"{rooms.id}|{identity.truncated_address(request.address)}"


def demand_unexpired(link: "Link", now_ms: int) -> None:
    """Raise Refusal `link_expired` when a link's time is over."""
    if link.expires_at_ms and now_ms >= link.expires_at_ms:
        raise Refusal("link_expired")


def preview(rooms: "SiteRooms", request: "Request", link: "Link", query: str, now_ms: int) -> Shown | None:
    """What an unfurler is shown instead of the redirect, or who asks for it with `?preview`; None: there is nothing."""
    if link.preview is None or not rooms.site.links.preview or (link.expires_at_ms and now_ms >= link.expires_at_ms):
        return None
    if not clicks.wants_preview(request.user_agent) and not (query and "preview" in targets.read_reserved(query)):
        return None
    return Shown(
        address_of(rooms, request.host, link.code),
        (checked(rooms, link.target),),
        link.preview.title or link.title,
        link.preview.description,
        link.preview.image,
    )


def shown(rooms: "SiteRooms", request: "Request", link: "Link") -> Shown:
    """Where a link leads, for whoever wants to know before opening it."""
    phones = (link.ios_target, link.android_target)
    leads = [*[variant.target for variant in link.variants if variant.percent], *[text for text in phones if text]]
    if not any(variant.percent for variant in link.variants):
        leads.insert(0, link.target)
    return Shown(address_of(rooms, request.host, link.code), tuple(dict.fromkeys(leads)), link.title)


def picture(rooms: "SiteRooms", request: "Request", link: "Link", kind: str, level: str, scale: str) -> Picture:
    """Draw the QR code of a link on the host that is asked. `kind` is `qr.svg` or `qr.png`.

    `level` is one of `qr.LEVELS`, empty for M; `scale` a whole number from 1 to 20, empty for 4 (SVG) or 8 (PNG). Raises
    Refusal `field_invalid`.
    """
    if scale and not (scale.isascii() and scale.isdigit() and len(scale) <= 2):
        raise Refusal("field_invalid", "scale")
    address = qr.scan_url(address_of(rooms, request.host, link.code))
    return _drawn(address, kind, level or "M", int(scale) if scale else QR_DEFAULT_SCALE[kind])


@lru_cache(maxsize=256)
def _drawn(address: str, kind: str, level: str, scale: int) -> Picture:
    body = qr.qr_svg(address, level, scale).encode() if kind == "qr.svg" else qr.qr_png(address, level, scale)
    return Picture(body, QR_KINDS[kind], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
