"""The page of figures: what was measured, on what, and how to read it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from tests.bench.measures import Options, Table

__all__ = ["page"]

_INTRO: Final = """\
# Performance

`make bench` wrote this page. It measures on the machine it runs on and compares only what ran in turns within one run.
Read the ratios; the absolute figures belong to this machine and this hour.

The yardstick is an aiohttp handler on uvloop that reads the body and a cookie and answers 204, or 302 for a link, in one
process. The gateway does its whole work for the same request: it parses and checks the event, verifies the id cookie of
one of a thousand visitors, judges consent, writes the event to SQLite with `synchronous=full`, and answers after the
commit.

Client and server share the machine. Load comes from one process over loopback; in the tables at a fixed rate, latency
counts from the moment a request was planned. Median of the rounds, lowest and highest in brackets.

## Where the time goes

A page view costs the event loop about 55 microseconds and the process that writes about 11. Of the loop's part 13 are the
kernel's, uvloop's and aiohttp's parser (a page view that is answered without being looked at costs those), the rest is
reading, cleaning, judging and handing over in Python. Without the second process (`data.appender = "never"`) the writer's
thread takes turns with the loop at the interpreter's lock, and a page view costs 90 to 100. Read off the processes' own
clocks on 2026-11-20, at the highest rate; `make bench` does not measure it anew.

"""


def page(about: Mapping[str, str], tables: Sequence[Table], options: Options) -> str:
    """The page as Markdown."""
    parts = [_INTRO]
    today = datetime.now(UTC).date().isoformat()
    parts.append(
        f"Measured on {today}: {about['processor']}, {about['memory']}, Python {about['python']}, SQLite {about['sqlite']}; "
        f"{options.rounds} rounds of {options.seconds:g} s each; load average {about['load_average']} before and "
        f"{about['load_average_after']} after; {about['took']} in all.\n"
    )
    for table in tables:
        parts.append(f"## {table.title}\n")
        parts.append(_markdown(table))
        parts += [f"{note}\n" for note in table.notes]
    return "\n".join(parts)


def _markdown(table: Table) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"
