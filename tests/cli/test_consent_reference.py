"""The table of the reference page on consent: every row against words written by hand, and against a running gateway."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gateway import consent_reference, identity, reference
from gateway.consent import RULES_VERSION
from gateway.consent_cases import CASES, COLUMNS, LISTS, NOW_MS, SITE, Row, cell, row
from gateway.destinations.registry import DESTINATIONS
from gateway.destinations.render import open_payload
from gateway.event import Signals
from gateway.flows.assemble import place_of
from gateway.purposes import ALIASES, SENSITIVE, SOURCES, Step
from gateway.signals import noted
from gateway.signals.cmp_platforms import PLATFORMS
from tests.handlers.conftest import UNLIMITED
from tests.support.nowhere import NOWHERE
from tests.support.running import AGENT, PAGE, Running, running

ROOT: Final = Path(__file__).parents[2]
PAGE_TEXT: Final = (ROOT / "docs" / "reference" / "consent.md").read_text("utf-8")

# ------------------------------------------------------------------ the table, by hand

YES, BARE, LDU = "sent", "sent without contact data", "restricted"
NO, OUT, DAY = "withheld (consent_missing)", "withheld (opted_out)", "withheld (cookieless)"

HEADINGS: Final = (
    "meta", "google_ads", "ga4", "meta, restricted", "webhook for analytics", "webhook for advertising",
    "webhook of an IAB vendor", "webhook of a Google provider",
)  # fmt: skip

NOBODY: Final = (NO,) * 8
ALL: Final = (YES,) * 8
ANALYTICS: Final = (NO, NO, BARE, NO, BARE, NO, NO, NO)
OPTED_OUT: Final = (OUT, OUT, BARE, LDU, BARE, OUT, OUT, OUT)
AND_NO_YES: Final = (OUT, OUT, BARE, OUT, BARE, OUT, OUT, OUT)

EXPECTED: Final[dict[str, tuple[str, ...]]] = {
    "Nothing said, in Germany": NOBODY,
    "Nothing said, place unknown": NOBODY,
    "Nothing said, in California": ALL,
    "Nothing said, in Virginia": ALL,
    "Nothing said, in a US state without a privacy law": NOBODY,
    "Everything granted on the page, in Germany": ALL,
    "Only analytics granted, in Germany": ANALYTICS,
    "Analytics and advertising granted, user data not, in Germany": (NO, NO, BARE, NO, BARE, BARE, BARE, BARE),
    "Advertising with user data granted, personalisation not, in Germany": (YES, YES, NO, YES, NO, YES, YES, YES),
    "Everything denied on the page, in California": NOBODY,
    "Marketing refused earlier, everything granted by the page now, in Germany": ANALYTICS,
    "Everything granted earlier, nothing said now, in Germany": ALL,
    "Global Privacy Control, in California": OPTED_OUT,
    "Global Privacy Control, in Virginia": OPTED_OUT,
    "Global Privacy Control, everything granted on the page, in Germany": AND_NO_YES,
    "The same, where the operator set gpc_grant_overrides": ALL,
    "Global Privacy Control, and marketing denied on the page, in California": AND_NO_YES,
    "GPP string with an opt-out of sale, in California": OPTED_OUT,
    "GPP string with an opt-out in Utah only, in California": ALL,
    "GPP string that allows service providers only, in California": OPTED_OUT,
    "US Privacy string with an opt-out, in California": OPTED_OUT,
    "TC string that permits all, in Germany": (NO, YES, BARE, NO, BARE, NO, YES, NO),
    "TC string that permits all, with an additional consent string, in Germany": (NO, YES, BARE, NO, BARE, NO, YES, YES),
    "TC string that does not disclose the vendor, in Germany": ANALYTICS,
    "TC string of a vendor list that is not here, everything granted on the page, in Germany": (
        YES, NO, YES, YES, YES, YES, NO, NO,
    ),
    "TC string that refuses all, everything granted on the page, in Germany": (YES, NO, NO, YES, NO, YES, NO, NO),
    "TC string that refuses all, in California, where the page does not say that the TCF applies": ALL,
    "Google's consent mode denies analytics and ads, everything granted on the page, in Germany": (
        YES, NO, NO, YES, YES, YES, YES, YES,
    ),
    "Google's consent mode grants all, nothing else said, in Germany": NOBODY,
    'The same, where the operator set consent_mode = "source"': (NO, YES, YES, NO, NO, NO, NO, NO),
    "The consent platform's cookie grants all, in Germany": ALL,
    "The consent platform's cookie refuses marketing, everything granted by the page, in Germany": ANALYTICS,
    "Strings that cannot be read, in Germany": NOBODY,
    "Do Not Track, everything granted on the page, in Germany": ALL,
    "A minor, everything granted, in Germany": ANALYTICS,
    "A minor, nothing said, in California": ANALYTICS,
    "A child without consent in the GPP string, in California": AND_NO_YES,
    "Sensitive data, everything granted, in Germany": ANALYTICS,
    "Sensitive data, nothing said, in California": ANALYTICS,
    "Sensitive data, everything and its use granted, in Germany": ALL,
    'Advertising granted, analytics not, where the operator set cookieless = "daily", in Germany': (DAY,) * 8,
}  # fmt: skip


def test_the_table_has_the_rows_and_columns_written_here() -> None:
    assert tuple(column.name for column in COLUMNS) == HEADINGS
    assert [one.title for one in CASES] == list(EXPECTED)
    assert {column.platform for column in COLUMNS} == set(DESTINATIONS)


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.title)
def test_a_row_says_what_is_written_here(one: Row) -> None:
    assert row(one) == EXPECTED[one.title]
    line = "| " + " | ".join((one.title, *EXPECTED[one.title])) + " |"
    assert line in PAGE_TEXT.splitlines(), "and so does the page"


def test_a_cell_is_found_by_its_headings() -> None:
    assert cell("Global Privacy Control, in California", "meta, restricted") == LDU
    with pytest.raises(StopIteration):
        cell("Global Privacy Control, in Utopia", "meta")


# ------------------------------------------------------------------ the table, by a running gateway


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "meta": {"dataset_id": "1234567890", "access_token": "EAAGabcdefghij"},
    "ga4": {"measurement_id": "G-ABCDEF1234", "api_secret": "abcdefghijklmnop"},
    "google_ads": {
        "customer_id": "1234567890", "conversion_actions": {"purchase": "987654321"}, "client_id": "x.example",
        "client_secret": "abcdefghij", "refresh_token": "1//abcdefghij",
    },
    "webhook": {
        "url": "https://crm.example/in", "contact": "sha256",
        "signing_secret": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY",
    },
}  # fmt: skip
EMAIL: Final = "jane@example.com"
HASHED: Final = hashlib.sha256(EMAIL.encode()).hexdigest()

GROUPS: Final[list[Mapping[str, object]]] = [{}, *(one.settings for one in CASES if one.settings)]


def site_rows(settings: Mapping[str, object]) -> dict[str, Any]:
    """The site of the table as a settings file would have it."""
    destinations = [
        {"platform": column.platform, "name": f"d{number}", **OPTIONS[column.platform], **column.settings}
        for number, column in enumerate(COLUMNS)
    ]
    rows: dict[str, Any] = msgspec.to_builtins({**SITE, **settings})
    return {**rows, "destination": destinations}


def write_lists(directory: Path) -> None:
    (made,) = LISTS.values()
    vendors = {
        str(number): {"id": number, "name": "x", "purposes": [n for n in range(25) if vendor.purposes >> n & 1]}
        for number, vendor in made.vendors.items()
    }
    document = {
        "gvlSpecificationVersion": 3, "vendorListVersion": made.version, "tcfPolicyVersion": 5,
        "lastUpdated": "2026-11-19T16:00:00Z", "vendors": vendors,
    }  # fmt: skip
    directory.mkdir(parents=True, mode=0o700)
    (directory / "vendor-list-v150.json").write_text(json.dumps(document))


def body_of(one: Row, event_id: str) -> dict[str, Any]:
    case = one.case
    body: dict[str, Any] = {
        "name": "purchase", "id": event_id, "value": "10.00", "order_id": event_id, "url": f"{PAGE}/thanks",
        "person": {"email": EMAIL}, "minor": case.minor, "sensitive": list(case.sensitive),
    }  # fmt: skip
    if case.consent:
        body["consent"] = case.consent
    if case.signals is not None:
        said, nothing = msgspec.to_builtins(case.signals), msgspec.to_builtins(Signals())
        body["signals"] = {name: value for name, value in said.items() if value != nothing[name]}
    return body


def headers_of(one: Row, shop: Running) -> list[tuple[str, str | bytes]]:
    case = one.case
    country, _, region = case.place.partition("-")
    cookies = ["_ga=GA1.1.123.456", *([case.cookie] if case.cookie else [])]
    if case.stored:
        sets = {"granted": 1, "denied": 0}
        for name, said in case.stored.items():
            sets[said] |= ALIASES[name]
        receipt = identity.Receipt(sets["granted"], sets["denied"], NOW_MS, "1", "x" * 22)
        keys = shop.gateway.house.by_id["shop"].keys
        cookies.append(f"__Host-gwconsent={identity.sign_receipt(keys, receipt)}")
    return [
        ("Origin", PAGE),
        ("User-Agent", AGENT),
        ("X-Forwarded-For", "81.2.69.142"),
        ("Cookie", "; ".join(cookies)),
        *([("CF-IPCountry", country)] if country else []),
        *([("CF-Region-Code", region)] if region else []),
        *([("Sec-GPC", "1")] if case.gpc else []),
        *([("DNT", "1")] if case.dnt else []),
    ]


def words_of(shop: Running, event_id: str) -> tuple[str, ...]:
    """What is stored of each delivery, in the words of the table."""
    found = {}
    rows = shop.rows(
        "select destination, fate, reason, payload from delivery join event on event_seq = seq where event_id = ?",
        event_id,
    )
    for name, fate, reason, payload in rows:
        if fate != "waiting":
            found[name] = f"{fate} ({reason})"
            continue
        plain = shop.gateway.house.vault.open(payload, place_of("shop", event_id, name))
        text = open_payload(plain, None).body.decode()
        found[name] = LDU if "LDU" in text else YES if HASHED in text else BARE
    return tuple(found[f"d{number}"] for number in range(len(COLUMNS)))


@pytest.mark.parametrize("settings", GROUPS, ids=lambda settings: ", ".join(settings) or "defaults")
async def test_a_running_gateway_does_what_the_table_says(tmp_path: Path, settings: Mapping[str, object]) -> None:
    write_lists(tmp_path / "data" / "gvl")
    async with running(
        tmp_path,
        network=NOWHERE,
        limits=UNLIMITED,
        proxy={"trusted": ["127.0.0.1"]},
        places={"source": "header", "region_header": "cf-region-code"},
        shop=site_rows(settings),
    ) as shop:
        judged = [one for one in CASES if one.settings == settings]
        assert judged
        for number, one in enumerate(judged):
            event_id = f"table-{number:04d}"
            said = await shop.send("POST", "/collect", headers=headers_of(one, shop), body=body_of(one, event_id))
            assert said.status == 204, said
            assert words_of(shop, event_id) == EXPECTED[one.title], one.title


# ------------------------------------------------------------------ the rest of the page


def test_the_page_is_what_the_tables_say() -> None:
    assert consent_reference.consent_page(reference.GENERATED) == PAGE_TEXT
    assert RULES_VERSION in PAGE_TEXT


def test_everything_that_can_decide_stands_on_the_page() -> None:
    rows = set(re.findall(r"^\| `([^`]+)` \|", PAGE_TEXT, re.MULTILINE))
    assert {f"{family}_" for family in noted.FAMILIES} | set(noted.CODES) | set(noted.ALONE) <= rows
    assert set(SENSITIVE) | set(PLATFORMS) | set(DESTINATIONS) <= rows
    regimes = {"opt_in", "opt_out_signal", "opt_out", "none"}
    assert set(consent_reference.SPEAKS) == set(SOURCES) - regimes - {"exempt"}
    assert set(consent_reference.SPEAKS) <= rows
    assert all(f"`{step.name.lower()}`" in PAGE_TEXT for step in Step)


def test_every_code_of_a_mark_is_one_that_is_used() -> None:
    source = "".join(
        path.read_text() for path in (ROOT / "gateway" / "signals").glob("*.py") if path.name != "noted.py"
    )
    for code in noted.CODES:
        assert f'"{code}"' in source, code
    for mark in noted.ALONE:
        assert f'"{mark}"' in source + (ROOT / "gateway/flows/judging.py").read_text(), mark
