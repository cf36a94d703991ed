"""Clicks, conversions and their credit, put into a store through its contract: what reports are made of.

    week = Books(shop)
    await week.clicks(10, campaign_id="spring", channel="email")
    await week.sale("o-1", 9999, credit=[week.touch(campaign_id="spring", channel="email")])

Every visitor is somebody else unless a test names one. Times are days before the clock's now.
"""

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from gateway.catalogue import Ambassador, Campaign, Coupon, Entry, Goal, Link
from gateway.errors import Refusal
from gateway.event import ConversionClaim, EventRow, Recordable, Submission, Touch
from gateway.flows import reports
from gateway.flows.shelves import folded_code
from gateway.stores.contract_credit import AttributionRow, Credit, SpendRow
from gateway.times import DAY_MS, HOUR_MS, day_of
from tests.support.running import Running

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["Books", "codes", "euros", "keyed", "refused"]

_KINDS: Final = {Campaign: "campaign", Link: "link", Ambassador: "ambassador", Coupon: "coupon", Goal: "goal"}
_EMPTY: Final = {
    "kind": "click", "channel": "email", "source": "newsletter", "medium": "email", "campaign_name": "", "link_id": "",
    "campaign_id": "", "ambassador_id": "", "variant": "", "device": "desktop", "landing": "/",
}  # fmt: skip


