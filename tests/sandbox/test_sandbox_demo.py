"""What the demo says on the terminal."""

import asyncio
import re
from pathlib import Path

import pytest
import structlog

from gateway.sandbox.demo import run


async def test_the_demo_prints_four_addresses_with_the_visitors_own_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = asyncio.Event()
    stop.set()
    logging_before = structlog.get_config()
    try:
        await run(tmp_path / "data", 0, stop)
    finally:
        structlog.configure(**logging_before)
    found = re.findall(r"https?://\S+", capsys.readouterr().out)
    assert len(found) == 4
    assert re.fullmatch(r"http://t\.shop\.localhost:\d+/privacy", found[-1])
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "prints four addresses" in readme
