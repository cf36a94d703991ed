"""Refusals and failures: the closed list of codes a caller can meet, and the exceptions that carry them.

    GatewayError
    +-- Refusal            somebody outside must change something; carries a code of CODES
    |   +-- Busy           nothing is wrong with the request, try again after `retry_after_s`
    +-- StoreError         the store could not do its work; nothing was acknowledged
    |   +-- StoreBusy      locked, or too much is waiting
    |   +-- StoreFull      no space left
    |   +-- StoreDamaged   the file is not what it should be; the process must not go on
    +-- SettingsError      the configuration cannot be used; the process refuses to start
    +-- OutboundRefused    an address we do not connect to (unknown host, private network)

A code never changes its meaning. `docs/reference/errors.md` is generated from this table.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

__all__ = [
    "CODES",
    "Act",
    "Busy",
    "Code",
    "GatewayError",
    "Kind",
    "OutboundRefused",
    "Refusal",
    "SettingsError",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
]


class Act(Enum):
    """Who has to act so that the same thing works next time."""

    NOBODY = "nobody"
    TIME = "time"
    VISITOR = "visitor"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    VENDOR = "vendor"


class Kind(Enum):
    """What sort of refusal a code is. The edge, and nothing else, turns a kind into an HTTP status."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    GONE = "gone"
    METHOD = "method"
    SLOW = "slow"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    MISDIRECTED = "misdirected"
    INVALID = "invalid"
    TOO_MANY = "too_many"
    BUSY = "busy"
    FULL = "full"
    BROKEN = "broken"


class Code(msgspec.Struct, frozen=True):
    """One row of the list of refusals."""

    kind: Kind
    act: Act
    message: str


_M, _I = Kind.MALFORMED, Kind.INVALID
_DEV, _OP, _TIME = Act.DEVELOPER, Act.OPERATOR, Act.TIME

