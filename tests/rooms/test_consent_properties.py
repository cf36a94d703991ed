"""What must hold for every request: a refusal more never permits more, silence never permits where consent comes first.

Requests are drawn with all signals at once: real strings of the outside test data, damaged ones and garbage, in bodies and
cookies, for sites with every kind of setting. What is compared is what each kind of destination may see at the end.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.consent import Policy, Shown, groups_shown, judge
from gateway.consent_reference import SPEAKS
from gateway.event import Signals
from gateway.purposes import (
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
    EVERYBODY,
    NECESSARY,
    SENSITIVE,
    SOURCES,
    Audience,
    Group,
    Judgement,
    Needs,
    Regime,
    Statement,
)
from gateway.signals import cmp, gvl, noted, registry
from gateway.signals.carried import Carried, Known, StoredChoice
from gateway.signals.cmp_platforms import PLATFORMS
from tests.support.properties import tried
from tests.support.running import NOW_MS
from tests.support.signals import ALL, gpp_string, tc_string

quick = tried(200)
VECTORS: Final = Path(__file__).parents[1] / "vectors"


def _rows(file: str, *groups: str) -> list[dict[str, Any]]:
    document = json.loads((VECTORS / f"{file}.json").read_bytes())
    return [row for group in groups for row in document[group]]


LIST: Final = gvl.decode((VECTORS / "gvl-fixture.json").read_bytes())
assert isinstance(LIST, gvl.VendorList)
LISTS: Final = dict.fromkeys(range(1, 400), LIST)

# ------------------------------------------------------------------ texts

GARBAGE: Final = st.text(max_size=30) | st.text(alphabet='CABDgI.~_-019=;%{}[]":,', max_size=60)


def _damaged(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def damage(text: str, at: int, cut: int, instead: str) -> str:
        at %= len(text) + 1
        return text[:at] + instead + text[at + cut :]

    return st.builds(
        damage, texts, st.integers(0, 400), st.integers(0, 4), st.text(alphabet="Aa0.~_é \x00", max_size=3)
    )


def _mixed(real: list[str]) -> st.SearchStrategy[str]:
    drawn = st.sampled_from(sorted(set(real)))
    return drawn | _damaged(drawn) | GARBAGE


MADE: Final = [
    tc_string(
        created=day, purposes=purposes, interests=ALL, vendors=(33, 755), vendor_interests=(33, 755),
        disclosed=shown, publisher=publisher, custom=(1, 2),
    )
    for day in ("2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21")
    for purposes in ((), ALL)
    for shown in (None, (33,), (33, 755))
    for publisher in (None, (), (1, 8))
]  # fmt: skip
"""Strings of nearly one age, so that several count at once."""
TC: Final = _mixed(
    [row["tcString"] for row in _rows("tcf", "valid", "malformed") if len(row["tcString"]) < 3_000]
) | st.sampled_from(MADE)
AC: Final = _mixed([row["acString"] for row in _rows("tcf", "additional_consent")]) | st.just("2~9.40~dv.41")
US: Final = st.builds(
    lambda section, sale, sensitive, child, provider, gpc: gpp_string(
        {
            section: {
                "SaleOptOut": sale,
                "SensitiveDataProcessing": sensitive,
                "KnownChildSensitiveDataConsents": child,
                "MspaServiceProviderMode": provider,
                "Gpc": gpc,
            }
        }
    ),
    st.sampled_from(["usnat", "usca", "usva", "usco"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([0, 2, 2, 1]),
    st.sampled_from([0, 0, 1]),
)
GPP: Final = _mixed([row["gppString"] for row in _rows("gpp", "valid", "malformed", "legacy_tcfcav1")]) | US
USP: Final = st.sampled_from(["1YNN", "1YYN", "1---", "1yyn", "", "1YN", "2YYN"])
GCS: Final = st.sampled_from(["G111", "G100", "G101", "G1--", "G2DD", ""])
GCD: Final = _mixed([row["gcd"] for row in _rows("consent-mode", "captured", "derived")])
COOKIES: Final = [
    row for row in _rows("cmp-cookies", "captured", "constructed", "malformed") if row["cmp"] != "several"
]
GOOGLE_TYPES: Final = ["ad_storage", "analytics_storage", "ad_user_data", "ad_personalization", "marketing", "x"]

# ------------------------------------------------------------------ requests

SET: Final = st.integers(0, ALL_PURPOSES)
WORDS: Final = st.sampled_from(["granted", "denied"])
CATEGORIES: Final = st.dictionaries(st.sampled_from(["C0002", "C0004", "marketing", "stats", "x"]), st.booleans())


def _signals() -> st.SearchStrategy[Signals]:
    return st.builds(
        Signals,
        tcf=st.none() | TC,
        gdpr=st.none() | st.booleans(),
        ac=st.none() | AC,
        gpp=st.none() | GPP,
        gpp_sid=st.none() | st.lists(st.integers(-1, 30), max_size=4).map(tuple),
        us_privacy=st.none() | USP,
        gcs=st.none() | GCS,
        gcd=st.none() | GCD,
        google=st.dictionaries(st.sampled_from(GOOGLE_TYPES), WORDS).map(lambda found: tuple(sorted(found.items()))),
        platform=st.sampled_from([None, "onetrust", "klaro"]),
        choice=st.sampled_from([None, "explicit", "implied", "not_required", "none"]),
        categories=CATEGORIES.map(lambda found: tuple(sorted(found.items()))),
        at_ms=st.none() | st.integers(-5, NOW_MS + 5),
    )


def _cookies() -> st.SearchStrategy[str]:
    real = st.sampled_from([row["cookieHeader"] for row in COOKIES]).map(lambda text: text[:4_000])
    tc = TC.map(lambda text: f"euconsent-v2={text}")
    part = real | _damaged(real) | tc | GARBAGE
    return st.lists(part, max_size=3).map("; ".join).map(lambda text: text.encode("utf-8", "replace").decode("latin-1"))


STORED: Final = st.builds(StoredChoice, SET, SET, st.sampled_from([NOW_MS - 5, NOW_MS]), st.booleans())
CARRIED: Final = st.builds(
    Carried,
    stored=st.none() | STORED,
    sec_gpc=st.lists(st.sampled_from(["0", "1", "x"]), max_size=2).map(tuple),
    dnt=st.lists(st.sampled_from(["0", "1"]), max_size=2).map(tuple),
    claim=st.booleans(),
    claim_granted=SET,
    claim_denied=SET,
    claim_at_ms=st.none() | st.sampled_from([NOW_MS - 9, NOW_MS - 5, NOW_MS + 5]),
    claim_trusted=st.booleans(),
    signals=st.none() | _signals(),
    cookie=_cookies(),
    minor=st.sampled_from([False, False, True]),
    sensitive=st.lists(st.sampled_from(sorted(SENSITIVE)), max_size=2, unique=True).map(tuple),
    sensitive_agreed=st.booleans(),
    opt_in=st.booleans(),
    state=st.sampled_from([None, "CA", "VA", "WY"]),
    now_ms=st.just(NOW_MS),
)

NAMED: Final = [None, *(PLATFORMS[row["cmp"]] for row in COOKIES if row["cmp"] in PLATFORMS)]
KNOWN: Final = st.builds(
    Known,
    platform=st.sampled_from(NAMED),
    mapping=st.none() | st.just(cmp.mapping_of({"C0002": "analytics", "C0004": "marketing", "stats": "analytics"})),
    notice=st.none() | st.sampled_from(["1", "5"]),
    tcf_cookie=st.sampled_from([None, "euconsent-v2"]),
    lists=st.sampled_from([{}, LISTS]),
    tc_days=st.sampled_from([None, 390, 3_650]),
    purpose_one_countries=st.sampled_from([frozenset(), frozenset({"DE"})]),
    functional_custom=st.none() | st.integers(1, 3),
    consent_mode=st.sampled_from(["deny", "source", "off"]),
    dnt=st.booleans(),
)
POLICIES: Final = st.builds(
    Policy, regime=st.sampled_from(Regime), silence_grants=SET, gpc_grant_overrides=st.booleans()
)

AUDIENCES: Final = (
    EVERYBODY,
    Audience(google=True),
    Audience(tcf_vendor=33),
    Audience(tcf_vendor=755, google=True),
    Audience(ac_provider=9),
)
BASES: Final = (ANALYTICS, ADVERTISING, ADVERTISING | AD_USER_DATA, ADVERTISING_PURPOSES | ANALYTICS)
DESTINATIONS: Final = [
    (Needs(base, {Group.CONTACT: AD_USER_DATA, Group.IDENTIFIERS: ADVERTISING}, audience, restricted=True), restricted)
    for audience in AUDIENCES
    for base in BASES
    for restricted in (False, True)
]


def judgements(carried: Carried, known: Known, policy: Policy) -> list[Judgement]:
    """One for each audience. The regime also tells how signals are read."""
    carried = msgspec.structs.replace(carried, opt_in=policy.regime is Regime.OPT_IN)
    heard = registry.hear(carried, known)
    return [judge(registry.read(carried, heard, known, audience), policy) for audience in AUDIENCES]


def seen(found: list[Judgement]) -> list[tuple[bool, bool, frozenset[Group]]]:
    """For each destination: is it sent anything, is that without restriction, which groups of fields."""
    shown = []
    for needs, restricted in DESTINATIONS:
        decided = groups_shown(found[AUDIENCES.index(needs.audience)], needs, restricted=restricted)
        if isinstance(decided, Shown):
            shown.append((True, not decided.restricted, frozenset(decided.groups)))
        else:
            shown.append((False, False, frozenset()))
    return shown


# ------------------------------------------------------------------ a refusal more

Refusal = Callable[[Carried, int], Carried]


def _changed(**fields: Callable[[Carried, int], Any]) -> Refusal:
    return lambda carried, bits: msgspec.structs.replace(
        carried, **{name: make(carried, bits) for name, make in fields.items()}
    )


def _signals_with(**fields: Any) -> Refusal:
    return lambda carried, bits: msgspec.structs.replace(
        carried, signals=msgspec.structs.replace(carried.signals or Signals(), **fields)
    )


def _stored(carried: Carried, bits: int) -> StoredChoice:
    found = carried.stored or StoredChoice(0, 0, NOW_MS, True)
    return msgspec.structs.replace(found, denied=found.denied | bits)


def _claims_less(carried: Carried, bits: int) -> Carried:
    granted, denied = (carried.claim_granted, carried.claim_denied) if carried.claim else (0, 0)
    return msgspec.structs.replace(carried, claim=True, claim_granted=granted, claim_denied=denied | bits)


def _takes_back(carried: Carried, bits: int) -> Carried:
    granted = carried.claim_granted
    return msgspec.structs.replace(
        carried, claim_granted=granted & ~bits, claim_denied=carried.claim_denied | granted & bits
    )


def _with_opt_out(carried: Carried, bits: int) -> Carried:
    """A GPP string of the national section beside none; where there is one, the older string says it."""
    signals = carried.signals or Signals()
    if signals.gpp is not None:
        return msgspec.structs.replace(carried, signals=msgspec.structs.replace(signals, us_privacy="1YYN"))
    text = gpp_string(usnat={"SaleOptOut": 1, "TargetedAdvertisingOptOut": 1})
    return msgspec.structs.replace(carried, signals=msgspec.structs.replace(signals, gpp=text, gpp_sid=(7,)))


def _platform_says_no(carried: Carried, bits: int) -> Carried:
    signals = carried.signals
    if signals is None:
        return carried
    return msgspec.structs.replace(
        carried,
        signals=msgspec.structs.replace(signals, categories=tuple((name, False) for name, _ in signals.categories)),
    )


def _google_says_no(carried: Carried, bits: int) -> Carried:
    signals = carried.signals or Signals()
    said = (*signals.google, ("ad_storage", "denied"), ("analytics_storage", "denied"))
    return msgspec.structs.replace(carried, signals=msgspec.structs.replace(signals, google=said))


def _tcf_says_no(carried: Carried, bits: int) -> Carried:
    """A string of today in front of the others, that refuses everything to everybody."""
    text = tc_string(created="2026-11-21", disclosed=(33, 755), publisher=(), custom=())
    return msgspec.structs.replace(carried, cookie=f"euconsent-v2={text}; {carried.cookie}")


REFUSALS: Final[dict[str, Refusal]] = {
    "the page refuses": _claims_less,
    "the page takes back a grant": _takes_back,
    "the visitor refused earlier": _changed(stored=_stored),
    "Global Privacy Control": _changed(sec_gpc=lambda c, bits: (*c.sec_gpc, "1")),
    "Do Not Track": _changed(dnt=lambda c, bits: (*c.dnt, "1")),
    "a minor": _changed(minor=lambda c, bits: True),
    "sensitive data": _changed(sensitive=lambda c, bits: tuple(dict.fromkeys((*c.sensitive, "health")))),
    "sensitive data nobody agreed to": _changed(sensitive_agreed=lambda c, bits: False),
    "US Privacy opt-out": _signals_with(us_privacy="1YYN"),
    "GPP opt-out": _with_opt_out,
    "the platform refuses": _platform_says_no,
    "consent mode refuses": _google_says_no,
    "a TC string that refuses": _tcf_says_no,
}  # fmt: skip


@tried(800)
@given(CARRIED, KNOWN, POLICIES, st.sampled_from(sorted(REFUSALS)), SET)
@example(
    # Where an opt-out leads to a restricted mode, it must not lift what the visitor refused by an own word.
    Carried(claim=True, claim_denied=ADVERTISING_PURPOSES, opt_in=False),
    Known(),
    Policy(regime=Regime.OPT_OUT_SIGNAL),
    "Global Privacy Control",
    0,
)
@example(
    Carried(signals=Signals(tcf=tc_string(disclosed=(33,)), gdpr=True), opt_in=False),
    Known(lists=LISTS),
    Policy(regime=Regime.OPT_OUT_SIGNAL),
    "GPP opt-out",
    0,
)
def test_a_refusal_more_never_permits_more(
    carried: Carried, known: Known, policy: Policy, refusal: str, bits: int
) -> None:
    before = judgements(carried, known, policy)
    after = judgements(REFUSALS[refusal](carried, bits), known, policy)
    for one, other in zip(before, after, strict=True):
        assert not other.granted & ~one.granted, refusal
    for (sent, whole, groups), (sent_after, whole_after, groups_after) in zip(seen(before), seen(after), strict=True):
        assert sent >= sent_after, refusal
        assert whole >= whole_after, refusal
        assert groups >= groups_after, refusal


# ------------------------------------------------------------------ silence


@quick
@given(CARRIED, KNOWN, POLICIES)
def test_where_consent_comes_first_only_what_was_said_permits(carried: Carried, known: Known, policy: Policy) -> None:
    policy = msgspec.structs.replace(policy, regime=Regime.OPT_IN)
    carried = msgspec.structs.replace(carried, opt_in=True)
    heard = registry.hear(carried, known)
    for audience in AUDIENCES:
        statements = registry.read(carried, heard, known, audience)
        agreed = NECESSARY
        for statement in statements:
            agreed |= statement.granted
        assert not judge(statements, policy).granted & ~agreed


SILENT: Final = st.builds(
    Carried,
    sec_gpc=st.lists(GARBAGE, max_size=2).map(tuple),
    dnt=st.lists(GARBAGE, max_size=2).map(tuple),
    signals=st.builds(
        Signals, tcf=GARBAGE, ac=GARBAGE, gpp=GARBAGE | US, us_privacy=GARBAGE, gcs=GARBAGE, gcd=GARBAGE,
        google=st.lists(st.tuples(GARBAGE, WORDS), max_size=2).map(tuple), choice=st.sampled_from([None, "implied", "none"]),
        categories=st.lists(st.tuples(GARBAGE, st.just(True)), max_size=3).map(tuple), platform=st.none() | GARBAGE,
    ),
    cookie=GARBAGE.map(
        lambda text: "; ".join(f"{name}={text}" for name in ("euconsent-v2", "klaro", "cc_cookie", "CookieConsent"))
    ).map(lambda text: text.encode("utf-8", "replace").decode("latin-1")),
    now_ms=st.just(NOW_MS),
)  # fmt: skip


@quick
@given(SILENT, KNOWN, st.booleans())
def test_garbage_is_silence(carried: Carried, known: Known, overrides: bool) -> None:
    policy = Policy(regime=Regime.OPT_IN, gpc_grant_overrides=overrides)
    for found in judgements(carried, known, policy):
        assert found.granted == NECESSARY
    for sent, _, _ in seen(judgements(carried, known, policy)):
        assert not sent


@quick
@given(CARRIED, KNOWN, SET, st.sampled_from(Regime), st.sampled_from(Regime))
def test_a_stricter_regime_never_permits_more_of_the_same(
    carried: Carried, known: Known, silence: int, one: Regime, other: Regime
) -> None:
    """The same statements: what a place changes about reading is told apart from what it makes of silence."""
    strictness = [Regime.NONE, Regime.OPT_OUT, Regime.OPT_OUT_SIGNAL, Regime.OPT_IN]
    loose, strict = sorted((one, other), key=strictness.index)
    limit = silence if loose is Regime.NONE else ALL_PURPOSES
    statements = [registry.read(carried, None, known, audience) for audience in AUDIENCES]

    def under(regime: Regime) -> list[Judgement]:
        return [judge(said, Policy(regime=regime, silence_grants=silence, silence_limit=limit)) for said in statements]

    for wide, narrow in zip(under(loose), under(strict), strict=True):
        assert not narrow.granted & ~wide.granted
    if loose is not Regime.NONE:
        for (sent, _, groups), (sent_strict, _, groups_strict) in zip(
            seen(under(loose)), seen(under(strict)), strict=True
        ):
            assert sent >= sent_strict
            assert groups >= groups_strict


# ------------------------------------------------------------------ always


@quick
@given(CARRIED, KNOWN, POLICIES)
def test_the_same_request_always_has_the_same_judgement(carried: Carried, known: Known, policy: Policy) -> None:
    first = judgements(carried, known, policy)
    registry._kept_tcf.cache_clear()
    registry._kept_gpp.cache_clear()
    assert judgements(carried, known, policy) == first
    assert judgements(carried, known, policy) == first, "and from memory"


@quick
@given(CARRIED, KNOWN)
def test_whatever_comes_is_read_and_every_mark_has_its_sentence(carried: Carried, known: Known) -> None:
    heard = registry.hear(carried, known)
    for mark in heard.noted:
        assert noted.meaning(mark), mark
    for audience in AUDIENCES:
        for statement in registry.read(carried, heard, known, audience):
            holds(statement)


def holds(statement: Statement) -> None:
    """What is true of everything that is said."""
    assert statement.source in SOURCES
    assert statement.step in SPEAKS[statement.source][0], "as the reference page says"
    assert not statement.granted & statement.denied
    assert not (statement.granted | statement.denied) & ~ALL_PURPOSES
    if statement.source not in ("claim", "backend"):  # these may be empty: heard, and saying nothing
        assert statement.granted or statement.denied or statement.opted_out


@quick
@given(CARRIED, KNOWN, POLICIES)
def test_every_purpose_has_one_ruling(carried: Carried, known: Known, policy: Policy) -> None:
    for found in judgements(carried, known, policy):
        ruled = 0
        for ruling in found.rulings:
            assert not ruled & ruling.purposes
            ruled |= ruling.purposes
        assert ruled == ALL_PURPOSES
        assert not found.opted_out_only & found.granted
        assert not found.conflict & found.granted
