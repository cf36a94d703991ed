"""The catalogue over HTTP: what an operator sets up, row by row of the checklist, over real sockets and a real database."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.attribution.registry import MODELS
from gateway.catalogue import KINDS
from gateway.conversions import goals
from gateway.errors import StoreBusy
from gateway.event import Person, Personal
from gateway.flows import repeating
from gateway.flows.catalogue_reading import HISTORY_MAX, KIND_OF
from gateway.flows.convert import person_key
from gateway.flows.shelves import Shelf
from gateway.times import DAY_MS
from tests.handlers.conftest import UNLIMITED
from tests.support.running import HOST, NOW_MS, OTHER_HOST, Running, Said, refused_with, running, signature

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGET: Final = "https://www.shop.example/sale"
PLURALS: Final = tuple(KIND_OF)
IDS: Final = {"campaign": "cmp", "link": "lnk", "ambassador": "amb", "coupon": "cpn", "goal": "goal"}


class Caller:
    """Somebody with an API key that has the right `manage`. `says` is a test's own name, so that codes do not meet."""

    def __init__(self, shop: Running, key: str, host: str = HOST) -> None:
        self.shop = shop
        self._key = key
        self._host = host

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Said:
        named: dict[str, str | bytes] = {"Authorization": f"Bearer {self._key}"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.shop.send(method, f"/api/v1/{path}", headers=named, body=body, host=self._host)

    async def make(self, plural: str, **fields: Any) -> dict[str, Any]:
        """Make an entry. Answers it with what stands beside it."""
        said = await self.ask("POST", plural, fields)
        assert said.status == 201, (said.status, said.body)
        found: dict[str, Any] = said.json()
        return found

    async def entry(self, plural: str, **fields: Any) -> dict[str, Any]:
        """Make an entry. Answers it alone."""
        found: dict[str, Any] = (await self.make(plural, **fields))[KIND_OF[plural]]
        return found

    async def seen(self, plural: str, entry_id: str) -> dict[str, Any]:
        """An entry as it is told now."""
        said = await self.ask("GET", f"{plural}/{entry_id}")
        assert said.status == 200, said.body
        found: dict[str, Any] = said.json()[KIND_OF[plural]]
        return found

    async def campaign(self, **fields: Any) -> dict[str, Any]:
        return await self.entry("campaigns", **{"name": "Summer", **fields})

    @property
    def shelf(self) -> Shelf:
        return self.shop.gateway.house.shelves["shop"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(shared: Running) -> Caller:
    return Caller(shared, (await shared.new_key(rights=("manage",)))["key"])


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(tmp_path: Path) -> AsyncIterator[Caller]:
    """A caller of a gateway of its own, for what concerns the whole site."""
    async with running(tmp_path, limits=UNLIMITED) as shop:
        yield Caller(shop, (await shop.new_key(rights=("manage",)))["key"])


# ------------------------------------------------------------------ who may


@pytest.mark.parametrize("plural", [*PLURALS, "conversions/goals"])
async def test_only_a_key_with_the_right_to_manage_may(shared: Running, plural: str) -> None:
    path = f"/api/v1/{plural}"
    weak = (await shared.new_key(rights=("events", "conversions", "consent", "reports")))["key"]
    elsewhere = (await shared.new_key(sites=("kiosk",), rights=("manage",)))["key"]
    for key, status, code in (
        (None, 401, "key_missing"),
        (weak, 403, "key_forbidden"),
        (elsewhere, 401, "key_invalid"),
    ):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for method in ("GET", "POST"):
            with shared.refusing(path, code):
                refused_with(await shared.send(method, path, headers=headers, body={}), status, code)


async def test_what_one_site_has_another_does_not(caller: Caller, shared: Running) -> None:
    other = Caller(shared, (await shared.new_key(sites=("kiosk",), rights=("manage",)))["key"], OTHER_HOST)
    campaign = await caller.campaign(code="both")
    refused_with(await other.ask("GET", f"campaigns/{campaign['id']}"), 404, "entry_unknown")
    refused_with(
        await other.ask("POST", "coupons", {"code": "X", "campaign_id": campaign["id"]}),
        400, "field_invalid", "campaign_id",
    )  # fmt: skip
    assert (await other.campaign(code="both"))["code"] == "both"


async def test_row_24_a_signed_change_is_taken_once(shared: Running) -> None:
    key = await shared.new_key(rights=("manage",), must_sign=True)
    body = json.dumps({"name": "Signed"}).encode()
    path = "/api/v1/campaigns"
    made = signature(
        key["signing_secret"], at_s=NOW_MS // 1000, nonce="nonce-cat-1", method="POST", path=path, body=body
    )
    headers = {"Authorization": f"Bearer {key['key']}", "X-Gateway-Signature": made}
    assert (await shared.send("POST", path, headers=headers, body=body)).status == 201
    refused_with(await shared.send("POST", path, headers=headers, body=body), 401, "key_invalid")
    del headers["X-Gateway-Signature"]
    refused_with(await shared.send("POST", path, headers=headers, body=body), 401, "key_invalid")


async def test_operators_do_the_same_by_the_admin_listener(shared: Running) -> None:
    base = "/api/admin/v1/catalogue/shop"
    made = await shared.admin("POST", f"{base}/campaigns", body={"name": "Winter"})
    assert made.status == 201
    campaign = made.json()["campaign"]
    changed = await shared.admin("PATCH", f"{base}/campaigns/{campaign['id']}?version=1", body={"name": "Spring"})
    assert changed.json()["campaign"]["name"] == "Spring"
    gone = await shared.admin("DELETE", f"{base}/campaigns/{campaign['id']}")
    assert gone.json()["campaign"]["archived"] is True
    refused_with(await shared.admin("GET", "/api/admin/v1/catalogue/nowhere/campaigns"), 404, "site_unknown")
    refused_with(await shared.admin("GET", f"{base}/horses"), 404, "route_unknown")
    refused_with(await shared.admin("GET", f"{base}/goals", headers={}), 401, "admin_token_invalid")


async def test_the_login_cookie_reads_the_catalogue_and_changes_nothing(shared: Running) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    login = await shared.admin("POST", "/login", headers=form, body=f"token={shared.token}".encode())
    cookie = {"Cookie": f"gwadmin={login.cookies()['gwadmin']}"}
    base = "/api/admin/v1/catalogue/shop/campaigns"
    assert (await shared.admin("GET", base, headers=cookie)).status == 200
    for method, path in (("POST", base), ("PATCH", f"{base}/x"), ("DELETE", f"{base}/x")):
        refused_with(await shared.admin(method, path, headers=cookie, body={}), 401, "admin_token_invalid")


# ------------------------------------------------------------------ making, changing, listing


MADE: Final[dict[str, dict[str, Any]]] = {
    "campaigns": {"name": "Autumn"},
    "links": {"target": TARGET},
    "ambassadors": {"name": "Berta"},
    "coupons": {"code": "AUTUMN"},
    "goals": {"name": "Autumn goal"},
}


async def made_of(caller: Caller, plural: str, **more: Any) -> dict[str, Any]:
    fields = MADE[plural] | more
    if plural in {"ambassadors", "coupons"}:
        fields["campaign_id"] = (await caller.campaign())["id"]
    return await caller.entry(plural, **fields)


@pytest.mark.parametrize("plural", PLURALS)
async def test_an_entry_is_made_shown_changed_and_put_out_of_use(fresh: Caller, plural: str) -> None:
    entry = await made_of(fresh, plural)
    assert re.fullmatch(rf"{IDS[KIND_OF[plural]]}_[a-z2-7]{{16}}", entry["id"])
    said = await fresh.ask("GET", f"{plural}/{entry['id']}")
    assert (said.status, said.header("etag")) == (200, '"1"')
    assert said.json()[KIND_OF[plural]] == entry
    word = {"links": "title", "coupons": "code"}.get(plural, "name")
    changed = (await fresh.ask("PATCH", f"{plural}/{entry['id']}", {word: "Another"})).json()[KIND_OF[plural]]
    assert (changed[word], changed["version"]) == ("Another", 2)
    gone = await fresh.ask("DELETE", f"{plural}/{entry['id']}")
    assert (gone.status, gone.json()[KIND_OF[plural]]["archived"], gone.header("etag")) == (200, True, '"3"')
    again = (await fresh.ask("DELETE", f"{plural}/{entry['id']}")).json()[KIND_OF[plural]]
    assert again["version"] == 3, "archiving what is archived changes nothing"
    versions = (await fresh.ask("GET", f"{plural}/{entry['id']}/versions")).json()["versions"]
    assert [(one["version"], one["archived"]) for one in versions] == [(3, True), (2, False), (1, False)]
    assert versions[2] == entry
    first = (await fresh.ask("GET", f"{plural}/{entry['id']}?version=1")).json()[KIND_OF[plural]]
    assert first == entry
    refused_with(await fresh.ask("GET", f"{plural}/{entry['id']}?version=9"), 404, "entry_unknown")


@pytest.mark.parametrize("plural", PLURALS)
async def test_what_is_shown_can_be_sent_back_and_changes_nothing(fresh: Caller, plural: str) -> None:
    entry = await made_of(fresh, plural)
    sent = {name: value for name, value in entry.items() if name not in {"kind", "id", "version", "changed_at"}}
    sent = {name: value for name, value in sent.items() if name not in {"token_set", "email_set"}}
    said = await fresh.ask("PATCH", f"{plural}/{entry['id']}", sent)
    assert said.json()[KIND_OF[plural]] == entry


async def test_entries_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        caller = Caller(shop, (await shop.new_key(rights=("manage",)))["key"])
        campaign = await caller.campaign(code="Lasting", ambassadors=True)
        made = await caller.make("ambassadors", name="Carla", campaign_id=campaign["id"], code="Carla")
        await caller.entry("coupons", code="Carla10", campaign_id=campaign["id"])
        goal = await caller.make("goals", name="Kept")
    async with running(tmp_path) as shop:
        shelf = shop.gateway.house.shelves["shop"]
        assert shelf.campaigns_by_code["lasting"].id == campaign["id"]
        assert shelf.ambassadors[made["ambassador"]["id"]].name == "Carla"
        assert shelf.coupons["carla10"].campaign_id == campaign["id"]
        assert shelf.goals["kept"].id == goal["goal"]["id"]
        assert len(shelf.goals_by_token) == 1
        link = await shelf.link("carla")
        assert link is not None
        assert link.ambassador_id == made["ambassador"]["id"]
        assert shelf.version("goal", goal["goal"]["id"]) == 1


async def test_two_changes_of_one_version_do_not_both_hold(caller: Caller) -> None:
    link = await caller.entry("links", target=TARGET)
    path = f"links/{link['id']}"
    said = await asyncio.gather(
        caller.ask("PATCH", path, {"title": "One"}, If_Match='"1"'),
        caller.ask("PATCH", path, {"title": "Two"}, If_Match='"1"'),
    )
    assert sorted(one.status for one in said) == [200, 409]
    refused_with(next(one for one in said if one.status == 409), 409, "entry_stale")
    assert (await caller.seen("links", link["id"]))["version"] == 2


async def test_two_changes_at_once_without_a_version_do_not_undo_each_other(caller: Caller) -> None:
    link = await caller.entry("links", target=TARGET)
    path = f"links/{link['id']}"
    said = await asyncio.gather(
        *(caller.ask("PATCH", path, {field: "Both"}) for field in ("title", "channel", "recipient"))
    )
    assert {one.status for one in said} <= {200, 409}
    seen = await caller.seen("links", link["id"])
    kept = [field for field in ("title", "channel", "recipient") if seen[field] == "Both"]
    assert len(kept) == sum(one.status == 200 for one in said) == seen["version"] - 1


@pytest.mark.parametrize(("header", "query"), [('"7"', ""), (None, "?version=7"), ("7", "")])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_change_of_another_version_is_refused(
    caller: Caller, method: str, header: str | None, query: str
) -> None:
    campaign = await caller.campaign()
    headers = {"If_Match": header} if header else {}
    with caller.shop.refusing("/api/v1/campaigns/*", "entry_stale"):
        said = await caller.ask(method, f"campaigns/{campaign['id']}{query}", {"name": "New"}, **headers)
    refused_with(said, 409, "entry_stale")


@pytest.mark.parametrize(
    ("plural", "first", "second"),
    [
        ("campaigns", {"code": "Same", "name": "A"}, {"code": "sAME", "name": "B"}),
        ("links", {"code": "same-slug", "target": TARGET}, {"code": "SAME-slug", "target": TARGET}),
        ("goals", {"code": "same_goal", "name": "A"}, {"code": "same_goal", "name": "B"}),
        ("goals", {"name": "Same Name"}, {"name": "same name!"}),
    ],
)
async def test_a_code_is_given_once_without_regard_to_case(
    caller: Caller, plural: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    entry = await caller.entry(plural, **first)
    for archive in (False, True):
        if archive:
            await caller.ask("DELETE", f"{plural}/{entry['id']}")
        with caller.shop.refusing(f"/api/v1/{plural}", "code_taken"):
            refused_with(await caller.ask("POST", plural, second), 409, "code_taken", "code")


async def test_coupons_are_one_without_regard_to_case_and_outer_spaces(caller: Caller) -> None:
    campaign = await caller.campaign()
    await caller.entry("coupons", code="Straße 10", campaign_id=campaign["id"])
    for code in ("STRASSE 10", "  straße 10 "):
        said = await caller.ask("POST", "coupons", {"code": code, "campaign_id": campaign["id"]})
        refused_with(said, 409, "code_taken", "code")
    assert caller.shelf.coupons["strasse 10"].campaign_id == campaign["id"]


async def test_a_changed_code_is_found_and_the_old_one_is_not(caller: Caller) -> None:
    link = await caller.entry("links", target=TARGET, code="before")
    assert (await caller.shelf.link("before")) is not None
    await caller.ask("PATCH", f"links/{link['id']}", {"code": "after"})
    assert await caller.shelf.link("before") is None
    found = await caller.shelf.link("after")
    assert found is not None
    assert found.id == link["id"]


async def test_lists_come_in_pages_that_hold_everything_once(fresh: Caller) -> None:
    campaign = await fresh.campaign()
    made = {(await fresh.entry("links", target=TARGET, title=f"{n}"))["id"] for n in range(7)}
    mine = {(await fresh.entry("links", target=TARGET, campaign_id=campaign["id"]))["id"] for _ in range(3)}
    gone = (await fresh.entry("links", target=TARGET))["id"]
    await fresh.ask("DELETE", f"links/{gone}")
    for query, expected in (("", made | mine), ("&archived=true", made | mine | {gone})):
        seen: list[str] = []
        after = ""
        while True:
            page = (await fresh.ask("GET", f"links?limit=4{query}{after}")).json()
            seen += [link["id"] for link in page["links"]]
            assert len(page["links"]) <= 4
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == sorted(expected)
    found = (await fresh.ask("GET", f"links?campaign_id={campaign['id']}")).json()
    assert {link["id"] for link in found["links"]} == mine
    assert found["base_url"] == f"https://{HOST}/l/"


async def test_an_entry_is_found_by_its_code(caller: Caller) -> None:
    link = await caller.entry("links", target=TARGET, code="findme")
    found = (await caller.ask("GET", "links?code=FINDme")).json()["links"]
    assert [one["id"] for one in found] == [link["id"]]
    assert (await caller.ask("GET", "links?code=nothing-here")).json()["links"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("archived=yes", "archived"),
     ("campain_id=x", "campain_id"), ("%3Cscript%3E=1", None)],
)  # fmt: skip
async def test_a_list_is_asked_for_in_the_right_words(caller: Caller, query: str, field: str | None) -> None:
    said = await caller.ask("GET", f"links?{query}")
    refused_with(said, 400, "field_unknown" if field in {"campain_id", None} else "field_invalid", field)


@pytest.mark.parametrize("entry_id", ["x", "goal_aaaaaaaaaaaaaaaa", "%00", "'", "a" * 4_000, "%2e%2e", "..%2fkeys"])
async def test_what_does_not_exist_is_not_there(caller: Caller, entry_id: str) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/token")):
        with caller.shop.refusing("/api/v1/goals/*", "entry_unknown"):
            said = await caller.ask(method, f"goals/{entry_id}{path}", {} if method == "PATCH" else None)
        refused_with(said, 404, "entry_unknown")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "links/x"), ("POST", "goals/x/y"), ("GET", "links/x/snippet"), ("POST", "campaigns/batch"),
     ("GET", "goals/x/versions/1"), ("PATCH", "goals/x/token"), ("DELETE", "links/x/versions")],
)  # fmt: skip
async def test_what_nobody_offers_is_no_route(caller: Caller, method: str, path: str) -> None:
    refused_with(await caller.ask(method, path, {}), 404, "route_unknown")


