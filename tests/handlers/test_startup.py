"""Rows 49 and 50: what would weaken the gateway silently refuses to start: exit code 1, one plain sentence, no traceback.

One case of each kind is a process of its own, started as an operator starts it; its variations start inside this one,
which is thirty times as fast. One that may start is attacked and stopped again.
"""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import app
from gateway.errors import GatewayError, SettingsError
from gateway.settings import load
from tests.handlers.test_bodies import bomb
from tests.handlers.test_framing import BROKEN, NOT_OURS
from tests.support.cases import named
from tests.support.running import AGENT, HOST, PAGE, install, log_lines, logging_to, request_bytes, talk

pytestmark = pytest.mark.slow  # each starts a process

SETTINGS: Final = """
[listen]
port = 0
admin_port = 0

[data]
dir = "data"

[[site]]
id = "shop"
hosts = ["t.shop.example"]
domains = ["shop.example"]
"""
META: Final = """
[[site.destination]]
platform = "meta"
dataset_id = "123456789012345"
"""
ROOT: Final = Path(__file__).parents[2]
OLD_AIOHTTP: Final = """
import aiohttp

aiohttp.__version__ = "3.14.2"
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY", "PYTHON", "AIOHTTP"))}
    return {**kept, **more}


def serve(
    directory: Path, *, python: tuple[str, ...] = (), variables: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Start a gateway that must not start, and wait for its end."""
    return subprocess.run(
        [sys.executable, *python, "-m", "gateway", "serve", "--settings", "gateway.toml"],
        cwd=directory,
        capture_output=True,
        text=True,
        env=environment(**(variables or {})),
        timeout=30,
        check=False,
    )


