"""What vendors do on bad days, one at a time: nothing is lost, nothing counts twice, nobody is hurried or hammered."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.flows.replay import replay
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.faults import Fault, http_date
from gateway.sandbox.google_error import error_body
from gateway.sandbox.meta import error_fault as meta_fault
from gateway.sandbox.stand_ins import StandIns
from gateway.times import DAY_MS
from tests.faults.inside import STAND_INS, Inside, MovableClock, impatient, inside, serving, settings_of, until

pytestmark = pytest.mark.slow  # vendors that are slow take time

HOUR_S = 3600.0
TIMEOUT_S = 0.8
"""How long the gateway waits for vendors here."""


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient(TIMEOUT_S):
        yield


def arrivals(running: Inside, destination: str) -> list[int]:
    """Times at which requests came to a vendor, on the clock of the test."""
    return [request.at_ms for request in running.ledger(destination).requests()]


# ------------------------------------------------------------------ slow down, please


@pytest.mark.parametrize(
    ("retry_after", "at_least_s", "at_most_s"),
    [
        ("2", 2, 10),
        ("date", 2, 10),
        ("0", 0, 10),
        ("-1", 0, 10),
        ("junk", 0, 10),
        ("1000000000", 86_400, 86_410),
        ("9" * 400, 86_400, 86_410),
    ],
)
async def test_retry_after_is_kept_and_nonsense_is_survived(
    tmp_path: Path, config: SandboxConfig, retry_after: str, at_least_s: int, at_most_s: int
) -> None:
    async with inside(tmp_path, config, only=("crm",)) as running:
        asked = http_date(running.clock.now_ms() + 3_000) if retry_after == "date" else retry_after
        running.vendor("crm").faults.next(Fault.throttled(asked))
        await running.buy(1)
        await until(lambda: len(arrivals(running, "crm")) == 1)
        if at_least_s:
            running.pass_time(s=at_least_s - 1)
            await asyncio.sleep(0.2)
            assert len(arrivals(running, "crm")) == 1, "earlier than asked"
        running.pass_time(s=at_most_s - at_least_s + 1)
        await running.settled(accepted=1)


@pytest.mark.parametrize("retry_after", ["0", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_vendor_that_is_down_and_says_come_at_once_is_not_hammered(
    tmp_path: Path, config: SandboxConfig, retry_after: str
) -> None:
    async with inside(tmp_path, config, only=("crm",), delivery={"retry_base_s": 20.0}) as running:
        running.vendor("crm").faults.always(Fault.throttled(retry_after, status=503))
        await running.buy(1)
        await until(lambda: len(arrivals(running, "crm")) == 1)
        running.pass_time(s=1)
        await asyncio.sleep(0.3)
        assert len(arrivals(running, "crm")) == 1, "a tenth of the back-off is the least"
        running.vendor("crm").faults.clear()
        running.pass_time(s=20)
        await running.settled(accepted=1)


async def test_a_restart_does_not_forget_that_a_vendor_asked_for_rest(tmp_path: Path, config: SandboxConfig) -> None:
    clock = MovableClock()
    settings = settings_of(tmp_path, config, only=("crm",))
    async with StandIns(config, clock=clock) as stand_ins:
        stand_ins.webhook.faults.next(Fault.throttled("3600"))
        async with serving(settings, stand_ins, clock) as running:
            await running.buy(1)
            await until(lambda: len(arrivals(running, "crm")) == 1)
        async with serving(settings, stand_ins, clock) as running:
            running.pass_time(s=3_590)
            await asyncio.sleep(0.3)
            assert len(arrivals(running, "crm")) == 1
            running.pass_time(s=15)
            await running.settled(accepted=1)


async def test_while_a_vendor_asked_for_rest_nothing_else_is_sent_to_it(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config, only=("meta",)) as running:
        running.vendor("meta").faults.next(meta_fault(4, status=400))
        await running.buy(1)
        await until(lambda: len(arrivals(running, "meta")) == 1)
        await running.buy(3)
        running.pass_time(s=240)
        await asyncio.sleep(0.3)
        assert len(arrivals(running, "meta")) == 1
        running.pass_time(s=61)
        await running.settled(accepted=4)


async def test_a_vendor_is_not_asked_more_often_than_its_pace_allows(tmp_path: Path, config: SandboxConfig) -> None:
    """Google Analytics: 3,000 a minute and a burst of 500. What goes beyond the burst takes its time."""
    async with inside(tmp_path, config, only=("ga4",)) as running:
        for _ in range(6):
            await running.buy(100)
        await running.settled(accepted=600, seconds=60)
        at_ms = arrivals(running, "ga4")
        for first in range(0, len(at_ms) - 510, 10):
            passed_s = (at_ms[first + 510] - at_ms[first]) / 1000
            assert passed_s >= (510 - 500) / 50 * 0.8, f"510 requests in {passed_s} s"
        assert at_ms[-1] - at_ms[0] >= 100 / 50 * 1000 * 0.8


# ------------------------------------------------------------------ failing for a while


@pytest.mark.parametrize("destination", ["meta", "ga4", "google_ads", "crm"])
async def test_a_vendor_that_fails_for_a_while_gets_everything_afterwards(
    tmp_path: Path, config: SandboxConfig, destination: str
) -> None:
    async with inside(tmp_path, config, only=(destination,)) as running:
        running.vendor(destination).faults.always(Fault.status(500))
        await running.buy(20)
        await until(lambda: len(arrivals(running, destination)) >= 3)
        assert (await running.fates(destination)) == {"waiting": 20}
        running.vendor(destination).faults.clear()
        running.pass_time(s=60)
        await running.settled(accepted=20)
        assert running.ledger(destination).double_effects() == {}
        assert len(running.ledger(destination).effects()) == 20


async def test_one_failure_in_five_delays_and_loses_nothing(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config) as running:
        for stand_in in running.stand_ins.by_name().values():
            stand_in.faults.always(Fault.status(500), share=0.2)
        await running.buy(60)
        for destination in ("meta", "ga4", "google_ads", "crm"):
            await running.settled_at(destination, seconds=60, accepted=60)
            assert len(running.ledger(destination).effects()) == 60
            assert running.ledger(destination).double_effects() == {}


async def test_a_vendor_that_is_down_for_long_is_left_alone_but_for_probes(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, only=("crm",)) as running:
        running.vendor("crm").faults.always(Fault.status(503))
        await running.buy(30)
        await until(lambda: len(arrivals(running, "crm")) >= 10)
        await asyncio.sleep(0.5)
        before = len(arrivals(running, "crm"))
        await asyncio.sleep(1.0)
        assert len(arrivals(running, "crm")) == before, "the breaker is open"
        for probes in range(1, 4):
            running.pass_time(s=31)
            await until(lambda: len(arrivals(running, "crm")) >= before + probes)  # noqa: B023 - called at once
            await asyncio.sleep(0.3)
            assert len(arrivals(running, "crm")) == before + probes, "one probe at a time"
        running.vendor("crm").faults.clear()
        running.pass_time(s=31)
        await running.settled(accepted=30)


# ------------------------------------------------------------------ one bad event among good ones


async def test_one_event_meta_refuses_costs_a_batch_of_a_hundred_few_requests_and_itself(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, only=("meta",)) as running:
        vendor = running.vendor("meta")
        vendor.faults.always(Fault.status(503))
        bad = (await running.buy(100))[37]
        await until(lambda: len(arrivals(running, "meta")) >= 1)
        vendor.clear()
        vendor.faults.when(lambda call: meta_fault(100, 2804003) if f'"{bad}"'.encode() in call.body else None)
        running.pass_time(s=5)
        await running.settled(accepted=99, rejected=1)
        assert len(arrivals(running, "meta")) <= 16, "halving a hundred takes 1 + 2 x 7 requests"
        told = await running.told(bad, "meta")
        assert (told["fate"], told["reason"]) == ("rejected", "vendor_rejected")
        assert running.ledger("meta").double_effects() == {}


async def test_only_the_events_google_names_are_rejected(tmp_path: Path, config: SandboxConfig) -> None:
    """Google refuses the whole request and names the wrong events; the others are sent again without them."""
    async with inside(tmp_path, config, only=("google_ads",)) as running:
        vendor = running.vendor("google_ads")
        vendor.faults.always(Fault.status(503))
        ids = await running.buy(50)
        await until(lambda: len(arrivals(running, "google_ads")) >= 1)
        vendor.clear()
        orders = {one.replace("event-", "A") for one in (ids[3], ids[41])}
        vendor.faults.when(lambda call: _google_names(call.body, orders))
        running.pass_time(s=5)
        await running.settled(accepted=48, rejected=2)
        assert len(arrivals(running, "google_ads")) == 2
        rejected = {one for one in ids if (await running.told(one, "google_ads"))["fate"] == "rejected"}
        assert rejected == {ids[3], ids[41]}


def _google_names(body: bytes, orders: set[str]) -> Fault | None:
    """Google's answer to a request that holds wrong events: their indexes, with the reason."""
    events = msgspec.json.decode(body)["events"]
    wrong = [index for index, event in enumerate(events) if event["transactionId"] in orders]
    if not wrong:
        return None
    said: Any = error_body(400, "INVALID_ARGUMENT", "There was a problem with the request.", reason="INVALID_VALUE")
    violations = [{"field": f"events[{index}].currency", "reason": "INVALID_CURRENCY"} for index in wrong]
    said["error"]["details"].append(
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    )
    return Fault.answer(400, msgspec.json.encode(said).decode(), {"Content-Type": "application/json"})


