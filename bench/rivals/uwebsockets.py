import sys
from typing import Any

from socketify import App, OpCode

from bench.rivals.roster import Rosters

rosters: Rosters[bool] = Rosters()
app = App()


def upgrade(response: Any, request: Any, context: Any) -> None:
    """Store in the connection which tenant it asks for, and room for its address."""
    response.upgrade(
        request.get_header("sec-websocket-key"),
        request.get_header("sec-websocket-protocol"),
        request.get_header("sec-websocket-extensions"),
        context,
        {"tenant": request.get_parameter(0), "virtual_ip": ""},
    )


def message(websocket: Any, text: str | bytes, _: Any) -> None:
    peer = websocket.get_user_data()
    if peer["virtual_ip"]:
        return
    tenant = peer["tenant"]
    roster = rosters[tenant]
    peer["virtual_ip"], welcome, notice = roster.admit(text if isinstance(text, str) else text.decode())
    roster.handles[peer["virtual_ip"]] = True
    app.publish(tenant, notice, OpCode.TEXT)
    websocket.subscribe(tenant)
    websocket.send(welcome, OpCode.TEXT)


def close(websocket: Any, _: int, __: Any) -> None:
    peer = websocket.get_user_data()
    if peer["virtual_ip"]:
        notice = rosters[peer["tenant"]].remove(peer["virtual_ip"])
        app.publish(peer["tenant"], notice, OpCode.TEXT)
        rosters.forget_if_empty(peer["tenant"])


if __name__ == "__main__":
    app.ws(
        "/tenants/:tenant",
        {
            "upgrade": upgrade,
            "message": message,
            "close": close,
            "idle_timeout": 20,
            "send_pings_automatically": True,
            "max_backpressure": 256 * 1024 * 1024,
        },
    )
    app.listen({"host": "127.0.0.1", "port": int(sys.argv[1])}, lambda _: None)
    app.run()
