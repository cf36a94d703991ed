"""The in-memory store: conversions with their credit and adjustments, and the sums that reports read."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gateway.errors import StoreError
from gateway.event import ConversionClaim
from gateway.stores.contract import ConversionRow
from gateway.stores.contract_credit import (
    NO_FILTER,
    AdjustmentApplied,
    AdjustmentRow,
    AttributionRow,
    CountedConversion,
    CreditDay,
    GoalDay,
    SpendRow,
    TouchDay,
)
from gateway.stores.funnels import walk
from gateway.stores.memory_catalogue import MemoryCatalogue, add
from gateway.stores.sums import (
    CREDIT_COLUMNS,
    GOAL_COLUMNS,
    SECONDS_DIVISOR,
    SPEND_COLUMNS,
    TOUCH_COLUMNS,
    Standing,
    changed_credit,
    changed_goal,
    fault_of,
    in_order,
    with_net,
)

if TYPE_CHECKING:
    from gateway.stores.memory_catalogue import Key, TouchCell

__all__ = ["ConversionCell", "MemoryCredit"]

D = TypeVar("D")


class ConversionCell(msgspec.Struct, kw_only=True):
    """One conversion. Its decisions are elsewhere: the number of them is its credit version."""

    row: ConversionRow
    site: str
    event_id: str
    claim: ConversionClaim
    occurred_at_ms: int
    net_minor: int | None
    credit_due_ms: int | None

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in lists: by time, then by id."""
        return self.occurred_at_ms, self.row.conversion_id


