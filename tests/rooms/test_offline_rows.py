"""Rows of offline files: what they become, what each is refused for, and that nothing of a person is told or kept in clear."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from gateway.errors import CODES, Refusal
from gateway.event import Claim, Item, Person, Personal
from gateway.protocols.offline import (
    Head,
    OfflineAdjustment,
    OfflineReader,
    OfflineRow,
    Outcome,
    RowProblem,
    Upload,
    read,
)
from gateway.protocols.offline_columns import EVENT_NAMES, SETS, lay_out
from gateway.protocols.offline_items import read_items
from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ALL_PURPOSES,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
)
from gateway.times import DAY_MS

NOW: Final = 1_795_176_000_000  # 2026-11-20T12:00:00Z
OURS: Final = {"goal": "store_sale", "time": "2026-11-14 10:30:00", "order_id": "R-1"}
CLICK: Final = {"Google Click ID": "Cj0-1", "Conversion Name": "store_sale", "Conversion Time": "2026-11-14 10:30:00"}
CALL: Final = {
    "Caller's Phone Number": "+493055501000",
    "Call Start Time": "2026-11-14 10:00:00",
    "Conversion Name": "phone_order",
    "Conversion Time": "2026-11-14 10:30:00",
}
META: Final = {"event_name": "Purchase", "event_time": "2026-11-14T09:30:00Z", "email": "a@example.com"}
UNTOLD: Final = ALL_PURPOSES & ~NECESSARY


def upload(**how: Any) -> Upload:
    base: dict[str, Any] = {
        "site": "shop",
        "trust": "signed",
        "received_at_ms": NOW,
        "zone": "Europe/Berlin",
        "currency": "EUR",
        "row_id": lambda digest: digest.hex()[:26],
    }
    return Upload(**{**base, **how})


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def outcome(cells: Mapping[str, str], *, delimiter: str = ",", **how: Any) -> Outcome:
    """What one row becomes."""
    text = "\n".join(delimiter.join(map(quoted, line)) for line in (cells.keys(), cells.values()))
    (found,) = read([text.encode()], upload(**how))
    return found


def row(cells: Mapping[str, str], **how: Any) -> OfflineRow:
    found = outcome(cells, **how)
    assert isinstance(found, OfflineRow), found
    return found


def adjustment(cells: Mapping[str, str], **how: Any) -> OfflineAdjustment:
    found = outcome(cells, **how)
    assert isinstance(found, OfflineAdjustment), found
    return found


def header_refused(*names: str, **how: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as refused:
        list(read([(",".join(map(quoted, names)) + "\nx\n").encode()], upload(**how)))
    return refused.value.code, refused.value.field


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("goal,time", "gateway"),
        ("TIME,Goal,Order_ID,meta_Till", "gateway"),
        ("Google Click ID,Conversion Name,Conversion Time", "google_clicks"),
        ("conversion time,google click id,conversion name,conversion value,Ad User Data", "google_clicks"),
        ("Caller's Phone Number,Call Start Time,Conversion Name,Conversion Time", "google_calls"),
        ("Caller’s Phone Number,Call Start Time,Conversion Name,Conversion Time", "google_calls"),
        ("event_name,event_time", "meta"),
        ("em,ph,event_time,event_name,currency,value,order_id,content_type,contents,execution_id", "meta"),
    ],
)
def test_a_set_of_columns_is_recognised_by_its_header(header: str, columns: str) -> None:
    reader = OfflineReader(upload())
    list(reader.feed(header.encode() + b"\n"))
    assert reader.head is not None
    assert reader.head.columns == columns


HEADERS_REFUSED: Final = {
    "nothing known": (("name", "when"), "header_unknown", "line 1"),
    "data instead of a header": (("anna@example.com", "12.50"), "header_unknown", "line 1"),
    "half of ours": (("goal", "value"), "header_unknown", "line 1"),
    "two sets at once": (("goal", "time", "event_name", "event_time"), "header_unknown", "line 1"),
    "an unknown column is told by its place": (("goal", "time", "anna@example.com"), "field_unknown", "#3"),
    "no extra columns beside Google's": ((*CLICK, "Store"), "field_unknown", "#4"),
    "no contact data beside Google's clicks": ((*CLICK, "Email"), "field_unknown", "#4"),
    "a column twice": (("goal", "time", "order_id", "Order_Id"), "column_repeated", "order_id"),
    "a fourth address": (("goal", "time", "email", "email", "email", "email"), "column_repeated", "email"),
    "two names of one column": ((*META, "fn", "first_name"), "column_repeated", "fn"),
    "a free column twice": (("goal", "time", "meta_a", "meta_A"), "column_repeated", "meta_a"),
    "a personal free column": (("goal", "time", "meta_email"), "field_personal", "#3"),
    "a personal custom column": ((*META, "Street Address"), "field_personal", "#4"),
    "a free column with a bad name": (("goal", "time", "meta_größe"), "field_invalid", "#3"),
    "a free column named like our own property": ((*META, "source"), "field_invalid", "#4"),
}


@pytest.mark.parametrize("case", HEADERS_REFUSED)
def test_a_header_is_refused_with_the_column_that_is_wrong(case: str) -> None:
    header, code, field = HEADERS_REFUSED[case]
    assert header_refused(*header) == (code, field)


def test_two_hundred_columns_are_taken_and_one_more_is_refused() -> None:
    names = ["goal", "time", *(f"meta_{number}" for number in range(199))]
    assert lay_out(names[:200]).width == 200
    assert header_refused(*names) == ("columns_too_many", None)


def test_a_named_set_is_held_to_its_columns() -> None:
    assert header_refused("goal", "time", columns="meta") == ("field_missing", "event_name")
    assert header_refused("event_name", "event_time", columns="gateway") == ("field_unknown", "#1")
    assert header_refused("goal", "time", columns="nonsense") == ("header_unknown", "columns")
    both = {"goal": "store_sale", "time": "2026-11-14 10:30", "event_name": "x", "event_time": "y"}
    assert header_refused(*both, columns="gateway") == ("field_unknown", "#3")


def test_every_column_of_every_set_is_understood() -> None:
    for name, columns in SETS.items():
        layout = lay_out([alias for column in columns.columns for alias in (column.name,) * column.times])
        assert layout.set.name == name
        assert {field for _, field in layout.places} == {column.field for column in columns.columns} - {"unused"}


def test_columns_that_are_not_used_are_told() -> None:
    reader = OfflineReader(upload())
    list(reader.feed(b"event_name,event_time,email,madid,content_type\n"))
    assert reader.head == Head("meta", ",", ("madid", "content_type"))


# ------------------------------------------------------------------ rows refused

PROBLEMS: Final[dict[str, tuple[Mapping[str, str], str | None, str]]] = {
    "no goal": ({**OURS, "goal": " "}, "goal", "field_missing"),
    "no time": ({**OURS, "time": ""}, "time", "field_missing"),
    "nothing to match": ({**OURS, "order_id": "", "city": "Berlin"}, None, "match_missing"),
    "a coupon alone matches nothing": ({**OURS, "order_id": "", "coupon": "SUMMER"}, None, "match_missing"),
    "a goal that is no name": ({**OURS, "goal": "Store Sale"}, "goal", "event_name_invalid"),
    "a time in words": ({**OURS, "time": "noon"}, "time", "time_format"),
    "a time that never came": ({**OURS, "time": "2026-03-29 02:30"}, "time", "time_nonexistent"),
    "more than 400 days back": ({**OURS, "time": "2025-10-01 10:00"}, "time", "time_out_of_range"),
    "eleven minutes ahead": ({**OURS, "time": "2026-11-20T12:11:00Z"}, "time", "time_out_of_range"),
    "a negative amount": ({**OURS, "value": "-12.50"}, "value", "amount_negative"),
    "a decimal comma": ({**OURS, "value": "12,50"}, "value", "amount_invalid"),
    "thousands": ({**OURS, "value": "1,234.50"}, "value", "amount_invalid"),
    "a currency sign": ({**OURS, "value": "€12"}, "value", "amount_invalid"),
    "an exponent": ({**OURS, "value": "1e3"}, "value", "amount_invalid"),
    "no number": ({**OURS, "value": "NaN"}, "value", "amount_invalid"),
    "too many decimals": ({**OURS, "value": "1.234"}, "value", "amount_too_fine"),
    "too much": ({**OURS, "value": "9" * 18}, "value", "amount_too_large"),
    "a currency in small letters": ({**OURS, "value": "1", "currency": "eur"}, "currency", "currency_unknown"),
    "an address as order number": ({**OURS, "order_id": "anna@example.com"}, "order_id", "field_personal"),
    "a phone number as order number": ({**OURS, "order_id": "+49 30 5550100"}, "order_id", "field_personal"),
    "an address as coupon": ({**OURS, "coupon": "anna@example.com"}, "coupon", "field_personal"),
    "an address inside a note": ({**OURS, "meta_note": "ask anna@example.com"}, "meta_note", "field_personal"),
    "a phone number as note": ({**OURS, "meta_note": "+1 (202) 555-0101"}, "meta_note", "field_personal"),
    "a long order number": ({**OURS, "order_id": "x" * 65}, "order_id", "field_too_long"),
    "a long coupon": ({**OURS, "coupon": "x" * 65}, "coupon", "field_too_long"),
    "a long name": ({**OURS, "first_name": "x" * 321}, "first_name", "field_too_long"),
    "a long note": ({**OURS, "meta_note": "x" * 8_193}, "meta_note", "field_too_long"),
    "a line break in an order number": ({**OURS, "order_id": "R\n1"}, "order_id", "field_invalid"),
    "a click id of other characters": ({**OURS, "click_id": "ab cd"}, "click_id", "field_invalid"),
    "an unknown purpose": ({**OURS, "consent": "analytics everything"}, "consent", "purpose_unknown"),
    "nothing but a separator": ({**OURS, "consent": "|"}, "consent", "purpose_unknown"),
    "an unknown status": ({**OURS, "status": "pending"}, "status", "field_invalid"),
    "an unknown kind": ({**OURS, "kind": "moon"}, "kind", "field_invalid"),
    "a refund without an order": (
        {**OURS, "order_id": "", "email": "a@example.com", "status": "refund"},
        "order_id",
        "field_missing",
    ),
    "no click id": ({**CLICK, "Google Click ID": "", "Order ID": "1"}, "Google Click ID", "field_missing"),
    "an address as click id": ({**CLICK, "Google Click ID": "a@example.com"}, "Google Click ID", "field_personal"),
    "consent in other words": ({**CLICK, "Ad User Data": "yes"}, "Ad User Data", "consent_value_invalid"),
    "Google, negative": ({**CLICK, "Conversion Value": "-1"}, "Conversion Value", "amount_negative"),
    "a conversion before its call": (
        {**CALL, "Call Start Time": "2026-11-14 10:31:00"},
        "Conversion Time",
        "field_invalid",
    ),
    "a call at no time": ({**CALL, "Call Start Time": "x"}, "Call Start Time", "time_format"),
    "Meta, no match": ({**META, "email": "", "country": "DE", "value": "1"}, None, "match_missing"),
    "Meta, a name with signs": ({**META, "event_name": "Über"}, "event_name", "event_name_invalid"),
    "Meta, a date of birth": ({**META, "dob": "31/12/68"}, "dob", "field_invalid"),
    "Meta, a year of birth": ({**META, "doby": "68"}, "doby", "field_invalid"),
    "Meta, an age": ({**META, "age": "old"}, "age", "field_invalid"),
    "Meta, an address in contents": ({**META, "contents": '[{"id": "a@example.com"}]'}, "contents", "field_personal"),
    "Meta, contents": ({**META, "contents": "x"}, "contents", "json_invalid"),
    "Meta, a custom value": ({**META, "store_id": "a@example.com"}, "store_id", "field_personal"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_row_is_refused_with_its_column_and_its_code(case: str) -> None:
    cells, column, code = PROBLEMS[case]
    found = outcome(cells)
    assert isinstance(found, RowProblem), found
    assert (found.line, found.column, found.code) == (2, column, code)


def test_every_code_a_row_is_refused_with_is_on_the_list() -> None:
    assert {code for _, _, code in PROBLEMS.values()} <= CODES.keys()


def test_an_amount_without_any_currency_is_refused() -> None:
    found = outcome({**OURS, "value": "1"}, currency="")
    assert found == RowProblem(2, "currency", "currency_missing", 2)


def test_a_refused_row_costs_that_row_only() -> None:
    text = "goal,time,order_id\nstore_sale,x,R-1\nstore_sale,2026-11-14 10:30,R-2\n"
    first, second = read([text.encode()], upload())
    assert isinstance(first, RowProblem)
    assert isinstance(second, OfflineRow)


# ------------------------------------------------------------------ rows taken


def test_a_row_of_ours_becomes_a_conversion_with_every_cell_where_it_belongs() -> None:
    found = row(
        {
            **OURS,
            "value": "12.50",
            "currency": "USD",
            "click_id": "7Jq0Xk2mPz9sVb4LcT1wRa",
            "coupon": "SUMMER",
            "email": " Anna@example.com ",
            "phone": "+49 30 5550100",
            "user_id": "c-17",
            "first_name": "Anna",
            "last_name": "Müller, Dr.",
            "city": "Berlin",
            "zip": "10115",
            "country": "DE",
            "kind": "loyalty",
            "meta_till": "7",
        }
    )
    received = found.received
    assert (received.site, received.trust, received.conversion) == ("shop", "signed", True)
    assert (received.name, received.goal, received.order_id) == ("store_sale", "store_sale", "R-1")
    assert (received.occurred_at_ms, received.received_at_ms) == (1_794_648_600_000, NOW)
    assert (received.amount_minor, received.currency) == (1_250, "USD")
    assert received.props == {"source": "offline", "kind": "loyalty", "meta_till": "7"}
    assert received.person == Person(
        email=(Personal("Anna@example.com"),),
        phone=(Personal("+49 30 5550100"),),
        external_id=Personal("c-17"),
        first_name=Personal("Anna"),
        last_name=Personal("Müller, Dr."),
        city=Personal("Berlin"),
        postal_code=Personal("10115"),
        country=Personal("DE"),
    )
    assert (found.click_id, found.coupons, received.marks) == ("7Jq0Xk2mPz9sVb4LcT1wRa", ("SUMMER",), ())
    assert received.event_id == found.row_digest.hex()[:26]


def test_a_goal_is_what_the_upload_makes_of_the_files_name() -> None:
    names = {"Qualified Lead (CRM)": "lead", "store_sale": "till"}
    assert row({**CLICK, "Conversion Name": "Qualified Lead (CRM)"}, goals=names).received.name == "lead"
    assert row(OURS, goals=names).received.goal == "till"
    assert row({**CLICK, "Conversion Name": "Qualified Lead"}).received.name == "qualified_lead"


@pytest.mark.parametrize(("theirs", "ours"), EVENT_NAMES.items())
def test_metas_standard_events_have_our_names(theirs: str, ours: str) -> None:
    assert row({**META, "event_name": theirs}).received.name == ours


def test_an_ambiguous_time_is_the_earlier_one_and_is_marked() -> None:
    received = row({**OURS, "time": "2026-10-25 02:30:00"}).received
    assert (received.occurred_at_ms, received.marks) == (1_792_888_200_000, ("time_ambiguous",))


def test_times_at_the_edges_are_taken() -> None:
    edge = upload(received_at_ms=1_794_648_600_000 + 400 * DAY_MS)
    (found,) = read([b"goal,time,order_id\nx,2026-11-14 10:30:00,1"], edge)
    assert isinstance(found, OfflineRow)
    assert isinstance(outcome({**OURS, "time": "2026-11-20T12:10:00Z"}), OfflineRow)


@pytest.mark.parametrize(("text", "minor"), [("12,50", 1_250), ("12.50", 1_250), ("12", 1_200), ("0,5", 50), ("-0", 0)])
def test_a_decimal_comma_is_read_where_the_delimiter_is_a_semicolon(text: str, minor: int) -> None:
    assert row({**OURS, "value": text}, delimiter=";").received.amount_minor == minor


def test_thousands_are_not_guessed() -> None:
    for text in ("1.234,50", "1,234.50", "1 234", "1.234"):
        assert isinstance(outcome({**OURS, "value": text}, delimiter=";"), RowProblem)


def test_a_row_without_an_amount_has_none_and_zero_is_an_amount() -> None:
    assert row(OURS).received.amount_minor is None
    assert row({**OURS, "value": "0"}).received.amount_minor == 0
    assert row({**OURS, "value": "120", "currency": "JPY"}).received.amount_minor == 120


def test_order_numbers_of_digits_are_no_phone_numbers() -> None:
    for number in ("0049305550100", "493055501000", "4111111111111111", "+1", "R+49305550100"):
        assert row({**OURS, "order_id": number}).received.order_id == number


# ------------------------------------------------------------------ consent

CONSENT: Final = {
    "silence grants nothing": ("", 0, 0),
    "silence grants the default": ("", ANALYTICS | ADVERTISING, ANALYTICS | ADVERTISING),
    "a list replaces the default": ("analytics", ADVERTISING, ANALYTICS),
    "commas": ("analytics,advertising", 0, ANALYTICS | ADVERTISING),
    "bars and spaces": (" analytics | ad_user_data ", 0, ANALYTICS | AD_USER_DATA),
    "Google's names": ("ad_storage ANALYTICS_STORAGE", 0, ADVERTISING | ANALYTICS),
    "all of marketing": ("marketing", 0, ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION),
    "none": ("none", ALL_PURPOSES, 0),
    "none beside a grant is none": ("none analytics", 0, 0),
}


@pytest.mark.parametrize("case", CONSENT)
def test_a_row_grants_what_it_lists_and_denies_all_else(case: str) -> None:
    text, default, granted = CONSENT[case]
    claim = row({**OURS, "consent": text}, granted=default).received.claim
    assert claim == Claim(granted, UNTOLD & ~granted)
    assert claim.granted & claim.denied == 0


def test_a_goal_may_have_its_own_default() -> None:
    how: dict[str, Any] = {"granted": ANALYTICS, "granted_by_goal": {"store_sale": FUNCTIONAL}}
    for goal, granted in (("store_sale", FUNCTIONAL), ("lead", ANALYTICS)):
        claim = row({**OURS, "goal": goal}, **how).received.claim
        assert claim is not None
        assert claim.granted == granted


@pytest.mark.parametrize(
    ("user_data", "personalization", "granted"),
    [
        ("", "", ADVERTISING | AD_USER_DATA),
        ("GRANTED", "GRANTED", ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION),
        ("Granted", "Denied", ADVERTISING | AD_USER_DATA),
        ("DENIED", "", ADVERTISING),
        ("denied", "granted", ADVERTISING | AD_PERSONALIZATION),
    ],
)
def test_googles_consent_columns_speak_for_their_purposes_and_the_default_for_the_rest(
    user_data: str, personalization: str, granted: int
) -> None:
    cells = {**CLICK, "Ad User Data": user_data, "Ad Personalization": personalization}
    claim = row(cells, granted=ADVERTISING | AD_USER_DATA).received.claim
    assert claim == Claim(granted, UNTOLD & ~granted)


def test_a_row_cut_off_before_its_consent_is_refused_and_one_cut_off_behind_it_is_taken() -> None:
    header = b"goal,time,order_id,consent,meta_a,meta_b\n"
    cut, short = read([header, b"x,2026-11-14 10:30,1\n", b"x,2026-11-14 10:30,2,analytics\n"], upload())
    assert cut == RowProblem(2, None, "row_length", 2)
    assert isinstance(short, OfflineRow)


def test_more_cells_than_the_header_names_are_taken_while_they_are_empty() -> None:
    header = b"goal,time,order_id,\n"
    outcomes = list(
        read(
            [header, b"x,2026-11-14 10:30,1,,,\nx,2026-11-14 10:30,1,,,more\nx,2026-11-14 10:30,1,9\n,,,,\n"], upload()
        )
    )
    assert isinstance(outcomes[0], OfflineRow)
    assert outcomes[1:] == [RowProblem(3, None, "row_length", 3), RowProblem(4, "#4", "field_unknown", 4)]


# ------------------------------------------------------------------ adjustments


def test_a_refund_names_the_order_and_what_is_given_back() -> None:
    found = adjustment({**OURS, "status": "refund", "value": "2.50", "email": "a@example.com"})
    assert (found.line, found.goal, found.order_id, found.kind) == (2, "store_sale", "R-1", "refund")
    assert (found.amount_minor, found.currency, found.adjusted_at_ms) == (250, "EUR", 1_794_648_600_000)


@pytest.mark.parametrize("text", ["2.50", "-2.50"])
def test_a_till_may_write_a_refund_with_or_without_a_minus(text: str) -> None:
    assert adjustment({**OURS, "status": "Refunded", "value": text}).amount_minor == 250


def test_a_refund_without_an_amount_and_a_cancellation_take_all_of_it_back() -> None:
    assert adjustment({**OURS, "status": "refund"}).amount_minor is None
    for word in ("cancelled", "canceled", "CANCELLED"):
        found = adjustment({**OURS, "status": word, "value": "-9.99"})
        assert (found.kind, found.amount_minor, found.currency) == ("cancelled", None, None)


def test_a_sale_and_its_refund_are_not_the_same_row() -> None:
    sale = row({**OURS, "value": "2.50", "status": "sale"})
    assert sale.row_digest != adjustment({**OURS, "value": "2.50", "status": "refund"}).row_digest
    assert sale.row_digest == row({**OURS, "value": "2.50"}).row_digest


# ------------------------------------------------------------------ digests

BASE: Final = {**OURS, "order_id": "", "value": "12.50", "email": "a@example.com", "meta_till": "7"}
SAME: Final[dict[str, tuple[Mapping[str, str], str]]] = {
    "other order of columns": (dict(reversed(BASE.items())), ","),
    "other delimiter and decimal comma": ({**BASE, "value": "12,50"}, ";"),
    "an amount without its zero": ({**BASE, "value": "12.5"}, ","),
    "the currency said": ({**BASE, "currency": "EUR"}, ","),
    "the time with its offset": ({**BASE, "time": "2026-11-14T09:30:00Z"}, ","),
    "outer spaces": ({**BASE, "email": " a@example.com "}, ","),
    "empty columns more": ({**BASE, "phone": "", "coupon": ""}, ","),
    "another consent": ({**BASE, "consent": "analytics"}, ","),
}
OTHER: Final[dict[str, Mapping[str, str]]] = {
    "another goal": {**BASE, "goal": "lead"},
    "another second": {**BASE, "time": "2026-11-14 10:30:01"},
    "another amount": {**BASE, "value": "12.51"},
    "no amount": {**BASE, "value": ""},
    "another currency": {**BASE, "currency": "USD"},
    "another person": {**BASE, "email": "b@example.com"},
    "an order number": {**BASE, "order_id": "R-1"},
    "a coupon": {**BASE, "coupon": "X"},
    "another property": {**BASE, "meta_till": "8"},
    "the value under another name": {**BASE, "meta_till": "", "meta_shop": "7"},
    "the value in another column": {**BASE, "email": "", "user_id": "a@example.com"},
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_sale_told_in_another_way_has_the_same_digest(case: str) -> None:
    cells, delimiter = SAME[case]
    assert row(cells, delimiter=delimiter).row_digest == row(BASE).row_digest


@pytest.mark.parametrize("case", OTHER)
def test_another_sale_has_another_digest(case: str) -> None:
    assert row(OTHER[case]).row_digest != row(BASE).row_digest


def test_json_lines_and_csv_of_one_row_have_one_digest() -> None:
    line = b'{"meta_till": 7, "value": 12.50, "goal": "store_sale", "time": "2026-11-14 10:30:00", "email": ["a@example.com"]}'
    (found,) = read([line], upload())
    assert isinstance(found, OfflineRow)
    assert found.row_digest == row(BASE).row_digest


# ------------------------------------------------------------------ people


def test_personal_values_print_nowhere() -> None:
    secret = "zzsecretzz"
    cells = {**OURS, "email": secret, "phone": secret, "user_id": secret, "first_name": secret, "last_name": secret,
             "city": secret, "zip": secret, "country": secret}  # fmt: skip
    assert secret not in repr(row(cells))
    people = {
        **META,
        "email": secret,
        "fn": secret,
        "ln": secret,
        "gen": secret,
        "st": secret,
        "ct": secret,
        "zip": secret,
    }
    assert secret not in repr(row(people))
    assert "1968-10-21" not in repr(row({**META, "dob": "10/21/68"}))


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_problem_never_repeats_what_a_cell_held(case: str) -> None:
    cells, column, code = PROBLEMS[case]
    found = repr(outcome(cells))
    for name, text in cells.items():
        if len(text) > 3 and text.lower() not in name.lower():
            assert text not in found.replace(repr(column), "").replace(code, "")


@pytest.mark.parametrize(
    ("cells", "minor"),
    [
        ({"age": "17"}, True),
        ({"age": "18"}, False),
        ({"doby": "2016"}, True),
        ({"doby": "1968"}, False),
        ({"dob": "11/15/08"}, True),
        ({"dob": "11/13/08"}, False),
        ({"dob": "10/21/16", "doby": "1916"}, False),
        ({"dob": "10/21/68", "age": "9"}, True),
        ({"dob": "a" * 64}, False),
        ({}, False),
    ],
)
def test_who_is_known_to_be_under_age_is_marked_so(cells: Mapping[str, str], minor: bool) -> None:
    assert row({**META, **cells}).received.minor is minor


def test_metas_date_of_birth_goes_to_the_person_and_its_age_does_not() -> None:
    person = row({**META, "dob": "10/21/68", "doby": "1968", "age": "58", "gen": "F"}).received.person
    assert person == Person(
        email=(Personal("a@example.com"),), date_of_birth=Personal("1968-10-21"), gender=Personal("F")
    )


def test_calls_carry_the_number_and_when_they_began() -> None:
    received = row(CALL).received
    assert received.person == Person(phone=(Personal("+493055501000"),))
    assert received.props == {"source": "offline", "kind": "call", "call_started_at_ms": 1_794_646_800_000}


# ------------------------------------------------------------------ contents

ITEMS: Final = {
    "JSON": (
        '[{"id": "a", "quantity": 2, "item_price": 3.99, "title": "Tea"}]',
        (Item(id="a", name="Tea", price_minor=399, quantity=2),),
    ),
    "names without quotes": ('[{ id: "a", quantity: 1, price: 11.9900 }]', (Item(id="a", price_minor=1_199),)),
    "numbers as ids": ('[{"id": 7}]', (Item(id="7"),)),
    "nothing said": ("[{}]", (Item(),)),
    "an empty list": ("[]", ()),
    "null": ('[{"id": null, "brand": "B"}]', (Item(brand="B"),)),
}


@pytest.mark.parametrize("case", ITEMS)
def test_contents_are_lines_of_the_order(case: str) -> None:
    text, expected = ITEMS[case]
    assert read_items(text, "EUR", "contents") == expected


ITEMS_REFUSED: Final = {
    "no JSON": ("[{id", "json_invalid"),
    "deep": ("[" * 60_000, "json_invalid"),
    "an object": ("{}", "field_type"),
    "a list of words": ('["a"]', "field_type"),
    "a list as id": ('[{"id": []}]', "field_type"),
    "an unknown key": ('[{"colour": "red"}]', "field_unknown"),
    "too many": ("[" + ",".join(["{}"] * 201) + "]", "fields_too_many"),
    "a long title": ('[{"title": "' + "x" * 257 + '"}]', "field_too_long"),
    "half a surrogate": ('[{"title": "\\ud800"}]', "field_invalid"),
    "no pieces": ('[{"quantity": 0}]', "field_invalid"),
    "a negative price": ('[{"price": -1}]', "amount_invalid"),
    "a fine price": ('[{"price": 1.999}]', "amount_too_fine"),
}


@pytest.mark.parametrize("case", ITEMS_REFUSED)
def test_contents_are_refused_with_a_code(case: str) -> None:
    text, code = ITEMS_REFUSED[case]
    with pytest.raises(Refusal) as refused:
        read_items(text, "EUR", "contents")
    assert (refused.value.code, refused.value.field) == (code, "contents")


def test_a_price_needs_a_currency() -> None:
    with pytest.raises(Refusal, match="currency_missing"):
        read_items('[{"price": 1}]', None, "contents")
