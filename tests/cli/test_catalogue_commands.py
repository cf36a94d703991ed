"""`gateway campaigns | links | ambassadors | coupons | goals`, as an operator runs them, on a real database."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from gateway.catalogue_commands import GROUPS
from gateway.catalogue_options import with_fields
from gateway.cli import main
from gateway.flows.catalogue_reading import KIND_OF
from gateway.protocols.catalogue_shapes import SHAPES

TARGET: Final = "https://www.shop.example/sale"


class Operator:
    """Runs commands in a directory with settings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str, code: int = 0) -> Result:
        group, command, *rest = arguments
        settings = str(self.directory / "gateway.toml")
        result = CliRunner().invoke(main, [group, command, *rest, "--settings", settings])
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    def told(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    before = structlog.get_config()
    made = CliRunner().invoke(
        main, ["init", "--host", "t.shop.example", "--currency", "EUR", "--site", "shop", "--directory", str(tmp_path)]
    )
    assert made.exit_code == 0, made.output
    yield Operator(tmp_path)
    structlog.configure(**before)


def test_every_kind_has_the_same_five_commands_with_an_example_and_json() -> None:
    assert [group.name for group in GROUPS] == list(KIND_OF)
    for group in GROUPS:
        assert {"list", "show", "create", "change", "archive"} <= set(group.commands)
        for command in group.commands.values():
            said = CliRunner().invoke(main, [str(group.name), str(command.name), "--help"])
            assert said.exit_code == 0
            assert f"Example:\n    gateway {group.name} {command.name}" in said.output
            for option in ("--json", "--site", "--settings"):
                assert option in said.output


@pytest.mark.parametrize("kind", SHAPES)
def test_every_field_of_the_wire_is_an_option_with_its_description(kind: str) -> None:
    @with_fields(kind)
    def nothing(**given: Any) -> None:
        pass

    options = [option for option in click.command()(nothing).params if isinstance(option, click.Option)]
    fields = {str(option.name).split("__")[1] for option in options}
    assert fields == set(SHAPES[kind].__struct_fields__)
    assert all(option.help for option in options)


def test_examples_of_create_name_options_that_exist() -> None:
    for group in GROUPS:
        for name in ("create", "change"):
            command = group.commands[name]
            known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
            used = set(re.findall(r"--[a-z-]+", command.epilog or ""))
            assert used
            assert used <= known


def test_a_campaign_with_its_link_ambassador_and_coupon(operator: Operator) -> None:
    campaign = operator.told("campaigns", "create", "--name", "Summer 26", "--channel", "email", "--tracking",
                             "--domain", "shop.example", "--domain", "blog.example")["campaign"]  # fmt: skip
    assert (campaign["tracking"], campaign["domains"]) == (True, ["shop.example", "blog.example"])
    assert campaign["utm"]["medium"] == "email"
    made = operator.told("ambassadors", "create", "--name", "Anna", "--campaign-id", campaign["id"], "--code", "anna",
                         "--email", "anna@shop.example", "--target", TARGET)  # fmt: skip
    assert (made["link"]["code"], made["link"]["target"]) == ("anna", TARGET)
    coupon = operator.told("coupons", "create", "--code", "ANNA10", "--campaign-id", campaign["id"],
                           "--expires-at", "2026-12-31T23:59:59+01:00")["coupon"]  # fmt: skip
    assert coupon["expires_at"] == "2026-12-31T22:59:59.000Z"
    link = operator.told("links", "create", "--target", TARGET, "--code", "sale", "--campaign-id", campaign["id"],
                         "--utm-source", "letter", "--no-referrer", "--repeat-window-s", "60",
                         "--variant", f"50={TARGET}?a=1", "--variant", f"50={TARGET}?a=2")["link"]  # fmt: skip
    assert (link["utm"]["source"], link["no_referrer"], link["repeat_window_s"]) == ("letter", True, 60)
    assert [(one["percent"], one["target"]) for one in link["variants"]] == [
        (50, f"{TARGET}?a=1"),
        (50, f"{TARGET}?a=2"),
    ]
    listed = operator.run("links", "list", "--campaign-id", campaign["id"]).stdout
    assert "anna" in listed
    assert "sale" in listed


def test_entries_are_named_by_code_or_by_id(operator: Operator) -> None:
    link = operator.told("links", "create", "--target", TARGET, "--code", "sale")["link"]
    for named in (link["id"], "sale", "SALE"):
        assert operator.told("links", "show", named)["link"] == link
    changed = operator.told("links", "change", "sale", "--title", "Sale", "--version", "1")["link"]
    assert (changed["title"], changed["version"]) == ("Sale", 2)
    assert operator.told("links", "change", "sale", "--clear", "title")["link"]["title"] == ""
    said = operator.run("links", "archive", "sale", "--version", "1", code=1)
    assert "changed by another request" in said.stderr
    assert operator.told("links", "archive", "sale")["link"]["archived"] is True
    assert "no links" in operator.run("links", "list").stdout
    assert "(archived)" in operator.run("links", "list", "--archived").stdout
    versions = operator.told("links", "show", "sale", "--versions")["versions"]
    assert [one["version"] for one in versions] == [4, 3, 2, 1]
    assert operator.run("links", "show", "sale", "--versions").stdout.count("version ") == 4


def test_a_goal_and_its_token(operator: Operator) -> None:
    made = operator.run("goals", "create", "--preset", "purchase", "--value", "49.90", "--target-rate-pct", "2.5")
    assert "This is the only time the token is shown." in made.stdout
    token = re.search(r"postback_token +(\S{43})", made.stdout)
    assert token is not None
    shown = operator.run("goals", "show", "purchase").stdout
    assert "49.90" in shown
    assert token.group(1) not in shown
    anew = operator.told("goals", "token", "purchase")["postback_token"]
    assert anew != token.group(1)
    listed = operator.run("goals", "list").stdout
    assert "by the settings: " in listed
    assert "sign_up" in listed


def test_presets_are_listed_for_a_kind_of_business(operator: Operator) -> None:
    shop = operator.run("goals", "presets", "--business", "shop").stdout
    assert "add_to_cart" in shop
    assert "contract_signed" not in shop
    assert len(operator.told("goals", "presets")["presets"]) > len(shop.splitlines())


def test_the_snippet_of_a_campaign_is_printed(operator: Operator) -> None:
    operator.run("campaigns", "create", "--name", "Summer", "--code", "summer")
    said = operator.run("campaigns", "snippet", "Summer").stdout
    assert 'data-campaign="summer" data-event="purchase"' in said
    assert "Conversion tracking of this campaign is off" in said
    assert 'data-event="sign_up"' in operator.run("campaigns", "snippet", "summer", "--goal", "sign_up").stdout


def test_the_qr_code_of_a_link_is_written(operator: Operator) -> None:
    operator.run("links", "create", "--target", TARGET, "--code", "sale")
    svg, png = operator.directory / "sale.svg", operator.directory / "sale.png"
    found = operator.told("links", "qr", "sale", "--svg", str(svg), "--png", str(png), "--level", "H")
    assert found["url"] == "https://t.shop.example/l/sale?qr=1"
    assert svg.read_text().startswith("<svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert operator.run("links", "qr", "sale", code=2).stderr.count("say where to") == 1
    nowhere = operator.run("links", "qr", "sale", "--svg", str(operator.directory / "no" / "x.svg"), code=1)
    assert "cannot write" in nowhere.stderr


def test_a_target_is_signed(operator: Operator) -> None:
    operator.run("links", "create", "--target", TARGET, "--code", "sale")
    other = "https://partner.example/page?a=1"
    found = operator.told("links", "sign", "Sale", other, "--expires-at", "2030-01-01T00:00:00+01:00", code=1)
    assert found == {"problems": ["The field's value cannot be taken. (expires_at)"]}
    found = operator.told("links", "sign", "Sale", other, "--days", "7")
    assert found["url"].startswith(
        "https://t.shop.example/l/-/sale?to=https%3A%2F%2Fpartner.example%2Fpage%3Fa%3D1&exp="
    )
    assert found["target"] == other
    said = operator.run("links", "sign", "sale", other).stdout
    assert re.search(r"^url +https://t\.shop\.example/l/-/sale\?\S+$", said, re.MULTILINE)
    assert "not both" in operator.run("links", "sign", "sale", other, "--days", "7", "--expires-at", "x", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("links", "sign", "sale", "javascript:alert(1)"), 1, "There is no such entry"),
        (("links", "create"), 1, "A required field is missing. (target)"),
        (("links", "create", "--target", "https://evil.example/"), 1, "(target)"),
        (("links", "show", "nothing"), 1, "There is no such entry"),
        (("links", "change", "nothing", "--title", "x"), 1, "There is no such entry"),
        (("links", "change", "nothing"), 2, "say what to change"),
        (("links", "create", "--target", TARGET, "--variant", "half"), 2, "write PERCENT=ADDRESS"),
        (("goals", "create", "--name", "A", "--model", "lastclick"), 1, "(model) Allowed: first_click, last_click, "),
        (("links", "list", "--site", "kiosk"), 2, "there are shop"),
        (("goals", "create", "--name", "A", "--type", "win"), 2, "--type"),
        (("goals", "create", "--name", "A", "--value", "much"), 1, "(value)"),
        (("goals", "change", "purchase", "--clear", "nothing"), 2, "--clear"),
        (("goals", "create", "--name", "A", "--notify-url", "https://127.0.0.1/"), 1, "(notify_url)"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_said_in_a_sentence(
    operator: Operator, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = operator.run(*arguments, code=code)
    assert words in said.stderr
    assert "Traceback" not in said.output


def test_with_several_sites_one_is_named(operator: Operator) -> None:
    settings = operator.directory / "gateway.toml"
    settings.write_text(settings.read_text() + '\n[[site]]\nid = "kiosk"\nhosts = ["t.kiosk.example"]\n')
    assert "say which site: shop, kiosk" in operator.run("campaigns", "list", code=2).stderr
    operator.run("campaigns", "create", "--name", "Kiosk", "--site", "kiosk")
    assert "Kiosk" in operator.run("campaigns", "list", "--site", "kiosk").stdout
    assert "no campaigns" in operator.run("campaigns", "list", "--site", "shop").stdout
