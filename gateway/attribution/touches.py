"""Touches: the words of eligibility. What is known of a contact, of a conversion and of a goal, and what is decided."""

from typing import Final, Literal

import msgspec

from gateway.attribution.journeys import TouchPath
from gateway.times import DAY_MS

__all__ = [
    "CLICKS", "EXCLUSIONS", "KINDS", "UNATTRIBUTED", "Conversion", "Coupon", "IdentityLink", "Kind", "Outcome", "Rules",
    "Touch", "coupon_key",
]  # fmt: skip

Kind = Literal["click", "qr", "call", "referral", "view", "direct", "coupon"]

KINDS: Final[dict[str, str]] = {
    "click": "A click on a link, an advertisement or a campaign.",
    "qr": "A scan of a QR code.",
    "call": "A call to a tracked number.",
    "referral": "A visit from another site, such as a search engine.",
    "view": "An advertisement was shown.",
    "direct": "A visit without a source.",
    "coupon": "The order carries the code of a partner or ambassador.",
}
CLICKS: Final = frozenset({"click", "qr", "call", "referral"})
"""Kinds in which somebody came by something. One of them supersedes views."""

EXCLUSIONS: Final[dict[str, str]] = {
    "coupon_override": "The order carries a coupon, and this goal gives it all credit.",
    "pinned_elsewhere": "The conversion names another click, and this goal gives that click all credit.",
    "other_person": "The touch is not known to be of the person who converted.",
    "bot": "The touch was made by a robot.",
    "test": "The touch was a test, and the conversion was not.",
    "duplicate": "The touch repeats an earlier one and is folded into it.",
    "no_consent": "At the time of the touch there was no consent to use it for attribution.",
    "own_domain": "The visit came from the site itself or from a payment page. It continues a visit, it starts none.",
    "own_order": "The touch is of the ambassador who placed the order.",
    "after_conversion": "The touch came after the conversion.",
    "outside_window": "The touch is older than the attribution window of the goal.",
    "before_previous_conversion": "The touch came before the previous conversion, and this goal starts anew after each.",
    "views_off": "This goal does not credit views.",
    "view_superseded": "A click earned the conversion, and this goal credits views only where there is none.",
    "direct_ignored": "A direct visit is credited only where there is no other touch.",
    "path_full": "The path is very long; its first and its newest touches are credited.",
}
"""Why a touch earns nothing: stable codes and their sentences."""

UNATTRIBUTED: Final[dict[str, str]] = {
    "click_unknown": "The conversion names a click id that is not known, and no other touch led to it.",
    "click_not_eligible": "The conversion names a click that may not be credited.",
    "no_touch": "No touch of this person is known. A visitor must first come by a link, a campaign or another site, and "
    "must have consented to be recognised.",
    "none_eligible": "Touches of this person are known, but none of them may be credited.",
}
"""Why a conversion is credited to nobody."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a goal says about attribution. Windows are elapsed time: neither zones nor daylight saving move their edge.

    `pin`: whether a click id that the conversion names decides alone. `reset_after_conversion`: whether each conversion
    of a person begins a new path.
    """

    click_window_ms: int = 30 * DAY_MS
    view_window_ms: int = DAY_MS
    view_policy: Literal["if_no_click", "always", "never"] = "if_no_click"
    direct_policy: Literal["ignore_unless_only", "include"] = "ignore_unless_only"
    reset_after_conversion: bool = False
    pin: Literal["none", "click_id"] = "none"
    coupon_policy: Literal["override", "touch", "ignore"] = "override"


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded contact. `sequence` is unique and says what arrived first.

    `device` and `user` are keyed digests or other opaque ids. `consent`: attribution was allowed at the time of the touch.
    `own_domain`: the visit came from the site itself or from a payment page. `ambassador` is whose link it was.
    """

    id: str
    sequence: int
    at_ms: int
    kind: Kind
    channel: str
    device: str | None = None
    user: str | None = None
    click_id: str | None = None
    consent: bool = False
    bot: bool = False
    test: bool = False
    duplicate_of: str | None = None
    own_domain: bool = False
    ambassador: str | None = None


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be credited. `coupons` as written on the order; `previous_at_ms` is the person's last one on this goal.

    `ambassador` is the one the buyer is known to be, None for everybody else.
    """

    at_ms: int
    device: str | None = None
    user: str | None = None
    click_id: str | None = None
    coupons: tuple[str, ...] = ()
    previous_at_ms: int | None = None
    test: bool = False
    ambassador: str | None = None


class IdentityLink(msgspec.Struct, frozen=True):
    """A device was seen to be of a user, for instance at a login."""

    device: str
    user: str
    at_ms: int


class Coupon(msgspec.Struct, frozen=True):
    """A code that belongs to a channel: `code` as the partner knows it."""

    code: str
    channel: str
    ambassador: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The path of one conversion, oldest touch first, and the reason for every touch that is not on it, by its id.

    `matched_by` says what found the path: `coupon`, `click_id` (the pinned click, also when it may not be credited),
    `user`, `device`, or `none`. `why` is a key of UNATTRIBUTED when the path is empty, else None.
    """

    matched_by: str
    path: tuple[Touch, ...]
    excluded: dict[str, str]
    why: str | None = None

    def touch_path(
        self, conversion: Conversion, *, lead_at_ms: int | None = None, opportunity_at_ms: int | None = None
    ) -> TouchPath:
        """The path as models take it. Milestones of the person are optional."""
        at_ms = conversion.at_ms
        return TouchPath(
            tuple([touch.channel for touch in self.path]),
            tuple([at_ms - touch.at_ms for touch in self.path]),
            at_ms - lead_at_ms if lead_at_ms is not None else None,
            at_ms - opportunity_at_ms if opportunity_at_ms is not None else None,
        )


def coupon_key(code: str) -> str:
    """Form under which a coupon is looked up: case and outer spaces do not matter."""
    return code.strip().casefold()
