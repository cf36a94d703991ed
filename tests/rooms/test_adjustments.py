"""Adjustments: what a conversion is worth after restatements, refunds and retractions, in whatever order they arrive."""

from itertools import permutations
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversions import Counted
from gateway.conversions.adjustments import (
    EFFECTS,
    KINDS,
    REASONS,
    STATUSES,
    Adjustment,
    State,
    apply,
    check_adjustment,
    status_move,
)
from gateway.errors import Refusal
from gateway.money import MAX_MINOR
from tests.support.properties import tried

ORDER: Final = Counted(10_000, "EUR")
quick = tried(300)


def restate(at_ms: int, amount: int, currency: str = "EUR") -> Adjustment:
    return Adjustment(
        id=f"restate-{at_ms}-{amount}", kind="restate", at_ms=at_ms, amount_minor=amount, currency=currency
    )


def refund(at_ms: int, amount: int, currency: str = "EUR") -> Adjustment:
    return Adjustment(id=f"refund-{at_ms}-{amount}", kind="refund", at_ms=at_ms, amount_minor=amount, currency=currency)


def retract(at_ms: int) -> Adjustment:
    return Adjustment(id=f"retract-{at_ms}", kind="retract", at_ms=at_ms, reason="cancelled")


# ------------------------------------------------------------------ what it is worth

HISTORIES: Final[dict[str, tuple[Counted, list[Adjustment], dict[str, Any]]]] = {
    "an order nothing happened to": (ORDER, [], {"net_minor": 10_000, "fate": "counted"}),
    "one refund": (ORDER, [refund(1, 2_000)], {"net_minor": 8_000, "refunded_minor": 2_000}),
    "two refunds add up": (ORDER, [refund(1, 2_000), refund(2, 3_000)], {"net_minor": 5_000, "refunded_minor": 5_000}),
    "two equal refunds of the same time add up": (
        ORDER,
        [refund(1, 2_000), msgspec.structs.replace(refund(1, 2_000), id="again")],
        {"net_minor": 6_000},
    ),
    "a whole refund still counts, worth nothing": (
        ORDER,
        [refund(1, 10_000)],
        {"fate": "counted", "net_minor": 0, "excess_minor": 0},
    ),
    "more is refunded than was paid": (
        ORDER,
        [refund(1, 9_000), refund(2, 2_500)],
        {"net_minor": 0, "refunded_minor": 10_000, "excess_minor": 1_500},
    ),
    "a restatement": (
        ORDER,
        [restate(1, 4_000)],
        {"net_minor": 4_000, "amount_minor": 4_000, "restated_by": "restate-1-4000"},
    ),
    "a restatement to nothing": (ORDER, [restate(1, 0)], {"net_minor": 0, "amount_minor": 0}),
    "a restatement upwards": (ORDER, [restate(1, 12_000)], {"net_minor": 12_000}),
    "the newer of two restatements holds": (ORDER, [restate(1, 4_000), restate(2, 5_000)], {"net_minor": 5_000}),
    "a refund after a restatement is taken off": (
        ORDER,
        [restate(1, 8_000), refund(2, 3_000)],
        {"net_minor": 5_000, "amount_minor": 8_000, "refunded_minor": 3_000},
    ),
    "a refund before a restatement is in its amount": (
        ORDER,
        [refund(1, 2_000), restate(2, 8_000)],
        {"net_minor": 8_000, "refunded_minor": 0},
    ),
    "a refund of the same time as a restatement is in its amount": (
        ORDER,
        [refund(2, 2_000), restate(2, 8_000)],
        {"net_minor": 8_000, "refunded_minor": 0},
    ),
    "a retraction": (ORDER, [retract(1)], {"fate": "retracted", "net_minor": 0}),
    "a retraction after a refund": (
        ORDER,
        [refund(1, 2_000), retract(2)],
        {"fate": "retracted", "net_minor": 0, "refunded_minor": 0},
    ),
    "a retraction newer than a restatement": (
        ORDER,
        [restate(1, 4_000), retract(2)],
        {"fate": "retracted", "net_minor": 0},
    ),
    "a retraction of the same time as a restatement": (ORDER, [restate(1, 4_000), retract(1)], {"fate": "retracted"}),
    "a restatement newer than a retraction brings it back": (
        ORDER,
        [retract(1), restate(2, 4_000)],
        {"fate": "counted", "net_minor": 4_000},
    ),
    "a refund does not bring it back": (ORDER, [retract(1), refund(2, 1_000)], {"fate": "retracted", "net_minor": 0}),
    "no amount was ever said": (Counted(None, None), [], {"net_minor": None, "amount_minor": None}),
    "an amount is said afterwards": (
        Counted(None, None),
        [restate(1, 4_000, "USD")],
        {"net_minor": 4_000, "currency": "USD"},
    ),
    "the newest of the amounts said afterwards decides the currency": (
        Counted(None, None),
        [restate(1, 4_000, "USD"), restate(2, 5_000, "JPY"), refund(3, 1_000, "JPY")],
        {"net_minor": 4_000, "currency": "JPY"},
    ),
    "a refund where no amount was ever said": (
        Counted(None, "EUR"),
        [refund(1, 500)],
        {"net_minor": None, "refunded_minor": 0, "excess_minor": 500},
    ),
    "a restatement in another currency changes nothing": (ORDER, [restate(1, 4_000, "USD")], {"net_minor": 10_000}),
    "a refund in another currency changes nothing": (ORDER, [refund(1, 4_000, "USD")], {"net_minor": 10_000}),
    "the default amount of a goal is refunded too": (
        Counted(2_500, "EUR", "default"),
        [refund(1, 500)],
        {"net_minor": 2_000},
    ),
}


