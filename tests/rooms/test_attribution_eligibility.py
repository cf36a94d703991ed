"""Which touches may earn a conversion: one rule at a time, and what holds for any touches whatever."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.eligibility import eligible
from gateway.attribution.journeys import PATH_MAX
from gateway.attribution.registry import MODELS
from gateway.attribution.touches import (
    EXCLUSIONS,
    KINDS,
    UNATTRIBUTED,
    Conversion,
    Coupon,
    IdentityLink,
    Rules,
    Touch,
    coupon_key,
)
from gateway.times import DAY_MS
from tests.support.properties import tried

quick = tried(200)
AT: Final = 1_800_000_000_000
BUYER: Final = Conversion(at_ms=AT, device="d1")
ANNA: Final = {coupon_key("ANNA10"): Coupon("ANNA10", "ambassador:anna", "anna")}


def touch(id: str = "t", days: float = 1, **about: Any) -> Touch:
    """A usable click of the buyer's device, some days before the conversion."""
    fields: dict[str, Any] = {
        "sequence": 1, "at_ms": AT - round(days * DAY_MS), "kind": "click", "channel": "search", "device": "d1",
        "consent": True,
    }  # fmt: skip
    return Touch(id=id, **(fields | about))


def reason(one: Touch, conversion: Conversion = BUYER, rules: Rules | None = None, **others: Any) -> str | None:
    """Why a touch earns nothing; None when it does."""
    return eligible(conversion, [one], rules or Rules(), **others).excluded.get(one.id)


# ------------------------------------------------------------------ one rule at a time


def test_a_plain_click_earns_the_conversion() -> None:
    found = eligible(BUYER, [touch()], Rules())
    assert ([one.id for one in found.path], found.excluded, found.matched_by, found.why) == (["t"], {}, "device", None)


REASONS: Final[dict[str, tuple[str, Touch]]] = {
    "a robot": ("bot", touch(bot=True)),
    "a test": ("test", touch(test=True)),
    "a repeat": ("duplicate", touch(duplicate_of="t0")),
    "no consent": ("no_consent", touch(consent=False)),
    "a visit from an own page": ("own_domain", touch(own_domain=True)),
    "after the conversion": ("after_conversion", touch(days=-0.001)),
    "older than thirty days": ("outside_window", touch(days=30.001)),
    "a view older than a day": ("outside_window", touch(days=1.001, kind="view")),
    "another device": ("other_person", touch(device="d2")),
    "no device": ("other_person", touch(device=None)),
    "a robot without consent": ("bot", touch(bot=True, consent=False)),
    "another person's robot": ("other_person", touch(device="d2", bot=True)),
    "a repeat without consent": ("duplicate", touch(duplicate_of="t0", consent=False)),
    "an old visit from an own page": ("own_domain", touch(days=40, own_domain=True)),
}


@pytest.mark.parametrize(("code", "one"), REASONS.values(), ids=REASONS.keys())
def test_a_touch_is_left_out_with_its_first_reason(code: str, one: Touch) -> None:
    assert reason(one) == code
    assert code in EXCLUSIONS


WITHIN: Final = {
    "the moment of the conversion": touch(days=0),
    "thirty days to the millisecond": touch(days=30),
    "a view of a day to the millisecond": touch(days=1, kind="view"),
    "a scan": touch(kind="qr"),
    "a call": touch(kind="call"),
    "a visit from a search engine": touch(kind="referral"),
    "a direct visit alone": touch(kind="direct", channel="direct"),
}


@pytest.mark.parametrize("one", WITHIN.values(), ids=WITHIN.keys())
def test_a_touch_within_the_rules_counts(one: Touch) -> None:
    assert reason(one) is None


def test_consent_is_not_assumed() -> None:
    bare = Touch(id="t", sequence=1, at_ms=AT, kind="click", channel="search", device="d1")
    assert reason(bare) == "no_consent"


def test_a_test_conversion_may_be_earned_by_tests() -> None:
    assert reason(touch(test=True), msgspec.structs.replace(BUYER, test=True)) is None


def test_an_ambassador_does_not_earn_an_own_order() -> None:
    anna = msgspec.structs.replace(BUYER, ambassador="anna")
    assert reason(touch(ambassador="anna"), anna) == "own_order"
    assert reason(touch(ambassador="bert"), anna) is None
    assert reason(touch(ambassador="anna"), BUYER) is None


def test_a_new_path_begins_after_each_conversion_where_the_goal_says_so() -> None:
    again = msgspec.structs.replace(BUYER, previous_at_ms=AT - DAY_MS)
    fresh = Rules(reset_after_conversion=True)
    assert reason(touch(days=1), again, fresh) == "before_previous_conversion"
    assert reason(touch(days=0.99), again, fresh) is None
    assert reason(touch(days=1), again) is None


