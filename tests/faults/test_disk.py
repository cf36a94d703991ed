"""Disks that are full, fail, linger or cannot be written: nothing is acknowledged that is not stored, and it passes."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway import app
from gateway.clock import SystemClock
from gateway.entropy import SeededEntropy
from gateway.sandbox.config import SandboxConfig
from gateway.stores.wal import fault_in
from tests.faults import checks
from tests.faults.disks import ensure, faulty_calls, read_only, small_disk
from tests.faults.inside import STAND_INS, inside, until
from tests.faults.load import AGENT, Client, Load, hit_body
from tests.faults.processes import ROOT, Service, apart, drained, locked, report

clock = SystemClock()
BROWSER = {"Origin": "https://shop.localhost", "User-Agent": AGENT}


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Take all space that is left, for the length of a block."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        yield
    finally:
        filler.unlink()


# ------------------------------------------------------------------ no space


@pytest.mark.root
@pytest.mark.slow
async def test_a_full_disk_is_said_at_once_loses_nothing_and_passes(tmp_path: Path, config: SandboxConfig) -> None:
    with small_disk(tmp_path / "disk", 48 * 1024) as disk:
        async with apart(tmp_path / "vendors", config) as vendors:
            data = disk / "data"
            service = Service(tmp_path / "gateway", vendors.info, config, data=data, reserve_bytes=0)
            load: Load | None = None
            try:
                service.start()
                await service.ready()
                load = Load(service.port, service.host, await service.new_key(), run="d")
                told = load.acknowledged
                load.start(hit_pause_s=0.01)
                await asyncio.sleep(1.0)
                with filled(disk):
                    begun_s = clock.monotonic_s()
                    await until(lambda: told.refused[507] > 0)
                    said_s = clock.monotonic_s() - begun_s
                    await asyncio.sleep(2.0)
                    assert service.running
                    while_full = load.acknowledged.copy()
                begun_s = clock.monotonic_s()
                await until(lambda: len(told.events) > len(while_full.events) + 20)
                again_s = clock.monotonic_s() - begun_s
                await until(lambda: _accepted(service) > 0)
                await load.stop()
                stored = await drained(service)
                ledgers = await vendors.control.ledgers()
                sums = await service.admin("GET", "check")
            finally:
                if load is not None:
                    await load.abort()
                service.kill()
        verdict, seen = checks.compare(stored, load.acknowledged), checks.effects(stored, ledgers, STAND_INS)
    report(
        "disk-full",
        acked=len(load.acknowledged.events),
        refused=dict(load.acknowledged.refused),
        lost=len(verdict.lost),
        said_ms=int(said_s * 1000),
        again_ms=int(again_s * 1000),
    )
    assert verdict.clean, verdict
    assert seen.clean, seen
    assert sums["problems"] == []
    assert set(load.acknowledged.refused) <= {503, 507}
    assert said_s < 5
    assert again_s < 5


def _accepted(service: Service) -> int:
    return sum(count for (_, fate), count in checks.read(service.database).deliveries.items() if fate == "accepted")


@pytest.mark.root
async def test_on_a_full_disk_a_refusal_of_consent_finds_a_place(tmp_path: Path, config: SandboxConfig) -> None:
    with small_disk(tmp_path / "disk", 8 * 1024) as disk:
        data = disk / "data"
        kept = {"dir": str(data), "reserve_bytes": 512 * 1024}
        async with inside(data, config, only=(), data=kept) as running:
            body = {"choice": {"analytics": "denied"}, "person": {"external_id": "somebody"}}
            await running.key()
            with filled(disk):
                number = 0

                async def refused() -> bool:
                    nonlocal number
                    number += 1
                    hit = hit_body(f"full-{number:05}", padding=8_000)
                    return (await running.call("POST", "/collect", hit, BROWSER)).status == 507

                await until(refused)
                assert (await running.api("/consent", body)).status == 200
                assert (await running.call("GET", "/p.gif?id=pixel-0001", headers=BROWSER)).status in (200, 507)
        stored = checks.read(data / app.DATABASE)
    assert len(stored.choices) == 1
    assert stored.faults == []


@pytest.mark.root
async def test_a_start_on_a_full_disk_says_so(tmp_path: Path, config: SandboxConfig) -> None:
    with small_disk(tmp_path / "disk", 1_024) as disk:
        service = Service(tmp_path / "gateway", tmp_path / "no-info", config, data=disk / "data")
        with filled(disk):
            assert "no space" in refused_by(service)


# ------------------------------------------------------------------ failing and slow calls

FAILING = {
    "sync fails at times": ("fdatasync:error=EIO:when=20+20",),
    "write fails at times": ("pwrite64:error=EIO:when=200+200",),
    "no space at times": ("pwrite64:error=ENOSPC:when=150+150",),
    "sync fails from now on": ("fdatasync:error=EIO:when=30+",),
}
SLOW = {"10 ms a sync": ("fdatasync:delay_enter=10ms",), "200 ms a sync": ("fdatasync:delay_enter=200ms",)}


@pytest.mark.root
@pytest.mark.nightly
@pytest.mark.parametrize("injected", [*FAILING, *SLOW])
async def test_acknowledged_is_stored_whatever_the_disk_does(
    tmp_path: Path, config: SandboxConfig, injected: str
) -> None:
    """The disk misbehaves for some seconds and then no more; a kill in between shows what really was written."""
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config)
        load: Load | None = None
        try:
            service.start()
            await service.ready()
            load = Load(service.port, service.host, await service.new_key(), run="e")
            load.start(hitting=8, converting=2)
            await asyncio.sleep(0.5)
            with faulty_calls(service.pid, *FAILING.get(injected, ()), *SLOW.get(injected, ())):
                await asyncio.sleep(4.0)
                told = load.acknowledged.copy()
                service.kill()
            wal = service.database.with_name(f"{app.DATABASE}-wal")
            left = wal.exists()  # the process that writes for it may have ended in good order, and copied it back
            assert not left or fault_in(service.database, wal) is None, "what failed commits left was taken for damage"
            after_kill = checks.compare(checks.read(service.database), told)
            service.start()
            await service.ready()
            await load.stop()
            stored = await drained(service)
            ledgers = await vendors.control.ledgers()
        finally:
            if load is not None:
                await load.abort()
            service.kill()
    refused = load.acknowledged.refused
    report(
        f"disk-{injected.replace(' ', '-')}",
        acked_before_kill=len(told.events),
        acked=len(load.acknowledged.events),
        refused=dict(refused),
        lost=len(after_kill.lost),
    )
    assert after_kill.clean, after_kill
    assert checks.compare(stored, load.acknowledged).clean
    seen = checks.effects(stored, ledgers, STAND_INS)
    assert seen.clean, seen
    assert bool(refused) == (injected in FAILING), "the fault was felt, and slowness alone refuses nobody"
    assert set(refused) <= {503, 507}


@pytest.mark.root
@pytest.mark.nightly
async def test_a_disk_that_stands_still_holds_no_request(tmp_path: Path, config: SandboxConfig) -> None:
    """A sync takes thirty seconds; a request waits for two and is told to come again."""
    limits = {"store_timeout_s": 2.0, "browser_per_minute": 1_000_000}
    async with apart(tmp_path / "vendors", config) as vendors:
        service = Service(tmp_path / "gateway", vendors.info, config, limits=limits)
        try:
            service.start()
            await service.ready()
            took: list[float] = []

            async def send(number: int) -> int:
                client = Client(service.port, service.host)
                begun_s = clock.monotonic_s()
                try:
                    status = (await client.send("POST", "/collect", hit_body(f"stuck-{number:04}"), BROWSER)).status
                finally:
                    client.close()
                took.append(clock.monotonic_s() - begun_s)
                return status

            assert await send(0) == 204
            with faulty_calls(service.pid, "fdatasync:delay_enter=30s"):
                statuses = await asyncio.gather(*(send(number) for number in range(1, 101)))
            service.kill()
        finally:
            service.kill()
    report("disk-stands-still", refused=statuses.count(503), longest_ms=int(max(took) * 1000))
    assert set(statuses) == {503}
    assert max(took) < 6
    assert checks.read(service.database).faults == []


# ------------------------------------------------------------------ a directory that cannot be used


def refused_by(service: Service, *, before: str = "", code: int = 1) -> str:
    """Start the gateway, which must refuse within five seconds with one line and no traceback. Answers the line.

    `before` is Python to run first in that process.
    """
    run = f"{before}\nimport sys\nfrom gateway.cli import main\nsys.argv = ['gateway', 'serve', '--settings', sys.argv[1]]\nmain()"
    begun_s = clock.monotonic_s()
    done = subprocess.run(
        [sys.executable, "-c", run, str(service.settings)], capture_output=True, cwd=ROOT, timeout=30, check=False
    )
    took_s = clock.monotonic_s() - begun_s
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
    assert took_s < 10, "five seconds, on a machine that is not busy"
    return said


@pytest.mark.root
def test_a_read_only_data_directory_is_refused(tmp_path: Path, config: SandboxConfig) -> None:
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config)
    with read_only(service.data):
        assert str(service.data) in refused_by(service)


@pytest.mark.root
def test_a_data_directory_of_somebody_else_is_refused(config: SandboxConfig) -> None:
    """As another user than the owner, who has every right to start a gateway of his own."""
    ensure()
    become_nobody = "import os, gateway.cli\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)"
    with TemporaryDirectory(dir="/tmp") as outside:
        Path(outside).chmod(0o755)
        service = Service(Path(outside) / "gateway", Path(outside) / "no-info", config)
        service.settings.chmod(0o644)
        assert str(service.data) in refused_by(service, before=become_nobody)


AS_NOBODY = """
import os, sys, gateway.cli
import gateway.app, publicsuffixlist  # what is imported late: the interpreter itself may be out of that user's reach
gateway.app.new_event_loop().close()
publicsuffixlist.PublicSuffixList()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
gateway.cli.main(sys.argv[1:])
"""

IN_PUBLIC = """
checkout=$1 public=$2 code=$3
shift 3
mount --bind "$checkout" "$public" && cd "$public" && exec .venv/bin/python -c "$code" "$@"
"""


@pytest.mark.root
def test_an_installation_made_for_another_user_is_served_by_that_user() -> None:
    """As the deploy page says: two directories of that user, settings in one, everything else in the other."""
    ensure()

    def run(*arguments: str) -> "subprocess.Popen[str]":
        # This checkout may stand below a directory that is private to root: the other user sees it at a public place.
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", IN_PUBLIC, "sh", str(ROOT), str(public), AS_NOBODY, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def done(*arguments: str) -> str:
        process = run(*arguments)
        out, error = process.communicate(timeout=30)
        assert process.returncode == 0, out + error
        return out

    with TemporaryDirectory(dir="/tmp") as outside:
        Path(outside).chmod(0o755)
        settings_dir, data, public = Path(outside) / "etc", Path(outside) / "lib", Path(outside) / "code"
        public.mkdir(mode=0o755)
        for place in (settings_dir, data):
            place.mkdir(mode=0o700)
            os.chown(place, 65534, 65534)
        said = done("init", "--host", "t.shop.example", "--directory", str(settings_dir), "--data", str(data))
        assert str(data / app.TOKEN_FILE) in said
        assert sorted(path.name for path in data.iterdir()) == sorted([app.KEY_FILE, app.TOKEN_FILE])
        settings = settings_dir / "gateway.toml"
        settings.write_text("[listen]\nport = 0\nadmin_port = 0\n" + settings.read_text())
        assert "no problems" in done("check", "--settings", str(settings))
        service = run("serve", "--settings", str(settings))
        try:
            assert service.stderr is not None
            assert any("gateway_started" in line for line in service.stderr), "it ended"
            assert "no problems" in done("check", "--settings", str(settings)), "through the control socket"
        finally:
            service.terminate()
            service.communicate(timeout=30)
        assert service.returncode == 0
        assert {path.stat().st_uid for path in data.iterdir()} == {65534}


@pytest.mark.root
def test_settings_in_a_directory_of_somebody_else_are_named_and_not_a_traceback() -> None:
    ensure()
    with TemporaryDirectory(dir="/tmp") as outside:  # mode 0700, of root
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, "check"],
            cwd="/tmp",
            env={**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_SETTINGS": f"{outside}/gateway.toml"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        found = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import pathlib, gateway.terminal as t\nt._PLACES = (pathlib.Path('{outside}/gateway.toml'),)\n{AS_NOBODY}",
                "check",
            ],
            cwd="/tmp",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    for one in (told, found):
        assert (one.returncode, one.stdout) == (1, "")
        assert one.stderr == f"The settings file {outside}/gateway.toml cannot be read: PermissionError\n"


@pytest.mark.parametrize("name", [app.KEY_FILE, app.TOKEN_FILE])
async def test_secrets_that_others_can_read_are_refused(tmp_path: Path, config: SandboxConfig, name: str) -> None:
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config)
    path = service.data / name
    if not path.exists():
        path.write_text("0123456789abcdef" * 3)
    path.chmod(0o644)
    said = refused_by(service)
    assert str(path) in said
    assert "0600" in said


def test_a_token_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Whatever ends the process between making the file and writing it, the next start makes it again."""

    class Ending(SeededEntropy):
        def token_bytes(self, count: int) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        app.admin_token(tmp_path, Ending())
    assert len(app.admin_token(tmp_path, SeededEntropy())) == 48
    assert (tmp_path / app.TOKEN_FILE).stat().st_mode & 0o777 == 0o600


def test_two_gateways_on_one_directory_are_one_too_many(tmp_path: Path, config: SandboxConfig) -> None:
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config)
    lock = app.Lock(service.data)
    assert lock.take()
    try:
        assert "Another gateway is running" in refused_by(service)
    finally:
        lock.release()


async def test_a_database_that_another_program_has_locked_is_refused(tmp_path: Path, config: SandboxConfig) -> None:
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config, limits={"store_timeout_s": 1.0})
    service.command("check")
    async with locked(service.database):
        said = await asyncio.to_thread(refused_by, service)
        assert "locked" in said
