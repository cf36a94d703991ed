"""TC strings on the wire: what one holds, and how it is read from its bits.

A string has up to four parts that are joined by dots: the core, the disclosed vendors, the publisher's own purposes and
a dead one. Reading them takes two walks. The first one only looks where everything lies, and ends as soon as something
is missing or too much is asked for; the second one reads the vendor ranges. So a string that is over a cap costs next to
nothing, and missing bits are never consent.

Source: IAB Europe and IAB Tech Lab, "Consent string and vendor list formats v2" (TCF 2.2 and 2.3), state of 2026-02-26.
"""

from typing import Final

import msgspec

from gateway.signals.bits import RANGES_MAX, BitReader, Broken, Ids

__all__ = ["RESTRICTIONS_MAX", "SEGMENTS_MAX", "Bitfield", "Publisher", "Restriction", "TcString", "VendorSet", "read"]

SEGMENTS_MAX: Final = 6
"""Parts of one string. More, and it is absent, and counted as `too_many_segments`."""
RESTRICTIONS_MAX: Final = 252
"""Restriction entries of one string: as many as there are different ones. More, and it is absent, and counted as
`too_many_restrictions`."""

# Types of the parts behind the core, which has type 0. Higher ones are unknown, and ignored.
_DISCLOSED: Final = 1
_ALLOWED: Final = 2
_PUBLISHER: Final = 3

_HEADER_BITS: Final = 207  # From Created to PublisherCC, behind the six bits of the version.
_12: Final = 0xFFF
_24: Final = 0xFFFFFF
_36: Final = 0xFFFFFFFFF
_ID_MAX: Final = 0xFFFF
_BIT: Final = (128, 64, 32, 16, 8, 4, 2, 1)


class Bitfield(msgspec.Struct, frozen=True):
    """Ids 1 to `width`, the highest bit first, left as they came: asking for one costs a shift, spelling all out more."""

    bits: int
    width: int

    def __contains__(self, number: int) -> bool:
        return number <= self.width and bool(self.bits >> (self.width - number) & 1)

    def __bool__(self) -> bool:
        return self.bits != 0

    def numbers(self) -> list[int]:
        """The ids, in order."""
        if not self.bits:
            return []
        return [number for number, bit in enumerate(f"{self.bits:0{self.width}b}", 1) if bit == "1"]


VendorSet = Bitfield | Ids
"""Vendors as the string wrote them. Both kinds answer `number in vendors`."""


class Restriction(msgspec.Struct, frozen=True):
    """What the publisher forbids some vendors for one purpose: 0 all, 1 all but consent, 2 all but legitimate interest.

    Type 3 has no meaning in the format and is read as 0.
    """

    purpose: int
    kind: int
    vendors: Ids


class Publisher(msgspec.Struct, frozen=True):
    """What was chosen for the site owner itself, who is no vendor. Custom purposes are numbered from 1 by the site."""

    consents: Bitfield
    legitimate_interests: Bitfield
    custom_consents: Bitfield
    custom_legitimate_interests: Bitfield


class TcString(msgspec.Struct, frozen=True, kw_only=True):
    """One TC string, version 2.

    Times are milliseconds UTC with day precision. `consent_language` and `publisher_country` are two capital letters,
    None when the string holds no letters. `disclosed_vendors`, `allowed_vendors` and `publisher` are None when the string
    has no such part; `allowed_vendors` means nothing since 2021 and is kept for people only. `restrictions` has each
    purpose and type once, in that order.
    """

    created_ms: int
    last_updated_ms: int
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str | None
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    uses_non_standard_texts: bool
    special_feature_opt_ins: Bitfield
    purpose_consents: Bitfield
    purpose_legitimate_interests: Bitfield
    purpose_one_treatment: bool
    publisher_country: str | None
    vendor_consents: VendorSet
    vendor_legitimate_interests: VendorSet
    restrictions: tuple[Restriction, ...] = ()
    disclosed_vendors: VendorSet | None = None
    allowed_vendors: VendorSet | None = None
    publisher: Publisher | None = None

    def restriction(self, vendor: int, purpose: int) -> int | None:
        """Type of the strictest restriction on a vendor's purpose, None when there is none."""
        for one in self.restrictions:
            if one.purpose == purpose and vendor in one.vendors:
                return one.kind
        return None


# ------------------------------------------------------------------ reading

# Where a list of range entries lies: its bytes, its first bit there, how many entries, the highest id they may name.
_Ranges = tuple[bytes, int, int, int]
_Found = Bitfield | _Ranges


