"""The site's own word: choices made through the gateway, and what the sender of an event says about consent.

A recorded choice splits in two: what was refused stands at step 2 and is stronger than anything the event claims; what
was granted stands at step 7 and is weaker. So a refusal holds until the visitor makes a new choice, and a page that
says "granted" by mistake cannot undo it.

What an event says about the person stands at step 1: of somebody under age, and of sensitive data that nobody agreed to
be used, no advertising purpose is left, whatever else was said.
"""

from typing import TYPE_CHECKING

from gateway.purposes import ADVERTISING_PURPOSES, Statement, Step

if TYPE_CHECKING:
    from gateway.signals.carried import Carried

__all__ = ["from_claim", "from_person", "from_receipt"]


def from_person(carried: "Carried") -> tuple[Statement, ...]:
    """Read what the event says of the person."""
    statements: tuple[Statement, ...] = ()
    if carried.minor:
        statements = (Statement(Step.BLOCKED, "minor", denied=ADVERTISING_PURPOSES),)
    if carried.sensitive and not carried.sensitive_agreed:
        statements += (Statement(Step.BLOCKED, "sensitive", denied=ADVERTISING_PURPOSES),)
    return statements


def from_receipt(carried: "Carried") -> tuple[Statement, ...]:
    """Read the recorded choice."""
    stored = carried.stored
    if stored is None:
        return ()
    granted = stored.granted & ~stored.denied if stored.current else 0
    statements: tuple[Statement, ...] = ()
    if stored.denied:
        statements = (
            Statement(Step.STORED_REFUSAL, "receipt", denied=stored.denied, at_ms=stored.at_ms, trusted_time=True),
        )
    if granted:
        statements += (Statement(Step.STORED_GRANT, "receipt", granted=granted, at_ms=stored.at_ms, trusted_time=True),)
    return statements


def from_claim(carried: "Carried") -> tuple[Statement, ...]:
    """Read what came with the event."""
    if not carried.claim:
        return ()
    return (
        Statement(
            Step.OWN_CHOICE,
            "backend" if carried.claim_trusted else "claim",
            granted=carried.claim_granted & ~carried.claim_denied,
            denied=carried.claim_denied,
            at_ms=carried.claim_at_ms,
            trusted_time=carried.claim_trusted,
        ),
    )
