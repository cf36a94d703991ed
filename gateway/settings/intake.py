"""Settings of what else is taken in: order webhooks, telephone numbers, and carts that are left."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.settings.kinds import EventName, Secret, Slug, row

__all__ = ["Abandoned", "NumberSettings", "WebhookRows", "WebhookSettings"]

PhoneNumber = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}\Z")]


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One address that a shop, a payment service or a call tracker sends to. See WebhookRows."""

    name: str
    adapter: str
    secrets: tuple[Secret, ...] = ()
    live: bool = True
    currency: str = ""
    origin: str = ""
    minimum_call_s: int = 60


class WebhookRows(msgspec.Struct, frozen=True):
    """The rows of an order webhook: its address is /webhooks/NAME."""

    name: Annotated[Slug, row("Name of the webhook on its site, as it stands in the address.")]
    adapter: Annotated[
        Literal["shopify", "woocommerce", "stripe", "callrail"], row("Who sends: whose signature and whose messages.")
    ]
    secrets: Annotated[
        tuple[str, ...],
        row(
            "Secrets that may have signed: the new and the old one while they are changed. Better secrets_file: a file with "
            "one to a line."
        ),
    ] = ()
    live: Annotated[bool, row("Whether it is for real payments. What comes to a test webhook is marked as a test.")] = (
        True
    )
    currency: Annotated[str, row("Currency of sums that come without one. Default: the site's.")] = ""
    origin: Annotated[
        Annotated[str, Meta(pattern=r"^(https://[a-z0-9.-]{1,253})?\Z")],
        row("Front of the shop's addresses, such as https://www.shop.example, where messages hold paths only."),
    ] = ""
    minimum_call_s: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)],
        row("Shortest answered call that counts, on a site whose catalogue has no goal for calls.", "seconds"),
    ] = 60


class NumberSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One telephone number that calls are told apart by."""

    number: Annotated[PhoneNumber, row("The number as E.164, such as +4930123456.")]
    campaign: Annotated[
        Annotated[str, Meta(max_length=120)],
        row(
            "Code of the campaign whose visitors see it, or its utm_campaign. Empty with an empty source: everybody else."
        ),
    ] = ""
    source: Annotated[
        Annotated[str, Meta(max_length=120)], row("Source (utm_source) whose visitors see it; empty: any.")
    ] = ""
    pool: Annotated[
        bool,
        row(
            "Lend it to one visit at a time, so that a call is joined to the visit. Needs consent; else one without pool."
        ),
    ] = False


class Abandoned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Carts that are left: after some time without a purchase an event `abandoned_checkout` is recorded."""

    minutes: Annotated[
        Annotated[int, Meta(ge=0, le=43_200)],
        row("Time after the last event of the cart until it counts as left; 0: carts are not watched.", "minutes"),
    ] = 0
    starts: Annotated[tuple[EventName, ...], row("Events that show a cart; each begins the time anew.")] = (
        "add_to_cart",
        "begin_checkout",
    )
    ends: Annotated[tuple[EventName, ...], row("Events after which nothing was left.")] = ("purchase",)
    destination: Annotated[
        str,
        row(
            "Webhook that is to be told: its events must list abandoned_checkout. A cart is watched only where the visitor "
            "granted what that webhook needs. Empty: nobody is told, the list is kept."
        ),
    ] = ""
