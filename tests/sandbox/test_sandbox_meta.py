"""The stand-in for Meta's Conversions API takes what the contract describes and refuses everything else."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.config import MetaConfig, MetaToken, SandboxConfig
from gateway.sandbox.meta import Meta
from gateway.sandbox.stand_ins import StandIns
from gateway.times import HOUR_MS

Send = Callable[..., Awaitable[Answer]]
Change = Callable[[dict[str, Any]], object]

EMAIL = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
PHONE = "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def purchase(clock: ManualClock) -> dict[str, Any]:
    """A complete website purchase, written by hand from the contract."""
    return {
        "event_name": "Purchase",
        "event_time": clock.now_ms() // 1000 - 60,
        "event_id": "order-1001",
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {
            "em": [EMAIL],
            "ph": PHONE,
            "external_id": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            "client_ip_address": "203.0.113.7",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "fbc": "fb.1.1767225600123.IwAR2F4-dbP0l7Mn1IawQQ",
            "fbp": "fb.1.1767225600123.1234567890",
        },
        "custom_data": {
            "value": 12.34,
            "currency": "eur",
            "contents": [{"id": "sku-1", "quantity": 2, "item_price": 6.17, "delivery_category": "home_delivery"}],
            "content_ids": ["sku-1"],
            "content_type": "product",
            "order_id": "1001",
            "gift_wrap": "yes",
            "points": 7,
        },
        "data_processing_options": [],
    }


def url(config: SandboxConfig, *, version: str = "v26.0", dataset: str | None = None, token: str | None = None) -> str:
    values = config.gateway
    query = urlencode({"access_token": values.meta_access_token if token is None else token})
    return f"https://graph.facebook.com/{version}/{dataset or values.meta_dataset_id}/events?{query}"


async def test_a_correct_purchase_is_received(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    answer = await send("POST", url(config), json={"data": [purchase(clock)], "test_event_code": "TEST12345"})
    body = msgspec.json.decode(answer.body)
    assert answer.status == 200
    assert body["events_received"] == 1
    assert body["messages"] == []
    ledger = stand_ins.meta.ledger
    assert [one.event["event_id"] for one in ledger.accepted_events()] == ["order-1001"]
    assert ledger.effects() == {"Purchase|order-1001": 1}
    assert ledger.complaints() == []


async def test_the_form_of_the_official_sdk_is_received(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = msgspec.json.encode(purchase(clock)).decode()
    form = "data=" + quote(msgspec.json.encode([event]).decode())
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await send("POST", url(config), data=form.encode(), headers=headers)).status == 200
    assert len(stand_ins.meta.ledger.accepted_events()) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda event: event["user_data"].update(em="5d41402abc4b2a76b9719d911017c592"), id="an MD5 digest"
        ),
        pytest.param(
            lambda event: event.update(user_data={"fbp": "fb.1.1767225600123.1"}, action_source="other"), id="fbp alone"
        ),
        pytest.param(
            lambda event: event.update(
                user_data={"client_ip_address": "2001:db8::1", "client_user_agent": "Mozilla/5.0"}
            ),
            id="IP with user agent",
        ),
        pytest.param(
            lambda event: event.update(action_source="physical_store", event_time=event["event_time"] - 61 * 86400),
            id="an offline event of 61 days ago",
        ),
        pytest.param(
            lambda event: event.update(event_time=event["event_time"] - 7 * 86400 + 60), id="7 days ago exactly"
        ),
        pytest.param(
            lambda event: event.update(
                data_processing_options=["LDU"], data_processing_options_country=0, data_processing_options_state=0
            ),
            id="limited data use, place found by Meta",
        ),
        pytest.param(
            lambda event: event.update(
                data_processing_options=["LDU"], data_processing_options_country=1, data_processing_options_state=1000
            ),
            id="limited data use in California",
        ),
        pytest.param(lambda event: event["user_data"].update(fbp="fb.1.1596403881668.1116446470.Bg"), id="an appendix"),
        pytest.param(
            lambda event: event.update(
                event_name="Refund", original_event_data={"event_name": "Purchase", "order_id": "1"}
            ),
            id="a custom event with a link to the original",
        ),
    ],
)
async def test_it_takes(send: Send, config: SandboxConfig, clock: ManualClock, change: Change) -> None:
    event = purchase(clock)
    change(event)
    answer = await send("POST", url(config), json={"data": [event]})
    assert answer.status == 200, answer.body


WRONG_EVENTS: list[tuple[str, Change, str, str]] = [
    ("event_time in milliseconds", lambda e: e.update(event_time=e["event_time"] * 1000), "event_time", "future"),
    ("event_time as a string", lambda e: e.update(event_time=str(e["event_time"])), "event_time", "type"),
    ("event_time with a fraction", lambda e: e.update(event_time=e["event_time"] + 0.5), "event_time", "type"),
    ("an event of 8 days ago", lambda e: e.update(event_time=e["event_time"] - 8 * 86400), "event_time", "too_old"),
    ("an event in ten minutes", lambda e: e.update(event_time=e["event_time"] + 660), "event_time", "future"),
    (
        "an offline event of 63 days ago",
        lambda e: e.update(action_source="physical_store", event_time=e["event_time"] - 63 * 86400),
        "event_time",
        "too_old",
    ),
    ("no event_name", lambda e: e.pop("event_name"), "event_name", "missing"),
    ("an empty event_name", lambda e: e.update(event_name=""), "event_name", "too_short"),
    ("no event_time", lambda e: e.pop("event_time"), "event_time", "missing"),
    ("no action_source", lambda e: e.pop("action_source"), "action_source", "missing"),
    ("an action_source of its own", lambda e: e.update(action_source="web"), "action_source", "enum"),
    ("no user_data", lambda e: e.pop("user_data"), "user_data", "missing"),
    ("empty user_data", lambda e: e.update(user_data={}), "user_data", "missing"),
    ("a website event without its page", lambda e: e.pop("event_source_url"), "event_source_url", "missing"),
    ("a page that is no URL", lambda e: e.update(event_source_url="/thanks"), "event_source_url", "format"),
    (
        "a website event without user agent",
        lambda e: e["user_data"].pop("client_user_agent"),
        "user_data.client_user_agent",
        "missing",
    ),
    ("an upper-case digest", lambda e: e["user_data"].update(em=[EMAIL.upper()]), "user_data.em[0]", "digest_case"),
    ("a clear e-mail address", lambda e: e["user_data"].update(em="john@shop.example"), "user_data.em", "clear_value"),
    ("a clear telephone number", lambda e: e["user_data"].update(ph="+16505551212"), "user_data.ph", "clear_value"),
    ("a clear city", lambda e: e["user_data"].update(ct="berlin"), "user_data.ct", "digest_format"),
    ("the digest of nothing", lambda e: e["user_data"].update(fn=EMPTY), "user_data.fn", "digest_empty"),
    ("an empty list of digests", lambda e: e["user_data"].update(em=[]), "user_data.em", "too_few"),
    ("null for a digest", lambda e: e["user_data"].update(em=None), "user_data.em", "type"),
    (
        "a clear external_id",
        lambda e: e["user_data"].update(external_id="customer-7"),
        "user_data.external_id",
        "digest_format",
    ),
    (
        "an MD5 external_id",
        lambda e: e["user_data"].update(external_id="5d41402abc4b2a76b9719d911017c592"),
        "user_data.external_id",
        "digest_format",
    ),
    ("a hashed IP", lambda e: e["user_data"].update(client_ip_address=EMAIL), "user_data.client_ip_address", "format"),
    (
        "an IP with a port",
        lambda e: e["user_data"].update(client_ip_address="8.8.8.8:1"),
        "user_data.client_ip_address",
        "format",
    ),
    (
        "a private IP",
        lambda e: e["user_data"].update(client_ip_address="10.1.2.3"),
        "user_data.client_ip_address",
        "private",
    ),
    (
        "a loopback IP",
        lambda e: e["user_data"].update(client_ip_address="::1"),
        "user_data.client_ip_address",
        "private",
    ),
    (
        "a hashed user agent",
        lambda e: e["user_data"].update(client_user_agent=EMAIL),
        "user_data.client_user_agent",
        "hashed",
    ),
    ("a bare click id as fbc", lambda e: e["user_data"].update(fbc="IwAR2F4"), "user_data.fbc", "format"),
    (
        "an fbp with a strange appendix",
        lambda e: e["user_data"].update(fbp="fb.1.1767225600123.1.XX"),
        "user_data.fbp",
        "format",
    ),
    ("a lead_id as a string", lambda e: e["user_data"].update(lead_id="12"), "user_data.lead_id", "type"),
    ("an unknown key in user_data", lambda e: e["user_data"].update(email=EMAIL), "user_data.email", "unknown"),
    ("an unknown key in the event", lambda e: e.update(event_source="web"), "event_source", "unknown"),
    (
        "user agent and place only",
        lambda e: e.update(user_data={"client_user_agent": "Mozilla/5.0", "ct": EMAIL, "country": EMAIL}),
        "user_data",
        "identifiers",
    ),
    (
        "first name and gender only",
        lambda e: e.update(action_source="other", user_data={"fn": EMAIL, "ge": EMAIL}),
        "user_data",
        "identifiers",
    ),
    ("value as a string", lambda e: e["custom_data"].update(value="12.34"), "custom_data.value", "type"),
    ("a negative value", lambda e: e["custom_data"].update(value=-12.34), "custom_data.value", "negative"),
    ("a purchase without value", lambda e: e["custom_data"].pop("value"), "custom_data.value", "missing"),
    ("a purchase without currency", lambda e: e["custom_data"].pop("currency"), "custom_data.currency", "missing"),
    ("a purchase without custom_data", lambda e: e.pop("custom_data"), "custom_data.value", "missing"),
    ("currency in upper case", lambda e: e["custom_data"].update(currency="EUR"), "custom_data.currency", "currency"),
    (
        "currency that does not exist",
        lambda e: e["custom_data"].update(currency="xxx"),
        "custom_data.currency",
        "currency",
    ),
    (
        "quantity with a fraction",
        lambda e: e["custom_data"]["contents"][0].update(quantity=1.5),
        "custom_data.contents[0].quantity",
        "type",
    ),
    (
        "item_price as a string",
        lambda e: e["custom_data"]["contents"][0].update(item_price="6.17"),
        "custom_data.contents[0].item_price",
        "type",
    ),
    (
        "an unknown key in contents",
        lambda e: e["custom_data"]["contents"][0].update(price=1),
        "custom_data.contents[0].price",
        "unknown",
    ),
    (
        "content_ids of numbers",
        lambda e: e["custom_data"].update(content_ids=[1]),
        "custom_data.content_ids[0]",
        "type",
    ),
    ("another content_type", lambda e: e["custom_data"].update(content_type="sku"), "custom_data.content_type", "enum"),
    ("num_items as a string", lambda e: e["custom_data"].update(num_items="2"), "custom_data.num_items", "type"),
    (
        "an e-mail in a custom property",
        lambda e: e["custom_data"].update(who="a@b.example"),
        "custom_data.who",
        "clear_value",
    ),
    ("an object as custom property", lambda e: e["custom_data"].update(extra={"a": 1}), "custom_data.extra", "type"),
    ("opt_out as a number", lambda e: e.update(opt_out=1), "opt_out", "type"),
    (
        "another processing option",
        lambda e: e.update(data_processing_options=["CCPA"]),
        "data_processing_options[0]",
        "enum",
    ),
    (
        "limited use with country but no state",
        lambda e: e.update(data_processing_options=["LDU"], data_processing_options_country=1),
        "data_processing_options",
        "limited_use",
    ),
    (
        "limited use without a place",
        lambda e: e.update(data_processing_options=["LDU"]),
        "data_processing_options",
        "limited_use",
    ),
    (
        "limited use to be placed without an IP",
        lambda e: (
            e["user_data"].pop("client_ip_address"),
            e.update(
                data_processing_options=["LDU"], data_processing_options_country=0, data_processing_options_state=0
            ),
        ),
        "data_processing_options",
        "limited_use",
    ),
    (
        "an e-mail as order_id",
        lambda e: e["custom_data"].update(order_id="a@b.example"),
        "custom_data.order_id",
        "clear_value",
    ),
    (
        "a country without processing options",
        lambda e: (
            e.pop("data_processing_options"),
            e.update(data_processing_options_country=1, data_processing_options_state=1000),
        ),
        "data_processing_options",
        "missing",
    ),
    (
        "a state where Meta is to find the place",
        lambda e: e.update(
            data_processing_options=["LDU"], data_processing_options_country=0, data_processing_options_state=1000
        ),
        "data_processing_options",
        "limited_use",
    ),
]


@pytest.mark.parametrize(
    ("change", "path", "rule"), [case[1:] for case in WRONG_EVENTS], ids=[case[0] for case in WRONG_EVENTS]
)
async def test_one_wrong_event_refuses_the_whole_batch(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, change: Change, path: str, rule: str
) -> None:
    good, wrong = purchase(clock), purchase(clock)
    change(wrong)
    answer = await send("POST", url(config), json={"data": [good, wrong]})
    error = msgspec.json.decode(answer.body)["error"]
    assert answer.status == 400
    assert error["code"] == 100
    assert error["is_transient"] is False
    assert error["error_subcode"] == 2804003 or rule != "too_old"
    ledger = stand_ins.meta.ledger
    assert ledger.accepted_events() == []
    assert ledger.effects() == {}
    [refused] = ledger.refused()
    assert (f"data[1].{path}", rule) in [(one.path, one.rule) for one in refused.reasons]
    assert "john@shop.example" not in answer.body.decode()


async def test_the_batch_has_its_own_rules(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = purchase(clock)
    for body, rule in (
        ({"data": [event] * 1001}, "batch"),
        ({"data": []}, "too_few"),
        ({}, "missing"),
        ({"data": event}, "type"),
        ({"data": [event], "access_token": "x"}, "unknown"),
        ({"data": [event], "test_event_code": 1}, "type"),
        ([event], "type"),
    ):
        answer = await send("POST", url(config), json=body)
        assert (answer.status, stand_ins.meta.ledger.refused()[-1].reasons[0].rule) == (400, rule)
    assert (await send("POST", url(config), json={"data": [event] * 1000})).status == 200


@pytest.mark.parametrize(
    ("data", "kind", "rule"),
    [
        pytest.param(b'{"data": [', "application/json", "json", id="broken JSON"),
        pytest.param(b'{"data": [{"custom_data": {"value": NaN}}]}', "application/json", "json", id="NaN"),
        pytest.param(b'{"data": []}', "text/plain", "content_type", id="another content type"),
        pytest.param(b"data=nonsense", "application/x-www-form-urlencoded", "json", id="a form without JSON"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    send: Send, config: SandboxConfig, stand_ins: StandIns, data: bytes, kind: str, rule: str
) -> None:
    answer = await send("POST", url(config), data=data, headers={"Content-Type": kind})
    assert answer.status == 400
    assert stand_ins.meta.ledger.refused()[0].reasons[0].rule == rule


async def test_the_address_and_the_token_are_checked_first(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    body = {"data": [purchase(clock)]}

    async def error(method: str, address: str) -> tuple[int, int | None]:
        found = msgspec.json.decode((await send(method, address, json=body)).body)["error"]
        return found["code"], found.get("error_subcode")

    assert await error("POST", url(config, token="wrong")) == (190, None)
    assert await error("POST", url(config).partition("?")[0]) == (190, None)
    assert await error("POST", url(config, dataset="999")) == (100, 33)
    assert await error("POST", url(config, version="v20.0")) == (2635, None)
    assert await error("POST", url(config, version="v99.0")) == (2500, None)
    assert await error("POST", url(config).replace("/events", "/event")) == (2500, None)
    assert await error("GET", url(config)) == (100, 33)
    assert await error("POST", url(config) + "&debug=all") == (100, None)
    assert stand_ins.meta.ledger.accepted_events() == []
    assert len(stand_ins.meta.ledger.refused()) == 8


def test_tokens_expire_are_revoked_and_may_need_a_proof(clock: ManualClock, config: SandboxConfig) -> None:
    secret = "app-secret"
    tokens = (
        MetaToken(value="short", datasets=("1",), expires_at_ms=clock.now_ms() + HOUR_MS),
        MetaToken(value="changed", datasets=("1",), subcode=460),
        MetaToken(value="proven", datasets=("1",), app_secret=secret, proof_required=True),
    )
    meta = Meta(MetaConfig(tokens=tokens), clock, StandIns(config).meta.entropy)

    def error(token: str, **more: str) -> tuple[int | None, int | None]:
        call = Call(
            method="POST",
            host="graph.facebook.com",
            path="/v26.0/1/events",
            at_ms=clock.now_ms(),
            query=(("access_token", token), *more.items()),
            headers={"content-type": "application/json"},
            body=msgspec.json.encode({"data": [purchase(clock)]}),
        )
        found = msgspec.json.decode(meta.answer(call).body).get("error", {})
        return found.get("code"), found.get("error_subcode")

    proof = hmac.new(secret.encode(), b"proven", hashlib.sha256).hexdigest()
    assert error("short") == (None, None)
    clock.move(ms=HOUR_MS)
    assert error("short") == (190, 463)
    assert error("changed") == (190, 460)
    assert error("proven") == (100, None)
    assert error("proven", appsecret_proof="0" * 64) == (100, None)
    assert error("proven", appsecret_proof=proof) == (None, None)


async def test_a_repeat_is_discarded_within_48_hours_and_counts_after(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = purchase(clock)
    ledger = stand_ins.meta.ledger
    await send("POST", url(config), json={"data": [event, event]})
    clock.move(ms=48 * HOUR_MS)
    await send("POST", url(config), json={"data": [event]})
    assert ledger.effects() == {"Purchase|order-1001": 1}
    assert ledger.repeats() == {"Purchase|order-1001": 2}
    assert ledger.double_effects() == {}
    clock.move(ms=HOUR_MS)
    await send("POST", url(config), json={"data": [event]})
    assert ledger.double_effects() == {"Purchase|order-1001": 1}


async def test_the_same_id_under_another_name_is_another_event(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = purchase(clock)
    await send("POST", url(config), json={"data": [event, event | {"event_name": "Lead"}]})
    assert stand_ins.meta.ledger.effects() == {"Purchase|order-1001": 1, "Lead|order-1001": 1}


async def test_an_event_without_id_counts_each_time(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = purchase(clock)
    del event["event_id"]
    await send("POST", url(config), json={"data": [event, event]})
    assert list(stand_ins.meta.ledger.effects().values()) == [2]


async def test_a_click_id_with_a_time_in_seconds_is_warned_about(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    event = purchase(clock)
    event["user_data"]["fbc"] = "fb.1.1767225600.abc"
    assert (await send("POST", url(config), json={"data": [event]})).status == 200
    assert [one.path for one in stand_ins.meta.ledger.warnings()] == ["data[0].user_data.fbc"]


async def test_secrets_are_not_kept(send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock) -> None:
    await send("POST", url(config), json={"data": [purchase(clock)]})
    everything = stand_ins.everything_text()
    assert config.gateway.meta_access_token not in everything
    assert EMAIL in everything
    assert stand_ins.meta.ledger.requests()[0].query == (("access_token", "***"),)


def test_with_several_datasets_the_key_names_the_dataset(clock: ManualClock, config: SandboxConfig) -> None:
    meta = Meta(MetaConfig(tokens=(MetaToken(value="t", datasets=("1", "2")),)), clock, StandIns(config).meta.entropy)
    for dataset in ("1", "2", "2"):
        call = Call(
            method="POST",
            host="graph.facebook.com",
            path=f"/v26.0/{dataset}/events",
            at_ms=clock.now_ms(),
            query=(("access_token", "t"),),
            headers={"content-type": "application/json"},
            body=msgspec.json.encode({"data": [purchase(clock)]}),
        )
        assert meta.answer(call).status == 200
    assert meta.ledger.effects() == {"1|Purchase|order-1001": 1, "2|Purchase|order-1001": 1}
    assert meta.ledger.repeats() == {"2|Purchase|order-1001": 1}
