"""The marked person buys, calls and is uploaded: how shops, tills and trackers tell of them, and their way through the doors
of links, goals, files and webhooks.

What answers say to whoever operates the gateway, or sends to it, is kept in `pages`, to be searched like everything else.
"""

import base64
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.caller import RIGHTS
from gateway.flows import keys
from gateway.flows.reports import EXPORTS, REPORTS
from gateway.sandbox.demo import GATEWAY_HOST
from tests.faults.canary import AGENT, CLICK, GA, IP, PERSON, files_of, places_of
from tests.faults.inside import Inside, until
from tests.faults.processes import locked

__all__ = ["TRADE", "Trade"]

Browse = Callable[..., Awaitable[int]]
"""Sends one request as the person's browser: method, path, body. Answers the status."""

EMAIL: Final = PERSON["email"]
PHONE: Final = PERSON["phone"]
SECRETS: Final = {
    "shopify": "shpss_canary_secret_0123456789abcdef",
    "woocommerce": "wc_canary_secret_0123456789",
    "stripe": "whsec_canary_0123456789abcdef0123456789abcdef",
    "callrail": "callrail-canary-signing-key-0123456789",
}
NUMBERS: Final = ("+4930100000", "+4930200001")
TRADE: Final[dict[str, Any]] = {
    "webhook": [{"name": name, "adapter": name, "secrets": [secret]} for name, secret in SECRETS.items()],
    "number": [{"number": NUMBERS[0]}, {"number": NUMBERS[1], "campaign": "spring", "pool": True}],
    "abandoned": {"minutes": 5, "destination": "carts"},
    "links": {"inferred": True},
}
"""Rows of a site that links, sells, is called and watches carts."""
_SAID: Final = f"{EMAIL} {PHONE}"
_PAGE: Final = f"https://shop.localhost/konto?email={quote(EMAIL)}&gclid={CLICK}"
_ADDRESS: Final = {**{name: PERSON[name] for name in ("first_name", "last_name", "city")}, "phone": PHONE}


class Told(NamedTuple):
    """One webhook: its name, its headers, its body."""

    name: str
    headers: dict[str, str]
    body: bytes


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(secret: str, body: bytes, digest: str = "sha256") -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, digest)).decode()


def _shopify(number: int, now_ms: int) -> dict[str, Any]:
    address = {**_ADDRESS, "address1": PERSON["street"], "zip": PERSON["postal_code"], "country_code": "DE"}
    return {
        "id": number,
        "name": f"#{number}",
        "created_at": _text(now_ms),
        "updated_at": _text(now_ms),
        "currency": "EUR",
        "total_price": "77.70",
        "current_total_price": "77.70",
        "financial_status": "paid",
        "email": EMAIL,
        "phone": PHONE,
        "browser_ip": IP,
        "source_name": _SAID,
        "landing_site": f"/?utm_source={quote(EMAIL)}&utm_term={quote(PHONE)}&gclid={CLICK}&email={quote(EMAIL)}",
        "referring_site": f"https://ref.example/?q={quote(EMAIL)}",
        "client_details": {"browser_ip": IP, "user_agent": AGENT, "accept_language": "de"},
        "customer": {"id": PERSON["external_id"], "email": EMAIL, **_ADDRESS, "default_address": address},
        "billing_address": address,
        "shipping_address": address,
        "note": f"für {_SAID}",
        "note_attributes": [{"name": "note", "value": _SAID}, {"name": "gclid", "value": CLICK}],
        "discount_codes": [{"code": EMAIL}, {"code": "anna10"}],
        "line_items": [
            {
                "product_id": 11,
                "title": f"Gutschein für {PERSON['first_name']}",
                "vendor": EMAIL,
                "quantity": 1,
                "price": "77.70",
            }
        ],
    }


def _woocommerce(number: int, now_ms: int) -> dict[str, Any]:
    names = ("utm_source", "utm_campaign", "utm_content", "utm_term", "referrer", "session_entry")
    said = {"referrer": _PAGE, "session_entry": _PAGE}
    return {
        "id": number,
        "number": str(number),
        "status": "processing",
        "currency": "EUR",
        "total": "77.70",
        "date_created_gmt": _text(now_ms).removesuffix("Z"),
        "customer_id": 77_007_700,
        "customer_note": _SAID,
        "customer_ip_address": IP,
        "customer_user_agent": AGENT,
        "billing": {**_ADDRESS, "email": EMAIL, "address_1": PERSON["street"], "postcode": PERSON["postal_code"]},
        "coupon_lines": [{"code": EMAIL}],
        "meta_data": [
            *({"key": f"_wc_order_attribution_{name}", "value": said.get(name, _SAID)} for name in names),
            {"key": "gclid", "value": CLICK},
        ],
        "line_items": [{"name": f"Gutschein für {EMAIL}", "product_id": 93, "quantity": 1, "total": "77.70"}],
    }


