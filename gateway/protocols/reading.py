"""Reading JSON from strangers: one decoder, one mapping from what is wrong to a refusal with a field path (pure).

msgspec refuses NaN, infinities, lone surrogates, byte order marks and broken UTF-8 by itself. Repeated keys are taken
last-wins, as every JSON parser does, except inside consent: there a repeated key is refused, because a granted must not
hide behind a denied.
"""

import json
import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gateway.errors import Refusal
from gateway.protocols.closed_lists import words_at

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode", "decoder", "refuse_repeated_choice", "refuse_repeated_consent"]

T = TypeVar("T")

_PATH: Final = re.compile(r"^(.*) - at (?:`key` in )?`\$\.?([a-z0-9_.\[\]]{0,120})`$", re.DOTALL)
"""Sentence and path. The sentence may quote the caller, who may write ` - at ` himself: the last one counts, and only
what is made of our own field names and indexes is a path."""
_KEY: Final = re.compile(r"`([A-Za-z0-9_]{1,40})`\Z")
_CONSENT_PATH: Final = re.compile(r"(?:^|\.)(?:consent|choice)(?:\[\.\.\.\])?\Z")


def decoder(shape: type[T]) -> "Callable[[bytes], T]":
    """Make the strict decoder of one shape, once."""
    return msgspec.json.Decoder(shape).decode


def decode(read: "Callable[[bytes], T]", body: bytes) -> T:
    """Decode a body. Raises Refusal: `json_invalid`, `json_too_deep`, or a field code with its path."""
    try:
        return read(body)
    except msgspec.ValidationError as error:
        raise _with_words(_refusal(str(error)), read) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal("json_invalid") from None
    except RecursionError:
        raise Refusal("json_too_deep") from None


def _with_words(refusal: Refusal, read: "Callable[[bytes], T]") -> Refusal:
    """The refusal with the words its field takes, where the shape of the reader has a closed list for it."""
    decoder = getattr(read, "__self__", None)
    if refusal.code != "field_invalid" or refusal.field is None or not isinstance(decoder, msgspec.json.Decoder):
        return refusal
    return Refusal(refusal.code, refusal.field, words_at(decoder.type, refusal.field))


def _refusal(message: str) -> Refusal:
    """Turn msgspec's sentence into a code. The sentence itself is dropped: parts of it can be the caller's own text."""
    found = _PATH.match(message)
    text, path = (found.group(1), found.group(2)) if found else (message, "")
    where = path or None
    if text.startswith("Object contains unknown field"):
        key = _KEY.search(text)
        named = key.group(1) if key else "?"
        return Refusal("field_unknown", f"{path}.{named}" if path else named)
    if text.startswith("Object missing required field"):
        key = _KEY.search(text)
        named = key.group(1) if key else "?"
        return Refusal("field_missing", f"{path}.{named}" if path else named)
    if path == "name" or (path.endswith("].name") and "items" not in path and "matching regex" in text):
        return Refusal("event_name_invalid", where)
    if path == "id" or (path.endswith("].id") and "items" not in path and "matching regex" in text):
        return Refusal("event_id_invalid", where)
    if _CONSENT_PATH.search(path) is not None and "length <=" not in text:
        return Refusal("consent_value_invalid", where)
    if "decimal" in text.lower():
        return Refusal("amount_invalid", where)
    if "length <=" in text:
        return Refusal("fields_too_many" if "`object`" in text else "field_too_long", where)
    if text.startswith("Expected `") and ", got `" in text:
        return Refusal("field_type", where)
    return Refusal("field_invalid", where)


def refuse_repeated_consent(body: bytes, consents: int, names: int) -> None:
    """Refuse a body in which a key of consent, or the key `consent` itself, stands twice in one object.

    `consents` is how many consent objects were decoded, `names` how many keys they hold together. When the plain text
    holds exactly as many, nothing can be hidden and the check costs a microsecond; otherwise the body is read again by a
    parser that shows repeated keys. Raises Refusal `json_duplicate_key`.
    """
    # A key can be written with escapes (`\u0063onsent`), so a text without the word may still hold it.
    if body.count(b'"consent"') != consents or b"\\u" in body or (consents and not _holds_words(body, names)):
        _read_showing_repeats(body)


def refuse_repeated_choice(body: bytes, names: int) -> None:
    """Refuse a choice in which a purpose, or the key `choice`, stands twice. Raises Refusal `json_duplicate_key`."""
    if body.count(b'"choice"') != 1 or b"\\u" in body or not _holds_words(body, names):
        _read_showing_repeats(body)


def _holds_words(body: bytes, names: int) -> bool:
    """Whether `granted` and `denied` stand there `names` times. Both end alike, so mostly one search is enough."""
    return body.count(b'ed"') == names or body.count(b'"granted"') + body.count(b'"denied"') == names


def _read_showing_repeats(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise Refusal("json_invalid") from None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    words = ("granted", "denied")
    for key, value in pairs:
        if key in made and (key in {"consent", "choice"} or value in words or made[key] in words):
            raise Refusal("json_duplicate_key", "consent")
        made[key] = value
    return made
