"""Global Privacy Control.

`Sec-GPC: 1` is a request not to sell or share data and not to use it for targeted advertising. Any value but exactly `1`
is ignored; of several headers one `1` is enough. Its absence says nothing.

Source: W3C Global Privacy Control, editor's draft 2026-04-03, section 3.
"""

from typing import TYPE_CHECKING, Final

from gateway.purposes import SALE_OR_SHARING, TARGETED_ADVERTISING, Statement, Step

if TYPE_CHECKING:
    from gateway.signals.carried import Carried

__all__ = ["from_header", "meaning"]

_OPT_OUT: Final = (Statement(Step.OPT_OUT_SIGNAL, "sec_gpc", opted_out=SALE_OR_SHARING | TARGETED_ADVERTISING),)


def meaning(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is left of the values when everything that means nothing is taken away: `("1",)` or nothing."""
    return ("1",) if "1" in values else ()


def from_header(carried: "Carried") -> tuple[Statement, ...]:
    """Read the signal of this request."""
    return _OPT_OUT if carried.sec_gpc and "1" in carried.sec_gpc else ()
