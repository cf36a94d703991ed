"""Notifications: what the owner's systems are told of a conversion, as a body and as a filled template."""

import json
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.registry import MODELS
from gateway.catalogue import Goal
from gateway.conversions.goals import check_goal
from gateway.errors import Refusal
from gateway.protocols.notification import MACROS, Notice, body_of, fill, is_template, macros_of

NOW: Final = 1_795_176_000_007  # 2026-11-20T12:00:00.007Z
SALE: Final = Notice(
    conversion_id="c1_event-0001",
    occurred_at_ms=NOW,
    goal="purchase",
    link_id="link-1",
    click_id="0aZ9",
    amount_minor=9_990,
    currency="USD",
    order_id="ORD 1/2",
    event_id="event-0001",
    campaign_id="camp-1",
    ambassador_id="amb-1",
    subs=("facebook", "", "a&b"),
)


def test_the_body_holds_the_keys_of_the_guide_first_and_then_ours() -> None:
    assert body_of(SALE) == (
        b'{"event":"conversion.tracked","conversion_id":"c1_event-0001","link_id":"link-1","click_id":"0aZ9","value":99.90,'
        b'"currency":"USD","timestamp":"2026-11-20T12:00:00.007Z","goal":"purchase","value_source":"event",'
        b'"order_id":"ORD 1/2","event_id":"event-0001","campaign_id":"camp-1","ambassador_id":"amb-1","status":"sale",'
        b'"test":false}'
    )


def test_what_is_not_known_is_null_and_no_key_is_missing() -> None:
    bare = Notice(conversion_id="c", occurred_at_ms=0, goal="purchase", value_source="none", test=True)
    assert json.loads(body_of(bare)) == {
        "event": "conversion.tracked", "conversion_id": "c", "link_id": None, "click_id": None, "value": None,
        "currency": None, "timestamp": "1970-01-01T00:00:00.000Z", "goal": "purchase", "value_source": "none",
        "order_id": None, "event_id": None, "campaign_id": None, "ambassador_id": None, "status": "sale", "test": True,
    }  # fmt: skip


VALUES: Final = {
    "99.99 USD": (9_999, "USD", b'"value":99.99,'),
    "zero": (0, "EUR", b'"value":0.00,'),
    "500 JPY": (500, "JPY", b'"value":500,'),
    "12.340 KWD": (12_340, "KWD", b'"value":12.340,'),
    "the largest amount": (10**14, "EUR", b'"value":1000000000000.00,'),
    "no amount": (None, "EUR", b'"value":null,'),
    "an amount without a currency": (5, None, b'"value":null,'),
}


@pytest.mark.parametrize(("amount", "currency", "written"), VALUES.values(), ids=VALUES.keys())
def test_a_value_keeps_its_digits(amount: int | None, currency: str | None, written: bytes) -> None:
    assert written in body_of(msgspec.structs.replace(SALE, amount_minor=amount, currency=currency))


# ------------------------------------------------------------------ templates

FILLED: Final = {
    "https://t.example/pb?cid={clickid}&sum={payout}&cur={currency}": "https://t.example/pb?cid=0aZ9&sum=99.90&cur=USD",
    "https://t.example/pb/{txid}?s={status}": "https://t.example/pb/ORD%201%2F2?s=sale",
    "https://t.example/pb?g={goal}&t={time}": "https://t.example/pb?g=purchase&t=1795176000",
    "https://t.example/pb?a={sub1}&b={sub2}&c={sub3}&d={sub10}": "https://t.example/pb?a=facebook&b=&c=a%26b&d=",
    "https://t.example/pb?x={unknown}&y={}&z={a b}": "https://t.example/pb?x=&y=&z=",
    "https://t.example/pb?x={status:lead=0 sale=1}&y={_payout}": "https://t.example/pb?x=&y=",
    "https://t.example/pb?x={{clickid}}": "https://t.example/pb?x={0aZ9}",
    "https://t.example?x={clickid}": "https://t.example?x=0aZ9",
    "https://t.example/plain": "https://t.example/plain",
}


@pytest.mark.parametrize(("template", "address"), FILLED.items())
def test_a_template_is_filled(template: str, address: str) -> None:
    assert fill(template, macros_of(SALE)) == address


def test_every_macro_has_a_value_where_all_is_known() -> None:
    whole = msgspec.structs.replace(SALE, subs=tuple(f"s{number}" for number in range(1, 13)))
    assert tuple(macros_of(whole)) == MACROS
    assert macros_of(whole)["sub10"] == "s10"


def test_what_is_not_known_becomes_nothing() -> None:
    bare = Notice(conversion_id="c", occurred_at_ms=NOW, goal="purchase")
    assert fill("https://t.example/?a={clickid}&b={payout}&c={txid}", macros_of(bare)) == "https://t.example/?a=&b=&c="


@pytest.mark.parametrize(
    "template",
    ["https://{clickid}/", "https://{clickid}.t.example/", "https://t.example{sub1}/", "{sub1}://t.example/", "{sub1}", "", "/pb?x={sub1}"],
)  # fmt: skip
def test_no_macro_decides_where_something_is_sent(template: str) -> None:
    with pytest.raises(ValueError, match="before the path"):
        fill(template, {"clickid": "evil.example", "sub1": ".evil.example"})


def test_a_goal_cannot_be_saved_with_a_macro_before_the_path() -> None:
    for address in ("https://{clickid}.t.example/", "https://t.example{sub1}/"):
        with pytest.raises(Refusal):
            check_goal(Goal(id="g", code="purchase", name="x", notify_url=address), MODELS)


@given(value=st.text())
def test_a_value_stays_one_value_whatever_it_holds(value: str) -> None:
    address = fill("https://t.example/pb?a={sub1}&b=2#end", {"sub1": value.encode("utf-8", "replace").decode()})
    parts = urlsplit(address)
    assert (parts.netloc, parts.path, parts.fragment) == ("t.example", "/pb", "end")
    read = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    assert read == [("a", value.encode("utf-8", "replace").decode()), ("b", "2")]


def test_an_address_with_macros_is_a_template() -> None:
    assert is_template("https://t.example/?a={clickid}")
    assert not is_template("https://shop.example/hook")
