"""What if: judge a made-up request against a site as it is configured, and say for each destination what it would see.

Nothing is stored, nothing is sent, no running gateway is asked. The judging is the same code that judges real events.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent
from gateway.errors import Refusal
from gateway.event import Received, Signals, Withheld
from gateway.flows.explain import judgement_lines
from gateway.flows.house import placed_of, vendors_of
from gateway.flows.judging import Judge, Said, Verdicts, known_for
from gateway.flows.supplies import Supplies
from gateway.outcome import REASONS
from gateway.places import known_place
from gateway.protocols import native
from gateway.purposes import ADVERTISING, ANALYTICS, EVERYBODY, SENSITIVE, Group, Judgement, names
from gateway.signals.carried import StoredChoice

if TYPE_CHECKING:
    from gateway.event import Claim
    from gateway.flows.house import Placed
    from gateway.settings import Settings, Site
    from gateway.signals.gvl import VendorList

__all__ = ["Case", "decide", "judge_case", "text_of", "what_if"]


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request as it might come. `consent` and `signals` as in the body of an event, the rest as headers would say.

    `stored` is the choice this gateway recorded earlier, purpose to `granted` or `denied`. `trusted`: a backend sends it.
    `place` such as `DE` or `US-CA`; empty is unknown.
    """

    event: str = "purchase"
    consent: dict[str, str] = {}
    stored: dict[str, str] = {}
    signals: Signals | None = None
    cookie: str = ""
    gpc: bool = False
    dnt: bool = False
    place: str = ""
    minor: bool = False
    sensitive: tuple[str, ...] = ()
    trusted: bool = False


def what_if(settings: "Settings", site_id: str | None, case: Case, now_ms: int, data_dir: Path) -> dict[str, object]:
    """Judge a case. Raises Refusal `site_unknown`, `field_invalid`, and those of an event's consent."""
    site = _site(settings, site_id)
    placed = placed_of(site)
    supplies = Supplies(Path(settings.consent.gvl_dir or data_dir / "gvl"), vendors_of(settings))
    supplies.refresh()
    # A place that is named here is known, whatever the settings say about finding it.
    known = settings.places.source != "off" or bool(case.place)
    verdicts = judge_case(site, placed, case, now_ms, lists=supplies.lists, places_known=known)
    kept, visitor = _kept(site, case, verdicts.own)
    return {
        "site": site.id,
        "regime": verdicts.own.regime,
        "place": case.place,
        "signals": list(verdicts.own.heard),
        "noted": list(verdicts.noted),
        "granted": list(names(verdicts.own.granted)),
        "reasons": judgement_lines(verdicts.own),
        "kept": kept,
        "visitor": visitor,
        "destinations": [_row(site, place, case, verdicts, owed=kept != "nothing") for place in placed],
        "problems": list(supplies.problems),
    }


def _site(settings: "Settings", site_id: str | None) -> "Site":
    for site in settings.site:
        if site_id is None or site.id == site_id:
            return site
    raise Refusal("site_unknown", "site")


# ------------------------------------------------------------------ judging


def judge_case(
    site: "Site",
    placed: "tuple[Placed, ...]",
    case: Case,
    now_ms: int,
    *,
    lists: "Mapping[int, VendorList]",
    places_known: bool,
) -> Verdicts:
    """Judge a case as the running gateway would. Raises Refusal `field_invalid`, and those of an event's consent."""
    if case.place and not known_place(case.place):
        raise Refusal("field_invalid", "place")
    for category in case.sensitive:
        if category not in SENSITIVE:
            raise Refusal("field_invalid", "sensitive")
    judge = Judge(
        site,
        known_for(site, lists),
        {place.name: place.needs.audience for place in placed if place.needs.audience != EVERYBODY},
        places_known=places_known,
    )
    claim, stored = _claim(case.consent, "consent"), _claim(case.stored, "stored")
    event = Received(
        site=site.id,
        event_id="what-if",
        name=case.event,
        trust="server" if case.trusted else "browser",
        occurred_at_ms=now_ms,
        received_at_ms=now_ms,
        claim=claim,
        signals=case.signals,
        minor=case.minor,
        sensitive=case.sensitive,
    )
    said = Said(
        stored=StoredChoice(stored.granted, stored.denied, now_ms, True) if stored is not None else None,
        sec_gpc=("1",) if case.gpc else (),
        dnt=("1",) if case.dnt else (),
        cookie=case.cookie,
        place=case.place,
        trusted=case.trusted,
        now_ms=now_ms,
    )
    return judge(said, event)


def _claim(words: Mapping[str, str], field: str) -> "Claim | None":
    try:
        return native.read_claim(words) if words else None
    except Refusal as refusal:
        raise Refusal(refusal.code, field) from None


