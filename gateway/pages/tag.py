"""The tag and its bridge as they are served: every published version with its integrity hash, read once at the start.

A published version never changes; `browser/versions/` keeps each under its number, and a test compares their hashes with
`browser/integrity.json` and `browser/bridge-integrity.json`. A tag knows the hash of the bridge of its own number.
"""

import base64
import gzip
import hashlib
from importlib import resources
from typing import Final, NamedTuple

import msgspec

__all__ = ["BRIDGES", "LATEST", "VERSIONS", "Script"]


class Script(NamedTuple):
    """One version: its bytes, the same compressed, and its SHA-384 in base64 as `integrity` wants it."""

    source: bytes
    gzipped: bytes
    sha384: str


def _read(name: str, register: str) -> dict[str, Script]:
    folder = resources.files("gateway.browser")
    published = msgspec.json.decode((folder / register).read_bytes(), type=dict[str, str])
    versions = {}
    for version in published:
        source = (folder / "versions" / f"{name}.{version}.js").read_bytes()
        digest = base64.b64encode(hashlib.sha384(source).digest()).decode("ascii")
        versions[version] = Script(source, gzip.compress(source, 9, mtime=0), digest)
    return versions


def _newest(versions: dict[str, Script]) -> str:
    return max(versions, key=lambda version: tuple(int(part) for part in version.split(".")))


VERSIONS: Final[dict[str, Script]] = _read("gw", "integrity.json")
BRIDGES: Final[dict[str, Script]] = _read("gw-bridge", "bridge-integrity.json")
LATEST: Final[str] = _newest(VERSIONS)
