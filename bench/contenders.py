SERVICE = ("-m", "wg_orchestrator", "serve", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning")
"""The service as it comes; options may follow."""

CONTENDERS = {
    "ours": (*SERVICE, "--max-peers-per-tenant", "20000", "--max-frame-rate", "1000", "--max-handshake-rate", "0"),
    "ours-plain-uvicorn": (
        "-m", "uvicorn", "--factory", "wg_orchestrator.app:create_app", "--host", "127.0.0.1", "--port", "{port}",
        "--no-access-log", "--log-level", "warning", "--ws-per-message-deflate", "false",
    ),
    "fastapi-gather": ("-m", "bench.rivals.fastapi_gather", "{port}"),
    "websockets-broadcast": ("-m", "bench.rivals.websockets_broadcast", "{port}"),
    "picows-send": ("-m", "bench.rivals.picows_send", "{port}"),
    "uwebsockets-publish": ("-m", "bench.rivals.uwebsockets", "{port}"),
}  # fmt: skip
"""Who is compared, each with the arguments to Python that start it. Ratios are to the first one that takes part."""
