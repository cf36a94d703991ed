"""The write-ahead file, looked at before it is believed.

SQLite reads a write-ahead file up to the first frame whose checksum does not fit and takes that for the end. After a power
cut that is right: the tear can only be in the last transaction, which nobody was told about. Damage in the middle looks
the same to it, and everything behind the damage would be gone without a word.

The two can be told apart. Every frame's checksum is computed on from that of the frame before, and every transaction is
synced before the next begins. So behind the end there may be the rest of one transaction, or rests of several that failed
and were written over, but never a chain of frames that goes on past a commit: a chain with two commits is proof that the
first of them was complete. Damage to the very last commit cannot be told from a tear.

Source: sqlite.org/fileformat2.html section 4 (the WAL file), sqlite.org/walformat.html (the index), read 2026-11.
"""

import sqlite3
import struct
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["fault_in"]

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = 0x377F0682
_INDEX_END: Final = struct.Struct("=I")
_INDEX_END_AT: Final = 16


def fault_in(database: Path, wal: Path) -> str | None:
    """Say what is wrong with the write-ahead file of a database that nobody has open; None when it can be believed.

    Nothing is changed: SQLite's own connection would copy what it can read and delete the rest. Raises OSError and
    sqlite3.Error.
    """
    with wal.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not any(head) or not file.read(1):
            return None  # the first commit of this file had not reached the disk: nobody was told about it
        magic, _, page_size, _, salt_1, salt_2, *checksum = _HEADER.unpack(head)
        order = ">" if magic & 1 else "<"
        if magic & ~1 != _MAGIC or [*_checksum(head[:24], order)] != checksum:
            return "the header of its write-ahead file is damaged"
        file.seek(_HEADER.size + _believed(database, wal) * (_FRAME.size + page_size))
        if _goes_on_past_a_commit(file, page_size, (salt_1, salt_2), order):
            return "its write-ahead file is damaged in the middle, and newer transactions stand behind"
    return None


def _goes_on_past_a_commit(file: BinaryIO, page_size: int, salts: tuple[int, int], order: str) -> bool:
    """Whether a chain of this file's frames, from where `file` stands on, holds two commits."""
    before: tuple[int, int] | None = None
    commits = 0
    while len(frame := file.read(_FRAME.size + page_size)) == _FRAME.size + page_size:
        _, pages_after_commit, salt_1, salt_2, *checksum = _FRAME.unpack(frame[: _FRAME.size])
        if (salt_1, salt_2) != salts:
            before = None
            continue
        chained = before is not None and [*_checksum(frame[:8] + frame[_FRAME.size :], order, *before)] == checksum
        commits = (commits if chained else 0) + bool(pages_after_commit)
        if commits > 1:
            return True
        before = (checksum[0], checksum[1])
    return False


def _checksum(data: bytes, order: str, first: int = 0, second: int = 0) -> tuple[int, int]:
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFF_FFFF
        second = (second + two + first) & 0xFFFF_FFFF
    return first, second


def _believed(database: Path, wal: Path) -> int:
    """Count the frames that SQLite believes: a connection that may only read makes the index and leaves the files alone."""
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        db.execute("select count(*) from sqlite_schema").fetchone()
        with wal.with_name(wal.name.removesuffix("-wal") + "-shm").open("rb") as index:
            index.seek(_INDEX_END_AT)
            return int(_INDEX_END.unpack(index.read(_INDEX_END.size))[0])
    finally:
        db.close()
