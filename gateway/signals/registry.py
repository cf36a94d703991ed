"""Every signal the gateway reads, in the order they are read. A new one is a module and a line here."""

from typing import TYPE_CHECKING, Final

from gateway.signals import gpc, own

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.purposes import Statement
    from gateway.signals.carried import Carried

__all__ = ["read"]


_SIGNALS: Final[tuple["Callable[[Carried], tuple[Statement, ...]]", ...]] = (
    own.from_receipt,
    gpc.from_header,
    own.from_claim,
)


def read(carried: "Carried") -> list["Statement"]:
    """Read everything one request says about consent."""
    statements: list[Statement] = []
    for decode in _SIGNALS:
        statements += decode(carried)
    return statements
