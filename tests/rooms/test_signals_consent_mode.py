"""Google Consent Mode: letters become states, states become choices, and an assumption never becomes a consent."""

import json
import string
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.purposes import (
    AD_PERSONALIZATION,
    AD_USER_DATA,
    ADVERTISING,
    ADVERTISING_PURPOSES,
    ALL_PURPOSES,
    ANALYTICS,
)
from gateway.signals.bits import Unreadable
from gateway.signals.consent_mode import PARAMETERS, ConsentMode, choices, decode, further_denied, told
from gateway.signals.consent_mode_letters import (
    TYPES,
    Gcd,
    decode_gcd,
    decode_gcs,
    decode_tcfd,
    told_gcd,
    told_gcs,
    told_tcfd,
)
from tests.support.properties import tried

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "consent-mode.json").read_text(encoding="utf-8")
)
ALL_FOUR: Final = ANALYTICS | ADVERTISING_PURPOSES
quick = tried(200)


def rows(*groups: str) -> list[Any]:
    return [pytest.param(row, id=row["id"]) for group in groups for row in VECTORS[group]]


def said(**parameters: str) -> tuple[int, int]:
    return choices(decode(parameters))


# ------------------------------------------------------------------ outside vectors


def test_the_vector_file_is_whole() -> None:
    sizes = {group: len(VECTORS[group]) for group in VECTORS if group != "about"}
    assert sizes == {"captured": 115, "derived": 63, "tcf_to_consent_mode": 20, "gcs": 6, "malformed": 22}


@pytest.mark.parametrize("row", rows("captured", "derived"))
def test_gcd_is_read_as_googles_library_wrote_it(row: dict[str, Any]) -> None:
    gcd = decode_gcd(row["gcd"])
    assert isinstance(gcd, Gcd)
    assert told_gcd(gcd) == row["decoded"]


@pytest.mark.parametrize("row", rows("gcs"))
def test_gcs_is_read_as_googles_library_wrote_it(row: dict[str, Any]) -> None:
    gcs = decode_gcs(row["gcs"])
    assert not isinstance(gcs, Unreadable)
    assert told_gcs(gcs) == {"ad_storage": row["ad_storage"], "analytics_storage": row["analytics_storage"]}


@pytest.mark.parametrize("row", rows("tcf_to_consent_mode"))
def test_what_a_tcf_page_made_google_send_is_read_back(row: dict[str, Any]) -> None:
    mode = decode({name: value for name, value in row["hit"].items() if value is not None})
    assert mode.problems == ()
    assert told(mode)["state"] == row["decodedState"]
    assert told(mode)["tcfd"] == row["decodedTcfd"]


@pytest.mark.parametrize("row", rows("malformed"))
def test_a_malformed_parameter_is_absent_with_a_reason(row: dict[str, Any]) -> None:
    mode = decode({row["param"]: row["value"]})
    assert mode.gcd is None
    assert mode.gcs is None
    assert [name for name, _ in mode.problems] == [row["param"]]
    assert told(mode) == {"error": mode.problems[0][1]}
    assert choices(mode) == (0, 0)


@pytest.mark.parametrize("row", rows("captured"))
def test_a_real_hit_never_contradicts_itself(row: dict[str, Any]) -> None:
    hit = {name: row[name] for name in ("gcs", "gcd", "npa", "dma", "dma_cps") if row[name] is not None}
    mode = decode(hit)
    assert mode.problems == ()
    assert choices(mode) == said(gcd=row["gcd"]), "gcs adds nothing to the letters of a real hit"
    assert (mode.npa, mode.dma) == (row["npa"] == "1", row["dma"] == "1")
    state = row["decoded"]["state"]
    granted, denied = choices(mode)
    assert granted == sum(bit for name, bit in TYPES.items() if state[name] == "granted")
    assert denied == sum(bit for name, bit in TYPES.items() if state[name] == "denied")


# ------------------------------------------------------------------ letters and choices

LETTERS: Final = {
    "l": None,
    "m": False,
    "n": True,
    "p": False,
    "q": False,
    "r": True,
    "t": True,
    "u": False,
    "v": True,
}


@pytest.mark.parametrize("implicit", ["1", "2", "3"])
@pytest.mark.parametrize(("letter", "chosen"), LETTERS.items())
def test_a_letter_is_a_choice_unless_it_is_l(implicit: str, letter: str, chosen: bool | None) -> None:
    expected = {None: (0, 0), True: (ALL_FOUR, 0), False: (0, ALL_FOUR)}[chosen]
    pair = implicit + letter
    assert said(gcd=f"1{pair * 4}5l1") == expected
    assert said(gcd=f"1{pair * 4}5") == expected, "the short form says the same"


