"""Two open consent platforms as visitors meet them: refuse, accept, change, withdraw, and what reaches each ad platform then.

The platforms are the published packages, connected by the lines that stand in docs/how-to/consent-platforms.md. Their
cookie stands on the parent domain, so that the gateway's host gets it too; one journey keeps it on the page's own host
and hands the answer over by a call.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page

from gateway.sandbox.faults import Fault
from tests.journeys.conftest import OpenContext
from tests.journeys.shopping import ANALYTICS, EVERYTHING, NOTHING, shopping
from tests.journeys.staging import Stage, from_guide, until

pytestmark = pytest.mark.slow  # a browser for every one of them

MARKETING: Final = ["advertising", "ad_user_data", "ad_personalization"]


LOOK_AGAIN: Final = from_guide("By its cookie")


# ------------------------------------------------------------------ vanilla-cookieconsent

VANILLA: Final = """
CookieConsent.run({
  cookie: { domain: 'shop.localhost' },
  hideFromBots: false,
  categories: { necessary: { enabled: true, readOnly: true }, analytics: {}, ads: {} },
  language: { default: 'en', translations: { en: {
    consentModal: { title: 'Cookies', acceptAllBtn: 'All', acceptNecessaryBtn: 'None', showPreferencesBtn: 'Choose' },
    preferencesModal: { title: 'Cookies', acceptAllBtn: 'All', acceptNecessaryBtn: 'None', savePreferencesBtn: 'Save',
      sections: [{ title: 'Analytics', linkedCategory: 'analytics' }, { title: 'Ads', linkedCategory: 'ads' }] }
  } } }
});
"""
VANILLA_HEAD: Final = (
    "<link rel='stylesheet' href='/npm/vanilla-cookieconsent/dist/cookieconsent.css'>"
    "<script src='/npm/vanilla-cookieconsent/dist/cookieconsent.umd.js'></script>"
)
VANILLA_SITE: Final = {
    "name": "vanilla-cookieconsent",
    "mapping": {"necessary": "necessary", "analytics": "analytics", "ads": MARKETING},
}


def vanilla_page(stage: Stage) -> str:
    script = LOOK_AGAIN + from_guide("CookieConsent by orestbida") + VANILLA
    return stage.write("/vanilla", head=VANILLA_HEAD, script=script, attributes="data-wait='200'")


async def test_vanilla_cookieconsent_refuse_accept_change_and_withdraw(
    tmp_path: Path, open_context: OpenContext
) -> None:
    async with shopping(tmp_path, open_context, consent_platform=VANILLA_SITE) as shop:
        page, sent = shop.page, shop.sent
        await page.goto(vanilla_page(shop.stage))
        await shop.buy_and_see("V-ORDER-0", NOTHING)
        assert sent.said() == []
        assert await page.context.cookies() == []

        await page.click("#cc-main [data-role=necessary]")
        await sent.until_said(1)
        await shop.buy_and_see("V-ORDER-1", NOTHING)

        await page.evaluate("CookieConsent.showPreferences()")
        await page.click("#cc-main .pm [data-role=all]")
        await sent.until_said(2)
        await shop.buy_and_see("V-ORDER-2", EVERYTHING)

        await page.reload()
        await page.evaluate("CookieConsent.showPreferences()")
        await page.dispatch_event("#cc-main .pm .section__toggle[value=ads]", "click")  # it moves while it appears
        await page.click("#cc-main .pm [data-role=save]")
        await sent.until_said(3)
        await shop.buy_and_see("V-ORDER-3", ANALYTICS)

        await page.evaluate("CookieConsent.showPreferences()")
        await page.click("#cc-main .pm [data-role=necessary]")
        await sent.until_said(4)
        await shop.buy_and_see("V-ORDER-4", NOTHING)

        assert sent.said() == [{}] * 4, "the answer itself is in the cookie"
        assert await shop.log() == ["refused", "given", "withdrawn", "withdrawn"]


@pytest.mark.parametrize("bridge", ["loaded", "on its way"])
async def test_a_withdrawal_reaches_what_waits_without_another_event(
    tmp_path: Path, open_context: OpenContext, bridge: str
) -> None:
    async with shopping(tmp_path, open_context, consent_platform=VANILLA_SITE) as shop:
        page, sent = shop.page, shop.sent
        shop.demo.stand_ins.meta.faults.always(Fault.status(503))
        await page.goto(vanilla_page(shop.stage))
        await page.click("#cc-main [data-role=all]")
        await sent.until_said(1)
        event_id = await shop.buy("W-ORDER-1")
        await until(lambda: shop.heard("meta", "W-ORDER-1") and shop.heard("ga4", "W-ORDER-1"))
        if bridge == "on its way":
            await page.context.route("**/gw-bridge.*", lambda route: asyncio.sleep(0))  # it never comes
            await page.reload()
            await sent.until_events(3)
        events = len(sent.events())
        # The visitor withdraws and is gone, in one breath.
        await page.evaluate(
            "url => { CookieConsent.acceptCategory([]); location.assign(url) }",
            shop.stage.write("/gone", attributes="data-mode='manual'"),
        )
        for _ in range(250):
            if (await shop.fates(event_id))["meta"] == "cancelled":
                break
            await page.wait_for_timeout(20)
        assert (await shop.fates(event_id))["meta"] == "cancelled"
        assert len(sent.events()) == events, "no event had to tell of it"
        tried = len(shop.demo.stand_ins.meta.ledger.requests())
        shop.demo.stand_ins.meta.faults.clear()
        await page.wait_for_timeout(300)
        assert len(shop.demo.stand_ins.meta.ledger.requests()) == tried
        assert await shop.log() == ["given", "withdrawn"]


# ------------------------------------------------------------------ klaro

KLARO: Final = """
window.klaroConfig = {
  storageMethod: 'cookie', cookieDomain: DOMAIN, acceptAll: true, mustConsent: false, groupByPurpose: false, lang: 'zz',
  translations: { zz: { purposes: { statistics: 'Statistics', advertising: 'Advertising' } } },
  services: [
    { name: 'statistics', title: 'Statistics', purposes: ['statistics'] },
    { name: 'advertising', title: 'Advertising', purposes: ['advertising'] }
  ]
};
"""

KLARO_TELLS: Final = """
window.gateway = window.gateway || [];
function tell(manager) {
  if (manager.confirmed)
    gateway.push(['signals', { platform: 'klaro', choice: 'explicit', categories: Object.assign({}, manager.consents) }]);
}
klaro.getManager().watch({ update: function (manager, event) { if (event === 'saveConsents') tell(manager); } });
tell(klaro.getManager());
"""
"""What a page does whose cookie the gateway does not get."""

KLARO_HEAD: Final = (
    "<link rel='stylesheet' href='/npm/klaro/dist/klaro.css'><script src='/config.js'></script>"
    "<script defer src='/npm/klaro/dist/klaro-no-css.js' data-config='klaroConfig'></script>"
)


async def klaro_chooses(page: Page, *, statistics: bool, advertising: bool) -> None:
    """Open Klaro's window and save these services."""
    await page.evaluate("klaro.show(undefined, true)")
    for name, wanted in (("statistics", statistics), ("advertising", advertising)):
        box = page.locator(f"#service-item-{name}")
        await box.set_checked(wanted, force=True)
    await page.click(".klaro .cookie-modal .cm-btn-accept:not(.cm-btn-accept-all)")


