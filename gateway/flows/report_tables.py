"""Tables: reports with a row for each campaign, link, channel, source, ambassador, device, variant or landing page.

Campaigns of the catalogue have one row, whatever their campaign parameters say; what only has parameters has a row by its
utm_campaign. Campaigns and ambassadors that brought nothing yet have a row of zeros.
"""

import asyncio
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gateway.attribution.channels import CHANNELS
from gateway.attribution.significance import VERDICTS, Arm, compare
from gateway.flows.credit import headline_model
from gateway.flows.report_asking import COLUMNS, is_macro
from gateway.flows.report_models import Scanned, earned_by_model
from gateway.flows.report_notes import BENCHMARK_HELP, BENCHMARKS, notes
from gateway.flows.report_rows import drill, row_of, sorted_keys, totals_of
from gateway.flows.report_sums import ONE, Figures, Key, Table, earned_of, is_fine, seen_of, spend_of, table, wanted
from gateway.money import major_text

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.report_asking import Ask
    from gateway.flows.report_sums import Seen
    from gateway.flows.shelves import Shelf
    from gateway.stores.contract_credit import SpendRow

__all__ = ["TABLES", "answer", "build"]

TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "campaigns": ("Campaigns", ("campaign_id", "campaign_name")),
    "links": ("Links", ("link_id",)),
    "channels": ("Channels", ("channel",)),
    "sources": ("Sources", ("source",)),
    "ambassadors": ("Shares", ("ambassador_id",)),
    "devices": ("Devices", ("device",)),
    "variants": ("Variants", ("link_id", "variant")),
    "landing": ("Landing pages", ("landing",)),
}
"""Name of a report, its title, and the columns that a row is for."""

_NO_CLICKS: Final = (
    "clicks", "conversion_rate", "suspect_clicks", "bot_clicks", "repeats", "scans", "views", "direct_visits",
    "share_of_clicks_pct",
)  # fmt: skip
"""What is not known of a landing page."""
_NAMES_MAX: Final = 1_000
"""Links whose names are looked up before rows are sorted; of more, only those that are shown."""
_ROWS_AT_ONCE: Final = 25
"""Rows that are worked out before anybody else has a turn: a few milliseconds."""
_PARAMETERS: Final = {column: name for name, column in COLUMNS.items()} | {"landing": "landing"}


async def build(house: "House", rooms: "SiteRooms", name: str, ask: "Ask") -> dict[str, object]:
    """Make one of TABLES. Raises Refusal `report_too_large`, or StoreError."""
    title, columns = TABLES[name]
    shelf = house.shelves[rooms.id]
    fine = is_fine([*columns, *ask.filters]) and rooms.site.reports.suppress_under > 0
    under = rooms.site.reports.suppress_under if fine else 0
    landing = name == "landing"
    seen, spend, scanned = await _read(house, rooms, ask, columns, fine=fine)
    found = table(ask, columns, seen, scanned.earned, spend, under=under)
    figures = _shaped(name, found.rows, shelf, ask)
    totals = totals_of(figures.values())
    shown_rows, rows_total = await _rows(house, rooms, name, ask, Table(figures, found.spend), totals)
    goals = await _goals(house, rooms, ask)
    said = ["clicks", "persons", "shares", *scanned.notes]
    said += ["spend_not_split"] if not found.spend else []
    said += ["micro_goals"] if len({is_macro(shelf, goal) for goal in goals}) > 1 else []
    said += ["currencies_differ"] if len(totals.money) > 1 and found.spend and not ask.currency else []
    said += ["suppressed"] if any(row.suppressed != "no" for row in figures.values()) else []
    said += ["recipient"] if any(row.get("suppressed") == "recipient" for row in shown_rows) else []
    said += ["rows_left_out"] if rows_total > len(shown_rows) else []
    said += ["landing_clicks"] if name == "landing" else []
    said += ["variants"] if name == "variants" else []
    made = answer(rooms, name, title, ask)
    made |= {
        "models": dict.fromkeys(goals, ask.model) if ask.model else _models(shelf, goals),
        "rows": shown_rows,
        "rows_total": rows_total,
        "totals": row_of({}, totals, totals, ask, spend=found.spend),
    }
    if landing:
        made["totals"] = row_of({}, totals, totals, ask, spend=False) | dict.fromkeys(_NO_CLICKS)
    if not ask.filters:
        made["unattributed"] = await _unattributed(
            house, rooms, ask, _whole(found.rows), valued="value_not_computed" not in scanned.notes
        )
    if name in ("campaigns", "channels", "landing"):
        made |= {"benchmarks": list(BENCHMARKS), "benchmark_help": BENCHMARK_HELP}
    return {**made, "notes": notes(*said)}


