"""The stand-in for the Measurement Protocol says 204 to everything, and knows what it has lost."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.config import Ga4Config, Ga4Stream, SandboxConfig
from gateway.sandbox.ga4 import Ga4
from gateway.sandbox.stand_ins import StandIns
from gateway.times import HOUR_MS

Send = Callable[..., Awaitable[Answer]]
Change = Callable[[dict[str, Any]], object]

DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"

SIGN_UP = b'{"client_id":"1.2","events":[{"name":"sign_up"}]}'


def purchase(clock: ManualClock) -> dict[str, Any]:
    """A complete purchase, written by hand from the reference."""
    return {
        "client_id": "1087374523.1767225600",
        "user_id": "u-7",
        "timestamp_micros": clock.now_ms() * 1000 - 60_000_000,
        "consent": {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"},
        "user_location": {"city": "Berlin", "region_id": "DE-BE", "country_id": "DE", "continent_id": "150"},
        "device": {"category": "desktop", "language": "de", "screen_resolution": "1280x800", "browser": "Firefox"},
        "user_properties": {"plan": {"value": "gold"}},
        "user_data": {
            "sha256_email_address": [DIGEST],
            "sha256_phone_number": DIGEST,
            "address": {
                "sha256_first_name": DIGEST,
                "city": "são paulo",
                "region": "california",
                "postal_code": "94000",
                "country": "BR",
            },
        },
        "events": [
            {
                "name": "purchase",
                "params": {
                    "transaction_id": "1001",
                    "currency": "EUR",
                    "value": 12.34,
                    "tax": 1.97,
                    "session_id": "1767225600",
                    "engagement_time_msec": 100,
                    "page_location": "https://shop.example/thanks?" + "q" * 300,
                    "items": [{"item_id": "sku-1", "item_name": "Cup", "price": 6.17, "quantity": 2, "colour": "red"}],
                },
            }
        ],
    }


def url(config: SandboxConfig, *, host: str = "www", path: str = "/mp/collect", **query: str) -> str:
    values = config.gateway
    known = {"api_secret": values.ga4_api_secret, "measurement_id": values.ga4_measurement_id} | query
    return f"https://{host}.google-analytics.com{path}?{urlencode(known)}"


@pytest.mark.parametrize("host", ["www", "region1"])
async def test_a_correct_purchase_is_collected(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, host: str
) -> None:
    answer = await send("POST", url(config, host=host), json=purchase(clock))
    assert (answer.status, answer.body) == (204, b"")
    ledger = stand_ins.ga4.ledger
    assert ledger.complaints() == []
    assert ledger.effects() == {"purchase|1087374523.1767225600|1001": 1}
    [accepted] = ledger.accepted_events()
    assert accepted.scope == "G-SANDBOX001"
    assert accepted.event["client_id"] == "1087374523.1767225600"


def params(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["events"][0]["params"]
    return found


WRONG: list[tuple[str, Change, str, str]] = [
    ("no client_id", lambda b: b.pop("client_id"), "client_id", "VALUE_REQUIRED"),
    ("a numeric client_id", lambda b: b.update(client_id=1), "client_id", "VALUE_INVALID"),
    ("an unknown key", lambda b: b.update(clientId="x"), "clientId", "VALUE_INVALID"),
    (
        "milliseconds",
        lambda b: b.update(timestamp_micros=b["timestamp_micros"] // 1000),
        "timestamp_micros",
        "VALUE_OUT_OF_BOUNDS",
    ),
    (
        "time as a string",
        lambda b: b.update(timestamp_micros=str(b["timestamp_micros"])),
        "timestamp_micros",
        "VALUE_INVALID",
    ),
    (
        "an event of 73 hours ago",
        lambda b: b.update(timestamp_micros=b["timestamp_micros"] - 73 * HOUR_MS * 1000),
        "timestamp_micros",
        "VALUE_OUT_OF_BOUNDS",
    ),
    (
        "an event in ten minutes",
        lambda b: b["events"][0].update(timestamp_micros=b["timestamp_micros"] + 660_000_000),
        "events[0].timestamp_micros",
        "VALUE_OUT_OF_BOUNDS",
    ),
    ("a user_id of 257 characters", lambda b: b.update(user_id="u" * 257), "user_id", "VALUE_OUT_OF_BOUNDS"),
    ("an e-mail as user_id", lambda b: b.update(user_id="a@b.example"), "user_id", "VALUE_INVALID"),
    (
        "consent in lower case",
        lambda b: b.update(consent={"ad_user_data": "granted"}),
        "consent.ad_user_data",
        "VALUE_INVALID",
    ),
    (
        "analytics consent",
        lambda b: b["consent"].update(analytics_storage="GRANTED"),
        "consent.analytics_storage",
        "VALUE_INVALID",
    ),
    ("user data without consent", lambda b: b["consent"].update(ad_user_data="DENIED"), "user_data", "VALUE_INVALID"),
    ("location and IP", lambda b: b.update(ip_override="203.0.113.7"), "ip_override", "VALUE_INVALID"),
    ("device and user agent", lambda b: b.update(user_agent="Mozilla/5.0"), "user_agent", "VALUE_INVALID"),
    (
        "a region without country",
        lambda b: b["user_location"].update(region_id="BE"),
        "user_location.region_id",
        "VALUE_INVALID",
    ),
    (
        "an upper-case digest",
        lambda b: b["user_data"].update(sha256_phone_number=DIGEST.upper()),
        "user_data.sha256_phone_number",
        "VALUE_INVALID",
    ),
    (
        "a clear e-mail",
        lambda b: b["user_data"].update(sha256_email_address="a@b.example"),
        "user_data.sha256_email_address",
        "VALUE_INVALID",
    ),
    (
        "four e-mails",
        lambda b: b["user_data"].update(sha256_email_address=[DIGEST] * 4),
        "user_data.sha256_email_address",
        "EXCEEDED_MAX_ENTITIES",
    ),
    (
        "three addresses",
        lambda b: b["user_data"].update(address=[{"country": "DE"}] * 3),
        "user_data.address",
        "EXCEEDED_MAX_ENTITIES",
    ),
    (
        "a hashed city",
        lambda b: b["user_data"]["address"].update(city=DIGEST),
        "user_data.address.city",
        "VALUE_INVALID",
    ),
    (
        "an upper-case city",
        lambda b: b["user_data"]["address"].update(city="Berlin"),
        "user_data.address.city",
        "VALUE_INVALID",
    ),
    (
        "a lower-case country",
        lambda b: b["user_data"]["address"].update(country="br"),
        "user_data.address.country",
        "VALUE_INVALID",
    ),
    (
        "a property value of 37 characters",
        lambda b: b.update(user_properties={"a": {"value": "v" * 37}}),
        "user_properties.a.value",
        "VALUE_OUT_OF_BOUNDS",
    ),
    (
        "a property name of 25 characters",
        lambda b: b.update(user_properties={"a" * 25: {"value": 1}}),
        "user_properties." + "a" * 25,
        "NAME_INVALID",
    ),
    (
        "a reserved property",
        lambda b: b.update(user_properties={"user_id": {"value": 1}}),
        "user_properties.user_id",
        "NAME_RESERVED",
    ),
    (
        "26 properties",
        lambda b: b.update(user_properties={f"p{i}": {"value": i} for i in range(26)}),
        "user_properties",
        "EXCEEDED_MAX_ENTITIES",
    ),
    ("a bare property", lambda b: b.update(user_properties={"plan": "gold"}), "user_properties.plan", "VALUE_INVALID"),
    ("26 events", lambda b: b.update(events=b["events"] * 26), "events", "EXCEEDED_MAX_ENTITIES"),
    ("no events", lambda b: b.update(events=[]), "events", "VALUE_REQUIRED"),
    ("a reserved event name", lambda b: b["events"][0].update(name="session_start"), "events[0].name", "NAME_RESERVED"),
    ("a reserved prefix", lambda b: b["events"][0].update(name="ga_event"), "events[0].name", "NAME_RESERVED"),
    ("a name that starts with a digit", lambda b: b["events"][0].update(name="1st"), "events[0].name", "NAME_INVALID"),
    ("a name with a dash", lambda b: b["events"][0].update(name="add-to-cart"), "events[0].name", "NAME_INVALID"),
    ("a name of 41 characters", lambda b: b["events"][0].update(name="e" * 41), "events[0].name", "NAME_INVALID"),
    (
        "in_app_purchase on a web stream",
        lambda b: b["events"][0].update(name="in_app_purchase"),
        "events[0].name",
        "NAME_RESERVED",
    ),
    ("an unknown key in the event", lambda b: b["events"][0].update(id="1"), "events[0].id", "VALUE_INVALID"),
    (
        "26 parameters",
        lambda b: params(b).update({f"p{i}": i for i in range(26)}),
        "events[0].params",
        "EXCEEDED_MAX_ENTITIES",
    ),
    (
        "a reserved parameter",
        lambda b: params(b).update(firebase_conversion=1),
        "events[0].params.firebase_conversion",
        "NAME_RESERVED",
    ),
    ("a parameter with a prefix", lambda b: params(b).update(_private=1), "events[0].params._private", "NAME_RESERVED"),
    (
        "a parameter of 101 characters",
        lambda b: params(b).update(note="n" * 101),
        "events[0].params.note",
        "VALUE_OUT_OF_BOUNDS",
    ),
    ("an object as parameter", lambda b: params(b).update(note={"a": 1}), "events[0].params.note", "VALUE_INVALID"),
    ("value as a string", lambda b: params(b).update(value="12.34"), "events[0].params.value", "VALUE_INVALID"),
    ("a negative value", lambda b: params(b).update(value=-1), "events[0].params.value", "VALUE_OUT_OF_BOUNDS"),
    (
        "currency in lower case",
        lambda b: params(b).update(currency="eur"),
        "events[0].params.currency",
        "VALUE_INVALID",
    ),
    (
        "an e-mail in a parameter",
        lambda b: params(b).update(note="mail a@b.example"),
        "events[0].params.note",
        "VALUE_INVALID",
    ),
    (
        "an e-mail in the page address",
        lambda b: params(b).update(page_location="https://s.example/?e=a%40b.example"),
        "events[0].params.page_location",
        "VALUE_INVALID",
    ),
    (
        "a session id of letters",
        lambda b: params(b).update(session_id="abc"),
        "events[0].params.session_id",
        "VALUE_INVALID",
    ),
    (
        "engagement as a string",
        lambda b: params(b).update(engagement_time_msec="100"),
        "events[0].params.engagement_time_msec",
        "VALUE_INVALID",
    ),
    ("debug_mode off", lambda b: params(b).update(debug_mode=0), "events[0].params.debug_mode", "VALUE_INVALID"),
    (
        "an item without id and name",
        lambda b: params(b).update(items=[{"price": 1}]),
        "events[0].params.items[0]",
        "VALUE_REQUIRED",
    ),
    (
        "an item price as a string",
        lambda b: params(b)["items"][0].update(price="6.17"),
        "events[0].params.items[0].price",
        "VALUE_INVALID",
    ),
    (
        "a fraction of an item",
        lambda b: params(b)["items"][0].update(quantity=1.5),
        "events[0].params.items[0].quantity",
        "VALUE_INVALID",
    ),
    (
        "eleven custom item parameters",
        lambda b: params(b)["items"][0].update({f"c{i}": 1 for i in range(11)}),
        "events[0].params.items[0]",
        "EXCEEDED_MAX_ENTITIES",
    ),
    ("an e-mail as client_id", lambda b: b.update(client_id="a@b.example"), "client_id", "VALUE_INVALID"),
    (
        "an e-mail in a user property",
        lambda b: b.update(user_properties={"who": {"value": "a@b.example"}}),
        "user_properties.who.value",
        "VALUE_INVALID",
    ),
    ("user properties as a list", lambda b: b.update(user_properties=[]), "user_properties", "VALUE_INVALID"),
    ("params as a list", lambda b: b["events"][0].update(params=[]), "events[0].params", "VALUE_INVALID"),
    (
        "an item that is no object",
        lambda b: params(b).update(items=["a"]),
        "events[0].params.items[0]",
        "VALUE_INVALID",
    ),
    (
        "a reserved item parameter",
        lambda b: params(b)["items"][0].update(ga_x=1),
        "events[0].params.items[0].ga_x",
        "NAME_RESERVED",
    ),
]


@pytest.mark.parametrize(("change", "path", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_a_wrong_request_is_answered_204_and_lost_and_the_validation_server_says_why(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, change: Change, path: str, code: str
) -> None:
    body = purchase(clock)
    change(body)
    assert (await send("POST", url(config), json=body)).status == 204
    ledger = stand_ins.ga4.ledger
    assert ledger.accepted_events() == []
    assert path in [problem.path for lost in ledger.invalid() for problem in lost.reasons]
    validated = await send("POST", url(config, path="/debug/mp/collect"), json=body)
    messages = msgspec.json.decode(validated.body)["validationMessages"]
    assert (path, code) in [(one["fieldPath"], one["validationCode"]) for one in messages]


@pytest.mark.parametrize(
    ("query", "headers", "data"),
    [
        pytest.param({"api_secret": "wrong"}, {}, None, id="a wrong secret"),
        pytest.param({"measurement_id": "G-OTHER"}, {}, None, id="an unknown stream"),
        pytest.param({"firebase_app_id": "1:2:android:3"}, {}, None, id="two kinds of stream"),
        pytest.param({"v": "2"}, {}, None, id="an unknown parameter"),
        pytest.param({}, {"Content-Type": "text/plain"}, None, id="another content type"),
        pytest.param({}, {"Content-Type": "application/json"}, b'{"client_id":', id="broken JSON"),
        pytest.param({}, {"Content-Type": "application/json"}, b"[]", id="a list"),
        pytest.param(
            {},
            {"Content-Type": "application/json"},
            SIGN_UP.ljust(130_000),
            id="130 kB",
        ),
    ],
)
async def test_a_wrong_envelope_is_answered_204_and_lost(
    send: Send,
    config: SandboxConfig,
    stand_ins: StandIns,
    clock: ManualClock,
    query: dict[str, str],
    headers: dict[str, str],
    data: bytes | None,
) -> None:
    body = data or msgspec.json.encode(purchase(clock))
    answer = await send("POST", url(config, **query), data=body, headers={"Content-Type": "application/json"} | headers)
    assert (answer.status, answer.body) == (204, b"")
    assert stand_ins.ga4.ledger.accepted_events() == []
    [lost] = stand_ins.ga4.ledger.invalid()
    assert lost.reasons


async def test_the_body_may_have_129_999_bytes(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    body = msgspec.json.encode(purchase(clock)).ljust(129_999)
    await send("POST", url(config), data=body, headers={"Content-Type": "application/json"})
    assert stand_ins.ga4.ledger.complaints() == []
    assert len(stand_ins.ga4.ledger.accepted_events()) == 1


async def test_no_stream_or_another_method_is_answered_204_and_lost(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    bare = "https://www.google-analytics.com/mp/collect?api_secret=" + config.gateway.ga4_api_secret
    assert (await send("POST", bare, json=purchase(clock))).status == 204
    assert (await send("PUT", url(config), json=purchase(clock))).status == 204
    assert [one.reasons[0].rule for one in stand_ins.ga4.ledger.invalid()] == ["missing", "method"]
    listed = await send("POST", url(config, path="/debug/mp/collect"), json=[1])
    assert len(msgspec.json.decode(listed.body)["validationMessages"]) == 1


async def test_the_validation_server_does_not_look_at_the_secret_and_records_nothing(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    address = url(config, path="/debug/mp/collect", host="region1", api_secret="wrong")
    answer = await send("POST", address, json=purchase(clock))
    assert (answer.status, msgspec.json.decode(answer.body)) == (200, {"validationMessages": []})
    assert stand_ins.ga4.ledger.accepted_events() == []
    assert stand_ins.ga4.ledger.complaints() == []


async def test_recommendations_are_warnings_unless_enforced(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    body = purchase(clock)
    del params(body)["currency"], params(body)["transaction_id"]
    await send("POST", url(config), json=body)
    assert len(stand_ins.ga4.ledger.accepted_events()) == 1
    assert len(stand_ins.ga4.ledger.warnings()) == 2
    idle = purchase(clock)
    params(idle)["engagement_time_msec"] = 0
    await send("POST", url(config), json=idle)
    assert stand_ins.ga4.ledger.warnings()[2].path == "events[0].params.engagement_time_msec"
    debug = url(config, path="/debug/mp/collect")
    relaxed = await send("POST", debug, json=body | {"validation_behavior": "RELAXED"})
    enforced = await send("POST", debug, json=body | {"validation_behavior": "ENFORCE_RECOMMENDATIONS"})
    assert msgspec.json.decode(relaxed.body) == {"validationMessages": []}
    codes = [one["validationCode"] for one in msgspec.json.decode(enforced.body)["validationMessages"]]
    assert codes == ["VALUE_REQUIRED", "VALUE_REQUIRED"]


async def test_one_wrong_event_spoils_itself_only(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    body = purchase(clock)
    body["events"].append({"name": "session_start"})
    await send("POST", url(config), json=body)
    assert [one.event["name"] for one in stand_ins.ga4.ledger.accepted_events()] == ["purchase"]
    assert [one.event for one in stand_ins.ga4.ledger.invalid()] == [{"name": "session_start"}]


async def test_a_transaction_is_recognised_per_client_and_other_events_never(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    body = purchase(clock)
    ledger = stand_ins.ga4.ledger
    for _ in range(2):
        await send("POST", url(config), json=body)
    await send("POST", url(config), json=body | {"client_id": "other"})
    assert ledger.double_effects() == {}
    assert sorted(ledger.effects().values()) == [1, 1]
    for _ in range(2):
        await send("POST", url(config), json=body | {"events": [{"name": "sign_up"}]})
    assert list(ledger.double_effects().values()) == [1]


async def test_a_path_that_does_not_exist_is_404(send: Send, config: SandboxConfig, stand_ins: StandIns) -> None:
    assert (await send("POST", url(config, path="/collect"), json={})).status == 404
    assert stand_ins.ga4.ledger.refused()[0].reasons[0].rule == "path"


def test_an_app_stream_takes_an_app_instance_and_in_app_purchases(clock: ManualClock, config: SandboxConfig) -> None:
    streams = (Ga4Stream(api_secrets=("s",), firebase_app_id="1:2:android:3"),)
    ga4 = Ga4(Ga4Config(streams=streams), clock, StandIns(config).ga4.entropy)
    body = {"app_instance_id": "0" * 32, "events": [{"name": "in_app_purchase"}]}
    call = Call(
        method="POST",
        host="www.google-analytics.com",
        path="/mp/collect",
        at_ms=clock.now_ms(),
        query=(("api_secret", "s"), ("firebase_app_id", "1:2:android:3")),
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(body),
    )
    assert ga4.answer(call).status == 204
    assert ga4.ledger.invalid() == []
    assert len(ga4.ledger.accepted_events()) == 1
