"""Supplies: the operator's vendor lists and database of places, read at the start and again when they change."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from gateway import supplied
from gateway.flows import supplies
from gateway.flows.supplies import Supplies
from gateway.purposes import names
from gateway.signals import gvl
from gateway.supplied import Directory, PlaceDatabase
from tests.support.cases import named
from tests.support.running import AGENT, HOST, PAGE, Running, running
from tests.support.signals import ALL, tc_string

DAY_S: Final = 86_400
FIXTURE: Final = json.loads((Path(__file__).parents[1] / "vectors" / "gvl-fixture.json").read_bytes())


def write_list(directory: Path, name: str, version: int = 150, **changes: Any) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_bytes(json.dumps({**FIXTURE, "vendorListVersion": version, **changes}).encode())
    return path


def touched(path: Path) -> None:
    """A later time of change than any before: what a file system with coarse times would not tell."""
    at = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(at, at))


# ------------------------------------------------------------------ vendor lists


def test_lists_are_read_by_version_and_cut_down_to_the_vendors_in_use(tmp_path: Path) -> None:
    write_list(tmp_path, "vendor-list-v150.json")
    write_list(tmp_path, "vendor-list.json", version=151)
    write_list(tmp_path, "notes.json", version=152)
    found = Supplies(tmp_path, frozenset({33, 755, 9_999}))
    assert not found.refresh()
    assert {version: sorted(made.vendors) for version, made in found.lists.items()} == {150: [33, 755], 151: [33, 755]}
    assert found.newest_list is found.lists[151]


def test_without_a_vendor_in_use_no_list_is_read(tmp_path: Path) -> None:
    write_list(tmp_path, "vendor-list-v150.json")
    found = Supplies(tmp_path, frozenset())
    found.refresh()
    assert not found.lists
    assert found.newest_list is None


def test_a_list_that_comes_or_changes_is_read_and_the_others_are_not_read_again(tmp_path: Path) -> None:
    found = Supplies(tmp_path / "gvl", frozenset({33}))
    assert not found.refresh(), "no directory yet"
    first = write_list(tmp_path / "gvl", "vendor-list-v150.json")
    found.refresh()
    kept = found.lists[150]
    write_list(tmp_path / "gvl", "vendor-list-v151.json", version=151)
    found.refresh()
    assert set(found.lists) == {150, 151}
    assert found.lists[150] is kept
    write_list(tmp_path / "gvl", first.name, vendors={})
    touched(first)
    assert found.refresh() == ("vendor list vendor-list-v150.json: not used (no_vendors)",)
    assert found.lists[150] is kept, "what was read before stays in use"
    write_list(tmp_path / "gvl", first.name, lastUpdated="2026-05-01T00:00:00Z")
    touched(first)
    touched(first)
    assert not found.refresh()
    assert not found.problems
    assert found.lists[150].last_updated_ms > kept.last_updated_ms


BROKEN: Final[list[tuple[str, bytes, str]]] = [
    ("nothing", b"", "not_json"),
    ("half a file", json.dumps(FIXTURE).encode()[:400], "not_json"),
    ("an older kind of list", json.dumps({**FIXTURE, "gvlSpecificationVersion": 2}).encode(), "specification_version"),
    ("no list at all", b"{}", "wrong_shape"),
    ("a file nobody would write", b" " * (gvl.GVL_MAX_BYTES + 1), "too_large"),
]


@pytest.mark.parametrize(("content", "reason"), named(BROKEN))
def test_a_list_that_cannot_be_used_is_named_once_until_it_is_gone(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "vendor-list-v9.json"
    path.write_bytes(content)
    write_list(tmp_path, "vendor-list-v150.json")
    found = Supplies(tmp_path, frozenset({33}))
    assert found.refresh() == (f"vendor list vendor-list-v9.json: not used ({reason})",)
    assert set(found.lists) == {150}, "the others are"
    assert not found.refresh(), "told already"
    assert len(found.problems) == 1
    path.unlink()
    assert not found.refresh()
    assert not found.problems


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "vendor-list-v150.json").mkdir()
    found = Supplies(tmp_path, frozenset({33}))
    assert found.refresh() == ("vendor list vendor-list-v150.json: not used (IsADirectoryError)",)
    (tmp_path / "vendor-list-v150.json").rmdir()
    write_list(tmp_path, "vendor-list-v150.json")
    found.refresh()
    assert (found.problems, set(found.lists)) == ((), {150})


def test_documents_come_one_after_another_and_not_all_at_once(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(b"x")
    found = Directory(tmp_path, lambda name: True, 10)
    walk = found.changed()
    assert next(walk) == ("0", b"x", "")
    (tmp_path / "1").write_bytes(b"yy")
    assert list(walk) == [("1", b"yy", ""), ("2", b"x", "")]
    assert list(found.changed()) == []


def test_more_documents_than_anybody_has_are_not_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supplied, "DOCUMENTS_MAX", 2)
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(b"x")
    names_read = [name for name, _, _ in Directory(tmp_path, lambda name: True, 10).changed()]
    assert names_read == [tmp_path.name, "0", "1"]


# ------------------------------------------------------------------ a database of places

PLACES: Final[Mapping[str, Any]] = {
    "203.0.113.0/24": {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "CA"}]},
    "198.51.100.0/24": {"country": {"iso_code": "DE"}},
    "192.0.2.0/24": {"continent": {"code": "EU"}},
    "2001:db8:1::/48": {"country": {"iso_code": "CA"}, "subdivisions": [{"iso_code": "QC"}]},
    "100.64.0.0/24": {"country": "US", "subdivisions": "CA"},
    "100.64.1.0/24": "somewhere",
    "100.64.2.0/24": {"country": {"iso_code": 840}, "subdivisions": []},
}


def write_database(path: Path, places: Mapping[str, Any] = PLACES) -> None:
    writer = MMDBWriter(6, "GeoLite2-City", ["en"], ipv4_compatible=True)
    for network, place in places.items():
        writer.insert_network(IPSet([network]), place)
    writer.to_db_file(str(path))


@pytest.mark.parametrize(
    ("address", "place"),
    named(
        [
            ("a country with a state", "203.0.113.9", "US-CA"),
            ("a country", "198.51.100.200", "DE"),
            ("a continent is no place", "192.0.2.1", ""),
            ("an address the file does not know", "8.8.8.8", ""),
            ("a newer address", "2001:db8:1:2::3", "CA-QC"),
            ("one of the same provider elsewhere", "2001:db8:2::3", ""),
            ("an older address in new clothes", "::ffff:203.0.113.9", "US-CA"),
            ("an address with a zone", "fe80::1%eth0", ""),
            ("no address", "", ""),
            ("a word", "localhost", ""),
            ("a record of another form", "100.64.0.1", ""),
            ("a record that is a text", "100.64.1.1", ""),
            ("a code that is a number", "100.64.2.1", ""),
        ]
    ),
)
def test_a_place_is_looked_up_by_the_network_of_an_address(tmp_path: Path, address: str, place: str) -> None:
    write_database(tmp_path / "places.mmdb")
    found = Supplies(database=tmp_path / "places.mmdb")
    assert found.locate("203.0.113.9") == "", "not read yet"
    found.refresh()
    assert found.locate(address) == place
    assert not found.problems


def test_a_database_that_changes_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "places.mmdb"
    found = Supplies(database=path)
    assert found.refresh() == ("place database places.mmdb: not used (FileNotFoundError)",)
    assert found.locate("203.0.113.9") == ""
    write_database(path)
    assert not found.refresh()
    assert found.locate("203.0.113.9") == "US-CA"
    path.write_bytes(b"not a database")
    touched(path)
    assert found.refresh() == ("place database places.mmdb: not used (InvalidDatabaseError)",)
    assert found.locate("203.0.113.9") == "US-CA", "what was open stays in use"
    write_database(path, {"203.0.113.0/24": {"country": {"iso_code": "MX"}}})
    touched(path)
    touched(path)
    assert not found.refresh()
    assert (found.locate("203.0.113.9"), found.problems) == ("MX", ()), "and nothing of the old one is remembered"


def test_a_damaged_database_never_raises(tmp_path: Path) -> None:
    """Every byte of a small file is changed once: it is refused, or answers places or nothing."""
    path = tmp_path / "places.mmdb"
    write_database(path, {"203.0.113.0/24": {"country": {"iso_code": "US"}}})
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        found = PlaceDatabase(path)
        refused = found.refresh()
        country, region = found.look_up("203.0.113.9")
        assert refused is None or (country, region) == (None, None)
        assert country is None or isinstance(country, str)


# ------------------------------------------------------------------ in service


YES: Final = tc_string(purposes=ALL, interests=ALL, vendors=(755,), vendor_interests=(755,), disclosed=(755,))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    webhook = {
        "platform": "webhook", "url": "https://crm.example/in", "purposes": ["advertising"], "tcf_vendor": 755,
        "signing_secret": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY", "events": ["purchase"],
    }  # fmt: skip
    async with running(tmp_path, shop={"destination": [webhook]}) as started:
        yield started


async def judged(shop: Running, event_id: str, **more: Any) -> tuple[str, ...]:
    """Purposes granted to the webhook for one event with the string."""
    body = {"name": "purchase", "id": event_id, "value": 1, "signals": {"tcf": YES}, **more}
    assert (await shop.collect(body)).status == 204
    facts = shop.facts(event_id)
    return names(facts.get("judgements", {}).get("webhook", facts["judgement"])["granted"])


async def problems(shop: Running) -> list[str]:
    found: list[str] = (await shop.admin("GET", "/api/admin/v1/check")).json()["problems"]
    return found


async def test_a_list_that_arrives_while_the_gateway_runs_is_used_without_a_restart(shop: Running) -> None:
    assert await judged(shop, "gvl-before") == ("necessary",)
    assert shop.facts("gvl-before")["judgements"]["webhook"]["heard"] == ["tcf_no_list"]
    write_list(shop.directory / "data" / "gvl", "vendor-list-v150.json")
    await supplies.refresh(shop.gateway.house)
    assert await judged(shop, "gvl-after") == ("necessary", "advertising", "ad_user_data", "ad_personalization")


async def test_what_cannot_be_used_has_one_line_and_stands_in_the_check(shop: Running) -> None:
    assert await problems(shop) == []
    write_list(shop.directory / "data" / "gvl", "vendor-list-v150.json", vendors={})
    for _ in range(2):
        await supplies.refresh(shop.gateway.house)
    (line,) = shop.log("supplied_file_refused")
    assert line["note"] == "vendor list vendor-list-v150.json: not used (no_vendors)"
    assert await problems(shop) == [line["note"]]


async def test_the_check_warns_of_an_old_list(shop: Running) -> None:
    write_list(shop.directory / "data" / "gvl", "vendor-list-v150.json", lastUpdated="2026-10-25T00:00:00Z")
    await supplies.refresh(shop.gateway.house)
    assert await problems(shop) == []
    shop.move(seconds=10 * DAY_S)
    (problem,) = await problems(shop)
    assert problem.startswith("the newest IAB vendor list, version 150, is 36 days old;")
    assert problem.endswith("shop.webhook are judged denied")


async def test_a_directory_that_is_named_and_missing_stands_in_the_check(tmp_path: Path) -> None:
    async with running(tmp_path, consent={"gvl_dir": str(tmp_path / "lists")}) as shop:
        assert await problems(shop) == [f"consent: gvl_dir: there is no directory {tmp_path / 'lists'}"]


# ------------------------------------------------------------------ places in service

OPT_OUT: Final = {"regime": "opt_out"}


async def place_and_regime(shop: Running, **headers: str) -> tuple[str, str]:
    event_id = f"place-{shop.count():04d}"
    said = await shop.collect({"name": "page_view", "id": event_id}, **headers)
    assert said.status == 204
    judgement = shop.facts(event_id)["judgement"]
    return judgement.get("place", ""), judgement["regime"]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_a_trusted_proxy_says_where_the_visitor_is(tmp_path: Path, fast: bool) -> None:
    places = {"source": "header", "header": "cf-ipcountry", "region_header": "cf-region-code"}
    async with running(tmp_path, fast=fast, places=places, proxy={"trusted": ["127.0.0.1"]}, shop=OPT_OUT) as shop:
        assert await place_and_regime(shop, CF_IPCountry="US", CF_Region_Code="VA") == ("US-VA", "opt_out")
        assert await place_and_regime(shop, CF_IPCountry="us", CF_Region_Code="CA") == ("US-CA", "opt_out_signal")
        assert await place_and_regime(shop, CF_IPCountry="US") == ("US", "opt_in")
        assert await place_and_regime(shop, CF_IPCountry="DE") == ("DE", "opt_in")
        assert await place_and_regime(shop, CF_IPCountry="XX", CF_Region_Code="VA") == ("", "opt_in")
        assert await place_and_regime(shop, CF_IPCountry="US, DE", CF_Region_Code="VA") == ("", "opt_in")
        assert await place_and_regime(shop, CF_Region_Code="VA") == ("", "opt_in")
        assert await place_and_regime(shop) == ("", "opt_in")


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_a_place_that_is_said_twice_is_unknown(tmp_path: Path, fast: bool) -> None:
    places = {"source": "header", "region_header": "cf-region-code"}
    async with running(tmp_path, fast=fast, places=places, proxy={"trusted": ["127.0.0.1"]}, shop=OPT_OUT) as shop:
        headers: list[tuple[str, str | bytes]] = [("Origin", PAGE), ("User-Agent", AGENT)]
        for number, more in enumerate((["US", "DE"], ["US", "US"])):
            pairs = [*headers, *(("CF-IPCountry", country) for country in more), ("CF-Region-Code", "VA")]
            body = {"name": "page_view", "id": f"twice-{number:03d}"}
            assert (await shop.send("POST", "/collect", headers=pairs, body=body, host=HOST)).status == 204
            assert shop.facts(f"twice-{number:03d}")["judgement"]["regime"] == "opt_in"


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_anybody_elses_header_says_nothing(tmp_path: Path, fast: bool) -> None:
    places = {"source": "header", "region_header": "cf-region-code"}
    async with running(tmp_path, fast=fast, places=places, proxy={"trusted": ["10.0.0.1"]}, shop=OPT_OUT) as shop:
        assert await place_and_regime(shop, CF_IPCountry="US", CF_Region_Code="VA") == ("", "opt_in")


async def test_without_a_source_a_header_says_nothing_and_the_site_decides(tmp_path: Path) -> None:
    async with running(tmp_path, proxy={"trusted": ["127.0.0.1"]}, shop=OPT_OUT) as shop:
        assert await place_and_regime(shop, CF_IPCountry="DE") == ("", "opt_out")


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_a_database_says_where_the_visitor_is(tmp_path: Path, fast: bool) -> None:
    write_database(tmp_path / "places.mmdb")
    places = {"source": "database", "database": str(tmp_path / "places.mmdb")}
    async with running(tmp_path, fast=fast, places=places, proxy={"trusted": ["127.0.0.1"]}, shop=OPT_OUT) as shop:
        assert await place_and_regime(shop, X_Forwarded_For="203.0.113.9") == ("US-CA", "opt_out_signal")
        assert await place_and_regime(shop, X_Forwarded_For="198.51.100.1") == ("DE", "opt_in")
        assert await place_and_regime(shop, X_Forwarded_For="8.8.8.8") == ("", "opt_in")
        assert await place_and_regime(shop, X_Forwarded_For="203.0.113.9", CF_IPCountry="DE") == (
            "US-CA",
            "opt_out_signal",
        ), "the header is not asked"
        assert await place_and_regime(shop) == ("", "opt_in")
        rows = shop.rows("select facts from event")
        assert not any(b"203.0.113" in bytes(facts) for (facts,) in rows), "the address is not kept for it"


async def test_a_database_that_is_missing_makes_every_place_unknown(tmp_path: Path) -> None:
    places = {"source": "database", "database": str(tmp_path / "places.mmdb")}
    async with running(tmp_path, places=places, shop=OPT_OUT) as shop:
        assert await place_and_regime(shop) == ("", "opt_in")
        assert await problems(shop) == ["place database places.mmdb: not used (FileNotFoundError)"]
