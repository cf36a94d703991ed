"""SQL lives in .sql files; this reads the statements by name.

A file holds blocks that open with `-- name: NAME`. Every statement is prepended with a comment naming file and statement,
so that a slow query names its owner wherever it is seen.
"""

import hashlib
import re
from importlib import resources
from typing import Final

import msgspec

__all__ = ["Migration", "migrations", "statements"]

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Migration(msgspec.Struct, frozen=True):
    """One numbered change of the schema. `sha256` guards against a migration that was edited after it ran."""

    number: int
    title: str
    sql: str
    sha256: str


def statements(file: str) -> dict[str, str]:
    """Read the named statements of one file in this package's `sql` folder."""
    text = (resources.files("gateway.stores") / "sql" / file).read_text("utf-8")
    parts = _NAME.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"{file}: {name} is there twice")
        found[name] = f"/* {file}:{name} */ {body.strip()}"
    return found


def migrations() -> list[Migration]:
    """Read all migrations in order. Numbers run from 1 without gaps."""
    folder = resources.files("gateway.stores") / "sql" / "migrations"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".sql"):
            number, _, title = entry.name.removesuffix(".sql").partition("_")
            sql = entry.read_text("utf-8")
            found.append(Migration(int(number), title, sql, hashlib.sha256(sql.encode()).hexdigest()))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered from 1 without gaps")
    return found
