"""Lines: which telephone number was lent to which visit, and until when. Kept in memory, and in the store for a restart.

A pool number belongs to one visit at a time, so a call to it is that visit's. Numbers rest as long as possible between two
visits: whoever calls late reaches a number that nobody else has been shown since.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.times import HOUR_MS, MINUTE_MS

__all__ = ["KEPT_MS", "LEASE_MS", "Lease", "Lines"]

LEASE_MS: Final = 30 * MINUTE_MS
"""How long a number stays a visit's after its last page: as long as a visit lasts in the reports of the field."""
KEPT_MS: Final = 4 * HOUR_MS
"""How long a lease is remembered after its end: a call is told after it ended, and up to twenty minutes later."""
FIXED_MAX: Final = 20_000


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A number lent to a visit. Times are ms UTC.

    `visitor_id` and `issued_day` are those of a signed id, None for an id of one day. `campaign` and `source` are what the
    page said the visit came by. `granted` are the purposes granted at the time, a set as in `purposes`.
    """

    number: str
    subject_key: bytes
    visitor_id: str | None
    issued_day: int | None
    from_ms: int
    until_ms: int
    campaign: str
    source: str
    granted: int


class Lines:
    """The leases of one site. `fixed` is the number without a lease that a visitor was shown, so that it stays the same."""

    def __init__(self) -> None:
        self._by_subject: dict[bytes, Lease] = {}
        self._by_number: dict[str, list[Lease]] = {}
        self._fixed: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self.exhausted_told_ms = 0

    def held(self, subject_key: bytes, now_ms: int) -> Lease | None:
        """The lease a visit holds now."""
        lease = self._by_subject.get(subject_key)
        return lease if lease is not None and now_ms < lease.until_ms else None

    def free(self, numbers: Sequence[str], subject_key: bytes, now_ms: int) -> str | None:
        """The number to lend: the one this visitor had before, else the one that rested longest; None when all are lent."""
        before = self._by_subject.get(subject_key)
        rested: list[tuple[int, str]] = []
        for number in numbers:
            last = self._by_number.get(number, ())
            until_ms = last[-1].until_ms if last else 0
            if until_ms <= now_ms:
                if last and before is not None and before.number == number and last[-1].subject_key == subject_key:
                    return number
                rested.append((until_ms, number))
        return min(rested)[1] if rested else None

    def put(self, lease: Lease) -> None:
        """Remember a lease, in place of what its visit held on the same number before. Forgets what is long over."""
        over_ms = lease.from_ms - KEPT_MS
        history = [
            one
            for one in self._by_number.get(lease.number, ())
            if one.until_ms > over_ms and not (one.subject_key == lease.subject_key and one.from_ms == lease.from_ms)
        ]
        self._by_number[lease.number] = sorted([*history, lease], key=lambda one: one.from_ms)
        before = self._by_subject.get(lease.subject_key)
        if before is None or before.from_ms <= lease.from_ms:
            self._by_subject[lease.subject_key] = lease
        for key in [key for key, one in self._by_subject.items() if one.until_ms <= over_ms]:
            del self._by_subject[key]

    def take_back(self, lease: Lease) -> None:
        """Forget a lease that could not be made durable."""
        self._by_number[lease.number] = [one for one in self._by_number.get(lease.number, ()) if one != lease]
        if self._by_subject.get(lease.subject_key) == lease:
            del self._by_subject[lease.subject_key]

    def at(self, number: str, at_ms: int) -> Lease | None:
        """Whose a number was at a time."""
        for lease in reversed(self._by_number.get(number, ())):
            if lease.from_ms <= at_ms < lease.until_ms:
                return lease
        return None

    def fixed(self, subject_key: bytes, now_ms: int) -> str | None:
        """The number without a lease that a visitor was shown within the last LEASE_MS."""
        number, until_ms = self._fixed.get(subject_key, (None, 0))
        return number if now_ms < until_ms else None

    def fix(self, subject_key: bytes, number: str, now_ms: int) -> None:
        """Remember a number without a lease for a visitor. The oldest are forgotten when there are very many."""
        self._fixed.pop(subject_key, None)
        self._fixed[subject_key] = (number, now_ms + LEASE_MS)
        while len(self._fixed) > FIXED_MAX:
            self._fixed.popitem(last=False)

    def fill(self, leases: Iterable[Lease]) -> None:
        """Take over leases from the store, at the start."""
        for lease in leases:
            self.put(lease)
