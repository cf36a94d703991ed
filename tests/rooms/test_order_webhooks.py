"""Order webhooks together: the outside test data, signatures, and that no bytes do anything but be read or refused.

What single senders say is tested beside this file, one file for each sender.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import ids, links
from gateway.conversions.adjustments import KINDS, REASONS, Adjustment, State, apply, check_adjustment
from gateway.conversions.claims import Counted
from gateway.errors import CODES, Act, Kind, Refusal
from gateway.event import Received
from gateway.money import major_text
from gateway.protocols.order_reading import Line, Reader, moment_ms, placed_ms, stable_id
from gateway.protocols.order_webhook import (
    NOTES,
    AdjustmentKind,
    AdjustmentReason,
    Endpoint,
    Hook,
    Orders,
    Verified,
    headers_of,
    is_signed,
)
from gateway.protocols.order_webhooks import ADAPTERS
from gateway.protocols.woocommerce import decode_secret
from gateway.times import DAY_MS, MINUTE_MS
from tests.support.properties import tried

VECTORS: Final = Path(__file__).parents[1] / "vectors/wire/webhooks.json"
ROWS: Final[list[dict[str, Any]]] = json.loads(VECTORS.read_text())["fixtures"]
ROW: Final = {row["id"]: row for row in ROWS}
NOW_S: Final = 1_777_856_605  # 2026-05-04
SECRET: Final = "secret-of-the-shop"
OLD: Final = "secret-before"
quick = tried(200)


def endpoint(*, live: bool = True, currency: str | None = None, origin: str | None = None) -> Endpoint:
    return Endpoint(
        site="shop",
        received_at_ms=NOW_S * 1000,
        live=live,
        currency=currency,
        origin=origin,
        click_names=frozenset(links.CLICK_IDS),
    )


# ------------------------------------------------------------------ outside test data


def hook_of(row: Mapping[str, Any]) -> Hook:
    request = row["request"]
    return Hook(
        body=request["body"]["utf8"].encode(),
        headers=headers_of((name, value) for name, value in request["headers"]),
        secrets=(row["secret"],),
        now_s=row["now_unix"] or NOW_S,
    )


def orders_of(row: Mapping[str, Any]) -> Orders:
    adapter = ADAPTERS[row["protocol"]]
    live = bool((row["expect"].get("event") or {}).get("livemode", True))
    return adapter.read(adapter.verify(hook_of(row)), endpoint(live=live))


def clicks_of(received: Received) -> dict[str, str]:
    """Click ids as a flow gathers them: those of the landing address and those the sender named."""
    named = links.read_click_ids(received.click_ids)
    assert not named.unknown
    assert not named.malformed
    return {**links.read_arrival(received.url).click_ids, **named.click_ids}


def emails(received: Received) -> list[str]:
    return [email.reveal() for email in received.person.email] if received.person else []


EXPECTED: Final[dict[str, Callable[[Received, Orders, Any], bool]]] = {
    "type": lambda r, o, said: r.name == "purchase" and said in {"order_paid", "order", "checkout.session.completed"},
    "order_id": lambda r, o, said: r.order_id == said,
    "order_name": lambda r, o, said: r.props["order_name"] == said,
    "value": lambda r, o, said: major_text(r.amount_minor or -1, r.currency or "") == said,
    "value_minor": lambda r, o, said: r.amount_minor == said,
    "currency": lambda r, o, said: r.currency == said.upper(),
    "email": lambda r, o, said: emails(r) == [said],
    "visitor_note": lambda r, o, said: r.visitor_token == said,
    "click_ids": lambda r, o, said: clicks_of(r) == said,
    "status": lambda r, o, said: said == "processing" and r.conversion,
    "attribution": lambda r, o, said: said == {"source_type": r.props["source_type"], "utm_source": r.campaign["source"]},
    "livemode": lambda r, o, said: r.test is not said,
    "dedupe_key": lambda r, o, said: o.delivery_id == said,
}  # fmt: skip
"""Fact of the test data to what the adapter made of it. A fact that is not here fails the run."""

CODE_OF_REASON: Final = {"signature": "signature_invalid", "future": "signature_stale"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_outside_test_data(row: dict[str, Any]) -> None:
    expect = dict(row["expect"])
    if not expect.pop("accept"):
        with pytest.raises(Refusal) as refused:
            orders_of(row)
        assert refused.value.code == CODE_OF_REASON[expect["reason"]]
        assert CODES[refused.value.code].kind is Kind.UNAUTHENTICATED
        return
    orders = orders_of(row)
    if "duplicate_of" in expect:
        assert orders == orders_of(ROW[expect.pop("duplicate_of")])
        assert orders.delivery_id is not None
    if "dedupe_key" in expect:
        assert orders.delivery_id == expect.pop("dedupe_key")
    if expect.pop("note", None) == "tests header lookup and signature only":
        assert orders.note == "topic_ignored", "the newer payload has another shape"
    if "event" in expect:
        event = expect.pop("event")
        assert expect.pop("status", 200) == 200
        if event is None:
            assert not orders.events
            assert orders.note in NOTES
        else:
            (received,) = orders.events
            for fact, said in event.items():
                assert EXPECTED[fact](received, orders, said), fact
    assert not expect, "every expectation is checked"


def test_the_file_holds_all_its_rows() -> None:
    assert len(ROWS) == 11
    assert {row["protocol"] for row in ROWS} == {"shopify", "woocommerce", "stripe"}


# ------------------------------------------------------------------ signatures


def signed(body: bytes, name: str, secret: str = SECRET, *, now_s: int = NOW_S) -> dict[str, str]:
    key = secret.encode()
    sha256 = base64.b64encode(hmac.digest(key, body, "sha256")).decode()
    return {
        "shopify": {"X-Shopify-Hmac-Sha256": sha256},
        "woocommerce": {"X-WC-Webhook-Signature": sha256},
        "stripe": {"Stripe-Signature": f"t={now_s},v1={hmac.digest(key, f'{now_s}.'.encode() + body, 'sha256').hex()}"},
        "callrail": {"Signature": base64.b64encode(hmac.digest(key, body, "sha1")).decode()},
    }[name]


def hook(name: str, body: bytes, headers: Mapping[str, str], *secrets: str) -> Hook:
    return Hook(body=body, headers=headers_of(headers.items()), secrets=secrets or (SECRET,), now_s=NOW_S)


BODY: Final = json.dumps({"id": 1, "timestamp": NOW_S}).encode()
names = pytest.mark.parametrize("name", ADAPTERS)


@names
def test_a_right_signature_is_taken(name: str) -> None:
    assert ADAPTERS[name].verify(hook(name, BODY, signed(BODY, name))).body == BODY


@names
@pytest.mark.parametrize("secret", [OLD, SECRET])
def test_the_old_and_the_new_secret_are_good_at_once(name: str, secret: str) -> None:
    found = ADAPTERS[name].verify(hook(name, BODY, signed(BODY, name, secret), SECRET, OLD))
    assert found.body == BODY


@names
@pytest.mark.parametrize(
    "change",
    {
        "another secret": lambda name: hook(name, BODY, signed(BODY, name, "other")),
        "one byte more": lambda name: hook(name, BODY + b" ", signed(BODY, name)),
        "no signature": lambda name: hook(name, BODY, {}),
        "an empty one": lambda name: hook(name, BODY, dict.fromkeys(signed(BODY, name), "")),
        "no secret": lambda name: Hook(BODY, headers_of(signed(BODY, name).items()), (), NOW_S),
        "an empty secret": lambda name: hook(name, BODY, signed(BODY, name, ""), ""),
        "letters outside ASCII": lambda name: hook(name, BODY, dict.fromkeys(signed(BODY, name), "t=1,v1=ü\udcff")),
        "the header twice": lambda name: Hook(
            BODY, {key.lower(): (value, value) for key, value in signed(BODY, name).items()}, (SECRET,), NOW_S
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_wrong_signature_is_refused(name: str, change: tuple[str, Callable[[str], Hook]]) -> None:
    with pytest.raises(Refusal) as refused:
        ADAPTERS[name].verify(change[1](name))
    assert refused.value.code == "signature_invalid"
    assert refused.value.field is None


def test_a_wrong_signature_is_the_operators_business() -> None:
    for code in ("signature_invalid", "signature_stale"):
        assert CODES[code].kind is Kind.UNAUTHENTICATED
        assert CODES[code].act is Act.OPERATOR


@names
def test_every_secret_is_compared_in_constant_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    ADAPTERS[name].verify(hook(name, BODY, signed(BODY, name), SECRET, OLD, "third"))
    assert len(set(compared)) == 3, "a right one does not end the search early"
    compared.clear()
    with pytest.raises(Refusal):
        ADAPTERS[name].verify(hook(name, BODY, signed(BODY, name, "other"), SECRET, OLD))
    assert len(set(compared)) == 2


def test_spaces_around_a_header_do_not_matter_and_names_are_found_in_any_case() -> None:
    headers = {"x-sHoPiFy-hMaC-sHa256": f" {signed(BODY, 'shopify')['X-Shopify-Hmac-Sha256']} "}
    assert ADAPTERS["shopify"].verify(hook("shopify", BODY, headers)).body == BODY


def test_secrets_and_bodies_are_not_printed() -> None:
    made = hook("shopify", b"jane@example.com", {}, "s3cret")
    assert "s3cret" not in repr(made)
    assert "jane" not in repr(made) + repr(Verified(body=b"jane@example.com"))


def test_a_signature_is_text_of_base64_and_nothing_else() -> None:
    right = signed(BODY, "shopify")["X-Shopify-Hmac-Sha256"]
    made = hook("shopify", BODY, {})
    assert is_signed(made, right, "sha256")
    assert not is_signed(made, right, "sha1")
    assert not is_signed(made, right.rstrip("="), "sha256")
    assert not is_signed(made, hmac.digest(SECRET.encode(), BODY, "sha256").hex(), "sha256")


ENTITIES: Final = {
    "wc_secret_&_test": "wc_secret_&_test",
    "a&amp;b": "a&b",
    "a&#038;b&#38;c&#x26;d&#X026;e": "a&b&c&d&e",
    "&lt;&gt;&quot;&#039;&#39;&#x27;&#34;&#x22;&#60;&#62;": "<>\"''''\"\"<>".replace("''''", "'''"),
    "&amp;lt;": "&lt;",
    "&copy;&#65;&amp": "&copy;&#65;&amp",
    "": "",
}


@pytest.mark.parametrize("written", ENTITIES)
def test_a_woocommerce_secret_is_decoded_as_wordpress_does(written: str) -> None:
    assert decode_secret(written) == ENTITIES[written]


# ------------------------------------------------------------------ shared reading


def test_an_id_says_what_it_is_of_or_is_a_digest_that_stays() -> None:
    assert stable_id("shopify", "5678901234567", "paid") == "shopify:5678901234567:paid"
    for odd in ("ä", "x" * 80, "a b"):
        made = stable_id("stripe", odd, "paid")
        assert ids.is_caller_id(made)
        assert made == stable_id("stripe", odd, "paid")
        assert made != stable_id("stripe", odd, "order")
        assert hashlib.sha256(f"stripe:{odd}:paid".encode()).hexdigest().startswith(made.removeprefix("stripe:"))


PLACED: Final = {
    "now": (0, 0, ()),
    "400 days ago": (-400 * DAY_MS, -400 * DAY_MS, ()),
    "a millisecond earlier": (-400 * DAY_MS - 1, None, ()),
    "ten minutes ahead": (10 * MINUTE_MS, 10 * MINUTE_MS, ()),
    "a millisecond later": (10 * MINUTE_MS + 1, 0, ("time_clamped",)),
}


@pytest.mark.parametrize("case", PLACED)
def test_when_an_order_may_have_been_placed(case: str) -> None:
    ago, expected, marks = PLACED[case]
    reader = Reader()
    now_ms = NOW_S * 1000
    found = placed_ms(now_ms + ago, endpoint(), reader)
    assert (None if found is None else found - now_ms) == expected
    assert reader.marks == marks


def test_a_time_needs_an_offset_unless_its_field_is_in_utc() -> None:
    assert moment_ms("2026-05-04T03:02:01+02:00", "f") == moment_ms("2026-05-04T01:02:01", "f", utc=True)
    assert moment_ms("2026-05-04T01:02:03.123456789Z", "f") % 1000 == 123
    for text in ("2026-05-04T01:02:01", "2026-05-04", "yesterday", "", "9999-12-31T23:59:59-23:59x"):
        with pytest.raises(Refusal) as refused:
            moment_ms(text, "f")
        assert (refused.value.code, refused.value.field) == ("time_invalid", "f")


LINES: Final[dict[str, tuple[object, bytes, bytes | None, object]]] = {
    "a price in text": (2, b'"49.95"', None, (2, 4995, ())),
    "a price as number, exactly": (2, b"0.07", None, (2, 7, ())),
    "no price": (1, b"null", None, (1, None, ())),
    "a price finer than the currency": (1, b"16.806722689075631", None, (1, None, ("value_left_out",))),
    "its total divides": (2, b"16.806722689075631", b'"33.62"', (2, 1681, ())),
    "its total does not divide": (2, b"16.806722689075631", b'"33.61"', (2, None, ("value_left_out",))),
    "a price that is none": (1, b'"free"', None, (1, None, ("value_left_out",))),
    "a negative price": (1, b'"-1"', None, (1, None, ("value_left_out",))),
    "a whole number of pieces as a fraction": (2.0, b'"1"', None, (2, 100, ())),
    "half a piece": (1.5, b'"1"', None, ((), ("item_left_out",))),
    "no quantity": (None, b'"1"', None, ((), ("item_left_out",))),
    "true pieces": (True, b'"1"', None, ((), ("item_left_out",))),
    "taken out of the order": (0, b'"1"', None, ((), ())),
    "a million and one": (1_000_001, b'"1"', None, ((), ("item_left_out",))),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_of_an_order(case: str) -> None:
    quantity, price, total, expected = LINES[case]
    reader = Reader()
    line = Line("P", "Socks", quantity, msgspec.Raw(price), msgspec.Raw(total) if total is not None else None)
    items = reader.items([line], "EUR")
    if items:
        assert (items[0].quantity, items[0].price_minor, reader.marks) == expected
        assert (items[0].id, items[0].name) == ("P", "Socks")
    else:
        assert ((), reader.marks) == expected


def test_a_cart_of_more_than_200_lines_is_cut_and_marked() -> None:
    reader = Reader()
    items = reader.items([Line(index, "x", 1, msgspec.Raw(b'"1"')) for index in range(201)], "EUR")
    assert len(items) == 200
    assert reader.marks == ("item_left_out",)


def test_optional_values_are_left_out_not_refused() -> None:
    reader = Reader()
    assert reader.text(5, 10) == "5"
    assert reader.text(" a ", 10) == "a"
    assert reader.text(None, 10) is reader.text("", 10) is None
    assert not reader.marks
    odd_values: tuple[object, ...] = (True, 1.5, [], {}, "x" * 11, 10**18, -(10**9) * 10)
    for value in odd_values:
        odd = Reader()
        assert odd.text(value, 10) is None
        assert odd.marks == ("value_left_out",)
    for bad in ("a\nb", "jane@example.com", "x" * 65):
        odd = Reader()
        assert odd.order_id(bad) is None
        assert odd.marks == ("value_left_out",)
    assert reader.order_id("ORD-1") == "ORD-1"
    assert reader.language("en-US,en;q=0.9") == "en-US"
    assert reader.language("de;q=1") == "de"
    assert reader.codes(["A", "B", ""]) == ("A", "B")
    assert reader.campaign({"source": "(direct)", "medium": "(none)", "term": "shoes"}) == {"term": "shoes"}


# ------------------------------------------------------------------ what an order is worth in the end


def test_kinds_and_reasons_are_those_of_conversions() -> None:
    assert set(get_args(AdjustmentKind)) == set(KINDS)
    assert set(get_args(AdjustmentReason)) <= set(REASONS)


def state_of(name: str, messages: tuple[tuple[str, dict[str, Any]], ...]) -> State:
    """What an order is worth after messages in this order. Every one comes twice, as senders do."""
    counted: Counted | None = None
    known: list[Adjustment] = []
    for topic, body in (*messages, *messages):
        orders = ADAPTERS[name].read(Verified(json.dumps(body).encode(), topic), endpoint())
        for received in orders.events:
            counted = counted or Counted(received.amount_minor, received.currency)
        for told in orders.adjustments:
            adjustment = Adjustment(
                id=told.adjustment_id,
                kind=told.kind,
                at_ms=told.at_ms,
                amount_minor=told.amount_minor,
                currency=told.currency,
                reason=told.reason,
            )
            if check_adjustment(adjustment, counted, known):
                known.append(adjustment)
    return apply(counted, known)


def stripe_event(kind: str, **thing: object) -> tuple[str, dict[str, Any]]:
    created = {"livemode": True, "created": NOW_S, "data": {"object": {"currency": "eur", **thing}}}
    return "", {"id": "evt_1", "type": kind, **created}


EUR: Final = {
    "currency": "EUR",
    "created_at": "2026-05-04T01:00:00Z",
    "total_price": "100.00",
    "financial_status": "paid",
}
BACK: Final = {
    "id": 7,
    "order_id": 1,
    "created_at": "2026-05-04T01:01:00Z",
    "transactions": [{"kind": "refund", "status": "success", "amount": "10.00", "currency": "EUR"}],
}
GMT: Final = {
    "id": 1,
    "currency": "EUR",
    "total": "100.00",
    "date_created_gmt": "2026-05-04T01:00:00",
    "status": "processing",
}
RE: Final = {"id": "re_1", "amount": 1000, "currency": "eur", "payment_intent": "pi_1", "created": NOW_S}

WORTH: Final[dict[str, tuple[str, tuple[tuple[str, dict[str, Any]], ...], str, int]]] = {
    "Shopify, a refund told by both topics": (
        "shopify",
        (
            ("orders/paid", {"id": 1, **EUR}),
            ("refunds/create", BACK),
            ("orders/updated", {"id": 1, **EUR, "updated_at": "2026-05-04T01:00:01Z", "current_total_price": "100.00"}),
            ("orders/updated", {"id": 1, **EUR, "updated_at": "2026-05-04T01:01:00Z", "current_total_price": "90.00"}),
        ),
        "counted",
        9_000,
    ),
    "Shopify, cancelled and given back": (
        "shopify",
        (
            ("orders/paid", {"id": 1, **EUR}),
            ("refunds/create", BACK),
            ("orders/cancelled", {"id": 1, **EUR, "cancelled_at": "2026-05-04T01:03:00Z"}),
        ),
        "retracted",
        0,
    ),
    "WooCommerce, a refund and one that was deleted again": (
        "woocommerce",
        (
            ("order.updated", {**GMT, "date_modified_gmt": "2026-05-04T01:00:01"}),
            ("order.updated", {**GMT, "date_modified_gmt": "2026-05-04T01:00:02", "refunds": [{"total": "-50.00"}]}),
            ("order.updated", {**GMT, "date_modified_gmt": "2026-05-04T01:00:03", "refunds": [{"total": "-10.00"}]}),
        ),
        "counted",
        9_000,
    ),
    "WooCommerce, an unpaid order that timed out and was paid after all": (
        "woocommerce",
        (
            ("order.updated", {**GMT, "status": "cancelled", "date_modified_gmt": "2026-05-04T01:00:01"}),
            ("order.updated", {**GMT, "date_modified_gmt": "2026-05-04T01:00:02"}),
        ),
        "counted",
        10_000,
    ),
    "Stripe, a refund told by two types": (
        "stripe",
        (
            stripe_event(
                "checkout.session.completed",
                id="cs_1",
                payment_status="paid",
                amount_total=10_000,
                payment_intent="pi_1",
            ),
            stripe_event("refund.created", **RE),
            stripe_event("charge.refunded", id="ch_1", payment_intent="pi_1", refunds={"data": [RE]}),
        ),
        "counted",
        9_000,
    ),
    "Stripe, a refund in part and a charge that does not list it": (
        "stripe",
        (
            stripe_event(
                "checkout.session.completed",
                id="cs_1",
                payment_status="paid",
                amount_total=10_000,
                payment_intent="pi_1",
            ),
            stripe_event("refund.created", **RE),
            stripe_event("charge.refunded", id="ch_1", payment_intent="pi_1", amount=10_000, amount_refunded=1_000),
        ),
        "counted",
        9_000,
    ),
    "Stripe, a refund of everything and a charge that does not list it": (
        "stripe",
        (
            stripe_event(
                "checkout.session.completed",
                id="cs_1",
                payment_status="paid",
                amount_total=1_000,
                payment_intent="pi_1",
            ),
            stripe_event("refund.created", **RE),
            stripe_event("charge.refunded", id="ch_1", payment_intent="pi_1", amount=1_000, amount_refunded=1_000),
        ),
        "retracted",
        0,
    ),
}


@pytest.mark.parametrize("case", WORTH)
def test_an_order_is_worth_the_same_in_whatever_order_it_is_told(case: str) -> None:
    name, messages, fate, net_minor = WORTH[case]
    for arrived in permutations(messages):
        found = state_of(name, arrived)
        assert (found.fate, found.net_minor) == (fate, net_minor)


# ------------------------------------------------------------------ whatever comes


def read_anything(name: str, made: Hook, **how: Any) -> Orders | Refusal:
    """What an adapter answers. Anything it raises but a Refusal fails the test."""
    adapter = ADAPTERS[name]
    try:
        orders = adapter.read(adapter.verify(made), endpoint(**how))
    except Refusal as refusal:
        return refusal
    assert orders.note is None or orders.note in NOTES
    for received in orders.events:
        assert ids.is_caller_id(received.event_id)
        assert received.trust == "signed"
        assert received.order_id is None or len(received.order_id) <= 64
        assert (received.amount_minor is None) == (received.currency is None)
    for adjustment in orders.adjustments:
        assert ids.is_caller_id(adjustment.adjustment_id)
        assert all(ids.is_caller_id(event_id) for event_id in adjustment.event_ids)
        assert (adjustment.amount_minor is None) == (adjustment.kind == "retract")
        assert adjustment.kind != "refund" or (adjustment.amount_minor or 0) > 0
    return orders


@names
@quick
@given(body=st.binary(max_size=200), header=st.text(max_size=60), topic=st.text(max_size=30))
def test_any_bytes_under_any_headers_are_read_or_refused(name: str, body: bytes, header: str, topic: str) -> None:
    headers = {**dict.fromkeys(signed(body, name), header), "X-Shopify-Topic": topic, "X-WC-Webhook-Topic": topic}
    read_anything(name, hook(name, body, headers))
    read_anything(name, hook(name, body, {**headers, **signed(body, name)}))


TOPICS: Final = {
    "shopify": [
        "orders/paid", "orders/create", "orders/updated", "orders/cancelled", "refunds/create", "checkouts/create",
        "customers/data_request", "customers/redact", "shop/redact",
    ],
    "woocommerce": ["order.created", "order.updated"],
    "stripe": [
        "checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed",
        "invoice.paid", "payment_intent.succeeded", "charge.refunded", "refund.created", "charge.dispute.created",
    ],
    "callrail": [""],
}  # fmt: skip

FIELDS: Final = {
    "shopify": "id order_id name currency total_price created_at processed_at updated_at cancelled_at financial_status test "
    "email phone landing_site note_attributes line_items customer billing_address client_details discount_codes refunds "
    "transactions token source_name checkout_token",
    "woocommerce": "id status currency total date_created_gmt date_modified_gmt date_paid_gmt billing meta_data line_items "
    "refunds coupon_lines customer_id payment_method",
    "stripe": "id payment_status mode amount_total amount_paid amount_received amount currency payment_intent invoice charge "
    "client_reference_id metadata customer_details billing_reason refunded refunds status created",
    "callrail": "resource_id id answered duration direction start_time customer_phone_number tracking_phone_number value "
    "changes gclid landing_page_url lead_status",
}
INNER: Final = (
    "id name value key code kind status amount currency quantity price title total email phone data metadata".split()
)

leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "EUR",
            "eur",
            "JPY",
            "paid",
            "processing",
            "refund",
            "success",
            "CAL1",
            "1e999999999",
            "-1",
            "NaN",
            "sNaN",
            "12.34",
        ]
    ),
    st.sampled_from(["2026-05-04T01:02:01Z", "2026-05-04T01:02:01", "0001-01-01T00:00:00+14:00", "99999-01-01T00:00Z"]),
)
inner = st.dictionaries(st.sampled_from(INNER), leaf, max_size=5)
anything = st.one_of(
    leaf, inner, st.lists(inner, max_size=3), st.dictionaries(st.just("data"), st.lists(inner, max_size=2))
)


@pytest.mark.parametrize(("name", "topic"), [(name, topic) for name in TOPICS for topic in TOPICS[name]])
@tried(60)
@given(data=st.data())
def test_any_values_in_known_fields_are_read_or_refused(name: str, topic: str, data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from(FIELDS[name].split()), anything, max_size=12))
    if name == "stripe":
        fields = {"id": "evt_1", "type": topic, "livemode": True, "created": NOW_S, "data": {"object": fields}}
    if name == "callrail":
        fields["timestamp"] = NOW_S
    body = json.dumps(fields).encode()
    headers = {"X-Shopify-Topic": topic, "X-WC-Webhook-Topic": topic, **signed(body, name)}
    read_anything(name, hook(name, body, headers), currency="EUR")


@names
@quick
@given(stamp=st.one_of(leaf, st.lists(leaf, max_size=1)))
@example(stamp=9_999_999_999_999)
@example(stamp="1777856605")
@example(stamp=float(NOW_S))
def test_any_timestamp_is_read_or_refused(name: str, stamp: object) -> None:
    body = json.dumps({"timestamp": stamp, "id": 1, "type": "x", "livemode": True}).encode()
    read_anything(name, hook(name, body, signed(body, name)))


BROKEN: Final = {
    b"": "json_invalid",
    b"{": "json_invalid",
    b"\xff{}": "json_invalid",
    b"[]": "field_type",
    b'{"deep":' + b"[" * 100_000: "json_too_deep",
}


@pytest.mark.parametrize("name", ["shopify", "woocommerce", "stripe"])
@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:4]))
def test_a_broken_body_under_a_good_signature_is_refused_by_its_fault(name: str, body: bytes) -> None:
    headers = {"X-Shopify-Topic": "orders/paid", "X-WC-Webhook-Topic": "order.updated", **signed(body, name)}
    found = read_anything(name, hook(name, body, headers))
    assert isinstance(found, Refusal)
    assert found.code == BROKEN[body]


@pytest.mark.parametrize("name", ["shopify", "woocommerce", "stripe"])
def test_a_topic_nobody_knows_is_answered_and_noted(name: str) -> None:
    body = json.dumps({"id": "evt_1", "type": "customer.created", "livemode": True}).encode()
    headers = {"X-Shopify-Topic": "products/create", "X-WC-Webhook-Topic": "product.created", **signed(body, name)}
    found = read_anything(name, hook(name, body, headers))
    assert isinstance(found, Orders)
    assert (found.events, found.adjustments, found.note) == ((), (), "topic_ignored")
