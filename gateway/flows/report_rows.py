"""Rows of a report as they are told: counts, rates with what they are made of, money of each currency, shares, ratios.

Counts of credit are shares: a conversion that three touches earned is a third for each. They are told with up to two
decimals; rates and ratios are worked out from the exact shares. Money of different currencies is never added up. What has
no denominator is null, and so is a return on spend where value and spend are not in one currency.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from gateway.attribution.metrics import Figures as Measured
from gateway.attribution.metrics import measure, rounded
from gateway.flows.report_asking import date_text
from gateway.flows.report_sums import ONE, Figures, Key
from gateway.money import exponent, major_text

if TYPE_CHECKING:
    from gateway.flows.report_asking import Ask

__all__ = ["amount_text", "count_of", "drill", "pct", "row_of", "sorted_keys", "totals_of"]

_EXPORT: Final = "/api/v1/exports/conversions"


def count_of(share_e9: int) -> int | float:
    """A sum of shares as a number with up to two decimals."""
    text = rounded(Fraction(share_e9, ONE), 2)
    return int(text[:-3]) if text.endswith(".00") else float(text)


def pct(part: Fraction | int, whole: Fraction | int) -> str | None:
    """A part of a whole in percent, None when there is no whole."""
    return rounded(Fraction(part) * 100 / Fraction(whole), 2) if whole else None


def amount_text(minor: Fraction | int, currency: str) -> str:
    """An amount in major units with all its decimals, rounded where it is a fraction of minor units."""
    if isinstance(minor, int):
        return major_text(minor, currency)
    digits = exponent(currency)
    return rounded(minor / 10**digits, digits)


def totals_of(rows: Iterable[Figures]) -> Figures:
    """The sum of all rows that are shown."""
    whole = Figures()
    for row in rows:
        if row.suppressed != "whole":
            whole.add(row)
    return whole


def row_of(
    key: Mapping[str, object],
    figures: Figures,
    totals: Figures,
    ask: "Ask",
    *,
    spend: bool,
    related: bool = True,
) -> dict[str, object]:
    """One row. `spend`: whether this report knows what was spent for a row. `related`: what was spent was spent for what
    the row earned; it was not where spend names no campaign, channel or source."""
    if figures.suppressed == "whole":
        return {"key": dict(key), "suppressed": "whole"}
    conversions = Fraction(figures.share_e9, ONE)
    whole = figures.suppressed == "no"
    return {
        "key": dict(key),
        "conversions": count_of(figures.share_e9),
        "converting_persons": count_of(figures.first_e9),
        "clicks": figures.clicks,
        "conversion_rate": {
            "pct": pct(conversions, figures.clicks) if whole else None,
            "conversions": count_of(figures.share_e9),
            "clicks": figures.clicks,
        },
        "suspect_clicks": figures.suspect,
        "bot_clicks": figures.bots,
        "repeats": figures.repeats,
        "scans": figures.scans,
        "views": figures.views,
        "direct_visits": figures.direct,
        "money": _money(figures, ask, spend=spend and whole, related=related),
        "share_of_clicks_pct": pct(figures.clicks, totals.clicks),
        "share_of_conversions_pct": pct(figures.share_e9, totals.share_e9),
        "share_of_revenue_pct": {
            currency: pct(figures.money[currency].amount_minor if currency in figures.money else 0, money.amount_minor)
            for currency, money in sorted(totals.money.items())
            if money.amount_minor and ask.currency in ("", currency)
        },
        "time_to_convert": {
            "average_s": rounded(Fraction(figures.seconds_e9, figures.timed_e9), 1) if figures.timed_e9 else None,
            "conversions": count_of(figures.timed_e9),
        },
        "suppressed": figures.suppressed,
    }


def _money(figures: Figures, ask: "Ask", *, spend: bool, related: bool) -> list[dict[str, object]]:
    """A list of one entry for each currency. `conversions` are those with an amount in it; ratios use all of the row."""
    told: list[dict[str, object]] = []
    returns = spend and related and (bool(ask.currency) or not _mixed(figures))
    conversions = Fraction(figures.share_e9, ONE)
    for currency, money in sorted(figures.money.items()):
        if ask.currency not in ("", currency):
            continue
        digits = exponent(currency)
        found = measure(
            Measured(
                clicks=figures.clicks,
                conversions=0,
                orders=0,
                value_minor=money.amount_minor,
                refund_minor=money.amount_minor - money.net_minor,
                spend_minor=money.spend_minor,
            ),
            digits,
        )
        valued = Fraction(money.share_e9, ONE)
        told.append(
            {
                "currency": currency,
                "conversions": count_of(money.share_e9),
                "value": found.total_value,
                "net_value": found.net_value,
                "average_value": amount_text(money.amount_minor / valued, currency) if valued else None,
                "epc": found.epc,
                "spend": major_text(money.spend_minor, currency) if spend else None,
                "roi_pct": found.roi_pct if returns else None,
                "roas": found.roas if returns else None,
                "cpa": amount_text(money.spend_minor / conversions, currency)
                if spend and related and conversions and money.spend_minor
                else None,
                "cpc": found.cpc if spend and related else None,
            }
        )
    return told


def _mixed(figures: Figures) -> bool:
    """Whether value and spend are in more than one currency: then no return on spend can be told."""
    return len([money for money in figures.money.values() if money.amount_minor or money.spend_minor]) > 1


def drill(ask: "Ask", **narrowed: str) -> str:
    """The query that lists the conversions behind a row, with their touches and evidence."""
    narrow = {name: value for name, value in ask.narrowed().items() if name != "currency"}
    asked = {"from": date_text(ask.from_day), "to": date_text(ask.upto_day), **narrow, **narrowed}
    return f"{_EXPORT}?{urlencode(asked)}"


# ------------------------------------------------------------------ order


def sorted_keys(rows: Mapping[Key, Figures], ask: "Ask", names: Mapping[Key, str], currency: str) -> Sequence[Key]:
    """Keys in the order that is asked for; rows that are left out whole come last. `currency` is what money is sorted by."""
    measure_of = ask.sort.removeprefix("-")
    turned = ask.sort.startswith("-")
    known: list[Key] = []
    without: list[Key] = []
    for key in sorted(rows, key=lambda one: (names[one], one)):
        missing = rows[key].suppressed == "whole" or _measure(rows[key], measure_of, currency) is None
        (without if missing else known).append(key)
    if measure_of != "name":
        upward = turned or measure_of == "worst"
        known.sort(key=lambda one: _measure(rows[one], measure_of, currency) or Fraction(0), reverse=not upward)
    elif turned:
        known.reverse()
    return [*known, *without]


def _measure(figures: Figures, name: str, currency: str) -> Fraction | None:
    """What a row is sorted by, None when it has none of it."""
    money = figures.money.get(currency)
    spend = money.spend_minor if money is not None else 0
    conversions = Fraction(figures.share_e9, ONE)
    if name in ("rate", "worst"):
        return conversions / figures.clicks if figures.clicks else None
    if name == "cpa":
        return spend / conversions if conversions and spend else None
    if name in ("roi", "roas"):
        return Fraction(money.net_minor, spend) if money is not None and spend else None
    counts = {
        "conversions": figures.share_e9,
        "persons": figures.first_e9,
        "clicks": figures.clicks,
        "value": money.amount_minor if money is not None else 0,
        "net_value": money.net_minor if money is not None else 0,
        "spend": spend,
        "name": 0,
    }
    return Fraction(counts[name])