class _Entries:
    """The first walk over range entries: finds where each list ends, and how many the string may still ask for."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = RANGES_MAX

    def skip(self, reader: BitReader, at: int, count: int) -> int:
        """Pass over `count` entries that begin at bit `at`, and tell the bit behind them."""
        self.left -= count
        if self.left < 0:
            raise Broken("too_many_ranges")
        raw = reader.raw
        try:
            # The first bit of an entry says whether it is two ids long or one.
            for _ in range(count):
                at += 33 if raw[at >> 3] & _BIT[at & 7] else 17
        except IndexError:
            raise Broken("truncated") from None
        if at > reader.length:
            raise Broken("truncated")
        return at


def read(text: str) -> TcString:
    """Read a text of at most TEXT_MAX characters. Raises Broken with a code of `tcf.decode()`."""
    if not text:
        raise Broken("empty")
    core, *others = _segments(text)
    entries = _Entries()

    header = core.take(_HEADER_BITS)
    cmp_id = header >> 123 & _12
    if cmp_id < 2:
        raise Broken("cmp_id")
    consents = _find_vendors(core, entries)
    interests = _find_vendors(core, entries)
    restrictions = _find_restrictions(core, entries)

    disclosed: _Found | None = None
    allowed: _Found | None = None
    publisher: Publisher | None = None
    seen = 1  # The core has type 0.
    for segment in others:
        kind = segment.take(3)
        if kind > _PUBLISHER:
            continue
        if seen >> kind & 1:
            raise Broken("repeated_segment")
        seen |= 1 << kind
        if kind == _DISCLOSED:
            disclosed = _find_vendors(segment, entries)
        elif kind == _ALLOWED:
            allowed = _find_vendors(segment, entries)
        else:
            publisher = _publisher(segment)

    return TcString(
        created_ms=(header >> 171) * 100,
        last_updated_ms=(header >> 135 & _36) * 100,
        cmp_id=cmp_id,
        cmp_version=header >> 111 & _12,
        consent_screen=header >> 105 & 63,
        consent_language=_letters(header >> 93 & _12),
        vendor_list_version=header >> 81 & _12,
        policy_version=header >> 75 & 63,
        is_service_specific=header >> 74 & 1 == 1,
        uses_non_standard_texts=header >> 73 & 1 == 1,
        special_feature_opt_ins=Bitfield(header >> 61 & _12, 12),
        purpose_consents=Bitfield(header >> 37 & _24, 24),
        purpose_legitimate_interests=Bitfield(header >> 13 & _24, 24),
        purpose_one_treatment=header >> 12 & 1 == 1,
        publisher_country=_letters(header & _12),
        vendor_consents=_vendors(consents),
        vendor_legitimate_interests=_vendors(interests),
        restrictions=_restrictions(restrictions) if restrictions else (),
        disclosed_vendors=None if disclosed is None else _vendors(disclosed),
        allowed_vendors=None if allowed is None else _vendors(allowed),
        publisher=publisher,
    )


def _segments(text: str) -> list[BitReader]:
    parts = text.split(".", SEGMENTS_MAX)
    if len(parts) > SEGMENTS_MAX:
        raise Broken("too_many_segments")
    if "" in parts:
        raise Broken("empty_segment")
    readers = [BitReader(part) for part in parts]
    version = readers[0].take(6)
    if version != 2:
        # The first three bits of any other part are its type, 1 to 3.
        raise Broken("core_missing" if 8 <= version < 32 else "version")
    return readers


def _letters(pair: int) -> str | None:
    first, second = _LETTERS[pair >> 6], _LETTERS[pair & 63]
    return first + second if first and second else None


# Some writers take the letters from lower-case ASCII and so write 32 too much; nothing else can be meant by these.
_LETTERS: Final = tuple(chr(65 + n % 32) if n % 32 < 26 else "" for n in range(64))


def _find_vendors(reader: BitReader, entries: _Entries) -> _Found:
    start = reader.take(17)
    highest = start >> 1
    if start & 1:
        count = reader.take(12)
        at = reader.at
        reader.at = entries.skip(reader, at, count)
        return reader.raw, at, count, highest
    return Bitfield(reader.take(highest), highest)


def _vendors(found: _Found) -> VendorSet:
    return found if isinstance(found, Bitfield) else Ids.of(_pairs(found))


def _find_restrictions(reader: BitReader, entries: _Entries) -> list[tuple[int, _Ranges]]:
    count = reader.take(12)
    if count > RESTRICTIONS_MAX:
        raise Broken("too_many_restrictions")
    raw, at, last = reader.raw, reader.at, reader.length - 20
    found = []
    for _ in range(count):
        if at > last:
            raise Broken("truncated")
        byte = at >> 3
        head = int.from_bytes(raw[byte : byte + 4]) >> (12 - (at & 7))
        at += 20
        found.append((head >> 12 & 0xFF, (raw, at, head & _12, _ID_MAX)))
        at = entries.skip(reader, at, head & _12)
    reader.at = at
    return found


def _restrictions(found: list[tuple[int, _Ranges]]) -> tuple[Restriction, ...]:
    pairs: dict[int, list[tuple[int, int]]] = {}
    for key, ranges in found:
        if key < 4:
            raise Broken("restriction_purpose")
        if key & 3 == 3:
            key -= 3
        pairs.setdefault(key, []).extend(_pairs(ranges))
    return tuple([Restriction(key >> 2, key & 3, Ids.of(pairs[key])) for key in sorted(pairs)])


def _pairs(ranges: _Ranges) -> list[tuple[int, int]]:
    raw, at, count, highest = ranges
    pairs = []
    for _ in range(count):
        # An entry is 33 bits at most: five bytes hold it, at whichever bit it begins.
        byte = at >> 3
        window = int.from_bytes(raw[byte : byte + 5]) >> (7 - (at & 7))
        start = window >> 16 & _ID_MAX
        if window & 0x100000000:
            end = window & _ID_MAX
            at += 33
        else:
            end = start
            at += 17
        if not 0 < start <= end <= highest:
            raise Broken("vendor_zero" if not start else "range_reversed" if end < start else "vendor_beyond_maximum")
        pairs.append((start, end))
    return pairs


def _publisher(reader: BitReader) -> Publisher:
    consents = reader.take(24)
    interests = reader.take(24)
    custom = reader.take(6)
    return Publisher(
        Bitfield(consents, 24),
        Bitfield(interests, 24),
        Bitfield(reader.take(custom), custom),
        Bitfield(reader.take(custom), custom),
    )
