"""Rows of JSON lines: one object per line, its members named like our own columns (pure).

`email`, `phone`, `coupon` and `consent` may be lists. A number counts as the text it is written as, so that no amount
passes through binary floating point; only members of the owner's own keep numbers, true and false as such.
"""

import json
import re
from typing import Final

from gateway.errors import Refusal
from gateway.protocols.offline_columns import OURS, Column, prop_name
from gateway.protocols.offline_shapes import Cells

__all__ = ["json_cells"]

_COLUMNS: Final = {column.name: column for column in OURS.columns}
_INTEGER: Final = re.compile(r"-?\d{1,15}\Z", re.ASCII)
_FLOAT_MAX: Final = 1e300


class _Number(str):
    """A number as JSON wrote it: its text is exact, a float would not be."""

    __slots__ = ()


def json_cells(line: str) -> Cells:
    """Put the members of a line's object under their fields.

    Raises Refusal: `json_invalid`, `json_too_deep`, `field_unknown`, `field_type`, `field_invalid`, `field_personal`,
    `column_repeated`. A member that is not known is told by its place, such as `#3`.
    """
    cells = Cells()
    seen: set[str] = set()
    for place, (name, value) in enumerate(_members(line), 1):
        column = _COLUMNS.get(name)
        label = column.name if column is not None else prop_name(OURS, name, f"#{place}")
        if label in seen:
            raise Refusal("column_repeated", label)
        seen.add(label)
        if value is None:
            continue
        if column is None:
            _put_free(cells, label, value)
        else:
            _put(cells, column, value)
    return cells


def _members(line: str) -> tuple[tuple[str, object], ...]:
    """Names and values in their order, repeated names and all. Objects inside become tuples too, and are refused later."""
    try:
        made = json.loads(
            line, parse_float=_Number, parse_int=_Number, parse_constant=_refuse_constant, object_pairs_hook=tuple
        )
        if "\\u" in line:  # a lone surrogate is text to JSON and to nobody else
            json.dumps(made, ensure_ascii=False).encode()
    except RecursionError:
        raise Refusal("json_too_deep") from None
    except ValueError:
        raise Refusal("json_invalid") from None
    if not isinstance(made, tuple):
        raise Refusal("json_invalid")
    return made


def _refuse_constant(word: str) -> object:
    raise ValueError(word)  # NaN and Infinity are no JSON


def _put_free(cells: Cells, label: str, value: object) -> None:
    if isinstance(value, _Number):
        cells.free.append((label, int(value) if _INTEGER.match(value) is not None else _float(value, label)))
    elif isinstance(value, bool):
        cells.free.append((label, value))
    else:
        text = _text(value, label)
        if text:
            cells.free.append((label, text))


def _float(text: str, label: str) -> float:
    number = float(text)
    if not -_FLOAT_MAX < number < _FLOAT_MAX:
        raise Refusal("field_invalid", label)
    return number


def _put(cells: Cells, column: Column, value: object) -> None:
    if column.field == "consent" and isinstance(value, list):
        # An empty list says something: nothing was granted.
        value = " ".join(_text(each, column.name) for each in value) or "none"
    several = value if isinstance(value, list) and column.times > 1 else [value]
    if len(several) > column.times:
        raise Refusal("column_repeated", column.name)
    for each in several:
        text = _text(each, column.name)
        if text:
            cells.put(column.field, text)


def _text(value: object, label: str) -> str:
    if not isinstance(value, str):
        raise Refusal("field_type", label)
    if "\0" in value:
        raise Refusal("field_invalid", label)
    return str.strip(value)
