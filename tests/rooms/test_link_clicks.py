"""Clicks: people count, robots and scanners are kept apart with a reason, and what is no click leaves nothing."""

from typing import Any, Final

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue import Link, Variant
from gateway.errors import Refusal
from gateway.links.clicks import (
    Click,
    browser_key,
    burst_key,
    check_variants,
    choose_variant,
    is_repeat,
    judge_click,
    repeat_key,
    wants_preview,
)
from tests.support.properties import tried

quick = tried(200)


def judged(method: str = "GET", query: str = "", **said: Any) -> Click:
    facts: dict[str, Any] = {
        "agent_bot": None,
        "headless": False,
        "purposes": (None, None, None),
        "referrer_host": "news.example",
        "links_of_visitor_in_10s": 1,
    }
    return judge_click(method, query, **{**facts, **said})


# ------------------------------------------------------------------ the verdict

VERDICTS: Final[dict[str, tuple[dict[str, Any], str, str, bool]]] = {
    "a person": ({}, "yes", "person", True),
    "a person without a referrer": ({"referrer_host": None}, "yes", "person", True),
    "a person with parameters": ({"query": "utm_source=x&robot=1&bots=2"}, "yes", "person", True),
    "a person who scanned a code": ({"query": "qr=1"}, "yes", "person", True),
    "a person's third link": ({"links_of_visitor_in_10s": 3}, "yes", "person", True),
    "an empty purpose": ({"purposes": ("", None, None)}, "yes", "person", True),
    "another purpose": ({"purposes": ("navigate", None, None)}, "yes", "person", True),
    "HEAD": ({"method": "HEAD"}, "no", "head", False),
    "another method": ({"method": "POST"}, "no", "method", False),
    "Sec-Purpose: prefetch": ({"purposes": ("prefetch", None, None)}, "no", "prefetch", False),
    "Sec-Purpose: prefetch;prerender": ({"purposes": ("prefetch;prerender", None, None)}, "no", "prefetch", False),
    "Purpose: prefetch": ({"purposes": (None, " Prefetch", None)}, "no", "prefetch", False),
    "X-Moz: prefetch": ({"purposes": (None, None, "prefetch")}, "no", "prefetch", False),
    "the owner's own test": ({"query": "a=1&no-track"}, "no", "no_track", False),
    "a look at the preview": ({"query": "preview=1"}, "no", "preview", False),
    "a robot on the list": ({"agent_bot": "crawler_list"}, "no", "crawler_list", True),
    "a robot by its kind": ({"agent_bot": "user_agents"}, "no", "user_agents", True),
    "no agent": ({"agent_bot": "no_user_agent"}, "no", "no_user_agent", True),
    "the bot parameter": ({"query": "bot"}, "no", "bot_parameter", True),
    "the bot parameter with a value": ({"query": "a=1&BOT=0"}, "no", "bot_parameter", True),
    "the bot parameter in escapes": ({"query": "%62ot=1"}, "no", "bot_parameter", True),
    "a headless browser": ({"headless": True}, "no", "headless", True),
    "a fourth link within ten seconds": ({"links_of_visitor_in_10s": 4}, "suspect", "many_links", True),
}


@pytest.mark.parametrize(("said", "human", "reason", "recorded"), VERDICTS.values(), ids=VERDICTS.keys())
def test_the_verdict_on(said: dict[str, Any], human: str, reason: str, recorded: bool) -> None:
    click = judged(**said)
    assert (click.human, click.reason, click.recorded) == (human, reason, recorded)
    assert click.counts is (human == "yes")


GATEWAYS: Final = {
    "Safe Links": ("eur01.safelinks.protection.outlook.com", True),
    "Safe Links without a region": ("safelinks.protection.outlook.com", True),
    "Proofpoint": ("urldefense.com", True),
    "Proofpoint of old": ("urldefense.proofpoint.com", True),
    "Mimecast": ("protect-us.mimecast.com", True),
    "Mimecast with a number": ("protect-eu-1.mimecast.com", True),
    "Barracuda": ("linkprotect.cudasvc.com", True),
    "Cisco": ("secure-web.cisco.com", True),
    "a host that ends alike": ("evilurldefense.com", False),
    "a host that begins alike": ("urldefense.com.news.example", False),
    "Mimecast's own pages": ("www.mimecast.com", False),
    "a host that is not Mimecast's": ("protect-us.mimecast.com.example", False),
    "Outlook itself": ("outlook.com", False),
}


