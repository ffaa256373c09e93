import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import structlog
from nats.aio.client import Client
from nats.errors import Error

logger = structlog.get_logger("wg_orchestrator.nats")

RETRY_DELAY = 0.25
PING_INTERVAL = 1
"""Seconds between pings; after the second one without an answer another server is tried."""
CONNECT_TIMEOUT = 2
PATIENCE = 3.0
"""Seconds to try all servers for, before the reason is told."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    urls: tuple[str, ...]
    credentials: Path | None = None
    """A user's JWT and key, as `nsc` writes them."""
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class NotHeard(Exception):
    """No answer came. Whatever was asked for may have happened, or may yet."""


class Connection:
    """The connection to NATS: to whichever server answers, and again for as long as it takes."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._closing = False
        self.client = Client()

    async def connect(self) -> None:
        """Return once there is a connection. From then on the client itself looks for another one when it is lost.

        Raises NotHeard if there can be none as things are, whatever the reason.
        """
        if self.client.is_connected or self.client.is_reconnecting:
            return
        self.client = Client()
        try:
            # By itself it would try for ever, and not say what is wrong.
            with anyio.fail_after(PATIENCE):
                await self._connect()
        except (Error, OSError) as error:  # TimeoutError is one of these.
            cause = self.client.last_error or error
            await self.client.close()
            raise NotHeard(f"can't connect: {cause or type(cause).__name__}") from error

    async def _connect(self) -> None:
        await self.client.connect(
            servers=list(self._options.urls),
            name="wg-orchestrator",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RETRY_DELAY,  # type: ignore[arg-type]  # It only sleeps for that long.
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=2,
            connect_timeout=CONNECT_TIMEOUT,
            error_cb=_on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=_on_reconnected,
            **self._security(),
        )

    def _security(self) -> dict[str, Any]:
        options, arguments = self._options, dict[str, Any]()
        if options.credentials is not None:
            arguments["user_credentials"] = str(options.credentials)
        if options.tls_ca is not None or options.tls_certificate is not None:
            context = ssl.create_default_context(cafile=options.tls_ca)
            if options.tls_certificate is not None:
                context.load_cert_chain(options.tls_certificate, options.tls_key)
            arguments["tls"] = context
        return arguments

    async def _on_disconnected(self) -> None:
        if not self._closing:
            logger.warning("nats connection lost")

    async def close(self) -> None:
        self._closing = True
        if not self.client.is_closed:
            await self.client.close()


async def _on_error(error: Exception) -> None:
    logger.debug("nats error", error=str(error) or type(error).__name__)


async def _on_reconnected() -> None:
    logger.info("nats connection restored")
