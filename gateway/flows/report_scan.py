"""Scanning conversions one by one, in pages: for what no sum is kept of. Every scan has a bound."""

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.errors import Refusal
from gateway.flows.report_sums import wanted
from gateway.outcome import ConversionFate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.flows.house import House
    from gateway.flows.report_asking import Ask
    from gateway.stores.contract_credit import AttributionRow, CountedConversion

__all__ = ["PAGE", "SCAN_MAX", "counts", "credited", "pages", "sample"]

PAGE: Final = 500
"""Conversions read at once."""

SCAN_MAX: Final = 5_000
"""Conversions one report may look at one by one: a few seconds."""

_SLICES: Final = 20


async def pages(
    house: "House", site: str, ask: "Ask", *, after_ms: int | None = None, upto_ms: int | None = None, page: int = PAGE
) -> "AsyncIterator[CountedConversion]":
    """Every stored conversion of a range, oldest first, of the goals, campaign, link and ambassador that are asked for."""
    at_ms, after_id = ask.after_ms if after_ms is None else after_ms, ""
    while True:
        found = await house.store.conversions_page(
            site,
            after_ms=at_ms,
            upto_ms=ask.upto_ms if upto_ms is None else upto_ms,
            goal=ask.goal or None,
            campaign_id=ask.filters.get("campaign_id"),
            link_id=ask.filters.get("link_id"),
            ambassador_id=ask.filters.get("ambassador_id"),
            after_id=after_id,
            limit=page,
        )
        for row in found:
            if wanted(house, site, ask, row.goal):
                yield row
        if len(found) < page:
            return
        at_ms, after_id = found[-1].occurred_at_ms, found[-1].conversion_id
        await asyncio.sleep(0)


def counts(row: "CountedConversion") -> bool:
    """Whether a conversion counts: no test, no duplicate, not taken back."""
    return not row.test and row.fate == ConversionFate.COUNTED.value


async def credited(
    house: "House", site: str, ask: "Ask", *, after_ms: int | None = None, upto_ms: int | None = None
) -> "AsyncIterator[tuple[CountedConversion, AttributionRow | None]]":
    """Conversions, those taken back included, each with its credit: what the sums hold.

    Raises Refusal `report_too_large` beyond SCAN_MAX stored ones.
    """
    left = SCAN_MAX
    async for row in pages(house, site, ask, after_ms=after_ms, upto_ms=upto_ms):
        left -= 1
        if left < 0:
            raise Refusal("report_too_large")
        if not row.test:
            yield row, await house.store.attribution(row.conversion_id) if row.credit_version else None


async def sample(house: "House", site: str, ask: "Ask", size: int) -> "tuple[list[CountedConversion], bool]":
    """Up to `size` stored conversions, taken evenly from the whole range, and whether that is all of them."""
    whole: list[CountedConversion] = []
    async for row in pages(house, site, ask, page=size + 1):
        whole.append(row)
        if len(whole) > size:
            break
    else:
        return whole, True
    found: list[CountedConversion] = []
    length_ms = (ask.upto_ms - ask.after_ms + 1) // _SLICES
    for number in range(_SLICES):
        first_ms = ask.after_ms + number * length_ms
        taken = 0
        async for row in pages(
            house, site, ask, after_ms=first_ms, upto_ms=first_ms + length_ms - 1, page=size // _SLICES
        ):
            if taken >= size // _SLICES:
                break
            taken += 1
            found.append(row)
    return found, False
