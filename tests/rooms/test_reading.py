"""Reading JSON from strangers: what the parser says is wrong becomes a code and a path, whatever the shape."""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Annotated, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.protocols.reading import decode, decoder, refuse_repeated_choice, refuse_repeated_consent
from tests.support.properties import tried

quick = tried(150)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    needed: int
    amount: Decimal | None = None


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    rows: Annotated[list[Inner], msgspec.Meta(max_length=2)] = []
    table: dict[Annotated[str, msgspec.Meta(max_length=3)], int] = {}
    anything: object = None


read_shape: Final = decoder(Shape)
read_anything: Final = decoder(object)

WRONG: Final = {
    "a missing field": (b'{"inner":{}}', "field_missing", "inner.needed"),
    "a missing field in a list": (b'{"rows":[{"needed":1},{}]}', "field_missing", "rows[1].needed"),
    "an unknown field": (b'{"x":1}', "field_unknown", "x"),
    "an unknown field deeper": (b'{"inner":{"needed":1,"more":2}}', "field_unknown", "inner.more"),
    "an unknown field whose name says too much": (b'{"jane@mail.example":1}', "field_unknown", "?"),
    "an unknown field whose name looks like a path": (b'{"x - at `$.Jane Doe":1}', "field_unknown", "?"),
    "a wrong type": (b'{"inner":{"needed":"x"}}', "field_type", "inner.needed"),
    "a wrong type at the top": (b"[]", "field_type", None),
    "a wrong type in a map": (b'{"table":{"a":"x"}}', "field_type", "table[...]"),
    "too long a key": (b'{"table":{"abcd":1}}', "field_too_long", "table"),
    "too long a list": (b'{"rows":[{"needed":1},{"needed":1},{"needed":1}]}', "field_too_long", "rows"),
    "no amount": (b'{"inner":{"needed":1,"amount":"x"}}', "amount_invalid", "inner.amount"),
}


@pytest.mark.parametrize(("body", "code", "field"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_by_its_path(body: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        decode(read_shape, body)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'], ids=["lists", "objects", "both"])
def test_half_a_million_levels_are_refused_where_anything_goes(opening: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        decode(read_anything, opening * 500_000)
    assert caught.value.code == "json_too_deep"


def test_an_honest_body_of_a_dozen_levels_is_read() -> None:
    assert decode(read_anything, b"[" * 12 + b"]" * 12) is not None


def refused(attempt: Callable[[], object]) -> str | None:
    """Code of the refusal, or None. Anything else that is raised fails the test."""
    try:
        attempt()
    except Refusal as refusal:
        return refusal.code
    return None


@quick
@given(body=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    refused(partial(decode, read_shape, body))
    refused(partial(decode, read_anything, body))
    allowed = {None, "json_invalid", "json_duplicate_key"}
    assert refused(partial(refuse_repeated_consent, body, 1, 1)) in allowed
    assert refused(partial(refuse_repeated_choice, body, 1)) in allowed


WORDS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["granted", "denied"])), max_size=4)


@quick
@given(words=WORDS, title=st.sampled_from(["", "consent", '"consent"', "granted", '"granted":"denied"', "ü\\"]))
def test_a_body_passes_exactly_when_no_purpose_stands_twice(words: list[tuple[str, str]], title: str) -> None:
    pairs = ",".join(f'"{name}":"{word}"' for name, word in words)
    for text in (json.dumps(title), json.dumps(title, ensure_ascii=False)):
        body = f'{{"title":{text},"consent":{{{pairs}}}}}'.encode()
        names = {name for name, _ in words}
        if len(names) == len(words):
            refuse_repeated_consent(body, 1, len(names))
        else:
            with pytest.raises(Refusal, match="json_duplicate_key"):
                refuse_repeated_consent(body, 1, len(names))


def test_a_check_of_a_body_no_parser_reads_is_a_refusal() -> None:
    for body in (b"{", b"[" * 500_000, b'{"a":' + b"9" * 5_000 + b"}"):
        with pytest.raises(Refusal, match="json_invalid"):
            refuse_repeated_consent(body, 1, 1)
