"""The gateway in a process of its own, reaching stand-ins that live in another: what the fault tests kill, stop and starve.

    python -m tests.faults.service --settings FILE --info FILE [--flaw NAME]

A flaw makes the service wrong on purpose. It is built in here, by code of the tests: no setting could do it. Every check
that passes without a flaw has to fail with it, else the check is worth nothing.
"""

import argparse
import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import app
from gateway.errors import GatewayError, SettingsError
from gateway.event import Recorded, Submission, Submitted
from gateway.outbound import Network
from gateway.sandbox.stand_ins import network_from
from gateway.settings import load
from gateway.stores import sqlite

__all__ = ["FLAWS", "main"]


class _HastyStore(sqlite.SqliteStore):
    """Answers as soon as a record is in the queue, before its commit."""

    def submit(self, submission: Submission) -> "asyncio.Future[Submitted]":
        written = super().submit(submission)
        written.add_done_callback(lambda done: done.exception())
        answered: asyncio.Future[Submitted] = asyncio.get_running_loop().create_future()
        fates = ["recorded" if item.conversion is None else "counted" for item in submission.items]
        answered.set_result(Submitted(tuple(Recorded(fate) for fate in fates)))
        return answered


def _hasty() -> None:
    vars(sqlite)["SqliteStore"] = _HastyStore


class _LaxConnection(sqlite3.Connection):
    """Whatever is asked for, commits are not synced."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute("pragma synchronous=normal" if sql == "pragma synchronous=full" else sql, *values)


def _lax() -> None:
    connect = sqlite3.connect

    def lax(*values: Any, **named: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*values, **{"factory": _LaxConnection, **named})
        return opened

    vars(sqlite3)["connect"] = lax


FLAWS: Final[dict[str, Callable[[], None]]] = {"hasty": _hasty, "lax": _lax}
"""Name to what builds the flaw in: `hasty` answers before the commit, `lax` commits with synchronous=NORMAL."""


def main() -> int:
    """Serve until SIGTERM. Exit code 0, or 1 with one line for each reason not to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--info", type=Path, required=True)
    parser.add_argument("--flaw", choices=sorted(FLAWS))
    given = parser.parse_args()
    if given.flaw is not None:
        FLAWS[given.flaw]()
    try:
        app.refuse_unsafe()
        settings = load(given.settings, {})
        app.prepare_process(settings)

        async def until_told() -> None:
            resolver, tls = network_from(msgspec.json.decode(given.info.read_bytes()))
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await app.run(settings, stop, network=Network(resolver, tls))

        with asyncio.Runner(loop_factory=app.new_event_loop) as runner:
            runner.run(until_told())
    except GatewayError as error:
        for problem in error.problems if isinstance(error, SettingsError) else [str(error)]:
            print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