# ------------------------------------------------------------------ the operator has to act


@pytest.mark.parametrize(
    ("destination", "stand_in", "fault"),
    [
        ("meta", "meta", meta_fault(190, 463)),
        ("meta", "meta", Fault.status(401)),
        ("google_ads", "google_ads", Fault.status(401)),
        ("google_ads", "google_token", Fault.answer(400, '{"error": "invalid_grant"}')),
        ("google_ads", "google_token", Fault.answer(401, '{"error": "invalid_client"}')),
        ("crm", "webhook", Fault.status(410)),
        ("crm", "webhook", Fault.redirect()),
        ("meta", "meta", Fault.redirect()),
    ],
)
async def test_refused_credentials_rest_the_destination_lose_nothing_and_end_with_their_cause(
    tmp_path: Path, config: SandboxConfig, destination: str, stand_in: str, fault: Fault
) -> None:
    async with inside(tmp_path, config, only=(destination,), delivery={"pause_s": 60.0}) as running:
        vendor = running.stand_ins.by_name()[stand_in]
        vendor.faults.always(fault)
        await running.buy(5)
        await until(lambda: "destination_rests" in running.log.getvalue())
        asked = len(vendor.ledger.requests())
        await running.buy(5)
        running.pass_time(s=30)
        await asyncio.sleep(0.3)
        assert len(vendor.ledger.requests()) == asked, "it rests"
        running.pass_time(s=10 * HOUR_S)
        await until(lambda: len(vendor.ledger.requests()) > asked)
        assert (await running.fates(destination)) == {"waiting": 10}, "credentials have no retry limit of hours"
        vendor.faults.clear()
        running.pass_time(s=61)
        await running.settled(accepted=10)
        assert running.ledger(destination).double_effects() == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(500),
        Fault.throttled("1"),
        Fault.answer(200, "<html>"),
        Fault.answer(200, '{"access_token": 7}'),
        Fault.answer(200, '{"access_token": "x", "expires_in": -5}'),
        Fault.drop(),
        Fault.black_hole(),
        Fault.endless_body(),
    ],
)
async def test_failures_of_the_token_endpoint_are_retried(tmp_path: Path, config: SandboxConfig, fault: Fault) -> None:
    async with inside(tmp_path, config, only=("google_ads",)) as running:
        running.stand_ins.google_token.faults.next(fault, times=2)
        await running.buy(5)
        await until(lambda: running.stand_ins.google_token.faults.waiting() == 0)
        running.pass_time(s=90)
        await until(lambda: len(running.ledger("google_ads").effects()) == 5)
        await running.settled(accepted=5)


