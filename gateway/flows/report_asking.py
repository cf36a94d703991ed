"""Asking for a report: the parameters of a query, read strictly. What is not understood is refused, never passed over.

What a report prints can be asked for: ids, codes, and the names of rows (`report_names`).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.attribution.channels import CHANNELS
from gateway.attribution.registry import MODELS, model_of
from gateway.conversions.goals import PRESETS
from gateway.errors import Refusal
from gateway.flows.report_names import NOBODYS, link_titled, named
from gateway.links.codes import fold_slug
from gateway.money import EXPONENTS
from gateway.times import DAY_MS, day_of

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.shelves import Shelf

__all__ = ["COLUMNS", "SORTS", "Ask", "date_text", "is_macro", "read_ask"]

DAYS_DEFAULT: Final = 30
DAYS_MAX: Final = 400
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000
STEPS_MAX: Final = 10
TEXT_MAX: Final = 256

COLUMNS: Final[dict[str, str]] = {
    "campaign": "campaign_id",
    "utm_campaign": "campaign_name",
    "link": "link_id",
    "ambassador": "ambassador_id",
    "channel": "channel",
    "source": "source",
    "medium": "medium",
    "variant": "variant",
    "device": "device",
}
"""Parameter that narrows a report down, and the column of the sums it names."""

SORTS: Final = ("conversions", "persons", "clicks", "rate", "value", "net_value", "spend", "roi", "roas", "cpa", "name")
"""What rows may be sorted by. The largest come first, names in order; `-` in front turns it round; `worst` is by rate,
rows without clicks left to the end."""

GOALS: Final = ("all", "macro", "micro")
"""Which goals may be summed: every one, the ends, the steps."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z", re.ASCII)
_PARAMETER: Final = re.compile(r"[a-z_]{1,40}\Z", re.ASCII)
_EARLIEST_DAY: Final = 10_957  # 2000-01-01


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Days are UTC, both included. `filters` are columns of the sums with the one value they must have.

    `goals` is `all`, `macro` or `micro`. `steps` are the goals of a funnel. `model` empty: the goals' own models.
    """

    from_day: int
    upto_day: int
    goal: str = ""
    goals: str = "all"
    filters: Mapping[str, str] = {}
    landing: str = ""
    currency: str = ""
    model: str = ""
    steps: tuple[str, ...] = ()
    sort: str = "conversions"
    limit: int = LIMIT_DEFAULT

    @property
    def after_ms(self) -> int:
        """First millisecond of the range."""
        return self.from_day * DAY_MS

    @property
    def upto_ms(self) -> int:
        """Last millisecond of the range."""
        return (self.upto_day + 1) * DAY_MS - 1

    def narrowed(self) -> dict[str, str]:
        """What the range was narrowed down by, by the names of the parameters."""
        names = {column: name for name, column in COLUMNS.items()}
        found = {names[column]: value or NOBODYS.get(names[column], "") for column, value in self.filters.items()}
        found |= {"goal": self.goal, "landing": self.landing, "currency": self.currency}
        found["goals"] = "" if self.goals == "all" else self.goals
        return {name: value for name, value in found.items() if value}

    def shown(self) -> dict[str, object]:
        """The range and its filters, as reports tell them."""
        return {"from": date_text(self.from_day), "to": date_text(self.upto_day), "filters": self.narrowed()}


def date_text(day: int) -> str:
    """A day as YYYY-MM-DD."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


async def read_ask(
    house: "House",
    rooms: "SiteRooms",
    query: Mapping[str, str],
    allowed: frozenset[str],
    *,
    days: int = DAYS_DEFAULT,
    goals: str = "all",
) -> Ask:
    """Read the parameters `allowed`. Raises Refusal with the parameter's name as its field.

    `goals` is what is summed where neither a goal nor a kind of goal is asked for.

    `field_unknown` for any other parameter, `field_invalid` for what cannot be taken, `goal_unknown` and `entry_unknown`
    for goals, campaigns, links and ambassadors that this site does not have, `name_ambiguous` for a name of several.
    """
    for name in query:
        if name not in allowed:
            raise Refusal("field_unknown", name if _PARAMETER.match(name) else None)
    shelf = house.shelves[rooms.id]
    from_day, upto_day = _range(query, day_of(house.clock.now_ms()), days)
    filters = {}
    for name, column in COLUMNS.items():
        if name in query:
            filters[column] = await _filter(shelf, name, query[name])
    goals = query.get("goals", "all" if "goal" in query else goals)
    if goals not in GOALS:
        raise Refusal("field_invalid", "goals", GOALS)
    currency = query.get("currency", "")
    if "currency" in query and currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")
    model = query.get("model", "")
    if "model" in query and (len(model) > 64 or model_of(model) is None):
        raise Refusal("field_invalid", "model", MODELS)
    return Ask(
        from_day=from_day,
        upto_day=upto_day,
        goal=await _goal(house, rooms, query["goal"], "goal") if "goal" in query else "",
        goals=goals,
        filters=filters,
        landing=_text(query["landing"], "landing") if "landing" in query else "",
        currency=currency,
        model=model,
        steps=await _steps(house, rooms, query.get("steps")),
        sort=_sort(query.get("sort", "conversions")),
        limit=_limit(query.get("limit")),
    )


