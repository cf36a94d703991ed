"""Explain: one event's way through the river, or what came of one consent record, with every reason, as a value and as
plain text. Of a conversion it says in short where the credit went; `journey` shows the whole of it."""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import Refusal
from gateway.flows import journey
from gateway.flows.assemble import Facts
from gateway.flows.claiming import GOAL_UNKNOWN
from gateway.flows.journey_text import credit_lines
from gateway.money import major_text
from gateway.outcome import FATE_SENTENCES, REASONS
from gateway.purposes import SENTENCES, SOURCES, Judgement, Ruling, Step, names
from gateway.times import utc_text

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.stores.contract import ConversionRow, DeliveryRow

__all__ = ["ERASED", "explain", "judgement_lines", "text_of"]

ERASED: Final = "erased"
"""The mark of an event whose person was erased."""

_read_facts: Final = msgspec.json.Decoder(Facts).decode


async def explain(house: "House", event_id: str, site: str | None) -> dict[str, object]:
    """Everything that is known about an event, or about a consent record of that id. Raises Refusal `event_unknown`."""
    record = await house.store.event(event_id, site)
    if record is None:
        return await _explain_record(house, event_id, site)
    facts = _read_facts(record.facts)
    return {
        "event_id": record.event_id,
        "site": record.site,
        "name": record.name,
        "trust": record.trust,
        "occurred_at": utc_text(record.occurred_at_ms),
        "received_at": utc_text(record.received_at_ms),
        "visitor": record.visitor_kind,
        "facts": _plain_facts(facts),
        "consent": {
            "regime": facts.judgement.regime,
            "rules": facts.judgement.rules,
            "signals": list(facts.judgement.heard),
            "granted": list(names(facts.judgement.granted)),
            "place": facts.judgement.place,
            "conflict": list(names(facts.judgement.conflict)),
            "reasons": judgement_lines(facts.judgement),
        },
        "conversions": [
            {
                "conversion_id": row.conversion_id,
                "goal": row.goal,
                "order_id": row.order_id,
                "value": major_text(row.amount_minor, row.currency)
                if row.amount_minor is not None and row.currency
                else None,
                "currency": row.currency,
                "fate": row.fate,
                "reason": row.reason,
                "because": REASONS[row.reason].sentence,
                "counted_as": row.counted_id,
                "credit": await _credit(house, record.site, row),
            }
            for row in record.conversions
        ],
        "touches": [
            {"kind": row.kind, "referrer": row.referrer, "click_ids": row.has_click_ids} for row in record.touches
        ],
        "deliveries": [
            {
                **_delivery(row),
                "restricted": _restricted(row, facts.judgements.get(row.destination, facts.judgement)),
                **(
                    {"consent": judgement_lines(facts.judgements[row.destination])}
                    if row.destination in facts.judgements
                    else {}
                ),
            }
            for row in record.deliveries
        ],
        "told": [_delivery(row) for row in record.told],
    }


async def _credit(house: "House", site: str, row: "ConversionRow") -> dict[str, object]:
    """Where the credit of a conversion went, in short. A repeat has none of its own."""
    return {"state": "duplicate"} if row.fate == "duplicate" else await journey.summary(house, site, row.conversion_id)


async def _explain_record(house: "House", record_id: str, site: str | None) -> dict[str, object]:
    """A choice, withdrawal or erasure of the consent log, and which destinations were told of it."""
    found = await house.store.passed_on(record_id, site)
    if found is None:
        raise Refusal("event_unknown")
    entry = msgspec.json.decode(found.entry, type=_Entry)
    return {
        "record_id": found.record_id,
        "site": found.site,
        "kind": entry.event_type,
        "occurred_at": utc_text(entry.occurred_at_ms),
        "received_at": utc_text(entry.received_at_ms),
        "granted": entry.granted,
        "denied": entry.denied,
        "method": entry.method,
        "notice": entry.notice,
        "told": [_delivery(row) for row in found.deliveries],
    }


class _Entry(msgspec.Struct):
    """What is read of an entry of the consent log."""

    event_type: str
    occurred_at_ms: int
    received_at_ms: int
    granted: list[str]
    denied: list[str]
    method: str
    notice: str


