"""The native event as it stands on the wire: one table of fields, from which decoding, JSON Schema and docs are made.

Amounts are decimal numbers of major units. Times are RFC 3339 with an offset, or integer milliseconds. Contact data goes
into `person`, where it is normalised and hashed, never into `props`. Unknown fields are refused by name.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = [
    "CONSENT_NAMES",
    "Client",
    "ConsentWords",
    "WireBatch",
    "WireChoice",
    "WireEvent",
    "WireItem",
    "WirePerson",
    "WireSignals",
]

Short = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=1_024)]
Url = Annotated[str, Meta(max_length=8_192)]
Contact = Annotated[str, Meta(min_length=1, max_length=320)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z")]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{8,64}\Z")]
OrderId = Annotated[str, Meta(min_length=1, max_length=64)]
ClickId = Annotated[str, Meta(pattern=r"^(?:[0-9A-Za-z]{22}|[0-9]{1,64})\Z")]
Coupon = Annotated[str, Meta(min_length=1, max_length=64)]
CampaignCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Integer = Annotated[int, Meta(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
Milliseconds = Annotated[int, Meta(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
PropText = Annotated[str, Meta(max_length=8_192)]
PropValue = PropText | Integer | float | bool | None
PropName = Annotated[str, Meta(min_length=1, max_length=40)]
Word = Literal["granted", "denied"]

Sensitive = Literal[
    "race", "religion", "health", "sexual_orientation", "citizenship", "genetic", "biometric", "precise_location",
    "identity_documents", "account_access", "union_membership", "message_content", "consumer_health", "crime_victim",
    "national_origin", "transgender",
]  # fmt: skip
"""Categories of sensitive data, as in `gateway.purposes.SENSITIVE`."""

PROPS_MAX: Final = 100

ConsentWords = dict[Annotated[str, Meta(max_length=40)], Word]
"""Purpose to `granted` or `denied`. Names are the gateway's purposes or Google's consent types; others are refused.

On an event, `sensitive_data` may stand there too: whether the person agreed to the use of sensitive data.
"""

CONSENT_NAMES: Final = "gateway.purposes.ALIASES"


class WireItem(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One line of an order."""

    id: Annotated[Short | None, Meta(description="Product id as in your catalogue.")] = None
    name: Annotated[Short | None, Meta(description="Product name.")] = None
    price: Annotated[Decimal | None, Meta(description="Price of one piece, decimal major units.")] = None
    quantity: Annotated[Annotated[int, Meta(ge=1, le=1_000_000)], Meta(description="Number of pieces.")] = 1
    brand: Annotated[Short | None, Meta(description="Brand.")] = None
    category: Annotated[Short | None, Meta(description="Category.")] = None
    variant: Annotated[Short | None, Meta(description="Variant, such as a colour or a size.")] = None


