from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """How long what takes, in seconds. All nodes of a service have to have the same."""

    lease: float = 5.0
    """Without renewal, until the others end a node's lease."""
    renewal: float = 1.0
    """Between two renewals."""
    caution: float = 1.0
    """Before the end of its lease, from when on a node does not rely on it any more."""
    watch: float = 0.5
    """Between two looks at the others' leases."""
    opening: float = 6.0
    """For which a node has to have followed an epoch before it opens it: a lease, and the caution."""
    ended_ttl: int = 60
    """For which the stream remembers that a lease has ended."""
    vacancy_ttl: int = 300
    """For which the stream remembers who held an address last."""
    insistence: float = 4.0
    """For a commit, when its first attempt has not done."""
    tidy: float = 0.1
    """Between two looks at what is to be put back, taken out or cleared up."""
