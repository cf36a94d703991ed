"""Pages of links: what a link leads to, what programs that unfurl links are shown, and what is said when there is no link.

Whole pages of their own: a host that serves links serves nothing else, so the few lines of style stand inside, and the
policy names them by their digest. No script, no image, no other address is loaded. Every value is escaped.

Source: Open Graph protocol, ogp.me, read 2026-11; W3C CSP Level 3, 2.3.1 (hashes).
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.pages.templating import ENVIRONMENT

__all__ = ["POLICY", "lead_page", "preview_page", "problem_page"]

_STYLE: Final = (
    ":root{font:1.0625rem/1.6 system-ui,sans-serif;color-scheme:light dark}body{margin:0}"
    "main{max-width:40rem;margin:0 auto;padding:1.5rem 1rem 4rem;overflow-wrap:anywhere}h1{font-size:1.5rem;line-height:1.25}"
)
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content policy of all pages here."""


_EN: Final[dict[str, str]] = {
    "lead_title": "Where this link leads",
    "leads": "Opening {address} takes you to:",
    "leads_one_of": "Opening {address} takes you to one of these:",
    "counted": "Opening the link is counted: the time, the link, and what sort of device it was. That says nothing about "
    "who you are, and nothing is stored in your browser.",
    "consented": "Only if you agreed on the site to the use of your data for advertising does the address you get name your "
    "click, and does a cookie remember it.",
    "privacy": "What this site knows of your browser",
    "go_on": "Go on to the page",
    "link_unknown": "There is no link at this address. It may have been mistyped, or it is no longer in use.",
    "link_expired": "The time of this link is over.",
    "target_signature_invalid": "This link is not complete, or its time is over.",
    "rate_limited": "Too many links were asked for that do not exist. Try again in a minute.",
    "problem_title": "This link does not work",
    "problem_other": "Something went wrong. Try again later.",
}
_DE: Final[dict[str, str]] = {
    "lead_title": "Wohin dieser Link führt",
    "leads": "{address} führt zu dieser Adresse:",
    "leads_one_of": "{address} führt zu einer dieser Adressen:",
    "counted": "Das Öffnen des Links wird gezählt: der Zeitpunkt, der Link und die Art des Geräts. Das sagt nichts darüber, "
    "wer Sie sind, und in Ihrem Browser wird nichts gespeichert.",
    "consented": "Nur wenn Sie auf der Website der Nutzung Ihrer Daten für Werbung zugestimmt haben, nennt die Zieladresse "
    "Ihren Klick, und ein Cookie merkt ihn sich.",
    "privacy": "Was diese Website über Ihren Browser weiß",
    "go_on": "Weiter zur Seite",
    "link_unknown": "Unter dieser Adresse gibt es keinen Link. Vielleicht ist sie falsch geschrieben oder nicht mehr in Gebrauch.",
    "link_expired": "Die Zeit dieses Links ist abgelaufen.",
    "target_signature_invalid": "Dieser Link ist unvollständig oder abgelaufen.",
    "rate_limited": "Es wurden zu viele Links aufgerufen, die es nicht gibt. Versuchen Sie es in einer Minute noch einmal.",
    "problem_title": "Dieser Link funktioniert nicht",
    "problem_other": "Etwas ist schiefgegangen. Versuchen Sie es später noch einmal.",
}
TEXTS: Final[Mapping[str, Mapping[str, str]]] = {"en": _EN, "de": _DE}


def lead_page(shown: object, *, language: str, privacy: str) -> bytes:
    """The page of `SLUG+`: where a link leads, and what opening it leaves behind. `shown` is a `flows.opening.Shown`."""
    return _page("link_lead.html", language, shown=shown, privacy=privacy)


def preview_page(shown: object, *, language: str) -> bytes:
    """The page that unfurlers read: Open Graph fields, and the way on for whoever is a person after all."""
    return _page("link_preview.html", language, shown=shown)


def problem_page(code: str, *, language: str) -> bytes:
    """What a person reads instead of a refusal. `code` is a code of errors.CODES."""
    texts = TEXTS[language]
    return _page("link_problem.html", language, sentence=texts.get(code, texts["problem_other"]), code=code)


def _page(template: str, language: str, **values: object) -> bytes:
    text = ENVIRONMENT.get_template(template).render(lang=language, t=TEXTS[language], style=_STYLE, **values)
    return text.encode("utf-8")
