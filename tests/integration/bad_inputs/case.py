from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Status:
    """The handshake is answered with this HTTP status, and with nothing after it."""

    code: int


@dataclass(frozen=True)
class Closed:
    """The WebSocket is closed with this code and reason."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Dropped:
    """The connection ends, and the service sends nothing more."""


Answer: TypeAlias = Status | Closed | Dropped

WELCOMED = Closed(1000)
"""The client is let in, and stays until it closes: what it sent does no harm."""


@dataclass(frozen=True)
class Fields:
    """The header fields of an opening handshake: the usual ones, with changes."""

    lines: tuple[str, ...] = (
        "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )  # fmt: skip

    def without(self, *names: str) -> "Fields":
        return Fields(tuple(line for line in self.lines if line.partition(":")[0] not in names))

    def plus(self, *lines: str) -> "Fields":
        return Fields((*self.lines, *lines))

    def instead(self, line: str) -> "Fields":
        return self.without(line.partition(":")[0]).plus(line)


USUAL = Fields()


def request(
    method: str = "GET", target: str = "/tenants/acme", version: str = "HTTP/1.1", fields: Fields = USUAL
) -> bytes:
    return "\r\n".join([f"{method} {target} {version}", *fields.lines, "", ""]).encode("latin-1")


HANDSHAKE = request()


@dataclass(frozen=True)
class Case:
    """A client that sends `request`. If that opens a WebSocket, it sends `frames`; if those let it in, it sends `then`.

    If it was let in, the other peers are told once that it joined and once that it left. With `ends`, the client ends
    its side of the stream after its last byte.
    """

    name: str
    answer: Answer
    request: bytes = HANDSHAKE
    frames: bytes = b""
    then: bytes | None = None
    ends: bool = False

    @property
    def joins(self) -> bool:
        return self.then is not None or self.answer == WELCOMED

    def __str__(self) -> str:
        return self.name
