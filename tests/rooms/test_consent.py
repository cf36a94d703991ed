"""Consent: from what was said to what may be done. Tables for the rules, properties for what must hold for every input."""

from collections.abc import Callable
from itertools import permutations
from typing import Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.consent import (
    RULES_VERSION,
    Policy,
    Shown,
    change_kind,
    groups_shown,
    judge,
    judge_again,
    keeps_details,
    keeps_visitor,
    permit,
)
from gateway.event import (
    NO_DEVICE,
    NOBODY,
    Agent,
    Device,
    Item,
    Judged,
    Page,
    Person,
    Personal,
    Received,
    Visitor,
    Withheld,
)
from gateway.outcome import REASONS
from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
    PROFILING,
    PURPOSES,
    SALE_OR_SHARING,
    TARGETED_ADVERTISING,
    Group,
    Judgement,
    Needs,
    Regime,
    Ruling,
    Statement,
    Step,
)
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
OPTIONAL: Final = ALL_PURPOSES & ~NECESSARY
quick = tried(150)

GPC: Final = Statement(Step.OPT_OUT_SIGNAL, "sec_gpc", opted_out=SALE_OR_SHARING | TARGETED_ADVERTISING)


def claim(granted: int = 0, denied: int = 0) -> Statement:
    """What a page says with an event: no time that could be trusted."""
    return Statement(Step.OWN_CHOICE, "claim", granted=granted, denied=denied)


def backend(granted: int = 0, denied: int = 0, at_ms: int | None = NOW) -> Statement:
    return Statement(Step.OWN_CHOICE, "backend", granted=granted, denied=denied, at_ms=at_ms, trusted_time=True)


def refused(denied: int, at_ms: int | None = NOW - 10) -> Statement:
    return Statement(Step.STORED_REFUSAL, "receipt", denied=denied, at_ms=at_ms, trusted_time=True)


def agreed(granted: int, at_ms: int = NOW - 10) -> Statement:
    return Statement(Step.STORED_GRANT, "receipt", granted=granted, at_ms=at_ms, trusted_time=True)


# ------------------------------------------------------------------ what one event may be used for