@pytest.mark.parametrize(("host", "gateway"), GATEWAYS.values(), ids=GATEWAYS.keys())
def test_a_mail_gateway_is_suspect(host: str, gateway: bool) -> None:
    assert judged(referrer_host=host) == (Click("suspect", "mail_gateway") if gateway else Click("yes", "person"))


def test_what_is_no_click_at_all_is_decided_before_anything_else() -> None:
    assert judged("HEAD", "bot", agent_bot="crawler_list") == Click("no", "head", recorded=False)
    assert judged(purposes=("prefetch",), agent_bot="crawler_list") == Click("no", "prefetch", recorded=False)


def test_a_robot_from_a_mail_gateway_is_a_robot() -> None:
    assert judged(agent_bot="crawler_list", referrer_host="urldefense.com").human == "no"
    assert judged("GET", "bot", links_of_visitor_in_10s=9).human == "no"


@quick
@given(query=st.text(max_size=60), host=st.none() | st.text(max_size=30), count=st.integers(0, 9))
def test_no_request_raises_and_only_yes_counts(query: str, host: str | None, count: int) -> None:
    click = judged("GET", query, referrer_host=host, links_of_visitor_in_10s=count)
    assert click.counts is (click.recorded and click.human == "yes")


# ------------------------------------------------------------------ previews

IPHONE_PREVIEW: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 "
    "Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0"
)
UNFURLERS: Final = {
    "an iPhone's messages": (IPHONE_PREVIEW, True),
    "Facebook": ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", True),
    "Slack": ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", True),
    "WhatsApp": ("WhatsApp/2.23.20.0 A", True),
    "Telegram": ("TelegramBot (like TwitterBot)", True),
    "Discord": ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", True),
    "LinkedIn": ("LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)", True),
    "Skype": ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", True),
    "Google's search": ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", False),
    "Slack's other robot": ("Slackbot 1.0 (+https://api.slack.com/robots)", False),
    "curl": ("curl/8.5.0", False),
    "a browser": ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36", False),
    "a person inside Instagram": ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0 Instagram 350.0 Google/google", False),
    "a person inside Facebook": ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/450.0]", False),
    "nothing": ("", False),
    "no agent": (None, False),
    "one named beyond the length that is read": ("x" * 512 + "facebookexternalhit/1.1", False),
}  # fmt: skip


@pytest.mark.parametrize(("agent", "wants"), UNFURLERS.values(), ids=UNFURLERS.keys())
def test_a_preview_is_for(agent: str | None, wants: bool) -> None:
    assert wants_preview(agent) is wants


def test_unfurlers_are_told_by_what_the_published_list_of_robots_says_of_them() -> None:
    rows: Any = CRAWLER_USER_AGENTS_DATA
    found = {row["pattern"] for row in rows if any(wants_preview(agent) for agent in row["instances"])}
    told = {
        "facebookexternalhit", "Facebot", r"Meta-ExternalHit\/", "Twitterbot", "Slackbot", "TelegramBot", "Discordbot",
        "WhatsApp", "Viber", "LinkedInBot", "SkypeUriPreview", r"MicrosoftPreview\/", "redditbot", r"pinterest\.com\/bot",
        "Snap URL Preview Service", r"SnapURLPreview\/", "BlueskyPreviewBot", "Mastodon", "Synapse", r"Mattermost-Bot\/",
        "Discourse Forum Onebox", "KeybaseBot", "vkShare", "DingTalkBot-LinkService", "Chatwork LinkPreview", "Iframely",
        "Embedly",
    }  # fmt: skip
    assert found == told


# ------------------------------------------------------------------ repeats

DAY_KEY: Final = bytes(range(32))


def test_a_repeat_is_the_same_browser_on_the_same_link_under_the_same_key() -> None:
    def key_of(day_key: bytes, site: str, link_id: str, address: str, agent: str) -> bytes:
        return repeat_key(browser_key(day_key, site, address, agent), link_id)

    key = key_of(DAY_KEY, "shop", "link1", "192.0.2.1", "Browser/1")
    assert len(key) == 16
    assert key == key_of(DAY_KEY, "shop", "link1", "192.0.2.1", "Browser/1")
    others = {
        key_of(bytes(32), "shop", "link1", "192.0.2.1", "Browser/1"),
        key_of(DAY_KEY, "other", "link1", "192.0.2.1", "Browser/1"),
        key_of(DAY_KEY, "shop", "link2", "192.0.2.1", "Browser/1"),
        key_of(DAY_KEY, "shop", "link1", "192.0.2.2", "Browser/1"),
        key_of(DAY_KEY, "shop", "link1", "192.0.2.1", "Browser/2"),
        burst_key(browser_key(DAY_KEY, "shop", "192.0.2.1", "Browser/1"), "link1"),
    }
    assert len(others) == 6
    assert key not in others