async def _read(
    house: "House", rooms: "SiteRooms", ask: "Ask", columns: Sequence[str], *, fine: bool
) -> "tuple[list[Seen], list[SpendRow] | None, Scanned]":
    """Read touches, spend and credit at the same time. Of landing pages only credit is known."""
    credit = (earned_by_model if ask.model else _summed)(house, rooms, ask, columns, fine=fine)
    if "landing" in columns:
        return [], None, await credit
    seen, scanned, spend = await asyncio.gather(
        seen_of(house, rooms.id, ask, columns, fine=fine), credit, spend_of(house, rooms.id, ask, columns)
    )
    return seen, spend, scanned


async def _summed(house: "House", rooms: "SiteRooms", ask: "Ask", columns: Sequence[str], *, fine: bool) -> Scanned:
    return Scanned(await earned_of(house, rooms.id, ask, columns, fine=fine))


def _whole(rows: Mapping[Key, Figures]) -> Figures:
    """Everything that was credited, to whatever row."""
    whole = Figures()
    for figures in rows.values():
        whole.add(figures)
    return whole


def answer(rooms: "SiteRooms", name: str, title: str, ask: "Ask") -> dict[str, object]:
    """What every report begins with."""
    return {"report": name, "title": title, "site": rooms.id, **ask.shown()}


# ------------------------------------------------------------------ rows


def _shaped(name: str, rows: Mapping[Key, Figures], shelf: "Shelf", ask: "Ask") -> dict[Key, Figures]:
    """Rows joined where they mean the same, those of nothing left out, and those of zeros added."""
    shaped: dict[Key, Figures] = {}
    for key, figures in rows.items():
        if name in ("links", "ambassadors", "variants") and not key[-1]:
            continue
        joined = (key[0], "") if name == "campaigns" and key[0] else key
        held = shaped.setdefault(joined, Figures())
        held.add(figures)
        if figures.suppressed != "no":
            held.suppressed = figures.suppressed
    only_campaign = set(ask.filters) <= {"campaign_id"}
    wanted = ask.filters.get("campaign_id")
    if name == "campaigns" and only_campaign:
        for campaign in shelf.campaigns.values():
            if not campaign.archived and wanted in (None, campaign.id):
                shaped.setdefault((campaign.id, ""), Figures())
    if name == "ambassadors" and only_campaign:
        for ambassador in shelf.ambassadors.values():
            if not ambassador.archived and wanted in (None, ambassador.campaign_id):
                shaped.setdefault((ambassador.id,), Figures())
    return shaped


async def _rows(
    house: "House", rooms: "SiteRooms", name: str, ask: "Ask", found: Table, totals: Figures
) -> tuple[list[dict[str, object]], int]:
    """The rows that are shown, in order, and how many there are."""
    shelf = house.shelves[rooms.id]
    columns = TABLES[name][1]
    few = len(found.rows) <= _NAMES_MAX or name not in ("links", "variants")
    labels = {key: await _label(shelf, columns, key) if few else {"name": key[0]} for key in found.rows}
    names = {key: str(label["name"]).casefold() for key, label in labels.items()}
    currency = ask.currency or rooms.site.currency or next(iter(sorted(totals.money)), "")
    shown: list[dict[str, object]] = []
    for number, key in enumerate(sorted_keys(found.rows, ask, names, currency)[: ask.limit]):
        if number % _ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
        label = labels[key] if few else await _label(shelf, columns, key)
        if label.pop("recipient", False) and rooms.site.reports.suppress_under:
            shown.append({"key": label, "suppressed": "recipient"})
            continue
        row = row_of(label, found.rows[key], totals, ask, spend=found.spend, related=any(key))
        if name == "landing":
            row |= dict.fromkeys(_NO_CLICKS)
        elif name == "variants":
            row |= _compared(key, found.rows)
        narrowed = {_PARAMETERS[column]: value for column, value in zip(columns, key, strict=True) if value}
        shown.append({**row, "conversions_query": drill(ask, **narrowed) if narrowed else None})
    return shown, len(found.rows)


