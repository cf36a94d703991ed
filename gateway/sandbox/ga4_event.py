"""The contract of a Measurement Protocol request, as tables, with the messages of the validation server.

What Google marks as a recommendation (currency beside value, a transaction id on a purchase) is a warning; the
validation server turns it into an error when asked to enforce recommendations. Stricter than Google, on purpose: an
e-mail address or telephone number in a parameter, `user_data` beside a denied `ad_user_data`, `user_location` beside
`ip_override` and `device` beside `user_agent` make an event invalid; city and region of an address
must look normalised.

Not known, so not checked: the longest `page_location`, `page_title` and `page_referrer`, the number of items.

Source: developers.google.com/analytics/devguides/collection/protocol/ga4: reference, reference/events, sending-events,
validating-events, changelog (last entry 2026-02-17); .../ga4/uid-data; github googleanalytics/ga-dev-tools da12b8b.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.sandbox.checks import (
    Check,
    Problem,
    address,
    amount,
    array,
    as_list,
    currency,
    digest,
    flag,
    join,
    no_clear_values,
    one_of,
    record,
    text,
    whole,
)
from gateway.times import HOUR_MS, SECOND_MS

__all__ = ["MAX_BODY_BYTES", "check_event", "check_request", "recommendations", "validation_messages"]

MAX_BODY_BYTES: Final = 130_000
_MOST_EVENTS: Final = 25
_MOST_PARAMS: Final = 25
_MOST_PROPERTIES: Final = 25
_MOST_ITEM_EXTRAS: Final = 10
_BACKDATED_MS: Final = 72 * HOUR_MS
_SKEW_MS: Final = SECOND_MS

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED_EVENTS: Final = frozenset(
    "ad_activeview ad_click ad_exposure ad_query adunit_exposure app_clear_data app_install app_remove app_update "
    "error first_open first_visit in_app_purchase notification_dismiss notification_foreground notification_open "
    "notification_receive os_update session_start user_engagement".split()
)
_RESERVED_PROPERTIES: Final = frozenset(
    "first_open_time first_visit_time last_deep_link_referrer user_id first_open_after_install".split()
)
_RESERVED_PARAMS: Final = frozenset({"firebase_conversion"})
_LONG_PARAMS: Final = frozenset({"page_location", "page_title", "page_referrer"})
_ITEM_TEXTS: Final = (
    "item_id item_name affiliation coupon item_brand item_category item_category2 item_category3 item_category4 "
    "item_category5 item_list_id item_list_name item_variant location_id creative_name creative_slot promotion_id "
    "promotion_name google_business_vertical".split()
)

_DEVICE_TEXTS: Final = "category operating_system operating_system_version model brand browser browser_version".split()

_CODES: Final = {
    "missing": "VALUE_REQUIRED",
    "too_few": "VALUE_REQUIRED",
    "name": "NAME_INVALID",
    "reserved": "NAME_RESERVED",
    "too_many": "EXCEEDED_MAX_ENTITIES",
    "too_long": "VALUE_OUT_OF_BOUNDS",
    "range": "VALUE_OUT_OF_BOUNDS",
    "negative": "VALUE_OUT_OF_BOUNDS",
    "too_old": "VALUE_OUT_OF_BOUNDS",
    "future": "VALUE_OUT_OF_BOUNDS",
}
"""Rule to validation code; every other rule is VALUE_INVALID."""


def _name(path: str, name: str, kind: str, most: int, reserved: frozenset[str], out: list[Problem]) -> None:
    if name in reserved or name.startswith(_PREFIXES):
        out.append(Problem(path, "reserved", f"the {kind} name is reserved"))
    elif not _NAME.fullmatch(name) or len(name) > most:
        out.append(
            Problem(path, "name", f"{kind} names are up to {most} letters, digits and _, and start with a letter")
        )


def _scalar(most: int | None) -> Check:
    """A string up to `most` characters, a number or a flag."""
    of_text = text(least=0, most=most)

    def check(value: object, path: str, out: list[Problem]) -> None:
        if isinstance(value, str):
            of_text(value, path, out)
        elif not isinstance(value, int | float):
            out.append(Problem(path, "type", "must be a string, a number or a flag"))

    return check


def _item(value: object, path: str, out: list[Problem]) -> None:
    """One entry of `items`: known members, and up to 10 custom ones."""
    if not isinstance(value, dict):
        out.append(Problem(path, "type", "must be an object"))
        return
    known: dict[str, Check] = {name: text(most=100) for name in _ITEM_TEXTS}
    known |= {"price": amount, "discount": amount, "quantity": whole(least=0), "index": whole(least=0)}
    if not value.keys() & {"item_id", "item_name"}:
        out.append(Problem(path, "missing", "needs item_id or item_name"))
    extras = [name for name in value if name not in known]
    if len(extras) > _MOST_ITEM_EXTRAS:
        out.append(Problem(path, "too_many", f"takes at most {_MOST_ITEM_EXTRAS} custom parameters"))
    for name in extras:
        _name(join(path, name), name, "item parameter", 40, frozenset(), out)
    record(known, free=_scalar(100))(value, path, out)


def _session(value: object, path: str, out: list[Problem]) -> None:
    """Digits as number or text, or the value of the tag's session cookie."""
    if isinstance(value, str):
        text(form=r"[0-9]+|GS[12]\..+")(value, path, out)
    else:
        whole(least=1)(value, path, out)


