"""A client of the cluster that finds each message that contradicts its picture."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from harness.cluster import ServiceProcess
from harness.picture import Picture

ANSWER_TIME = 8.0
"""Seconds for the answer to a join: more than the service waits for NATS."""


class Contradiction(AssertionError):
    """A client was told something that contradicts what it was told before."""


@dataclass(eq=False)
class Peer:
    """One stay in a tenant, which lasts as long as its connection. Each stay has another name."""

    tenant: str
    key: str
    name: str
    service: ServiceProcess
    websocket: ClientConnection
    roster: Picture = field(default_factory=Picture)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often it was told that a stay has begun or has ended, by ("joined" or "left", the stay's name)."""
    since: float = field(default_factory=time.monotonic)
    leaving: bool = False
    """Whether this client has begun to leave."""
    code: int | None = None
    """The close code of its connection, if that has ended."""
    gone: anyio.Event = field(default_factory=anyio.Event)
    """Set when the connection has ended."""
    on_left: Callable[["Peer", str], None] = lambda *_: None
    """Called when it is told that a peer has left: with itself and the name of that peer."""
    _life: int = -1
    _keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._life = self.service.lives

    @property
    def was_orphaned(self) -> bool:
        """Whether its service was told to end, or was killed."""
        return self.service.is_ending or self._life != self.service.lives

    @property
    def truth(self) -> tuple[str, str, str]:
        return self.tenant, self.roster.virtual_ip, self.key

    def picture(self) -> set[tuple[str, str]]:
        others = {(ip, peer["public_key"]) for ip, peer in self.roster.peers.items()}
        return others | {(self.roster.virtual_ip, self.key)}

    def apply(self, message: dict[str, Any]) -> None:
        """Apply a message. Raises Contradiction if it adds an address or a key that the picture has already, or removes
        a peer that the picture does not have.
        """
        gone = self.roster.peers.get(message.get("removed_peer", ""))
        try:
            self.roster.apply(message)
        except ValueError as error:
            raise Contradiction(f"{self}: {error}") from error
        if "peers" in message:
            self._keys = {self.key, *(peer["public_key"] for peer in message["peers"])}
            if len(self._keys) != len(message["peers"]) + 1:
                raise Contradiction(f"{self}: a key is there twice in {message}")
        elif gone is not None:
            self._keys.remove(gone["public_key"])
            self.told["left", gone["display_name"]] += 1
            self.on_left(self, gone["display_name"])
        elif message["public_key"] in self._keys:
            raise Contradiction(f"{self}: a key is there already: {message}")
        else:
            self._keys.add(message["public_key"])
            self.told["joined", message["display_name"]] += 1

    async def listen(self) -> None:
        """Apply all messages, until the connection ends."""
        try:
            async for message in self.websocket:
                self.apply(json.loads(message))
        except ConnectionClosed:
            pass
        self.code = self.websocket.close_code or 1006
        self.gone.set()

    async def leave(self, *, abruptly: bool = False) -> None:
        self.leaving = True
        if abruptly:
            self.websocket.transport.abort()
        with anyio.move_on_after(2):
            await self.websocket.close()

    def __str__(self) -> str:
        return f"{self.name} at {self.roster.virtual_ip} of {self.tenant} on {self.service.address}"


async def join(service: ServiceProcess, tenant: str, key: str, name: str) -> Peer:
    """Try once to join. Raises ConnectionClosed if it is refused; also OSError, InvalidHandshake, TimeoutError."""
    with anyio.fail_after(ANSWER_TIME):
        websocket = await _ask(service, tenant, key, name)
        try:
            peer = Peer(tenant, key, name, service, websocket)
            peer.apply(json.loads(await websocket.recv()))
        except BaseException:
            websocket.transport.abort()
            raise
    return peer


async def give_up(service: ServiceProcess, tenant: str, key: str, name: str) -> None:
    """Ask to join, and abort the connection before the answer. Raises the same as `join`."""
    with anyio.fail_after(ANSWER_TIME):
        websocket = await _ask(service, tenant, key, name)
        await anyio.lowlevel.checkpoint()
        websocket.transport.abort()


async def _ask(service: ServiceProcess, tenant: str, key: str, name: str) -> ClientConnection:
    url = f"ws://{service.address}/tenants/{tenant}"
    try:
        websocket = await connect(url, compression=None, max_queue=None, ping_interval=None, max_size=None)
    except AssertionError as error:  # The library raises it if the connection is reset as it is made.
        raise ConnectionResetError from error
    try:
        await websocket.send(json.dumps({"display_name": name, "public_key": key}))
    except BaseException:
        websocket.transport.abort()
        raise
    return websocket