def _plain_facts(facts: Facts) -> dict[str, object]:
    shown = msgspec.to_builtins(facts)
    shown.pop("judgement", None)
    shown.pop("judgements", None)
    if facts.amount_minor is not None and facts.currency is not None:
        shown["value"] = major_text(facts.amount_minor, facts.currency)
    return {str(key): value for key, value in shown.items()}


def _delivery(row: "DeliveryRow") -> dict[str, object]:
    reason = REASONS[row.reason]
    return {
        "delivery_id": row.delivery_id,
        "destination": row.destination,
        "fate": row.fate,
        "reason": row.reason,
        "because": reason.sentence,
        "who_acts": reason.act.value,
        "detail": _detail(row),
        "purposes": list(names(row.purposes)),
        "judged_at": utc_text(row.judged_at_ms),
        "next_attempt_at": utc_text(row.due_at_ms) if row.fate == "waiting" else None,
        "settled_at": utc_text(row.settled_at_ms) if row.settled_at_ms is not None else None,
        "dedup_key": row.dedup_key,
        "attempts": [
            {
                "at": utc_text(attempt.at_ms),
                "latency_ms": attempt.latency_ms,
                "verdict": attempt.verdict,
                "status": attempt.status,
                "code": attempt.code,
                "answer": attempt.answer,
            }
            for attempt in row.evidence
        ],
    }


def _restricted(row: "DeliveryRow", judgement: Judgement) -> bool:
    """Whether an event goes in the vendor's restricted mode: it rests on purposes the visitor opted out of."""
    return row.fate not in {"withheld", "unfit"} and bool(row.purposes & ~judgement.granted)


def _detail(row: "DeliveryRow") -> str | None:
    """For what consent stopped, the purposes in words; else what the vendor or the rendering named."""
    if row.reason in {"consent_missing", "opted_out"}:
        return "not granted: " + ", ".join(names(row.purposes))
    if row.reason == "consent_withdrawn" and row.detail is not None and row.detail.isdigit():
        return "withdrawn: " + ", ".join(names(int(row.detail)))
    return row.detail


def judgement_lines(judgement: Judgement) -> list[str]:
    """One sentence for each purpose, in the order of the closed list."""
    lines = []
    for bit in (1, 2, 4, 8, 16, 32):
        for ruling in judgement.rulings:
            if ruling.purposes & bit:
                lines.append(f"{names(bit)[0]}: {_sentence(ruling)}")
                break
    return lines


def _sentence(ruling: Ruling) -> str:
    word = "granted" if ruling.granted else "denied"
    if ruling.step == 0:
        return "granted, because it needs no consent"
    step = Step(ruling.step)
    because = SENTENCES[step][0 if ruling.granted else 1]
    who = SOURCES.get(ruling.source, ruling.source)
    return f"{word} at step {step.value} ({step.name.lower()}, signal {ruling.source}: {who}), because {because}"


def text_of(found: dict[str, object]) -> str:
    """Write an explanation for people: the path through the river, a step a paragraph."""
    if "record_id" in found:
        return _record_text(found)
    lines = [
        f"Event {found['event_id']}  {found['name']}  on site {found['site']}",
        "",
        f"received     {found['received_at']}, sent by a {found['trust']}; it says it happened at {found['occurred_at']}",
        f"recognised   {_visitor(found)}",
    ]
    consent = _mapping(found["consent"])
    lines.append(
        f"judged       regime {consent['regime']}{_in_place(consent)}, rules {consent['rules']}, "
        f"signals heard: {_listed(consent['signals'])}"
    )
    lines += [f"               {line}" for line in _list(consent["reasons"])]
    lines.append("recorded     facts kept: " + _listed(list(_mapping(found["facts"]))))
    lines += [f"noticed      {mark}: {_NOTICED[str(mark)]}" for mark in _marks(found) if str(mark) in _NOTICED]
    for conversion in map(_mapping, _list(found["conversions"])):
        value = f", {conversion['value']} {conversion['currency']}" if conversion["value"] is not None else ""
        lines.append(
            f"             conversion {conversion['conversion_id']} of goal {conversion['goal']}{value}: {conversion['fate']}."
        )
        lines.append(f"               {conversion['because']}")
        credit = _mapping(conversion["credit"])
        if credit["state"] in {"credited", "unattributed"}:
            lines += list(credit_lines(credit))
    lines += [f"             touch: {_mapping(touch)['kind']}" for touch in _list(found["touches"])]
    deliveries = [_mapping(delivery) for delivery in _list(found["deliveries"])]
    if not deliveries:
        lines.append("owed         to nobody: no destination of this site takes this event")
    for delivery in deliveries:
        lines += _delivery_lines(delivery)
    told = [_mapping(delivery) for delivery in _list(found.get("told"))]
    if told:
        lines.append(
            "withdrawn    of what this event rested on, something was taken back later; destinations were told:"
        )
    for delivery in told:
        lines += _told_lines(delivery)
    return "\n".join(lines) + "\n"


