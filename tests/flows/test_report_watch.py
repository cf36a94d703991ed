"""Small counts that are left out, the overview and its warnings, reconciliation, and the shapes of every report."""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from gateway.catalogue import Campaign, Link
from gateway.flows import reports
from gateway.flows.report_asking import date_text
from gateway.flows.report_texts import csv_of, jsonl_of, text_of
from tests.support.reporting import Books, codes, keyed
from tests.support.running import running

SPRING: Final = Campaign(id="spring", code="spring", name="Spring")


@pytest_asyncio.fixture
async def books(tmp_path: Any) -> AsyncIterator[Books]:
    async with running(tmp_path) as shop:
        yield Books(shop)


# ------------------------------------------------------------------ small counts


async def test_row_46_adjacent_filters_do_not_isolate_one_visitor(books: Books) -> None:
    """Nine mobile visitors and one tablet in a campaign: by device the tablet is not shown, nor can it be subtracted."""
    await books.has(SPRING)
    await books.clicks(9, campaign_id="spring", device="mobile")
    await books.clicks(1, campaign_id="spring", device="tablet")
    for number in range(9):
        await books.sale(f"o-{number}", 100, credit=[books.touch(campaign_id="spring", device="mobile")])
    await books.sale("o-t", 7777, credit=[books.touch(campaign_id="spring", device="tablet")])
    found = await books.report("devices", campaign="spring")
    assert {row["suppressed"] for row in found["rows"]} == {"whole"}
    assert all(set(row) == {"key", "suppressed", "conversions_query"} for row in found["rows"])
    assert "7777" not in repr(found)
    assert "77.77" not in repr(found)
    assert "suppressed" in codes(found["notes"])
    assert (await books.row("campaigns"))["conversions"] == 10, "totals of campaigns are always shown"
    assert len(keyed(await books.report("devices"), "device")) == 2, (
        "devices of the whole site are one way to narrow down"
    )


async def test_row_46_the_last_day_cannot_be_subtracted(books: Books) -> None:
    """Six buyers on one day and one on the next: the range with the next day shows no more than the one without."""
    await books.has(SPRING)
    for number in range(6):
        await books.sale(f"o-{number}", 100, days_ago=2, credit=[books.touch(campaign_id="spring", device="mobile")])
    await books.sale("o-x", 7777, days_ago=1, credit=[books.touch(campaign_id="spring", device="mobile")])
    days = {"from_": date_text(books.today - 9)}
    until = await books.row("devices", campaign="spring", to=date_text(books.today - 2), **days)
    beyond = await books.row("devices", campaign="spring", to=date_text(books.today - 1), **days)
    assert (until["conversions"], until["suppressed"]) == (6, "no")
    assert beyond["suppressed"] != "no"
    assert beyond.get("conversions", 0) in (0, 6)


async def test_row_46_clicks_of_few_cannot_be_subtracted_either(books: Books) -> None:
    await books.has(SPRING)
    await books.clicks(9, campaign_id="spring", device="mobile")
    await books.clicks(1, campaign_id="spring", device="tablet")
    assert {row["suppressed"] for row in (await books.report("devices", campaign="spring"))["rows"]} == {"whole"}


async def test_row_46_enough_visitors_are_shown(books: Books) -> None:
    await books.has(SPRING)
    await books.clicks(5, campaign_id="spring", device="mobile")
    row = await books.row("devices", campaign="spring")
    assert (row["clicks"], row["suppressed"]) == (5, "no")


async def test_row_46_one_person_who_buys_often_is_one_person(books: Books) -> None:
    await books.has(SPRING)
    for number in range(8):
        await books.sale(f"o-{number}", first=number == 0, credit=[books.touch(campaign_id="spring", device="mobile")])
    assert (await books.row("devices", campaign="spring"))["suppressed"] == "whole"


async def test_suppression_is_a_setting_of_the_site(tmp_path: Any) -> None:
    async with running(tmp_path, shop={"reports": {"suppress_under": 0}}) as shop:
        books = Books(shop)
        await books.has(SPRING)
        await books.clicks(1, campaign_id="spring", device="tablet")
        assert (await books.row("devices", campaign="spring"))["clicks"] == 1


# ------------------------------------------------------------------ overview, health, reconciliation


async def test_c22_the_rate_of_us_shops_is_a_sourced_and_dated_line(books: Books) -> None:
    await a_benchmark(books, "2.60", 2021)


async def test_c23_the_rate_of_consumer_goods_is_a_sourced_line(books: Books) -> None:
    await a_benchmark(books, "4.22", None)


