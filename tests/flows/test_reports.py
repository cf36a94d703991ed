"""Reports as numbers: every worked example of the guides, on a real store, with credit as it was decided."""

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import pytest_asyncio

from gateway.catalogue import Ambassador, Campaign, Goal, Link, Variant
from gateway.errors import Refusal
from gateway.flows import journey_list, reports
from gateway.stores.contract_credit import AdjustmentApplied, AdjustmentRow
from tests.support.reporting import Books, codes, euros, keyed, refused
from tests.support.running import running

SPRING: Final = Campaign(id="spring", code="spring", name="Spring")


@pytest_asyncio.fixture
async def books(tmp_path: Any) -> AsyncIterator[Books]:
    async with running(tmp_path) as shop:
        yield Books(shop)


# ------------------------------------------------------------------ campaigns


async def test_e01_ten_clicks_and_four_conversions_of_a_campaign(books: Books) -> None:
    await books.has(SPRING)
    await books.clicks(10, campaign_id="spring")
    for number in range(4):
        await books.sale(f"o-{number}", credit=[books.touch(campaign_id="spring")])
    row = await books.row("campaigns")
    assert (row["key"]["name"], row["clicks"], row["conversions"]) == ("Spring", 10, 4)


async def test_p40_four_of_ten_clicks_are_forty_percent(books: Books) -> None:
    await books.clicks(10, campaign_id="spring")
    for number in range(4):
        await books.sale(f"o-{number}", credit=[books.touch(campaign_id="spring")])
    assert (await books.row("campaigns"))["conversion_rate"] == {"pct": "40.00", "conversions": 4, "clicks": 10}


async def test_p40_without_clicks_the_rate_is_not_available(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(campaign_id="spring")])
    assert (await books.row("campaigns"))["conversion_rate"] == {"pct": None, "conversions": 1, "clicks": 0}


