"""Google Analytics 4, Measurement Protocol.

Contract: developers.google.com/analytics, Measurement Protocol reference, "Sending events", "User-provided data", change
log to 2026-02-17; event builder schemas of ga-dev-tools. Read 2026-11-20.

The collector answers 2xx to everything, wrong secrets included, so an accepted event is marked unverified; every limit is
checked here before. There is no event id: only purchases and refunds carry a key (`transaction_id`) by which a repeat can
be told, so nothing else is sent again once an answer was lost.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway.destinations import take
from gateway.destinations.answers import accepted, by_status, nothing_came
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
)
from gateway.destinations.hashing import sha256_hex
from gateway.exchange import Answer, Call, Credential, Reading
from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ANALYTICS, Audience, Group, Needs
from gateway.times import HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = ["GA4"]

VALUE_MAX: Final = 100
PARAMS_MAX: Final = 25
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}\Z")
_RESERVED: Final = frozenset(
    "ad_activeview ad_click ad_exposure ad_query adunit_exposure app_clear_data app_install app_remove app_update error "
    "first_open first_visit in_app_purchase notification_dismiss notification_foreground notification_open "
    "notification_receive os_update session_start user_engagement".split()
)
_RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_GA_COOKIE: Final = re.compile(r"GA1\.[0-9]+\.([0-9]{1,20}\.[0-9]{1,20})\Z")
_MONEY: Final = frozenset({"purchase", "refund", "view_item", "add_to_cart", "begin_checkout", "add_payment_info"})
_TRANSACTION: Final = frozenset({"purchase", "refund"})


# ------------------------------------------------------------------ fields


def _client_id(event: "Permitted", context: Context) -> str | None:
    """The tag's own client id when its cookie is there, else one made from the first-party id."""
    cookie = _GA_COOKIE.match(event.platform_ids.get("_ga", ""))
    if cookie is not None:
        return cookie.group(1)
    if event.visitor_id is None:
        return None
    digest = sha256_hex(f"ga4\x1f{context.site}\x1f{event.visitor_id}")
    return f"{int(digest[:8], 16)}.{int(digest[8:16], 16)}"


def _timestamp_micros(event: "Permitted", context: Context) -> int:
    return min(event.occurred_at_ms, context.now_ms) * 1000


def _name(event: "Permitted", context: Context) -> str:
    overrides = context.options.get("event_names")
    named = overrides.get(event.name) if isinstance(overrides, dict) else None
    return named if isinstance(named, str) else EVENT_NAMES.get(event.name, event.name)


def _consent(purpose: int) -> Maker:
    return lambda event, context: "GRANTED" if event.consent & purpose else "DENIED"


def _session_id(event: "Permitted", context: Context) -> str | None:
    return str(event.session) if event.session is not None else None


def _engagement(event: "Permitted", context: Context) -> int:
    """The real time is not known; 1 makes the event count as activity, 0 would not."""
    return 1


def _cut(make: Maker) -> Maker:
    def made(event: "Permitted", context: Context) -> object | None:
        value = make(event, context)
        return value[:VALUE_MAX] if isinstance(value, str) else value

    return made


def _items(event: "Permitted", context: Context) -> list[dict[str, object]] | None:
    lines = []
    for item in event.items:
        if item.id is None and item.name is None:
            continue
        line: dict[str, object] = {"quantity": item.quantity}
        named = (
            ("item_id", item.id), ("item_name", item.name), ("item_brand", item.brand),
            ("item_category", item.category), ("item_variant", item.variant),
            ("price", take.price_number(item, event.currency or context.currency)),
        )  # fmt: skip
        for key, value in named:
            if value is not None:
                line[key] = value[:VALUE_MAX] if isinstance(value, str) else value
        lines.append(line)
    return lines or None


def _campaign(field: str) -> Maker:
    return lambda event, context: event.campaign.get(field)


def _person(field: str, source: str) -> Maker:
    return take.cleaned("ga4_mp", field, source)


def _debug(event: "Permitted", context: Context) -> int | None:
    return 1 if context.options.get("debug") else None


def _page_referrer(event: "Permitted", context: Context) -> str | None:
    return f"https://{event.page.referrer}/" if event.page.referrer is not None else None


EVENT_NAMES: Final = {
    **{
        name: name
        for name in (
            "page_view", "view_item", "add_to_cart", "begin_checkout", "add_payment_info", "purchase", "refund",
            "generate_lead", "sign_up", "search", "subscribe", "start_trial", "contact",
        )
    },
    "download": "file_download",
}  # fmt: skip

FIELDS: Final = (
    Field("client_id", _client_id),
    Field("timestamp_micros", _timestamp_micros, required=True),
    Field("consent.ad_user_data", _consent(AD_USER_DATA)),
    Field("consent.ad_personalization", _consent(AD_PERSONALIZATION)),
    Field("user_agent", take.user_agent),
    Field("user_data.sha256_email_address", take.each_cleaned("google", "email_address", "email")),
    Field("user_data.sha256_phone_number", take.each_cleaned("google", "phone_number", "phone")),
    Field("user_data.address.sha256_first_name", _person("sha256_first_name", "first_name")),
    Field("user_data.address.sha256_last_name", _person("sha256_last_name", "last_name")),
    Field("user_data.address.sha256_street", _person("sha256_street", "street")),
    Field("user_data.address.city", _person("mp_city", "city")),
    Field("user_data.address.region", _person("mp_region", "region")),
    Field("user_data.address.postal_code", _person("mp_postal_code", "postal_code")),
    Field("user_data.address.country", _person("mp_country", "country")),
    Field("events[].name", _name, required=True),
    Field("events[].params.session_id", _session_id),
    Field("events[].params.engagement_time_msec", _engagement),
    Field("events[].params.page_location", take.page_url),
    Field("events[].params.page_title", _cut(take.page_title)),
    Field("events[].params.page_referrer", _page_referrer),
    Field("events[].params.currency", take.currency),
    Field("events[].params.value", take.value_number),
    Field("events[].params.transaction_id", take.order_id, only=_TRANSACTION),
    Field("events[].params.items", _items, only=_MONEY),
    Field("events[].params.search_term", _cut(take.search), only=frozenset({"search"})),
    Field("events[].params.campaign", _cut(_campaign("campaign"))),
    Field("events[].params.source", _cut(_campaign("source"))),
    Field("events[].params.medium", _cut(_campaign("medium"))),
    Field("events[].params.debug_mode", _debug),
)

