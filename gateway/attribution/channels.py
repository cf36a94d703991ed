"""Channels: name where a visit came from, first as source and medium, then as one of a closed list of channels.

The source is what the campaign parameters say; what they leave open is filled by a paid click id, then by the referrer. The
channel follows from source, medium and campaign by the rules of GA4's default channel group: a table, the first rule that
matches wins, upper and lower case are equal. One rule is ours: visits from AI assistants have a channel of their own.

Source: Google Analytics Help, "Default channel group" (answer 9756891), as of 2026-11. Google's lists of
sources are replaced by those of `channel_sources`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.attribution.channel_sources import SourceKind, engine_of, host_is_under, kind_of_source
from gateway.attribution.journeys import DIRECT

__all__ = ["CHANNELS", "CHANNELS_VERSION", "PAID_CLICKS", "Source", "channel_of", "source_of"]

CHANNELS_VERSION: Final = 1
"""Changes when the same visit would get another channel."""

TEXT_MAX: Final = 256
"""Characters of a source, medium or campaign that are looked at."""


class Source(NamedTuple):
    """Where a visit came from, as campaign reports write it. `source` keeps its case; `campaign` may be empty."""

    source: str
    medium: str
    campaign: str = ""


_DIRECT: Final = Source("(direct)", "(none)")
_NOT_SET: Final = "(not set)"

PAID_CLICKS: Final[dict[str, tuple[str, str]]] = {
    "gclid": ("google", "cpc"), "gbraid": ("google", "cpc"), "wbraid": ("google", "cpc"), "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"), "yclid": ("yandex", "cpc"),
    "ttclid": ("tiktok", "paid"), "twclid": ("twitter", "paid"), "li_fat_id": ("linkedin", "paid"),
    "sccid": ("snapchat", "paid"), "rdt_cid": ("reddit", "paid"), "qclid": ("quora", "paid"),
    "tblci": ("taboola", "cpc"), "dicbo": ("outbrain", "cpc"), "aref": ("amazon", "cpc"), "cto_pld": ("criteo", "cpc"),
    "awc": ("awin", "affiliate"), "cjevent": ("cj", "affiliate"), "irclickid": ("impact", "affiliate"),
    "ransiteid": ("rakuten", "affiliate"), "clickref": ("partnerize", "affiliate"), "sscid": ("shareasale", "affiliate"),
    "tduid": ("tradedoubler", "affiliate"),
}  # fmt: skip
"""Click id to the source and medium it proves, the strongest first. `fbclid` and `epik` are missing: those platforms also
put them on links that nobody paid for."""


def source_of(
    campaign: Mapping[str, str],
    click_ids: Mapping[str, str],
    referrer: str | None,
    own_domains: frozenset[str] = frozenset(),
) -> Source | None:
    """Name the source of a visit; None when it started none, because it came from an own page or a payment page.

    `campaign` holds `source`, `medium`, `campaign` as read from the address, `click_ids` platform ids by parameter in
    lower case, `referrer` a host in lower case or `android-app://PACKAGE`, `own_domains` domains in lower case.
    """
    source, medium = campaign.get("source", "")[:TEXT_MAX], campaign.get("medium", "")[:TEXT_MAX]
    name = campaign.get("campaign", "")[:TEXT_MAX]
    proven = next((PAID_CLICKS[click] for click in PAID_CLICKS if click in click_ids), None)
    if source or medium:
        # A click id fills a gap only where it speaks of the same source, or none is named.
        if proven is not None and (not source or source.lower() == proven[0]):
            source, medium = source or proven[0], medium or proven[1]
        return Source(source or _NOT_SET, medium or _NOT_SET, name)
    if proven is not None:
        return Source(*proven, name)
    referred = _referred(referrer, own_domains)
    return referred._replace(campaign=name) if referred is not None else None


def _referred(referrer: str | None, own_domains: frozenset[str]) -> Source | None:
    if not referrer:
        return _DIRECT
    if referrer.startswith("android-app://"):
        return Source(referrer.removeprefix("android-app://").partition("/")[0][:TEXT_MAX], "app")
    host = referrer.lower()[:TEXT_MAX].removeprefix("www.")
    kind = kind_of_source(host)
    if kind is SourceKind.PAYMENT or host_is_under(host, own_domains):
        return None
    if kind is SourceKind.SEARCH:
        return Source(engine_of(host), "organic")
    return Source(host, "email" if kind is SourceKind.EMAIL else "referral")


# ------------------------------------------------------------------ the channel group


class _Visit(NamedTuple):
    """A source in lower case, with what sort of place it is."""

    source: str
    medium: str
    campaign: str
    kind: SourceKind | None


_PAID: Final = re.compile(r".*cp.*|ppc|retargeting|paid.*", re.DOTALL)
_SHOPPING: Final = re.compile(r"(?:[^a-df-z]|^)shop|shopping")
_SOCIAL_MEDIA: Final = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_EMAIL: Final = frozenset({"email", "e-mail", "e_mail", "e mail"})


def _paid(visit: _Visit) -> bool:
    return _PAID.fullmatch(visit.medium) is not None


def _shop(visit: _Visit) -> bool:
    return visit.kind is SourceKind.SHOPPING or _SHOPPING.search(visit.campaign) is not None


class Channel(NamedTuple):
    """One rule of the group: its title for people and what it matches."""

    title: str
    matches: Callable[[_Visit], bool]


CHANNELS: Final[dict[str, Channel]] = {
    DIRECT: Channel("Direct", lambda v: v.source == "(direct)" and v.medium in {_NOT_SET, "(none)"}),
    "cross_network": Channel("Cross-network", lambda v: "cross-network" in v.campaign),
    "paid_shopping": Channel("Paid Shopping", lambda v: _shop(v) and _paid(v)),
    "paid_search": Channel("Paid Search", lambda v: v.kind is SourceKind.SEARCH and _paid(v)),
    "paid_social": Channel("Paid Social", lambda v: v.kind is SourceKind.SOCIAL and _paid(v)),
    "paid_video": Channel("Paid Video", lambda v: v.kind is SourceKind.VIDEO and _paid(v)),
    "display": Channel("Display", lambda v: v.medium in {"display", "banner", "expandable", "interstitial", "cpm"}),
    "paid_other": Channel("Paid Other", _paid),
    "ai_assistants": Channel("AI Assistants", lambda v: v.kind is SourceKind.ASSISTANT),
    "organic_shopping": Channel("Organic Shopping", _shop),
    "organic_social": Channel("Organic Social", lambda v: v.kind is SourceKind.SOCIAL or v.medium in _SOCIAL_MEDIA),
    "organic_video": Channel("Organic Video", lambda v: v.kind is SourceKind.VIDEO or "video" in v.medium),
    "organic_search": Channel("Organic Search", lambda v: v.kind is SourceKind.SEARCH or v.medium == "organic"),
    "referral": Channel("Referral", lambda v: v.medium in {"referral", "app", "link"}),
    "email": Channel("Email", lambda v: v.source in _EMAIL or v.medium in _EMAIL),
    "affiliates": Channel("Affiliates", lambda v: v.medium == "affiliate"),
    "audio": Channel("Audio", lambda v: v.medium == "audio"),
    "sms": Channel("SMS", lambda v: "sms" in {v.source, v.medium}),
    "mobile_push": Channel(
        "Mobile Push Notifications",
        lambda v: (
            v.medium.endswith("push") or "mobile" in v.medium or "notification" in v.medium or v.source == "firebase"
        ),
    ),
    "unassigned": Channel("Unassigned", lambda v: True),
}
"""Channel id to its rule, in the order in which they are tried. `direct` is the reserved channel of direct visits."""


def channel_of(source: Source, *, assistants: bool = True) -> str:
    """Name the channel of a source: a key of CHANNELS. Without `assistants` GA4's own rules decide alone."""
    visit = _Visit(
        source.source.strip().lower()[:TEXT_MAX],
        source.medium.strip().lower()[:TEXT_MAX],
        source.campaign.lower()[:TEXT_MAX],
        kind_of_source(source.source[:TEXT_MAX]),
    )
    return next(
        name for name, channel in CHANNELS.items() if channel.matches(visit) and (assistants or name != "ai_assistants")
    )
