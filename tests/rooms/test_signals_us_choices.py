"""What US sections mean for one visitor: which of them speak, and whatever one of them denies is denied."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.purposes import SALE_OR_SHARING, SENSITIVE, SENSITIVE_DATA, TARGETED_ADVERTISING
from gateway.signals import gpp as gpp_module
from gateway.signals.gpp import Gpp
from gateway.signals.gpp_sections import LAYOUTS, Layout, UsSection
from gateway.signals.us_choices import POSITIONS, REASONS, STATE_SECTIONS, UsChoices, read
from gateway.signals.usp import UsPrivacy
from tests.support.properties import tried

BOTH: Final = SALE_OR_SHARING | TARGETED_ADVERTISING
ALL: Final = BOTH | SENSITIVE_DATA
quick = tried(200)

# What every field says when nobody objects to anything.
AGREED: Final = {"SensitiveDataProcessing": 2, "SaleOptOut": 2, "SharingOptOut": 2, "TargetedAdvertisingOptOut": 2}


def layout_of(name: str, version: int | None = None) -> Layout:
    found = [one for one in LAYOUTS.values() if one.name == name and version in (None, one.version)]
    return max(found, key=lambda one: one.version)


Changes = Mapping[str, int | Mapping[int, int]]


def section(
    name: str, changes: Changes | None = None, *, gpc: bool | None = None, version: int | None = None
) -> UsSection:
    """A section in which nothing is refused, but for the changes: a number for a whole field, or numbers by place from 1."""
    left = dict(changes or {})
    layout = layout_of(name, version)
    values: list[int] = []
    for field in layout.fields:
        usual = 1 if field.name.endswith("Notice") else AGREED.get(field.name, 0)
        change = left.pop(field.name, usual)
        size = field.stop - field.start
        values += [change] * size if isinstance(change, int) else [change.get(n, usual) for n in range(1, size + 1)]
    assert not left, "the layout has no such field"
    return UsSection(layout, layout.version or 1, tuple(values), gpc)


def gpp(*sections: UsSection, usp: str = "") -> Gpp:
    held: list[tuple[int, Any]] = [(one.layout.number, one) for one in sections]
    if usp:
        held.append((6, UsPrivacy(*usp)))
    return Gpp(tuple(sorted(held, key=lambda pair: pair[0])))


def choices(
    name: str, changes: Changes | None = None, *, gpc: bool | None = None, version: int | None = None
) -> UsChoices:
    """Choices of a string with one section that speaks because the page says so."""
    one = section(name, changes, gpc=gpc, version=version)
    return read(gpp(one), (one.layout.number,), None)


NAMES: Final = sorted({layout.name for layout in LAYOUTS.values()})

# ------------------------------------------------------------------ one section


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda one: f"{one.name} {one.version}")
def test_where_nobody_objects_nothing_is_denied(layout: Layout) -> None:
    said = choices(layout.name, version=layout.version)
    assert said == UsChoices(sections=(layout.name,), sensitive_allowed=said.sensitive_allowed)


FIELDS: Final = {
    "SaleOptOut": (SALE_OR_SHARING, "sale_opt_out"),
    "SharingOptOut": (SALE_OR_SHARING, "sharing_opt_out"),
    "TargetedAdvertisingOptOut": (TARGETED_ADVERTISING, "targeted_advertising_opt_out"),
    "KnownChildSensitiveDataConsents": (ALL, "known_child"),
    "SensitiveDataProcessing": (SENSITIVE_DATA, "sensitive_data_refused"),
}
NOTICES: Final = {
    "SharingNotice": (BOTH, "sharing_notice_missing"),
    "ProcessingNotice": (BOTH, "processing_notice_missing"),
    "SaleOptOutNotice": (SALE_OR_SHARING, "sale_notice_missing"),
    "SharingOptOutNotice": (SALE_OR_SHARING, "sharing_opt_out_notice_missing"),
    "TargetedAdvertisingOptOutNotice": (TARGETED_ADVERTISING, "targeted_advertising_notice_missing"),
    "SensitiveDataProcessingOptOutNotice": (SENSITIVE_DATA, "sensitive_data_notice_missing"),
    "SensitiveDataLimitUseNotice": (SENSITIVE_DATA, "sensitive_data_notice_missing"),
    "SensitiveDataOptOutNotice": (SENSITIVE_DATA, "sensitive_data_notice_missing"),
}
HELD: Final = [(one, field) for one in LAYOUTS.values() for field in one.fields]


@pytest.mark.parametrize(
    ("layout", "field", "place"),
    [(one, f.name, n) for one, f in HELD if f.name in FIELDS for n in range(1, f.stop - f.start + 1)],
    ids=lambda value: f"{value.name}-{value.version}" if isinstance(value, Layout) else str(value),
)
def test_a_one_in_any_place_is_an_opt_out_and_so_is_a_three(layout: Layout, field: str, place: int) -> None:
    right, why = FIELDS[field]
    for number in (1, 3):
        said = choices(layout.name, {field: {place: number}}, version=layout.version)
        assert (said.opted_out, said.opted_out_reasons) == (right, (why,))
    for number in (0, 2):
        assert not choices(layout.name, {field: {place: number}}, version=layout.version).opted_out


@pytest.mark.parametrize(
    ("layout", "field"),
    [(one, f.name) for one, f in HELD if f.name in NOTICES],
    ids=lambda value: f"{value.name}-{value.version}" if isinstance(value, Layout) else str(value),
)
def test_a_notice_that_was_not_given_denies_its_right(layout: Layout, field: str) -> None:
    right, why = NOTICES[field]
    for number in (2, 3):
        said = choices(layout.name, {field: number}, version=layout.version)
        assert (said.opted_out, said.opted_out_reasons) == (right, (why,))
    for number in (0, 1):
        assert not choices(layout.name, {field: number}, version=layout.version).opted_out


def test_every_field_is_decided_on_or_named_here() -> None:
    others = {field.name for _, field in HELD} - FIELDS.keys() - NOTICES.keys()
    assert others == {
        "PersonalDataConsents",  # use beyond what was disclosed: no event of this gateway is one
        "AdditionalDataProcessingConsent",  # the same under the name of the states
        "MspaCoveredTransaction",  # a contract between businesses, no choice of the visitor
        "MspaOptOutOptionMode",  # the same
        "MspaServiceProviderMode",  # decides which destinations may be used
        "MspaMode",  # the same
    }


@pytest.mark.parametrize(("gpc", "right"), [(True, BOTH), (False, 0), (None, 0)])
def test_global_privacy_control_in_the_string_counts(gpc: bool | None, right: int) -> None:
    said = choices("usca", gpc=gpc)
    assert (said.opted_out, said.opted_out_reasons) == (right, ("gpc",) if right else ())


@pytest.mark.parametrize(("number", "minor"), [(0, False), (1, True), (2, False), (3, True)])
def test_a_known_child_is_a_minor_unless_consent_was_given(number: int, minor: bool) -> None:
    assert choices("usde", {"KnownChildSensitiveDataConsents": {4: number}}).minor is minor


@pytest.mark.parametrize(
    ("name", "field", "yes"),
    [
        ("usnat", "MspaServiceProviderMode", {1, 3}),
        ("usva", "MspaServiceProviderMode", {1, 3}),
        ("usmd", "MspaMode", {2, 3}),
    ],
)
def test_service_provider_mode_leaves_only_service_providers(name: str, field: str, yes: set[int]) -> None:
    assert {n for n in range(4) if choices(name, {field: n}).service_provider_only} == yes
    assert not any(choices(name, {field: n}).opted_out for n in range(4))


def test_reasons_come_in_a_fixed_order_and_once() -> None:
    said = choices(
        "usnat",
        {"SaleOptOut": 1, "SensitiveDataLimitUseNotice": 2, "SensitiveDataProcessingOptOutNotice": 2},
        gpc=True,
    )
    assert said.opted_out_reasons == ("sale_opt_out", "sensitive_data_notice_missing", "gpc")
    assert said.opted_out == ALL


def test_every_reason_is_told_in_words() -> None:
    assert {why for _, why in [*FIELDS.values(), *NOTICES.values()]} | {"gpc", "us_privacy"} == REASONS.keys()


# ------------------------------------------------------------------ sensitive data

PLACES: Final = [
    ("usnat", 3, {"health"}),
    ("usnat", 8, {"precise_location"}),
    ("usnat", 9, {"identity_documents"}),
    ("usnat", 10, {"account_access"}),
    ("usnat", 11, {"union_membership"}),
    ("usnat", 12, {"message_content"}),
    ("usnat", 13, {"consumer_health"}),
    ("usnat", 14, {"crime_victim"}),
    ("usnat", 15, {"national_origin"}),
    ("usnat", 16, {"transgender"}),
    ("usca", 1, {"identity_documents"}),
    ("usca", 2, {"account_access"}),
    ("usca", 3, {"precise_location"}),
    ("usca", 4, {"race", "religion", "union_membership"}),
    ("usca", 5, {"message_content"}),
    ("usca", 6, {"genetic"}),
    ("usca", 7, {"biometric"}),
    ("usca", 8, {"health"}),
    ("usca", 9, {"sexual_orientation"}),
    ("usut", 3, {"sexual_orientation"}),
    ("usut", 4, {"citizenship"}),
    ("usut", 5, {"health"}),
    ("usut", 8, {"precise_location"}),
    ("usor", 5, {"transgender"}),
    ("usor", 6, {"citizenship"}),
    ("usor", 7, {"national_origin"}),
    ("usor", 8, {"crime_victim"}),
    ("usor", 11, {"precise_location"}),
    ("usde", 9, {"transgender"}),
    ("usnj", 9, {"transgender"}),
    ("usnj", 10, {"account_access"}),
    ("usco", 7, {"biometric"}),
    ("usva", 1, {"race"}),
    ("usct", 2, {"religion"}),
    ("usfl", 4, {"sexual_orientation"}),
    ("usmt", 5, {"citizenship"}),
    ("ustx", 6, {"genetic"}),
    ("usky", 8, {"precise_location"}),
]


@pytest.mark.parametrize(("name", "place", "categories"), PLACES)
def test_a_place_means_its_categories_and_no_others(name: str, place: int, categories: set[str]) -> None:
    for number in (0, 1, 3):
        said = choices(name, {"SensitiveDataProcessing": {place: number}})
        assert said.sensitive_denied == categories
        assert not said.sensitive_allowed & categories


def test_only_the_first_twelve_places_exist_in_the_older_national_version() -> None:
    said = choices("usnat", version=1)
    assert said.sensitive_allowed == {name for place in POSITIONS["usnat"][:12] for name in place}


def test_every_section_with_sensitive_data_has_a_meaning_for_every_place() -> None:
    sizes = {one.name: f.stop - f.start for one, f in HELD if f.name == "SensitiveDataProcessing" and one.version != 1}
    sizes |= {
        one.name: f.stop - f.start for one, f in HELD if f.name == "SensitiveDataProcessing" and one.name not in sizes
    }
    assert {name: len(places) for name, places in POSITIONS.items()} == sizes
    assert {category for places in POSITIONS.values() for place in places for category in place} == SENSITIVE.keys()


def test_what_a_section_has_no_place_for_is_neither_denied_nor_allowed() -> None:
    said = choices("usco")
    assert "precise_location" not in said.sensitive_allowed | said.sensitive_denied
    assert choices("usmd").sensitive_allowed == frozenset()


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("usnat", "SensitiveDataProcessingOptOutNotice"),
        ("usca", "SensitiveDataLimitUseNotice"),
        ("usia", "SensitiveDataOptOutNotice"),
    ],
)
def test_without_a_notice_no_sensitive_data_is_allowed(name: str, notice: str) -> None:
    said = choices(name, {notice: 2})
    assert said.sensitive_allowed == frozenset()
    assert said.sensitive_denied == {category for place in POSITIONS[name] for category in place}


def test_a_notice_that_one_section_lacks_takes_nothing_from_another_section() -> None:
    said = read(gpp(section("usca", {"SensitiveDataLimitUseNotice": 2}), section("usor")), (8, 15), None)
    assert "crime_victim" in said.sensitive_allowed
    assert "health" in said.sensitive_denied


def test_a_category_needs_a_yes_from_every_section_that_has_a_place_for_it() -> None:
    both = gpp(section("usnat"), section("usca", {"SensitiveDataProcessing": {8: 1}}))
    said = read(both, (7, 8), None)
    assert said.sensitive_denied == {"health"}
    assert "health" not in said.sensitive_allowed
    assert "genetic" in said.sensitive_allowed


# ------------------------------------------------------------------ which sections speak

NAT: Final = section("usnat", {"SaleOptOut": 1})
CA: Final = section("usca", {"SharingOptOut": 1})
VA: Final = section("usva", {"TargetedAdvertisingOptOut": 1})

SPEAKING: Final = {
    "the page declares one": ((NAT, CA, VA), (8,), None, ("usca",)),
    "the page declares two": ((NAT, CA, VA), (9, 7), None, ("usnat", "usva")),
    "the page goes before the state": ((NAT, CA, VA), (7,), "CA", ("usnat",)),
    "the page declares Europe's section, which is there": ("with tcf", (2,), "CA", ()),
    "the page declares what is not there: the state": ((NAT, CA), (9,), "CA", ("usca",)),
    "the page declares what is not there: the country": ((NAT, CA), (9,), "TX", ("usnat",)),
    "the page does not know": ((NAT, CA), (-1,), "CA", ("usca",)),
    "the page says none": ((NAT, CA), (0,), "CA", ("usca",)),
    "the page says nothing": ((NAT, CA), (), "CA", ("usca",)),
    "the state has a section": ((NAT, CA, VA), None, "VA", ("usva",)),
    "the state's section is not there": ((NAT, VA), None, "CA", ("usnat",)),
    "the state has no section": ((NAT, VA), None, "WA", ("usnat",)),
    "the state is not known": ((NAT, CA, VA), None, None, ("usnat",)),
    "the state is not known and there is no section for the country": ((CA, VA), None, None, ("usca", "usva")),
    "there is only another state's section": ((CA, VA), None, "TX", ()),
    "there is only another state's section, and none for the state": ((CA, VA), None, "OK", ()),
    "nothing is there": ((), None, "CA", ()),
}
TCF_TEXT: Final = "DBACNY~CQODbMAQODbMAjykxcENB4FkAAAAAAAAAAIgAAAAAAAA.YAAAAAAAAAAA.IAeIpQDoVJwMSQAA~1YYN"


@pytest.mark.parametrize(("sections", "gpp_sid", "state", "speak"), SPEAKING.values(), ids=SPEAKING.keys())
def test_which_sections_speak(
    sections: tuple[UsSection, ...] | str, gpp_sid: tuple[int, ...] | None, state: str | None, speak: tuple[str, ...]
) -> None:
    if isinstance(sections, str):
        decoded = gpp_module.decode(TCF_TEXT)
        assert isinstance(decoded, Gpp)
        string = Gpp((*decoded.sections[:1], (8, CA)))
    else:
        string = gpp(*sections)
    said = read(string, gpp_sid, state)
    assert said.sections == speak
    assert bool(said.opted_out) is bool(speak)


def test_an_unreadable_section_the_page_declares_falls_back_to_the_country() -> None:
    string = Gpp(((7, NAT),), rejected=((8, "truncated"),))
    assert read(string, (8,), None).sections == ("usnat",)


def test_states_are_those_with_a_section() -> None:
    in_order = "CA VA CO UT CT FL MT OR TX DE IA NE NH NJ TN MN MD IN KY RI".split()
    assert dict(zip(in_order, range(8, 28), strict=True)) == STATE_SECTIONS


# ------------------------------------------------------------------ US Privacy

USP: Final = {
    "nothing declared": (None, "TX", True),
    "declared": ((6,), None, True),
    "declared beside another": ((6, 8), None, True),
    "another declared": ((8,), None, False),
}


@pytest.mark.parametrize(("gpp_sid", "state", "speaks"), USP.values(), ids=USP.keys())
def test_the_section_with_the_us_privacy_string(
    gpp_sid: tuple[int, ...] | None, state: str | None, speaks: bool
) -> None:
    said = read(gpp(section("usca"), usp="YYN"), gpp_sid, state)
    assert ("uspv1" in said.sections) is speaks
    assert (said.opted_out, said.opted_out_reasons) == ((SALE_OR_SHARING, ("us_privacy",)) if speaks else (0, ()))


@pytest.mark.parametrize(
    ("letters", "right"), [("YYN", SALE_OR_SHARING), ("YNN", 0), ("---", 0), ("NNN", 0), ("NYY", SALE_OR_SHARING)]
)
def test_the_us_privacy_string_on_its_own(letters: str, right: int) -> None:
    said = read(None, None, None, UsPrivacy(*letters))
    assert (said.opted_out, said.sections) == (right, ())


def test_the_us_privacy_string_on_its_own_adds_to_the_sections() -> None:
    said = read(gpp(VA), (9,), None, UsPrivacy("Y", "Y", "N"))
    assert said.opted_out == BOTH
    assert said.opted_out_reasons == ("targeted_advertising_opt_out", "us_privacy")


def test_nothing_said_is_nothing_chosen() -> None:
    assert read(None, None, None) == UsChoices()
    assert read(Gpp(), (7, 8), "CA") == UsChoices()


# ------------------------------------------------------------------ real strings, and any


def test_a_string_of_nothing_but_threes_denies_everything() -> None:
    decoded = gpp_module.decode("DBABLA~C_________98")
    assert isinstance(decoded, Gpp)
    said = read(decoded, None, None)
    assert (said.opted_out, said.minor, said.service_provider_only) == (ALL, True, True)
    assert said.sensitive_denied == SENSITIVE.keys()


@st.composite
def any_section(draw: st.DrawFn) -> UsSection:
    layout = draw(st.sampled_from(list(LAYOUTS.values())))
    size = layout.fields[-1].stop
    values = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return UsSection(layout, layout.version or 1, tuple(values), draw(st.sampled_from([None, False, True])))


some_sections = st.lists(any_section(), max_size=6, unique_by=lambda one: one.layout.number)


@quick
@given(some_sections, any_section())
def test_one_more_section_that_speaks_never_makes_anything_looser(held: list[UsSection], more: UsSection) -> None:
    held = [one for one in held if one.layout.number != more.layout.number]
    everything = tuple(range(64))
    few, all_of_them = read(gpp(*held), everything, None), read(gpp(*held, more), everything, None)
    assert few.opted_out & ~all_of_them.opted_out == 0
    assert few.minor <= all_of_them.minor
    assert few.service_provider_only <= all_of_them.service_provider_only
    assert few.sensitive_denied <= all_of_them.sensitive_denied
    assert not all_of_them.sensitive_allowed & few.sensitive_denied
    assert set(few.opted_out_reasons) <= set(all_of_them.opted_out_reasons)


@quick
@given(
    some_sections,
    st.none() | st.lists(st.integers(-1, 64), max_size=4).map(tuple),
    st.none() | st.sampled_from(["CA", "OK", ""]),
)
def test_any_sections_are_read_and_the_same_way_twice(
    held: list[UsSection], gpp_sid: tuple[int, ...] | None, state: str | None
) -> None:
    said = read(gpp(*held), gpp_sid, state)
    assert said == read(gpp(*held), gpp_sid, state)
    assert said.sensitive_allowed | said.sensitive_denied <= SENSITIVE.keys()
    assert not said.sensitive_allowed & said.sensitive_denied
    assert bool(said.opted_out) is bool(said.opted_out_reasons)
    assert set(said.opted_out_reasons) <= REASONS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_in_any_section_reaches_the_visitors_of_its_state(name: str) -> None:
    state = name[2:].upper()
    said = read(gpp(section(name, {"SaleOptOut": 1}), section("usnat") if name != "usnat" else NAT), None, state)
    assert said.opted_out == SALE_OR_SHARING
