"""Arrivals: click ids, campaign parameters and clean page addresses (pure).

Advertising platforms put an id of the click into the address of the landing page. Such ids, and everything else in an
address that could name a person, are taken out before an address is kept. Click ids are opaque and case-sensitive: they
are never lower-cased, trimmed or re-encoded. Our own links add two parameters: an id of the click and the slug of the link.

Source: vendors' documentation and recorded browser traffic, read 2026-11; GA4 campaign parameter names.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from gateway.links.codes import CLICK_PARAMETER, CODE_PARAMETER, fold_slug, is_click_id

__all__ = [
    "CLICK_IDS",
    "REMOVED",
    "URL_MAX_CHARACTERS",
    "Arrival",
    "NamedClicks",
    "clean_text",
    "clean_url",
    "host_of",
    "looks_personal",
    "read_arrival",
    "read_click_ids",
]

URL_MAX_CHARACTERS: Final = 4_096
CLICK_ID_MAX_CHARACTERS: Final = 512
CAMPAIGN_MAX_CHARACTERS: Final = 256

ADS: Final = "advertising"
"""Purpose under which a click id may be kept or sent."""

CLICK_IDS: Final[dict[str, str]] = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "dclid": "google", "gad_source": "google",
    "gad_campaignid": "google", "gclsrc": "google",
    "fbclid": "meta",
    "msclkid": "microsoft",
    "ttclid": "tiktok",
    "twclid": "x",
    "li_fat_id": "linkedin",
    "epik": "pinterest",
    "sccid": "snapchat",
    "rdt_cid": "reddit",
    "qclid": "quora",
    "yclid": "yandex", "ymclid": "yandex", "syclid": "yandex",
    "tblci": "taboola",
    "dicbo": "outbrain", "obclid": "outbrain",
    "aref": "amazon",
    "cto_pld": "criteo",
    "awc": "awin", "cjevent": "cj", "irclickid": "impact", "im_ref": "impact", "ransiteid": "rakuten",
    "clickref": "partnerize", "sscid": "shareasale", "tduid": "tradedoubler",
    "rb_clickid": "generic", "click_id": "generic", "clickid": "generic",
}  # fmt: skip
"""Query parameter in lower case to the platform that reads it. All need the purpose advertising."""

_STRIPPED: Final = frozenset(CLICK_IDS) | frozenset(
    "srsltid igsh igshid ysclid oborigurl maas ranmid raneaid phgref irgwc aff_id sub_id _kx mc_eid _hsenc _hsmi __hstc "
    "__hssc __hsfp hsctatracking mkt_tok vero_id vero_conv _branch_match_id _branch_referrer s_cid ef_id s_kwcid "
    "wickedid _gl _sp pk_vid _gwl ss_email_id oly_anon_id oly_enc_id "
    "token key auth session sessionid sid jwt access_token id_token code state password passwd pwd secret api_key apikey "
    "email e-mail mail phone tel mobile name first_name last_name firstname lastname fname lname username user "
    "address street zip postcode postal_code birthday dob ssn iban".split()
)
"""Parameters that never stay in a kept address: click ids, persons' tokens, linkers, secrets, personal values."""

CAMPAIGN: Final[dict[str, str]] = {
    "utm_source": "source", "utm_medium": "medium", "utm_campaign": "campaign", "utm_id": "id", "utm_term": "term",
    "utm_content": "content", "utm_source_platform": "source_platform", "utm_creative_format": "creative_format",
    "utm_marketing_tactic": "marketing_tactic",
}  # fmt: skip
"""Campaign parameter to its field name."""

