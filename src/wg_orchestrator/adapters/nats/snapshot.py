from collections.abc import Iterable
from dataclasses import dataclass, field

from wg_orchestrator.adapters.nats.claim import Claim, Place
from wg_orchestrator.adapters.nats.epoch import Epoch


@dataclass
class Lease:
    sequence: int
    heard: float
    """When this process has last heard that it was renewed, in seconds of its monotonic clock."""
    settled: bool
    """The stream holds all claims that the node has."""


@dataclass
class Snapshot:
    """Gathers the last message of each subject.

    A message that is replaced before it was sent is missing until its successor comes, which may be after the snapshot
    is closed. What that does to claims is soon put right; of a lease it has to be asked for.
    """

    claims: dict[Place, Claim] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    """Nodes whose lease has ended, and whose end the stream still remembers."""
    epoch: Epoch | None = None

    def missing_leases(self, known: Iterable[str]) -> set[str]:
        """The nodes that are known, or named by claims, and have no lease or end here."""
        named = {claim.node for claim in self.claims.values() if claim.node}
        return (named | set(known)) - self.leases.keys() - self.ended

    def see_epoch(self, epoch: Epoch) -> None:
        self.epoch = epoch

    def see_claim(self, claim: Claim) -> None:
        self.claims[claim.place] = claim

    def see_lease(self, node: str, lease: Lease | None, sequence: int) -> None:
        if lease is not None:
            self.leases[node] = lease
        else:
            self.leases.pop(node, None)
            self.ended.add(node)
