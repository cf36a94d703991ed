"""What is remembered of clicks and landings for a short time: in memory only, bounded, under keys that die with the day.

* repeats: the same browser on the same link again is no new contact;
* bursts: how many links of one campaign a browser opened within ten seconds;
* guesses: how many unknown links a network asked for, so that slugs cannot be found by trying;
* landings: which event of a page has told of an arrival, so that the page's other events do not tell it again.

A restart forgets all of it. Then a repeat is counted as a click and a landing may be told twice; nothing is lost.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from gateway.flows.waits import Waits
from gateway.links.codes import CLICK_ID_BYTES
from gateway.schedule import Bucket

__all__ = ["ClickMemory", "Earlier", "Guesses"]

REPEATS_KEPT: Final = 50_000
BURSTS_KEPT: Final = 10_000
NETWORKS_KEPT: Final = 20_000
LANDINGS_KEPT: Final = 50_000
IDS_DRAWN: Final = 16
SLUGS_REMEMBERED: Final = 32
BURST_MS: Final = 10_000
LANDING_MS: Final = 1_800_000
"""Half an hour: the same arrival of the same visitor within it is the same landing, reloaded or looked at again."""

K = TypeVar("K")
V = TypeVar("V")


class Earlier(msgspec.Struct, frozen=True):
    """A click that was recorded. `verdict` and `consent` are those it was recorded with."""

    at_ms: int
    click_id: str
    verdict: str
    consent: bool
    visitor_key: bytes | None = None


class Guesses:
    """Unknown links one network asked for. The same one asked for again is a dead link somebody follows, and no guess."""

    __slots__ = ("_bucket", "_known")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self._bucket = Bucket(per_minute, now_s)
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait_s(self, now_s: float) -> float:
        """Seconds until this network may ask for a link again; 0.0 when it may."""
        wait_s = self._bucket.take(now_s)
        if not wait_s:
            self._bucket.take(now_s, -1)
        return wait_s

    def count(self, slug: str, now_s: float) -> None:
        """Count one unknown link."""
        if slug in self._known:
            return
        self._known[slug] = None
        if len(self._known) > SLUGS_REMEMBERED:
            self._known.popitem(last=False)
        self._bucket.take(now_s)


class ClickMemory:
    """One for all sites: keys hold the site. `waits` are those of clicks that are becoming durable."""

    def __init__(self) -> None:
        self._repeats: OrderedDict[bytes, Earlier] = OrderedDict()
        self._bursts: OrderedDict[bytes, list[tuple[int, str]]] = OrderedDict()
        self._networks: OrderedDict[str, Guesses] = OrderedDict()
        self._landings: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self.waits = Waits()
        self._random = b""

    def id_bytes(self, draw: Callable[[int], bytes]) -> bytes:
        """Random bytes for one click id, each used once. `draw` is asked for those of many ids at a time: asking the system
        takes longer than everything else that an id takes.
        """
        if not self._random:
            self._random = draw(CLICK_ID_BYTES * IDS_DRAWN)
        taken, self._random = self._random[:CLICK_ID_BYTES], self._random[CLICK_ID_BYTES:]
        return taken

    def earlier(self, key: bytes) -> Earlier | None:
        """The click that was recorded under a repeat key."""
        return self._repeats.get(key)

    def remember(self, key: bytes, click: Earlier) -> None:
        """Keep a click under its repeat key."""
        _put(self._repeats, key, click, REPEATS_KEPT)

    def forget(self, key: bytes) -> None:
        """Forget a click: the store does not have it any more."""
        self._repeats.pop(key, None)

    def links_opened(self, key: bytes, link_id: str, now_ms: int) -> int:
        """Count the different links opened under a burst key within ten seconds, this one included."""
        recent = [one for one in self._bursts.get(key, ()) if now_ms - one[0] < BURST_MS and one[1] != link_id]
        recent.append((now_ms, link_id))
        _put(self._bursts, key, recent[-SLUGS_REMEMBERED:], BURSTS_KEPT)
        return len(recent)

    @property
    def nobody_guesses(self) -> bool:
        """Whether no network asked for an unknown link yet."""
        return not self._networks

    def guesses(self, network: str) -> Guesses | None:
        """The guesses of a network, None while it made none."""
        return self._networks.get(network)

    def count_guess(self, network: str, slug: str, per_minute: int, now_s: float) -> None:
        """Count an unknown link of a network."""
        guesses = self._networks.get(network)
        if guesses is None:
            guesses = Guesses(per_minute, now_s)
        _put(self._networks, network, guesses, NETWORKS_KEPT)
        guesses.count(slug, now_s)

    def tell(self, landing: int, event_id: str, now_ms: int) -> None:
        """Remember that an event told of a landing."""
        _put(self._landings, landing, (event_id, now_ms), LANDINGS_KEPT)

    def first_to_tell(self, landing: int, event_id: str, now_ms: int) -> bool:
        """Whether an event is the one that tells of a landing. The same event sent again still is."""
        told = self._landings.get(landing)
        if told is not None and told[0] != event_id and 0 <= now_ms - told[1] <= LANDING_MS:
            return False
        if told is None or told[0] != event_id:
            self.tell(landing, event_id, now_ms)
        return True


def _put(kept: "OrderedDict[K, V]", key: K, value: V, most: int) -> None:
    """Keep a value as the newest one, and forget the oldest when there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
