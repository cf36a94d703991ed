"""The lock: the type of an event that a destination may see.

Only `consent.permit()` makes one. Rendering takes nothing else, so an event that was not judged cannot be rendered, and
a field that was not permitted is not there to be rendered. Other modules name this type for the type checker only; an
import contract and a test keep it so.
"""

from collections.abc import Mapping

import msgspec

from gateway.event import Device, Item, Page, Person, Scalar

__all__ = ["Permitted"]


class Permitted(msgspec.Struct, frozen=True, kw_only=True):
    """One event cut down to what one destination may see. A group that was cut is empty or None.

    `purposes` are all purposes that what is left rests on. `consent` is the full set of granted purposes, for vendors
    that want to be told. `restricted`: the visitor opted out, so it may only be sent in the vendor's restricted mode.
    """

    destination: str
    purposes: int
    consent: int
    opted_out: int
    restricted: bool
    event_id: str
    name: str
    trust: str
    occurred_at_ms: int
    received_at_ms: int
    test: bool
    goal: str | None = None
    conversion_id: str | None = None
    # group value
    amount_minor: int | None = None
    currency: str | None = None
    order_id: str | None = None
    items: tuple[Item, ...] = ()
    props: Mapping[str, Scalar | list[Scalar]] = {}
    search: str | None = None
    # group page
    page: Page = Page()
    campaign: Mapping[str, str] = {}
    # group identifiers
    visitor_id: str | None = None
    session: int | None = None
    click_ids: Mapping[str, str] = {}
    click_seen_at_ms: int | None = None
    platform_ids: Mapping[str, str] = {}
    # group contact
    person: Person | None = None
    # group device
    device: Device | None = None
