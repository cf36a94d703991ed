"""Carts that are left: when the timer is set and stopped, what is recorded and told once it is due, and crashes in between.

The receiver is the webhook's stand-in, so "told" means that a signed message really arrived.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.clock import ManualClock
from gateway.errors import SettingsError
from gateway.flows import carts, timers
from gateway.flows.credit import credit_due
from gateway.flows.forget import forget
from gateway.outbound import Network
from gateway.sandbox.config import default_config
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.settings import Settings
from tests.support.goals import Owner
from tests.support.running import AGENT, NOW_MS, PAGE, Running, refused_with, running, settings_for

ALL: Final = dict.fromkeys(("analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")
NONE: Final = dict.fromkeys(ALL, "denied")
LINES: Final = [{"id": "11", "name": "Shirt", "price": "50.00", "quantity": 2}]
MINUTES: Final = 30
CONFIG: Final = default_config()


class Shop:
    """A gateway with the receiver of its messages, and one browser."""

    def __init__(self, running: Running, stand_ins: StandIns) -> None:
        self.running = running
        self.stand_ins = stand_ins
        self.cookies: dict[str, str] = {}

    async def hit(self, name: str, *, consent: dict[str, str] | None = None, **fields: Any) -> None:
        """One event of a browser that keeps its cookies."""
        cookie = "; ".join(f"{key}={value}" for key, value in self.cookies.items()) or None
        body = {"name": name, "consent": ALL if consent is None else consent, **fields}
        said = await self.running.collect(body, cookie=cookie)
        assert said.status == 204, said
        self.cookies |= said.cookies()
        self.cookies = {key: value for key, value in self.cookies.items() if value}

    async def choose(self, choice: dict[str, str]) -> None:
        """Choose in the site's own dialog."""
        cookie = "; ".join(f"{key}={value}" for key, value in self.cookies.items())
        headers = {"Origin": PAGE, **({"Cookie": cookie} if cookie else {})}
        said = await self.running.send("POST", "/consent", headers=headers, body={"choice": choice})
        assert said.status == 200, said
        self.cookies |= said.cookies()

    async def cart(self, **fields: Any) -> None:
        """Begin to check out."""
        await self.hit(
            "begin_checkout", **{"id": "checkout-1", "value": "100.00", "currency": "EUR", "items": LINES, **fields}
        )

    async def pass_by(self, minutes: float) -> int:
        """Let time pass, and do what is due then. Answers how many timers were taken."""
        self.running.move(seconds=minutes * 60)
        return await timers.run_due(self.running.gateway.house)

    def left(self) -> list[str]:
        """Ids of the recorded events that tell of a cart that was left."""
        return [row[0] for row in self.running.rows("select event_id from event where name = 'abandoned_checkout'")]

    async def told(self, count: int = 1) -> list[dict[str, Any]]:
        """What the receiver was told, once it was told so often."""
        await until(lambda: len(self.stand_ins.webhook.ledger.accepted_events()) >= count)
        found = [dict(one.event) for one in self.stand_ins.webhook.ledger.accepted_events()]
        assert len(found) == count
        return found

    def marks(self, name: str) -> float:
        """How often something was noted."""
        registry = self.running.gateway.house.telemetry.registry
        return registry.get_sample_value("gateway_marks_total", {"mark": name}) or 0.0


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.02)


def site(**abandoned: Any) -> dict[str, Any]:
    values = CONFIG.gateway
    return {
        "abandoned": {"minutes": MINUTES, "destination": "sms", **abandoned},
        "destination": [
            {
                "platform": "webhook",
                "name": "sms",
                "url": values.webhook_url,
                "signing_secret": values.webhook_secret,
                "purposes": ["advertising"],
                "events": ["abandoned_checkout"],
                "contact": "plain",
            }
        ],
    }


@pytest.fixture
def clock() -> ManualClock:
    """One clock for the gateway and the receiver, which looks at the time of a signature."""
    return ManualClock(NOW_MS)


@pytest.fixture
async def stand_ins(clock: ManualClock) -> AsyncIterator[StandIns]:
    async with StandIns(CONFIG, clock=clock) as started:
        yield started


def network(stand_ins: StandIns) -> Network:
    return Network(*network_from(stand_ins.connect_info()))


@pytest.fixture
async def shop(tmp_path: Path, stand_ins: StandIns, clock: ManualClock) -> AsyncIterator[Shop]:
    async with running(tmp_path, network=network(stand_ins), clock=clock, shop=site()) as started:
        yield Shop(started, stand_ins)


