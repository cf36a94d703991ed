"""A backlog: answers that their reader has not taken yet, first in first out, without holding up who makes them.

Many clients send a whole file before they read the first byte of the answer. Waiting for them to read would stop the
reading of their file, and so both sides for good. What waits is kept in memory up to a limit, and from there on in a file
without a name, which is gone with the process. Row answers hold nothing personal, so they may lie on a disk.
"""

from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Backlog"]

MEMORY_BYTES: Final = 1_048_576
_PIECE_BYTES: Final = 49_152
"""What is written at once: below the 65,536 bytes from which on a connection counts as one that does not listen."""


class Backlog:
    """What is to be written to one answer. `put` never waits; `push` writes what the connection takes at once."""

    def __init__(self, directory: "Path") -> None:
        self._file = SpooledTemporaryFile(max_size=MEMORY_BYTES, dir=str(directory))  # noqa: SIM115 - closed by close()
        self._written = 0
        self._taken = 0

    def put(self, data: bytes) -> None:
        """Add to the end. Raises OSError when there is no space."""
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def _take(self) -> bytes:
        self._file.seek(self._taken)
        data = self._file.read(_PIECE_BYTES)
        self._taken += len(data)
        if self._taken == self._written:
            self._file.seek(0)
            self._file.truncate()
            self._taken = self._written = 0
        return data

    async def push(self, response: web.StreamResponse, request: web.BaseRequest) -> None:
        """Write as much as fits without waiting for the reader."""
        transport = request.transport
        while self._written and transport is not None and not transport.get_write_buffer_size():
            await response.write(self._take())

    async def drain(self, response: web.StreamResponse) -> None:
        """Write all that is left, as fast as the reader takes it."""
        while self._written:
            await response.write(self._take())

    def close(self) -> None:
        """Forget what is left."""
        self._file.close()
