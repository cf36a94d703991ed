"""A whole gateway on loopback for tests, and a client that says exactly the bytes it is given.

    async with running(tmp_path) as shop:
        said = await shop.collect({"name": "page_view"})
        assert said.status == 204
        assert shop.rows("select name from event") == [("page_view",)]

The database is a real file; the sockets are real. Times come from a clock that stands still unless a test moves it or
hands in another; logs are what an operator would read, line by line.
"""

import asyncio
import hashlib
import hmac
import io
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import msgspec
import structlog

from gateway import app, telemetry
from gateway.caller import RIGHTS
from gateway.clock import Clock, ManualClock
from gateway.entropy import Entropy, SeededEntropy
from gateway.errors import CODES
from gateway.outbound import Network
from gateway.settings import Settings, parse
from gateway.vault import new_key_file, write_key_file
from tests.support.nowhere import NOWHERE

__all__ = [
    "AGENT",
    "HOST",
    "NOW_MS",
    "OTHER_HOST",
    "PAGE",
    "Closed",
    "Pairs",
    "Running",
    "Said",
    "Talk",
    "hear",
    "install",
    "log_lines",
    "logging_to",
    "opened",
    "refused_with",
    "request_bytes",
    "running",
    "settings_for",
    "signature",
    "talk",
]

NOW_MS: Final = 1_795_176_000_000  # 2026-11-20T12:00:00Z
HOST: Final = "t.shop.example"
OTHER_HOST: Final = "t.kiosk.example"
PAGE: Final = "https://www.shop.example"
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"

Stream = TypeVar("Stream", bound=TextIO)
Pairs = Sequence[tuple[str, str | bytes]]

_WRITTEN_LATER: Final = frozenset({"attribution", "credit", "credit_day", "credit_month", "visitor_event"})


# ------------------------------------------------------------------ saying and hearing


class Said(msgspec.Struct, frozen=True):
    """One answer as it came: headers in order, names in lower case. `version` is as in the status line, `1.1`."""

    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, None when absent; several are joined with ` | `."""
        return " | ".join(self.all(name)) or None if name.lower() in dict(self.headers) else None

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for known, value in self.headers if known == name.lower()]

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object of a refusal."""
        found: dict[str, Any] = self.json()["error"]
        return found

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.error["code"])

    @property
    def closes(self) -> bool:
        """Whether the answer says that the connection ends with it."""
        says = self.header("connection")
        return says == "close" if self.version == "1.1" else says != "keep-alive"

    def cookies(self) -> dict[str, str]:
        """Cookies the answer sets: name to value, empty for one that is deleted."""
        pairs = (line.partition(";")[0].partition("=") for line in self.all("set-cookie"))
        return {name: value for name, _, value in pairs}


class Closed(Exception):
    """The connection ended before a whole answer came."""


class Talk(msgspec.Struct):
    """What was heard on one connection: the answers, whether the server closed it, interim answers (1xx)."""

    answers: list[Said]
    closed: bool
    interim: list[int]

    @property
    def only(self) -> Said:
        """The one answer."""
        assert len(self.answers) == 1, [answer.status for answer in self.answers]
        return self.answers[0]