CODES: Final[dict[str, Code]] = {
    # the request as a message
    "request_malformed": Code(_M, _DEV, "The request is not well-formed HTTP."),
    "host_unknown": Code(Kind.MISDIRECTED, _OP, "No site is configured for this host name."),
    "route_unknown": Code(Kind.NOT_FOUND, _DEV, "There is nothing at this path."),
    "method_not_allowed": Code(Kind.METHOD, _DEV, "This path does not take this method."),
    "headers_too_large": Code(_M, _DEV, "The request headers are larger than the gateway takes."),
    "body_too_large": Code(Kind.TOO_LARGE, _DEV, "The body is larger than this route takes."),
    "body_timeout": Code(Kind.SLOW, _DEV, "The body did not arrive in time."),
    "body_incomplete": Code(_M, _DEV, "The body ended before its announced length."),
    "encoding_unsupported": Code(
        Kind.UNSUPPORTED, _DEV, "Only gzip and deflate content encodings are taken, one at a time."
    ),
    "encoding_broken": Code(_M, _DEV, "The compressed body cannot be decompressed."),
    "content_type_unsupported": Code(
        Kind.UNSUPPORTED, _DEV, "The body must be text/csv or JSON in UTF-8, sent as it is: no form and no archive."
    ),
    "json_invalid": Code(_M, _DEV, "The body is not valid JSON in UTF-8."),
    "json_too_deep": Code(_M, _DEV, "The JSON is nested deeper than the gateway takes."),
    "json_duplicate_key": Code(_M, _DEV, "A key inside consent is given twice, so its meaning is not certain."),
    "batch_empty": Code(_I, _DEV, "The batch holds no events."),
    "batch_too_long": Code(_I, _DEV, "The batch holds more events than the gateway takes at once."),
    "text_not_utf8": Code(
        _M, _DEV, "The file is not text in UTF-8; save it as 'CSV UTF-8', not as a spreadsheet or an archive."
    ),
    "line_too_long": Code(_M, _DEV, "A line of the file is longer than the gateway takes: 1 MiB."),
    "header_unknown": Code(_I, _DEV, "The first line of the file names no set of columns the gateway takes."),
    "columns_too_many": Code(_I, _DEV, "The file has more columns than the gateway takes: 200."),
    "column_repeated": Code(_I, _DEV, "A column stands in the file more often than the gateway takes it."),
    "rows_too_many": Code(_I, _DEV, "The file has more rows than the gateway takes at once."),
    # who is calling
    "domain_not_allowed": Code(Kind.FORBIDDEN, _OP, "Tracking blocked for this domain"),
    "key_missing": Code(Kind.UNAUTHENTICATED, _DEV, "An API key is needed: send it as 'Authorization: Bearer KEY'."),
    "key_invalid": Code(Kind.UNAUTHENTICATED, _DEV, "The API key or the signature is not valid."),
    "key_forbidden": Code(Kind.FORBIDDEN, _OP, "The API key may not do this on this site."),
    "admin_token_invalid": Code(Kind.UNAUTHENTICATED, _OP, "The admin token is not valid."),
    "request_foreign": Code(Kind.FORBIDDEN, _DEV, "This change was asked for by a page of another site."),
    "form_expired": Code(
        Kind.FORBIDDEN, Act.VISITOR, "The form is too old or belongs to another browser; open it again."
    ),
    "idempotency_key_invalid": Code(_I, _DEV, "An Idempotency-Key is 8 to 64 characters of A-Z a-z 0-9 . _ : -."),
    "idempotency_key_reused": Code(Kind.CONFLICT, _DEV, "This Idempotency-Key was used with another body."),
    "signature_invalid": Code(
        Kind.UNAUTHENTICATED, _OP, "The webhook's signature was made with none of the endpoint's secrets."
    ),
    "signature_stale": Code(
        Kind.UNAUTHENTICATED, _OP, "The webhook's signature is right, but too old or from the future; check the clocks."
    ),
    "mode_mismatch": Code(_I, _OP, "The webhook is of the other mode, live or test, than this endpoint is set to."),
    "token_unknown": Code(Kind.NOT_FOUND, _OP, "No goal of this site has this postback token."),
    "rate_limited": Code(Kind.TOO_MANY, _TIME, "Too many requests; try again after the time in Retry-After."),
    # fields
    "field_missing": Code(_I, _DEV, "A required field is missing."),
    "field_unknown": Code(_I, _DEV, "The field is not part of this request."),
    "field_type": Code(_I, _DEV, "The field has the wrong type."),
    "field_invalid": Code(_I, _DEV, "The field's value cannot be taken."),
    "field_too_long": Code(_I, _DEV, "The field is longer than the gateway takes."),
    "fields_too_many": Code(_I, _DEV, "There are more properties than the gateway takes."),
    "field_personal": Code(_I, _DEV, "Personal values belong in 'person', where they are hashed, not in properties."),
    "event_name_invalid": Code(_I, _DEV, "An event name is 1 to 40 characters of a-z 0-9 _ and starts with a letter."),
    "event_id_invalid": Code(_I, _DEV, "An id is 8 to 64 characters of A-Z a-z 0-9 . _ : -."),
    "time_invalid": Code(_I, _DEV, "The time is not RFC 3339 with an offset, nor integer milliseconds."),
    "time_out_of_range": Code(
        _I, _DEV, "The time is further away than the gateway takes: 400 days back, 10 minutes ahead."
    ),
    "time_format": Code(
        _I, _DEV, "The time has no format this file may use, such as 2026-01-14 10:30:00 or 2026-01-14T10:30:00+01:00."
    ),
    "time_nonexistent": Code(
        _I, _DEV, "The local time does not exist in its time zone: the clocks were put forward then."
    ),
    "zone_unknown": Code(_I, _DEV, "The time zone is no name of the IANA database and no offset such as +0100."),
    "date_invalid": Code(
        _I, _DEV, "The date is not YYYY-MM-DD, or lies before 2000 or after tomorrow; a list is of at most 400 days."
    ),
    "amount_invalid": Code(_I, _DEV, "The amount is not a decimal number."),
    "amount_not_finite": Code(_I, _DEV, "The amount is not a finite number."),
    "amount_negative": Code(_I, _DEV, "The amount is negative; use an adjustment for a refund."),
    "amount_too_large": Code(_I, _DEV, "The amount is larger than the gateway takes."),
    "amount_too_fine": Code(_I, _DEV, "The amount has more decimals than its currency."),
    "currency_missing": Code(_I, _DEV, "An amount needs a currency."),
    "currency_unknown": Code(_I, _DEV, "The currency is not an ISO 4217 code in upper case."),
    "purpose_unknown": Code(_I, _DEV, "The purpose is not one of the closed list."),
    "consent_value_invalid": Code(_I, _DEV, "A consent value is 'granted' or 'denied'."),
    "visitor_token_invalid": Code(_I, _DEV, "The visitor token was not issued by this gateway for this site."),
    "quotes_invalid": Code(_I, _DEV, "The quotes of the row do not follow RFC 4180."),
    "row_length": Code(_I, _DEV, "The row has another number of cells than the header."),
    "row_repeated": Code(
        _I, _DEV, "Another row is about the same day, campaign, channel, source and currency; add them up."
    ),
    "match_missing": Code(
        _I,
        _DEV,
        "The row needs one of these to be matched by: order id, click id, e-mail address, phone number, user id.",
    ),
    "goal_unknown": Code(_I, _OP, "The goal does not exist on this site."),
    "name_ambiguous": Code(_I, _DEV, "Several entries have this name; say the code or the id of the one you mean."),
    "report_too_large": Code(
        _I, _DEV, "The report would take too long or grow too large; ask for fewer days, one goal or one campaign."
    ),
    "report_personal": Code(
        Kind.FORBIDDEN,
        _OP,
        "The link was made for one person; what came of it is told in the journeys of its conversions only.",
    ),
    "campaign_unknown": Code(_I, _OP, "The campaign does not exist on this site."),
    "currency_differs": Code(_I, _DEV, "An adjustment is in the currency of the conversion it changes."),
    "link_unknown": Code(Kind.NOT_FOUND, _OP, "There is no link at this address."),
    "link_expired": Code(Kind.GONE, _OP, "The time of this link is over."),
    "target_invalid": Code(_I, _OP, "The target is not an allowed address of at most 2,048 bytes in encoded ASCII."),
    "target_signature_invalid": Code(Kind.FORBIDDEN, _DEV, "The target's signature is not valid or its time is over."),
    # conflicts and states
    "conversion_conflict": Code(
        Kind.CONFLICT, _DEV, "This order was recorded with another value or currency; send an adjustment."
    ),
    "adjustment_conflict": Code(
        Kind.CONFLICT, _DEV, "An adjustment with this id was recorded with other content; give each its own id."
    ),
    "site_unknown": Code(Kind.NOT_FOUND, _OP, "There is no such site in the settings."),
    "report_unknown": Code(Kind.NOT_FOUND, _DEV, "There is no report or export of this name."),
    "webhook_unknown": Code(Kind.NOT_FOUND, _OP, "There is no webhook of this name on this site."),
    "event_unknown": Code(Kind.NOT_FOUND, _DEV, "No event with this id is stored on this site."),
    "delivery_unknown": Code(Kind.NOT_FOUND, _DEV, "No such delivery is stored."),
    "not_replayable": Code(Kind.CONFLICT, _OP, "Only a dead delivery whose payload is still held can be replayed."),
    "entry_unknown": Code(Kind.NOT_FOUND, _DEV, "There is no such entry, or version of it, in the site's catalogue."),
    "entry_stale": Code(
        Kind.CONFLICT, _TIME, "The entry was changed by another request meanwhile; read it again, then change it."
    ),
    "code_taken": Code(
        Kind.CONFLICT, _DEV, "Another entry has this code, perhaps an archived one; codes are never given anew."
    ),
    "choice_stale": Code(
        Kind.CONFLICT, _TIME, "The same visitor's choice is being recorded by another request; send it again."
    ),
    "campaign_tracking_off": Code(
        Kind.FORBIDDEN, _OP, "Conversion tracking is switched off for this campaign; nothing was stored."
    ),
    "click_foreign": Code(
        Kind.FORBIDDEN, _DEV, "The click belongs to another campaign than this postback token; nothing was stored."
    ),
    "conversion_unknown": Code(Kind.NOT_FOUND, _DEV, "No conversion with this id is counted on this site."),
    # us
    "busy": Code(
        Kind.BUSY,
        _TIME,
        "The gateway is busy. Send the same again after the time in Retry-After; its id keeps it from counting twice.",
    ),
    "store_full": Code(Kind.FULL, _OP, "There is no space left to store this; nothing was stored."),
    "internal": Code(Kind.BROKEN, _OP, "The gateway failed; nothing was acknowledged."),
}
"""Every code a caller can be refused with."""


