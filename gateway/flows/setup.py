"""Set up: a settings file, a data directory and keys for a new installation. Nothing that exists is changed."""

import re
from typing import TYPE_CHECKING

import msgspec
from publicsuffixlist import PublicSuffixList

from gateway import vault
from gateway.errors import SettingsError
from gateway.money import EXPONENTS

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.entropy import Entropy

__all__ = ["initialise"]

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_SITE = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")

SETTINGS = """\
# Settings of the tagging gateway. Every key with its default: config/reference.toml
# Check this file with: gateway check

[data]
dir = {data}

[[site]]
id = "{site}"
hosts = ["{host}"]
domains = ["{domain}"]
{currency}

# A destination, for example (secrets stay in files of mode 0600):
# [[site.destination]]
# platform = "meta"
# dataset_id = "1234567890"
# access_token_file = "meta-token"
"""


def initialise(
    directory: "Path",
    *,
    host: str,
    domain: str | None,
    site: str,
    currency: str,
    clock: "Clock",
    entropy: "Entropy",
    data: "Path | None" = None,
) -> dict[str, object]:
    """Make the files: settings in `directory`, keys in `data`, which is `directory`/data when it is not given.

    Raises SettingsError when a name cannot be used or a settings file is there already.
    """
    host, currency = host.lower(), currency.upper()
    if not _HOST.match(host):
        raise SettingsError(["--host is a host name, such as t.shop.example"])
    if not _SITE.match(site):
        raise SettingsError(["--site is a short name of a-z, 0-9, _ and -"])
    if currency and currency not in EXPONENTS:
        raise SettingsError(["--currency is an ISO 4217 code, such as EUR"])
    domain = (domain or PublicSuffixList().privatesuffix(host) or host).lower()
    if not _HOST.match(domain):
        raise SettingsError(["--domain is a domain, such as shop.example"])
    settings = directory / "gateway.toml"
    data = (data or directory / "data").resolve()
    if settings.exists():
        raise SettingsError([f"{settings} exists already; it was left as it is"])
    directory.mkdir(parents=True, exist_ok=True)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    keys = data / "keys.json"
    if not keys.exists():
        vault.write_key_file(keys, vault.new_key_file(clock.now_ms(), entropy))
    text = SETTINGS.format(
        data=msgspec.json.encode(str(data)).decode(),  # a TOML text is written as a JSON text is
        site=site,
        host=host,
        domain=domain,
        currency=f'currency = "{currency}"' if currency else '# currency = "EUR"  # of amounts that come without one',
    )
    settings.write_text(text, "utf-8")
    settings.chmod(0o600)
    return {"settings": str(settings), "data": str(data), "site": site, "host": host, "domain": domain}
