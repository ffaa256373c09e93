import socket
from collections.abc import Callable
from enum import Enum, auto

from bench.dialect import V1, Dialect, Place
from bench.identity import Identity


class State(Enum):
    CONNECTING = auto()
    SECURING = auto()
    HANDSHAKE = auto()
    JOINING = auto()
    MEMBER = auto()
    LEAVING = auto()
    CLOSING = auto()
    """The service is about to close it. It will answer the close frame."""
    GONE = auto()


def nothing(_: "Client") -> None:
    pass


class Client:
    """One connection of one identity, from its request to its end, and what the server has sent on it."""

    __slots__ = (
        "asked_at",
        "before",
        "commas",
        "dialect",
        "identity",
        "node",
        "notices",
        "on_gone",
        "on_member",
        "owed",
        "pending",
        "place",
        "raw",
        "receive",
        "sock",
        "stamps",
        "state",
        "tenant",
        "virtual_ip",
        "welcome",
        "welcomed",
    )

    def __init__(
        self,
        identity: Identity,
        tenant: str,
        *,
        dialect: Dialect = V1,
        before: Place | None = None,
        node: int = 0,
        sampled: bool = False,
        on_member: Callable[["Client"], None] = nothing,
        on_gone: Callable[["Client"], None] = nothing,
    ) -> None:
        self.identity = identity
        self.tenant = tenant
        self.dialect = dialect
        self.before = before
        """The place that it had before, which it asks for; None if it is new."""
        self.place = before
        """The place that the server's first message gives it."""
        self.node = node
        """The index of the crowd's port that it connects to."""
        self.on_member = on_member
        self.on_gone = on_gone
        self.state = State.CONNECTING
        self.sock: socket.socket
        self.asked_at = 0.0
        """When its join message was sent, by `time.time`."""
        self.receive: Callable[[bytearray], int]
        self.pending = bytearray()
        """Bytes received that are not yet a whole welcome or control frame."""
        self.virtual_ip = ""
        self.welcomed = 0
        """Peers that the welcome listed."""
        self.notices = 0
        self.owed = 0
        """How many notices it must have got by now."""
        self.commas = 0
        """Commas in its notices, if the crowd counts joins."""
        self.welcome = b""
        self.raw: list[bytes] | None = [] if sampled else None
        """Of a sampled client, which is checked in full: the frames of all notices, in the pieces that were received.
        Then `welcome` is the payload of its welcome.
        """
        self.stamps: list[float] = []
        """When each piece of `raw` was received, by `time.time`. Exact if the crowd stamps this client."""

    @property
    def size(self) -> int:
        """How many other peers this member knows of. Needs a crowd that counts joins."""
        joins = self.dialect.joins(self.commas, self.notices)
        return self.welcomed + joins - (self.notices - joins)
