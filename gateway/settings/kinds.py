"""Kinds of values that settings have: names, ports, secrets, and how a row of a table says what it is for."""

from typing import Annotated

from msgspec import Meta

__all__ = ["EventName", "HeaderName", "HostName", "Port", "Secret", "Slug", "row"]

Port = Annotated[int, Meta(ge=0, le=65535)]
Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}\Z")]
HostName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")]
HeaderName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,60}\Z")]
EventName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z")]


class Secret:
    """A secret text. It prints as `Secret(***)`; `reveal()` is the only way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the clear value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def row(help_text: str, unit: str = "") -> Meta:
    """What a setting is for, and the unit it is in."""
    return Meta(description=help_text, extra={"unit": unit})
