import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.rivals.roster import Rosters

rosters: Rosters[ServerConnection] = Rosters()


async def join(websocket: ServerConnection) -> None:
    """There is no lock: no other task runs between two `await`s, and `broadcast` needs none."""
    assert websocket.request is not None  # noqa: S101 - true of every server connection
    tenant = websocket.request.path.rpartition("/")[2]
    try:
        message = await websocket.recv(decode=True)
    except ConnectionClosed:
        return
    roster = rosters[tenant]
    virtual_ip, welcome, notice = roster.admit(message)
    broadcast(roster.handles.values(), notice)
    roster.handles[virtual_ip] = websocket
    broadcast([websocket], welcome)
    try:
        await websocket.wait_closed()
    finally:
        notice = roster.remove(virtual_ip)
        broadcast(roster.handles.values(), notice)
        rosters.forget_if_empty(tenant)


async def main(port: int) -> None:
    async with serve(join, "127.0.0.1", port, backlog=2048) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
