"""Row 22 and `/consent`: a choice is recorded, read back, and stronger than what an event claims afterwards."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import identity
from gateway.clock import ManualClock
from gateway.flows import forget
from gateway.stores.contract import ConsentState
from tests.support.running import HOST, NOW_MS, PAGE, Running, refused_with, running, signature
from tests.support.signals import ALL, tc_string

DAY_MS: Final = 86_400_000
GRANTED: Final = {"analytics": "granted", "advertising": "granted"}
REFUSED: Final = {"analytics": "denied", "advertising": "denied"}
CANARY: Final = "Kanarienvogel"
PURPOSES: Final = ("functional", "analytics", "advertising", "ad_user_data", "ad_personalization")


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, fast=request.param) as started:
        yield started


class Browser:
    """A browser on a page of the shop: keeps the cookies it is given."""

    def __init__(self, shop: Running) -> None:
        self.shop = shop
        self.cookies: dict[str, str] = {}

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def keep(self, made: dict[str, str]) -> None:
        self.cookies |= made
        self.cookies = {name: value for name, value in self.cookies.items() if value}

    async def choose(self, choice: dict[str, str], **more: object) -> dict[str, Any]:
        headers = {"Origin": PAGE, "Cookie": self.cookie}
        said = await self.shop.send("POST", "/consent", headers=headers, body={"choice": choice, **more})
        assert said.status == 200, said
        self.keep(said.cookies())
        found: dict[str, Any] = said.json()
        return found

    async def read(self) -> dict[str, Any]:
        said = await self.shop.send("GET", "/consent", headers={"Origin": PAGE, "Cookie": self.cookie})
        assert said.status == 200, said
        found: dict[str, Any] = said.json()
        return found

    async def hit(self, event_id: str, **fields: Any) -> int:
        """One event; answers what was granted for it."""
        body = {"name": "page_view", "id": event_id, **fields}
        said = await self.shop.collect(body, cookie=self.cookie)
        assert said.status == 204, said
        self.keep(said.cookies())
        return int(self.shop.facts(event_id)["judgement"]["granted"])


# ------------------------------------------------------------------ in a browser


async def test_a_choice_is_recorded_once_and_read_back(shop: Running) -> None:
    browser = Browser(shop)
    assert (await browser.read())["choice"] == dict.fromkeys(PURPOSES, "unset")
    first = await browser.choose(GRANTED, method="banner", language="de")
    assert (first["kind"], first["recorded"], first["decided_at_ms"], first["notice"]) == ("given", True, NOW_MS, "1")
    assert set(browser.cookies) == {"__Host-gwid", "__Host-gwconsent"}
    again = await browser.choose(GRANTED)
    assert "recorded" not in again
    assert again["record_id"] == first["record_id"]
    read = await browser.read()
    assert read["choice"] == {**dict.fromkeys(PURPOSES, "unset"), "analytics": "granted", "advertising": "granted"}
    assert shop.count("consent_entry") == 1


async def test_a_refusal_leaves_a_receipt_that_names_nobody(shop: Running) -> None:
    browser = Browser(shop)
    await browser.choose(GRANTED)
    shop.move(seconds=3_601)
    refused = await browser.choose(REFUSED)
    assert refused["kind"] == "withdrawn"
    assert set(browser.cookies) == {"__Host-gwconsent"}
    receipt = identity.read_receipt(
        shop.gateway.house.by_id["shop"].keys, [browser.cookies["__Host-gwconsent"]], NOW_MS + DAY_MS
    )
    assert receipt is not None
    assert (receipt.decided_at_ms % DAY_MS, receipt.position) == (0, "")


async def test_row_22_an_event_that_claims_consent_cannot_undo_a_withdrawal(shop: Running) -> None:
    browser = Browser(shop)
    await browser.choose(GRANTED)
    assert await browser.hit("row22-before", consent=GRANTED) & 12 == 12
    await browser.choose(REFUSED)
    claims: list[dict[str, Any]] = [
        {"consent": GRANTED},
        {"consent": GRANTED, "consent_at_ms": NOW_MS + 500_000},
        {"consent": GRANTED, "consent_at_ms": 9_007_199_254_740_991},
        {"consent": {"marketing": "granted", "analytics_storage": "granted"}},
    ]
    for number, claim in enumerate(claims):
        assert await browser.hit(f"row22-after-{number}", **claim) & 12 == 0
        judgement = shop.facts(f"row22-after-{number}")["judgement"]
        assert set(judgement["heard"]) == {"receipt", "claim"}
        assert [12, False, 2, "receipt"] in judgement["rulings"], "kept with the event: the refusal that decided"
        assert browser.cookies.keys() == {"__Host-gwconsent"}


async def test_row_22_a_hit_that_left_before_the_withdrawal_arrived_is_judged_by_it(shop: Running) -> None:
    """Its cookies still say granted; the gateway remembers what this visitor refused since."""
    browser = Browser(shop)
    await browser.choose(GRANTED)
    late = Browser(shop)
    late.cookies = dict(browser.cookies)
    await browser.choose({"advertising": "denied"})
    assert await late.hit("row22-late", consent=GRANTED) & 8 == 0


async def test_row_22_a_new_choice_of_the_visitor_replaces_a_refusal(shop: Running) -> None:
    browser = Browser(shop)
    await browser.choose(REFUSED)
    assert (await browser.choose(GRANTED))["kind"] == "given"
    assert await browser.hit("row22-again") & 12 == 12


@pytest.mark.parametrize("signal", [("1",), ("0", "1"), ("1", "0"), ("x" * 9_000, "1")])
async def test_a_browser_signal_against_sharing_is_stronger_than_a_claim(
    shop: Running, signal: tuple[str, ...]
) -> None:
    headers: list[tuple[str, str | bytes]] = [("Origin", PAGE), *(("Sec-GPC", value) for value in signal)]
    said = await shop.send(
        "POST", "/collect", headers=headers, body={"name": "a", "id": "gpc-0001", "consent": GRANTED}
    )
    assert said.status == 204
    assert shop.facts("gpc-0001")["judgement"]["granted"] & 8 == 0


@pytest.mark.parametrize("signal", [("0",), ("2",), ("",), ("true",), ("1, 1",), ("11",)])
async def test_another_value_of_the_signal_says_nothing(shop: Running, signal: tuple[str, ...]) -> None:
    headers: list[tuple[str, str | bytes]] = [("Origin", PAGE), *(("Sec-GPC", value) for value in signal)]
    said = await shop.send(
        "POST", "/collect", headers=headers, body={"name": "a", "id": "gpc-0001", "consent": GRANTED}
    )
    assert said.status == 204
    assert shop.facts("gpc-0001")["judgement"]["granted"] & 8 == 8


@pytest.mark.parametrize(
    "cookie",
    ["x", "", "1.63.0", "1.63.0.1.31.x." + "A" * 43, "." * 600, "\xff", '"1"', "1.63.0.1795176000000.31.." + "A" * 43],
)
async def test_a_forged_receipt_is_no_choice(shop: Running, cookie: str) -> None:
    browser = Browser(shop)
    browser.cookies = {"__Host-gwconsent": cookie}
    assert (await browser.read())["choice"] == dict.fromkeys(PURPOSES, "unset")
    assert await browser.hit("forged-01") == 1


async def test_a_receipt_of_another_site_or_with_a_changed_set_is_no_choice(shop: Running) -> None:
    kiosk = shop.gateway.house.by_id["kiosk"].keys
    browser = Browser(shop)
    browser.cookies = {"__Host-gwconsent": identity.sign_receipt(kiosk, identity.Receipt(63, 0, NOW_MS, "1", "x" * 22))}
    assert await browser.hit("forged-02") == 1
    await browser.choose(REFUSED)
    version, granted, _, *rest = browser.cookies["__Host-gwconsent"].split(".")
    assert granted == "1"
    browser.cookies = {"__Host-gwconsent": ".".join((version, "63", "0", *rest))}
    assert await browser.hit("forged-03") == 1


WRONG: Final[dict[str, tuple[Any, str, str | None]]] = {
    "a list": ([], "field_type", None),
    "nothing in it": ({}, "field_missing", "choice"),
    "an empty choice": ({"choice": {}}, "field_missing", "choice"),
    "a choice that is a text": ({"choice": CANARY}, "consent_value_invalid", "choice"),
    "an unknown purpose": ({"choice": {"everything": "granted"}}, "purpose_unknown", "choice"),
    "a value that is true": ({"choice": {"analytics": True}}, "consent_value_invalid", "choice[...]"),
    "a value that is a word": ({"choice": {"analytics": CANARY}}, "consent_value_invalid", "choice[...]"),
    "an unknown method": ({"choice": GRANTED, "method": CANARY}, "field_invalid", "method"),
    "a notice of 41 characters": ({"choice": GRANTED, "notice": "x" * 41}, "field_too_long", "notice"),
    "a notice with a control character": ({"choice": GRANTED, "notice": "\x1b[31m"}, "field_invalid", "notice"),
    "a language with a line feed": ({"choice": GRANTED, "language": "de\nx"}, "field_invalid", "language"),
    "a field that does not exist": ({"choice": GRANTED, "extra": CANARY}, "field_unknown", "extra"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_row_12_a_wrong_field_of_a_choice_is_named_and_its_value_is_not(shop: Running, case: str) -> None:
    body, code, field = WRONG[case]
    headers = {"Origin": PAGE}
    with shop.refusing("/consent", code):
        said = await shop.send("POST", "/consent", headers=headers, body=json.dumps(body).encode())
    refused_with(said, 400, code, field)
    assert said.header("access-control-allow-origin") == PAGE, "so that the page's console can show it"
    assert CANARY not in shop.log_text


@pytest.mark.parametrize(
    ("field", "value"), [("decided_at_ms", NOW_MS), ("visitor", CANARY), ("person", {"external_id": CANARY})]
)
async def test_row_12_a_page_cannot_choose_for_somebody_else_or_at_another_time(
    shop: Running, field: str, value: object
) -> None:
    with shop.refusing("/consent", "field_unknown"):
        said = await shop.send("POST", "/consent", headers={"Origin": PAGE}, body={"choice": GRANTED, field: value})
    refused_with(said, 400, "field_unknown", field)


async def test_choices_on_a_host_that_is_not_configured_are_misdirected(shop: Running) -> None:
    for method in ("GET", "POST"):
        said = await shop.send(
            method, "/consent", headers={"Origin": PAGE}, body={"choice": GRANTED}, host="evil.example"
        )
        refused_with(said, 421, "host_unknown")


# ------------------------------------------------------------------ from a backend


async def choose(
    shop: Running, key: dict[str, Any], body: object, *, nonce: str | None = None, host: str = HOST
) -> Any:
    raw = json.dumps(body).encode()
    headers: dict[str, str | bytes] = {}
    if nonce is not None:
        at_s = shop.clock.now_ms() // 1000
        headers["X-Gateway-Signature"] = signature(
            key["signing_secret"], at_s=at_s, nonce=nonce, method="POST", path="/consent", body=raw
        )
    return await shop.api("/consent", raw, key["key"], headers=headers, host=host)


async def test_row_22_a_claim_of_a_backend_cannot_undo_what_the_person_refused(shop: Running) -> None:
    key = await shop.new_key()
    person = {"external_id": "customer-42"}
    said = await choose(shop, key, {"choice": REFUSED, "person": person})
    assert (said.status, said.json()["kind"]) == (200, "refused")
    shop.move(seconds=60)
    body = {"name": "purchase", "id": "row22-server", "person": person, "consent": GRANTED}
    assert (await shop.api("/api/v1/conversions", body, key["key"])).status == 200
    judgement = shop.facts("row22-server")["judgement"]
    assert judgement["granted"] == 1
    assert judgement["heard"] == ["receipt", "backend"]
    later = {**body, "id": "row22-later", "consent_at_ms": shop.clock.now_ms()}
    assert (await shop.api("/api/v1/conversions", later, key["key"])).status == 200
    assert shop.facts("row22-later")["judgement"]["granted"] & 12 == 12, "a later choice, told by who can be believed"


async def test_a_choice_of_a_backend_is_recorded_once_and_has_its_line(shop: Running) -> None:
    key = await shop.new_key(rights=("consent",))
    body = {"choice": GRANTED, "person": {"email": "Jane@Example.com"}, "decided_at_ms": NOW_MS - DAY_MS}
    first, again = [await choose(shop, key, body) for _ in range(2)]
    assert first.json()["recorded"] is True
    assert "recorded" not in again.json()
    assert shop.count("consent_entry") == 1
    lines = [line for line in shop.log("request_answered") if line["route"] == "/consent"]
    assert [(line["status"], line["site"], line["recorded"]) for line in lines] == [
        (200, "shop", True),
        (200, "shop", False),
    ]
    assert "ane@" not in shop.log_text.lower()


async def test_row_23_a_signed_choice_cannot_be_said_twice(shop: Running) -> None:
    """Else who recorded an old grant on the way could say it again after the person withdrew."""
    key = await shop.new_key(must_sign=True)
    person = {"external_id": "customer-43"}
    assert (await choose(shop, key, {"choice": GRANTED, "person": person}, nonce="nonce-0001")).status == 200
    assert (await choose(shop, key, {"choice": REFUSED, "person": person}, nonce="nonce-0002")).json()[
        "kind"
    ] == "withdrawn"
    with shop.refusing("/consent", "key_invalid"):
        refused_with(
            await choose(shop, key, {"choice": GRANTED, "person": person}, nonce="nonce-0001"), 401, "key_invalid"
        )
    granted, denied = shop.rows("select granted, denied from consent_state")[0]
    assert (granted, denied) == (0, 12)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"choice": GRANTED}, "field_missing", "person"),
        ({"choice": GRANTED, "person": {}}, "field_missing", "person"),
        ({"choice": GRANTED, "person": {"email": CANARY}}, "field_missing", "person"),
        ({"choice": GRANTED, "visitor": CANARY}, "visitor_token_invalid", "visitor"),
        ({"choice": GRANTED, "person": {"external_id": "1"}, "decided_at_ms": NOW_MS + 600_001}, "time_out_of_range", "decided_at_ms"),
        ({"choice": GRANTED, "person": {"external_id": "1"}, "decided_at_ms": 0}, "time_out_of_range", "decided_at_ms"),
        ({"choice": GRANTED, "person": {"external_id": "1"}, "decided_at_ms": 10**18}, "field_invalid", "decided_at_ms"),
    ],
)  # fmt: skip
async def test_row_12_a_choice_of_a_backend_needs_somebody_and_a_time_that_can_be(
    shop: Running, body: object, code: str, field: str
) -> None:
    key = await shop.new_key()
    with shop.refusing("/consent", code):
        refused_with(await choose(shop, key, body), 400, code, field)
    assert CANARY not in shop.log_text


async def test_a_key_without_the_right_to_choose_is_refused(shop: Running) -> None:
    key = await shop.new_key(rights=("events",))
    body = {"choice": GRANTED, "person": {"external_id": "1"}}
    with shop.refusing("/consent", "key_forbidden"):
        refused_with(await choose(shop, key, body), 403, "key_forbidden")
    bad = {**key, "key": "gwk_aaaaaaaa_" + base64.urlsafe_b64encode(bytes(32))[:43].decode()}
    with shop.refusing("/consent", "key_invalid"):
        refused_with(await choose(shop, bad, body), 401, "key_invalid")


# ------------------------------------------------------------------ consent signals as a choice

GA4: Final = {"platform": "ga4", "measurement_id": "G-ABCDEF1234", "api_secret": "not-a-real-one-1234"}
KLARO: Final = {"consent_platform": {"name": "klaro", "mapping": {"ga": "analytics", "ads": "marketing"}}}


@pytest.fixture
async def with_klaro(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, shop=KLARO) as started:
        yield started


async def said_by_klaro(shop: Running, cookie: str, **body: object) -> dict[str, Any]:
    """What `POST /consent` answers to a browser with a klaro cookie and `{"signals": {}}`."""
    headers = {"Origin": PAGE, "Cookie": cookie}
    said = await shop.send("POST", "/consent", headers=headers, body={"signals": {}, **body})
    assert said.status == 200, said
    answer: dict[str, Any] = said.json()
    return {**answer, "cookies": said.cookies()}


async def test_a_platforms_cookie_becomes_a_recorded_choice_and_its_change_a_withdrawal(with_klaro: Running) -> None:
    first = await said_by_klaro(with_klaro, "klaro=%7B%22ga%22%3Atrue%2C%22ads%22%3Atrue%7D")
    assert first["choice"]["analytics"] == first["choice"]["advertising"] == "granted"
    kept = "; ".join(f"{name}={value}" for name, value in first["cookies"].items())
    second = await said_by_klaro(with_klaro, f"{kept}; klaro=%7B%22ga%22%3Atrue%2C%22ads%22%3Afalse%7D")
    assert (second["kind"], second["choice"]["advertising"], second["choice"]["analytics"]) == (
        "withdrawn",
        "denied",
        "granted",
    )
    assert with_klaro.count("consent_entry") == 2


async def test_signals_that_say_nothing_record_nothing(with_klaro: Running) -> None:
    for body in ({}, {"signals": {"tcf": "nonsense", "gpp": "x" * 20_000, "us_privacy": "1---"}}):
        answer = await said_by_klaro(with_klaro, "klaro=broken", **body)
        assert not answer["recorded"] if "recorded" in answer else True
        assert answer["cookies"] == {}
    assert with_klaro.count("consent_entry") == 0


async def test_words_and_signals_that_differ_are_a_refusal(with_klaro: Running) -> None:
    cookie = "klaro=%7B%22ga%22%3Atrue%2C%22ads%22%3Afalse%7D"
    answer = await said_by_klaro(with_klaro, cookie, choice={"advertising": "granted", "analytics": "denied"})
    assert (answer["choice"]["advertising"], answer["choice"]["analytics"]) == ("denied", "denied")


async def test_consent_mode_alone_is_recorded_only_where_it_is_the_sites_way_to_tell(tmp_path: Path) -> None:
    denied = {"signals": {"google": {"ad_storage": "denied", "analytics_storage": "granted"}}}
    async with running(tmp_path / "a") as shop:
        said = await shop.send("POST", "/consent", headers={"Origin": PAGE}, body=denied)
        assert (said.status, shop.count("consent_entry")) == (200, 0)
    async with running(tmp_path / "b", shop={"consent_mode": "source", "destination": [GA4]}) as shop:
        said = await shop.send("POST", "/consent", headers={"Origin": PAGE}, body=denied)
        assert (said.json()["choice"]["advertising"], said.json()["choice"]["analytics"]) == ("denied", "granted")


# ------------------------------------------------------------------ what waits, and what comes later


NOT_REACHED: Final = "https://receiver.invalid/in"


def receivers(**vendors: int | None) -> list[dict[str, Any]]:
    """Webhooks that need advertising, by name, with their numbers in the vendor list."""
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
    row = {"platform": "webhook", "url": NOT_REACHED, "purposes": ["advertising"], "signing_secret": secret}
    numbers = {name: {"tcf_vendor": vendor} if vendor is not None else {} for name, vendor in vendors.items()}
    return [{**row, "name": name, **number} for name, number in numbers.items()]


async def becomes(shop: Running, fate: str, reason: str) -> None:
    async with asyncio.timeout(10):
        while set(shop.rows("select fate, reason from delivery")) != {(fate, reason)}:
            await asyncio.sleep(0.02)


async def test_a_refusal_by_a_backend_holds_after_a_restart_whatever_the_browser_carries(tmp_path: Path) -> None:
    """The browser never heard of it, and what is remembered of refusals ends with the process."""
    async with running(tmp_path, shop={"destination": receivers(ads=None)}) as shop:
        browser = Browser(shop)
        await browser.choose(GRANTED)
        key = (await shop.new_key(sites=("shop",), rights=("consent",)))["key"]
        body = {"choice": {"advertising": "denied"}, "visitor": browser.cookies["__Host-gwid"]}
        assert (await shop.api("/consent", body, key)).status == 200
    clock = ManualClock(NOW_MS + 60_000)
    async with running(tmp_path, clock=clock, shop={"destination": receivers(ads=None)}) as shop:
        browser.shop = shop
        assert await browser.hit("restart-0001", name="purchase", order_id="R-1", value="1.00") & 8
        await becomes(shop, "cancelled", "consent_withdrawn")
        assert shop.count("attempt") == 0


async def test_a_grant_that_becomes_void_cancels_what_waits_on_it(tmp_path: Path) -> None:
    """A string that speaks to each vendor by name replaces a grant for everybody."""
    lists = tmp_path / "data" / "gvl"
    lists.mkdir(parents=True, mode=0o700)
    fixture = Path(__file__).parents[1] / "vectors" / "gvl-fixture.json"
    (lists / "vendor-list-v150.json").write_bytes(fixture.read_bytes())
    async with running(tmp_path, shop={"destination": receivers(one=33, other=34)}) as shop:
        browser = Browser(shop)
        await browser.choose(GRANTED)
        await browser.hit("void-0001", name="purchase", order_id="V-1", value="1.00")
        await becomes(shop, "waiting", "vendor_unavailable")
        string = tc_string(purposes=ALL, vendors=(33,), disclosed=(33, 34), publisher=(1, 8))
        headers = {"Origin": PAGE, "Cookie": browser.cookie}
        said = await shop.send("POST", "/consent", headers=headers, body={"signals": {"tcf": string}})
        assert said.json()["kind"] == "withdrawn"
        held = shop.rows("select fate, reason from delivery where record_id is null")
        assert held == [("cancelled", "consent_withdrawn")] * 2


async def test_a_server_call_that_was_read_before_an_erasure_and_stored_after_it_leaves_no_trace_of_the_visitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of somebody before they were erased is void: the call is prepared anew, and finds nobody."""
    async with running(tmp_path, shop={"destination": receivers(ads=None)}) as shop:
        browser = Browser(shop)
        await browser.choose(GRANTED)
        token = browser.cookies["__Host-gwid"]
        house = shop.gateway.house
        rooms = house.by_id["shop"]
        subject = rooms.visitor_key(token.split(".")[1])
        read = house.store.consent_state
        erased: list[bool] = []

        async def read_then_erase(site: str, asked: bytes) -> ConsentState | None:
            found = await read(site, asked)
            if asked == subject and not erased:
                erased.append(True)
                await forget.forget(house, rooms, subject, method="privacy_page")
            return found

        monkeypatch.setattr(house.store, "consent_state", read_then_erase)
        key = (await shop.new_key())["key"]
        body = {"name": "purchase", "id": "race-00001", "order_id": "o1", "value": "1.00", "visitor": token}
        said = await shop.api("/api/v1/conversions", body, key)
        assert said.status == 200, said
        assert erased
        assert shop.rows("select visitor_key from event where event_id = 'race-00001'") == [(None,)]
        assert shop.rows("select fate from delivery where event_seq is not null") == [("withheld",)]


async def test_the_visitors_page_names_who_is_allowed_by_name(tmp_path: Path) -> None:
    lists = tmp_path / "data" / "gvl"
    lists.mkdir(parents=True)
    (lists / "vendor-list-v150.json").write_bytes(
        (Path(__file__).parents[1] / "vectors" / "gvl-fixture.json").read_bytes()
    )
    async with running(tmp_path, shop={"destination": receivers(one=33)}) as shop:
        text = tc_string(purposes=ALL, vendors=(33,), disclosed=(33,), publisher=())
        cookie = f"euconsent-v2={text}"
        said = await shop.send("GET", "/privacy", headers={"Cookie": cookie, "Accept-Language": "en"})
        assert "but your choice in the consent dialog allows it to:" in said.body.decode()
        without = await shop.send("GET", "/privacy", headers={"Accept-Language": "en"})
        assert "but your choice in the consent dialog" not in without.body.decode()
