"""Shopify: which deliveries are purchases, what changes one later, and what an order tells about its buyer."""

import base64
import hmac
import json
from typing import Any, Final

import pytest

from gateway import links
from gateway.errors import Refusal
from gateway.event import Item, Person, Personal, Received
from gateway.protocols.order_webhook import Endpoint, Hook, OrderAdjustment, Orders, Verified, headers_of
from gateway.protocols.shopify import read, verify

NOW: Final = 1_777_856_605_000  # 2026-05-04T01:03:25Z
ENDPOINT: Final = Endpoint(site="shop", received_at_ms=NOW, click_names=frozenset(links.CLICK_IDS))
SHOP: Final = "example-shop.myshopify.com"

ORDER: Final[dict[str, Any]] = {
    "id": 5678,
    "name": "#1001",
    "created_at": "2026-05-04T03:02:01+02:00",
    "updated_at": "2026-05-04T03:02:05+02:00",
    "cancelled_at": None,
    "currency": "EUR",
    "total_price": "129.90",
    "financial_status": "paid",
    "source_name": "web",
    "test": False,
    "email": "jane@example.com",
    "phone": None,
}
PLACED_MS: Final = 1_777_856_521_000


def told(topic: str, body: object, endpoint: Endpoint = ENDPOINT, source: str | None = SHOP) -> Orders:
    return read(Verified(json.dumps(body).encode(), topic, "d1", source), endpoint)


def order(topic: str = "orders/paid", endpoint: Endpoint = ENDPOINT, **fields: object) -> Orders:
    return told(topic, {**ORDER, **fields}, endpoint)


def sold(**fields: object) -> Received:
    (received,) = order(**fields).events  # type: ignore[arg-type] # the order's own fields
    return received


def refused(topic: str, body: object) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as found:
        told(topic, body)
    return found.value.code, found.value.field


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize("front", ["X-Shopify-", "shopify-"])
def test_both_families_of_headers_are_read(front: str) -> None:
    lines = {
        "Hmac-Sha256": base64.b64encode(hmac.digest(b"s", b"{}", "sha256")).decode(),
        "Topic": "orders/paid",
        "Webhook-Id": "b545",
        "Shop-Domain": SHOP,
    }
    hook = Hook(b"{}", headers_of((front + name, value) for name, value in lines.items()), ("s",), 0)
    assert verify(hook) == Verified(b"{}", "orders/paid", "b545", SHOP)


@pytest.mark.parametrize("told_id", ["x" * 129, "a\nb", "ä", ""])
def test_a_delivery_id_that_cannot_be_kept_is_none(told_id: str) -> None:
    signature = base64.b64encode(hmac.digest(b"s", b"{}", "sha256")).decode()
    lines = {"X-Shopify-Hmac-Sha256": signature, "X-Shopify-Webhook-Id": told_id}
    assert verify(Hook(b"{}", headers_of(lines.items()), ("s",), 0)).delivery_id is None


# ------------------------------------------------------------------ which orders count


def test_a_paid_order_is_a_purchase() -> None:
    orders = order()
    (received,) = orders.events
    assert (received.name, received.conversion, received.event_id) == ("purchase", True, "shopify:5678:paid")
    assert (received.order_id, received.amount_minor, received.currency) == ("5678", 12_990, "EUR")
    assert (received.occurred_at_ms, received.received_at_ms) == (PLACED_MS, NOW)
    assert (received.site, received.trust, received.test, received.marks) == ("shop", "signed", False, ())
    assert dict(received.props) == {"order_name": "#1001", "source_name": "web"}
    assert (orders.delivery_id, orders.note, orders.adjustments) == ("d1", None, ())


STATES: Final = {
    "paid": "purchase",
    "partially_refunded": "purchase",
    "refunded": "purchase",
    "pending": "order_created",
    "authorized": "order_created",
    "partially_paid": "order_created",
    "voided": "order_created",
    None: "order_created",
}


@pytest.mark.parametrize("state", STATES)
def test_a_new_order_counts_when_it_is_paid(state: str | None) -> None:
    (received,) = order("orders/create", financial_status=state).events
    assert received.name == STATES[state]
    assert received.conversion is (received.name == "purchase")
    assert received.event_id == ("shopify:5678:paid" if received.conversion else "shopify:5678:created")