# ------------------------------------------------------------------ left and told


async def test_c28_a_cart_without_a_purchase_becomes_one_event_after_the_set_time(shop: Shop) -> None:
    await shop.hit("add_to_cart", id="add-00001", value="50.00", currency="EUR", items=LINES[:1])
    await shop.cart()
    assert shop.running.count("timer") == 1
    assert await shop.pass_by(MINUTES - 0.1) == 0
    assert shop.left() == []
    assert await shop.pass_by(0.1) == 1
    assert len(shop.left()) == 1
    assert shop.running.count("timer") == 0
    assert await shop.pass_by(10_000) == 0
    assert len(shop.left()) == 1


async def test_c28_every_step_of_the_cart_begins_the_time_anew(shop: Shop) -> None:
    await shop.hit("add_to_cart", id="add-00001", items=LINES)
    assert await shop.pass_by(MINUTES - 1) == 0
    await shop.cart()
    assert await shop.pass_by(MINUTES - 1) == 0
    assert await shop.pass_by(1) == 1
    assert shop.left() == ["abandoned_checkout:checkout-1"]


async def test_c29_the_operators_sms_system_gets_a_signed_message(shop: Shop) -> None:
    await shop.cart()
    await shop.pass_by(MINUTES)
    (message,) = await shop.told()
    assert message["type"] == "conversion.abandoned_checkout"


async def test_c30_the_message_holds_the_cart_and_the_delay_and_contact_data_only_with_consent(shop: Shop) -> None:
    await shop.cart(person={"email": "jane.doe@example.com", "phone": "+4915112345678"})
    await shop.pass_by(MINUTES)
    (message,) = await shop.told()
    data = message["data"]
    assert (data["value"], data["currency"]) == ("100.00", "EUR")
    assert data["items"] == [{"id": "11", "name": "Shirt", "price": "50.00", "quantity": 2}]
    assert data["props"] == {"step": "begin_checkout", "delay_minutes": MINUTES}
    assert data["contact"] == {"email": "jane.doe@example.com", "phone": "+4915112345678"}
    assert data["visitor"]


async def test_c30_without_consent_to_send_contact_data_the_message_has_none(shop: Shop) -> None:
    consent = {"analytics": "granted", "advertising": "granted", "ad_user_data": "denied"}
    await shop.cart(consent=consent, person={"email": "jane.doe@example.com"})
    house = shop.running.gateway.house
    ((subject, payload),) = shop.running.rows("select subject_key, payload from timer")
    assert carts.read_cart(house, "shop", subject, payload).person == {}
    await shop.pass_by(MINUTES)
    (message,) = await shop.told()
    assert "contact" not in message["data"]


async def test_nothing_of_a_waiting_cart_is_stored_in_the_clear(shop: Shop) -> None:
    await shop.cart(person={"email": "jane.doe@example.com"})
    whole = b"".join(path.read_bytes() for path in (shop.running.directory / "data").glob("gateway.db*"))
    assert b"jane.doe" not in whole
    await shop.pass_by(MINUTES)
    await shop.told()
    whole = b"".join(path.read_bytes() for path in (shop.running.directory / "data").glob("gateway.db*"))
    assert b"jane.doe" not in whole


async def test_c33_the_sale_after_the_sms_is_the_sms_campaigns(shop: Shop) -> None:
    """A cart is left, the SMS system is told and sends its link, the link is opened, the order is placed."""
    owner = await Owner.of(shop.running)
    campaign = await owner.campaign(name="Cart recovery", code="recovery", channel="sms")
    link = {
        "target": "https://www.shop.example/cart",
        "code": "cart-7",
        "campaign_id": campaign["id"],
        "recipient": "r-7",
    }
    made = await shop.running.api("/api/v1/links", link, owner.key)
    assert made.status == 201, made
    await shop.choose(ALL)
    await shop.cart()
    await shop.pass_by(MINUTES)
    await shop.told()
    cookie = "; ".join(f"{key}={value}" for key, value in shop.cookies.items())
    opened = await shop.running.send("GET", "/l/cart-7", headers={"User-Agent": AGENT, "Cookie": cookie})
    assert opened.status == 302, opened
    shop.cookies |= opened.cookies()
    await shop.hit("page_view", url=opened.header("location"))
    await shop.hit("purchase", id="purchase-1", order_id="1001", value="100.00", currency="EUR")
    await credit_due(shop.running.gateway.house)
    credited = "select campaign_id, channel, share_e9 from credit where conversion_id = ?"
    assert shop.running.rows(credited, "c1_purchase-1") == [(campaign["id"], "sms", 1_000_000_000)]


