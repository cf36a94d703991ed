"""US Privacy: the string of four characters that came before GPP, retired and still seen.

`1`, then three letters, each `Y`, `N` or `-`: was notice given, did the visitor opt out of sale, is the transaction
covered by the service provider agreement. `1---` says that the law does not apply. Only this spelling is read: lower case,
other letters and other versions are absent, not guessed.

It travels as the query parameter `us_privacy`, as the cookie `usprivacy` and as section 6 of a GPP string.

Source: IAB "U.S. Privacy String" version 1.0; the field names of `told` are those of GPP section uspv1.
"""

from typing import Final

import msgspec

from gateway.signals.bits import Unreadable

__all__ = ["UsPrivacy", "decode", "told"]

_LENGTH: Final = 4
_VERSION: Final = "1"
_LETTERS: Final = frozenset("YN-")


class UsPrivacy(msgspec.Struct, frozen=True):
    """A decoded string. Each field is `Y`, `N` or `-` (does not apply)."""

    notice: str
    opt_out_sale: str
    lspa_covered: str

    @property
    def opted_out(self) -> bool:
        """Whether the visitor opted out of the sale of personal data."""
        return self.opt_out_sale == "Y"

    @property
    def applies(self) -> bool:
        """Whether the sender says that the law applies at all."""
        return (self.notice, self.opt_out_sale, self.lspa_covered) != ("-", "-", "-")


def decode(text: str) -> UsPrivacy | Unreadable:
    """Read one string. Codes: `empty`, `length`, `version`, `letter`."""
    if len(text) != _LENGTH:
        return Unreadable("length" if text else "empty")
    if text[0] != _VERSION:
        return Unreadable("version")
    if not _LETTERS.issuperset(text[1:]):
        return Unreadable("letter")
    return UsPrivacy(text[1], text[2], text[3])


def told(usp: UsPrivacy) -> dict[str, object]:
    """The string for people, with the field names of the specification."""
    return {
        "Version": int(_VERSION),
        "Notice": usp.notice,
        "OptOutSale": usp.opt_out_sale,
        "LspaCovered": usp.lspa_covered,
    }
