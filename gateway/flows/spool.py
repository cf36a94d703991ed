"""The spool: clicks that were answered while the store could not take them, kept in a file until it can.

A visitor who clicks is never kept waiting for a disk. A click that could not be stored in time is written here instead,
one sealed JSON line each, synced before it counts as kept; when the store works again, each is recorded there once. A
spooled click names no visitor: erasing somebody needs to look for nobody here.

The file is bounded: clicks beyond that are counted as lost. Lines that cannot be read, as the last one of a crash, are
counted too.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.event import Touch
from gateway.vault import SealedUnreadable

if TYPE_CHECKING:
    from gateway.vault import Vault

__all__ = ["LINES_MAX", "ClickSpool", "Drained"]

LINES_MAX: Final = 20_000
"""About 12 MB, and twenty minutes of a thousand clicks a minute."""
_PLACE: Final = b"click spool"
_PORTION: Final = 100


class _Line(msgspec.Struct, frozen=True):
    site: str
    touch: Touch


class Drained(msgspec.Struct, frozen=True):
    """What became of the spooled clicks: recorded now, in the store before, unreadable."""

    recorded: int = 0
    known: int = 0
    unreadable: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode


class ClickSpool:
    """One file beside the database. `waiting` is how many clicks it holds."""

    def __init__(self, directory: Path, vault: "Vault", lines_max: int = LINES_MAX) -> None:
        self._path = directory / "clicks.spool"
        self._draining = directory / "clicks.spool.draining"
        self._vault = vault
        self._lines_max = lines_max
        self._lock = asyncio.Lock()
        self._lines: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._opened = False
        self.waiting = 0

    async def open(self) -> None:
        """Count what an earlier process left, once. A file that cannot be read holds nothing."""
        if self._opened:
            return
        self._opened = True
        for path in (self._draining, self._path):
            self.waiting += len(await asyncio.to_thread(_read, path))

    async def add(self, site: str, touch: Touch) -> bool:
        """Keep a click. Answers whether it is on disk; False when the spool is full or the disk does not take it."""
        if self.waiting >= self._lines_max:
            return False
        self.waiting += 1
        touch = msgspec.structs.replace(touch, visitor_key=None)
        line = base64.b64encode(self._vault.seal(_encode(_Line(site, touch)), _PLACE)) + b"\n"
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._lines.append((line, kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await kept

    async def _write(self) -> None:
        """Write what waits, all of it with one sync, until nothing waits."""
        while self._lines:
            async with self._lock:
                lines, self._lines = self._lines, []
                try:
                    await asyncio.to_thread(_append, self._path, b"".join([line for line, _ in lines]))
                    written = True
                except OSError:
                    self.waiting -= len(lines)
                    written = False
            for _, kept in lines:
                if not kept.done():
                    kept.set_result(written)

    async def drain(
        self, known: Callable[[str, list[str]], Awaitable[set[str]]], record: Callable[[str, Touch], Awaitable[object]]
    ) -> Drained:
        """Record every click that the store does not know. Raises StoreError; then all are tried again next time.

        `known` answers which click ids of a site are stored, `record` stores one click.
        """
        async with self._lock:
            await asyncio.to_thread(_take, self._path, self._draining)
        lines = await asyncio.to_thread(_read, self._draining)
        drained = Drained()
        for start in range(0, len(lines), _PORTION):
            drained = await self._portion(lines[start : start + _PORTION], drained, known, record)
        await asyncio.to_thread(self._draining.unlink, missing_ok=True)
        self.waiting = max(0, self.waiting - len(lines))
        return drained

    async def _portion(
        self,
        lines: list[bytes],
        drained: Drained,
        known: Callable[[str, list[str]], Awaitable[set[str]]],
        record: Callable[[str, Touch], Awaitable[object]],
    ) -> Drained:
        by_site: dict[str, list[Touch]] = {}
        for line in lines:
            try:
                spooled = _decode(self._vault.open(base64.b64decode(line, validate=True), _PLACE))
            except (ValueError, SealedUnreadable, msgspec.DecodeError):
                drained = msgspec.structs.replace(drained, unreadable=drained.unreadable + 1)
                continue
            by_site.setdefault(spooled.site, []).append(spooled.touch)
        for site, touches in by_site.items():
            stored = await known(site, [touch.click_id for touch in touches if touch.click_id is not None])
            new = {touch.click_id: touch for touch in touches if touch.click_id not in stored}
            answers = await asyncio.gather(*(record(site, touch) for touch in new.values()), return_exceptions=True)
            for error in answers:
                if isinstance(error, BaseException):
                    raise error if isinstance(error, StoreError) else StoreError("spool")
            drained = msgspec.structs.replace(
                drained, recorded=drained.recorded + len(new), known=drained.known + len(touches) - len(new)
            )
        return drained


def _append(path: Path, data: bytes) -> None:
    """Write whole lines and sync them. A part of them that a full disk took is cut off again."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        if before and os.pread(descriptor, 1, before - 1) != b"\n":
            data = b"\n" + data  # a crash left half a line: only that one is unreadable
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("short write")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
        if before == 0:
            _sync_directory(path.parent)
    finally:
        os.close(descriptor)


def _take(path: Path, draining: Path) -> None:
    """Put the file aside, behind what an earlier try left."""
    if not path.exists():
        return
    if not draining.exists():
        path.replace(draining)
        return
    _append(draining, path.read_bytes())
    path.unlink()


def _read(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
