"""Pulse: when a site last sent anything, so that silence is noticed before a month of figures is missing.

Events are counted in memory; once a minute, and whenever somebody asks, the counts are compared with those before. After a
start nothing is known until the first event, and what the store knows is told instead.
"""

from typing import TYPE_CHECKING

import msgspec

from gateway.times import MINUTE_MS

if TYPE_CHECKING:
    from gateway.flows.house import House

__all__ = ["Pulse", "beat"]


class Pulse(msgspec.Struct):
    """What is known of one site. `at_ms` None: nothing came since the start. `warned`: its silence was told already."""

    events: int = 0
    at_ms: int | None = None
    warned: bool = False


def beat(house: "House") -> None:
    """Compare the counts of events with those before. Writes one log line when a site falls silent."""
    now_ms = house.clock.now_ms()
    counts = house.telemetry.events_by_site()
    for site, rooms in house.by_id.items():
        pulse = house.pulses.setdefault(site, Pulse())
        count = counts.get(site, 0)
        if count != pulse.events:
            pulse.events, pulse.at_ms, pulse.warned = count, now_ms, False
        silent_ms = now_ms - (pulse.at_ms if pulse.at_ms is not None else house.started_at_s * 1000)
        if silent_ms >= rooms.site.reports.silence_warn_minutes * MINUTE_MS and not pulse.warned:
            pulse.warned = True
            house.telemetry.warned("site_silent", site=site, minutes=silent_ms // MINUTE_MS)
