"""Where a visit came from, and the channel that follows: every rule, their order, and anything whatever."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attribution.channel_sources import SourceKind, host_is_under, kind_of_source
from gateway.attribution.channels import CHANNELS, PAID_CLICKS, Source, channel_of, source_of
from gateway.links import CLICK_IDS
from tests.support.properties import tried

quick = tried(200)

# ------------------------------------------------------------------ the channel group

GROUP: Final[dict[str, tuple[str, str, str, str]]] = {
    "a direct visit": ("direct", "(direct)", "(none)", ""),
    "a direct visit, medium not set": ("direct", "(direct)", "(not set)", ""),
    "a campaign across networks": ("cross_network", "google", "cpc", "Summer Cross-Network 2026"),
    "a paid shopping campaign": ("paid_shopping", "google", "cpc", "EU Shopping"),
    "a paid shopping source": ("paid_shopping", "amazon", "cpc", ""),
    "an eshop campaign": ("paid_shopping", "newsite", "paid", "my-eshop"),
    "a workshop is no shop": ("paid_search", "google", "cpc", "workshops"),
    "paid search": ("paid_search", "google", "cpc", ""),
    "paid search on bing.com": ("paid_search", "bing.com", "ppc", ""),
    "paid social": ("paid_social", "facebook", "paid_social", ""),
    "paid social by a short name": ("paid_social", "fb", "cpc", ""),
    "paid video": ("paid_video", "youtube", "cpv, cpc", ""),
    "cpm on a social network is paid": ("paid_social", "instagram", "cpm", ""),
    "cpm anywhere else is display": ("display", "somesite", "cpm", ""),
    "a banner": ("display", "somesite", "banner", ""),
    "paid, somewhere": ("paid_other", "somesite", "retargeting", ""),
    "an assistant": ("ai_assistants", "chatgpt.com", "referral", ""),
    "an assistant that is paid": ("paid_other", "chatgpt.com", "cpc", ""),
    "organic shopping": ("organic_shopping", "idealo.de", "referral", ""),
    "organic social by its source": ("organic_social", "l.facebook.com", "referral", ""),
    "organic social by its medium": ("organic_social", "somesite", "Social-Network", ""),
    "organic video": ("organic_video", "vimeo.com", "referral", ""),
    "organic video by its medium": ("organic_video", "somesite", "in-video-link", ""),
    "organic search": ("organic_search", "google", "organic", ""),
    "organic search of a country": ("organic_search", "www.google.co.uk", "referral", ""),
    "organic by its medium": ("organic_search", "somesite", "organic", ""),
    "a referral": ("referral", "blog.example", "referral", ""),
    "an app": ("referral", "com.example.app", "app", ""),
    "mail by its medium": ("email", "spring", "E-Mail", ""),
    "mail by its source": ("email", "email", "newsletter", ""),
    "an affiliate": ("affiliates", "awin", "affiliate", ""),
    "audio": ("audio", "podcast", "audio", ""),
    "a text message": ("sms", "cartboss", "sms", ""),
    "a text message by its source": ("sms", "SMS", "reminder", ""),
    "a push message": ("mobile_push", "app", "web-push", ""),
    "a notification": ("mobile_push", "app", "notifications", ""),
    "firebase": ("mobile_push", "firebase", "message", ""),
    "anything else": ("unassigned", "flyer", "print", ""),
    "nothing": ("unassigned", "", "", ""),
}


@pytest.mark.parametrize(("channel", "source", "medium", "campaign"), GROUP.values(), ids=GROUP.keys())
def test_a_source_has_its_channel(channel: str, source: str, medium: str, campaign: str) -> None:
    assert channel_of(Source(source, medium, campaign)) == channel
    assert channel_of(Source(source.upper(), medium.upper(), campaign.upper())) == channel


def test_every_channel_has_a_case() -> None:
    assert {case[0] for case in GROUP.values()} == set(CHANNELS)


def test_without_the_channel_of_assistants_the_rules_of_ga4_decide() -> None:
    assert channel_of(Source("chatgpt.com", "referral"), assistants=False) == "referral"


@quick
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_source_has_exactly_one_channel(source: str, medium: str, campaign: str) -> None:
    assert channel_of(Source(source, medium, campaign)) in CHANNELS


# ------------------------------------------------------------------ kinds of places

PLACES: Final = {
    "www.google.de": SourceKind.SEARCH,
    "google.com.br": SourceKind.SEARCH,
    "images.google.com": SourceKind.SEARCH,
    "de.search.yahoo.com": SourceKind.SEARCH,
    "search.yahoo.co.jp": SourceKind.SEARCH,
    "out.reddit.com": SourceKind.SOCIAL,
    "pinterest.at": SourceKind.SOCIAL,
    "m.youtube.com": SourceKind.VIDEO,
    "amazon.co.uk": SourceKind.SHOPPING,
    "mail.google.com": SourceKind.EMAIL,
    "gemini.google.com": SourceKind.ASSISTANT,
    "shopping.google.com": SourceKind.SHOPPING,
    "checkout.stripe.com": SourceKind.PAYMENT,
    "docs.google.com": None,
    "about.google": None,
    "google.com.evil.example": None,
    "notgoogle.com": None,
    "facebook.com.evil.example": None,
    "evilfacebook.com": None,
    "com": None,
    "": None,
    "...": None,
}


@pytest.mark.parametrize(("host", "kind"), PLACES.items(), ids=PLACES.keys())
def test_a_host_is_known_by_the_longest_name_that_is_listed(host: str, kind: SourceKind | None) -> None:
    assert kind_of_source(host) is kind


def test_a_host_is_under_its_domain_and_not_under_a_name_that_ends_alike() -> None:
    domains = frozenset({"shop.example"})
    assert host_is_under("shop.example", domains)
    assert host_is_under("checkout.eu.shop.example", domains)
    assert not host_is_under("myshop.example", domains)
    assert not host_is_under("example", domains)


# ------------------------------------------------------------------ where a visit came from

OWN: Final = frozenset({"shop.example"})
VISITS: Final[dict[str, tuple[dict[str, str], dict[str, str], str | None, Source | None]]] = {
    "nothing is known": ({}, {}, None, Source("(direct)", "(none)")),
    "a campaign": ({"source": "News", "medium": "email", "campaign": "May"}, {}, "x.example", Source("News", "email", "May")),
    "a source alone": ({"source": "news"}, {}, None, Source("news", "(not set)")),
    "a medium alone": ({"medium": "email"}, {}, None, Source("(not set)", "email")),
    "a click id": ({}, {"gclid": "1"}, "google.com", Source("google", "cpc")),
    "a click id fills the medium of its own source": ({"source": "Google"}, {"gclid": "1"}, None, Source("Google", "cpc")),
    "a click id fills a missing source": ({"medium": "brand"}, {"gclid": "1"}, None, Source("google", "brand")),
    "a click id of another platform fills nothing": (
        {"source": "news"}, {"gclid": "1"}, None, Source("news", "(not set)"),
    ),
    "a click id with the name of a campaign": ({"campaign": "May"}, {"msclkid": "1"}, None, Source("bing", "cpc", "May")),
    "the strongest of several click ids": ({}, {"ttclid": "1", "gclid": "2"}, None, Source("google", "cpc")),
    "a click id that proves no payment": ({}, {"fbclid": "1"}, "l.facebook.com", Source("l.facebook.com", "referral")),
    "a search engine": ({}, {}, "www.google.de", Source("google", "organic")),
    "a search engine below another name": ({}, {}, "search.brave.com", Source("brave", "organic")),
    "a mail host": ({}, {}, "mail.google.com", Source("mail.google.com", "email")),
    "another site": ({}, {}, "www.blog.example", Source("blog.example", "referral")),
    "an app": ({}, {}, "android-app://com.example.app/x", Source("com.example.app", "app")),
    "an own page": ({}, {}, "www.shop.example", None),
    "a payment page": ({}, {}, "www.paypal.com", None),
    "a campaign on an own page": ({"source": "news"}, {}, "shop.example", Source("news", "(not set)")),
}  # fmt: skip


@pytest.mark.parametrize(("campaign", "clicks", "referrer", "source"), VISITS.values(), ids=VISITS.keys())
def test_a_visit_has_its_source(
    campaign: dict[str, str], clicks: dict[str, str], referrer: str | None, source: Source | None
) -> None:
    assert source_of(campaign, clicks, referrer, OWN) == source


@quick
@given(
    st.dictionaries(st.sampled_from(["source", "medium", "campaign"]), st.text(max_size=600)),
    st.dictionaries(st.sampled_from(["gclid", "fbclid", "other"]), st.text(max_size=9)),
    st.none() | st.text(max_size=600),
)
def test_any_visit_has_a_source_of_bounded_length_or_started_none(
    campaign: dict[str, str], clicks: dict[str, str], referrer: str | None
) -> None:
    found = source_of(campaign, clicks, referrer, OWN)
    assert found is None or max(map(len, found)) <= 256


def test_every_click_id_that_proves_payment_is_one_that_pages_are_read_for() -> None:
    assert set(PAID_CLICKS) <= set(CLICK_IDS)