def _stripe(number: int, now_ms: int) -> dict[str, Any]:
    session = {
        "id": f"cs_{number}",
        "payment_status": "paid",
        "payment_intent": f"pi_{number}",
        "amount_total": 7_770,
        "currency": "eur",
        "client_reference_id": EMAIL,
        "customer_details": {
            "email": EMAIL,
            "name": f"{PERSON['first_name']} {PERSON['last_name']}",
            "phone": PHONE,
            "address": {"line1": PERSON["street"], "city": PERSON["city"], "postal_code": PERSON["postal_code"]},
        },
        "metadata": {"order_id": f"S-{number}", "gclid": CLICK, "note": _SAID, "email": EMAIL, "utm_source": EMAIL},
    }
    return {
        "id": f"evt_{number}",
        "type": "checkout.session.completed",
        "livemode": True,
        "created": now_ms // 1000,
        "data": {"object": session},
    }


def _callrail(number: int, now_ms: int) -> dict[str, Any]:
    return {
        "resource_id": f"CAL{number}",
        "answered": True,
        "duration": "95",
        "direction": "inbound",
        "start_time": _text(now_ms + 1_000),  # not before the number was lent
        "timestamp": now_ms // 1000,
        "customer_phone_number": PHONE,
        "customer_name": f"{PERSON['first_name']} {PERSON['last_name']}",
        "customer_city": PERSON["city"],
        "tracking_phone_number": NUMBERS[1],
        "source_name": _SAID,
        "lead_status": EMAIL[:60],
        "keywords": EMAIL,
        "utm_source": EMAIL,
        "utm_campaign": _SAID,
        "utm_content": PHONE,
        "landing_page_url": _PAGE,
        "referring_url": f"https://ref.example/?q={quote(EMAIL)}",
        "gclid": CLICK,
        "note": _SAID,
    }


def webhooks(number: int, now_ms: int) -> Iterator[Told]:
    """An order of the person as shops and a payment service tell of it, a refund of it, and a call of theirs."""
    body = json.dumps(_shopify(number, now_ms), ensure_ascii=False).encode()
    refund = {
        "id": number,
        "order_id": number,
        "created_at": _text(now_ms),
        "note": _SAID,
        "transactions": [{"kind": "refund", "status": "success", "amount": "7.70", "currency": "EUR"}],
    }
    for topic, raw in (("orders/paid", body), ("refunds/create", json.dumps(refund).encode())):
        headers = {
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": _signed(SECRETS["shopify"], raw),
            "X-Shopify-Webhook-Id": f"{topic}-{number}",
            "X-Shopify-Shop-Domain": "example-shop.myshopify.com",
        }
        yield Told("shopify", headers, raw)
    body = json.dumps(_woocommerce(number, now_ms)).encode()
    headers = {"X-WC-Webhook-Topic": "order.created", "X-WC-Webhook-Signature": _signed(SECRETS["woocommerce"], body)}
    yield Told("woocommerce", headers, body)
    body = json.dumps(_stripe(number, now_ms)).encode()
    stamp = now_ms // 1000
    mac = hmac.digest(SECRETS["stripe"].encode(), f"{stamp}.".encode() + body, "sha256").hex()
    yield Told("stripe", {"Stripe-Signature": f"t={stamp},v1={mac}"}, body)
    body = json.dumps(_callrail(number, now_ms)).encode()
    yield Told("callrail", {"Signature": _signed(SECRETS["callrail"], body, "sha1")}, body)


_OURS: Final = "goal,order_id,time,value,currency,click_id,coupon,email,phone,user_id,first_name,last_name,city,zip,consent,meta_note"
_META: Final = "email,phone,fn,ln,zip,ct,dob,extern_id,event_name,event_time,value,currency,order_id,remark"


