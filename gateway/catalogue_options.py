"""Catalogue options: every field that campaigns, links, ambassadors, coupons and goals have on the wire, as an option.

They are made of the table of shapes, so that a new field is an option at once, with the same words.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import click
from msgspec import inspect

from gateway.protocols.catalogue_shapes import SHAPES

__all__ = ["body_of", "with_fields"]

F = TypeVar("F", bound=Callable[..., Any])
Fields = dict[str, object]


class _Option(NamedTuple):
    """One option and how its value becomes a field: `path` is the field, or the group and the field in it."""

    path: tuple[str, ...]
    decorate: Callable[[Any], Any]
    parameter: str


def _options(kind: str) -> list[_Option]:
    """An option for every field of a kind, in the order of its shape."""
    found: list[_Option] = []
    shape = inspect.type_info(SHAPES[kind])
    assert isinstance(shape, inspect.StructType)  # noqa: S101 - shapes are structs
    for field in shape.fields:
        said, text = _plain(field.type)
        if isinstance(said, inspect.StructType):
            found += [_option((field.name, part.name), *_plain(part.type)) for part in said.fields]
        else:
            found.append(_option((field.name,), said, text))
    return found


def _plain(said: inspect.Type) -> tuple[inspect.Type, str]:
    """The type of a field without its wrapping, and its description. Of several the last: a list rather than a text."""
    text = ""
    while True:
        if isinstance(said, inspect.Metadata):
            text = text or str((said.extra_json_schema or {}).get("description", ""))
            said = said.type
        elif isinstance(said, inspect.UnionType):
            left = [one for one in said.types if not isinstance(one, inspect.NoneType)]
            said = next((one for one in left if isinstance(one, inspect.CollectionType)), left[0])
        else:
            return said, text


def _option(path: tuple[str, ...], said: inspect.Type, text: str) -> _Option:
    name = "-".join(path).replace("_", "-")
    parameter = "__".join(("field", *path))
    if path == ("variants",):
        help_text = f"{text} Written PERCENT=ADDRESS; give it for each."
        made = click.option("--variant", parameter, multiple=True, metavar="PERCENT=ADDRESS", help=help_text)
    elif isinstance(said, inspect.BoolType):
        other = name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"
        made = click.option(f"--{name}/--{other}", parameter, default=None, help=text)
    elif isinstance(said, inspect.CollectionType):
        made = click.option(f"--{name.removesuffix('s')}", parameter, multiple=True, help=f"{text} May be given again.")
    elif isinstance(said, inspect.LiteralType):
        made = click.option(f"--{name}", parameter, type=click.Choice([str(word) for word in said.values]), help=text)
    elif isinstance(said, inspect.IntType):
        made = click.option(f"--{name}", parameter, type=int, help=text)
    else:
        made = click.option(f"--{name}", parameter, help=text)
    return _Option(path, made, parameter)


_FIELDS: Final = {kind: _options(kind) for kind in SHAPES}


def with_fields(kind: str, leave_out: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Add the options of a kind to a command; it gets them as keywords, for `body_of`."""

    def decorate(command: F) -> F:
        for option in reversed(_FIELDS[kind]):
            if option.path[0] not in leave_out:
                command = option.decorate(command)
        return command

    return decorate


def body_of(kind: str, given: Mapping[str, Any], cleared: tuple[str, ...] = ()) -> Fields:
    """The fields that were given, as they stand on the wire. What is cleared goes back to its default.

    Raises click.UsageError for a text of another form.
    """
    body: Fields = dict.fromkeys(cleared)
    for option in _FIELDS[kind]:
        value = given.get(option.parameter)
        if value is None or value == ():
            continue
        if option.path == ("variants",):
            value = [_variant(text) for text in value]
        if len(option.path) == 1:
            body[option.path[0]] = list(value) if isinstance(value, tuple) else value
        else:
            group = body.setdefault(option.path[0], {})
            if not isinstance(group, dict):
                raise click.UsageError(f"--clear {option.path[0]}: it is also set")
            group[option.path[1]] = value
    return body


def _variant(text: str) -> Fields:
    percent, equals, target = text.partition("=")
    if not equals or not (percent.isascii() and percent.isdigit()):
        raise click.UsageError("--variant: write PERCENT=ADDRESS, such as 50=https://www.shop.example/a")
    return {"percent": int(percent[:9]), "target": target}
