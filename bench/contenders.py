from collections.abc import Callable
from functools import partial

from bench.nodes import Nodes
from bench.server import Beside, Server

SERVICE = ("-m", "wg_orchestrator", "serve", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
"""The service as it comes; options may follow."""

OURS, BESIDE, TWO_NODES = "ours", "ours-beside", "ours-two-nodes"
_OURS = (*SERVICE, "--max-peers-per-tenant", "20000", "--max-frame-rate", "1000", "--max-handshake-rate", "0")
_PLAIN_UVICORN = (
    "-m", "uvicorn", "--factory", "wg_orchestrator.app:create_app", "--host", "127.0.0.1", "--port", "{port}",
    "--no-access-log", "--log-level", "warning", "--ws-per-message-deflate", "false",
)  # fmt: skip

CONTENDERS: dict[str, Callable[[], Server]] = {
    OURS: partial(Server, _OURS),
    BESIDE: partial(Beside, _OURS),
    TWO_NODES: partial(Nodes, _OURS, 2),
    "ours-plain-uvicorn": partial(Server, _PLAIN_UVICORN),
    "fastapi-gather": partial(Server, ("-m", "bench.rivals.fastapi_gather", "{port}")),
    "websockets-broadcast": partial(Server, ("-m", "bench.rivals.websockets_broadcast", "{port}")),
    "picows-send": partial(Server, ("-m", "bench.rivals.picows_send", "{port}")),
    "uwebsockets-publish": partial(Server, ("-m", "bench.rivals.uwebsockets", "{port}")),
}
"""Who is compared, each with what starts it. Ratios are to the first one that takes part."""

ALONE = tuple(name for name in CONTENDERS if name != TWO_NODES)
