from collections.abc import Callable
from typing import Protocol

from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.messages import Notices, Text

EXTENSION = "wg_orchestrator.connection"
"""The ASGI scope extension under which a server offers the connection itself: `{"connection": Connection}`."""


class Connection(Protocol):
    """A peer's WebSocket from its welcome on.

    Nothing waits, nothing raises: what can't be sent ends the connection.
    """

    def welcome(self, welcome: Text) -> None:
        """Queue the first message. It may be of any size: the outbox's bound is for what comes after it."""
        ...

    def send(self, notices: Notices) -> None:
        """Queue `notices`. If too much waits already, close with TOO_SLOW; if the peer is gone, do nothing."""
        ...

    def close(self, close: Close) -> None:
        """Queue nothing more, send the close frame, and end: within the close timeout whatever the peer does."""
        ...

    async def run(self, on_gone: Callable[[], None]) -> None:
        """Let the connection live. `on_gone` is called exactly once, as soon as the peer can't be told anything
        any more, whatever the cause. May return before that: then the connection goes on by itself.
        """
        ...
