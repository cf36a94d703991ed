"""The past of a shop: clicks, landings and conversions of the days before now, worked out from one seed and stored.

Journeys: somebody clicks one to six times within 25 days, by links of several channels, and converts some hours after the
last click. The last click was made before anybody knew the visitor; the landing names both, so that crediting has to put
them together. All other clicks belong to nobody who converts; one in ten of them is a robot's.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gateway.event import Agent, ConversionClaim, EventRow, Page, Recordable, Submission, Touch
from gateway.flows.assemble import Facts
from gateway.flows.touching import called
from gateway.links.codes import CLICK_ID_BYTES, click_id
from gateway.purposes import ALL_PURPOSES, Judgement, Ruling
from gateway.times import DAY_MS, HOUR_MS, SECOND_MS
from tests.bench.servers import TARGET

if TYPE_CHECKING:
    from gateway.catalogue import Link
    from gateway.flows.house import House

__all__ = ["AMBASSADORS", "DAYS", "GOALS", "SITE", "Past", "Say"]

SITE: Final = "shop"
DAYS: Final = 400
AMBASSADORS: Final = 50
GOALS: Final = ("purchase", "sign_up", "generate_lead")
TOLD_EVERY_S: Final = 10.0

_AT_ONCE: Final = 4_000
_PER_SUBMISSION: Final = 50
_REACH_MS: Final = 25 * DAY_MS
_AGENTS: Final = (
    Agent("mobile", "ios", "mobile safari"), Agent("mobile", "android", "chrome mobile"),
    Agent("desktop", "windows", "chrome"), Agent("desktop", "mac os x", "safari"), Agent("tablet", "ios", "mobile safari"),
)  # fmt: skip
_JUDGED: Final = Judgement(
    regime="opt_in", granted=ALL_PURPOSES, rulings=(Ruling(ALL_PURPOSES, True, 4, "receipt"),), rules="1"
)

Say = Callable[[str], None]
T = TypeVar("T")


class _Journey(msgspec.Struct):
    """One conversion to be: when, whose, how many clicks before it, and the last of those once it is stored."""

    at_ms: int
    visitor: int
    clicks: int
    goal: str
    last: Touch | None = None


class Past:
    """What happened in the days before now, worked out from one seed."""

    def __init__(self, house: "House", clicks: int, conversions: int, links: "list[Link]") -> None:
        self.links = links
        self.last_event_id = ""
        now_ms = house.clock.now_ms()
        self.first_day = now_ms // DAY_MS - DAYS + 1
        self._house = house
        self._from_ms, self._upto_ms = self.first_day * DAY_MS, now_ms - HOUR_MS
        self._chance = random.Random(4)
        self._weights = [1_000 // (place + 3) for place in range(len(links))]
        self._journeys = self._planned(conversions, clicks)
        self._moments = self._planned_clicks(clicks)

    # -------------------------------------------------------------- planning

    def _planned(self, conversions: int, clicks: int) -> list[_Journey]:
        """Journeys by time; one in six is of a visitor who converted before."""
        chance, left = self._chance, clicks
        journeys: list[_Journey] = []
        times = sorted(chance.randrange(self._from_ms, self._upto_ms) for _ in range(conversions))
        for number, at_ms in enumerate(times):
            count = min(left, chance.choices(range(1, 7), (35, 25, 16, 12, 8, 4))[0])
            left -= count
            again = number > 100 and chance.random() < 1 / 6
            visitor = journeys[chance.randrange(max(0, number - 5_000), number)].visitor if again else number
            goal = chance.choices(GOALS, (60, 25, 15))[0]
            journeys.append(_Journey(at_ms, visitor, count, goal))
        return journeys

    def _planned_clicks(self, clicks: int) -> list[tuple[int, int]]:
        """When each click is, and the number of its journey, -1 for none; by time."""
        chance = self._chance
        moments = []
        for number, journey in enumerate(self._journeys):
            for place in range(journey.clicks):
                reach_ms = chance.randrange(HOUR_MS, DAY_MS) if not place else chance.randrange(DAY_MS, _REACH_MS)
                moments.append((max(self._from_ms, journey.at_ms - reach_ms), number))
        moments += [(chance.randrange(self._from_ms, self._upto_ms), -1) for _ in range(clicks - len(moments))]
        moments.sort()
        return moments

    # -------------------------------------------------------------- clicks

    async def store_clicks(self, say: Say) -> float:
        """Store every click. Answers the seconds it took, those in which they were made up left out."""
        spent_s, done, told_s = 0.0, 0, time.perf_counter()
        for touches in _portions(self._touches(), _AT_ONCE):
            begun_s = time.perf_counter()
            await asyncio.gather(*[self._house.store.record_click(SITE, touch) for touch in touches])
            spent_s += time.perf_counter() - begun_s
            done += len(touches)
            if time.perf_counter() - told_s > TOLD_EVERY_S:
                told_s = time.perf_counter()
                say(f"stored {done:,} of {len(self._moments):,} clicks, {done / spent_s:,.0f} a second")
        return spent_s

    def _touches(self) -> Iterator[Touch]:
        left = [journey.clicks for journey in self._journeys]
        for at_ms, number in self._moments:
            if number < 0:
                yield self._touch(at_ms, None)
                continue
            journey = self._journeys[number]
            left[number] -= 1
            touch = self._touch(at_ms, _key(journey.visitor) if left[number] else None, human=True)
            if not left[number]:
                journey.last = touch
            yield touch

    def _touch(self, at_ms: int, visitor_key: bytes | None, *, human: bool = False) -> Touch:
        chance = self._chance
        link = chance.choices(self.links, self._weights)[0]
        shelf = self._house.shelves[SITE]
        named = called(link, shelf.campaigns.get(link.campaign_id), {})
        agent = chance.choice(_AGENTS)
        robot = not human and chance.random() < 0.1
        target = link.target.partition(".example")[2]
        return Touch(
            kind="qr" if chance.random() < 0.05 else "click",
            occurred_at_ms=at_ms,
            visitor_key=visitor_key,
            referrer=None,
            campaign=named.campaign,
            click_ids=None,
            channel=named.channel,
            source=named.source.source,
            medium=named.source.medium,
            campaign_name=named.source.campaign,
            link_id=link.id,
            campaign_id=link.campaign_id,
            ambassador_id=link.ambassador_id,
            variant=chance.choice(link.variants).id if link.variants else "",
            click_id=click_id(chance.randbytes(CLICK_ID_BYTES)),
            device=agent.device,
            os=agent.os,
            browser=agent.browser,
            landing=target,
            human="no" if robot else "yes",
            human_reason="crawler_list" if robot else "person",
            consent=visitor_key is not None,
        )

    # -------------------------------------------------------------- conversions

    async def store_conversions(self, say: Say) -> float:
        """Store every conversion with the landing before it. Answers the seconds it took."""
        spent_s, done, told_s = 0.0, 0, time.perf_counter()
        for part in _portions(enumerate(self._journeys), _AT_ONCE // 2):
            ready = [Submission(tuple(items)) for items in _portions(self._items(part), 2 * _PER_SUBMISSION)]
            begun_s = time.perf_counter()
            await asyncio.gather(*[self._house.store.submit(submission) for submission in ready])
            spent_s += time.perf_counter() - begun_s
            done += len(part)
            if time.perf_counter() - told_s > TOLD_EVERY_S:
                told_s = time.perf_counter()
                say(f"stored {done:,} of {len(self._journeys):,} conversions, {done / spent_s:,.0f} a second")
        return spent_s

    def _items(self, journeys: Iterable[tuple[int, _Journey]]) -> Iterator[Recordable]:
        for number, journey in journeys:
            if journey.last is not None:
                yield self._landing(number, journey, journey.last)
            yield self._conversion(number, journey)

    def _landing(self, number: int, journey: _Journey, last: Touch) -> Recordable:
        key, at_ms = _key(journey.visitor), last.occurred_at_ms + SECOND_MS
        touch = msgspec.structs.replace(
            last,
            occurred_at_ms=at_ms,
            kind="click",
            visitor_key=key,
            click_id=None,
            landed_click_id=last.click_id,
            consent=True,
        )
        facts = _facts(Page(f"{TARGET}{last.landing}", "Red shoes"), last)
        row = EventRow(SITE, f"L{number:025d}", "page_view", "browser", at_ms, at_ms, "signed", key, facts)
        return Recordable(event=row, touch=touch)

    def _conversion(self, number: int, journey: _Journey) -> Recordable:
        chance, key, event_id = self._chance, _key(journey.visitor), f"C{number:025d}"
        self.last_event_id = event_id
        sale = journey.goal == "purchase"
        order_id = f"order-{number}" if sale else None
        amount_minor = chance.randrange(500, 30_000) if sale else None
        currency = ("USD" if number % 7 == 0 else "EUR") if sale else None
        coupons = (f"FRIEND{chance.randrange(AMBASSADORS):02d}",) if sale and chance.random() < 0.04 else ()
        claim = ConversionClaim(
            goal=journey.goal,
            key=f"o:{order_id}" if order_id else f"e:{event_id}",
            order_id=order_id,
            amount_minor=amount_minor,
            currency=currency,
            value_source="event" if sale else "none",
            coupons=coupons,
            goal_version=1,
        )
        facts = _facts(
            Page(f"{TARGET}/thank-you", "Thank you"),
            journey.last,
            amount=amount_minor,
            currency=currency,
            order=order_id,
        )
        at_ms = journey.at_ms
        row = EventRow(SITE, event_id, journey.goal, "browser", at_ms, at_ms, "signed", key, facts)
        person = b"person %9d" % journey.visitor if number % 5 < 2 else None
        return Recordable(event=row, person_key=person, conversion=claim)


def _facts(
    page: Page, touch: Touch | None, *, amount: int | None = None, currency: str | None = None, order: str | None = None
) -> bytes:
    agent = Agent(touch.device, touch.os, touch.browser) if touch is not None else None
    return msgspec.json.encode(
        Facts(
            page=page, agent=agent, amount_minor=amount, currency=currency, order_id=order, judgement=_JUDGED,
            props={"theme": "dark", "language": "de", "width": 1280},
        )
    )  # fmt: skip


def _key(visitor: int) -> bytes:
    """The key of a visitor. Keys are digests, so neighbours are not near each other."""
    return hashlib.blake2b(b"%d" % visitor, digest_size=16).digest()


def _portions(found: Iterable[T], size: int) -> Iterator[list[T]]:
    taken = iter(found)
    while portion := list(islice(taken, size)):
        yield portion
