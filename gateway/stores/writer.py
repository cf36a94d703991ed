"""Group commit: one thread, one connection, one transaction for everything that waits.

While a commit is being made durable, requests go on arriving and queue up; the next transaction takes them all. So the
number of commits follows the disk and not the number of requests: at 2 ms a sync this stores seventeen times what one
commit a request does. Nothing is answered before its commit has returned.

The queue is bounded in records and bytes: what does not fit is refused as busy at once. What waits longer than the timeout is
answered busy and leaves the queue; what a transaction has begun with by then may still be stored, which its unique event id
makes harmless.

Why a thread of its own and not aiosqlite here: aiosqlite hands over to its thread once per statement, and a transaction of
a few statements pays each hand-over in latency; `tests/bench/store.py` compares both. Readers use aiosqlite.

While many plain rows arrive, a second process writes them, see `appender`: there they do not contend for the lock of this
process's interpreter.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from gateway.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from gateway.stores.appender import CHECKPOINT_BYTES, COMMITS_PER_LOOK, Answer
from gateway.stores.appending import Appending
from gateway.stores.plain import Batch, Inserted, PlainKind, insert_batch, of_the_store, write_batch

__all__ = ["GroupWriter", "Job", "store_error"]

R = TypeVar("R")

MANY_ROWS: Final = 200
MANY_ROWS_PER_S: Final = 800
"""Plain rows, and plain rows a second, from which on a second process pays."""
START_PAUSE_S: Final = 2.0
START_PAUSE_MAX_S: Final = 60.0


class Job(Generic[R]):
    """One thing to be done inside the next transaction, all of it or nothing of it.

    `row` is set for a job that is one plain row, of a kind by its number: such jobs are written many to a statement. Else
    `work` is called with the connection, inside a savepoint. A `patient` job is never answered busy while it may still
    be done.
    """

    __slots__ = ("future", "kind", "patient", "queued_at_s", "result", "row", "size", "work")

    def __init__(
        self,
        future: "asyncio.Future[R]",
        size: int,
        *,
        row: tuple[object, ...] | None = None,
        kind: int = 0,
        plain_result: R | None = None,
        work: Callable[[sqlite3.Connection], R] | None = None,
        patient: bool = False,
    ) -> None:
        self.future = future
        self.patient = patient
        self.size = size
        self.row = row
        self.kind = kind
        self.work = work
        self.result: R | BaseException | None = plain_result
        self.queued_at_s = 0.0


def store_error(error: sqlite3.Error) -> StoreError:
    """Say by whom an SQLite error has to be cured. The text never holds data."""
    return _store_error(getattr(error, "sqlite_errorcode", 0), getattr(error, "sqlite_errorname", type(error).__name__))


def _store_error(code: int, name: str) -> StoreError:
    code &= 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(name)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(name)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(name)
    return StoreError(name)


def _rows_of(plain: list[list[Job[object]]]) -> Batch:
    return [[job.row or () for job in jobs] for jobs in plain]


class GroupWriter:
    """The one writer of a SQLite file.

    `connect` opens the connection (called in the writer's thread), `plain` are the kinds of plain rows, `duplicate` is the
    result of a row that was there before, where its kind answers nothing itself. `after_commit` runs in the thread after
    every commit, for tests of slow disks; `sync_pause_s` lengthens every commit, for benches. `on_batch` is told how many
    jobs a commit held and how long it took, on the event loop.

    `appender` is when a second process writes batches of plain rows: `auto` (while many arrive), `always`, `never`. One
    batch or checkpoint is in hand at a time, so the two never write, nor copy the write-ahead file back, at once.
    `on_appender` is told when it has started (True) and when it ended by itself (False).
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        database: Path | None,
        plain: Sequence[PlainKind],
        duplicate: object = None,
        waiting_max: int,
        waiting_max_bytes: int,
        timeout_s: float,
        appender: str = "never",
        after_commit: Callable[[], None] | None = None,
        sync_pause_s: float = 0.0,
        on_batch: Callable[[int, float], None] | None = None,
        on_appender: Callable[[bool], None] | None = None,
    ) -> None:
        self._connect = connect
        self._database = database
        self._wal = database.with_name(f"{database.name}-wal") if database is not None else None
        self._plain = plain
        self._duplicate = duplicate
        self._waiting_max = waiting_max
        self._waiting_max_bytes = waiting_max_bytes
        self._timeout_s = timeout_s
        self._mode = appender if database is not None and after_commit is None else "never"
        self._after_commit = after_commit
        self._sync_pause_s = sync_pause_s
        self._on_batch = on_batch
        self._on_appender = on_appender
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
        self._idle: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._appending: Appending | None = None
        self._with_appender = False
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._start_again_s = 0.0
        self._start_pause_s = START_PAUSE_S
        self._rows = 0
        self._rows_since_s = 0.0

    # -------------------------------------------------------------- event loop side

    async def start(self) -> None:
        """Open the connection. Raises StoreError."""
        self._thread.start()
        await self._started
        if self._mode == "always":
            await self._start_appender()
        self._rows_since_s = self._loop.time()
        self._sweep()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a commit, those in the running transaction included."""
        return len(self._jobs) + len(self._in_hand)

    @property
    def damaged(self) -> bool:
        """Whether the file was found damaged: nothing is stored any more."""
        return self._damaged is not None

    @property
    def appender_pid(self) -> int | None:
        """Number of the appender's process, None while there is none."""
        return self._appending.pid if self._appending is not None else None

    def add_row(self, row: tuple[object, ...], size: int, result: R, *, kind: int = 0) -> "asyncio.Future[R]":
        """Queue one plain row. `result` is its answer, or one like it, where its kind has answers of its own.

        Raises StoreBusy when too much waits.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        self._add(Job(future, size, row=row, kind=kind, plain_result=result))
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
        if not self._jobs:  # all of them waited too long meanwhile
            self._next()
            return
        self._in_hand = jobs = self._jobs
        self._jobs = []
        self._bytes = 0
        if self._mode == "never" or any(job.row is None for job in jobs):
            self._handed.put(jobs)
            return
        self._rows += len(jobs)
        if self._appending is None:
            self._handed.put(jobs)
            return
        try:
            self._appending.send(_rows_of(self._by_kind(jobs)))
        except (ValueError, TypeError, OverflowError):  # a row that cannot be written down: the thread finds out which
            self._handed.put(jobs)
            return
        self._with_appender = True

    def _done(self, jobs: list[Job[object]], error: StoreError | None, took_s: float, more: bool) -> None:
        """A batch is durable, or was not made so. `more`: whoever wrote it still copies the write-ahead file back."""
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
        if not more:
            self._next()

    def _next(self) -> None:
        """Nothing is in hand: take what came meanwhile."""
        self._with_appender = False
        if self._jobs:
            self._hand_over()
        else:
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    def _sweep(self) -> None:
        """Answer busy to everybody who waits too long: a stuck disk must not hold requests."""
        now_s = self._loop.time()
        limit = now_s - self._timeout_s
        for job in (*self._in_hand, *self._jobs):
            if job.queued_at_s < limit and not job.patient and not job.future.done():
                job.future.set_exception(StoreBusy("commit takes too long"))
        # What no transaction has begun with is not done any more: then the answer is true, and a retry counts once.
        self._jobs = [job for job in self._jobs if not job.future.done()]
        self._bytes = sum([job.size for job in self._jobs])
        if self._mode != "never":
            self._consider_appender(now_s)
        if not self._closed:
            self._sweep_handle = self._loop.call_later(min(0.5, self._timeout_s / 4), self._sweep)

    async def close(self) -> None:
        """Commit what waits, copy the write-ahead file back and close the connection."""
        if self._closed:
            return
        self._closed = True
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._ending is not None:
            await self._ending
        if self._busy:
            self._idle = self._loop.create_future()
            await self._idle
        if self._appending is not None:
            appending, self._appending = self._appending, None
            await appending.stop()
        if not self._thread.is_alive():
            return
        self._handed.put(None)
        await self._ended
        self._thread.join()

    # -------------------------------------------------------------- the appender

    def _consider_appender(self, now_s: float) -> None:
        """Start the second process when plain rows come fast, and again some time after it ended."""
        rows, since_s = self._rows, now_s - self._rows_since_s
        self._rows, self._rows_since_s = 0, now_s
        if self._appending is not None or self._closed or now_s < self._start_again_s:
            return
        if self._starting is not None and not self._starting.done():
            return
        if self._mode == "always" or (rows >= MANY_ROWS and rows >= MANY_ROWS_PER_S * since_s):
            self._starting = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            await self._start_appender()
        except (OSError, TimeoutError):
            self._pause_appender()

    async def _start_appender(self) -> None:
        assert self._database is not None  # noqa: S101 - without a file the mode is "never"
        appending = Appending(self._answered, self._appender_ended)
        await appending.start(self._database, timeout_s=self._timeout_s * 0.8, pause_s=self._sync_pause_s)
        self._appending = appending
        if self._on_appender is not None:
            self._on_appender(True)

    def _pause_appender(self) -> None:
        self._start_again_s = self._loop.time() + self._start_pause_s
        self._start_pause_s = min(self._start_pause_s * 2, START_PAUSE_MAX_S)
        if self._on_appender is not None:
            self._on_appender(False)

    def _answered(self, answer: Answer) -> None:
        jobs = self._in_hand
        if not jobs:
            self._next()  # the write-ahead file is copied back
            return
        error = _store_error(answer.error_code, answer.error_name) if answer.error_code else None
        if error is None:
            self._start_pause_s = START_PAUSE_S
            self._tell(self._by_kind(jobs), answer.inserted)
        self._done(jobs, error, answer.took_s, answer.more)

    def _appender_ended(self) -> None:
        """It ended by itself. Whether what it had in hand became durable is not known: its ids make sending again safe."""
        appending, self._appending = self._appending, None
        self._pause_appender()
        if appending is not None:
            self._ending = self._loop.create_task(appending.stop())
        if not self._with_appender:
            return
        if self._in_hand:
            self._done(self._in_hand, StoreBusy("the process that writes ended"), 0.0, False)
        else:
            self._next()

    def _by_kind(self, jobs: list[Job[object]]) -> list[list[Job[object]]]:
        """Jobs that are rows, by their kind."""
        found: list[list[Job[object]]] = [[] for _ in self._plain]
        for job in jobs:
            if job.row is not None:
                found[job.kind].append(job)
        return found

    def _tell(self, plain: list[list[Job[object]]], outcomes: Sequence[Inserted]) -> None:
        for jobs, inserted in zip(plain, outcomes, strict=True):
            if inserted.answers is None:
                for number in inserted.repeated:
                    jobs[number].result = self._duplicate
            else:
                for job, answer in zip(jobs, inserted.answers, strict=True):
                    job.result = answer
            for number in inserted.failed:
                jobs[number].result = StoreError("row not taken")

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
            if failure is None:
                self._linger()
            commits += 1
            more = commits % COMMITS_PER_LOOK == 0 and self._is_large()
            if not self._call(self._done, jobs, failure, self._loop.time() - begun_s, more):
                break
            if more:
                self._checkpoint(db)
                self._call(self._next)
        try:
            db.execute("pragma wal_checkpoint(truncate)")
            db.close()
        except sqlite3.Error:
            pass  # the next start reads the write-ahead file: nothing is lost by leaving it
        self._call(self._ended.set_result, None)

    def _linger(self) -> None:
        if self._sync_pause_s:
            time.sleep(self._sync_pause_s)
        if self._after_commit is not None:
            self._after_commit()

    def _is_large(self) -> bool:
        try:
            return self._wal is not None and self._wal.stat().st_size >= CHECKPOINT_BYTES
        except OSError:
            return False

    @staticmethod
    def _checkpoint(db: sqlite3.Connection) -> None:
        try:
            db.execute("pragma wal_checkpoint(passive)")
        except sqlite3.Error:
            return  # only a postponement: the next round tries again

    def _transact(self, db: sqlite3.Connection, jobs: list[Job[object]]) -> StoreError | None:
        """One transaction for all jobs. A job that fails takes only itself out; an error of the store takes all out."""
        plain = self._by_kind(jobs)
        rows = _rows_of(plain)
        try:
            if all(job.row is not None for job in jobs):
                self._tell(plain, write_batch(db, self._plain, rows))
                return None
            db.execute("begin immediate")
            self._tell(plain, insert_batch(db, self._plain, rows))
            for job in jobs:
                if job.work is not None:
                    self._apart(db, job, job.work)
            db.execute("commit")
        except sqlite3.Error as error:
            self._rollback(db)
            return store_error(error)
        return None

    @staticmethod
    def _apart(db: sqlite3.Connection, job: Job[object], work: Callable[[sqlite3.Connection], object]) -> None:
        db.execute("savepoint job")
        try:
            job.result = work(db)
        except Exception as error:
            if of_the_store(error):
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
