"""A damaged database: the start refuses with one line that says why, or takes up everything. It is never silently empty."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway import app
from gateway.errors import StoreDamaged
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.demo import GATEWAY_HOST, prepare
from gateway.stores.appender import CHECKPOINT_BYTES
from gateway.stores.wal import fault_in
from tests.faults import checks
from tests.faults.inside import settings_of
from tests.faults.load import AGENT, Client, hit_body
from tests.faults.processes import ROOT, Service

EVENTS = 200
"""Each is a transaction of its own; together they stay below the size at which the write-ahead file is copied back."""
PAGE = 4096
FRAME = PAGE + 24
NOT_KEPT = shutil.ignore_patterns("*.sock", "*.lock", "reserve")


class Kept(msgspec.Struct, frozen=True):
    """Two copies of the same data: after a clean stop, and as a killed process leaves it."""

    clean: Path
    killed: Path


async def fill(directory: Path, config: SandboxConfig) -> None:
    """Store some events; copy the files while the gateway runs, as it would leave them if it were killed now."""
    running = directory / "clean"
    prepare(running)
    async with app.running(settings_of(running, config, only=())) as gateway:
        client = Client(gateway.port, GATEWAY_HOST)
        for number in range(EVENTS):
            answered = await client.send(
                "POST",
                "/collect",
                hit_body(f"event-{number:05}"),
                {"Origin": "https://shop.localhost", "User-Agent": AGENT},
            )
            assert answered.status == 204
        client.close()
        shutil.copytree(running, directory / "killed", ignore=NOT_KEPT)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, config: SandboxConfig) -> Kept:
    directory = tmp_path_factory.mktemp("kept")
    asyncio.run(fill(directory, config))
    assert not (directory / "clean" / "gateway.db-wal").exists()
    assert 2 * EVENTS * FRAME < wal(directory / "killed" / app.DATABASE).stat().st_size < CHECKPOINT_BYTES
    return Kept(directory / "clean", directory / "killed")


def copy(source: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged. Answers the database file."""
    shutil.copytree(source, tmp_path / "data", ignore=NOT_KEPT)
    return tmp_path / "data" / app.DATABASE


async def start(database: Path, config: SandboxConfig) -> int:
    """Start, count the events and stop. Raises what the start raises."""
    async with app.running(settings_of(database.parent, config, only=())) as gateway:
        return (await gateway.house.store.tally()).events


# ------------------------------------------------------------------ damage


def wal(database: Path) -> Path:
    return database.with_name(f"{app.DATABASE}-wal")


def flip(path: Path, offset: int, count: int = 8) -> None:
    """Turn every bit of some bytes."""
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(byte ^ 0xFF for byte in data[offset : offset + count])
    path.write_bytes(data)


