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
"""Conversions one report may look at one by one: under a second."""

_AT_ONCE: Final = 100
"""Conversions that are worked on before anybody else has a turn: a few milliseconds."""

_SLICES: Final = 20


async def pages(
    house: "House", site: str, ask: "Ask", *, after_ms: int | None = None, upto_ms: int | None = None, page: int = PAGE
) -> "AsyncIterator[list[CountedConversion]]":
    """Every stored conversion of a range, oldest first, of the goals, campaign, link and ambassador that are asked for.

    They come as they are read, up to `page` at once.
    """
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
        yield [row for row in found if wanted(house, site, ask, row.goal)]
        if len(found) < page:
            return
        at_ms, after_id = found[-1].occurred_at_ms, found[-1].conversion_id
        await asyncio.sleep(0)


def counts(row: "CountedConversion") -> bool:
    """Whether a conversion counts: no test, no duplicate, not taken back."""
    return not row.test and row.fate == ConversionFate.COUNTED.value


async def credited(
    house: "House", site: str, ask: "Ask"
) -> "AsyncIterator[tuple[CountedConversion, AttributionRow | None]]":
    """Conversions, those taken back included, each with its credit: what the sums hold.

    Raises Refusal `report_too_large` beyond SCAN_MAX stored ones.
    """
    rows: list[CountedConversion] = []
    async for page in pages(house, site, ask):
        rows += page
        if len(rows) > SCAN_MAX:
            raise Refusal("report_too_large")
    for start in range(0, len(rows), _AT_ONCE):
        part = [row for row in rows[start : start + _AT_ONCE] if not row.test]
        decided = await house.store.attributions([row.conversion_id for row in part if row.credit_version])
        for row in part:
            yield row, decided.get(row.conversion_id)


async def sample(house: "House", site: str, ask: "Ask", size: int) -> "tuple[list[CountedConversion], bool]":
    """Up to `size` stored conversions, taken evenly from the whole range, and whether that is all of them."""
    whole: list[CountedConversion] = []
    async for page in pages(house, site, ask, page=size + 1):
        whole += page
        if len(whole) > size:
            break
    else:
        return whole, True
    found: list[CountedConversion] = []
    length_ms = (ask.upto_ms - ask.after_ms + 1) // _SLICES
    for number in range(_SLICES):
        first_ms = ask.after_ms + number * length_ms
        taken: list[CountedConversion] = []
        async for page in pages(
            house, site, ask, after_ms=first_ms, upto_ms=first_ms + length_ms - 1, page=size // _SLICES
        ):
            taken += page
            if len(taken) >= size // _SLICES:
                break
        found += taken[: size // _SLICES]
    return found, False
