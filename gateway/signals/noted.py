"""Marks: what the registry notes about signals it could not use, and what each note means.

A mark is a family and a code: `tcf_truncated` is a TC string that ends too early. Marks are kept with the event and
counted. They never hold anything of what was sent. The list is closed: a test draws signals until nothing new comes.
"""

from typing import Final

__all__ = ["ALONE", "CODES", "FAMILIES", "meaning"]

FAMILIES: Final[dict[str, str]] = {
    "tcf": "a TC string",
    "gpp": "the GPP string",
    "gpp_section": "one section of the GPP string; its other sections count",
    "us_privacy": "the US Privacy string",
    "ac": "the additional consent string",
    "consent_mode_gcs": "the parameter gcs of Google's consent mode",
    "consent_mode_gcd": "the parameter gcd of Google's consent mode",
    "platform": "the cookie of the consent platform",
}
"""Beginning of a mark: what it is about. The signal is absent then, unless said otherwise."""

CODES: Final[dict[str, str]] = {
    "ambiguous_ranges": "its ranges can be read in two ways",
    "blank_section": "a section is empty",
    "cmp_id": "it names no consent platform",
    "cookie_too_long": "the cookie is longer than 8,192 characters",
    "core_missing": "its main part is missing or not in front",
    "created_in_future": "it was made more than a day in the future",
    "disclosed_vendors_missing": "made since 2026-03-01 without the disclosed vendors; it permits IAB vendors nothing",
    "doubled_core": "its main part is there twice",
    "doubled_part": "a part is there twice",
    "duplicate_key": "a key is there twice with different values",
    "empty": "there is nothing in it",
    "empty_part": "a part is empty",
    "empty_segment": "a part is empty",
    "encoding": "characters that do not belong there",
    "encrypted": "encrypted by the platform; the page must tell",
    "expired": "older than the site lets it be",
    "header_too_long": "the Cookie header is longer than 16,384 characters",
    "header_type": "it does not begin as a GPP string",
    "header_version": "a version nobody has described",
    "id_too_high": "a section number that is not taken",
    "length": "not of the length the format has",
    "letter": "a letter the format does not have",
    "malformed": "not written as the format asks",
    "not_json": "not JSON",
    "not_service_specific": "of the shared scope that ended in 2021; it permits IAB vendors nothing",
    "percent": "a broken percent escape",
    "policy_outdated": "of a policy that ended on 2023-09-30; it permits IAB vendors nothing",
    "provider_id": "a provider number that is too high",
    "range_reversed": "a range that ends before it begins",
    "repeated_segment": "a part is there twice",
    "restriction_purpose": "a restriction on no purpose",
    "section_count": "it announces another number of sections than it holds",
    "section_header": "a section that says to be another one",
    "shape": "not of the form the platform writes",
    "too_deep": "nested deeper than eight levels",
    "too_long": "longer than 16,384 characters",
    "too_many_parts": "more parts than a section has",
    "too_many_ranges": "more than 1,000 ranges",
    "too_many_restrictions": "more restrictions than there are different ones",
    "too_many_sections": "more than 16 sections",
    "too_many_segments": "more than six parts",
    "trailing_bits": "something stands behind its end",
    "truncated": "it ends too early",
    "unknown_format": "a format nobody has described",
    "unknown_version": "a version nobody has described",
    "value": "a value the format does not have",
    "vendor_beyond_maximum": "a vendor number beyond the highest it announces",
    "vendor_zero": "a vendor number 0",
    "version": "a version nobody has described",
}
"""End of a mark: what was wrong."""

ALONE: Final[dict[str, str]] = {
    "platform_conflict": "the platform's cookie is there twice with different values: no choice",
    "platform_not_configured": "the page reports a consent platform that the site's settings do not name: not read",
    "platform_unmapped": "a category or service has no purpose in the settings: ignored",
    "consent_mode_type": "the page names a consent type that Google does not have: ignored",
    "consent_conflict": "two signals of one step say yes and no to the same purpose: the no counts",
}
"""Marks that are a word of their own."""


def meaning(mark: str) -> str | None:
    """The sentence of a mark, None for a text that is none."""
    if mark in ALONE:
        return ALONE[mark]
    for family in sorted(FAMILIES, key=len, reverse=True):
        code = mark.removeprefix(f"{family}_")
        if code != mark and code in CODES:
            return f"{FAMILIES[family]}: {CODES[code]}"
    return None
