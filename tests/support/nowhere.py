"""A network on which no name is known: what is owed stays where it can be looked at, and no test asks a real server."""

import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.outbound import Network

__all__ = ["NOWHERE"]


class _Nowhere(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(None, "no such name")

    async def close(self) -> None:
        return


NOWHERE: Final = Network(_Nowhere(), None)
"""Hand this to a gateway as its network."""