async def test_a_wrong_webhook_secret_is_retried_until_it_is_right(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config, only=("crm",)) as running:
        running.vendor("crm").faults.always(Fault.status(401))
        await running.buy(3)
        await until(lambda: len(arrivals(running, "crm")) >= 4)
        assert (await running.fates("crm")) == {"waiting": 3}
        running.vendor("crm").faults.clear()
        running.pass_time(s=60)
        await running.settled(accepted=3)


# ------------------------------------------------------------------ nobody knows


@pytest.mark.parametrize(
    "fault",
    [
        Fault.accept_then_drop(),
        Fault.black_hole(store=True),
        Fault.delay(3 * TIMEOUT_S),
        Fault.cut_body(),
        Fault.slow_body(seconds_per_byte=TIMEOUT_S / 3),
    ],
)
async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(
    tmp_path: Path, config: SandboxConfig, fault: Fault
) -> None:
    async with inside(tmp_path, config) as running:
        # Google Analytics answers with a bare status: there is no body that could be lost.
        lossy = [one for one in STAND_INS if not (one == "ga4" and fault.kind in {"cut_body", "slow_body"})]
        for destination in lossy:
            running.vendor(destination).faults.next(fault)
        await running.buy(1)
        for destination in STAND_INS:
            await running.settled_at(destination, accepted=1)
        for destination in lossy:
            ledger = running.ledger(destination)
            assert len(ledger.requests()) == 2, destination
            assert list(ledger.effects().values()) == [1], destination
            assert sum(ledger.repeats().values()) == 1, destination