@pytest.mark.parametrize(("place", "purpose"), list(zip((1, 3, 5, 7), TYPES.values(), strict=True)))
def test_each_pair_of_letters_belongs_to_its_own_purpose(place: int, purpose: int) -> None:
    text = "13l3l3l3l5l1"
    granting = text[: place + 1] + "n" + text[place + 2 :]
    denying = text[: place + 1] + "m" + text[place + 2 :]
    assert said(gcd=granting) == (purpose, 0)
    assert said(gcd=denying) == (0, purpose)


def test_googles_types_are_our_purposes() -> None:
    assert TYPES == {
        "ad_storage": ADVERTISING,
        "analytics_storage": ANALYTICS,
        "ad_user_data": AD_USER_DATA,
        "ad_personalization": AD_PERSONALIZATION,
    }


CASES: Final[dict[str, tuple[dict[str, str], tuple[int, int]]]] = {
    "nothing sent": ({}, (0, 0)),
    "silence, Google assumes yes": ({"gcd": "13l3l3l3l1l1"}, (0, 0)),
    "silence in the EEA, Google assumes no personalisation": ({"gcd": "13l3l3l2l1l1"}, (0, 0)),
    "gcs alone grants": ({"gcs": "G111"}, (ADVERTISING | ANALYTICS, 0)),
    "gcs alone denies": ({"gcs": "G100"}, (0, ADVERTISING | ANALYTICS)),
    "gcs alone with one position unset": ({"gcs": "G1-1"}, (ANALYTICS, 0)),
    "gcs cannot turn an assumption into a grant": ({"gcs": "G111", "gcd": "13l3l3l3l5l1"}, (0, 0)),
    "gcs denies what the letters grant: denied": (
        {"gcs": "G101", "gcd": "13v3v3v3v5l1"},
        (ALL_FOUR & ~ADVERTISING, ADVERTISING),
    ),
    "gcs grants what the letters deny: denied": ({"gcs": "G111", "gcd": "13u3u3u3u5l1"}, (0, ALL_FOUR)),
    "gcs denies where the letters are silent: denied": ({"gcs": "G10-", "gcd": "13l3l3l3l5l1"}, (0, ADVERTISING)),
    "gcs 0 for an assumed denial is no choice": (
        {"gcs": "G110", "gcd": "11r2l2m3v5l1"},
        (ADVERTISING | AD_PERSONALIZATION, AD_USER_DATA),
    ),
    "unreadable letters leave gcs": ({"gcs": "G101", "gcd": "garbage"}, (ANALYTICS, ADVERTISING)),
    "only declared denied: denied": ({"gcd": "13B3B3B3B5l1"}, (0, ALL_FOUR)),
    "only declared granted: no grant": ({"gcd": "13R3R3R3R5l1"}, (0, 0)),
    "granted by the page, declared denied: granted": ({"gcd": "13J3J3J3J5l1"}, (ALL_FOUR, 0)),
    "delegated to a denied type: denied": (
        {"gcd": "13p3lPlPl5l1"},
        (0, ADVERTISING_PURPOSES),
    ),
    "delegated to a granted type: no grant of its own": ({"gcd": "13t3lPlPl5l1"}, (ADVERTISING, 0)),
    "delegated to a type gcd does not carry: nothing": ({"gcd": "13l3lzl3l5l1"}, (0, 0)),
    "container default denies over the page's grant: denied": (
        {"gcd": "13t3t3t3t5G6"},
        (0, ALL_FOUR),
    ),
    "container default grants, page silent: no grant": ({"gcd": "13l3l3l3l5_7"}, (0, 0)),
    "container default grants over the page's denial: denied": ({"gcd": "13p3p3p3p5_7"}, (0, ALL_FOUR)),
    "container defaults present and not in use": ({"gcd": "13t3t3t3t5G2"}, (ALL_FOUR, 0)),
    "TCF was to decide and had not answered: no grant": ({"gcd": "13t3t3t3t5l1", "tcfd": "10005"}, (0, 0)),
    "TCF had not answered: a denial stands": ({"gcd": "13p3p3p3p5l1", "tcfd": "10005"}, (0, ALL_FOUR)),
    "TCF answered": ({"gcd": "13t3t3t3t5l1", "tcfd": "10a57"}, (ALL_FOUR, 0)),
    "no TCF on the page at all": ({"gcd": "13t3t3t3t5l1", "tcfd": "10001"}, (ALL_FOUR, 0)),
}