SAID: Final[dict[str, tuple[Regime, list[Statement], int]]] = {
    "silence in an opt-in place allows nothing": (Regime.OPT_IN, [], NECESSARY),
    "silence in an opt-out place allows all": (Regime.OPT_OUT, [], ALL_PURPOSES),
    "silence where signals bind allows all": (Regime.OPT_OUT_SIGNAL, [], ALL_PURPOSES),
    "silence where the operator decides allows what the operator set": (Regime.NONE, [], NECESSARY | ANALYTICS),
    "a grant of the page counts": (Regime.OPT_IN, [claim(ANALYTICS)], NECESSARY | ANALYTICS),
    "a grant says nothing about what it does not name": (
        Regime.OPT_IN,
        [claim(ADVERTISING)],
        NECESSARY | ADVERTISING,
    ),
    "a refusal of the page counts where silence would allow": (
        Regime.OPT_OUT,
        [claim(0, ANALYTICS)],
        ALL_PURPOSES & ~ANALYTICS,
    ),
    "an earlier grant counts": (Regime.OPT_IN, [agreed(ANALYTICS | ADVERTISING)], NECESSARY | ANALYTICS | ADVERTISING),
    "an earlier refusal is stronger than what a page claims now": (
        Regime.OPT_IN,
        [refused(ANALYTICS), claim(ANALYTICS | FUNCTIONAL)],
        NECESSARY | FUNCTIONAL,
    ),
    "an earlier refusal is stronger than a backend's older choice": (
        Regime.OPT_IN,
        [refused(ANALYTICS, NOW), backend(ANALYTICS, at_ms=NOW - 1)],
        NECESSARY,
    ),
    "an earlier refusal is stronger than a backend's choice of the same moment": (
        Regime.OPT_IN,
        [refused(ANALYTICS, NOW), backend(ANALYTICS, at_ms=NOW)],
        NECESSARY,
    ),
    "an earlier refusal is stronger than a backend's choice without a time": (
        Regime.OPT_IN,
        [refused(ANALYTICS), backend(ANALYTICS, at_ms=None)],
        NECESSARY,
    ),
    "a refusal without a time is stronger than any choice": (
        Regime.OPT_IN,
        [refused(ANALYTICS, None), backend(ANALYTICS)],
        NECESSARY,
    ),
    "a backend's newer choice replaces the refusal": (
        Regime.OPT_IN,
        [refused(ANALYTICS), backend(ANALYTICS)],
        NECESSARY | ANALYTICS,
    ),
    "a backend's newer choice leaves refused what it does not name, where silence would allow it": (
        Regime.OPT_OUT,
        [refused(ANALYTICS | ADVERTISING_PURPOSES), backend(ANALYTICS)],
        NECESSARY | FUNCTIONAL | ANALYTICS,
    ),
    "a backend's newer refusal does not lift an older one": (
        Regime.OPT_OUT,
        [refused(ADVERTISING), backend(0, ANALYTICS)],
        ALL_PURPOSES & ~(ADVERTISING | ANALYTICS),
    ),
    "a newer choice lifts an older opt-out only when it names every advertising purpose": (
        Regime.OPT_OUT,
        [msgspec.structs.replace(refused(0), opted_out=SALE_OR_SHARING), backend(ADVERTISING)],
        ALL_PURPOSES & ~ADVERTISING_PURPOSES,
    ),
    "a page's claim of a later time replaces nothing": (
        Regime.OPT_IN,
        [refused(ANALYTICS), msgspec.structs.replace(claim(ANALYTICS), at_ms=NOW + 999)],
        NECESSARY,
    ),
    "two choices of one rank that differ are a refusal": (
        Regime.OPT_IN,
        [claim(ANALYTICS), claim(0, ANALYTICS)],
        NECESSARY,
    ),
    "one statement that says both is a refusal": (Regime.OPT_OUT, [claim(ANALYTICS, ANALYTICS)], OPTIONAL & ~ANALYTICS | NECESSARY),
    "a consent string that says no is not overruled by the site's own yes": (
        Regime.OPT_IN,
        [Statement(Step.IAB_STRING, "tcf", denied=ADVERTISING), claim(ADVERTISING)],
        NECESSARY,
    ),
    "consent mode may deny what the visitor granted on the site": (
        Regime.OPT_IN,
        [claim(ANALYTICS | ADVERTISING), Statement(Step.CONSENT_MODE, "gcd", denied=ADVERTISING)],
        NECESSARY | ANALYTICS,
    ),
    "a blocked person gets nothing but what is necessary": (
        Regime.OPT_OUT,
        [Statement(Step.BLOCKED, "erased", denied=ALL_PURPOSES), claim(ALL_PURPOSES), agreed(ALL_PURPOSES)],
        NECESSARY,
    ),
    "nobody can refuse what is necessary": (Regime.OPT_IN, [claim(0, NECESSARY)], NECESSARY),
    "an opt-out from profiling alone touches no purpose": (
        Regime.OPT_OUT,
        [Statement(Step.IAB_STRING, "gpp", opted_out=PROFILING)],
        ALL_PURPOSES,
    ),
    "bits beyond the closed list grant nothing": (Regime.OPT_IN, [claim(1 << 20, 1 << 21)], NECESSARY),
}  # fmt: skip


@pytest.mark.parametrize(("regime", "said", "granted"), SAID.values(), ids=SAID.keys())
def test_what_is_granted_in_whatever_order_it_was_said(regime: Regime, said: list[Statement], granted: int) -> None:
    policy = Policy(regime=regime, silence_grants=NECESSARY | ANALYTICS)
    for order in permutations(said):
        assert judge(order, policy).granted == granted


# ------------------------------------------------------------------ Global Privacy Control

ALL_REGIMES = pytest.mark.parametrize("regime", Regime, ids=[regime.value for regime in Regime])


