"""Journeys over HTTP and on the command line: what one conversion is credited to, why, and what came before and after."""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from click.testing import CliRunner, Result

from gateway.attribution.touches import EXCLUSIONS, UNATTRIBUTED
from gateway.cli import main
from gateway.conversions.adjustments import Adjustment
from gateway.flows.adjust import Source, adjust_conversion
from gateway.flows.explain import text_of
from gateway.times import DAY_MS
from tests.faults.inside import until
from tests.support.crediting import SITE, Shop, at, crediting
from tests.support.running import AGENT, HOST, OTHER_HOST, Running, Said, refused_with, running

CONVERSIONS: Final = "/api/v1/conversions"
CONSENT: Final = {"analytics": "granted", "advertising": "granted"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with crediting(tmp_path) as made:
        yield made


async def read(shop: Shop, path: str, *, rights: tuple[str, ...] = ("reports",), host: str = HOST) -> Said:
    """Ask the public API with a fresh key."""
    key = (await shop.running.new_key(rights=rights))["key"]
    return await shop.running.send("GET", path, headers={"Authorization": f"Bearer {key}"}, host=host)


async def journey(shop: Shop, conversion_id: str, query: str = "") -> dict[str, Any]:
    """The journey of a conversion, as both listeners tell it."""
    await shop.decided(conversion_id)
    said = await read(shop, f"{CONVERSIONS}/{conversion_id}{query}")
    told = await shop.running.admin("GET", f"/api/admin/v1/conversions/{conversion_id}{query}")
    assert (said.status, told.status) == (200, 200), (said, told)
    assert said.json() == told.json()
    found: dict[str, Any] = said.json()
    return found


# ------------------------------------------------------------------ a visit as it happens


async def test_e04_the_way_from_share_link_to_purchase_is_told_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        campaign = (await made(shop, "campaigns", {"name": "Friends"}))["campaign"]
        link = await made(shop, "links", {"target": "https://www.shop.example/", "campaign_id": campaign["id"]})
        path = urlsplit(link["url"]).path
        clicked = await shop.send("GET", path, headers={"User-Agent": AGENT})
        assert clicked.status == 302, clicked
        landing = clicked.header("location") or ""
        assert "lid" in parse_qs(urlsplit(landing).query), landing
        cookie = ""
        for seconds, body in (
            (1, {"name": "page_view", "id": "evt-landing", "url": landing}),
            (60, {"name": "page_view", "id": "evt-product", "url": "https://www.shop.example/mug"}),
            (90, {"name": "purchase", "id": "evt-order-1", "order_id": "1001", "value": "12.50"}),
        ):
            shop.move(seconds=seconds)
            said = await shop.collect({**body, "consent": CONSENT}, cookie=cookie or None)
            assert said.status in {200, 204}, said
            cookie = (
                "; ".join(value.partition(";")[0] for name, value in said.headers if name == "set-cookie") or cookie
            )
        await until(lambda: shop.count("attribution") == 1, what="the worker credits it by itself")
        told = (await shop.admin("GET", "/api/admin/v1/conversions/c1_evt-order-1")).json()
    steps = [(step["what"], step["name"]) for step in told["timeline"]]
    assert steps[-2:] == [("event", "page_view"), ("conversion", "purchase")], steps
    assert steps[0] == ("touch", "click"), steps
    assert ("event", "page_view") in steps[1:-2], steps
    assert [first["at"] <= then["at"] for first, then in pairwise(told["timeline"])] == [True] * (len(steps) - 1)
    assert told["credit"]["winner"]["campaign"]["name"] == "Friends"
    assert told["credit"]["winner"]["link"]["id"] == link["link"]["id"]


async def made(shop: Running, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    said = await shop.admin("POST", f"/api/admin/v1/catalogue/{SITE}/{kind}", body=body)
    assert said.status in {200, 201}, said
    found: dict[str, Any] = said.json()
    return found


async def test_r20_clicks_and_conversions_are_joined_without_anybody_comparing_times(shop: Shop) -> None:
    click = await shop.click("ann", day=1)
    order = await shop.convert("ann", day=2)
    shop.house.wake_credit()
    credited = "select touch_no, share_e9 from credit where conversion_id = ?"
    await until(lambda: bool(shop.running.rows(credited, order)), seconds=5, what="the worker joins them")
    assert shop.running.rows(credited, order) == [(click, 1_000_000_000)]


# ------------------------------------------------------------------ one conversion


async def test_p60_the_rules_the_candidates_and_why_one_won_are_shown(shop: Shop) -> None:
    summer = await shop.campaign("summer")
    await shop.goal("purchase", click_window_ms=7 * DAY_MS)
    old = await shop.click("ann", day=1, channel="paid_search")
    robots = await shop.click("ann", day=5, human="no", human_reason="list")
    winner = await shop.click("ann", day=6, campaign=summer, source="news", medium="email")
    found = await journey(shop, await shop.convert("ann", day=9, value=1250, order="1001"))
    assert found["rules"]["click_window_days"] == 7
    assert (found["credit"]["candidates"], found["credit"]["model"]) == (3, "last_non_direct")
    assert found["credit"]["matched_because"] == "by the visitor's browser"
    assert [(touch["touch"], touch.get("excluded"), touch.get("share")) for touch in found["touches"]] == [
        (old, "outside_window", None), (robots, "bot", None), (winner, None, 1.0),
    ]  # fmt: skip
    assert found["touches"][0]["because"] == EXCLUSIONS["outside_window"]
    assert found["touches"][1]["human_reason"] == "list"
    best = found["credit"]["winner"]
    assert (best["touch"], best["value"], best["campaign"]["code"], best["source"]) == (
        winner,
        "12.50",
        "summer",
        "news",
    )
    assert found["credit"]["seconds_to_convert"] == 3 * 86_400
    assert (found["goal_version"], found["source_trust"], found["order_id"]) == (1, "server", "1001")


async def test_c08_the_visit_stands_between_the_first_touch_and_the_conversion(shop: Shop) -> None:
    await shop.view("ann", day=0.5, url="https://shop.example/before")
    await shop.land("ann", day=1, url="https://shop.example/landing")
    await shop.view("ann", day=1.1, url="https://shop.example/mug")
    await shop.view("ben", day=1.1, url="https://shop.example/other")
    order = await shop.convert("ann", day=1.2)
    await shop.view("ann", day=1.3, url="https://shop.example/after")
    found = await journey(shop, order)
    assert [event["url"].rpartition("/")[2] for event in found["events"]] == ["landing", "mug", "thanks"]
    assert [event["conversion"] for event in found["events"]] == [False, False, True]


async def test_p26_a_conversion_shows_the_click_it_names(shop: Shop) -> None:
    await shop.goal("postback", pin="click_id")
    await shop.click(None, day=1, click_id="A" * 22)
    found = await journey(shop, await shop.convert(None, day=2, goal="postback", trust="token", click_id="A" * 22))
    assert (found["click_id"], found["credit"]["matched_by"], found["source_trust"]) == ("A" * 22, "click_id", "token")


async def test_e25_nobody_credited_says_why_in_a_sentence(shop: Shop) -> None:
    named = await shop.campaign("named")
    found = await journey(shop, await shop.convert("ann", day=2, campaign_id=named.id))
    assert (found["credit"]["state"], found["credit"]["winner"]) == ("unattributed", None)
    assert (found["credit"]["why"], found["credit"]["because"]) == ("no_touch", UNATTRIBUTED["no_touch"])
    assert found["campaign"]["code"] == "named"
    assert any("names a campaign" in note for note in found["credit"]["notes"])


async def test_c20_another_model_is_shown_and_not_stored(shop: Shop) -> None:
    for day, channel in ((1, "paid_search"), (2, "email"), (3, "sms")):
        await shop.click("ann", day=day, channel=channel)
    order = await shop.convert("ann", day=4, value=1000)
    stored = await journey(shop, order)
    shown = await journey(shop, order, "?model=linear")
    assert [touch["share"] for touch in stored["touches"]] == [0, 0, 1]
    assert [touch["value"] for touch in shown["touches"]] == ["3.34", "3.33", "3.33"]
    assert (shown["credit"]["model"], shown["credit"]["stored"]) == ("linear", False)
    assert shown["credit"]["winner"]["channel"] == "sms", "of touches that earned the same the newest"
    assert "last_non_direct" in shown["credit"]["notes"][0]
    assert await journey(shop, order) == stored
    assert shop.running.count("attribution") == 1


@pytest.mark.parametrize(
    "query", ["model=markov_k1", "model=none", f"model={'x' * 200}", "version=2", "version=0", "version=x"]
)
async def test_models_and_versions_that_are_not_there_are_refused(shop: Shop, query: str) -> None:
    order = await shop.convert("ann", day=1)
    await shop.decided(order)
    refused_with(await read(shop, f"{CONVERSIONS}/{order}?{query}"), 400, "field_invalid", query.partition("=")[0])


async def test_a_goal_with_a_model_of_many_journeys_says_who_credited_instead(shop: Shop) -> None:
    await shop.goal("purchase", model="markov_k2")
    await shop.click("ann", day=1)
    found = await journey(shop, await shop.convert("ann", day=2))
    assert (found["credit"]["model"], found["rules"]["model"]) == ("last_non_direct", "markov_k2")
    assert "markov_k2 looks at many journeys" in found["credit"]["notes"][0]


async def test_refunds_stand_in_the_history_of_the_value(shop: Shop) -> None:
    await shop.click("ann", day=1)
    order = await shop.convert("ann", day=2, value=1000)
    await shop.decided(order)
    counted = await shop.store.conversion(SITE, order)
    assert counted is not None
    for number, (kind, cents) in enumerate((("refund", 250), ("retract", None)), 1):
        change = Adjustment(
            id=f"change-000{number}", kind=kind, at_ms=at(2 + number), amount_minor=cents,
            currency="EUR" if cents else None, reason="returned",
        )  # fmt: skip
        source = Source(trust="server", received_at_ms=at(2 + number))
        await adjust_conversion(shop.house, shop.house.by_id[SITE], counted, change, goal="", source=source)
    found = await journey(shop, order)
    assert [(step["what"], step["net_value"]) for step in found["value_history"]] == [
        ("counted", "10.00"), ("refund", "7.50"), ("retract", "0.00"),
    ]  # fmt: skip
    assert (found["fate"], found["value"], found["net_value"]) == ("retracted", "10.00", "0.00")
    assert (found["touches"][0]["value"], found["touches"][0]["net_value"]) == ("10.00", "0.00")
    assert [step["what"] for step in found["timeline"]][-2:] == ["adjustment", "adjustment"]


async def test_a_late_touch_is_shown_as_late_until_the_conversion_is_decided_again(shop: Shop) -> None:
    early = await shop.click("ann", day=1)
    order = await shop.convert("ann", day=5)
    await shop.decided(order)
    late = await shop.click("ann", day=3, channel="sms")
    before = await journey(shop, order)
    assert [(touch["touch"], touch.get("late")) for touch in before["touches"]] == [(early, None), (late, True)]
    body = {"site": SITE, "conversion": order}
    again = await shop.running.admin("POST", "/api/admin/v1/attribution/recompute", body=body)
    assert again.json() == {"decided": 1, "next": None}
    after = await journey(shop, order)
    assert (after["credit"]["version"], after["credit"]["winner"]["touch"]) == (2, late)
    older = await journey(shop, order, "?version=1")
    assert (older["credit"]["version"], older["credit"]["winner"]["touch"]) == (1, early)
    assert "the newest is version 2" in older["credit"]["notes"][0]


# ------------------------------------------------------------------ many conversions


async def test_k09_every_sale_in_the_list_names_its_source_or_why_there_is_none(shop: Shop) -> None:
    await shop.click("ann", day=-1, source="news", medium="email")
    for visitor in ("ann", "ben"):
        await shop.decided(await shop.convert(visitor, day=1))
    found = (await read(shop, CONVERSIONS)).json()
    assert [row["credit"]["state"] for row in found["conversions"]] == ["credited", "unattributed"]
    first, second = found["conversions"]
    assert (first["credit"]["winner"]["source"], first["credit"]["winner"]["medium"]) == ("news", "email")
    assert second["credit"]["because"] == UNATTRIBUTED["no_touch"]


async def test_k13_an_action_that_is_no_sale_is_attributed_like_one(shop: Shop) -> None:
    await shop.click("ann", day=0, source="news", medium="email")
    await shop.decided(await shop.convert("ann", day=1, goal="sign_up", value=None))
    (row,) = (await read(shop, f"{CONVERSIONS}?goal=sign_up")).json()["conversions"]
    assert (row["value"], row["currency"], row["credit"]["winner"]["source"]) == (None, None, "news")


async def test_r42_whole_paths_can_be_read_page_by_page_for_analysis_elsewhere(shop: Shop) -> None:
    for day, channel in ((-2, "paid_search"), (-1, "email"), (0, "sms")):
        await shop.click("ann", day=day, channel=channel)
    await shop.decided(await shop.convert("ann", day=1))
    (row,) = (await read(shop, CONVERSIONS)).json()["conversions"]
    assert (row["credit"]["path"], row["credit"]["touches"]) == ("paid_search > email > sms", 3)


async def test_r52_a_campaign_drills_down_to_its_conversions_and_pages_miss_nothing(shop: Shop) -> None:
    summer, winter = await shop.campaign("summer"), await shop.campaign("winter")
    orders = []
    for number in range(5):
        campaign = winter if number == 2 else summer
        await shop.click(f"visitor {number}", day=0, campaign=campaign)
        orders.append(await shop.convert(f"visitor {number}", day=1))  # all at the same moment
    for order in orders:
        await shop.decided(order)
    found, after = [], ""
    while True:
        page = (await read(shop, f"{CONVERSIONS}?campaign=summer&limit=2{after}")).json()
        found += [row["conversion_id"] for row in page["conversions"]]
        assert {row["credit"]["winner"]["campaign"]["code"] for row in page["conversions"]} <= {"summer"}
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [order for number, order in enumerate(orders) if number != 2]
    said = await shop.running.admin("GET", f"/api/admin/v1/conversions?site={SITE}&campaign=winter")
    assert [row["conversion_id"] for row in said.json()["conversions"]] == [orders[2]]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("colour=red", "field_unknown", "colour"),
        ("from=yesterday", "field_invalid", "from"),
        ("after=1", "field_invalid", "after"),
        ("after=1~c1_other", "field_invalid", "after"),
        ("limit=501", "field_invalid", "limit"),
        ("campaign=none", "entry_unknown", "campaign"),
        ("goal=none", "goal_unknown", "goal"),
    ],
)
async def test_a_list_refuses_what_it_does_not_understand(shop: Shop, query: str, code: str, field: str) -> None:
    said = await read(shop, f"{CONVERSIONS}?{query}")
    refused_with(said, 404 if code == "entry_unknown" else 400, code, field)


