"""Inferring: which click a conversion may have come by when nothing names one: the last of the same address and agent.

This is a guess about a person, so a site has to turn it on, both the click and the conversion need consent to analytics or
advertising, and what is guessed is marked `inferred`. Several people may share an address and an agent; of several
clicks the newest is taken. What is remembered is a keyed digest and the click's id, for 24 hours and in memory only:
nothing of it is stored, and a restart forgets it.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from gateway.purposes import ADVERTISING, ANALYTICS
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request
    from gateway.purposes import Judgement

__all__ = ["MARK", "ClickGuesses", "infer_click", "note_click"]

MARK: Final = "inferred"
KEPT_MS: Final = DAY_MS
CLICKS_KEPT: Final = 50_000
_CONSENT: Final = ANALYTICS | ADVERTISING


class ClickGuesses:
    """The last click of each address and agent, newest at the end. One for all sites: digests are of one site."""

    def __init__(self) -> None:
        self._clicks: OrderedDict[bytes, tuple[int, str]] = OrderedDict()

    def note(self, key: bytes, click_id: str, now_ms: int) -> None:
        """Remember a click; forget those that are too old or too many."""
        self._clicks[key] = (now_ms, click_id)
        self._clicks.move_to_end(key)
        while self._clicks:
            oldest = next(iter(self._clicks))
            if len(self._clicks) <= CLICKS_KEPT and now_ms - self._clicks[oldest][0] <= KEPT_MS:
                return
            del self._clicks[oldest]

    def find(self, key: bytes, now_ms: int) -> str | None:
        """The click remembered under a key, unless it is more than a day old."""
        at_ms, click_id = self._clicks.get(key, (0, ""))
        return click_id if click_id and 0 <= now_ms - at_ms <= KEPT_MS else None


def _key(house: "House", rooms: "SiteRooms", request: "Request") -> bytes | None:
    if not request.address or not request.user_agent:
        return None
    return house.vault.digest("inferred", rooms.id, f"{request.address}\x1f{request.user_agent}")


def note_click(
    house: "House", rooms: "SiteRooms", request: "Request", click_id: str, *, consent: bool, now_ms: int
) -> None:
    """Remember a person's click on a link, where the site infers and the person consented."""
    key = _key(house, rooms, request) if rooms.site.links.inferred and consent else None
    if key is not None:
        house.guesses.note(key, click_id, now_ms)


def infer_click(
    house: "House", rooms: "SiteRooms", request: "Request", judgement: "Judgement", now_ms: int
) -> str | None:
    """The click a conversion without one may have come by. None where the site does not infer or consent is missing."""
    key = _key(house, rooms, request) if rooms.site.links.inferred and judgement.granted & _CONSENT else None
    return house.guesses.find(key, now_ms) if key is not None else None
