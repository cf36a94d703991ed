"""Every destination, a line each. A new one is a data file, a line here and a golden folder."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.destinations.definition import Destination, Option
from gateway.destinations.ga4 import GA4
from gateway.destinations.google_ads import GOOGLE_ADS
from gateway.destinations.meta import META
from gateway.destinations.webhook import WEBHOOK

__all__ = ["DESTINATIONS", "Configured", "configure"]

DESTINATIONS: Final[Mapping[str, Destination]] = {
    destination.slug: destination
    for destination in (
        META,
        GOOGLE_ADS,
        GA4,
        WEBHOOK,
    )
}
"""Platform slug to definition."""


class Configured(msgspec.Struct, frozen=True):
    """Checked options of one destination, secrets apart, and what is wrong with them."""

    options: dict[str, object]
    secrets: dict[str, str]
    problems: list[str]


def configure(destination: Destination, given: Mapping[str, object], secrets: Mapping[str, str]) -> Configured:
    """Check what an operator set against the definition's table. Unknown options are problems.

    `given` are the options as written, without those among `secrets`, which came from files or as secret values.
    """
    known = {option.name: option for option in destination.options}
    problems = [f"{name}: not an option of {destination.slug}" for name in (*given, *secrets) if name not in known]
    options: dict[str, object] = {}
    kept: dict[str, str] = {}
    for option in destination.options:
        if option.kind == "secret" or option.name in secrets:
            value = secrets.get(option.name, given.get(option.name))
            if isinstance(value, str) and value:
                if option.kind == "secret":
                    kept[option.name] = value
                else:
                    _take(option, value, options, problems)
                continue
            if value is not None:
                problems.append(f"{option.name}: a text")
        elif option.name in given:
            _take(option, given[option.name], options, problems)
            continue
        elif option.default is not None:
            options[option.name] = option.default
            continue
        if option.required:
            problems.append(f"{option.name}: missing. {option.help}")
    if not problems and destination.problems is not None:
        problems += destination.problems({**options, **dict.fromkeys(kept, "")})
    return Configured(options, kept, problems)


def _take(option: Option, value: object, options: dict[str, object], problems: list[str]) -> None:
    """Check one value by its option's kind."""
    fine = False
    if option.kind in {"text", "url"}:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        fine = isinstance(value, str) and (option.pattern is None or re.match(option.pattern, value) is not None)
    elif option.kind == "flag":
        if value in ("true", "false"):
            value = value == "true"
        fine = isinstance(value, bool)
    elif option.kind == "choice":
        fine = value in option.choices
    elif option.kind == "map":
        fine = isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
    if fine:
        options[option.name] = value
    else:
        wanted = f"one of {', '.join(option.choices)}" if option.choices else option.help
        problems.append(f"{option.name}: not taken. {wanted}")
