"""Goals in the shapes of a link tracker's guide: the same goals, told and made in its words."""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.catalogue import Goal
from gateway.errors import Refusal
from gateway.flows.catalogue_checks import check_record, preset_window
from gateway.flows.cataloguing import keep, making, token_text, with_token
from gateway.flows.repeating import first_of
from gateway.protocols import goals_compat
from gateway.protocols.catalogue_wire import record_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.repeating import Call

__all__ = ["create_goal", "list_goals"]

NAMESAKES_MAX: Final = 100


def list_goals(house: "House", rooms: "SiteRooms") -> bytes:
    """Answer the goals in use, by name: `{"goals": [...]}`."""
    return goals_compat.answer_goals(sorted(house.shelves[rooms.id].goals.values(), key=_order))


def _order(goal: "Goal") -> tuple[str, str]:
    return goal.name.casefold(), goal.id


async def create_goal(house: "House", rooms: "SiteRooms", body: bytes, call: "Call | None" = None) -> bytes:
    """Make a goal of `{"goal": {...}}`. Its postback token is in this answer and nowhere else. Raises Refusal, StoreError.

    The code is made of the name; where a goal has it already, a second one of the name gets a number behind it. A `call`
    that was sent before is answered as it was.
    """
    if call is None:
        return await _create(house, rooms, body, None)
    async with house.shelves[rooms.id].making:
        first = (await first_of(house, rooms, call)).get(call.entry_id("goal"))
        if first is None:
            return await _create(house, rooms, body, call)
    goal = record_of(first)
    assert isinstance(goal, Goal)  # noqa: S101 - the id is a goal's
    return goals_compat.answer_goal(goal, token_text(call.secret))


async def _create(house: "House", rooms: "SiteRooms", body: bytes, call: "Call | None") -> bytes:
    said = goals_compat.read_goal(body, making(house, rooms, "goal", call=call))
    goal = preset_window(said, {}, house.shelves[rooms.id])
    check_record(house, rooms, goal, None)
    token, goal = with_token(house, rooms, goal, call)
    for number in range(1, NAMESAKES_MAX + 1):
        named = goal if number == 1 else msgspec.structs.replace(goal, code=f"{goal.code[:36]}_{number}")
        if await keep(house, rooms, named, 1) is not None:
            return goals_compat.answer_goal(named, token)
    raise Refusal("code_taken", "goal.name")
