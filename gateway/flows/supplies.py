"""Supplies: what the operator's own files say. IAB vendor lists by version, and places of addresses.

Files are read at the start and again when they change. One that cannot be used is named with its reason and left out;
what was read before stays in use. Lists are cut down to the vendors that are configured, so that keeping every version
costs little.
"""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.places import place_from
from gateway.signals import gvl
from gateway.supplied import GONE, Directory, PlaceDatabase

if TYPE_CHECKING:
    from gateway.flows.house import House

__all__ = ["Supplies", "problems", "refresh"]

_LIST_NAME: Final = re.compile(r"vendor-list(?:-v[0-9]{1,6})?\.json\Z")


class Supplies:
    """What was read so far. `lists` is the same mapping for ever; `problems` are sentences, each with its file."""

    def __init__(
        self,
        gvl_dir: "Path | None" = None,
        vendors: frozenset[int] = frozenset(),
        database: "Path | None" = None,
    ) -> None:
        self.lists: dict[int, gvl.VendorList] = {}
        self._vendors = vendors
        self._directory = None
        self._directory_name = ""
        if gvl_dir is not None and vendors:
            self._directory_name = f"vendor list {gvl_dir.name}"
            self._directory = Directory(gvl_dir, lambda name: _LIST_NAME.match(name) is not None, gvl.GVL_MAX_BYTES)
        self._places = PlaceDatabase(database) if database is not None else None
        self._refused: dict[str, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be used now."""
        return tuple(f"{name}: not used ({reason})" for name, reason in self._refused.items())

    @property
    def newest_list(self) -> gvl.VendorList | None:
        """The vendor list with the highest version."""
        return self.lists[max(self.lists)] if self.lists else None

    def locate(self, address: str) -> str:
        """The coarse place of an address, empty when it is unknown."""
        return place_from(*self._places.look_up(address)) if self._places is not None else ""

    def refresh(self) -> tuple[str, ...]:
        """Read what is new or was changed; it may take long. Answers problems that were not known before."""
        before = frozenset(self.problems)
        # Another thread reads what is refused: it is replaced, never changed. A directory is looked at anew each time.
        refused = {where: reason for where, reason in self._refused.items() if where != self._directory_name}
        for name, document, reason in self._directory.changed() if self._directory is not None else ():
            where = f"vendor list {name}"
            refused.pop(where, None)
            if reason == GONE:
                continue
            made = gvl.decode(document) if document is not None else None
            if isinstance(made, gvl.VendorList):
                rows = {number: row for number, row in made.vendors.items() if number in self._vendors}
                self.lists[made.version] = msgspec.structs.replace(made, vendors=rows)
            else:
                refused[where] = made.code if made is not None else reason
        if self._places is not None:
            where = f"place database {self._places.path.name}"
            refused.pop(where, None)
            wrong = self._places.refresh()
            if wrong is not None:
                refused[where] = wrong
        self._refused = refused
        return tuple(problem for problem in self.problems if problem not in before)


async def refresh(house: "House") -> None:
    """Read files that are new or changed, away from the event loop; log what cannot be used, once."""
    for problem in await asyncio.to_thread(house.supplies.refresh):
        house.telemetry.warned("supplied_file_refused", note=problem)


def problems(house: "House") -> list[str]:
    """What is wrong now: files that cannot be used, and vendor lists that are too old."""
    found = list(house.supplies.problems)
    wanted = house.settings.consent.gvl_dir
    if wanted and not Path(wanted).is_dir():
        found.append(f"consent: gvl_dir: there is no directory {wanted}")
    vendors = [
        f"{rooms.id}.{placed.name}"
        for rooms in house.by_id.values()
        for placed in rooms.destinations
        if placed.needs.audience.tcf_vendor is not None
    ]
    newest = house.supplies.newest_list
    if newest is not None and vendors:
        days = gvl.age_days(newest, house.clock.now_ms())
        if days > house.settings.consent.gvl_warn_days:
            found.append(
                f"the newest IAB vendor list, version {newest.version}, is {days} days old; where a TC string names a "
                f"newer one, {', '.join(vendors)} are judged denied"
            )
    return found