WINDOWS: Final = {
    "day 1, 30 days": (1, 30, True),
    "day 5, 30 days": (5, 30, True),
    "day 35, 30 days": (35, 30, False),
    "day 10, 7 days": (10, 7, False),
    "day 10, 60 days": (10, 60, True),
    "day 89, 90 days": (89, 90, True),
    "day 91, 90 days": (91, 90, False),
    "day 21, 30 days": (21, 30, True),
}


@pytest.mark.parametrize(("days", "window", "credited"), WINDOWS.values(), ids=WINDOWS.keys())
def test_the_window_of_the_goal_decides(days: int, window: int, credited: bool) -> None:
    assert (reason(touch(days=days), rules=Rules(click_window_ms=window * DAY_MS)) is None) is credited


# ------------------------------------------------------------------ views and direct visits


def test_a_click_supersedes_views_and_a_direct_visit_does_not() -> None:
    view = touch("view", kind="view", days=0.5)
    assert eligible(BUYER, [view, touch()], Rules()).excluded == {"view": "view_superseded"}
    found = eligible(BUYER, [view, touch("home", kind="direct", channel="direct")], Rules())
    assert ([one.id for one in found.path], found.excluded) == (["view"], {"home": "direct_ignored"})


def test_a_click_that_is_left_out_supersedes_nothing() -> None:
    found = eligible(BUYER, [touch("old", days=31), touch("view", kind="view", days=0.5)], Rules())
    assert [one.id for one in found.path] == ["view"]


def test_views_count_always_or_never_where_the_goal_says_so() -> None:
    both = [touch("view", kind="view", days=0.5), touch()]
    assert len(eligible(BUYER, both, Rules(view_policy="always")).path) == 2
    assert eligible(BUYER, both[:1], Rules(view_policy="never")).excluded == {"view": "views_off"}


def test_direct_visits_count_beside_others_only_where_the_goal_says_so() -> None:
    both = [touch(days=2), touch("home", kind="direct", channel="direct")]
    assert eligible(BUYER, both, Rules()).excluded == {"home": "direct_ignored"}
    assert len(eligible(BUYER, both, Rules(direct_policy="include")).path) == 2


# ------------------------------------------------------------------ coupons and pinned clicks


def with_coupon(*codes: str, **about: Any) -> Conversion:
    return msgspec.structs.replace(BUYER, coupons=codes, **about)


@pytest.mark.parametrize("code", ["ANNA10", "anna10", "  Anna10 "])
def test_a_coupon_takes_all_credit_however_it_is_written(code: str) -> None:
    found = eligible(with_coupon(code), [touch()], Rules(), coupons=ANNA)
    assert [one.id for one in found.path] == ["coupon:ANNA10"]
    assert found.excluded == {"t": "coupon_override"}


def test_of_several_coupons_the_first_that_is_known_counts() -> None:
    coupons = ANNA | {coupon_key("BERT5"): Coupon("BERT5", "ambassador:bert", "bert")}
    found = eligible(with_coupon("XMAS", "BERT5", "ANNA10"), [], Rules(), coupons=coupons)
    assert [one.channel for one in found.path] == ["ambassador:bert"]


def test_a_coupon_may_be_one_touch_more_or_nothing_at_all() -> None:
    beside = eligible(with_coupon("ANNA10"), [touch()], Rules(coupon_policy="touch"), coupons=ANNA)
    assert ([one.id for one in beside.path], beside.matched_by) == (["t", "coupon:ANNA10"], "device")
    alone = eligible(with_coupon("ANNA10"), [], Rules(coupon_policy="touch"), coupons=ANNA)
    assert ([one.id for one in alone.path], alone.matched_by) == (["coupon:ANNA10"], "coupon")
    ignored = eligible(with_coupon("ANNA10"), [touch()], Rules(coupon_policy="ignore"), coupons=ANNA)
    assert [one.id for one in ignored.path] == ["t"]


def test_ambassadors_do_not_earn_with_their_own_coupon() -> None:
    found = eligible(with_coupon("ANNA10", ambassador="anna"), [touch()], Rules(), coupons=ANNA)
    assert ([one.id for one in found.path], found.excluded) == (["t"], {"coupon:ANNA10": "own_order"})


def test_a_pinned_click_takes_all_credit_of_any_device() -> None:
    pinned = touch("ours", days=3, device="d9", click_id="c1")
    found = eligible(msgspec.structs.replace(BUYER, click_id="c1"), [pinned, touch()], Rules(pin="click_id"))
    assert ([one.id for one in found.path], found.matched_by) == (["ours"], "click_id")
    assert found.excluded == {"t": "pinned_elsewhere"}


