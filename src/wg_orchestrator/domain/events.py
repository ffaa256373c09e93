from dataclasses import dataclass
from enum import Enum
from typing import NoReturn, TypeAlias

from wg_orchestrator.domain.stay import Stay


class LeaveCause(Enum):
    """Why a stay ended."""

    LEFT = "left"
    """The peer's connection has ended."""
    GRACE = "grace"
    """Its connection was lost, and it has not come back within its grace."""
    LOST = "lost"
    """Its node was lost, or its place went to another: the peer may still be connected, and may come back."""
    SUPERSEDED = "superseded"
    """Somebody else has proven that the key is theirs: the peer must not come back by itself."""
    REVOKED = "revoked"
    """Its key, or the invitation that it came by, was revoked."""
    STAY_OVER = "stay over"
    """It was let in for so long and no longer."""
    PUT_OUT = "put out"
    """An operator has put it out. It may come back."""

    @property
    def is_of_key(self) -> bool:
        """Whether every stay of the key is over by it, and not only the one that is known to whoever says so."""
        return self not in (LeaveCause.LEFT, LeaveCause.GRACE, LeaveCause.LOST)


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer is in the tenant, at its address, from this event on."""

    stay: Stay


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer is out of the tenant and its address is free, from this event on."""

    stay: Stay
    cause: LeaveCause


@dataclass(frozen=True, slots=True)
class PeerUpdated:
    """A peer has the name and the endpoints that its stay says, from this event on."""

    stay: Stay


@dataclass(frozen=True, slots=True)
class PeerResumed:
    """A peer lives on a new connection from this event on, in the turn that its stay says. The one before is over."""

    stay: Stay


MembershipEvent: TypeAlias = PeerJoined | PeerLeft | PeerUpdated | PeerResumed


@dataclass(frozen=True, slots=True)
class Committed:
    """An event that is part of its tenant, for good."""

    event: MembershipEvent
    revision: int
    """Its place among the events of its tenant: it rises with each of them, and need not be contiguous."""
    is_numbered: bool = True
    """False: other nodes may have given it another revision, or may have had events that this node has not. So a
    picture that goes by revisions has to be given anew. Then the revision may be lower than those before it.
    """


def assert_never(kind: NoReturn) -> NoReturn:
    """Say to the type checker that every kind of event was thought of (`typing.assert_never` came with Python 3.11).

    Raises TypeError.
    """
    raise TypeError(f"{kind!r} is no kind of event that is known here")