@pytest.mark.parametrize(("hit", "expected"), CASES.values(), ids=CASES.keys())
def test_choices(hit: dict[str, str], expected: tuple[int, int]) -> None:
    assert said(**hit) == expected


FURTHER: Final[dict[str, tuple[dict[str, str], int]]] = {
    "nothing sent": ({}, 0),
    "npa 0": ({"gcd": "13t3t3t3t5l1", "npa": "0"}, 0),
    "npa 1 without letters": ({"npa": "1"}, AD_PERSONALIZATION),
    "npa 1 explained by the region's assumption": ({"gcd": "13l3l3l2l1l1", "npa": "1"}, 0),
    "npa 1 that the letters do not explain": ({"gcd": "13t3t3t3t5l1", "npa": "1"}, AD_PERSONALIZATION),
    "the page turned personalisation off": ({"gcd": "13l3l3l2l3l1"}, AD_PERSONALIZATION),
    "GPC in a listed region": ({"gcd": "13l3l3l3l9l1"}, AD_USER_DATA | AD_PERSONALIZATION),
    "user data withheld from core services": ({"gcd": "13l3l3l3l5l1", "dma_cps": "-"}, AD_USER_DATA),
    "user data withheld by the region's assumption": ({"gcd": "13l3l2l3l5l1", "dma_cps": "-"}, 0),
    "user data allowed": ({"gcd": "13l3l3l3l5l1", "dma_cps": "a"}, 0),
}


@pytest.mark.parametrize(("hit", "expected"), FURTHER.values(), ids=FURTHER.keys())
def test_parameters_beside_the_letters_can_only_deny(hit: dict[str, str], expected: int) -> None:
    assert further_denied(decode(hit)) == expected


PARAMETER_VALUES: Final[dict[str, tuple[str, str, object]]] = {
    "npa on": ("npa", "1", True),
    "npa off": ("npa", "0", False),
    "npa of another kind": ("npa", "2", None),
    "npa in another script": ("npa", "\u0661", None),
    "dma on": ("dma", "1", True),
    "dma empty": ("dma", "", None),
    "core services denied": ("dma_cps", "-", False),
    "core services by today's letter": ("dma_cps", "a", True),
    "core services by the letters until 2025": ("dma_cps", "syphamo", True),
    "core services empty": ("dma_cps", "", None),
    "core services with a sign inside": ("dma_cps", "sy-ph", None),
    "core services far too long": ("dma_cps", "a" * 17, None),
    "a change is reported": ("gcu", "1", True),
    "newly granted": ("gcut", "3", ("ad_user_data",)),
    "newly granted, four types": ("gcut", "1.2.3.4", tuple(TYPES)),
    "newly granted, no such type": ("gcut", "5", ()),
    "newly granted, empty": ("gcut", "", ()),
    "newly granted, far too long": ("gcut", "1." * 4000 + "1", ()),
}


@pytest.mark.parametrize(("name", "text", "expected"), PARAMETER_VALUES.values(), ids=PARAMETER_VALUES.keys())
def test_a_small_parameter_is_read_or_named_as_a_problem(name: str, text: str, expected: object) -> None:
    mode = decode({name: text})
    field = {"gcu": "changed", "gcut": "newly_granted"}.get(name, name)
    assert getattr(mode, field) == expected
    assert mode.problems == (() if expected not in (None, ()) else ((name, "value"),))


@pytest.mark.parametrize("last", ["9", "b", "_"])
def test_unknown_bits_in_the_last_letter_of_gcd_are_unreadable(last: str) -> None:
    assert decode_gcd("13l3l3l3l1l" + last) == Unreadable("value")
    assert isinstance(decode_gcd("13l3l3l3l1l7"), Gcd)


@pytest.mark.parametrize("text", ["10a5", "10a577", "20a57", "10a5w", "10 57", ""])
def test_a_tcfd_of_another_form_is_unreadable(text: str) -> None:
    assert isinstance(decode_tcfd(text), Unreadable)


