"""Waits: many wait for a short time, all as long as each other, for something that is nearly always done before.

A timer for each of them would cost more than the wait is worth. The longest wait is always the first, so one timer is enough.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Waits"]


_Wait = tuple[float, "asyncio.Future[Any]", Callable[[object], None], Callable[[bool], None]]
"""Until when, for what, its callback, and who is told."""


class Waits:
    """What is waited for, the longest wait first."""

    def __init__(self) -> None:
        self._all: deque[_Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def when_done(self, future: "asyncio.Future[Any]", seconds: float, then: Callable[[bool], None]) -> None:
        """Wait for something, `seconds` at most. `then` is told whether it is done; it is never cancelled."""

        def done(_: object) -> None:
            then(True)

        future.add_done_callback(done)
        waiting = self._all
        while waiting and waiting[0][1].done():
            waiting.popleft()
        loop = future.get_loop()
        waiting.append((loop.time() + seconds, future, done, then))
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those whose time is over."""
        now_s = loop.time()
        waiting = self._all
        try:
            while waiting and (waiting[0][1].done() or waiting[0][0] <= now_s):
                _, future, done, then = waiting.popleft()
                if future.remove_done_callback(done):
                    then(False)
        finally:  # until here the timer that rang stands for the next one: who is told may wait again, and starts none
            self._timer = loop.call_at(waiting[0][0], self._look, loop) if waiting else None
