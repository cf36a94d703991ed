"""Judging: one request becomes the site's judgement, and those of destinations to which a signal speaks by name."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.event import Claim, Received, Signals
from gateway.flows.judging import Judge, Said, Verdicts, consent_problems, known_for
from gateway.places import US_STATES
from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
    FUNCTIONAL,
    NECESSARY,
    Audience,
    Regime,
)
from gateway.settings import ConsentPlatform, Settings, Site
from gateway.signals.carried import StoredChoice
from gateway.signals.gvl import Vendor, VendorList
from tests.support.cases import named
from tests.support.properties import tried
from tests.support.running import NOW_MS
from tests.support.signals import ALL, gpp_string, tc_string

quick = tried(200)

ROW: Final = Vendor(id=33, purposes=sum(1 << number for number in (1, 3, 4, 7, 8)))
LIST: Final = VendorList(version=150, policy_version=5, last_updated_ms=0, vendors={33: ROW})
AUDIENCES: Final = {"iab": Audience(tcf_vendor=33), "google": Audience(google=True), "other": Audience(tcf_vendor=34)}
YES: Final = tc_string(purposes=ALL, vendors=(33,), disclosed=(33,))


def site(**rows: Any) -> Site:
    return Site(id="shop", hosts=("t.shop.example",), **rows)


def judge_for(*, lists: dict[int, VendorList] | None = None, places_known: bool = False, **rows: Any) -> Judge:
    made = site(**rows)
    return Judge(
        made, known_for(made, lists if lists is not None else {150: LIST}), AUDIENCES, places_known=places_known
    )


def event(**fields: Any) -> Received:
    return Received(
        site="shop",
        event_id="e",
        name="purchase",
        trust="browser",
        occurred_at_ms=NOW_MS,
        received_at_ms=NOW_MS,
        **fields,
    )


def said(**fields: Any) -> Said:
    return Said(now_ms=NOW_MS, **fields)


# ------------------------------------------------------------------ places


@pytest.mark.parametrize(
    ("regime", "place", "granted"),
    named(
        [
            ("an opt-in site stays one in California", "opt_in", "US-CA", NECESSARY),
            ("an opt-out site is one in Virginia", "opt_out", "US-VA", ALL_PURPOSES),
            ("an opt-out site asks first in Germany", "opt_out", "DE", NECESSARY),
            ("and where the place is unknown", "opt_out", "", NECESSARY),
            ("and in a state without a law", "opt_out", "US-WY", NECESSARY),
            ("a site without rules grants in Virginia what it grants at home, and no more", "none", "US-VA", NECESSARY | ANALYTICS),
            ("a site without rules asks first in Germany", "none", "DE", NECESSARY),
            ("a declared place has the site's own rules", "none", "SG", NECESSARY | ANALYTICS),
        ]
    ),
)  # fmt: skip
def test_silence_means_what_the_stricter_of_site_and_place_makes_of_it(regime: str, place: str, granted: int) -> None:
    default = ("analytics",) if regime == "none" else ()
    judge = judge_for(places_known=True, regime=regime, granted_by_default=default, places_without_rules=("SG",))
    own = judge(said(place=place), event()).own
    assert (own.granted, own.place) == (granted, place)


def test_without_a_source_of_places_the_site_decides_alone() -> None:
    judge = judge_for(regime="opt_out")
    assert judge(said(), event()).own.granted == ALL_PURPOSES
    assert judge(said(place="DE"), event()).own.regime == "opt_out"


CLAIMS: Final = st.none() | st.builds(Claim, st.integers(0, 63), st.integers(0, 63))
PLACES: Final = st.sampled_from(["", "DE", "US", "SG", "CA-QC", *(f"US-{state}" for state in [*US_STATES, "WY"])])


@quick
@given(
    st.sampled_from([regime.value for regime in Regime]),
    st.sampled_from([(), ("analytics",), ("marketing", "functional")]),
    PLACES,
    CLAIMS,
    st.none() | st.builds(StoredChoice, st.integers(0, 63), st.integers(0, 63), st.just(NOW_MS - 9), st.booleans()),
    st.booleans(),
)
def test_a_place_never_allows_more_than_the_site(
    regime: str, default: tuple[str, ...], place: str, claim: Claim | None, stored: StoredChoice | None, gpc: bool
) -> None:
    rows: dict[str, Any] = {"regime": regime, "granted_by_default": default, "places_without_rules": ("SG",)}
    request, one = said(place=place, stored=stored, sec_gpc=("1",) if gpc else ()), event(claim=claim)
    at_home = judge_for(**rows)(request, one).own
    there = judge_for(places_known=True, **rows)(request, one).own
    assert not there.granted & ~at_home.granted


# ------------------------------------------------------------------ who is spoken to


def test_destinations_that_hear_the_same_have_no_judgement_of_their_own() -> None:
    verdicts = judge_for()(said(), event(claim=Claim(ANALYTICS)))
    assert (verdicts.own.granted, verdicts.others) == (NECESSARY | ANALYTICS, {})


def test_a_string_gives_each_vendor_its_own_judgement() -> None:
    verdicts = judge_for()(said(), event(signals=Signals(tcf=YES)))
    assert verdicts.own.granted == NECESSARY
    assert {name: judgement.granted for name, judgement in verdicts.others.items()} == {
        "iab": NECESSARY | ANALYTICS | ADVERTISING_PURPOSES,
        "other": NECESSARY,
    }
    assert verdicts.others["other"].rulings != verdicts.own.rulings, "denied, and by the string"
    assert verdicts.granted_to_some == NECESSARY | ANALYTICS | ADVERTISING_PURPOSES


def test_consent_mode_speaks_to_google_alone() -> None:
    verdicts = judge_for(consent_mode="source")(
        said(), event(signals=Signals(google=(("analytics_storage", "granted"),)))
    )
    assert set(verdicts.others) == {"google"}
    assert verdicts.others["google"].granted == NECESSARY | ANALYTICS


def test_what_a_backend_says_stands_beside_the_string() -> None:
    one = event(signals=Signals(tcf=YES), claim=Claim(denied=ADVERTISING))
    verdicts = judge_for()(said(trusted=True), one)
    assert not verdicts.others["iab"].granted & ADVERTISING, "whoever says no"
    assert verdicts.others["iab"].granted & ANALYTICS


def test_a_list_that_comes_later_is_used_at_once() -> None:
    lists: dict[int, VendorList] = {}
    judge = judge_for(lists=lists)
    one = event(signals=Signals(tcf=YES))
    assert judge(said(), one).others["iab"].rulings[0].source == "tcf_no_list"
    lists[150] = LIST
    assert judge(said(), one).others["iab"].granted == NECESSARY | ANALYTICS | ADVERTISING_PURPOSES


def test_two_signals_that_disagree_leave_a_mark() -> None:
    judge = judge_for(consent_platform=ConsentPlatform(name="klaro", mapping={"stats": "analytics"}))
    verdicts = judge(said(cookie='klaro={"stats":true}'), event(claim=Claim(denied=ANALYTICS)))
    assert verdicts.own.conflict == ANALYTICS
    assert verdicts.noted == ("consent_conflict",)
    assert verdicts.own.granted == NECESSARY


# ------------------------------------------------------------------ what is kept


def test_what_is_said_often_is_judged_once() -> None:
    judge = judge_for()
    one, other = event(claim=Claim(ANALYTICS)), event(claim=Claim(ANALYTICS), props={"a": 1})
    assert judge(said(sec_gpc=("1",)), one) is judge(said(sec_gpc=("x" * 9_000, "1", "\udcff")), other)
    assert judge(said(cookie="a=b"), one) is judge(said(dnt=("1",)), one), "nothing of either is read here"
    assert judge(said(), one) is not judge(said(trusted=True), one)


@pytest.mark.parametrize(
    ("rows", "request_of", "fields"),
    named(
        [
            ("a minor", {}, {}, {"minor": True}),
            ("sensitive data", {}, {}, {"sensitive": ("health",)}),
            ("signals", {}, {}, {"signals": Signals()}),
            ("Do Not Track", {"do_not_track": True}, {"dnt": ("1",)}, {}),
            ("a TC string cookie", {}, {"cookie": "euconsent-v2=x"}, {}),
            ("a platform's cookie", {"consent_platform": ConsentPlatform(name="klaro", mapping={})}, {"cookie": "a=b"}, {}),
        ]
    ),
)  # fmt: skip
def test_what_must_be_decoded_is_decoded_each_time(
    rows: dict[str, Any], request_of: dict[str, Any], fields: dict[str, Any]
) -> None:
    judge = judge_for(**rows)
    assert judge(said(**request_of), event(**fields)) is not judge(said(**request_of), event(**fields))


def test_the_cookie_is_decoded_once_for_all_events_of_a_request() -> None:
    judge = judge_for(consent_platform=ConsentPlatform(name="klaro", mapping={"stats": "analytics"}))
    request = said(cookie='klaro={"stats":true}')
    first = judge(request, event())
    assert first.own.granted == NECESSARY | ANALYTICS
    assert len(request.read) == 1
    assert judge(request, event(signals=Signals(gcs="x"))).own.granted == NECESSARY | ANALYTICS
    assert len(request.read) == 1
    assert judge(said(), event(signals=Signals())).own.granted == NECESSARY, "another request"


def test_a_visitor_without_an_event_is_judged_by_headers_and_cookies() -> None:
    judge = judge_for(consent_platform=ConsentPlatform(name="klaro", mapping={"stats": "analytics"}))
    assert judge(said(cookie='klaro={"stats":true}'), None).own.granted == NECESSARY | ANALYTICS
    assert judge(said(stored=StoredChoice(FUNCTIONAL, 0, NOW_MS, True)), None).own.granted == NECESSARY | FUNCTIONAL


@pytest.mark.parametrize(
    ("cookie", "granted"),
    named(
        [
            ("letters as UTF-8", 'klaro={"käse":true}', NECESSARY | ANALYTICS),
            ("the same as octets that were no UTF-8", 'klaro={"käse":true}; x=\udcff', NECESSARY | ANALYTICS),
            ("octets that are no UTF-8 in the value", 'klaro={"k\udce4se":true}', NECESSARY),
        ]
    ),
)
def test_a_cookie_is_read_octet_by_octet(cookie: str, granted: int) -> None:
    judge = judge_for(consent_platform=ConsentPlatform(name="klaro", mapping={"käse": "analytics"}))
    assert judge(said(cookie=cookie), event()).own.granted == granted


def test_nobody_is_the_same_as_nothing() -> None:
    assert Verdicts(judge_for()(said(), None).own).granted_to_some == NECESSARY


# ------------------------------------------------------------------ a choice made of signals


@pytest.mark.parametrize(
    ("rows", "signals", "granted", "denied", "spoken"),
    named(
        [
            ("nothing", {}, Signals(), 0, 0, 0),
            (
                "consent mode speaks to Google alone",
                {"consent_mode": "source"},
                Signals(google=(("analytics_storage", "granted"), ("ad_storage", "denied"))),
                ANALYTICS, ADVERTISING, ANALYTICS | ADVERTISING,
            ),
            (
                "vendors of a string hear different things",
                {}, Signals(tcf=YES), 0, 0, ANALYTICS | ADVERTISING_PURPOSES,
            ),
            (
                "a string that refuses everybody",
                {}, Signals(tcf=tc_string(disclosed=(33, 34), publisher=())),
                0, ANALYTICS | ADVERTISING_PURPOSES, ANALYTICS | ADVERTISING_PURPOSES,
            ),
            (
                "an opt-out of sale",
                {}, Signals(us_privacy="1YYN"), 0, ADVERTISING_PURPOSES, ADVERTISING_PURPOSES,
            ),
            (
                "an opt-out of targeted advertising",
                {}, Signals(gpp=gpp_string(usnat={"TargetedAdvertisingOptOut": 1})),
                0, ADVERTISING_PURPOSES, ADVERTISING_PURPOSES,
            ),
            (
                "what a platform's interface tells",
                {"consent_platform": ConsentPlatform(name="klaro", mapping={"stats": "analytics", "ads": "marketing"})},
                Signals(choice="explicit", categories=(("ads", False), ("stats", True))),
                ANALYTICS, ADVERTISING_PURPOSES, ANALYTICS | ADVERTISING_PURPOSES,
            ),
            (
                "where silence may grant, what one vendor was refused is refused",
                {"regime": "opt_out"}, Signals(tcf=YES, gdpr=True),
                0, ANALYTICS | ADVERTISING_PURPOSES, ANALYTICS | ADVERTISING_PURPOSES,
            ),
            ("garbage", {}, Signals(tcf="x", gpp="x", gcs="x", us_privacy="x"), 0, 0, 0),
        ]
    ),
)  # fmt: skip
def test_signals_as_a_choice_count_where_everybody_hears_the_same(
    rows: dict[str, Any], signals: Signals, granted: int, denied: int, spoken: int
) -> None:
    assert judge_for(**rows).neutral(said(), signals) == (granted, denied, spoken)


def test_what_a_string_permits_one_vendor_is_no_grant_to_those_it_does_not_speak_to() -> None:
    made = site()
    judge = Judge(made, known_for(made, {150: LIST}), {"iab": Audience(tcf_vendor=33)}, places_known=False)
    assert judge.neutral(said(), Signals(tcf=YES)) == (0, 0, ANALYTICS | ADVERTISING_PURPOSES)


def test_a_platforms_cookie_that_says_two_things_is_not_silence_where_silence_permits() -> None:
    rows: dict[str, Any] = {"consent_platform": ConsentPlatform(name="klaro", mapping={"ads": "marketing"})}
    twice = said(cookie='klaro={"ads":false}; klaro={"ads":true}')
    verdicts = judge_for(regime="opt_out", **rows)(twice, event())
    assert (verdicts.own.granted, verdicts.noted) == (NECESSARY, ("platform_conflict",))
    claimed = judge_for(**rows)(twice, event(claim=Claim(ANALYTICS)))
    assert claimed.own.granted == NECESSARY | ANALYTICS, "where consent comes first it is absent"


# ------------------------------------------------------------------ settings


def test_what_the_operator_decided_is_what_is_known() -> None:
    lists: dict[int, VendorList] = {}
    known = known_for(
        site(
            consent_platform=ConsentPlatform(
                name="vanilla-cookieconsent", cookie="mine", mapping={"a": ("analytics", "marketing")}, revision=7
            ),
            tcf_cookie="",
            tc_days=30,
            purpose_one_countries=("CH",),
            functional_custom_purpose=3,
            consent_mode="off",
            do_not_track=True,
        ),
        lists,
    )
    assert known.platform is not None
    assert (known.platform.slug, known.names, known.notice) == ("vanilla-cookieconsent", {"cc_cookie": "mine"}, "7")
    assert known.mapping == {"a": ANALYTICS | ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION}
    assert (known.tcf_cookie, known.tc_days, known.purpose_one_countries) == (None, 30, frozenset({"CH"}))
    assert (known.functional_custom, known.consent_mode, known.dnt) == (3, "off", True)
    assert known.lists is lists


def platform(name: str, **more: Any) -> dict[str, Any]:
    return {"consent_platform": ConsentPlatform(name=name, **more)}


@pytest.mark.parametrize(
    ("rows", "problem"),
    named(
        [
            ("a platform nobody knows", platform("nobody"), "consent_platform: name: there is no platform"),
            ("a platform that must be mapped", platform("klaro"), "mapping: sites name the categories"),
            ("a mapping to no purpose", platform("klaro", mapping={"a": "everything"}), "which is no purpose"),
            ("a cookie that cannot be renamed", platform("onetrust", cookie="x"), "CookiePro always uses its own name"),
            (
                "a place with a law",
                {"places_without_rules": ("SG", "DE", "US-CA")},
                "places_without_rules: DE has a law",
            ),
        ]
    ),
)
def test_settings_that_cannot_work_are_named(rows: dict[str, Any], problem: str) -> None:
    found = consent_problems(Settings(site=(site(**rows),)))
    assert problem in found[0]
    assert found[0].startswith("site shop: ")
    assert consent_problems(Settings(site=(site(),))) == []