async def _one_answer(reader: asyncio.StreamReader, *, headless: bool = False) -> Said | None:
    """Read one answer strictly. None at the end of the stream before its first byte. Raises Closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Closed(error.partial) from None
        return None
    line, *rest = head[:-4].split(b"\r\n")
    version, _, after = line.partition(b" ")
    assert version.startswith(b"HTTP/"), line
    headers = []
    for raw in rest:
        name, separator, value = raw.decode("latin-1").partition(": ")
        assert separator, raw
        headers.append((name.lower(), value))
    status = int(after[:3])
    lengths = [value for name, value in headers if name == "content-length"]
    assert len(lengths) <= 1, headers
    assert not any(name == "transfer-encoding" for name, _ in headers), headers
    length = int(lengths[0]) if lengths and status not in {204, 304} and status >= 200 and not headless else 0
    body = await reader.readexactly(length) if length else b""
    return Said(version[5:].decode(), status, tuple(headers), body, head)


async def hear(reader: asyncio.StreamReader, want: int = 1, *, headless: bool = False, seconds: float = 10.0) -> Talk:
    """Read `want` answers. When the last of them says that the connection closes, wait until it does."""
    talk = Talk([], False, [])
    async with asyncio.timeout(seconds):
        try:
            while len(talk.answers) < want:
                said = await _one_answer(reader, headless=headless)
                if said is None:
                    talk.closed = True
                    return talk
                if said.status < 200:
                    talk.interim.append(said.status)
                    continue
                talk.answers.append(said)
            if talk.answers and talk.answers[-1].closes:
                assert await reader.read() == b"", "bytes after the last answer"
                talk.closed = True
        except ConnectionError:
            talk.closed = True
    return talk


async def talk(port: int, data: bytes, *, want: int = 1, headless: bool = False, seconds: float = 10.0) -> Talk:
    """Say bytes on a fresh connection and hear the answers."""
    async with opened(port) as (reader, writer):
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            pass  # cut off while speaking: what was answered is heard below
        return await hear(reader, want, headless=headless, seconds=seconds)


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection for the length of a block; it is cut off at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def request_bytes(
    method: str = "POST",
    path: str = "/collect",
    *,
    host: str | None = HOST,
    headers: Mapping[str, str | bytes] | Pairs = (),
    body: bytes | None = None,
    length: bool = True,
) -> bytes:
    """A request as bytes. Texts are encoded as UTF-8, bytes stand as they are; `length` adds Content-Length."""
    lines = [f"{method} {path} HTTP/1.1".encode()]
    if host is not None:
        lines.append(b"Host: " + host.encode())
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines += [name.encode() + b": " + (value.encode() if isinstance(value, str) else value) for name, value in pairs]
    if body is not None and length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def signature(secret: str, *, at_s: int, nonce: str, method: str, path: str, body: bytes) -> str:
    """The signature header as docs/reference/events.md tells a caller to make it, written from that page alone."""
    signed = f"{at_s}.{nonce}.{method}.{path}.".encode() + body
    return f"t={at_s},n={nonce},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


# ------------------------------------------------------------------ a gateway


def install(directory: Path) -> Path:
    """Make a data directory with keys, as `gateway init` does, with the same keys every time."""
    data = directory / "data"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (data / app.KEY_FILE).exists():
        write_key_file(data / app.KEY_FILE, new_key_file(NOW_MS, SeededEntropy(b"keys")))
    return data


def settings_for(directory: Path, **sections: Any) -> Settings:
    """Settings of a gateway with two sites, `shop` and `kiosk`. `sections` replace or add whole tables.

    `shop` and `kiosk` are merged into the site of that name. Every refusal has its log line unless a test says otherwise.
    """
    shop = {"id": "shop", "hosts": [HOST], "domains": ["shop.example"], "currency": "EUR"}
    kiosk = {"id": "kiosk", "hosts": [OTHER_HOST], "domains": ["kiosk.example"], "currency": "EUR"}
    raw: dict[str, Any] = {
        "listen": {"port": 0, "admin_port": 0},
        "data": {"dir": str(install(directory)), "reserve_bytes": 65_536},
        "log": {"refusals_per_minute": 0},
        "site": [{**shop, **sections.pop("shop", {})}, {**kiosk, **sections.pop("kiosk", {})}],
    }
    return parse({**raw, **sections}, {}, directory)


class Running:
    """A running gateway as its callers see it, and its files as its operator sees them."""

    def __init__(self, gateway: app.Gateway, directory: Path, clock: Clock, log: io.StringIO) -> None:
        self.gateway = gateway
        self.directory = directory
        self.clock = clock
        self.port = gateway.port
        self.admin_port = gateway.admin_port
        self.token = (directory / "data" / app.TOKEN_FILE).read_text().strip()
        self._log = log

    def move(self, *, seconds: float) -> None:
        """Move the clock forward."""
        assert isinstance(self.clock, ManualClock)
        self.clock.move(ms=int(seconds * 1000))

    # -------------------------------------------------------------- asking

    async def talk(self, data: bytes, **how: Any) -> Talk:
        """Say bytes to the collection listener."""
        return await talk(self.port, data, **how)

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str | bytes] | Pairs = (),
        body: object = None,
        host: str | None = HOST,
    ) -> Said:
        """One request to the collection listener. `body` is sent as it is when bytes, else as JSON."""
        return (await self.talk(_request(method, path, headers, body, host), headless=method == "HEAD")).only

    async def collect(
        self, body: object, *, origin: str | None = PAGE, cookie: str | None = None, **headers: str | bytes
    ) -> Said:
        """`POST /collect` as a browser on a page of the shop sends it. Names in `headers` have `_` for `-`."""
        named: dict[str, str | bytes] = {"User-Agent": AGENT}
        if origin is not None:
            named["Origin"] = origin
        if cookie is not None:
            named["Cookie"] = cookie
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", "/collect", headers=named, body=body)

    async def api(
        self,
        path: str,
        body: object,
        key: str | None,
        *,
        host: str = HOST,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Said:
        """`POST` to the server API with an API key."""
        named: dict[str, str | bytes] = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return await self.send("POST", path, headers=named | dict(headers or {}), body=body, host=host)

    async def admin(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str | bytes] | Pairs | None = None,
        host: str | None = "localhost",
    ) -> Said:
        """One request to the admin listener, with the admin token unless `headers` are given."""
        given = headers if headers is not None else {"Authorization": f"Bearer {self.token}"}
        data = _request(method, path, given, body, host)
        return (await talk(self.admin_port, data, headless=method == "HEAD")).only

    async def new_key(
        self, *, sites: tuple[str, ...] = (), rights: tuple[str, ...] = (), must_sign: bool = False
    ) -> dict[str, Any]:
        """Make an API key as an operator does: `key`, `signing_secret`, `id`."""
        body = {"title": "test", "sites": list(sites), "rights": list(rights or RIGHTS), "must_sign": must_sign}
        said = await self.admin("POST", "/api/admin/v1/keys", body=body)
        assert said.status == 200, said
        found: dict[str, Any] = said.json()
        return found

    # -------------------------------------------------------------- looking

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database file itself, read-only."""
        with closing(sqlite3.connect(f"file:{self.directory / 'data' / app.DATABASE}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()

    def count(self, table: str = "event") -> int:
        """How many rows a table has."""
        return int(self.rows(f"select count(*) from {table}")[0][0])

    def facts(self, event_id: str) -> dict[str, Any]:
        """What is kept of one event."""
        found: dict[str, Any] = json.loads(self.rows("select facts from event where event_id = ?", event_id)[0][0])
        return found

    @property
    def log_text(self) -> str:
        """The log as it was written so far."""
        return self._log.getvalue()

    def log(self, event: str | None = None, *, since: int = 0) -> list[dict[str, Any]]:
        """Log lines written from character `since` on, read strictly; those of one event name, if given."""
        return [line for line in log_lines(self._log.getvalue()[since:]) if event in (None, line["event"])]

    def refusals(self, route: str, code: str) -> float:
        """What the counter of refusals says for one route and code."""
        registry = self.gateway.house.telemetry.registry
        return registry.get_sample_value("gateway_requests_refused_total", {"route": route, "code": code}) or 0.0

    @contextmanager
    def refusing(self, route: str, code: str, *, site: str | None = "shop", times: int = 1) -> Iterator[None]:
        """In this block requests are refused with one code: each is counted, has one line, and stores nothing."""
        counted, written, stored = self.refusals(route, code), len(self.log_text), self.everything_stored()
        yield
        assert self.refusals(route, code) == counted + times, (route, code)
        lines = self.log(since=written)
        assert [(line["event"], line["route"], line["code"], line["site"]) for line in lines] == [
            ("request_refused", route, code, site)
        ] * times, lines
        assert self.everything_stored() == stored, "a refused request left something in the database"

    def everything_stored(self) -> dict[str, int]:
        """How many rows every table has, but for those that workers fill some time after an event."""
        tables = [name for (name,) in self.rows("select name from sqlite_schema where type = 'table' order by name")]
        return {table: self.count(table) for table in tables if table not in _WRITTEN_LATER}

    async def still_answers(self, seconds: float = 1.0) -> None:
        """A valid event is taken, and soon: what a server must still do after an attack."""
        before = self.count()
        async with asyncio.timeout(seconds):
            said = await self.collect({"name": "page_view"})
        assert said.status == 204, said
        assert self.count() == before + 1


def refused_with(said: Said, status: int, code: str, field: str | None = None) -> None:
    """The answer is the fixed refusal of that code to the last byte, so nothing of the request is in it."""
    assert (said.status, said.code, said.error.get("field")) == (status, code, field), said
    error: dict[str, Any] = {"code": code, "message": CODES[code].message}
    if field is not None:
        error["field"] = field
    if "allowed" in said.error:  # words of ours: of a closed list, and so with nothing else in them
        error["allowed"] = said.error["allowed"]
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", word) for word in error["allowed"]), said
    assert said.json() == {"error": {**error, "docs": f"docs/reference/errors.md#{code}"}}
    assert said.header("content-type") == "application/json"
    assert said.header("cache-control") == "no-store"
    assert said.header("x-content-type-options") == "nosniff"
    assert said.header("server") == "gateway"
    assert said.header("set-cookie") is None


def _request(
    method: str, path: str, headers: Mapping[str, str | bytes] | Pairs, body: object, host: str | None
) -> bytes:
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return request_bytes(method, path, host=host, headers=headers, body=raw)


def log_lines(text: str) -> list[dict[str, Any]]:
    """Read a log: every line is one JSON object in ASCII with an event name and a level, or this fails."""
    lines = []
    for line in text.splitlines():
        assert line.isascii(), line
        assert line.isprintable(), line
        found = json.loads(line)
        assert isinstance(found["event"], str), line
        assert found["level"] in {"info", "warning", "error"}, line
        lines.append(found)
    return lines


@contextmanager
def logging_to(stream: Stream) -> Iterator[Stream]:
    """Write the gateway's log to a text in memory, or another, for the length of a block."""
    before = structlog.get_config()
    telemetry.configure("info", stream)
    try:
        yield stream
    finally:
        structlog.configure(**before)


@asynccontextmanager
async def running(
    directory: Path,
    *,
    fast: bool = True,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    network: Network = NOWHERE,
    after_commit: Callable[[], None] | None = None,
    **sections: Any,
) -> AsyncIterator[Running]:
    """A gateway for the length of a block, with its files below `directory`. `sections` go to `settings_for`.

    It reaches nobody unless it is given a network.
    """
    used = clock or ManualClock(NOW_MS)
    with logging_to(io.StringIO()) as log:
        settings = settings_for(directory, **sections)
        async with app.running(
            settings,
            clock=used,
            entropy=entropy or SeededEntropy(b"gateway"),
            network=network,
            after_commit=after_commit,
            fast=fast,
        ) as gateway:
            yield Running(gateway, directory, used, log)
