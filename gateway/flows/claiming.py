"""Claiming: which goal an event counts for, what it is worth, and what makes it the same as an earlier one.

    goal       of the catalogue: the one the event names, else the one of the event's own name; else a conversion is what
               was sent as one, names a goal, or stands in the site's `conversion_events`. A page names only goals that
               somebody set up: any other name makes no goal of its own, and the event is kept with GOAL_UNKNOWN
    campaign   named by its code: it must be known, and its conversion tracking switched on
    page       where goal or campaign name domains, a browser's conversion must come from a page of theirs
    value      what the event says, 0 included; else the goal's default
    key        what may count once: the order or event, or, for goals that count less, the person or the click

A conversion that nobody clicked for is kept like any other: attribution says afterwards why it is credited to nobody.
Domains keep pages of strangers out; they authenticate nobody, so nothing is asked of server calls.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway import access, conversions
from gateway.catalogue import Campaign, Goal
from gateway.conversions.goals import PRESETS, goal_for
from gateway.errors import Refusal
from gateway.event import ConversionClaim
from gateway.purposes import ADVERTISING, ANALYTICS, Step

if TYPE_CHECKING:
    from gateway.event import Judged, Received
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.shelves import Shelf
    from gateway.purposes import Judgement

__all__ = ["DROPPED", "GOAL_UNKNOWN", "UNCLAIMED", "Claimed", "check_page", "claim_of", "names_unknown_goal"]

DROPPED: Final = frozenset({"campaign_unknown", "campaign_tracking_off"})
"""Refusals by which a browser's event is left out, with the code in a header, while the rest of its request is taken."""

GOAL_UNKNOWN: Final = "goal_unknown"
"""Mark of an event whose goal nobody set up. A page's is no conversion then; a caller's with a key is counted, and told."""

_TRACKED: Final = ADVERTISING | ANALYTICS


class Claimed(msgspec.Struct, frozen=True):
    """The claim of an event, None when it is no conversion, with the goal of the catalogue it counts for, if there is one.

    `marks`: `call_too_short` where a call did not last long enough to count.
    """

    claim: ConversionClaim | None = None
    goal: Goal | None = None
    marks: tuple[str, ...] = ()


UNCLAIMED: Final = Claimed()


def claim_of(
    house: "House",
    rooms: "SiteRooms",
    judged: "Judged",
    *,
    person_key: bytes | None = None,
    sender: str | None = None,
    key: str | None = None,
) -> Claimed:
    """Make the claim of a judged event. `sender` is the Origin or Referer it came with; `key` overrides what counts once.

    Raises Refusal: those of DROPPED, and `domain_not_allowed`.
    """
    received = judged.received
    shelf = house.shelves.get(rooms.id)
    goal = goal_for(received.name, received.goal, shelf.goals) if shelf is not None else None
    counts = goal is not None or (
        conversions.is_conversion(received, rooms.conversion_events)
        and not (received.trust == "browser" and names_unknown_goal(house, rooms, received))
    )
    if not counts and received.campaign_code is None:
        return UNCLAIMED
    campaign = _campaign(shelf, received)
    if not counts:
        return UNCLAIMED
    if campaign is not None:
        if not campaign.tracking:
            raise Refusal("campaign_tracking_off", "campaign")
        _check_sender(received, campaign.domains, sender)
    if goal is not None:
        _check_sender(received, goal.domains, sender)
        if _is_short_call(goal, received):
            return Claimed(None, goal, ("call_too_short",))
    claim = conversions.claim(received, goal, click_id=_click_id(judged), coupons=received.coupons)
    version = shelf.version("goal", goal.id) if goal is not None and shelf is not None else 0
    counted_by = key or (_key_of(goal, judged, claim.click_id, person_key) if goal is not None else None)
    if received.test:
        counted_by = f"{counted_by or claim.key}\x1ftest"  # a rehearsal takes nothing away from what counts
    if counted_by is not None or version or campaign is not None:
        claim = msgspec.structs.replace(
            claim,
            key=counted_by or claim.key,
            goal_version=version,
            campaign_id=campaign.id if campaign is not None else "",
        )
    return Claimed(claim, goal)


def names_unknown_goal(house: "House", rooms: "SiteRooms", received: "Received") -> bool:
    """Whether the goal of a conversion was never set up: no goal of the catalogue, of `conversion_events` or of a preset.

    The goal is the one it names; of one that was sent as a conversion and names none, its own name. A preset that the
    site put away is none any more.
    """
    code = received.goal if received.goal is not None or not received.conversion else received.name
    if code is None or code in rooms.conversion_events:
        return False
    shelf = house.shelves.get(rooms.id)
    if shelf is None:
        return code not in PRESETS
    if code in shelf.goals:
        return False
    return code not in PRESETS or any(goal.code == code for goal in shelf.goals_by_id.values())


def _campaign(shelf: "Shelf | None", received: "Received") -> Campaign | None:
    """The campaign an event names. A wrong code is said, never passed over: somebody looks for these conversions."""
    code = received.campaign_code
    if code is None:
        return None
    campaign = shelf.campaigns_by_code.get(code.lower()) if shelf is not None else None
    if campaign is None:
        raise Refusal("campaign_unknown", "campaign")
    return campaign


# ------------------------------------------------------------------ pages


def check_page(domains: tuple[str, ...], page: str) -> None:
    """Raise Refusal `domain_not_allowed` unless a page, or an origin, is of one of the domains or a subdomain of one."""
    if not access.allowed_domain(access.origin_host(page), domains):
        raise Refusal("domain_not_allowed")


def _check_sender(received: "Received", domains: tuple[str, ...], sender: str | None) -> None:
    """Where domains are named, a browser's conversion comes from a page of theirs.

    A browser that names no page in its headers was let in by the site's own rule; then the address in the event is all
    there is to go by.
    """
    page = sender or received.url
    if domains and received.trust == "browser" and page is not None:
        check_page(domains, page)


# ------------------------------------------------------------------ what counts, and once


def _is_short_call(goal: Goal, received: "Received") -> bool:
    """Whether an event of a call goal tells of a call that was missed or too short. One that tells no length counts."""
    if goal.type != "call":
        return False
    length_s = received.props.get("duration_s")
    if received.props.get("answered") is False:
        return True
    return isinstance(length_s, int | float) and not isinstance(length_s, bool) and length_s < goal.call_min_s


def _click_id(judged: "Judged") -> str | None:
    """The click a conversion names. It was issued under consent; whoever refused since is not followed by it any more."""
    click_id = judged.received.click_id
    return None if click_id is None or _refused(judged.judgement) & _TRACKED == _TRACKED else click_id


def _refused(judgement: "Judgement") -> int:
    """Purposes somebody said no to. What only silence leaves out is not among them."""
    refused = 0
    for ruling in judgement.rulings:
        if not ruling.granted and ruling.step != Step.REGIME_DEFAULT:
            refused |= ruling.purposes
    return refused


def _key_of(goal: Goal, judged: "Judged", click_id: str | None, person_key: bytes | None) -> str | None:
    """What may count once for a goal that counts less than every conversion; None where nobody can be told apart."""
    if goal.count == "every":
        return None
    if goal.count == "one_per_click" and click_id is not None:
        return f"k:{click_id}"
    person = person_key or judged.visitor.key
    return f"p:{person.hex()}" if person is not None else None
