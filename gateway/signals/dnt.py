"""Do Not Track.

`DNT: 1` asks not to be tracked. The specification is retired and no statute gives the header force by itself, so it is
read with restraint: where the law asks for consent first (opt_in) it is a refusal, as long as the visitor did not agree
on this site; anywhere else, and where the operator turns it off, it means nothing. `0` and the absence of the header say
nothing: neither is ever a consent.

Source: W3C "Tracking Preference Expression (DNT)", Working Group Note of 2019-01-17, section 5; the restraint is ours.
"""

from typing import Final

from gateway.purposes import ADVERTISING_PURPOSES, ANALYTICS, Regime

__all__ = ["TRACKING", "meaning", "refused"]

TRACKING: Final = ANALYTICS | ADVERTISING_PURPOSES
"""Purposes that tracking means here. A site's own functions and what is necessary are not tracking."""


def meaning(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is left of the header values when everything that means nothing is taken away: `("1",)` or nothing.

    Any value but exactly `1` is ignored; of several headers one `1` is enough.
    """
    return ("1",) if "1" in values else ()


def refused(values: tuple[str, ...], regime: Regime, granted_explicitly: int, honoured: bool = True) -> int:
    """Purposes the header refuses, as a set.

    `values`: all DNT headers of the request. `granted_explicitly`: purposes this visitor agreed to by an action of their
    own on this site; those stay. `honoured`: the operator's setting. Zero outside opt_in places.
    """
    if not honoured or regime is not Regime.OPT_IN or "1" not in values:
        return 0
    return TRACKING & ~granted_explicitly
