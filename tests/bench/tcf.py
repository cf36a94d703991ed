"""How fast TC strings are decoded, in turns with the reference library, and what the heaviest string costs.

The reference is the npm package of the framework's own makers. It is installed into a scratch directory; without node,
npm or a registry the bench says so and reports the gateway alone.
"""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gateway.signals import tcf
from gateway.signals.bits import TEXT_MAX, Unreadable
from tests.bench.harness import middle, scratch
from tests.bench.measures import Options, Table

__all__ = ["consent_strings"]

PACKAGE: Final = "@iabtechlabtcf/core@1.5.21"
VECTORS: Final = Path(__file__).parents[1] / "vectors" / "tcf.json"
REFERENCE: Final = Path(__file__).with_name("tcf_reference.mjs")
OURS: Final = "gateway"
SPELLED: Final = "gateway, and written out for people"
THEIRS: Final = f"npm {PACKAGE}"

Measure = Callable[[list[str]], float]
"""Decodes a second."""


class _Strings(msgspec.Struct):
    valid: list[dict[str, object]]


class _Answer(msgspec.Struct):
    decodes: int
    seconds: float


# ------------------------------------------------------------------ the two sides


def _read(text: str) -> object:
    tc = tcf.decode(text)
    if isinstance(tc, Unreadable):
        raise ValueError(tc.code)
    return tc


def _spell(text: str) -> object:
    tc = tcf.decode(text)
    if isinstance(tc, Unreadable):
        raise ValueError(tc.code)
    return tcf.told(tc)


def _rate(decode: Callable[[str], object], texts: Sequence[str], seconds: float) -> float:
    decodes, begun = 0, time.perf_counter()
    while True:
        for text in texts:
            decode(text)
        decodes += len(texts)
        took = time.perf_counter() - begun
        if took >= seconds:
            return decodes / took


@contextmanager
def _reference(seconds: float) -> Iterator[Measure | str]:
    """The reference library in its own process, or the sentence that says why it is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        yield "node or npm is not installed: the reference library was not measured."
        return
    with scratch() as place:
        (place / "package.json").write_text('{"private": true}', encoding="utf-8")
        install = [
            npm,
            "install",
            "--no-save",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            PACKAGE,
        ]
        try:
            subprocess.run(install, cwd=place, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError):
            yield f"npm could not install {PACKAGE}: the reference library was not measured."
            return
        process = subprocess.Popen(
            [node, str(REFERENCE), str(place), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def measure(texts: list[str]) -> float:
            asked.write(json.dumps({"texts": texts}) + "\n")
            asked.flush()
            line = answers.readline()
            if not line:
                raise RuntimeError("the reference library ended")
            answer = msgspec.json.decode(line, type=_Answer)
            return answer.decodes / answer.seconds

        try:
            yield measure
        finally:
            asked.close()
            answers.close()
            process.wait(timeout=30)


# ------------------------------------------------------------------ strings

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _typical() -> list[str]:
    """The valid strings of the outside test data."""
    rows = msgspec.json.decode(VECTORS.read_bytes(), type=_Strings).valid
    return [str(row["tcString"]) for row in rows]


def _text(line: str) -> str:
    line += "0" * (-len(line) % 6)
    return "".join(_ALPHABET[int(line[at : at + 6], 2)] for at in range(0, len(line), 6))


def _entries(pairs: Sequence[tuple[int, int]]) -> str:
    return f"{len(pairs):012b}" + "".join(f"1{start:016b}{end:016b}" for start, end in pairs)


def _heavy() -> dict[str, str]:
    """Strings within every cap that ask for as much work as the caps allow."""
    order = random.Random(1)
    apart = [(1 + 60 * n, 21 + 60 * n) for n in range(1_000)]
    order.shuffle(apart)
    header = (
        f"{2:06b}{17_800_000_000:036b}{17_800_000_000:036b}{300:012b}"
        + "0" * 30
        + f"{150:012b}{5:06b}10"
        + "1" * 60
        + "0" * 13
    )
    nobody, unrestricted = "0" * 17, "0" * 12

    def ranges(pairs: Sequence[tuple[int, int]]) -> str:
        return f"{65_535:016b}1" + _entries(pairs)

    def field(highest: int) -> str:
        return f"{highest:016b}0" + ("10" * highest)[:highest]

    limits = [f"{1 + n % 63:06b}{n // 63:02b}" + _entries(apart[3 * n : 3 * n + 3]) for n in range(252)]
    restricted = f"{252:012b}" + "".join(limits)
    full = _text(header + ranges(apart[756:]) + nobody + restricted) + "." + _text("001" + field(15_000))
    return {
        "150 times all vendors, 884 characters": _text(header + ranges([(1, 65_535)] * 150) + nobody + unrestricted),
        "1,000 times all vendors": _text(header + ranges([(1, 65_535)] * 1_000) + nobody + unrestricted),
        "1,000 ranges that do not touch": _text(header + ranges(apart) + nobody + unrestricted),
        "252 restrictions, 756 ranges": _text(header + nobody + nobody + restricted),
        "65,535 vendors as bits": _text(header + field(65_535) + field(20_000) + unrestricted),
        "all of it, 16,384 characters": full + "." + "g" * (TEXT_MAX - len(full) - 1),
    }


# ------------------------------------------------------------------ the bench


def _turns(options: Options, sides: dict[str, Measure], texts: list[str]) -> dict[str, list[float]]:
    """Let the sides take turns, one warm-up and then the rounds."""
    for measure in sides.values():
        measure(texts)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name, measure in sides.items():
            found[name].append(measure(texts))
        told = ", ".join(f"{name}: {rates[-1]:,.0f}/s" for name, rates in found.items())
        options.say(f"round {number + 1}: {told}")
    return found


def _rows(what: str, found: dict[str, list[float]]) -> list[list[str]]:
    rows = []
    for name, rates in found.items():
        ratio = "-"
        if THEIRS in found:
            ratio = f"{middle([mine / other for mine, other in zip(rates, found[THEIRS], strict=True)]):,.2f}"
        span = f"{middle(rates):,.0f} ({min(rates):,.0f}..{max(rates):,.0f})"
        rows.append([what, name, span, ratio, f"{1e6 / middle(rates):,.1f}"])
    return rows


def consent_strings(options: Options) -> Table:
    """Typical strings and one hostile string in turns with the reference library; then the heaviest ones, ours alone."""
    texts, heavy = _typical(), _heavy()
    hostile = next(iter(heavy))
    alone: dict[str, Measure] = {OURS: lambda these: _rate(_read, these, options.seconds)}
    rows, notes = [], []
    with _reference(options.seconds) as theirs:
        beside = dict(alone)
        if isinstance(theirs, str):
            notes.append(theirs)
        else:
            beside[THEIRS] = theirs
        written = {SPELLED: lambda these: _rate(_spell, these, options.seconds), **beside}
        rows += _rows("typical", _turns(options, written, texts))
        rows += _rows(hostile, _turns(options, beside, [heavy.pop(hostile)]))
    for what, text in heavy.items():
        rows += _rows(what, _turns(options, alone, [text]))
    mean = sum(map(len, texts)) / len(texts)
    notes += [
        f"Typical: the {len(texts)} valid strings of the outside test data, {mean:.0f} characters in the mean.",
        "The reference library always makes sets of ids; a request is judged without them.",
        "The last rows ask for as much work as the caps of 16,384 characters and 1,000 ranges allow.",
    ]
    return Table(
        title="Decoding TC strings, one core",
        columns=["strings", "decoder", "decodes a second", "against the reference", "µs each"],
        rows=rows,
        notes=notes,
    )
