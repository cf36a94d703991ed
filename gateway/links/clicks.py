"""Clicks: whether a request on a link is a person's, which target a person gets, and what unfurlers are shown (pure).

Every request is answered with the target; a verdict never breaks it. Nothing is dropped by guess either: a click is
stored as `yes`, `no` or `suspect` with its reason, and only `yes` counts, gets a click id and a cookie. No click at all
is what was asked for ahead of a click or beside one: HEAD, prefetching, a preview, the owner's own test.

Source: W3C Resource Hints and Chromium 156 (prefetch headers); vendors' documentation of mail gateways, read 2026-08;
crawler-user-agents 1.67 (names of unfurlers); RFC 7693 (BLAKE2 with a key).
"""

import re
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from gateway.catalogue import Link, Variant
from gateway.errors import Refusal
from gateway.links.targets import read_reserved

__all__ = [
    "BURST_LINKS",
    "BURST_S",
    "Click",
    "Human",
    "browser_key",
    "burst_key",
    "check_variants",
    "choose_variant",
    "is_repeat",
    "judge_click",
    "repeat_key",
    "wants_preview",
]

Human = Literal["yes", "no", "suspect"]

BURST_S: Final = 10
BURST_LINKS: Final = 3
"""More links of one campaign than this, opened by one visitor within BURST_S, are a scanner's reading of a mail."""

_MAIL_GATEWAYS: Final = (
    "safelinks.protection.outlook.com",
    "urldefense.com",
    "urldefense.proofpoint.com",
    "linkprotect.cudasvc.com",
    "secure-web.cisco.com",
)
"""Hosts, and their subdomains, of mail gateways that open links before or beside the reader."""
_BELOW_MAIL_GATEWAYS: Final = tuple([f".{host}" for host in _MAIL_GATEWAYS])
_PART_MAX: Final = 512
"""Characters of an address or an agent text that tell browsers apart."""
_MIMECAST: Final = re.compile(r"(?:.+\.)?protect-[a-z0-9-]+\.mimecast\.com\Z")

_UNFURLERS: Final = re.compile(
    r"facebookexternalhit/|Facebot|Meta-ExternalHit/|Twitterbot/|Slackbot-LinkExpanding|TelegramBot|Discordbot/"
    r"|\AWhatsApp\b|\AViber\b|LinkedInBot/|SkypeUriPreview|MicrosoftPreview/|redditbot/|pinterest\.com/bot|Snap URL Preview"
    r"|SnapURLPreview/|BlueskyPreviewBot/|Mastodon/|Synapse \(bot|Mattermost-Bot/|Discourse Forum Onebox|KeybaseBot|vkShare"
    r"|DingTalkBot-LinkService|Chatwork LinkPreview|Iframely/|Embedly\b"
)
"""Agents that show a link in a chat or a feed. An iPhone names Facebook's and Twitter's when it does so itself."""


class Click(msgspec.Struct, frozen=True):
    """The verdict on one request on a link.

    `recorded` is False when the request is no click at all: nothing is stored. `reason` is a stable word: `person`;
    for no click `method`, `head`, `prefetch`, `no_track`, `preview`; for `no` the rule that knew the agent
    (`crawler_list`, `user_agents`, `no_user_agent`), `bot_parameter` or `headless`; for `suspect` `mail_gateway` or
    `many_links`.
    """

    human: Human
    reason: str
    recorded: bool = True

    @property
    def counts(self) -> bool:
        """Whether the click counts, and gets a click id and a cookie."""
        return self.recorded and self.human == "yes"


PERSON: Final = Click("yes", "person")


