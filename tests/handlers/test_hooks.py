"""Order webhooks over a real socket: outside test data, what is stored, what is refused, and attacks on signatures."""

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.clock import ManualClock
from gateway.flows.credit import credit_due
from gateway.flows.orders import BODY_MAX_BYTES, REMEMBERED_MS
from gateway.times import DAY_MS
from tests.support.running import HOST, NOW_MS, Running, Said, refused_with, running

VECTORS: Final = Path(__file__).parents[1] / "vectors/wire/webhooks.json"
ROWS: Final[dict[str, dict[str, Any]]] = {row["id"]: row for row in json.loads(VECTORS.read_text())["fixtures"]}
ROUTE: Final = "/webhooks/*"
SHOPIFY: Final = "shpss_test_secret_0123456789abcdef"
WOO: Final = "wc_secret_&_test"
STRIPE: Final = "whsec_test_0123456789abcdef0123456789abcdef"
RAIL: Final = "callrail-signing-key-0123456789"
MAY_S: Final = 1_777_856_000  # 2026-05-04T00:53:20Z
LATER_S: Final = 1_777_856_605

WEBHOOKS: Final = [
    {"name": "shopify", "adapter": "shopify", "secrets": [SHOPIFY], "origin": "https://www.shop.example"},
    {"name": "woocommerce", "adapter": "woocommerce", "secrets": [WOO]},
    {"name": "stripe", "adapter": "stripe", "secrets": [STRIPE], "live": False},
    {"name": "stripe-live", "adapter": "stripe", "secrets": ["whsec_new_0123456789", STRIPE]},
    {"name": "calls", "adapter": "callrail", "secrets": [RAIL]},
]
KNOWN: Final = {"granted": ["analytics", "advertising"]}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, shop={"webhook": WEBHOOKS}) as started:
        yield started


@pytest.fixture
async def in_may(tmp_path: Path) -> AsyncIterator[Running]:
    """A shop at the time for which the outside test data was made."""
    async with running(tmp_path, clock=ManualClock(MAY_S * 1000), shop={"webhook": WEBHOOKS}) as started:
        yield started


async def tell(shop: Running, row: dict[str, Any]) -> Said:
    request = row["request"]
    headers = [(name, value) for name, value in request["headers"] if name.lower() not in {"host", "content-length"}]
    return await shop.send("POST", request["target"], headers=headers, body=request["body"]["utf8"].encode())


def signed(body: bytes, secret: str, digest: str = "sha256") -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, digest).digest()).decode()


def order(number: int = 5001, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"#{number}",
        "created_at": "2026-11-20T12:59:00+01:00",
        "updated_at": "2026-11-20T13:00:00+01:00",
        "currency": "EUR",
        "total_price": "100.00",
        "current_total_price": "100.00",
        "financial_status": "paid",
        "email": "jane.doe@example.com",
        "customer": {"id": 999, "email": "jane.doe@example.com"},
        "line_items": [{"product_id": 11, "title": "Shirt", "quantity": 2, "price": "50.00"}],
        **fields,
    }


async def shopify(
    shop: Running, topic: str, body: object, *, delivery: str = "d-1", secret: str = SHOPIFY, path: str = "shopify"
) -> Said:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": signed(raw, secret),
        "X-Shopify-Webhook-Id": delivery,
        "X-Shopify-Shop-Domain": "example-shop.myshopify.com",
    }
    return await shop.send("POST", f"/webhooks/{path}", headers=headers, body=raw)


