"""Another process locks the database: nothing is acknowledged that is not stored, nothing waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.sandbox.config import SandboxConfig
from tests.faults import checks
from tests.faults.inside import Inside, inside
from tests.faults.load import AGENT, Load, hit_body
from tests.faults.processes import locked, report

pytestmark = pytest.mark.slow  # a lock has to last

TIMEOUT_S = 2.0
BROWSER = {"Origin": "https://shop.localhost", "User-Agent": AGENT}
clock = SystemClock()


@asynccontextmanager
async def under_load(running: Inside) -> AsyncIterator[Load]:
    load = Load(running.gateway.port, "t.shop.localhost", await running.key(), run="l")
    load.start(hitting=8, hit_pause_s=0.02, converting=2, convert_pause_s=0.05, choosing=1)
    try:
        yield load
        await load.stop()
    finally:
        await load.abort()


@pytest.mark.parametrize("held_s", [1.0, TIMEOUT_S + 1.5])
async def test_a_lock_loses_nothing_and_passes(tmp_path: Path, config: SandboxConfig, held_s: float) -> None:
    """Short: everybody waits. Long: 503 and Retry-After; what was answered is stored all the same, once."""
    limits = {"store_timeout_s": TIMEOUT_S, "browser_per_minute": 10_000_000, "api_per_minute": 10_000_000}
    async with inside(tmp_path, config, limits=limits) as running:
        async with under_load(running) as load:
            await asyncio.sleep(0.3)
            async with locked(running.database):
                before = load.acknowledged.copy()
                await asyncio.sleep(held_s)
                during = load.acknowledged.copy()
            await asyncio.sleep(0.5)
        told = load.acknowledged
        stored = checks.read(running.database)
        assert checks.compare(stored, told).clean
        assert len(during.events) - len(before.events) <= 11, "acknowledged while nothing could be stored"
        assert len(told.events) > len(during.events) + 50, "it went on by itself"
        assert bool(told.refused) == (held_s > TIMEOUT_S), told.refused
        assert set(told.refused) <= {503}
        for destination in ("meta", "ga4", "google_ads", "crm"):
            await running.settled_at(destination, accepted=len(told.orders))
    report(f"lock-{held_s}s", acked=len(told.events), refused=sum(told.refused.values()))


async def test_a_long_lock_answers_503_in_time_and_the_refused_hit_can_be_sent_again(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, limits={"store_timeout_s": 1.0}) as running:
        async with locked(running.database):
            begun_s = clock.monotonic_s()
            hit = await running.call("POST", "/collect", hit_body("hit-00001"), BROWSER)
            pixel = await running.call("GET", "/p.gif?id=pixel-0001", headers=BROWSER)
            took_s = clock.monotonic_s() - begun_s
        for answered in (hit, pixel):
            assert answered.status == 503
            assert int(answered.headers["retry-after"]) >= 1
        assert took_s < 10
        again = await running.call("POST", "/collect", hit_body("hit-00001"), BROWSER)
        assert again.status == 204
    assert checks.read(running.database).events == {"hit-00001": 1}
