"""Places: what a header or a database says becomes a place, and a place makes a site's rules stricter, never looser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent import RULES_VERSION
from gateway.places import (
    ASK_FIRST,
    PLACES_VERSION,
    US_STATES,
    has_law,
    known_place,
    place_from,
    regime_for,
    stricter,
    us_state,
)
from gateway.purposes import Regime
from tests.support.cases import named
from tests.support.properties import tried

quick = tried(300)

OPT_IN, SIGNAL, OPT_OUT, NONE = Regime.OPT_IN, Regime.OPT_OUT_SIGNAL, Regime.OPT_OUT, Regime.NONE
STRICT_FIRST = (OPT_IN, SIGNAL, OPT_OUT, NONE)


@pytest.mark.parametrize(
    ("country", "region", "place"),
    named(
        [
            ("a country alone", "DE", None, "DE"),
            ("a country and a region", "US", "CA", "US-CA"),
            ("a region that names its country", "US", "US-CA", "US-CA"),
            ("lower case and blanks", " us ", " ca ", "US-CA"),
            ("a region of digits", "FR", "75", "FR-75"),
            ("a region that is a word is left out", "US", "California", "US"),
            ("an empty region is left out", "CA", "", "CA"),
            ("a region of another country is left out", "US", "CA-QC", "US"),
            ("a region without a country is nowhere", None, "CA", ""),
            ("a country that is a word is nowhere", "Germany", None, ""),
            ("one letter is nowhere", "U", "CA", ""),
            ("digits are nowhere", "12", None, ""),
            ("nothing is nowhere", "", "", ""),
            ("unknown, as look-up services write it", "XX", "CA", ""),
            ("the Tor network", "T1", None, ""),
            ("Europe is no country", "EU", None, ""),
            ("letters that only look like others when made large", "uſ", "ca", ""),
            ("a region of such letters is left out", "US", "cª", "US"),
            ("a line feed at the end is a blank", "US\n", "CA\n", "US-CA"),
            ("a line feed inside is not", "U\nS", "CA", ""),
        ]
    ),
)
def test_a_place_is_put_together_from_two_codes(country: str | None, region: str | None, place: str) -> None:
    assert place_from(country, region) == place
    assert place == "" or known_place(place)


@quick
@given(st.none() | st.text(max_size=6), st.none() | st.text(max_size=6))
def test_whatever_a_header_says_is_a_place_or_none(country: str | None, region: str | None) -> None:
    place = place_from(country, region)
    assert place == "" or known_place(place)


@pytest.mark.parametrize("text", ["", "de", "DEU", "US-", "US-WYOM", "US-wy", "US_WY", "US-WY\n", "-WY", "DE "])
def test_what_is_not_written_as_a_place_is_none(text: str) -> None:
    assert not known_place(text)


@pytest.mark.parametrize(
    ("place", "state"), [("US-CA", "CA"), ("US", None), ("CA-QC", None), ("", None), ("DE", None), ("MX-US", None)]
)
def test_only_a_place_in_the_united_states_has_a_state(place: str, state: str | None) -> None:
    assert us_state(place) == state


# ------------------------------------------------------------------ regimes


@pytest.mark.parametrize("site", Regime)
@pytest.mark.parametrize(
    ("place", "regime"),
    named(
        [
            *((f"{state}: a browser signal binds", f"US-{state}", SIGNAL) for state in "CA CO CT DE MD MN MT NE NH NJ OR TX".split()),
            *((f"{state}: objections are honoured", f"US-{state}", OPT_OUT) for state in "VA UT IA IN TN KY RI FL".split()),
            ("a state without a law", "US-WY", OPT_IN),
            ("a state whose law begins in 2027", "US-OK", OPT_IN),
            ("a state that does not exist", "US-ZZ", OPT_IN),
            ("the United States, state unknown", "US", OPT_IN),
            ("Canada is not California", "CA", OPT_IN),
            ("Delaware is not Germany", "DE", OPT_IN),
            ("Quebec", "CA-QC", OPT_IN),
            ("Switzerland", "CH", OPT_IN),
            ("Brazil", "BR", OPT_IN),
            ("a country nobody named", "SG", OPT_IN),
            ("an unknown place", "", OPT_IN),
        ]
    ),
)  # fmt: skip
def test_the_stricter_of_site_and_place_holds(place: str, regime: Regime, site: Regime) -> None:
    expected = min(site, regime, key=STRICT_FIRST.index)
    assert regime_for(site, place) is expected
    assert stricter(site, regime) is stricter(regime, site) is expected


@pytest.mark.parametrize(
    ("listed", "place", "loosened"),
    named(
        [
            ("a country that is named", {"SG"}, "SG", True),
            ("stands for its regions", {"SG"}, "SG-01", True),
            ("a country that is not named", {"SG"}, "MY", False),
            ("a state without a law", {"US-WY"}, "US-WY", True),
            ("and no other state", {"US-WY"}, "US-OK", False),
            ("a region does not stand for its country", {"US-WY"}, "US", False),
            ("the United States stand for states without a law", {"US"}, "US-WY", True),
            ("not for one with a law", {"US"}, "US-CA", False),
            ("nor for an unknown state", {"US"}, "US", False),
            ("a state with a law cannot be declared", {"US-CA"}, "US-CA", False),
            ("nor can one where no signal binds", {"US-VA"}, "US-VA", False),
            ("a country that asks first cannot be declared", {"DE", "GB"}, "DE", False),
            ("nor a region of it", {"DE-BY"}, "DE-BY", False),
            ("Canada stands for its provinces", {"CA"}, "CA-ON", True),
            ("but for Quebec", {"CA"}, "CA-QC", False),
            ("which can be declared itself", {"CA-QC"}, "CA-QC", True),
            ("and not where the province is unknown", {"CA"}, "CA", False),
            ("an unknown place is never declared", {"SG", ""}, "", False),
        ]
    ),
)
def test_a_declared_place_has_the_rules_of_the_site(listed: set[str], place: str, loosened: bool) -> None:
    without = frozenset(listed - {""})
    assert regime_for(NONE, place, without) is (NONE if loosened else regime_for(NONE, place))
    assert regime_for(OPT_IN, place, without) is OPT_IN, "a place never makes a strict site looser"


PLACES = st.sampled_from(
    ["", "US", "CA", *(f"US-{state}" for state in [*US_STATES, "WY", "OK"]), "CA-QC", "CA-ON", "SG", "SG-01", *sorted(ASK_FIRST)]
)  # fmt: skip


@quick
@given(st.sampled_from(Regime), PLACES, st.frozensets(PLACES, max_size=6))
def test_a_place_only_makes_stricter(site: Regime, place: str, without: frozenset[str]) -> None:
    found = regime_for(site, place, without)
    assert STRICT_FIRST.index(found) <= STRICT_FIRST.index(site)
    assert STRICT_FIRST.index(regime_for(site, place)) <= STRICT_FIRST.index(found), (
        "a declaration never adds strictness"
    )
    if has_law(place):
        assert found is regime_for(site, place), "and says nothing where a law is known"


def test_the_table_has_its_thirty_one_countries_and_twenty_states() -> None:
    assert (len(ASK_FIRST), len(US_STATES)) == (31, 20)
    assert not set(US_STATES.values()) & {OPT_IN, NONE}


def test_the_version_that_is_stored_covers_this_table() -> None:
    assert PLACES_VERSION == RULES_VERSION
