"""What was spent, over HTTP: stored by day, replaced when sent again, refused whole when a row is wrong, listed."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.times import DAY_MS
from tests.support.running import HOST, NOW_MS, OTHER_HOST, Running, Said, refused_with, running

PATH: Final = "/api/v1/spend"
TODAY: Final = "2026-11-20"
HEADER: Final = "date,campaign,channel,source,currency,amount,clicks,impressions\n"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


class Owner:
    """An operator's program with a key that may manage."""

    def __init__(self, shop: Running, key: str, host: str = HOST) -> None:
        self.shop = shop
        self.key = key
        self.host = host

    def _headers(self, **headers: str) -> dict[str, str | bytes]:
        named: dict[str, str | bytes] = {"Authorization": f"Bearer {self.key}"}
        return named | {name.replace("_", "-"): value for name, value in headers.items()}

    async def csv(self, body: str | bytes, **headers: str) -> Said:
        raw = body.encode() if isinstance(body, str) else body
        kinds = {"Content_Type": "text/csv", **headers}
        return await self.shop.send("POST", PATH, headers=self._headers(**kinds), body=raw, host=self.host)

    async def json(self, rows: object) -> Said:
        headers = self._headers(Content_Type="application/json")
        return await self.shop.send("POST", PATH, headers=headers, body=rows, host=self.host)

    async def listed(self, query: str = "", **headers: str) -> Said:
        return await self.shop.send("GET", PATH + query, headers=self._headers(**headers), host=self.host)

    async def rows(self, query: str = "") -> list[dict[str, Any]]:
        said = await self.listed(query)
        assert said.status == 200, said
        found: list[dict[str, Any]] = said.json()["spend"]
        return found


async def owner(shop: Running, host: str = HOST) -> Owner:
    return Owner(shop, (await shop.new_key(rights=("manage",)))["key"], host)


async def campaign(shop: Running, code: str, **fields: object) -> str:
    key = (await shop.new_key(rights=("manage",)))["key"]
    said = await shop.api("/api/v1/campaigns", {"name": code, "code": code, **fields}, key)
    assert said.status == 201, said
    return str(said.json()["campaign"]["id"])


async def test_e02_the_cost_of_a_campaign_is_stored_and_listed(shop: Running) -> None:
    await campaign(shop, "autumn")
    caller = await owner(shop)
    said = await caller.json([{"date": TODAY, "campaign": "AUTUMN", "amount": "250.00"}])
    assert (said.status, said.json()) == (200, {"rows": 1, "changed": 1})
    assert await caller.rows() == [
        {
            "date": TODAY, "campaign": "autumn", "channel": "", "source": "", "currency": "EUR", "amount": "250.00",
            "clicks": None, "impressions": None,
        }
    ]  # fmt: skip


async def test_k10_a_channel_is_called_as_in_reports(shop: Running) -> None:
    caller = await owner(shop)
    names = ("Paid Search", "paid_search ", "PAID SOCIAL", "Flyers")
    rows = "".join(f"{TODAY},,{name},s{place},USD,1.50,2,30\n" for place, name in enumerate(names))
    assert (await caller.csv(HEADER + rows)).json() == {"rows": 4, "changed": 4}
    found = {row["source"]: row["channel"] for row in await caller.rows()}
    assert found == {"s0": "paid_search", "s1": "paid_search", "s2": "paid_social", "s3": "Flyers"}


async def test_c19_what_is_sent_again_replaces_what_was_there(shop: Running) -> None:
    await campaign(shop, "autumn")
    caller = await owner(shop)
    first = f"{TODAY},autumn,email,news,EUR,10.00,5,\n2026-11-19,autumn,email,news,EUR,20.00,,\n"
    assert (await caller.csv(HEADER + first)).json() == {"rows": 2, "changed": 2}
    assert (await caller.csv(HEADER + first)).json() == {"rows": 2, "changed": 0}
    again = f"{TODAY},autumn,email,news,EUR,12.00,5,\n{TODAY},autumn,email,news,USD,1.00,,\n"
    assert (await caller.csv(HEADER + again)).json() == {"rows": 2, "changed": 2}
    found = [(row["date"], row["currency"], row["amount"], row["clicks"]) for row in await caller.rows()]
    assert sorted(found, key=str) == [
        ("2026-11-19", "EUR", "20.00", None), (TODAY, "EUR", "12.00", 5), (TODAY, "USD", "1.00", None),
    ]  # fmt: skip


