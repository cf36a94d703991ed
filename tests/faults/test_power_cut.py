"""A power cut at a random moment under load: whatever was acknowledged before it is on the disk after it.

A kill cannot show this, because the kernel goes on to write what a killed process left behind. A gateway that commits
with synchronous=NORMAL survives every kill and loses here: that is the control.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.entropy import SystemEntropy
from gateway.sandbox.config import SandboxConfig
from gateway.stores.wal import fault_in
from tests.faults import checks
from tests.faults.disks import Cut, power
from tests.faults.load import Acknowledged, Load
from tests.faults.processes import Service, apart, report

entropy = SystemEntropy()


class Cuts(msgspec.Struct):
    """What a number of power cuts did."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    cuts_with_loss: int = 0
    twice: int = 0
    damaged: int = 0


async def cut_often(service: Service, disk: Cut, load: Load, cuts: int) -> Cuts:
    """Cut the power at random moments; each time look at what is left. The gateway itself runs on."""
    found = Cuts()
    for _ in range(cuts):
        await asyncio.sleep(0.2 + 0.6 * entropy.fraction())
        told = load.acknowledged.copy()
        await asyncio.to_thread(disk.clone)
        verdict = await asyncio.to_thread(_left, service, disk, told)
        found.cuts += 1
        found.acknowledged = len(told.events) + len(told.choices)
        found.lost += len(verdict.lost)
        found.cuts_with_loss += bool(verdict.lost)
        found.twice += len(verdict.twice)
        found.damaged += bool(verdict.damage)
    return found


def _left(service: Service, disk: Cut, told: Acknowledged) -> checks.Verdict:
    with disk.after() as clone:
        database = clone / service.database.relative_to(disk.disk)
        wal = database.with_name(f"{database.name}-wal")
        if wal.exists() and wal.stat().st_size:
            assert fault_in(database, wal) is None, "a torn transaction was taken for damage"
        return checks.compare(checks.read(database), told)


async def cut_service(tmp_path: Path, config: SandboxConfig, cuts: int, flaw: str | None) -> Cuts:
    with power(tmp_path / "power") as disk:
        async with apart(tmp_path / "vendors", config) as vendors:
            # A flaw is built into the gateway's own process, so that one has to write alone.
            appender = "always" if flaw is None else "never"
            service = Service(tmp_path / "gateway", vendors.info, config, data=disk.disk / "data", appender=appender)
            load: Load | None = None
            try:
                service.start(flaw)
                await service.ready()
                load = Load(service.port, service.host, await service.new_key(), run="p")
                load.start()
                return await cut_often(service, disk, load, cuts)
            finally:
                if load is not None:
                    await load.abort()
                service.kill()


@pytest.mark.nightly
@pytest.mark.root
async def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, config: SandboxConfig) -> None:
    found = await cut_service(tmp_path, config, 20, None)
    report("power-cuts", **msgspec.structs.asdict(found))
    assert found.acknowledged > 1_000, "too little load to mean anything"
    assert (found.lost, found.twice, found.damaged) == (0, 0, 0)


@pytest.mark.nightly
@pytest.mark.root
async def test_commits_that_are_not_synced_would_be_seen(tmp_path: Path, config: SandboxConfig) -> None:
    found = await cut_service(tmp_path, config, 15, "lax")
    report("power-cuts-control-normal", **msgspec.structs.asdict(found))
    assert found.cuts_with_loss >= 3
    assert found.lost
