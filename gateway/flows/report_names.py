"""Names in reports: what rows are called for people, taken back as a filter.

A row of a report is called by the name of its campaign, link, ambassador or goal. Names are no keys: two entries may have one,
then which is meant is asked and not guessed. Archived entries count, because reports show their rows too.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gateway.catalogue import Link
from gateway.errors import Refusal

if TYPE_CHECKING:
    from gateway.flows.shelves import Shelf

__all__ = ["LINKS_READ", "NOBODYS", "link_titled", "named"]

NOBODYS: Final = {name: f"(no {name})" for name in ("campaign", "channel", "source", "medium", "device")}
"""Filter to what reports call the row of those that have none. No campaign is none of the catalogue."""
LINKS_READ: Final = 10_000
"""Links whose titles are looked through; of more, one is named by its code or id."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


def named(entries: Iterable[Entry], text: str, field: str, unknown: str = "entry_unknown") -> Entry:
    """Return the one entry with a name, in any case. Raises Refusal: `unknown`, or `name_ambiguous`."""
    folded = text.casefold()
    found = [entry for entry in entries if entry.name.casefold() == folded]
    if len(found) > 1:
        raise Refusal("name_ambiguous", field)
    if not found:
        raise Refusal(unknown, field)
    return found[0]


async def link_titled(shelf: "Shelf", text: str, field: str) -> Link:
    """Return the one link with a title, in any case. Raises Refusal `entry_unknown`, `name_ambiguous`; StoreError.

    On a site with more than LINKS_READ links a title is ambiguous, because it cannot be told from all others.
    """
    folded = text.casefold()
    found: list[Link] = []
    count = 0
    async for link in shelf.all_links():
        count += 1
        if count > LINKS_READ:
            raise Refusal("name_ambiguous", field)
        if link.title.casefold() == folded:
            found.append(link)
    if len(found) > 1:
        raise Refusal("name_ambiguous", field)
    if not found:
        raise Refusal("entry_unknown", field)
    return found[0]
