"""Keeping clicks: a click becomes durable in the store, or in the spool when the store does not take it in time.

Nobody who clicks is held up by a disk: the store has a quarter of a second, and then the spool as much. What neither took
is counted as lost, and said so.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import StoreBusy, StoreError, StoreFull

if TYPE_CHECKING:
    from gateway.event import Touch
    from gateway.flows.house import House, SiteRooms

__all__ = ["STORE_WAIT_S", "count_repeat", "drain", "keep_click"]

STORE_WAIT_S: Final = 0.25
_EVER_MS: Final = 1 << 53


async def count_repeat(house: "House", rooms: "SiteRooms", click_id: str) -> bool:
    """Count a repeat. Answers False when the store has no such click: it was erased, or it is still in the spool.

    A repeat that cannot be counted in time is only told: the click itself is kept.
    """
    counted = asyncio.ensure_future(house.store.record_repeat(rooms.id, click_id))
    if not await _in_time(counted):
        counted.add_done_callback(_heard)
        house.telemetry.click_waits(rooms.id, "repeat", "slow")
        return True
    error = counted.exception()
    if error is None:
        return counted.result() or house.spool.waiting > 0
    if not isinstance(error, StoreError):
        raise error
    house.telemetry.click_waits(rooms.id, "repeat", _why(error))
    return True


async def keep_click(house: "House", rooms: "SiteRooms", touch: "Touch") -> None:
    """Make a click durable, in the store or in the spool; what neither takes in time is counted as lost."""
    try:
        stored = house.store.record_click(rooms.id, touch)
    except StoreError as error:
        reason = _why(error)
    else:
        if not await _in_time(stored):
            stored.add_done_callback(_heard)
            reason = "slow"
        else:
            failed = stored.exception()
            if failed is None:
                house.telemetry.click_recorded(rooms.id, touch.human)
                return
            if not isinstance(failed, StoreError):
                raise failed
            reason = _why(failed)
    house.telemetry.click_waits(rooms.id, "click", reason)
    spooled = asyncio.ensure_future(house.spool.add(rooms.id, touch))
    if await _in_time(spooled):
        if not spooled.result():
            house.telemetry.clicks_lost(rooms.id, 1)
    else:
        spooled.add_done_callback(lambda done: None if done.result() else house.telemetry.clicks_lost(rooms.id, 1))


async def _in_time(future: "asyncio.Future[Any]") -> bool:
    """Wait for something as long as a visitor may be kept. Answers whether it is done; it is never cancelled.

    This is asyncio.wait for one future, at half the price.
    """
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(STORE_WAIT_S, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        future.remove_done_callback(wake)
    return future.done()


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
