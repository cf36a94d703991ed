"""Consent signals over a real socket, through both lanes: what came decides what each destination is owed.

Rows 20 and 21 of the attack list are here: strings made to hurt, and browser signals of any value.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.destinations.render import open_payload
from gateway.flows.assemble import place_of
from gateway.purposes import names
from gateway.signals import noted
from tests.bench.consent import OVER, WITHIN
from tests.handlers.conftest import UNLIMITED
from tests.support.cases import named
from tests.support.memory import grows_at_most
from tests.support.nowhere import NOWHERE
from tests.support.running import AGENT, PAGE, Running, refused_with, request_bytes, running
from tests.support.signals import ALL, entries, gpp_frame, gpp_string, tc_string

pytestmark = pytest.mark.asyncio(loop_scope="module")

VECTORS: Final = Path(__file__).parents[1] / "vectors"


def _webhook(name: str, purpose: str, **more: Any) -> dict[str, Any]:
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
    url = f"https://{name}.example/in"
    return {"platform": "webhook", "name": name, "url": url, "purposes": [purpose], "signing_secret": secret, **more}


DESTINATIONS: Final[list[dict[str, Any]]] = [
    {"platform": "meta", "dataset_id": "1234567890", "access_token": "EAAGabcdefghij", "opted_out": "restricted"},
    {"platform": "ga4", "measurement_id": "G-ABCDEF1234", "api_secret": "abcdefghijklmnop"},
    _webhook("crm", "analytics"),
    _webhook("ads", "advertising"),
    _webhook("iab", "advertising", tcf_vendor=33),
    _webhook("provider", "advertising", ac_provider=9),
]
SHOP: Final = {
    "regime": "opt_out",
    "consent_mode": "source",
    "do_not_track": True,
    "consent_platform": {"name": "klaro", "mapping": {"stats": "analytics", "ads": "marketing", "käse": "functional"}},
    "destination": DESTINATIONS,
}
KIOSK: Final = {"regime": "opt_out", "cookieless": "daily"}


@pytest_asyncio.fixture(params=[True, False], ids=["fast", "plain"], scope="module", loop_scope="module")
async def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    directory = tmp_path_factory.mktemp("signals")
    lists = directory / "data" / "gvl"
    lists.mkdir(parents=True, mode=0o700)
    (lists / "vendor-list-v150.json").write_bytes((VECTORS / "gvl-fixture.json").read_bytes())
    async with running(
        directory,
        fast=request.param,
        network=NOWHERE,
        limits=UNLIMITED,
        proxy={"trusted": ["127.0.0.1"]},
        places={"source": "header", "region_header": "cf-region-code"},
        shop=SHOP,
        kiosk=KIOSK,
    ) as started:
        yield started


class Outcome:
    """What became of one event: what the site was granted, what each destination is owed, what was noted."""

    def __init__(self, shop: Running, event_id: str) -> None:
        facts = shop.facts(event_id)
        self.judgement = facts["judgement"]
        self.marks = facts.get("marks", [])
        self.granted = set(names(self.judgement["granted"])) - {"necessary"}
        self.heard = set(self.judgement.get("heard", ()))
        self.owed: dict[str, str] = {}
        self.payloads: dict[str, dict[str, Any]] = {}
        rows = shop.rows(
            "select destination, fate, reason, payload from delivery join event on event_seq = seq where event_id = ?",
            event_id,
        )
        for destination, fate, reason, payload in rows:
            self.owed[destination] = "sent" if fate == "waiting" else reason
            if payload is not None:
                plain = shop.gateway.house.vault.open(payload, place_of("shop", event_id, destination))
                self.payloads[destination] = json.loads(open_payload(plain, None).body)

    @property
    def sent(self) -> set[str]:
        return {destination for destination, word in self.owed.items() if word == "sent"}


_count = iter(range(1_000_000))


async def outcome(
    shop: Running, *, place: str = "", cookie: bytes | str | None = None, headers: Any = (), **body: Any
) -> Outcome:
    """Send one purchase from a page, and look what became of it."""
    event_id = f"signals-{next(_count):06d}"
    country, _, region = place.partition("-")
    pairs: list[tuple[str, str | bytes]] = [("Origin", PAGE), ("User-Agent", AGENT), *headers]
    pairs += [("CF-IPCountry", country)] if country else []
    pairs += [("CF-Region-Code", region)] if region else []
    pairs += [("X-Forwarded-For", "81.2.69.142")]
    pairs += [("Cookie", cookie)] if cookie is not None else []
    event = {
        "name": "purchase", "id": event_id, "value": "10.00", "order_id": event_id,
        "url": "https://www.shop.example/thanks", **body,
    }  # fmt: skip
    said = await shop.send("POST", "/collect", headers=pairs, body=event)
    assert said.status == 204, said
    return Outcome(shop, event_id)


AGREED: Final = {"analytics": "granted", "marketing": "granted"}
EVERYBODY: Final = {"meta", "ga4", "crm", "ads", "iab", "provider"}
ADS: Final = {"advertising", "ad_user_data", "ad_personalization"}
YES: Final = tc_string(purposes=ALL, vendors=(33,), disclosed=(33,), publisher=(1, 8))
NO: Final = tc_string(disclosed=(33,), publisher=())

# ------------------------------------------------------------------ nothing, and a claim


async def test_silence_is_no_consent_where_it_comes_first_and_where_the_place_is_unknown(shop: Running) -> None:
    for place in ("", "DE", "US", "US-WY", "CA-QC", "XX"):
        found = await outcome(shop, place=place)
        assert (found.granted, found.sent) == (set(), set()), place
        assert set(found.owed.values()) == {"consent_missing"}


async def test_silence_permits_where_the_law_and_the_site_say_so(shop: Running) -> None:
    for place in ("US-CA", "US-VA"):
        found = await outcome(shop, place=place)
        assert found.granted == {"functional", "analytics", *ADS}
        assert found.sent == EVERYBODY


async def test_what_the_visitor_agreed_to_reaches_everybody(shop: Running) -> None:
    assert (await outcome(shop, place="DE", consent=AGREED)).sent == EVERYBODY


# ------------------------------------------------------------------ IAB strings


@pytest.mark.parametrize(
    ("body", "cookie"),
    named(
        [
            ("in the body", {"signals": {"tcf": YES}}, None),
            ("in the cookie", {}, f"a=b; euconsent-v2={YES}"),
            ("in the GPP string", {"signals": {"gpp": gpp_string(tcf=YES), "gpp_sid": [2]}}, None),
            ("in all of them", {"signals": {"tcf": YES, "gpp": gpp_string(tcf=YES)}}, f"euconsent-v2={YES}"),
        ]
    ),
)
async def test_a_tc_string_speaks_to_the_vendor_it_names(
    shop: Running, body: dict[str, Any], cookie: str | None
) -> None:
    found = await outcome(shop, place="DE", cookie=cookie, **body)
    assert found.granted == {"analytics"}, "the site's own part"
    assert found.sent == {"iab", "crm", "ga4"}
    assert found.owed["ads"] == found.owed["meta"] == found.owed["provider"] == "consent_missing"


async def test_a_tc_string_that_refuses_is_stronger_than_a_claim_for_the_vendors_it_speaks_to(shop: Running) -> None:
    found = await outcome(shop, place="DE", signals={"tcf": NO}, consent={"marketing": "granted"})
    assert found.sent == {"ads", "meta"}, "who is in no list follows the site's own choice"


async def test_an_additional_consent_string_speaks_to_the_provider_it_names(shop: Running) -> None:
    found = await outcome(shop, place="DE", signals={"tcf": YES, "ac": "2~9~dv.41"})
    assert found.sent == {"iab", "provider", "crm", "ga4"}


async def test_a_string_of_a_missing_list_permits_its_vendors_nothing(shop: Running) -> None:
    text = tc_string(vendor_list=151, purposes=ALL, vendors=(33,), disclosed=(33,))
    found = await outcome(shop, place="DE", signals={"tcf": text}, consent=AGREED)
    assert found.sent == EVERYBODY - {"iab", "provider"}


async def test_outside_of_opt_in_places_a_string_counts_where_the_page_says_so(shop: Running) -> None:
    assert "iab" in (await outcome(shop, place="US-VA", signals={"tcf": NO})).sent
    assert "iab" not in (await outcome(shop, place="US-VA", signals={"tcf": NO, "gdpr": 1})).sent


# ------------------------------------------------------------------ opt-outs


@pytest.mark.parametrize(
    ("place", "body", "headers"),
    named(
        [
            ("Global Privacy Control in California", "US-CA", {}, [("Sec-GPC", "1")]),
            ("Global Privacy Control where no statute names it", "US-VA", {}, [("Sec-GPC", "1")]),
            ("Global Privacy Control seen by the script", "US-CA", {"gpc": True}, []),
            ("the section of the state", "US-CA", {"signals": {"gpp": gpp_string(usca={"SaleOptOut": 1})}}, []),
            ("Global Privacy Control inside the string", "US-CO", {"signals": {"gpp": gpp_string(usco={"Gpc": 1})}}, []),
            ("the national section", "US-TX", {"signals": {"gpp": gpp_string(usnat={"SharingOptOut": 1})}}, []),
            ("the older string", "US-CA", {"signals": {"us_privacy": "1YYN"}}, []),
        ]
    ),
)  # fmt: skip
async def test_an_opt_out_withholds_advertising_or_restricts_it_where_the_operator_chose_so(
    shop: Running, place: str, body: dict[str, Any], headers: Any
) -> None:
    found = await outcome(shop, place=place, headers=headers, **body)
    assert found.granted == {"functional", "analytics"}
    assert found.sent == {"meta", "crm", "ga4"}
    assert {found.owed[name] for name in ("ads", "iab", "provider")} == {"opted_out"}
    limited = found.payloads["meta"]
    assert limited["data_processing_options"] == ["LDU"]
    assert (limited["data_processing_options_country"], limited["data_processing_options_state"]) == (0, 0)
    assert limited["opt_out"] is True
    assert "LDU" not in json.dumps(found.payloads["ga4"])


async def test_without_an_opt_out_nothing_is_restricted(shop: Running) -> None:
    whole = (await outcome(shop, place="US-CA")).payloads["meta"]
    assert "data_processing_options" not in whole
    assert "opt_out" not in whole


async def test_the_section_of_another_state_says_nothing_about_this_visitor(shop: Running) -> None:
    text = gpp_string(usca={"SaleOptOut": 1})
    assert (await outcome(shop, place="US-VA", signals={"gpp": text})).sent == EVERYBODY
    declared = await outcome(shop, place="US-VA", signals={"gpp": text, "gpp_sid": [8]})
    assert declared.sent == {"meta", "crm", "ga4"}


async def test_where_consent_comes_first_an_opt_out_leaves_no_restricted_mode(shop: Running) -> None:
    for place in ("DE", ""):
        found = await outcome(shop, place=place, headers=[("Sec-GPC", "1")], consent=AGREED)
        assert found.sent == {"crm", "ga4"}
        assert found.owed["meta"] == "opted_out"


async def test_a_refusal_on_this_site_is_not_lifted_by_an_opt_out(shop: Running) -> None:
    found = await outcome(shop, place="US-CA", headers=[("Sec-GPC", "1")], consent={"marketing": "denied"})
    assert found.sent == {"crm", "ga4"}


async def test_do_not_track_refuses_where_consent_comes_first_and_nobody_agreed(shop: Running) -> None:
    asked = [("DNT", "1")]
    assert "dnt" in (await outcome(shop, place="DE", headers=asked)).heard
    assert (await outcome(shop, place="DE", headers=asked, consent=AGREED)).sent == EVERYBODY
    assert (await outcome(shop, place="US-CA", headers=asked)).sent == EVERYBODY


# ------------------------------------------------------------------ the consent platform


@pytest.mark.parametrize(
    ("cookie", "granted"),
    named(
        [
            ("as it is", b'klaro={"stats":true,"ads":false}', {"analytics"}),
            ("percent-encoded", b"klaro=%7B%22stats%22%3Atrue%7D", {"analytics"}),
            ("octets of UTF-8", 'klaro={"käse":true}'.encode(), {"functional"}),
            ("among octets that are no UTF-8", b'x=\xff\xfe; klaro={"stats":true}; \x80=y', {"analytics"}),
            ("octets that are no UTF-8 in it", b'klaro={"stats":true,"\xe4":true}', set()),
            ("another platform's", b'cc_cookie={"categories":["stats"],"services":{}}', set()),
        ]
    ),
)
async def test_the_platforms_cookie_is_the_visitors_word(shop: Running, cookie: bytes, granted: set[str]) -> None:
    found = await outcome(shop, place="DE", cookie=cookie)
    assert found.granted == granted
    assert ("platform" in found.heard) == bool(granted)


async def test_a_cookie_in_several_headers_is_one(shop: Running) -> None:
    headers = [("Cookie", "a=b"), ("Cookie", 'klaro={"stats":true}')]
    assert (await outcome(shop, place="DE", headers=headers)).granted == {"analytics"}


async def test_the_platforms_interface_is_heard_and_never_above_its_cookie(shop: Running) -> None:
    told = {"platform": "klaro", "choice": "explicit", "categories": {"stats": True, "ads": True}}
    assert (await outcome(shop, place="DE", signals=told)).granted == {"analytics", *ADS}
    found = await outcome(shop, place="DE", signals=told, cookie='klaro={"stats":true,"ads":false}')
    assert found.granted == {"analytics"}
    assert "consent_conflict" in found.marks


async def test_a_platform_that_is_not_configured_is_not_heard(shop: Running) -> None:
    found = await outcome(
        shop, place="DE", signals={"platform": "onetrust", "choice": "explicit", "categories": {"stats": True}}
    )
    assert (found.granted, found.marks) == (set(), ["platform_not_configured"])


# ------------------------------------------------------------------ Google


async def test_consent_mode_speaks_to_google_and_to_nobody_else(shop: Running) -> None:
    granted = await outcome(shop, place="DE", signals={"gcs": "G111", "gcd": "13r3r3r3r5l1"}, cookie="_ga=GA1.1.1.1")
    assert (granted.granted, granted.sent) == (set(), {"ga4"})
    assert granted.payloads["ga4"]["consent"] == {"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}
    set_by_page = {"google": {"analytics_storage": "denied", "ad_storage": "granted"}}
    denied = await outcome(shop, place="DE", signals=set_by_page, consent=AGREED)
    assert denied.sent == EVERYBODY - {"ga4"}


async def test_what_google_assumes_about_silence_is_nobodys_choice(shop: Running) -> None:
    assert (await outcome(shop, place="DE", signals={"gcd": "13l3l3l3l1l1"})).sent == set()


# ------------------------------------------------------------------ people


async def test_of_a_minor_and_of_sensitive_data_no_advertiser_learns(shop: Running) -> None:
    for place in ("US-CA", "DE"):
        for fields in ({"minor": True}, {"sensitive": ["health"]}):
            found = await outcome(shop, place=place, consent=AGREED, **fields)
            assert found.sent == {"crm", "ga4"}, (place, fields)
    agreed = {**AGREED, "sensitive_data": "granted"}
    assert (await outcome(shop, place="DE", consent=agreed, sensitive=["health"])).sent == EVERYBODY


async def test_a_known_child_in_the_string_is_a_minor(shop: Running) -> None:
    text = gpp_string(usca={"KnownChildSensitiveDataConsents": (1, 1)})
    found = await outcome(shop, place="US-CA", signals={"gpp": text}, consent=AGREED)
    assert found.sent == {"crm", "ga4"}, "and no restricted mode either"


async def test_sensitive_data_a_string_refuses_is_not_sold_whatever_the_page_says(shop: Running) -> None:
    agreed = {**AGREED, "sensitive_data": "granted"}
    text = gpp_string(usva={"SensitiveDataProcessing": (2, 2, 1, 2, 2, 2, 2, 2)})
    refused = await outcome(shop, place="US-VA", signals={"gpp": text}, consent=agreed, sensitive=["health"])
    assert refused.sent == {"crm", "ga4"}
    other = await outcome(shop, place="US-VA", signals={"gpp": text}, consent=agreed, sensitive=["religion"])
    assert other.sent == EVERYBODY


# ------------------------------------------------------------------ several events, backends, images


async def test_events_of_one_request_are_judged_each_by_its_own_signals(shop: Running) -> None:
    events: list[dict[str, Any]] = [
        {"name": "purchase", "id": "each-0001", "signals": {"tcf": YES}},
        {"name": "purchase", "id": "each-0002", "signals": {"tcf": NO}},
        {"name": "purchase", "id": "each-0003", "minor": True, "consent": AGREED},
        {"name": "purchase", "id": "each-0004"},
    ]
    for event in events:
        event |= {"value": 1, "order_id": event["id"]}
    said = await shop.collect({"events": events}, CF_IPCountry="DE", cookie='klaro={"stats":true}')
    assert said.status == 204
    granted = [Outcome(shop, f"each-000{number}").sent for number in (1, 2, 3, 4)]
    assert granted == [{"iab", "crm", "ga4"}, set(), {"crm", "ga4"}, {"crm", "ga4"}]


async def test_signals_beside_events_hold_for_those_without_their_own(shop: Running) -> None:
    events: list[dict[str, Any]] = [
        {"name": "purchase", "id": "beside-001"},
        {"name": "purchase", "id": "beside-002", "signals": {"tcf": NO}},
    ]
    for event in events:
        event |= {"value": 1, "order_id": event["id"]}
    assert (await shop.collect({"events": events, "signals": {"tcf": YES}}, CF_IPCountry="DE")).status == 204
    assert Outcome(shop, "beside-001").sent == {"iab", "crm", "ga4"}
    assert Outcome(shop, "beside-002").sent == set()


async def test_an_image_is_judged_by_cookie_and_header(shop: Running) -> None:
    headers = {"Origin": PAGE, "Cookie": 'klaro={"stats":true}', "Sec-GPC": "1", "CF-IPCountry": "DE"}
    said = await shop.send("GET", "/p.gif?name=purchase&id=image-0001", headers=headers)
    assert said.status == 200
    found = Outcome(shop, "image-0001")
    assert (found.granted, found.heard) == ({"analytics"}, {"platform", "sec_gpc"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(shop: Running) -> str:
    return str((await shop.new_key())["key"])


async def server_outcome(shop: Running, key: str, headers: dict[str, str] | None = None, **body: Any) -> Outcome:
    event_id = f"server-{next(_count):06d}"
    fields = {"name": "purchase", "id": event_id, "value": 1, "order_id": event_id, **body}
    said = await shop.api("/api/v1/conversions", fields, key, headers=headers)
    assert said.status == 200, said
    return Outcome(shop, event_id)


@pytest.mark.parametrize(
    ("person", "place", "regime"),
    named(
        [
            ("a state by its code", {"country": "US", "region": "CA"}, "US-CA", "opt_out_signal"),
            ("in lower case", {"country": "us", "region": "va"}, "US-VA", "opt_out"),
            ("a state by its name is unknown", {"country": "US", "region": "California"}, "US", "opt_in"),
            ("a country", {"country": "DE", "region": "BY"}, "DE-BY", "opt_in"),
            ("a country by its name is unknown", {"country": "Germany"}, "", "opt_in"),
            ("a hash is unknown", {"country": "a" * 64}, "", "opt_in"),
            ("nobody", {"external_id": "1"}, "", "opt_in"),
        ]
    ),
)
async def test_a_backends_event_is_judged_where_its_person_is(
    shop: Running, key: str, person: dict[str, str], place: str, regime: str
) -> None:
    found = await server_outcome(shop, key, person=person)
    assert (found.judgement.get("place", ""), found.judgement["regime"]) == (place, regime)


async def test_a_backends_own_headers_are_nobodys_signals(shop: Running, key: str) -> None:
    headers = {"Sec-GPC": "1", "DNT": "1", "CF-IPCountry": "DE", "Cookie": 'klaro={"stats":false}'}
    found = await server_outcome(shop, key, headers=headers, person={"country": "US", "region": "VA"})
    assert (found.heard, found.granted) == (set(), {"functional", "analytics", *ADS})


async def test_a_backend_may_send_the_signals_it_holds(shop: Running, key: str) -> None:
    found = await server_outcome(shop, key, signals={"tcf": YES}, person={"country": "DE"})
    assert "iab" in found.sent
    assert "ads" not in found.sent
    opted = await server_outcome(
        shop, key, signals={"gpp": gpp_string(usca={"SaleOptOut": 1})}, person={"country": "US", "region": "CA"}
    )
    assert opted.owed["ads"] == "opted_out"
    claimed = await server_outcome(shop, key, consent=AGREED, signals={"tcf": NO}, person={"country": "DE"})
    assert claimed.heard == {"backend", "tcf"}
    assert (claimed.owed["iab"], claimed.owed["ads"]) == ("consent_missing", "sent")


async def test_marks_come_back_to_the_backend(shop: Running, key: str) -> None:
    said = await shop.api("/api/v1/events", {"name": "a", "signals": {"tcf": "null", "gcs": "x"}}, key)
    assert said.json()["marks"] == ["tcf_version", "consent_mode_gcs_length"]


# ------------------------------------------------------------------ the attack list


def counted(shop: Running, mark: str) -> float:
    return shop.gateway.house.telemetry.registry.get_sample_value("gateway_marks_total", {"mark": mark}) or 0.0


def ranged(pairs: list[tuple[int, int]], highest: int = 65_535) -> str:
    return tc_string(vendor_section=f"{highest:016b}1" + entries(pairs), purposes=ALL, disclosed=(33,))


FITS: Final = {name: carried for name, carried in WITHIN.items() if carried.signals is not None}
HOSTILE: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a range of everybody a thousand times": ({"tcf": ranged([(1, 65_535)] * 1_000)}, ""),
    "a range that ends before it begins": ({"tcf": ranged([(9, 3)])}, "tcf_range_reversed"),
    "a vendor beyond the highest": ({"tcf": ranged([(65_535, 65_535)], highest=9)}, "tcf_vendor_beyond_maximum"),
    "vendor 0": ({"tcf": ranged([(0, 5)])}, "tcf_vendor_zero"),
    "truncated": ({"tcf": YES[: len(YES) // 3]}, "tcf_truncated"),
    "version 1": ({"tcf": "B" + YES[1:]}, "tcf_version"),
    "version 3": ({"tcf": "D" + YES[1:]}, "tcf_version"),
    "invalid base64": ({"tcf": YES.replace("A", "+", 1)}, "tcf_encoding"),
    "blanks": ({"tcf": f" {YES}"}, "tcf_encoding"),
    "letters that are not ASCII": ({"tcf": "Ｃ" + YES[1:]}, "tcf_encoding"),
    "a NUL": ({"tcf": YES + "\x00"}, "tcf_encoding"),
    "a hundred parts": ({"tcf": ".".join([YES.partition(".")[0]] * 100)}, "tcf_too_many_segments"),
    "a word": ({"tcf": "undefined"}, "tcf_version"),
    "60 KB": ({"tcf": "C" * 60_000}, "tcf_too_long"),
    "over 1,000 ranges": ({"tcf": OVER["TC string, 1,001 ranges"].signals.tcf}, "tcf_too_many_ranges"),  # type: ignore[union-attr] # made with signals
    "unknown sections": ({"gpp": gpp_frame({28: "BAAA"})}, ""),
    "a section number of millions": ({"gpp": gpp_frame({5_000_000: "BAAA"})}, "gpp_id_too_high"),
    "5,000 sections": ({"gpp": "DBABLA" + "~B" * 5_000}, "gpp_too_many_sections"),
    "60 KB of sections": ({"gpp": "DBABLA~" + "B" * 60_000}, "gpp_too_long"),
    "an unknown version of a section": ({"gpp": "DBABLA~DAAAAAAAAAA"}, "gpp_unknown_version"),
    "an additional consent string of 60 KB": ({"tcf": NO, "ac": "2~" + "1." * 30_000}, "ac_too_long"),
    "letters of consent mode of 60 KB": ({"gcd": "1" * 60_000}, "consent_mode_gcd_length"),
    "a US Privacy string of 60 KB": ({"us_privacy": "1" * 60_000}, "us_privacy_length"),
    "thousands of categories": ({"choice": "explicit", "categories": {f"{n:x}": True for n in range(4_000)}}, "platform_unmapped"),
    "thousands of consent types": ({"google": {f"{n:x}": "granted" for n in range(3_000)}}, "consent_mode_type"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
async def test_row_20_a_string_made_to_hurt_is_absent_and_counted(shop: Running, case: str) -> None:
    signals, mark = HOSTILE[case]
    before = counted(shop, mark) if mark else 0.0
    begun = time.perf_counter()
    found = await outcome(shop, place="DE", signals=signals)
    assert time.perf_counter() - begun < 1, "answered at once"
    assert (found.granted, found.sent & {"ads", "meta", "provider"}) == (set(), set()), "invalid is no consent"
    assert all(noted.meaning(found_mark) for found_mark in found.marks)
    if mark:
        assert mark in found.marks
        assert counted(shop, mark) == before + 1
    await shop.still_answers()


@pytest.mark.parametrize("case", FITS)
async def test_row_20_the_heaviest_strings_within_the_caps_hold_up_nobody(shop: Running, case: str) -> None:
    carried = FITS[case]
    assert carried.signals is not None
    signals = {
        name: list(value) if isinstance(value, tuple) else value
        for name in ("tcf", "gdpr", "ac", "gpp", "gpp_sid", "us_privacy", "gcs", "gcd")
        if (value := getattr(carried.signals, name)) is not None
    }
    begun = time.perf_counter()
    await outcome(shop, place="DE", signals=signals, cookie=carried.cookie.encode("latin-1") or None)
    assert time.perf_counter() - begun < 1
    await shop.still_answers()


COOKIES: Final[dict[str, tuple[bytes, str]]] = {
    "nested as deep as fits": (b"klaro=" + b"[" * 8_000, "platform_too_deep"),
    "objects nested as deep as fits": (b"klaro=" + b'{"a":' * 1_600, "platform_too_deep"),
    "objects nested whole": (b"klaro=" + b'{"a":' * 800 + b"1" + b"}" * 800, "platform_too_deep"),
    "longer than a cookie": (b"klaro=" + b"x" * 8_193, "platform_cookie_too_long"),
    "a number of thousands of digits": (b'klaro={"a":' + b"9" * 8_000 + b"}", "platform_not_json"),
    "a header of 16 KB": (b"a=" + b"x" * 16_000 + b'; klaro={"stats":true}', ""),
    "thousands of cookies": (b"; ".join(b"klaro%d=1" % number for number in range(1_100)), ""),
    "the same cookie a thousand times": (b"; ".join([b'klaro={"stats":true}'] * 700), ""),
    "two that differ": (b'klaro={"stats":true}; klaro={"ads":true}', "platform_conflict"),
    "nothing but semicolons": (b";" * 16_000, ""),
    "nothing but equals signs": (b"=" * 16_000, ""),
    "octets of every value": (b"klaro=" + bytes(range(128, 256)) + b"; euconsent-v2=" + bytes(range(128, 256)), "platform_encoding"),
    "a TC string of 16 KB": (b"euconsent-v2=" + b"C" * 16_300, "tcf_too_many_restrictions"),
    "many TC strings": (b"; ".join(b"euconsent-v2=C%d" % number for number in range(800)), "tcf_truncated"),
}  # fmt: skip


@pytest.mark.parametrize("case", COOKIES)
async def test_row_20_a_cookie_made_to_hurt_is_absent_and_counted(shop: Running, case: str) -> None:
    cookie, mark = COOKIES[case]
    before = counted(shop, mark) if mark else 0.0
    found = await outcome(shop, place="DE", cookie=cookie[:16_384])
    assert not found.granted - {"analytics"}
    if mark:
        assert not found.granted
        assert mark in found.marks
        assert counted(shop, mark) == before + 1
    await shop.still_answers()


@pytest.mark.parametrize("size", [16_385, 17_000, 100_000])
async def test_row_20_a_header_over_its_limit_is_refused_and_the_server_goes_on(shop: Running, size: int) -> None:
    stored = shop.everything_stored()
    headers = {"Origin": PAGE, "User-Agent": AGENT, "Cookie": "klaro=" + "x" * size}
    said = (await shop.talk(request_bytes(headers=headers, body=b'{"name":"page_view"}'))).only
    assert said.status in {400, 431}
    assert shop.everything_stored() == stored
    await shop.still_answers()


async def test_row_20_many_cookie_headers_are_one_that_is_too_long(shop: Running) -> None:
    """Each of them is within the limit of a header, all of them together are not one any browser sends."""
    headers = [("Cookie", f"k{number}={'x' * 16_000}") for number in range(60)]
    headers += [("Cookie", 'klaro={"stats":true}'), ("Cookie", f"euconsent-v2={YES}")]
    found = await outcome(shop, place="DE", headers=headers)
    assert (found.granted, found.sent) == (set(), set())
    assert {"platform_header_too_long", "tcf_header_too_long"} <= set(found.marks)
    await shop.still_answers()


async def test_row_20_a_body_over_its_limit_is_refused_whole(shop: Running) -> None:
    stored = shop.everything_stored()
    said = await shop.collect({"name": "purchase", "signals": {"tcf": "C" * 1_000_000}})
    refused_with(said, 413, "body_too_large")
    assert shop.everything_stored() == stored
    await shop.still_answers()


async def test_row_20_a_hundred_events_with_strings_of_their_own_are_no_burden(shop: Running) -> None:
    """As many different strings as a body holds, beside the worst cookie: the cookie is read once for all of them."""
    cookie = WITHIN["all of it at once"].cookie.encode("latin-1")
    events = [
        {"name": "a", "signals": {"tcf": tc_string(cmp=2 + number), "gpp": "x" * number, "gcs": str(number)}}
        for number in range(100)
    ]
    body = json.dumps({"events": events}).encode()
    assert len(body) < 65_536
    begun = time.perf_counter()
    with grows_at_most(20):
        said = await shop.send(
            "POST", "/collect", headers=[("Origin", PAGE), ("User-Agent", AGENT), ("Cookie", cookie)], body=body
        )
    assert said.status == 204
    assert time.perf_counter() - begun < 2
    await shop.still_answers()


async def test_row_20_valid_traffic_goes_on_beside_hostile_strings(shop: Running) -> None:
    worst = WITHIN["TC string, 252 restrictions, 756 ranges"].signals
    assert worst is not None

    async def attack() -> None:
        for _ in range(20):
            await outcome(shop, place="DE", signals={"tcf": worst.tcf})

    attacks = [asyncio.create_task(attack()) for _ in range(4)]
    for _ in range(5):
        async with asyncio.timeout(1):
            assert (await shop.collect({"name": "page_view"})).status == 204
    await asyncio.gather(*attacks)


@pytest.mark.parametrize(
    ("values", "honoured"),
    named(
        [
            ("1", [b"1"], True),
            ("0", [b"0"], False),
            ("2", [b"2"], False),
            ("1 twice", [b"1", b"1"], True),
            ("0 and 1", [b"0", b"1"], True),
            ("1 and 0", [b"1", b"0"], True),
            ("nothing in it", [b""], False),
            ("a word", [b"true"], False),
            ("1 with a comma", [b"1, 1"], False),
            ("a decimal", [b"1.0"], False),
            ("11", [b"11"], False),
            ("a letter that looks like 1", "１".encode(), False),
            ("an octet", [b"\xb9"], False),
            ("a long one, and 1", [b"x" * 9_000, b"1"], True),
        ]
    ),
)
async def test_row_21_one_value_of_global_privacy_control_is_honoured_and_no_other(
    shop: Running, values: Any, honoured: bool
) -> None:
    sent = [values] if isinstance(values, bytes) else values
    found = await outcome(shop, place="US-CA", headers=[("Sec-GPC", value) for value in sent])
    assert ("sec_gpc" in found.heard) is honoured
    assert ("advertising" not in found.granted) is honoured


OUT: Final = gpp_string(usca={"SaleOptOut": 1}).partition("~")[2]


@pytest.mark.parametrize(
    ("text", "place", "opted_out", "mark"),
    named(
        [
            ("a section nobody knows, and one that opts out", gpp_frame({8: OUT, 28: "BAAA"}), "US-CA", True, None),
            ("a section nobody knows alone", gpp_frame({28: "BAAA"}), "US-CA", False, None),
            ("a section with a number too high", gpp_frame({64: "BAAA"}), "US-CA", False, "gpp_id_too_high"),
            ("a value nobody defined is an opt-out", gpp_string(usca={"SaleOptOut": 3}), "US-CA", True, None),
            ("a notice that was not given is an opt-out", gpp_string(usca={"SaleOptOutNotice": 2}), "US-CA", True, None),
            ("one section too few", "DBABLA", "US-CA", False, "gpp_section_count"),
            ("one that cannot be read beside one that can", gpp_frame({6: "1yyn", 8: OUT}), "US-CA", True, "gpp_section_letter"),
            ("the opt-out of another state", gpp_string(usut={"SaleOptOut": 1}), "US-CA", False, None),
        ]
    ),
)  # fmt: skip
async def test_row_21_a_gpp_string_is_read_as_far_as_it_can_be(
    shop: Running, text: str, place: str, opted_out: bool, mark: str | None
) -> None:
    found = await outcome(shop, place=place, signals={"gpp": text})
    assert ("advertising" not in found.granted) is opted_out
    assert found.marks == ([mark] if mark is not None else [])


async def test_row_21_signals_of_other_sites_are_not_mixed_up(shop: Running) -> None:
    headers = {
        "Origin": "https://www.kiosk.example",
        "User-Agent": AGENT,
        "CF-IPCountry": "DE",
        "Cookie": 'klaro={"stats":true}',
    }
    body = {"name": "page_view", "id": "kiosk-0001"}
    assert (await shop.send("POST", "/collect", headers=headers, body=body, host="t.kiosk.example")).status == 204
    judgement = shop.facts("kiosk-0001")["judgement"]
    assert judgement["granted"] == 1, "another site, and it names no platform"


async def test_no_signal_is_kept_as_it_came(shop: Running) -> None:
    """Strings hold when and where somebody chose: what is stored is what they mean."""
    secret = tc_string(cmp=4_000, purposes=ALL, vendors=(33,), disclosed=(33,))
    found = await outcome(
        shop, place="DE", signals={"tcf": secret}, cookie=f'klaro={{"stats":true}}; euconsent-v2={YES}'
    )
    assert found.sent >= {"crm"}
    whole = b"".join(path.read_bytes() for path in (shop.directory / "data").glob("gateway.db*"))
    assert secret.encode() not in whole
    assert YES.encode() not in whole
    assert secret not in shop.log_text
