"""Attributing for people: what models make of journeys in a file, in plain JSON and as a table.

The file is an object with `journeys`: rows of `touches` (oldest first, each `ch` and `age_s`, the seconds before the
conversion), `conversions`, `nulls` (walks of the same path that did not convert) and `value_minor` (of the conversions
together). A row may say how old the person was as a lead and as an opportunity: `lead_age_s`, `opportunity_age_s`.

Models run on the touches as they are given: nothing is filtered. The answer to one model holds `model`, `conversions` and
`value` by channel, `removal_effect` for Markov models; `unattributed` where rows have no touches, and `notes` where part of
the numbers was made in another way than the model says. A model that would take too long answers `error` instead.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Annotated, Final

import msgspec

from gateway.attribution.journeys import (
    FAULTS,
    NOTES,
    PATH_MAX,
    WORK_MAX,
    Journey,
    TooMuch,
    Totals,
    TouchPath,
    Work,
    unattributed,
)
from gateway.attribution.registry import MODELS, Model, cautions, model_of
from gateway.attribution.splitting import round_parts
from gateway.errors import Refusal
from gateway.protocols import reading

__all__ = ["ALL", "JOURNEYS_MAX", "TOUCHES_MAX", "Answer", "attribute", "read_journeys", "text_of", "told"]

ALL: Final = "all"
"""Instead of a model: every model that these journeys are made for."""

JOURNEYS_MAX: Final = 200_000
TOUCHES_MAX: Final = 2_000_000
"""Rows of a file, and touches of all its rows together."""
AGE_MAX_S: Final = 100 * 366 * 86_400
COUNT_MAX: Final = 10**12
VALUE_MAX: Final = 10**15

_Age = Annotated[float, msgspec.Meta(ge=0, le=AGE_MAX_S)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class _Touch(msgspec.Struct, frozen=True):
    ch: Annotated[str, msgspec.Meta(max_length=200)]
    age_s: _Age


class _Row(msgspec.Struct, frozen=True):
    touches: Annotated[list[_Touch], msgspec.Meta(max_length=PATH_MAX)]
    conversions: _Count
    nulls: _Count = 0
    value_minor: Annotated[int, msgspec.Meta(ge=-VALUE_MAX, le=VALUE_MAX)] = 0
    lead_age_s: _Age | None = None
    opportunity_age_s: _Age | None = None


class _File(msgspec.Struct, frozen=True):
    journeys: Annotated[list[_Row], msgspec.Meta(max_length=JOURNEYS_MAX)]


_read_file: Final = reading.decoder(_File)


# ------------------------------------------------------------------ reading


def read_journeys(body: bytes) -> list[Journey]:
    """Read a file of journeys. Raises Refusal `json_invalid`, `json_too_deep` or a field code with the place.

    `field_invalid` also where touches are not given oldest first, or a row has value but no conversions.
    """
    rows = reading.decode(_read_file, body).journeys
    if sum([len(row.touches) for row in rows]) > TOUCHES_MAX:
        raise Refusal("field_too_long", "journeys")
    return [_journey(row, f"journeys[{number}]") for number, row in enumerate(rows)]


def _journey(row: _Row, place: str) -> Journey:
    ages_ms = [round(touch.age_s * 1_000) for touch in row.touches]
    if any(younger > older for older, younger in pairwise(ages_ms)):
        raise Refusal("field_invalid", f"{place}.touches")
    if row.value_minor and not row.conversions:
        raise Refusal("field_invalid", f"{place}.value_minor")
    path = TouchPath(
        tuple([touch.ch for touch in row.touches]),
        tuple(ages_ms),
        round(row.lead_age_s * 1_000) if row.lead_age_s is not None else None,
        round(row.opportunity_age_s * 1_000) if row.opportunity_age_s is not None else None,
    )
    return Journey(path, row.conversions, row.nulls, row.value_minor)


# ------------------------------------------------------------------ answering


class Answer(msgspec.Struct, frozen=True):
    """What one model makes of journeys, or the fault (a key of FAULTS) for which it does not answer."""

    model: Model
    totals: Totals | None
    fault: str | None = None


def attribute(journeys: Sequence[Journey], asked: str, work_max: int = WORK_MAX) -> list[Answer]:
    """Let one model look at journeys, or with ALL every model that they are made for.

    ALL leaves models of milestones out where no row names a milestone. Raises Refusal `field_invalid` at `model` for an
    id there is no model for.
    """
    if asked == ALL:
        named = any(
            journey.path.lead_age_ms is not None or journey.path.opportunity_age_ms is not None for journey in journeys
        )
        return [_answer(journeys, model, work_max) for model in MODELS.values() if named or not model.milestones]
    model = model_of(asked)
    if model is None:
        raise Refusal("field_invalid", "model")
    return [_answer(journeys, model, work_max)]


def _answer(journeys: Sequence[Journey], model: Model, work_max: int) -> Answer:
    try:
        return Answer(model, model.credit(journeys, Work(work_max)))
    except TooMuch as fault:
        return Answer(model, None, fault.code)


def told(journeys: Sequence[Journey], answer: Answer) -> dict[str, object]:
    """The JSON of an answer."""
    if answer.totals is None:
        code = str(answer.fault)
        return {"model": answer.model.id, "error": {"code": code, "message": FAULTS[code]}}
    totals = answer.totals
    found: dict[str, object] = {
        "model": answer.model.id,
        "conversions": totals.conversions,
        "value": totals.value,
    }
    if totals.removal_effect is not None:
        found["removal_effect"] = totals.removal_effect
    conversions, value_minor = unattributed(journeys)
    if conversions:
        found["unattributed"] = {"conversions": conversions, "value": value_minor}
    if totals.notes:
        found["notes"] = [{"code": code, "message": NOTES[code]} for code in totals.notes]
    return found


# ------------------------------------------------------------------ text

_NAME_MAX: Final = 60


def text_of(journeys: Sequence[Journey], answers: Sequence[Answer]) -> str:
    """A table for each answer. Value is shown in whole minor units that sum to what they are parts of."""
    return "\n\n".join(["\n".join(_lines(journeys, answer)) for answer in answers])


def _lines(journeys: Sequence[Journey], answer: Answer) -> Iterator[str]:
    model, totals = answer.model, answer.totals
    yield f"{model.id}: {model.title}, version {model.version}"
    if totals is None:
        yield f"  not answered: {FAULTS[str(answer.fault)]}"
        return
    parts = [Fraction(part) for part in totals.value.values()]
    shown = round_parts(parts, floor(sum(parts, Fraction(1, 2))))
    names = [_printable(channel) for channel in totals.conversions]
    width = max([len("unattributed"), *map(len, names)])
    effects = totals.removal_effect
    yield f"  {'channel':<{width}}  {'conversions':>14}  {'value_minor':>14}" + ("   removal" if effects else "")
    for name, channel, minor in zip(names, totals.conversions, shown, strict=True):
        removal = f"  {effects[channel]:>8.4f}" if effects else ""
        yield f"  {name:<{width}}  {totals.conversions[channel]:>14.4f}  {minor:>14}{removal}"
    conversions, value_minor = unattributed(journeys)
    if conversions:
        yield f"  {'unattributed':<{width}}  {conversions:>14.4f}  {value_minor:>14}"
    for code in cautions(model, journeys, totals):
        yield f"  note: {NOTES[code]}"


def _printable(channel: str) -> str:
    """A channel as a terminal may show it."""
    return (channel if channel.isprintable() else ascii(channel))[:_NAME_MAX]