def test_a_paid_order_is_the_same_purchase_by_either_topic() -> None:
    assert order("orders/create").events == order("orders/paid").events


def test_a_test_order_is_marked_as_test() -> None:
    assert sold(test=True).test
    assert not sold(test=None).test
    (received,) = order(endpoint=Endpoint(site="shop", received_at_ms=NOW, live=False)).events
    assert received.test


@pytest.mark.parametrize(
    ("source", "marks"), {"web": (), None: (), "pos": ("not_web",), "580111": ("not_web",)}.items()
)
def test_an_order_from_elsewhere_than_the_web_is_marked(source: str | None, marks: tuple[str, ...]) -> None:
    received = sold(source_name=source)
    assert received.marks == marks
    assert received.conversion


def test_the_time_an_order_was_processed_goes_before_the_time_it_was_made() -> None:
    assert sold(processed_at="2026-05-03T00:00:00Z").occurred_at_ms == 1_777_766_400_000
    assert sold(processed_at=None, created_at=None).occurred_at_ms == NOW


def test_an_old_order_is_noted_and_a_fast_clock_costs_the_time_only() -> None:
    assert order(created_at="2025-03-01T00:00:00Z").note == "too_old"
    assert not order(created_at="2025-03-01T00:00:00Z").events
    received = sold(created_at="2026-06-01T00:00:00Z")
    assert (received.occurred_at_ms, received.marks) == (NOW, ("time_clamped",))