async def test_p41_two_values_sum_to_149_98_and_p42_average_74_99(books: Books) -> None:
    await books.sale("o-1", 9999, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", 4999, credit=[books.touch(campaign_id="spring")])
    money = euros(await books.row("campaigns"))
    assert (money["value"], money["average_value"], money["conversions"]) == ("149.98", "74.99", 2)


async def test_x9_a_value_of_zero_stays_zero_and_counts_in_the_average(books: Books) -> None:
    await books.sale("o-1", 1000, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", 0, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-3", credit=[books.touch(campaign_id="spring")])
    row = await books.row("campaigns")
    assert (row["conversions"], euros(row)["conversions"], euros(row)["average_value"]) == (3, 2, "5.00")


async def test_e02_a_cost_makes_a_return_which_changes_with_a_conversion(books: Books) -> None:
    await books.has(SPRING)
    await books.clicks(4, campaign_id="spring")
    await books.spent(5000, campaign_id="spring")
    money = euros(await books.row("campaigns"))
    assert (money["spend"], money["roi_pct"]) == ("50.00", "-100.00")
    await books.sale("o-1", 9999, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", 4999, credit=[books.touch(campaign_id="spring")])
    money = euros(await books.row("campaigns"))
    told = {name: money[name] for name in ("roi_pct", "roas", "cpa", "cpc", "epc")}
    assert told == {"roi_pct": "199.96", "roas": "2.9996", "cpa": "25.00", "cpc": "12.5000", "epc": "37.4950"}


async def test_r29_a_refund_lowers_the_net_value_and_the_return(books: Books) -> None:
    await books.spent(5000, campaign_id="spring")
    conversion_id = await books.sale("o-1", 10_000, credit=[books.touch(campaign_id="spring")])
    row = AdjustmentRow(
        adjustment_id="adjust-1", conversion_id=conversion_id, goal="purchase", order_id="o-1", kind="refund",
        amount_minor=2500, currency="EUR", reason="", at_ms=books.now_ms, received_at_ms=books.now_ms, trust="server",
    )  # fmt: skip
    applied = AdjustmentApplied(fate="counted", reason="first_with_key", net_minor=7500, known=1)
    assert await books.house.store.put_adjustment("shop", row, applied) == "recorded"
    money = euros(await books.row("campaigns"))
    assert (money["value"], money["net_value"], money["roi_pct"]) == ("100.00", "75.00", "50.00")


async def test_p57_campaigns_known_by_their_parameters_alone_have_rows(books: Books) -> None:
    await books.has(SPRING)
    named: dict[str, Any] = {"campaign_name": "winter_sale", "source": "facebook", "medium": "cpc"}
    await books.clicks(2, **named)
    await books.sale("o-1", 500, credit=[books.touch(**named)])
    await books.sale("o-2", 500, credit=[books.touch(campaign_id="spring", campaign_name="spring_mail")])
    rows = keyed(await books.report("campaigns"), "name")
    assert rows["winter_sale"]["conversions"] == 1
    assert rows["Spring"]["conversions"] == 1
    only = await books.report("campaigns", utm_campaign="winter_sale")
    assert [row["key"]["campaign_name"] for row in only["rows"]] == ["winter_sale"]


async def test_p58_campaigns_are_sorted_by_conversions(books: Books) -> None:
    for name, times in (("a", 1), ("b", 3), ("c", 2)):
        for number in range(times):
            await books.sale(f"o-{name}{number}", credit=[books.touch(campaign_name=name)])
    assert [row["key"]["name"] for row in (await books.report("campaigns"))["rows"]] == ["b", "c", "a"]


async def test_k07_campaigns_have_rate_and_value(books: Books) -> None:
    await books.clicks(4, campaign_id="spring")
    await books.sale("o-1", 2500, credit=[books.touch(campaign_id="spring")])
    row = await books.row("campaigns")
    assert (row["conversion_rate"]["pct"], euros(row)["value"], euros(row)["average_value"]) == (
        "25.00",
        "25.00",
        "25.00",
    )


async def test_e28_the_total_of_a_campaign_is_the_number_of_stored_rows(books: Books) -> None:
    for number in range(7):
        await books.sale(f"o-{number}", credit=[books.touch(campaign_id="spring" if number % 3 else "autumn")])
    stored = await books.house.store.conversions_page("shop", after_ms=0, upto_ms=1 << 50, campaign_id="spring")
    found = keyed(await books.report("campaigns"), "campaign_id")
    assert (found["spring"]["conversions"], len(stored)) == (4, 4)
    assert (await books.report("campaigns"))["totals"]["conversions"] == 7


async def test_k08_purchases_by_visitors_of_one_campaign(books: Books) -> None:
    await books.has(SPRING)
    await books.sale("o-1", credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", goal="sign_up", credit=[books.touch(campaign_id="spring")])
    await books.sale("o-3", credit=[books.touch(campaign_id="autumn")])
    found = await books.report("campaigns", campaign="spring", goal="purchase")
    assert [(row["key"]["campaign_id"], row["conversions"]) for row in found["rows"]] == [("spring", 1)]
    assert found["filters"] == {"campaign": "spring", "goal": "purchase"}


async def test_e34_conversions_and_converting_persons_are_both_told(books: Books) -> None:
    for number in range(3):
        await books.sale(f"o-{number}", first=number == 0, credit=[books.touch(campaign_id="spring")])
    row = await books.row("campaigns")
    assert (row["conversions"], row["converting_persons"]) == (3, 1)


async def test_r01_clicks_that_became_customers(books: Books) -> None:
    await books.clicks(8, campaign_id="spring")
    await books.sale("o-1", credit=[books.touch(campaign_id="spring")])
    assert (await books.row("campaigns"))["conversion_rate"]["pct"] == "12.50"


async def test_r03_conversions_stand_before_clicks_and_decide_the_order(books: Books) -> None:
    await books.clicks(50, campaign_id="autumn")
    await books.sale("o-1", credit=[books.touch(campaign_id="spring")])
    found = await books.report("campaigns")
    assert [row["key"]["campaign_id"] for row in found["rows"]] == ["spring", "autumn"]
    names = list(found["rows"][0])
    assert names.index("conversions") < names.index("clicks")


async def test_robots_suspects_and_repeats_stand_beside_the_clicks(books: Books) -> None:
    await books.clicks(3, campaign_id="spring", repeats=2)
    await books.clicks(5, campaign_id="spring", human="no")
    await books.clicks(4, campaign_id="spring", human="suspect")
    row = await books.row("campaigns")
    assert [row[name] for name in ("clicks", "repeats", "bot_clicks", "suspect_clicks")] == [3, 2, 5, 4]


async def test_tests_are_left_out_and_counted_apart(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", 900, test=True, credit=[books.touch(campaign_id="spring")])
    assert euros(await books.row("campaigns"))["value"] == "1.00"
    found = await books.report("overview")
    assert (found["rows"][0]["conversions"], found["tests"]) == (1, {"conversions": 1, "whole": True})


async def test_shares_of_a_conversion_are_shown_with_two_decimals_and_sum_to_it(books: Books) -> None:
    third = 1 / 3
    touches = [books.touch(third, campaign_id=name, hours=9 - place) for place, name in enumerate("abc")]
    await books.sale("o-1", 100, credit=touches)
    found = await books.report("campaigns")
    assert [row["conversions"] for row in found["rows"]] == [0.33, 0.33, 0.33]
    assert found["totals"]["conversions"] == 1
    assert euros(found["totals"])["value"] == "1.00"


async def test_money_of_different_currencies_is_never_added_up(books: Books) -> None:
    await books.spent(1000, campaign_id="spring")
    await books.sale("o-1", 9999, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-2", 5000, currency="JPY", credit=[books.touch(campaign_id="spring")])
    found = await books.report("campaigns")
    told = {entry["currency"]: (entry["value"], entry["roi_pct"]) for entry in found["rows"][0]["money"]}
    assert told == {"EUR": ("99.99", None), "JPY": ("5000", None)}
    assert "currencies_differ" in codes(found["notes"])
    only = (await books.report("campaigns", currency="EUR"))["rows"][0]["money"]
    assert [(entry["currency"], entry["roi_pct"]) for entry in only] == [("EUR", "899.90")]


async def test_spend_that_names_no_campaign_makes_no_return(books: Books) -> None:
    await books.spent(1000)
    await books.sale("o-1", 9999, credit=[books.touch()])
    row = (await books.report("campaigns"))["rows"][0]
    assert (row["key"]["name"], euros(row)["spend"], euros(row)["roi_pct"]) == ("(no campaign)", "10.00", None)


async def test_c17_rows_are_sorted_by_return_and_by_cost_of_a_conversion(books: Books) -> None:
    for name, spend, value in (("a", 1000, 2000), ("b", 1000, 9000), ("c", 8000, 9000)):
        await books.spent(spend, campaign_id=name)
        await books.sale(f"o-{name}", value, credit=[books.touch(campaign_id=name)])
    for sort, order in (
        ("roi", "bac"),
        ("-roi", "cab"),
        ("cpa", "cab"),
        ("-cpa", "abc"),
        ("value", "bca"),
        ("name", "abc"),
    ):
        found = await books.report("campaigns", sort=sort)
        assert "".join([row["key"]["campaign_id"] for row in found["rows"]]) == order, sort


async def test_k14_the_worst_rates_come_first_on_demand(books: Books) -> None:
    for name, conversions in (("good", 3), ("poor", 1)):
        await books.clicks(4, campaign_name=name)
        for number in range(conversions):
            await books.sale(f"o-{name}{number}", credit=[books.touch(campaign_name=name)])
    await books.sale("o-x", credit=[books.touch(campaign_name="without clicks")])
    found = await books.report("campaigns", sort="worst")
    assert [row["key"]["name"] for row in found["rows"]] == ["poor", "good", "without clicks"]


async def test_k14_the_overview_names_the_poorest_campaigns_with_clicks_enough_to_judge(books: Books) -> None:
    await books.clicks(100, campaign_name="poor")
    await books.clicks(99, campaign_name="too few to judge")
    found = await books.report("overview")
    assert [row["key"]["name"] for row in found["worst_campaigns"]] == ["poor"]


async def test_c35_the_sms_campaign_has_cost_and_value(books: Books) -> None:
    await books.spent(2000, campaign_id="sms", channel="sms")
    await books.sale("o-1", 6000, credit=[books.touch(campaign_id="sms", channel="sms")])
    assert euros(await books.row("campaigns"))["roi_pct"] == "200.00"
    assert euros(await books.row("channels"))["roi_pct"] == "200.00"


async def test_c50_uploaded_conversions_count_in_the_return(books: Books) -> None:
    await books.spent(1000, campaign_id="spring")
    await books.sale("o-1", 3000, trust="server", credit=[books.touch(campaign_id="spring")])
    assert euros(await books.row("campaigns"))["roi_pct"] == "200.00"


async def test_every_report_answers_an_empty_site(books: Books) -> None:
    for name in reports.REPORTS:
        query = {"steps": "sign_up,purchase"} if name == "funnel" else {}
        found = await books.report(name, **query)
        assert found["report"] == name
        assert found["site"] == "shop"
        msgspec.json.encode(found)


# ------------------------------------------------------------------ channels, sources, devices, landing pages


async def test_c18_the_platform_with_fewer_clicks_brings_eighty_percent_of_sales(books: Books) -> None:
    """Three platforms: 70, 20 and 10 of 100 clicks; of 10 sales of 30.00 each 1, 1 and 8."""
    for source, clicks, sales in (("facebook", 70, 1), ("tiktok", 20, 1), ("pinterest", 10, 8)):
        await books.clicks(clicks, source=source, channel="paid_social")
        for number in range(sales):
            await books.sale(f"o-{source}{number}", 3000, credit=[books.touch(source=source, channel="paid_social")])
    rows = keyed(await books.report("sources"), "source")
    told = {
        source: (row["share_of_clicks_pct"], row["share_of_conversions_pct"], row["share_of_revenue_pct"]["EUR"])
        for source, row in rows.items()
    }
    assert told == {
        "pinterest": ("10.00", "80.00", "80.00"),
        "facebook": ("70.00", "10.00", "10.00"),
        "tiktok": ("20.00", "10.00", "10.00"),
    }


async def test_c02_revenue_and_cost_of_a_source_side_by_side(books: Books) -> None:
    await books.spent(700, source="google", channel="paid_search")
    await books.sale("o-1", 2100, credit=[books.touch(source="google", channel="paid_search")])
    money = euros(await books.row("sources"))
    assert (money["value"], money["spend"]) == ("21.00", "7.00")


async def exported(books: Books, query: str) -> set[str]:
    """Order ids of the conversions that a row's `conversions_query` names."""
    asked = dict(parse_qsl(urlsplit(query).query))
    lines = [line async for line in await reports.export(books.house, books.rooms, "conversions", asked, csv=False)]
    return {msgspec.json.decode(line)["order_id"] for line in lines}


async def test_a_channel_of_ones_own_is_not_taken_for_one_whose_title_it_resembles(books: Books) -> None:
    for number, channel in enumerate(("organic social", "organic_social")):
        await books.clicks(3 + number, channel=channel)
        await books.sale(f"o-{number}", 100, credit=[books.touch(channel=channel)])
    for asked, channel, clicks, order_id in (
        ("organic social", "organic social", 3, "o-0"),
        ("organic_social", "organic_social", 4, "o-1"),
        ("Organic Social", "organic_social", 4, "o-1"),
    ):
        row = (await books.report("channels", channel=asked))["rows"][0]
        assert (row["key"]["channel"], row["clicks"]) == (channel, clicks)
        assert await exported(books, row["conversions_query"]) == {order_id}
    for row in (await books.report("channels"))["rows"]:
        assert len(await exported(books, row["conversions_query"])) == 1


async def test_a_goal_without_an_entry_is_asked_for_by_the_name_it_is_printed_with(books: Books) -> None:
    await books.sale("o-1", 100, goal="newsletter_signup")
    name = (await books.row("goals"))["key"]["name"]
    assert name == "Newsletter signup"
    found = await books.report("goals", goal=name)
    assert [row["key"]["goal"] for row in found["rows"]] == ["newsletter_signup"]


async def test_a_name_that_two_rows_are_printed_with_is_not_guessed_and_one_rows_two_names_are_no_two(
    books: Books,
) -> None:
    await books.has(
        Goal(id="g1", code="letters", name="Newsletter signup"),
        Goal(id="g2", code="purchase", name="Purchase", archived=True),
    )
    assert (await books.report("goals", goal="Newsletter signup"))["filters"] == {"goal": "letters"}
    await books.sale("o-1", 100, goal="newsletter_signup")
    await books.sale("o-2", 100)
    assert await refused(books, "goals", goal="Newsletter signup") == ("name_ambiguous", "goal")
    assert (await books.report("goals", goal="PURCHASE"))["filters"] == {"goal": "purchase"}


async def test_what_has_no_campaign_is_asked_for_by_the_name_of_its_row(books: Books) -> None:
    await books.has(SPRING)
    await books.clicks(3)
    await books.clicks(5, campaign_id="spring")
    await books.clicks(2, campaign_name="summer")
    await books.spent(500)
    await books.sale("o-1", 100, credit=[books.touch()])
    await books.sale("o-2", 200, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-3", 400, credit=[books.touch(campaign_name="summer")])
    whole = keyed(await books.report("campaigns"), "name")
    found = await books.report("campaigns", campaign="(no campaign)")
    rows = keyed(found, "name")
    assert rows.keys() == {"(no campaign)", "summer"}, "a name in addresses is no campaign of the catalogue"
    for name in rows:
        assert [(row["clicks"], row["conversions"], euros(row)["spend"]) for row in (rows[name],)] == [
            (whole[name]["clicks"], whole[name]["conversions"], euros(whole[name])["spend"])
        ]
    channel = (await books.report("channels", campaign="(no campaign)"))["rows"][0]
    assert (channel["clicks"], channel["conversions"]) == (5, 2)
    assert await exported(books, channel["conversions_query"]) == {"o-1", "o-3"}
    by_model = await books.report("campaigns", campaign="(no campaign)", model="linear")
    assert by_model["totals"]["conversions"] == 2
    assert [row["key"]["name"] for row in (await books.report("campaigns", utm_campaign="summer"))["rows"]] == [
        "summer"
    ]


async def test_a_report_of_one_channel_counts_what_was_spent_on_it_alone(books: Books) -> None:
    await books.spent(700, source="google", channel="paid_search", campaign_id="a")
    await books.spent(300, source="google", channel="paid_search", campaign_id="b", days_ago=3)
    await books.spent(900, source="google", channel="display", campaign_id="a")
    found = await books.report("sources", channel="paid_search")
    assert [(row["key"]["source"], euros(row)["spend"]) for row in found["rows"]] == [("google", "10.00")]
    found = await books.report("campaigns", channel="paid_search")
    assert {row["key"]["campaign_id"]: euros(row)["spend"] for row in found["rows"]} == {"a": "7.00", "b": "3.00"}


async def test_p03_sources_sort_by_what_is_asked_for(books: Books) -> None:
    await books.sale("o-1", 100, credit=[books.touch(source="a")])
    await books.sale("o-2", 900, credit=[books.touch(source="b")])
    assert (await books.row("sources", sort="value"))["key"]["source"] == "b"
    assert (await books.row("sources", sort="-value"))["key"]["source"] == "a"


async def test_r33_email_social_sms_paid_and_organic_are_in_one_report(books: Books) -> None:
    await six_channels(books)


async def test_r34_links_of_every_platform_are_in_one_report(books: Books) -> None:
    await six_channels(books)


async def test_r44_six_channels_are_covered(books: Books) -> None:
    await six_channels(books)


async def test_k10_each_channel_has_cost_value_and_return(books: Books) -> None:
    await six_channels(books)


async def test_k15_returns_tell_where_to_put_money(books: Books) -> None:
    await six_channels(books)


async def six_channels(books: Books) -> None:
    channels = ("email", "organic_social", "sms", "paid_search", "qr", "organic_search")
    for number, channel in enumerate(channels):
        await books.spent(100, channel=channel)
        await books.sale(f"o-{number}", 300, credit=[books.touch(channel=channel)])
    rows = keyed(await books.report("channels"), "channel")
    assert set(rows) == set(channels)
    assert {euros(row)["roi_pct"] for row in rows.values()} == {"200.00"}
    assert rows["organic_search"]["key"]["name"] == "Organic Search"


async def test_r51_organic_visits_without_a_link_have_their_channel(books: Books) -> None:
    await books.clicks(2, kind="referral", channel="organic_search", source="google", medium="organic")
    await books.clicks(3, kind="direct", channel="direct", source="(direct)", medium="(none)")
    rows = keyed(await books.report("channels"), "channel")
    assert (rows["organic_search"]["clicks"], rows["organic_search"]["direct_visits"]) == (2, 0)
    assert (rows["direct"]["clicks"], rows["direct"]["direct_visits"]) == (0, 3)


async def test_r30_the_channel_with_fewer_clicks_brings_more_revenue(books: Books) -> None:
    await books.clicks(9, channel="paid_social")
    await books.clicks(1, channel="email")
    await books.sale("o-1", 100, credit=[books.touch(channel="paid_social")])
    await books.sale("o-2", 900, credit=[books.touch(channel="email")])
    found = await books.report("channels", sort="value")
    assert [(row["key"]["channel"], row["clicks"], euros(row)["value"]) for row in found["rows"]] == [
        ("email", 1, "9.00"),
        ("paid_social", 9, "1.00"),
    ]


async def test_r17_one_conversion_is_credited_to_link_campaign_and_channel(books: Books) -> None:
    await books.has(Link(id="l1", code="mail", target="https://www.shop.example/", campaign_id="spring"))
    await books.sale("o-1", 100, credit=[books.touch(link_id="l1", campaign_id="spring", channel="email")])
    for name in ("links", "campaigns", "channels"):
        assert (await books.row(name))["conversions"] == 1, name


async def test_p02_links_have_rows_with_their_names(books: Books) -> None:
    await books.has(Link(id="l1", code="mail", target="https://www.shop.example/", title="The mail"))
    await books.clicks(2, link_id="l1")
    await books.clicks(5)
    found = await books.report("links")
    assert [(row["key"]["name"], row["key"]["code"], row["clicks"]) for row in found["rows"]] == [
        ("The mail", "mail", 2)
    ]


async def test_a_link_made_for_one_person_is_not_told_of(books: Books) -> None:
    await books.has(Link(id="l1", code="sms-1", target="https://www.shop.example/", recipient="customer-17"))
    await books.clicks(1, link_id="l1")
    found = await books.report("links")
    assert [row["suppressed"] for row in found["rows"]] == ["recipient"]
    for narrowed in ("links", "channels", "devices"):
        with pytest.raises(Refusal) as refused:
            await books.report(narrowed, link="sms-1")
        assert (refused.value.code, refused.value.field) == ("report_personal", "link")
    with pytest.raises(Refusal) as refused:
        await reports.link_metrics(books.house, books.rooms, {"link_id": "l1"})
    assert (refused.value.code, refused.value.field) == ("report_personal", "link_id")
    assert "clicks" not in found["rows"][0]
    assert "recipient" in codes(found["notes"])


async def test_e03_the_ambassador_with_three_conversions_stands_before_the_one_with_one(books: Books) -> None:
    await books.has(
        SPRING,
        Ambassador(id="a1", code="ann", name="Ann", campaign_id="spring"),
        Ambassador(id="a2", code="ben", name="Ben", campaign_id="spring"),
        Ambassador(id="a3", code="cat", name="Cat", campaign_id="spring"),
    )
    await books.clicks(5, ambassador_id="a1")
    for number in range(4):
        await books.sale(f"o-{number}", credit=[books.touch(ambassador_id="a2" if number else "a1")])
    found = await books.report("ambassadors")
    assert [(row["key"]["name"], row["conversions"]) for row in found["rows"]] == [("Ben", 3), ("Ann", 1), ("Cat", 0)]


async def test_e29_the_shares_table_has_ambassador_clicks_and_conversions(books: Books) -> None:
    await books.has(Ambassador(id="a1", code="ann", name="Ann", campaign_id="spring"))
    await books.clicks(5, ambassador_id="a1")
    await books.sale("o-1", credit=[books.touch(ambassador_id="a1")])
    found = await books.report("ambassadors")
    assert found["title"] == "Shares"
    assert [(row["key"]["name"], row["clicks"], row["conversions"]) for row in found["rows"]] == [("Ann", 5, 1)]


async def test_k16_campaigns_audiences_and_landing_pages_are_segments(books: Books) -> None:
    for number in range(3):
        await books.sale(
            f"o-{number}", 100, credit=[books.touch(device="mobile" if number else "desktop", landing="/shoes")]
        )
    devices = keyed(await books.report("devices"), "device")
    assert (devices["mobile"]["conversions"], devices["desktop"]["conversions"]) == (2, 1)
    landing = await books.row("landing")
    assert (landing["key"]["landing"], landing["conversions"], euros(landing)["value"]) == ("/shoes", 3, "3.00")
    assert (landing["clicks"], landing["conversion_rate"]) == (None, None), "no sum of clicks is kept by landing page"


async def test_r31_two_offers_of_one_campaign_are_told_apart(books: Books) -> None:
    await books.has(SPRING)
    for source, clicks in (("offer-a", 4), ("offer-b", 2)):
        await books.clicks(clicks, campaign_id="spring", source=source)
    await books.clicks(9, campaign_id="autumn", source="offer-a")
    rows = keyed(await books.report("sources", campaign="spring"), "source")
    assert {source: row["clicks"] for source, row in rows.items()} == {"offer-a": 4, "offer-b": 2}


# ------------------------------------------------------------------ variants


async def test_k21_conversions_are_told_per_variant_with_a_verdict(books: Books) -> None:
    await two_variants(books)


async def test_p65_a_link_with_two_targets_has_conversions_per_variant(books: Books) -> None:
    await two_variants(books)


async def two_variants(books: Books) -> None:
    link = Link(
        id="l1",
        code="ab",
        target="https://www.shop.example/",
        variants=(Variant("a", "https://www.shop.example/a", 50), Variant("b", "https://www.shop.example/b", 50)),
    )
    await books.has(link)
    for variant, sales in (("a", 1), ("b", 2)):
        await books.clicks(4, link_id="l1", variant=variant)
        for number in range(sales):
            await books.sale(f"o-{variant}{number}", credit=[books.touch(link_id="l1", variant=variant)])
    rows = keyed(await books.report("variants"), "variant")
    assert {variant: row["conversion_rate"]["pct"] for variant, row in rows.items()} == {"a": "25.00", "b": "50.00"}
    assert rows["a"]["compared_with"] is None
    assert rows["b"]["compared_with"]["variant"] == "a"
    assert rows["b"]["compared_with"]["verdict"] == "too_few"
    assert "100" in rows["b"]["compared_with"]["message"]


async def test_the_list_of_what_has_no_campaign_is_that_of_the_export(books: Books) -> None:
    await books.has(Campaign(id="spring", code="spring", name="Spring"))
    await books.sale("o-1", 100, credit=[books.touch()])
    await books.sale("o-2", 200, credit=[books.touch(campaign_id="spring")])
    await books.sale("o-3", 400)
    await books.sale("o-4", 400, credit=[books.touch(0.0, hours=5), books.touch(1.0, campaign_id="spring")])
    await books.sale("o-5", 400, credit=[books.touch(0.5, hours=5), books.touch(0.5, campaign_id="spring")])
    found: Any = await journey_list.listed(books.house, books.rooms, {"campaign": "(no campaign)"})
    assert {one["order_id"] for one in found["conversions"]} == {"o-1", "o-4", "o-5"}
    found = await journey_list.listed(books.house, books.rooms, {"campaign": "spring"})
    assert {one["order_id"] for one in found["conversions"]} == {"o-2", "o-4", "o-5"}
