"""The vault: root keys, what is derived from them, sealing, and keyed digests.

One file, `keys.json`, mode 0600, holds a list of root keys for each use, oldest to newest:

* `signing`: ids, receipts, clicks, links (rotate: the newest signs, all verify);
* `sealing`: AES-256-GCM of payloads that wait (rotate: the newest seals, all open);
* `digest`: keyed digests under which the store knows visitors and persons (one key; a new one would forget everybody);
* `api`: the secrets of signed API calls.

Every key that leaves this module is derived from a root key for one use and one site. The daily key of cookieless ids is
not in the file: it lives in memory and is gone when the day or the process ends.

Source: RFC 2104 (HMAC), NIST SP 800-38D (GCM, 96-bit random nonces), RFC 7693 (keyed BLAKE2).
"""

import base64
import hashlib
import hmac
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import SettingsError

if TYPE_CHECKING:
    from gateway.entropy import Entropy

__all__ = [
    "USES",
    "KeyFile",
    "RootKey",
    "SealedUnreadable",
    "Vault",
    "new_key_file",
    "read_key_file",
    "rotate",
    "write_key_file",
]

USES: Final = ("signing", "sealing", "digest", "api")
KEY_BYTES: Final = 32
_SEAL_VERSION: Final = b"\x01"
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}\Z")


class SealedUnreadable(Exception):
    """A sealed value cannot be opened: its key is gone, or it was damaged or moved to another place."""


