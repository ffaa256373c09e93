import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from wg_orchestrator.adapters.nats.credentials import BadCredentials, Credentials
from wg_orchestrator.adapters.nats.timings import USUAL, Timings

logger = structlog.get_logger("wg_orchestrator.nats")

_NO_RESPONDERS = "503"


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    urls: tuple[str, ...]
    credentials: Path | None = None
    """A user's JWT and key, as `nsc` writes them."""
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class NotHeard(Exception):
    """No answer came. The request may have been done, or may still be done."""


class Connection:
    """The connection to NATS: to any server that answers. A lost connection is made again, however long that takes."""

    def __init__(self, options: ConnectionOptions, timings: Timings = USUAL) -> None:
        self._options = options
        self._timings = timings
        self._closing = False
        self.client = Client()
        self._inbox = ""
        self._questions = 0
        self._asked: dict[str, asyncio.Future[Msg | None]] = {}

    async def connect(self) -> None:
        """Return once there is a connection. From then on the client itself looks for another one when it is lost.

        Raises NotHeard if there can be none as things are, whatever the reason.
        """
        if self.client.is_connected or self.client.is_reconnecting:
            return
        try:
            security = self._security()
        except (OSError, BadCredentials) as error:
            raise NotHeard(f"can't connect: {error}") from error
        self.client = Client()
        try:
            # Otherwise the client library would try for ever, without telling why.
            with anyio.fail_after(self._timings.connect):
                await self._connect(security)
        except (Error, OSError) as error:  # TimeoutError is one of these.
            cause = self.client.last_error or error
            await self.client.close()
            raise NotHeard(f"can't connect: {cause or type(cause).__name__}") from error

    async def send(self, subject: str, payload: bytes, headers: dict[str, str] | None, reply: str = "") -> None:
        """Raises NotHeard if there is no connection."""
        # The client library would keep the message and send it later, when nobody waits for the answer any more.
        if not self.client.is_connected:
            raise NotHeard("not connected")
        try:
            await self.client.publish(subject, payload, reply, headers)
        except (Error, OSError) as error:
            raise NotHeard(f"{subject}: {error}") from error

    async def ask(self, subject: str, payload: bytes, headers: dict[str, str] | None, patience: float) -> bytes:
        """The answer to a message. Raises NotHeard if there is none within `patience` seconds."""
        # The client library's `request` makes a random name and a second future each time. This is cheaper.
        self._questions += 1
        question = str(self._questions)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Msg | None] = loop.create_future()
        self._asked[question] = answer
        timer = loop.call_later(patience, _settle, answer, None)
        try:
            await self.send(subject, payload, headers, self._inbox + question)
            message = await answer
        finally:
            timer.cancel()
            del self._asked[question]
        if message is None:
            raise NotHeard(f"{subject}: no answer in {patience:g} s")
        if message.headers is not None and message.headers.get("Status") == _NO_RESPONDERS:
            raise NotHeard(f"{subject}: nobody there to answer")
        return message.data

    async def _on_answer(self, message: Msg) -> None:
        answer = self._asked.get(message.subject[len(self._inbox) :])
        if answer is not None:
            _settle(answer, message)

    async def _connect(self, security: dict[str, Any]) -> None:
        await self.client.connect(
            servers=list(self._options.urls),
            name="wg-orchestrator",
            max_reconnect_attempts=-1,
            reconnect_time_wait=self._timings.reconnect,  # type: ignore[arg-type]  # A float works: the library only sleeps that long.
            ping_interval=self._timings.ping,
            max_outstanding_pings=2,
            connect_timeout=self._timings.connect_one,
            error_cb=_on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=_on_reconnected,
            **security,
        )
        self._inbox = f"{self.client.new_inbox()}."
        await self.client.subscribe(f"{self._inbox}*", cb=self._on_answer)

    def _security(self) -> dict[str, Any]:
        options, arguments = self._options, dict[str, Any]()
        if options.credentials is not None:
            credentials = Credentials.read(options.credentials)
            arguments.update(user_jwt_cb=credentials.user_jwt, signature_cb=credentials.sign)
        if options.tls_ca is not None or options.tls_certificate is not None:
            context = ssl.create_default_context(cafile=options.tls_ca)
            if options.tls_certificate is not None:
                context.load_cert_chain(options.tls_certificate, options.tls_key, password=_no_password)
            arguments["tls"] = context
        return arguments

    async def _on_disconnected(self) -> None:
        if not self._closing:
            logger.warning("nats connection lost")

    async def close(self) -> None:
        self._closing = True
        if not self.client.is_closed:
            await self.client.close()


def _no_password() -> str:
    """Replaces OpenSSL's password prompt, which would wait at the terminal."""
    raise BadCredentials("the key of the certificate for NATS is encrypted")


def _settle(answer: asyncio.Future[Msg | None], message: Msg | None) -> None:
    if not answer.done():
        answer.set_result(message)


async def _on_error(error: Exception) -> None:
    logger.debug("nats error", error=str(error) or type(error).__name__)


async def _on_reconnected() -> None:
    logger.info("nats connection restored")
