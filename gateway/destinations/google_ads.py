"""Google Ads conversions through the Data Manager API.

Contract: googleapis `google/ads/datamanager/v1` (2026-08-22) and the guides on developers.google.com/data-manager
(2026-09-24): sending events, formatting, limits, errors. The older upload of the Google Ads API is closed to new projects
since 2026-06-15. Read 2026-11-20.

A repeated `transactionId` on the same conversion action overwrites, it does not add: so a repeat is safe, and an event
without an order uses its own id. A request with one wrong event is refused whole, and names the wrong ones.
"""

import re
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
from gateway.exchange import Answer, Call, Credential, Reading, Verdict
from gateway.outcome import VerdictKind
from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ADVERTISING, Audience, Group, Needs
from gateway.times import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = ["GOOGLE_ADS"]

_CLICK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,500}\Z")
_INDEX: Final = re.compile(r"events\[([0-9]{1,4})\]")


# ------------------------------------------------------------------ fields


def _click(name: str, unless: tuple[str, ...]) -> Maker:
    """One click id is sent: gclid, else gbraid, else wbraid. Google documents no rule for several."""

    def make(event: "Permitted", context: Context) -> str | None:
        value = event.click_ids.get(name)
        if value is None or _CLICK_ID.match(value) is None:
            return None
        better = (event.click_ids.get(other) for other in unless)
        return None if any(other is not None and _CLICK_ID.match(other) for other in better) else value

    return make


def _transaction_id(event: "Permitted", context: Context) -> str:
    return event.order_id or event.event_id


def _identifiers(event: "Permitted", context: Context) -> list[dict[str, object]] | None:
    """One object for each e-mail and phone, and the address when all four parts of it are there."""
    if event.person is None:
        return None
    found: list[dict[str, object]] = []
    for key, field, source in (("emailAddress", "email_address", "email"), ("phoneNumber", "phone_number", "phone")):
        values = take.each_cleaned("google", field, source)(event, context)
        found += [{key: value} for value in (values if isinstance(values, list) else [])]
    parts = {
        "givenName": take.cleaned("google", "given_name", "first_name")(event, context),
        "familyName": take.cleaned("google", "family_name", "last_name")(event, context),
        "regionCode": take.cleaned("google", "region_code", "country")(event, context),
        "postalCode": take.cleaned("google", "postal_code", "postal_code")(event, context),
    }
    if all(value is not None for value in parts.values()):
        found.append({"address": parts})
    return found[:10] or None


def _consent(purpose: int) -> Maker:
    return lambda event, context: "CONSENT_GRANTED" if event.consent & purpose else "CONSENT_DENIED"


def _source(event: "Permitted", context: Context) -> str:
    return "WEB" if event.trust == "browser" or event.page.url is not None else "OTHER"


def _action(event: "Permitted", context: Context) -> str:
    """The conversion action this event is uploaded to: events of different actions never share a request."""
    actions = context.options["conversion_actions"]
    return str(actions.get(event.name, "")) if isinstance(actions, dict) else ""


FIELDS: Final = (
    Field("transactionId", _transaction_id, required=True),
    Field("eventTimestamp", take.occurred_rfc3339, required=True),
    Field("eventSource", _source, required=True),
    Field("conversionValue", take.value_number),
    Field("currency", take.currency),
    Field("adIdentifiers.gclid", _click("gclid", ())),
    Field("adIdentifiers.gbraid", _click("gbraid", ("gclid",))),
    Field("adIdentifiers.wbraid", _click("wbraid", ("gclid", "gbraid"))),
    Field("userData.userIdentifiers", _identifiers),
    Field("consent.adUserData", _consent(AD_USER_DATA)),
    Field("consent.adPersonalization", _consent(AD_PERSONALIZATION)),
    Field("eventDeviceInfo.userAgent", take.user_agent),
)

