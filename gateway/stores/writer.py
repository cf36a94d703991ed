"""Group commit: one thread, one connection, one transaction for everything that waits.

While a commit is being made durable, requests go on arriving and queue up; the next transaction takes them all. So the
number of commits follows the disk and not the number of requests: at 2 ms a sync this stores seventeen times what one
commit a request does. Nothing is answered before its commit has returned.

The queue is bounded in records and bytes: what does not fit is refused as busy at once, and what waits longer than the
timeout is answered busy although it may still be stored, which the unique event id makes harmless.

Why a thread of its own and not aiosqlite here: aiosqlite hands over to its thread once per statement, and a transaction of
a few statements pays each hand-over in latency; `tests/bench/bench_store.py` compares both. Readers use aiosqlite.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from gateway.errors import StoreBusy, StoreDamaged, StoreError, StoreFull

__all__ = ["GroupWriter", "Job", "store_error"]

R = TypeVar("R")

CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""Size of the write-ahead file at which it is copied back, between two commits and after the answers went out."""

ROWS_PER_STATEMENT: Final = 64
"""Plain rows written by one statement: the GIL is handed over once per statement instead of once per row."""


class Job(Generic[R]):
    """One thing to be done inside the next transaction, all of it or nothing of it.

    `row` is set for a job that is one plain insert: such jobs are written many to a statement. Else `work` is called
    with the connection, inside a savepoint. A `patient` job is never answered busy while it may still be done.
    """

    __slots__ = ("future", "patient", "queued_at_s", "result", "row", "size", "work")

    def __init__(
        self,
        future: "asyncio.Future[R]",
        size: int,
        *,
        row: tuple[object, ...] | None = None,
        plain_result: R | None = None,
        work: Callable[[sqlite3.Connection], R] | None = None,
        patient: bool = False,
    ) -> None:
        self.future = future
        self.patient = patient
        self.size = size
        self.row = row
        self.work = work
        self.result: R | BaseException | None = plain_result
        self.queued_at_s = 0.0


def store_error(error: sqlite3.Error) -> StoreError:
    """Say by whom an SQLite error has to be cured. The text never holds data."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(name)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(name)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(name)
    return StoreError(name)


_STORE_CODES: Final = frozenset(
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


def _of_the_store(error: Exception) -> bool:
    """Whether an error says something about the file and not about the row."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _STORE_CODES


