"""The visitor's own page: everything it shows and does, without script; and everybody it must not do it for.

Rows are those of the attack list. What the forms do to the store and to destinations is in `tests/flows/test_erase.py`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from gateway import identity
from gateway.errors import CODES, StoreBusy
from gateway.flows.forms import FORM_COOKIE
from gateway.outcome import DeliveryFate
from gateway.pages.privacy import NOTES, STYLE, language_for
from gateway.pages.privacy_texts import LANGUAGES, MONTHS, TEXTS
from gateway.purposes import PURPOSES, Step
from tests.handlers.conftest import UNLIMITED
from tests.support.nowhere import NOWHERE
from tests.support.running import HOST, NOW_MS, OTHER_HOST, PAGE, Running, refused_with, request_bytes, running
from tests.support.visitor import Document, Visitor, read

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_MS: Final = 86_400_000
ALL: Final = dict.fromkeys(("functional", "analytics", "advertising", "ad_user_data", "ad_personalization"), "granted")
NONE: Final = dict.fromkeys(ALL, "denied")
POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
SECTIONS: Final = ("now", "gpc", "withdraw", "choose", "held", "download", "erase")
WEBHOOK: Final = {
    "platform": "webhook", "name": "crm", "url": "https://crm.example/in", "purposes": ["analytics"],
    "signing_secret": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(
        tmp_path_factory.mktemp("privacy"),
        limits=UNLIMITED,
        network=NOWHERE,
        shop={"destination": [WEBHOOK], "gpc_statement": "2026-11-20"},
    ) as started:
        yield started


def browser(shop: Running, host: str = HOST, **headers: str) -> Visitor:
    return Visitor(shop.port, host, **headers)


async def known(shop: Running, **headers: str) -> Visitor:
    """Somebody who agreed to everything and looked around."""
    visitor = browser(shop, **headers)
    await visitor.choose(PAGE, **ALL)
    await visitor.hit(PAGE, url=f"{PAGE}/?utm_source=news&gclid=Cj0KCQtest_123-x", title="Welcome")
    return visitor


def visitor_id(visitor: Visitor) -> str:
    return visitor.cookies["__Host-gwid"].split(".")[1]


def rows_of(page: Document, section: str) -> dict[str, list[str]]:
    """Rows of all tables of a section: head of the row to its cells."""
    return {
        row.all("th")[0].text: [cell.text for cell in row.all("td")]
        for row in page.section(section).all("tr")
        if row.all("td") and row.all("th")
    }


# ------------------------------------------------------------------ what it shows


async def test_a_stranger_sees_the_rules_and_that_nothing_is_held(shop: Running) -> None:
    page = await browser(shop).open()
    assert page.section("now").all("p")[0].text == "No choice of this browser is recorded."
    shown = rows_of(page, "now")
    assert len(shown) == len(PURPOSES)
    assert shown["Statistics how the site's pages are used, counted by the site's owner"] == [
        "nothing", "not allowed, by the rule for those who said nothing",
    ]  # fmt: skip
    assert next(iter(shown.values())) == ["–", "allowed, needs no consent"]
    assert page.section("held").all("p")[0].text.startswith("Nothing can be found under this browser")
    assert page.section("held").all("table") == []
    assert page.message is None


async def test_somebody_known_sees_the_choice_its_time_and_notice_and_what_is_held(shop: Running) -> None:
    visitor = await known(shop)
    await visitor.hit(PAGE, "purchase", order_id="SEEN-1", value="5.00", currency="EUR")
    page = await visitor.open()
    assert page.section("now").all("p")[0].text == (
        "Your choice was recorded on 20 November 2026, 12:00 UTC, under version 1 of the privacy notice."
    )
    assert rows_of(page, "now")["Comfort settings that make the site easier to use"] == [
        "yes", "allowed, because you agreed",
    ]  # fmt: skip
    held = rows_of(page, "held")
    assert held["Events, such as pages you viewed"] == ["2"]
    assert held["of these, purchases and other goals"] == ["1"]
    assert held["Arrivals by a link, a campaign or an advertisement"] == ["1"]
    assert held["Recorded choices"] == ["1"]
    assert held["Signed webhook crm"] == ["waiting to be sent", "1"]
    records = page.section("held").all("table")[-1].all("tr")[1]
    assert [cell.text for cell in records.all("td")] == [
        "20 November 2026, 12:00 UTC",
        "agreed: Comfort, Statistics, Advertising, Data for ad platforms, Personal advertising",
        "in the consent dialog",
        "1",
    ]


@pytest.mark.parametrize(
    ("language", "robot", "trial", "refused"),
    [
        (
            "en",
            "not sent, because the visit looked like a robot's",
            "not sent, because it was a test",
            "not sent, because you did not agree",
        ),
        (
            "de",
            "nicht gesendet, weil der Besuch nach einem Roboter aussah",
            "nicht gesendet, weil es ein Test war",
            "nicht gesendet, weil Sie nicht zugestimmt haben",
        ),
    ],
)
async def test_nobody_is_told_of_a_refusal_where_another_rule_kept_an_event_back(
    shop: Running, language: str, robot: str, trial: str, refused: str
) -> None:
    visitor = browser(shop, Accept_Language=language)
    await visitor.choose(PAGE, **ALL)
    await visitor.hit(PAGE, "sign_up", test=True)
    usual = visitor.headers["User-Agent"]
    visitor.headers["User-Agent"] = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    for _ in range(2):
        await visitor.hit(PAGE, "sign_up")
    visitor.headers["User-Agent"] = usual
    page = await visitor.open()
    outcomes = [[cell.text for cell in row.all("td")] for row in page.section("held").all("table")[1].all("tr")[1:]]
    assert outcomes == [[robot, "2"], [trial, "1"]]
    assert refused not in page.text


async def test_of_a_refusal_only_the_day_is_shown(shop: Running) -> None:
    visitor = browser(shop)
    await visitor.choose(PAGE, **NONE)
    page = await visitor.open()
    assert "Your choice was recorded on 20 November 2026, under version 1" in page.section("now").text
    assert {cells[0] for cells in rows_of(page, "now").values()} == {"–", "no"}


async def test_an_outdated_grant_is_said_not_to_count(shop: Running) -> None:
    visitor = browser(shop)
    await visitor.send(
        "POST", "/consent", body=json.dumps({"choice": ALL, "notice": "older"}).encode(), headers={"Origin": PAGE}
    )
    page = await visitor.open()
    assert "under version older of the privacy notice. It no longer counts as a yes" in page.section("now").text
    assert rows_of(page, "now")["Comfort settings that make the site easier to use"][1].startswith("not allowed")


async def test_a_choice_a_backend_recorded_later_is_the_one_shown(shop: Running) -> None:
    visitor = await known(shop)
    key = (await shop.new_key())["key"]
    body = {
        "choice": {"advertising": "denied"}, "visitor": visitor.cookies["__Host-gwid"], "decided_at_ms": NOW_MS + 1_000,
    }  # fmt: skip
    assert (await shop.api("/consent", body, key)).status == 200
    page = await visitor.open()
    said = rows_of(page, "now")["Advertising measuring which advertisement led to a purchase"]
    assert said == ["no", "not allowed, because you refused it"]
    assert "told by the site's owner" in page.section("held").text


@pytest.mark.parametrize(("values", "seen"), [(("1",), True), (("0",), False), (("1, 1",), False), (("0", "1"), True)])
async def test_row_21_whether_the_signal_was_processed_is_displayed(
    shop: Running, values: tuple[str, ...], seen: bool
) -> None:
    visitor = await known(shop)
    headers = [("Cookie", visitor.cookie), *(("Sec-GPC", value) for value in values)]
    page = read((await shop.talk(request_bytes("GET", "/privacy", headers=headers))).only)
    said = page.section("gpc").all("p")[0].text
    assert said.startswith("Opt-out request honoured." if seen else "Your browser did not send")
    advertising = rows_of(page, "now")["Advertising measuring which advertisement led to a purchase"]
    assert advertising == (
        ["yes", "not allowed, because of an opt-out signal of your browser"]
        if seen
        else ["yes", "allowed, because you agreed"]
    )


async def test_an_override_of_the_signal_is_admitted(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"gpc_grant_overrides": True}) as shop:
        visitor = await known(shop, Sec_GPC="1")
        page = await visitor.open()
        assert "It was processed. You also agreed to advertising on this site" in page.section("gpc").text


async def test_a_count_without_cookies_is_mentioned_where_there_is_one(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"cookieless": "daily"}) as shop:
        assert "may count visits without cookies" in (await browser(shop).open()).section("held").text


async def test_no_contact_data_and_no_id_stand_on_the_page_or_in_the_download(shop: Running) -> None:
    visitor = browser(shop)
    await visitor.choose(PAGE, **ALL)
    person = {"email": "kanarienvogel@example.com", "first_name": "Kanarienvogel"}
    await visitor.hit(
        PAGE, "purchase", order_id="NOT-1", person=person, title="Thanks, Kanarienvogel", value="1", currency="EUR"
    )
    page = await visitor.open()
    download = await visitor.post({**page.form("download"), "action": "download"})
    for said in (page.said, download):
        text = said.head.decode() + said.body.decode()
        assert "kanarienvogel" not in text.lower()
        assert visitor_id(visitor) not in text
        assert visitor.cookies["__Host-gwid"] not in text


# ------------------------------------------------------------------ the forms


async def test_withdrawing_takes_one_step_and_deletes_the_cookies(shop: Running) -> None:
    visitor = await known(shop)
    assert {"__Host-gwid", "__Host-gwclick", "__Host-gwconsent"} <= set(visitor.cookies)
    page = await visitor.open()
    after = await visitor.submit(page.form("withdraw"), action="withdraw")
    assert after.message == "Everything is withdrawn."
    assert set(visitor.cookies) == {"__Host-gwconsent", FORM_COOKIE}
    assert {cells[0] for cells in rows_of(after, "now").values()} == {"–", "no"}
    assert (await visitor.submit(after.form("withdraw"), action="withdraw")).message == (
        "This was your choice already; nothing changed."
    )
    (entry,) = shop.rows("select entry from consent_entry order by entry_no desc limit 1")[0]
    assert (json.loads(entry)["event_type"], json.loads(entry)["method"]) == ("withdrawn", "privacy_page")


async def test_withdrawing_cancels_what_waits(shop: Running) -> None:
    visitor = await known(shop)
    await visitor.hit(PAGE, "purchase", id="cancel-me-1", order_id="CANCEL-1", value="5.00", currency="EUR")
    fate = (
        "select d.fate, d.reason, d.leased_until_ms from delivery d join event e on e.seq = d.event_seq "
        "where e.event_id = 'cancel-me-1'"
    )
    for _ in range(200):  # until the first attempt has failed: while one is under way nothing can be cancelled
        if shop.rows(fate) == [("waiting", "vendor_unavailable", None)]:
            break
        await asyncio.sleep(0.02)
    page = await visitor.open()
    await visitor.submit(page.form("withdraw"), action="withdraw")
    assert shop.rows(fate) == [("cancelled", "consent_withdrawn", None)]


async def test_each_purpose_can_be_chosen_and_what_is_left_open_stays(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    assert set(page.form("choose")) == {"token"}, "nothing is ticked for a visitor"
    page = await visitor.submit(page.form("choose"), action="choose", analytics="granted", advertising="denied")
    assert page.message == "Your choice is recorded."
    assert page.form("choose") == {
        "token": page.form("choose")["token"],
        "analytics": "granted",
        "advertising": "denied",
    }
    said = [cells[0] for cells in rows_of(page, "now").values()]
    assert said == ["–", "nothing", "yes", "no", "nothing", "nothing"]
    page = await visitor.submit({"token": page.form("choose")["token"]}, action="choose", functional="granted")
    said = [cells[0] for cells in rows_of(page, "now").values()]
    assert said == ["–", "yes", "yes", "no", "nothing", "nothing"]
    assert "__Host-gwid" in visitor.cookies, "analytics allows the id"
    page = await visitor.submit(page.form("choose"), action="choose", analytics="denied")
    assert "__Host-gwid" not in visitor.cookies


async def test_an_empty_choice_changes_nothing_and_says_so(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    before = shop.everything_stored()
    page = await visitor.submit(page.form("choose"), action="choose")
    assert page.message == "You chose nothing, so nothing changed."
    assert shop.everything_stored() == before


async def test_the_download_holds_everything_that_is_stored(shop: Running) -> None:
    visitor = browser(shop)
    await visitor.choose(PAGE, **ALL)
    await visitor.hit(
        PAGE, "purchase", id="download-1", order_id="DOWN-1", value="8.90", currency="EUR", title="Thanks",
        url=f"{PAGE}/thanks?gclid=Cj0KCQtest_123-x&utm_source=news",
    )  # fmt: skip
    page = await visitor.open()
    said = await visitor.post({**page.form("download"), "action": "download"})
    assert said.status == 200
    assert said.header("content-type") == "application/json"
    assert said.header("content-disposition") == 'attachment; filename="my-data.json"'
    assert said.header("cache-control") == "no-store"
    assert said.header("x-content-type-options") == "nosniff"
    found = said.json()
    assert (found["site"], found["known_as"], found["complete"]) == ("shop", "signed", True)
    assert found["choice"]["purposes"]["analytics"] == {
        "said": "granted",
        "allowed": True,
        "because": "stored_grant",
        "allowed_to": [],
        "not_allowed_to": [],
    }
    assert found["global_privacy_control"] == {"seen": False, "honoured": None}
    assert [record["event_type"] for record in found["consent_records"]] == ["given"]
    (event,) = found["events"]
    assert (event["event_id"], event["facts"]["page"]["title"]) == ("download-1", "Thanks")
    assert event["conversions"] == [
        {"goal": "purchase", "order_id": "DOWN-1", "value": "8.90", "currency": "EUR", "fate": "counted"}
    ]
    assert [(row["destination"], row["platform"], row["fate"]) for row in event["deliveries"]] == [
        ("crm", "Signed webhook", "waiting")
    ]
    assert event["consent"]["granted"] == list(PURPOSES)
    (touch,) = found["touches"]
    assert (touch["click_ids"], touch["campaign"]) == ({"gclid": "Cj0KCQtest_123-x"}, {"source": "news"})
    for secret in ("visitor_key", "person_key", "subject_tag", "dedup_key", "payload"):
        assert secret not in said.body.decode()


async def test_a_very_long_history_is_cut_and_says_so(shop: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.disclose.PAGE", 2)
    monkeypatch.setattr("gateway.flows.disclose.EVENTS_MAX", 4)
    visitor = browser(shop)
    await visitor.choose(PAGE, **ALL)
    for number in range(5):
        await visitor.hit(PAGE, id=f"history-{number}")
    page = await visitor.open()
    found = (await visitor.post({**page.form("download"), "action": "download"})).json()
    assert [event["event_id"] for event in found["events"]] == [f"history-{number}" for number in range(4)]
    assert found["complete"] is False


async def test_who_has_no_id_downloads_the_choice_alone(shop: Running) -> None:
    visitor = browser(shop)
    await visitor.choose(PAGE, **NONE)
    page = await visitor.open()
    found = (await visitor.post({**page.form("download"), "action": "download"})).json()
    assert (found["known_as"], found["events"], found["touches"], found["consent_records"]) == ("nobody", [], [], [])
    assert found["choice"]["purposes"]["advertising"]["said"] == "denied"


async def test_erasing_wants_a_tick_and_then_erases(shop: Running) -> None:
    visitor = await known(shop)
    page = await visitor.open()
    page = await visitor.submit(page.form("erase"), action="erase")
    assert page.message == "Nothing was erased: tick the box to confirm, then press Erase."
    assert rows_of(page, "held")["Events, such as pages you viewed"] == ["1"]
    page = await visitor.submit(page.form("erase"), action="erase", sure="yes")
    assert page.message == "What was stored under the number of this browser is erased."
    assert set(visitor.cookies) == {"__Host-gwconsent", FORM_COOKIE}
    assert {cells[0] for cells in rows_of(page, "now").values()} == {"–", "no"}, "a refusal is all that is remembered"
    receipt = identity.read_receipt(
        shop.gateway.house.by_id["shop"].keys, [visitor.cookies["__Host-gwconsent"]], NOW_MS + DAY_MS
    )
    assert receipt is not None
    assert (receipt.granted, receipt.position, receipt.decided_at_ms % DAY_MS) == (1, "", 0)


async def test_erasing_where_nothing_is_held_refuses_everything(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    page = await visitor.submit(page.form("erase"), action="erase", sure="yes")
    assert page.message == "Nothing was stored under a number of this browser. Everything is refused from now on."
    assert {cells[0] for cells in rows_of(page, "now").values()} == {"–", "no"}


async def test_what_a_reload_after_a_form_says_is_not_said_by_others_links(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    said = await visitor.post({**page.form("withdraw"), "action": "withdraw"})
    assert said.status == 303
    where = said.header("location")
    assert where is not None
    assert (await visitor.open(where)).message == "Everything is withdrawn."
    assert (await browser(shop).open(where)).message is None, "the word is for the browser that did it"
    for word in ("erased", "withdrawn", "%3Cscript%3E", "1.erased.x.y", "x" * 4_000):
        assert (await visitor.open(f"/privacy?note={word}")).message is None
    token = page.form("withdraw")["token"]
    assert (await visitor.open(f"/privacy?note={token}")).message is None, "a form's token is no word"


# ------------------------------------------------------------------ row 37: who may not


FOREIGN: Final[dict[str, dict[str, str]]] = {
    "another site": {"Origin": "https://evil.example"},
    "a look-alike": {"Origin": f"https://{HOST}.evil.example"},
    "the shop itself": {"Origin": PAGE},
    "another site of ours": {"Origin": f"https://{OTHER_HOST}"},
    "nobody": {"Origin": "null"},
    "no origin at all": {"Origin": "https://"},
    "a sandbox": {"Origin": "null", "Sec-Fetch-Site": ""},
    "a cross-site form": {"Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "the address bar": {"Sec-Fetch-Site": "none"},
    "a liar": {"Origin": "https://evil.example", "Sec-Fetch-Site": ""},
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_row_37_a_form_of_another_page_changes_nothing(shop: Running, name: str) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    for action in ("withdraw", "erase", "download"):
        with shop.refusing("/privacy", "request_foreign"):
            said = await visitor.post({**form, "action": action, "sure": "yes"}, FOREIGN[name])
        assert said.status == 403
        assert said.header("set-cookie") is None
        assert read(said).message == "Nothing was changed: this was asked for by a page of another site."
    assert "__Host-gwid" in visitor.cookies


async def test_a_browser_that_names_no_origin_is_let_in_by_its_token(shop: Running) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    said = await visitor.post({**form, "action": "withdraw"}, {"Origin": "", "Sec-Fetch-Site": ""})
    assert said.status == 303


@pytest.mark.parametrize(
    "origin", [f"http://{HOST}", f"https://{HOST}:8443", f"HTTPS://{HOST.upper()}", f"https://{HOST}."]
)
async def test_our_own_page_is_known_whatever_proxy_stands_before_it(shop: Running, origin: str) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    assert (await visitor.post({**form, "action": "withdraw"}, {"Origin": origin})).status == 303


async def test_row_37_without_a_good_token_nothing_changes(shop: Running) -> None:
    visitor, stranger, kiosk = await known(shop), await known(shop), browser(shop, OTHER_HOST)
    good = (await visitor.open()).form("withdraw")["token"]
    theirs = (await stranger.open()).form("withdraw")["token"]
    elsewhere = (await kiosk.open()).form("withdraw")["token"]
    note = await visitor.post({"token": good, "action": "choose"})
    assert note.status == 303
    noted = (note.header("location") or "").partition("note=")[2]
    tokens: list[str | None] = [
        None, "", good[:-2], good + "x", good.upper(), good.replace("change", "erased"), theirs, elsewhere, noted, "0" * 300,
        "x" * 2_000, "\x00", "é", good.rpartition(".")[0],
    ]  # fmt: skip
    for token in tokens:
        for action in ("withdraw", "choose", "erase", "download"):
            fields = {"action": action, "sure": "yes", "analytics": "denied"} | (
                {} if token is None else {"token": token}
            )
            with shop.refusing("/privacy", "form_expired"):
                said = await visitor.post(fields)
            assert said.status == 403, token
            assert "Nothing was changed: this form was too old" in (read(said).message or "")
            assert said.header("set-cookie") is None
    assert (await visitor.post({"token": good, "action": "withdraw"})).status == 303, "the good one is still good"


async def test_row_37_a_token_belongs_to_the_visitor_it_was_shown_to(shop: Running) -> None:
    """A form opened under one id is not good under another: what is erased is what was shown."""
    visitor, other = await known(shop), await known(shop)
    form = (await visitor.open()).form("erase")
    visitor.cookies["__Host-gwid"] = other.cookies["__Host-gwid"]
    with shop.refusing("/privacy", "form_expired"):
        assert (await visitor.post({**form, "action": "erase", "sure": "yes"})).status == 403


async def test_row_37_a_token_is_good_for_two_hours(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        visitor = await known(shop)
        form = (await visitor.open()).form("withdraw")
        shop.move(seconds=7_201)
        with shop.refusing("/privacy", "form_expired"):
            said = await visitor.post({**form, "action": "withdraw"})
        fresh = read(said).form("withdraw")
        assert fresh["token"] != form["token"]
        assert (await visitor.submit(fresh, action="withdraw")).message == "Everything is withdrawn."


async def test_row_37_reading_changes_nothing(shop: Running) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    before = shop.everything_stored()
    for query in ("action=withdraw", "action=erase&sure=yes", f"action=erase&sure=yes&token={form['token']}"):
        assert (await visitor.send("GET", f"/privacy?{query}")).status == 200
        assert (await visitor.send("GET", f"/privacy/export.json?{query}")).status == 404
    assert shop.everything_stored() == before
    assert "__Host-gwid" in visitor.cookies


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_row_04_other_methods_are_not_taken(shop: Running, method: str) -> None:
    said = (await shop.talk(request_bytes(method, "/privacy"))).only
    refused_with(said, 405, "method_not_allowed")
    assert said.header("allow") == "GET, HEAD, POST"


async def test_no_other_origin_may_read_the_page(shop: Running) -> None:
    visitor = await known(shop)
    said = await visitor.send("GET", "/privacy", headers={"Origin": PAGE})
    assert not [name for name, _ in said.headers if name.startswith("access-control-")]
    assert said.header("cross-origin-resource-policy") == "same-origin"


# ------------------------------------------------------------------ hostile cookies


def token_for(shop: Running, visitor: str, *, site: str = "shop", today: int = NOW_MS // DAY_MS) -> str:
    return identity.sign_token(shop.gateway.house.by_id[site].keys, visitor, today, today)


async def test_row_47_an_id_that_is_not_ours_shows_and_erases_nothing(shop: Running) -> None:
    victim = await known(shop)
    mine = victim.cookies["__Host-gwid"]
    held = await shop.gateway.house.store.held("shop", shop.gateway.house.by_id["shop"].visitor_key(visitor_id(victim)))
    wrong = {
        "unsigned": visitor_id(victim),
        "flipped": mine[:-1] + ("A" if mine[-1] != "A" else "B"),
        "of another site": token_for(shop, visitor_id(victim), site="kiosk"),
        "expired": token_for(shop, visitor_id(victim), today=NOW_MS // DAY_MS - 500),
        "of tomorrow": token_for(shop, visitor_id(victim), today=NOW_MS // DAY_MS + 5),
        "empty": "",
        "long": "A" * 8_000,
        "a receipt": victim.cookies["__Host-gwconsent"],
    }
    for name, value in wrong.items():
        forger = browser(shop)
        await forger.open()
        forger.cookies["__Host-gwid"] = value
        page = await forger.open()
        assert page.section("held").all("table") == [], name
        page = await forger.submit(page.form("erase"), action="erase", sure="yes")
        assert (page.message or "").startswith("Nothing was stored"), name
    after = await shop.gateway.house.store.held(
        "shop", shop.gateway.house.by_id["shop"].visitor_key(visitor_id(victim))
    )
    assert after == held


async def test_row_16_two_ids_are_nobodys_and_erasing_takes_both_from_the_browser(shop: Running) -> None:
    visitor, other = await known(shop), await known(shop)
    ids = (visitor_id(visitor), visitor_id(other))
    tossed = f"{visitor.cookie}; __Host-gwid={other.cookies['__Host-gwid']}"
    page = read(await visitor.send("GET", "/privacy", headers={"Cookie": tossed}))
    assert "carries two different numbers" in page.section("held").text
    headers = {"Cookie": f"{tossed}; {FORM_COOKIE}={visitor.cookies[FORM_COOKIE]}"}
    page = read(await visitor.send("GET", "/privacy", headers=headers))
    said = await visitor.post({**page.form("erase"), "action": "erase", "sure": "yes"}, headers)
    assert said.status == 303
    assert said.cookies()["__Host-gwid"] == ""
    for one in ids:
        key = shop.gateway.house.by_id["shop"].visitor_key(one)
        assert (await shop.gateway.house.store.held("shop", key)).events == 1, "the order of cookies erases nobody"


async def test_an_id_cookie_that_several_hosts_share_shows_nothing_but_lets_go(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"cookie_domain": "shop.example"}) as shop:
        visitor = await known(shop)
        assert "__Secure-gwid" in visitor.cookies
        page = await visitor.open()
        assert "Several hosts of the site share its cookie" in page.section("held").text
        assert page.section("held").all("table") == []
        found = (await visitor.post({**page.form("download"), "action": "download"})).json()
        assert (found["known_as"], found["events"]) == ("shared", [])
        page = await visitor.submit(page.form("erase"), action="erase", sure="yes")
        assert page.message == "What was stored under the number of this browser is erased."
        assert shop.rows("select visitor_key from event") == [(None,)]


@pytest.mark.parametrize(
    "cookie",
    [
        b"__Host-gwform=" + b"A" * 22 + b"; __Host-gwform=" + b"Q" * 22,
        b"__Host-gwform=../../etc/passwd",
        b"__Host-gwform=",
        b"__Host-gwform=" + b"A" * 9_000,
        b"__Host-gwform=\xff\xfe; __Host-gwid=\xff; __Host-gwconsent=\xff; __Host-gwclick=\xff",
        b"__host-gwform=" + b"A" * 22,
        b'__Host-gwform="AAAAAAAAAAAAAAAAAAAAAA"',
    ],
    ids=range(7),
)
async def test_row_14_and_17_a_form_cookie_that_is_none_is_replaced(shop: Running, cookie: bytes) -> None:
    said = (await shop.talk(request_bytes("GET", "/privacy", headers=[("Cookie", cookie)]))).only
    assert said.status == 200
    (line,) = said.all("set-cookie")
    assert re.fullmatch(r"__Host-gwform=[A-Za-z0-9_-]{22}; Path=/; Secure; HttpOnly; SameSite=Strict", line)


async def test_a_form_cookie_is_kept_so_that_two_tabs_both_work(shop: Running) -> None:
    visitor = browser(shop)
    first = (await visitor.open()).form("withdraw")
    second = await visitor.open()
    assert second.said.header("set-cookie") is None
    assert (await visitor.post({**first, "action": "choose", "analytics": "denied"})).status == 303


async def test_looking_stores_nothing_and_sets_no_id(shop: Running) -> None:
    before = shop.everything_stored()
    visitor = browser(shop)
    await visitor.open()
    assert set(visitor.cookies) == {FORM_COOKIE}
    assert shop.everything_stored() == before


# ------------------------------------------------------------------ hostile bodies


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 403, "form_expired"),
        (b"token", 403, "form_expired"),
        (b"\xff\xfe=\xff", 403, "form_expired"),
        (b'{"action": "erase"}', 403, "form_expired"),
        (b"action=erase&action=withdraw", 400, "field_invalid"),
        (b"&".join(b"a%d=1" % number for number in range(50)), 400, "fields_too_many"),
        (b"a=" + b"x" * 5_000, 413, "body_too_large"),
    ],
    ids=range(7),
)
async def test_a_body_that_is_no_form_of_ours_is_refused(shop: Running, body: bytes, status: int, code: str) -> None:
    visitor = browser(shop)
    await visitor.open()
    headers = {"Origin": f"https://{HOST}", "Cookie": visitor.cookie}
    with shop.refusing("/privacy", code):
        said = (await shop.talk(request_bytes("POST", "/privacy", headers=headers, body=body))).only
    assert said.status == status
    assert read(said).message
    await shop.still_answers()


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"action": "destroy"}, 400, "field_invalid"),
        ({"action": ""}, 400, "field_invalid"),
        ({}, 400, "field_invalid"),
        ({"action": "choose", "analytics": "yes"}, 400, "consent_value_invalid"),
        ({"action": "choose", "analytics": ""}, 400, "consent_value_invalid"),
    ],
    ids=range(5),
)
async def test_a_field_that_cannot_be_taken_changes_nothing(
    shop: Running, fields: dict[str, str], status: int, code: str
) -> None:
    visitor = await known(shop)
    token = (await visitor.open()).form("withdraw")["token"]
    with shop.refusing("/privacy", code):
        said = await visitor.post({"token": token, **fields})
    assert said.status == status
    assert read(said).message == "Nothing was changed. Please go back and try again."


async def test_what_is_necessary_cannot_be_refused_and_unknown_fields_mean_nothing(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    page = await visitor.submit(page.form("choose"), action="choose", necessary="denied", marketing="granted", x="1")
    assert page.message == "You chose nothing, so nothing changed."


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</title><b>",
        "{{7*7}}",
        "{token}",
        "%s%n",
        "\u00e9 \u201cx\u201d &amp; &lt;",
    ],
)
async def test_row_34_what_strangers_wrote_is_shown_as_text(shop: Running, text: str) -> None:
    visitor = browser(shop)
    body = json.dumps({"choice": ALL, "notice": text, "language": "en"}, ensure_ascii=False).encode()
    said = await visitor.send("POST", "/consent", body=body, headers={"Origin": PAGE})
    assert said.status == 200
    await visitor.hit(PAGE, title=text, url=f"{PAGE}/?utm_source={text}", props={"a": text})
    page = await visitor.open()
    assert f"under version {' '.join(text.split())} of the privacy notice" in page.section("now").text
    assert not page.root.all("script")
    assert not page.root.all("img")
    assert not [name for node in page.root.walk() for name in node.attributes if name.startswith("on")]
    if "<" in text:
        assert text.encode() not in page.said.body


@pytest.mark.parametrize("header", ["Accept-Language", "User-Agent", "Referer", "Sec-GPC", "Sec-Fetch-Site"])
async def test_row_14_strange_bytes_in_a_header_give_the_same_page(shop: Running, header: str) -> None:
    said = (await shop.talk(request_bytes("GET", "/privacy", headers=[(header, b"\xff\xfe<script>\xed\xa0\x80")]))).only
    assert said.status == 200
    assert b"<script" not in said.body


async def test_row_02_a_host_that_is_not_ours_has_no_page(shop: Running) -> None:
    for path in ("/privacy", "/privacy.css", "/.well-known/gpc.json"):
        refused_with(await shop.send("GET", path, host="evil.example"), 421, "host_unknown")


async def test_row_15_one_sites_cookies_mean_nothing_on_another(shop: Running) -> None:
    visitor = await known(shop)
    elsewhere = browser(shop, OTHER_HOST)
    elsewhere.cookies = dict(visitor.cookies)
    page = await elsewhere.open()
    assert page.section("now").all("p")[0].text == "No choice of this browser is recorded."
    assert page.section("held").all("table") == []


async def test_row_37_one_sites_form_is_not_taken_on_another(shop: Running) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    elsewhere = browser(shop, OTHER_HOST)
    elsewhere.cookies = dict(visitor.cookies)
    with shop.refusing("/privacy", "form_expired", site="kiosk"):
        assert (await elsewhere.post({**form, "action": "withdraw"})).status == 403


# ------------------------------------------------------------------ limits and faults


async def test_too_many_requests_are_told_in_words(tmp_path: Path) -> None:
    async with running(tmp_path, limits={"browser_per_minute": 6}) as shop:
        visitor = browser(shop, language="de")
        for _ in range(10):
            await visitor.open()
        said = await visitor.send("GET", "/privacy")
        assert said.status == 429
        assert said.header("retry-after") is not None
        assert "zu viele Anfragen" in (read(said).message or "")


async def test_a_store_that_is_busy_changes_nothing_and_says_so(shop: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")

    async def busy(*_: object) -> str:
        raise StoreBusy("queue full")

    for action, method in (("withdraw", "choose"), ("erase", "erase")):
        with monkeypatch.context() as patched:
            patched.setattr(shop.gateway.house.store, method, busy)
            said = await visitor.post({**form, "action": action, "sure": "yes"})
        assert said.status == 503
        assert said.header("retry-after") == "1"
        assert said.header("set-cookie") is None
        assert read(said).message == "The site is busy. Nothing was changed. Please try again in a moment."
    assert (await visitor.post({**form, "action": "withdraw"})).status == 303


async def test_no_line_of_the_log_names_a_visitor(shop: Running) -> None:
    written = len(shop.log_text)
    visitor = await known(shop)
    page = await visitor.open()
    await visitor.submit(page.form("erase"), action="erase", sure="yes")
    for line in shop.log(since=written):
        assert visitor.cookies.get(FORM_COOKIE, "?") not in json.dumps(line)
    assert [line["kind"] for line in shop.log("choice_recorded", since=written)] == ["given", "erased"]


# ------------------------------------------------------------------ the page as a document


@pytest.mark.parametrize("path", ["/privacy", "/privacy?note=x"])
async def test_the_policy_forbids_everything_the_page_does_not_need(shop: Running, path: str) -> None:
    said = await browser(shop).send("GET", path)
    assert said.header("content-security-policy") == POLICY
    assert said.header("cache-control") == "no-store"
    assert said.header("x-content-type-options") == "nosniff"
    assert said.header("referrer-policy") == "same-origin"
    assert said.header("x-frame-options") == "DENY"
    assert said.header("cross-origin-opener-policy") == "same-origin"


async def test_every_answer_to_a_form_has_the_policy_too(shop: Running) -> None:
    visitor = await known(shop)
    form = (await visitor.open()).form("withdraw")
    answers = [
        await visitor.post({"action": "withdraw"}),
        await visitor.post({**form, "action": "withdraw"}, {"Origin": "null"}),
        await visitor.post({**form, "action": "withdraw"}),
    ]
    assert [said.status for said in answers] == [403, 403, 303]
    for said in answers:
        assert said.header("content-security-policy") == POLICY
        assert said.header("cache-control") == "no-store"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_needs_no_script_no_inline_style_and_nothing_from_elsewhere(
    shop: Running, language: str
) -> None:
    visitor = await known(shop, language=language)
    page = await visitor.open()
    for node in page.root.walk():
        assert node.tag not in {"script", "style", "img", "iframe", "object", "svg"}
        assert not {name for name in node.attributes if name.startswith("on") or name == "style"}
        for name in ("href", "src", "action"):
            assert node.attributes.get(name, "/").startswith(("/", "#"))
    (sheet,) = page.root.all("link")
    assert sheet.attributes == {"rel": "stylesheet", "href": "/privacy.css"}
    style = await visitor.send("GET", "/privacy.css")
    assert (style.status, style.header("content-type")) == (200, "text/css; charset=utf-8")
    assert style.body == STYLE
    assert b"url(" not in STYLE
    assert b"@import" not in STYLE


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_can_be_read_by_every_reader(shop: Running, language: str) -> None:
    """Structure for screen readers and keyboards: language, headings, labels, captions, names of regions and buttons."""
    visitor = await known(shop, language=language)
    await visitor.hit(PAGE, "purchase", order_id=f"READ-{language}", value="5.00", currency="EUR")
    page = await visitor.open()
    root = page.root
    assert root.all("html")[0].attributes["lang"] == language
    assert root.all("title")[0].text == root.all("h1")[0].text
    assert [node.tag for node in root.walk() if re.fullmatch(r"h[1-6]", node.tag)] == ["h1", *["h2"] * len(SECTIONS)]
    assert [node.attributes["aria-labelledby"] for node in root.all("section")] == list(SECTIONS)
    ids = [node.attributes["id"] for node in root.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for section in root.all("section"):
        assert section.all("h2")[0].attributes["id"] == section.attributes["aria-labelledby"]
    labelled = {label.attributes["for"] for label in root.all("label")}
    for node in root.all("input"):
        if node.attributes["type"] != "hidden":
            assert node.attributes["id"] in labelled
    for label in root.all("label"):
        assert label.text
    for button in root.all("button"):
        assert button.text
        assert button.attributes["name"] == "action"
    for group in root.all("fieldset"):
        assert group.all("legend")[0].text
        assert len({node.attributes["name"] for node in group.all("input")}) == 1
    for table in root.all("table"):
        assert table.all("caption")[0].text
        assert all(head.attributes["scope"] in {"col", "row"} for head in table.all("th"))
    assert len(root.all("main")) == 1
    assert not [node for node in root.walk() if "tabindex" in node.attributes], (
        "the order of the page is the order of the keys"
    )
    assert "width=device-width" in root.all("meta", name="viewport")[0].attributes["content"]
    assert "user-scalable" not in page.said.body.decode()


async def test_what_was_done_is_announced(shop: Running) -> None:
    visitor = browser(shop)
    page = await visitor.open()
    page = await visitor.submit(page.form("withdraw"), action="withdraw")
    (node,) = [node for node in page.root.walk() if node.attributes.get("role") == "status"]
    body = page.root.all("main")[0]
    assert [child.tag for child in body.children if not isinstance(child, str)][1] == node.tag, (
        "right after the heading"
    )


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
async def test_every_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for what shows where a control is."""
    block = re.findall(r":root \{(.*?)\}", STYLE.decode(), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for front, behind in (
        ("ink", "paper"),
        ("soft", "paper"),
        ("link", "paper"),
        ("deed-ink", "deed"),
        ("ink", "said"),
    ):
        assert _contrast(colours[front], colours[behind]) >= 4.5, (front, behind)
    for front, behind in (("line", "paper"), ("deed", "paper"), ("ink", "paper")):
        assert _contrast(colours[front], colours[behind]) >= 3, (front, behind)
    assert b":focus-visible" in STYLE
    assert b"outline: none" not in STYLE


async def test_words_and_not_colours_say_what_is_meant() -> None:
    """No rule of the sheet gives a word of its own colour by what it means."""
    selectors = re.findall(r"^([^{@:]+)\{", STYLE.decode(), re.MULTILINE)
    meant = ("accepted", "denied", "granted", "rejected", "error", "success", "allowed")
    assert not [one for one in selectors for word in meant if word in one]


# ------------------------------------------------------------------ languages


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"), ("", "en"), ("de", "de"), ("de-AT", "de"), ("DE", "de"), ("en-GB,de;q=0.9", "en"), ("fr,de;q=0.5", "de"),
        ("fr-FR", "en"), ("de;q=0", "en"), ("de;q=0, en", "en"), ("*", "en"), ("x" * 300 + ",de", "en"), (",,,de", "de"),
        ("\xff\xfe", "en"),
    ],
)  # fmt: skip
async def test_the_language_is_the_first_the_browser_wants_and_the_page_has(
    accepted: str | None, language: str
) -> None:
    assert language_for(accepted, "en") == language


