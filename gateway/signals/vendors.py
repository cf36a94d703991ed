"""What a TC string permits one vendor: the rule of the framework, and the gateway's own purposes drawn from it.

`permission()` follows the framework line by line; the first line that fails decides, and its text is the reason. It needs
the vendor's row of the vendor list version that the string names. At run time that row may be missing (the operator has
not supplied this version, or the vendor is not in it or has left): then everything is denied. A string that is void by
its own fields (`tcf.unusable`) permits nothing either.

The site owner who runs this gateway is no vendor. For the site's own processing the publisher part of the string counts,
and where the string has none it says nothing.

Source: IAB Europe, "Vendor implementation guidelines" and "TCF policies" (TCF 2.2 and 2.3), state of 2026-02-26; Google
Ad Manager help, additional consent. The mapping to neutral purposes is the gateway's own, see `docs/explanation/consent.md`.
"""

from enum import Enum
from typing import Final

import msgspec

from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ADVERTISING, ANALYTICS, FUNCTIONAL
from gateway.signals.ac import AdditionalConsent
from gateway.signals.bits import Unreadable
from gateway.signals.gvl import Vendor
from gateway.signals.tcf import TcString, unusable

__all__ = [
    "VENDOR_PURPOSES",
    "Kind",
    "Permission",
    "Query",
    "permission",
    "purposes_for_provider",
    "purposes_for_publisher",
    "purposes_for_vendor",
    "read_query",
    "told",
]


class Kind(Enum):
    """What is asked for."""

    PURPOSE = "purpose"
    SPECIAL_PURPOSE = "specialPurpose"
    """Security, delivery, keeping choices: legitimate interest without a choice, if the vendor was disclosed."""
    SPECIAL_FEATURE = "specialFeature"
    """Precise location, scanning the device: an opt-in of its own."""


class Query(msgspec.Struct, frozen=True):
    """May a vendor process for this purpose, special purpose or special feature?"""

    kind: Kind
    id: int


class Permission(msgspec.Struct, frozen=True):
    """The answer. `legal_basis` is `consent` or `legitimateInterest`, None where the rule ended before a basis was found."""

    allowed: bool
    legal_basis: str | None
    reason: str


CONSENT: Final = "consent"
INTEREST: Final = "legitimateInterest"

_INVALID: Final = {
    "not_service_specific": "invalid:isServiceSpecific=0",
    "policy_outdated": "invalid:policyVersion<4 created after 2023-09-30",
    "disclosed_vendors_missing": "invalid:disclosedVendors missing after 2026-02-28",
}
_CONSENT_ONLY: Final = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6
"""Purposes for which legitimate interest never counts: storage always, profiles and personalisation since TCF 2.2."""


def permission(tc: TcString, vendor: Vendor, query: Query) -> Permission:
    """Decide one question for one vendor. `vendor` must be its row in the vendor list version the string names."""
    why = unusable(tc)
    if why:
        return _no(_INVALID[why])
    if tc.disclosed_vendors is not None and vendor.id not in tc.disclosed_vendors:
        return _no("vendor not disclosed")
    if vendor.deleted_at_ms is not None:
        return _no("vendor deleted")
    if query.kind is Kind.SPECIAL_PURPOSE:
        return _special_purpose(tc, vendor, query.id)
    if query.kind is Kind.SPECIAL_FEATURE:
        return _special_feature(tc, vendor, query.id)
    return _purpose(tc, vendor, query.id)


def _no(reason: str, basis: str | None = None) -> Permission:
    return Permission(False, basis, reason)


def _has(numbers: int, number: int) -> bool:
    return 0 < number < 64 and bool(numbers >> number & 1)


def _special_purpose(tc: TcString, vendor: Vendor, number: int) -> Permission:
    if not _has(vendor.special_purposes, number):
        return _no("not declared")
    # Before TCF 2.3 the legitimate interest bit was the only trace of a disclosure.
    if tc.disclosed_vendors is None and vendor.id not in tc.vendor_legitimate_interests:
        return _no("no proof of disclosure")
    return Permission(True, INTEREST, "special purpose disclosed")


def _special_feature(tc: TcString, vendor: Vendor, number: int) -> Permission:
    if not _has(vendor.special_features, number):
        return _no("not declared")
    if number not in tc.special_feature_opt_ins:
        return _no("no special feature opt-in", CONSENT)
    return Permission(True, CONSENT, "ok")


def _purpose(tc: TcString, vendor: Vendor, number: int) -> Permission:
    restriction = tc.restriction(vendor.id, number)
    if restriction == 0:
        return _no("publisher restriction 0")

    if _has(vendor.purposes, number):
        basis = CONSENT
    elif _has(vendor.legitimate_interests, number):
        basis = INTEREST
    else:
        return _no("not declared")
    wanted = {None: basis, 1: CONSENT, 2: INTEREST}[restriction]
    if wanted != basis:
        if not _has(vendor.flexible, number):
            return _no(f"restriction {restriction} but purpose not flexible")
        basis = wanted

    if basis == INTEREST:
        if _has(_CONSENT_ONLY, number):
            return _no("legitimate interest forbidden for purpose")
        if number not in tc.purpose_legitimate_interests:
            return _no("no purpose LI", basis)
        if vendor.id not in tc.vendor_legitimate_interests:
            return _no("no vendor LI", basis)
    else:
        if number not in tc.purpose_consents:
            return _no("no purpose consent", basis)
        if vendor.id not in tc.vendor_consents:
            return _no("no vendor consent", basis)
    return Permission(True, basis, "ok")


