"""The contract's second half: the catalogue, clicks, adjustments, credit, spend, timers, and the sums reports are made of.

Every `day` is a number of days since 1970 in UTC. Shares are billionths. Sums leave out tests.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from asyncio import Future

    from gateway.catalogue import Entry
    from gateway.event import Touch

__all__ = [
    "NO_FILTER",
    "AdjustmentApplied",
    "AdjustmentRow",
    "AttributionRow",
    "Contact",
    "CountedConversion",
    "Credit",
    "CreditDay",
    "CreditStore",
    "DueTimer",
    "GoalDay",
    "SpendRow",
    "TouchDay",
]


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A stored touch, as attribution reads it. See `event.Touch`."""

    touch_no: int
    event_id: str | None
    kind: str
    visitor_key: bytes | None
    occurred_at_ms: int
    referrer: str | None
    channel: str
    source: str
    medium: str
    campaign_name: str
    link_id: str
    campaign_id: str
    ambassador_id: str
    variant: str
    click_id: str | None
    landed_click_id: str | None
    device: str
    os: str
    browser: str
    landing: str
    human: str
    human_reason: str
    consent: bool
    test: bool
    repeats: int


class AdjustmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One adjustment as it was received. `conversion_id` None: the conversion is not known yet."""

    adjustment_id: str
    conversion_id: str | None
    goal: str
    order_id: str | None
    kind: str
    amount_minor: int | None
    currency: str | None
    reason: str
    at_ms: int
    received_at_ms: int
    trust: str


class AdjustmentApplied(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversion is after an adjustment. `known` is how many adjustments this was worked out from, it included."""

    fate: str
    reason: str
    net_minor: int | None
    known: int


class CountedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion with what attribution needs of its event. `facts` is the event's JSON."""

    site: str
    conversion_id: str
    event_id: str
    goal: str
    goal_version: int
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    value_source: str
    net_minor: int | None
    click_id: str | None
    coupons: tuple[str, ...]
    campaign_id: str
    test: bool
    fate: str
    reason: str
    occurred_at_ms: int
    received_at_ms: int
    trust: str
    visitor_key: bytes | None
    person_key: bytes | None
    credit_version: int
    facts: bytes


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What one touch earned. `touch_no` None: a coupon. `position` counts from 0, oldest first."""

    position: int
    touch_no: int | None
    kind: str
    at_ms: int
    channel: str
    source: str
    medium: str
    campaign_name: str
    link_id: str
    campaign_id: str
    ambassador_id: str
    variant: str
    device: str
    landing: str
    share_e9: int
    amount_minor: int | None
    net_minor: int | None


class AttributionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one conversion. `why` is set when nobody is credited. `seconds`: from the last click to it.

    `path` is the channels of the path joined by ` > `; `excluded` is JSON, touch number to reason.
    """

    conversion_id: str
    version: int
    model: str
    model_version: int
    goal_version: int
    matched_by: str
    why: str | None
    path: str
    seconds: int | None
    first_of_person: bool
    computed_at_ms: int
    excluded: bytes
    credits: tuple[Credit, ...] = ()


class SpendRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on one day. The same day, campaign, channel, source and currency again replaces it."""

    day: int
    campaign_id: str
    channel: str
    source: str
    currency: str
    amount_minor: int
    clicks: int | None = None
    impressions: int | None = None


class TouchDay(msgspec.Struct, frozen=True):
    """Touches of one day that are alike."""

    day: int
    kind: str
    channel: str
    source: str
    medium: str
    campaign_name: str
    campaign_id: str
    link_id: str
    ambassador_id: str
    variant: str
    device: str
    human: str
    touches: int
    repeats: int


class CreditDay(msgspec.Struct, frozen=True):
    """Credit of one day for touches that are alike. `first_e9`: share of conversions that were their person's first on the
    goal. `seconds_e9` sums seconds to convert by share, `timed_e9` the shares they were known for."""

    day: int
    goal: str
    channel: str
    source: str
    medium: str
    campaign_name: str
    campaign_id: str
    link_id: str
    ambassador_id: str
    variant: str
    device: str
    landing: str
    currency: str
    share_e9: int
    first_e9: int
    amount_minor: int
    net_minor: int
    seconds_e9: int
    timed_e9: int


class GoalDay(msgspec.Struct, frozen=True):
    """Conversions of one goal, day and currency. `conversions` were counted, retracted ones included."""

    day: int
    goal: str
    currency: str
    conversions: int
    unattributed: int
    duplicates: int
    retracted: int
    defaulted: int
    without_order: int
    first_of_person: int
    amount_minor: int
    net_minor: int
    seconds: int
    timed: int


class DueTimer(msgspec.Struct, frozen=True):
    """A timer handed to one worker."""

    timer_no: int
    site: str
    kind: str
    subject_key: bytes
    due_at_ms: int
    payload: bytes


NO_FILTER: Final[Mapping[str, str]] = {}
"""Rows are summed whatever their columns hold."""


class CreditStore(Protocol):
    """What flows may ask of a store about links, goals and credit. Every method may raise StoreError and its kinds."""

    # -------------------------------------------------------------- the catalogue

    def put_entry(self, entry: "Entry") -> Awaitable[str]:
        """Store a new entry (version 1) or the next version of one.

        Answers `stored`; `taken` when another entry of the kind has its code; `stale` when its version is not the next.
        """
        ...

    async def entry(self, site: str, kind: str, entry_id: str, version: int | None = None) -> "Entry | None":
        """Return an entry, or an old version of it."""
        ...

    async def entry_by_code(self, site: str, kind: str, folded: str) -> "Entry | None":
        """Return the entry with a code."""
        ...

    async def entries(
        self, site: str, kind: str, *, parent: str | None = None, after_id: str = "", limit: int = 1_000
    ) -> "Sequence[Entry]":
        """Return entries by id, archived ones included; with `parent` those of one campaign."""
        ...

    # -------------------------------------------------------------- touches

    def record_click(self, site: str, touch: "Touch") -> "Future[int]":
        """Store a touch without an event: a click on a link, a call. The future is done when it is durable.

        A click id that is there already is not stored again: the answer is the number of the touch that has it.
        """
        ...

    def record_repeat(self, site: str, click_id: str) -> Awaitable[bool]:
        """Count one more click of the same visitor on the same link, on the day of the first. Answers whether it is known."""
        ...

    async def contacts(
        self,
        site: str,
        *,
        visitor_keys: Sequence[bytes],
        click_ids: Sequence[str],
        after_ms: int,
        upto_ms: int,
        limit: int,
    ) -> Sequence[Contact]:
        """Return touches of visitors, and clicks by their ids, newest first, both times included."""
        ...

    async def devices_of(self, site: str, person_key: bytes, limit: int = 100) -> Sequence[tuple[bytes, int]]:
        """Return the visitors that were seen to be a person, with the time of the first sight."""
        ...

    async def persons_of(self, site: str, visitor_keys: Sequence[bytes]) -> Sequence[tuple[bytes, bytes, int]]:
        """Return (visitor, person, time) of visitors that were seen to be somebody."""
        ...

    # -------------------------------------------------------------- conversions

    async def uncredited(self, now_ms: int, limit: int) -> Sequence[CountedConversion]:
        """Return counted conversions whose credit is due, oldest first."""
        ...

    def credit_again(
        self,
        site: str,
        *,
        goal: str | None,
        conversion_id: str | None,
        after_ms: int,
        upto_ms: int,
        limit: int,
        now_ms: int,
    ) -> Awaitable[int]:
        """Make conversions due to be credited anew: one, or those of a goal and time, both times included. Answers how many.

        Those that are due already are left out, and of many also those that were decided after `now_ms`: whoever asks again
        with the same `now_ms` comes to an end.
        """
        ...

    async def conversion(self, site: str, conversion_id: str) -> CountedConversion | None:
        """Return one conversion."""
        ...

    async def conversions_of_order(self, site: str, order_id: str) -> Sequence[CountedConversion]:
        """Return the conversions of an order that are no duplicates, one a goal."""
        ...

    async def conversions_page(
        self,
        site: str,
        *,
        after_ms: int,
        upto_ms: int,
        goal: str | None = None,
        campaign_id: str | None = None,
        link_id: str | None = None,
        ambassador_id: str | None = None,
        after_id: str = "",
        limit: int = 500,
    ) -> Sequence[CountedConversion]:
        """Return conversions by time and id, those at `after_ms` with an id up to `after_id` left out. For lists and exports.

        Duplicates are left out, tests are not. A campaign is that of the conversion or one that earned of it; `link_id` and
        `ambassador_id` together mean one touch of both.
        """
        ...

    async def previous_conversion_at(
        self, site: str, goal: str, *, visitor_key: bytes | None, person_key: bytes | None, before_ms: int, not_id: str
    ) -> int | None:
        """Return when the person last converted on a goal before, None when this is the first.

        Tests and what was retracted do not count. Of conversions at the same time the one with the smaller id is first.
        """
        ...

    def put_credit(self, site: str, row: AttributionRow) -> Awaitable[bool]:
        """Store a decision, with its credit and what that changes in the sums. Its version must be the next.

        Answers False, and does nothing, when the conversion has another version by now or is gone. Its net amounts are split
        anew where an adjustment came between. Raises StoreError when shares do not sum to one or amounts to the conversion's.
        """
        ...

    async def attribution(self, conversion_id: str, version: int | None = None) -> AttributionRow | None:
        """Return the newest decision about a conversion with its credit, or an older one."""
        ...

    async def attributions(self, conversion_ids: Sequence[str]) -> Mapping[str, AttributionRow]:
        """Return the newest decision about each of many conversions, by its id; those that were not decided are missing.

        For portions of hundreds: all of them are read at once.
        """
        ...

    async def delivery_fates(self, site: str, event_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Count the deliveries of many events by destination and fate."""
        ...

    # -------------------------------------------------------------- adjustments

    def put_adjustment(self, site: str, row: AdjustmentRow, applied: AdjustmentApplied | None) -> Awaitable[str]:
        """Store an adjustment, and what the conversion is after it; `applied` None when it waits for its conversion.

        Answers `recorded`, `repeated` when one with this id is there, `stale` when the conversion's adjustments are not
        those it was worked out from, or when `applied` is None and a conversion of its order, and of its goal if it names
        one, is there by now (nothing was stored then). A conversion that was counted without an amount gets the currency of
        its newest restatement.
        """
        ...

    async def adjustments_of(self, site: str, conversion_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of a conversion, as they arrived."""
        ...

    async def adjustment(self, site: str, adjustment_id: str) -> AdjustmentRow | None:
        """Return one adjustment."""
        ...

    async def waiting_adjustments(self, site: str, order_id: str) -> Sequence[AdjustmentRow]:
        """Return the adjustments of an order that wait for its conversion."""
        ...

    def give_adjustments(
        self, site: str, adjustment_ids: Sequence[str], conversion_id: str, applied: AdjustmentApplied
    ) -> Awaitable[bool]:
        """Give adjustments that waited to their conversion. Answers False when it has others by now."""
        ...

    # -------------------------------------------------------------- spend and sums

    def put_spend(self, site: str, rows: Sequence[SpendRow], now_ms: int) -> Awaitable[int]:
        """Store what was spent. Answers how many rows were new or changed."""
        ...

    async def spend(self, site: str, from_day: int, upto_day: int) -> Sequence[SpendRow]:
        """Return what was spent, both days included."""
        ...

    async def spend_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[SpendRow]:
        """Return sums of what was spent, like `touch_days`; `by` holds names of SpendRow's columns up to `currency`.

        Clicks and impressions are None where none of the rows summed says any.
        """
        ...

    async def touch_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[TouchDay]:
        """Return sums of touches over both days and those between, by some of the columns; the others are empty.

        `by` holds names of TouchDay's columns up to `human`. `only` are values that columns of texts must have.
        """
        ...

    async def credit_days(
        self, site: str, from_day: int, upto_day: int, by: Sequence[str], only: Mapping[str, str] = NO_FILTER
    ) -> Sequence[CreditDay]:
        """Return sums of credit, like `touch_days`; `by` holds names of CreditDay's columns up to `currency`."""
        ...

    async def goal_days(self, site: str, from_day: int, upto_day: int, by: Sequence[str]) -> Sequence[GoalDay]:
        """Return sums of conversions, like `touch_days`; `by` holds `day`, `goal`, `currency` or fewer."""
        ...

    async def paths(
        self, site: str, goal: str | None, after_ms: int, upto_ms: int, limit: int
    ) -> Sequence[tuple[str, int, int]]:
        """Return the most frequent paths: channels, conversions, of those with an amount how many."""
        ...

    async def funnel(self, site: str, goals: Sequence[str], after_ms: int, upto_ms: int) -> Sequence[tuple[int, int]]:
        """Return for each goal how many conversions there were, and how many persons reached it by way of those before.

        Tests and what was retracted do not count; conversions of nobody known count, and are no person.
        """
        ...

    # -------------------------------------------------------------- timers

    def set_timer(self, site: str, kind: str, subject_key: bytes, due_at_ms: int, payload: bytes) -> Awaitable[None]:
        """Set a timer of a subject, in place of an earlier one of the kind."""
        ...

    def stop_timer(self, site: str, kind: str, subject_keys: Sequence[bytes]) -> Awaitable[int]:
        """Stop timers of subjects. Answers how many there were."""
        ...

    def claim_timers(self, now_ms: int, lease_ms: int, limit: int) -> Awaitable[Sequence[DueTimer]]:
        """Take due timers for some time; what is not finished by then is taken again."""
        ...

    async def timers(self, site: str, kind: str) -> Sequence[DueTimer]:
        """Return all timers of a kind, due or not, the next due first: what was set before a start."""
        ...

    def finish_timers(self, timers: Sequence[DueTimer]) -> Awaitable[None]:
        """Delete timers that are done. One that was set anew meanwhile stays."""
        ...
