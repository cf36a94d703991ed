"""Tokens: short-lived access tokens, asked for when needed and kept in memory until five minutes before they end."""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import OutboundRefused
from gateway.exchange import Call, Credential, Verdict, retry_after_ms
from gateway.outcome import VerdictKind
from gateway.times import MINUTE_MS
from gateway.vault import GOOGLE_TOKEN_URL, google_assertion

if TYPE_CHECKING:
    from gateway.flows.deliver import Lane
    from gateway.flows.house import House, Placed

__all__ = ["TokenRefused", "access_token"]

_KEEP_UNTIL_BEFORE_END_MS: Final = 5 * MINUTE_MS
_TIMEOUT_S: Final = 20.0
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class TokenRefused(Exception):
    """No access token could be had. `verdict` says who must act."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: int


class _Denied(msgspec.Struct):
    error: str


async def access_token(house: "House", placed: "Placed", lane: "Lane", *, fresh: bool) -> str:
    """Return an access token for Google, a new one if `fresh`. Raises TokenRefused."""
    now_ms = house.clock.now_ms()
    if lane.token is not None and not fresh and now_ms < lane.token_until_ms:
        return lane.token
    secrets = dict(placed.secrets)
    if "service_account" in secrets:
        try:
            secrets["assertion"] = google_assertion(secrets["service_account"], now_ms // 1000)
        except ValueError:
            raise TokenRefused(_verdict(VerdictKind.CREDENTIALS, "service_account_unreadable")) from None
        body = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
        credentials: tuple[Credential, ...] = (Credential("form", "assertion", "assertion"),)
    else:
        secrets["client_id"] = str(placed.options["client_id"])
        body = b"grant_type=refresh_token"
        credentials = (
            Credential("form", "client_id", "client_id"),
            Credential("form", "client_secret", "client_secret"),
            Credential("form", "refresh_token", "refresh_token"),
        )
    timeout_s = min(_TIMEOUT_S, placed.definition.timeout_s)
    call = Call(
        method="POST", url=GOOGLE_TOKEN_URL, headers=_FORM, body=body, timeout_s=timeout_s, credentials=credentials
    )
    try:
        answer = await house.outbound.send(call, secrets, now_s=now_ms // 1000)
    except OutboundRefused as refused:
        raise TokenRefused(_verdict(VerdictKind.CONFIGURATION, refused.reason)) from None
    if answer.status == 200:
        try:
            granted = msgspec.json.decode(answer.body, type=_Granted)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise TokenRefused(_verdict(VerdictKind.RETRY, "token_answer_unreadable")) from None
        lane.token = granted.access_token
        lane.token_until_ms = now_ms + granted.expires_in * 1000 - _KEEP_UNTIL_BEFORE_END_MS
        return lane.token
    if answer.status is None or answer.status >= 500 or answer.status == 429:
        wait_ms = retry_after_ms(answer.headers.get("Retry-After"), now_ms)
        code = answer.failure or str(answer.status)
        raise TokenRefused(Verdict(kind=VerdictKind.RETRY, reason="vendor_unavailable", code=code, wait_ms=wait_ms))
    try:
        code = msgspec.json.decode(answer.body, type=_Denied).error[:60]
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = str(answer.status)
    raise TokenRefused(_verdict(VerdictKind.CREDENTIALS, code))


def _verdict(kind: VerdictKind, code: str) -> Verdict:
    reason = {VerdictKind.CREDENTIALS: "credentials_refused", VerdictKind.CONFIGURATION: "configuration_refused"}
    return Verdict(kind=kind, reason=reason.get(kind, "vendor_unavailable"), code=code)
