"""Closed lists: the words that a field of a shape takes, found by the path at which a reader refused it (pure)."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import inspect

__all__ = ["words_at"]

_STEP: Final = re.compile(r"[a-z0-9_]+|\[\]")


def words_at(shape: type, path: str) -> tuple[str, ...]:
    """Return the words a field may hold, in alphabetical order; empty where it takes more than words of a list.

    `path` is as refusals name it: `type`, `events[3].sensitive[0]`.
    """
    key = (shape, _INDEX.sub("[]", path))
    if key not in _known:
        _known[key] = _words(*key)
    return _known[key]


_INDEX: Final = re.compile(r"\[[0-9.]*\]")
_known: Final[dict[tuple[type, str], tuple[str, ...]]] = {}
"""What was found before: as many as our shapes have fields, for a path holds nothing else."""


def _words(shape: type, path: str) -> tuple[str, ...]:
    found = [inspect.type_info(shape)]
    for step in _STEP.findall(path):
        found = [below for one in found for below in _below(one, step)]
    plain = [one for kind in found for one in _plain(kind) if not isinstance(one, inspect.NoneType)]
    words: list[str] = []
    for one in plain:
        if not isinstance(one, inspect.LiteralType):
            return ()
        words += [word for word in one.values if isinstance(word, str)]
    return tuple(words)


def _below(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """What stands at a field, or inside a list or map."""
    for one in _plain(kind):
        if step[0] != "[":
            if isinstance(one, inspect.StructType):
                yield from [field.type for field in one.fields if field.encode_name == step]
        elif isinstance(one, inspect.CollectionType):
            yield one.item_type
        elif isinstance(one, inspect.DictType):
            yield one.value_type


def _plain(kind: inspect.Type) -> Iterator[inspect.Type]:
    """A type without its wrapping, each of several. What may be left out is no value."""
    if isinstance(kind, inspect.Metadata):
        yield from _plain(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _plain(one)
    elif not (isinstance(kind, inspect.CustomType) and kind.cls is msgspec.UnsetType):
        yield kind
