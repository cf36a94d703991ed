"""Bring a SQLite file to the present schema: numbered files, each in one transaction, each run once.

A file that was written by a newer release is refused, and so is one whose past migrations do not match ours: both would
be guessed at otherwise.
"""

import sqlite3

from gateway.errors import StoreDamaged
from gateway.stores.named_sql import Migration, migrations

__all__ = ["migrate"]

_VERSIONS = """
create table if not exists schema_version (
    number integer primary key,
    title text not null,
    sha256 text not null,
    ran_at_ms integer not null
) strict
"""


def migrate(db: sqlite3.Connection, now_ms: int, known: list[Migration] | None = None) -> list[str]:
    """Run what has not run yet. Answers the titles of what ran. Raises StoreDamaged and sqlite3.Error.

    The connection must be in autocommit mode. A crash in the middle leaves whole migrations only.
    """
    known = migrations() if known is None else known
    db.execute(_VERSIONS)
    ran: dict[int, str] = dict(db.execute("select number, sha256 from schema_version"))
    for number in sorted(ran):
        if number > len(known):
            raise StoreDamaged(
                f"the database was written by a newer release (schema {number}, this release knows {len(known)})"
            )
        if ran[number] != known[number - 1].sha256:
            raise StoreDamaged(f"migration {number} of the database is not the one this release has")
    titles = []
    for migration in known:
        if migration.number in ran:
            continue
        db.execute("begin immediate")
        try:
            for statement in _split(migration.sql):
                db.execute(statement)
            db.execute(
                "insert into schema_version (number, title, sha256, ran_at_ms) values (?, ?, ?, ?)",
                (migration.number, migration.title, migration.sha256, now_ms),
            )
        except BaseException:
            db.execute("rollback")
            raise
        db.execute("commit")
        titles.append(migration.title)
    return titles


def _split(sql: str) -> list[str]:
    """Split a migration into statements, as SQLite itself sees them."""
    found, part = [], ""
    for line in sql.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    if part.strip() and not all(line.startswith("--") or not line.strip() for line in part.splitlines()):
        raise ValueError("a migration ends in the middle of a statement")
    return found
