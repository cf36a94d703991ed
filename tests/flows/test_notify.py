"""Notifications of counted conversions: what the owner's system receives, how often, and where they must never go."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook as Verifier

from gateway.clock import ManualClock
from gateway.entropy import SeededEntropy
from gateway.errors import OutboundRefused
from gateway.exchange import Call
from gateway.flows.notices import PREFIX
from gateway.flows.notify import signing_secrets
from gateway.outbound import GuardedResolver, Network, Outbound
from gateway.sandbox.config import SandboxConfig, WebhookConfig, WebhookEndpoint
from gateway.sandbox.faults import Fault
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.vault import Vault, read_key_file
from tests.support.goals import CLICK, Owner
from tests.support.running import NOW_MS, Running, install, running

HOOK: Final = "https://hooks.owner.example/conversions"
OTHER: Final = "https://other.owner.example/conversions"
GUIDE: Final = ("event", "conversion_id", "link_id", "click_id", "value", "currency", "timestamp")


def secret_of(directory: Path) -> str:
    """The secret an operator is shown, worked out from the key file."""
    vault = Vault(read_key_file(install(directory) / "keys.json"), SeededEntropy(b"x"))
    keys = vault.signing_keys("notification", "shop")
    assert len(keys) == 1

    class House:
        def __init__(self) -> None:
            self.vault = vault

    return signing_secrets(House(), "shop")  # type: ignore[arg-type] # only its keys are asked for


class Receiver:
    """A running shop whose notifications arrive at a strict stand-in."""

    def __init__(self, shop: Running, stand_ins: StandIns, owner: Owner, secret: str) -> None:
        self.shop = shop
        self.stand_ins = stand_ins
        self.owner = owner
        self.secret = secret

    async def until(self, true: Callable[[], bool], seconds: float = 6.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.02)

    async def later(self, goal: dict[str, Any], true: Callable[[], bool]) -> None:
        """Let time pass, and the lane of a goal look at it, until something holds."""
        async with asyncio.timeout(6.0):
            while not true():
                self.shop.move(seconds=60)
                self.shop.gateway.house.nudge("shop", PREFIX + goal["id"])
                await asyncio.sleep(0.02)

    @property
    def taken(self) -> list[Any]:
        return self.stand_ins.webhook.ledger.accepted_events()

    @property
    def calls(self) -> list[Any]:
        return self.stand_ins.webhook.ledger.requests()

    async def buy(self, goal: dict[str, Any], **body: Any) -> dict[str, Any]:
        said = await self.shop.send("POST", self.owner.track(goal), body=body)
        assert said.status == 200, said
        found: dict[str, Any] = said.json()
        return found

    def fates(self) -> list[tuple[Any, ...]]:
        return self.shop.rows("select fate, reason, attempts from delivery order by delivery_id")


@asynccontextmanager
async def receiving(directory: Path, **sections: Any) -> AsyncIterator[Receiver]:
    clock = ManualClock(NOW_MS)
    secret = secret_of(directory)
    endpoints = tuple(WebhookEndpoint(url=url, secrets=(secret,), conversions=True) for url in (HOOK, OTHER))
    config = SandboxConfig(webhook=WebhookConfig(endpoints=endpoints))
    async with StandIns(config, clock=clock) as stand_ins:
        resolver, trust = network_from(stand_ins.connect_info())
        async with running(directory, clock=clock, network=Network(resolver, trust), **sections) as shop:
            yield Receiver(shop, stand_ins, await Owner.of(shop), secret)


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as started:
        yield started


# ------------------------------------------------------------------ what arrives


async def test_p18_p20_p21_a_receiver_is_told_within_seconds(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    await receiver.owner.click(link_id="lnk-1", campaign_id="cmp-1", ambassador_id="amb-1")
    said = await receiver.buy(goal, value=99.99, currency="USD", order_id="ORD-1", click_id=CLICK)
    await receiver.until(lambda: len(receiver.taken) == 1)
    body = receiver.taken[0].event
    assert tuple(body)[:7] == GUIDE
    assert body | {"event_id": None} == {
        "event": "conversion.tracked", "conversion_id": said["conversion_id"], "link_id": "lnk-1", "click_id": CLICK,
        "value": 99.99, "currency": "USD", "timestamp": "2026-11-20T12:00:00.000Z", "goal": "q1_sale",
        "value_source": "event", "order_id": "ORD-1", "event_id": None, "campaign_id": "cmp-1", "ambassador_id": "amb-1",
        "status": "sale", "test": False,
    }  # fmt: skip
    await receiver.until(lambda: receiver.fates() == [("accepted", "vendor_accepted", 1)])


async def test_p23_it_is_signed_as_the_standards_own_library_checks(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    await receiver.buy(goal, order_id="1")
    await receiver.until(lambda: len(receiver.calls) == 1)
    call = receiver.calls[0]
    shown = await receiver.shop.admin("GET", "/api/admin/v1/notifications/shop")
    assert shown.json() == {"site": "shop", "signing_secret": receiver.secret}
    message_id, at = call.headers["webhook-id"], datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    assert message_id.startswith("msg_")
    # The library takes the present only, so its signature is compared; the stand-in has looked at the time.
    assert Verifier(receiver.secret).sign(message_id, at, call.body) == call.headers["webhook-signature"]


async def test_the_secret_is_shown_to_operators_only(receiver: Receiver) -> None:
    said = await receiver.shop.admin("GET", "/api/admin/v1/notifications/shop", headers={})
    assert said.status == 401
    assert (await receiver.shop.admin("GET", "/api/admin/v1/notifications/nobody")).status == 404


async def test_a_browsers_conversion_is_told_too_and_holds_nothing_of_the_person(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(code="purchase", name="Purchase", notify_url=HOOK)
    body = {
        "name": "purchase", "value": "10", "order_id": "1", "url": "https://www.shop.example/thanks?email=ann@mail.example",
        "person": {"email": "ann@mail.example", "first_name": "Ann"}, "consent": {"analytics": "denied"},
    }  # fmt: skip
    assert (await receiver.shop.collect(body)).status == 204
    await receiver.until(lambda: len(receiver.taken) == 1)
    text = receiver.calls[0].body
    assert goal["code"] in text
    for personal in ("ann", "Ann", "mail.example", "203.0.113", "127.0.0.1", "Mozilla"):
        assert personal not in text


async def test_a_duplicate_is_not_told(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    for _ in range(3):
        await receiver.buy(goal, order_id="1")
    await receiver.until(lambda: len(receiver.taken) == 1)
    assert len(receiver.fates()) == 1


async def test_a_template_is_called_with_the_values_filled_in(receiver: Receiver) -> None:
    url = "https://hooks.owner.example/conversions?cid={clickid}&sum={payout}&cur={currency}&tx={txid}&x={unknown}"
    goal = await receiver.owner.goal(notify_url=url)
    await receiver.buy(goal, value="12.50", order_id="A/1 b", click_id=CLICK)
    await receiver.until(lambda: len(receiver.calls) >= 1)
    call = receiver.calls[0]
    assert (call.method, call.path, call.body) == ("GET", "/conversions", "")
    filled = {"cid": CLICK, "sum": "12.50", "cur": "EUR", "tx": "A/1 b"}
    assert dict(call.query) in (filled, {**filled, "x": ""})


# ------------------------------------------------------------------ when it does not arrive


async def test_p23_a_receiver_that_fails_is_asked_again_with_the_same_id(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    receiver.stand_ins.webhook.faults.next(Fault.status(503), 2)
    await receiver.buy(goal, order_id="1")
    await receiver.until(lambda: len(receiver.calls) == 1)
    await receiver.later(goal, lambda: len(receiver.taken) == 1)
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1
    assert receiver.stand_ins.webhook.ledger.double_effects() == {}


async def test_what_died_can_be_sent_again_to_the_address_put_right(tmp_path: Path) -> None:
    async with receiving(tmp_path, delivery={"retry_for_h": 0.00001}) as receiver:
        goal = await receiver.owner.goal(notify_url="https://nobody.owner.example/hook")
        await receiver.buy(goal, order_id="1")
        await receiver.until(lambda: receiver.fates() == [("dead", "attempts_exhausted", 1)])
        assert len(receiver.calls) == 0
        await receiver.owner.change("goal", goal["id"], notify_url=OTHER)
        said = await receiver.shop.admin(
            "POST", "/api/admin/v1/replay", body={"site": "shop", "destination": PREFIX + goal["id"]}
        )
        assert said.json() == {"replayed": 1}
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert receiver.calls[0].host == "other.owner.example"


async def test_without_an_address_what_waits_is_cancelled(tmp_path: Path) -> None:
    async with receiving(tmp_path) as receiver:
        goal = await receiver.owner.goal(notify_url=HOOK)
        receiver.stand_ins.webhook.faults.always(Fault.status(503))
        await receiver.buy(goal, order_id="1")
        await receiver.until(lambda: len(receiver.calls) == 1)
        await receiver.owner.change("goal", goal["id"], notify_url="")
        await receiver.later(goal, lambda: receiver.fates()[0][:2] == ("cancelled", "destination_removed"))


async def test_what_waits_is_sent_after_a_restart(tmp_path: Path) -> None:
    async with receiving(tmp_path) as first:
        goal = await first.owner.goal(notify_url=HOOK)
        first.stand_ins.webhook.faults.always(Fault.status(503))
        await first.buy(goal, order_id="1")
        await first.until(lambda: len(first.calls) == 1)
    async with receiving(tmp_path) as second:
        await second.later(goal, lambda: len(second.taken) == 1)


@pytest.mark.thorough  # it hangs until the gateway has stopped
async def test_one_receiver_that_hangs_holds_up_nobody_else(receiver: Receiver) -> None:
    slow = await receiver.owner.goal(name="Slow", notify_url=HOOK)
    quick = await receiver.owner.goal(name="Quick", notify_url=OTHER)
    receiver.stand_ins.webhook.faults.when(
        lambda call: Fault.black_hole() if call.host == "hooks.owner.example" else None
    )
    await receiver.buy(slow, order_id="1")
    await receiver.until(lambda: len(receiver.calls) == 1)
    await receiver.buy(quick, order_id="1")
    await receiver.until(lambda: len(receiver.taken) == 1)


async def test_gateway_check_finds_nothing_wrong_with_waiting_notifications(receiver: Receiver) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    receiver.stand_ins.webhook.faults.always(Fault.status(503))
    await receiver.buy(goal, order_id="1")
    await receiver.until(lambda: len(receiver.calls) == 1)
    said = await receiver.shop.admin("GET", "/api/admin/v1/check")
    assert said.json()["problems"] == []
    status = (await receiver.shop.admin("GET", "/api/admin/v1/status")).json()
    assert status["parked"] == []


# ------------------------------------------------------------------ where it must not go: attack rows 30 to 32


class Answers(AbstractResolver):
    """A name server of an attacker: each look-up gets the next of its answers, the last for ever."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