# ------------------------------------------------------------------ bought, refused, erased


async def test_a_purchase_stops_the_timer(shop: Shop) -> None:
    await shop.cart()
    await shop.hit("purchase", id="purchase-1", order_id="1001", value="100.00", currency="EUR")
    assert shop.running.count("timer") == 0
    assert await shop.pass_by(MINUTES) == 0


async def test_a_purchase_that_names_the_person_only_is_found_when_the_cart_is_due(shop: Shop) -> None:
    """The shop's server knows the buyer by number; that the browser is theirs was seen before."""
    key = await shop.running.new_key()
    await shop.cart()
    login = {
        "name": "login", "id": "login-0001", "visitor": shop.cookies["__Host-gwid"], "consent": ALL,
        "person": {"external_id": "999"},
    }  # fmt: skip
    assert (await shop.running.api("/api/v1/events", login, key["key"])).status == 200
    bought = {
        "name": "purchase",
        "id": "purchase-1",
        "order_id": "1001",
        "value": "100.00",
        "person": {"external_id": "999"},
    }
    assert (await shop.running.api("/api/v1/conversions", bought, key["key"])).json()["fate"] == "counted"
    await shop.pass_by(MINUTES)
    assert shop.left() == []


async def test_a_purchase_with_the_same_address_is_found_when_the_cart_is_due(shop: Shop) -> None:
    """The shop's server never saw the browser; both named the same e-mail address."""
    key = await shop.running.new_key()
    await shop.cart(person={"email": "Jane.Doe@example.com"})
    person = {"email": "jane.doe@example.com"}
    bought = {"name": "purchase", "id": "purchase-1", "order_id": "1001", "value": "100.00", "person": person}
    assert (await shop.running.api("/api/v1/conversions", bought, key["key"])).json()["fate"] == "counted"
    await shop.pass_by(MINUTES)
    assert shop.left() == []
    assert shop.marks("cart_bought") == 1


@pytest.mark.parametrize(
    "consent",
    [NONE, {"analytics": "granted", "advertising": "denied"}, {}],
    ids=["refused", "for another purpose only", "nothing said"],
)
async def test_a_cart_is_watched_only_with_consent_to_what_the_receiver_needs(
    shop: Shop, consent: dict[str, str]
) -> None:
    await shop.cart(consent=consent)
    assert shop.running.count("timer") == 0


@pytest.mark.parametrize(
    "choice", [NONE, {**ALL, "advertising": "denied"}], ids=["everything", "what the receiver needs"]
)
async def test_who_refuses_meanwhile_is_not_written_to(shop: Shop, choice: dict[str, str]) -> None:
    await shop.cart()
    await shop.choose(choice)
    assert await shop.pass_by(MINUTES) == 1
    assert shop.left() == []
    assert shop.marks("cart_consent_lost") == 1


async def test_an_erasure_takes_the_cart_with_it(shop: Shop) -> None:
    await shop.cart()
    house = shop.running.gateway.house
    ((key,),) = shop.running.rows("select subject_key from timer")
    await forget(house, house.by_id["shop"], key, method="test")
    assert shop.running.count("timer") == 0


async def test_robots_leave_no_carts(shop: Shop) -> None:
    said = await shop.running.collect(
        {"name": "begin_checkout", "consent": ALL}, User_Agent="Googlebot/2.1 (+http://www.google.com/bot.html)"
    )
    assert said.status == 204
    assert shop.running.count("timer") == 0


async def test_a_cart_that_is_told_days_late_is_no_occasion_any_more(shop: Shop) -> None:
    key = await shop.running.new_key()
    late = {
        "name": "begin_checkout", "id": "checkout-old", "occurred_at": "2026-11-17T12:00:00Z",
        "person": {"external_id": "999"}, "consent": ALL,
    }  # fmt: skip
    assert (await shop.running.api("/api/v1/events", late, key["key"])).status == 200
    assert shop.running.count("timer") == 0


# ------------------------------------------------------------------ crashes


