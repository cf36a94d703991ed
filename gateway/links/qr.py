"""Links as QR codes (pure).

Always full codes, never Micro QR, which phone cameras do not read reliably; always the quiet zone of 4 modules that the
standard asks for, and always on white: a code without either is not read on a dark page. The drawing sets no style, so it
may stand inside a page with a strict content policy.

A code holds the address with `qr=1`, so that scans are told apart from clicks; the redirect takes it out again.

Source: ISO/IEC 18004:2015 (quiet zone, levels); segno 1.6.6, checked with zxing-cpp.
"""

import io
import re
from typing import Final

import segno

from gateway.errors import Refusal

__all__ = ["LEVELS", "SCALE_MAX", "URL_MAX_CHARACTERS", "qr_png", "qr_svg", "scan_url"]

LEVELS: Final = ("L", "M", "Q", "H")
"""How much of a code may be lost: 7, 15, 25, 30 percent. M is for print, H when a logo covers the middle."""
SCALE_MAX: Final = 20
"""Pixels per module at most: 2,180 a side for the longest address at level H, and 50 ms of work. Print takes the SVG."""
URL_MAX_CHARACTERS: Final = 400
QUIET_ZONE: Final = 4
DARK: Final = "#000"
LIGHT: Final = "#fff"

_ADDRESS: Final = re.compile(r"https?://[!-~]+\Z", re.IGNORECASE)


def scan_url(url: str) -> str:
    """Return the address of a link marked as scanned: with `qr=1` in its query, once, before any fragment."""
    rest, hash_sign, fragment = url.partition("#")
    path, question, query = rest.partition("?")
    if "qr=1" in query.split("&"):
        return url
    return f"{path}?{query + '&' if question and query else ''}qr=1{hash_sign}{fragment}"


def qr_svg(url: str, level: str = "M", scale: int = 4) -> str:
    """Draw an address as SVG of `scale` pixels per module, for a file or inside a page.

    Refuses `field_invalid` at `url` (no http address of at most 400 characters of ASCII), `level` or `scale` (1 to 20).
    """
    out = io.BytesIO()
    _code(url, level, scale).save(
        out, kind="svg", scale=scale, border=QUIET_ZONE, dark=DARK, light=LIGHT, xmldecl=False, nl=False,
        svgclass="qr", lineclass=None,
    )  # fmt: skip
    return out.getvalue().decode("utf-8")


def qr_png(url: str, level: str = "M", scale: int = 8) -> bytes:
    """Draw an address as PNG of `scale` pixels per module. Refuses what `qr_svg` does."""
    out = io.BytesIO()
    _code(url, level, scale).save(out, kind="png", scale=scale, border=QUIET_ZONE, dark=DARK, light=LIGHT)
    return out.getvalue()


def _code(url: str, level: str, scale: int) -> segno.QRCode:
    """The code of an address; a better level is taken where it costs no module."""
    if len(url) > URL_MAX_CHARACTERS or _ADDRESS.match(url) is None:
        raise Refusal("field_invalid", "url")
    if level not in LEVELS:
        raise Refusal("field_invalid", "level", LEVELS)
    if not 1 <= scale <= SCALE_MAX:
        raise Refusal("field_invalid", "scale")
    return segno.make_qr(url, error=level)