async def _label(shelf: "Shelf", columns: tuple[str, ...], key: Key) -> dict[str, object]:
    """What a row is called: its ids, and a `name` for people."""
    label: dict[str, object] = dict(zip(columns, key, strict=True))
    first = key[0]
    if columns[0] == "campaign_id":
        campaign = shelf.campaigns.get(first)
        name = campaign.name if campaign is not None else first or key[1] or "(no campaign)"
        label |= {"code": campaign.code if campaign is not None else "", "name": name}
        return label
    if columns[0] == "link_id":
        link = await shelf.link_by_id(first) if first else None
        label["name"] = (link.title or link.code) if link is not None else first
        label["code"] = link.code if link is not None else ""
        label["campaign_id"] = link.campaign_id if link is not None else ""
        label["recipient"] = link is not None and bool(link.recipient)
        return label
    if columns[0] == "ambassador_id":
        ambassador = shelf.ambassadors.get(first)
        label |= {
            "code": ambassador.code if ambassador is not None else "",
            "campaign_id": ambassador.campaign_id if ambassador is not None else "",
            "name": ambassador.name if ambassador is not None else first,
        }
        return label
    name = CHANNELS[first].title if columns[0] == "channel" and first in CHANNELS else first
    return {**label, "name": name or f"(no {columns[0]})"}


def _compared(key: Key, rows: Mapping[Key, Figures]) -> dict[str, object]:
    """How a variant stands against the first of its link."""
    first = min(other for other in rows if other[0] == key[0])
    if first == key or "no" not in (rows[key].suppressed, rows[first].suppressed):
        return {"compared_with": None}
    found = compare(_arm(rows[first]), _arm(rows[key]))
    return {
        "compared_with": {
            "variant": first[1],
            "verdict": found.verdict,
            "message": VERDICTS[found.verdict],
            "z": round(found.z, 3) if found.z is not None else None,
            "p_value": round(found.p_value, 4) if found.p_value is not None else None,
        }
    }


def _arm(figures: Figures) -> Arm:
    return Arm(figures.clicks, Fraction(figures.share_e9, ONE))


# ------------------------------------------------------------------ around the rows


async def _unattributed(
    house: "House", rooms: "SiteRooms", ask: "Ask", credited: Figures, *, valued: bool
) -> dict[str, object]:
    """Conversions that nobody is credited with, those of the last moments among them, whose credit is being worked out.

    `valued`: the credit says amounts.
    """
    rows = [
        row
        for row in await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("goal", "currency"))
        if wanted(house, rooms.id, ask, row.goal)
    ]
    value = {}
    for currency in sorted({row.currency for row in rows if row.currency and ask.currency in ("", row.currency)}):
        whole = sum([row.amount_minor for row in rows if row.currency == currency])
        credit = credited.money[currency].amount_minor if currency in credited.money else 0
        value[currency] = major_text(whole - credit, currency)
    return {
        "conversions": sum([row.unattributed for row in rows]),
        "value": value if valued else None,
        "all_conversions": sum([row.conversions for row in rows]),
    }


async def _goals(house: "House", rooms: "SiteRooms", ask: "Ask") -> list[str]:
    found = await house.store.goal_days(rooms.id, ask.from_day, ask.upto_day, ("goal",))
    return sorted({row.goal for row in found if wanted(house, rooms.id, ask, row.goal)})


def _models(shelf: "Shelf", goals: Sequence[str]) -> dict[str, str]:
    """The model by which each goal's credit was given."""
    return {goal: headline_model(shelf.goals.get(goal) or shelf.implied_goal(goal)).id for goal in goals}
