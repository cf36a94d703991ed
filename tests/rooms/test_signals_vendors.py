"""What a string permits a vendor: the rule of the framework as others compute it, and the gateway's own purposes."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
    names,
)
from gateway.signals import gvl, tcf
from gateway.signals.ac import AdditionalConsent
from gateway.signals.bits import Ids, Unreadable
from gateway.signals.gvl import Vendor
from gateway.signals.tcf import Bitfield, Publisher, Restriction, TcString
from gateway.signals.vendors import (
    VENDOR_PURPOSES,
    Kind,
    Permission,
    Query,
    permission,
    purposes_for_provider,
    purposes_for_publisher,
    purposes_for_vendor,
    read_query,
    told,
)
from tests.support.properties import tried

VECTORS: Final = Path(__file__).parents[1] / "vectors"
quick = tried(200)


class Row(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    id: str
    gvl_vendor: dict[str, object]
    tc_string: str
    query: dict[str, object]
    expected: dict[str, object]


class Vectors(msgspec.Struct):
    vendor_permission: list[Row]


ROWS: Final = msgspec.json.decode((VECTORS / "tcf.json").read_bytes(), type=Vectors).vendor_permission


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.id}: {row.expected['reason']}")
def test_the_answer_is_that_of_two_other_implementations(row: Row) -> None:
    tc, vendor, query = tcf.decode(row.tc_string), gvl.read_vendor(row.gvl_vendor), read_query(row.query)
    assert isinstance(tc, TcString)
    assert isinstance(vendor, Vendor)
    assert isinstance(query, Query)
    assert told(permission(tc, vendor, query)) == row.expected


def test_all_vectors_were_read() -> None:
    assert len(ROWS) == 119


# ------------------------------------------------------------------ values


def some(*numbers: int) -> Bitfield:
    return Bitfield(sum(1 << (24 - n) for n in numbers), 24)


def bits(*numbers: int) -> int:
    return sum(1 << n for n in numbers)


ME: Final = 7
US: Final = Ids((ME,), (ME,))
ALL: Final = some(*range(1, 25))
NONE: Final = some()
ROW: Final = Vendor(id=ME, purposes=bits(1, 3, 4, 7, 8), special_purposes=bits(1), special_features=bits(1))


def string(**changes: Any) -> TcString:
    """A string that permits vendor 7 everything by consent, changed."""
    plain = TcString(
        created_ms=1_790_000_000_000,
        last_updated_ms=1_790_000_000_000,
        cmp_id=300,
        cmp_version=1,
        consent_screen=1,
        consent_language="EN",
        vendor_list_version=150,
        policy_version=5,
        is_service_specific=True,
        uses_non_standard_texts=False,
        special_feature_opt_ins=Bitfield(0b110000000000, 12),
        purpose_consents=ALL,
        purpose_legitimate_interests=ALL,
        purpose_one_treatment=False,
        publisher_country="FR",
        vendor_consents=US,
        vendor_legitimate_interests=US,
        disclosed_vendors=US,
    )
    return msgspec.structs.replace(plain, **changes)


def row(**changes: Any) -> Vendor:
    return msgspec.structs.replace(ROW, **changes)


def limit(purpose: int, kind: int) -> tuple[Restriction, ...]:
    return (Restriction(purpose, kind, US),)


BOTH: Final = row(purposes=bits(1, 3, 4, 8), legitimate_interests=bits(7), flexible=bits(7))
SHOWN: Final = {"created_ms": 1_770_000_000_000, "disclosed_vendors": None}
"""Made before the disclosed vendors were asked for."""

ANSWERS: Final[dict[str, tuple[TcString, Vendor, Kind, int, Permission]]] = {
    "a vendor that left": (
        string(), row(deleted_at_ms=1), Kind.PURPOSE, 7, Permission(False, None, "vendor deleted"),
    ),
    "a restriction to the basis it has anyway changes nothing": (
        string(restrictions=limit(7, 1)), row(), Kind.PURPOSE, 7, Permission(True, "consent", "ok"),
    ),
    "a flexible purpose keeps its basis without a restriction": (
        string(purpose_consents=NONE), BOTH, Kind.PURPOSE, 7, Permission(True, "legitimateInterest", "ok"),
    ),
    "a flexible purpose is switched to consent": (
        string(restrictions=limit(7, 1), purpose_consents=NONE), BOTH, Kind.PURPOSE, 7,
        Permission(False, "consent", "no purpose consent"),
    ),
    "a restriction for another vendor is none": (
        string(restrictions=(Restriction(7, 0, Ids((8,), (9,))),)), row(), Kind.PURPOSE, 7,
        Permission(True, "consent", "ok"),
    ),
    "legitimate interest never stands for storage": (
        string(), row(purposes=0, legitimate_interests=bits(1)), Kind.PURPOSE, 1,
        Permission(False, None, "legitimate interest forbidden for purpose"),
    ),
    "nor for profiles, though the row says so": (
        string(restrictions=limit(3, 2)), row(flexible=bits(3)), Kind.PURPOSE, 3,
        Permission(False, None, "legitimate interest forbidden for purpose"),
    ),
    "special purpose with an interest bit as proof": (
        string(**SHOWN), row(), Kind.SPECIAL_PURPOSE, 1,
        Permission(True, "legitimateInterest", "special purpose disclosed"),
    ),
    "special purpose without proof": (
        string(**SHOWN, vendor_legitimate_interests=Ids()), row(), Kind.SPECIAL_PURPOSE, 1,
        Permission(False, None, "no proof of disclosure"),
    ),
    "special purpose asks no purpose bit": (
        string(purpose_consents=NONE, purpose_legitimate_interests=NONE, vendor_legitimate_interests=Ids()),
        row(), Kind.SPECIAL_PURPOSE, 1, Permission(True, "legitimateInterest", "special purpose disclosed"),
    ),
    "special feature": (string(), row(), Kind.SPECIAL_FEATURE, 1, Permission(True, "consent", "ok")),
    "special feature that is not declared": (
        string(), row(), Kind.SPECIAL_FEATURE, 2, Permission(False, None, "not declared"),
    ),
    "special feature without opt-in": (
        string(special_feature_opt_ins=Bitfield(0, 12)), row(), Kind.SPECIAL_FEATURE, 1,
        Permission(False, "consent", "no special feature opt-in"),
    ),
    "special feature in a void string": (
        string(is_service_specific=False), row(), Kind.SPECIAL_FEATURE, 1,
        Permission(False, None, "invalid:isServiceSpecific=0"),
    ),
    "a purpose that does not exist": (string(), row(), Kind.PURPOSE, 25, Permission(False, None, "not declared")),
    "purpose 0": (string(), row(purposes=1), Kind.PURPOSE, 0, Permission(False, None, "not declared")),
    "a negative purpose": (string(), row(), Kind.PURPOSE, -1, Permission(False, None, "not declared")),
    "a purpose beyond all": (string(), row(), Kind.PURPOSE, 10**9, Permission(False, None, "not declared")),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_the_rule_beyond_the_vectors(case: str) -> None:
    tc, vendor, kind, number, expected = ANSWERS[case]
    assert permission(tc, vendor, Query(kind, number)) == expected


@pytest.mark.parametrize(
    "query", [None, {}, {"kind": "feature", "id": 1}, {"kind": "purpose"}, {"kind": "purpose", "id": "1"}]
)
def test_a_question_nobody_can_answer_is_refused(query: object) -> None:
    assert read_query(query) == Unreadable("wrong_query")


# ------------------------------------------------------------------ neutral purposes of a vendor

FULL: Final = {"analytics", "advertising", "ad_user_data", "ad_personalization"}
GRANTED: Final[dict[str, tuple[TcString, Vendor, set[str]]]] = {
    "everything": (string(), row(), FULL),
    "nothing": (string(purpose_consents=NONE), row(), set()),
    "another vendor": (string(), row(id=8), set()),
    "storage alone": (string(purpose_consents=some(1)), row(), set()),
    "storage and measurement of ads": (string(purpose_consents=some(1, 7)), row(), {"advertising", "ad_user_data"}),
    "measurement of ads without storage": (string(purpose_consents=some(7)), row(), set()),
    "storage and measurement of content": (string(purpose_consents=some(1, 8)), row(), {"analytics"}),
    "profiles alone": (string(purpose_consents=some(1, 3)), row(), set()),
    "personalised ads alone": (string(purpose_consents=some(1, 4)), row(), set()),
    "profiles and personalised ads": (string(purpose_consents=some(3, 4)), row(), {"ad_personalization"}),
    "measurement of ads by legitimate interest": (
        string(purpose_consents=some(1)), BOTH, {"advertising", "ad_user_data"},
    ),
    "the same, but the publisher asks for consent": (
        string(purpose_consents=some(1), restrictions=limit(7, 1)), BOTH, set(),
    ),
    "the publisher forbids profiles": (
        string(restrictions=limit(3, 0)), row(), FULL - {"ad_personalization"},
    ),
    "statistics are declared and not permitted": (
        string(purpose_consents=some(1, 7, 8)), row(purposes=bits(1, 7, 8, 9)), {"advertising", "ad_user_data"},
    ),
    "services are declared and not permitted": (
        string(purpose_consents=some(1, 7, 8, 9)), row(purposes=bits(1, 7, 8, 9, 10)), {"advertising", "ad_user_data"},
    ),
    "statistics are declared and permitted": (
        string(purpose_consents=some(1, 8, 9)), row(purposes=bits(1, 8, 9)), {"analytics"},
    ),
    "measurement of content is not declared": (string(), row(purposes=bits(1, 9)), set()),
    "a void string": (string(disclosed_vendors=None), row(), set()),
    "a vendor that was not shown": (string(disclosed_vendors=Ids((8,), (8,))), row(), set()),
}  # fmt: skip


@pytest.mark.parametrize("case", GRANTED)
def test_purposes_of_a_vendor(case: str) -> None:
    tc, vendor, expected = GRANTED[case]
    granted, denied = purposes_for_vendor(tc, vendor)
    assert set(names(granted)) == expected
    assert granted | denied == VENDOR_PURPOSES
    assert not granted & denied


@pytest.mark.parametrize("code", ["gvl_missing", "vendor_unknown", "vendor_deleted"])
def test_without_a_row_of_the_named_list_everything_is_denied(code: str) -> None:
    assert purposes_for_vendor(string(), Unreadable(code)) == (0, VENDOR_PURPOSES)


def test_a_string_never_speaks_about_what_is_necessary_or_functional() -> None:
    assert not VENDOR_PURPOSES & (NECESSARY | FUNCTIONAL)


NOT_SHOWN: Final = {"purpose_consents": some(3, 4, 7, 8), "purpose_one_treatment": True, "publisher_country": "DE"}
GERMANY: Final = frozenset({"DE"})
PURPOSE_ONE: Final[dict[str, tuple[TcString, Vendor, frozenset[str], set[str]]]] = {
    "a country the operator named": (string(**NOT_SHOWN), row(), GERMANY, FULL),
    "no country named": (string(**NOT_SHOWN), row(), frozenset(), {"ad_personalization"}),
    "another country": (string(**{**NOT_SHOWN, "publisher_country": "FR"}), row(), GERMANY, {"ad_personalization"}),
    "no country known": (string(**{**NOT_SHOWN, "publisher_country": None}), row(), GERMANY, {"ad_personalization"}),
    "purpose 1 was shown": (
        string(**{**NOT_SHOWN, "purpose_one_treatment": False}), row(), GERMANY, {"ad_personalization"},
    ),
    "the vendor was refused": (string(**NOT_SHOWN, vendor_consents=Ids()), row(), GERMANY, set()),
    "the vendor was refused, its interest was not": (string(**NOT_SHOWN, vendor_consents=Ids()), BOTH, GERMANY, set()),
    "the vendor was accepted, its interest as well": (string(**NOT_SHOWN), BOTH, GERMANY, FULL),
    "the vendor declares no storage": (string(**NOT_SHOWN), row(purposes=bits(3, 4, 7, 8)), GERMANY, {"ad_personalization"}),
    "the publisher forbids storage": (
        string(**NOT_SHOWN, restrictions=limit(1, 0)), row(), GERMANY, {"ad_personalization"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PURPOSE_ONE)
def test_storage_without_asking_needs_the_operators_word_for_the_country(case: str) -> None:
    tc, vendor, countries, expected = PURPOSE_ONE[case]
    assert set(names(purposes_for_vendor(tc, vendor, countries)[0])) == expected


def test_the_google_row_of_the_fixture_follows_googles_own_rule() -> None:
    lists = gvl.decode((VECTORS / "gvl-fixture.json").read_bytes())
    assert isinstance(lists, gvl.VendorList)
    google = gvl.row_for({150: lists}, 150, 755)
    assert isinstance(google, Vendor)
    here = Ids((755,), (755,))
    given = string(vendor_consents=here, vendor_legitimate_interests=here, disclosed_vendors=here)
    # Measurement of ads rests on legitimate interest: consent to purpose 7 alone is not enough.
    objected = msgspec.structs.replace(given, purpose_legitimate_interests=NONE)
    assert purposes_for_vendor(given, google)[0] == ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION
    assert purposes_for_vendor(objected, google)[0] == AD_PERSONALIZATION


@quick
@given(
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**12 - 1),
    st.integers(0, 2**12 - 1),
    st.lists(st.tuples(st.integers(1, 11), st.integers(0, 2)), max_size=4),
    st.booleans(),
)
def test_a_choice_less_never_permits_more(
    consents: int, interests: int, declared: int, flexible: int, limited: list[tuple[int, int]], consented: bool
) -> None:
    vendor = row(purposes=declared & ~1, legitimate_interests=0xFFE & ~declared, flexible=flexible)
    rules = tuple(Restriction(purpose, kind, US) for purpose, kind in sorted(limited))
    tc = string(
        purpose_consents=Bitfield(consents, 24),
        purpose_legitimate_interests=Bitfield(interests, 24),
        restrictions=rules,
        vendor_consents=US if consented else Ids(),
    )
    granted, _ = purposes_for_vendor(tc, vendor)
    for less in (
        {"purpose_consents": NONE},
        {"purpose_legitimate_interests": NONE},
        {"vendor_consents": Ids()},
        {"vendor_legitimate_interests": Ids()},
        {"disclosed_vendors": Ids()},
    ):
        assert not purposes_for_vendor(msgspec.structs.replace(tc, **less), vendor)[0] & ~granted


# ------------------------------------------------------------------ Google's providers, the publisher

AC: Final = AdditionalConsent(2, frozenset({89}), frozenset({90}))
PROVIDERS: Final[dict[str, tuple[TcString, AdditionalConsent | Unreadable | None, int, set[str]]]] = {
    "consented": (string(), AC, 89, FULL),
    "consented, the purposes are those of the TC string": (
        string(purpose_consents=some(3, 4)),
        AC,
        89,
        {"ad_personalization"},
    ),
    "no vendor bit is needed": (string(vendor_consents=Ids(), disclosed_vendors=Ids()), AC, 89, FULL),
    "legitimate interest does not count": (string(purpose_consents=some(1)), AC, 89, set()),
    "shown and not consented": (string(), AC, 90, set()),
    "not named": (string(), AC, 91, set()),
    "no string": (string(), None, 89, set()),
    "a string that cannot be read": (string(), Unreadable("malformed"), 89, set()),
    "beside a void TC string": (string(is_service_specific=False), AC, 89, set()),
}


@pytest.mark.parametrize("case", PROVIDERS)
def test_purposes_of_a_provider_outside_the_list(case: str) -> None:
    tc, ac, provider, expected = PROVIDERS[case]
    granted, denied = purposes_for_provider(tc, ac, provider)
    assert set(names(granted)) == expected
    assert granted | denied == VENDOR_PURPOSES


@pytest.mark.parametrize("case", [case for case in PURPOSE_ONE if "vendor" not in case and "forbids" not in case])
def test_storage_without_asking_for_a_provider(case: str) -> None:
    tc, _, countries, expected = PURPOSE_ONE[case]
    assert set(names(purposes_for_provider(tc, AC, 89, countries)[0])) == expected


def publisher(consents: Bitfield, custom: str = "", interests: Bitfield = NONE) -> Publisher:
    return Publisher(consents, interests, Bitfield(int(custom or "0", 2), len(custom)), Bitfield(0, len(custom)))


OWN: Final[dict[str, tuple[TcString, int | None, int, int]]] = {
    "no publisher part": (string(), 1, 0, 0),
    "a void string": (string(publisher=publisher(ALL), is_service_specific=False), None, 0, 0),
    "analytics": (string(publisher=publisher(some(1, 8))), None, ANALYTICS, 0),
    "no storage": (string(publisher=publisher(some(8))), None, 0, ANALYTICS),
    "no measurement": (string(publisher=publisher(some(1))), None, 0, ANALYTICS),
    "legitimate interest is not a yes": (string(publisher=publisher(some(1), interests=ALL)), None, 0, ANALYTICS),
    "functional": (string(publisher=publisher(some(1), "01")), 2, FUNCTIONAL, ANALYTICS),
    "functional without storage": (string(publisher=publisher(NONE, "11")), 2, 0, ANALYTICS | FUNCTIONAL),
    "another custom purpose": (string(publisher=publisher(some(1), "10")), 2, 0, ANALYTICS | FUNCTIONAL),
    "a custom purpose the string has not": (string(publisher=publisher(some(1), "1")), 2, 0, ANALYTICS | FUNCTIONAL),
    "the operator named none": (string(publisher=publisher(some(1, 8), "11")), None, ANALYTICS, 0),
    "vendor purposes are not the publisher's": (string(publisher=publisher(NONE)), None, 0, ANALYTICS),
}


@pytest.mark.parametrize("case", OWN)
def test_purposes_of_the_site_itself(case: str) -> None:
    tc, custom, granted, denied = OWN[case]
    assert purposes_for_publisher(tc, custom) == (granted, denied)


def test_the_fixture_is_what_its_row_in_the_table_says() -> None:
    rows = json.loads((VECTORS / "gvl-fixture.json").read_bytes())["vendors"]
    assert all(name["name"].startswith("Invented") for key, name in rows.items() if key != "755")
