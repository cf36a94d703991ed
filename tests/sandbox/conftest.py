"""Stand-ins on a clock that stands still, and a plain aiohttp client that reaches them under real names."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.sandbox.call import Answer
from gateway.sandbox.config import SandboxConfig, default_config
from gateway.sandbox.stand_ins import StandIns, network_from

NOW_MS = 1_795_176_000_000  # 2026-11-20T12:00:00Z


@pytest.fixture(scope="session")
def config() -> SandboxConfig:
    return default_config()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
async def stand_ins(config: SandboxConfig, clock: ManualClock) -> AsyncIterator[StandIns]:
    async with StandIns(config, clock=clock) as running:
        yield running


@pytest.fixture
async def session(stand_ins: StandIns) -> AsyncIterator[aiohttp.ClientSession]:
    resolver, trust = network_from(stand_ins.connect_info())
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=trust)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as client:
        yield client


@pytest.fixture
def send(session: aiohttp.ClientSession) -> Callable[..., Awaitable[Answer]]:
    """`await send(method, url, json=..., data=..., headers=...)`; a body given as `json` gets the JSON content type."""

    async def request(
        method: str,
        url: str,
        *,
        json: object = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        named = {"Content-Type": "application/json"} if json is not None else {}
        body = msgspec.json.encode(json) if json is not None else data
        payload = None if body is None else io.BytesIO(body)
        async with session.request(
            method, url, data=payload, headers=named | (headers or {}), allow_redirects=False
        ) as response:
            return Answer(response.status, await response.read(), dict(response.headers))

    return request
