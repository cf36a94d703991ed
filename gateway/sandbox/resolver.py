"""Real host names, loopback addresses: how the production client reaches the stand-ins without knowing it.

The client asks for `https://graph.facebook.com/...`, checks the certificate for that name and sends that `Host`; only
the answer to "which address?" is ours, and it carries the port as well, which aiohttp's connector uses.
"""

import socket
from collections.abc import Mapping
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["LOOPBACK", "SandboxResolver"]

LOOPBACK: Final = "127.0.0.1"


class SandboxResolver(AbstractResolver):
    """Answers the given host names with (127.0.0.1, port) and fails for every other name, as unknown names do."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = {host.lower(): port for host, port in ports.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer one name. Raises OSError when no stand-in plays it."""
        found = self._ports.get(host.lower())
        if found is None:
            raise OSError(f"no stand-in plays {host}")
        return [
            ResolveResult(
                hostname=host,
                host=LOOPBACK,
                port=found,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""
