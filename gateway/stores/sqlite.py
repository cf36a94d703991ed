"""SQLite: the default store. One file, write-ahead log, every commit synced (`synchronous=FULL`).

One connection at a time writes and checkpoints: that of `GroupWriter`'s thread, or, while many plain rows arrive, that of
its `appender`; readers are opened `mode=ro` with `query_only`. That is what keeps clear of the WAL-reset corruption that
SQLite had before 3.51.3, and no `mmap_size` is ever set. `synchronous=FULL` and nothing less survives a power cut: with
NORMAL, acknowledged rows are lost.

Source: sqlite.org/wal.html, sqlite.org/pragma.html (read 2026-11); measured with kill -9 and simulated power cuts.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiosqlite

from gateway.caller import ApiKey
from gateway.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from gateway.event import ConsentChange, Recorded, Submission, Submitted
from gateway.stores import erasing, reading, recording
from gateway.stores.appender import KINDS, tune
from gateway.stores.appending import await_earlier
from gateway.stores.contract import (
    ConsentState,
    DeadRow,
    DueDelivery,
    Erased,
    EventRecord,
    Held,
    HeldTouch,
    LogEntry,
    PassedOn,
    PassOn,
    RecentRow,
    Settlement,
    Tally,
    WaitingRow,
)
from gateway.stores.migrate import migrate
from gateway.stores.named_sql import statements
from gateway.stores.sqlite_credit import SqliteCredit
from gateway.stores.wal import fault_in
from gateway.stores.writer import GroupWriter, store_error

if TYPE_CHECKING:
    import asyncio

__all__ = ["SAFE_SQLITE", "SqliteStore", "open_sqlite"]

R = TypeVar("R")

SAFE_SQLITE: Final = (3, 51, 3)
"""First SQLite release without the WAL-reset bug. Older ones work, because only one connection writes."""

RESERVE_FILE: Final = "reserve"

CHECKED_BYTES: Final = 256 * 1024 * 1024
"""Size up to which the structure of a file is checked at every start: half a second. Larger ones after a crash only."""

_DELIVER: Final = statements("deliver.sql")
_CONSENT: Final = statements("consent.sql")
_READ: Final = statements("read.sql")
_RECORD: Final = statements("record.sql")


def _connect(path: Path, busy_timeout_s: float, now_ms: int, sites: tuple[str, ...]) -> sqlite3.Connection:
    """Open the writing connection, check the file, migrate it, and make sure every site has its number."""
    await_earlier(path)
    wal = path.with_name(path.name + "-wal")
    unclean = wal.exists() and wal.stat().st_size > 0
    if not path.exists():
        if unclean:
            raise StoreDamaged("it is gone, and its write-ahead file is still there")
        _make(path, now_ms)
    elif not path.stat().st_size:
        raise StoreDamaged("it is empty, although it was made with tables in it")
    fault = fault_in(path, wal) if unclean else None
    if fault is not None:
        raise StoreDamaged(fault)
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=busy_timeout_s, cached_statements=512
    )
    try:
        mode = db.execute("pragma journal_mode=wal").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"the file system does not support write-ahead logging (mode {mode})")
        tune(db, 16_384)
        if unclean or path.stat().st_size <= CHECKED_BYTES:
            faults = [str(row[0]).replace("\n", " ") for row in db.execute("pragma quick_check(5)")]
            if faults != ["ok"]:
                raise StoreDamaged("; ".join(faults)[:500])
        migrate(db, now_ms)
        for site in sites:
            db.execute(_RECORD["site_insert"], (site,))
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path, now_ms: int) -> None:
    """Make a database under another name, and give it its own when it is whole.

    So a file that is empty was emptied: it is never one whose making was interrupted. The mode is set before anything is
    in it; SQLite gives its other files the same.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = sqlite3.connect(new, isolation_level=None)
    try:
        migrate(db, now_ms)
    finally:
        db.close()
    os.replace(new, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _cannot_open(path: Path, error: StoreError) -> StoreError:
    """The same error with a sentence that says who must act."""
    why = {
        StoreBusy: "another program has locked it",
        StoreFull: "there is no space left on its disk",
        StoreDamaged: "it is damaged; restore a backup",
    }.get(type(error), "its disk or its directory is at fault")
    return type(error)(f"The database {path} cannot be opened: {why} ({error})")


def _hold_reserve(path: Path, size: int) -> None:
    """Keep a file of `size` bytes beside the database, to be given up when the disk is full. Without space there is none."""
    reserve = path.with_name(RESERVE_FILE)
    if not size or (reserve.exists() and reserve.stat().st_size >= size):
        return
    try:
        descriptor = os.open(reserve, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        reserve.unlink()
    finally:
        os.close(descriptor)


async def open_sqlite(
    path: Path,
    *,
    sites: tuple[str, ...],
    now_ms: int,
    reserve_bytes: int = 0,
    waiting_max: int = 10_000,
    waiting_max_bytes: int = 64 * 1024 * 1024,
    timeout_s: float = 5.0,
    readers: int = 2,
    appender: str = "never",
    after_commit: Callable[[], None] | None = None,
    sync_pause_s: float = 0.0,
    on_batch: Callable[[int, float], None] | None = None,
    on_appender: Callable[[bool], None] | None = None,
) -> "SqliteStore":
    """Open a store, making or migrating the file. Raises StoreError and its kinds.

    For the last five see `GroupWriter`.
    """
    writer = GroupWriter(
        lambda: _connect(path, timeout_s * 0.8, now_ms, sites),
        database=path,
        plain=KINDS,
        duplicate=_DUPLICATE,
        waiting_max=waiting_max,
        waiting_max_bytes=waiting_max_bytes,
        timeout_s=timeout_s,
        appender=appender,
        after_commit=after_commit,
        sync_pause_s=sync_pause_s,
        on_batch=on_batch,
        on_appender=on_appender,
    )
    try:
        await writer.start()
    except StoreError as error:
        raise _cannot_open(path, error) from None
    except OSError as error:
        await writer.close()
        raise _cannot_open(path, StoreError(error.strerror or type(error).__name__)) from None
    _hold_reserve(path, reserve_bytes)
    connections = []
    try:
        for _ in range(readers):
            connection = await aiosqlite.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=timeout_s, cached_statements=64
            )
            await connection.execute("pragma query_only=on")
            connections.append(connection)
        async with connections[0].execute(_RECORD["site_list"]) as cursor:
            numbers = {site: number async for site, number in cursor}
    except sqlite3.Error as error:
        for connection in connections:
            await connection.close()
        await writer.close()
        raise store_error(error) from None
    return SqliteStore(path, writer, connections, numbers)


_RECORDED: Final = Submitted((Recorded("recorded"),))
_DUPLICATE: Final = Submitted((Recorded("duplicate"),))


class SqliteStore(SqliteCredit):
    """See `contract.Store` for what each method promises."""

    def __init__(
        self, path: Path, writer: GroupWriter, readers: list[aiosqlite.Connection], numbers: dict[str, int]
    ) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._next_reader = 0
        self._numbers = numbers
        self._names = {number: site for site, number in numbers.items()}
        self._pass_on: PassOn | None = None

    # -------------------------------------------------------------- writing

    @property
    def waiting_jobs(self) -> int:
        """Jobs that wait for a commit."""
        return self._writer.waiting

    @property
    def damaged(self) -> bool:
        """Whether the file was found damaged."""
        return self._writer.damaged

    def submit(self, submission: Submission) -> "asyncio.Future[Submitted]":
        """Store one request's records. The future resolves once they are durable. Raises StoreBusy at once when full."""
        items = submission.items
        if len(items) == 1 and not submission.once and submission.idempotency is None and items[0].plain:
            item = items[0]
            row = recording.event_row(self._numbers[item.event.site], item)
            return self._writer.add_row(row, len(item.event.facts) + 200, _RECORDED)
        size = sum(recording.size_of(item) for item in items)
        return self._writer.add_work(lambda db: recording.record(db, submission, self._numbers, self._pass_on), size)

    def conversion_id(self, site: str, event_id: str) -> str:
        """Return the id that the conversion of an event gets."""
        return f"c{self._numbers[site]}_{event_id}"

    async def choose(self, change: ConsentChange) -> str:
        """Append one choice. On a full disk the reserve file is given up first: a withdrawal must find a place."""
        number, pass_on = self._numbers[change.site], self._pass_on
        return await self._with_reserve(lambda db: recording.choose(db, change, number, pass_on))

    async def erase(self, change: ConsentChange, reduce: Callable[[bytes], bytes]) -> Erased | None:
        """Take a subject out of everything stored. Its answer is what really became of it, however long that takes."""
        number, pass_on = self._numbers[change.site], self._pass_on
        return await self._with_reserve(lambda db: erasing.erase(db, change, number, pass_on, reduce), patient=True)

    def pass_on_with(self, pass_on: PassOn) -> None:
        """Say how withdrawals are passed on. It is called in the writer's thread."""
        self._pass_on = pass_on

    async def _with_reserve(self, work: Callable[[sqlite3.Connection], R], *, patient: bool = False) -> R:
        try:
            return await self._writer.add_work(work, 1_000, patient=patient)
        except StoreFull:
            if not self._give_up_reserve():
                raise
        return await self._writer.add_work(work, 1_000, patient=patient)

    def _give_up_reserve(self) -> bool:
        reserve = self.path.with_name(RESERVE_FILE)
        if not reserve.exists():
            return False
        reserve.unlink()
        return True

    async def claim(
        self, site: str, destination: str, *, now_ms: int, lease_ms: int, limit: int
    ) -> Sequence[DueDelivery]:
        """Take due deliveries."""
        names = {
            "site_no": self._numbers[site],
            "destination": destination,
            "now_ms": now_ms,
            "leased_until_ms": now_ms + lease_ms,
            "limit": limit,
        }

        def work(db: sqlite3.Connection) -> list[DueDelivery]:
            taken = []
            for row in db.execute(_DELIVER["claim"], names).fetchall():
                delivery_id, seq, record_id, purposes, visitor_key, person_key, judged_at_ms, *rest, payload = row
                if seq is None:
                    head = (delivery_id, record_id, "withdrawal", purposes, 0, judged_at_ms)
                    taken.append(DueDelivery(*(*head, *rest, payload, True)))
                    continue
                event_id, name, trust = db.execute(_DELIVER["claimed_event"], (seq,)).fetchone()
                since = {
                    "site_no": names["site_no"],
                    "visitor_key": visitor_key,
                    "person_key": person_key,
                    # A browser's event was judged by its own receipt, without a look at what is recorded here.
                    "judged_at_ms": 0 if trust == "browser" else judged_at_ms,
                }
                denied = 0
                for (bits,) in db.execute(_DELIVER["denied_since"], since):
                    denied |= bits
                head = (delivery_id, event_id, name, purposes, denied, judged_at_ms)
                taken.append(DueDelivery(*(*head, *rest, payload)))
            return taken

        return await self._writer.add_work(work, 200, patient=True)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down what became of claimed deliveries."""

        def work(db: sqlite3.Connection) -> None:
            for s in settlements:
                db.execute(
                    _DELIVER["settle"],
                    {
                        "fate": s.fate,
                        "reason": s.reason,
                        "detail": s.detail,
                        "due_at_ms": s.due_at_ms,
                        "at_ms": s.at_ms,
                        "delivery_id": s.delivery_id,
                        "unattempted": 0 if s.attempted else 1,
                        "unsure": int(s.unsure),
                    },
                )
                if s.attempted:
                    row = (s.delivery_id, s.at_ms, s.latency_ms, s.verdict, s.status, s.code, s.answer)
                    db.execute(_DELIVER["attempt_insert"], row)

        await self._writer.add_work(work, 200 * len(settlements), patient=True)

    async def recover(self, now_ms: int) -> tuple[int, int]:
        """Free the leases of a process that died."""

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            again = db.execute(_DELIVER["leases_with_dedup"], (now_ms,)).rowcount
            lost = db.execute(_DELIVER["leases_without_dedup"], (now_ms,)).rowcount
            return again, lost

        return await self._writer.add_work(work, 100)

    async def replay(
        self, *, now_ms: int, site: str | None, destination: str | None, delivery_id: int | None, limit: int
    ) -> int:
        """Make dead deliveries wait again."""
        names = {
            "now_ms": now_ms, "site": site, "destination": destination, "delivery_id": delivery_id, "limit": limit,
        }  # fmt: skip
        return await self._writer.add_work(lambda db: len(db.execute(_DELIVER["replay"], names).fetchall()), 100)

    async def put_api_key(self, key: ApiKey) -> None:
        """Store a new API key."""
        row = (
            key.id, key.secret_sha256, key.title, " ".join(key.sites), " ".join(key.rights), int(key.must_sign),
            key.created_at_ms, key.revoked_at_ms,
        )  # fmt: skip
        await self._writer.add_work(lambda db: db.execute(_READ["api_key_put"], row).rowcount, 200)

    async def revoke_api_key(self, key_id: str, now_ms: int) -> bool:
        """Revoke an API key."""
        return await self._writer.add_work(
            lambda db: db.execute(_READ["api_key_revoke"], (now_ms, key_id)).rowcount == 1, 100
        )

    async def expire(self, *, now_ms: int, events_before_ms: int, attempts_before_ms: int, dead_before_ms: int) -> int:
        """Delete one bounded portion of what is past its time."""
        return await self._writer.add_work(
            lambda db: recording.expire(
                db,
                now_ms=now_ms,
                events_before_ms=events_before_ms,
                attempts_before_ms=attempts_before_ms,
                dead_before_ms=dead_before_ms,
            ),
            100,
        )

    async def list_visitors(self) -> int:
        """List the visitors of one portion of new events."""
        return await self._writer.add_work(erasing.list_visitors, 100)

    # -------------------------------------------------------------- reading

    async def _rows(self, sql: str, names: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        reader = self._readers[self._next_reader]
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        try:
            # All rows in one step: a caller that is cancelled between two would leave a read open, and with it the write-ahead
            # file in use when the store closes.
            return [tuple(row) for row in await reader.execute_fetchall(sql, names)]
        except sqlite3.Error as error:
            raise store_error(error) from None

    async def consent_state(self, site: str, subject_key: bytes) -> ConsentState | None:
        """Return the last choice of a subject."""
        rows = await self._rows(_CONSENT["state_get"], (self._numbers[site], subject_key))
        return ConsentState(*rows[0]) if rows else None

    async def next_due_at_ms(self, site: str, destination: str) -> int | None:
        """Return when the next delivery is due."""
        rows = await self._rows(_DELIVER["next_due"], (self._numbers[site], destination))
        return None if rows[0][0] is None else int(rows[0][0])

    async def event(self, event_id: str, site: str | None) -> EventRecord | None:
        """Return everything stored about one event."""
        return await reading.event(self._rows, event_id, site)

    async def held(self, site: str, subject_key: bytes) -> Held:
        """Count what is stored of a subject."""
        return await reading.held(self._rows, self._numbers[site], subject_key)

    async def events_of(self, site: str, subject_key: bytes, start: int, limit: int) -> Sequence[EventRecord]:
        """Return events of a subject."""
        return await reading.events_of(self._rows, site, self._numbers[site], subject_key, start, limit)

    async def touches_of(self, site: str, subject_key: bytes, limit: int) -> Sequence[HeldTouch]:
        """Return the touches of a subject."""
        return await reading.touches_of(self._rows, self._numbers[site], subject_key, limit)

    async def passed_on(self, record_id: str, site: str | None) -> PassedOn | None:
        """Return an entry of the consent log with what was told because of it."""
        return await reading.passed_on(self._rows, record_id, site)

    async def tally(self) -> Tally:
        """Count all stored fates."""
        deliveries = await self._rows(_DELIVER["delivery_tally"])
        conversions = await self._rows(_DELIVER["conversion_tally"])
        events = await self._rows(_READ["event_count"])
        return Tally(
            {(site, name, fate): count for site, name, fate, count in deliveries},
            {(site, fate): count for site, fate, count in conversions},
            events[0][0],
        )

    async def waiting(self) -> Sequence[WaitingRow]:
        """Return what waits."""
        return [WaitingRow(*row) for row in await self._rows(_DELIVER["waiting_by_destination"])]

    async def dead(self, site: str | None, destination: str | None, limit: int) -> Sequence[DeadRow]:
        """Return the latest dead deliveries."""
        names: dict[str, object] = {"site": site, "destination": destination, "limit": limit}
        return [DeadRow(*(*row[:9], bool(row[9]))) for row in await self._rows(_DELIVER["dead_list"], names)]

    async def recent(self, limit: int) -> Sequence[RecentRow]:
        """Return the latest deliveries."""
        return [RecentRow(*row) for row in await self._rows(_DELIVER["recent"], (limit,))]

    async def log_entries(self, site: str, start: int, limit: int) -> Sequence[LogEntry]:
        """Return entries of the consent log."""
        rows = await self._rows(_CONSENT["entries"], (self._numbers[site], start, limit))
        return [LogEntry(*row) for row in rows]

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return all API keys."""
        return [
            ApiKey(
                id=row[0],
                secret_sha256=row[1],
                title=row[2],
                sites=tuple(row[3].split()),
                rights=tuple(row[4].split()),
                must_sign=bool(row[5]),
                created_at_ms=row[6],
                revoked_at_ms=row[7],
            )
            for row in await self._rows(_READ["api_keys"])
        ]

    async def check(self) -> Sequence[str]:
        """Look for damage."""
        rows = await self._rows("pragma integrity_check(20)")
        faults = [str(row[0]) for row in rows if row[0] != "ok"]
        faults += [f"broken reference in table {row[0]}" for row in await self._rows("pragma foreign_key_check")]
        return faults + await self._faults_in_credit()

    async def close(self) -> None:
        """Commit what waits and close."""
        for reader in self._readers:
            await reader.close()
        await self._writer.close()
