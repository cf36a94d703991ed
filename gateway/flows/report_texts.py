"""Reports as tables: CSV to take away, JSON lines, and lines for a terminal.

A row's nested parts become columns: `conversion_rate.pct` is `conversion_rate_pct`, and each entry of `money` becomes columns
with its currency's name, so that a row stays one line and amounts of different currencies stay apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.pages.tables import Cell, csv_lines, json_lines

__all__ = ["csv_of", "jsonl_of", "text_of"]

_TEXTS: Final = frozenset({"suppressed", "conversions_query", "cause", "likely", "model", "warnings"})
_SHOWN: Final = (
    "conversions", "converting_persons", "clicks", "conversion_rate_pct", "share_of_clicks_pct", "share_of_conversions_pct",
    "time_to_convert_average_s", "count", "dropped", "dropped_pct", "missing", "of", "gap_pct", "timed", "average_s",
    "median_s", "target_rate_pct", "target_actual_pct", "duplicates",
)  # fmt: skip
_OF_MONEY: Final = ("value", "net_value", "spend", "roi_pct", "cpa")
_CELL_MAX: Final = 40


def csv_of(report: Mapping[str, object]) -> Iterator[bytes]:
    """The rows of a report as CSV, the header first. Texts of strangers are guarded, numbers stay numbers."""
    flat = [_flat(row) for row in _rows(report)]
    columns = list(dict.fromkeys([column for row in flat for column in row]))
    keys = {name for row in _rows(report) for name in _mapping(row.get("key"))}
    numbers = [column for column in columns if column not in keys and column not in _TEXTS]
    return csv_lines(columns, ([row.get(column) for column in columns] for row in flat), numbers)


def jsonl_of(report: Mapping[str, object]) -> Iterator[bytes]:
    """The rows of a report, one JSON object on a line."""
    return json_lines(_rows(report))


def text_of(report: Mapping[str, object]) -> str:
    """A report for a terminal: what it is about, its rows with the columns that matter most, then its notes."""
    lines = [f"{report['title']}, site {report['site']}, {report['from']} to {report['to']}"]
    filters = _mapping(report.get("filters"))
    if filters:
        lines.append("only " + ", ".join([f"{name}: {_printable(value)}" for name, value in filters.items()]))
    rows = _rows(report)
    flat = [_flat(row) for row in rows]
    held = [column for column in dict.fromkeys([name for row in flat for name in row]) if _matters(column)]
    table = [["", *held]]
    for row, cells in zip(rows, flat, strict=True):
        key = _mapping(row.get("key"))
        name = key.get("name") or " ".join([str(part) for part in key.values() if part])
        variant = f" / {key['variant']}" if "variant" in key else ""
        hidden = row.get("suppressed") not in (None, "no")
        shown = ["" if (cell := cells.get(column)) is None else str(cell) for column in held]
        table.append([_printable(f"{name}{variant}") + (" (left out)" if hidden else ""), *shown])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines.append("")
    for number, texts in enumerate(table):
        first, *rest = [(text, width) for text, width in zip(texts, widths, strict=True)]
        lines.append("  ".join([first[0].ljust(first[1]), *[text.rjust(width) for text, width in rest]]).rstrip())
        if not number:
            lines.append("-" * min(200, sum(widths) + 2 * len(widths) - 2))
    if not rows:
        lines.append("no rows")
    lines += [*_beside(report)]
    return "\n".join(lines)


def _beside(report: Mapping[str, object]) -> Iterator[str]:
    nobody = _mapping(report.get("unattributed"))
    if nobody:
        yield ""
        yield f"credited to nobody: {nobody['conversions']} of {nobody['all_conversions']} conversions"
    warnings = report.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        where = f" ({_printable(warning['goal'])})" if "goal" in warning else ""
        yield f"warning: {warning['message']}{where}"
    for row in _rows(report):
        of_row = row.get("warnings")
        for warning in of_row if isinstance(of_row, list) else ():
            yield f"warning: {warning['message']} ({_printable(_mapping(row.get('key')).get('goal', ''))})"
        if row.get("likely"):
            yield f"warning: {row['likely']}"
    notes = report.get("notes")
    if isinstance(notes, list) and notes:
        yield ""
        yield from [f"note: {note['message']}" for note in notes]


def _matters(column: str) -> bool:
    head = column.rsplit("_", 1)[0]
    return column in _SHOWN or (head in _OF_MONEY and column[-3:].isupper())


def _rows(report: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    rows = report.get("rows")
    return rows if isinstance(rows, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _flat(row: Mapping[str, object]) -> dict[str, Cell]:
    """A row as cells by column."""
    flat: dict[str, Cell] = {}
    for name, value in row.items():
        if name == "key":
            flat |= {column: _cell(cell) for column, cell in _mapping(value).items()}
        elif name == "money" and isinstance(value, list):
            for entry in value:
                flat |= {
                    f"{column}_{entry['currency']}": _cell(cell)
                    for column, cell in entry.items()
                    if column != "currency"
                }
        elif isinstance(value, dict):
            flat |= {f"{name}_{column}": _cell(cell) for column, cell in value.items()}
        elif isinstance(value, list):
            flat[name] = " ".join([str(_mapping(part).get("code", part)) for part in value])
        else:
            flat[name] = _cell(value)
    return flat


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _printable(value: object) -> str:
    """A text as a terminal may show it."""
    text = str(value)
    return (text if text.isprintable() else ascii(text))[:_CELL_MAX]
