"""The contract of every store, and the values that cross it.

One suite, `tests/contract`, runs against every implementation: SQLite (default) and the official in-memory fake. What a
store promises:

* The future of `submit` is done after the transaction is durable; an exception means that nothing of the submission was acknowledged.
* The first event with an id and the first conversion with a key win, whatever happens at the same moment.
* Deliveries are written for a counted conversion and for a first event only.
* `claim` gives one delivery to one worker at a time, and what was claimed is durable before it is sent.
* A choice that takes purposes back, and an erasure, owe a message to every destination that may hold something that
  rests on them, in the same transaction, by whatever door they came: see `pass_on_with`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.caller import ApiKey
from gateway.event import ConsentChange, Owed, Submission
from gateway.stores.contract_credit import CreditStore

if TYPE_CHECKING:
    from asyncio import Future

    from gateway.event import Submitted

__all__ = [
    "AttemptRow",
    "ConsentState",
    "ConversionRow",
    "DeadRow",
    "DeliveryRow",
    "DueDelivery",
    "Erased",
    "EventRecord",
    "Held",
    "HeldTouch",
    "LogEntry",
    "PassOn",
    "PassedOn",
    "Passing",
    "RecentRow",
    "RecordRow",
    "Settlement",
    "Store",
    "Tally",
    "TouchRow",
    "WaitingRow",
]


class ConsentState(msgspec.Struct, frozen=True):
    """The last choice of one subject. Sets as in `purposes`."""

    subject_tag: bytes
    granted: int
    denied: int
    decided_at_ms: int
    notice: str
    record_id: str


class DueDelivery(msgspec.Struct, frozen=True):
    """A delivery handed to one worker.

    `denied_since` are purposes the visitor or person refused since the judgement, or earlier and told only since; of a
    browser's event all they refuse, because it was judged by what the browser carried.
    `attempts` counts this one too. `unsure_since_ms`: an earlier attempt of that time may have reached the vendor.
    `payload` is None when the person was erased while it was being sent. `withdrawal`: the destination is to be told
    of a withdrawal; `event_id` is then the id of the consent record, `purposes` are those that were lost, and nothing was
    denied since.
    """

    delivery_id: int
    event_id: str
    event_name: str
    purposes: int
    denied_since: int
    judged_at_ms: int
    attempts: int
    expires_at_ms: int
    dedup_key: str | None
    unsure_since_ms: int | None
    payload: bytes | None
    withdrawal: bool = False


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt. `fate` `waiting` means: try again at `due_at_ms`.

    `unsure`: the answer was lost after sending began. `attempted` False: nothing was sent (cancelled before sending, or
    the destination is resting); no attempt is counted.
    `answer` is a short extract of the vendor's answer without personal values.
    """

    delivery_id: int
    fate: str
    reason: str
    at_ms: int
    detail: str | None = None
    due_at_ms: int = 0
    attempted: bool = True
    unsure: bool = False
    latency_ms: int = 0
    verdict: str = ""
    status: int | None = None
    code: str | None = None
    answer: str | None = None


class AttemptRow(msgspec.Struct, frozen=True):
    """One attempt as evidence."""

    at_ms: int
    latency_ms: int
    verdict: str
    status: int | None
    code: str | None
    answer: str | None


class DeliveryRow(msgspec.Struct, frozen=True):
    """One delivery with its attempts."""

    delivery_id: int
    destination: str
    fate: str
    reason: str
    detail: str | None
    purposes: int
    judged_at_ms: int
    due_at_ms: int
    attempts: int
    expires_at_ms: int
    dedup_key: str | None
    settled_at_ms: int | None
    evidence: tuple[AttemptRow, ...] = ()


class ConversionRow(msgspec.Struct, frozen=True):
    """One conversion. `counted_id` names the conversion that counts when this one is a duplicate."""

    conversion_id: str
    goal: str
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    test: bool
    fate: str
    reason: str
    counted_id: str | None


