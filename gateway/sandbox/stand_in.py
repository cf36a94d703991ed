"""What all stand-ins are: a clock, a ledger, faults, and one method that judges a request.

`answer` is called in one go, without waiting for anything, so that a request either has its whole effect or none: a
caller that hangs up in the middle cannot leave half of it behind.
"""

from abc import ABC, abstractmethod

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.faults import Fault, Faults
from gateway.sandbox.ledger import Ledger

__all__ = ["StandIn"]


class StandIn(ABC):
    """One platform, played strictly."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self.clock = clock
        self.entropy = entropy
        self.ledger = Ledger()
        self.faults = Faults(entropy)

    @abstractmethod
    def hosts(self) -> tuple[str, ...]:
        """The real host names this platform answers under."""

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """Judge one request, remember it and its effects, and say what the platform says."""

    def shown_body(self, call: Call) -> bytes:
        """What of the body may be kept. A stand-in that receives credentials hides them here."""
        return call.body

    def meet(self, call: Call) -> Fault | None:
        """Keep the request and tell which fault it meets."""
        fault = self.faults.take(call)
        self.ledger.note(call, body=self.shown_body(call), fault=fault.kind if fault else None)
        return fault

    def clear(self) -> None:
        """Forget all that happened and behave again. Credentials that were handed out stay good."""
        self.ledger.clear()
        self.faults.clear()
