"""Report: how the gateway stands, for the status page, the health routes and `gateway check`."""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.audit.entry import leaf_hash
from gateway.flows import notify, supplies
from gateway.outcome import ConversionFate, DeliveryFate
from gateway.times import utc_text

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.stores.contract import Tally

__all__ = ["check", "ready", "status"]


async def status(house: "House", limit: int = 50) -> dict[str, object]:
    """What waits, what came last, where each destination stands."""
    waiting = await house.store.waiting()
    for row in waiting:
        house.telemetry.waiting_counted(row.site, row.destination, row.count)
    recent = await house.store.recent(limit)
    now_ms = house.clock.now_ms()
    return {
        "now": utc_text(now_ms),
        "sites": [
            {
                "site": rooms.id,
                "hosts": list(rooms.site.hosts),
                "regime": rooms.site.regime,
                "destinations": [
                    {
                        "destination": placed.name,
                        "platform": placed.definition.slug,
                        "enabled": placed.enabled,
                        "events": sorted(placed.events),
                        "waiting": next(
                            (w.count for w in waiting if (w.site, w.destination) == (rooms.id, placed.name)), 0
                        ),
                    }
                    for placed in rooms.destinations
                ],
            }
            for rooms in house.by_id.values()
        ],
        "parked": [
            {"site": row.site, "destination": row.destination, "waiting": row.count}
            for row in waiting
            if not _configured(house, row.site, row.destination)
        ],
        "recent": [{**msgspec.to_builtins(row), "judged_at": utc_text(row.judged_at_ms)} for row in recent],
    }


def _configured(house: "House", site: str, destination: str) -> bool:
    rooms = house.by_id.get(site)
    if rooms is None:
        return False
    return notify.is_notification(destination) or any(placed.name == destination for placed in rooms.destinations)


def ready(house: "House") -> list[str]:
    """Why the gateway should get no requests now; empty when it should."""
    return ["store_damaged"] if getattr(house.store, "damaged", False) else []


async def check(house: "House") -> dict[str, object]:
    """Look for damage and add up the sums of law 2. `problems` is empty when all is well."""
    problems = list(await house.store.check())
    tally = await house.store.tally()
    problems += supplies.problems(house)
    problems += _sums(tally)
    entries: dict[str, int] = {}
    for rooms in house.by_id.values():
        entries[rooms.id] = await _walk_log(house, rooms.id, problems)
    for row in await house.store.waiting():
        if not _configured(house, row.site, row.destination):
            problems.append(
                f"{row.count} deliveries wait for destination {row.destination} of site {row.site}, which is not configured"
            )
    return {
        "problems": problems,
        "events": tally.events,
        "conversions": _by_site(tally.conversions),
        "deliveries": _by_destination(tally.deliveries),
        "consent_entries": entries,
    }


_LOG_PART: Final = 1_000
_LOG_PROBLEMS_MAX: Final = 20


async def _walk_log(house: "House", site: str, problems: list[str]) -> int:
    """Read the consent log from its first entry: no number may be missing, and each entry must be the one its hash names."""
    expected = found = 0
    while part := await house.store.log_entries(site, expected, _LOG_PART):
        for entry in part:
            if entry.entry_no != expected:
                problems.append(f"consent log of site {site}: entries {expected} to {entry.entry_no - 1} are missing")
            if leaf_hash(entry.entry) != entry.leaf_hash:
                problems.append(f"consent log of site {site}: entry {entry.entry_no} was changed")
            expected = entry.entry_no + 1
            found += 1
        if len(problems) > _LOG_PROBLEMS_MAX:
            problems.append(f"consent log of site {site}: not read beyond entry {expected - 1}")
            break
    return found


def _sums(tally: "Tally") -> list[str]:
    """Every stored item has exactly one fate of the closed lists."""
    known = {fate.value for fate in DeliveryFate}
    problems = [f"deliveries with the unknown fate {fate}" for (_, _, fate) in tally.deliveries if fate not in known]
    counted = {fate.value for fate in ConversionFate}
    problems += [f"conversions with the unknown fate {fate}" for (_, fate) in tally.conversions if fate not in counted]
    return problems


def _by_site(counts: dict[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    shown: dict[str, dict[str, int]] = {}
    for (site, fate), count in counts.items():
        shown.setdefault(site, {})[fate] = count
    return shown


def _by_destination(counts: dict[tuple[str, str, str], int]) -> dict[str, dict[str, dict[str, int]]]:
    shown: dict[str, dict[str, dict[str, int]]] = {}
    for (site, destination, fate), count in counts.items():
        shown.setdefault(site, {}).setdefault(destination, {})[fate] = count
    return shown
