"""The US sections of a GPP string: one table of every section and version, and one reader.

Every core begins with a version of six bits, and every field behind it has two. One base64url letter carries six bits,
so the first letter is the version and each further letter is three fields: a section is read letter by letter, and no
bit is shifted. Fields keep the number that was written; what a number means is decided in `us_choices`.

A section is read by its number and its version. A version the table does not know makes the section unreadable, because
its fields may stand elsewhere. Zero bits behind the core are padding; other bits there mean a layout nobody told us.

The written documents of usmd, usin, usky and usri put a part with the section's number and version in front of the core;
the library that writes most strings leaves it out. Both forms are read: only the part in front begins with 24 to 27.

Source: IAB Global Privacy Platform, Sections/US-National and Sections/US-States, state of 2025-12-17, field by field as
npm @iabgpp/cmpapi 3.2.0 reads them.
"""

from typing import Final

import msgspec

from gateway.signals.bits import Broken

__all__ = ["LAYOUTS", "MSPA_VERSIONED", "Field", "Layout", "UsSection", "read", "told"]

_SHORT: Final = {
    "SN": "SharingNotice",
    "PN": "ProcessingNotice",
    "SON": "SaleOptOutNotice",
    "ShON": "SharingOptOutNotice",
    "TON": "TargetedAdvertisingOptOutNotice",
    "SDON": "SensitiveDataProcessingOptOutNotice",
    "SDLN": "SensitiveDataLimitUseNotice",
    "SDOO": "SensitiveDataOptOutNotice",
    "SO": "SaleOptOut",
    "ShO": "SharingOptOut",
    "TO": "TargetedAdvertisingOptOut",
    "SDP": "SensitiveDataProcessing",
    "KC": "KnownChildSensitiveDataConsents",
    "PDC": "PersonalDataConsents",
    "ADC": "AdditionalDataProcessingConsent",
    "MCT": "MspaCoveredTransaction",
    "MOO": "MspaOptOutOptionMode",
    "MSP": "MspaServiceProviderMode",
    "MM": "MspaMode",
}

MSPA_VERSIONED: Final = 0
"""Stands for the version in LAYOUTS where the first six bits are the version of the MSPA contract, not of the layout."""

# Number, name, version, fields behind the version, what the other parts may hold. A number behind a name is how many
# fields of that name follow each other; without one the field is single.
_TABLE: Final = """
 7 usnat 2 SN SON ShON TON SDON SDLN SO ShO TO SDP:16 KC:3 PDC MCT MOO MSP | gpc
 7 usnat 1 SN SON ShON TON SDON SDLN SO ShO TO SDP:12 KC:2 PDC MCT MOO MSP | gpc
 8 usca  1 SON ShON SDLN SO ShO SDP:9 KC:2 PDC MCT MOO MSP                 | gpc
 9 usva  1 SN SON TON SO TO SDP:8 KC MCT MOO MSP                           |
10 usco  1 SN SON TON SO TO SDP:7 KC MCT MOO MSP                           | gpc
11 usut  1 SN SON TON SDON SO TO SDP:8 KC MCT MOO MSP                      |
12 usct  1 SN SON TON SO TO SDP:8 KC:3 MCT MOO MSP                         | gpc
13 usfl  1 PN SON TON SO TO SDP:8 KC:3 ADC MCT MOO MSP                     |
14 usmt  1 SN SON TON SO TO SDP:8 KC:3 ADC MCT MOO MSP                     | gpc
15 usor  1 PN SON TON SO TO SDP:11 KC:3 ADC MCT MOO MSP                    | gpc
16 ustx  1 PN SON TON SO TO SDP:8 KC ADC MCT MOO MSP                       | gpc
17 usde  1 PN SON TON SO TO SDP:9 KC:5 ADC MCT MOO MSP                     | gpc
18 usia  1 PN SON TON SDOO SO TO SDP:8 KC MCT MOO MSP                      | gpc
19 usne  1 PN SON TON SO TO SDP:8 KC ADC MCT MOO MSP                       | gpc
20 usnh  1 PN SON TON SO TO SDP:8 KC:3 ADC MCT MOO MSP                     | gpc
21 usnj  1 PN SON TON SO TO SDP:10 KC:5 ADC MCT MOO MSP                    | gpc
22 ustn  1 PN SON TON SO TO SDP:8 KC ADC MCT MOO MSP                       | gpc
23 usmn  1 PN SON TON SO TO SDP:8 KC ADC MCT MOO MSP                       | gpc
24 usmd  0 MCT MM PN SON TON SO TO ADC                                     | gpc
25 usin  0 MCT MM PN SON TON SO TO KC ADC                                  | SDP:8
26 usky  0 MCT MM PN SON TON SO TO KC ADC                                  | SDP:8
27 usri  0 MCT MM PN SON TON SO TO KC ADC                                  | SDP:8
"""

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SIX: Final = {letter: number for number, letter in enumerate(_ALPHABET)}
_TWOS: Final = {letter: (number >> 4, number >> 2 & 3, number & 3) for letter, number in _SIX.items()}

_PARTS_MAX: Final = 6
"""Parts of one section. No document names more than three."""
_HEADED: Final = range(24, 28)
"""Sections that may begin with a part naming their number; no core of theirs begins with such a number."""
_HEADER_VERSION: Final = 1
_CORE, _GPC = 0, 1
"""Types of the parts that say what they are, in their first two bits."""


class Field(msgspec.Struct, frozen=True):
    """A field of one layout. `many` is False where the specification has a single number instead of a list."""

    name: str
    start: int
    stop: int
    many: bool


