"""QR codes: what is drawn is read back by another decoder, with a quiet zone, on white, and never as a micro code."""

import re
import struct
import zlib
from typing import Final
from xml.etree import ElementTree as ET

import pytest
import zxingcpp

from gateway.errors import Refusal
from gateway.links.qr import LEVELS, SCALE_MAX, URL_MAX_CHARACTERS, qr_png, qr_svg, scan_url

LINK: Final = "https://go.example.com/summer26?qr=1"
Picture = list[bytes]
"""Rows of grey values, one byte a pixel."""


def png_picture(png: bytes) -> Picture:
    """Read a grey PNG of one bit a pixel whose rows are stored as they are or as the difference to the row above."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        chunks[png[place + 4 : place + 8]] = png[place + 8 : place + 8 + length]
        place += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour) == (1, 0)
    data, stride = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8
    rows, row = [], bytes(stride)
    for begin in range(0, height * (stride + 1), stride + 1):
        kind, said = data[begin], data[begin + 1 : begin + 1 + stride]
        assert kind in (0, 2)
        row = said if kind == 0 else bytes((above + more) & 255 for above, more in zip(row, said, strict=True))
        rows.append(bytes(255 if row[x // 8] >> (7 - x % 8) & 1 else 0 for x in range(width)))
    return rows


def svg_picture(svg: str) -> Picture:
    """Draw an SVG of two paths, a white square and black horizontal strokes, four pixels a module."""
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    background, strokes = root.iter(f"{space}path")
    square = re.fullmatch(r"M0 0h(\d+)v(\d+)h-(\d+)z", background.attrib["d"])
    assert square is not None
    assert background.attrib["fill"] == "#fff"
    assert strokes.attrib["stroke"] == "#000"
    size = int(square.group(1))
    assert square.groups() == (str(size),) * 3
    modules = [bytearray(b"\xff") * size for _ in range(size)]
    x, y = 0, -0.5
    for command, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", strokes.attrib["d"]):
        if command == "h":
            modules[int(y)][x : x + int(first)] = bytes(int(first))
            x += int(first)
        else:
            x, y = (int(first), float(second)) if command == "M" else (x + int(first), y + float(second))
    return [bytes(value for value in row for _ in range(4)) for row in modules for _ in range(4)]


def read(picture: Picture) -> list[tuple[str, str]]:
    """What a decoder of another maker reads: texts and kinds."""
    height, width = len(picture), len(picture[0])
    found = zxingcpp.read_barcodes(memoryview(b"".join(picture)).cast("B", (height, width)))
    return [(code.text, code.format.name) for code in found]


def framed(picture: Picture, grey: int, pixels: int = 40) -> Picture:
    """The picture on a page of another colour."""
    side = bytes([grey]) * pixels
    wide = bytes([grey]) * (len(picture[0]) + 2 * pixels)
    return [wide] * pixels + [side + row + side for row in picture] + [wide] * pixels


URLS: Final = {
    "a link": LINK,
    "a link of another port": "http://go.localhost:8080/l/x?qr=1",
    "a link in capitals": "HTTPS://GO.EXAMPLE.COM/SUMMER26",
    "escapes": "https://go.example.com/x?a=%C3%BC&b=[1]",
    "the longest": "https://go.example.com/" + "x" * (URL_MAX_CHARACTERS - 23),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
def test_a_code_is_read_back_from_both_drawings(url: str, level: str) -> None:
    kind = ("QRCode", "QRCodeModel2")
    for picture in (png_picture(qr_png(url, level, 4)), svg_picture(qr_svg(url, level))):
        ((text, name),) = read(picture)
        assert text == url
        assert name in kind


def test_a_code_is_read_on_a_black_page_because_it_brings_its_own_white() -> None:
    for picture in (png_picture(qr_png(LINK, scale=4)), svg_picture(qr_svg(LINK))):
        assert [text for text, _ in read(framed(picture, 0))] == [LINK]


def test_the_decoder_sees_what_is_not_there() -> None:
    assert read([bytes([255]) * 200] * 200) == []
    broken = [
        bytes(255 - value for value in row) if 40 < y < 100 else row
        for y, row in enumerate(png_picture(qr_png(LINK, scale=4)))
    ]
    assert read(broken) == []


def test_the_quiet_zone_is_four_modules_of_white_on_every_side() -> None:
    picture = png_picture(qr_png(LINK, scale=1))
    turned = [bytes(column) for column in zip(*picture, strict=True)]
    for rows in (picture, picture[::-1], turned, turned[::-1]):
        assert all(value == 255 for row in rows[:4] for value in row)
        assert 0 in rows[4]


def test_sizes_are_those_of_full_codes_in_modules() -> None:
    assert {level: len(png_picture(qr_png(LINK, level, 1))) for level in LEVELS} == {"L": 37, "M": 37, "Q": 41, "H": 45}
    assert len(png_picture(qr_png("http://a.b", "L", 1))) == 29
    assert len(png_picture(qr_png(LINK, scale=SCALE_MAX))) == 37 * SCALE_MAX


def test_the_svg_stands_alone_and_sets_no_style_or_script() -> None:
    svg = qr_svg(LINK, scale=3)
    root = ET.fromstring(svg)
    assert root.attrib == {"width": "111", "height": "111", "class": "qr"}
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "g", "path"}
    assert not {name for element in root.iter() for name in element.attrib} & {"style", "href", "onload"}
    assert "summer26" not in svg


REFUSED: Final = {
    "an address of nothing": ({"url": ""}, "url"),
    "an app": ({"url": "shopapp://x"}, "url"),
    "a script": ({"url": "javascript:alert(1)"}, "url"),
    "a space": ({"url": "https://go.example/a b"}, "url"),
    "a line end": ({"url": "https://go.example/\n"}, "url"),
    "letters beyond ASCII": ({"url": "https://go.example/\u00fc"}, "url"),
    "one that is too long": ({"url": "https://go.example/" + "x" * URL_MAX_CHARACTERS}, "url"),
    "an unknown level": ({"level": "X"}, "level"),
    "a level in small letters": ({"level": "m"}, "level"),
    "no level": ({"level": ""}, "level"),
    "no size": ({"scale": 0}, "scale"),
    "a negative size": ({"scale": -1}, "scale"),
    "a huge size": ({"scale": SCALE_MAX + 1}, "scale"),
}


@pytest.mark.parametrize(("said", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_no_code_is_drawn_of(said: dict[str, str | int], field: str) -> None:
    for draw in (qr_svg, qr_png):
        with pytest.raises(Refusal) as refused:
            draw(**{"url": LINK, **said})  # type: ignore[arg-type]
        assert (refused.value.code, refused.value.field) == ("field_invalid", field)


MARKED: Final = {
    "an address": ("https://go.example/x", "https://go.example/x?qr=1"),
    "an address with a query": ("https://go.example/x?a=1", "https://go.example/x?a=1&qr=1"),
    "an address with an empty query": ("https://go.example/x?", "https://go.example/x?qr=1"),
    "an address with a fragment": ("https://go.example/x#f", "https://go.example/x?qr=1#f"),
    "a marked address": ("https://go.example/x?a=1&qr=1&b=2", "https://go.example/x?a=1&qr=1&b=2"),
    "an address with a parameter that begins alike": ("https://go.example/x?qr=12", "https://go.example/x?qr=12&qr=1"),
}


@pytest.mark.parametrize(("url", "marked"), MARKED.values(), ids=MARKED.keys())
def test_a_scan_is_marked_once(url: str, marked: str) -> None:
    assert scan_url(url) == marked
    assert scan_url(marked) == marked
