"""Google: how the Data Manager API wants user identifiers for Google Ads.

Name, e-mail and phone leave hashed, region and postal code as they read. Where Google's own utilities disagree, Node and
Java (which follow the page) win over Python: it keeps a Gmail `+tag` and glues first names together. The utilities hash a
digest again or refuse it; here it passes, because a digest of a digest matches nobody.

Source: Google, Data Manager API, formatting (developers.google.com/data-manager/api/devguides/concepts/formatting,
2026-09-24); data-manager-util Node 0.3.0 (commit e7987f8) and Python 0.2.0 (commit 5abbf5d), both run on 2026-11-20.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from gateway.destinations.normalize.phone import phone_e164
from gateway.destinations.normalize.rule import Context, Drop, Rule, hashed, plain
from gateway.destinations.normalize.text import remover

__all__ = ["FIELDS", "email", "phone", "region_code"]

_GMAIL: Final = frozenset({"gmail.com", "googlemail.com"})
_TITLE: Final = re.compile(r"(?:mr|mrs|ms|dr)\.(?:\s|\Z)")
_SUFFIX: Final = re.compile(r"[\s,](?:jr\.?|sr\.?|2nd|3rd|ii|iii|iv|v|vi|cpa|dc|dds|vm|jd|md|phd)\s?\Z")
_LONGEST_SUFFIX: Final = 5
"""Characters that `_SUFFIX` can take: what is before it, three of the suffix, and one trailing space."""
_TWO_LETTERS: Final = re.compile(r"[A-Za-z]{2}\Z")

_without_space_and_control: Final = remover(
    lambda character: character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
)


def email(text: str, context: Context) -> str | Drop:
    """Lower case without white space. Gmail addresses lose dots and `+tag`, which Gmail ignores; others keep them."""
    text = _without_space_and_control(text.lower().removeprefix("mailto:"))
    local, at, domain = text.partition("@")
    if not local or not domain or "@" in domain:
        return Drop.EMAIL_MALFORMED
    if domain in _GMAIL:
        local = local.partition("+")[0].replace(".", "")
        if not local:
            return Drop.EMAIL_MALFORMED
    return local + at + domain


def phone(text: str, context: Context) -> str | Drop:
    """E.164 with its plus."""
    return phone_e164(text, context.default_calling_code)


def given_name(text: str, context: Context) -> str | Drop:
    """Lower case without one leading `mr.` `mrs.` `ms.` `dr.`; the dot is required, punctuation and spaces stay."""
    text = text.lower()
    title = _TITLE.match(text)
    return text[title.end() :].strip() if title else text


def family_name(text: str, context: Context) -> str | Drop:
    """Lower case without generational and professional suffixes (`jr.`, `iii`, `phd`), however many there are.

    A suffix needs a name before it: `Vi` alone is a name. Only the end of the text is searched, so that a long row of
    suffixes or spaces costs no more than its length.
    """
    text = text.lower()
    while suffix := _SUFFIX.search(text, max(0, len(text) - _LONGEST_SUFFIX)):
        separator = text[suffix.start()]
        text = text[: suffix.start()]
        if separator != ",":
            text = text.rstrip().removesuffix(",")
    return text.strip()


def region_code(text: str, context: Context) -> str | Drop:
    """Two ASCII letters in upper case; `UK`, which is not ISO 3166-1, becomes `GB`."""
    if _TWO_LETTERS.match(text) is None:
        return Drop.COUNTRY_UNKNOWN
    code = text.upper()
    return "GB" if code == "UK" else code


def postal_code(text: str, context: Context) -> str | Drop:
    """As written; the common cleaning has trimmed it."""
    return text


FIELDS: Final[Mapping[str, Rule]] = {
    "email_address": hashed(email),
    "phone_number": hashed(phone),
    "given_name": hashed(given_name),
    "family_name": hashed(family_name),
    "region_code": plain(region_code),
    "postal_code": plain(postal_code),
}
