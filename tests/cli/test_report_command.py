"""`gateway report`: the figures of a report as a table, as JSON and as CSV, and wrong use told apart."""

import csv
import io
import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.flows.reports import REPORTS

SETTINGS: Final = """
[data]
dir = "{data}"

[[site]]
id = "shop"
hosts = ["t.shop.example"]
domains = ["shop.example"]
currency = "EUR"
"""
SECOND: Final = """
[[site]]
id = "kiosk"
hosts = ["t.kiosk.example"]
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of one site with one campaign and what was spent for it."""
    directory = tmp_path_factory.mktemp("reports")
    made = CliRunner().invoke(
        main, ["init", "--host", "t.shop.example", "--site", "shop", "--currency", "EUR", "--directory", str(directory)]
    )
    assert made.exit_code == 0, made.output
    return directory / "gateway.toml"


def report(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments, "--settings", str(settings)])


def test_k07_a_campaign_report_is_a_table(settings: Path) -> None:
    found = report(settings, "campaigns", "--from", "2026-10-01", "--to", "2026-10-31")
    assert found.exit_code == 0, found.output
    assert found.output.startswith("Campaigns, site shop, 2026-10-01 to 2026-10-31\n")
    assert "credited to nobody: 0 of 0 conversions" in found.output


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_every_report_answers_in_json(settings: Path, name: str) -> None:
    steps = ["--steps", "sign_up,purchase"] if name == "funnel" else []
    found = report(settings, name, "--json", *steps)
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["report"] == name


def test_p64_a_report_leaves_as_csv(settings: Path) -> None:
    found = report(settings, "overview", "--csv")
    assert found.exit_code == 0, found.output
    table = list(csv.DictReader(io.StringIO(found.output, newline="")))
    assert [(row["conversions"], row["clicks"]) for row in table] == [("0", "0")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("campaigns", "--limit", "0"), "limit"),
        (("campaigns", "--from", "yesterday"), "from"),
        (("campaigns", "--campaign", "none"), "campaign"),
        (("paths", "--campaign", "none"), "campaign"),
        (("funnel",), "steps"),
        (("campaigns", "--site", "kiosk"), "no such site"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(settings: Path, arguments: tuple[str, ...], said: str) -> None:
    found = report(settings, *arguments)
    assert found.exit_code == 1
    assert said in found.output
    assert "Traceback" not in found.output


def test_an_unknown_report_is_wrong_use(settings: Path) -> None:
    found = report(settings, "secrets")
    assert found.exit_code == 2
    assert "campaigns" in found.output


def test_with_several_sites_one_must_be_named(settings: Path, tmp_path: Path) -> None:
    both = tmp_path / "gateway.toml"
    both.write_text(SETTINGS.format(data=settings.parent / "data") + SECOND)
    found = report(both, "campaigns")
    assert found.exit_code == 1
    assert "shop, kiosk" in found.output
    assert report(both, "campaigns", "--site", "kiosk").exit_code == 0
