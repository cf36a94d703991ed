"""All stand-ins together, behind one TLS port of loopback.

    async with StandIns(default_config()) as stand_ins:
        resolver, trust = network_from(stand_ins.connect_info())
        ...                                                    # the gateway, given this resolver and this trust
        assert stand_ins.meta.ledger.double_effects() == {}

In another process: `python -m gateway.sandbox.stand_ins --config FILE.json --info OUT.json` runs until SIGTERM; the
info file appears, whole, when all ports answer, and holds what `network_from` and `control.Control` need.

The ports bind to 127.0.0.1 only. A handshake without a known server name is refused.
"""

import argparse
import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
from aiohttp import web

from gateway.clock import Clock, SystemClock
from gateway.entropy import Entropy, SystemEntropy
from gateway.sandbox.authority import Authority, client_context
from gateway.sandbox.config import SandboxConfig
from gateway.sandbox.control import control_app
from gateway.sandbox.ga4 import Ga4
from gateway.sandbox.google_ads import GoogleAds
from gateway.sandbox.google_token import GoogleToken
from gateway.sandbox.meta import Meta
from gateway.sandbox.resolver import LOOPBACK, SandboxResolver
from gateway.sandbox.server import vendor_app
from gateway.sandbox.stand_in import StandIn
from gateway.sandbox.webhook import Webhook

__all__ = ["ConnectInfo", "StandIns", "main", "network_from"]

_SHUTDOWN_S: Final = 0.5


class ConnectInfo(msgspec.Struct, frozen=True):
    """What is needed to reach the stand-ins: whom to trust, host name to port, and the address of the control port."""

    ca_pem: str
    hosts: dict[str, int]
    control: str


class StandIns:
    """Every platform the gateway sends to. Start it with `async with`.

    `clock` is the vendors' time; certificates are made for the machine's own time in any case. `ports` are ephemeral
    unless given. An `authority` may be handed in, so that a restarted server is still trusted. A negative
    `certificate_ms` presents an expired certificate.
    """

    def __init__(
        self,
        config: SandboxConfig,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        port: int = 0,
        control_port: int = 0,
        authority: Authority | None = None,
        certificate_ms: int | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        source = entropy or SystemEntropy()
        self.meta = Meta(config.meta, self.clock, source)
        self.ga4 = Ga4(config.ga4, self.clock, source)
        self.google_token = GoogleToken(config.google, self.clock, source)
        self.google_ads = GoogleAds(config.google, self.google_token, self.clock, source)
        self.webhook = Webhook(config.webhook, self.clock, source)
        self._by_host = {host: one for one in self.by_name().values() for host in one.hosts()}
        self._made_ms = SystemClock().now_ms()
        self._authority = authority or Authority(now_ms=self._made_ms, entropy=SystemEntropy())
        self._certificate_ms = certificate_ms
        self._ports = (port, control_port)
        self._runners: list[web.AppRunner] = []

    def by_name(self) -> dict[str, StandIn]:
        """The stand-ins under the names the control port uses."""
        return {
            "meta": self.meta,
            "ga4": self.ga4,
            "google_ads": self.google_ads,
            "google_token": self.google_token,
            "webhook": self.webhook,
        }

    async def start(self) -> None:
        """Open both ports. Raises OSError when a given port is taken."""
        port, control_port = self._ports
        vendors = await self._listen(vendor_app(self._by_host, self.clock), port, self._tls())
        control = await self._listen(control_app(self.by_name()), control_port, None)
        self._ports = (vendors, control)

    async def stop(self) -> None:
        """Close both ports and every connection; what hangs is not waited for."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    def connect_info(self) -> dict[str, object]:
        """What `network_from` and `control.Control` need, JSON-able: `ca_pem`, `hosts`, `control`."""
        port, control_port = self._ports
        hosts = dict.fromkeys(self._by_host, port)
        return {"ca_pem": self._authority.ca_pem(), "hosts": hosts, "control": f"http://{LOOPBACK}:{control_port}"}

    def everything_text(self) -> str:
        """Everything any stand-in received, secrets apart: what a canary test searches."""
        return "\n\n".join(one.ledger.everything_text() for one in self.by_name().values())

    def clear(self) -> None:
        """Forget all that happened, and behave again."""
        for one in self.by_name().values():
            one.clear()

    async def _listen(self, app: web.Application, port: int, tls: ssl.SSLContext | None) -> int:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, LOOPBACK, port, ssl_context=tls).start()
        return int(runner.addresses[0][1])

    def _tls(self) -> ssl.SSLContext:
        hosts = sorted(self._by_host)
        if self._certificate_ms is None:
            context = self._authority.server_context(hosts, now_ms=self._made_ms)
        else:
            context = self._authority.server_context(hosts, now_ms=self._made_ms, lifetime_ms=self._certificate_ms)

        def greet(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            stand_in = self._by_host.get(name or "")
            if stand_in is None:
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if stand_in.faults.handshake_refused() else None

        context.sni_callback = greet
        return context


def network_from(info: Mapping[str, object]) -> tuple[SandboxResolver, ssl.SSLContext]:
    """What the gateway's client is given instead of the real network: a resolver, and a trust in our authority only.

    `info` is what `connect_info` answered, or the content of the info file; else msgspec.ValidationError is raised.
    """
    known = msgspec.convert(info, ConnectInfo)
    return SandboxResolver(known.hosts), client_context(known.ca_pem)


async def _run(config: SandboxConfig, info: Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with StandIns(config) as stand_ins:
        unfinished = info.with_name(info.name + ".part")
        unfinished.write_bytes(msgspec.json.encode(stand_ins.connect_info()))
        os.replace(unfinished, info)
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stand-ins until SIGTERM. Exit code 0, or 2 when the configuration cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.sandbox.stand_ins", description="Run the ad platforms' stand-ins."
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="JSON file, shape of gateway.sandbox.config.SandboxConfig"
    )
    parser.add_argument("--info", type=Path, required=True, help="where to write how to connect, once ready")
    given = parser.parse_args(arguments)
    try:
        config = msgspec.json.decode(given.config.read_bytes(), type=SandboxConfig)
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"the configuration cannot be read: {error}")
    asyncio.run(_run(config, given.info))
    return 0


if __name__ == "__main__":
    sys.exit(main())
