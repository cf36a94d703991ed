"""The gateway's own dialect: what is taken, what is refused with which code and field, and that no bytes do anything else.

A refusal names a field by its path and never repeats what was sent: answers and log lines are read by other people.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import count
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import CODES, Refusal
from gateway.event import NO_DEVICE, Claim, Device, Item, Person, Personal, Received, Signals
from gateway.protocols.native import Arrived, Choice, Parsed, read, read_choice, read_pixel
from gateway.protocols.wire import WireBatch, WireChoice
from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALIASES,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
)
from gateway.times import DAY_MS, MINUTE_MS
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
LATE: Final = 2_180_000_000_000  # 2039-01-30
NEW_ID: Final = "01KAGHAT00ZZZZZZZZZZZZZZZZ"
quick = tried(200)
PHONE: Final = Device(ip=Personal("203.0.113.7"), user_agent=Personal("Agent/1"), language="de")


def arrived(trust: str = "browser", *, currency: str = "EUR", conversion: bool = False, batch_max: int = 3) -> Arrived:
    return Arrived(
        site="shop",
        trust=trust,
        received_at_ms=NOW,
        currency=currency,
        batch_max=batch_max,
        new_id=lambda: NEW_ID,
        device=PHONE if trust == "browser" else NO_DEVICE,
        conversion=conversion,
    )


def one(body: object, trust: str = "server", **how: Any) -> Received:
    (received,) = read(body if isinstance(body, bytes) else msgspec.json.encode(body), arrived(trust, **how)).events
    return received


def outcome(attempt: Callable[[], Parsed | Choice]) -> Parsed | Choice | Refusal:
    """What reading answers or refuses. Anything else it might raise fails the test."""
    try:
        return attempt()
    except Refusal as refusal:
        return refusal


def refused(body: bytes, how: Arrived) -> Refusal:
    found = outcome(lambda: read(body, how))
    assert isinstance(found, Refusal)
    return found


# ------------------------------------------------------------------ every field

FIELDS: Final[dict[str, tuple[object, Callable[[Received], object], object]]] = {
    "name": ("purchase", lambda r: r.name, "purchase"),
    "id": ("order-4711.a:b_c", lambda r: r.event_id, "order-4711.a:b_c"),
    "occurred_at": ("2026-11-20T13:00:00.5+01:00", lambda r: r.occurred_at_ms, NOW + 500),
    "occurred_at_ms": (NOW - 1, lambda r: r.occurred_at_ms, NOW - 1),
    "url": ("https://a.example/?gclid=x", lambda r: r.url, "https://a.example/?gclid=x"),
    "title": ("Müller <b>", lambda r: r.title, "Müller <b>"),
    "referrer": ("https://b.example/", lambda r: r.referrer, "https://b.example/"),
    "value": ("12.34", lambda r: (r.amount_minor, r.currency), (1_234, "EUR")),
    "currency": ("JPY", lambda r: r.currency, "JPY"),
    "order_id": ("A-1 b", lambda r: r.order_id, "A-1 b"),
    "goal": ("sale", lambda r: r.goal, "sale"),
    "items": (
        [{"id": "s", "name": "n", "price": 9.9, "quantity": 2, "brand": "b", "category": "c", "variant": "v"}, {}],
        lambda r: r.items,
        (Item(id="s", name="n", price_minor=990, quantity=2, brand="b", category="c", variant="v"), Item()),
    ),
    "props": (
        {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": ["x", 1, None]},
        lambda r: r.props,
        {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": ["x", 1, None]},
    ),
    "click_id": ("0007", lambda r: r.click_id, "0007"),
    "coupons": (["SAVE10", "anna", "SAVE10"], lambda r: r.coupons, ("SAVE10", "anna")),
    "campaign": ("Summer-26", lambda r: r.campaign_code, "Summer-26"),
    "search": ("blue shirt", lambda r: r.search, "blue shirt"),
    "session": (1_795_000_000, lambda r: r.session, 1_795_000_000),
    "person": (
        {"email": ["a@b.example", "c@d.example"], "phone": "+49151", "city": "Köln", "external_id": "7"},
        lambda r: r.person,
        Person(
            email=(Personal("a@b.example"), Personal("c@d.example")),
            phone=(Personal("+49151"),),
            city=Personal("Köln"),
            external_id=Personal("7"),
        ),
    ),
    "consent": ({"analytics": "granted", "ad_storage": "denied"}, lambda r: r.claim, Claim(ANALYTICS, ADVERTISING)),
    "consent_at_ms": (NOW - 5, lambda r: r.claim, None),
    "signals": (
        {
            "tcf": "CQ..",
            "gdpr": 1,
            "ac": "2~1~dv.",
            "gpp": "DBABLA~",
            "gpp_sid": [7],
            "us_privacy": "1YNN",
            "gcs": "G111",
            "gcd": "13l3l3l3l1l1",
            "google": {"ad_storage": "denied"},
            "platform": "klaro",
            "choice": "explicit",
            "categories": {"b": False, "a": True},
            "at_ms": NOW,
        },
        lambda r: r.signals,
        Signals(
            tcf="CQ..",
            gdpr=True,
            ac="2~1~dv.",
            gpp="DBABLA~",
            gpp_sid=(7,),
            us_privacy="1YNN",
            gcs="G111",
            gcd="13l3l3l3l1l1",
            google=(("ad_storage", "denied"),),
            platform="klaro",
            choice="explicit",
            categories=(("a", True), ("b", False)),
            at_ms=NOW,
        ),
    ),
    "minor": (True, lambda r: r.minor, True),
    "sensitive": (["health", "health", "religion"], lambda r: r.sensitive, ("health", "religion")),
    "click_ids": ({"gclid": "Abc"}, lambda r: r.click_ids, {"gclid": "Abc"}),
    "click_seen_at_ms": (NOW - 9, lambda r: r.click_seen_at_ms, NOW - 9),
    "visitor": ("1.abc.1.1.sig", lambda r: r.visitor_token, "1.abc.1.1.sig"),
    "client": (
        {"ip": "203.0.113.7", "user_agent": "Agent/1", "language": "de", "fbp": "p", "fbc": "c", "ga": "g"},
        lambda r: (r.device, r.platform_ids),
        (PHONE, {"_fbp": "p", "_fbc": "c", "_ga": "g"}),
    ),
    "test": (True, lambda r: r.test, True),
    "events": ([{"name": "a"}], lambda r: r.name, "a"),
    "conversions": ([{"name": "a"}], lambda r: r.conversion, True),
    "sent_at_ms": (NOW - 60_000, lambda r: r.occurred_at_ms, NOW),
    "gpc": (True, lambda r: r.name, "page_view"),
    "tag": ("1.2.3", lambda r: r.name, "page_view"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_is_taken(field: str) -> None:
    value, seen, expected = FIELDS[field]
    body = {"name": "page_view", field: value} if field not in {"events", "conversions"} else {field: value}
    assert seen(one(body, conversion=field == "conversions")) == expected


def test_the_table_holds_every_field_there_is() -> None:
    assert FIELDS.keys() == set(WireBatch.__struct_fields__)


def test_an_event_needs_nothing_but_a_name() -> None:
    assert one({"name": "page_view"}, "browser") == Received(
        site="shop",
        event_id=NEW_ID,
        name="page_view",
        trust="browser",
        occurred_at_ms=NOW,
        received_at_ms=NOW,
        currency="EUR",
        device=PHONE,
    )


def test_a_consent_claim_has_its_own_time() -> None:
    assert one({"name": "a", "consent": {"marketing": "granted"}, "consent_at_ms": 7}).claim == Claim(
        ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION, 0, 7
    )


def test_every_name_of_a_purpose_is_taken() -> None:
    for name, purposes in ALIASES.items():
        assert one({"name": "a", "consent": {name: "granted"}}).claim == Claim(purposes, 0)


def test_two_names_of_one_purpose_that_differ_are_a_refusal() -> None:
    words = {"advertising": "granted", "ad_storage": "denied"}
    assert one({"name": "a", "consent": words}).claim == Claim(0, ADVERTISING)
    assert one({"name": "a", "consent": dict(reversed(words.items()))}).claim == Claim(0, ADVERTISING)
    assert one({"name": "a", "consent": {"marketing": "granted", "ad_user_data": "denied"}}).claim == Claim(
        ADVERTISING | AD_PERSONALIZATION, AD_USER_DATA
    )


def test_no_personal_value_is_printed() -> None:
    body = {
        "name": "a",
        "person": {"email": "jane@mail.example", "phone": "+49151", "last_name": "Doe"},
        "client": {"ip": "198.51.100.7", "user_agent": "Secret/1"},
    }
    shown = repr(one(body))
    for text in ("jane", "+49151", "Doe", "198.51", "Secret"):
        assert text not in shown


# ------------------------------------------------------------------ several events


def test_what_stands_beside_the_events_is_shared_unless_an_event_says_otherwise() -> None:
    shared = {
        "url": "https://a.example/",
        "title": "T",
        "referrer": "https://b.example/",
        "session": 5,
        "consent": {"analytics": "granted"},
        "consent_at_ms": 9,
        "gpc": True,
    }
    own = {"name": "b", "url": "https://c.example/", "consent": {"analytics": "denied"}, "consent_at_ms": 0}
    parsed = read(msgspec.json.encode({**shared, "events": [{"name": "a"}, own]}), arrived())
    first, second = parsed.events
    assert parsed.gpc
    assert (first.url, first.title, first.referrer, first.session) == (
        "https://a.example/",
        "T",
        "https://b.example/",
        5,
    )
    assert first.claim == Claim(ANALYTICS, 0, 9)
    assert (second.url, second.title) == ("https://c.example/", "T")
    assert second.claim == Claim(0, ANALYTICS, 0)


NOT_SHARED: Final = sorted(
    set(FIELDS) - {"events", "conversions", "sent_at_ms", "gpc", "tag"}
    - {"url", "title", "referrer", "session", "campaign", "consent", "consent_at_ms", "signals", "minor"}
)  # fmt: skip


@pytest.mark.parametrize("field", NOT_SHARED)
@pytest.mark.parametrize("trust", ["browser", "server"])
def test_what_events_do_not_share_is_refused_beside_them_and_not_passed_over(field: str, trust: str) -> None:
    """A `test` or a `visitor` that is silently dropped would send a rehearsal, or overlook a stored refusal."""
    body = msgspec.json.encode({field: FIELDS[field][0], "events": [{"name": "a"}]})
    found = refused(body, arrived(trust))
    assert (found.code, found.field) == ("field_unknown", field)


def test_each_event_without_an_id_gets_its_own() -> None:
    numbers = count()
    how = msgspec.structs.replace(arrived(), new_id=lambda: f"made-{next(numbers):04}")
    parsed = read(b'{"events":[{"name":"a"},{"name":"b","id":"given-01"},{"name":"c"}]}', how)
    assert [event.event_id for event in parsed.events] == ["made-0000", "given-01", "made-0001"]


def test_one_bad_event_refuses_the_whole_batch() -> None:
    found = refused(b'{"events":[{"name":"a"},{"name":"b"},{"name":"c","value":-1}]}', arrived())
    assert (found.code, found.field) == ("amount_negative", "events[2].value")


# ------------------------------------------------------------------ every refusal

SECRET: Final = "s3cretVALUE"
S, B = "server", "browser"
REFUSED: Final[dict[str, tuple[bytes, str, str, str | None]]] = {
    # not JSON (rows 9 and 10 of the attack list)
    "nothing": (b"", B, "json_invalid", None),
    "half a body": (b'{"name":"s3cretVALUE', B, "json_invalid", None),
    "two bodies": (b'{"name":"a"}{"name":"s3cretVALUE"}', B, "json_invalid", None),
    "a comment": (b'{"name":"a"}/*s3cretVALUE*/', B, "json_invalid", None),
    "NaN": (b'{"name":"a","value":NaN}', B, "json_invalid", None),
    "infinity": (b'{"name":"a","value":Infinity}', B, "json_invalid", None),
    "a byte order mark": (b'\xef\xbb\xbf{"name":"a"}', B, "json_invalid", None),
    "UTF-16": ('{"name":"a"}'.encode("utf-16"), B, "json_invalid", None),
    "UTF-32": ('{"name":"a"}'.encode("utf-32"), B, "json_invalid", None),
    "a lone surrogate": (rb'{"name":"a","title":"\ud800"}', B, "json_invalid", None),
    "a lone surrogate in a name": (rb'{"name":"a","\ud800":1}', B, "json_invalid", None),
    "bytes that are no UTF-8": (b'{"name":"a","title":"\xff\xfe"}', B, "json_invalid", None),
    "an overlong encoding": (b'{"name":"a","title":"\xc0\xaf"}', B, "json_invalid", None),
    "a raw line end in a text": (b'{"name":"a","title":"x\ny"}', B, "json_invalid", None),
    "13 lists in each other": (b"[" * 13 + b"]" * 13, B, "field_type", None),
    "half a million lists": (b"[" * 500_000, B, "field_type", None),
    "half a million lists in a property": (b'{"name":"a","props":{"x":' + b"[" * 500_000, B, "field_type", "props[...][0]"),
    "half a million objects in a property": (b'{"name":"a","props":' + b'{"x":' * 500_000, B, "field_type", "props[...]"),
    "half a million lists in an unknown field": (b'{"name":"a","x":' + b"[" * 500_000, B, "field_unknown", "x"),
    # not an event
    "a list": (b'[{"name":"s3cretVALUE"}]', B, "field_type", None),
    "null": (b"null", B, "field_type", None),
    "a text": (b'"s3cretVALUE"', B, "field_type", None),
    "no name": (b'{"title":"s3cretVALUE"}', B, "field_missing", "name"),
    "no name in a list": (b'{"events":[{"name":"a"},{}]}', B, "field_missing", "events[1].name"),
    "an unknown field": (b'{"name":"a","valu":"s3cretVALUE"}', B, "field_unknown", "valu"),
    "an unknown field in an item": (b'{"name":"a","items":[{"skuu":"s3cretVALUE"}]}', B, "field_unknown", "items[0].skuu"),
    "an unknown field with an odd name": (b'{"name":"a","s3cretVALUE@mail.example":1}', B, "field_unknown", "?"),
    "300 extra fields": (json.dumps({"name": "a", **{f"x{n}": 1 for n in range(300)}}).encode(), B, "field_unknown", "x0"),
    "an empty list": (b'{"events":[]}', B, "batch_empty", "events"),
    "too long a list": (b'{"events":[{"name":"a"},{"name":"a"},{"name":"a"},{"name":"a"}]}', B, "batch_too_long", "events"),
    "a list in a list": (b'{"events":[{"events":[{"name":"a"}]}]}', B, "field_unknown", "events[0].events"),
    "a list and a name": (b'{"name":"a","events":[{"name":"a"}]}', B, "field_unknown", "name"),
    "conversions where events are taken": (b'{"conversions":[{"name":"a"}]}', S, "field_unknown", "conversions"),
    # wrong types and sizes (row 12)
    "a number as name": (b'{"name":5}', B, "event_name_invalid", "name"),
    "a name in capitals": (b'{"name":"s3cretVALUE"}', B, "event_name_invalid", "name"),
    "a name with a line end": (b'{"name":"a\\n"}', B, "event_name_invalid", "name"),
    "a name of 41 letters": (b'{"name":"%s"}' % (b"a" * 41), B, "event_name_invalid", "name"),
    "a name in a list": (b'{"events":[{"name":"s3cretVALUE"}]}', B, "event_name_invalid", "events[0].name"),
    "an id too short": (b'{"name":"a","id":"s3c"}', B, "event_id_invalid", "id"),
    "an id with a space": (b'{"name":"a","id":"s3cretVALUE x"}', B, "event_id_invalid", "id"),
    "an id in a list": (b'{"events":[{"name":"a","id":"s3c"}]}', B, "event_id_invalid", "events[0].id"),
    "a text as session": (b'{"name":"a","session":"s3cretVALUE"}', B, "field_type", "session"),
    "a bool as session": (b'{"name":"a","session":true}', B, "field_type", "session"),
    "a session before 1970": (b'{"name":"a","session":0}', B, "field_invalid", "session"),
    "a number as title": (b'{"name":"a","title":5}', B, "field_type", "title"),
    "a title too long": (b'{"name":"a","title":"%s"}' % (b"x" * 1_025), B, "field_too_long", "title"),
    "an order id too long": (b'{"name":"a","order_id":"%s"}' % (b"x" * 65), B, "field_too_long", "order_id"),
    "an empty order id": (b'{"name":"a","order_id":""}', B, "field_invalid", "order_id"),
    "an order id with a control character": (b'{"name":"a","order_id":"s3cretVALUE\\u001b"}', B, "field_invalid", "order_id"),
    "an order id with a direction mark": ('{"name":"a","order_id":"s3cretVALUE\u202e"}'.encode(), B, "field_invalid", "order_id"),
    "a goal in capitals": (b'{"name":"a","goal":"s3cretVALUE"}', B, "field_invalid", "goal"),
    "a text as test": (b'{"name":"a","test":"s3cretVALUE"}', B, "field_type", "test"),
    "an item without pieces": (b'{"name":"a","items":[{"quantity":0}]}', B, "field_invalid", "items[0].quantity"),
    "an item with half a piece": (b'{"name":"a","items":[{"quantity":1.5}]}', B, "field_type", "items[0].quantity"),
    "an item with a number as id": (b'{"name":"a","items":[{"id":5}]}', B, "field_type", "items[0].id"),
    "201 items": (json.dumps({"name": "a", "items": [{}] * 201}).encode(), B, "field_too_long", "items"),
    "four e-mail addresses": (b'{"name":"a","person":{"email":["s3cretVALUE","b","c","d"]}}', S, "field_too_long", "person.email"),
    "an empty e-mail address": (b'{"name":"a","person":{"email":""}}', S, "field_invalid", "person.email"),
    "a number as e-mail address": (b'{"name":"a","person":{"email":5}}', S, "field_type", "person.email"),
    "101 properties": (json.dumps({"name": "a", "props": {f"p{n}": 1 for n in range(101)}}).encode(), B, "fields_too_many", "props"),
    "an object as property": (b'{"name":"a","props":{"x":{"y":"s3cretVALUE"}}}', B, "field_type", "props[...]"),
    "a property too long": (b'{"name":"a","props":{"x":"%s"}}' % (b"x" * 8_193), B, "field_too_long", "props[...]"),
    "a property with too long a name": (b'{"name":"a","props":{"%s":1}}' % (b"x" * 41), B, "field_too_long", "props"),
    "a property without a name": (b'{"name":"a","props":{"":1}}', B, "field_invalid", "props"),
    "an infinite property": (b'{"name":"a","props":{"x":1e400}}', B, "field_invalid", "props[...]"),
    "a property of 100,000 digits": (b'{"name":"a","props":{"x":%s}}' % (b"9" * 100_000), B, "field_invalid", "props[...]"),
    "a property no double can hold": (b'{"name":"a","props":{"x":9007199254740993}}', B, "field_invalid", "props[...]"),
    "a personal property": (b'{"name":"a","props":{"email":"s3cretVALUE"}}', B, "field_personal", "props.email"),
    "a personal property in capitals": (b'{"name":"a","props":{"Phone":"s3cretVALUE"}}', B, "field_personal", "props.Phone"),
    "a browser that names its client": (b'{"name":"a","client":{"ip":"s3cretVALUE"}}', B, "field_unknown", "client"),
    "a browser that names its visitor": (b'{"name":"a","visitor":"s3cretVALUE"}', B, "field_unknown", "visitor"),
    "a click id of a name too long": (b'{"name":"a","click_ids":{"%s":"x"}}' % (b"x" * 41), B, "field_too_long", "click_ids"),
    # times (row 13)
    "both times": (b'{"name":"a","occurred_at":"2026-11-20T12:00:00Z","occurred_at_ms":1}', B, "field_unknown", "occurred_at_ms"),
    "a time without an offset": (b'{"name":"a","occurred_at":"2026-03-29T02:30:00"}', B, "time_invalid", "occurred_at"),
    "a day without a time": (b'{"name":"a","occurred_at":"2026-11-20"}', B, "time_invalid", "occurred_at"),
    "a time in words": (b'{"name":"a","occurred_at":"s3cretVALUE"}', B, "time_invalid", "occurred_at"),
    "a time that does not exist": (b'{"name":"a","occurred_at":"2026-02-30T12:00:00Z"}', B, "time_invalid", "occurred_at"),
    "a time in a text too long": (b'{"name":"a","occurred_at":"%s"}' % (b"2" * 41), B, "field_too_long", "occurred_at"),
    "a number as time": (b'{"name":"a","occurred_at":1795176000000}', B, "field_type", "occurred_at"),
    "a text as milliseconds": (b'{"name":"a","occurred_at_ms":"1795176000000"}', B, "field_type", "occurred_at_ms"),
    "half a millisecond": (b'{"name":"a","occurred_at_ms":1795176000000.5}', B, "field_type", "occurred_at_ms"),
    "a bool as milliseconds": (b'{"name":"a","occurred_at_ms":true}', B, "field_type", "occurred_at_ms"),
    "milliseconds beyond a double": (b'{"name":"a","occurred_at_ms":9007199254740993}', B, "field_invalid", "occurred_at_ms"),
    "a server event of 1e18": (b'{"name":"a","occurred_at_ms":1000000000000000000}', S, "field_invalid", "occurred_at_ms"),
    "a server event of the year 1970": (b'{"name":"a","occurred_at_ms":0}', S, "time_out_of_range", "occurred_at_ms"),
    "a server event before 1970": (b'{"name":"a","occurred_at_ms":-1}', S, "time_out_of_range", "occurred_at_ms"),
    "a server event of tomorrow": (b'{"name":"a","occurred_at":"2026-11-21T12:00:00Z"}', S, "time_out_of_range", "occurred_at"),
    "a server's consent of tomorrow": (
        b'{"name":"a","consent":{"analytics":"granted"},"consent_at_ms":%d}' % (NOW + 10 * MINUTE_MS + 1),
        S, "time_out_of_range", "consent_at_ms",
    ),
    # money
    "an amount in words": (b'{"name":"a","value":"s3cretVALUE"}', B, "amount_invalid", "value"),
    "a bool as amount": (b'{"name":"a","value":true}', B, "amount_invalid", "value"),
    "an empty amount": (b'{"name":"a","value":""}', B, "amount_invalid", "value"),
    "a list as amount": (b'{"name":"a","value":[1]}', B, "amount_invalid", "value"),
    "an amount with an impossible exponent": (b'{"name":"a","value":"1e99999999999999999999"}', B, "amount_invalid", "value"),
    "an amount that is no number": (b'{"name":"a","value":"NaN"}', B, "amount_not_finite", "value"),
    "an amount that signals": (b'{"name":"a","value":"sNaN"}', B, "amount_not_finite", "value"),
    "an infinite amount": (b'{"name":"a","value":"-Infinity"}', B, "amount_not_finite", "value"),
    "a negative amount": (b'{"name":"a","value":-0.01}', B, "amount_negative", "value"),
    "an amount of 1e15": (b'{"name":"a","value":1e15}', B, "amount_too_large", "value"),
    "an amount of 1e400": (b'{"name":"a","value":1e400}', B, "amount_too_large", "value"),
    "an amount of 100,000 digits": (b'{"name":"a","value":%s}' % (b"9" * 100_000), B, "amount_too_large", "value"),
    "a tenth of a cent": (b'{"name":"a","value":0.001}', B, "amount_too_fine", "value"),
    "a hair more than a cent": (b'{"name":"a","value":0.010000000000000000000000000000000001}', B, "amount_too_fine", "value"),
    "a cent of a yen": (b'{"name":"a","value":1.5,"currency":"JPY"}', B, "amount_too_fine", "value"),
    "a currency nobody knows": (b'{"name":"a","value":1,"currency":"XXQ"}', B, "currency_unknown", "currency"),
    "a currency in small letters": (b'{"name":"a","value":1,"currency":"eur"}', B, "currency_unknown", "currency"),
    "a currency nobody knows without an amount": (b'{"name":"a","currency":"s3cretVA"}', B, "currency_unknown", "currency"),
    "a currency too long": (b'{"name":"a","value":1,"currency":"s3cretVALUE"}', B, "field_too_long", "currency"),
    "a price that is no number": (b'{"name":"a","items":[{},{"price":"s3cretVALUE"}]}', B, "amount_invalid", "items[1].price"),
    "a negative price": (b'{"name":"a","items":[{"price":-1}]}', B, "amount_negative", "items[0].price"),
    "a price in a list": (b'{"events":[{"name":"a","items":[{"price":-1}]}]}', B, "amount_negative", "events[0].items[0].price"),
    # consent (row 11 has its own tests below)
    "a purpose nobody knows": (b'{"name":"a","consent":{"s3cretVALUE":"granted"}}', B, "purpose_unknown", "consent"),
    "a consent in other words": (b'{"name":"a","consent":{"analytics":"s3cretVALUE"}}', B, "consent_value_invalid", "consent[...]"),
    "a consent as bool": (b'{"name":"a","consent":{"analytics":true}}', B, "consent_value_invalid", "consent[...]"),
    "a consent in capitals": (b'{"name":"a","consent":{"analytics":"GRANTED"}}', B, "consent_value_invalid", "consent[...]"),
    "a consent for everything": (b'{"name":"a","consent":"granted"}', B, "consent_value_invalid", "consent"),
    "a consent in a list": (
        b'{"events":[{"name":"a","consent":{"analytics":"s3cretVALUE"}}]}',
        B, "consent_value_invalid", "events[0].consent[...]",
    ),
    "a purpose of a name too long": (b'{"name":"a","consent":{"%s":"granted"}}' % (b"x" * 41), B, "field_too_long", "consent"),
    "a text as consent time": (b'{"name":"a","consent_at_ms":"s3cretVALUE"}', B, "field_type", "consent_at_ms"),
    "a consent that looks like a path": (
        b'{"name":"a","consent":{"analytics":"x - at `$.s3cretVALUE"}}', B, "consent_value_invalid", "consent[...]",
    ),
    "a consent that looks like an unknown field": (
        b'{"name":"a","consent":{"analytics":"Object contains unknown field `s3cretVALUE`"}}', B, "consent_value_invalid", "consent[...]",
    ),
    "a consent that looks like an amount": (b'{"name":"a","consent":{"analytics":"decimal"}}', B, "consent_value_invalid", "consent[...]"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "trust", "code", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_its_code_and_field_and_without_its_value(
    body: bytes, trust: str, code: str, field: str | None
) -> None:
    found = refused(body, arrived(trust))
    assert (found.code, found.field) == (code, field)
    assert SECRET not in json.dumps(found.body()) + str(found)


def test_an_amount_needs_a_currency_where_the_site_has_none() -> None:
    for body in (b'{"name":"a","value":1}', b'{"name":"a","items":[{"price":1}]}'):
        found = refused(body, arrived(currency=""))
        assert (found.code, found.field) == ("currency_missing", "currency")
    assert one({"name": "a", "value": 1, "currency": "USD"}, currency="").amount_minor == 100


def test_the_table_shows_every_code_that_reading_can_refuse_with() -> None:
    elsewhere = {"json_too_deep", "currency_missing", "json_duplicate_key"}
    elsewhere |= {"currency_differs", "time_format", "time_nonexistent"}  # of adjustments and uploaded files
    fields = {
        code
        for code in CODES
        if code.startswith(("field", "amount_", "currency_", "event_", "time_", "json_", "batch_"))
    }
    fields |= {"purpose_unknown", "consent_value_invalid"}
    assert fields - {"event_unknown"} - {code for _, _, code, _ in REFUSED.values()} == elsewhere


# ------------------------------------------------------------------ no refusal repeats what was sent

WHOLE: Final[dict[str, Any]] = {
    name: value for name, (value, _, _) in FIELDS.items() if name not in {"events", "conversions", "occurred_at"}
}
LEAVES: Final = [
    ("name",), ("id",), ("url",), ("value",), ("currency",), ("order_id",), ("goal",), ("session",), ("consent",),
    ("consent", "analytics"), ("consent_at_ms",), ("person",), ("person", "email"), ("person", "city"), ("props",),
    ("props", "b"), ("props", "f"), ("items",), ("items", 0), ("items", 0, "price"), ("items", 0, "quantity"),
    ("click_ids",), ("client",), ("client", "ip"), ("test",), ("sent_at_ms",), ("gpc",), ("tag",), ("visitor",),
    ("occurred_at_ms",), ("click_seen_at_ms",),
]  # fmt: skip
BAIT: Final = st.sampled_from(
    [
        SECRET,
        f"{SECRET} - at `$.{SECRET}`",
        f" - at `key` in `$.{SECRET}`",
        f"Object contains unknown field `{SECRET}`",
        f"Object missing required field `{SECRET}`",
        f"`{SECRET}`",
        f"decimal {SECRET}",
        f"Expected `{SECRET}`, got `{SECRET}`",
        f"of length <= {SECRET}",
        SECRET * 900,
        f"\x00{SECRET}\u2028",
        f"jane@{SECRET}.example",
    ]
)


@quick
@given(leaf=st.sampled_from(LEAVES), bait=BAIT, wrap=st.sampled_from(["plain", "list", "object", "key"]))
@example(leaf=("consent", "analytics"), bait=f"{SECRET} - at `$.{SECRET}`", wrap="plain")
def test_whatever_stands_in_a_field_is_never_in_the_refusal(leaf: tuple[str | int, ...], bait: str, wrap: str) -> None:
    body = json.loads(json.dumps(WHOLE))
    place = body
    for step in leaf[:-1]:
        place = place[step]
    if wrap == "plain":
        place[leaf[-1]] = bait
    elif wrap == "list":
        place[leaf[-1]] = [bait, {"x": bait}]
    elif wrap == "object":
        place[leaf[-1]] = {"x": bait, "y": [bait]}
    elif isinstance(place, dict):
        place[f" {bait}"] = bait
    for text in (json.dumps(body), json.dumps(body, ensure_ascii=False)):
        found = outcome(partial(read, text.encode(), arrived("server")))
        if isinstance(found, Refusal):
            assert SECRET not in json.dumps(found.body()) + str(found)
            assert found.__suppress_context__, "the parser's own sentence must not show in a traceback"


# ------------------------------------------------------------------ consent said twice (row 11)

TWICE: Final = {
    "a purpose twice": b'{"name":"a","consent":{"analytics":"denied","analytics":"granted"}}',
    "a purpose twice with one word": b'{"name":"a","consent":{"analytics":"granted","analytics":"granted"}}',
    "consent twice": b'{"name":"a","consent":{"analytics":"denied"},"consent":{"analytics":"granted"}}',
    "consent twice, once as null": b'{"name":"a","consent":{"analytics":"denied"},"consent":null}',
    "consent twice, once empty": b'{"name":"a","consent":{"analytics":"denied"},"consent":{}}',
    "consent far apart": b'{"consent":{"analytics":"denied"},"name":"a","title":"x","consent":{"ad_storage":"granted"}}',
    "consent twice with one in escapes": rb'{"name":"a","consent":{"analytics":"denied"},"con\u0073ent":{"analytics":"granted"}}',
    "consent twice with both in escapes": rb'{"name":"a","\u0063onsent":{"analytics":"denied"},"\u0063onsent":{"analytics":"granted"}}',
    "consent twice with both in other escapes":
        rb'{"name":"a","\u0063onsent":{"analytics":"denied"},"consen\u0074":{"analytics":"granted"}}',
    "consent twice in escapes, once as null": rb'{"name":"a","\u0063onsent":{"analytics":"denied"},"\u0063onsent":null}',
    "a purpose twice with one in escapes": rb'{"name":"a","consent":{"analytics":"denied","\u0061nalytics":"granted"}}',
    "a purpose twice with the words in escapes": rb'{"name":"a","consent":{"analytics":"denied","analytics":"\u0067ranted"}}',
    "a purpose twice with everything in escapes":
        rb'{"name":"a","\u0063onsent":{"\u0061nalytics":"\u0064enied","an\u0061lytics":"\u0067ranted"}}',
    "a purpose twice in an event of a list": b'{"events":[{"name":"a","consent":{"analytics":"denied","analytics":"granted"}}]}',
    "consent twice in an event of a list": b'{"events":[{"name":"a","consent":{"analytics":"denied"},"consent":{"analytics":"granted"}}]}',
    "consent twice beside a list": b'{"consent":{"analytics":"denied"},"events":[{"name":"a"}],"consent":{"analytics":"granted"}}',
    "consent twice beside a list in escapes":
        rb'{"\u0063onsent":{"analytics":"denied"},"events":[{"name":"a"}],"\u0063onsent":{"analytics":"granted"}}',
    "a purpose twice with spaces between": b'{"name":"a","consent" : { "analytics" : "denied" ,\n "analytics" : "granted" } }',
    "a purpose twice and words elsewhere":
        b'{"name":"granted","title":"\\"consent\\" denied","consent":{"analytics":"denied","analytics":"granted"}}',
}  # fmt: skip


@pytest.mark.parametrize("body", TWICE.values(), ids=TWICE.keys())
def test_consent_said_twice_is_refused(body: bytes) -> None:
    for trust in ("browser", "server"):
        assert refused(body, arrived(trust)).code == "json_duplicate_key"


ONCE: Final = {
    "in every event": b'{"events":[{"name":"a","consent":{"analytics":"granted"}},{"name":"b","consent":{"analytics":"denied"}}]}',
    "in an event and beside it": b'{"consent":{"analytics":"denied"},"events":[{"name":"a","consent":{"analytics":"granted"}}]}',
    "in a title too": b'{"name":"a","title":"consent","consent":{"analytics":"granted"}}',
    "in a title too, in quotes": b'{"name":"a","title":"\\"consent\\":\\"denied\\"","consent":{"analytics":"granted"}}',
    "as the values of properties": b'{"name":"a","props":{"x":"granted","y":"denied","z":"consent"},"consent":{"analytics":"granted"}}',
    "as the name of a property": b'{"name":"a","props":{"consent":"granted"},"consent":{"analytics":"granted"}}',
    "in escapes": rb'{"name":"a","\u0063onsent":{"\u0061nalytics":"\u0067ranted"}}',
    "beside letters in escapes": rb'{"name":"a","title":"M\u00fcller","consent":{"analytics":"granted"}}',
    "as null": b'{"name":"a","consent":null}',
    "as nothing": b'{"name":"a","consent":{}}',
}  # fmt: skip


@pytest.mark.parametrize("body", ONCE.values(), ids=ONCE.keys())
def test_consent_said_once_is_taken(body: bytes) -> None:
    assert read(body, arrived("server")).events


def test_other_keys_said_twice_are_last_wins_and_never_upgrade_consent() -> None:
    body = b'{"name":"a","title":"first","title":"second","consent":{"analytics":"denied"}}'
    assert one(body).title == "second"
    assert one(body).claim == Claim(0, ANALYTICS)


def spelled(text: str, escaped: int) -> str:
    """A JSON text with the letters that have a bit in `escaped` written as escapes."""
    return '"' + "".join(f"\\u{ord(c):04x}" if escaped >> at & 1 else c for at, c in enumerate(text)) + '"'


WHICH = st.sampled_from([0, 1, 2, 0xFFFFFF]) | st.integers(0, 0xFFFFFF)


@quick
@given(
    words=st.lists(
        st.tuples(st.sampled_from(sorted(ALIASES)), st.sampled_from(["granted", "denied"]), WHICH, WHICH),
        min_size=1,
        max_size=5,
    ),
    batch=st.booleans(),
    key=WHICH,
)
def test_a_repeated_purpose_is_seen_however_it_is_spelled(
    words: list[tuple[str, str, int, int]], batch: bool, key: int
) -> None:
    pairs = ",".join(f"{spelled(name, first)}:{spelled(word, second)}" for name, word, first, second in words)
    event = f'{{"name":"a",{spelled("consent", key)}:{{{pairs}}}}}'
    body = (f'{{"events":[{event}]}}' if batch else event).encode()
    if len({name for name, *_ in words}) < len(words):
        assert refused(body, arrived("server")).code == "json_duplicate_key"
        return
    granted = denied = 0
    for name, word, *_ in words:
        granted |= ALIASES[name] if word == "granted" else 0
        denied |= ALIASES[name] if word == "denied" else 0
    assert one(body).claim == Claim(granted & ~denied, denied)


# ------------------------------------------------------------------ times

BROWSER_TIMES: Final = {
    "now": (0, 0, ()),
    "a week ago": (-7 * DAY_MS, -7 * DAY_MS, ()),
    "a millisecond more": (-7 * DAY_MS - 1, -7 * DAY_MS, ("time_clamped",)),
    "400 days ago": (-400 * DAY_MS, -7 * DAY_MS, ("time_clamped",)),
    "in ten minutes": (10 * MINUTE_MS, 10 * MINUTE_MS, ()),
    "a millisecond later": (10 * MINUTE_MS + 1, 10 * MINUTE_MS, ("time_clamped",)),
    "tomorrow": (DAY_MS, 10 * MINUTE_MS, ("time_clamped",)),
    "in 1970": (-NOW, -7 * DAY_MS, ("time_clamped",)),
    "before 1970": (-NOW - 1, -7 * DAY_MS, ("time_clamped",)),
    "at the end of what a double can count": (9_007_199_254_740_991 - NOW, 10 * MINUTE_MS, ("time_clamped",)),
}


@pytest.mark.parametrize(("said_ms", "taken_ms", "marks"), BROWSER_TIMES.values(), ids=BROWSER_TIMES.keys())
def test_a_browsers_time_is_clamped_and_marked(said_ms: int, taken_ms: int, marks: tuple[str, ...]) -> None:
    received = one({"name": "a", "occurred_at_ms": NOW + said_ms}, "browser")
    assert (received.occurred_at_ms - NOW, received.marks) == (taken_ms, marks)


SERVER_TIMES: Final = {
    "400 days ago": (-400 * DAY_MS, True),
    "a millisecond more": (-400 * DAY_MS - 1, False),
    "in ten minutes": (10 * MINUTE_MS, True),
    "a millisecond later": (10 * MINUTE_MS + 1, False),
}


@pytest.mark.parametrize(("said_ms", "taken"), SERVER_TIMES.values(), ids=SERVER_TIMES.keys())
@pytest.mark.parametrize("trust", ["server", "signed"])
def test_a_servers_time_is_kept_or_refused(trust: str, said_ms: int, taken: bool) -> None:
    body = msgspec.json.encode({"name": "a", "occurred_at_ms": NOW + said_ms})
    if taken:
        received = one(body, trust)
        assert (received.occurred_at_ms - NOW, received.marks) == (said_ms, ())
    else:
        assert refused(body, arrived(trust)).code == "time_out_of_range"


SKEWS: Final = {
    "a clock two hours slow is corrected": (-7_200_000, -7_200_000 - 5_000, -5_000, ("clock_corrected",)),
    "a clock a year fast is corrected": (365 * DAY_MS, 365 * DAY_MS - 5_000, -5_000, ("clock_corrected",)),
    "ten seconds are the way, not the clock": (-10_000, -15_000, -15_000, ()),
    "a corrected time is still clamped": (365 * DAY_MS, 300 * DAY_MS, -7 * DAY_MS, ("time_clamped",)),
    "a sending time without an event time changes nothing": (365 * DAY_MS, None, 0, ()),
    "an absurd clock cannot overflow": (-9_007_199_254_740_991 - NOW, 0, 10 * MINUTE_MS, ("time_clamped",)),
}


@pytest.mark.parametrize(("sent_ms", "occurred_ms", "taken_ms", "marks"), SKEWS.values(), ids=SKEWS.keys())
def test_a_browsers_clock(sent_ms: int, occurred_ms: int | None, taken_ms: int, marks: tuple[str, ...]) -> None:
    body = {"name": "a", "sent_at_ms": NOW + sent_ms}
    if occurred_ms is not None:
        body["occurred_at_ms"] = NOW + occurred_ms
    received = one(body, "browser")
    assert (received.occurred_at_ms - NOW, received.marks) == (taken_ms, marks)


@quick
@given(
    now_ms=st.sampled_from([NOW, LATE]),
    back_ms=st.integers(-10 * MINUTE_MS, 400 * DAY_MS),
    offset_min=st.integers(-14 * 60, 14 * 60),
)
def test_a_time_in_words_is_the_same_millisecond_as_in_numbers(now_ms: int, back_ms: int, offset_min: int) -> None:
    """Also after 2038, when a product of floating-point seconds is often a millisecond short."""
    at_ms = now_ms - back_ms
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    text = moment.astimezone(timezone(timedelta(minutes=offset_min))).isoformat(timespec="milliseconds")
    how = msgspec.structs.replace(arrived("server"), received_at_ms=now_ms)
    (received,) = read(msgspec.json.encode({"name": "a", "occurred_at": text}), how).events
    assert received.occurred_at_ms == at_ms


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"], ids=["first", "last"])
def test_the_ends_of_the_calendar_are_clamped_or_refused(text: str) -> None:
    assert one({"name": "a", "occurred_at": text}, "browser").marks == ("time_clamped",)
    assert (
        refused(msgspec.json.encode({"name": "a", "occurred_at": text}), arrived("server")).code == "time_out_of_range"
    )


@quick
@given(text=st.text(st.sampled_from("0123456789-:+.TZtzW, /\x00é"), max_size=41))
def test_no_time_in_words_raises(text: str) -> None:
    found = outcome(lambda: read(msgspec.json.encode({"name": "a", "occurred_at": text}), arrived()))
    if isinstance(found, Refusal):
        assert found.code in {"time_invalid", "field_too_long"}
    else:
        assert isinstance(found, Parsed)
        assert abs(found.events[0].occurred_at_ms - NOW) <= 7 * DAY_MS


def test_a_backends_choice_may_be_ten_minutes_ahead_and_of_any_age() -> None:
    for at_ms in (NOW + 10 * MINUTE_MS, NOW - 3_000 * DAY_MS, 0):
        claim = one({"name": "a", "consent": {"analytics": "granted"}, "consent_at_ms": at_ms}).claim
        assert claim == Claim(ANALYTICS, 0, at_ms)


# ------------------------------------------------------------------ no bytes do anything else


HOWS: Final = [arrived(trust, conversion=conversion) for trust in ("browser", "server") for conversion in (False, True)]


def taken_or_refused(body: bytes) -> None:
    attempts: list[Callable[[], Parsed | Choice]] = [partial(read, body, how) for how in HOWS]
    attempts += [partial(read_choice, body, server=server) for server in (False, True)]
    for attempt in attempts:
        found = outcome(attempt)
        if isinstance(found, Refusal):
            assert found.code in CODES
        elif isinstance(found, Parsed):
            assert 1 <= len(found.events) <= 3


@quick
@given(body=st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_taken_or_refused(body: bytes) -> None:
    taken_or_refused(body)


VALID_BODIES: Final = [
    msgspec.json.encode(WHOLE),
    msgspec.json.encode({"events": [{"name": "a", "consent": {"analytics": "denied"}}, {"name": "b"}], "gpc": True}),
    msgspec.json.encode({"conversions": [{"name": "a", "value": 1.5, "items": [{"price": 2}]}]}),
    msgspec.json.encode({"choice": {"analytics": "granted"}, "person": {"email": "a"}, "visitor": "x"}),
    rb'{"name":"a","title":"\u00fc\ud83d\ude00","occurred_at":"2026-11-20T12:00:00Z"}',
]


@quick
@given(
    body=st.sampled_from(VALID_BODIES),
    changes=st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=4),
)
def test_no_damaged_body_does_anything_but_be_taken_or_refused(
    body: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    for at, more, cut in changes:
        at %= len(body) + 1
        body = body[:at] + more + body[at + cut :]
    taken_or_refused(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@quick
@given(body=st.dictionaries(st.sampled_from(sorted({*FIELDS, *WireChoice.__struct_fields__})), JSON, max_size=5))
def test_no_json_does_anything_but_be_taken_or_refused(body: dict[str, object]) -> None:
    taken_or_refused(json.dumps(body).encode())


# ------------------------------------------------------------------ the image route


def test_an_image_is_a_page_view_of_the_page_it_stands_on() -> None:
    (received,) = read_pixel({}, "https://a.example/p", arrived()).events
    assert (received.name, received.url, received.trust) == ("page_view", "https://a.example/p", "browser")


def test_an_image_takes_its_fields_from_the_query() -> None:
    query = {
        "name": "purchase", "id": "order-0001", "url": "https://a.example/x", "title": 'T"\\', "value": "9.90",
        "currency": "CHF", "order_id": "A1", "goal": "",
    }  # fmt: skip
    (received,) = read_pixel(query, "https://b.example/", arrived()).events
    assert (received.name, received.event_id, received.url) == ("purchase", "order-0001", "https://a.example/x")
    assert (received.title, received.amount_minor, received.currency) == ('T"\\', 990, "CHF")
    assert (received.order_id, received.goal) == ("A1", None)


def test_an_image_takes_consent_strings_under_their_usual_names_and_no_empty_macros() -> None:
    query = {
        "gdpr": "1", "gdpr_consent": "CQ..", "addtl_consent": "2~1~dv.", "gpp": "DBABLA~", "gpp_sid": "7, 8,x",
        "us_privacy": "1YNN", "gcs": "G111", "gcd": "13l3l3l3l1l1",
    }  # fmt: skip
    (received,) = read_pixel(query, None, arrived()).events
    assert received.signals == Signals(
        tcf="CQ..", gdpr=True, ac="2~1~dv.", gpp="DBABLA~", gpp_sid=(7, 8), us_privacy="1YNN", gcs="G111",
        gcd="13l3l3l3l1l1",
    )  # fmt: skip
    macros = {"gdpr": "${GDPR}", "gdpr_consent": "${GDPR_CONSENT_755}", "gpp": "", "us_privacy": "${US_PRIVACY}"}
    (received,) = read_pixel(macros, None, arrived()).events
    assert received.signals is None
    (received,) = read_pixel({"gdpr": "yes", "gdpr_consent": "CQ.."}, None, arrived()).events
    assert received.signals == Signals(tcf="CQ..")


PIXELS: Final = {
    "an unknown parameter": ({"valu": SECRET}, "field_unknown", "valu"),
    "an unknown parameter with an odd name": ({f"<{SECRET}>": "1"}, "field_unknown", None),
    "consent, which an image cannot say": ({"consent": SECRET}, "field_unknown", "consent"),
    "events, which an image cannot hold": ({"events": "[]"}, "field_unknown", "events"),
    "a name in capitals": ({"name": SECRET}, "event_name_invalid", "name"),
    "an amount in words": ({"value": SECRET}, "amount_invalid", "value"),
}


@pytest.mark.parametrize(("query", "code", "field"), PIXELS.values(), ids=PIXELS.keys())
def test_an_image_is_refused(query: dict[str, str], code: str, field: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read_pixel(query, None, arrived())
    assert (caught.value.code, caught.value.field) == (code, field)
    assert SECRET not in str(caught.value)


CLICKS: Final = {
    "one of ours": ("0123456789abcdefABCDEF", None),
    "digits of another tracker": ("12345678901234567890", None),
    "64 digits": ("9" * 64, None),
    "65 digits": ("9" * 65, "field_invalid"),
    "21 characters": ("a" * 21, "field_invalid"),
    "22 with another character": ("a" * 21 + "-", "field_invalid"),
    "digits of another script": ("１２３", "field_invalid"),
    "a number, which could lose digits on the way": (12, "field_type"),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("said", "code"), CLICKS.values(), ids=CLICKS.keys())
def test_x07_a_click_id_is_text_and_stays_as_it_was_written(said: object, code: str | None) -> None:
    if code is None:
        assert one({"name": "purchase", "click_id": said}).click_id == said
        return
    with pytest.raises(Refusal) as caught:
        one({"name": "purchase", "click_id": said})
    assert (caught.value.code, caught.value.field) == (code, "click_id")


COUPONS: Final = {
    "an e-mail address": (["A", "ann@shop.example"], "field_personal", "coupons[1]"),
    "a phone number": (["+49 151 2345678"], "field_personal", "coupons[0]"),
    "nothing but spaces": (["  "], "field_invalid", "coupons[0]"),
    "a line break": (["A\nB"], "field_invalid", "coupons[0]"),
    "eleven": ([str(number) for number in range(11)], "field_too_long", "coupons"),
    "65 characters": (["A" * 65], "field_too_long", "coupons[0]"),
    "an empty one": ([""], "field_invalid", "coupons[0]"),
}


@pytest.mark.parametrize(("said", "code", "field"), COUPONS.values(), ids=COUPONS.keys())
def test_a_coupon_that_cannot_be_one_is_refused(said: list[str], code: str, field: str) -> None:
    with pytest.raises(Refusal) as caught:
        one({"name": "purchase", "coupons": said})
    assert (caught.value.code, caught.value.field) == (code, field)


def test_the_campaign_of_a_page_counts_for_all_its_events() -> None:
    body = {"campaign": "spring", "events": [{"name": "a"}, {"name": "b", "campaign": "autumn"}]}
    assert [event.campaign_code for event in read(msgspec.json.encode(body), arrived()).events] == ["spring", "autumn"]


def test_an_image_names_click_campaign_and_coupon() -> None:
    query = {"name": "purchase", "click_id": "12", "campaign": "spring", "coupon": "SAVE10"}
    (received,) = read_pixel(query, None, arrived()).events
    assert (received.click_id, received.campaign_code, received.coupons) == ("12", "spring", ("SAVE10",))


# ------------------------------------------------------------------ choices


def test_a_choice_is_read() -> None:
    body = {
        "choice": {"analytics": "granted", "marketing": "denied"},
        "method": "settings",
        "notice": "3",
        "language": "de",
    }
    assert read_choice(msgspec.json.encode(body), server=False) == Choice(
        granted=ANALYTICS,
        denied=ADVERTISING_PURPOSES,
        method="settings",
        notice="3",
        language="de",
        decided_at_ms=None,
        visitor_token=None,
        person=None,
    )


def test_a_backends_choice_names_its_visitor_or_person_and_its_time() -> None:
    body = {"choice": {"functional": "denied"}, "visitor": "v", "person": {"email": "a@b.example"}, "decided_at_ms": 5}
    choice = read_choice(msgspec.json.encode(body), server=True)
    assert (choice.denied, choice.visitor_token, choice.decided_at_ms) == (FUNCTIONAL, "v", 5)
    assert choice.person == Person(email=(Personal("a@b.example"),))
    assert "a@b" not in repr(choice)


def test_a_choice_may_name_what_cannot_be_refused() -> None:
    assert read_choice(b'{"choice":{"necessary":"denied"}}', server=False).denied == NECESSARY


CHOICES: Final = {
    "no choice": (b"{}", "field_missing", "choice"),
    "an empty choice": (b'{"choice":{}}', "field_missing", "choice"),
    "a purpose nobody knows": (b'{"choice":{"s3cretVALUE":"granted"}}', "purpose_unknown", "choice"),
    "other words": (b'{"choice":{"analytics":"s3cretVALUE"}}', "consent_value_invalid", "choice[...]"),
    "words that look like a path": (b'{"choice":{"analytics":"x - at `$.s3cretVALUE"}}', "consent_value_invalid", "choice[...]"),
    "a purpose twice": (b'{"choice":{"analytics":"denied","analytics":"granted"}}', "json_duplicate_key", "consent"),
    "a purpose twice in escapes": (rb'{"choice":{"analytics":"denied","\u0061nalytics":"granted"}}', "json_duplicate_key", "consent"),
    "choice twice": (b'{"choice":{"analytics":"denied"},"choice":{"analytics":"granted"}}', "json_duplicate_key", "consent"),
    "choice twice in escapes": (
        rb'{"\u0063hoice":{"analytics":"denied"},"\u0063hoice":{"analytics":"granted"}}',
        "json_duplicate_key", "consent",
    ),
    "an unknown method": (b'{"choice":{"analytics":"granted"},"method":"s3cretVALUE"}', "field_invalid", "method"),
    "a notice with a line end": (b'{"choice":{"analytics":"granted"},"notice":"s3cretVALUE\\n"}', "field_invalid", "notice"),
    "a language with a direction mark": (
        '{"choice":{"analytics":"granted"},"language":"s3cretVALUE\u202e"}'.encode(),
        "field_invalid", "language",
    ),
    "a notice too long": (b'{"choice":{"analytics":"granted"},"notice":"%s"}' % (b"x" * 41), "field_too_long", "notice"),
    "a page that dates its choice": (b'{"choice":{"analytics":"granted"},"decided_at_ms":1}', "field_unknown", "decided_at_ms"),
    "a page that names a visitor": (b'{"choice":{"analytics":"granted"},"visitor":"s3cretVALUE"}', "field_unknown", "visitor"),
    "a page that names a person": (b'{"choice":{"analytics":"granted"},"person":{"email":"s3cretVALUE"}}', "field_unknown", "person"),
    "an event": (b'{"choice":{"analytics":"granted"},"name":"s3cretVALUE"}', "field_unknown", "name"),
    "no JSON": (b"s3cretVALUE", "json_invalid", None),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "field"), CHOICES.values(), ids=CHOICES.keys())
def test_a_choice_is_refused(body: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read_choice(body, server=False)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert SECRET not in json.dumps(caught.value.body()) + str(caught.value)