async def test_the_sites_own_language_is_the_default(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"language": "de"}) as shop:
        page = await browser(shop, language="fr").open()
        assert page.root.all("html")[0].attributes["lang"] == "de"
        assert page.root.all("h1")[0].text == "Ihre Privatsphäre auf shop.example"
        choice = await browser(shop, language="en").open()
        assert choice.root.all("html")[0].attributes["lang"] == "en"


async def test_every_language_says_everything_and_puts_in_the_same_values() -> None:
    def slots(text: str) -> list[str]:
        return sorted(re.findall(r"\{[a-z]*\}", text))

    for language in LANGUAGES:
        assert TEXTS[language].keys() == TEXTS["en"].keys()
        assert len(set(MONTHS[language])) == 12
        for name, text in TEXTS[language].items():
            assert text.strip() == text
            assert text
            assert slots(text) == slots(TEXTS["en"][name]), name


async def test_there_is_a_word_for_everything_that_can_come_up() -> None:
    for language in LANGUAGES:
        texts = TEXTS[language]
        for purpose in PURPOSES:
            assert {f"p_{purpose}", f"p_{purpose}_about"} <= texts.keys()
        for step in Step:
            assert f"because_{step.name.lower()}" in texts
        for fate in DeliveryFate:
            assert f"fate_{fate.value}" in texts
        for word in (
            "withdrawn",
            "chosen",
            "same",
            "erased",
            "nothing_held",
            "nothing_chosen",
            "not_sure",
            "form_expired",
        ):
            assert word in NOTES
    known_codes = {name.removeprefix("problem_") for name in TEXTS["en"] if name.startswith("problem_")}
    assert known_codes - {"title", "other"} <= CODES.keys()


