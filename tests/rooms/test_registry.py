"""The registry: every signal, to whom it speaks, at which step, what it grants and denies, and what is noted."""

import time
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gateway.event import Signals
from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ANALYTICS,
    EVERYBODY,
    FUNCTIONAL,
    NECESSARY,
    PROFILING,
    SALE_OR_SHARING,
    SENSITIVE_DATA,
    SOURCES,
    TARGETED_ADVERTISING,
    Audience,
    Statement,
    Step,
)
from gateway.signals import cmp, gvl, noted, registry
from gateway.signals.bits import TEXT_MAX
from gateway.signals.carried import Carried, Known, StoredChoice
from gateway.signals.cmp_platforms import PLATFORMS
from tests.bench import consent as bench
from tests.bench.measures import Options
from tests.support.cases import named
from tests.support.running import NOW_MS
from tests.support.signals import ALL, gpp_string, tc_string

DAY_MS: Final = 86_400_000
LIST: Final = gvl.decode((Path(__file__).parents[1] / "vectors" / "gvl-fixture.json").read_bytes())
assert isinstance(LIST, gvl.VendorList)

KNOWN: Final = Known(
    platform=PLATFORMS["klaro"],
    mapping=cmp.mapping_of({"stats": "analytics", "ads": "marketing", "shop": "functional"}),
    tcf_cookie="euconsent-v2",
    lists={LIST.version: LIST},
    tc_days=390,
    functional_custom=2,
    consent_mode="source",
    dnt=True,
)

SITE: Final = EVERYBODY
IAB: Final = Audience(tcf_vendor=33)
GOOGLE: Final = Audience(google=True)
GOOGLE_ADS: Final = Audience(tcf_vendor=755, google=True)
PROVIDER: Final = Audience(ac_provider=9)
EVERY: Final = (SITE, IAB, GOOGLE, GOOGLE_ADS, PROVIDER)

VENDOR: Final = ANALYTICS | ADVERTISING_PURPOSES
BOTH: Final = SALE_OR_SHARING | TARGETED_ADVERTISING
YES: Final = tc_string(
    purposes=ALL,
    interests=(2, 7, 8, 9, 10, 11),
    vendors=(33, 755),
    vendor_interests=(33, 755),
    disclosed=(33, 755),
    publisher=(1, 8),
    custom=(2,),
)
NO: Final = tc_string(disclosed=(33, 755), publisher=(), custom=())
CREATED_MS: Final = 1_794_268_800_000


def carried(signals: Signals | None = None, **more: Any) -> Carried:
    return Carried(signals=signals, now_ms=NOW_MS, **more)


def said(made: Carried, audience: Audience = SITE, known: Known = KNOWN) -> list[Statement]:
    return registry.read(made, None, known, audience)


def says(step: Step, source: str, granted: int = 0, denied: int = 0, **more: Any) -> Statement:
    return Statement(step, source, granted=granted, denied=denied, **more)


# ------------------------------------------------------------------ signals that speak to everybody

