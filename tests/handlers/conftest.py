"""Gateways for the attack list, and a watch over what libraries complain about.

Rows are those of the attack list (OWASP ASVS 5.0 applied to this product); a test that covers one has its number in its
name. Common to all rows: never a 5xx but a deliberate 503 or 507, never a traceback, never an echo, one counter, one line.
"""

import gc
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
import pytest_asyncio

from tests.support.running import Running, running

UNLIMITED: Final = {"browser_per_minute": 1_000_000_000, "api_per_minute": 1_000_000_000}
"""For tables of many requests from one address."""


class _Complaints(logging.Handler):
    """Everything a library says through Python's own logging: tracebacks of tasks, of connections."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(logging.Formatter().format(record))


@pytest.fixture(scope="module")
def complaints() -> Iterator[_Complaints]:
    handler = _Complaints()
    logging.getLogger().addHandler(handler)
    yield handler
    gc.collect()  # a task that failed unheard says so when it is forgotten
    logging.getLogger().removeHandler(handler)
    assert not handler.heard, handler.heard


@pytest.fixture(autouse=True)
def nothing_complains(complaints: _Complaints) -> Iterator[None]:
    """No library writes past the gateway's own log: a traceback would hold what the caller sent."""
    yield
    heard, complaints.heard = complaints.heard, []
    assert not heard, heard


@pytest_asyncio.fixture(
    params=[pytest.param(True, id="fast"), pytest.param(False, id="plain", marks=pytest.mark.thorough)],
    scope="module",
    loop_scope="module",
)
async def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One gateway for a whole module, twice: with the fast lane and with aiohttp's own way alone."""
    async with running(tmp_path_factory.mktemp("both"), fast=request.param, limits=UNLIMITED) as shop:
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One gateway for a whole module, as it is in service."""
    async with running(tmp_path_factory.mktemp("shared"), limits=UNLIMITED) as shop:
        yield shop
