"""Eligibility: which touches may earn a conversion, decided before any model runs, and why the others may not.

    1 order        by time, then by the order of arrival: no two touches are ever equal
    2 coupon       a coupon of the order that belongs to a channel, if the goal lets it override: it alone
    3 pinned click the click the conversion names, if the goal pins it: it alone
    4 person       touches of the same user; of the same device, or one linked to the user, where no user is known
    5 each touch   robots, tests, repeats, no consent, own pages, own orders, times, windows
    6 views        only where the goal wants them
    7 direct       visits without a source only where there is nothing else
    8 length       of a very long path the first and the newest touches

The first reason that applies is the one recorded, and every touch that is left out has one. Devices lead to a user, never
from one user to another: on a shared tablet that would join two people. Nothing left: the conversion is unattributed,
which is credit to nobody and not credit to direct visits.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from gateway.attribution.journeys import DIRECT, PATH_MAX
from gateway.attribution.touches import CLICKS, Conversion, Coupon, IdentityLink, Outcome, Rules, Touch, coupon_key

__all__ = ["eligible"]


def eligible(
    conversion: Conversion,
    touches: Iterable[Touch],
    rules: Rules,
    links: Iterable[IdentityLink] = (),
    coupons: Mapping[str, Coupon] | None = None,
) -> Outcome:
    """Decide the path of one conversion. `coupons` by their `coupon_key()`."""
    ordered = sorted(touches, key=lambda touch: (touch.at_ms, touch.sequence))
    excluded: dict[str, str] = {}
    coupon = _coupon_touch(conversion, rules, coupons or {}, excluded)
    if coupon is not None and rules.coupon_policy == "override":
        return Outcome("coupon", (coupon,), excluded | {touch.id: "coupon_override" for touch in ordered})

    click = _named_click(conversion, ordered)
    pinned = click is not None and rules.pin == "click_id"
    if click is not None and pinned:
        path = _pinned(click, conversion, rules, ordered, excluded)
    else:
        if click is not None:
            conversion = _with_identity_of(click, conversion)
        path = _of_person(conversion, rules, ordered, links, excluded)
    path = _shortened(path, excluded)

    if coupon is not None:
        matched_by = "coupon" if not path else _key(conversion, pinned=pinned)
        return Outcome(matched_by, (*path, coupon), excluded)
    if path:
        return Outcome(_key(conversion, pinned=pinned), tuple(path), excluded)
    why = _why(conversion, excluded, known=click is not None, pinned=pinned)
    return Outcome("click_id" if pinned else "none", (), excluded, why)


def _key(conversion: Conversion, *, pinned: bool) -> str:
    if pinned:
        return "click_id"
    return "user" if conversion.user is not None else "device"


def _why(conversion: Conversion, excluded: Mapping[str, str], *, known: bool, pinned: bool) -> str:
    if pinned:
        return "click_not_eligible"
    if any(reason != "other_person" for reason in excluded.values()):
        return "none_eligible"
    return "click_unknown" if conversion.click_id is not None and not known else "no_touch"


# ------------------------------------------------------------------ coupons and named clicks


def _coupon_touch(
    conversion: Conversion, rules: Rules, coupons: Mapping[str, Coupon], excluded: dict[str, str]
) -> Touch | None:
    """The touch of the first code on the order that belongs to a channel. Unknown codes change nothing."""
    if rules.coupon_policy == "ignore":
        return None
    for written in conversion.coupons:
        coupon = coupons.get(coupon_key(written))
        if coupon is None:
            continue
        if coupon.ambassador is not None and coupon.ambassador == conversion.ambassador:
            excluded[f"coupon:{coupon.code}"] = "own_order"
            continue
        return Touch(
            id=f"coupon:{coupon.code}",
            sequence=-1,
            at_ms=conversion.at_ms,
            kind="coupon",
            channel=coupon.channel,
            consent=True,
            ambassador=coupon.ambassador,
        )
    return None


def _named_click(conversion: Conversion, ordered: Sequence[Touch]) -> Touch | None:
    if conversion.click_id is None:
        return None
    return next((touch for touch in ordered if touch.click_id == conversion.click_id), None)


def _with_identity_of(click: Touch, conversion: Conversion) -> Conversion:
    """A click the conversion names says whose it is, where the conversion does not say so itself."""
    if conversion.device is not None and conversion.user is not None:
        return conversion
    return msgspec.structs.replace(
        conversion,
        device=conversion.device if conversion.device is not None else click.device,
        user=conversion.user if conversion.user is not None else click.user,
    )


def _pinned(
    click: Touch, conversion: Conversion, rules: Rules, ordered: Sequence[Touch], excluded: dict[str, str]
) -> list[Touch]:
    excluded |= {touch.id: "pinned_elsewhere" for touch in ordered if touch is not click}
    reason = _unfit(click, conversion, rules)
    if reason is None:
        return [click]
    excluded[click.id] = reason
    return []


# ------------------------------------------------------------------ the person's touches


def _of_person(
    conversion: Conversion,
    rules: Rules,
    ordered: Sequence[Touch],
    links: Iterable[IdentityLink],
    excluded: dict[str, str],
) -> list[Touch]:
    devices = _devices(conversion, links)
    path = []
    for touch in ordered:
        reason = _unfit(touch, conversion, rules) if _belongs(touch, conversion, devices) else "other_person"
        if reason is None:
            path.append(touch)
        else:
            excluded[touch.id] = reason
    path = _without_views(path, rules, excluded)
    if rules.direct_policy == "ignore_unless_only" and any(touch.kind != DIRECT for touch in path):
        excluded |= {touch.id: "direct_ignored" for touch in path if touch.kind == DIRECT}
        path = [touch for touch in path if touch.kind != DIRECT]
    return path


def _devices(conversion: Conversion, links: Iterable[IdentityLink]) -> Collection[str]:
    """Devices whose touches belong where no user is known: the conversion's own and those linked to its user by then."""
    devices = {conversion.device} if conversion.device is not None else set()
    if conversion.user is not None:
        devices |= {link.device for link in links if link.user == conversion.user and link.at_ms <= conversion.at_ms}
    return devices


