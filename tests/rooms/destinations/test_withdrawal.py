"""Messages about withdrawals: what a webhook's receiver is told, in how many parts, and that others cannot be told."""

import json
from typing import Any

import msgspec
import pytest

from gateway.destinations.definition import Context, Withdrawn
from gateway.destinations.registry import DESTINATIONS
from gateway.destinations.render import open_payload, render_withdrawal
from gateway.purposes import mask

NOW_MS = 1_795_176_000_000
DAY_MS = 86_400_000
CONTEXT = Context(site="shop", options={"url": "https://crm.example/in", "contact": "none"}, now_ms=NOW_MS, year=2026)
TOLD = Withdrawn(
    destination="crm",
    record_id="r" * 22,
    erased=False,
    at_ms=NOW_MS,
    withdrawn=mask(["advertising", "ad_user_data"]),
    granted=mask(["analytics"]),
    event_ids=("event-0001", "event-0002"),
)


def messages(**changes: Any) -> list[dict[str, Any]]:
    made = render_withdrawal(DESTINATIONS["webhook"], msgspec.structs.replace(TOLD, **changes), CONTEXT)
    return [json.loads(open_payload(payload.body, payload.dedup_key).body) for payload in made]


def test_a_receiver_is_told_what_was_taken_back_and_which_of_its_events_rest_on_it() -> None:
    assert messages() == [
        {
            "type": "consent.withdrawn",
            "timestamp": "2026-11-20T12:00:00.000Z",
            "data": {
                "site": "shop",
                "record_id": "r" * 22,
                "withdrawn": ["advertising", "ad_user_data"],
                "consent": {
                    "necessary": "granted",
                    "functional": "denied",
                    "analytics": "granted",
                    "advertising": "denied",
                    "ad_user_data": "denied",
                    "ad_personalization": "denied",
                },
                "event_ids": ["event-0001", "event-0002"],
                "part": 1,
                "parts": 1,
            },
        }
    ]


def test_an_erasure_takes_everything_back_but_what_is_necessary() -> None:
    (message,) = messages(erased=True, withdrawn=63, granted=0)
    assert message["type"] == "person.erased"
    assert message["data"]["withdrawn"] == [
        "functional", "analytics", "advertising", "ad_user_data", "ad_personalization",
    ]  # fmt: skip
    assert [name for name, word in message["data"]["consent"].items() if word == "granted"] == ["necessary"]


def test_many_events_are_told_in_parts_that_receivers_can_expect() -> None:
    ids = tuple(f"{number:064}" for number in range(701))
    made = render_withdrawal(DESTINATIONS["webhook"], msgspec.structs.replace(TOLD, event_ids=ids), CONTEXT)
    found = [json.loads(open_payload(payload.body, payload.dedup_key).body)["data"] for payload in made]
    assert [(one["part"], one["parts"], len(one["event_ids"])) for one in found] == [
        (1, 3, 250),
        (2, 3, 250),
        (3, 3, 201),
    ]
    assert [event_id for one in found for event_id in one["event_ids"]] == list(ids), "each once, none left out"
    assert all(len(payload.body) < 20_000 for payload in made)
    assert len({payload.dedup_key for payload in made}) == 3


def test_a_message_is_known_by_its_record_receiver_site_and_part() -> None:
    def key(told: Withdrawn, context: Context = CONTEXT) -> str | None:
        return render_withdrawal(DESTINATIONS["webhook"], told, context)[0].dedup_key

    first = key(TOLD)
    assert first is not None
    assert first.startswith("msg_")
    assert "." not in first
    assert key(TOLD) == first, "the same on every attempt"
    assert key(msgspec.structs.replace(TOLD, event_ids=("event-0003",))) == first
    others = {
        key(msgspec.structs.replace(TOLD, record_id="s" * 22)),
        key(msgspec.structs.replace(TOLD, destination="erp")),
        key(TOLD, msgspec.structs.replace(CONTEXT, site="kiosk")),
    }
    assert len(others | {first}) == 4


def test_a_message_waits_for_three_months_at_most() -> None:
    (payload,) = render_withdrawal(DESTINATIONS["webhook"], TOLD, CONTEXT)
    assert payload.expires_at_ms == NOW_MS + 90 * DAY_MS


@pytest.mark.parametrize("slug", sorted(set(DESTINATIONS) - {"webhook"}))
def test_a_vendor_that_documents_no_such_call_is_owed_no_message(slug: str) -> None:
    assert DESTINATIONS[slug].withdrawal is None
    assert render_withdrawal(DESTINATIONS[slug], TOLD, CONTEXT) == ()


@pytest.mark.parametrize("slug", [slug for slug, known in DESTINATIONS.items() if known.withdrawal is not None])
def test_every_call_names_the_document_it_was_read_from(slug: str) -> None:
    call = DESTINATIONS[slug].withdrawal
    assert call is not None
    assert call.contract
