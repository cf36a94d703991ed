"""What the vectors do not say: reasons, aliases, bounds, digests of nothing, and rules only this gateway has."""

import time
from itertools import cycle, islice

import pytest

from gateway.destinations.hashing import EMPTY_MD5, EMPTY_SHA256
from gateway.destinations.normalize import (
    FIELDS,
    MAX_CHARACTERS,
    PLATFORM_ALIASES,
    Context,
    UnknownField,
    country_alpha2,
    normalize,
    phone_e164,
    rule_of,
)
from gateway.destinations.normalize.phone import MAX_CHARACTERS as PHONE_MAX_CHARACTERS

CONTEXT = Context(year=2026)
ALL_FIELDS = [(platform, field) for platform, fields in FIELDS.items() for field in fields]
MEGABYTE = "é" * 500_000
HASHED_FIELDS = [(platform, field) for platform, field in ALL_FIELDS if rule_of(platform, field).hashed]


def sent(platform: str, field: str, value: str, context: Context = CONTEXT) -> str | None:
    """The normalised text, or the reason why nothing is sent."""
    got = normalize(platform, field, value, context)
    return got.reason if got.drop else got.normalized


def least_seconds(platform: str, field: str, value: str) -> float:
    """Time of the fastest of a few runs, so that a busy machine does not fail the run."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        normalize(platform, field, value, CONTEXT)
        took.append(time.perf_counter() - started)
    return min(took)


@pytest.mark.parametrize(
    ("platform", "field", "value", "reason"),
    [
        ("meta", "em", " \ufeff\t", "empty"),
        ("meta", "fn", "-", "empty"),
        ("meta", "em", "jane at example.com", "email_malformed"),
        ("google", "email_address", "..+x@gmail.com", "email_malformed"),
        ("meta", "ph", "1-800-FLOWERS", "phone_malformed"),
        ("meta", "ph", "+0049 151 12345678", "phone_malformed"),
        ("meta", "ph", "0151 12345678", "phone_without_country"),
        ("meta", "zp", "F-75018", "postal_code_short"),
        ("meta", "country", "Deutschland", "country_unknown"),
        ("google", "region_code", "USA", "country_unknown"),
        ("meta", "ge", "nonbinary", "gender_unknown"),
        ("meta", "db", "16 February 1997", "date_malformed"),
        ("meta", "db", "1997-02-32", "date_impossible"),
        ("meta", "dobm", "13", "date_impossible"),
        ("meta", "currency", "us$", "currency_malformed"),
        ("meta", "client_ip_address", "10.0.0.1", "address_not_public"),
        ("meta", "em", "jane\ud800@example.com", "not_unicode"),
        ("google", "postal_code", "94035\udfff", "not_unicode"),
        ("meta", "em", EMPTY_SHA256.upper(), "empty_digest"),
        ("meta", "ph", EMPTY_MD5, "empty_digest"),
        ("google", "given_name", EMPTY_SHA256, "empty_digest"),
    ],
)
def test_a_dropped_value_says_why(platform: str, field: str, value: str, reason: str) -> None:
    got = normalize(platform, field, value, CONTEXT)
    assert (got.drop, got.reason) == (True, reason)
    assert (got.send, got.normalized, got.sha256, got.already_hashed) == (None, None, None, False)


@pytest.mark.parametrize(("platform", "field"), ALL_FIELDS)
def test_a_value_over_the_bound_is_dropped_unread(platform: str, field: str) -> None:
    assert sent(platform, field, "1" * (MAX_CHARACTERS + 1)) == "too_long"
    assert sent(platform, field, MEGABYTE) == "too_long"
    assert least_seconds(platform, field, MEGABYTE) < 0.001


def test_a_value_at_the_bound_is_read() -> None:
    assert sent("meta", "external_id", "X" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert phone_e164("+49 151 12345678".ljust(PHONE_MAX_CHARACTERS), None) == "+4915112345678"
    assert sent("meta", "ph", "+49 151 12345678" + " -" * PHONE_MAX_CHARACTERS) == "too_long"


@pytest.mark.parametrize(
    "value",
    [
        "a" + "".join(islice(cycle("\u0301\u0323\u0345\u0334"), MAX_CHARACTERS - 1)),
        "\ufdfa" * PHONE_MAX_CHARACTERS,
        "1" + "\U0001d160" * (MAX_CHARACTERS - 1),
        "x" + " jr" * (MAX_CHARACTERS // 3 - 1),
        "x" + " " * (MAX_CHARACTERS - 2) + "y",
        "a@" + "a." * (MAX_CHARACTERS // 2 - 1),
        "1;" * (MAX_CHARACTERS // 2),
        "1-" * (MAX_CHARACTERS // 2),
        "9" * MAX_CHARACTERS,
    ],
    ids=["marks", "ligatures", "notes", "suffixes", "spaces", "labels", "semicolons", "runs", "digits"],
)
def test_no_value_is_expensive(value: str) -> None:
    """The bound is ten times what the slowest of these takes."""
    assert len(value) <= MAX_CHARACTERS
    for platform, field in ALL_FIELDS:
        assert least_seconds(platform, field, value) < 0.02, (platform, field)


def test_destination_slugs_name_the_same_rules() -> None:
    assert dict(PLATFORM_ALIASES) == {"google_ads": "google", "ga4": "ga4_mp"}
    for alias, platform in PLATFORM_ALIASES.items():
        for field in FIELDS[platform]:
            assert rule_of(alias, field) is rule_of(platform, field)


@pytest.mark.parametrize(("platform", "field"), [("myspace", "em"), ("meta", "email"), ("", ""), ("google", "em")])
def test_an_unknown_name_raises_and_says_which(platform: str, field: str) -> None:
    with pytest.raises(UnknownField) as raised:
        normalize(platform, field, "jane@example.com", CONTEXT)
    assert isinstance(raised.value, KeyError)
    assert (raised.value.platform, raised.value.field) == (platform, field)
    assert str(raised.value) == f"no rule for field {field!r} of platform {platform!r}"


def test_a_result_prints_without_the_value() -> None:
    got = normalize("meta", "em", "jane@example.com", CONTEXT)
    assert f"{got}" == repr(got) == "Normalized(***)"
    assert repr(normalize("meta", "em", "jane", CONTEXT)) == "Normalized(drop, email_malformed)"


@pytest.mark.parametrize(("platform", "field"), HASHED_FIELDS)
def test_a_sha256_passes_in_lower_case_in_every_hashed_field(platform: str, field: str) -> None:
    digest = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
    got = normalize(platform, field, f" {digest.upper()}\n", CONTEXT)
    assert (got.send, got.already_hashed, got.normalized, got.sha256) == (digest, True, None, None)


@pytest.mark.parametrize(("platform", "field"), HASHED_FIELDS)
def test_an_md5_passes_only_at_meta_and_never_as_an_external_id(platform: str, field: str) -> None:
    got = normalize(platform, field, "5D41402ABC4B2A76B9719D911017C592", CONTEXT)
    assert got.already_hashed == (platform == "meta" and field != "external_id")
    if got.already_hashed:
        assert got.send == "5d41402abc4b2a76b9719d911017c592"


def test_a_plain_field_takes_no_digest() -> None:
    assert sent("meta", "currency", "a" * 64) == "currency_malformed"
    assert sent("google", "postal_code", "A" * 64) == "A" * 64


def test_ga4_follows_google_for_email_and_phone() -> None:
    assert sent("ga4", "sha256_email_address", "J.Doe+x@Gmail.com") == "jdoe@gmail.com"
    assert sent("ga4", "sha256_phone_number", "0044 20 7946 0958") == "+442079460958"


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("+49 151 12345678", None, "+4915112345678"),
        ("tel: +49-151-12345678", None, "+4915112345678"),
        ("0151 12345678", "49", "+4915112345678"),
        ("4915112345678", "49", "+4915112345678"),
        ("(0)151 12345678", "49", "+4915112345678"),
        ("+49 151 12345678; +49 30 1234567", None, "+4915112345678"),
        ("+49 151 12345678 Anexo 4", None, "+4915112345678"),
        ("+12 3456 x 7890", None, None),
        ("+12 34567 x 7890", None, "+1234567"),
        ("12 3456 ext 7890", "49", "+49123456"),
        ("\uff0b49 \uff080\uff09151 12345678", None, "+4915112345678"),
        ("+49 151 1234567\u2078", None, "+4915112345678"),
        ("ext 5 +49 151 12345678", None, None),
        ("+49 151 12345678 mobile", None, None),
        ("+49 151 1234567\u20e3", None, None),
        ("+1234567", None, "+1234567"),
        ("+123456", None, None),
        ("+1234567890123456", None, None),
        ("", "49", None),
        ("-", "4912345", None),
    ],
)
def test_phone(text: str, code: str | None, expected: str | None) -> None:
    got = phone_e164(text, code)
    assert (got if isinstance(got, str) else None) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("93.184.216.34", "93.184.216.34"),
        (" 2606:2800:0220:0001:0248:1893:25C8:1946 ", "2606:2800:220:1:248:1893:25c8:1946"),
        ("::ffff:93.184.216.34", "93.184.216.34"),
        ("::ffff:10.0.0.1", "address_not_public"),
        ("93.184.216.34:443", "address_not_public"),
        ("[2606:2800:220:1:248:1893:25c8:1946]", "address_not_public"),
        ("2606:2800:220:1::1%eth0", "address_not_public"),
        ("127.0.0.1", "address_not_public"),
        ("169.254.1.1", "address_not_public"),
        ("224.0.0.1", "address_not_public"),
        ("fe80::1", "address_not_public"),
        ("unknown", "address_not_public"),
    ],
)
def test_only_a_public_address_is_sent(value: str, expected: str) -> None:
    assert sent("meta", "client_ip_address", value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1997-02-16", "19970216"),
        ("1997-13-02", "19970213"),
        ("1997-12-02", "19971202"),
        ("16-1997-02", "19970216"),
        ("02-1997-16", "19970216"),
        ("12-31-1997", "19971231"),
        ("31-12-1997", "19971231"),
        ("02-03-1997", "19970203"),
        ("1997-02-16T10:20:30Z", "19970216"),
        ("16.02.97", "date_impossible"),
    ],
)
def test_orders_of_a_date(value: str, expected: str) -> None:
    assert sent("meta", "db", value) == expected


def test_a_format_character_inside_an_address_drops_it_at_meta_and_goes_at_google() -> None:
    assert sent("meta", "em", "jane\u2066@example.com") == "email_malformed"
    assert sent("google", "email_address", "jane\u2066@example.com") == "jane@example.com"


def test_the_year_of_birth_ends_with_the_current_year() -> None:
    assert sent("meta", "db", "2026-12-31") == "20261231"
    assert sent("meta", "db", "2027-01-01") == "date_impossible"
    assert sent("meta", "db", "2027-01-01", Context(year=2027)) == "20270101"


def test_the_country_of_the_person_decides_about_states_and_postal_codes() -> None:
    assert sent("meta", "st", "Georgia") == "ga"
    assert sent("meta", "st", "Georgia", Context(year=2026, country="ge")) == "georgia"
    assert sent("meta", "st", "us-ny") == "ny"
    assert sent("meta", "zp", "940351234") == "940351234"
    assert sent("meta", "zp", "940351234", Context(year=2026, country="us")) == "94035"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("GB", "gb"), ("U.K.", "gb"), ("AUT", "at"), ("Türkiye", "tr"), ("EU", None), ("", None), ("12", None)],
)
def test_country_alpha2(text: str, expected: str | None) -> None:
    assert country_alpha2(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Smith ,jr", "smith"),
        ("Smith jr , sr", "smith"),
        ("Smith PhD , jr", "smith"),
        ("Smith, J.D.", "smith, j.d."),
        ("van Dc Berg", "van dc berg"),
        (", Jr.", "empty"),
        ("Smith,", "smith,"),
    ],
)
def test_suffixes_of_family_names(value: str, expected: str) -> None:
    assert sent("google", "family_name", value) == expected


@pytest.mark.parametrize("value", ["ß", "\ufb01", "ıt", "U\u0301"])
def test_a_region_is_not_made_of_what_upper_case_turns_into_letters(value: str) -> None:
    """`ß` in upper case is `SS`, which is South Sudan."""
    assert sent("google", "region_code", value) == "country_unknown"
