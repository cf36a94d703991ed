"""Files of offline conversions over real sockets: in pieces, cut off, sent again, too large, and what becomes of each row."""

import asyncio
import gzip
import hashlib
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway import identity
from gateway.clock import ManualClock
from gateway.errors import CODES
from gateway.outbound import Network
from gateway.protocols.offline import SETS
from gateway.purposes import ALL_PURPOSES
from gateway.sandbox.config import default_config
from gateway.sandbox.demo import demo_destinations
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.times import DAY_MS
from tests.faults.inside import until
from tests.handlers.conftest import UNLIMITED
from tests.support.memory import grows_at_most
from tests.support.running import AGENT, NOW_MS, Running, opened, request_bytes, running

PATH: Final = "/api/v1/uploads"
HEADER: Final = "goal,order_id,time,value,currency,email,consent,status\n"
ALL: Final = "analytics advertising ad_user_data ad_personalization"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


class Heard:
    """One answer: its rows in order, its last line, and whether it came to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, whole: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "line" in line]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.lines[-1]["summary"]
        return found

    @property
    def fates(self) -> list[str]:
        return [row["fate"] for row in self.rows]

    def sums(self) -> None:
        """The last line is the sum of the lines before, and every row has one fate."""
        assert self.whole
        counted = Counter(self.fates)
        summary = self.summary
        names = ("accepted", "duplicate", "update", "error")
        assert {name: summary[name] for name in names} == {name: counted[name] for name in names}
        assert summary["rows"] == len(self.rows) + summary["skipped"]


class Sending:
    """A connection on which a file is sent piece by piece, and its answer heard at any time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heard = b""

    async def send(self, piece: bytes | str) -> None:
        raw = piece.encode() if isinstance(piece, str) else piece
        self.writer.write(b"%x\r\n%b\r\n" % (len(raw), raw) if raw else b"0\r\n\r\n")
        await self.writer.drain()

    async def hear(self, rows: int) -> list[dict[str, Any]]:
        """Hear until so many rows are answered."""
        async with asyncio.timeout(10):
            while (
                len(found := [json.loads(line) for line in re.findall(rb'^{"line".*}$', self.heard, re.MULTILINE)])
                < rows
            ):
                piece = await self.reader.read(65_536)
                assert piece, self.heard
                self.heard += piece
        return found

    async def end(self, seconds: float = 20.0) -> Heard:
        """Hear to the end of the connection."""
        async with asyncio.timeout(seconds):
            while piece := await self.reader.read(65_536):
                self.heard += piece
        return read_answer(self.heard)


def read_answer(raw: bytes) -> Heard:
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if "transfer-encoding" not in headers:
        return Heard(int(first.split()[1]), headers, rest, whole=len(rest) == int(headers["content-length"]))
    body, whole = b"", False
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            whole = rest == b"\r\n"
            break
        body, rest = body + rest[:length], rest[length + 2 :]
    return Heard(int(first.split()[1]), headers, body, whole=whole)


