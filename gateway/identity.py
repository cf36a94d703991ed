"""First-party identity: signed ids, the cookies they travel in, and what is done when there is none.

What an auditor should know, in ten lines:

* An id is 128 random bits. The cookie `__Host-gwid` holds it with the day it was first issued, the day it was last
  renewed and a signature (HMAC-SHA-256, itsdangerous). Nothing in it says who the visitor is.
* A value whose signature does not fit this site is no id. Two different valid values are a conflict: neither is used.
* The cookie is HttpOnly, Secure, SameSite=Lax, set by the server, and only after consent allows it (`consent.py`).
* Keys come as a list, oldest to newest: the newest signs, all verify. Each use and each site has its own salt, so that a
  token of one kind or one site is worthless for another.
* A link token carries an id to another domain of the same owner: 120 seconds, one use, bound to the target host.
* Without consent there is no id. A site may count visitors by a keyed hash whose key dies with the day.

Everything here is pure: time, random bytes and keys are arguments.

Source: itsdangerous 2.2.0 documentation; RFC 6265bis (cookie prefixes, 400 days); ASVS 5.0 3.3, 9.1, 11.5.1.
"""

import base64
import hashlib
import hmac
import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from gateway.times import DAY_MS

__all__ = [
    "CLICK_COOKIE",
    "CONSENT_COOKIE",
    "ID_COOKIE",
    "LINK_LIFE_S",
    "LINK_PARAMETER",
    "NO_CLICK",
    "CookieShape",
    "Keys",
    "LinkClaim",
    "OwnClick",
    "Receipt",
    "Token",
    "cookie_name",
    "cookie_values",
    "daily_id",
    "expired_cookie",
    "read_clicks",
    "read_link",
    "read_own_click",
    "read_receipt",
    "read_token",
    "recognise",
    "renewal_due",
    "set_cookie",
    "sign_clicks",
    "sign_link",
    "sign_receipt",
    "sign_token",
    "truncated_address",
]

ID_COOKIE: Final = "gwid"
CONSENT_COOKIE: Final = "gwconsent"
CLICK_COOKIE: Final = "gwclick"
LINK_PARAMETER: Final = "_gwl"
LINK_LIFE_S: Final = 120
TOKEN_MAX_CHARACTERS: Final = 256
IDS_KEPT: Final = 4_096
"""Id tokens whose verification is remembered: a visitor sends the same one with every page."""
CLICKS_MAX_CHARACTERS: Final = 2_800
CLICKS_KEPT: Final = 1_024
"""Click cookies whose verification is remembered."""
VARIANTS_KEPT: Final = 8
"""Links whose variant the click cookie remembers, the newest."""


# ------------------------------------------------------------------ signing


class _CachedSigner(Signer):
    """itsdangerous' Signer with its keys derived once, and a verification that says which key it was.

    `Signer.unsign` derives every key again on every call. `opened` computes the very same signature from the derived
    keys in a third of the time; a test compares both on valid, foreign and damaged tokens.
    """

    def __init__(self, secret_keys: tuple[bytes, ...], salt: bytes) -> None:
        super().__init__(list(secret_keys), salt=salt, sep=b".", key_derivation="hmac", digest_method=hashlib.sha256)
        self._newest_first = tuple(self.derive_key(key) for key in reversed(secret_keys))

    def opened(self, token: str, limit: int) -> tuple[str, bool] | None:
        """Return the signed text and whether the newest key signed it, or None.

        Any byte an attacker can send ends in None: what is not ASCII is not a token.
        """
        if len(token) > limit or not token.isascii():
            return None
        text, separator, signature = token.rpartition(".")
        if not separator:
            return None
        signed, given = text.encode("ascii"), signature.encode("ascii")
        newest = True
        for key in self._newest_first:
            expected = base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256"))[:43]
            if hmac.compare_digest(expected, given):
                return text, newest
            newest = False
        return None


class _LinkSigner(TimestampSigner):
    """TimestampSigner whose clock is the argument of the call."""

    now_s = 0

    def get_timestamp(self) -> int:
        """Seconds since 1970, as set for this call."""
        return self.now_s


