"""Commands as an operator runs them: real processes, real files."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from gateway import cli
from gateway.destinations.normalize import FIELDS
from gateway.event import Person
from gateway.flows.normalizing import OUR_NAMES, normalize_line, normalize_one
from tests.support.command_line import gateway, initialised

pytestmark = pytest.mark.slow  # each starts a process

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests/vectors/normalization-meta-google.json"


@pytest.fixture
def serving(installed: Path) -> Iterator[tuple[Path, int]]:
    with served(installed) as port:
        yield installed, port


@contextmanager
def served(installed: Path) -> Iterator[int]:
    """A gateway that runs while the block does. Gives its port."""
    port = int(re.findall(r"^port = (\d+)", (installed / "gateway.toml").read_text(), re.MULTILINE)[0])
    process = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], cwd=installed, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read() if process.stderr else b""
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log


def collect(port: int, body: object) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/collect",
        data=json.dumps(body).encode(),
        headers={
            "Host": "t.shop.example",
            "Origin": "https://www.shop.example",
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_init_makes_private_files_and_changes_nothing_that_exists(tmp_path: Path) -> None:
    first = gateway("init", "--host", "t.shop.example", "--json", cwd=tmp_path)
    made = json.loads(first.stdout)
    assert made["domain"] == "shop.example"
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "data").iterdir()}
    assert modes == {"keys.json": "0o600", "admin-token": "0o600"}
    assert oct((tmp_path / "data").stat().st_mode & 0o777) == "0o700"
    keys = (tmp_path / "data" / "keys.json").read_bytes()
    again = gateway("init", "--host", "t.other.example", cwd=tmp_path)
    assert again.returncode == 1
    assert b"exists already" in again.stderr
    assert (tmp_path / "data" / "keys.json").read_bytes() == keys


def test_init_puts_the_data_where_it_is_told_and_says_where_the_admin_token_is(tmp_path: Path) -> None:
    place = tmp_path / 'a "quoted" place' / "data"
    done = gateway("init", "--host", "t.shop.example", "--data", str(place), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"admin token  {place}/admin-token" in done.stdout.decode()
    assert sorted(path.name for path in place.iterdir()) == ["admin-token", "keys.json"]
    assert not (tmp_path / "data").exists()
    raw = tomllib.loads((tmp_path / "gateway.toml").read_text())
    assert raw["data"] == {"dir": str(place)}
    assert "currency" not in raw["site"][0], "none was given"
    assert gateway("check", cwd=tmp_path).returncode == 0


def test_init_refuses_a_currency_that_is_none_and_makes_nothing(tmp_path: Path) -> None:
    done = gateway("init", "--host", "t.shop.example", "--currency", "EUX", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"--currency is an ISO 4217 code, such as EUR\n")
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_fresh_installation_finds_nothing(installed: Path) -> None:
    done = gateway("check", "--json", cwd=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {
        "problems": [],
        "events": 0,
        "conversions": {},
        "deliveries": {},
        "consent_entries": {"shop": 0},
    }


def test_check_for_people_is_in_words(installed: Path) -> None:
    said = gateway("check", cwd=installed).stdout.decode().splitlines()
    assert said == ["events: 0", "conversions: none", "deliveries: none", "consent entries: shop 0", "no problems"]


def test_counts_are_shown_in_words_for_each_innermost_group() -> None:
    deliveries = {"shop": {"meta": {"accepted": 3, "dead": 1}, "ga4": {"waiting": 2}}, "blog": {}}
    assert cli._tally_lines("deliveries", deliveries) == [
        "deliveries: shop: meta: accepted 3, dead 1",
        "deliveries: shop: ga4: waiting 2",
        "deliveries: blog: none",
    ]


def test_check_lists_every_problem_of_the_settings_at_once(installed: Path) -> None:
    settings = installed / "gateway.toml"
    settings.write_text(
        settings.read_text() + '\n[[site.destination]]\nplatform = "meta"\n[[site.destination]]\nplatform = "nowhere"\n'
    )
    done = gateway("check", cwd=installed)
    assert done.returncode == 1
    text = done.stderr.decode()
    assert "dataset_id: missing" in text
    assert "access_token: missing" in text
    assert "there is no platform of this name" in text
    assert "Traceback" not in text


def test_unknown_keys_refuse_to_start_by_name(installed: Path) -> None:
    settings = installed / "gateway.toml"
    settings.write_text("debug = true\n" + settings.read_text())
    done = gateway("serve", cwd=installed)
    assert done.returncode == 1
    assert done.stderr.decode().strip() == "Object contains unknown field `debug`"


def test_commands_work_alike_while_the_gateway_runs_and_while_it_does_not(installed: Path) -> None:
    made = json.loads(
        gateway("keys", "create", "--title", "till", "--right", "conversions", "--json", cwd=installed).stdout
    )
    assert made["key"].startswith("gwk_")
    listed = json.loads(gateway("keys", "list", "--json", cwd=installed).stdout)["keys"]
    assert [(key["title"], key["rights"], key["sites"]) for key in listed] == [("till", ["conversions"], ["shop"])]
    assert made["key"].split("_")[2] not in json.dumps(listed)


def test_a_data_directory_may_lie_deeper_than_the_name_of_a_socket_is_long(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 100) / "data"
    initialised(tmp_path, "--data", str(place))
    alone = gateway("check", "--json", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    with served(tmp_path):
        asked = gateway("keys", "list", "--json", cwd=tmp_path)
        assert asked.returncode == 0, asked.stderr
    assert not (place / "control.sock.command").exists(), "the socket of one question is gone with it"


def test_a_running_gateway_is_asked_and_explains(serving: tuple[Path, int]) -> None:
    place, port = serving
    event = {
        "id": "explained-event-1",
        "name": "purchase",
        "value": "12.50",
        "order_id": "A-1",
        "consent": {"analytics": "granted"},
    }
    assert collect(port, event) == 204
    done = gateway("explain", "explained-event-1", cwd=place)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    for line in (
        "Event explained-event-1  purchase  on site shop",
        "recognised   a visitor with a signed first-party id",
        "analytics: granted at step 5 (own_choice, signal claim: the page)",
        "advertising: denied at step 8 (regime_default, signal opt_in: the rules of the place (opt_in))",
        "conversion c1_explained-event-1 of goal purchase, 12.50 EUR: counted.",
        "owed         to nobody: no destination of this site takes this event",
    ):
        assert line in text, text
    shown = json.loads(gateway("explain", "explained-event-1", "--json", cwd=place).stdout)
    assert shown["conversions"][0]["value"] == "12.50"
    unknown = gateway("explain", "nobody-knows-it", cwd=place)
    assert (unknown.returncode, unknown.stderr.decode().strip()) == (1, "No event with this id is stored on this site.")
    assert json.loads(gateway("check", "--json", cwd=place).stdout)["events"] == 1


def test_a_key_made_while_the_gateway_runs_works_at_once_and_dies_at_once(serving: tuple[Path, int]) -> None:
    place, port = serving
    made = json.loads(gateway("keys", "create", "--json", cwd=place).stdout)

    def call() -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/events",
            data=b'{"name":"sign_up"}',
            headers={"Host": "t.shop.example", "Authorization": f"Bearer {made['key']}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert call() == 200
    assert gateway("keys", "revoke", made["id"], cwd=place).returncode == 0
    assert call() == 401


def test_a_second_gateway_on_the_same_data_refuses_to_start(serving: tuple[Path, int]) -> None:
    place, _ = serving
    second = gateway("serve", cwd=place)
    assert second.returncode == 1
    assert b"Another gateway is running" in second.stderr


def test_sigterm_ends_a_gateway_quietly(installed: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "gateway", "serve"], cwd=installed, stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"gateway_started" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"gateway_stopped" in log
    assert b"Traceback" not in log


def test_root_keys_rotate_and_drop(installed: Path) -> None:
    rotated = json.loads(gateway("keys", "root", "rotate", "signing", "--json", cwd=installed).stdout)["keys"]
    signing = [key for key in rotated if key["use"] == "signing"]
    assert [key["newest"] for key in signing] == [False, True]
    assert gateway("keys", "root", "drop", "signing", signing[1]["id"], cwd=installed).returncode == 1, (
        "never the newest"
    )
    assert gateway("keys", "root", "drop", "signing", signing[0]["id"], cwd=installed).returncode == 0
    assert gateway("keys", "root", "rotate", "digest", cwd=installed).returncode == 2


def refused(*arguments: str, cwd: Path) -> tuple[int, str]:
    done = gateway(*arguments, cwd=cwd)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode().strip().splitlines()[-1]


def test_a_refused_key_command_says_what_to_do(installed: Path) -> None:
    key = json.loads(gateway("keys", "create", "--json", cwd=installed).stdout)["id"]
    unknown = "no key has this id; see: gateway keys list"
    assert refused("keys", "revoke", "nope", cwd=installed) == (1, unknown)
    assert refused("keys", "revoke", "../../check", cwd=installed) == (1, unknown)
    assert refused("keys", "rotate", "nope", cwd=installed) == (1, unknown)
    assert gateway("keys", "revoke", key, cwd=installed).returncode == 0
    assert refused("keys", "revoke", key, cwd=installed) == (1, "this key is revoked already")
    assert refused("keys", "rotate", key, cwd=installed) == (
        1,
        "this key is revoked; create a new one with: gateway keys create",
    )
    assert refused("keys", "create", "--site", "nope", cwd=installed) == (
        1,
        "--site: no site of the settings has this id",
    )
    code, said = refused("keys", "create", "--right", "all", cwd=installed)
    assert code == 2
    assert "'events', 'conversions', 'consent'" in said
    assert refused("keys", "root", "drop", "signing", "nope", cwd=installed) == (
        1,
        "no signing key has this id; see: gateway keys root list",
    )
    (newest,) = [
        row["id"]
        for row in json.loads(gateway("keys", "root", "list", "--json", cwd=installed).stdout)["keys"]
        if row["use"] == "signing"
    ]
    code, said = refused("keys", "root", "drop", "signing", newest, cwd=installed)
    assert code == 1
    assert said.endswith("first: gateway keys root rotate signing")


def test_keys_are_listed_in_words(installed: Path) -> None:
    gateway("keys", "create", "--title", "backend", "--right", "events", "--right", "consent", cwd=installed)
    said = gateway("keys", "list", cwd=installed).stdout.decode()
    assert "valid  sites: shop  rights: events, consent  need not sign  backend" in said


def groups(group: click.Group, path: str = "gateway") -> Iterator[tuple[str, click.Group]]:
    yield path, group
    for name, below in group.commands.items():
        if isinstance(below, click.Group):
            yield from groups(below, f"{path} {name}")


@pytest.mark.parametrize(("path", "group"), list(groups(cli.main)))
def test_no_summary_is_cut_off_in_a_help_text(path: str, group: click.Group) -> None:
    said = group.get_help(click.Context(group, info_name=path, terminal_width=80))
    assert "..." not in said.partition("Commands:")[2]


@pytest.mark.parametrize("platform", OUR_NAMES)
def test_normalize_takes_the_gateways_own_names_of_fields(platform: str) -> None:
    assert set(OUR_NAMES[platform]) <= set(Person.__struct_fields__)
    for ours, theirs in OUR_NAMES[platform].items():
        assert ours not in FIELDS[platform], "it would hide the platform's own"
        for value in ("Ann@Shop.example", "+49 171 1234567", "Zoë", "de", "1990-01-31", "f"):
            assert normalize_one(platform, ours, value, {}, 0) == normalize_one(platform, theirs, value, {}, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("meta", "emial"), "no rule for meta.emial; meta has: em, ph, fn,"),
        (("google_ads", "emial"), "no rule for google_ads.emial; google_ads has: email_address,"),
        (("mta", "em"), "no rules for platform mta; there are: meta, google, ga4_mp, google_ads, ga4"),
    ],
)
def test_normalize_names_what_it_knows(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, line = refused("normalize", *arguments, "x", cwd=tmp_path)
    assert code == 2
    assert said in line


def test_the_sample_line_of_the_help_is_answered() -> None:
    (line,) = re.findall(r"^\s*(\{.*\})$", cli.main.commands["normalize"].help or "", re.MULTILINE)
    assert normalize_line(line.encode(), 0)["normalized"] == "a@b.example"


def test_normalize_answers_every_vector_line_by_line(tmp_path: Path) -> None:
    rows = json.loads(VECTORS.read_text())["vectors"]
    lines = "\n".join(
        json.dumps(
            {
                "platform": row["platform"],
                "field": row["field"],
                "input": row["input"],
                "context": row.get("context", {}),
            }
        )
        for row in rows
    )
    done = gateway("normalize", "--jsonl", cwd=tmp_path, stdin=lines.encode())
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(rows)
    for row, answer in zip(rows, answers, strict=True):
        answer.pop("reason", None)
        assert {key: answer.get(key) for key in row["expected"]} == row["expected"], row["id"]


def test_normalize_answers_bad_lines_with_an_error_in_their_place(tmp_path: Path) -> None:
    lines = b'{"platform":"meta","field":"em","input":"a@b.de"}\n{oops\n{"platform":"x","field":"y","input":"z"}\n[1]\n'
    answers = [
        json.loads(line) for line in gateway("normalize", "--jsonl", cwd=tmp_path, stdin=lines).stdout.splitlines()
    ]
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        None,
        "json_invalid",
        "field_unknown",
        "json_invalid",
    ]


def test_wrong_use_is_told_apart_from_problems(tmp_path: Path) -> None:
    assert gateway("normalize", "meta", cwd=tmp_path).returncode == 2
    assert gateway("nonsense", cwd=tmp_path).returncode == 2
    assert gateway("check", cwd=tmp_path).returncode == 1
