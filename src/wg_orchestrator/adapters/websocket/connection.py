from collections.abc import Mapping
from typing import Protocol

from wg_orchestrator.domain.endpoint import IPAddress
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.message import Notices, Text

EXTENSION = "wg_orchestrator.connection"
"""The ASGI scope extension under which a server offers the connection itself: `{"connection": Connection}`."""


class Gone(OSError):
    """The client has ended the connection, or it was lost."""


class Recipient(Protocol):
    """The sending side of a peer's connection. No method waits or raises: if something can't be sent, the connection
    ends.
    """

    def welcome(self, welcome: Text) -> None:
        """Queue the first message. It may have any size: the outbox's bound is for what comes after it."""
        ...

    def send(self, notices: Notices) -> None:
        """Queue `notices`. If the peer is gone, do nothing.

        They may be of any size if the outbox has room. If that makes it full, the peer has to take enough before an
        outbox more has come: else the next ones close it with TOO_SLOW.
        """
        ...

    def close(self, close: Close) -> None:
        """End the connection with this close frame; if it has ended, do nothing."""
        ...


class Listener(Protocol):
    """Is told what comes from a peer."""

    def heard(self, message: str | bytes) -> None:
        """The peer has sent a text or a binary message after its first one."""
        ...

    def gone(self, cause: Close) -> None:
        """The peer can't be told anything any more. The cause's reason is one of a few phrases. Called exactly once."""
        ...


class Connection(Recipient, Protocol):
    """A client's WebSocket. Until the join is read it is used with `await`. From the welcome on it is a Recipient, and
    tells a Listener what comes.
    """

    def local_address(self) -> IPAddress | None:
        """The service's own address in this connection, if it is known."""
        ...

    async def deny(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer the handshake with an HTTP status instead, with these headers besides. Raises Gone."""
        ...

    async def accept(self, subprotocol: str | None = None) -> None:
        """Open the WebSocket. Raises Gone."""
        ...

    async def first_message(self) -> str | bytes:
        """What the client sends first. Raises Gone, or TimeoutError unless it comes within the join timeout."""
        ...

    async def flush(self) -> None:
        """Have what was sent before `run` on its way. If the client is gone, do nothing."""
        ...

    async def refuse(self, close: Close) -> None:
        """Close instead of a welcome. If the client is gone, do nothing."""
        ...

    async def run(self, listener: Listener) -> None:
        """Let the connection live. May return before it is gone: then it goes on by itself."""
        ...
