"""The second process that writes plain rows: when it starts, what it is handed, and what happens when it is killed."""

import asyncio
import gc
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path

import msgspec
import pytest

from gateway.errors import StoreBusy, StoreError
from gateway.event import ConversionClaim, EventRow, Recordable, Submission, Submitted, Touch
from gateway.stores.appending import lock_path
from gateway.stores.sqlite import SqliteStore, open_sqlite

NOW = 1_800_000_000_000
numbers = count(1)


@asynccontextmanager
async def opened(path: Path, appender: str, **options: object) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(path / "gateway.db", sites=("shop",), now_ms=NOW, appender=appender, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


def plain(event_id: str | None = None) -> Submission:
    row = EventRow(
        "shop", event_id or f"event-{next(numbers):08}", "page_view", "server", NOW, NOW, "none", None, b"{}"
    )
    return Submission((Recordable(event=row),))


def conversion() -> Submission:
    event_id = f"event-{next(numbers):08}"
    row = EventRow("shop", event_id, "purchase", "server", NOW, NOW, "none", None, b"{}")
    claim = ConversionClaim("purchase", f"e:{event_id}", None, 100, "EUR")
    return Submission((Recordable(event=row, conversion=claim),))


def click(**changes: object) -> Touch:
    made = Touch("click", NOW, None, None, None, None, channel="email", click_id=f"click-{next(numbers):08}")
    return msgspec.structs.replace(made, **changes)


def clicks_in(path: Path) -> tuple[int, int, int, int]:
    """How many clicks and repeats there are, and how many the sums say."""
    with closing(sqlite3.connect(f"file:{path / 'gateway.db'}?mode=ro", uri=True)) as db:
        clicks, repeats = db.execute("select count(*), total(repeats) from touch").fetchone()
        summed = db.execute("select total(touches), total(repeats) from touch_day").fetchone()
        return int(clicks), int(repeats), int(summed[0]), int(summed[1])


def fates(answers: Sequence[Submitted]) -> list[str]:
    return [answer.recorded[0].fate for answer in answers]


def pid_of(store: SqliteStore) -> int | None:
    return store._writer.appender_pid


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


def events_in(path: Path) -> int:
    db = sqlite3.connect(f"file:{path / 'gateway.db'}?mode=ro", uri=True)
    try:
        return int(db.execute("select count(*) from event").fetchone()[0])
    finally:
        db.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_rows_are_durable_when_it_answers(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        assert pid_of(store) is not None
        answers = await asyncio.gather(*(store.submit(plain()) for _ in range(500)))
        assert fates(answers) == ["recorded"] * 500
        assert events_in(tmp_path) == 500


async def test_a_repeat_is_told_from_the_first_whoever_wrote_it(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        await store.submit(plain("event-first"))
        by_thread = conversion()
        twice = await asyncio.gather(store.submit(by_thread), store.submit(plain("event-second")))
        assert fates(twice) == ["recorded" if n else "counted" for n in (0, 1)]
        thrice = [store.submit(plain(name)) for name in ("event-first", "event-second", "event-third", "event-third")]
        assert fates(await asyncio.gather(*thrice)) == ["duplicate", "duplicate", "recorded", "duplicate"]


async def test_clicks_and_their_repeats_are_durable_when_it_answers(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        made = [click() for _ in range(200)]
        events = [store.submit(plain()) for _ in range(100)]
        touch_nos = await asyncio.gather(*(store.record_click("shop", touch) for touch in made))
        assert touch_nos == list(range(1, 201))
        assert fates(await asyncio.gather(*events)) == ["recorded"] * 100
        again = [store.record_repeat("shop", touch.click_id or "") for touch in (*made[:50], *made[:50], click())]
        assert list(await asyncio.gather(*again)) == [True] * 100 + [False]
        assert clicks_in(tmp_path) == (200, 100, 200, 100)


async def test_clicks_in_the_commit_of_other_work_are_written_by_the_thread(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        made = click()
        stored, counted = store.record_click("shop", made), store.record_repeat("shop", made.click_id or "")
        answers = await asyncio.gather(store.submit(conversion()), store.submit(plain()))
        assert fates(answers) == ["counted", "recorded"]
        assert (await stored, await counted) == (1, True)
        assert clicks_in(tmp_path) == (1, 1, 1, 1)


async def test_a_click_the_database_does_not_take_fails_alone(tmp_path: Path) -> None:
    for appender in ("always", "never"):
        path = tmp_path / appender
        path.mkdir()
        async with opened(path, appender) as store:
            bad = [click(human="maybe"), click(occurred_at_ms=1 << 70), click(kind=None)]
            futures = [store.record_click("shop", touch) for touch in (click(), *bad, click())]
            first, *failed, last = await asyncio.gather(*futures, return_exceptions=True)
            assert all(isinstance(one, StoreError) for one in failed)
            assert (first, last) == (1, 2)
            assert clicks_in(path) == (2, 0, 2, 0)


async def test_clicks_that_a_killed_one_had_in_hand_are_answered_busy(tmp_path: Path) -> None:
    async with opened(tmp_path, "always", sync_pause_s=0.3) as store:
        pid = pid_of(store)
        assert pid is not None
        made = click()
        stored = store.record_click("shop", made)
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(StoreBusy):
            await stored
        again = await store.record_click("shop", made)  # whether it was durable or not
        assert clicks_in(tmp_path) == (1, 0, 1, 0)
        assert again == 1


async def test_it_starts_by_itself_when_many_clicks_arrive(tmp_path: Path) -> None:
    async with opened(tmp_path, "auto") as store:
        while pid_of(store) is None:
            await asyncio.gather(*(store.record_click("shop", click()) for _ in range(300)))


async def test_it_starts_by_itself_when_many_rows_arrive(tmp_path: Path) -> None:
    async with opened(tmp_path, "auto") as store:
        await store.submit(plain())
        assert pid_of(store) is None
        while pid_of(store) is None:
            await asyncio.gather(*(store.submit(plain()) for _ in range(300)))
        assert fates([await store.submit(plain())]) == ["recorded"]


async def test_it_stays_away_when_the_operator_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, "never") as store:
        for _ in range(8):
            await asyncio.gather(*(store.submit(plain()) for _ in range(300)))
            await asyncio.sleep(0.1)
        assert pid_of(store) is None


async def test_killed_it_takes_only_what_it_had_in_hand(tmp_path: Path) -> None:
    """What it had in hand is answered busy, for nobody knows whether it is durable; all else goes on in the thread."""
    async with opened(tmp_path, "always", sync_pause_s=0.3) as store:
        pid = pid_of(store)
        assert pid is not None
        in_hand = [store.submit(plain(f"event-hand-{n}")) for n in range(3)]
        await asyncio.sleep(0.05)
        waiting = [store.submit(plain()) for _ in range(3)]
        os.kill(pid, signal.SIGKILL)
        assert all(isinstance(e, StoreBusy) for e in await asyncio.gather(*in_hand, return_exceptions=True))
        assert fates(await asyncio.gather(*waiting)) == ["recorded"] * 3
        again = fates(await asyncio.gather(*(store.submit(plain(f"event-hand-{n}")) for n in range(3))))
        assert set(again) <= {"recorded", "duplicate"}
        assert events_in(tmp_path) == 6


async def test_it_is_started_again_after_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.stores.writer.START_PAUSE_S", 0.1)
    told: list[bool] = []
    async with opened(tmp_path, "always", on_appender=told.append) as store:
        first = pid_of(store)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_of(store) not in (None, first))
        assert fates([await store.submit(plain())]) == ["recorded"]
    assert told == [True, False, True]


async def test_signals_to_stop_are_not_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        pid = pid_of(store)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        assert fates([await store.submit(plain())]) == ["recorded"]
        assert pid_of(store) == pid
    assert not alive(pid)


async def test_a_locked_file_is_busy_and_nothing_is_lost(tmp_path: Path) -> None:
    async with opened(tmp_path, "always", timeout_s=1.0) as store:
        other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        other.execute("begin exclusive")
        with pytest.raises(StoreBusy):
            await store.submit(plain())
        other.execute("rollback")
        other.close()
        assert fates([await store.submit(plain())]) == ["recorded"]


async def test_a_row_the_database_does_not_take_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, "always") as store:
        bad = EventRow("shop", "event-bad-1", "page_view", "nobody", NOW, NOW, "none", None, b"{}")
        futures = [store.submit(plain()), store.submit(Submission((Recordable(event=bad),))), store.submit(plain())]
        good, refused, also = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(refused, StoreError)
        assert isinstance(good, Submitted)
        assert isinstance(also, Submitted)
        assert events_in(tmp_path) == 2


async def test_a_new_start_waits_for_one_that_is_still_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill of the gateway alone: its appender finishes its commit before anybody opens the file."""
    import fcntl

    async with opened(tmp_path, "never"):
        pass
    monkeypatch.setattr("gateway.stores.appending.EARLIER_S", 0.2)
    held = lock_path(tmp_path / "gateway.db").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(StoreBusy):
        async with opened(tmp_path, "never"):
            pass
    held.close()
    async with opened(tmp_path, "never") as store:
        assert fates([await store.submit(plain())]) == ["recorded"]


async def test_the_write_ahead_file_is_copied_back_by_whoever_has_the_turn(tmp_path: Path) -> None:
    """Both write more than the file may grow to; it is copied back meanwhile, and nothing is written at that moment."""
    big = b'{"p":"' + b"p" * 60_000 + b'"}'

    def large(number: int) -> Submission:
        row = EventRow("shop", f"event-large-{number:06}", "page_view", "server", NOW, NOW, "none", None, big)
        claim = ConversionClaim("visit", f"e:{number}", None, None, None) if number % 100 > 50 else None
        return Submission((Recordable(event=row, conversion=claim),))

    async with opened(tmp_path, "always") as store:
        for start in range(0, 1200, 10):
            await asyncio.gather(*(store.submit(large(number)) for number in range(start, start + 10)))
        assert events_in(tmp_path) == 1200
        assert (tmp_path / "gateway.db-wal").stat().st_size < 1200 * len(big) / 2
        assert await store.check() == []


async def test_closed_while_it_starts_it_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However far it has come: before there is a process, before it is connected, before it is ready."""
    for pauses in (0, 1, 2, 5, 20):
        async with opened(tmp_path, "auto") as store:
            store._writer._starting = asyncio.get_running_loop().create_task(store._writer._start_again())
            for _ in range(pauses):
                await asyncio.sleep(0.002)
        assert pid_of(store) is None
        gc.collect()
    assert caplog.messages == []
