"""Splitting: shares of an amount as whole minor units that sum to the amount.

Largest remainder: every part is cut down to a whole number, and the units left over go one by one to the parts that lost
most, the earlier part first where two lost the same. Shares are rationals; nothing passes through binary floats.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

__all__ = ["round_parts", "split_minor"]


def round_parts(parts: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers next to `parts` that sum to `total`. Parts may be negative.

    The parts sum to the total but for the error of rounded sums; ValueError is raised when they do not.
    """
    whole = [floor(part) for part in parts]
    left_over = total - sum(whole)
    if not 0 <= left_over <= len(parts):
        raise ValueError("the parts do not sum to the total")
    # Sorting is stable: the earlier of two equal remainders stays in front.
    for place in sorted(range(len(parts)), key=lambda index: whole[index] - parts[index])[:left_over]:
        whole[place] += 1
    return whole


def split_minor(amount_minor: int, weights: Sequence[Fraction]) -> list[int]:
    """Split an amount in minor units by weights, oldest touch first. The parts sum to the amount.

    A negative amount, such as a refund, is split like its opposite. Raises ValueError when a weight is negative or all
    of them are zero.
    """
    whole = sum(weights, Fraction(0))
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights are not negative, and not all of them are zero")
    parts = round_parts([abs(amount_minor) * weight / whole for weight in weights], abs(amount_minor))
    return parts if amount_minor >= 0 else [-part for part in parts]
