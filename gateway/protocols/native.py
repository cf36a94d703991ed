"""The gateway's own dialect: `POST /collect`, `GET /p.gif`, `POST /api/v1/events` and `/api/v1/conversions` (pure).

A browser's times are clamped to a week back and ten minutes ahead and marked; a server's are refused outside 400 days
back and ten minutes ahead. A browser that says when it sent the request has its clock corrected by the difference.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import UNSET

from gateway.errors import Refusal
from gateway.event import NO_DEVICE, Claim, Device, Item, Person, Personal, Received, Signals
from gateway.money import EXPONENTS, AmountError, minor_from_major
from gateway.protocols import reading
from gateway.protocols.catalogue_fields import looks_like_contact
from gateway.protocols.wire import PROPS_MAX, WireBatch, WireChoice, WireEvent, WirePerson, WireSignals
from gateway.purposes import ALIASES
from gateway.times import DAY_MS

__all__ = ["Arrived", "Choice", "Parsed", "read", "read_choice", "read_claim", "read_pixel", "rfc3339_ms"]

AHEAD_MS: Final = 600_000
BROWSER_BACK_MS: Final = 7 * DAY_MS
SERVER_BACK_MS: Final = 400 * DAY_MS
SKEW_MS: Final = 10_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_EMAIL: Final = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")

PERSONAL_PROPS: Final = frozenset(
    "email e_mail mail email_address phone phone_number tel telephone mobile first_name firstname last_name lastname "
    "full_name fullname street address address1 address2 street_address postal_code postcode zip zip_code date_of_birth "
    "birthday dob ssn iban password ip ip_address user_agent".split()
)
"""Property names that ask for a personal value. Refused, so that such values go where they are hashed."""


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """What the edge knows about a request, besides its body. `new_id` makes an event id when the caller gives none."""

    site: str
    trust: str
    received_at_ms: int
    currency: str
    batch_max: int
    new_id: Callable[[], str]
    device: Device = NO_DEVICE
    conversion: bool = False


class Parsed(msgspec.Struct, frozen=True):
    """The events of one request, in order. `gpc`: the page's script saw Global Privacy Control. `listed`: they came in a list.

    `prefix` is the field the list stood in, empty without one.
    """

    events: tuple[Received, ...]
    gpc: bool = False
    listed: bool = False
    prefix: str = ""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A visitor's choice, read. Sets as in `purposes`; what is in neither stays as it was.

    `signals`, not decoded: with them both sets may be empty. Empty signals say: look at what the request carries now.
    """

    granted: int
    denied: int
    method: str
    notice: str | None
    language: str | None
    decided_at_ms: int | None
    visitor_token: str | None
    person: Person | None
    link_token: str | None = None
    signals: Signals | None = None


_SHARED: Final = frozenset(
    ("url", "title", "referrer", "session", "campaign", "consent", "consent_at_ms", "signals", "minor")
)
_NOT_SHARED: Final = tuple(field for field in WireEvent.__struct_fields__ if field not in _SHARED)
_not_shared: Final = attrgetter(*_NOT_SHARED)
_EMPTY: Final = _not_shared(WireBatch())
"""What stands beside `events` is shared by them, or refused: nothing a caller sends is passed over in silence."""

_read_batch: Final = reading.decoder(WireBatch)
_read_choice: Final = reading.decoder(WireChoice)


def read(body: bytes, arrived: Arrived) -> Parsed:
    """Read one event or several. Raises Refusal with the path of the first field that is wrong; then nothing is taken."""
    batch = reading.decode(_read_batch, body)
    wires, prefix = _events_of(batch, arrived)
    consents = [wire.consent for wire in wires if wire.consent is not None]
    if prefix and batch.consent is not None:
        consents.append(batch.consent)
    reading.refuse_repeated_consent(body, len(consents), sum(map(len, consents)))
    skew_ms = 0
    if batch.sent_at_ms is not None and arrived.trust == "browser":
        skew_ms = arrived.received_at_ms - batch.sent_at_ms
        skew_ms = skew_ms if abs(skew_ms) > SKEW_MS else 0
    events = []
    for index, wire in enumerate(wires):
        try:
            events.append(_received(wire, batch, arrived, skew_ms))
        except Refusal as refusal:
            path = f"{prefix}[{index}]" if prefix else ""
            field = ".".join(part for part in (path, refusal.field) if part)
            raise Refusal(refusal.code, field or None) from None
    return Parsed(tuple(events), batch.gpc, bool(prefix), prefix)