def refuses(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    for word in words:
        assert word in lines[0], lines


def told(directory: Path, variables: dict[str, str] | None = None) -> str:
    """Start a gateway inside this process, to stop at once. Answers the one sentence it refuses with.

    `gateway serve` prints these and no other errors as a sentence: whatever else is raised fails the test.
    """

    async def start() -> None:
        stop = asyncio.Event()
        stop.set()
        await app.run(load(directory / "gateway.toml", variables or {}), stop)

    with pytest.raises((GatewayError, OSError)) as caught, logging_to(io.StringIO()):
        asyncio.run(start())
    problems = caught.value.problems if isinstance(caught.value, SettingsError) else [str(caught.value)]
    assert len(problems) == 1, problems
    assert "\n" not in problems[0]
    return problems[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with settings, keys and nothing wrong with them."""
    monkeypatch.chdir(tmp_path)
    install(tmp_path)
    write(tmp_path / "gateway.toml", SETTINGS)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def change_keys(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = directory / "data" / "keys.json"
    keys = json.loads(path.read_text())
    change(keys)
    path.write_text(json.dumps(keys))


def secret_of(use: str, raw: bytes) -> Callable[[dict[str, Any]], None]:
    def change(keys: dict[str, Any]) -> None:
        keys[use][0]["secret"] = base64.b64encode(raw).decode()

    return change


# ------------------------------------------------------------------ keys


def test_row_49_a_key_file_that_others_can_read_refuses_to_start(installed: Path) -> None:
    for mode in (0o640, 0o604, 0o660, 0o602, 0o644):
        (installed / "data" / "keys.json").chmod(mode)
        assert "can be read by others" in told(installed), oct(mode)
    refuses(serve(installed), "keys.json", "can be read by others", "0600")


def test_row_49_a_weak_key_refuses_to_start(installed: Path) -> None:
    for raw in (b"", b"a" * 32, bytes(range(31)), bytes(range(16))):
        for use in ("sealing", "digest", "api", "signing"):
            change_keys(installed, secret_of(use, raw))
            assert f"{use} key" in told(installed)
            change_keys(installed, secret_of(use, bytes(range(32))))
    change_keys(installed, secret_of("signing", bytes(range(16))))
    done = serve(installed)
    refuses(done, "keys.json", "signing key", "too weak")
    assert base64.b64encode(bytes(range(16))).decode() not in done.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"signing":"\xff"}', b'{"\xff":1}'],
    ids=["empty", "half", "a list", "no text", "no text in a value", "no text in a name"],
)
def test_row_49_a_damaged_key_file_refuses_to_start(installed: Path, content: bytes) -> None:
    (installed / "data" / "keys.json").write_bytes(content)
    assert "damaged" in told(installed)


@pytest.mark.parametrize(
    ("name", "value"),
    named(
        [
            ("a secret that is no base64", "secret", "!" * 44),
            ("a secret of other letters", "secret", "ä" * 44),
            ("an id that is no hexadecimal number", "id", "nonsense"),
        ]
    ),
)
def test_row_49_a_key_that_is_none_refuses_to_start(installed: Path, name: str, value: str) -> None:
    change_keys(installed, lambda keys: keys["sealing"][0].update({name: value}))
    said = told(installed)
    assert "keys.json is damaged" in said
    assert value not in said


def test_row_49_without_keys_it_refuses_and_says_how_to_make_them(installed: Path) -> None:
    (installed / "data" / "keys.json").unlink()
    assert "gateway init" in told(installed)


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        (0o644, "f" * 48, "can be read by others"),
        (0o600, "short", "no token of 32 characters"),
        (0o600, "", "no token of 32 characters"),
        (0o600, "ä" * 48, "no token of 32 characters"),
    ],
)
def test_row_49_an_admin_token_that_protects_nothing_refuses_to_start(
    installed: Path, mode: int, content: str, words: str
) -> None:
    write(installed / "data" / "admin-token", content, mode)
    said = told(installed)
    assert "admin-token" in said
    assert words in said


# ------------------------------------------------------------------ secrets and settings


@pytest.mark.parametrize("secret", ["changeme", "secret", "<your token>", "xxxx", "TODO", "Your-Token-Here"])
@pytest.mark.parametrize("place", ["settings", "file", "environment", "credentials"])
def test_row_49_a_secret_from_an_example_refuses_to_start(installed: Path, secret: str, place: str) -> None:
    variables = {}
    row = ""
    if place == "settings":
        row = f'access_token = "{secret}"\n'
    elif place == "file":
        row = 'access_token_file = "meta-token"\n'
        write(installed / "meta-token", secret + "\n")
    elif place == "environment":
        variables = {"GATEWAY__SITE__SHOP__DESTINATION__META__ACCESS_TOKEN": secret}
    else:
        (installed / "credentials").mkdir()
        write(installed / "credentials" / "shop.meta.access_token", secret)
        variables = {"CREDENTIALS_DIRECTORY": str(installed / "credentials")}
    write(installed / "gateway.toml", SETTINGS + META + row)
    said = told(installed, variables)
    for word in ("site shop", "meta", "access_token", "placeholder"):
        assert word in said


def test_row_49_a_secret_from_an_example_refuses_to_start_a_process(installed: Path) -> None:
    write(installed / "gateway.toml", SETTINGS + META + 'access_token = "changeme"\n')
    refuses(serve(installed), "site shop", "meta", "access_token", "placeholder")


def test_row_49_a_secret_file_that_others_can_read_refuses_to_start(installed: Path) -> None:
    write(installed / "meta-token", "EAABsbCS1iHgBAKZC", 0o644)
    write(installed / "gateway.toml", SETTINGS + META + 'access_token_file = "meta-token"\n')
    said = told(installed)
    assert "access_token_file" in said
    assert "0600" in said
    assert "EAABsbCS1iHgBAKZC" not in said


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (SETTINGS.replace("[data]", "debug = true\n[data]"), "debug"),
        (SETTINGS + "debug = true\n", "debug"),
        (SETTINGS + '[log]\nlevel = "debug"\n', "log.level"),
        (SETTINGS.replace('id = "shop"', 'id = "shop"\nverify_tls = false'), "verify_tls"),
        (SETTINGS + "[limits]\nbody_max_bytes = 1000000000\n", "limits.body_max_bytes"),
        (SETTINGS + "[limits]\nheader_timeout_s = 0\n", "limits.header_timeout_s"),
        (SETTINGS.replace("port = 0", 'port = "x"', 1), "listen.port"),
        (SETTINGS.replace("[[site]]", "[[site]"), "TOML"),
        ("debug = true\n" + SETTINGS, "debug"),
    ],
)
def test_row_49_debugging_and_unknown_settings_refuse_to_start(installed: Path, text: str, word: str) -> None:
    write(installed / "gateway.toml", text)
    assert word in told(installed)


def test_row_49_debugging_refuses_to_start_a_process(installed: Path) -> None:
    write(installed / "gateway.toml", "debug = true\n" + SETTINGS)
    refuses(serve(installed), "debug")


@pytest.mark.parametrize("variable", ["GATEWAY__DEBUG", "GATEWAY__LISTEN__DEBUG", "GATEWAY__SITE__SHOP__DEBUG"])
def test_row_49_debugging_by_the_environment_refuses_to_start(installed: Path, variable: str) -> None:
    assert "debug" in told(installed, {variable: "true"})


# ------------------------------------------------------------------ the interpreter and its libraries


@pytest.mark.parametrize(
    ("python", "variables", "words"),
    named(
        [
            ("the pure Python parser", (), {"AIOHTTP_NO_EXTENSIONS": "1"}, ("pure Python parser",)),
            ("-O", ("-O",), {}, ("-O",)),
            ("PYTHONOPTIMIZE", (), {"PYTHONOPTIMIZE": "1"}, ("-O",)),
            ("-X dev", ("-X", "dev"), {}, ("debugging is on",)),
            ("PYTHONASYNCIODEBUG", (), {"PYTHONASYNCIODEBUG": "1"}, ("debugging is on",)),
        ]
    ),
)
def test_row_50_an_interpreter_that_weakens_the_gateway_refuses_to_start(
    installed: Path, python: tuple[str, ...], variables: dict[str, str], words: tuple[str, ...]
) -> None:
    refuses(serve(installed, python=python, variables=variables), *words)


def test_row_50_an_aiohttp_with_known_faults_refuses_to_start(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shim = tmp_path_factory.mktemp("shim")
    (shim / "sitecustomize.py").write_text(OLD_AIOHTTP)
    refuses(serve(installed, variables={"PYTHONPATH": str(shim)}), "aiohttp 3.14.2 is older than 3.14.3")


def test_row_50_several_reasons_are_told_at_once(installed: Path) -> None:
    done = serve(installed, python=("-O", "-X", "dev"), variables={"AIOHTTP_NO_EXTENSIONS": "1"})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------ places


def test_without_a_data_directory_it_refuses_and_says_how_to_make_one(installed: Path) -> None:
    write(installed / "gateway.toml", SETTINGS.replace('"data"', '"nowhere"'))
    refuses(serve(installed), "nowhere", "does not exist", "gateway init")


def test_a_file_in_the_place_of_the_data_directory_refuses_to_start(installed: Path) -> None:
    (installed / "file").write_text("")
    write(installed / "gateway.toml", SETTINGS.replace('"data"', '"file"'))
    assert "file" in told(installed)


@pytest.mark.parametrize("name", ["gateway.lock", "gateway.db", "admin-token", "keys.json"])
def test_a_directory_in_the_place_of_a_file_refuses_to_start(installed: Path, name: str) -> None:
    (installed / "data" / name).unlink(missing_ok=True)
    (installed / "data" / name).mkdir(mode=0o700)
    said = told(installed)
    assert name in said or "directory" in said
    if name == "gateway.db":
        refuses(serve(installed), "directory")


def test_a_port_that_is_taken_refuses_to_start(installed: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write(installed / "gateway.toml", SETTINGS.replace("port = 0", f"port = {taken.getsockname()[1]}", 1))
        assert told(installed).startswith("listen: cannot listen")


def test_without_a_settings_file_it_refuses_and_says_how_to_make_one(installed: Path) -> None:
    (installed / "gateway.toml").unlink()
    assert "gateway init" in told(installed)


# ------------------------------------------------------------------ one that may start


PLANTED: Final = {
    "while listeners are made": ("serve", "gateway.app.Door"),
    "after everything listens": ("serve", "gateway.app._tell_started"),
    "while workers are made": ("serve", "gateway.app.Workers.start"),
    "in a command": ("check", "gateway.control.Door"),
}


@pytest.mark.parametrize(("command", "place"), PLANTED.values(), ids=PLANTED.keys())
def test_whatever_goes_wrong_after_the_store_was_opened_the_process_ends(
    installed: Path, command: str, place: str
) -> None:
    module, _, name = place.removeprefix("gateway.").partition(".")
    planted = (
        f"import gateway.{module} as module\n"
        "from gateway.cli import main\n"
        "def broken(*arguments, **options):\n    raise ArithmeticError('planted')\n"
        f"module.{name} = broken\n"
        f"main([{command!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", planted],
        cwd=installed,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert "planted" in done.stderr


class Process:
    """A gateway as systemd runs it: its own process, its own event loop, its log on standard error."""

    def __init__(self, running: "subprocess.Popen[bytes]", directory: Path, log: Path) -> None:
        self.running = running
        self.directory = directory
        self._log = log
        self.port = 0

    def lines(self) -> list[dict[str, Any]]:
        """The log so far, read strictly: a traceback would be no line of it."""
        return log_lines(self._log.read_text())

    def megabytes(self) -> int:
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024


@contextmanager
def serving(directory: Path, *, stop: signal.Signals = signal.SIGTERM) -> Iterator[Process]:
    log = directory / "log"
    with log.open("wb") as stream:
        started = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"], cwd=directory, stderr=stream, env=environment()
        )
    process = Process(started, directory, log)
    try:
        for _ in range(1_000):
            found = [line for line in process.lines() if line["event"] == "gateway_started"]
            if found:
                process.port = found[0]["port"]
                break
            assert started.poll() is None, log.read_text()
            started_wait(0.02)
        yield process
    finally:
        started.send_signal(stop)
        assert started.wait(timeout=30) == 0, log.read_text()
    assert process.lines()[-1]["event"] == "gateway_stopped"


def started_wait(seconds: float) -> None:
    asyncio.run(asyncio.sleep(seconds))


def test_one_that_may_start_serves_and_stops_cleanly(installed: Path) -> None:
    for stop in (signal.SIGTERM, signal.SIGINT):
        with serving(installed, stop=stop) as gateway:
            hit = request_bytes(headers={"Origin": PAGE, "User-Agent": AGENT}, body=b'{"name":"page_view"}')
            assert asyncio.run(talk(gateway.port, hit)).only.status == 204
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (installed / "data").iterdir()}
        assert set(modes.values()) == {0o600}, modes


def test_a_second_one_on_the_same_data_refuses_to_start(installed: Path) -> None:
    with serving(installed):
        refuses(serve(installed), "Another gateway is running")


def test_rows_01_to_08_against_a_whole_process_leave_it_as_it_was(installed: Path) -> None:
    """On the event loop of service, which is not that of the other tests: every frame, bombs, vanishing clients.

    The log stays JSON lines, so no traceback of any library is in it; memory is back within 20 MB; it still answers.
    """
    hit = request_bytes(headers={"Origin": PAGE, "User-Agent": AGENT}, body=b'{"name":"page_view"}')

    async def attack(port: int) -> None:
        for _ in range(20):
            assert (await talk(port, hit)).only.status == 204
        for case, data in {**BROKEN, **NOT_OURS}.items():
            heard = await talk(port, data)
            assert heard.only.status == 400, case
            assert heard.closed, case
        packed = request_bytes(headers={"Origin": PAGE, "Content-Encoding": "gzip"}, body=bomb(60))
        large = request_bytes(headers={"Origin": PAGE}, body=b"x" * 1_000_000)
        for data in (packed, large):
            assert [said.status for said in (await talk(port, data)).answers] in ([413], [])
        for number in range(200):
            vanishing = socket.create_connection(("127.0.0.1", port))
            vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            vanishing.sendall((b"", b"GARBAGE\r\n\r\n", hit, hit[:-5])[number % 4])
            vanishing.close()
        pipelined = await talk(port, hit * 50 + request_bytes(host="evil.example", body=b"{}") * 50, want=100)
        assert [said.status for said in pipelined.answers] == [204] * 50 + [421] * 50
        async with asyncio.timeout(1):
            assert (await talk(port, hit)).only.status == 204

    with serving(installed) as gateway:
        asyncio.run(asyncio.wait_for(talk(gateway.port, hit), 5))
        before = gateway.megabytes()
        asyncio.run(attack(gateway.port))
        assert gateway.megabytes() - before <= 20
    refused = [line for line in gateway.lines() if line["event"] == "request_refused"]
    assert len([line for line in refused if line["route"] == "unparsed"]) >= len(BROKEN)
    assert not [line for line in gateway.lines() if line["level"] == "error"]
    assert HOST not in "".join(line.get("code") or "" for line in refused)
