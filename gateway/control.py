"""Control: how commands speak to a gateway, running or not.

Only the serving process writes the database. A command takes the lock; if nobody serves, it opens the house itself, for
as long as the command takes; if somebody does, it asks through the control socket. Both ways end in the same handlers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from gateway import telemetry
from gateway.app import CONTROL_SOCKET, Lock, open_house, socket_name
from gateway.errors import GatewayError, SettingsError
from gateway.handlers.door import Door, Listener
from gateway.handlers.routes import CONTROL, Table

if TYPE_CHECKING:
    from gateway.flows.house import House
    from gateway.settings import Settings

__all__ = ["OperationRefused", "operate", "send_file"]

Answer = TypeVar("Answer")

TIMEOUT_S = 600.0
PIECE_BYTES: Final = 65_536
EMPTY: Final[Mapping[str, object]] = MappingProxyType({})


class OperationRefused(GatewayError):
    """The gateway refused an operation. `code` is a code of errors.CODES, `message` its sentence, `answer` all it said.

    `allowed` are the words of the closed list that the field takes; they stand in the sentence people are shown.
    """

    def __init__(
        self,
        code: str,
        message: str,
        field: str | None,
        answer: Mapping[str, object] = EMPTY,
        allowed: Sequence[str] = (),
    ) -> None:
        said = message if field is None else f"{message} ({field})"
        super().__init__(f"{said} Allowed: {', '.join(allowed)}." if allowed else said)
        self.code = code
        self.field = field
        self.answer = answer


def operate(
    settings: "Settings", method: str, path: str, body: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Do one operation of the admin API and return its answer. Raises OperationRefused, SettingsError, StoreError."""
    return asyncio.run(_reached(settings, lambda socket: _ask(socket, method, path, body)))


def send_file(
    settings: "Settings", path: str, file: IO[bytes], headers: Mapping[str, str], heard: Callable[[bytes], None]
) -> None:
    """Send a file to an operation of the admin API while its answer is heard, line by line.

    Neither is ever held whole. `heard` gets each line with its line feed as soon as it has come. Raises as `operate` does,
    a refusal only where the operation was refused as a whole.
    """
    asyncio.run(_reached(settings, lambda socket: _converse(socket, path, file, headers, heard)))


async def _reached(settings: "Settings", ask: Callable[[Path], Awaitable[Answer]]) -> Answer:
    """Ask the gateway that runs through its socket; when none does, open the house and serve it for one question."""
    directory = Path(settings.data.dir)
    telemetry.configure("error")
    lock = Lock(directory)
    if not lock.take():
        return await ask(directory / CONTROL_SOCKET)
    try:
        house = await open_house(settings)
        try:
            return await _serve_one(house, directory, ask)
        finally:  # an open store's threads would keep the process from ending, whatever went wrong
            await house.outbound.close()
            await house.store.close()
    finally:
        lock.release()


async def _serve_one(house: "House", directory: Path, ask: Callable[[Path], Awaitable[Answer]]) -> Answer:
    """Serve the house on a socket of its own for one question."""
    socket = directory / f"{CONTROL_SOCKET}.command"
    socket.unlink(missing_ok=True)
    runner = web.ServerRunner(Listener(Door(house, Table(CONTROL), control=True)), handle_signals=False)
    await runner.setup()
    try:
        with socket_name(socket) as name:
            await web.UnixSite(runner, name).start()
        return await ask(socket)
    finally:
        await runner.cleanup()
        socket.unlink(missing_ok=True)


async def _ask(socket: Path, method: str, path: str, body: Mapping[str, object] | None) -> dict[str, object]:
    data = msgspec.json.encode(body) if body is not None else None
    async with _asked(socket, method, path, data, {}, aiohttp.ClientTimeout(total=TIMEOUT_S)) as response:
        return msgspec.json.decode(await response.read(), type=dict[str, object])


async def _converse(
    socket: Path, path: str, file: IO[bytes], headers: Mapping[str, str], heard: Callable[[bytes], None]
) -> None:
    times = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT_S)
    async with _asked(socket, "POST", path, _pieces(file), headers, times) as response:
        async for line in response.content:
            heard(line)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file, piece by piece. It is read beside the loop, which may be serving the house at the same time."""
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece


@asynccontextmanager
async def _asked(
    socket: Path,
    method: str,
    path: str,
    data: bytes | AsyncIterator[bytes] | None,
    headers: Mapping[str, str],
    times: aiohttp.ClientTimeout,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to one request. Raises OperationRefused, and SettingsError when nobody answers."""
    try:
        with socket_name(socket) as name:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(name), timeout=times) as session,
                session.request(method, f"http://localhost{path}", data=data, headers=headers) as response,
            ):
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise _refusal(await response.read())
                yield response
    except aiohttp.ClientConnectorError:
        raise SettingsError(["A gateway holds the lock but does not answer on its control socket"]) from None


def _refusal(body: bytes) -> OperationRefused:
    answer = msgspec.json.decode(body, type=dict[str, object])
    error = answer.get("error")
    said: dict[str, object] = error if isinstance(error, dict) else {}
    field, allowed = said.get("field"), said.get("allowed")
    return OperationRefused(
        str(said.get("code", "internal")),
        str(said.get("message", "The gateway failed.")),
        field if isinstance(field, str) else None,
        answer,
        allowed if isinstance(allowed, list) else (),
    )