def uploads(number: int, now_ms: int, granted: str) -> dict[str, str]:
    """Files with rows of the person in every set of columns, good rows and bad ones. `granted` are names of purposes.

    Good rows hold a personal value wherever a column is for one, bad ones where none is.
    """
    at = _text(now_ms - number * 3_600_000)  # a call has no number by which it could be told from the last one
    google = "Granted" if granted else "Denied"
    first, last, city, code = (PERSON[name] for name in ("first_name", "last_name", "city", "postal_code"))
    known = PERSON["external_id"]
    note = f"Gutschein für {first} {last} unter {PHONE}"
    ours = (
        f"purchase,U-{number}-1,{at},77.70,EUR,,,{EMAIL},{PHONE},{known},{first},{last},{city},{code},{granted},{note}",
        f"purchase,U-{number}-0,{at},77.70,EUR,,,{EMAIL},{PHONE},,,,,,{granted},{EMAIL}",
        f"purchase,{EMAIL},{at},77.70,EUR,,,{EMAIL},{PHONE},,,,,,{granted},x",
        f"{EMAIL},U-{number}-2,{at},77.70,EUR,,,{EMAIL},,,,,,,{granted},x",
        f"purchase,U-{number}-3,{PERSON['date_of_birth']} {EMAIL},77.70,EUR,,,{EMAIL},,,,,,,{granted},x",
        f"purchase,U-{number}-4,{at},{PHONE},{first},,,{EMAIL},,,,,,,{granted},x",
        f"purchase,U-{number}-5,{at},77.70,EUR,{EMAIL},{EMAIL},{EMAIL},,,,,,,{granted},x",
        f"purchase,U-{number}-6,{at},77.70,EUR,,,{PHONE},{EMAIL},,,,,,{EMAIL},x",
    )
    clicks = (
        f"{CLICK},purchase,{at},77.70,EUR,G-{number},{google}",
        f"{EMAIL},purchase,{at},77.70,EUR,G-{number}-2,{google}",
        f"{CLICK},{last},{at},77.70,EUR,{EMAIL},{google}",
    )
    calls = (f"{PHONE},{at},purchase,{at},77.70,EUR,{google}", f"{EMAIL},{at},{EMAIL},{at},77.70,EUR,{google}")
    meta = (
        f"{EMAIL},{PHONE},{first},{last},{code},{city},{PERSON['date_of_birth']},{known},Purchase,{at},77.70,EUR,M-{number},{note}",
        f"{PHONE},{EMAIL},{first},{last},{code},{city},{EMAIL},{known},{last},{at},77.70,EUR,{EMAIL},{_SAID}",
    )
    google_columns = "Conversion Name,Conversion Time,Conversion Value,Conversion Currency"
    row = {
        "goal": "purchase", "order_id": f"J-{number}", "time": at, "value": "77.70", "currency": "EUR",
        "email": [EMAIL], "phone": PHONE, "user_id": known, "first_name": first, "meta_note": note,
        "consent": granted,
    }  # fmt: skip
    lines = [row, {**row, "meta_note": _SAID}, {**row, "order_id": EMAIL}, {**row, EMAIL: 1}, {**row, "time": EMAIL}]
    return {
        "ours": "\n".join((_OURS, *ours)),
        "google clicks": "\n".join((f"Google Click ID,{google_columns},Order ID,Ad User Data", *clicks)),
        "google calls": "\n".join((f"Caller's Phone Number,Call Start Time,{google_columns},Ad User Data", *calls)),
        "meta": "\n".join((_META, *meta)),
        "no header": "\n".join(meta),
        "a header that asks": f"goal,time,email,meta_note,{EMAIL}\npurchase,{at},{EMAIL},x,y",
        "lines": "\n".join(json.dumps(one, ensure_ascii=False) for one in lines),
    }


_LINK_FIELDS: Final = (
    "title channel code recipient utm.source utm.content preview.title preview.description preview.image target "
    "expired_target ios_target"
)
_HELD: Final = (
    (
        "campaigns",
        "name channel code utm.source utm.medium utm.campaign utm.term utm.content utm.id domains",
        {"name": "A"},
    ),
    ("links", _LINK_FIELDS, {"target": "https://shop.localhost/"}),
    ("ambassadors", "name code target", {"name": "A"}),
    ("coupons", "code", {"code": "A1"}),
    ("goals", "name code description notify_url domains", {"name": "A"}),
)


