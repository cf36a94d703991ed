"""Goals and conversions in the shapes of a link tracker's guide, and postbacks as trackers and networks send them (pure).

Two sources of conversions end in one `Postback`: a JSON body with `value`, `currency`, `order_id`, `click_id`, and the
query of a postback or pixel, in which each tracker has names of its own for the same four things. A query may carry
parameters nobody here reads; their names are kept, so that the log of calls can show them. A macro that nobody filled in
is no value. Ids are text: an integer is taken as its digits.

Source: reference guide of link conversion tracking (goals, postback, pixel, metrics); docs.keitaro.io (statuses, `return`);
doc.voluum.com (postback).
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.catalogue import Goal
from gateway.errors import Refusal
from gateway.ids import is_caller_id
from gateway.money import EXPONENTS, AmountError, major_text, minor_from_major
from gateway.protocols import reading
from gateway.protocols.catalogue_fields import Making, looks_like_contact
from gateway.protocols.catalogue_wire import code_from_name
from gateway.times import DAY_MS

__all__ = [
    "ALIASES",
    "GOAL_TYPES",
    "STATUSES",
    "Figures",
    "Period",
    "Postback",
    "answer_goal",
    "answer_goals",
    "answer_metrics",
    "priced",
    "read_goal",
    "read_period",
    "read_query",
    "read_track",
    "read_track_with_token",
]

GOAL_TYPES: Final = ("purchase", "signup", "download", "custom")
"""Types of goals in this dialect; any other type of ours is told as `custom`."""

STATUSES: Final = ("lead", "sale", "rejected", "rebill")
"""What a tracker says of a conversion. `sale` when it says nothing."""

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "click_id": ("cid", "clickid", "click_id", "subid", "sub_id", "aff_sub", "transaction"),
    "order_id": ("order_id", "oid", "txid", "tid", "transaction_id", "external_id"),
    "value": ("value", "payout", "revenue", "amount"),
    "currency": ("currency",),
    "status": ("status", "et", "event", "goal"),
    "event_id": ("event_id",),
    "coupon": ("coupon",),
}
"""Field to its names in a query. The first that holds something wins."""

_MAPPINGS: Final = {f"{status}_status": status for status in STATUSES}
_EVENT_NAMES: Final = ALIASES["status"][1:]
_KNOWN: Final = frozenset(name for names in ALIASES.values() for name in names)

ID_MAX: Final = 64
CLICK_ID_MAX: Final = 128
QUERY_MAX: Final = 100
DAYS_DEFAULT: Final = 30

_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_MACRO: Final = re.compile(r"(?:\$?\{[^{}]*\}|\[[^\[\]]*\]|%[A-Za-z_]+%|<[^<>]*>)\Z")
_WORD: Final = re.compile(r"[a-z0-9_. -]{1,64}\Z")
_BODY: Final = re.compile(r"[A-Za-z0-9 ._=:-]{1,64}\Z")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}\Z")


# ------------------------------------------------------------------ goals


class _GoalBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=120)]
    goal_type: Literal["purchase", "signup", "download", "custom"] = "custom"
    value: msgspec.Raw | UnsetType = UNSET
    currency: str | None = None


class _GoalRequest(msgspec.Struct, forbid_unknown_fields=True):
    goal: _GoalBody


_read_goal: Final = reading.decoder(_GoalRequest)


def read_goal(body: bytes, making: Making) -> Goal:
    """Read `{"goal": {"name", "goal_type", "value", "currency"}}` as a new goal. Raises Refusal, fields as `goal.name`.

    Its code is made of its name. A click id that a postback names decides alone, as in this dialect.
    """
    said = reading.decode(_read_goal, body).goal
    name = said.name.strip()
    if not name or not name.isprintable():
        raise Refusal("field_invalid", "goal.name")
    if looks_like_contact(name):
        raise Refusal("field_personal", "goal.name")
    currency = _currency(said.currency, "goal.currency") or making.currency
    amount = _number(said.value, "goal.value") if isinstance(said.value, msgspec.Raw) else None
    return Goal(
        id=making.new_id(),
        code=code_from_name(name, making.new_code),
        name=name,
        type=said.goal_type,
        value_minor=_minor(amount, currency, "goal."),
        currency=currency,
        pin="click_id",
    )


def answer_goals(goals: Iterable[Goal]) -> bytes:
    """Answer the list of goals: `{"goals": [...]}`."""
    return msgspec.json.encode({"goals": [_goal(goal) for goal in goals]})


def answer_goal(goal: Goal, token: str | None = None) -> bytes:
    """Answer one goal: `{"goal": {...}}`. Its `postback_token` is told once, in the answer to making it."""
    shown = _goal(goal)
    if token is not None:
        shown["postback_token"] = token
    return msgspec.json.encode({"goal": shown})


def _goal(goal: Goal) -> dict[str, object]:
    value = None if goal.value_minor is None else major_text(goal.value_minor, goal.currency)
    return {
        "id": goal.id,
        "name": goal.name,
        "goal_type": goal.type if goal.type in GOAL_TYPES else "custom",
        "value": _exact(value),
        "currency": goal.currency or None,
        "code": goal.code,
        "attribution_window_days": goal.click_window_ms // DAY_MS,
        "postback_url": goal.notify_url or None,
    }


def _exact(text: str | None) -> msgspec.Raw | None:
    """A decimal text as a JSON number with the same digits."""
    return None if text is None else msgspec.Raw(text.encode("ascii"))


# ------------------------------------------------------------------ metrics


class Period(msgspec.Struct, frozen=True):
    """What metrics are asked for: one link, or all when None, over the last `days`."""

    link_id: str | None
    days: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics to be told. Decimal texts, None where not available; `rate_pct` is conversions per 100 clicks.

    `money` holds total and average for each currency: amounts of different currencies are never added.
    `time_to_convert_s` is the average time from the credited click, of attributed conversions.
    """

    conversions: int
    clicks: int
    rate_pct: str | None
    money: Mapping[str, tuple[str, str | None]]
    time_to_convert_s: str | None


