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
    """For which the stream remembers that a lease has ended."""
    vacancy_ttl: int = 300
    """For which the stream remembers who held an address last."""
    insistence: float = 4.0
    """For the further attempts of a commit whose first attempt has failed."""
    tidy: float = 0.1
    """Between two checks for claims to put back, take out or clear up."""
