"""The cleaning that every field of every platform begins with, and the tools for removing kinds of characters.

Digests are only equal when every byte is, so the same name must become the same text whatever device typed it. `clean`
composes it (Unicode NFC), deletes characters nobody sees (soft hyphen, zero-width and direction marks, byte order mark)
and trims white space. None of the official libraries does the first two: a name typed on a Mac or pasted from a PDF
then misses its match.

Nearly all values are ASCII, where composing and most deletions have nothing to do. Each function takes that path first.

"Letters" are Unicode categories L* and M*, "punctuation" P*, "symbols" S*, "digits" N* or Nd as the rule says, and "lower
case" is the full Unicode mapping of `str.lower`, final sigma included.

Source: Unicode Standard Annex 15 (NFC, NFKC) and Annex 44 (categories), in the version of the interpreter's `unicodedata`
(14.0 in Python 3.11); which characters are invisible is a rule of this gateway.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from gateway.destinations.normalize.rule import Drop

__all__ = [
    "MAX_CHARACTERS",
    "ascii_digits",
    "clean",
    "has_format_character",
    "has_letter",
    "is_punctuation_or_symbol",
    "only_letters",
    "remover",
    "without_space",
]

MAX_CHARACTERS: Final = 1024
"""Longest value that is looked at, in characters. The longest e-mail address has 320, the longest names and streets are
shorter still. Composing a row of n combining marks costs n * n steps: one to two milliseconds at this bound,
four times that at twice the length. Everything else stays below half a millisecond."""

_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def clean(value: str) -> str | Drop:
    """Compose, delete what is invisible, trim. Never answers an empty text: nothing left is `Drop.EMPTY`."""
    if len(value) > MAX_CHARACTERS:
        return Drop.TOO_LONG
    if not value.isascii():
        if _SURROGATE.search(value):
            return Drop.NOT_UNICODE
        value = _INVISIBLE.sub("", unicodedata.normalize("NFC", value))
    return value.strip() or Drop.EMPTY


def remover(unwanted: Callable[[str], bool]) -> Callable[[str], str]:
    """Make a function that deletes every character for which `unwanted` is true. `unwanted` must be pure.

    ASCII text goes through `bytes.translate`, about twenty times faster than asking for each character.
    """
    unwanted_ascii = bytes(code for code in range(128) if unwanted(chr(code)))

    def remove(text: str) -> str:
        if text.isascii():
            return text.encode("ascii").translate(None, unwanted_ascii).decode("ascii")
        return "".join([character for character in text if not unwanted(character)])

    return remove


def is_punctuation_or_symbol(character: str) -> bool:
    """Whether one character is punctuation (P*), a symbol (S*) or a control character (Cc)."""
    category = unicodedata.category(character)
    return category[0] in "PS" or category == "Cc"


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _is_no_letter(character: str) -> bool:
    return not _is_letter(character)


only_letters: Final = remover(_is_no_letter)
"""Keep letters and combining marks; digits, spaces, punctuation and everything else go."""

without_space: Final = remover(str.isspace)
"""Delete all white space, inside too."""


def has_letter(text: str) -> bool:
    """Whether any letter or combining mark is in `text`."""
    return any(_is_letter(character) for character in text)


def has_format_character(text: str) -> bool:
    """Whether any format character (Cf) is in `text`: direction marks and others that show nothing. ASCII has none."""
    return not text.isascii() and any(unicodedata.category(character) == "Cf" for character in text)


def ascii_digits(text: str) -> str:
    """Write the decimal digits of every script (Nd) as 0-9. Other characters stay."""
    if text.isascii():
        return text
    return "".join([str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text])
