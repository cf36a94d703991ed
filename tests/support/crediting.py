"""A shop whose contacts and conversions a test writes down itself, day by day, in a real gateway with a real database.

    async with crediting(tmp_path) as shop:
        await shop.click("ann", day=1, channel="email")
        order = await shop.convert("ann", day=5, value=1000)
        assert (await shop.decided(order)).path == "email"

Visitors and persons are words; the store knows them by a digest of that word. Day 1 is NOW_MS. The clock stands at the
latest thing that was written.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.catalogue import Ambassador, Campaign, Coupon, Entry, Goal, Link
from gateway.clock import ManualClock
from gateway.event import ConversionClaim, EventRow, Recordable, Submission, Touch
from gateway.flows.assemble import Facts
from gateway.flows.credit import credit_due
from gateway.flows.shelves import folded_code
from gateway.purposes import ALL_PURPOSES, Judgement, Ruling
from gateway.stores.contract_credit import AttributionRow
from gateway.times import DAY_MS
from tests.support.running import NOW_MS, Running, running

__all__ = ["DAY_1_MS", "SITE", "Shop", "at", "crediting", "key"]

DAY_1_MS: Final = NOW_MS
SITE: Final = "shop"
_KINDS: Final = {Goal: "goal", Campaign: "campaign", Link: "link", Ambassador: "ambassador", Coupon: "coupon"}


def key(word: str) -> bytes:
    """The digest of a visitor or a person."""
    return hashlib.sha256(word.encode()).digest()[:16]


def at(day: float) -> int:
    """A moment in ms: day 1 is the start, day 2 is 24 hours later."""
    return DAY_1_MS + round((day - 1) * DAY_MS)


class Shop:
    """What a test does with the gateway."""

    def __init__(self, gateway: Running) -> None:
        self.running = gateway
        self.house = gateway.gateway.house
        self.store = self.house.store
        self.shelf = self.house.shelves[SITE]
        self._made = 0

    # -------------------------------------------------------------- the catalogue

    async def put(self, record: Goal | Campaign | Link | Ambassador | Coupon, *, day: float = 1) -> None:
        """Store an entry, or its next version, and put it on the shelf."""
        kind = _KINDS[type(record)]
        known = await self.store.entry(SITE, kind, record.id)
        parent = "" if isinstance(record, Goal | Campaign) else record.campaign_id
        entry = Entry(
            site=SITE,
            kind=kind,
            id=record.id,
            folded=folded_code(record),
            parent=parent,
            version=known.version + 1 if known is not None else 1,
            changed_at_ms=at(day),
            archived=record.archived,
            body=msgspec.json.encode(record),
        )
        assert await self.store.put_entry(entry) == "stored"
        self.shelf.put(entry)

    async def goal(self, code: str, **fields: Any) -> Goal:
        """A goal, or its next version."""
        goal = Goal(id=f"goal_{code}", code=code, name=code.title(), **fields)
        await self.put(goal)
        return goal

    async def campaign(self, code: str, **fields: Any) -> Campaign:
        """A campaign."""
        campaign = Campaign(id=f"cmp_{code}", code=code, name=code.title(), **fields)
        await self.put(campaign)
        return campaign

    async def link(self, code: str, **fields: Any) -> Link:
        """A link."""
        link = Link(id=f"lnk_{code}", code=code, target="https://shop.example/", **fields)
        await self.put(link)
        return link

    async def ambassador(self, code: str, campaign: Campaign, person: str = "") -> Ambassador:
        """An ambassador of a campaign; `person` is who they are."""
        made = Ambassador(
            id=f"amb_{code}",
            code=code,
            name=code.title(),
            campaign_id=campaign.id,
            person_key=key(person) if person else b"",
        )
        await self.put(made)
        return made

    async def coupon(
        self, code: str, campaign: Campaign, ambassador: Ambassador | None = None, **fields: Any
    ) -> Coupon:
        """A coupon of a campaign or an ambassador."""
        made = Coupon(
            id=f"cpn_{code.lower()}",
            code=code,
            campaign_id=campaign.id,
            ambassador_id=ambassador.id if ambassador is not None else "",
            **fields,
        )
        await self.put(made)
        return made

    # -------------------------------------------------------------- what happens

    def _id(self, word: str) -> str:
        self._made += 1
        return f"{word}_{self._made:06d}"

    def _until(self, at_ms: int) -> None:
        clock = self.running.clock
        assert isinstance(clock, ManualClock)
        clock.move(ms=max(0, at_ms - clock.now_ms()))

    async def click(self, visitor: str | None, *, day: float, campaign: Campaign | None = None, **fields: Any) -> int:
        """A click on a link, without an event. Answers its number."""
        self._until(at(day))
        touch = _touch(visitor, day, campaign, fields)
        return await self.store.record_click(SITE, touch)

    async def land(
        self,
        visitor: str,
        *,
        day: float,
        campaign: Campaign | None = None,
        url: str = "https://shop.example/",
        **fields: Any,
    ) -> str:
        """A page view that is a contact. Answers the id of its event."""
        return await self._submit("page_view", visitor, day, touch=_touch(visitor, day, campaign, fields), url=url)

    async def view(self, visitor: str, *, day: float, url: str = "https://shop.example/") -> str:
        """A page view that is no contact. Answers the id of its event."""
        return await self._submit("page_view", visitor, day, url=url)

    async def seen(self, visitor: str, person: str, *, day: float) -> None:
        """A login: the visitor is seen to be a person, under consent."""
        await self._submit("login", visitor, day, person=person)

    async def convert(
        self,
        visitor: str | None,
        *,
        day: float,
        goal: str = "purchase",
        value: int | None = 1000,
        order: str | None = None,
        person: str | None = None,
        trust: str = "server",
        **claim: Any,
    ) -> str:
        """A conversion in cents of euro. Answers its id."""
        known = self.shelf.goals.get(goal)
        event_id = self._id("evt_sale")
        made = ConversionClaim(
            goal=goal,
            key=f"o:{order}" if order else f"e:{event_id}",
            order_id=order,
            amount_minor=value,
            currency="EUR" if value is not None else None,
            goal_version=self.shelf.version("goal", known.id) if known is not None else 0,
            **claim,
        )
        await self._submit(goal, visitor, day, person=person, trust=trust, claim=made, event_id=event_id)
        return f"c1_{event_id}"

    async def _submit(
        self,
        name: str,
        visitor: str | None,
        day: float,
        *,
        touch: Touch | None = None,
        person: str | None = None,
        trust: str = "browser",
        claim: ConversionClaim | None = None,
        event_id: str = "",
        url: str = "https://shop.example/thanks",
    ) -> str:
        self._until(at(day))
        event_id = event_id or self._id("evt_page")
        granted = Judgement("opt_in", ALL_PURPOSES, (Ruling(ALL_PURPOSES, True, 0, "none"),), "1")
        facts = Facts(page={"url": url}, judgement=granted)  # type: ignore[arg-type] # written as the JSON it becomes
        row = EventRow(
            SITE, event_id, name, trust, at(day), at(day), "signed" if visitor else "none",
            key(visitor) if visitor else None, msgspec.json.encode(facts),
        )  # fmt: skip
        item = Recordable(event=row, person_key=key(person) if person else None, conversion=claim, touch=touch)
        submitted = await self.store.submit(Submission((item,)))
        assert submitted.recorded[0].fate in {"recorded", "counted"}, submitted
        return event_id

    # -------------------------------------------------------------- what comes of it

    async def decided(self, conversion_id: str, version: int | None = None) -> AttributionRow:
        """The newest decision about a conversion, or an older one, once everything due is decided."""
        while await credit_due(self.house):
            pass
        row = await self.store.attribution(conversion_id, version)
        assert row is not None, f"{conversion_id} was never decided"
        return row

    async def earned(self, conversion_id: str) -> dict[str, float]:
        """What each channel earned of a conversion, nothing left out."""
        found: dict[str, float] = {}
        for one in (await self.decided(conversion_id)).credits:
            if one.share_e9:
                found[one.channel] = found.get(one.channel, 0) + one.share_e9 / 1e9
        return found

    async def why_not(self, conversion_id: str) -> dict[str, str]:
        """Why touches earned nothing, by their numbers."""
        found: dict[str, str] = msgspec.json.decode((await self.decided(conversion_id)).excluded)
        return found


def _touch(visitor: str | None, day: float, campaign: Campaign | None, fields: dict[str, Any]) -> Touch:
    plain = {"kind": "click", "channel": "email", "source": "newsletter", "medium": "email", "referrer": None}
    if campaign is not None:
        plain |= {"campaign_id": campaign.id, "campaign_name": campaign.name}
    return Touch(
        **{"campaign": None, "click_ids": None, **plain, **fields},
        occurred_at_ms=at(day),
        visitor_key=key(visitor) if visitor else None,
    )


@asynccontextmanager
async def crediting(directory: Path, **sections: Any) -> AsyncIterator[Shop]:
    """A shop for the length of a block."""
    async with running(directory, **sections) as gateway:
        yield Shop(gateway)