SPEAKS_TO_ALL: Final[list[tuple[str, Carried, list[Statement]]]] = [
    ("nothing", carried(), []),
    (
        "a recorded refusal",
        carried(stored=StoredChoice(NECESSARY, ANALYTICS, NOW_MS - 5, True)),
        [
            says(Step.STORED_REFUSAL, "receipt", denied=ANALYTICS, at_ms=NOW_MS - 5, trusted_time=True),
            says(Step.STORED_GRANT, "receipt", granted=NECESSARY, at_ms=NOW_MS - 5, trusted_time=True),
        ],
    ),
    (
        "a recorded choice that is too old: its refusals stand",
        carried(stored=StoredChoice(ADVERTISING, ANALYTICS, 5, False)),
        [says(Step.STORED_REFUSAL, "receipt", denied=ANALYTICS, at_ms=5, trusted_time=True)],
    ),
    (
        "Global Privacy Control",
        carried(sec_gpc=("1",)),
        [says(Step.OPT_OUT_SIGNAL, "sec_gpc", opted_out=BOTH)],
    ),
    ("another value of it", carried(sec_gpc=("0", "true", "11", " 1", "")), []),
    ("one of several", carried(sec_gpc=("0", "1")), [says(Step.OPT_OUT_SIGNAL, "sec_gpc", opted_out=BOTH)]),
    (
        "what the page claims",
        carried(claim=True, claim_granted=ANALYTICS | ADVERTISING, claim_denied=ADVERTISING, claim_at_ms=7),
        [says(Step.OWN_CHOICE, "claim", ANALYTICS, ADVERTISING, at_ms=7)],
    ),
    (
        "what a backend says",
        carried(claim=True, claim_granted=ANALYTICS, claim_at_ms=7, claim_trusted=True),
        [says(Step.OWN_CHOICE, "backend", ANALYTICS, at_ms=7, trusted_time=True)],
    ),
    ("a minor", carried(minor=True), [says(Step.BLOCKED, "minor", denied=ADVERTISING_PURPOSES)]),
    (
        "sensitive data nobody agreed to",
        carried(sensitive=("health",)),
        [says(Step.BLOCKED, "sensitive", denied=ADVERTISING_PURPOSES)],
    ),
    ("sensitive data that was agreed to", carried(sensitive=("health",), sensitive_agreed=True), []),
    (
        "Do Not Track where consent comes first",
        carried(dnt=("1",)),
        [says(Step.OPT_OUT_SIGNAL, "dnt", denied=VENDOR)],
    ),
    ("Do Not Track where it does not", carried(dnt=("1",), opt_in=False), []),
    ("Do Not Track set to 0", carried(dnt=("0", "")), []),
    (
        "Do Not Track leaves what was agreed to",
        carried(dnt=("1",), claim=True, claim_granted=ANALYTICS),
        [
            says(Step.OWN_CHOICE, "claim", ANALYTICS),
            says(Step.OPT_OUT_SIGNAL, "dnt", denied=ADVERTISING_PURPOSES),
        ],
    ),
    (
        "an opt-out of sale in the section of the state",
        carried(Signals(gpp=gpp_string(usca={"SaleOptOut": 1})), state="CA", opt_in=False),
        [says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SALE_OR_SHARING)],
    ),
    (
        "an opt-out in the section of another state",
        carried(Signals(gpp=gpp_string(usva={"SaleOptOut": 1})), state="CA", opt_in=False),
        [],
    ),
    (
        "unless the page says that it applies",
        carried(Signals(gpp=gpp_string(usva={"SaleOptOut": 1}), gpp_sid=(9,)), state="CA", opt_in=False),
        [says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SALE_OR_SHARING)],
    ),
    (
        "an opt-out where no place is known",
        carried(Signals(gpp=gpp_string(usva={"TargetedAdvertisingOptOut": 1}))),
        [says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=TARGETED_ADVERTISING)],
    ),
    (
        "Global Privacy Control inside a GPP string",
        carried(Signals(gpp=gpp_string(usnat={"Gpc": 1}))),
        [says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=BOTH)],
    ),
    ("a GPP string without an opt-out is no consent", carried(Signals(gpp=gpp_string(usca={"SaleOptOut": 2}))), []),
    (
        "a child without consent",
        carried(Signals(gpp=gpp_string(usca={"KnownChildSensitiveDataConsents": (1, 0)}))),
        [
            says(Step.BLOCKED, "gpp_minor", denied=ADVERTISING_PURPOSES),
            says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=BOTH | SENSITIVE_DATA),
        ],
    ),
    (
        "whoever may act as a service provider only",
        carried(Signals(gpp=gpp_string(usca={"MspaServiceProviderMode": 1}))),
        [says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SALE_OR_SHARING)],
    ),
    (
        "sensitive data the string refuses, though the page says it was agreed to",
        carried(
            Signals(gpp=gpp_string(usva={"SensitiveDataProcessing": (0, 0, 1, 0, 0, 0, 0, 0)})),
            sensitive=("health",),
            sensitive_agreed=True,
        ),
        [
            says(Step.BLOCKED, "gpp_sensitive", denied=ADVERTISING_PURPOSES),
            says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SENSITIVE_DATA),
        ],
    ),
    (
        "sensitive data the string has no place for, beside some that it refuses",
        carried(
            Signals(gpp=gpp_string(usva={"SensitiveDataProcessing": (1, 2, 2, 2, 2, 2, 2, 2)})),
            sensitive=("consumer_health",),
            sensitive_agreed=True,
        ),
        [
            says(Step.BLOCKED, "gpp_sensitive", denied=ADVERTISING_PURPOSES),
            says(Step.OPT_OUT_SIGNAL, "gpp", opted_out=SENSITIVE_DATA),
        ],
    ),
    (
        "sensitive data the string does not speak of, and the page says it was agreed to",
        carried(
            Signals(gpp=gpp_string(usva={"SensitiveDataProcessing": (2, 2, 2, 2, 2, 2, 2, 2)})),
            sensitive=("consumer_health",),
            sensitive_agreed=True,
        ),
        [],
    ),
    (
        "the US Privacy string",
        carried(Signals(us_privacy="1YYN")),
        [says(Step.OPT_OUT_SIGNAL, "us_privacy", opted_out=SALE_OR_SHARING)],
    ),
    ("the US Privacy string without an opt-out", carried(Signals(us_privacy="1YNN")), []),
    (
        "both: each is named",
        carried(Signals(gpp=gpp_string(usca={"SaleOptOut": 2}), us_privacy="1YYN")),
        [says(Step.OPT_OUT_SIGNAL, "us_privacy", opted_out=SALE_OR_SHARING)],
    ),
    (
        "the platform's cookie",
        carried(cookie='x=1; klaro={"stats":true,"ads":false}'),
        [says(Step.OWN_CHOICE, "platform", ANALYTICS, ADVERTISING_PURPOSES)],
    ),
    ("another platform's cookie", carried(cookie='cc_cookie={"categories":["stats"],"services":{}}'), []),
    (
        "the platform's interface",
        carried(Signals(platform="klaro", choice="explicit", categories=(("ads", False), ("stats", True)), at_ms=3)),
        [says(Step.OWN_CHOICE, "bridge", ANALYTICS, ADVERTISING_PURPOSES, at_ms=3)],
    ),
    (
        "a page that does not name the platform means the configured one",
        carried(Signals(choice="explicit", categories=(("stats", True),))),
        [says(Step.OWN_CHOICE, "bridge", ANALYTICS)],
    ),
    (
        "an implied choice grants nothing, and its refusals count",
        carried(Signals(choice="implied", categories=(("ads", False), ("stats", True)))),
        [says(Step.OWN_CHOICE, "bridge", denied=ADVERTISING_PURPOSES)],
    ),
    ("a region that needs no consent, says the platform", carried(Signals(choice="not_required", categories=(("stats", True),))), []),
    ("the interface of another platform", carried(Signals(platform="onetrust", choice="explicit", categories=(("stats", True),))), []),
    (
        "cookie and interface stand beside each other",
        carried(Signals(choice="explicit", categories=(("stats", True),)), cookie='klaro={"stats":false}'),
        [says(Step.OWN_CHOICE, "platform", denied=ANALYTICS), says(Step.OWN_CHOICE, "bridge", ANALYTICS)],
    ),
]  # fmt: skip