async def test_c24_the_rate_of_home_and_furniture_is_a_sourced_line(books: Books) -> None:
    await a_benchmark(books, "1.44", None)


async def test_c25_beside_benchmarks_stands_why_they_mislead(books: Books) -> None:
    for name in ("overview", "campaigns", "goals"):
        assert "misleads" in (await books.report(name))["benchmark_help"]


async def a_benchmark(books: Books, rate: str, year: int | None) -> None:
    for name in ("overview", "campaigns", "goals"):
        found = await books.report(name)
        line = next(one for one in found["benchmarks"] if one["rate_pct"] == rate)
        assert line["year"] == year
        assert "CartBoss" in line["source"]


async def test_c09_the_rate_stands_with_its_numerator_and_denominator(books: Books) -> None:
    await books.clicks(3)
    await books.sale("o-1", credit=[books.touch()])
    assert (await books.row("overview"))["conversion_rate"] == {"pct": "33.33", "conversions": 1, "clicks": 3}


async def test_the_overview_tells_each_day(books: Books) -> None:
    await books.clicks(2, days_ago=1)
    await books.sale("o-1", 100)
    found = await books.report("overview", from_=date_text(books.today - 2))
    assert [(day["conversions"], day["clicks"]) for day in found["days"]] == [(0, 0), (0, 2), (1, 0)]


async def test_steps_and_ends_can_be_told_apart(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch()])
    await books.sale("o-2", goal="add_to_cart", credit=[books.touch()])
    assert "micro_goals" in codes((await books.report("campaigns", goals="all"))["notes"])
    unasked = await books.report("campaigns")
    assert (unasked["filters"], unasked["totals"]["conversions"]) == ({"goals": "macro"}, 1), "a step earns nothing"
    assert (await books.report("campaigns", goal="add_to_cart"))["totals"]["conversions"] == 1
    for goals, conversions in (("all", 2), ("macro", 1), ("micro", 1)):
        assert (await books.report("campaigns", goals=goals))["totals"]["conversions"] == conversions, goals


async def test_k20_the_last_event_was_some_minutes_ago_and_silence_is_told(tmp_path: Any) -> None:
    await falls_silent(tmp_path)


async def test_c51_the_overview_looks_at_the_set_up(tmp_path: Any) -> None:
    await falls_silent(tmp_path)


async def falls_silent(tmp_path: Any) -> None:
    async with running(tmp_path, shop={"reports": {"silence_warn_minutes": 60}}) as shop:
        books = Books(shop)
        assert (await books.report("overview"))["health"]["minutes_ago"] is None
        assert (await shop.collect({"name": "page_view"})).status == 204
        assert (await books.report("overview"))["health"]["minutes_ago"] == 0
        shop.move(seconds=59 * 60)
        found = await books.report("overview")
        assert (found["health"]["minutes_ago"], found["health"]["silent"]) == (59, False)
        assert not shop.log("site_silent")
        shop.move(seconds=120)
        found = await books.report("overview")
        assert (found["health"]["minutes_ago"], found["health"]["silent"]) == (61, True)
        assert "silent" in codes(found["warnings"])
        await books.report("overview")
        assert [line["minutes"] for line in shop.log("site_silent") if line["site"] == "shop"] == [61], "told once"


async def test_c53_page_and_shop_orders_are_held_against_each_other(books: Books) -> None:
    for number in range(8):
        await books.sale(f"o-{number}", 100, trust="browser")
    for number in range(6):
        await books.sale(f"o-{number}", 100, trust="server")
    for number in range(8, 10):
        await books.sale(f"o-{number}", 100, trust="server")
    found = await books.report("reconciliation")
    assert found["orders"] == {"reported_first_by_pages": 8, "reported_first_by_shop": 2, "repeats": 6}
    rows = keyed(found, "compared")
    missing = rows["page_orders_not_in_shop"]
    assert (missing["missing"], missing["of"], missing["gap_pct"], missing["warning"]) == (2, 10, "20.00", True)
    assert rows["shop_orders_not_on_pages"]["warning"] is False


@pytest.mark.parametrize(
    ("pages", "shop", "row", "cause"),
    [
        (20, 0, "page_orders_not_in_shop", "no_shop_data"),
        (0, 20, "shop_orders_not_on_pages", "page_missing"),
    ],
)
async def test_c54_a_large_gap_is_warned_about_with_its_likely_cause(
    books: Books, pages: int, shop: int, row: str, cause: str
) -> None:
    for number in range(pages):
        await books.sale(f"p-{number}", 100, trust="browser")
    for number in range(shop):
        await books.sale(f"s-{number}", 100, trust="server")
    found = keyed(await books.report("reconciliation"), "compared")[row]
    assert (found["warning"], found["cause"]) == (True, cause)
    assert found["likely"]