async def stripe(
    shop: Running,
    type_: str,
    thing: dict[str, Any],
    *,
    event: str = "evt_1",
    path: str = "stripe",
    at_s: int | None = None,
) -> Said:
    now_s = shop.clock.now_ms() // 1000
    body = json.dumps(
        {"id": event, "type": type_, "livemode": path != "stripe", "created": now_s, "data": {"object": thing}}
    ).encode()
    stamp = at_s if at_s is not None else now_s
    mac = hmac.new(STRIPE.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return await shop.send("POST", f"/webhooks/{path}", headers={"Stripe-Signature": f"t={stamp},v1={mac}"}, body=body)


# ------------------------------------------------------------------ outside test data


async def test_c55_recorded_orders_of_shops_are_taken_once_and_forgeries_are_refused(in_may: Running) -> None:
    """Every row of the outside test data, on one gateway, at the time that row was made for."""
    for name, row in sorted(ROWS.items(), key=lambda pair: pair[1]["now_unix"] or LATER_S):
        in_may.move(seconds=(row["now_unix"] or LATER_S) - in_may.clock.now_ms() // 1000)
        before = in_may.everything_stored()
        said = await tell(in_may, row)
        expect = row["expect"]
        assert (said.status == 200) is expect["accept"], (name, said)
        if not expect["accept"]:
            assert said.status == 401, name
            assert said.code in {"signature_invalid", "signature_stale"}, name
            assert in_may.everything_stored() == before, name
        elif "duplicate_of" in expect:
            assert said.json()["received"] == "duplicate", name
            assert in_may.everything_stored() == before, name
    counted = in_may.rows("select goal, order_id, amount_minor, currency, fate, test from conversion order by order_id")
    assert counted == [
        ("purchase", "5678901234567", 12_990, "EUR", "counted", 0),
        ("purchase", "727", 12_990, "EUR", "counted", 0),
        ("purchase", "ORD-1001", 12_990, "EUR", "counted", 1),
    ]
    assert in_may.rows("select distinct trust from event") == [("signed",)]


async def test_the_ping_of_a_new_woocommerce_webhook_is_answered_and_leaves_nothing(in_may: Running) -> None:
    before = in_may.everything_stored()
    said = await tell(in_may, ROWS["webhook-woocommerce-03"])
    assert (said.status, said.json()) == (200, {"received": "noted", "note": "ping"})
    assert in_may.everything_stored() == before


async def test_an_unreadable_visitor_token_is_a_mark_and_the_order_counts(in_may: Running) -> None:
    await tell(in_may, ROWS["webhook-shopify-01"])
    assert "visitor_token_invalid" in in_may.facts("shopify:5678901234567:paid")["marks"]


async def test_nothing_of_the_buyer_is_stored_in_the_clear(in_may: Running) -> None:
    await tell(in_may, ROWS["webhook-shopify-01"])
    whole = b"".join(path.read_bytes() for path in (in_may.directory / "data").glob("gateway.db*"))
    for text in (b"jane.doe", b"Jane", b"203.0.113.9", b"TESTGCLID123"):
        assert text not in whole
    assert "jane.doe" not in in_may.log_text


# ------------------------------------------------------------------ what is stored


async def test_a_paid_order_is_a_purchase_with_its_amount_and_lines(shop: Running) -> None:
    said = await shopify(shop, "orders/paid", order())
    assert (said.status, said.json()) == (200, {"received": "counted"})
    assert said.header("cache-control") == "no-store"
    assert shop.rows("select goal, order_id, amount_minor, currency, fate from conversion") == [
        ("purchase", "5001", 10_000, "EUR", "counted")
    ]


async def test_the_same_delivery_again_is_a_duplicate_and_stores_nothing(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    before = shop.everything_stored()
    said = await shopify(shop, "orders/paid", order())
    assert (said.status, said.json()["received"]) == (200, "duplicate")
    assert shop.everything_stored() == before
    assert shop.rows("select use, expires_at_ms from once_token") == [("webhook", NOW_MS + REMEMBERED_MS)]
    shop.move(seconds=REMEMBERED_MS / 1000 - 1)
    assert (await shopify(shop, "orders/paid", order())).json()["received"] == "duplicate"
    assert shop.count("event") == 1


async def test_another_delivery_of_the_same_order_counts_nothing_more(shop: Running) -> None:
    await shopify(shop, "orders/create", order(), delivery="d-1")
    said = await shopify(shop, "orders/paid", order(), delivery="d-2")
    assert said.json()["received"] == "duplicate"
    assert (shop.count("event"), shop.count("conversion")) == (1, 1)


async def test_row_24_the_same_order_with_another_amount_is_a_marked_duplicate_and_no_refusal(shop: Running) -> None:
    """A browser told of the order first, with another amount; the shop must not hear a 4xx, or it gives up."""
    key = await shop.new_key()
    first = {"name": "purchase", "id": "browser-event-1", "order_id": "5001", "value": "90.00"}
    assert (await shop.api("/api/v1/conversions", first, key["key"])).status == 200
    said = await shopify(shop, "orders/paid", order())
    assert (said.status, said.json()["received"]) == (200, "duplicate")
    assert shop.rows("select amount_minor, fate, reason from conversion order by fate") == [
        (9_000, "counted", "first_with_key"),
        (10_000, "duplicate", "value_differs"),
    ]


async def test_topics_that_mean_nothing_are_answered_and_counted(shop: Running) -> None:
    before = shop.everything_stored()
    said = await shopify(shop, "products/update", {"id": 1})
    assert (said.status, said.json()) == (200, {"received": "noted", "note": "topic_ignored"})
    assert shop.everything_stored() == before
    registry = shop.gateway.house.telemetry.registry
    assert registry.get_sample_value("gateway_marks_total", {"mark": "webhook_topic_ignored"}) == 1


async def test_click_ids_that_can_be_none_are_left_out_with_a_mark(shop: Running) -> None:
    notes = [{"name": "gclid", "value": "{gclid}"}, {"name": "fbclid", "value": "IwAR0abc123"}]
    said = await shopify(shop, "orders/paid", order(note_attributes=notes))
    assert said.json()["received"] == "counted"
    assert "click_id_malformed" in shop.facts("shopify:5001:paid")["marks"]


async def test_campaign_texts_of_a_shop_are_kept_without_contact_data(tmp_path: Path) -> None:
    settings = {"webhook": WEBHOOKS, "regime": "none", "granted_by_default": ["analytics", "advertising"]}
    body = {
        "id": 727, "status": "processing", "currency": "EUR", "total": "10.00", "date_created_gmt": "2026-11-20T11:59:00",
        "meta_data": [
            {"key": "_wc_order_attribution_utm_source", "value": "newsletter"},
            {"key": "_wc_order_attribution_utm_campaign", "value": "for jane.doe@example.com"},
        ],
    }  # fmt: skip
    raw = json.dumps(body).encode()
    headers = {"X-WC-Webhook-Topic": "order.created", "X-WC-Webhook-Signature": signed(raw, WOO)}
    async with running(tmp_path, shop=settings) as shop:
        said = await shop.send("POST", "/webhooks/woocommerce", headers=headers, body=raw)
        assert said.json() == {"received": "counted"}
        assert shop.facts("woocommerce:727:paid")["campaign"] == {"source": "newsletter", "campaign": "for [removed]"}


# ------------------------------------------------------------------ consent


async def test_an_order_of_somebody_unknown_is_judged_by_the_sites_rules(shop: Running) -> None:
    """Where consent comes first and nobody is known, nothing but the sale itself is kept."""
    await shopify(shop, "orders/paid", order(landing_site="/?utm_source=google&gclid=Cj0abc123"))
    facts = shop.facts("shopify:5001:paid")
    assert facts["judgement"]["granted"] == 1
    assert not {"page", "items", "campaign", "clicks"} & set(facts)
    assert shop.count("touch") == 0


async def test_the_recorded_choice_of_the_buyer_decides(shop: Running) -> None:
    key = await shop.new_key()
    known = {
        "name": "sign_up",
        "id": "sign-up-1",
        "person": {"external_id": "999"},
        "consent": {"analytics": "granted"},
    }
    assert (await shop.api("/api/v1/events", known, key["key"])).status == 200
    choice = {"person": {"external_id": "999"}, "choice": {"analytics": "granted", "advertising": "granted"}}
    assert (await shop.api("/consent", choice, key["key"])).status == 200
    await shopify(shop, "orders/paid", order())
    assert "items" in shop.facts("shopify:5001:paid")


# ------------------------------------------------------------------ changes of orders


async def test_a_refund_changes_what_the_order_is_worth(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    refund = {
        "id": 77, "order_id": 5001, "created_at": "2026-11-20T13:00:00+01:00",
        "transactions": [{"kind": "refund", "status": "success", "amount": "30.00", "currency": "EUR"}],
    }  # fmt: skip
    said = await shopify(shop, "refunds/create", refund, delivery="d-2")
    assert (said.status, said.json()) == (200, {"received": "recorded", "adjustments": 1})
    assert shop.rows("select net_minor, fate from conversion") == [(7_000, "counted")]
    again = await shopify(shop, "refunds/create", refund, delivery="d-2")
    assert again.json() == {"received": "duplicate"}
    assert shop.count("adjustment") == 1


async def test_a_refund_that_comes_before_its_order_waits_for_it(shop: Running) -> None:
    refund = {
        "id": 77, "order_id": 5001, "created_at": "2026-11-20T13:00:00+01:00",
        "transactions": [{"kind": "refund", "status": "success", "amount": "30.00", "currency": "EUR"}],
    }  # fmt: skip
    assert (await shopify(shop, "refunds/create", refund, delivery="d-1")).json()["received"] == "recorded"
    await shopify(shop, "orders/paid", order(), delivery="d-2")
    await credit_due(shop.gateway.house)
    assert shop.rows("select net_minor from conversion") == [(7_000,)]


async def test_a_cancelled_order_is_taken_back(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    await shopify(shop, "orders/cancelled", order(cancelled_at="2026-11-20T13:00:00+01:00"), delivery="d-2")
    assert shop.rows("select net_minor, fate from conversion") == [(0, "retracted")]


async def test_a_restatement_of_the_present_amount_is_passed_over(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    said = await shopify(shop, "orders/updated", order(), delivery="d-2")
    assert said.json() == {"received": "duplicate"}
    assert shop.count("adjustment") == 0


async def test_after_a_change_every_restatement_counts_so_that_a_late_older_one_loses(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    at = "2026-11-20T13:{}:00+01:00".format
    told = ((at("01"), "80.00", "d-2"), (at("03"), "80.00", "d-3"), (at("02"), "95.00", "d-4"))
    for updated, total, delivery in told:
        await shopify(shop, "orders/updated", order(updated_at=updated, current_total_price=total), delivery=delivery)
    assert shop.rows("select net_minor from conversion") == [(8_000,)]


async def test_an_order_may_be_worth_again_what_it_was_counted_with(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    for minute, total, delivery in (("01", "80.00", "d-2"), ("02", "100.00", "d-3")):
        body = order(updated_at=f"2026-11-20T13:{minute}:00+01:00", current_total_price=total)
        await shopify(shop, "orders/updated", body, delivery=delivery)
    assert shop.rows("select net_minor from conversion") == [(10_000,)]


async def test_a_change_in_another_currency_is_answered_told_and_changes_nothing(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    refund = {
        "id": 78, "order_id": 5001, "created_at": "2026-11-20T13:00:00+01:00",
        "transactions": [{"kind": "refund", "status": "success", "amount": "30.00", "currency": "USD"}],
    }  # fmt: skip
    said = await shopify(shop, "refunds/create", refund, delivery="d-2")
    assert (said.status, said.json()) == (200, {"received": "duplicate", "refused": 1})
    assert [line["code"] for line in shop.log("adjustment_refused")] == ["currency_differs"]
    assert shop.rows("select net_minor from conversion") == [(10_000,)]


async def test_a_stripe_refund_finds_the_order_by_its_payment(shop: Running) -> None:
    session = {
        "id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 5_000, "currency": "eur",
        "metadata": {"order_id": "ORD-9"},
    }  # fmt: skip
    assert (await stripe(shop, "checkout.session.completed", session)).json() == {"received": "counted"}
    refund = {
        "id": "re_1",
        "payment_intent": "pi_1",
        "amount": 2_000,
        "currency": "eur",
        "status": "succeeded",
        "created": NOW_MS // 1000,
    }
    said = await stripe(shop, "refund.created", refund, event="evt_2")
    assert said.json() == {"received": "recorded", "adjustments": 1}
    assert shop.rows("select order_id, net_minor from conversion") == [("ORD-9", 3_000)]


async def test_a_stripe_refund_told_before_its_order_waits_for_it(shop: Running) -> None:
    refund = {
        "id": "re_1",
        "payment_intent": "pi_1",
        "amount": 2_000,
        "currency": "eur",
        "status": "succeeded",
        "created": NOW_MS // 1000,
    }
    await stripe(shop, "refund.created", refund, event="evt_2")
    session = {
        "id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 5_000, "currency": "eur",
        "metadata": {"order_id": "ORD-9"},
    }  # fmt: skip
    await stripe(shop, "checkout.session.completed", session)
    assert shop.rows("select order_id, net_minor from conversion") == [("ORD-9", 3_000)]


# ------------------------------------------------------------------ privacy


async def test_a_customer_whose_data_must_be_erased_is_erased_and_the_operator_is_told(shop: Running) -> None:
    await shopify(shop, "orders/paid", order())
    assert shop.rows("select count(*) from event where person_key is not null") == [(1,)]
    body = {"shop_domain": "example-shop.myshopify.com", "customer": {"id": 999, "email": "jane.doe@example.com"}}
    said = await shopify(shop, "customers/redact", body, delivery="d-2")
    assert said.status == 200
    assert said.json()["note"] == "privacy_customer_redact"
    assert shop.rows("select count(*) from event where person_key is not null") == [(0,)]
    assert shop.rows("select amount_minor, fate from conversion") == [(10_000, "counted")]
    (line,) = shop.log("privacy_requested")
    assert (line["note"], line["webhook"], line["delivery_id"]) == ("privacy_customer_redact", "shopify", "d-2")
    assert "jane" not in shop.log_text


@pytest.mark.parametrize(("others", "left"), [((), 0), ((1000,), 2)], ids=["their own", "shared with somebody"])
async def test_the_browser_of_an_erased_customer_is_erased_where_it_is_nobody_elses(
    shop: Running, others: tuple[int, ...], left: int
) -> None:
    consent = {"analytics": "granted", "advertising": "granted"}
    cookie = (await shop.collect({"name": "page_view", "consent": consent})).cookies()["__Host-gwid"]
    await shop.collect({"name": "page_view", "consent": consent}, cookie=f"__Host-gwid={cookie}")
    key = await shop.new_key()
    for person in (999, *others):
        login = {
            "name": "login", "id": f"login-{person:05}", "visitor": cookie, "consent": consent,
            "person": {"external_id": str(person)},
        }  # fmt: skip
        assert (await shop.api("/api/v1/events", login, key["key"])).status == 200
    await shopify(shop, "customers/redact", {"customer": {"id": 999}})
    views = "select count(*) from event where name = 'page_view' and visitor_key is not null"
    assert shop.rows(views) == [(left,)]


@pytest.mark.parametrize("topic", ["customers/data_request", "shop/redact"])
async def test_other_privacy_requests_are_answered_and_left_to_the_operator(shop: Running, topic: str) -> None:
    await shopify(shop, "orders/paid", order())
    before = shop.everything_stored()
    said = await shopify(shop, topic, {"customer": {"id": 999, "email": "jane.doe@example.com"}}, delivery="d-2")
    assert said.status == 200
    assert shop.everything_stored() == before
    assert len(shop.log("privacy_requested")) == 1


# ------------------------------------------------------------------ refusals and attacks


async def test_an_unknown_name_is_not_found_and_other_methods_are_not_allowed(shop: Running) -> None:
    with shop.refusing(ROUTE, "webhook_unknown"):
        refused_with(await shopify(shop, "orders/paid", order(), path="elsewhere"), 404, "webhook_unknown")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        said = await shop.send(method, "/webhooks/shopify")
        assert (said.status, said.header("allow")) == (405, "POST"), method
    assert (await shop.send("POST", "/webhooks/", body=b"{}")).status == 404


async def test_row_23_a_wrong_signature_is_refused_and_stores_nothing(shop: Running) -> None:
    raw = json.dumps(order()).encode()
    right = signed(raw, SHOPIFY)
    wrong: dict[str, dict[str, str]] = {
        "another secret": {"X-Shopify-Hmac-Sha256": signed(raw, "another secret")},
        "of another body": {"X-Shopify-Hmac-Sha256": signed(raw + b" ", SHOPIFY)},
        "in hex": {"X-Shopify-Hmac-Sha256": hmac.new(SHOPIFY.encode(), raw, "sha256").hexdigest()},
        "cut short": {"X-Shopify-Hmac-Sha256": right[:-2]},
        "empty": {"X-Shopify-Hmac-Sha256": ""},
        "none": {},
        "of another sender": {"X-WC-Webhook-Signature": right},
        "no ASCII": {"X-Shopify-Hmac-Sha256": "ä" * 44},
    }
    for case, headers in wrong.items():
        with shop.refusing(ROUTE, "signature_invalid"):
            said = await shop.send(
                "POST", "/webhooks/shopify", headers={"X-Shopify-Topic": "orders/paid", **headers}, body=raw
            )
        assert (case, said.status) == (case, 401)
        refused_with(said, 401, "signature_invalid")
    twice = [("X-Shopify-Topic", "orders/paid"), ("X-Shopify-Hmac-Sha256", right), ("X-Shopify-Hmac-Sha256", right)]
    refused_with(await shop.send("POST", "/webhooks/shopify", headers=twice, body=raw), 401, "signature_invalid")
    await shop.still_answers()


async def test_row_23_an_old_signature_is_refused_even_though_it_is_right(shop: Running) -> None:
    now_s = NOW_MS // 1000
    session = {"id": "cs_1", "payment_status": "paid", "amount_total": 5_000, "currency": "eur"}
    for at_s in (now_s - 301, now_s + 301):
        with shop.refusing(ROUTE, "signature_stale"):
            said = await stripe(shop, "checkout.session.completed", session, at_s=at_s)
        refused_with(said, 401, "signature_stale")
    assert (await stripe(shop, "checkout.session.completed", session, at_s=now_s - 300)).status == 200


async def test_the_old_and_the_new_secret_are_taken_while_they_change(shop: Running) -> None:
    session = {"id": "cs_1", "payment_status": "paid", "amount_total": 5_000, "currency": "eur"}
    assert (await stripe(shop, "checkout.session.completed", session, path="stripe-live")).status == 200


async def test_payments_of_the_other_mode_are_refused(shop: Running) -> None:
    body = json.dumps({"id": "evt_1", "type": "x", "livemode": True}).encode()
    now_s = NOW_MS // 1000
    mac = hmac.new(STRIPE.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    with shop.refusing(ROUTE, "mode_mismatch"):
        said = await shop.send(
            "POST", "/webhooks/stripe", headers={"Stripe-Signature": f"t={now_s},v1={mac}"}, body=body
        )
    refused_with(said, 400, "mode_mismatch", "livemode")


async def test_row_07_a_huge_body_is_refused_before_it_is_read(shop: Running) -> None:
    with shop.refusing(ROUTE, "body_too_large"):
        said = await shopify(shop, "orders/paid", b"a" * (BODY_MAX_BYTES + 1))
    refused_with(said, 413, "body_too_large")
    largest = json.dumps(order()).encode()
    assert (await shopify(shop, "orders/paid", largest + b" " * (BODY_MAX_BYTES - len(largest)))).status == 200


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (gzip.compress(b"0" * 50_000_000), "gzip", 413, "body_too_large"),
        (b"\x1f\x8b broken", "gzip", 400, "encoding_broken"),
        (gzip.compress(b"{}"), "gzip, gzip", 415, "encoding_unsupported"),
        (b"{}", "br", 415, "encoding_unsupported"),
    ],
    ids=["a bomb", "broken", "twice", "brotli"],
)
async def test_row_08_compressed_bodies_are_bounded(
    shop: Running, body: bytes, encoding: str, status: int, code: str
) -> None:
    with shop.refusing(ROUTE, code):
        headers = {"Content-Encoding": encoding, "X-Shopify-Hmac-Sha256": signed(body, SHOPIFY)}
        said = await shop.send("POST", "/webhooks/shopify", headers=headers, body=body)
    refused_with(said, status, code)
    await shop.still_answers()


async def test_row_10_a_signed_body_that_is_no_order_is_refused_with_its_field(shop: Running) -> None:
    with shop.refusing(ROUTE, "json_invalid"):
        refused_with(await shopify(shop, "orders/paid", b"not json"), 400, "json_invalid")
    with shop.refusing(ROUTE, "currency_unknown"):
        said = await shopify(shop, "orders/paid", order(currency="ZZZ"))
    refused_with(said, 400, "currency_unknown", "currency")


async def test_row_39_the_secret_of_one_site_signs_nothing_on_another(tmp_path: Path) -> None:
    other = [{"name": "shopify", "adapter": "shopify", "secrets": ["another-site-0123456789"]}]
    async with running(tmp_path, shop={"webhook": WEBHOOKS}, kiosk={"webhook": other}) as shop:
        raw = json.dumps(order()).encode()
        headers = {"X-Shopify-Topic": "orders/paid", "X-Shopify-Hmac-Sha256": signed(raw, SHOPIFY)}
        said = await shop.send("POST", "/webhooks/shopify", headers=headers, body=raw, host="t.kiosk.example")
        refused_with(said, 401, "signature_invalid")
        assert (await shop.send("POST", "/webhooks/shopify", headers=headers, body=raw, host=HOST)).status == 200


async def test_after_a_crash_between_the_order_and_its_change_the_next_try_puts_the_change_down(tmp_path: Path) -> None:
    """The order is durable, its adjustment is not, and the shop was not answered: it sends the same delivery again."""
    body = order(cancelled_at="2026-11-20T13:00:00+01:00")
    async with running(tmp_path, shop={"webhook": WEBHOOKS}) as shop:
        put = shop.gateway.house.store.put_adjustment

        def dies(*_: object) -> None:
            raise RuntimeError

        shop.gateway.house.store.put_adjustment = dies  # type: ignore[method-assign,assignment]
        assert (await shopify(shop, "orders/paid", body)).status == 500
        shop.gateway.house.store.put_adjustment = put  # type: ignore[method-assign]
        assert shop.rows("select fate from conversion") == [("counted",)]
        said = await shopify(shop, "orders/paid", body)
        assert said.json() == {"received": "duplicate", "adjustments": 1}
        assert shop.rows("select fate from conversion") == [("retracted",)]
        shop.move(seconds=DAY_MS / 1000)
