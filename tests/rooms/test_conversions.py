"""Conversions: which events are one, what makes two of them the same, what a repeat says."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversions import Counted, claim, claim_key, is_conversion, same_content
from gateway.event import ConversionClaim, Received

NOW: Final = 1_795_176_000_000
EVENT: Final = Received(
    site="shop", event_id="event-0001", name="purchase", trust="server", occurred_at_ms=NOW, received_at_ms=NOW
)

WHAT: Final = {
    "an event of the site's list": (EVENT, frozenset({"purchase"}), True),
    "an event of another name": (EVENT, frozenset({"sign_up"}), False),
    "an event with a goal": (msgspec.structs.replace(EVENT, goal="sale"), frozenset(), True),
    "an event sent as a conversion": (msgspec.structs.replace(EVENT, conversion=True), frozenset(), True),
}


@pytest.mark.parametrize(("event", "listed", "expected"), WHAT.values(), ids=WHAT.keys())
def test_a_conversion_is(event: Received, listed: frozenset[str], expected: bool) -> None:
    assert is_conversion(event, listed) is expected


def test_the_order_decides_what_counts_once_and_else_the_event() -> None:
    assert claim_key("A-1", "event-0001") == "o:A-1"
    assert claim_key(None, "event-0001") == "e:event-0001"
    assert claim_key("", "event-0001") == "e:event-0001"
    assert claim_key("a-1", "x") != claim_key("A-1", "x"), "order ids are case-sensitive"


@given(order_id=st.text(min_size=1), event_id=st.text())
def test_no_order_can_take_the_key_of_an_event(order_id: str, event_id: str) -> None:
    assert claim_key(order_id, event_id) != claim_key(None, event_id)
    assert claim_key(order_id, event_id) != claim_key(None, order_id)


def test_a_claim_takes_the_goal_or_the_name_of_its_event() -> None:
    sold = msgspec.structs.replace(EVENT, amount_minor=990, currency="EUR", order_id="A-1", test=True)
    assert claim(sold) == ConversionClaim("purchase", "o:A-1", "A-1", 990, "EUR", True)
    assert claim(msgspec.structs.replace(sold, goal="sale")).goal == "sale"


def test_a_claim_without_an_amount_has_no_currency() -> None:
    assert claim(msgspec.structs.replace(EVENT, currency="EUR")).currency is None
    assert claim(msgspec.structs.replace(EVENT, currency="EUR", amount_minor=0)).currency == "EUR"


REPEATS: Final = {
    "with the same amount": (Counted(990, "EUR"), Counted(990, "EUR"), True),
    "with another amount": (Counted(990, "EUR"), Counted(991, "EUR"), False),
    "with another currency": (Counted(990, "EUR"), Counted(990, "USD"), False),
    "without an amount": (Counted(990, "EUR"), Counted(None, None), True),
    "with an amount where there was none": (Counted(None, None), Counted(990, "EUR"), False),
    "with nothing where there was nothing": (Counted(None, None), Counted(None, None), True),
    "with zero where there was none": (Counted(None, None), Counted(0, "EUR"), False),
}


@pytest.mark.parametrize(("first", "again", "same"), REPEATS.values(), ids=REPEATS.keys())
def test_a_repeat(first: Counted, again: Counted, same: bool) -> None:
    assert same_content(first, again) is same
