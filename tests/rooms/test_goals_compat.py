"""The link tracker's dialect: goals, metrics, conversions by token; and postbacks as trackers and networks send them."""

import json
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.metrics import Figures as Counts
from gateway.attribution.metrics import measure
from gateway.catalogue import Goal
from gateway.conversions import adjustments
from gateway.conversions.goals import PRESETS
from gateway.errors import Refusal
from gateway.protocols import goals_compat
from gateway.protocols.catalogue_wire import Making
from gateway.protocols.goals_compat import (
    ALIASES,
    GOAL_TYPES,
    Figures,
    Period,
    Postback,
    answer_goal,
    answer_goals,
    answer_metrics,
    priced,
    read_goal,
    read_period,
    read_query,
    read_track,
    read_track_with_token,
)
from gateway.times import DAY_MS
from tests.support.properties import tried

MAKING: Final = Making(
    new_id=lambda: "new-id",
    new_code=lambda: "k7m2p9xq",
    person_key=lambda email: None,
    preset=lambda name: PRESETS[name].goal("new-id"),
    currency="EUR",
)
quick = tried(200)


def goal_of(said: object) -> Goal:
    return read_goal(json.dumps({"goal": said}).encode(), MAKING)


def track(said: object) -> Postback:
    return read_track(said if isinstance(said, bytes) else json.dumps(said).encode())


