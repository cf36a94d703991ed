"""Funnels: who went from goal to goal, in this order (pure)."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["walk"]


def walk(goals: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    """Conversions of each goal, and persons who reached it by way of those before.

    `rows` are goal, person (None when nobody knows) and time, oldest first. A person reaches the next goal with the first
    conversion on it that is not earlier than the one by which the last goal was reached; at one and the same time
    conversions stand in the order of the goals.
    """
    places: dict[str, list[int]] = {}
    for place, goal in enumerate(goals):
        places.setdefault(goal, []).append(place)
    counts: dict[str, int] = dict.fromkeys(places, 0)
    reached: dict[Any, int] = {}
    waiting: list[Sequence[Any]] = []
    at_ms: int | None = None
    for row in rows:
        goal, person, time_ms = row
        counts[goal] += 1
        if person is None:
            continue
        if time_ms != at_ms:
            _advance(places, reached, waiting)
            waiting, at_ms = [], time_ms
        waiting.append(row)
    _advance(places, reached, waiting)
    persons = [0] * len(goals)
    for steps in reached.values():
        for place in range(steps):
            persons[place] += 1
    return [(counts[goal], persons[place]) for place, goal in enumerate(goals)]


def _advance(places: dict[str, list[int]], reached: dict[Any, int], rows: list[Sequence[Any]]) -> None:
    """Let persons take the step that each conversion of one time is. One conversion is one step."""
    if len(rows) > 1:
        rows = sorted(rows, key=lambda row: places[row[0]][0])
    for goal, person, _ in rows:
        step = reached.get(person, 0)
        if step in places[goal]:
            reached[person] = step + 1
