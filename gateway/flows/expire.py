"""Expire: what is past its time is deleted, and what is new is listed, in portions small enough to hold nobody up."""

from typing import TYPE_CHECKING

from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House

__all__ = ["expire", "list_visitors"]


async def list_visitors(house: "House") -> int:
    """Keep up the list by which a visitor's events are found. Answers how many events are left to do."""
    return await house.store.list_visitors()


async def expire(house: "House") -> int:
    """Delete one portion. Answers how many rows went; 0 means that nothing is left to delete."""
    now_ms = house.clock.now_ms()
    kept = house.settings.retention
    return await house.store.expire(
        now_ms=now_ms,
        events_before_ms=now_ms - kept.events_days * DAY_MS,
        attempts_before_ms=now_ms - kept.attempts_days * DAY_MS,
        dead_before_ms=now_ms - kept.dead_payload_days * DAY_MS,
    )
