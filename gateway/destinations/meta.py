"""Meta Conversions API.

Contract: Meta for Developers, Conversions API ("Using the API", "Server event parameters", "Customer information
parameters", "Handling duplicate events", "fbp and fbc parameters"), pages of 2026-09; Graph API changelog, v26.0 of
2026-07-29; error handling and rate limits as documented and as integrators report them. Read 2026-11-20.

Where Meta's documents are silent the gateway does not guess: no refund is sent, the request stays below 1 MB.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway.destinations import take
from gateway.destinations.answers import accepted, by_status, json_object, nothing_came, text_of, throttled, verdict
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
from gateway.destinations.normalize.meta_cookies import is_browser_id, is_fbclid
from gateway.exchange import Answer, Call, Credential, Reading
from gateway.outcome import VerdictKind
from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ADVERTISING, Group, Needs
from gateway.times import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = ["META"]

API_VERSION: Final = (
    "v26.0"  # graph.facebook.com, newest on 2026-11-20; https://developers.facebook.com/docs/graph-api/changelog
)


# ------------------------------------------------------------------ fields


def _person(field: str, source: str) -> Maker:
    return take.cleaned("meta", field, source)


def _fbp(event: "Permitted", context: Context) -> str | None:
    """The browser id that Meta's own pixel keeps. The gateway does not make one."""
    value = event.platform_ids.get("_fbp")
    return value if value is not None and is_browser_id(value) else None


def _fbc(event: "Permitted", context: Context) -> str | None:
    """The click: the pixel's cookie as it is, unless a newer click came with the page; then made from that."""
    cookie = event.platform_ids.get("_fbc")
    if cookie is not None and not is_browser_id(cookie):
        cookie = None
    click = event.click_ids.get("fbclid")
    if click is None or not is_fbclid(click) or (cookie is not None and cookie.split(".")[3] == click):
        return cookie
    return f"fb.1.{event.click_seen_at_ms or event.occurred_at_ms}.{click}"


def _external_id(event: "Permitted", context: Context) -> str | None:
    made: object = _person("external_id", "external_id")(event, context)
    return made if isinstance(made, str) else None


def _contents(event: "Permitted", context: Context) -> list[dict[str, object]] | None:
    lines = []
    for item in event.items:
        if item.id is None:
            continue
        line: dict[str, object] = {"id": item.id, "quantity": item.quantity}
        price = take.price_number(item, event.currency or context.currency)
        for key, value in (
            ("item_price", price),
            ("title", item.name),
            ("brand", item.brand),
            ("category", item.category),
        ):
            if value is not None:
                line[key] = value
        lines.append(line)
    return lines or None


def _content_ids(event: "Permitted", context: Context) -> list[str] | None:
    return [item.id for item in event.items if item.id is not None] or None


def _num_items(event: "Permitted", context: Context) -> int | None:
    return sum(item.quantity for item in event.items) or None


def _content_type(event: "Permitted", context: Context) -> str | None:
    return "product" if any(item.id is not None for item in event.items) else None


def _currency(event: "Permitted", context: Context) -> str | None:
    code = take.currency(event, context)
    return code.lower() if code is not None else None


def _name(event: "Permitted", context: Context) -> str:
    overrides = context.options.get("event_names")
    named = overrides.get(event.name) if isinstance(overrides, dict) else None
    return named if isinstance(named, str) else EVENT_NAMES.get(event.name, event.name)


def _action_source(event: "Permitted", context: Context) -> str:
    """A browser's event and a server's event with a page are `website`; a server's event without one is the system's."""
    return "website" if event.trust == "browser" or event.page.url is not None else "system_generated"


def _opt_out(event: "Permitted", context: Context) -> bool | None:
    """Without consent to personalisation the event may be used for attribution only."""
    return None if event.consent & AD_PERSONALIZATION else True


def _processing_options(event: "Permitted", context: Context) -> list[str] | None:
    return ["LDU"] if event.restricted or context.options.get("limited_data_use") else None


def _processing_place(event: "Permitted", context: Context) -> int | None:
    return 0 if event.restricted or context.options.get("limited_data_use") else None


EVENT_NAMES: Final = {
    "page_view": "PageView",
    "view_item": "ViewContent",
    "add_to_cart": "AddToCart",
    "begin_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    "generate_lead": "Lead",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "contact": "Contact",
    "search": "Search",
    "download": "Download",
}
_SEARCH: Final = frozenset({"Search"})
_COUNTS_ITEMS: Final = frozenset({"InitiateCheckout", "Purchase"})