async def test_r32_impressions_are_imported(shop: Running) -> None:
    caller = await owner(shop)
    await caller.csv(f"date,channel,clicks,impressions\n{TODAY},display,12,34000\n")
    rows = await shop.gateway.house.store.spend("shop", NOW_MS // DAY_MS, NOW_MS // DAY_MS)
    assert [(row.amount_minor, row.clicks, row.impressions) for row in rows] == [(0, 12, 34_000)]


async def test_r29_sites_do_not_see_each_others_costs_or_campaigns(shop: Running) -> None:
    await campaign(shop, "autumn")
    here, there = await owner(shop), await owner(shop, OTHER_HOST)
    await here.json([{"date": TODAY, "campaign": "autumn", "amount": 1}])
    assert await there.rows() == []
    said = await there.json([{"date": TODAY, "campaign": "autumn", "amount": 1}])
    assert said.code == "campaign_unknown"


async def test_an_archived_campaign_is_known_by_its_id_alone(shop: Running) -> None:
    made = await campaign(shop, "old")
    key = (await shop.new_key(rights=("manage",)))["key"]
    gone = await shop.send("DELETE", f"/api/v1/campaigns/{made}", headers={"Authorization": f"Bearer {key}"})
    assert gone.status in {200, 204}, gone
    caller = await owner(shop)
    assert (await caller.json([{"date": TODAY, "campaign": made, "amount": 1}])).status == 200
    assert (await caller.json([{"date": TODAY, "campaign": "old", "amount": 1}])).code == "campaign_unknown"
    assert [row["campaign"] for row in await caller.rows()] == ["old"]


async def test_a_wrong_row_refuses_the_whole_file_and_every_wrong_row_is_told(shop: Running) -> None:
    caller = await owner(shop)
    body = (
        HEADER
        + f"{TODAY},,a,,EUR,1,,\n"
        + f"{TODAY},nowhere,a,,EUR,1,,\n"
        + f"{TODAY},,b,,EUR,=1+1,,\n"
        + f"{TODAY},,a,,EUR,2,,\n"
        + '"2026-11-20,\n'
    )
    with shop.refusing(PATH, "campaign_unknown"):
        said = await caller.csv(body)
    assert said.status == 400
    assert (said.code, said.error["field"]) == ("campaign_unknown", "line 3: campaign")
    assert said.json()["rows"] == [
        {"line": 3, "column": "campaign", "code": "campaign_unknown"},
        {"line": 4, "column": "amount", "code": "amount_invalid"},
        {"line": 5, "column": None, "code": "row_repeated"},
        {"line": 6, "column": None, "code": "quotes_invalid"},
    ]
    assert await caller.rows() == []


async def test_row_35_the_file_of_errors_and_the_list_run_in_no_spreadsheet(shop: Running) -> None:
    caller = await owner(shop)
    said = await caller.csv(f"date,source,amount\n=CMD(),x,1\n{TODAY},x,+1\n", Accept="text/csv")
    assert (said.status, said.header("content-type")) == (400, "text/csv; charset=utf-8")
    assert said.header("content-disposition") == 'attachment; filename="spend-errors.csv"'
    lines = said.body.decode().split("\r\n")
    assert [line.split(",")[:3] for line in lines[:-1]] == [
        ["line", "column", "code"], ["2", "date", "date_invalid"], ["3", "amount", "amount_invalid"],
    ]  # fmt: skip
    assert "CMD" not in said.body.decode()
    evil = ("=HYPERLINK(1)", "+1", "-1", "@SUM")
    await caller.json([{"date": TODAY, "source": text, "amount": 1.5} for text in evil])
    listed = (await caller.listed(Accept="text/csv")).body.decode().split("\r\n")
    assert listed[0] == "date,campaign,channel,source,currency,amount,clicks,impressions"
    assert sorted(line.split(",")[3] for line in listed[1:-1]) == sorted(f"'{text}" for text in evil)
    assert {line.split(",")[5] for line in listed[1:-1]} == {"1.50"}, "numbers stay numbers"


async def test_only_a_key_that_may_manage_is_let_in(shop: Running) -> None:
    weak = (await shop.new_key(rights=("events", "conversions", "consent", "reports")))["key"]
    for key, status, code in (("", 401, "key_missing"), ("gwk_x", 401, "key_invalid"), (weak, 403, "key_forbidden")):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with shop.refusing(PATH, code):
            refused_with(await shop.send("GET", PATH, headers=headers), status, code)
        with shop.refusing(PATH, code):
            said = await shop.send("POST", PATH, headers=headers | {"Content-Type": "text/csv"}, body=b"date,amount\n")
            refused_with(said, status, code)


@pytest.mark.parametrize("kind", ["", "multipart/form-data; boundary=x", "application/zip"])
async def test_what_kind_of_body_it_is_has_to_be_said(shop: Running, kind: str) -> None:
    caller = await owner(shop)
    with shop.refusing(PATH, "content_type_unsupported"):
        said = await caller.csv(f"date,amount\n{TODAY},1\n", Content_Type=kind)
    refused_with(said, 415, "content_type_unsupported", "Content-Type")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "header_unknown", "line 1"),
        (b"[", 400, "json_invalid", None),
        (b"a,b\n", 400, "field_unknown", "#1"),
        (b"PK\x03\x04zip", 400, "text_not_utf8", "line 1"),
        (b"date,amount\n" + b"2026-11-20,1\n" * 11, 400, "rows_too_many", "line 12"),
        (b"date,amount\n" + b" " * 5_000, 413, "body_too_large", None),
    ],
)
async def test_row_42_what_is_no_such_file_is_refused(
    tmp_path: Path, body: bytes, status: int, code: str, field: str | None
) -> None:
    async with running(tmp_path, uploads={"spend_rows_max": 10, "spend_max_bytes": 4_096}) as shop:
        caller = await owner(shop)
        with shop.refusing(PATH, code):
            refused_with(await caller.csv(body), status, code, field)
        packed = gzip.compress(body)
        assert (await caller.csv(packed, Content_Encoding="gzip")).code == code


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("", ["2026-10-22", TODAY]),
        ("?to=2026-10-21", ["2026-10-21"]),
        ("?from=2026-10-21&to=2026-10-22", ["2026-10-21", "2026-10-22"]),
        ("?from=2025-10-17", ["2026-10-21", "2026-10-22", TODAY]),
    ],
)
async def test_a_list_is_of_the_days_asked_for_both_included(shop: Running, query: str, days: list[str]) -> None:
    caller = await owner(shop)
    await caller.csv("date,amount\n" + "".join(f"{day},1\n" for day in ("2026-10-21", "2026-10-22", TODAY)))
    assert [row["date"] for row in await caller.rows(query)] == days


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?from=x", "from"),
        ("?to=2026-02-30", "to"),
        ("?from=2026-11-21", "from"),
        ("?from=2025-10-16", "from"),
        ("?from=1%20or%201", "from"),
    ],
)
async def test_row_41_a_list_of_other_days_is_refused(shop: Running, query: str, field: str) -> None:
    caller = await owner(shop)
    with shop.refusing(PATH, "date_invalid"):
        refused_with(await caller.listed(query), 400, "date_invalid", field)


