"""The words everything else is written in: times, clocks, chance, purposes, refusals, fates, personal values, answers."""

import copy
import json
import math
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import purposes
from gateway.caller import RIGHTS, SENDING_RIGHTS, TRUSTS
from gateway.clock import ManualClock, SystemClock
from gateway.entropy import Entropy, SeededEntropy, SystemEntropy
from gateway.errors import CODES, Act, Busy, GatewayError, Kind, Refusal, SettingsError, StoreError
from gateway.event import ConversionClaim, Device, EventRow, Owed, Person, Personal, Recordable, Touch
from gateway.exchange import retry_after_ms
from gateway.outcome import FATE_SENTENCES, OPEN_FATES, REASONS, ConversionFate, DeliveryFate
from gateway.purposes import ALIASES, ALL_PURPOSES, PURPOSES, SENTENCES, Step, mask, names
from gateway.settings import Secret
from gateway.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, day_of, utc_text, year_of
from tests.support.properties import tried

quick = tried(200)
NOW: Final = 1_795_176_000_000  # 2026-11-20T12:00:00Z

# ------------------------------------------------------------------ times

WRITTEN: Final = {
    0: "1970-01-01T00:00:00.000Z",
    NOW + 7: "2026-11-20T12:00:00.007Z",
    -1: "1969-12-31T23:59:59.999Z",
    -62_135_596_800_000: "0001-01-01T00:00:00.000Z",
    -30_641_760_000_000: "0999-01-01T00:00:00.000Z",
    253_402_300_799_999: "9999-12-31T23:59:59.999Z",
}


@pytest.mark.parametrize(("at_ms", "text"), WRITTEN.items(), ids=WRITTEN.values())
def test_a_time_is_written_in_utc_with_milliseconds(at_ms: int, text: str) -> None:
    assert utc_text(at_ms) == text


