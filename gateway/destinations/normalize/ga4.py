"""Google Analytics 4: how the Measurement Protocol wants user-provided data.

E-mail and phone follow the rules of Google Ads. Names do not: here digits and symbols go and titles stay, there titles and
suffixes go and punctuation stays, so one digest cannot serve both. City, region, postal code and country leave as they
read.

"Digits" are Unicode categories N*, "symbols" are punctuation and symbols (P*, S*) and control characters (Cc). Spaces
inside stay. Google gives examples and no code, so the exact sets are this gateway's reading of the page.

Source: Google Analytics, Measurement Protocol, send user-provided data with user id
(developers.google.com/analytics/devguides/collection/ga4/uid-data, read 2026-11).
"""

import unicodedata
from collections.abc import Mapping
from typing import Final

from gateway.destinations.normalize import google
from gateway.destinations.normalize.rule import Context, Drop, Rule, hashed, plain
from gateway.destinations.normalize.text import is_punctuation_or_symbol, remover

__all__ = ["FIELDS"]


def _is_symbol_or_digit(character: str) -> bool:
    return is_punctuation_or_symbol(character) or unicodedata.category(character)[0] == "N"


_without_symbols: Final = remover(is_punctuation_or_symbol)
_without_symbols_and_digits: Final = remover(_is_symbol_or_digit)
_without_dot_and_tilde: Final = remover(lambda character: character in ".~")


def words(text: str, context: Context) -> str | Drop:
    """Names, cities, regions: lower case without digits and symbols."""
    return _without_symbols_and_digits(text).lower().strip()


def street(text: str, context: Context) -> str | Drop:
    """Lower case without symbols; the house number stays."""
    return _without_symbols(text).lower().strip()


def postal_code(text: str, context: Context) -> str | Drop:
    """As written, without `.` and `~`."""
    return _without_dot_and_tilde(text).strip()


FIELDS: Final[Mapping[str, Rule]] = {
    "sha256_email_address": hashed(google.email),
    "sha256_phone_number": hashed(google.phone),
    "sha256_first_name": hashed(words),
    "sha256_last_name": hashed(words),
    "sha256_street": hashed(street),
    "mp_city": plain(words),
    "mp_region": plain(words),
    "mp_postal_code": plain(postal_code),
    "mp_country": plain(google.region_code),
}
