"""What must be known to read a report: stable codes and their sentences, and the rates others published."""

from typing import Final

from gateway.attribution.journeys import NOTES as MODEL_NOTES

__all__ = ["BENCHMARKS", "BENCHMARK_HELP", "NOTES", "notes"]

NOTES: Final[dict[str, str]] = {
    "clicks": "Clicks are those of people: click, QR scan, call or visit from another site, without repeats, robots and tests.",
    "persons": "A person counts once for each goal, with the first conversion on it; later ones are conversions only.",
    "retracted": "Conversions taken back later stay counted here, and are told beside; their net value is 0.",
    "micro_goals": "Steps (micro goals) and ends (macro goals) are counted together; ask for goals=macro or one goal to part them.",
    "shares": "A goal's model may share one conversion out among several touches: counts are sums of shares.",
    "spend_not_split": "Spend is known by day, campaign, channel and source; it cannot be told apart for these rows.",
    "currencies_differ": "Value and spend are in several currencies, which are never added up: no return on spend is told.",
    "suppressed": "Rows narrow visitors down to too few persons: what could mean single visitors is left out. The setting is "
    "site.reports.suppress_under.",
    "recipient": "A link made for one person is told of in that conversion's journey only.",
    "rows_left_out": "There are more rows than the limit.",
    "landing_clicks": "Sums of clicks are not kept by landing page: conversions only.",
    "sample": "The median and the spread are of a sample of conversions from the whole range; the average is of all.",
    "paths_left_out": "There are more paths than were read; the rarest are missing.",
    "value_not_computed": "There are too many conversions to give value to another model; only conversions are told.",
    "model_paths": "Another model was applied to the stored paths of converted persons: rows are channels of those paths.",
    "persons_in_order": "A person counts for a step who reached every goal before it, each no earlier than the one before.",
    "variants": "Each variant is compared with the first of its link. The test needs 100 or more conversions in each.",
    "imported": "Impressions and clicks of advertisements are those imported with spend.",
    "at_least": "A repeat confirms one order at most: the gaps between pages and shop are the least there can be.",
    "conversions_sampled": "There are more conversions than were compared; those were taken evenly from the whole range.",
    "touch_days": "Touches are exported as sums by day: single contacts are shown in journeys only.",
}

BENCHMARK_HELP: Final = (
    "Published averages mix countries, prices, seasons and ways of counting. Compare yourself with your own earlier figures "
    "first; a benchmark without tracking of your own misleads."
)

BENCHMARKS: Final[tuple[dict[str, object], ...]] = (
    {
        "id": "us_ecommerce",
        "title": "E-commerce in the United States, average conversion rate",
        "rate_pct": "2.60",
        "year": 2021,
        "source": "CartBoss, guide to conversion tracking, read 2026-11",
    },
    {
        "id": "consumer_goods",
        "title": "Consumer goods, highest of the sectors named",
        "rate_pct": "4.22",
        "year": None,
        "source": "CartBoss, guide to conversion tracking, read 2026-11; the guide names no year",
    },
    {
        "id": "home_and_furniture",
        "title": "Home and furniture",
        "rate_pct": "1.44",
        "year": None,
        "source": "CartBoss, guide to conversion tracking, read 2026-11; the guide names no year",
    },
)
"""Conversion rates others published: lines to compare with, not targets."""


def notes(*codes: str) -> list[dict[str, str]]:
    """Notes as they are told, each once: codes of NOTES, and of attribution's notes about models."""
    known = NOTES | MODEL_NOTES
    return [{"code": code, "message": known[code]} for code in dict.fromkeys(codes)]
