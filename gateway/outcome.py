"""Fates: what can become of everything that is stored, and the reasons, each with who must act.

Every stored item has exactly one fate from one closed list. For each destination:

    owed = accepted + rejected + withheld + unfit + waiting + dead + cancelled + unconfirmed
    conversions = counted + duplicate + retracted

`docs/reference/fates.md` is generated from these tables; `gateway check` adds up the sums.
"""

from enum import Enum
from typing import Final

import msgspec

from gateway.errors import Act

__all__ = ["FATE_SENTENCES", "OPEN_FATES", "REASONS", "ConversionFate", "DeliveryFate", "Reason", "VerdictKind"]


class DeliveryFate(Enum):
    """Where one delivery, one event owed to one destination, stands."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHHELD = "withheld"
    UNFIT = "unfit"
    CANCELLED = "cancelled"
    DEAD = "dead"
    UNCONFIRMED = "unconfirmed"


OPEN_FATES: Final = frozenset({DeliveryFate.WAITING})
"""Fates that will still change by themselves."""


class ConversionFate(Enum):
    """What became of one stored conversion."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    RETRACTED = "retracted"


FATE_SENTENCES: Final[dict[str, str]] = {
    "waiting": "Stored and due to be sent, now or at its next attempt.",
    "accepted": "The vendor answered that it took the event. The payload is deleted.",
    "rejected": "The vendor answered that it will not take this event. The payload is deleted.",
    "withheld": "Not sent by rule, mostly because consent does not cover it; the reason says which.",
    "unfit": "The event cannot be made into what the vendor takes. Nothing is sent.",
    "cancelled": "Consent was lost while the delivery waited. The payload is deleted.",
    "dead": "Every attempt failed. The payload stays sealed for a replay until its age limit.",
    "unconfirmed": "Sent, but the answer was lost, and the vendor cannot tell a repeat from a new event. Not sent again.",
    "counted": "The first conversion with its key. It counts.",
    "duplicate": "The same order or event was counted before. It does not count again.",
    "retracted": "Taken back by an adjustment. It does not count any more.",
}


class VerdictKind(Enum):
    """How a vendor's answer is classified: by what happens next and who must act."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    THROTTLED = "throttled"
    CREDENTIALS = "credentials"
    CONFIGURATION = "configuration"
    PAYLOAD = "payload"
    AMBIGUOUS = "ambiguous"


class Reason(msgspec.Struct, frozen=True):
    """One row of the list of reasons."""

    act: Act
    sentence: str


_N, _T, _D, _O, _V = Act.NOBODY, Act.TIME, Act.DEVELOPER, Act.OPERATOR, Act.VISITOR

REASONS: Final[dict[str, Reason]] = {
    # withheld
    "consent_missing": Reason(_V, "The purposes this destination needs are not granted."),
    "opted_out": Reason(_V, "The visitor opted out of sale, sharing or targeted advertising."),
    "cookieless": Reason(_N, "A cookieless hit is counted, and never forwarded."),
    "bot": Reason(_N, "The hit came from a known robot, and robots are not forwarded."),
    "test_event": Reason(_N, "A test event, and this destination takes none."),
    # unfit
    "event_not_mapped": Reason(_O, "This destination has no counterpart for this event."),
    "field_required": Reason(_D, "A field the vendor requires is missing or could not be normalised."),
    "identifiers_insufficient": Reason(
        _D, "The vendor could not match this event to anybody with the fields that are left."
    ),
    "event_too_old": Reason(_T, "The event is older than the vendor takes."),
    "event_in_future": Reason(_D, "The event lies further in the future than the vendor takes."),
    "client_id_missing": Reason(_D, "The vendor needs a client id, and consent gave none."),
    "payload_too_large": Reason(_D, "The rendered event is larger than the vendor takes."),
    "refund_not_taken": Reason(_N, "The vendor has no way to take a refund."),
    "adjustment_not_taken": Reason(_N, "The vendor has no way to take the adjustment of a conversion."),
    "render_failed": Reason(_O, "Rendering this event failed; this is a fault of the gateway."),
    "no_call": Reason(_N, "The vendor documents no call by which it could be told of a withdrawal or an erasure."),
    # waiting
    "fresh": Reason(_N, "Not tried yet."),
    "vendor_unavailable": Reason(_T, "The vendor could not be reached or failed."),
    "vendor_throttled": Reason(_T, "The vendor asked to slow down."),
    "credentials_refused": Reason(_O, "The vendor refused the credentials. Waiting until they change."),
    "configuration_refused": Reason(_O, "The vendor refused the account set-up. Waiting until it changes."),
    "batch_failed": Reason(_T, "Another event of the same request failed; sent again without it."),
    # rejected
    "vendor_rejected": Reason(_D, "The vendor refused this event for good."),
    # cancelled
    "consent_withdrawn": Reason(_V, "Consent was withdrawn while the delivery waited."),
    "subject_erased": Reason(_V, "The person was erased while the delivery waited."),
    "needs_changed": Reason(_O, "The destination needs purposes now that this event was not judged for."),
    "destination_removed": Reason(_O, "The destination is not in the configuration any more."),
    # dead
    "attempts_exhausted": Reason(_O, "The time for attempts is over."),
    "payload_unreadable": Reason(_O, "The sealed payload could not be opened with the keys at hand."),
    # unconfirmed
    "answer_lost": Reason(_N, "The answer was lost after sending, and a repeat could count twice."),
    # accepted
    "vendor_accepted": Reason(_N, "The vendor took it."),
    "vendor_accepted_unverified": Reason(
        _N, "The vendor took the request; it does not say whether the event is valid."
    ),
    "vendor_had_it": Reason(_N, "The vendor already had it."),
    # conversions
    "first_with_key": Reason(_N, "No conversion with this key was counted before."),
    "adjusted": Reason(_N, "It counts, with an amount that an adjustment changed."),
    "taken_back": Reason(_N, "An adjustment took it back."),
    "same_order": Reason(_N, "The same order was counted before on this goal."),
    "same_event": Reason(_N, "The same event was counted before."),
    "same_person": Reason(_N, "The goal counts once for each person, and this one was counted before."),
    "same_click": Reason(_N, "The goal counts once for each click, and this one was counted before."),
    "retracted_before": Reason(
        _N, "The same order or event was counted before on this goal, and an adjustment took it back."
    ),
    "value_differs": Reason(_D, "The same order came with another value or currency; the first was kept."),
}
"""Every reason a stored fate can carry."""
