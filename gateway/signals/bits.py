"""Bits: read the base64url text of IAB strings from the front, a field at a time, and say when it ends too early.

A string is one big integer, so that a field is a shift and a mask. Ranges stay intervals and are never spread out into
single ids: a text of 16,000 characters can name 4,000 ranges over 65,535 ids, and time must follow the text.

Source: IAB TCF "Consent string and vendor list formats v2", IAB GPP "Consent String Specification".
"""

from binascii import a2b_base64
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RANGES_MAX", "TEXT_MAX", "BitReader", "Broken", "Ids", "Unreadable", "intervals_text"]

TEXT_MAX: Final = 16_384
"""Characters of a consent string. A longer one is absent, and counted as `too_long`."""
RANGES_MAX: Final = 1_000
"""Range entries of a whole consent string. More, and it is absent, and counted as `too_many_ranges`."""

# From the alphabet of these strings to that of the standard library; what the standard one has on top becomes a letter
# that neither knows.
_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")


class Unreadable(msgspec.Struct, frozen=True):
    """What a decoder answers for text it cannot read. `code` is stable and says why; the text itself is never kept."""

    code: str


class Broken(Exception):
    """Inside a decoder: the text ends here. Never leaves `signals`. `code` becomes Unreadable."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class BitReader:
    """Fields of one base64url text, from its first bit on. Raises Broken `encoding` for a letter outside the alphabet.

    `raw` are the same bits as bytes, the first bit being the highest of the first byte, with at least six zero bytes
    behind them: a loop over many small fields reads a window of bytes there, which costs the same wherever it lies.
    """

    __slots__ = ("_value", "at", "length", "raw")

    def __init__(self, text: str) -> None:
        letters = len(text)
        padding = 8 + -letters % 4
        try:
            raw = a2b_base64(text.encode("ascii").translate(_STANDARD) + b"A" * padding)
        except ValueError:
            raise Broken("encoding") from None
        # A letter outside the alphabet is skipped by the standard library: then bytes are missing.
        if 4 * len(raw) != 3 * (letters + padding) or not text:
            raise Broken("encoding")
        self.raw = raw
        self.length = 6 * letters
        self._value = int.from_bytes(raw) >> 6 * padding
        self.at = 0

    def take(self, width: int) -> int:
        """The next field as an unsigned integer. Raises Broken `truncated`: missing bits are never a yes."""
        end = self.at + width
        if end > self.length:
            raise Broken("truncated")
        self.at = end
        return (self._value >> (self.length - end)) & ((1 << width) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.take(1) == 1

    @property
    def left(self) -> int:
        """Bits that were not read yet."""
        return self.length - self.at


class Ids(msgspec.Struct, frozen=True):
    """A set of positive ids as merged, sorted intervals, both ends included."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.starts, number) - 1
        return place >= 0 and number <= self.ends[place]

    def __bool__(self) -> bool:
        return bool(self.starts)

    @staticmethod
    def of(pairs: "Iterable[tuple[int, int]]") -> "Ids":
        """Merge pairs in any order; overlaps and neighbours become one interval."""
        starts: list[int] = []
        ends: list[int] = []
        for start, end in sorted(pairs):
            if ends and start <= ends[-1] + 1:
                if end > ends[-1]:
                    ends[-1] = end
            else:
                starts.append(start)
                ends.append(end)
        return Ids(tuple(starts), tuple(ends))

    @staticmethod
    def of_bitfield(field: int, width: int) -> "Ids":
        """Ids 1 to `width`, the highest bit first, as bitfields of these strings are written."""
        pairs: list[tuple[int, int]] = []
        text = f"{field:0{width}b}" if width else ""
        at = text.find("1")
        while at >= 0:
            end = text.find("0", at)
            if end < 0:
                end = width
            pairs.append((at + 1, end))
            at = text.find("1", end)
        return Ids(tuple(start for start, _ in pairs), tuple(end for _, end in pairs))


def intervals_text(ids: Ids) -> str:
    """The set as people read it: `1-5,8`, empty for nobody."""
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(ids.starts, ids.ends, strict=True))
