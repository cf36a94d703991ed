"""`gateway attribution run`: answers as promised, faults with their place, wrong use told apart."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from gateway.attribution.journeys import FAULTS as REASONS
from gateway.cli import main
from gateway.errors import CODES, Refusal
from gateway.flows import attributing
from gateway.flows.attributing import attribute, read_journeys, told

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "attribution.json"
SETS: Final[list[dict[str, Any]]] = json.loads(VECTORS.read_bytes())["journey_sets"]


def run(body: object, *arguments: str) -> Result:
    text = body if isinstance(body, str) else json.dumps(body)
    return CliRunner().invoke(main, ["attribution", "run", "-", *arguments], input=text)


def row(*channels: str, conversions: int = 1, **about: Any) -> dict[str, Any]:
    touches = [{"ch": channel, "age_s": 86_400 * (len(channels) - at)} for at, channel in enumerate(channels)]
    return {"touches": touches, "conversions": conversions} | about


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("case", SETS, ids=lambda case: case["id"])
def test_all_models_answer_a_set_in_the_promised_shape(case: dict[str, Any]) -> None:
    journeys = read_journeys(json.dumps(case).encode())
    found = {str(one["model"]): one for one in (told(journeys, answer) for answer in attribute(journeys, "all"))}
    assert list(found) == list(case["expect"])
    for model, expected in case["expect"].items():
        tolerance = 1e-8 if model.startswith("markov") else 1e-9
        assert set(found[model]) - {"model", "removal_effect"} == {"conversions", "value"}
        for what, credits in expected.items():
            answered = found[model][what]
            assert isinstance(answered, dict)
            for channel, credit in credits.items():
                assert abs(answered[channel] - credit) <= tolerance * max(1, abs(credit)), (model, what, channel)


def test_the_command_reads_a_file_and_prints_json(tmp_path: Path) -> None:
    (tmp_path / "journeys.json").write_text(json.dumps(SETS[0]))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "attribution", "run", "journeys.json", "--model", "markov_k1", "--json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "model": "markov_k1",
        "conversions": {"email": 1.0},
        "value": {"email": 10_000.0},
        "removal_effect": {"email": 1.0},
    }


def test_all_models_come_as_a_list_and_one_model_as_an_object() -> None:
    body = {"journeys": [row("a", "b", nulls=1)]}
    everything = json.loads(run(body, "--model", "all", "--json").stdout)
    assert [one["model"] for one in everything] == list(SETS[0]["expect"])
    assert json.loads(run(body, "--json").stdout) == everything
    one = json.loads(run(body, "--model", "linear", "--json").stdout)
    assert one == {"model": "linear", "conversions": {"a": 0.5, "b": 0.5}, "value": {"a": 0.0, "b": 0.0}}


def test_models_of_milestones_answer_where_a_row_names_one_or_when_they_are_asked_for() -> None:
    named = {"journeys": [row("a", "b", "c", lead_age_s=172_800)]}
    models = [one["model"] for one in json.loads(run(named, "--json").stdout)]
    assert models[-3:] == ["u_shaped", "w_shaped", "full_path"]
    u_shaped = json.loads(run(named, "--model", "u_shaped", "--json").stdout)
    assert u_shaped["conversions"] == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})
    unnamed = json.loads(run({"journeys": [row("a", "b", "c")]}, "--model", "u_shaped", "--json").stdout)
    assert unnamed["conversions"] == pytest.approx({"a": 0.4, "b": 0.2, "c": 0.4})


def test_other_percentages_of_position_models_are_models_too() -> None:
    found = json.loads(run({"journeys": [row("a", "b", "c")]}, "--model", "position_50_0_50", "--json").stdout)
    assert found["conversions"] == {"a": 0.5, "b": 0.0, "c": 0.5}


def test_conversions_without_touches_are_told_apart() -> None:
    body = {"journeys": [row(conversions=2, value_minor=50), row("direct")]}
    found = json.loads(run(body, "--model", "linear", "--json").stdout)
    assert found["conversions"] == {"direct": 1.0}
    assert found["unattributed"] == {"conversions": 2, "value": 50}


def test_numbers_made_in_another_way_carry_a_note() -> None:
    body = {"journeys": [row(*[f"c{number}" for number in range(13)])]}
    found = json.loads(run(body, "--model", "shapley_rate", "--json").stdout)
    assert [note["code"] for note in found["notes"]] == ["shapley_set_too_large"]


def test_the_table_shows_whole_minor_units_that_sum_up() -> None:
    body = {"journeys": [row("a", "b", "c", value_minor=100), row(conversions=1, value_minor=7)]}
    lines = run(body, "--model", "linear").stdout.splitlines()
    assert lines[0] == "linear: Linear, version 1"
    assert [line.split() for line in lines[2:]] == [
        ["a", "0.3333", "34"], ["b", "0.3333", "33"], ["c", "0.3333", "33"], ["unattributed", "1.0000", "7"],
    ]  # fmt: skip


def test_the_table_says_what_a_reader_must_know() -> None:
    shown = run({"journeys": [row("a")]}, "--model", "markov_k1").stdout
    assert "note: Fewer than 300 conversions" in shown
    assert "note: No path without a conversion" in shown


def test_a_channel_cannot_write_to_the_terminal() -> None:
    shown = run({"journeys": [row("\x1b[2Jred")]}, "--model", "linear").stdout
    assert "\x1b" not in shown
    assert "x1b[2Jred" in shown


# ------------------------------------------------------------------ faults

FAULTS: Final[dict[str, tuple[object, str, str]]] = {
    "no JSON": ("{", "json_invalid", ""),
    "a list": ("[]", "field_type", ""),
    "no journeys": ({}, "field_missing", "journeys"),
    "journeys of another type": ({"journeys": {}}, "field_type", "journeys"),
    "no conversions": ({"journeys": [{"touches": []}]}, "field_missing", "journeys[0].conversions"),
    "an age is missing": (
        {"journeys": [row("a"), {"touches": [{"ch": "a"}], "conversions": 1}]},
        "field_missing",
        "journeys[1].touches[0].age_s",
    ),
    "an age below zero": (
        {"journeys": [{"touches": [{"ch": "a", "age_s": -1}], "conversions": 1}]},
        "field_invalid",
        "journeys[0].touches[0].age_s",
    ),
    "touches that are not oldest first": (
        {"journeys": [{"touches": [{"ch": "a", "age_s": 1}, {"ch": "b", "age_s": 2}], "conversions": 1}]},
        "field_invalid",
        "journeys[0].touches",
    ),
    "half a conversion": ({"journeys": [row("a", conversions=0) | {"conversions": 0.5}]}, "field_type", "journeys[0].conversions"),
    "value of nothing": ({"journeys": [row("a", conversions=0, value_minor=1)]}, "field_invalid", "journeys[0].value_minor"),
    "a path of 501 touches": ({"journeys": [row(*["a"] * 501)]}, "field_too_long", "journeys[0].touches"),
    "a channel of 201 letters": ({"journeys": [row("a" * 201)]}, "field_too_long", "journeys[0].touches[0].ch"),
    "too many rows": ('{"journeys": [' + ",".join(["0"] * 200_001) + "]}", "field_type", "journeys[0]"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "place"), FAULTS.values(), ids=FAULTS.keys())
def test_a_file_that_cannot_be_used_is_refused_with_its_place(body: object, code: str, place: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(Refusal) as caught:
        read_journeys(text.encode())
    assert (caught.value.code, caught.value.field or "") == (code, place)
    done = run(body)
    assert done.exit_code == 1
    assert done.stderr == (f"{place}: " if place else "") + CODES[code].message + "\n"
    assert json.loads(run(body, "--json").stdout) == {"problems": [done.stderr.rstrip("\n")]}


def test_rows_and_touches_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = b'{"journeys": [' + b",".join([b'{"touches":[],"conversions":1}'] * 200_001) + b"]}"
    with pytest.raises(Refusal, match="field_too_long at journeys"):
        read_journeys(rows)
    monkeypatch.setattr(attributing, "TOUCHES_MAX", 3)
    with pytest.raises(Refusal, match="field_too_long at journeys"):
        read_journeys(json.dumps({"journeys": [row("a", "b"), row("a", "b")]}).encode())


def test_a_model_that_would_take_too_long_says_so_and_the_others_answer() -> None:
    names = [f"c{number}" for number in range(70)]
    journeys = read_journeys(json.dumps({"journeys": [row(*names, nulls=1), row(*names[::-1])]}).encode())
    answers = [told(journeys, answer) for answer in attribute(journeys, "all", work_max=1_000)]
    refused = {str(one["model"]) for one in answers if "error" in one}
    assert refused == {"markov_k1", "markov_k2", "markov_k3", "markov_k1_per_journey"}
    assert answers[8]["error"] == {"code": "too_much_work", "message": REASONS["too_much_work"]}
    text = attributing.text_of(journeys, attribute(journeys, "markov_k1", work_max=1_000))
    assert "not answered: These journeys have so many channels" in text


def test_the_command_leaves_with_one_when_a_model_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.attribution_commands.attribute", lambda journeys, model: attribute(journeys, model, 0))
    done = run({"journeys": [row("a", "b", nulls=1)]}, "--model", "markov_k1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "too_much_work"


def test_an_unknown_model_is_wrong_use() -> None:
    done = run({"journeys": []}, "--model", "best")
    assert done.exit_code == 2
    assert "markov_k1" in done.stderr


def test_a_file_that_is_not_there_is_wrong_use() -> None:
    assert CliRunner().invoke(main, ["attribution", "run", "nowhere.json"]).exit_code == 2


def test_no_journeys_are_no_credit() -> None:
    done = run({"journeys": []})
    assert done.exit_code == 0, done.output
    assert json.loads(run({"journeys": []}, "--model", "markov_k2", "--json").stdout)["conversions"] == {}