@pytest.mark.parametrize("audience", EVERY, ids=["site", "iab", "google", "google_ads", "provider"])
@pytest.mark.parametrize(("made", "expected"), named(SPEAKS_TO_ALL))
def test_a_signal_that_speaks_to_everybody(made: Carried, expected: list[Statement], audience: Audience) -> None:
    found = said(made, audience)
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert all(statement.source in SOURCES for statement in found)


# ------------------------------------------------------------------ signals that speak to some

TCF: Final = Step.IAB_STRING
AT: Final = {"at_ms": CREATED_MS}
ADS: Final = ADVERTISING_PURPOSES

Expected = dict[Audience, list[Statement]]
SPEAKS_TO_SOME: Final[list[tuple[str, Carried, Expected]]] = [
    (
        "a TC string that permits all",
        carried(Signals(tcf=YES)),
        {
            SITE: [says(TCF, "tcf", ANALYTICS | FUNCTIONAL, **AT)],
            GOOGLE: [says(TCF, "tcf", ANALYTICS | FUNCTIONAL, **AT)],
            IAB: [says(TCF, "tcf", VENDOR, **AT)],
            GOOGLE_ADS: [says(TCF, "tcf", ADS, ANALYTICS, **AT)],
            PROVIDER: [says(TCF, "ac", 0, VENDOR, **AT)],
        },
    ),
    (
        "a TC string that permits nothing",
        carried(Signals(tcf=NO)),
        {
            SITE: [says(TCF, "tcf", 0, ANALYTICS | FUNCTIONAL, **AT)],
            GOOGLE: [says(TCF, "tcf", 0, ANALYTICS | FUNCTIONAL, **AT)],
            IAB: [says(TCF, "tcf", 0, VENDOR, **AT)],
            GOOGLE_ADS: [says(TCF, "tcf", 0, VENDOR, **AT)],
            PROVIDER: [says(TCF, "ac", 0, VENDOR, **AT)],
        },
    ),
    (
        "a TC string without the site's own part",
        carried(Signals(tcf=tc_string(purposes=ALL, vendors=(33,), disclosed=(33,)))),
        {
            SITE: [],
            GOOGLE: [],
            IAB: [says(TCF, "tcf", VENDOR, **AT)],
            GOOGLE_ADS: [says(TCF, "tcf", 0, VENDOR, **AT)],
            PROVIDER: [says(TCF, "ac", 0, VENDOR, **AT)],
        },
    ),
    (
        "a vendor that was not disclosed",
        carried(Signals(tcf=tc_string(purposes=ALL, vendors=(33,), disclosed=(755,)))),
        {IAB: [says(TCF, "tcf", 0, VENDOR, **AT)]},
    ),
    (
        "a list that is not here",
        carried(Signals(tcf=tc_string(vendor_list=151, purposes=ALL, vendors=(33,), disclosed=(33,)))),
        {IAB: [says(TCF, "tcf_no_list", 0, VENDOR, **AT)]},
    ),
    (
        "a vendor that left",
        carried(Signals(tcf=tc_string(purposes=ALL, vendors=(12,), disclosed=(12,)))),
        {Audience(tcf_vendor=12): [says(TCF, "tcf_no_list", 0, VENDOR, **AT)]},
    ),
    (
        "a vendor the list does not have",
        carried(Signals(tcf=tc_string(purposes=ALL, vendors=(99,), disclosed=(99,)))),
        {Audience(tcf_vendor=99): [says(TCF, "tcf_no_list", 0, VENDOR, **AT)]},
    ),
    (
        "an additional consent string",
        carried(Signals(tcf=YES, ac="2~9.40~dv.41")),
        {
            PROVIDER: [says(TCF, "ac", VENDOR, **AT)],
            Audience(ac_provider=41): [says(TCF, "ac", 0, VENDOR, **AT)],
            IAB: [says(TCF, "tcf", VENDOR, **AT)],
        },
    ),
    (
        "an additional consent string beside a TC string that permits nothing",
        carried(Signals(tcf=NO, ac="2~9~dv.41")),
        {PROVIDER: [says(TCF, "ac", 0, VENDOR, **AT)]},
    ),
    ("an additional consent string alone says nothing", carried(Signals(ac="2~9~dv.")), {PROVIDER: []}),
    (
        "the same string in body, cookie and GPP string speaks once",
        carried(Signals(tcf=YES, gpp=gpp_string(tcf=YES)), cookie=f"a=b; euconsent-v2={YES}"),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)], SITE: [says(TCF, "tcf", ANALYTICS | FUNCTIONAL, **AT)]},
    ),
    (
        "a string in the cookie alone",
        carried(cookie=f"euconsent-v2={YES}"),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)]},
    ),
    (
        "a string in the GPP string alone",
        carried(Signals(gpp=gpp_string(tcf=YES))),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)]},
    ),
    (
        "a bare TC string in place of a GPP string",
        carried(Signals(gpp=YES)),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)]},
    ),
    (
        "of two strings the newer counts",
        carried(
            Signals(tcf=tc_string(created="2026-11-09", disclosed=(33,))), cookie=f"euconsent-v2={YES}"
        ),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)]},
    ),
    (
        "of two strings of one day both speak",
        carried(Signals(tcf=NO), cookie=f"euconsent-v2={YES}"),
        {IAB: [says(TCF, "tcf", 0, VENDOR, **AT), says(TCF, "tcf", VENDOR, **AT)]},
    ),
    (
        "outside of opt-in places a string counts only where the page says so",
        carried(Signals(tcf=YES, gdpr=False), opt_in=False),
        {IAB: [], SITE: []},
    ),
    (
        "it says so",
        carried(Signals(tcf=NO, gdpr=True), opt_in=False),
        {IAB: [says(TCF, "tcf", 0, VENDOR, **AT)]},
    ),
    (
        "a page that says it does not apply is not believed where consent comes first",
        carried(Signals(tcf=NO, gdpr=False)),
        {IAB: [says(TCF, "tcf", 0, VENDOR, **AT)]},
    ),
    (
        "a void string permits vendors nothing, and says nothing to the site",
        carried(Signals(tcf=tc_string(purposes=ALL, vendors=(33,), disclosed=None, publisher=ALL))),
        {IAB: [says(TCF, "tcf", 0, VENDOR, **AT)], SITE: []},
    ),
    (
        "a newer void string does not take away what an older one refused",
        carried(
            Signals(tcf=tc_string(created="2026-11-11", disclosed=None, publisher=ALL)), cookie=f"euconsent-v2={NO}"
        ),
        {
            SITE: [says(TCF, "tcf", 0, ANALYTICS | FUNCTIONAL, **AT)],
            IAB: [says(TCF, "tcf", 0, VENDOR, **AT), says(TCF, "tcf", 0, VENDOR, at_ms=CREATED_MS + DAY_MS)],
        },
    ),
    (
        "an older void string is forgotten",
        carried(
            Signals(tcf=tc_string(created="2026-11-01", disclosed=None)), cookie=f"euconsent-v2={YES}"
        ),
        {IAB: [says(TCF, "tcf", VENDOR, **AT)]},
    ),
    ("a string that is too old", carried(Signals(tcf=tc_string(created="2025-10-01", disclosed=None))), {IAB: []}),
    ("a string from the future", carried(Signals(tcf=tc_string(created="2026-11-23", disclosed=(33,)))), {IAB: []}),
    (
        "Google's consent mode",
        carried(Signals(gcs="G101", gcd="13r3p3q3t5l1")),
        {
            GOOGLE: [says(Step.CONSENT_MODE, "consent_mode", AD_PERSONALIZATION, AD_USER_DATA | ANALYTICS | ADVERTISING)],
            SITE: [],
            IAB: [],
            PROVIDER: [],
        },
    ),
    (
        "what the page set itself",
        carried(Signals(google=(("ad_storage", "denied"), ("analytics_storage", "granted")))),
        {
            GOOGLE: [says(Step.CONSENT_MODE, "consent_mode", ANALYTICS, ADVERTISING)],
            GOOGLE_ADS: [says(Step.CONSENT_MODE, "consent_mode", ANALYTICS, ADVERTISING)],
            SITE: [],
        },
    ),
    (
        "letters and page disagree",
        carried(Signals(gcs="G111", google=(("analytics_storage", "denied"),))),
        {GOOGLE: [says(Step.CONSENT_MODE, "consent_mode", ADVERTISING, ANALYTICS)]},
    ),
    (
        "what Google assumes about silence is no choice",
        carried(Signals(gcd="13l3l3l3l1l1")),
        {GOOGLE: []},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "expected"), named(SPEAKS_TO_SOME))
