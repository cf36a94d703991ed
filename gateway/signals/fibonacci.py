"""Fibonacci ranges: the lists of ids in the header of a GPP string and in its Canadian section.

A number is written as a sum of 1, 2, 3, 5, 8 ..., lowest first, one bit per weight, never two ones side by side; a second
one in a row ends it: 1 is `11`, 2 is `011`, 4 is `1011`. A list of ids is ascending, so each item only says how far it
lies behind the one before: `0` and a distance for one id, `1`, a distance and a length for several in a row.

Nothing is spread out into single ids, and every number is two look-ups, so time follows the count of items.

Source: IAB GPP "Consent String Specification", section encoding, Range (Fibonacci); read 2026-11.
"""

from typing import TYPE_CHECKING, Final

from gateway.signals.bits import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ID_MAX", "fibonacci_ranges"]

ID_MAX: Final = 65_535
"""The highest id any list may name. The weights below reach a little further."""

_WEIGHTS: Final = (
    *(1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233),
    *(377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711, 28657, 46368),
)
_LONGEST: Final = len(_WEIGHTS) + 1
"""Bits of the longest number that is looked for, with the bit that closes it."""
_HALF: Final = 12
"""Bits of a number that are looked up at once."""


def _patterns(width: int) -> "Iterator[str]":
    """Every text of `width` bits without two ones side by side."""
    if not width:
        yield ""
        return
    for shorter in _patterns(width - 1):
        yield shorter + "0"
        if not shorter.endswith("1"):
            yield shorter + "1"


def _sum(pattern: str, first: int) -> int:
    return sum(_WEIGHTS[first + place] for place, bit in enumerate(pattern) if bit == "1")


# Numbers without their closing bit. Together they hold about a thousand short texts.
_WHOLE: Final = {
    pattern: _sum(pattern, 0) for width in range(1, _HALF + 1) for pattern in _patterns(width) if pattern.endswith("1")
}
_FRONT: Final = {pattern: _sum(pattern, 0) for pattern in _patterns(_HALF)}
_BACK: Final = {
    pattern: _sum(pattern, _HALF)
    for width in range(1, len(_WEIGHTS) - _HALF + 1)
    for pattern in _patterns(width)
    if pattern.endswith("1")
}


def fibonacci_ranges(bits: str, at: int, count: int, highest: int) -> tuple[list[tuple[int, int]], int]:
    """Read `count` items of a list from `bits` (a text of `0` and `1`), from place `at` on.

    Returns the ids as ascending pairs of first and last, and the place behind the last item. Items that follow each other
    without a gap become one pair. Raises Broken `truncated` where the bits end too early and `id_too_high` for an id above
    `highest`.
    """
    pairs: list[tuple[int, int]] = []
    last = 0
    begin = at
    try:
        for _ in range(count):
            # The flag stands at `at`; if the text ends before it, no number is found behind it either.
            begin = at + 1
            closing = bits.find("11", begin, begin + _LONGEST)
            number = bits[begin : closing + 1]
            distance = _WHOLE.get(number) or _FRONT[number[:_HALF]] + _BACK[number[_HALF:]]
            start = last + distance
            if bits[at] == "1":
                begin = closing + 2
                closing = bits.find("11", begin, begin + _LONGEST)
                number = bits[begin : closing + 1]
                last = start + (_WHOLE.get(number) or _FRONT[number[:_HALF]] + _BACK[number[_HALF:]])
            else:
                last = start
            if last > highest:
                raise Broken("id_too_high")
            if distance == 1 and pairs:
                pairs[-1] = (pairs[-1][0], last)
            else:
                pairs.append((start, last))
            at = closing + 2
    except KeyError:
        # No number closes within the longest there is: the text is over, or the number is higher than any id.
        raise Broken("truncated" if begin + _LONGEST > len(bits) else "id_too_high") from None
    return pairs, at