class GatewayError(Exception):
    """Root of everything the gateway raises on purpose."""


class Refusal(GatewayError):
    """Somebody outside must change something.

    `code` is a key of CODES; `field` is the path of the offending field, such as `events[3].value`; `allowed` are the words
    of the closed list that the field takes, empty where there is none. None of them ever holds a value the caller sent.
    """

    def __init__(self, code: str, field: str | None = None, allowed: Iterable[str] = ()) -> None:
        if code not in CODES:
            raise KeyError(code)
        super().__init__(code if field is None else f"{code} at {field}")
        self.code = code
        self.field = field
        self.allowed = tuple(allowed)

    def at(self, field: str | None) -> "Refusal":
        """The same refusal of a field with another path: seen from outside of what was read."""
        return Refusal(self.code, field, self.allowed)

    def body(self) -> dict[str, object]:
        """Build the JSON object every refusal is answered with."""
        error: dict[str, object] = {"code": self.code, "message": CODES[self.code].message}
        if self.field is not None:
            error["field"] = self.field
        if self.allowed:
            error["allowed"] = list(self.allowed)
        error["docs"] = f"docs/reference/errors.md#{self.code}"
        return {"error": error}


class Busy(Refusal):
    """Nothing is wrong with the request: try again after `retry_after_s` seconds."""

    def __init__(self, code: str = "busy", *, retry_after_s: int = 1) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s


class StoreError(GatewayError):
    """The store could not do its work; nothing of it was acknowledged."""


class StoreBusy(StoreError):
    """The store is locked by another process, or too much is waiting."""


class StoreFull(StoreError):
    """No space is left on the disk that holds the store."""


class StoreDamaged(StoreError):
    """The store is not what it should be; going on could lose data."""


class SettingsError(GatewayError):
    """The configuration cannot be used. `problems` lists every fault found, one plain sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class OutboundRefused(GatewayError):
    """An address the gateway does not connect to. `reason` is a stable word, never the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
