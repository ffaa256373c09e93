import json
from pathlib import Path

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from harness.cluster import Cluster, ServiceProcess
from harness.keys import a_key_text
from harness.nats_server import PATIENCE
from harness.picture import Picture


async def joined(service: ServiceProcess, number: int) -> tuple[ClientConnection, Picture]:
    """Join; try again until the service lets the peer in."""
    while True:
        websocket = await connect(f"ws://{service.address}/tenants/acme", compression=None)
        await websocket.send(json.dumps({"display_name": f"peer-{number}", "public_key": a_key_text(number)}))
        roster = Picture()
        try:
            roster.apply(json.loads(await websocket.recv()))
        except ConnectionClosed:
            await anyio.sleep(0.02)
        else:
            return websocket, roster


async def test_when_a_nats_server_is_killed_connections_live_on_and_peers_can_join(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        await cluster.start()
        peers = [await joined(service, number) for number, service in enumerate(cluster.services)]
        cluster.servers[0].kill()
        for number, service in enumerate(cluster.services, 3):
            # If it led the stream, the others elect a leader first: nats-server waits four to nine seconds for that.
            with anyio.fail_after(PATIENCE):
                peers.append(await joined(service, number))
        # If a join was stored but not answered in time, the newcomer was told to try again, and others are told that it
        # joined and left. Nobody is told that a resident has left, and in the end all have been told of all.
        residents = {roster.virtual_ip for _, roster in peers[:3]}
        everybody = {a_key_text(number) for number in range(6)}
        for number, (peer, roster) in enumerate(peers):
            with anyio.fail_after(PATIENCE):
                while {one["public_key"] for one in roster.peers.values()} != everybody - {a_key_text(number)}:
                    message = json.loads(await peer.recv())
                    assert message.get("removed_peer") not in residents
                    roster.apply(message)
        for peer, _ in peers:
            await peer.close()
    finally:
        cluster.stop()
