"""Links over HTTP: the redirect with its recorded click, what is no click, what is refused, and what is shown of a link."""

import asyncio
import html
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import pytest_asyncio

from gateway import app, identity
from gateway.errors import Refusal, SettingsError
from gateway.flows import click_keeping
from gateway.flows.addresses import signed_path
from gateway.purposes import ADVERTISING, ALL_PURPOSES, ANALYTICS, NECESSARY
from tests.handlers.conftest import UNLIMITED
from tests.rooms.test_link_qr import png_picture, read
from tests.support.running import AGENT, HOST, NOW_MS, OTHER_HOST, Running, Said, refused_with, running

LINK_HOST: Final = "go.shop.example"
SHORT_HOST: Final = "shp.example"
TARGET: Final = "https://www.shop.example/sale"
IPHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)
ANDROID: Final = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36"
UNFURLER: Final = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
SITE: Final[dict[str, Any]] = {
    "cookie_domain": "shop.example",
    "links": {"hosts": [LINK_HOST, SHORT_HOST], "targets": ["partner.example"], "schemes": ["shopapp"]},
}
COLUMNS: Final = (
    "kind", "occurred_at_ms", "visitor_key", "referrer", "channel", "source", "medium", "campaign_name", "link_id",
    "campaign_id", "ambassador_id", "variant", "click_id", "landed_click_id", "device", "os", "browser", "landing", "human",
    "human_reason", "consent", "repeats",
)  # fmt: skip


