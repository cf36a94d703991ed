"""Evidence: what may be kept of a vendor's answer: a short extract, without anything that was sent.

Vendors, and proxies before them, like to repeat what they were told. A payload is deleted when it was taken; it must not
live on in the answer to it.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import links

if TYPE_CHECKING:
    from gateway.exchange import Answer

__all__ = ["Evidence"]

KEPT: Final = 500
READ: Final = 4_000
SHORTEST: Final = 4
REPEATS_MAX: Final = 3
"""An answer that repeats more values than this is an echo, and nothing of it is kept."""


class Evidence:
    """Takes out of texts what stands in the given bodies: JSON of the events that were sent."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self._sent = {text.lower(): text for body in bodies for text in _texts(_read(body)) if len(text) >= SHORTEST}
        self._cleaned: dict[str, str] = {}

    def extract(self, answer: "Answer") -> str | None:
        """At most KEPT characters of an answer, or the word for why none came."""
        return answer.failure or self.clean(answer.body[:READ].decode("utf-8", "replace")) or None

    def clean(self, text: str | None) -> str | None:
        """The text without any value that was sent, whatever its case."""
        if not text:
            return text
        cleaned = self._cleaned.get(text)
        if cleaned is None:
            cleaned = self._cleaned[text] = self._without_values(text)
        return cleaned

    def _without_values(self, text: str) -> str:
        lowered = text.lower()
        repeated = [value for value in self._sent if value in lowered]
        for value in sorted(repeated, key=len, reverse=True):
            text = text.replace(self._sent[value], links.REMOVED)
        lowered = text.lower()
        if len(repeated) > REPEATS_MAX or any(value in lowered for value in repeated):
            return links.REMOVED
        return (links.clean_text(text) if "@" in text else text)[:KEPT]


def _read(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys apart."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
