"""Milestone models: touches that brought about a step of the sale get fixed shares, all others the rest.

Roles are `first` (the oldest touch), `lead` and `opportunity` (the newest touch at or before the person became one), and
`close` (the newest touch). The roles of a model share its mass evenly. A role whose milestone is not known, or lies before
the oldest touch, falls away and its share goes to the other roles. A touch with several roles has the sum of their shares.
Touches without a role share what is left; where there is none, the roles share everything.

Source: HubSpot's published percentages (U 40/40/20, W 30/30/30/10, full path 22.5 each and 10), read 2026-11. What HubSpot
does when roles fall together or away is not published; these rules are the gateway's own.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.attribution.journeys import Shares, TouchPath

__all__ = ["full_path", "u_shaped", "w_shaped"]

_Place = Callable[["TouchPath"], int | None]


def _first(path: "TouchPath") -> int | None:
    return 0


def _close(path: "TouchPath") -> int | None:
    return len(path) - 1


def _newest_before(path: "TouchPath", age_ms: int | None) -> int | None:
    """Place of the newest touch that is at least so old."""
    if age_ms is None:
        return None
    return next((place for place in range(len(path) - 1, -1, -1) if path.ages_ms[place] >= age_ms), None)


def _lead(path: "TouchPath") -> int | None:
    return _newest_before(path, path.lead_age_ms)


def _lead_or_close(path: "TouchPath") -> int | None:
    place = _lead(path)
    return place if place is not None else len(path) - 1


def _opportunity(path: "TouchPath") -> int | None:
    return _newest_before(path, path.opportunity_age_ms)


def _by_roles(path: "TouchPath", roles: tuple[_Place, ...], mass: Fraction) -> "Shares":
    touches = len(path)
    if not touches:
        return ()
    places = [place for role in roles if (place := role(path)) is not None]
    free = touches - len(set(places))
    each = (mass if free else Fraction(1)) / len(places)
    rest = (1 - mass) / free if free else Fraction(0)
    times = [places.count(place) for place in range(touches)]
    return tuple([each * count if count else rest for count in times])


_U: Final = (_first, _lead_or_close)
_W: Final = (_first, _lead, _opportunity)
_FULL: Final = (_first, _lead, _opportunity, _close)


def u_shaped(path: "TouchPath") -> "Shares":
    """40 % first, 40 % lead, 20 % the others. Without a lead the newest touch takes its role."""
    return _by_roles(path, _U, Fraction(8, 10))


def w_shaped(path: "TouchPath") -> "Shares":
    """30 % first, 30 % lead, 30 % opportunity, 10 % the others."""
    return _by_roles(path, _W, Fraction(9, 10))


def full_path(path: "TouchPath") -> "Shares":
    """22.5 % each for first, lead, opportunity and close, 10 % the others."""
    return _by_roles(path, _FULL, Fraction(9, 10))
