"""`gateway upload` and `gateway spend` as an operator runs them: real processes, with a gateway running and without one."""

import csv
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import gateway

pytestmark = pytest.mark.slow  # each starts a process

NOW = datetime.now(UTC)  # noqa: TID251 - the commands run by the real clock
TODAY = (NOW - timedelta(hours=1)).strftime("%Y-%m-%d")
AT = (NOW - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
HEADER = "goal,order_id,time,value,currency,status\n"


@pytest.fixture(params=["serving", "alone"])
def place(request: pytest.FixtureRequest, installed: Path) -> Iterator[Path]:
    """A directory with a gateway, once while it runs and once while it does not."""
    if request.param == "alone":
        yield installed
        return
    port = int(re.findall(r"^port = (\d+)", (installed / "gateway.toml").read_text(), re.MULTILINE)[0])
    process = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], cwd=installed, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.05)
        yield installed
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log


def orders(directory: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{directory / 'data' / 'gateway.db'}?mode=ro", uri=True)) as db:
        return db.execute("select order_id, amount_minor from conversion order by order_id").fetchall()


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def sale(order: str, value: str = "1.00", status: str = "") -> str:
    return f"purchase,{order},{AT},{value},EUR,{status}\n"


def test_c46_a_file_is_uploaded_and_told_in_words_and_json(place: Path) -> None:
    (place / "sales.csv").write_text(HEADER + sale("1") + sale("2", "ten") + sale("1") + sale("1", "0.40", "refund"))
    rehearsed = gateway("upload", "sales.csv", "--dry-run", cwd=place)
    assert rehearsed.returncode == 1
    assert rehearsed.stdout.decode().splitlines() == [
        "line 3 (value): The amount is not a decimal number.",
        "dry run, nothing stored: 4 rows: 1 accepted, 1 duplicate, 1 update, 1 error",
    ]
    assert orders(place) == []
    done = gateway("upload", "sales.csv", "--errors", "errors.csv", cwd=place)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[-1] == "4 rows: 1 accepted, 1 duplicate, 1 update, 1 error"
    assert re.search(r"^4 rows in \d+\.\d s, \d+ a second$", done.stderr.decode(), re.MULTILINE), done.stderr
    assert table(place / "errors.csv") == [
        ["line", "column", "code", "message"],
        ["3", "value", "amount_invalid", "The amount is not a decimal number."],
    ]
    assert orders(place) == [("1", 100)]
    (place / "fine.csv").write_text(HEADER + sale("3"))
    again = gateway("upload", "fine.csv", "--json", "--errors", "none.csv", cwd=place)
    assert again.returncode == 0, again.stderr
    row, last = [json.loads(line) for line in again.stdout.splitlines()]
    assert (row["line"], row["fate"]) == (2, "accepted")
    assert last["summary"]["accepted"] == 1
    assert (place / "none.csv").read_text().splitlines() == ["line,column,code,message"]


def test_a_large_file_goes_through_standard_input_and_can_be_taken_up_from_a_line(place: Path) -> None:
    body = (HEADER + "".join(sale(f"o{number}") for number in range(3_000))).encode()
    done = gateway("upload", "-", "--json", cwd=place, stdin=body)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 3_001)
    assert json.loads(lines[-1])["summary"]["accepted"] == 3_000
    rest = gateway("upload", "-", "--resume-from", "2900", cwd=place, stdin=body)
    assert rest.stdout.decode().splitlines() == ["3000 rows: 0 accepted, 102 duplicate, 0 update, 0 error"]
    assert len(orders(place)) == 3_000


def test_what_is_wrong_with_a_file_is_said_in_a_sentence(place: Path) -> None:
    (place / "no.csv").write_text("a,b\n1,2\n")
    done = gateway("upload", "no.csv", cwd=place)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"names no set of columns" in done.stderr
    assert b"Traceback" not in done.stderr
    (place / "cut.csv").write_bytes((HEADER + sale("1")).encode() + b"\xff\xff\n" + sale("2").encode())
    cut = gateway("upload", "cut.csv", cwd=place)
    assert cut.returncode == 1
    assert cut.stdout.decode().splitlines() == ["1 rows: 1 accepted, 0 duplicate, 0 update, 0 error"]
    assert b"not text in UTF-8" in cut.stderr
    assert b"(line 3)" in cut.stderr
    assert b"rows up to line 2 are answered" in cut.stderr
    for arguments, said in (
        (("--site", "nowhere"), b"no such site"),
        (("--zone", "Mars"), b"time zone"),
        (("--goal", "nothing"), b"goal does not exist"),
    ):
        refused = gateway("upload", "no.csv", *arguments, cwd=place)
        assert refused.returncode == 1
        assert said in refused.stderr, refused.stderr
    assert gateway("upload", "no.csv", "--columns", "amazon", cwd=place).returncode == 2
    assert gateway("upload", "missing.csv", cwd=place).returncode == 2


def test_c19_what_was_spent_is_stored_and_listed(place: Path) -> None:
    (place / "costs.csv").write_text(f"date,channel,source,amount,clicks\n{TODAY},Email,news,12.50,7\n")
    done = gateway("spend", "costs.csv", cwd=place)
    assert (done.returncode, done.stdout.decode().strip()) == (0, "1 rows, 1 of them new or changed"), done.stderr
    listed = gateway("spend", "--list", "--from", TODAY, cwd=place)
    assert listed.stdout.decode().splitlines() == [f"{TODAY}  -  email  news  EUR  12.50  7  -"]
    wrong = b'[{"date":"%b","amount":"=1"},{"date":"x","amount":1}]' % TODAY.encode()
    refused = gateway("spend", "-", "--errors", "errors.csv", cwd=place, stdin=wrong)
    assert refused.returncode == 1
    assert refused.stdout.decode().splitlines()[0] == "line 1 (amount): The amount is not a decimal number."
    assert [row[2] for row in table(place / "errors.csv")] == [
        "code", "amount_invalid", "date_invalid",
    ]  # fmt: skip
    asked = json.loads(gateway("spend", "--list", "--json", cwd=place).stdout)
    assert [row["amount"] for row in asked["spend"]] == ["12.50"]
    assert gateway("spend", cwd=place).returncode == 2
    assert gateway("spend", "costs.csv", "--list", cwd=place).returncode == 2
