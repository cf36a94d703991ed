"""Counting: which of a site's conversions count, when orders are repeated or a goal counts once only.

Conversions are taken by time, then by the order in which they arrived. A repeated order id, or event id where there is no
order id, is a duplicate on its goal and takes part in nothing else. What is left counts by the goal's mode.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

__all__ = ["VERDICTS", "CountMode", "Countable", "count"]

CountMode = Literal["every", "one_per_click", "one_per_person"]
"""`every` conversion, the first of each click (of each person where there is no click), or the first of each person."""

VERDICTS: Final[dict[str, str]] = {
    "counted": "It counts.",
    "duplicate_order": "The same order was counted before on this goal.",
    "duplicate_event": "The same event was counted before on this goal.",
    "already_counted": "The goal counts once for each click or person, and this one was counted before.",
}


class Countable(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as counting sees it. `sequence` is unique and says what arrived first."""

    id: str
    sequence: int
    at_ms: int
    goal: str
    order_id: str | None = None
    event_id: str | None = None
    click_id: str | None = None
    person: str | None = None


def count(conversions: Iterable[Countable], mode: CountMode) -> dict[str, str]:
    """Give every conversion a key of VERDICTS, by its id, in the order in which they were taken.

    Order ids are case-sensitive. A conversion with neither person nor click counts by itself.
    """
    seen: set[tuple[str, str, str]] = set()
    verdicts: dict[str, str] = {}
    for one in sorted(conversions, key=lambda each: (each.at_ms, each.sequence)):
        verdicts[one.id] = _repeated(one, seen) or _once(one, mode, seen)
    return verdicts


def _repeated(one: Countable, seen: set[tuple[str, str, str]]) -> str | None:
    if one.order_id:
        key, verdict = (one.goal, "order", one.order_id), "duplicate_order"
    elif one.event_id:
        key, verdict = (one.goal, "event", one.event_id), "duplicate_event"
    else:
        return None
    if key in seen:
        return verdict
    seen.add(key)
    return None


def _once(one: Countable, mode: CountMode, seen: set[tuple[str, str, str]]) -> str:
    if mode == "one_per_click" and one.click_id:
        key = (one.goal, "click", one.click_id)
    elif mode != "every" and one.person:
        key = (one.goal, "person", one.person)
    else:
        return "counted"
    if key in seen:
        return "already_counted"
    seen.add(key)
    return "counted"