def judge_click(
    method: str,
    query: str,
    *,
    agent_bot: str | None,
    headless: bool,
    purposes: tuple[str | None, ...],
    referrer_host: str | None,
    links_of_visitor_in_10s: int,
) -> Click:
    """Judge one request on a link. The first rule that speaks decides, in the order of the reasons of `Click`.

    `query` is raw. `agent_bot` is the name of the rule that took the agent for a robot. `purposes` are the values of
    `Sec-Purpose`, `Purpose` and `X-Moz`. `referrer_host` is in lower case. `links_of_visitor_in_10s` counts different
    links of one campaign that this visitor opened within the last 10 seconds, this one included.
    """
    if method != "GET":
        return Click("no", "head" if method == "HEAD" else "method", recorded=False)
    for purpose in purposes:
        if purpose is not None and purpose.strip().lower().startswith("prefetch"):
            return Click("no", "prefetch", recorded=False)
    reserved = read_reserved(query) if query else frozenset()
    if "no-track" in reserved:
        return Click("no", "no_track", recorded=False)
    if "preview" in reserved:
        return Click("no", "preview", recorded=False)
    if agent_bot is not None:
        return Click("no", agent_bot)
    if "bot" in reserved:
        return Click("no", "bot_parameter")
    if headless:
        return Click("no", "headless")
    if referrer_host is not None and _is_mail_gateway(referrer_host):
        return Click("suspect", "mail_gateway")
    if links_of_visitor_in_10s > BURST_LINKS:
        return Click("suspect", "many_links")
    return PERSON


def _is_mail_gateway(host: str) -> bool:
    return host in _MAIL_GATEWAYS or host.endswith(_BELOW_MAIL_GATEWAYS) or _MIMECAST.match(host) is not None


def wants_preview(agent: str | None) -> bool:
    """Whether an agent text is of a program that shows links in chats and feeds: it gets Open Graph tags, if there are any."""
    return agent is not None and _UNFURLERS.search(agent[:512]) is not None


# ------------------------------------------------------------------ repeats


def browser_key(day_key: bytes, site: str, address: str, user_agent: str) -> bytes:
    """Keyed 32-byte digest by which a browser's clicks on the links of a site are told from others, until the day ends.

    `day_key` is random, of at most 64 bytes, and dies with the day: afterwards nobody can compute the digest again, and a
    click soon after midnight is a new one. What is kept is made from it: `repeat_key`, `burst_key`.
    """
    # Each part is framed by its length: an agent text may hold anything, a separator too.
    framed = "".join([f"{len(part)}:{part}" for part in (site, address[:_PART_MAX], user_agent[:_PART_MAX])])
    return blake2b(framed.encode("utf-8", "replace"), key=day_key, digest_size=32, person=b"browser").digest()


def repeat_key(browser: bytes, link_id: str) -> bytes:
    """Keyed 16-byte digest by which a second click of one browser (`browser_key`) on one link is recognised."""
    return blake2b(link_id.encode(), key=browser, digest_size=16, person=b"repeat").digest()


def burst_key(browser: bytes, campaign_id: str) -> bytes:
    """Keyed 16-byte digest under which the links of one campaign that one browser opens are counted for 10 seconds."""
    return blake2b(campaign_id.encode(), key=browser, digest_size=16, person=b"burst").digest()


def is_repeat(clicked_at_ms: int, now_ms: int, window_s: int) -> bool:
    """Whether a click repeats the one at `clicked_at_ms`: within the link's window, its last millisecond included."""
    return 0 <= now_ms - clicked_at_ms <= window_s * 1000


# ------------------------------------------------------------------ variants


def check_variants(variants: tuple[Variant, ...], field: str = "variants") -> None:
    """Refuse `field_invalid` unless there are none, or at least two with different ids whose percentages sum to 100."""
    if not variants:
        return
    ids = {variant.id for variant in variants}
    percents = [variant.percent for variant in variants]
    if len(variants) < 2 or len(ids) != len(variants) or "" in ids or min(percents) < 0 or sum(percents) != 100:
        raise Refusal("field_invalid", field)


def choose_variant(link: Link, stored_variant_id: str | None, random_number: float) -> Variant | None:
    """Choose the variant a visitor gets, None when the link has none. `random_number` is in [0, 1).

    Who was given one (`stored_variant_id`, from the cookie) keeps it while it exists and gets more than 0 percent; at 0 it
    is switched off for everybody.
    """
    live = [variant for variant in link.variants if variant.percent > 0]
    for variant in live:
        if variant.id == stored_variant_id:
            return variant
    reached = 0
    for variant in live:
        reached += variant.percent
        if random_number * 100 < reached:
            return variant
    return live[-1] if live else None