def _debug_mode(value: object, path: str, out: list[Problem]) -> None:
    """1 or true."""
    if value not in (1, True) or isinstance(value, float):
        out.append(Problem(path, "format", "must be 1 or true"))


_PARAMS: Final[Mapping[str, Check]] = {
    "value": amount,
    "tax": amount,
    "shipping": amount,
    "currency": currency(),
    "transaction_id": text(most=100),
    "items": array(_item),
    "session_id": _session,
    "engagement_time_msec": whole(least=0),
    "debug_mode": _debug_mode,
    **{name: text(least=0) for name in _LONG_PARAMS},
}


def _params(value: object, path: str, out: list[Problem]) -> None:
    if not isinstance(value, dict):
        out.append(Problem(path, "type", "must be an object"))
        return
    if len(value) > _MOST_PARAMS:
        out.append(Problem(path, "too_many", f"takes at most {_MOST_PARAMS} parameters"))
    for name in value:
        _name(join(path, name), name, "parameter", 40, _RESERVED_PARAMS, out)
    record(_PARAMS, free=_scalar(100))(value, path, out)
    no_clear_values(value, path, out)


_MICROS: Final = whole(least=10**15, most=10**16 - 1)
_EVENT: Final = record({"name": text(), "params": _params, "timestamp_micros": _MICROS}, required=("name",))


def _user_properties(value: object, path: str, out: list[Problem]) -> None:
    if not isinstance(value, dict):
        out.append(Problem(path, "type", "must be an object"))
        return
    if len(value) > _MOST_PROPERTIES:
        out.append(Problem(path, "too_many", f"takes at most {_MOST_PROPERTIES} properties"))
    for name in value:
        _name(join(path, name), name, "user property", 24, _RESERVED_PROPERTIES, out)
    one = record({"value": _scalar(36), "timestamp_micros": _MICROS}, required=("value",))
    record({}, free=one)(value, path, out)
    no_clear_values(value, path, out)


def _place(value: object, path: str, out: list[Problem]) -> None:
    """City or region: plain, lower-case, without digits."""
    text(plain=True)(value, path, out)
    if isinstance(value, str) and (value != value.lower().strip() or any(letter.isdigit() for letter in value)):
        out.append(Problem(path, "format", "must be lower-case, trimmed and without digits"))


_ADDRESS: Final = record(
    {
        "sha256_first_name": digest(),
        "sha256_last_name": digest(),
        "sha256_street": digest(),
        "city": _place,
        "region": _place,
        "postal_code": text(plain=True, form=r"[^.~]+"),
        "country": text(form=r"[A-Z]{2}"),
    }
)

