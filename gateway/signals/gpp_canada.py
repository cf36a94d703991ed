"""IAB TCF Canada: section 5 of a GPP string. Express and implied consent, for purposes and for vendors.

The lists of vendors come in two forms, see `gpp_canada_lists`. A part that ends too early is unreadable, missing bits are
never consent. Zero bits behind a part are padding.

Source: IAB Global Privacy Platform, Sections/Canada, "GPP Extension: IAB TCF Canada Technical Spec" 1.1.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.signals.bits import RANGES_MAX, BitReader, Broken, Ids, intervals_text
from gateway.signals.gpp_canada_lists import believed, core_lists, one_list
from gateway.signals.tcf import Bitfield
from gateway.times import utc_text

if TYPE_CHECKING:
    from gateway.signals.gpp_canada_lists import Reading
    from gateway.signals.tcf import VendorSet

__all__ = ["CanadaPublisher", "CanadaRestriction", "CanadaString", "read", "told"]

_PARTS_MAX: Final = 6
_VERSION: Final = 1
_CORE, _DISCLOSED, _PUBLISHER = 0, 1, 3
"""Types of parts. Others are unknown, and ignored."""


class CanadaRestriction(msgspec.Struct, frozen=True):
    """What the publisher restricts for some vendors: the purpose, the type as written, the vendors."""

    purpose: int
    kind: int
    vendors: "VendorSet"


class CanadaPublisher(msgspec.Struct, frozen=True):
    """What was chosen for the site owner itself. Custom purposes are numbered from 1 by the site."""

    purposes_express: Bitfield
    purposes_implied: Bitfield
    custom_express: Bitfield
    custom_implied: Bitfield


class CanadaString(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded Canadian section.

    Times are milliseconds UTC. `consent_language` is two capital letters, None when the string holds no letters.
    The same purpose and type may stand in `restrictions` more than once. `publisher` and `disclosed_vendors` are None when
    the part is absent. `fixed_ranges` tells that the older form was read.
    """

    created_ms: int
    last_updated_ms: int
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str | None
    vendor_list_version: int
    policy_version: int
    uses_non_standard_stacks: bool
    special_features_express: Bitfield
    purposes_express: Bitfield
    purposes_implied: Bitfield
    vendors_express: "VendorSet"
    vendors_implied: "VendorSet"
    restrictions: tuple[CanadaRestriction, ...]
    publisher: CanadaPublisher | None
    disclosed_vendors: "VendorSet | None"
    fixed_ranges: bool


def read(text: str, ranges_left: int = RANGES_MAX) -> CanadaString:
    """Read the text of the section. `ranges_left` is how many range entries the whole string may still have.

    Raises Broken: `encoding`, `empty_part`, `too_many_parts`, `doubled_part`, `unknown_version`, `truncated`,
    `trailing_bits`, `too_many_ranges`, `too_many_restrictions`, `id_too_high`, `vendor_zero`, `range_reversed`,
    `restriction_purpose` (0), `ambiguous_ranges`.
    """
    parts = text.split(".", _PARTS_MAX)
    if len(parts) > _PARTS_MAX:
        raise Broken("too_many_parts")
    if "" in parts:
        raise Broken("empty_part")
    core = BitReader(parts[0])
    if core.take(6) != _VERSION:
        raise Broken("unknown_version")
    created, updated = core.take(36), core.take(36)
    cmp_id, cmp_version, screen, language = core.take(12), core.take(12), core.take(6), (core.take(6), core.take(6))
    list_version, policy_version, non_standard = core.take(12), core.take(6), core.flag()
    special, express, implied = Bitfield(core.take(12), 12), Bitfield(core.take(24), 24), Bitfield(core.take(24), 24)
    choices = believed(_text(core), core.at, core_lists, ranges_left)
    others = _other_parts(parts[1:])
    publisher = _publisher(others[_PUBLISHER]) if _PUBLISHER in others else None
    disclosed: Reading | None = None
    if _DISCLOSED in others:
        disclosed = believed(_text(others[_DISCLOSED]), 3, one_list, ranges_left - choices.entries)
    return CanadaString(
        created_ms=created * 100,
        last_updated_ms=updated * 100,
        cmp_id=cmp_id,
        cmp_version=cmp_version,
        consent_screen=screen,
        consent_language="".join([chr(65 + letter) for letter in language]) if max(language) < 26 else None,
        vendor_list_version=list_version,
        policy_version=policy_version,
        uses_non_standard_stacks=non_standard,
        special_features_express=special,
        purposes_express=express,
        purposes_implied=implied,
        vendors_express=choices.lists[0],
        vendors_implied=choices.lists[1],
        restrictions=tuple([CanadaRestriction(key >> 2, key & 3, held) for key, held in choices.restrictions]),
        publisher=publisher,
        disclosed_vendors=disclosed.lists[0] if disclosed else None,
        fixed_ranges=choices.fixed or (disclosed is not None and disclosed.fixed),
    )