class MemoryCredit(MemoryCatalogue):
    """See `contract_credit.CreditStore` for what each method promises."""

    def __init__(self, sites: tuple[str, ...]) -> None:
        super().__init__(sites)
        self._conversions: list[ConversionCell] = []
        self._adjustments: list[tuple[str, AdjustmentRow]] = []
        self._decisions: dict[str, list[AttributionRow]] = {}
        self._credit_days: dict[Key, list[int]] = {}
        self._goal_days: dict[Key, list[int]] = {}

    # -------------------------------------------------------------- conversions

    def _counted(self, cell: ConversionCell) -> CountedConversion:
        item = self._events[cell.site, cell.event_id]
        row, claim, event = cell.row, cell.claim, item.event
        return CountedConversion(
            site=cell.site,
            conversion_id=row.conversion_id,
            event_id=cell.event_id,
            goal=row.goal,
            goal_version=claim.goal_version,
            order_id=row.order_id,
            amount_minor=row.amount_minor,
            currency=row.currency,
            value_source=claim.value_source,
            net_minor=cell.net_minor,
            click_id=claim.click_id,
            coupons=claim.coupons,
            campaign_id=claim.campaign_id,
            test=row.test,
            fate=row.fate,
            reason=row.reason,
            occurred_at_ms=cell.occurred_at_ms,
            received_at_ms=event.received_at_ms,
            trust=event.trust,
            visitor_key=event.visitor_key,
            person_key=item.person_key,
            credit_version=len(self._decisions.get(row.conversion_id, ())),
            facts=event.facts,
        )

    def _counting(self, site: str, wanted: Callable[[ConversionCell], bool]) -> list[ConversionCell]:
        """Conversions of a site that are no duplicates, by time and id."""
        cells = [c for c in self._conversions if c.site == site and c.row.fate != "duplicate" and wanted(c)]
        return sorted(cells, key=lambda cell: cell.place)

    def _counting_one(self, site: str, conversion_id: str | None) -> ConversionCell | None:
        return next(iter(self._counting(site, lambda cell: cell.row.conversion_id == conversion_id)), None)

    async def uncredited(self, now_ms: int, limit: int) -> Sequence[CountedConversion]:
        """Return conversions whose credit is due."""
        due = [
            (cell.credit_due_ms, cell.row.conversion_id, cell)
            for cell in self._conversions
            if cell.credit_due_ms is not None and cell.credit_due_ms <= now_ms
        ]
        return [self._counted(cell) for _, _, cell in sorted(due, key=lambda one: one[:2])[:limit]]

    async def credit_again(
        self,
        site: str,
        *,
        goal: str | None,
        conversion_id: str | None,
        after_ms: int,
        upto_ms: int,
        limit: int,
        now_ms: int,
    ) -> int:
        """Make conversions due to be credited anew."""

        def wanted(cell: ConversionCell) -> bool:
            made = self._decisions.get(cell.row.conversion_id, ())
            return (
                cell.credit_due_ms is None
                and goal in (None, cell.row.goal)
                and after_ms <= cell.occurred_at_ms <= upto_ms
                and conversion_id in (None, cell.row.conversion_id)
                and not (conversion_id is None and made and made[-1].computed_at_ms > now_ms)
            )

        found = self._counting(site, wanted)[:limit]
        for cell in found:
            cell.credit_due_ms = now_ms
        return len(found)

    async def conversion(self, site: str, conversion_id: str) -> CountedConversion | None:
        """Return one conversion."""
        found = [c for c in self._conversions if (c.site, c.row.conversion_id) == (site, conversion_id)]
        return self._counted(found[0]) if found else None

    async def conversions_of_order(self, site: str, order_id: str) -> Sequence[CountedConversion]:
        """Return the conversions of an order."""
        found = [self._counted(cell) for cell in self._counting(site, lambda cell: cell.row.order_id == order_id)]
        return sorted(found, key=lambda one: one.test)

    async def conversions_page(
        self,
        site: str,
        *,
        after_ms: int,
        upto_ms: int,
        goal: str | None = None,
        campaign_id: str | None = None,
        link_id: str | None = None,
        ambassador_id: str | None = None,
        after_id: str = "",
        limit: int = 500,
    ) -> Sequence[CountedConversion]:
        """Return conversions by time and id."""

        def wanted(cell: ConversionCell) -> bool:
            made = self._decisions.get(cell.row.conversion_id)
            credits = made[-1].credits if made else ()
            return (
                cell.place > (after_ms, after_id)
                and cell.occurred_at_ms <= upto_ms
                and goal in (None, cell.row.goal)
                and (
                    campaign_id is None
                    or (campaign_id and cell.claim.campaign_id == campaign_id)
                    or any(r.campaign_id == campaign_id for r in credits)
                )
                and (
                    (link_id is None and ambassador_id is None)
                    or any(link_id in (None, r.link_id) and ambassador_id in (None, r.ambassador_id) for r in credits)
                )
            )

        return [self._counted(cell) for cell in self._counting(site, wanted)[:limit]]

    async def previous_conversion_at(
        self, site: str, goal: str, *, visitor_key: bytes | None, person_key: bytes | None, before_ms: int, not_id: str
    ) -> int | None:
        """Return when the person last converted on a goal before."""

        def wanted(cell: ConversionCell) -> bool:
            item = self._events[site, cell.event_id]
            own = visitor_key is not None and item.event.visitor_key == visitor_key
            same = own or (person_key is not None and item.person_key == person_key)
            counts = cell.row.fate == "counted" and not cell.row.test and cell.row.goal == goal
            return counts and same and cell.place < (before_ms, not_id)

        found = self._counting(site, wanted)
        return found[-1].occurred_at_ms if found else None

    def _standing(self, cell: ConversionCell) -> Standing:
        made = self._decisions.get(cell.row.conversion_id)
        return Standing(
            goal=cell.row.goal,
            currency=cell.row.currency,
            fate=cell.row.fate,
            value_source=cell.claim.value_source,
            order_id=cell.row.order_id,
            amount_minor=cell.row.amount_minor,
            net_minor=cell.net_minor,
            test=cell.row.test,
            occurred_at_ms=cell.occurred_at_ms,
            decision=made[-1] if made else None,
        )

    def _sum(self, site: str, before: Standing | None, after: Standing) -> None:
        for goal_key, values in changed_goal(before, after).items():
            add(self._goal_days, (site, *goal_key), values)
        for credit_key, values in changed_credit(before, after).items():
            add(self._credit_days, (site, *credit_key), values)

    async def put_credit(self, site: str, row: AttributionRow) -> bool:
        """Store a decision."""
        cell = self._counting_one(site, row.conversion_id)
        if cell is None or len(self._decisions.get(row.conversion_id, ())) + 1 != row.version:
            return False
        if fault_of(row, cell.row.amount_minor) is not None:
            raise StoreError("ValueError")
        before = self._standing(cell)
        row = with_net(in_order(row), cell.net_minor)
        self._decisions.setdefault(row.conversion_id, []).append(row)
        if cell.credit_due_ms is not None and cell.credit_due_ms <= row.computed_at_ms:
            cell.credit_due_ms = None
        self._sum(site, before, self._standing(cell))
        return True

    async def attribution(self, conversion_id: str, version: int | None = None) -> AttributionRow | None:
        """Return the newest decision about a conversion, or an older one."""
        made = self._decisions.get(conversion_id, [])
        return next((row for row in reversed(made) if version in (None, row.version)), None)

    async def attributions(self, conversion_ids: Sequence[str]) -> Mapping[str, AttributionRow]:
        """Return the newest decisions about many conversions."""
        return {one: self._decisions[one][-1] for one in conversion_ids if self._decisions.get(one)}

    # -------------------------------------------------------------- adjustments

    async def put_adjustment(self, site: str, row: AdjustmentRow, applied: AdjustmentApplied | None) -> str:
        """Store an adjustment."""
        if await self.adjustment(site, row.adjustment_id) is not None:
            return "repeated"
        cell = self._counting_one(site, row.conversion_id)
        if applied is None:
            known = [c for c in await self.conversions_of_order(site, row.order_id or "") if row.goal in ("", c.goal)]
            if known or row.conversion_id is not None:
                return "stale"
        elif cell is None or len(self._own_adjustments(row.conversion_id)) + 1 != applied.known:
            return "stale"
        self._adjustments.append((site, row))
        if applied is not None and cell is not None:
            self._apply(cell, applied)
        return "recorded"

    def _own_adjustments(self, conversion_id: str | None) -> list[AdjustmentRow]:
        return [row for _, row in self._adjustments if row.conversion_id == conversion_id]

    def _apply(self, cell: ConversionCell, applied: AdjustmentApplied) -> None:
        before = self._standing(cell)
        conversion_id, currency = cell.row.conversion_id, cell.row.currency
        if cell.row.amount_minor is None and applied.net_minor is not None:
            restated = [row for row in self._own_adjustments(conversion_id) if row.kind == "restate"]
            newest = max(restated, key=lambda row: (row.at_ms, row.adjustment_id), default=None)
            currency = newest.currency if newest is not None else currency
        cell.net_minor = applied.net_minor
        cell.row = msgspec.structs.replace(cell.row, fate=applied.fate, reason=applied.reason, currency=currency)
        made = self._decisions.get(conversion_id)
        if made:
            made[-1] = with_net(made[-1], applied.net_minor)
        self._sum(cell.site, before, self._standing(cell))

    async def adjustments_of(self, site: str, conversion_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of a conversion."""
        return [row for own, row in self._adjustments if (own, row.conversion_id) == (site, conversion_id)]

    async def adjustment(self, site: str, adjustment_id: str) -> AdjustmentRow | None:
        """Return one adjustment."""
        return next((r for own, r in self._adjustments if (own, r.adjustment_id) == (site, adjustment_id)), None)

    async def waiting_adjustments(self, site: str, order_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of an order that wait for its conversion."""
        waiting = (site, order_id, None)
        return [row for own, row in self._adjustments if (own, row.order_id, row.conversion_id) == waiting]

    async def give_adjustments(
        self, site: str, adjustment_ids: Sequence[str], conversion_id: str, applied: AdjustmentApplied
    ) -> bool:
        """Give adjustments that waited to their conversion."""
        cell, ids = self._counting_one(site, conversion_id), set(adjustment_ids)
        places = [
            place
            for place, (own, row) in enumerate(self._adjustments)
            if own == site and row.adjustment_id in ids and row.conversion_id is None
        ]
        known = len(self._own_adjustments(conversion_id)) + len(places)
        if cell is None or len(places) != len(ids) or known != applied.known:
            return False
        for place in places:
            row = msgspec.structs.replace(self._adjustments[place][1], conversion_id=conversion_id)
            self._adjustments[place] = (site, row)
        self._apply(cell, applied)
        return True

    # -------------------------------------------------------------- sums

    async def spend_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[SpendRow]:
        """Return sums of what was spent."""
        if unknown := {*by, *only} - set(SPEND_COLUMNS):
            raise ValueError(f"there is no column {min(unknown)}")
        found: dict[Key, list[int | None]] = {}
        for row in await self.spend(site, from_day, upto_day):
            if all(getattr(row, name) == value for name, value in only.items()):
                parts = [getattr(row, name) for name in SPEND_COLUMNS]
                key = tuple(
                    [part if name in by else type(part)() for name, part in zip(SPEND_COLUMNS, parts, strict=True)]
                )
                sums = found.setdefault(key, [None, None, None])
                for place, value in enumerate((row.amount_minor, row.clicks, row.impressions)):
                    if value is not None:
                        sums[place] = (sums[place] or 0) + value
        return [
            SpendRow(**dict(zip(SpendRow.__struct_fields__, (*key, *found[key]), strict=True))) for key in sorted(found)
        ]

    async def touch_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[TouchDay]:
        """Return sums of touches."""
        return _summed(TouchDay, TOUCH_COLUMNS, self._touch_days, (site, from_day, upto_day), by, only)

    async def credit_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[CreditDay]:
        """Return sums of credit."""
        rows = _summed(CreditDay, CREDIT_COLUMNS, self._credit_days, (site, from_day, upto_day), by, only)
        return [msgspec.structs.replace(row, seconds_e9=row.seconds_e9 * SECONDS_DIVISOR) for row in rows]

    async def goal_days(self, site: str, from_day: int, upto_day: int, by: Sequence[str]) -> Sequence[GoalDay]:
        """Return sums of conversions."""
        return _summed(GoalDay, GOAL_COLUMNS, self._goal_days, (site, from_day, upto_day), by, NO_FILTER)

    async def paths(
        self, site: str, goal: str | None, after_ms: int, upto_ms: int, limit: int
    ) -> Sequence[tuple[str, int, int]]:
        """Return the most frequent paths."""
        found: dict[str, list[int]] = {}
        for cell in self._counting(site, lambda cell: cell.row.fate == "counted" and not cell.row.test):
            made = self._decisions.get(cell.row.conversion_id)
            wanted = goal in (None, cell.row.goal) and after_ms <= cell.occurred_at_ms <= upto_ms
            if wanted and made and made[-1].path:
                counts = found.setdefault(made[-1].path, [0, 0])
                counts[0] += 1
                counts[1] += cell.row.amount_minor is not None
        ordered = sorted(found.items(), key=lambda one: (-one[1][0], one[0]))
        return [(path, count, valued) for path, (count, valued) in ordered[:limit]]

    async def funnel(self, site: str, goals: Sequence[str], after_ms: int, upto_ms: int) -> Sequence[tuple[int, int]]:
        """Return conversions and persons of each step of a funnel."""

        def wanted(cell: ConversionCell) -> bool:
            counts = cell.row.fate == "counted" and not cell.row.test and cell.row.goal in goals
            return counts and after_ms <= cell.occurred_at_ms <= upto_ms

        return walk(goals, [self._step(cell) for cell in self._counting(site, wanted)])

    def _step(self, cell: ConversionCell) -> tuple[str, bytes | None, int]:
        item = self._events[cell.site, cell.event_id]
        return cell.row.goal, item.person_key or item.event.visitor_key, cell.occurred_at_ms

    # -------------------------------------------------------------- going

    def _forget(self, site: str, subject: bytes, event_ids: set[str]) -> int:
        """Delete touches, identity links and timers of a subject. Answers how many touches there were."""
        gone = [number for number, cell in self._touches.items() if self._is_own(cell, site, subject, event_ids)]
        for number in gone:
            del self._touches[number]
        self._identities = {k: at for k, at in self._identities.items() if k[0] != site or subject not in k[1:]}
        self._timers = {k: one for k, one in self._timers.items() if (k[0], k[2]) != (site, subject)}
        for cell in self._conversions:
            if cell.site == site and cell.event_id in event_ids:
                named = cell.claim.key[:2] in {"p:", "k:"}
                key = f"x:{cell.row.conversion_id}" if named else cell.claim.key
                cell.claim = msgspec.structs.replace(cell.claim, key=key, click_id=None)
        return len(gone)

    @staticmethod
    def _is_own(cell: "TouchCell", site: str, subject: bytes, event_ids: set[str]) -> bool:
        return cell.site == site and (cell.touch.visitor_key == subject or cell.event_id in event_ids)

    def _expire_credit(self, before_ms: int) -> int:
        """Delete clicks, identity links and waiting adjustments that are past their time."""
        had = len(self._touches) + len(self._identities) + len(self._adjustments)
        self._touches = {
            number: cell
            for number, cell in self._touches.items()
            if cell.event_id is not None or cell.touch.occurred_at_ms >= before_ms
        }
        self._identities = {key: at_ms for key, at_ms in self._identities.items() if at_ms >= before_ms}
        self._adjustments = [
            (own, row)
            for own, row in self._adjustments
            if row.conversion_id is not None or row.received_at_ms >= before_ms
        ]
        return had - len(self._touches) - len(self._identities) - len(self._adjustments)

    def _expire_event(self, key: tuple[str, str]) -> None:
        """Delete what hangs on an event: its touch, and its conversion with credit and adjustments."""
        ids = {c.row.conversion_id for c in self._conversions if (c.site, c.event_id) == key}
        self._conversions = [c for c in self._conversions if (c.site, c.event_id) != key]
        self._touches = {n: cell for n, cell in self._touches.items() if (cell.site, cell.event_id) != key}
        self._adjustments = [(own, row) for own, row in self._adjustments if row.conversion_id not in ids]
        for conversion_id in ids:
            self._decisions.pop(conversion_id, None)


def _summed(
    made: Callable[..., D],
    columns: Sequence[str],
    sums: "Mapping[Key, list[int]]",
    span: tuple[str, int, int],
    by: Sequence[str],
    only: Mapping[str, str],
) -> list[D]:
    """Rows of a sums table of a site and span of days that have some values, summed by some of its columns."""
    if unknown := {*by, *only} - set(columns):
        raise ValueError(f"there is no column {min(unknown)}")
    site, from_day, upto_day = span
    found: dict[Key, list[int]] = {}
    for (own, *parts), values in sums.items():
        has = dict(zip(columns, parts, strict=True))
        if any(has[name] != value for name, value in only.items()):
            continue
        if own == site and from_day <= parts[0] <= upto_day and any(values):
            named = [(part if name in by else type(part)()) for name, part in zip(columns, parts, strict=True)]
            add(found, tuple(named), values)
    return [made(*key, *found[key]) for key in sorted(found)]
