"""One request as a stand-in sees it, and one answer as it gives it: values without a socket.

The vendors' rules are written against these two, so that they can be read, and tested, without HTTP.
"""

import msgspec

__all__ = ["Answer", "Call", "json_answer"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Header names are lower-case; query values are decoded; `at_ms` is the stand-in's time of arrival."""

    method: str
    host: str
    path: str
    at_ms: int
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: bytes = b""

    def content_type(self) -> str:
        """Media type in lower case without its parameters, empty when the header is missing."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def values(self, name: str) -> list[str]:
        """Every value of one query parameter, in order."""
        return [value for key, value in self.query if key == name]


class Answer(msgspec.Struct, frozen=True):
    """One answer: HTTP status, body and headers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


def json_answer(status: int, value: object, headers: dict[str, str] | None = None) -> Answer:
    """Make an answer whose body is `value` as JSON."""
    named = {"Content-Type": "application/json; charset=UTF-8"}
    return Answer(status, msgspec.json.encode(value), named | (headers or {}))
