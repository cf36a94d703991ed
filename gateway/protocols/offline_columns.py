"""Column sets of offline files: which columns a file may have, what each is for, and how a header is recognised (pure).

Tables: a set is a row of SETS, a column a row of its set. `field` is what a column means here, in one word for all sets;
how a field is read stands in `offline_rows`. A header counts in any case of letters. It names no column that is not
listed, except a set's own free columns; each free column becomes a property of the event.

Source: Google Ads Help 7014069 (clicks) and public exporters (calls, consent), read 2026-11; example file and mapping of
facebookarchive/marketing-data-file-uploader and fbsamples/capi-for-offline-events, read 2026-11.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.errors import Refusal
from gateway.protocols.native import PERSONAL_PROPS
from gateway.protocols.offline_csv import COLUMNS_MAX

__all__ = ["EVENT_NAMES", "OURS", "SETS", "Column", "ColumnSet", "Layout", "lay_out", "prop_name"]


class Column(msgspec.Struct, frozen=True):
    """One column: its name as documented, what it is for, other names it goes by, and how often it may stand there."""

    name: str
    field: str
    also: tuple[str, ...] = ()
    times: int = 1


class ColumnSet(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of one kind of file.

    `header` are fields whose columns make the set recognisable and must be there; `row` are fields no row may leave empty,
    `match` those of which every row needs one. `free` begins the names of free columns: None for none, empty for any.
    `dialect` is how times are written, as in `offline_times.read_time`. `kind` is what its conversions are unless a row
    says so.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    header: frozenset[str]
    row: tuple[str, ...]
    match: frozenset[str]
    free: str | None = None
    dialect: str = "iso"
    kind: str | None = None


_CONTACT_MATCH: Final = frozenset({"order_id", "email", "phone", "external_id"})

OURS: Final = ColumnSet(
    name="gateway",
    title="The gateway's own columns",
    columns=(
        Column("goal", "name"),
        Column("order_id", "order_id"),
        Column("time", "time"),
        Column("value", "value"),
        Column("currency", "currency"),
        Column("click_id", "click_id"),
        Column("coupon", "coupon", times=5),
        Column("email", "email", times=3),
        Column("phone", "phone", times=3),
        Column("user_id", "external_id"),
        Column("first_name", "first_name"),
        Column("last_name", "last_name"),
        Column("city", "city"),
        Column("zip", "postal_code"),
        Column("country", "country"),
        Column("consent", "consent"),
        Column("status", "status"),
        Column("kind", "kind"),
    ),
    header=frozenset({"name", "time"}),
    row=("name", "time"),
    match=_CONTACT_MATCH | {"click_id"},
    free="meta_",
)

_GOOGLE_CONVERSION: Final = (
    Column("Conversion Name", "name"),
    Column("Conversion Time", "time"),
    Column("Conversion Value", "value"),
    Column("Conversion Currency", "currency"),
    Column("Ad User Data", "ad_user_data"),
    Column("Ad Personalization", "ad_personalization"),
)

SETS: Final[Mapping[str, ColumnSet]] = {
    "gateway": OURS,
    "google_clicks": ColumnSet(
        name="google_clicks",
        title="Google Ads, conversions from clicks",
        columns=(Column("Google Click ID", "gclid"), Column("Order ID", "order_id"), *_GOOGLE_CONVERSION),
        header=frozenset({"gclid", "name", "time"}),
        row=("gclid", "name", "time"),
        match=frozenset({"gclid"}),
        dialect="google",
    ),
    "google_calls": ColumnSet(
        name="google_calls",
        title="Google Ads, conversions from calls",
        columns=(
            Column("Caller's Phone Number", "phone", also=("Caller’s Phone Number",)),
            Column("Call Start Time", "call_time"),
            *_GOOGLE_CONVERSION,
        ),
        header=frozenset({"phone", "call_time", "name", "time"}),
        row=("phone", "call_time", "name", "time"),
        match=frozenset({"phone"}),
        dialect="google",
        kind="call",
    ),
    "meta": ColumnSet(
        name="meta",
        title="Meta, offline events",
        columns=(
            Column("email", "email", also=("em",), times=3),
            Column("phone", "phone", also=("ph", "phone_number"), times=3),
            Column("madid", "unused"),
            Column("fn", "first_name", also=("first_name",)),
            Column("ln", "last_name", also=("last_name",)),
            Column("zip", "postal_code", also=("zp", "zip_code")),
            Column("ct", "city", also=("city",)),
            Column("st", "region", also=("state",)),
            Column("country", "country"),
            Column("dob", "date_of_birth", also=("db", "date_of_birth")),
            Column("doby", "birth_year"),
            Column("gen", "gender", also=("ge", "gender")),
            Column("age", "age"),
            Column("extern_id", "external_id", also=("external_id",)),
            Column("event_name", "name"),
            Column("event_time", "time"),
            Column("value", "value"),
            Column("currency", "currency"),
            Column("order_id", "order_id"),
            Column("content_type", "unused"),
            Column("contents", "items"),
        ),
        header=frozenset({"name", "time"}),
        row=("name", "time"),
        match=_CONTACT_MATCH | {"first_name", "last_name", "postal_code", "city", "date_of_birth"},
        free="",
        dialect="meta",
        kind="store",
    ),
}
"""Set name to set."""

EVENT_NAMES: Final[Mapping[str, str]] = {
    "AddPaymentInfo": "add_payment_info",
    "AddToCart": "add_to_cart",
    "CompleteRegistration": "sign_up",
    "Contact": "contact",
    "InitiateCheckout": "begin_checkout",
    "Lead": "generate_lead",
    "Other": "other",
    "Purchase": "purchase",
    "Search": "search",
    "StartTrial": "start_trial",
    "Subscribe": "subscribe",
    "ViewContent": "view_item",
}
"""Meta's standard events to the gateway's names."""

CONSENT_FIELDS: Final = frozenset({"consent", "ad_user_data", "ad_personalization"})
_RESERVED: Final = frozenset({"source", "kind", "call_started_at_ms"})
"""Properties the gateway itself gives an offline event."""
_PROP: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_GAPS: Final = re.compile(r"[ -]+")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A header understood: where each field stands.

    `places` are pairs of cell index and field, `free` pairs of cell index and property, `blank` indexes without a name,
    where no cell may be filled. `labels` are field to column name, `unused` the names of columns that are
    understood and not used. `width` is the number of cells; a row with fewer than `cells_min` is refused.
    """

    set: ColumnSet
    places: tuple[tuple[int, str], ...]
    free: tuple[tuple[int, str], ...]
    blank: tuple[int, ...]
    labels: Mapping[str, str]
    unused: tuple[str, ...]
    width: int
    cells_min: int


