"""A v1 client: what `wg-orchestrator join` and the demo are made of, and a model for clients of your own."""

import base64
import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

_FINAL = {1003, 1007, 1008, 1009}
FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 30.0


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


class Roster:
    """A client's picture of its tenant: the welcome, and each notice after it, applied in order."""

    def __init__(self) -> None:
        self.virtual_ip = ""
        self.peers: dict[str, dict[str, str]] = {}
        """The others, by virtual IP."""

    def apply(self, message: dict[str, Any]) -> None:
        """Apply one message of the service. Raises ValueError if it contradicts the picture."""
        if "peers" in message:
            self.virtual_ip = message["virtual_ip"]
            self.peers = {peer["virtual_ip"]: peer for peer in message["peers"]}
        elif "removed_peer" in message:
            if self.peers.pop(message["removed_peer"], None) is None:
                raise ValueError(f"{message['removed_peer']} left and was never there")
        elif message["virtual_ip"] in self.peers or message["virtual_ip"] == self.virtual_ip:
            raise ValueError(f"{message['virtual_ip']} joined twice")
        else:
            self.peers[message["virtual_ip"]] = message


async def follow(url: str, display_name: str, public_key: str) -> AsyncIterator[str]:
    """Join the tenant at `url` and yield the service's messages, as they came, for as long as the connection lasts.

    Raises JoinRefused or TryAgainLater when it ends, for the service never ends it without a cause.
    """
    try:
        async with connect(url, compression=None, max_size=None) as websocket:
            await websocket.send(json.dumps({"display_name": display_name, "public_key": public_key}))
            while True:
                message = await websocket.recv()
                yield message if isinstance(message, str) else message.decode()
    except ConnectionClosed as error:
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "connection lost")
        cause = f"{reason or 'closed'} ({code})"
        if code >= 4500 or code in _FINAL:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error
    except InvalidStatus as error:
        response = error.response
        cause = f"HTTP {response.status_code} {response.body.decode(errors='replace')}".strip()
        if response.status_code < 500 and response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            raise JoinRefused(cause) from error
        raise TryAgainLater(cause) from error
    except InvalidURI as error:
        raise JoinRefused(str(error)) from error
    except (OSError, InvalidHandshake) as error:
        raise TryAgainLater(f"can't connect: {error or type(error).__name__}") from error


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after the first: exponential, with full jitter, so that the clients of a
    service that comes back do not all knock at the same moment.
    """
    ceiling = FIRST_RETRY_DELAY
    while True:
        yield random.uniform(0, ceiling)
        ceiling = min(2 * ceiling, MAX_RETRY_DELAY)
