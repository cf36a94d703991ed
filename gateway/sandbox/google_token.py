"""Google's token endpoint, played strictly: `POST https://oauth2.googleapis.com/token`, form-encoded.

Two flows. A **service account** signs a JWT (RS256) with a registered key: `kid`, `iss`, `scope`, `aud`, `iat` and
`exp` are checked and the signature verified. A **refresh token** is exchanged with its client's id and secret. The
access tokens handed out are the only ones the Data Manager stand-in lets in, until they expire.

Bodies of this endpoint are never kept: they are credentials. Not documented, so the stand-in's own choice: `iat` may be
up to 60 s ahead and up to an hour old; other claims are not looked at; the `error_description` texts.

Source: Google identity, "Using OAuth 2.0 for server to server applications"; PyPI google-auth 2.62.2;
developers.google.com/data-manager/api/devguides, access set-up pages (2026-09).
"""

import base64
import binascii
import hmac
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call, json_answer
from gateway.sandbox.checks import Problem, parse_json
from gateway.sandbox.config import TOKEN_URI, GoogleConfig
from gateway.sandbox.stand_in import StandIn
from gateway.times import HOUR_MS, MINUTE_MS

__all__ = ["GoogleToken", "Grant"]

_LIFETIME_S: Final = 3599
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Grant(msgspec.Struct, frozen=True):
    """What an access token stands for: who, what for, and until when."""

    principal: str
    scopes: frozenset[str]
    expires_at_ms: int


class _Denied(Exception):
    """The request for a token is refused with an OAuth error code."""

    def __init__(self, error: str, why: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.why = why
        self.status = status


class GoogleToken(StandIn):
    """The stand-in for oauth2.googleapis.com."""

    def __init__(self, config: GoogleConfig, clock: Clock, entropy: Entropy) -> None:
        super().__init__(clock, entropy)
        self._config = config
        self._grants: dict[str, Grant] = {}

    def hosts(self) -> tuple[str, ...]:
        """The host of the token endpoint."""
        return ("oauth2.googleapis.com",)

    def shown_body(self, call: Call) -> bytes:
        """Names of the form fields and the grant type, no values."""
        shown = (f"{name}={value if name == 'grant_type' else '***'}" for name, value in _form(call.body))
        return "&".join(shown).encode()

    def answer(self, call: Call) -> Answer:
        """Hand out an access token, or refuse with an OAuth error."""
        try:
            grant = self._grant(call)
        except _Denied as denied:
            self.ledger.refuse(call, denied.status, [Problem("", denied.error, denied.why)])
            return json_answer(denied.status, {"error": denied.error, "error_description": denied.why})
        token = "ya29." + base64.urlsafe_b64encode(self.entropy.token_bytes(48)).decode("ascii")
        self._grants[token] = grant
        answer: dict[str, object] = {"access_token": token, "expires_in": _LIFETIME_S, "token_type": "Bearer"}
        return json_answer(200, answer, {"Cache-Control": "no-store"})

    def look_up(self, token: str) -> Grant | None:
        """What an access token stands for, expired or not; None when it was never handed out or has been revoked."""
        return self._grants.get(token)

    def revoke_all(self) -> None:
        """Make every access token handed out so far invalid."""
        self._grants.clear()

    def _grant(self, call: Call) -> Grant:
        if call.path != "/token" or call.query:
            raise _Denied("invalid_request", "no such path", 404)
        if call.method != "POST":
            raise _Denied("invalid_request", "must be POST", 405)
        if call.content_type() != "application/x-www-form-urlencoded":
            raise _Denied("invalid_request", "must be form-encoded")
        pairs = _form(call.body)
        form = dict(pairs)
        if len(form) != len(pairs):
            raise _Denied("invalid_request", "a field is given twice")
        match form.get("grant_type"):
            case "refresh_token":
                principal, scopes = self._refresh(form)
            case kind if kind == _JWT_BEARER:
                principal, scopes = self._service_account(form.get("assertion", ""), call.at_ms)
            case None:
                raise _Denied("invalid_request", "Missing required parameter: grant_type")
            case _:
                raise _Denied("unsupported_grant_type", "Invalid grant_type")
        return Grant(principal, scopes, call.at_ms + _LIFETIME_S * 1000)

    def _refresh(self, form: dict[str, str]) -> tuple[str, frozenset[str]]:
        client = next((one for one in self._config.clients if one.client_id == form.get("client_id")), None)
        if client is None:
            raise _Denied("invalid_client", "The OAuth client was not found.", 401)
        if not hmac.compare_digest(client.client_secret.encode(), form.get("client_secret", "").encode()):
            raise _Denied("invalid_client", "Unauthorized", 401)
        user = next((one for one in self._config.users if one.refresh_token == form.get("refresh_token")), None)
        if user is None:
            raise _Denied("invalid_grant", "Token has been expired or revoked.")
        if user.client_id != client.client_id:
            raise _Denied("unauthorized_client", "Unauthorized", 401)
        return user.email, frozenset(user.scopes)

    def _service_account(self, assertion: str, now_ms: int) -> tuple[str, frozenset[str]]:
        parts = assertion.split(".")
        if len(parts) != 3:
            raise _Denied("invalid_grant", "Invalid JWT: it needs three parts.")
        header, claims = _jwt_part(parts[0]), _jwt_part(parts[1])
        account = next((one for one in self._config.service_accounts if one.client_email == claims.get("iss")), None)
        if account is None:
            raise _Denied("invalid_grant", "Invalid grant: account not found")
        public_pem = account.public_keys.get(str(header.get("kid")))
        signed = f"{parts[0]}.{parts[1]}".encode()
        if header.get("alg") != "RS256" or header.get("typ") != "JWT" or public_pem is None:
            raise _Denied("invalid_grant", "Invalid JWT Signature.")
        if not _signature_holds(public_pem, _base64url(parts[2]), signed):
            raise _Denied("invalid_grant", "Invalid JWT Signature.")
        if claims.get("aud") != TOKEN_URI:
            raise _Denied("invalid_grant", "Invalid JWT: Failed audience check.")
        _check_times(claims, now_ms)
        scope = claims.get("scope")
        if not isinstance(scope, str) or not scope.split():
            raise _Denied("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return account.client_email, frozenset(scope.split())


def _check_times(claims: dict[str, object], now_ms: int) -> None:
    """`iat` and `exp` are integer seconds, at most an hour apart, around now."""
    issued, expires = claims.get("iat"), claims.get("exp")
    reasonable = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    if type(issued) is not int or type(expires) is not int:
        raise _Denied("invalid_grant", reasonable)
    if not 0 < expires - issued <= HOUR_MS // 1000:
        raise _Denied("invalid_grant", reasonable)
    if expires * 1000 <= now_ms or issued * 1000 > now_ms + MINUTE_MS:
        raise _Denied("invalid_grant", reasonable)


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def _jwt_part(part: str) -> dict[str, object]:
    try:
        value = parse_json(_base64url(part))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _Denied("invalid_grant", "Invalid JWT: a part is not a JSON object.")
    return value


def _base64url(part: str) -> bytes:
    if "=" in part or "+" in part or "/" in part:
        raise _Denied("invalid_grant", "Invalid JWT: it must be base64url without padding.")
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _Denied("invalid_grant", "Invalid JWT: it must be base64url without padding.") from error


def _signature_holds(public_pem: str, signature: bytes, signed: bytes) -> bool:
    key = load_pem_public_key(public_pem.encode("ascii"))
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
