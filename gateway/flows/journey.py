"""Journey: one conversion with everything that led to it, and why its credit is what it is. A value for people and JSON.

Touches stand in the order of time: those on the path with what they earned, the others with the reason why not. Touches that
were recorded after the decision are told apart: they count once somebody has the conversion decided again. Between them
stand the events of the visit, up to the conversion and what changed it afterwards.
"""

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from gateway.attribution.channels import CHANNELS
from gateway.attribution.journeys import TouchPath
from gateway.attribution.registry import model_of
from gateway.attribution.touches import EXCLUSIONS, KINDS, UNATTRIBUTED
from gateway.catalogue import Goal
from gateway.conversions.claims import VALUE_SOURCES
from gateway.errors import Refusal
from gateway.flows.credit import (
    WHOLE_E9,
    Milestones,
    goal_of,
    headline_model,
    milestones_of,
    rules_of,
    shares_of,
    split_of,
)
from gateway.flows.gather import CONTACTS_MAX, Gathered, gather
from gateway.flows.journey_steps import money_text, timeline, value_history, visit_events
from gateway.flows.shelves import Shelf
from gateway.outcome import REASONS
from gateway.times import DAY_MS, utc_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from gateway.attribution.registry import Model
    from gateway.flows.house import House
    from gateway.stores.contract_credit import AttributionRow, Contact, CountedConversion, Credit

__all__ = ["find", "head", "journey", "named", "summary", "winner_of"]

_LATE: Final = "The touch was recorded after this decision; it counts once the conversion is decided again."
_UNDECIDED: Final = "The conversion is not decided yet."
_MATCHED: Final[dict[str, str]] = {
    "coupon": "by the coupon on the order",
    "click_id": "by the click that the conversion names",
    "user": "by the person, on all devices they were seen on",
    "device": "by the visitor's browser",
    "none": "by nothing",
}

_read_excluded: Final = msgspec.json.Decoder(dict[str, str]).decode


_ORDER: Final = "order:"


async def find(house: "House", conversion_id: str, site: str | None) -> "CountedConversion":
    """Return a conversion of a site, or of whichever site has it, by its id or by `order:` and the number of its order.

    Of an order with several goals it is the one that was counted first. Raises Refusal `site_unknown`,
    `conversion_unknown`.
    """
    if site is not None and site not in house.by_id:
        raise Refusal("site_unknown")
    order_id = conversion_id.removeprefix(_ORDER) if conversion_id.startswith(_ORDER) else None
    for one in (site,) if site is not None else house.by_id:
        if order_id is not None:
            of_order = await house.store.conversions_of_order(one, unquote(order_id)[:64])
            if of_order:
                return min(of_order, key=lambda found: (found.received_at_ms, found.conversion_id))
            continue
        counted = await house.store.conversion(one, conversion_id[:96])
        if counted is not None:
            return counted
    raise Refusal("conversion_unknown")


async def journey(
    house: "House", counted: "CountedConversion", *, version: int | None = None, model: str | None = None
) -> dict[str, object]:
    """Everything about one conversion, as of its newest decision or an older one.

    `model` shows the path of that decision under another model; nothing is stored. Raises Refusal `field_invalid` at
    `version` where there is no such decision, at `model` where no model of this id credits single conversions.
    """
    shelf = house.shelves.get(counted.site) or Shelf(counted.site, house.store)
    goal = await goal_of(house, shelf, counted)
    row = await house.store.attribution(counted.conversion_id, version)
    if row is None and version is not None:
        raise Refusal("field_invalid", "version")
    stored = row
    if model is not None:
        row = await _under(house, shelf, counted, row, model)
    gathered = await gather(house.store, shelf, counted)
    touches = await _touches(shelf, counted, gathered, row)
    adjustments = await house.store.adjustments_of(counted.site, counted.conversion_id)
    record = await house.store.event(counted.event_id, counted.site)
    credited = [one.at_ms for one in row.credits] if row is not None else []
    begun_ms = min(credited or [at_ms for at_ms, _ in touches], default=counted.occurred_at_ms - DAY_MS)
    visit = await visit_events(house, counted, gathered.visitors, begun_ms)
    credit = _credit(counted, goal, row, stored)
    credit["candidates"] = len(touches)
    credit["winner"] = next((touch for _, touch in touches if touch.get("winner")), None)
    return {
        **head(counted),
        "goal_name": goal.name,
        "goal_type": goal.type if goal.id else None,
        "campaign": await named(shelf, "campaign", counted.campaign_id),
        "credit": credit,
        "rules": _rules(goal),
        "touches": [touch for _, touch in touches],
        "events": visit,
        "timeline": timeline(counted, [touch for _, touch in touches], visit, adjustments),
        "value_history": value_history(counted, adjustments),
        "deliveries": [
            {
                "destination": delivery.destination,
                "fate": delivery.fate,
                "reason": delivery.reason,
                "because": REASONS[delivery.reason].sentence,
                "attempts": delivery.attempts,
                "settled_at": utc_text(delivery.settled_at_ms) if delivery.settled_at_ms is not None else None,
            }
            for delivery in (record.deliveries if record is not None else ())
        ],
    }


