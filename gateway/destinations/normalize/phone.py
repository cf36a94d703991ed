"""Phone numbers: from how people write them to E.164, once for every platform.

A number is only useful with its country. The official libraries of the platforms strip the zero of a national number and
hash the rest, so that the German `0151 12345678` becomes the digest of `15112345678`, which is somebody's American number.
Here a national number is completed with the calling code the site has set, or dropped.

Source: ITU-T E.164 (2010-11), at most 15 digits; Meta, Conversions API, customer information parameters (2026-09); Google,
Data Manager API, formatting (2026-09-24). Completing national numbers is a rule of this gateway.
"""

import re
import unicodedata
from typing import Final

from gateway.destinations.normalize.rule import Drop
from gateway.destinations.normalize.text import ascii_digits, has_letter

__all__ = ["MAX_CHARACTERS", "phone_e164"]

MAX_CHARACTERS: Final = 256
"""Longest text that is read as a phone number, in characters, trimmed. Tighter than for other fields because the
compatibility form (NFKC) can be eighteen times as long as the text."""

_PLAIN: Final = re.compile(r"[+0-9 ()./-]*\Z")
_EXTENSION: Final = re.compile(r"[;,#x]|ext|anexo|poste|int", re.IGNORECASE)
_E164: Final = re.compile(r"[1-9][0-9]{6,14}\Z")
_NOT_DIGITS: Final = bytes(code for code in range(128) if not chr(code).isdigit())
_DIGITS_BEFORE_EXTENSION: Final = 6
_LONGEST_NATIONAL: Final = 10


def _digits(text: str) -> str:
    """ASCII digits of an ASCII text."""
    return text.encode("ascii").translate(None, _NOT_DIGITS).decode("ascii")


def _without_extension(text: str) -> str:
    """Cut at the first mark of an extension or a second number that has at least six digits before it."""
    before = counted_to = 0
    for mark in _EXTENSION.finditer(text):
        before += sum(character in "0123456789" for character in text[counted_to : mark.start()])
        counted_to = mark.start()
        if before >= _DIGITS_BEFORE_EXTENSION:
            return text[:counted_to]
    return text


def _spelled_out(text: str) -> str | Drop:
    """Bring unusual writing (other digits, full-width signs, `tel:`, extensions) to plain ASCII digits and signs."""
    text = ascii_digits(unicodedata.normalize("NFKC", text)).strip()
    if text[:4].lower() == "tel:":
        text = text[4:].lstrip()
    text = _without_extension(text)
    if has_letter(text):
        return Drop.PHONE_MALFORMED
    return text.encode("ascii", "ignore").decode("ascii")


def _completed(digits: str, calling_code: str | None) -> str | Drop:
    """Put the country in front of the digits of a number that has no `+` and no `00`."""
    if calling_code:
        if digits.startswith("0"):
            return calling_code + digits[1:]
        return calling_code + digits if len(digits) <= _LONGEST_NATIONAL else digits
    if len(digits) <= _LONGEST_NATIONAL or digits.startswith("0"):
        return Drop.PHONE_WITHOUT_COUNTRY
    return digits


def phone_e164(text: str, default_calling_code: str | None) -> str | Drop:
    """Read a cleaned text as a phone number: `+` and 7 to 15 digits, the first of them not 0.

    `default_calling_code` holds digits only, None when the site assumes no country. Answers `Drop.PHONE_MALFORMED` for
    what is no number, `Drop.PHONE_WITHOUT_COUNTRY` for a national number without a default, `Drop.TOO_LONG` above
    MAX_CHARACTERS.
    """
    if len(text) > MAX_CHARACTERS:
        return Drop.TOO_LONG
    if _PLAIN.match(text) is None:
        spelled = _spelled_out(text)
        if isinstance(spelled, Drop):
            return spelled
        text = spelled
    digits = _digits(text)
    if not digits:
        return Drop.PHONE_MALFORMED
    plus = text.startswith("+")
    if (plus or digits.startswith("00")) and "(0)" in text:
        # "+44 (0)20 ..." tells readers to dial the zero at home and to leave it out from abroad.
        digits = _digits(text.replace("(0)", ""))
    if not plus and digits.startswith("00"):
        digits = digits[2:]
    elif not plus:
        completed = _completed(digits, default_calling_code)
        if isinstance(completed, Drop):
            return completed
        digits = completed
    return "+" + digits if _E164.match(digits) else Drop.PHONE_MALFORMED
