"""What a conversion adds to the sums that reports are made of (pure), and how money is split among those who earned it.

Every change of a conversion takes out of the sums what it added before and puts in what it adds now, so the sums follow
from the rows whatever the order of changes. Tests add nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.stores.contract_credit import AttributionRow, CreditDay, GoalDay, SpendRow, TouchDay
from gateway.times import day_of

__all__ = [
    "CREDIT_COLUMNS",
    "GOAL_COLUMNS",
    "MONTH_DAYS",
    "SECONDS_DIVISOR",
    "SPEND_COLUMNS",
    "TOUCH_COLUMNS",
    "WHOLE_E9",
    "CreditKey",
    "GoalKey",
    "Standing",
    "changed_credit",
    "changed_goal",
    "fault_of",
    "in_order",
    "months_of",
    "split",
    "with_net",
]

WHOLE_E9: Final = 1_000_000_000
"""One, in billionths."""

SECONDS_DIVISOR: Final = 1_000_000
"""Seconds are summed by thousandths of shares: see the table `credit_day`."""

MONTH_DAYS: Final = 30
"""Days of a month, as the tables `touch_month` and `credit_month` have them: the first is a multiple of it."""

TOUCH_COLUMNS: Final = TouchDay.__struct_fields__[:12]
CREDIT_COLUMNS: Final = CreditDay.__struct_fields__[:13]
GOAL_COLUMNS: Final = GoalDay.__struct_fields__[:3]
SPEND_COLUMNS: Final = SpendRow.__struct_fields__[:5]
"""Columns that sums are made by."""

GoalKey = tuple[int, str, str]
"""Day, goal, currency."""

CreditKey = tuple[int, str, str, str, str, str, str, str, str, str, str, str, str]
"""Day, goal, then the columns of CreditDay up to the currency."""

K = TypeVar("K")


def months_of(from_day: int, upto_day: int) -> tuple[int, int]:
    """First days of the first and of the last month that lie whole in a range; the last is before the first without any."""
    return -(-from_day // MONTH_DAYS) * MONTH_DAYS, (upto_day + 1) // MONTH_DAYS * MONTH_DAYS - MONTH_DAYS


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as the sums see it, with the newest decision about it, None before the first."""

    goal: str
    currency: str | None
    fate: str
    value_source: str
    order_id: str | None
    amount_minor: int | None
    net_minor: int | None
    test: bool
    occurred_at_ms: int
    decision: AttributionRow | None = None


def _goal_sums(one: Standing) -> dict[GoalKey, tuple[int, ...]]:
    """What it adds to a row of `goal_day`, in the order of that table's columns."""
    if one.test:
        return {}
    key = (day_of(one.occurred_at_ms), one.goal, one.currency or "")
    if one.fate == "duplicate":
        return {key: (0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)}
    made = one.decision
    seconds = made.seconds if made is not None else None
    return {
        key: (
            1,
            int(made is None or not made.credits),
            0,
            int(one.fate == "retracted"),
            int(one.value_source == "default"),
            int(one.order_id is None),
            int(made is not None and made.first_of_person),
            one.amount_minor or 0,
            one.net_minor or 0,
            seconds or 0,
            int(seconds is not None),
        )
    }


def _credit_sums(one: Standing) -> dict[CreditKey, tuple[int, ...]]:
    """What it adds to rows of `credit_day`, in the order of that table's columns."""
    made = one.decision
    if one.test or made is None:
        return {}
    day, currency, seconds = day_of(one.occurred_at_ms), one.currency or "", made.seconds
    sums: dict[CreditKey, tuple[int, ...]] = {}
    for credit in made.credits:
        key = (
            day, one.goal, credit.channel, credit.source, credit.medium, credit.campaign_name, credit.campaign_id,
            credit.link_id, credit.ambassador_id, credit.variant, credit.device, credit.landing, currency,
        )  # fmt: skip
        share = credit.share_e9
        values = (
            share,
            share if made.first_of_person else 0,
            credit.amount_minor or 0,
            credit.net_minor or 0,
            seconds * share // SECONDS_DIVISOR if seconds is not None else 0,
            share if seconds is not None else 0,
        )
        sums[key] = _plus(sums.get(key), values, 1)
    return sums


def changed_goal(before: Standing | None, after: Standing | None) -> dict[GoalKey, tuple[int, ...]]:
    """What is to be added to rows of `goal_day` when a conversion changes."""
    return _changed(_goal_sums(before) if before else {}, _goal_sums(after) if after else {})


def changed_credit(before: Standing | None, after: Standing | None) -> dict[CreditKey, tuple[int, ...]]:
    """What is to be added to rows of `credit_day` when a conversion changes."""
    return _changed(_credit_sums(before) if before else {}, _credit_sums(after) if after else {})


def _changed(before: Mapping[K, tuple[int, ...]], after: Mapping[K, tuple[int, ...]]) -> dict[K, tuple[int, ...]]:
    change: dict[K, tuple[int, ...]] = dict(after)
    for key, values in before.items():
        change[key] = _plus(change.get(key), values, -1)
    return {key: values for key, values in change.items() if any(values)}


def _plus(one: tuple[int, ...] | None, other: tuple[int, ...], sign: int) -> tuple[int, ...]:
    base = one if one is not None else (0,) * len(other)
    return tuple([left + sign * right for left, right in zip(base, other, strict=True)])


# ------------------------------------------------------------------ splitting


def split(amount_minor: int | None, shares: Sequence[int]) -> list[int | None]:
    """Split an amount by shares in whole units that sum to it: largest remainder, the earlier one where two are equal.

    A negative amount is split like its opposite. None is split into None, and so is anything among nobody's shares.
    """
    whole = sum(shares)
    if amount_minor is None or whole <= 0:
        return [None] * len(shares)
    size, sign = abs(amount_minor), 1 if amount_minor >= 0 else -1
    parts = [size * share // whole for share in shares]
    rests = [size * share % whole for share in shares]
    # Sorting is stable: the earlier of two equal remainders stays in front.
    for place in sorted(range(len(parts)), key=lambda number: -rests[number])[: size - sum(parts)]:
        parts[place] += 1
    return [sign * part for part in parts]


def in_order(row: AttributionRow) -> AttributionRow:
    """The decision with its credit in the order of places."""
    credits = tuple(sorted(row.credits, key=lambda credit: credit.position))
    return msgspec.structs.replace(row, credits=credits)


def with_net(row: AttributionRow, net_minor: int | None) -> AttributionRow:
    """The decision with what is left of the conversion's amount, split anew unless its parts sum to it already."""
    nets = [credit.net_minor for credit in row.credits]
    if not nets or _sums_to(nets, net_minor):
        return row
    parts = split(net_minor, [credit.share_e9 for credit in row.credits])
    pairs = zip(row.credits, parts, strict=True)
    return msgspec.structs.replace(
        row, credits=tuple([msgspec.structs.replace(credit, net_minor=part) for credit, part in pairs])
    )


def _sums_to(parts: Sequence[int | None], whole: int | None) -> bool:
    known = [part for part in parts if part is not None]
    return len(known) == (0 if whole is None else len(parts)) and (whole is None or sum(known) == whole)


def fault_of(row: AttributionRow, amount_minor: int | None) -> str | None:
    """Why a decision cannot be stored: its shares or its amounts are not those of the conversion. None when they are."""
    if not row.credits:
        return None
    if sum(credit.share_e9 for credit in row.credits) != WHOLE_E9:
        return "the shares do not sum to one"
    if not _sums_to([credit.amount_minor for credit in row.credits], amount_minor):
        return "the amounts do not sum to the conversion's"
    return None
