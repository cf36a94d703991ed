"""What holds for every text: no exception, one fate, no digest of nothing, the same result when done twice."""

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given, note
from hypothesis import strategies as st

from gateway.destinations.hashing import EMPTY_MD5, EMPTY_SHA256
from gateway.destinations.normalize import (
    FIELDS,
    Context,
    Drop,
    Normalized,
    cookie_domain,
    meta_browser_ids,
    normalize,
    phone_e164,
    rule_of,
)
from gateway.destinations.normalize.text import clean
from tests.support.properties import tried

VECTORS = Path(__file__).parents[2] / "vectors" / "normalization-meta-google.json"
ALL_FIELDS = [(platform, field) for platform, fields in FIELDS.items() for field in fields]
REASONS = {why.value for why in Drop}

ANYTHING = st.text(st.characters(exclude_categories=()))
"""Every code point: lone surrogates, NUL, emoji, right-to-left, unassigned."""

TELLING = st.text(
    st.sampled_from(
        "aAbmMfFtTzZxX019+@.,;:#-/() \t\n\x00'\"<"
        "\u00a0\u00ad\u200b\u200e\ufeff\u0301\u0307\u0323İßΣς\u0669\uff11\uff0b\u2011\U0001f600\ud800"
    )
)
"""Characters that some rule looks at."""

WRITTEN = st.sampled_from(
    [
        row["input"]
        for row in msgspec.json.decode(VECTORS.read_bytes(), type=dict[str, Any])["vectors"]
        if isinstance(row["input"], str)
    ]
)
"""What people write: the inputs of the vectors, for whatever field they were meant."""


def inserted(text: str, more: str, at: int) -> str:
    return text[:at] + more + text[at:]


LIKELY = st.one_of(
    WRITTEN,
    st.builds(inserted, WRITTEN, TELLING, st.integers(0, 20)),
    st.emails(),
    st.from_regex(r"[+0]?[0-9 ().-]{6,18}( ?(x|ext\.?) ?[0-9]{1,4})?", fullmatch=True),
    st.from_regex(r"[0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4}", fullmatch=True),
    st.from_regex(r"(Mr\. |Dr\.)?[A-Z][a-z]+[- ][A-Z][a-z]+(, Jr\.| III|,MD)*", fullmatch=True),
    st.from_regex(r"[0-9A-Fa-f]{32}([0-9A-Fa-f]{32})?", fullmatch=True),
    st.ip_addresses().map(str),
)
VALUES = st.one_of(ANYTHING, TELLING, LIKELY)
DOMAINS = st.from_regex(r"([a-z0-9-]{1,8}\.){0,3}[a-z]{2,6}(:[0-9]{1,5})?", fullmatch=True)
CONTEXTS = st.builds(
    Context,
    year=st.integers(1900, 2100),
    country=st.sampled_from([None, "us", "ca", "de"]),
    default_calling_code=st.sampled_from([None, "1", "49", "356"]),
)

NOT_REPEATABLE = {
    ("meta", "ph"): "the plus is gone, so the digits may be read as a national number",
    ("meta", "f5first"): "the cut may end in a space",
    ("meta", "f5last"): "the cut may end in a space",
    ("google", "given_name"): "one title goes, a second stays",
    ("google", "family_name"): "two spaces end the row of suffixes, and trimming removes them",
}
"""Fields where a second pass may change the result, and why."""


@tried(400)
@given(VALUES, CONTEXTS)
@example("a" * 1_000_000, Context(year=2026))
@example("\U0001f600" * 1_000_000, Context(year=2026))
def test_every_text_is_sent_or_dropped(value: str, context: Context) -> None:
    for platform, field in ALL_FIELDS:
        rule = rule_of(platform, field)
        got = normalize(platform, field, value, context)
        note(f"{platform}.{field}")

        assert EMPTY_SHA256 not in (got.send, got.sha256)
        assert got.send != EMPTY_MD5
        if got.drop:
            assert got.reason in REASONS
            assert got == Normalized(drop=True, reason=got.reason)
        elif got.already_hashed:
            assert got == Normalized(send=got.send, already_hashed=True)
            assert re.fullmatch(r"[0-9a-f]+", got.send or "")
            assert len(got.send or "") in rule.digests
        else:
            assert got.normalized
            assert got.reason is None
            digest = hashlib.sha256(got.normalized.encode()).hexdigest()
            assert (got.send, got.sha256) == ((digest, digest) if rule.hashed else (got.normalized, None))


