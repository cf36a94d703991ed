"""Exports: conversions, the credit of each touch, and touches by day, written row by row while they are read.

However long the range, one page of conversions is in memory. No row names a visitor: there are no ids of visitors, persons
or clicks, no addresses and no contact data, and tests and repeats are left out. In CSV a text that a spreadsheet would run
is guarded.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.event import Agent
from gateway.flows.report_asking import date_text
from gateway.flows.report_scan import pages
from gateway.flows.report_sums import ONE
from gateway.money import major_text
from gateway.outcome import ConversionFate
from gateway.pages.tables import Cell, csv_line
from gateway.purposes import names
from gateway.times import utc_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.flows.shelves import Shelf
    from gateway.stores.contract_credit import AttributionRow, CountedConversion, Credit

__all__ = ["EXPORTS", "lines"]

_OF_TOUCH: Final = (
    "kind", "channel", "source", "medium", "campaign_name", "campaign_id", "link_id", "ambassador_id", "variant", "device",
    "landing",
)  # fmt: skip
"""Columns that a touch has in every export; a filter is compared with them."""

_TOUCH_DAYS: Final = (
    "day", "kind", "channel", "source", "medium", "campaign_name", "campaign_id", "link_id", "ambassador_id", "variant",
    "device", "human",
)  # fmt: skip

CONVERSIONS: Final = (
    "conversion_id", "event_id", "occurred_at", "goal", "fate", "order_id", "currency", "value", "net_value", "value_source",
    "trust", "consent", "device", "os", "browser", "model", "model_version", "matched_by", "why_nobody", "winner_share",
    "winner_kind", "channel", "source", "medium", "campaign_name", "campaign_id", "campaign", "link_id", "ambassador_id",
    "ambassador", "variant", "winner_device", "landing", "path", "touches", "time_to_convert_s", "first_of_person",
)  # fmt: skip
CREDITS: Final = (
    "conversion_id", "occurred_at", "goal", "model", "position", "touched_at", *_OF_TOUCH, "share", "currency", "value",
    "net_value",
)  # fmt: skip
TOUCHES: Final = (*_TOUCH_DAYS, "touches", "repeats")

EXPORTS: Final = {"conversions": CONVERSIONS, "credits": CREDITS, "touches": TOUCHES}
"""Name of an export, and its columns in their order."""

_NUMBERS: Final = frozenset(
    {
        "value",
        "net_value",
        "share",
        "winner_share",
        "position",
        "touches",
        "repeats",
        "time_to_convert_s",
        "model_version",
    }
)


class _Facts(msgspec.Struct):
    """What is read of an event's facts. `judgement.granted` is a set as in `purposes`."""

    class _Judgement(msgspec.Struct):
        granted: int = 0

    agent: Agent | None = None
    judgement: "_Facts._Judgement | None" = None


_read_facts: Final = msgspec.json.Decoder(_Facts, strict=False)


async def lines(house: "House", rooms: "SiteRooms", name: str, ask: "Ask", *, csv: bool) -> "AsyncIterator[bytes]":
    """The lines of one of EXPORTS, as CSV with a header or as JSON lines. Raises StoreError, also in the middle."""
    columns = EXPORTS[name]
    if csv:
        yield csv_line(columns)
    numbers = frozenset(place for place, column in enumerate(columns) if column in _NUMBERS)
    rows = _touches(house, rooms, ask) if name == "touches" else _decided(house, rooms, ask, name)
    async for row in rows:
        if csv:
            yield csv_line([row.get(column) for column in columns], numbers)
        else:
            yield msgspec.json.encode({column: row.get(column) for column in columns}) + b"\n"


# ------------------------------------------------------------------ rows


async def _decided(house: "House", rooms: "SiteRooms", ask: "Ask", name: str) -> "AsyncIterator[dict[str, Cell]]":
    """Rows of conversions or of their credit. A filter keeps conversions with a credited touch that has all of it."""
    shelf = house.shelves[rooms.id]
    of_touch = {column: value for column, value in ask.filters.items() if column in _OF_TOUCH}
    if ask.landing:
        of_touch["landing"] = ask.landing

    def fits(credit: "Credit") -> bool:
        return credit.share_e9 > 0 and all(getattr(credit, column) == value for column, value in of_touch.items())

    async for page in pages(house, rooms.id, ask):
        rows = [row for row in page if not row.test and row.fate != ConversionFate.DUPLICATE.value]
        known = await house.store.attributions([row.conversion_id for row in rows if row.credit_version])
        for row in rows:
            decided = known.get(row.conversion_id)
            credits = decided.credits if decided is not None else ()
            if of_touch and not any(map(fits, credits)):
                continue
            if name == "conversions":
                yield _conversion(shelf, row, decided)
            else:
                for credit in credits:
                    if not of_touch or fits(credit):
                        yield _credit(row, decided, credit)


