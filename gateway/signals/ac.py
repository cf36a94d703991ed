"""Google's additional consent string: which of Google's ad tech providers outside the IAB vendor list may be used.

It comes beside a TC string and takes the place of the vendor bits only; purposes are always those of the TC string.

    1~1.35.41               version 1: consented providers
    2~1.35.41~dv.9.21       version 2: consented providers, then providers that were shown and not consented to
    2~~dv.9.21              nothing consented
    2~1.35~dv.  2~1.35~dv   everything that was shown is consented

Anything that is not written exactly so is absent, and counted under its code.

Source: Google Ad Manager help, "Google's Additional Consent technical specification", version 2 (December 2023).
"""

import re
from typing import Final

import msgspec

from gateway.signals.bits import TEXT_MAX, Broken, Unreadable

__all__ = ["PROVIDER_MAX", "AdditionalConsent", "decode", "told"]

PROVIDER_MAX: Final = 65_535
"""Highest provider id that is read."""

# Digits are ASCII and ids have no leading zero: a text that says the same in another way was not made by a registered
# consent platform.
_IDS: Final = r"(?:[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4})*)"
_VERSION_1: Final = re.compile(rf"1~({_IDS}?)")
_VERSION_2: Final = re.compile(rf"2~({_IDS}?)~dv(?:\.({_IDS}?))?")


class AdditionalConsent(msgspec.Struct, frozen=True):
    """Provider ids by what was chosen. `refused` is None in version 1, which does not tell what was shown."""

    version: int
    consented: frozenset[int]
    refused: frozenset[int] | None


def decode(text: str) -> AdditionalConsent | Unreadable:
    """Read an additional consent string. Never raises; work follows the text, which has TEXT_MAX characters at most.

    A provider in both lists counts as refused. Codes: `empty`, `too_long`, `version` (neither 1 nor 2), `malformed`,
    `provider_id` (above PROVIDER_MAX).
    """
    if len(text) > TEXT_MAX:
        return Unreadable("too_long")
    if not text:
        return Unreadable("empty")
    try:
        return _read(text)
    except Broken as broken:
        return Unreadable(broken.code)


def _read(text: str) -> AdditionalConsent:
    if text.startswith("2~"):
        match = _VERSION_2.fullmatch(text)
        if match is None:
            raise Broken("malformed")
        refused = _providers(match[2] or "")
        return AdditionalConsent(2, _providers(match[1]) - refused, refused)
    if text.startswith("1~"):
        match = _VERSION_1.fullmatch(text)
        if match is None:
            raise Broken("malformed")
        return AdditionalConsent(1, _providers(match[1]), None)
    raise Broken("version" if re.match(r"[0-9]+~", text, re.ASCII) else "malformed")


def _providers(text: str) -> frozenset[int]:
    if not text:
        return frozenset()
    providers = frozenset(map(int, text.split(".")))
    if max(providers) > PROVIDER_MAX:
        raise Broken("provider_id")
    return providers


def told(ac: AdditionalConsent) -> dict[str, object]:
    """The string as JSON for people."""
    return {
        "valid": True,
        "version": ac.version,
        "consented": sorted(ac.consented),
        "disclosedNotConsented": None if ac.refused is None else sorted(ac.refused),
    }
