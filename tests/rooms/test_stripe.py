"""Stripe: signatures and their time, which payments are orders, whose units an amount is in, and money that went back."""

import hmac
import json
from typing import Any, Final

import pytest

from gateway import links
from gateway.errors import CODES, Act, Kind, Refusal
from gateway.event import Person, Personal, Received
from gateway.money import EXPONENTS
from gateway.protocols.order_webhook import Endpoint, Hook, OrderAdjustment, Orders, Verified
from gateway.protocols.stripe import WINDOW_S, exponent_of, read, verify

NOW_S: Final = 1_777_856_605
ENDPOINT: Final = Endpoint(site="shop", received_at_ms=NOW_S * 1000, click_names=frozenset(links.CLICK_IDS))
CREATED_S: Final = NOW_S - 5

SESSION: Final[dict[str, Any]] = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "payment",
    "payment_status": "paid",
    "amount_total": 12_990,
    "currency": "eur",
    "payment_intent": "pi_1",
    "metadata": {"order_id": "ORD-1001"},
}
INVOICE: Final[dict[str, Any]] = {
    "id": "in_1",
    "billing_reason": "subscription_cycle",
    "amount_paid": 2_500,
    "currency": "chf",
    "metadata": {},
}
INTENT: Final[dict[str, Any]] = {
    "id": "pi_1",
    "amount_received": 12_990,
    "currency": "eur",
    "metadata": {"order_id": "ORD-1001"},
}
REFUND: Final[dict[str, Any]] = {
    "id": "re_1",
    "amount": 500,
    "currency": "eur",
    "charge": "ch_1",
    "payment_intent": "pi_1",
    "status": "succeeded",
    "created": NOW_S - 7,
}
CHARGE: Final[dict[str, Any]] = {
    "id": "ch_1",
    "amount": 12_990,
    "amount_refunded": 500,
    "currency": "eur",
    "payment_intent": "pi_1",
    "refunded": False,
}


def told(kind: str, thing: object, endpoint: Endpoint = ENDPOINT, **event: object) -> Orders:
    body = {"id": "evt_1", "type": kind, "livemode": True, "created": CREATED_S, "data": {"object": thing}, **event}
    return read(Verified(json.dumps(body).encode()), endpoint)


def checkout(endpoint: Endpoint = ENDPOINT, **fields: object) -> Orders:
    return told("checkout.session.completed", {**SESSION, **fields}, endpoint)


def sold(orders: Orders) -> Received:
    (received,) = orders.events
    return received


def adjusted(orders: Orders) -> OrderAdjustment:
    (adjustment,) = orders.adjustments
    return adjustment


# ------------------------------------------------------------------ signatures


def sign(body: bytes, at_s: int | str, secret: str = "whsec_new") -> str:
    return hmac.digest(secret.encode(), f"{at_s}.".encode() + body, "sha256").hex()


def check(header: str, *secrets: str, body: bytes = b"{}") -> Verified:
    return verify(Hook(body, {"stripe-signature": (header,)}, secrets or ("whsec_new",), NOW_S))


def code_of(header: str, *secrets: str) -> str:
    with pytest.raises(Refusal) as refused:
        check(header, *secrets)
    return refused.value.code