def _events_of(batch: WireBatch, arrived: Arrived) -> tuple[list[WireEvent], str]:
    if batch.conversions is not UNSET:
        if batch.events is not UNSET or not arrived.conversion:
            raise Refusal("field_unknown", "conversions")
        prefix, wires = "conversions", batch.conversions
    elif batch.events is not UNSET:
        prefix, wires = "events", batch.events
    else:
        return [batch], ""
    beside = _not_shared(batch)
    if beside != _EMPTY:
        pairs = zip(_NOT_SHARED, beside, _EMPTY, strict=True)
        raise Refusal("field_unknown", next(field for field, said, empty in pairs if said != empty))
    if not wires:
        raise Refusal("batch_empty", prefix)
    if len(wires) > arrived.batch_max:
        raise Refusal("batch_too_long", prefix)
    return wires, prefix


def _received(wire: WireEvent, shared: WireBatch, arrived: Arrived, skew_ms: int) -> Received:
    name = wire.name
    if name is UNSET:
        raise Refusal("field_missing", "name")
    server = arrived.trust != "browser"
    marks: tuple[str, ...] = ()
    occurred_at_ms, mark = _occurred(wire, arrived, skew_ms)
    if mark is not None:
        marks = (mark,)
    if wire.currency and wire.currency not in EXPONENTS:
        raise Refusal("currency_unknown", "currency")
    currency = wire.currency or arrived.currency or None
    amount_minor = None
    if wire.value is not None:
        if currency is None:
            raise Refusal("currency_missing", "currency")
        amount_minor = _minor(wire.value, currency, "value")
    if len(wire.props) > PROPS_MAX:
        raise Refusal("fields_too_many", "props")
    for prop in wire.props:
        if prop.lower() in PERSONAL_PROPS:
            raise Refusal("field_personal", f"props.{prop}")
    device = arrived.device
    platform_ids: Mapping[str, str] = {}
    if not server:
        if wire.client is not None:
            raise Refusal("field_unknown", "client")
        if wire.visitor is not None:
            raise Refusal("field_unknown", "visitor")
    elif wire.client is not None:
        client = wire.client
        device = Device(
            ip=Personal(client.ip) if client.ip else None,
            user_agent=Personal(client.user_agent) if client.user_agent else None,
            language=client.language,
        )
        named = (("_fbp", client.fbp), ("_fbc", client.fbc), ("_ga", client.ga))
        platform_ids = {name: value for name, value in named if value}
    consent = wire.consent if wire.consent is not None else shared.consent
    consent_at_ms = wire.consent_at_ms if wire.consent_at_ms is not None else shared.consent_at_ms
    signals = wire.signals if wire.signals is not None else shared.signals
    # A server's time is believed: one from the future would outrank every refusal that is still to come.
    if server and consent_at_ms is not None and consent_at_ms > arrived.received_at_ms + AHEAD_MS:
        raise Refusal("time_out_of_range", "consent_at_ms")
    return Received(
        site=arrived.site,
        event_id=wire.id if wire.id is not UNSET else arrived.new_id(),
        name=name,
        trust=arrived.trust,
        occurred_at_ms=occurred_at_ms,
        received_at_ms=arrived.received_at_ms,
        conversion=arrived.conversion,
        url=wire.url if wire.url is not None else shared.url,
        title=wire.title if wire.title is not None else shared.title,
        referrer=wire.referrer if wire.referrer is not None else shared.referrer,
        amount_minor=amount_minor,
        currency=currency,
        order_id=_order(wire.order_id),
        goal=wire.goal,
        items=_items(wire, currency) if wire.items else (),
        props=wire.props,
        search=wire.search,
        session=wire.session if wire.session is not None else shared.session,
        person=_person(wire.person) if wire.person is not None else None,
        device=device,
        click_ids=wire.click_ids or {},
        platform_ids=platform_ids,
        click_seen_at_ms=wire.click_seen_at_ms,
        claim=_claim(consent, consent_at_ms) if consent is not None else None,
        signals=_signals(signals) if signals is not None else None,
        minor=wire.minor or shared.minor,
        sensitive=tuple(dict.fromkeys(wire.sensitive)) if wire.sensitive else (),
        visitor_token=wire.visitor,
        marks=marks,
        test=wire.test,
        click_id=wire.click_id,
        coupons=_coupons(wire.coupons) if wire.coupons else (),
        campaign_code=wire.campaign if wire.campaign is not None else shared.campaign,
    )


