"""Normalisation: one value of a person, written exactly as one ad platform compares it, and hashed where it wants that.

A platform matches digests, so one character too many is a match lost, and one guessed character may be somebody else. The
way of a value is the same for every field:

    clean (text.py)  ->  a digest already? pass it  ->  the field's own rule  ->  nothing left? drop  ->  hash, or send as is

Every value ends in one of two ways: something to send, or a drop with a reason. No text raises.

`FIELDS` is the whole table. A further platform is one file with its own `FIELDS`, and one line here.

Source: named by each platform's file.
"""

from collections.abc import Mapping
from typing import Final

from gateway.destinations.hashing import EMPTY_DIGESTS, is_hex, sha256_hex
from gateway.destinations.normalize import ga4, google, meta
from gateway.destinations.normalize.meta import country_alpha2
from gateway.destinations.normalize.meta_cookies import BrowserIds, cookie_domain, meta_browser_ids
from gateway.destinations.normalize.phone import phone_e164
from gateway.destinations.normalize.rule import Context, Drop, Normalized, Rule, UnknownField, dropped
from gateway.destinations.normalize.text import MAX_CHARACTERS, clean

__all__ = [
    "FIELDS",
    "MAX_CHARACTERS",
    "PLATFORM_ALIASES",
    "BrowserIds",
    "Context",
    "Drop",
    "Normalized",
    "Rule",
    "UnknownField",
    "clean",
    "cookie_domain",
    "country_alpha2",
    "meta_browser_ids",
    "normalize",
    "phone_e164",
    "rule_of",
]

FIELDS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "meta": meta.FIELDS,
    "google": google.FIELDS,
    "ga4_mp": ga4.FIELDS,
}
"""Platform to field to rule. Fields are named as the platform names them."""

PLATFORM_ALIASES: Final[Mapping[str, str]] = {
    "google_ads": "google",
    "ga4": "ga4_mp",
}
"""Destination slug to the platform whose rules it follows, where the two names differ."""


def rule_of(platform: str, field: str) -> Rule:
    """The rule of a field. `platform` is a name of FIELDS or an alias. Raises UnknownField."""
    try:
        return FIELDS[PLATFORM_ALIASES.get(platform, platform)][field]
    except KeyError:
        raise UnknownField(platform, field) from None


def normalize(platform: str, field: str, value: str, context: Context) -> Normalized:
    """Normalise one value for one field of one platform.

    `value` is any text at all; a value of more than MAX_CHARACTERS is dropped unread. Raises UnknownField for a name
    without a rule, and nothing else.
    """
    rule = rule_of(platform, field)
    text = clean(value)
    if isinstance(text, Drop):
        return dropped(text)
    if len(text) in rule.digests and is_hex(text):
        return _passed_on(text.lower())
    result = rule.clean(text, context)
    if isinstance(result, Drop):
        return dropped(result)
    if not result:
        return dropped(Drop.EMPTY)
    if not rule.hashed:
        return Normalized(send=result, normalized=result)
    digest = sha256_hex(result)
    return Normalized(send=digest, normalized=result, sha256=digest)


def _passed_on(digest: str) -> Normalized:
    """Answer for a value that its sender had hashed."""
    if digest in EMPTY_DIGESTS:
        return dropped(Drop.EMPTY_DIGEST)
    return Normalized(send=digest, already_hashed=True)