def _record_text(found: dict[str, object]) -> str:
    """One entry of the consent log for people."""
    lines = [
        f"Consent record {found['record_id']}  {found['kind']}  on site {found['site']}",
        "",
        f"decided      {found['occurred_at']}, by {found['method']}, notice {found['notice']}",
        f"granted      {_listed(found['granted'])}",
        f"denied       {_listed(found['denied'])}",
    ]
    told = [_mapping(delivery) for delivery in _list(found["told"])]
    if not told:
        lines.append("told         nobody: no destination was sent anything that rests on what was taken back")
    for delivery in told:
        lines += _told_lines(delivery)
    return "\n".join(lines) + "\n"


def _told_lines(delivery: dict[str, object]) -> list[str]:
    lines = _delivery_lines({**delivery, "purposes": []})
    if delivery["purposes"]:
        lines.insert(1, f"               taken back: {_listed(delivery['purposes'])}")
    return lines


def _delivery_lines(delivery: dict[str, object]) -> list[str]:
    lines = [
        f"{delivery['destination']!s:<12} {delivery['fate']}. {FATE_SENTENCES[str(delivery['fate'])]}",
        f"               why: {delivery['because']}",
    ]
    if delivery.get("restricted"):
        lines.append("               in the vendor's restricted mode: the visitor opted out, and you chose that for it")
    if "consent" in delivery:
        lines.append("               judged for itself, because a signal speaks to it by name:")
        lines += [f"                 {line}" for line in _list(delivery["consent"])]
    if delivery["detail"]:
        lines.append(f"               {delivery['detail']}")
    if delivery["who_acts"] != "nobody":
        lines.append(f"               who must act: {delivery['who_acts']}")
    if delivery["purposes"] and delivery["fate"] not in {"withheld", "unfit"}:
        lines.append(f"               rests on: {_listed(delivery['purposes'])}")
    for attempt in map(_mapping, _list(delivery["attempts"])):
        status = attempt["status"] if attempt["status"] is not None else "no answer"
        lines.append(f"               {attempt['at']}  {attempt['verdict']}, {status}, {attempt['latency_ms']} ms")
    if delivery["next_attempt_at"] is not None:
        lines.append(f"               next attempt {delivery['next_attempt_at']}")
    return lines


_VISITORS: Final = {
    "signed": "a visitor with a signed first-party id",
    "daily": "a cookieless visitor, by a keyed hash that dies with the day",
    "none": "nobody: consent allows no id, or none was sent",
}


_NOTICED: Final = {
    GOAL_UNKNOWN: "nobody set up the goal it names; a page's event is no conversion then, a server's is one",
    "call_too_short": "the call was missed, or too short to count",
}
"""What a mark means for whether an event counts."""


def _marks(found: dict[str, object]) -> tuple[object, ...]:
    marks = _mapping(found["facts"]).get("marks")
    return tuple(marks) if isinstance(marks, (list, tuple)) else ()


def _visitor(found: dict[str, object]) -> str:
    if ERASED in _marks(found):
        return "nobody any more: the person was erased"
    return _VISITORS[str(found["visitor"])]


def _in_place(consent: dict[str, object]) -> str:
    return f" in {consent['place']}" if consent["place"] else ""


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _listed(value: object) -> str:
    return ", ".join(str(part) for part in _list(value)) or "none"
