"""Gather: everything that is known about the way to one conversion, in the words of attribution.

A contact belongs to a conversion by one of four ties, and no other:

    visitor   it has the visitor of the conversion's event
    person    it has a visitor that was seen to be the person the conversion names, not later than the conversion
    click     it is the click that the conversion names, or has that click's visitor where the conversion has none
    landing   it is the click of a link by which one of these contacts came to the site

A click on a link and the landing that follows it are one contact seen from two sides: the landing is folded into the click,
and where the click has no visitor it gets the landing's. A landing that names only the link is folded into an earlier contact
of the same visitor by that link. Consent given on the landing page covers the click that led to it.

A named click is believed to be of the person who converted when a server or a network names it. A page could name anybody's:
there it is believed unless it is known to be another visitor's.
"""

from typing import TYPE_CHECKING, Final, cast

import msgspec

from gateway.attribution.channels import Source, channel_of
from gateway.attribution.journeys import DIRECT
from gateway.attribution.touches import Conversion, Coupon, IdentityLink, Touch, coupon_key
from gateway.catalogue import Coupon as CouponEntry
from gateway.catalogue import Link, Utm
from gateway.flows.touching import called
from gateway.links.codes import fold_slug
from gateway.protocols.catalogue_wire import record_of
from gateway.purposes import ADVERTISING, ANALYTICS
from gateway.times import DAY_MS, SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.attribution.touches import Kind
    from gateway.flows.shelves import Shelf
    from gateway.stores.contract_credit import Contact, CountedConversion, CreditStore

__all__ = ["CONTACTS_MAX", "REACH_MS", "Gathered", "Label", "gather"]

