"""The registry of order webhooks: the name an endpoint is configured with, and its adapter."""

from typing import Final

from gateway.protocols.callrail import CALLRAIL
from gateway.protocols.order_webhook import Adapter
from gateway.protocols.shopify import SHOPIFY
from gateway.protocols.stripe import STRIPE
from gateway.protocols.woocommerce import WOOCOMMERCE

__all__ = ["ADAPTERS"]

ADAPTERS: Final[dict[str, Adapter]] = {
    "shopify": SHOPIFY,
    "woocommerce": WOOCOMMERCE,
    "stripe": STRIPE,
    "callrail": CALLRAIL,
}
"""Adapter by name. `verify` first, then `read`."""
