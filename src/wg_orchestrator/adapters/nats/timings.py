from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """How long each thing takes, in seconds. All nodes of a service must have the same timings."""

    lease: float = 5.0
    """From a lease's last renewal until the other nodes end it."""
    renewal: float = 1.0
    """Between two renewals of a lease."""
    caution: float = 1.0
    """Before the end of its lease, for which the node does not rely on it any more."""
    watch: float = 0.5
    """Between two checks of the other nodes' leases."""
    opening: float = 6.0
    """For which a node must have followed an epoch before it opens the epoch: `lease` and `caution` together."""
    ended_ttl: int = 60
    """For which the stream remembers that a lease has ended, besides the peers' grace."""
    vacancy_ttl: int = 300
    """For which the stream remembers who held an address last."""
    insistence: float = 4.0
    """For the further attempts of a commit whose first attempt has failed."""
    tidy: float = 0.1
    """Between two checks for claims to put back, take out or clear up."""
    heartbeat: float = 0.25
    """Between two heartbeats of a feed that has nothing to bring."""
    silence: float = 1.5
    """Until a feed that brings nothing counts as dead: so many heartbeats as come in that time are missing."""
    gathering: float = 3.0
    """For the end of the stream to be reached while more comes: then a snapshot is taken before it. It may lack a peer
    whose claim is just being replaced, which is put right at once.
    """
    request: float = 1.0
    """For an answer of the stream."""
    retry: float = 0.1
    """Until something that the stream has not answered, or has refused, is tried again."""
    reconnect: float = 0.25
    """Until a lost connection or feed is tried again."""
    connect: float = 3.0
    """For which all servers are tried before the reason is logged."""
    connect_one: int = 2
    """For one server to answer."""
    ping: int = 1
    """Between two pings; after the second one without an answer another server is tried."""
    farewell: float = 5.0
    """To end the lease, unless the caller gives less."""


USUAL = Timings()
