"""Files the operator supplies: documents in a directory, and a database of places. Read again when they change.

Nothing is fetched from anywhere, and nothing is written. What the documents mean is not decided here.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import maxminddb

__all__ = ["DOCUMENTS_MAX", "GONE", "Directory", "PlaceDatabase"]

DOCUMENTS_MAX: Final = 1_000
"""Files looked at in one directory."""
GONE: Final = "gone"
"""Reason given for a document that was there before."""


def _mark(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size


class Directory:
    """Documents in one directory. `takes` tells by a file's name whether it is one of them."""

    def __init__(self, path: Path, takes: Callable[[str], bool], max_bytes: int) -> None:
        self._path = path
        self._takes = takes
        self._max_bytes = max_bytes
        self._seen: dict[str, tuple[int, int]] = {}
        self._known: frozenset[str] = frozenset()

    def changed(self) -> Iterator[tuple[str, bytes | None, str]]:
        """Read the documents that are new or were changed since the last call, one after another: name, content, reason.

        The content is None, with a reason, for a file that is too large, cannot be read, or is GONE; and under the name
        of the directory itself when that cannot be read, or holds more than DOCUMENTS_MAX documents. What could not be
        read is tried again at the next call.
        """
        try:
            names = sorted(path.name for path in self._path.iterdir() if self._takes(path.name))
        except (FileNotFoundError, NotADirectoryError):
            names = []
        except OSError as error:
            yield self._path.name, None, type(error).__name__
            return
        if len(names) > DOCUMENTS_MAX:
            yield self._path.name, None, "too_many"
        for name in self._known.difference(names):
            yield name, None, GONE
            self._seen.pop(name, None)
        self._known = frozenset(names[:DOCUMENTS_MAX])
        for name in names[:DOCUMENTS_MAX]:
            path = self._path / name
            try:
                mark = _mark(path)
                if self._seen.get(name) == mark:
                    continue
                document = path.read_bytes() if mark[1] <= self._max_bytes else None
                self._seen[name] = mark
                yield name, document, "" if document is not None else "too_large"
            except OSError as error:
                yield name, None, type(error).__name__


class PlaceDatabase:
    """A file in MaxMind's format. Answers country and region of an address as the file has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: maxminddb.Reader | None = None
        self._seen: tuple[int, int] | None = None
        self._kept = lru_cache(maxsize=8_192)(self._look_up)

    def refresh(self) -> str | None:
        """Open the file when it is new or was changed. Answers why it cannot be used; what was open stays in use."""
        try:
            mark = _mark(self.path)
            if mark != self._seen:
                self._reader = maxminddb.open_database(self.path, maxminddb.MODE_MEMORY)
                self._seen = mark
                self._kept.cache_clear()
        except Exception as error:  # noqa: BLE001 - a damaged file makes the reader raise whatever its bytes lead to
            return type(error).__name__
        return None

    def look_up(self, address: str) -> tuple[str | None, str | None]:
        """Country and region codes of an address; None for what is unknown. Only /24 or /56 of it are looked at."""
        return self._kept(_network(address))

    def _look_up(self, network: str) -> tuple[str | None, str | None]:
        if self._reader is None or not network:
            return None, None
        try:
            found = self._reader.get(network)
        except Exception:  # noqa: BLE001 - as above; and an address of another kind than the file has
            return None, None
        if not isinstance(found, Mapping):
            return None, None
        divisions = found.get("subdivisions")
        return _code(found.get("country")), _code(divisions[0]) if isinstance(divisions, list) and divisions else None


def _code(value: object) -> str | None:
    code = value.get("iso_code") if isinstance(value, Mapping) else None
    return code if isinstance(code, str) else None


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = 24 if parsed.version == 4 else 56
    return str(ipaddress.ip_network((parsed, bits), strict=False).network_address)
