"""What goes into reading an offline file and what comes out of it, as values (pure)."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.event import Personal, Received
from gateway.protocols.offline_columns import ColumnSet

if TYPE_CHECKING:
    from gateway.event import Scalar

__all__ = [
    "KINDS",
    "PERSON_FIELDS",
    "STATUSES",
    "Cells",
    "OfflineAdjustment",
    "OfflineRow",
    "Outcome",
    "RowProblem",
    "Terms",
    "Upload",
]

KINDS: Final = ("store", "loyalty", "call", "crm", "other")
"""Where a conversion happened: at a till, told by a loyalty card, on the phone, in a sales system, elsewhere."""

PERSON_FIELDS: Final = frozenset(
    "email phone first_name last_name gender date_of_birth birth_year age city region postal_code country external_id".split()
)
"""Fields that tell who somebody is."""

STATUSES: Final[Mapping[str, str]] = {
    "sale": "",
    "refund": "refund",
    "refunded": "refund",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
"""Words of the column `status` and the kind of adjustment they stand for, empty for none."""


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a file besides its bytes.

    `trust` as in `event.Received`. `zone` is the IANA name for times that name none, `currency` that of amounts without
    one, empty for none. `row_id` makes an event id from a row's digest; keyed and without chance, it makes the same row
    the same event. `granted` are the purposes of a row that says nothing about consent, `granted_by_goal` those of single
    goals. `goals` are the file's names of conversions to our goal codes. `columns` names the set of
    `offline_columns.SETS`; empty: it is recognised.
    """

    site: str
    trust: str
    received_at_ms: int
    zone: str
    row_id: Callable[[bytes], str]
    currency: str = ""
    granted: int = 0
    granted_by_goal: Mapping[str, int] = {}
    goals: Mapping[str, str] = {}
    columns: str = ""
    rows_max: int = 1_000_000


class Terms(msgspec.Struct, frozen=True):
    """What holds for every row of one file. `comma`: amounts may have a decimal comma."""

    upload: Upload
    set: ColumnSet
    labels: Mapping[str, str]
    zone: tzinfo
    comma: bool


class Cells:
    """The cells of a row that are not empty, those that tell who somebody is wrapped. `free` are pairs of name and value."""

    __slots__ = ("coupons", "free", "person", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.person: dict[str, list[Personal]] = {}
        self.coupons: list[str] = []
        self.free: list[tuple[str, Scalar]] = []

    def put(self, field: str, text: str) -> None:
        """Add the text of one cell."""
        if field in PERSON_FIELDS:
            self.person.setdefault(field, []).append(Personal(text))
        elif field == "coupon":
            self.coupons.append(text)
        else:
            self.texts[field] = text

    def has(self, field: str) -> bool:
        """Whether a field is filled."""
        return field in self.texts or field in self.person or (field == "coupon" and bool(self.coupons))


class OfflineRow(msgspec.Struct, frozen=True):
    """One conversion read. `click_id` is the click it names, `coupons` the codes on it, as written.

    `row_digest` is SHA-256 of what the row says, without its consent: the same sale told again has the same. It is made
    from clear values and must not be stored as it is.
    """

    line: int
    received: Received
    click_id: str | None
    coupons: tuple[str, ...]
    row_digest: bytes


class OfflineAdjustment(msgspec.Struct, frozen=True):
    """A row that takes a conversion back: `refund` of `amount_minor` (None: all of it) or `cancelled` (always all of it)."""

    line: int
    goal: str
    order_id: str
    kind: str
    amount_minor: int | None
    currency: str | None
    adjusted_at_ms: int
    marks: tuple[str, ...]
    row_digest: bytes


class RowProblem(msgspec.Struct, frozen=True):
    """A row that was not taken: where, and why as a code of `errors.CODES`.

    `column` is the column's name, or its place such as `#7`; None when the row as a whole is meant. `last_line` is
    another than `line` where the row goes over several lines.
    """

    line: int
    column: str | None
    code: str
    last_line: int


Outcome = OfflineRow | OfflineAdjustment | RowProblem
"""What becomes of one row."""
