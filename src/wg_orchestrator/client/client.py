"""A v1 client: what `wg-orchestrator join` and the demo are made of, and a model for clients of your own.

It does not trust the service: what it yields has the protocol's shape, what it holds and waits for has a bound.
"""

import base64
import json
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import anyio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI

from wg_orchestrator.client.roster import BadMessage, Message, Roster, parse_message

__all__ = [
    "BadMessage",
    "JoinRefused",
    "KeyPair",
    "Message",
    "Roster",
    "TryAgainLater",
    "follow",
    "retry_delays",
]

MAX_MESSAGE_SIZE = 16 * 1024 * 1024
"""Bytes. A welcome of 20,000 peers with the longest names fits."""
MAX_FRAGMENTS = 1024
"""Frames that one message may come in. The service sends each in one; something in between may cut it."""
OPEN_TIMEOUT = 10.0
WELCOME_TIMEOUT = 30.0
"""Seconds from the join to the end of the welcome: longer than the service gives a peer to take it."""
CLOSE_TIMEOUT = 1.0
FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 30.0

_FINAL = {1003, 1007, 1008, 1009}
_OUR_COMPLAINTS = {1002, 1007, 1009}
"""Close codes by which our side ends a connection whose bytes are not as RFC 6455 or the bounds above ask."""
_LONGEST_BODY = 200


class JoinRefused(Exception):
    """The service will not let this client in, however often it tries."""


class TryAgainLater(Exception):
    """The connection could not be made, or has ended, for a cause that may pass."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A WireGuard key pair in `wg`'s own text form: base64 of 32 bytes (Curve25519, RFC 7748)."""

    private: str
    public: str

    @classmethod
    def generate(cls) -> "KeyPair":
        key = X25519PrivateKey.generate()
        return cls(
            private=base64.b64encode(key.private_bytes_raw()).decode(),
            public=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        )


async def follow(
    url: str, display_name: str, public_key: str, *, proxy: Literal[True] | None = True
) -> AsyncGenerator[Message, None]:
    """Join the tenant at `url` and yield the service's messages for as long as the connection lasts: first the welcome,
    then notices. Their addresses and keys are well-formed; names are any text, for a terminal to be shown `visible`.

    `proxy`: whether to go by the HTTP proxy that the environment may name.

    Raises JoinRefused, TryAgainLater or BadMessage when it ends, for the service never ends it without a cause.
    """
    websocket = await _open(url, proxy)
    try:
        async with websocket:
            await websocket.send(json.dumps({"display_name": display_name, "public_key": public_key}))
            async with aclosing(_messages(websocket)) as messages:
                async for message in messages:
                    yield message
    except ConnectionClosed as error:
        if error.rcvd is None or error.rcvd_then_sent is False:
            if error.sent is not None and error.sent.code in _OUR_COMPLAINTS:
                raise BadMessage(f"{error.sent.reason or 'not a WebSocket'} ({error.sent.code})") from error
            raise TryAgainLater("connection lost (1006)") from error
        cause = f"{error.rcvd.reason or 'closed'} ({error.rcvd.code})"
        if error.rcvd.code >= 4500 or error.rcvd.code in _FINAL:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error


class _Connection(ClientConnection):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # By itself it would listen on, for as long as the other side likes, to a service that has refused it, has said
        # goodbye (which is answered by now), or has broken the protocol.
        protocol = self.protocol
        complained = protocol.close_sent is not None and protocol.close_sent.code in _OUR_COMPLAINTS
        if protocol.handshake_exc is not None or protocol.close_rcvd is not None or complained:
            self.transport.abort()


class _Connect(connect):
    """Goes where it is told to and nowhere else: the protocol has no redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def _open(url: str, proxy: Literal[True] | None) -> ClientConnection:
    """Raises JoinRefused or TryAgainLater."""
    try:
        return await _Connect(
            url,
            create_connection=_Connection,
            compression=None,
            max_size=MAX_MESSAGE_SIZE,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            proxy=proxy,
        )
    except InvalidStatus as error:
        status, body = error.response.status_code, error.response.body or b""
        text = " ".join(body.decode(errors="replace").split())
        cause = f"HTTP {status} {text if len(text) <= _LONGEST_BODY else text[:_LONGEST_BODY] + '…'}".strip()
        if status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error
    except (ImportError, InvalidProxy) as error:  # Neither is shown: a proxy's URL may have a password in it.
        raise JoinRefused(
            "the environment names a proxy that is no HTTP proxy; no_proxy can except this host"
        ) from error
    except InvalidURI as error:
        raise JoinRefused(str(error)) from error
    except (OSError, InvalidHandshake) as error:
        raise TryAgainLater(f"can't connect: {error or type(error).__name__}") from error
    except (ValueError, OverflowError) as error:  # Of the host's name or the port.
        raise JoinRefused(f"{url} isn't a valid URI: {error}") from error


async def _messages(websocket: ClientConnection) -> AsyncGenerator[Message, None]:
    """Raises BadMessage, TryAgainLater or ConnectionClosed."""
    try:
        with anyio.fail_after(WELCOME_TIMEOUT):
            message = parse_message(await _receive(websocket))
        if "peers" not in message:
            raise BadMessage("a notice before the welcome")
        yield message
        while True:
            message = parse_message(await _receive(websocket))
            if "peers" in message:
                raise BadMessage("a second welcome")
            yield message
    except (BadMessage, TimeoutError) as error:
        websocket.transport.abort()  # It would be owed an answer to our close frame.
        if isinstance(error, BadMessage):
            raise
        raise TryAgainLater(f"no welcome in {WELCOME_TIMEOUT:g} s") from error


async def _receive(websocket: ClientConnection) -> str:
    """The next message, which is a text. Raises BadMessage or ConnectionClosed."""
    fragments = list[str]()
    async for fragment in websocket.recv_streaming():
        if not isinstance(fragment, str):
            raise BadMessage("a binary message")
        fragments.append(fragment)
        if len(fragments) > MAX_FRAGMENTS:
            raise BadMessage(f"a message in more than {MAX_FRAGMENTS} fragments")
    return "".join(fragments)


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after the first: exponential, with full jitter, so that the clients of a
    service that comes back do not all knock at the same moment.
    """
    ceiling = FIRST_RETRY_DELAY
    while True:
        yield random.uniform(0, ceiling)
        ceiling = min(2 * ceiling, MAX_RETRY_DELAY)