class Links:
    """The links of a running gateway, as their owner makes them and a browser opens them."""

    def __init__(self, shop: Running, key: str) -> None:
        self.shop = shop
        self._key = key

    async def make(self, kind: str = "links", **fields: Any) -> dict[str, Any]:
        said = await self.shop.api(f"/api/v1/{kind}", fields, self._key)
        assert said.status == 201, said
        made: dict[str, Any] = next(iter(said.json().values()))
        return made

    async def link(self, code: str, **fields: Any) -> dict[str, Any]:
        return await self.make(**{"code": code, "target": TARGET, **fields})

    async def open(
        self, path: str, *, host: str = HOST, method: str = "GET", agent: str | None = AGENT, **headers: str
    ) -> Said:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if agent is not None:
            named["User-Agent"] = agent
        path = path if path.startswith("/") else f"/l/{path}"
        return await self.shop.send(method, path, headers=named, host=host)

    def touches(self) -> list[dict[str, Any]]:
        rows = self.shop.rows(f"select {', '.join(COLUMNS)} from touch order by touch_no")
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def last(self) -> dict[str, Any]:
        return self.touches()[-1]

    def cookie(self, granted: int = ALL_PURPOSES, visitor: str | None = None) -> str:
        """The cookies of a browser that granted these purposes, and refused the others."""
        rooms = self.shop.gateway.house.by_id["shop"]
        denied = ALL_PURPOSES & ~granted & ~NECESSARY
        receipt = identity.sign_receipt(rooms.keys, identity.Receipt(granted | NECESSARY, denied, NOW_MS - 1, "1", "x"))
        cookies = f"{rooms.consent_cookie}={receipt}"
        if visitor is not None:
            token = identity.sign_token(rooms.keys, visitor, NOW_MS // 86_400_000, NOW_MS // 86_400_000)
            cookies += f"; {rooms.id_cookie}={token}"
        return cookies


def parameters(said: Said) -> dict[str, str]:
    """Query of the address that a redirect leads to."""
    assert said.status == 302, said
    return dict(parse_qsl(urlsplit(said.header("location") or "").query, keep_blank_values=True))


async def links_of(shop: Running) -> Links:
    key = await shop.new_key(sites=("shop",), rights=("manage",))
    return Links(shop, str(key["key"]))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not send a click to the spool where a test looks for it in the store."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 10.0)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a visitor meets."""
    monkeypatch.setattr(click_keeping, "STORE_WAIT_S", 0.25)


@pytest_asyncio.fixture
async def links(tmp_path: Path) -> AsyncIterator[Links]:
    async with running(tmp_path, limits=UNLIMITED, shop=SITE) as shop:
        yield await links_of(shop)


# ------------------------------------------------------------------ the click


async def test_e05_a_click_is_recorded_before_the_landing_page(links: Links) -> None:
    campaign = await links.make("campaigns", name="Spring sale", channel="email")
    link = await links.link("spring", campaign_id=campaign["id"])
    said = await links.open("spring", agent=IPHONE)
    assert said.status == 302
    (touch,) = links.touches()  # by the time of the answer
    assert touch["occurred_at_ms"] == NOW_MS
    assert (touch["link_id"], touch["campaign_id"], touch["campaign_name"]) == (
        link["id"],
        campaign["id"],
        "Spring sale",
    )
    assert (touch["kind"], touch["device"], touch["os"]) == ("click", "mobile", "ios")
    assert (touch["human"], touch["landing"], touch["consent"]) == ("yes", "/sale", 0)
    assert touch["visitor_key"] is None


async def test_the_answer_may_not_be_kept_and_says_where_it_leads(links: Links) -> None:
    await links.link("spring")
    said = await links.open("spring")
    assert (said.header("cache-control"), said.header("x-robots-tag")) == ("no-store", "noindex")
    assert said.header("location") == f"{TARGET}?lid=spring"
    assert (said.header("referrer-policy"), said.header("set-cookie"), said.body) == (None, None, b"")


async def test_a_link_that_hides_the_referrer_says_so(links: Links) -> None:
    await links.link("quiet", no_referrer=True)
    assert (await links.open("quiet")).header("referrer-policy") == "no-referrer"


@pytest.mark.parametrize("path", ["SPRING", "Spring", "spring/", "%73pring"])
async def test_a_slug_is_found_however_it_was_typed(links: Links, path: str) -> None:
    await links.link("spring")
    assert (await links.open(path)).status == 302


async def test_e07_a_click_under_consent_sets_one_first_party_cookie(links: Links) -> None:
    await links.link("spring")
    said = await links.open("/spring", host=LINK_HOST, Cookie=links.cookie())
    (line,) = said.all("set-cookie")
    name, _, attributes = line.partition(";")
    assert name.startswith("__Secure-gwclick=")
    for part in ("Domain=shop.example", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"):
        assert part in attributes
    assert parameters(said)["cid"] == links.last()["click_id"]
    assert links.last()["consent"] == 1


@pytest.mark.parametrize(
    ("ambassadors", "days"),
    [(True, 90), (False, 30)],
    ids=["a campaign of ambassadors", "no goal that looks further back"],
)
async def test_e08_the_cookie_lives_as_long_as_the_longest_window(links: Links, ambassadors: bool, days: int) -> None:
    await links.make("campaigns", name="Friends", ambassadors=ambassadors)
    await links.link("spring")
    said = await links.open("spring", Cookie=links.cookie())
    assert f"Max-Age={days * 86_400};" in (said.header("set-cookie") or "")


async def test_e08_no_goal_makes_the_cookie_live_longer_than_the_site_allows(links: Links) -> None:
    await links.make("goals", name="Contract", click_window_days=400)
    await links.link("spring")
    said = await links.open("spring", Cookie=links.cookie())
    assert f"Max-Age={90 * 86_400};" in (said.header("set-cookie") or "")


async def test_without_consent_there_is_no_cookie_and_no_click_id(links: Links) -> None:
    await links.link("spring")
    for cookie in ("", links.cookie(granted=0), links.cookie(granted=ANALYTICS), "__Secure-gwconsent=forged.x"):
        said = await links.open("spring", Cookie=cookie)
        assert (said.header("set-cookie"), parameters(said)) == (None, {"lid": "spring"}), cookie


async def test_global_privacy_control_refuses_for_the_click_too(links: Links) -> None:
    await links.link("spring")
    said = await links.open("spring", Cookie=links.cookie(), Sec_GPC="1")
    assert (said.header("set-cookie"), parameters(said)) == (None, {"lid": "spring"})


async def test_c10_c11_neither_cookie_nor_click_hold_anything_personal(links: Links) -> None:
    await links.link("spring")
    said = await links.open("spring", Cookie=links.cookie(), Referer="https://mail.example/inbox?user=jane@example.com")
    value = said.cookies()["__Secure-gwclick"]
    stored = repr(links.shop.rows("select * from touch")) + bytes.fromhex(value.rpartition(".")[0]).decode()
    for personal in ("127.0.0.1", AGENT, "jane", "inbox", "Mozilla"):
        assert personal not in stored
    assert links.last()["referrer"] == "mail.example"
    assert re.fullmatch(r"[0-9A-Za-z]{22}", links.last()["click_id"])


async def test_x4_without_consent_a_click_says_nothing_of_who_clicked(links: Links) -> None:
    await links.link("spring")
    await links.open("spring", Cookie=links.cookie(granted=0, visitor="v" * 22), Referer="https://news.example/a")
    touch = links.last()
    assert (touch["visitor_key"], touch["referrer"], touch["consent"]) == (None, None, 0)


async def test_a_known_visitor_is_named_only_under_consent(links: Links) -> None:
    await links.link("spring")
    await links.open("spring", Cookie=links.cookie(visitor="v" * 22))
    rooms = links.shop.gateway.house.by_id["shop"]
    assert links.last()["visitor_key"] == rooms.visitor_key("v" * 22)


async def test_no_cookie_on_a_host_whose_cookies_the_site_is_never_sent(links: Links) -> None:
    await links.link("spring")
    cookie = links.cookie()  # a browser would not send it there either
    said = await links.open("/spring", host=SHORT_HOST, Cookie=cookie)
    assert said.header("set-cookie") is None
    assert "cid" in parameters(said)


async def test_platform_click_ids_in_the_cookie_outlive_a_click_on_a_link(links: Links) -> None:
    await links.link("spring")
    rooms = links.shop.gateway.house.by_id["shop"]
    kept = identity.sign_clicks(rooms.keys, {"gclid": "from-an-ad"}, NOW_MS - 5_000)
    said = await links.open("spring", Cookie=f"{links.cookie()}; {rooms.click_cookie}={kept}")
    values = [said.cookies()[rooms.click_cookie]]
    assert identity.read_clicks(rooms.keys, values, NOW_MS, 90) == ({"gclid": "from-an-ad"}, NOW_MS - 5_000)
    assert identity.read_own_click(rooms.keys, values, NOW_MS).click_id == links.last()["click_id"]
    assert f"Max-Age={90 * 86_400};" in (said.header("set-cookie") or "")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, ("cid", "lid", "via")),
        ({"click_parameter": "ref_click", "code_parameter": "ref_link", "via_parameter": "friend"}, None),
    ],
    ids=["defaults", "own names"],
)
async def test_r22_the_landing_address_carries_the_identifier_under_a_name_of_choice(
    tmp_path: Path, names: dict[str, str], expected: tuple[str, ...] | None
) -> None:
    async with running(tmp_path, shop={**SITE, "links": {**SITE["links"], **names}}) as shop:
        links = await links_of(shop)
        campaign = await links.make("campaigns", name="Friends", ambassadors=True)
        ambassador = await links.make("ambassadors", name="Ann", campaign_id=campaign["id"], code="ann")
        await links.link("spring", ambassador_id=ambassador["id"])
        said = await links.open("spring", Cookie=links.cookie())
        found = parameters(said)
        cid, lid, via = expected or tuple(names.values())
        assert (found[lid], found[via], found[cid]) == ("spring", "ann", links.last()["click_id"])
        assert links.last()["ambassador_id"] == ambassador["id"]
        assert list(found)[-3:] == [via, lid, cid]  # last, so that nobody injects a foreign one