_CLICK_VALUE: Final = re.compile(r"[A-Za-z0-9._~%=+:-]{1,512}\Z")
_MACRO: Final = re.compile(r"[{}\[\]<>]|^(?:TEST|test)[A-Z_-]*\Z")
_EMAIL: Final = re.compile(r"(?<![^\s@/?&=#,;:<>()\"'])[^\s@/?&=#,;:<>()\"']+(?:@|%40)[^\s/?&=#,;:<>()\"']+")
"""Begins only where a word begins: trying every letter of a long word would cost eight milliseconds for 8 KB."""
_TOKEN: Final = re.compile(r"(?:[0-9a-fA-F]{32,}|[A-Za-z0-9_-]{40,}={0,2}|eyJ[A-Za-z0-9_.-]{20,})\Z")
_DIGITS: Final = re.compile(r"(?<![\w.-])\+?\d[\d ()/.-]{8,20}\d(?![\w-])")
_A_DIGIT: Final = re.compile(r"\d")
_HOST: Final = re.compile(r"https?://(?:[^/?#]*@)?(\[[0-9a-fA-F:.]+\]|[^/?#:@]+)", re.IGNORECASE)
REMOVED: Final = "[removed]"


class Arrival(NamedTuple):
    """What the address of a page says about how the visitor came. `link_token` is ours, from another domain.

    `malformed` counts click ids of platforms that were left out because they could not be one. `click_id` is the one our
    link gave to the click, `link_code` the slug of that link in lower case. Whether either exists is for the store to say.
    """

    click_ids: dict[str, str]
    campaign: dict[str, str]
    link_token: str | None
    malformed: int
    click_id: str | None = None
    link_code: str | None = None


class NamedClicks(NamedTuple):
    """Click ids that a sender named itself, and how many it named that no platform uses or that cannot be one."""

    click_ids: dict[str, str]
    unknown: int
    malformed: int


_NOTHING: Final = Arrival({}, {}, None, 0)


def _parameters(url: str) -> list[tuple[str, str]]:
    """Query parameters as written (not decoded), in order; also those behind a `#/route?`."""
    rest, _, fragment = url.partition("#")
    query = rest.partition("?")[2]
    if "?" in fragment:
        query += "&" + fragment.partition("?")[2]
    pairs = []
    for part in query.split("&", 200)[:200]:
        name, separator, value = part.partition("=")
        if separator and name:
            pairs.append((name, value))
    return pairs


def read_arrival(
    url: str | None, click_parameter: str = CLICK_PARAMETER, code_parameter: str = CODE_PARAMETER
) -> Arrival:
    """Read click ids, campaign parameters, a link token and our own two parameters. The first that can be one wins.

    The names of our own parameters are given in lower case and found in any. Another value under such a name is the
    site's own affair (a category, a customer's list) and no mistake.
    """
    if not url or "=" not in url:
        return _NOTHING
    click_ids: dict[str, str] = {}
    campaign: dict[str, str] = {}
    link_token = click_id = link_code = None
    malformed = 0
    for name, value in _parameters(url[:URL_MAX_CHARACTERS]):
        lowered = name.lower()
        if lowered == click_parameter and is_click_id(value):
            click_id = click_id or value
        elif lowered == code_parameter:
            link_code = link_code or fold_slug(value)
        elif lowered in CLICK_IDS:
            if not _is_click_id(value):
                malformed += 1
            else:
                click_ids.setdefault(lowered, value)
        elif lowered in CAMPAIGN:
            # The plus of `jane+news@...`, not encoded, would be a space that parts the name from the address.
            whole = "+" in value and ("@" in value or "%40" in value)
            text = clean_text((unquote(value) if whole else unquote_plus(value))[:CAMPAIGN_MAX_CHARACTERS])
            if text:
                campaign.setdefault(CAMPAIGN[lowered], text)
        elif name == "_gwl" and link_token is None:
            link_token = value
    return Arrival(click_ids, campaign, link_token, malformed, click_id, link_code)