def test_the_flags_of_tcfd_are_told_apart() -> None:
    tcfd = decode_tcfd("1__5v")
    assert not isinstance(tcfd, Unreadable)
    assert told_tcfd(tcfd) == {
        "version": "1",
        "cmpId": 4095,
        "policyVersion": 5,
        "digitalMarketsRegion": True,
        "gdprApplies": True,
        "tcfSupportFlag": True,
        "enableAdvertiserConsentMode": True,
        "waitTimedOut": True,
    }


@pytest.mark.parametrize("flags", ["4", "8", "g", "1", "2"])
def test_one_flag_of_tcfd_at_a_time(flags: str) -> None:
    tcfd = decode_tcfd(f"10a5{flags}")
    assert not isinstance(tcfd, Unreadable)
    told_flags = [value for value in told_tcfd(tcfd).values() if isinstance(value, bool)]
    assert sum(told_flags) == 1


def test_what_could_be_read_is_told_beside_what_could_not() -> None:
    answer = told(decode({"gcs": "G111", "gcd": "garbage", "npa": "0"}))
    assert answer == {
        "ad_storage": "granted",
        "analytics_storage": "granted",
        "npa": False,
        "problems": {"gcd": "length"},
    }
    assert told(decode({})) == {}
    assert told(Unreadable("length")) == {"error": "length"}


# ------------------------------------------------------------------ properties

ALPHABET: Final = string.digits + string.ascii_lowercase + string.ascii_uppercase + "-_"
STATES: Final = st.sampled_from([1, 2, 3])


def encoded(pairs: list[tuple[int, int, int, int, int]], tail: int) -> str:
    """An encoder of its own: delegation, implicit, declare, default and update of four types, and the tail."""
    text = "1"
    for delegation, implicit, declare, default, update in pairs:
        text += ALPHABET[delegation * 4 + implicit] + ALPHABET[declare * 16 + default * 4 + update]
    return text + ALPHABET[tail]


@quick
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([0, 8, 12, 13, 14, 15]), STATES, STATES, STATES, STATES), min_size=4, max_size=4
    ),
    tail=st.integers(0, 15),
)
def test_what_was_encoded_is_decoded(pairs: list[tuple[int, int, int, int, int]], tail: int) -> None:
    meaning = {1: None, 2: False, 3: True}
    gcd = decode_gcd(encoded(pairs, tail))
    assert isinstance(gcd, Gcd)
    read = [(s.implicit, s.declare, s.default, s.update) for s in gcd.signals]
    assert read == [tuple(meaning[state] for state in pair[1:]) for pair in pairs]
    assert (gcd.gpc, gcd.active) == (bool(tail & 8), bool(tail & 4))
    granted, denied = choices(ConsentMode(gcd=gcd))
    for bit, pair in zip(TYPES.values(), pairs, strict=True):
        if granted & bit:
            assert 3 in pair[3:], "a grant rests on a default or an update that grants"
            assert pair[4] != 2, "and on no update that denies"
        if pair[4] == 2:
            assert denied & bit, "an update that denies always denies"


HOSTILE: Final = st.dictionaries(
    st.sampled_from(PARAMETERS),
    st.one_of(st.text(max_size=20), st.text(alphabet=ALPHABET + ".G", max_size=14), st.sampled_from(["1" * 100_000])),
)


@quick
@given(hit=HOSTILE)
def test_no_text_raises_and_no_purpose_is_both(hit: dict[str, str]) -> None:
    mode = decode(hit)
    assert mode == decode(dict(hit)), "the same input, the same answer"
    granted, denied = choices(mode)
    assert granted & denied == 0
    assert (granted | denied | further_denied(mode)) & ~ALL_PURPOSES == 0
    if mode.gcd is None and mode.gcs is None:
        assert granted == 0
    json.dumps(told(mode))


@quick
@given(
    row=st.sampled_from(VECTORS["captured"]),
    place=st.integers(0, 11),
    letter=st.characters(codec="utf-8"),
)
def test_a_changed_letter_never_raises_nor_turns_a_denial_of_another_type(
    row: dict[str, Any], place: int, letter: str
) -> None:
    text = row["gcd"]
    changed = decode_gcd(text[:place] + letter + text[place + 1 :])
    if isinstance(changed, Gcd):
        touched = (place - 1) // 2 if 1 <= place <= 8 else None
        before = choices(decode({"gcd": text}))[1]
        after = choices(ConsentMode(gcd=changed))[1]
        for at, bit in enumerate(TYPES.values()):
            if at != touched and before & bit:
                assert after & bit
