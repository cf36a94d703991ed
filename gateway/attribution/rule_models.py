"""Rule models: the credit of each touch follows from its place or its age in its own path alone.

A channel that occurs twice is two touches. Each function takes one path and answers one exact fraction for each touch,
summing to 1; an empty path has nobody to credit and answers nothing.

Source: Google Ads API reference, AttributionModelEnum (time decay with a half-life of a week, position based 40/20/40);
Google Analytics Admin API, last click across channels (direct visits get credit only when there is nothing else).
"""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import ldexp
from typing import Final

from gateway.attribution.journeys import DIRECT, Shares, TouchPath
from gateway.times import DAY_MS

__all__ = [
    "HALF_LIFE_MS", "first_click", "last_click", "last_non_direct", "linear", "linear_unique", "position", "time_decay",
]  # fmt: skip

HALF_LIFE_MS: Final = 7 * DAY_MS
"""A touch this much older than the youngest gets half of its credit."""

_SCALE: Final = 64
"""Bits of a time-decay weight: weights become integers, so that their shares sum to 1 exactly."""

_ONE: Final = Fraction(1)
_NONE: Final = Fraction(0)


@lru_cache(maxsize=2_048)
def _all_to(place: int, touches: int) -> Shares:
    """All credit to one place of a path."""
    return tuple([_ONE if index == place else _NONE for index in range(touches)])


def first_click(path: TouchPath) -> Shares:
    """All credit to the oldest touch."""
    return _all_to(0, len(path))


def last_click(path: TouchPath) -> Shares:
    """All credit to the newest touch."""
    return _all_to(len(path) - 1, len(path))


def last_non_direct(path: TouchPath) -> Shares:
    """All credit to the newest touch that is not a direct visit; to the newest of all when there is no other."""
    newest = len(path) - 1
    place = next((index for index in range(newest, -1, -1) if path.channels[index] != DIRECT), newest)
    return _all_to(place, len(path))


def linear(path: TouchPath) -> Shares:
    """The same credit to every touch."""
    return _evenly(len(path))


@lru_cache(maxsize=2_048)
def _evenly(touches: int) -> Shares:
    return (Fraction(1, touches),) * touches if touches else ()


def linear_unique(path: TouchPath) -> Shares:
    """The same credit to every different channel, spread evenly over that channel's touches."""
    times = Counter(path.channels)
    each = {channel: Fraction(1, len(times) * count) for channel, count in times.items()}
    return tuple([each[channel] for channel in path.channels])


def time_decay(half_life_ms: int = HALF_LIFE_MS) -> Callable[[TouchPath], Shares]:
    """Credit that halves with every half-life of age. Ages are taken as they are, not rounded to days.

    Only differences of age matter. Weights are counted from the youngest touch, so that very old paths do not vanish.
    """
    if half_life_ms <= 0:
        raise ValueError("a half-life is longer than nothing")

    def shares(path: TouchPath) -> Shares:
        youngest = min(path.ages_ms, default=0)
        weights = [int(ldexp(2.0 ** ((youngest - age) / half_life_ms), _SCALE)) for age in path.ages_ms]
        whole = sum(weights)
        return tuple([Fraction(weight, whole) for weight in weights])

    return shares


def position(first: Fraction, middle: Fraction, last: Fraction) -> Callable[[TouchPath], Shares]:
    """Fixed shares for the first and the last touch; what is left is spread evenly over those between.

    Without touches between, their share is halved between first and last. Raises ValueError unless the three sum to 1.
    """
    if first + middle + last != 1 or min(first, middle, last) < 0:
        raise ValueError("the three shares sum to 1")

    @lru_cache(maxsize=2_048)
    def by_length(touches: int) -> Shares:
        if touches < 2:
            return (_ONE,) * touches
        if touches == 2:
            return (first + middle / 2, last + middle / 2)
        return (first, *(middle / (touches - 2),) * (touches - 2), last)

    def shares(path: TouchPath) -> Shares:
        return by_length(len(path))

    return shares