def is_macro(shelf: "Shelf", goal: str) -> bool:
    """Whether a goal is an end rather than a step: as its entry says, else as the preset of its name, else yes."""
    known = shelf.goals.get(goal)
    if known is not None:
        return known.macro
    return PRESETS[goal].macro if goal in PRESETS else True


# ------------------------------------------------------------------ one parameter


def _range(query: Mapping[str, str], today: int, days: int) -> tuple[int, int]:
    upto_day = _day(query["to"], "to", today) if "to" in query else today
    from_day = _day(query["from"], "from", today) if "from" in query else upto_day - days + 1
    if from_day > upto_day or upto_day - from_day >= DAYS_MAX:
        raise Refusal("field_invalid", "from")
    return from_day, upto_day


def _day(text: str, field: str, today: int) -> int:
    """A day between 2000 and tomorrow: somewhere it is tomorrow already."""
    try:
        if _DATE.match(text) is None:
            raise ValueError
        day = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) // 86_400
    except ValueError:
        raise Refusal("field_invalid", field) from None
    if not _EARLIEST_DAY <= day <= today + 1:
        raise Refusal("field_invalid", field)
    return day


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LIMIT_MAX):
        raise Refusal("field_invalid", "limit")
    return int(text)


def _sort(text: str) -> str:
    if text != "worst" and text.removeprefix("-") not in SORTS:
        raise Refusal("field_invalid", "sort", (*SORTS, "worst"))
    return text


def _text(text: str, field: str) -> str:
    if not text or len(text) > TEXT_MAX or not text.isprintable():
        raise Refusal("field_invalid", field)
    return text


async def _filter(shelf: "Shelf", name: str, text: str) -> str:
    """The value a column must have. Entries of the catalogue are named by id, code or name, and must be this site's."""
    text = _text(text, name)
    if text == NOBODYS.get(name):
        return ""
    if name == "channel":
        return _CHANNELS.get(text, text)
    if name in ("utm_campaign", "source", "medium"):
        return text
    if name == "campaign":
        campaign = shelf.campaigns.get(text) or shelf.campaigns_by_code.get(text.lower())
        return (campaign or named(shelf.campaigns.values(), text, name)).id
    if name == "ambassador":
        ambassador = shelf.ambassadors.get(text) or shelf.ambassadors_by_code.get(text.lower())
        return (ambassador or named(shelf.ambassadors.values(), text, name)).id
    if name == "link":
        link = (await shelf.link_by_id(text) or await shelf.link(fold_slug(text) or "")) if _ID.match(text) else None
        return (link or await link_titled(shelf, text, name)).id
    if _WORD.match(text) is None:
        raise Refusal("field_invalid", name)
    return text


_CHANNELS: Final = {channel.title: key for key, channel in CHANNELS.items()}
"""What reports call a channel to the channel, in that case alone: `organic social` is a channel that a site made up."""


async def _steps(house: "House", rooms: "SiteRooms", text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(text.split(","))
    if not 2 <= len(names) <= STEPS_MAX or len(set(names)) != len(names):
        raise Refusal("field_invalid", "steps")
    return tuple([await _goal(house, rooms, name, "steps") for name in names])


async def _goal(house: "House", rooms: "SiteRooms", text: str, field: str) -> str:
    """A goal's code: of the catalogue, the settings, a preset, or a conversion that is stored; or its name.

    Archived ones count. Reports call a goal without an entry in use by `implied_goal`, so that name is taken too.
    """
    shelf = house.shelves[rooms.id]
    entries = list(shelf.goals_by_id.values())
    text = _text(text, field)
    if text in PRESETS or text in rooms.conversion_events or any(goal.code == text for goal in entries):
        return text
    today = day_of(house.clock.now_ms())
    counted = {row.goal for row in await house.store.goal_days(rooms.id, today - DAYS_MAX, today + 1, ("goal",))}
    if text in counted:
        return text
    implied = [shelf.implied_goal(code) for code in {*rooms.conversion_events, *counted} - shelf.goals.keys()]
    known = {(goal.code, goal.name.casefold()): goal for goal in (*entries, *implied)}
    if not any(name == text.casefold() for _, name in known):
        presets = [shelf.implied_goal(code) for code in PRESETS if code not in shelf.goals]
        return named(presets, text, field, "goal_unknown").code
    return named(known.values(), text, field).code
