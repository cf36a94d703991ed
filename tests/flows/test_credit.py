"""What earns a conversion, with a real store: days and windows, models, ties between contacts and people, coupons, late data.

Each test has its own people in one shop, so that none of them meets another's touches.
"""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from gateway.attribution.registry import MODELS
from gateway.catalogue import Utm
from gateway.flows import credit
from gateway.flows.gather import gather
from gateway.stores.contract_credit import AdjustmentApplied, AdjustmentRow
from gateway.times import DAY_MS, SECOND_MS
from tests.support.crediting import DAY_1_MS, SITE, Shop, at, crediting, key

pytestmark = pytest.mark.asyncio(loop_scope="module")

_people: Final = count()
SECOND: Final = SECOND_MS / DAY_MS
MILLISECOND: Final = 1 / DAY_MS
HOUR: Final = 1 / 24


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with crediting(tmp_path_factory.mktemp("credit")) as made:
        yield made


def somebody() -> str:
    """A visitor nobody met before."""
    return f"visitor {next(_people)}"


# ------------------------------------------------------------------ days and windows


async def bought_on(shop: Shop, day: float, **goal: Any) -> bool:
    """Whether a click on day 1 earns a conversion on a day."""
    name = f"window_{next(_people)}"
    if goal:
        await shop.goal(name, **goal)
    visitor = somebody()
    await shop.click(visitor, day=1)
    row = await shop.decided(await shop.convert(visitor, day=day, goal=name))
    assert (row.why is None) == bool(row.credits)
    if not row.credits:
        assert (row.why, list(msgspec.json.decode(row.excluded).values())) == ("none_eligible", ["outside_window"])
    return bool(row.credits)


async def test_p44_a_conversion_on_the_day_of_the_click_is_credited(shop: Shop) -> None:
    assert await bought_on(shop, 1)
    assert await bought_on(shop, 1 + 23 * HOUR)


async def test_p45_a_conversion_on_day_5_is_credited(shop: Shop) -> None:
    assert await bought_on(shop, 5)


async def test_p46_a_conversion_on_day_35_is_credited_to_nobody(shop: Shop) -> None:
    assert not await bought_on(shop, 35)


async def test_p47_the_edge_is_30_times_24_hours_and_belongs_to_the_window(shop: Shop) -> None:
    assert await bought_on(shop, 31 - MILLISECOND)
    assert await bought_on(shop, 31)
    assert not await bought_on(shop, 31 + MILLISECOND)


