import json
from pathlib import Path

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.builders import a_key_text
from tests.cluster.cluster import Cluster, ServiceProcess
from tests.nats_server import PATIENCE


async def joined(service: ServiceProcess, number: int) -> ClientConnection:
    """Join as soon as the service lets anybody in."""
    while True:
        websocket = await connect(f"ws://{service.address}/tenants/acme", compression=None)
        await websocket.send(json.dumps({"display_name": f"peer-{number}", "public_key": a_key_text(number)}))
        try:
            await websocket.recv()
        except ConnectionClosed:
            await anyio.sleep(0.02)
        else:
            return websocket


async def test_a_killed_nats_server_costs_nobody_a_connection_and_joins_go_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        await cluster.start()
        peers = [await joined(service, number) for number, service in enumerate(cluster.services)]
        cluster.servers[0].kill()
        for number, service in enumerate(cluster.services, 3):
            # If it led the stream, the others elect a leader first: nats-server gives that four to nine seconds.
            with anyio.fail_after(PATIENCE):
                peers.append(await joined(service, number))
        for number, peer in enumerate(peers[:3]):
            told: list[dict[str, str]] = []
            with anyio.fail_after(PATIENCE):
                while len(told) < 5 - number:
                    told.append(json.loads(await peer.recv()))
            assert {message["public_key"] for message in told} == {a_key_text(later) for later in range(number + 1, 6)}
        for peer in peers:
            await peer.close()
    finally:
        cluster.stop()