@ALL_REGIMES
@pytest.mark.parametrize(
    "said",
    [[], [claim(ALL_PURPOSES)], [agreed(ALL_PURPOSES)], [backend(ALL_PURPOSES)]],
    ids=["in silence", "against a page's yes", "against an earlier yes", "against a backend's yes"],
)
def test_gpc_refuses_the_advertising_purposes_everywhere(regime: Regime, said: list[Statement]) -> None:
    judgement = judge([*said, GPC], Policy(regime=regime, silence_grants=ALL_PURPOSES))
    assert not judgement.granted & ADVERTISING_PURPOSES
    assert judgement.opted_out == SALE_OR_SHARING | TARGETED_ADVERTISING
    assert Ruling(ADVERTISING_PURPOSES, False, Step.OPT_OUT_SIGNAL, "sec_gpc") in judgement.rulings


@ALL_REGIMES
def test_gpc_says_nothing_about_analytics(regime: Regime) -> None:
    policy = Policy(regime=regime, silence_grants=ALL_PURPOSES)
    kept = ANALYTICS | FUNCTIONAL | NECESSARY
    assert judge([GPC], policy).granted & kept == judge([], policy).granted & kept


@ALL_REGIMES
@pytest.mark.parametrize("yes", [claim, agreed], ids=["with this event", "earlier"])
def test_an_explicit_yes_overrides_gpc_only_in_opt_in_places_and_only_for_what_it_names(
    regime: Regime, yes: Callable[[int], Statement]
) -> None:
    policy = Policy(regime=regime, silence_grants=ALL_PURPOSES, gpc_grant_overrides=True)
    judgement = judge([GPC, yes(ADVERTISING)], policy)
    assert judgement.granted & ADVERTISING_PURPOSES == (ADVERTISING if regime is Regime.OPT_IN else 0)
    assert judgement.opted_out, "vendors are still told of the opt-out"


def test_the_override_lifts_nothing_that_only_another_signal_grants() -> None:
    mode = Statement(Step.CONSENT_MODE, "gcd", granted=ADVERTISING_PURPOSES)
    judgement = judge([GPC, claim(ADVERTISING), mode], Policy(gpc_grant_overrides=True))
    assert judgement.granted & ADVERTISING_PURPOSES == ADVERTISING


def test_the_override_does_not_touch_other_opt_out_signals() -> None:
    gpp = Statement(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SALE_OR_SHARING)
    policy = Policy(gpc_grant_overrides=True)
    assert not judge([gpp, claim(ADVERTISING)], policy).granted & ADVERTISING_PURPOSES


def test_the_override_does_not_turn_a_refusal_into_a_yes() -> None:
    policy = Policy(gpc_grant_overrides=True)
    assert not judge([GPC, claim(ADVERTISING, ADVERTISING)], policy).granted & ADVERTISING
    assert not judge([GPC, claim(ADVERTISING), refused(ADVERTISING)], policy).granted & ADVERTISING
    assert judge([GPC], policy).granted == NECESSARY


# ------------------------------------------------------------------ what holds for every judgement

SETS = st.integers(0, ALL_PURPOSES)
POLICIES = st.builds(Policy, regime=st.sampled_from(Regime), silence_grants=SETS, gpc_grant_overrides=st.booleans())
SOURCES = st.sampled_from(["sec_gpc", "receipt", "claim", "backend", "tcf"])
TIMES = st.none() | st.integers(0, 4)
STATEMENTS = st.builds(
    Statement,
    step=st.sampled_from(Step),
    source=SOURCES,
    granted=SETS,
    denied=SETS,
    at_ms=TIMES,
    trusted_time=st.booleans(),
    opted_out=st.integers(0, 15),
)
LISTS = st.lists(STATEMENTS, max_size=6)
REFUSALS = st.builds(msgspec.structs.replace, STATEMENTS, granted=st.just(0))


