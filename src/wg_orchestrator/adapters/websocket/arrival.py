from dataclasses import dataclass

from wg_orchestrator.adapters.websocket.aim import AimRule
from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.domain.admission import OPEN, Grant
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.wire.subprotocol import V1


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who has come, what it asks for, and the connection that it has come on."""

    tenant_id: TenantId
    newcomer: Newcomer
    connection: Connection
    source: str
    """Where it connects from."""
    version: str = V1
    """Of the protocol that it speaks."""
    endpoints: tuple[Endpoint, ...] | None = None
    """All that it announces; those that may be passed on are the newcomer's. None: it says nothing of them."""
    resume: tuple[str, int] | None = None
    """The secret of the session that it comes back to, and the revision of the picture that it has."""
    grant: Grant = OPEN
    """What it was granted by its credentials."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """What peers that speak protocol v2 may do: come back, and change. Times in seconds."""

    aim: AimRule
    grace: float = 60.0
    """For which a stay outlives its connection; 0: not at all."""
    most_away: int = 100_000
    """Peers that may be away at a time."""
    update_interval: float = 5.0
    """Between two changes of one peer that are told."""
