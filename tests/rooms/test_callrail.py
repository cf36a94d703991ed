"""CallRail: the signature's time, what a call tells, and that a call counts once whatever is told of it."""

import base64
import hmac
import json
from typing import Any, Final

import pytest

from gateway import links
from gateway.errors import Refusal
from gateway.event import Person, Personal, Received
from gateway.protocols.callrail import read, verify
from gateway.protocols.order_webhook import Endpoint, Hook, OrderAdjustment, Orders, Verified

NOW_S: Final = 1_777_856_605  # 2026-05-04T01:03:25Z
ENDPOINT: Final = Endpoint(site="shop", received_at_ms=NOW_S * 1000)
CALL_ID: Final = "CALb14811eb573645c6989000cf426b9772"

CALL: Final[dict[str, Any]] = {
    "resource_id": CALL_ID,
    "answered": True,
    "duration": "83",
    "direction": "inbound",
    "start_time": "2026-05-03T21:01:00.000-04:00",
    "customer_phone_number": "+14045551234",
    "tracking_phone_number": "+14047773734",
    "timestamp": "2026-05-04T01:03:20Z",
}


def told(endpoint: Endpoint = ENDPOINT, **fields: object) -> Orders:
    return read(Verified(json.dumps({**CALL, **fields}).encode()), endpoint)


def call(**fields: object) -> Received:
    (received,) = told(**fields).events  # type: ignore[arg-type] # the call's own fields
    return received


# ------------------------------------------------------------------ signature and time


def check(stamp: object, secret: str = "key") -> Verified:
    body = json.dumps({"timestamp": stamp}).encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha1")).decode()
    return verify(Hook(body, {"signature": (signature,)}, ("key",), NOW_S))


FRESH: Final = [
    NOW_S, str(NOW_S), float(NOW_S), NOW_S * 1000, str(NOW_S * 1000), "2026-05-04T01:03:25Z", "2026-05-03T21:03:25-04:00",
    "2026-05-04T01:03:25.123456789Z", "2026-05-04 01:03:25", NOW_S - 1_800, NOW_S + 300,
]  # fmt: skip


@pytest.mark.parametrize("stamp", FRESH)
def test_a_fresh_message_is_taken_however_its_time_is_written(stamp: object) -> None:
    assert check(stamp).body


@pytest.mark.parametrize("stamp", [NOW_S - 1_801, NOW_S + 301, 0, "2026-05-04T05:03:25Z", 10**15])
def test_a_message_of_another_time_is_stale(stamp: object) -> None:
    with pytest.raises(Refusal) as refused:
        check(stamp)
    assert refused.value.code == "signature_stale"


WRONG_TIMES: Final[list[tuple[object, str]]] = [
    (None, "field_missing"), ("", "field_missing"), ("soon", "time_invalid"), (True, "time_invalid"), ([], "time_invalid"),
]  # fmt: skip


