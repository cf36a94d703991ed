"""The event in its stages: one type per stage, each made from the one before, so that the order is checked by types.

    Received -> Recognised -> Judged -> (permit.Permitted | Withheld) -> (Payload | Unfit) -> Recordable -> Recorded

Values a person could be known by are wrapped in `Personal`: they do not print, do not serialise and do not outlive the
request. Everything else here may be stored.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.purposes import Judgement

__all__ = [
    "NOBODY", "NO_DEVICE", "Agent", "Claim", "ConsentChange", "ConversionClaim", "Device", "EventRow", "Idempotency",
    "Item", "Judged", "OnceToken", "Owed", "Page", "Payload", "Person", "Personal", "Received", "Recognised",
    "Recordable", "Recorded", "Scalar", "Signals", "Submission", "Submitted", "TimerChange", "Touch", "Unfit",
    "Visitor", "Withheld",
]  # fmt: skip

Scalar = str | int | float | bool | None


class Personal:
    """A text that identifies a person. It prints as `Personal(***)`; `reveal()` is the only way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the clear value. Call it where it is hashed or matched, keep the result in a local name."""
        return self._value

    def __repr__(self) -> str:
        return "Personal(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Personal(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Personal, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a personal value cannot be pickled")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Contact data that came with one event. Lives for the length of one request."""

    email: tuple[Personal, ...] = ()
    phone: tuple[Personal, ...] = ()
    first_name: Personal | None = None
    last_name: Personal | None = None
    gender: Personal | None = None
    date_of_birth: Personal | None = None
    street: Personal | None = None
    city: Personal | None = None
    region: Personal | None = None
    postal_code: Personal | None = None
    country: Personal | None = None
    external_id: Personal | None = None

    def values(self) -> tuple[Personal, ...]:
        """Every clear value, for scrubbing them out of free text."""
        single = (
            self.first_name, self.last_name, self.gender, self.date_of_birth, self.street, self.city, self.region,
            self.postal_code, self.country, self.external_id,
        )  # fmt: skip
        return (*self.email, *self.phone, *(value for value in single if value is not None))


class Agent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user-agent text says, without the text. `bot` names the rule that took it for a robot, None for people."""

    device: str = "other"
    os: str = "other"
    browser: str = "other"
    bot: str | None = None


UNKNOWN_AGENT: Final = Agent()


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Where a hit came from. Address and agent text live for the length of one request."""

    ip: Personal | None = None
    user_agent: Personal | None = None
    language: str | None = None
    agent: Agent = UNKNOWN_AGENT