NOT_SENT: Final = {
    "conversionCount": "one conversion is one conversion",
    "adIdentifiers.dclid": "for Campaign Manager accounts",
    "adIdentifiers.sessionAttributes": "optional, made from the landing page by Google's own tag",
    "adIdentifiers.landingPageDeviceInfo": "optional; the device of the conversion is sent",
    "adIdentifiers.mobileDeviceId": "for apps",
    "adIdentifiers.impressionId": "for display partners",
    "adIdentifiers.matchId": "for partners",
    "adIdentifiers.encryptedUserIds": "for partners",
    "adIdentifiers.ppid": "for publishers",
    "adIdentifiers.visitorPpid": "for publishers",
    "eventDeviceInfo.ipAddress": "Google does not match by address in the EEA, the UK and Switzerland",
    "eventDeviceInfo.*": "the user agent says it",
    "cartData": "needs a Merchant Center feed; not with gbraid and wbraid",
    "customVariables": "must exist in the account first",
    "userProperties": "not collected",
    "destinationReferences": "one destination a request",
    "lastUpdatedTimestamp": "for changed events",
    "eventName": "for Google Analytics destinations",
    "clientId": "for Google Analytics destinations",
    "userId": "for Google Analytics destinations",
    "appInstanceId": "for apps",
    "additionalEventParameters": "for Google Analytics destinations",
    "eventLocation": "for store sales",
    "thirdPartyUserData": "for partners",
    "userData.address.addressLine": "for Google Analytics destinations",
    "userData.address.city": "for Google Analytics destinations",
    "userData.address.administrativeArea": "for Google Analytics destinations",
    "encryptionInfo": "values are hashed, not encrypted",
}