def test_a_signal_that_speaks_to_some(made: Carried, expected: Expected) -> None:
    for audience, statements in expected.items():
        found = said(made, audience)
        assert sorted(found, key=repr) == sorted(statements, key=repr), audience
        assert all(statement.source in SOURCES for statement in found)


@pytest.mark.parametrize(
    ("changes", "audience", "statements"),
    named(
        [
            ("consent mode may only deny", {"consent_mode": "deny"}, GOOGLE, [says(Step.CONSENT_MODE, "consent_mode", 0, ADVERTISING)]),
            ("consent mode is not read", {"consent_mode": "off"}, GOOGLE, []),
            ("no TC string cookie is read", {"tcf_cookie": None}, IAB, []),
            ("the TC string is in another cookie", {"tcf_cookie": "tc"}, IAB, []),
            ("no platform is configured", {"platform": None, "consent_mode": "off", "tcf_cookie": None}, SITE, []),
            (
                "Do Not Track is not read",
                {"dnt": False},
                PROVIDER,
                [says(Step.OWN_CHOICE, "platform", ANALYTICS), says(TCF, "ac", 0, VENDOR, **AT)],
            ),
        ]
    ),
)  # fmt: skip
def test_the_operator_decides_what_is_read(
    changes: dict[str, Any], audience: Audience, statements: list[Statement]
) -> None:
    signals = Signals(google=(("ad_storage", "denied"), ("analytics_storage", "granted")))
    if "consent_mode" in changes:
        made = carried(signals)
    elif "dnt" in changes:
        made = carried(dnt=("1",), cookie=f'klaro={{"stats":true}}; euconsent-v2={YES}')
    else:
        made = carried(cookie=f"euconsent-v2={YES}")
    found = said(made, audience, msgspec.structs.replace(KNOWN, **changes))
    assert sorted(found, key=repr) == sorted(statements, key=repr)


