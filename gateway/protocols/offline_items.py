"""Lines of an order inside one cell: the column `contents` of Meta's files (pure).

Meta's own sample writes a list of objects whose names stand without quotes; that is read too.

Source: fbsamples/capi-for-offline-events, FacebookOfflineExport.csv, read 2026-11.
"""

import json
import re
from decimal import Decimal
from typing import Final

from gateway.errors import Refusal
from gateway.event import Item
from gateway.money import AmountError, minor_from_major

__all__ = ["read_items"]

ITEMS_MAX: Final = 200

_TEXTS: Final = {
    "id": "id",
    "title": "name",
    "name": "name",
    "brand": "brand",
    "category": "category",
    "variant": "variant",
}
_PRICES: Final = frozenset({"price", "item_price"})
_TEXT_MAX: Final = 256
_BARE_NAME: Final = re.compile(r"([{,]\s*)([a-z_]+)(\s*:)")
_PRICE: Final = re.compile(r"\d{1,18}(?:\.\d{1,9})?\Z", re.ASCII)
_QUANTITY: Final = re.compile(r"[1-9]\d{0,5}\Z", re.ASCII)


def read_items(text: str, currency: str | None, label: str) -> tuple[Item, ...]:
    """Read a JSON list of objects with `id`, `quantity`, `price` or `item_price`, `title`, `brand`, `category`, `variant`.

    Raises Refusal with `label` as its field: `json_invalid`, `field_unknown`, `field_type`, `field_invalid`,
    `field_too_long`, `fields_too_many`, `currency_missing` or a code of amounts.
    """
    try:
        lines = _parse(text)
    except (ValueError, RecursionError):
        raise Refusal("json_invalid", label) from None
    if not isinstance(lines, list):
        raise Refusal("field_type", label)
    if len(lines) > ITEMS_MAX:
        raise Refusal("fields_too_many", label)
    return tuple(_item(line, currency, label) for line in lines)


def _parse(text: str) -> object:
    try:
        return json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        return json.loads(_BARE_NAME.sub(r'\1"\2"\3', text), parse_float=str, parse_int=str)


def _item(line: object, currency: str | None, label: str) -> Item:
    if not isinstance(line, dict):
        raise Refusal("field_type", label)
    texts: dict[str, str] = {}
    price_minor, quantity = None, 1
    for key, value in line.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise Refusal("field_type", label)
        if key in _TEXTS:
            if len(value) > _TEXT_MAX:
                raise Refusal("field_too_long", label)
            if not value.isprintable():
                raise Refusal("field_invalid", label)
            texts[_TEXTS[key]] = value
        elif key in _PRICES:
            price_minor = _price(value, currency, label)
        elif key == "quantity":
            if _QUANTITY.match(value) is None:
                raise Refusal("field_invalid", label)
            quantity = int(value)
        else:
            raise Refusal("field_unknown", label)
    return Item(price_minor=price_minor, quantity=quantity, **texts)


def _price(text: str, currency: str | None, label: str) -> int:
    if _PRICE.match(text) is None:
        raise Refusal("amount_invalid", label)
    if currency is None:
        raise Refusal("currency_missing", label)
    try:
        return minor_from_major(Decimal(text), currency)
    except AmountError as error:
        raise Refusal(error.code, label) from None