PRIVATE: Final = (
    "127.0.0.1", "0.0.0.0", "169.254.169.254", "10.1.2.3", "192.168.0.1", "100.64.0.1", "::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "fe80::1", "fd00::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_row_30_a_name_that_leads_inside_is_not_connected_to(tmp_path: Path, address: str) -> None:
    """However a goal came to name it: what a name means is looked at when something is sent."""
    reached: list[object] = []
    async with _listening(reached) as port:
        answers = Answers(address)
        network = Network(GuardedResolver(answers), None)
        delivery = {"webhook_ports": [443, port], "retry_for_h": 0.00001}
        async with running(tmp_path, network=network, delivery=delivery) as shop:
            owner = await Owner.of(shop)
            goal = await owner.goal(notify_url=f"https://inside.owner.example:{port}/hook")
            await shop.send("POST", owner.track(goal), body={"order_id": "1"})
            async with asyncio.timeout(5):
                while shop.rows("select fate from delivery") != [("dead",)]:
                    await asyncio.sleep(0.02)
    assert answers.asked >= 1
    assert reached == []


@asynccontextmanager
async def _listening(reached: list[object]) -> AsyncIterator[int]:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


SPELLINGS: Final = (
    "https://127.0.0.1/", "https://[::1]/", "https://0.0.0.0/", "https://169.254.169.254/latest", "https://2130706433/",
    "https://0177.0.0.1/", "https://localhost./", "https://localhost/", "http://hooks.owner.example/", "file:///etc/passwd",
    "https://u:p@hooks.owner.example/", "https://hooks.owner.example:22/", "https://elsewhere.example/", "https:///x",
)  # fmt: skip


@pytest.mark.parametrize("url", SPELLINGS)
async def test_row_30_an_address_that_may_not_be_connected_to_is_refused_when_sending(url: str) -> None:
    hosts = frozenset(
        {"hooks.owner.example", "127.0.0.1", "0.0.0.0", "::1", "169.254.169.254", "2130706433", "localhost"}
    )
    out = Outbound(Network(Answers("127.0.0.1"), None), frozenset())
    out.admit("goal", hosts | {"localhost.", "0177.0.0.1"})
    call = Call(method="POST", url=url, headers={}, body=b"", timeout_s=1)
    with pytest.raises(OutboundRefused):
        await out.send(call, {}, now_s=0)
    await out.close()


def test_row_30_a_host_may_be_spoken_to_while_somebody_names_it() -> None:
    out = Outbound(Network(), frozenset({"vendor.example"}))
    out.admit("goal-1", frozenset({"hooks.owner.example"}))
    out.admit("goal-2", frozenset({"hooks.owner.example"}))
    out.check("https://hooks.owner.example/")
    out.admit("goal-1", frozenset())
    out.check("https://hooks.owner.example/")
    out.admit("goal-2", frozenset({"other.owner.example"}))
    with pytest.raises(OutboundRefused, match="host_unknown"):
        out.check("https://hooks.owner.example/")
    out.check("https://vendor.example/")


async def test_row_31_a_second_answer_of_the_name_server_is_never_asked_for(tmp_path: Path) -> None:
    """What was checked is what is connected to: a name that means something else a moment later changes nothing."""
    reached: list[object] = []
    async with _listening(reached) as port:
        answers = Answers("198.51.100.7", "127.0.0.1")
        guarded = GuardedResolver(answers)
        with pytest.raises(OSError, match="no public address"):
            await guarded.resolve("x.example", port)
        answers = Answers("93.184.215.14", "127.0.0.1")
        guarded = GuardedResolver(answers)
        (found,) = await guarded.resolve("x.example", port)
        assert found["host"] == "93.184.215.14"
        with pytest.raises(OSError, match="no public address"):
            await guarded.resolve("x.example", port)
    assert reached == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.redirect("https://169.254.169.254/latest/meta-data"), "configuration"),
        (Fault.redirect("https://other.owner.example/conversions", status=307), "configuration"),
        (Fault.endless_body(), "accepted"),
        (Fault.huge_body(50_000_000), "accepted"),
    ],
    ids=["inside", "elsewhere", "endless", "huge"],
)
async def test_row_32_a_hostile_answer_is_not_followed_and_cut(receiver: Receiver, fault: Fault, expected: str) -> None:
    goal = await receiver.owner.goal(notify_url=HOOK)
    receiver.stand_ins.webhook.faults.next(fault)
    await receiver.buy(goal, order_id="1")
    await receiver.until(lambda: len(receiver.calls) >= 1)
    await receiver.until(lambda: receiver.shop.count("attempt") >= 1, 15)
    await receiver.until(lambda: receiver.fates()[0][2] >= 1)
    (verdict, size), *_ = receiver.shop.rows("select verdict, length(answer) from attempt order by rowid")
    assert verdict == expected
    assert size is None or size < 1_000
    assert {call.host for call in receiver.calls} == {"hooks.owner.example"}, "no redirect is followed"