def keyed(report: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Rows by one part of their key."""
    return {row["key"][name]: row for row in report["rows"]}


def euros(row: dict[str, Any]) -> dict[str, Any]:
    """The row's money in EUR."""
    found: dict[str, Any] = next(entry for entry in row["money"] if entry["currency"] == "EUR")
    return found


def codes(found: list[dict[str, Any]]) -> set[str]:
    """The codes of notes or warnings."""
    return {one["code"] for one in found}


class Books:
    """The books of one site."""

    def __init__(self, shop: Running, site: str = "shop") -> None:
        self.house: House = shop.gateway.house
        self.rooms: SiteRooms = self.house.by_id[site]
        self.site = site
        self.now_ms = self.house.clock.now_ms()
        self.today = day_of(self.now_ms)
        self._numbers = count(1)

    # -------------------------------------------------------------- what is set up

    async def has(self, *records: Campaign | Link | Ambassador | Coupon | Goal) -> None:
        """Put entries into the catalogue."""
        for record in records:
            entry = Entry(
                site=self.site,
                kind=_KINDS[type(record)],
                id=record.id,
                folded=folded_code(record),
                parent=getattr(record, "campaign_id", ""),
                version=1,
                changed_at_ms=self.now_ms,
                archived=record.archived,
                body=msgspec.json.encode(record),
            )
            assert await self.house.store.put_entry(entry) == "stored"
            self.house.shelves[self.site].put(entry)

    async def spent(self, amount_minor: int, *, days_ago: int = 0, currency: str = "EUR", **where: Any) -> None:
        """Enter a cost."""
        row = {"campaign_id": "", "channel": "", "source": ""} | where
        await self.house.store.put_spend(
            self.site,
            [SpendRow(day=self.today - days_ago, currency=currency, amount_minor=amount_minor, **row)],
            self.now_ms,
        )

    # -------------------------------------------------------------- what happens

    async def clicks(
        self, number: int = 1, *, days_ago: int = 0, human: str = "yes", repeats: int = 0, **what: Any
    ) -> None:
        """Somebody else clicks, `number` times; the first click is repeated."""
        for place in range(number):
            click_id = f"click-{next(self._numbers)}"
            touch = Touch(
                occurred_at_ms=self.now_ms - days_ago * DAY_MS,
                visitor_key=None,
                referrer=None,
                campaign=None,
                click_ids=None,
                click_id=click_id,
                human=human,
                **(_EMPTY | what),
            )
            await self.house.store.record_click(self.site, touch)
            for _ in range(repeats if place == 0 else 0):
                await self.house.store.record_repeat(self.site, click_id)

    def touch(self, share: float = 1.0, *, hours: float = 1, **what: Any) -> dict[str, Any]:
        """A touch of a path that earned a share, so many hours before the conversion."""
        return {**_EMPTY, **what, "share": share, "hours": hours}

    async def sale(
        self,
        order_id: str | None,
        amount_minor: int | None = None,
        *,
        goal: str = "purchase",
        currency: str | None = "EUR",
        days_ago: int = 0,
        credit: Sequence[dict[str, Any]] = (),
        visitor: bytes | None = None,
        trust: str = "browser",
        first: bool = True,
        test: bool = False,
        facts: dict[str, Any] | None = None,
        value_source: str = "event",
    ) -> str:
        """A conversion, credited as told. Answers its id."""
        number = next(self._numbers)
        at_ms = self.now_ms - days_ago * DAY_MS
        said = amount_minor is not None
        item = Recordable(
            event=EventRow(
                self.site, f"event-{number:06d}", goal, trust, at_ms, at_ms, "signed" if visitor else "none", visitor,
                msgspec.json.encode(facts or {}),
            ),
            conversion=ConversionClaim(
                goal=goal,
                key=f"o:{order_id}" if order_id else f"e:event-{number:06d}",
                order_id=order_id,
                amount_minor=amount_minor,
                currency=currency if said else None,
                test=test,
                value_source=value_source if said else "none",
            ),
        )  # fmt: skip
        recorded = (await self.house.store.submit(Submission((item,)))).recorded[0]
        assert recorded.conversion_id is not None
        if recorded.fate == "counted":
            await self._decide(recorded.conversion_id, at_ms, amount_minor, credit, first=first)
        return recorded.conversion_id

    async def _decide(
        self, conversion_id: str, at_ms: int, amount_minor: int | None, credit: Sequence[dict[str, Any]], *, first: bool
    ) -> None:
        shares = [round(one["share"] * 1_000_000_000) for one in credit]
        if shares:
            shares[-1] += 1_000_000_000 - sum(shares)
        amounts: list[int | None] = [None] * len(shares)
        if amount_minor is not None and shares:
            parts = [amount_minor * share // 1_000_000_000 for share in shares]
            parts[-1] += amount_minor - sum(parts)
            amounts = list(parts)
        credits = [
            Credit(
                position=position,
                touch_no=None,
                at_ms=at_ms - int(one["hours"] * HOUR_MS),
                share_e9=share,
                amount_minor=amount,
                net_minor=amount,
                **{name: value for name, value in one.items() if name not in ("share", "hours")},
            )
            for position, (one, share, amount) in enumerate(zip(credit, shares, amounts, strict=True))
        ]
        store = self.house.store
        while True:  # the gateway's own worker may have decided first
            found = await store.conversion(self.site, conversion_id)
            assert found is not None
            row = AttributionRow(
                conversion_id=conversion_id,
                version=found.credit_version + 1,
                model="last_non_direct",
                model_version=1,
                goal_version=0,
                matched_by="device" if credits else "none",
                why=None if credits else "no_touch",
                path=" > ".join([one.channel for one in credits]),
                seconds=int(credit[-1]["hours"] * 3600) if credits else None,
                first_of_person=first,
                computed_at_ms=self.now_ms,
                excluded=b"{}",
                credits=tuple(credits),
            )
            if await store.put_credit(self.site, row):
                return

    # -------------------------------------------------------------- asking

    async def report(self, name: str, **query: str) -> dict[str, Any]:
        """Ask for a report. `from_` is `from`."""
        asked = {parameter.rstrip("_"): value for parameter, value in query.items()}
        return await reports.report(self.house, self.rooms, name, asked)

    async def row(self, name: str, **query: str) -> dict[str, Any]:
        """The first row of a report."""
        rows = (await self.report(name, **query))["rows"]
        assert rows, name
        found: dict[str, Any] = rows[0]
        return found


async def refused(books: Books, name: str, **query: str) -> tuple[str, str | None]:
    """The code and the field with which a report is refused."""
    with pytest.raises(Refusal) as caught:
        await books.report(name, **query)
    return caught.value.code, caught.value.field