def test_the_parts_of_a_browser_cannot_be_shifted_into_each_other() -> None:
    parts = (("bc", "d", "e"), ("b", "cd", "e"), ("b", "c", "de"), ("b1:c", "d", "e"), ("b", "c1:d", "e"))
    assert len({browser_key(DAY_KEY, *three) for three in parts}) == len(parts)


def test_an_agent_with_a_broken_byte_has_a_key_too() -> None:
    assert len(browser_key(DAY_KEY, "shop", "192.0.2.1", "x\udcff")) == 32
    assert len(burst_key(browser_key(DAY_KEY, "shop", "192.0.2.1", "x" * 1_000), "spring")) == 16


@pytest.mark.parametrize(
    ("later_ms", "repeat"), [(0, True), (1, True), (3_600_000, True), (3_600_001, False), (-1, False)]
)
def test_a_click_is_a_repeat_within_the_window_of_its_link(later_ms: int, repeat: bool) -> None:
    now_ms = 1_800_000_000_000
    assert is_repeat(now_ms, now_ms + later_ms, 3_600) is repeat


# ------------------------------------------------------------------ variants

HALVES: Final = (Variant("a", "https://shop.example/a", 50), Variant("b", "https://shop.example/b", 50))
THREE: Final = (
    Variant("a", "https://shop.example/a", 20),
    Variant("b", "https://shop.example/b", 0),
    Variant("c", "https://shop.example/c", 80),
)


def link(variants: tuple[Variant, ...]) -> Link:
    return Link(id="1", code="x", target="https://shop.example/", variants=variants)


CHOICES: Final[dict[str, tuple[tuple[Variant, ...], str | None, float, str | None]]] = {
    "none of a link without any": ((), None, 0.5, None),
    "none even for a stored one": ((), "a", 0.5, None),
    "the first at the beginning": (HALVES, None, 0.0, "a"),
    "the first until its share ends": (HALVES, None, 0.4999, "a"),
    "the second from there on": (HALVES, None, 0.5, "b"),
    "the second at the end": (HALVES, None, 0.999_999_999, "b"),
    "the stored one against the number": (HALVES, "b", 0.0, "b"),
    "anew when the stored one is gone": (HALVES, "z", 0.0, "a"),
    "anew when the stored one was switched off": (THREE, "b", 0.5, "c"),
    "never one of no percent": (THREE, None, 0.2, "c"),
    "the one before it until its share ends": (THREE, None, 0.1999, "a"),
    "the last for a number that is none": (HALVES, None, 1.5, "b"),
}


@pytest.mark.parametrize(("variants", "stored", "number", "chosen"), CHOICES.values(), ids=CHOICES.keys())
def test_a_visitor_gets(variants: tuple[Variant, ...], stored: str | None, number: float, chosen: str | None) -> None:
    variant = choose_variant(link(variants), stored, number)
    assert (variant.id if variant else None) == chosen


@quick
@given(first=st.integers(0, 100), data=st.data())
def test_shares_are_the_percentages(first: int, data: st.DataObject) -> None:
    second = data.draw(st.integers(0, 100 - first))
    percents = {"a": first, "b": second, "c": 100 - first - second}
    variants = tuple(Variant(name, f"https://shop.example/{name}", percent) for name, percent in percents.items())
    check_variants(variants)
    got = [choose_variant(link(variants), None, (step + 0.5) / 1_000) for step in range(1_000)]
    for name, percent in percents.items():
        assert sum(variant is not None and variant.id == name for variant in got) == percent * 10


UNFIT: Final = {
    "one alone": (Variant("a", "https://shop.example/", 100),),
    "sums to 99": (HALVES[0], Variant("b", "https://shop.example/", 49)),
    "sums to 101": (HALVES[0], Variant("b", "https://shop.example/", 51)),
    "less than nothing": (Variant("a", "https://shop.example/", -10), Variant("b", "https://shop.example/", 110)),
    "one id twice": (HALVES[0], HALVES[0]),
    "an empty id": (HALVES[0], Variant("", "https://shop.example/", 50)),
}


@pytest.mark.parametrize("variants", UNFIT.values(), ids=UNFIT.keys())
def test_variants_are_refused(variants: tuple[Variant, ...]) -> None:
    with pytest.raises(Refusal) as refused:
        check_variants(variants, "link.variants")
    assert (refused.value.code, refused.value.field) == ("field_invalid", "link.variants")


def test_no_variants_and_fitting_ones_are_taken() -> None:
    check_variants(())
    check_variants(HALVES)
    check_variants(THREE)
