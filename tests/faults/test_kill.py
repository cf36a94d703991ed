"""SIGKILL at random moments under load: nothing acknowledged is lost, nothing is stored twice, nothing counts twice.

What this cannot show is survival of a power cut: the kernel keeps what a killed process has written. For that there is
`test_power_cut.py`.
"""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.entropy import SystemEntropy
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.faults import Fault
from tests.faults import checks
from tests.faults.inside import STAND_INS
from tests.faults.load import Load
from tests.faults.processes import Service, apart, drained, percentile, report

EARLY_SHARE = 0.1
"""Share of kills that come while the gateway is still starting: in the middle of migration, recovery, checks."""

clock, entropy = SystemClock(), SystemEntropy()


async def killed_often(service: Service, load: Load, kills: int, flaw: str | None = None) -> list[float]:
    """Kill and start again, under load. Answers the seconds each start took, from the command to the first answer."""
    ready = []
    for _ in range(kills):
        if entropy.fraction() < EARLY_SHARE:
            await asyncio.sleep(0.9 * entropy.fraction())
        else:
            ready.append(await service.ready())
            await asyncio.sleep(0.05 + 0.45 * entropy.fraction())
        service.kill()
        service.start(flaw)
    ready.append(await service.ready())
    return ready


async def survives(tmp_path: Path, config: SandboxConfig, kills: int, name: str) -> None:
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config)
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            load = Load(service.port, service.host, await service.new_key(), run="k")
            await vendors.control.always_fault("webhook", Fault.accept_then_drop(), share=0.05)
            load.start()
            ready = await killed_often(service, load, kills)
            await load.stop()
            await vendors.control.clear_faults()
            stored = await drained(service)
            sums = await service.admin("GET", "check")
            ledgers = await vendors.control.ledgers()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    told = load.acknowledged
    verdict, seen = checks.compare(stored, told), checks.effects(stored, ledgers, STAND_INS)
    report(
        name,
        kills=kills,
        tries=told.tries,
        acked=len(told.events) + len(told.choices),
        orders=len(told.orders),
        lost=len(verdict.lost),
        stored_twice=len(verdict.twice),
        vendor_effects=sum(len(ledger.effects) for ledger in ledgers.values()),
        double_effects=len(seen.double),
        harmless_repeats=seen.repeats,
        ready_ms_median=percentile(ready, 0.5),
        ready_ms_p95=percentile(ready, 0.95),
        database_mb=service.database.stat().st_size // 1_000_000,
    )
    assert verdict.clean, verdict
    assert seen.clean, seen
    assert sums["problems"] == []
    assert {fate for (_, fate) in stored.deliveries} == {"accepted"}
    assert {name for (name, _) in stored.deliveries} == set(STAND_INS)
    assert stored.orders.keys() == told.orders
    assert sum(stored.deliveries.values()) == 4 * len(told.orders)
    assert len(told.hits) > 20 * kills, "too little load to mean anything"
    assert len(told.orders) > kills
    assert percentile(ready, 0.95) < 10_000


async def flawed(
    tmp_path: Path, config: SandboxConfig, *, flaw: str | None, statements: tuple[str, ...]
) -> checks.Verdict:
    """Kill a few times a gateway with a flaw built in, or with a database that was tampered with."""
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config)
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            api_key = await service.new_key()
            service.kill()
            with sqlite3.connect(service.database) as db:
                for statement in statements:
                    db.execute(statement)
            db.close()
            service.start(flaw)
            load = Load(service.port, service.host, api_key, run="f")
            load.start()
            await killed_often(service, load, 12, flaw)
            await load.stop()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    return checks.compare(checks.read(service.database), load.acknowledged)


@pytest.mark.slow
async def test_answering_before_the_commit_would_be_seen(tmp_path: Path, config: SandboxConfig) -> None:
    verdict = await flawed(tmp_path, config, flaw="hasty", statements=())
    report("kills-control-hasty", lost=len(verdict.lost), stored_twice=len(verdict.twice))
    assert verdict.lost


@pytest.mark.slow
async def test_missing_dedup_indexes_would_be_seen(tmp_path: Path, config: SandboxConfig) -> None:
    dropped = ("drop index event_once", "drop index conversion_once")
    verdict = await flawed(tmp_path, config, flaw=None, statements=dropped)
    events = sum(1 for one in verdict.twice if one.startswith("event"))
    orders = sum(1 for one in verdict.twice if one.startswith("order"))
    report("kills-control-no-index", lost=len(verdict.lost), events_twice=events, orders_twice=orders)
    assert events
    assert orders


@pytest.mark.slow
async def test_sixty_kills_lose_nothing_and_double_nothing(tmp_path: Path, config: SandboxConfig) -> None:
    await survives(tmp_path, config, 60, "kills-60")


@pytest.mark.nightly
async def test_hundreds_of_kills_lose_nothing_and_double_nothing(tmp_path: Path, config: SandboxConfig) -> None:
    await survives(tmp_path, config, 250, "kills-250")
