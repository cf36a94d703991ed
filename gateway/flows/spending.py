"""Spending: what was spent is read, checked as a whole, and stored by day, campaign, channel, source and currency.

A file with one wrong row changes nothing: half a month's cost would make every return on it wrong. What is sent again
replaces what was there, so a corrected file is simply sent once more.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.attribution.channels import CHANNELS
from gateway.errors import Refusal
from gateway.flows.convert import authenticate
from gateway.money import major_text
from gateway.protocols.spend import COLUMNS, SpendLine, SpendProblem, SpendTerms, read_day, read_spend
from gateway.stores.contract_credit import SpendRow
from gateway.times import DAY_MS, day_of, utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = ["COLUMNS", "PROBLEMS_TOLD", "SpendProblem", "Spent", "allow", "listed", "read_days", "take"]

PROBLEMS_TOLD: Final = 10_000
"""Wrong rows that are told at most: more of them are one mistake in the file."""

DAYS_MAX: Final = 400
"""Days of one list."""

_PORTION: Final = 1_000
_BREATH: Final = 200
"""Rows after which others get their turn."""

_CHANNEL_NAMES: Final = {name: name for name in CHANNELS} | {
    channel.title.casefold(): name for name, channel in CHANNELS.items()
}


class Spent(msgspec.Struct, frozen=True):
    """What became of a file. With `problems` nothing was stored; else `changed` of its `rows` are new or say otherwise."""

    rows: int
    changed: int
    problems: tuple[SpendProblem, ...] = ()


def allow(house: "House", rooms: "SiteRooms", request: "Request") -> None:
    """Let a caller in who may manage the site. Raises Refusal as `convert.authenticate` does."""
    authenticate(house, rooms, request, "manage", house.clock.now_ms())


async def take(house: "House", rooms: "SiteRooms", body: bytes) -> Spent:
    """Take a file or list of what was spent. Raises Refusal where it is unreadable as a whole, and StoreError.

    Rows are stored in portions; after a StoreError the same file is sent again, which is the same as sending it once.
    """
    now_ms = house.clock.now_ms()
    terms = SpendTerms(
        last_day=day_of(now_ms) + 1,  # it is tomorrow somewhere
        currency=rooms.site.currency,
        rows_max=house.settings.uploads.spend_rows_max,
    )
    found: dict[tuple[int, str, str, str, str], SpendRow] = {}
    problems: list[SpendProblem] = []
    count = 0
    for count, read in enumerate(read_spend(body, terms), 1):
        if count % _BREATH == 0:
            await asyncio.sleep(0)
        problem = read if isinstance(read, SpendProblem) else _shelve(house, rooms, read, found)
        if problem is not None:
            problems.append(problem)
            if len(problems) == PROBLEMS_TOLD:
                break
    if problems:
        return Spent(count, 0, tuple(problems))
    changed = 0
    rows = list(found.values())
    for start in range(0, len(rows), _PORTION):
        changed += await house.store.put_spend(rooms.id, rows[start : start + _PORTION], now_ms)
    return Spent(count, changed)


def _shelve(
    house: "House", rooms: "SiteRooms", line: SpendLine, found: dict[tuple[int, str, str, str, str], SpendRow]
) -> SpendProblem | None:
    """Put a row with the others, unless its campaign is not known or another row says the same day's cost."""
    campaign_id = ""
    if line.campaign:
        shelf = house.shelves[rooms.id]
        campaign = shelf.campaigns.get(line.campaign) or shelf.campaigns_by_code.get(line.campaign.lower())
        if campaign is None:
            return SpendProblem(line.line, "campaign", "campaign_unknown", line.line)
        campaign_id = campaign.id
    channel = _CHANNEL_NAMES.get(line.channel.casefold(), line.channel)
    key = (line.day, campaign_id, channel, line.source, line.currency)
    if key in found:
        return SpendProblem(line.line, None, "row_repeated", line.line)
    found[key] = SpendRow(
        day=line.day,
        campaign_id=campaign_id,
        channel=channel,
        source=line.source,
        currency=line.currency,
        amount_minor=line.amount_minor,
        clicks=line.clicks,
        impressions=line.impressions,
    )
    return None


def read_days(house: "House", first: str | None, last: str | None) -> tuple[int, int]:
    """Read the days of a list, `YYYY-MM-DD`, both included: the last 30 days unless said. Raises Refusal `date_invalid`."""
    upto = read_day(last, "to") if last is not None else day_of(house.clock.now_ms())
    begin = read_day(first, "from") if first is not None else upto - 29
    if begin > upto or upto - begin >= DAYS_MAX:
        raise Refusal("date_invalid", "from")
    return begin, upto


async def listed(house: "House", rooms: "SiteRooms", begin: int, upto: int) -> "Sequence[tuple[str | int | None, ...]]":
    """List what was spent on the days from `begin` to `upto`, as rows of COLUMNS. Raises StoreError."""
    campaigns = house.shelves[rooms.id].campaigns
    rows = await house.store.spend(rooms.id, begin, upto)
    return [
        (
            utc_text(row.day * DAY_MS)[:10],
            campaigns[row.campaign_id].code if row.campaign_id in campaigns else row.campaign_id,
            row.channel,
            row.source,
            row.currency,
            major_text(row.amount_minor, row.currency),
            row.clicks,
            row.impressions,
        )
        for row in rows
    ]
