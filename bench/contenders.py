from collections.abc import Callable
from functools import partial

from bench.nodes import Nodes, NodesWithV2
from bench.server import Beside, Server, WithBoth, WithV2

SERVICE = ("-m", "wg_orchestrator", "serve", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
"""The command of the service with its defaults. Options may follow."""

OURS, BESIDE, TWO_NODES = "ours", "ours-beside", "ours-two-nodes"
V2, BOTH, TWO_NODES_V2 = "ours-v2", "ours-v1-and-v2", "ours-two-nodes-v2"
"""The same, with clients that speak protocol v2; `BOTH`: with clients that speak v1 or v2 in turn."""
_OURS = (*SERVICE, "--max-peers-per-tenant", "20000", "--max-frame-rate", "1000", "--max-handshake-rate", "0")
_PLAIN_UVICORN = (
    "-m", "uvicorn", "--factory", "wg_orchestrator.app:create_app", "--host", "127.0.0.1", "--port", "{port}",
    "--no-access-log", "--log-level", "warning", "--ws-per-message-deflate", "false",
)  # fmt: skip

CONTENDERS: dict[str, Callable[[], Server]] = {
    OURS: partial(Server, _OURS),
    V2: partial(WithV2, _OURS),
    BOTH: partial(WithBoth, _OURS),
    BESIDE: partial(Beside, _OURS),
    TWO_NODES: partial(Nodes, _OURS, 2),
    TWO_NODES_V2: partial(NodesWithV2, _OURS, 2),
    "ours-plain-uvicorn": partial(Server, _PLAIN_UVICORN),
    "fastapi-gather": partial(Server, ("-m", "bench.rivals.fastapi_gather", "{port}")),
    "websockets-broadcast": partial(Server, ("-m", "bench.rivals.websockets_broadcast", "{port}")),
    "picows-send": partial(Server, ("-m", "bench.rivals.picows_send", "{port}")),
    "uwebsockets-publish": partial(Server, ("-m", "bench.rivals.uwebsockets", "{port}")),
}
"""The servers that are compared, by name, each with a function that starts it. Ratios are to the first one in a run."""

ALONE = tuple(name for name in CONTENDERS if name not in (TWO_NODES, TWO_NODES_V2))
"""Those that are one process."""