GOOD: Final = {
    "one value": f"t={NOW_S},v1={sign(b'{}', NOW_S)}",
    "several values while a secret is replaced": f"t={NOW_S},v1={'0' * 64},v1={sign(b'{}', NOW_S)}",
    "other schemes beside it": f"t={NOW_S},v0={'0' * 64},v1={sign(b'{}', NOW_S)},v2=x",
    "spaces": f"t={NOW_S}, v1={sign(b'{}', NOW_S)}",
    "as old as it may be": f"t={NOW_S - WINDOW_S},v1={sign(b'{}', NOW_S - WINDOW_S)}",
    "as far ahead as it may be": f"t={NOW_S + WINDOW_S},v1={sign(b'{}', NOW_S + WINDOW_S)}",
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_signature(case: str) -> None:
    assert check(GOOD[case]).body == b"{}"
    assert check(GOOD[case], "whsec_old", "whsec_new").body == b"{}"


BAD: Final = {
    "v0 only": f"t={NOW_S},v0={sign(b'{}', NOW_S)}",
    "no time": f"v1={sign(b'{}', NOW_S)}",
    "an empty time": f"t=,v1={sign(b'{}', '')}",
    "a time that is no number": f"t=now,v1={sign(b'{}', 'now')}",
    "a negative time": f"t=-1,v1={sign(b'{}', '-1')}",
    "two times": f"t={NOW_S},t={NOW_S},v1={sign(b'{}', NOW_S)}",
    "another time than was signed": f"t={NOW_S},v1={sign(b'{}', NOW_S - 1)}",
    "upper-case digits": f"t={NOW_S},v1={sign(b'{}', NOW_S).upper()}",
    "the secret without its prefix": f"t={NOW_S},v1={sign(b'{}', NOW_S, 'new')}",
    "more values than any sender makes": f"t={NOW_S}" + f",v1={'0' * 64}" * 20 + f",v1={sign(b'{}', NOW_S)}",
    "nothing": "",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_signature(case: str) -> None:
    assert code_of(BAD[case]) == "signature_invalid"


@pytest.mark.parametrize("at_s", [NOW_S - WINDOW_S - 1, NOW_S + WINDOW_S + 1, NOW_S + 86_400, 0])
def test_a_right_signature_of_another_time_is_stale(at_s: int) -> None:
    assert code_of(f"t={at_s},v1={sign(b'{}', at_s)}") == "signature_stale"
    assert code_of(f"t={at_s},v1={'0' * 64}") == "signature_invalid", "a forger learns nothing about the clock"


# ------------------------------------------------------------------ mode


def test_the_other_mode_is_refused_whatever_it_tells() -> None:
    for kind in ("checkout.session.completed", "customer.created"):
        with pytest.raises(Refusal) as refused:
            told(kind, SESSION, livemode=False)
        assert (refused.value.code, refused.value.field) == ("mode_mismatch", "livemode")
    assert CODES["mode_mismatch"].act is Act.OPERATOR
    assert CODES["mode_mismatch"].kind is Kind.INVALID


def test_a_test_endpoint_takes_test_payments_and_marks_them() -> None:
    rehearsal = Endpoint(site="shop", received_at_ms=NOW_S * 1000, live=False)
    assert sold(told("checkout.session.completed", SESSION, rehearsal, livemode=False)).test
    assert not sold(checkout()).test
    with pytest.raises(Refusal):
        told("checkout.session.completed", SESSION, rehearsal)


# ------------------------------------------------------------------ which payments are orders


@pytest.mark.parametrize("kind", ["checkout.session.completed", "checkout.session.async_payment_succeeded"])
def test_a_paid_checkout_is_a_purchase(kind: str) -> None:
    orders = told(kind, SESSION)
    received = sold(orders)
    assert (received.name, received.conversion, received.event_id) == ("purchase", True, "stripe:pi_1:paid")
    assert (received.order_id, received.amount_minor, received.currency) == ("ORD-1001", 12_990, "EUR")
    assert (received.occurred_at_ms, received.trust, received.marks) == (CREATED_S * 1000, "signed", ())
    assert (orders.delivery_id, orders.note) == ("evt_1", None)


STATES: Final = {"paid": True, "no_payment_required": True, "unpaid": False, "later_word": False}


@pytest.mark.parametrize("state", STATES)
def test_a_checkout_counts_only_when_it_is_paid(state: str) -> None:
    orders = checkout(payment_status=state)
    assert bool(orders.events) is STATES[state]
    assert orders.note == (None if STATES[state] else "not_paid")


def test_a_payment_that_failed_later_is_noted() -> None:
    assert told("checkout.session.async_payment_failed", SESSION).note == "not_paid"


def test_a_checkout_that_only_stores_a_card_is_no_order() -> None:
    stored = checkout(mode="setup", payment_status="no_payment_required", amount_total=None)
    assert (stored.events, stored.note) == ((), "not_an_order")


KEYS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a payment": ({"payment_intent": "pi_1", "invoice": "in_1"}, "pi_1"),
    "a subscription": ({"payment_intent": None, "invoice": "in_1"}, "in_1"),
    "nothing to pay": ({"payment_intent": None, "invoice": None}, "cs_1"),
}


@pytest.mark.parametrize("case", KEYS)
def test_an_order_is_known_by_its_payment(case: str) -> None:
    fields, key = KEYS[case]
    received = sold(checkout(**fields, metadata=None))
    assert (received.event_id, received.order_id) == (f"stripe:{key}:paid", key)


def test_a_checkout_and_its_payment_or_its_first_invoice_are_one_purchase() -> None:
    paid = sold(told("payment_intent.succeeded", INTENT))
    assert (paid.event_id, paid.order_id) == (sold(checkout()).event_id, sold(checkout()).order_id)
    begun = sold(checkout(mode="subscription", payment_intent=None, invoice="in_1", metadata={}))
    first = sold(told("invoice.paid", {**INVOICE, "billing_reason": "subscription_create"}))
    assert (begun.event_id, begun.order_id) == (first.event_id, first.order_id)


def test_a_renewal_is_an_order_of_its_own() -> None:
    details = {"subscription_details": {"metadata": {"order_id": "ORD-1", "gw_vid": "v1.abc", "gclid": "Abc"}}}
    for where in (details, {"parent": details}):
        received = sold(told("invoice.paid", {**INVOICE, **where}))
        assert (received.order_id, received.amount_minor, received.currency) == ("in_1", 2_500, "CHF")
        assert (received.visitor_token, received.click_ids) == ("v1.abc", {"gclid": "Abc"})
        assert received.props == {"billing_reason": "subscription_cycle"}


@pytest.mark.parametrize(
    ("reason", "metadata", "counts"),
    [
        ("subscription_create", {}, True),
        ("subscription_update", {}, True),
        ("manual", {}, False),
        ("manual", {"order_id": "ORD-1"}, True),
        (None, None, False),
    ],
)
def test_an_invoice_counts_for_a_subscription_or_when_it_names_an_order(
    reason: str, metadata: Any, counts: bool
) -> None:
    orders = told("invoice.paid", {**INVOICE, "billing_reason": reason, "metadata": metadata})
    assert (bool(orders.events), orders.note) == (counts, None if counts else "not_an_order")


def test_a_payment_counts_when_it_names_an_order() -> None:
    assert told("payment_intent.succeeded", {**INTENT, "metadata": {}}).note == "not_an_order"
    assert sold(told("payment_intent.succeeded", INTENT)).order_id == "ORD-1001"


def test_other_types_are_noted() -> None:
    thin = {
        "id": "evt_2",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error",
        "livemode": True,
        "created": "x",
    }
    assert read(Verified(json.dumps(thin).encode()), ENDPOINT) == Orders(delivery_id="evt_2", note="topic_ignored")


def test_an_old_payment_is_noted() -> None:
    orders = told("checkout.session.completed", SESSION, created=1_700_000_000)
    assert (orders.events, orders.note, orders.delivery_id) == ((), "too_old", "evt_1")


# ------------------------------------------------------------------ units

UNITS: Final = {
    "euro, in cents": ("eur", 12_990, 12_990),
    "yen, whole": ("jpy", 500, 500),
    "won, whole": ("krw", 500, 500),
    "dinar, thousandths": ("kwd", 5_120, 5_120),
    "ariary, whole here and hundredths in ISO 4217": ("mga", 500, 50_000),
    "króna, hundredths here and whole in ISO 4217": ("isk", 500, 5),
    "Uganda shilling, hundredths here and whole in ISO 4217": ("ugx", 500, 5),
    "nothing": ("eur", 0, 0),
}


@pytest.mark.parametrize("case", UNITS)
def test_amounts_are_turned_into_our_minor_units(case: str) -> None:
    currency, amount, minor = UNITS[case]
    received = sold(checkout(currency=currency, amount_total=amount))
    assert (received.amount_minor, received.currency) == (minor, currency.upper())


def test_only_three_currencies_are_counted_otherwise_than_in_iso_4217() -> None:
    assert {code for code in EXPONENTS if exponent_of(code) != EXPONENTS[code]} == {"MGA", "ISK", "UGX"}
    assert exponent_of("XXX") is None


REFUSED: Final[dict[str, tuple[dict[str, Any], tuple[str, str]]]] = {
    "no amount": ({"amount_total": None}, ("field_missing", "data.object.amount_total")),
    "half a cent": ({"amount_total": 1.5}, ("field_type", "data.object.amount_total")),
    "a negative amount": ({"amount_total": -1}, ("amount_negative", "data.object.amount_total")),
    "hundredths of a króna": (
        {"amount_total": 550, "currency": "isk"},
        ("amount_too_fine", "data.object.amount_total"),
    ),
    "no currency": ({"currency": None}, ("currency_missing", "data.object.currency")),
    "an unknown currency": ({"currency": "zzz"}, ("currency_unknown", "data.object.currency")),
    "a currency that only looks like one": ({"currency": "ısk"}, ("currency_unknown", "data.object.currency")),
    "no state": ({"payment_status": None}, ("field_type", "data.object.payment_status")),
    "no id": ({"id": None}, ("field_invalid", "data.object.id")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_checkout_that_cannot_be_taken_is_refused_by_its_field(case: str) -> None:
    change, expected = REFUSED[case]
    with pytest.raises(Refusal) as refused:
        checkout(**change)
    assert (refused.value.code, refused.value.field) == expected


def test_an_event_without_its_object_is_refused() -> None:
    for change, field in (({"data": {}}, "data.object"), ({"data": None}, "data"), ({"created": "x"}, "created")):
        with pytest.raises(Refusal) as refused:
            told("checkout.session.completed", SESSION, **change)
        assert refused.value.field == field
    with pytest.raises(Refusal) as refused:
        told("checkout.session.completed", [])
    assert (refused.value.code, refused.value.field) == ("field_type", "data.object")


# ------------------------------------------------------------------ what a payment tells


REFERENCES: Final[dict[str, tuple[dict[str, Any], str | None, str | None]]] = {
    "a reference is our visitor token": ({"client_reference_id": "v1.abc"}, "v1.abc", None),
    "metadata goes before it": ({"client_reference_id": "x", "metadata": {"gw_vid": "v1.abc"}}, "v1.abc", None),
    "a click id in metadata": ({"metadata": {"gw_cid": "0123456789012345678901"}}, None, "0123456789012345678901"),
    "a click id in the reference of a payment link": (
        {"client_reference_id": "gw_cid_0123456789012345678901"},
        None,
        "0123456789012345678901",
    ),
    "a click id in both: metadata goes before it": (
        {"client_reference_id": "gw_cid_second", "metadata": {"gw_cid": "0123456789012345678901"}},
        None,
        "0123456789012345678901",
    ),
    "neither": ({}, None, None),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_our_ids_travel_in_the_reference_or_in_metadata(case: str) -> None:
    fields, visitor, click = REFERENCES[case]
    orders = checkout(**fields)
    assert (sold(orders).visitor_token, orders.click_id) == (visitor, click)


def test_click_ids_are_found_among_metadata_and_nothing_else_is_kept() -> None:
    received = sold(checkout(metadata={"order_id": "O", "gclid": "Abc", "note": "for Jane", "n": 5}))
    assert received.click_ids == {"gclid": "Abc"}
    assert received.props == {}


@pytest.mark.parametrize("order_id", ["jane@example.com", "x" * 65, "a\nb", {"a": 1}])
def test_an_order_number_that_cannot_be_one_is_left_out(order_id: object) -> None:
    received = sold(checkout(metadata={"order_id": order_id}))
    assert (received.order_id, received.marks) == ("pi_1", ("value_left_out",))


def test_the_buyer_is_personal_and_the_full_name_is_not_split() -> None:
    customer = {
        "email": "jane@example.com",
        "name": "Jane Doe",
        "phone": "+491701234567",
        "address": {"line1": "Hauptstr. 1", "city": "Berlin", "country": "DE", "postal_code": "10115", "state": None},
    }
    received = sold(checkout(customer_details=customer))
    assert received.person == Person(
        email=(Personal("jane@example.com"),),
        phone=(Personal("+491701234567"),),
        street=Personal("Hauptstr. 1"),
        city=Personal("Berlin"),
        postal_code=Personal("10115"),
        country=Personal("DE"),
    )
    assert "Jane" not in repr(received)
    invoiced = sold(told("invoice.paid", {**INVOICE, "customer_email": "jane@example.com"}))
    assert invoiced.person == Person(email=(Personal("jane@example.com"),))


# ------------------------------------------------------------------ money that went back

GIVEN_BACK: Final = OrderAdjustment(
    order_id="pi_1",
    kind="refund",
    reason="returned",
    adjustment_id="stripe:re_1",
    at_ms=(NOW_S - 7) * 1000,
    amount_minor=500,
    currency="EUR",
    event_ids=("stripe:pi_1:paid", "stripe:ch_1:paid"),
)


def test_a_refund_names_the_event_its_order_came_with() -> None:
    orders = told("refund.created", REFUND)
    assert orders == Orders(adjustments=(GIVEN_BACK,), delivery_id="evt_1")
    assert sold(checkout()).event_id in GIVEN_BACK.event_ids


GOING: Final = {"succeeded": True, "pending": True, "failed": False, "canceled": False, "requires_action": False}


@pytest.mark.parametrize(("state", "counts"), GOING.items())
def test_a_refund_counts_when_it_is_on_its_way(state: str, counts: bool) -> None:
    orders = told("refund.created", {**REFUND, "status": state})
    assert (bool(orders.adjustments), orders.note) == (counts, None if counts else "nothing_to_adjust")


def test_a_charge_that_lists_its_refunds_tells_the_same_refunds() -> None:
    listed = {"data": [REFUND, {**REFUND, "id": "re_2", "status": "failed"}]}
    found = adjusted(told("charge.refunded", {**CHARGE, "invoice": "in_1", "refunds": listed}))
    assert (found.adjustment_id, found.amount_minor, found.at_ms) == ("stripe:re_1", 500, GIVEN_BACK.at_ms)
    assert (found.kind, found.reason, found.order_id) == ("refund", "returned", "pi_1")
    assert found.event_ids == ("stripe:pi_1:paid", "stripe:in_1:paid")


def test_a_bad_refund_of_a_charge_is_named_by_its_path() -> None:
    with pytest.raises(Refusal) as refused:
        told("charge.refunded", {**CHARGE, "refunds": {"data": [{**REFUND, "created": None}]}})
    assert (refused.value.code, refused.value.field) == ("field_missing", "data.object.refunds.data[0].created")


def test_a_charge_without_its_refunds_restates_what_is_left_of_it() -> None:
    left = OrderAdjustment(
        order_id="pi_1",
        kind="restate",
        reason="returned",
        adjustment_id=f"stripe:ch_1:refunded:{CREATED_S}:500",
        at_ms=CREATED_S * 1000,
        amount_minor=12_490,
        currency="EUR",
        event_ids=("stripe:pi_1:paid",),
    )
    assert told("charge.refunded", CHARGE) == Orders(adjustments=(left,), delivery_id="evt_1")
    part = adjusted(told("charge.refunded", {**CHARGE, "amount_captured": 1_000}))
    assert part.amount_minor == 500, "what was not captured was never paid"
    assert told("charge.refunded", {**CHARGE, "amount_refunded": 0}).note == "nothing_to_adjust"


@pytest.mark.parametrize("whole", [{"refunded": True}, {"amount_refunded": 12_990}, {"amount_captured": 500}])
def test_a_charge_of_which_nothing_is_left_takes_the_order_back(whole: dict[str, object]) -> None:
    found = adjusted(told("charge.refunded", {**CHARGE, **whole}))
    assert (found.kind, found.reason, found.amount_minor, found.currency) == ("retract", "returned", None, None)
    assert found.at_ms == CREATED_S * 1000


def test_a_charge_that_cannot_be_taken_is_refused_by_its_field() -> None:
    for field in ("amount", "amount_refunded"):
        with pytest.raises(Refusal) as refused:
            told("charge.refunded", {**CHARGE, field: None})
        assert (refused.value.code, refused.value.field) == ("field_missing", f"data.object.{field}")


def test_a_dispute_takes_its_amount_back_and_an_inquiry_does_not() -> None:
    dispute = {**REFUND, "id": "du_1", "status": "needs_response", "amount": 12_990}
    found = adjusted(told("charge.dispute.created", dispute))
    assert (found.kind, found.reason, found.amount_minor) == ("refund", "chargeback", 12_990)
    assert found.adjustment_id == "stripe:du_1"
    inquiry = told("charge.dispute.created", {**dispute, "status": "warning_needs_response"})
    assert (inquiry.adjustments, inquiry.note) == ((), "nothing_to_adjust")


def test_a_charge_without_a_payment_is_known_by_itself() -> None:
    refund = {**REFUND, "payment_intent": None}
    assert adjusted(told("refund.created", refund)).order_id == "ch_1"
    assert adjusted(told("charge.refunded", {**CHARGE, "payment_intent": None, "refunded": True})).order_id == "ch_1"


def test_nothing_given_back_adjusts_nothing() -> None:
    assert told("refund.created", {**REFUND, "amount": 0}).note == "nothing_to_adjust"