def _conversion(shelf: "Shelf", row: "CountedConversion", decided: "AttributionRow | None") -> dict[str, Cell]:
    """One conversion. The winner is the touch with the largest share, the newest of equals."""
    facts = _facts_of(row.facts)
    agent = facts.agent or Agent()
    judged = facts.judgement
    credits = decided.credits if decided is not None else ()
    found: dict[str, Cell] = {
        "conversion_id": row.conversion_id,
        "event_id": row.event_id,
        "occurred_at": utc_text(row.occurred_at_ms),
        "goal": row.goal,
        "fate": row.fate,
        "order_id": row.order_id,
        **_amounts(row.currency, row.amount_minor, row.net_minor),
        "value_source": row.value_source,
        "trust": row.trust,
        "consent": " ".join(names(judged.granted)) if judged is not None else None,
        "device": agent.device,
        "os": agent.os,
        "browser": agent.browser,
    }
    if decided is not None:
        found |= {
            "model": decided.model,
            "model_version": decided.model_version,
            "matched_by": decided.matched_by,
            "why_nobody": decided.why,
            "path": decided.path,
            "touches": len(credits),
            "time_to_convert_s": decided.seconds,
            "first_of_person": decided.first_of_person,
        }
    if credits:
        winner = max(credits, key=lambda credit: (credit.share_e9, credit.position))
        told: dict[str, Cell] = {column: getattr(winner, column) for column in _OF_TOUCH}
        told["winner_kind"], told["winner_device"] = told.pop("kind"), told.pop("device")
        campaign = shelf.campaigns.get(winner.campaign_id)
        ambassador = shelf.ambassadors.get(winner.ambassador_id)
        found |= told | {
            "winner_share": _share(winner.share_e9),
            "campaign": campaign.name if campaign is not None else None,
            "ambassador": ambassador.name if ambassador is not None else None,
        }
    return found


def _credit(row: "CountedConversion", decided: "AttributionRow | None", credit: "Credit") -> dict[str, Cell]:
    """What one touch earned of a conversion."""
    return {
        "conversion_id": row.conversion_id,
        "occurred_at": utc_text(row.occurred_at_ms),
        "goal": row.goal,
        "model": decided.model if decided is not None else None,
        "position": credit.position,
        "touched_at": utc_text(credit.at_ms),
        **{column: getattr(credit, column) for column in _OF_TOUCH},
        "share": _share(credit.share_e9),
        **_amounts(row.currency, credit.amount_minor, credit.net_minor),
    }


async def _touches(house: "House", rooms: "SiteRooms", ask: "Ask") -> "AsyncIterator[dict[str, Cell]]":
    """Sums of touches that are alike, a day at a time."""
    for day in range(ask.from_day, ask.upto_day + 1):
        for row in await house.store.touch_days(rooms.id, day, day, _TOUCH_DAYS):
            if all(getattr(row, column) == value for column, value in ask.filters.items()):
                found: dict[str, Cell] = {column: getattr(row, column) for column in TOUCHES}
                yield found | {"day": date_text(row.day)}


def _amounts(currency: str | None, amount_minor: int | None, net_minor: int | None) -> dict[str, Cell]:
    """Amounts as decimal texts of major units."""
    if not currency:
        return {"currency": None, "value": None, "net_value": None}
    return {
        "currency": currency,
        "value": major_text(amount_minor, currency) if amount_minor is not None else None,
        "net_value": major_text(net_minor, currency) if net_minor is not None else None,
    }


def _share(share_e9: int) -> str:
    whole, rest = divmod(share_e9, ONE)
    text = f"{whole}.{rest:09d}".rstrip("0")
    return text.removesuffix(".")


def _facts_of(body: bytes) -> _Facts:
    try:
        return _read_facts.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return _Facts()
