"""Consent: from what was said to what may be done, and the reason for it.

How to read this file, for lawyers and auditors:

1. Signals are read elsewhere (`signals/`) and arrive here as *statements*: who says it, which purposes are granted, which
   are denied, when. A purpose a statement does not mention is unset. Silence is never a yes.
2. `judge()` goes through eight steps in a fixed order (`purposes.Step`). **The first step that says no wins**, purpose by
   purpose, and its name is kept. If nobody says no, a yes counts if some step said yes. If nobody said anything, the
   rules of the visitor's place decide (opt_in: no).
   Some signals speak to some destinations only (an IAB string to the vendors it names, Google's consent mode to Google):
   then the event is judged once more for each of those, by the same steps.
3. `permit()` looks at one destination: are the purposes it needs granted? If not, the event is withheld from it. If so,
   each group of fields the destination is not allowed to see is cut off before anything is rendered.
4. `judge_again()` asks once more right before sending: if any purpose a waiting delivery rests on was lost meanwhile, the
   delivery is cancelled whole.

Whatever is unknown, unreadable or contradictory is read in the stricter way. Nothing here reads a clock, a file or a
network: the same input always gives the same judgement.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.event import NO_DEVICE, Judged, Page, Withheld
from gateway.permit import Permitted
from gateway.purposes import (
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
    NECESSARY,
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

__all__ = [
    "RULES_VERSION",
    "Policy",
    "Shown",
    "change_kind",
    "groups_shown",
    "judge",
    "judge_again",
    "keeps_details",
    "keeps_visitor",
    "permit",
]

RULES_VERSION: Final = "2026-11"
"""Version of the rules in this file, stored with every judgement. Changes when a judgement could come out differently."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decided for one site.

    `regime` is what silence means here. `silence_grants` applies under Regime.NONE only. `silence_limit` is what silence
    may grant at most where it may grant at all: a place never allows more than the site does. `gpc_grant_overrides` lets
    an explicit grant on this site override Global Privacy Control in opt_in places, off unless the operator turns it on.
    """

    regime: Regime = Regime.OPT_IN
    silence_grants: int = NECESSARY
    silence_limit: int = ALL_PURPOSES
    gpc_grant_overrides: bool = False


# ------------------------------------------------------------------ judging


def judge(statements: Iterable[Statement], policy: Policy, place: str = "") -> Judgement:
    """Decide every purpose for one event from everything that was said.

    `place` is the coarse place of the visitor, empty when unknown; it is only written down here.
    """
    said = sorted(_still_valid(list(statements)), key=_step_of)
    denied = granted = opted_out = refused_by_more = agreed_to = 0
    rulings: list[Ruling] = []

    # First pass: who says no, earliest step first.
    for statement in said:
        opted_out |= statement.opted_out
        agreed_to |= statement.granted
        refused = _refused_by(statement, policy, said) & ALL_PURPOSES & ~NECESSARY
        if statement.step is not Step.OPT_OUT_SIGNAL:
            refused_by_more |= refused
        refused &= ~denied
        if refused:
            rulings.append(Ruling(refused, False, statement.step, statement.source))
            denied |= refused

    # Second pass: for what nobody refused, who says yes.
    rulings.append(_EXEMPT)
    granted = NECESSARY
    for statement in said:
        agreed = statement.granted & ALL_PURPOSES & ~denied & ~granted
        if agreed:
            rulings.append(Ruling(agreed, True, statement.step, statement.source))
            granted |= agreed

    # What is left was not spoken about: the rules of the place decide.
    silent = ALL_PURPOSES & ~denied & ~granted
    if silent:
        allowed = silent & _silence_grants(policy, opted_out)
        if allowed:
            rulings.append(Ruling(allowed, True, Step.REGIME_DEFAULT, policy.regime.value))
            granted |= allowed
        if silent & ~allowed:
            rulings.append(Ruling(silent & ~allowed, False, Step.REGIME_DEFAULT, policy.regime.value))

    return Judgement(
        regime=policy.regime.value,
        granted=granted,
        rulings=tuple(rulings),
        rules=RULES_VERSION,
        place=place,
        heard=tuple([statement.source for statement in said]),
        opted_out=opted_out,
        # Without the opt-out these would have been granted: by a word, or by silence as far as it grants here.
        opted_out_only=denied & ~refused_by_more & (agreed_to | _silence_grants(policy, 0)),
        conflict=_conflict(said) if len(said) > 1 else 0,
    )


_EXEMPT: Final = Ruling(NECESSARY, True, 0, "exempt")


def _step_of(statement: Statement) -> int:
    return statement.step


def _still_valid(statements: list[Statement]) -> list[Statement]:
    """Take out of a stored refusal what a later choice of the same visitor replaced; both times must be trusted.

    A choice replaces what it names and leaves the rest refused: where silence grants, dropping the rest would turn a
    refusal into a yes. Nothing else is ever dropped: between two statements of the same rank the refusal wins,
    whatever their times.
    """
    choices = [s for s in statements if s.step is Step.OWN_CHOICE and s.trusted_time and s.at_ms is not None]
    if not choices:
        return statements
    valid: list[Statement] = []
    for statement in statements:
        if statement.step is Step.STORED_REFUSAL and statement.trusted_time and statement.at_ms is not None:
            named = 0
            for choice in choices:
                if choice.at_ms is not None and choice.at_ms > statement.at_ms:
                    named |= choice.granted | choice.denied
            opted_out = statement.opted_out if ADVERTISING_PURPOSES & ~named else 0
            statement = msgspec.structs.replace(statement, denied=statement.denied & ~named, opted_out=opted_out)
            if not statement.denied and not statement.opted_out:
                continue
        valid.append(statement)
    return valid


def _conflict(said: list[Statement]) -> int:
    """Purposes on which statements of one step disagree. The refusal has won already; this only says that there was one.

    `said` is in the order of the steps.
    """
    found = granted = denied = step = 0
    for statement in said:
        if statement.step != step:
            step, granted, denied = statement.step, 0, 0
        granted |= statement.granted
        denied |= statement.denied
        found |= granted & denied
    return found


def _refused_by(statement: Statement, policy: Policy, said: list[Statement]) -> int:
    """Purposes this statement refuses, opt-outs from sale, sharing and targeted advertising included."""
    refused = statement.denied
    if statement.opted_out & (SALE_OR_SHARING | TARGETED_ADVERTISING):
        refused |= ADVERTISING_PURPOSES
    if (
        policy.gpc_grant_overrides
        and statement.step is Step.OPT_OUT_SIGNAL
        and statement.source == "sec_gpc"
        and policy.regime is Regime.OPT_IN
    ):
        for choice in said:
            if choice.step in (Step.OWN_CHOICE, Step.STORED_GRANT):
                refused &= ~choice.granted
    return refused


def _silence_grants(policy: Policy, opted_out: int) -> int:
    """Purposes that silence grants under the site's regime."""
    if policy.regime is Regime.OPT_IN:
        return NECESSARY
    if policy.regime is Regime.NONE:
        return policy.silence_grants
    if opted_out & (SALE_OR_SHARING | TARGETED_ADVERTISING):
        return policy.silence_limit & ~ADVERTISING_PURPOSES
    return policy.silence_limit


