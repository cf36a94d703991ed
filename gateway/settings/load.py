"""Loading settings: a TOML file, overlaid by environment variables, with secrets from files."""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import SettingsError
from gateway.money import EXPONENTS
from gateway.purposes import ALIASES
from gateway.settings.intake import WebhookRows, WebhookSettings
from gateway.settings.table import DestinationRows, DestinationSettings, Secret, Settings, Site

__all__ = ["load", "parse", "placeholder", "process_environment"]

_PLACE: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?\Z")
_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z")
_PLACEHOLDER: Final = re.compile(
    r"(?i)^(change[-_ ]?me|secret|password|default|example|test|todo|x{3,}|your[-_ ].*|<.*>|\.{3})$"
)


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Read a settings file with its overlays. Raises SettingsError naming every problem found."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError([f"There is no settings file at {path}. Write one with: gateway init"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"The settings file {path} cannot be read: {type(error).__name__}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"The settings file {path} is not valid TOML: {error}"]) from None
    return parse(raw, environment, base=path.parent)


def parse(raw: dict[str, Any], environment: Mapping[str, str], base: Path) -> Settings:
    """Make settings from a TOML document, the environment and secret files below `base`. Raises SettingsError."""
    problems: list[str] = []
    _overlay(raw, environment, problems)
    credentials = Path(environment["CREDENTIALS_DIRECTORY"]) if "CREDENTIALS_DIRECTORY" in environment else None
    sites = raw.get("site")
    if isinstance(sites, list):
        for site in sites:
            if isinstance(site, dict):
                tables = site.get("destination", [])
                if isinstance(tables, list):
                    site["destination"] = [
                        _destination(table, str(site.get("id", "?")), base, credentials, problems) for table in tables
                    ]
                hooks = site.get("webhook", [])
                if isinstance(hooks, list):
                    site["webhook"] = [
                        _webhook(table, str(site.get("id", "?")), base, credentials, problems) for table in hooks
                    ]
    try:
        settings = msgspec.convert(raw, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError([*problems, _readable(str(error))]) from None
    problems += _cross_checks(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _readable(message: str) -> str:
    text, _, path = message.partition(" - at `")
    path = path.rstrip("`").removeprefix("$.")
    return f"{path}: {text}" if path and path != "$" else text


def _destination(
    table: object, site: str, base: Path, credentials: Path | None, problems: list[str]
) -> DestinationSettings:
    """Split one destination table into the common rows and the platform's own options; read its secret files."""
    if not isinstance(table, dict):
        problems.append(f"site {site}: a destination is a table, [[site.destination]]")
        return DestinationSettings("", "")
    common = {key: table[key] for key in DestinationRows.__struct_fields__ if key in table}
    try:
        rows = msgspec.convert(common, DestinationRows, strict=False)
    except msgspec.ValidationError as error:
        problems.append(f"site {site}: destination: {_readable(str(error))}")
        return DestinationSettings("", "")
    name = rows.name or rows.platform
    where = f"site {site}, destination {name}"
    for purpose in rows.purposes or ():
        if purpose not in ALIASES:
            problems.append(f"{where}: purposes: unknown purpose")
    options: dict[str, object] = {}
    for key, value in table.items():
        if key in common:
            continue
        if key.endswith("_file") and isinstance(value, str):
            options[key.removesuffix("_file")] = _secret_file(base / value, f"{where}: {key}", problems)
        else:
            options[key] = value
    if credentials is not None:
        prefix = f"{site}.{name}."
        for path in sorted(credentials.glob(prefix + "*")):
            options[path.name.removeprefix(prefix)] = _secret_file(path, f"{where}: {path.name}", problems)
    return DestinationSettings(
        platform=rows.platform,
        name=name,
        events=rows.events,
        purposes=rows.purposes,
        enabled=rows.enabled,
        send_bots=rows.send_bots,
        send_tests=rows.send_tests,
        tcf_vendor=rows.tcf_vendor,
        ac_provider=rows.ac_provider,
        opted_out=rows.opted_out,
        options=options,
    )


def _webhook(table: object, site: str, base: Path, credentials: Path | None, problems: list[str]) -> WebhookSettings:
    """Read one webhook table with its secrets: in the table, or one to a line in a file."""
    if not isinstance(table, dict):
        problems.append(f"site {site}: a webhook is a table, [[site.webhook]]")
        return WebhookSettings(name="", adapter="")
    rows = {key: value for key, value in table.items() if key != "secrets_file"}
    for key in rows:
        if key not in WebhookRows.__struct_fields__:
            problems.append(f"site {site}: webhook: there is no row {key}")
    try:
        found = msgspec.convert(rows, WebhookRows, strict=False)
    except msgspec.ValidationError as error:
        problems.append(f"site {site}: webhook: {_readable(str(error))}")
        return WebhookSettings(name="", adapter="")
    where = f"site {site}, webhook {found.name}"
    files = [base / table["secrets_file"]] if isinstance(table.get("secrets_file"), str) else []
    if credentials is not None:
        files += sorted(credentials.glob(f"{site}.{found.name}.secrets"))
    secrets = [Secret(text) for text in found.secrets]
    for path in files:
        lines = _secret_file(path, f"{where}: secrets_file", problems).reveal().splitlines()
        secrets += [Secret(line.strip()) for line in lines if line.strip()]
    if not secrets:
        problems.append(f"{where}: secrets: at least one is needed, or anybody could send orders")
    problems += [f"{where}: secrets: one of them is empty" for secret in secrets if not secret.reveal()]
    problems += [
        f"{where}: secrets: one of them is still a placeholder" for secret in secrets if placeholder(secret.reveal())
    ]
    return WebhookSettings(
        name=found.name,
        adapter=found.adapter,
        secrets=tuple(secrets),
        live=found.live,
        currency=found.currency,
        origin=found.origin,
        minimum_call_s=found.minimum_call_s,
    )


def _secret_file(path: Path, where: str, problems: list[str]) -> Secret:
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{where}: the file cannot be read ({type(error).__name__})")
        return Secret("")
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        problems.append(f"{where}: the file can be read or written by others; set its mode to 0600")
    if not text:
        problems.append(f"{where}: the file is empty")
    return Secret(text)


def placeholder(text: str) -> bool:
    """Whether a secret is a word people leave in examples, which must never reach service."""
    return _PLACEHOLDER.match(text.strip()) is not None


def _overlay(raw: dict[str, Any], environment: Mapping[str, str], problems: list[str]) -> None:
    """Write GATEWAY__A__B=value into the document at a.b, finding sites by id and destinations by name."""
    for variable in sorted(environment):
        if not variable.startswith("GATEWAY__"):
            continue
        path = [part.lower() for part in variable.removeprefix("GATEWAY__").split("__")]
        if not all(path):
            problems.append(f"{variable}: not the name of a setting")
            continue
        place: Any = raw
        while len(path) > 1 and place is not None:
            part = path.pop(0)
            if part in {"site", "destination", "webhook"} and len(path) >= 2 and isinstance(place, dict):
                place = _named(place.get(part, []), path.pop(0))
            else:
                place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[path[0]] = _environment_value(path[0], environment[variable])
        else:
            problems.append(f"{variable}: there is no such site or destination")


def _named(tables: object, name: str) -> dict[str, Any] | None:
    for table in tables if isinstance(tables, list) else []:
        if isinstance(table, dict):
            known = table.get("id") or table.get("name") or table.get("platform") or ""
            if str(known).replace("-", "_") == name.replace("-", "_"):
                return table
    return None


_LISTS: Final = frozenset(
    {
        "admin_names",
        "hosts",
        "domains",
        "linked_domains",
        "granted_by_default",
        "conversion_events",
        "places_without_rules",
        "purpose_one_countries",
        "trusted",
        "events",
        "purposes",
        "webhook_ports",
        "targets",
        "schemes",
        "secrets",
        "starts",
        "ends",
    }
)


def _environment_value(key: str, value: str) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if key in _LISTS else value


def _cross_checks(settings: Settings) -> list[str]:
    """Faults that need more than one row to be seen."""
    problems: list[str] = []
    hosts: dict[str, str] = {}
    ids: set[str] = set()
    places = settings.places
    if places.source == "database" and not places.database:
        problems.append("places: database: source is database, so a file is needed")
    if places.source == "header" and not settings.proxy.trusted:
        problems.append("places: header: only a trusted proxy is believed; set proxy.trusted")
    problems += [
        f'proxy.trusted: "{text}" is not an address or network, such as 127.0.0.1/32'
        for text in settings.proxy.trusted
        if not _is_network(text)
    ]
    if not settings.site:
        problems.append("site: at least one [[site]] is needed")
    for site in settings.site:
        where = f"site {site.id}"
        if site.id in ids:
            problems.append(f"{where}: this id is used twice")
        ids.add(site.id)
        if not site.hosts:
            problems.append(f"{where}: hosts: at least one host is needed")
        for host in site.hosts:
            if hosts.setdefault(host, site.id) != site.id:
                problems.append(f"{where}: hosts: {host} belongs to site {hosts[host]} already")
            if site.cookie_domain and host != site.cookie_domain and not host.endswith("." + site.cookie_domain):
                problems.append(f"{where}: cookie_domain: {host} is not inside {site.cookie_domain}")
        problems += _links(site, settings)
        if site.currency and site.currency not in EXPONENTS:
            problems.append(f"{where}: currency: not an ISO 4217 code in upper case")
        problems += [
            f"{where}: granted_by_default: unknown purpose" for name in site.granted_by_default if name not in ALIASES
        ]
        if site.granted_by_default and site.regime != "none":
            problems.append(f"{where}: granted_by_default has a meaning only under regime none")
        problems += [
            f"{where}: places_without_rules: {place!r} is not written as a place, such as SG or US-WY"
            for place in site.places_without_rules
            if _PLACE.match(place) is None
        ]
        problems += [
            f"{where}: purpose_one_countries: {country!r} is not a country of two capital letters"
            for country in site.purpose_one_countries
            if _COUNTRY.match(country) is None
        ]
        problems += _intake(site)
        names: set[str] = set()
        for destination in site.destination:
            if destination.name and destination.name in names:  # without a name: a fault that is listed already
                problems.append(f"{where}: destination {destination.name}: this name is used twice")
            names.add(destination.name)
            for key, value in destination.options.items():
                if isinstance(value, Secret) and placeholder(value.reveal()):
                    problems.append(f"{where}: destination {destination.name}: {key} is still a placeholder")
    return problems


def _links(site: Site, settings: Settings) -> list[str]:
    """Faults of the settings of links: hosts that are taken, parameters of one name."""
    where = f"site {site.id}: links"
    problems = []
    for host in site.links.hosts:
        owner = next((other.id for other in settings.site if host in other.hosts), None)
        if owner is not None:
            problems.append(f"{where}: hosts: {host} is a host of site {owner} already; its links are at /l/ there")
        problems += [
            f"{where}: hosts: {host} serves the links of site {other.id} already"
            for other in settings.site
            if other is not site and host in other.links.hosts and other.id < site.id
        ]
    named = (site.links.click_parameter, site.links.code_parameter, site.links.via_parameter)
    if len(set(named)) != len(named):
        problems.append(f"{where}: click_parameter, code_parameter and via_parameter need different names")
    return problems


def _intake(site: Site) -> list[str]:
    """Faults of webhooks, telephone numbers and the watching of carts."""
    where = f"site {site.id}"
    problems = []
    names = [webhook.name for webhook in site.webhook if webhook.name]
    problems += [f"{where}: webhook {name}: this name is used twice" for name in set(names) if names.count(name) > 1]
    problems += [
        f"{where}: webhook {webhook.name}: currency: not an ISO 4217 code in upper case"
        for webhook in site.webhook
        if webhook.currency and webhook.currency not in EXPONENTS
    ]
    numbers = [one.number for one in site.number]
    problems += [f"{where}: number {text}: stands there twice" for text in set(numbers) if numbers.count(text) > 1]
    abandoned = site.abandoned
    if abandoned.minutes and not abandoned.starts:
        problems.append(f"{where}: abandoned: starts: name the events that show a cart")
    if abandoned.destination:
        told = next((one for one in site.destination if one.name == abandoned.destination), None)
        if told is None or told.platform != "webhook":
            problems.append(f"{where}: abandoned: destination: there is no webhook destination of this name")
        elif "abandoned_checkout" not in (told.events or ()):
            problems.append(f"{where}: abandoned: destination: its events do not list abandoned_checkout")
    return problems


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process: the one place that reads it."""
    return os.environ
