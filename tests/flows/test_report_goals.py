"""Goals, paths, funnels and other models, as numbers on a real store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.attribution.registry import MODELS
from gateway.catalogue import Goal
from gateway.flows import report_models, report_scan
from gateway.stores.contract_credit import AdjustmentApplied, AdjustmentRow
from tests.support.reporting import Books, codes, euros, keyed, refused
from tests.support.running import running


@pytest_asyncio.fixture
async def books(tmp_path: Any) -> AsyncIterator[Books]:
    async with running(tmp_path) as shop:
        yield Books(shop)


# ------------------------------------------------------------------ goals, paths, funnels


async def test_p55_target_and_actual_rate_of_a_goal(books: Books) -> None:
    await books.has(
        Goal(id="g1", code="purchase", name="Purchase", type="purchase", target_rate_ppm=100_000),
        Goal(id="g2", code="sign_up", name="Sign-up", target_rate_ppm=500_000, description="An account"),
    )
    await books.clicks(10)
    for number in range(4):
        await books.sale(f"o-{number}", 500)
        await books.sale(f"s-{number}", goal="sign_up")
    rows = keyed(await books.report("goals"), "goal")
    assert rows["purchase"]["target"] == {"rate_pct": "10.00", "actual_pct": "40.00", "reached": True}
    assert rows["sign_up"]["target"] == {"rate_pct": "50.00", "actual_pct": "40.00", "reached": False}
    assert "below_target" in codes(rows["sign_up"]["warnings"])
    assert rows["sign_up"]["key"]["description"] == "An account"


async def test_p61_duplicates_are_counted_and_missing_order_ids_warned_about(books: Books) -> None:
    await books.sale("o-1", 100)
    await books.sale("o-1", 100)
    row = await books.row("goals")
    assert (row["conversions"], row["duplicates"], codes(row["warnings"])) == (1, 1, {"many_duplicates"})


async def test_p61_a_purchase_goal_without_order_ids_is_warned_about(books: Books) -> None:
    await books.sale(None, 100)
    row = await books.row("goals")
    assert (row["without_order"], codes(row["warnings"])) == (1, {"no_order_ids"})
    await books.sale("o-1", 100)
    assert codes((await books.row("goals"))["warnings"]) == {"some_without_order_ids"}


async def test_p39_conversions_equal_the_stored_rows(books: Books) -> None:
    for number in range(3):
        await books.sale(f"o-{number}", credit=[books.touch()] if number else [])
    stored = await books.house.store.conversions_page("shop", after_ms=0, upto_ms=1 << 50)
    assert len(stored) == 3
    assert (await books.row("goals"))["conversions"] == 3
    found = await books.report("channels")
    assert (found["totals"]["conversions"], found["unattributed"]["conversions"]) == (2, 1)


async def test_x3_conversions_nobody_is_credited_with_are_a_row_of_their_own(books: Books) -> None:
    await books.sale("o-1", 1000, credit=[books.touch(channel="direct", kind="direct")])
    await books.sale("o-2", 500)
    found = await books.report("channels")
    assert [(row["key"]["channel"], row["conversions"]) for row in found["rows"]] == [("direct", 1)]
    assert found["unattributed"] == {"conversions": 1, "value": {"EUR": "5.00"}, "all_conversions": 2}


async def test_p43_time_to_convert_is_two_hours_and_leaves_out_unattributed_ones(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(hours=1)])
    await books.sale("o-2", 100, credit=[books.touch(hours=3)])
    await books.sale("o-3", 100)
    row = await books.row("time_to_convert")
    assert (row["average_s"], row["median_s"], row["timed"], row["conversions"]) == ("7200.0", "7200.0", 2, 3)
    assert (await books.row("channels"))["time_to_convert"] == {"average_s": "7200.0", "conversions": 2}


async def test_p43_what_was_taken_back_and_tests_are_in_the_average_but_not_in_the_median(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(hours=1)])
    await books.sale("o-2", 100, test=True, credit=[books.touch(hours=9)])
    gone = await books.sale("o-3", 100, credit=[books.touch(hours=3)])
    row = AdjustmentRow(
        adjustment_id="adjust-1", conversion_id=gone, goal="purchase", order_id="o-3", kind="retract", amount_minor=None,
        currency=None, reason="", at_ms=books.now_ms, received_at_ms=books.now_ms, trust="server",
    )  # fmt: skip
    applied = AdjustmentApplied(fate="retracted", reason="taken_back", net_minor=0, known=1)
    assert await books.house.store.put_adjustment("shop", row, applied) == "recorded"
    found = await books.report("time_to_convert")
    told = {name: found["rows"][0][name] for name in ("average_s", "timed", "median_s", "sampled")}
    assert told == {"average_s": "7200.0", "timed": 2, "median_s": "3600.0", "sampled": 1}
    assert found["sample"] == {"conversions": 3, "tests": 1, "whole": True}


async def test_tests_are_in_no_landing_page_and_no_other_model(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch()])
    await books.sale("o-2", 900, test=True, credit=[books.touch()])
    assert (await books.row("landing"))["conversions"] == 1
    assert (await books.row("channels", model="linear"))["conversions"] == 1


async def test_p43_the_median_of_many_is_of_a_sample_of_the_whole_range(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.report_paths.SAMPLE", 20)
    for number in range(40):
        await books.sale(f"o-{number}", 100, days_ago=number % 20, credit=[books.touch(hours=2)])
    found = await books.report("time_to_convert")
    assert found["sample"]["whole"] is False
    assert 10 <= found["sample"]["conversions"] <= 20
    assert found["rows"][0]["median_s"] == "7200.0"
    assert found["rows"][0]["timed"] == 40
    assert "sample" in codes(found["notes"])


async def test_p56_a_funnel_of_four_goals_has_a_drop_off_per_step(books: Books) -> None:
    await four_steps(books)


async def test_p63_partial_conversions_are_steps_of_their_own(books: Books) -> None:
    await four_steps(books)


async def test_c21_the_step_where_most_drop_off_is_named(books: Books) -> None:
    await four_steps(books)


async def four_steps(books: Books) -> None:
    steps = ("landing_page_view", "signup_started", "sign_up", "purchase")
    await books.clicks(20)
    for person in range(10):
        reached = 4 if person == 0 else 3 if person < 3 else 2 if person < 8 else 1
        for place, goal in enumerate(steps[:reached]):
            await books.sale(f"{goal}-{person}", goal=goal, visitor=bytes([person]) * 16, days_ago=9 - place)
    found = await books.report("funnel", steps=",".join(steps))
    told = [(row["key"]["step"], row["count"], row["dropped"], row["dropped_pct"]) for row in found["rows"]]
    assert told == [
        ("clicks", 20, None, None),
        ("landing_page_view", 10, 10, "50.00"),
        ("signup_started", 8, 2, "20.00"),
        ("sign_up", 3, 5, "62.50"),
        ("purchase", 1, 2, "66.67"),
    ]
    assert found["worst_step"] == "purchase"
    worst = await books.report("funnel", steps=",".join(steps), sort="worst")
    assert worst["rows"][0]["key"]["step"] == "purchase"


async def test_r32_imported_impressions_are_the_first_step(books: Books) -> None:
    await books.spent(1000, channel="display", impressions=900, clicks=30)
    await books.clicks(100, kind="view", channel="display")
    await books.clicks(10)
    found = await books.report("funnel", steps="sign_up,purchase")
    assert [(row["key"]["of"], row["count"]) for row in found["rows"][:2]] == [("impressions", 1000), ("clicks", 10)]
    assert found["rows"][1]["kept_pct"] == "1.00"
    assert found["imported_clicks"] == 30


async def test_a_funnel_needs_its_steps(books: Books) -> None:
    assert await refused(books, "funnel") == ("field_missing", "steps")
    assert await refused(books, "funnel", steps="purchase") == ("field_invalid", "steps")
    assert await refused(books, "funnel", steps="purchase,purchase") == ("field_invalid", "steps")
    assert await refused(books, "funnel", steps="purchase,never_seen") == ("goal_unknown", "steps")


async def test_c20_assists_show_which_channels_influence(books: Books) -> None:
    path = [books.touch(0, channel="paid_social", hours=9), books.touch(channel="email", hours=2)]
    for number in range(3):
        await books.sale(f"o-{number}", 100, credit=path)
    await books.sale("o-x", credit=[books.touch(channel="paid_social")])
    found = await books.report("paths")
    assert [(row["key"]["path"], row["conversions"]) for row in found["rows"]] == [
        ("paid_social > email", 3),
        ("paid_social", 1),
    ]
    told = {row["channel"]: (row["on_path"], row["first"], row["last"], row["assisted"]) for row in found["channels"]}
    assert told == {"paid_social": (4, 4, 1, 3), "email": (3, 0, 3, 0)}


# ------------------------------------------------------------------ other models


async def test_c20_another_model_shares_stored_paths_out_anew(books: Books) -> None:
    path = [
        books.touch(0, channel="paid_social", campaign_id="a", hours=9),
        books.touch(channel="email", campaign_id="b"),
    ]
    await books.sale("o-1", 1001, credit=path)
    for name, column, first, second in (
        ("channels", "channel", "paid_social", "email"),
        ("campaigns", "campaign_id", "a", "b"),
    ):
        decided = keyed(await books.report(name), column)
        assert {key: row["conversions"] for key, row in decided.items()} == {second: 1}
        linear = keyed(await books.report(name, model="linear"), column)
        assert [linear[one]["conversions"] for one in (first, second)] == [0.5, 0.5]
        assert [euros(linear[one])["value"] for one in (first, second)] == ["5.01", "5.00"]
        assert (await books.report(name, model="linear"))["models"] == {"purchase": "linear"}


@pytest.mark.parametrize("model", [*MODELS, "position_30_30_40"])
async def test_every_model_credits_all_of_what_was_credited(books: Books, model: str) -> None:
    await books.sale("o-1", 1000, credit=[books.touch(0, channel="a", hours=99), books.touch(channel="b")])
    await books.sale("o-2", 500, credit=[books.touch(channel="a")])
    await books.sale("o-3", credit=[books.touch(channel="b")])
    await books.sale("o-4", 900)
    found = await books.report("channels", model=model)
    assert found["totals"]["conversions"] == 3
    assert euros(found["totals"])["value"] == "15.00"
    assert found["unattributed"]["conversions"] == 1


async def test_models_that_learn_from_lost_visits_say_that_there_are_none(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(0, channel="a", hours=9), books.touch(channel="b")])
    assert {"no_nulls", "few_conversions"} <= codes((await books.report("channels", model="markov_k1"))["notes"])
    assert "no_nulls" not in codes((await books.report("channels", model="linear"))["notes"])


async def test_models_of_many_journeys_credit_channels_only(books: Books) -> None:
    assert await refused(books, "campaigns", model="markov_k1") == ("field_invalid", "model")
    assert await refused(books, "channels", model="nonsense") == ("field_invalid", "model")


async def test_too_many_conversions_for_another_model_are_refused_or_counted_by_path(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await books.sale(f"o-{number}", 100, credit=[books.touch(channel="a" if number else "b")])
    monkeypatch.setattr(report_scan, "SCAN_MAX", 3)
    monkeypatch.setattr(report_models, "SCAN_MAX", 3)
    assert await refused(books, "channels", model="linear") == ("report_too_large", None)
    assert await refused(books, "channels", model="linear", source="newsletter") == ("report_too_large", None)
    assert await refused(books, "landing", model="linear") == ("report_too_large", None)
    assert (await books.report("landing"))["totals"]["conversions"] == 4, "sums are kept of what was decided"
    found = await books.report("channels", model="shapley_sum", goals="all")
    assert [(row["key"]["channel"], row["conversions"]) for row in found["rows"]] == [("a", 3), ("b", 1)]
    assert "value_not_computed" in codes(found["notes"])
    monkeypatch.setattr(report_models, "PATHS_MAX", 1)
    assert await refused(books, "channels", model="shapley_sum", goals="all") == ("report_too_large", None)
