"""Shapley models: a channel is worth what it adds, averaged over every order in which the channels could have joined.

Two games go by this name. In the `sum` game a set of channels is worth what paths within it brought; its answer is every
path shared evenly among its different channels, so it learns nothing from paths that did not convert. In the `rate` game,
played once for every set of channels that converted, a set is worth the part of the paths with exactly that set that
converted. What the set brought, conversions and value, is shared out in proportion to the outcome. A channel can lower the
part that converts, and then its credit is negative.

Source: K. Zhao, S. H. Mahboobi, S. R. Bagheri, "Shapley value methods for attribution modeling in online advertising"
(2018) for the sum game; L. S. Shapley, "A value for n-person games" (1953).
"""

from collections.abc import Sequence
from math import comb
from typing import Final, NamedTuple

from gateway.attribution.journeys import Journey, Totals, Work, channels_of

__all__ = ["PLAYERS_MAX", "shapley_rate", "shapley_sum"]

PLAYERS_MAX: Final = 12
"""Channels of one game. Paths with more are credited by the sum game, and the answer says so."""


class _Seen(NamedTuple):
    """Paths with exactly one set of channels."""

    conversions: int
    walks: int
    value: int


def _sets(journeys: Sequence[Journey], numbers: dict[str, int]) -> dict[int, _Seen]:
    """Sets of channels as bits, with what was seen of each."""
    seen: dict[int, _Seen] = {}
    for journey in journeys:
        members = 0
        for channel in journey.path.channels:
            members |= 1 << numbers[channel]
        conversions, walks, value = seen.get(members, (0, 0, 0))
        seen[members] = _Seen(
            conversions + journey.conversions,
            walks + journey.conversions + journey.nulls,
            value + journey.value_minor,
        )
    seen.pop(0, None)
    return seen


def _members(these: int) -> list[int]:
    found = []
    while these:
        lowest = these & -these
        found.append(lowest.bit_length() - 1)
        these ^= lowest
    return found


def shapley_sum(journeys: Sequence[Journey], work: Work) -> Totals:
    """The sum game: every converting path is shared evenly among its different channels."""
    numbers = channels_of(journeys)
    conversions, value = [0.0] * len(numbers), [0.0] * len(numbers)
    for these, seen in _sets(journeys, numbers).items():
        if seen.conversions:
            _share_evenly(these, seen, conversions, value)
    return _totals(numbers, conversions, value)


def shapley_rate(journeys: Sequence[Journey], work: Work) -> Totals:
    """The rate game. Raises TooMuch `too_much_work`."""
    numbers = channels_of(journeys)
    seen = _sets(journeys, numbers)
    rates = {these: one.conversions / one.walks for these, one in seen.items() if one.conversions}
    conversions, value = [0.0] * len(numbers), [0.0] * len(numbers)
    too_large = False
    for these in rates:
        players = _members(these)
        if len(players) > PLAYERS_MAX:
            too_large = True
            _share_evenly(these, seen[these], conversions, value)
            continue
        one = seen[these]
        for player, part in zip(players, _play(these, players, rates, work), strict=True):
            conversions[player] += part * one.conversions
            value[player] += part * one.value
    return _totals(numbers, conversions, value, ("shapley_set_too_large",) if too_large else ())


def _subsets(these: int, rates: dict[int, float], work: Work) -> list[int]:
    """Sets with a rate inside one set, itself among them, by the shorter of two ways to find them."""
    work.spend(min(len(rates), 1 << these.bit_count()))
    if len(rates) <= 1 << these.bit_count():
        return [part for part in rates if not part & ~these]
    parts, part = [], these
    while part:
        if part in rates:
            parts.append(part)
        part = (part - 1) & these
    return parts


def _play(these: int, players: list[int], rates: dict[int, float], work: Work) -> list[float]:
    """Shapley values of one game, as parts of what the set of all its players is worth: they sum to 1."""
    number = len(players)
    values = [0.0] * number
    # Only sets that converted are worth anything: the others drop out of the sum over all subsets.
    parts = _subsets(these, rates, work)
    work.spend(len(parts) * number)
    for part in parts:
        size = part.bit_count()
        # |S|! (n-|S|-1)! / n! as the set that a player joins, and the same as the set with that player in it.
        joined = rates[part] / rates[these] / (size * comb(number, size))
        missed = rates[part] / rates[these] / ((number - size) * comb(number, size)) if size < number else 0.0
        for place, player in enumerate(players):
            values[place] += joined if part >> player & 1 else -missed
    return values


def _share_evenly(these: int, seen: _Seen, conversions: list[float], value: list[float]) -> None:
    players = _members(these)
    for player in players:
        conversions[player] += seen.conversions / len(players)
        value[player] += seen.value / len(players)


def _totals(
    numbers: dict[str, int], conversions: list[float], value: list[float], notes: tuple[str, ...] = ()
) -> Totals:
    return Totals(
        conversions={channel: conversions[number] for channel, number in numbers.items()},
        value={channel: value[number] for channel, number in numbers.items()},
        notes=notes,
    )
