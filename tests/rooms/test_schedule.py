"""Schedule: waits stay between their bounds, a breaker opens and closes as told, a bucket lets through what it may."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import ManualClock
from gateway.entropy import SeededEntropy
from gateway.schedule import FACTOR, OPEN_AFTER, PROBE_MS, WINDOW, Breaker, Bucket, backoff_ms
from tests.support.properties import tried

NOW: Final = 1_795_176_000_000
quick = tried(150)

# ------------------------------------------------------------------ the back-off

BASES = st.integers(1, 600_000)
CAPS = st.integers(1, 86_400_000)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@quick
@given(attempt=st.integers(1, 10_000), base_ms=BASES, cap_ms=CAPS, fraction=FRACTIONS)
def test_a_wait_is_a_share_of_its_ceiling_and_at_least_a_tenth(
    attempt: int, base_ms: int, cap_ms: int, fraction: float
) -> None:
    ceiling = min(base_ms * FACTOR ** min(attempt - 1, 60), cap_ms)
    wait = backoff_ms(attempt, base_ms, cap_ms, fraction)
    assert ceiling // 10 <= wait <= ceiling
    if fraction > 0.1:
        assert wait == int(ceiling * fraction)


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 5_000), (2, 15_000), (3, 45_000), (6, 1_215_000), (7, 3_600_000), (99, 3_600_000)]
)
def test_ceilings_triple_until_the_cap(attempt: int, ceiling: int) -> None:
    assert backoff_ms(attempt, 5_000, 3_600_000, 0.999_999_999) == ceiling - 1
    assert backoff_ms(attempt, 5_000, 3_600_000, 0.0) == ceiling // 10


def test_waits_of_many_spread_over_the_whole_ceiling() -> None:
    entropy = SeededEntropy(b"spread")
    waits = [backoff_ms(4, 1_000, 10**9, entropy.fraction()) for _ in range(300)]
    assert min(waits) < 27_000 * 0.15
    assert max(waits) > 27_000 * 0.95


# ------------------------------------------------------------------ the breaker


def after(breaker: Breaker, answers: str) -> Breaker:
    """Feed answers, `.` for a success and `x` for a failure, one second apart."""
    for at, answer in enumerate(answers):
        breaker = breaker.after(answer == ".", NOW + at * 1_000)
    return breaker


ANSWERS: Final = {
    "nothing yet": ("", False),
    "nine failures in a row": ("x" * 9, False),
    "ten failures in a row": ("x" * 10, True),
    "ten failures with one success between": ("x" * 9 + "." + "x" * 9, False),
    "half of the last fifty": (".x" * 25, True),
    "fewer than half of the last fifty": (".x" * 24 + "..", False),
    "half of fewer than fifty": (".x" * 24, False),
    "failures that are longer ago than fifty": ("x" * 9 + "." * 50, False),
    "a success after it opened": ("x" * 10 + ".", False),
}


@pytest.mark.parametrize(("answers", "is_open"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_breaker_is_open_after(answers: str, is_open: bool) -> None:
    assert after(Breaker(), answers).is_open is is_open


def test_a_closed_breaker_lets_everything_pass_at_once() -> None:
    assert Breaker().allows_at_ms(NOW) == NOW


def test_an_open_breaker_lets_one_probe_pass_every_thirty_seconds() -> None:
    opened = after(Breaker(), "x" * OPEN_AFTER)
    assert opened.opened_at_ms == NOW + 9_000
    assert opened.allows_at_ms(NOW + 9_000) == NOW + 9_000 + PROBE_MS
    assert opened.allows_at_ms(NOW + 9_000 + PROBE_MS) == NOW + 9_000 + PROBE_MS
    failed = opened.after(False, NOW + 60_000)
    assert failed.allows_at_ms(NOW + 60_000) == NOW + 60_000 + PROBE_MS
    assert not failed.after(True, NOW + 90_000).is_open


@quick
@given(answers=st.text(".x", max_size=120))
def test_a_breaker_is_open_exactly_when_its_rule_says_so(answers: str) -> None:
    is_open, in_row = False, 0
    for at, answer in enumerate(answers, 1):
        in_row = in_row + 1 if answer == "x" else 0
        last = answers[max(0, at - WINDOW) : at]
        trips = in_row >= OPEN_AFTER or (len(last) == WINDOW and last.count("x") * 2 >= WINDOW)
        is_open = answer == "x" and (trips or is_open)
    assert after(Breaker(), answers).is_open is is_open


# ------------------------------------------------------------------ the bucket


def test_a_bucket_lets_a_sixth_of_a_minute_through_at_once_and_then_at_its_rate() -> None:
    clock = ManualClock(NOW)
    bucket = Bucket(1_200, clock.monotonic_s())
    assert [bucket.take(clock.monotonic_s()) for _ in range(200)] == [0.0] * 200
    assert bucket.take(clock.monotonic_s()) == pytest.approx(0.05)
    clock.move(ms=49)
    assert bucket.take(clock.monotonic_s()) > 0
    clock.move(ms=2)
    assert bucket.take(clock.monotonic_s()) == 0.0


def test_a_bucket_that_rested_for_a_day_lets_no_more_through_at_once() -> None:
    clock = ManualClock(NOW)
    bucket = Bucket(1_200, clock.monotonic_s())
    clock.move(ms=86_400_000)
    assert [bucket.take(clock.monotonic_s()) for _ in range(201)].count(0.0) == 200


def test_a_small_bucket_still_lets_ten_through() -> None:
    bucket = Bucket(1, 0.0)
    assert [bucket.take(0.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(0.0) == pytest.approx(60.0)


@quick
@given(
    per_minute=st.integers(1, 6_000),
    steps=st.lists(st.tuples(st.floats(-5, 300), st.integers(1, 20)), max_size=60),
)
def test_no_bucket_lets_more_through_than_its_burst_and_its_rate(
    per_minute: int, steps: list[tuple[float, int]]
) -> None:
    now_s = latest_s = 1_000.0
    bucket = Bucket(per_minute, now_s)
    taken = 0
    for wait_s, tokens in steps:
        now_s = max(latest_s, now_s + wait_s)
        latest_s = now_s
        answer = bucket.take(now_s, tokens)
        assert answer >= 0
        taken += tokens if answer == 0.0 else 0
    assert taken <= max(10.0, per_minute / 6) + (latest_s - 1_000.0) * per_minute / 60 + 1e-6


@quick
@given(per_minute=st.integers(1, 6_000), rounds=st.integers(1, 30))
def test_whoever_waits_as_told_gets_through(per_minute: int, rounds: int) -> None:
    bucket = Bucket(per_minute, 0.0)
    now_s = 0.0
    for _ in range(rounds):
        wait_s = bucket.take(now_s)
        if wait_s:
            now_s += wait_s + 1e-6
            assert bucket.take(now_s) == 0.0
