"""Settings: one table of everything an operator can set, with type, default, bounds, unit and help in one place.

Read from a TOML file, overlaid by environment variables, with secrets from files. What is not in the table refuses to
start, and so does anything that would weaken the installation silently (a readable key file, a placeholder secret).

* `GATEWAY__LISTEN__PORT=9000` overlays `listen.port`; a site is named by its id and a destination by its name:
  `GATEWAY__SITE__SHOP__DESTINATION__META__DATASET_ID=123`.
* Every secret `x` may instead be given as `x_file`, a path relative to the settings file, or be placed as
  `SITE.DESTINATION.x` in the directory that systemd names in `CREDENTIALS_DIRECTORY`.
"""

from gateway.settings.intake import Abandoned, NumberSettings, WebhookRows, WebhookSettings
from gateway.settings.load import load, parse, placeholder, process_environment
from gateway.settings.table import (
    Consent,
    ConsentPlatform,
    Data,
    Delivery,
    DestinationRows,
    DestinationSettings,
    Limits,
    Links,
    Listen,
    Log,
    Places,
    Proxy,
    Reports,
    Retention,
    Secret,
    Settings,
    Site,
)

__all__ = [
    "Abandoned",
    "Consent",
    "ConsentPlatform",
    "Data",
    "Delivery",
    "DestinationRows",
    "DestinationSettings",
    "Limits",
    "Links",
    "Listen",
    "Log",
    "NumberSettings",
    "Places",
    "Proxy",
    "Reports",
    "Retention",
    "Secret",
    "Settings",
    "Site",
    "WebhookRows",
    "WebhookSettings",
    "load",
    "parse",
    "placeholder",
    "process_environment",
]
