"""What is rarely met: a rehearsal before the real sale, a call that ends half way, two people behind one address.

Each test is one such meeting, from the first call to what is stored or told in the end.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.clock import ManualClock
from gateway.errors import StoreBusy
from gateway.event import ConsentChange, EventRow, Owed, Recordable, Submission
from gateway.flows import choose, click_keeping, timers
from gateway.flows.choose import Wish
from gateway.flows.credit import credit_due
from gateway.flows.expire import expire
from gateway.flows.forget import forget
from gateway.flows.request import Request
from gateway.outbound import Network
from gateway.purposes import ALL_PURPOSES, NECESSARY
from gateway.sandbox.config import default_config
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.stores import sqlite_credit
from gateway.stores.contract_credit import Contact
from gateway.stores.sqlite import open_sqlite
from gateway.times import DAY_MS
from tests.flows.test_notify import HOOK, receiving
from tests.handlers.conftest import UNLIMITED
from tests.handlers.test_hooks import SHOPIFY, shopify
from tests.handlers.test_redirect import SITE as LINK_SITE
from tests.handlers.test_redirect import links_of, parameters
from tests.support.crediting import SITE, crediting, key
from tests.support.goals import CLICK, Owner
from tests.support.running import AGENT, HOST, NOW_MS, PAGE, Running, Said, running

ALL: Final = dict.fromkeys(("analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")
NONE: Final = dict.fromkeys(ALL, "denied")
MINUTES: Final = 30
CONFIG: Final = default_config()
COOKIE: Final = "__Host-gwid"
_CHOSEN: Final = ALL_PURPOSES & ~NECESSARY
SALE: Final = {"name": "purchase", "id": "sale-00001", "order_id": "1", "value": "10.00", "currency": "EUR"}


def destination(**fields: Any) -> dict[str, Any]:
    """A receiver of signed messages."""
    url, secret = CONFIG.gateway.webhook_url, CONFIG.gateway.webhook_secret
    return {"platform": "webhook", "name": "crm", "url": url, "signing_secret": secret, **fields}


CARTS: Final[dict[str, Any]] = {
    "abandoned": {"minutes": MINUTES, "destination": "crm"},
    "destination": [destination(purposes=["advertising"], events=["abandoned_checkout"], contact="plain")],
}
REFUNDS: Final[dict[str, Any]] = {
    "regime": "none",
    "granted_by_default": ["analytics"],
    "destination": [destination(purposes=["analytics"], events=["purchase", "refund"])],
}


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with StandIns(CONFIG, clock=ManualClock(NOW_MS)) as stand_ins:
        yield Network(*network_from(stand_ins.connect_info()))


async def login(shop: Running, api_key: str, visitor: str, person: str = "999") -> None:
    """A browser is seen to be a person, under consent."""
    body = {"name": "login", "id": "login-0001", "visitor": visitor, "consent": ALL, "person": {"external_id": person}}
    said = await shop.api("/api/v1/events", body, api_key)
    assert said.status == 200, said


async def credited(shop: Running) -> None:
    """Every conversion is decided."""
    while await credit_due(shop.gateway.house):
        pass


async def begin_checkout(shop: Running, **fields: Any) -> str:
    """A browser that granted everything has a cart. Answers its visitor token."""
    visitor = (await shop.collect({"name": "page_view", "consent": ALL})).cookies()[COOKIE]
    cart = {
        "name": "begin_checkout",
        "id": "checkout-1",
        "visitor": visitor,
        "consent": ALL,
        "value": "100.00",
        **fields,
    }
    api_key = (await shop.new_key())["key"]
    answered = await shop.api("/api/v1/events", {"currency": "EUR", **cart}, api_key)
    assert answered.status == 200, answered
    assert shop.count("timer") == 1
    return visitor


class BusyOnce:
    """The store is busy once, when an event of this name is submitted."""

    def __init__(self, shop: Running, name: str, patch: pytest.MonkeyPatch) -> None:
        self._name = name
        self._submit = shop.gateway.house.store.submit
        self.met = False
        patch.setattr(shop.gateway.house.store, "submit", self)

    def __call__(self, submission: Submission) -> Any:
        if not self.met and submission.items and submission.items[0].event.name == self._name:
            self.met = True
            raise StoreBusy("queue full")
        return self._submit(submission)


# ------------------------------------------------------------------ a rehearsal and the real sale


async def test_a_test_event_takes_no_order_number_from_the_real_sale(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        owner = await Owner.of(shop)
        rehearsed = {**SALE, "id": "rehearsal-1", "value": "1.00", "test": True, "consent": NONE}
        assert (await shop.collect(rehearsed)).status == 204
        assert (await shop.api("/api/v1/conversions", SALE, owner.key)).json()["fate"] == "counted"
        refund = {"adjustment_id": "refund-0001", "kind": "refund", "value": "4", "currency": "EUR"}
        assert (await shop.api("/api/v1/conversions/order:1/adjustments", refund, owner.key)).status == 200
        given = "select conversion_id from adjustment where adjustment_id = 'refund-0001'"
        assert shop.rows(given) == [("c1_sale-00001",)]
        await credited(shop)
        assert shop.rows("select conversions, net_minor from goal_day") == [(1, 600)]


async def test_a_refund_of_an_order_leaves_its_rehearsal_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        owner = await Owner.of(shop)
        await shop.api("/api/v1/conversions", {**SALE, "id": "rehearsal-1", "test": True}, owner.key)
        await shop.api("/api/v1/conversions", SALE, owner.key)
        refund = {"adjustment_id": "refund-0001", "kind": "refund", "value": "4", "currency": "EUR"}
        said = await shop.api("/api/v1/conversions/order:1/adjustments", refund, owner.key)
        assert [(one["conversion_id"], one["net"]) for one in said.json()["conversions"]] == [("c1_sale-00001", "6.00")]
        assert shop.rows("select test, net_minor from conversion order by test") == [(0, 600), (1, 1000)]


async def test_a_conversion_of_the_browser_wakes_credit_and_its_repeat_owes_nothing(
    tmp_path: Path, network: Network
) -> None:
    hook = {"destination": [destination(purposes=["advertising"], events=["purchase"])]}
    async with running(tmp_path, network=network, shop=hook) as shop:
        woken = shop.gateway.house.crediting.wake = (
            asyncio.Event()
        )  # the worker waits for the old one and clears no other
        for _ in range(2):
            assert (await shop.collect({**SALE, "consent": ALL})).status == 204
            counted = shop.gateway.house.telemetry.metrics().decode()
            owed = 'gateway_deliveries_owed_total{destination="crm",fate="waiting",site="shop"} 1.0'
            assert owed in counted
        assert woken.is_set()


async def test_a_test_event_sent_twice_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        owner = await Owner.of(shop)
        for event_id in ("test-00001", "test-00002"):
            await shop.api("/api/v1/conversions", {**SALE, "id": event_id, "test": True}, owner.key)
        assert [one["fate"] for one in owner.conversions()] == ["counted", "duplicate"]


# ------------------------------------------------------------------ erased people


async def test_erasing_a_person_stops_carts_that_hold_their_contact_data(tmp_path: Path, network: Network) -> None:
    async with running(tmp_path, network=network, shop=CARTS) as shop:
        await begin_checkout(shop, person={"external_id": "999", "email": "jane.doe@example.com"})
        house = shop.gateway.house
        ((person,),) = shop.rows("select distinct person_key from event where person_key is not null")
        await forget(house, house.by_id["shop"], person, method="test")
        assert shop.count("timer") == 0
        shop.move(seconds=MINUTES * 60)
        assert await timers.run_due(house) == 0


async def test_erasing_a_person_leaves_the_carts_of_others(tmp_path: Path, network: Network) -> None:
    async with running(tmp_path, network=network, shop=CARTS) as shop:
        await begin_checkout(shop, person={"external_id": "999"})
        await forget(shop.gateway.house, shop.gateway.house.by_id["shop"], key("somebody else"), method="test")
        assert shop.count("timer") == 1


async def test_a_redaction_that_failed_halfway_erases_the_browsers_when_it_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = {"name": "shopify", "adapter": "shopify", "secrets": [SHOPIFY]}
    async with running(tmp_path, shop={"webhook": [webhook]}) as shop:
        visitor = (await shop.collect({"name": "page_view", "consent": ALL})).cookies()[COOKIE]
        await login(shop, (await shop.new_key())["key"], visitor)
        erase, asked = shop.gateway.house.store.erase, 0

        async def second_fails(change: ConsentChange, *how: Any, **more: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 2:
                raise StoreBusy("queue full")
            return await erase(change, *how, **more)

        monkeypatch.setattr(shop.gateway.house.store, "erase", second_fails)
        body = {"customer": {"id": 999}}
        assert (await shopify(shop, "customers/redact", body)).status == 503
        assert (await shopify(shop, "customers/redact", body)).status == 200
        assert shop.rows("select name from event where visitor_key is not null or person_key is not null") == []


# ------------------------------------------------------------------ who refused


@pytest.mark.parametrize(("consent", "matched"), [(ALL, "user"), (NONE, "none")], ids=["granted", "refused"])
async def test_a_person_who_refused_is_not_followed_to_their_browsers(
    tmp_path: Path, consent: dict[str, str], matched: str
) -> None:
    async with running(tmp_path) as shop:
        owner = await Owner.of(shop)
        url = f"{PAGE}/?utm_source=n&utm_medium=email&utm_campaign=x"
        said = await shop.collect({"name": "page_view", "consent": ALL, "url": url})
        await login(shop, owner.key, said.cookies()[COOKIE])
        shop.move(seconds=60)
        sale = {**SALE, "consent": consent, "person": {"external_id": "999"}}
        assert (await shop.api("/api/v1/conversions", sale, owner.key)).json()["fate"] == "counted"
        await credited(shop)
        assert shop.rows("select matched_by from attribution") == [(matched,)]


async def test_consent_taken_back_without_a_refusal_reaches_a_cart(tmp_path: Path, network: Network) -> None:
    """Signals may clear what was granted: afterwards nothing is granted, and nothing is denied."""
    async with running(tmp_path, network=network, shop=CARTS) as shop:
        visitor = await begin_checkout(shop)
        house = shop.gateway.house
        rooms = house.by_id["shop"]
        cookies = f"{COOKIE}={visitor}"
        for granted, cleared in ((_CHOSEN, 0), (0, _CHOSEN)):
            shop.move(seconds=60)
            wish = Wish(granted=granted, denied=0, cleared=cleared, method="cmp")
            chosen = await choose.choose_as_visitor(house, rooms, browser(cookies), wish)
            cookies += "".join("; " + one.partition(";")[0] for one in chosen.cookies if rooms.consent_cookie in one)
        assert shop.rows("select granted & ~1, denied from consent_state") == [(0, 0)]
        shop.move(seconds=MINUTES * 60)
        assert await timers.run_due(house) == 1
        assert shop.rows("select name from event where name = 'abandoned_checkout'") == []


def browser(cookies: str) -> Request:
    """A call of a page of the shop."""
    return Request(
        method="POST", path="/consent", host=HOST, address="127.0.0.1", cookie=cookies, cookie_octets=cookies, origin=PAGE,
        user_agent=AGENT,
    )  # fmt: skip


# ------------------------------------------------------------------ clicks


async def test_two_people_behind_one_address_do_not_share_a_click_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)  # a busy machine must not send a click to the spool
    async with running(tmp_path, limits=UNLIMITED, shop=LINK_SITE) as shop:
        links = await links_of(shop)
        await links.link("sale")
        ann, ben = (links.cookie(visitor=letter * 21 + "A") for letter in "AB")
        first, second, again = [parameters(await links.open("sale", Cookie=who))["cid"] for who in (ann, ben, ben)]
        assert first != second
        assert second == again, "the same person twice is a repeat"
        assert len({touch["visitor_key"] for touch in links.touches()}) == 2


@pytest.mark.parametrize(("consent", "link"), [(ALL, "lnk-1"), (NONE, None)], ids=["granted", "refused"])
async def test_a_notification_does_not_name_the_link_of_a_click_that_was_dropped(
    tmp_path: Path, consent: dict[str, str], link: str | None
) -> None:
    async with receiving(tmp_path) as receiver:
        await receiver.owner.goal(code="purchase", name="Purchase", notify_url=HOOK)
        await receiver.owner.click(link_id="lnk-1", campaign_id="cmp-1", ambassador_id="amb-1")
        sale = {**SALE, "consent": consent, "click_id": CLICK}
        assert (await receiver.shop.api("/api/v1/conversions", sale, receiver.owner.key)).json()["fate"] == "counted"
        await receiver.until(lambda: len(receiver.taken) == 1)
        body = receiver.taken[0].event
        assert (body.get("link_id"), body.get("click_id")) == (link, CLICK if link else None)


# ------------------------------------------------------------------ told by a later try


async def test_a_rejection_whose_second_commit_failed_is_told_by_the_retry(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, network=network, shop=REFUNDS) as shop:
        owner = await Owner.of(shop)
        goal = await owner.goal(code="purchase", name="Purchase")

        async def track(**body: Any) -> Said:
            return await shop.send("POST", owner.track(goal), body={"order_id": "1", **body})

        assert (await track(value="10", currency="EUR", status="lead")).status == 200
        busy = BusyOnce(shop, "refund", monkeypatch)
        assert (await track(status="rejected")).status == 503
        assert busy.met
        for _ in range(2):
            assert (await track(status="rejected")).status == 200
        assert refunds_owed(shop) == ["crm"]


async def test_an_adjustment_that_waited_for_its_order_is_told_by_the_next_credit(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, network=network, shop=REFUNDS) as shop:
        owner = await Owner.of(shop)
        busy = BusyOnce(shop, "refund", monkeypatch)
        refund = {"adjustment_id": "refund-0001", "kind": "refund", "value": "4", "currency": "EUR"}
        assert (await shop.api("/api/v1/conversions/order:1/adjustments", refund, owner.key)).status < 300
        assert (await shop.api("/api/v1/conversions", SALE, owner.key)).json()["fate"] == "counted"
        async with asyncio.timeout(10):
            while shop.rows("select credit_version from conversion") != [(1,)]:
                await asyncio.sleep(0.05)
        assert busy.met
        assert shop.rows("select net_minor from conversion") == [(600,)]
        assert refunds_owed(shop) == ["crm"]


def refunds_owed(shop: Running) -> list[str]:
    """Who is owed a message about a refund, once for each message."""
    owed = "select d.destination from event e join delivery d on d.event_seq = e.seq where e.name = 'refund'"
    return [name for (name,) in shop.rows(owed)]


# ------------------------------------------------------------------ the store


async def test_what_was_answered_busy_while_it_waited_in_the_queue_is_not_stored_afterwards(tmp_path: Path) -> None:
    """A postback has no id of its own: were it stored after all, its retry would count a second time."""
    goes_on = threading.Event()
    goes_on.set()

    def slow_disk() -> None:
        goes_on.wait(20)

    async with running(tmp_path, after_commit=slow_disk, limits={"store_timeout_s": 0.5}) as shop:
        owner = await Owner.of(shop)
        path = owner.track(await owner.goal(code="purchase", name="Purchase"))
        body = {"value": "10", "currency": "EUR"}
        goes_on.clear()
        ahead = shop.gateway.house.store.submit(page_view(1))
        await asyncio.sleep(0.05)
        refused = await shop.send("POST", path, body=body)
        goes_on.set()
        await asyncio.gather(ahead, return_exceptions=True)
        assert refused.status == 503
        assert (await shop.send("POST", path, body=body)).status == 200
        assert shop.rows("select count(*), sum(amount_minor) from conversion") == [(1, 1000)]


async def test_a_queue_that_is_empty_when_its_time_comes_takes_what_comes_next(tmp_path: Path) -> None:
    """The loop was held up between the submission and the hand-over; the only job was answered busy meanwhile."""
    batches: list[int] = []
    path, count = tmp_path / "gateway.db", lambda records, _: batches.append(records)
    store = await open_sqlite(path, sites=(SITE,), now_ms=NOW_MS, reserve_bytes=0, timeout_s=1.0, on_batch=count)
    time.sleep(0.3)  # noqa: ASYNC251 - the next look at the queue is due
    await asyncio.sleep(0)
    late = store.submit(page_view(1))
    time.sleep(1.2)  # noqa: ASYNC251 - nothing else runs meanwhile
    with pytest.raises(StoreBusy):
        await late
    assert (await store.submit(page_view(2))).recorded[0].fate == "recorded"
    await store.close()
    assert batches == [1], "nothing was committed for nobody"


async def test_expiry_goes_on_behind_waiting_deliveries(tmp_path: Path) -> None:
    async with crediting(tmp_path) as shop:
        days = shop.house.settings.retention.events_days + 30
        for numbers, waits in ((range(500), True), (range(500, 700), False)):
            pages = [page_view(number, days_ago=days, waits=waits) for number in numbers]
            await asyncio.gather(*[shop.store.submit(page) for page in pages])
        for _ in range(10):
            await expire(shop.house)
        assert shop.running.rows("select min(event_id), max(event_id), count(*) from event") == [
            ("page_000000", "page_000499", 500)
        ]


async def test_contacts_of_many_devices_keep_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of all devices are answered, and no others are made into contacts on the way."""
    made = 0
    make = sqlite_credit._made

    def counted(kind: Any, *how: Any) -> Any:
        nonlocal made
        made += kind is Contact
        return make(kind, *how)

    monkeypatch.setattr(sqlite_credit, "_made", counted)
    devices = [f"device {number}" for number in range(20)]
    async with crediting(tmp_path) as shop:
        numbers = [await shop.click(one, day=1 + turn / 100) for turn in range(10) for one in devices]
        found = await shop.store.contacts(
            SITE,
            visitor_keys=[key(one) for one in devices],
            click_ids=[],
            after_ms=0,
            upto_ms=NOW_MS + DAY_MS,
            limit=30,
        )
        assert [one.touch_no for one in found] == sorted(numbers, reverse=True)[:30]
        assert made == 30


