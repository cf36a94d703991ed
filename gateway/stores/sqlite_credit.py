"""The contract's second half on SQLite: see `contract_credit.CreditStore` for what each method promises.

A mixin of `SqliteStore`, which has the writer and the readers. What is done inside a transaction is in `crediting`.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.catalogue import Entry
from gateway.stores import crediting
from gateway.stores.appender import CLICK, REPEAT
from gateway.stores.contract_credit import (
    NO_FILTER,
    AdjustmentApplied,
    AdjustmentRow,
    AttributionRow,
    Contact,
    CountedConversion,
    CreditDay,
    DueTimer,
    GoalDay,
    SpendRow,
    TouchDay,
)
from gateway.stores.funnels import walk
from gateway.stores.named_sql import statements
from gateway.stores.summing import summed
from gateway.stores.sums import CREDIT_COLUMNS, GOAL_COLUMNS, SECONDS_DIVISOR, SPEND_COLUMNS, TOUCH_COLUMNS
from gateway.stores.touches import touch_row

if TYPE_CHECKING:
    from gateway.event import Touch
    from gateway.stores.writer import GroupWriter

__all__ = ["SqliteCredit"]

S = TypeVar("S")

_SQL: Final = statements("credit.sql")
_CATALOGUE: Final = statements("catalogue.sql")
_REPORT: Final = statements("report.sql")

_E9: Final = 1_000_000_000
_PERSONS_MAX: Final = 100
"""Persons one device is known by at most."""


def _made(kind: type[S], row: Sequence[Any], flags: Sequence[str] = ()) -> S:
    """A value from the columns of a row in the order of its fields. `flags` are truth values."""
    fields = dict(zip(kind.__struct_fields__, row, strict=True))  # type: ignore[attr-defined] # every S is a Struct
    for name in flags:
        fields[name] = bool(fields[name])
    return kind(**fields)


def _conversion(row: Sequence[Any]) -> CountedConversion:
    made = list(row)
    coupons = CountedConversion.__struct_fields__.index("coupons")
    made[coupons] = tuple(made[coupons].split("\n")) if made[coupons] else ()
    return _made(CountedConversion, made, ("test",))


class SqliteCredit:
    """See `contract_credit.CreditStore` for what each method promises."""

    _writer: "GroupWriter"
    _numbers: dict[str, int]
    _names: dict[int, str]

    if TYPE_CHECKING:

        async def _rows(
            self, sql: str, names: Sequence[object] | dict[str, object] = ()
        ) -> list[tuple[Any, ...]]: ...  # the store's

    # -------------------------------------------------------------- the catalogue

    async def put_entry(self, entry: Entry) -> str:
        """Store an entry."""
        number = self._numbers[entry.site]
        size = len(entry.body) + 300
        return await self._writer.add_work(lambda db: crediting.put_entry(db, number, entry), size, patient=True)

    async def entry(self, site: str, kind: str, entry_id: str, version: int | None = None) -> Entry | None:
        """Return an entry, or an old version of it."""
        key: tuple[object, ...] = (self._numbers[site], kind, entry_id)
        if version is None:
            return self._first_entry(site, await self._rows(_CATALOGUE["entry_get"], key))
        return self._first_entry(site, await self._rows(_CATALOGUE["entry_get_version"], (*key, version)))

    async def entry_by_code(self, site: str, kind: str, folded: str) -> Entry | None:
        """Return the entry with a code."""
        key = (self._numbers[site], kind, folded)
        return self._first_entry(site, await self._rows(_CATALOGUE["entry_by_code"], key))

    async def entries(
        self, site: str, kind: str, *, parent: str | None = None, after_id: str = "", limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries by id."""
        number = self._numbers[site]
        if parent is None:
            rows = await self._rows(_CATALOGUE["entries"], (number, kind, after_id, limit))
        else:
            rows = await self._rows(_CATALOGUE["entries_of"], (number, kind, parent, after_id, limit))
        return [_entry(site, row) for row in rows]

    @staticmethod
    def _first_entry(site: str, rows: Sequence[Sequence[Any]]) -> Entry | None:
        return _entry(site, rows[0]) if rows else None

    # -------------------------------------------------------------- touches

    def record_click(self, site: str, touch: "Touch") -> "asyncio.Future[int]":
        """Store a touch without an event. Raises StoreBusy at once when too much waits."""
        return self._writer.add_row(touch_row(self._numbers[site], None, touch), 400, 0, kind=CLICK)

    def record_repeat(self, site: str, click_id: str) -> "asyncio.Future[bool]":
        """Count one more click. Raises StoreBusy at once when too much waits."""
        return self._writer.add_row((self._numbers[site], click_id), 100, False, kind=REPEAT)

    async def contacts(
        self,
        site: str,
        *,
        visitor_keys: Sequence[bytes],
        click_ids: Sequence[str],
        after_ms: int,
        upto_ms: int,
        limit: int,
    ) -> Sequence[Contact]:
        """Return touches of visitors, and clicks by their ids. One statement a visitor: each reads no more than `limit`."""
        names: dict[str, object] = {
            "site_no": self._numbers[site], "after_ms": after_ms, "upto_ms": upto_ms, "limit": limit,
        }  # fmt: skip
        rows: list[tuple[Any, ...]] = []
        for key in dict.fromkeys(visitor_keys):
            rows += await self._rows(_SQL["contacts_of_visitor"], {**names, "visitor_key": key})
        if click_ids:
            rows += await self._rows(_SQL["contacts_by_click"], {**names, "click_ids": _list(click_ids)})
        newest = sorted({row[0]: row for row in rows}.values(), key=lambda row: (-row[4], -row[0]))[:limit]
        return [_made(Contact, row, ("consent", "test")) for row in newest]

    async def devices_of(self, site: str, person_key: bytes, limit: int = 100) -> Sequence[tuple[bytes, int]]:
        """Return the visitors that were seen to be a person, those known longest first."""
        rows = await self._rows(_SQL["devices_of"], (self._numbers[site], person_key, limit))
        return [(key, at_ms) for key, at_ms in rows]

    async def persons_of(self, site: str, visitor_keys: Sequence[bytes]) -> Sequence[tuple[bytes, bytes, int]]:
        """Return who visitors were seen to be."""
        found: list[tuple[bytes, bytes, int]] = []
        for key in dict.fromkeys(visitor_keys):
            rows = await self._rows(_SQL["persons_of"], (self._numbers[site], key, _PERSONS_MAX))
            found += [(visitor_key, person_key, at_ms) for visitor_key, person_key, at_ms in rows]
        return found

    # -------------------------------------------------------------- conversions

    async def uncredited(self, now_ms: int, limit: int) -> Sequence[CountedConversion]:
        """Return conversions whose credit is due."""
        rows = await self._rows(_SQL["uncredited"], {"now_ms": now_ms, "limit": limit})
        return [_conversion(row) for row in rows]

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
        names = {
            "site_no": self._numbers[site], "goal": goal, "conversion_id": conversion_id, "after_ms": after_ms,
            "upto_ms": upto_ms, "limit": limit, "now_ms": now_ms,
        }  # fmt: skip
        statement = _SQL["credit_again" if conversion_id is None else "credit_again_one"]
        return await self._writer.add_work(lambda db: db.execute(statement, names).rowcount, 200)

    async def conversion(self, site: str, conversion_id: str) -> CountedConversion | None:
        """Return one conversion."""
        names: dict[str, object] = {"site_no": self._numbers[site], "conversion_id": conversion_id}
        rows = await self._rows(_SQL["conversion_get"], names)
        return _conversion(rows[0]) if rows else None

    async def conversions_of_order(self, site: str, order_id: str) -> Sequence[CountedConversion]:
        """Return the conversions of an order."""
        names: dict[str, object] = {"site_no": self._numbers[site], "order_id": order_id}
        return [_conversion(row) for row in await self._rows(_SQL["conversions_of_order"], names)]

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
        names: dict[str, object] = {
            "site_no": self._numbers[site], "after_ms": after_ms, "upto_ms": upto_ms, "goal": goal,
            "campaign_id": campaign_id, "link_id": link_id, "ambassador_id": ambassador_id, "after_id": after_id,
            "limit": limit,
        }  # fmt: skip
        return [_conversion(row) for row in await self._rows(_REPORT["conversions_page"], names)]

    async def previous_conversion_at(
        self, site: str, goal: str, *, visitor_key: bytes | None, person_key: bytes | None, before_ms: int, not_id: str
    ) -> int | None:
        """Return when the person last converted on a goal before."""
        names: dict[str, object] = {
            "site_no": self._numbers[site], "goal": goal, "before_ms": before_ms, "not_id": not_id,
        }  # fmt: skip
        rows: list[tuple[Any, ...]] = []
        for statement, key in (("previous_of_visitor", visitor_key), ("previous_of_person", person_key)):
            if key is not None:
                rows += await self._rows(_SQL[statement], {**names, "subject_key": key})
        return max([int(at_ms) for (at_ms,) in rows], default=None)

    async def put_credit(self, site: str, row: AttributionRow) -> bool:
        """Store a decision."""
        number = self._numbers[site]
        size = len(row.path) + len(row.excluded) + 300 * len(row.credits) + 300
        return await self._writer.add_work(lambda db: crediting.put_credit(db, number, row), size)

    async def attribution(self, conversion_id: str, version: int | None = None) -> AttributionRow | None:
        """Return the newest decision about a conversion, or an older one."""
        if version is None:
            rows = await self._rows(_SQL["attribution_newest"], (conversion_id,))
        else:
            rows = await self._rows(_SQL["attribution_get"], (conversion_id, version))
        if not rows:
            return None
        credits = await self._rows(_SQL["credits_of"], (conversion_id, rows[0][1]))
        return crediting.attribution_of(rows[0], credits)

    async def attributions(self, conversion_ids: Sequence[str]) -> Mapping[str, AttributionRow]:
        """Return the newest decisions about many conversions: two statements, however many."""
        ids = list(dict.fromkeys(conversion_ids))
        decisions = await self._rows(_SQL["attributions"], {"ids": _list(ids)})
        versions: dict[str, object] = {"versions": json.dumps({row[0]: row[1] for row in decisions})}
        credits: dict[str, list[Sequence[Any]]] = {}
        for conversion_id, *credit in await self._rows(_SQL["credits_of_many"], versions):
            credits.setdefault(conversion_id, []).append(credit)
        return {row[0]: crediting.attribution_of(row, credits.get(row[0], ())) for row in decisions}

    async def delivery_fates(self, site: str, event_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Count the deliveries of many events."""
        names: dict[str, object] = {"site_no": self._numbers[site], "ids": _list(event_ids)}
        found: dict[str, dict[str, int]] = {}
        for destination, fate, count in await self._rows(_REPORT["delivery_fates"], names):
            found.setdefault(destination, {})[fate] = count
        return found

    # -------------------------------------------------------------- adjustments

    async def put_adjustment(self, site: str, row: AdjustmentRow, applied: AdjustmentApplied | None) -> str:
        """Store an adjustment."""
        number = self._numbers[site]
        return await self._writer.add_work(lambda db: crediting.put_adjustment(db, number, row, applied), 500)

    async def adjustments_of(self, site: str, conversion_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of a conversion."""
        names: dict[str, object] = {"site_no": self._numbers[site], "conversion_id": conversion_id}
        return [_made(AdjustmentRow, row) for row in await self._rows(_SQL["adjustments_of"], names)]

    async def adjustment(self, site: str, adjustment_id: str) -> AdjustmentRow | None:
        """Return one adjustment."""
        rows = await self._rows(_SQL["adjustment_get"], (self._numbers[site], adjustment_id))
        return _made(AdjustmentRow, rows[0]) if rows else None

    async def waiting_adjustments(self, site: str, order_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of an order that wait for its conversion."""
        rows = await self._rows(_SQL["adjustments_waiting"], (self._numbers[site], order_id))
        return [_made(AdjustmentRow, row) for row in rows]

    async def give_adjustments(
        self, site: str, adjustment_ids: Sequence[str], conversion_id: str, applied: AdjustmentApplied
    ) -> bool:
        """Give adjustments that waited to their conversion."""
        number, ids = self._numbers[site], tuple(adjustment_ids)
        return await self._writer.add_work(
            lambda db: crediting.give_adjustments(db, number, ids, conversion_id, applied), 500
        )

    # -------------------------------------------------------------- spend and sums

    async def put_spend(self, site: str, rows: Sequence[SpendRow], now_ms: int) -> int:
        """Store what was spent."""
        number, kept = self._numbers[site], tuple(rows)
        return await self._writer.add_work(
            lambda db: crediting.put_spend(db, number, kept, now_ms), 200 * len(kept) + 100
        )

    async def spend(self, site: str, from_day: int, upto_day: int) -> Sequence[SpendRow]:
        """Return what was spent."""
        return [
            _made(SpendRow, row)
            for row in await self._rows(_REPORT["spend"], (self._numbers[site], from_day, upto_day))
        ]

    async def spend_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[SpendRow]:
        """Return sums of what was spent."""
        found = []
        for row in await self._sums("spend_days", SPEND_COLUMNS, (site, from_day, upto_day), by, only):
            *key, amount, amount_rest, clicks, impressions = row
            found.append(_made(SpendRow, (*key, amount * _E9 + amount_rest, clicks, impressions)))
        return found

    async def touch_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[TouchDay]:
        """Return sums of touches."""
        rows = await self._sums("touch_days", TOUCH_COLUMNS, (site, from_day, upto_day), by, only)
        return [TouchDay(*row) for row in rows]

    async def credit_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[CreditDay]:
        """Return sums of credit."""
        found = []
        for row in await self._sums("credit_days", CREDIT_COLUMNS, (site, from_day, upto_day), by, only):
            *key, share, first, amount, amount_rest, net, net_rest, seconds, timed = row
            sums = (share, first, amount * _E9 + amount_rest, net * _E9 + net_rest, seconds * SECONDS_DIVISOR, timed)
            found.append(CreditDay(*(*key, *sums)))
        return found

    async def goal_days(self, site: str, from_day: int, upto_day: int, by: Sequence[str]) -> Sequence[GoalDay]:
        """Return sums of conversions."""
        found = []
        for row in await self._sums("goal_days", GOAL_COLUMNS, (site, from_day, upto_day), by, NO_FILTER):
            *counts, amount, amount_rest, net, net_rest, seconds, timed = row
            found.append(GoalDay(*(*counts, amount * _E9 + amount_rest, net * _E9 + net_rest, seconds, timed)))
        return found

    async def _sums(
        self,
        statement: str,
        columns: Sequence[str],
        span: tuple[str, int, int],
        by: Sequence[str],
        only: Mapping[str, str],
    ) -> list[tuple[Any, ...]]:
        site, *days = span
        sql, names = summed(statement, columns, (days[0], days[1]), by, only)
        return await self._rows(sql, {"site_no": self._numbers[site], **names})

    async def paths(
        self, site: str, goal: str | None, after_ms: int, upto_ms: int, limit: int
    ) -> Sequence[tuple[str, int, int]]:
        """Return the most frequent paths."""
        names: dict[str, object] = {
            "site_no": self._numbers[site], "goal": goal, "after_ms": after_ms, "upto_ms": upto_ms, "limit": limit,
        }  # fmt: skip
        return [(path, count, valued) for path, count, valued in await self._rows(_REPORT["paths"], names)]

    async def funnel(self, site: str, goals: Sequence[str], after_ms: int, upto_ms: int) -> Sequence[tuple[int, int]]:
        """Return conversions and persons of each step of a funnel."""
        names: dict[str, object] = {
            "site_no": self._numbers[site], "goals": _list(goals), "after_ms": after_ms, "upto_ms": upto_ms,
        }  # fmt: skip
        rows = await self._rows(_REPORT["funnel"], names)
        return await asyncio.to_thread(walk, goals, rows)  # a long walk must not hold up requests

    # -------------------------------------------------------------- timers

    async def set_timer(self, site: str, kind: str, subject_key: bytes, due_at_ms: int, payload: bytes) -> None:
        """Set a timer of a subject."""
        row = (self._numbers[site], kind, subject_key, due_at_ms, payload)
        await self._writer.add_work(lambda db: db.execute(_CATALOGUE["timer_set"], row).rowcount, len(payload) + 100)

    async def stop_timer(self, site: str, kind: str, subject_keys: Sequence[bytes]) -> int:
        """Stop timers of subjects."""
        number, keys = self._numbers[site], tuple(subject_keys)
        return await self._writer.add_work(lambda db: crediting.stop_timers(db, number, kind, keys), 100)

    async def claim_timers(self, now_ms: int, lease_ms: int, limit: int) -> Sequence[DueTimer]:
        """Take due timers for some time."""
        names = self._names
        return await self._writer.add_work(
            lambda db: crediting.claim_timers(db, names, now_ms, lease_ms, limit), 100, patient=True
        )

    async def timers(self, site: str, kind: str) -> Sequence[DueTimer]:
        """Return all timers of a kind."""
        rows = await self._rows(_CATALOGUE["timers"], (self._numbers[site], kind))
        return [DueTimer(row[0], site, *row[1:]) for row in rows]

    async def finish_timers(self, timers: Sequence[DueTimer]) -> None:
        """Delete timers that are done."""
        done = tuple(timers)
        await self._writer.add_work(lambda db: crediting.finish_timers(db, done), 100 + 50 * len(done), patient=True)

    # -------------------------------------------------------------- looking for faults

    async def _faults_in_credit(self) -> list[str]:
        """Credit that does not sum to its conversion, and sums that do not follow from the rows."""
        faults = []
        for conversion_id, shares, amounts, nets in await self._rows(_REPORT["check_credit"]):
            wrong = [name for name, bad in (("shares", shares), ("amounts", amounts), ("net amounts", nets)) if bad]
            faults.append(f"the {' and '.join(wrong)} credited for conversion {conversion_id} do not sum to it")
        for (conversion_id,) in await self._rows(_REPORT["check_attribution"]):
            faults.append(f"the decision about conversion {conversion_id} is missing")
        for table in ("goal_day", "credit_day"):
            for site, day, goal, currency in await self._rows(_REPORT[f"check_{table}"]):
                unit = f" in {currency}" if currency else ""
                faults.append(
                    f"the sums in {table} of {site}, day {day}, goal {goal}{unit} do not follow from the rows"
                )
        for table in ("touch_month", "credit_month"):
            for site, day in await self._rows(_REPORT[f"check_{table}"]):
                faults.append(f"the sums in {table} of {site}, month of day {day} do not follow from its days")
        return faults


def _entry(site: str, row: Sequence[Any]) -> Entry:
    return _made(Entry, (site, *row), ("archived",))


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values))
