"""What is generated is what the code says, and the files operators start from can be loaded."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from gateway import reference
from gateway.destinations.registry import DESTINATIONS
from gateway.errors import CODES
from gateway.outcome import REASONS
from gateway.protocols.wire import WireBatch, WireChoice
from gateway.settings import Settings, Site, load, parse

ROOT = Path(__file__).parents[2]


def test_every_generated_file_is_up_to_date() -> None:
    for name, text in reference.files().items():
        assert (ROOT / name).read_text("utf-8") == text, f"{name}: run make reference"


def test_the_minimal_file_loads_and_has_all_defaults() -> None:
    settings = load(ROOT / "config" / "minimal.toml", {})
    assert settings == Settings(site=(Site(id="main", hosts=("t.shop.example",)),))


def test_the_reference_file_is_a_true_list_of_defaults() -> None:
    assert load(ROOT / "config" / "reference.toml", {}) == load(ROOT / "config" / "minimal.toml", {})


def test_every_setting_stands_in_the_reference_file_with_a_line_of_help() -> None:
    text = (ROOT / "config" / "reference.toml").read_text()
    raw = tomllib.loads(text)
    for section in reference.rows(Settings):
        if section.section is None:
            continue
        for row in reference.rows(section.section):
            assert row.name in raw[section.name], f"{section.name}.{row.name}"
            assert row.help in text
    for row in reference.rows(Site):
        assert re.search(rf"^#? ?{row.name} = ", text, re.MULTILINE) or row.name in reference.TABLES, row.name


def test_the_check_notices_a_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "docs" / "reference" / "errors.md").write_text("edited")
    assert reference.main(["--check"]) == 1


def test_every_code_and_reason_is_documented() -> None:
    errors = (ROOT / "docs/reference/errors.md").read_text()
    fates = (ROOT / "docs/reference/fates.md").read_text()
    assert all(f"`{code}`" in errors for code in CODES)
    assert all(f"`{reason}`" in fates for reason in REASONS)


def test_the_published_schemas_are_those_of_the_decoders() -> None:
    for name, shape in (("event", WireBatch), ("choice", WireChoice)):
        published = msgspec.json.decode((ROOT / f"docs/reference/{name}.schema.json").read_bytes())
        assert published == msgspec.json.schema(shape)


def test_every_command_has_an_example_and_reading_commands_take_json() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text()
    blocks = dict(re.findall(r"^## (gateway[a-z ]*)\n\n```text\n(.*?)```", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) > 10
    for path, help_text in blocks.items():
        if "Commands:" in help_text:
            continue
        assert "Example:" in help_text, path
        if path.split()[-1] not in {"serve", "demo"}:
            assert "--json" in help_text, path


def test_every_reason_used_by_a_destination_is_in_the_list() -> None:
    for definition in DESTINATIONS.values():
        for reason in definition.refusals.values():
            assert reason in REASONS


@pytest.mark.parametrize("slug", DESTINATIONS)
def test_no_field_is_both_sent_and_named_as_not_sent(slug: str) -> None:
    definition = DESTINATIONS[slug]
    sent = {field.to.replace("[]", "") for field in definition.fields}
    assert not sent & set(definition.not_sent)


def test_example_destinations_of_the_documentation_are_accepted(tmp_path: Path) -> None:
    """The commented tables of the reference file, with their required options filled in, load and configure."""
    for name in ("token", "key"):
        (tmp_path / name).write_text(
            "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" if name == "key" else "EAAGabcdefghij"
        )
        (tmp_path / name).chmod(0o600)
    for file in sorted((ROOT / "config" / "destinations").glob("*.toml")):
        raw = tomllib.loads(file.read_text())
        settings = parse({"site": [{"id": "main", "hosts": ["t.shop.example"], **raw["site"][0]}]}, {}, tmp_path)
        assert settings.site[0].destination, file.name


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.reference", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
