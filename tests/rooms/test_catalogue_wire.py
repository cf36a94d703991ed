"""The catalogue on the wire: what makes and changes campaigns, links, ambassadors, coupons and goals, and what is told."""

import hashlib
import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue import (
    GOAL_TYPES,
    KINDS,
    Ambassador,
    Campaign,
    Coupon,
    Entry,
    Goal,
    Link,
    Preview,
    Utm,
    Variant,
)
from gateway.errors import Refusal
from gateway.event import Personal
from gateway.protocols.catalogue_fields import COLUMNS, looks_like_contact
from gateway.protocols.catalogue_shapes import SHAPES, WireGoal
from gateway.protocols.catalogue_wire import (
    READ_ONLY,
    Making,
    Record,
    change,
    code_from_name,
    create,
    record_of,
    told,
)
from gateway.purposes import ADVERTISING_PURPOSES, ANALYTICS
from gateway.times import DAY_MS
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000  # 2026-11-20T12:00:00Z
TEXT: Final = "2026-11-20T12:00:00.000Z"
KEY: Final = hashlib.sha256(b"anna@shop.example").digest()
quick = tried(200)


def person_key(email: Personal) -> bytes | None:
    text = email.reveal().strip().lower()
    return hashlib.sha256(text.encode()).digest() if "@" in text else None


def preset(name: str) -> Goal:
    if name != "newsletter_signup":
        raise Refusal("field_invalid", "preset")
    return Goal(id="preset-id", code=name, name="Newsletter signup", type="signup", macro=False)


MAKING: Final = Making(
    new_id=lambda: "new-id", new_code=lambda: "k7m2p9xq", person_key=person_key, preset=preset, currency="EUR"
)
NO_CURRENCY: Final = msgspec.structs.replace(MAKING, currency="")


def make(kind: str, said: object, making: Making = MAKING) -> Any:
    return create(kind, json.dumps(said).encode(), making)


def merge(record: Record, said: object, making: Making = MAKING) -> Any:
    return change(type(record).__name__.lower(), json.dumps(said).encode(), record, making)


def entry(record: Record, version: int = 3) -> Entry:
    return Entry(
        site="shop",
        kind=type(record).__name__.lower(),
        id=record.id,
        folded=record.code.lower(),
        parent="",
        version=version,
        changed_at_ms=NOW,
        archived=record.archived,
        body=msgspec.json.encode(record),
    )


# ------------------------------------------------------------------ one complete entry of each kind