async def test_a_crash_after_recording_makes_no_second_event(shop: Shop) -> None:
    """The timer is taken, the event is durable, the process ends before the timer is finished."""
    await shop.cart()
    house = shop.running.gateway.house
    finish = house.store.finish_timers

    async def dies(_: object) -> None:
        raise RuntimeError

    house.store.finish_timers = dies  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError):
        await shop.pass_by(MINUTES)
    house.store.finish_timers = finish  # type: ignore[method-assign]
    assert len(shop.left()) == 1
    assert await shop.pass_by(0) == 0, "still taken"
    assert await shop.pass_by(timers.LEASE_MS / 60_000) == 1
    assert len(shop.left()) == 1
    assert shop.running.count("timer") == 0
    assert len(await shop.told()) == 1


async def test_timers_outlive_the_process(tmp_path: Path, stand_ins: StandIns, clock: ManualClock) -> None:
    async with running(tmp_path, network=network(stand_ins), clock=clock, shop=site()) as first:
        await Shop(first, stand_ins).cart()
    clock.move(ms=(MINUTES + 1) * 60_000)
    async with running(tmp_path, network=network(stand_ins), clock=clock, shop=site()) as second:
        shop = Shop(second, stand_ins)
        await until(lambda: len(shop.left()) == 1)  # the worker itself takes it
        await shop.told()


# ------------------------------------------------------------------ the list


async def test_c58_carts_that_were_left_are_listed_with_their_age(shop: Shop) -> None:
    key = await shop.running.new_key(rights=("reports",))
    await shop.cart()
    await shop.pass_by(MINUTES)
    shop.cookies = {}
    await shop.cart(id="checkout-2", value="20.00")
    await shop.pass_by(MINUTES)

    async def asked(query: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key['key']}"}
        said = await shop.running.send("GET", f"/api/v1/abandoned{query}", headers=headers)
        assert said.status == 200, said
        found: list[dict[str, Any]] = said.json()["carts"]
        return found

    first, second = await asked("")
    assert first == {
        "event_id": "abandoned_checkout:checkout-1",
        "left_at": "2026-11-20T12:00:00.000Z",
        "age_minutes": 60,
        "bought": False,
        "step": "begin_checkout",
        "value": "100.00",
        "currency": "EUR",
        "items": [{"id": "11", "name": "Shirt", "quantity": 2, "price": "50.00"}],
    }
    assert (second["event_id"], second["age_minutes"], second["value"]) == (
        "abandoned_checkout:checkout-2",
        30,
        "20.00",
    )
    assert [one["age_minutes"] for one in await asked("?older_than_minutes=31")] == [60]
    assert await asked("?older_than_minutes=61") == []
    await shop.hit("purchase", id="purchase-1", order_id="1001", value="20.00", currency="EUR")
    assert [one["bought"] for one in await asked("")] == [False, True]


async def test_the_list_is_for_keys_with_the_right_reports(shop: Shop) -> None:
    path = "/api/v1/abandoned"
    refused_with(await shop.running.send("GET", path), 401, "key_missing")
    wrong = await shop.running.new_key(rights=("events",))
    headers = {"Authorization": f"Bearer {wrong['key']}"}
    refused_with(await shop.running.send("GET", path, headers=headers), 403, "key_forbidden")
    right = await shop.running.new_key(rights=("reports",))
    headers = {"Authorization": f"Bearer {right['key']}"}
    for query, field in (
        ("?older_than_minutes=-1", "older_than_minutes"),
        ("?older_than_minutes=999999", "older_than_minutes"),
        ("?days=0", "days"),
        ("?after=x", "after"),
    ):
        refused_with(await shop.running.send("GET", path + query, headers=headers), 400, "field_invalid", field)


# ------------------------------------------------------------------ settings


def problems(tmp_path: Path, **shop: Any) -> Settings:
    return settings_for(tmp_path, shop=shop)


def test_the_receiver_must_be_a_webhook_that_lists_the_event(tmp_path: Path) -> None:
    right = site()
    assert problems(tmp_path, **right).site[0].abandoned.minutes == MINUTES
    for wrong in (
        {**right, "abandoned": {"minutes": 30, "destination": "other"}},
        {**right, "destination": [{**right["destination"][0], "events": ["purchase"]}]},
        {**right, "abandoned": {"minutes": 30, "starts": []}},
    ):
        with pytest.raises(SettingsError, match="abandoned"):
            problems(tmp_path, **wrong)


async def test_without_the_setting_no_cart_is_watched(tmp_path: Path, stand_ins: StandIns) -> None:
    async with running(tmp_path, network=network(stand_ins), shop=site(minutes=0)) as started:
        await Shop(started, stand_ins).cart()
        assert started.count("timer") == 0
