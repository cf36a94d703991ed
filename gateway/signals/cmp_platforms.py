"""Every consent platform that can be read, by the name a site configuration uses. A new one is a reader and an entry here.

The default mapping of a platform follows the names it ships with. Its marketing-like categories (marketing, targeting,
advertisement) stand for `advertising`, `ad_user_data` and `ad_personalization` together: the visitor was asked one
question for all of them. Where sites name categories or services themselves the default mapping is empty, and the site
must give one: a name is never guessed. A site's own mapping replaces the default one whole.
"""

from typing import Final

from gateway.purposes import ADVERTISING_PURPOSES, ANALYTICS, FUNCTIONAL, NECESSARY
from gateway.signals import cmp_json, cmp_secondary, cmp_text
from gateway.signals.cmp import STORAGE_GATE
from gateway.signals.cmp_reader import Choice, Found, Jar, Platform

__all__ = ["ALIASES", "PLATFORMS", "platform"]


def _read_usercentrics(_: Jar) -> Found:
    """The record is in the browser's local storage: a script on the page must report it, no server can read it."""
    return Found(choice=Choice.NONE, raw={})


_WORDPRESS: Final = {
    "functional": NECESSARY,
    "preferences": FUNCTIONAL,
    "statistics": ANALYTICS,
    "marketing": ADVERTISING_PURPOSES,
}

