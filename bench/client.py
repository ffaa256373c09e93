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
    """It is about to be closed by the service, and will answer that."""
    GONE = auto()


def nothing(_: "Client") -> None:
    pass


class Client:
    """One connection of one identity, from its request to its end, and what it was told on it."""

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
        """The place that it comes back to; None if it is new."""
        self.place = before
        """What its first message said."""
        self.node = node
        """Which of the crowd's ports it connects to."""
        self.on_member = on_member
        self.on_gone = on_gone
        self.state = State.CONNECTING
        self.sock: socket.socket
        self.asked_at = 0.0
        """When its join message was sent, as `time.time` has it."""
        self.receive: Callable[[bytearray], int]
        self.pending = bytearray()
        """Received, and not a whole welcome or control frame yet."""
        self.virtual_ip = ""
        self.welcomed = 0
        """Peers that the welcome listed."""
        self.notices = 0
        self.owed = 0
        """What `notices` has to be by now."""
        self.commas = 0
        self.welcome = b""
        self.raw: list[bytes] | None = [] if sampled else None
        """All notices' frames in pieces, and `welcome` the welcome's payload, of a client that is checked in full."""
        self.stamps: list[float] = []
        """When each piece of `raw` was received, as `time.time` has it. Exact if the crowd was `stamped`."""

    @property
    def size(self) -> int:
        """How many peers this member knows of. Needs a crowd that counts joins."""
        joins = self.dialect.joins(self.commas, self.notices)
        return self.welcomed + joins - (self.notices - joins)