def test_a_pinned_click_that_may_not_be_credited_leaves_nobody() -> None:
    pinned = touch("ours", days=3, click_id="c1", consent=False)
    found = eligible(msgspec.structs.replace(BUYER, click_id="c1"), [pinned, touch()], Rules(pin="click_id"))
    assert (found.path, found.why) == ((), "click_not_eligible")


def test_a_coupon_stands_beside_a_pinned_click_where_it_is_a_touch() -> None:
    conversion = with_coupon("ANNA10", click_id="c1")
    rules = Rules(pin="click_id", coupon_policy="touch")
    found = eligible(conversion, [touch("ours", click_id="c1")], rules, coupons=ANNA)
    assert ([one.id for one in found.path], found.matched_by) == (["ours", "coupon:ANNA10"], "click_id")


# ------------------------------------------------------------------ persons


def test_a_click_that_is_named_says_whose_the_conversion_is() -> None:
    conversion = Conversion(at_ms=AT, click_id="c1")
    found = eligible(conversion, [touch("other", days=2), touch("named", click_id="c1")], Rules())
    assert ([one.id for one in found.path], found.matched_by) == (["other", "named"], "device")


def test_a_device_leads_to_its_user_and_never_to_a_second_one() -> None:
    buyer = Conversion(at_ms=AT, device="tablet", user="u1")
    links = [IdentityLink("phone", "u1", AT), IdentityLink("tablet", "u2", 0), IdentityLink("work", "u2", 0)]
    mine = [touch("phone", device="phone"), touch("me", device="x", user="u1"), touch("tablet", device="tablet")]
    others = [touch("hers", device="tablet", user="u2"), touch("her work", device="work")]
    found = eligible(buyer, mine + others, Rules(), links)
    assert {one.id for one in found.path} == {"phone", "me", "tablet"}
    assert found.excluded == {"hers": "other_person", "her work": "other_person"}
    assert found.matched_by == "user"


def test_a_link_that_came_after_the_conversion_joins_nothing() -> None:
    buyer = Conversion(at_ms=AT, user="u1")
    assert reason(touch(device="phone"), buyer, links=[IdentityLink("phone", "u1", AT + 1)]) == "other_person"
    assert reason(touch(device="phone"), buyer, links=[IdentityLink("phone", "u1", AT)]) is None


WHY: Final[dict[str, tuple[str, Conversion, list[Touch]]]] = {
    "nothing is known": ("no_touch", BUYER, []),
    "only others are known": ("no_touch", BUYER, [touch(device="d2")]),
    "all are too old": ("none_eligible", BUYER, [touch(days=99)]),
    "an unknown click": ("click_unknown", Conversion(at_ms=AT, click_id="c9"), [touch()]),
    "an unknown click, and only old touches": (
        "none_eligible",
        Conversion(at_ms=AT, device="d1", click_id="c9"),
        [touch(days=99)],
    ),
}


@pytest.mark.parametrize(("code", "conversion", "touches"), WHY.values(), ids=WHY.keys())
def test_what_nobody_earns_says_why(code: str, conversion: Conversion, touches: list[Touch]) -> None:
    found = eligible(conversion, touches, Rules())
    assert (found.path, found.why, found.matched_by) == ((), code, "none")
    assert code in UNATTRIBUTED


# ------------------------------------------------------------------ order and length


def test_of_touches_at_the_same_moment_the_later_arrival_is_last() -> None:
    both = [touch("second", sequence=2, channel="a"), touch("first", sequence=1, channel="b")]
    assert [one.id for one in eligible(BUYER, both, Rules()).path] == ["first", "second"]
    assert [one.id for one in eligible(BUYER, both[::-1], Rules()).path] == ["first", "second"]


def test_of_a_very_long_path_the_first_and_the_newest_touches_stay() -> None:
    many = [touch(f"t{number}", days=(1_000 - number) / 100, sequence=number) for number in range(PATH_MAX + 100)]
    found = eligible(BUYER, many, Rules())
    ids = [one.id for one in found.path]
    assert (len(ids), ids[0], ids[1], ids[-1]) == (PATH_MAX, "t0", "t101", f"t{PATH_MAX + 99}")
    assert found.excluded == {f"t{number}": "path_full" for number in range(1, 101)}


def test_models_get_the_path_with_its_ages_and_milestones() -> None:
    found = eligible(BUYER, [touch("a", days=2), touch("b", days=1, channel="email")], Rules())
    path = found.touch_path(BUYER, lead_at_ms=AT - DAY_MS)
    assert (path.channels, path.ages_ms) == (("search", "email"), (2 * DAY_MS, DAY_MS))
    assert (path.lead_age_ms, path.opportunity_age_ms) == (DAY_MS, None)


# ------------------------------------------------------------------ anything whatever

