"""Sources: what sort of place a campaign source or a referrer is: a search engine, a social network, a shop.

Hosts that bring nearly all traffic, in tables of our own; published lists are either not free or far longer. A host counts
with everything below it, the longest name that is listed first: `mail.google.com` is mail although `google.com` searches.
The short names beside them are what people write as `utm_source`.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final

__all__ = ["SourceKind", "engine_of", "host_is_under", "kind_of_source"]


class SourceKind(Enum):
    """What sort of place a source is."""

    SEARCH = "search"
    SOCIAL = "social"
    VIDEO = "video"
    SHOPPING = "shopping"
    ASSISTANT = "assistant"
    EMAIL = "email"
    PAYMENT = "payment"


_HOSTS: Final[dict[SourceKind, str]] = {
    SourceKind.SEARCH: (
        "bing.com duckduckgo.com baidu.com ecosia.org qwant.com startpage.com search.brave.com kagi.com naver.com "
        "seznam.cz ya.ru ask.com search.aol.com lite.qwant.com swisscows.com "
        "mojeek.com sogou.com so.com search.marginalia.nu metager.de metager.org search.daum.net presearch.com "
        "images.google.com cse.google.com"
    ),
    SourceKind.SOCIAL: (
        "facebook.com fb.com fb.me messenger.com instagram.com threads.net threads.com t.co x.com twitter.com "
        "linkedin.com lnkd.in pin.it reddit.com redd.it tiktok.com bsky.app mastodon.social mastodon.online "
        "snapchat.com vk.com ok.ru quora.com news.ycombinator.com tumblr.com xing.com weibo.com t.me telegram.org "
        "whatsapp.com wa.me discord.com nextdoor.com meetup.com"
    ),
    SourceKind.VIDEO: "youtube.com youtu.be vimeo.com dailymotion.com twitch.tv netflix.com hulu.com rumble.com",
    SourceKind.SHOPPING: (
        "shopping.google.com etsy.com aliexpress.com walmart.com shopping.yahoo.com idealo.de idealo.at idealo.fr "
        "idealo.it idealo.es idealo.co.uk shopzilla.com pricerunner.com kelkoo.com bol.com otto.de zalando.com "
        "zalando.de allegro.pl rakuten.com temu.com geizhals.de geizhals.at billiger.de"
    ),
    SourceKind.ASSISTANT: (
        "chatgpt.com chat.openai.com perplexity.ai gemini.google.com copilot.microsoft.com claude.ai chat.mistral.ai "
        "mistral.ai meta.ai deepseek.com chat.deepseek.com grok.com"
    ),
    SourceKind.EMAIL: (
        "mail.google.com mail.yahoo.com outlook.live.com outlook.office.com outlook.office365.com mail.aol.com "
        "mail.proton.me mail.zoho.com mail.ru mail.yandex.ru mail.yandex.com gmx.net gmx.de web.de fastmail.com"
    ),
    SourceKind.PAYMENT: (
        "paypal.com klarna.com stripe.com adyen.com mollie.com sofort.com giropay.de worldpay.com checkout.com "
        "pay.google.com pay.amazon.com pay.amazon.de"
    ),
}

_NAMES: Final[dict[SourceKind, str]] = {
    SourceKind.SEARCH: (
        "google bing duckduckgo yahoo yandex baidu ecosia qwant startpage brave kagi naver seznam ask aol google-ads "
        "googleads adwords bing-ads bingads"
    ),
    SourceKind.SOCIAL: (
        "facebook fb meta instagram ig insta threads twitter x linkedin pinterest reddit tiktok bluesky mastodon "
        "snapchat vk quora tumblr xing weibo telegram whatsapp discord facebook-ads meta-ads linkedin-ads"
    ),
    SourceKind.VIDEO: "youtube yt vimeo dailymotion twitch netflix hulu",
    SourceKind.SHOPPING: (
        "amazon ebay etsy aliexpress walmart idealo google-shopping googleshopping shopping.google bol otto zalando "
        "allegro rakuten temu geizhals billiger shopify"
    ),
    SourceKind.ASSISTANT: "chatgpt openai perplexity gemini copilot claude mistral deepseek grok",
}

_BY_NAME: Final[dict[str, SourceKind]] = {
    name: kind for table in (_NAMES, _HOSTS) for kind, names in table.items() for name in names.split()
}

_BRANDS: Final[dict[str, SourceKind]] = {
    "google": SourceKind.SEARCH,
    "yahoo": SourceKind.SEARCH,
    "yandex": SourceKind.SEARCH,
    "pinterest": SourceKind.SOCIAL,
    "amazon": SourceKind.SHOPPING,
    "ebay": SourceKind.SHOPPING,
}
_BRAND: Final = re.compile(
    r"(?:(?:www|m|[a-z]{2}|search|images|[a-z]{2}\.search)\.)?(google|yahoo|yandex|pinterest|amazon|ebay)"
    r"\.(?:com|[a-z]{2}|com?\.[a-z]{2})",
    re.ASCII,
)
"""Brands with a domain in every country. Other names below them, such as `docs.google.com`, are plain sites."""


@lru_cache(maxsize=4_096)
def kind_of_source(source: str) -> SourceKind | None:
    """Sort of place of a campaign source or a host, in any case; None for a place like any other."""
    name = source.strip().lower().removeprefix("www.")
    if name in _BY_NAME:
        return _BY_NAME[name]
    brand = _BRAND.fullmatch(name)
    if brand is not None:
        return _BRANDS[brand.group(1)]
    while "." in name:
        name = name.partition(".")[2]
        if "." in name and name in _BY_NAME:
            return _BY_NAME[name]
    return None


def engine_of(host: str) -> str:
    """Name of a search engine as reports write it: `google` for `google.co.uk`, `brave` for `search.brave.com`."""
    brand = _BRAND.fullmatch(host)
    return brand.group(1) if brand is not None else host.rpartition(".")[0].rpartition(".")[2]


def host_is_under(host: str, domains: frozenset[str]) -> bool:
    """Whether a host is one of some domains or below one. Both in lower case."""
    while host:
        if host in domains:
            return True
        host = host.partition(".")[2]
    return False
