"""The contract of an IngestEvents request, as tables.

Two layers, as at Google. The JSON layer reads the message: a name it does not know or a value of the wrong type is
refused before anything else, without an `ErrorInfo`. The second layer checks meaning and names an `ErrorReason`.

Stricter than Google, on purpose: lowerCamelCase names only, numbers never as strings (except int64), hexadecimal
digests in lower case, no city or street in an address for Google Ads, no digest as click id, no e-mail address or
telephone number in `transactionId`.

Not known, so not checked: several click ids in one event, length and form of click ids, body size, the age limit
(events older than 90 days are taken and then fail with EVENT_TOO_OLD). An event more than 10 minutes ahead is refused.

Source: github googleapis/googleapis `google/ads/datamanager/v1/*.proto`, commit f8291d2 (2026-08-22);
developers.google.com/data-manager/api/devguides: events/google-ads/offline/send-events (2026-09-24), formatting,
limits.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from gateway.money import EXPONENTS
from gateway.sandbox.checks import (
    EMPTY_DIGESTS,
    Check,
    Problem,
    address,
    anything,
    array,
    clear_value,
    flag,
    join,
    number,
    one_of,
    record,
    rfc3339_ms,
    text,
    whole,
)
from gateway.times import MINUTE_MS

__all__ = ["CONSENTS", "GOOGLE_ADS", "REQUEST", "check_event_meaning", "consent_of"]

GOOGLE_ADS: Final = "GOOGLE_ADS"
CONSENTS: Final = ("CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED")
_MAX_AHEAD_MS: Final = 10 * MINUTE_MS
_BAD_ENUM: Final = "INVALID_ENUM_VALUE"


def _any_text(value: object, path: str, out: list[Problem]) -> None:
    """A string, empty or not: what it means is the second layer's business."""
    text(least=0)(value, path, out)


def _int64(value: object, path: str, out: list[Problem]) -> None:
    """An integer, as decimal string or as number."""
    if isinstance(value, str):
        text(form=r"-?[0-9]{1,19}", rule="type")(value, path, out)
    else:
        whole()(value, path, out)


def _texts(names: str) -> dict[str, Check]:
    return dict.fromkeys(names.split(), _any_text)


_CONSENT: Final = record({name: one_of(*CONSENTS, rule=_BAD_ENUM) for name in ("adUserData", "adPersonalization")})

_ACCOUNT: Final = record(
    {
        "accountType": one_of(
            GOOGLE_ADS,
            "GOOGLE_ANALYTICS_PROPERTY",
            "FLOODLIGHT_CONFIG",
            "DATA_PARTNER",
            "DISPLAY_VIDEO_PARTNER",
            "DISPLAY_VIDEO_ADVERTISER",
            "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
            rule=_BAD_ENUM,
        ),
        "accountId": _any_text,
    }
)

_DEVICE: Final = record(
    {
        **_texts("userAgent ipAddress category languageCode operatingSystem operatingSystemVersion model brand"),
        **_texts("browser browserVersion"),
        "screenHeight": whole(),
        "screenWidth": whole(),
    }
)

_IDENTIFIER: Final = record(
    {
        **_texts("emailAddress phoneNumber"),
        "address": record(_texts("givenName familyName regionCode postalCode addressLine city administrativeArea")),
    }
)

_CART: Final = record(
    {
        **_texts("merchantId merchantFeedLabel merchantFeedLanguageCode"),
        "transactionDiscount": number,
        "couponCodes": array(_any_text),
        "items": array(
            record(
                {
                    **_texts("merchantProductId itemId merchantId merchantFeedLabel merchantFeedLanguageCode"),
                    "quantity": _int64,
                    "unitPrice": number,
                    "conversionValue": number,
                    "additionalItemParameters": anything,
                }
            )
        ),
    }
)