# ------------------------------------------------------------------ neutral purposes

VENDOR_PURPOSES: Final = ANALYTICS | ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION
"""What a string decides for a vendor. Necessary and functional processing are no vendor's business."""

_ASKED: Final[tuple[tuple[int, tuple[int, ...]], ...]] = (
    (ANALYTICS, (1, 8)),
    (ADVERTISING, (1, 7)),
    (AD_USER_DATA, (1, 7)),
    (AD_PERSONALIZATION, (3, 4)),
)
"""Purposes of the framework that must all be permitted for one of ours."""
_IF_DECLARED: Final = (9, 10)
"""Asked for analytics on top, where the vendor declares them: audience statistics, improving services."""
_ALL_ASKED: Final = (1, 3, 4, 7, 8)


def purposes_for_vendor(
    tc: TcString, vendor: Vendor | Unreadable, purpose_one_countries: frozenset[str] = frozenset()
) -> tuple[int, int]:
    """Tell which of the gateway's purposes a string grants an IAB vendor, and which it denies; together VENDOR_PURPOSES.

    `vendor` is the answer of `gvl.row_for()`: when there is no row, everything is denied. `purpose_one_countries` are
    publisher countries (two capital letters) in which the operator declares that storage rests on national law: there,
    a string that says purpose 1 was not shown does not fail for lack of it, if the vendor itself was consented to. The
    age of the string is the caller's to check with `tcf.usable()`; a string that fails there grants nothing.
    """
    if isinstance(vendor, Unreadable):
        return 0, VENDOR_PURPOSES
    permitted = {number: permission(tc, vendor, Query(Kind.PURPOSE, number)).allowed for number in _ALL_ASKED}
    if not permitted[1]:
        permitted[1] = _by_national_law(tc, vendor, purpose_one_countries)
    granted = _granted(permitted)
    if granted & ANALYTICS:
        for number in _IF_DECLARED:
            declared = _has(vendor.purposes | vendor.legitimate_interests, number)
            if declared and not permission(tc, vendor, Query(Kind.PURPOSE, number)).allowed:
                granted &= ~ANALYTICS
    return granted, VENDOR_PURPOSES & ~granted


def _by_national_law(tc: TcString, vendor: Vendor, countries: frozenset[str]) -> bool:
    return (
        tc.purpose_one_treatment
        and tc.publisher_country in countries
        and permission(tc, vendor, Query(Kind.PURPOSE, 1)).reason == "no purpose consent"
        and vendor.id in tc.vendor_consents
    )


def purposes_for_provider(
    tc: TcString,
    ac: AdditionalConsent | Unreadable | None,
    provider: int,
    purpose_one_countries: frozenset[str] = frozenset(),
) -> tuple[int, int]:
    """Tell the same for one of Google's providers that is not in the vendor list, `provider` being its id with Google.

    The additional consent string replaces the vendor bit and nothing else: purposes are consents of the TC string, and
    the TC string must not be void. No additional consent string, or one that cannot be read: denied. Legitimate interest
    and publisher restrictions exist for vendors of the list only.
    """
    if ac is None or isinstance(ac, Unreadable) or provider not in ac.consented or unusable(tc):
        return 0, VENDOR_PURPOSES
    permitted = {number: number in tc.purpose_consents for number in _ALL_ASKED}
    if tc.purpose_one_treatment and tc.publisher_country in purpose_one_countries:
        permitted[1] = True
    granted = _granted(permitted)
    return granted, VENDOR_PURPOSES & ~granted


def _granted(permitted: dict[int, bool]) -> int:
    granted = 0
    for purpose, asked in _ASKED:
        if all(permitted[number] for number in asked):
            granted |= purpose
    return granted


def purposes_for_publisher(tc: TcString, functional_custom: int | None = None) -> tuple[int, int]:
    """Tell what a string says about the site's own processing: granted and denied of ANALYTICS and FUNCTIONAL.

    Analytics needs the publisher's consents to purposes 1 and 8. Functional needs purpose 1 and the site's custom purpose
    number `functional_custom`, and stays unset while the operator names none. Only consent counts here; legitimate
    interest of the publisher is not a yes. A void string and one without a publisher part say nothing.
    """
    publisher = tc.publisher
    if publisher is None or unusable(tc):
        return 0, 0
    storage = 1 in publisher.consents
    granted, asked = 0, ANALYTICS
    if storage and 8 in publisher.consents:
        granted |= ANALYTICS
    if functional_custom is not None:
        asked |= FUNCTIONAL
        if storage and functional_custom in publisher.custom_consents:
            granted |= FUNCTIONAL
    return granted, asked & ~granted


# ------------------------------------------------------------------ for people


def read_query(query: object) -> Query | Unreadable:
    """Read a question from parsed JSON, such as `{"kind": "purpose", "id": 7}`. Code: `wrong_query`."""
    try:
        return msgspec.convert(query, Query)
    except msgspec.ValidationError:
        return Unreadable("wrong_query")


def told(answer: Permission) -> dict[str, object]:
    """The answer as JSON for people."""
    return {"allowed": answer.allowed, "legalBasis": answer.legal_basis, "reason": answer.reason}