async def test_x11_a_window_is_elapsed_time_in_which_midnight_means_nothing(shop: Shop) -> None:
    midnight = (DAY_1_MS // DAY_MS + 1) * DAY_MS
    visitor = somebody()
    before = 1 + (midnight - SECOND_MS - DAY_1_MS) / DAY_MS
    await shop.click(visitor, day=before)
    inside = await shop.convert(visitor, day=before + 30, order=f"{visitor} in")
    outside = await shop.convert(visitor, day=before + 30 + SECOND, order=f"{visitor} out")
    assert (await shop.decided(inside)).seconds == 30 * 86_400
    assert (await shop.decided(outside)).why == "none_eligible"


async def test_e08_a_window_of_90_days_holds_on_day_89_and_not_on_day_91(shop: Shop) -> None:
    assert await bought_on(shop, 1 + 89, click_window_ms=90 * DAY_MS)
    assert not await bought_on(shop, 1 + 91, click_window_ms=90 * DAY_MS)


async def test_p12_two_goals_with_windows_of_7_and_60_days_decide_for_themselves(shop: Shop) -> None:
    await shop.goal("week", click_window_ms=7 * DAY_MS)
    await shop.goal("months", click_window_ms=60 * DAY_MS)
    visitor = somebody()
    await shop.click(visitor, day=1)
    week = await shop.convert(visitor, day=11, goal="week")
    months = await shop.convert(visitor, day=11, goal="months")
    assert await shop.earned(week) == {}
    assert await shop.earned(months) == {"email": 1.0}


async def test_r28_an_email_click_earns_the_purchase_three_weeks_later(shop: Shop) -> None:
    assert await bought_on(shop, 1 + 21)


async def test_a_changed_window_is_for_conversions_that_are_counted_afterwards(shop: Shop) -> None:
    await shop.goal("shrinking", click_window_ms=30 * DAY_MS)
    visitor = somebody()
    await shop.click(visitor, day=1)
    before = await shop.convert(visitor, day=15, goal="shrinking")
    await shop.goal("shrinking", click_window_ms=7 * DAY_MS)
    after = await shop.convert(visitor, day=15, goal="shrinking")
    assert [(await shop.decided(one)).goal_version for one in (before, after)] == [1, 2]
    assert (await shop.earned(before), await shop.earned(after)) == ({"email": 1.0}, {})


async def test_p43_time_to_convert_is_from_the_last_click_and_unattributed_ones_have_none(shop: Shop) -> None:
    seconds = []
    for hours in (1, 3):
        visitor = somebody()
        await shop.click(visitor, day=0.5)
        await shop.click(visitor, day=1)
        seconds.append((await shop.decided(await shop.convert(visitor, day=1 + hours * HOUR))).seconds)
    nobody = await shop.decided(await shop.convert(somebody(), day=2))
    assert seconds == [3_600, 10_800]
    assert sum(filter(None, seconds)) / 2 == 2 * 3_600
    assert nobody.seconds is None


# ------------------------------------------------------------------ models


async def two_campaigns(shop: Shop, model: str, visitor: str) -> str:
    """An advertisement on day 1, a newsletter on day 4, a message on day 6, a direct visit on day 7, then a purchase."""
    name = f"model_{model}"
    await shop.goal(name, model=model)
    for day, channel in ((1, "paid_search"), (4, "email"), (6, "sms")):
        await shop.click(visitor, day=day, channel=channel)
    await shop.click(visitor, day=7, kind="direct", channel="direct", source="(direct)", medium="(none)")
    return await shop.convert(visitor, day=8, goal=name, value=10_001)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first_click", {"paid_search": 1.0}),
        ("last_click", {"sms": 1.0}),
        ("last_non_direct", {"sms": 1.0}),
        ("linear", {"paid_search": 0.333333334, "email": 0.333333333, "sms": 0.333333333}),
        ("linear_unique", {"paid_search": 0.333333334, "email": 0.333333333, "sms": 0.333333333}),
        ("position_40_20_40", {"paid_search": 0.4, "email": 0.2, "sms": 0.4}),
        ("position_20_20_60", {"paid_search": 0.2, "email": 0.2, "sms": 0.6}),
        ("u_shaped", {"paid_search": 0.4, "email": 0.2, "sms": 0.4}),
    ],
)
async def test_c15_the_model_of_the_goal_says_which_click_wins(
    shop: Shop, model: str, expected: dict[str, float]
) -> None:
    order = await two_campaigns(shop, model, somebody())
    row = await shop.decided(order)
    assert (row.model, row.model_version) == (model, MODELS[model].version)
    assert await shop.earned(order) == pytest.approx(expected)


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.shares is not None])
async def test_r41_shares_and_money_of_every_model_sum_to_the_whole(shop: Shop, model: str) -> None:
    order = await two_campaigns(shop, model, somebody())
    credits = (await shop.decided(order)).credits
    assert sum(one.share_e9 for one in credits) == credit.WHOLE_E9
    assert sum(one.amount_minor or 0 for one in credits) == 10_001
    assert sum(one.net_minor or 0 for one in credits) == 10_001


async def test_r40_the_path_is_kept_whole_also_where_one_touch_earns_everything(shop: Shop) -> None:
    row = await shop.decided(await two_campaigns(shop, "last_click", somebody()))
    assert row.path == "paid_search > email > sms"
    assert [(one.channel, one.share_e9) for one in row.credits] == [
        ("paid_search", 0), ("email", 0), ("sms", credit.WHOLE_E9),
    ]  # fmt: skip
    assert list(msgspec.json.decode(row.excluded).values()) == ["direct_ignored"]


async def test_c34_with_an_ad_click_before_the_message_the_model_decides_and_is_named(shop: Shop) -> None:
    visitor = somebody()
    for name, model in (("by_first", "first_click"), ("by_last", "last_non_direct")):
        await shop.goal(name, model=model)
    await shop.click(visitor, day=1, channel="paid_search")
    await shop.click(visitor, day=2, channel="sms")
    first = await shop.convert(visitor, day=3, goal="by_first")
    last = await shop.convert(visitor, day=3, goal="by_last")
    assert (await shop.earned(first), (await shop.decided(first)).model) == ({"paid_search": 1.0}, "first_click")
    assert (await shop.earned(last), (await shop.decided(last)).model) == ({"sms": 1.0}, "last_non_direct")


