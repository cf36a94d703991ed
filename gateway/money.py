"""Money: integer minor units with the currency's own exponent.

On the wire an amount is a decimal number of major units (`12.34` or `"12.34"`). Inside it is an integer number of minor
units (1234 for EUR, 12 for JPY, 12340 for KWD). Nothing passes through binary floating point on the way in; the one
place that must hand out a JSON number does so from the exact decimal text.

Source: ISO 4217 list of active currencies and minor units (2026-01); amendments are a one-line change here.
"""

from decimal import Decimal
from typing import Final

__all__ = ["EXPONENTS", "MAX_MINOR", "AmountError", "exponent", "major_text", "minor_from_major"]

MAX_MINOR: Final = 10**14
"""Largest amount taken from a caller, in minor units: a trillion in a two-digit currency is a unit mistake."""

_ODD: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV "
    "MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
    "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)

EXPONENTS: Final[dict[str, int]] = {
    **{code: digits for digits, codes in _ODD.items() for code in codes.split()},
    **dict.fromkeys(_TWO.split(), 2),
}
"""Currency code to number of decimal digits of its minor unit."""


class AmountError(ValueError):
    """The amount cannot be taken. `code` is a refusal code of `errors`; the text never repeats the amount."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def exponent(currency: str) -> int:
    """Decimal digits of the minor unit of an upper-case ISO 4217 code. Raises AmountError `currency_unknown`."""
    digits = EXPONENTS.get(currency)
    if digits is None:
        raise AmountError("currency_unknown")
    return digits


def minor_from_major(amount: Decimal, currency: str) -> int:
    """Minor units of a decimal amount in major units, exactly.

    Raises AmountError: `amount_not_finite` (NaN, infinity), `amount_negative`, `amount_too_large` (over MAX_MINOR),
    `amount_too_fine` (more decimals than the currency has), `currency_unknown`.
    """
    if not amount.is_finite():
        raise AmountError("amount_not_finite")
    if amount.is_signed() and amount != 0:
        raise AmountError("amount_negative")
    digits = exponent(currency)
    if amount.adjusted() > 16:
        raise AmountError("amount_too_large")
    if amount.adjusted() < -28:
        raise AmountError("amount_too_fine")
    minor = int(amount.scaleb(digits))
    if minor > MAX_MINOR:
        raise AmountError("amount_too_large")
    # scaleb() rounds to 28 digits, so the result is compared with the amount itself: comparing is always exact.
    if Decimal(minor).scaleb(-digits) != amount:
        raise AmountError("amount_too_fine")
    return minor


def major_text(amount_minor: int, currency: str) -> str:
    """Exact decimal text of an amount, with all its decimals: 1230 EUR is `12.30`, 12 JPY is `12`."""
    digits = exponent(currency)
    if digits == 0:
        return str(amount_minor)
    sign, units = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    whole, rest = divmod(units, 10**digits)
    return f"{sign}{whole}.{rest:0{digits}d}"