# ------------------------------------------------------------------ permitting


class Shown(msgspec.Struct, frozen=True):
    """Groups of fields a destination may see. `restricted`: only in its restricted mode, because the visitor opted out."""

    groups: tuple[Group, ...]
    restricted: bool = False


def groups_shown(judgement: Judgement, needs: Needs, *, restricted: bool = False) -> Shown | Withheld:
    """Which groups of fields a destination may see under a judgement, or why it may see nothing.

    Withheld reasons: `opted_out`, `consent_missing`. A destination that declares no purpose is withheld as well: a
    missing declaration is not a permission. `restricted`: the operator chose that a visitor who opted out is not
    withheld from this destination but sent in its restricted mode.
    """
    granted = judgement.granted
    missing = needs.base & ~granted
    limited = bool(missing) and restricted and needs.restricted and not missing & ~_only_opted_out(judgement)
    if (missing and not limited) or not needs.base:
        opted_out = judgement.opted_out & (SALE_OR_SHARING | TARGETED_ADVERTISING)
        return Withheld("opted_out" if opted_out and missing & ADVERTISING_PURPOSES else "consent_missing", missing)
    seen_under = granted | _only_opted_out(judgement) if limited else granted
    return Shown(tuple([group for group in Group if not needs.groups.get(group, 0) & ~seen_under]), limited)