# ------------------------------------------------------------------ who may read


async def test_journeys_are_for_keys_with_the_right_to_reports_on_their_own_site(shop: Shop) -> None:
    order = await shop.convert("ann", day=1)
    for path in (CONVERSIONS, f"{CONVERSIONS}/{order}"):
        refused_with(await read(shop, path, rights=("events", "conversions", "manage")), 403, "key_forbidden")
        refused_with(await shop.running.send("GET", path), 401, "key_missing")
    refused_with(await read(shop, f"{CONVERSIONS}/{order}", host=OTHER_HOST), 404, "conversion_unknown")
    for unknown in ("c1_nothing", "c9_evt", "%00", "x" * 300, f"{order}/more"):
        refused_with(await read(shop, f"{CONVERSIONS}/{unknown}"), 404, "conversion_unknown")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"goal": "purchase"}, 400, "field_missing", "site"),
        ({"site": "elsewhere"}, 404, "site_unknown", "site"),
        ({"site": SITE, "conversion": "c1_nothing"}, 404, "conversion_unknown", None),
        ({"site": SITE, "goal": 1}, 400, "field_type", None),
        ({"site": SITE, "since": "x"}, 400, "field_unknown", None),
        ({"site": SITE, "after": "x"}, 400, "field_invalid", "after"),
        ({"site": SITE, "from": "2026-13-01"}, 400, "field_invalid", "from"),
    ],
)
async def test_deciding_again_refuses_what_it_does_not_understand(
    shop: Shop, body: dict[str, object], status: int, code: str, field: str | None
) -> None:
    said = await shop.running.admin("POST", "/api/admin/v1/attribution/recompute", body=body)
    refused_with(said, status, code, field)


