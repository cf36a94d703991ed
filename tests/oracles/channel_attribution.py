"""Ask ChannelAttribution: journeys on standard input, its credits on standard output.

Run by the interpreter the package was built for, not by the gateway's own. The package draws; what it draws with is
left out, because nothing is drawn here. `max_step` is far above the longest path: by default the package cuts every walk
at the longest path observed, which moves credit between channels.
"""

import importlib
import json
import sys
import types
from typing import Any

for name in ("matplotlib", "matplotlib.pyplot"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]  # type: ignore[attr-defined] # a stand-in

WALKS = 1_000_000
STEPS = 100_000


def ask(package: Any, frames: Any, question: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Credits of the rules first, last and linear, and of Markov models of the orders asked for."""
    rows = question["rows"]
    frame = frames.DataFrame(
        {
            "path": [" > ".join(row["path"]) for row in rows],
            "conversions": [row["conversions"] for row in rows],
            "value": [float(row["value"]) for row in rows],
            "nulls": [row["nulls"] for row in rows],
        }
    )
    found: dict[str, dict[str, float]] = {}
    rules = package.heuristic_models(frame, "path", "conversions", "value", sep=">", flg_pro=False)
    names = [str(name) for name in rules["channel_name"]]
    for ours, theirs in (("first_click", "first_touch"), ("last_click", "last_touch"), ("linear", "linear_touch")):
        for what, column in (("conversions", "conversions"), ("value", "value")):
            found[f"{ours} {what}"] = dict(zip(names, map(float, rules[f"{theirs}_{column}"]), strict=True))
    for order in question["orders"]:
        answer = package.markov_model(
            frame,
            "path",
            "conversions",
            "value",
            "nulls",
            order=order,
            nsim_start=WALKS,
            max_step=STEPS,
            out_more=True,
            sep=">",
            seed=1,
            conv_par=1.0,
            verbose=False,
            flg_pro=False,
        )
        result, effects = answer["result"], answer["removal_effects"]
        names = [str(name) for name in result["channel_name"]]
        for what, column in (("conversions", "total_conversions"), ("value", "total_conversion_value")):
            found[f"markov_k{order} {what}"] = dict(zip(names, map(float, result[column]), strict=True))
        names = [str(name) for name in effects["channel_name"]]
        lost = map(float, effects["removal_effects_conversion"])
        found[f"markov_k{order} removal_effect"] = dict(zip(names, lost, strict=True))
    return found


def main() -> None:
    """Answer every question, in order."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # the package greets
    package, frames = importlib.import_module("ChannelAttribution"), importlib.import_module("pandas")
    json.dump([ask(package, frames, question) for question in json.load(sys.stdin)], answers)


if __name__ == "__main__":
    main()