async def test_x2_without_a_goal_record_the_last_click_that_is_not_direct_wins(shop: Shop) -> None:
    visitor = somebody()
    for day, channel in ((1, "paid_search"), (2, "email")):
        await shop.click(visitor, day=day, channel=channel)
    row = await shop.decided(await shop.convert(visitor, day=3, goal="never_set_up"))
    assert (row.model, row.goal_version, row.path) == ("last_non_direct", 0, "paid_search > email")
    assert [one.share_e9 for one in row.credits] == [0, credit.WHOLE_E9]


@pytest.mark.parametrize("model", ["markov_k1", "markov_k1_per_journey", "shapley_rate"])
async def test_a_model_of_many_journeys_leaves_single_conversions_to_the_last_click(shop: Shop, model: str) -> None:
    row = await shop.decided(await two_campaigns(shop, model, somebody()))
    assert (row.model, [one.share_e9 for one in row.credits]) == ("last_non_direct", [0, 0, credit.WHOLE_E9])


async def test_milestones_are_the_newest_earlier_conversions_of_the_person(shop: Shop) -> None:
    await shop.goal("contact_us", type="lead")
    await shop.goal("call_us", type="call")
    await shop.goal("try_it", type="trial")
    await shop.goal("deal", model="full_path")
    visitor = somebody()
    for day, channel in enumerate(("a", "b", "c", "d", "e"), 1):
        await shop.click(visitor, day=day, channel=channel)
    await shop.convert(visitor, day=1.4, goal="call_us", value=None)
    await shop.convert(visitor, day=1.5, goal="contact_us", value=None)
    await shop.convert(visitor, day=2.5, goal="contact_us", value=None)  # the newest lead: by b
    await shop.convert(visitor, day=4.5, goal="try_it", value=None)  # the opportunity: by d
    order = await shop.convert(visitor, day=6, goal="deal")
    assert await shop.earned(order) == pytest.approx({"a": 0.225, "b": 0.225, "c": 0.1, "d": 0.225, "e": 0.225})


# ------------------------------------------------------------------ campaigns and ambassadors


async def test_e11_a_conversion_is_credited_to_the_campaign(shop: Shop) -> None:
    summer = await shop.campaign("summer")
    visitor = somebody()
    await shop.click(visitor, day=1, campaign=summer)
    (one,) = (await shop.decided(await shop.convert(visitor, day=2))).credits
    assert (one.campaign_id, one.campaign_name, one.ambassador_id) == (summer.id, "Summer", "")


async def test_e12_a_share_link_credits_its_ambassador_too_and_a_campaign_link_none(shop: Shop) -> None:
    friends = await shop.campaign("friends")
    lena = await shop.ambassador("lena", friends)
    link = await shop.link("lena", campaign_id=friends.id, ambassador_id=lena.id)
    by_share, by_campaign = somebody(), somebody()
    await shop.land(by_share, day=1, link_id=link.code)  # the slug, as of a link that was not in memory
    await shop.click(by_campaign, day=1, campaign=friends)
    (shared,) = (await shop.decided(await shop.convert(by_share, day=2))).credits
    (plain,) = (await shop.decided(await shop.convert(by_campaign, day=2))).credits
    assert (shared.link_id, shared.campaign_id, shared.ambassador_id) == (link.id, friends.id, lena.id)
    assert (plain.campaign_id, plain.ambassador_id) == (friends.id, "")


async def test_c33_c01_a_purchase_after_a_click_on_a_message_names_the_message_campaign(shop: Shop) -> None:
    recovery = await shop.campaign("recovery", channel="sms")
    link = await shop.link("back", campaign_id=recovery.id, channel="sms")
    visitor = somebody()
    await shop.land(visitor, day=1, link_id="back", channel="referral", source="(not set)", medium="link")
    (one,) = (await shop.decided(await shop.convert(visitor, day=2))).credits
    assert (one.channel, one.medium, one.link_id, one.campaign_id) == ("sms", "sms", link.id, recovery.id)


