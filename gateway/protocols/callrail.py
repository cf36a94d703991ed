"""CallRail webhooks: calls that ended, and calls that were changed later (pure).

`Signature` is base64(HMAC-SHA1(raw body, the company's signing key)); the body's `timestamp` keeps an old message from being
sent again. Nothing is tried again by the sender, and a call can be told up to 20 minutes after it ended, so the window is
30 minutes back and 5 ahead. The copy of the call in the query string is not signed and not read.

Messages name no kind. A call is known by its id (`CAL...`); texts and forms are passed over. A call is told before, during
and after it took place, so what was learned is a part of the event id: a missed call that a moment later was answered is
not a repeat. The order number is the call's id, so that a call counts once whatever is told of it. Whether it counts is
the goal's rule; here stand `answered` and `duration_s`.

Source: apidocs.callrail.com (webhooks, calls), support.callrail.com (fields since 2021); read 2026-11.
"""

from typing import Final

import msgspec

from gateway.errors import Refusal
from gateway.event import Received, Scalar
from gateway.protocols import reading
from gateway.protocols.order_reading import Reader, decode, moment_ms, placed_ms, stable_id
from gateway.protocols.order_webhook import Adapter, Endpoint, Hook, OrderAdjustment, Orders, Verified, is_signed

__all__ = ["CALLRAIL", "read", "verify"]

BACK_S: Final = 1_800
AHEAD_S: Final = 300
DURATION_MAX_S: Final = 86_400

_NOTHING: Final = msgspec.Raw(b"")


class _Stamp(msgspec.Struct):
    timestamp: object = None


class _Call(msgspec.Struct, kw_only=True):
    resource_id: object = None
    id: object = None
    answered: bool | None = None
    duration: object = None
    direction: object = None
    voicemail: bool | None = None
    start_time: object = None
    customer_phone_number: object = None
    customer_country: object = None
    tracking_phone_number: object = None
    tracker_resource_id: object = None
    tracker_id: object = None
    source_name: object = None
    source: object = None
    medium: object = None
    campaign: object = None
    keywords: object = None
    utm_source: object = None
    utm_medium: object = None
    utm_campaign: object = None
    utm_term: object = None
    utm_content: object = None
    landing_page_url: object = None
    referring_url: object = None
    referrer: object = None
    gclid: object = None
    fbclid: object = None
    msclkid: object = None
    lead_status: object = None
    value: msgspec.Raw = _NOTHING
    changes: object = None
    timestamp: object = None


_read_stamp: Final = reading.decoder(_Stamp)
_read_call: Final = reading.decoder(_Call)


def verify(hook: Hook) -> Verified:
    """Check a delivery's signature and time. Raises Refusal `signature_invalid`, or `signature_stale` when only time is wrong."""
    if not is_signed(hook, hook.header("Signature"), "sha1"):
        raise Refusal("signature_invalid")
    told_ms = _stamp_ms(decode(_read_stamp, hook.body).timestamp)
    if not -BACK_S * 1000 <= told_ms - hook.now_s * 1000 <= AHEAD_S * 1000:
        raise Refusal("signature_stale")
    return Verified(body=hook.body)


def _stamp_ms(stamp: object) -> int:
    """When a message was made: a time in text (UTC without an offset), or seconds or milliseconds since 1970."""
    if stamp is None or stamp == "":
        raise Refusal("field_missing", "timestamp")
    if isinstance(stamp, str) and not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
        return moment_ms(stamp, "timestamp", utc=True)
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | str):
        raise Refusal("time_invalid", "timestamp")
    try:
        number = int(stamp)
    except (ValueError, OverflowError):
        raise Refusal("time_invalid", "timestamp") from None
    return number if abs(number) >= 100_000_000_000 else number * 1000