class Uploader:
    """A backend with a key, as it uploads."""

    def __init__(self, shop: Running, key: str) -> None:
        self.shop = shop
        self.key = key

    def head(self, query: str = "", **headers: str) -> bytes:
        named = {"Authorization": f"Bearer {self.key}", "Content-Type": "text/csv", "Connection": "close"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return request_bytes("POST", PATH + query, headers={k: v for k, v in named.items() if v})

    @asynccontextmanager
    async def open(self, query: str = "", **headers: str) -> AsyncIterator[Sending]:
        async with opened(self.shop.port) as (reader, writer):
            writer.write(self.head(query, Transfer_Encoding="chunked", **headers))
            yield Sending(reader, writer)

    async def upload(self, body: str | bytes, query: str = "", **headers: str) -> Heard:
        raw = body.encode() if isinstance(body, str) else body
        async with opened(self.shop.port) as (reader, writer):
            writer.write(self.head(query, Content_Length=str(len(raw)), **headers) + raw)
            return await Sending(reader, writer).end()


async def uploader(shop: Running) -> Uploader:
    return Uploader(shop, (await shop.new_key(rights=("conversions",)))["key"])


def csv(*rows: str, header: str = HEADER) -> str:
    return header + "".join(f"{row}\n" for row in rows)


def sale(order: str, value: str = "10.00", *, email: str = "", consent: str = "", status: str = "") -> str:
    return f"purchase,{order},2026-11-20 10:00:00,{value},EUR,{email},{consent},{status}"


async def make(shop: Running, kind: str, **fields: Any) -> dict[str, Any]:
    key = (await shop.new_key(rights=("manage",)))["key"]
    said = await shop.api(f"/api/v1/{kind}", fields, key)
    assert said.status == 201, said
    found: dict[str, Any] = next(iter(said.json().values()))
    return found


# ------------------------------------------------------------------ what becomes of rows


async def test_c46_every_row_is_answered_in_order_with_its_fate(shop: Running) -> None:
    heard = await (await uploader(shop)).upload(
        csv(
            sale("1001"),
            sale("1002", "0"),
            sale("1001", email="jane@shop.example"),
            sale("1001", "11.00"),
            "purchse,1003,2026-11-20 10:00:00,1,EUR,,,",
            sale("1004", "ten"),
            sale("1002", "1.00", status="refund"),
            sale("1005", status="cancelled"),
            "purchase,1006,2026-11-20 10:00,5,EUR,,",
        )
    )
    assert heard.status == 200
    assert heard.headers["content-type"] == "application/jsonl"
    assert [(row["line"], row["fate"], row.get("code"), row.get("column")) for row in heard.rows] == [
        (2, "accepted", None, None),
        (3, "accepted", None, None),
        (4, "duplicate", None, None),
        (5, "error", "conversion_conflict", None),
        (6, "error", "goal_unknown", "goal"),
        (7, "error", "amount_invalid", "value"),
        (8, "update", None, None),
        (9, "update", None, None),
        (10, "accepted", None, None),
    ]
    heard.sums()
    counted = 'gateway_events_received_total{site="shop",trust="server"} 5.0'
    assert counted in shop.gateway.house.telemetry.metrics().decode()
    assert heard.rows[2]["conversion_id"] == heard.rows[0]["conversion_id"] == heard.rows[3]["conversion_id"]
    assert [row["effect"] for row in heard.rows if row["fate"] == "update"] == ["nothing_left", "waiting"]
    assert (heard.summary["columns"], heard.summary["last_line"], heard.summary["dry_run"]) == ("gateway", 10, False)
    stored = shop.rows("select order_id, amount_minor, fate from conversion order by order_id, fate")
    assert stored == [
        ("1001", 1000, "counted"),
        ("1001", 1000, "duplicate"),
        ("1002", 0, "counted"),
        ("1006", 500, "counted"),
    ]


async def test_x9_a_value_of_zero_stays_zero_and_no_value_takes_the_goals(shop: Running) -> None:
    await make(shop, "goals", name="Visit", code="store_visit", value="7.50", currency="EUR")
    heard = await (await uploader(shop)).upload(
        csv("store_visit,a,2026-11-20 10:00:00,0,EUR,,,", "store_visit,b,2026-11-20 10:00:00,,,,,")
    )
    assert heard.fates == ["accepted", "accepted"]
    rows = shop.rows("select order_id, amount_minor, currency, value_source from conversion order by order_id")
    assert rows == [("a", 0, "EUR", "event"), ("b", 750, "EUR", "default")]


async def test_rows_are_answered_after_their_commit_while_the_file_is_still_being_sent(shop: Running) -> None:
    async with (await uploader(shop)).open() as sending:
        await sending.send(csv(sale("1"), sale("2")) + sale("3")[:20])
        for row in await sending.hear(2):
            assert shop.rows("select count(*) from conversion where conversion_id = ?", row["conversion_id"]) == [(1,)]
        assert shop.count("conversion") == 2, "the third row has not come whole"
        await sending.send(sale("3")[20:])
        await sending.send("")
        heard = await sending.end()
    assert heard.fates == ["accepted"] * 3
    heard.sums()


@pytest.mark.parametrize("size", [1, 7, 100, 4_096])
async def test_a_file_in_pieces_of_any_size_is_the_same_file(shop: Running, size: int) -> None:
    body = csv(*(sale(str(number), f"{number}.50") for number in range(1, 13)), sale("x", "?")).encode()
    async with (await uploader(shop)).open() as sending:
        for start in range(0, len(body), size):
            await sending.send(body[start : start + size])
        await sending.send("")
        heard = await sending.end()
    assert heard.fates == ["accepted"] * 12 + ["error"]
    heard.sums()


@pytest.mark.parametrize("resume", ["whole", "from a line"])
async def test_k18_a_file_cut_in_the_middle_is_sent_again_and_nothing_is_lost_or_double(
    shop: Running, resume: str
) -> None:
    body = csv(
        *(f"purchase,o{number},2026-11-20 10:00:00,1.00,EUR,,," for number in range(600)),
        *(
            f"purchase,,2026-11-20 10:{number % 60:02}:00,{number}.00,EUR,p{number}@shop.example,,"
            for number in range(600)
        ),
        *(f"purchase,o{number},2026-11-20 11:00:00,0.25,EUR,,,refund" for number in range(10)),
    )
    backend = await uploader(shop)
    async with backend.open() as sending:
        await sending.send(body[: len(body) // 2])
        answered = await sending.hear(300)
    await until(lambda: bool(shop.log("request_refused")))
    assert [(line["code"], line["status"]) for line in shop.log("request_refused")] == [("body_incomplete", 200)]
    before = shop.count("conversion")
    assert before >= len(answered)
    last = answered[-1]["line"]
    again = await backend.upload(body, f"?resume_from={last + 1}" if resume == "from a line" else "")
    again.sums()
    assert again.summary["skipped"] == (last - 1 if resume == "from a line" else 0)
    assert "error" not in again.fates
    assert shop.rows("select count(*), sum(amount_minor) from conversion where fate = 'counted'") == [
        (1_200, 600 * 100 + sum(range(600)) * 100)
    ]
    assert again.fates.count("update") == 10
    assert shop.rows("select sum(net_minor) from conversion where order_id like 'o_' and fate = 'counted'") == [
        (10 * 75,)
    ]
    third = await backend.upload(body)
    assert set(third.fates) == {"duplicate"}, "all of it again changes nothing"
    assert shop.rows("select sum(net_minor) from conversion where order_id like 'o_' and fate = 'counted'") == [
        (10 * 75,)
    ]


async def test_the_same_sale_told_with_another_consent_is_the_same_sale(shop: Running) -> None:
    backend = await uploader(shop)
    row = "purchase,,2026-11-20 10:00:00,5.00,EUR,jane@shop.example,{},"
    first = await backend.upload(csv(row.format("")))
    second = await backend.upload(csv(row.format("advertising"), row.replace("5.00", "5.01").format("")))
    assert (first.fates, second.fates) == (["accepted"], ["duplicate", "accepted"])


async def test_a_refund_before_its_sale_waits_for_it(shop: Running) -> None:
    backend = await uploader(shop)
    heard = await backend.upload(csv(sale("7", "4.00", status="refund")))
    assert [(row["fate"], row["effect"]) for row in heard.rows] == [("update", "waiting")]
    await backend.upload(csv(sale("7", "10.00")))
    await until(lambda: shop.rows("select net_minor from conversion") == [(600,)])


async def test_a_refund_in_another_currency_is_an_error_of_its_row(shop: Running) -> None:
    heard = await (await uploader(shop)).upload(
        csv(sale("7"), sale("7", "4.00", status="refund").replace("EUR", "USD"))
    )
    assert [(row["fate"], row.get("code"), row.get("column")) for row in heard.rows] == [
        ("accepted", None, None),
        ("error", "currency_differs", "currency"),
    ]


# ------------------------------------------------------------------ dry run


async def test_a_dry_run_says_what_would_happen_and_stores_nothing(shop: Running) -> None:
    await make(shop, "goals", name="Once", code="once", count="one_per_person")
    backend = await uploader(shop)
    await backend.upload(
        csv(
            sale("1"), sale("2"), sale("9", status="cancelled"), "purchase,,2026-11-20 10:00:00,5,EUR,jane@shop.example,,",
            "once,z,2026-11-20 10:00:00,,,joe@shop.example,,", sale("2", status="cancelled"),
        )
    )  # fmt: skip
    rows = (
        (sale("1"), "duplicate", None),
        (sale("1", "11"), "error", None),
        (sale("2", "99"), "duplicate", None),
        (sale("3"), "accepted", None),
        (sale("3"), "duplicate", None),
        (sale("3", "12"), "error", None),
        ("purchase,,2026-11-20 10:00:00,5,EUR,jane@shop.example,,", "duplicate", None),
        ("purchase,,2026-11-20 10:00:00,6,EUR,jane@shop.example,,", "accepted", None),
        ("once,y,2026-11-20 10:00:00,,,joe@shop.example,,", "duplicate", None),
        ("once,x,2026-11-20 10:00:00,,,ann@shop.example,,", "accepted", None),
        ("once,w,2026-11-20 10:00:00,,,ann@shop.example,,", "duplicate", None),
        (sale("1", "4.00", status="refund"), "update", "applied"),
        (sale("1", "40.00", status="refund"), "update", "applied_in_part"),
        (sale("3", "4.00", status="refund"), "update", None),
        (sale("8", "4.00", status="refund"), "update", "waiting"),
        (sale("9", status="cancelled"), "duplicate", None),
        (sale("1", "4.00", status="refund").replace("EUR", "USD"), "error", None),
        (sale("1", "-"), "error", None),
        ("nothing,1,2026-11-20 10:00:00,,,,,", "error", None),
    )
    body = csv(*(row for row, _, _ in rows))
    await until(lambda: shop.rows("select count(*) from conversion where credit_due_ms is not null") == [(0,)])
    stored = shop.everything_stored()
    rehearsed = await backend.upload(body, "?dry_run")
    assert shop.everything_stored() == stored
    rehearsed.sums()
    assert rehearsed.summary["dry_run"] is True
    assert [(row["fate"], row.get("effect")) for row in rehearsed.rows] == [(fate, effect) for _, fate, effect in rows]
    really = await backend.upload(body)
    assert really.fates == rehearsed.fates, "what was foretold is what happens"
    assert [row.get("code") for row in really.rows] == [row.get("code") for row in rehearsed.rows]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("?dryrun=1", "field_unknown", "query"),
        ("?dry_run=yes", "field_invalid", "dry_run"),
        ("?dry-run", "field_unknown", "query"),
        ("?errors=none", "field_invalid", "errors"),
        ("?answers=never", "field_invalid", "answers"),
        ("?resume_from=-1", "field_invalid", "resume_from"),
        ("?resume_from=1e9", "field_invalid", "resume_from"),
        ("?columns=amazon", "header_unknown", "columns"),
        ("?zone=Mars/Base", "zone_unknown", "zone"),
        ("?goal=nothing", "goal_unknown", "goal"),
        ("?goal=" + "x" * 65, "field_too_long", "goal"),
        ("?site=kiosk", "field_unknown", "query"),
    ],
)
async def test_a_misspelt_parameter_stores_nothing(shop: Running, query: str, code: str, field: str) -> None:
    backend = await uploader(shop)
    with shop.refusing(PATH, code):
        heard = await backend.upload(csv(sale("1")), query)
    assert heard.status == 400
    assert (heard.lines[0]["error"]["code"], heard.lines[0]["error"]["field"]) == (code, field)


async def test_names_that_are_no_goal_count_for_the_default_goal(shop: Running) -> None:
    await make(shop, "goals", name="Till", code="till_sale")
    names = ("till_sale", "Purchase", "Kasse 3", "purchase")
    body = "event_name,event_time,order_id\n" + "".join(f"{n},2026-11-20T10:00:00Z,o{i}\n" for i, n in enumerate(names))
    heard = await (await uploader(shop)).upload(body, "?goal=till_sale")
    assert heard.fates == ["accepted"] * 4
    assert shop.rows("select goal from conversion order by order_id") == [
        ("till_sale",), ("purchase",), ("till_sale",), ("purchase",),
    ]  # fmt: skip


async def test_times_without_a_zone_are_those_of_the_zone_that_is_named_and_the_hour_that_came_twice_is_told(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, clock=ManualClock(1_793_145_600_000)) as shop:  # 2026-10-28
        rows = ("purchase,1,2026-10-25 02:30:00,,,,,", "purchase,2,2026-10-25 12:00:00,,,,,")
        heard = await (await uploader(shop)).upload(csv(*rows), "?zone=Europe%2FBerlin")
        assert [row.get("marks") for row in heard.rows] == [["time_ambiguous"], None]
        assert shop.rows("select occurred_at_ms from event order by occurred_at_ms") == [
            (1_792_888_200_000,),  # 00:30 UTC, the first of the two
            (1_792_926_000_000,),
        ]


# ------------------------------------------------------------------ the click before


async def click(shop: Running, slug: str) -> str:
    """Open a link as a browser that granted everything. Answers the id of the click."""
    rooms = shop.gateway.house.by_id["shop"]
    receipt = identity.sign_receipt(rooms.keys, identity.Receipt(ALL_PURPOSES, 0, NOW_MS - 1, "1", "x"))
    headers = {"User-Agent": AGENT, "Cookie": f"{rooms.consent_cookie}={receipt}"}
    said = await shop.send("GET", f"/l/{slug}", headers=headers)
    return parse_qs(urlsplit(said.header("location") or "").query)["cid"][0]


async def test_k18_an_offline_sale_is_credited_to_the_click_it_names(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        link = await make(shop, "links", target="https://www.shop.example/", code="sale", channel="email")
        click_id = await click(shop, "sale")
        shop.move(seconds=86_400)
        header = "goal,order_id,time,value,currency,click_id,consent\n"
        row = "purchase,{},2026-11-21T11:00:00Z,80.00,EUR,{},{}"
        heard = await (await uploader(shop)).upload(
            csv(
                row.format("1", click_id, ALL),
                row.format("2", "0123456789abcdefghijkl", ALL),
                row.format("3", click_id, ""),
                header=header,
            )
        )
        assert [row.get("marks") for row in heard.rows] == [None, ["click_unknown"], None]
        await until(lambda: shop.rows("select count(*) from conversion where credit_due_ms is not null") == [(0,)])
        credited = {}
        for row_answer, order in zip(heard.rows, "123", strict=True):
            decided = await shop.gateway.house.store.attribution(row_answer["conversion_id"])
            assert decided is not None
            credited[order] = [(credit.link_id, credit.channel, credit.amount_minor) for credit in decided.credits]
        assert credited == {"1": [(link["id"], "email", 8000)], "2": [], "3": []}, "without consent nobody is followed"


async def test_c50_what_was_sold_offline_stands_beside_what_was_spent(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        campaign = await make(shop, "campaigns", name="Leaflets", code="leaflets")
        await make(shop, "links", target="https://www.shop.example/", code="leaf", campaign_id=campaign["id"])
        click_id = await click(shop, "leaf")
        key = (await shop.new_key())["key"]
        spent = await shop.api(
            "/api/v1/spend",
            [{"date": "2026-11-20", "campaign": "Leaflets", "amount": "40.00"}],
            key,
            headers={"Content-Type": "application/json"},
        )
        assert spent.status == 200, spent
        header = "goal,order_id,time,value,currency,click_id,consent,kind\n"
        await (await uploader(shop)).upload(
            csv(f"purchase,1,2026-11-20T12:00:30Z,100.00,EUR,{click_id},{ALL},store", header=header)
        )
        store, day = shop.gateway.house.store, NOW_MS // DAY_MS

        async def sums() -> tuple[int, int]:
            credited = await store.credit_days("shop", day, day, ("campaign_id", "currency"))
            rows = await store.spend("shop", day, day)
            earned = sum(row.net_minor for row in credited if row.campaign_id == campaign["id"])
            return earned, sum(row.amount_minor for row in rows if row.campaign_id == campaign["id"])

        for _ in range(200):
            if (await sums())[0]:
                break
            await asyncio.sleep(0.02)
        assert await sums() == (10_000, 4_000)


# ------------------------------------------------------------------ consent and destinations


def named(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


POS: Final = (
    "goal,order_id,time,value,currency,email,phone,consent,kind\n"
    f'purchase,pos-1,2026-11-20 10:00:00,20.00,EUR, Jane.Doe@Shop.Example ,+49 171 1234567,"{ALL}",store\n'
    "purchase,pos-2,2026-11-20 10:05:00,30.00,EUR,joe@shop.example,,,store\n"
    f'purchase,pos-3,2026-11-20 10:10:00,40.00,EUR,ann@shop.example,,"analytics advertising",loyalty\n'
    f'purchase,pos-4,2026-11-20 10:15:00,50.00,EUR,lea@shop.example,,"{ALL}",loyalty\n'
)


async def test_c49_till_and_loyalty_sales_reach_the_platforms_hashed_and_under_consent(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    config = default_config()
    async with StandIns(config, clock=clock) as platforms:
        resolver, trust = network_from(platforms.connect_info())
        places = [one for one in demo_destinations(config.gateway) if one["platform"] in {"meta", "google_ads"}]
        site = {"destination": places, "calling_code": "49"}
        async with running(tmp_path, clock=clock, network=Network(resolver, trust), shop=site) as shop:
            heard = await (await uploader(shop)).upload(POS)
            assert heard.fates == ["accepted"] * 4
            await until(lambda: shop.rows("select count(*) from delivery where fate = 'waiting'") == [(0,)])
            fates = shop.rows(
                "select substr(cast(e.facts as text), instr(cast(e.facts as text), 'pos-'), 5), d.destination, d.fate from delivery d "
                "join event e on e.seq = d.event_seq order by 1, 2"
            )
            ledgers = {name: platforms.by_name()[name].ledger.requests() for name in ("meta", "google_ads")}
            said = {name: "".join(request.text() for request in sent) for name, sent in ledgers.items()}
    granted, withheld = ("accepted", "accepted"), ("withheld", "withheld")
    assert {order: tuple(fate for found, _, fate in fates if found == order) for order in ("pos-1", "pos-2", "pos-4")} == {
        "pos-1": granted, "pos-2": withheld, "pos-4": granted,
    }  # fmt: skip
    for name, text in said.items():
        assert named("jane.doe@shop.example") in text, name
        assert named("lea@shop.example") in text, name
        assert named("joe@shop.example") not in text, name
        assert named("ann@shop.example") not in text, "contact data needs a purpose of its own"
        assert "pos-1" in text
        assert "pos-2" not in text
        assert "@" not in re.sub(r'"[^"]*@(type|context)[^"]*"', "", text).replace("@type", ""), name
    assert named("491711234567") in said["meta"]
    assert named("+491711234567") in said["google_ads"]


async def test_c49_a_click_file_for_google_ads_reaches_google_ads_with_its_click(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    config = default_config()
    async with StandIns(config, clock=clock) as platforms:
        resolver, trust = network_from(platforms.connect_info())
        places = [one for one in demo_destinations(config.gateway) if one["platform"] == "google_ads"]
        site = {"destination": places}
        async with running(tmp_path, clock=clock, network=Network(resolver, trust), shop=site) as shop:
            await make(shop, "goals", preset="purchase", offline_purposes=["advertising"])
            header = (
                "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Ad User Data\n"
            )
            body = (
                "Parameters:TimeZone=Europe/Berlin\n"
                + header
                + "Cj0KCQiA,Purchase,2026-11-20 10:30:00,12.50,EUR,Granted\n"
                + "Cj0KCQiB,Purchase,2026-11-20 10:40:00,12.50,EUR,Denied\n"
                + "{lpurl},Purchase,2026-11-20 10:50:00,12.50,EUR,Granted\n"
            )
            heard = await (await uploader(shop)).upload(body)
            assert [(row["fate"], row.get("column")) for row in heard.rows] == [
                ("accepted", None), ("accepted", None), ("error", "Google Click ID"),
            ]  # fmt: skip
            await until(lambda: shop.rows("select count(*) from delivery where fate = 'waiting'") == [(0,)])
            (request,) = [
                one for one in platforms.by_name()["google_ads"].ledger.requests() if "events:ingest" in one.path
            ]
    (event,) = json.loads(request.body)["events"]
    assert event["adIdentifiers"] == {"gclid": "Cj0KCQiA"}
    assert event["eventTimestamp"] == "2026-11-20T09:30:00.000Z"
    assert (event["conversionValue"], event["currency"]) == (12.5, "EUR")


async def test_a_row_without_consent_has_what_its_goal_grants_to_uploads_and_else_nothing(tmp_path: Path) -> None:
    destination = {
        "platform": "webhook", "name": "crm", "url": "https://crm.example/", "purposes": ["analytics"],
        "signing_secret": "whsec_" + "b" * 44, "events": ["purchase", "till_sale"],
    }  # fmt: skip
    async with running(tmp_path, shop={"destination": [destination]}) as shop:
        await make(shop, "goals", name="Till", code="till_sale", offline_purposes=["analytics"])
        row = "{},{},2026-11-20 10:00:00,1,EUR,,{},"
        heard = await (await uploader(shop)).upload(
            csv(
                row.format("purchase", "a", ""), row.format("purchase", "b", "analytics"), row.format("till_sale", "c", ""),
                row.format("till_sale", "d", "none"), row.format("till_sale", "e", "functional"),
            )
        )  # fmt: skip
        assert heard.fates == ["accepted"] * 5
        ids = [row["conversion_id"].partition("_")[2] for row in heard.rows]
        sql = "select e.event_id, d.fate from delivery d join event e on e.seq = d.event_seq"
        fates: dict[str, str] = dict(shop.rows(sql))
        assert [fates[event_id] == "withheld" for event_id in ids] == [True, False, False, True, True]


async def test_what_somebody_refused_here_no_file_can_grant(tmp_path: Path) -> None:
    destination = {
        "platform": "webhook", "name": "crm", "url": "https://crm.example/", "purposes": ["analytics"],
        "signing_secret": "whsec_" + "b" * 44, "events": ["purchase"],
    }  # fmt: skip
    async with running(tmp_path, shop={"destination": [destination]}) as shop:
        key = (await shop.new_key())["key"]
        choice = {"person": {"email": "jane@shop.example"}, "choice": {"analytics": "denied"}}
        assert (await shop.api("/consent", choice, key)).status == 200
        heard = await (await uploader(shop)).upload(csv(sale("1", email="jane@shop.example", consent="analytics")))
        assert heard.fates == ["accepted"]
        assert shop.rows("select fate from delivery") == [("withheld",)]


async def test_nothing_a_file_says_of_a_person_is_kept_in_clear(shop: Running, tmp_path: Path) -> None:
    secrets = ("jane.doe@shop.example", "+491711234567", "Doefamily")
    header = "goal,order_id,time,email,phone,last_name,consent\n"
    heard = await (await uploader(shop)).upload(
        csv(f'purchase,1,2026-11-20 10:00:00,{",".join(secrets)},"{ALL}"', header=header)
    )
    assert heard.fates == ["accepted"]
    for path in (tmp_path / "data").iterdir():
        raw = path.read_bytes() if path.is_file() else b""
        for secret in secrets:
            assert secret.encode() not in raw, path.name
    for secret in secrets:
        assert secret not in shop.log_text
        assert secret.encode() not in heard.body


# ------------------------------------------------------------------ who may, and what is no file


async def test_only_a_key_for_conversions_may_upload(shop: Running) -> None:
    weak = (await shop.new_key(rights=("events", "manage", "reports")))["key"]
    elsewhere = (await shop.new_key(sites=("kiosk",)))["key"]
    for key, status, code in (
        ("", 401, "key_missing"), ("gwk_x", 401, "key_invalid"), (elsewhere, 401, "key_invalid"), (weak, 403, "key_forbidden"),
    ):  # fmt: skip
        with shop.refusing(PATH, code):
            heard = await Uploader(shop, key).upload(csv(sale("1")), Authorization=f"Bearer {key}" if key else "")
        assert (heard.status, heard.lines[0]["error"]["code"]) == (status, code)


async def test_row_23_a_signature_is_refused_rather_than_believed(shop: Running) -> None:
    signing = await shop.new_key(must_sign=True)
    plain = await uploader(shop)
    for backend, headers in (
        (Uploader(shop, signing["key"]), {}),
        (plain, {"X_Gateway_Signature": "t=1,n=12345678,v1=0"}),
    ):
        with shop.refusing(PATH, "key_forbidden"):
            heard = await backend.upload(csv(sale("1")), **headers)
        assert heard.lines[0]["error"]["field"] == "X-Gateway-Signature"


async def test_operators_upload_without_a_key_and_name_the_site(shop: Running) -> None:
    admin = {"Authorization": f"Bearer {shop.token}", "Content-Type": "text/csv", "Connection": "close"}

    async def put(query: str, headers: dict[str, str]) -> Heard:
        async with opened(shop.admin_port) as (reader, writer):
            body, path = csv(sale("1")).encode(), f"/api/admin/v1/uploads{query}"
            writer.write(request_bytes("POST", path, host="localhost", headers=headers, body=body))
            return await Sending(reader, writer).end()

    assert (await put("?site=kiosk", admin)).fates == ["accepted"]
    assert shop.rows("select site from conversion join site using (site_no)") == [("kiosk",)]
    for query, headers, code in (
        ("", admin, "field_missing"), ("?site=nowhere", admin, "site_unknown"),
        ("?site=shop", admin | {"Authorization": "Bearer x"}, "admin_token_invalid"),
        ("?site=shop", admin | {"Cookie": "gwadmin=x", "Authorization": "Basic eDp5"}, "admin_token_invalid"),
    ):  # fmt: skip
        assert (await put(query, headers)).lines[0]["error"]["code"] == code


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/csv", 200),
        ('Text/CSV; charset="UTF-8"', 200),
        ("application/jsonl", 200),
        ("application/x-ndjson; charset=utf-8", 200),
        ("text/csv; charset=iso-8859-1", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/zip", 415),
        ("application/json", 415),
        ("", 415),
    ],
)
async def test_what_kind_of_body_it_is_has_to_be_said(shop: Running, kind: str, status: int) -> None:
    heard = await (await uploader(shop)).upload(csv(sale("1")), Content_Type=kind)
    assert heard.status == status
    if status != 200:
        assert heard.lines[0]["error"]["code"] == "content_type_unsupported"


async def test_json_lines_are_read_like_csv(shop: Running) -> None:
    lines = (
        {"goal": "purchase", "order_id": "1", "time": "2026-11-20T10:00:00Z", "value": 0.07, "currency": "EUR"},
        {"x": 1},
    )
    body = "".join(json.dumps(line) + "\n" for line in lines) + '{"goal":"purchase"'
    heard = await (await uploader(shop)).upload(body, Content_Type="application/jsonl")
    assert [(row["line"], row["fate"], row.get("code")) for row in heard.rows] == [
        (1, "accepted", None), (2, "error", "field_unknown"), (3, "error", "json_invalid"),
    ]  # fmt: skip
    assert shop.rows("select amount_minor from conversion") == [(7,)]


async def test_a_packed_file_is_unpacked_as_it_comes(shop: Running) -> None:
    body = csv(*(sale(str(number)) for number in range(2_000)))
    heard = await (await uploader(shop)).upload(gzip.compress(body.encode()), Content_Encoding="gzip")
    heard.sums()
    assert heard.summary["accepted"] == 2_000


@pytest.mark.parametrize(
    ("encoding", "body", "code", "status"),
    [
        ("br", b"x", "encoding_unsupported", 415),
        ("gzip, gzip", b"x", "encoding_unsupported", 415),
        ("gzip", b"goal,time\n", "encoding_broken", 400),
        ("gzip", gzip.compress(HEADER.encode(), mtime=0)[:-3], "encoding_broken", 400),
        ("gzip", gzip.compress(HEADER.encode(), mtime=0) + b"more", "encoding_broken", 400),
        ("", b"", "header_unknown", 400),
        ("", b"order,amount\n1,2\n", "header_unknown", 400),
        ("", HEADER.replace("status", "=CMD()").encode(), "field_unknown", 400),
    ],
)
async def test_a_body_that_is_no_file_is_refused_with_its_status(
    shop: Running, encoding: str, body: bytes, code: str, status: int
) -> None:
    backend = await uploader(shop)
    with shop.refusing(PATH, code):
        heard = await backend.upload(body, Content_Encoding=encoding)
    assert (heard.status, heard.lines[0]["error"]["code"]) == (status, code)


# ------------------------------------------------------------------ attacks


async def test_row_35_the_file_of_errors_runs_in_no_spreadsheet_and_repeats_nothing(shop: Running) -> None:
    evil = ('=HYPERLINK("http://evil")', "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=1")
    rows = [
        f'purchase,x{n},2026-11-20 10:00:00,"{cell.replace(chr(34), chr(34) * 2)}",EUR,,,'
        for n, cell in enumerate(evil)
    ]
    rows += [f'"{cell.replace(chr(34), chr(34) * 2)}",y{n},2026-11-20 10:00:00,1,EUR,,,' for n, cell in enumerate(evil)]
    heard = await (await uploader(shop)).upload(csv(sale("1"), *rows, '"a\nb",1,x,,,,,'), Accept="text/csv")
    assert heard.headers["content-type"] == "text/csv; charset=utf-8"
    assert heard.headers["content-disposition"] == 'attachment; filename="upload-errors.csv"'
    lines = heard.body.decode().split("\r\n")
    assert lines[0] == "line,column,code,message"
    assert len(lines) == 1 + len(rows) + 1 + 1
    for line in lines[1:-1]:
        place, column, code, _ = line.split(",", 3)
        assert re.fullmatch(r"\d+(\.\.\d+)?", place)
        assert column in {"", *(known.name for known in SETS["gateway"].columns)}
        assert CODES[code].message in line.replace('""', '"')
    assert not any(cell.encode() in heard.body for cell in ("HYPERLINK", "+1+1", "SUM(", "evil"))
    fine = await (await uploader(shop)).upload(csv(sale("2")), Accept="text/csv")
    assert fine.body == b"line,column,code,message\r\n"
    broken = await (await uploader(shop)).upload(csv(sale("3"), sale("4", "x")).encode() + b"\xff\n", Accept="text/csv")
    assert [line.split(",")[2] for line in broken.body.decode().split("\r\n")[:-1]] == [
        "code",
        "amount_invalid",
        "text_not_utf8",
    ]


async def test_row_42_ten_million_rows_end_where_the_limit_is(tmp_path: Path) -> None:
    async with running(tmp_path, uploads={"rows_max": 250}) as shop:
        async with (await uploader(shop)).open() as sending:
            listening = asyncio.create_task(sending.end())
            await sending.send(HEADER)
            for start in range(0, 10_000_000, 1_000):
                await sending.send("".join(f"{sale(str(number))}\n" for number in range(start, start + 1_000)))
                if b'"error"' in sending.heard:
                    break
                await asyncio.sleep(0)
            assert start < 1_000_000, "nobody stopped them"
            await sending.send("")
            heard = await listening
        assert heard.rows[-1]["line"] == 251
        assert heard.lines[-1]["error"]["code"] == "rows_too_many"
        assert heard.lines[-1]["error"]["field"] == "line 252"
        assert (heard.summary["rows"], heard.summary["last_line"], shop.count("conversion")) == (250, 251, 250)
        await shop.still_answers()


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        (b"x" * 1_100_000, "line_too_long"),
        (b'"' + b"x\n" * 600_000, "line_too_long"),
        (b"a\0b\n", "text_not_utf8"),
        (b"\xfe\xff\n", "text_not_utf8"),
    ],
    ids=["1 MB line", "1 MB record", "zeros", "not text"],
)
async def test_row_42_what_cannot_be_read_on_is_told_in_the_last_line(shop: Running, tail: bytes, code: str) -> None:
    heard = await (await uploader(shop)).upload(csv(sale("1"), sale("2")).encode() + tail)
    assert (heard.status, heard.whole) == (200, True)
    assert heard.fates == ["accepted", "accepted"]
    assert heard.lines[-1]["error"]["code"] == code
    assert heard.lines[-1]["error"]["field"] == "line 4"
    assert (heard.summary["rows"], heard.summary["last_line"]) == (2, 3)
    assert [(line["code"], line["status"]) for line in shop.log("request_refused")] == [(code, 200)]
    await shop.still_answers()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "n" * 300, "C:\\x", '"; rm -rf'])
async def test_row_42_no_name_a_sender_gives_is_used(shop: Running, tmp_path: Path, name: str) -> None:
    before = sorted(path.name for path in (tmp_path / "data").iterdir())
    disposition = f'attachment; filename="{name}"'.replace("\0", "%00")
    heard = await (await uploader(shop)).upload(csv(sale("1")), Content_Disposition=disposition, Accept="text/csv")
    assert heard.headers["content-disposition"] == 'attachment; filename="upload-errors.csv"'
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == before


@pytest.mark.parametrize("how", ["announced", "in pieces", "packed"])
async def test_row_42_a_file_over_the_limit_is_cut_there(tmp_path: Path, how: str) -> None:
    async with running(tmp_path, uploads={"max_bytes": 200_000}) as shop:
        backend = await uploader(shop)
        body = csv(*(sale(str(number)) for number in range(5_000))).encode()
        assert len(body) > 220_000
        if how == "announced":
            with shop.refusing(PATH, "body_too_large"):
                heard = await backend.upload(body)
            assert heard.status == 413
            return
        if how == "packed":
            heard = await backend.upload(gzip.compress(body), Content_Encoding="gzip")
        else:
            async with backend.open() as sending:
                for start in range(0, len(body), 10_000):
                    await sending.send(body[start : start + 10_000])
                await sending.send("")
                heard = await sending.end()
        assert heard.lines[-1]["error"]["code"] == "body_too_large"
        assert (heard.status, bool(heard.rows)) in {(200, True), (413, False)}, "413 where all of it came at once"
        assert shop.count("conversion") == len(heard.rows) < 5_000


async def test_row_8_a_packed_bomb_costs_neither_memory_nor_time(tmp_path: Path) -> None:
    async with running(tmp_path, uploads={"rows_max": 10_000}) as shop:
        backend = await uploader(shop)
        await backend.upload(csv(sale("1")))
        for filling, code in ((b"\n" * 200_000_000, "rows_too_many"), (b"x" * 200_000_000, "line_too_long")):
            bomb = gzip.compress(HEADER.encode() + filling, 1)
            with grows_at_most(60):
                heard = await backend.upload(bomb, Content_Encoding="gzip")
            assert heard.lines[-1]["error"]["code"] == code
        await shop.still_answers()


async def test_a_piece_that_does_not_come_ends_the_upload_behind_what_was_stored(tmp_path: Path) -> None:
    async with running(tmp_path, uploads={"chunk_timeout_s": 0.2}) as shop:
        async with (await uploader(shop)).open() as sending:
            await sending.send(csv(sale("1")))
            heard = await sending.end()
        assert heard.fates == ["accepted"]
        assert heard.lines[-1]["error"]["code"] == "body_timeout"
        assert shop.count("conversion") == 1


async def test_a_refusal_is_heard_by_a_client_that_is_still_sending(shop: Running) -> None:
    body = b"order,amount\n" + b"1,2\n" * 500_000
    heard = await (await uploader(shop)).upload(body)
    assert (heard.status, heard.lines[0]["error"]["code"]) == (400, "header_unknown")


# ------------------------------------------------------------------ large files


def many(count: int) -> bytes:
    """A file of about 90 bytes a row; every tenth names somebody."""
    people = (f"p{number}@shop.example" if number % 10 == 0 else "" for number in range(count))
    at = "2026-11-20T10:00:00.000+00:00"
    return csv(*(f"purchase,o{place:030},{at},1.00,EUR,{email},," for place, email in enumerate(people))).encode()


def send_all_then_read(port: int, head: bytes, body: bytes) -> bytes:
    """A client that reads nothing until it has sent everything, with little room for what it does not read."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        one.connect(("127.0.0.1", port))
        one.settimeout(120)
        one.sendall(head)
        one.sendall(body)
        heard = bytearray()
        while piece := one.recv(65_536):
            heard += piece
    return bytes(heard)


def little_room(shop: Running) -> None:
    """From now on connections hold 16 KiB of what was sent and not read, on the gateway's side too."""
    for runner in shop.gateway._runners:
        for site in runner.sites:
            assert isinstance(site._server, asyncio.Server)
            for listening in site._server.sockets:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)


