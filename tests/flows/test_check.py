"""`gateway check` finds what was changed behind the gateway's back: log entries that are missing or not what they were."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway import app
from tests.support.running import PAGE, Running, running


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        for answer in ("granted", "denied", "granted"):
            said = await started.send(
                "POST", "/consent", headers={"Origin": PAGE}, body={"choice": {"analytics": answer}}
            )
            assert said.status == 200, said
        yield started


async def problems(shop: Running) -> list[str]:
    found = (await shop.admin("GET", "/api/admin/v1/check")).json()
    listed: list[str] = found["problems"]
    return listed


def behind_its_back(shop: Running, sql: str) -> None:
    with closing(sqlite3.connect(shop.directory / "data" / app.DATABASE)) as db:
        assert db.execute(sql).rowcount == 1
        db.commit()


async def test_a_log_as_it_was_written_has_no_problems(shop: Running) -> None:
    found = (await shop.admin("GET", "/api/admin/v1/check")).json()
    assert (found["problems"], found["consent_entries"]) == ([], {"shop": 3, "kiosk": 0})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "update consent_entry set entry = cast(replace(cast(entry as text), 'granted', 'grantee') as blob) where entry_no = 1",
            "consent log of site shop: entry 1 was changed",
        ),
        (
            "update consent_entry set leaf_hash = zeroblob(32) where entry_no = 2",
            "consent log of site shop: entry 2 was changed",
        ),
        ("delete from consent_entry where entry_no = 0", "consent log of site shop: entries 0 to 0 are missing"),
        ("delete from consent_entry where entry_no = 1", "consent log of site shop: entries 1 to 1 are missing"),
    ],
)
async def test_what_was_changed_is_said(shop: Running, change: str, said: str) -> None:
    behind_its_back(shop, change)
    assert await problems(shop) == [said]


async def test_erasing_what_an_entry_commits_to_is_no_problem(shop: Running) -> None:
    record = shop.rows("select record_id from consent_entry where entry_no = 1")[0][0]
    behind_its_back(shop, f"delete from consent_record where record_id = '{record}'")
    assert await problems(shop) == []
