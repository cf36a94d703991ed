"""Golden examples: one native event in, one vendor event out, with a line on why that is right.

A golden file records what is meant, not what came out: `expected` is written from the vendor's contract. Digests are
given as `sha256(text)` where the text says more than the digest.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import consent
from gateway.destinations.definition import Context
from gateway.destinations.registry import DESTINATIONS
from gateway.destinations.render import open_payload, render
from gateway.event import NOBODY, Agent, Device, Judged, Personal, Unfit, Visitor, Withheld
from gateway.flows.assemble import clean_page, clean_props
from gateway.protocols import native
from gateway.purposes import Group, Statement, Step, mask

FOLDER = Path(__file__).parent
NOW_MS = 1_795_000_000_000
CASES = sorted(FOLDER.glob("*/*.json"))


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """One golden file. An unknown key fails the run."""

    why: str
    event: dict[str, Any]
    granted: list[str]
    options: dict[str, Any] = {}
    trust: str = "browser"
    visitor: str | None = "AAAAAAAAAAAAAAAAAAAAAA"
    click_ids: dict[str, str] = {}
    click_seen_at_ms: int | None = None
    platform_ids: dict[str, str] = {}
    campaign: dict[str, str] = {}
    calling_code: str | None = None
    group: str = ""
    dedup_key: str | None = None
    expected: dict[str, Any] | None = None
    unfit: str | None = None
    withheld: str | None = None


def digests(value: Any) -> Any:
    """Replace `sha256(text)` by the digest."""
    if isinstance(value, dict):
        return {key: digests(part) for key, part in value.items()}
    if isinstance(value, list):
        return [digests(part) for part in value]
    if isinstance(value, str) and (found := re.fullmatch(r"sha256\((.*)\)", value)):
        return hashlib.sha256(found.group(1).encode()).hexdigest()
    return value


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden(path: Path) -> None:
    case = msgspec.json.decode(path.read_bytes(), type=Case)
    definition = DESTINATIONS[path.parent.name]
    arrived = native.Arrived(
        site="shop",
        trust=case.trust,
        received_at_ms=NOW_MS,
        currency="EUR",
        batch_max=1,
        new_id=lambda: "never-needed",
        device=Device(
            ip=Personal("93.184.216.34"), user_agent=Personal("Mozilla/5.0 Test"), language="de-de", agent=Agent()
        ),
    )
    (received,) = native.read(json.dumps(case.event).encode(), arrived).events
    received = msgspec.structs.replace(
        received,
        click_ids=case.click_ids,
        click_seen_at_ms=case.click_seen_at_ms,
        platform_ids=case.platform_ids,
        campaign=case.campaign,
    )
    granted = mask(case.granted)
    judgement = consent.judge(
        [Statement(Step.OWN_CHOICE, "claim", granted=granted, denied=62 & ~granted)], consent.Policy()
    )
    visitor = Visitor("signed", case.visitor, b"v" * 16) if case.visitor else NOBODY
    judged = Judged(received, visitor, judgement, clean_page(received), clean_props(received))
    needs = definition.needs
    if not needs.base:
        needs = msgspec.structs.replace(needs, base=mask(["analytics"]))
    goal = received.name if received.name == "purchase" else None
    permitted = consent.permit(judged, definition.slug, needs, goal)
    if isinstance(permitted, Withheld):
        assert permitted.reason == case.withheld
        return
    options = {option.name: option.default for option in definition.options if option.default is not None}
    context = Context(
        site="shop",
        options={**options, **case.options},
        now_ms=NOW_MS,
        year=2026,
        calling_code=case.calling_code,
        currency="EUR",
    )
    payload = render(definition, permitted, context)
    if isinstance(payload, Unfit):
        assert f"{payload.reason}:{payload.field}" == case.unfit if payload.field else payload.reason == case.unfit
        return
    assert case.unfit is None
    assert case.withheld is None
    ready = open_payload(payload.body, payload.dedup_key)
    assert json.loads(ready.body) == digests(case.expected)
    assert ready.group == case.group
    if case.dedup_key is not None:
        assert ready.dedup_key == case.dedup_key


def test_every_destination_has_a_sent_a_withheld_and_an_unfit_example() -> None:
    for slug in DESTINATIONS:
        found = [msgspec.json.decode(path.read_bytes(), type=Case) for path in (FOLDER / slug).glob("*.json")]
        assert any(case.expected for case in found), slug
        assert any(case.withheld for case in found), slug
        assert any(case.unfit for case in found) or slug == "webhook", slug


@pytest.mark.parametrize("slug", DESTINATIONS)
def test_field_groups_are_declared_for_contact_data(slug: str) -> None:
    assert DESTINATIONS[slug].needs.groups.get(Group.CONTACT, 0), "contact data leaves only under a purpose of its own"
