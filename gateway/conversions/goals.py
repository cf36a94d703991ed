"""Goals: the presets a site owner starts from, the rules every goal keeps, and which goal an event counts for (pure).

A goal's code is the name of an event: an event of that name counts for it, and so does any event that names the code as
its goal. A macro goal is an end that brings money or a customer; a micro goal is a step towards one.

Source: reference guides of the field (goals of shops and of service businesses; windows of 7 to 90 days, 30 by default,
90 for ambassadors).
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.catalogue import GOAL_TYPES, Goal
from gateway.errors import Refusal
from gateway.money import EXPONENTS, MAX_MINOR
from gateway.times import DAY_MS

__all__ = [
    "AMBASSADOR_WINDOW_MS",
    "BUSINESSES",
    "CHOICES",
    "PRESETS",
    "Preset",
    "by_code",
    "check_goal",
    "goal_for",
    "preset",
    "presets_for",
]

AMBASSADOR_WINDOW_MS: Final = 90 * DAY_MS
"""Click window of goals that credit ambassadors: people come back to a friend's recommendation late."""

CLICK_DAYS: Final = range(1, 401)
VIEW_DAYS: Final = range(1, 31)
PER_MINUTE: Final = range(1, 1_000_001)
CALL_S: Final = range(86_401)
PPM: Final = range(1_000_001)
NAME_MAX_CHARACTERS: Final = 120
DESCRIPTION_MAX_CHARACTERS: Final = 1_000
URL_MAX_CHARACTERS: Final = 2_048

BUSINESSES: Final = ("shop", "service")
"""Kinds of business with a set of presets of their own."""

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "type": GOAL_TYPES,
    "count": ("every", "one_per_click", "one_per_person"),
    "view_policy": ("if_no_click", "always", "never"),
    "direct_policy": ("ignore_unless_only", "include"),
    "coupon_policy": ("override", "touch", "ignore"),
    "pin": ("none", "click_id"),
}
"""Fields of a goal that hold one word of a closed list."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A goal to start from. Its name is the code of the goal it makes, and so the name of the event that counts."""

    name: str
    title: str
    type: str
    macro: bool
    businesses: tuple[str, ...]
    description: str

    def goal(self, goal_id: str, *, ambassadors: bool = False) -> Goal:
        """Make the goal. `ambassadors`: it belongs to a campaign with share links, so its window is 90 days."""
        made = Goal(
            id=goal_id,
            code=self.name,
            name=self.title,
            type=self.type,
            macro=self.macro,
            description=self.description,
        )
        return msgspec.structs.replace(made, click_window_ms=AMBASSADOR_WINDOW_MS) if ambassadors else made


_BOTH: Final = BUSINESSES
_SHOP: Final = ("shop",)
_SERVICE: Final = ("service",)


def _macro(name: str, title: str, type_: str, businesses: tuple[str, ...], description: str) -> Preset:
    return Preset(name=name, title=title, type=type_, macro=True, businesses=businesses, description=description)


def _micro(name: str, title: str, type_: str, businesses: tuple[str, ...], description: str) -> Preset:
    return Preset(name=name, title=title, type=type_, macro=False, businesses=businesses, description=description)


_LIST: Final = (
    _macro("purchase", "Purchase", "purchase", _BOTH, "An order was placed and paid."),
    _macro("subscribe", "Paid subscription", "subscribe", _BOTH, "A subscription that costs money has begun."),
    _macro("contract_signed", "Signed contract", "custom", _SERVICE, "A customer signed a contract."),
    _macro("invoice_paid", "Paid invoice", "purchase", _SERVICE, "A customer paid an invoice."),
    _macro("sign_up", "Account created", "signup", _BOTH, "Somebody created an account."),
    _macro("app_download", "App download", "download", _BOTH, "Somebody downloaded or installed the app."),
    _macro("generate_lead", "Lead form", "lead", _SERVICE, "Somebody sent a form to hear from the business."),
    _macro("quote_request", "Quote request", "lead", _SERVICE, "Somebody asked for an offer with a price."),
    _macro("start_trial", "Free trial", "trial", _SERVICE, "Somebody began a free trial."),
    _macro("book_appointment", "Appointment booking", "lead", _SERVICE, "Somebody booked a date."),
    _macro("request_demo", "Demo request", "custom", _SERVICE, "Somebody asked to be shown the product."),
    _macro("upgrade_subscription", "Subscription upgrade", "custom", _SERVICE, "A customer moved to a higher plan."),
    _macro("call", "Phone call", "call", _SERVICE, "A call to a tracked number was answered and lasted long enough."),
    _micro("newsletter_signup", "Newsletter signup", "signup", _BOTH, "Somebody subscribed to the newsletter."),
    _micro("add_to_cart", "Added to cart", "add_to_cart", _SHOP, "A product was put into the cart."),
    _micro("begin_checkout", "Checkout started", "begin_checkout", _SHOP, "Somebody began to check out."),
    _micro("abandoned_checkout", "Abandoned checkout", "custom", _SHOP, "A cart was left without a purchase."),
    _micro("discount_signup", "Signup for a discount code", "signup", _SHOP, "Somebody signed up for a discount code."),
    _micro("contact", "Contact form", "lead", _BOTH, "Somebody sent the contact form."),
    _micro("download", "Content download", "download", _BOTH, "A guide, a case study or another file was downloaded."),
    _micro("landing_page_view", "Landing page view", "visit", _BOTH, "Somebody saw the landing page: top of a funnel."),
    _micro("signup_started", "Signup started", "custom", _BOTH, "Somebody opened the signup form: middle of a funnel."),
    _micro("onboarding_complete", "Onboarding completed", "custom", _SERVICE, "A customer finished the first steps."),
    _macro(
        "custom", "Custom goal", "custom", _BOTH, "Anything else that counts; give it a name and a code of its own."
    ),
)

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in _LIST}
"""Name to preset, in the order in which they are shown: ends before steps."""