async def test_deciding_again_wants_the_token_itself(shop: Shop) -> None:
    said = await shop.running.admin("POST", "/api/admin/v1/attribution/recompute", body={}, headers={})
    refused_with(said, 401, "admin_token_invalid")


# ------------------------------------------------------------------ explanations and commands


def settings_file(shop: Shop, directory: Path) -> Path:
    """The settings of the running gateway, as a file for commands."""
    path = directory / "gateway.toml"
    data = shop.running.directory / "data"
    path.write_text(
        f'[data]\ndir = "{data}"\n\n[[site]]\nid = "shop"\nhosts = ["{HOST}"]\n\n[[site]]\nid = "kiosk"\nhosts = ["{OTHER_HOST}"]\n'
    )
    tomllib.loads(path.read_text())
    return path


async def command(shop: Shop, directory: Path, *arguments: str) -> Result:
    """Run `gateway attribution ...` beside the running gateway: it asks by the control socket."""
    options = ["--settings", str(settings_file(shop, directory))]
    return await asyncio.to_thread(CliRunner().invoke, main, ["attribution", *arguments, *options])


async def test_the_command_shows_a_journey_to_people(shop: Shop, tmp_path: Path) -> None:
    summer = await shop.campaign("summer")
    await shop.click("ann", day=1, channel="display", human="suspect")
    await shop.click("ann", day=2, campaign=summer)
    order = await shop.convert("ann", day=3, value=1250)
    await shop.decided(order)
    done = await command(shop, tmp_path, "show", order)
    assert done.exit_code == 0, done.output
    for line in (
        f"Conversion {order}  purchase  on site shop",
        "credit       version 1, model last_non_direct, found by the visitor's browser",
        "won by email, newsletter / email, campaign Summer, 100.00 %",
        "earned 100.00 %, 12.50",
        f"left out (bot): {EXCLUSIONS['bot']}",
        "goal purchase has no entry: defaults: clicks count for 30 days",
    ):
        assert line in done.output, done.output
    as_json = await command(shop, tmp_path, "show", order, "--model", "linear", "--json")
    assert msgspec.json.decode(as_json.output)["credit"]["model"] == "linear"