def read_click_ids(named: Mapping[str, str]) -> NamedClicks:
    """Read click ids that a sender names itself, by the rules for those in an address; names count in any case."""
    click_ids: dict[str, str] = {}
    unknown = malformed = 0
    for name, value in named.items():
        lowered = name.lower()
        if lowered not in CLICK_IDS:
            unknown += 1
        elif not _is_click_id(value):
            malformed += 1
        else:
            click_ids.setdefault(lowered, value)
    return NamedClicks(click_ids, unknown, malformed)


def _is_click_id(value: str) -> bool:
    """Whether a value can be one that a platform made, and no placeholder that nobody filled in."""
    return _CLICK_VALUE.match(value) is not None and _MACRO.search(unquote_plus(value)) is None


def clean_url(
    url: str | None, click_parameter: str = CLICK_PARAMETER, code_parameter: str = CODE_PARAMETER
) -> str | None:
    """Return the page address as it may be kept: http(s), no user part, no fragment, no parameter that could name a person.

    Campaign parameters and our own two (names in lower case) go too, because they are kept on their own. What is no web
    address becomes None.
    """
    if not url:
        return None
    url = url[:URL_MAX_CHARACTERS]
    if not (url.startswith(("https://", "http://"))) or not url.isprintable():
        return None
    rest = url.partition("#")[0]
    path, question, query = rest.partition("?")
    scheme, _, after = path.partition("://")
    authority, slash, where = after.partition("/")
    authority = authority.rpartition("@")[2]
    path = f"{scheme}://{authority}{slash}{_clean_path(where)}"
    if not question:
        return path
    kept, ours = [], (click_parameter, code_parameter)
    for part in query.split("&", 200)[:200]:
        name, _, value = part.partition("=")
        lowered = unquote_plus(name).lower()
        if not name or lowered in _STRIPPED or lowered in CAMPAIGN or _tells(name) or _tells(value):
            continue
        if lowered not in ours:
            kept.append(part)
    return f"{path}?{'&'.join(kept)}" if kept else path


def _clean_path(path: str) -> str:
    """Path segments that look like an e-mail address, a phone number or a token are replaced; the rest stays as written."""
    return "/".join([REMOVED if _tells(part) else part for part in path.split("/")])


def _tells(written: str) -> bool:
    """Whether a part of an address looks personal once it is decoded. A plus is read both ways: as a space, as itself."""
    if len(written) < 10 and "@" not in written and "%" not in written:
        return False  # too short for a phone number or a token, and most parts are
    return looks_personal(unquote_plus(written)) or ("+" in written and looks_personal(unquote(written)))


def looks_personal(text: str) -> bool:
    """Whether a value looks like an e-mail address, a phone number or a secret token."""
    return (
        (("@" in text or "%40" in text) and _EMAIL.search(text) is not None)
        or _TOKEN.match(text) is not None
        or _is_phone(text)
    )


def _is_phone(text: str) -> bool:
    return any(9 <= sum(c.isdigit() for c in found) <= 15 and not found.isdigit() for found in _DIGITS.findall(text))


def clean_text(text: str) -> str:
    """Return free text (a title, a campaign name) with control characters gone and e-mail and phone look-alikes replaced."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(REMOVED, text)
    if _has_digit(text):
        text = _DIGITS.sub(lambda found: REMOVED if _is_phone(found.group()) else found.group(), text)
    return text.strip()


def _has_digit(text: str) -> bool:
    """Whether a text holds a digit. Ten plain searches are ten times as fast as one for a class of characters."""
    if not text.isascii():
        return _A_DIGIT.search(text) is not None
    return (
        "1" in text or "0" in text or "2" in text or "3" in text or "4" in text or "5" in text or "6" in text
        or "7" in text or "8" in text or "9" in text
    )  # fmt: skip


def host_of(url: str | None) -> str | None:
    """Return the host of a web address in lower case, without `www.` and port; None when it has none."""
    if not url:
        return None
    found = _HOST.match(url[:URL_MAX_CHARACTERS])
    return found.group(1).lower().rstrip(".").removeprefix("www.") if found else None
