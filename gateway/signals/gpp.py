"""IAB GPP: one string that carries the choices of several places, each in a section of its own.

    header ~ section ~ section ...

The header lists the numbers of the sections that follow, in the same order. A frame that does not hold together is
unreadable as a whole, because then nobody knows which section is which. A section that cannot be read is left out with
its reason, and the others count: dropping them all would lose an opt-out that is perfectly clear. Sections without a
published format here are skipped. A string of which nothing is left is unreadable, with the reason of its first section.

A text that begins with `C` is a bare TC string and is taken as its section 2.

The text is taken as it is: whoever reads it from an address decodes the percent signs once, before.

Source: IAB Global Privacy Platform, Core/Consent String Specification, state of 2025-12-17; limits are the gateway's own.
"""

from typing import Final

import msgspec

from gateway.signals import gpp_canada, gpp_sections, tcf, usp
from gateway.signals.bits import RANGES_MAX, TEXT_MAX, BitReader, Broken, Ids, Unreadable
from gateway.signals.fibonacci import fibonacci_ranges
from gateway.signals.gpp_canada import CanadaString
from gateway.signals.gpp_sections import UsSection
from gateway.signals.tcf import TcString
from gateway.signals.usp import UsPrivacy

__all__ = ["ID_MAX", "SECTIONS_MAX", "Gpp", "decode", "gpc_parts", "told"]

SECTIONS_MAX: Final = 16
"""Sections of one string. More, and it is absent, and counted as `too_many_sections`."""
ID_MAX: Final = 63
"""The highest section number that is taken; 27 was the highest in use at the end of 2026."""

_TYPE: Final = "D"
_VERSION: Final = "B"
_BARE: Final = "C"
_TCF, _CANADA, _USP = 2, 5, 6
_COUNT_BITS: Final = 12

_US_NAMES: Final = {number: layout.name for (number, _), layout in gpp_sections.LAYOUTS.items()}
_NAMES: Final = {_TCF: "tcfeuv2", _CANADA: "tcfcav1", _USP: "uspv1", **_US_NAMES}

Section = TcString | CanadaString | UsPrivacy | UsSection


class Gpp(msgspec.Struct, frozen=True):
    """A decoded string.

    `sections` holds what could be read, by section number and in ascending order. `skipped` are numbers without a format
    here, `rejected` are the numbers of unreadable sections with the reason.
    """

    sections: tuple[tuple[int, Section], ...] = ()
    skipped: tuple[int, ...] = ()
    rejected: tuple[tuple[int, str], ...] = ()

    @property
    def section_ids(self) -> tuple[int, ...]:
        """Numbers of the sections that were read."""
        return tuple([number for number, _ in self.sections])

    @property
    def tcf(self) -> TcString | None:
        """Section 2, a TC string for Europe."""
        return next((section for _, section in self.sections if isinstance(section, TcString)), None)

    @property
    def canada(self) -> CanadaString | None:
        """Section 5, TCF Canada."""
        return next((section for _, section in self.sections if isinstance(section, CanadaString)), None)

    @property
    def us_privacy(self) -> UsPrivacy | None:
        """Section 6, the older US Privacy string."""
        return next((section for _, section in self.sections if isinstance(section, UsPrivacy)), None)

    @property
    def us_sections(self) -> tuple[UsSection, ...]:
        """Sections 7 and above: the national one and those of the states."""
        return tuple([section for _, section in self.sections if isinstance(section, UsSection)])


def decode(text: str) -> Gpp | Unreadable:
    """Read a GPP string. Never raises; work is bounded by TEXT_MAX, SECTIONS_MAX, ID_MAX and RANGES_MAX.

    Codes of the frame: `empty`, `too_long`, `header_type`, `header_version`, `too_many_sections`, `encoding`,
    `truncated`, `trailing_bits`, `id_too_high`, `section_count` (the header announces another number), `blank_section`.
    Codes of a section: those of `gpp_sections.read`, `gpp_canada.read`, `tcf.decode` and `usp.decode`.
    """
    if len(text) > TEXT_MAX:
        return Unreadable("too_long")
    if text.startswith(_BARE):
        bare = tcf.decode(text)
        return bare if isinstance(bare, Unreadable) else Gpp(((_TCF, bare),))
    try:
        return _read(text)
    except Broken as broken:
        return Unreadable(broken.code)


def _read(text: str) -> Gpp:
    if not text:
        raise Broken("empty")
    header, *texts = text.split("~", SECTIONS_MAX + 1)
    if len(texts) > SECTIONS_MAX:
        raise Broken("too_many_sections")
    numbers = _section_numbers(header)
    if len(numbers) != len(texts):
        raise Broken("section_count")
    sections: list[tuple[int, Section]] = []
    skipped: list[int] = []
    rejected: list[tuple[int, str]] = []
    left = RANGES_MAX
    for number, part in zip(numbers, texts, strict=True):
        if not part or part.isspace():
            raise Broken("blank_section")
        if number not in _NAMES:
            skipped.append(number)
            continue
        try:
            section = _section(number, part, left)
            sections.append((number, section))
            if isinstance(section, TcString):
                left -= _ranges(section)
        except Broken as broken:
            rejected.append((number, broken.code))
    if rejected and not sections:
        raise Broken(rejected[0][1])
    return Gpp(tuple(sections), tuple(skipped), tuple(rejected))


