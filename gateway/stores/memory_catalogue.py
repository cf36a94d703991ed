"""The in-memory store: the catalogue, touches, spend, timers."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.catalogue import Entry
from gateway.event import Recordable, TimerChange, Touch
from gateway.stores.contract_credit import Contact, DueTimer, SpendRow
from gateway.stores.crediting import is_landing_of_a_link
from gateway.stores.sums import TOUCH_COLUMNS
from gateway.times import day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Key", "MemoryCatalogue", "TouchCell", "add"]

_CONTACT: Final = frozenset(Contact.__struct_fields__) & frozenset(Touch.__struct_fields__)

Key = tuple[Any, ...]


class TouchCell(msgspec.Struct, kw_only=True):
    """One touch. `event_id` None: a click without an event."""

    touch_no: int
    site: str
    event_id: str | None
    touch: Touch
    repeats: int = 0


class TimerCell(msgspec.Struct, kw_only=True):
    """One timer."""

    timer: DueTimer
    leased_until_ms: int | None = None


class MemoryCatalogue:
    """See `contract_credit.CreditStore` for what each method promises."""

    def __init__(self, sites: tuple[str, ...]) -> None:
        self._sites = {site: number for number, site in enumerate(sites, 1)}
        self._events: dict[tuple[str, str], Recordable] = {}
        self._entries: dict[tuple[str, str, str], list[Entry]] = {}
        self._touches: dict[int, TouchCell] = {}
        self._identities: dict[tuple[str, bytes, bytes], int] = {}
        self._spend: dict[Key, SpendRow] = {}
        self._touch_days: dict[Key, list[int]] = {}
        self._timers: dict[tuple[str, str, bytes], TimerCell] = {}
        self._numbers = itertools.count(1)

    # -------------------------------------------------------------- the catalogue

    async def put_entry(self, entry: Entry) -> str:
        """Store an entry."""
        versions = self._entries.get((entry.site, entry.kind, entry.id), [])
        if entry.version != len(versions) + 1:
            return "stale"
        holder = await self.entry_by_code(entry.site, entry.kind, entry.folded)
        if holder is not None and holder.id != entry.id:
            return "taken"
        self._entries.setdefault((entry.site, entry.kind, entry.id), []).append(entry)
        return "stored"

    async def entry(self, site: str, kind: str, entry_id: str, version: int | None = None) -> Entry | None:
        """Return an entry, or an old version of it."""
        versions = self._entries.get((site, kind, entry_id), [])
        return next((one for one in reversed(versions) if version in (None, one.version)), None)

    async def entry_by_code(self, site: str, kind: str, folded: str) -> Entry | None:
        """Return the entry with a code."""
        return next((one for one in self._newest(site, kind) if one.folded == folded), None)

    async def entries(
        self, site: str, kind: str, *, parent: str | None = None, after_id: str = "", limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries by id."""
        found = [
            one
            for one in self._newest(site, kind)
            if one.id > after_id and (parent is None or (one.parent == parent and parent))
        ]
        return sorted(found, key=lambda one: one.id)[:limit]

    def _newest(self, site: str, kind: str) -> "Iterator[Entry]":
        return (known[-1] for key, known in self._entries.items() if key[:2] == (site, kind))

    # -------------------------------------------------------------- touches

    def record_click(self, site: str, touch: Touch) -> "asyncio.Future[int]":
        """Store a touch without an event."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        known = self._click(site, touch.click_id)
        done.set_result(known.touch_no if known is not None else self._put_touch(site, None, touch))
        return done

    def _click(self, site: str, click_id: str | None) -> TouchCell | None:
        cells = self._touches.values()
        return next((one for one in cells if click_id and (one.site, one.touch.click_id) == (site, click_id)), None)

    def _put_touch(self, site: str, event_id: str | None, touch: Touch) -> int:
        known = self._click(site, touch.click_id)
        if known is not None:
            return known.touch_no
        number = next(self._numbers)
        cell = self._touches[number] = TouchCell(touch_no=number, site=site, event_id=event_id, touch=touch)
        self._sum_touch(cell, (1, 0))
        return number

    def _sum_touch(self, cell: TouchCell, values: tuple[int, int]) -> None:
        t = cell.touch
        if not t.test and not is_landing_of_a_link(cell.event_id is not None, t):
            columns = [getattr(t, name) for name in TOUCH_COLUMNS[1:]]
            add(self._touch_days, (cell.site, day_of(t.occurred_at_ms), *columns), values)

    async def record_repeat(self, site: str, click_id: str) -> bool:
        """Count one more click."""
        cell = self._click(site, click_id)
        if cell is None:
            return False
        cell.repeats += 1
        self._sum_touch(cell, (0, 1))
        return True

    async def contacts(
        self,
        site: str,
        *,
        visitor_keys: Sequence[bytes],
        click_ids: Sequence[str],
        after_ms: int,
        upto_ms: int,
        limit: int,
    ) -> Sequence[Contact]:
        """Return touches of visitors, and clicks by their ids."""
        found = [
            cell
            for cell in self._touches.values()
            if cell.site == site
            and after_ms <= cell.touch.occurred_at_ms <= upto_ms
            and (cell.touch.visitor_key in visitor_keys or cell.touch.click_id in click_ids)
        ]
        found.sort(key=lambda cell: (-cell.touch.occurred_at_ms, -cell.touch_no))
        return [
            Contact(
                touch_no=cell.touch_no,
                event_id=cell.event_id,
                repeats=cell.repeats,
                **{name: getattr(cell.touch, name) for name in _CONTACT},
            )
            for cell in found[:limit]
        ]

    def _see_device(self, item: Recordable) -> None:
        event = item.event
        if item.person_key is not None and event.visitor_key is not None and event.visitor_kind == "signed":
            key = (event.site, item.person_key, event.visitor_key)
            self._identities[key] = min(self._identities.get(key, event.occurred_at_ms), event.occurred_at_ms)

    async def devices_of(self, site: str, person_key: bytes, limit: int = 100) -> Sequence[tuple[bytes, int]]:
        """Return the visitors that were seen to be a person, those known longest first."""
        found = [(key[2], at_ms) for key, at_ms in self._identities.items() if key[:2] == (site, person_key)]
        return sorted(found, key=lambda one: (one[1], one[0]))[:limit]

    async def persons_of(self, site: str, visitor_keys: Sequence[bytes]) -> Sequence[tuple[bytes, bytes, int]]:
        """Return who visitors were seen to be."""
        return sorted(
            (visitor, person, at_ms)
            for (own, person, visitor), at_ms in self._identities.items()
            if own == site and visitor in visitor_keys
        )

    # -------------------------------------------------------------- spend

    async def put_spend(self, site: str, rows: Sequence[SpendRow], now_ms: int) -> int:
        """Store what was spent."""
        changed = 0
        for row in rows:
            key = (site, row.day, row.campaign_id, row.channel, row.source, row.currency)
            changed += self._spend.get(key) != row
            self._spend[key] = row
        return changed

    async def spend(self, site: str, from_day: int, upto_day: int) -> Sequence[SpendRow]:
        """Return what was spent."""
        return [row for key, row in sorted(self._spend.items()) if key[0] == site and from_day <= row.day <= upto_day]

    # -------------------------------------------------------------- timers

    async def set_timer(self, site: str, kind: str, subject_key: bytes, due_at_ms: int, payload: bytes) -> None:
        """Set a timer of a subject."""
        self._change_timers(site, (TimerChange(kind, subject_key, due_at_ms, payload),))

    def _change_timers(self, site: str, changes: Iterable[TimerChange]) -> None:
        for one in changes:
            key = (site, one.kind, one.subject_key)
            known = self._timers.pop(key, None)
            if one.due_at_ms is not None:
                number = known.timer.timer_no if known is not None else next(self._numbers)
                timer = DueTimer(number, site, one.kind, one.subject_key, one.due_at_ms, one.payload)
                self._timers[key] = TimerCell(timer=timer)

    async def stop_timer(self, site: str, kind: str, subject_keys: Sequence[bytes]) -> int:
        """Stop timers of subjects."""
        return sum([self._timers.pop((site, kind, key), None) is not None for key in subject_keys])

    async def claim_timers(self, now_ms: int, lease_ms: int, limit: int) -> Sequence[DueTimer]:
        """Take due timers for some time."""
        due = [
            cell
            for cell in self._timers.values()
            if cell.timer.due_at_ms <= now_ms and (cell.leased_until_ms is None or cell.leased_until_ms <= now_ms)
        ]
        taken = sorted(due, key=lambda cell: (cell.timer.due_at_ms, cell.timer.timer_no))[:limit]
        for cell in taken:
            cell.leased_until_ms = now_ms + lease_ms
        return [cell.timer for cell in taken]

    async def timers(self, site: str, kind: str) -> Sequence[DueTimer]:
        """Return all timers of a kind."""
        found = [cell.timer for key, cell in self._timers.items() if key[:2] == (site, kind)]
        return sorted(found, key=lambda timer: (timer.due_at_ms, timer.timer_no))

    async def finish_timers(self, timers: Sequence[DueTimer]) -> None:
        """Delete timers that are done."""
        for one in timers:
            key = (one.site, one.kind, one.subject_key)
            if key in self._timers and self._timers[key].timer == one:
                del self._timers[key]


def add(sums: dict[Key, list[int]], key: Key, values: Sequence[int]) -> None:
    """Add values to a row of sums, which is made when it is not there."""
    known = sums.setdefault(key, [0] * len(values))
    for place, value in enumerate(values):
        known[place] += value
