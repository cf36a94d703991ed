"""`gateway explain` of events that came with consent signals: the whole text, as a person reads it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gateway import app
from gateway.clock import ManualClock
from gateway.entropy import SeededEntropy
from gateway.flows import receive
from gateway.flows.explain import explain, text_of
from gateway.flows.house import House
from gateway.flows.request import Request
from tests.support.running import AGENT, HOST, NOW_MS, PAGE, settings_for
from tests.support.signals import ALL, gpp_string, tc_string

VECTORS: Final = Path(__file__).parents[1] / "vectors"
SECRET: Final = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
SHOP: Final = {
    "regime": "opt_out",
    "destination": [
        {"platform": "meta", "dataset_id": "1234567890", "access_token": "EAAGabcdefghij", "opted_out": "restricted"},
        {
            "platform": "webhook", "name": "iab", "url": "https://iab.example/in", "purposes": ["advertising"],
            "signing_secret": SECRET, "tcf_vendor": 33,
        },
        {
            "platform": "webhook", "name": "crm", "url": "https://crm.example/in", "purposes": ["analytics"],
            "signing_secret": SECRET,
        },
    ],
}  # fmt: skip


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house nobody delivers from, so that what is owed stays as it was stored."""
    lists = tmp_path / "data" / "gvl"
    lists.mkdir(parents=True, mode=0o700)
    (lists / "vendor-list-v150.json").write_bytes((VECTORS / "gvl-fixture.json").read_bytes())
    settings = settings_for(tmp_path, shop=SHOP, places={"source": "header"}, proxy={"trusted": ["127.0.0.1"]})
    opened = await app.open_house(settings, clock=ManualClock(NOW_MS), entropy=SeededEntropy(b"explain"))
    try:
        yield opened
    finally:
        await opened.outbound.close()
        await opened.store.close()


async def told(house: House, event_id: str, *, place: str, headers: dict[str, Any] | None = None, **body: Any) -> str:
    event = {"name": "purchase", "id": event_id, "value": "12.50", "order_id": "7", "url": f"{PAGE}/thanks", **body}
    request = Request(
        method="POST", path="/collect", host=HOST, address="81.2.69.142", origin=PAGE, user_agent=AGENT, place=place,
        body=msgspec.json.encode(event), **(headers or {}),
    )  # fmt: skip
    await receive.collect(house, house.by_id["shop"], request)
    return text_of(await explain(house, event_id, "shop"))


TC: Final = tc_string(purposes=(1, 7), vendors=(33,), disclosed=(33,), publisher=(1, 8))

WITH_A_STRING: Final = """\
Event explain-0001  purchase  on site shop

received     2026-11-20T12:00:00.000Z, sent by a browser; it says it happened at 2026-11-20T12:00:00.000Z
recognised   a visitor with a signed first-party id
judged       regime opt_in in DE, rules 2026-11, signals heard: tcf, claim
               necessary: granted, because it needs no consent
               functional: denied at step 8 (regime_default, signal opt_in: the rules of the place (opt_in)), because nothing was said, and the rules of the place forbid it then
               analytics: granted at step 4 (iab_string, signal tcf: the TC string), because the consent string permits it
               advertising: denied at step 5 (own_choice, signal claim: the page), because the visitor's choice on this site does not permit it
               ad_user_data: denied at step 8 (regime_default, signal opt_in: the rules of the place (opt_in)), because nothing was said, and the rules of the place forbid it then
               ad_personalization: denied at step 8 (regime_default, signal opt_in: the rules of the place (opt_in)), because nothing was said, and the rules of the place forbid it then
recorded     facts kept: page, amount_minor, currency, order_id, agent, marks, value
             conversion {conversion} of goal purchase, 12.50 EUR: counted.
               No conversion with this key was counted before.
crm          waiting. Stored and due to be sent, now or at its next attempt.
               why: Not tried yet.
               rests on: analytics
               next attempt 2026-11-20T12:00:00.000Z
iab          withheld. Not sent by rule, mostly because consent does not cover it; the reason says which.
               why: The purposes this destination needs are not granted.
               judged for itself, because a signal speaks to it by name:
                 necessary: granted, because it needs no consent
                 functional: denied at step 8 (regime_default, signal opt_in: the rules of the place (opt_in)), because nothing was said, and the rules of the place forbid it then
                 analytics: denied at step 4 (iab_string, signal tcf: the TC string), because the consent string does not permit it
                 advertising: denied at step 5 (own_choice, signal claim: the page), because the visitor's choice on this site does not permit it
                 ad_user_data: granted at step 4 (iab_string, signal tcf: the TC string), because the consent string permits it
                 ad_personalization: denied at step 4 (iab_string, signal tcf: the TC string), because the consent string does not permit it
               not granted: advertising
               who must act: visitor
meta         withheld. Not sent by rule, mostly because consent does not cover it; the reason says which.
               why: The purposes this destination needs are not granted.
               not granted: advertising, ad_user_data
               who must act: visitor
"""  # noqa: E501 - as it is printed