@quick
@given(said=LISTS, refusal=REFUSALS, policy=POLICIES)
@example(said=[refused(ADVERTISING)], refusal=backend(0, ANALYTICS), policy=Policy(regime=Regime.OPT_OUT))
@example(said=[agreed(ALL_PURPOSES)], refusal=GPC, policy=Policy(regime=Regime.NONE))
def test_one_more_refusal_never_widens_what_is_granted(
    said: list[Statement], refusal: Statement, policy: Policy
) -> None:
    before, after = judge(said, policy).granted, judge([*said, refusal], policy).granted
    assert after & ~before == 0


@quick
@given(said=LISTS, gpc_overrides=st.booleans())
def test_in_opt_in_places_nothing_is_granted_that_nobody_granted(said: list[Statement], gpc_overrides: bool) -> None:
    yes = NECESSARY
    for statement in said:
        yes |= statement.granted
    assert judge(said, Policy(gpc_grant_overrides=gpc_overrides)).granted & ~yes == 0


@quick
@given(
    said=st.lists(st.builds(msgspec.structs.replace, STATEMENTS, trusted_time=st.just(False)), max_size=6),
    policy=POLICIES,
)
def test_what_anybody_denies_is_denied_when_no_time_is_trusted(said: list[Statement], policy: Policy) -> None:
    no = 0
    for statement in said:
        no |= statement.denied
    if not policy.gpc_grant_overrides:
        assert not judge(said, policy).granted & no & OPTIONAL


@quick
@given(said=LISTS, policy=POLICIES, place=st.sampled_from(["", "DE", "US-CA"]), data=st.data())
def test_the_same_input_gives_the_same_judgement_in_any_order(
    said: list[Statement], policy: Policy, place: str, data: st.DataObject
) -> None:
    first = judge(said, policy, place)
    assert judge(list(said), policy, place) == first
    shuffled = judge(data.draw(st.permutations(said)), policy, place)
    assert (shuffled.granted, shuffled.opted_out, shuffled.place) == (first.granted, first.opted_out, place)


@quick
@given(said=LISTS, policy=POLICIES)
def test_every_purpose_is_covered_by_exactly_one_ruling(said: list[Statement], policy: Policy) -> None:
    judgement = judge(said, policy)
    covered = granted = 0
    for ruling in judgement.rulings:
        assert ruling.purposes
        assert not covered & ruling.purposes, "a purpose is ruled twice"
        covered |= ruling.purposes
        if ruling.granted:
            granted |= ruling.purposes
    assert covered == ALL_PURPOSES
    assert granted == judgement.granted
    assert judgement.granted & NECESSARY
    assert judgement.rules == RULES_VERSION
    assert judgement.regime == policy.regime.value


@quick
@given(said=LISTS, policy=POLICIES)
def test_a_no_is_ruled_by_the_earliest_step_that_says_it(said: list[Statement], policy: Policy) -> None:
    """Stored refusals may be replaced and GPC overridden; for all other denials the earliest step must be the one."""
    said = [s for s in said if s.step is not Step.STORED_REFUSAL and not s.opted_out]
    for ruling in judge(said, policy).rulings:
        if ruling.granted or ruling.step == Step.REGIME_DEFAULT:
            continue
        for purpose in PURPOSES.values():
            if ruling.purposes & purpose:
                assert ruling.step == min(s.step for s in said if s.denied & purpose)


def test_the_judgement_names_who_was_heard_in_the_order_of_the_steps() -> None:
    judgement = judge([agreed(ANALYTICS), claim(ANALYTICS), GPC], Policy())
    assert judgement.heard == ("sec_gpc", "claim", "receipt")
    assert Ruling(ANALYTICS, True, Step.OWN_CHOICE, "claim") in judgement.rulings


# ------------------------------------------------------------------ what one destination may see

