"""Links: what they are called, where they lead, who clicked, and what an address says on arrival (pure).

* `codes`: slugs and click ids;
* `targets`: which addresses a link may lead to, how the landing address is built, signed targets;
* `clicks`: whether a request on a link is a person's click, repeats, variants, previews;
* `qr`: links as QR codes;
* `arrival`: click ids and campaigns in a page address, and addresses as they may be kept.

What every page view needs is named here; the rest is imported from its module.
"""

from gateway.links.arrival import (
    CLICK_IDS,
    REMOVED,
    URL_MAX_CHARACTERS,
    Arrival,
    NamedClicks,
    clean_text,
    clean_url,
    host_of,
    looks_personal,
    read_arrival,
    read_click_ids,
)

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
