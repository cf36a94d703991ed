"""The appender: a process of its own that writes plain rows while many arrive.

In one process the thread that writes and the loop that reads requests take turns at the interpreter's lock, and a page
view costs a third more for it. So under load, batches that hold nothing but plain rows (events that leave nothing else,
clicks on links, repeats of clicks) go to a second process over a socket. Everything else is written by the writer's thread,
and never both at once: `GroupWriter` hands out one batch, or one checkpoint, at a time. The second process holds a lock file
as long as it lives, and a new start waits for that, so that nobody opens the database while a process whose gateway was
killed is finishing its last commit.

    python -m gateway.stores.appender DATABASE SOCKET LOCK TIMEOUT_S PAUSE_S

It ends when the socket does. Signals to stop are the gateway's business: it is told by the end of the socket.
"""

import fcntl
import io
import os
import signal
import socket
import sqlite3
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.stores.named_sql import statements
from gateway.stores.plain import Batch, Inserted, PlainKind, plain_rows, write_batch
from gateway.stores.touches import CLICKS, REPEATS

__all__ = [
    "CHECKPOINT_BYTES",
    "CLICK",
    "COMMITS_PER_LOOK",
    "EVENT",
    "KINDS",
    "REPEAT",
    "Answer",
    "Rows",
    "answer_of",
    "framed",
    "main",
    "read_frames",
    "tune",
]

CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""Size of the write-ahead file at which it is copied back, between two commits and after the answers went out."""

COMMITS_PER_LOOK: Final = 16

_RECORD: Final = statements("record.sql")
EVENT: Final = 0
CLICK: Final = 1
REPEAT: Final = 2
KINDS: Final[tuple[PlainKind, ...]] = (
    plain_rows(_RECORD["event_insert"], _RECORD["event_ids_newest"]),
    CLICKS,
    REPEATS,
)
"""The kinds of plain rows of the store: events that leave nothing else, clicks, repeats of clicks."""

_LENGTH: Final = struct.Struct("<I")
_PAGES_KIB: Final = 8_192


class Rows(msgspec.Struct, array_like=True):
    """What the gateway sends: rows to be made durable, by their kind."""

    batch: Batch


class Answer(msgspec.Struct, array_like=True):
    """What it gets back. `error_code` and `error_name` are SQLite's, 0 when the rows are durable. `took_s` is the commit's.

    `more`: the write-ahead file is being copied back, and a second, empty answer says when that is done.
    """

    inserted: list[Inserted] = []
    error_code: int = 0
    error_name: str = ""
    took_s: float = 0.0
    more: bool = False


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_rows: Final = msgspec.msgpack.Decoder(Rows).decode
answer_of: Final = msgspec.msgpack.Decoder(Answer).decode


def framed(message: Rows | Answer) -> bytes:
    """A message as bytes with its length in front."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def read_frames(buffer: bytearray) -> list[bytes]:
    """Take every whole message out of a buffer."""
    found = []
    while len(buffer) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer)
        end = _LENGTH.size + length
        if len(buffer) < end:
            break
        found.append(bytes(buffer[_LENGTH.size : end]))
        del buffer[:end]
    return found


def tune(db: sqlite3.Connection, pages_kib: int) -> None:
    """Set up a connection that writes. Every commit is synced; copying back is done by whoever has the turn."""
    db.execute("pragma synchronous=full")
    db.execute("pragma foreign_keys=on")
    db.execute("pragma wal_autocheckpoint=0")
    db.execute(f"pragma cache_size=-{pages_kib}")
    db.execute("pragma temp_store=memory")


def main(arguments: list[str]) -> int:
    """Write what comes until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    database, number, lock, timeout_s, pause_s = arguments
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    link = socket.socket(fileno=int(number))
    db = sqlite3.connect(database, isolation_level=None, timeout=float(timeout_s), cached_statements=512)
    tune(db, _PAGES_KIB)
    db.execute("select count(*) from site").fetchone()  # opens the files now, not with the first request
    with suppress(OSError), link:  # an error of the socket: the gateway is gone, and nobody waits for an answer
        link.sendall(framed(Answer()))
        _serve(
            db, link, io.BufferedReader(socket.SocketIO(link, "r"), 1 << 18), Path(f"{database}-wal"), float(pause_s)
        )
    db.close()
    return 0


def _serve(db: sqlite3.Connection, link: socket.socket, stream: io.BufferedReader, wal: Path, pause_s: float) -> None:
    commits = 0
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        body = stream.read(length)
        if len(body) < length:
            return
        begun_s = time.perf_counter()
        answer = _written(db, body)
        if pause_s:
            time.sleep(pause_s)
        commits += 1
        answer.took_s = time.perf_counter() - begun_s
        answer.more = commits % COMMITS_PER_LOOK == 0 and not answer.error_code and _is_large(wal)
        link.sendall(framed(answer))
        if answer.more:
            with suppress(sqlite3.Error):  # only a postponement: the next round tries again
                db.execute("pragma wal_checkpoint(passive)").fetchall()
            link.sendall(framed(Answer()))


def _written(db: sqlite3.Connection, body: bytes) -> Answer:
    try:
        return Answer(write_batch(db, KINDS, _decode_rows(body).batch))
    except sqlite3.Error as error:
        return Answer(
            error_code=getattr(error, "sqlite_errorcode", 0) or sqlite3.SQLITE_ERROR,
            error_name=getattr(error, "sqlite_errorname", type(error).__name__),
        )


def _is_large(wal: Path) -> bool:
    try:
        return wal.stat().st_size >= CHECKPOINT_BYTES
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