@pytest.mark.parametrize("fault", [Fault.accept_then_drop(), Fault.black_hole(store=True), Fault.delay(3 * TIMEOUT_S)])
async def test_without_a_key_a_lost_answer_is_left_unconfirmed_and_never_sent_again(
    tmp_path: Path, config: SandboxConfig, fault: Fault
) -> None:
    """A lead has no transaction id: Google Analytics could not tell a repeat from a second lead."""
    async with inside(tmp_path, config, only=("ga4",)) as running:
        running.vendor("ga4").faults.next(fault)
        [event] = await running.buy(1, name="generate_lead")
        await running.settled(unconfirmed=1)
        running.pass_time(s=10 * HOUR_S)
        await asyncio.sleep(0.3)
        assert len(running.ledger("ga4").requests()) == 1
        assert list(running.ledger("ga4").effects().values()) == [1]
        assert (await running.told(event, "ga4"))["reason"] == "answer_lost"


async def test_what_certainly_was_not_sent_is_sent_again_even_without_a_key(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, only=("ga4",)) as running:
        running.vendor("ga4").faults.next(Fault.tls_close())
        await running.buy(1, name="generate_lead")
        await running.settled(accepted=1)
        assert list(running.ledger("ga4").effects().values()) == [1]


@pytest.mark.parametrize("destination", ["meta", "google_ads"])
async def test_a_success_that_cannot_be_read_counts_as_unknown(
    tmp_path: Path, config: SandboxConfig, destination: str
) -> None:
    async with inside(tmp_path, config, only=(destination,)) as running:
        running.vendor(destination).faults.next(Fault.invalid_json())
        await running.buy(2)
        await running.settled(accepted=2)
        assert running.ledger(destination).double_effects() == {}
        assert len(running.ledger(destination).effects()) == 2


STRANGE = (
    '{"error": {"code": [], "error_subcode": {}}}',
    '{"error": {"code": {"a": 1}, "details": 7, "status": []}}',
    '{"error": {"details": [{"@type": 5, "fieldViolations": [7, {"field": "events[99999]"}]}]}}',
    '{"error": 1e400}',
    "[" * 60_000,
    "\x00\xff",
)


