"""Judged event -> everything it leaves behind: facts, conversion claim, touch, one owed delivery per destination.

This is the middle of the river: permit, render, seal. After it nothing holds a clear personal value any more.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

import msgspec

from gateway import consent, links
from gateway.destinations.render import render
from gateway.event import (
    Agent,
    EventRow,
    Item,
    Judged,
    Owed,
    Page,
    Payload,
    Received,
    Recordable,
    Scalar,
    Unfit,
    Withheld,
)
from gateway.flows import carts
from gateway.flows.claiming import UNCLAIMED, claim_of
from gateway.flows.notices import notice_of
from gateway.flows.touching import touch_of
from gateway.purposes import ADVERTISING, Judgement
from gateway.settings import Links

if TYPE_CHECKING:
    from gateway.flows.house import House, Placed, SiteRooms
    from gateway.stores.contract_credit import Contact

__all__ = ["Facts", "assemble", "clean_page", "clean_props", "clean_rest", "place_of"]


class Facts(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """What is kept of an event besides its row: JSON, without personal values. See docs/reference/storage.md.

    `status` is what a tracker called the conversion when it came.
    """

    page: Page | None = None
    amount_minor: int | None = None
    currency: str | None = None
    order_id: str | None = None
    goal: str | None = None
    items: tuple[Item, ...] = ()
    props: Mapping[str, Scalar | list[Scalar]] = {}
    search: str | None = None
    campaign: Mapping[str, str] = {}
    clicks: tuple[str, ...] = ()
    agent: Agent | None = None
    marks: tuple[str, ...] = ()
    test: bool = False
    status: str | None = None
    judgement: Judgement
    judgements: Mapping[str, Judgement] = {}


_encode: Final = msgspec.json.Encoder().encode


def clean_page(received: Received, named: Links = Links()) -> Page:  # noqa: B008 - a frozen value
    """The page as it may be kept and shown: no click ids, no tokens, no contact data, the referrer's host only.

    `named` says what the site calls the parameters that its links add.
    """
    if received.url is None and received.title is None and received.referrer is None:
        return _NO_PAGE
    title = _clean(received.title, received) if received.title else None
    url = links.clean_url(received.url, named.click_parameter, named.code_parameter)
    if url is not None:
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        if _scrubbed(unquote_plus(path), received) == links.REMOVED:
            url = f"{scheme}://{host}/"
    return Page(url=url, title=title or None, referrer=links.host_of(received.referrer))


_NO_PAGE: Final = Page()


def clean_props(received: Received) -> Mapping[str, Scalar | list[Scalar]]:
    """Properties with contact data that slipped into their texts taken out."""
    props = received.props
    if not props:
        return props
    cleaned: dict[str, Scalar | list[Scalar]] = {}
    for name, value in props.items():
        if isinstance(value, str):
            cleaned[name] = _clean(value, received)
        elif isinstance(value, list):
            cleaned[name] = [_clean(part, received) if isinstance(part, str) else part for part in value]
        else:
            cleaned[name] = value
    return cleaned


def clean_rest(received: Received) -> Received:
    """The event with contact data taken out of its other free texts: search words and the lines of the order.

    A product's name may hold who it is for; that it holds the buyer's town says nothing. Its other texts are the
    catalogue's, and stay whole unless they hold an e-mail address: a brand is not the person of the same name.
    """
    if not (received.items or received.search):
        return received
    return msgspec.structs.replace(
        received,
        items=tuple([_clean_item(item, received) for item in received.items]),
        search=_clean(received.search, received) if received.search else None,
    )


def _clean_item(item: Item, received: Received) -> Item:
    cleaned = {
        field: links.clean_text(text)
        for field in ("id", "brand", "category", "variant")
        if (text := getattr(item, field)) is not None and "@" in text
    }
    if item.name is not None:
        cleaned["name"] = _scrubbed(links.clean_text(item.name), received, places=False)
    return msgspec.structs.replace(item, **cleaned) if cleaned else item


def _clean(text: str, received: Received) -> str:
    return _scrubbed(links.clean_text(text), received)


def _scrubbed(text: str, received: Received, *, places: bool = True) -> str:
    """REMOVED in place of a free text that holds a value of the person, or the address the event came from.

    Without `places` only values that belong to one person count: town, region, postal code, country and gender do not.
    """
    person, ip = received.person, received.device.ip
    if person is None and ip is None:
        return text
    if ip is not None:
        address = ip.reveal()
        # An IPv4 address reads the same in capitals, so the text needs no lower case for it.
        if len(address) > 6 and (address.lower() in text.lower() if ":" in address else address in text):
            return links.REMOVED
    if person is None:
        return text
    lowered = text.lower()
    own = (person.first_name, person.last_name, person.street, person.date_of_birth, person.external_id)
    values = person.values() if places else (*person.email, *person.phone, *own)
    for value in values:
        if value is None:
            continue
        clear = value.reveal().strip().lower()
        if len(clear) >= 3 and clear in lowered:
            return links.REMOVED
    return text


def place_of(site: str, event_id: str, destination: str) -> bytes:
    """What a sealed payload is bound to: moved to another row, it does not open."""
    return f"{site}\x1f{event_id}\x1f{destination}".encode()


def assemble(
    house: "House",
    rooms: "SiteRooms",
    judged: Judged,
    *,
    person_key: bytes | None = None,
    strict: bool = False,
    sender: str | None = None,
    click: "Contact | None" = None,
    claim_key: str | None = None,
    claims: bool = True,
) -> Recordable:
    """Make the Recordable of one judged event.

    `sender` is the Origin or Referer a browser's request came with, `click` what the store knows of the click the event
    names. `claim_key` overrides what may count once; without `claims` the event is no conversion, whatever its name is.
    Raises Refusal: those of `claiming.claim_of`.
    """
    received, visitor = judged.received, judged.visitor
    claimed = (
        claim_of(house, rooms, judged, person_key=person_key, sender=sender, key=claim_key) if claims else UNCLAIMED
    )
    claim, goal = claimed.claim, claimed.goal
    if claimed.marks:
        judged = msgspec.structs.replace(judged, marks=judged.marks + claimed.marks)
    shown = judged
    if claim is not None and claim.value_source == "default":
        # Destinations are told what the conversion is worth; the event's own facts stay what the event said.
        worth = msgspec.structs.replace(received, amount_minor=claim.amount_minor, currency=claim.currency)
        shown = msgspec.structs.replace(judged, received=worth)
    wanted = rooms.wanted.get(received.name, ())
    owed = (
        tuple([_owe(house, rooms, shown, placed, claim.goal if claim else None) for placed in wanted]) if wanted else ()
    )
    if claim is not None and goal is not None and goal.notify_url:
        told = notice_of(house, rooms, received, claim, goal, click if claim.click_id is not None else None)
        owed = (*owed, _sealed(house, rooms, received.event_id, told))
    return Recordable(
        event=EventRow(
            received.site,
            received.event_id,
            received.name,
            received.trust,
            received.occurred_at_ms,
            received.received_at_ms,
            visitor.kind,
            visitor.key,
            _encode(_facts(rooms, judged)),
        ),
        person_key=person_key,
        conversion=claim,
        touch=touch_of(house, rooms, judged),
        owed=owed,
        strict=strict,
        timers=carts.changes(house, rooms, judged, person_key),
    )


def _facts(rooms: "SiteRooms", judged: Judged) -> Facts:
    """Facts with page details and properties only where analytics consent covers them."""
    received = judged.received
    if consent.keeps_details(judged.judgement):
        return Facts(
            page=judged.page,
            amount_minor=received.amount_minor,
            currency=received.currency if received.amount_minor is not None else None,
            order_id=received.order_id,
            goal=received.goal,
            items=received.items,
            props=judged.props,
            search=links.clean_text(received.search) if received.search else None,
            campaign=received.campaign,
            clicks=tuple(received.click_ids) if judged.judgement.granted & ADVERTISING else (),
            agent=received.device.agent,
            marks=judged.marks,
            test=received.test,
            status=received.status,
            judgement=judged.judgement,
            judgements=judged.judgements,
        )
    return Facts(
        amount_minor=received.amount_minor,
        currency=received.currency if received.amount_minor is not None else None,
        order_id=received.order_id,
        goal=received.goal,
        marks=judged.marks,
        test=received.test,
        status=received.status,
        judgement=judged.judgement,
        judgements=judged.judgements,
    )


def _owe(house: "House", rooms: "SiteRooms", judged: Judged, placed: "Placed", goal: str | None) -> Owed:
    """Permit, render and seal for one destination, or say why nothing is owed to it."""
    received = judged.received
    if received.device.agent.bot is not None and received.trust == "browser" and not placed.send_bots:
        return Owed(destination=placed.name, fate="withheld", reason="bot", detail=received.device.agent.bot)
    if received.test and not placed.send_tests:
        return Owed(destination=placed.name, fate="withheld", reason="test_event")
    permitted = consent.permit(judged, placed.name, placed.needs, goal, restricted=placed.restricted)
    if isinstance(permitted, Withheld):
        return Owed(destination=placed.name, fate="withheld", reason=permitted.reason, purposes=permitted.missing)
    try:
        payload = render(placed.definition, permitted, house.context(rooms, placed, received.received_at_ms))
    except Exception as error:  # noqa: BLE001 - a fault in one table must not lose the event or block other destinations
        house.telemetry.failed("render_failed", destination=placed.name, kind=type(error).__name__)
        payload = Unfit("render_failed")
    if isinstance(payload, Unfit):
        return Owed(destination=placed.name, fate="unfit", reason=payload.reason, detail=payload.field)
    return _sealed(house, rooms, received.event_id, payload)


def _sealed(house: "House", rooms: "SiteRooms", event_id: str, payload: Payload) -> Owed:
    return Owed(
        destination=payload.destination,
        fate="waiting",
        reason="fresh",
        purposes=payload.purposes,
        payload=house.vault.seal(payload.body, place_of(rooms.id, event_id, payload.destination)),
        dedup_key=payload.dedup_key,
        expires_at_ms=payload.expires_at_ms,
    )
