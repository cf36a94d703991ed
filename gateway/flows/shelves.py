"""Shelves: the catalogue of each site as it is asked for while events and clicks arrive.

Goals, campaigns, ambassadors and coupons are few and asked for by every conversion: a shelf holds all of them in memory.
Links may be millions: a shelf holds those asked for last and reads others from the store. A shelf is filled at the start,
and changed by whoever wrote an entry, after the store has it.

Archived entries are found by their id, so that old conversions can be explained, but not by code, token or coupon.
Goals that only the settings name (`conversion_events`) are not here: they have no entry.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gateway.attribution.touches import coupon_key
from gateway.catalogue import Ambassador, Campaign, Coupon, Entry, Goal, Link
from gateway.conversions.goals import AMBASSADOR_WINDOW_MS, PRESETS
from gateway.protocols.catalogue_wire import Record, record_of

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.stores.contract_credit import CreditStore

__all__ = ["LINKS_KEPT", "Shelf", "folded_code", "load", "token_digest"]

Held = TypeVar("Held", Goal, Campaign, Ambassador, Coupon)

LINKS_KEPT: Final = 20_000
"""Links held in memory of each site: about 26 MB when their targets are 180 characters long."""
_HELD_WHOLE: Final = ("goal", "campaign", "ambassador", "coupon")
_PORTION: Final = 1_000


def folded_code(record: Record) -> str:
    """The code of a record as it is looked up: coupons as customers type them, others without regard to case."""
    return coupon_key(record.code) if isinstance(record, Coupon) else record.code.lower()


def token_digest(house: "House", site: str, token: str) -> bytes:
    """The keyed digest of a goal's postback token: what the catalogue keeps of it, and `goals_by_token` finds it by."""
    return house.vault.digest("goal_token", site, token)


