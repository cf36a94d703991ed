"""Outbound: the only socket that leaves. Sends a `Call` exactly once and brings back an `Answer`.

It never chooses where to: hosts that no destination names are refused, and so are addresses inside private networks, by
the same look-up whose answer is then connected to, so that a name cannot point elsewhere a moment later. Redirects are
not followed, proxies of the environment are not used, answers are cut at 64 KiB. Credentials are added here and nowhere
else, and the resulting address is never logged.

Source: OWASP ASVS 5.0 13.2.4, 15.3.2; Standard Webhooks 1.0.0 (signature, SSRF); RFC 6890 (special-purpose addresses).
"""

import asyncio
import base64
import binascii
import hmac
import io
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.errors import OutboundRefused
from gateway.exchange import Answer, Call

__all__ = [
    "ANSWER_MAX_BYTES",
    "GuardedResolver",
    "Network",
    "Outbound",
    "is_public",
    "webhook_keys",
    "webhook_signature",
]

ANSWER_MAX_BYTES: Final = 65_536
CONNECT_TIMEOUT_S: Final = 10.0
_KEPT_HEADERS: Final = frozenset({"retry-after", "content-type", "x-fb-trace-id", "x-app-usage"})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All IPv6 that is given out. `is_global` also says yes to site-local, IPv4-compatible and translated (RFC 8215) ones."""


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet. IPv4 hidden inside IPv6 counts as what it hides."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        hidden = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if parsed in _NAT64:
            hidden = ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if hidden is not None:
            return hidden.is_global and not hidden.is_multicast
        return parsed.is_global and parsed in _GLOBAL_UNICAST
    return parsed.is_global and not parsed.is_multicast


class GuardedResolver(AbstractResolver):
    """Looks a name up once and keeps only public addresses; the connection is made to one of those."""

    def __init__(self, base: AbstractResolver | None = None) -> None:
        self._base = base or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve. Raises OSError when no public address is left."""
        found = [result for result in await self._base.resolve(host, port, family) if is_public(result["host"])]
        if not found:
            raise OSError(None, "no public address")
        return found

    async def close(self) -> None:
        """Close the resolver underneath."""
        await self._base.close()


class Network:
    """How the outside is reached. Service uses the default; demo and tests inject a resolver and a test authority."""

    __slots__ = ("resolver", "tls")

    def __init__(self, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.resolver = resolver
        self.tls = tls


def webhook_keys(secret: str) -> list[bytes]:
    """Read signing secrets: `whsec_` and base64, several separated by spaces. Raises ValueError when one is not 24 to 64 bytes."""
    keys = []
    for part in secret.split():
        try:
            key = base64.b64decode(part.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("a signing secret is whsec_ and base64") from None
        if not 24 <= len(key) <= 64:
            raise ValueError("a signing secret holds 24 to 64 random bytes")
        keys.append(key)
    if not keys:
        raise ValueError("a signing secret is needed")
    return keys


def webhook_signature(keys: list[bytes], message_id: str, at_s: int, body: bytes) -> str:
    """Value of `webhook-signature`: one `v1` entry for each key."""
    signed = f"{message_id}.{at_s}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii") for key in keys)