@pytest.mark.parametrize("status", [200, 400, 503])
async def test_no_answer_however_strange_stops_a_lane(tmp_path: Path, config: SandboxConfig, status: int) -> None:
    async with inside(tmp_path, config) as running:
        for body in STRANGE:
            for destination in STAND_INS:
                running.vendor(destination).faults.next(
                    Fault.answer(status, body, {"Content-Type": "application/json"})
                )
            await running.buy(1)
            await until(lambda: not any(running.vendor(one).faults.waiting() for one in STAND_INS))
        [last] = await running.buy(1)
        for destination in STAND_INS:
            await until(lambda: running.is_accepted(last, destination), what=destination)  # noqa: B023 - called at once
        assert "worker_restarted" not in running.log.getvalue()


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize("fault", [Fault.endless_body(), Fault.huge_body(), Fault.slow_body(store=False)])
async def test_bodies_without_end_are_cut_and_what_they_said_is_unknown(
    tmp_path: Path, config: SandboxConfig, fault: Fault
) -> None:
    async with inside(tmp_path, config, only=("meta",)) as running:
        running.vendor("meta").faults.next(fault, times=2)
        [event] = await running.buy(1)
        await running.settled(accepted=1)
        assert len(running.ledger("meta").requests()) == 3
        attempts: Any = (await running.told(event, "meta"))["attempts"]
        assert [one["verdict"] for one in attempts] == ["ambiguous", "ambiguous", "accepted"]
        assert all(len(one["answer"] or "") <= 500 for one in attempts)


# ------------------------------------------------------------------ the time for attempts is over


async def test_dead_letters_keep_their_payload_and_replay_brings_them_back(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, only=("crm",), delivery={"retry_base_s": 0.05, "retry_for_h": 1.0}) as running:
        running.vendor("crm").faults.always(Fault.status(500))
        [event] = await running.buy(1)
        await until(lambda: len(arrivals(running, "crm")) >= 2)
        running.pass_time(s=HOUR_S)
        await running.settled(dead=1)
        assert (await running.told(event, "crm"))["reason"] == "attempts_exhausted"
        running.vendor("crm").faults.clear()
        done = await replay(running.house, site=None, destination="crm", delivery_id=None, limit=10)
        assert done == {"replayed": 1}
        await running.settled(accepted=1)
        assert running.ledger("crm").double_effects() == {}


async def test_a_replay_does_not_forget_that_an_attempt_may_have_arrived(tmp_path: Path, config: SandboxConfig) -> None:
    """Meta tells repeats for 48 hours. After that a replay of what may have arrived could count twice."""
    async with inside(tmp_path, config, only=("meta",), delivery={"retry_base_s": 0.05, "retry_for_h": 1.0}) as running:
        running.vendor("meta").faults.next(Fault.accept_then_drop())
        running.vendor("meta").faults.next(Fault.status(500), times=1_000)
        await running.buy(1)
        await until(lambda: len(arrivals(running, "meta")) >= 2)
        running.pass_time(s=HOUR_S)
        await running.settled(dead=1)
        running.vendor("meta").faults.clear()
        running.clock.move(s=3 * DAY_MS / 1000)
        await replay(running.house, site=None, destination="meta", delivery_id=None, limit=10)
        await running.settled(unconfirmed=1)
        assert list(running.ledger("meta").effects().values()) == [1]


async def test_a_payload_that_cannot_be_opened_dies_alone(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config, only=("meta",)) as running:
        running.vendor("meta").faults.always(Fault.status(503))
        poisoned = await running.buy(4)
        healthy = await running.buy(7)
        await until(lambda: len(arrivals(running, "meta")) >= 1)
        for event, spoilt in zip(poisoned, (_nothing, _other_key, _cut_short, _flipped), strict=True):
            await running.spoil(event, spoilt)
        running.vendor("meta").faults.clear()
        running.pass_time(s=60)
        await running.settled(accepted=7, dead=4)
        for event in poisoned:
            assert (await running.told(event, "meta"))["reason"] == "payload_unreadable"
        assert len(running.ledger("meta").effects()) == len(healthy)


def _nothing(sealed: bytes) -> bytes:
    return b""


def _other_key(sealed: bytes) -> bytes:
    return sealed[:1] + bytes(4) + sealed[5:]


def _cut_short(sealed: bytes) -> bytes:
    return sealed[:9]


def _flipped(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])
