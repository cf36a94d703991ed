"""A rehearsal: what an upload would do, from what is stored and from the rows of the file before; nothing is stored.

Limits: a goal that counts once per click is compared with the rows of the file only, because the store does not find
conversions by their click. What others store in the meantime is not foreseen.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from gateway.conversions import Counted
from gateway.conversions.adjustments import Adjustment, apply, check_adjustment
from gateway.event import ConversionClaim, Recordable, Recorded
from gateway.flows.adjust import adjustment_of

if TYPE_CHECKING:
    from gateway.stores.contract import Store

__all__ = ["Rehearsal"]

_LAST_MS: Final = 1 << 62


class Rehearsal:
    """What one dry run knows: the store, and the claims of the rows before, 12 bytes each, so that a million take 12 MB."""

    def __init__(self, store: "Store", site: str) -> None:
        self._store = store
        self._site = site
        self._met = _Met()

    async def row(self, item: Recordable) -> Recorded:
        """What storing a row would be answered. Raises StoreError."""
        claim = item.conversion
        if claim is None:
            return Recorded("recorded")
        content = _content(claim.amount_minor, claim.currency)
        stored = await self._stored(item, claim)
        earlier = self._met.meet(f"{claim.goal}\x1f{claim.key}", content)
        return stored or _compared(earlier, claim, None) or Recorded("counted")

    async def _stored(self, item: Recordable, claim: ConversionClaim) -> Recorded | None:
        """What the store would answer to a claim because of what it holds, None when the claim is new to it."""
        store, site = self._store, self._site
        found = await store.event(item.event.event_id, site)
        if found is not None:
            known = found.conversions[0] if found.conversions else None
            return Recorded("duplicate", (known.counted_id or known.conversion_id) if known is not None else None)
        if claim.key.startswith("o:") and claim.order_id is not None:
            for counted in await store.conversions_of_order(site, claim.order_id):
                if counted.test != claim.test:
                    continue
                if counted.goal == claim.goal and counted.fate == "retracted":
                    return Recorded("duplicate", counted.conversion_id)
                if counted.goal == claim.goal:
                    return _compared(_content(counted.amount_minor, counted.currency), claim, counted.conversion_id)
        elif claim.key.startswith("p:"):
            earlier_at_ms = await store.previous_conversion_at(
                site,
                claim.goal,
                visitor_key=item.event.visitor_key,
                person_key=item.person_key,
                before_ms=_LAST_MS,
                not_id="",
            )
            return Recorded("duplicate") if earlier_at_ms is not None else None
        return None

    async def change(self, goal: str, order_id: str, adjustment: Adjustment) -> tuple[str, str | None, str | None]:
        """What an adjustment would be: `update` or `duplicate`, the conversion, the effect. Raises Refusal, StoreError.

        The effect is not foreseen for an order that only this file tells of.
        """
        if await self._store.adjustment(self._site, adjustment.id) is not None:
            return "duplicate", None, None
        for known in await self._store.conversions_of_order(self._site, order_id):
            if known.goal == goal:
                rows = await self._store.adjustments_of(self._site, known.conversion_id)
                history = [adjustment_of(row) for row in rows]
                counted = Counted(known.amount_minor, known.currency, known.value_source)
                check_adjustment(adjustment, counted, history)
                effect = apply(counted, [*history, adjustment]).effects[adjustment.id]
                return "update", known.conversion_id, effect
        check_adjustment(adjustment, None, ())
        return "update", None, None if self._met.holds(f"{goal}\x1fo:{order_id}") else "waiting"


class _Met:
    """Claims that were met. They are told apart by 76 bits of a digest."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(4_096)]

    def meet(self, claim: str, content: bytes) -> bytes | None:
        """Answer the 4 bytes of content a claim was met with first; None the first time."""
        bucket, key, at = self._find(claim)
        if at >= 0:
            return bytes(bucket[at + 8 : at + 12])
        bucket += key + content
        return None

    def holds(self, claim: str) -> bool:
        """Whether a claim was met."""
        return self._find(claim)[2] >= 0

    def _find(self, claim: str) -> tuple[bytearray, bytes, int]:
        """The bucket of a claim, its 8 bytes, and where they stand; below 0 when they do not."""
        digest = blake2b(claim.encode("utf-8", "replace"), digest_size=10).digest()
        bucket, key = self._buckets[int.from_bytes(digest[:2]) & 4_095], digest[2:]
        at = bucket.find(key)
        while at >= 0 and at % 12:
            at = bucket.find(key, at + 1)
        return bucket, key, at


def _content(amount_minor: int | None, currency: str | None) -> bytes:
    """What must be the same for a repeat to be no conflict, in 4 bytes; no amount is four zeros."""
    if amount_minor is None:
        return bytes(4)
    return blake2b(f"{amount_minor} {currency}".encode(), digest_size=4).digest()


def _compared(earlier: bytes | None, claim: ConversionClaim, conversion_id: str | None) -> Recorded | None:
    """A repeat is a duplicate; of an order, a conflict when it says another amount. Without an earlier one it is none."""
    if earlier is None:
        return None
    again = claim.amount_minor if claim.value_source == "event" and claim.key.startswith("o:") else None
    same = again is None or earlier == _content(again, claim.currency)
    return Recorded("duplicate" if same else "conflict", conversion_id)
