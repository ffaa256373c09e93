"""How commands speak with a running agent: a Unix socket in its state directory, one line of JSON each way."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from wg_orchestrator.agent.errors import EnvironmentFault, NotRunning

_ANSWER_TIME = 10.0
_LAST_MOMENT = 1.0
_PACE = 0.05
_LONGEST_REQUEST = 4096
_LONGEST_ANSWER = 256 * 1024 * 1024

Answer = Callable[[str], Awaitable[object]]


@asynccontextmanager
async def answering(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer each command that comes by the socket meanwhile. `answer` gets its name and gives a value of JSON; it
    raises KeyError if it does not know it. Whoever may open the directory may ask.

    Raises EnvironmentFault.
    """
    answers: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(reply(reader, writer))
        answers.add(task)
        task.add_done_callback(answers.discard)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with anyio.fail_after(_ANSWER_TIME):
                request = await reader.readline()
                writer.write(json.dumps(await answer(_command(request))).encode() + b"\n")
                await writer.drain()
        except (KeyError, ValueError, OSError, TimeoutError):
            pass  # Whoever asks so gets no answer.
        finally:
            writer.close()

    server = await _listen(path, serve)
    try:
        yield
    finally:
        server.close()
        _remove(path)
        if answers:  # Whoever has asked is answered. Whoever has not asked yet has a moment for it.
            _, silent = await asyncio.wait(answers, timeout=_LAST_MOMENT)
            for task in silent:
                task.cancel()


def _close_to_others(path: Path) -> None:
    path.chmod(0o600)


async def _listen(path: Path, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]) -> asyncio.Server:
    try:
        _remove(path)  # The lock says that nobody else uses it.
        server = await asyncio.start_unix_server(serve, path, limit=_LONGEST_REQUEST)
        _close_to_others(path)
    except OSError as error:
        raise EnvironmentFault(f"can't listen on {path}: {error.strerror or error}") from error
    return server


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def ask(path: Path, command: str) -> Any:
    """The answer of the agent that listens there. Raises NotRunning, or EnvironmentFault if it may not be asked."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_ANSWER)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning from error
    except OSError as error:
        raise EnvironmentFault(f"can't ask the agent at {path}: {error.strerror or error}") from error
    try:
        writer.write(json.dumps({"command": command}).encode() + b"\n")
        with anyio.fail_after(_ANSWER_TIME):
            line = await reader.readline()
    except (OSError, TimeoutError) as error:
        raise EnvironmentFault("the agent does not answer") from error
    finally:
        writer.close()
    if not line:
        raise NotRunning
    return json.loads(line)


async def ended(path: Path) -> None:
    """Wait until no agent listens there any more."""
    while True:
        try:
            await ask(path, "status")
        except NotRunning:
            return
        except EnvironmentFault:
            pass  # It ended while it was asked.
        await asyncio.sleep(_PACE)


def _command(request: bytes) -> str:
    given = json.loads(request)
    if not isinstance(given, dict):
        raise ValueError("no object")
    return str(given["command"])