@tried(400)
@given(VALUES, CONTEXTS)
def test_doing_it_twice_changes_nothing(value: str, context: Context) -> None:
    """For results that are composed. Lower-casing and deleting can bring a letter and its accent together (`J̌` has a
    composed form only in lower case); the rules compose once, at the beginning, as the vectors do."""
    for platform, field in ALL_FIELDS:
        once = normalize(platform, field, value, context).normalized
        if once is None or (platform, field) in NOT_REPEATABLE or not unicodedata.is_normalized("NFC", once):
            continue
        if len(once) in rule_of(platform, field).digests or once.startswith("mailto:"):
            continue  # what is left looks like a digest, or begins with a second prefix
        assert normalize(platform, field, once, context).normalized == once, (platform, field)


@tried(200)
@given(VALUES, CONTEXTS)
def test_composed_and_decomposed_texts_are_the_same(value: str, context: Context) -> None:
    composed, decomposed = (unicodedata.normalize(form, value) for form in ("NFC", "NFD"))
    for platform, field in ALL_FIELDS:
        got = normalize(platform, field, value, context)
        assert got == normalize(platform, field, composed, context), (platform, field)
        assert got == normalize(platform, field, decomposed, context), (platform, field)


@tried(200)
@given(LIKELY, st.sampled_from("\u00ad\u200b\u200d\u200f\u2060\ufeff"), st.integers(0, 40), CONTEXTS)
def test_what_nobody_sees_changes_nothing(value: str, invisible: str, at: int, context: Context) -> None:
    """In front of a combining mark it does: it keeps the mark from its letter until composing is over."""
    if unicodedata.category(value[at : at + 1] or " ")[0] == "M":
        return
    for platform, field in ALL_FIELDS:
        got = normalize(platform, field, inserted(value, invisible, at), context)
        assert got == normalize(platform, field, value, context), (platform, field)


@tried(100)
@given(VALUES, st.sampled_from([None, "1", "49"]))
def test_a_phone_number_is_e164_or_nothing(value: str, code: str | None) -> None:
    text = clean(value)
    got = text if isinstance(text, Drop) else phone_e164(text, code)
    assert isinstance(got, Drop) or re.fullmatch(r"\+[1-9][0-9]{6,14}", got)


@tried(100)
@given(VALUES)
def test_clean_leaves_text_that_can_be_written(value: str) -> None:
    got = clean(value)
    if not isinstance(got, Drop):
        assert got
        assert got == got.strip()
        assert got.encode().decode() == got


@tried(100)
@given(
    host=st.one_of(VALUES, DOMAINS),
    fbclid=st.none() | VALUES,
    referrer=st.none() | VALUES | VALUES.map("https://shop.example/?fbclid={}".format),
    cookies=st.dictionaries(st.sampled_from(["_fbc", "_fbp"]), VALUES | VALUES.map("fb.1.1596403881668.{}".format)),
    site_domains=st.lists(VALUES | DOMAINS),
)
def test_browser_ids_never_raise_and_never_leave_a_cookie(
    host: str, fbclid: str | None, referrer: str | None, cookies: dict[str, str], site_domains: list[str]
) -> None:
    got = meta_browser_ids(
        host=host,
        fbclid=fbclid,
        referrer=referrer,
        cookies=cookies,
        now_ms=1_767_225_600_123,
        random_number=7,
        site_domains=site_domains,
    )
    shape = r"fb\.[0-9]+\.[0-9]+\.[^\s.;,\"\\\x00-\x20\x7f-\U0010ffff]+(\.[A-Za-z0-9_-]{2,8})?"
    assert re.fullmatch(shape, got.fbp)
    assert got.fbc is None or re.fullmatch(shape, got.fbc)
    assert got.set_fbp_cookie or got.fbp == cookies["_fbp"]
    assert got.set_fbc_cookie or got.fbc in (None, cookies.get("_fbc"))
    domain = cookie_domain(host, site_domains)
    assert got.subdomain_index == (1 if not host else domain.count(".") if domain else 0)