async def test_r17_link_campaign_and_channel_are_credited(shop: Shop) -> None:
    spring = await shop.campaign("spring")
    link = await shop.link("spring1", campaign_id=spring.id)
    visitor = somebody()
    await shop.click(visitor, day=1, campaign=spring, link_id=link.id, channel="organic_social", variant="b")
    order = await shop.convert(visitor, day=2, value=500)
    await shop.decided(order)
    day = at(2) // DAY_MS
    sums = await shop.store.credit_days(SITE, day, day, ("channel", "campaign_id", "link_id", "variant"))
    (one,) = [row for row in sums if row.campaign_id == spring.id]
    assert (one.channel, one.link_id, one.variant, one.share_e9, one.amount_minor) == (
        "organic_social", link.id, "b", credit.WHOLE_E9, 500,
    )  # fmt: skip


async def test_a_campaign_that_only_the_conversion_names_earns_nothing(shop: Shop) -> None:
    named, clicked = await shop.campaign("named"), await shop.campaign("clicked")
    visitor, stranger = somebody(), somebody()
    await shop.click(visitor, day=1, campaign=named)
    await shop.click(visitor, day=2, campaign=clicked)
    decided = await shop.decided(await shop.convert(visitor, day=3, campaign_id=named.id))
    assert [(one.campaign_id, one.share_e9) for one in decided.credits] == [
        (named.id, 0), (clicked.id, credit.WHOLE_E9),
    ]  # fmt: skip
    alone = await shop.decided(await shop.convert(stranger, day=3, campaign_id=named.id))
    assert (alone.credits, alone.why) == ((), "no_touch")


async def test_an_ambassador_earns_nothing_by_an_order_of_their_own(shop: Shop) -> None:
    club = await shop.campaign("club")
    kim = await shop.ambassador("kim", club, person="kim@example")
    by_key, by_device, friend = somebody(), somebody(), somebody()
    await shop.seen(by_device, "kim@example", day=1)
    for visitor in (by_key, by_device, friend):
        await shop.click(visitor, day=2, campaign=club, ambassador_id=kim.id)
    own = await shop.convert(by_key, day=3, person="kim@example")
    also_own = await shop.convert(by_device, day=3)
    friends = await shop.convert(friend, day=3, person="friend@example")
    for order in (own, also_own):
        assert set((await shop.why_not(order)).values()) == {"own_order"}
    assert (await shop.decided(friends)).credits[0].ambassador_id == kim.id


# ------------------------------------------------------------------ coupons and clicks that are named


async def test_a_coupon_earns_the_whole_order_unless_the_goal_says_otherwise(shop: Shop) -> None:
    blog = await shop.campaign("blog", utm=Utm(source="blog", medium="affiliate"))
    mia = await shop.ambassador("mia", blog)
    await shop.coupon("MIA10", blog, mia)
    await shop.goal("coupons_are_touches", coupon_policy="touch", model="linear")
    await shop.goal("coupons_are_nothing", coupon_policy="ignore")
    visitor = somebody()
    await shop.click(visitor, day=1)
    whole = await shop.convert(visitor, day=2, coupons=("unknown", " mia10 "), order="c 1")
    touch = await shop.convert(visitor, day=2, coupons=("MIA10",), goal="coupons_are_touches", order="c 2")
    ignored = await shop.convert(visitor, day=2, coupons=("MIA10",), goal="coupons_are_nothing", order="c 3")
    row = await shop.decided(whole)
    (one,) = row.credits
    assert (row.matched_by, one.touch_no, one.kind, one.share_e9) == ("coupon", None, "coupon", credit.WHOLE_E9)
    assert (one.campaign_id, one.ambassador_id, one.channel, one.source) == (blog.id, mia.id, "affiliates", "blog")
    assert set((await shop.why_not(whole)).values()) == {"coupon_override"}
    assert await shop.earned(touch) == {"email": 0.5, "affiliates": 0.5}
    assert await shop.earned(ignored) == {"email": 1.0}


async def test_a_coupon_counts_while_it_is_valid_and_until_it_is_put_away(shop: Shop) -> None:
    sale = await shop.campaign("sale")
    await shop.coupon("LATER", sale, starts_at_ms=at(5), expires_at_ms=at(9))
    away = await shop.coupon("AWAY", sale)
    orders = {day: await shop.convert(somebody(), day=day, coupons=("LATER",)) for day in (4.9, 5, 8.9, 9)}
    assert [(await shop.decided(order)).matched_by for order in orders.values()] == ["none", "coupon", "coupon", "none"]
    before = await shop.convert(somebody(), day=6, coupons=("away",))
    await shop.put(msgspec.structs.replace(away, archived=True), day=7)
    after = await shop.convert(somebody(), day=8, coupons=("away",))
    assert [(await shop.decided(order)).matched_by for order in (before, after)] == ["coupon", "none"]