NO_DEVICE: Final = Device()


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """The page an event happened on, cleaned of click ids and personal values. `referrer` is a host, not an address."""

    url: str | None = None
    title: str | None = None
    referrer: str | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an order. `price_minor` is the price of one piece in minor units of the event's currency."""

    id: str | None = None
    name: str | None = None
    price_minor: int | None = None
    quantity: int = 1
    brand: str | None = None
    category: str | None = None
    variant: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """What the sender of an event says about consent. Sets as in `purposes`; `at_ms` None when not said.

    `sensitive`: the person agreed to the use of sensitive data for the purposes granted.
    """

    granted: int = 0
    denied: int = 0
    at_ms: int | None = None
    sensitive: bool = False


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """Consent signals that came with an event, not decoded yet. None: not said.

    `tcf` TC string, `gdpr` whether the page says that the TCF applies, `ac` additional consent string, `gpp` GPP string,
    `gpp_sid` its applicable sections, `us_privacy`, `gcs` and `gcd` of Google's consent mode, `google` its types as set by
    default or update: pairs of name and `granted` or `denied`. `platform`, `choice` and `categories` are what a consent
    platform's API told the page, as pairs of key and whether it is on; `at_ms` is when the choice was made.
    """

    tcf: str | None = None
    gdpr: bool | None = None
    ac: str | None = None
    gpp: str | None = None
    gpp_sid: tuple[int, ...] | None = None
    us_privacy: str | None = None
    gcs: str | None = None
    gcd: str | None = None
    google: tuple[tuple[str, str], ...] = ()
    platform: str | None = None
    choice: str | None = None
    categories: tuple[tuple[str, bool], ...] = ()
    at_ms: int | None = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed claim that something happened.

    `trust` says how much the sender is believed: `browser` (anyone could have sent it), `server` (an API key),
    `signed` (an API key and a signature), `token` (a goal's postback token). `amount_minor` is in minor units of
    `currency`. `click_ids` and `platform_ids` (vendors' own cookies) are used only under the purposes they need. `minor`: the person
    is known to be under age; `sensitive` names categories of purposes.SENSITIVE that the event tells about somebody.
    `click_id` is the click of ours that it names, `coupons` the codes on its order as written, `campaign_code` the code of
    the campaign it is reported for (`campaign` are the parameters of the page address). `status` is what a tracker calls a
    conversion: `lead`, `sale`, `rejected`, `rebill`. `landed_click_id` and `link_code` are the click and the slug of a link of
    ours as the page address names them: the page was reached by it. `marks` are flags such as `time_clamped`.
    """

    site: str
    event_id: str
    name: str
    trust: str
    occurred_at_ms: int
    received_at_ms: int
    conversion: bool = False
    url: str | None = None
    title: str | None = None
    referrer: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    order_id: str | None = None
    goal: str | None = None
    items: tuple[Item, ...] = ()
    props: Mapping[str, Scalar | list[Scalar]] = {}
    search: str | None = None
    session: int | None = None
    person: Person | None = None
    device: Device = NO_DEVICE
    click_ids: Mapping[str, str] = {}
    campaign: Mapping[str, str] = {}
    platform_ids: Mapping[str, str] = {}
    click_seen_at_ms: int | None = None
    claim: Claim | None = None
    signals: Signals | None = None
    minor: bool = False
    sensitive: tuple[str, ...] = ()
    visitor_token: str | None = None
    marks: tuple[str, ...] = ()
    test: bool = False
    click_id: str | None = None
    coupons: tuple[str, ...] = ()
    campaign_code: str | None = None
    status: str | None = None
    landed_click_id: str | None = None
    link_code: str | None = None


class Visitor(msgspec.Struct, frozen=True):
    """Who an event concerns: `signed` (an id we issued), `daily` (a cookieless id of one day) or `none`.

    `key` is the keyed digest under which the store knows the visitor; the id itself is never stored.
    """

    kind: str
    id: str | None = None
    key: bytes | None = None
    issued_day: int | None = None


NOBODY: Final = Visitor("none")


class Recognised(msgspec.Struct, frozen=True):
    """A received event with the visitor its cookies or token point at, before consent says whether that may be used."""

    received: Received
    visitor: Visitor
    marks: tuple[str, ...] = ()


class Judged(msgspec.Struct, frozen=True):
    """A recognised event with the judgement, and the visitor that the judgement lets us keep.

    `judgement` is the site's own. `judgements` holds those of destinations for which it came out otherwise, by name:
    signals that speak to one kind of destination make the difference.
    """

    received: Received
    visitor: Visitor
    judgement: Judgement
    page: Page
    props: Mapping[str, Scalar | list[Scalar]]
    marks: tuple[str, ...] = ()
    judgements: Mapping[str, Judgement] = {}


class Withheld(msgspec.Struct, frozen=True):
    """A destination may not see this event. `reason` is a code of outcome.REASONS, `missing` the purposes not granted."""

    reason: str
    missing: int = 0


class Payload(msgspec.Struct, frozen=True):
    """One event as one vendor wants it: normalised, hashed, ready to be put into a request. `body` is JSON.

    `dedup_key` is what the vendor tells repeats by, None when it cannot. `purposes` are those the body rests on.
    """

    destination: str
    body: bytes
    purposes: int
    dedup_key: str | None
    expires_at_ms: int


class Unfit(msgspec.Struct, frozen=True):
    """The event cannot be made into what the vendor takes. `field` names the vendor's field that is to blame."""

    reason: str
    field: str | None = None


class EventRow(msgspec.Struct, frozen=True):
    """One event as it is stored. `facts` is JSON without personal values; see `docs/reference/storage.md`."""

    site: str
    event_id: str
    name: str
    trust: str
    occurred_at_ms: int
    received_at_ms: int
    visitor_kind: str
    visitor_key: bytes | None
    facts: bytes


class ConversionClaim(msgspec.Struct, frozen=True):
    """The claim of one event to be a conversion. `key` is unique per site and goal: `o:` order id or `e:` event id; for goals
    that count less, `p:` person or visitor, `k:` click.

    `value_source` says where the amount is from: `event`, `default` (the goal's) or `none`. `click_id` is the click of ours
    that the conversion names; `coupons` are the codes on its order, as written. `goal_version` is the version of the goal it
    counts under, 0 where the catalogue has none. `campaign_id` is the campaign it was reported for, empty for none.
    """

    goal: str
    key: str
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    test: bool = False
    value_source: str = "event"
    click_id: str | None = None
    coupons: tuple[str, ...] = ()
    goal_version: int = 0
    campaign_id: str = ""


class Touch(msgspec.Struct, frozen=True):
    """One contact worth remembering for attribution. `click_ids` is sealed JSON; `campaign` is JSON.

    `kind` is a key of attribution's KINDS: `click`, `qr`, `call`, `referral`, `view`, `direct`. `channel`, `source`,
    `medium` and `campaign_name` are what reports call it. `click_id` is our own id of a click on a link;
    `landed_click_id` and `link_id` of a landing say by which click or link the page was reached. `human` is `yes`, `no` or
    `suspect`, and `human_reason` why. `consent`: it may be used for attribution. `landing` is the path of the page.
    """

    kind: str
    occurred_at_ms: int
    visitor_key: bytes | None
    referrer: str | None
    campaign: bytes | None
    click_ids: bytes | None
    channel: str = ""
    source: str = ""
    medium: str = ""
    campaign_name: str = ""
    link_id: str = ""
    campaign_id: str = ""
    ambassador_id: str = ""
    variant: str = ""
    click_id: str | None = None
    landed_click_id: str | None = None
    device: str = "other"
    os: str = "other"
    browser: str = "other"
    landing: str = ""
    human: str = "yes"
    human_reason: str = ""
    consent: bool = True
    test: bool = False


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery to be stored: what a destination gets, or why it gets nothing.

    `fate` is `waiting`, `withheld` or `unfit`; `payload` is sealed and present only while waiting. `purposes` are those
    the payload rests on: if any one of them is lost later, the delivery is cancelled.
    """

    destination: str
    fate: str
    reason: str
    detail: str | None = None
    purposes: int = 0
    payload: bytes | None = None
    dedup_key: str | None = None
    expires_at_ms: int = 0


class ConsentChange(msgspec.Struct, frozen=True, kw_only=True):
    """A choice to be recorded: the log entry as canonical bytes with its leaf hash, and what follows from it.

    `subject_key` is the keyed digest of the visitor or person, None when a refusal leaves nobody to be known.
    `lost` are purposes that were granted before and are not any more: waiting deliveries that rest on them are cancelled.
    """

    record_id: str
    site: str
    subject_key: bytes | None
    subject_tag: bytes | None
    decided_at_ms: int
    received_at_ms: int
    granted: int
    denied: int
    lost: int
    notice: str
    entry: bytes
    leaf_hash: bytes
    salt: bytes
    payload: bytes
    previous_record_id: str | None = None


class TimerChange(msgspec.Struct, frozen=True):
    """A timer that is set with its record, in place of the subject's earlier one of the kind; `due_at_ms` None stops that
    one. `payload` is sealed. Nothing is done for an event that was stored before."""

    kind: str
    subject_key: bytes
    due_at_ms: int | None
    payload: bytes = b""


class OnceToken(msgspec.Struct, frozen=True):
    """Something that may be used once: a signature's nonce. `digest` identifies it until `expires_at_ms`."""

    use: str
    digest: bytes
    expires_at_ms: int


class Idempotency(msgspec.Struct, frozen=True):
    """A caller's Idempotency-Key with the digest of the body it came with."""

    api_key_id: str
    key: str
    body_sha256: bytes


class Recordable(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one event leaves behind, stored in one transaction or not at all.

    `person_key` is the keyed digest of the person a server call names. `strict` tells a repeat with another amount or
    currency from a duplicate: authenticated callers are told, and then nothing of the repeat is stored.
    """

    event: EventRow
    person_key: bytes | None = None
    conversion: ConversionClaim | None = None
    touch: Touch | None = None
    owed: tuple[Owed, ...] = ()
    consent: ConsentChange | None = None
    strict: bool = False
    timers: tuple[TimerChange, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether there is nothing but the event itself: a page view that owes nobody anything and tells no device's owner."""
        return not (
            self.conversion is not None
            or self.owed
            or self.touch is not None
            or self.consent is not None
            or self.timers
            or (self.person_key is not None and self.event.visitor_kind == "signed")
        )


class Submission(msgspec.Struct, frozen=True):
    """One request's records with what must hold for all of them. Stored whole or not at all."""

    items: tuple[Recordable, ...]
    once: tuple[OnceToken, ...] = ()
    idempotency: Idempotency | None = None


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The durable answer to one Recordable.

    `fate`: `recorded` (an event), `counted` (a conversion), `duplicate` (the same event or order was stored before),
    `conflict` (same order, other amount or currency; nothing was stored), `stale` (somebody else's choice came between;
    nothing was stored). `conversion_id` is that of the conversion that counts, `event_id` the event it came with.
    `own_id` is the event's own id, kept with an Idempotency-Key, so that the answer to a repeat names the same event.
    """

    fate: str
    conversion_id: str | None = None
    event_id: str | None = None
    own_id: str | None = None


class Submitted(msgspec.Struct, frozen=True):
    """The durable answer to a Submission.

    `refused`: None, `replayed` (a once token was used before) or `reused` (the Idempotency-Key came with another body);
    then nothing was stored. `repeated`: the same Idempotency-Key and body were answered before; this is that answer.
    """

    recorded: tuple[Recorded, ...] = ()
    refused: str | None = None
    repeated: bool = False