class TouchRow(msgspec.Struct, frozen=True):
    """One touch, without the click ids themselves."""

    kind: str
    occurred_at_ms: int
    referrer: str | None
    campaign: bytes | None
    has_click_ids: bool


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored about one event. `told` are messages about withdrawals that concern its deliveries."""

    site: str
    event_id: str
    name: str
    trust: str
    occurred_at_ms: int
    received_at_ms: int
    visitor_kind: str
    facts: bytes
    conversions: tuple[ConversionRow, ...] = ()
    touches: tuple[TouchRow, ...] = ()
    deliveries: tuple[DeliveryRow, ...] = ()
    told: tuple[DeliveryRow, ...] = ()


class WaitingRow(msgspec.Struct, frozen=True):
    """How much waits for one destination, and since when the oldest is due."""

    site: str
    destination: str
    count: int
    oldest_due_at_ms: int


class Tally(msgspec.Struct, frozen=True):
    """Counts of stored fates: (site, destination, fate) and (site, fate)."""

    deliveries: dict[tuple[str, str, str], int]
    conversions: dict[tuple[str, str], int]
    events: int


class DeadRow(msgspec.Struct, frozen=True):
    """A dead delivery. `replayable`: its payload is still held."""

    delivery_id: int
    site: str
    destination: str
    event_id: str
    event_name: str
    reason: str
    detail: str | None
    attempts: int
    settled_at_ms: int
    replayable: bool


class RecentRow(msgspec.Struct, frozen=True):
    """One of the latest deliveries, for the status page."""

    delivery_id: int
    site: str
    destination: str
    event_id: str
    event_name: str
    fate: str
    reason: str
    detail: str | None
    attempts: int
    judged_at_ms: int
    settled_at_ms: int | None


class LogEntry(msgspec.Struct, frozen=True):
    """One entry of the consent log."""

    entry_no: int
    record_id: str
    entry: bytes
    leaf_hash: bytes


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal or erasure that has to be passed on.

    `granted` is what is left, `lost` what was taken back, sets as in `purposes`. `sent` maps destinations to the ids of
    events they may hold that rest on what was lost, oldest first: accepted, unconfirmed, or under way at this moment.
    """

    site: str
    record_id: str
    at_ms: int
    granted: int
    lost: int
    erased: bool
    sent: Mapping[str, tuple[str, ...]]


PassOn = Callable[[Passing], Sequence[Owed]]
"""Makes what destinations are owed then: a message, or the reason why there is none. Must not raise: it is called inside
the transaction, maybe in another thread."""


class RecordRow(msgspec.Struct, frozen=True):
    """One recorded choice of a subject. `payload` is the JSON that the entry of the log commits to."""

    record_id: str
    payload: bytes
    received_at_ms: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """How much is stored of one subject. `deliveries` and `told` count by destination, fate and, where the fate is
    `withheld`, reason (else an empty text); `records` is oldest first."""

    events: int
    first_at_ms: int | None
    last_at_ms: int | None
    conversions: int
    touches: int
    deliveries: Mapping[tuple[str, str, str], int]
    told: Mapping[tuple[str, str, str], int]
    records: tuple[RecordRow, ...]


class HeldTouch(msgspec.Struct, frozen=True):
    """One touch of a subject with its sealed click ids; `visitor_key` is what they are sealed to, empty for none.

    `event_id` None: a click on a link. See `event.Touch`.
    """

    event_id: str | None
    kind: str
    occurred_at_ms: int
    visitor_key: bytes
    referrer: str | None
    campaign: bytes | None
    click_ids: bytes | None
    channel: str = ""
    source: str = ""
    medium: str = ""
    campaign_name: str = ""
    link_id: str = ""
    device: str = "other"
    os: str = "other"
    browser: str = "other"
    landing: str = ""


