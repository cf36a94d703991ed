"""Every store, one after the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.stores.contract import Store
from gateway.stores.memory import MemoryStore
from gateway.stores.sqlite import open_sqlite
from tests.contract.test_store_contract import NOW


@pytest.fixture(params=["sqlite", pytest.param("sqlite with appender", marks=pytest.mark.thorough), "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store with two sites. Whatever a test did to it, its sums follow from its rows."""
    made: Store
    if request.param != "memory":
        appender = "always" if request.param == "sqlite with appender" else "never"
        made = await open_sqlite(tmp_path / "gateway.db", sites=("shop", "blog"), now_ms=NOW, appender=appender)
    else:
        made = MemoryStore(("shop", "blog"))
    try:
        yield made
        faults = list(await made.check())
    finally:
        await made.close()
    assert faults == []
