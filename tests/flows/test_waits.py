"""Waits: who is told what, and when, with one timer for all."""

import asyncio

import pytest

from gateway.flows.waits import Waits

SECONDS = 0.05


async def told(waits: Waits, future: "asyncio.Future[None]", heard: list[bool], seconds: float = SECONDS) -> None:
    waits.when_done(future, seconds, heard.append)


async def test_what_is_done_in_time_is_told_once() -> None:
    waits, heard = Waits(), list[bool]()
    future = asyncio.get_running_loop().create_future()
    await told(waits, future, heard)
    future.set_result(None)
    await asyncio.sleep(0)
    assert heard == [True]
    await asyncio.sleep(3 * SECONDS)
    assert heard == [True]


async def test_what_was_done_before_is_told_too() -> None:
    waits, heard = Waits(), list[bool]()
    future = asyncio.get_running_loop().create_future()
    future.set_exception(RuntimeError("test"))
    await told(waits, future, heard)
    await asyncio.sleep(0)
    assert heard == [True]
    assert future.exception() is not None


async def test_what_is_late_is_told_once_and_not_cancelled() -> None:
    waits, heard = Waits(), list[bool]()
    future = asyncio.get_running_loop().create_future()
    await told(waits, future, heard)
    await asyncio.sleep(3 * SECONDS)
    assert heard == [False]
    future.set_result(None)
    await asyncio.sleep(0)
    assert heard == [False]
    assert not future.cancelled()


async def test_each_of_many_has_its_own_time() -> None:
    loop = asyncio.get_running_loop()
    waits = Waits()
    begun_s = loop.time()
    late_at_s: dict[int, float] = {}
    futures = []
    for number in range(20):
        future = loop.create_future()
        futures.append(future)

        def late(done: bool, number: int = number) -> None:
            if not done:
                late_at_s[number] = loop.time() - begun_s

        waits.when_done(future, SECONDS, late)
        if number % 3 == 0:
            future.set_result(None)
        await asyncio.sleep(0.005)
    await asyncio.sleep(3 * SECONDS)
    assert set(late_at_s) == {number for number in range(20) if number % 3}
    assert all(at_s >= SECONDS + 0.004 * number for number, at_s in late_at_s.items())
    assert sorted(late_at_s.values()) == list(late_at_s.values())


async def test_when_nothing_is_waited_for_there_is_no_timer() -> None:
    waits, heard = Waits(), list[bool]()
    for _ in range(3):
        future = asyncio.get_running_loop().create_future()
        await told(waits, future, heard)
        future.set_result(None)
        await asyncio.sleep(2 * SECONDS)
        assert waits._timer is None
        assert not waits._all
    assert heard == [True] * 3


async def test_whoever_is_told_may_wait_again_without_a_second_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a click does while the store is slow: late for the store, it waits for the spool."""
    looks = 0
    look = Waits._look

    def counted(waits: Waits, loop: asyncio.AbstractEventLoop) -> None:
        nonlocal looks
        looks += 1
        look(waits, loop)

    monkeypatch.setattr(Waits, "_look", counted)
    loop, waits, heard = asyncio.get_running_loop(), Waits(), list[bool]()

    def late(_: bool) -> None:
        waits.when_done(loop.create_future(), SECONDS, heard.append)

    for _ in range(20):
        waits.when_done(loop.create_future(), SECONDS, late)
        await asyncio.sleep(SECONDS / 20)
    await asyncio.sleep(3 * SECONDS)
    assert heard == [False] * 20
    assert looks <= 42, "one for each wait that ran out, and no chain of timers beside it"


async def test_an_error_of_one_who_is_told_does_not_leave_others_untold() -> None:
    loop, waits, heard, faults = asyncio.get_running_loop(), Waits(), list[bool](), list[object]()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def failing(_: bool) -> None:
        raise RuntimeError("test")

    waits.when_done(loop.create_future(), SECONDS, failing)
    waits.when_done(loop.create_future(), SECONDS, heard.append)
    await asyncio.sleep(4 * SECONDS)
    assert heard == [False]
    assert len(faults) == 1
