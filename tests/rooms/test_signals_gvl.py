"""The vendor list: a file of the operator is read whole or refused whole, and a missing row is never a permission."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signals import gvl
from gateway.signals.bits import Unreadable
from gateway.signals.gvl import GVL_MAX_BYTES, Refused, Vendor, VendorList, age_days, decode, read_vendor, row_for
from tests.support.properties import tried

FIXTURE: Final = (Path(__file__).parents[1] / "vectors" / "gvl-fixture.json").read_bytes()
DAY_MS: Final = 86_400_000
MADE_MS: Final = 1_775_750_421_000  # 2026-04-09T16:00:21Z
quick = tried(150)


def read(document: bytes = FIXTURE) -> VendorList:
    found = decode(document)
    assert isinstance(found, VendorList), found
    return found


def numbers(bits: int) -> list[int]:
    return [n for n in range(64) if bits >> n & 1]


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(FIXTURE)
    change(document)
    return json.dumps(document).encode()


def test_a_list_has_version_policy_time_and_vendors_by_id() -> None:
    found = read()
    assert (found.version, found.policy_version, found.last_updated_ms) == (150, 5, MADE_MS)
    assert sorted(found.vendors) == [7, 12, 33, 41, 755, 1300]


def test_a_row_has_what_the_vendor_declares() -> None:
    row = read().vendors[755]
    assert numbers(row.purposes) == [1, 3, 4]
    assert numbers(row.legitimate_interests) == numbers(row.flexible) == [2, 7, 9, 10]
    assert numbers(row.special_purposes) == numbers(row.features) == [1, 2, 3]
    assert numbers(row.special_features) == []
    assert (row.id, row.deleted_at_ms) == (755, None)


def test_a_vendor_that_left_is_marked_with_the_day() -> None:
    assert read().vendors[12].deleted_at_ms == 1_772_668_800_000  # 2026-03-05


def test_what_later_versions_of_the_list_add_is_passed_over() -> None:
    def add(document: dict[str, Any]) -> None:
        document["standardTexts"] = {"1": "text"}
        document["vendors"]["7"]["news"] = [1, {"a": None}]

    assert read(changed(add)) == read()


def vendor(document: dict[str, Any], number: int = 7) -> dict[str, Any]:
    row = document["vendors"][str(number)]
    assert isinstance(row, dict)
    return row


WRONG: Final[dict[str, tuple[bytes, str, int | None]]] = {
    "nothing": (b"", "not_json", None),
    "text": (b"<html></html>", "not_json", None),
    "a file that ends early": (FIXTURE[:-40], "not_json", None),
    "bytes that are no text": (changed(lambda d: d).replace(b"Invented", b"\xff\xfe"), "not_json", None),
    "a list of something": (b"[]", "wrong_shape", None),
    "a list of consent platforms": (b'{"lastUpdated": "2026-01-01T00:00:00Z", "cmps": {}}', "wrong_shape", None),
    "version 2 of the format": (changed(lambda d: d.update(gvlSpecificationVersion=2)), "specification_version", None),
    "version 4 of the format": (changed(lambda d: d.update(gvlSpecificationVersion=4)), "specification_version", None),
    "no version of the format": (changed(lambda d: d.pop("gvlSpecificationVersion")), "wrong_shape", None),
    "no version": (changed(lambda d: d.pop("vendorListVersion")), "wrong_shape", None),
    "version 0": (changed(lambda d: d.update(vendorListVersion=0)), "wrong_shape", None),
    "a version no string can name": (changed(lambda d: d.update(vendorListVersion=4_096)), "wrong_shape", None),
    "no vendors": (changed(lambda d: d.update(vendors={})), "no_vendors", None),
    "vendors without ids": (changed(lambda d: d.update(vendors=[])), "wrong_shape", None),
    "a time that is none": (changed(lambda d: d.update(lastUpdated="yesterday")), "wrong_shape", None),
    "a row under another id": (changed(lambda d: vendor(d).update(id=8)), "vendor_key", 8),
    "an id with a zero in front": (changed(lambda d: d["vendors"].update({"07": vendor(d)})), "vendor_key", 7),
    "vendor 0": (changed(lambda d: vendor(d).update(id=0)), "wrong_shape", None),
    "a vendor no string can name": (changed(lambda d: vendor(d).update(id=65_536)), "wrong_shape", None),
    "a purpose no string can name": (changed(lambda d: vendor(d).update(purposes=[25])), "wrong_shape", None),
    "purpose 0": (changed(lambda d: vendor(d).update(purposes=[0])), "wrong_shape", None),
    "a purpose in words": (changed(lambda d: vendor(d).update(purposes=["1"])), "wrong_shape", None),
    "a purpose on both bases": (changed(lambda d: vendor(d).update(purposes=[1, 7])), "purposes_overlap", 7),
    "flexible, but not declared": (changed(lambda d: vendor(d).update(flexiblePurposes=[3])), "flexible_undeclared", 7),
    "a deletion that is no time": (changed(lambda d: vendor(d).update(deletedDate="soon")), "wrong_shape", None),
    "too large": (FIXTURE + b" " * GVL_MAX_BYTES, "too_large", None),
    "nested without end": (b'{"gvlSpecificationVersion": 3, "vendors": ' + b"[" * 1_000_000, "not_json", None),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_document_is_refused_whole_with_its_reason(case: str) -> None:
    document, code, row = WRONG[case]
    assert decode(document) == Refused(code, row)


def test_every_reason_is_written_down() -> None:
    for _, code, _ in WRONG.values():
        assert f"`{code}`" in (gvl.decode.__doc__ or "")


@quick
@given(
    st.binary(max_size=200)
    | st.integers(0, len(FIXTURE)).flatmap(
        lambda at: st.binary(max_size=3).map(lambda put: FIXTURE[:at] + put + FIXTURE[at + len(put) :])
    )
)
def test_no_bytes_make_the_reader_fail(document: bytes) -> None:
    assert isinstance(decode(document), VendorList | Refused)
    assert decode(document) == decode(document)


# ------------------------------------------------------------------ one row


def test_a_single_row_reads_as_it_does_in_the_list() -> None:
    for row in json.loads(FIXTURE)["vendors"].values():
        assert read_vendor(row) == read().vendors[row["id"]]


def test_the_shortest_row_declares_nothing_but_its_purposes() -> None:
    assert read_vendor({"id": 9, "purposes": [1]}) == Vendor(id=9, purposes=2)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (None, "wrong_shape"),
        ({"purposes": []}, "wrong_shape"),
        ({"id": 9}, "wrong_shape"),
        ({"id": 9, "purposes": [1], "legIntPurposes": [1]}, "purposes_overlap"),
        ({"id": 9, "purposes": [1], "flexiblePurposes": [2]}, "flexible_undeclared"),
    ],
)
def test_a_wrong_row_is_refused(row: object, code: str) -> None:
    found = read_vendor(row)
    assert isinstance(found, Refused)
    assert found.code == code


# ------------------------------------------------------------------ asking


@pytest.mark.parametrize(
    ("later_ms", "days"), [(0, 0), (DAY_MS - 1, 0), (DAY_MS, 1), (40 * DAY_MS, 40), (-9 * DAY_MS, 0)]
)
def test_age_is_whole_days_and_never_negative(later_ms: int, days: int) -> None:
    assert age_days(read(), MADE_MS + later_ms) == days


def lists() -> dict[int, VendorList]:
    def newer(document: dict[str, Any]) -> None:
        document["vendorListVersion"] = 151
        vendor(document, 7)["deletedDate"] = "2026-04-16T00:00:00Z"
        del vendor(document, 12)["deletedDate"]
        del document["vendors"]["1300"]

    return {150: read(), 151: read(changed(newer))}


ROWS: Final[dict[str, tuple[int, int, str]]] = {
    "a version that was not supplied": (149, 33, "gvl_missing"),
    "a vendor that is not in it": (150, 34, "vendor_unknown"),
    "a vendor that had left then, though it came back": (150, 12, "vendor_deleted"),
    "a vendor that left since": (150, 7, "vendor_deleted"),
}


@pytest.mark.parametrize("case", ROWS)
def test_without_a_row_there_is_a_reason(case: str) -> None:
    version, number, code = ROWS[case]
    assert row_for(lists(), version, number) == Unreadable(code)


@pytest.mark.parametrize("number", [33, 755, 1300])
def test_the_row_is_that_of_the_named_version(number: int) -> None:
    assert row_for(lists(), 150, number) == read().vendors[number]


def test_without_any_list_there_is_no_row() -> None:
    assert row_for({}, 150, 755) == Unreadable("gvl_missing")
