"""Appending: the gateway's side of the appender's process: start it, send it rows, hear its answers, end it."""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreBusy
from gateway.stores.appender import Answer, Rows, answer_of, framed, read_frames

if TYPE_CHECKING:
    from gateway.stores.plain import Batch

__all__ = ["Appending", "await_earlier", "lock_path"]

START_S: Final = 10.0
EARLIER_S: Final = 10.0
EARLIER_LOOK_S: Final = 0.02
STOP_S: Final = 30.0
"""How long its last commit is waited for: a disk that takes longer is broken, and the process is killed."""


def lock_path(database: Path) -> Path:
    """The file that the appender's process holds locked as long as it lives."""
    return database.with_name(f"{database.name}-appender")


def await_earlier(database: Path) -> None:
    """Wait until the appender of a gateway that was killed has finished its last commit. Raises StoreBusy."""
    lock = lock_path(database)
    if not lock.exists():
        return
    descriptor = os.open(lock, os.O_RDWR)
    try:
        for _ in range(int(EARLIER_S / EARLIER_LOOK_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(EARLIER_LOOK_S)
            else:
                return
        raise StoreBusy("a process of an earlier start is still writing")
    finally:
        os.close(descriptor)


class Appending(asyncio.Protocol):
    """One appender. `on_answer` hears every answer, `on_end` that the process ended by itself."""

    def __init__(self, on_answer: Callable[[Answer], None], on_end: Callable[[], None]) -> None:
        self._on_answer = on_answer
        self._on_end = on_end
        self._buffer = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._started = False
        self._stopping = False

    async def start(self, database: Path, *, timeout_s: float, pause_s: float) -> None:
        """Start the process and wait until it has the database open. Raises OSError, or TimeoutError."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [
            sys.executable, "-m", "gateway.stores.appender", str(database), str(theirs.fileno()),
            str(lock_path(database)), f"{timeout_s:g}", f"{pause_s:g}",
        ]  # fmt: skip

        def run() -> "subprocess.Popen[bytes]":
            # A session of its own: Ctrl-C at a terminal is for the gateway, which ends this process when it is done.
            return subprocess.Popen(  # noqa: S603 - our own interpreter with our own module
                command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True
            )

        running = loop.run_in_executor(None, run)
        try:
            self._process = await asyncio.shield(running)
        except BaseException as error:
            ours.close()
            if isinstance(error, asyncio.CancelledError):
                self._process = await running  # it ends with its socket, and somebody has to see it off
                await self.stop()
            raise
        finally:
            theirs.close()
        try:
            self._transport, _ = await loop.create_unix_connection(lambda: self, sock=ours)
            async with asyncio.timeout(START_S):
                await asyncio.shield(self._ready)
        except BaseException:
            if self._transport is None:
                ours.close()  # the process ends with its socket
            await self.stop()
            raise

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid if self._process is not None else None

    def send(self, batch: "Batch") -> None:
        """Hand over the rows of a batch. Exactly one answer follows, or two when the first says that there is more."""
        if self._transport is not None:
            self._transport.write(framed(Rows(batch)))

    def data_received(self, data: bytes) -> None:
        """Take what the process says."""
        self._buffer += data
        for frame in read_frames(self._buffer):
            answer = answer_of(frame)
            if self._started:
                self._on_answer(answer)
            else:
                self._started = True
                if not self._ready.done():
                    self._ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """The process has ended, or the gateway ends it."""
        if not self._ready.done():
            if self._stopping:
                self._ready.cancel()
            else:
                self._ready.set_exception(ConnectionError("the appender ended before it was ready"))
        elif not self._stopping:
            self._on_end()

    async def stop(self) -> None:
        """End the process and wait for it."""
        self._stopping = True
        if self._transport is not None:
            self._transport.close()
        process = self._process
        if process is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(None, process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.get_running_loop().run_in_executor(None, process.wait)