class Keys:
    """The signers of one site, made once from its key lists (oldest to newest) and kept for the life of the process.

    `site_keys` sign ids, receipts and clicks of this site; `link_keys` are shared by the sites of one installation,
    because a link token is made on one and read on another.
    """

    __slots__ = ("click", "click_said", "id", "id_said", "link_keys", "receipt")

    def __init__(self, site: str, site_keys: tuple[bytes, ...], link_keys: tuple[bytes, ...]) -> None:
        if not site_keys or not link_keys:
            raise ValueError("a key list needs at least one key")
        suffix = b"/" + site.encode("ascii")
        self.id = _CachedSigner(site_keys, b"gateway/id" + suffix)
        self.id_said = lru_cache(maxsize=IDS_KEPT)(self._id_said)
        self.receipt = _CachedSigner(site_keys, b"gateway/receipt" + suffix)
        self.click = _CachedSigner(site_keys, b"gateway/click" + suffix)
        self.click_said = lru_cache(maxsize=CLICKS_KEPT)(self._click_said)
        self.link_keys = link_keys

    def _id_said(self, token: str) -> "Token | None":
        """What an id token with a good signature says; of a token seen lately the signature is not computed again."""
        opened = self.id.opened(token, TOKEN_MAX_CHARACTERS)
        if opened is None:
            return None
        text, newest_key = opened
        parts = text.split(".")
        if len(parts) != 4 or parts[0] != "1":
            return None
        return Token(parts[1], int(parts[2]), int(parts[3]), newest_key)

    def _click_said(self, value: str) -> "_Clicks | None":
        """What a click cookie with a good signature says. Nobody changes the answer: it is kept."""
        opened = self.click.opened(value, CLICKS_MAX_CHARACTERS)
        return msgspec.json.decode(bytes.fromhex(opened[0]), type=_Clicks) if opened is not None else None


def _signed(signer: Signer, text: str) -> str:
    return signer.sign(text).decode("ascii")


# ------------------------------------------------------------------ cookies


class CookieShape(NamedTuple):
    """How this site's cookies are named and scoped. `domain` None: host-only, which a sibling host cannot set."""

    domain: str | None = None


def cookie_name(shape: CookieShape, base: str) -> str:
    """Full cookie name: `__Host-` when host-only, `__Secure-` when it has a Domain."""
    return ("__Secure-" if shape.domain else "__Host-") + base


def cookie_values(header: str, name: str) -> list[str]:
    """Return every value of the cookie `name` in a raw Cookie header, in order.

    Ready-made parsers drop the rest of a header after a value they dislike, and hide repeated names; repeated names are
    how an id is planted, so they must be seen. Names compare exactly, case included.
    """
    at = header.find(name)
    if at < 0:
        return []
    if (
        header.find(name, at + 1) < 0
        and header.startswith("=", at + len(name))
        and (not at or header[at - 1] in " \t;")
    ):
        # The usual case: it stands there once, as a name, which is so when nothing but blanks is between it and a `;`.
        before = header[:at].rstrip(" \t")
        if not before or before.endswith(";"):
            return [header[at + len(name) + 1 :].partition(";")[0].strip(" \t")]
    values: list[str] = []
    for part in header.split(";"):
        key, separator, value = part.partition("=")
        if separator and key.strip(" \t") == name:
            values.append(value.strip(" \t"))
    return values


def set_cookie(shape: CookieShape, base: str, value: str, max_age_s: int) -> str:
    """Build a Set-Cookie header value. `max_age_s` at most 34,560,000 (400 days): browsers cut longer ones silently."""
    domain = f"; Domain={shape.domain}" if shape.domain else ""
    return f"{cookie_name(shape, base)}={value}; Path=/{domain}; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax"


def expired_cookie(shape: CookieShape, base: str) -> str:
    """Build the Set-Cookie header value that deletes the cookie."""
    return set_cookie(shape, base, "", 0)


# ------------------------------------------------------------------ the id


def sign_token(keys: Keys, visitor_id: str, issued_day: int, renewed_day: int) -> str:
    """Make the signed id: version, id, day first issued, day renewed. Days count from 1970-01-01 UTC."""
    return _signed(keys.id, f"1.{visitor_id}.{issued_day}.{renewed_day}")


class Token(NamedTuple):
    """What a valid id token says. `newest_key` is False when an older key of the list signed it."""

    visitor_id: str
    issued_day: int
    renewed_day: int
    newest_key: bool


def read_token(keys: Keys, token: str, today: int, life_days: int) -> Token | None:
    """Return what a signed id says, or None when it is not one, was renewed in the future, or is past its life.

    One day ahead is let pass: two machines may stand on both sides of midnight.
    """
    said = keys.id_said(token) if len(token) <= TOKEN_MAX_CHARACTERS else None
    if said is None or said.renewed_day > today + 1 or today - said.renewed_day > life_days:
        return None
    return said


