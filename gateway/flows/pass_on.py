"""Pass on: every destination that may hold something of somebody who withdraws or is erased is told so, or why it is not.

The store asks here inside the transaction of the choice, by whatever door the choice came: so a withdrawal is recorded
together with what is owed because of it, or not at all. What a vendor documents is an owed delivery like every other;
where it documents nothing, that is the outcome, and the record says so. Nothing is guessed.
"""

from typing import TYPE_CHECKING

from gateway.destinations.definition import Withdrawn
from gateway.destinations.render import render_withdrawal
from gateway.event import Owed
from gateway.flows.assemble import place_of

if TYPE_CHECKING:
    from gateway.flows.house import House, Placed, SiteRooms
    from gateway.stores.contract import Passing

__all__ = ["install", "owed", "wake"]


def install(house: "House") -> None:
    """Let the store ask here."""
    house.store.pass_on_with(lambda passing: owed(house, passing))


def owed(house: "House", passing: "Passing") -> list[Owed]:
    """What destinations are owed because of one withdrawal or erasure. Never raises: the withdrawal itself must be kept."""
    made: list[Owed] = []
    for name, event_ids in passing.sent.items():
        try:
            rooms = house.by_id[passing.site]
            placed = next((placed for placed in rooms.destinations if placed.name == name), None)
            made += _told(house, rooms, placed, passing, name, event_ids)
        except Exception as error:  # noqa: BLE001 - a fault in one table must not lose the withdrawal
            house.telemetry.failed("render_failed", destination=name, kind=type(error).__name__)
            made.append(Owed(destination=name, fate="unfit", reason="render_failed", purposes=passing.lost))
    return made


def _told(
    house: "House",
    rooms: "SiteRooms",
    placed: "Placed | None",
    passing: "Passing",
    name: str,
    event_ids: tuple[str, ...],
) -> list[Owed]:
    if placed is None:
        return [Owed(destination=name, fate="unfit", reason="destination_removed", purposes=passing.lost)]
    told = Withdrawn(
        destination=name,
        record_id=passing.record_id,
        erased=passing.erased,
        at_ms=passing.at_ms,
        withdrawn=passing.lost,
        granted=passing.granted,
        event_ids=event_ids,
    )
    payloads = render_withdrawal(placed.definition, told, house.context(rooms, placed, passing.at_ms))
    if not payloads:
        return [Owed(destination=name, fate="unfit", reason="no_call", purposes=passing.lost)]
    place = place_of(rooms.id, passing.record_id, name)
    return [
        Owed(
            destination=name,
            fate="waiting",
            reason="fresh",
            purposes=payload.purposes,
            payload=house.vault.seal(payload.body, place),
            dedup_key=payload.dedup_key,
            expires_at_ms=payload.expires_at_ms,
        )
        for payload in payloads
    ]


def wake(house: "House", rooms: "SiteRooms") -> None:
    """Tell the workers of destinations that can be told of withdrawals that there may be something to tell."""
    for placed in rooms.destinations:
        if placed.definition.withdrawal is not None:
            house.nudge(rooms.id, placed.name)
