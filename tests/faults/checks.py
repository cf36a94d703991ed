"""What must be true afterwards, whatever happened before: read from the database file and the vendors' ledgers alone.

The same functions judge the product and the services with a flaw built in, so a test can show that they see faults.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.outcome import DeliveryFate
from gateway.sandbox.ledger import Report
from tests.faults.load import Acknowledged

__all__ = ["Effects", "Stored", "Verdict", "compare", "effects", "read"]

OWED = frozenset(fate.value for fate in DeliveryFate) - {"withheld", "unfit"}


class Stored(msgspec.Struct):
    """What a database file holds. `wanted` has the dedup keys of all allowed deliveries by destination."""

    faults: list[str]
    events: Counter[str]
    orders: Counter[str]
    choices: Counter[str]
    entry_gaps: int
    deliveries: Counter[tuple[str, str]]
    leased: int
    wanted: dict[str, set[str]]

    def waiting(self) -> int:
        """Deliveries that are still due."""
        return sum(count for (_, fate), count in self.deliveries.items() if fate == "waiting")


def read(path: Path) -> Stored:
    """Read a database file, without the gateway. What cannot be read at all is one of its faults."""
    db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=10)
    try:
        faults = [row[0] for row in db.execute("pragma integrity_check(20)") if row[0] != "ok"]
        faults += [f"broken reference in {row[0]}" for row in db.execute("pragma foreign_key_check")]
        numbers: dict[int, list[int]] = {}
        for site, number in db.execute("select site_no, entry_no from consent_entry order by 1, 2"):
            numbers.setdefault(site, []).append(number)
        wanted: dict[str, set[str]] = {}
        allowed = (
            "select destination, fate, coalesce(dedup_key, '') from delivery where fate not in ('withheld', 'unfit')"
        )
        for destination, _, key in db.execute(allowed):
            wanted.setdefault(destination, set()).add(key)
        counted = "select order_id from conversion where fate = 'counted' and order_id is not null"
        return Stored(
            faults,
            Counter(row[0] for row in db.execute("select event_id from event")),
            Counter(row[0] for row in db.execute(counted)),
            Counter(row[0] for row in db.execute("select record_id from consent_entry")),
            sum(1 for known in numbers.values() for index, number in enumerate(known) if index != number),
            Counter({(row[0], row[1]): row[2] for row in db.execute(_TALLY)}),
            db.execute("select count(*) from delivery where leased_until_ms is not null").fetchone()[0],
            wanted,
        )
    except sqlite3.DatabaseError as error:
        return Stored([str(error)], Counter(), Counter(), Counter(), 0, Counter(), 0, {})
    finally:
        db.close()


_TALLY = "select destination, fate, count(*) from delivery group by 1, 2"


class Verdict(msgspec.Struct, frozen=True):
    """What is wrong. All empty: nothing is."""

    lost: tuple[str, ...]
    twice: tuple[str, ...]
    damage: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing acknowledged was lost, nothing stored twice and nothing damaged."""
        return not (self.lost or self.twice or self.damage)


def compare(stored: Stored, told: Acknowledged) -> Verdict:
    """Hold what is stored against what clients were told."""
    lost = [f"event {name}" for name in told.events if name not in stored.events]
    lost += [f"order {name}" for name in told.orders if name not in stored.orders]
    lost += [f"choice {name}" for name in told.choices if name not in stored.choices]
    twice = [f"{what} {name}" for what, names in _NAMED(stored) for name, count in names.items() if count > 1]
    damage = list(stored.faults)
    if stored.entry_gaps:
        damage.append(f"the consent log has {stored.entry_gaps} entries out of order")
    return Verdict(tuple(lost), tuple(twice), tuple(damage))


def _NAMED(stored: Stored) -> list[tuple[str, Counter[str]]]:
    return [("event", stored.events), ("order", stored.orders), ("choice", stored.choices)]


class Effects(msgspec.Struct, frozen=True):
    """What the vendors saw: deliveries that never had their effect, effects nobody owed, effects that came twice.

    `complaints` are requests refused and events spoiled; `repeats` counts the harmless repeats with the same key.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    double: tuple[str, ...]
    complaints: tuple[str, ...]
    repeats: int

    @property
    def clean(self) -> bool:
        """Whether every allowed delivery had its effect exactly once, and nothing else had any."""
        return not (self.missing or self.extra or self.double or self.complaints)


def effects(stored: Stored, ledgers: Mapping[str, Report], names: Mapping[str, str]) -> Effects:
    """Hold what was owed against what the vendors saw. `names` maps destination to stand-in."""
    missing, extra, double, complaints, repeats = [], [], [], [], 0
    for destination, stand_in in names.items():
        ledger = ledgers[stand_in]
        seen = {_key(stand_in, key) for key in ledger.effects}
        wanted = stored.wanted.get(destination, set())
        missing += [f"{destination} {key}" for key in wanted - seen]
        extra += [f"{destination} {key}" for key in seen - wanted]
        double += [f"{destination} {key}" for key in ledger.double_effects]
        complaints += [f"{stand_in} refused {one.status} {one.reasons}" for one in ledger.refused]
        complaints += [f"{stand_in} spoiled {one.reasons}" for one in ledger.invalid]
        repeats += sum(ledger.repeats.values())
    return Effects(tuple(missing), tuple(extra), tuple(double), tuple(complaints), repeats)


def _key(stand_in: str, key: str) -> str:
    """A vendor's key as the gateway names it: Google Analytics puts the client between name and order."""
    return "|".join(key.split("|")[::2]) if stand_in == "ga4" else key