# ------------------------------------------------------------------ the conversion itself


def head(counted: "CountedConversion") -> dict[str, object]:
    """What a conversion is, without where its credit went. Money is decimal text of major units."""
    return {
        "conversion_id": counted.conversion_id,
        "site": counted.site,
        "event_id": counted.event_id,
        "goal": counted.goal,
        "goal_version": counted.goal_version,
        "order_id": counted.order_id,
        "occurred_at": utc_text(counted.occurred_at_ms),
        "received_at": utc_text(counted.received_at_ms),
        "source_trust": counted.trust,
        "value": money_text(counted.amount_minor, counted.currency),
        "net_value": money_text(counted.net_minor, counted.currency),
        "currency": counted.currency,
        "value_source": counted.value_source,
        "value_because": VALUE_SOURCES[counted.value_source],
        "fate": counted.fate,
        "because": REASONS[counted.reason].sentence if counted.reason in REASONS else None,
        "test": counted.test,
        "click_id": counted.click_id,
        "coupons": list(counted.coupons),
    }


async def named(shelf: Shelf, kind: str, entry_id: str) -> dict[str, str] | None:
    """Id, code and name of a campaign, link or ambassador, for people; None where there is none."""
    if not entry_id:
        return None
    if kind == "link":
        link = await shelf.link_by_id(entry_id)
        return {"id": entry_id, "code": link.code if link else "", "name": link.title if link else ""}
    entry = (shelf.campaigns if kind == "campaign" else shelf.ambassadors).get(entry_id)
    return {"id": entry_id, "code": entry.code if entry else "", "name": entry.name if entry else ""}


# ------------------------------------------------------------------ the decision


def winner_of(row: "AttributionRow | None") -> "Credit | None":
    """The touch with the largest share, the newest of equals; None where nobody is credited.

    Equal shares may differ by the one billionth that is left over when they are made to sum to a whole.
    """
    if row is None or not row.credits:
        return None
    largest = max(one.share_e9 for one in row.credits)
    return next(one for one in reversed(row.credits) if one.share_e9 >= largest - 1)


def _credit(
    counted: "CountedConversion", goal: Goal, row: "AttributionRow | None", stored: "AttributionRow | None"
) -> dict[str, object]:
    if row is None:
        waits = counted.fate != "duplicate"
        return {"state": "waiting" if waits else "duplicate", "notes": [_UNDECIDED] if waits else []}
    model = model_of(row.model)
    return {
        "state": "credited" if row.credits else "unattributed",
        "version": row.version,
        "newest_version": counted.credit_version,
        "computed_at": utc_text(row.computed_at_ms),
        "stored": row is stored,
        "model": row.model,
        "model_title": model.title if model is not None else row.model,
        "model_version": row.model_version,
        "matched_by": row.matched_by,
        "matched_because": _MATCHED.get(row.matched_by, row.matched_by),
        "why": row.why,
        "because": UNATTRIBUTED.get(row.why) if row.why is not None else None,
        "path": row.path,
        "seconds_to_convert": row.seconds,
        "first_of_person": row.first_of_person,
        "notes": _notes(counted, goal, row, stored),
    }


