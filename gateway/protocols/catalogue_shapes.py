"""The shapes of campaigns, links, ambassadors, coupons and goals on the wire: one table of fields for reading and for docs.

Every field may be left out: a change names what it changes. What a new entry needs is said in its field.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = [
    "SHAPES",
    "SIGNED_DAYS_MAX",
    "Wire",
    "WireAmbassador",
    "WireCampaign",
    "WireCoupon",
    "WireGoal",
    "WireLink",
    "WirePreview",
    "WireSigned",
    "WireUtm",
    "WireVariant",
]

SIGNED_DAYS_MAX: Final = 400
"""How long a signed target may be good."""

Text = str | UnsetType | None
Flag = bool | UnsetType | None
Moment = str | int | UnsetType | None
Domains = str | Annotated[list[str], Meta(max_length=100)] | UnsetType | None


class WireUtm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Campaign parameters that are added to targets."""

    source: Annotated[Text, Meta(description="utm_source, such as a newsletter.")] = UNSET
    medium: Annotated[Text, Meta(description="utm_medium, such as email.")] = UNSET
    campaign: Annotated[Text, Meta(description="utm_campaign.")] = UNSET
    term: Annotated[Text, Meta(description="utm_term.")] = UNSET
    content: Annotated[Text, Meta(description="utm_content.")] = UNSET
    id: Annotated[Text, Meta(description="utm_id.")] = UNSET


