from dataclasses import dataclass
from typing import NewType

from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.tenant_id import TenantId

StayId = NewType("StayId", str)


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay of a peer in a tenant, from its join to its leave.

    Its id makes it one. A peer that leaves and comes back is another stay, even with the same name, key and address:
    what ends the first one late does not end the second.
    """

    id: StayId
    tenant_id: TenantId
    peer: Peer
