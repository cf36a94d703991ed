"""Control: how commands speak to a gateway, running or not.

Only the serving process writes the database. A command takes the lock; if nobody serves, it opens the house itself, for
as long as the command takes; if somebody does, it asks through the control socket. Both ways end in the same handlers.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from aiohttp import web

from gateway import telemetry
from gateway.app import CONTROL_SOCKET, Lock, open_house
from gateway.errors import GatewayError, SettingsError
from gateway.handlers.door import Door, Listener
from gateway.handlers.routes import CONTROL, Table

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.settings import Settings

__all__ = ["OperationRefused", "operate"]

TIMEOUT_S = 600.0


class OperationRefused(GatewayError):
    """The gateway refused an operation. `code` is a code of errors.CODES, `message` its sentence."""

    def __init__(self, code: str, message: str, field: str | None) -> None:
        super().__init__(message if field is None else f"{message} ({field})")
        self.code = code
        self.field = field


def operate(
    settings: "Settings", method: str, path: str, body: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Do one operation of the admin API and return its answer. Raises OperationRefused, SettingsError, StoreError."""
    return asyncio.run(_operate(settings, method, path, body))


async def _operate(
    settings: "Settings", method: str, path: str, body: Mapping[str, object] | None
) -> dict[str, object]:
    directory = Path(settings.data.dir)
    telemetry.configure("error")
    lock = Lock(directory)
    if not lock.take():
        return await _ask(directory / CONTROL_SOCKET, method, path, body)
    try:
        house = await open_house(settings)
        try:
            return await _serve_one(house, directory, method, path, body)
        finally:  # an open store's threads would keep the process from ending, whatever went wrong
            await house.outbound.close()
            await house.store.close()
    finally:
        lock.release()


async def _serve_one(
    house: "House", directory: Path, method: str, path: str, body: Mapping[str, object] | None
) -> dict[str, object]:
    """Serve the house on a socket of its own for one question."""
    socket = directory / f"{CONTROL_SOCKET}.command"
    socket.unlink(missing_ok=True)
    runner = web.ServerRunner(Listener(Door(house, Table(CONTROL), control=True)), handle_signals=False)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(socket)).start()
        return await _ask(socket, method, path, body)
    finally:
        await runner.cleanup()
        socket.unlink(missing_ok=True)


async def _ask(socket: Path, method: str, path: str, body: Mapping[str, object] | None) -> dict[str, object]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
            session.request(
                method,
                f"http://localhost{path}",
                data=msgspec.json.encode(body) if body is not None else None,
            ) as response,
        ):
            answer = msgspec.json.decode(await response.read(), type=dict[str, object])
            if response.status >= 400:
                error = answer.get("error")
                said: dict[str, object] = error if isinstance(error, dict) else {}
                field = said.get("field")
                raise OperationRefused(
                    str(said.get("code", "internal")),
                    str(said.get("message", "The gateway failed.")),
                    field if isinstance(field, str) else None,
                )
            return answer
    except aiohttp.ClientConnectorError:
        raise SettingsError(["A gateway holds the lock but does not answer on its control socket"]) from None