async def test_r16_a_stranger_cannot_inject_a_click_id(links: Links) -> None:
    await links.link("spring")
    said = await links.open("spring?cid=AAAAAAAAAAAAAAAAAAAAAA&CID=BBBBBBBBBBBBBBBBBBBBBB&lid=other")
    assert said.header("location") == f"{TARGET}?lid=spring"


async def test_r35_the_operator_may_name_clicks_on_another_ground_but_sets_no_cookie(tmp_path: Path) -> None:
    async with running(tmp_path, shop={**SITE, "links": {**SITE["links"], "click_id": "always"}}) as shop:
        links = await links_of(shop)
        await links.link("spring")
        said = await links.open("spring")
        assert parameters(said)["cid"] == links.last()["click_id"]
        assert said.header("set-cookie") is None
        assert "cid" not in parameters(await links.open("spring", agent="curl/8.5"))


@pytest.mark.parametrize("granted", [0, ADVERTISING])
async def test_the_slug_of_a_link_for_one_person_is_told_like_a_click_id(links: Links, granted: int) -> None:
    await links.link("for-jane", recipient="customer 4711")
    found = parameters(await links.open("for-jane", Cookie=links.cookie(granted=granted)))
    assert ("lid" in found, "cid" in found) == (bool(granted), bool(granted))


async def test_c32_the_cart_token_in_a_target_passes_unchanged(links: Links) -> None:
    cart = "https://www.shop.example/cart/restore?token=aB%2Fc%3D%3D&step=2+3#checkout"
    await links.link("cart", target=cart)
    said = await links.open("cart")
    assert said.header("location") == cart.replace("#checkout", "&lid=cart#checkout")


async def test_parameters_of_the_request_are_carried_on_but_for_our_own(links: Links) -> None:
    await links.link("spring", utm={"source": "mail", "campaign": "spring"})
    said = await links.open("spring?utm_source=friend&qr=1&coupon=A%20B")
    assert parameters(said) == {"utm_campaign": "spring", "utm_source": "friend", "coupon": "A B", "lid": "spring"}
    assert (links.last()["kind"], links.last()["source"]) == ("qr", "friend")


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("email", "email"), ("social", "organic_social"), ("sms", "sms"), ("qr", "qr"), ("ad", "paid_other")],
)
async def test_r15_c57_a_click_has_the_channel_of_its_link(links: Links, channel: str, expected: str) -> None:
    await links.link(f"by-{channel}", channel=channel)
    await links.open(f"by-{channel}")
    assert links.last()["channel"] == expected


async def test_r15_a_links_own_channel_stands_in_the_landing_address(links: Links) -> None:
    campaign = await links.make("campaigns", name="Spring sale", channel="email", utm={"campaign": "spring"})
    await links.link("letter", campaign_id=campaign["id"])
    await links.link("poster", campaign_id=campaign["id"], channel="qr")
    names = ("utm_source", "utm_medium", "utm_campaign")
    for code, expected in (("letter", ("email", "email", "spring")), ("poster", ("qr", "qr", "spring"))):
        landing = parameters(await links.open(code))
        assert tuple(landing[name] for name in names) == expected
        assert (links.last()["source"], links.last()["medium"]) == expected[:2]


async def test_c56_a_channel_of_the_owner_that_no_rule_knows_is_kept(links: Links) -> None:
    await links.link("radio", channel="Podcast")
    await links.open("radio")
    assert links.last()["channel"] == "podcast"


async def test_r50_a_scan_counts_like_a_click_and_is_told_apart(links: Links) -> None:
    await links.link("poster")
    drawn = await links.open("poster/qr.png")
    assert (drawn.status, drawn.header("content-type")) == (200, "image/png")
    assert links.touches() == []  # looking at the code is no scan
    ((address, _),) = read(png_picture(drawn.body))
    assert address == f"https://{HOST}/l/poster?qr=1"
    said = await links.open(address.removeprefix(f"https://{HOST}"), agent=IPHONE)
    assert (said.header("location"), links.last()["kind"]) == (f"{TARGET}?lid=poster", "qr")


# ------------------------------------------------------------------ what is no click, and who is none


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"Sec_Purpose": "prefetch"}),
        ("GET", {"Sec_Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X_Moz": "prefetch"}),
    ],
)
async def test_a_request_ahead_of_a_click_leads_on_and_leaves_nothing(
    links: Links, method: str, headers: dict[str, str]
) -> None:
    await links.link("spring")
    said = await links.open("spring", method=method, Cookie=links.cookie(), **headers)
    assert (said.status, said.header("location")) == (302, f"{TARGET}?lid=spring")
    assert said.header("set-cookie") is None
    assert links.touches() == []


async def test_the_owners_own_test_is_no_click(links: Links) -> None:
    await links.link("spring")
    assert (await links.open("spring?no-track=1")).header("location") == f"{TARGET}?lid=spring"
    assert links.touches() == []