class WirePerson(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Contact data of the person the event is about. Hashed for each destination, never stored in the clear.

    A value may also be the SHA-256 of a value you normalised yourself, as 64 hex digits.
    """

    email: Annotated[
        Contact | Annotated[list[Contact], Meta(max_length=3)] | None,
        Meta(description="E-mail address, or up to three."),
    ] = None
    phone: Annotated[
        Contact | Annotated[list[Contact], Meta(max_length=3)] | None, Meta(description="Phone number, or up to three.")
    ] = None
    first_name: Annotated[Contact | None, Meta(description="Given name.")] = None
    last_name: Annotated[Contact | None, Meta(description="Family name.")] = None
    gender: Annotated[Contact | None, Meta(description="Gender, as a word or letter.")] = None
    date_of_birth: Annotated[Contact | None, Meta(description="Date of birth, YYYY-MM-DD.")] = None
    street: Annotated[Contact | None, Meta(description="Street and number.")] = None
    city: Annotated[Contact | None, Meta(description="City.")] = None
    region: Annotated[Contact | None, Meta(description="State, province or region.")] = None
    postal_code: Annotated[Contact | None, Meta(description="Postal code.")] = None
    country: Annotated[Contact | None, Meta(description="Country, best as two letters.")] = None
    external_id: Annotated[Contact | None, Meta(description="Your own stable id of the person.")] = None


class Client(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The visitor's browser as your server saw it. Server calls only."""

    ip: Annotated[Annotated[str, Meta(max_length=64)] | None, Meta(description="The visitor's address.")] = None
    user_agent: Annotated[Text | None, Meta(description="The visitor's User-Agent header.")] = None
    language: Annotated[Annotated[str, Meta(max_length=35)] | None, Meta(description="The visitor's language.")] = None
    fbp: Annotated[Short | None, Meta(description="Value of the visitor's _fbp cookie.")] = None
    fbc: Annotated[Text | None, Meta(description="Value of the visitor's _fbc cookie.")] = None
    ga: Annotated[Short | None, Meta(description="Value of the visitor's _ga cookie.")] = None


class WireSignals(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Consent signals as your page or your server has them, not decoded. What cannot be read is absent, and counted."""

    tcf: Annotated[str | None, Meta(description="TC string of IAB TCF 2.")] = None
    gdpr: Annotated[
        bool | Literal[0, 1] | None, Meta(description="Whether the TCF applies, as the consent platform says.")
    ] = None
    ac: Annotated[str | None, Meta(description="Google's additional consent string.")] = None
    gpp: Annotated[str | None, Meta(description="GPP string.")] = None
    gpp_sid: Annotated[
        Annotated[list[int], Meta(max_length=32)] | None, Meta(description="Sections of the GPP string that apply.")
    ] = None
    us_privacy: Annotated[str | None, Meta(description="US Privacy string, four characters.")] = None
    gcs: Annotated[str | None, Meta(description="Parameter gcs of Google's consent mode.")] = None
    gcd: Annotated[str | None, Meta(description="Parameter gcd of Google's consent mode.")] = None
    google: Annotated[
        dict[Annotated[str, Meta(max_length=40)], Word] | None,
        Meta(description="Consent mode types as the page set them by default or update."),
    ] = None
    platform: Annotated[
        Annotated[str, Meta(max_length=40)] | None,
        Meta(description="Consent platform whose own interface the page asked; the site must name the same one."),
    ] = None
    choice: Annotated[
        Literal["explicit", "implied", "not_required", "none"] | None,
        Meta(description="Whether the visitor acted; only explicit counts."),
    ] = None
    categories: Annotated[
        dict[Annotated[str, Meta(max_length=120)], bool] | None,
        Meta(description="The platform's categories or services: on or off."),
    ] = None
    at_ms: Annotated[
        Milliseconds | None, Meta(description="When the choice was made, milliseconds since 1970 UTC.")
    ] = None


class WireEvent(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One event or conversion."""

    name: Annotated[
        Name | UnsetType, Meta(description="What happened: page_view, purchase, sign_up, or a name of yours.")
    ] = UNSET
    id: Annotated[
        Id | UnsetType, Meta(description="Id of this event; the same id is stored once. Made for you when absent.")
    ] = UNSET
    occurred_at: Annotated[
        Annotated[str, Meta(max_length=40)] | UnsetType,
        Meta(description="When it happened, RFC 3339 with an offset. Default: now."),
    ] = UNSET
    occurred_at_ms: Annotated[
        Milliseconds | UnsetType,
        Meta(description="When it happened, milliseconds since 1970 UTC; instead of occurred_at."),
    ] = UNSET
    url: Annotated[Url | None, Meta(description="Address of the page.")] = None
    title: Annotated[Text | None, Meta(description="Title of the page.")] = None
    referrer: Annotated[Url | None, Meta(description="Address of the page before; only its host is kept.")] = None
    value: Annotated[
        Decimal | None, Meta(description="Amount in major units, a decimal number or text. 0 is an amount.")
    ] = None
    currency: Annotated[
        Annotated[str, Meta(max_length=8)] | None,
        Meta(description="ISO 4217 code in upper case. Default: the site's currency."),
    ] = None
    order_id: Annotated[OrderId | None, Meta(description="Order number. One order counts once per goal.")] = None
    goal: Annotated[Name | None, Meta(description="Goal this is a conversion of. Default: the event's name.")] = None
    click_id: Annotated[
        ClickId | None,
        Meta(description="Id of the click on one of your links: cid of the landing page's address, as text."),
    ] = None
    coupons: Annotated[
        Annotated[list[Coupon], Meta(max_length=10)] | None,
        Meta(description="Coupon codes on the order, as the customer typed them. No contact data."),
    ] = None
    campaign: Annotated[
        CampaignCode | None, Meta(description="Code of the campaign that a conversion is reported for.")
    ] = None
    items: Annotated[Annotated[list[WireItem], Meta(max_length=200)], Meta(description="Lines of the order.")] = (
        msgspec.field(default_factory=list)
    )
    props: Annotated[
        dict[PropName, PropValue | Annotated[list[PropValue], Meta(max_length=50)]],
        Meta(description="Your own properties: text, numbers, true, false, or lists of these. No contact data."),
    ] = msgspec.field(default_factory=dict)
    search: Annotated[Short | None, Meta(description="What was searched for.")] = None
    session: Annotated[
        Annotated[int, Meta(ge=1, le=4_102_444_800)] | None,
        Meta(description="Start of the visit, seconds since 1970 UTC."),
    ] = None
    person: Annotated[WirePerson | None, Meta(description="Contact data, to be hashed.")] = None
    consent: Annotated[ConsentWords | None, Meta(description="What the visitor agreed to, purpose by purpose.")] = None
    consent_at_ms: Annotated[
        Milliseconds | None, Meta(description="When the visitor chose, milliseconds since 1970 UTC.")
    ] = None
    signals: Annotated[
        WireSignals | None, Meta(description="Consent signals, not decoded: TC string, GPP, consent mode and others.")
    ] = None
    minor: Annotated[bool, Meta(description="The person is known to be under age: no advertising purpose.")] = False
    sensitive: Annotated[
        Annotated[list[Sensitive], Meta(max_length=20)],
        Meta(description="What the event tells about somebody that laws call sensitive, such as health."),
    ] = msgspec.field(default_factory=list)
    click_ids: Annotated[
        dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=512)]] | None,
        Meta(description="Click ids by parameter name, such as gclid; taken from url by themselves."),
    ] = None
    click_seen_at_ms: Annotated[Milliseconds | None, Meta(description="When the click ids were first seen.")] = None
    visitor: Annotated[
        Annotated[str, Meta(max_length=512)] | None,
        Meta(description="Value of the visitor's id cookie. Server calls only."),
    ] = None
    client: Annotated[Client | None, Meta(description="The visitor's browser. Server calls only.")] = None
    test: Annotated[bool, Meta(description="A rehearsal: stored and marked, not counted in reports.")] = False