FIELDS: Final = (
    Field("event_name", _name, required=True),
    Field("event_time", take.occurred_unix_s, required=True),
    Field("event_id", take.event_id, required=True),
    Field("action_source", _action_source, required=True),
    Field("event_source_url", take.page_url),
    Field("opt_out", _opt_out),
    Field("data_processing_options", _processing_options),
    Field("data_processing_options_country", _processing_place),
    Field("data_processing_options_state", _processing_place),
    Field("user_data.em", take.each_cleaned("meta", "em", "email")),
    Field("user_data.ph", take.each_cleaned("meta", "ph", "phone")),
    Field("user_data.fn", _person("fn", "first_name")),
    Field("user_data.ln", _person("ln", "last_name")),
    Field("user_data.ge", _person("ge", "gender")),
    Field("user_data.db", _person("db", "date_of_birth")),
    Field("user_data.ct", _person("ct", "city")),
    Field("user_data.st", _person("st", "region")),
    Field("user_data.zp", _person("zp", "postal_code")),
    Field("user_data.country", _person("country", "country")),
    Field("user_data.external_id", _external_id),
    Field("user_data.client_ip_address", take.client_ip),
    Field("user_data.client_user_agent", take.user_agent),
    Field("user_data.fbc", _fbc),
    Field("user_data.fbp", _fbp),
    Field("custom_data.value", take.value_number),
    Field("custom_data.currency", _currency),
    Field("custom_data.order_id", take.order_id),
    Field("custom_data.contents", _contents),
    Field("custom_data.content_ids", _content_ids),
    Field("custom_data.content_type", _content_type),
    Field("custom_data.num_items", _num_items, only=_COUNTS_ITEMS),
    Field("custom_data.search_string", take.search, only=_SEARCH),
)

NOT_SENT: Final = {
    "referrer_url": "only the host of a referrer is kept",
    "original_event_data": "needed for changed events, which Meta documents no way to take back",
    "attribution_data": "for app and partner events",
    "customer_segmentation": "for app and partner events",
    "app_data": "for app events",
    "messaging_channel": "for messaging events",
    "user_data.f5first": "less exact than the whole first name, which is sent",
    "user_data.f5last": "less exact than the whole last name, which is sent",
    "user_data.fi": "less exact than the whole first name, which is sent",
    "user_data.dobd": "part of the date of birth, which is sent whole",
    "user_data.dobm": "part of the date of birth, which is sent whole",
    "user_data.doby": "part of the date of birth, which is sent whole",
    "user_data.subscription_id": "not collected",
    "user_data.fb_login_id": "not collected",
    "user_data.lead_id": "not collected",
    "user_data.anon_id": "for app events",
    "user_data.madid": "for app events",
    "user_data.page_id": "for messaging events",
    "user_data.page_scoped_user_id": "for messaging events",
    "user_data.ctwa_clid": "for messaging events",
    "user_data.ig_account_id": "for messaging events",
    "user_data.ig_sid": "for messaging events",
    "custom_data.content_name": "the items carry their names",
    "custom_data.content_category": "the items carry their categories",
    "custom_data.status": "no counterpart",
    "custom_data.predicted_ltv": "not collected",
    "custom_data.net_revenue": "not collected",
    "custom_data.contents.description": "not collected",
    "custom_data.contents.delivery_category": "not collected",
    "custom_data.*": "own properties are not sent: they may hold what the visitor agreed to for the site only",
    "partner_agent": "optional name of the sending platform",
    "upload_id": "for offline uploads",
    "upload_tag": "for offline uploads",
    "upload_source": "for offline uploads",
    "namespace_id": "for partner uploads",
}


# ------------------------------------------------------------------ checks

_INSUFFICIENT: Final = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
"""Meta refuses an event whose identifiers all lie inside one of these sets."""


