"""What the owner's systems are told of a counted conversion: a JSON body, or a postback made from a template (pure).

The body is `conversion.tracked`. Its first seven keys are those of a link tracker's guide, and never fewer; the others
are ours. Ids are text. A template is an address with macros, such as `https://t.example/pb?cid={clickid}&sum={payout}`:
each macro becomes its value, percent-encoded; a macro that is unknown or has no value becomes nothing. Macros stand in the
path and the query only, so that no value decides where something is sent.

Source: reference guide of link conversion tracking (outgoing notification); macros as trackers name them.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.money import major_text
from gateway.times import SECOND_MS, utc_text

__all__ = ["EVENT", "MACROS", "Notice", "body_of", "fill", "is_template", "macros_of"]

EVENT: Final = "conversion.tracked"

MACROS: Final = ("clickid", "payout", "currency", "txid", "status", "goal", "time", *(f"sub{n}" for n in range(1, 11)))
"""Macros of a template. `time` is Unix time in seconds, `payout` a decimal number of major units."""

_MACRO: Final = re.compile(r"\{([^{}]*)\}")
_FRONT: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{}]*")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A counted conversion, as it is told. None where it is not known, or where consent does not let it be told.

    `goal` is the goal's code. `value_source` says whether the amount is the conversion's own (`event`), the goal's
    (`default`) or missing (`none`). `status` is what trackers call it. `subs` are the texts of `sub1` to `sub10`.
    """

    conversion_id: str
    occurred_at_ms: int
    goal: str
    link_id: str | None = None
    click_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    value_source: str = "event"
    order_id: str | None = None
    event_id: str | None = None
    campaign_id: str | None = None
    ambassador_id: str | None = None
    status: str = "sale"
    test: bool = False
    subs: tuple[str, ...] = ()


def body_of(notice: Notice) -> bytes:
    """Build the JSON body. `value` is a JSON number with the exact digits of the amount, null when there is none."""
    amount = _amount(notice)
    return msgspec.json.encode(
        {
            "event": EVENT,
            "conversion_id": notice.conversion_id,
            "link_id": notice.link_id,
            "click_id": notice.click_id,
            "value": msgspec.Raw(amount.encode("ascii")) if amount else None,
            "currency": notice.currency,
            "timestamp": utc_text(notice.occurred_at_ms),
            "goal": notice.goal,
            "value_source": notice.value_source,
            "order_id": notice.order_id,
            "event_id": notice.event_id,
            "campaign_id": notice.campaign_id,
            "ambassador_id": notice.ambassador_id,
            "status": notice.status,
            "test": notice.test,
        }
    )


def macros_of(notice: Notice) -> dict[str, str]:
    """Values of the macros that have one."""
    values = {
        "clickid": notice.click_id,
        "payout": _amount(notice),
        "currency": notice.currency,
        "txid": notice.order_id,
        "status": notice.status,
        "goal": notice.goal,
        "time": str(notice.occurred_at_ms // SECOND_MS),
        **{f"sub{number}": text for number, text in enumerate(notice.subs[:10], 1)},
    }
    return {name: value for name, value in values.items() if value}


def _amount(notice: Notice) -> str | None:
    if notice.amount_minor is None or notice.currency is None:
        return None
    return major_text(notice.amount_minor, notice.currency)


def is_template(address: str) -> bool:
    """Whether an address holds macros, and so is called with GET instead of being sent a body."""
    return _MACRO.search(address) is not None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill a template. Raises ValueError for one with a macro before its path, which no goal can be saved with."""
    front = _FRONT.match(template)
    if front is None or template[front.end() : front.end() + 1] not in ("", "/", "?", "#"):
        raise ValueError("a macro stands before the path")
    rest = _MACRO.sub(lambda macro: quote(values.get(macro[1], ""), safe=""), template[front.end() :])
    return template[: front.end()] + rest