class Layout(msgspec.Struct, frozen=True):
    """Fields of one section and version. `core` counts the fields of the first part; the others come in a part of their own.

    `gpc` tells whether the section may carry a part with Global Privacy Control.
    """

    number: int
    name: str
    version: int
    fields: tuple[Field, ...]
    core: int
    gpc: bool

    def field(self, name: str) -> Field | None:
        """The field of that name, None where this layout has none."""
        return next((field for field in self.fields if field.name == name), None)


class UsSection(msgspec.Struct, frozen=True):
    """A decoded section. `values` are all fields of two bits in the order of the layout.

    `version` is what the first six bits said. `gpc` is None when no part with Global Privacy Control came along, which
    is not the same as False.
    """

    layout: Layout
    version: int
    values: tuple[int, ...]
    gpc: bool | None = None

    def get(self, name: str) -> tuple[int, ...]:
        """Numbers of the field of that name, empty where the section has none."""
        field = self.layout.field(name)
        return self.values[field.start : field.stop] if field else ()


def _layouts() -> dict[tuple[int, int], Layout]:
    layouts: dict[tuple[int, int], Layout] = {}
    for row in _TABLE.strip().splitlines():
        first, _, second = row.partition("|")
        number, name, version, *words = first.split()
        core = len(words)
        others = second.split()
        gpc = "gpc" in others
        fields: list[Field] = []
        start = in_core = 0
        for place, word in enumerate(words + [other for other in others if other != "gpc"]):
            short, many, size = word.partition(":")
            stop = start + int(size or 1)
            fields.append(Field(_SHORT[short], start, stop, bool(many)))
            start = stop
            if place < core:
                in_core = stop
        layout = Layout(int(number), name, int(version), tuple(fields), in_core, gpc)
        layouts[layout.number, layout.version] = layout
    return layouts


LAYOUTS: Final = _layouts()
"""Every layout by section number and version (MSPA_VERSIONED where the layout has only one)."""


def read(number: int, text: str) -> UsSection:
    """Read the text of one section. `number` is a section number of LAYOUTS.

    Raises Broken: `encoding` (a letter outside base64url), `truncated`, `trailing_bits`, `unknown_version`, `empty_part`,
    `too_many_parts`, `doubled_core`, `section_header` (the part in front names another section).
    """
    parts = text.split(".", _PARTS_MAX)
    if len(parts) > _PARTS_MAX:
        raise Broken("too_many_parts")
    if "" in parts:
        raise Broken("empty_part")
    if number in _HEADED and _six(parts[0], 0) in _HEADED:
        _check_header(number, parts.pop(0))
        if not parts:
            raise Broken("truncated")
    version = _six(parts[0], 0)
    layout = LAYOUTS.get((number, MSPA_VERSIONED if number in _HEADED else version))
    if layout is None or (number in _HEADED and version >= _HEADED.start):
        raise Broken("unknown_version")
    values = _twos(parts[0], 1, layout.core)
    others = parts[1:]
    size = layout.fields[-1].stop
    if size > layout.core:
        # Fields in a part of their own carry no type. Where the part is missing nobody consented: zeros.
        values += _twos(others.pop(0), 0, size - layout.core) if others else (0,) * (size - layout.core)
        for part in others:
            _check_letters(part)
        return UsSection(layout, version, values)
    # Where the section has no such part its parts are looked at all the same, and nothing is taken from them.
    gpc = _gpc(others)
    return UsSection(layout, version, values, gpc if layout.gpc else None)


def _check_header(number: int, part: str) -> None:
    """Check the part in front of the core. Its list of the parts that follow says nothing the parts do not say."""
    _check_letters(part)
    if _six(part, 0) != number:
        raise Broken("section_header")
    if _six(part, 1) != _HEADER_VERSION:
        raise Broken("unknown_version")


def _gpc(parts: list[str]) -> bool | None:
    """Global Privacy Control: None if no part carries it; given twice, one yes is enough."""
    found: bool | None = None
    for part in parts:
        _check_letters(part)
        kind, first, _ = _TWOS[part[0]]
        if kind == _CORE:
            raise Broken("doubled_core")
        if kind == _GPC:
            found = bool(found) or first >= 2
    return found


def _six(part: str, place: int) -> int:
    """The six bits of one letter."""
    if place >= len(part):
        raise Broken("truncated")
    number = _SIX.get(part[place])
    if number is None:
        raise Broken("encoding")
    return number


def _twos(part: str, first: int, count: int) -> tuple[int, ...]:
    """`count` fields of two bits, from letter `first` on; behind them only zero bits may follow."""
    stop = first - -count // 3
    _check_letters(part)
    if stop > len(part):
        raise Broken("truncated")
    values: list[int] = []
    for letter in part[first:stop]:
        values += _TWOS[letter]
    if any(values[count:]) or part[stop:].strip("A"):
        raise Broken("trailing_bits")
    return tuple(values[:count])


def _check_letters(part: str) -> None:
    # strip() looks at every letter of a good part in one pass of the interpreter's own code.
    if part.strip(_ALPHABET):
        raise Broken("encoding")


def told(section: UsSection) -> dict[str, object]:
    """The section for people, with the field names of the specification and the numbers as written.

    As in the library, a missing part with Global Privacy Control reads as false here; `UsSection.gpc` tells them apart.
    """
    layout = section.layout
    fields: dict[str, object] = {
        "MspaVersion" if layout.version == MSPA_VERSIONED else "Version": section.version,
    }
    for field in layout.fields:
        numbers = section.values[field.start : field.stop]
        fields[field.name] = list(numbers) if field.many else numbers[0]
    if layout.gpc:
        fields["GpcSegmentType"] = _GPC
        fields["Gpc"] = bool(section.gpc)
    return fields