def _identifiers(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    user = made.get("user_data")
    keys = frozenset(user) if isinstance(user, dict) else frozenset()
    return "identifiers_insufficient:user_data" if any(keys <= small for small in _INSUFFICIENT) else None


def _purchase_has_value(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    custom = made.get("custom_data")
    held = custom if isinstance(custom, dict) else {}
    if made["event_name"] == "Purchase" and ("value" not in held or "currency" not in held):
        return "field_required:custom_data.value"
    return None


def _website_has_agent(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    user = made.get("user_data")
    if made["action_source"] == "website":
        if "event_source_url" not in made:
            return "field_required:event_source_url"
        if not isinstance(user, dict) or "client_user_agent" not in user:
            return "field_required:user_data.client_user_agent"
    return None


# ------------------------------------------------------------------ request and answer


def _request(events: list[Ready], options: Options, now_ms: int) -> Call:
    body = b'{"data":[' + b",".join(event.body for event in events) + b"]"
    code = options.get("test_event_code")
    if isinstance(code, str):
        body += b',"test_event_code":"' + code.encode("ascii") + b'"'
    return Call(
        method="POST",
        url=f"https://graph.facebook.com/{options['api_version']}/{options['dataset_id']}/events",
        headers={"Content-Type": "application/json"},
        body=body + b"}",
        timeout_s=20.0,
        credentials=(Credential("query", "access_token", "access_token"),),
    )


_THROTTLED: Final = frozenset({4, 17, 341, 613})
_CREDENTIALS: Final = frozenset({3, 10, 102, 190})
_RETRY: Final = frozenset({1, 2, 5000, 21009})


def _read_answer(answer: Answer, count: int, now_ms: int) -> Reading:
    lost = nothing_came(answer)
    if lost is not None:
        return lost
    said = json_object(answer.body)
    if answer.status == 200 and isinstance(said.get("events_received"), int):
        return accepted()
    error = said.get("error")
    if not isinstance(error, dict):
        if answer.status == 200:
            return Reading(whole=verdict(VerdictKind.AMBIGUOUS, "vendor_unavailable", "200", "not the expected answer"))
        return by_status(answer, now_ms)
    number, sub = error.get("code"), error.get("error_subcode")
    code = ".".join(text for text in (text_of(number), text_of(sub)) if text)
    if number in _THROTTLED or (isinstance(number, int) and 80_000 <= number <= 80_014):
        return throttled(answer, now_ms, code, wait_ms=5 * MINUTE_MS)
    if error.get("is_transient") is True or number in _RETRY:
        return Reading(whole=verdict(VerdictKind.RETRY, "vendor_unavailable", code))
    if number in _CREDENTIALS or (isinstance(number, int) and 200 <= number <= 299):
        return Reading(whole=verdict(VerdictKind.CREDENTIALS, "credentials_refused", code))
    if number == 100 and sub == 33:
        return Reading(
            whole=verdict(VerdictKind.CREDENTIALS, "credentials_refused", code, "dataset unknown or not shared")
        )
    if number == 368:
        return Reading(whole=verdict(VerdictKind.CONFIGURATION, "configuration_refused", code, "blocked by policy"))
    if (answer.status or 0) >= 500:
        return by_status(answer, now_ms, code=code)
    # One wrong event makes Meta refuse the whole request without naming it.
    return Reading(whole=verdict(VerdictKind.PAYLOAD, "vendor_rejected", code), split=count > 1)


def _dedup(event: "Permitted", context: Context) -> str:
    return f"{_name(event, context)}|{event.event_id}"


META: Final = Destination(
    slug="meta",
    title="Meta Conversions API",
    contract="Meta for Developers, Conversions API, Graph API v26.0, read 2026-11-20",
    hosts=("graph.facebook.com",),
    options=(
        Option(
            name="dataset_id", kind="text", required=True, pattern=r"[0-9]{5,20}\Z", help="Dataset (pixel) id, digits."
        ),
        Option(
            name="access_token", kind="secret", required=True, help="Token of a system user with access to the dataset."
        ),
        Option(
            name="api_version",
            kind="text",
            default=API_VERSION,
            pattern=r"v[0-9]{2}\.[0-9]\Z",
            help="Graph API version.",
        ),
        Option(
            name="test_event_code",
            kind="text",
            pattern=r"[A-Z0-9]{4,20}\Z",
            help="Shows events in the test view. They still count: use a dataset of its own for rehearsals.",
        ),
        Option(name="event_names", kind="map", help="Own names: event name to Meta's name."),
        Option(
            name="limited_data_use",
            kind="flag",
            default=False,
            help="Send every event with Limited Data Use, located by Meta.",
        ),
    ),
    needs=Needs(
        base=ADVERTISING | AD_USER_DATA,
        groups={Group.CONTACT: AD_USER_DATA, Group.IDENTIFIERS: ADVERTISING, Group.DEVICE: ADVERTISING},
        restricted=True,
    ),
    event_names=EVENT_NAMES,
    custom_events=True,
    default_events=(*ALL_CONVERSIONS, "add_to_cart", "begin_checkout", "add_payment_info"),
    refusals={"refund": "refund_not_taken", "conversion_adjusted": "adjustment_not_taken"},
    fields=FIELDS,
    not_sent=NOT_SENT,
    checks=(_identifiers, _purchase_has_value, _website_has_agent),
    # A week is Meta's limit, and one older event fails the whole request: an hour is kept for the queue.
    age_max_ms=7 * DAY_MS - HOUR_MS,
    future_max_ms=5 * MINUTE_MS,
    dedup=_dedup,
    dedup_window_ms=48 * HOUR_MS,
    group=lambda event, context: "",
    batch=Batch(max_events=500, max_bytes=1_000_000),
    pace=Pace(concurrency=4, per_minute=600),
    event_max_bytes=100_000,
    timeout_s=20.0,
    request=_request,
    read_answer=_read_answer,
)
