"""WooCommerce: the ping, which states of an order count, what it is worth after refunds, and its own attribution."""

import base64
import hmac
import json
from typing import Any, Final

import pytest

from gateway import links
from gateway.errors import Refusal
from gateway.event import Item, Person, Personal, Received
from gateway.protocols.order_webhook import Endpoint, Hook, OrderAdjustment, Orders, Verified, headers_of
from gateway.protocols.woocommerce import read, verify

NOW: Final = 1_777_856_605_000  # 2026-05-04T01:03:25Z
ENDPOINT: Final = Endpoint(site="shop", received_at_ms=NOW, click_names=frozenset(links.CLICK_IDS))

ORDER: Final[dict[str, Any]] = {
    "id": 727,
    "number": "R-727",
    "status": "processing",
    "currency": "EUR",
    "total": "129.90",
    "date_created_gmt": "2026-05-04T01:02:01",
    "date_modified_gmt": "2026-05-04T01:02:05",
    "date_paid_gmt": "2026-05-04T01:02:03",
    "customer_id": 25,
    "payment_method": "stripe",
    "refunds": [],
}
RESTATED: Final = OrderAdjustment(
    order_id="727",
    kind="restate",
    reason="price_changed",
    adjustment_id="woocommerce:727:total:1777856525000:12990",
    at_ms=1_777_856_525_000,
    amount_minor=12_990,
    currency="EUR",
)


def order(topic: str = "order.updated", endpoint: Endpoint = ENDPOINT, **fields: object) -> Orders:
    return read(Verified(json.dumps({**ORDER, **fields}).encode(), topic, "d1"), endpoint)


def sold(**fields: object) -> Received:
    (received,) = order(**fields).events  # type: ignore[arg-type] # the order's own fields
    return received


# ------------------------------------------------------------------ the ping


def ping(body: bytes, **headers: str) -> Verified:
    return verify(Hook(body, headers_of((name.replace("_", "-"), value) for name, value in headers.items()), ("s",), 0))


def test_the_ping_needs_no_signature_and_leaves_nothing() -> None:
    verified = ping(b"webhook_id=3", Content_Type="application/x-www-form-urlencoded")
    assert verified.body == b""
    assert read(verified, ENDPOINT) == Orders(note="ping")