def _belongs(touch: Touch, conversion: Conversion, devices: Collection[str]) -> bool:
    if conversion.user is not None and touch.user is not None:
        return touch.user == conversion.user
    return touch.device in devices


def _unfit(touch: Touch, conversion: Conversion, rules: Rules) -> str | None:
    """The first reason of a touch's own, None when it has none."""
    age_ms = conversion.at_ms - touch.at_ms
    window_ms = rules.view_window_ms if touch.kind == "view" else rules.click_window_ms
    previous_ms = conversion.previous_at_ms if rules.reset_after_conversion else None
    if touch.bot:
        return "bot"
    if touch.test and not conversion.test:
        return "test"
    if touch.duplicate_of is not None:
        return "duplicate"
    if not touch.consent:
        return "no_consent"
    if touch.own_domain:
        return "own_domain"
    if touch.ambassador is not None and touch.ambassador == conversion.ambassador:
        return "own_order"
    if age_ms < 0:
        return "after_conversion"
    if age_ms > window_ms:
        return "outside_window"
    if previous_ms is not None and touch.at_ms <= previous_ms:
        return "before_previous_conversion"
    return None


def _without_views(path: list[Touch], rules: Rules, excluded: dict[str, str]) -> list[Touch]:
    if rules.view_policy == "always":
        return path
    if rules.view_policy == "never":
        reason = "views_off"
    elif any(touch.kind in CLICKS for touch in path):
        reason = "view_superseded"
    else:
        return path
    excluded |= {touch.id: reason for touch in path if touch.kind == "view"}
    return [touch for touch in path if touch.kind != "view"]


def _shortened(path: list[Touch], excluded: dict[str, str]) -> list[Touch]:
    """Of a very long path the first touch and the newest ones, so that the work for one conversion has a bound."""
    if len(path) <= PATH_MAX:
        return path
    left_out = len(path) - PATH_MAX + 1
    excluded |= {touch.id: "path_full" for touch in path[1:left_out]}
    return [path[0], *path[left_out:]]
