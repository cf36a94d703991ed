"""Closed lists: a refusal of a word names the words that are taken, and never the one that was sent."""

from typing import Any, Final

import msgspec
import pytest

from gateway.conversions.goals import CHOICES, PRESETS, preset
from gateway.errors import Refusal
from gateway.protocols import reading
from gateway.protocols.catalogue_shapes import SHAPES, WireGoal
from gateway.protocols.closed_lists import words_at
from gateway.protocols.wire import WireBatch

COUNTS: Final = ("every", "one_per_click", "one_per_person")


@pytest.mark.parametrize("field", CHOICES)
def test_the_words_of_a_goals_field_are_those_its_rules_take(field: str) -> None:
    assert sorted(words_at(WireGoal, field)) == sorted(CHOICES[field])


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        (WireGoal, "name"),
        (WireGoal, "macro"),
        (WireGoal, "offline_purposes"),
        (WireGoal, "offline_purposes[0]"),
        (WireGoal, "click_window_days"),
        (WireGoal, "nothing"),
        (WireGoal, "count.nothing"),
        (WireGoal, "count[0]"),
        (WireGoal, ""),
        (SHAPES["link"], "variants[3].percent"),
    ],
)
def test_what_takes_more_than_words_has_none(shape: type, path: str) -> None:
    assert words_at(shape, path) == ()


def test_words_inside_lists_are_found_at_every_index() -> None:
    words = words_at(WireBatch, "events[7].sensitive[...]")
    assert "health" in words
    assert words_at(WireBatch, "events[8].sensitive[0]") == words


def _refused(body: object, shape: type) -> Refusal:
    with pytest.raises(Refusal) as found:
        reading.decode(reading.decoder(shape), msgspec.json.encode(body))
    return found.value


@pytest.mark.parametrize(
    ("body", "code", "field", "allowed"),
    [
        ({"count": "twice"}, "field_invalid", "count", COUNTS),
        ({"count": 3}, "field_type", "count", ()),
        ({"click_window_days": 0}, "field_invalid", "click_window_days", ()),
        ({"kount": "every"}, "field_unknown", "kount", ()),
    ],
)
def test_a_reader_names_the_words_where_a_word_is_wrong(
    body: dict[str, Any], code: str, field: str, allowed: tuple[str, ...]
) -> None:
    refusal = _refused(body, WireGoal)
    assert (refusal.code, refusal.field, refusal.allowed) == (code, field, allowed)


def test_a_refusal_carries_its_words_into_the_answer_and_to_another_path() -> None:
    refusal = _refused({"count": "s3cretVALUE"}, WireGoal).at("links[2].count")
    assert refusal.body() == {
        "error": {
            "code": "field_invalid",
            "message": "The field's value cannot be taken.",
            "field": "links[2].count",
            "allowed": list(COUNTS),
            "docs": "docs/reference/errors.md#field_invalid",
        }
    }
    assert "allowed" not in Refusal("field_invalid", "x").body()["error"]  # type: ignore[operator]


def test_an_unknown_preset_is_told_the_presets() -> None:
    with pytest.raises(Refusal) as found:
        preset("purchaze")
    assert found.value.allowed == tuple(PRESETS)
