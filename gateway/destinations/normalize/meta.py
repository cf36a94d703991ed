"""Meta: how the Conversions API wants `user_data` and the currency.

Every hashed field takes a digest made by the sender as it is, SHA-256 or MD5. The one exception is `external_id`: 32 hex
characters there may be a UUID without its dashes, so they are hashed like any other id.

Meta's own libraries disagree with each other (a space inside a name, a state in full, a phone number with a dot). The
rules below follow the documentation first, then the library that keeps more people apart; where both would send
something wrong about a person, the value is dropped.

Source: Meta, Conversions API, customer information parameters (pages of 2026-09); facebook-business 26.0.3
(`adobjects/serverside/normalize.py`) and capi-param-builder-nodejs 1.3.2, both run on 2026-11-20.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from gateway.destinations.normalize import tables
from gateway.destinations.normalize.phone import phone_e164
from gateway.destinations.normalize.rule import Clean, Context, Drop, Rule, hashed, plain
from gateway.destinations.normalize.text import (
    ascii_digits,
    has_format_character,
    is_punctuation_or_symbol,
    only_letters,
    remover,
    without_space,
)

__all__ = ["FIELDS", "country_alpha2"]

_NEVER_IN_EMAIL: Final = r'@\s\x00-\x1f\x7f-\x9f()<>\[\]:;,\\"'
_EMAIL: Final = re.compile(rf"[^{_NEVER_IN_EMAIL}]+@[^.{_NEVER_IN_EMAIL}]+(?:\.[^.{_NEVER_IN_EMAIL}]+)+\Z")
_SUBDIVISION: Final = re.compile(r"[A-Za-z]{2}-[A-Za-z0-9]{1,3}\Z")
_DASH: Final = re.compile("[-\u2010-\u2015\u2212]")
_DIGIT_RUN: Final = re.compile(r"[0-9]+")
_ONE_OR_TWO_DIGITS: Final = re.compile(r"[0-9]{1,2}\Z")
_FOUR_DIGITS: Final = re.compile(r"[0-9]{4}\Z")
_NOT_A_TO_Z: Final = re.compile(r"[^a-z]+")
_FIRST_YEAR: Final = 1900

_name_characters: Final = remover(lambda character: character.isspace() or is_punctuation_or_symbol(character))


def email(text: str, context: Context) -> str | Drop:
    """Lower-case address. Dots and `+tag` stay: Meta compares addresses as they are written, Gmail included."""
    text = text.lower().removeprefix("mailto:")
    if _EMAIL.match(text) is None or has_format_character(text):
        return Drop.EMAIL_MALFORMED
    return text


def phone(text: str, context: Context) -> str | Drop:
    """Digits with the country's calling code, without the plus."""
    number = phone_e164(text, context.default_calling_code)
    return number if isinstance(number, Drop) else number[1:]


def name(text: str, context: Context) -> str | Drop:
    """Lower case without white space, punctuation and symbols. Titles, digits and accents stay."""
    return _name_characters(text.lower())


def city(text: str, context: Context) -> str | Drop:
    """Lower-case letters and marks only. Accents stay."""
    return only_letters(text.lower())


def state(text: str, context: Context) -> str | Drop:
    """Two letters for states of the US and provinces of Canada, elsewhere the name in lower-case letters.

    Without a country the US table is asked first: `Georgia` is the state unless the country says otherwise.
    """
    if _SUBDIVISION.match(text):
        text = text[3:]
    text = only_letters(text.lower())
    if context.country in (None, "us") and text in tables.STATES_US:
        return tables.STATES_US[text]
    if context.country in (None, "ca") and text in tables.PROVINCES_CA:
        return tables.PROVINCES_CA[text]
    return text


def postal_code(text: str, context: Context) -> str | Drop:
    """Lower case without white space, up to the first dash, at most five characters in the US."""
    text = _DASH.split(without_space(text.lower()), 1)[0]
    if context.country == "us":
        text = text[:5]
    return text if len(text) > 1 else Drop.POSTAL_CODE_SHORT


def country_alpha2(text: str) -> str | None:
    """ISO 3166-1 alpha-2 in lower case from a code (`GBR`), an English name or an alias (`uk`), None when unknown.

    Nothing is guessed by cutting: `AUT` is Austria and never Australia. Use it to fill `Context.country`.
    """
    word = only_letters(text.lower())
    if word in tables.ALPHA2:
        return word
    if word == "uk":
        return "gb"
    return tables.ALPHA3.get(word) or tables.COUNTRY_NAMES.get(word)