CONTACTS_MAX: Final = 1_000
"""Newest contacts of a person that are looked at."""
REACH_MS: Final = 400 * DAY_MS
"""How far back contacts are looked for: the largest window a goal may have, so that what lies outside a goal's own window is
shown as such."""
CLICKS_MAX: Final = 200
"""Clicks of links that landings name, looked at for one conversion."""
_EVER_MS: Final = 1 << 53
UNNAMED_LINK: Final = Source("(not set)", "link")
"""What a landing is called by which nothing but a slug is known."""
_BUYER: Final = "buyer"
"""Stands for an ambassador who is known to be the person who converted."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What reports call a contact or a coupon, with the link, campaign and ambassador it belongs to."""

    kind: str
    channel: str
    source: str
    medium: str
    campaign_name: str
    link_id: str
    campaign_id: str
    ambassador_id: str
    variant: str
    device: str
    landing: str


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion as attribution takes it. `labels` are by the id of a touch, `contacts` the stored ones by its number.

    `visitors` are the keys of all visitors whose contacts were looked for. `first_of_person`: this person never converted on
    this goal before; of a person nobody knows every conversion is the first.
    """

    conversion: Conversion
    touches: tuple[Touch, ...]
    links: tuple[IdentityLink, ...]
    coupons: dict[str, Coupon]
    labels: dict[str, Label]
    contacts: "dict[int, Contact]"
    visitors: tuple[bytes, ...]
    first_of_person: bool


async def gather(store: "CreditStore", shelf: "Shelf", counted: "CountedConversion") -> Gathered:
    """Read what one conversion may be credited to. Raises StoreError."""
    site, at_ms = counted.site, counted.occurred_at_ms
    links = await _identity_links(store, counted)
    named = await _clicks(store, site, [counted.click_id]) if counted.click_id is not None else []
    visitors = {key: None for key in (counted.visitor_key, *(key for key, _ in links)) if key is not None}
    if counted.visitor_key is None:
        visitors |= {click.visitor_key: None for click in named if click.visitor_key is not None}
    found = list(named)
    if visitors:
        found += await store.contacts(
            site,
            visitor_keys=list(visitors),
            click_ids=(),
            after_ms=at_ms - REACH_MS,
            upto_ms=at_ms,
            limit=CONTACTS_MAX,
        )
    known = {contact.click_id for contact in found}
    landed = {contact.landed_click_id: None for contact in found if contact.landed_click_id not in known}
    asked = [click_id for click_id in landed if click_id is not None][:CLICKS_MAX]
    if asked:
        found += await _clicks(store, site, asked)
    contacts = {contact.touch_no: contact for contact in [await _resolved(shelf, contact) for contact in found]}
    previous_at_ms = None
    if counted.visitor_key is not None or counted.person_key is not None:
        previous_at_ms = await store.previous_conversion_at(
            site,
            counted.goal,
            visitor_key=counted.visitor_key,
            person_key=counted.person_key,
            before_ms=at_ms,
            not_id=counted.conversion_id,
        )
    written = await _coupons(store, shelf, counted)
    buyer = await _buyer(store, shelf, counted, contacts.values(), written.values())
    labels = {f"coupon:{coupon.code}": _coupon_label(shelf, coupon) for coupon in written.values()}
    labels |= {str(number): _label(contact) for number, contact in contacts.items()}
    return Gathered(
        conversion=Conversion(
            at_ms=at_ms,
            device=_opaque(counted.visitor_key),
            user=_opaque(counted.person_key),
            click_id=counted.click_id,
            coupons=counted.coupons,
            previous_at_ms=previous_at_ms,
            test=counted.test,
            ambassador=_BUYER,
        ),
        touches=await _touches(shelf, counted, contacts.values(), buyer),
        links=tuple([IdentityLink(key.hex(), _opaque(counted.person_key) or "", at) for key, at in links]),
        coupons={
            key: Coupon(coupon.code, labels[f"coupon:{coupon.code}"].channel, _ambassador(coupon.ambassador_id, buyer))
            for key, coupon in written.items()
        },
        labels=labels,
        contacts=contacts,
        visitors=tuple(visitors),
        first_of_person=previous_at_ms is None,
    )


def _opaque(key: bytes | None) -> str | None:
    return key.hex() if key is not None else None


async def _identity_links(store: "CreditStore", counted: "CountedConversion") -> list[tuple[bytes, int]]:
    """The visitors that were seen to be the person of the conversion by then: a later sight changes nothing."""
    if counted.person_key is None or not _granted(counted.facts) & (ANALYTICS | ADVERTISING):
        return []
    seen = await store.devices_of(counted.site, counted.person_key)
    return [(key, at_ms) for key, at_ms in seen if at_ms <= counted.occurred_at_ms]


class _Judged(msgspec.Struct):
    class _Judgement(msgspec.Struct):
        granted: int = 0

    judgement: "_Judged._Judgement"


_read_judged: Final = msgspec.json.Decoder(_Judged).decode


def _granted(facts: bytes) -> int:
    """What was granted when the conversion came. A person who refused is not followed to their browsers."""
    return _read_judged(facts).judgement.granted


async def _clicks(store: "CreditStore", site: str, click_ids: "Sequence[str]") -> "list[Contact]":
    """Clicks by their ids, whenever they were: one that came too late is known, and has its own reason."""
    return list(
        await store.contacts(
            site, visitor_keys=(), click_ids=click_ids, after_ms=0, upto_ms=_EVER_MS, limit=len(click_ids)
        )
    )


async def _resolved(shelf: "Shelf", contact: "Contact") -> "Contact":
    """The contact with what its link says where it says nothing itself.

    A landing whose link was not in memory names it by the slug; then the link is also asked what reports call it.
    """
    if contact.link_id and not contact.campaign_id and not contact.ambassador_id:
        link = await _link(shelf, contact.link_id)
        if link is not None:
            known = {"link_id": link.id, "campaign_id": link.campaign_id, "ambassador_id": link.ambassador_id}
            if link.id != contact.link_id and (contact.source, contact.medium) == (
                UNNAMED_LINK.source,
                UNNAMED_LINK.medium,
            ):
                channel, source, _ = called(link, shelf.campaigns.get(link.campaign_id), {})
                known |= {"channel": channel, "source": source.source, "medium": source.medium}
                known |= {"campaign_name": contact.campaign_name or source.campaign}
            contact = msgspec.structs.replace(contact, **known)
    if contact.ambassador_id and not contact.campaign_id:
        ambassador = shelf.ambassadors.get(contact.ambassador_id)
        if ambassador is not None:
            contact = msgspec.structs.replace(contact, campaign_id=ambassador.campaign_id)
    return contact


async def _link(shelf: "Shelf", named: str) -> Link | None:
    link = await shelf.link_by_id(named)
    folded = fold_slug(named)
    return await shelf.link(folded) if link is None and folded is not None else link


# ------------------------------------------------------------------ touches


async def _touches(
    shelf: "Shelf", counted: "CountedConversion", contacts: "Iterable[Contact]", buyer: "Collection[str]"
) -> tuple[Touch, ...]:
    ordered = sorted(contacts, key=lambda contact: (contact.occurred_at_ms, contact.touch_no))
    devices, consents, folded = _folded_landings(counted, ordered)
    folded |= await _folded_by_link(shelf, ordered, devices, folded)
    return tuple(
        [
            Touch(
                id=str(contact.touch_no),
                sequence=contact.touch_no,
                at_ms=contact.occurred_at_ms,
                kind=cast("Kind", contact.kind),
                channel=_channel(contact),
                device=devices.get(contact.touch_no),
                click_id=contact.click_id,
                consent=contact.consent or contact.touch_no in consents,
                bot=contact.human != "yes",
                test=contact.test,
                duplicate_of=folded.get(contact.touch_no),
                ambassador=_ambassador(contact.ambassador_id, buyer),
            )
            for contact in ordered
        ]
    )


def _folded_landings(
    counted: "CountedConversion", ordered: "Sequence[Contact]"
) -> tuple[dict[int, str], set[int], dict[int, str]]:
    """Give every contact its visitor, and fold landings into the clicks they came by.

    Answers visitors by touch number, clicks that consent on the landing page covers, and what is folded into what.
    """
    clicks = {contact.click_id: contact for contact in ordered if contact.click_id is not None}
    devices = {one.touch_no: one.visitor_key.hex() for one in ordered if one.visitor_key is not None}
    named = clicks.get(counted.click_id) if counted.click_id is not None else None
    if named is not None:
        devices[named.touch_no] = _device_of_named(named, counted)
    consents: set[int] = set()
    folded: dict[int, str] = {}
    landings: dict[tuple[str | None, str], int] = {}
    for landing in ordered:
        click_id = landing.landed_click_id
        if click_id is None or landing.human != "yes":
            continue
        device, click = devices.get(landing.touch_no), clicks.get(click_id)
        if click is not None and click.human == "yes":
            if device is not None and click.visitor_key is None and click is not named:
                devices.setdefault(click.touch_no, device)
            if device is not None and devices.get(click.touch_no) == device:
                folded[landing.touch_no] = str(click.touch_no)
                if landing.consent:
                    consents.add(click.touch_no)
                continue
        # The click is not known, a robot's or somebody else's: the landing speaks for itself, once.
        first = landings.setdefault((device, click_id), landing.touch_no)
        if first != landing.touch_no:
            folded[landing.touch_no] = str(first)
    return devices, consents, folded


def _device_of_named(click: "Contact", counted: "CountedConversion") -> str:
    """Whose the click is that the conversion names; a click of nobody known is the conversion's."""
    own = _opaque(counted.visitor_key)
    if own is not None and (counted.trust != "browser" or click.visitor_key is None):
        return own
    return _opaque(click.visitor_key) or f"click:{click.click_id}"


