"""A signed webhook: the event as JSON to an address of the operator's, signed as Standard Webhooks says.

Contract: standard-webhooks/standard-webhooks, specification 1.0.0 (2026-08-17), read 2026-11-20. The signature is put on
in `outbound`, fresh for every attempt; `webhook-id` stays the same, so the receiver can tell repeats.
"""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.destinations import take
from gateway.destinations.answers import by_status, nothing_came, verdict
from gateway.destinations.definition import (
    ALL_CONVERSIONS,
    Batch,
    Context,
    Destination,
    Field,
    Maker,
    Option,
    Options,
    Pace,
    Ready,
    Withdrawal,
    Withdrawn,
)
from gateway.destinations.hashing import sha256_hex
from gateway.destinations.normalize import clean
from gateway.exchange import Answer, Call, Credential, Reading
from gateway.money import major_text
from gateway.outcome import VerdictKind
from gateway.purposes import AD_USER_DATA, ADVERTISING, NECESSARY, PURPOSES, Group, Needs, names
from gateway.times import DAY_MS, MINUTE_MS, utc_text

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = ["WEBHOOK"]


def _type(event: "Permitted", context: Context) -> str:
    return f"{'conversion' if event.goal is not None else 'event'}.{event.name}"


def _site(event: "Permitted", context: Context) -> str:
    return context.site


def _name(event: "Permitted", context: Context) -> str:
    return event.name


def _goal(event: "Permitted", context: Context) -> str | None:
    return event.goal


def _amount(event: "Permitted", context: Context) -> str | None:
    """Decimal text: a receiver in any language reads it exactly."""
    if event.amount_minor is None or event.currency is None:
        return None
    return major_text(event.amount_minor, event.currency)


def _items(event: "Permitted", context: Context) -> list[dict[str, object]] | None:
    lines = []
    code = event.currency or context.currency
    for item in event.items:
        line: dict[str, object] = {"quantity": item.quantity}
        price = major_text(item.price_minor, code) if item.price_minor is not None and code else None
        named = (
            ("id", item.id), ("name", item.name), ("price", price), ("brand", item.brand),
            ("category", item.category), ("variant", item.variant),
        )  # fmt: skip
        line.update({key: value for key, value in named if value is not None})
        lines.append(line)
    return lines or None


def _props(event: "Permitted", context: Context) -> dict[str, object] | None:
    return dict(event.props) or None


def _campaign(event: "Permitted", context: Context) -> dict[str, str] | None:
    return dict(event.campaign) or None


def _click_ids(event: "Permitted", context: Context) -> dict[str, str] | None:
    """Click ids, only for a receiver whose declared purposes include advertising: the payload must rest on it."""
    return dict(event.click_ids) or None if event.purposes & ADVERTISING else None


def _referrer(event: "Permitted", context: Context) -> str | None:
    return event.page.referrer


def _visitor(event: "Permitted", context: Context) -> str | None:
    """A stable id of the visitor for this receiver alone: two receivers cannot join their visitors."""
    if event.visitor_id is None:
        return None
    return sha256_hex(f"webhook\x1f{context.site}\x1f{event.destination}\x1f{event.visitor_id}")[:32]


def _consent(event: "Permitted", context: Context) -> dict[str, str]:
    return {name: "granted" if event.consent & bit else "denied" for name, bit in PURPOSES.items()}


def _test(event: "Permitted", context: Context) -> bool | None:
    return True if event.test else None


def _contact(field: str, source: str) -> Maker:
    """One contact value: hashed as Google hashes it, in the clear, or not at all, as the operator set it."""
    hashed = take.cleaned("google", field, source)

    def make(event: "Permitted", context: Context) -> object | None:
        how = context.options["contact"]
        if event.person is None or how == "none":
            return None
        if how == "sha256":
            return hashed(event, context)
        value = getattr(event.person, source)
        value = value[0] if isinstance(value, tuple) and value else value
        text = clean(value.reveal()) if value else None
        return text if isinstance(text, str) else None

    return make


FIELDS: Final = (
    Field("type", _type, required=True),
    Field("timestamp", take.occurred_rfc3339, required=True),
    Field("data.event_id", take.event_id, required=True),
    Field("data.site", _site, required=True),
    Field("data.name", _name, required=True),
    Field("data.goal", _goal),
    Field("data.value", _amount),
    Field("data.currency", take.currency),
    Field("data.order_id", take.order_id),
    Field("data.items", _items),
    Field("data.props", _props),
    Field("data.url", take.page_url),
    Field("data.title", take.page_title),
    Field("data.referrer", _referrer),
    Field("data.campaign", _campaign),
    Field("data.click_ids", _click_ids),
    Field("data.visitor", _visitor),
    Field("data.contact.email", _contact("email_address", "email")),
    Field("data.contact.phone", _contact("phone_number", "phone")),
    Field("data.test", _test),
    Field("data.consent", _consent, required=True),
)


