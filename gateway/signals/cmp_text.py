"""Consent platforms whose cookies are plain text: lists, query strings, one word per category, a script literal.

Each function reads one platform and knows its own marks of a choice. Patterns match from left to right without a second
way to read the same characters, so a hostile value costs no more than its length.

Sources: pages run with the real packages (tarteaucitron 1.34.0), source code (Complianz 7.2.0, WP Consent API 2.0.1,
CookieYes, cookieconsent), vendor documentation (OneTrust, Cookiebot).
"""

import re
from typing import TYPE_CHECKING, Final

from gateway.signals.bits import Broken
from gateway.signals.cmp_reader import Choice, Found, epoch_ms, iso_ms, json_object, put, unescaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.signals.cmp_reader import Jar

__all__ = [
    "read_complianz",
    "read_cookiebot",
    "read_cookieconsent",
    "read_cookieyes",
    "read_onetrust",
    "read_tarteaucitron",
    "read_wp_consent_api",
]

_NOTHING: Final = Found(choice=Choice.NONE)
_WAITS: Final[dict[str, bool | None]] = {"true": True, "false": False, "wait": None}
_ALLOWS: Final = {"allow": True, "deny": False}
_YES_NO: Final = {"yes": True, "no": False}


def read_tarteaucitron(jar: "Jar") -> Found:
    """`!service=true|false|wait` repeated, one entry per service.

    Written on the first view already: services that need no consent stand as `true` before any choice, so nothing counts
    while one entry still says `wait`.
    """
    text = jar.text("tarteaucitron")
    if text is None:
        return _NOTHING
    if not text.startswith("!"):
        raise Broken("shape")
    raw: dict[str, str] = {}
    for entry in text[1:].split("!"):
        service, _, state = entry.rpartition("=")
        if not service or state not in _WAITS:
            raise Broken("shape")
        put(raw, service, state)
    values = {service: _WAITS[state] for service, state in raw.items()}
    choice = Choice.NONE if None in values.values() else Choice.EXPLICIT
    return Found(choice=choice, raw=raw, values=values, services=values)


def read_complianz(jar: "Jar") -> Found:
    """One cookie per category, `allow` or `deny`; installs on a root domain put `rt_` before the category.

    The platform's scripts answer "allowed" without a cookie in opt-out regions and for bots; that is not repeated here.
    """
    cookies: dict[str, str] = {}
    for category in ("functional", "preferences", "statistics", "marketing"):
        for prefix in ("cmplz_", "cmplz_rt_"):
            value = jar.text(prefix + category)
            if value is not None:
                put(cookies, category, value)
    values, invalid = _words(cookies, _ALLOWS)
    raw: dict[str, object] = {**values}
    services = _complianz_services(jar) if values else {}
    if services:
        raw["services"] = services
    policy = jar.text("cmplz_policy_id") or jar.text("cmplz_rt_policy_id")
    choice = Choice.EXPLICIT if values else Choice.NONE
    return Found(choice=choice, raw=raw, values=_with_invalid(values, invalid), invalid=invalid, notice=policy)


def _complianz_services(jar: "Jar") -> dict[str, bool]:
    """Services as raw JSON. They only add to the categories: what cannot be read here is left out."""
    try:
        services = json_object(jar.text("cmplz_consented_services") or "{}")
    except Broken:
        return {}
    return {service: state for service, state in services.items() if isinstance(state, bool)}


def read_wp_consent_api(jar: "Jar") -> Found:
    """One cookie per category, `allow` or `deny`. `statistics-anonymous` is the site's own counting, told apart.

    With no consent type set, the platform's own function answers true for everything; that is not repeated here.
    """
    cookies: dict[str, str] = {}
    for category in ("functional", "preferences", "statistics", "statistics-anonymous", "marketing"):
        value = jar.text("wp_consent_" + category)
        if value is not None:
            cookies[category] = value
    values, invalid = _words(cookies, _ALLOWS)
    return Found(
        choice=Choice.EXPLICIT if values else Choice.NONE,
        raw=values,
        values=_with_invalid(values, invalid),
        invalid=invalid,
        anonymous_statistics=values.get("statistics-anonymous"),
    )


def read_onetrust(jar: "Jar") -> Found:
    """A query string with `groups=id:0|1,...`; a second cookie holds the time at which the banner was answered.

    Without that second cookie the groups are the defaults of the region. While the site asks again
    (`AwaitingReconsent=true`), what was granted before is void like a choice under an older notice.
    """
    value = jar.raw("OptanonConsent")
    if value is None:
        return _NOTHING
    unescaped(value)  # a broken escape anywhere marks a cut or forged value
    query: dict[str, str] = {}
    for part in value.split("&"):
        key, _, text = part.partition("=")
        if key in ("groups", "browserGpcFlag", "AwaitingReconsent"):
            put(query, key, unescaped(text.replace("+", " ")))
    if not query.get("groups"):
        raise Broken("shape")
    states: dict[str, str] = {}
    for entry in filter(None, query["groups"].split(",")):
        group, _, state = entry.partition(":")
        put(states, group, state)
    groups, invalid = _words(states, {"1": True, "0": False})
    closed = jar.text("OptanonAlertBoxClosed")
    return Found(
        choice=Choice.EXPLICIT if closed else Choice.NONE,
        raw={"groups": groups},
        values=_with_invalid(groups, invalid),
        invalid=invalid,
        time_ms=iso_ms(closed),
        superseded=query.get("AwaitingReconsent") == "true",
        gpc=query.get("browserGpcFlag") == "1",
    )


