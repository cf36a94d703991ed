"""Landing pages: what each brought, by the credit as it was decided, as numbers on a real store."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.catalogue import Goal
from gateway.flows.report_asking import date_text
from gateway.stores.contract_credit import AdjustmentApplied, AdjustmentRow
from tests.support.reporting import Books, codes, euros, keyed
from tests.support.running import running

THIRD: Final = 1 / 3


@pytest_asyncio.fixture
async def books(tmp_path: Any) -> AsyncIterator[Books]:
    async with running(tmp_path) as shop:
        yield Books(shop)


async def test_shares_money_persons_and_time_are_told_of_each_page(books: Books) -> None:
    await books.sale(
        "o-1", 1000, credit=[books.touch(0.25, landing="/a", hours=9), books.touch(0.75, landing="/b", hours=2)]
    )
    await books.sale("o-2", 501, first=False, credit=[books.touch(landing="/a", hours=1)])
    await books.sale("o-3", credit=[books.touch(landing="/b", hours=4)])
    await books.sale("o-4", 700, currency="USD", credit=[books.touch(landing="", hours=3)])
    await books.sale("o-5", 900)
    found = await books.report("landing")
    rows = keyed(found, "landing")
    told = {
        page: (row["conversions"], row["converting_persons"], row["time_to_convert"], row["share_of_conversions_pct"])
        for page, row in rows.items()
    }
    assert told == {
        "/a": (1.25, 0.25, {"average_s": "4320.0", "conversions": 1.25}, "31.25"),
        "/b": (1.75, 1.75, {"average_s": "11314.3", "conversions": 1.75}, "43.75"),
        "": (1, 1, {"average_s": "10800.0", "conversions": 1}, "25.00"),
    }
    assert [row["key"]["name"] for row in found["rows"]] == ["/b", "/a", "(no landing)"]
    assert (euros(rows["/a"])["value"], euros(rows["/a"])["conversions"]) == ("7.51", 1.25)
    assert (euros(rows["/b"])["value"], euros(rows["/b"])["conversions"]) == ("7.50", 0.75)
    assert [(one["currency"], one["value"]) for one in rows[""]["money"]] == [("USD", "7.00")]
    assert found["unattributed"] == {"conversions": 1, "value": {"EUR": "9.00", "USD": "0.00"}, "all_conversions": 5}
    assert found["totals"]["conversions"] == 4
    assert codes(found["notes"]) == {"clicks", "persons", "shares", "spend_not_split", "landing_clicks"}


async def test_a_page_that_shares_a_conversion_with_itself_has_all_of_it(books: Books) -> None:
    touches = [books.touch(THIRD, landing="/a", hours=9 - place) for place in range(3)]
    await books.sale("o-1", 1001, credit=touches)
    row = await books.row("landing")
    assert (row["conversions"], euros(row)["value"], row["time_to_convert"]["average_s"]) == (1, "10.01", "25200.0")


async def test_a_page_that_earned_nothing_has_no_row(books: Books) -> None:
    await books.sale("o-1", 1000, credit=[books.touch(0, landing="/a", hours=9), books.touch(landing="/b")])
    found = await books.report("landing")
    assert [row["key"]["landing"] for row in found["rows"]] == ["/b"]


async def test_seconds_are_averaged_to_the_last_digit(books: Books) -> None:
    """60 seconds shared by three are 60 seconds each, however small the shares."""
    parts = [books.touch(0.0001, landing="/tiny", hours=1 / 60), books.touch(0.9999, landing="/rest", hours=1 / 60)]
    await books.sale("o-1", 100, credit=parts)
    rows = keyed(await books.report("landing"), "landing")
    assert [rows[page]["time_to_convert"]["average_s"] for page in ("/tiny", "/rest")] == ["60.0", "60.0"]


async def test_tests_and_repeats_are_in_no_page_and_what_was_taken_back_has_no_net_value(books: Books) -> None:
    gone = await books.sale("o-1", 1000, credit=[books.touch(0.5, landing="/a"), books.touch(0.5, landing="/b")])
    await books.sale("o-2", 900, test=True, credit=[books.touch(landing="/c")])
    await books.sale("o-1", 1000)
    await _adjusted(books, gone, "refund", 301)
    rows = keyed(await books.report("landing"), "landing")
    assert {page: (euros(row)["value"], euros(row)["net_value"]) for page, row in rows.items()} == {
        "/a": ("5.00", "1.51"),
        "/b": ("5.00", "1.50"),
    }
    await _adjusted(books, gone, "retract", 0, known=2)
    rows = keyed(await books.report("landing"), "landing")
    assert {page: (row["conversions"], euros(row)["net_value"]) for page, row in rows.items()} == {
        "/a": (0.5, "0.00"),
        "/b": (0.5, "0.00"),
    }


async def _adjusted(books: Books, conversion_id: str, kind: str, net_minor: int, known: int = 1) -> None:
    row = AdjustmentRow(
        adjustment_id=f"adjust-{known}", conversion_id=conversion_id, goal="purchase", order_id="o-1", kind=kind,
        amount_minor=None if kind == "retract" else 699, currency="EUR", reason="", at_ms=books.now_ms,
        received_at_ms=books.now_ms, trust="server",
    )  # fmt: skip
    fate = "retracted" if kind == "retract" else "counted"
    applied = AdjustmentApplied(fate=fate, reason="first_with_key", net_minor=net_minor, known=known)
    assert await books.house.store.put_adjustment("shop", row, applied) == "recorded"


async def test_the_range_has_both_its_days_and_no_other(books: Books) -> None:
    for days_ago in range(5):
        await books.sale(f"o-{days_ago}", 100, days_ago=days_ago, credit=[books.touch(landing=f"/{days_ago}")])
    found = await books.report("landing", from_=date_text(books.today - 3), to=date_text(books.today - 1))
    assert sorted(row["key"]["landing"] for row in found["rows"]) == ["/1", "/2", "/3"]


async def test_pages_are_told_of_one_goal_of_one_kind_and_of_one_currency(books: Books) -> None:
    await books.has(Goal(id="g1", code="basket", name="Basket", macro=False))
    await books.sale("o-1", 100, credit=[books.touch(landing="/a")])
    await books.sale("o-2", goal="sign_up", credit=[books.touch(landing="/b")])
    await books.sale("o-3", goal="basket", credit=[books.touch(landing="/c")])
    await books.sale("o-4", 100, currency="JPY", credit=[books.touch(landing="/a")])

    async def told(**query: str) -> dict[str, float]:
        return {row["key"]["landing"]: row["conversions"] for row in (await books.report("landing", **query))["rows"]}

    assert await told() == {"/a": 2, "/b": 1}
    assert await told(goals="all") == {"/a": 2, "/b": 1, "/c": 1}
    assert await told(goals="micro") == {"/c": 1}
    assert await told(goal="sign_up") == {"/b": 1}
    only = await books.row("landing", currency="JPY")
    assert (only["conversions"], [one["currency"] for one in only["money"]]) == (2, ["JPY"])


@pytest.mark.parametrize(
    ("sort", "order"),
    [("conversions", "abc"), ("-conversions", "cba"), ("value", "cba"), ("name", "abc"), ("persons", "bac")],
)
async def test_pages_are_sorted_and_cut(books: Books, sort: str, order: str) -> None:
    for page, times, value in (("a", 3, 100), ("b", 2, 400), ("c", 1, 900)):
        for number in range(times):
            await books.sale(
                f"{page}-{number}", value, first=page != "a" or number == 0, credit=[books.touch(landing=f"/{page}")]
            )
    found = await books.report("landing", sort=sort, limit="2")
    assert "".join([row["key"]["landing"].strip("/") for row in found["rows"]]) == order[:2]
    assert (found["rows_total"], "rows_left_out" in codes(found["notes"])) == (3, True)


async def test_pages_of_one_source_are_those_of_its_touches(books: Books) -> None:
    for number in range(24):
        path = [
            books.touch(0.5, landing="/a" if number % 2 else "/c", source="ads", hours=3),
            books.touch(0.5, landing="/b"),
        ]
        await books.sale(f"o-{number}", 1000, credit=path)
    found = await books.report("landing", source="ads")
    assert {row["key"]["landing"]: row["conversions"] for row in found["rows"]} == {"/a": 6, "/c": 6}
    few = await books.report("landing", source="ads", device="desktop", from_=date_text(books.today))
    assert [row["suppressed"] for row in few["rows"]] == ["no", "no"]
    assert few["totals"]["time_to_convert"] == {"average_s": "3600.0", "conversions": 12}
