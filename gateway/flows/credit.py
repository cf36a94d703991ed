"""Credit: which touches earned a conversion, decided after it was recorded and written down with the reasons.

    due -> gathered (contacts of the person, see `gather`) -> eligible path, by the goal's rules -> shares, by its model
        -> billionths and minor units -> one attribution version; older versions stay

The rules are those of the goal at the version under which the conversion was counted: changing a window or a model changes
later conversions only. A conversion that was decided stays as it is when late touches arrive, until somebody asks for it to
be decided again.

Models that look at many journeys (Markov, Shapley) cannot say what one touch of one conversion earned. A goal with such a
model has `last_non_direct` as the model of its conversions; its own model is for reports.

Milestones of a person are earlier conversions: the newest one on a goal of a type in LEADS makes a lead, the newest one on a
goal of a type in OPPORTUNITIES an opportunity. A campaign that the conversion itself names changes nothing: it is shown, and
credit goes to touches.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.attribution.eligibility import eligible
from gateway.attribution.registry import MODELS, Model, model_of
from gateway.attribution.splitting import round_parts, split_minor
from gateway.attribution.touches import CLICKS, Rules
from gateway.catalogue import Goal
from gateway.conversions.goals import PRESETS
from gateway.errors import StoreError
from gateway.flows import adjust
from gateway.flows.gather import Gathered, gather
from gateway.flows.shelves import Shelf
from gateway.protocols.catalogue_wire import record_of
from gateway.stores.contract_credit import AttributionRow, Credit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from gateway.attribution.touches import Outcome
    from gateway.flows.house import House
    from gateway.stores.contract_credit import CountedConversion

__all__ = [
    "LEADS",
    "OPPORTUNITIES",
    "WHOLE_E9",
    "Again",
    "Milestones",
    "again",
    "again_one",
    "credit_due",
    "decide",
    "goal_of",
    "headline_model",
    "milestones_of",
    "rules_of",
    "shares_of",
    "split_of",
]

WHOLE_E9: Final = 1_000_000_000
"""One conversion in billionths."""
PORTION: Final = 32
"""Conversions decided at a time; their reads and commits go together."""
GOALS_KEPT: Final = 1_000
FAILED_KEPT: Final = 200

LEADS: Final = frozenset({"lead", "signup", "call"})
"""Types of goals by which somebody becomes a lead."""
OPPORTUNITIES: Final = frozenset({"trial", "begin_checkout"})
"""Types of goals by which a lead becomes an opportunity."""

FALLBACK: Final = MODELS["last_non_direct"]


class Milestones(msgspec.Struct, frozen=True):
    """When the person became a lead and an opportunity, None when that is not known."""

    lead_at_ms: int | None = None
    opportunity_at_ms: int | None = None


# ------------------------------------------------------------------ goals


async def goal_of(house: "House", shelf: "Shelf", counted: "CountedConversion") -> Goal:
    """The goal of a conversion as it was when the conversion was counted; one with every default where it has no record."""
    code, version = counted.goal, counted.goal_version
    if not version:
        return Goal(id="", code=code, name=code)
    current = shelf.goals.get(code)
    if current is None:
        current = next((goal for goal in shelf.goals_by_id.values() if goal.code == code), None)
    if current is None or shelf.version("goal", current.id) == version:
        return current or Goal(id="", code=code, name=code)
    kept = house.crediting.goals
    key = (counted.site, current.id, version)
    if key not in kept:
        entry = await house.store.entry(counted.site, "goal", current.id, version)
        record = record_of(entry) if entry is not None else None
        if len(kept) >= GOALS_KEPT:
            kept.clear()
        kept[key] = record if isinstance(record, Goal) else current
    return kept[key]


def rules_of(goal: Goal) -> Rules:
    """What a goal says about attribution. Its words were checked when it was stored."""
    return msgspec.convert({name: getattr(goal, name) for name in Rules.__struct_fields__}, Rules)


def headline_model(goal: Goal) -> Model:
    """The model that credits one conversion of a goal: its own, or FALLBACK where that one looks at many journeys."""
    model = model_of(goal.model)
    return model if model is not None and model.shares is not None else FALLBACK


async def milestones_of(house: "House", shelf: "Shelf", counted: "CountedConversion") -> Milestones:
    """Find the newest earlier conversions of the person that made a lead and an opportunity of them. Raises StoreError."""
    if counted.visitor_key is None and counted.person_key is None:
        return Milestones()
    types = {code: goal.type for code, goal in shelf.goals.items()}
    rooms = house.by_id.get(counted.site)
    for name in rooms.conversion_events if rooms is not None else ():
        if name in PRESETS:
            types.setdefault(name, PRESETS[name].type)
    found: list[int | None] = []
    for step in (LEADS, OPPORTUNITIES):
        times = [
            await house.store.previous_conversion_at(
                counted.site,
                code,
                visitor_key=counted.visitor_key,
                person_key=counted.person_key,
                before_ms=counted.occurred_at_ms,
                not_id=counted.conversion_id,
            )
            for code, type_ in types.items()
            if type_ in step and code != counted.goal
        ]
        found.append(max([at_ms for at_ms in times if at_ms is not None], default=None))
    return Milestones(*found)


# ------------------------------------------------------------------ deciding


def decide(
    counted: "CountedConversion", gathered: Gathered, rules: Rules, model: Model, reached: Milestones, now_ms: int
) -> AttributionRow:
    """Decide one conversion: the next version of what it is credited to."""
    outcome = eligible(gathered.conversion, gathered.touches, rules, gathered.links, gathered.coupons)
    return AttributionRow(
        conversion_id=counted.conversion_id,
        version=counted.credit_version + 1,
        model=model.id,
        model_version=model.version,
        goal_version=counted.goal_version,
        matched_by=outcome.matched_by,
        why=outcome.why,
        path=" > ".join([touch.channel for touch in outcome.path]),
        seconds=_seconds(gathered, outcome),
        first_of_person=gathered.first_of_person,
        computed_at_ms=now_ms,
        excluded=msgspec.json.encode(outcome.excluded),
        credits=_credits(counted, gathered, outcome, model, reached),
    )


def _seconds(gathered: Gathered, outcome: "Outcome") -> int | None:
    """Elapsed seconds from the last click of the path to the conversion; None where nobody clicked."""
    clicked = [touch.at_ms for touch in outcome.path if touch.kind in CLICKS]
    return (gathered.conversion.at_ms - clicked[-1]) // 1_000 if clicked else None


def _credits(
    counted: "CountedConversion", gathered: Gathered, outcome: "Outcome", model: Model, reached: Milestones
) -> tuple[Credit, ...]:
    """One row for each touch of the path, also for those that earn nothing: a path is kept whole."""
    if not outcome.path or model.shares is None:
        return ()
    path = outcome.touch_path(
        gathered.conversion, lead_at_ms=reached.lead_at_ms, opportunity_at_ms=reached.opportunity_at_ms
    )
    shares = model.shares(path)
    parts = shares_of(shares)
    amounts, nets = split_of(counted.amount_minor, shares), split_of(counted.net_minor, shares)
    return tuple(
        [
            Credit(
                position=position,
                touch_no=touch.sequence if touch.sequence >= 0 else None,
                at_ms=touch.at_ms,
                share_e9=parts[position],
                amount_minor=amounts[position],
                net_minor=nets[position],
                **_label_of(gathered, touch.id),
            )
            for position, touch in enumerate(outcome.path)
        ]
    )


def _label_of(gathered: Gathered, touch_id: str) -> "Mapping[str, str]":
    label = gathered.labels[touch_id]
    return {field: getattr(label, field) for field in label.__struct_fields__}


def shares_of(shares: "Sequence[Fraction]") -> list[int]:
    """Shares of a path as billionths that sum to one conversion."""
    return round_parts([share * WHOLE_E9 for share in shares], WHOLE_E9)


def split_of(amount_minor: int | None, shares: "Sequence[Fraction]") -> "Sequence[int | None]":
    """An amount in minor units split by shares; nothing for each where no amount was said."""
    return [None] * len(shares) if amount_minor is None or not shares else split_minor(amount_minor, shares)


# ------------------------------------------------------------------ working through what is due


async def credit_due(house: "House") -> int:
    """Decide one portion of what is due. Answers how many conversions were decided; 0 means nothing can be done now.

    Raises StoreError. A conversion whose decision fails because of a fault of the gateway is logged and left alone.
    """
    work = house.crediting
    async with work.lock:
        now_ms = house.clock.now_ms()
        due = [
            counted
            for counted in await house.store.uncredited(now_ms, PORTION + len(work.failed))
            if counted.conversion_id not in work.failed
        ]
        faults = await asyncio.gather(*[_credit(house, counted, now_ms) for counted in due], return_exceptions=True)
    done = 0
    for counted, fault in zip(due, faults, strict=True):
        if fault is None:
            done += 1
        elif isinstance(fault, StoreError) or not isinstance(fault, Exception):
            raise fault
        else:
            work.failed[counted.conversion_id] = None
            while len(work.failed) > FAILED_KEPT:
                del work.failed[next(iter(work.failed))]
            house.telemetry.failed("credit_failed", conversion_id=counted.conversion_id, kind=type(fault).__name__)
    return done


async def _credit(house: "House", counted: "CountedConversion", now_ms: int) -> None:
    """Decide one conversion and write it down. When it, or a person it concerns, was changed meanwhile it is read again.

    At first it gets what was sent about its order before it: refunds may overtake the conversion.
    """
    shelf, rooms = house.shelves.get(counted.site) or Shelf(counted.site, house.store), house.by_id.get(counted.site)
    if rooms is not None and counted.order_id is not None and not counted.credit_version:
        await adjust.settle_waiting(house, rooms, counted)
    goal, mark = await goal_of(house, shelf, counted), house.erasures
    rules, model = rules_of(goal), headline_model(goal)
    gathered = await gather(house.store, shelf, counted)
    reached = await milestones_of(house, shelf, counted) if model.milestones else Milestones()
    if not house.erased_since(mark, counted.person_key, *gathered.visitors):
        await house.store.put_credit(counted.site, decide(counted, gathered, rules, model, reached, now_ms))


# ------------------------------------------------------------------ deciding again


class Again(msgspec.Struct, frozen=True):
    """What came of one portion: how many conversions were decided again, and where the next begins, None at the end."""

    decided: int
    after: tuple[int, str] | None


async def again(
    house: "House", site: str, *, goal: str | None, after_ms: int, upto_ms: int, after_id: str, limit: int = 256
) -> Again:
    """Decide a portion of the conversions of a time anew, both times included. Older versions are kept. Raises StoreError.

    `after_id`: of those at `after_ms` the conversions up to this id are done already.
    """
    store, now_ms = house.store, house.clock.now_ms()
    page = await store.conversions_page(
        site, after_ms=after_ms, upto_ms=upto_ms, goal=goal, after_id=after_id, limit=limit
    )
    decided = sum(
        await asyncio.gather(*[_reopen(house, counted, now_ms) for counted in page if counted.fate != "duplicate"])
    )
    await _catch_up(house, decided)
    last = page[-1] if len(page) == limit else None
    return Again(decided, (last.occurred_at_ms, last.conversion_id) if last is not None else None)


async def again_one(house: "House", counted: "CountedConversion") -> int:
    """Decide one conversion anew. Answers 1, or 0 when it does not count. Raises StoreError."""
    reopened = await _reopen(house, counted, house.clock.now_ms())
    await _catch_up(house, reopened)
    return reopened


async def _reopen(house: "House", counted: "CountedConversion", now_ms: int) -> int:
    house.crediting.failed.pop(counted.conversion_id, None)
    return await house.store.credit_again(
        counted.site,
        goal=None,
        conversion_id=counted.conversion_id,
        after_ms=counted.occurred_at_ms,
        upto_ms=counted.occurred_at_ms,
        limit=1,
        now_ms=now_ms,
    )


async def _catch_up(house: "House", count: int) -> None:
    """Decide what was made due here: a command may have opened the house without workers."""
    for _ in range(2 * count // PORTION + 2):
        if not count or not await credit_due(house):
            return