def test_a_cookie_under_the_name_the_site_gave_it_is_read() -> None:
    known = msgspec.structs.replace(KNOWN, names={"klaro": "my_consent"}, tcf_cookie="tc")
    made = carried(cookie=f'my_consent={{"stats":true}}; tc={YES}; klaro={{"stats":false}}')
    assert said(made, IAB, known) == [
        says(TCF, "tcf", VENDOR, **AT),
        says(Step.OWN_CHOICE, "platform", ANALYTICS),
    ]


def test_a_choice_under_an_older_notice_only_refuses() -> None:
    known = msgspec.structs.replace(KNOWN, platform=PLATFORMS["vanilla-cookieconsent"], notice="3")
    cookie = 'cc_cookie={"categories":["stats"],"services":{},"revision":%d}'
    assert said(carried(cookie=cookie % 3), known=known)[0].granted == ANALYTICS
    assert said(carried(cookie=cookie % 2), known=known) == [
        says(Step.OWN_CHOICE, "platform", denied=ADVERTISING_PURPOSES | FUNCTIONAL)
    ]


def test_opt_outs_a_platform_knows_are_heard() -> None:
    known = msgspec.structs.replace(KNOWN, platform=PLATFORMS["iubenda"], mapping=None)
    made = carried(cookie='_iub_cs-1-uspr={"s":false,"adv":true}')
    assert says(Step.OPT_OUT_SIGNAL, "platform", opted_out=SALE_OR_SHARING) in said(made, known=known)


