"""The command line as a process of its own, and a directory in which `gateway init` was run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["free_port", "gateway", "initialised"]


def gateway(*arguments: str, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run one command without any setting of this environment. Its exit code is the test's business."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY")}
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=120,
        check=False,
    )


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def initialised(directory: Path, *options: str) -> Path:
    """Settings, keys and data of a new gateway for `t.shop.example`, on free ports. `options` go to `gateway init`."""
    done = gateway("init", "--host", "t.shop.example", "--currency", "EUR", "--site", "shop", *options, cwd=directory)
    assert done.returncode == 0, done.stderr
    settings = directory / "gateway.toml"
    settings.write_text(f"[listen]\nport = {free_port()}\nadmin_port = {free_port()}\n\n{settings.read_text()}")
    return directory
