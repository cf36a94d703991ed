"""Disks that fail on demand: a small one, one whose power is cut, and system calls that fail. All need root.

**Power cut**: loop device -> XFS -> image file -> loop device -> ext4. A reflink clone of the image is what the disk held
at that instant: everything the inner file system had submitted, nothing of its dirty pages. The clone is mounted, which
replays its journal as after a real cut. A disk's own volatile cache is not modelled.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Cut", "ensure", "faulty_calls", "power", "read_only", "small_disk"]

_PACKAGES = {"mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs", "losetup": "mount", "strace": "strace"}
OUTER_BYTES = 3 * 1024**3
INNER_BYTES = 600 * 1024**2


def ensure(*tools: str) -> None:
    """Make sure that this is root and that tools are there, installing their packages. Fails the test when that cannot be."""
    if os.geteuid() != 0:
        pytest.fail("this test needs root: it mounts file systems or traces processes")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not missing:
        return
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False, "timeout": 300}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = [_PACKAGES[tool] for tool in missing]
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(command, env=environment, **quiet)  # type: ignore[call-overload] # options by name
    still = [tool for tool in tools if shutil.which(tool) is None]
    if still:
        pytest.fail(f"{' '.join(still)} is missing and apt could not install {' '.join(packages)}")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode()}"


def _unmount(place: Path) -> None:
    """Unmount, lazily if something still uses it: the loop device behind it is let go with the last user."""
    for options in ((), ("-l",)):
        done = subprocess.run(["umount", *options, str(place)], capture_output=True, check=False, timeout=60)
        if done.returncode == 0 or not os.path.ismount(place):
            return


class Cut:
    """A disk whose power can be cut. `disk` is where it is mounted."""

    def __init__(self, base: Path) -> None:
        self.disk = base / "disk"
        self._outer = base / "outer"
        self._clone = base / "clone"

    def clone(self) -> None:
        """Cut the power: keep what the disk holds at this instant."""
        _run("cp", "--reflink=always", str(self._outer / "disk.img"), str(self._outer / "cut.img"))

    @contextmanager
    def after(self) -> Iterator[Path]:
        """Mount what the last cut left, for the length of a block."""
        _run("mount", "-o", "loop", str(self._outer / "cut.img"), str(self._clone))
        try:
            yield self._clone
        finally:
            _unmount(self._clone)
            (self._outer / "cut.img").unlink()


@contextmanager
def power(base: Path) -> Iterator[Cut]:
    """Make a disk whose power can be cut, for the length of a block."""
    ensure("mkfs.xfs", "mkfs.ext4", "losetup")
    cut = Cut(base)
    outer, disk, image = base / "outer", base / "disk", base / "outer.img"
    for place in (outer, disk, base / "clone"):
        place.mkdir(parents=True)
    try:
        _run("truncate", "-s", str(OUTER_BYTES), str(image))
        _run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", str(image))
        _run("mount", "-o", "loop", str(image), str(outer))
        _run("truncate", "-s", str(INNER_BYTES), str(outer / "disk.img"))
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(outer / "disk.img"))
        _run("mount", "-o", "loop", str(outer / "disk.img"), str(disk))
        yield cut
    finally:
        for place in (base / "clone", disk, outer):
            if os.path.ismount(place):
                _unmount(place)
        image.unlink(missing_ok=True)


@contextmanager
def small_disk(place: Path, size_kb: int) -> Iterator[Path]:
    """A disk of a few megabytes, in memory, for the length of a block."""
    ensure()
    place.mkdir(parents=True, mode=0o700)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_kb}k,mode=0700", "tmpfs", str(place))
    try:
        yield place
    finally:
        _unmount(place)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Mount a directory over itself, read-only, for the length of a block."""
    ensure()
    _run("mount", "--bind", str(place), str(place))
    try:
        _run("mount", "-o", "remount,ro,bind", str(place))
        yield
    finally:
        _unmount(place)


@contextmanager
def faulty_calls(pid: int, *injections: str) -> Iterator[None]:
    """Let system calls of a running process fail or linger, for the length of a block.

    An injection is strace's own word: `fdatasync:error=EIO:when=50+50` fails every fiftieth, `delay_enter=10ms` waits.
    """
    ensure("strace")
    calls = ",".join(dict.fromkeys(one.partition(":")[0] for one in injections))
    pids = [pid, *_children(pid)]
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    for one in pids:
        command += ["-p", str(one)]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for one in pids:
            _await_tracer(tracer, one)
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)
        assert tracer.stderr is not None
        tracer.stderr.close()


def _children(pid: int) -> list[int]:
    """Processes that a process has started, such as the one that writes for it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _await_tracer(tracer: subprocess.Popen[bytes], pid: int) -> None:
    """Wait until every thread of the process is traced."""
    for _ in range(1_000):
        assert tracer.poll() is None, tracer.stderr.read() if tracer.stderr is not None else ""
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        if all("TracerPid:\t0\n" not in (thread / "status").read_text() for thread in threads):
            return
        try:
            tracer.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("the process could not be traced")
