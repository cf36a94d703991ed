"""Plain rows: events that leave nothing but themselves, written many to a statement.

Used by whoever writes them: the writer's thread, and the appender's process.
"""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

__all__ = ["ROWS_PER_STATEMENT", "STORE_CODES", "Inserted", "PlainRows", "of_the_store"]

ROWS_PER_STATEMENT: Final = 64
"""Rows written by one statement: the GIL is handed over once per statement instead of once per row."""

Row = Sequence[object]

STORE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
    }
)
"""Primary result codes that say something about the file and not about a row."""


def of_the_store(error: Exception) -> bool:
    """Whether an error says something about the file and not about the row."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in STORE_CODES


class Inserted(msgspec.Struct, array_like=True):
    """What became of rows, by their number: `repeated` were there before, `failed` are not taken by the database."""

    repeated: list[int] = []
    failed: list[int] = []


class PlainRows(msgspec.Struct, frozen=True):
    """How plain rows are written: a statement in three parts, and one that names the newest rows by two columns.

    Those two columns are the first two of a row, and tell repeats. `newest` empty: repeats are not told.
    """

    head: str
    row: str
    tail: str
    newest: str = ""

    def statement(self, rows: int) -> str:
        """The statement for a number of rows. Texts stay few, so that the connection keeps them prepared."""
        return _statement(self.head, self.row, self.tail, rows)

    def write(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Write rows in one transaction and return when it is durable. Raises sqlite3.Error when the store is at fault.

        What one statement can hold is its own transaction: begin and commit of their own would each hand over the GIL.
        """
        if len(rows) <= ROWS_PER_STATEMENT:
            return self.insert(db, rows)
        db.execute("begin immediate")
        try:
            inserted = self.insert(db, rows)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise
        return inserted

    def insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Insert rows, many to a statement. A row that the database does not take fails alone."""
        inserted = Inserted([], [])
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            values: list[object] = []
            for row in part:
                values += row
            try:
                new = db.execute(self.statement(len(part)), values).rowcount
            except Exception as error:
                if of_the_store(error):
                    raise
                self._insert_each(db, part, start, inserted)
                continue
            if new != len(part):
                inserted.repeated += [start + number for number in self._repeats(db, new, part)]
        return inserted

    def _insert_each(self, db: sqlite3.Connection, part: Sequence[Row], start: int, inserted: Inserted) -> None:
        statement = self.statement(1)
        for number, row in enumerate(part, start):
            try:
                if db.execute(statement, row).rowcount != 1:
                    inserted.repeated.append(number)
            except Exception as error:
                if of_the_store(error):
                    raise
                inserted.failed.append(number)

    def _repeats(self, db: sqlite3.Connection, new: int, part: Sequence[Row]) -> list[int]:
        """Numbers of the rows that one statement did not insert: all but the `new` that are the newest now."""
        if not self.newest:
            return []
        written = set(db.execute(self.newest, (new,)))
        repeats = []
        for number, row in enumerate(part):
            key = (row[0], row[1])
            if key in written:
                written.discard(key)
            else:
                repeats.append(number)
        return repeats


@lru_cache(maxsize=4 * ROWS_PER_STATEMENT)
def _statement(head: str, row: str, tail: str, rows: int) -> str:
    return f"{head}{','.join([row] * rows)}{tail}"