class RootKey(msgspec.Struct, frozen=True):
    """One root key. `secret` is 32 bytes in base64; `id` is 8 hex digits."""

    id: str
    created_at_ms: int
    secret: str

    def __repr__(self) -> str:
        return f"RootKey(id={self.id!r})"


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `keys.json`: for each use its keys, oldest to newest."""

    signing: tuple[RootKey, ...]
    sealing: tuple[RootKey, ...]
    digest: tuple[RootKey, ...]
    api: tuple[RootKey, ...]


def _new_root(now_ms: int, entropy: "Entropy") -> RootKey:
    return RootKey(
        entropy.token_bytes(4).hex(), now_ms, base64.b64encode(entropy.token_bytes(KEY_BYTES)).decode("ascii")
    )


def new_key_file(now_ms: int, entropy: "Entropy") -> KeyFile:
    """Make one fresh key for every use."""
    return KeyFile(**{use: (_new_root(now_ms, entropy),) for use in USES})


def rotate(keys: KeyFile, use: str, now_ms: int, entropy: "Entropy") -> KeyFile:
    """Append a fresh key for one use. Raises ValueError for `digest`, which must not change, and for unknown uses."""
    if use not in USES or use == "digest":
        raise ValueError(use)
    return msgspec.structs.replace(keys, **{use: (*getattr(keys, use), _new_root(now_ms, entropy))})


def drop(keys: KeyFile, use: str, key_id: str) -> KeyFile:
    """Forget an old key of one use. Raises ValueError when it is unknown or the newest."""
    ring: tuple[RootKey, ...] = getattr(keys, use) if use in USES else ()
    if key_id not in {key.id for key in ring[:-1]}:
        raise ValueError(key_id)
    return msgspec.structs.replace(keys, **{use: tuple(key for key in ring if key.id != key_id)})


def read_key_file(path: Path) -> KeyFile:
    """Read and check `keys.json`. Raises SettingsError: missing, readable by others, damaged, or a key too short."""
    try:
        mode = path.stat().st_mode
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError([f"There is no key file at {path}. Make one with: gateway init"]) from None
    except OSError as error:
        raise SettingsError([f"The key file {path} cannot be read: {type(error).__name__}"]) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError([f"The key file {path} can be read by others; set its mode to 0600"])
    try:
        keys = msgspec.json.decode(raw, type=KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SettingsError([f"The key file {path} is damaged"]) from None
    for use in USES:
        ring: tuple[RootKey, ...] = getattr(keys, use)
        if not ring:
            raise SettingsError([f"The key file {path} holds no {use} key"])
        for key in ring:
            if _KEY_ID.match(key.id) is None:
                raise SettingsError([f"The key file {path} is damaged: the id of a {use} key is not 8 hex digits"])
            try:
                secret = base64.b64decode(key.secret, validate=True)
            except ValueError:
                raise SettingsError([f"The key file {path} is damaged: {use} key {key.id} is not base64"]) from None
            if len(secret) < KEY_BYTES or len(set(secret)) < 8:
                raise SettingsError([f"The key file {path}: {use} key {key.id} is too weak; keys are 32 random bytes"])
    return keys


def write_key_file(path: Path, keys: KeyFile) -> None:
    """Write `keys.json` with mode 0600, whole or not at all."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # the mode above counts for a new file only, not for one left by a crash
        os.write(descriptor, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Vault:
    """The keys of a running gateway. Never prints them."""

    __slots__ = ("_api", "_daily", "_digest", "_entropy", "_openers", "_sealer", "_sealer_id", "_signing")

    def __init__(self, keys: KeyFile, entropy: "Entropy") -> None:
        self._entropy = entropy
        self._signing = tuple(base64.b64decode(key.secret) for key in keys.signing)
        self._api = tuple(base64.b64decode(key.secret) for key in keys.api)
        self._digest = base64.b64decode(keys.digest[-1].secret)[:64]
        self._openers = {
            bytes.fromhex(key.id): AESGCM(_derive(base64.b64decode(key.secret), "sealing", "")) for key in keys.sealing
        }
        self._sealer_id = bytes.fromhex(keys.sealing[-1].id)
        self._sealer = self._openers[self._sealer_id]
        self._daily: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return "Vault(***)"

    def signing_keys(self, use: str, site: str) -> tuple[bytes, ...]:
        """Keys for one use (`identity`, `link`, `form`, `admin`) of one site, oldest to newest. `site` may be empty."""
        return tuple(_derive(root, use, site) for root in self._signing)

    def api_secrets(self, key_id: str) -> tuple[bytes, ...]:
        """Secrets with which calls of one API key may be signed, newest first."""
        return tuple(_derive(root, "api", key_id) for root in reversed(self._api))

    def digest(self, kind: str, site: str, text: str) -> bytes:
        """Keyed 16-byte digest of an identifier. `kind` keeps digests of different things apart."""
        data = f"{kind}\x1f{site}\x1f{text}".encode("utf-8", "replace")
        return hashlib.blake2b(data, digest_size=16, key=self._digest).digest()

    def daily_key(self, day: int) -> bytes:
        """The random key of one day's cookieless ids. Keys of other days are destroyed by asking."""
        key = self._daily.get(day)
        if key is None:
            key = self._entropy.token_bytes(KEY_BYTES)
            self._daily.clear()
            self._daily[day] = key
        return key

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """Encrypt and authenticate `plain`. It can be opened only with the same `place` (what it belongs to)."""
        nonce = self._entropy.token_bytes(12)
        return _SEAL_VERSION + self._sealer_id + nonce + self._sealer.encrypt(nonce, plain, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt what `seal` made. Raises SealedUnreadable."""
        opener = self._openers.get(sealed[1:5]) if sealed[:1] == _SEAL_VERSION else None
        if opener is None:
            raise SealedUnreadable("key")
        try:
            return opener.decrypt(sealed[5:17], sealed[17:], place)
        except (InvalidTag, ValueError):  # ValueError: cut off inside the nonce
            raise SealedUnreadable("damaged") from None


def _derive(root: bytes, use: str, site: str) -> bytes:
    return hmac.digest(root, f"gateway/1/{use}/{site}".encode(), "sha256")


GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/datamanager"
GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


class ServiceAccount(msgspec.Struct, frozen=True):
    """The fields that are used of a Google service account key file."""

    client_email: str
    private_key: str
    private_key_id: str

    def __repr__(self) -> str:
        return "ServiceAccount(***)"


def google_assertion(key_json: str, now_s: int) -> str:
    """Sign the assertion with which a service account asks for an access token (RS256, one hour).

    Raises ValueError when the key file is not one. Source: RFC 7523; google-auth 2.62 (observed).
    """
    try:
        account = msgspec.json.decode(key_json, type=ServiceAccount)
        key = load_pem_private_key(account.private_key.encode("ascii"), password=None)
    except (msgspec.DecodeError, ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a service account key file") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not a service account key file")
    header: dict[str, str | int] = {"typ": "JWT", "alg": "RS256", "kid": account.private_key_id}
    claims: dict[str, str | int] = {
        "iss": account.client_email,
        "scope": GOOGLE_SCOPE,
        "aud": GOOGLE_TOKEN_URL,
        "iat": now_s,
        "exp": now_s + 3600,
    }
    signed = b".".join(base64.urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=") for part in (header, claims))
    signature = key.sign(signed, PKCS1v15(), SHA256())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode("ascii")
