"""Normalising for people: what a platform would be sent for one value, or for a stream of them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.destinations.normalize import FIELDS, PLATFORM_ALIASES, Context, UnknownField, meta_browser_ids, normalize
from gateway.errors import Refusal
from gateway.times import year_of

__all__ = ["OUR_NAMES", "no_rule", "normalize_line", "normalize_one"]

OUR_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "meta": {
        "email": "em",
        "phone": "ph",
        "first_name": "fn",
        "last_name": "ln",
        "gender": "ge",
        "date_of_birth": "db",
        "city": "ct",
        "region": "st",
        "postal_code": "zp",
    },
    "google": {
        "email": "email_address",
        "phone": "phone_number",
        "first_name": "given_name",
        "last_name": "family_name",
        "country": "region_code",
    },
    "ga4_mp": {
        "email": "sha256_email_address",
        "phone": "sha256_phone_number",
        "first_name": "sha256_first_name",
        "last_name": "sha256_last_name",
        "street": "sha256_street",
        "city": "mp_city",
        "region": "mp_region",
        "postal_code": "mp_postal_code",
        "country": "mp_country",
    },
}
"""Platform to the gateway's own name of a person's field to the platform's, where the two differ."""


def normalize_one(
    platform: str, field: str, value: object, context: dict[str, object], now_ms: int
) -> dict[str, object]:
    """Answer `send`, `normalized`, `sha256`, `already_hashed`, or `drop` with a `reason`.

    `field` is a name of the platform or of OUR_NAMES. Raises Refusal `field_unknown`, `field_type`, `field_invalid`.
    """
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
    asked, platform = platform, PLATFORM_ALIASES.get(platform, platform)
    try:
        made = normalize(platform, OUR_NAMES.get(platform, {}).get(field, field), value, known)
    except UnknownField:
        raise Refusal("field_unknown", f"{asked}.{field}"[:80]) from None
    shown: dict[str, object] = msgspec.to_builtins(made)
    return shown


def no_rule(platform: str, field: str) -> str:
    """Say what is known in place of a platform or field without a rule."""
    asked, platform = platform, PLATFORM_ALIASES.get(platform, platform)
    if platform not in FIELDS:
        return f"no rules for platform {asked}; there are: {', '.join([*FIELDS, *PLATFORM_ALIASES])}"
    own = ", ".join(OUR_NAMES[platform])
    return f"no rule for {asked}.{field}; {asked} has: {', '.join(FIELDS[platform])}; also taken: {own}"


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