_EVENT: Final = record(
    {
        **_texts("eventTimestamp lastUpdatedTimestamp transactionId currency eventName clientId userId appInstanceId"),
        "eventSource": one_of("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER", rule=_BAD_ENUM),
        "conversionValue": number,
        "conversionCount": number,
        "adIdentifiers": record(
            {
                **_texts("gclid gbraid wbraid dclid sessionAttributes mobileDeviceId impressionId matchId ppid"),
                **_texts("visitorPpid"),
                "encryptedUserIds": anything,
                "landingPageDeviceInfo": _DEVICE,
            }
        ),
        "userData": record({"userIdentifiers": array(_IDENTIFIER)}),
        "consent": _CONSENT,
        "eventDeviceInfo": _DEVICE,
        "cartData": _CART,
        "customVariables": array(record(_texts("variable value") | {"destinationReferences": array(_any_text)})),
        "userProperties": record(
            {
                "customerType": one_of("NEW", "RETURNING", "REENGAGED", rule=_BAD_ENUM),
                "customerValueBucket": one_of("LOW", "MEDIUM", "HIGH", rule=_BAD_ENUM),
                "additionalUserProperties": anything,
            }
        ),
        "destinationReferences": array(_any_text),
        "additionalEventParameters": anything,
        "eventLocation": anything,
        "thirdPartyUserData": anything,
    }
)

REQUEST: Final = record(
    {
        "destinations": array(
            record(
                {
                    **_texts("reference productDestinationId"),
                    "operatingAccount": _ACCOUNT,
                    "loginAccount": _ACCOUNT,
                    "linkedAccount": _ACCOUNT,
                }
            )
        ),
        "events": array(_EVENT),
        "consent": _CONSENT,
        "encoding": one_of("HEX", "BASE64", rule=_BAD_ENUM),
        "validateOnly": flag,
        "encryptionInfo": anything,
    }
)
"""The JSON layer: names and types of the whole request."""

_CLICK_IDS: Final = ("gclid", "gbraid", "wbraid", "dclid")
_CLICK_ID: Final = text(form=r"\S+", plain=True)
_BRIEF: Final = {
    "emailAddress": "e-mail address",
    "phoneNumber": "telephone number",
}


def check_event_meaning(
    event: Mapping[str, object], path: str, encoding: object, now_ms: int, out: list[Problem]
) -> None:
    """The second layer, for one event. What depends on the conversion action is checked by the caller."""
    if "eventTimestamp" not in event:
        out.append(Problem(join(path, "eventTimestamp"), "REQUIRED_FIELD_MISSING", "is required"))
    for name in ("eventTimestamp", "lastUpdatedTimestamp"):
        if name in event:
            _check_time(str(event[name]), join(path, name), now_ms, out)
    _check_money(event, path, out)
    transaction = event.get("transactionId")
    if transaction is not None and (not transaction or clear_value(str(transaction))):
        out.append(Problem(join(path, "transactionId"), "INVALID_FORMAT", "must not be empty nor hold personal data"))
    identifiers = event.get("adIdentifiers")
    given = identifiers if isinstance(identifiers, dict) else {}
    for name in _CLICK_IDS:
        if name in given:
            _reword(_CLICK_ID, given[name], join(path, f"adIdentifiers.{name}"), out)
    for name in ("eventDeviceInfo", "adIdentifiers.landingPageDeviceInfo"):
        _check_ip(event, name, path, out)
    _check_people(event.get("userData"), join(path, "userData"), encoding, out)


def consent_of(event: Mapping[str, object], request: Mapping[str, object]) -> str | None:
    """The `adUserData` consent that holds for an event; what the event says wins over the request."""
    for holder in (event, request):
        consent = holder.get("consent")
        if isinstance(consent, dict) and "adUserData" in consent:
            return str(consent["adUserData"])
    return None


def _check_time(value: str, path: str, now_ms: int, out: list[Problem]) -> None:
    at_ms = rfc3339_ms(value)
    if at_ms is None or not value.endswith(("Z", "+00:00")):
        out.append(Problem(path, "EVENT_TIME_INVALID", "must be RFC 3339 in UTC"))
    elif at_ms > now_ms + _MAX_AHEAD_MS:
        out.append(Problem(path, "EVENT_TIME_INVALID", "lies in the future"))


