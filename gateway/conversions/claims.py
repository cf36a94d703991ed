"""Claims: which events are conversions, what makes two of them the same, and what repeats are worth (pure).

The key of a conversion is unique per site and goal: the order id where there is one, else the event id. The first
conversion with a key counts. A repeat with the same content is a duplicate; a repeat with another amount or currency is
a conflict, which an authenticated caller is told about and a browser is not.

A conversion that says no amount is worth the default of its goal, if the goal has one. Zero is an amount and stays zero.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.event import ConversionClaim

if TYPE_CHECKING:
    from gateway.catalogue import Goal
    from gateway.event import Received

__all__ = [
    "ORDER_ID_MAX_CHARACTERS",
    "VALUE_SOURCES",
    "Counted",
    "claim",
    "claim_key",
    "is_conversion",
    "same_content",
]

ORDER_ID_MAX_CHARACTERS = 64

VALUE_SOURCES: Final[dict[str, str]] = {
    "event": "The conversion said its amount itself.",
    "default": "The conversion said no amount; the goal's default was taken.",
    "none": "The conversion said no amount, and its goal has no default.",
}
"""Where the amount of a conversion comes from."""


class Counted(NamedTuple):
    """The amount and currency a conversion was counted with, and which of VALUE_SOURCES they are from."""

    amount_minor: int | None
    currency: str | None
    value_source: str = "event"


def is_conversion(received: "Received", conversion_events: frozenset[str]) -> bool:
    """Whether an event is a conversion: sent as one, given a goal, or named in the site's list."""
    return received.conversion or received.goal is not None or received.name in conversion_events


def claim_key(order_id: str | None, event_id: str) -> str:
    """Build the key that may count once per site and goal. Order ids are case-sensitive."""
    return f"o:{order_id}" if order_id else f"e:{event_id}"


def claim(
    received: "Received", goal: "Goal | None" = None, *, click_id: str | None = None, coupons: tuple[str, ...] = ()
) -> ConversionClaim:
    """Make the claim of an event to be a conversion.

    Its goal is the given record's, else the one the event names, else the event's own name. `click_id` is the click the
    conversion names, `coupons` are the codes written on its order.
    """
    if received.amount_minor is not None:
        counted = Counted(received.amount_minor, received.currency)
    elif goal is not None and goal.value_minor is not None:
        counted = Counted(goal.value_minor, goal.currency, "default")
    else:
        counted = Counted(None, None, "none")
    return ConversionClaim(
        goal=goal.code if goal is not None else received.goal or received.name,
        key=claim_key(received.order_id, received.event_id),
        order_id=received.order_id,
        amount_minor=counted.amount_minor,
        currency=counted.currency,
        test=received.test,
        value_source=counted.value_source,
        click_id=click_id,
        coupons=coupons,
    )


def same_content(first: Counted, again: Counted) -> bool:
    """Whether a repeat says the same as the conversion that counts. A repeat that says no amount says nothing new.

    That holds as well where the goal's default stands in for it: the default may have changed in between.
    """
    if again.amount_minor is None or again.value_source != "event":
        return True
    return first[:2] == again[:2]