def index_page(database: Path) -> int:
    """Offset of a leaf page of the index of event ids, somewhere in the middle of the file."""
    data = database.read_bytes()
    full = [offset for offset in range(PAGE, len(data), PAGE) if data[offset] == 10 and data[offset + 4] > 20]
    leaves = [offset for offset in full if b"event-00" in data[offset : offset + PAGE]]
    return leaves[len(leaves) // 2]


def table_page(database: Path) -> int:
    """Offset of a leaf page of a table."""
    data = database.read_bytes()
    return [offset for offset in range(PAGE, len(data), PAGE) if data[offset] == 13][-1]


Damage = Callable[[Path], object]

REFUSED_CLEAN: dict[str, Damage] = {
    "magic of page 1": lambda path: flip(path, 0),
    "page size in page 1": lambda path: flip(path, 16, 2),
    "schema in page 1": lambda path: flip(path, 100),
    "header of an index page": lambda path: flip(path, index_page(path)),
    "header of a table page": lambda path: flip(path, table_page(path)),
    "zero-length": lambda path: path.write_bytes(b""),
    "half of it gone": lambda path: os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE),
    "cut off inside a page": lambda path: os.truncate(path, path.stat().st_size // 2 + 77),
    "one page left": lambda path: os.truncate(path, PAGE),
    "fifty bytes left": lambda path: os.truncate(path, 50),
    "another kind of file": lambda path: path.write_text("not a database\n" * 1_000),
    "all zero": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "garbage for a write-ahead file": lambda path: wal(path).write_bytes(b"garbage!" * 1_000),
}
REFUSED_KILLED: dict[str, Damage] = {
    "header of the write-ahead file": lambda path: flip(wal(path), 0, 4),
    "salt of the write-ahead file": lambda path: flip(wal(path), 16, 4),
    "first frame": lambda path: flip(wal(path), 32 + 24 + 100, 4),
    "a frame in the middle": lambda path: flip(wal(path), 32 + 150 * FRAME + 500, 4),
    "a frame's header in the middle": lambda path: flip(wal(path), 32 + 150 * FRAME, 24),
    "garbage over many frames": lambda path: flip(wal(path), 32 + 150 * FRAME + 500, 65_536),
    "database emptied": lambda path: path.write_bytes(b""),
    "database gone": lambda path: path.unlink(),
}
TAKEN_UP: dict[str, Damage] = {
    "nothing": lambda path: None,
    "shared memory gone": lambda path: path.with_name("gateway.db-shm").unlink(),
    "garbage for shared memory": lambda path: path.with_name("gateway.db-shm").write_bytes(b"garbage!" * 4_096),
}


@pytest.mark.parametrize("damage", REFUSED_CLEAN)
async def test_damage_found_after_a_clean_stop_is_refused(
    kept: Kept, tmp_path: Path, config: SandboxConfig, damage: str
) -> None:
    database = copy(kept.clean, tmp_path)
    REFUSED_CLEAN[damage](database)
    await refuses(database, config)


@pytest.mark.parametrize("damage", REFUSED_KILLED)
async def test_damage_found_after_a_kill_is_refused(
    kept: Kept, tmp_path: Path, config: SandboxConfig, damage: str
) -> None:
    database = copy(kept.killed, tmp_path)
    REFUSED_KILLED[damage](database)
    await refuses(database, config)


async def refuses(database: Path, config: SandboxConfig) -> None:
    """The start says in one line what is the matter, twice the same, and leaves the evidence as it is."""
    files = [file for file in (database, wal(database)) if file.exists()]
    before = [file.read_bytes() for file in files]
    for _ in range(2):
        with pytest.raises(StoreDamaged) as refused:
            await start(database, config)
        said = str(refused.value)
        assert said.startswith(f"The database {database} cannot be opened: it is damaged; restore a backup (")
        assert "\n" not in said
        assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("damage", TAKEN_UP)
async def test_what_a_killed_process_left_is_taken_up_whole(
    kept: Kept, tmp_path: Path, config: SandboxConfig, damage: str
) -> None:
    database = copy(kept.killed, tmp_path)
    TAKEN_UP[damage](database)
    assert await start(database, config) == EVENTS


async def test_a_torn_last_transaction_is_no_damage(kept: Kept, tmp_path: Path, config: SandboxConfig) -> None:
    """What a power cut may leave: the frames of the last commit, some of them not written."""
    database = copy(kept.killed, tmp_path)
    frames = (wal(database).stat().st_size - 32) // FRAME
    flip(wal(database), 32 + (frames - 1) * FRAME + 24 + 100, 512)
    assert fault_in(database, wal(database)) is None
    assert EVENTS - 2 <= await start(database, config) < EVENTS


async def test_rests_of_failed_commits_are_no_damage(kept: Kept, tmp_path: Path, config: SandboxConfig) -> None:
    """Transactions that could not be synced stay behind the end, each written over by the next that is shorter."""
    database = copy(kept.killed, tmp_path)
    data = bytearray(wal(database).read_bytes())
    frames = range(32, len(data), FRAME)
    commits = [frame for frame in frames if any(data[frame + 4 : frame + 8])]
    assert len(commits) > EVENTS
    for commit in commits[EVENTS // 2 : -1]:
        data[commit + FRAME + 24 + 100] ^= 0xFF
    wal(database).write_bytes(data)
    assert fault_in(database, wal(database)) is None
    assert 0 < await start(database, config) < EVENTS


def test_a_key_that_changed_inside_an_index_is_found_by_check(
    kept: Kept, tmp_path: Path, config: SandboxConfig
) -> None:
    """Structure is checked at the start, content by `gateway check`: it reads everything."""
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config, data=copy(kept.clean, tmp_path).parent)
    page = index_page(service.database)
    data = service.database.read_bytes()
    at = data.index(b"event-00", page)
    assert at < page + PAGE
    flip(service.database, at + 7, 1)
    said = service.command("check", code=1)
    assert "problem: " in said
    assert "index" in said


@pytest.mark.parametrize("damage", ["zero-length", "header of an index page"])
def test_the_command_leaves_with_1_and_one_line(kept: Kept, tmp_path: Path, config: SandboxConfig, damage: str) -> None:
    service = Service(tmp_path / "gateway", tmp_path / "no-info", config, data=copy(kept.clean, tmp_path).parent)
    REFUSED_CLEAN[damage](service.database)
    command = [sys.executable, "-m", "gateway", "serve", "--settings", str(service.settings)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().count("\n") == 1
    assert b"Traceback" not in done.stderr
    assert b"damaged" in done.stderr


async def test_an_interrupted_making_is_made_again(tmp_path: Path, config: SandboxConfig) -> None:
    directory = tmp_path / "data"
    prepare(directory)
    (directory / "gateway.db.new").write_bytes(b"half a database")
    assert await start(directory / app.DATABASE, config) == 0
    assert not (directory / "gateway.db.new").exists()
    assert (directory / app.DATABASE).stat().st_mode & 0o777 == 0o600
    assert checks.read(directory / app.DATABASE).faults == []