_FIELDS: Final[Mapping[str, Check]] = {
    "client_id": text(),
    "app_instance_id": text(form=r"[0-9a-fA-F]{32}"),
    "user_id": text(most=256),
    "timestamp_micros": _MICROS,
    "user_properties": _user_properties,
    "user_data": record(
        {
            "sha256_email_address": as_list(digest(), most=3),
            "sha256_phone_number": as_list(digest(), most=3),
            "address": as_list(_ADDRESS, most=2),
        }
    ),
    "consent": record(
        {name: one_of("GRANTED", "DENIED") for name in ("ad_user_data", "ad_personalization")},
    ),
    "non_personalized_ads": flag,
    "user_location": record(
        {
            "city": text(),
            "region_id": text(form=r"[A-Z]{2}-[A-Z0-9]{1,3}"),
            "country_id": text(form=r"[A-Z]{2}"),
            "subcontinent_id": text(form=r"[0-9]{3}"),
            "continent_id": text(form=r"[0-9]{3}"),
        }
    ),
    "ip_override": address(),
    "device": record(
        {
            "language": text(form=r"[a-z]{2}"),
            "screen_resolution": text(form=r"[0-9]+x[0-9]+"),
            **{name: text() for name in _DEVICE_TEXTS},
        }
    ),
    "user_agent": text(plain=True),
    "events": array(lambda _value, _path, _out: None, least=1, most=_MOST_EVENTS),
}
_DEBUG_FIELDS: Final = {**_FIELDS, "validation_behavior": one_of("RELAXED", "ENFORCE_RECOMMENDATIONS")}


def check_request(body: Mapping[str, object], *, app: bool, debug: bool, now_ms: int) -> list[Problem]:
    """Check everything but the events: what is wrong here spoils all of them. `app` means an app stream."""
    out: list[Problem] = []
    record(_DEBUG_FIELDS if debug else _FIELDS, required=("app_instance_id" if app else "client_id", "events"))(
        body, "", out
    )
    no_clear_values(body.get("user_id"), "user_id", out)
    no_clear_values(body.get("client_id"), "client_id", out)
    for one, other in (("user_location", "ip_override"), ("device", "user_agent")):
        if one in body and other in body:
            out.append(Problem(other, "conflict", f"send either this or {one}"))
    consent = body.get("consent")
    if isinstance(consent, dict) and consent.get("ad_user_data") == "DENIED" and "user_data" in body:
        out.append(Problem("user_data", "consent", "must not be sent when ad_user_data is denied"))
    _check_time(body.get("timestamp_micros"), "timestamp_micros", now_ms, out)
    return out


def check_event(event: object, path: str, *, app: bool, now_ms: int) -> list[Problem]:
    """Check one event; what is wrong here spoils this event only."""
    out: list[Problem] = []
    _EVENT(event, path, out)
    if isinstance(event, dict):
        reserved = _RESERVED_EVENTS - {"in_app_purchase"} if app else _RESERVED_EVENTS
        if isinstance(name := event.get("name"), str):
            _name(join(path, "name"), name, "event", 40, reserved, out)
        _check_time(event.get("timestamp_micros"), join(path, "timestamp_micros"), now_ms, out)
    return out


def recommendations(event: object, path: str) -> list[Problem]:
    """What Google recommends and this event lacks."""
    params = event.get("params") if isinstance(event, dict) else None
    given = params if isinstance(params, dict) else {}
    name = event.get("name") if isinstance(event, dict) else None
    found = [
        Problem(join(path, f"params.{wanted}"), "missing", f"is recommended with {other}")
        for wanted, other in (("currency", "value"), ("value", "currency"))
        if other in given and wanted not in given
    ]
    if name in ("purchase", "refund") and "transaction_id" not in given:
        found.append(Problem(join(path, "params.transaction_id"), "missing", f"is recommended for {name}"))
    if given.get("engagement_time_msec") == 0:
        found.append(Problem(join(path, "params.engagement_time_msec"), "range", "should not be 0"))
    return found


def validation_messages(problems: list[Problem]) -> list[dict[str, str]]:
    """The problems as the validation server words them."""
    return [
        {
            "fieldPath": problem.path,
            "description": problem.message,
            "validationCode": _CODES.get(problem.rule, "VALUE_INVALID"),
        }
        for problem in problems
    ]


def _check_time(micros: object, path: str, now_ms: int, out: list[Problem]) -> None:
    if not isinstance(micros, int) or isinstance(micros, bool) or micros < 10**15:
        return
    at_ms = micros // 1000
    if at_ms > now_ms + _SKEW_MS:
        out.append(Problem(path, "future", "lies in the future"))
    elif at_ms < now_ms - _BACKDATED_MS:
        out.append(Problem(path, "too_old", "is older than 72 hours"))
