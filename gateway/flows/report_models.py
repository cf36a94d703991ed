"""Credit that no sum is kept of: under another model than the goals' own.

Conversions are read one by one with the path that was stored when they were decided, so windows and exclusions are those
of the decision. A model for single paths shares each conversion out anew, to whatever the report has rows for; a model that
looks at many journeys (Markov, Shapley) credits channels only. The gateway keeps no paths of visitors who did not convert,
so models that learn from them say so.
"""

import asyncio
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.attribution.journeys import DIRECT, Journey, Shares, TooMuch, TouchPath, Work
from gateway.attribution.registry import Model, cautions, model_of
from gateway.attribution.splitting import round_parts
from gateway.attribution.suppression import window_of
from gateway.errors import Refusal
from gateway.flows.credit import milestones_of, shares_of, split_of
from gateway.flows.report_scan import SCAN_MAX, credited
from gateway.flows.report_sums import ONE, Earned, Key, wanted
from gateway.times import day_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.stores.contract_credit import AttributionRow, CountedConversion, Credit

__all__ = ["PATHS_MAX", "STEPS_MAX", "Scanned", "earned_by_model"]

PATHS_MAX: Final = 20_000
"""Different paths a model may look at."""

STEPS_MAX: Final = 10_000_000
"""Steps a model may take for one report: about a second."""


class Scanned(NamedTuple):
    """Credit with what must be known about it: keys of NOTES here and of attribution's NOTES."""

    earned: list[Earned]
    notes: tuple[str, ...] = ()


async def earned_by_model(
    house: "House", rooms: "SiteRooms", ask: "Ask", columns: Sequence[str], *, fine: bool
) -> Scanned:
    """Credit by columns of `Credit`, under the model that is asked for.

    Raises Refusal `report_too_large`, and `field_invalid` at `model` for a model that credits channels only.
    """
    model = model_of(ask.model)
    if model is None:
        raise Refusal("field_invalid", "model")
    first, last = window_of(ask.from_day, ask.upto_day) if fine else (ask.from_day, ask.upto_day)
    whole = msgspec.structs.replace(ask, from_day=first, upto_day=last)
    rows = await house.store.goal_days(rooms.id, whole.from_day, whole.upto_day, ("goal",))
    many = sum([row.conversions for row in rows if wanted(house, rooms.id, ask, row.goal)]) > SCAN_MAX
    if model.shares is not None:
        if many and not ask.filters:
            raise Refusal("report_too_large")  # without reading what is known to be too much
        return Scanned(await _path_by_path(house, rooms, whole, columns, model.shares, milestones=model.milestones))
    if tuple(columns) != ("channel",) or ask.filters:
        raise Refusal("field_invalid", "model")
    if many:
        return await _by_stored_paths(house, rooms, ask, model)
    return await _by_journeys(house, rooms, ask, model)


# ------------------------------------------------------------------ one path at a time


async def _path_by_path(
    house: "House",
    rooms: "SiteRooms",
    ask: "Ask",
    columns: Sequence[str],
    shares: Callable[[TouchPath], Shares],
    *,
    milestones: bool,
) -> list[Earned]:
    found: list[Earned] = []
    shelf = house.shelves[rooms.id]
    async for row, decided in credited(house, rooms.id, ask):
        if decided is None or not decided.credits:
            continue
        path = _path(row, decided)
        if milestones:
            reached = await milestones_of(house, shelf, row)
            path = msgspec.structs.replace(
                path,
                lead_age_ms=_age(row, reached.lead_at_ms),
                opportunity_age_ms=_age(row, reached.opportunity_at_ms),
            )
        credits = _shared_anew(row, decided.credits, shares(path))
        found += [
            _earned(row, decided, credit, tuple([str(getattr(credit, column)) for column in columns]))
            for credit in credits
            if all(getattr(credit, column) == value for column, value in ask.filters.items())
        ]
    return found


def _path(row: "CountedConversion", decided: "AttributionRow") -> TouchPath:
    return TouchPath(
        tuple([credit.channel for credit in decided.credits]),
        tuple([row.occurred_at_ms - credit.at_ms for credit in decided.credits]),
    )


def _age(row: "CountedConversion", at_ms: int | None) -> int | None:
    return row.occurred_at_ms - at_ms if at_ms is not None else None


def _shared_anew(
    row: "CountedConversion", credits: "Sequence[Credit]", shares: Sequence[Fraction]
) -> "tuple[Credit, ...]":
    parts = shares_of(tuple(shares))
    amounts = split_of(row.amount_minor, shares)
    nets = amounts if row.net_minor == row.amount_minor else split_of(row.net_minor, shares)
    return tuple(
        [
            msgspec.structs.replace(credit, share_e9=part, amount_minor=amount, net_minor=net)
            for credit, part, amount, net in zip(credits, parts, amounts, nets, strict=True)
        ]
    )