def read_period(query: Mapping[str, str]) -> Period:
    """Read `link_id` and `days` (1 to 400, by default 30). Raises Refusal."""
    for name in query:
        if name not in ("link_id", "days"):
            raise Refusal("field_unknown", name if _PARAMETER.match(name) else None)
    days = query.get("days") or str(DAYS_DEFAULT)
    if not (days.isascii() and days.isdigit()):
        raise Refusal("field_type", "days")
    if len(days) > 3 or not 1 <= int(days) <= 400:
        raise Refusal("field_invalid", "days")
    return Period(_id(query.get("link_id"), "link_id", ID_MAX), int(days))


def answer_metrics(figures: Figures, period: Period) -> bytes:
    """Answer the metrics. With more than one currency there is no total of all: `by_currency` holds each.

    `conversion_rate` is in percent, `time_to_convert` in seconds; what is not available is null.
    """
    one = next(iter(figures.money.items())) if len(figures.money) == 1 else None
    total, average = one[1] if one else (None, None)
    return msgspec.json.encode(
        {
            "conversions": figures.conversions,
            "conversion_rate": _exact(figures.rate_pct),
            "total_value": _exact(total),
            "average_value": _exact(average),
            "time_to_convert": _exact(figures.time_to_convert_s),
            "currency": one[0] if one else None,
            "clicks": figures.clicks,
            "by_currency": {
                currency: {"total_value": _exact(whole), "average_value": _exact(each)}
                for currency, (whole, each) in sorted(figures.money.items())
            },
            "link_id": period.link_id,
            "days": period.days,
        }
    )


# ------------------------------------------------------------------ postbacks


