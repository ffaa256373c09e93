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
from harness.session_picture import SessionPicture

V2 = Subprotocol("wg-orchestrator.v2")


class Member:
    """One identity in one tenant. Its picture is its own, and it notices whatever contradicts that."""

    def __init__(self, tenant: str, number: int, on_left: Callable[["Member", str, int], None]) -> None:
        """`on_left` is called with itself, the key of whoever it was told has left, and the revision of that."""
        self.tenant = tenant
        self.number = number
        self.key = a_key_text(number)
        self.picture = SessionPicture(self.key)
        self.began = 0
        """The revision of the first welcome of its session."""
        self.picture_hash = 0
        """Of all who are in the tenant, itself included: equal pictures have equal ones."""
        self.is_in = False
        """It has a session, and has not begun to leave."""
        self.away_since: float | None = None
        """When its connection has ended, if it has none: seconds of `time.monotonic`."""
        self.service: ServiceProcess | None = None
        self.websocket: ClientConnection | None = None
        self._on_left = on_left

    @property
    def session(self) -> str:
        return self.picture.session

    @property
    def virtual_ip(self) -> str:
        return self.picture.virtual_ip

    @property
    def revision(self) -> int:
        return self.picture.revision

    @property
    def peers(self) -> dict[str, str]:
        """The others: virtual IP by public key."""
        return {key: peer["virtual_ip"] for key, peer in self.picture.peers.items()}

    def everybody(self) -> set[tuple[str, str]]:
        """All who are in the tenant, itself included: each key with its virtual IP."""
        return {*self.peers.items(), (self.key, self.virtual_ip)}

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
        try:
            self.picture.apply(message)
        except ValueError as error:
            raise Contradiction(f"{self}: {error}: {message}") from error
        kind = message["type"]
        if kind == "welcome":
            self.picture_hash = hash((self.key, self.virtual_ip))
            for entry in self.peers.items():
                self.picture_hash ^= hash(entry)
        elif kind == "joined":
            self.picture_hash ^= hash((message["peer"]["public_key"], message["peer"]["virtual_ip"]))
        elif kind == "left":
            self.picture_hash ^= hash((message["public_key"], message["virtual_ip"]))
            self._on_left(self, message["public_key"], message["revision"])

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
        self.picture.forget()
        self.is_in = False

    def __str__(self) -> str:
        return f"peer-{self.number} at {self.virtual_ip} of {self.tenant} on {self.service}"