def _earned(row: "CountedConversion", decided: "AttributionRow", credit: "Credit", key: Key) -> Earned:
    share, seconds = credit.share_e9, decided.seconds
    return Earned(
        key,
        day_of(row.occurred_at_ms),
        row.goal,
        row.currency or "",
        share,
        share if decided.first_of_person else 0,
        credit.amount_minor or 0,
        credit.net_minor or 0,
        (seconds or 0) * share,
        share if seconds is not None else 0,
    )


# ------------------------------------------------------------------ many journeys


async def _by_journeys(house: "House", rooms: "SiteRooms", ask: "Ask", model: Model) -> Scanned:
    """Credit channels for every conversion; value and net value of each currency are credited by runs of their own."""
    everything: list[Journey] = []
    first_ones: list[Journey] = []
    amounts: dict[str, list[tuple[Journey, Journey]]] = {}
    async for row, decided in credited(house, rooms.id, ask):
        if decided is None or not decided.credits:
            continue
        path = _path(row, decided)
        everything.append(Journey(path))
        if decided.first_of_person:
            first_ones.append(Journey(path))
        if row.currency and row.amount_minor is not None:
            gross = Journey(path, value_minor=row.amount_minor)
            amounts.setdefault(row.currency, []).append((gross, Journey(path, value_minor=row.net_minor or 0)))
    found, said = await asyncio.to_thread(_journeys_earned, model, everything, first_ones, amounts)
    return Scanned(found, ("model_paths", *said))


def _journeys_earned(
    model: Model,
    everything: list[Journey],
    first_ones: list[Journey],
    amounts: dict[str, list[tuple[Journey, Journey]]],
) -> tuple[list[Earned], tuple[str, ...]]:
    work = Work(STEPS_MAX)
    try:
        totals = model.credit(everything, work)
        persons = model.credit(first_ones, work).conversions
        found = [
            _of_channel(channel, "", _billionths(share), _billionths(persons.get(channel, 0.0)))
            for channel, share in totals.conversions.items()
        ]
        for currency, pairs in amounts.items():
            gross = model.credit([journey for journey, _ in pairs], work)
            net = model.credit([journey for _, journey in pairs], work)
            valued = {channel: _billionths(share) for channel, share in gross.conversions.items()}
            parts, nets = _whole_parts(gross.value), _whole_parts(net.value)
            found += [
                _of_channel(channel, currency, valued[channel], 0, parts[channel], nets[channel]) for channel in parts
            ]
            # What has an amount was among all conversions already.
            found += [_of_channel(channel, "", -share, 0) for channel, share in valued.items()]
    except TooMuch:
        raise Refusal("report_too_large", "model") from None
    return found, cautions(model, everything, totals)


async def _by_stored_paths(house: "House", rooms: "SiteRooms", ask: "Ask", model: Model) -> Scanned:
    """Credit channels from how often each path was stored: conversions only."""
    if ask.goals != "all":
        raise Refusal("report_too_large", "goals")
    paths = await house.store.paths(rooms.id, ask.goal or None, ask.after_ms, ask.upto_ms, PATHS_MAX + 1)
    if len(paths) > PATHS_MAX:
        raise Refusal("report_too_large")
    journeys = []
    for text, conversions, _ in paths:
        channels = tuple(text.split(" > "))
        journeys.append(Journey(TouchPath(channels, (0,) * len(channels)), conversions))
    try:
        totals = await asyncio.to_thread(model.credit, journeys, Work(STEPS_MAX))
    except TooMuch:
        raise Refusal("report_too_large", "model") from None
    found = [_of_channel(channel, "", _billionths(share), 0) for channel, share in totals.conversions.items()]
    return Scanned(found, ("model_paths", "value_not_computed", *cautions(model, journeys, totals)))


def _of_channel(
    channel: str, currency: str, share_e9: int, first_e9: int, amount_minor: int = 0, net_minor: int = 0
) -> Earned:
    return Earned((channel or DIRECT,), 0, "", currency, share_e9, first_e9, amount_minor, net_minor, 0, 0)


def _billionths(share: float) -> int:
    return round(share * ONE)


def _whole_parts(value: dict[str, float]) -> dict[str, int]:
    """Fractions of minor units as whole ones that sum to the same whole amount."""
    parts = [Fraction(part) for part in value.values()]
    return dict(zip(value, round_parts(parts, round(sum(parts, Fraction(0)))), strict=True))