def _kept(site: "Site", case: Case, own: Judgement) -> tuple[str, str]:
    """What the site itself keeps of the event (`whole`, `reduced`, `nothing`), and as whose (`signed`, `daily`, `none`)."""
    if case.trusted:
        return "whole" if consent.keeps_details(own) else "reduced", "none"
    if not consent.keeps_details(own) and site.without_analytics == "nothing":
        return "nothing", "none"
    kept = "whole" if consent.keeps_details(own) else "reduced"
    if consent.keeps_visitor(own, ADVERTISING if site.id_needs == "advertising" else ANALYTICS):
        return kept, "signed"
    return kept, "daily" if site.cookieless == "daily" else "none"


def decide(site: "Site", place: "Placed", case: Case, verdicts: Verdicts) -> "consent.Shown | Withheld":
    """What one destination would see of a case, or why it would see nothing."""
    if _kept(site, case, verdicts.own)[1] == "daily":
        return Withheld("cookieless")
    judgement = verdicts.others.get(place.name, verdicts.own)
    return consent.groups_shown(judgement, place.needs, restricted=place.restricted)


# ------------------------------------------------------------------ telling


def _row(site: "Site", place: "Placed", case: Case, verdicts: Verdicts, *, owed: bool) -> dict[str, object]:
    judgement = verdicts.others.get(place.name, verdicts.own)
    decided = decide(site, place, case, verdicts)
    shown = decided.groups if isinstance(decided, consent.Shown) else ()
    row: dict[str, object] = {
        "destination": place.name,
        "platform": place.definition.slug,
        "owed": owed and place.enabled and case.event in place.events,
        "sent": isinstance(decided, consent.Shown),
        "restricted": isinstance(decided, consent.Shown) and decided.restricted,
        "groups": {group.value: _group(group, place, judgement, shown) for group in Group},
        "reasons": judgement_lines(judgement),
    }
    if isinstance(decided, Withheld):
        row |= {
            "reason": decided.reason,
            "because": REASONS[decided.reason].sentence if place.needs.base else _UNDECLARED,
            "missing": list(names(decided.missing)),
        }
    return row


_UNDECLARED: Final = "The settings declare no purpose for this destination, so it gets nothing."


def _group(group: Group, place: "Placed", judgement: Judgement, shown: tuple[Group, ...]) -> dict[str, object]:
    needed = place.needs.base | place.needs.groups.get(group, 0)
    found: dict[str, object] = {"shown": group in shown, "needs": list(names(needed))}
    if group not in shown:
        found["missing"] = list(names(needed & ~judgement.granted))
    return found


_KEPT: Final = {
    "whole": "the site keeps the event with its details",
    "reduced": "the site keeps the event without visitor, page details and properties",
    "nothing": "the site keeps nothing, and nothing is owed to anybody: see its setting without_analytics",
}


def text_of(found: Mapping[str, object]) -> str:
    """The table for people: destination by group of fields, and why."""
    lines = [
        f"site {found['site']}, regime {found['regime']}" + (f" in {found['place']}" if found["place"] else ""),
        f"signals heard: {_listed(found['signals'])}",
    ]
    if found["noted"]:
        lines.append(f"noted: {_listed(found['noted'])}")
    lines += [f"  {line}" for line in _list(found["reasons"])]
    lines.append(_KEPT[str(found["kept"])])
    groups = [group.value for group in Group]
    lines += ["", _cells("destination", "sent", groups)]
    for row in _list(found["destinations"]):
        if isinstance(row, dict):
            lines += _row_lines(row, groups)
            if row["reasons"] != found["reasons"]:
                lines.append("    judged for itself, because a signal speaks to it by name:")
                lines += [f"      {line}" for line in _list(row["reasons"])]
    lines += [f"problem: {problem}" for problem in _list(found["problems"])]
    return "\n".join(lines) + "\n"


def _row_lines(row: Mapping[str, object], groups: list[str]) -> list[str]:
    about = row["groups"]
    shown = about if isinstance(about, dict) else {}
    word = "restricted" if row["restricted"] else ("yes" if row["sent"] else "no")
    lines = [_cells(str(row["destination"]), word, ["yes" if shown[group]["shown"] else "-" for group in groups])]
    if not row["sent"]:
        missing = f" Not granted: {_listed(row['missing'])}." if row["missing"] else ""
        lines.append(f"    withheld ({row['reason']}): {row['because']}{missing}")
    else:
        for group in groups:
            if not shown[group]["shown"]:
                lines.append(f"    no {group}: not granted: {_listed(shown[group]['missing'])}")
    if not row["owed"]:
        lines.append("    this event is not owed to it: see its settings enabled and events")
    return lines


def _cells(name: str, sent: str, groups: list[str]) -> str:
    return "  ".join([f"{name:<16}", f"{sent:<11}", *(f"{group:<11}" for group in groups)]).rstrip()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _listed(value: object) -> str:
    return ", ".join(str(part) for part in _list(value)) or "none"