class Postback(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion as a server or tracker reports it. `amount` is in major units; None means: not said.

    `status` is one of STATUSES. `event` is a word that names the event and is no status. `event_id` tells repeats where
    there is no order; without either, a repeat cannot be told. `ignored`: the tracker asked not to record this status.
    `answer` is the body it asked for. `unread` are names of parameters that were not read.
    """

    click_id: str | None = None
    order_id: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    status: str = "sale"
    event: str | None = None
    event_id: str | None = None
    coupons: tuple[str, ...] = ()
    ignored: bool = False
    answer: str | None = None
    unread: tuple[str, ...] = ()


class _TrackBody(msgspec.Struct, forbid_unknown_fields=True):
    value: msgspec.Raw | UnsetType = UNSET
    currency: str | None = None
    order_id: str | None = None
    click_id: str | int | None = None
    status: Literal["lead", "sale", "rejected", "rebill"] | None = None
    event_id: str | None = None
    coupon: str | None = None
    postback_token: str | None = None


_read_track: Final = reading.decoder(_TrackBody)


def read_track(body: bytes) -> Postback:
    """Read the JSON body of a call whose address holds the token. Raises Refusal: `field_type` for wrong types."""
    said = reading.decode(_read_track, body)
    if said.postback_token is not None:
        raise Refusal("field_unknown", "postback_token")
    return _postback(said)


def read_track_with_token(body: bytes) -> tuple[str, Postback]:
    """Read the JSON body of a call that carries the token itself, as `postback_token`. Answers the token first."""
    said = reading.decode(_read_track, body)
    if not said.postback_token:
        raise Refusal("field_missing", "postback_token")
    if len(said.postback_token) > CLICK_ID_MAX:
        raise Refusal("field_too_long", "postback_token")
    return said.postback_token, _postback(said)


def _postback(said: _TrackBody) -> Postback:
    click_id = said.click_id
    if isinstance(click_id, int):
        if not 0 <= click_id < 10**CLICK_ID_MAX:
            raise Refusal("field_invalid", "click_id")
        click_id = str(click_id)
    coupon = _id(said.coupon, "coupon", ID_MAX)
    return Postback(
        click_id=_id(click_id, "click_id", CLICK_ID_MAX),
        order_id=_id(said.order_id, "order_id", ID_MAX),
        amount=_number(said.value, "value") if isinstance(said.value, msgspec.Raw) else None,
        currency=_currency(said.currency, "currency") or None,
        status=said.status or "sale",
        event_id=_event_id(said.event_id),
        coupons=(coupon,) if coupon else (),
    )


def read_query(query: Mapping[str, str]) -> Postback:
    """Read the query of a postback or pixel, or a form body of the same fields. Names count in any case.

    Unknown parameters are passed over and named in `unread`. A word in `status` that no mapping of the call explains is
    refused: taking a refusal for a sale would invent money. Raises Refusal with the name that was used.
    """
    if len(query) > QUERY_MAX:
        raise Refusal("fields_too_many")
    said: dict[str, str] = {}
    for name, value in query.items():
        text = value.strip()
        if text and _MACRO.match(text) is None:
            said.setdefault(name.lower(), text)
    named = {field: _first(said, names) for field, names in ALIASES.items()}
    status, event, ignored = _status(named["status"], said)
    answer = said.get("return")
    if answer is not None and _BODY.match(answer) is None:
        answer = None
    read = _KNOWN | set(_MAPPINGS) | {"ignore_status"} | ({"return"} if answer else set())
    coupon = _id(named["coupon"].text, named["coupon"].name, ID_MAX)
    return Postback(
        click_id=_id(named["click_id"].text, named["click_id"].name, CLICK_ID_MAX),
        order_id=_id(named["order_id"].text, named["order_id"].name, ID_MAX),
        amount=_decimal(named["value"].text, named["value"].name) if named["value"].text else None,
        currency=_currency(named["currency"].text, "currency") or None,
        status=status,
        event=event,
        event_id=_event_id(named["event_id"].text),
        coupons=(coupon,) if coupon else (),
        ignored=ignored,
        answer=answer,
        unread=tuple(sorted({name if _PARAMETER.match(name) else "?" for name in set(said) - read})),
    )


class _Named(NamedTuple):
    """A value of a query and the name it came under; empty when it was not said."""

    name: str
    text: str


def _first(said: Mapping[str, str], names: tuple[str, ...]) -> _Named:
    return next((_Named(name, said[name]) for name in names if name in said), _Named(names[0], ""))


def _status(named: _Named, said: Mapping[str, str]) -> tuple[str, str | None, bool]:
    """Status, name of the event, and whether the call asks not to be recorded. Case does not matter.

    The names of the status are also used for the event: a word there that is no status names what happened.
    """
    meanings = {status: status for status in STATUSES}
    for parameter, status in _MAPPINGS.items():
        meanings |= dict.fromkeys(_words(said.get(parameter)), status)
    unwanted = _words(said.get("ignore_status"))
    word = named.text.lower()
    if named.name == "status" and word and word not in meanings and word not in unwanted:
        raise Refusal("field_invalid", "status")
    others = [said.get(name, "").lower() for name in _EVENT_NAMES]
    event = next((other for other in others if other not in meanings and _WORD.match(other)), None)
    return meanings.get(word, "sale"), event, word in unwanted


def _words(text: str | None) -> set[str]:
    return {word.strip().lower() for word in (text or "").split(",")} - {""}


# ------------------------------------------------------------------ one value


def priced(postback: Postback, default_currency: str) -> tuple[int | None, str | None]:
    """Minor units and currency of a postback, both None when it says no amount. Raises Refusal.

    `default_currency` is the goal's or the site's, empty when neither has one. A currency without an amount says nothing.
    """
    currency = postback.currency or default_currency
    minor = _minor(postback.amount, currency, "")
    return minor, currency if minor is not None else None


def _minor(amount: Decimal | None, currency: str, prefix: str) -> int | None:
    if amount is None:
        return None
    if not currency:
        raise Refusal("currency_missing", f"{prefix}currency")
    try:
        return minor_from_major(amount, currency)
    except AmountError as error:
        raise Refusal(error.code, f"{prefix}value") from None


def _number(raw: msgspec.Raw, field: str) -> Decimal | None:
    """A JSON number, or a text that holds one; null is none."""
    text = bytes(raw).decode("latin-1").strip()  # only its first letter is looked at before the text is read as JSON
    if text == "null":
        return None
    if text[:1] == '"':
        try:
            text = msgspec.json.decode(raw, type=str).strip()
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refusal("json_invalid") from None
        return _decimal(text, field) if text else None
    if text[:1] not in set("-0123456789"):
        raise Refusal("field_type", field)
    return _decimal(text, field)


def _decimal(text: str, field: str) -> Decimal:
    if _NUMBER.match(text) is None:
        raise Refusal("amount_invalid", field)
    return Decimal(text)


def _currency(text: str | None, field: str) -> str:
    """A currency's code; trackers write it in any case. Empty when it is not said."""
    code = (text or "").strip()
    if code and (not code.isascii() or code.upper() not in EXPONENTS):
        raise Refusal("currency_unknown", field)
    return code.upper()


def _id(text: str | None, field: str, limit: int) -> str | None:
    """An id without outer spaces: printable, and no e-mail address, for it is kept as it is. Empty is none."""
    text = (text or "").strip()
    if not text:
        return None
    if len(text) > limit:
        raise Refusal("field_too_long", field)
    if not text.isprintable():
        raise Refusal("field_invalid", field)
    if "@" in text and looks_like_contact(text):
        raise Refusal("field_personal", field)
    return text


def _event_id(text: str | None) -> str | None:
    if not text:
        return None
    if not is_caller_id(text):
        raise Refusal("event_id_invalid", "event_id")
    return text
