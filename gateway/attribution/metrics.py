"""Metrics: what a campaign brought and cost, in exact decimals.

Every figure is rounded half away from zero from the exact value and is text with all its decimals; None where its
denominator is zero. Clicks are those of people, counted once and with consent.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

__all__ = ["Figures", "Metrics", "measure", "rounded"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics are made of. Money in minor units of one currency.

    `orders` are different orders among the conversions. `lags_s` are seconds from the credited click to the conversion,
    of attributed conversions only.
    """

    clicks: int
    conversions: int
    orders: int
    value_minor: int
    refund_minor: int = 0
    spend_minor: int = 0
    lags_s: Sequence[float] = ()


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics as texts, in major units. `conversion_rate_pct` may exceed 100: one click can lead to several conversions."""

    conversion_rate_pct: str | None
    total_value: str
    net_value: str
    average_value: str | None
    aov: str | None
    roas: str | None
    roi_pct: str | None
    cpa: str | None
    cpc: str | None
    epc: str | None
    avg_time_to_convert_s: str | None
    median_time_to_convert_s: str | None


def rounded(value: Fraction, places: int) -> str:
    """Decimal text of a fraction with `places` decimals, halves away from zero. Zero has no sign."""
    units = (2 * abs(value.numerator) * 10**places + value.denominator) // (2 * value.denominator)
    sign = "-" if value < 0 and units else ""
    whole, rest = divmod(units, 10**places)
    return f"{sign}{whole}.{rest:0{places}d}" if places else f"{sign}{whole}"


def measure(figures: Figures, digits: int = 2) -> Metrics:
    """Compute every metric. `digits` are the decimals of the currency's minor unit.

    `average_value` and `aov` are before refunds; `roas`, `roi_pct` and `epc` after them.
    """
    value = Fraction(figures.value_minor, 10**digits)
    net = Fraction(figures.value_minor - figures.refund_minor, 10**digits)
    spend = Fraction(figures.spend_minor, 10**digits)
    lags = sorted(Fraction(lag) for lag in figures.lags_s)
    return Metrics(
        conversion_rate_pct=_ratio(Fraction(100 * figures.conversions), figures.clicks, 2),
        total_value=rounded(value, digits),
        net_value=rounded(net, digits),
        average_value=_ratio(value, figures.conversions, digits),
        aov=_ratio(value, figures.orders, digits),
        roas=_ratio(net, spend, 4),
        roi_pct=_ratio((net - spend) * 100, spend, 2),
        cpa=_ratio(spend, figures.conversions, digits),
        cpc=_ratio(spend, figures.clicks, digits + 2),
        epc=_ratio(net, figures.clicks, digits + 2),
        avg_time_to_convert_s=_ratio(sum(lags, Fraction(0)), len(lags), 1),
        median_time_to_convert_s=_ratio(_two_in_the_middle(lags), 2 if lags else 0, 1),
    )


def _ratio(value: Fraction, by: Fraction | int, places: int) -> str | None:
    return rounded(value / by, places) if by else None


def _two_in_the_middle(lags: list[Fraction]) -> Fraction:
    """Twice the median."""
    return lags[(len(lags) - 1) // 2] + lags[len(lags) // 2] if lags else Fraction(0)
