"""One sick vendor, a sick network or a sick worker: the others are served as if nothing were, and nothing is sent twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from gateway.destinations.registry import DESTINATIONS
from gateway.entropy import SystemEntropy
from gateway.event import ConversionClaim, EventRow, Owed, Recordable, Submission
from gateway.sandbox.authority import Authority
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.faults import Fault
from gateway.sandbox.stand_ins import ConnectInfo, StandIns
from gateway.stores.contract import DueDelivery, Settlement, Store
from gateway.stores.memory import MemoryStore
from gateway.stores.sqlite import open_sqlite
from tests.faults.inside import STAND_INS, Inside, MovableClock, impatient, inside, serving, settings_of, until
from tests.faults.load import conversion_body
from tests.faults.processes import locked
from tests.faults.proxy import Proxy, Unreliable, proxied

if TYPE_CHECKING:
    from gateway.destinations.definition import Destination

pytestmark = pytest.mark.slow  # much waiting, little computing

TIMEOUT_S = 0.8
HOUR_S = 3600.0
NOW = 1_795_176_000_000


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient(TIMEOUT_S):
        yield


# ------------------------------------------------------------------ vendors


async def test_a_black_hole_delays_nobody_else(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config) as running:

        async def seconds(bought: int) -> float:
            """How long it takes until a hundred more orders have reached the healthy vendors."""
            begun_s = running.clock.monotonic_s()
            await running.buy(100)
            for destination in ("ga4", "google_ads", "crm"):
                await running.settled_at(destination, accepted=bought, seconds=60)
            return running.clock.monotonic_s() - begun_s

        alone_s = max(await seconds(100), await seconds(200))
        running.vendor("meta").faults.always(Fault.black_hole())
        beside_s = await seconds(300)
        assert beside_s <= 2 * alone_s + 0.2, f"{beside_s:.2f} s beside a black hole, {alone_s:.2f} s without"
        assert (await running.fates("meta"))["waiting"] == 100
        running.vendor("meta").faults.clear()
        running.pass_time(s=60)
        await running.settled_at("meta", accepted=300)
        assert running.ledger("meta").double_effects() == {}


async def test_an_expired_certificate_is_not_spoken_to_and_a_new_one_is(tmp_path: Path, config: SandboxConfig) -> None:
    clock = MovableClock()
    authority = Authority(now_ms=clock.now_ms(), entropy=SystemEntropy())
    expired = StandIns(config, clock=clock, authority=authority, certificate_ms=-1000)
    await expired.start()
    port = msgspec.convert(expired.connect_info(), ConnectInfo).hosts["graph.facebook.com"]
    try:
        async with serving(settings_of(tmp_path, config, only=("ga4", "meta")), expired, clock) as running:
            await running.buy(1, name="generate_lead")
            await asyncio.sleep(0.4)
            assert await running.fates("ga4") == await running.fates("meta") == {"waiting": 1}
            assert expired.everything_text().strip() == ""
            await expired.stop()
            async with StandIns(config, clock=clock, authority=authority, port=port) as renewed:
                running.pass_time(s=60)
                await running.settled_at("ga4", accepted=1)
                await running.settled_at("meta", accepted=1)
                assert list(renewed.ga4.ledger.effects().values()) == [1]
    finally:
        await expired.stop()


async def test_a_redirect_is_never_followed(tmp_path: Path, config: SandboxConfig) -> None:
    clock = MovableClock()
    async with StandIns(config, clock=clock) as stand_ins:
        hosts = msgspec.convert(stand_ins.connect_info(), ConnectInfo).hosts
        resolver = Unreliable(hosts)
        async with serving(settings_of(tmp_path, config), stand_ins, clock, resolver=resolver) as running:
            for stand_in in stand_ins.by_name().values():
                for status in (301, 302, 307):
                    stand_in.faults.next(Fault.redirect("http://169.254.169.254/latest/meta-data", status=status))
                stand_in.faults.next(Fault.redirect("https://elsewhere.example/", status=308))
            await running.buy(1)
            for _ in range(12):
                running.pass_time(s=2)
                await asyncio.sleep(0.1)
            for destination in STAND_INS:
                await running.settled_at(destination, accepted=1)
            assert set(resolver.asked) <= set(hosts)


# ------------------------------------------------------------------ the network


@asynccontextmanager
async def behind_a_proxy(tmp_path: Path, config: SandboxConfig) -> AsyncIterator[tuple[Inside, Proxy, Unreliable]]:
    """Google Analytics behind a proxy; a lead there has no key, so a guess that it was sent would lose it."""
    clock = MovableClock()
    async with StandIns(config, clock=clock) as stand_ins:
        hosts = msgspec.convert(stand_ins.connect_info(), ConnectInfo).hosts
        async with proxied(hosts["region1.google-analytics.com"]) as proxy:
            resolver = Unreliable({**hosts, "region1.google-analytics.com": proxy.port})
            settings = settings_of(tmp_path, config, only=("ga4", "crm"))
            async with serving(settings, stand_ins, clock, resolver=resolver) as running:
                yield running, proxy, resolver


@pytest.mark.parametrize("mode", ["mute", "refuse"])
async def test_a_half_open_connection_is_given_up_and_the_event_sent_later(
    tmp_path: Path, config: SandboxConfig, mode: Any
) -> None:
    async with behind_a_proxy(tmp_path, config) as (running, proxy, _):
        proxy.mode = mode
        await running.buy(1, name="generate_lead")
        await until(lambda: proxy.connections >= 2)
        await running.settled_at("crm", accepted=1)
        assert await running.fates("ga4") == {"waiting": 1}
        proxy.mode = "pass"
        running.pass_time(s=60)
        await running.settled_at("ga4", accepted=1)
        assert list(running.ledger("ga4").effects().values()) == [1]


async def test_names_that_cannot_be_looked_up_or_take_for_ever_lose_nothing(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with behind_a_proxy(tmp_path, config) as (running, _, resolver):
        tries = 0
        answering = asyncio.Event()

        async def fails_then_hangs(host: str) -> None:
            nonlocal tries
            if host == "region1.google-analytics.com":
                tries += 1
                if tries < 3:
                    raise OSError("no such name")
                await answering.wait()

        resolver.first = fails_then_hangs
        await running.buy(1, name="generate_lead")
        await until(lambda: tries >= 3)
        await running.settled_at("crm", accepted=1)
        await asyncio.sleep(2 * TIMEOUT_S)
        assert await running.fates("ga4") == {"waiting": 1}
        answering.set()
        running.pass_time(s=60)
        await running.settled_at("ga4", accepted=1)
        assert list(running.ledger("ga4").effects().values()) == [1]


async def test_connections_broken_while_idle_do_no_harm(tmp_path: Path, config: SandboxConfig) -> None:
    async with behind_a_proxy(tmp_path, config) as (running, proxy, _):
        for done in range(1, 6):
            await running.buy(1, name="generate_lead")
            await running.settled_at("ga4", accepted=done)
            proxy.drop()
            await asyncio.sleep(0.05)


# ------------------------------------------------------------------ rendering


async def test_an_event_that_cannot_be_rendered_for_one_vendor_goes_to_the_others(
    tmp_path: Path, config: SandboxConfig
) -> None:
    table = cast("dict[str, Destination]", DESTINATIONS)
    meta = table["meta"]

    def raises(made: Any, event: Any, context: Any) -> str | None:
        if event.event_id == "event-00002":
            raise OverflowError("a fault in the table")
        return None

    table["meta"] = msgspec.structs.replace(meta, checks=(*meta.checks, raises))
    try:
        async with inside(tmp_path, config) as running:
            await running.buy(3)
            await running.settled_at("meta", accepted=2, unfit=1)
            for destination in ("ga4", "google_ads", "crm"):
                await running.settled_at(destination, accepted=3)
            assert (await running.told("event-00002", "meta"))["reason"] == "render_failed"
    finally:
        table["meta"] = meta


# ------------------------------------------------------------------ workers


async def test_a_worker_that_crashes_is_started_again_and_delivers(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path, config, only=("crm",)) as running:
        store = cast("Any", running.house.store)
        claim, crashes = store.claim, 0

        async def crashing(*arguments: Any, **named: Any) -> Any:
            nonlocal crashes
            crashes += 1
            if crashes == 1:
                raise RuntimeError("a fault nobody foresaw")
            return await claim(*arguments, **named)

        store.claim = crashing
        await running.buy(3)
        await running.settled(accepted=3)
        assert '"event":"worker_restarted"' in running.log.getvalue()
        assert running.ledger("crm").double_effects() == {}


@pytest.mark.parametrize("name", ["purchase", "generate_lead"])
async def test_an_answer_that_could_not_be_written_down_at_once_is_not_asked_for_again(
    tmp_path: Path, config: SandboxConfig, name: str
) -> None:
    """The store is locked from before the answer until long after the store's timeout, and past the lease."""
    async with inside(tmp_path, config, only=("ga4", "crm"), limits={"store_timeout_s": 0.5}) as running:
        for destination in ("ga4", "crm"):
            running.vendor(destination).faults.next(Fault.delay(0.5))
        await running.buy(1, name=name)
        await until(lambda: all(running.ledger(one).requests() for one in ("ga4", "crm")))
        async with locked(running.database):
            await asyncio.sleep(1.6)
            running.pass_time(s=600)
            await asyncio.sleep(0.2)
        for destination in ("ga4", "crm"):
            await running.settled_at(destination, accepted=1)
            assert len(running.ledger(destination).requests()) == 1, destination