def _has_identifier(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    return None if "adIdentifiers" in made or "userData" in made else "identifiers_insufficient:userData"


def _has_action(made: Mapping[str, object], event: "Permitted", context: Context) -> str | None:
    return None if _action(event, context) else "event_not_mapped:productDestinationId"


# ------------------------------------------------------------------ request and answer


def _request(events: list[Ready], options: Options, now_ms: int) -> Call:
    account = str(options["customer_id"]).replace("-", "")
    login = str(options.get("login_customer_id") or "").replace("-", "")
    place = f'{{"reference":"a","operatingAccount":{{"accountType":"GOOGLE_ADS","accountId":"{account}"}},'
    if login:
        place += f'"loginAccount":{{"accountType":"GOOGLE_ADS","accountId":"{login}"}},'
    place += f'"productDestinationId":"{events[0].group}"}}'
    head = f'{{"destinations":[{place}],"encoding":"HEX",'
    if options.get("validate_only"):
        head += '"validateOnly":true,'
    body = head.encode("ascii") + b'"events":[' + b",".join(event.body for event in events) + b"]}"
    return Call(
        method="POST",
        url="https://datamanager.googleapis.com/v1/events:ingest",
        headers={"Content-Type": "application/json"},
        body=body,
        timeout_s=60.0,
        credentials=(Credential("google", "Authorization", "google"),),
    )


_CONFIGURATION: Final = frozenset(
    "INVALID_CONVERSION_ACTION_ID INVALID_CONVERSION_ACTION_TYPE "
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS "
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS "
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED TERMS_AND_CONDITIONS_NOT_SIGNED "
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH DESTINATION_ACCOUNT_TYPE_MISMATCH NOT_ALLOWLISTED INVALID_DESTINATION".split()
)
_CREDENTIALS: Final = frozenset({"PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "SERVICE_DISABLED"})
_RETRY: Final = frozenset({"INTERNAL_ERROR", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})


def _details(error: Mapping[str, object]) -> tuple[str | None, str | None, dict[int, str]]:
    """Reason, exhausted quota, and for each wrong event its index with the reason."""
    reason = quota = None
    wrong: dict[int, str] = {}
    listed = error.get("details")
    for detail in listed if isinstance(listed, list) else []:
        if not isinstance(detail, dict):
            continue
        kind = str(detail.get("@type", "")).rpartition(".")[2]
        if kind == "ErrorInfo":
            reason = text_of(detail.get("reason"))
            metadata = detail.get("metadata")
            quota = text_of(metadata.get("quota_limit")) if isinstance(metadata, dict) else None
        elif kind == "BadRequest":
            violations = detail.get("fieldViolations")
            for violation in violations if isinstance(violations, list) else []:
                found = _INDEX.search(str(violation.get("field", ""))) if isinstance(violation, dict) else None
                if found is not None:
                    wrong.setdefault(int(found.group(1)), text_of(violation.get("reason")) or "INVALID_ARGUMENT")
    return reason, quota, wrong


def _read_answer(answer: Answer, count: int, now_ms: int) -> Reading:
    lost = nothing_came(answer)
    if lost is not None:
        return lost
    said = json_object(answer.body)
    if answer.status == 200:
        if text_of(said.get("requestId")) is not None:
            return accepted()
        return Reading(whole=verdict(VerdictKind.AMBIGUOUS, "vendor_unavailable", "200", "not the expected answer"))
    error = said.get("error")
    if not isinstance(error, dict):
        return by_status(answer, now_ms)
    state = text_of(error.get("status"))
    reason, quota, wrong = _details(error)
    code = reason or state
    if answer.status == 429 or state == "RESOURCE_EXHAUSTED":
        daily = quota is not None and "PerDay" in quota
        return throttled(answer, now_ms, quota or code, wait_ms=HOUR_MS if daily else MINUTE_MS)
    if answer.status == 401 or state == "UNAUTHENTICATED":
        return Reading(whole=verdict(VerdictKind.CREDENTIALS, "credentials_refused", code))
    if answer.status == 403 or code in _CREDENTIALS:
        return Reading(whole=verdict(VerdictKind.CREDENTIALS, "credentials_refused", code))
    if state == "FAILED_PRECONDITION" or code in _CONFIGURATION or answer.status == 404:
        return Reading(whole=verdict(VerdictKind.CONFIGURATION, "configuration_refused", code))
    if code in _RETRY or (answer.status or 0) >= 499 or answer.status == 408:
        return Reading(whole=verdict(VerdictKind.RETRY, "vendor_unavailable", code))
    if answer.status == 400:
        if any(why in _CONFIGURATION for why in wrong.values()):
            return Reading(whole=verdict(VerdictKind.CONFIGURATION, "configuration_refused", code))
        named = {
            index: verdict(VerdictKind.PAYLOAD, "vendor_rejected", why) for index, why in wrong.items() if index < count
        }
        if named:
            # The others were refused only for the company they were in.
            rest = Verdict(kind=VerdictKind.RETRY, reason="batch_failed", code=code, wait_ms=0)
            return Reading(whole=rest, each=named)
        return Reading(whole=verdict(VerdictKind.PAYLOAD, "vendor_rejected", code), split=count > 1)
    return by_status(answer, now_ms, code=code)


def _problems(options: Options) -> list[str]:
    problems = []
    actions = options.get("conversion_actions")
    if isinstance(actions, dict) and not all(isinstance(v, str) and v.isdigit() for v in actions.values()):
        problems.append("conversion_actions: each value is a numeric conversion action id, as text")
    has_account, has_user = "service_account" in options, "refresh_token" in options
    if has_account == has_user:
        problems.append("set either service_account_file, or refresh_token with client_id and client_secret")
    if has_user and not ("client_id" in options and "client_secret" in options):
        problems.append("refresh_token needs client_id and client_secret")
    return problems


GOOGLE_ADS: Final = Destination(
    slug="google_ads",
    title="Google Ads (Data Manager API)",
    contract="Data Manager API v1, release 1.8 of 2026-07-30, read 2026-11-20",
    hosts=("datamanager.googleapis.com", "oauth2.googleapis.com"),
    options=(
        Option(
            name="customer_id", kind="text", required=True, pattern=r"[0-9]{3}-?[0-9]{3}-?[0-9]{4}\Z",
            help="Account that owns the conversion actions.",
        ),
        Option(
            name="login_customer_id", kind="text", pattern=r"[0-9]{3}-?[0-9]{3}-?[0-9]{4}\Z",
            help="Manager account the credentials belong to, if there is one.",
        ),
        Option(
            name="conversion_actions", kind="map", required=True,
            help="Event name to numeric conversion action id. Events that are not listed are not sent.",
        ),
        Option(name="service_account", kind="secret", help="Service account key, the JSON file as downloaded."),
        Option(name="client_id", kind="text", help="OAuth client id, for the refresh-token way."),
        Option(name="client_secret", kind="secret", help="OAuth client secret, for the refresh-token way."),
        Option(name="refresh_token", kind="secret", help="Refresh token of a user with access to the account."),
        Option(name="validate_only", kind="flag", default=False, help="Google checks and stores nothing: a rehearsal."),
    ),
    needs=Needs(
        base=ADVERTISING | AD_USER_DATA,
        groups={Group.CONTACT: AD_USER_DATA, Group.IDENTIFIERS: ADVERTISING, Group.DEVICE: ADVERTISING},
        # Google Advertising Products: the number stands in Google's own tag library.
        audience=Audience(tcf_vendor=755, google=True),
    ),
    event_names={},
    custom_events=True,
    default_events=ALL_CONVERSIONS,
    refusals={"refund": "refund_not_taken", "conversion_adjusted": "adjustment_not_taken"},
    fields=FIELDS,
    not_sent=NOT_SENT,
    checks=(_has_action, _has_identifier),
    age_max_ms=90 * DAY_MS,
    future_max_ms=MINUTE_MS,
    dedup=lambda event, context: f"{_action(event, context)}|{_transaction_id(event, context)}",
    dedup_window_ms=None,
    group=_action,
    batch=Batch(max_events=500, max_bytes=2_000_000),
    pace=Pace(concurrency=4, per_minute=250),
    event_max_bytes=100_000,
    timeout_s=60.0,
    request=_request,
    read_answer=_read_answer,
    problems=_problems,
)  # fmt: skip
