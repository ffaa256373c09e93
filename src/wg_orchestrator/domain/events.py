from dataclasses import dataclass
from typing import TypeAlias

from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer is in the tenant, at its address, from this event on."""

    tenant_id: TenantId
    peer: Peer


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer is out of the tenant and its address is free, from this event on."""

    tenant_id: TenantId
    peer: Peer


MembershipEvent: TypeAlias = PeerJoined | PeerLeft
