"""A real service on a free local port, and clients for it: well-behaved ones and raw ones."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import anyio
from dependency_injector import providers
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from harness.certificates import trusting
from harness.keys import a_key_text
from harness.picture import Picture
from wg_orchestrator.container import Container
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.server.server import Server
from wg_orchestrator.settings import Settings

PATIENCE = 30.0
"""Seconds until a test gives up. Only a test that hangs takes so long."""


class ListeningServer(Protocol):
    should_exit: bool
    force_exit: bool

    @property
    def address(self) -> str: ...


class Endpoint:
    """A service's address, and the clients that are aborted at the end of the test."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self.at_end: list[Callable[[], object]] = []
        self.tls: ssl.SSLContext | None = None
        """What its clients trust; None if it does not speak TLS."""

    def url(self, tenant: str = "acme") -> str:
        scheme = "ws" if self.tls is None else "wss"
        return f"{scheme}://{self.address}/tenants/{tenant}"

    async def connect(self, tenant: str = "acme", **options: Any) -> ClientConnection:
        """A WebSocket to the tenant. It is aborted when the test ends."""
        # max_queue=None: with a bounded queue, a websockets client whose messages nobody reads stops answering pings.
        options = {"compression": None, "max_queue": None, "open_timeout": PATIENCE, "ssl": self.tls, **options}
        websocket = await connect(self.url(tenant), **options)
        self.at_end.append(lambda: websocket.transport.abort())
        return websocket


class Service(Endpoint):
    """A running service, in this process and on this event loop."""

    def __init__(self, server: ListeningServer, container: Container, serving: asyncio.Task[None]) -> None:
        super().__init__(server.address)
        self.server = server
        self._serving = serving
        self.container = container

    async def stop(self) -> None:
        """Stop as on SIGTERM, and wait for the end."""
        self.server.should_exit = True
        with anyio.fail_after(PATIENCE):
            await self._serving

    @property
    def metrics_address(self) -> str | None:
        return self.server.metrics_address if isinstance(self.server, Server) else None

    def metric(self, name: str, **labels: str) -> float:
        """The metric's value; 0 if the service has not counted it yet."""
        return self.container.telemetry().registry.get_sample_value(f"wg_orchestrator_{name}", labels) or 0

    def roster(self, tenant: str = "acme") -> dict[str, str]:
        """The tenant as the service itself holds it: public keys by virtual IP."""
        stays = self.container.tenants().get(TenantId(tenant)).stays
        return {str(stay.peer.virtual_ip): stay.peer.public_key.text for stay in stays}


@asynccontextmanager
async def running(*, adapt: Callable[[Container], object] = lambda _: None, **options: Any) -> AsyncIterator[Service]:
    """A service with these settings. `adapt` may change the container before that makes anything."""
    settings = Settings(**{"host": "127.0.0.1", "port": 0, "close_timeout": 2, "_env_file": None, **options})
    container = Container(settings=providers.Object(settings))
    adapt(container)
    server = Server(container)
    serving = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if serving.done():
        serving.result()
    service = Service(server, container, serving)
    try:
        if settings.tls_certificate is not None:
            service.tls = trusting(settings.tls_certificate)
        yield service
    finally:
        for abort in service.at_end:
            abort()
        await service.stop()


