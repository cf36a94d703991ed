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
    for of_site, name in house.lanes:
        if site in (None, of_site) and destination in (None, name):
            house.nudge(of_site, name)
    return {"replayed": count}