def test_profiling_alone_is_no_opt_out_of_advertising() -> None:
    assert PROFILING & BOTH == 0


# ------------------------------------------------------------------ what cannot be read

ABSENT: Final[list[tuple[str, Carried, tuple[str, ...]]]] = [
    ("a TC string that is none", carried(Signals(tcf="null")), ("tcf_version",)),
    ("an empty TC string", carried(Signals(tcf="")), ("tcf_empty",)),
    ("a TC string that is cut", carried(Signals(tcf=YES[:60])), ("tcf_truncated",)),
    ("a TC string that is too long", carried(Signals(tcf="C" * (TEXT_MAX + 1))), ("tcf_too_long",)),
    ("a TC string with a letter of another alphabet", carried(Signals(tcf=YES + "é")), ("tcf_encoding",)),
    ("an expired TC string", carried(Signals(tcf=tc_string(created="2025-10-01", disclosed=None))), ("tcf_expired",)),
    ("a TC string from the future", carried(Signals(tcf=tc_string(created="2026-11-23"))), ("tcf_created_in_future",)),
    ("a cookie that holds no TC string", carried(cookie="euconsent-v2=TCSTRING"), ("tcf_core_missing",)),
    (
        "a header that is too long",
        carried(cookie="a=" + "b" * 16_370 + "; euconsent-v2=x; klaro=x"),
        ("tcf_header_too_long", "platform_header_too_long"),
    ),
    ("a GPP string that is none", carried(Signals(gpp="x")), ("gpp_header_type",)),
    ("a GPP string of a section that cannot be read", carried(Signals(gpp="DBABLA~B")), ("gpp_truncated",)),
    (
        "a GPP string with one section that cannot be read",
        carried(Signals(gpp=gpp_string(usp="2YNN", usca={"SaleOptOut": 2}))),
        ("gpp_section_version",),
    ),
    ("a US Privacy string in lower case", carried(Signals(us_privacy="1yyn")), ("us_privacy_letter",)),
    ("an additional consent string of another form", carried(Signals(tcf=NO, ac="2~1,2~dv.")), ("ac_malformed",)),
    ("letters of consent mode", carried(Signals(gcs="G2DD", gcd="x")), ("consent_mode_gcs_version", "consent_mode_gcd_length")),
    (
        "a type consent mode does not have",
        carried(Signals(google=(("everything", "granted"), ("marketing", "granted")))),
        ("consent_mode_type",),
    ),
    ("a platform's cookie that is no JSON", carried(cookie="klaro=yes"), ("platform_not_json",)),
    ("a platform's cookie that is nested too deep", carried(cookie="klaro=" + "[" * 900), ("platform_not_json",)),
    ("a platform's cookie with a broken escape", carried(cookie="klaro=%7"), ("platform_percent",)),
    ("a platform's cookie that is no UTF-8", carried(cookie="klaro=\xff"), ("platform_encoding",)),
    ("a platform's cookie twice", carried(cookie='klaro={"stats":true}; klaro={"stats":false}'), ("platform_conflict",)),
    ("a service that is not mapped", carried(cookie='klaro={"chat":true}'), ("platform_unmapped",)),
    (
        "the interface of another platform",
        carried(Signals(platform="onetrust", choice="explicit", categories=(("stats", True),))),
        ("platform_not_configured",),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "marks"), named(ABSENT))
