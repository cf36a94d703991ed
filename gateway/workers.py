"""Workers: supervised loops beside the requests. One that fails is started again after a moment, and said so.

* a lane for each destination of each site: deliver what is due;
* one that deletes what is past its time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.flows import deliver, expire

if TYPE_CHECKING:
    from gateway.flows.house import House, Placed, SiteRooms

__all__ = ["Workers"]

RESTART_S: Final = 1.0
RESTART_MAX_S: Final = 30.0
EXPIRE_EVERY_S: Final = 600.0
EXPIRE_PAUSE_S: Final = 0.2
STOP_S: Final = 10.0


class Workers:
    """All loops of one gateway."""

    def __init__(self, house: "House") -> None:
        self._house = house
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes: list[tuple[asyncio.Event, deliver.Lane]] = []
        self._stopping = False

    def start(self) -> None:
        """Start every loop."""
        for rooms in self._house.by_id.values():
            for placed in rooms.destinations:
                if placed.enabled:
                    self._start_lane(rooms, placed)
        self._tasks.append(asyncio.create_task(self._supervised("expire", self._expire)))

    def _start_lane(self, rooms: "SiteRooms", placed: "Placed") -> None:
        wake = asyncio.Event()
        lane = deliver.new_lane(self._house, placed)
        self._house.lanes[rooms.id, placed.name] = wake
        self._lanes.append((wake, lane))

        async def run() -> None:
            while not self._stopping:
                wake.clear()
                if not await deliver.deliver_due(self._house, rooms, placed, lane):
                    wait_ms = await deliver.next_wait_ms(self._house, rooms, placed, lane)
                    await _wait(wake, max(wait_ms, 20) / 1000)

        self._tasks.append(asyncio.create_task(self._supervised(f"deliver {rooms.id} {placed.name}", run)))

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        pause_s = RESTART_S
        while not self._stopping:
            begun_s = self._house.clock.monotonic_s()
            try:
                await run()
                return
            except StoreError as error:
                self._house.telemetry.warned("worker_waits", worker=name, kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a loop must outlive any one fault
                self._house.telemetry.failed("worker_restarted", worker=name, kind=type(error).__name__)
            lasted_s = self._house.clock.monotonic_s() - begun_s
            pause_s = RESTART_S if lasted_s > RESTART_MAX_S else min(pause_s * 2, RESTART_MAX_S)
            await asyncio.sleep(pause_s)

    async def _expire(self) -> None:
        while not self._stopping:
            while await expire.expire(self._house):
                await asyncio.sleep(EXPIRE_PAUSE_S)
            await asyncio.sleep(EXPIRE_EVERY_S)

    async def stop(self) -> None:
        """Let requests to vendors that are under way end, give back the rest, and stop."""
        self._stopping = True
        for wake, lane in self._lanes:
            lane.stopping = True
            wake.set()
        if not self._tasks:
            return
        self._tasks[-1].cancel()
        _, left = await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
