"""The IAB's global vendor list (GVL), version 3: what each vendor declares, read from a file the operator supplies.

The gateway ships no copy and fetches none. A TC string names the list version its reader was shown; only the row in that
version tells what the string permits. While the named version is missing, IAB vendors are judged denied: `row_for()`
answers a code instead of a row, and `vendors.py` turns that into a refusal.

A file that breaks a rule of the list is refused whole. Half a vendor list would let a wrong row pass as a right one.

Source: IAB Europe and IAB Tech Lab, "Consent string and vendor list formats v2", section on the global vendor list
(gvlSpecificationVersion 3), state of 2026-02-26.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from gateway.signals.bits import Broken, Unreadable
from gateway.times import DAY_MS

__all__ = ["GVL_MAX_BYTES", "Refused", "Vendor", "VendorList", "age_days", "decode", "read_vendor", "row_for"]

GVL_MAX_BYTES: Final = 8 * 1024 * 1024
"""Size of a vendor list file. The public one has about 1,000 vendors; a bigger file than this is not one."""

VENDOR_ID_MAX: Final = 65_535
"""Highest id that fits into a TC string."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor's declarations. Sets hold purpose n at bit n (`row.purposes >> n & 1`), so that many lists fit in memory.

    `flexible` are purposes whose legal basis the publisher may switch. `deleted_at_ms` is set when the vendor left: such
    a vendor may process nothing, whatever the string says.
    """

    id: int
    name: str = ""
    purposes: int = 0
    legitimate_interests: int = 0
    flexible: int = 0
    special_purposes: int = 0
    features: int = 0
    special_features: int = 0
    deleted_at_ms: int | None = None


class VendorList(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the list, vendors by id. `last_updated_ms` is milliseconds UTC."""

    version: int
    policy_version: int
    last_updated_ms: int
    vendors: dict[int, Vendor]


class Refused(Unreadable, frozen=True):
    """A document that is no vendor list. `vendor` is the id of the row that broke a rule, where it was one row."""

    vendor: int | None = None


# ------------------------------------------------------------------ reading

# Purpose n has bit n of 24 in the string, special feature n bit n of 12; features are only ever disclosed.
_Purposes = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=24)]], msgspec.Meta(max_length=24)]
_SpecialFeatures = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=12)]], msgspec.Meta(max_length=12)]


class _Row(msgspec.Struct, rename="camel"):
    id: Annotated[int, msgspec.Meta(ge=1, le=VENDOR_ID_MAX)]
    purposes: _Purposes
    name: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    leg_int_purposes: _Purposes = []
    flexible_purposes: _Purposes = []
    special_purposes: _Purposes = []
    features: _Purposes = []
    special_features: _SpecialFeatures = []
    deleted_date: datetime | None = None


class _Heading(msgspec.Struct, rename="camel"):
    gvl_specification_version: int


class _Document(msgspec.Struct, rename="camel"):
    # The string names the version with 12 bits and the policy with 6.
    vendor_list_version: Annotated[int, msgspec.Meta(ge=1, le=4_095)]
    tcf_policy_version: Annotated[int, msgspec.Meta(ge=1, le=63)]
    last_updated: datetime
    vendors: dict[str, _Row]


_HEADING: Final = msgspec.json.Decoder(_Heading)
_DOCUMENT: Final = msgspec.json.Decoder(_Document)


class _Wrong(Broken):
    def __init__(self, code: str, vendor: int) -> None:
        super().__init__(code)
        self.vendor = vendor


def decode(document: bytes) -> VendorList | Refused:
    """Read a vendor list file. Never raises; size and nesting are bounded.

    Codes: `too_large`, `not_json`, `specification_version` (there is one, and it is not 3), `wrong_shape` (a key is
    missing or holds what it must not), `vendor_key` (a row under another id than its own), `purposes_overlap`,
    `flexible_undeclared`, `no_vendors`.
    """
    if len(document) > GVL_MAX_BYTES:
        return Refused("too_large")
    try:
        if _HEADING.decode(document).gvl_specification_version != 3:
            return Refused("specification_version")
        read = _DOCUMENT.decode(document)
        vendors = {}
        for key, row in read.vendors.items():
            if key != str(row.id):
                raise _Wrong("vendor_key", row.id)
            vendors[row.id] = _vendor(row)
        if not vendors:
            return Refused("no_vendors")
        return VendorList(
            version=read.vendor_list_version,
            policy_version=read.tcf_policy_version,
            last_updated_ms=_ms(read.last_updated),
            vendors=vendors,
        )
    except _Wrong as wrong:
        return Refused(wrong.code, wrong.vendor)
    except msgspec.ValidationError:
        return Refused("wrong_shape")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused("not_json")


def read_vendor(row: object) -> Vendor | Refused:
    """Read one row of a vendor list on its own, as parsed JSON. Codes as in `decode()`."""
    try:
        return _vendor(msgspec.convert(row, _Row))
    except _Wrong as wrong:
        return Refused(wrong.code, wrong.vendor)
    except (msgspec.ValidationError, RecursionError):
        return Refused("wrong_shape")


def _vendor(row: _Row) -> Vendor:
    purposes, interests, flexible = _bits(row.purposes), _bits(row.leg_int_purposes), _bits(row.flexible_purposes)
    if purposes & interests:
        raise _Wrong("purposes_overlap", row.id)
    if flexible & ~(purposes | interests):
        raise _Wrong("flexible_undeclared", row.id)
    return Vendor(
        id=row.id,
        name=row.name,
        purposes=purposes,
        legitimate_interests=interests,
        flexible=flexible,
        special_purposes=_bits(row.special_purposes),
        features=_bits(row.features),
        special_features=_bits(row.special_features),
        deleted_at_ms=None if row.deleted_date is None else _ms(row.deleted_date),
    )


def _bits(numbers: list[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def _ms(at: datetime) -> int:
    # The list writes UTC; a time without a zone is read as such.
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MS


# ------------------------------------------------------------------ asking


def age_days(vendors: VendorList, now_ms: int) -> int:
    """Whole days since the list was made, 0 for one from the future. The public list changes every week."""
    return max(0, (now_ms - vendors.last_updated_ms) // DAY_MS)


def row_for(lists: Mapping[int, VendorList], version: int, vendor: int) -> Vendor | Unreadable:
    """Find a vendor's row in the list a TC string names, among the lists the operator supplied, by version.

    Codes, each of which means denied: `gvl_missing` (no such version here), `vendor_unknown` (not in that version),
    `vendor_deleted` (marked as gone there or in the newest list here: a vendor that left may not go on with old strings).
    """
    named = lists.get(version)
    if named is None:
        return Unreadable("gvl_missing")
    row = named.vendors.get(vendor)
    if row is None:
        return Unreadable("vendor_unknown")
    newest = lists[max(lists)].vendors.get(vendor, row)
    if row.deleted_at_ms is not None or newest.deleted_at_ms is not None:
        return Unreadable("vendor_deleted")
    return row
