"""What the US sections of a GPP string and the US Privacy string mean for one visitor.

Which sections speak:

1. `gpp_sid`, the list of sections the page declares to apply, if the string holds one of them;
2. else the section of the visitor's state;
3. else usnat, the section for the whole country.

A section for another state says nothing about this visitor. If the state is not known and there is no usnat, every state
section speaks. The US Privacy string belongs to no state and speaks unless `gpp_sid` leaves it out. Several that speak:
whatever one of them denies is denied.

How numbers are read: a choice of 1 is an opt-out or a refusal, 2 is none, 0 does not apply; 3 is not defined and read as
1. A notice of 2 was not given, and nobody can opt out of what they were not told of, so the right counts as used; 3 is
read as 2 there. Sensitive data needs a 2 from every section that has a place for the category.

A known child means a child without consent: with consent of a parent the section says 2.

Source: IAB Global Privacy Platform, Sections/US-National and Sections/US-States, state of 2025-12-17, for the positions;
the decision is the gateway's own.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.purposes import SALE_OR_SHARING, SENSITIVE_DATA, TARGETED_ADVERTISING
from gateway.signals.gpp_sections import LAYOUTS

if TYPE_CHECKING:
    from gateway.signals.gpp import Gpp
    from gateway.signals.gpp_sections import Layout, UsSection
    from gateway.signals.usp import UsPrivacy

__all__ = ["POSITIONS", "REASONS", "STATE_SECTIONS", "UsChoices", "read"]

_EIGHT: Final = "race religion health sexual_orientation citizenship genetic biometric precise_location"
_NATIONAL: Final = f"{_EIGHT} identity_documents account_access union_membership message_content"

# Meaning of each place in SensitiveDataProcessing. A place that stands for several categories joins them with `+`.
_SENSITIVE: Final[dict[str, str]] = {
    **dict.fromkeys("usva usct usfl usmt ustx usne usnh ustn usmn usia usin usky usri".split(), _EIGHT),
    "usnat": f"{_NATIONAL} consumer_health crime_victim national_origin transgender",
    "usca": "identity_documents account_access precise_location race+religion+union_membership message_content genetic"
    " biometric health sexual_orientation",
    "usco": "race religion health sexual_orientation citizenship genetic biometric",
    "usut": "race religion sexual_orientation citizenship health genetic biometric precise_location",
    "usor": "race religion health sexual_orientation transgender citizenship national_origin crime_victim genetic"
    " biometric precise_location",
    "usde": f"{_EIGHT} transgender",
    "usnj": f"{_EIGHT} transgender account_access",
}

POSITIONS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    section: tuple([tuple(place.split("+")) for place in places.split()]) for section, places in _SENSITIVE.items()
}
"""For each section the categories (of purposes.SENSITIVE) of each place in its SensitiveDataProcessing. usnat version 1 has
the first twelve places. usmd has no such field."""

STATE_SECTIONS: Final = {
    layout.name[2:].upper(): layout.number for layout in LAYOUTS.values() if len(layout.name) == len("usxx")
}
"""Section number by state. States that are missing here have no section of their own."""

_NATIONAL_ID: Final = 7
_USP_ID: Final = 6
_BOTH: Final = SALE_OR_SHARING | TARGETED_ADVERTISING

# Field, the right it uses, reason. The two general notices come before every sale and every advertisement.
_OPT_OUTS: Final = (
    ("SaleOptOut", SALE_OR_SHARING, "sale_opt_out"),
    ("SharingOptOut", SALE_OR_SHARING, "sharing_opt_out"),
    ("TargetedAdvertisingOptOut", TARGETED_ADVERTISING, "targeted_advertising_opt_out"),
    ("KnownChildSensitiveDataConsents", _BOTH | SENSITIVE_DATA, "known_child"),
    ("SensitiveDataProcessing", SENSITIVE_DATA, "sensitive_data_refused"),
)
_NOT_TOLD: Final = "sensitive_data_notice_missing"
_NOTICES: Final = (
    ("SharingNotice", _BOTH, "sharing_notice_missing"),
    ("ProcessingNotice", _BOTH, "processing_notice_missing"),
    ("SaleOptOutNotice", SALE_OR_SHARING, "sale_notice_missing"),
    ("SharingOptOutNotice", SALE_OR_SHARING, "sharing_opt_out_notice_missing"),
    ("TargetedAdvertisingOptOutNotice", TARGETED_ADVERTISING, "targeted_advertising_notice_missing"),
    ("SensitiveDataProcessingOptOutNotice", SENSITIVE_DATA, _NOT_TOLD),
    ("SensitiveDataLimitUseNotice", SENSITIVE_DATA, _NOT_TOLD),
    ("SensitiveDataOptOutNotice", SENSITIVE_DATA, _NOT_TOLD),
)

REASONS: Final[dict[str, str]] = {
    "sale_opt_out": "the visitor opted out of the sale of personal data",
    "sharing_opt_out": "the visitor opted out of the sharing of personal data",
    "targeted_advertising_opt_out": "the visitor opted out of targeted advertising",
    "known_child": "the visitor is known to be a child, and no consent was given",
    "sensitive_data_refused": "the visitor refused the use of some sensitive data",
    "sharing_notice_missing": "the visitor was not told that personal data is shared",
    "processing_notice_missing": "the visitor was not told that personal data is processed",
    "sale_notice_missing": "the visitor was not told of the right to opt out of sale",
    "sharing_opt_out_notice_missing": "the visitor was not told of the right to opt out of sharing",
    "targeted_advertising_notice_missing": "the visitor was not told of the right to opt out of targeted advertising",
    _NOT_TOLD: "the visitor was not told of the rights over sensitive data",
    "gpc": "the string carries Global Privacy Control",
    "us_privacy": "the US Privacy string says that the visitor opted out of sale",
}
"""Reasons an opt-out can have. A code never changes its meaning."""


class UsChoices(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, over all sections that speak for the visitor.

    `opted_out` holds bits of purposes.RIGHTS; the reasons are codes of REASONS in the order of the sections. `minor` is
    True for a known child without consent. `sensitive_denied` are the categories that a section has a place for and did
    not agree to; `sensitive_allowed` those that every such section agreed to. A category in neither was not spoken of,
    which is not a yes. `service_provider_only`: only destinations that act as service providers may be used. `sections`
    names the sections that spoke.
    """

    opted_out: int = 0
    opted_out_reasons: tuple[str, ...] = ()
    minor: bool = False
    sensitive_denied: frozenset[str] = frozenset()
    sensitive_allowed: frozenset[str] = frozenset()
    service_provider_only: bool = False
    sections: tuple[str, ...] = ()