def recognise(keys: Keys, values: list[str], today: int, life_days: int) -> tuple[Token | None, str | None]:
    """Say whom the id cookies point at.

    Answers the token and a mark: `id_conflict` when two different valid ids came, `id_invalid` when values came and
    none was valid, else None. By conflict nobody is recognised: the order in which a browser sends cookies must not
    decide who somebody is.
    """
    found: Token | None = None
    for value in values[:8]:
        token = read_token(keys, value, today, life_days)
        if token is None:
            continue
        if found is not None and found.visitor_id != token.visitor_id:
            return None, "id_conflict"
        if found is None or token.renewed_day > found.renewed_day:
            found = token
    if found is None:
        return None, "id_invalid" if values else None
    return found, None


def renewal_due(token: Token, today: int) -> bool:
    """Whether the cookie should be set again: once a day, and at once when an old key signed it."""
    return token.renewed_day < today or not token.newest_key


# ------------------------------------------------------------------ consent receipt


class Receipt(NamedTuple):
    """A choice as the browser carries it. Sets as in `purposes`.

    After a refusal `decided_at_ms` is rounded down to its day and `position` is empty, so that the cookie cannot tell
    one refusing browser from another. `position` is the record's id in the consent log.
    """

    granted: int
    denied: int
    decided_at_ms: int
    notice: str
    position: str = ""


def sign_receipt(keys: Keys, receipt: Receipt) -> str:
    """Make the value of the receipt cookie."""
    at_ms, position = receipt.decided_at_ms, receipt.position
    if not receipt.granted & ~1:
        at_ms, position = at_ms - at_ms % DAY_MS, ""
    notice = receipt.notice.encode("utf-8").hex()
    return _signed(keys.receipt, f"1.{receipt.granted}.{receipt.denied}.{at_ms}.{notice}.{position}")


def read_receipt(keys: Keys, values: list[str], now_ms: int) -> Receipt | None:
    """Return the choice a browser carries, or None. Of several valid ones the newest counts; equal times add up refusals.

    A refusal counts as made at the end of its day, because its time was rounded down: it is stronger than a grant of
    the same day, which may be the older one. A choice dated more than a day ahead is none.
    """
    valid: list[Receipt] = []
    for value in values[:8]:
        opened = keys.receipt.opened(value, 512)
        parts = opened[0].split(".") if opened else []
        if len(parts) != 6 or parts[0] != "1":
            continue
        receipt = Receipt(
            int(parts[1]), int(parts[2]), int(parts[3]), bytes.fromhex(parts[4]).decode("utf-8"), parts[5]
        )
        if receipt.decided_at_ms <= now_ms + DAY_MS:
            valid.append(receipt)
    if len(valid) <= 1:
        return valid[0] if valid else None
    newest_ms = max(map(_latest_ms, valid))
    best, *others = [receipt for receipt in valid if _latest_ms(receipt) == newest_ms]
    for other in others:
        denied = best.denied | other.denied
        best = best._replace(granted=best.granted & other.granted & ~denied, denied=denied)
    return best


def _latest_ms(receipt: Receipt) -> int:
    """The latest moment at which a choice can have been made."""
    return receipt.decided_at_ms if receipt.granted & ~1 else receipt.decided_at_ms + DAY_MS - 1


# ------------------------------------------------------------------ click ids


class OwnClick(msgspec.Struct, array_like=True, frozen=True):
    """The click on a link of ours that brought this browser here: its id, the second until which it is believed, and which
    variant of which link it was given. An empty id: none is believed, only the variants are remembered."""

    click_id: str = ""
    until_s: int = 0
    variants: dict[str, str] = {}

    def given(self, link_id: str, variant_id: str) -> "OwnClick":
        """Return it with one more variant; of many links the newest are remembered."""
        kept = {link: variant for link, variant in self.variants.items() if link != link_id}
        newest = list(kept.items())[-(VARIANTS_KEPT - 1) :]
        return OwnClick(self.click_id, self.until_s, {**dict(newest), link_id: variant_id})


NO_CLICK: Final = OwnClick()


class _Clicks(msgspec.Struct, array_like=True):
    ids: dict[str, str]
    seen_at_s: int
    own: OwnClick = NO_CLICK


