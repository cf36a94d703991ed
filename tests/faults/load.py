"""Clients under whose load things break: they send, and send the same again until it is acknowledged.

What a client was told is all that counts: an id is *acknowledged* when a whole 2xx answer with it was read. A client
speaks plain HTTP/1.1 on one connection and opens another when that breaks. Load ends by itself, by count or when told.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gateway.clock import SystemClock

__all__ = ["Acknowledged", "Client", "Load", "conversion_body", "hit_body"]

ANSWER_S: Final = 15.0
"""Longest time a client waits for one answer: longer than the gateway lets a request wait for its commit."""
AGAIN_S: Final = 0.04
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
GRANTED: Final = dict.fromkeys(("analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")


class Acknowledged(msgspec.Struct):
    """What clients were told. `hits` and `conversions` are event ids, `orders` order ids, `choices` record ids."""

    hits: set[str] = msgspec.field(default_factory=set)
    conversions: dict[str, str] = msgspec.field(default_factory=dict)
    orders: set[str] = msgspec.field(default_factory=set)
    choices: set[str] = msgspec.field(default_factory=set)
    tries: int = 0
    refused: Counter[int] = msgspec.field(default_factory=Counter)

    @property
    def events(self) -> set[str]:
        """Ids of all acknowledged events."""
        return self.hits | set(self.conversions)

    def copy(self) -> "Acknowledged":
        """What was acknowledged up to now."""
        return Acknowledged(set(self.hits), dict(self.conversions), set(self.orders), set(self.choices), self.tries)


class Answered(msgspec.Struct, frozen=True):
    """One whole answer. A header that came more than once holds its values on lines of their own."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, opened again when it breaks. Raises OSError, EOFError or TimeoutError when no answer was read."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._host = host
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answered:
        """Send one request and read the whole answer to it."""
        named = {"Host": self._host, "Content-Type": "application/json", **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._reader is None or self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
                answered = await _read(self._reader)
        except BaseException:
            self.close()
            raise
        if answered.headers.get("connection", "").lower() == "close":
            self.close()
        return answered

    def close(self) -> None:
        """Break the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _read(reader: asyncio.StreamReader) -> Answered:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in head[1:] if line):
        before = f"{headers[name.lower()]}\n" if name.lower() in headers else ""
        headers[name.lower()] = before + value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answered(int(head[0].split(" ", 2)[1]), headers, body)


def hit_body(event_id: str, *, padding: int = 400) -> bytes:
    """A page view with consent to analytics. Some padding lets the write-ahead file grow to a checkpoint soon."""
    return msgspec.json.encode(
        {
            "name": "page_view",
            "id": event_id,
            "url": f"https://shop.localhost/products/{event_id}",
            "title": "A product",
            "consent": {"analytics": "granted"},
            "props": {"filler": "x" * padding},
        }
    )


def conversion_body(event_id: str, order_id: str, **changes: object) -> bytes:
    """A purchase with full consent and all that four platforms need."""
    number = sum(order_id.encode()) + len(order_id)
    return msgspec.json.encode(
        {
            "name": "purchase",
            "id": event_id,
            "order_id": order_id,
            "value": "49.90",
            "currency": "EUR",
            "url": "https://shop.localhost/thanks",
            "person": {"email": f"buyer-{order_id.lower()}@example.com"},
            "client": {"ip": "203.0.114.7", "user_agent": AGENT, "ga": f"GA1.1.{1_000_000 + number}.1700000000"},
            "click_ids": {"gclid": f"Cj0KCQ-{order_id}"},
            "consent": GRANTED,
            **changes,
        }
    )


class Load:
    """Many clients at once against one gateway, which may come and go. `run` name keeps the ids of runs apart."""

    def __init__(self, port: int, host: str, api_key: str, *, run: str) -> None:
        self.acknowledged = Acknowledged()
        self._port = port
        self._host = host
        self._key = {"Authorization": f"Bearer {api_key}"}
        self._run = run
        self._clock = SystemClock()
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self,
        *,
        hitting: int = 24,
        hit_pause_s: float = 0.005,
        converting: int = 7,
        convert_pause_s: float = 0.2,
        choosing: int = 1,
        choose_pause_s: float = 0.1,
        count: int = 1_000_000,
    ) -> None:
        """Start clients of three kinds, each sending at most `count` different things, with a pause after each."""
        for kind, many, pause_s in (
            (self._hit, hitting, hit_pause_s),
            (self._convert, converting, convert_pause_s),
            (self._choose, choosing, choose_pause_s),
        ):
            for number in range(many):
                self._tasks.append(asyncio.create_task(self._client(kind, number, pause_s, count)))

    async def stop(self, *, within_s: float = 20.0) -> None:
        """Let every client finish what it is sending. Raises AssertionError when one cannot."""
        self._stopped.set()
        _, left = await asyncio.wait(self._tasks, timeout=within_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not left, f"{len(left)} clients were not acknowledged in {within_s} seconds"
        for task in self._tasks:
            task.result()

    async def abort(self) -> None:
        """Stop at once, whatever is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(
        self,
        send: Callable[[Client, str, int], Awaitable[None]],
        number: int,
        pause_s: float,
        count: int,
    ) -> None:
        client = Client(self._port, self._host)
        try:
            for index in range(count):
                if self._stopped.is_set():
                    return
                await send(client, f"{self._run}-{number:02}-{index:06}", index)
                await asyncio.sleep(pause_s)
        finally:
            client.close()

    async def _until_told(
        self, client: Client, path: str, body: bytes, headers: dict[str, str], expected: tuple[int, ...] = (200, 204)
    ) -> Answered:
        """Send the same until it is acknowledged. Anything but an acknowledgement and "try again" is a fault."""
        while True:
            self.acknowledged.tries += 1
            try:
                answered = await client.send("POST", path, body, headers)
            except (OSError, EOFError, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                continue
            if answered.status in expected:
                return answered
            self.acknowledged.refused[answered.status] += 1
            assert answered.status in (503, 507), f"{path} was answered {answered.status}: {answered.body!r}"
            assert int(answered.headers["retry-after"]) >= 1
            await asyncio.sleep(AGAIN_S)

    async def _hit(self, client: Client, name: str, index: int) -> None:
        headers = {"Origin": "https://shop.localhost", "User-Agent": AGENT}
        await self._until_told(client, "/collect", hit_body(f"h-{name}"), headers)
        self.acknowledged.hits.add(f"h-{name}")

    async def _convert(self, client: Client, name: str, index: int) -> None:
        """Send one order; every fifth a second time under another event id, every third with an Idempotency-Key."""
        order_id = f"O-{name}"
        for copy in range(2 if index % 5 == 0 else 1):
            event_id = f"c{copy}-{name}"
            headers = dict(self._key)
            if index % 3 == 0:
                headers["Idempotency-Key"] = f"once-{copy}-{name}"
            answered = await self._until_told(
                client, "/api/v1/conversions", conversion_body(event_id, order_id), headers
            )
            said = msgspec.json.decode(answered.body)
            assert said["id"] == event_id
            self.acknowledged.conversions[event_id] = said["fate"]
            self.acknowledged.orders.add(order_id)

    async def _choose(self, client: Client, name: str, index: int) -> None:
        """A backend passes on the choice of a person who chose for the first time."""
        choice = {"choice": {"analytics": "granted"}, "method": "api", "person": {"external_id": f"person-{name}"}}
        answered = await self._until_told(client, "/consent", msgspec.json.encode(choice), self._key)
        self.acknowledged.choices.add(str(msgspec.json.decode(answered.body)["record_id"]))
