"""The visitor's own page: what this site knows of a browser, and forms to change it. Works without any script.

All words come from `privacy_texts`; every value is escaped by the template engine.
"""

from datetime import UTC, datetime
from importlib import resources
from typing import Final

from gateway.pages.privacy_texts import LANGUAGES, MONTHS, TEXTS
from gateway.pages.templating import ENVIRONMENT

__all__ = ["NOTES", "STYLE", "language_for", "privacy_page", "problem_page"]

STYLE: Final = (resources.files("gateway.pages") / "templates" / "privacy.css").read_bytes()

NOTES: Final = frozenset(name.removeprefix("done_") for name in TEXTS["en"] if name.startswith("done_"))
"""Words for what came of a form: the page says a sentence for each."""

_ACCEPT_MAX: Final = 200


def language_for(accept_language: str | None, default: str) -> str:
    """The first language of an Accept-Language header that the page has, else the default."""
    for part in (accept_language or "")[:_ACCEPT_MAX].split(","):
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            return language
    return default


def privacy_page(seen: object, *, name: str, language: str, token: str, note: str | None) -> bytes:
    """The page of a `flows.disclose.Seen`. `name` is what the site is called in its heading; `note` is one of NOTES, or None."""
    texts = TEXTS[language]
    text = ENVIRONMENT.get_template("privacy.html").render(
        seen=seen,
        name=name,
        lang=language,
        t=texts,
        token=token,
        message=texts[f"done_{note}"] if note in NOTES else "",
        day=lambda at_ms: _date(language, at_ms, "date"),
        moment=lambda at_ms: _date(language, at_ms, "date_time"),
    )
    return text.encode("utf-8")


def problem_page(code: str, *, language: str) -> bytes:
    """What a person reads instead of a refusal. `code` is a code of errors.CODES."""
    texts = TEXTS[language]
    sentence = texts.get(f"problem_{code}", texts["problem_other"])
    text = ENVIRONMENT.get_template("privacy_problem.html").render(lang=language, t=texts, sentence=sentence)
    return text.encode("utf-8")


def _date(language: str, at_ms: int, form: str) -> str:
    """A day, or a moment in UTC, as people of the language write it."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return TEXTS[language][form].format(
        day=moment.day,
        month=MONTHS[language][moment.month - 1],
        year=moment.year,
        time=f"{moment.hour:02}:{moment.minute:02}",
    )