@pytest.mark.parametrize("name", ["purchase", "generate_lead"])
async def test_a_worker_that_dies_after_sending_leads_to_no_second_effect(
    tmp_path: Path, config: SandboxConfig, name: str
) -> None:
    """With a key the vendor tells the repeat; without one there is none."""
    async with inside(tmp_path, config, only=("ga4",)) as running:
        store = cast("Any", running.house.store)
        settle, crashes = store.settle, 0

        async def crashing(*arguments: Any, **named: Any) -> Any:
            nonlocal crashes
            crashes += 1
            if crashes == 1:
                raise RuntimeError("a fault nobody foresaw")
            return await settle(*arguments, **named)

        store.settle = crashing
        await running.buy(1, name=name)
        await until(lambda: "worker_restarted" in running.log.getvalue())
        running.pass_time(s=600)
        await running.settled(**{"accepted" if name == "purchase" else "unconfirmed": 1})
        assert list(running.ledger("ga4").effects().values()) == [1]
        assert len(running.ledger("ga4").requests()) == (2 if name == "purchase" else 1)


async def test_a_claim_whose_commit_took_long_is_sent_all_the_same(tmp_path: Path, config: SandboxConfig) -> None:
    """The commit is durable, but later than a request would wait for it."""
    clock = MovableClock()
    lingering_s = [0.0]
    settings = settings_of(tmp_path, config, only=("ga4",), limits={"store_timeout_s": 0.4})
    async with (
        StandIns(config, clock=clock) as stand_ins,
        serving(settings, stand_ins, clock, after_commit=lambda: time.sleep(lingering_s[0])) as running,
    ):
        running.vendor("ga4").faults.next(Fault.throttled("5"))
        await running.buy(1, name="generate_lead")
        await running.settled(waiting=1)
        await until(lambda: len(running.ledger("ga4").requests()) == 1)
        await asyncio.sleep(0.2)
        lingering_s[0] = 1.2
        running.pass_time(s=6)
        await asyncio.sleep(1.5)
        lingering_s[0] = 0.0
        await running.settled(accepted=1)
        assert list(running.ledger("ga4").effects().values()) == [1]


