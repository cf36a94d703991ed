"""Registry: every attribution model by its id.

A rule model credits the touches of one path; `shares` does that for one conversion. Every model credits channels over many
journeys; `credit` does that. The version of a model changes when the same journeys would get another answer, so that a
stored credit says by which rules it was made.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import fsum
from typing import Final

import msgspec

from gateway.attribution.journeys import Journey, Shares, Totals, TouchPath, Work, channels_of
from gateway.attribution.markov import markov, markov_per_journey
from gateway.attribution.milestones import full_path, u_shaped, w_shaped
from gateway.attribution.rule_models import (
    first_click,
    last_click,
    last_non_direct,
    linear,
    linear_unique,
    position,
    time_decay,
)
from gateway.attribution.shapley import shapley_rate, shapley_sum

__all__ = ["MODELS", "Model", "cautions", "model_of"]

FEW_CONVERSIONS: Final = 300


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `shares` is None where a path alone does not decide; `milestones`: it looks at lead and opportunity.

    `compares`: it learns from paths that did not convert, so they must be among the journeys.
    """

    id: str
    version: int
    title: str
    credit: Callable[[Sequence[Journey], Work], Totals]
    shares: Callable[[TouchPath], Shares] | None = None
    milestones: bool = False
    compares: bool = False


def _by_path(
    model_id: str, title: str, shares: Callable[[TouchPath], Shares], *, version: int = 1, milestones: bool = False
) -> Model:
    """Make a model of many journeys from the rule for one path."""

    def credit(journeys: Sequence[Journey], work: Work) -> Totals:
        conversions: dict[str, list[float]] = {channel: [] for channel in channels_of(journeys)}
        value: dict[str, list[float]] = {channel: [] for channel in conversions}
        for journey in journeys:
            if not journey.conversions:
                continue
            for channel, share in zip(journey.path.channels, shares(journey.path), strict=True):
                if share:
                    part = float(share)
                    conversions[channel].append(part * journey.conversions)
                    value[channel].append(part * journey.value_minor)
        return Totals(
            conversions={channel: fsum(parts) for channel, parts in conversions.items()},
            value={channel: fsum(parts) for channel, parts in value.items()},
        )

    return Model(id=model_id, version=version, title=title, credit=credit, shares=shares, milestones=milestones)


def _position(first: int, middle: int, last: int) -> Model:
    shares = position(Fraction(first, 100), Fraction(middle, 100), Fraction(last, 100))
    return _by_path(f"position_{first}_{middle}_{last}", f"Position based {first}/{middle}/{last}", shares)


_LIST: Final = (
    _by_path("first_click", "First click", first_click),
    _by_path("last_click", "Last click", last_click),
    _by_path("last_non_direct", "Last click that is not direct", last_non_direct),
    _by_path("linear", "Linear", linear),
    _by_path("linear_unique", "Linear over different channels", linear_unique),
    _by_path("time_decay", "Time decay, half-life 7 days", time_decay()),
    _position(40, 20, 40),
    _position(20, 20, 60),
    Model(id="markov_k1", version=1, title="Markov, order 1", credit=markov(1), compares=True),
    Model(id="markov_k2", version=1, title="Markov, order 2", credit=markov(2), compares=True),
    Model(id="markov_k3", version=1, title="Markov, order 3", credit=markov(3), compares=True),
    Model(
        id="markov_k1_per_journey",
        version=1,
        title="Markov, order 1, shared out path by path",
        credit=markov_per_journey,
        compares=True,
    ),
    Model(id="shapley_sum", version=1, title="Shapley, sum game (not data-driven)", credit=shapley_sum),
    Model(id="shapley_rate", version=1, title="Shapley, rate game", credit=shapley_rate, compares=True),
    _by_path("u_shaped", "U-shaped", u_shaped, milestones=True),
    _by_path("w_shaped", "W-shaped", w_shaped, milestones=True),
    _by_path("full_path", "Full path", full_path, milestones=True),
)

MODELS: Final[dict[str, Model]] = {model.id: model for model in _LIST}
"""Model id to model, in the order in which they are shown."""

_POSITION: Final = re.compile(r"position_(\d{1,3})_(\d{1,3})_(\d{1,3})", re.ASCII)


def model_of(model_id: str) -> Model | None:
    """Model of an id; also `position_F_M_L` for any three percentages that sum to 100. None when there is none."""
    if model_id in MODELS:
        return MODELS[model_id]
    found = _POSITION.fullmatch(model_id)
    if found is None:
        return None
    first, middle, last = map(int, found.groups())
    return _position(first, middle, last) if first + middle + last == 100 else None


def cautions(model: Model, journeys: Sequence[Journey], totals: Totals) -> tuple[str, ...]:
    """What a person must know to read an answer: keys of `journeys.NOTES`."""
    found = list(totals.notes)
    if model.compares:
        if not any(journey.nulls for journey in journeys):
            found.append("no_nulls")
        if sum([journey.conversions for journey in journeys]) < FEW_CONVERSIONS:
            found.append("few_conversions")
    if any(credit < 0 for credit in totals.conversions.values()):
        found.append("negative_credit")
    return tuple(found)