class Outbound:
    """A client for the hosts it was told about."""

    def __init__(self, network: Network, hosts: frozenset[str], ports: frozenset[int] = frozenset({443})) -> None:
        self._network = network
        self._hosts = hosts
        self._ports = ports
        self._admitted: dict[str, frozenset[str]] = {}
        self._session: aiohttp.ClientSession | None = None

    def admit(self, owner: str, hosts: frozenset[str]) -> None:
        """Let requests go to hosts that somebody names while the gateway runs, in place of those they named before."""
        if hosts:
            self._admitted[owner] = hosts
        else:
            self._admitted.pop(owner, None)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._network.resolver or GuardedResolver(),
                ssl=self._network.tls if self._network.tls is not None else True,
                limit=100,
                limit_per_host=32,
                ttl_dns_cache=60,
                enable_cleanup_closed=False,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                raise_for_status=False,
                headers={"User-Agent": "tagging-gateway", "Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def check(self, url: str) -> None:
        """Raise OutboundRefused when an address may not be connected to: at save, and again at every send."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise OutboundRefused("malformed") from None
        host = parts.hostname
        if parts.scheme != "https":
            raise OutboundRefused("not_https")
        if parts.username or parts.password or "\\" in url or not host:
            raise OutboundRefused("malformed")
        try:
            port = 443 if parts.port is None else parts.port
        except ValueError:
            raise OutboundRefused("malformed") from None
        if host not in self._hosts and not any(host in hosts for hosts in self._admitted.values()):
            raise OutboundRefused("host_unknown")
        if port not in self._ports:
            raise OutboundRefused("port")
        if ":" in host or host.replace(".", "").isdigit() or host.endswith(".") or host == "localhost":
            raise OutboundRefused("address_literal")

    async def send(self, call: Call, secrets: Mapping[str, str], *, now_s: int) -> Answer:
        """Send once. Never raises for anything the other side does; raises OutboundRefused for where it was to go.

        `secrets` holds the values of the call's credentials by option name. `now_s` dates webhook signatures.
        """
        self.check(call.url)
        url, headers, sent = _with_credentials(call, secrets, now_s)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        # `connect` covers look-up, connection and handshake, and ends before `total`: so a vendor that was never reached is
        # told from one that may have taken the request.
        timeout = aiohttp.ClientTimeout(total=call.timeout_s, connect=min(CONNECT_TIMEOUT_S, call.timeout_s / 2))
        answer = Answer(status=None, failure="unreachable", sent=False)
        try:
            async with self._open().request(
                call.method, url, data=_streamed(sent), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                body = await _read(response.content)
                kept = {
                    name.title(): value[:200]
                    for name, value in response.headers.items()
                    if name.lower() in _KEPT_HEADERS
                }
                answer = Answer(status=response.status, headers=kept, body=body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            answer = Answer(status=None, failure="unreachable", sent=False)
        except TimeoutError:
            answer = Answer(status=None, failure="timeout", sent=True)
        except (aiohttp.ClientError, ConnectionError, OSError):
            answer = Answer(status=None, failure="reset", sent=True)
        return _timed(answer, int((loop.time() - begun_s) * 1000))


def _streamed(body: bytes) -> bytes | io.BytesIO:
    """A body of more than a megabyte is sent in parts: as one piece it would hold up the event loop."""
    return body if len(body) < 1_000_000 else io.BytesIO(body)


def _timed(answer: Answer, latency_ms: int) -> Answer:
    return Answer(
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
        failure=answer.failure,
        sent=answer.sent,
        latency_ms=latency_ms,
    )


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read an answer's body up to the limit; what is longer is cut, and the connection is not used again."""
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > ANSWER_MAX_BYTES:
            return body[:ANSWER_MAX_BYTES]
    return body


def _with_credentials(call: Call, secrets: Mapping[str, str], now_s: int) -> tuple[str, dict[str, str], bytes]:
    url, headers, body = call.url, dict(call.headers), call.body
    for credential in call.credentials:
        secret = secrets[credential.secret]
        if credential.place == "query":
            url += ("&" if "?" in url else "?") + f"{credential.name}={quote(secret, safe='')}"
        elif credential.place == "form":
            body += (b"&" if body else b"") + f"{credential.name}={quote(secret, safe='')}".encode("ascii")
        elif credential.place in {"bearer", "google"}:
            headers[credential.name] = f"Bearer {secret}"
        elif credential.place == "webhook":
            headers["webhook-timestamp"] = str(now_s)
            keys = webhook_keys(secret)
            headers[credential.name] = webhook_signature(keys, headers["webhook-id"], now_s, call.body)
        else:
            headers[credential.name] = secret
    return url, headers, body