async def test_p26_a_postback_that_names_a_click_is_credited_to_that_click(shop: Shop) -> None:
    await shop.goal("postback", pin="click_id")
    visitor = somebody()
    named = await shop.click(visitor, day=1, click_id="A" * 22, channel="paid_social")
    newer = await shop.click(visitor, day=2, click_id="B" * 22)
    order = await shop.convert(None, day=3, goal="postback", trust="token", click_id="A" * 22)
    row = await shop.decided(order)
    assert (row.matched_by, [one.touch_no for one in row.credits]) == ("click_id", [named])
    assert await shop.why_not(order) == {str(newer): "pinned_elsewhere"}


@pytest.mark.parametrize("goal", ["postback_anonymous", "any"])
async def test_p26_a_click_of_nobody_known_is_found_by_its_id(shop: Shop, goal: str) -> None:
    if goal == "postback_anonymous":
        await shop.goal(goal, pin="click_id")
    click_id = f"{next(_people):022d}"
    number = await shop.click(None, day=1, click_id=click_id, consent=True)
    row = await shop.decided(await shop.convert(None, day=2, goal=goal, trust="token", click_id=click_id))
    assert [one.touch_no for one in row.credits] == [number]


async def test_a_click_id_nobody_knows_and_one_that_may_not_be_credited_have_their_reasons(shop: Shop) -> None:
    await shop.goal("pinned", pin="click_id")
    old, late = f"{next(_people):022d}", f"{next(_people):022d}"
    await shop.click(None, day=1, click_id=old)
    await shop.click(None, day=45, click_id=late)
    unknown = await shop.convert(None, day=40, goal="pinned", trust="token", click_id="Z" * 22)
    outside = await shop.convert(None, day=40, goal="pinned", trust="token", click_id=old)
    before = await shop.convert(None, day=40, goal="pinned", trust="token", click_id=late)
    assert (await shop.decided(unknown)).why == "click_unknown"
    assert (await shop.decided(outside)).why == "click_not_eligible"
    assert list((await shop.why_not(outside)).values()) == ["outside_window"]
    assert list((await shop.why_not(before)).values()) == ["after_conversion"]


async def test_r39_a_click_that_a_server_names_is_followed_to_another_browser(shop: Shop) -> None:
    click_id = f"{next(_people):022d}"
    phone, laptop = somebody(), somebody()
    await shop.click(phone, day=1, click_id=click_id)
    by_server = await shop.convert(laptop, day=2, click_id=click_id)
    by_page = await shop.convert(laptop, day=2, click_id=click_id, trust="browser")
    assert await shop.earned(by_server) == {"email": 1.0}
    assert list((await shop.why_not(by_page)).values()) == ["other_person"]


# ------------------------------------------------------------------ whose touches


async def test_r38_a_click_on_the_phone_earns_the_order_on_the_tablet_of_the_same_person(shop: Shop) -> None:
    phone, laptop, tablet = somebody(), somebody(), somebody()
    for device in (phone, laptop):
        await shop.seen(device, "zoe@example", day=1)
    await shop.click(phone, day=2, channel="paid_social")
    await shop.click(laptop, day=3, channel="organic_search")
    order = await shop.convert(tablet, day=4, person="zoe@example")
    row = await shop.decided(order)
    assert (row.matched_by, row.path) == ("user", "paid_social > organic_search")


async def test_r47_credit_reaches_across_channels_and_devices(shop: Shop) -> None:
    await shop.goal("everywhere", model="linear")
    phone, laptop = somebody(), somebody()
    await shop.seen(phone, "max@example", day=1)
    for visitor, day, channel in ((phone, 2, "sms"), (laptop, 3, "email"), (phone, 4, "organic_social")):
        await shop.click(visitor, day=day, channel=channel)
    order = await shop.convert(laptop, day=5, goal="everywhere", person="max@example")
    assert await shop.earned(order) == pytest.approx({"sms": 1 / 3, "email": 1 / 3, "organic_social": 1 / 3})


