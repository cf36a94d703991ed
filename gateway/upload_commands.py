"""Commands that send files: offline conversions, and what was spent."""

import sys
from typing import IO, Final
from urllib.parse import urlencode

import click
import msgspec

from gateway import control
from gateway.clock import SystemClock
from gateway.errors import CODES, GatewayError
from gateway.pages.tables import ErrorFile, csv_line
from gateway.protocols.offline import SETS
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show

__all__ = ["spend_command", "upload_command"]

_PROGRESS_S: Final = 1.0
_FATES: Final = ("accepted", "duplicate", "update", "error")


class _Line(msgspec.Struct):
    """One line of the answer: of a row, or, with `summary`, the last one."""

    line: int = 0
    fate: str = ""
    code: str = ""
    column: str | None = None
    last_line: int = 0
    summary: dict[str, object] | None = None
    error: dict[str, object] | None = None


class _Listener:
    """Hears the answer of an upload: counts, shows progress and errors, writes the file of errors."""

    def __init__(self, errors: IO[bytes] | None, *, as_json: bool) -> None:
        self.last: _Line | None = None
        self._errors = errors
        self._as_json = as_json
        self._file = ErrorFile()
        self._clock = SystemClock()
        self._begun_s = self._told_s = self._clock.monotonic_s()
        self._rows = 0
        self._read = msgspec.json.Decoder(_Line).decode

    def heard(self, raw: bytes) -> None:
        """Take one line."""
        line = self._read(raw)
        if line.summary is not None:
            self.last = line
            self._finish()
        else:
            self._rows += 1
            self._told()
            if line.fate == "error":
                self._wrong(line)
        if self._as_json:
            click.echo(raw.decode(), nl=False)

    def _wrong(self, line: _Line) -> None:
        if self._errors is not None:
            self._errors.write(self._file.add(line.line, line.column, line.code, line.last_line))
        if not self._as_json:
            column = f" ({line.column})" if line.column is not None else ""
            click.echo(f"line {line.line}{column}: {CODES[line.code].message}")

    def _told(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= _PROGRESS_S:
            self._told_s = now_s
            click.echo(f"{self._rows} rows, {self._rows / (now_s - self._begun_s):.0f} a second", err=True)

    def _finish(self) -> None:
        took_s = max(self._clock.monotonic_s() - self._begun_s, 0.001)
        click.echo(f"{self._rows} rows in {took_s:.1f} s, {self._rows / took_s:.0f} a second", err=True)
        if self._errors is not None and not self._file.count:
            self._errors.write(csv_line(("line", "column", "code", "message")))


@click.command(
    "upload",
    short_help="Upload a file of offline conversions.",
    epilog=example("gateway upload tills.csv --zone Europe/Berlin --dry-run --errors errors.csv"),
)
@click.argument("file", type=click.File("rb"))
@click.option("--site", help="Site the conversions belong to; needed where there are several.")
@click.option("--columns", type=click.Choice(tuple(SETS)), help="Set of columns; default: told by the header.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times that name none.")
@click.option("--goal", default="", help="Goal of rows whose own name is no goal of the site.")
@click.option("--resume-from", type=click.IntRange(1), help="Leave out rows before this line.")
@click.option("--dry-run", is_flag=True, help="Store nothing; say what would happen.")
@click.option("--errors", type=click.File("wb"), help="Write refused rows to this CSV file.")
@settings_option
@json_option
def upload_command(
    file: IO[bytes],
    site: str | None,
    columns: str | None,
    zone: str,
    goal: str,
    resume_from: int | None,
    dry_run: bool,
    errors: IO[bytes] | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Upload FILE, CSV or JSON lines, row by row; - reads standard input.

    Rows that were stored before count once, so a file may be sent again. With --json the answer is JSON lines, one for
    each row and a summary in the last.

    Exit code 1: a row was refused, or the file could not be read to its end.
    """
    asked = {"site": site, "columns": columns, "zone": zone, "goal": goal, "resume_from": resume_from}
    query = {name: value for name, value in asked.items() if value}
    if dry_run:
        query["dry_run"] = "1"
    listener = _Listener(errors, as_json=as_json)
    try:
        control.send_file(
            load_settings(settings_file),
            f"/api/admin/v1/uploads?{urlencode(query)}",
            file,
            {"Content-Type": "text/csv"},
            listener.heard,
        )
        if listener.last is None:
            raise GatewayError("the answer broke off; send the file again: what was stored counts once")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    _end(listener.last, as_json=as_json)


def _end(last: _Line, *, as_json: bool) -> None:
    summary, error = last.summary or {}, last.error
    if not as_json:
        counts = ", ".join(f"{summary[name]} {name}" for name in _FATES)
        click.echo(f"{'dry run, nothing stored: ' if summary['dry_run'] else ''}{summary['rows']} rows: {counts}")
        if error is not None:
            where = f" ({error['field']})" if "field" in error else ""
            click.echo(f"{error['message']}{where}", err=True)
            click.echo(f"rows up to line {summary['last_line']} are answered", err=True)
    sys.exit(1 if error is not None or summary["error"] else 0)


@click.command(
    "spend",
    short_help="Store or list what was spent on campaigns.",
    epilog=example("gateway spend costs-2026-11.csv"),
)
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--site", help="Site the campaigns belong to; needed where there are several.")
@click.option("--list", "listing", is_flag=True, help="List what is stored instead.")
@click.option("--from", "first", help="First day of the list, YYYY-MM-DD. Default: 30 days.")
@click.option("--to", "last", help="Last day of the list. Default: today.")
@click.option("--errors", type=click.File("wb"), help="Write wrong rows to this CSV file.")
@settings_option
@json_option
def spend_command(
    file: IO[bytes] | None,
    site: str | None,
    listing: bool,
    first: str | None,
    last: str | None,
    errors: IO[bytes] | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Store what was spent, from FILE: CSV with the columns date, campaign, channel, source, currency, amount, clicks,
    impressions, or a JSON list of objects with these members; - reads standard input.

    The same day, campaign, channel, source and currency again replaces what was stored. A wrong row refuses the whole file.
    """
    if (file is None) != listing:
        raise click.UsageError("give FILE, or --list")
    named = {"site": site, "from": first, "to": last}
    path = f"/api/admin/v1/spend?{urlencode({name: value for name, value in named.items() if value})}"
    heard: list[bytes] = []
    try:
        settings = load_settings(settings_file)
        if file is None:
            found = control.operate(settings, "GET", path)
            rows = found["spend"]
            lines = [
                "  ".join("-" if cell in (None, "") else str(cell) for cell in row.values()) for row in _rows(rows)
            ]
            show(found, as_json=as_json, text="\n".join(lines) or "nothing spent")
            return
        control.send_file(settings, path, file, {"Content-Type": "text/csv"}, heard.append)
    except control.OperationRefused as refused:
        _wrong_rows(_rows(refused.answer.get("rows")), errors, as_json=as_json)
        fail(refused, as_json=as_json)
        return
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    done = msgspec.json.decode(b"".join(heard), type=dict[str, object])
    show(done, as_json=as_json, text=f"{done['rows']} rows, {done['changed']} of them new or changed")


def _rows(found: object) -> list[dict[str, object]]:
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _wrong_rows(rows: list[dict[str, object]], errors: IO[bytes] | None, *, as_json: bool) -> None:
    file = ErrorFile()
    for row in rows:
        line, column, code = int(str(row["line"])), row["column"], str(row["code"])
        if errors is not None:
            errors.write(file.add(line, str(column) if column is not None else None, code))
        if not as_json:
            where = f" ({column})" if column is not None else ""
            click.echo(f"line {line}{where}: {CODES[code].message}")
