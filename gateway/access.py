"""Access: API keys, signed calls, browser origins and forms, as pure rules.

An API key reads `gwk_<8 characters>_<43 characters>`: a public part to find it by and a secret part of 256 random bits,
of which the store keeps the SHA-256 only. A key is for named sites and named rights.

A call may be signed on top, and a key can demand it. The signature covers time, a nonce, method, path and the exact body
bytes; it is good for 300 seconds either way, and a nonce is taken once.

    X-Gateway-Signature: t=<unix seconds>,n=<nonce>,v1=<hex HMAC-SHA-256 of "t.n.METHOD.path." + body>

A form of a page of ours carries a token: signed for one site and one use, bound to the browser it was given to, good for
two hours. Who cannot read the page has none, and a token of one browser or site is worthless in another.

Source: OWASP ASVS 5.0 sections 3.5.1, 4.1.5 and 11.2.4; RFC 6454 (Origin); itsdangerous 2.2.0 documentation.
"""

import base64
import hashlib
import hmac
import re
from typing import Final, NamedTuple

from itsdangerous import BadData, TimestampSigner

from gateway.caller import ApiKey
from gateway.ids import is_caller_id

__all__ = [
    "FORM_LIFE_S",
    "SIGNATURE_WINDOW_S",
    "NewKey",
    "Signature",
    "allowed_domain",
    "find_key",
    "make_key",
    "origin_host",
    "read_bearer",
    "read_form",
    "read_signature",
    "sign_form",
    "signing_secret",
    "verify_signature",
]

SIGNATURE_WINDOW_S: Final = 300
FORM_LIFE_S: Final = 7_200
_KEY: Final = re.compile(r"gwk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})\Z")
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),n=([A-Za-z0-9._:-]{8,64}),v1=([0-9a-f]{64})\Z")
_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]{1,253}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z")
_BASE36: Final = "abcdefghijklmnopqrstuvwxyz234567"


class NewKey(NamedTuple):
    """A key just made: the text to hand out, shown once, and the row to store."""

    text: str
    row: ApiKey


class Signature(NamedTuple):
    """The parts of a signature header."""

    at_s: int
    nonce: str
    digest: str


def make_key(
    random_bytes: bytes, *, title: str, sites: tuple[str, ...], rights: tuple[str, ...], must_sign: bool, now_ms: int
) -> NewKey:
    """Make an API key from 40 random bytes."""
    if len(random_bytes) != 40:
        raise ValueError("a key takes exactly 40 random bytes")
    key_id = "".join(_BASE36[byte % 32] for byte in random_bytes[:8])
    secret = base64.urlsafe_b64encode(random_bytes[8:])[:43].decode("ascii")
    row = ApiKey(
        id=key_id,
        secret_sha256=hashlib.sha256(secret.encode("ascii")).digest(),
        title=title,
        sites=sites,
        rights=rights,
        must_sign=must_sign,
        created_at_ms=now_ms,
    )
    return NewKey(f"gwk_{key_id}_{secret}", row)


def read_bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer` header."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def find_key(token: str, keys: dict[str, ApiKey]) -> ApiKey | None:
    """Return the key a token belongs to, or None. Unknown and wrong keys cost the same work."""
    found = _KEY.match(token)
    key_id, secret = (found.group(1), found.group(2)) if found else ("", "")
    row = keys.get(key_id)
    expected = row.secret_sha256 if row is not None else bytes(32)
    same = hmac.compare_digest(hashlib.sha256(secret.encode("ascii")).digest(), expected)
    return row if row is not None and same and row.revoked_at_ms is None else None


def signing_secret(root: bytes) -> str:
    """Write the secret an API key signs with as its holder gets it."""
    return "gws_" + base64.urlsafe_b64encode(root)[:43].decode("ascii")


def read_signature(header: str | None) -> Signature | None:
    """Split a signature header, or None when it is not one. Upper-case digits are refused: there is one spelling."""
    found = _SIGNATURE.match(header) if header is not None else None
    if found is None or not is_caller_id(found.group(2)):
        return None
    return Signature(int(found.group(1)), found.group(2), found.group(3))


def verify_signature(
    signature: Signature, roots: tuple[bytes, ...], *, method: str, path: str, body: bytes, now_ms: int
) -> bool:
    """Whether a signature is right and fresh. `roots` are the secrets of the key, newest first."""
    signed = f"{signature.at_s}.{signature.nonce}.{method}.{path}.".encode("utf-8", "replace") + body
    right = False
    for root in roots:
        expected = hmac.digest(signing_secret(root).encode("ascii"), signed, "sha256").hex()
        right |= hmac.compare_digest(expected, signature.digest)
    return right and abs(now_ms // 1000 - signature.at_s) <= SIGNATURE_WINDOW_S


def origin_host(origin: str) -> str | None:
    """Return the host of an Origin header or of a page address, in lower case; None for `null` and anything else.

    It must be ASCII before it is lowered: the Kelvin sign becomes a k, and another domain would become ours.
    """
    scheme, separator, rest = origin.partition("://")
    front = f"{scheme}{separator}{rest.partition('/')[0]}"
    found = _ORIGIN.match(front.lower()) if front.isascii() else None
    return found.group(1).removesuffix(".") if found else None


def allowed_domain(host: str | None, domains: tuple[str, ...]) -> bool:
    """Whether a host is one of the domains or a subdomain of one. Case does not matter; parents do not count."""
    if host is None:
        return False
    host = host.lower()
    return any(host == domain or host.endswith("." + domain) for domain in domains)


# ------------------------------------------------------------------ forms


class _FormSigner(TimestampSigner):
    """TimestampSigner whose clock is the argument of the call."""

    now_s = 0

    def get_timestamp(self) -> int:
        """Seconds since 1970, as set for this call."""
        return self.now_s


def _form_signer(keys: tuple[bytes, ...], site: str, now_ms: int) -> _FormSigner:
    salt = b"gateway/form/" + site.encode("ascii")
    signer = _FormSigner(list(keys), salt=salt, sep=b".", key_derivation="hmac", digest_method=hashlib.sha256)
    signer.now_s = now_ms // 1000
    return signer


def _form_text(says: str, browser: str, visitor: str) -> str:
    """What is signed. It stands in pages, so it holds a digest of whom it is bound to, not the ids themselves."""
    bound = hashlib.sha256(f"{browser}\x1f{visitor}".encode()).hexdigest()[:32]
    return f"1.{says}.{bound}"


def sign_form(keys: tuple[bytes, ...], site: str, says: str, *, browser: str, visitor: str, now_ms: int) -> str:
    """Make a token. `says` is a word of ours: what it is for. `browser` is random and lives in the browser's cookie;
    `visitor` is the first-party id, empty when there is none. `keys` are oldest to newest."""
    return _form_signer(keys, site, now_ms).sign(_form_text(says, browser, visitor)).decode("ascii")


def read_form(keys: tuple[bytes, ...], site: str, token: str, *, browser: str, visitor: str, now_ms: int) -> str | None:
    """Return the word a token says, or None: forged, older than FORM_LIFE_S, from the future, another browser's or site's."""
    if len(token) > 300 or not token.isascii() or not browser:
        return None
    try:
        text = _form_signer(keys, site, now_ms).unsign(token, max_age=FORM_LIFE_S).decode("ascii")
    except (BadData, UnicodeDecodeError, ValueError, OverflowError):
        return None
    says = text.split(".")[1] if text.count(".") == 2 else ""
    return says if hmac.compare_digest(text, _form_text(says, browser, visitor)) else None