def country(text: str, context: Context) -> str | Drop:
    """Alpha-2 code in lower case."""
    return country_alpha2(text) or Drop.COUNTRY_UNKNOWN


def gender(text: str, context: Context) -> str | Drop:
    """`m` or `f`; every other answer a person may give is not sent."""
    return tables.GENDERS.get(text.lower(), Drop.GENDER_UNKNOWN)


def _year_month_day(numbers: list[int]) -> tuple[int, int, int]:
    """Order three numbers as year, month and day. Where month and day could be either, the month is first."""
    a, b, c = numbers
    if a > 31:
        return (a, c, b) if b > 12 else (a, b, c)
    if b > 31:
        return (b, a, c) if c > 12 else (b, c, a)
    return (c, b, a) if a > 12 else (c, a, b)


def date_of_birth(text: str, context: Context) -> str | Drop:
    """`YYYYMMDD`. The year lies between 1900 and the current one; days are not checked against the calendar."""
    text = ascii_digits(text)
    if only_letters(text).strip("TtZz"):  # ISO 8601 has these two between and after its numbers
        return Drop.DATE_MALFORMED
    runs = _DIGIT_RUN.findall(text)
    if len(runs) >= 3:
        year, month, day = _year_month_day([int(run) for run in runs[:3]])
    elif len(runs) == 1 and len(runs[0]) == 8:
        year, month, day = int(runs[0][:4]), int(runs[0][4:6]), int(runs[0][6:])
    else:
        return Drop.DATE_MALFORMED
    if _FIRST_YEAR <= year <= context.year and 1 <= month <= 12 and 1 <= day <= 31:
        return f"{year}{month:02}{day:02}"
    return Drop.DATE_IMPOSSIBLE


def external_id(text: str, context: Context) -> str | Drop:
    """Lower case without white space."""
    return without_space(text.lower())


def _first(count: int) -> Clean:
    """Rule for the first `count` characters in lower case."""

    def first(text: str, context: Context) -> str | Drop:
        return text.lower()[:count]

    return first


def _two_digits(last: int) -> Clean:
    """Rule for a number from 1 to `last`, written with two digits."""

    def two_digits(text: str, context: Context) -> str | Drop:
        text = ascii_digits(text)
        if _ONE_OR_TWO_DIGITS.match(text) is None:
            return Drop.DATE_MALFORMED
        return f"{int(text):02}" if 1 <= int(text) <= last else Drop.DATE_IMPOSSIBLE

    return two_digits


def year_of_birth(text: str, context: Context) -> str | Drop:
    """Exactly four digits. Meta's library takes any, so the range is not checked."""
    text = ascii_digits(text)
    return text if _FOUR_DIGITS.match(text) else Drop.DATE_MALFORMED


def currency(text: str, context: Context) -> str | Drop:
    """Three letters in lower case, as Meta's library sends them."""
    letters = _NOT_A_TO_Z.sub("", text.lower())
    return letters if len(letters) == 3 else Drop.CURRENCY_MALFORMED


def public_address(text: str, context: Context) -> str | Drop:
    """IPv4 or IPv6 address in its shortest spelling, if the Internet can reach it: no port, brackets or zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Drop.ADDRESS_NOT_PUBLIC
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return Drop.ADDRESS_NOT_PUBLIC
        address = address.ipv4_mapped or address
    return str(address) if address.is_global and not address.is_multicast else Drop.ADDRESS_NOT_PUBLIC


FIELDS: Final[Mapping[str, Rule]] = {
    "em": hashed(email, md5=True),
    "ph": hashed(phone, md5=True),
    "fn": hashed(name, md5=True),
    "ln": hashed(name, md5=True),
    "ct": hashed(city, md5=True),
    "st": hashed(state, md5=True),
    "zp": hashed(postal_code, md5=True),
    "country": hashed(country, md5=True),
    "ge": hashed(gender, md5=True),
    "db": hashed(date_of_birth, md5=True),
    "external_id": hashed(external_id),
    "f5first": hashed(_first(5), md5=True),
    "f5last": hashed(_first(5), md5=True),
    "fi": hashed(_first(1), md5=True),
    "dobd": hashed(_two_digits(31), md5=True),
    "dobm": hashed(_two_digits(12), md5=True),
    "doby": hashed(year_of_birth, md5=True),
    "currency": plain(currency),
    "client_ip_address": plain(public_address),
}