BROKEN: Final[list[tuple[bytes, str, str | None]]] = [
    (b"", "json_invalid", None),
    (b"{", "json_invalid", None),
    (b"\xff", "json_invalid", None),
    (b'{"code":"\\ud800"}', "json_invalid", None),
    (b"[]", "field_type", None),
    (b'{"unheard":1}', "field_unknown", "unheard"),
    (b'{"archived":"yes"}', "field_type", "archived"),
]


@pytest.mark.parametrize("plural", PLURALS)
@pytest.mark.parametrize(("body", "code", "field"), BROKEN, ids=range(len(BROKEN)))
async def test_row_12_bodies_are_read_strictly(
    caller: Caller, plural: str, body: bytes, code: str, field: str | None
) -> None:
    with caller.shop.refusing(f"/api/v1/{plural}", code):
        refused_with(await caller.ask("POST", plural, body), 400, code, field)


async def test_row_13_deep_json_is_refused(caller: Caller) -> None:
    for path, body in (("links", b'{"target":' + b"[" * 100_000), ("links/batch", b'{"common":{"a":' + b"[" * 100_000)):
        said = await caller.ask("POST", path, body)
        assert said.status == 400
        assert said.code in {"field_type", "json_invalid", "json_too_deep"}
    await caller.shop.still_answers()


# ------------------------------------------------------------------ campaigns


async def test_e33_a_campaign_has_a_code_of_its_own_that_stays(caller: Caller) -> None:
    random = await caller.campaign()
    assert re.fullmatch(r"[a-z2-9]{8}", random["code"])
    chosen = await caller.campaign(code="Summer26")
    assert chosen["code"] == "Summer26"
    said = await caller.ask("PATCH", f"campaigns/{chosen['id']}", {"code": "other"})
    refused_with(said, 400, "field_invalid", "code")
    assert caller.shelf.campaigns_by_code["summer26"].id == chosen["id"]


async def test_e13_tracking_and_its_code_are_a_campaigns_own(caller: Caller) -> None:
    """Where a dashboard's campaign screen takes them from: the entry itself, and its snippet."""
    campaign = await caller.campaign()
    seen = await caller.seen("campaigns", campaign["id"])
    assert {"tracking", "domains", "code"} <= set(seen)
    assert (await caller.ask("GET", f"campaigns/{campaign['id']}/snippet")).status == 200


async def test_e14_conversion_tracking_is_off_until_it_is_turned_on(caller: Caller) -> None:
    campaign = await caller.campaign()
    assert campaign["tracking"] is False
    snippet = (await caller.ask("GET", f"campaigns/{campaign['id']}/snippet")).json()
    assert "off" in snippet["note"]
    await caller.ask("PATCH", f"campaigns/{campaign['id']}", {"tracking": True})
    assert caller.shelf.campaigns[campaign["id"]].tracking is True
    assert (await caller.ask("GET", f"campaigns/{campaign['id']}/snippet")).json()["note"] is None