def _notes(
    counted: "CountedConversion", goal: Goal, row: "AttributionRow", stored: "AttributionRow | None"
) -> list[str]:
    notes = []
    if row is not stored and stored is not None:
        notes.append(f"Shown under another model; the credit that is stored was given by {stored.model}.")
    elif goal.model != row.model and headline_model(goal).id != goal.model:
        notes.append(
            f"The goal's model {goal.model} looks at many journeys at once and is for reports; "
            f"one conversion is credited by {row.model}."
        )
    if row.version < counted.credit_version:
        notes.append(f"An older decision; the newest is version {counted.credit_version}.")
    if counted.campaign_id and not any(one.campaign_id == counted.campaign_id for one in row.credits):
        notes.append(
            "The conversion names a campaign of which no touch may be credited. A name alone earns nothing; it is shown here."
        )
    if counted.test:
        notes.append("A test: it is in no report.")
    return notes


async def _under(
    house: "House", shelf: Shelf, counted: "CountedConversion", row: "AttributionRow | None", asked: str
) -> "AttributionRow | None":
    """The same path under another model."""
    model = model_of(asked) if len(asked) <= 64 else None
    if model is None or model.shares is None:
        raise Refusal("field_invalid", "model")
    if row is None:
        return None
    reached = await milestones_of(house, shelf, counted) if model.milestones else Milestones()
    shares = _shares(counted, row.credits, model, reached)
    parts = shares_of(shares) if shares else []
    amounts, nets = split_of(counted.amount_minor, shares), split_of(counted.net_minor, shares)
    credits = tuple(
        [
            msgspec.structs.replace(one, share_e9=part, amount_minor=amount, net_minor=net)
            for one, part, amount, net in zip(row.credits, parts, amounts, nets, strict=True)
        ]
    )
    return msgspec.structs.replace(row, model=model.id, model_version=model.version, credits=credits)


def _shares(
    counted: "CountedConversion", credits: "Sequence[Credit]", model: "Model", reached: Milestones
) -> "Sequence[Fraction]":
    at_ms, lead_ms, opportunity_ms = counted.occurred_at_ms, reached.lead_at_ms, reached.opportunity_at_ms
    path = TouchPath(
        tuple([one.channel for one in credits]),
        tuple([at_ms - one.at_ms for one in credits]),
        at_ms - lead_ms if lead_ms is not None else None,
        at_ms - opportunity_ms if opportunity_ms is not None else None,
    )
    return model.shares(path) if model.shares is not None else ()


def _rules(goal: Goal) -> dict[str, object]:
    """What the goal said when the conversion was counted. Windows are elapsed time from the touch, in whole days."""
    rules = rules_of(goal)
    return {
        "click_window_days": rules.click_window_ms // DAY_MS,
        "view_window_days": rules.view_window_ms // DAY_MS,
        "view_policy": rules.view_policy,
        "direct_policy": rules.direct_policy,
        "coupon_policy": rules.coupon_policy,
        "pin": rules.pin,
        "reset_after_conversion": rules.reset_after_conversion,
        "model": goal.model,
    }


# ------------------------------------------------------------------ touches


