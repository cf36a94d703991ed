"""A small demo shop with a consent banner: what a site owner's pages look like when the tag is on them.

It is served under a strict content security policy: no inline script, no inline style, no eval. Orders live in memory; it
is a stage for the gateway, not a shop.
"""

import json
from decimal import Decimal
from importlib import resources
from typing import Final, NamedTuple

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.entropy import Entropy

__all__ = ["PRODUCTS", "Product", "shop_app"]


class Product(NamedTuple):
    """Something to buy. The price is in euros, as a shop writes it."""

    id: str
    name: str
    price: str
    category: str


PRODUCTS: Final = (
    Product("shoe-red", "Red running shoes", "89.90", "shoes"),
    Product("bag-blue", "Blue travel bag", "49.00", "bags"),
    Product("cap-green", "Green cap", "19.50", "caps"),
)

_BY_ID: Final = {product.id: product for product in PRODUCTS}
_FIELDS: Final = ("email", "phone", "first_name", "last_name", "street", "city", "postal_code", "country")
_TEMPLATES: Final = Environment(
    loader=PackageLoader("gateway.sandbox", "site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def _asset(name: str) -> bytes:
    return (resources.files("gateway.sandbox") / "site" / name).read_bytes()


def shop_app(*, gateway: str, entropy: Entropy, name: str = "Corner shop") -> web.Application:
    """Build the shop. `gateway` is the origin of the gateway's collection listener, such as `http://t.shop.localhost:8080`."""
    orders: dict[str, dict[str, object]] = {}
    policy = (
        f"default-src 'none'; script-src 'self' {gateway}; connect-src {gateway}; img-src 'self' {gateway}; "
        "style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    def page(template: str, status: int = 200, **values: object) -> web.Response:
        text = _TEMPLATES.get_template(template).render(shop=name, gateway=gateway, products=PRODUCTS, **values)
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)

    async def home(request: web.Request) -> web.StreamResponse:
        return page("home.html", title="Welcome")

    async def product(request: web.Request) -> web.StreamResponse:
        found = _BY_ID.get(request.match_info["product"])
        if found is None:
            return page("missing.html", status=404, title="Not here")
        return page("product.html", title=found.name, product=found)

    async def checkout(request: web.Request) -> web.StreamResponse:
        found = _BY_ID.get(request.query.get("product", ""))
        if found is None:
            return page("missing.html", status=404, title="Not here")
        return page("checkout.html", title="Checkout", product=found)

    async def order(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        found = _BY_ID.get(str(form.get("product", "")))
        if found is None:
            return page("missing.html", status=404, title="Not here")
        quantity = max(1, min(int(str(form.get("quantity", "1")) or 1), 20))
        number = "ORD-" + entropy.token_bytes(4).hex().upper()
        orders[number] = {
            "order_id": number,
            "value": str(Decimal(found.price) * quantity),
            "currency": "EUR",
            "items": [
                {
                    "id": found.id,
                    "name": found.name,
                    "price": found.price,
                    "quantity": quantity,
                    "category": found.category,
                }
            ],
            "person": {field: str(form[field]) for field in _FIELDS if str(form.get(field, "")).strip()},
        }
        raise web.HTTPSeeOther(f"/thanks/{number}")

    async def thanks(request: web.Request) -> web.StreamResponse:
        found = orders.get(request.match_info["order"])
        if found is None:
            return page("missing.html", status=404, title="Not here")
        # The order goes into the page as data, never as script; `<` is written so that no value can end the element.
        data = json.dumps(found).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        return page("thanks.html", title="Thank you", order=found, data=data)

    async def plain(request: web.Request) -> web.StreamResponse:
        return page("plain.html", title="A page with HTML events")

    async def script(request: web.Request) -> web.StreamResponse:
        return web.Response(body=_asset("shop.js"), content_type="text/javascript")

    async def style(request: web.Request) -> web.StreamResponse:
        return web.Response(body=_asset("shop.css"), content_type="text/css")

    async def guide(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"%PDF-1.4\n", content_type="application/pdf")

    app = web.Application()
    app.add_routes(
        [
            web.get("/", home),
            web.get("/products/{product}", product),
            web.get("/checkout", checkout),
            web.post("/order", order),
            web.get("/thanks/{order}", thanks),
            web.get("/plain", plain),
            web.get("/size-guide.pdf", guide),
            web.get("/shop.js", script),
            web.get("/shop.css", style),
        ]
    )
    return app
