from collections.abc import Callable, Iterable
from typing import Protocol

from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.messages import Notices, Text

EXTENSION = "wg_orchestrator.connection"
"""The ASGI scope extension under which a server offers the connection itself: `{"connection": Connection}`."""


class Gone(OSError):
    """The client has ended the connection, or it was lost."""


class Connection(Protocol):
    """A client's WebSocket. First it is awaited; from its welcome on nothing waits and nothing raises: what can't be
    sent then ends the connection.
    """

    async def deny(self, status: int, reason: str) -> None:
        """Answer the handshake with an HTTP status instead. Raises Gone."""
        ...

    async def accept(self) -> None:
        """Open the WebSocket. Raises Gone."""
        ...

    async def first_message(self) -> str | bytes:
        """What the client sends first. Raises Gone, or TimeoutError unless it comes within the join timeout."""
        ...

    async def refuse(self, close: Close) -> None:
        """Close instead of a welcome. If the client is gone, do nothing."""
        ...

    def welcome(self, welcome: Text) -> None:
        """Queue the first message. It may be of any size: the outbox's bound is for what comes after it."""
        ...

    def send(self, notices: Notices) -> None:
        """Queue `notices`. If too much waits already, close with TOO_SLOW; if the peer is gone, do nothing."""
        ...

    async def run(self, on_gone: Callable[[str], None]) -> None:
        """Let the connection live. `on_gone` is called exactly once, as soon as the peer can't be told anything
        any more, with the cause, one of a few phrases. May return before that: then the connection goes on by itself.
        """
        ...


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The value of a header field of an ASGI scope, or None."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)
