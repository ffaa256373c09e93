from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from wg_orchestrator.adapters.nats.claim import Claim, Place
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of one address."""

    state: State
    holder: Claim | None
    """The claim of the peer that has the address. While the state is UNBACKED, it is not in the stream."""
    last: Claim | None
    """The claim that the stream's last message on the address makes."""
    since: float = 0.0
    """When the peer went AWAY, on the ledger's clock."""
    has_left_elsewhere: bool = False
    """The peer is UNBACKED and in its tenant here, and the other nodes have said that it has left."""


class Records:
    """One record for each address, found by the address, its state, its holder's key and its holder's node."""

    def __init__(self) -> None:
        self._by_place: dict[Place, Record] = {}
        self._by_state: dict[State, dict[Place, Record]] = {state: {} for state in State}
        self._by_key: dict[tuple[TenantId, PublicKey], Place] = {}
        self._by_node: defaultdict[str, set[Place]] = defaultdict(set)

    def __iter__(self) -> Iterator[tuple[Place, Record]]:
        """A copy of all records."""
        return iter(list(self._by_place.items()))

    def get(self, place: Place) -> Record | None:
        """An address without a record is VACANT."""
        return self._by_place.get(place)

    def in_state(self, state: State) -> list[Record]:
        return list(self._by_state[state].values())

    def is_any(self, state: State) -> bool:
        return bool(self._by_state[state])

    def of_key(self, tenant_id: TenantId, key: PublicKey) -> Record | None:
        place = self._by_key.get((tenant_id, key))
        return None if place is None else self._by_place[place]

    def of_node(self, node: str) -> list[Record]:
        """The records of the node's peers, in the order of their addresses."""
        return [self._by_place[place] for place in sorted(self._by_node.get(node, ()))]

    def put(self, place: Place, record: Record | None) -> None:
        """Replace what is known of the address. None: nothing is known any more."""
        old = self._by_place.pop(place, None)
        if old is not None:
            del self._by_state[old.state][place]
            if old.holder is not None:
                del self._by_key[place[0], old.holder.peer.public_key]
                self._by_node[old.holder.node].discard(place)
                if not self._by_node[old.holder.node]:
                    del self._by_node[old.holder.node]
        if record is not None:
            self._by_place[place] = self._by_state[record.state][place] = record
            if record.holder is not None:
                self._by_key[place[0], record.holder.peer.public_key] = place
                self._by_node[record.holder.node].add(place)
