"""IAB TCF: read a TC string into what it says, and say whether it may be used at all.

Read is not usable: a string that is perfectly well formed may be void by its own fields. `usable()` tells.

At run time a text that cannot be read is absent, and counted under its code. Asked for a vendor, a void string grants
nothing and denies everything (`vendors.py`), so that a caller who forgets to look at `usable()` cannot be led to a grant.
Blanks around the text are the caller's to trim; here they are not letters of the alphabet.

Source: IAB Europe and IAB Tech Lab, "Consent string and vendor list formats v2" and "TCF policies" (TCF 2.2 and 2.3),
state of 2026-02-26.
"""

from typing import TYPE_CHECKING, Final

from gateway.signals.bits import TEXT_MAX, Broken, Ids, Unreadable, intervals_text
from gateway.signals.tcf_wire import Bitfield, Publisher, Restriction, TcString, VendorSet, read
from gateway.times import DAY_MS, utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Bitfield",
    "Publisher",
    "Restriction",
    "TcString",
    "VendorSet",
    "decode",
    "newest",
    "told",
    "unusable",
    "usable",
]

_POLICY_4_FROM_MS: Final = 1_696_118_400_000  # 2023-10-01: a string made since needs policy 4 or later.
_DISCLOSED_FROM_MS: Final = 1_772_323_200_000  # 2026-03-01: a string made since needs the disclosed vendors (TCF 2.3).


def decode(text: str) -> TcString | Unreadable:
    """Read a TC string. Never raises; work is bounded by TEXT_MAX, RANGES_MAX, and the caps of `tcf_wire`.

    Codes: `empty`, `too_long`, `too_many_segments`, `empty_segment`, `encoding` (a character outside base64url, blanks
    included), `core_missing` (another part comes first), `version`, `truncated`, `repeated_segment`,
    `too_many_ranges`, `too_many_restrictions`, `cmp_id` (0 or 1), `vendor_zero`, `range_reversed`,
    `vendor_beyond_maximum`, `restriction_purpose` (0).
    """
    if len(text) > TEXT_MAX:
        return Unreadable("too_long")
    try:
        return read(text)
    except Broken as broken:
        return Unreadable(broken.code)


# ------------------------------------------------------------------ may it be used


def unusable(tc: TcString) -> str:
    """Why a string is void by its own fields; empty when it is not.

    Codes: `not_service_specific` (the shared scope ended in 2021), `policy_outdated` (policy before 4, created since
    2023-10-01), `disclosed_vendors_missing` (created since 2026-03-01). The created day decides and never the policy
    version, which is the same before and after TCF 2.3.
    """
    if not tc.is_service_specific:
        return "not_service_specific"
    if tc.policy_version < 4 and tc.created_ms >= _POLICY_4_FROM_MS:
        return "policy_outdated"
    if tc.disclosed_vendors is None and tc.created_ms >= _DISCLOSED_FROM_MS:
        return "disclosed_vendors_missing"
    return ""


def usable(tc: TcString, now_ms: int, age_max_days: int | None = None) -> tuple[bool, str]:
    """Tell whether a string may be used at the time `now_ms`, and if not why.

    Codes: those of `unusable()`, `created_in_future` (more than a day ahead, which no time zone explains), and
    `expired` when it was created more than `age_max_days` ago: the format itself knows no age, the operator sets one.
    """
    why = unusable(tc)
    if not why and tc.created_ms > now_ms + DAY_MS:
        why = "created_in_future"
    if not why and age_max_days is not None and now_ms - tc.created_ms > age_max_days * DAY_MS:
        why = "expired"
    return not why, why


def newest(strings: "Sequence[TcString]") -> list[TcString]:
    """Of several strings on one request, those created last. If more than one is left, what any of them denies is denied."""
    last_ms = max((tc.created_ms for tc in strings), default=0)
    return [tc for tc in strings if tc.created_ms == last_ms]


# ------------------------------------------------------------------ for people


def told(tc: TcString) -> dict[str, object]:
    """A string as JSON for people, with every vendor set spelled out as in `1-5,8`. A part that is absent has no key."""
    said: dict[str, object] = {
        "version": 2,
        "created": utc_text(tc.created_ms),
        "lastUpdated": utc_text(tc.last_updated_ms),
        "cmpId": tc.cmp_id,
        "cmpVersion": tc.cmp_version,
        "consentScreen": tc.consent_screen,
        "consentLanguage": tc.consent_language,
        "vendorListVersion": tc.vendor_list_version,
        "policyVersion": tc.policy_version,
        "isServiceSpecific": tc.is_service_specific,
        "useNonStandardTexts": tc.uses_non_standard_texts,
        "specialFeatureOptins": tc.special_feature_opt_ins.numbers(),
        "purposeConsents": tc.purpose_consents.numbers(),
        "purposeLegitimateInterests": tc.purpose_legitimate_interests.numbers(),
        "purposeOneTreatment": tc.purpose_one_treatment,
        "publisherCountryCode": tc.publisher_country,
        "vendorConsents": _spelled(tc.vendor_consents),
        "vendorLegitimateInterests": _spelled(tc.vendor_legitimate_interests),
        "publisherRestrictions": {f"{one.purpose}:{one.kind}": intervals_text(one.vendors) for one in tc.restrictions},
    }
    if tc.disclosed_vendors is not None:
        said["vendorsDisclosed"] = _spelled(tc.disclosed_vendors)
    if tc.allowed_vendors is not None:
        said["vendorsAllowed"] = _spelled(tc.allowed_vendors)
    if tc.publisher is not None:
        said["publisherConsents"] = tc.publisher.consents.numbers()
        said["publisherLegitimateInterests"] = tc.publisher.legitimate_interests.numbers()
        said["numCustomPurposes"] = tc.publisher.custom_consents.width
        said["publisherCustomConsents"] = tc.publisher.custom_consents.numbers()
        said["publisherCustomLegitimateInterests"] = tc.publisher.custom_legitimate_interests.numbers()
    return said


def _spelled(vendors: VendorSet) -> str:
    if isinstance(vendors, Bitfield):
        vendors = Ids.of_bitfield(vendors.bits, vendors.width)
    return intervals_text(vendors)
