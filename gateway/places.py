"""Places: what the law of a visitor's place makes of silence (pure).

A place is coarse: a country, or a country and its region where the law differs by region: `DE`, `US-CA`, `CA-QC`, empty
when unknown. It comes from the operator: a header that a trusted proxy sets, or a database file. The address itself is
never kept for it.

**Every place that is not named here is opt_in.** A place may only make a site's rules stricter, never looser.

Source: the state laws and the European rules as read for version 2026-11 of this table; `docs/reference/consent.md`
prints it. The duty to honour a browser signal: CA (11 CCR 7025), CO, CT, DE, MD, MN, MT, NE, NH, NJ, OR, TX.
"""

import re
from typing import Final

from gateway.purposes import Regime

__all__ = [
    "ASK_FIRST",
    "PLACES_VERSION",
    "US_STATES",
    "has_law",
    "known_place",
    "place_from",
    "regime_for",
    "stricter",
    "us_state",
]

PLACES_VERSION: Final = "2026-11"
"""Version of this table. It is the version of the rules (`consent.RULES_VERSION`), which every judgement carries."""

ASK_FIRST: Final = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()
)
"""Countries whose law asks for consent first: the European Economic Area and the United Kingdom. Every other country is
treated alike; these cannot be declared to be without rules."""

US_STATES: Final[dict[str, Regime]] = {
    **dict.fromkeys("CA CO CT DE MD MN MT NE NH NJ OR TX".split(), Regime.OPT_OUT_SIGNAL),
    **dict.fromkeys("VA UT IA IN TN KY RI FL".split(), Regime.OPT_OUT),
}
"""States with a privacy law in force. A state without one, and a US visitor whose state is unknown, are opt_in: the
gateway does not guess that nothing applies."""

_DIFFERS_BY_REGION: Final = frozenset({"US", "CA"})
_STRICTER_THAN_ITS_COUNTRY: Final = frozenset({"CA-QC"})
_STRICTNESS: Final = (Regime.NONE, Regime.OPT_OUT, Regime.OPT_OUT_SIGNAL, Regime.OPT_IN)
_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z")
_REGION: Final = re.compile(r"[A-Z0-9]{1,3}\Z")
_PLACE: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?\Z")
_NO_COUNTRY: Final = frozenset({"XX", "ZZ", "T1", "EU", "AP", "A1", "A2", "O1"})
"""What look-up services write when they do not know: unknown, anonymous network, a continent."""


def place_from(country: str | None, region: str | None = None) -> str:
    """Put a place together from two codes of ISO 3166; empty when there is no country that could be one.

    The region may be written alone (`CA`) or with its country (`US-CA`); one that cannot be read is left out.
    """
    code = _letters(country)
    if _COUNTRY.match(code) is None or code in _NO_COUNTRY:
        return ""
    part = _letters(region).removeprefix(f"{code}-")
    return f"{code}-{part}" if _REGION.match(part) is not None else code


def _letters(text: str | None) -> str:
    # Some letters of other alphabets become ASCII in upper case, and would name a place nobody meant.
    return text.strip().upper() if text is not None and text.isascii() else ""


def known_place(text: str) -> bool:
    """Whether an operator's text is written as a place: `SG`, `US-WY`."""
    return _PLACE.match(text) is not None


def us_state(place: str) -> str | None:
    """The state of a visitor in the USA, None elsewhere or when unknown."""
    country, _, region = place.partition("-")
    return region if country == "US" and region else None


def has_law(place: str) -> bool:
    """Whether this table knows a law of the place, so that nobody can declare it to be without rules."""
    return place.partition("-")[0] in ASK_FIRST or us_state(place) in US_STATES


def stricter(one: Regime, other: Regime) -> Regime:
    """The stricter of two regimes."""
    return max(one, other, key=_STRICTNESS.index)


def regime_for(site: Regime, place: str, without_rules: frozenset[str] = frozenset()) -> Regime:
    """The regime for one visitor: the stricter of the site's own and the place's.

    `without_rules` are places for which the operator says that no such law applies; only there the site's own regime
    holds alone. A country stands for its regions, but for those whose law is stricter, and where the law differs by
    region the region must be known. Unknown places are opt_in.
    """
    if _declared(place, without_rules):
        return site
    state = us_state(place)
    return stricter(site, US_STATES.get(state, Regime.OPT_IN) if state is not None else Regime.OPT_IN)


def _declared(place: str, without_rules: frozenset[str]) -> bool:
    """Whether the operator's list covers a place, and this table knows no law that speaks against it."""
    if not without_rules or has_law(place):
        return False
    country, _, region = place.partition("-")
    if not region and country in _DIFFERS_BY_REGION:
        return False
    return place in without_rules or (country in without_rules and place not in _STRICTER_THAN_ITS_COUNTRY)