def permit(
    judged: Judged, destination: str, needs: Needs, goal: str | None = None, *, restricted: bool = False
) -> Permitted | Withheld:
    """Cut an event down to what one destination may see, or withhold it.

    Withheld reasons: `cookieless` (a daily id is never forwarded) and those of `groups_shown()`, which decides.
    """
    if judged.visitor.kind == "daily":
        return Withheld("cookieless")
    judgement = judged.judgements.get(destination, judged.judgement)
    decided = groups_shown(judgement, needs, restricted=restricted)
    if isinstance(decided, Withheld):
        return decided
    received = judged.received
    shown = decided.groups
    used = needs.base
    for group in shown:
        if _holds(group, judged):
            used |= needs.groups.get(group, 0)

    value = Group.VALUE in shown
    page = Group.PAGE in shown
    identifiers = Group.IDENTIFIERS in shown
    return Permitted(
        destination=destination,
        purposes=used,
        consent=judgement.granted,
        opted_out=judgement.opted_out,
        restricted=decided.restricted,
        event_id=received.event_id,
        name=received.name,
        trust=received.trust,
        occurred_at_ms=received.occurred_at_ms,
        received_at_ms=received.received_at_ms,
        test=received.test,
        goal=goal,
        amount_minor=received.amount_minor if value else None,
        currency=received.currency if value else None,
        order_id=received.order_id if value else None,
        items=received.items if value else (),
        props=judged.props if value else {},
        search=received.search if value else None,
        page=judged.page if page else _NO_PAGE,
        campaign=received.campaign if page else {},
        visitor_id=judged.visitor.id if identifiers else None,
        session=received.session if identifiers else None,
        click_ids=received.click_ids if identifiers else {},
        click_seen_at_ms=received.click_seen_at_ms if identifiers else None,
        platform_ids=received.platform_ids if identifiers else {},
        person=received.person if Group.CONTACT in shown else None,
        device=received.device if Group.DEVICE in shown else None,
    )


_NO_PAGE: Final = Page()


def _only_opted_out(judgement: Judgement) -> int:
    """Purposes that were refused by an opt-out signal and by nothing else, in a US state where such a signal is an opt-out.

    Where consent is needed first (opt_in), an opt-out leaves no yes behind that a restricted mode could rest on; and
    vendors' restricted modes restrict nothing outside of the USA.
    """
    in_a_state = judgement.place.startswith("US-") and judgement.regime in _OPT_OUT_PLACES
    return judgement.opted_out_only if in_a_state else 0


_OPT_OUT_PLACES: Final = frozenset({Regime.OPT_OUT_SIGNAL.value, Regime.OPT_OUT.value})


def _holds(group: Group, judged: Judged) -> bool:
    """Whether the event has anything in a group, so that a purpose is only leaned on when something rests on it."""
    received = judged.received
    if group is Group.CONTACT:
        return received.person is not None
    if group is Group.DEVICE:
        return received.device != NO_DEVICE
    if group is Group.IDENTIFIERS:
        return bool(judged.visitor.id or received.click_ids or received.platform_ids or received.session is not None)
    if group is Group.PAGE:
        return judged.page != _NO_PAGE or bool(received.campaign)
    return True


def judge_again(purposes: int, denied_since: int) -> int:
    """Second judgement, right before sending: the purposes a waiting delivery rested on that were lost since.

    `denied_since` are purposes the same visitor or person refused, withdrew or objected to after the event was judged,
    or before, where the judgement could not know it. Anything but zero cancels the delivery whole.
    """
    return purposes & denied_since & ~NECESSARY


# ------------------------------------------------------------------ what may be kept


def keeps_visitor(judgement: Judgement, id_needs: int) -> bool:
    """Whether a first-party id may be set, read and kept for this event."""
    return bool(judgement.granted & id_needs)


def keeps_details(judgement: Judgement) -> bool:
    """Whether page details and properties of this event may be kept for the site's own analytics."""
    return bool(judgement.granted & ANALYTICS)


def change_kind(before: tuple[int, int] | None, granted: int, denied: int) -> str:
    """Name a change for the log: `given`, `refused`, `withdrawn` or `changed`.

    `before` holds what was granted and denied, None when nothing was known. A change that takes anything back that was
    granted is a withdrawal, even if it grants something else.
    """
    if before is None or not (before[0] | before[1]):
        return "refused" if not granted else "given"
    if before[0] & (denied | ~granted):
        return "withdrawn"
    if granted & ~before[0] and not denied & ~before[1]:
        return "given"
    return "changed"