def preset(name: str) -> Preset:
    """Find a preset. Raises Refusal `field_invalid` at `preset` when there is none."""
    found = PRESETS.get(name)
    if found is None:
        raise Refusal("field_invalid", "preset", PRESETS)
    return found


def presets_for(business: str) -> tuple[Preset, ...]:
    """Presets proposed to a kind of business of BUSINESSES, ends before steps."""
    return tuple([one for one in _LIST if business in one.businesses])


# ------------------------------------------------------------------ rules


def check_goal(goal: Goal, models: Collection[str]) -> Goal:
    """Return the goal if it keeps every rule. `models` are the ids of attribution models a goal may take.

    Windows are whole days. Raises Refusal with the field as it is called on the wire: `click_window_days` and so on.
    """
    if _CODE.match(goal.code) is None:
        raise Refusal("event_name_invalid", "code")
    _check_text(goal.name, "name", NAME_MAX_CHARACTERS, empty=False)
    _check_text(goal.description, "description", DESCRIPTION_MAX_CHARACTERS, empty=True)
    for field, words in CHOICES.items():
        _hold(getattr(goal, field) in words, field, words)
    _hold(goal.model in models, "model", models)
    _hold(goal.click_window_ms % DAY_MS == 0 and goal.click_window_ms // DAY_MS in CLICK_DAYS, "click_window_days")
    _hold(goal.view_window_ms % DAY_MS == 0 and goal.view_window_ms // DAY_MS in VIEW_DAYS, "view_window_days")
    _hold(goal.target_rate_ppm is None or goal.target_rate_ppm in PPM, "target_rate_pct")
    _hold(goal.call_min_s in CALL_S, "call_min_s")
    _hold(goal.per_minute in PER_MINUTE, "per_minute")
    _check_money(goal)
    if goal.notify_url:
        _hold(_is_notify_url(goal.notify_url), "notify_url")
    return goal


def _hold(kept: bool, field: str, allowed: Iterable[str] = ()) -> None:
    if not kept:
        raise Refusal("field_invalid", field, allowed)


def _check_text(text: str, field: str, limit: int, *, empty: bool) -> None:
    if len(text) > limit:
        raise Refusal("field_too_long", field)
    _hold(bool(text.strip()) or empty, field)
    _hold(text.replace("\n", " ").isprintable() if empty else text.isprintable(), field)


def _check_money(goal: Goal) -> None:
    """A default value has a currency; a currency alone is allowed: it is that of conversions which say none."""
    if goal.currency and goal.currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")
    if goal.value_minor is None:
        return
    if not goal.currency:
        raise Refusal("currency_missing", "currency")
    if goal.value_minor < 0:
        raise Refusal("amount_negative", "value")
    if goal.value_minor > MAX_MINOR:
        raise Refusal("amount_too_large", "value")


def _is_notify_url(url: str) -> bool:
    """Whether notifications may be told to go there: https, a fixed host, no user part, no address of a private network.

    Names are looked up, and refused where they lead inside, only when something is sent.
    """
    if len(url) > URL_MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme != "https" or "@" in parts.netloc or port == 0:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return _HOST.match(host) is not None


# ------------------------------------------------------------------ which goal


def by_code(goals: Iterable[Goal]) -> dict[str, Goal]:
    """Goals that are in use, by their code. Of two with one code the first is taken."""
    found: dict[str, Goal] = {}
    for goal in goals:
        if not goal.archived:
            found.setdefault(goal.code, goal)
    return found


def goal_for(event_name: str, goal_code: str | None, goals: Mapping[str, Goal]) -> Goal | None:
    """Find the goal an event counts for, among goals by their code: the one it names, else the one of its own name.

    An event that names a goal which does not exist, or is archived, counts for none: its own name is not tried then.
    """
    goal = goals.get(goal_code if goal_code is not None else event_name)
    return goal if goal is not None and not goal.archived else None
