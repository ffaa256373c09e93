"""Serves the operators' API on a port of its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.listener import address_of, listener_on
from wg_orchestrator.settings.operators import OperatorSettings

_LONGEST_TOKEN = 4096
_MOST_CONNECTIONS = 200
_STOPPING = 1
"""Seconds that requests may take at the end."""


class OperatorsApi(Protocol):
    @property
    def guarded(self) -> ASGIApp: ...

    def end_streams(self) -> None:
        """Streams that go on for ever end now."""
        ...


class _Part(uvicorn.Server):
    """Leaves the signals to the service, which it is a part of."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving_operators(
    settings: OperatorSettings, api: OperatorsApi | None, tls: ssl.SSLContext | None
) -> AsyncIterator[str | None]:
    """Serve the API, and yield its `host:port`; None: it is not to be served. Raises CannotStart."""
    if api is None or settings.admin_port is None:
        yield None
        return
    config = uvicorn.Config(
        api.guarded,
        lifespan="off",
        ws="none",
        http="httptools",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_STOPPING,
    )
    config.load()
    config.ssl = tls
    try:
        listener = listener_on(settings.admin_host, settings.admin_port)
    except OSError as error:
        raise CannotStart(
            f"can't listen on {settings.admin_host} port {settings.admin_port}: {error.strerror}"
        ) from error
    server = _Part(config)
    with listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            api.end_streams()
            await asyncio.wait([serving])


def operators_token(file: Path | None) -> str | None:
    """The token in the file's first line; None: there is no file. Raises CannotStart."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            token = opened.readline(_LONGEST_TOKEN).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CannotStart(f"can't read the operators' token in {file}: {why}") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CannotStart(f"{file} has no token in its first line")
    return token
