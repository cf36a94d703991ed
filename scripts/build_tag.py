"""Build the tag and its bridge: strip comments and blanks, put the version in, write them with their integrity hashes.

The tag loads the bridge by number and hash, so the bridge is built first and its hash goes into the tag.

usage: python scripts/build_tag.py VERSION      refuses to change a version that was published
       python scripts/build_tag.py --check      the newest version equals what the source builds
"""

import base64
import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from rjsmin import jsmin

FOLDER = Path(__file__).parent.parent / "gateway" / "browser"
LIMITS = {"gw": 3_000, "gw-bridge": 4_000}
"""Bytes, compressed. The tag is on every page; the bridge only where a consent platform has to be asked."""


class Built(NamedTuple):
    """One script: the register its hash stands in, its name before the number, its bytes and its integrity value."""

    register: str
    name: str
    source: bytes
    integrity: str


def build(version: str) -> list[Built]:
    bridge = _built("bridge-integrity.json", "gw-bridge", {"__VERSION__": version})
    return [_built("integrity.json", "gw", {"__VERSION__": version, "__BRIDGE__": bridge.integrity}), bridge]


def _built(register: str, name: str, words: dict[str, str]) -> Built:
    text = (FOLDER / f"{name}.js").read_text("utf-8")
    for word, value in words.items():
        text = text.replace(word, value)
    made = jsmin(text).encode("utf-8") + b"\n"
    return Built(register, name, made, "sha384-" + base64.b64encode(hashlib.sha384(made).digest()).decode("ascii"))


def _register(name: str) -> dict[str, str]:
    path = FOLDER / name
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def main() -> int:
    checking = sys.argv[1:] == ["--check"]
    published = _register("integrity.json")
    version = max(published, key=lambda v: [int(p) for p in v.split(".")]) if checking else sys.argv[1]
    built = build(version)
    for script in built:
        size = len(gzip.compress(script.source, 9, mtime=0))
        print(f"{script.name}.{version}.js: {len(script.source)} bytes, {size} gzip, {script.integrity}")
        if size > LIMITS[script.name]:
            print(f"larger than {LIMITS[script.name]} bytes", file=sys.stderr)
            return 1
    if checking:
        return 0 if all(_register(script.register).get(version) == script.integrity for script in built) else 1
    for script in built:
        if _register(script.register).get(version, script.integrity) != script.integrity:
            if "--replace-unreleased" not in sys.argv:
                print("this version was published with other content: take a new number", file=sys.stderr)
                return 1
    (FOLDER / "versions").mkdir(exist_ok=True)
    for script in built:
        (FOLDER / "versions" / f"{script.name}.{version}.js").write_bytes(script.source)
        register = _register(script.register) | {version: script.integrity}
        (FOLDER / script.register).write_text(json.dumps(register, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