def _occurred(wire: WireEvent, arrived: Arrived, skew_ms: int) -> tuple[int, str | None]:
    """When it happened, in milliseconds, and a mark when that was changed."""
    now_ms = arrived.received_at_ms
    if wire.occurred_at_ms is not UNSET:
        if wire.occurred_at is not UNSET:
            raise Refusal("field_unknown", "occurred_at_ms")
        at_ms, field = wire.occurred_at_ms, "occurred_at_ms"
    elif wire.occurred_at is not UNSET:
        at_ms, field = rfc3339_ms(wire.occurred_at), "occurred_at"
    else:
        return now_ms, None
    if arrived.trust != "browser":
        if not now_ms - SERVER_BACK_MS <= at_ms <= now_ms + AHEAD_MS:
            raise Refusal("time_out_of_range", field)
        return at_ms, None
    corrected = at_ms + skew_ms
    clamped = min(max(corrected, now_ms - BROWSER_BACK_MS), now_ms + AHEAD_MS)
    if clamped != corrected:
        return clamped, "time_clamped"
    return corrected, "clock_corrected" if skew_ms else None


def rfc3339_ms(text: str) -> int:
    """Read RFC 3339. A local time without offset is refused: it can mean two instants, or none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("time_invalid", "occurred_at") from None
    if moment.tzinfo is None or len(text) < 16:
        raise Refusal("time_invalid", "occurred_at")
    try:
        return (moment - _EPOCH) // _MILLISECOND  # exact; a product of floats can be one millisecond short
    except (OverflowError, ValueError):
        raise Refusal("time_invalid", "occurred_at") from None


def _minor(amount: Decimal, currency: str, field: str) -> int:
    try:
        return minor_from_major(amount, currency)
    except AmountError as error:
        raise Refusal(error.code, "currency" if error.code.startswith("currency") else field) from None


def _items(wire: WireEvent, currency: str | None) -> tuple[Item, ...]:
    items = []
    for index, line in enumerate(wire.items):
        price = None
        if line.price is not None:
            if currency is None:
                raise Refusal("currency_missing", "currency")
            price = _minor(line.price, currency, f"items[{index}].price")
        items.append(
            Item(
                id=line.id,
                name=line.name,
                price_minor=price,
                quantity=line.quantity,
                brand=line.brand,
                category=line.category,
                variant=line.variant,
            )
        )
    return tuple(items)


def _plain(text: str | None, field: str) -> str | None:
    """An id that others print: no control characters."""
    if text is not None and not text.isprintable():
        raise Refusal("field_invalid", field)
    return text


def _order(text: str | None) -> str | None:
    """An order number: printable, and no e-mail address. It is kept and sent as it is, so nothing can be taken out of it."""
    if text is not None and _EMAIL.search(text) is not None:
        raise Refusal("field_personal", "order_id")
    return _plain(text, "order_id")


def _coupons(codes: list[str]) -> tuple[str, ...]:
    """Coupon codes as written, each once. They are kept and shown, so no e-mail address may stand among them."""
    for index, code in enumerate(codes):
        if _EMAIL.search(code) is not None or looks_like_contact(code):
            raise Refusal("field_personal", f"coupons[{index}]")
        if not code.isprintable() or not code.strip():
            raise Refusal("field_invalid", f"coupons[{index}]")
    return tuple(dict.fromkeys(codes))


def _person(wire: WirePerson) -> Person:
    values: dict[str, Personal | tuple[Personal, ...]] = {}
    for field in wire.__struct_fields__:
        value = getattr(wire, field)
        if value is None:
            continue
        if field in {"email", "phone"}:
            values[field] = tuple(Personal(text) for text in ([value] if isinstance(value, str) else value))
        else:
            values[field] = Personal(value)
    return Person(**values)  # type: ignore[arg-type] # keyed by the field names that both structs share


def _sets(words: Mapping[str, str], field: str) -> tuple[int, int]:
    granted = denied = 0
    for name, word in words.items():
        purposes = ALIASES.get(name)
        if purposes is None:
            raise Refusal("purpose_unknown", field)
        if word == "granted":
            granted |= purposes
        else:
            denied |= purposes
    return granted & ~denied, denied


def _claim(words: Mapping[str, str], at_ms: int | None) -> Claim:
    sensitive = False
    if _SENSITIVE_WORD in words:
        sensitive = words[_SENSITIVE_WORD] == "granted"
        words = {name: word for name, word in words.items() if name != _SENSITIVE_WORD}
    granted, denied = _sets(words, "consent")
    return Claim(granted, denied, at_ms, sensitive)


_SENSITIVE_WORD: Final = "sensitive_data"


def read_claim(words: Mapping[str, str]) -> Claim:
    """Read what a sender says about consent: purpose to `granted` or `denied`. Raises Refusal."""
    for word in words.values():
        if word not in ("granted", "denied"):
            raise Refusal("consent_value_invalid", "consent")
    return _claim(words, None)


def _signals(wire: WireSignals) -> Signals:
    """Consent signals as they came. Pairs instead of maps: the same signals are the same value."""
    return Signals(
        tcf=wire.tcf,
        gdpr=None if wire.gdpr is None else bool(wire.gdpr),
        ac=wire.ac,
        gpp=wire.gpp,
        gpp_sid=tuple(wire.gpp_sid) if wire.gpp_sid is not None else None,
        us_privacy=wire.us_privacy,
        gcs=wire.gcs,
        gcd=wire.gcd,
        google=tuple(sorted(wire.google.items())) if wire.google else (),
        platform=wire.platform,
        choice=wire.choice,
        categories=tuple(sorted(wire.categories.items())) if wire.categories else (),
        at_ms=wire.at_ms,
    )


def read_pixel(query: Mapping[str, str], referer: str | None, arrived: Arrived) -> Parsed:
    """Read the image route's query: `name`, `id`, `url`, `title`, `value`, `currency`, `order_id`, `goal`, `click_id`,
    `campaign`, `coupon` (one code).

    Consent strings come under the names the IAB and Google gave them: `gdpr`, `gdpr_consent`, `addtl_consent`, `gpp`,
    `gpp_sid`, `us_privacy`, `gcs`, `gcd`. A macro nobody filled in is absent. The page's address defaults to the Referer
    header. Unknown parameters are refused like unknown fields.
    """
    fields: dict[str, object] = {}
    signals: dict[str, object] = {}
    for name, value in query.items():
        if name in _PIXEL_SIGNALS:
            if value and not value.startswith("${"):
                signals[_PIXEL_SIGNALS[name]] = value
        elif name not in _PIXEL_FIELDS:
            raise Refusal("field_unknown", name if name.isidentifier() and len(name) <= 40 else None)
        elif name == "coupon":
            fields["coupons"] = [value] if value else []
        elif value:
            fields[name] = value
    if signals:
        fields["signals"] = _typed(signals)
    fields.setdefault("name", "page_view")
    if referer:
        fields.setdefault("url", referer[:4_096])
    return read(msgspec.json.encode(fields), arrived)


def _typed(signals: dict[str, object]) -> dict[str, object]:
    """Texts of a query as the fields they stand for; what cannot be one is absent."""
    gdpr = signals.pop("gdpr", None)
    if gdpr in ("0", "1"):
        signals["gdpr"] = gdpr == "1"
    sections = signals.pop("gpp_sid", None)
    if isinstance(sections, str):
        numbers = [part.strip() for part in sections.split(",")[:_SECTIONS_MAX]]
        signals["gpp_sid"] = [int(part) for part in numbers if part.isascii() and part.isdigit() and len(part) <= 3]
    return signals


_SECTIONS_MAX: Final = 32
_PIXEL_FIELDS: Final = frozenset(
    {"name", "id", "url", "title", "value", "currency", "order_id", "goal", "click_id", "campaign", "coupon"}
)
_PIXEL_SIGNALS: Final = {
    "gdpr": "gdpr",
    "gdpr_consent": "tcf",
    "addtl_consent": "ac",
    "gpp": "gpp",
    "gpp_sid": "gpp_sid",
    "us_privacy": "us_privacy",
    "gcs": "gcs",
    "gcd": "gcd",
}


def read_choice(body: bytes, *, server: bool) -> Choice:
    """Read a choice about consent. Raises Refusal."""
    wire = reading.decode(_read_choice, body)
    words = wire.choice if wire.choice is not UNSET else {}
    google = wire.signals.google if wire.signals is not None else None
    reading.refuse_repeated_choice(body, len(words) + len(google or {}))
    for field in ("link",) if server else ("decided_at_ms", "visitor", "person"):
        if getattr(wire, field) is not None:
            raise Refusal("field_unknown", field)
    granted, denied = _sets(words, "choice")
    if not granted and not denied and wire.signals is None:
        raise Refusal("field_missing", "choice")
    return Choice(
        granted=granted,
        denied=denied,
        method=wire.method,
        notice=_plain(wire.notice, "notice"),
        language=_plain(wire.language, "language"),
        decided_at_ms=wire.decided_at_ms,
        visitor_token=wire.visitor,
        person=_person(wire.person) if wire.person is not None else None,
        link_token=wire.link,
        signals=_signals(wire.signals) if wire.signals is not None else None,
    )
