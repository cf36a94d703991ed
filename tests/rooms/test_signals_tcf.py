"""TC strings: what they say is read as others read it, and what cannot be read is never consent."""

import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signals import tcf
from gateway.signals.bits import RANGES_MAX, TEXT_MAX, BitReader, Broken, Ids, Unreadable
from gateway.signals.tcf import Bitfield, Publisher, Restriction, TcString, decode, newest, told, unusable, usable
from tests.support.properties import tried

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "tcf.json"
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DAY_MS: Final = 86_400_000
quick = tried(200)


class Valid(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    id: str
    tc_string: str
    generated_by: str
    features: list[str]
    segments: list[str]
    decoded: dict[str, object]


class Malformed(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    id: str
    category: str
    tc_string: str
    note: str
    recommended: str
    oracle: dict[str, object]
    length: int


class Vectors(msgspec.Struct):
    valid: list[Valid]
    malformed: list[Malformed]


ROWS: Final = msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)
TEXTS: Final = [row.tc_string for row in ROWS.valid]


def read(text: str) -> TcString:
    tc = decode(text)
    assert isinstance(tc, TcString), tc
    return tc


def code(text: str) -> str:
    tc = decode(text)
    assert isinstance(tc, Unreadable), tc
    return tc.code


# ------------------------------------------------------------------ a writer, bit by bit


def bits(value: int, width: int) -> str:
    return f"{value:0{width}b}"


def text_of(*fields: str) -> str:
    line = "".join(fields)
    line += "0" * (-len(line) % 6)
    return "".join(ALPHABET[int(line[at : at + 6], 2)] for at in range(0, len(line), 6))


def field(vendors: Sequence[int], highest: int) -> str:
    """A vendor section written as a bitfield."""
    held = set(vendors)
    return bits(highest, 16) + "0" + "".join("1" if n in held else "0" for n in range(1, highest + 1))


def entries(pairs: Sequence[tuple[int, int]]) -> str:
    line = bits(len(pairs), 12)
    for start, end in pairs:
        line += "0" + bits(start, 16) if start == end else "1" + bits(start, 16) + bits(end, 16)
    return line


def ranges(pairs: Sequence[tuple[int, int]], highest: int = 65_535) -> str:
    """A vendor section written as ranges."""
    return bits(highest, 16) + "1" + entries(pairs)


def restrictions(*given: tuple[int, int, Sequence[tuple[int, int]]]) -> str:
    return bits(len(given), 12) + "".join(bits(p, 6) + bits(kind, 2) + entries(pairs) for p, kind, pairs in given)


NOBODY: Final = field((), 0)
PLAIN: Final[dict[str, int]] = {
    "version": 2,
    "created": 17_800_000_000,
    "updated": 17_800_000_000,
    "cmp": 300,
    "cmp_version": 7,
    "screen": 3,
    "language": 4 << 6 | 13,
    "list": 150,
    "policy": 5,
    "service": 1,
    "texts": 0,
    "features": 0,
    "purposes": 0,
    "legitimate": 0,
    "one": 0,
    "country": 5 << 6 | 17,
}
WIDTHS: Final = (6, 36, 36, 12, 12, 6, 12, 12, 6, 1, 1, 12, 24, 24, 1, 12)


def core(consents: str = NOBODY, interests: str = NOBODY, restricted: str = restrictions(), **changes: int) -> str:
    header = zip({**PLAIN, **changes}.values(), WIDTHS, strict=True)
    return text_of(*(bits(value, width) for value, width in header), consents, interests, restricted)


def disclosed(section: str) -> str:
    return text_of("001", section)


# ------------------------------------------------------------------ vectors


@pytest.mark.parametrize("row", ROWS.valid, ids=lambda row: row.id)
def test_a_valid_string_says_what_the_reference_reads(row: Valid) -> None:
    assert told(read(row.tc_string)) == row.decoded


@pytest.mark.parametrize("row", ROWS.valid, ids=lambda row: row.id)
def test_a_part_is_there_exactly_when_the_string_has_it(row: Valid) -> None:
    tc = read(row.tc_string)
    there = {
        "disclosedVendors": tc.disclosed_vendors,
        "allowedVendors": tc.allowed_vendors,
        "publisherTC": tc.publisher,
    }
    assert {"core"} | {name for name, part in there.items() if part is not None} == set(row.segments)


KEPT: Final = {
    "tcf-bad-045": "a part of an unknown type is ignored",
    "tcf-bad-047": "restriction type 3 is read as 0",
    "tcf-bad-052": "the country is unknown, the rest is fine",
    "tcf-bad-053": "lower-case country letters are letters",
    "tcf-bad-058": "the same restriction twice is one",
    "tcf-bad-059": "contradicting restrictions: the strictest counts",
    "tcf-bad-060": "ranges are merged and never spread out",
    "tcf-bad-062": "so are those of restrictions",
    "tcf-bad-063": "a long bitfield below the length limit",
}
"""Rows whose recommendation lets a decoder go on, and why ours does."""


@pytest.mark.parametrize("row", ROWS.malformed, ids=lambda row: f"{row.id}: {row.note}")
def test_a_malformed_string_is_absent_unless_it_is_known_to_be_harmless(row: Malformed) -> None:
    assert isinstance(decode(row.tc_string), Unreadable) is (row.id not in KEPT)


def test_all_vectors_were_read() -> None:
    assert (len(ROWS.valid), len(ROWS.malformed)) == (280, 45)


def malformed(row: str) -> TcString:
    return read(next(one.tc_string for one in ROWS.malformed if one.id == row))


def test_an_unknown_part_changes_nothing() -> None:
    text = next(one.tc_string for one in ROWS.malformed if one.id == "tcf-bad-045")
    assert malformed("tcf-bad-045") == read(text.split(".")[0])


def test_contradicting_restrictions_answer_with_the_strictest() -> None:
    assert malformed("tcf-bad-059").restriction(7, 2) == 1


# ------------------------------------------------------------------ codes

CODES: Final[dict[str, tuple[str, str]]] = {
    "nothing": ("", "empty"),
    "a dot": (".", "empty_segment"),
    "two dots in a row": (core() + ".." + disclosed(NOBODY), "empty_segment"),
    "the word null": ("null", "version"),
    "the word undefined": ("undefined", "version"),
    "a US privacy string": ("1YNN", "version"),
    "an escape": ("%3D", "encoding"),
    "a macro that was not filled in": ("${GDPR_CONSENT_755}", "encoding"),
    "a padded string": (core() + "=", "encoding"),
    "the other alphabet": (core()[:-1] + "/", "encoding"),
    "an outer blank": (" " + core(), "encoding"),
    "a letter of another script": (core()[:9] + "é" + core()[10:], "encoding"),
    "four wrong letters in a row": (core()[:9] + "====" + core()[9:], "encoding"),
    "half a character": (core() + "\ud800", "encoding"),
    "a wrong letter in an unknown part": (core() + ".gA=A", "encoding"),
    "version 3": (core(version=3), "version"),
    "another part first": (disclosed(NOBODY) + "." + core(), "core_missing"),
    "no core": (text_of("011", "0" * 54), "core_missing"),
    "the core twice": (core() + "." + core(), "repeated_segment"),
    "disclosed vendors twice": (".".join([core(), disclosed(NOBODY), disclosed(NOBODY)]), "repeated_segment"),
    "seven parts": (".".join([core(), *["gAAA"] * 6]), "too_many_segments"),
    "a short core": (core()[:35], "truncated"),
    "an empty publisher part": (core() + ".YAAA", "truncated"),
    "custom purposes that are missing": (core() + "." + text_of("011", "1" * 48, bits(63, 6)), "truncated"),
    "fewer bits than the highest vendor": (core(bits(200, 16) + "0" + "1" * 10), "truncated"),
    "fewer ranges than announced": (core(bits(9, 16) + "1" + bits(40, 12) + "0" * 600), "truncated"),
    "an entry that is cut": (core(bits(9, 16) + "1" + bits(1, 12) + "1" + bits(1, 16), "", ""), "truncated"),
    "fewer restrictions than announced": (core(restricted=bits(9, 12) + "00000100" + bits(0, 12)), "truncated"),
    "a restriction that is cut": (core(restricted=bits(1, 12) + "00000100" + "1111"), "truncated"),
    "no consent platform": (core(cmp=0), "cmp_id"),
    "consent platform 1": (core(cmp=1), "cmp_id"),
    "vendor 0": (core(ranges([(0, 0)])), "vendor_zero"),
    "a range from vendor 0": (core(ranges([(0, 5)])), "vendor_zero"),
    "a range that runs backwards": (core(ranges([(9, 4)])), "range_reversed"),
    "a vendor beyond the highest": (core(ranges([(3, 12)], highest=11)), "vendor_beyond_maximum"),
    "a backward range in a restriction": (core(restricted=restrictions((2, 1, [(9, 4)]))), "range_reversed"),
    "vendor 0 in a restriction": (core(restricted=restrictions((2, 1, [(0, 4)]))), "vendor_zero"),
    "vendor 0 among the disclosed": (core() + "." + disclosed(ranges([(0, 4)])), "vendor_zero"),
    "vendor 0 in the dead part": (core() + "." + text_of("010", ranges([(0, 4)])), "vendor_zero"),
    "a restriction on purpose 0": (core(restricted=restrictions((0, 1, [(1, 4)]))), "restriction_purpose"),
    "too long": ("C" * (TEXT_MAX + 1), "too_long"),
}


@pytest.mark.parametrize("case", CODES)
def test_what_cannot_be_read_is_counted_under_its_reason(case: str) -> None:
    text, expected = CODES[case]
    assert code(text) == expected


# ------------------------------------------------------------------ reading


def test_a_bitfield_and_ranges_name_the_same_vendors() -> None:
    one = read(core(field((1, 2, 3, 755), 755)))
    other = read(core(ranges([(755, 755), (1, 3)], highest=755)))
    assert told(one)["vendorConsents"] == told(other)["vendorConsents"] == "1-3,755"


@pytest.mark.parametrize("section", [field((755,), 760), ranges([(755, 755)])], ids=["bitfield", "ranges"])
def test_only_the_named_vendor_is_in_the_set(section: str) -> None:
    consents = read(core(section)).vendor_consents
    assert [n for n in (-1, 0, 1, 754, 755, 756, 760, 761, 70_000) if n in consents] == [755]


def test_the_first_bit_is_purpose_1() -> None:
    tc = read(core(features=1 << 11, purposes=1 << 23, legitimate=1))
    assert tc.special_feature_opt_ins.numbers() == [1]
    assert tc.purpose_consents.numbers() == [1]
    assert tc.purpose_legitimate_interests.numbers() == [24]


def test_zeros_behind_the_last_field_do_not_matter() -> None:
    assert read(core() + "AAAA") == read(core())


def test_restriction_type_3_is_read_as_0_and_joins_it() -> None:
    tc = read(core(restricted=restrictions((2, 3, [(7, 7)]), (2, 0, [(9, 9)]))))
    assert tc.restrictions == (Restriction(2, 0, Ids((7, 9), (7, 9))),)


def test_the_same_restriction_twice_is_one_with_both_vendor_sets() -> None:
    tc = read(core(restricted=restrictions((2, 1, [(9, 9)]), (2, 1, [(3, 8)]))))
    assert tc.restrictions == (Restriction(2, 1, Ids((3,), (9,))),)


def test_of_several_restrictions_the_lowest_type_counts_whatever_the_order() -> None:
    tc = read(core(restricted=restrictions((2, 2, [(7, 7)]), (2, 1, [(7, 8)]), (3, 0, [(7, 7)]))))
    assert [tc.restriction(7, 2), tc.restriction(8, 2), tc.restriction(7, 3), tc.restriction(9, 2)] == [1, 1, 0, None]


LETTERS: Final[dict[str, tuple[int, int, str | None]]] = {
    "a is 0": (0, 25, "AZ"),
    "lower-case letters of ASCII": (32, 33, "AB"),
    "above z": (26, 0, None),
    "above lower-case z": (0, 58, None),
    "the highest": (63, 63, None),
}


@pytest.mark.parametrize("case", LETTERS)
def test_letters_that_are_none_leave_language_and_country_unknown_and_the_rest_usable(case: str) -> None:
    first, second, expected = LETTERS[case]
    tc = read(core(language=first << 6 | second, country=first << 6 | second))
    assert (tc.consent_language, tc.publisher_country, tc.cmp_id) == (expected, expected, 300)


def test_custom_purposes_are_numbered_from_1() -> None:
    part = text_of("011", bits(1 << 23, 24), bits(1, 24), bits(3, 6), "101", "010")
    publisher = read(core() + "." + part).publisher
    assert publisher == Publisher(Bitfield(1 << 23, 24), Bitfield(1, 24), Bitfield(5, 3), Bitfield(2, 3))
    assert publisher.custom_consents.numbers() == [1, 3]


def test_the_dead_part_is_never_mistaken_for_the_disclosed_vendors() -> None:
    tc = read(core() + "." + text_of("010", field((7,), 7)))
    assert tc.disclosed_vendors is None
    assert told(tc)["vendorsAllowed"] == "7"


# ------------------------------------------------------------------ caps


def pairs(count: int, first: int = 1) -> list[tuple[int, int]]:
    """Ranges that do not touch, in the least convenient order."""
    return [(first + 60 * n, first + 60 * n + 20) for n in range(count)][::-1]


def test_a_thousand_ranges_are_read() -> None:
    consents = read(core(ranges(pairs(RANGES_MAX)))).vendor_consents
    assert isinstance(consents, Ids)
    assert len(consents.starts) == 1_000


MANY: Final[dict[str, str]] = {
    "in one section": core(ranges(pairs(1_001))),
    "announced, though the text ends": core(bits(9, 16) + "1" + bits(4_095, 12)),
    "over consents and interests": core(ranges(pairs(600)), ranges(pairs(401))),
    "over the core and a part": core(ranges(pairs(600))) + "." + disclosed(ranges(pairs(401))),
    "over restrictions": core(restricted=restrictions(*[(1 + n, 0, pairs(20)) for n in range(51)])),
}


@pytest.mark.parametrize("case", MANY)
def test_a_thousand_and_one_ranges_are_too_many(case: str) -> None:
    assert code(MANY[case]) == "too_many_ranges"


def test_more_restrictions_than_there_are_different_ones_are_too_many() -> None:
    every = [(purpose, kind, ()) for purpose in range(1, 64) for kind in range(4)]
    assert len(read(core(restricted=restrictions(*every))).restrictions) == 189
    assert code(core(restricted=restrictions(*every, (1, 0, ())))) == "too_many_restrictions"


def heavy() -> dict[str, str]:
    spread = [(1 + n // 4, n % 4, pairs(3, first=n)) for n in range(1, 252)]
    full = core(ranges(pairs(247)), NOBODY, restrictions(*spread)) + "." + disclosed(field(range(1, 15_000, 2), 15_000))
    return {
        "a thousand ranges": core(ranges(pairs(1_000))),
        "the same range a thousand times": core(ranges([(1, 65_535)] * 1_000)),
        "as many restrictions as are allowed, with all ranges": core(restricted=restrictions(*spread)),
        "the longest bitfields": core(field(range(1, 65_535, 2), 65_535), field(range(1, 20_000, 2), 20_000)),
        "everything at once": full + "." + "g" * (TEXT_MAX - len(full) - 1),
        "five unknown parts": ".".join([core(), *["g" * 3_200] * 5]),
    }


HEAVY: Final = heavy()


def best_ms(text: str) -> float:
    """The quickest of a few tries: other work on the machine only ever makes a try slower."""
    tries = []
    for _ in range(7):
        begun = time.perf_counter()
        decode(text)
        tries.append(time.perf_counter() - begun)
    return min(tries) * 1_000


@pytest.mark.parametrize("case", HEAVY)
def test_the_heaviest_strings_within_the_caps_take_no_time_to_speak_of(case: str) -> None:
    text = HEAVY[case]
    assert len(text) <= TEXT_MAX
    read(text)
    assert best_ms(text) < 20  # ten times the figure of the bench


@pytest.mark.parametrize(
    "text", [*MANY.values(), "C" * 1_000_000, "." * TEXT_MAX, core() + "A" * 16_000 + "="], ids=lambda text: text[:12]
)
def test_what_is_over_a_cap_is_dismissed_at_once(text: str) -> None:
    decode(text)
    assert best_ms(text) < 2  # ten times the figure of the bench


# ------------------------------------------------------------------ properties


@st.composite
def strings(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A string written bit by bit, and what it must be read as."""
    values = {
        "version": 2,
        "created": draw(st.integers(0, 2**36 - 1)),
        "updated": draw(st.integers(0, 2**36 - 1)),
        "cmp": draw(st.integers(2, 4_095)),
        "cmp_version": draw(st.integers(0, 4_095)),
        "screen": draw(st.integers(0, 63)),
        "language": draw(st.integers(0, 25)) << 6 | draw(st.integers(0, 25)),
        "list": draw(st.integers(0, 4_095)),
        "policy": draw(st.integers(0, 63)),
        "service": draw(st.integers(0, 1)),
        "texts": draw(st.integers(0, 1)),
        "features": draw(st.integers(0, 2**12 - 1)),
        "purposes": draw(st.integers(0, 2**24 - 1)),
        "legitimate": draw(st.integers(0, 2**24 - 1)),
        "one": draw(st.integers(0, 1)),
        "country": 0,
    }
    section = st.sets(st.integers(1, 300), max_size=60)
    consents, interests, shown = draw(section), draw(section), draw(section)
    written = [as_section(draw, vendors) for vendors in (consents, interests, shown)]
    limited = draw(
        st.dictionaries(
            st.tuples(st.integers(1, 63), st.integers(0, 2)), st.sets(st.integers(1, 99), min_size=1), max_size=5
        )
    )
    listed = [(p, kind, [(n, n) for n in draw(st.permutations(sorted(ids)))]) for (p, kind), ids in limited.items()]
    header = [bits(value, width) for value, width in zip(values.values(), WIDTHS, strict=True)]
    text = text_of(*header, written[0], written[1], restrictions(*listed)) + "." + disclosed(written[2])
    expected: dict[str, object] = {
        "cmpId": values["cmp"],
        "policyVersion": values["policy"],
        "purposeConsents": [n for n in range(1, 25) if values["purposes"] >> (24 - n) & 1],
        "purposeLegitimateInterests": [n for n in range(1, 25) if values["legitimate"] >> (24 - n) & 1],
        "vendorConsents": sorted(consents),
        "vendorLegitimateInterests": sorted(interests),
        "vendorsDisclosed": sorted(shown),
        "publisherRestrictions": {f"{p}:{kind}": sorted(ids) for (p, kind), ids in limited.items()},
    }
    return text, expected


def as_section(draw: st.DrawFn, vendors: set[int]) -> str:
    if draw(st.booleans()):
        return field(sorted(vendors), draw(st.integers(max(vendors, default=0), 400)))
    listed = [(n, n) for n in draw(st.permutations(sorted(vendors)))]
    return ranges(listed, max(vendors, default=0))


def spread(value: object) -> object:
    """Range text as ids."""
    if not isinstance(value, str):
        return value
    ends = [part.split("-") for part in value.split(",") if part]
    return [n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)]


@quick
@given(strings())
def test_what_was_written_is_what_is_read(made: tuple[str, dict[str, object]]) -> None:
    text, expected = made
    said = told(read(text))
    found: dict[str, object] = {name: spread(said[name]) for name in expected}
    limited = said["publisherRestrictions"]
    assert isinstance(limited, dict)
    found["publisherRestrictions"] = {name: spread(vendors) for name, vendors in limited.items()}
    assert found == expected


@quick
@given(st.text(max_size=300) | st.text(ALPHABET + ".", max_size=300) | st.text(ALPHABET, max_size=300).map("C".__add__))
def test_no_text_makes_the_decoder_fail(text: str) -> None:
    tc = decode(text)
    assert tc == decode(text)
    if isinstance(tc, TcString):
        msgspec.json.encode(told(tc))


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_no_change_to_a_valid_string_makes_the_decoder_fail(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.text(ALPHABET + ".=+ é", max_size=3)) + text[at + cut :]
    tc = decode(text)
    assert tc == decode(text)
    if isinstance(tc, TcString):
        msgspec.json.encode(told(tc))


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_a_string_that_is_cut_anywhere_never_says_more(text: str, data: st.DataObject) -> None:
    whole = read(text)
    cut = decode(text[: data.draw(st.integers(0, len(text) - 1))])
    # A cut at a dot leaves fewer parts, one in the padding nothing less. All else is unreadable.
    if isinstance(cut, TcString):
        missing = {"disclosed_vendors", "allowed_vendors", "publisher"}
        kept = {
            name: getattr(whole, name)
            for name in TcString.__struct_fields__
            if name not in missing or getattr(cut, name) is not None
        }
        assert {name: getattr(cut, name) for name in kept} == kept


@quick
@given(st.text(ALPHABET, min_size=1, max_size=80), st.lists(st.integers(0, 40), max_size=30))
def test_fields_are_the_bits_of_the_text(text: str, widths: list[int]) -> None:
    line = "".join(bits(ALPHABET.index(letter), 6) for letter in text)
    reader, at = BitReader(text), 0
    for width in widths:
        if at + width > len(line):
            with pytest.raises(Broken):
                reader.take(width)
            break
        assert reader.take(width) == int(line[at : at + width] or "0", 2)
        at += width
    assert "".join(bits(byte, 8) for byte in reader.raw) == line.ljust(8 * len(reader.raw), "0")
    assert 8 * len(reader.raw) - len(line) >= 48


@pytest.mark.parametrize("text", ["", "====", "A===", "AA\nAA", "AAAA    "])
def test_text_that_holds_no_fields_is_refused(text: str) -> None:
    with pytest.raises(Broken):
        BitReader(text)


@quick
@given(st.sets(st.integers(1, 200)))
def test_a_bitfield_spells_out_what_it_contains(vendors: set[int]) -> None:
    tc = read(core(field(sorted(vendors), 200)))
    assert (
        spread(told(tc)["vendorConsents"]) == [n for n in range(1, 201) if n in tc.vendor_consents] == sorted(vendors)
    )


# ------------------------------------------------------------------ may it be used


def made(created: str, **changes: Any) -> TcString:
    """A string created on a day, otherwise in order."""
    days = date.fromisoformat(created) - date(1970, 1, 1)
    return msgspec.structs.replace(read(core()), created_ms=days.days * DAY_MS, **changes)


SHOWN: Final = Bitfield(1, 1)
USABLE: Final[dict[str, tuple[TcString, str]]] = {
    "in order": (made("2026-11-01", disclosed_vendors=SHOWN), ""),
    "without service scope": (made("2026-01-01", is_service_specific=False), "not_service_specific"),
    "policy 3 on the last day": (made("2023-09-30", policy_version=3), ""),
    "policy 3 a day later": (made("2023-10-01", policy_version=3), "policy_outdated"),
    "policy 4 later": (made("2024-10-01", policy_version=4), ""),
    "no disclosed vendors on the last day": (made("2026-02-28"), ""),
    "no disclosed vendors a day later": (made("2026-03-01"), "disclosed_vendors_missing"),
    "disclosed vendors, though none": (made("2026-03-01", disclosed_vendors=Bitfield(0, 0)), ""),
    "policy 5 does not stand for disclosed vendors": (
        made("2026-03-01", policy_version=5),
        "disclosed_vendors_missing",
    ),
    "policy 4 does not ask for them": (made("2026-02-01", policy_version=4), ""),
}


@pytest.mark.parametrize("case", USABLE)
def test_a_string_is_void_by_its_own_fields(case: str) -> None:
    tc, expected = USABLE[case]
    assert unusable(tc) == expected
    assert usable(tc, tc.created_ms) == (not expected, expected)


AGES: Final[dict[str, tuple[int, int | None, str]]] = {
    "old, and the operator sets no limit": (4_000, None, ""),
    "at the limit": (180, 180, ""),
    "a day over it": (181, 180, "expired"),
    "a day ahead, as time zones explain": (-1, 180, ""),
    "two days ahead": (-2, None, "created_in_future"),
}


@pytest.mark.parametrize("case", AGES)
def test_age_and_the_future_make_a_string_unusable(case: str) -> None:
    days, limit, expected = AGES[case]
    tc = made("2026-11-01", disclosed_vendors=SHOWN)
    assert usable(tc, tc.created_ms + days * DAY_MS, limit) == (not expected, expected)


def test_the_newest_string_counts_and_equals_stay_together() -> None:
    old, new, same = made("2026-01-01"), made("2026-02-01"), made("2026-02-01", cmp_id=9)
    assert newest([old, new, same]) == [new, same]
    assert newest([]) == []


def test_every_reason_to_refuse_a_string_is_written_down() -> None:
    for _, expected in CODES.values():
        assert f"`{expected}`" in (tcf.decode.__doc__ or "")