class Elements(HTMLParser):
    """Elements of a piece of HTML, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def snippet_of(caller: Caller, goal: str | None = None, **fields: Any) -> dict[str, Any]:
    campaign = await caller.campaign(tracking=True, **fields)
    query = f"?goal={goal}" if goal else ""
    said = await caller.ask("GET", f"campaigns/{campaign['id']}/snippet{query}")
    assert said.status == 200, said.body
    return {**said.json(), "code": campaign["code"]}


async def test_e15_the_snippet_has_the_campaigns_code_and_the_sites_host_filled_in(caller: Caller) -> None:
    found = await snippet_of(caller)
    ((tag, attributes),) = Elements(found["automatic"]).found
    assert tag == "script"
    assert attributes["src"] == f"https://{HOST}/gw.js"
    assert attributes["data-campaign"] == found["code"] == found["campaign"]["code"]


async def test_e16_the_automatic_snippet_records_as_the_page_loads(caller: Caller) -> None:
    found = await snippet_of(caller)
    ((_, attributes),) = Elements(found["automatic"]).found
    assert attributes["data-event"] == "purchase"
    assert "data-mode" not in attributes
    assert "data-value" not in attributes, "an empty amount would be refused"


async def test_e17_the_snippet_says_on_which_page_it_belongs(caller: Caller) -> None:
    found = await snippet_of(caller)
    assert any("after the action" in place for place in found["places"])
    assert any("reload" in place for place in found["places"])


async def test_e18_the_manual_snippet_records_nothing_until_it_is_called(caller: Caller) -> None:
    found = await snippet_of(caller, goal="sign_up")
    page = Elements(found["manual"])
    assert page.found[0][1]["data-mode"] == "manual"
    assert "data-event" not in page.found[0][1]
    assert f'gateway.push(["track", "sign_up", {{ campaign: "{found["code"]}" }}])' in page.text


async def test_k01_the_image_works_without_script(caller: Caller) -> None:
    found = await snippet_of(caller, goal="sign_up")
    (noscript, image) = Elements(found["image"]).found
    assert (noscript[0], image[0]) == ("noscript", "img")
    assert image[1]["src"] == f"https://{HOST}/p.gif?name=sign_up&campaign={found['code']}"


async def test_a_snippet_is_for_a_goal_the_site_has(caller: Caller) -> None:
    campaign = await caller.campaign()
    said = await caller.ask("GET", f"campaigns/{campaign['id']}/snippet?goal=%3Cscript%3E")
    refused_with(said, 400, "goal_unknown", "goal")


async def test_e19_a_campaign_has_domains_that_may_send(caller: Caller) -> None:
    campaign = await caller.campaign(domains=["shop.example.com"])
    assert caller.shelf.campaigns[campaign["id"]].domains == ("shop.example.com",)
    assert (await snippet_of(caller, domains=["other.example"]))["domains"] == ["other.example"]


async def test_e20_domains_are_written_one_a_line_and_blank_lines_count_for_nothing(caller: Caller) -> None:
    campaign = await caller.campaign(domains="example.com\n\n  shop.example.org  \n")
    assert campaign["domains"] == ["example.com", "shop.example.org"]


async def test_e21_only_a_domain_can_be_listed(caller: Caller) -> None:
    """What a domain allows is the business of whoever counts conversions; here only domains can be written down."""
    for text in ("https://example.com", "*.example.com", "exa mple.com", "example.com/x", "exam\u212ale.com"):
        said = await caller.ask("POST", "campaigns", {"name": "A", "domains": ["a.example", text]})
        refused_with(said, 400, "field_invalid", "domains[1]")


async def test_e22_a_subdomain_alone_can_be_listed(caller: Caller) -> None:
    assert (await caller.campaign(domains=["shop.example.com"]))["domains"] == ["shop.example.com"]


async def test_e23_the_case_of_a_listed_domain_does_not_matter(caller: Caller) -> None:
    assert (await caller.campaign(domains=["EXAMPLE.com"]))["domains"] == ["example.com"]


async def test_e24_no_domain_listed_means_the_sites_own_and_is_shown(caller: Caller) -> None:
    assert (await snippet_of(caller))["domains"] == ["shop.example"]


# ------------------------------------------------------------------ ambassadors


async def test_e06_an_ambassador_gets_a_share_link_of_the_campaign(caller: Caller) -> None:
    campaign = await caller.campaign()
    made = await caller.make("ambassadors", name="Anna", campaign_id=campaign["id"], code="Anna")
    ambassador, link = made["ambassador"], made["link"]
    assert (link["campaign_id"], link["ambassador_id"]) == (campaign["id"], ambassador["id"])
    assert link["code"] == ambassador["code"] == "anna"
    assert made["url"] == f"https://{HOST}/l/anna"
    assert link["target"] == "https://shop.example/"
    found = await caller.shelf.link("anna")
    assert found is not None
    assert found.id == link["id"]
    listed = (await caller.ask("GET", f"links?ambassador_id={ambassador['id']}")).json()["links"]
    assert [one["id"] for one in listed] == [link["id"]]


async def test_e06_where_the_share_link_leads_can_be_said(caller: Caller) -> None:
    campaign = await caller.campaign()
    made = await caller.make("ambassadors", name="Bea", campaign_id=campaign["id"], target=TARGET)
    assert made["link"]["target"] == TARGET
    fields = {"name": "Cleo", "campaign_id": campaign["id"]}
    for target, code in ((7, "field_type"), ("https://evil.example/", "target_invalid"), ("", "field_invalid")):
        with caller.shop.refusing("/api/v1/ambassadors", code):
            refused_with(await caller.ask("POST", "ambassadors", {**fields, "target": target}), 400, code, "target")


async def test_an_ambassador_whose_code_is_a_links_slug_is_not_made(caller: Caller) -> None:
    campaign = await caller.campaign(ambassadors=True)
    await caller.entry("links", target=TARGET, code="dora")
    with caller.shop.refusing("/api/v1/ambassadors", "code_taken"):
        said = await caller.ask("POST", "ambassadors", {"name": "Dora", "campaign_id": campaign["id"], "code": "Dora"})
    refused_with(said, 409, "code_taken", "code")


async def test_of_two_ambassadors_of_one_code_at_once_one_is_made_with_one_link(caller: Caller) -> None:
    campaign = await caller.campaign(ambassadors=True)
    fields = {"name": "Emma", "campaign_id": campaign["id"], "code": "emma"}
    said = await asyncio.gather(*(caller.ask("POST", "ambassadors", fields) for _ in range(4)))
    assert sorted(one.status for one in said) == [201, 409, 409, 409]
    assert {one.code for one in said if one.status == 409} == {"code_taken"}
    links = (await caller.ask("GET", f"links?campaign_id={campaign['id']}")).json()["links"]
    ambassadors = (await caller.ask("GET", f"ambassadors?campaign_id={campaign['id']}")).json()["ambassadors"]
    assert [link["ambassador_id"] for link in links] == [one["id"] for one in ambassadors]


async def test_the_address_of_an_ambassador_is_kept_as_a_keyed_digest_only(caller: Caller) -> None:
    campaign = await caller.campaign()
    fields = {"name": "Finn", "campaign_id": campaign["id"], "email": "Finn.Canary@shop.example "}
    made = await caller.make("ambassadors", **fields)
    assert made["ambassador"]["email_set"] is True
    house = caller.shop.gateway.house
    buyer = person_key(house, house.by_id["shop"], Person(email=(Personal("finn.canary@SHOP.example"),)))
    assert caller.shelf.ambassadors[made["ambassador"]["id"]].person_key == buyer, "their own orders are recognised"
    assert buyer is not None
    on_disk = b"".join(path.read_bytes() for path in (caller.shop.directory / "data").iterdir() if path.is_file())
    assert b"canary@shop" not in on_disk.lower()
    assert "anary@shop" not in caller.shop.log_text
    assert "canary" not in json.dumps(made).lower()


async def test_e08_the_windows_of_a_site_with_ambassadors_are_90_days(fresh: Caller) -> None:
    usual = await fresh.entry("goals", preset="purchase")
    chosen = await fresh.entry("goals", name="Short", click_window_days=7)
    assert (usual["click_window_days"], chosen["click_window_days"]) == (30, 7)
    assert fresh.shelf.implied_goal("sign_up").click_window_ms == 30 * DAY_MS
    made = await fresh.make("campaigns", name="Friends", ambassadors=True)
    assert made["windows_set"] == ["purchase"]
    assert (await fresh.seen("goals", usual["id"]))["click_window_days"] == 90
    assert (await fresh.seen("goals", chosen["id"]))["click_window_days"] == 7
    assert (await fresh.entry("goals", name="Later"))["click_window_days"] == 90
    assert (await fresh.entry("goals", name="Said", click_window_days=30))["click_window_days"] == 30
    assert fresh.shelf.implied_goal("sign_up").click_window_ms == 90 * DAY_MS
    assert fresh.shelf.implied_goal("anything_else").click_window_ms == 90 * DAY_MS


async def test_the_first_ambassador_makes_the_campaign_one_with_ambassadors(fresh: Caller) -> None:
    await fresh.entry("goals", preset="sign_up")
    campaign = await fresh.campaign()
    made = await fresh.make("ambassadors", name="Gina", campaign_id=campaign["id"])
    assert made["windows_set"] == ["sign_up"]
    assert (await fresh.seen("campaigns", campaign["id"]))["ambassadors"] is True
    second = await fresh.make("ambassadors", name="Hugo", campaign_id=campaign["id"])
    assert second["windows_set"] == []


async def test_a_campaign_that_gets_ambassadors_later_sets_the_windows_then(fresh: Caller) -> None:
    await fresh.entry("goals", preset="sign_up")
    campaign = await fresh.campaign()
    said = await fresh.ask("PATCH", f"campaigns/{campaign['id']}", {"ambassadors": True})
    assert said.json()["windows_set"] == ["sign_up"]


# ------------------------------------------------------------------ what belongs together


async def test_what_an_entry_belongs_to_must_exist_and_belong_together(caller: Caller) -> None:
    ours, theirs = await caller.campaign(), await caller.campaign()
    anna = await caller.entry("ambassadors", name="Ines", campaign_id=ours["id"])
    gone = await caller.campaign()
    await caller.ask("DELETE", f"campaigns/{gone['id']}")
    link = {"target": TARGET}
    for plural, fields, field in (
        ("links", {**link, "campaign_id": "cmp_aaaaaaaaaaaaaaaa"}, "campaign_id"),
        ("links", {**link, "campaign_id": gone["id"]}, "campaign_id"),
        ("links", {**link, "ambassador_id": "amb_aaaaaaaaaaaaaaaa"}, "ambassador_id"),
        ("links", {**link, "campaign_id": theirs["id"], "ambassador_id": anna["id"]}, "ambassador_id"),
        ("coupons", {"code": "T1", "campaign_id": theirs["id"], "ambassador_id": anna["id"]}, "ambassador_id"),
        ("coupons", {"code": "T2", "campaign_id": gone["id"]}, "campaign_id"),
        ("ambassadors", {"name": "Jana", "campaign_id": gone["id"]}, "campaign_id"),
    ):
        with caller.shop.refusing(f"/api/v1/{plural}", "field_invalid"):
            refused_with(await caller.ask("POST", plural, fields), 400, "field_invalid", field)
    filled = await caller.entry("links", target=TARGET, ambassador_id=anna["id"])
    assert filled["campaign_id"] == ours["id"], "an ambassador's link is of the ambassador's campaign"
    said = await caller.ask("PATCH", f"ambassadors/{anna['id']}", {"campaign_id": theirs["id"]})
    refused_with(said, 400, "field_invalid", "campaign_id")


async def test_an_entry_of_an_archived_campaign_can_still_be_changed(caller: Caller) -> None:
    campaign = await caller.campaign()
    link = await caller.entry("links", target=TARGET, campaign_id=campaign["id"])
    await caller.ask("DELETE", f"campaigns/{campaign['id']}")
    said = await caller.ask("PATCH", f"links/{link['id']}", {"title": "Still here"})
    assert said.status == 200


# ------------------------------------------------------------------ links


async def test_r21_every_link_has_an_id_and_a_code_that_are_its_own(caller: Caller) -> None:
    links = [await caller.entry("links", target=TARGET) for _ in range(20)]
    assert len({link["id"] for link in links}) == len({link["code"] for link in links}) == 20


async def test_r49_a_link_adds_campaign_parameters_by_its_channel(caller: Caller) -> None:
    for channel, source, medium in (
        ("email", "email", "email"),
        ("social", "", "social"),
        ("sms", "sms", "sms"),
        ("qr", "qr", "qr"),
        ("ad", "", "cpc"),
        ("Email", "email", "email"),
        ("flyer", "", ""),
        ("", "", ""),
    ):
        utm = (await caller.entry("links", target=TARGET, channel=channel))["utm"]
        assert (utm["source"], utm["medium"]) == (source, medium), channel


async def test_r49_what_the_owner_says_of_parameters_wins(caller: Caller) -> None:
    for said, expected in (
        ({"source": "newsletter"}, ("newsletter", "email")),
        ({"medium": ""}, ("email", "")),
        ({"source": "a", "medium": "b", "campaign": "c", "id": "d"}, ("a", "b")),
        (None, ("", "")),
    ):
        utm = (await caller.entry("links", target=TARGET, channel="email", utm=said))["utm"]
        assert (utm["source"], utm["medium"]) == expected
    campaign = await caller.campaign(channel="sms", utm={"source": "spring"})
    assert (campaign["utm"]["source"], campaign["utm"]["medium"]) == ("spring", "sms")
    link = await caller.entry("links", target=TARGET, campaign_id=campaign["id"])
    assert (link["utm"]["source"], link["utm"]["medium"]) == ("", ""), "the campaign says both already"


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "words"),
    [
        ("POST", "goals", {"name": "A", "type": "win"}, "type", list(goals.CHOICES["type"])),
        ("POST", "goals", {"name": "A", "model": "lastclick"}, "model", list(MODELS)),
        ("POST", "goals", {"preset": "purchaze"}, "preset", list(goals.PRESETS)),
        ("GET", "goals/presets?business=farm", None, "business", ["shop", "service"]),
        ("GET", "links?archived=1", None, "archived", ["true", "false"]),
        (
            "POST", "conversions/goals", {"goal": {"name": "A", "goal_type": "lead"}}, "goal.goal_type",
            ["purchase", "signup", "download", "custom"],
        ),
        ("POST", "links/batch", {"links": [{"target": 1}]}, "links[0].target", None),
    ],
)  # fmt: skip
async def test_a_refused_word_is_answered_with_the_words_that_are_taken(
    caller: Caller, method: str, path: str, body: object, field: str, words: list[str] | None
) -> None:
    said = await caller.ask(method, path, body)
    assert (said.status, said.error["field"]) == (400, field)
    assert sorted(said.error.get("allowed", ())) == sorted(words or ())


@pytest.mark.parametrize(
    ("above", "link", "expected"),
    [
        ({"channel": "email"}, {}, ("", "")),
        ({"channel": "email"}, {"channel": "qr"}, ("qr", "qr")),
        ({"channel": "email"}, {"channel": "Email"}, ("", "")),
        ({"channel": "email"}, {"channel": "social"}, ("social", "social")),
        ({"channel": "email"}, {"channel": "Flyer"}, ("flyer", "flyer")),
        ({"channel": "ad", "utm": {"medium": "paid_social"}}, {"channel": "ad"}, ("", "")),
        ({"channel": "social", "utm": {"source": "instagram"}}, {"channel": "qr"}, ("", "qr")),
        ({"utm": {"source": "spring", "medium": "crm"}}, {"channel": "sms"}, ("", "sms")),
        ({"utm": {"medium": "crm"}}, {"channel": "sms", "utm": {"medium": "text"}}, ("sms", "text")),
        ({"channel": "email"}, {"channel": "qr", "utm": {"medium": ""}}, ("qr", "")),
        ({}, {"channel": "flyer"}, ("", "")),
    ],
)
async def test_a_links_own_channel_wins_over_its_campaigns_medium(
    caller: Caller, above: dict[str, Any], link: dict[str, Any], expected: tuple[str, str]
) -> None:
    campaign = await caller.campaign(**above)
    made = await caller.entry("links", target=TARGET, campaign_id=campaign["id"], **link)
    assert (made["utm"]["source"], made["utm"]["medium"]) == expected


async def test_what_a_channel_gave_a_link_follows_its_channel(caller: Caller) -> None:
    campaign = await caller.campaign(channel="email")
    made = await caller.entry("links", target=TARGET, campaign_id=campaign["id"], channel="qr")

    async def after(**fields: Any) -> tuple[str, str]:
        said = await caller.ask("PATCH", f"links/{made['id']}", fields)
        assert said.status == 200, said.body
        utm = said.json()["link"]["utm"]
        return utm["source"], utm["medium"]

    assert await after(channel="sms") == ("sms", "sms")
    assert await after(title="the same") == ("sms", "sms")
    assert await after(channel=None) == ("", "")
    assert await after(channel="sms", utm={"source": "letter"}) == ("letter", "sms")
    assert await after(channel="social") == ("letter", "social"), "what somebody wrote stays"
    assert await after(utm={"medium": ""}) == ("letter", "")
    assert await after(channel="qr") == ("letter", ""), "what somebody emptied stays empty"
    said = await caller.ask("PATCH", f"campaigns/{campaign['id']}", {"channel": "ad"})
    assert said.json()["campaign"]["utm"] == {**campaign["utm"], "source": "", "medium": "cpc"}


async def test_c31_links_for_each_recipient_are_made_at_once(caller: Caller) -> None:
    campaign = await caller.campaign(channel="sms")
    rows = [{"recipient": f"customer-{n}", "target": f"{TARGET}?cart={n}"} for n in range(1_000)]
    said = await caller.ask("POST", "links/batch", {"common": {"campaign_id": campaign["id"]}, "links": rows})
    assert said.status == 201, said.body[:300]
    links = said.json()["links"]
    assert [link["recipient"] for link in links] == [row["recipient"] for row in rows]
    assert len({link["code"] for link in links}) == 1_000
    assert all(re.fullmatch(r"[a-z2-9]{16}", link["code"]) for link in links), "nobody guesses another's link"
    assert links[7]["url"] == f"https://{HOST}/l/{links[7]['code']}"
    found = await caller.shelf.link(links[7]["code"])
    assert found is not None
    assert (found.target, found.recipient, found.campaign_id) == (f"{TARGET}?cart=7", "customer-7", campaign["id"])


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"links": []}, "field_missing", "links"),
        ({}, "field_missing", "links"),
        ({"links": [{"target": TARGET}] * 1_001}, "field_too_long", "links"),
        ({"links": [{"target": TARGET}, {"recipient": "x"}]}, "field_missing", "links[1].target"),
        ({"links": [{"target": TARGET}, {"target": "https://evil.example/"}]}, "target_invalid", "links[1].target"),
        ({"links": [{"target": TARGET, "recipient": "a@shop.example"}]}, "field_personal", "links[0].recipient"),
        ({"links": [{"target": TARGET, "code": "Twice"}, {"target": TARGET, "code": "twice"}]}, "code_taken",
         "links[1].code"),
        ({"links": [{"target": TARGET}], "common": {"unheard": 1}}, "field_unknown", "links[0].unheard"),
        ({"links": [{"target": TARGET}, 7]}, "field_type", "links[1]"),
    ],
)  # fmt: skip
async def test_c31_a_mistake_in_one_row_stores_none(
    caller: Caller, body: dict[str, Any], code: str, field: str | None
) -> None:
    with caller.shop.refusing("/api/v1/links/*", code):
        said = await caller.ask("POST", "links/batch", body)
    refused_with(said, 409 if code == "code_taken" else 400, code, field)


async def test_c31_a_chosen_code_that_is_taken_stores_none(caller: Caller) -> None:
    await caller.entry("links", target=TARGET, code="already")
    rows = [{"target": TARGET, "code": "free-one"}, {"target": TARGET, "code": "Already"}]
    with caller.shop.refusing("/api/v1/links/*", "code_taken"):
        said = await caller.ask("POST", "links/batch", {"links": rows})
    refused_with(said, 409, "code_taken", "links[1].code")


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "https://shop.example.evil.example/", "https://notshop.example/", "//evil.example",
     "https:evil.example", "javascript:alert(1)", "JavaScript://shop.example/%0aalert(1)", "data:text/html,x",
     "file:///etc/passwd", "https://shop.example@evil.example/", "https://evil.example\\@shop.example/",
     "https://shop.example/\r\nSet-Cookie: a=b", "http://127.0.0.1/", "ftp://shop.example/", "shopapp://cart",
     "/relative", "https://\u212aiosk.example/"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["target", "expired_target", "ios_target", "android_target", "variants"])
async def test_row_25_a_link_leads_to_the_sites_own_domains_only(caller: Caller, field: str, target: str) -> None:
    fields: dict[str, Any] = {"target": TARGET, field: target}
    where = field
    if field == "variants":
        fields[field] = [{"target": TARGET, "percent": 50}, {"target": target, "percent": 50}]
        where = "variants[1].target"
    stored = caller.shop.count("catalogue")
    said = await caller.ask("POST", "links", fields)
    assert (said.status, said.error.get("field")) == (400, where)
    assert said.code in {"target_invalid", "field_invalid"}
    assert caller.shop.count("catalogue") == stored
    link = await caller.entry("links", target=TARGET)
    assert (await caller.ask("PATCH", f"links/{link['id']}", {field: fields[field]})).status == 400


async def test_a_link_may_lead_where_the_settings_allow(tmp_path: Path) -> None:
    links = {"targets": ["partner.example"], "schemes": ["shopapp"], "hosts": ["go.shop.example"]}
    async with running(tmp_path, shop={"links": links}) as shop:
        caller = Caller(shop, (await shop.new_key(rights=("manage",)))["key"])
        made = await caller.make(
            "links", target="https://www.partner.example/x", ios_target="shopapp://cart", code="go"
        )
        assert made["url"] == "https://go.shop.example/go"
        refused_with(await caller.ask("POST", "links", {"target": "otherapp://x"}), 400, "target_invalid", "target")


@pytest.mark.parametrize("slug", ["api", "Collect", "gw", "privacy", "l"])
async def test_a_slug_is_no_path_of_the_gateways_own(caller: Caller, slug: str) -> None:
    said = await caller.ask("POST", "links", {"target": TARGET, "code": slug})
    refused_with(said, 400, "field_invalid", "code")


@pytest.mark.parametrize(
    "percents", [[100], [50, 49], [60, 50], [101, -1], [0, 0]], ids=lambda percents: "+".join(map(str, percents))
)
async def test_variants_share_out_the_whole(caller: Caller, percents: list[int]) -> None:
    variants = [{"target": TARGET, "percent": percent} for percent in percents]
    said = await caller.ask("POST", "links", {"target": TARGET, "variants": variants})
    assert (said.status, said.code) == (400, "field_invalid")


async def test_p65_a_link_has_variants(caller: Caller) -> None:
    variants = [{"target": f"{TARGET}/a", "percent": 50}, {"target": f"{TARGET}/b", "percent": 50, "id": "blue"}]
    link = await caller.entry("links", target=TARGET, variants=variants)
    assert [(one["id"], one["percent"]) for one in link["variants"]] == [("a", 50), ("blue", 50)]


# ------------------------------------------------------------------ names that strangers would like to see


NAMES: Final = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "</script>", "javascript:alert(1)",
    "=HYPERLINK(\"http://evil.example\")", "+1", "-1", "@SUM(A1)", "'", "a,b;c", '"quoted"',
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_row_34_names_are_kept_and_told_as_text(caller: Caller, name: str) -> None:
    campaign = await caller.campaign(name=name, utm={"source": name})
    said = await caller.ask("GET", f"campaigns/{campaign['id']}")
    assert said.header("content-type") == "application/json"
    assert said.header("x-content-type-options") == "nosniff"
    assert (said.json()["campaign"]["name"], said.json()["campaign"]["utm"]["source"]) == (name, name)
    link = await caller.entry("links", target=TARGET, title=name)
    assert link["title"] == name
    snippet = (await caller.ask("GET", f"campaigns/{campaign['id']}/snippet")).json()
    await caller.ask("PATCH", f"campaigns/{campaign['id']}", {"name": "Plain", "utm": None})
    plain = (await caller.ask("GET", f"campaigns/{campaign['id']}/snippet")).json()
    for piece in ("automatic", "manual", "image"):
        assert snippet[piece] == plain[piece], "a name is no part of what is pasted into pages"


@pytest.mark.parametrize("name", ["a\u2028b", "a\u2029b", "\t=1", "a\rb", "a\x00b", "a\u202eb", "\x1b[31m"])
async def test_row_35_names_hold_no_control_characters(caller: Caller, name: str) -> None:
    for plural, field in (("campaigns", "name"), ("goals", "name")):
        said = await caller.ask("POST", plural, {field: f"x{name}y"})
        refused_with(said, 400, "field_invalid", field)


@pytest.mark.parametrize("name", ["anna@shop.example", "call +49 171 1234567"])
async def test_names_hold_no_contact_data(caller: Caller, name: str) -> None:
    campaign = await caller.campaign()
    for plural, fields in (
        ("campaigns", {"name": name}),
        ("links", {"target": TARGET, "title": name}),
        ("ambassadors", {"name": name, "campaign_id": campaign["id"]}),
        ("goals", {"name": name}),
    ):
        said = await caller.ask("POST", plural, fields)
        assert (said.status, said.code) == (400, "field_personal")
        assert name not in said.body.decode()


# ------------------------------------------------------------------ goals: presets


async def preset_makes(fresh: Caller, name: str, type_: str, *, macro: bool) -> None:
    """A goal of a preset is there at once: an event of its name counts for it."""
    goal = await fresh.entry("goals", preset=name)
    assert (goal["code"], goal["type"], goal["macro"]) == (name, type_, macro)
    assert fresh.shelf.goals[name].id == goal["id"]


async def proposed(caller: Caller, business: str) -> dict[str, bool]:
    """Names of the presets proposed to a kind of business, and whether they are macro."""
    found = (await caller.ask("GET", f"goals/presets?business={business}")).json()
    return {preset["name"]: preset["macro"] for preset in found["presets"]}


async def test_c03_goals_are_ends_in_themselves(caller: Caller) -> None:
    goal = await caller.entry("goals", name="An end")
    assert goal["macro"] is True


async def test_c04_or_steps_towards_one(caller: Caller) -> None:
    goal = await caller.entry("goals", name="A step", macro=False)
    assert goal["macro"] is False
    assert caller.shelf.goals_by_id[goal["id"]].macro is False


async def test_c05_ends_are_proposed(caller: Caller) -> None:
    shop, service = await proposed(caller, "shop"), await proposed(caller, "service")
    assert all(shop[name] for name in ("purchase", "subscribe"))
    assert all(service[name] for name in ("contract_signed", "invoice_paid"))


async def test_c06_steps_are_proposed(caller: Caller) -> None:
    shop = await proposed(caller, "shop")
    for name in ("newsletter_signup", "add_to_cart", "contact", "discount_signup", "download"):
        assert shop[name] is False


async def test_c07_a_shop_and_a_service_business_are_proposed_different_goals(caller: Caller) -> None:
    shop, service = await proposed(caller, "shop"), await proposed(caller, "service")
    assert "add_to_cart" in shop
    assert "add_to_cart" not in service
    assert "contract_signed" in service
    assert "contract_signed" not in shop
    both = (await caller.ask("GET", "goals/presets")).json()
    assert set(shop) | set(service) == {preset["name"] for preset in both["presets"]}
    assert both["businesses"] == ["shop", "service"]
    refused_with(await caller.ask("GET", "goals/presets?business=circus"), 400, "field_invalid", "business")


async def test_c26_added_to_cart(fresh: Caller) -> None:
    await preset_makes(fresh, "add_to_cart", "add_to_cart", macro=False)


async def test_c27_start_of_checkout(fresh: Caller) -> None:
    await preset_makes(fresh, "begin_checkout", "begin_checkout", macro=False)


async def test_c36_quote_request(fresh: Caller) -> None:
    await preset_makes(fresh, "quote_request", "lead", macro=True)


async def test_k02_purchase(fresh: Caller) -> None:
    await preset_makes(fresh, "purchase", "purchase", macro=True)


async def test_k03_form(fresh: Caller) -> None:
    await preset_makes(fresh, "contact", "lead", macro=False)


async def test_k04_newsletter(fresh: Caller) -> None:
    await preset_makes(fresh, "newsletter_signup", "signup", macro=False)


async def test_k05_download(fresh: Caller) -> None:
    await preset_makes(fresh, "download", "download", macro=False)


async def test_k06_an_action_of_ones_own(caller: Caller) -> None:
    goal = await caller.entry("goals", name="Watched the film", code="film_watched")
    assert caller.shelf.goals["film_watched"].id == goal["id"]


async def test_k17_goals_are_made_as_wanted(caller: Caller) -> None:
    fields = {
        "name": "All of it", "type": "lead", "count": "one_per_person", "model": "linear", "view_policy": "never",
        "coupon_policy": "touch", "pin": "click_id", "direct_policy": "include", "click_window_days": 14,
    }  # fmt: skip
    goal = await caller.entry("goals", **fields)
    assert {name: goal[name] for name in fields} == fields


async def test_p05_type_purchase(caller: Caller) -> None:
    assert (await caller.entry("goals", name="P05", type="purchase"))["type"] == "purchase"


async def test_p06_type_signup(caller: Caller) -> None:
    assert (await caller.entry("goals", name="P06", type="signup"))["type"] == "signup"


async def test_p07_type_download(caller: Caller) -> None:
    assert (await caller.entry("goals", name="P07", type="download"))["type"] == "download"


async def test_p08_type_custom_with_a_free_name(caller: Caller) -> None:
    goal = await caller.entry("goals", name="Ganz eigenes Ziel!", type="custom")
    assert (goal["type"], goal["name"], goal["code"]) == ("custom", "Ganz eigenes Ziel!", "ganz_eigenes_ziel")


async def test_p09_the_window_is_30_days_unless_said(fresh: Caller) -> None:
    assert (await fresh.entry("goals", name="Usual"))["click_window_days"] == 30


async def test_p10_the_window_can_always_be_chosen(caller: Caller) -> None:
    goal = await caller.entry("goals", name="P10")
    said = await caller.ask("PATCH", f"goals/{goal['id']}", {"click_window_days": 45})
    assert said.json()["goal"]["click_window_days"] == 45


async def test_p11_a_preset_has_30_days_too(fresh: Caller) -> None:
    assert (await fresh.entry("goals", preset="purchase"))["click_window_days"] == 30


async def test_p12_each_goal_has_a_window_of_its_own(caller: Caller) -> None:
    for days in (7, 60):
        goal = await caller.entry("goals", name=f"P12 {days}", click_window_days=days)
        assert caller.shelf.goals_by_id[goal["id"]].click_window_ms == days * DAY_MS


async def test_p13_goals_are_reached_by_a_path_of_their_own(caller: Caller) -> None:
    goal = await caller.entry("goals", name="P13")
    listed = (await caller.ask("GET", "goals?limit=1000")).json()
    assert goal["id"] in {one["id"] for one in listed["goals"]}


async def test_p14_a_goal_is_made_in_one_call(caller: Caller) -> None:
    assert (await caller.ask("POST", "goals", {"name": "P14"})).status == 201


async def test_p15_a_goal_needs_a_name(caller: Caller) -> None:
    refused_with(await caller.ask("POST", "goals", {}), 400, "field_missing", "name")
    for name in ("", "   "):
        refused_with(await caller.ask("POST", "goals", {"name": name}), 400, "field_invalid", "name")
    assert (await caller.entry("goals", name="Q1 Sale"))["name"] == "Q1 Sale"


async def test_p16_the_type_is_one_of_a_list(caller: Caller) -> None:
    refused_with(await caller.ask("POST", "goals", {"name": "P16", "type": "win"}), 400, "field_invalid", "type")


async def test_p17_a_goal_has_an_amount_for_conversions_that_say_none(caller: Caller) -> None:
    goal = await caller.entry("goals", name="P17", value="49.90")
    assert (goal["value"], goal["currency"]) == ("49.90", "EUR")
    assert (await caller.entry("goals", name="P17 none"))["value"] is None


async def test_x9_an_amount_of_zero_is_not_no_amount(caller: Caller) -> None:
    goal = await caller.entry("goals", name="X9", value=0)
    assert goal["value"] == "0.00"
    assert caller.shelf.goals_by_id[goal["id"]].value_minor == 0


async def test_p18_a_goal_has_an_address_that_is_told(caller: Caller) -> None:
    goal = await caller.entry("goals", name="P18", notify_url="https://hooks.shop.example/gateway?a=b")
    assert goal["notify_url"] == "https://hooks.shop.example/gateway?a=b"


NOTIFY: Final = (
    "https://127.0.0.1/x", "https://127.1/x", "https://2130706433/x", "https://0177.0.0.1/x", "https://0x7f.0.0.1/x",
    "https://0x7f000001/x", "https://017700000001/x", "https://127.0.0.1./x", "https://0.0.0.0/x", "https://0/x",
    "https://169.254.169.254/latest", "https://10.1.2.3/x", "https://192.168.0.1/x", "https://172.16.0.1/x",
    "https://[::1]/x", "https://[::]/x", "https://[::ffff:127.0.0.1]/x", "https://[64:ff9b::7f00:1]/x",
    "https://[fe80::1%25eth0]/x", "https://[2001:db8::1]/x", "https://8.8.8.8/x", "https://hooks.example.0x7f/x",
    "https://localhost/x", "https://localhost./x", "https://LOCALHOST/x", "https://a.localhost/x", "https://intranet/x",
    "https://hooks.example./x", "https://user@hooks.example/x", "https://user:pass@hooks.example/x",
    "https://hooks.example:22/x", "https://hooks.example:0/x", "https://hooks.example:99999/x", "https://hooks.example:/x\\",
    "http://hooks.example/x", "file:///etc/passwd", "ftp://hooks.example/", "gopher://hooks.example/", "//hooks.example/x",
    "https:///x", "https:hooks.example", "https://hooks.example\\@127.0.0.1/x", "https://evil.example#@hooks.example\\/x",
    "https://\uff11\uff12\uff17.0.0.1/x", "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/x",
)  # fmt: skip


@pytest.mark.parametrize("url", NOTIFY)
async def test_row_30_an_address_that_leads_inside_is_refused_when_it_is_saved(caller: Caller, url: str) -> None:
    with caller.shop.refusing("/api/v1/goals", "field_invalid"):
        refused_with(
            await caller.ask("POST", "goals", {"name": "Told", "notify_url": url}), 400, "field_invalid", "notify_url"
        )
    name = "Row 30"
    goal = next((one for one in caller.shelf.goals.values() if one.name == name), None)
    goal_id = goal.id if goal is not None else (await caller.entry("goals", name=name))["id"]
    said = await caller.ask("PATCH", f"goals/{goal_id}", {"notify_url": url})
    refused_with(said, 400, "field_invalid", "notify_url")


async def test_a_port_the_operator_lists_may_be_told(tmp_path: Path) -> None:
    async with running(tmp_path, delivery={"webhook_ports": [8443]}) as shop:
        caller = Caller(shop, (await shop.new_key(rights=("manage",)))["key"])
        for port in (443, 8443):
            assert (
                await caller.ask("POST", "goals", {"name": f"P{port}", "notify_url": f"https://hooks.example:{port}/"})
            ).status == 201


async def test_p19_a_goal_has_a_token_that_is_shown_once_and_can_be_made_anew(caller: Caller) -> None:
    made = await caller.make("goals", name="P19")
    goal, token = made["goal"], made["postback_token"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert made["postback_url"] == f"https://{HOST}/api/conversions/track/{token}"
    assert goal["token_set"] is True
    digest = caller.shop.gateway.house.vault.digest("goal_token", "shop", token)
    assert caller.shelf.goals_by_token[digest].id == goal["id"]
    anew = (await caller.ask("POST", f"goals/{goal['id']}/token")).json()
    assert anew["postback_token"] != token
    assert digest not in caller.shelf.goals_by_token, "the token before is worthless at once"
    assert (await caller.seen("goals", goal["id"]))["version"] == 2
    shown = json.dumps([(await caller.ask("GET", f"goals/{goal['id']}{what}")).json() for what in ("", "/versions")])
    on_disk = b"".join(path.read_bytes() for path in (caller.shop.directory / "data").iterdir() if path.is_file())
    for secret in (token, anew["postback_token"]):
        assert secret not in shown
        assert secret not in caller.shop.log_text
        assert secret.encode() not in on_disk


async def test_an_archived_goal_is_found_by_nothing_but_its_id(caller: Caller) -> None:
    made = await caller.make("goals", name="Gone goal")
    goal = made["goal"]
    digest = caller.shop.gateway.house.vault.digest("goal_token", "shop", made["postback_token"])
    await caller.ask("DELETE", f"goals/{goal['id']}")
    assert goal["code"] not in caller.shelf.goals
    assert digest not in caller.shelf.goals_by_token
    assert caller.shelf.goals_by_id[goal["id"]].archived is True
    await caller.ask("PATCH", f"goals/{goal['id']}", {"archived": False})
    assert caller.shelf.goals_by_token[digest].id == goal["id"]


async def test_p55_a_goal_card_holds_definition_value_target_and_window(caller: Caller) -> None:
    card = {"name": "Goal card", "description": "What counts, exactly.", "value": "5.00", "currency": "USD",
            "target_rate_pct": "10", "click_window_days": 7}  # fmt: skip
    goal = await caller.entry("goals", **card)
    assert {name: goal[name] for name in card} == card


async def test_x1_windows_are_1_to_400_days(caller: Caller) -> None:
    goal = await caller.entry("goals", name="X1")
    for days, status in ((1, 200), (400, 200), (0, 400), (401, 400), (-1, 400), (30.5, 400)):
        assert (await caller.ask("PATCH", f"goals/{goal['id']}", {"click_window_days": days})).status == status, days


async def test_r26_the_window_is_a_setting_of_the_goal(caller: Caller) -> None:
    goal = await caller.entry("goals", name="R26", click_window_days=21)
    assert caller.shelf.goals_by_id[goal["id"]].click_window_ms == 21 * DAY_MS


async def test_r27_common_windows_are_taken(caller: Caller) -> None:
    goal = await caller.entry("goals", name="R27")
    for days in (7, 30, 60, 90):
        assert (await caller.ask("PATCH", f"goals/{goal['id']}", {"click_window_days": days})).status == 200


async def test_r04_a_business_says_itself_what_a_conversion_is(caller: Caller) -> None:
    for name in ("Completed order", "Trial started by a company", "Demo asked for"):
        assert (await caller.entry("goals", name=name))["name"] == name


async def test_r05_purchase(fresh: Caller) -> None:
    await preset_makes(fresh, "purchase", "purchase", macro=True)


async def test_r06_lead_form(fresh: Caller) -> None:
    await preset_makes(fresh, "generate_lead", "lead", macro=True)


async def test_r07_newsletter(fresh: Caller) -> None:
    await preset_makes(fresh, "newsletter_signup", "signup", macro=False)


async def test_r08_free_trial(fresh: Caller) -> None:
    await preset_makes(fresh, "start_trial", "trial", macro=True)


async def test_r09_app_download(fresh: Caller) -> None:
    await preset_makes(fresh, "app_download", "download", macro=True)


async def test_r10_appointment(fresh: Caller) -> None:
    await preset_makes(fresh, "book_appointment", "lead", macro=True)


async def test_r11_account(fresh: Caller) -> None:
    await preset_makes(fresh, "sign_up", "signup", macro=True)


async def test_r12_content_download(fresh: Caller) -> None:
    await preset_makes(fresh, "download", "download", macro=False)


async def test_r13_demo_onboarding_upgrade(fresh: Caller) -> None:
    for name, macro in (("request_demo", True), ("onboarding_complete", False), ("upgrade_subscription", True)):
        await preset_makes(fresh, name, "custom", macro=macro)


async def test_r43_a_change_holds_at_once_without_a_restart(caller: Caller) -> None:
    goal = await caller.entry("goals", name="R43")
    await caller.ask("PATCH", f"goals/{goal['id']}", {"value": "7.00"})
    assert caller.shelf.goals["r43"].value_minor == 700
    assert caller.shelf.version("goal", goal["id"]) == 2


async def test_r45_events_and_attribution_are_set_by_whoever_runs_the_site(caller: Caller) -> None:
    goal = await caller.entry("goals", name="R45")
    for model in MODELS:
        assert (await caller.ask("PATCH", f"goals/{goal['id']}", {"model": model})).status == 200
    said = await caller.ask("PATCH", f"goals/{goal['id']}", {"model": "best_guess"})
    refused_with(said, 400, "field_invalid", "model")


async def test_r46_conversions_are_defined_freely(caller: Caller) -> None:
    goal = await caller.entry("goals", name="R46", code="came_back_twice", type="custom", count="one_per_click")
    assert caller.shelf.goals["came_back_twice"].id == goal["id"]


async def test_events_the_settings_count_need_no_goal_of_their_own(fresh: Caller) -> None:
    before = (await fresh.ask("GET", "goals")).json()
    assert (before["goals"], "purchase" in before["implied"]) == ([], True)
    await fresh.entry("goals", preset="purchase")
    after = (await fresh.ask("GET", "goals")).json()
    assert [goal["code"] for goal in after["goals"]] == ["purchase"]
    assert "purchase" not in after["implied"]
    assert "sign_up" in after["implied"]


async def test_a_preset_that_does_not_exist_is_refused(caller: Caller) -> None:
    refused_with(await caller.ask("POST", "goals", {"preset": "win"}), 400, "field_invalid", "preset")


# ------------------------------------------------------------------ the tracker's dialect


async def test_p31_goals_are_listed_in_the_trackers_shape(fresh: Caller) -> None:
    await fresh.entry("goals", name="Beta", type="lead", value="1.50")
    await fresh.entry("goals", name="alpha", type="purchase")
    gone = await fresh.entry("goals", name="Gone")
    await fresh.ask("DELETE", f"goals/{gone['id']}")
    said = await fresh.ask("GET", "conversions/goals")
    assert (said.status, said.header("content-type")) == (200, "application/json")
    goals = said.json()["goals"]
    assert [(goal["name"], goal["goal_type"], goal["value"]) for goal in goals] == [
        ("alpha", "purchase", None),
        ("Beta", "custom", 1.5),
    ]


async def test_p32_a_goal_is_made_in_the_trackers_shape(fresh: Caller) -> None:
    body = {"goal": {"name": "Q1 Sale", "goal_type": "purchase", "value": 99.99, "currency": "USD"}}
    said = await fresh.ask("POST", "conversions/goals", body)
    assert said.status == 201
    goal = said.json()["goal"]
    assert b'"value":99.99' in said.body
    assert (goal["name"], goal["goal_type"], goal["currency"]) == ("Q1 Sale", "purchase", "USD")
    digest = fresh.shop.gateway.house.vault.digest("goal_token", "shop", goal["postback_token"])
    assert fresh.shelf.goals_by_token[digest].id == goal["id"]
    assert fresh.shelf.goals_by_id[goal["id"]].pin == "click_id"
    second = (await fresh.ask("POST", "conversions/goals", body)).json()["goal"]
    assert (goal["code"], second["code"]) == ("q1_sale", "q1_sale_2"), "names may repeat there"


@pytest.mark.parametrize(
    ("goal", "code", "field"),
    [
        ({"name": "A", "goal_type": "win"}, "field_invalid", "goal.goal_type"),
        ({"goal_type": "purchase"}, "field_missing", "goal.name"),
        ({"name": " "}, "field_invalid", "goal.name"),
        ({"name": "A", "value": "much"}, "amount_invalid", "goal.value"),
        ({"name": "A", "currency": "XXZ"}, "currency_unknown", "goal.currency"),
        ({"name": "A", "window": 3}, "field_unknown", "goal.window"),
    ],
)
async def test_p32_what_cannot_be_taken_is_named(caller: Caller, goal: dict[str, Any], code: str, field: str) -> None:
    with caller.shop.refusing("/api/v1/conversions/goals", code):
        refused_with(await caller.ask("POST", "conversions/goals", {"goal": goal}), 400, code, field)


async def test_every_kind_has_a_collection() -> None:
    assert set(KIND_OF.values()) == set(KINDS)


# ------------------------------------------------------------------ the same call again

SENT_AGAIN: Final[dict[str, dict[str, Any]]] = {
    "campaigns": {"name": "Summer"},
    "links": {"target": TARGET},
    "coupons": {"code": "ANNA10"},
    "ambassadors": {"name": "Anna", "target": TARGET},
    "goals": {"name": "First order", "value": "5.00", "currency": "EUR"},
}


async def filled(caller: Caller, plural: str) -> dict[str, Any]:
    """A body for a new entry, in a campaign where it needs one."""
    needs = plural in ("coupons", "ambassadors")
    above = {"campaign_id": (await caller.campaign())["id"]} if needs else {}
    return {**SENT_AGAIN[plural], **above}


def entries(caller: Caller) -> int:
    return caller.shop.count("catalogue_version")


@pytest.mark.parametrize("plural", SENT_AGAIN)
async def test_the_same_call_again_makes_nothing_and_is_answered_as_it_was(fresh: Caller, plural: str) -> None:
    body = await filled(fresh, plural)
    first = await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")
    assert first.status == 201, first.body
    assert "repeated" not in first.json()
    before = entries(fresh)
    entry = first.json()[KIND_OF[plural]]
    if plural in ("campaigns", "links", "goals"):
        await fresh.ask("PATCH", f"{plural}/{entry['id']}", {"channel" if plural != "goals" else "description": "x"})
        before += 1
    again = await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")
    assert again.status == 201, again.body
    told = {name: part for name, part in first.json().items() if name != "windows_set"}
    assert {name: part for name, part in again.json().items() if name != "windows_set"} == told | {"repeated": True}
    assert again.header("etag") == first.header("etag")
    assert entries(fresh) == before


@pytest.mark.parametrize("plural", SENT_AGAIN)
async def test_without_a_key_or_with_another_everything_is_made_anew(fresh: Caller, plural: str) -> None:
    body = await filled(fresh, plural)
    found: list[str] = []
    for headers in ({"Idempotency_Key": "order-of-1"}, {"Idempotency_Key": "order-of-2"}, {}, {}):
        if plural == "coupons":
            body["code"] += "0"
        said = await fresh.ask(
            "POST", plural, body if plural != "goals" else {**body, "code": f"g{len(found)}"}, **headers
        )
        assert said.status == 201, said.body
        found.append(said.json()[KIND_OF[plural]]["id"])
    assert len(set(found)) == 4


async def test_a_key_that_came_with_another_body_route_or_kind_is_refused(fresh: Caller) -> None:
    key = "order-of-1"
    assert (await fresh.ask("POST", "links", {"target": TARGET}, Idempotency_Key=key)).status == 201
    before = fresh.shop.everything_stored()
    for path, body in (
        ("links", {"target": TARGET, "title": "another"}),
        ("campaigns", {"name": "Summer"}),
        ("goals", {"preset": "purchase"}),
        ("links/batch", {"links": [{"target": TARGET}]}),
        ("conversions/goals", {"goal": {"name": "Q1 Sale"}}),
    ):
        refused_with(await fresh.ask("POST", path, body, Idempotency_Key=key), 409, "idempotency_key_reused")
    for wrong in ("short", "x" * 65, "with spaces in it"):
        said = await fresh.ask("POST", "links", {"target": TARGET}, Idempotency_Key=wrong)
        refused_with(said, 400, "idempotency_key_invalid", "Idempotency-Key")
    assert fresh.shop.everything_stored() == before


async def test_a_key_is_used_up_by_what_was_made_and_not_by_a_refusal(fresh: Caller) -> None:
    key = "order-of-1"
    refused_with(await fresh.ask("POST", "links", {"target": 1}, Idempotency_Key=key), 400, "field_type", "target")
    assert (await fresh.ask("POST", "links", {"target": TARGET}, Idempotency_Key=key)).status == 201


async def test_callers_and_sites_do_not_meet_in_a_key(fresh: Caller) -> None:
    shop = fresh.shop
    other = Caller(shop, (await shop.new_key(rights=("manage",)))["key"])
    both = (await shop.new_key(sites=("shop", "kiosk"), rights=("manage",)))["key"]
    callers = (fresh, other, Caller(shop, both), Caller(shop, both, host=OTHER_HOST))
    found = [await caller.ask("POST", "campaigns", {"name": "A"}, Idempotency_Key="order-of-1") for caller in callers]
    assert len({said.json()["campaign"]["id"] for said in found}) == 4


async def test_the_same_call_twice_at_once_makes_one_entry(fresh: Caller) -> None:
    body = {"name": "Summer"}
    said = await asyncio.gather(*(fresh.ask("POST", "campaigns", body, Idempotency_Key="order-of-1") for _ in range(8)))
    assert {one.status for one in said} == {201}
    assert len({one.json()["campaign"]["id"] for one in said}) == 1
    assert [one.json().get("repeated") for one in said].count(None) == 1
    assert entries(fresh) == 1


async def test_a_goals_token_is_told_again_to_the_same_call_and_to_nobody_else(fresh: Caller) -> None:
    body = {"preset": "purchase"}
    first = (await fresh.ask("POST", "goals", body, Idempotency_Key="order-of-1")).json()
    assert (await fresh.ask("POST", "goals", body, Idempotency_Key="order-of-1")).json()["postback_token"] == first[
        "postback_token"
    ]
    said = await fresh.shop.send("POST", f"/api/conversions/track/{first['postback_token']}", body={"order_id": "1"})
    assert said.json()["status"] == "accepted"
    path = f"goals/{first['goal']['id']}/token"
    second = (await fresh.ask("POST", path, Idempotency_Key="order-of-2")).json()
    again = (await fresh.ask("POST", path, Idempotency_Key="order-of-2")).json()
    assert again == second | {"repeated": True}
    assert second["postback_token"] != first["postback_token"]
    third = (await fresh.ask("POST", path)).json()["postback_token"]
    old = (await fresh.ask("POST", path, Idempotency_Key="order-of-2")).json()["postback_token"]
    assert old == second["postback_token"], "the first answer"
    for token, status in ((third, 200), (old, 404), (first["postback_token"], 404)):
        said = await fresh.shop.send("POST", f"/api/conversions/track/{token}", body={"order_id": "2"})
        assert said.status == status


async def test_a_goal_in_the_trackers_shape_is_made_once(fresh: Caller) -> None:
    body = {"goal": {"name": "Q1 Sale"}}
    first = await fresh.ask("POST", "conversions/goals", body, Idempotency_Key="order-of-1")
    again = await fresh.ask("POST", "conversions/goals", body, Idempotency_Key="order-of-1")
    assert (again.status, again.body) == (201, first.body)
    assert entries(fresh) == 1


async def test_a_batch_that_broke_off_is_completed_by_the_same_call(fresh: Caller) -> None:
    body = {"common": {"target": TARGET}, "links": [{"recipient": f"r-{n}"} for n in range(30)]}
    store, stored = fresh.shop.gateway.house.store, 0
    whole = store.put_entry

    async def breaks(entry: Any) -> str:
        nonlocal stored
        stored += 1
        if stored > 25:
            raise StoreBusy("locked")
        return await whole(entry)

    store.put_entry = breaks  # type: ignore[method-assign] # a fault, injected
    said = await fresh.ask("POST", "links/batch", body, Idempotency_Key="order-of-1")
    store.put_entry = whole  # type: ignore[method-assign]
    assert said.status == 503
    assert 20 <= entries(fresh) < 30
    second = (await fresh.ask("POST", "links/batch", body, Idempotency_Key="order-of-1")).json()
    assert "repeated" not in second
    third = (await fresh.ask("POST", "links/batch", body, Idempotency_Key="order-of-1")).json()
    assert third == second | {"repeated": True}
    assert [one["recipient"] for one in third["links"]] == [f"r-{n}" for n in range(30)]
    assert entries(fresh) == 30


async def test_an_ambassador_whose_link_is_missing_gets_it_by_the_same_call(fresh: Caller) -> None:
    body = await filled(fresh, "ambassadors")
    store = fresh.shop.gateway.house.store
    whole = store.put_entry

    async def breaks(entry: Any) -> str:
        if entry.kind == "link":
            raise StoreBusy("locked")
        return await whole(entry)

    store.put_entry = breaks  # type: ignore[method-assign] # a fault, injected
    assert (await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")).status == 503
    store.put_entry = whole  # type: ignore[method-assign]
    found = (await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")).json()
    assert found["link"]["code"] == found["ambassador"]["code"]
    assert found["link"]["ambassador_id"] == found["ambassador"]["id"]
    assert len((await fresh.ask("GET", "ambassadors")).json()["ambassadors"]) == 1


@contextmanager
def breaking(caller: Caller, kind: str) -> Iterator[None]:
    """The store is busy once, when an entry of a kind is stored."""
    store, broken = caller.shop.gateway.house.store, False
    whole = store.put_entry

    async def breaks(entry: Any) -> str:
        nonlocal broken
        if entry.kind == kind and not broken:
            broken = True
            raise StoreBusy("locked")
        return await whole(entry)

    store.put_entry = breaks  # type: ignore[method-assign] # a fault, injected
    try:
        yield
    finally:
        store.put_entry = whole  # type: ignore[method-assign]
    assert broken


async def with_ambassadors(caller: Caller, plural: str) -> dict[str, Any]:
    """A body for an entry that makes a campaign one with ambassadors."""
    return {"name": "Friends", "ambassadors": True} if plural == "campaigns" else await filled(caller, plural)


def campaign_of(made: dict[str, Any]) -> str:
    found: str = made["campaign"]["id"] if "campaign" in made else made["ambassador"]["campaign_id"]
    return found


@pytest.mark.parametrize(
    ("plural", "broken"), [("ambassadors", "campaign"), ("ambassadors", "goal"), ("campaigns", "goal")]
)
async def test_what_a_call_left_undone_is_done_by_the_same_call(fresh: Caller, plural: str, broken: str) -> None:
    goal = await fresh.entry("goals", preset="purchase")
    body = await with_ambassadors(fresh, plural)
    fresh.shop.move(seconds=1)
    with breaking(fresh, broken):
        assert (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).status == 503
    fresh.shop.move(seconds=1)
    found = (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).json()
    assert (found["repeated"], found["windows_set"]) == (True, ["purchase"])
    assert (await fresh.seen("campaigns", campaign_of(found)))["ambassadors"] is True
    assert (await fresh.seen("goals", goal["id"]))["click_window_days"] == 90
    before = entries(fresh)
    again = (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).json()
    assert (again, entries(fresh)) == (found | {"windows_set": []}, before)


@pytest.mark.parametrize("plural", ["ambassadors", "campaigns"])
@pytest.mark.parametrize(
    ("path", "change"),
    [
        pytest.param("goals/{goal}", {"click_window_days": 30}, id="a window is set back"),
        pytest.param("campaigns/{campaign}", {"ambassadors": False}, id="a campaign is one without ambassadors"),
        pytest.param("campaigns/{campaign}", {"archived": True}, id="a campaign is archived"),
    ],
)
@pytest.mark.parametrize("broken", [False, True])
async def test_a_late_repeat_does_not_undo_what_the_owner_chose_since(
    fresh: Caller, plural: str, path: str, change: dict[str, Any], broken: bool
) -> None:
    goal = await fresh.entry("goals", preset="purchase")
    body = await with_ambassadors(fresh, plural)
    fresh.shop.move(seconds=1)
    if broken:
        with breaking(fresh, "goal"):
            assert (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).status == 503
        made = (await fresh.ask("GET", "campaigns")).json()["campaigns"][0]["id"]
    else:
        made = campaign_of((await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).json())
    fresh.shop.move(seconds=1)
    if "click_window_days" in change:
        await fresh.ask("PATCH", f"goals/{goal['id']}", {"click_window_days": 60})
    said = await fresh.ask("PATCH", path.format(goal=goal["id"], campaign=made), change)
    assert said.status == 200, said.body
    before = entries(fresh)
    again = await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")
    assert (again.status, again.json()["windows_set"], entries(fresh)) == (201, [], before)


async def test_an_ambassador_of_a_campaign_that_had_some_already_sets_no_windows_by_a_repeat(fresh: Caller) -> None:
    goal = await fresh.entry("goals", preset="purchase")
    campaign = await fresh.campaign(ambassadors=True)
    fresh.shop.move(seconds=1)
    await fresh.ask("PATCH", f"goals/{goal['id']}", {"click_window_days": 30})
    fresh.shop.move(seconds=1)
    body = {"name": "Hugo", "campaign_id": campaign["id"]}
    assert (await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")).status == 201
    fresh.shop.move(seconds=1)
    await fresh.ask("PATCH", f"campaigns/{campaign['id']}", {"name": "Friends"})
    again = (await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")).json()
    assert again["windows_set"] == []
    assert (await fresh.seen("goals", goal["id"]))["click_window_days"] == 30


@pytest.mark.parametrize("plural", SENT_AGAIN)
async def test_what_was_archived_since_is_told_as_archived(fresh: Caller, plural: str) -> None:
    body = await filled(fresh, plural)
    made = (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).json()[KIND_OF[plural]]
    gone = (await fresh.ask("DELETE", f"{plural}/{made['id']}")).json()[KIND_OF[plural]]
    before = entries(fresh)
    again = (await fresh.ask("POST", plural, body, Idempotency_Key="order-of-1")).json()
    assert (again["repeated"], again[KIND_OF[plural]]) == (True, gone)
    assert gone["archived"] is True
    assert entries(fresh) == before


@pytest.mark.parametrize(("broken", "status"), [("link", 409), ("campaign", 201)])
async def test_nothing_more_is_made_for_an_ambassador_who_was_archived(fresh: Caller, broken: str, status: int) -> None:
    body = await filled(fresh, "ambassadors")
    with breaking(fresh, broken):
        assert (await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")).status == 503
    made = (await fresh.ask("GET", "ambassadors")).json()["ambassadors"][0]["id"]
    await fresh.ask("DELETE", f"ambassadors/{made}")
    before = entries(fresh)
    again = await fresh.ask("POST", "ambassadors", body, Idempotency_Key="order-of-1")
    assert (again.status, entries(fresh)) == (status, before)
    if status == 409:
        refused_with(again, 409, "entry_stale")


async def test_the_same_call_for_a_token_twice_at_once_makes_one_token(fresh: Caller) -> None:
    path = f"goals/{(await fresh.entry('goals', preset='purchase'))['id']}/token"
    said = await asyncio.gather(*(fresh.ask("POST", path, Idempotency_Key="order-of-1") for _ in range(6)))
    assert {one.status for one in said} == {200}
    assert len({one.json()["postback_token"] for one in said}) == 1
    assert [one.json().get("repeated") for one in said].count(None) == 1


async def test_a_token_of_long_ago_does_not_replace_a_newer_one(fresh: Caller) -> None:
    goal = (await fresh.entry("goals", preset="purchase"))["id"]
    old = (await fresh.ask("POST", f"goals/{goal}/token", Idempotency_Key="order-of-1")).json()
    new = (await fresh.ask("POST", f"goals/{goal}/token")).json()["postback_token"]
    for number in range(HISTORY_MAX):
        await fresh.ask("PATCH", f"goals/{goal}", {"description": f"x{number}"})
    again = (await fresh.ask("POST", f"goals/{goal}/token", Idempotency_Key="order-of-1")).json()
    assert again == old | {"repeated": True}
    said = await fresh.shop.send("POST", f"/api/conversions/track/{new}", body={"order_id": "1"})
    assert said.status == 200


async def test_a_key_with_which_something_was_made_makes_no_token(fresh: Caller) -> None:
    key = "order-of-1"
    goal = (await fresh.ask("POST", "goals", {"preset": "purchase"}, Idempotency_Key=key)).json()["goal"]
    before = fresh.shop.everything_stored()
    said = await fresh.ask("POST", f"goals/{goal['id']}/token", Idempotency_Key=key)
    refused_with(said, 409, "idempotency_key_reused")
    assert fresh.shop.everything_stored() == before


async def test_a_token_uses_up_no_key_for_anything_else(fresh: Caller) -> None:
    key = "order-of-1"
    first, second = [(await fresh.entry("goals", preset=name))["id"] for name in ("purchase", "sign_up")]
    tokens = [await fresh.ask("POST", f"goals/{goal}/token", Idempotency_Key=key) for goal in (first, second)]
    assert [said.status for said in tokens] == [200, 200]
    assert len({said.json()["postback_token"] for said in tokens}) == 2
    assert (await fresh.ask("POST", "campaigns", {"name": "A"}, Idempotency_Key=key)).status == 201
    again = await fresh.ask("POST", f"goals/{first}/token", Idempotency_Key=key)
    assert again.json() == tokens[0].json() | {"repeated": True}


async def test_a_batch_that_broke_off_has_ended_when_it_is_answered(fresh: Caller) -> None:
    body = {"common": {"target": TARGET}, "links": [{"recipient": f"r-{n}"} for n in range(20)]}
    store, count = fresh.shop.gateway.house.store, 0
    whole = store.put_entry

    async def breaks(entry: Any) -> str:
        nonlocal count
        count += 1
        if count == 1:
            raise StoreBusy("locked")
        await asyncio.sleep(0.1)
        return await whole(entry)

    store.put_entry = breaks  # type: ignore[method-assign] # a fault, injected
    assert (await fresh.ask("POST", "links/batch", body, Idempotency_Key="order-of-1")).status == 503
    assert entries(fresh) == 19
    store.put_entry = whole  # type: ignore[method-assign]
    again = await fresh.ask("POST", "links/batch", body, Idempotency_Key="order-of-1")
    assert (again.status, entries(fresh)) == (201, 20)


async def test_what_one_call_makes_has_ids_of_the_usual_form(fresh: Caller) -> None:
    house = fresh.shop.gateway.house
    call = repeating.call_of(house, house.by_id["shop"], "", "order-of-1", "/x", b"{}")
    assert call is not None
    ids = {call.entry_id(kind, index) for kind in KINDS for index in range(1_000)}
    assert len(ids) == 5_000
    assert all(re.fullmatch(r"(cmp|lnk|amb|cpn|goal)_[a-z2-7]{16}", one) for one in ids)
