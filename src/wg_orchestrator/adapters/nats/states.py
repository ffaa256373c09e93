"""The states that an address can be in, and a table that says which state follows from what is seen."""

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Of an address: whether a peer of its tenant is there, and what the stream's last message says of it."""

    VACANT = "nobody is there, and no claim"
    BACKED = "a peer is there, by a claim that stands"
    GHOST = "a peer is there, by a claim that stands, but was connected here and is not any more: the claim has to go"
    UNBACKED = "a peer is there, and no claim of it stands: its node has to put one back"
    AWAY = "a peer is there by its session, and connected nowhere: it may come back until its grace is over"
    STALE = "nobody is there, and a claim that does not stand has to go"


class Sight(Enum):
    """What is seen of an address. A claim stands while its node has a lease."""

    CLAIM = "a claim that stands"
    UNWANTED = "a claim that stands, of this process, of a peer that is not connected here"
    AWAY = "a claim of a session whose peer is connected nowhere: its node has lost its lease, or has lost the peer"
    VOID = "a claim of no session, of a node that has no lease, any more or yet"
    FREE = "the address was left"
    LAPSE = "the same as VOID or FREE, but the peer that is there is connected: here, or where its node has to say so"
    GONE = "the peer that is there is not connected here any more"


TRANSITIONS: Mapping[State, Mapping[Sight, State]] = {
    State.VACANT: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
    },
    State.BACKED: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
        Sight.LAPSE: State.UNBACKED,
        Sight.GONE: State.GHOST,
    },
    State.GHOST: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
        Sight.GONE: State.GHOST,
    },
    State.UNBACKED: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
        Sight.LAPSE: State.UNBACKED,
    },
    State.AWAY: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
        Sight.GONE: State.GHOST,
    },
    State.STALE: {
        Sight.CLAIM: State.BACKED,
        Sight.UNWANTED: State.GHOST,
        Sight.AWAY: State.AWAY,
        Sight.VOID: State.STALE,
        Sight.FREE: State.VACANT,
    },
}
"""What is not in a state's row can't be seen in it. """

PRESENT = frozenset({State.BACKED, State.GHOST, State.UNBACKED, State.AWAY})
"""The states in which a peer is in its tenant."""

STANDING = frozenset({Sight.CLAIM, Sight.UNWANTED, Sight.AWAY})
"""What is seen of a claim by which its peer is in its tenant."""
