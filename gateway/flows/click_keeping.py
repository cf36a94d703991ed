"""Keeping clicks: a click becomes durable in the store, or in the spool when the store does not take it in time.

Nobody who clicks is held up by a disk: the store has a quarter of a second, and then the spool as much. What neither took
is counted as lost, and said so.

What is waited for is waited for with callbacks: a task for each click costs as much as everything else done here.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import StoreBusy, StoreError, StoreFull

if TYPE_CHECKING:
    from gateway.event import Touch
    from gateway.flows.house import House, SiteRooms

__all__ = ["STORE_WAIT_S", "count_repeat", "drain", "keep_click"]

STORE_WAIT_S: Final = 0.25
_EVER_MS: Final = 1 << 53


def count_repeat(
    house: "House", rooms: "SiteRooms", click_id: str, then: Callable[[bool, Exception | None], None]
) -> None:
    """Count a repeat. `then` is told False when the store has no such click: it was erased, or it is still in the spool.

    A repeat that cannot be counted in time is only told: the click itself is kept. An error that is no StoreError is
    handed on.
    """

    def heard(in_time: bool) -> None:
        if not in_time:
            counted.add_done_callback(_heard)
            house.telemetry.click_waits(rooms.id, "repeat", "slow")
            then(True, None)
            return
        error = _error_of(counted)
        if error is None:
            then(counted.result() or house.spool.waiting > 0, None)
            return
        if isinstance(error, StoreError):
            house.telemetry.click_waits(rooms.id, "repeat", _why(error))
            then(True, None)
        else:
            then(False, error)

    try:
        counted = asyncio.ensure_future(house.store.record_repeat(rooms.id, click_id))
    except StoreError as error:
        house.telemetry.click_waits(rooms.id, "repeat", _why(error))
        then(True, None)
        return
    house.clicks.waits.when_done(counted, STORE_WAIT_S, heard)


def keep_click(house: "House", rooms: "SiteRooms", touch: "Touch", then: Callable[[Exception | None], None]) -> None:
    """Make a click durable, in the store or in the spool; what neither takes in time is counted as lost.

    `then` is called when the visitor may be answered, with an error only when it is no StoreError.
    """

    def heard(in_time: bool) -> None:
        if not in_time:
            stored.add_done_callback(_heard)
            _spool(house, rooms, touch, "slow", then)
            return
        error = _error_of(stored)
        if error is None:
            house.telemetry.click_recorded(rooms.id, touch.human)
            then(None)
        elif isinstance(error, StoreError):
            _spool(house, rooms, touch, _why(error), then)
        else:
            then(error)

    try:
        stored = house.store.record_click(rooms.id, touch)
    except StoreError as error:
        _spool(house, rooms, touch, _why(error), then)
        return
    house.clicks.waits.when_done(stored, STORE_WAIT_S, heard)


def _spool(
    house: "House", rooms: "SiteRooms", touch: "Touch", reason: str, then: Callable[[Exception | None], None]
) -> None:
    house.telemetry.click_waits(rooms.id, "click", reason)
    spooled = asyncio.ensure_future(house.spool.add(rooms.id, touch))

    def told(done: "asyncio.Future[bool]") -> None:
        if _error_of(done) is not None or not done.result():
            house.telemetry.clicks_lost(rooms.id, 1)

    spooled.add_done_callback(told)
    house.clicks.waits.when_done(spooled, STORE_WAIT_S, lambda done: then(_error_of(spooled) if done else None))


def _error_of(future: "asyncio.Future[Any]") -> Exception | None:
    """The error of something that is done. What was cancelled was taken from us by the end of the loop."""
    if future.cancelled():
        return StoreBusy("cancelled")
    error = future.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error


def _heard(future: "asyncio.Future[int] | asyncio.Future[bool]") -> None:
    """Take notice of what became of something nobody waits for: the spool finds out whether the store has the click."""
    if not future.cancelled():
        future.exception()


def _why(error: StoreError) -> str:
    if isinstance(error, StoreFull):
        return "full"
    return "busy" if isinstance(error, StoreBusy) else "broken"


async def drain(house: "House") -> None:
    """Record what the spool holds, now that the store works. Raises StoreError when it does not."""

    async def known(site: str, click_ids: list[str]) -> set[str]:
        found = await house.store.contacts(
            site, visitor_keys=(), click_ids=click_ids, after_ms=0, upto_ms=_EVER_MS, limit=len(click_ids)
        )
        return {contact.click_id for contact in found if contact.click_id is not None}

    async def record(site: str, touch: "Touch") -> int:
        return await house.store.record_click(site, touch)

    drained = await house.spool.drain(known, record)
    house.telemetry.clicks_restored(drained.recorded, drained.known, drained.unreadable)