OPTED_OUT: Final = """\
Event explain-0002  purchase  on site shop

received     2026-11-20T12:00:00.000Z, sent by a browser; it says it happened at 2026-11-20T12:00:00.000Z
recognised   a visitor with a signed first-party id
judged       regime opt_out_signal in US-CA, rules 2026-11, signals heard: sec_gpc, gpp
               necessary: granted, because it needs no consent
               functional: granted at step 8 (regime_default, signal opt_out_signal: the rules of the place (opt_out_signal)), because nothing was said, and the rules of the place allow it then
               analytics: granted at step 8 (regime_default, signal opt_out_signal: the rules of the place (opt_out_signal)), because nothing was said, and the rules of the place allow it then
               advertising: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
               ad_user_data: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
               ad_personalization: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
recorded     facts kept: page, amount_minor, currency, order_id, agent, value
             conversion {conversion} of goal purchase, 12.50 EUR: counted.
               No conversion with this key was counted before.
crm          waiting. Stored and due to be sent, now or at its next attempt.
               why: Not tried yet.
               rests on: analytics
               next attempt 2026-11-20T12:00:00.000Z
iab          withheld. Not sent by rule, mostly because consent does not cover it; the reason says which.
               why: The visitor opted out of sale, sharing or targeted advertising.
               not granted: advertising
               who must act: visitor
meta         waiting. Stored and due to be sent, now or at its next attempt.
               why: Not tried yet.
               in the vendor's restricted mode: the visitor opted out, and you chose that for it
               rests on: advertising, ad_user_data
               next attempt 2026-11-20T12:00:00.000Z
"""  # noqa: E501 - as it is printed


async def test_an_event_with_a_string_that_speaks_to_one_destination(house: House) -> None:
    """The page refuses advertising: that counts against the string too, and each sentence names who said what."""
    text = await told(
        house, "explain-0001", place="DE", signals={"tcf": TC, "gpp": "x"}, consent={"advertising": "denied"}
    )
    assert text == WITH_A_STRING.format(conversion=_conversion(text))


async def test_an_event_of_somebody_who_opted_out(house: House) -> None:
    text = await told(
        house,
        "explain-0002",
        place="US-CA",
        headers={"sec_gpc": ("1",)},
        signals={"gpp": gpp_string(usca={"SaleOptOut": 1})},
    )
    assert text == OPTED_OUT.format(conversion=_conversion(text))


def _conversion(text: str) -> str:
    """The id of the conversion, which is made anew each time."""
    return text.partition("conversion ")[2].partition(" ")[0]


async def test_no_signal_stands_in_an_explanation_as_it_came(house: House) -> None:
    text = await told(house, "explain-0003", place="DE", signals={"tcf": tc_string(purposes=ALL)})
    assert tc_string(purposes=ALL)[:40] not in text