class WireBatch(WireEvent, forbid_unknown_fields=True, omit_defaults=True):
    """A single event, or several under `events` (or `conversions`) with what they share."""

    events: Annotated[list[WireEvent] | UnsetType, Meta(description="Several events instead of one.")] = UNSET
    conversions: Annotated[list[WireEvent] | UnsetType, Meta(description="Several conversions instead of one.")] = UNSET
    sent_at_ms: Annotated[
        Milliseconds | None, Meta(description="The sender's clock when it sent this; a wrong clock is corrected by it.")
    ] = None
    gpc: Annotated[bool, Meta(description="The page saw navigator.globalPrivacyControl.")] = False
    tag: Annotated[Annotated[str, Meta(max_length=20)] | None, Meta(description="Version of gw.js.")] = None


class WireChoice(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A visitor's choice about consent: purpose by purpose, or as signals that are decoded and judged, or both."""

    choice: Annotated[
        ConsentWords | UnsetType,
        Meta(description="Purpose to granted or denied. What is not named stays as it was. Required without signals."),
    ] = UNSET
    signals: Annotated[
        WireSignals | None, Meta(description="What a consent platform says now, not decoded; may be empty.")
    ] = None
    method: Annotated[
        Literal["banner", "settings", "signal", "api", "privacy_page"], Meta(description="How the choice was made.")
    ] = "banner"
    notice: Annotated[
        Annotated[str, Meta(max_length=40)] | None, Meta(description="Version of the text shown. Default: the site's.")
    ] = None
    language: Annotated[Annotated[str, Meta(max_length=35)] | None, Meta(description="Language of the text shown.")] = (
        None
    )
    decided_at_ms: Annotated[
        Milliseconds | None, Meta(description="When the visitor chose. Server calls only; a browser's choice is now.")
    ] = None
    visitor: Annotated[
        Annotated[str, Meta(max_length=512)] | None,
        Meta(description="Value of the visitor's id cookie. Server calls only."),
    ] = None
    person: Annotated[WirePerson | None, Meta(description="Who chose, by email or external_id. Server calls only.")] = (
        None
    )
    link: Annotated[
        Annotated[str, Meta(max_length=1_024)] | None,
        Meta(description="Token with which the visitor came from another domain of the owner. Browsers only."),
    ] = None