def _with(fields: Mapping[str, Any], path: str, value: str) -> dict[str, Any]:
    name, _, below = path.partition(".")
    if path.endswith(("target", "image", "_url")):
        value = f"https://shop.localhost/?for={quote(value)}"
    if below:
        return {**fields, name: {below: value}}
    return {**fields, name: value}


ENTRIES: Final = tuple(
    (plural, path, _with(fields, path, value))
    for plural, paths, fields in _HELD
    for path in paths.split()
    for value in ((EMAIL,) if path.endswith(("target", "image", "_url")) else (EMAIL, PHONE))
)
"""Entries of a catalogue that hold an e-mail address or a phone number where others would read it: kind, field, body."""


# ------------------------------------------------------------------ the way through the doors


class Trade:
    """The person's way. `pages` are answers that senders and operators read; `spooled` is what the disk held
    while a click waited, and everything else that was granted.
    """

    def __init__(self, running: Inside, browse: Browse) -> None:
        self.running = running
        self.pages: list[bytes] = []
        self.spooled: dict[str, bytes] = {}
        self.fates: dict[str, int] = {}
        self._browse = browse
        self._key: dict[str, str] = {}
        self._token = ""
        self._made = 0

    async def ask(self, method: str, path: str, body: object = b"", **headers: str) -> tuple[int, bytes]:
        """One request with the owner's key. The answer is kept."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Host": GATEWAY_HOST, "Content-Type": "application/json", **self._key, **headers}
        address = URL(f"http://127.0.0.1:{self.running.gateway.port}{path}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, address, data=data, headers=named, allow_redirects=False) as response,
        ):
            said = await response.read()
            self.pages.append(said)
            return response.status, said

    async def set_up(self) -> None:
        """What an owner makes before anybody comes. The ambassador is the person."""
        made = await keys.create(self.running.house, title="", sites=(), rights=tuple(RIGHTS), must_sign=False)
        self._key = {"Authorization": f"Bearer {made['key']}"}
        campaign = await self._make("campaign", name="Spring", code="spring", tracking=True)
        ambassador = await self._make(
            "ambassador", name="Anna", code="anna", campaign_id=campaign["id"], email=EMAIL,
            target="https://shop.localhost/",
        )  # fmt: skip
        await self._make("coupon", code="ANNA10", campaign_id=campaign["id"], ambassador_id=ambassador["id"])
        await self._make("link", code="spring", target="https://shop.localhost/", campaign_id=campaign["id"])
        await self._make("goal", name="Order", code="purchase", type="purchase", offline_purposes=["advertising"])
        await self._make("goal", name="Call", code="call", type="call")
        await self._make(
            "goal", name="Quarter", code="quarter", notify_url=self.running.stand_ins.config.gateway.webhook_url
        )

    async def _make(self, kind: str, **fields: object) -> dict[str, Any]:
        status, said = await self.ask("POST", f"/api/v1/{kind}s", fields)
        assert status == 201, said
        answer = json.loads(said)
        self._token = answer.get("postback_token", self._token)
        found: dict[str, Any] = answer[kind]
        return found

    async def all_doors(self, consent: Mapping[str, str]) -> None:
        """Everything that is taken, and what is refused on the same way."""
        self._made += 1
        granted = " ".join(name for name, word in consent.items() if word == "granted")
        await self._click()
        await self._see_a_number()
        await self._track()
        for told in webhooks(70_000 + self._made, self.running.clock.now_ms()):
            status, said = await self.ask("POST", f"/webhooks/{told.name}", told.body, **told.headers)
            assert status == 200, (told.name, said)
        await self._upload(granted)
        await self._adjust()
        await self._leave_a_cart(consent)  # last: whoever buys afterwards left none

    async def _click(self) -> None:
        said = f"utm_source={quote(EMAIL)}&utm_content={quote(PHONE)}&utm_term={quote(_SAID)}&email={quote(EMAIL)}&{EMAIL}=1"
        for path in (
            f"/l/spring?{said}&gclid={CLICK}&qr=1",
            f"/l/spring?{said}&gclid={CLICK}",
            f"/l/anna?{said}#{EMAIL}",
            "/l/anna",
        ):
            assert await self._browse("GET", path) == 302, path
        assert (
            await self._browse("GET", "/l/spring?utm_content=" + quote(EMAIL), **{"User-Agent": "curl/8 " + EMAIL})
            == 302
        )
        for path in (
            f"/l/{quote(EMAIL)}",
            f"/l/{EMAIL}",
            f"/l/-/spring?to=https://shop.localhost/{EMAIL}&exp=1&sig={EMAIL}",
        ):
            assert 400 <= await self._browse("GET", path) < 500, path
        assert await self._browse("GET", f"/l/spring+?email={EMAIL}") == 200
        assert await self._browse("GET", f"/l/spring/qr.svg?email={EMAIL}") == 200
        landing = f"https://shop.localhost/?lid=spring&cid={'A' * 22}&{said}&gclid={CLICK}"
        body = {"name": "page_view", "id": f"landing-{self._made:04}", "url": landing}
        assert await self._browse("POST", "/collect", body) == 204

    async def _see_a_number(self) -> None:
        asked = f"/numbers.json?campaign=spring&source={quote(EMAIL)}"
        assert await self._browse("GET", asked) == 200
        assert await self._browse("GET", f"/numbers.json?campaign={quote(_SAID)}") in {200, 400}

    async def _leave_a_cart(self, consent: Mapping[str, str]) -> None:
        cart = {
            "name": "begin_checkout", "id": f"cart-{self._made:04}", "value": "77.70", "currency": "EUR", "url": _PAGE,
            "person": PERSON, "consent": consent, "title": _SAID,
            "items": [{"id": "1", "name": f"Gutschein für {EMAIL}", "brand": EMAIL}],
            "props": {"checkout": f"https://shop.localhost/cart?for={EMAIL}", "note": _SAID},
            "coupons": ["ANNA10"],
        }  # fmt: skip
        assert await self._browse("POST", "/collect", cart) == 204
        assert 400 <= await self._browse("POST", "/collect", {**cart, "coupons": [EMAIL]}) < 500
        assert 400 <= await self._browse("POST", "/collect", {**cart, "click_id": EMAIL}) < 500
        assert 400 <= await self._browse("POST", "/collect", {**cart, "campaign": EMAIL}) < 500
        assert (await self.ask("POST", "/api/v1/events", {**cart, "id": f"cart-{self._made:04}-api"}))[0] == 200

    async def _track(self) -> None:
        path = f"/api/conversions/track/{self._token}"
        order = f"T-{self._made}"
        good = {"value": "77.70", "currency": "EUR", "click_id": "A" * 22, "coupon": "anna10"}
        assert await self._browse("POST", path, {**good, "order_id": order}) == 200
        query = f"value=77.70&order_id={order}-i&email={quote(EMAIL)}&{quote(EMAIL)}=1&name={PERSON['last_name']}&sub3={quote(PHONE)}"
        assert await self._browse("GET", f"{path}?{query}") == 200
        assert (await self.ask("POST", path, {"order_id": f"{order}-s", "value": "77.70"}))[0] == 200
        assert (await self.ask("GET", f"{path}?{query}-s"))[0] == 200
        by_body = {"postback_token": self._token, "order_id": f"{order}-b", "value": "77.70", "currency": "EUR"}
        assert (await self.ask("POST", "/api/v1/conversions/track", by_body))[0] == 200
        for field in ("order_id", "event_id", "coupon", "currency", "value", "status", EMAIL):
            for body in ({**good, field: EMAIL}, {**by_body, field: EMAIL}):
                where = path if body is not by_body and "postback_token" not in body else "/api/v1/conversions/track"
                assert 400 <= await self._browse("POST", where, body) < 500, field
        for name in ("order_id", "event_id", "coupon", "currency", "value", "status", "txid", "payout"):
            assert 400 <= (await self.ask("GET", f"{path}?{name}={quote(EMAIL)}"))[0] < 500, name
        for number, event in enumerate((EMAIL, "0151 98765437")):
            asked = f"{path}?et={quote(event)}&event={quote(event)}&goal={quote(event)}&order_id={order}-e{number}"
            assert await self._browse("GET", asked) in {200, 400}
        assert 400 <= (await self.ask("GET", f"/api/conversions/track/{quote(EMAIL)}"))[0] < 500

    async def _upload(self, granted: str) -> None:
        for name, text in uploads(self._made, self.running.clock.now_ms(), granted).items():
            kind = "application/jsonl" if name == "lines" else "text/csv"
            for query, accept in (("?dry_run=1", "text/csv"), ("", "*/*")):
                headers = {"Content-Type": kind, "Accept": accept}
                status, said = await self.ask("POST", f"/api/v1/uploads{query}", text.encode(), **headers)
                if not query and status == 200:
                    summary = json.loads(said.splitlines()[-1])["summary"]
                    self.fates = {one: self.fates.get(one, 0) + summary[one] for one in ("accepted", "update", "error")}
        spend = f"date,campaign,channel,source,currency,amount\n2026-11-20,{EMAIL},{EMAIL},{EMAIL},EUR,1\n"
        status, _ = await self.ask("POST", "/api/v1/spend", spend.encode(), **{"Content-Type": "text/csv"})
        assert 400 <= status < 500

    async def _adjust(self) -> None:
        order = f"U-{self._made}-1"
        good = {"kind": "refund", "value": "1.00", "adjustment_id": f"refund-{self._made:04}"}
        path = f"/api/v1/conversions/order:{order}/adjustments"
        assert (await self.ask("POST", path, {**good, "ga": GA, "visitor": EMAIL}))[0] in {200, 400}
        assert (await self.ask("POST", path, {**good, "adjustment_id": f"second-{self._made:04}"}))[0] == 200
        for field in ("reason", "adjustment_id", "currency", "occurred_at", "goal", "note", "kind"):
            assert 400 <= (await self.ask("POST", path, {**good, field: EMAIL}))[0] < 500, field
        for name in (f"order:{EMAIL}", EMAIL, f"order:{quote(EMAIL)}"):
            body = {**good, "adjustment_id": f"third-{self._made:04}"}
            assert 400 <= (await self.ask("POST", f"/api/v1/conversions/{name}/adjustments", body))[0] < 500, name

    async def be_refused(self) -> None:
        """Entries that would hold contact data where others read it."""
        for plural, field, body in ENTRIES:
            if plural in {"ambassadors", "coupons"}:
                body = {**body, "campaign_id": self.running.house.shelves["shop"].campaigns_by_code["spring"].id}
            status, said = await self.ask("POST", f"/api/v1/{plural}", body)
            assert 400 <= status < 500, (plural, field, said)
        for path in (
            f"reports/{EMAIL}",
            f"reports/overview?goal={EMAIL}",
            f"reports/campaigns?source={EMAIL}&x={EMAIL}",
        ):
            assert 400 <= (await self.ask("GET", f"/api/v1/{path}"))[0] < 500, path
        for path in (f"conversions/{EMAIL}", f"links/{EMAIL}", f"analytics/conversions?link_id={EMAIL}"):
            await self.ask("GET", f"/api/v1/{path}")

    async def wait_in_the_spool(self) -> None:
        """Click while somebody else holds the database: the click waits in a file until it is let go."""
        spool = self.running.directory / "clicks.spool"
        async with locked(self.running.database):
            assert (
                await self._browse("GET", f"/l/anna?utm_source={quote(EMAIL)}", **{"User-Agent": f"{AGENT} again"})
                == 302
            )
            await until(lambda: spool.exists() and spool.stat().st_size > 0)
            then = {**files_of(self.running.directory), **places_of(self.running.database)}
            self.spooled = {f"then {place}": data for place, data in then.items()}
        await until(lambda: not self.running.house.spool.waiting)

    async def read_everything(self) -> None:
        """What operators read: reports, exports, journeys, lists, metrics, carts that were left."""
        names = [f"reports/{name}" for name in REPORTS if name != "funnel"] + ["reports/funnel?steps=quarter,purchase"]
        names += [f"exports/{name}" for name in EXPORTS] + ["links", "goals", "ambassadors", "conversions/goals"]
        names += ["analytics/conversions", "abandoned", "spend?from=2020-01-01&to=2020-01-02"]
        for name in names:
            formats = ("json", "csv", "jsonl") if name.startswith("reports") else ("csv", "jsonl")
            for chosen in formats if name.startswith(("reports", "exports")) else ("",):
                path = f"/api/v1/{name}{'&' if '?' in name else '?'}format={chosen}" if chosen else f"/api/v1/{name}"
                status, said = await self.ask("GET", path)
                assert status == 200, (path, said)
        status, said = await self.ask("GET", "/api/v1/conversions?limit=500")
        assert status == 200
        for one in json.loads(said)["conversions"]:
            status, said = await self.ask("GET", f"/api/v1/conversions/{one['conversion_id']}")
            assert status == 200, said
