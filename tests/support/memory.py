"""How much memory this process holds, as the kernel counts it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["grows_at_most", "megabytes"]


def megabytes(name: str = "VmRSS") -> int:
    """Megabytes of this process: `VmRSS` now, `VmHWM` at its highest."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) // 1024


@contextmanager
def grows_at_most(limit: int) -> Iterator[None]:
    """In this block the process grows by so many megabytes at its highest, and no more is left of it afterwards."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    before = megabytes()
    yield
    assert megabytes("VmHWM") - before <= limit, "at the highest"
    assert megabytes() - before <= limit, "afterwards"
