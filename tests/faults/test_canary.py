"""The canary: a marked person goes through every door, with and without consent, and leaves no readable trace.

Searched are all files of the data directory, every column, the log, the metrics, the status page and what the commands
print. Not to be found: any marked value, in any writing, nor a plain hash of one, which is as good as the value to
whoever can guess it. Payloads that wait are sealed; what they hold must be as unreadable as the rest.
"""

import asyncio
import base64
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gateway import app
from gateway.exchange import Answer
from gateway.flows.evidence import Evidence
from gateway.flows.explain import explain, text_of
from gateway.sandbox.call import Call
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.demo import GATEWAY_HOST, demo_destinations
from gateway.sandbox.faults import Fault
from tests.faults.canary import AGENT, CLICK, GA, IP, PERSON, VALUES, files_of, forms, places_of, traces
from tests.faults.canary_trade import TRADE, Trade
from tests.faults.inside import STAND_INS, Inside, inside, until
from tests.faults.load import Client
from tests.faults.processes import ROOT, Service, report
from tests.support.visitor import Visitor

GRANTED = dict.fromkeys(("functional", "analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")
DENIED = dict.fromkeys(GRANTED, "denied")
BROWSER = {
    "Origin": "https://shop.localhost",
    "User-Agent": AGENT,
    "X-Forwarded-For": IP,
    "Accept-Language": "de-DE",
    "Referer": f"https://shop.localhost/konto?email={PERSON['email'].replace('@', '%40')}",
}
CLIENT = {"ip": IP, "user_agent": AGENT, "ga": GA, "fbp": "fb.1.1700000000000.7700770077"}
SAID = " ".join(PERSON.values())
URL = (
    f"https://shop.localhost/konto/{PERSON['email']}/{PERSON['first_name']}-{PERSON['last_name']}"
    f"?email={PERSON['email']}&tel={PERSON['phone'].replace(' ', '%20')}&q={PERSON['street'].replace(' ', '+')}"
    f"&wer={PERSON['last_name']}&gclid={CLICK}&utm_content={PERSON['email']}#{PERSON['email']}"
)
ENCODED_URL = "https://shop.localhost/" + "".join(f"%{byte:02X}" for byte in PERSON["last_name"].encode()) + "?a=1"


def event(event_id: str, consent: dict[str, str], **changes: object) -> dict[str, object]:
    """An event that holds every marked value, where it belongs and where it does not."""
    return {
        "name": "purchase",
        "id": event_id,
        "order_id": f"O-{event_id}",
        "value": "77.70",
        "currency": "EUR",
        "url": URL,
        "referrer": f"https://ref.example/{PERSON['email']}?name={PERSON['last_name']}",
        "title": f"Danke, {PERSON['first_name']}! {SAID}",
        "search": PERSON["last_name"],
        "items": [{"id": "sku-1", "name": f"Gutschein für {PERSON['first_name']}", "brand": PERSON["email"]}],
        "props": {
            "note": f"für {SAID}",
            "list": [PERSON["email"], PERSON["phone"], PERSON["last_name"]],
            "from": f"bestellt von {IP}",
        },
        "click_ids": {"gclid": CLICK},
        "person": PERSON,
        "consent": consent,
        **changes,
    }


def bare(event_id: str, consent: dict[str, str]) -> dict[str, object]:
    """An event without `person`: what looks like an address or a number is recognised even so."""
    return {
        "name": "page_view",
        "id": event_id,
        "url": f"https://shop.localhost/{PERSON['email']}?mail={PERSON['email']}&gclid={CLICK}#{PERSON['email']}",
        "title": f"{PERSON['email']} {PERSON['phone']}",
        "referrer": f"https://ref.example/?q={PERSON['email']}",
        "search": PERSON["email"],
        "props": {"note": f"{PERSON['email']}, {PERSON['phone']}"},
        "items": [{"name": PERSON["email"]}],
        "consent": consent,
    }


class Walk:
    """The marked person's way through the doors.

    `stored` are the ids of events that were taken; `visitors` the ids that were put into the browser's cookies: they are
    personal as well, and live nowhere else.
    """

    def __init__(self, running: Inside) -> None:
        self.running = running
        self.trade = Trade(running, self.browse)
        self.stored: list[str] = []
        self.cookies: dict[str, str] = {}
        self.visitors: set[str] = set()
        self.pages: list[bytes] = []
        self._made = 0

    def new_id(self) -> str:
        self._made += 1
        return f"canary-{self._made:04}"

    async def browse(self, method: str, path: str, body: object = b"", **headers: str) -> int:
        """As a browser: with its cookies, which are kept."""
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        named = {**BROWSER, **({"Cookie": f"{cookie}; _ga={GA}"} if cookie else {}), **headers}
        answered = await self.running.call(method, path, encoded, named)
        for line in answered.headers.get("set-cookie", "").splitlines():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if name.endswith("gwid") and value:
                self.visitors.add(value.split(".")[1])
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return answered.status

    async def backend(self, path: str, body: object, **headers: str) -> int:
        answered = await self.running.api(path, body, **headers)
        return answered.status

    async def all_doors(self, consent: dict[str, str]) -> None:
        """Everything that is taken."""
        ids = [self.new_id() for _ in range(13)]
        for make in (event, bare):
            one, two, three = ids.pop(), ids.pop(), ids.pop()
            assert await self.browse("POST", "/collect", make(one, consent)) == 204
            assert await self.browse("POST", "/collect", {"events": [make(two, consent)], "gpc": False}) == 204
            plain = {"Content-Type": "text/plain;charset=UTF-8"}
            assert await self.browse("POST", "/collect", make(three, consent), **plain) == 204
            self.stored += [one, two, three]
        pixel = ids.pop()
        query = f"id={pixel}&name=page_view&title={PERSON['email']}&url=https://shop.localhost/?email={PERSON['email']}"
        assert await self.browse("GET", f"/p.gif?{query}") == 200
        assert await self.browse("GET", "/link?to=shop.localhost") == 200
        self.stored.append(pixel)
        one, two, three, four = ids.pop(), ids.pop(), ids.pop(), ids.pop()
        idempotent = {"Idempotency-Key": f"{VALUES['phone'][2]}.{two}"}
        single = event(one, consent, client=CLIENT, url=ENCODED_URL)
        assert await self.backend("/api/v1/events", single) == 200
        assert await self.backend("/api/v1/conversions", event(two, consent, client=CLIENT), **idempotent) == 200
        assert await self.backend("/api/v1/conversions", event(two, consent, client=CLIENT), **idempotent) == 200
        batch = [event(three, consent, client=CLIENT), event(four, consent, client=CLIENT)]
        assert await self.backend("/api/v1/conversions/batch", {"conversions": batch}) == 200
        self.stored += [one, two, three, four]

    async def choose(self, consent: dict[str, str]) -> None:
        """A choice made in the browser, and one passed on by a backend."""
        chosen = {"choice": consent, "notice": "1", "language": "de"}
        assert await self.browse("POST", "/consent", chosen) == 200
        assert await self.browse("GET", "/consent") == 200
        for person in ({"email": PERSON["email"]}, {"external_id": PERSON["external_id"]}):
            assert await self.backend("/consent", {"choice": consent, "person": person}) == 200

    async def use_privacy_page(self, *, erase: bool) -> None:
        """The visitor's own page: looked at, left with a choice, downloaded; withdrawn from, or erased by."""
        visitor = Visitor(self.running.gateway.port, GATEWAY_HOST, X_Forwarded_For=BROWSER["X-Forwarded-For"])
        visitor.headers["User-Agent"] = BROWSER["User-Agent"]
        visitor.cookies = dict(self.cookies)
        page = await visitor.open(f"/privacy?email={PERSON['email']}")
        download = await visitor.post({**page.form("download"), "action": "download"})
        assert download.status == 200, download
        self.pages += [page.said.body, download.body]
        page = await visitor.submit(page.form("choose"), action="choose", note=SAID, analytics="granted")
        refused = await visitor.post({**page.form("choose"), "action": PERSON["email"], PERSON["phone"]: SAID})
        assert 400 <= refused.status < 500, refused
        last = {"action": "erase", "sure": "yes"} if erase else {"action": "withdraw"}
        page = await visitor.submit(page.form(last["action"]), **last)
        self.pages += [refused.body, page.said.body]
        self.cookies = dict(visitor.cookies)

    async def be_refused(self) -> None:
        """Whatever is wrong: the values must not be repeated in the log."""
        refusals: list[int] = []
        good = event(self.new_id(), GRANTED)
        for body in (
            b'{"email": "' + PERSON["email"].encode(),
            SAID.encode(),
            {**good, "unknown": SAID},
            {**good, "name": PERSON["email"]},
            {**good, "id": PERSON["email"]},
            {**good, "value": PERSON["phone"]},
            {**good, "currency": PERSON["first_name"][:8]},
            {**good, "order_id": PERSON["email"]},
            {**good, "occurred_at": PERSON["date_of_birth"]},
            {**good, "props": {"email": PERSON["email"]}},
            {**good, "props": {"note": {"deep": PERSON["email"]}}},
            {**good, "person": {**PERSON, "mail": PERSON["email"]}},
            {**good, "person": {**PERSON, "email": [PERSON["email"]] * 9}},
            {**good, "person": PERSON["email"]},
            {**good, "consent": {PERSON["email"]: "granted"}},
            {**good, "consent": {"analytics": PERSON["email"]}},
            {**good, "title": SAID * 100},
            {"events": [good, {**good, "id": PERSON["phone"]}]},
        ):
            refusals.append(await self.browse("POST", "/collect", body))
            refusals.append(await self.backend("/api/v1/conversions", body))
        refusals.append(await self.backend("/api/v1/conversions", good, **{"Idempotency-Key": PERSON["email"]}))
        refusals.append(await self.backend("/consent", {"choice": {PERSON["email"]: "granted"}}))
        refusals.append(await self.backend("/consent", {"choice": DENIED, "visitor": PERSON["email"]}))
        for path in (
            f"/{PERSON['email']}",
            f"/collect/{PERSON['last_name']}",
            f"/api/v1/events?email={PERSON['email']}",
        ):
            refusals.append(await self.browse("POST", path, good))
        for header, value in (
            ("Origin", f"https://{VALUES['email'][1]}"),
            ("Host", VALUES["email"][1]),
            ("Authorization", f"Bearer {PERSON['email']}"),
            ("Expect", PERSON["email"]),
        ):
            refusals.append(await self.browse("POST", "/api/v1/events", good, **{header: value}))
        assert await self.browse("GET", f"/p.gif?email={PERSON['email']}&{PERSON['last_name']}=1") == 200
        assert await self.browse("GET", f"/p.gif?name={PERSON['email']}") == 200
        taken = [index for index, status in enumerate(refusals) if not 400 <= status < 500]
        assert not taken, (taken, refusals)
        for raw in (f"{PERSON['email']}\r\n\r\n", f"GET /{SAID} HTTP/1.1\r\nHost: {SAID}\r\n\r\n"):
            await self.shout(raw.encode())

    async def shout(self, raw: bytes) -> None:
        """Bytes that are no request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.running.gateway.port)
        writer.write(raw)
        async with asyncio.timeout(10):
            assert b" 400 " in await reader.readline()
        writer.close()


def echo(call: Call) -> Fault:
    """A vendor that fails and repeats everything it was told, as debugging servers and proxies like to do."""
    lines = [f"{name}: {value}" for name, value in call.headers.items()]
    text = "\n".join([call.path, *lines, call.body.decode("utf-8", "replace")])
    return Fault.answer(500, msgspec.json.encode({"error": {"code": 2, "message": text}}).decode())


def _destinations(config: SandboxConfig) -> list[dict[str, object]]:
    """Those of the demo, all told contact data as it is, and one that hears of carts that were left."""
    rows = [{**row, "contact": "plain"} if "contact" in row else row for row in demo_destinations(config.gateway)]
    return [*rows, {**rows[-1], "name": "carts", "events": ["abandoned_checkout"]}]


@asynccontextmanager
async def walked(tmp_path: Path, config: SandboxConfig) -> AsyncIterator[Walk]:
    """The gateway after the walk, with deliveries of every kind: accepted, waiting, dead, cancelled, withheld, unfit."""
    settings: dict[str, Any] = {
        "proxy": {"trusted": ["127.0.0.0/8"]},
        "delivery": {"retry_base_s": 0.05, "retry_cap_s": 2_000.0, "retry_for_h": 1.0},
        "log": {"browser_sample": 1},
        "cookieless": "daily",
        **TRADE,
        "destination": _destinations(config),
    }
    async with inside(tmp_path / "data", config, **settings) as running:
        walk = Walk(running)
        running.vendor("meta").faults.when(echo)
        running.vendor("ga4").faults.when(echo)
        await walk.trade.set_up()
        await walk.all_doors(GRANTED)
        await walk.trade.all_doors(GRANTED)
        await until(lambda: all(running.ledger(one).requests() for one in ("meta", "ga4", "google_ads", "crm")))
        running.pass_time(s=3_500)
        await until(lambda: len(running.ledger("meta").requests()) > 1)
        await until(lambda: b"abandoned_checkout" in places_of(running.database)["event.name"])
        running.pass_time(s=3_700)
        await until(lambda: _has(running, "meta", "dead"))
        running.vendor("crm").faults.when(echo)
        await walk.choose(GRANTED)
        await walk.all_doors(GRANTED)
        await until(lambda: _has(running, "crm", "waiting"))
        await walk.choose(DENIED)
        await walk.all_doors(DENIED)
        await walk.trade.all_doors(DENIED)
        await walk.be_refused()
        await walk.trade.be_refused()
        await walk.use_privacy_page(erase=False)
        await walk.choose(GRANTED)
        await walk.all_doors(GRANTED)
        await walk.trade.all_doors(GRANTED)
        await walk.trade.wait_in_the_spool()
        await walk.use_privacy_page(erase=True)
        walk.cookies.clear()
        await walk.all_doors({})
        await walk.trade.all_doors({})
        await until(lambda: _all_credited(running))
        await walk.trade.read_everything()
        await until(lambda: _has(running, "crm", "cancelled"))
        yield walk


async def _has(running: Inside, destination: str, fate: str) -> bool:
    return (await running.fates(destination))[fate] > 0


HAPPENED = {
    "event.name": "purchase page_view begin_checkout abandoned_checkout call quarter",
    "touch.kind": "click qr call",
    "touch.human": "yes no",
    "credit.kind": "click coupon",
    "adjustment.kind": "refund",
    "conversion.coupons": "anna10",
    "event.trust": "browser server signed token",
    "delivery.destination": "crm carts",
}
"""What must be in the columns after the walk, or it did not go through every door."""


async def _all_credited(running: Inside) -> bool:
    return not await running.house.store.uncredited(1 << 53, 1)


async def printed(walk: Walk, service: Service) -> dict[str, bytes]:
    """What people and machines get to read: commands, pages, metrics, the log."""
    running = walk.running
    # The person's own click ids are theirs to read, and the download tells them; their contact data is not in it.
    theirs = b"\n".join(walk.pages).replace(CLICK.encode(), b"")
    found = {"log": running.log.getvalue().encode(), "privacy page": theirs}
    found |= {f"answer {number}": page for number, page in enumerate(walk.trade.pages)}
    token = (running.directory / app.TOKEN_FILE).read_text().strip()
    for path in ("/metrics", "/", "/api/admin/v1/status", "/api/admin/v1/check", "/api/admin/v1/dead?limit=1000"):
        found[path] = await _admin(running, path, token)
    for event_id in walk.stored:
        text = await _admin(running, f"/api/admin/v1/events/{event_id}", token)
        found[f"explain {event_id}"] = text
        found[f"explain {event_id} as text"] = text_of(msgspec.json.decode(text)).encode()
    for arguments in (
        ("explain", walk.stored[0]),
        ("explain", walk.stored[0], "--json"),
        ("check",),
        ("replay", "--list"),
        ("replay", "--list", "--json"),
    ):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *arguments, "--settings", str(service.settings),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, out
        found["gateway " + " ".join(arguments)] = out
    return found


async def _admin(running: Inside, path: str, token: str) -> bytes:
    client = Client(running.gateway.admin_port, "localhost")
    try:
        answered = await client.send("GET", path, b"", {"Authorization": f"Bearer {token}"})
    finally:
        client.close()
    assert answered.status == 200, (path, answered)
    return answered.body


@pytest.mark.slow
async def test_a_marked_person_leaves_no_readable_trace(tmp_path: Path, config: SandboxConfig) -> None:
    service = Service(tmp_path / "cli", tmp_path / "no-info", config, data=tmp_path / "data")
    async with walked(tmp_path, config) as walk:
        running = walk.running
        columns = places_of(running.database)
        while_running = {**files_of(running.directory), **columns, **await printed(walk, service)}
        fates = {fate for (_, _, fate) in (await running.house.store.tally()).deliveries}
        reached = running.stand_ins.everything_text()
    afterwards = {**files_of(tmp_path / "data"), **places_of(tmp_path / "data" / app.DATABASE)}
    report("canary", places=len(while_running) + len(afterwards), events=len(walk.stored), fates=sorted(fates))
    assert walk.trade.fates["accepted"] == 4 * 5, "every file has one good row"
    assert walk.trade.fates["error"] > 50, walk.trade.fates
    assert any("clicks.spool" in place for place in walk.trade.spooled)
    for column, expected in HAPPENED.items():
        assert set(expected.split()) <= set(columns[column].decode().split("\n")), column
    assert {"number_lease", "cart"} <= set(walk.trade.spooled["then timer.kind"].decode().split("\n"))
    assert fates >= {"accepted", "waiting", "dead", "cancelled", "withheld"}
    assert PERSON["email"] in reached, "the webhook was told what it was to be told"
    assert walk.visitors
    assert traces(while_running, walk.visitors) == []
    assert traces(afterwards, walk.visitors) == []
    assert traces(walk.trade.spooled, walk.visitors) == []


# ------------------------------------------------------------------ the search itself


@pytest.mark.parametrize("what", VALUES)
def test_the_search_sees_every_form_of_every_value(what: str) -> None:
    for value in VALUES[what]:
        for form, needle in forms(value):
            assert traces({"place": b"before " + needle + b" after"}), f"{value}, {form}"


@pytest.mark.parametrize(
    "planted",
    [
        PERSON["email"],
        PERSON["email"].upper(),
        hashlib.sha256(PERSON["email"].lower().encode()).hexdigest(),
        hashlib.md5(PERSON["phone"].encode(), usedforsecurity=False).hexdigest(),
        base64.b64encode(b"xx" + PERSON["street"].encode()).decode(),
        f'{{"a":"{AGENT}"}}',
    ],
)
async def test_a_value_planted_in_the_database_is_seen_in_file_and_column(
    tmp_path: Path, config: SandboxConfig, planted: str
) -> None:
    async with inside(tmp_path / "data", config, only=()) as running:
        body = {"name": "page_view", "id": "planted-01", "consent": GRANTED}
        assert (await running.call("POST", "/collect", msgspec.json.encode(body), BROWSER)).status == 204
        clean = {**files_of(running.directory), **places_of(running.database)}
        await running.write("update event set facts = ? where event_id = ?", planted.encode(), "planted-01")
        spoilt = {**files_of(running.directory), **places_of(running.database)}
    assert traces(clean) == []
    seen = {trace.rpartition(" in ")[2] for trace in traces(spoilt)}
    assert "event.facts" in seen
    assert any("gateway.db" in place for place in seen)


async def test_cleaning_leaves_the_catalogue_alone(tmp_path: Path, config: SandboxConfig) -> None:
    """A buyer's town in a product's name says nothing about the buyer, and an article number is no telephone number."""
    item = {"id": "100-200-300-44", "name": f"Poster {PERSON['city']}", "brand": PERSON["last_name"], "price": "77.70"}
    async with inside(tmp_path / "data", config, only=()) as running:
        body = event("catalogue-01", GRANTED, items=[item])
        assert (await running.api("/api/v1/conversions", body)).status == 200
        found = await explain(running.house, "catalogue-01", None)
    [kept] = cast("dict[str, Any]", found["facts"])["items"]
    assert {name: kept[name] for name in ("id", "name", "brand")} == {
        name: item[name] for name in ("id", "name", "brand")
    }


def test_of_an_answer_that_repeats_the_payload_nothing_is_kept() -> None:
    """Not even the part of a value that is left where the answer was cut off."""
    values = [f"{PERSON['last_name']}-{n:04}-{'x' * 300}" for n in range(40)]
    evidence = Evidence([msgspec.json.encode({"user_data": {"a": values}, "name": "Purchase"})])
    for start in range(0, 300, 7):
        echo_of_all = b"." * start + " ".join(values).encode()
        assert traces({"answer": (evidence.extract(Answer(status=500, body=echo_of_all)) or "").encode()}) == []
    named = Answer(status=400, body=f"Invalid parameter em: {values[3]}".encode())
    assert evidence.extract(named) == "Invalid parameter em: [removed]"
    assert evidence.extract(Answer(status=400, body=b"Invalid parameter em")) == "Invalid parameter em"
    assert evidence.extract(Answer(status=None, failure="timeout")) == "timeout"


async def test_what_is_left_of_an_event_is_taken_by_every_vendor(tmp_path: Path, config: SandboxConfig) -> None:
    async with inside(tmp_path / "data", config) as running:
        body = event("cleaned-01", GRANTED, client=CLIENT)
        assert (await running.api("/api/v1/conversions", body)).status == 200
        for destination in STAND_INS:
            await running.settled_at(destination, accepted=1)
            assert running.ledger(destination).complaints() == []