@pytest.mark.slow
async def test_a_file_of_20000_rows_goes_through_in_little_memory_to_a_client_that_does_not_read(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as shop:
        backend = await uploader(shop)
        await backend.upload(many(300))
        little_room(shop)
        body = many(20_000)
        assert len(body) > 3 * 524_288, "more than the server reads ahead"
        head = backend.head(Content_Length=str(len(body)))
        with grows_at_most(40):
            raw = await asyncio.to_thread(send_all_then_read, shop.port, head, body)
        heard = read_answer(raw)
        heard.sums()
        assert Counter(heard.fates) == {"accepted": 19_700, "duplicate": 300}
        assert [row["line"] for row in heard.rows] == list(range(2, 20_002))
        assert shop.rows("select count(*) from conversion where fate = 'counted'") == [(20_000,)]


async def test_answers_can_be_held_back_until_the_file_has_ended(shop: Running) -> None:
    async with (await uploader(shop)).open("?answers=after") as sending:
        await sending.send(csv(sale("1"), sale("2")))
        await until(lambda: shop.count("conversion") == 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sending.reader.read(1)
        await sending.send(b"\xff\n")
        await sending.send("")
        heard = await sending.end()
    assert (heard.status, heard.fates) == (200, ["accepted", "accepted"])
    assert heard.lines[-1]["error"]["code"] == "text_not_utf8"


async def test_only_errors_are_answered_where_only_they_are_wanted(shop: Running) -> None:
    heard = await (await uploader(shop)).upload(csv(sale("1"), sale("2", "x"), sale("3")), "?errors=only")
    assert [(row["line"], row["code"]) for row in heard.rows] == [(3, "amount_invalid")]
    assert heard.summary["accepted"] == 2


async def test_others_are_answered_while_a_large_file_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path, limits=UNLIMITED) as shop:
        backend = await uploader(shop)
        task = asyncio.create_task(backend.upload(many(4_000), "?errors=only"))
        slowest, loop = 0.0, asyncio.get_running_loop()
        while not task.done():
            begun_s = loop.time()
            assert (await shop.collect({"name": "page_view"})).status == 204
            slowest = max(slowest, loop.time() - begun_s)
        assert (await task).summary["accepted"] == 4_000
        assert slowest < 1.0