def test_what_cannot_be_read_is_absent_and_noted(made: Carried, marks: tuple[str, ...]) -> None:
    heard = registry.hear(made, KNOWN)
    assert heard.noted == marks
    assert all(noted.meaning(mark) for mark in marks)
    for audience in EVERY:
        assert not any(statement.granted for statement in registry.read(made, heard, KNOWN, audience)), "never a yes"


def test_a_platform_that_nobody_configured_is_noted() -> None:
    made = carried(Signals(choice="explicit", categories=(("stats", True),)))
    heard = registry.hear(made, Known())
    assert heard.noted == ("platform_not_configured",)
    assert registry.read(made, heard, Known()) == []


def test_a_mark_is_noted_once() -> None:
    made = carried(Signals(tcf="null"), cookie="euconsent-v2=nil1; euconsent-v2=nil2")
    assert registry.hear(made, KNOWN).noted == ("tcf_version",)


def test_no_more_than_four_cookies_of_one_name_are_looked_at() -> None:
    cookie = "; ".join(f"euconsent-v2=x{number}" for number in range(9)) + f"; euconsent-v2={YES}"
    assert registry.hear(carried(cookie=cookie), KNOWN).strings == ()


@pytest.mark.parametrize("mark", ["", "tcf", "tcf_", "tcf_sorcery", "xtcf_empty", "tcf_empty_", "gpp_section"])
def test_other_texts_are_no_marks(mark: str) -> None:
    assert noted.meaning(mark) is None


