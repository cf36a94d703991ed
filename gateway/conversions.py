"""Conversions: which events are conversions, what makes two of them the same, and what repeats are worth (pure).

The key of a conversion is unique per site and goal: the order id where there is one, else the event id. The first
conversion with a key counts. A repeat with the same content is a duplicate; a repeat with another amount or currency is
a conflict, which an authenticated caller is told about and a browser is not.
"""

from typing import TYPE_CHECKING, NamedTuple

from gateway.event import ConversionClaim

if TYPE_CHECKING:
    from gateway.event import Received

__all__ = ["ORDER_ID_MAX_CHARACTERS", "Counted", "claim", "claim_key", "is_conversion", "same_content"]

ORDER_ID_MAX_CHARACTERS = 64


class Counted(NamedTuple):
    """The amount and currency a conversion was counted with."""

    amount_minor: int | None
    currency: str | None


def is_conversion(received: "Received", conversion_events: frozenset[str]) -> bool:
    """Whether an event is a conversion: sent as one, given a goal, or named in the site's list."""
    return received.conversion or received.goal is not None or received.name in conversion_events


def claim_key(order_id: str | None, event_id: str) -> str:
    """Build the key that may count once per site and goal. Order ids are case-sensitive."""
    return f"o:{order_id}" if order_id else f"e:{event_id}"


def claim(received: "Received") -> ConversionClaim:
    """Make the claim of an event to be a conversion. Its goal is the one it names, else its own name."""
    return ConversionClaim(
        goal=received.goal or received.name,
        key=claim_key(received.order_id, received.event_id),
        order_id=received.order_id,
        amount_minor=received.amount_minor,
        currency=received.currency if received.amount_minor is not None else None,
        test=received.test,
    )


def same_content(first: Counted, again: Counted) -> bool:
    """Whether a repeat says the same as the conversion that counts. A repeat without an amount says nothing new."""
    return again.amount_minor is None or first == again
