"""What aiohttp's client alone can post under TLS: the yardstick of deliveries.

python -m tests.bench.poster INFO COUNT CONNECTIONS
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from gateway.sandbox.stand_ins import network_from

__all__ = ["main"]

BODY = b'{"type":"purchase","pad":"' + b"p" * 900 + b'"}'


async def _post(network: dict[str, Any], total: int, connections: int) -> float:
    resolver, tls = network_from(network)
    host = next(iter(network["hosts"]))
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=tls, limit=connections)
    left = iter(range(total))

    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for _ in left:
                async with session.post(f"https://{host}/gateway", data=BODY) as answer:
                    await answer.read()

        begun_s = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return total / (time.perf_counter() - begun_s)


def main() -> None:
    """Print posts a second."""
    network = msgspec.json.decode(Path(sys.argv[1]).read_bytes())
    print(uvloop.run(_post(network, int(sys.argv[2]), int(sys.argv[3]))))


if __name__ == "__main__":
    main()
