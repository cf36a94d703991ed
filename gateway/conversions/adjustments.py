"""Adjustments: what changes a conversion after it counted, and what it is worth then (pure).

    restate   the conversion is worth this amount now, with every refund until then taken in
    refund    an amount went back; several refunds add up
    retract   the conversion does not count; only a newer restatement brings it back

The conversion itself is never rewritten: its state is computed from all its adjustments in the order of their times. The
newest restatement or retraction decides, less the refunds after it. A time is when the change was made, not when it
arrived, so the order of arrival decides nothing: a late restatement that is older than one already known loses to it. At
one and the same time a refund comes first, because the new amount of a shop holds it, and a retraction comes last. Money
stays in integer minor units of the conversion's own currency.

Source: Google Ads API, conversion adjustments (retraction, restatement, the newest restatement holds); Shopify and
WooCommerce webhooks (an updated order tells its total after refunds); docs.keitaro.io, statuses of postbacks.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from gateway.conversions.claims import Counted
from gateway.errors import Refusal
from gateway.money import EXPONENTS, MAX_MINOR

__all__ = [
    "EFFECTS",
    "KINDS",
    "REASONS",
    "STATUSES",
    "Adjustment",
    "State",
    "apply",
    "check_adjustment",
    "status_move",
]

KINDS: Final[dict[str, str]] = {
    "restate": "The conversion is worth this amount now, with every refund until then taken in.",
    "refund": "An amount went back to the customer; several refunds add up.",
    "retract": "The conversion does not count; only a newer restatement brings it back.",
}

REASONS: Final[dict[str, str]] = {
    "returned": "The goods came back.",
    "cancelled": "The order or contract was cancelled.",
    "chargeback": "The customer's bank took the money back.",
    "fraud": "The order was not honest.",
    "not_paid": "The money never came.",
    "rejected": "The network or advertiser rejected the conversion.",
    "approved": "The network or advertiser confirmed the conversion, with its final amount.",
    "price_changed": "The amount changed after the order.",
    "mistake": "The amount or the conversion was sent by mistake.",
    "test": "It was a test.",
    "other": "Another reason.",
}
"""Why an adjustment is made, as its sender says."""

EFFECTS: Final[dict[str, str]] = {
    "applied": "It changes what the conversion is worth.",
    "applied_in_part": "The refund is larger than what was left; what was left went back.",
    "nothing_left": "Nothing was left to refund.",
    "taken_in": "A newer restatement holds, with this refund taken in.",
    "superseded": "A newer restatement or retraction holds.",
    "already_retracted": "The conversion is retracted, so there is nothing to refund.",
    "currency_differs": "It is not in the currency of the conversion.",
    "waiting": "The conversion is not known yet; it will apply once it is.",
}
"""What becomes of one adjustment."""


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one conversion. `id` is its idempotency key; `at_ms` is when the change was made.

    `amount_minor` is the new amount of a restatement, or what a refund gave back; a retraction has none. `reason` is one of
    REASONS.
    """

    id: str
    kind: str
    at_ms: int
    amount_minor: int | None = None
    currency: str | None = None
    reason: str = "other"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversion is worth now.

    `fate`: `counted`, `retracted`, or `orphan` while the conversion is not known. `amount_minor` is what it was counted or
    last restated with, None when no amount was ever said; `refunded_minor` went back since. That is never more than the
    amount, so `net_minor`, their difference, is never below zero: what was refunded beyond is `excess_minor`. A retracted
    conversion is worth 0 and belongs in no sum. `restated_by` is the id of the restatement that holds. `effects` gives
    each adjustment's id one of EFFECTS.
    """

    fate: Literal["counted", "retracted", "orphan"]
    amount_minor: int | None = None
    currency: str | None = None
    refunded_minor: int = 0
    excess_minor: int = 0
    net_minor: int | None = None
    restated_by: str | None = None
    effects: dict[str, str] = {}


def check_adjustment(adjustment: Adjustment, conversion: Counted | None, history: Iterable[Adjustment]) -> bool:
    """Whether an adjustment is new; False for the repeat of one that is known.

    `conversion` is None while it is not known: then the adjustment may wait. Raises Refusal: `adjustment_conflict` when its
    id was used with other content, `currency_differs`, and field codes for `kind`, `reason`, `value`, `currency`.
    """
    _check_content(adjustment)
    for known in history:
        if known.id == adjustment.id:
            # A retry that names no time is dated anew, so the time does not tell it from the first.
            if _content(known) != _content(adjustment):
                raise Refusal("adjustment_conflict", "id")
            return False
    if conversion is not None and conversion.currency is not None and adjustment.currency is not None:
        if adjustment.currency != conversion.currency:
            raise Refusal("currency_differs", "currency")
    return True


def _content(adjustment: Adjustment) -> tuple[str, int | None, str | None]:
    return adjustment.kind, adjustment.amount_minor, adjustment.currency


def _check_content(adjustment: Adjustment) -> None:
    if adjustment.kind not in KINDS:
        raise Refusal("field_invalid", "kind")
    if adjustment.reason not in REASONS:
        raise Refusal("field_invalid", "reason")
    amount = adjustment.amount_minor
    if adjustment.kind == "retract":
        if amount is not None:
            raise Refusal("field_unknown", "value")
        return
    if amount is None:
        raise Refusal("field_missing", "value")
    if amount < 0:
        raise Refusal("amount_negative", "value")
    if amount > MAX_MINOR:
        raise Refusal("amount_too_large", "value")
    if amount == 0 and adjustment.kind == "refund":
        raise Refusal("field_invalid", "value")
    if adjustment.currency is None:
        raise Refusal("currency_missing", "currency")
    if adjustment.currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")


def apply(conversion: Counted | None, history: Iterable[Adjustment]) -> State:
    """Compute the state of a conversion from all its adjustments, in whatever order they came.

    A conversion that was counted without an amount takes the currency of its newest restatement.
    """
    ordered = _ordered(history)
    if conversion is None:
        return State(fate="orphan", effects={one.id: "waiting" for one in ordered})
    amount, currency = conversion.amount_minor, conversion.currency
    if currency is None:
        currency = next((one.currency for one in reversed(ordered) if one.kind == "restate"), None)
    effects: dict[str, str] = {}
    refunds: list[Adjustment] = []
    held: Adjustment | None = None
    restated_by = None
    for one in ordered:
        if one.kind != "retract" and one.currency != currency:
            effects[one.id] = "currency_differs"
        elif one.kind == "refund":
            refunds.append(one)
        else:
            if held is not None:
                effects[held.id] = "superseded"
            effects[one.id] = "applied"
            held = one
            if one.kind == "restate":
                amount, restated_by = one.amount_minor, one.id
                effects |= {refund.id: "taken_in" for refund in refunds}
                refunds = []
    retracted = held is not None and held.kind == "retract"
    if retracted:
        effects |= {refund.id: "already_retracted" for refund in refunds}
        refunds = []
    refunded, excess = _refund(refunds, amount or 0, effects)
    return State(
        fate="retracted" if retracted else "counted",
        amount_minor=amount,
        currency=currency,
        refunded_minor=refunded,
        excess_minor=excess,
        net_minor=0 if retracted else None if amount is None else amount - refunded,
        restated_by=restated_by,
        effects={one.id: effects[one.id] for one in ordered},
    )


_RANK: Final = {"refund": 0, "restate": 1, "retract": 2}


def _ordered(history: Iterable[Adjustment]) -> list[Adjustment]:
    """Each adjustment once, oldest first. Equal times are decided by what cannot depend on which arrived first."""
    once: dict[str, Adjustment] = {}
    for one in sorted(history, key=_place):
        once.setdefault(one.id, one)
    return list(once.values())


def _place(one: Adjustment) -> tuple[int, int, str, int, str]:
    return one.at_ms, _RANK.get(one.kind, 0), one.id, one.amount_minor or 0, one.currency or ""


def _refund(refunds: list[Adjustment], amount: int, effects: dict[str, str]) -> tuple[int, int]:
    """What went back of an amount, and what was refunded beyond it. Notes the effect of each refund."""
    left, excess = amount, 0
    for one in refunds:
        back = one.amount_minor or 0
        taken = min(back, left)
        left -= taken
        excess += back - taken
        effects[one.id] = "applied" if taken == back else "applied_in_part" if taken else "nothing_left"
    return amount - left, excess


# ------------------------------------------------------------------ statuses of networks

STATUSES: Final = ("lead", "sale", "rejected", "rebill")
"""What a network says of a conversion: announced, sold, refused, sold again."""

_MOVES: Final[dict[tuple[str, str], Literal["restate", "retract"]]] = {
    ("lead", "sale"): "restate",
    ("lead", "rejected"): "retract",
    ("sale", "rejected"): "retract",
    ("rebill", "rejected"): "retract",
}


def status_move(before: str, after: str) -> Literal["same", "restate", "retract", "refused"]:
    """What a network's new status means for a conversion it announced before with another one of STATUSES.

    `restate` with the new amount, `retract`, nothing (`same`), or a move that networks do not make (`refused`).
    """
    return "same" if before == after else _MOVES.get((before, after), "refused")