async def test_r38_without_a_login_devices_are_honestly_not_joined(shop: Shop) -> None:
    phone, tablet = somebody(), somebody()
    await shop.click(phone, day=1)
    assert (await shop.decided(await shop.convert(tablet, day=2))).why == "no_touch"


async def test_r38_a_shared_tablet_never_leads_to_a_second_person(shop: Shop) -> None:
    tablet, annas_phone, bens_phone = somebody(), somebody(), somebody()
    for device, person in ((tablet, "anna"), (tablet, "ben"), (annas_phone, "anna"), (bens_phone, "ben")):
        await shop.seen(device, person, day=1)
    await shop.click(bens_phone, day=2, channel="paid_search")
    await shop.click(annas_phone, day=2, channel="sms")
    annas = await shop.convert(tablet, day=3, person="anna")
    nobodys = await shop.convert(tablet, day=3)
    assert await shop.earned(annas) == {"sms": 1.0}
    assert (await shop.decided(nobodys)).why == "no_touch"


async def test_a_login_after_the_conversion_joins_nothing(shop: Shop) -> None:
    phone = somebody()
    await shop.click(phone, day=1)
    order = await shop.convert(somebody(), day=2, person="late login")
    await shop.seen(phone, "late login", day=3)
    assert (await shop.decided(order)).why == "no_touch"
    assert await shop.why_not(order) == {}, "touches of a stranger, as this was then, are not even looked at"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"human": "no", "human_reason": "list"}, "bot"),
        ({"human": "suspect", "human_reason": "gateway"}, "bot"),
        ({"consent": False}, "no_consent"),
        ({"test": True}, "test"),
    ],
)
async def test_touches_that_may_not_be_credited_have_a_reason(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    visitor = somebody()
    number = await shop.click(visitor, day=1, **fields)
    order = await shop.convert(visitor, day=2)
    assert await shop.why_not(order) == {str(number): reason}
    assert (await shop.decided(order)).why == "none_eligible"


async def test_a_view_earns_nothing_beside_a_click_and_never_where_the_goal_says_so(shop: Shop) -> None:
    await shop.goal("no_views", view_policy="never")
    seen, clicked, old = somebody(), somebody(), somebody()
    for visitor, day in ((seen, 1), (clicked, 1), (old, 0)):
        await shop.click(visitor, day=day, kind="view", channel="display")
    await shop.click(clicked, day=0.5)
    assert await shop.earned(await shop.convert(seen, day=1.5)) == {"display": 1.0}
    assert await shop.earned(await shop.convert(clicked, day=1.5)) == {"email": 1.0}
    assert list((await shop.why_not(await shop.convert(old, day=1.5))).values()) == ["outside_window"]
    assert list((await shop.why_not(await shop.convert(seen, day=1.5, goal="no_views"))).values()) == ["views_off"]


async def test_a_goal_that_starts_anew_credits_only_what_came_after_the_last_conversion(shop: Shop) -> None:
    await shop.goal("anew", reset_after_conversion=True, model="linear")
    visitor = somebody()
    await shop.click(visitor, day=1, channel="paid_search")
    first = await shop.convert(visitor, day=2, goal="anew")
    await shop.click(visitor, day=3, channel="sms")
    second = await shop.convert(visitor, day=4, goal="anew")
    assert (await shop.earned(first), await shop.earned(second)) == ({"paid_search": 1.0}, {"sms": 1.0})
    assert list((await shop.why_not(second)).values()) == ["before_previous_conversion"]


async def test_e34_the_first_conversion_of_a_person_is_told_from_the_others(shop: Shop) -> None:
    visitor = somebody()
    orders = [await shop.convert(visitor, day=day) for day in (1, 2, 3)]
    orders += [await shop.convert(None, day=4), await shop.convert(None, day=5)]
    firsts = [(await shop.decided(order)).first_of_person for order in orders]
    assert firsts == [True, False, False, True, True]


async def test_e25_a_conversion_without_a_click_is_kept_and_says_why_nobody_earned_it(shop: Shop) -> None:
    row = await shop.decided(await shop.convert(somebody(), day=1))
    assert (row.why, row.credits, row.matched_by, row.path) == ("no_touch", (), "none", "")


# ------------------------------------------------------------------ landings


async def test_r14_a_click_and_its_landing_are_one_contact(shop: Shop) -> None:
    visitor, click_id = somebody(), f"{next(_people):022d}"
    click = await shop.click(None, day=1, click_id=click_id, channel="paid_social")
    await shop.land(visitor, day=1 + SECOND, landed_click_id=click_id)
    await shop.land(visitor, day=1.5, landed_click_id=click_id)  # the page was opened again
    row = await shop.decided(await shop.convert(visitor, day=2))
    assert (row.path, [one.touch_no for one in row.credits]) == ("paid_social", [click])
    assert list(msgspec.json.decode(row.excluded).values()) == ["duplicate", "duplicate"]
    assert row.seconds == 86_400


async def test_consent_on_the_landing_page_covers_the_click_that_led_there(shop: Shop) -> None:
    agreed, refused = somebody(), somebody()
    for visitor, consent in ((agreed, True), (refused, False)):
        click_id = f"{next(_people):022d}"
        await shop.click(None, day=1, click_id=click_id, consent=False)
        await shop.land(visitor, day=1 + SECOND, landed_click_id=click_id, consent=consent)
    assert await shop.earned(await shop.convert(agreed, day=2)) == {"email": 1.0}
    assert set((await shop.why_not(await shop.convert(refused, day=2))).values()) == {"no_consent", "duplicate"}


async def test_a_landing_address_that_was_passed_on_speaks_for_itself_once(shop: Shop) -> None:
    sender, receiver, click_id = somebody(), somebody(), f"{next(_people):022d}"
    await shop.click(sender, day=1, click_id=click_id, channel="sms")
    await shop.land(receiver, day=2, landed_click_id=click_id, channel="referral")
    await shop.land(receiver, day=2.1, landed_click_id=click_id, channel="referral")
    order = await shop.convert(receiver, day=3)
    assert (await shop.decided(order)).path == "referral"
    assert sorted((await shop.why_not(order)).values()) == ["duplicate", "other_person"]


async def test_a_landing_that_names_the_link_alone_is_folded_within_its_repeat_window(shop: Shop) -> None:
    link = await shop.link("folded", repeat_window_s=600)
    visitor = somebody()
    await shop.click(visitor, day=1, link_id=link.id)
    await shop.land(visitor, day=1 + 600 * SECOND, link_id="folded")
    await shop.land(visitor, day=1 + 700 * SECOND, link_id="folded")
    row = await shop.decided(await shop.convert(visitor, day=2))
    assert [one.at_ms for one in row.credits] == [at(1), at(1 + 700 * SECOND)]
    assert list(msgspec.json.decode(row.excluded).values()) == ["duplicate"]


# ------------------------------------------------------------------ afterwards


async def test_a_refund_changes_what_is_left_of_the_credit_and_not_the_decision(shop: Shop) -> None:
    await shop.goal("refunded", model="linear")
    visitor = somebody()
    for day in (1, 2, 3):
        await shop.click(visitor, day=day)
    order = await shop.convert(visitor, day=4, goal="refunded", value=1000)
    before = await shop.decided(order)
    row = AdjustmentRow(
        adjustment_id="refund-0001", conversion_id=order, goal="refunded", order_id=None, kind="refund",
        amount_minor=400, currency="EUR", reason="returned", at_ms=at(5), received_at_ms=at(5), trust="server",
    )  # fmt: skip
    applied = AdjustmentApplied(fate="counted", reason="first_with_key", net_minor=600, known=1)
    assert await shop.store.put_adjustment(SITE, row, applied) == "recorded"
    after = await shop.decided(order)
    assert after.version == before.version
    assert [one.amount_minor for one in after.credits] == [334, 333, 333]
    assert [one.net_minor for one in after.credits] == [200, 200, 200]


async def test_a_refund_that_came_before_its_order_is_in_the_first_decision(shop: Shop) -> None:
    row = AdjustmentRow(
        adjustment_id="refund-0002", conversion_id=None, goal="", order_id="early refund", kind="refund",
        amount_minor=400, currency="EUR", reason="returned", at_ms=at(5), received_at_ms=at(1), trust="server",
    )  # fmt: skip
    assert await shop.store.put_adjustment(SITE, row, None) == "recorded"
    visitor = somebody()
    await shop.click(visitor, day=1)
    order = await shop.convert(visitor, day=4, value=1000, order="early refund")
    assert [(one.amount_minor, one.net_minor) for one in (await shop.decided(order)).credits] == [(1000, 600)]


async def test_a_late_touch_counts_only_once_the_conversion_is_decided_again(shop: Shop) -> None:
    visitor = somebody()
    await shop.click(visitor, day=1, channel="paid_search")
    order = await shop.convert(visitor, day=5)
    first = await shop.decided(order)
    await shop.click(visitor, day=2, channel="sms")
    assert await shop.decided(order) == first
    counted = await shop.store.conversion(SITE, order)
    assert counted is not None
    assert await credit.again_one(shop.house, counted) == 1
    second = await shop.decided(order)
    assert (first.version, second.version) == (1, 2)
    assert [one.channel for one in second.credits if one.share_e9] == ["sms"]
    assert await shop.decided(order, version=1) == first


async def test_a_portion_of_a_goal_is_decided_again_from_mark_to_mark(shop: Shop) -> None:
    await shop.goal("again")
    visitors = [somebody() for _ in range(5)]
    orders = [await shop.convert(visitor, day=1, goal="again") for visitor in visitors]
    orders += [await shop.convert(visitor, day=3, goal="again") for visitor in visitors[:2]]
    for order in orders:
        await shop.decided(order)
    for visitor in visitors:
        await shop.click(visitor, day=0.5)
    after_ms, after_id, decided, portions = at(0), "", 0, 0
    while True:
        found = await credit.again(
            shop.house, SITE, goal="again", after_ms=after_ms, upto_ms=at(2), after_id=after_id, limit=2
        )
        decided, portions = decided + found.decided, portions + 1
        if found.after is None:
            break
        after_ms, after_id = found.after
    assert (decided, portions) == (5, 3)
    assert [(await shop.decided(order)).version for order in orders] == [2, 2, 2, 2, 2, 1, 1]
    assert [bool((await shop.decided(order)).credits) for order in orders] == [True] * 5 + [False] * 2


async def test_a_test_conversion_is_decided_and_stands_in_no_sum(shop: Shop) -> None:
    await shop.goal("tested")
    visitor = somebody()
    await shop.click(visitor, day=1, test=True, channel="display")
    order = await shop.convert(visitor, day=2, goal="tested", test=True)
    assert await shop.earned(order) == {"display": 1.0}
    day = at(2) // DAY_MS
    assert [row for row in await shop.store.credit_days(SITE, day, day, ("goal",)) if row.goal == "tested"] == []
    assert [row for row in await shop.store.goal_days(SITE, day, day, ("goal",)) if row.goal == "tested"] == []


async def test_two_workers_on_one_conversion_make_one_decision(shop: Shop) -> None:
    visitor = somebody()
    await shop.click(visitor, day=1)
    order = await shop.convert(visitor, day=2)
    counted = await shop.store.conversion(SITE, order)
    assert counted is not None
    row = await shop.decided(order)
    assert not await shop.store.put_credit(SITE, row), "a version that is there must not be stored again"
    assert (await shop.decided(order)).version == 1


async def test_what_was_read_of_somebody_who_is_erased_meanwhile_is_not_written_down(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, erasing = somebody(), True
    await shop.click(visitor, day=1)

    async def erased_meanwhile(*about: Any) -> Any:
        found = await gather(*about)
        if erasing:
            shop.house.remember_erasure(key(visitor))
        return found

    monkeypatch.setattr(credit, "gather", erased_meanwhile)
    order = await shop.convert(visitor, day=2)
    await credit.credit_due(shop.house)
    assert await shop.store.attribution(order) is None
    erasing = False
    assert (await shop.decided(order)).version == 1


async def test_a_fault_in_one_conversion_leaves_the_others_their_credit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = credit.decide

    def fails_once(counted: Any, *rest: Any) -> Any:
        if counted.goal == "faulty":
            raise ValueError("a fault")
        return decide(counted, *rest)

    monkeypatch.setattr(credit, "decide", fails_once)
    faulty = await shop.convert(somebody(), day=1, goal="faulty")
    fine = await shop.convert(somebody(), day=1, goal="fine")
    assert (await shop.decided(fine)).why == "no_touch"
    assert await shop.store.attribution(faulty) is None
    lines = shop.running.log("credit_failed")
    assert [line["conversion_id"] for line in lines] == [faulty], "it is said once, not every second"
    monkeypatch.undo()
    counted = await shop.store.conversion(SITE, faulty)
    assert counted is not None
    await credit.again_one(shop.house, counted)
    assert (await shop.decided(faulty)).why == "no_touch"