@pytest.mark.parametrize(("stamp", "code"), WRONG_TIMES)
def test_a_message_without_a_readable_time_is_refused(stamp: object, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(stamp)
    assert (refused.value.code, refused.value.field) == (code, "timestamp")


def test_the_time_is_looked_at_only_when_the_signature_is_right() -> None:
    with pytest.raises(Refusal) as refused:
        check(0, "another key")
    assert refused.value.code == "signature_invalid"


# ------------------------------------------------------------------ calls


def test_a_call_tells_what_the_goal_s_rule_needs() -> None:
    orders = told()
    (received,) = orders.events
    assert (received.name, received.conversion, received.order_id) == ("call", False, CALL_ID)
    assert (received.props["answered"], received.props["duration_s"]) == (True, 83)
    assert (received.occurred_at_ms, received.trust, received.marks) == (1_777_856_460_000, "signed", ())
    assert (received.amount_minor, received.currency) == (None, None)
    assert (orders.adjustments, orders.note, orders.delivery_id) == ((), None, None)


def test_the_caller_is_personal_and_the_business_s_own_number_is_not() -> None:
    received = call(customer_country="US", customer_name="DENVER CO", customer_city="Denver")
    assert received.person == Person(phone=(Personal("+14045551234"),), country=Personal("US"))
    assert received.props["tracking_number"] == "14047773734"
    assert "4045551234" not in repr(received)
    assert "DENVER" not in repr(received)


def test_the_tracking_number_passes_the_cleaning_of_properties() -> None:
    number = str(call().props["tracking_number"])
    assert links.clean_text(number) == number


def test_a_number_that_is_also_the_caller_s_is_not_told() -> None:
    assert "tracking_number" not in call(tracking_phone_number="+1 (404) 555-1234").props


@pytest.mark.parametrize(
    ("written", "seconds"), [("83", 83), (83, 83), (83.0, 83), (None, 0), ("", 0), (86_400, 86_400)]
)
def test_a_duration_is_whole_seconds(written: object, seconds: int) -> None:
    assert call(duration=written).props["duration_s"] == seconds


@pytest.mark.parametrize("written", ["1:23", -1, 86_401, 1.5, True, [], "٣"])
def test_a_duration_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(Refusal) as refused:
        told(duration=written)
    assert (refused.value.code, refused.value.field) == ("field_invalid", "duration")


def test_what_is_learned_later_is_another_event_of_the_same_call() -> None:
    before = call(answered=False, duration=0)
    after = call()
    modified = call(changes=["tags"], tags=["hot"])
    assert before.event_id != after.event_id
    assert modified.event_id == after.event_id == f"callrail:{CALL_ID}:answered-83"
    assert before.order_id == after.order_id


def test_an_outbound_call_has_its_own_name() -> None:
    assert call(direction="outbound").name == "outbound_call"


def test_the_source_of_a_call() -> None:
    received = call(
        source="Google Ads",
        medium="CPC",
        campaign="Spring",
        keywords="red shoes",
        utm_source="google",
        landing_page_url="https://www.shop.example/?gclid=Abc",
        referring_url="https://www.google.com/",
        gclid="Abc",
        fbclid="",
        msclkid=None,
        tracker_resource_id="TRK1",
        source_name="Website pool",
        lead_status="good_lead",
        voicemail=False,
    )
    assert received.campaign == {"source": "google", "medium": "CPC", "campaign": "Spring", "term": "red shoes"}
    assert received.click_ids == {"gclid": "Abc"}
    assert (received.url, received.referrer) == ("https://www.shop.example/?gclid=Abc", "https://www.google.com/")
    assert received.props["tracker"] == "TRK1"
    assert received.props["tracker_name"] == "Website pool"
    assert received.props["lead_status"] == "good_lead"
    assert received.props["voicemail"] is False


def test_the_former_name_of_the_id_is_read_too() -> None:
    assert call(resource_id=None, id=CALL_ID).order_id == CALL_ID


@pytest.mark.parametrize("thing", ["MST1", "FRM1", "cal1", 5])
def test_texts_and_forms_are_noted(thing: object) -> None:
    assert told(resource_id=thing) == Orders(note="topic_ignored")


REFUSED: Final[dict[str, tuple[dict[str, Any], tuple[str, str]]]] = {
    "no id": ({"resource_id": None}, ("field_missing", "resource_id")),
    "an id too long": ({"resource_id": "CAL" + "x" * 62}, ("field_invalid", "resource_id")),
    "not said whether answered": ({"answered": None}, ("field_missing", "answered")),
    "answered in words": ({"answered": "yes"}, ("field_type", "answered")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_that_cannot_be_taken_is_refused_by_its_field(case: str) -> None:
    change, expected = REFUSED[case]
    with pytest.raises(Refusal) as refused:
        told(**change)
    assert (refused.value.code, refused.value.field) == expected


def test_a_local_time_is_not_guessed() -> None:
    received = call(start_time="2026-05-03 21:01:00")
    assert (received.occurred_at_ms, received.marks) == (NOW_S * 1000, ("value_left_out",))
    assert call(start_time=None).occurred_at_ms == NOW_S * 1000


def test_an_old_call_is_noted() -> None:
    assert told(start_time="2024-05-03T21:01:00Z").note == "too_old"


# ------------------------------------------------------------------ values

DOLLARS: Final = Endpoint(site="shop", received_at_ms=NOW_S * 1000, currency="USD")


def test_a_value_is_in_the_endpoint_s_currency_or_none() -> None:
    (received,) = told(DOLLARS, value="50.25").events
    assert (received.amount_minor, received.currency) == (5_025, "USD")
    assert call(value="50.25").amount_minor is None
    (odd,) = told(DOLLARS, value="$50").events
    assert (odd.amount_minor, odd.currency, odd.marks) == (None, None, ("value_left_out",))


def test_a_value_given_later_restates_the_call() -> None:
    assert told(DOLLARS, value="50", changes=["value"]).adjustments == (
        OrderAdjustment(
            order_id=CALL_ID,
            kind="restate",
            reason="price_changed",
            adjustment_id=f"callrail:{CALL_ID}:value:1777856600000",
            at_ms=1_777_856_600_000,
            amount_minor=5_000,
            currency="USD",
        ),
    )
    assert told(DOLLARS, value="50").adjustments == ()
    assert told(DOLLARS, changes=["tags"]).adjustments == ()


def test_a_rehearsal_endpoint_marks_its_calls() -> None:
    assert told(Endpoint(site="shop", received_at_ms=NOW_S * 1000, live=False)).events[0].test
