"""Commands about attribution: what models make of journeys, what a conversion is credited to, and deciding it anew."""

import sys
from typing import IO, Final
from urllib.parse import quote, urlencode

import click

from gateway import control
from gateway.attribution.registry import MODELS, model_of
from gateway.errors import CODES, GatewayError, Refusal
from gateway.flows.attributing import ALL, attribute, read_journeys, text_of, told
from gateway.flows.journey_text import journey_text
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show

__all__ = ["attribution_group"]

FILE_MAX_BYTES: Final = 512 * 1024 * 1024
MODELS_TEXT: Final = f"{', '.join([ALL, *MODELS])}, or position_F_M_L for other percentages"


@click.group("attribution", short_help="What earned a conversion, and what models would say.")
def attribution_group() -> None:
    """Attribution: what models credit, what one conversion is credited to, and why."""


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


@attribution_group.command(
    "show",
    short_help="Show what one conversion is credited to, and why.",
    epilog=example("gateway attribution show c1_01M7W82T9JQQ7H1KTTX2BFVESK"),
)
@click.argument("conversion_id")
@click.option("--site", help="Only look on this site.")
@click.option("--version", type=click.IntRange(1), help="An older decision instead of the newest.")
@click.option("--model", help="Show the same path under another model. Nothing is stored.")
@settings_option
@json_option
def attribution_show(
    conversion_id: str,
    site: str | None,
    version: int | None,
    model: str | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Show the journey of CONVERSION_ID: its touches in time order, what each earned, and why others earned nothing.

    Exit code 1: there is no such conversion, decision or model.
    """
    asked = {"site": site, "version": version, "model": model}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    path = f"/api/admin/v1/conversions/{quote(conversion_id, safe='')}"
    try:
        found = control.operate(load_settings(settings_file), "GET", f"{path}?{query}" if query else path)
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show(found, as_json=as_json, text=journey_text(found))


@attribution_group.command(
    "recompute",
    short_help="Decide conversions anew, with what arrived late.",
    epilog=example("gateway attribution recompute --goal purchase --from 2026-11-01 --to 2026-11-20"),
)
@click.option("--goal", help="Only conversions of this goal.")
@click.option("--from", "from_day", metavar="DATE", help="First day, UTC. Default: 400 days back.")
@click.option("--to", "to_day", metavar="DATE", help="Last day, UTC. Default: today.")
@click.option("--conversion", "conversion_id", help="Only this conversion.")
@click.option("--site", help="The site. Needed where the settings have several.")
@settings_option
@json_option
def attribution_recompute(
    goal: str | None,
    from_day: str | None,
    to_day: str | None,
    conversion_id: str | None,
    site: str | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Decide conversions anew: touches that arrived after the first decision count from then on.

    Each conversion is decided by the goal as it was when the conversion was counted. Older decisions are kept. Progress is
    shown on standard error; a run that was interrupted can be started again.
    """
    if conversion_id is not None and (goal or from_day or to_day):
        raise click.UsageError("--conversion stands alone: a goal or a time says nothing more about one conversion.")
    asked = {"goal": goal, "from": from_day, "to": to_day, "conversion": conversion_id, "site": site}
    body: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    decided, portions = 0, 0
    try:
        settings = load_settings(settings_file)
        while True:
            found = control.operate(settings, "POST", "/api/admin/v1/attribution/recompute", body)
            count = found["decided"]
            decided, portions = decided + (count if isinstance(count, int) else 0), portions + 1
            if found["next"] is None:
                break
            body["after"] = found["next"]
            click.echo(f"{decided} conversions decided anew ...", err=True)
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show({"decided": decided, "portions": portions}, as_json=as_json, text=f"{decided} conversions decided anew")
