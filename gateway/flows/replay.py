"""Replay: dead deliveries wait again, as far as their payload is held and young enough."""

from typing import TYPE_CHECKING

import msgspec

from gateway.errors import Refusal

if TYPE_CHECKING:
    from gateway.flows.house import House

__all__ = ["dead", "replay"]


async def dead(house: "House", site: str | None, destination: str | None, limit: int) -> list[dict[str, object]]:
    """Return dead deliveries, newest first."""
    return [msgspec.to_builtins(row) for row in await house.store.dead(site, destination, limit)]


async def replay(
    house: "House", *, site: str | None, destination: str | None, delivery_id: int | None, limit: int
) -> dict[str, object]:
    """Send dead deliveries again. Consent is asked again before each. Raises Refusal when nothing could be replayed."""
    count = await house.store.replay(
        now_ms=house.clock.now_ms(), site=site, destination=destination, delivery_id=delivery_id, limit=limit
    )
    if not count and delivery_id is not None:
        raise Refusal("not_replayable")
    for rooms in house.by_id.values():
        for placed in rooms.destinations:
            if site in (None, rooms.id) and destination in (None, placed.name):
                house.nudge(rooms.id, placed.name)
    return {"replayed": count}
