"""A visitor who buys under a consent platform, and what each ad platform may learn of it."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from playwright.async_api import Page

from gateway.sandbox.demo import Demo
from tests.journeys.conftest import OpenContext
from tests.journeys.staging import Sent, Stage, demo_of

EMAIL: Final = "jane.doe@example.com"
HASHED: Final = hashlib.sha256(EMAIL.encode()).hexdigest()


class Seen(NamedTuple):
    """Which platforms may learn of an order, and which of them who bought."""

    order: frozenset[str]
    person: frozenset[str]


ALL: Final = frozenset({"meta", "ga4", "google_ads", "webhook"})
NOTHING: Final = Seen(frozenset(), frozenset())
EVERYTHING: Final = Seen(ALL, ALL)
ANALYTICS: Final = Seen(frozenset({"ga4", "webhook"}), frozenset())


class Shop(NamedTuple):
    """A page with a consent platform, and what is around it."""

    demo: Demo
    stage: Stage
    page: Page
    sent: Sent

    async def buy(self, order: str) -> str:
        """Track a purchase. Answers the event's id."""
        data = {"value": "10.00", "currency": "EUR", "order_id": order, "person": {"email": EMAIL}}
        event_id: str = await self.page.evaluate("data => gateway.track('purchase', data)", data)
        return event_id

    async def buy_and_see(self, order: str, seen: Seen) -> None:
        """Track a purchase; when its deliveries are settled, hold what arrived against what was permitted."""
        fates = await self.settled(await self.buy(order))
        expected = {name: "accepted" if name in seen.order else "withheld" for name in ALL}
        assert fates == expected, order
        heard = {name: self.heard(name, order) for name in ALL}
        assert {name for name, text in heard.items() if text} == seen.order, order
        assert {name for name, text in heard.items() if HASHED in text} == seen.person, order
        assert EMAIL not in "".join(heard.values())

    async def settled(self, event_id: str) -> dict[str, str]:
        """Fate by platform, once there is nothing left to do."""
        fates: dict[str, str] = {}
        for _ in range(500):
            fates = await self.fates(event_id)
            if fates and "waiting" not in fates.values():
                return fates
            await self.page.wait_for_timeout(20)
        raise AssertionError(f"{event_id}: {fates}")

    async def fates(self, event_id: str) -> dict[str, str]:
        """Fate by platform as it is now; empty while the event is not stored."""
        assert self.demo.gateway is not None
        record = await self.demo.gateway.house.store.event(event_id, "shop")
        rows = record.deliveries if record is not None else ()
        return {"webhook" if row.destination == "crm" else row.destination: row.fate for row in rows}

    def heard(self, platform: str, order: str) -> str:
        """Everything a platform was sent that names an order."""
        requests = self.demo.stand_ins.by_name()[platform].ledger.requests()
        return "".join(request.body for request in requests if order in request.body)

    async def log(self) -> list[str]:
        """Kinds of the entries of the consent log."""
        assert self.demo.gateway is not None
        entries = await self.demo.gateway.house.store.log_entries("shop", 0, 100)
        return [json.loads(entry.entry)["event_type"] for entry in entries]


@asynccontextmanager
async def shopping(
    directory: Path,
    open_context: OpenContext,
    *,
    platforms: Mapping[str, Mapping[str, object]] | None = None,
    **site: object,
) -> AsyncIterator[Shop]:
    """A shop whose site and destinations have these settings besides those of the demo."""
    async with (
        demo_of(directory / "data", platforms=platforms, **site) as demo,
        Stage(demo.urls["gateway"]).served() as stage,
        open_context() as context,
    ):
        context.set_default_timeout(10_000)
        sent = Sent(context, demo.urls["gateway"])
        yield Shop(demo, stage, await context.new_page(), sent)
        assert sent.complaints == []