async def _folded_by_link(
    shelf: "Shelf", ordered: "Sequence[Contact]", devices: "Mapping[int, str]", folded: "Mapping[int, str]"
) -> dict[int, str]:
    """Landings that name a link by which the same visitor came within the time a repeat of it is no new touch."""
    found: dict[int, str] = {}
    came: dict[tuple[str, str], Contact] = {}
    for contact in ordered:
        device = devices.get(contact.touch_no)
        if device is None or not contact.link_id or contact.touch_no in folded or contact.human != "yes":
            continue
        before = came.get((device, contact.link_id))
        if before is not None and contact.event_id is not None:
            link = await shelf.link_by_id(contact.link_id)
            window_ms = (link.repeat_window_s if link is not None else 3_600) * SECOND_MS
            if contact.occurred_at_ms - before.occurred_at_ms <= window_ms:
                found[contact.touch_no] = str(before.touch_no)
                continue
        came[device, contact.link_id] = contact
    return found


def _channel(contact: "Contact") -> str:
    if contact.kind == DIRECT:
        return DIRECT
    return contact.channel or "unassigned"


def _label(contact: "Contact") -> Label:
    return Label(
        kind=contact.kind,
        channel=_channel(contact),
        source=contact.source,
        medium=contact.medium,
        campaign_name=contact.campaign_name,
        link_id=contact.link_id,
        campaign_id=contact.campaign_id,
        ambassador_id=contact.ambassador_id,
        variant=contact.variant,
        device=contact.device,
        landing=contact.landing,
    )


