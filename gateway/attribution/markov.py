"""Markov models: a channel is worth what is lost when every walk through it ends for nothing.

The journeys are read as a chain. A state is a window of `order` consecutive channels; a shorter path is one state; equal
states that follow each other are one. A walk begins at the first state of a path and ends in a conversion or without one,
each as often as observed. Taking a channel out ends every walk that enters a state with that channel. Its removal effect
is the part of all conversions (for value: of their value) that is lost then; credit is shared in proportion.

This is the model of D. Altomare's and D. Loris's ChannelAttribution, solved instead of simulated.

Source: E. Anderl, I. Becker, F. v. Wangenheim, J. H. Schumann, "Mapping the customer journey: a graph-based framework for
online attribution modeling" (2014).
"""

from collections.abc import Callable, Sequence
from math import fsum

from gateway.attribution.journeys import Journey, Totals, Work, channels_of
from gateway.attribution.walks import Chain, ends_without_each

__all__ = ["chain_of", "markov", "markov_per_journey", "path_weights", "removal_effects"]

_States = dict[tuple[str, ...], int]


def _windows(channels: tuple[str, ...], order: int) -> list[tuple[str, ...]]:
    if len(channels) <= order:
        return [channels]
    return list(zip(*[channels[shift:] for shift in range(order)], strict=False))


def chain_of(journeys: Sequence[Journey], order: int) -> tuple[Chain, _States]:
    """Count the chain of some journeys. Answers it with the number of every state.

    Rows that nobody walked and empty paths are left out. Raises ValueError for an order below 1.
    """
    if order < 1:
        raise ValueError("the order of a chain is at least 1")
    numbers: _States = {}
    chain = Chain([], [], [], [], [])
    for journey in journeys:
        walks = journey.conversions + journey.nulls
        if not walks or not journey.path.channels:
            continue
        before = -1
        for window in _windows(journey.path.channels, order):
            state = numbers.setdefault(window, len(numbers))
            if state == len(chain.passing):
                chain.starts.append(0)
                chain.edges.append({})
                chain.passing.append(0)
                chain.converted.append(0)
                chain.value.append(0)
            if state == before:
                continue
            if before < 0:
                chain.starts[state] += walks
            else:
                chain.edges[before][state] = chain.edges[before].get(state, 0) + walks
            chain.passing[state] += walks
            before = state
        chain.converted[before] += journey.conversions
        chain.value[before] += journey.value_minor
    return chain, numbers


def removal_effects(journeys: Sequence[Journey], order: int, work: Work) -> tuple[dict[str, float], dict[str, float]]:
    """Removal effects of every channel, on conversions and on value: 0 is no loss, 1 is everything.

    All of them are 0 where there is nothing to lose. Raises TooMuch `too_much_work`.
    """
    channels = channels_of(journeys)
    chain, numbers = chain_of(journeys, order)
    work.spend(sum(map(len, chain.edges)))
    holding: dict[str, set[int]] = {channel: set() for channel in channels}
    for window, state in numbers.items():
        for channel in window:
            holding[channel].add(state)
    # Walks of the whole chain end as often as was observed: what flows into a state flows out of it.
    conversions, value = sum(chain.converted), sum(chain.value)
    if not conversions:
        return dict.fromkeys(channels, 0.0), dict.fromkeys(channels, 0.0)
    ends = dict(zip(channels, ends_without_each(chain, list(holding.values()), work), strict=True))
    of_conversions = {channel: 1 - left.conversions / conversions for channel, left in ends.items()}
    of_value = {channel: 1 - left.value / value if value else 0.0 for channel, left in ends.items()}
    return of_conversions, of_value


def markov(order: int) -> Callable[[Sequence[Journey], Work], Totals]:
    """The removal-effect model of one order."""

    def credit(journeys: Sequence[Journey], work: Work) -> Totals:
        of_conversions, of_value = removal_effects(journeys, order, work)
        with_touches = [journey for journey in journeys if journey.path.channels]
        return Totals(
            conversions=_in_proportion(of_conversions, sum([journey.conversions for journey in with_touches])),
            value=_in_proportion(of_value, sum([journey.value_minor for journey in with_touches])),
            removal_effect=of_conversions,
        )

    return credit


def _in_proportion(effects: dict[str, float], amount: int) -> dict[str, float]:
    whole = fsum(effects.values())
    return {channel: effect / whole * amount if whole else 0.0 for channel, effect in effects.items()}


def path_weights(channels: tuple[str, ...], effects: dict[str, float]) -> list[float]:
    """Weight of each touch of one path by the removal effect of its channel; they sum to 1.

    A path of channels that lose nothing is shared evenly.
    """
    found = [effects.get(channel, 0.0) for channel in channels]
    whole = fsum(found)
    return [effect / whole for effect in found] if whole > 0 else [1 / len(channels)] * len(channels)


def markov_per_journey(journeys: Sequence[Journey], work: Work) -> Totals:
    """Removal effects of order 1, used as weights inside every converting path: for credit order by order.

    Its sums per channel differ from those of the plain model.
    """
    effects, _ = removal_effects(journeys, 1, work)
    conversions: dict[str, list[float]] = {channel: [] for channel in effects}
    value: dict[str, list[float]] = {channel: [] for channel in effects}
    for journey in journeys:
        if journey.conversions and journey.path.channels:
            weights = path_weights(journey.path.channels, effects)
            for channel, weight in zip(journey.path.channels, weights, strict=True):
                conversions[channel].append(weight * journey.conversions)
                value[channel].append(weight * journey.value_minor)
    return Totals(
        conversions={channel: fsum(parts) for channel, parts in conversions.items()},
        value={channel: fsum(parts) for channel, parts in value.items()},
        removal_effect=effects,
    )