@pytest.mark.parametrize("body", [b"webhook_id=", b"webhook_id=3&x=1", b"webhook_id=x", b" webhook_id=3", b"{}", b""])
def test_nothing_else_is_a_ping(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        ping(body)
    assert refused.value.code == "signature_invalid"


def test_a_ping_with_a_wrong_signature_is_none() -> None:
    with pytest.raises(Refusal) as refused:
        ping(b"webhook_id=3", X_WC_Webhook_Signature="AAAA")
    assert refused.value.code == "signature_invalid"


def test_what_is_called_ping_in_a_signed_header_is_no_ping() -> None:
    assert read(Verified(b"{}", "ping", "d1"), ENDPOINT) == Orders(delivery_id="d1", note="topic_ignored")


def test_headers_of_a_delivery_are_read() -> None:
    signature = base64.b64encode(hmac.digest(b"a&b", b"{}", "sha256")).decode()
    lines = {
        "X-WC-Webhook-Signature": signature,
        "X-WC-Webhook-Topic": "order.updated",
        "X-WC-Webhook-Delivery-ID": "8c1f",
        "X-WC-Webhook-Source": "https://www.shop.example/",
    }
    hook = Hook(b"{}", headers_of(lines.items()), ("a&amp;b",), 0)
    assert verify(hook) == Verified(b"{}", "order.updated", "8c1f", "https://www.shop.example/")


# ------------------------------------------------------------------ which orders count


def test_an_order_in_work_is_a_purchase_and_its_update_restates_it() -> None:
    orders = order()
    (received,) = orders.events
    assert (received.name, received.conversion, received.event_id) == ("purchase", True, "woocommerce:727:paid")
    assert (received.order_id, received.amount_minor, received.currency) == ("727", 12_990, "EUR")
    assert (received.occurred_at_ms, received.trust, received.marks) == (1_777_856_521_000, "signed", ())
    assert received.props == {"order_name": "R-727"}
    assert (orders.adjustments, orders.note, orders.delivery_id) == ((RESTATED,), None, "d1")


STATES: Final = {
    "pending": "not_paid",
    "on-hold": "not_paid",
    "failed": "not_paid",
    "checkout-draft": "not_paid",
    "shipped-by-a-plugin": "not_paid",
    "processing": None,
    "completed": None,
}


@pytest.mark.parametrize("topic", ["order.created", "order.updated"])
@pytest.mark.parametrize("state", STATES)
def test_an_order_counts_when_it_is_in_work_or_done(state: str, topic: str) -> None:
    orders = order(topic, status=state)
    assert orders.note == STATES[state]
    assert len(orders.events) == (STATES[state] is None)
    assert len(orders.adjustments) == (STATES[state] is None and topic == "order.updated")


@pytest.mark.parametrize("topic", ["order.deleted", "order.restored", "product.updated", "action.some_hook", None])
def test_other_topics_are_noted(topic: str | None) -> None:
    assert read(Verified(b"{}", topic, "d1"), ENDPOINT) == Orders(delivery_id="d1", note="topic_ignored")


def test_the_same_order_is_the_same_purchase_whatever_comes_later() -> None:
    first = order("order.created").events[0]
    later = order(status="completed", date_modified_gmt="2026-05-09T00:00:00").events[0]
    assert first.event_id == later.event_id
    assert first == later


def test_an_old_order_that_is_edited_is_noted_not_refused() -> None:
    orders = order(date_created_gmt="2024-05-04T01:02:01")
    assert (orders.note, orders.events, orders.adjustments) == ("too_old", (), (RESTATED,))


def test_a_rehearsal_endpoint_marks_its_orders() -> None:
    assert order(endpoint=Endpoint(site="shop", received_at_ms=NOW, live=False)).events[0].test


REFUSED: Final[dict[str, tuple[dict[str, Any], tuple[str, str]]]] = {
    "no id": ({"id": None}, ("field_invalid", "id")),
    "no status": ({"status": None}, ("field_type", "status")),
    "no total": ({"total": None}, ("field_missing", "total")),
    "an empty total": ({"total": ""}, ("amount_invalid", "total")),
    "a total finer than cents": ({"total": "129.9012"}, ("amount_too_fine", "total")),
    "no currency": ({"currency": ""}, ("currency_missing", "currency")),
    "an unknown currency": ({"currency": "BTC"}, ("currency_unknown", "currency")),
    "a wrong time": ({"date_created_gmt": "today"}, ("time_invalid", "date_created_gmt")),
    "a refund of nothing known": ({"refunds": [{"id": 1, "total": "x"}]}, ("amount_invalid", "refunds[0].total")),
    "a refund too fine": (
        {"refunds": [{"total": "-1.00"}, {"total": "-1.001"}]},
        ("amount_too_fine", "refunds[1].total"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_order_that_cannot_be_taken_is_refused_by_its_field(case: str) -> None:
    change, expected = REFUSED[case]
    with pytest.raises(Refusal) as refused:
        order(**change)
    assert (refused.value.code, refused.value.field) == expected


def test_what_a_shop_answers_when_it_may_not_tell_is_refused() -> None:
    body = b'{"code":"woocommerce_rest_cannot_view","message":"Sorry","data":{"status":403}}'
    with pytest.raises(Refusal) as refused:
        read(Verified(body, "order.updated", "d1"), ENDPOINT)
    assert (refused.value.code, refused.value.field) == ("field_missing", "id")


# ------------------------------------------------------------------ changes


def restated(orders: Orders) -> OrderAdjustment:
    (adjustment,) = orders.adjustments
    return adjustment


def test_refunds_are_taken_off_the_total() -> None:
    orders = order(refunds=[{"id": 1, "reason": "", "total": "-10.00"}, {"id": 2, "reason": "", "total": "-2.50"}])
    found = restated(orders)
    assert (found.kind, found.reason, found.amount_minor) == ("restate", "returned", 11_740)
    assert found.adjustment_id == "woocommerce:727:total:1777856525000:11740"
    assert orders.events[0].amount_minor == 12_990, "the purchase itself stays what it was"


def test_a_refund_that_is_deleted_again_gives_the_total_back() -> None:
    one = restated(order(refunds=[{"total": "-10.00"}]))
    two = restated(order(refunds=[], date_modified_gmt="2026-05-04T01:02:06"))
    assert (one.amount_minor, two.amount_minor) == (11_990, 12_990)
    assert two.at_ms > one.at_ms
    assert two.adjustment_id != one.adjustment_id


def test_a_refund_is_not_lost_on_a_new_order_either() -> None:
    assert restated(order("order.created", refunds=[{"total": "-10.00"}])).amount_minor == 11_990


def test_an_order_given_back_whole_is_worth_nothing() -> None:
    orders = order(status="refunded", refunds=[{"total": "-129.90"}])
    assert (orders.events, restated(orders).amount_minor) == ((), 0)
    assert restated(order(refunds=[{"total": "-500.00"}])).amount_minor == 0


CANCELLED: Final[dict[str, tuple[dict[str, Any], bool]]] = {
    "paid before": ({}, True),
    "payment on delivery": ({"date_paid_gmt": None, "payment_method": "cod"}, True),
    "timed out unpaid: it may still be paid": ({"date_paid_gmt": None}, False),
}


@pytest.mark.parametrize("case", CANCELLED)
def test_a_cancelled_order_is_taken_back_if_it_was_in_work(case: str) -> None:
    change, taken_back = CANCELLED[case]
    orders = order(status="cancelled", **change)
    assert not orders.events
    if taken_back:
        at_ms = 1_777_856_525_000
        assert restated(orders) == OrderAdjustment(
            order_id="727",
            kind="retract",
            reason="cancelled",
            adjustment_id=f"woocommerce:727:cancelled:{at_ms}",
            at_ms=at_ms,
        )
        assert orders.note is None
    else:
        assert (orders.adjustments, orders.note) == ((), "not_paid")


def test_a_change_without_a_time_happened_now() -> None:
    assert restated(order(date_modified_gmt=None)).at_ms == NOW


# ------------------------------------------------------------------ what an order tells


def meta(**values: object) -> list[dict[str, object]]:
    return [{"id": 1, "key": f"_wc_order_attribution_{key}", "value": value} for key, value in values.items()]


def test_the_shop_s_own_attribution_is_a_campaign() -> None:
    received = sold(
        meta_data=meta(
            source_type="utm",
            utm_source="google",
            utm_medium="cpc",
            utm_campaign="spring",
            utm_id="(none)",
            utm_term="",
            utm_content="a",
            referrer="https://www.google.com/",
            session_entry="https://www.shop.example/?gclid=Abc",
            session_pages="3",
        )
    )
    assert received.campaign == {"source": "google", "medium": "cpc", "campaign": "spring", "content": "a"}
    assert received.props["source_type"] == "utm"
    assert (received.url, received.referrer) == ("https://www.shop.example/?gclid=Abc", "https://www.google.com/")


def test_a_direct_visit_is_no_campaign() -> None:
    received = sold(meta_data=meta(source_type="typein", utm_source="(direct)"))
    assert received.campaign == {}
    assert received.props["source_type"] == "typein"


def test_an_entry_path_stands_on_the_endpoint_s_origin() -> None:
    endpoint = Endpoint(site="shop", received_at_ms=NOW, origin="https://www.shop.example")
    (received,) = order(endpoint=endpoint, meta_data=meta(session_entry="/shop?x=1")).events
    assert received.url == "https://www.shop.example/shop?x=1"
    assert sold(meta_data=meta(session_entry="/shop")).url == "/shop"


@pytest.mark.parametrize("front", ["", "_"])
def test_order_meta_carries_our_visitor_and_click(front: str) -> None:
    entries = [
        {"key": f"{front}gw_vid", "value": "v1.abc"},
        {"key": f"{front}gw_cid", "value": "0123456789012345678901"},
        {"key": "gclid", "value": "Abc"},
        {"key": "_plugin", "value": {"deep": [1]}},
    ]
    orders = order(meta_data=entries)
    (received,) = orders.events
    assert (received.visitor_token, orders.click_id) == ("v1.abc", "0123456789012345678901")
    assert received.click_ids == {"gclid": "Abc"}
    assert received.marks == ()


def test_the_buyer_and_the_browser_are_personal() -> None:
    received = sold(
        billing={
            "first_name": "Jane",
            "last_name": "Doe",
            "email": "jane@example.com",
            "phone": "+491701234567",
            "address_1": "Hauptstr. 1",
            "city": "Berlin",
            "state": "",
            "postcode": "10115",
            "country": "DE",
        },
        customer_ip_address="203.0.113.9",
        customer_user_agent="Mozilla/5.0",
    )
    assert received.person == Person(
        email=(Personal("jane@example.com"),),
        phone=(Personal("+491701234567"),),
        first_name=Personal("Jane"),
        last_name=Personal("Doe"),
        street=Personal("Hauptstr. 1"),
        city=Personal("Berlin"),
        postal_code=Personal("10115"),
        country=Personal("DE"),
        external_id=Personal("25"),
    )
    assert (received.device.ip, received.device.user_agent) == (Personal("203.0.113.9"), Personal("Mozilla/5.0"))
    assert "jane" not in repr(received).lower()


def test_a_guest_has_no_number() -> None:
    assert sold(customer_id=0).person is None


def test_what_was_bought_and_with_which_codes() -> None:
    orders = order(
        line_items=[
            {"name": "Shirt", "product_id": 93, "sku": "SKU-1", "quantity": 2, "price": 49.95, "total": "99.90"},
            {"name": "Tea", "product_id": 0, "sku": "T", "quantity": 3, "price": 3.3333333333333335, "total": "10.00"},
            {"name": "Coffee", "product_id": 95, "quantity": 2, "price": 16.806722689075631, "total": "33.62"},
            {"name": "Cheese by weight", "product_id": 96, "quantity": 0.4, "price": 10, "total": "4.00"},
        ],
        coupon_lines=[{"code": "friend10"}],
    )
    (received,) = orders.events
    assert received.items == (
        Item(id="93", name="Shirt", price_minor=4_995, quantity=2),
        Item(id="T", name="Tea", quantity=3),
        Item(id="95", name="Coffee", price_minor=1_681, quantity=2),
    )
    assert received.marks == ("value_left_out", "item_left_out")
    assert orders.coupons == ("friend10",)
