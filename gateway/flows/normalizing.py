"""Normalising for people: what a platform would be sent for one value, or for a stream of them."""

import msgspec

from gateway.destinations.normalize import Context, UnknownField, meta_browser_ids, normalize
from gateway.errors import Refusal
from gateway.times import year_of

__all__ = ["normalize_line", "normalize_one"]


def normalize_one(
    platform: str, field: str, value: object, context: dict[str, object], now_ms: int
) -> dict[str, object]:
    """Answer `send`, `normalized`, `sha256`, `already_hashed`, or `drop` with a `reason`. Raises Refusal `field_unknown`."""
    if platform == "meta" and field == "fbc_fbp":
        return _browser_ids(value)
    country, code = context.get("country"), context.get("default_calling_code")
    known = Context(
        year=year_of(now_ms),
        country=str(country).lower() if country else None,
        default_calling_code=str(code) if code else None,
    )
    if not isinstance(value, str):
        raise Refusal("field_type", "input")
    try:
        made = normalize(platform, field, value, known)
    except UnknownField:
        raise Refusal("field_unknown", f"{platform}.{field}"[:80]) from None
    shown: dict[str, object] = msgspec.to_builtins(made)
    return shown


def normalize_line(line: bytes, now_ms: int) -> dict[str, object]:
    """Read one JSON object and answer for it; whatever is wrong becomes `{"error": ...}`."""
    try:
        asked = msgspec.json.decode(line, type=dict[str, object])
        context = asked.get("context") or {}
        if not isinstance(context, dict):
            raise Refusal("field_type", "context")
        return normalize_one(str(asked.get("platform")), str(asked.get("field")), asked.get("input"), context, now_ms)
    except Refusal as refusal:
        return refusal.body()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal("json_invalid").body()


class _BrowserIdsInput(msgspec.Struct):
    host: str
    now_ms: int
    random: int
    query: dict[str, str] = {}
    cookies: dict[str, str] = {}
    referer: str | None = None
    site_domains: list[str] = []


def _browser_ids(value: object) -> dict[str, object]:
    try:
        given = msgspec.convert(value, _BrowserIdsInput)
        made = meta_browser_ids(
            host=given.host,
            fbclid=given.query.get("fbclid"),
            referrer=given.referer,
            cookies=given.cookies,
            now_ms=given.now_ms,
            random_number=given.random,
            site_domains=given.site_domains,
        )
    except (msgspec.ValidationError, ValueError):
        raise Refusal("field_invalid", "input") from None
    shown: dict[str, object] = msgspec.to_builtins(made)
    return shown
