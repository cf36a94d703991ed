"""The bridge in a real browser: how it is loaded, and what it hears from the IAB's interfaces and from Google's consent mode.

TC strings and GPP strings are made by the libraries of the IAB, and `__gpp` is the library's own.
"""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Route

from gateway.pages import tag
from tests.journeys.staging import (
    GPP,
    GTAG,
    LONG,
    SHORT,
    TCF,
    Theatre,
    Visit,
    playing,
    settled,
    tc_string,
    true_on,
    until,
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


# ------------------------------------------------------------------ loading


async def test_a_page_that_names_no_source_loads_no_bridge(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/plain", attributes=SHORT))
    await visit.sent.until_events(1)
    assert visit.sent.paths() == ["/gw.js"]
    assert visit.sent.events() == [("page_view", None)]


async def test_the_bridge_is_loaded_once_under_a_strict_policy_with_its_hash(visit: Visit) -> None:
    script = "window.gateway = window.gateway || []; gateway.push(['signals', {us_privacy: '1YNN'}]);"
    await visit.page.goto(visit.stage.write("/once", attributes=f"data-consent='callback' {LONG}", script=script))
    await visit.sent.until_events(1)
    assert visit.sent.paths() == ["/gw.js", BRIDGE]
    assert "unsafe" not in visit.stage.policy
    seen = await visit.page.evaluate(
        f"[...document.scripts].filter(s => s.src.endsWith('{BRIDGE}')).map(s => [s.integrity, s.crossOrigin])"
    )
    assert seen == [[f"sha384-{tag.BRIDGES[tag.LATEST].sha384}", "anonymous"]]


async def test_a_bridge_with_other_bytes_does_not_run_and_events_go_out_unset(theatre: Theatre) -> None:
    async def other(route: Route) -> None:
        headers = {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}
        await route.fulfill(body=tag.BRIDGES[tag.LATEST].source + b" ", headers=headers)

    async with visiting(theatre) as visit:
        await visit.context.route(f"**{BRIDGE}", other)
        script = "window.gateway = [['signals', {us_privacy: '1YYN'}]];"
        await visit.page.goto(visit.stage.write("/bytes", attributes=f"data-consent='callback' {SHORT}", script=script))
        await visit.sent.until_events(1)
        assert visit.sent.events() == [("page_view", None)]
        assert visit.sent.said() == []
        assert any("integrity" in line for line in visit.sent.complaints)


async def test_a_source_nobody_knows_is_named_in_the_console(theatre: Theatre) -> None:
    async with visiting(theatre) as visit:
        await visit.page.goto(visit.stage.write("/unknown", attributes=f"data-consent='tfc constructor' {SHORT}"))
        await until(lambda: len(visit.sent.complaints) == 2)
        assert visit.sent.complaints == [
            "gateway: no consent source is called tfc",
            "gateway: no consent source is called constructor",
        ]
        await visit.sent.until_events(1)


# ------------------------------------------------------------------ TCF


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strings(theatre: Theatre) -> dict[str, str]:
    """TC strings of the official library: everything granted, nothing granted, measurement only."""
    async with visiting(theatre) as visit:
        made = {
            "all": await tc_string(visit.page, theatre.stage, purposes=list(range(1, 12)), vendors=[755]),
            "none": await tc_string(visit.page, theatre.stage, purposes=[], vendors=[]),
            "some": await tc_string(visit.page, theatre.stage, purposes=[1, 7, 8], vendors=[755]),
        }
    assert len(set(made.values())) == 3
    return made


async def test_tcf_events_wait_for_the_visitor_and_a_question_is_no_answer(
    visit: Visit, strings: dict[str, str]
) -> None:
    asking = TCF + f"cmp.put('cmpuishown', {json.dumps(strings['all'])});"
    await visit.page.goto(visit.stage.write("/tcf", script=asking, attributes=f"data-consent='tcf' {LONG}"))
    await settled()
    assert visit.sent.posts() == [], "nothing is said while the visitor is being asked"
    await visit.page.evaluate(
        "text => cmp.put('useractioncomplete', text, {addtlConsent: '2~1.2~dv.3'})", strings["some"]
    )
    await visit.sent.until_events(1)
    answer = {"tcf": strings["some"], "gdpr": True, "ac": "2~1.2~dv.3"}
    assert visit.sent.posts()[0] == ("/consent", {"signals": answer, "method": "signal"})
    assert visit.sent.events() == [("page_view", answer)]
    assert [path for path, _ in visit.sent.posts()] == ["/consent", "/collect"], "recorded first, events after it"


async def test_tcf_a_known_answer_is_not_said_again_and_a_withdrawal_at_once(
    visit: Visit, strings: dict[str, str]
) -> None:
    loaded = TCF + f"cmp.put('tcloaded', {json.dumps(strings['all'])});"
    url = visit.stage.write("/tcf-known", script=loaded, attributes=f"data-consent='tcf' {LONG}")
    for visits in (1, 2):
        await visit.page.goto(url)
        await visit.sent.until_events(visits)
    granted = {"tcf": strings["all"], "gdpr": True}
    assert visit.sent.said() == [granted]
    assert visit.sent.events() == [("page_view", granted)] * 2
    await visit.page.evaluate(
        "text => { cmp.put('cmpuishown', text); cmp.put('useractioncomplete', text) }", strings["none"]
    )
    await visit.sent.until_said(2)
    withdrawn = {"tcf": strings["none"], "gdpr": True}
    assert visit.sent.said()[1] == withdrawn
    assert len(visit.sent.events()) == 2, "it waited for no event"
    await visit.page.evaluate("gateway.track('sign_up', {})")
    await visit.sent.until_events(3)
    assert visit.sent.events()[2] == ("sign_up", withdrawn)
    await visit.page.evaluate("text => cmp.put('useractioncomplete', text)", strings["none"])
    await visit.sent.until_said(3)
    assert visit.sent.said()[2] == withdrawn, "what the visitor does is said, even if it changes nothing"


async def test_tcf_where_it_does_not_apply_says_only_that(visit: Visit) -> None:
    script = TCF + "cmp.put('tcloaded', '', {gdprApplies: false});"
    await visit.page.goto(visit.stage.write("/tcf-not", script=script, attributes=f"data-consent='tcf' {LONG}"))
    await visit.sent.until_events(1)
    assert visit.sent.events() == [("page_view", {"gdpr": False})]


async def test_after_the_wait_events_go_out_unset_and_the_answer_follows_at_once(
    visit: Visit, strings: dict[str, str]
) -> None:
    await visit.page.goto(visit.stage.write("/tcf-late", script=TCF, attributes=f"data-consent='tcf' {SHORT}"))
    await visit.sent.until_events(1)
    assert visit.sent.events() == [("page_view", None)]
    assert await visit.page.evaluate("localStorage.length") == 0, "no answer, nothing kept"
    await visit.page.evaluate("text => cmp.put('useractioncomplete', text)", strings["some"])
    await visit.sent.until_said(1)
    assert visit.sent.said() == [{"tcf": strings["some"], "gdpr": True}]


async def test_a_platform_that_comes_late_is_found(visit: Visit, strings: dict[str, str]) -> None:
    await visit.page.goto(visit.stage.write("/tcf-stub", attributes=f"data-consent='tcf' {LONG}"))
    await settled()
    await visit.page.evaluate(TCF)
    await visit.page.evaluate("text => cmp.put('tcloaded', text)", strings["some"])
    await visit.sent.until_events(1)
    assert visit.sent.events() == [("page_view", {"tcf": strings["some"], "gdpr": True})]


async def test_a_string_far_too_long_is_cut_where_the_gateway_sees_that_it_is(visit: Visit) -> None:
    script = TCF + "cmp.put('tcloaded', 'C' + 'A'.repeat(100000));"
    await visit.page.goto(visit.stage.write("/tcf-long", script=script, attributes=f"data-consent='tcf' {LONG}"))
    await visit.sent.until_events(1)
    ((_, signals),) = visit.sent.events()
    assert signals is not None
    assert len(signals["tcf"]) == 16_385


# ------------------------------------------------------------------ GPP


async def test_gpp_is_heard_once_it_is_ready_and_again_when_it_changes(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/gpp", module=GPP, attributes=f"data-consent='gpp' {LONG}"))
    await true_on(visit.page, "window.cmp && cmp.cmpApiContext.eventQueue.size === 1")
    await settled()
    assert visit.sent.posts() == []
    first = await visit.page.evaluate(
        "cmp.setApplicableSections([7]), cmp.setSignalStatus('ready'), cmp.getGppString()"
    )
    await visit.sent.until_events(1)
    assert visit.sent.said() == [{"gpp": first, "gpp_sid": [7]}]
    assert visit.sent.events() == [("page_view", {"gpp": first, "gpp_sid": [7]})]
    second = await visit.page.evaluate(
        "cmp.setSignalStatus('not ready'), cmp.setFieldValue('usnat', 'SaleOptOut', 1), cmp.fireSectionChange('usnat'),"
        "cmp.setSignalStatus('ready'), cmp.getGppString()"
    )
    assert second != first
    await visit.sent.until_said(2)
    assert visit.sent.said()[1] == {"gpp": second, "gpp_sid": [7]}
    await settled()
    assert len(visit.sent.said()) == 2, "nothing was said of what came before it was ready again"


async def test_gpp_sections_that_are_not_known_are_not_sent(visit: Visit) -> None:
    ready = GPP + "cmp.setSignalStatus('ready');"
    await visit.page.goto(visit.stage.write("/gpp-sid", module=ready, attributes=f"data-consent='gpp' {LONG}"))
    await visit.sent.until_events(1)
    ((_, signals),) = visit.sent.events()
    assert signals is not None
    assert signals.keys() == {"gpp"}


# ------------------------------------------------------------------ Google's consent mode


async def test_google_defaults_go_along_and_are_no_answer(visit: Visit) -> None:
    script = (
        GTAG
        + """
      gtag('consent', 'default', {ad_storage: 'denied', analytics_storage: 'granted', wait_for_update: 500, other: 'granted'});
      gtag('consent', 'default', {ad_storage: 'granted', ad_user_data: 'granted', region: ['US-CA']});
    """
    )
    await visit.page.goto(visit.stage.write("/google", script=script, attributes=f"data-consent='google' {SHORT}"))
    await visit.sent.until_events(1)
    defaults = {"google": {"ad_storage": "denied", "analytics_storage": "granted"}}
    assert visit.sent.events() == [("page_view", defaults)]
    assert visit.sent.said() == []


async def test_google_an_update_is_the_answer_and_half_of_it_is_not(visit: Visit) -> None:
    script = GTAG + "gtag('consent', 'default', {ad_storage: 'denied', analytics_storage: 'denied'});"
    await visit.page.goto(
        visit.stage.write("/google-update", script=script, attributes=f"data-consent='google' {LONG}")
    )
    await settled()
    assert visit.sent.posts() == []
    await visit.page.evaluate(
        "gtag('consent', 'update', {analytics_storage: 'granted'});"
        "setTimeout(() => gtag('consent', 'update', {ad_storage: 'granted'}), 15)"
    )
    await visit.sent.until_events(1)
    granted = {"google": {"ad_storage": "granted", "analytics_storage": "granted"}}
    assert visit.sent.said() == [granted]
    assert visit.sent.events() == [("page_view", granted)]
    await visit.page.evaluate("gtag('consent', 'default', {ad_storage: 'denied'})")
    await settled()
    assert visit.sent.said() == [granted], "a default is weaker than an update, also when it comes later"
    await visit.page.evaluate("gtag('consent', 'update', {ad_storage: 'denied'})")
    await visit.sent.until_said(2)
    assert visit.sent.said()[1] == {"google": {"ad_storage": "denied", "analytics_storage": "granted"}}


async def test_google_what_stood_there_before_is_read_to_its_end_first(visit: Visit) -> None:
    script = (
        GTAG
        + """
      gtag('consent', 'default', {ad_storage: 'denied'});
      gtag('consent', 'update', {ad_storage: 'denied'});
      gtag('consent', 'update', {ad_storage: 'granted'});
    """
    )
    url = visit.stage.write("/google-past", script=script, attributes=f"data-consent='google' {LONG}")
    for visits in (1, 2):
        await visit.page.goto(url)
        await visit.sent.until_events(visits)
    assert visit.sent.said() == [{"google": {"ad_storage": "granted"}}], "no refusal in between, and once"


async def test_google_the_data_layer_works_as_before(visit: Visit) -> None:
    await visit.page.goto(visit.stage.write("/google-push", script=GTAG, attributes=f"data-consent='google' {SHORT}"))
    await visit.sent.until_events(1)
    # As Google's own tag does: its push is put over what it finds, and calls it.
    length = await visit.page.evaluate("""() => {
      const before = dataLayer.push;
      window.heard = [];
      dataLayer.push = function () { heard.push(...arguments); return before.apply(dataLayer, arguments); };
      gtag('consent', 'update', {ad_storage: 'granted'});
      return dataLayer.push({event: 'a'}, ['consent', 'update', {analytics_storage: 'granted'}]);
    }""")
    assert length == 3
    assert await visit.page.evaluate("heard.length") == 3
    await visit.sent.until_said(1)
    await settled()
    assert visit.sent.said() == [{"google": {"ad_storage": "granted"}}], "an array is no call of consent mode"
    await visit.page.evaluate("window.dataLayer = [], gtag('consent', 'update', {ad_storage: 'denied'})")
    await visit.sent.until_said(2)
    assert visit.sent.said()[1] == {"google": {"ad_storage": "denied"}}, "a page may begin a new list"