def test_a_section_is_told_apart_from_the_string() -> None:
    assert "one section" in (noted.meaning("gpp_section_truncated") or "")
    assert "section" not in (noted.meaning("gpp_truncated") or "")


# ------------------------------------------------------------------ work


def best_ms(made: Carried) -> float:
    """The fastest of five: what it costs when nothing else runs."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        bench.judged(made)
        found.append((time.perf_counter() - begun) * 1_000)
    return min(found)


@pytest.mark.parametrize("case", bench.WITHIN)
def test_the_worst_within_the_caps_is_judged_in_no_time(case: str) -> None:
    """Ten times what the bench asks for, decoding for four audiences included."""
    assert best_ms(bench.WITHIN[case]) < 20


@pytest.mark.parametrize("case", bench.OVER)
def test_what_is_over_a_cap_is_dismissed_at_once(case: str) -> None:
    heard = registry.hear(bench.OVER[case], bench.KNOWN)
    assert heard.noted
    assert not any(statement.step is Step.IAB_STRING and statement.granted for statement in said(bench.OVER[case]))
    assert best_ms(bench.OVER[case]) < 2


def test_what_the_bench_calls_the_worst_is_read_whole() -> None:
    for case, made in bench.WITHIN.items():
        assert set(registry.hear(made, bench.KNOWN).noted) <= {"platform_unmapped"}, case
    whole = bench.WITHIN["all of it at once"]
    heard = registry.hear(whole, bench.KNOWN)
    assert (len(heard.strings), heard.ac is not None, len(heard.us)) == (3, True, 2)
    assert 15_000 < len(whole.cookie) <= cmp.HEADER_MAX


def test_the_bench_has_a_row_for_each_case() -> None:
    options = Options(rounds=1, seconds=0.1, big=1, say=lambda text: None)
    assert len(bench.judging(options).rows) == 1 + len(bench.WITHIN) + len(bench.OVER)


# ------------------------------------------------------------------ once

NOT_SIMPLE: Final = [
    ("signals", carried(Signals()), KNOWN, False),
    ("a cookie where a platform is read", carried(cookie="a=b"), KNOWN, False),
    ("a TC string cookie", carried(cookie="euconsent-v2=x"), Known(tcf_cookie="euconsent-v2"), False),
    ("another cookie", carried(cookie="a=b"), Known(tcf_cookie="euconsent-v2"), True),
    ("a claim, a receipt, headers", carried(claim=True, sec_gpc=("1",), dnt=("1",)), KNOWN, True),
]


@pytest.mark.parametrize(("made", "known", "simple"), named(NOT_SIMPLE))
def test_only_what_must_be_decoded_is_decoded(made: Carried, known: Known, simple: bool) -> None:
    assert registry.is_simple(made, known) is simple
    assert (registry.hear(made, known) is registry.NOTHING) is simple


def test_a_cookie_that_was_heard_says_the_same_for_every_event_of_the_request() -> None:
    cookie = f'klaro={{"stats":true,"chat":true}}; euconsent-v2={YES}; euconsent-v2=x'
    kept = registry.hear_cookie(cookie, KNOWN)
    for signals in (None, Signals(), Signals(tcf=NO), Signals(gcs="x")):
        made = carried(signals, cookie=cookie)
        heard = registry.hear(made, KNOWN, kept)
        assert heard == registry.hear(made, KNOWN)
        assert set(heard.noted) >= {"tcf_version", "platform_unmapped"}
