"""Conversions by a goal's token: postbacks, images, the v1 shape, trackers' dialects, limits, and attack row 25.

Rows of the checklist are named by their id. Every call is answered over a real socket, every effect read from the file.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.goals import CLICK, OTHER_CLICK, Owner
from tests.support.running import AGENT, PAGE, Running, Said, refused_with, running

TRACK: Final = "/api/conversions/track/*"
BY_BODY: Final = "/api/v1/conversions/track"
GIF: Final = b"GIF89a"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def owner(shop: Running) -> Owner:
    return await Owner.of(shop)


async def post(owner: Owner, goal: dict[str, Any], body: object = None, **headers: str) -> Said:
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await owner.shop.send("POST", owner.track(goal), headers=named, body=body if body is not None else {})


async def get(owner: Owner, goal: dict[str, Any], query: str = "", method: str = "GET", **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await owner.shop.send(method, f"{owner.track(goal)}?{query}", headers=named)


# ------------------------------------------------------------------ the three ways in


async def test_p24_a_postback_records_a_conversion(owner: Owner) -> None:
    goal = await owner.goal()
    said = await post(owner, goal, {"value": 99.99, "currency": "USD", "order_id": "ORD-12345", "click_id": None})
    assert (said.status, said.header("cache-control")) == (200, "no-store")
    (one,) = owner.conversions()
    assert said.json() == {"status": "accepted", "conversion_id": one["conversion_id"]}
    assert (one["goal"], one["order_id"], one["amount_minor"], one["currency"]) == ("q1_sale", "ORD-12345", 9999, "USD")
    assert (one["trust"], one["name"], one["fate"], one["goal_version"]) == ("token", "q1_sale", "counted", 1)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"value": [1]}, "field_type", "value"),
        ({"value": "twelve"}, "amount_invalid", "value"),
        ({"value": -1}, "amount_negative", "value"),
        ({"value": "1.005"}, "amount_too_fine", "value"),
        ({"currency": 7}, "field_type", "currency"),
        ({"value": 1, "currency": "EURO"}, "currency_unknown", "currency"),
        ({"order_id": 5}, "field_type", "order_id"),
        ({"order_id": "ann@shop.example"}, "field_personal", "order_id"),
        ({"order_id": "9" * 65}, "field_too_long", "order_id"),
        ({"click_id": {}}, "field_type", "click_id"),
        ({"status": "sold"}, "field_invalid", "status"),
        ({"postback_token": "x"}, "field_unknown", "postback_token"),
        ({"email": "ann@shop.example"}, "field_unknown", "email"),
        (b"[1]", "field_type", None),
        (b"{", "json_invalid", None),
    ],
)
async def test_p25_a_wrong_field_is_named(owner: Owner, body: object, code: str, field: str | None) -> None:
    goal = await owner.goal()
    with owner.shop.refusing(TRACK, code):
        refused_with(await post(owner, goal, body), 400, code, field)


@pytest.mark.parametrize("said", [CLICK, "12345", 12345])
async def test_p26_a_conversion_shows_the_click_it_names(owner: Owner, said: object) -> None:
    goal = await owner.goal()
    await owner.click(str(said))
    answer = await post(owner, goal, {"click_id": said, "order_id": "1"})
    assert answer.json()["status"] == "accepted"
    assert "reason" not in answer.json()
    assert owner.conversions()[0]["click_id"] == str(said)


async def test_p28_without_an_order_a_repeat_cannot_be_told_and_the_answer_says_so(owner: Owner) -> None:
    goal = await owner.goal()
    answers = [(await post(owner, goal, {"value": 25, "currency": "USD"})).json() for _ in range(2)]
    assert [(one["status"], one["marks"]) for one in answers] == [("accepted", ["order_id_missing"])] * 2
    assert [one["fate"] for one in owner.conversions()] == ["counted", "counted"]


async def test_an_event_id_tells_repeats_where_there_is_no_order(owner: Owner) -> None:
    goal = await owner.goal()
    answers = [(await post(owner, goal, {"event_id": "event-0001"})).json()["status"] for _ in range(2)]
    assert answers == ["accepted", "duplicate"]
    other = await owner.goal(name="Other")
    assert (await post(owner, other, {"event_id": "event-0001"})).json()["status"] == "accepted", "of another goal"


async def test_p29_an_image_on_a_page_records_without_script(owner: Owner) -> None:
    goal = await owner.goal()
    said = await get(owner, goal, "value=49.99&order_id=1001", Referer=f"{PAGE}/thanks", User_Agent=AGENT)
    assert (said.status, said.header("content-type"), said.header("cache-control")) == (200, "image/gif", "no-store")
    assert said.body.startswith(GIF)
    (one,) = owner.conversions()
    assert (one["order_id"], one["amount_minor"]) == ("1001", 4999)


async def test_p29_an_image_nobody_saw_counts_nothing(owner: Owner) -> None:
    goal = await owner.goal()
    said = await get(owner, goal, "value=1&order_id=1", method="HEAD")
    assert (said.status, said.header("x-gateway-dropped")) == (200, "head")
    said = await get(owner, goal, "value=1&order_id=1", Sec_Purpose="prefetch")
    assert (said.status, said.header("x-gateway-dropped")) == (200, "prefetch")
    assert owner.shop.count("conversion") == 0


async def test_p30_an_image_takes_the_currency_of_the_goal_else_of_the_site(owner: Owner) -> None:
    dollars, site = await owner.goal(name="Dollars", currency="USD"), await owner.goal(name="Site")
    await get(owner, dollars, "value=1.50&order_id=1")
    await get(owner, site, "value=1.50&order_id=2")
    assert [(one["amount_minor"], one["currency"]) for one in owner.conversions()] == [(150, "USD"), (150, "EUR")]


async def test_p30_an_image_finds_the_visitor_by_the_cookie(owner: Owner) -> None:
    shop = owner.shop
    goal = await owner.goal()
    consent = {"analytics": "granted", "advertising": "granted"}
    landing = await shop.collect({"name": "page_view", "url": f"{PAGE}/?utm_source=mail", "consent": consent})
    given = await shop.send(
        "POST", "/consent", headers={"Origin": PAGE, "Cookie": cookies(landing)}, body={"choice": consent}
    )
    jar = {**landing.cookies(), **given.cookies()}
    cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
    await get(owner, goal, "order_id=1", Referer=f"{PAGE}/thanks", Cookie=cookie, User_Agent=AGENT)
    rows = shop.rows("select name, visitor_key from event order by seq")
    assert rows[-1][0] == "q1_sale"
    assert rows[-1][1] is not None
    assert rows[-1][1] == rows[0][1]


def cookies(said: Said) -> str:
    return "; ".join(f"{name}={value}" for name, value in said.cookies().items())


async def test_p34_the_token_may_stand_in_the_body(owner: Owner) -> None:
    goal = await owner.goal()
    body = {"postback_token": goal["token"], "value": 5, "currency": "EUR", "order_id": "ORD-1"}
    said = await owner.shop.send("POST", BY_BODY, body=body)
    assert (said.status, said.json()["status"]) == (200, "accepted")
    assert (await post(owner, goal, {"order_id": "ORD-1"})).json()["status"] == "duplicate", (
        "the same effect as by path"
    )
    with owner.shop.refusing(BY_BODY, "field_missing"):
        refused_with(await owner.shop.send("POST", BY_BODY, body={"value": 5}), 400, "field_missing", "postback_token")


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, (500, "EUR", "default")),
        ({"value": 0}, (0, "EUR", "event")),
        ({"value": "0.00"}, (0, "EUR", "event")),
        ({"value": None}, (500, "EUR", "default")),
        ({"value": "7.10"}, (710, "EUR", "event")),
        ({"value": 7.1, "currency": "USD"}, (710, "USD", "event")),
    ],
)
async def test_p17_x09_a_value_that_is_said_wins_and_zero_is_one(
    owner: Owner, said: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    goal = await owner.goal(value="5.00", currency="EUR")
    assert (await post(owner, goal, said)).status == 200
    (one,) = owner.conversions()
    assert (one["amount_minor"], one["currency"], one["value_source"]) == expected


async def test_p38_amounts_are_exact(owner: Owner) -> None:
    goal = await owner.goal()
    amounts = ("99.99", "49.99", "149.99", "25.00", "5.00", "99.00")
    for number, amount in enumerate(amounts):
        body = f'{{"value":{amount},"currency":"USD","order_id":"{number}"}}'.encode()
        assert (await post(owner, goal, body)).status == 200
    assert [one["amount_minor"] for one in owner.conversions()] == [9999, 4999, 14999, 2500, 500, 9900]


async def test_p37_currencies_are_kept_apart(owner: Owner) -> None:
    goal = await owner.goal()
    await post(owner, goal, {"value": 10, "currency": "USD", "order_id": "1"})
    await post(owner, goal, {"value": 10, "currency": "JPY", "order_id": "2"})
    assert [(one["amount_minor"], one["currency"]) for one in owner.conversions()] == [(1000, "USD"), (10, "JPY")]


@pytest.mark.parametrize(
    ("row", "body", "expected"),
    [
        ("p48", {"value": 149.99, "currency": "USD", "order_id": "ORD-12345"}, (14999, "USD", "ORD-12345")),
        ("p49", {"value": 25.0, "currency": "USD", "order_id": "LEAD-67890"}, (2500, "USD", "LEAD-67890")),
        ("p50", {"value": 5.0, "currency": "USD"}, (500, "USD", None)),
    ],
)
async def test_p48_p49_p50_use_cases(owner: Owner, row: str, body: dict[str, Any], expected: tuple[Any, ...]) -> None:
    goal = await owner.goal()
    assert (await post(owner, goal, body)).json()["status"] == "accepted", row
    (one,) = owner.conversions()
    assert (one["amount_minor"], one["currency"], one["order_id"]) == expected


@pytest.mark.parametrize(
    ("row", "fields", "type_"),
    [
        ("p05", {"type": "purchase"}, "purchase"),
        ("p06", {"type": "signup"}, "signup"),
        ("p07", {"type": "download"}, "download"),
        ("p08", {"type": "custom", "name": "Watched the film"}, "custom"),
    ],
)
async def test_p05_p06_p07_p08_every_type_of_goal_counts(
    owner: Owner, row: str, fields: dict[str, Any], type_: str
) -> None:
    goal = await owner.goal(**fields)
    assert goal["type"] == type_, row
    assert (await post(owner, goal, {"order_id": "1"})).json()["status"] == "accepted"
    assert owner.conversions()[0]["goal"] == goal["code"]


# ------------------------------------------------------------------ tokens


async def test_p19_another_goals_token_cannot_record_for_this_one(owner: Owner) -> None:
    one, other = await owner.goal(name="One"), await owner.goal(name="Other")
    await post(owner, other, {"order_id": "1"})
    assert [(row["goal"]) for row in owner.conversions()] == ["other"]
    await post(owner, one, {"order_id": "1"})
    assert [(row["goal"], row["fate"]) for row in owner.conversions()] == [("other", "counted"), ("one", "counted")]


async def test_an_unknown_token_is_unknown_whatever_it_looks_like(owner: Owner) -> None:
    goal = await owner.goal()
    token = goal["token"]
    archived = await owner.goal(name="Old")
    await owner.change("goal", archived["id"], archived=True)
    heard = set()
    wrong = (token[:-1], token + "A", token.upper(), archived["token"], "x", "a" * 1_000, f"{token}/", "%00", "..")
    for one in wrong:
        for method in ("POST", "GET"):
            with owner.shop.refusing(TRACK, "token_unknown"):
                said = await owner.shop.send(method, f"/api/conversions/track/{one}")
            refused_with(said, 404, "token_unknown")
            heard.add((said.body, tuple(header for header in said.headers if header[0] != "date")))
    assert len(heard) == 1
    body = {"postback_token": token + "A"}
    refused_with(await owner.shop.send("POST", BY_BODY, body=body), 404, "token_unknown")


async def test_a_token_is_of_its_own_site(owner: Owner) -> None:
    goal = await owner.goal()
    said = await owner.shop.send("POST", owner.track(goal), host="t.kiosk.example", body={})
    refused_with(said, 404, "token_unknown")


async def test_who_guesses_tokens_is_stopped(tmp_path: Path) -> None:
    async with running(tmp_path, limits={"browser_per_minute": 60}) as shop:
        said = [await shop.send("GET", f"/api/conversions/track/guess-{number}") for number in range(12)]
    assert [one.status for one in said] == [404] * 10 + [429] * 2


async def test_a_token_is_in_no_log_line(owner: Owner) -> None:
    goal = await owner.goal()
    before = len(owner.shop.log_text)
    await post(owner, goal, {"order_id": "1"})
    await post(owner, goal, {"order_id": 1})
    await get(owner, goal, "order_id=2")
    assert goal["token"] not in owner.shop.log_text[before:]


# ------------------------------------------------------------------ limits


async def test_p35_x10_each_token_has_so_many_calls_a_minute(owner: Owner) -> None:
    goal = await owner.goal(per_minute=3)
    other = await owner.goal(name="Other", per_minute=3)
    for number in range(3):
        assert (await post(owner, goal, {"order_id": str(number)})).status == 200
    owner.shop.move(seconds=20)
    with owner.shop.refusing(TRACK, "rate_limited"):
        said = await post(owner, goal, {"order_id": "3"})
    refused_with(said, 429, "rate_limited")
    assert said.header("retry-after") == "41"
    assert (await post(owner, other, {"order_id": "3"})).status == 200, "another token has its own"
    assert (await get(owner, goal, "order_id=3")).status == 429, "images count with it"
    owner.shop.move(seconds=41)
    assert (await post(owner, goal, {"order_id": "3"})).status == 200
    assert [one["order_id"] for one in owner.conversions()] == ["0", "1", "2", "3", "3"], "nothing accepted is lost"


async def test_p35_the_limit_is_a_thousand_unless_the_goal_says_otherwise(owner: Owner) -> None:
    goal = await owner.goal()
    assert goal["per_minute"] == 1_000
    house = owner.shop.gateway.house
    assert (await post(owner, goal, {"order_id": "1"})).status == 200
    (key,) = house.postbacks
    house.postbacks[key] = (house.postbacks[key][0], 999)
    assert (await post(owner, goal, {"order_id": "2"})).status == 200
    assert (await post(owner, goal, {"order_id": "3"})).status == 429


# ------------------------------------------------------------------ duplicates


async def test_p36_p61_an_order_counts_once_by_whatever_way_it_comes(owner: Owner) -> None:
    goal = await owner.goal()
    first = (await post(owner, goal, {"value": 10, "order_id": "1001"})).json()
    again = await get(owner, goal, "value=10&order_id=1001", Referer=PAGE)
    assert (again.status, again.body[:6]) == (200, GIF)
    third = (await post(owner, goal, {"value": 10, "order_id": "1001"})).json()
    assert third == {"status": "duplicate", "conversion_id": first["conversion_id"]}
    assert [one["fate"] for one in owner.conversions()] == ["counted", "duplicate", "duplicate"]


async def test_p36_the_first_value_stays_and_another_is_flagged(owner: Owner) -> None:
    goal = await owner.goal()
    await post(owner, goal, {"value": 10, "order_id": "1001"})
    said = await post(owner, goal, {"value": 99, "order_id": "1001"})
    assert (said.status, said.json()["status"], said.json()["marks"]) == (200, "duplicate", ["value_differs"])
    counted, repeat = owner.conversions()
    assert (counted["amount_minor"], counted["net_minor"], counted["fate"]) == (1000, 1000, "counted")
    assert (repeat["amount_minor"], repeat["fate"], repeat["reason"]) == (9900, "duplicate", "value_differs")


async def test_x12_an_order_counts_once_for_each_goal(owner: Owner) -> None:
    one, other = await owner.goal(name="One"), await owner.goal(name="Other")
    for goal in (one, other, one, other):
        await post(owner, goal, {"order_id": "1001"})
    assert [(row["goal"], row["fate"]) for row in owner.conversions()] == [
        ("one", "counted"), ("other", "counted"), ("one", "duplicate"), ("other", "duplicate"),
    ]  # fmt: skip


async def test_the_same_order_at_the_same_moment_counts_once(owner: Owner) -> None:
    goal = await owner.goal()
    said = await asyncio.gather(*(post(owner, goal, {"order_id": "1"}) for _ in range(8)))
    assert sorted(one.json()["status"] for one in said) == ["accepted"] + ["duplicate"] * 7


# ------------------------------------------------------------------ clicks: attack row 25


async def test_row_25_an_unknown_click_is_recorded_and_said(owner: Owner) -> None:
    goal = await owner.goal()
    said = await post(owner, goal, {"click_id": OTHER_CLICK, "order_id": "1"})
    assert (said.status, said.json()["status"], said.json()["reason"]) == (200, "accepted", "click_unknown")
    (one,) = owner.conversions()
    assert (one["fate"], one["facts"]["marks"]) == ("counted", ["click_unknown"])


@pytest.mark.parametrize(("days", "reason"), [(30, None), (30.001, "click_expired")])
async def test_row_25_p47_a_click_older_than_the_window_is_said(owner: Owner, days: float, reason: str | None) -> None:
    goal = await owner.goal()
    await owner.click(days_ago=days)
    said = (await post(owner, goal, {"click_id": CLICK, "order_id": "1"})).json()
    assert (said["status"], said.get("reason")) == ("accepted", reason)


async def test_row_25_a_click_after_the_conversion_is_said(owner: Owner) -> None:
    goal = await owner.goal()
    await owner.click(days_ago=-1)
    said = (await post(owner, goal, {"click_id": CLICK, "order_id": "1"})).json()
    assert (said["status"], said["reason"]) == ("accepted", "click_after_conversion")


async def test_row_25_a_click_of_another_campaign_is_refused(owner: Owner) -> None:
    mine, theirs = await owner.campaign(name="Mine"), await owner.campaign(name="Theirs")
    goal = await owner.goal(campaign_id=mine["id"])
    await owner.click(campaign_id=mine["id"], ambassador_id="amb-1")
    await owner.click(OTHER_CLICK, campaign_id=theirs["id"], ambassador_id="amb-2")
    with owner.shop.refusing(TRACK, "click_foreign"):
        said = await post(owner, goal, {"click_id": OTHER_CLICK, "order_id": "1"})
    refused_with(said, 403, "click_foreign", "click_id")
    assert (await post(owner, goal, {"click_id": CLICK, "order_id": "1"})).json()["status"] == "accepted"


async def test_row_25_a_second_click_cannot_take_over_an_order(owner: Owner) -> None:
    goal = await owner.goal()
    await owner.click()
    await owner.click(OTHER_CLICK)
    await post(owner, goal, {"click_id": CLICK, "order_id": "1"})
    said = (await post(owner, goal, {"click_id": OTHER_CLICK, "order_id": "1"})).json()
    assert (said["status"], said["marks"]) == ("duplicate", ["click_differs"])
    assert owner.conversions()[0]["click_id"] == CLICK


async def test_x03_e25_a_conversion_without_any_click_is_kept(owner: Owner) -> None:
    goal = await owner.goal()
    assert (await post(owner, goal, {"order_id": "1"})).json()["status"] == "accepted"
    assert [one["fate"] for one in owner.conversions()] == ["counted"]


async def test_a_conversion_is_of_the_visitor_whose_click_it_names(owner: Owner) -> None:
    """The choice that visitor recorded is asked, and their refusal leaves nobody."""
    shop, goal = owner.shop, await owner.goal()
    consent = {"analytics": "granted", "advertising": "granted"}
    await shop.collect({"name": "page_view", "consent": consent})
    landing = await shop.collect({"name": "page_view", "consent": consent})
    jar = cookies(landing)
    given = await shop.send("POST", "/consent", headers={"Origin": PAGE, "Cookie": jar}, body={"choice": consent})
    assert given.status == 200
    (key,) = shop.rows("select visitor_key from event order by seq desc limit 1")[0]
    await owner.click(visitor_key=key)
    await post(owner, goal, {"click_id": CLICK, "order_id": "1"})
    assert shop.rows("select visitor_key from event where name = 'q1_sale'") == [(key,)]
    denied = {"analytics": "denied", "advertising": "denied"}
    jar = "; ".join(f"{name}={value}" for name, value in {**landing.cookies(), **given.cookies()}.items())
    await shop.send("POST", "/consent", headers={"Origin": PAGE, "Cookie": jar}, body={"choice": denied})
    await post(owner, goal, {"click_id": CLICK, "order_id": "2"})
    assert shop.rows("select visitor_key from event where name = 'q1_sale' order by seq") == [(key,), (None,)]
    assert [one["click_id"] for one in owner.conversions()] == [CLICK, None]


# ------------------------------------------------------------------ guesses


@pytest.fixture
async def guessing(tmp_path: Path) -> AsyncIterator[Owner]:
    """A site that infers, where silence is consent."""
    site = {"regime": "none", "granted_by_default": ["analytics", "advertising"], "links": {"inferred": True}}
    async with running(tmp_path, shop=site) as shop:
        yield await Owner.of(shop)


async def click_link(owner: Owner, code: str, agent: str = AGENT, **headers: str) -> str:
    """Open a link as a browser does. Answers the id of the click."""
    named = {"User-Agent": agent, **{name.replace("_", "-"): value for name, value in headers.items()}}
    said = await owner.shop.send("GET", f"/l/{code}", headers=named)
    assert said.status == 302, said
    return str(owner.shop.rows("select click_id from touch order by touch_no desc limit 1")[0][0])


async def link(owner: Owner, code: str, **fields: Any) -> None:
    body = {"code": code, "target": f"{PAGE}/sale", **fields}
    assert (await owner.shop.api("/api/v1/links", body, owner.key)).status == 201


async def test_p27_x04_a_click_of_the_same_address_and_agent_is_guessed_and_marked(guessing: Owner) -> None:
    goal = await guessing.goal()
    await link(guessing, "one")
    await link(guessing, "two")
    await click_link(guessing, "one")
    newest = await click_link(guessing, "two")
    said = await get(guessing, goal, "order_id=1", User_Agent=AGENT)
    assert said.status == 200
    (row,) = guessing.conversions()
    assert (row["click_id"], row["facts"]["marks"]) == (newest, ["inferred"]), "of several clicks the newest"


@pytest.mark.parametrize(
    ("how", "headers"),
    [
        ("another agent", {"User_Agent": AGENT.replace("156", "155")}),
        ("no agent", {}),
        ("an objection", {"User_Agent": AGENT, "Sec_GPC": "1"}),
    ],
)
async def test_p27_x04_nothing_is_guessed_otherwise(guessing: Owner, how: str, headers: dict[str, str]) -> None:
    goal = await guessing.goal()
    await link(guessing, "one")
    await click_link(guessing, "one")
    if how == "an objection":
        denied = {"analytics": "denied", "advertising": "denied"}
        given = await guessing.shop.send("POST", "/consent", headers={"Origin": PAGE}, body={"choice": denied})
        headers = {**headers, "Cookie": cookies(given)}
    await get(guessing, goal, "order_id=1", **headers)
    (row,) = guessing.conversions()
    assert row["click_id"] is None
    assert "inferred" not in row["facts"].get("marks", [])


async def test_p27_x04_a_guess_lives_a_day_and_names_no_other_campaign(guessing: Owner) -> None:
    campaign = await guessing.campaign()
    goal, other = await guessing.goal(), await guessing.goal(name="Other", campaign_id=campaign["id"])
    await link(guessing, "one")
    clicked = await click_link(guessing, "one")
    await get(guessing, other, "order_id=1", User_Agent=AGENT)
    guessing.shop.move(seconds=86_400)
    await get(guessing, goal, "order_id=2", User_Agent=AGENT)
    guessing.shop.move(seconds=1)
    await get(guessing, goal, "order_id=3", User_Agent=AGENT)
    assert [one["click_id"] for one in guessing.conversions()] == [None, clicked, None]


async def test_x04_guessing_is_off_unless_the_site_turns_it_on(tmp_path: Path) -> None:
    site = {"regime": "none", "granted_by_default": ["analytics", "advertising"]}
    async with running(tmp_path, shop=site) as shop:
        owner = await Owner.of(shop)
        goal = await owner.goal()
        await link(owner, "one")
        await click_link(owner, "one")
        await get(owner, goal, "order_id=1", User_Agent=AGENT)
        assert [one["click_id"] for one in owner.conversions()] == [None]


async def test_x04_a_click_without_consent_is_not_remembered(tmp_path: Path) -> None:
    async with running(tmp_path, shop={"links": {"inferred": True}}) as shop:
        owner = await Owner.of(shop)
        await link(owner, "one")
        await click_link(owner, "one")
        assert owner.shop.gateway.house.guesses._clicks == {}


# ------------------------------------------------------------------ trackers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"subid={CLICK}&payout=12.50&currency=usd&tid=T1&status=lead", (CLICK, "T1", 1250, "USD")),
        (f"cid={CLICK}&payout=12.50&txid=T1", (CLICK, "T1", 1250, "EUR")),
        (f"clickid={CLICK}&amount=12.50&transaction_id=T1", (CLICK, "T1", 1250, "EUR")),
        (f"aff_sub={CLICK}&revenue=12.50&external_id=T1", (CLICK, "T1", 1250, "EUR")),
        ("cid={clickid}&payout={payout}&txid=T1", (None, "T1", None, None)),
    ],
)
async def test_trackers_call_the_same_things_by_names_of_their_own(
    owner: Owner, query: str, expected: tuple[Any, ...]
) -> None:
    goal = await owner.goal()
    await owner.click()
    assert (await get(owner, goal, query)).status == 200
    (one,) = owner.conversions()
    assert (one["click_id"], one["order_id"], one["amount_minor"], one["currency"]) == expected


async def test_a_tracker_gets_the_text_it_asks_for(owner: Owner) -> None:
    goal = await owner.goal()
    said = await get(owner, goal, "tid=1&return=OK")
    assert (said.status, said.body, said.header("content-type")) == (200, b"OK", "text/plain; charset=utf-8")
    assert said.header("cache-control") == "no-store"


async def test_a_form_is_read_like_a_query(owner: Owner) -> None:
    goal = await owner.goal()
    body = f"subid={CLICK}&payout=3&tid=7".encode()
    said = await post(owner, goal, body, Content_Type="application/x-www-form-urlencoded")
    assert said.json()["status"] == "accepted"
    assert (owner.conversions()[0]["order_id"], owner.conversions()[0]["amount_minor"]) == ("7", 300)


async def test_parameters_nobody_reads_are_said(owner: Owner) -> None:
    goal = await owner.goal()
    said = await owner.shop.send("POST", f"{owner.track(goal)}?tid=1&sub_id_5=x")
    assert said.json()["marks"] == ["parameters_unread"]
    beside = await owner.shop.send("POST", f"{owner.track(goal)}?x=1", body={"order_id": "2"})
    assert beside.json()["marks"] == ["parameters_unread"]


async def test_a_lead_becomes_a_sale_and_a_sale_is_rejected(owner: Owner) -> None:
    goal = await owner.goal()
    heard: list[tuple[Any, ...]] = []
    for query in (
        "subid=1&tid=T1&status=lead&payout=1",
        "subid=1&tid=T1&status=sale&payout=20",
        "subid=1&tid=T1&status=sale&payout=20",
        "subid=1&tid=T1&status=lead&payout=1",
        "subid=1&tid=T1&status=rejected",
        "subid=1&tid=T1&status=rejected",
        "subid=1&tid=T1&status=sale&payout=20",
    ):
        said = (await owner.shop.send("POST", f"{owner.track(goal)}?{query}")).json()
        counted = owner.conversions()[0]
        heard.append((said["status"], said.get("reason"), counted["fate"], counted["net_minor"]))
    assert heard == [
        ("accepted", "click_unknown", "counted", 100),
        ("adjusted", "sale", "counted", 2000),
        ("duplicate", None, "counted", 2000),
        ("duplicate", None, "counted", 2000),
        ("adjusted", "rejected", "retracted", 0),
        ("ignored", "status_refused", "retracted", 0),
        ("duplicate", None, "retracted", 0),
    ]
    kinds = owner.shop.rows("select kind, amount_minor, reason, trust from adjustment order by adjustment_no")
    assert kinds == [("restate", 2000, "approved", "token"), ("retract", None, "rejected", "token")], "kept as history"


async def test_a_rejection_of_nothing_changes_nothing(owner: Owner) -> None:
    goal = await owner.goal()
    for query, reason in (("tid=9&status=rejected", "conversion_unknown"), ("status=rejected", "order_id_missing")):
        said = (await owner.shop.send("POST", f"{owner.track(goal)}?{query}")).json()
        assert (said["status"], said["reason"]) == ("ignored", reason)
    assert owner.shop.count("event") == owner.shop.count("adjustment") == 0


async def test_a_status_that_is_not_wanted_is_not_recorded(owner: Owner) -> None:
    goal = await owner.goal()
    said = (await owner.shop.send("POST", f"{owner.track(goal)}?tid=9&status=trial&ignore_status=trial")).json()
    assert (said["status"], said["reason"]) == ("ignored", "status_ignored")
    assert owner.shop.count("event") == 0


async def test_x06_a_token_from_a_page_cannot_take_orders_back(owner: Owner) -> None:
    """Whoever reads the page has the token; order numbers can be guessed."""
    goal = await owner.goal(code="purchase", name="Purchase")
    await get(owner, goal, "value=5&order_id=1", Referer=f"{PAGE}/thanks")
    body = {"name": "purchase", "order_id": "2", "value": 5}
    assert (await owner.shop.api("/api/v1/conversions", body, owner.key)).status == 200
    await owner.shop.send("POST", f"{owner.track(goal)}?tid=3&payout=5&status=lead")
    for order, headers in (("1", {}), ("2", {}), ("3", {"Referer": PAGE})):
        said = await owner.shop.send("GET", f"{owner.track(goal)}?tid={order}&status=rejected", headers=headers)
        assert said.header("x-gateway-dropped") == "status_refused", order
    said = await owner.shop.send("GET", f"{owner.track(goal)}?tid=3&status=sale&payout=99", headers={"Referer": PAGE})
    assert [(one["fate"], one["net_minor"]) for one in owner.conversions() if one["fate"] != "duplicate"] == [
        ("counted", 500)
    ] * 3
    assert owner.shop.count("adjustment") == 0


# ------------------------------------------------------------------ pages


@pytest.mark.parametrize(
    ("domains", "origin", "allowed"),
    [
        ((), PAGE, True),
        ((), "https://a.b.shop.example", True),
        ((), "https://evil.test", False),
        ((), "null", False),
        (("pay.partner.example",), "https://pay.partner.example", True),
        (("pay.partner.example",), "https://eu.PAY.partner.example", True),
        (("pay.partner.example",), "https://partner.example", False),
        (("pay.partner.example",), PAGE, False),
        (("pay.partner.example",), "https://pay.partner.example.evil.test", False),
        (("pay.partner.example",), "https://evilpay.partner.example.", False),
    ],
)
async def test_p51_row_26_pages_of_the_goals_domains_may_report(
    owner: Owner, domains: tuple[str, ...], origin: str, allowed: bool
) -> None:
    goal = await owner.goal(domains=list(domains))
    asked = await owner.shop.send("OPTIONS", owner.track(goal), headers={"Origin": origin})
    assert (asked.header("access-control-allow-origin") == origin) == allowed
    assert asked.header("access-control-allow-headers") == ("content-type" if allowed else None)
    for said in (
        await post(owner, goal, {"order_id": "1"}, Origin=origin),
        await get(owner, goal, "oid=2", Origin=origin),
    ):
        if allowed:
            assert (said.status, said.header("access-control-allow-origin")) == (200, origin)
        else:
            refused_with(said, 403, "domain_not_allowed")
    assert owner.shop.count("conversion") == (2 if allowed else 0)


async def test_a_page_of_strangers_can_read_that_it_is_blocked(owner: Owner) -> None:
    goal = await owner.goal()
    said = await post(owner, goal, {}, Origin="https://evil.test")
    assert said.error["message"] == "Tracking blocked for this domain"
    assert said.header("access-control-allow-origin") == "https://evil.test"


async def test_x08_servers_are_not_asked_for_a_page(owner: Owner) -> None:
    goal = await owner.goal(domains=["pay.partner.example"])
    assert (await post(owner, goal, {"order_id": "1"})).status == 200


# ------------------------------------------------------------------ what was called


async def test_p59_every_call_has_its_line_with_the_reason(owner: Owner) -> None:
    goal = await owner.goal()
    before = len(owner.shop.log_text)
    await post(owner, goal, {"order_id": "1", "click_id": OTHER_CLICK})
    await post(owner, goal, {"order_id": "1"})
    await post(owner, goal, {"order_id": 1})
    lines = owner.shop.log(since=before)
    told = [(line["event"], line["route"], line.get("result"), line.get("reason"), line.get("code")) for line in lines]
    assert [one for one in told if one[1] == TRACK] == [
        ("request_answered", TRACK, "accepted", "click_unknown", None),
        ("request_answered", TRACK, "duplicate", None, None),
        ("request_refused", TRACK, None, None, "field_type"),
    ]


async def test_c14_what_destinations_are_owed_is_recorded(tmp_path: Path) -> None:
    hook = {
        "name": "crm", "platform": "webhook", "url": "https://hooks.crm.example/gateway",
        "signing_secret": "whsec_" + "A" * 32, "purposes": ["analytics"], "events": ["q1_sale"],
    }  # fmt: skip
    async with running(tmp_path, shop={"destination": [hook]}) as shop:
        owner = await Owner.of(shop)
        goal = await owner.goal(value="5")
        await post(owner, goal, {"order_id": "1"})
        assert shop.rows("select destination, fate, reason from delivery") == [("crm", "withheld", "consent_missing")]


async def test_coupons_of_a_postback_are_kept(owner: Owner) -> None:
    goal = await owner.goal()
    await post(owner, goal, {"coupon": "ANNA10", "order_id": "1"})
    assert "ANNA10" in owner.conversions()[0]["coupons"]
