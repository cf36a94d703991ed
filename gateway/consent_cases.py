"""Cases: what happens to an event under each signal, for each destination, computed by the code that judges real events.

`CASES` and `COLUMNS` are the table of `docs/reference/consent.md`; `cell()` fills it. A test holds every row against words
written by hand, and a running gateway against all of them.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.consent import Shown
from gateway.destinations.registry import DESTINATIONS
from gateway.event import Signals, Withheld
from gateway.flows.house import Placed, placed_of
from gateway.flows.what_if import Case, decide, judge_case
from gateway.purposes import Group
from gateway.settings import ConsentPlatform, DestinationSettings, Site
from gateway.signals.gvl import Vendor, VendorList

__all__ = ["CASES", "COLUMNS", "LISTS", "NOW_MS", "SITE", "Column", "Row", "cell", "placed", "row", "site_for", "word"]

NOW_MS: Final = 1_795_176_000_000
"""The moment of every case: 2026-11-20T12:00:00Z."""

SITE: Final[Mapping[str, object]] = {
    "regime": "opt_out",
    "consent_platform": ConsentPlatform(name="klaro", mapping={"stats": "analytics", "ads": "marketing"}),
}
"""Settings of the site in the table. Under opt_out every place shows its own rules: a site only ever adds to them."""


class Column(msgspec.Struct, frozen=True):
    """One destination of the table. `name` is its heading; `settings` are rows of [[site.destination]] that matter here."""

    name: str
    platform: str
    settings: Mapping[str, object] = {}


COLUMNS: Final = (
    *(Column(slug, slug) for slug in DESTINATIONS if slug != "webhook"),
    *(
        Column(f"{slug}, restricted", slug, {"opted_out": "restricted"})
        for slug, definition in DESTINATIONS.items()
        if definition.needs.restricted
    ),
    Column("webhook for analytics", "webhook", {"purposes": ("analytics",)}),
    Column("webhook for advertising", "webhook", {"purposes": ("advertising",)}),
    Column("webhook of an IAB vendor", "webhook", {"purposes": ("advertising",), "tcf_vendor": 7}),
    Column("webhook of a Google provider", "webhook", {"purposes": ("advertising",), "ac_provider": 9}),
)
"""Every destination as it is, once more with its restricted mode, and webhooks by what their receiver does."""


class Row(msgspec.Struct, frozen=True):
    """One case of the table: its sentence, the request, and settings of the site that differ."""

    title: str
    case: Case
    settings: Mapping[str, object] = {}


# ------------------------------------------------------------------ strings

# Vendors 7 and 755 in all TC strings, made on 2026-11-10 with vendor list 150, or 151 where the list is missing.
_TC_YES: Final = "CQtd7EAQtd7EAEsABBENCWFgAP_gAAAAAAYn__wAoADgAPAvMC8wAAAAA.cCAAAAAAAA.P__wAoADgAPAvMC8w"
_TC_NOT_DISCLOSED: Final = "CQtd7EAQtd7EAEsABBENCWFgAP_gAAAAAAYn__wAoADgAPAvMC8wAAAAA.cCAAAAAAAA.P__wAYAEAAQ"
_TC_LIST_MISSING: Final = "CQtd7EAQtd7EAEsABBENCXFgAP_gAAAAAAYn__wAoADgAPAvMC8wAAAAA.cCAAAAAAAA.P__wAoADgAPAvMC8w"
_TC_NO: Final = "CQtd7EAQtd7EAEsABBENCWFgAAAAAAAAAAYgAAAAAAAA.YAAAAAAAAA.P__wAoADgAPAvMC8w"
_GPP_OPT_OUT: Final = "DBABBg~BAQAAAAA"
_GPP_OTHER_STATE: Final = "DBABFg~BAEAAAA"
_GPP_SERVICE_PROVIDER: Final = "DBABBg~BAAAAAAE"
_GPP_CHILD: Final = "DBABBg~BAAAABAA"

_DECLARED: Final = sum(1 << number for number in (1, 3, 4, 7, 8))
LISTS: Final = {
    150: VendorList(
        version=150,
        policy_version=5,
        last_updated_ms=NOW_MS,
        vendors={number: Vendor(id=number, purposes=_DECLARED) for number in (7, 755)},
    )
}
"""An invented vendor list: both vendors declare purposes 1, 3, 4, 7 and 8 under consent."""

# ------------------------------------------------------------------ cases

_ALL: Final = {"analytics": "granted", "marketing": "granted"}
_NONE: Final = {"analytics": "denied", "marketing": "denied"}
_DE, _CA, _VA = "DE", "US-CA", "US-VA"

CASES: Final[tuple[Row, ...]] = (
    Row("Nothing said, in Germany", Case(place=_DE)),
    Row("Nothing said, place unknown", Case()),
    Row("Nothing said, in California", Case(place=_CA)),
    Row("Nothing said, in Virginia", Case(place=_VA)),
    Row("Nothing said, in a US state without a privacy law", Case(place="US-WY")),
    Row("Everything granted on the page, in Germany", Case(place=_DE, consent=_ALL)),
    Row("Only analytics granted, in Germany", Case(place=_DE, consent={"analytics": "granted"})),
    Row(
        "Analytics and advertising granted, user data not, in Germany",
        Case(place=_DE, consent={"analytics": "granted", "advertising": "granted"}),
    ),
    Row(
        "Advertising with user data granted, personalisation not, in Germany",
        Case(place=_DE, consent={"advertising": "granted", "ad_user_data": "granted"}),
    ),
    Row("Everything denied on the page, in California", Case(place=_CA, consent=_NONE)),
    Row(
        "Marketing refused earlier, everything granted by the page now, in Germany",
        Case(place=_DE, consent=_ALL, stored={"marketing": "denied"}),
    ),
    Row("Everything granted earlier, nothing said now, in Germany", Case(place=_DE, stored=_ALL)),
    Row("Global Privacy Control, in California", Case(place=_CA, gpc=True)),
    Row("Global Privacy Control, in Virginia", Case(place=_VA, gpc=True)),
    Row("Global Privacy Control, everything granted on the page, in Germany", Case(place=_DE, gpc=True, consent=_ALL)),
    Row(
        "The same, where the operator set gpc_grant_overrides",
        Case(place=_DE, gpc=True, consent=_ALL),
        {"gpc_grant_overrides": True},
    ),
    Row(
        "Global Privacy Control, and marketing denied on the page, in California",
        Case(place=_CA, gpc=True, consent={"marketing": "denied"}),
    ),
    Row("GPP string with an opt-out of sale, in California", Case(place=_CA, signals=Signals(gpp=_GPP_OPT_OUT))),
    Row("GPP string with an opt-out in Utah only, in California", Case(place=_CA, signals=Signals(gpp=_GPP_OTHER_STATE))),
    Row(
        "GPP string that allows service providers only, in California",
        Case(place=_CA, signals=Signals(gpp=_GPP_SERVICE_PROVIDER)),
    ),
    Row("US Privacy string with an opt-out, in California", Case(place=_CA, signals=Signals(us_privacy="1YYN"))),
    Row("TC string that permits all, in Germany", Case(place=_DE, signals=Signals(tcf=_TC_YES))),
    Row(
        "TC string that permits all, with an additional consent string, in Germany",
        Case(place=_DE, signals=Signals(tcf=_TC_YES, ac="2~9~dv.41")),
    ),
    Row(
        "TC string that does not disclose the vendor, in Germany", Case(place=_DE, signals=Signals(tcf=_TC_NOT_DISCLOSED))
    ),
    Row(
        "TC string of a vendor list that is not here, everything granted on the page, in Germany",
        Case(place=_DE, consent=_ALL, signals=Signals(tcf=_TC_LIST_MISSING)),
    ),
    Row(
        "TC string that refuses all, everything granted on the page, in Germany",
        Case(place=_DE, consent=_ALL, signals=Signals(tcf=_TC_NO)),
    ),
    Row(
        "TC string that refuses all, in California, where the page does not say that the TCF applies",
        Case(place=_CA, signals=Signals(tcf=_TC_NO)),
    ),
    Row(
        "Google's consent mode denies analytics and ads, everything granted on the page, in Germany",
        Case(place=_DE, consent=_ALL, signals=Signals(gcs="G100")),
    ),
    Row(
        "Google's consent mode grants all, nothing else said, in Germany",
        Case(place=_DE, signals=Signals(gcs="G111", gcd="13r3r3r3r5l1")),
    ),
    Row(
        'The same, where the operator set consent_mode = "source"',
        Case(place=_DE, signals=Signals(gcs="G111", gcd="13r3r3r3r5l1")),
        {"consent_mode": "source"},
    ),
    Row(
        "The consent platform's cookie grants all, in Germany",
        Case(place=_DE, cookie='klaro={"stats":true,"ads":true}'),
    ),
    Row(
        "The consent platform's cookie refuses marketing, everything granted by the page, in Germany",
        Case(place=_DE, consent=_ALL, cookie='klaro={"stats":true,"ads":false}'),
    ),
    Row("Strings that cannot be read, in Germany", Case(place=_DE, signals=Signals(tcf="x", gpp="x", ac="x", gcs="x"))),
    Row("Do Not Track, everything granted on the page, in Germany", Case(place=_DE, dnt=True, consent=_ALL), {"do_not_track": True}),
    Row("A minor, everything granted, in Germany", Case(place=_DE, minor=True, consent=_ALL)),
    Row("A minor, nothing said, in California", Case(place=_CA, minor=True)),
    Row("A child without consent in the GPP string, in California", Case(place=_CA, signals=Signals(gpp=_GPP_CHILD))),
    Row("Sensitive data, everything granted, in Germany", Case(place=_DE, sensitive=("health",), consent=_ALL)),
    Row("Sensitive data, nothing said, in California", Case(place=_CA, sensitive=("health",))),
    Row(
        "Sensitive data, everything and its use granted, in Germany",
        Case(place=_DE, sensitive=("health",), consent={**_ALL, "sensitive_data": "granted"}),
    ),
    Row(
        'Advertising granted, analytics not, where the operator set cookieless = "daily", in Germany',
        Case(place=_DE, consent={"marketing": "granted"}),
        {"cookieless": "daily"},
    ),
)  # fmt: skip
"""The rows of the table, from nothing to everything."""


# ------------------------------------------------------------------ filling the table


def site_for(settings: Mapping[str, object]) -> Site:
    """The site of a row with all columns as its destinations, named by their place in the table."""
    destinations = tuple(
        msgspec.structs.replace(DestinationSettings(platform=column.platform, name=f"d{number}"), **column.settings)
        for number, column in enumerate(COLUMNS)
    )
    return msgspec.convert(
        {"id": "shop", "hosts": ["t.shop.example"], **SITE, **settings, "destination": destinations}, Site
    )


def placed(site: Site) -> tuple[Placed, ...]:
    """The destinations of the table's site, in the order of the columns."""
    return placed_of(site)


def word(decided: Shown | Withheld) -> str:
    """A decision in a few words, as the table has it."""
    if isinstance(decided, Withheld):
        return f"withheld ({decided.reason})"
    if decided.restricted:
        return "restricted"
    missing = [_GROUPS[group] for group in Group if group not in decided.groups]
    return f"sent without {' and '.join(missing)}" if missing else "sent"


_GROUPS: Final = {
    Group.IDENTIFIERS: "identifiers",
    Group.CONTACT: "contact data",
    Group.DEVICE: "device data",
    Group.PAGE: "the page",
    Group.VALUE: "the value",
}


def row(one: Row) -> tuple[str, ...]:
    """One row of the table: a word for each column."""
    site = site_for(one.settings)
    places = placed(site)
    verdicts = judge_case(site, places, one.case, NOW_MS, lists=LISTS, places_known=True)
    return tuple([word(decide(site, place, one.case, verdicts)) for place in places])


def cell(title: str, column: str) -> str:
    """One cell of the table by its headings. Raises StopIteration for headings nobody has."""
    one = next(one for one in CASES if one.title == title)
    return row(one)[next(number for number, found in enumerate(COLUMNS) if found.name == column)]
