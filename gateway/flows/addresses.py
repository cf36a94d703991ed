"""Addresses of links: where they are opened, where they may lead, and addresses that carry a signed target."""

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote_plus

from gateway.errors import Refusal
from gateway.links import CLICK_IDS, arrival, codes, targets

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.settings import Settings

__all__ = ["SIGNED_PATH", "Signed", "address_of", "checked", "link_problems", "read_signed", "signed_path"]

SIGNED_PATH: Final = "-/"
"""What stands before the slug of a link with a signed target."""
_SIGNED_NAMES: Final = frozenset({"to", "exp", "sig"})
_PARTS_MAX: Final = 200


class Signed(NamedTuple):
    """A target whose signature is right, and what of the query is carried on: everything but the three signed parts."""

    target: str
    query: str


def link_problems(settings: "Settings") -> list[str]:
    """What is wrong with the names of parameters that links add: taken by the gateway, by platforms or by campaigns."""
    taken = targets.RESERVED_PARAMETERS | set(CLICK_IDS) | set(arrival.CAMPAIGN) | _SIGNED_NAMES
    problems = []
    for site in settings.site:
        for field in ("click_parameter", "code_parameter", "via_parameter"):
            if getattr(site.links, field) in taken:
                problems.append(f"site {site.id}: links: {field}: this name has a meaning already; take another")
    return problems


def address_of(rooms: "SiteRooms", host: str, code: str) -> str:
    """The address of a link on one of the hosts that serve it, as the Host header names it, port included.

    Links are opened over https; only a host of this machine, as in the demo, is reached without.
    """
    name, colon, port = host.lower().rpartition(":")
    name = (name if colon and port.isdigit() else host.lower()).removesuffix(".")
    local = name == "localhost" or name.endswith(".localhost") or name.startswith("127.")
    path = f"/{code}" if name in rooms.site.links.hosts else f"/l/{code}"
    return f"{'http' if local else 'https'}://{host.lower()}{path}"


def checked(rooms: "SiteRooms", target: str) -> str:
    """A stored target that is about to be used. Raises Refusal `target_invalid`: the settings allow it no more."""
    return _checked(target, rooms.link_targets, rooms.site.links.schemes)


@lru_cache(maxsize=4096)
def _checked(target: str, allowed: tuple[str, ...], schemes: tuple[str, ...]) -> str:
    return targets.check_target(target, allowed, schemes=schemes)


# ------------------------------------------------------------------ signed targets


def signed_path(house: "House", rooms: "SiteRooms", code: str, target: str, expires_at_s: int) -> str:
    """Path and query of a link that leads to another target until a moment (Unix seconds), without a leading slash.

    It stands behind `/l/` on a host of the site and behind `/` on a link host. Raises Refusal `field_invalid`,
    `target_invalid`.
    """
    slug = codes.check_slug(code)
    signature = targets.sign_target(house.vault.signing_keys("target", rooms.id)[-1], slug, target, expires_at_s)
    return f"{SIGNED_PATH}{slug}?to={quote(target, safe='')}&exp={expires_at_s}&sig={signature}"


def read_signed(house: "House", rooms: "SiteRooms", slug: str, query: str, now_ms: int) -> Signed:
    """Read a signed target from the query of a request. Raises Refusal `target_signature_invalid`.

    Each of the three parts must be there once: two readers of a name that stands there twice could take two values.
    """
    found: dict[str, str] = {}
    rest = []
    for part in query.split("&", _PARTS_MAX)[:_PARTS_MAX]:
        name, _, value = part.partition("=")
        if name not in _SIGNED_NAMES:
            rest.append(part)
        elif name in found:
            raise Refusal("target_signature_invalid")
        else:
            found[name] = unquote_plus(value)
    if found.keys() != _SIGNED_NAMES:
        raise Refusal("target_signature_invalid")
    keys = house.vault.signing_keys("target", rooms.id)
    target = targets.verify_target(keys, slug, found["to"], found["exp"], found["sig"], now_ms // 1000, field="to")
    return Signed(target, targets.carried_beside(target, "&".join(rest)))