NOT_SENT: Final = {
    "app_instance_id": "for app streams",
    "firebase_app_id": "for app streams",
    "user_id": "a pseudonymous id that joins devices needs a consent of its own",
    "user_properties": "not collected",
    "non_personalized_ads": "the old form of consent.ad_personalization",
    "user_location": "no place is kept that is fine enough",
    "ip_override": "the visitor's address does not leave for analytics",
    "device": "user_agent is sent instead; Google takes one of the two",
    "validation_behavior": "for the validation server",
    "events.timestamp_micros": "one event a request: the request's time is the event's",
    "params.tax": "not collected",
    "params.shipping": "not collected",
    "params.coupon": "not collected",
    "params.method": "not collected",
    "params.*": "own properties are not sent: 25 parameters of 100 characters are soon exceeded",
}


# ------------------------------------------------------------------ checks


def _limits(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    """The collector drops what breaks its limits without a word, so they are kept here."""
    if "client_id" not in made:
        return "client_id_missing:client_id"
    events = made["events"]
    first = events[0] if isinstance(events, list) else {}
    name = first["name"]
    if (
        not isinstance(name, str)
        or _NAME.match(name) is None
        or name in _RESERVED
        or name.startswith(_RESERVED_PREFIXES)
    ):
        return "event_not_mapped:events.name"
    params = first.get("params", {})
    if len(params) > PARAMS_MAX:
        return "payload_too_large:events.params"
    if name in _TRANSACTION and "transaction_id" not in params:
        return "field_required:events.params.transaction_id"
    return None


# ------------------------------------------------------------------ request and answer


def _request(events: list[Ready], options: Options, now_ms: int) -> Call:
    host = "region1.google-analytics.com" if options["region"] == "eu" else "www.google-analytics.com"
    return Call(
        method="POST",
        url=f"https://{host}/mp/collect?measurement_id={options['measurement_id']}",
        headers={"Content-Type": "application/json"},
        body=events[0].body,
        timeout_s=20.0,
        credentials=(Credential("query", "api_secret", "api_secret"),),
    )


def _read_answer(answer: Answer, count: int, now_ms: int) -> Reading:
    lost = nothing_came(answer)
    if lost is not None:
        return lost
    if 200 <= (answer.status or 0) < 300:
        return accepted("vendor_accepted_unverified")
    return by_status(answer, now_ms)


def _dedup(event: "Permitted", context: Context) -> str | None:
    """The order, for the events in which Google knows one. Other events cannot be told apart from their repeats."""
    name = _name(event, context)
    return f"{name}|{event.order_id}" if name in _TRANSACTION and event.order_id else None


def _problems(options: Options) -> list[str]:
    overrides = options.get("event_names")
    if not isinstance(overrides, dict):
        return []
    return [
        "event_names: Google does not take this name"
        for name in overrides.values()
        if not isinstance(name, str)
        or _NAME.match(name) is None
        or name in _RESERVED
        or name.startswith(_RESERVED_PREFIXES)
    ]


GA4: Final = Destination(
    slug="ga4",
    title="Google Analytics 4 (Measurement Protocol)",
    contract="Google Analytics Measurement Protocol, change log to 2026-02-17, read 2026-11-20",
    hosts=("www.google-analytics.com", "region1.google-analytics.com"),
    options=(
        Option(
            name="measurement_id",
            kind="text",
            required=True,
            pattern=r"G-[A-Z0-9]{4,16}\Z",
            help="Measurement id, G-...",
        ),
        Option(
            name="api_secret", kind="secret", required=True, help="Measurement Protocol API secret of the data stream."
        ),
        Option(
            name="region",
            kind="choice",
            choices=("eu", "global"),
            default="eu",
            help="Where Google processes the events.",
        ),
        Option(name="event_names", kind="map", help="Own names: event name to Google's name."),
        Option(name="debug", kind="flag", default=False, help="Show the events in DebugView."),
    ),
    # Google's TCF support leaves analytics alone, so a TC string speaks to GA4 only where the operator says so.
    needs=Needs(base=ANALYTICS, groups={Group.CONTACT: AD_USER_DATA}, audience=Audience(google=True)),
    event_names=EVENT_NAMES,
    custom_events=True,
    default_events=(*ALL_CONVERSIONS, "refund", "add_to_cart", "begin_checkout", "add_payment_info"),
    refusals={"conversion_adjusted": "adjustment_not_taken"},
    fields=FIELDS,
    not_sent=NOT_SENT,
    checks=(_limits,),
    # 72 hours is Google's limit; what is older is lost without a word.
    age_max_ms=71 * HOUR_MS,
    future_max_ms=10 * MINUTE_MS,
    dedup=_dedup,
    dedup_window_ms=None,
    group=lambda event, context: "",
    batch=Batch(max_events=1, max_bytes=130_000),
    pace=Pace(concurrency=8, per_minute=3_000),
    event_max_bytes=129_000,
    timeout_s=20.0,
    request=_request,
    read_answer=_read_answer,
    problems=_problems,
)
