"""The words of normalisation: what is known beside a value, what comes out, why a value is dropped, what a rule is.

A rule is a cleaning function and the answer to one question: is the result hashed? The function gets a text that has
already been through `text.clean`, so it is composed, trimmed and not empty, and answers the normalised text, an empty
text when nothing was left, or a `Drop` that says what was wrong.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

__all__ = ["Clean", "Context", "Drop", "Normalized", "Rule", "UnknownField", "dropped", "hashed", "plain"]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the value itself.

    `country` is the country of the same person, ISO 3166-1 alpha-2 in lower case, None when it is not known;
    `meta.country_alpha2` reads it from free text. `default_calling_code` is the calling code a site assumes for phone
    numbers without one, digits only (`44`), None when it assumes nothing. `year` is the current calendar year in UTC: no
    date of birth lies after it.
    """

    year: int
    country: str | None = None
    default_calling_code: str | None = None


class Drop(Enum):
    """Why a value is left out of the payload. A code never changes its meaning."""

    EMPTY = "empty"
    """Nothing is left after cleaning. Sending it would send the digest of the empty text."""
    TOO_LONG = "too_long"
    """Longer than any value of its kind, see `text.MAX_CHARACTERS` and `phone.MAX_CHARACTERS`."""
    NOT_UNICODE = "not_unicode"
    """Holds a lone surrogate: it has no UTF-8 bytes, so it can be neither hashed nor written as JSON."""
    EMPTY_DIGEST = "empty_digest"
    """The sender hashed an empty text."""
    EMAIL_MALFORMED = "email_malformed"
    """Not one local part, one `@` and one domain as the platform wants them."""
    PHONE_MALFORMED = "phone_malformed"
    """Letters in it, or not 7 to 15 digits after the country is known."""
    PHONE_WITHOUT_COUNTRY = "phone_without_country"
    """A national number, and the site has no default calling code. Guessing could name another person."""
    POSTAL_CODE_SHORT = "postal_code_short"
    """One character does not narrow anything down."""
    COUNTRY_UNKNOWN = "country_unknown"
    """No code, name or alias of a country."""
    GENDER_UNKNOWN = "gender_unknown"
    """None of the words that mean `m` or `f`."""
    DATE_MALFORMED = "date_malformed"
    """Not a date in one of the orders that are read."""
    DATE_IMPOSSIBLE = "date_impossible"
    """Read as a date, but no living person can have it, or no calendar."""
    CURRENCY_MALFORMED = "currency_malformed"
    """Not three letters."""
    ADDRESS_NOT_PUBLIC = "address_not_public"
    """Not an IP address, or one that is not reachable on the Internet."""


class Normalized(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value as one platform wants it. It prints without the value.

    `send` is what to transmit. `normalized` is the text before hashing, equal to `send` in fields that are not hashed.
    `sha256` is its digest, None in fields that are not hashed. `already_hashed` says that the value came in as a digest
    and passes in lower case; there is no `normalized` then. `drop` says to leave the field out, and `reason` why: a code
    of `Drop`.
    """

    send: str | None = None
    normalized: str | None = None
    sha256: str | None = None
    already_hashed: bool = False
    drop: bool = False
    reason: str | None = None

    def __repr__(self) -> str:
        return f"Normalized(drop, {self.reason})" if self.drop else "Normalized(***)"


_DROPPED: Final = {why: Normalized(drop=True, reason=why.value) for why in Drop}


def dropped(why: Drop) -> Normalized:
    """Answer for a value that is left out."""
    return _DROPPED[why]


class UnknownField(KeyError):
    """No such `platform`, or the platform has no such `field`. Both are names from code or a caller, never values."""

    def __init__(self, platform: str, field: str) -> None:
        super().__init__(platform, field)
        self.platform = platform
        self.field = field

    def __str__(self) -> str:
        return f"no rule for field {self.field!r} of platform {self.platform!r}"


Clean = Callable[[str, Context], str | Drop]
"""A cleaning function. It gets a text from `text.clean` and answers a text, maybe empty, or why there is none."""


class Rule(msgspec.Struct, frozen=True):
    """How one field of one platform is normalised.

    `clean` is the cleaning function. `hashed`: the result leaves as SHA-256. `digests`: lengths in hex characters of the
    digests that pass unchanged, none in fields that are not hashed.
    """

    clean: Clean
    hashed: bool
    digests: tuple[int, ...]


def hashed(clean: Clean, *, md5: bool = False) -> Rule:
    """Rule of a field that leaves as SHA-256. `md5`: an MD5 made by the sender passes too."""
    return Rule(clean, hashed=True, digests=(64, 32) if md5 else (64,))


def plain(clean: Clean) -> Rule:
    """Rule of a field that leaves as it reads."""
    return Rule(clean, hashed=False, digests=())
