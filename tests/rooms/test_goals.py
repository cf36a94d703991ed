"""Goals: the presets people start from, the rules a goal keeps, which goal an event counts for, and what it is worth."""

from typing import Final

import msgspec
import pytest

from gateway.attribution.registry import MODELS
from gateway.catalogue import GOAL_TYPES, Goal
from gateway.conversions import Counted, claim, same_content
from gateway.conversions.goals import (
    AMBASSADOR_WINDOW_MS,
    BUSINESSES,
    CHOICES,
    PRESETS,
    by_code,
    check_goal,
    goal_for,
    preset,
    presets_for,
)
from gateway.errors import Refusal
from gateway.event import ConversionClaim, Received
from gateway.money import MAX_MINOR
from gateway.times import DAY_MS

NOW: Final = 1_795_176_000_000
GOAL: Final = Goal(id="g1", code="purchase", name="Sale")


def refused(goal: Goal) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as refusal:
        check_goal(goal, MODELS)
    return refusal.value.code, refusal.value.field


# ------------------------------------------------------------------ presets

WANTED: Final = {
    "a purchase": ("purchase", "purchase", True),
    "a paid subscription": ("subscribe", "subscribe", True),
    "a signed contract": ("contract_signed", "custom", True),
    "a paid invoice": ("invoice_paid", "purchase", True),
    "a newsletter signup": ("newsletter_signup", "signup", False),
    "a product in the cart": ("add_to_cart", "add_to_cart", False),
    "the start of a checkout": ("begin_checkout", "begin_checkout", False),
    "a cart that was left": ("abandoned_checkout", "custom", False),
    "a contact form": ("contact", "lead", False),
    "a signup for a discount code": ("discount_signup", "signup", False),
    "the download of a guide": ("download", "download", False),
    "a request for a quote": ("quote_request", "lead", True),
    "a lead form": ("generate_lead", "lead", True),
    "a free trial": ("start_trial", "trial", True),
    "the download of an app": ("app_download", "download", True),
    "an appointment": ("book_appointment", "lead", True),
    "an account": ("sign_up", "signup", True),
    "a request for a demo": ("request_demo", "custom", True),
    "a completed onboarding": ("onboarding_complete", "custom", False),
    "an upgrade": ("upgrade_subscription", "custom", True),
    "a phone call": ("call", "call", True),
    "anything else": ("custom", "custom", True),
}


@pytest.mark.parametrize(("name", "kind", "macro"), WANTED.values(), ids=WANTED.keys())
def test_there_is_a_preset_for(name: str, kind: str, macro: bool) -> None:
    made = preset(name).goal("g1")
    assert (made.id, made.code, made.type, made.macro) == ("g1", name, kind, macro)
    assert made.name == PRESETS[name].title


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_goal_that_keeps_the_rules(name: str) -> None:
    made = PRESETS[name].goal("g1")
    assert check_goal(made, MODELS) == made
    assert made.click_window_ms == 30 * DAY_MS


def test_r02_every_type_of_goal_has_a_preset() -> None:
    assert {one.type for one in PRESETS.values()} == set(GOAL_TYPES)


@pytest.mark.parametrize("business", BUSINESSES)
def test_a_business_is_proposed_ends_and_steps_ends_first(business: str) -> None:
    macros = [one.macro for one in presets_for(business) if one.name != "custom"]
    assert macros == sorted(macros, reverse=True)
    assert {True, False} == set(macros)


def test_a_shop_is_not_proposed_contracts_and_a_service_no_carts() -> None:
    shop, service = ({one.name for one in presets_for(business)} for business in BUSINESSES)
    assert "contract_signed" in service - shop
    assert "abandoned_checkout" in shop - service


def test_a_campaign_with_ambassadors_presets_90_days() -> None:
    assert AMBASSADOR_WINDOW_MS == 90 * 24 * 3_600_000
    assert preset("purchase").goal("g1", ambassadors=True).click_window_ms == AMBASSADOR_WINDOW_MS


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        preset("world_peace")
    assert (refusal.value.code, refusal.value.field) == ("field_invalid", "preset")


# ------------------------------------------------------------------ rules