class _Plan(msgspec.Struct, frozen=True):
    """Where a layout keeps what is decided on: places of its values, with what follows from them."""

    opt_outs: tuple[tuple[int, int, int, str], ...]
    notices: tuple[tuple[int, int, str], ...]
    sensitive: tuple[tuple[int, tuple[str, ...]], ...]
    provider: tuple[tuple[int, int], ...]


def _plan(layout: "Layout") -> _Plan:
    fields = {field.name: field for field in layout.fields}
    sensitive = fields.get("SensitiveDataProcessing")
    # In a mode field of its own 1 is yes; the sections with a single mode field say opt-out option with 1.
    provider = [(fields[n].start, yes) for n, yes in (("MspaServiceProviderMode", 1), ("MspaMode", 2)) if n in fields]
    return _Plan(
        tuple([(fields[n].start, fields[n].stop, right, why) for n, right, why in _OPT_OUTS if n in fields]),
        tuple([(fields[n].start, right, why) for n, right, why in _NOTICES if n in fields]),
        tuple(zip(range(sensitive.start, sensitive.stop), POSITIONS[layout.name], strict=False)) if sensitive else (),
        tuple(provider),
    )


_PLANS: Final = {key: _plan(layout) for key, layout in LAYOUTS.items()}


def read(
    gpp: "Gpp | None",
    gpp_sid: tuple[int, ...] | None,
    state: str | None,
    us_privacy: "UsPrivacy | None" = None,
) -> UsChoices:
    """Read what was chosen.

    `gpp_sid`: section numbers the page declares to apply, None when it declares nothing; numbers the string does not hold
    (-1 and 0 among them) declare nothing. `state`: two capital letters, None when unknown. `us_privacy`: the string that
    came outside of GPP.
    """
    sections, usp = _speaking(gpp, gpp_sid, state) if gpp is not None else ((), None)
    opted_out = 0
    reasons: dict[str, None] = {}
    denied: set[str] = set()
    allowed: set[str] = set()
    provider_only = False
    for section in sections:
        plan = _PLANS[section.layout.number, section.layout.version]
        used = _used_rights(section, plan)
        for right, why in used:
            opted_out |= right
            reasons[why] = None
        told = (SENSITIVE_DATA, _NOT_TOLD) not in used
        for place, categories in plan.sensitive:
            (allowed if told and section.values[place] == 2 else denied).update(categories)
        provider_only = provider_only or any(section.values[place] in (yes, 3) for place, yes in plan.provider)
    names = [section.layout.name for section in sections]
    if usp is not None:
        names.insert(0, "uspv1")
    if (usp is not None and usp.opted_out) or (us_privacy is not None and us_privacy.opted_out):
        opted_out |= SALE_OR_SHARING
        reasons["us_privacy"] = None
    return UsChoices(
        opted_out=opted_out,
        opted_out_reasons=tuple(reasons),
        minor="known_child" in reasons,
        sensitive_denied=frozenset(denied),
        sensitive_allowed=frozenset(allowed - denied),
        service_provider_only=provider_only,
        sections=tuple(names),
    )


def _speaking(
    gpp: "Gpp", gpp_sid: tuple[int, ...] | None, state: str | None
) -> tuple[tuple["UsSection", ...], "UsPrivacy | None"]:
    """Sections that speak for the visitor, and the US Privacy string inside GPP if it does."""
    us = gpp.us_sections
    if gpp_sid and not set(gpp_sid).isdisjoint(gpp.section_ids):
        named = tuple([section for section in us if section.layout.number in gpp_sid])
        return named, gpp.us_privacy if _USP_ID in gpp_sid else None
    own = STATE_SECTIONS.get(state) if state is not None else None
    for number in (own, _NATIONAL_ID):
        for section in us:
            if section.layout.number == number:
                return (section,), gpp.us_privacy
    return us if state is None else (), gpp.us_privacy


def _used_rights(section: "UsSection", plan: _Plan) -> list[tuple[int, str]]:
    """Rights one section says are used, each with the reason."""
    values = section.values
    used = [
        (right, why) for start, stop, right, why in plan.opt_outs if 1 in values[start:stop] or 3 in values[start:stop]
    ]
    used += [(right, why) for place, right, why in plan.notices if values[place] >= 2]
    if section.gpc:
        used.append((_BOTH, "gpc"))
    return used