async def _touches(
    shelf: Shelf, counted: "CountedConversion", gathered: Gathered, row: "AttributionRow | None"
) -> list[tuple[int, dict[str, object]]]:
    """Every touch with its time, oldest first: credited, left out, or not looked at yet."""
    found: list[tuple[int, dict[str, object]]] = []
    winner = winner_of(row)
    for one in row.credits if row is not None else ():
        shown = await _label(shelf, one.kind, one.at_ms, counted, one)
        shown |= {
            "touch": one.touch_no,
            "position": one.position,
            "share": one.share_e9 / WHOLE_E9,
            "value": money_text(one.amount_minor, counted.currency),
            "net_value": money_text(one.net_minor, counted.currency),
            "winner": one is winner,
        }
        found.append((one.at_ms, shown))
    excluded = _read_excluded(row.excluded) if row is not None else {}
    for touch_id, reason in excluded.items():
        contact = gathered.contacts.get(int(touch_id)) if touch_id.isdigit() else None
        found.append(await _left_out(shelf, counted, touch_id, contact, reason))
    decided = {one.touch_no for one in row.credits} | {int(one) for one in excluded if one.isdigit()} if row else set()
    for number, contact in gathered.contacts.items():
        if number in decided:
            continue
        shown = await _label(shelf, contact.kind, contact.occurred_at_ms, counted, contact)
        because = _LATE if row is not None else _UNDECIDED
        found.append((contact.occurred_at_ms, {**shown, "touch": number, "late": row is not None, "because": because}))
    return sorted(found, key=lambda pair: pair[0])[-CONTACTS_MAX:]


async def _left_out(
    shelf: Shelf, counted: "CountedConversion", touch_id: str, contact: "Contact | None", reason: str
) -> tuple[int, dict[str, object]]:
    why = {"touch": int(touch_id) if touch_id.isdigit() else None, "excluded": reason, "because": EXCLUSIONS[reason]}
    if contact is not None:
        shown = await _label(shelf, contact.kind, contact.occurred_at_ms, counted, contact)
        if contact.human != "yes":
            why["human"] = contact.human
            why["human_reason"] = contact.human_reason
        return contact.occurred_at_ms, {**shown, **why}
    kind = "coupon" if touch_id.startswith("coupon:") else None
    at_ms = counted.occurred_at_ms
    # A touch that is stored no more, or whose person was erased: its number and the reason are what is left.
    return at_ms, {"at": utc_text(at_ms) if kind is not None else None, "kind": kind, **why}


async def _label(
    shelf: Shelf, kind: str, at_ms: int, counted: "CountedConversion", one: "Contact | Credit"
) -> dict[str, object]:
    channel = CHANNELS.get(one.channel)
    return {
        "at": utc_text(at_ms),
        "seconds_before": (counted.occurred_at_ms - at_ms) // 1_000,
        "kind": kind,
        "kind_because": KINDS.get(kind),
        "channel": one.channel,
        "channel_title": channel.title if channel is not None else one.channel,
        "source": one.source,
        "medium": one.medium,
        "campaign_name": one.campaign_name,
        "campaign": await named(shelf, "campaign", one.campaign_id),
        "link": await named(shelf, "link", one.link_id),
        "ambassador": await named(shelf, "ambassador", one.ambassador_id),
        "variant": one.variant,
        "device": one.device,
        "landing": one.landing,
    }


async def summary(house: "House", site: str, conversion_id: str) -> dict[str, object]:
    """Where the credit of one conversion went, in short: state, version, model, the winner, or why there is none."""
    row = await house.store.attribution(conversion_id)
    if row is None:
        return {"state": "waiting"}
    shelf = house.shelves.get(site) or Shelf(site, house.store)
    winner = winner_of(row)
    return {
        "state": "credited" if row.credits else "unattributed",
        "version": row.version,
        "model": row.model,
        "matched_by": row.matched_by,
        "path": row.path,
        "why": row.why,
        "because": UNATTRIBUTED.get(row.why) if row.why is not None else None,
        "seconds_to_convert": row.seconds,
        "first_of_person": row.first_of_person,
        "touches": len(row.credits),
        "winner": None
        if winner is None
        else {
            "touch": winner.touch_no,
            "at": utc_text(winner.at_ms),
            "kind": winner.kind,
            "share": winner.share_e9 / WHOLE_E9,
            "channel": winner.channel,
            "source": winner.source,
            "medium": winner.medium,
            "campaign_name": winner.campaign_name,
            "campaign": await named(shelf, "campaign", winner.campaign_id),
            "link": await named(shelf, "link", winner.link_id),
            "ambassador": await named(shelf, "ambassador", winner.ambassador_id),
            "device": winner.device,
        },
    }