class Shelf:
    """The catalogue of one site.

    `goals` by code, `campaigns` by id and `campaigns_by_code` by folded code, `ambassadors` by id and by folded code,
    `coupons` by `coupon_key`. `goals_by_id` and the others by id hold archived entries too. `making` is held by whoever makes
    entries that may be asked for again.
    """

    def __init__(self, site: str, store: "CreditStore", links_kept: int = LINKS_KEPT) -> None:
        self.site = site
        self.goals: dict[str, Goal] = {}
        self.goals_by_id: dict[str, Goal] = {}
        self.goals_by_token: dict[bytes, Goal] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.campaigns_by_code: dict[str, Campaign] = {}
        self.ambassadors: dict[str, Ambassador] = {}
        self.ambassadors_by_code: dict[str, Ambassador] = {}
        self.coupons: dict[str, Coupon] = {}
        self.coupons_by_id: dict[str, Coupon] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._store = store
        self._links: OrderedDict[str, tuple[Link, int]] = OrderedDict()
        self._link_ids: dict[str, str] = {}
        self._links_kept = links_kept
        self._links_changed = 0
        self.making = asyncio.Lock()

    def version(self, kind: str, entry_id: str) -> int:
        """The version of an entry as it stands here; 0 for an unknown one, and for a link that is not held."""
        if kind == "link":
            held = self._links.get(entry_id)
            return held[1] if held is not None else 0
        return self._versions.get((kind, entry_id), 0)

    # -------------------------------------------------------------- goals

    @property
    def has_ambassadors(self) -> bool:
        """Whether a campaign in use has share links: then windows that nobody chose are 90 days."""
        return any(campaign.ambassadors for campaign in self.campaigns_by_code.values())

    def implied_goal(self, code: str) -> Goal:
        """The goal of an event that only the settings name: every rule at its default, and no id."""
        preset = PRESETS.get(code)
        if preset is not None:
            return preset.goal("", ambassadors=self.has_ambassadors)
        goal = Goal(id="", code=code, name=code)
        return msgspec.structs.replace(goal, click_window_ms=AMBASSADOR_WINDOW_MS) if self.has_ambassadors else goal

    # -------------------------------------------------------------- links

    async def link(self, folded_code: str) -> Link | None:
        """Return the link with a code, folded by `links.codes.fold_slug`. None for archived ones. Raises StoreError."""
        link_id = self._link_ids.get(folded_code)
        if link_id is not None:
            return self._used(link_id)
        mark = self._links_changed
        entry = await self._store.entry_by_code(self.site, "link", folded_code)
        return None if entry is None or entry.archived else self._read(entry, mark)

    def held_link(self, folded_code: str) -> Link | None:
        """Return the link with a code if it is in memory: for whoever may not wait for the store."""
        link_id = self._link_ids.get(folded_code)
        return self._used(link_id) if link_id is not None else None

    async def link_by_id(self, link_id: str) -> Link | None:
        """Return a link, archived or not. Raises StoreError."""
        if link_id in self._links:
            return self._used(link_id)
        mark = self._links_changed
        entry = await self._store.entry(self.site, "link", link_id)
        return self._read(entry, mark) if entry is not None else None

    async def all_links(self) -> AsyncIterator[Link]:
        """Read every link from the store, archived ones too, by id. Raises StoreError. None of them is kept in memory."""
        after_id = ""
        while portion := await self._store.entries(self.site, "link", after_id=after_id, limit=_PORTION):
            for entry in portion:
                link = record_of(entry)
                if isinstance(link, Link):
                    yield link
            after_id = portion[-1].id

    def _used(self, link_id: str) -> Link:
        self._links.move_to_end(link_id)
        return self._links[link_id][0]

    def _read(self, entry: Entry, mark: int) -> Link | None:
        """A link from the store. It is kept only when no link was written since the reading began: it may be old by now."""
        link = record_of(entry)
        if not isinstance(link, Link):
            return None
        if self._links_changed == mark:
            self._hold(entry, link)
        return link

    def _hold(self, entry: Entry, link: Link) -> None:
        self._drop(entry.id)
        self._links[entry.id] = (link, entry.version)
        if not entry.archived:
            self._link_ids[entry.folded] = entry.id
        while len(self._links) > self._links_kept:
            self._drop(next(iter(self._links)))

    def _drop(self, link_id: str) -> None:
        held = self._links.pop(link_id, None)
        if held is not None:
            folded = folded_code(held[0])
            if self._link_ids.get(folded) == link_id:
                del self._link_ids[folded]

    # -------------------------------------------------------------- changing

    def put(self, entry: Entry) -> None:
        """Take over an entry the store has. An older version than the one that stands here changes nothing."""
        record = record_of(entry)
        if isinstance(record, Link):
            self._links_changed += 1
            if entry.version > self.version("link", entry.id):
                self._hold(entry, record)
            return
        if entry.version <= self.version(entry.kind, entry.id):
            return
        self._versions[entry.kind, entry.id] = entry.version
        if isinstance(record, Goal):
            self._put_goal(record)
        elif isinstance(record, Campaign):
            self._forget(self.campaigns_by_code, self.campaigns.get(record.id))
            self.campaigns[record.id] = record
            if not record.archived:
                self.campaigns_by_code[entry.folded] = record
        elif isinstance(record, Ambassador):
            self._forget(self.ambassadors_by_code, self.ambassadors.get(record.id))
            self.ambassadors[record.id] = record
            if not record.archived:
                self.ambassadors_by_code[entry.folded] = record
        else:
            self._forget(self.coupons, self.coupons_by_id.get(record.id))
            self.coupons_by_id[record.id] = record
            if not record.archived:
                self.coupons[entry.folded] = record

    def _put_goal(self, goal: Goal) -> None:
        old = self.goals_by_id.get(goal.id)
        self._forget(self.goals, old)
        if old is not None:
            self.goals_by_token.pop(old.token_digest, None)
        self.goals_by_id[goal.id] = goal
        if not goal.archived:
            self.goals[goal.code] = goal
            if goal.token_digest:
                self.goals_by_token[goal.token_digest] = goal

    @staticmethod
    def _forget(by_code: dict[str, Held], old: Held | None) -> None:
        if old is not None and by_code.get(folded_code(old)) is old:
            del by_code[folded_code(old)]


async def load(house: "House") -> None:
    """Fill the shelf of every site from the store. Raises StoreError."""
    for site in house.by_id:
        shelf = Shelf(site, house.store)
        for kind in _HELD_WHOLE:
            after_id = ""
            while portion := await house.store.entries(site, kind, after_id=after_id, limit=_PORTION):
                for entry in portion:
                    shelf.put(entry)
                after_id = portion[-1].id
        house.shelves[site] = shelf
