"""Signals: what a request carries becomes statements, and what cannot be read becomes nothing."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent import Policy, judge
from gateway.purposes import (
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
    NECESSARY,
    SALE_OR_SHARING,
    SENTENCES,
    TARGETED_ADVERTISING,
    Regime,
    Statement,
    Step,
)
from gateway.signals import registry
from gateway.signals.carried import Carried, StoredChoice
from gateway.signals.gpc import from_header, meaning
from gateway.signals.own import from_claim, from_receipt
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
quick = tried(150)

GPC: Final = {
    "a single 1": (("1",), True),
    "a 1 among other values": (("0", "1"), True),
    "a 1 twice": (("1", "1"), True),
    "no header": ((), False),
    "an empty header": (("",), False),
    "a 0": (("0",), False),
    "a 2": (("2",), False),
    "a word": (("true",), False),
    "a structured boolean": (("?1",), False),
    "a 1 with a space": ((" 1",), False),
    "two ones in one header": (("1, 1",), False),
    "a one of another script": (("\u0661",), False),
    "a full-width one": (("\uff11",), False),
    "a broken byte": (("\udcff",), False),
}


@pytest.mark.parametrize(("values", "heard"), GPC.values(), ids=GPC.keys())
def test_only_exactly_1_is_global_privacy_control(values: tuple[str, ...], heard: bool) -> None:
    statements = from_header(Carried(sec_gpc=values))
    assert bool(statements) is heard
    assert from_header(Carried(sec_gpc=meaning(values))) == statements, "what is left of the values means the same"
    assert meaning(values) in ((), ("1",))
    for statement in statements:
        assert statement.step is Step.OPT_OUT_SIGNAL
        assert statement.opted_out == SALE_OR_SHARING | TARGETED_ADVERTISING
        assert not statement.granted


def test_a_recorded_choice_stands_with_its_refusals_above_and_its_grants_below_the_events_claim() -> None:
    stored = StoredChoice(granted=ANALYTICS, denied=ADVERTISING, at_ms=NOW, current=True)
    assert from_receipt(Carried(stored=stored)) == (
        Statement(Step.STORED_REFUSAL, "receipt", denied=ADVERTISING, at_ms=NOW, trusted_time=True),
        Statement(Step.STORED_GRANT, "receipt", granted=ANALYTICS, at_ms=NOW, trusted_time=True),
    )
    assert Step.STORED_REFUSAL < Step.OWN_CHOICE < Step.STORED_GRANT


def test_an_outdated_grant_says_nothing_while_its_refusals_hold() -> None:
    stored = StoredChoice(granted=ANALYTICS, denied=ADVERTISING, at_ms=NOW, current=False)
    assert [s.step for s in from_receipt(Carried(stored=stored))] == [Step.STORED_REFUSAL]


def test_what_a_recorded_choice_both_grants_and_denies_is_denied() -> None:
    stored = StoredChoice(granted=ANALYTICS | ADVERTISING, denied=ADVERTISING, at_ms=NOW, current=True)
    refusal, grant = from_receipt(Carried(stored=stored))
    assert (refusal.denied, grant.granted) == (ADVERTISING, ANALYTICS)


def test_a_choice_that_names_nothing_says_nothing() -> None:
    assert from_receipt(Carried(stored=StoredChoice(0, 0, NOW, True))) == ()
    assert from_receipt(Carried()) == ()


@pytest.mark.parametrize(("trusted", "source"), [(False, "claim"), (True, "backend")], ids=["a page", "a backend"])
def test_who_says_it_decides_whether_its_time_is_believed(trusted: bool, source: str) -> None:
    carried = Carried(claim=True, claim_granted=ANALYTICS, claim_denied=0, claim_at_ms=NOW, claim_trusted=trusted)
    (statement,) = from_claim(carried)
    assert (statement.step, statement.source, statement.trusted_time) == (Step.OWN_CHOICE, source, trusted)


def test_an_event_without_consent_claims_nothing() -> None:
    assert from_claim(Carried(claim_granted=ALL_PURPOSES, claim_trusted=True)) == ()


SETS = st.integers(0, ALL_PURPOSES)
CARRIED = st.builds(
    Carried,
    stored=st.none() | st.builds(StoredChoice, SETS, SETS, st.integers(0, 4), st.booleans()),
    sec_gpc=st.lists(st.sampled_from(["1", "0", "", "true"]), max_size=3).map(tuple),
    claim=st.booleans(),
    claim_granted=SETS,
    claim_denied=SETS,
    claim_at_ms=st.none() | st.integers(0, 4),
    claim_trusted=st.booleans(),
)
POLICIES = st.builds(Policy, regime=st.sampled_from(Regime), silence_grants=SETS, gpc_grant_overrides=st.booleans())


@quick
@given(carried=CARRIED)
def test_no_statement_grants_what_it_denies(carried: Carried) -> None:
    for statement in registry.read(carried):
        assert not statement.granted & statement.denied
        assert statement.granted or statement.denied or statement.opted_out or carried.claim


@quick
@given(carried=CARRIED, policy=POLICIES)
def test_whatever_a_request_carries_is_ruled_with_a_sentence_for_people(carried: Carried, policy: Policy) -> None:
    for ruling in judge(registry.read(carried), policy).rulings:
        if ruling.step:
            assert SENTENCES[Step(ruling.step)][0 if ruling.granted else 1]


@quick
@given(carried=CARRIED, policy=POLICIES)
def test_a_stored_refusal_holds_unless_a_backend_said_later_that_just_this_is_granted(
    carried: Carried, policy: Policy
) -> None:
    judgement = judge(registry.read(carried), policy)
    stored = carried.stored
    if stored is None:
        return
    replaced = 0
    if carried.claim and carried.claim_trusted and carried.claim_at_ms is not None:
        if carried.claim_at_ms > stored.at_ms:
            replaced = carried.claim_granted & ~carried.claim_denied
    assert not judgement.granted & stored.denied & ~replaced & ~NECESSARY


@quick
@given(carried=CARRIED, policy=POLICIES)
def test_gpc_on_a_request_leaves_no_advertising_without_the_operators_override(
    carried: Carried, policy: Policy
) -> None:
    if "1" in carried.sec_gpc and not (policy.gpc_grant_overrides and policy.regime is Regime.OPT_IN):
        assert not judge(registry.read(carried), policy).granted & ADVERTISING_PURPOSES


@quick
@given(carried=CARRIED)
def test_under_opt_in_nothing_is_granted_that_no_current_word_granted(carried: Carried) -> None:
    said = carried.claim_granted if carried.claim else 0
    if carried.stored is not None and carried.stored.current:
        said |= carried.stored.granted
    assert not judge(registry.read(carried), Policy()).granted & ~(said | NECESSARY)