async def test_c54_the_threshold_is_a_setting(tmp_path: Any) -> None:
    async with running(tmp_path, shop={"reports": {"gap_warn_pct": 25}}) as shop:
        books = Books(shop)
        for number in range(10):
            await books.sale(f"o-{number}", 100, trust="browser")
        for number in range(8):
            await books.sale(f"o-{number}", 100, trust="server")
        found = keyed(await books.report("reconciliation"), "compared")["page_orders_not_in_shop"]
        assert (found["gap_pct"], found["warning"], found["cause"]) == ("20.00", False, None)


# ------------------------------------------------------------------ drilling down, shapes, limits


async def test_r52_every_row_leads_to_its_conversions(books: Books) -> None:
    await books.has(SPRING, Link(id="l1", code="mail", target="https://www.shop.example/"))
    wanted = books.touch(
        campaign_id="spring", link_id="l1", channel="sms", source="blast", device="tablet", landing="/x"
    )
    ids = {await books.sale(f"o-{number}", 100, credit=[wanted]) for number in range(6)}
    await books.sale("o-other", 100, credit=[books.touch()])
    for name in ("campaigns", "links", "channels", "sources", "devices", "landing"):
        row = (await books.report(name))["rows"][0]
        path, _, query = row["conversions_query"].partition("?")
        assert path == "/api/v1/exports/conversions"
        asked = dict(part.split("=") for part in query.replace("%2F", "/").split("&"))
        lines = [line async for line in await reports.export(books.house, books.rooms, "conversions", asked, csv=False)]
        assert {msgspec.json.decode(line)["conversion_id"] for line in lines} == ids, name


async def test_r52_the_query_of_a_row_keeps_what_the_report_was_narrowed_down_by(books: Books) -> None:
    await books.has(SPRING)
    for goal in ("purchase", "sign_up"):
        await books.sale(f"o-{goal}", goal=goal, credit=[books.touch(campaign_id="spring", channel="sms")])
    row = await books.row("channels", campaign="spring", goal="sign_up", goals="macro", currency="EUR")
    assert row["conversions_query"].partition("?")[2].split("&")[2:] == [
        "campaign=spring",
        "goal=sign_up",
        "goals=macro",
        "channel=sms",
    ]


async def test_limit_cuts_rows_and_says_so(books: Books) -> None:
    for name in "abc":
        await books.clicks(1, source=name)
    found = await books.report("sources", limit="2")
    assert (len(found["rows"]), found["rows_total"]) == (2, 3)
    assert "rows_left_out" in codes(found["notes"])
    assert found["totals"]["clicks"] == 3


async def test_the_range_has_both_its_days_and_no_other(books: Books) -> None:
    for days_ago in (0, 1, 2, 3):
        await books.sale(f"o-{days_ago}", 100, days_ago=days_ago, credit=[books.touch()])
    found = await books.report("channels", from_=date_text(books.today - 2), to=date_text(books.today - 1))
    assert found["totals"]["conversions"] == 2
    assert (await books.report("channels"))["from"] == date_text(books.today - 29)


@pytest.mark.parametrize("name", sorted(reports.REPORTS))
async def test_a_report_becomes_csv_json_lines_and_text(books: Books, name: str) -> None:
    await books.has(SPRING)
    await books.clicks(6, campaign_id="spring", link_id="l1", variant="a", ambassador_id="a1", source="=HYPERLINK(1)")
    await books.sale(
        "o-1", 9999, credit=[books.touch(campaign_id="spring", link_id="l1", variant="a", source="=HYPERLINK(1)")]
    )
    found = await books.report(name, **({"steps": "sign_up,purchase"} if name == "funnel" else {}))
    table = b"".join(csv_of(found)).decode().split("\r\n")
    assert len(table) == len(found["rows"]) + 2
    assert len(list(jsonl_of(found))) == len(found["rows"])
    assert found["title"] in text_of(found)
    assert "=HYPERLINK" not in [cell for line in table for cell in line.split(",")]


async def test_row_35_texts_of_strangers_are_guarded_in_csv_and_negative_numbers_stay_numbers(books: Books) -> None:
    await books.spent(100, campaign_id="-1")
    await books.clicks(1, campaign_name="=1+1")
    table = b"".join(csv_of(await books.report("campaigns"))).decode()
    assert ",'=1+1," in table
    assert table.split("\r\n")[1].startswith("'") or "\r\n'-1," in table
    assert ",-100.00," in table
