"""Significance: whether two variants convert differently, or chance explains what was seen.

The test is the two-proportion z test with a pooled rate, two-sided. It rests on counts that are large enough to be nearly
normal, so nothing is said of variants with fewer than 100 conversions; and it takes each click as one trial, so nothing is
said where conversions outnumber clicks. Looking again and again until a difference appears makes one appear: decide on the
length of a test before it begins.

Source: NIST/SEMATECH e-Handbook of Statistical Methods, 7.3.3 (comparing two proportions).
"""

from fractions import Fraction
from math import erfc, sqrt
from typing import Final

import msgspec

__all__ = ["CONVERSIONS_MIN", "DIFFERENT_BELOW", "VERDICTS", "Arm", "Comparison", "compare"]

CONVERSIONS_MIN: Final = 100
"""Conversions each variant needs before anything is said."""

DIFFERENT_BELOW: Final = 0.05
"""Two variants are called different when chance alone would show such a gap less often than this."""

VERDICTS: Final[dict[str, str]] = {
    "too_few": "Too few to tell: each variant needs at least 100 conversions.",
    "not_comparable": "Not comparable: there are more conversions than clicks, so a click is not one trial.",
    "not_different": "Chance explains the difference: at this size it would appear by luck in more than 5 of 100 tests.",
    "different": "The difference is unlikely to be chance: by luck it would appear in fewer than 5 of 100 tests.",
}
"""What a comparison says: stable codes and their sentences."""


class Arm(msgspec.Struct, frozen=True):
    """One variant: its clicks, and the conversions they earned (a sum of shares)."""

    clicks: int
    conversions: Fraction


class Comparison(msgspec.Struct, frozen=True):
    """What a comparison found. `verdict` is a key of VERDICTS; `z` and `p_value` are None where nothing is said.

    `z` is positive when the second variant converts better.
    """

    verdict: str
    z: float | None = None
    p_value: float | None = None


def compare(first: Arm, second: Arm) -> Comparison:
    """Compare the conversion rates of two variants."""
    if min(first.conversions, second.conversions) < CONVERSIONS_MIN:
        return Comparison("too_few")
    if first.conversions > first.clicks or second.conversions > second.clicks:
        return Comparison("not_comparable")
    pooled = float((first.conversions + second.conversions) / (first.clicks + second.clicks))
    spread = sqrt(pooled * (1 - pooled) * (1 / first.clicks + 1 / second.clicks))
    gap = float(second.conversions / second.clicks - first.conversions / first.clicks)
    # Without spread both convert every click: there is no gap either.
    z = gap / spread if spread else 0.0
    p_value = erfc(abs(z) / sqrt(2))
    return Comparison("different" if p_value < DIFFERENT_BELOW else "not_different", z, p_value)