def _message_id(event: "Permitted", context: Context) -> str:
    """Same on every attempt, without dots, and not chosen by whoever sent the event."""
    return "msg_" + sha256_hex(f"{context.site}\x1f{event.destination}\x1f{event.event_id}")[:32]


def _request(events: list[Ready], options: Options, now_ms: int) -> Call:
    return Call(
        method="POST",
        url=str(options["url"]),
        headers={"Content-Type": "application/json", "webhook-id": events[0].dedup_key or ""},
        body=events[0].body,
        timeout_s=20.0,
        credentials=(Credential("webhook", "webhook-signature", "signing_secret"),),
    )


def _read_answer(answer: Answer, count: int, now_ms: int) -> Reading:
    """Any 2xx is success. 410 means the receiver is gone for good; other 4xx follow the schedule: receivers get fixed."""
    lost = nothing_came(answer)
    if lost is not None:
        return lost
    status = answer.status or 0
    if status == 410:
        return Reading(whole=verdict(VerdictKind.CONFIGURATION, "configuration_refused", "410", "the receiver is gone"))
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Reading(whole=verdict(VerdictKind.RETRY, "vendor_unavailable", str(status)))
    return by_status(answer, now_ms)


def _withdrawal(told: Withdrawn, context: Context) -> dict[str, object]:
    """What the receiver is told: which purposes were taken back, and which of its events rest on them.

    The ids are those it was sent as `data.event_id`; nothing else in it points at a person.
    """
    return {
        "type": "person.erased" if told.erased else "consent.withdrawn",
        "timestamp": utc_text(told.at_ms),
        "data": {
            "site": context.site,
            "record_id": told.record_id,
            "withdrawn": list(names(told.withdrawn & ~NECESSARY)),
            "consent": {
                name: "granted" if (told.granted | NECESSARY) & bit else "denied" for name, bit in PURPOSES.items()
            },
            "event_ids": list(told.event_ids),
            "part": told.part,
            "parts": told.parts,
        },
    }


def _withdrawal_id(told: Withdrawn, context: Context) -> str:
    text = f"{context.site}\x1f{told.destination}\x1f{told.record_id}\x1f{told.part}"
    return "msg_" + sha256_hex(text)[:32]


def _problems(options: Options) -> list[str]:
    url = options.get("url")
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        return ["url: an https address without user and password"]
    return []


WEBHOOK: Final = Destination(
    slug="webhook",
    title="Signed webhook",
    contract="Standard Webhooks 1.0.0 (2026-08-17), read 2026-11-20",
    hosts=(),
    options=(
        Option(name="url", kind="url", required=True, help="Where to send: https, no private address, no redirect."),
        Option(
            name="signing_secret", kind="secret", required=True,
            help="whsec_ and 24 to 64 random bytes in base64; several, newest first, separated by spaces, while rotating.",
        ),
        Option(
            name="contact", kind="choice", choices=("none", "sha256", "plain"), default="none",
            help="E-mail and phone: not sent, hashed, or in the clear.",
        ),
    ),
    # The operator must declare what the receiver does with the events: see the purposes row of the destination.
    needs=Needs(base=0, groups={Group.CONTACT: AD_USER_DATA}),
    event_names={},
    custom_events=True,
    default_events=ALL_CONVERSIONS,
    refusals={},
    fields=FIELDS,
    not_sent={},
    checks=(),
    age_max_ms=400 * DAY_MS,
    future_max_ms=10 * MINUTE_MS,
    dedup=_message_id,
    dedup_window_ms=None,
    group=lambda event, context: "",
    batch=Batch(max_events=1, max_bytes=1_000_000),
    pace=Pace(concurrency=8, per_minute=6_000),
    event_max_bytes=500_000,
    timeout_s=20.0,
    request=_request,
    read_answer=_read_answer,
    problems=_problems,
    # 250 ids of 64 characters and the rest stay below the 20 KB that receivers are advised to expect.
    withdrawal=Withdrawal(
        contract="docs/reference/withdrawals.md",
        events_max=250,
        make=_withdrawal,
        dedup=_withdrawal_id,
        request=_request,
        read_answer=_read_answer,
    ),
)  # fmt: skip
