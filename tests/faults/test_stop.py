"""SIGTERM: requests under way are answered, leases given back, exit 0, all in less than ten seconds; and start again."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway import app
from gateway.clock import SystemClock
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.faults import Fault
from tests.faults import checks
from tests.faults.inside import STAND_INS, inside, settings_of
from tests.faults.load import AGENT, Client, Load, conversion_body, hit_body
from tests.faults.processes import Service, apart, drained, percentile, report

pytestmark = pytest.mark.slow  # stopping takes seconds

STOP_S = 10.0
clock = SystemClock()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("path", ["/collect", "/api/v1/conversions"])
async def test_a_request_under_way_is_answered_before_the_end(
    tmp_path: Path, config: SandboxConfig, path: str, fast: bool
) -> None:
    """The commit takes half a second; the gateway is told to stop in the middle of it."""
    async with inside(tmp_path / "first", config, only=()) as first:
        api_key = await first.key()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.5)

    settings = settings_of(tmp_path / "first", config, only=())
    async with app.running(settings, after_commit=slow, fast=fast) as gateway:
        client = Client(gateway.port, "t.shop.localhost")
        body = hit_body("hit-00001") if path == "/collect" else conversion_body("hit-00001", "A1")
        headers = {"Origin": "https://shop.localhost", "User-Agent": AGENT, "Authorization": f"Bearer {api_key}"}
        await asyncio.sleep(0.6)
        begun.clear()
        sent = asyncio.create_task(client.send("POST", path, body, headers))
        await begun.wait()
        begun_s = clock.monotonic_s()
        await gateway.stop()
        assert clock.monotonic_s() - begun_s < STOP_S
        assert (await sent).status in (200, 204)
        client.close()
    assert checks.read(tmp_path / "first" / app.DATABASE).events == {"hit-00001": 1}


@pytest.mark.slow
async def test_a_stop_beside_black_holes_is_quick_and_gives_everything_back(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config)
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            load = Load(service.port, service.host, await service.new_key(), run="s")
            for stand_in in ("meta", "ga4", "google_token"):
                await vendors.control.always_fault(stand_in, Fault.black_hole(store=True))
            load.start(hitting=8, converting=4, convert_pause_s=0.05)
            await asyncio.sleep(1.5)
            service.tell()
            begun_s = clock.monotonic_s()
            code = await service.ended()
            took_s = clock.monotonic_s() - begun_s
            copied_back = not service.database.with_name(f"{app.DATABASE}-wal").exists()
            stopped = checks.read(service.database)
            await vendors.control.clear_faults()
            service.start()
            await service.ready()
            await load.stop()
            stored = await drained(service)
            ledgers = await vendors.control.ledgers()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    report("stop-beside-black-holes", took_ms=int(took_s * 1000), exit_code=code, waiting=stopped.waiting())
    assert code == 0
    assert took_s < STOP_S
    assert stopped.leased == 0
    assert stopped.waiting() > 10
    assert copied_back, "the write-ahead file was left behind"
    assert checks.compare(stored, load.acknowledged).clean
    seen = checks.effects(stored, ledgers, STAND_INS)
    assert seen.clean, seen
    assert '"event":"gateway_stopped"' in service.log_text()


@pytest.mark.slow
async def test_rolling_restarts_lose_nothing(tmp_path: Path, config: SandboxConfig) -> None:
    restarts = 12
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config)
        load: Load | None = None
        codes, away = [], []
        try:
            service.start()
            await service.ready()
            load = Load(service.port, service.host, await service.new_key(), run="r")
            load.start()
            for _ in range(restarts):
                await asyncio.sleep(0.3)
                begun_s = clock.monotonic_s()
                service.tell()
                codes.append(await service.ended())
                assert checks.read(service.database).leased == 0
                service.start()
                await service.ready()
                away.append(clock.monotonic_s() - begun_s)
            await load.stop()
            stored = await drained(service)
            ledgers = await vendors.control.ledgers()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    report(
        "rolling-restarts",
        restarts=restarts,
        acked=len(load.acknowledged.events),
        away_ms_median=percentile(away, 0.5),
        away_ms_max=percentile(away, 1.0),
    )
    assert codes == [0] * restarts
    assert max(away) < STOP_S
    verdict, seen = checks.compare(stored, load.acknowledged), checks.effects(stored, ledgers, STAND_INS)
    assert verdict.clean, verdict
    assert seen.clean, seen
    assert seen.repeats == 0, "nothing was cut off in the middle of an attempt"
