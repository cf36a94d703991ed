"""The contract of one Conversions API event, as tables.

Stricter than the platform, on purpose, because the gateway promises it: `external_id` must be a digest, `currency` is
lower-case, custom properties hold no e-mail address or telephone number, a negative `value` is refused on every event.
A creation time in `fbc` or `fbp` that is not in milliseconds is only warned about, since a browser's own cookie is
passed on as it came. A digest of 32 digits (MD5) is taken everywhere but in `external_id`: official libraries send it.

Not known, so not checked: lengths of names and ids, state codes for limited data use other than 1000, the content of
`app_data`, `attribution_data` and `customer_segmentation`. Not known either, and refused all the same: an event more
than 5 minutes in the future, because milliseconds sent as seconds look like that.

Source: Meta for Developers, Conversions API: "Server event parameters", "Main body parameters", "Customer information
parameters", "fbp and fbc parameters", "Data processing options" (pages of 2026-09); PyPI facebook-business 26.0.3.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.sandbox.checks import (
    Check,
    Problem,
    address,
    amount,
    anything,
    array,
    as_list,
    currency,
    digest,
    flag,
    join,
    no_clear_values,
    number,
    one_of,
    record,
    text,
    web_address,
    whole,
)
from gateway.times import DAY_MS, MINUTE_MS

__all__ = ["BODY_FIELDS", "MOST_EVENTS", "check_event", "event_warnings"]

MOST_EVENTS: Final = 1000
_MAX_AGE_MS: Final = 7 * DAY_MS
_MAX_AGE_OFFLINE_MS: Final = 62 * DAY_MS
_MAX_AHEAD_MS: Final = 5 * MINUTE_MS

_APPENDIX: Final = r"(\.(AQ|Ag|Aw|BA|BQ|Bg|[A-Za-z0-9_-]{8}))?"
_COOKIE: Final = text(form=r"fb\.[0-9]+\.[0-9]+\.[^\s.]+" + _APPENDIX)
_CREATED: Final = re.compile(r"fb\.[0-9]+\.([0-9]+)\.", re.ASCII)

_HASHED: Final = "em ph fn ln ct st zp country ge db f5first f5last fi dobd dobm doby"
_PLAIN: Final = "subscription_id anon_id madid page_id page_scoped_user_id ctwa_clid ig_account_id ig_sid"

_USER_DATA: Final = record(
    {
        **{name: as_list(digest(md5=True)) for name in _HASHED.split()},
        "external_id": as_list(digest()),
        "client_ip_address": address(public=True),
        "client_user_agent": text(plain=True),
        "fbc": _COOKIE,
        "fbp": _COOKIE,
        **{name: text(plain=True) for name in _PLAIN.split()},
        "fb_login_id": whole(least=1),
        "lead_id": whole(least=1),
    }
)

_INSUFFICIENT: Final = tuple(
    frozenset(names.split())
    for names in (
        "ct country st zp ge client_user_agent",
        "db client_user_agent",
        "fn ge",
        "ln ge",
    )
)
"""An event whose identifiers all lie inside one of these sets is refused."""

_CONTENT: Final = record(
    {
        "id": text(),
        "quantity": whole(least=0),
        "item_price": amount,
        "title": text(),
        "description": text(),
        "brand": text(),
        "category": text(),
        "delivery_category": one_of("in_store", "curbside", "home_delivery"),
    }
)


def _custom_property(value: object, path: str, out: list[Problem]) -> None:
    """Any other key of custom_data: a string or a number, never a person."""
    if isinstance(value, str):
        no_clear_values(value, path, out)
    else:
        number(value, path, out)


def _quiet(value: object, path: str, out: list[Problem]) -> None:
    """A string of custom_data."""
    text()(value, path, out)
    no_clear_values(value, path, out)


_CUSTOM_DATA: Final = record(
    {
        "value": amount,
        "currency": currency(lower=True),
        "contents": array(_CONTENT),
        "content_ids": array(text()),
        "content_type": one_of("product", "product_group"),
        "content_name": _quiet,
        "content_category": _quiet,
        "status": _quiet,
        "num_items": whole(least=0),
        "order_id": _quiet,
        "search_string": _quiet,
        "predicted_ltv": number,
        "net_revenue": number,
    },
    free=_custom_property,
)

_EVENT_FIELDS: Final[Mapping[str, Check]] = {
    "event_name": text(),
    "event_time": whole(least=0),
    "action_source": one_of(
        "website",
        "app",
        "email",
        "phone_call",
        "chat",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    ),
    "user_data": _USER_DATA,
    "event_source_url": web_address,
    "event_id": text(),
    "custom_data": _CUSTOM_DATA,
    "opt_out": flag,
    "referrer_url": web_address,
    "data_processing_options": array(one_of("LDU"), most=1),
    "data_processing_options_country": whole(least=0, most=1),
    "data_processing_options_state": whole(least=0),
    "original_event_data": record(
        {"event_name": text(), "event_time": whole(least=0), "order_id": text(), "event_id": text()}
    ),
    "attribution_data": anything,
    "customer_segmentation": anything,
    "app_data": anything,
    "messaging_channel": anything,
}
_EVENT: Final = record(_EVENT_FIELDS, required=("event_name", "event_time", "action_source", "user_data"))

BODY_FIELDS: Final[Mapping[str, Check]] = {
    "data": array(anything, least=1, most=MOST_EVENTS, too_many="batch"),
    **{
        name: text()
        for name in ("test_event_code", "partner_agent", "upload_id", "upload_tag", "upload_source", "namespace_id")
    },
}
"""The keys of the request body; the events themselves are checked one by one."""


def check_event(event: object, path: str, now_ms: int, out: list[Problem]) -> None:
    """Check one event of `data` at the time `now_ms`."""
    _EVENT(event, path, out)
    if not isinstance(event, dict):
        return
    _check_time(event, join(path, "event_time"), now_ms, out)
    user_data = event.get("user_data")
    if isinstance(user_data, dict):
        _check_identifiers(user_data, join(path, "user_data"), out)
        if event.get("action_source") == "website":
            if "event_source_url" not in event:
                out.append(Problem(join(path, "event_source_url"), "missing", "is required for website events"))
            if "client_user_agent" not in user_data:
                field = join(path, "user_data.client_user_agent")
                out.append(Problem(field, "missing", "is required for website events"))
        _check_limited_use(event, user_data, path, out)
    if event.get("event_name") == "Purchase":
        custom = event.get("custom_data")
        given = custom if isinstance(custom, dict) else {}
        out.extend(
            Problem(join(path, f"custom_data.{name}"), "missing", "is required for Purchase")
            for name in ("value", "currency")
            if name not in given
        )


def event_warnings(event: Mapping[str, object], path: str) -> list[Problem]:
    """What is taken although it looks wrong: click and browser ids whose creation time is not in milliseconds."""
    user_data = event.get("user_data")
    found: list[Problem] = []
    given = user_data if isinstance(user_data, dict) else {}
    for name in ("fbc", "fbp"):
        created = _CREATED.match(str(given.get(name, "")))
        if created and not 10**12 <= int(created[1]) < 10**14:
            found.append(Problem(join(path, f"user_data.{name}"), "unit", "creation time should be in milliseconds"))
    return found


def _check_time(event: Mapping[str, object], path: str, now_ms: int, out: list[Problem]) -> None:
    at_s = event.get("event_time")
    if not isinstance(at_s, int) or isinstance(at_s, bool):
        return
    limit_ms = _MAX_AGE_OFFLINE_MS if event.get("action_source") == "physical_store" else _MAX_AGE_MS
    if at_s * 1000 > now_ms + _MAX_AHEAD_MS:
        out.append(Problem(path, "future", "lies in the future (the unit is seconds)"))
    elif at_s < (now_ms - limit_ms) // 1000:
        out.append(Problem(path, "too_old", f"is older than {limit_ms // DAY_MS} days"))


def _check_identifiers(user_data: Mapping[str, object], path: str, out: list[Problem]) -> None:
    given = frozenset(user_data)
    if not given:
        out.append(Problem(path, "missing", "needs at least one identifier"))
    elif any(given <= weak for weak in _INSUFFICIENT):
        out.append(Problem(path, "identifiers", "is too little to find a person by"))


def _check_limited_use(
    event: Mapping[str, object], user_data: Mapping[str, object], path: str, out: list[Problem]
) -> None:
    options = event.get("data_processing_options")
    field = join(path, "data_processing_options")
    has_country, has_state = (f"data_processing_options_{name}" in event for name in ("country", "state"))
    if options is None and (has_country or has_state):
        out.append(Problem(field, "missing", "is required with a country or state"))
    if has_country != has_state:
        out.append(Problem(field, "limited_use", "country and state go together"))
    elif options == ["LDU"] and not has_country:
        out.append(Problem(field, "limited_use", "LDU needs country and state, 0 and 0 to let Meta find out"))
    elif options == ["LDU"] and event.get("data_processing_options_country") == 0:
        if event.get("data_processing_options_state") != 0:
            out.append(Problem(field, "limited_use", "country 0 goes with state 0"))
        if "client_ip_address" not in user_data:
            out.append(Problem(field, "limited_use", "Meta can only find the place by client_ip_address"))