def read(verified: Verified, endpoint: Endpoint) -> Orders:
    """Read one message. Raises Refusal with the path of the first field that is wrong."""
    call = decode(_read_call, verified.body)
    call_id = call.resource_id or call.id
    if call_id is None or call_id == "":
        raise Refusal("field_missing", "resource_id")
    reader = Reader()
    if not isinstance(call_id, str) or not call_id.startswith("CAL"):
        return Orders(note="topic_ignored")
    order_id = reader.order_id(call_id)
    if order_id is None:
        raise Refusal("field_invalid", "resource_id")
    if call.answered is None:
        raise Refusal("field_missing", "answered")
    duration_s = _duration(call.duration)
    at_ms = placed_ms(_started(call.start_time, reader), endpoint, reader)
    if at_ms is None:
        return Orders(note="too_old")
    currency = endpoint.currency
    amount_minor = reader.optional_minor(call.value, currency) if currency else None
    caller = reader.personal(call.customer_phone_number)
    learned = f"{'answered' if call.answered else 'missed'}-{duration_s}"
    received = Received(
        site=endpoint.site,
        event_id=stable_id("callrail", order_id, learned),
        name="outbound_call" if call.direction == "outbound" else "call",
        trust="signed",
        occurred_at_ms=at_ms,
        received_at_ms=endpoint.received_at_ms,
        url=reader.text(call.landing_page_url, 8_192),
        referrer=reader.text(call.referring_url or call.referrer, 8_192),
        amount_minor=amount_minor,
        currency=currency if amount_minor is not None else None,
        order_id=order_id,
        props=_props(call, duration_s, caller.reveal() if caller is not None else "", reader),
        person=reader.person(phone=(call.customer_phone_number,), country=call.customer_country),
        click_ids={
            name: text
            for name, value in (("gclid", call.gclid), ("fbclid", call.fbclid), ("msclkid", call.msclkid))
            if (text := reader.word(value, 512)) is not None
        },
        campaign=reader.campaign(
            {
                "source": call.utm_source or call.source,
                "medium": call.utm_medium or call.medium,
                "campaign": call.utm_campaign or call.campaign,
                "term": call.utm_term or call.keywords,
                "content": call.utm_content,
            }
        ),
        marks=reader.marks,
        test=not endpoint.live,
    )
    adjustments: tuple[OrderAdjustment, ...] = ()
    if call.changes is not None and amount_minor is not None:
        # Somebody gave the call another value after it ended.
        told_ms = _stamp_ms(call.timestamp)
        restated = OrderAdjustment(
            order_id=order_id,
            kind="restate",
            reason="price_changed",
            adjustment_id=stable_id("callrail", order_id, "value", str(told_ms)),
            at_ms=told_ms,
            amount_minor=amount_minor,
            currency=currency,
        )
        adjustments = (restated,)
    return Orders(events=(received,), adjustments=adjustments)


def _duration(value: object) -> int:
    """Seconds of a call; none yet is 0."""
    if value is None or value == "":
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= DURATION_MAX_S:
        raise Refusal("field_invalid", "duration")
    return value


def _started(value: object, reader: Reader) -> int | None:
    """When the call began. A time without offset is not known: the sender names no zone, so now is taken and marked."""
    text = reader.word(value, 64)
    if text is None:
        return None
    try:
        return moment_ms(text, "start_time")
    except Refusal:
        reader.mark("value_left_out")
        return None


def _props(call: _Call, duration_s: int, caller: str, reader: Reader) -> dict[str, Scalar | list[Scalar]]:
    """Facts of the call. The tracking number is the business's own, so it stands there in clear, as digits."""
    props: dict[str, Scalar | list[Scalar]] = {"answered": call.answered, "duration_s": duration_s}
    if call.voicemail is not None:
        props["voicemail"] = call.voicemail
    tracking = _digits(reader.word(call.tracking_phone_number, 40) or "")
    told = (
        ("tracking_number", tracking if tracking != _digits(caller) else None),
        ("tracker", reader.word(call.tracker_resource_id or call.tracker_id, 64)),
        ("tracker_name", reader.word(call.source_name, 256)),
        ("lead_status", reader.word(call.lead_status, 64)),
    )
    for name, text in told:
        if text:
            props[name] = text
    return props


def _digits(number: str) -> str:
    return "".join(character for character in number if "0" <= character <= "9")


CALLRAIL: Final = Adapter(verify, read)
