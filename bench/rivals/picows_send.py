import sys
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.rivals.roster import Roster, Rosters

rosters: Rosters[WSTransport] = Rosters()


class Peer(WSListener):
    """The callbacks of a parser in C. No other code runs during one of them."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._virtual_ip = ""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT and not self._virtual_ip:
            roster = rosters[self._tenant]
            self._virtual_ip, welcome, notice = roster.admit(frame.get_payload_as_utf8_text())
            tell(roster, notice)
            roster.handles[self._virtual_ip] = transport
            transport.send(WSMsgType.TEXT, welcome.encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._virtual_ip:
            roster = rosters[self._tenant]
            tell(roster, roster.remove(self._virtual_ip))
            rosters.forget_if_empty(self._tenant)


def tell(roster: Roster[WSTransport], notice: str) -> None:
    message = notice.encode()
    for transport in roster.handles.values():
        transport.send(WSMsgType.TEXT, message)


def listener(request: WSUpgradeRequest) -> Any:
    return Peer(request.path.decode().rpartition("/")[2])


async def main(port: int) -> None:
    server = await ws_create_server(
        listener,
        "127.0.0.1",
        port,
        enable_auto_ping=True,
        enable_auto_pong=True,
        read_buffer_init_size=1024,
        backlog=2048,
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