@pytest.mark.parametrize("options", [[], ["--model", "markov_k1"], ["--version", "7"]])
async def test_the_command_fails_where_there_is_nothing_to_show(shop: Shop, tmp_path: Path, options: list[str]) -> None:
    order = await shop.convert("ann", day=1)
    await shop.decided(order)
    done = await command(shop, tmp_path, "show", order if options else "c1_nothing", *options)
    assert done.exit_code == 1, done.output


async def test_the_command_decides_a_goal_again_portion_by_portion(shop: Shop, tmp_path: Path) -> None:
    orders = [await shop.convert(f"visitor {number}", day=1) for number in range(300)]
    other = await shop.convert("visitor 0", day=1, goal="other")
    for order in (*orders, other):
        await shop.decided(order)
    for number in range(300):
        await shop.click(f"visitor {number}", day=0.5)
    done = await command(shop, tmp_path, "recompute", "--site", "shop", "--goal", "purchase", "--json")
    assert done.exit_code == 0, done.output
    assert "256 conversions decided anew ..." in done.output
    assert {(await shop.decided(order)).version for order in orders} == {2}
    assert all([(await shop.decided(order)).credits for order in orders])
    assert (await shop.decided(other)).version == 1
    wrong = await command(shop, tmp_path, "recompute", "--conversion", orders[0], "--goal", "purchase")
    assert wrong.exit_code == 2


async def test_an_explained_event_says_where_its_credit_went(shop: Shop) -> None:
    summer = await shop.campaign("summer")
    await shop.click("ann", day=1, campaign=summer)
    order = await shop.convert("ann", day=2)
    await shop.decided(order)
    found = (await shop.running.admin("GET", f"/api/admin/v1/events/{order[3:]}")).json()
    credit = found["conversions"][0]["credit"]
    assert (credit["state"], credit["winner"]["campaign"]["code"]) == ("credited", "summer")
    text = text_of(found)
    assert "won by email, newsletter / email, campaign Summer, 100.00 %" in text, text
