"""The lists of vendors in a Canadian section, which come in two forms, and how to know which one a text is written in.

A list is a highest id and then either ranges or one bit for every id. The ranges are Fibonacci ranges. Libraries before
version 3.2.0 of August 2026 wrote ranges of fixed width instead, and nothing in the string says which. So a part is read
as Fibonacci first, and the reading is believed if a library would write exactly these bits for it again; if not, the same
is asked of the fixed form. Where neither form gives the bits back, because another program wrote them, the one form that
can be read at all counts; where both can be read and say different things, the string is absent: a guess could grant what
nobody granted.

The bits are not really written again. A library has no choice but where a list begins a new range and whether it takes
ranges or bits, so looking at these choices is enough; the tests compare with a real writer.

Source: the older form and the order of the attempts as in npm @iabgpp/cmpapi 3.2.0.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.signals.bits import Broken, Ids
from gateway.signals.fibonacci import ID_MAX, fibonacci_ranges
from gateway.signals.tcf import Bitfield

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.signals.tcf import VendorSet

__all__ = ["RESTRICTIONS_MAX", "Reading", "believed", "core_lists", "fixed_list", "one_list"]

RESTRICTIONS_MAX: Final = 252
"""Restrictions of one string: as many as there are different ones, of purposes 1 to 63 and four types."""


class Reading(msgspec.Struct):
    """Lists of vendors of one part, read in one form.

    `entries` counts range entries. `exact` is False as soon as a library would not write the bits that were read.
    """

    fixed: bool
    lists: "list[VendorSet]"
    restrictions: "list[tuple[int, VendorSet]]"
    left: int
    entries: int = 0
    exact: bool = True

    def count(self, bits: str, at: int) -> int:
        """The count of range entries at a place. Refuses before a single one is read."""
        entries = _number(bits, at, 12)
        self.entries += entries
        if self.entries > self.left:
            raise Broken("too_many_ranges")
        return entries

    def same(self, other: "Reading") -> bool:
        """Whether both forms say the same."""
        return (self.lists, self.restrictions) == (other.lists, other.restrictions)


def believed(bits: str, at: int, walk: "Callable[[str, int, Reading], int]", left: int) -> Reading:
    """Read lists in the form they were written in. `left` is how many range entries the string may still have."""
    current = _attempt(bits, at, walk, Reading(False, [], [], left))
    if isinstance(current, Reading) and current.exact:
        return current
    older = _attempt(bits, at, walk, Reading(True, [], [], left))
    if isinstance(current, Broken):
        if isinstance(older, Broken):
            raise current
        return older
    if isinstance(older, Broken):
        return current
    if older.exact:
        return older
    if not current.same(older):
        raise Broken("ambiguous_ranges")
    return current


def _attempt(bits: str, at: int, walk: "Callable[[str, int, Reading], int]", reading: Reading) -> Reading | Broken:
    try:
        at = walk(bits, at, reading)
        if "1" in bits[at:]:
            raise Broken("trailing_bits")
    except Broken as broken:
        return broken
    return reading


def core_lists(bits: str, at: int, reading: Reading) -> int:
    """Read the lists of the core into a reading: express and implied consent, then the restrictions. Returns the end."""
    at = one_list(bits, at, reading)
    at = one_list(bits, at, reading)
    count = _number(bits, at, 12)
    if count > RESTRICTIONS_MAX:
        raise Broken("too_many_restrictions")
    at += 12
    for _ in range(count):
        key = _number(bits, at, 8)
        if key < 4:
            raise Broken("restriction_purpose")
        at += 8
        # The older form had no choice between ranges and a bitfield here, and so no highest id.
        found, at = fixed_list(bits, at, ID_MAX, reading) if reading.fixed else _list(bits, at, reading)
        reading.restrictions.append((key, found))
    return at


def one_list(bits: str, at: int, reading: Reading) -> int:
    """Read one list into a reading, and return where it ends."""
    found, at = _list(bits, at, reading)
    reading.lists.append(found)
    return at


def _list(bits: str, at: int, reading: Reading) -> "tuple[VendorSet, int]":
    """One list of vendors: the highest id, then a flag, then ranges or one bit for every id."""
    head = _number(bits, at, 17)
    highest = head >> 1
    start = at + 17
    if not head & 1:
        # A bitfield is the same in both forms, so it proves neither.
        field = _number(bits, start, highest) if highest else 0
        return Bitfield(field, highest), start + highest
    if reading.fixed:
        ids, at = fixed_list(bits, start, highest, reading)
    else:
        count = reading.count(bits, start)
        pairs, at = fibonacci_ranges(bits, start + 12, count, highest)
        ids = _neat(pairs)
        if len(pairs) < count:
            reading.exact = False
    # A library takes the last id as the highest, and ranges only where a bitfield would not be shorter.
    if highest != (ids.ends[-1] if ids else 0) or at - start > highest:
        reading.exact = False
    return ids, at


def fixed_list(bits: str, at: int, highest: int, reading: Reading) -> tuple[Ids, int]:
    """Ranges of the older form, and where they end: a flag, then one id of 16 bits or two."""
    count = reading.count(bits, at)
    at += 12
    if len(bits) < at + 17 * count:
        raise Broken("truncated")
    pairs: list[tuple[int, int]] = []
    before = -1
    neat = True
    for _ in range(count):
        if bits[at : at + 1] == "1":
            both = _number(bits, at + 1, 32)
            start, end = both >> 16, both & ID_MAX
            at += 33
            if end == start:
                reading.exact = False
        else:
            start = end = _number(bits, at + 1, 16)
            at += 17
        if not 0 < start <= end <= highest:
            raise Broken("vendor_zero" if not start else "range_reversed" if end < start else "id_too_high")
        if start <= before + 1:
            neat = reading.exact = False
        before = end
        pairs.append((start, end))
    return _neat(pairs) if neat else Ids.of(pairs), at


def _neat(pairs: list[tuple[int, int]]) -> Ids:
    """The set of pairs that are ascending, with a gap between any two."""
    return Ids(*zip(*pairs, strict=True)) if pairs else Ids()


def _number(bits: str, at: int, width: int) -> int:
    field = bits[at : at + width]
    if len(field) < width:
        raise Broken("truncated")
    return int(field, 2)
