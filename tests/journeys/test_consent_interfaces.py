"""The bridge and closed consent platforms, as their documentation describes them; the page's own calls; failures and races."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Route

from gateway.pages import tag
from tests.journeys.staging import (
    GTAG,
    LONG,
    SHORT,
    Theatre,
    Visit,
    from_guide,
    playing,
    settled,
    visiting,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]  # a browser for every one of them

BRIDGE = f"/gw-bridge.{tag.LATEST}.js"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Theatre]:
    async with playing(tmp_path_factory.mktemp("theatre")) as shared:
        yield shared


@pytest_asyncio.fixture(loop_scope="module")
async def visit(theatre: Theatre) -> AsyncIterator[Visit]:
    async with visiting(theatre) as one:
        yield one
        assert one.sent.complaints == []


# ------------------------------------------------------------------ platforms without a cookie to read

USERCENTRICS_3 = """
window.uc = { type: 'IMPLICIT', marketing: 'ALL_DENIED' };
window.__ucCmp = {
  isInitialized: () => Promise.resolve(true),
  getConsentDetails: () => Promise.resolve({
    consent: { type: uc.type, status: 'SOME_ACCEPTED' },
    categories: { essential: { state: 'ALL_ACCEPTED' }, functional: { state: 'SOME_ACCEPTED' }, marketing: { state: uc.marketing } }
  })
};
uc.save = function (marketing) {
  uc.type = 'EXPLICIT'; uc.marketing = marketing;
  window.dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', { detail: { source: 'button', type: 'SAVE' } }));
};
"""

USERCENTRICS_2 = """
window.uc = { history: [{ type: 'implicit', status: false }], on: false };
window.UC_UI = {
  isInitialized: () => true,
  getServicesBaseInfo: () => [
    { id: 'a', name: 'A', categorySlug: 'essential', consent: { status: true, history: uc.history } },
    { id: 'b', name: 'B', categorySlug: 'marketing', consent: { status: uc.on, history: uc.history } },
    { id: 'c', name: 'C', categorySlug: 'marketing', consent: { status: true, history: uc.history } },
    { id: 'd', name: 'D', categorySlug: 'functional', consent: { status: false, history: uc.history } }
  ]
};
uc.save = function (on) {
  window.dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', { detail: { source: 'button', type: 'SAVE' } }));
  setTimeout(function () { uc.history = uc.history.concat({ type: 'explicit', status: on }); uc.on = on; }, 100);
};
"""


@pytest.mark.parametrize(("version", "script", "on", "off"), [
    (3, USERCENTRICS_3, "'ALL_ACCEPTED'", "'SOME_ACCEPTED'"), (2, USERCENTRICS_2, "true", "false")
])  # fmt: skip
async def test_usercentrics_is_asked_by_its_interface(
    visit: Visit, version: int, script: str, on: str, off: str
) -> None:
    attributes = "data-consent='usercentrics' data-wait='200'"
    await visit.page.goto(visit.stage.write(f"/uc{version}", script=script, attributes=attributes))
    await visit.sent.until_events(1)

    def told(choice: str, marketing: bool) -> dict[str, Any]:
        categories = {"essential": True, "functional": False, "marketing": marketing}
        return {"platform": "usercentrics", "choice": choice, "categories": categories}

    assert visit.sent.events() == [("page_view", told("implied", False))], "a default goes along, and is no answer"
    assert visit.sent.said() == []
    await visit.page.evaluate(f"uc.save({on})")
    await visit.sent.until_said(1)
    await visit.page.evaluate(f"uc.save({off})")
    await visit.sent.until_said(2)
    assert visit.sent.said() == [told("explicit", True), told("explicit", False)]


OSANO = """
window.osano = { listeners: {}, consent: undefined };
window.Osano = { cm: {
  getConsent: () => ({ ESSENTIAL: 'ACCEPT', ANALYTICS: 'ACCEPT', MARKETING: 'ACCEPT' }),
  addEventListener: function (name, listener) {
    (osano.listeners[name] = osano.listeners[name] || []).push(listener);
    if (name === 'osano-cm-initialized') listener(osano.consent);
  }
} };
osano.save = function (consent) {
  osano.consent = consent;
  localStorage.osano_consentmanager = 'U2FsdGVkX1';
  osano.listeners['osano-cm-consent-saved'].forEach(function (listener) { listener(consent); });
};
"""


async def test_osano_is_heard_when_the_visitor_saved_and_on_later_pages(visit: Visit) -> None:
    # An older build: before any choice it hands over what would hold then.
    defaults = OSANO + "osano.consent = {ESSENTIAL: 'ACCEPT', ANALYTICS: 'ACCEPT', MARKETING: 'ACCEPT'};"
    await visit.page.goto(visit.stage.write("/osano", script=defaults, attributes=f"data-consent='osano' {SHORT}"))
    await visit.sent.until_events(1)
    await settled()
    assert visit.sent.events() == [("page_view", None)]
    assert visit.sent.said() == []
    await visit.page.evaluate(
        "osano.save({ESSENTIAL: 'ACCEPT', ANALYTICS: 'ACCEPT', MARKETING: 'DENY', LATER: 'MAYBE'})"
    )
    await visit.sent.until_said(1)
    categories = {"ESSENTIAL": True, "ANALYTICS": True, "MARKETING": False}
    saved = {"platform": "osano", "choice": "explicit", "categories": categories}
    assert visit.sent.said() == [saved]
    later = OSANO + "osano.consent = {ESSENTIAL: 'ACCEPT', ANALYTICS: 'ACCEPT', MARKETING: 'DENY'};"
    await visit.page.goto(visit.stage.write("/osano-later", script=later, attributes=f"data-consent='osano' {LONG}"))
    await visit.sent.until_events(2)
    assert visit.sent.events()[1] == ("page_view", saved)
    assert visit.sent.said() == [saved]


SHOPIFY = """
window.shop = { marketing: '', analytics: '', preferences: '', sale_of_data: '' };
window.Shopify = { loadFeatures: function (features, done) {
  if (features[0].name === 'consent-tracking-api' && features[0].version === '0.1') setTimeout(function () {
    Shopify.customerPrivacy = { currentVisitorConsent: () => shop };
    done();
  }, 50);
} };
shop.save = function (answers) {
  Object.assign(shop, answers);
  document.dispatchEvent(new CustomEvent('visitorConsentCollected', { detail: { analyticsAllowed: true } }));
};
Object.defineProperty(shop, 'save', { enumerable: false });
"""


async def test_shopify_is_loaded_and_asked(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/shopify", script=SHOPIFY, attributes=f"data-consent='shopify' {SHORT}"))
    await visit.sent.until_events(1)
    await settled()
    assert visit.sent.events() == [("page_view", None)]
    await visit.page.evaluate("shop.save({analytics: 'yes', marketing: 'no'})")
    await visit.sent.until_said(1)
    assert visit.sent.said() == [
        {"platform": "shopify", "choice": "explicit", "categories": {"marketing": False, "analytics": True}}
    ], "what the visitor was not asked is absent"


# ------------------------------------------------------------------ the page itself


async def test_a_page_hands_over_signals_and_what_would_be_refused_is_left_out(theatre: Theatre) -> None:
    fields = """{
      tcf: 7, gdpr: 1, gpp: '', gpp_sid: [2, -1], us_privacy: '1YNN', gcs: 'G110', gcd: null, google: {ad_storage: 'denied', x: 'granted',
      analytics_storage: 'maybe'}, platform: 'klaro', choice: 'perhaps', categories: {a: true, b: 'yes', ['c'.repeat(121)]: true},
      at_ms: 1.5, visitor: 'x'
    }"""
    async with visiting(theatre) as visit:
        script = f"window.gateway = []; gateway.push(['signals', {fields}]);"
        await visit.page.goto(visit.stage.write("/call", script=script, attributes=f"data-consent='callback' {LONG}"))
        await visit.sent.until_events(1)
        expected = {
            "gdpr": True,
            "us_privacy": "1YNN",
            "gcs": "G110",
            "google": {"ad_storage": "denied"},
            "platform": "klaro",
            "categories": {"a": True},
        }
        assert visit.sent.events() == [("page_view", expected)]
        statuses = [(await request.response()) for request in visit.sent.requests if request.method == "POST"]
        assert {one.status for one in statuses if one is not None} <= {200, 204}, "nothing of it was refused"
        assert [line.split()[-1] for line in visit.sent.complaints] == ["tcf", "gpp_sid", "choice", "at_ms", "visitor"]


async def test_a_page_without_the_attribute_may_call_all_the_same(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/call-later", attributes=SHORT))
    await visit.sent.until_events(1)
    await visit.page.evaluate("gateway.signals({us_privacy: '1YYN'})")
    await visit.sent.until_said(1)
    assert visit.sent.said() == [{"us_privacy": "1YYN"}]
    assert visit.sent.paths() == ["/gw.js", BRIDGE]


async def test_no_choice_is_no_answer(visit: Visit) -> None:
    script = "window.gateway = [['signals', {platform: 'klaro', choice: 'none', categories: {a: true}}]];"
    await visit.page.goto(visit.stage.write("/none", script=script, attributes=f"data-consent='callback' {LONG}"))
    await settled()
    assert visit.sent.posts() == []


async def test_an_empty_call_says_look_again_every_time(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/again", attributes=f"data-consent='callback' {LONG}"))
    for times in (1, 2):
        await visit.page.evaluate("gateway.signals({})")
        await visit.sent.until_said(times)
    assert visit.sent.said() == [{}, {}]


# ------------------------------------------------------------------ several, failing, racing


async def test_events_wait_for_every_source_that_is_named(visit: Visit) -> None:
    attributes = f"data-consent='google callback' {LONG}"
    await visit.page.goto(visit.stage.write("/both", script=GTAG, attributes=attributes))
    await visit.page.evaluate("gtag('consent', 'update', {ad_storage: 'granted'})")
    await visit.sent.until_said(1)
    await settled()
    assert visit.sent.events() == []
    await visit.page.evaluate("gateway.signals({us_privacy: '1NNN'})")
    await visit.sent.until_events(1)
    both = {"google": {"ad_storage": "granted"}, "us_privacy": "1NNN"}
    assert visit.sent.events() == [("page_view", both)]
    assert visit.sent.said() == [{"google": {"ad_storage": "granted"}}, both]


@pytest.mark.parametrize("failing", ["away", "busy"])
async def test_an_answer_the_gateway_did_not_take_is_said_again_on_the_next_page(
    theatre: Theatre, failing: str
) -> None:
    async def fail(route: Route) -> None:
        if failing == "away":
            await route.abort()
        else:
            await route.fulfill(status=503)

    async with visiting(theatre) as visit:
        await visit.context.route("**/consent", fail)
        script = "window.gateway = [['signals', {us_privacy: '1YYN'}]];"
        url = visit.stage.write(f"/fail-{failing}", script=script, attributes=f"data-consent='callback' {LONG}")
        await visit.page.goto(url)
        await visit.sent.until_events(1)
        assert visit.sent.events()[0][1] == {"us_privacy": "1YYN"}, "events go out under it all the same"
        await visit.context.unroute("**/consent")
        for visits in (2, 3):
            await visit.page.goto(url)
            await visit.sent.until_events(visits)
        assert visit.sent.said() == [{"us_privacy": "1YYN"}] * 2


async def test_of_two_answers_under_way_together_the_last_is_said_once_more(theatre: Theatre) -> None:
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    async with visiting(theatre) as visit:
        await visit.context.route("**/consent", hold)
        await visit.page.goto(visit.stage.write("/race", attributes=f"data-consent='callback' {LONG}"))
        await visit.page.evaluate("gateway.signals({us_privacy: '1YNN'})")
        await visit.sent.until_said(1)
        await visit.page.evaluate("gateway.signals({us_privacy: '1YNN'})")
        await settled()
        assert len(visit.sent.said()) == 1, "it is on its way already"
        assert visit.sent.events() == [], "events go out after it"
        await visit.page.evaluate("gateway.signals({us_privacy: '1YYN'})")
        await visit.sent.until_said(2)
        held.set()
        await visit.sent.until_said(3)
        await visit.sent.until_events(1)
        assert [one["us_privacy"] for one in visit.sent.said()] == ["1YNN", "1YYN", "1YYN"]


# ------------------------------------------------------------------ the guide

COOKIEBOT = """
window.Cookiebot = { consent: { necessary: true, preferences: false, statistics: true, marketing: false, method: 'explicit' } };
"""
AXEPTIO = """
window.heard = {};
setTimeout(function () { _axcb.forEach(function (ready) { ready({ on: function (name, f) { heard[name] = f; } }); }); }, 50);
"""
GUIDE = {
    "OneTrust, CookiePro": ("", "dispatchEvent(new Event('OTConsentApplied'))", {}),
    "Cookiebot": (
        COOKIEBOT,
        "dispatchEvent(new Event('CookiebotOnAccept')), dispatchEvent(new Event('CookiebotOnDecline'))",
        {
            "platform": "cookiebot",
            "choice": "explicit",
            "categories": {"preferences": False, "statistics": True, "marketing": False},
        },
    ),
    "CookieYes": ("", "document.dispatchEvent(new CustomEvent('cookieyes_consent_update'))", {}),
    "Complianz": ("", "for (let n = 0; n < 4; n++) document.dispatchEvent(new CustomEvent('cmplz_status_change'))", {}),
    "WP Consent API": ("", "document.dispatchEvent(new CustomEvent('wp_listen_for_consent_change'))", {}),
    "Didomi": ("", "didomiEventListeners.forEach(one => one.event === 'consent.changed' && one.listener({}))", {}),
    "iubenda": ("", "_iub.csConfiguration.callback.onPreferenceExpressed({consent: true})", {}),
    "Axeptio": (AXEPTIO, "heard['consent:saved']({})", {}),
    "By a call": (
        "",
        "0",
        {"platform": "klaro", "choice": "explicit", "categories": {"statistics": True, "advertising": False}},
    ),
}
"""Section, what the platform puts on the page, what it does when the visitor chose, what the gateway is told."""


@pytest.mark.parametrize("section", GUIDE)
async def test_the_lines_of_the_guide_tell_the_gateway_once(visit: Visit, section: str) -> None:
    before, chosen, told = GUIDE[section]
    script = before + from_guide("By its cookie") + from_guide(section)
    await visit.page.goto(visit.stage.write(f"/guide-{section.split()[-1]}", script=script, attributes=SHORT))
    await visit.sent.until_events(1)
    await visit.page.evaluate(chosen)
    await visit.sent.until_said(1)
    await settled()
    assert visit.sent.said() == [told]
