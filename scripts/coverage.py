"""Make docs/reference/checklist.md: what users must be able to do, row by row, and where it is shown.

    python scripts/coverage.py            writes the page
    python scripts/coverage.py --check    exit code 1 when the page is not what it would write

A test shows a row by its name: `test_e05_c10_the_click_is_recorded` shows E05 and C10. A test that shows many says so in
its docstring or a comment: `Rows: E05, C10.` Rows that no test can show name their page in tests/checklist.json.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "checklist.json"
PAGE = ROOT / "docs" / "reference" / "checklist.md"
NAME = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
ROW = re.compile(r"[ekcpr]\d\d\Z")
SAID = re.compile(r"\bRows: ((?:[EKCPR]\d\d(?:, | and |,\s+)?)+)")
GUIDES = {
    "E": "Campaigns and ambassadors",
    "K": "Conversion tracking code",
    "C": "Conversions of a shop, and messages that bring buyers back",
    "P": "Goals, postbacks and metrics",
    "R": "Conversions of links",
}
INTRO = """\
# Checklist

What users of conversion tracking must be able to do, gathered from five guides of the field. `python scripts/coverage.py`
writes this page: a row is *shown* when a test carries its id, *elsewhere* when it is a page or another test that shows it, and
*declined* with the reason.
"""


def shown() -> dict[str, list[str]]:
    """Row to the tests that show it, as `file::name`."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        where = path.relative_to(ROOT).as_posix()
        starts = [(match.start(), match.group(1)) for match in NAME.finditer(text)]
        for _, name in starts:
            for part in name.split("_")[1:]:
                if ROW.match(part) is None:
                    break
                found.setdefault(part.upper(), []).append(f"{where}::{name}")
        for match in SAID.finditer(text):
            before = [name for start, name in starts if start < match.start()]
            test = f"{where}::{before[-1]}" if before else where
            for row in re.findall(r"[EKCPR]\d\d", match.group(1)):
                if test not in found.setdefault(row, []):
                    found[row].append(test)
    return found


def page() -> tuple[str, list[str]]:
    """The page, and the rows that nothing shows."""
    rows = json.loads(DATA.read_text("utf-8"))
    tests = shown()
    parts, missing = [INTRO], []
    counts = {"shown": 0, "elsewhere": 0, "declined": 0}
    tables: list[str] = []
    for letter, title in GUIDES.items():
        lines = [f"## {title}\n", "| row | what | state | where |", "| --- | --- | --- | --- |"]
        for row in (row for row in rows if row["id"].startswith(letter)):
            own = tests.get(row["id"], [])
            if own:
                more = f" and {len(own) - 1} more" if len(own) > 1 else ""
                state, where = "shown", f"`{own[0]}`{more}"
            elif "elsewhere" in row:
                state, where = "elsewhere", row["elsewhere"]
            elif "declined" in row:
                state, where = "declined", row["declined"]
            else:
                missing.append(row["id"])
                continue
            counts[state] += 1
            lines.append(f"| {row['id']} | {row['what'].replace('|', '/')} | {state} | {where} |")
        tables.append("\n".join(lines) + "\n")
    parts.append(", ".join(f"{count} {state}" for state, count in counts.items()) + f", of {len(rows)}.\n")
    return "\n".join([*parts, *tables]), missing


def main() -> int:
    text, missing = page()
    if missing:
        print(f"nothing shows {', '.join(missing)}", file=sys.stderr)
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text("utf-8") != text:
            print(f"{PAGE.relative_to(ROOT)} is not up to date; run python scripts/coverage.py", file=sys.stderr)
            return 1
        return 1 if missing else 0
    PAGE.write_text(text, "utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
