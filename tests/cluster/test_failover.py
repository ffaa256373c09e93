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
    """Join as soon as the service lets anybody in."""
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
        # A newcomer whose join was stored and not answered in time was told to try again: it has come and gone. Of
        # those who were there before, nobody is told that they have left, and all hear of all in the end.
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