def _section_numbers(header: str) -> list[int]:
    """Section numbers of a header: type, version, and a Fibonacci range of which every count is checked before it is read."""
    if not header.startswith(_TYPE):
        raise Broken("header_type")
    if header[1:2] != _VERSION:
        raise Broken("header_version" if header[1:] else "truncated")
    reader = BitReader(header)
    reader.at = 12
    count = reader.take(_COUNT_BITS)
    if count > SECTIONS_MAX:
        raise Broken("too_many_sections")
    left = reader.left
    bits = f"{reader.take(left):0{left}b}" if left else ""
    pairs, at = fibonacci_ranges(bits, 0, count, ID_MAX)
    if "1" in bits[at:]:
        raise Broken("trailing_bits")
    return [number for first, last in pairs for number in range(first, last + 1)]


def _section(number: int, text: str, ranges_left: int) -> Section:
    """Read one section of a number in _NAMES. Raises Broken."""
    if number == _CANADA:
        return gpp_canada.read(text, ranges_left)
    if number in _US_NAMES:
        return gpp_sections.read(number, text)
    read: TcString | UsPrivacy | Unreadable = tcf.decode(text) if number == _TCF else usp.decode(text)
    if isinstance(read, Unreadable):
        raise Broken(read.code)
    return read


def _ranges(tc: TcString) -> int:
    """Range entries of a TC string, as far as they are still to be seen: those that overlap have become one."""
    vendors = (tc.vendor_consents, tc.vendor_legitimate_interests, tc.disclosed_vendors, tc.allowed_vendors)
    lists = [*vendors, *[one.vendors for one in tc.restrictions]]
    return sum([len(ids.starts) for ids in lists if isinstance(ids, Ids)])


# ------------------------------------------------------------------ for people

# Fields that every TC string has. `tcf.told` names them alike, with a small first letter, but for one.
_TCF_FIELDS: Final = """
Version Created LastUpdated CmpId CmpVersion ConsentScreen ConsentLanguage VendorListVersion PolicyVersion
IsServiceSpecific UseNonStandardStacks SpecialFeatureOptins PurposeConsents PurposeLegitimateInterests
PurposeOneTreatment PublisherCountryCode VendorConsents VendorLegitimateInterests
""".split()
_TCF_OTHERWISE: Final = {"UseNonStandardStacks": "useNonStandardTexts"}


def told(gpp: Gpp) -> dict[str, object]:
    """A string as JSON for people: `sectionIds` of what was read, and `sections` by name."""
    return {
        "sectionIds": list(gpp.section_ids),
        "sections": {_NAMES[number]: _section_told(section) for number, section in gpp.sections},
    }


def gpc_parts(gpp: Gpp) -> dict[str, bool]:
    """For each US section that may carry Global Privacy Control: whether it did, which `told` cannot show."""
    return {one.layout.name: one.gpc is not None for one in gpp.us_sections if one.layout.gpc}


def _section_told(section: Section) -> dict[str, object]:
    if isinstance(section, UsSection):
        return gpp_sections.told(section)
    if isinstance(section, UsPrivacy):
        return usp.told(section)
    if isinstance(section, CanadaString):
        return gpp_canada.told(section)
    return _tcf_told(section)


def _tcf_told(tc: TcString) -> dict[str, object]:
    """A TC string under the names it has inside a GPP string. A part that is absent reads as empty, as in the library."""
    said = tcf.told(tc)
    return {
        **{name: said[_TCF_OTHERWISE.get(name, name[0].lower() + name[1:])] for name in _TCF_FIELDS},
        # Without restrictions it is a list and else an object, as the library's own JSON has it.
        "PublisherRestrictions": said["publisherRestrictions"] or [],
        "PublisherPurposesSegmentType": 3,
        "PublisherConsents": said.get("publisherConsents", []),
        "PublisherLegitimateInterests": said.get("publisherLegitimateInterests", []),
        "NumCustomPurposes": said.get("numCustomPurposes", 0),
        "PublisherCustomConsents": said.get("publisherCustomConsents", []),
        "PublisherCustomLegitimateInterests": said.get("publisherCustomLegitimateInterests", []),
        "VendorsAllowedSegmentType": 2,
        "VendorsAllowed": said.get("vendorsAllowed", ""),
        "VendorsDisclosedSegmentType": 1,
        "VendorsDisclosed": said.get("vendorsDisclosed", ""),
    }