def read_cookiebot(jar: "Jar") -> Found:
    """A script literal `{word:'text',word:word}`, read by its grammar and never evaluated; `-1` outside regulated regions.

    `method:'explicit'` marks an action, `'implied'` silence; without either nothing was chosen.
    """
    text = jar.text("CookieConsent")
    if text is None:
        return _NOTHING
    if text == "-1":
        return Found(choice=Choice.NOT_REQUIRED, raw={"value": "-1"}, whole=True)
    literal = _literal(text)
    categories = {key: value for key, value in literal.items() if key in _COOKIEBOT_CATEGORIES}
    values, invalid = _words(categories, {"true": True, "false": False})
    utc = literal.get("utc", "")
    return Found(
        choice={"explicit": Choice.EXPLICIT, "implied": Choice.IMPLIED}.get(literal.get("method", ""), Choice.NONE),
        raw=values,
        values=_with_invalid(values, invalid),
        invalid=invalid,
        time_ms=epoch_ms(int(utc)) if re.fullmatch("[0-9]{1,15}", utc) else None,
    )


_COOKIEBOT_CATEGORIES: Final[frozenset[str]] = frozenset({"necessary", "preferences", "statistics", "marketing"})
_PAIR: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):(?:'([^']*)'|([A-Za-z0-9_.+-]+))([,}])")


def _literal(text: str) -> dict[str, str]:
    """Pairs of one flat script literal. Raises Broken `shape` at the first character that does not belong."""
    pairs: dict[str, str] = {}
    at, closing = 1, ","
    if not text.startswith("{"):
        raise Broken("shape")
    while closing == ",":
        match = _PAIR.match(text, at)
        if match is None:
            raise Broken("shape")
        key, quoted, bare, closing = match.groups()
        put(pairs, key, bare if quoted is None else quoted)
        at = match.end()
    if at != len(text):
        raise Broken("shape")
    return pairs


def read_cookieyes(jar: "Jar") -> Found:
    """A list `key:value,...`; `action:yes` marks an action. Without that cookie: the older plugin, a cookie per category.

    The older plugin writes its categories on the first view; `viewed_cookie_policy` is its mark of an answer.
    """
    text = jar.text("cookieyes-consent")
    if text is None:
        return _read_cookielawinfo(jar)
    entries: dict[str, str] = {}
    for entry in text.split(","):
        key, colon, value = entry.partition(":")
        if not colon:
            raise Broken("shape")
        put(entries, key, value)
    categories = {
        key: value
        for key, value in entries.items()
        if key not in _COOKIEYES_FACTS and (key in _COOKIEYES_CATEGORIES or value in _YES_NO)
    }
    values, invalid = _words(categories, _YES_NO)
    choice = Choice.EXPLICIT if entries.get("action") == "yes" else Choice.NONE
    return Found(choice=choice, raw=values, values=_with_invalid(values, invalid), invalid=invalid)


_COOKIEYES_FACTS: Final = frozenset({"consentid", "consent", "action", "necessary", "lastRenewedDate"})
_COOKIEYES_CATEGORIES: Final = frozenset({"functional", "analytics", "performance", "advertisement", "other"})


def _read_cookielawinfo(jar: "Jar") -> Found:
    boxes = {category: unescaped(value) for category, value in jar.starting("cookielawinfo-checkbox-").items()}
    boxes.pop("necessary", None)
    answer = jar.text("viewed_cookie_policy")
    if not boxes:
        return _NOTHING
    values, invalid = _words(boxes, _YES_NO)
    if answer == "no":
        values = dict.fromkeys(values, False)
    choice = Choice.EXPLICIT if answer in _YES_NO else Choice.NONE
    return Found(choice=choice, raw=values, values=_with_invalid(values, invalid), invalid=invalid)


def read_cookieconsent(jar: "Jar") -> Found:
    """One word for everything: `allow`, `deny`, or `dismiss`, which only closed the notice."""
    status = jar.text("cookieconsent_status")
    if status is None:
        return _NOTHING
    if status not in (*_ALLOWS, "dismiss"):
        raise Broken("shape")
    choice = Choice.EXPLICIT if status in _ALLOWS else Choice.NONE
    return Found(choice=choice, raw={"status": status}, whole=_ALLOWS.get(status))


# ------------------------------------------------------------------ shared


def _words(texts: "Mapping[str, str]", words: "Mapping[str, bool]") -> tuple[dict[str, bool], tuple[str, ...]]:
    """Entries whose value is one of the words, and the keys of the others."""
    values = {key: words[text] for key, text in texts.items() if text in words}
    return values, tuple(key for key in texts if key not in values)


def _with_invalid(values: "Mapping[str, bool]", invalid: tuple[str, ...]) -> dict[str, bool | None]:
    """An invalid category says neither yes nor no, and so keeps its purpose from being granted."""
    return {**values, **dict.fromkeys(invalid)}
