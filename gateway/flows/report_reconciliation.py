"""Reconciliation: what pages reported, what the shop reported, and what destinations acknowledged, held against each other.

The first report of an order counts, and every other one of it is a repeat. Who was first is known of every order: a page or
a pixel, or the shop by its server, an upload or a webhook. A repeat confirms one order at most, so orders of one side beyond
the number of repeats are known to that side alone: the gaps told here are the least there can be.

Small differences are normal: refused consent, blockers, orders by telephone. A large gap means that a tag is missing or that
a trigger fires at the wrong place, and the kind of gap says which.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flows.report_notes import notes
from gateway.flows.report_rows import drill, pct
from gateway.flows.report_scan import counts, sample
from gateway.flows.report_sums import wanted
from gateway.flows.report_tables import answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.stores.contract_credit import CountedConversion

__all__ = ["CAUSES", "reconciliation"]

ORDERS_MAX: Final = 2_000
"""Conversions that are compared."""

DELIVERIES_MAX: Final = 200
"""Conversions whose deliveries are looked at."""

_PAGES: Final = frozenset({"browser", "token"})
_NOT_EXPECTED: Final = frozenset({"withheld"})
_REFUSED: Final = frozenset({"rejected", "dead", "unconfirmed"})

CAUSES: Final[dict[str, str]] = {
    "page_missing": "The shop knows orders that no page reported: the tag is missing on the confirmation page or loads too "
    "late, it is blocked, or visitors did not consent.",
    "shop_missing": "Pages reported orders that the shop did not: they are not uploaded yet, were cancelled or are tests, or "
    "the trigger fires on a page that is not the confirmation.",
    "no_shop_data": "The shop reported nothing in this range: upload its orders, or connect its webhook.",
    "no_order_ids": "Conversions without an order id cannot be compared: send order_id.",
    "unfit": "Events lack what the destination requires; see the reasons of single events.",
    "refused": "The destination refused events or its credentials; see its dead and rejected deliveries.",
    "waiting": "Deliveries still wait; look whether the destination answers.",
    "cancelled": "Consent was withdrawn before the deliveries were sent.",
}
"""The likely cause of a gap: stable codes and their sentences."""


class _Orders(msgspec.Struct):
    """Conversions by who reported them first, those with an order id."""

    page_first: int = 0
    shop_first: int = 0
    without_order: int = 0
    repeats: int = 0
    tests: int = 0

    @property
    def page_only(self) -> int:
        """Orders that only pages reported, at least."""
        return max(0, self.page_first - self.repeats)

    @property
    def shop_only(self) -> int:
        """Orders that only the shop reported, at least."""
        return max(0, self.shop_first - self.repeats)


async def reconciliation(house: "House", rooms: "SiteRooms", ask: "Ask") -> dict[str, object]:
    """Compare. Rows are the two sides of orders, what has no order id, then each destination."""
    found, whole = await sample(house, rooms.id, ask, ORDERS_MAX)
    limit = rooms.site.reports.gap_warn_pct
    orders = await _orders(house, rooms, ask, found, whole=whole)
    compared = orders.page_first + orders.shop_first
    counted = [row for row in found if counts(row)]
    shop_known = orders.shop_first + orders.repeats
    rows = [
        _gap("shop_orders_not_on_pages", orders.shop_only, compared, limit, "page_missing"),
        _gap(
            "page_orders_not_in_shop",
            orders.page_only,
            compared,
            limit,
            "shop_missing" if shop_known else "no_shop_data",
        ),
        _gap("without_order_id", orders.without_order, len(counted), limit, "no_order_ids"),
    ]
    looked_at = counted[:: max(1, -(-len(counted) // DELIVERIES_MAX))]
    rows += await _destinations(house, rooms, looked_at, limit)
    return {
        **answer(rooms, "reconciliation", "Reconciliation", ask),
        "rows": rows,
        "rows_total": len(rows),
        "orders": {
            "reported_first_by_pages": orders.page_first,
            "reported_first_by_shop": orders.shop_first,
            "repeats": orders.repeats,
        },
        "tests": {"conversions": orders.tests, "whole": whole},
        "compared": {"conversions": len(counted), "deliveries_of": len(looked_at), "whole": whole},
        "gap_warn_pct": limit,
        "conversions_query": drill(ask),
        "notes": notes("at_least", *([] if whole else ["conversions_sampled"])),
    }


def _gap(name: str, missing: int, of: int, limit: int, cause: str, **beside: object) -> dict[str, object]:
    """One gap. From the site's threshold on it is warned about, with its likely cause."""
    wide = of > 0 and 100 * missing >= limit * of
    return {
        "key": {"compared": name},
        **beside,
        "missing": missing,
        "of": of,
        "gap_pct": pct(missing, of),
        "warning": wide,
        "cause": cause if wide else None,
        "likely": CAUSES[cause] if wide else None,
    }


async def _orders(
    house: "House", rooms: "SiteRooms", ask: "Ask", found: "Sequence[CountedConversion]", *, whole: bool
) -> _Orders:
    """Count orders by who reported them first. Of a sample, repeats are counted in its proportion."""
    made = _Orders()
    for row in found:
        if row.test:
            made.tests += 1
        elif row.order_id is None:
            made.without_order += 1 if counts(row) else 0
        elif row.trust in _PAGES:
            made.page_first += 1
        else:
            made.shop_first += 1
    days = await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("goal",))
    asked = [row for row in days if wanted(house, rooms.id, ask, row.goal)]
    made.repeats = sum([row.duplicates for row in asked])
    if not whole:
        every = sum([row.conversions for row in asked])
        made.repeats = made.repeats * (len(found) - made.tests) // max(1, every)
    return made


# ------------------------------------------------------------------ destinations


async def _destinations(
    house: "House", rooms: "SiteRooms", looked_at: "Sequence[CountedConversion]", limit: int
) -> list[dict[str, object]]:
    """What became of the deliveries of these conversions, destination by destination."""
    fates = await house.store.delivery_fates(rooms.id, [row.event_id for row in looked_at])
    rows = []
    for destination, held in sorted(fates.items()):
        expected = sum([count for fate, count in held.items() if fate not in _NOT_EXPECTED])
        missing = expected - held.get("accepted", 0)
        rows.append(_gap(f"destination:{destination}", missing, expected, limit, _cause(held), fates=held))
    return rows


def _cause(held: "Mapping[str, int]") -> str:
    """What most of the missing acknowledgements are."""
    groups = {
        "refused": sum([count for fate, count in held.items() if fate in _REFUSED]),
        "unfit": held.get("unfit", 0),
        "waiting": held.get("waiting", 0),
        "cancelled": held.get("cancelled", 0),
    }
    return max(groups, key=lambda name: groups[name])
