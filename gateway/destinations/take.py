"""What fields are taken from: small named functions from a permitted event to one value (pure).

Units are in the names. A function answers None when the event does not have the value or consent cut it away.
"""

import ipaddress
from typing import TYPE_CHECKING

from gateway.destinations.normalize import Context as CleanContext
from gateway.destinations.normalize import normalize
from gateway.money import major_text
from gateway.times import utc_text

if TYPE_CHECKING:
    from gateway.destinations.definition import Context, Maker
    from gateway.event import Item, Person, Personal
    from gateway.permit import Permitted

__all__ = [
    "clean_context",
    "cleaned",
    "client_ip",
    "constant",
    "currency",
    "each_cleaned",
    "event_id",
    "language",
    "occurred_rfc3339",
    "occurred_unix_s",
    "order_id",
    "page_title",
    "page_url",
    "price_number",
    "search",
    "user_agent",
    "value_number",
]


def event_id(event: "Permitted", context: "Context") -> str:
    """Id of the event: the same on every attempt and in the browser's own tag."""
    return event.event_id


def occurred_unix_s(event: "Permitted", context: "Context") -> int:
    """Seconds since 1970 UTC, truncated, and not after now."""
    return min(event.occurred_at_ms, context.now_ms) // 1000


def occurred_rfc3339(event: "Permitted", context: "Context") -> str:
    """RFC 3339 in UTC with milliseconds."""
    return utc_text(event.occurred_at_ms)


def value_number(event: "Permitted", context: "Context") -> float | None:
    """Amount in major units as a JSON number. Made from the exact decimal text, never from minor units by division."""
    if event.amount_minor is None or event.currency is None:
        return None
    return float(major_text(event.amount_minor, event.currency))


def price_number(item: "Item", code: str | None) -> float | None:
    """Price of one piece in major units as a JSON number."""
    if item.price_minor is None or code is None:
        return None
    return float(major_text(item.price_minor, code))


def currency(event: "Permitted", context: "Context") -> str | None:
    """ISO 4217 code in upper case, when there is an amount."""
    return event.currency if event.amount_minor is not None else None


def order_id(event: "Permitted", context: "Context") -> str | None:
    """Order number."""
    return event.order_id


def search(event: "Permitted", context: "Context") -> str | None:
    """What was searched for."""
    return event.search


def page_url(event: "Permitted", context: "Context") -> str | None:
    """Page address, cleaned of click ids and personal values."""
    return event.page.url


def page_title(event: "Permitted", context: "Context") -> str | None:
    """Page title."""
    return event.page.title


def language(event: "Permitted", context: "Context") -> str | None:
    """The browser's language."""
    return event.device.language if event.device is not None else None


def user_agent(event: "Permitted", context: "Context") -> str | None:
    """The browser's user-agent text, as it came, cut to 512 characters."""
    if event.device is None or event.device.user_agent is None:
        return None
    return event.device.user_agent.reveal()[:512] or None


def client_ip(event: "Permitted", context: "Context") -> str | None:
    """The visitor's address, only if it is a public one."""
    if event.device is None or event.device.ip is None:
        return None
    try:
        address = ipaddress.ip_address(event.device.ip.reveal().strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) if address.is_global and not address.is_multicast else None


def constant(value: object) -> "Maker":
    """The same value for every event."""
    return lambda event, context: value


def clean_context(person: "Person", context: "Context") -> CleanContext:
    """What normalisation may know: the person's country, the site's calling code, the present year."""
    country = None
    if person.country is not None:
        country = normalize("meta", "country", person.country.reveal(), CleanContext(year=context.year)).normalized
    return CleanContext(country=country, default_calling_code=context.calling_code, year=context.year)


def _first(value: "Personal | tuple[Personal, ...] | None") -> "Personal | None":
    if isinstance(value, tuple):
        return value[0] if value else None
    return value


def cleaned(platform: str, field: str, take: str) -> "Maker":
    """One value of the person, normalised and hashed as `platform` wants `field`."""

    def make(event: "Permitted", context: "Context") -> str | None:
        if event.person is None:
            return None
        value = _first(getattr(event.person, take))
        if value is None:
            return None
        return normalize(platform, field, value.reveal(), clean_context(event.person, context)).send

    return make


def each_cleaned(platform: str, field: str, take: str, at_most: int = 3) -> "Maker":
    """All values of the person for one field, normalised, hashed, without repeats, in order."""

    def make(event: "Permitted", context: "Context") -> list[str] | None:
        if event.person is None:
            return None
        known = clean_context(event.person, context)
        sent: list[str] = []
        for value in getattr(event.person, take):
            text = normalize(platform, field, value.reveal(), known).send
            if text is not None and text not in sent:
                sent.append(text)
        return sent[:at_most] or None

    return make
