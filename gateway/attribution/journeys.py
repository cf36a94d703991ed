"""Journeys: the words that models share. A path of touches, a row of equal paths, and credit per channel.

Credit of one conversion is a tuple of exact fractions, one for each touch, that sum to 1. Credit per channel over many
conversions is a float: sums of fractions with unlike denominators grow without bound, and the error of a rounded sum is
a billionth of a cent. Money stays a fraction of minor units until it is shown or paid.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import msgspec

__all__ = [
    "DIRECT",
    "FAULTS",
    "NOTES",
    "PATH_MAX",
    "WORK_MAX",
    "Journey",
    "Shares",
    "TooMuch",
    "Totals",
    "TouchPath",
    "Work",
    "channels_of",
]

DIRECT: Final = "direct"
"""The reserved channel of direct visits. Channels are case-sensitive and kept byte for byte."""

PATH_MAX: Final = 500
"""Touches in one path. Of a longer one the first and the newest stay: every model leans on those."""

WORK_MAX: Final = 200_000_000
"""Steps one Markov or Shapley computation may take, about twenty seconds; a step is one edge or one set looked at."""

FAULTS: Final[dict[str, str]] = {
    "too_much_work": "These journeys have so many channels and different paths that the model would take too long. "
    "Group channels, or choose a lower order.",
}
"""Why a model did not answer. A code never changes its meaning."""

NOTES: Final[dict[str, str]] = {
    "shapley_set_too_large": "Paths with more than 12 different channels were credited by shapley_sum.",
    "no_nulls": "No path without a conversion is among the journeys: a model that compares the two has nothing to compare.",
    "few_conversions": "Fewer than 300 conversions: this model is unstable with so few.",
    "negative_credit": "A negative credit means that paths with this channel convert less often than paths without it.",
}
"""What must be known to read an answer rightly."""

Shares = tuple[Fraction, ...]
"""Credit of the touches of one path, oldest first. Sums to 1 exactly."""


class TooMuch(Exception):
    """The work asked for is over its bound. `code` is a key of FAULTS."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Work:
    """A bound on work that is counted, not timed, so that the same journeys always get the same answer."""

    __slots__ = ("left",)

    def __init__(self, steps: int = WORK_MAX) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps from what is left. Raises TooMuch `too_much_work`."""
        self.left -= steps
        if self.left < 0:
            raise TooMuch("too_much_work")


class TouchPath(msgspec.Struct, frozen=True):
    """The touches that may earn one conversion, oldest first.

    `ages_ms` are milliseconds between touch and conversion. `lead_age_ms` and `opportunity_age_ms` say how long before
    the conversion the person became a lead and an opportunity, None when that is not known.
    """

    channels: tuple[str, ...]
    ages_ms: tuple[int, ...]
    lead_age_ms: int | None = None
    opportunity_age_ms: int | None = None

    def __len__(self) -> int:
        return len(self.channels)

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.ages_ms):
            raise ValueError("a path has one age for each channel")


class Journey(msgspec.Struct, frozen=True):
    """A row of equal paths: how many of them ended in a conversion, how many did not (`nulls`).

    `value_minor` is the value of its conversions together. Equal paths may come in several rows.
    """

    path: TouchPath
    conversions: int = 1
    nulls: int = 0
    value_minor: int = 0


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What a model makes of many journeys. Every channel that occurs has a key, in order of its first touch.

    `conversions` and `value` (fractions of minor units) sum to those of the journeys less the unattributed ones, whose
    path is empty. `removal_effect` is what Markov models say; `notes` are keys of NOTES that explain the numbers.
    """

    conversions: dict[str, float]
    value: dict[str, float]
    removal_effect: dict[str, float] | None = None
    notes: tuple[str, ...] = ()


def channels_of(journeys: Sequence[Journey]) -> dict[str, int]:
    """Every channel of the journeys with its number, in order of its first touch."""
    numbers: dict[str, int] = {}
    for journey in journeys:
        for channel in journey.path.channels:
            if channel not in numbers:
                numbers[channel] = len(numbers)
    return numbers


def unattributed(journeys: Sequence[Journey]) -> tuple[int, int]:
    """Conversions without any touch, and their value in minor units: credit to nobody."""
    nobodys = [journey for journey in journeys if not journey.path.channels]
    return sum([journey.conversions for journey in nobodys]), sum([journey.value_minor for journey in nobodys])
