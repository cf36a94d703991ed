"""Bulk links: many links at once, such as one for each recipient of a message.

All are read and checked before the first is stored, so that a mistake in one row stores none.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.catalogue import Entry, Link
from gateway.errors import Refusal
from gateway.flows.catalogue_reading import link_base
from gateway.flows.cataloguing import keep, made
from gateway.flows.repeating import first_of
from gateway.protocols import reading
from gateway.protocols.catalogue_wire import record_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.repeating import Call

__all__ = ["ROWS_MAX", "create_links"]

ROWS_MAX: Final = 1_000
_TRIES: Final = 8
_PORTION: Final = 20
"""Links that are checked, or stored, before others get a turn: a few milliseconds."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    links: list[dict[str, object]]
    common: dict[str, object] = {}


_read: Final = reading.decoder(_Batch)


async def create_links(
    house: "House", rooms: "SiteRooms", body: bytes, call: "Call | None" = None
) -> dict[str, object]:
    """Make up to 1,000 links: `{"common": {fields of all}, "links": [{fields of one}, ...]}`. What a row says wins.

    Answers id, code, address and recipient of each, in order. Raises Refusal with the row, such as `links[3].target`;
    then nothing was stored. Raises StoreError; then the first ones may have been: a `call` that is sent again makes those
    that are missing, and is answered with all, and with `repeated` where none was.
    """
    if call is None:
        return await _create_links(house, rooms, body, None, {})
    async with house.shelves[rooms.id].making:
        return await _create_links(house, rooms, body, call, await first_of(house, rooms, call))


async def _create_links(
    house: "House", rooms: "SiteRooms", body: bytes, call: "Call | None", first: Mapping[str, Entry]
) -> dict[str, object]:
    batch = reading.decode(_read, body)
    if not batch.links:
        raise Refusal("field_missing", "links")
    if len(batch.links) > ROWS_MAX:
        raise Refusal("field_too_long", "links")
    rows: list[_Row] = []
    chosen: set[str] = set()
    for index, fields in enumerate(batch.links):
        try:
            row = _Row(house, rooms, {**batch.common, **fields}, call, index, first)
            await row.check()
            if not row.random and row.link.code in chosen:
                raise Refusal("code_taken", "code")
        except Refusal as refusal:
            raise refusal.at(f"links[{index}].{refusal.field}" if refusal.field else None) from None
        chosen.add(row.link.code)
        rows.append(row)
        if index % _PORTION == _PORTION - 1:
            await asyncio.sleep(0)
    for begin in range(0, len(rows), _PORTION):
        portion = [row.keep() for row in rows[begin : begin + _PORTION]]
        # all of them end before the call does: one that was still writing would meet the same call sent again
        for fault in await asyncio.gather(*portion, return_exceptions=True):
            if fault is not None:
                raise fault
    base = link_base(rooms)
    answer: dict[str, object] = {
        "links": [
            {"id": link.id, "code": link.code, "url": base + link.code, "recipient": link.recipient or None}
            for link in (row.link for row in rows)
        ]
    }
    return answer | ({"repeated": True} if all(row.kept for row in rows) else {})


def _link(entry: Entry) -> Link:
    record = record_of(entry)
    assert isinstance(record, Link)  # noqa: S101 - the id is a link's
    return record


class _Row:
    """One link of a batch. `kept`: the same call made it before."""

    def __init__(
        self,
        house: "House",
        rooms: "SiteRooms",
        said: dict[str, object],
        call: "Call | None",
        index: int,
        first: Mapping[str, Entry],
    ) -> None:
        self._house = house
        self._rooms = rooms
        self._said = said
        self._body = msgspec.json.encode(said)
        self._call = call
        self._index = index
        entry = first.get(call.entry_id("link", index)) if call is not None else None
        self.kept = entry is not None
        self.link, self.random = self._made() if entry is None else (_link(entry), False)

    def _made(self) -> tuple[Link, bool]:
        record, random = made(
            self._house, self._rooms, "link", self._body, self._said, call=self._call, index=self._index
        )
        assert isinstance(record, Link)  # noqa: S101 - the kind was given
        return record, random

    async def check(self) -> None:
        """Raise Refusal `code_taken` when a chosen code is another link's."""
        if (
            not self.random
            and not self.kept
            and await self._house.store.entry_by_code(self._rooms.id, "link", self.link.code)
        ):
            raise Refusal("code_taken", "code")

    async def keep(self) -> None:
        """Store it. A random code that is taken is made anew; a chosen one was free a moment ago."""
        if self.kept:
            return
        for _ in range(_TRIES):
            if await keep(self._house, self._rooms, self.link, 1) is not None:
                return
            if not self.random:
                break
            self.link, _ = self._made()
        raise Refusal("code_taken", "code")
