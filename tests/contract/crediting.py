"""Clicks, conversions, decisions and adjustments as the tests of stores make them."""

from typing import Any

import msgspec

from gateway.event import ConversionClaim, Recordable, Submission, Touch
from gateway.stores.contract import Store
from gateway.stores.contract_credit import (
    AdjustmentApplied,
    AdjustmentRow,
    AttributionRow,
    Credit,
    GoalDay,
)
from tests.contract.test_store_contract import DAY, NOW, event, numbers, one

ME, OTHER, PERSON = b"v" * 16, b"o" * 16, b"p" * 16
TODAY = NOW // DAY
WHOLE = 1_000_000_000
EVER = (0, 1 << 53)


def sale(
    order_id: str | None = "A1",
    *,
    amount: int | None = 1000,
    goal: str = "purchase",
    key: str | None = None,
    event_id: str | None = None,
    visitor: bytes | None = ME,
    person: bytes | None = None,
    at: int = NOW,
    received: int | None = None,
    strict: bool = False,
    site: str = "shop",
    currency: str | None = "EUR",
    **claimed: Any,
) -> Submission:
    row = event(event_id, site=site, name=goal, key=visitor)
    row = msgspec.structs.replace(row, occurred_at_ms=at, received_at_ms=at if received is None else received)
    key = key or (f"o:{order_id}" if order_id else f"e:{row.event_id}")
    claim = ConversionClaim(goal, key, order_id, amount, currency if amount is not None else None, **claimed)
    return Submission((Recordable(event=row, conversion=claim, person_key=person, strict=strict),))


async def counted(store: Store, *args: Any, **how: Any) -> str:
    recorded = await one(store, sale(*args, **how))
    assert recorded.fate == "counted"
    assert recorded.conversion_id is not None
    return recorded.conversion_id


def click(visitor: bytes | None = ME, at: int = NOW, click_id: str | None = None, **changes: Any) -> Touch:
    made = Touch(
        "click", at, visitor, None, None, None, channel="social", source="x", medium="social", link_id="link1",
        campaign_id="camp1", ambassador_id="amb1", click_id=click_id or f"click-{next(numbers):016}", device="mobile",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def landing(touch: Touch, *, visitor: bytes | None = ME, person: bytes | None = None) -> Submission:
    row = msgspec.structs.replace(event(key=visitor), occurred_at_ms=touch.occurred_at_ms)
    return Submission((Recordable(event=row, touch=touch, person_key=person),))


def share(e9: int, amount: int | None, *, position: int = 0, net: int | None = -1, **changes: Any) -> Credit:
    made = Credit(
        position=position, touch_no=position + 1, kind="click", at_ms=NOW, channel="social", source="x", medium="social",
        campaign_name="", link_id="link1", campaign_id="camp1", ambassador_id="amb1", variant="", device="mobile",
        landing="/", share_e9=e9, amount_minor=amount, net_minor=amount if net == -1 else net,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def decision(conversion_id: str, *credits: Credit, version: int = 1, at: int = NOW, **changes: Any) -> AttributionRow:
    made = AttributionRow(
        conversion_id=conversion_id, version=version, model="last_touch", model_version=1, goal_version=0,
        matched_by="visitor", why=None if credits else "no_touch", path=" > ".join(c.channel for c in credits),
        seconds=60 if credits else None, first_of_person=True, computed_at_ms=at, excluded=b"{}", credits=credits,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def adjustment(adjustment_id: str = "adj-1", conversion_id: str | None = None, **changes: Any) -> AdjustmentRow:
    made = AdjustmentRow(
        adjustment_id=adjustment_id, conversion_id=conversion_id, goal="purchase", order_id="A1", kind="refund",
        amount_minor=300, currency="EUR", reason="returned", at_ms=NOW, received_at_ms=NOW, trust="signed",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def applied(net: int | None, known: int = 1, fate: str = "counted", reason: str = "adjusted") -> AdjustmentApplied:
    return AdjustmentApplied(fate=fate, reason=reason, net_minor=net, known=known)


async def goal_sum(store: Store, site: str = "shop") -> GoalDay:
    (row,) = await store.goal_days(site, 0, 1 << 40, ())
    return row


def goal_row(**changes: Any) -> GoalDay:
    zeros = dict.fromkeys(GoalDay.__struct_fields__[3:], 0)
    return GoalDay(0, "", "", **{**zeros, **changes})