async def test_klaro_is_read_from_its_cookie_alone(tmp_path: Path, open_context: OpenContext) -> None:
    mapping = {"statistics": "analytics", "advertising": MARKETING}
    async with shopping(tmp_path, open_context, consent_platform={"name": "klaro", "mapping": mapping}) as shop:
        page = shop.page
        shop.stage.write("/config", script=KLARO.replace("DOMAIN", "'shop.localhost'"))
        await page.goto(shop.stage.write("/klaro", head=KLARO_HEAD, attributes="data-wait='200'"))
        await page.wait_for_selector(".klaro .cn-decline")
        await shop.buy_and_see("K-ORDER-0", NOTHING)
        await page.click(".klaro .cn-decline")
        await shop.buy_and_see("K-ORDER-1", NOTHING)
        await klaro_chooses(page, statistics=True, advertising=True)
        await shop.buy_and_see("K-ORDER-2", EVERYTHING)
        await klaro_chooses(page, statistics=True, advertising=False)
        await shop.buy_and_see("K-ORDER-3", ANALYTICS)
        await page.reload()
        await klaro_chooses(page, statistics=False, advertising=False)
        await shop.buy_and_see("K-ORDER-4", NOTHING)
        assert shop.sent.paths() == ["/gw.js"] * 2
        assert all(signals is None for _, signals in shop.sent.events())


async def test_klaro_with_a_cookie_the_gateway_does_not_get_is_heard_by_a_call(
    tmp_path: Path, open_context: OpenContext
) -> None:
    mapping = {"statistics": "analytics", "advertising": MARKETING}
    async with shopping(tmp_path, open_context, consent_platform={"name": "klaro", "mapping": mapping}) as shop:
        page, sent = shop.page, shop.sent
        shop.stage.write("/config", script=KLARO.replace("DOMAIN", "undefined"))
        shop.stage.write("/tells", script=KLARO_TELLS)
        head = KLARO_HEAD + "<script defer src='/tells.js'></script>"
        url = shop.stage.write("/klaro", head=head, attributes="data-consent='callback' data-wait='200'")
        await page.goto(url)
        await page.wait_for_selector(".klaro .cn-decline")
        await shop.buy_and_see("K-ORDER-0", NOTHING)
        await klaro_chooses(page, statistics=True, advertising=True)
        await sent.until_said(1)
        await shop.buy_and_see("K-ORDER-1", EVERYTHING)
        await page.reload()
        await klaro_chooses(page, statistics=False, advertising=False)
        await sent.until_said(2)
        await shop.buy_and_see("K-ORDER-2", NOTHING)
        klaro = [cookie for cookie in await page.context.cookies() if cookie.get("name") == "klaro"]
        assert [cookie.get("domain") for cookie in klaro] == ["shop.localhost"], "host-only: not for t.shop.localhost"
        assert await shop.log() == ["given", "withdrawn"]