@pytest.mark.parametrize(
    ("agent", "human", "reason"),
    [
        ("Googlebot/2.1 (+http://www.google.com/bot.html)", "no", "crawler_list"),
        ("curl/8.5.0", "no", "crawler_list"),
        (None, "no", "no_user_agent"),
        (AGENT.replace("Chrome", "HeadlessChrome"), "no", None),
        (AGENT, "yes", "person"),
    ],
)
async def test_a_robots_click_is_stored_as_one_and_leads_on(
    links: Links, agent: str | None, human: str, reason: str | None
) -> None:
    await links.link("spring")
    said = await links.open("spring", agent=agent, Cookie=links.cookie())
    assert (said.status, "cid" in parameters(said), said.header("set-cookie") is not None) == (
        302,
        human == "yes",
        human == "yes",
    )
    assert links.last()["human"] == human
    assert reason in {None, links.last()["human_reason"]}


async def test_a_mail_scanner_that_opens_every_link_is_suspected(links: Links) -> None:
    campaign = await links.make("campaigns", name="Letter")
    for number in range(5):
        await links.link(f"n{number}", campaign_id=campaign["id"])
    for number in range(5):
        await links.open(f"n{number}", Cookie=links.cookie())
    assert [touch["human"] for touch in links.touches()] == ["yes"] * 3 + ["suspect"] * 2
    links.shop.move(seconds=11)
    await links.open("n4", agent=IPHONE)
    assert links.last()["human"] == "yes"


async def test_a_mail_gateway_is_suspected_by_its_referrer(links: Links) -> None:
    await links.link("spring")
    await links.open("spring", Referer="https://eur01.safelinks.protection.outlook.com/")
    assert (links.last()["human"], links.last()["human_reason"]) == ("suspect", "mail_gateway")


# ------------------------------------------------------------------ repeats and variants


async def test_a_second_click_within_the_window_is_a_repeat_with_the_same_id(links: Links) -> None:
    await links.link("spring", repeat_window_s=60)
    first = parameters(await links.open("spring", Cookie=links.cookie()))
    links.shop.move(seconds=60)
    assert parameters(await links.open("spring", Cookie=links.cookie())) == first
    assert [touch["repeats"] for touch in links.touches()] == [1]
    links.shop.move(seconds=1)
    assert parameters(await links.open("spring", Cookie=links.cookie()))["cid"] != first["cid"]
    assert [touch["repeats"] for touch in links.touches()] == [1, 0]


async def test_a_robots_repeats_are_counted_and_no_new_rows(links: Links) -> None:
    await links.link("spring")
    for _ in range(3):
        await links.open("spring", agent="curl/8.5.0")
    assert [(touch["human"], touch["repeats"]) for touch in links.touches()] == [("no", 2)]


async def test_other_browsers_links_and_choices_are_no_repeats(links: Links) -> None:
    await links.link("one")
    await links.link("two")
    await links.open("one")
    await links.open("two")
    await links.open("one", agent=IPHONE)
    await links.open("one", Cookie=links.cookie())
    assert [touch["repeats"] for touch in links.touches()] == [0] * 4


async def test_variants_are_given_out_by_their_share_and_kept(links: Links) -> None:
    variants = [{"id": name, "target": f"{TARGET}/{name}", "percent": share} for name, share in (("a", 70), ("b", 30))]
    await links.link("test", variants=variants)
    agents = [f"{AGENT} Edg/{number}.0.0.0" for number in range(60)]
    given = [(await links.open("test", agent=agent)).header("location") for agent in agents]
    again = [(await links.open("test", agent=agent)).header("location") for agent in agents]
    assert given == again
    assert 25 <= sum("/a?" in str(one) for one in given) <= 55
    assert {touch["variant"] for touch in links.touches()} == {"a", "b"}
    assert {touch["landing"] for touch in links.touches()} == {"/sale/a", "/sale/b"}


async def test_under_consent_the_variant_outlives_the_day(links: Links) -> None:
    variants = [{"id": name, "target": f"{TARGET}/{name}", "percent": 50} for name in "ab"]
    await links.link("test", variants=variants)
    said = await links.open("test", Cookie=links.cookie())
    first, kept = urlsplit(said.header("location") or "").path, said.cookies()["__Secure-gwclick"]
    for _ in range(6):
        links.shop.move(seconds=86_400)
        said = await links.open("test", Cookie=f"{links.cookie()}; __Secure-gwclick={kept}")
        assert urlsplit(said.header("location") or "").path == first


async def test_phones_are_led_to_their_own_targets(links: Links) -> None:
    await links.link("app", ios_target="shopapp://cart", android_target="https://partner.example/app")
    assert (await links.open("app", agent=IPHONE)).header("location") == "shopapp://cart?lid=app"
    assert (await links.open("app", agent=ANDROID)).header("location") == "https://partner.example/app?lid=app"
    assert (await links.open("app")).header("location") == f"{TARGET}?lid=app"


# ------------------------------------------------------------------ refusals


def problem(said: Said, status: int, code: str) -> None:
    """A page for people: it names the code, holds nothing of the request and may not be kept."""
    assert (said.status, said.header("location"), said.header("set-cookie")) == (status, None, None), said
    assert said.header("content-type") == "text/html; charset=utf-8"
    assert (said.header("cache-control"), said.header("x-robots-tag")) == ("no-store", "noindex")
    assert f"<small>{code}</small>" in said.body.decode()


async def test_an_expired_link_is_gone_or_leads_elsewhere(links: Links) -> None:
    await links.link("old", expires_at=NOW_MS + 1_000)
    await links.link("moved", expires_at=NOW_MS + 1_000, expired_target="https://www.shop.example/over")
    assert (await links.open("old")).status == 302
    links.shop.move(seconds=1)
    before = len(links.touches())
    problem(await links.open("old"), 410, "link_expired")
    problem(await links.open("old/qr.svg"), 410, "link_expired")
    assert (await links.open("moved")).header("location") == "https://www.shop.example/over"
    assert len(links.touches()) == before


