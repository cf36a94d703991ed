"""The status page of the demo: what each platform's stand-in took, what it refused, and switches that make it fail."""

from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.flows import explain, report
from gateway.outcome import REASONS
from gateway.sandbox.faults import Fault
from gateway.times import utc_text

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.sandbox.stand_ins import StandIns

__all__ = ["arrived_app"]

_TEMPLATES: Final = Environment(
    loader=PackageLoader("gateway.sandbox", "site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TITLES: Final = {"meta": "Meta", "ga4": "Google Analytics 4", "google_ads": "Google Ads", "webhook": "Signed webhook"}
_POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def arrived_app(stand_ins: "StandIns", house: "House", *, shop: str) -> web.Application:
    """Build the page. `shop` is the shop's address."""
    down: set[str] = set()

    def page(template: str, **values: object) -> web.Response:
        text = _TEMPLATES.get_template(template).render(shop=shop, **values)
        return web.Response(
            text=text,
            content_type="text/html",
            headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY},
        )

    async def home(request: web.Request) -> web.StreamResponse:
        platforms = []
        for name, title in _TITLES.items():
            ledger = stand_ins.by_name()[name].ledger
            events = [
                {
                    "at": utc_text(one.at_ms),
                    "effect": one.effect,
                    "body": msgspec.json.format(msgspec.json.encode(one.event), indent=2).decode(),
                }
                for one in reversed(ledger.accepted_events())
            ]
            platforms.append(
                {
                    "name": name,
                    "title": title,
                    "down": name in down,
                    "arrived": len(events),
                    "events": events[:10],
                    "refused": len(ledger.refused()),
                }
            )
        status = await report.status(house, limit=30)
        sentences = {code: reason.sentence for code, reason in REASONS.items()}
        return page("arrived.html", platforms=platforms, status=status, sentences=sentences)

    async def switch(request: web.Request) -> web.StreamResponse:
        name = request.match_info["platform"]
        if name not in _TITLES:
            raise web.HTTPNotFound
        faults = stand_ins.by_name()[name].faults
        if name in down:
            down.discard(name)
            faults.clear()
        else:
            down.add(name)
            faults.always(Fault.status(503))
        raise web.HTTPSeeOther("/")

    async def event(request: web.Request) -> web.StreamResponse:
        found = await explain.explain(house, request.match_info["event"], None)
        return page("explained.html", text=explain.text_of(found))

    async def style(request: web.Request) -> web.StreamResponse:
        from gateway.pages.status import STYLE

        return web.Response(body=STYLE, content_type="text/css")

    app = web.Application()
    app.add_routes(
        [
            web.get("/", home),
            web.post("/switch/{platform}", switch),
            web.get("/events/{event}", event),
            web.get("/status.css", style),
        ]
    )
    return app