class GroupWriter:
    """The one writer of a SQLite file.

    `connect` opens the connection (called in the writer's thread). `insert` makes the statement for plain rows: head, one
    row, tail. `mark_repeats` is called inside the transaction when only some of a statement's rows were new, with the
    number of those: it says so in the results of the others. `after_commit` runs in the thread after every commit, for
    benches that play a slow disk; `on_batch` is told how many jobs a commit held and how long it took, on the event loop.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        wal: Path | None,
        insert: tuple[str, str, str],
        mark_repeats: Callable[[sqlite3.Connection, int, list[Job[object]]], None],
        waiting_max: int,
        waiting_max_bytes: int,
        timeout_s: float,
        after_commit: Callable[[], None] | None = None,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._connect = connect
        self._wal = wal
        head, row, tail = insert
        self._statements = tuple(f"{head}{','.join([row] * count)}{tail}" for count in range(ROWS_PER_STATEMENT + 1))
        self._mark_repeats = mark_repeats
        self._waiting_max = waiting_max
        self._waiting_max_bytes = waiting_max_bytes
        self._timeout_s = timeout_s
        self._after_commit = after_commit
        self._on_batch = on_batch
        self._loop = asyncio.get_running_loop()
        self._jobs: list[Job[object]] = []
        self._bytes = 0
        self._in_hand: list[Job[object]] = []
        self._handed: SimpleQueue[list[Job[object]] | None] = SimpleQueue()
        self._busy = False
        self._closed = False
        self._damaged: StoreDamaged | None = None
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._sweep_handle: asyncio.TimerHandle | None = None

    # -------------------------------------------------------------- event loop side

    async def start(self) -> None:
        """Open the connection. Raises StoreError."""
        self._thread.start()
        await self._started
        self._sweep()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a commit, those in the running transaction included."""
        return len(self._jobs) + len(self._in_hand)

    @property
    def damaged(self) -> bool:
        """Whether the file was found damaged: nothing is stored any more."""
        return self._damaged is not None

    def add_row(self, row: tuple[object, ...], size: int, result: R) -> "asyncio.Future[R]":
        """Queue one plain row. Raises StoreBusy when too much waits."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._add(Job(future, size, row=row, plain_result=result))
        return future

    def add_work(
        self, work: Callable[[sqlite3.Connection], R], size: int, *, patient: bool = False
    ) -> "asyncio.Future[R]":
        """Queue work of several statements. Raises StoreBusy when too much waits.

        `patient` is for work that nobody sends again by itself: however long it takes, its answer is what really became
        of it. A claim that is answered busy and made durable a moment later would hold deliveries nobody sends.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        self._add(Job(future, size, work=work, patient=patient))
        return future

    def _add(self, job: Job[R]) -> None:
        if self._damaged is not None:
            raise self._damaged
        if self._closed:
            raise StoreBusy("closed")
        if len(self._jobs) >= self._waiting_max or self._bytes + job.size > self._waiting_max_bytes:
            raise StoreBusy("queue full")
        job.queued_at_s = self._loop.time()
        self._jobs.append(job)  # type: ignore[arg-type] # the queue does not look at results
        self._bytes += job.size
        if not self._busy:
            self._busy = True
            # Not at once: requests that are read in the same turn of the loop join the same transaction.
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._in_hand = self._jobs
        self._jobs = []
        self._bytes = 0
        self._handed.put(self._in_hand)

    def _done(self, jobs: list[Job[object]], error: StoreError | None, took_s: float) -> None:
        if isinstance(error, StoreDamaged):
            self._damaged = error
        for job in jobs:
            future = job.future
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            elif isinstance(job.result, BaseException):
                future.set_exception(job.result)
            else:
                future.set_result(job.result)
        if self._on_batch is not None and error is None:
            self._on_batch(len(jobs), took_s)
        self._in_hand = []
        if self._jobs:
            self._hand_over()
        else:
            self._busy = False
            if self._closed:
                self._handed.put(None)

    def _sweep(self) -> None:
        """Answer busy to everybody who waits too long: a stuck disk must not hold requests."""
        limit = self._loop.time() - self._timeout_s
        for job in (*self._in_hand, *self._jobs):
            if job.queued_at_s < limit and not job.patient and not job.future.done():
                job.future.set_exception(StoreBusy("commit takes too long"))
        if not self._closed:
            self._sweep_handle = self._loop.call_later(min(0.5, self._timeout_s / 4), self._sweep)

    async def close(self) -> None:
        """Commit what waits, copy the write-ahead file back and close the connection."""
        if self._closed:
            return
        self._closed = True
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        if not self._thread.is_alive():
            return
        if not self._busy:
            self._handed.put(None)
        await self._ended
        self._thread.join()

    # -------------------------------------------------------------- thread side

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody is waiting any more
            return False
        return True

    def _run(self) -> None:
        try:
            db = self._connect()
        except (StoreError, sqlite3.Error, OSError) as error:
            reason: Exception = error
            if isinstance(error, sqlite3.Error):
                reason = store_error(error)
            elif isinstance(error, OSError):
                reason = StoreError(error.strerror or type(error).__name__)
            self._call(self._started.set_exception, reason)
            self._call(self._ended.set_result, None)
            return
        self._call(self._started.set_result, None)
        commits = 0
        while (jobs := self._handed.get()) is not None:
            begun_s = self._loop.time()
            failure = self._transact(db, jobs)
            if failure is None and self._after_commit is not None:
                self._after_commit()
            if not self._call(self._done, jobs, failure, self._loop.time() - begun_s):
                break
            commits += 1
            if commits % 16 == 0:
                self._checkpoint(db)
        try:
            db.execute("pragma wal_checkpoint(truncate)")
            db.close()
        except sqlite3.Error:
            pass  # the next start reads the write-ahead file: nothing is lost by leaving it
        self._call(self._ended.set_result, None)

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        if self._wal is None:
            return
        try:
            if self._wal.stat().st_size >= CHECKPOINT_BYTES:
                db.execute("pragma wal_checkpoint(passive)")
        except (OSError, sqlite3.Error):
            return  # only a postponement: the next round tries again

    def _transact(self, db: sqlite3.Connection, jobs: list[Job[object]]) -> StoreError | None:
        """One transaction for all jobs. A job that fails takes only itself out; an error of the store takes all out."""
        try:
            db.execute("begin immediate")
            plain = [job for job in jobs if job.row is not None]
            if plain:
                self._insert(db, plain)
            for job in jobs:
                if job.work is not None:
                    self._apart(db, job, job.work)
            db.execute("commit")
        except sqlite3.Error as error:
            self._rollback(db)
            return store_error(error)
        return None

    def _insert(self, db: sqlite3.Connection, plain: list[Job[object]]) -> None:
        """Insert plain rows, many to a statement. A row that the database does not take fails alone."""
        for start in range(0, len(plain), ROWS_PER_STATEMENT):
            part = plain[start : start + ROWS_PER_STATEMENT]
            values: list[object] = []
            for job in part:
                values += job.row or ()
            try:
                new = db.execute(self._statements[len(part)], values).rowcount
            except Exception as error:
                if _of_the_store(error):
                    raise
                self._insert_each(db, part)
                continue
            if new != len(part):
                self._mark_repeats(db, new, part)

    def _insert_each(self, db: sqlite3.Connection, part: list[Job[object]]) -> None:
        for job in part:
            try:
                new = db.execute(self._statements[1], job.row or ()).rowcount
            except Exception as error:
                if _of_the_store(error):
                    raise
                job.result = StoreError(type(error).__name__)
                continue
            if new != 1:
                self._mark_repeats(db, 0, [job])

    @staticmethod
    def _apart(db: sqlite3.Connection, job: Job[object], work: Callable[[sqlite3.Connection], object]) -> None:
        db.execute("savepoint job")
        try:
            job.result = work(db)
        except Exception as error:
            if _of_the_store(error):
                raise
            db.execute("rollback to job")
            job.result = StoreError(type(error).__name__)
        db.execute("release job")

    @staticmethod
    def _rollback(db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("rollback")
        except sqlite3.Error:
            return  # the transaction is gone with the error that is being reported