REFUSED: Final = {
    "no id": ({**ORDER, "id": None}, ("field_invalid", "id")),
    "an id of zero": ({**ORDER, "id": 0}, ("field_invalid", "id")),
    "no total": ({**ORDER, "total_price": None}, ("field_missing", "total_price")),
    "a total that is none": ({**ORDER, "total_price": "much"}, ("amount_invalid", "total_price")),
    "a negative total": ({**ORDER, "total_price": "-1.00"}, ("amount_negative", "total_price")),
    "a total that is not a number": ({**ORDER, "total_price": "NaN"}, ("amount_not_finite", "total_price")),
    "a total too fine": ({**ORDER, "total_price": "1.001"}, ("amount_too_fine", "total_price")),
    "a fine total in yen": ({**ORDER, "currency": "JPY"}, ("amount_too_fine", "total_price")),
    "no currency": ({**ORDER, "currency": None}, ("currency_missing", "currency")),
    "an unknown currency": ({**ORDER, "currency": "EURO"}, ("currency_unknown", "currency")),
    "a time without offset": ({**ORDER, "created_at": "2026-05-04T01:02:01"}, ("time_invalid", "created_at")),
    "lines that are no list": ({**ORDER, "line_items": {}}, ("field_type", "line_items")),
    "a customer that is a list": ({**ORDER, "customer": []}, ("field_type", "customer")),
    "a list": ([], ("field_type", None)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_order_that_cannot_be_taken_is_refused_by_its_field(case: str) -> None:
    body, expected = REFUSED[case]
    assert refused("orders/paid", body) == expected


@pytest.mark.parametrize(
    ("currency", "total", "minor"), [("JPY", "1299", 1299), ("KWD", "1.299", 1299), ("EUR", "0.07", 7)]
)
def test_money_is_exact_in_the_currency_s_own_units(currency: str, total: str, minor: int) -> None:
    assert sold(currency=currency, total_price=total).amount_minor == minor


# ------------------------------------------------------------------ what an order tells


def test_the_cart_carries_our_visitor_and_click() -> None:
    notes = [
        {"name": "engraving", "value": "Happy Birthday"},
        {"name": "GW_VID", "value": "v1.abc"},
        {"name": "gw_vid", "value": "second"},
        {"name": "gw_cid", "value": "0123456789012345678901"},
        {"name": "GCLID", "value": "Case-Kept"},
        {"name": None, "value": None},
    ]
    orders = order(note_attributes=notes)
    (received,) = orders.events
    assert received.visitor_token == "v1.abc"
    assert orders.click_id == "0123456789012345678901"
    assert received.click_ids == {"gclid": "Case-Kept"}
    assert "engraving" not in received.props


def test_an_order_without_notes_names_nobody() -> None:
    orders = order()
    assert (orders.events[0].visitor_token, orders.click_id, orders.events[0].click_ids) == (None, None, {})


LANDINGS: Final = {
    "a path, on the shop's domain": ("/?gclid=x", None, SHOP, "https://example-shop.myshopify.com/?gclid=x"),
    "a path, on the endpoint's origin": ("/a?b=c", "https://www.shop.example/", SHOP, "https://www.shop.example/a?b=c"),
    "a whole address": ("https://a.example/?c=d", "https://www.shop.example", SHOP, "https://a.example/?c=d"),
    "a path and no domain": ("/?gclid=x", None, None, "/?gclid=x"),
    "a path and a domain that is none": ("/?gclid=x", None, "evil/@x", "/?gclid=x"),
    "nothing": (None, None, SHOP, None),
}


@pytest.mark.parametrize("case", LANDINGS)
def test_the_landing_page_is_the_address_of_the_event(case: str) -> None:
    landing, origin, source, expected = LANDINGS[case]
    endpoint = Endpoint(site="shop", received_at_ms=NOW, origin=origin)
    (received,) = told("orders/paid", {**ORDER, "landing_site": landing}, endpoint, source).events
    assert received.url == expected


def test_the_buyer_and_the_browser_are_personal() -> None:
    received = sold(
        phone="+49 170 1",
        customer={
            "id": 999,
            "email": "jane@example.com",
            "phone": "+49 170 2",
            "first_name": "Jane",
            "last_name": "Doe",
        },
        billing_address={
            "address1": "Hauptstr. 1",
            "city": "Berlin",
            "province": "Berlin",
            "province_code": "BE",
            "zip": "10115",
            "country": "Germany",
            "country_code": "DE",
            "phone": "+49 170 1",
        },
        browser_ip="203.0.113.9",
        client_details={"browser_ip": None, "user_agent": "Mozilla/5.0", "accept_language": "de-DE,de;q=0.9"},
        referring_site="https://www.google.com/",
    )
    assert received.person == Person(
        email=(Personal("jane@example.com"),),
        phone=(Personal("+49 170 1"), Personal("+49 170 2")),
        first_name=Personal("Jane"),
        last_name=Personal("Doe"),
        street=Personal("Hauptstr. 1"),
        city=Personal("Berlin"),
        region=Personal("BE"),
        postal_code=Personal("10115"),
        country=Personal("DE"),
        external_id=Personal("999"),
    )
    device = received.device
    assert (device.ip, device.user_agent, device.language) == (
        Personal("203.0.113.9"),
        Personal("Mozilla/5.0"),
        "de-DE",
    )
    assert received.referrer == "https://www.google.com/"
    assert "jane" not in repr(received).lower()
    assert "203.0.113.9" not in repr(received)


def test_an_order_may_hide_its_buyer() -> None:
    received = sold(email=None, customer=None, client_details=None)
    assert received.person is None
    assert received.device.ip is None


def test_a_value_that_cannot_be_taken_costs_itself_only() -> None:
    received = sold(email="x" * 321, landing_site=5.5, customer={"first_name": ["Jane"], "last_name": "Doe"})
    assert received.person == Person(last_name=Personal("Doe"))
    assert (received.url, received.amount_minor) == (None, 12_990)
    assert received.marks == ("value_left_out",)


def test_what_was_bought_and_with_which_codes() -> None:
    orders = order(
        line_items=[
            {"product_id": 11, "sku": "SKU-1", "title": "Shirt", "variant_title": "M", "vendor": "Acme", "quantity": 2, "price": "49.95"},
            {"product_id": None, "sku": "SKU-2", "title": "Socks", "quantity": 1, "price": "30.00"},
            {"product_id": 13, "title": "Removed", "quantity": 0, "price": "1.00"},
        ],
        discount_codes=[{"code": "FRIEND10", "amount": "1.00"}, {"code": ""}, {"code": "SPRING"}],
    )  # fmt: skip
    assert orders.events[0].items == (
        Item(id="11", name="Shirt", price_minor=4_995, quantity=2, brand="Acme", variant="M"),
        Item(id="SKU-2", name="Socks", price_minor=3_000),
    )
    assert orders.coupons == ("FRIEND10", "SPRING")


# ------------------------------------------------------------------ checkouts


CHECKOUT: Final = {
    "id": 1,
    "token": "b1946ac92492d2347c6235b4d2611184",
    "created_at": "2026-05-04T03:02:01+02:00",
    "currency": "EUR",
    "total_price": "49.95",
    "email": "jane@example.com",
    "abandoned_checkout_url": "https://shop.example/recover?key=secret",
    "line_items": [{"product_id": 11, "title": "Shirt", "quantity": 1, "price": "49.95"}],
    "note_attributes": [{"name": "gw_vid", "value": "v1.abc"}],
}


def test_a_checkout_is_begun_with_what_is_in_the_cart() -> None:
    (received,) = told("checkouts/create", CHECKOUT).events
    assert (received.name, received.conversion, received.order_id) == ("begin_checkout", False, None)
    assert (received.amount_minor, received.currency, received.visitor_token) == (4_995, "EUR", "v1.abc")
    assert received.items == (Item(id="11", name="Shirt", price_minor=4_995),)
    assert received.person == Person(email=(Personal("jane@example.com"),))


def test_a_checkout_and_its_order_share_a_digest_and_the_token_is_not_kept() -> None:
    (begun,) = told("checkouts/create", CHECKOUT).events
    (bought,) = order(checkout_token=CHECKOUT["token"]).events
    assert begun.props["checkout"] == bought.props["checkout"]
    assert begun.event_id == f"shopify:{begun.props['checkout']}:checkout"
    assert str(CHECKOUT["token"]) not in repr(begun) + repr(bought)
    assert "secret" not in repr(begun)


def test_a_checkout_without_a_token_is_refused() -> None:
    assert refused("checkouts/create", {**CHECKOUT, "token": ""}) == ("field_invalid", "token")
    assert refused("checkouts/create", {**CHECKOUT, "token": None}) == ("field_type", "token")


# ------------------------------------------------------------------ changes

REFUND: Final[dict[str, Any]] = {
    "id": 77,
    "order_id": 5678,
    "created_at": "2026-05-04T01:03:00Z",
    "processed_at": None,
    "transactions": [
        {"kind": "refund", "status": "success", "amount": "10.00", "currency": "EUR"},
        {"kind": "refund", "status": "pending", "amount": "2.50", "currency": "EUR"},
        {"kind": "refund", "status": "failure", "amount": "5.00", "currency": "EUR"},
        {"kind": "sale", "status": "success", "amount": "129.90", "currency": "EUR"},
    ],
}
REFUNDED: Final = OrderAdjustment(
    order_id="5678",
    kind="refund",
    reason="returned",
    adjustment_id="shopify:refund:77",
    at_ms=1_777_856_580_000,
    amount_minor=1_250,
    currency="EUR",
)


def test_a_refund_is_what_its_transactions_gave_back() -> None:
    assert told("refunds/create", REFUND) == Orders(adjustments=(REFUNDED,), delivery_id="d1")


def test_a_refund_without_money_adjusts_nothing() -> None:
    none: tuple[list[object] | None, ...] = ([], None, REFUND["transactions"][2:])
    for transactions in none:
        assert told("refunds/create", {**REFUND, "transactions": transactions}).note == "nothing_to_adjust"


REFUSED_REFUNDS: Final[dict[str, tuple[dict[str, Any], tuple[str, str]]]] = {
    "no order": ({"order_id": None}, ("field_missing", "order_id")),
    "no time": ({"created_at": None}, ("field_missing", "created_at")),
    "no amount": (
        {"transactions": [{"kind": "refund", "status": "success", "currency": "EUR"}]},
        ("field_missing", "transactions[0].amount"),
    ),
    "no currency": (
        {"transactions": [{"kind": "refund", "status": "success", "amount": "1"}]},
        ("currency_missing", "transactions[0].currency"),
    ),
    "two currencies": (
        {"transactions": [REFUND["transactions"][0], {**REFUND["transactions"][1], "currency": "USD"}]},
        ("field_invalid", "transactions[1].currency"),
    ),
}


@pytest.mark.parametrize("case", REFUSED_REFUNDS)
def test_a_refund_that_cannot_be_taken_is_refused_by_its_field(case: str) -> None:
    change, expected = REFUSED_REFUNDS[case]
    assert refused("refunds/create", {**REFUND, **change}) == expected


def restated(worth_minor: int) -> OrderAdjustment:
    return OrderAdjustment(
        order_id="5678",
        kind="restate",
        reason="price_changed",
        adjustment_id=f"shopify:5678:total:1777856525000:{worth_minor}",
        at_ms=1_777_856_525_000,
        amount_minor=worth_minor,
        currency="EUR",
    )


WORTH: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "its current total": ({"current_total_price": "117.40", "refunds": [REFUND]}, 11_740),
    "nothing is left": ({"current_total_price": "0.00", "financial_status": "refunded"}, 0),
    "no current total: the total less its refunds": ({"refunds": [{**REFUND, "order_id": None}]}, 11_740),
    "no current total, no refunds": ({}, 12_990),
    "refunds in another currency are told apart": (
        {"refunds": [{**REFUND, "transactions": [{**REFUND["transactions"][0], "currency": "USD"}]}]},
        12_990,
    ),
    "never less than nothing": ({"total_price": "1.00", "refunds": [REFUND]}, 0),
}


@pytest.mark.parametrize("case", WORTH)
def test_an_update_restates_what_the_order_is_worth_now(case: str) -> None:
    fields, worth_minor = WORTH[case]
    assert order("orders/updated", **fields) == Orders(adjustments=(restated(worth_minor),), delivery_id="d1")


def test_an_update_needs_its_time() -> None:
    assert refused("orders/updated", {**ORDER, "updated_at": None}) == ("field_missing", "updated_at")


def test_an_update_of_an_unpaid_order_says_so() -> None:
    assert order("orders/updated", financial_status="pending") == Orders(delivery_id="d1", note="not_paid")


def test_a_bad_refund_in_an_update_is_named_by_its_path() -> None:
    with pytest.raises(Refusal) as found:
        order("orders/updated", refunds=[{**REFUND, "created_at": "then"}])
    assert (found.value.code, found.value.field) == ("time_invalid", "refunds[0].created_at")


def test_a_cancelled_order_is_taken_back_whatever_tells_it() -> None:
    at = "2026-05-04T01:03:00Z"
    retracted = OrderAdjustment(
        order_id="5678",
        kind="retract",
        reason="cancelled",
        adjustment_id="shopify:5678:cancelled",
        at_ms=1_777_856_580_000,
    )
    assert order("orders/cancelled", cancelled_at=at).adjustments == (retracted,)
    assert order("orders/updated", cancelled_at=at).adjustments == (retracted,)
    late = order("orders/paid", cancelled_at=at)
    assert late.adjustments == (retracted,)
    assert late.events
    assert refused("orders/cancelled", ORDER) == ("field_missing", "cancelled_at")


# ------------------------------------------------------------------ privacy

PRIVACY: Final = {
    "customers/data_request": "privacy_data_request",
    "customers/redact": "privacy_customer_redact",
    "shop/redact": "privacy_shop_redact",
}


@pytest.mark.parametrize("topic", PRIVACY)
def test_privacy_topics_are_noted_with_whom_they_are_about(topic: str) -> None:
    customer = {"id": 191_167, "email": "john@example.com", "phone": "555-625-1199"}
    orders = told(topic, {"shop_id": 1, "shop_domain": SHOP, "customer": customer, "orders_to_redact": [1]})
    subject = Person(
        email=(Personal("john@example.com"),), phone=(Personal("555-625-1199"),), external_id=Personal("191167")
    )
    assert orders == Orders(delivery_id="d1", note=PRIVACY[topic], subject=subject)
    assert "john" not in repr(orders)


def test_a_shop_that_leaves_names_no_customer() -> None:
    assert told("shop/redact", {"shop_id": 1, "shop_domain": SHOP}).subject is None
