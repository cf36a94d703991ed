"""Journey list: conversions of a time, page by page, each with the touch that won; and conversions that are decided anew.

A page ends with a mark to go on after. It names a time and a conversion, so that rows which arrive meanwhile move nothing.
"""

import re
from typing import TYPE_CHECKING, Final

from gateway.errors import Refusal
from gateway.flows import credit
from gateway.flows.journey import find, head, named, summary
from gateway.flows.report_asking import read_ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask

__all__ = ["listed", "recompute"]

ASKED: Final = frozenset({"from", "to", "goal", "campaign", "link", "ambassador", "after", "limit"})
AGAIN_ASKED: Final = frozenset({"from", "to", "goal"})
LIMIT_MAX: Final = 500
ALL_DAYS: Final = 400
_MARK: Final = re.compile(r"([0-9]{1,15})~([A-Za-z0-9._:-]{1,96})\Z", re.ASCII)


async def listed(house: "House", rooms: "SiteRooms", query: "Mapping[str, str]") -> dict[str, object]:
    """A page of conversions, oldest first, without duplicates. `next` goes into `after` for the next one, None at the end.

    Raises Refusal as `report_asking.read_ask` does, `field_invalid` for `after` and for a `limit` over 500; StoreError.
    """
    ask = await read_ask(house, rooms, query, ASKED)
    if ask.limit > LIMIT_MAX:
        raise Refusal("field_invalid", "limit")
    after_ms, after_id = _after(query.get("after"), ask)
    page = await house.store.conversions_page(
        rooms.id,
        after_ms=after_ms,
        upto_ms=ask.upto_ms,
        goal=ask.goal or None,
        campaign_id=ask.filters.get("campaign_id"),
        link_id=ask.filters.get("link_id"),
        ambassador_id=ask.filters.get("ambassador_id"),
        after_id=after_id,
        limit=ask.limit,
    )
    shelf = house.shelves[rooms.id]
    return {
        **ask.shown(),
        "conversions": [
            {
                **head(counted),
                "campaign": await named(shelf, "campaign", counted.campaign_id),
                "credit": await summary(house, rooms.id, counted.conversion_id),
            }
            for counted in page
        ],
        "next": _mark(page[-1].occurred_at_ms, page[-1].conversion_id) if len(page) == ask.limit else None,
    }


def _after(mark: str | None, ask: "Ask") -> tuple[int, str]:
    if mark is None:
        return ask.after_ms, ""
    found = _MARK.match(mark)
    at_ms = int(found.group(1)) if found is not None else -1
    if found is None or not ask.after_ms <= at_ms <= ask.upto_ms:
        raise Refusal("field_invalid", "after")
    return at_ms, found.group(2)


def _mark(at_ms: int, conversion_id: str) -> str:
    return f"{at_ms}~{conversion_id}"


async def recompute(
    house: "House", rooms: "SiteRooms", query: "Mapping[str, str]", *, conversion_id: str | None, after: str | None
) -> dict[str, object]:
    """Decide one conversion anew, or a portion of those of a goal and time: `from`, `to`, `goal`, by default all of 400 days.

    Answers how many were `decided` and the mark of the `next` portion, None at the end. Older versions are kept. Raises
    Refusal: `conversion_unknown`, and as `listed` does.
    """
    if conversion_id is not None:
        counted = await find(house, conversion_id, rooms.id)
        return {"decided": await credit.again_one(house, counted), "next": None}
    ask = await read_ask(house, rooms, query, AGAIN_ASKED, days=ALL_DAYS)
    after_ms, after_id = _after(after, ask)
    done = await credit.again(
        house, rooms.id, goal=ask.goal or None, after_ms=after_ms, upto_ms=ask.upto_ms, after_id=after_id
    )
    return {"decided": done.decided, "next": _mark(*done.after) if done.after is not None else None}
