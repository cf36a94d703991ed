"""A person with marked values, and the search for every form in which one of them could have been left lying about."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["AGENT", "CLICK", "GA", "IP", "PERSON", "VALUES", "files_of", "forms", "places_of", "traces"]

IP: Final = "91.198.174.77"
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; Markeragent-77) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
CLICK: Final = "Cj0KCQcanaryclick-77_x"
GA: Final = "GA1.1.770077007.1700770077"

PERSON: Final = {
    "email": "Zyx.Canary+Tag@Marker-Mail.example",
    "phone": "+49 (151) 98 765 437",
    "first_name": "Zyxwvutine",
    "last_name": "Canarietti",
    "street": "Kanarienstraße 77b",
    "city": "Markerstadt-Süd",
    "postal_code": "MK7 7ZX",
    "date_of_birth": "1977-07-17",
    "external_id": "Kunde-0077-Canary",
}

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "email": (PERSON["email"], "zyxcanary@marker-mail.example", "zyx.canary@marker-mail.example"),
    "phone": (PERSON["phone"], "+4915198765437", "4915198765437", "015198765437", "15198765437", "0151 98765437"),
    "first name": (PERSON["first_name"],),
    "last name": (PERSON["last_name"],),
    "street": (PERSON["street"], "Kanarienstrasse 77b", "kanarienstraße77b"),
    "city": (PERSON["city"], "markerstadtsüd", "markerstadtsud", "Markerstadt-Sud"),
    "postal code": (PERSON["postal_code"], "mk77zx"),
    "date of birth": (PERSON["date_of_birth"], "19770717"),
    "external id": (PERSON["external_id"],),
    "address": (IP,),
    "agent": ("Markeragent-77", AGENT),
    "click id": (CLICK,),
    "client id": ("770077007.1700770077",),
}
"""What is marked, each as it was given and as platforms normalise it."""

_HASHES: Final = (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512)


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """Every way to write a value that needs no key to be undone or guessed, with the name of the way."""
    for case, text in (("as it is", value), ("lower", value.lower()), ("upper", value.upper())):
        data = text.encode()
        yield case, data
        yield f"{case}, percent-encoded", quote(text, safe="").encode()
        yield f"{case}, every byte percent-encoded", "".join(f"%{byte:02X}" for byte in data).encode()
        yield f"{case}, form-encoded", quote_plus(text).encode()
        yield f"{case}, JSON", json.dumps(text)[1:-1].encode()
        yield f"{case}, UTF-16", text.encode("utf-16-le")
        yield f"{case}, hex", data.hex().encode()
        for shift in range(3):
            # What base64 makes of a text depends on where in a group of three it begins; the ends are cut off.
            encoded = base64.b64encode(bytes(shift) + data)[4 if shift else 0 : -4]
            if len(encoded) >= 8:
                yield f"{case}, base64 shifted by {shift}", encoded
                yield f"{case}, base64url shifted by {shift}", encoded.translate(bytes.maketrans(b"+/", b"-_"))
        for make in _HASHES:
            digest = make(data, usedforsecurity=False).digest()
            name = f"{case}, {make().name}"
            yield f"{name} in hex", digest.hex().encode()
            yield f"{name} raw", digest
            yield f"{name} in base64", base64.b64encode(digest).rstrip(b"=")
            yield f"{name} in base64url", base64.urlsafe_b64encode(digest).rstrip(b"=")


_NEEDLES: Final = {
    needle: f"{what} ({form})" for what, values in VALUES.items() for value in values for form, needle in forms(value)
}


def traces(places: Mapping[str, bytes], more: Iterable[str] = ()) -> list[str]:
    """Where which value was found in which form. Texts are compared without regard to case as well.

    `more` are further values to look for.
    """
    needles = dict(_NEEDLES)
    for value in more:
        needles |= {needle: f"{value} ({form})" for form, needle in forms(value)}
    together = b"\n".join(places.values())
    lowered = together.lower()
    found = [needle for needle in needles if needle in together or needle.lower() in lowered]
    return [
        f"{needles[needle]} in {place}"
        for needle in found
        for place, content in places.items()
        if needle in content or needle.lower() in content.lower()
    ]


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file of a data directory, as bytes: database, write-ahead file, shared memory, and whatever else is there."""
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def places_of(database: Path) -> dict[str, bytes]:
    """Every column of every table, all its values together: what bytes in a file are split over pages is whole here."""
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    found: dict[str, bytes] = {}
    try:
        tables = [row[0] for row in db.execute("select name from sqlite_schema where type = 'table'")]
        for table in tables:
            columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
            for column in columns:
                cells = [row[0] for row in db.execute(f"select {column} from {table} where {column} is not null")]
                texts = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells]
                found[f"{table}.{column}"] = b"\n".join(texts)
    finally:
        db.close()
    return found
