"""Every row of the outside vectors, by its id. An unknown key anywhere in a row fails the run."""

from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import pytest

from gateway.destinations.hashing import sha256_hex
from gateway.destinations.normalize import FIELDS, Context, Drop, meta_browser_ids, normalize, tables

VECTORS: Final = Path(__file__).parents[2] / "vectors" / "normalization-meta-google.json"
GENERATED_YEAR: Final = 2026
REASONS: Final = {why.value for why in Drop}


class TextExpected(msgspec.Struct, forbid_unknown_fields=True):
    """What is expected of one text: `send`, or `drop`."""

    send: str | None = None
    normalized: str | None = None
    sha256: str | None = None
    drop: bool = False
    already_hashed: bool = False


class IdsExpected(msgspec.Struct, forbid_unknown_fields=True):
    """What is expected of one request with Meta's cookies. Every key is there."""

    subdomain_index: int
    fbc: str | None
    set_fbc_cookie: bool
    fbp: str
    set_fbp_cookie: bool


class IdsInput(msgspec.Struct, forbid_unknown_fields=True):
    host: str
    query: dict[str, str]
    cookies: dict[str, str]
    now_ms: int
    random: int
    referer: str | None = None
    site_domains: list[str] = []


class Known(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    country: str | None = None
    default_calling_code: str | None = None


class Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    platform: str
    field: str
    input: msgspec.Raw
    expected: msgspec.Raw
    decision: str
    official: dict[str, object] | None = None
    note: str | None = None
    context: Known = Known()


class Tables(msgspec.Struct, forbid_unknown_fields=True):
    note: str
    us_states: dict[str, str]
    ca_provinces: dict[str, str]
    gender_male: list[str]
    gender_female: list[str]
    country_alpha2: list[str]
    country_alpha3_to_alpha2: dict[str, str]
    country_names_to_alpha2: dict[str, str]


class File(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    defined_in: list[str]
    generated_with: dict[str, str]
    row_format: dict[str, str]
    counts: dict[str, int]
    total: int
    tables: Tables
    vectors: list[Row]


FILE: Final = msgspec.json.decode(VECTORS.read_bytes(), type=File)
TEXTS: Final = [row for row in FILE.vectors if row.field != "fbc_fbp"]
IDS: Final = [row for row in FILE.vectors if row.field == "fbc_fbp"]


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row.id)
def test_text_vector(row: Row) -> None:
    value = msgspec.json.decode(row.input, type=str)
    expected = msgspec.json.decode(row.expected, type=TextExpected)
    assert (expected.send is None) == expected.drop, "the row says neither what to send nor to drop"
    context = Context(
        year=GENERATED_YEAR,
        country=row.context.country,
        default_calling_code=row.context.default_calling_code,
    )

    got = normalize(row.platform, row.field, value, context)

    assert TextExpected(got.send, got.normalized, got.sha256, got.drop, got.already_hashed) == expected
    assert (got.reason in REASONS) if expected.drop else (got.reason is None)


@pytest.mark.parametrize("row", IDS, ids=lambda row: row.id)
def test_browser_id_vector(row: Row) -> None:
    given = msgspec.json.decode(row.input, type=IdsInput)
    expected = msgspec.json.decode(row.expected, type=IdsExpected)

    got = meta_browser_ids(
        host=given.host,
        fbclid=given.query.get("fbclid"),
        referrer=given.referer,
        cookies=given.cookies,
        now_ms=given.now_ms,
        random_number=given.random,
        site_domains=given.site_domains,
    )

    assert msgspec.to_builtins(got) == msgspec.to_builtins(expected)


def test_every_row_of_the_file_is_run() -> None:
    assert FILE.format == "normalization-vectors/1"
    assert len(TEXTS) + len(IDS) == FILE.total == 786
    assert len({row.id for row in FILE.vectors}) == FILE.total
    assert Counter(f"{row.platform}.{row.field}" for row in FILE.vectors) == FILE.counts


def test_every_field_of_the_table_has_vectors_but_these() -> None:
    in_table = {(platform, field) for platform, fields in FIELDS.items() for field in fields}
    in_vectors = {(row.platform, row.field) for row in TEXTS}
    assert in_vectors <= in_table
    assert in_table - in_vectors == {
        ("meta", "client_ip_address"),
        ("ga4_mp", "sha256_email_address"),  # the rule of google.email_address
        ("ga4_mp", "sha256_phone_number"),  # the rule of google.phone_number
    }


def test_the_digests_of_the_file_are_digests_of_its_texts() -> None:
    for row in TEXTS:
        expected = msgspec.json.decode(row.expected, type=TextExpected)
        if expected.sha256 is not None:
            assert expected.normalized is not None
            assert sha256_hex(expected.normalized) == expected.sha256 == expected.send, row.id


def test_the_lookup_tables_are_those_of_the_file() -> None:
    assert FILE.tables.us_states == tables.STATES_US
    assert FILE.tables.ca_provinces == tables.PROVINCES_CA
    assert FILE.tables.country_alpha3_to_alpha2 == tables.ALPHA3
    assert set(FILE.tables.country_alpha2) == tables.ALPHA2
    assert FILE.tables.country_names_to_alpha2 == tables.COUNTRY_NAMES
    male, female = FILE.tables.gender_male, FILE.tables.gender_female
    assert {**dict.fromkeys(male, "m"), **dict.fromkeys(female, "f")} == tables.GENDERS
