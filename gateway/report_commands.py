"""Commands that read reports."""

from typing import Final
from urllib.parse import quote, urlencode

import click
import msgspec

from gateway import control
from gateway.errors import GatewayError
from gateway.flows.report_texts import csv_of, text_of
from gateway.flows.reports import REPORTS
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show

__all__ = ["report_command"]

NAMES: Final = tuple(REPORTS)


@click.command(
    "report",
    short_help="Show a report: campaigns, channels, goals, paths.",
    epilog=example("gateway report campaigns --from 2026-10-01 --to 2026-10-31 --goal purchase")
    + f"\n\nReports: {', '.join(NAMES)}.",
)
@click.argument("name", type=click.Choice(NAMES), metavar="NAME")
@click.option("--site", help="Which site; needed only when there are several.")
@click.option("--from", "from_", metavar="DATE", help="First day, YYYY-MM-DD, in UTC. Default: 30 days up to --to.")
@click.option("--to", metavar="DATE", help="Last day. Default: today.")
@click.option("--goal", help="Only this goal, by code or name.")
@click.option("--goals", type=click.Choice(["all", "macro", "micro"]), help="Only ends (macro) or only steps (micro).")
@click.option("--campaign", help="Only this campaign, by id, code or name.")
@click.option("--link", help="Only this link, by id, code or title.")
@click.option("--ambassador", help="Only this ambassador, by id, code or name.")
@click.option("--channel", help="Only this channel.")
@click.option("--device", help="Only this type of device.")
@click.option("--currency", help="Only money of this currency.")
@click.option("--model", help="Share credit out by another model than the goals' own.")
@click.option("--steps", metavar="GOAL,GOAL,...", help="Goals of a funnel, in their order.")
@click.option("--sort", help="What rows are sorted by, such as conversions, rate, value, roi, cpa; or worst.")
@click.option("--limit", help="At most so many rows; 100 when not said.")
@click.option("--csv", "as_csv", is_flag=True, help="Answer as CSV.")
@settings_option
@json_option
def report_command(
    name: str, site: str | None, as_csv: bool, settings_file: str | None, as_json: bool, **asked: str | None
) -> None:
    """Show the report NAME. Days are UTC, both included; a range has at most 400 days."""
    query = {parameter.rstrip("_"): value for parameter, value in asked.items() if value is not None}
    try:
        settings = load_settings(settings_file)
        if site is None:
            if len(settings.site) > 1:
                raise GatewayError(f"--site: there are several: {', '.join([one.id for one in settings.site])}")
            site = settings.site[0].id
        path = f"/api/admin/v1/reports/{quote(site, safe='')}/{name}?{urlencode(query)}"
        found = control.operate(settings, "GET", path)
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    if as_csv:
        for line in csv_of(found):
            click.echo(line, nl=False)
        return
    show(msgspec.to_builtins(found), as_json=as_json, text=text_of(found))