@quick
@given(at_ms=st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_written_time_reads_back_and_sorts_like_its_number(at_ms: int) -> None:
    moment = datetime.fromisoformat(utc_text(at_ms))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    elapsed = moment - epoch
    assert (elapsed.days * 86_400 + elapsed.seconds) * 1_000 + elapsed.microseconds // 1_000 == at_ms
    assert len(utc_text(at_ms)) == 24
    assert year_of(at_ms) == moment.year
    assert day_of(at_ms) == elapsed.days


@pytest.mark.parametrize("at_ms", [253_402_300_800_000, -62_135_596_800_001, 10**18])
def test_a_time_outside_the_calendar_raises(at_ms: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        utc_text(at_ms)


def test_units_are_multiples_of_each_other() -> None:
    assert (SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS) == (1_000, 60_000, 3_600_000, 86_400_000)


# ------------------------------------------------------------------ clock and chance


def test_the_machines_clock_is_that_of_its_files_and_its_intervals_never_go_back(tmp_path: Path) -> None:
    clock = SystemClock()
    file = tmp_path / "now"
    file.touch()
    assert abs(clock.now_ms() - file.stat().st_mtime_ns // 1_000_000) < 60_000
    readings = [clock.monotonic_s() for _ in range(100)]
    assert readings == sorted(readings)


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(NOW)
    assert [clock.now_ms(), clock.now_ms(), clock.monotonic_s()] == [NOW, NOW, 0.0]
    clock.move(ms=1_500)
    assert (clock.now_ms(), clock.monotonic_s()) == (NOW + 1_500, 1.5)


@pytest.mark.parametrize("make", [SystemEntropy, SeededEntropy], ids=["of the system", "seeded"])
def test_chance_has_the_length_that_was_asked_for_and_fractions_below_one(make: Callable[[], Entropy]) -> None:
    entropy = make()
    for count in (0, 1, 16, 31, 32, 33, 100):
        assert len(entropy.token_bytes(count)) == count
    assert entropy.token_bytes(16) != entropy.token_bytes(16)
    fractions = [entropy.fraction() for _ in range(500)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    assert 0.4 < math.fsum(fractions) / 500 < 0.6


def test_seeded_chance_repeats_itself_and_differs_by_its_seed() -> None:
    assert SeededEntropy(b"a").token_bytes(40) == SeededEntropy(b"a").token_bytes(40)
    assert SeededEntropy(b"a").token_bytes(40) != SeededEntropy(b"b").token_bytes(40)


# ------------------------------------------------------------------ purposes


def test_every_purpose_has_one_bit_and_together_they_are_all() -> None:
    assert sum(PURPOSES.values()) == ALL_PURPOSES
    assert all(bit & bit - 1 == 0 for bit in PURPOSES.values())
    assert all(bits and bits & ~ALL_PURPOSES == 0 for bits in ALIASES.values())


@quick
@given(bits=st.integers(0, ALL_PURPOSES))
def test_a_set_of_purposes_reads_back_from_its_names(bits: int) -> None:
    assert mask(names(bits)) == bits


def test_a_purpose_outside_the_list_is_no_purpose() -> None:
    with pytest.raises(KeyError):
        mask(["marketing"])
    assert names(1 << 20) == ()


def test_every_step_has_its_sentences_and_the_steps_are_in_their_order() -> None:
    assert SENTENCES.keys() == set(Step)
    assert [step.value for step in Step] == list(range(1, 9))
    assert all(any(pair) for pair in SENTENCES.values())


@pytest.mark.parametrize("word", purposes.__all__)
def test_every_word_of_consent_is_there(word: str) -> None:
    assert hasattr(purposes, word)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_is_answered_with_its_code_its_sentence_and_where_to_read(code: str) -> None:
    row = CODES[code]
    assert isinstance(row.kind, Kind)
    assert isinstance(row.act, Act)
    assert row.act is not Act.NOBODY, "somebody can do something about every refusal"
    body = Refusal(code, "events[3].value").body()
    assert body == {
        "error": {
            "code": code,
            "message": row.message,
            "field": "events[3].value",
            "docs": f"docs/reference/errors.md#{code}",
        }
    }
    assert json.dumps(body)
    assert "events[3].value" not in json.dumps(Refusal(code).body())


def test_a_code_outside_the_list_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        Refusal("nonsense")


def test_busy_says_when_to_come_back() -> None:
    assert Busy().code == "busy"
    assert Busy("rate_limited", retry_after_s=7).retry_after_s == 7
    assert CODES["busy"].act is Act.TIME


def test_settings_errors_list_every_problem() -> None:
    error = SettingsError(["first", "second"])
    assert error.problems == ["first", "second"]
    assert str(error) == "first; second"


def test_everything_raised_on_purpose_has_one_root() -> None:
    for kind in (Refusal, SettingsError, StoreError):
        assert issubclass(kind, GatewayError)


# ------------------------------------------------------------------ fates


def test_every_fate_has_its_sentence_and_every_sentence_its_fate() -> None:
    fates = {fate.value for fate in DeliveryFate} | {fate.value for fate in ConversionFate}
    assert FATE_SENTENCES.keys() == fates
    assert {DeliveryFate.WAITING} == OPEN_FATES


def test_every_reason_says_who_must_act() -> None:
    for code, reason in REASONS.items():
        assert isinstance(reason.act, Act), code
        assert reason.sentence.endswith("."), code


def test_how_far_a_caller_is_believed_is_a_closed_list() -> None:
    assert TRUSTS == ("browser", "token", "server", "signed")
    assert RIGHTS == ("events", "conversions", "consent", "manage", "reports")
    assert RIGHTS[:3] == SENDING_RIGHTS


# ------------------------------------------------------------------ personal values

SECRET: Final = "jane@mail.example"
SHOWN: Final[dict[str, Callable[[object], str]]] = {
    "printed": str,
    "as repr": repr,
    "in a text": lambda value: f"{value}",
    "in a text as repr": lambda value: f"{value!r}",
    "in an old text": lambda value: "%s %r" % (value, value),  # noqa: UP031 - this way of writing is what is tested
    "in a list": lambda value: str([value]),
    "in a dict": lambda value: str({"a": value}),
    "in an error": lambda value: str(ValueError(value)),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN.keys())
@pytest.mark.parametrize("wrap", [Personal, Secret], ids=["a personal value", "a secret"])
def test_a_value_that_must_not_be_seen_is_not_seen(
    wrap: type[Personal] | type[Secret], show: Callable[[object], str]
) -> None:
    shown = show(wrap(SECRET))
    assert SECRET not in shown
    assert "***" in shown


def test_a_person_is_not_seen_either() -> None:
    person = Person(email=(Personal(SECRET),), last_name=Personal("Doe-Secret"))
    device = Device(ip=Personal("198.51.100.7"))
    assert not any(text in f"{person!r}{device}" for text in (SECRET, "Doe-Secret", "198.51"))


@pytest.mark.parametrize("wrap", [Personal, Secret], ids=["a personal value", "a secret"])
def test_a_value_that_must_not_be_seen_cannot_be_written_as_json(wrap: type[Personal] | type[Secret]) -> None:
    value = wrap(SECRET)
    for write in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, json.dumps):
        with pytest.raises(TypeError):
            write(value)


def test_a_personal_value_cannot_be_pickled_or_copied() -> None:
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(Personal(SECRET))


@pytest.mark.parametrize("wrap", [Personal, Secret], ids=["a personal value", "a secret"])
def test_a_hidden_value_is_equal_to_itself_only(wrap: type[Personal] | type[Secret]) -> None:
    assert wrap(SECRET) == wrap(SECRET)
    assert wrap(SECRET) != wrap("other")
    assert wrap(SECRET) != SECRET
    assert len({wrap(SECRET), wrap(SECRET), wrap("other")}) == 2
    assert wrap(SECRET).reveal() == SECRET


def test_every_value_of_a_person_is_listed_for_scrubbing() -> None:
    single = [field for field in Person.__struct_fields__ if field not in {"email", "phone"}]
    person = Person(
        email=(Personal("e1"), Personal("e2")),
        phone=(Personal("p1"),),
        **{field: Personal(field) for field in single},
    )
    assert sorted(value.reveal() for value in person.values()) == sorted([*single, "e1", "e2", "p1"])
    assert Person().values() == ()


EVENT: Final = EventRow("shop", "event-0001", "page_view", "browser", NOW, NOW, "none", None, b"{}")
OWING: Final = {
    "a delivery": Recordable(event=EVENT, owed=(Owed(destination="meta", fate="withheld", reason="bot"),)),
    "a conversion": Recordable(event=EVENT, conversion=ConversionClaim("sale", "o:1", "1", None, None)),
    "a touch": Recordable(event=EVENT, touch=Touch("click", NOW, b"k", None, None, None)),
}


def test_an_event_that_owes_nobody_anything_is_plain() -> None:
    assert Recordable(event=EVENT).plain
    assert not any(made.plain for made in OWING.values())


# ------------------------------------------------------------------ Retry-After

RETRY: Final[dict[str, tuple[str | None, int | None]]] = {
    "seconds": ("5", 5_000),
    "no seconds": ("0", 0),
    "with spaces around": (" 7 ", 7_000),
    "longer than a day": ("99999999", DAY_MS),
    "an absurd number": ("9" * 100, DAY_MS),
    "below zero": ("-5", 0),
    "a date": ("Fri, 20 Nov 2026 12:01:00 GMT", 60_000),
    "a date with an offset": ("Fri, 20 Nov 2026 13:01:00 +0100", 60_000),
    "a date without a zone": ("Fri, 20 Nov 2026 12:01:00 -0000", 60_000),
    "a date in the oldest form": ("Fri Nov 20 12:01:00 2026", 60_000),
    "a date gone by": ("Fri, 20 Nov 2026 11:59:59 GMT", 0),
    "a date far away": ("Fri, 20 Nov 2099 12:00:00 GMT", DAY_MS),
    "a fraction": ("1.5", None),
    "a word": ("soon", None),
    "nothing": ("", None),
    "no header": (None, None),
    "digits of another script": ("\u0665", None),
    "a day that does not exist": ("Fri, 31 Feb 2026 12:00:00 GMT", None),
    "a date of a million": ("Fri, 20 Nov 1000000 12:00:00 GMT", None),
}


@pytest.mark.parametrize(("text", "wait_ms"), RETRY.values(), ids=RETRY.keys())
def test_a_retry_after_of(text: str | None, wait_ms: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of the machine must not matter: a date without a zone is UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_ms(text, NOW) == wait_ms
    finally:
        monkeypatch.undo()
        time.tzset()


@quick
@given(text=st.text() | st.text("0123456789- :,FriNovGMT+"))
def test_no_retry_after_raises_or_waits_longer_than_a_day(text: str) -> None:
    wait_ms = retry_after_ms(text, NOW)
    assert wait_ms is None or 0 <= wait_ms <= DAY_MS
