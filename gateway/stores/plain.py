"""Plain rows: what is written as rows and nothing else, many to a statement.

A writer knows several kinds of them: events that leave nothing but themselves, clicks, repeats of clicks. A batch holds the
rows of each kind, in the order of the kinds. Used by whoever writes them: the writer's thread, and the appender's process.
"""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

import msgspec

__all__ = [
    "ROWS_PER_STATEMENT",
    "STORE_CODES",
    "Batch",
    "Inserted",
    "PlainKind",
    "PlainRows",
    "Row",
    "insert_batch",
    "of_the_store",
    "plain_rows",
    "write_batch",
]

ROWS_PER_STATEMENT: Final = 64
"""Rows written by one statement: the GIL is handed over once per statement instead of once per row."""

Row = tuple[object, ...]

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
    """What became of rows, by their number: `repeated` were there before, `failed` are not taken by the database.

    `answers` has one value for each row, for kinds that answer something.
    """

    repeated: list[int] = []
    failed: list[int] = []
    answers: list[int | bool] | None = None


class PlainKind(Protocol):
    """One kind of plain rows."""

    def insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Write rows inside a transaction. A row the database does not take fails alone.

        Raises sqlite3.Error when the store is at fault.
        """
        ...


Batch = Sequence[Sequence[Row]]
"""The rows of each kind, in the order of the kinds."""


def insert_batch(db: sqlite3.Connection, kinds: Sequence[PlainKind], batch: Batch) -> list[Inserted]:
    """Write a batch inside a transaction. Raises sqlite3.Error when the store is at fault."""
    return [_insert(db, kind, rows) if rows else Inserted([], []) for kind, rows in zip(kinds, batch, strict=True)]


def _insert(db: sqlite3.Connection, kind: PlainKind, rows: Sequence[Row]) -> Inserted:
    if isinstance(kind, PlainRows):
        return kind.insert(db, rows)  # one statement: all of it or nothing of it
    db.execute("savepoint kind")
    try:
        inserted = kind.insert(db, rows)
    except Exception as error:
        if of_the_store(error):
            raise
        db.execute("rollback to kind")
        inserted = Inserted([], list(range(len(rows))))
    db.execute("release kind")
    return inserted


def write_batch(db: sqlite3.Connection, kinds: Sequence[PlainKind], batch: Batch) -> list[Inserted]:
    """Write a batch in one transaction and return when it is durable. Raises sqlite3.Error when the store is at fault.

    What one statement can hold is its own transaction: begin and commit of their own would each hand over the GIL.
    """
    first, *others = batch
    if isinstance(kinds[0], PlainRows) and len(first) <= ROWS_PER_STATEMENT and not any(others):
        return insert_batch(db, kinds, batch)
    db.execute("begin immediate")
    try:
        inserted = insert_batch(db, kinds, batch)
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    return inserted


class PlainRows(msgspec.Struct, frozen=True):
    """How rows that leave nothing else are written: a statement in three parts, and what tells repeats.

    `newest` is a statement that names the newest rows by two columns, whose places in a row are `named_by`; empty:
    repeats are not told. `numbered`: the answers are the numbers of the new rows, 0 for the others.
    """

    head: str
    row: str
    tail: str
    newest: str = ""
    named_by: tuple[int, int] = (0, 1)
    numbered: bool = False

    def statement(self, rows: int) -> str:
        """The statement for a number of rows. Texts stay few, so that the connection keeps them prepared."""
        return _statement(self.head, self.row, self.tail, rows)

    def insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> Inserted:
        """Insert rows, many to a statement. A row that the database does not take fails alone."""
        inserted = Inserted([], [], [0] * len(rows) if self.numbered else None)
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            values: list[object] = []
            for row in part:
                values += row
            try:
                done = db.execute(self.statement(len(part)), values)
            except Exception as error:
                if of_the_store(error):
                    raise
                self._insert_each(db, part, start, inserted)
                continue
            new = done.rowcount
            repeats = self._repeats(db, new, part) if new != len(part) else []
            inserted.repeated += [start + number for number in repeats]
            if inserted.answers is not None and new:
                self._number(inserted.answers, start, len(part), set(repeats), (done.lastrowid or 0) - new)
        return inserted

    def _insert_each(self, db: sqlite3.Connection, part: Sequence[Row], start: int, inserted: Inserted) -> None:
        statement = self.statement(1)
        for number, row in enumerate(part, start):
            try:
                done = db.execute(statement, row)
            except Exception as error:
                if of_the_store(error):
                    raise
                inserted.failed.append(number)
                continue
            if done.rowcount != 1:
                inserted.repeated.append(number)
            elif inserted.answers is not None:
                inserted.answers[number] = done.lastrowid or 0

    def _repeats(self, db: sqlite3.Connection, new: int, part: Sequence[Row]) -> list[int]:
        """Numbers of the rows that one statement did not insert: all but the `new` that are the newest now."""
        if not self.newest:
            return []
        written = db.execute(self.newest, (new,)).fetchall()  # the newest first: in the order of the rows from its end
        one, other = self.named_by
        repeats = []
        for number, row in enumerate(part):
            if written and written[-1] == (row[one], row[other]):
                written.pop()
            else:
                repeats.append(number)
        return repeats

    @staticmethod
    def _number(answers: list[int | bool], start: int, count: int, repeats: set[int], last_before: int) -> None:
        """Note the numbers of new rows: one statement numbers them in their order, without gaps."""
        number = last_before
        for place in range(count):
            if place not in repeats:
                number += 1
                answers[start + place] = number


def plain_rows(
    statement: str, newest: str = "", *, named_by: tuple[int, int] = (0, 1), numbered: bool = False
) -> PlainRows:
    """How rows of `insert into ... values (?, ...) ...` are written, many to a statement."""
    head, values, rest = statement.partition("values ")
    row, bracket, tail = rest.partition(")")
    return PlainRows(head + values, row + bracket, tail, newest, named_by, numbered)


@lru_cache(maxsize=8 * ROWS_PER_STATEMENT)
def _statement(head: str, row: str, tail: str, rows: int) -> str:
    return f"{head}{','.join([row] * rows)}{tail}"
