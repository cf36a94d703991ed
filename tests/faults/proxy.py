"""A TCP proxy in front of the stand-ins: the network's own ways to fail, switched while connections come and go."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal

from aiohttp.abc import ResolveResult

from gateway.sandbox.resolver import SandboxResolver

__all__ = ["Mode", "Proxy", "Unreliable", "proxied"]

Mode = Literal["pass", "mute", "refuse"]
"""`pass` on, accept and stay `mute` (half-open: not even TLS is answered), or accept and `refuse` by closing."""


class Proxy:
    """One listening port; `mode` holds for connections that are made from now on."""

    def __init__(self, target: int) -> None:
        self.mode: Mode = "pass"
        self.connections = 0
        self.port = 0
        self._target = target
        self._held: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Treat one connection as the mode says."""
        self.connections += 1
        self._held.append(writer)
        if self.mode == "refuse":
            writer.close()
            return
        if self.mode == "mute":
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._held.append(there_writer)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    def drop(self) -> None:
        """Break every connection there is."""
        while self._held:
            self._held.pop().transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """Run a proxy on loopback for the length of a block."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = int(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        proxy.drop()


class Unreliable(SandboxResolver):
    """A resolver before whose answers something else happens. `asked` has every name it was asked for."""

    def __init__(self, ports: Mapping[str, int], first: Callable[[str], Awaitable[None]] | None = None) -> None:
        super().__init__(ports)
        self.first = first
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer one name, after whatever is to happen first."""
        self.asked.append(host)
        if self.first is not None:
            await self.first(host)
        return await super().resolve(host, port, family)
