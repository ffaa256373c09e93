"""Peers that prove their keys by UDP. Their WireGuard is an implementation that is not ours."""

import asyncio
import base64
import json
import socket
from contextlib import suppress
from typing import Any

import anyio
from cryptography.exceptions import InvalidTag
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from harness.wireguard_peer import Peer
from tests.integration.service import PATIENCE, Endpoint
from tests.integration.v2_client import V2
from wg_orchestrator.client.keys import KeyPair


class Prover:
    """One connection of somebody who says that a key is theirs."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.told: list[dict[str, Any]] = []

    @classmethod
    async def join(cls, service: Endpoint, public_key: str, **more: Any) -> "Prover":
        prover = cls(await service.connect(subprotocols=[V2]))
        join = {"type": "join", "display_name": "prover", "public_key": public_key, **more}
        await prover.websocket.send(json.dumps(join))
        return prover

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        with anyio.fail_after(PATIENCE):
            while True:
                message: dict[str, Any] = json.loads(await self.websocket.recv())
                self.told.append(message)
                if message["type"] == kind:
                    return message

    async def closed(self) -> int:
        """The code that it is closed with."""
        with anyio.fail_after(PATIENCE):
            try:
                while True:
                    self.told.append(json.loads(await self.websocket.recv()))
            except ConnectionClosed as closed:
                return 1006 if closed.rcvd is None else closed.rcvd.code


class Owner:
    """Who has a private key, and a WireGuard on a UDP socket."""

    def __init__(self) -> None:
        self.keys = KeyPair.generate()
        self._stamp = 0
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        """All datagrams, and where they went."""

    async def answer(self, prove: dict[str, Any]) -> tuple[str, int]:
        """Greet the rendezvous as it says, from a new socket. Returns that socket's address."""
        rendezvous, preshared_key, private = (
            base64.b64decode(text) for text in (prove["public_key"], prove["preshared_key"], self.keys.private)
        )
        peer = Peer(rendezvous, preshared_key, private)
        host, _, port = prove["endpoints"][0].rpartition(":")
        to, loop = (host, int(port)), asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as udp, anyio.fail_after(PATIENCE):
            udp.setblocking(False)
            udp.bind(("127.0.0.1", 0))
            udp.connect(to)
            while True:
                self._stamp += 1
                peer._stamp = self._stamp
                self._send(udp, peer.initiation(), to)
                with suppress(InvalidTag, TimeoutError):
                    with anyio.fail_after(1):
                        response = await loop.sock_recv(udp, 2048)
                    peer.take(response)
                    break
            self._send(udp, peer.transport(), to)
            name: tuple[str, int] = udp.getsockname()
            return name

    def _send(self, udp: socket.socket, datagram: bytes, to: tuple[str, int]) -> None:
        self.sent.append((datagram, to))
        udp.send(datagram)
