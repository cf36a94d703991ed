"""Reports and exports over real sockets: who may read them, which parameters are taken, what comes back."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from gateway.attribution.registry import MODELS
from gateway.catalogue import Ambassador, Campaign, Goal, Link
from gateway.errors import StoreBusy
from gateway.flows import report_names, reports
from gateway.flows.report_asking import SORTS
from gateway.flows.report_exports import EXPORTS
from tests.handlers.conftest import UNLIMITED
from tests.support.reporting import Books
from tests.support.running import HOST, OTHER_HOST, Running, Said, refused_with, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

FACTS: Final = {
    "agent": {"device": "mobile", "os": "iOS", "browser": "Mobile Safari"},
    "judgement": {"regime": "opt_in", "granted": 6, "rulings": [], "rules": "1"},
}


class Reader:
    """A shop with some conversions, and keys for it."""

    def __init__(self, shop: Running) -> None:
        self.shop = shop
        self.books = Books(shop)
        self.key = ""
        self.other_key = ""

    async def fill(self) -> None:
        self.key = (await self.shop.new_key(sites=("shop",), rights=("reports",)))["key"]
        self.other_key = (await self.shop.new_key(sites=("kiosk",), rights=("reports",)))["key"]
        books = self.books
        await books.has(
            Campaign(id="spring", code="Spring-26", name="Spring"),
            Link(id="l1", code="mail", target="https://www.shop.example/", campaign_id="spring"),
            Ambassador(id="a1", code="ann", name="Ann", campaign_id="spring"),
        )
        await Books(self.shop, "kiosk").has(
            Campaign(id="k-camp", code="k-camp", name="Kiosk"),
            Link(id="k-link", code="k-link", target="https://www.kiosk.example/"),
            Ambassador(id="k-amb", code="k-amb", name="Kim", campaign_id="k-camp"),
        )
        where: dict[str, Any] = {
            "campaign_id": "spring",
            "link_id": "l1",
            "ambassador_id": "a1",
            "source": "=cmd|' /C calc'!A0",
        }
        await books.clicks(10, **where)
        await books.sale("o-1", 9999, credit=[books.touch(hours=1, **where)], facts=FACTS, visitor=b"v" * 16)
        await books.sale("o-2", 4999, credit=[books.touch(hours=3, **where)], facts=FACTS)
        await books.sale("o-3", 700, test=True, credit=[books.touch(**where)])
        await books.sale("o-1", 9999, trust="server")
        path = [books.touch(0.25, hours=9, channel="paid_social"), books.touch(0.75, hours=2)]
        await books.sale(None, 1000, currency="JPY", goal="sign_up", days_ago=3, credit=path, facts=FACTS)

    async def get(self, path: str, key: str | None = None, **how: Any) -> Said:
        """One request with a key that may read reports."""
        headers = {"Authorization": f"Bearer {key if key is not None else self.key}"}
        return await self.shop.send("GET", path, headers=headers, **how)

    async def stream(self, path: str) -> tuple[int, Any, bytes]:
        """One request whose answer says no length: status, headers and body as a client of HTTP reads them."""
        url = f"http://127.0.0.1:{self.shop.port}{path}"
        headers = {"Authorization": f"Bearer {self.key}", "Host": HOST}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status, response.headers, await response.read()

    async def table(self, path: str) -> list[dict[str, str]]:
        """An export as CSV, read strictly."""
        status, headers, body = await self.stream(path)
        assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reader]:
    async with running(tmp_path_factory.mktemp("reports"), limits=UNLIMITED) as shop:
        made = Reader(shop)
        await made.fill()
        yield made


# ------------------------------------------------------------------ who may read


@pytest.mark.parametrize(
    "path", ["/api/v1/reports/campaigns", "/api/v1/exports/conversions", "/api/v1/analytics/conversions"]
)
async def test_only_a_key_with_the_right_reads(reader: Reader, path: str) -> None:
    refused_with(await reader.shop.send("GET", path), 401, "key_missing")
    refused_with(await reader.get(path, "gwk_abcdefgh_" + "x" * 43), 401, "key_invalid")
    other = (await reader.shop.new_key(rights=("events", "conversions", "manage")))["key"]
    refused_with(await reader.get(path, other), 403, "key_forbidden")


@pytest.mark.parametrize(
    "path", ["/api/v1/reports/campaigns", "/api/v1/exports/conversions", "/api/v1/analytics/conversions"]
)
async def test_row_39_a_key_of_another_site_is_unknown(reader: Reader, path: str) -> None:
    refused_with(await reader.get(path, reader.other_key), 401, "key_invalid")


@pytest.mark.parametrize(("name", "value"), [("campaign", "k-camp"), ("link", "k-link"), ("ambassador", "k-amb")])
async def test_row_39_entries_of_another_site_are_as_unknown_as_those_that_never_were(
    reader: Reader, name: str, value: str
) -> None:
    for path in ("/api/v1/reports/channels", "/api/v1/exports/conversions"):
        foreign, never = await reader.get(f"{path}?{name}={value}"), await reader.get(f"{path}?{name}=never-was")
        refused_with(foreign, 404, "entry_unknown", name)
        assert foreign.body == never.body
    mine = await reader.get("/api/v1/reports/channels?campaign=spring-26")
    assert mine.json()["filters"]["campaign"] == "spring"


async def test_row_39_a_site_has_its_own_figures(reader: Reader) -> None:
    found = await reader.get("/api/v1/reports/overview", reader.other_key, host=OTHER_HOST)
    assert found.json()["site"] == "kiosk"
    assert found.json()["rows"][0]["conversions"] == 0


async def test_nothing_is_changed_by_reading(reader: Reader) -> None:
    before = reader.shop.everything_stored()
    for name in reports.REPORTS:
        await reader.get(
            f"/api/v1/reports/{name}?steps=sign_up,purchase" if name == "funnel" else f"/api/v1/reports/{name}"
        )
    assert reader.shop.everything_stored() == before


# ------------------------------------------------------------------ strictness

SQL: Final = "1' or '1'='1';--"


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        pytest.param("limit=-1", "field_invalid", "limit", id="negative limit"),
        pytest.param("limit=1e9", "field_invalid", "limit", id="limit in exponents"),
        pytest.param("limit=0", "field_invalid", "limit", id="limit zero"),
        pytest.param("limit=1001", "field_invalid", "limit", id="limit too large"),
        pytest.param("limit=", "field_invalid", "limit", id="limit empty"),
        pytest.param("limit=%D9%A3", "field_invalid", "limit", id="limit in other digits"),
        pytest.param("sort=conversions;drop%20table%20event", "field_invalid", "sort", id="SQL in sort"),
        pytest.param("sort=--conversions", "field_invalid", "sort", id="a comment as sort"),
        pytest.param("sort=-worst", "field_invalid", "sort", id="the best of the worst"),
        pytest.param(f"goal={SQL}", "goal_unknown", "goal", id="SQL in goal"),
        pytest.param("goal=never_seen", "goal_unknown", "goal", id="an unknown goal"),
        pytest.param(f"goals={SQL}", "field_invalid", "goals", id="SQL in goals"),
        pytest.param("campaign=", "field_invalid", "campaign", id="an empty campaign"),
        pytest.param("link=a%0Ab", "field_invalid", "link", id="two lines in link"),
        pytest.param("ambassador=" + "x" * 257, "field_invalid", "ambassador", id="a long ambassador"),
        pytest.param(f"device={SQL}", "field_invalid", "device", id="SQL in device"),
        pytest.param(f"variant={SQL}", "field_invalid", "variant", id="SQL in variant"),
        pytest.param(f"currency={SQL}", "currency_unknown", "currency", id="SQL in currency"),
        pytest.param(f"model={SQL}", "field_invalid", "model", id="SQL in model"),
        pytest.param("model=" + "position_1_1_98" * 20, "field_invalid", "model", id="a long model"),
        pytest.param(f"from={SQL}", "field_invalid", "from", id="SQL in from"),
        pytest.param("from=2026-02-30", "field_invalid", "from", id="no such day"),
        pytest.param("from=2026-11-20&to=2026-11-19", "field_invalid", "from", id="a range that ends before it begins"),
        pytest.param("from=2025-10-16&to=2026-11-20", "field_invalid", "from", id="401 days"),
        pytest.param("from=0001-01-01", "field_invalid", "from", id="a deep range"),
        pytest.param("to=9999-12-31", "field_invalid", "to", id="the end of days"),
        pytest.param("to=2026-11-22", "field_invalid", "to", id="the day after tomorrow"),
        pytest.param("from=20261101", "field_invalid", "from", id="another way to write a day"),
        pytest.param("channel=", "field_invalid", "channel", id="an empty channel"),
        pytest.param("source=%00", "field_invalid", "source", id="NUL in source"),
        pytest.param("source=" + "x" * 257, "field_invalid", "source", id="a long source"),
        pytest.param("format=xml", "field_invalid", "format", id="another format"),
        pytest.param("goal=purchase&goal=sign_up", "field_invalid", "goal", id="a goal twice"),
        pytest.param("visitor=1", "field_unknown", "visitor", id="an unknown parameter"),
        pytest.param("%27or%201=1", "field_unknown", None, id="a parameter that is no name"),
        pytest.param("&".join([f"a{n}=1" for n in range(40)]), "fields_too_many", None, id="40 parameters"),
    ],
)
async def test_row_41_parameters_are_strict(reader: Reader, query: str, code: str, field: str | None) -> None:
    said = await reader.get(f"/api/v1/reports/campaigns?{query.replace(' ', '%20')}")
    refused_with(said, 400, code, field)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("goals=big", ["all", "macro", "micro"]),
        ("sort=best", [*SORTS, "worst"]),
        ("model=lastclick", list(MODELS)),
        ("format=xml", ["json", "csv", "jsonl"]),
        ("limit=0", None),
    ],
)
async def test_a_refused_word_is_answered_with_the_words_that_are_taken(
    reader: Reader, query: str, words: list[str] | None
) -> None:
    assert (await reader.get(f"/api/v1/reports/campaigns?{query}")).error.get("allowed") == words


@pytest.mark.parametrize("name", ["campaign", "link", "ambassador"])
async def test_row_41_names_of_entries_are_values_and_never_sql(reader: Reader, name: str) -> None:
    said = await reader.get(f"/api/v1/reports/channels?{name}={SQL.replace(' ', '%20')}")
    refused_with(said, 404, "entry_unknown", name)


@pytest.mark.parametrize("name", ["channel", "source", "medium", "utm_campaign"])
async def test_row_41_free_texts_are_values_and_never_sql(reader: Reader, name: str) -> None:
    said = await reader.get(f"/api/v1/reports/channels?{name}={SQL.replace(' ', '%20')}")
    assert (said.status, said.json()["rows"]) == (200, [])


async def test_row_41_four_hundred_days_are_taken(reader: Reader) -> None:
    assert (await reader.get("/api/v1/reports/campaigns?from=2025-10-17&to=2026-11-20")).status == 200


@pytest.mark.parametrize("name", sorted(reports.REPORTS))
async def test_row_41_each_report_takes_its_own_parameters_only(reader: Reader, name: str) -> None:
    for parameter in ("steps", "model", "limit", "campaign", "landing"):
        if parameter not in reports.REPORTS[name].takes:
            refused_with(await reader.get(f"/api/v1/reports/{name}?{parameter}=1"), 400, "field_unknown", parameter)


@pytest.mark.parametrize("path", ["/api/v1/reports/secrets", "/api/v1/reports/campaigns/x", "/api/v1/exports/visitors"])
async def test_row_42_an_unknown_name_is_not_found(reader: Reader, path: str) -> None:
    refused_with(await reader.get(path), 404, "report_unknown")


async def test_a_report_that_takes_too_long_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "REPORT_S", 0.0)
    refused_with(await reader.get("/api/v1/reports/campaigns"), 400, "report_too_large")


# ------------------------------------------------------------------ reports


async def test_every_report_answers_in_every_format(reader: Reader) -> None:
    for name in reports.REPORTS:
        steps = "&steps=sign_up,purchase" if name == "funnel" else ""
        found = await reader.get(f"/api/v1/reports/{name}?format=json{steps}")
        assert (found.status, found.header("content-type")) == (200, "application/json"), name
        rows = found.json()["rows"]
        table = await reader.get(f"/api/v1/reports/{name}?format=csv{steps}")
        assert table.header("content-type") == "text/csv; charset=utf-8"
        assert table.header("content-disposition") == f'attachment; filename="{name}.csv"'
        assert len(list(csv.reader(io.StringIO(table.body.decode(), newline="")))) == len(rows) + 1
        lines = await reader.get(f"/api/v1/reports/{name}?format=jsonl{steps}")
        assert [json.loads(line) for line in lines.body.splitlines()] == rows
        for said in (found, table, lines):
            assert said.header("cache-control") == "no-store"
            assert said.header("x-content-type-options") == "nosniff"


async def test_a_report_has_one_line_in_the_log_and_none_of_its_figures(reader: Reader) -> None:
    written = len(reader.shop.log_text)
    await reader.get("/api/v1/reports/campaigns?source=secret-source")
    lines = reader.shop.log("request_answered", since=written)
    assert [(line["route"], line["site"], line["status"]) for line in lines] == [("/api/v1/reports/*", "shop", 200)]
    assert "secret-source" not in reader.shop.log_text


async def test_operators_read_the_same_by_site(reader: Reader) -> None:
    mine = (await reader.get("/api/v1/reports/campaigns")).json()
    said = await reader.shop.admin("GET", "/api/admin/v1/reports/shop/campaigns")
    assert said.json() == mine
    refused_with(await reader.shop.admin("GET", "/api/admin/v1/reports/nowhere/campaigns"), 404, "site_unknown")
    refused_with(
        await reader.shop.admin("GET", "/api/admin/v1/reports/shop/campaigns", headers={}), 401, "admin_token_invalid"
    )
    refused_with(await reader.shop.admin("GET", "/api/admin/v1/reports/shop/nothing"), 404, "report_unknown")
    refused_with(
        await reader.shop.admin("GET", "/api/admin/v1/exports/shop/touches", headers={}), 401, "admin_token_invalid"
    )


# ------------------------------------------------------------------ exports


async def test_e30_the_export_has_one_row_per_conversion(reader: Reader) -> None:
    rows = await reader.table("/api/v1/exports/conversions")
    assert [(row["order_id"], row["currency"], row["value"]) for row in rows] == [
        ("", "JPY", "1000"),
        ("o-1", "EUR", "99.99"),
        ("o-2", "EUR", "49.99"),
    ], "tests and repeats are left out"
    assert list(rows[0]) == list(EXPORTS["conversions"])


async def test_e31_the_export_has_device_type_os_and_browser(reader: Reader) -> None:
    rows = await reader.table("/api/v1/exports/conversions")
    assert {(row["device"], row["os"], row["browser"]) for row in rows} == {("mobile", "iOS", "Mobile Safari")}


async def test_p64_conversions_leave_as_csv_and_as_json_lines(reader: Reader) -> None:
    table = await reader.table("/api/v1/exports/conversions")
    status, headers, body = await reader.stream("/api/v1/exports/conversions?format=jsonl")
    assert (status, headers["Content-Type"]) == (200, "application/x-ndjson; charset=utf-8")
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["conversion_id"] for line in lines] == [row["conversion_id"] for row in table]
    assert [line["value"] for line in lines] == ["1000", "99.99", "49.99"], "decimal text, no float"


async def test_r20_no_timestamps_need_matching_and_all_can_be_exported(reader: Reader) -> None:
    row = (await reader.table("/api/v1/exports/conversions?goal=purchase"))[0]
    told = {name: row[name] for name in ("campaign", "link_id", "ambassador", "model", "trust", "consent", "fate")}
    assert told == {
        "campaign": "Spring",
        "link_id": "l1",
        "ambassador": "Ann",
        "model": "last_non_direct",
        "trust": "browser",
        "consent": "functional analytics",
        "fate": "counted",
    }
    assert (row["winner_share"], row["time_to_convert_s"], row["touches"]) == ("1", "3600", "1")


async def test_r42_paths_of_touches_are_exported(reader: Reader) -> None:
    rows = await reader.table("/api/v1/exports/credits?goal=sign_up")
    told = [(row["position"], row["channel"], row["share"], row["value"]) for row in rows]
    assert told == [("0", "paid_social", "0.25", "250"), ("1", "email", "0.75", "750")]
    assert (await reader.table("/api/v1/exports/conversions?goal=sign_up"))[0]["path"] == "paid_social > email"


async def test_touches_are_exported_as_sums_by_day(reader: Reader) -> None:
    rows = await reader.table("/api/v1/exports/touches")
    assert [(row["day"], row["campaign_id"], row["human"], row["touches"]) for row in rows] == [
        ("2026-11-20", "spring", "yes", "10")
    ]


async def test_row_35_cells_of_exports_begin_with_no_formula(reader: Reader) -> None:
    for name in EXPORTS:
        for row in await reader.table(f"/api/v1/exports/{name}"):
            assert all(cell[:1] not in tuple("=+-@\t\r") for cell in row.values()), row
    sources = {row["source"] for row in await reader.table("/api/v1/exports/conversions?goal=purchase")}
    assert sources == {"'=cmd|' /C calc'!A0"}


@pytest.mark.parametrize("name", sorted(EXPORTS))
async def test_no_export_names_a_visitor(reader: Reader, name: str) -> None:
    _, _, body = await reader.stream(f"/api/v1/exports/{name}?format=jsonl")
    assert body
    for secret in (b"v" * 16, (b"v" * 16).hex().encode(), b"click-", b"visitor", b"person_key"):
        assert secret not in body


async def test_r52_a_filter_keeps_the_conversions_of_its_rows(reader: Reader) -> None:
    for query, orders in (
        ("campaign=spring", ["o-1", "o-2"]),
        ("link=mail&device=desktop", ["o-1", "o-2"]),
        ("ambassador=ann", ["o-1", "o-2"]),
        ("channel=paid_social", [""]),
        ("channel=sms", []),
        ("goals=macro&from=2026-11-20", ["o-1", "o-2"]),
        ("landing=%2F&goal=sign_up", [""]),
    ):
        rows = await reader.table(f"/api/v1/exports/conversions?{query}")
        assert [row["order_id"] for row in rows] == orders, query


async def test_exports_are_read_page_by_page(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gateway.flows.report_scan.pages.__kwdefaults__", {"after_ms": None, "upto_ms": None, "page": 1}
    )
    assert len(await reader.table("/api/v1/exports/conversions")) == 3


async def test_the_head_of_an_export_is_that_of_the_whole(reader: Reader) -> None:
    url = f"http://127.0.0.1:{reader.shop.port}/api/v1/exports/touches"
    headers = {"Authorization": f"Bearer {reader.key}", "Host": HOST}
    async with aiohttp.ClientSession() as session, session.head(url, headers=headers) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Content-Disposition"] == 'attachment; filename="touches.csv"'
        assert response.headers["Cache-Control"] == "no-store"


async def test_an_export_that_is_cut_off_cannot_be_taken_for_a_whole_one(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(conversion_ids: Sequence[str]) -> None:
        raise StoreBusy("the store is locked")

    monkeypatch.setattr(reader.shop.gateway.house.store, "attributions", busy)
    written = len(reader.shop.log_text)
    with pytest.raises(aiohttp.ClientError):
        await reader.stream("/api/v1/exports/conversions")
    lines = reader.shop.log("export_cut_off", since=written)
    assert [(line["site"], line["export"], line["kind"]) for line in lines] == [("shop", "conversions", "StoreBusy")]


# ------------------------------------------------------------------ metrics of a link, in the shape of a link tracker


async def test_p33_metrics_of_a_link_and_period(reader: Reader) -> None:
    found = (await reader.get("/api/v1/analytics/conversions?link_id=l1&days=7")).json()
    assert found == {
        "conversions": 2,
        "conversion_rate": 20.0,
        "total_value": 149.98,
        "average_value": 74.99,
        "time_to_convert": 7200.0,
        "currency": "EUR",
        "clicks": 10,
        "by_currency": {"EUR": {"total_value": 149.98, "average_value": 74.99}},
        "link_id": "l1",
        "days": 7,
    }


async def test_p42_the_average_is_the_total_by_all_conversions(tmp_path: Any) -> None:
    async with running(tmp_path) as shop:
        books = Books(shop)
        await books.sale("o-1", 9999)
        await books.sale("o-2", 4999)
        await books.sale("o-3", goal="sign_up")
        key = (await shop.new_key(rights=("reports",)))["key"]
        said = await shop.send("GET", "/api/v1/analytics/conversions", headers={"Authorization": f"Bearer {key}"})
        assert (said.json()["conversions"], said.json()["average_value"]) == (3, 49.99)


async def test_p33_metrics_of_everything_keep_currencies_apart(reader: Reader) -> None:
    found = (await reader.get("/api/v1/analytics/conversions")).json()
    assert (found["conversions"], found["total_value"], found["currency"], found["days"]) == (3, None, None, 30)
    assert found["by_currency"] == {
        "EUR": {"total_value": 149.98, "average_value": 74.99},
        "JPY": {"total_value": 1000, "average_value": 1000},
    }
    assert (await reader.get("/api/v1/analytics/conversions?days=1")).json()["conversions"] == 2


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("days=0", 400, "field_invalid", "days"),
        ("days=401", 400, "field_invalid", "days"),
        ("days=-1", 400, "field_type", "days"),
        ("link_id=k-link", 404, "entry_unknown", "link_id"),
        ("link=l1", 400, "field_unknown", "link"),
    ],
)
async def test_p33_metrics_take_a_link_and_days(reader: Reader, query: str, status: int, code: str, field: str) -> None:
    refused_with(await reader.get(f"/api/v1/analytics/conversions?{query}"), status, code, field)


# ------------------------------------------------------------------ what is printed can be asked for


@pytest_asyncio.fixture(loop_scope="module")
async def labelled(tmp_path: Path) -> AsyncIterator[Reader]:
    async with running(tmp_path, limits=UNLIMITED, shop={"conversion_events": ["purchase"]}) as shop:
        reader = Reader(shop)
        await reader.fill()
        await reader.books.has(
            Goal(id="g1", code="first_order", name="First order"),
            Goal(id="g2", code="start_trial", name="Trial begun"),
            Goal(id="g3", code="subscribe", name="Ordered once", archived=True),
            Campaign(id="c2", code="fair", name="Trade fair"),
            Campaign(id="c3", code="fair-2", name="Trade Fair", archived=True),
            Campaign(id="c4", code="trade", name="mail"),
            Link(
                id="l2", code="top", title="Newsletter, top", target="https://www.shop.example/", campaign_id="spring"
            ),
            Link(id="l3", code="twin", title="Twin", target="https://www.shop.example/"),
            Link(id="l4", code="twin-2", title="twin", target="https://www.shop.example/"),
        )
        await reader.books.clicks(3, channel="paid_social", source="", medium="", device="", link_id="l2")
        yield reader


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("campaign=sPRING", {"campaign": "spring"}),
        ("campaign=Spring-26", {"campaign": "spring"}),
        ("campaign=mail", {"campaign": "c4"}),
        ("link=newsletter,%20top", {"link": "l2"}),
        ("link=mail", {"link": "l1"}),
        ("ambassador=ANN", {"ambassador": "a1"}),
        ("channel=Paid%20Social", {"channel": "paid_social"}),
        ("channel=paid_social", {"channel": "paid_social"}),
        ("channel=podcast", {"channel": "podcast"}),
        ("source=%28no%20source%29", {"source": "(no source)"}),
        ("device=%28no%20device%29", {"device": "(no device)"}),
        ("goal=Purchase", {"goal": "purchase"}),
        ("goal=first%20Order", {"goal": "first_order"}),
        ("goal=newsletter%20Signup", {"goal": "newsletter_signup"}),  # a preset without an entry
        ("goal=add_to_cart", {"goal": "add_to_cart"}),
        ("goal=Trial%20Begun", {"goal": "start_trial"}),  # a preset's entry with a name of its own
        ("goal=Ordered%20once", {"goal": "subscribe"}),  # an archived entry
        ("goal=Paid%20subscription", {"goal": "subscribe"}),  # what reports call it now
        ("campaign=%28no%20campaign%29", {"campaign": "(no campaign)"}),
        ("channel=organic%20social", {"channel": "organic social"}),
        ("channel=Organic%20Social", {"channel": "organic_social"}),
    ],
)
async def test_what_reports_print_can_be_asked_for(labelled: Reader, asked: str, code: dict[str, str]) -> None:
    said = await labelled.get(f"/api/v1/reports/channels?{asked}")
    assert said.status == 200, said.body
    assert said.json()["filters"] == code | ({} if "goal" in code else {"goals": "macro"})


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ("campaign=trade%20fair", 400, "name_ambiguous"),
        ("link=Twin", 200, ""),  # a code, and codes win
        ("link=Twin%20", 404, "entry_unknown"),
        ("campaign=Autumn", 404, "entry_unknown"),
        ("goal=First", 400, "goal_unknown"),
        ("goal=Free%20trial", 400, "goal_unknown"),  # no report calls it so
        ("campaign=%28No%20campaign%29", 404, "entry_unknown"),
    ],
)
async def test_a_name_of_several_entries_is_not_guessed(labelled: Reader, asked: str, status: int, code: str) -> None:
    said = await labelled.get(f"/api/v1/reports/channels?{asked}")
    if code:
        refused_with(said, status, code, asked.partition("=")[0])
    else:
        assert said.json()["filters"]["link"] == "l3"


async def test_a_row_of_nobody_is_counted_when_it_is_asked_for(labelled: Reader) -> None:
    rows = (await labelled.get("/api/v1/reports/sources?source=%28no%20source%29")).json()["rows"]
    assert [(row["key"]["name"], row["clicks"]) for row in rows] == [("(no source)", 3)]
    rows = (await labelled.get("/api/v1/reports/channels?channel=Paid%20Social")).json()["rows"]
    assert [(row["key"]["name"], row["clicks"]) for row in rows] == [("Paid Social", 3)]


async def test_titles_of_links_are_looked_through_up_to_a_bound(
    labelled: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused_with(await labelled.get("/api/v1/reports/channels?link=twin%2D3"), 404, "entry_unknown", "link")
    monkeypatch.setattr(report_names, "LINKS_READ", 3)
    refused_with(await labelled.get("/api/v1/reports/channels?link=Nowhere"), 400, "name_ambiguous", "link")


async def test_the_list_of_conversions_takes_names_too(labelled: Reader) -> None:
    found = (await labelled.get("/api/v1/conversions?campaign=Spring&goal=Purchase")).json()
    assert (found["filters"], len(found["conversions"])) == ({"campaign": "spring", "goal": "purchase"}, 3)
