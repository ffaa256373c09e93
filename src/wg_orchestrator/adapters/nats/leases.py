import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wg_orchestrator.adapters.nats.names import process_of


@dataclass
class Lease:
    """The last message on a node's subject, while it is no end of the lease."""

    sequence: int
    heard: float
    """When this process has last heard that it was renewed, in seconds of its monotonic clock."""
    settled: bool
    """The stream holds all claims that the node has."""


@dataclass(frozen=True, slots=True)
class End:
    """The message that has ended a lease."""

    sequence: int
    """0 if the stream has forgotten it."""
    at: float
    """When that was, on the ledger's clock; long ago if the stream has forgotten it."""


FORGOTTEN = End(0, -math.inf)


class Leases:
    """The leases that live, and those that have ended, by the names of their nodes."""

    def __init__(self, living: dict[str, Lease] | None = None, ended: dict[str, End] | None = None) -> None:
        self._living = living or {}
        self._ended = ended or {}

    def __contains__(self, node: object) -> bool:
        """Whether the node has a lease."""
        return node in self._living

    def __iter__(self) -> Iterator[str]:
        """The nodes that have a lease."""
        return iter(self._living)

    def get(self, node: str) -> Lease | None:
        return self._living.get(node)

    def end_of(self, node: str) -> End | None:
        """None if the node has a lease, or nothing is known of it."""
        return self._ended.get(node)

    def see(self, node: str, lease: Lease) -> bool:
        """Apply the next message on a lease that lives. Returns whether it is the first one."""
        is_news = node not in self._living
        self._living[node] = lease
        return is_news

    def see_end(self, node: str, end: End) -> bool:
        """Apply the message that ends a lease. Returns whether it had lived."""
        if self._living.pop(node, None) is None:
            return False
        self._ended[node] = end
        return True

    def forget_ends(self, is_needed: Callable[[str], bool]) -> None:
        """Forget the ends of leases of all nodes but those for which it is needed."""
        self._ended = {node: end for node, end in self._ended.items() if is_needed(node)}

    def settled(self) -> list[str]:
        """The nodes whose claims the stream holds, all of them."""
        return [node for node, lease in self._living.items() if lease.settled]

    def are_all_settled(self) -> bool:
        return all(lease.settled for lease in self._living.values())

    def processes(self) -> set[str]:
        return set(map(process_of, self._living))

    def rank(self, node: str) -> int:
        """How many of the nodes have a name that comes before this one's."""
        return sum(other < node for other in self._living)

    def overdue(self, now: float, patience: float) -> list[tuple[str, int]]:
        """The nodes that were not heard of for longer than `patience` seconds, and their leases' sequences."""
        return [(node, lease.sequence) for node, lease in self._living.items() if now - lease.heard > patience]

    def hear_all(self, now: float) -> None:
        """Take all as heard of just now."""
        for lease in self._living.values():
            lease.heard = now
