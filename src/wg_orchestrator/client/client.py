from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI

from wg_orchestrator.wire import v1

_FINAL = {1003, 1007, 1008, 1009}
_OUR_COMPLAINTS = {1002, 1007, 1009}
"""Close codes with which our side ends a connection that breaks RFC 6455 or the bounds below."""
_LONGEST_BODY = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client takes from a service, and how long it waits for it."""

    max_message_size: int = 16 * 1024 * 1024
    """Bytes. A welcome of 20,000 peers with the longest names fits."""
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


async def follow(
    url: str, display_name: str, public_key: str, *, proxy: Literal[True] | None = True, limits: Limits = USUAL
) -> AsyncGenerator[v1.Message, None]:
    """Join the tenant at `url` and yield the service's messages for as long as the connection lasts: first the welcome,
    then notices. Addresses and keys in them are well-formed. Names are any text: pass them through `visible` before a
    terminal shows them.

    `proxy`: whether to use the HTTP proxy that the environment may name.

    It always ends with an error: JoinRefused, TryAgainLater or BadMessage.
    """
    websocket = await _open(url, proxy, limits)
    try:
        async with websocket:
            await websocket.send(v1.join(display_name, public_key))
            async with aclosing(_messages(websocket, limits)) as messages:
                async for message in messages:
                    yield message
    except ConnectionClosed as error:
        if error.rcvd is None or error.rcvd_then_sent is False:
            if error.sent is not None and error.sent.code in _OUR_COMPLAINTS:
                raise v1.BadMessage(f"{error.sent.reason or 'not a WebSocket'} ({error.sent.code})") from error
            raise TryAgainLater("connection lost (1006)") from error
        cause = f"{error.rcvd.reason or 'closed'} ({error.rcvd.code})"
        if error.rcvd.code >= 4500 or error.rcvd.code in _FINAL:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error


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


async def _open(url: str, proxy: Literal[True] | None, limits: Limits) -> ClientConnection:
    """Raises JoinRefused or TryAgainLater."""
    try:
        return await _Connect(
            url,
            create_connection=_Connection,
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
        if status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error
    except (ImportError, InvalidProxy) as error:  # Their texts are not shown: a proxy's URL may have a password in it.
        raise JoinRefused(
            "the environment names a proxy that is no HTTP proxy; no_proxy can except this host"
        ) from error
    except InvalidURI as error:
        raise JoinRefused(str(error)) from error
    except (OSError, InvalidHandshake) as error:
        raise TryAgainLater(f"can't connect: {error or type(error).__name__}") from error
    except (ValueError, OverflowError) as error:  # Of the host's name or the port.
        raise JoinRefused(f"{url} isn't a valid URI: {error}") from error


async def _messages(websocket: ClientConnection, limits: Limits) -> AsyncGenerator[v1.Message, None]:
    """Raises BadMessage, TryAgainLater or ConnectionClosed."""
    try:
        with anyio.fail_after(limits.welcome_timeout):
            message = v1.parse_message(await _receive(websocket, limits.max_fragments))
        if not isinstance(message, v1.Welcome):
            raise v1.BadMessage("a notice before the welcome")
        yield message
        while True:
            message = v1.parse_message(await _receive(websocket, limits.max_fragments))
            if isinstance(message, v1.Welcome):
                raise v1.BadMessage("a second welcome")
            yield message
    except (v1.BadMessage, TimeoutError) as error:
        websocket.transport.abort()  # To close it in order, we would have to wait for the service's answer.
        if isinstance(error, v1.BadMessage):
            raise
        raise TryAgainLater(f"no welcome in {limits.welcome_timeout:g} s") from error


async def _receive(websocket: ClientConnection, max_fragments: int) -> str:
    """The next message, which is a text. Raises BadMessage or ConnectionClosed."""
    fragments = list[str]()
    async for fragment in websocket.recv_streaming():
        if not isinstance(fragment, str):
            raise v1.BadMessage("a binary message")
        fragments.append(fragment)
        if len(fragments) > max_fragments:
            raise v1.BadMessage(f"a message in more than {max_fragments} fragments")
    return "".join(fragments)