PLATFORMS: Final[dict[str, Platform]] = {
    entry.slug: entry
    for entry in (
        Platform(
            slug="vanilla-cookieconsent",
            title="CookieConsent 3 by orestbida",
            names=("cc_cookie",),
            reader=cmp_json.read_vanilla,
            may_rename=True,
            lists_services=True,
        ),
        Platform(
            slug="klaro",
            title="Klaro",
            names=("klaro",),
            reader=cmp_json.read_klaro,
            may_rename=True,
        ),
        Platform(
            slug="tarteaucitronjs",
            title="tarteaucitron.js",
            names=("tarteaucitron",),
            reader=cmp_text.read_tarteaucitron,
            may_rename=True,
        ),
        Platform(
            slug="complianz",
            title="Complianz",
            names=tuple(
                prefix + name
                for prefix in ("cmplz_", "cmplz_rt_")
                for name in ("functional", "preferences", "statistics", "marketing", "policy_id")
            ),
            reader=cmp_text.read_complianz,
            mapping=_WORDPRESS,
        ),
        Platform(
            slug="wp-consent-api",
            title="WP Consent API",
            names=tuple(
                "wp_consent_" + name
                for name in ("functional", "preferences", "statistics", "statistics-anonymous", "marketing")
            ),
            reader=cmp_text.read_wp_consent_api,
            # Anonymous statistics are the site's own exempt counting: known, and no purpose of the gateway.
            mapping={**_WORDPRESS, "statistics-anonymous": 0},
        ),
        Platform(
            slug="onetrust",
            title="OneTrust, CookiePro",
            names=("OptanonConsent", "OptanonAlertBoxClosed"),
            reader=cmp_text.read_onetrust,
            mapping={
                "C0001": NECESSARY,
                "C0002": ANALYTICS,
                "C0003": FUNCTIONAL,
                "C0004": ADVERTISING_PURPOSES,
                "C0005": ADVERTISING_PURPOSES,
            },
        ),
        Platform(
            slug="cookiebot",
            title="Cookiebot",
            names=("CookieConsent",),
            reader=cmp_text.read_cookiebot,
            mapping={
                "necessary": NECESSARY,
                "preferences": FUNCTIONAL,
                "statistics": ANALYTICS,
                "marketing": ADVERTISING_PURPOSES,
            },
        ),
        Platform(
            slug="cookieyes",
            title="CookieYes",
            names=("cookieyes-consent", "cookielawinfo-checkbox-", "viewed_cookie_policy"),
            reader=cmp_text.read_cookieyes,
            mapping={
                "necessary": NECESSARY,
                "functional": FUNCTIONAL,
                "analytics": ANALYTICS,
                "performance": ANALYTICS,
                "advertisement": ADVERTISING_PURPOSES,
                "other": 0,
                "others": 0,
            },
        ),
        Platform(
            slug="iubenda",
            title="iubenda",
            names=("_iub_cs-",),
            reader=cmp_json.read_iubenda,
            mapping={
                "1": NECESSARY,
                "2": FUNCTIONAL,
                "3": FUNCTIONAL,
                "4": ANALYTICS,
                "5": ADVERTISING_PURPOSES,
            },
        ),
        Platform(
            slug="axeptio",
            title="Axeptio",
            names=("axeptio_cookies",),
            reader=cmp_json.read_axeptio,
        ),
        Platform(
            slug="didomi",
            title="Didomi",
            names=("didomi_token", "didomi_dcs"),
            reader=cmp_json.read_didomi,
            # Purposes of the IAB framework by Didomi's names; the notice's own purposes must be mapped by the site.
            mapping={
                "cookies": STORAGE_GATE,
                "select_basic_ads": ADVERTISING_PURPOSES,
                "create_ads_profile": ADVERTISING_PURPOSES,
                "select_personalized_ads": ADVERTISING_PURPOSES,
                "measure_ad_performance": ADVERTISING_PURPOSES,
                "measure_content_performance": ANALYTICS,
                "market_research": ANALYTICS,
                "improve_products": ANALYTICS,
                "create_content_profile": FUNCTIONAL,
                "select_personalized_content": FUNCTIONAL,
            },
        ),
        Platform(
            slug="osano",
            title="Osano",
            names=("osano_consentmanager",),
            reader=cmp_secondary.read_osano,
            opt_outs={"OPT_OUT": True},
            mapping={
                "ESSENTIAL": NECESSARY,
                "STORAGE": STORAGE_GATE,
                "PERSONALIZATION": FUNCTIONAL,
                "ANALYTICS": ANALYTICS,
                "MARKETING": ADVERTISING_PURPOSES,
            },
        ),
        Platform(
            slug="cookieconsent-osano-oss",
            title="cookieconsent by Osano, the older open-source library",
            names=("cookieconsent_status",),
            reader=cmp_text.read_cookieconsent,
            mapping={"everything": FUNCTIONAL | ANALYTICS | ADVERTISING_PURPOSES},
        ),
        Platform(
            slug="trustarc",
            title="TrustArc",
            names=("cmapi_cookie_privacy", "notice_gdpr_prefs", "notice_preferences", "notice_behavior"),
            reader=cmp_secondary.read_trustarc,
            # Whether analytics is level 2 or 3 differs per site, so it is mapped by the site alone.
            mapping={"1": NECESSARY, "2": FUNCTIONAL, "3": ADVERTISING_PURPOSES},
        ),
        Platform(
            slug="shopify-legacy",
            title="Shopify, by a script on the page; its cookie until September 2025",
            names=("_tracking_consent",),
            reader=cmp_json.read_shopify,
            # Letters stand in the cookie, words in what the Customer Privacy interface answers.
            mapping={
                "a": ANALYTICS,
                "analytics": ANALYTICS,
                "m": ADVERTISING_PURPOSES,
                "marketing": ADVERTISING_PURPOSES,
                "p": FUNCTIONAL,
                "preferences": FUNCTIONAL,
            },
            opt_outs={"sale_of_data": False},
        ),
        Platform(
            slug="civic",
            title="Civic Cookie Control",
            names=("CookieControl",),
            reader=cmp_secondary.read_civic,
        ),
        Platform(
            slug="transcend",
            title="Transcend",
            names=("tcm",),
            reader=cmp_secondary.read_transcend,
        ),
        Platform(
            slug="securiti",
            title="Securiti",
            names=("__privaci_cookie_consents", "__privaci_cookie_no_action"),
            reader=cmp_secondary.read_securiti,
        ),
        Platform(
            slug="cookiescript",
            title="CookieScript",
            names=("CookieScriptConsent",),
            reader=cmp_secondary.read_cookiescript,
            mapping={
                "strict": NECESSARY,
                "functionality": FUNCTIONAL,
                "performance": ANALYTICS,
                "targeting": ADVERTISING_PURPOSES,
            },
        ),
        Platform(
            slug="usercentrics",
            title="Usercentrics, by a script on the page only",
            names=(),
            reader=_read_usercentrics,
        ),
    )
}
"""Platform by its name in a site configuration."""

ALIASES: Final = {
    "cookiepro": "onetrust",
    "tarteaucitron": "tarteaucitronjs",
    "wp_consent_api": "wp-consent-api",
    "cookieconsent": "cookieconsent-osano-oss",
    "shopify": "shopify-legacy",
    "cookie-script": "cookiescript",
}
"""Other names people use for the same platform."""


def platform(name: str) -> Platform | None:
    """The platform a configuration or a person names, None when nobody knows it."""
    name = name.strip().lower()
    return PLATFORMS.get(ALIASES.get(name, name))