async def test_operators_store_and_list_by_the_admin_listener(shop: Running) -> None:
    bearer: dict[str, str | bytes] = {"Authorization": f"Bearer {shop.token}"}
    path = "/api/admin/v1/spend?site=kiosk"
    body = [{"date": TODAY, "amount": "3.00"}]
    said = await shop.admin("POST", path, body=body, headers=bearer | {"Content-Type": "application/json"})
    assert (said.status, said.json()) == (200, {"rows": 1, "changed": 1})
    listed = await shop.admin("GET", path)
    assert [row["amount"] for row in listed.json()["spend"]] == ["3.00"]
    assert (await shop.admin("GET", "/api/admin/v1/spend")).code == "field_missing"
    assert (await shop.admin("GET", "/api/admin/v1/spend?site=nowhere")).code == "site_unknown"
    assert (await shop.admin("GET", path, headers={})).code == "admin_token_invalid"


async def test_many_rows_are_stored_and_others_are_answered_meanwhile(shop: Running) -> None:
    caller = await owner(shop)
    rows = "".join(f"{TODAY},,email,s{number},EUR,0.01,1,1\n" for number in range(20_000))
    assert (await caller.csv(HEADER + rows)).json() == {"rows": 20_000, "changed": 20_000}
    assert len(await caller.rows()) == 20_000