NAMES: Final = st.sampled_from(["d1", "d2", None])
USERS: Final = st.sampled_from(["u1", "u2", None])
CLICK_IDS: Final = st.sampled_from(["c1", "c2", None])
MOMENTS: Final = st.integers(AT - 100 * DAY_MS, AT + DAY_MS) | st.sampled_from([AT, AT - DAY_MS, AT - 30 * DAY_MS])


@st.composite
def any_touches(draw: st.DrawFn) -> list[Touch]:
    number = draw(st.integers(0, 12))
    return [
        Touch(
            id=f"t{place}",
            sequence=place,
            at_ms=draw(MOMENTS),
            kind=draw(st.sampled_from(["click", "qr", "call", "referral", "view", "direct"])),
            channel=draw(st.sampled_from(["search", "email", "direct"])),
            device=draw(NAMES),
            user=draw(USERS),
            click_id=draw(CLICK_IDS),
            consent=draw(st.integers(0, 3)) > 0,
            bot=draw(st.integers(0, 5)) == 0,
            test=draw(st.integers(0, 5)) == 0,
            own_domain=draw(st.integers(0, 5)) == 0,
            duplicate_of="t0" if draw(st.integers(0, 5)) == 0 else None,
            ambassador=draw(st.sampled_from(["anna", None])),
        )
        for place in range(number)
    ]


any_conversions = st.builds(
    Conversion,
    at_ms=st.just(AT),
    device=NAMES,
    user=USERS,
    click_id=st.sampled_from(["c1", "c9", None]),
    coupons=st.lists(st.sampled_from(["ANNA10", "XMAS"]), max_size=2).map(tuple),
    previous_at_ms=st.none() | MOMENTS,
    test=st.booleans(),
    ambassador=st.sampled_from(["anna", None]),
)
any_rules = st.builds(
    Rules,
    click_window_ms=st.sampled_from([7 * DAY_MS, 30 * DAY_MS, 90 * DAY_MS]),
    view_window_ms=st.sampled_from([DAY_MS, 7 * DAY_MS]),
    view_policy=st.sampled_from(["if_no_click", "always", "never"]),
    direct_policy=st.sampled_from(["ignore_unless_only", "include"]),
    reset_after_conversion=st.booleans(),
    pin=st.sampled_from(["none", "click_id"]),
    coupon_policy=st.sampled_from(["override", "touch", "ignore"]),
)
any_links = st.lists(st.builds(IdentityLink, st.sampled_from(["d1", "d2"]), st.sampled_from(["u1", "u2"]), MOMENTS))


@quick
@given(any_conversions, any_touches(), any_rules, any_links)
def test_every_touch_is_on_the_path_or_has_a_known_reason(
    conversion: Conversion, touches: list[Touch], rules: Rules, links: list[IdentityLink]
) -> None:
    found = eligible(conversion, touches, rules, links, ANNA)
    on_path = {one.id for one in found.path if one.kind != "coupon"}
    left_out = {id for id in found.excluded if not id.startswith("coupon:")}
    assert not on_path & left_out
    assert on_path | left_out == {one.id for one in touches}
    assert set(found.excluded.values()) <= set(EXCLUSIONS)
    assert (found.why in UNATTRIBUTED) if not found.path else (found.why is None)
    assert all(one.kind in KINDS for one in found.path)


@quick
@given(any_conversions, any_touches(), any_rules, any_links, st.randoms(use_true_random=False))
def test_the_order_in_which_touches_are_handed_over_changes_nothing(
    conversion: Conversion, touches: list[Touch], rules: Rules, links: list[IdentityLink], chance: Any
) -> None:
    found = eligible(conversion, touches, rules, links, ANNA)
    shuffled = list(touches)
    chance.shuffle(shuffled)
    assert eligible(conversion, shuffled, rules, links[::-1], ANNA) == found


@quick
@given(any_conversions, any_touches(), any_rules, any_links)
def test_nothing_on_a_path_breaks_a_rule_that_has_no_exception(
    conversion: Conversion, touches: list[Touch], rules: Rules, links: list[IdentityLink]
) -> None:
    for one in eligible(conversion, touches, rules, links, ANNA).path:
        assert one.consent
        assert not one.bot
        assert one.duplicate_of is None
        assert one.at_ms <= conversion.at_ms
        assert conversion.at_ms - one.at_ms <= max(rules.click_window_ms, rules.view_window_ms)
        assert conversion.ambassador is None or one.ambassador != conversion.ambassador


@quick
@given(any_conversions, any_touches(), any_rules, any_links)
def test_every_rule_model_shares_out_exactly_one(
    conversion: Conversion, touches: list[Touch], rules: Rules, links: list[IdentityLink]
) -> None:
    found = eligible(conversion, touches, rules, links, ANNA)
    for model in MODELS.values():
        if model.shares is not None:
            shares = model.shares(found.touch_path(conversion))
            assert len(shares) == len(found.path)
            assert sum(shares) == (1 if found.path else 0), model.id