async def test_unknown_archived_and_future_links_are_answered_alike(links: Links) -> None:
    archived = await links.link("archived")
    await links.link("future", starts_at=NOW_MS + 1_000)
    said = await links.shop.send(
        "DELETE",
        f"/api/v1/links/{archived['id']}",
        headers={"Authorization": f"Bearer {links._key}", "If-Match": '"1"'},
    )
    assert said.status == 200, said
    answers = [await links.open(path) for path in ("archived", "future", "unknown", "no.slug", "x" * 65, "archived+")]
    for answer in answers:
        problem(answer, 404, "link_unknown")
    told = {(answer.body, tuple(pair for pair in answer.headers if pair[0] != "date")) for answer in answers}
    assert len(told) == 1
    links.shop.move(seconds=1)
    assert (await links.open("future")).status == 302


ROW_42: Final = (
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/keys.json", "spring%00", "spring/../../gw.js", "spring\\..",
    "spring/qr.svg/../../x", "spring//", "a" * 300, "%ff%fe", "spring;x", "spring%0d%0aSet-Cookie:a=b", "-/", "-/../x",
    "wp-login.php", "spring/qr.gif",
)  # fmt: skip


@pytest.mark.parametrize("path", ROW_42)
async def test_row_42_a_path_that_climbs_finds_nothing(links: Links, path: str) -> None:
    await links.link("spring")
    said = await links.open(path)
    assert said.status in {403, 404}
    assert (said.header("location"), said.header("set-cookie")) == (None, None)
    assert links.touches() == []


async def test_row_29_a_network_that_guesses_slugs_is_refused_whatever_it_asks(links: Links) -> None:
    await links.link("spring")
    answers = [await links.open(f"guess{number}") for number in range(30)]
    statuses = [answer.status for answer in answers]
    assert statuses[:10] == [404] * 10
    assert statuses[10:] == [429] * 20
    assert answers[-1].header("retry-after") == "2"
    problem(await links.open("spring"), 429, "rate_limited")  # else a right guess would show
    links.shop.move(seconds=2)
    assert (await links.open("spring")).status == 302


async def test_a_dead_link_that_many_follow_does_not_close_the_others(links: Links) -> None:
    await links.link("spring")
    for _ in range(40):
        assert (await links.open("misprinted")).status == 404
    assert (await links.open("spring")).status == 302