def page_view(number: int, *, days_ago: int = 0, waits: bool = False) -> Submission:
    """One event, with a delivery that waits for a destination which is switched off."""
    at_ms = NOW_MS - days_ago * DAY_MS
    owed = Owed(
        destination="switched_off", fate="waiting", reason="fresh", purposes=2, payload=b"sealed", dedup_key="x",
        expires_at_ms=at_ms + DAY_MS,
    )  # fmt: skip
    facts = b'{"judgement":{"regime":"opt_in","granted":1,"rulings":[],"rules":"1"}}'
    row = EventRow(SITE, f"page_{number:06d}", "page_view", "browser", at_ms, at_ms, "signed", key(f"v{number}"), facts)
    return Submission((Recordable(event=row, owed=(owed,) if waits else ()),))


async def test_stopped_while_its_workers_read_it_copies_the_write_ahead_file_back(tmp_path: Path) -> None:
    hook = {"destination": [destination(purposes=["analytics"], events=["q1_sale"])]}
    async with running(tmp_path, shop=hook) as shop:
        owner = await Owner.of(shop)
        goal = await owner.goal(value="5")
        said = await shop.send("POST", owner.track(goal), body=b'{"order_id": "1"}')
        assert said.status == 200
        assert shop.count("delivery") == 1
    assert not (tmp_path / "data" / "gateway.db-wal").exists(), "a read that nobody waits for any more kept it in use"