BROKEN: Final = {
    "a window of no days": ({"click_window_ms": 0}, "field_invalid", "click_window_days"),
    "a window of 401 days": ({"click_window_ms": 401 * DAY_MS}, "field_invalid", "click_window_days"),
    "a window of half a day more": (
        {"click_window_ms": 30 * DAY_MS + DAY_MS // 2},
        "field_invalid",
        "click_window_days",
    ),
    "a negative window": ({"click_window_ms": -DAY_MS}, "field_invalid", "click_window_days"),
    "a view window of 31 days": ({"view_window_ms": 31 * DAY_MS}, "field_invalid", "view_window_days"),
    "a view window of no days": ({"view_window_ms": 0}, "field_invalid", "view_window_days"),
    "a view window of an hour": ({"view_window_ms": DAY_MS // 24}, "field_invalid", "view_window_days"),
    "an unknown model": ({"model": "magic"}, "field_invalid", "model"),
    "an unknown type": ({"type": "Purchase"}, "field_invalid", "type"),
    "an unknown count": ({"count": "twice"}, "field_invalid", "count"),
    "an unknown view policy": ({"view_policy": "maybe"}, "field_invalid", "view_policy"),
    "an unknown direct policy": ({"direct_policy": "maybe"}, "field_invalid", "direct_policy"),
    "an unknown coupon policy": ({"coupon_policy": "maybe"}, "field_invalid", "coupon_policy"),
    "an unknown pin": ({"pin": "cookie"}, "field_invalid", "pin"),
    "a rate of more than 100 percent": ({"target_rate_ppm": 1_000_001}, "field_invalid", "target_rate_pct"),
    "a negative rate": ({"target_rate_ppm": -1}, "field_invalid", "target_rate_pct"),
    "a call of a negative length": ({"call_min_s": -1}, "field_invalid", "call_min_s"),
    "no postbacks at all": ({"per_minute": 0}, "field_invalid", "per_minute"),
    "a value without a currency": ({"value_minor": 100}, "currency_missing", "currency"),
    "a currency that is none": ({"currency": "XXX"}, "currency_unknown", "currency"),
    "a currency in small letters": ({"currency": "eur", "value_minor": 1}, "currency_unknown", "currency"),
    "a negative value": ({"value_minor": -1, "currency": "EUR"}, "amount_negative", "value"),
    "a value too large": ({"value_minor": MAX_MINOR + 1, "currency": "EUR"}, "amount_too_large", "value"),
    "a code with capitals": ({"code": "Purchase"}, "event_name_invalid", "code"),
    "a code that ends in a line end": ({"code": "purchase\n"}, "event_name_invalid", "code"),
    "no code": ({"code": ""}, "event_name_invalid", "code"),
    "no name": ({"name": "  "}, "field_invalid", "name"),
    "a name of two lines": ({"name": "a\nb"}, "field_invalid", "name"),
    "a long name": ({"name": "x" * 121}, "field_too_long", "name"),
}


@pytest.mark.parametrize(("changes", "code", "field"), BROKEN.values(), ids=BROKEN.keys())
def test_refused_is(changes: dict[str, object], code: str, field: str) -> None:
    assert refused(msgspec.structs.replace(GOAL, **changes)) == (code, field)


KEPT: Final = {
    "one day": {"click_window_ms": DAY_MS},
    "400 days": {"click_window_ms": 400 * DAY_MS},
    "7 days": {"click_window_ms": 7 * DAY_MS},
    "30 days of views": {"view_window_ms": 30 * DAY_MS},
    "a rate of 10 percent": {"target_rate_ppm": 100_000},
    "a rate of nothing and of all": {"target_rate_ppm": 1_000_000},
    "a value of zero": {"value_minor": 0, "currency": "JPY"},
    "a currency alone": {"currency": "EUR"},
    "a description of two lines": {"description": "One.\nTwo."},
    "an address to notify": {"notify_url": "https://shop.example/hooks/conversion?k=1"},
    "an address with macros": {"notify_url": "https://t.example/pb?cid={clickid}&sum={payout}"},
}


@pytest.mark.parametrize("changes", KEPT.values(), ids=KEPT.keys())
def test_taken_is(changes: dict[str, object]) -> None:
    goal = msgspec.structs.replace(GOAL, **changes)
    assert check_goal(goal, MODELS) is goal


@pytest.mark.parametrize("field", CHOICES)
def test_every_word_of_a_closed_list_is_taken(field: str) -> None:
    for word in CHOICES[field]:
        check_goal(msgspec.structs.replace(GOAL, **{field: word}), MODELS)


def test_the_models_are_those_that_are_passed_in() -> None:
    check_goal(msgspec.structs.replace(GOAL, model="house_model"), {"house_model"})
    with pytest.raises(Refusal):
        check_goal(GOAL, frozenset())


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hook",
        "ftp://shop.example/hook",
        "shop.example/hook",
        "https:///hook",
        "https://user:secret@shop.example/hook",
        "https://@shop.example/hook",
        "https://shop.example:0/hook",
        "https://shop.example:99999/hook",
        "https://[::1/hook",
        "https://10.0.0.1/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://{clickid}.example/hook",
        "https://shop.example/a b",
        "https://shop.example/a\nb",
        "https://shöp.example/hook",
        "https://shop.example/" + "x" * 2_048,
        "javascript:alert(1)",
    ],
)
def test_an_address_to_notify_is_https_to_a_fixed_public_host(url: str) -> None:
    assert refused(msgspec.structs.replace(GOAL, notify_url=url)) == ("field_invalid", "notify_url")


# ------------------------------------------------------------------ which goal

SALE: Final = Goal(id="g1", code="purchase", name="Sale")
LEAD: Final = Goal(id="g2", code="lead", name="Lead")
OLD: Final = Goal(id="g3", code="old_goal", name="Old", archived=True)
GOALS: Final = by_code([SALE, LEAD, OLD])

FOUND: Final = {
    "its own name": ("purchase", None, SALE),
    "the goal it names": ("purchase", "lead", LEAD),
    "no goal where nothing is named alike": ("page_view", None, None),
    "no goal where it names one that is not there, whatever its own name": ("purchase", "gone", None),
    "no goal where it names an archived one": ("purchase", "old_goal", None),
    "no goal for the name of an archived one": ("old_goal", None, None),
    "no goal for an empty name": ("purchase", "", None),
}


@pytest.mark.parametrize(("name", "code", "expected"), FOUND.values(), ids=FOUND.keys())
def test_an_event_counts_for(name: str, code: str | None, expected: Goal | None) -> None:
    assert goal_for(name, code, GOALS) == expected
    assert goal_for(name, code, {goal.code: goal for goal in (SALE, LEAD, OLD)}) == expected


def test_of_two_goals_with_one_code_the_first_counts() -> None:
    twin = msgspec.structs.replace(SALE, id="g9")
    assert by_code([OLD, SALE, twin]) == {"purchase": SALE}


# ------------------------------------------------------------------ what it is worth

EVENT: Final = Received(
    site="shop", event_id="event-0001", name="purchase", trust="server", occurred_at_ms=NOW, received_at_ms=NOW
)
WORTH: Final = msgspec.structs.replace(SALE, value_minor=2_500, currency="USD")

VALUES: Final = {
    "its own amount, not the goal's": (990, "EUR", WORTH, (990, "EUR", "event")),
    "nothing, when it says zero": (0, "EUR", WORTH, (0, "EUR", "event")),
    "the goal's amount, when it says none": (None, None, WORTH, (2_500, "USD", "default")),
    "the goal's amount in the goal's currency": (None, "EUR", WORTH, (2_500, "USD", "default")),
    "no amount, when neither says one": (None, "EUR", SALE, (None, None, "none")),
    "no amount, when there is no goal": (None, None, None, (None, None, "none")),
    "its own amount, when there is no goal": (990, "EUR", None, (990, "EUR", "event")),
    "the goal's zero": (None, None, msgspec.structs.replace(WORTH, value_minor=0), (0, "USD", "default")),
}


@pytest.mark.parametrize(("amount", "currency", "goal", "expected"), VALUES.values(), ids=VALUES.keys())
def test_a_conversion_is_worth(
    amount: int | None, currency: str | None, goal: Goal | None, expected: tuple[int | None, str | None, str]
) -> None:
    made = claim(msgspec.structs.replace(EVENT, amount_minor=amount, currency=currency), goal)
    assert (made.amount_minor, made.currency, made.value_source) == expected


def test_a_claim_is_for_the_goal_that_was_found_and_carries_click_and_coupons() -> None:
    assert claim(EVENT, LEAD, click_id="abc", coupons=("ANNA10",)) == ConversionClaim(
        goal="lead",
        key="e:event-0001",
        order_id=None,
        amount_minor=None,
        currency=None,
        value_source="none",
        click_id="abc",
        coupons=("ANNA10",),
    )


def test_a_repeat_without_an_amount_says_nothing_new_though_the_default_changed_meanwhile() -> None:
    first = Counted(2_500, "USD", "default")
    assert same_content(first, Counted(3_000, "USD", "default"))
    assert same_content(Counted(9_999, "USD"), Counted(2_500, "USD", "default"))
    assert same_content(first, Counted(2_500, "USD"))
    assert not same_content(first, Counted(9_999, "USD"))