@pytest.mark.parametrize(("conversion", "history", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_worth_after(conversion: Counted, history: list[Adjustment], expected: dict[str, Any]) -> None:
    for arrived in permutations(history):
        state = apply(conversion, arrived)
        assert {name: getattr(state, name) for name in expected} == expected


def test_every_adjustment_is_told_what_became_of_it() -> None:
    history = [
        refund(1, 100), restate(2, 1_000), restate(3, 2_000), refund(4, 1_500), refund(5, 1_500), refund(6, 1), refund(7, 5, "USD"),
    ]  # fmt: skip
    assert list(apply(ORDER, history).effects.items()) == [
        ("refund-1-100", "taken_in"),
        ("restate-2-1000", "superseded"),
        ("restate-3-2000", "applied"),
        ("refund-4-1500", "applied"),
        ("refund-5-1500", "applied_in_part"),
        ("refund-6-1", "nothing_left"),
        ("refund-7-5", "currency_differs"),
    ]
    assert apply(ORDER, [retract(2), refund(1, 5), refund(3, 5), restate(1, 5)]).effects == {
        "refund-1-5": "taken_in",
        "restate-1-5": "superseded",
        "retract-2": "applied",
        "refund-3-5": "already_retracted",
    }


def test_adjustments_of_a_conversion_nobody_knows_wait() -> None:
    state = apply(None, [refund(1, 100), retract(2)])
    assert state == State(fate="orphan", effects={"refund-1-100": "waiting", "retract-2": "waiting"})
    assert apply(ORDER, [refund(1, 100)]).net_minor == 9_900, "and apply once it is known"


def test_the_same_adjustment_counts_once() -> None:
    assert apply(ORDER, [refund(1, 2_000)] * 3).net_minor == 8_000


adjustments = st.builds(
    Adjustment,
    id=st.uuids().map(str),
    kind=st.sampled_from(sorted(KINDS)),
    at_ms=st.integers(0, 4),
    amount_minor=st.integers(0, 20_000),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
)
conversions = st.sampled_from([ORDER, Counted(None, None), Counted(0, "EUR"), Counted(15, "USD", "default")])


@quick
@given(conversion=conversions, history=st.lists(adjustments, max_size=8), data=st.data())
def test_the_order_of_arrival_never_changes_anything(
    conversion: Counted, history: list[Adjustment], data: st.DataObject
) -> None:
    arrived = data.draw(st.permutations(history))
    again = data.draw(st.lists(st.sampled_from(history), max_size=3)) if history else []
    assert apply(conversion, arrived + again) == apply(conversion, history)


@quick
@given(conversion=conversions, history=st.lists(adjustments, max_size=8))
def test_money_is_exact_and_never_below_zero(conversion: Counted, history: list[Adjustment]) -> None:
    state = apply(conversion, history)
    assert set(state.effects) == {one.id for one in history}
    assert set(state.effects.values()) <= set(EFFECTS) - {"waiting"}
    if state.fate == "retracted":
        assert (state.net_minor, state.refunded_minor, state.excess_minor) == (0, 0, 0)
    elif state.amount_minor is None:
        assert state.net_minor is None
        assert state.refunded_minor == 0
    else:
        assert state.net_minor == state.amount_minor - state.refunded_minor
        assert state.net_minor >= 0
        taken = ("applied", "applied_in_part", "nothing_left")
        asked = sum(one.amount_minor or 0 for one in history if one.kind == "refund" and state.effects[one.id] in taken)
        assert state.refunded_minor + state.excess_minor == asked


@quick
@given(history=st.lists(adjustments, max_size=8))
def test_what_arrives_late_changes_only_what_it_is_newer_than(history: list[Adjustment]) -> None:
    newest = restate(9, 777)
    assert apply(ORDER, [newest, *history]).net_minor == 777


# ------------------------------------------------------------------ at the door

TAKEN: Final = {
    "a refund": (refund(1, 1), ORDER),
    "a refund beyond what is left": (refund(1, 99_999), ORDER),
    "a restatement to nothing": (restate(1, 0), ORDER),
    "a retraction": (retract(1), ORDER),
    "a refund of a conversion nobody knows": (refund(1, 1, "USD"), None),
    "a restatement of a conversion without a currency": (restate(1, 1, "USD"), Counted(None, None)),
}


@pytest.mark.parametrize(("adjustment", "conversion"), TAKEN.values(), ids=TAKEN.keys())
def test_taken_is(adjustment: Adjustment, conversion: Counted | None) -> None:
    assert check_adjustment(adjustment, conversion, [refund(9, 9)]) is True


REFUSED: Final = {
    "an unknown kind": (msgspec.structs.replace(retract(1), kind="undo"), "field_invalid", "kind"),
    "an unknown reason": (msgspec.structs.replace(retract(1), reason="because"), "field_invalid", "reason"),
    "a retraction of an amount": (msgspec.structs.replace(retract(1), amount_minor=1), "field_unknown", "value"),
    "a refund of nothing": (refund(1, 0), "field_invalid", "value"),
    "a refund without an amount": (msgspec.structs.replace(refund(1, 1), amount_minor=None), "field_missing", "value"),
    "a negative refund": (refund(1, -5), "amount_negative", "value"),
    "a negative amount": (restate(1, -5), "amount_negative", "value"),
    "an amount too large": (restate(1, MAX_MINOR + 1), "amount_too_large", "value"),
    "an amount without a currency": (
        msgspec.structs.replace(refund(1, 1), currency=None),
        "currency_missing",
        "currency",
    ),
    "an unknown currency": (refund(1, 1, "XXX"), "currency_unknown", "currency"),
    "another currency than the conversion's": (refund(1, 1, "USD"), "currency_differs", "currency"),
    "an id that was used otherwise": (msgspec.structs.replace(refund(1, 8), id="known"), "adjustment_conflict", "id"),
}


@pytest.mark.parametrize(("adjustment", "code", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_is(adjustment: Adjustment, code: str, field: str) -> None:
    known = msgspec.structs.replace(refund(1, 7), id="known")
    with pytest.raises(Refusal) as refusal:
        check_adjustment(adjustment, ORDER, [known])
    assert (refusal.value.code, refusal.value.field) == (code, field)


def test_a_retry_is_not_new_though_it_is_dated_anew() -> None:
    first = refund(1, 7)
    assert check_adjustment(first, ORDER, [first]) is False
    assert check_adjustment(msgspec.structs.replace(first, at_ms=99), ORDER, [first]) is False


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_taken(reason: str) -> None:
    assert check_adjustment(msgspec.structs.replace(retract(1), reason=reason), ORDER, [])


# ------------------------------------------------------------------ statuses of networks

MOVES: Final = {
    ("lead", "sale"): "restate",
    ("lead", "rejected"): "retract",
    ("sale", "rejected"): "retract",
    ("rebill", "rejected"): "retract",
    ("rejected", "sale"): "refused",
    ("sale", "lead"): "refused",
    ("rejected", "lead"): "refused",
    ("sale", "rebill"): "refused",
    ("lead", "rebill"): "refused",
}


@pytest.mark.parametrize(("before", "after", "move"), [(*pair, move) for pair, move in MOVES.items()])
def test_a_status_moves_as_networks_move_it(before: str, after: str, move: str) -> None:
    assert status_move(before, after) == move


@pytest.mark.parametrize("status", STATUSES)
def test_the_same_status_again_changes_nothing(status: str) -> None:
    assert status_move(status, status) == "same"
