"""Tables of cases with names that are sentences."""

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["named"]


def named(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Cases for `pytest.mark.parametrize`: the first value of each row is its name and no argument."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]
