"""How a client opens a connection, receives messages, and finds out what the end of a connection means."""

import email.utils
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
)
from websockets.typing import Subprotocol

from wg_orchestrator.client.tokens import NoToken, TokenSource, no_token
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.close_codes import FIRST_FINAL, NOT_FINAL
from wg_orchestrator.wire.errors import BadMessage

_FINAL = {1003, 1007, 1008, 1009}
_OUR_COMPLAINTS = {1002, 1007, 1009}
"""Close codes with which our side ends a connection that breaks RFC 6455 or the bounds below."""
_REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
"""What the service itself says for good, and to one who has been in before too."""
_LONGEST_BODY = 200
_LONGEST_WAIT = 300.0
"""Seconds that a service may have us wait."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client takes from a service, and how long it waits for it."""

    max_message_size: int = 32 * 1024 * 1024
    """Bytes. A welcome of 20,000 peers with the longest names fits: 0.8 KiB each in v1, and 1.4 KiB with endpoints."""
    max_fragments: int = 1024
    """Frames that one message may come in. The service sends one; a proxy in between may split it."""
    max_peers: int = v1.MAX_PEERS
    open_timeout: float = 10.0
    """Seconds until the WebSocket is open."""
    welcome_timeout: float = 30.0
    """Seconds from the join to the end of the welcome: longer than the service gives a peer to take it."""
    close_timeout: float = 1.0
    """Seconds for the answer to our close frame."""


USUAL = Limits()


class JoinRefused(Exception):
    """The service will not let this client in, however often it tries."""


class TryAgainLater(Exception):
    """The connection could not be made, or has ended, for a cause that may pass."""

    def __init__(self, cause: str, wait: float = 0.0) -> None:
        """`wait`: seconds for which the service does not want to be asked again."""
        super().__init__(cause)
        self.wait = wait


def is_final(code: int) -> bool:
    """Whether a client that was closed with this code must not come back by itself."""
    return code in _FINAL or (code >= FIRST_FINAL and code != NOT_FINAL)


@asynccontextmanager
async def connected(
    url: str,
    subprotocol: str | None,
    proxy: Literal[True] | None,
    limits: Limits,
    *,
    token: TokenSource = no_token,
    comes_back: bool = False,
) -> AsyncIterator[ClientConnection]:
    """A WebSocket to the tenant at `url`, closed at the end of the block. With `subprotocol`, it speaks that version.
    `token` says what lets this client in.
    `comes_back`: whether this client has been in before. Then the URL is right, and what is not there is missing only
    now: another server may stand in for the service while that is away.

    Raises JoinRefused, TryAgainLater or BadMessage, also for an end of the connection that is met inside the block.
    """
    try:
        shown = await token()
    except NoToken as error:
        raise TryAgainLater(str(error)) from error
    websocket = await _open(url, subprotocol, proxy, limits, shown, comes_back)
    try:
        if websocket.subprotocol != subprotocol:
            raise _not_spoken(subprotocol, comes_back)
        yield websocket
    except ConnectionClosed as error:
        raise _meaning_of(error) from error
    finally:
        # With 1000, whatever the block ends by: in protocol v2 that says that the client leaves.
        with anyio.CancelScope(shield=True):
            await websocket.close()


def _meaning_of(error: ConnectionClosed) -> JoinRefused | TryAgainLater | BadMessage:
    if error.rcvd is None or error.rcvd_then_sent is False:
        if error.sent is not None and error.sent.code in _OUR_COMPLAINTS:
            return BadMessage(f"{error.sent.reason or 'not a WebSocket'} ({error.sent.code})")
        return TryAgainLater("connection lost (1006)")
    cause = f"{error.rcvd.reason or 'closed'} ({error.rcvd.code})"
    return JoinRefused(cause) if is_final(error.rcvd.code) else TryAgainLater(cause)


class _Connection(ClientConnection):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The library goes on reading after the service has refused the connection, has closed it (the answer is out by
        # now), or has broken the protocol. The service could keep it there, so it ends the connection itself.
        protocol = self.protocol
        complained = protocol.close_sent is not None and protocol.close_sent.code in _OUR_COMPLAINTS
        if protocol.handshake_exc is not None or protocol.close_rcvd is not None or complained:
            self.transport.abort()


class _Connect(connect):
    """Follows no redirects: the protocol has none."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def _open(
    url: str,
    subprotocol: str | None,
    proxy: Literal[True] | None,
    limits: Limits,
    token: str | None,
    comes_back: bool,
) -> ClientConnection:
    """Raises JoinRefused or TryAgainLater."""
    try:
        return await _Connect(
            url,
            create_connection=_Connection,
            subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
            additional_headers=None if token is None else {"Authorization": f"Bearer {token}"},
            compression=None,
            max_size=limits.max_message_size,
            open_timeout=limits.open_timeout,
            close_timeout=limits.close_timeout,
            proxy=proxy,
        )
    except InvalidStatus as error:
        status, body = error.response.status_code, error.response.body or b""
        text = " ".join(body.decode(errors="replace").split())
        cause = f"HTTP {status} {text if len(text) <= _LONGEST_BODY else text[:_LONGEST_BODY] + '…'}".strip()
        is_refusal = status in _REFUSALS if comes_back else status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS
        if is_refusal:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause, _wait(error.response.headers.get("Retry-After"))) from error
    except (ImportError, InvalidProxy) as error:  # Their texts are not shown: a proxy's URL may have a password in it.
        raise JoinRefused(
            "the environment names a proxy that is no HTTP proxy; no_proxy can except this host"
        ) from error
    except NegotiationError as error:
        raise _not_spoken(subprotocol, comes_back) from error
    except InvalidURI as error:
        raise JoinRefused(str(error)) from error
    except (OSError, InvalidHandshake) as error:
        raise TryAgainLater(f"can't connect: {error or type(error).__name__}") from error
    except (ValueError, OverflowError) as error:  # Of the host's name or the port.
        raise JoinRefused(f"{url} isn't a valid URI: {error}") from error


def _not_spoken(subprotocol: str | None, comes_back: bool) -> JoinRefused | TryAgainLater:
    cause = f"the service does not speak {subprotocol}"
    return TryAgainLater(cause) if comes_back else JoinRefused(cause)


def _wait(retry_after: str | None) -> float:
    """Seconds that the header asks for: a number of them, or a date (RFC 9110, section 10.2.3). 0 if it is neither."""
    if retry_after is None:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), _LONGEST_WAIT) if math.isfinite(seconds) else 0.0


async def receive(websocket: ClientConnection, max_fragments: int) -> str:
    """The next message, which is a text. Raises BadMessage or ConnectionClosed."""
    fragments = list[str]()
    async for fragment in websocket.recv_streaming():
        if not isinstance(fragment, str):
            raise BadMessage("a binary message")
        fragments.append(fragment)
        if len(fragments) > max_fragments:
            raise BadMessage(f"a message in more than {max_fragments} fragments")
    return "".join(fragments)
