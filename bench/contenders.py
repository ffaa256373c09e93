from collections.abc import Callable
from functools import partial

from bench.nodes import Nodes, NodesWithV2
from bench.server import Beside, Server, WithBoth, WithV2
from bench.watched import Watched

SERVICE = ("-m", "wg_orchestrator", "serve", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
"""The command of the service with its defaults. Options may follow."""

OURS, BESIDE, TWO_NODES = "ours", "ours-beside", "ours-two-nodes"
V2, BOTH, TWO_NODES_V2 = "ours-v2", "ours-v1-and-v2", "ours-two-nodes-v2"
"""The same, with clients that speak protocol v2; `BOTH`: with clients that speak v1 or v2 in turn."""
WATCHED, WITH_HISTORY = "ours-watched", "ours-with-history"
"""The same, while operators watch it, and when it remembers who held which address: measured if they are asked for."""
OURS_COMMAND = (*SERVICE, "--max-peers-per-tenant", "20000", "--max-frame-rate", "1000", "--max-handshake-rate", "0")
_PLAIN_UVICORN = (
    "-m", "uvicorn", "--factory", "wg_orchestrator.app:create_app", "--host", "127.0.0.1", "--port", "{port}",
    "--no-access-log", "--log-level", "warning", "--ws-per-message-deflate", "false",
)  # fmt: skip

CONTENDERS: dict[str, Callable[[], Server]] = {
    OURS: partial(Server, OURS_COMMAND),
    V2: partial(WithV2, OURS_COMMAND),
    BOTH: partial(WithBoth, OURS_COMMAND),
    BESIDE: partial(Beside, OURS_COMMAND),
    TWO_NODES: partial(Nodes, OURS_COMMAND, 2),
    TWO_NODES_V2: partial(NodesWithV2, OURS_COMMAND, 2),
    WATCHED: partial(Watched, OURS_COMMAND),
    WITH_HISTORY: partial(Server, OURS_COMMAND, {"state": "state"}),
    "ours-plain-uvicorn": partial(Server, _PLAIN_UVICORN),
    "fastapi-gather": partial(Server, ("-m", "bench.rivals.fastapi_gather", "{port}")),
    "websockets-broadcast": partial(Server, ("-m", "bench.rivals.websockets_broadcast", "{port}")),
    "picows-send": partial(Server, ("-m", "bench.rivals.picows_send", "{port}")),
    "uwebsockets-publish": partial(Server, ("-m", "bench.rivals.uwebsockets", "{port}")),
}
"""The servers that are compared, by name, each with a function that starts it. Ratios are to the first one in a run."""

ALONE = tuple(name for name in CONTENDERS if name not in (TWO_NODES, TWO_NODES_V2))
"""Those that are one process."""
