"""What a destination is: a table that says everything about one vendor's contract.

`render.py` acts on it. Functions in a table are typed Python values and are named after what they take or mean.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.exchange import Answer, Call, Reading
from gateway.purposes import Needs

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = [
    "Batch",
    "Check",
    "Context",
    "Destination",
    "Field",
    "Maker",
    "Option",
    "Options",
    "Pace",
    "Ready",
    "Withdrawal",
    "Withdrawn",
]

Options = Mapping[str, object]
"""Values of a configured destination's options by name, checked; secrets are not among them."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What rendering knows besides the event. `year` is the present one, `calling_code` the site's, digits only."""

    site: str
    options: Options
    now_ms: int
    year: int
    calling_code: str | None = None
    currency: str | None = None


Maker = Callable[["Permitted", Context], object | None]
"""Makes the vendor's value of one field from a permitted event; None leaves the field out."""

Check = Callable[[Mapping[str, object], "Permitted", Context], str | None]
"""Looks at a rendered event; answers `reason` or `reason:field` when the vendor would not take it."""


class Field(msgspec.Struct, frozen=True):
    """One field of the vendor's event. `to` is its path; `required` makes an event without it unfit.

    `only` limits a field to some of the vendor's event names.
    """

    to: str
    make: "Maker"
    required: bool = False
    only: frozenset[str] | None = None


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One thing an operator sets for a destination.

    `kind`: `text`, `secret`, `flag`, `choice` (one of `choices`), `map` (event name to text), `url`, `names`.
    """

    name: str
    kind: str
    help: str
    required: bool = False
    default: object = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()


class Batch(msgspec.Struct, frozen=True):
    """How many events one request may hold, and how large it may be in bytes."""

    max_events: int = 1
    max_bytes: int = 1_000_000


class Pace(msgspec.Struct, frozen=True):
    """How fast a vendor is spoken to: requests at a time and per minute."""

    concurrency: int = 4
    per_minute: int = 600


class Ready(msgspec.Struct, frozen=True):
    """One rendered event taken out of its seal. Events of different groups never share a request."""

    group: str
    body: bytes
    dedup_key: str | None


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal or an erasure as one destination may be told of it: ids of events it was sent, and nothing personal.

    `withdrawn` and `granted` are sets as in `purposes`: what was taken back, and what is left. `part` of `parts` counts
    from 1: a long list of events is told in several messages.
    """

    destination: str
    record_id: str
    erased: bool
    at_ms: int
    withdrawn: int
    granted: int
    event_ids: tuple[str, ...]
    part: int = 1
    parts: int = 1


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """The call by which a vendor is told of a withdrawal or an erasure, as its documentation describes it.

    `contract` names the document. One message holds at most `events_max` event ids. Messages are never batched: `request`
    gets exactly one. `dedup` makes the key by which the receiver tells repeats, None where it cannot.
    """

    contract: str
    events_max: int
    make: Callable[[Withdrawn, Context], Mapping[str, object]]
    dedup: Callable[[Withdrawn, Context], str | None]
    request: Callable[[list[Ready], Options, int], Call]
    read_answer: Callable[[Answer, int, int], Reading]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one vendor.

    `contract` names the document, version and the day it was read. `hosts` are the only names `outbound` may connect to
    for it; empty means that the operator names the address (webhooks). `event_names` maps the gateway's event names to
    the vendor's; others are sent under their own name if `custom_events`. `default_events` are owed when the operator
    lists none. `not_sent` names every field of the contract that is never sent, with the reason: silence is not a
    decision. `dedup` makes the key by which the vendor tells repeats, None where it cannot. `withdrawal` None: the vendor
    documents no call by which it could be told of a withdrawal or an erasure, and the record says so.
    """

    slug: str
    title: str
    contract: str
    hosts: tuple[str, ...]
    options: tuple[Option, ...]
    needs: Needs
    event_names: Mapping[str, str]
    custom_events: bool
    default_events: tuple[str, ...]
    refusals: Mapping[str, str]
    fields: tuple[Field, ...]
    not_sent: Mapping[str, str]
    checks: tuple[Check, ...]
    age_max_ms: int
    future_max_ms: int
    dedup: Callable[["Permitted", Context], str | None]
    dedup_window_ms: int | None
    group: Callable[["Permitted", Context], str]
    batch: Batch
    pace: Pace
    event_max_bytes: int
    timeout_s: float
    request: Callable[[list[Ready], Options, int], Call]
    read_answer: Callable[[Answer, int, int], Reading]
    problems: Callable[[Options], list[str]] | None = None
    withdrawal: Withdrawal | None = None


ALL_CONVERSIONS: Final = ("purchase", "generate_lead", "sign_up", "subscribe", "start_trial", "contact")
"""Events that every destination with a counterpart gets unless the operator lists others."""