RECEIVED: Final = Received(
    site="shop",
    event_id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
    name="purchase",
    trust="server",
    occurred_at_ms=NOW,
    received_at_ms=NOW,
    amount_minor=4_990,
    currency="EUR",
    order_id="A-1",
    items=(Item(id="sku-1"),),
    props={"plan": "pro"},
    search="blue shirt",
    session=1_795_175_000,
    person=Person(email=(Personal("jane@example.com"),)),
    device=Device(ip=Personal("203.0.113.7"), user_agent=Personal("Agent/1"), agent=Agent("mobile")),
    click_ids={"gclid": "abc"},
    campaign={"source": "newsletter"},
    platform_ids={"_fbp": "fb.1.1.1"},
    click_seen_at_ms=NOW - 5,
)
VISITOR: Final = Visitor("signed", "visitor-id", b"k" * 16, 20_000)
PAGE: Final = Page(url="https://www.shop.example/thanks", title="Thanks")


def judged(
    granted: int, *, visitor: Visitor = VISITOR, received: Received = RECEIVED, page: Page = PAGE, opted_out: int = 0
) -> Judged:
    judgement = Judgement("opt_in", granted | NECESSARY, (), RULES_VERSION, opted_out=opted_out)
    return Judged(received, visitor, judgement, page, received.props)


NEEDS = st.builds(
    lambda base, groups: Needs(base=base, groups=groups),
    SETS,
    st.dictionaries(st.sampled_from(Group), SETS, max_size=5),
)


@quick
@given(granted=SETS, needs=NEEDS, opted_out=st.integers(0, 15))
def test_no_destination_sees_a_group_whose_purposes_are_not_granted(granted: int, needs: Needs, opted_out: int) -> None:
    granted |= NECESSARY
    made = permit(judged(granted, opted_out=opted_out), "meta", needs)
    if not needs.base or needs.base & ~granted:
        assert isinstance(made, Withheld)
        assert made.reason in REASONS
        assert made.missing == needs.base & ~granted
        return
    assert not isinstance(made, Withheld)
    shown = {group for group in Group if not needs.groups.get(group, 0) & ~granted}
    value, page = Group.VALUE in shown, Group.PAGE in shown
    identifiers, contact, device = Group.IDENTIFIERS in shown, Group.CONTACT in shown, Group.DEVICE in shown
    assert made.person == (RECEIVED.person if contact else None)
    assert made.device == (RECEIVED.device if device else None)
    assert made.page == (PAGE if page else Page())
    assert made.campaign == (RECEIVED.campaign if page else {})
    assert made.visitor_id == ("visitor-id" if identifiers else None)
    assert made.session == (RECEIVED.session if identifiers else None)
    assert made.click_ids == (RECEIVED.click_ids if identifiers else {})
    assert made.click_seen_at_ms == (RECEIVED.click_seen_at_ms if identifiers else None)
    assert made.platform_ids == (RECEIVED.platform_ids if identifiers else {})
    assert made.amount_minor == (4_990 if value else None)
    assert made.currency == ("EUR" if value else None)
    assert made.order_id == ("A-1" if value else None)
    assert made.items == (RECEIVED.items if value else ())
    assert made.props == (RECEIVED.props if value else {})
    assert made.search == ("blue shirt" if value else None)
    rests_on = needs.base
    for group in shown:
        rests_on |= needs.groups.get(group, 0)
    assert made.purposes == rests_on
    assert made.purposes & ~granted == 0
    assert made.consent == granted
    assert made.opted_out == opted_out


@quick
@given(granted=SETS, needs=NEEDS)
def test_a_daily_visitor_is_never_forwarded(granted: int, needs: Needs) -> None:
    daily = judged(granted, visitor=Visitor("daily", None, b"d" * 16))
    assert permit(daily, "meta", needs) == Withheld("cookieless")


def test_a_destination_that_declares_no_purpose_sees_nothing() -> None:
    assert permit(judged(ALL_PURPOSES), "webhook", Needs(base=0, groups={})) == Withheld("consent_missing", 0)


