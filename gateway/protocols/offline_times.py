"""Times as files write them: with an offset, with a zone's name, or local to the zone of the file (pure).

A local time can mean two instants when clocks are put back: the earlier one is taken, and that is told. A time that the
clocks jumped over when they were put forward does not exist and is refused. Dates of birth become `YYYY-MM-DD`.

Source: ISO 8601 as Python reads it; Google Ads Help 7014069 (formats of Conversion Time, read 2026-11);
facebookarchive/marketing-data-file-uploader (Unix seconds beside ISO 8601; two digits of a year up to this year's are
2000 and later), read 2026-11.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.errors import Refusal

__all__ = ["Instant", "birth_date", "read_time", "read_zone", "years_between"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?\Z", re.ASCII)
_OFFSET: Final = re.compile(r" ?(Z|[+-]\d\d(?::?\d\d)?)\Z", re.ASCII)
_ZONE_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}\Z", re.ASCII)
_NAMED: Final = re.compile(r" ([A-Z][A-Za-z_]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){1,2}|UTC|GMT)\Z", re.ASCII)
_CLOCK: Final = r"(\d{1,2}):(\d\d):(\d\d)(?: ?([AP]M))?\Z"
_SLASHES: Final = re.compile(r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}) " + _CLOCK, re.ASCII)
_WORDS: Final = re.compile(r"(?P<month>[A-Z]{3}) (?P<day>\d{1,2}), ?(?P<year>\d{4}) " + _CLOCK, re.ASCII)
_UNIX_SECONDS: Final = re.compile(r"\d{9,10}\Z", re.ASCII)
_MONTHS: Final = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()

_BIRTH_ISO: Final = re.compile(r"(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)\Z", re.ASCII)
_BIRTH_US: Final = re.compile(r"(?P<month>\d{1,2})[/-](?P<day>\d{1,2})[/-](?P<year>\d{4}|\d\d)\Z", re.ASCII)
_HASHED: Final = re.compile(r"[0-9a-fA-F]{64}\Z")

_NOT_PLACES: Final = ("Factory", "right/", "posix/", "posixrules", "localtime", "leap")
"""Entries of the database's folder that are no zones: one would name this machine's own, others count leap seconds."""


class Instant(NamedTuple):
    """A time in milliseconds UTC. `ambiguous`: the local time came twice that night, this is the first of the two."""

    at_ms: int
    ambiguous: bool


def read_zone(text: str) -> tzinfo:
    """Read a zone: a name of the IANA database, or an offset such as `+0100`. Raises Refusal `zone_unknown`."""
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        return _fixed(offset.group(1))
    if _ZONE_NAME.match(text) is None or text.startswith(_NOT_PLACES):
        raise Refusal("zone_unknown")
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # unknown; not a zone file; a folder such as `Europe`
        raise Refusal("zone_unknown") from None


def _fixed(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:]) if len(text) > 3 else 0
    if hours > 14 or minutes > 59:
        raise Refusal("zone_unknown")
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(-ahead if text[0] == "-" else ahead)


def read_time(text: str, zone: tzinfo, dialect: str = "iso") -> Instant:
    """Read a time. Raises Refusal `time_format`, `time_nonexistent`, `zone_unknown`.

    `zone` is that of a time which names none. `dialect` adds to ISO 8601: `google` takes US dates and names of zones
    behind the time, `meta` takes whole seconds since 1970. A date without a time of day is refused: it is no instant.
    """
    if dialect == "meta" and _UNIX_SECONDS.match(text) is not None:
        return Instant(int(text) * 1_000, False)
    found = _OFFSET.search(text)
    if found is not None and found.start() >= 16:
        text, zone = text[: found.start()], _fixed(found.group(1))
    elif dialect == "google":
        found = _NAMED.search(text)
        if found is not None:
            text, zone = text[: found.start()], read_zone(found.group(1))
    try:
        local = datetime.fromisoformat(text) if _ISO.match(text) is not None else None
        if local is None and dialect == "google":
            local = _us(text.upper())
        if local is None:
            raise Refusal("time_format")
        return _instant(local, zone)
    except (ValueError, OverflowError):
        raise Refusal("time_format") from None


def _us(text: str) -> datetime | None:
    found = _SLASHES.match(text) or _WORDS.match(text)
    if found is None:
        return None
    month, day, year, hour, minute, second, half = found.groups()
    number = int(month) if month.isdigit() else _MONTHS.index(month) + 1
    hours = int(hour)
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half == "PM" else 0)
    return datetime(int(year), number, int(day), hours, int(minute), int(second))  # noqa: DTZ001 # local on purpose


def _instant(local: datetime, zone: tzinfo) -> Instant:
    first = local.replace(tzinfo=zone)
    ambiguous = False
    if isinstance(zone, ZoneInfo):
        before, after = first.utcoffset(), first.replace(fold=1).utcoffset()
        if before != after and before is not None and after is not None:
            if before < after:
                raise Refusal("time_nonexistent")
            ambiguous = True
    return Instant((first - _EPOCH) // _MILLISECOND, ambiguous)


def birth_date(text: str, this_year: int, birth_year: int | None = None) -> str:
    """Read a date of birth: MM/DD/YY, MM/DD/YYYY or ISO. Raises Refusal `field_invalid`.

    Two digits of a year take the century of `birth_year` where that ends alike, else the latest that is not after
    `this_year`. The answer is `YYYY-MM-DD`; a SHA-256 in hex is answered as it is.
    """
    if _HASHED.match(text) is not None:
        return text
    found = _BIRTH_ISO.match(text) or _BIRTH_US.match(text)
    if found is None:
        raise Refusal("field_invalid")
    year = int(found["year"])
    if len(found["year"]) == 2:
        if birth_year is not None and birth_year % 100 == year:
            year = birth_year
        else:
            year += this_year // 100 * 100
            year -= 100 if year > this_year else 0
    try:
        return date(year, int(found["month"]), int(found["day"])).isoformat()
    except ValueError:
        raise Refusal("field_invalid") from None


def years_between(birth: str, at_ms: int) -> int:
    """Whole years between a date `YYYY-MM-DD` and the day of `at_ms` in UTC."""
    day = (_EPOCH + timedelta(milliseconds=at_ms)).date()
    born = date.fromisoformat(birth)
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
