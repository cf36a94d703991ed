"""Catalogue reading: entries as people are shown them: one, its versions, a page of many, and what goals may start from.

An entry stands under the name of its kind and can be sent back as it is, less `catalogue_wire.READ_ONLY`; beside it stands
what is worked out from it, such as the address of a link.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.conversions import goals
from gateway.errors import Refusal
from gateway.protocols import catalogue_wire as wire

if TYPE_CHECKING:
    from gateway.catalogue import Entry
    from gateway.flows.house import House, SiteRooms

__all__ = ["HISTORY_MAX", "KIND_OF", "entry_of", "history", "link_base", "listed", "presets", "read", "shown"]

KIND_OF: Final = {
    "campaigns": "campaign",
    "links": "link",
    "ambassadors": "ambassador",
    "coupons": "coupon",
    "goals": "goal",
}
"""What a collection is called in addresses and answers, to the kind of its entries."""
PLURAL: Final = {kind: plural for plural, kind in KIND_OF.items()}

LIST_MAX: Final = 1_000
HISTORY_MAX: Final = 100


async def entry_of(house: "House", rooms: "SiteRooms", kind: str, entry_id: str, version: int | None = None) -> "Entry":
    """Return an entry as the store has it, or an old version. Raises Refusal `entry_unknown`, or StoreError."""
    entry = await house.store.entry(rooms.id, kind, entry_id[:64], version)
    if entry is None:
        raise Refusal("entry_unknown")
    return entry


def link_base(rooms: "SiteRooms") -> str:
    """What stands before the slug in the address of a link."""
    host = rooms.site.links.hosts[0] if rooms.site.links.hosts else ""
    return f"https://{host}/" if host else f"https://{rooms.site.hosts[0]}/l/"


def shown(rooms: "SiteRooms", entry: "Entry") -> dict[str, object]:
    """An entry under the name of its kind; beside it what is worked out and cannot be sent back."""
    shown: dict[str, object] = {entry.kind: wire.told(entry)}
    if entry.kind == "link":
        shown["url"] = link_base(rooms) + entry.folded
    return shown


async def read(
    house: "House", rooms: "SiteRooms", kind: str, entry_id: str, version: int | None = None
) -> dict[str, object]:
    """Show an entry, or an old version of it. Raises Refusal `entry_unknown`, or StoreError."""
    return shown(rooms, await entry_of(house, rooms, kind, entry_id, version))


async def history(house: "House", rooms: "SiteRooms", kind: str, entry_id: str) -> dict[str, object]:
    """Show the versions of an entry, newest first, at most 100. Raises Refusal `entry_unknown`, or StoreError."""
    entry = await entry_of(house, rooms, kind, entry_id)
    found = [entry]
    for version in range(entry.version - 1, max(entry.version - HISTORY_MAX, 0), -1):
        older = await house.store.entry(rooms.id, kind, entry.id, version)
        if older is not None:
            found.append(older)
    return {"versions": [wire.told(one) for one in found]}


async def listed(
    house: "House",
    rooms: "SiteRooms",
    kind: str,
    *,
    code: str | None = None,
    campaign_id: str | None = None,
    ambassador_id: str | None = None,
    archived: bool = False,
    after_id: str = "",
    limit: int = 100,
) -> dict[str, object]:
    """Show a page of entries by id: those of a campaign or ambassador, or the one with a code. Raises StoreError.

    `next` is the id to go on after, None on the last page. Of goals, `implied` are events that the settings count as
    conversions without an entry.
    """
    found: list[Entry] = []
    more: str | None = None
    if code is not None:
        entry = await house.store.entry_by_code(rooms.id, kind, folded_text(kind, code))
        found = [entry] if entry is not None else []
    else:
        while more is None:
            portion = await house.store.entries(rooms.id, kind, parent=campaign_id, after_id=after_id, limit=LIST_MAX)
            for entry in portion:
                after_id = entry.id
                if (archived or not entry.archived) and _is_of(entry, ambassador_id):
                    if len(found) == limit:
                        more = found[-1].id
                        break
                    found.append(entry)
            if len(portion) < LIST_MAX:
                break
    shown: dict[str, object] = {PLURAL[kind]: [wire.told(entry) for entry in found], "next": more}
    if kind == "link":
        shown["base_url"] = link_base(rooms)
    if kind == "goal":
        shown["implied"] = [name for name in rooms.site.conversion_events if name not in house.shelves[rooms.id].goals]
    return shown


def folded_text(kind: str, code: str) -> str:
    """A code that is looked for, as entries of its kind are filed."""
    return code.strip().casefold() if kind == "coupon" else code.lower()


def _is_of(entry: "Entry", ambassador_id: str | None) -> bool:
    return ambassador_id is None or getattr(wire.record_of(entry), "ambassador_id", None) == ambassador_id


def presets(business: str | None) -> dict[str, object]:
    """The goals a site may start from: for a kind of business, or all. Raises Refusal `field_invalid` for another kind."""
    if business is not None and business not in goals.BUSINESSES:
        raise Refusal("field_invalid", "business", goals.BUSINESSES)
    found = goals.presets_for(business) if business is not None else tuple(goals.PRESETS.values())
    return {"businesses": list(goals.BUSINESSES), "presets": [msgspec.structs.asdict(preset) for preset in found]}
