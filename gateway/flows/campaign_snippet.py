"""Campaign snippet: the ready-made code for a campaign's conversions, filled in, and where it belongs.

Three pieces, each for another need: the automatic one records as the page loads, the manual one when it is called, the
image works without script.
"""

from html import escape
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.catalogue import Campaign
from gateway.errors import Refusal
from gateway.flows.catalogue_reading import entry_of
from gateway.protocols.catalogue_wire import record_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["snippet"]

PLACES: Final = (
    "Put it only on the page that is shown after the action: order confirmation, thank-you page, page after a form. "
    "On any other page it would count visits as conversions.\n"
    "On that page it stands in place of the plain script element of the gateway, not beside it: one element a page.\n"
    "A reload, or the back button, does not record the conversion again. With an order id it is counted once, whatever "
    "happens.\n"
    "Where the amount is known, add data-value, data-currency and data-order-id to the automatic element.\n"
    "The manual element goes on the pages where the action happens; call conversionDone when it is complete.\n"
    "The image is for pages without script. It records whenever it is loaded, so add order_id to its address."
).split("\n")


async def snippet(house: "House", rooms: "SiteRooms", campaign_id: str, goal: str | None = None) -> dict[str, object]:
    """Show the snippet of a campaign for a goal, by default the first the site has, purchases before others.

    `automatic`, `manual` and `image` are HTML to paste; `places` says where; `domains` whose pages may send; `note` is what
    keeps conversions from being taken, None when nothing does. Raises Refusal `entry_unknown`, `goal_unknown`; StoreError.
    """
    campaign = record_of(await entry_of(house, rooms, "campaign", campaign_id))
    if not isinstance(campaign, Campaign):
        raise Refusal("entry_unknown")
    shelf = house.shelves[rooms.id]
    known = tuple(dict.fromkeys((*rooms.site.conversion_events, *shelf.goals)))
    if goal is None:
        goal = "purchase" if "purchase" in known or not known else known[0]
    elif goal not in known:
        raise Refusal("goal_unknown", "goal")
    host = rooms.site.hosts[0]
    return {
        "campaign": {"id": campaign.id, "code": campaign.code, "tracking": campaign.tracking},
        "goal": goal,
        "automatic": _script(host, {"data-campaign": campaign.code, "data-event": goal}),
        "manual": _script(host, {"data-campaign": campaign.code, "data-mode": "manual"}) + "\n" + _call(campaign, goal),
        "image": f'<noscript><img src="https://{escape(host)}/p.gif?name={goal}&amp;campaign={escape(campaign.code)}" '
        'width="1" height="1" alt=""></noscript>',
        "places": PLACES,
        "domains": list(campaign.domains or rooms.domains),
        "note": _note(campaign),
    }


def _script(host: str, attributes: dict[str, str]) -> str:
    said = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f'<script defer src="https://{escape(host)}/gw.js"{said}></script>'


def _call(campaign: Campaign, goal: str) -> str:
    """Two lines of script: the name takes calls before the script has loaded."""
    name = msgspec.json.encode(goal).decode()
    code = msgspec.json.encode(campaign.code).decode()
    return (
        "<script>\n"
        "  window.gateway = window.gateway || [];\n"
        "  // Call this when the action is complete:\n"
        f'  function conversionDone() {{ gateway.push(["track", {name}, {{ campaign: {code} }}]); }}\n'
        "</script>"
    )


def _note(campaign: Campaign) -> str | None:
    if campaign.archived:
        return "The campaign is archived: conversions that name it are refused."
    if not campaign.tracking:
        return (
            "Conversion tracking of this campaign is off: conversions that name it are refused until it is turned on."
        )
    return None
