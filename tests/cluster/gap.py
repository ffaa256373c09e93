"""Many peers join elsewhere while a service is cut off. Then it has more to tell at once than may wait for one peer."""

from pathlib import Path

import anyio
from websockets.frames import Opcode

from harness.cluster import Cluster, ServiceProcess
from harness.keys import a_key_text
from harness.peer import Peer, join
from tests.cluster.rules import Broken
from tests.integration.service import Endpoint, RawClient

NEWCOMERS = 400
NAME = "🦊" * 120
"""So long that each notice of a join has over 500 bytes."""
AT_ONCE = 20
PATIENCE = 60.0
OPTIONS = ("--max-outbox-size", "32768", "--send-buffer-size", "4096")


async def gap(folder: Path) -> None:
    """Raises Broken if a client that keeps reading, but with small buffers on the way, is not told of all newcomers."""
    cluster = Cluster(folder, 1, OPTIONS)
    peers = list[Peer]()
    try:
        await cluster.start()
        deaf, other, _ = cluster.services
        reader = await RawClient.join(Endpoint(deaf.address), 0, "big")
        deaf.link.cut()
        await _come(other, peers)
        await deaf.link.restore()
        with anyio.fail_after(PATIENCE):
            await _hear_of_all(reader)
        reader.writer.transport.abort()
    finally:
        for peer in peers:
            peer.websocket.transport.abort()
        cluster.stop()


async def _come(service: ServiceProcess, peers: list[Peer]) -> None:
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def come(number: int) -> None:
        async with limiter:
            peers.append(await join(service, "big", a_key_text(number), f"{number}{NAME}"))

    async with anyio.create_task_group() as crowd:
        for number in range(1, NEWCOMERS + 1):
            crowd.start_soon(come, number)


async def _hear_of_all(reader: RawClient) -> None:
    heard, is_answered = 0, False
    while not is_answered:
        opcode, payload = await reader.read_frame()
        if opcode == Opcode.CLOSE:
            raise Broken(f"a reader that keeps up was told {heard} of {NEWCOMERS} and {payload[2:].decode()}")
        if opcode == Opcode.PING:
            reader.send(Opcode.PONG, payload)
        heard += opcode == Opcode.TEXT
        if opcode == Opcode.TEXT and heard == NEWCOMERS:
            reader.send(
                Opcode.PING, b""
            )  # If the service has closed the connection, the close frame comes before the pong.
        is_answered = opcode == Opcode.PONG