def _other_parts(texts: list[str]) -> dict[int, BitReader]:
    parts: dict[int, BitReader] = {}
    for text in texts:
        reader = BitReader(text)
        kind = reader.take(3)
        if kind in parts or kind == _CORE:
            raise Broken("doubled_part")
        if kind in (_DISCLOSED, _PUBLISHER):
            parts[kind] = reader
    return parts


def _publisher(reader: BitReader) -> CanadaPublisher:
    express, implied, custom = reader.take(24), reader.take(24), reader.take(6)
    custom_express, custom_implied = reader.take(custom), reader.take(custom)
    if reader.take(reader.left):
        raise Broken("trailing_bits")
    return CanadaPublisher(
        Bitfield(express, 24), Bitfield(implied, 24), Bitfield(custom_express, custom), Bitfield(custom_implied, custom)
    )


def _text(reader: BitReader) -> str:
    """All bits of a part as a text of `0` and `1`: cutting a field out of it costs the same wherever it lies."""
    at, reader.at = reader.at, 0
    bits = f"{reader.take(reader.length):0{reader.length}b}"
    reader.at = at
    return bits


# ------------------------------------------------------------------ for people


def told(canada: CanadaString) -> dict[str, object]:
    """The section for people, with the field names of the specification. A part that is absent reads as empty."""
    publisher = canada.publisher or _NOBODY
    return {
        "Version": _VERSION,
        "Created": utc_text(canada.created_ms),
        "CmpId": canada.cmp_id,
        "CmpVersion": canada.cmp_version,
        "ConsentScreen": canada.consent_screen,
        "ConsentLanguage": canada.consent_language,
        "VendorListVersion": canada.vendor_list_version,
        "TcfPolicyVersion": canada.policy_version,
        "UseNonStandardStacks": canada.uses_non_standard_stacks,
        "SpecialFeatureExpressConsent": canada.special_features_express.numbers(),
        "PurposesExpressConsent": canada.purposes_express.numbers(),
        "PurposesImpliedConsent": canada.purposes_implied.numbers(),
        "VendorExpressConsent": _spelled(canada.vendors_express),
        "VendorImpliedConsent": _spelled(canada.vendors_implied),
        # Empty it is a list and else an object, as the library's own JSON has it.
        "PubRestrictions": _restrictions_told(canada.restrictions) or [],
        "PubPurposesSegmentType": _PUBLISHER,
        "PubPurposesExpressConsent": publisher.purposes_express.numbers(),
        "PubPurposesImpliedConsent": publisher.purposes_implied.numbers(),
        "NumCustomPurposes": publisher.custom_express.width,
        "CustomPurposesExpressConsent": publisher.custom_express.numbers(),
        "CustomPurposesImpliedConsent": publisher.custom_implied.numbers(),
        "DisclosedVendorsSegmentType": _DISCLOSED,
        "DisclosedVendors": _spelled(canada.disclosed_vendors) if canada.disclosed_vendors is not None else "",
    }


_NOBODY: Final = CanadaPublisher(Bitfield(0, 24), Bitfield(0, 24), Bitfield(0, 0), Bitfield(0, 0))


def _restrictions_told(restrictions: tuple[CanadaRestriction, ...]) -> dict[str, str]:
    pairs: dict[str, list[tuple[int, int]]] = {}
    for one in restrictions:
        ids = _ids(one.vendors)
        pairs.setdefault(f"{one.purpose}:{one.kind}", []).extend(zip(ids.starts, ids.ends, strict=True))
    return {name: intervals_text(Ids.of(both)) for name, both in pairs.items()}


def _spelled(vendors: "VendorSet") -> str:
    return intervals_text(_ids(vendors))


def _ids(vendors: "VendorSet") -> Ids:
    return Ids.of_bitfield(vendors.bits, vendors.width) if isinstance(vendors, Bitfield) else vendors