async def test_deliveries_that_a_locked_store_could_not_hand_out_are_sent_later(
    tmp_path: Path, config: SandboxConfig
) -> None:
    async with inside(tmp_path, config, only=("ga4",), limits={"store_timeout_s": 0.5}) as running:
        running.vendor("ga4").faults.next(Fault.throttled("1"))
        await running.buy(1, name="generate_lead")
        await until(lambda: len(running.ledger("ga4").requests()) == 1)
        async with locked(running.database):
            await asyncio.sleep(1.5)
        running.pass_time(s=600)
        await running.settled(accepted=1)
        assert list(running.ledger("ga4").effects().values()) == [1]


# ------------------------------------------------------------------ consent while something is under way


async def refuse(running: Inside, person: str, **changes: object) -> None:
    denied = dict.fromkeys(("analytics", "advertising", "ad_user_data", "ad_personalization"), "denied")
    answered = await running.api("/consent", {"choice": denied, "person": {"external_id": person}, **changes})
    assert answered.status == 200, answered


@pytest.mark.parametrize("late", [False, True])
async def test_a_refusal_during_an_attempt_cancels_the_next(tmp_path: Path, config: SandboxConfig, late: bool) -> None:
    """`late`: the backend passes the refusal on only now; it was made before the order."""
    async with inside(tmp_path, config, only=("crm",)) as running:
        running.vendor("crm").faults.next(Fault.black_hole())
        await running.buy(1, person={"external_id": "p-1"})
        await until(lambda: len(running.ledger("crm").requests()) == 1)
        decided_at_ms = running.clock.now_ms() - (60_000 if late else 0)
        await refuse(running, "p-1", decided_at_ms=decided_at_ms)
        await running.settled(cancelled=1, accepted=1)
        running.pass_time(s=600)
        await asyncio.sleep(0.3)
        assert len(running.ledger("crm").requests()) == 2
        taken = [one.event["type"] for one in running.ledger("crm").accepted_events()]
        assert taken == ["consent.withdrawn"], "the order may have arrived, so its receiver is told, and nothing else"