WITHHELD: Final = {
    "consent is missing": (ANALYTICS, 0, Withheld("consent_missing", ADVERTISING | AD_USER_DATA)),
    "part of it is missing": (ADVERTISING, 0, Withheld("consent_missing", AD_USER_DATA)),
    "the visitor opted out of sale": (ANALYTICS, SALE_OR_SHARING, Withheld("opted_out", ADVERTISING | AD_USER_DATA)),
    "the visitor opted out of targeting": (0, TARGETED_ADVERTISING, Withheld("opted_out", ADVERTISING | AD_USER_DATA)),
    "an opt-out from profiling is not the reason": (
        0,
        PROFILING,
        Withheld("consent_missing", ADVERTISING | AD_USER_DATA),
    ),
}


@pytest.mark.parametrize(("granted", "opted_out", "expected"), WITHHELD.values(), ids=WITHHELD.keys())
def test_an_event_is_withheld_with_the_reason(granted: int, opted_out: int, expected: Withheld) -> None:
    needs = Needs(base=ADVERTISING | AD_USER_DATA, groups={})
    assert permit(judged(granted, opted_out=opted_out), "meta", needs) == expected


def test_missing_analytics_is_not_blamed_on_an_opt_out() -> None:
    made = permit(judged(0, opted_out=SALE_OR_SHARING), "ga4", Needs(base=ANALYTICS, groups={}))
    assert made == Withheld("consent_missing", ANALYTICS)


BARE: Final = msgspec.structs.replace(
    RECEIVED,
    person=None,
    device=NO_DEVICE,
    click_ids={},
    platform_ids={},
    campaign={},
    session=None,
    click_seen_at_ms=None,
)
RESTS: Final = {
    "an id": (Group.IDENTIFIERS, judged(ALL_PURPOSES, received=BARE), True),
    "a click id": (
        Group.IDENTIFIERS,
        judged(ALL_PURPOSES, visitor=NOBODY, received=msgspec.structs.replace(BARE, click_ids={"gclid": "a"})),
        True,
    ),
    "a vendor's cookie": (
        Group.IDENTIFIERS,
        judged(ALL_PURPOSES, visitor=NOBODY, received=msgspec.structs.replace(BARE, platform_ids={"_fbp": "a"})),
        True,
    ),
    "the visit": (
        Group.IDENTIFIERS,
        judged(ALL_PURPOSES, visitor=NOBODY, received=msgspec.structs.replace(BARE, session=1)),
        True,
    ),
    "no identifier": (Group.IDENTIFIERS, judged(ALL_PURPOSES, visitor=NOBODY, received=BARE), False),
    "a person": (Group.CONTACT, judged(ALL_PURPOSES), True),
    "no person": (Group.CONTACT, judged(ALL_PURPOSES, received=BARE), False),
    "an address and an agent": (Group.DEVICE, judged(ALL_PURPOSES), True),
    "no device": (Group.DEVICE, judged(ALL_PURPOSES, received=BARE), False),
    "a page": (Group.PAGE, judged(ALL_PURPOSES, received=BARE), True),
    "a campaign": (
        Group.PAGE,
        judged(ALL_PURPOSES, received=msgspec.structs.replace(BARE, campaign={"source": "x"}), page=Page()),
        True,
    ),
    "no page": (Group.PAGE, judged(ALL_PURPOSES, received=BARE, page=Page()), False),
    "a value": (Group.VALUE, judged(ALL_PURPOSES, received=BARE), True),
}  # fmt: skip


@pytest.mark.parametrize(("group", "event", "rests"), RESTS.values(), ids=RESTS.keys())
def test_a_purpose_is_leaned_on_only_when_something_rests_on_it(group: Group, event: Judged, rests: bool) -> None:
    made = permit(event, "x", Needs(base=ANALYTICS, groups={group: AD_PERSONALIZATION}))
    assert not isinstance(made, Withheld)
    assert made.purposes == (ANALYTICS | AD_PERSONALIZATION if rests else ANALYTICS)


# ------------------------------------------------------------------ asked again before sending