def sign_clicks(keys: Keys, click_ids: dict[str, str], seen_at_ms: int, own: OwnClick = NO_CLICK) -> str | None:
    """Make the value of the click cookie: platforms' click ids with the second they were first seen, and our own click.

    None when it grows too long.
    """
    packed = msgspec.json.encode(_Clicks(click_ids, seen_at_ms // 1000, own)).hex()
    value = _signed(keys.click, packed)
    return value if len(value) <= CLICKS_MAX_CHARACTERS else None


def read_clicks(keys: Keys, values: list[str], now_ms: int, life_days: int) -> tuple[dict[str, str], int] | None:
    """Return click ids and the time they were first seen (ms), or None. Two different valid values are none."""
    found: tuple[dict[str, str], int] | None = None
    for value in values[:8]:
        clicks = keys.click_said(value) if len(value) <= CLICKS_MAX_CHARACTERS else None
        if clicks is None or not clicks.ids:
            continue
        seen_at_ms = clicks.seen_at_s * 1000
        if seen_at_ms > now_ms + DAY_MS or now_ms - seen_at_ms > life_days * DAY_MS:
            continue
        if found is not None and found != (clicks.ids, seen_at_ms):
            return None
        found = (clicks.ids, seen_at_ms)
    return found


def read_own_click(keys: Keys, values: list[str], now_ms: int) -> OwnClick:
    """Return our own click as the click cookie tells it, NO_CLICK for none. Two different valid values are none.

    After its time the id is gone; variants stay while the cookie does.
    """
    found: OwnClick | None = None
    for value in values[:8]:
        clicks = keys.click_said(value) if len(value) <= CLICKS_MAX_CHARACTERS else None
        if clicks is None or clicks.own == NO_CLICK:
            continue
        if found is not None and found != clicks.own:
            return NO_CLICK
        found = clicks.own
    if found is None:
        return NO_CLICK
    return found if now_ms <= found.until_s * 1000 else OwnClick("", 0, found.variants)


# ------------------------------------------------------------------ cross-domain links


class LinkClaim(NamedTuple):
    """What a valid link token says. `digest` identifies the token, so that it can be used once."""

    visitor_id: str
    issued_day: int
    issued_at_s: int
    digest: bytes


def _link_signer(keys: Keys, now_s: int) -> _LinkSigner:
    signer = _LinkSigner(
        list(keys.link_keys), salt=b"gateway/link", sep=b".", key_derivation="hmac", digest_method=hashlib.sha256
    )
    signer.now_s = now_s
    return signer


def link_host(host: str) -> str:
    """Return the form of a host name that link tokens are bound to: lower case, without `www.`."""
    return host.lower().rstrip(".").removeprefix("www.")


def sign_link(keys: Keys, token: Token, target_host: str, now_ms: int, nonce: str) -> str:
    """Make a link token for the visitor of a valid id token and one target host. `nonce` is a fresh random id."""
    target = link_host(target_host).encode("utf-8").hex()
    text = f"1.{token.visitor_id}.{token.issued_day}.{target}.{nonce}"
    return _link_signer(keys, now_ms // 1000).sign(text).decode("ascii")


def read_link(keys: Keys, token: str, arrived_host: str, now_ms: int) -> LinkClaim | None:
    """Return what a link token says, or None: forged, older than 120 s, from the future, or for another host.

    Whether it was used before is for the caller to know: see `LinkClaim.digest`.
    """
    if len(token) > 900 or not token.isascii():
        return None
    signer = _link_signer(keys, now_ms // 1000)
    try:
        text, moment = signer.unsign(token, max_age=LINK_LIFE_S, return_timestamp=True)
    except (BadData, UnicodeDecodeError, ValueError, OverflowError):
        return None
    # itsdangerous takes several spellings of one signature; a second spelling would be a second use.
    given = token.rpartition(".")[2].encode("ascii")
    if base64_encode(base64_decode(given)) != given:
        return None
    parts = text.decode("ascii").split(".")
    if len(parts) != 5 or parts[0] != "1" or bytes.fromhex(parts[3]).decode("utf-8") != link_host(arrived_host):
        return None
    return LinkClaim(
        parts[1], int(parts[2]), int(moment.timestamp()), hashlib.sha256(token.encode("ascii")).digest()[:16]
    )


# ------------------------------------------------------------------ without a cookie


def truncated_address(address: str) -> str:
    """Cut an address to its network: /24 for IPv4, /56 for IPv6. What is no address becomes the empty text."""
    if ":" not in address:
        parts = address.split(".")
        return ".".join(parts[:3]) if len(parts) == 4 and _OCTETS.issuperset(parts) else ""
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return ""
    if parsed.ipv4_mapped is not None:
        return truncated_address(str(parsed.ipv4_mapped))
    network = int(parsed) >> 64 & ~0xFF
    return ":".join([f"{network >> shift & 0xFFFF:x}" for shift in (48, 32, 16, 0)])


_OCTETS: Final = frozenset(str(number) for number in range(256))


def daily_id(day_key: bytes, site: str, address: str, user_agent: str) -> str:
    """Keyed hash of today's key, site, truncated address and agent text: 64 bits as 16 hex digits.

    `day_key` is random, lives in memory only and is destroyed when the day ends: without it nobody, the operator
    included, can compute or check the hash again.
    """
    text = "\x1f".join((site, truncated_address(address), user_agent[:512]))
    return hmac.digest(day_key, text.encode("utf-8", "replace"), "sha256")[:8].hex()