async def test_a_refusal_reaches_what_was_claimed_and_still_waits_for_its_turn(
    tmp_path: Path, config: SandboxConfig
) -> None:
    """Eight requests are under way and hang; behind them wait orders whose second judgement grows old."""
    async with inside(tmp_path, config, only=("crm",)) as running:
        running.vendor("crm").faults.next(Fault.black_hole(), times=8)
        orders = [msgspec.Raw(body) for body in _orders(30)]
        assert (await running.api("/api/v1/conversions/batch", {"conversions": orders})).status == 200
        await until(lambda: len(running.ledger("crm").requests()) == 8)
        await refuse(running, "p-25")
        running.clock.move(s=6)
        await running.settled(accepted=30, cancelled=1)  # the thirtieth is the message that it was refused
        assert (await running.told("event-25", "crm"))["fate"] == "cancelled"
        taken = [one.event for one in running.ledger("crm").accepted_events()]
        assert [event["data"] for event in taken if event["type"] == "consent.withdrawn"]
        assert "event-25" not in str([event for event in taken if event["type"] != "consent.withdrawn"])


def _orders(count: int) -> list[bytes]:
    return [conversion_body(f"event-{n:02}", f"A{n:02}", person={"external_id": f"p-{n}"}) for n in range(count)]


# ------------------------------------------------------------------ leases, in every store


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = await open_sqlite(tmp_path / "gateway.db", sites=("shop",), now_ms=NOW)
    else:
        made = MemoryStore(("shop",))
    yield made
    await made.close()


async def claimed(store: Store, now_ms: int) -> DueDelivery:
    [due] = await store.claim("shop", "meta", now_ms=now_ms, lease_ms=60_000, limit=10)
    return due


async def owed_once(store: Store) -> None:
    row = EventRow("shop", "event-0001", "purchase", "server", NOW, NOW, "none", None, b"{}")
    claim = ConversionClaim("purchase", "o:1", "1", 100, "EUR")
    owed = Owed(destination="meta", fate="waiting", reason="fresh", payload=b"x", dedup_key="k", expires_at_ms=2 * NOW)
    await store.submit(Submission((Recordable(event=row, conversion=claim, owed=(owed,)),)))


async def test_a_lease_that_ran_out_is_handed_out_as_unsure(store: Store) -> None:
    await owed_once(store)
    assert (await claimed(store, NOW)).unsure_since_ms is None
    assert (await claimed(store, NOW + 60_000)).unsure_since_ms == NOW + 60_000
    assert (await claimed(store, NOW + 120_000)).unsure_since_ms == NOW + 60_000, "since the first doubt"


async def test_what_was_given_back_is_not_unsure(store: Store) -> None:
    await owed_once(store)
    due = await claimed(store, NOW)
    back = Settlement(
        delivery_id=due.delivery_id, fate="waiting", reason="fresh", at_ms=NOW, due_at_ms=NOW, attempted=False
    )
    await store.settle([back])
    again = await claimed(store, NOW + 120_000)
    assert (again.unsure_since_ms, again.attempts) == (None, 1)


async def test_a_replay_keeps_the_doubt(store: Store) -> None:
    await owed_once(store)
    due = await claimed(store, NOW)
    dead = Settlement(delivery_id=due.delivery_id, fate="dead", reason="attempts_exhausted", at_ms=NOW + 5, unsure=True)
    await store.settle([dead])
    replayed = await store.replay(now_ms=NOW + 10, site=None, destination=None, delivery_id=None, limit=10)
    assert replayed == 1
    assert (await claimed(store, NOW + 10)).unsure_since_ms == NOW + 5