FORBIDDEN: Final = (
    "//evil.example", "/\\evil.example", "https:evil.example", "javascript:alert(1)", "data:text/html,x",
    "https://ok.shop.example@evil.example", "https://evil.example/", "https://www.shop.example.evil.example/",
    "https://www.shop.example/\r\nSet-Cookie: a=b", "https://www.shop.example/%0d%0aSet-Cookie:a=b",
    "https://www.sh\u043ep.example/", "https://www.shop.example/" + "x" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("target", FORBIDDEN)
async def test_row_27_no_request_chooses_where_a_link_leads(links: Links, target: str) -> None:
    await links.link("spring")
    for name in ("target", "url", "redir_url", "to", "next"):
        said = await links.open(f"spring?{name}={quote(target, safe='')[:1_500]}")
        assert urlsplit(said.header("location") or "").netloc == "www.shop.example"


@pytest.mark.parametrize("target", FORBIDDEN)
async def test_row_27_a_signed_target_of_a_wrong_shape_is_refused(links: Links, target: str) -> None:
    await links.link("spring")
    house = links.shop.gateway.house
    if target.startswith("https://") and "evil" in target and "@" not in target:
        return  # signed by the owner, any host will do
    with pytest.raises(Refusal):
        signed_path(house, house.by_id["shop"], "spring", target, NOW_MS // 1000 + 60)
    said = await links.open(f"-/spring?to={quote(target, safe='')[:1_500]}&exp=1&sig=00000000.{'A' * 43}")
    problem(said, 403, "target_signature_invalid")


async def test_row_27_a_target_the_settings_allow_no_more_is_not_followed(tmp_path: Path) -> None:
    async with running(tmp_path, shop=SITE) as shop:
        links = await links_of(shop)
        await links.link("away", target="https://partner.example/x")
        assert (await links.open("away")).status == 302
    async with running(tmp_path, shop={**SITE, "links": {"hosts": [LINK_HOST]}}) as shop:
        said = await Links(shop, "").open("away")
        problem(said, 400, "target_invalid")
        assert shop.count("touch") == 1


async def test_row_28_a_signed_target_is_followed_and_counted_for_its_link(links: Links) -> None:
    link = await links.link("spring")
    house = links.shop.gateway.house
    target = "https://elsewhere.example/a?b=c+d&e=%C3%A9#f"
    path = signed_path(house, house.by_id["shop"], "Spring", target, NOW_MS // 1000 + 60)
    for said in (await links.open(path), await links.open(f"/{path}", host=LINK_HOST)):
        assert said.header("location") == target.replace("#f", "&lid=spring#f")
    assert (links.last()["link_id"], links.last()["repeats"]) == (link["id"], 1)
    links.shop.move(seconds=61)
    problem(await links.open(path), 403, "target_signature_invalid")


async def test_row_28_one_byte_changed_anywhere_in_a_signed_target_is_refused(links: Links) -> None:
    await links.link("spring")
    await links.link("spring2")
    house = links.shop.gateway.house
    path = signed_path(house, house.by_id["shop"], "spring", "https://elsewhere.example/a", NOW_MS // 1000 + 60)
    changed = [path[:at] + chr(ord(path[at]) ^ 1) + path[at + 1 :] for at in range(path.index("spring"), len(path))]
    changed += [
        path.replace("spring", "spring2"),
        f"{path}&to=https://evil.example/",
        path.replace("&exp", "&EXP"),
        f"{path}&{path.rpartition('&')[2]}",
    ]
    for other in changed:
        if " " in other or "#" in other:
            continue  # not a request line any more, or cut off by a fragment
        said = await links.open(other)
        assert (said.status, said.header("location")) in {(403, None), (404, None)}, other
    assert links.touches() == []


async def signed(links: Links, link: dict[str, Any], **said: object) -> str:
    """The path of a signed address that the catalogue API made, as somebody opens it."""
    answer = await links.shop.api(f"/api/v1/links/{link['id']}/signed", said, links._key)
    assert answer.status == 201, answer
    assert answer.json()["target"] == said["target"]
    url = urlsplit(answer.json()["url"])
    assert (url.scheme, url.netloc) == ("https", LINK_HOST)
    return f"{url.path}?{url.query}"


async def test_a_signed_target_is_made_by_the_catalogue_clicked_and_over(links: Links) -> None:
    link = await links.link("spring")
    target = "https://elsewhere.example/a?b=c+d&e=%C3%A9#f"
    path = await signed(links, link, target=target, expires_at="2026-11-20T13:00:01+01:00")
    assert (await links.open(path, host=LINK_HOST)).status == 302
    path = await signed(links, link, target=target, days=1)
    said = await links.open(path, host=LINK_HOST)
    assert (said.status, said.header("location")) == (302, target.replace("#f", "&lid=spring#f"))
    assert links.last()["link_id"] == link["id"]
    problem(await links.open(path.replace("elsewhere", "elsewherf"), host=LINK_HOST), 403, "target_signature_invalid")
    problem(await links.open(path.replace("exp=1", "exp=2"), host=LINK_HOST), 403, "target_signature_invalid")
    links.shop.move(seconds=86_400)
    assert (await links.open(path, host=LINK_HOST)).status == 302
    links.shop.move(seconds=1)
    problem(await links.open(path, host=LINK_HOST), 403, "target_signature_invalid")


@pytest.mark.parametrize(
    ("added", "carried"),
    [
        ("&amount=9999", ""),
        ("&AMOUNT=9999", ""),
        ("&%61mount=9999", ""),
        ("&+amount=9999", ""),
        ("&next=https://evil.example/", ""),
        ("&utm_source=mail", "&utm_source=mail"),
        ("&gclid=Abc-1&next=x", "&gclid=Abc-1"),
        ("&utm_term=evil", ""),
    ],
)
async def test_row_28_nothing_of_a_signed_target_can_be_replaced_by_who_opens_it(
    links: Links, added: str, carried: str
) -> None:
    target = "https://partner.example/pay?order=1&amount=5&utm_term=own"
    path = await signed(links, await links.link("spring"), target=target, days=1)
    said = await links.open(path + added, host=LINK_HOST)
    assert (said.status, said.header("location")) == (302, f"{target}{carried}&lid=spring")


async def test_a_target_signed_for_one_site_is_worth_nothing_on_another(links: Links) -> None:
    await links.link("spring")
    key = str((await links.shop.new_key(sites=("kiosk",), rights=("manage",)))["key"])
    fields = {"code": "spring", "target": f"https://{OTHER_HOST}/"}
    made = await links.shop.api("/api/v1/links", fields, key, host=OTHER_HOST)
    assert made.status == 201, made
    asked = {"target": "https://elsewhere.example/"}
    path = f"/api/v1/links/{made.json()['link']['id']}/signed"
    answer = await links.shop.api(path, asked, key, host=OTHER_HOST)
    url = urlsplit(answer.json()["url"])
    assert (await links.open(f"{url.path}?{url.query}", host=OTHER_HOST)).status == 302
    problem(await links.open(f"{url.path}?{url.query}"), 403, "target_signature_invalid")
    refused_with(await links.shop.api(path, asked, links._key), 404, "entry_unknown")
    refused_with(await links.shop.api(path, asked, key), 401, "key_invalid")


@pytest.mark.parametrize(
    ("said", "status", "code", "field"),
    [
        ({}, 400, "field_missing", "target"),
        ({"target": 1}, 400, "field_type", "target"),
        ({"target": "javascript:alert(1)"}, 400, "target_invalid", "target"),
        ({"target": "https://x.example/" + "a" * 2_048}, 400, "field_too_long", "target"),
        ({"target": "https://x.example/?to=jane@shop.example"}, 400, "field_personal", "target"),
        ({"target": TARGET, "expires_at": "2026-12-01 10:00"}, 400, "time_invalid", "expires_at"),
        ({"target": TARGET, "expires_at": NOW_MS}, 400, "field_invalid", "expires_at"),
        ({"target": TARGET, "expires_at": NOW_MS + 401 * 86_400_000}, 400, "field_invalid", "expires_at"),
        ({"target": TARGET, "days": 0}, 400, "field_invalid", "days"),
        ({"target": TARGET, "days": 401}, 400, "field_invalid", "days"),
        ({"target": TARGET, "days": 1, "expires_at": NOW_MS + 1}, 400, "field_unknown", "days"),
        ({"target": TARGET, "until": 1}, 400, "field_unknown", "until"),
    ],
)
async def test_what_cannot_be_signed_is_refused(
    links: Links, said: dict[str, object], status: int, code: str, field: str
) -> None:
    link = await links.link("spring")
    answer = await links.shop.api(f"/api/v1/links/{link['id']}/signed", said, links._key)
    refused_with(answer, status, code, field)


async def test_a_link_that_is_over_or_put_away_signs_nothing(links: Links) -> None:
    gone = await links.link("gone")
    headers = {"Authorization": f"Bearer {links._key}"}
    assert (await links.shop.send("DELETE", f"/api/v1/links/{gone['id']}", headers=headers)).status == 200
    refused_with(
        await links.shop.api(f"/api/v1/links/{gone['id']}/signed", {"target": TARGET}, links._key), 410, "link_expired"
    )
    link = await links.link("spring", expires_at=NOW_MS + 1_000)
    links.shop.move(seconds=1)
    refused_with(
        await links.shop.api(f"/api/v1/links/{link['id']}/signed", {"target": TARGET}, links._key), 410, "link_expired"
    )


# ------------------------------------------------------------------ capitals


async def test_an_address_in_capitals_opens_the_same_link(links: Links) -> None:
    """QR codes are smaller where the whole address is in capitals."""
    link = await links.link("spring")
    for path, host in (("/L/SPRING", HOST.upper()), ("/SPRING", LINK_HOST.upper())):
        assert parameters(await links.open(path, host=host)) == {"lid": "spring"}
    assert {(touch["link_id"], touch["repeats"]) for touch in links.touches()} == {(link["id"], 1)}
    problem(await links.open("/L/NOTHING"), 404, "link_unknown")
    assert (await links.open("/L/")).status == 404
    assert (await links.open("/L/SPRING", method="HEAD")).status == 302
    assert (await links.open("/L/SPRING", method="POST")).status == 405


# ------------------------------------------------------------------ link hosts


async def test_a_link_host_serves_links_and_nothing_else(links: Links) -> None:
    await links.link("spring")
    for host in (LINK_HOST, LINK_HOST.upper(), f"{LINK_HOST}:443", f"{LINK_HOST}."):
        assert (await links.open("/spring", host=host)).status == 302
    for path in ("/gw.js", "/collect", "/privacy", "/p.gif", "/l/spring", "/", "/robots.txt", "/favicon.ico"):
        said = await links.open(path, host=LINK_HOST)
        assert (said.status, said.header("set-cookie")) == (404, None), path
    stored = links.shop.everything_stored()
    for method, path in (("POST", "/collect"), ("POST", "/spring"), ("POST", "/consent"), ("OPTIONS", "/collect")):
        said = await links.shop.send(
            method, path, host=LINK_HOST, body={"name": "page_view"} if method == "POST" else None
        )
        assert (said.status, said.code) == (404, "route_unknown"), (method, path)
    assert links.shop.everything_stored() == stored


async def test_on_the_sites_own_host_only_get_and_head_open_links(links: Links) -> None:
    await links.link("spring")
    said = await links.open("spring", method="POST")
    assert (said.status, said.header("allow")) == (405, "GET, HEAD")
    assert links.touches() == []


async def test_a_link_of_one_site_is_unknown_on_another(links: Links) -> None:
    await links.link("spring")
    problem(await links.open("spring", host="t.kiosk.example"), 404, "link_unknown")


# ------------------------------------------------------------------ what is shown of a link


async def test_slug_plus_shows_where_a_link_leads_and_counts_nothing(links: Links) -> None:
    await links.link("spring", title="Spring <b>sale</b>")
    for path, host in (("spring+", HOST), ("/spring+", LINK_HOST), ("spring%2B", HOST)):
        said = await links.open(path, host=host, Accept_Language="de")
        text = said.body.decode()
        assert said.status == 200
        assert TARGET in text
        assert "Nur wenn Sie auf der Website" in text  # what opening it leaves behind, in words
        assert "<b>sale" not in text
        assert "script" not in text
    assert links.touches() == []


HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "</script>",
    "a\u2028b",
    "javascript:x",
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_row_34_a_preview_shows_hostile_text_as_text(links: Links, text: str) -> None:
    made = await links.shop.api(
        "/api/v1/links",
        {"code": "p", "target": TARGET, "preview": {"title": f"T {text}", "description": f"D {text}"}},
        links._key,
    )
    if made.status != 201:
        assert made.status == 400  # refused where it is saved: then it is shown nowhere
        return
    said = await links.open("p", agent=UNFURLER)
    page = said.body.decode()
    assert said.status == 200
    assert (
        f'<meta property="og:title" content="T {html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}">'
        in page
    )
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in page.partition("<main>")[2]
    assert "default-src 'none'" in (said.header("content-security-policy") or "")


async def test_unfurlers_see_the_preview_and_people_the_page(links: Links) -> None:
    preview = {"title": "Half price", "description": "Today", "image": "https://www.shop.example/a.png"}
    await links.link("spring", preview=preview)
    said = await links.open("spring", agent=UNFURLER)
    text = said.body.decode()
    for name, value in (("title", "Half price"), ("description", "Today"), ("image", "https://www.shop.example/a.png")):
        assert f'<meta property="og:{name}" content="{value}">' in text
    assert f'<meta property="og:url" content="https://{HOST}/l/spring">' in text
    assert links.last()["human"] == "no"
    assert (await links.open("spring")).status == 302
    assert (await links.open("spring?preview")).status == 200
    assert [touch["human"] for touch in links.touches()] == ["no", "yes"]


async def test_a_preview_can_be_switched_off(tmp_path: Path) -> None:
    async with running(tmp_path, shop={**SITE, "links": {"preview": False}}) as shop:
        links = await links_of(shop)
        await links.link("spring", preview={"title": "Half price"})
        assert (await links.open("spring", agent=UNFURLER)).status == 302


async def test_a_qr_code_may_be_kept_and_asked_for_again(links: Links) -> None:
    await links.link("poster")
    said = await links.open("/poster/qr.svg?level=H&scale=2", host=LINK_HOST)
    assert (said.status, said.header("content-type")) == (200, "image/svg+xml")
    assert (said.header("cache-control"), b"<script" in said.body) == ("public, max-age=3600", False)
    tag = said.header("etag") or ""
    again = await links.open("/poster/qr.svg?level=H&scale=2", host=LINK_HOST, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    head = await links.open("poster/qr.png", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert links.touches() == []


@pytest.mark.parametrize(
    "query", ["level=X", "scale=0", "scale=21", "scale=999999", "scale=x", "scale=-1", "scale=%C2%B2"]
)
async def test_a_qr_code_of_no_reasonable_size_is_refused(links: Links, query: str) -> None:
    await links.link("poster")
    problem(await links.open(f"poster/qr.png?{query}"), 400, "field_invalid")


# ------------------------------------------------------------------ when the store does not work


@pytest.mark.usefixtures("impatient")
async def test_a_slow_store_does_not_hold_a_visitor_up_and_no_click_is_stored_twice(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()

    def at_the_gate() -> None:
        gate.wait(10)

    async with running(tmp_path, shop=SITE, after_commit=at_the_gate) as shop:
        links = await links_of(shop)
        await links.link("spring")
        assert (await links.open("spring?no-track")).status == 302  # now the link is in memory
        gate.clear()
        async with asyncio.timeout(2):
            said = await links.open("spring")
        assert said.status == 302
        assert shop.gateway.house.spool.waiting == 1
        spooled = (tmp_path / "data" / "clicks.spool").read_bytes()
        assert b"spring" not in spooled  # sealed
        assert metric(shop, "gateway_clicks_not_stored_in_time_total", site="shop", what="click", reason="slow") == 1
        gate.set()
        await until(lambda: shop.gateway.house.spool.waiting == 0)
        assert len(links.touches()) == 1
        assert metric(shop, "gateway_clicks_restored_total", outcome="known") == 1


async def test_a_click_made_while_the_store_was_down_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, shop=SITE) as shop:
        links = await links_of(shop)
        link = await links.link("spring")
        assert (await links.open("spring?no-track")).status == 302
        await shop.gateway.house.store.close()
        for agent in (AGENT, IPHONE):
            said = await links.open("spring", agent=agent, Cookie=links.cookie(visitor="v" * 22))
            assert "cid" in parameters(said)
        assert shop.gateway.house.spool.waiting == 2
    async with running(tmp_path, shop=SITE) as shop:
        links = Links(shop, "")
        await until(lambda: len(links.touches()) == 2)
        assert {(touch["link_id"], touch["device"]) for touch in links.touches()} == {
            (link["id"], "desktop"), (link["id"], "mobile"),
        }  # fmt: skip
        assert {touch["visitor_key"] for touch in links.touches()} == {
            None
        }  # erasing somebody looks for nobody in a file
        await until(lambda: not list((tmp_path / "data").glob("clicks.spool*")))


@pytest.mark.usefixtures("impatient")
async def test_a_locked_store_does_not_hold_a_visitor_up(links: Links) -> None:
    await links.link("spring")
    await links.open("spring?no-track")
    database = links.shop.directory / "data" / app.DATABASE
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("begin immediate")
        async with asyncio.timeout(2):
            assert (await links.open("spring")).status == 302
        assert links.touches() == []
        db.execute("rollback")
    await until(lambda: len(links.touches()) == 1)
    await until(lambda: links.shop.gateway.house.spool.waiting == 0)
    assert len(links.touches()) == 1


async def test_a_click_that_nothing_takes_is_answered_and_counted_as_lost(tmp_path: Path) -> None:
    async with running(tmp_path, shop=SITE) as shop:
        links = await links_of(shop)
        await links.link("spring")
        await links.open("spring?no-track")
        await shop.gateway.house.store.close()
        shop.gateway.house.spool._lines_max = 0
        assert (await links.open("spring")).status == 302
        assert metric(shop, "gateway_clicks_lost_total", site="shop") == 1
        assert shop.log("clicks_lost")


# ------------------------------------------------------------------ settings


WRONG_SETTINGS: Final = {
    "a host of the site": ({"hosts": [HOST]}, "t.shop.example is a host of site shop already"),
    "a host of another site": ({"hosts": ["t.kiosk.example"]}, "t.kiosk.example is a host of site kiosk already"),
    "a name of a platform": ({"click_parameter": "gclid"}, "click_parameter: this name has a meaning already"),
    "a name of a campaign": ({"code_parameter": "utm_id"}, "code_parameter: this name has a meaning already"),
    "a reserved name": ({"via_parameter": "qr"}, "via_parameter: this name has a meaning already"),
    "a part of a signature": ({"via_parameter": "sig"}, "via_parameter: this name has a meaning already"),
    "one name for two": ({"via_parameter": "cid"}, "need different names"),
    "upper case": ({"click_parameter": "Cid"}, "click_parameter"),
    "a sign": ({"click_parameter": "c-id"}, "click_parameter"),
    "another word": ({"click_id": "never"}, "click_id"),
    "an unknown key": ({"host": ["x.example"]}, "host"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
async def test_settings_of_links_that_cannot_work_refuse_to_start(tmp_path: Path, case: str) -> None:
    links, told = WRONG_SETTINGS[case]
    with pytest.raises(SettingsError) as refused:
        async with running(tmp_path, shop={"links": links}):
            pass
    assert any(told in problem for problem in refused.value.problems), refused.value.problems


async def test_two_sites_cannot_share_a_link_host(tmp_path: Path) -> None:
    both = {"links": {"hosts": [LINK_HOST]}}
    with pytest.raises(SettingsError) as refused:
        async with running(tmp_path, shop=both, kiosk=both):
            pass
    assert refused.value.problems == [f"site shop: links: hosts: {LINK_HOST} serves the links of site kiosk already"]


def metric(shop: Running, name: str, **labels: str) -> float:
    return shop.gateway.house.telemetry.registry.get_sample_value(name, labels) or 0.0


async def until(holds: Any, seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")