async def test_a_german_page_is_german_all_through(shop: Running) -> None:
    visitor = await known(shop, language="de-DE")
    page = await visitor.open()
    assert "Ihre Wahl wurde am 20. November 2026, 12:00 Uhr UTC festgehalten, unter Fassung 1" in page.text
    page = await visitor.submit(page.form("erase"), action="erase", sure="yes")
    assert page.message == "Was unter der Nummer dieses Browsers gespeichert war, ist gelöscht."
    (entry,) = shop.rows("select entry from consent_entry order by entry_no desc limit 1")[0]
    assert json.loads(entry)["event_type"] == "erased"


# ------------------------------------------------------------------ the public statement


async def test_the_statement_about_the_signal_is_made_where_the_owner_makes_it(shop: Running) -> None:
    said = await shop.send("GET", "/.well-known/gpc.json")
    assert said.status == 200
    assert said.header("content-type") == "application/json"
    assert said.json() == {"gpc": True, "lastUpdate": "2026-11-20"}
    assert said.header("access-control-allow-origin") == "*"
    assert said.header("set-cookie") is None
    refused_with(await shop.send("GET", "/.well-known/gpc.json", host=OTHER_HOST), 404, "route_unknown")


@pytest.mark.parametrize("day", ["yesterday", "2026-1-1", "20261120", "2026-11-20T00:00:00Z"])
async def test_a_day_that_is_none_refuses_to_start(tmp_path: Path, day: str) -> None:
    with pytest.raises(Exception, match="gpc_statement"):
        async with running(tmp_path, shop={"gpc_statement": day}):
            pass