def refused(call: Any, *arguments: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as refusal:
        call(*arguments)
    return refusal.value.code, refusal.value.field


# ------------------------------------------------------------------ goals


def test_the_goal_of_the_guide_is_made() -> None:
    made = goal_of({"name": "Q1 Sale", "goal_type": "purchase", "value": 99.99, "currency": "USD"})
    assert made == Goal(
        id="new-id",
        code="q1_sale",
        name="Q1 Sale",
        type="purchase",
        value_minor=9_999,
        currency="USD",
        pin="click_id",
    )
    assert made.click_window_ms == 30 * DAY_MS


@pytest.mark.parametrize("goal_type", ["purchase", "signup", "download", "custom"])
def test_the_four_types_are_taken(goal_type: str) -> None:
    assert goal_type in GOAL_TYPES
    assert goal_of({"name": "x", "goal_type": goal_type}).type == goal_type


def test_a_goal_may_have_no_value_and_then_has_the_currency_of_the_site() -> None:
    for said in ({"name": "x"}, {"name": "x", "value": None, "currency": None}):
        made = goal_of({**said, "goal_type": "signup"})
        assert (made.value_minor, made.currency) == (None, "EUR")


GOALS: Final = {
    "an unknown type": ({"name": "x", "goal_type": "sale"}, "field_invalid", "goal.goal_type"),
    "a type that is no text": ({"name": "x", "goal_type": 1}, "field_type", "goal.goal_type"),
    "no name": ({"goal_type": "custom"}, "field_missing", "goal.name"),
    "an empty name": ({"name": " ", "goal_type": "custom"}, "field_invalid", "goal.name"),
    "a name that is no text": ({"name": 5, "goal_type": "custom"}, "field_type", "goal.name"),
    "a long name": ({"name": "x" * 121}, "field_too_long", "goal.name"),
    "contact data as a name": ({"name": "a@b.example"}, "field_personal", "goal.name"),
    "a value that is no number": ({"name": "x", "value": "ten"}, "amount_invalid", "goal.value"),
    "true as a value": ({"name": "x", "value": True}, "field_type", "goal.value"),
    "a negative value": ({"name": "x", "value": -1}, "amount_negative", "goal.value"),
    "a value too fine": ({"name": "x", "value": 0.001}, "amount_too_fine", "goal.value"),
    "an unknown currency": ({"name": "x", "currency": "XXX"}, "currency_unknown", "goal.currency"),
    "a currency that is no text": ({"name": "x", "currency": 1}, "field_type", "goal.currency"),
    "an unknown field": ({"name": "x", "colour": "red"}, "field_unknown", "goal.colour"),
}


@pytest.mark.parametrize(("said", "code", "field"), GOALS.values(), ids=GOALS.keys())
def test_a_goal_is_refused_with(said: object, code: str, field: str) -> None:
    assert refused(goal_of, said) == (code, field)


def test_a_goal_stands_under_goal() -> None:
    assert refused(read_goal, b'{"name":"x"}', MAKING) == ("field_unknown", "name")
    assert refused(read_goal, b"{}", MAKING) == ("field_missing", "goal")
    assert refused(read_goal, b"{", MAKING) == ("json_invalid", None)


def test_a_goal_is_told_with_exact_digits_and_its_token_once() -> None:
    goal = Goal(id="g1", code="q1_sale", name="Q1 Sale", type="purchase", value_minor=9_990, currency="EUR")
    assert answer_goal(goal, "secret") == (
        b'{"goal":{"id":"g1","name":"Q1 Sale","goal_type":"purchase","value":99.90,"currency":"EUR","code":"q1_sale",'
        b'"attribution_window_days":30,"postback_url":null,"postback_token":"secret"}}'
    )
    assert b"postback_token" not in answer_goal(goal)


def test_goals_are_listed_and_our_other_types_are_custom() -> None:
    plain = Goal(id="g1", code="a", name="A")
    lead = Goal(id="g2", code="b", name="B", type="lead", notify_url="https://shop.example/hook")
    assert json.loads(answer_goals([plain, lead])) == {
        "goals": [
            {
                "id": "g1", "name": "A", "goal_type": "custom", "value": None, "currency": None, "code": "a",
                "attribution_window_days": 30, "postback_url": None,
            },
            {
                "id": "g2", "name": "B", "goal_type": "custom", "value": None, "currency": None, "code": "b",
                "attribution_window_days": 30, "postback_url": "https://shop.example/hook",
            },
        ]
    }  # fmt: skip
    assert answer_goals([]) == b'{"goals":[]}'


# ------------------------------------------------------------------ metrics


def test_the_metrics_of_the_guide() -> None:
    """4 of 10 clicks converted; 99.99 and 49.99 make 149.98, on average 74.99; after 1 h and 3 h, so 2 h."""
    rate = measure(Counts(clicks=10, conversions=4, orders=4, value_minor=0))
    money = measure(Counts(clicks=10, conversions=2, orders=2, value_minor=14_998, lags_s=[3_600, 10_800]))
    answer = answer_metrics(
        Figures(
            conversions=4,
            clicks=10,
            rate_pct=rate.conversion_rate_pct,
            money={"USD": (money.total_value, money.average_value)},
            time_to_convert_s=money.avg_time_to_convert_s,
        ),
        Period("link-1", 30),
    )
    assert answer == (
        b'{"conversions":4,"conversion_rate":40.00,"total_value":149.98,"average_value":74.99,"time_to_convert":7200.0,'
        b'"currency":"USD","clicks":10,"by_currency":{"USD":{"total_value":149.98,"average_value":74.99}},'
        b'"link_id":"link-1","days":30}'
    )


def test_what_is_not_available_is_null() -> None:
    answer = json.loads(
        answer_metrics(
            Figures(conversions=0, clicks=0, rate_pct=None, money={}, time_to_convert_s=None), Period(None, 7)
        )
    )
    assert answer == {
        "conversions": 0, "conversion_rate": None, "total_value": None, "average_value": None, "time_to_convert": None,
        "currency": None, "clicks": 0, "by_currency": {}, "link_id": None, "days": 7,
    }  # fmt: skip


def test_amounts_of_two_currencies_are_never_added() -> None:
    figures = Figures(
        conversions=2,
        clicks=4,
        rate_pct="50.00",
        money={"USD": ("99.00", "99.00"), "JPY": ("500", None)},
        time_to_convert_s=None,
    )
    answer = json.loads(answer_metrics(figures, Period(None, 30)))
    assert (answer["total_value"], answer["average_value"], answer["currency"]) == (None, None, None)
    assert answer["by_currency"] == {
        "JPY": {"total_value": 500, "average_value": None},
        "USD": {"total_value": 99.0, "average_value": 99.0},
    }


def test_a_period_is_read() -> None:
    assert read_period({"link_id": "12345", "days": "7"}) == Period("12345", 7)
    assert read_period({}) == Period(None, 30)
    assert read_period({"link_id": "", "days": ""}) == Period(None, 30)


PERIODS: Final = {
    "no days": ({"days": "0"}, "field_invalid", "days"),
    "401 days": ({"days": "401"}, "field_invalid", "days"),
    "very many days": ({"days": "9" * 5_000}, "field_invalid", "days"),
    "days that are no number": ({"days": "all"}, "field_type", "days"),
    "half a day": ({"days": "0.5"}, "field_type", "days"),
    "an unknown parameter": ({"day": "1"}, "field_unknown", "day"),
    "an unknown parameter that may be personal": ({"a@b.example": "1"}, "field_unknown", None),
    "a long link": ({"link_id": "x" * 65}, "field_too_long", "link_id"),
}


@pytest.mark.parametrize(("query", "code", "field"), PERIODS.values(), ids=PERIODS.keys())
def test_a_period_is_refused_with(query: dict[str, str], code: str, field: str | None) -> None:
    assert refused(read_period, query) == (code, field)


# ------------------------------------------------------------------ conversions as JSON

TRACKED: Final = {
    "the sale of the guide": (
        {"value": 149.99, "currency": "USD", "order_id": "ORD-12345", "click_id": 12345},
        Postback(click_id="12345", order_id="ORD-12345", amount=Decimal("149.99"), currency="USD"),
    ),
    "the lead of the guide": (
        {"value": 25.00, "currency": "USD", "order_id": "LEAD-67890"},
        Postback(order_id="LEAD-67890", amount=Decimal(25), currency="USD"),
    ),
    "the install of the guide, without an order": (
        {"value": 5.00, "currency": "USD"},
        Postback(amount=Decimal(5), currency="USD"),
    ),
    "nothing said": ({}, Postback()),
    "everything null": (
        dict.fromkeys(("value", "currency", "order_id", "click_id", "status", "event_id", "coupon")),
        Postback(),
    ),
    "everything empty": (dict.fromkeys(("value", "currency", "order_id", "click_id", "event_id"), ""), Postback()),
    "a click id of ours": ({"click_id": "0aZ9" * 5 + "bc"}, Postback(click_id="0aZ9" * 5 + "bc")),
    "an amount as text": ({"value": "99.90"}, Postback(amount=Decimal("99.90"))),
    "zero": ({"value": 0}, Postback(amount=Decimal(0))),
    "a currency in small letters": ({"currency": "eur"}, Postback(currency="EUR")),
    "what is ours": (
        {"event_id": "event-0001", "status": "lead", "coupon": "ANNA10"},
        Postback(event_id="event-0001", status="lead", coupons=("ANNA10",)),
    ),
}


@pytest.mark.parametrize(("said", "expected"), TRACKED.values(), ids=TRACKED.keys())
def test_a_conversion_is_read(said: object, expected: Postback) -> None:
    assert track(said) == expected


@pytest.mark.parametrize("digits", ["99.99", "49.99", "149.99", "25.00", "5.00", "99.00", "0.10", "123456789012.34"])
def test_no_digit_of_an_amount_is_lost(digits: str) -> None:
    (amount, currency) = priced(track(b'{"value":' + digits.encode() + b"}"), "USD")
    assert (amount, currency) == (int(digits.replace(".", "")), "USD")


WRONG: Final[dict[str, tuple[object, str, str | None]]] = {
    "true as a value": ({"value": True}, "field_type", "value"),
    "a list as a value": ({"value": [1]}, "field_type", "value"),
    "an object as a value": ({"value": {}}, "field_type", "value"),
    "a value that is no number": ({"value": "ten"}, "amount_invalid", "value"),
    "a value with a comma": ({"value": "99,99"}, "amount_invalid", "value"),
    "a value with an underscore": ({"value": "1_000"}, "amount_invalid", "value"),
    "a value in other digits": ({"value": "\u0661\u0662"}, "amount_invalid", "value"),
    "a value that is not finite": ({"value": "NaN"}, "amount_invalid", "value"),
    "a number as a currency": ({"currency": 840}, "field_type", "currency"),
    "an unknown currency": ({"currency": "DOLLAR"}, "currency_unknown", "currency"),
    "a currency with a long s": ({"currency": "u\u017fd"}, "currency_unknown", "currency"),
    "a number as an order": ({"order_id": 12345}, "field_type", "order_id"),
    "a long order": ({"order_id": "x" * 65}, "field_too_long", "order_id"),
    "an e-mail address as an order": ({"order_id": "anna@shop.example"}, "field_personal", "order_id"),
    "a control character in an order": ({"order_id": "a\u0000b"}, "field_invalid", "order_id"),
    "a fraction as a click": ({"click_id": 1.5}, "field_type", "click_id"),
    "true as a click": ({"click_id": True}, "field_type", "click_id"),
    "a negative click": ({"click_id": -1}, "field_invalid", "click_id"),
    "a huge click": (b'{"click_id":' + b"9" * 4_000 + b"}", "field_invalid", "click_id"),
    "a long click": ({"click_id": "x" * 129}, "field_too_long", "click_id"),
    "an unknown status": ({"status": "maybe"}, "field_invalid", "status"),
    "a short event id": ({"event_id": "short"}, "event_id_invalid", "event_id"),
    "an unknown field": ({"amount": 5}, "field_unknown", "amount"),
    "a token in body and address": ({"postback_token": "t"}, "field_unknown", "postback_token"),
    "broken text": (b'{"value":"\xff"}', "json_invalid", None),
    "broken JSON": (b'{"value":1.2.3}', "json_invalid", None),
    "no JSON": (b"value=1", "json_invalid", None),
}


@pytest.mark.parametrize(("said", "code", "field"), WRONG.values(), ids=WRONG.keys())
def test_a_conversion_is_refused_with(said: object, code: str, field: str | None) -> None:
    assert refused(track, said) == (code, field)


def test_the_token_may_stand_in_the_body() -> None:
    body = b'{"postback_token":"abc","value":99.99,"currency":"USD","order_id":"A-1"}'
    assert read_track_with_token(body) == (
        "abc",
        Postback(order_id="A-1", amount=Decimal("99.99"), currency="USD"),
    )
    for missing in (b"{}", b'{"postback_token":""}', b'{"postback_token":null}'):
        assert refused(read_track_with_token, missing) == ("field_missing", "postback_token")
    assert refused(read_track_with_token, b'{"postback_token":5}') == ("field_type", "postback_token")
    long = json.dumps({"postback_token": "x" * 129}).encode()
    assert refused(read_track_with_token, long) == ("field_too_long", "postback_token")


@quick
@given(
    said=st.dictionaries(
        st.sampled_from(["value", "currency", "order_id", "click_id", "status", "event_id", "coupon", "other"]),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    )
)
def test_no_body_does_anything_but_be_read_or_be_refused(said: dict[str, object]) -> None:
    try:
        read = track(said)
    except Refusal:
        return
    assert read.order_id is None or len(read.order_id) <= 64


# ------------------------------------------------------------------ what it is worth

PRICES: Final = {
    "with its own currency": (Postback(amount=Decimal("9.9"), currency="USD"), "EUR", (990, "USD")),
    "with the goal's currency": (Postback(amount=Decimal("9.9")), "EUR", (990, "EUR")),
    "zero": (Postback(amount=Decimal(0)), "EUR", (0, "EUR")),
    "in a currency without decimals": (Postback(amount=Decimal("500.00"), currency="JPY"), "", (500, "JPY")),
    "nothing said": (Postback(), "EUR", (None, None)),
    "a currency alone": (Postback(currency="USD"), "EUR", (None, None)),
}


@pytest.mark.parametrize(("postback", "default", "expected"), PRICES.values(), ids=PRICES.keys())
def test_priced_is(postback: Postback, default: str, expected: tuple[int | None, str | None]) -> None:
    assert priced(postback, default) == expected


UNPRICED: Final = {
    "without any currency": (Postback(amount=Decimal(1)), "currency_missing", "currency"),
    "below zero": (Postback(amount=Decimal(-1), currency="EUR"), "amount_negative", "value"),
    "too fine": (Postback(amount=Decimal("0.001"), currency="EUR"), "amount_too_fine", "value"),
    "too large": (Postback(amount=Decimal("1E+20"), currency="EUR"), "amount_too_large", "value"),
}


@pytest.mark.parametrize(("postback", "code", "field"), UNPRICED.values(), ids=UNPRICED.keys())
def test_not_priced_is(postback: Postback, code: str, field: str) -> None:
    assert refused(priced, postback, "") == (code, field)


# ------------------------------------------------------------------ postbacks as queries

QUERIES: Final[dict[str, tuple[dict[str, str], Postback]]] = {
    "the pixel of the guide": (
        {"value": "99.99", "order_id": "ORD-1"},
        Postback(order_id="ORD-1", amount=Decimal("99.99")),
    ),
    "Keitaro": (
        {"subid": "abc", "status": "sale", "payout": "12.5", "currency": "usd", "tid": "T-1"},
        Postback(click_id="abc", order_id="T-1", amount=Decimal("12.5"), currency="USD"),
    ),
    "Voluum": (
        {"cid": "abc", "payout": "1", "txid": "T-1", "et": "Registration", "currency": "EUR", "param1": "x"},
        Postback(
            click_id="abc",
            order_id="T-1",
            amount=Decimal(1),
            currency="EUR",
            event="registration",
            unread=("param1",),
        ),
    ),
    "a status and an event": ({"status": "lead", "goal": "Signup"}, Postback(status="lead", event="signup")),
    "a status under another name": ({"event": "REJECTED"}, Postback(status="rejected")),
    "an event of odd letters": ({"event": "Käufe!"}, Postback()),
    "nothing": ({}, Postback()),
    "names in capitals": ({"ClickID": "abc", "VALUE": "1"}, Postback(click_id="abc", amount=Decimal(1))),
    "the first name that holds something wins": (
        {"sub_id": "later", "cid": "", "clickid": " first "},
        Postback(click_id="first"),
    ),
    "macros nobody filled in": (
        {"cid": "{clickid}", "clickid": "${CLICK}", "subid": "[cid]", "aff_sub": "%click%", "sub_id": "<id>"},
        Postback(),
    ),
    "what is ours": (
        {"event_id": "event-0001", "coupon": "ANNA10"},
        Postback(event_id="event-0001", coupons=("ANNA10",)),
    ),
    "a mapped word": (
        {"status": "Approved", "sale_status": "approved", "lead_status": "hold"},
        Postback(status="sale"),
    ),
    "one of several mapped words": (
        {"status": "trash", "rejected_status": "void, trash,"},
        Postback(status="rejected"),
    ),
    "a mapping that turns a word round": ({"status": "lead", "sale_status": "lead"}, Postback(status="sale")),
    "a mapping without a word": ({"sale_status": "approved", "rejected_status": ","}, Postback()),
    "a word to be ignored": ({"status": "hold", "ignore_status": "hold"}, Postback(ignored=True)),
    "a status to be ignored": ({"status": "lead", "ignore_status": "lead"}, Postback(status="lead", ignored=True)),
    "an answer asked for": ({"return": "OK"}, Postback(answer="OK")),
    "an answer that could be a page": ({"return": "<b>x</b>"}, Postback(unread=("return",))),
    "an answer too long": ({"return": "x" * 65}, Postback(unread=("return",))),
    "parameters nobody reads": (
        {"sub_id_1": "x", "cost": "1", "a@b.example": "1", "c@d.example": "2", "empty": ""},
        Postback(unread=("?", "cost", "sub_id_1")),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), QUERIES.values(), ids=QUERIES.keys())
def test_a_postback_is_read(query: dict[str, str], expected: Postback) -> None:
    assert read_query(query) == expected


@pytest.mark.parametrize(("field", "name"), [(field, name) for field, names in ALIASES.items() for name in names])
def test_every_alias_is_read(field: str, name: str) -> None:
    values: dict[str, tuple[str, object]] = {
        "value": ("1.50", Decimal("1.50")),
        "currency": ("EUR", "EUR"),
        "status": ("lead", "lead"),
        "event_id": ("event-0001", "event-0001"),
        "coupon": ("ANNA10", ("ANNA10",)),
    }
    written, expected = values.get(field, ("id-1", "id-1"))
    attribute = {"value": "amount", "coupon": "coupons"}.get(field, field)
    read = read_query({name: written})
    assert getattr(read, attribute) == expected
    assert read.unread == ()


BAD_QUERIES: Final[dict[str, tuple[dict[str, str], str, str | None]]] = {
    "a status nobody explains": ({"status": "canceled"}, "field_invalid", "status"),
    "an amount that is none": ({"payout": "free"}, "amount_invalid", "payout"),
    "an amount with a comma": ({"amount": "1,5"}, "amount_invalid", "amount"),
    "an unknown currency": ({"currency": "XXX"}, "currency_unknown", "currency"),
    "a long click": ({"subid": "x" * 129}, "field_too_long", "subid"),
    "an e-mail address as a click": ({"aff_sub": "a@b.example"}, "field_personal", "aff_sub"),
    "an e-mail address as an order": ({"external_id": "a@b.example"}, "field_personal", "external_id"),
    "a short event id": ({"event_id": "x"}, "event_id_invalid", "event_id"),
    "very many parameters": ({f"p{n}": "x" for n in range(101)}, "fields_too_many", None),
}


@pytest.mark.parametrize(("query", "code", "field"), BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
def test_a_postback_is_refused_with(query: dict[str, str], code: str, field: str | None) -> None:
    assert refused(read_query, query) == (code, field)


@quick
@given(
    query=st.dictionaries(
        st.sampled_from([name for names in ALIASES.values() for name in names]) | st.text(max_size=10),
        st.text(max_size=80),
        max_size=8,
    )
)
def test_no_query_does_anything_but_be_read_or_be_refused(query: dict[str, str]) -> None:
    try:
        read = read_query(query)
    except Refusal:
        return
    assert read.status in goals_compat.STATUSES
    assert all(name == "?" or name.isascii() for name in read.unread)


def test_a_postback_can_be_stored_and_compared() -> None:
    read = read_query({"cid": "abc", "value": "1"})
    assert msgspec.structs.replace(read) == read


def test_the_statuses_are_those_that_adjust_conversions() -> None:
    assert goals_compat.STATUSES == adjustments.STATUSES
