"""Four hundred days of marketing in a file: a catalogue, the past of a shop, what was spent, and the credit of it all.

Everything goes in through the store's contract and the flows, in large portions that are under way at once; nothing is
written past them.
"""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import app
from gateway.flows import cataloguing, credit, expire
from gateway.outbound import Network
from gateway.sandbox.demo import prepare
from gateway.sandbox.resolver import SandboxResolver
from gateway.stores.contract_credit import SpendRow
from tests.bench.past import AMBASSADORS, DAYS, GOALS, SITE, TOLD_EVERY_S, Past, Say
from tests.bench.servers import TARGET, settings_of

if TYPE_CHECKING:
    from gateway.catalogue import Link
    from gateway.flows.house import House

__all__ = ["Filled", "fill"]

CAMPAIGNS: Final = 20
LINKS: Final = 200
CREDIT_MAX_S: Final = 300.0
"""Longest time crediting may take; what is not credited by then is told."""

_SOURCES: Final = (
    ("newsletter", "email"), ("google", "cpc"), ("facebook", "paid_social"), ("instagram", "social"), ("sms", "sms"),
    ("partner", "affiliate"), ("flyer", "qr"), ("tiktok", "paid_social"), ("bing", "cpc"), ("youtube", "video"),
)  # fmt: skip
_MODELS: Final = {"purchase": "position_40_20_40", "sign_up": "last_non_direct", "generate_lead": "linear"}


class Filled(msgspec.Struct, kw_only=True):
    """What was stored and how long each part took. `slowest_ms`: the slowest portion of crediting, a conversion of it."""

    first_day: int
    slugs: list[str]
    campaign_code: str
    link_id: str
    conversion_id: str
    clicks: int
    clicks_s: float
    conversions: int
    conversions_s: float
    credited: int
    credit_s: float
    slowest_ms: float


async def fill(directory: Path, clicks: int, conversions: int, say: Say) -> Filled:
    """Make the catalogue, store, and credit. The file is closed afterwards."""
    prepare(directory)
    settings = settings_of(directory, [], behind_proxy=True)
    house = await app.open_house(settings, network=Network(SandboxResolver({})))
    try:
        made = Past(house, clicks, conversions, await _catalogue(house))
        clicks_s = await made.store_clicks(say)
        conversions_s = await made.store_conversions(say)
        await _spend(house, made.first_day)
        credited, credit_s, slowest_ms = await _credit(house, conversions, say)
        while await expire.list_visitors(house):
            await asyncio.sleep(0)
    finally:
        await house.store.close()
        await house.outbound.close()
    return Filled(
        first_day=made.first_day,
        slugs=[link.code for link in made.links],
        campaign_code="campaign01",
        link_id=made.links[0].id,
        conversion_id=house.store.conversion_id(SITE, made.last_event_id),
        clicks=clicks,
        clicks_s=clicks_s,
        conversions=conversions,
        conversions_s=conversions_s,
        credited=credited,
        credit_s=credit_s,
        slowest_ms=slowest_ms,
    )


async def _catalogue(house: "House") -> "list[Link]":
    """Goals, campaigns, ambassadors with their share links and coupons, and other links, some with two variants."""
    rooms = house.by_id[SITE]

    async def make(kind: str, **fields: object) -> str:
        answer = await cataloguing.create(house, rooms, kind, msgspec.json.encode(fields))
        entry = msgspec.convert(answer[kind], dict[str, object])
        return str(entry["id"])

    for code in GOALS:
        await make("goal", preset=code, model=_MODELS[code], target_rate_pct=3)
    campaigns = []
    for number in range(CAMPAIGNS):
        source, medium = _SOURCES[number % len(_SOURCES)]
        utm = {"source": source, "medium": medium, "campaign": f"campaign_{number:02d}"}
        campaigns.append(
            await make(
                "campaign",
                name=f"Campaign {number:02d}",
                code=f"campaign{number:02d}",
                utm=utm,
                ambassadors=number % 4 == 0,
            )
        )
    for number in range(AMBASSADORS):
        above = campaigns[4 * (number % (CAMPAIGNS // 4))]
        ambassador = await make(
            "ambassador", name=f"Ambassador {number:02d}", code=f"amb{number:02d}", campaign_id=above
        )
        await make("coupon", code=f"FRIEND{number:02d}", campaign_id=above, ambassador_id=ambassador)
    halves = [{"target": TARGET, "percent": 50}, {"target": f"{TARGET}-b", "percent": 50}]
    for number in range(LINKS - AMBASSADORS):
        variants = {"variants": halves} if number % 10 == 0 else {}
        target = f"{TARGET}-{number % 12}"
        await make("link", code=f"go{number:04d}", target=target, campaign_id=campaigns[number % CAMPAIGNS], **variants)
    codes = [f"go{number:04d}" for number in range(LINKS - AMBASSADORS)]
    codes += [f"amb{number:02d}" for number in range(AMBASSADORS)]
    found = [await house.shelves[SITE].link(code) for code in codes]
    return [link for link in found if link is not None]


async def _spend(house: "House", first_day: int) -> None:
    """What every campaign cost on every day."""
    for campaign in house.shelves[SITE].campaigns.values():
        rows = [
            SpendRow(
                day=first_day + day, campaign_id=campaign.id, channel="", source="", currency="EUR", amount_minor=4_000
            )
            for day in range(DAYS)
        ]
        await house.store.put_spend(SITE, rows, house.clock.now_ms())


async def _credit(house: "House", conversions: int, say: Say) -> tuple[int, float, float]:
    """Credit all that is due, portion by portion, as the worker does without its pauses."""
    begun_s = told_s = time.perf_counter()
    done, slowest_ms = 0, 0.0
    while time.perf_counter() - begun_s < CREDIT_MAX_S:
        portion_s = time.perf_counter()
        decided = await credit.credit_due(house)
        if not decided:
            break
        done += decided
        slowest_ms = max(slowest_ms, (time.perf_counter() - portion_s) / decided * 1_000)
        if time.perf_counter() - told_s > TOLD_EVERY_S:
            told_s = time.perf_counter()
            say(f"credited {done:,} of {conversions:,}, {done / (told_s - begun_s):,.0f} a second")
    return done, time.perf_counter() - begun_s, slowest_ms
