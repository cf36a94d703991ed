"""The catalogue: what an operator sets up while the gateway runs: campaigns, links, ambassadors, coupons, goals.

Every entry has an id that never changes, and a version that grows with each change. Old versions are kept, so that a click
or a conversion can be explained by the rules under which it was counted.
"""

from typing import Final

import msgspec

from gateway.times import DAY_MS

__all__ = [
    "GOAL_TYPES",
    "KINDS",
    "Ambassador",
    "Campaign",
    "Coupon",
    "Entry",
    "Goal",
    "Link",
    "Preview",
    "Utm",
    "Variant",
]

KINDS: Final = ("campaign", "link", "ambassador", "coupon", "goal")

GOAL_TYPES: Final = (
    "purchase", "subscribe", "lead", "signup", "trial", "add_to_cart", "begin_checkout", "download", "call", "visit", "custom",
)  # fmt: skip


class Utm(msgspec.Struct, frozen=True, omit_defaults=True):
    """Campaign parameters, as typed; empty means none. At most 255 characters each."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    term: str = ""
    content: str = ""
    id: str = ""


class Campaign(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One campaign. `code` is its public name in snippets and reports; who knows it can do nothing with it.

    `channel` is what its links are, where they do not say so themselves (`email`, `social`, `sms`, `qr`, `ad` or free).
    `tracking`: conversions that name this campaign are taken. `domains` are pages that may send them: a domain allows its
    subdomains; none listed means the site's own. `ambassadors`: it has share links, so the window is 90 days.
    """

    id: str
    code: str
    name: str
    channel: str = ""
    utm: Utm = Utm()
    tracking: bool = False
    domains: tuple[str, ...] = ()
    ambassadors: bool = False
    archived: bool = False


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of several targets of a link. `percent` of all variants of a link sum to 100."""

    id: str
    target: str
    percent: int


class Preview(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a messenger shows of a link: Open Graph title, description, image address."""

    title: str = ""
    description: str = ""
    image: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One link. `code` is its slug, unique per site without regard to case. Times are ms UTC, 0 means never.

    `recipient` marks a link made for one person: an opaque reference of the sender's own, never contact data.
    `repeat_window_s`: a second click of the same browser within it is a repeat, no new touch. `expired_target`: where an
    expired link leads; empty answers 410. `ios_target` and `android_target` replace the target on such phones.
    """

    id: str
    code: str
    target: str
    title: str = ""
    campaign_id: str = ""
    ambassador_id: str = ""
    channel: str = ""
    recipient: str = ""
    utm: Utm = Utm()
    variants: tuple[Variant, ...] = ()
    starts_at_ms: int = 0
    expires_at_ms: int = 0
    expired_target: str = ""
    ios_target: str = ""
    android_target: str = ""
    repeat_window_s: int = 3_600
    no_referrer: bool = False
    preview: Preview | None = None
    archived: bool = False


class Ambassador(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who shares links of a campaign. `name` is what reports show: a public name, never contact data.

    `person_key` is the keyed digest of the e-mail address, by which orders of their own are recognised; the address itself
    is never kept.
    """

    id: str
    code: str
    name: str
    campaign_id: str
    person_key: bytes = b""
    archived: bool = False


class Coupon(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A coupon code that belongs to one ambassador or campaign. Looked up without regard to case and outer spaces."""

    id: str
    code: str
    campaign_id: str
    ambassador_id: str = ""
    starts_at_ms: int = 0
    expires_at_ms: int = 0
    archived: bool = False


class Goal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One goal: what counts as a conversion, what it is worth, and who may be credited.

    `code` is its name on the wire: events with this name or `goal` count for it. `value_minor` is used only by conversions
    that say no value; 0 said is 0. `count` is `every`, `one_per_click` or `one_per_person`. `model` is the headline
    number's. `target_rate_ppm` is the conversion rate aimed at. `token_digest` finds the goal of a postback by its token,
    which is shown once. `notify_url` gets a signed notification of every counted conversion. `offline_purposes` are those
    granted by an uploaded row that says nothing of consent. `campaign_id`: postbacks are taken for clicks of this campaign
    only, empty for any. Windows are elapsed ms.
    """

    id: str
    code: str
    name: str
    type: str = "custom"
    macro: bool = True
    description: str = ""
    value_minor: int | None = None
    currency: str = ""
    count: str = "every"
    model: str = "last_non_direct"
    click_window_ms: int = 30 * DAY_MS
    view_window_ms: int = DAY_MS
    view_policy: str = "if_no_click"
    direct_policy: str = "ignore_unless_only"
    coupon_policy: str = "override"
    pin: str = "none"
    reset_after_conversion: bool = False
    target_rate_ppm: int | None = None
    call_min_s: int = 60
    token_digest: bytes = b""
    per_minute: int = 1_000
    notify_url: str = ""
    domains: tuple[str, ...] = ()
    offline_purposes: int = 0
    campaign_id: str = ""
    archived: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as stored. `parent` is the campaign it belongs to, empty for none; `folded` is its code for looking it up.

    `body` is the JSON of the entry's own type. `version` begins at 1.
    """

    site: str
    kind: str
    id: str
    folded: str
    parent: str
    version: int
    changed_at_ms: int
    archived: bool
    body: bytes