class PassedOn(msgspec.Struct, frozen=True):
    """One entry of the consent log, and what destinations were told because of it."""

    site: str
    record_id: str
    entry: bytes
    deliveries: tuple[DeliveryRow, ...]


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did: rows that lost the person (`events`, `conversions`), that are gone (`touches`, `records`), and
    deliveries that were `cancelled`."""

    events: int
    conversions: int
    touches: int
    records: int
    cancelled: int


class Store(CreditStore, Protocol):
    """What flows may ask of a store. Every method may raise StoreError and its kinds; nothing is half done then."""

    def submit(self, submission: Submission) -> "Future[Submitted]":
        """Store one request's records and answer once they are durable. Raises StoreBusy at once when too much waits."""
        ...

    def conversion_id(self, site: str, event_id: str) -> str:
        """Return the id that the conversion of an event gets, before it is stored."""
        ...

    def choose(self, change: ConsentChange) -> Awaitable[str]:
        """Append one choice to the log and cancel waiting deliveries that rest on lost purposes.

        Answers `recorded`, or `stale` when the subject's state is not `previous_record_id` any more.
        """
        ...

    def pass_on_with(self, pass_on: PassOn) -> None:
        """Say how withdrawals and erasures are turned into what destinations are owed. Without it nothing is."""
        ...

    def erase(self, change: ConsentChange, reduce: Callable[[bytes], bytes]) -> Awaitable[Erased | None]:
        """Take the subject of `change` out of everything stored on the site, in one transaction.

        Events stay as `reduce` leaves their facts, without visitor and person, and with them conversions and settled
        deliveries. What waits is cancelled; what is being sent is not sent again. Touches, recorded choices and the
        subject's state are deleted. The log gets the entry; its record names nobody. Answers None when the subject's
        state is not `previous_record_id` any more: then nothing was done.
        """
        ...

    async def held(self, site: str, subject_key: bytes) -> Held:
        """Count what is stored of a visitor or person."""
        ...

    async def events_of(self, site: str, subject_key: bytes, start: int, limit: int) -> Sequence[EventRecord]:
        """Return events of a subject from number `start` on, oldest first, with conversions and deliveries."""
        ...

    async def touches_of(self, site: str, subject_key: bytes, limit: int) -> Sequence[HeldTouch]:
        """Return the touches of a subject, oldest first."""
        ...

    async def passed_on(self, record_id: str, site: str | None) -> PassedOn | None:
        """Return an entry of the consent log by its record id, with what destinations were told because of it."""
        ...

    async def consent_state(self, site: str, subject_key: bytes) -> ConsentState | None:
        """Return the last choice of a subject."""
        ...

    async def claim(
        self, site: str, destination: str, *, now_ms: int, lease_ms: int, limit: int
    ) -> Sequence[DueDelivery]:
        """Take up to `limit` due deliveries of one destination for `lease_ms`.

        One whose earlier lease ran out unsettled is taken again as unsure: whether it was sent nobody wrote down.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down what became of claimed deliveries."""
        ...

    async def next_due_at_ms(self, site: str, destination: str) -> int | None:
        """Return when the next delivery of a destination is due, None when nothing waits."""
        ...

    async def recover(self, now_ms: int) -> tuple[int, int]:
        """After a start: free the leases of a process that died.

        Deliveries the vendor can tell repeats of wait again; the others become `unconfirmed`. Answers both counts.
        """
        ...

    async def replay(
        self, *, now_ms: int, site: str | None, destination: str | None, delivery_id: int | None, limit: int
    ) -> int:
        """Make dead deliveries wait again, as far as their payload is held and young enough. Answers how many.

        What may have reached the vendor stays unsure: its dedup window goes on.
        """
        ...

    async def event(self, event_id: str, site: str | None) -> EventRecord | None:
        """Return everything stored about one event. With `site` None the first site that has it."""
        ...

    async def tally(self) -> Tally:
        """Count all stored fates. Reads everything: for commands, not for requests."""
        ...

    async def waiting(self) -> Sequence[WaitingRow]:
        """Return what waits, per destination."""
        ...

    async def dead(self, site: str | None, destination: str | None, limit: int) -> Sequence[DeadRow]:
        """Return the latest dead deliveries."""
        ...

    async def recent(self, limit: int) -> Sequence[RecentRow]:
        """Return the latest deliveries."""
        ...

    async def log_entries(self, site: str, start: int, limit: int) -> Sequence[LogEntry]:
        """Return entries of a site's consent log from number `start` on."""
        ...

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return all API keys, revoked ones included."""
        ...

    async def put_api_key(self, key: ApiKey) -> None:
        """Store a new API key."""
        ...

    async def revoke_api_key(self, key_id: str, now_ms: int) -> bool:
        """Revoke an API key. Answers whether it was there and not revoked yet."""
        ...

    async def expire(self, *, now_ms: int, events_before_ms: int, attempts_before_ms: int, dead_before_ms: int) -> int:
        """Delete one bounded portion of what is past its time. Answers how many rows went; 0 means done."""
        ...

    async def list_visitors(self) -> int:
        """Keep up the list by which a visitor's events are found, one bounded portion. Answers how many are left to do.

        What is not listed yet is found all the same, by looking through the newest events.
        """
        ...

    async def check(self) -> Sequence[str]:
        """Look for damage. Answers one sentence per fault found."""
        ...

    async def close(self) -> None:
        """Finish what waits, tidy up and close."""
        ...
