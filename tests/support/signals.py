"""Writers of consent signals for tests: TC strings and GPP strings, bit by bit from the published formats.

    tc_string(purposes=ALL, vendors=(755,), disclosed=(755,))
    gpp_string(usca={"SaleOptOut": 1})

They share no code with the decoders but the table of the US sections' fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from gateway.signals.gpp_sections import LAYOUTS, Layout

__all__ = ["ALL", "entries", "gpp_frame", "gpp_string", "ranges", "tc_string", "text_of"]

ALL: Final = tuple(range(1, 12))
"""All purposes of the framework."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def text_of(line: str) -> str:
    """Bits as base64url text, padded with zeros."""
    line += "0" * (-len(line) % 6)
    return "".join(_ALPHABET[int(line[at : at + 6], 2)] for at in range(0, len(line), 6))


def _bits(numbers: Iterable[int], width: int) -> str:
    chosen = set(numbers)
    return "".join("1" if number in chosen else "0" for number in range(1, width + 1))


def _field(vendors: Sequence[int]) -> str:
    highest = max(vendors, default=0)
    return f"{highest:016b}0" + _bits(vendors, highest)


def entries(pairs: Sequence[tuple[int, int]]) -> str:
    """Range entries with their number in front."""
    return f"{len(pairs):012b}" + "".join(f"1{start:016b}{end:016b}" for start, end in pairs)


def ranges(pairs: Sequence[tuple[int, int]]) -> str:
    """A vendor section of ranges."""
    return f"{65_535:016b}1" + entries(pairs)


def tc_string(
    *,
    created: str = "2026-11-10",
    vendor_list: int = 150,
    policy: int = 5,
    service_specific: bool = True,
    purposes: Sequence[int] = (),
    interests: Sequence[int] = (),
    vendors: Sequence[int] = (),
    vendor_interests: Sequence[int] = (),
    disclosed: Sequence[int] | None = (),
    publisher: Sequence[int] | None = None,
    custom: Sequence[int] = (),
    one: bool = False,
    country: str = "DE",
    cmp: int = 300,
    vendor_section: str | None = None,
    restrictions: str = "0" * 12,
) -> str:
    """A TC string of one day. `disclosed` None leaves the part out; `publisher` are the site's own purposes."""
    tenths = (date.fromisoformat(created) - date(1970, 1, 1)).days * 864_000
    letters = [ord(letter) - 65 for letter in country]
    core = (
        f"{2:06b}{tenths:036b}{tenths:036b}{cmp:012b}{1:012b}{1:06b}{4:06b}{13:06b}{vendor_list:012b}{policy:06b}"
        f"{int(service_specific)}0{0:012b}"
        + _bits(purposes, 24)
        + _bits(interests, 24)
        + f"{int(one)}{letters[0]:06b}{letters[1]:06b}"
        + (vendor_section if vendor_section is not None else _field(vendors))
        + _field(vendor_interests)
        + restrictions
    )
    parts = [text_of(core)]
    if disclosed is not None:
        parts.append(text_of("001" + _field(disclosed)))
    if publisher is not None:
        width = max(custom, default=0)
        parts.append(
            text_of("011" + _bits(publisher, 24) + "0" * 24 + f"{width:06b}" + _bits(custom, width) + "0" * width)
        )
    return ".".join(parts)


# ------------------------------------------------------------------ GPP


Section = Mapping[str, int | Sequence[int]]
"""Field to value; for a field of several values one number for all of them, or each."""


def _fibonacci(number: int) -> str:
    weights = [1, 2]
    while weights[-1] <= number:
        weights.append(weights[-1] + weights[-2])
    digits = ""
    for weight in reversed(weights):
        if weight <= number:
            digits, number = "1" + digits, number - weight
        else:
            digits = "0" + digits
    return digits.rstrip("0") + "1"


def _layout(name: str) -> Layout:
    """The newest version of a section."""
    return max((layout for layout in LAYOUTS.values() if layout.name == name), key=lambda layout: layout.version)


def _section(layout: Layout, said: Section) -> str:
    twos = ""
    for field in layout.fields:
        value = said.get(field.name, 0)
        numbers = [value] * (field.stop - field.start) if isinstance(value, int) else list(value)
        assert len(numbers) == field.stop - field.start, field
        if field.start < layout.core:
            twos += "".join(f"{number:02b}" for number in numbers)
    text = text_of(f"{layout.version:06b}" + twos)
    return text + ("." + text_of(f"01{said['Gpc']:b}") if "Gpc" in said else "")


def gpp_string(
    listed: Mapping[str, Section] | None = None, *, tcf: str | None = None, usp: str | None = None, **named: Section
) -> str:
    """A GPP string of US sections by name. `tcf` is a TC string for section 2, `usp` a US Privacy string for section 6."""
    parts = {2: tcf, 6: usp} | {
        _layout(name).number: _section(_layout(name), said) for name, said in {**(listed or {}), **named}.items()
    }
    return gpp_frame({number: text for number, text in parts.items() if text is not None})


def gpp_frame(sections: Mapping[int, str]) -> str:
    """Sections by number as they are, with the header that announces them."""
    header, before = f"{3:06b}{1:06b}{len(sections):012b}", 0
    for number in sorted(sections):
        header, before = f"{header}0{_fibonacci(number - before)}", number
    return "~".join([text_of(header), *(sections[number] for number in sorted(sections))])
