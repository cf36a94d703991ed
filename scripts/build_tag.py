"""Build the tag: strip comments and blanks, put the version in, write it under its number with its integrity hash.

usage: python scripts/build_tag.py VERSION      refuses to change a version that was published
       python scripts/build_tag.py --check      the newest version equals what the source builds
"""

import base64
import gzip
import hashlib
import json
import sys
from pathlib import Path

from rjsmin import jsmin

FOLDER = Path(__file__).parent.parent / "gateway" / "browser"
LIMIT = 3_000


def build(version: str) -> bytes:
    source = (FOLDER / "gw.js").read_text("utf-8").replace("__VERSION__", version)
    return jsmin(source).encode("utf-8") + b"\n"


def main() -> int:
    register = FOLDER / "integrity.json"
    published: dict[str, str] = json.loads(register.read_text()) if register.exists() else {}
    checking = sys.argv[1:] == ["--check"]
    version = max(published, key=lambda v: [int(p) for p in v.split(".")]) if checking else sys.argv[1]
    made = build(version)
    digest = "sha384-" + base64.b64encode(hashlib.sha384(made).digest()).decode("ascii")
    size = len(gzip.compress(made, 9, mtime=0))
    print(f"gw.{version}.js: {len(made)} bytes, {size} gzip, {digest}")
    if size > LIMIT:
        print(f"larger than {LIMIT} bytes", file=sys.stderr)
        return 1
    if checking:
        return 0 if published[version] == digest else 1
    if version in published and published[version] != digest and "--replace-unreleased" not in sys.argv:
        print("this version was published with other content: take a new number", file=sys.stderr)
        return 1
    (FOLDER / "versions").mkdir(exist_ok=True)
    (FOLDER / "versions" / f"gw.{version}.js").write_bytes(made)
    published[version] = digest
    register.write_text(json.dumps(published, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