@quick
@given(purposes=SETS, denied=SETS)
def test_a_delivery_is_cancelled_exactly_when_a_purpose_it_rests_on_was_lost(purposes: int, denied: int) -> None:
    lost = judge_again(purposes, denied)
    assert bool(lost) is bool(purposes & denied & OPTIONAL)
    assert lost & ~(purposes & denied) == 0
    assert not lost & NECESSARY


# ------------------------------------------------------------------ what may be kept


@pytest.mark.parametrize("needs", [ANALYTICS, ADVERTISING], ids=["a site that needs analytics", "one that needs ads"])
@pytest.mark.parametrize("granted", range(0, ALL_PURPOSES + 1, 4))
def test_an_id_is_kept_only_under_the_purpose_of_the_site(needs: int, granted: int) -> None:
    judgement = Judgement("opt_in", granted, (), "x")
    assert keeps_visitor(judgement, needs) is bool(granted & needs)
    assert keeps_details(judgement) is bool(granted & ANALYTICS)


CHANGES: Final = {
    "a first yes": (None, ANALYTICS, 0, "given"),
    "a first no": (None, 0, ANALYTICS, "refused"),
    "a first choice of both": (None, ANALYTICS, ADVERTISING, "given"),
    "a first no after an empty record": ((0, 0), 0, ANALYTICS, "refused"),
    "one more yes": ((ANALYTICS, 0), ANALYTICS | ADVERTISING, 0, "given"),
    "a yes after a no": ((0, ANALYTICS), ANALYTICS, 0, "given"),
    "a yes taken back": ((ANALYTICS, 0), 0, ANALYTICS, "withdrawn"),
    "one yes taken back, another given": ((ANALYTICS, 0), ADVERTISING, ANALYTICS, "withdrawn"),
    "a yes that is void": ((ANALYTICS | ADVERTISING, 0), ANALYTICS, 0, "withdrawn"),
    "one more no": ((ANALYTICS, 0), ANALYTICS, ADVERTISING, "changed"),
    "a yes and a new no": ((0, ANALYTICS), ANALYTICS, ADVERTISING, "changed"),
    "the same again": ((ANALYTICS, ADVERTISING), ANALYTICS, ADVERTISING, "changed"),
}


@pytest.mark.parametrize(("before", "granted", "denied", "kind"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_has_its_name(before: tuple[int, int] | None, granted: int, denied: int, kind: str) -> None:
    assert change_kind(before, granted, denied) == kind


@quick
@given(before=st.tuples(SETS, SETS), granted=SETS, denied=SETS)
def test_whatever_takes_back_a_yes_is_a_withdrawal(before: tuple[int, int], granted: int, denied: int) -> None:
    kind = change_kind(before, granted, denied)
    assert kind in {"given", "refused", "withdrawn", "changed"}
    assert (kind == "withdrawn") is bool(before[0] & (denied | ~granted))


@pytest.mark.parametrize(
    ("policy", "said", "place", "restricted"),
    [
        (Policy(regime=Regime.OPT_OUT_SIGNAL), [], "US-CA", True),
        (Policy(regime=Regime.OPT_OUT_SIGNAL, silence_limit=NECESSARY), [], "US-CA", False),
        (Policy(regime=Regime.OPT_OUT_SIGNAL, silence_limit=NECESSARY), [claim(ADVERTISING_PURPOSES)], "US-CA", True),
        (Policy(regime=Regime.OPT_OUT), [], "SG", False),
        (Policy(regime=Regime.OPT_OUT), [], "", False),
    ],
    ids=["a state", "where silence grants nothing", "but a word did", "another country", "nobody knows where"],
)
def test_an_opt_out_never_opens_what_silence_left_closed(
    policy: Policy, said: list[Statement], place: str, restricted: bool
) -> None:
    signal = Statement(Step.OPT_OUT_SIGNAL, "sec_gpc", opted_out=SALE_OR_SHARING)
    needs = Needs(base=ADVERTISING, groups={}, restricted=True)
    shown = groups_shown(judge([*said, signal], policy, place), needs, restricted=True)
    assert (isinstance(shown, Shown) and shown.restricted) is restricted
