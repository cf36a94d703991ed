"""Link: this browser's id is put into a token for another domain of the same owner."""

from typing import TYPE_CHECKING, Final

from gateway import access, consent, identity
from gateway.errors import Refusal
from gateway.flows.receive import check_origin, hear
from gateway.ids import RANDOM_ID_BYTES, random_id

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = ["PARAMETER", "link"]

PARAMETER: Final = identity.LINK_PARAMETER


def link(house: "House", rooms: "SiteRooms", request: "Request", target: str) -> str | None:
    """Return a token for `target`, a host name, or None when there is no id or no consent to carry.

    Raises Refusal: a page of another domain, or a target that the operator did not list.
    """
    check_origin(rooms, request)
    host = identity.link_host(target)
    listed = (*rooms.site.linked_domains, *rooms.domains)
    if access.origin_host(f"https://{host}") != host or not any(
        host == domain or host.endswith("." + domain) for domain in listed
    ):
        raise Refusal("field_invalid", "to")
    now_ms = house.clock.now_ms()
    token, _, said = hear(house, rooms, request, now_ms)
    judgement = rooms.judge(said, None).own
    if token is None or not consent.keeps_visitor(judgement, rooms.id_needs):
        return None
    return identity.sign_link(rooms.keys, token, host, now_ms, random_id(house.entropy.token_bytes(RANDOM_ID_BYTES)))