WHOLE: Final[dict[str, tuple[dict[str, object], Record]]] = {
    "campaign": (
        {
            "name": " Winter sale ",
            "code": "winter26",
            "channel": "email",
            "utm": {"source": "newsletter", "medium": "email", "campaign": "winter_sale"},
            "tracking": True,
            "domains": ["Shop.Example", "shop.example.", "a.b.example"],
            "ambassadors": True,
            "archived": True,
        },
        Campaign(
            id="new-id",
            code="winter26",
            name="Winter sale",
            channel="email",
            utm=Utm(source="newsletter", medium="email", campaign="winter_sale"),
            tracking=True,
            domains=("shop.example", "a.b.example"),
            ambassadors=True,
            archived=True,
        ),
    ),
    "link": (
        {
            "target": "https://shop.example/a?b=c#d",
            "code": "Summer-26_x",
            "title": "Button in the mail",
            "campaign_id": "camp-1",
            "ambassador_id": "amb-1",
            "channel": "sms",
            "recipient": "customer-4711",
            "utm": {"content": "button", "term": "shoes", "id": "7"},
            "variants": [
                {"target": "https://shop.example/1", "percent": 40},
                {"target": "https://shop.example/2", "percent": 60, "id": "red"},
            ],
            "starts_at": "2026-11-20T13:00:00+01:00",
            "expires_at": NOW + DAY_MS,
            "expired_target": "https://shop.example/over",
            "ios_target": "shopapp://product/1",
            "android_target": "https://play.google.com/store/apps/details?id=example",
            "repeat_window_s": 30,
            "no_referrer": True,
            "preview": {"title": "Sale", "description": "Two\nlines", "image": "https://shop.example/i.png"},
            "archived": False,
        },
        Link(
            id="new-id",
            code="Summer-26_x",
            target="https://shop.example/a?b=c#d",
            title="Button in the mail",
            campaign_id="camp-1",
            ambassador_id="amb-1",
            channel="sms",
            recipient="customer-4711",
            utm=Utm(content="button", term="shoes", id="7"),
            variants=(Variant("a", "https://shop.example/1", 40), Variant("red", "https://shop.example/2", 60)),
            starts_at_ms=NOW,
            expires_at_ms=NOW + DAY_MS,
            expired_target="https://shop.example/over",
            ios_target="shopapp://product/1",
            android_target="https://play.google.com/store/apps/details?id=example",
            repeat_window_s=30,
            no_referrer=True,
            preview=Preview("Sale", "Two\nlines", "https://shop.example/i.png"),
        ),
    ),
    "ambassador": (
        {"name": "Anna", "campaign_id": "camp-1", "code": "anna", "email": "Anna@shop.example", "archived": False},
        Ambassador(id="new-id", code="anna", name="Anna", campaign_id="camp-1", person_key=KEY),
    ),
    "coupon": (
        {
            "code": " ANNA 10 ",
            "campaign_id": "camp-1",
            "ambassador_id": "amb-1",
            "starts_at": NOW,
            "expires_at": NOW + 1,
            "archived": False,
        },
        Coupon(
            id="new-id",
            code="ANNA 10",
            campaign_id="camp-1",
            ambassador_id="amb-1",
            starts_at_ms=NOW,
            expires_at_ms=NOW + 1,
        ),
    ),
    "goal": (
        {
            "name": "Q1 Sale",
            "code": "purchase",
            "type": "purchase",
            "macro": False,
            "description": "An order,\nfully paid.",
            "value": "12.30",
            "currency": "USD",
            "count": "one_per_person",
            "model": "linear",
            "click_window_days": 7,
            "view_window_days": 2,
            "view_policy": "never",
            "direct_policy": "include",
            "coupon_policy": "touch",
            "pin": "click_id",
            "reset_after_conversion": True,
            "target_rate_pct": "2.6",
            "call_min_s": 90,
            "per_minute": 5_000,
            "notify_url": "https://shop.example/hook?cid={clickid}",
            "domains": "Shop.example\n\n  pay.example \n",
            "campaign_id": "camp-1",
            "offline_purposes": ["analytics", "marketing"],
            "archived": False,
        },
        Goal(
            id="new-id",
            code="purchase",
            name="Q1 Sale",
            type="purchase",
            macro=False,
            description="An order,\nfully paid.",
            value_minor=1_230,
            currency="USD",
            count="one_per_person",
            model="linear",
            click_window_ms=7 * DAY_MS,
            view_window_ms=2 * DAY_MS,
            view_policy="never",
            direct_policy="include",
            coupon_policy="touch",
            pin="click_id",
            reset_after_conversion=True,
            target_rate_ppm=26_000,
            call_min_s=90,
            per_minute=5_000,
            notify_url="https://shop.example/hook?cid={clickid}",
            domains=("shop.example", "pay.example"),
            campaign_id="camp-1",
            offline_purposes=ANALYTICS | ADVERTISING_PURPOSES,
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_read(kind: str) -> None:
    said, expected = WHOLE[kind]
    assert set(said) | ({"preset"} if kind == "goal" else set()) == set(SHAPES[kind].__struct_fields__)
    assert make(kind, said) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_can_be_sent_back_and_is_the_same(kind: str) -> None:
    _, record = WHOLE[kind]
    shown = told(entry(record))
    assert list(shown)[:4] == ["kind", "id", "version", "changed_at"]
    assert (shown["kind"], shown["id"], shown["version"], shown["changed_at"]) == (kind, "new-id", 3, TEXT)
    again = {name: value for name, value in json.loads(msgspec.json.encode(shown)).items() if name not in READ_ONLY}
    assert merge(record, again) == record
    if kind != "ambassador":
        assert make(kind, again) == record


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_as_stored_reads_back(kind: str) -> None:
    _, record = WHOLE[kind]
    assert record_of(entry(record)) == record


LEAST: Final[dict[str, tuple[dict[str, object], Record]]] = {
    "campaign": ({"name": "Winter"}, Campaign(id="new-id", code="k7m2p9xq", name="Winter")),
    "link": (
        {"target": "https://shop.example/"},
        Link(id="new-id", code="k7m2p9xq", target="https://shop.example/"),
    ),
    "ambassador": (
        {"name": "Anna", "campaign_id": "camp-1"},
        Ambassador(id="new-id", code="k7m2p9xq", name="Anna", campaign_id="camp-1"),
    ),
    "coupon": ({"code": "ANNA10", "campaign_id": "camp-1"}, Coupon(id="new-id", code="ANNA10", campaign_id="camp-1")),
    "goal": ({"name": "Q1 Sale"}, Goal(id="new-id", code="q1_sale", name="Q1 Sale")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_has_defaults(kind: str) -> None:
    said, expected = LEAST[kind]
    assert make(kind, said) == expected
    nothing = {name: None for name in SHAPES[kind].__struct_fields__ if name not in said and name != "preset"}
    assert make(kind, {**said, **nothing}) == expected, "null is the default"


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_is_told_with_all_its_defaults(kind: str) -> None:
    _, record = LEAST[kind]
    shown = told(entry(record))
    assert set(SHAPES[kind].__struct_fields__) - {"preset", "email"} == set(shown) - set(READ_ONLY)
    again = {name: value for name, value in json.loads(msgspec.json.encode(shown)).items() if name not in READ_ONLY}
    assert make(kind, again) == record


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_needed_is_asked_for_by_name(kind: str) -> None:
    said, record = LEAST[kind]
    for field in said:
        for without in ({name: value for name, value in said.items() if name != field}, {**said, field: None}):
            with pytest.raises(Refusal) as refusal:
                make(kind, without)
            assert (refusal.value.code, refusal.value.field) == ("field_missing", field)
        if field != "code":
            with pytest.raises(Refusal) as refusal:
                merge(record, {field: None})
            assert (refusal.value.code, refusal.value.field) == ("field_missing", field)


# ------------------------------------------------------------------ changing

CHANGES: Final[dict[str, tuple[Record, dict[str, object], dict[str, object]]]] = {
    "nothing": (WHOLE["goal"][1], {}, {}),
    "one field": (WHOLE["goal"][1], {"click_window_days": 90}, {"click_window_ms": 90 * DAY_MS}),
    "a field back to its default": (WHOLE["goal"][1], {"click_window_days": None}, {"click_window_ms": 30 * DAY_MS}),
    "the value away": (WHOLE["goal"][1], {"value": None}, {"value_minor": None}),
    "the value to zero": (WHOLE["goal"][1], {"value": 0}, {"value_minor": 0}),
    "value and currency": (
        WHOLE["goal"][1],
        {"value": 500, "currency": "JPY"},
        {"value_minor": 500, "currency": "JPY"},
    ),
    "a currency that is the same": (WHOLE["goal"][1], {"currency": "USD"}, {}),
    "a currency where there is no value": (LEAST["goal"][1], {"currency": "USD"}, {"currency": "USD"}),
    "one campaign parameter": (
        WHOLE["campaign"][1],
        {"utm": {"medium": "sms"}},
        {"utm": Utm(source="newsletter", medium="sms", campaign="winter_sale")},
    ),
    "one campaign parameter away": (
        WHOLE["campaign"][1],
        {"utm": {"medium": None}},
        {"utm": Utm(source="newsletter", campaign="winter_sale")},
    ),
    "all campaign parameters away": (WHOLE["campaign"][1], {"utm": None}, {"utm": Utm()}),
    "part of the preview": (
        WHOLE["link"][1],
        {"preview": {"title": "New"}},
        {"preview": Preview("New", "Two\nlines", "https://shop.example/i.png")},
    ),
    "a preview where there was none": (
        LEAST["link"][1],
        {"preview": {"title": "New"}},
        {"preview": Preview("New")},
    ),
    "the variants, all of them": (
        WHOLE["link"][1],
        {"variants": [{"target": "https://x.example", "percent": 100}]},
        {"variants": (Variant("a", "https://x.example", 100),)},
    ),
    "the variants away": (WHOLE["link"][1], {"variants": []}, {"variants": ()}),
    "the end away": (WHOLE["link"][1], {"expires_at": None}, {"expires_at_ms": 0}),
    "the campaign away": (WHOLE["link"][1], {"campaign_id": ""}, {"campaign_id": ""}),
    "the slug": (WHOLE["link"][1], {"code": "other"}, {"code": "other"}),
    "the code that it has": (WHOLE["goal"][1], {"code": "purchase"}, {}),
    "the e-mail address away": (WHOLE["ambassador"][1], {"email": None}, {"person_key": b""}),
    "an empty e-mail address": (WHOLE["ambassador"][1], {"email": " "}, {"person_key": b""}),
    "into the archive": (LEAST["campaign"][1], {"archived": True}, {"archived": True}),
}


@pytest.mark.parametrize(("record", "said", "changes"), CHANGES.values(), ids=CHANGES.keys())
def test_changed_is(record: Record, said: dict[str, object], changes: dict[str, object]) -> None:
    assert merge(record, said) == msgspec.structs.replace(record, **changes)


def test_a_token_and_a_key_survive_a_change() -> None:
    goal = msgspec.structs.replace(LEAST["goal"][1], token_digest=b"digest")
    assert merge(goal, {"name": "New"}).token_digest == b"digest"
    assert merge(WHOLE["ambassador"][1], {"name": "Anne"}).person_key == KEY


FIXED: Final = {
    "the code of a goal": (WHOLE["goal"][1], {"code": "other_goal"}, "field_invalid", "code"),
    "the code of a campaign": (WHOLE["campaign"][1], {"code": "other"}, "field_invalid", "code"),
    "the currency of a value": (WHOLE["goal"][1], {"currency": "JPY"}, "field_missing", "value"),
    "the currency of a value away": (WHOLE["goal"][1], {"currency": None}, "field_missing", "value"),
    "the preset": (WHOLE["goal"][1], {"preset": "newsletter_signup"}, "field_unknown", "preset"),
    "the id": (WHOLE["goal"][1], {"id": "other"}, "field_unknown", "id"),
    "the version": (WHOLE["link"][1], {"version": 1}, "field_unknown", "version"),
    "the key of a person": (WHOLE["ambassador"][1], {"person_key": "x"}, "field_unknown", "person_key"),
    "the digest of a token": (WHOLE["goal"][1], {"token_digest": "x"}, "field_unknown", "token_digest"),
    "an end before the beginning it has": (WHOLE["coupon"][1], {"expires_at": NOW - 1}, "field_invalid", "expires_at"),
}


@pytest.mark.parametrize(("record", "said", "code", "field"), FIXED.values(), ids=FIXED.keys())
def test_not_changed_is(record: Record, said: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(Refusal) as refusal:
        merge(record, said)
    assert (refusal.value.code, refusal.value.field) == (code, field)


# ------------------------------------------------------------------ refusals

REFUSED: Final = {
    "a name of the wrong type": ("campaign", {"name": 5}, "field_type", "name"),
    "an empty name": ("campaign", {"name": "  "}, "field_invalid", "name"),
    "a name with a control character": ("campaign", {"name": "a\u0007"}, "field_invalid", "name"),
    "a name of two lines": ("campaign", {"name": "a\nb"}, "field_invalid", "name"),
    "a long name": ("campaign", {"name": "x" * 121}, "field_too_long", "name"),
    "an e-mail address as a name": ("campaign", {"name": "anna@shop.example"}, "field_personal", "name"),
    "an e-mail address as an ambassador's name": (
        "ambassador",
        {"name": "Anna (anna@shop.example)", "campaign_id": "c"},
        "field_personal",
        "name",
    ),
    "a phone number as an ambassador's name": (
        "ambassador",
        {"name": "+49 151 1234567", "campaign_id": "c"},
        "field_personal",
        "name",
    ),
    "an e-mail address as a title": ("link", {"target": "x:y", "title": "to a@b.example"}, "field_personal", "title"),
    "an e-mail address as a recipient": ("link", {"target": "x", "recipient": "a@b.example"}, "field_personal", "recipient"),
    "a phone number as a recipient": ("link", {"target": "x", "recipient": "0151 1234567"}, "field_personal", "recipient"),
    "an e-mail address as a slug": ("link", {"target": "x", "code": "a@b.example"}, "field_personal", "code"),
    "an e-mail address as a coupon": ("coupon", {"code": "a@b.example", "campaign_id": "c"}, "field_personal", "code"),
    "an e-mail address as a parameter": (
        "campaign",
        {"name": "x", "utm": {"term": "a@b.example"}},
        "field_personal",
        "utm.term",
    ),
    "an e-mail address in a goal": ("goal", {"name": "x", "description": "ask a@b.example"}, "field_personal", "description"),
    "a slug with a dot": ("link", {"target": "x", "code": "a.php"}, "field_invalid", "code"),
    "a slug with a space": ("link", {"target": "x", "code": "a b"}, "field_invalid", "code"),
    "an empty slug": ("link", {"target": "x", "code": ""}, "field_invalid", "code"),
    "a goal's code with capitals": ("goal", {"name": "x", "code": "Purchase"}, "event_name_invalid", "code"),
    "the channel of visits without a source": ("link", {"target": "x", "channel": "Direct"}, "field_invalid", "channel"),
    "an empty target": ("link", {"target": ""}, "field_invalid", "target"),
    "a target with a line end": ("link", {"target": "https://a.example/\n"}, "field_invalid", "target"),
    "a long target": ("link", {"target": "https://a.example/" + "x" * 2_048}, "field_too_long", "target"),
    "a preview that is no picture of the web": (
        "link",
        {"target": "x", "preview": {"image": "javascript:alert(1)"}},
        "field_invalid",
        "preview.image",
    ),
    "a long parameter": ("link", {"target": "x", "utm": {"source": "x" * 256}}, "field_too_long", "utm.source"),
    "an unknown parameter": ("link", {"target": "x", "utm": {"sauce": "x"}}, "field_unknown", "utm.sauce"),
    "a variant without a target": ("link", {"target": "x", "variants": [{"percent": 1}]}, "field_missing", "variants[0].target"),
    "a variant with an empty target": (
        "link",
        {"target": "x", "variants": [{"target": "y", "percent": 1}, {"target": "", "percent": 99}]},
        "field_invalid",
        "variants[1].target",
    ),
    "a variant of 101 percent": (
        "link",
        {"target": "x", "variants": [{"target": "y", "percent": 101}]},
        "field_invalid",
        "variants[0].percent",
    ),
    "a variant with a bad name": (
        "link",
        {"target": "x", "variants": [{"target": "y", "percent": 1, "id": "a b"}]},
        "field_invalid",
        "variants[0].id",
    ),
    "too many variants": (
        "link",
        {"target": "x", "variants": [{"target": "y", "percent": 1}] * 21},
        "field_too_long",
        "variants",
    ),
    "a time without an offset": ("link", {"target": "x", "starts_at": "2026-11-20T12:00:00"}, "time_invalid", "starts_at"),
    "a day": ("link", {"target": "x", "starts_at": "2026-11-20"}, "time_invalid", "starts_at"),
    "a time that is none": ("link", {"target": "x", "starts_at": "soon"}, "time_invalid", "starts_at"),
    "a time before 1970": ("link", {"target": "x", "starts_at": -1}, "time_invalid", "starts_at"),
    "a time beyond the year 9999": ("coupon", {"code": "x", "campaign_id": "c", "starts_at": 10**15}, "time_invalid", "starts_at"),
    "true as a time": ("link", {"target": "x", "starts_at": True}, "field_type", "starts_at"),
    "an end that is the beginning": (
        "link",
        {"target": "x", "starts_at": NOW, "expires_at": NOW},
        "field_invalid",
        "expires_at",
    ),
    "a repeat window of 29 s": ("link", {"target": "x", "repeat_window_s": 29}, "field_invalid", "repeat_window_s"),
    "a domain with a scheme": ("campaign", {"name": "x", "domains": ["https://a.example"]}, "field_invalid", "domains[0]"),
    "a domain with a port": ("campaign", {"name": "x", "domains": "a.example\nb.example:80"}, "field_invalid", "domains[1]"),
    "a domain with a Kelvin sign": ("campaign", {"name": "x", "domains": ["\u212aa.example"]}, "field_invalid", "domains[0]"),
    "a domain with a star": ("campaign", {"name": "x", "domains": ["*.example"]}, "field_invalid", "domains[0]"),
    "a domain of the wrong type": ("campaign", {"name": "x", "domains": [5]}, "field_type", "domains[0]"),
    "too many domains": ("campaign", {"name": "x", "domains": "\n".join(f"a{n}.example" for n in range(101))}, "field_too_long", "domains"),
    "a campaign with a bad id": ("coupon", {"code": "x", "campaign_id": "a b"}, "field_invalid", "campaign_id"),
    "an empty campaign of a coupon": ("coupon", {"code": "x", "campaign_id": ""}, "field_invalid", "campaign_id"),
    "what is no e-mail address": ("ambassador", {"name": "x", "campaign_id": "c", "email": "anna"}, "field_invalid", "email"),
    "a long e-mail address": (
        "ambassador",
        {"name": "x", "campaign_id": "c", "email": "a" * 310 + "@shop.example"},
        "field_too_long",
        "email",
    ),
    "an unknown goal type": ("goal", {"name": "x", "type": "sale"}, "field_invalid", "type"),
    "a window of no days": ("goal", {"name": "x", "click_window_days": 0}, "field_invalid", "click_window_days"),
    "a window of 401 days": ("goal", {"name": "x", "click_window_days": 401}, "field_invalid", "click_window_days"),
    "a window of half a day": ("goal", {"name": "x", "click_window_days": 0.5}, "field_type", "click_window_days"),
    "a view window of 31 days": ("goal", {"name": "x", "view_window_days": 31}, "field_invalid", "view_window_days"),
    "a value that is no number": ("goal", {"name": "x", "value": "ten"}, "amount_invalid", "value"),
    "a negative value": ("goal", {"name": "x", "value": "-1"}, "amount_negative", "value"),
    "a value too fine": ("goal", {"name": "x", "value": "0.001"}, "amount_too_fine", "value"),
    "a value that is not finite": ("goal", {"name": "x", "value": "NaN"}, "amount_not_finite", "value"),
    "an unknown currency": ("goal", {"name": "x", "value": "1", "currency": "XXX"}, "currency_unknown", "currency"),
    "a currency in small letters": ("goal", {"name": "x", "value": "1", "currency": "eur"}, "currency_unknown", "currency"),
    "a rate of 101 percent": ("goal", {"name": "x", "target_rate_pct": 101}, "field_invalid", "target_rate_pct"),
    "a negative rate": ("goal", {"name": "x", "target_rate_pct": "-0.1"}, "field_invalid", "target_rate_pct"),
    "a rate too fine": ("goal", {"name": "x", "target_rate_pct": "1.00001"}, "field_invalid", "target_rate_pct"),
    "a rate that is no number": ("goal", {"name": "x", "target_rate_pct": "ten"}, "field_invalid", "target_rate_pct"),
    "a rate that is not finite": ("goal", {"name": "x", "target_rate_pct": "NaN"}, "field_invalid", "target_rate_pct"),
    "an unknown purpose": ("goal", {"name": "x", "offline_purposes": ["analytics", "fun"]}, "purpose_unknown", "offline_purposes[1]"),
    "an unknown preset": ("goal", {"preset": "peace"}, "field_invalid", "preset"),
    "an unknown field": ("goal", {"name": "x", "token": "t"}, "field_unknown", "token"),
    "a list": ("goal", [], "field_type", None),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "said", "code", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_is(kind: str, said: object, code: str, field: str | None) -> None:
    with pytest.raises(Refusal) as refusal:
        make(kind, said)
    assert (refusal.value.code, refusal.value.field) == (code, field)


def test_a_change_of_another_kind_is_a_fault_of_ours() -> None:
    with pytest.raises(TypeError):
        change("link", b"{}", LEAST["goal"][1], MAKING)


def test_broken_json_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        create("link", b'{"target":', MAKING)
    assert refusal.value.code == "json_invalid"


@quick
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(sorted({name for shape in SHAPES.values() for name in shape.__struct_fields__})), inner),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_bytes_do_anything_but_make_an_entry_or_be_refused(kind: str, body: bytes) -> None:
    try:
        record = create(kind, body, MAKING)
    except Refusal:
        return
    assert record_of(entry(record)) == record


# ------------------------------------------------------------------ goals


def test_a_preset_is_the_base_and_what_is_said_wins() -> None:
    made = make("goal", {"preset": "newsletter_signup", "name": "Letter", "value": 5})
    assert made == Goal(
        id="preset-id",
        code="newsletter_signup",
        name="Letter",
        type="signup",
        macro=False,
        value_minor=500,
        currency="EUR",
    )
    assert make("goal", {"preset": "newsletter_signup"}) == preset("newsletter_signup")


def test_a_value_takes_the_currency_of_the_site_and_needs_one() -> None:
    assert make("goal", {"name": "x", "value": "9.99"}).currency == "EUR"
    assert make("goal", {"name": "x"}).currency == "", "no value, no currency"
    with pytest.raises(Refusal) as refusal:
        make("goal", {"name": "x", "value": "9.99"}, NO_CURRENCY)
    assert (refusal.value.code, refusal.value.field) == ("currency_missing", "currency")


def test_the_types_on_the_wire_are_those_of_the_catalogue() -> None:
    _, shapes = msgspec.json.schema_components([WireGoal])
    (words,) = [each["enum"] for each in shapes["WireGoal"]["properties"]["type"]["anyOf"] if "enum" in each]
    assert sorted(words) == sorted(GOAL_TYPES)


CODES_OF_NAMES: Final = {
    "Q1 Sale": "q1_sale",
    "  Käufe & Co. ": "kaufe_co",
    "2026 Sale": "goal_2026_sale",
    "Покупка": "k7m2p9xq",
    "Покупка 2": "goal_2",
    "购买": "k7m2p9xq",
    "x" * 60: "x" * 40,
    "a" * 39 + " b": "a" * 39,
}


@pytest.mark.parametrize(("name", "code"), CODES_OF_NAMES.items())
def test_a_code_is_made_of_a_name(name: str, code: str) -> None:
    assert code_from_name(name, MAKING.new_code) == code


@quick
@given(name=st.text(), random=st.text(alphabet="abcXYZ019_-", min_size=1))
def test_a_made_code_can_always_be_the_name_of_an_event(name: str, random: str) -> None:
    code = code_from_name(name, lambda: random)
    assert code[0].isascii()
    assert code[0].islower()
    assert len(code) <= 40
    assert set(code) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


# ------------------------------------------------------------------ telling


def test_neither_a_token_nor_a_key_is_ever_told() -> None:
    goal = msgspec.structs.replace(LEAST["goal"][1], token_digest=b"\x01digest\x02")
    shown = told(entry(goal))
    assert (shown["token_set"], told(entry(LEAST["goal"][1]))["token_set"]) == (True, False)
    assert "digest" not in str(shown)
    ambassador = told(entry(WHOLE["ambassador"][1]))
    assert ambassador["email_set"] is True
    assert told(entry(LEAST["ambassador"][1]))["email_set"] is False
    assert "email" not in ambassador
    assert "person_key" not in ambassador
    assert KEY.hex() not in str(ambassador)


def test_money_is_told_as_decimal_text_and_windows_as_days() -> None:
    shown = told(entry(WHOLE["goal"][1]))
    assert (shown["value"], shown["currency"], shown["target_rate_pct"]) == ("12.30", "USD", "2.6")
    assert (shown["click_window_days"], shown["view_window_days"]) == (7, 2)
    assert shown["offline_purposes"] == ["analytics", "advertising", "ad_user_data", "ad_personalization"]
    whole = told(entry(msgspec.structs.replace(WHOLE["goal"][1], target_rate_ppm=1_000_000)))
    assert whole["target_rate_pct"] == "100"


def test_every_column_belongs_to_a_field_on_the_wire() -> None:
    on_the_wire = {name for shape in SHAPES.values() for name in shape.__struct_fields__}
    assert set(COLUMNS) <= on_the_wire


# ------------------------------------------------------------------ contact data

CONTACTS: Final = [
    "anna@shop.example", "Anna <anna@shop.example>", "anna%40shop.example", "a.b+c@mail.shop.co", "+49 151 1234567", "+4915112345678",
    "0151/1234567", "0151-123-4567", "01.23.45.67.89", "06 12 34 56 78", "004915112345678", "(030) 123456-78", "call 555-123-4567",
]  # fmt: skip
NAMES: Final = [
    "Winter sale 2026", "Black Week 24.11.-27.11.2026", "01.11.-30.11.2026", "2026-11-20 to 2026-11-27", "11/24/2026 - 11/27/2026",
    "100 % @ home", "@anna on Instagram", "Meet @ 12.30", "Campaign 20123456789", "Q4/2026", "SKU 0815", "7-14-30 days", "3 for 2",
    "utm-4711-0815", "12 x 12 x 12", "1 000 000 fans", "WINTER-0123456789",
]  # fmt: skip


@pytest.mark.parametrize("text", CONTACTS)
def test_contact_data_is_seen(text: str) -> None:
    assert looks_like_contact(text)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_no_contact_data(text: str) -> None:
    assert not looks_like_contact(text)
