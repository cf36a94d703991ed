"""The small parts: checks that read values strictly, and the ledger's arithmetic of effects."""

from typing import TYPE_CHECKING

import pytest

from gateway.sandbox.call import Call
from gateway.sandbox.checks import (
    address,
    amount,
    clear_value,
    currency,
    digest,
    no_clear_values,
    number,
    one_of,
    parse_json,
    rfc3339_ms,
    whole,
)
from gateway.sandbox.ledger import Ledger, content_key

if TYPE_CHECKING:
    from gateway.sandbox.checks import Problem


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-20T12:00:00Z", 1_795_176_000_000),
        ("2026-11-20T12:00:00.123456Z", 1_795_176_000_123),
        ("2026-11-20T13:00:00+01:00", 1_795_176_000_000),
        ("2026-11-20T12:00:00", None),
        ("2026-11-20 12:00:00Z", None),
        ("2026-13-20T12:00:00Z", None),
        ("2026-11-20T12:00:00.Z", None),
        ("1795176000", None),
        ("1969-12-31T23:59:59.5Z", -500),
    ],
)
def test_rfc_3339_is_read_exactly(text: str, ms: int | None) -> None:
    assert rfc3339_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "clear"),
    [
        ("john@shop.example", True),
        ("mail%3Djohn%40shop.example", True),
        ("call +4915112345678 now", True),
        ("order 4915112345678", False),
        ("2026-11-20T12:00:00+01:00", False),
        ("https://social.example/@john", False),
        ("a" * 200_000, False),
        ("@" * 200_000, False),
        ("", False),
    ],
)
def test_clear_values_are_recognised_in_little_time(text: str, clear: bool) -> None:
    assert clear_value(text) is clear


@pytest.mark.parametrize(
    ("check", "value", "rule"),
    [
        (whole(), True, "type"),
        (whole(), 1.0, "type"),
        (whole(), "1", "type"),
        (whole(least=1), 0, "range"),
        (number, "1", "type"),
        (number, None, "type"),
        (amount, -0.01, "negative"),
        (currency(), "eur", "currency"),
        (currency(lower=True), "EUR", "currency"),
        (currency(), "EURO", "currency"),
        (digest(), "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "digest_empty"),
        (digest(md5=True), "d41d8cd98f00b204e9800998ecf8427e", "digest_empty"),
        (address(public=True), "::ffff:10.0.0.1", "private"),
        (address(public=True), "169.254.169.254", "private"),
        (address(), " 8.8.8.8", "format"),
        (address(), 134744072, "type"),
        (currency(), 978, "type"),
        (one_of("a", "b"), 1, "type"),
        (one_of("a", "b"), "A", "enum"),
        (number, float("inf"), "range"),
    ],
)
def test_a_check_names_the_rule_and_never_the_value(check: object, value: object, rule: str) -> None:
    out: list[Problem] = []
    assert callable(check)
    check(value, "a.b", out)
    assert [(one.path, one.rule) for one in out] == [("a.b", rule)]
    assert value is None or len(str(value)) < 5 or str(value) not in out[0].message


def test_clear_values_are_found_at_any_depth_and_in_keys() -> None:
    out: list[Problem] = []
    no_clear_values({"a": ["x", {"b": "john@shop.example"}], "+4915112345678": 1}, "p", out)
    assert [one.path for one in out] == ["p.a[1].b", "p"]


def test_json_is_read_strictly() -> None:
    assert parse_json(b'{"a": 1}') == {"a": 1}
    for text in (b"", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b"{'a': 1}"):
        with pytest.raises(ValueError, match="not JSON"):
            parse_json(text)


def test_effects_are_counted_by_key_and_window() -> None:
    ledger = Ledger()
    assert ledger.count("k", 0, window_ms=10)
    assert not ledger.count("k", 10, window_ms=10)
    assert ledger.count("k", 11, window_ms=10)
    assert ledger.count("none", 0, dedup=False)
    assert ledger.count("none", 0, dedup=False)
    assert ledger.effects() == {"k": 2, "none": 2}
    assert ledger.double_effects() == {"k": 1, "none": 1}
    assert ledger.repeats() == {"k": 1}
    ledger.clear()
    assert ledger.effects() == {}


def test_the_same_content_has_the_same_key_whatever_its_order() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_a_request_is_kept_without_secrets_and_readable_in_every_form() -> None:
    ledger = Ledger()
    call = Call(
        method="POST",
        host="h.example",
        path="/p",
        at_ms=1,
        query=(("api_secret", "hidden-1"), ("v", "shown")),
        headers={"authorization": "Bearer hidden-2", "x-note": "seen"},
        body=b"e=john%40shop.example",
    )
    ledger.note(call, body=call.body, fault=None)
    text = ledger.everything_text()
    assert "hidden" not in text
    for part in ("v=shown", "x-note: seen", "john%40shop.example", "john@shop.example"):
        assert part in text