class WirePreview(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a messenger shows of a link."""

    title: Annotated[Text, Meta(description="Title.")] = UNSET
    description: Annotated[Text, Meta(description="Description.")] = UNSET
    image: Annotated[Text, Meta(description="Web address of an image.")] = UNSET


class WireVariant(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One of several targets of a link."""

    target: Annotated[str, Meta(description="Where this variant leads.")]
    percent: Annotated[
        Annotated[int, Meta(ge=0, le=100)], Meta(description="Share of visitors; all of a link sum to 100.")
    ]
    id: Annotated[Text, Meta(description="Name in reports. Default: a, b, c ...")] = UNSET


class WireCampaign(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A campaign."""

    name: Annotated[Text, Meta(description="Name in reports. Required. No contact data.")] = UNSET
    code: Annotated[Text, Meta(description="Public code in snippets; cannot be changed later. Default: random.")] = (
        UNSET
    )
    channel: Annotated[Text, Meta(description="Channel of its links: email, social, sms, qr, ad or your own.")] = UNSET
    utm: Annotated[WireUtm | UnsetType | None, Meta(description="Campaign parameters of its links.")] = UNSET
    tracking: Annotated[Flag, Meta(description="Whether conversions that name this campaign are taken.")] = UNSET
    domains: Annotated[
        Domains, Meta(description="Domains that may send them, as a list or one per line; subdomains are included.")
    ] = UNSET
    ambassadors: Annotated[Flag, Meta(description="Whether it has share links of ambassadors.")] = UNSET
    archived: Annotated[Flag, Meta(description="Out of use; nothing is deleted.")] = UNSET


class WireLink(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A link."""

    target: Annotated[Text, Meta(description="Where the link leads. Required.")] = UNSET
    code: Annotated[Text, Meta(description="The link's slug. Default: random.")] = UNSET
    title: Annotated[Text, Meta(description="Title in reports. No contact data.")] = UNSET
    campaign_id: Annotated[Text, Meta(description="Campaign it belongs to.")] = UNSET
    ambassador_id: Annotated[Text, Meta(description="Ambassador whose share link it is.")] = UNSET
    channel: Annotated[Text, Meta(description="Channel. Default: the campaign's.")] = UNSET
    recipient: Annotated[Text, Meta(description="Your own opaque reference of the one recipient.")] = UNSET
    utm: Annotated[
        WireUtm | UnsetType | None, Meta(description="Campaign parameters; they win over the campaign's.")
    ] = UNSET
    variants: Annotated[
        Annotated[list[WireVariant], Meta(max_length=20)] | UnsetType | None, Meta(description="Several targets.")
    ] = UNSET
    starts_at: Annotated[Moment, Meta(description="When the link begins to work.")] = UNSET
    expires_at: Annotated[Moment, Meta(description="When it ends.")] = UNSET
    expired_target: Annotated[Text, Meta(description="Where it leads after that. Default: nowhere, 410.")] = UNSET
    ios_target: Annotated[Text, Meta(description="Target on iPhones and iPads.")] = UNSET
    android_target: Annotated[Text, Meta(description="Target on Android.")] = UNSET
    repeat_window_s: Annotated[
        Annotated[int, Meta(ge=30, le=3_600)] | UnsetType | None,
        Meta(description="Seconds in which a second click of one browser is a repeat."),
    ] = UNSET
    no_referrer: Annotated[Flag, Meta(description="Hide from the target which page the visitor came from.")] = UNSET
    preview: Annotated[WirePreview | UnsetType | None, Meta(description="What messengers show.")] = UNSET
    archived: Annotated[Flag, Meta(description="Out of use; answers 404.")] = UNSET


class WireSigned(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Another target of a link, to be signed."""

    target: Annotated[str, Meta(description="Where the address leads, on whatever host.")]
    expires_at: Annotated[str | int | None, Meta(description="Until when.")] = None
    days: Annotated[
        Annotated[int, Meta(ge=1, le=SIGNED_DAYS_MAX)] | None,
        Meta(description="The same, in days from now. Default: 30."),
    ] = None


class WireAmbassador(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An ambassador."""

    name: Annotated[Text, Meta(description="Public name in reports. Required. No contact data.")] = UNSET
    campaign_id: Annotated[Text, Meta(description="Campaign they share links of. Required.")] = UNSET
    code: Annotated[Text, Meta(description="Public code in share links. Default: random.")] = UNSET
    email: Annotated[
        Text, Meta(description="E-mail address, to recognise orders of their own. Only a keyed digest is kept.")
    ] = UNSET
    archived: Annotated[Flag, Meta(description="Out of use.")] = UNSET


class WireCoupon(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A coupon code."""

    code: Annotated[Text, Meta(description="The code as customers type it. Required.")] = UNSET
    campaign_id: Annotated[Text, Meta(description="Campaign it belongs to. Required.")] = UNSET
    ambassador_id: Annotated[Text, Meta(description="Ambassador it belongs to.")] = UNSET
    starts_at: Annotated[Moment, Meta(description="From when it is credited.")] = UNSET
    expires_at: Annotated[Moment, Meta(description="Until when it is credited.")] = UNSET
    archived: Annotated[Flag, Meta(description="Out of use.")] = UNSET


class WireGoal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A goal."""

    preset: Annotated[str | UnsetType, Meta(description="Preset to start from; only when it is made.")] = UNSET
    name: Annotated[Text, Meta(description="Name in reports. Required without a preset.")] = UNSET
    code: Annotated[
        Text,
        Meta(description="Event that counts; cannot be changed later. Default: the preset's, or made of the name."),
    ] = UNSET
    type: Annotated[
        Literal[
            "purchase", "subscribe", "lead", "signup", "trial", "add_to_cart", "begin_checkout", "download", "call",
            "visit", "custom",
        ] | UnsetType | None,
        Meta(description="What sort of action it is."),
    ] = UNSET  # fmt: skip
    macro: Annotated[Flag, Meta(description="An end in itself, not a step towards one.")] = UNSET
    description: Annotated[Text, Meta(description="What exactly counts.")] = UNSET
    value: Annotated[
        Decimal | UnsetType | None, Meta(description="Amount of conversions that say none, decimal. 0 said is 0.")
    ] = UNSET
    currency: Annotated[Text, Meta(description="ISO 4217 code of the value. Default: the site's.")] = UNSET
    count: Annotated[
        Literal["every", "one_per_click", "one_per_person"] | UnsetType | None, Meta(description="What counts again.")
    ] = UNSET
    model: Annotated[Text, Meta(description="Attribution model of the headline number.")] = UNSET
    click_window_days: Annotated[
        Annotated[int, Meta(ge=1, le=400)] | UnsetType | None,
        Meta(description="Days after a click in which it may be credited. Default: 30."),
    ] = UNSET
    view_window_days: Annotated[
        Annotated[int, Meta(ge=1, le=30)] | UnsetType | None, Meta(description="Days after a view. Default: 1.")
    ] = UNSET
    view_policy: Annotated[
        Literal["if_no_click", "always", "never"] | UnsetType | None, Meta(description="When views are credited.")
    ] = UNSET
    direct_policy: Annotated[
        Literal["ignore_unless_only", "include"] | UnsetType | None, Meta(description="When direct visits are.")
    ] = UNSET
    coupon_policy: Annotated[
        Literal["override", "touch", "ignore"] | UnsetType | None, Meta(description="What a coupon is worth.")
    ] = UNSET
    pin: Annotated[
        Literal["none", "click_id"] | UnsetType | None,
        Meta(description="Whether a click id that a conversion names decides alone."),
    ] = UNSET
    reset_after_conversion: Annotated[Flag, Meta(description="Begin a new path after each conversion.")] = UNSET
    target_rate_pct: Annotated[
        Decimal | UnsetType | None, Meta(description="Conversion rate aimed at, percent with up to 4 decimals.")
    ] = UNSET
    call_min_s: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)] | UnsetType | None,
        Meta(description="Seconds a call lasts at least to count."),
    ] = UNSET
    per_minute: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType | None,
        Meta(description="Postbacks taken per minute. Default: 1000."),
    ] = UNSET
    notify_url: Annotated[Text, Meta(description="https address told of every counted conversion.")] = UNSET
    domains: Annotated[Domains, Meta(description="Domains whose pages may convert, list or one per line.")] = UNSET
    campaign_id: Annotated[
        Text, Meta(description="Campaign whose clicks its postbacks may name; others are refused. Default: any.")
    ] = UNSET
    offline_purposes: Annotated[
        Annotated[list[str], Meta(max_length=20)] | UnsetType | None,
        Meta(description="Purposes granted by uploaded rows that say nothing of consent."),
    ] = UNSET
    archived: Annotated[Flag, Meta(description="Out of use.")] = UNSET


Wire = WireCampaign | WireLink | WireAmbassador | WireCoupon | WireGoal

SHAPES: Final[dict[str, type[Wire]]] = {
    "campaign": WireCampaign,
    "link": WireLink,
    "ambassador": WireAmbassador,
    "coupon": WireCoupon,
    "goal": WireGoal,
}
"""Kind of entry to its shape on the wire."""
