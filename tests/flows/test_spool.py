"""The spool: clicks in a file are recorded once, whatever happened to the file or the store meanwhile."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from gateway.entropy import SeededEntropy
from gateway.errors import StoreBusy
from gateway.event import Touch
from gateway.flows.spool import ClickSpool, Drained
from gateway.vault import Vault, new_key_file

VAULT: Final = Vault(new_key_file(0, SeededEntropy(b"keys")), SeededEntropy(b"spool"))


def click(click_id: str, **fields: object) -> Touch:
    values: dict[str, object] = {"visitor_key": None, "referrer": None, "campaign": b"{}", "click_ids": None, **fields}
    return Touch(kind="click", occurred_at_ms=1, click_id=click_id, **values)  # type: ignore[arg-type] # by name


class Stored:
    """The store as a drain needs it: what it has, and whether it works."""

    def __init__(self, *known: str, works: bool = True) -> None:
        self.clicks: list[tuple[str, str | None]] = []
        self._known = set(known)
        self.works = works

    async def known(self, site: str, click_ids: list[str]) -> set[str]:
        return self._known & set(click_ids)

    async def record(self, site: str, touch: Touch) -> None:
        if not self.works:
            raise StoreBusy("closed")
        self.clicks.append((site, touch.click_id))
        if touch.click_id is not None:
            self._known.add(touch.click_id)


def left_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def opened(directory: Path, lines_max: int = 100) -> ClickSpool:
    spool = ClickSpool(directory, VAULT, lines_max)
    await spool.open()
    return spool


async def test_every_spooled_click_is_recorded_once(tmp_path: Path) -> None:
    spool, stored = await opened(tmp_path), Stored("b")
    assert all(await asyncio.gather(*(spool.add("shop", click(name)) for name in "abc")))
    assert spool.waiting == 3
    assert await spool.drain(stored.known, stored.record) == Drained(recorded=2, known=1)
    assert stored.clicks == [("shop", "a"), ("shop", "c")]
    assert spool.waiting == 0
    assert not left_in(tmp_path)


async def test_a_store_that_fails_again_leaves_everything_where_it_was(tmp_path: Path) -> None:
    spool, stored = await opened(tmp_path), Stored(works=False)
    await spool.add("shop", click("a"))
    with pytest.raises(StoreBusy):
        await spool.drain(stored.known, stored.record)
    await spool.add("shop", click("b"))
    stored.works = True
    later = await opened(tmp_path)  # another process
    assert later.waiting == 2
    await later.drain(stored.known, stored.record)
    assert stored.clicks == [("shop", "a"), ("shop", "b")]


async def test_half_a_line_of_a_crash_costs_that_line_only(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    await spool.add("shop", click("a"))
    path = tmp_path / "clicks.spool"
    path.write_bytes(path.read_bytes() + b"AaBb")
    later, stored = await opened(tmp_path), Stored()
    await later.add("shop", click("c"))
    assert await later.drain(stored.known, stored.record) == Drained(recorded=2, unreadable=1)
    assert stored.clicks == [("shop", "a"), ("shop", "c")]


async def test_a_full_spool_and_a_disk_that_takes_nothing_say_so(tmp_path: Path) -> None:
    full = await opened(tmp_path, lines_max=1)
    assert [await full.add("shop", click(name)) for name in "ab"] == [True, False]
    gone = await opened(tmp_path / "gone")
    assert await gone.add("shop", click("a")) is False
    assert gone.waiting == 0


async def test_the_file_is_sealed_private_and_names_no_visitor(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    await spool.add("shop", click("a" * 22, visitor_key=b"somebody", landing="/sale"))
    path = tmp_path / "clicks.spool"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"sale" not in path.read_bytes()
    found: list[Touch] = []

    async def record(site: str, touch: Touch) -> None:
        found.append(touch)

    await spool.drain(Stored().known, record)
    assert [(touch.visitor_key, touch.landing, touch.campaign) for touch in found] == [(None, "/sale", b"{}")]