def handshake(service: Endpoint, tenant: str) -> bytes:
    return (
        f"GET /tenants/{tenant} HTTP/1.1\r\nHost: {service.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def join_message(number: int, **changes: Any) -> str:
    return json.dumps({"display_name": f"peer-{number}", "public_key": a_key_text(number), **changes})


class Client:
    """A v1 client that keeps every message, and its picture of the tenant."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.messages: list[dict[str, Any]] = []
        self.roster = Picture()

    @classmethod
    async def join(
        cls,
        service: Endpoint,
        number: int,
        tenant: str = "acme",
        headers: dict[str, str] | None = None,
        **changes: Any,
    ) -> "Client":
        with anyio.fail_after(PATIENCE):
            client = cls(await service.connect(tenant, additional_headers=headers))
            await client.websocket.send(join_message(number, **changes))
            await client.hear()
            return client

    @property
    def virtual_ip(self) -> str:
        return self.roster.virtual_ip

    async def hear(self) -> dict[str, Any]:
        """The next message, applied to the picture."""
        with anyio.fail_after(PATIENCE):
            text = await self.websocket.recv()
        assert isinstance(text, str)
        message: dict[str, Any] = json.loads(text)
        self.messages.append(message)
        self.roster.apply(message)
        return message

    async def until(self, condition: Callable[[Picture], bool]) -> None:
        """Hear messages until the picture meets `condition`."""
        while not condition(self.roster):
            await self.hear()

    def picture(self) -> dict[str, str]:
        return {ip: peer["public_key"] for ip, peer in self.roster.peers.items()}

    async def leave(self) -> None:
        await self.websocket.close()

    def reset(self) -> None:
        """End the connection by a TCP reset: no close frame, no end of stream."""
        reset(self.websocket.transport.get_extra_info("socket"))
        self.websocket.transport.abort()

    async def closed(self) -> tuple[int, str]:
        """Wait for the service's close frame: code and reason."""
        with anyio.fail_after(PATIENCE), suppress(ConnectionClosed):
            while True:
                await self.hear()
        return self.websocket.close_code or 1006, self.websocket.close_reason or ""


async def refused(service: Endpoint, first: str | bytes, tenant: str = "acme", **options: Any) -> tuple[int, str]:
    """The code and reason with which the service closes a connection whose first message is `first`."""
    with anyio.fail_after(PATIENCE):
        websocket = await service.connect(tenant, **options)
        with suppress(ConnectionClosed):  # The service may have closed already.
            await websocket.send(first)
        client = Client(websocket)
        return await client.closed()


async def come_and_go_until_removed(service: Endpoint, watcher: Client, virtual_ip: str) -> None:
    """Send the tenant's peers large notices, until `watcher` is told that the peer at `virtual_ip` has left."""
    for number in range(1000, 1500):
        if virtual_ip not in watcher.roster.peers:
            return
        peer = await Client.join(service, number, display_name="🦊" * 128)
        await watcher.until(lambda roster, ip=peer.virtual_ip: ip in roster.peers)  # type: ignore[misc]
        await peer.leave()
        await watcher.until(lambda roster, ip=peer.virtual_ip: ip not in roster.peers)  # type: ignore[misc]
    raise AssertionError("the peer that reads nothing was never given up")


class Refused(Exception):
    """A close frame instead of a welcome: its code and reason."""


class RawClient:
    """A client for which the test decides every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, service: Endpoint) -> "RawClient":
        # The smallest receive buffer and read-ahead: what the test does not read stays with the service.
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", service.port))
        host = None if service.tls is None else "127.0.0.1"
        reader, writer = await asyncio.open_connection(sock=raw, limit=1024, ssl=service.tls, server_hostname=host)
        service.at_end.append(lambda: writer.transport.abort())
        return cls(reader, writer)

    @classmethod
    async def open(cls, service: Endpoint, tenant: str = "acme") -> "RawClient":
        client = await cls.connect(service)
        client.writer.write(handshake(service, tenant))
        with anyio.fail_after(PATIENCE):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return client

    @classmethod
    async def join(cls, service: Endpoint, number: int, tenant: str = "acme") -> "RawClient":
        client = await cls.open(service, tenant)
        client.send(Opcode.TEXT, join_message(number).encode())
        opcode, payload = await client.read_frame()
        if opcode == Opcode.CLOSE:
            raise Refused(int.from_bytes(payload[:2], "big"), payload[2:].decode())
        assert opcode == Opcode.TEXT
        return client

    def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        self.writer.write(Frame(Opcode(opcode), payload, fin).serialize(mask=True))

    async def read_frame(self) -> tuple[int, bytes]:
        with anyio.fail_after(PATIENCE):
            first, size = await self.reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def read_close(self) -> tuple[int, str]:
        """Skip all frames up to the close frame; return its code and reason."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def reset(self) -> None:
        reset(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
