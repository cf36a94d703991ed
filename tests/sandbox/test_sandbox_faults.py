"""Every fault looks on the wire as its name says, and only those that say so have an effect."""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.entropy import SeededEntropy
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.faults import Fault, Faults, http_date
from gateway.sandbox.google_error import error_fault as google_fault
from gateway.sandbox.meta import error_fault as meta_fault
from gateway.sandbox.stand_ins import StandIns

Send = Callable[..., Awaitable[Answer]]
Hit = Callable[[], Awaitable[Answer]]


@pytest.fixture
def hit(send: Send, config: SandboxConfig, clock: ManualClock) -> Hit:
    """Send one small correct event to Meta."""
    values = config.gateway
    url = f"https://graph.facebook.com/v26.0/{values.meta_dataset_id}/events?access_token={values.meta_access_token}"
    event = {
        "event_name": "Lead",
        "event_id": "lead-1",
        "event_time": clock.now_ms() // 1000,
        "action_source": "system_generated",
        "user_data": {"em": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"},
    }
    return lambda: send("POST", url, json={"data": [event]})


async def test_queued_faults_come_in_order_and_end(hit: Hit, stand_ins: StandIns) -> None:
    faults = stand_ins.meta.faults
    faults.next(Fault.status(503), times=2)
    faults.next(Fault.status(500))
    assert [(await hit()).status for _ in range(4)] == [503, 503, 500, 200]
    assert faults.waiting() == 0
    assert [one.fault for one in stand_ins.meta.ledger.requests()] == ["answer", "answer", "answer", None]
    assert stand_ins.meta.ledger.effects() == {"Lead|lead-1": 1}
    assert stand_ins.meta.ledger.repeats() == {}


@pytest.mark.parametrize("retry_after", ["120", 2, "0", "-1", "junk", "1000000000", http_date(1_795_176_090_000), None])
async def test_throttling_carries_any_retry_after(hit: Hit, stand_ins: StandIns, retry_after: str | int | None) -> None:
    stand_ins.meta.faults.next(Fault.throttled(retry_after))
    answer = await hit()
    assert answer.status == 429
    assert answer.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))


def test_an_http_date_is_read_back() -> None:
    assert int(parsedate_to_datetime(http_date(1_795_176_090_500)).timestamp()) == 1_795_176_090


async def test_fixed_answers(hit: Hit, stand_ins: StandIns) -> None:
    faults = stand_ins.meta.faults
    faults.next(Fault.redirect())
    faults.next(Fault.invalid_json())
    faults.next(Fault.add_headers({"X-App-Usage": '{"call_count":97}'}))
    faults.next(meta_fault(4, status=400, transient=True))
    quota = {"quota_limit": "IngestionMutateRequestsPerMinutePerProject"}
    faults.next(google_fault(429, "RESOURCE_EXHAUSTED", reason="RESOURCE_EXHAUSTED", metadata=quota))
    redirect, broken, headed, throttled, exhausted = [await hit() for _ in range(5)]
    assert (redirect.status, redirect.headers["Location"]) == (302, "http://169.254.169.254/")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(broken.body)
    assert (headed.status, headed.headers["X-App-Usage"]) == (200, '{"call_count":97}')
    error = msgspec.json.decode(throttled.body)["error"]
    assert (error["code"], error["is_transient"]) == (4, True)
    assert msgspec.json.decode(exhausted.body)["error"]["details"][0]["metadata"] == quota


async def test_accept_then_drop_stores_and_drop_does_not(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.drop())
    with pytest.raises(aiohttp.ClientError):
        await hit()
    assert stand_ins.meta.ledger.effects() == {}
    stand_ins.meta.faults.next(Fault.accept_then_drop())
    with pytest.raises(aiohttp.ClientError):
        await hit()
    assert stand_ins.meta.ledger.effects() == {"Lead|lead-1": 1}
    assert (await hit()).status == 200
    assert stand_ins.meta.ledger.repeats() == {"Lead|lead-1": 1}
    assert len(stand_ins.meta.ledger.requests()) == 3


async def test_an_answer_of_500_may_have_stored(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.status(500, store=True))
    assert (await hit()).status == 500
    assert stand_ins.meta.ledger.effects() == {"Lead|lead-1": 1}


async def test_a_late_answer_has_its_effect_though_nobody_waits(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.delay(30))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hit(), 0.3)
    assert stand_ins.meta.ledger.effects() == {"Lead|lead-1": 1}
    stand_ins.meta.faults.next(Fault.delay(0.05, store_first=False))
    assert (await hit()).status == 200


async def test_a_black_hole_never_answers_and_does_not_hold_up_the_end(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.black_hole())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hit(), 0.3)
    assert stand_ins.meta.ledger.effects() == {}


async def test_bodies_that_drip_break_or_are_huge(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.slow_body(seconds_per_byte=0.001))
    assert msgspec.json.decode((await hit()).body)["events_received"] == 1
    stand_ins.meta.faults.next(Fault.cut_body())
    with pytest.raises(aiohttp.ClientPayloadError):
        await hit()
    stand_ins.meta.faults.next(Fault.huge_body(1_000_003))
    assert len((await hit()).body) == 1_000_003


async def test_an_endless_body_ends_when_the_caller_leaves(session: aiohttp.ClientSession, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.always(Fault.endless_body())
    async with asyncio.timeout(20):
        for _ in range(10):
            response = await session.post("https://graph.facebook.com/")
            got = 0
            while got < 500_000:
                got += len(await response.content.readany())
            response.close()
    stand_ins.meta.faults.clear()
    assert (await session.post("https://graph.facebook.com/")).status == 400


async def test_a_refused_handshake_fails_the_connection_and_not_the_next_one(hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.next(Fault.tls_close())
    with pytest.raises(aiohttp.ClientConnectorError):
        await hit()
    assert stand_ins.meta.ledger.requests() == []
    assert (await hit()).status == 200
    stand_ins.meta.faults.next(Fault.tls_close())  # the connection is open now: it breaks instead
    with pytest.raises(aiohttp.ClientError):
        await hit()
    assert len(stand_ins.meta.ledger.accepted_events()) == 1


async def test_a_function_or_a_share_decides(hit: Hit, stand_ins: StandIns) -> None:
    faults = stand_ins.meta.faults
    faults.when(lambda call: Fault.status(418) if b"lead-1" in call.body else None)
    assert (await hit()).status == 418
    faults.when(None)
    faults.always(Fault.status(502))
    assert [(await hit()).status for _ in range(2)] == [502, 502]
    faults.clear()
    assert (await hit()).status == 200


def test_a_share_of_faults_is_about_that_share() -> None:
    faults = Faults(SeededEntropy(b"share"))
    faults.always(Fault.status(500), share=0.2)
    call = Call(method="GET", host="x", path="/", at_ms=0)
    met = sum(faults.take(call) is not None for _ in range(2000))
    assert 300 < met < 500


def test_a_fault_can_be_written_as_json() -> None:
    for fault in (Fault.throttled(5), Fault.delay(1.5), Fault.huge_body(), Fault.add_headers({"a": "b"})):
        assert msgspec.json.decode(msgspec.json.encode(fault), type=Fault) == fault


async def test_one_platform_failing_leaves_the_others_alone(send: Send, hit: Hit, stand_ins: StandIns) -> None:
    stand_ins.meta.faults.always(Fault.status(500))
    assert (await hit()).status == 500
    assert (await send("POST", "https://www.google-analytics.com/mp/collect", json={})).status == 204
