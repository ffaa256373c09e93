"""A service that lies: `python liar.py LIE` listens on port 8000 and tells each client the same."""

import asyncio
import base64
import json
import sys
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

HONEST = base64.b64encode(bytes([9]) + bytes(31)).decode()
ODD = base64.b64encode(bytes([11]) + bytes(31)).decode()


def a_peer(key: str, address: str, name: str = "honest", *endpoints: str) -> dict[str, Any]:
    return {
        "display_name": name, "public_key": key, "virtual_ip": address, "endpoints": list(endpoints), "proven": False
    }  # fmt: skip


def answer(lie: str, key: str) -> str:
    honest = a_peer(HONEST, "100.64.0.2")
    welcome: dict[str, Any] = {
        "type": "welcome", "revision": 1, "session": "s", "grace": 60, "virtual_ip": "100.64.0.1",
        "network": "100.64.0.0/10", "peers": [honest],
    }  # fmt: skip
    match lie:
        case "not json":
            return "{"
        case "own address":
            welcome["peers"].append(a_peer(ODD, "100.64.0.1"))
        case "own key":
            welcome["peers"].append(a_peer(key, "100.64.0.3"))
        case "outside":
            welcome["peers"].append(a_peer(ODD, "8.8.8.8"))
        case "bad endpoints":
            lies = ("127.0.0.1:1", "0.0.0.0:5", "100.64.0.1:51820", "224.0.0.1:9", "[::1]:80")
            welcome["peers"] = [a_peer(HONEST, "100.64.0.2", "honest", *lies)]
        case "port 0":
            welcome["peers"] = [a_peer(HONEST, "100.64.0.2", "honest", "10.0.0.1:0")]
        case "whole internet":
            welcome["network"] = "0.0.0.0/0"
        case "public network":
            welcome |= {"network": "8.8.8.0/24", "virtual_ip": "8.8.8.7", "peers": []}
        case "machine's own network":
            welcome |= {"network": "198.51.0.0/16", "virtual_ip": "198.51.7.7", "peers": []}
        case "address outside":
            welcome["virtual_ip"] = "10.9.9.9"
        case "escapes":
            welcome["peers"] = [a_peer(HONEST, "100.64.0.2", "\x1b[2J\n127.0.0.1 evil")]
        case _:
            raise ValueError(lie)
    return json.dumps(welcome)


async def main(lie: str) -> None:
    async def lie_to(websocket: ServerConnection) -> None:
        key = json.loads(await websocket.recv())["public_key"]
        await websocket.send(answer(lie, key))
        await websocket.wait_closed()

    async with serve(lie_to, "0.0.0.0", 8000, subprotocols=[Subprotocol("wg-orchestrator.v2")]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
