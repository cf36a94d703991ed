"""Workers: supervised loops beside the requests. One that fails is started again after a moment, and said so.

* a lane for each destination of each site, and for the notifications of each goal: deliver what is due;
* one that credits conversions, soon after they were counted;
* one that does what has its time now: carts that were left;
* one that records clicks the store could not take in time;
* one that sums up the log every minute;
* one that deletes what is past its time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.flows import click_keeping, credit, deliver, expire, notify, pulse, supplies, timers

if TYPE_CHECKING:
    from gateway.flows.house import House, Placed, SiteRooms

__all__ = ["Workers"]

RESTART_S: Final = 1.0
RESTART_MAX_S: Final = 30.0
STORE_AGAIN_MAX_S: Final = 4.0
"""Longest pause of a loop that waits for the store: lanes go on soon after a full disk has space again."""
LIST_EVERY_S: Final = 10.0
LIST_PAUSE_S: Final = 0.02
SUM_EVERY_S: Final = 60.0
NOTIFIED_EVERY_S: Final = 1.0
"""How soon a goal that has just been given an address gets its lane."""
SPOOL_EVERY_S: Final = 2.0
EXPIRE_EVERY_S: Final = 600.0
EXPIRE_PAUSE_S: Final = 0.2
TIMERS_EVERY_S: Final = 5.0
CREDIT_EVERY_S: Final = 1.0
CREDIT_PAUSE_S: Final = 0.005
"""Between two portions: a long backlog must not keep requests waiting."""
STOP_S: Final = 6.0


class Workers:
    """All loops of one gateway."""

    def __init__(self, house: "House") -> None:
        self._house = house
        self._tasks: list[asyncio.Task[None]] = []
        self._calm: list[asyncio.Task[None]] = []
        self._lanes: list[tuple[asyncio.Event, deliver.Lane]] = []
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Start every loop."""
        for rooms in self._house.by_id.values():
            for placed in rooms.destinations:
                if placed.enabled:
                    self._start_lane(rooms, placed)
            self._tasks.append(
                asyncio.create_task(self._supervised(f"notify {rooms.id}", partial(self._notify, rooms)))
            )
        self._calm = [
            asyncio.create_task(self._supervised("sum", self._sum)),
            asyncio.create_task(self._supervised("expire", self._expire)),
            asyncio.create_task(self._supervised("spool", self._spool)),
            asyncio.create_task(self._supervised("list", self._list)),
            asyncio.create_task(self._supervised("credit", self._credit)),
            asyncio.create_task(self._supervised("timers", self._timers)),
        ]

    def _start_lane(self, rooms: "SiteRooms", placed: "Placed") -> None:
        wake = asyncio.Event()
        lane = deliver.new_lane(self._house, placed)
        self._house.lanes[rooms.id, placed.name] = wake
        self._lanes.append((wake, lane))

        async def run() -> None:
            while not self._stopping.is_set():
                wake.clear()
                if not await deliver.deliver_due(self._house, rooms, placed, lane):
                    wait_ms = await deliver.next_wait_ms(self._house, rooms, placed, lane)
                    await _wait(wake, max(wait_ms, 20) / 1000)

        self._tasks.append(asyncio.create_task(self._supervised(f"deliver {rooms.id} {placed.name}", run)))

    async def _notify(self, rooms: "SiteRooms") -> None:
        """Give the notifications of every goal a lane of their own: receivers that hang hold up nobody else's."""
        for name in await notify.waiting_names(self._house, rooms):
            self._start_notifications(rooms, name)
        wake = self._house.lane_openers[rooms.id] = asyncio.Event()
        while not self._stopping.is_set():
            wake.clear()
            for name in notify.names(self._house, rooms):
                self._start_notifications(rooms, name)
            await _wait(wake, NOTIFIED_EVERY_S)

    def _start_notifications(self, rooms: "SiteRooms", name: str) -> None:
        if (rooms.id, name) in self._house.lanes:
            return
        wake = asyncio.Event()
        lane = deliver.Lane(pace=notify.pace(self._house))
        self._house.lanes[rooms.id, name] = wake
        self._lanes.append((wake, lane))

        async def run() -> None:
            while not self._stopping.is_set():
                wake.clear()
                placed = notify.placed(self._house, rooms, name)  # anew each time: its address may have changed
                if placed is None:
                    wait_ms = 0 if await notify.give_up(self._house, rooms, name) else deliver.IDLE_MS
                elif await deliver.deliver_due(self._house, rooms, placed, lane):
                    wait_ms = 0
                else:
                    wait_ms = max(await deliver.next_wait_ms(self._house, rooms, placed, lane), 20)
                if wait_ms:
                    await _wait(wake, wait_ms / 1000)

        self._tasks.append(asyncio.create_task(self._supervised(f"deliver {rooms.id} {name}", run)))

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause_s = RESTART_S
        while not self._stopping.is_set():
            begun_s = self._house.clock.monotonic_s()
            longest_s = RESTART_MAX_S
            try:
                await run()
                return
            except StoreError as error:
                longest_s = STORE_AGAIN_MAX_S
                self._house.telemetry.warned("worker_waits", worker=name, kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a loop must outlive any one fault
                self._house.telemetry.failed("worker_restarted", worker=name, kind=type(error).__name__)
            lasted_s = self._house.clock.monotonic_s() - begun_s
            pause_s = RESTART_S if lasted_s > RESTART_MAX_S else min(pause_s * 2, longest_s)
            await _wait(self._stopping, pause_s)

    async def _spool(self) -> None:
        """Record clicks that the store could not take when they were made, as soon as it can."""
        await self._house.spool.open()
        while not self._stopping.is_set():
            if self._house.spool.waiting:
                await click_keeping.drain(self._house)
            await asyncio.sleep(SPOOL_EVERY_S)

    async def _expire(self) -> None:
        while not self._stopping.is_set():
            while await expire.expire(self._house):
                await asyncio.sleep(EXPIRE_PAUSE_S)
            await asyncio.sleep(EXPIRE_EVERY_S)

    async def _list(self) -> None:
        while not self._stopping.is_set():
            while await expire.list_visitors(self._house):
                await asyncio.sleep(LIST_PAUSE_S)
            await asyncio.sleep(LIST_EVERY_S)

    async def _credit(self) -> None:
        wake = self._house.crediting.wake
        while not self._stopping.is_set():
            wake.clear()
            if await credit.credit_due(self._house):
                await asyncio.sleep(CREDIT_PAUSE_S)
            else:
                await _wait(wake, CREDIT_EVERY_S)

    async def _timers(self) -> None:
        while not self._stopping.is_set():
            if not await timers.run_due(self._house):
                await asyncio.sleep(TIMERS_EVERY_S)

    async def _sum(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(SUM_EVERY_S)
            self._house.telemetry.minute_over()
            pulse.beat(self._house)
            await supplies.refresh(self._house)

    async def stop(self) -> None:
        """Let requests to vendors that are under way end within STOP_S, give back everything else, and stop."""
        self._stopping.set()
        for wake, lane in self._lanes:
            lane.stopping = True
            wake.set()
        for wake in self._house.lane_openers.values():
            wake.set()
        for task in self._calm:
            task.cancel()
        await asyncio.gather(*self._calm, return_exceptions=True)
        if not self._tasks:
            return
        _, left = await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if left:
            await self._give_back()

    async def _give_back(self) -> None:
        """Free what a vendor did not answer in time, as the next start would: nobody sends any more."""
        try:
            await self._house.store.recover(self._house.clock.now_ms())
        except StoreError as error:
            self._house.telemetry.warned("leases_kept", kind=type(error).__name__, note="the next start frees them")


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
