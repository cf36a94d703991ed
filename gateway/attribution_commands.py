"""Commands about attribution: what models make of journeys."""

import sys
from typing import IO, Final

import click

from gateway.attribution.registry import MODELS, model_of
from gateway.errors import CODES, GatewayError, Refusal
from gateway.flows.attributing import ALL, attribute, read_journeys, text_of, told
from gateway.terminal import example, fail, json_option, show

__all__ = ["attribution_group"]

FILE_MAX_BYTES: Final = 512 * 1024 * 1024
MODELS_TEXT: Final = f"{', '.join([ALL, *MODELS])}, or position_F_M_L for other percentages"


@click.group("attribution")
def attribution_group() -> None:
    """Attribution: what each model credits a channel with."""


@attribution_group.command(
    "run",
    short_help="Credit the channels of a file of journeys.",
    epilog=example("gateway attribution run journeys.json --model markov_k1") + f"\n\nModels: {MODELS_TEXT}.",
)
@click.argument("file", type=click.File("rb"))
@click.option("--model", default=ALL, show_default=True, help="Which model; see below.")
@json_option
def attribution_run(file: IO[bytes], model: str, as_json: bool) -> None:
    """Credit the channels of FILE, a JSON object with journeys; - reads standard input.

    A journey holds touches, oldest first, each with a channel (ch) and its age in seconds before the conversion (age_s),
    and beside them conversions, nulls (the same path without a conversion) and value_minor.

    Exit code 1: the file cannot be used, or a model did not answer.
    """
    if model != ALL and model_of(model) is None:
        raise click.UsageError(f"--model: there is no such model. Known: {MODELS_TEXT}")
    try:
        body = file.read(FILE_MAX_BYTES + 1)
        if len(body) > FILE_MAX_BYTES:
            raise Refusal("body_too_large")
        journeys = read_journeys(body)
    except Refusal as refusal:
        place = f"{refusal.field}: " if refusal.field else ""
        fail(GatewayError(place + CODES[refusal.code].message), as_json=as_json)
        return
    answers = attribute(journeys, model)
    found = [told(journeys, answer) for answer in answers]
    show(found if model == ALL else found[0], as_json=as_json, text=text_of(journeys, answers))
    sys.exit(1 if any(answer.totals is None for answer in answers) else 0)
