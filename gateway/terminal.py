"""What every command shares: where settings are found, how answers are shown, how faults are told."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from gateway.errors import Refusal, SettingsError
from gateway.settings import Settings, load, process_environment

__all__ = ["example", "fail", "json_option", "load_settings", "settings_option", "settings_path", "show"]

F = TypeVar("F", bound=Callable[..., Any])
_PLACES: Final = (Path("gateway.toml"), Path("/etc/gateway/gateway.toml"))


def example(text: str) -> str:
    """The example under a command's help."""
    return f"\b\nExample:\n  {text}"


def settings_path(given: str | None) -> Path:
    """The settings file to use."""
    if given is not None:
        return Path(given)
    named = process_environment().get("GATEWAY_SETTINGS")
    if named:
        return Path(named)
    return next((place for place in _PLACES if _is_there(place)), _PLACES[0])


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:
        return True  # in a directory that only the gateway's user may enter: reading it says so in a sentence


def load_settings(given: str | None) -> Settings:
    """Read the settings. Raises SettingsError."""
    return load(settings_path(given), process_environment())


def show(value: object, *, as_json: bool, text: str) -> None:
    """Print an answer, as JSON or as text."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if as_json else text.rstrip("\n"))


def fail(error: Exception, *, as_json: bool) -> None:
    """Say what is wrong in plain sentences and leave with 1."""
    if isinstance(error, SettingsError):
        problems = error.problems
    elif isinstance(error, Refusal):
        problems = [str(error.body()["error"]["message"])]  # type: ignore[index] # the shape of every refusal
    else:
        problems = [str(error) or type(error).__name__]
    if as_json:
        click.echo(msgspec.json.encode({"problems": problems}).decode())
    else:
        for problem in problems:
            click.echo(problem, err=True)
    sys.exit(1)


def settings_option(command: F) -> F:
    """Add `--settings`."""
    return click.option(
        "--settings",
        "settings_file",
        metavar="FILE",
        help="Settings file. Default: $GATEWAY_SETTINGS, else gateway.toml here or in /etc/gateway.",
    )(command)


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)