def _check_money(event: Mapping[str, object], path: str, out: list[Problem]) -> None:
    for name in ("conversionValue", "conversionCount"):
        value = event.get(name)
        if isinstance(value, int | float) and value < 0:
            out.append(Problem(join(path, name), "INVALID_NUMBER_FORMAT", "must not be negative"))
    code = event.get("currency")
    if code is not None and code not in EXPONENTS:
        out.append(Problem(join(path, "currency"), "INVALID_CURRENCY_CODE", "must be an ISO 4217 code in upper case"))
    if "conversionValue" in event and code is None:
        out.append(Problem(join(path, "currency"), "REQUIRED_FIELD_MISSING", "is required with a value"))


def _check_ip(event: Mapping[str, object], name: str, path: str, out: list[Problem]) -> None:
    device: object = event
    for part in name.split("."):
        device = device.get(part) if isinstance(device, dict) else None
    if isinstance(device, dict) and "ipAddress" in device:
        _reword(address(), device["ipAddress"], join(path, f"{name}.ipAddress"), out)


def _reword(check: Check, value: object, path: str, out: list[Problem]) -> None:
    """Make a shape problem one of meaning: INVALID_FORMAT."""
    found: list[Problem] = []
    check(value, path, found)
    out.extend(Problem(one.path, "INVALID_FORMAT", one.message) for one in found)


def _check_people(user_data: object, path: str, encoding: object, out: list[Problem]) -> None:
    people = user_data.get("userIdentifiers") if isinstance(user_data, dict) else None
    if people is None:
        return
    field = join(path, "userIdentifiers")
    if len(people) > 10:
        out.append(Problem(field, "TOO_MANY_USER_IDENTIFIERS", "takes at most 10"))
    for index, one in enumerate(people):
        place = f"{field}[{index}]"
        if len(one) != 1:
            out.append(Problem(place, "INVALID_FORMAT", "needs exactly one of emailAddress, phoneNumber, address"))
        for name, what in _BRIEF.items():
            if name in one:
                _check_digest(one[name], join(place, name), encoding, what, out)
        if "address" in one:
            _check_address(one["address"], join(place, "address"), encoding, out)


def _check_address(given: Mapping[str, str], path: str, encoding: object, out: list[Problem]) -> None:
    for name in ("givenName", "familyName", "regionCode", "postalCode"):
        if not given.get(name):
            out.append(Problem(join(path, name), "REQUIRED_FIELD_MISSING", "an address needs all four parts"))
    for name in ("givenName", "familyName"):
        if given.get(name):
            _check_digest(given[name], join(path, name), encoding, "name", out)
    if given.get("regionCode") and not re.fullmatch("[A-Z]{2}", given["regionCode"]):
        out.append(Problem(join(path, "regionCode"), "INVALID_REGION_CODE", "must be two letters A-Z, not hashed"))
    postal = given.get("postalCode", "")
    if postal and (postal != postal.strip() or len(postal) > 20):
        out.append(Problem(join(path, "postalCode"), "INVALID_POSTAL_CODE", "must be trimmed and not hashed"))
    for name in ("addressLine", "city", "administrativeArea"):
        if name in given:
            out.append(Problem(join(path, name), "INVALID_EVENT", "is for Google Analytics destinations only"))


def _check_digest(value: str, path: str, encoding: object, what: str, out: list[Problem]) -> None:
    """A SHA-256 digest in the encoding that the request names."""
    if encoding == "BASE64":
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        hexadecimal = raw.hex()
    elif re.fullmatch("[0-9a-f]*", value):
        hexadecimal = value
    else:
        out.append(Problem(path, "INVALID_HEX_ENCODING", f"a hashed {what} must be lower-case hexadecimal"))
        return
    if len(hexadecimal) != 64 or hexadecimal in EMPTY_DIGESTS:
        out.append(Problem(path, "INVALID_SHA256_FORMAT", f"is not the SHA-256 digest of a {what}"))