# ------------------------------------------------------------------ coupons and ambassadors


async def _coupons(store: "CreditStore", shelf: "Shelf", counted: "CountedConversion") -> dict[str, CouponEntry]:
    """The coupons on the order that belonged to somebody when it was placed, by their `coupon_key`."""
    found: dict[str, CouponEntry] = {}
    for key in map(coupon_key, counted.coupons):
        coupon = shelf.coupons.get(key)
        if coupon is None:
            coupon = await _archived_since(store, counted, key)
        if coupon is None or counted.occurred_at_ms < coupon.starts_at_ms:
            continue
        if not coupon.expires_at_ms or counted.occurred_at_ms < coupon.expires_at_ms:
            found[key] = coupon
    return found


async def _archived_since(store: "CreditStore", counted: "CountedConversion", key: str) -> CouponEntry | None:
    """A coupon that was put away only after the order: what it earned until then stays earned."""
    entry = await store.entry_by_code(counted.site, "coupon", key)
    if entry is None or not entry.archived or entry.changed_at_ms <= counted.occurred_at_ms:
        return None
    record = record_of(entry)
    return record if isinstance(record, CouponEntry) else None


def _coupon_label(shelf: "Shelf", coupon: CouponEntry) -> Label:
    """What reports call a coupon: what its campaign says, else `coupon` as the source, `affiliate` for an ambassador's."""
    campaign = shelf.campaigns.get(coupon.campaign_id)
    utm = campaign.utm if campaign is not None else Utm()
    owners = campaign.channel.strip().lower() if campaign is not None else ""
    medium = utm.medium or owners or ("affiliate" if coupon.ambassador_id else "coupon")
    name = utm.campaign or (campaign.name if campaign is not None else "")
    channel = channel_of(Source(utm.source or "coupon", medium, name))
    return Label(
        kind="coupon",
        channel=(owners or "coupon") if channel == "unassigned" else channel,
        source=utm.source or "coupon",
        medium=medium,
        campaign_name=name,
        link_id="",
        campaign_id=coupon.campaign_id,
        ambassador_id=coupon.ambassador_id,
        variant="",
        device="other",
        landing="",
    )


def _ambassador(ambassador_id: str, buyer: "Collection[str]") -> str | None:
    return (_BUYER if ambassador_id in buyer else ambassador_id) or None


async def _buyer(
    store: "CreditStore",
    shelf: "Shelf",
    counted: "CountedConversion",
    contacts: "Iterable[Contact]",
    coupons: "Iterable[CouponEntry]",
) -> frozenset[str]:
    """Those of the ambassadors concerned who are the person who converted: by the key of the person, else by the device."""
    ids = {one.ambassador_id for one in contacts} | {one.ambassador_id for one in coupons}
    keys = {id_: known.person_key for id_ in ids if (known := shelf.ambassadors.get(id_)) is not None}
    if not any(keys.values()):
        return frozenset()
    persons = {counted.person_key} if counted.person_key is not None else set()
    if not persons and counted.visitor_key is not None:
        seen = await store.persons_of(counted.site, [counted.visitor_key])
        persons = {person for _, person, at_ms in seen if at_ms <= counted.occurred_at_ms}
    return frozenset([id_ for id_, key in keys.items() if key and key in persons])
