"""Times in files: what is an instant, what is told apart in the nights when clocks are put, what is refused."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.protocols.offline_times import birth_date, read_time, read_zone, years_between
from tests.support.properties import tried

BERLIN: Final = read_zone("Europe/Berlin")
quick = tried(300)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


INSTANTS: Final = {
    "local to the file's zone": ("2026-11-14 10:30:00", "iso", "2026-11-14T09:30:00+00:00"),
    "summer time": ("2026-07-14T10:30", "iso", "2026-07-14T08:30:00+00:00"),
    "with an offset": ("2026-01-14 10:30:00+11:00", "iso", "2026-01-13T23:30:00+00:00"),
    "with a short offset": ("2026-01-14T10:30:00+0100", "iso", "2026-01-14T09:30:00+00:00"),
    "with hours only": ("2026-01-14T10:30:00-05", "iso", "2026-01-14T15:30:00+00:00"),
    "with a space before the offset": ("2026-01-14 10:30:00 +01:00", "iso", "2026-01-14T09:30:00+00:00"),
    "UTC": ("2026-01-14T10:30Z", "iso", "2026-01-14T10:30:00+00:00"),
    "milliseconds": ("2026-01-14T10:30:00.125Z", "iso", "2026-01-14T10:30:00.125+00:00"),
    "a comma before the fraction": ("2026-01-14T10:30:00,5Z", "iso", "2026-01-14T10:30:00.500+00:00"),
    "Google, half of the day": ("08/14/2026 5:01:54 PM", "google", "2026-08-14T15:01:54+00:00"),
    "Google, midnight": ("08/14/2026 12:00:00 AM", "google", "2026-08-13T22:00:00+00:00"),
    "Google, noon": ("8/4/2026 12:00:00 pm", "google", "2026-08-04T10:00:00+00:00"),
    "Google, month as a word": ("Aug 14, 2026 5:01:54 PM", "google", "2026-08-14T15:01:54+00:00"),
    "Google, month as a word without space": ("Aug 14,2026 17:01:54", "google", "2026-08-14T15:01:54+00:00"),
    "Google, zone behind it": ("2026-08-14 13:00:00 America/Los_Angeles", "google", "2026-08-14T20:00:00+00:00"),
    "Google, offset behind it": ("08/14/2026 17:01:54+0500", "google", "2026-08-14T12:01:54+00:00"),
    "Meta, seconds": ("1715302704", "meta", "2024-05-10T00:58:24+00:00"),
    "Meta, ISO": ("2017-01-10T03:21:48Z", "meta", "2017-01-10T03:21:48+00:00"),
}


@pytest.mark.parametrize("case", INSTANTS)
def test_a_time_is_the_instant_it_names(case: str) -> None:
    text, dialect, expected = INSTANTS[case]
    assert read_time(text, BERLIN, dialect) == (ms(expected), False)


REFUSED: Final = {
    "a date": ("2026-01-14", "iso", "time_format"),
    "nothing": ("", "iso", "time_format"),
    "words": ("yesterday", "iso", "time_format"),
    "US date in our own file": ("08/14/2026 17:01:54", "iso", "time_format"),
    "seconds in our own file": ("1715302704", "iso", "time_format"),
    "milliseconds in Meta's": ("1715302704000", "meta", "time_format"),
    "13 in the afternoon": ("08/14/2026 13:01:54 PM", "google", "time_format"),
    "month 13": ("2026-13-01 00:00", "iso", "time_format"),
    "30 February": ("2026-02-30 00:00", "iso", "time_format"),
    "24 o'clock": ("2026-02-03 24:00", "iso", "time_format"),
    "no such month": ("Foo 14,2026 17:01:54", "google", "time_format"),
    "an offset of a day": ("2026-01-14 10:30+24:00", "iso", "zone_unknown"),
    "no such zone": ("2026-01-14 10:30:00 Mars/Olympus", "google", "zone_unknown"),
    "digits of another script": ("２０２６-01-14 10:30", "iso", "time_format"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_names_no_instant_is_refused(case: str) -> None:
    text, dialect, code = REFUSED[case]
    with pytest.raises(Refusal) as refused:
        read_time(text, BERLIN, dialect)
    assert refused.value.code == code


def test_a_local_time_that_came_twice_is_the_earlier_and_says_so() -> None:
    assert read_time("2026-10-25 02:30:00", BERLIN) == (ms("2026-10-25T02:30:00+02:00"), True)
    assert read_time("2026-10-25 01:59:59", BERLIN) == (ms("2026-10-25T01:59:59+02:00"), False)
    assert read_time("2026-10-25 03:00:00", BERLIN) == (ms("2026-10-25T03:00:00+01:00"), False)


def test_with_an_offset_both_halves_of_that_night_can_be_told() -> None:
    first = read_time("2026-10-25 02:30:00+02:00", BERLIN)
    second = read_time("2026-10-25 02:30:00+01:00", BERLIN)
    assert (second.at_ms - first.at_ms, first.ambiguous, second.ambiguous) == (3_600_000, False, False)


def test_a_local_time_that_never_came_is_refused() -> None:
    for text in ("2026-03-29 02:00:00", "2026-03-29 02:30", "2026-03-29 02:59:59"):
        with pytest.raises(Refusal, match="time_nonexistent"):
            read_time(text, BERLIN)
    assert not read_time("2026-03-29 03:00:00", BERLIN).ambiguous


def test_half_an_hour_counts_too_where_clocks_are_put_by_half_an_hour() -> None:
    island = read_zone("Australia/Lord_Howe")
    assert read_time("2026-04-05 01:45", island).ambiguous
    with pytest.raises(Refusal, match="time_nonexistent"):
        read_time("2026-10-04 02:15", island)


@quick
@given(at_s=st.integers(1_735_689_600, 1_798_761_600), zone=st.sampled_from(["Europe/Berlin", "UTC"]))
def test_every_instant_is_found_again_from_its_local_time_or_is_the_second_of_two(at_s: int, zone: str) -> None:
    there = read_zone(zone)
    found = read_time(datetime.fromtimestamp(at_s, there).strftime("%Y-%m-%d %H:%M:%S"), there)
    told = at_s * 1_000
    assert found.at_ms == told or (found.ambiguous and told - found.at_ms == 3_600_000)


@quick
@given(text=st.text(max_size=60), dialect=st.sampled_from(["iso", "google", "meta"]))
def test_any_text_is_an_instant_or_refused(text: str, dialect: str) -> None:
    with suppress(Refusal):
        assert isinstance(read_time(text, BERLIN, dialect).at_ms, int)


# ------------------------------------------------------------------ zones


@pytest.mark.parametrize(
    ("name", "offset"),
    [("+0100", 60), ("-05:30", -330), ("+14", 840), ("Z", 0), ("UTC", 0), ("Etc/GMT+5", -300), ("Asia/Kolkata", 330)],
)
def test_a_zone_is_a_name_or_an_offset(name: str, offset: int) -> None:
    assert datetime(2026, 1, 1, tzinfo=read_zone(name)).utcoffset() == timedelta(minutes=offset)


@pytest.mark.parametrize(
    "name",
    [
        "", "Mars/Olympus", "Europe", "europe", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules", "Factory",
        "right/Europe/Berlin", "posix/UTC", "leapseconds", "tzdata.zi", "+9999", "+01:3", "+1", "Europe/Berlin\0", "A" * 300,
        "Europe/Berlin\n", "zone.tab",
    ],
)  # fmt: skip
def test_what_is_no_zone_is_refused_and_no_other_file_is_opened(name: str) -> None:
    with pytest.raises(Refusal, match="zone_unknown"):
        read_zone(name)


# ------------------------------------------------------------------ birth


@pytest.mark.parametrize(
    ("text", "birth_year", "expected"),
    [
        ("10/21/68", None, "1968-10-21"),
        ("1/5/16", None, "2016-01-05"),
        ("1/5/26", None, "2026-01-05"),
        ("1/5/27", None, "1927-01-05"),
        ("1/5/16", 1916, "1916-01-05"),
        ("1/5/16", 1970, "2016-01-05"),
        ("10-21-1968", None, "1968-10-21"),
        ("1968-10-21", None, "1968-10-21"),
        ("19681021", None, "1968-10-21"),
        ("a" * 64, None, "a" * 64),
    ],
)
def test_a_date_of_birth_is_written_in_one_way(text: str, birth_year: int | None, expected: str) -> None:
    assert birth_date(text, 2026, birth_year) == expected


@pytest.mark.parametrize("text", ["13/21/68", "2/30/68", "68", "", "21.10.1968", "0000-00-00", "1968-10"])
def test_what_is_no_date_of_birth_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="field_invalid"):
        birth_date(text, 2026)


def test_years_are_full_on_the_day_itself() -> None:
    eve, day = ms("2026-11-19T23:59:59+00:00"), ms("2026-11-20T00:00:00+00:00")
    assert (years_between("2008-11-20", eve), years_between("2008-11-20", day)) == (17, 18)