def _index(columns: Iterable[Column]) -> dict[str, Column]:
    return {name.casefold(): column for column in columns for name in (column.name, *column.also)}


_BY_NAME: Final = {name: _index(columns.columns) for name, columns in SETS.items()}


def lay_out(header: list[str], named: str = "") -> Layout:
    """Understand a header: its set is recognised, unless `named`. Raises Refusal with a column's place (`#3`) or name.

    Codes: `header_unknown`, `columns_too_many`, `field_missing`, `field_unknown`, `column_repeated`, `field_personal`,
    `field_invalid`. An unknown name is told by its place: in a file without a header it is somebody's data.
    """
    if len(header) > COLUMNS_MAX:
        raise Refusal("columns_too_many")
    names = [name.strip() for name in header]
    folded = [name.casefold() for name in names]
    columns = SETS[named] if named else _recognised(frozenset(folded))
    known = _BY_NAME[columns.name]
    places: list[tuple[int, str]] = []
    free: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for index, name in enumerate(folded):
        column = known.get(name)
        if column is not None:
            places.append((index, column.field))
            label, limit = column.name, column.times
        elif not name:
            continue
        else:
            label, limit = prop_name(columns, names[index], f"#{index + 1}"), 1
            free.append((index, label))
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > limit:
            raise Refusal("column_repeated", label)
    fields = {field for _, field in places}
    labels = {column.field: column.name for column in columns.columns}
    for field in sorted(columns.header - fields):
        raise Refusal("field_missing", labels[field])
    return Layout(
        set=columns,
        places=tuple((index, field) for index, field in places if field != "unused"),
        free=tuple(free),
        blank=tuple(index for index, name in enumerate(folded) if not name),
        labels=labels,
        unused=tuple(known[folded[index]].name for index, field in places if field == "unused"),
        width=len(names),
        cells_min=1 + max((index for index, field in places if field in CONSENT_FIELDS), default=-1),
    )


def _recognised(names: frozenset[str]) -> ColumnSet:
    """Find the one set all of whose telling columns are there."""
    found = []
    for columns in SETS.values():
        known = _BY_NAME[columns.name]
        if columns.header <= {known[name].field for name in names if name in known}:
            found.append(columns)
    if len(found) != 1:
        raise Refusal("header_unknown", "line 1")
    return found[0]


def prop_name(columns: ColumnSet, name: str, place: str) -> str:
    """Name of the property that a free column becomes. Raises Refusal: `field_unknown`, `field_personal`, `field_invalid`."""
    if columns.free is None:
        raise Refusal("field_unknown", place)
    folded = _GAPS.sub("_", name.casefold())
    if not folded.startswith(columns.free):
        raise Refusal("field_unknown", place)
    if folded.removeprefix(columns.free) in PERSONAL_PROPS:
        raise Refusal("field_personal", place)
    if _PROP.match(folded) is None or folded in _RESERVED:
        raise Refusal("field_invalid", place)
    return folded
