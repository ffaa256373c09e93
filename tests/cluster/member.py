"""A client of the cluster by protocol v2, which lasts over all its connections."""

import json
import time
from collections.abc import Callable
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from harness.cluster import ServiceProcess
from harness.keys import a_key_text
from harness.peer import ANSWER_TIME, Contradiction

V2 = Subprotocol("wg-orchestrator.v2")


class Member:
    """One identity in one tenant. Its picture is its own, and it notices whatever contradicts that."""

    def __init__(self, tenant: str, number: int, on_left: Callable[["Member", str, int], None]) -> None:
        """`on_left` is called with itself, the key of whoever it was told has left, and the revision of that."""
        self.tenant = tenant
        self.number = number
        self.key = a_key_text(number)
        self.session = ""
        self.virtual_ip = ""
        self.began = 0
        """The revision of the first welcome of its session."""
        self.revision = 0
        self.peers: dict[str, str] = {}
        """The others: virtual IP by public key."""
        self.picture_hash = 0
        """Of all who are in the tenant, itself included: equal pictures have equal ones."""
        self.is_in = False
        """It has a session, and has not begun to leave."""
        self.away_since: float | None = None
        """When its connection has ended, if it has none."""
        self.service: ServiceProcess | None = None
        self.websocket: ClientConnection | None = None
        self._on_left = on_left

    async def enter(self, service: ServiceProcess, name: str) -> "tuple[ClientConnection, bool]":
        """Join, or resume its session. Returns the connection, and whether the session is the one that it had.

        Raises ConnectionClosed if it is refused; OSError, InvalidHandshake, TimeoutError.
        """
        join: dict[str, Any] = {"type": "join", "display_name": name, "public_key": self.key}
        if self.session:
            join["virtual_ip"] = self.virtual_ip
            join["resume"] = {"session": self.session, "revision": self.revision}
        with anyio.fail_after(ANSWER_TIME):
            url = f"ws://{service.address}/tenants/{self.tenant}"
            try:
                websocket = await connect(
                    url, subprotocols=[V2], compression=None, max_queue=None, ping_interval=None, max_size=None
                )
            except AssertionError as error:  # The library's way to say that the connection was reset.
                raise ConnectionResetError from error
            try:
                await websocket.send(json.dumps(join))
                first = json.loads(await websocket.recv())
            except BaseException:
                websocket.transport.abort()
                raise
        same = first["session"] == self.session
        if not same:
            self.began = first["revision"]
        self.apply(first)
        self.websocket, self.service, self.is_in, self.away_since = websocket, service, True, None
        return websocket, same

    def apply(self, message: dict[str, Any]) -> None:
        """Raises Contradiction."""
        kind, revision = message["type"], message["revision"]
        if kind == "welcome":
            self.session, self.virtual_ip = message["session"], message["virtual_ip"]
            self.peers = {peer["public_key"]: peer["virtual_ip"] for peer in message["peers"]}
            addresses = {self.virtual_ip, *self.peers.values()}
            if not len(addresses) - 1 == len(self.peers) == len(message["peers"]) or self.key in self.peers:
                raise Contradiction(f"{self}: an address or a key is there twice in {message}")
            self.picture_hash = hash((self.key, self.virtual_ip))
            for entry in self.peers.items():
                self.picture_hash ^= hash(entry)
        elif kind == "resumed":
            if (revision, message["virtual_ip"]) != (self.revision, self.virtual_ip):
                raise Contradiction(f"{self} at {self.revision}: {message}")
        else:
            if revision <= self.revision:
                raise Contradiction(f"{self} at {self.revision}: {message}")
            self._change(kind, message)
        self.revision = revision

    def _change(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "left":
            key, address = message["public_key"], message["virtual_ip"]
            if self.peers.pop(key, None) != address:
                raise Contradiction(f"{self}: left and was not there: {message}")
            self.picture_hash ^= hash((key, address))
            self._on_left(self, key, message["revision"])
            return
        key, address = message["peer"]["public_key"], message["peer"]["virtual_ip"]
        if kind == "joined":
            if key in self.peers or address in self.peers.values() or address == self.virtual_ip or key == self.key:
                raise Contradiction(f"{self}: joined twice: {message}")
            self.peers[key] = address
            self.picture_hash ^= hash((key, address))
        elif self.peers.get(key) != address:
            raise Contradiction(f"{self}: updated and was not there: {message}")

    def vanish(self) -> None:
        """End the connection without a word."""
        if self.websocket is not None:
            self.websocket.transport.abort()
        self.lost()

    def lost(self) -> None:
        """The connection has ended."""
        self.websocket = None
        if self.away_since is None:
            self.away_since = time.monotonic()

    def forget(self) -> None:
        """It has no session any more."""
        self.session, self.revision, self.is_in = "", 0, False

    def __str__(self) -> str:
        return f"peer-{self.number} at {self.virtual_ip} of {self.tenant} on {self.service}"
